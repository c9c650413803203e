/* The zones' kernels and initramfs: mapped once, whatever number of zones boots them.
 *
 * They lie in memory already, as files of the host's initramfs; a mapping copies nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch.h"

#define MAX_FILE_BYTES (1u << 30)
#define MAX_FILES (2 * SPROUT_ZONES_MAX)

static struct named {
    const char *path;
    struct file file;
} files[MAX_FILES];
static size_t count;

const struct file *mapped(const char *path)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(files[i].path, path) == 0)
            return &files[i].file;
    return NULL;
}

static bool map_file(const char *path)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    struct file file;
    struct stat status;

    if (mapped(path))
        return descriptor < 0 || close(descriptor) == 0;
    if (descriptor < 0 || fstat(descriptor, &status) < 0)
        return failed(path);
    errno = 0;
    if (status.st_size <= 0 || status.st_size > MAX_FILE_BYTES || count == MAX_FILES)
        return failed(path);
    file.size = (size_t)status.st_size;
    file.data = mmap(NULL, file.size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, descriptor, 0);
    close(descriptor);
    if (file.data == MAP_FAILED)
        return failed(path);
    files[count++] = (struct named){.path = path, .file = file};
    return true;
}

/* Maps what the rows name; a file that is not there concerns the zones that want it alone. */
bool map_files(const struct sprout_zone *rows, size_t zones)
{
    bool all = true;

    for (size_t i = 0; i < zones; i++) {
        all = map_file(rows[i].kernel) && all;
        all = map_file(rows[i].initramfs) && all;
    }
    return all;
}
