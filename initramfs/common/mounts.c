/* The file systems that every program takes for granted, and the way back. */
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init.h"

#define PLAIN (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* Read-only: init wants the stub's stamps, and nobody here has business in the firmware's store. */
static const struct mount efivarfs = {
    "efivarfs", "/sys/firmware/efi/efivars", PLAIN | MS_RDONLY, NULL};

static bool say_mount(const struct mount *entry, int error)
{
    struct line what = {.used = 0};

    line_text(&what, "mount ");
    line_text(&what, entry->target);
    what.text[what.used] = '\0';
    say(what.text, error);
    return false;
}

static int try_mount(const struct mount *entry)
{
    if (mount(entry->type, entry->target, entry->type, entry->flags, entry->options) == 0)
        return 0;
    return errno == EBUSY ? 0 : errno; /* it is mounted there already */
}

bool mount_efivarfs(void)
{
    int error;

    if (access(efivarfs.target, F_OK) < 0)
        return true; /* not started by UEFI */
    error = try_mount(&efivarfs);
    /* This firmware has no variables at run time, so there are no stamps either. */
    if (error == 0 || error == EOPNOTSUPP)
        return true;
    return say_mount(&efivarfs, error);
}

bool mount_each(const struct mount *mounts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int error;

        /* In sysfs the directory is there or cannot be made: the mount then says which. */
        if (mkdir(mounts[i].target, 0755) < 0 && errno != EEXIST && errno != EPERM)
            return say_mount(&mounts[i], errno);
        error = try_mount(&mounts[i]);
        if (error)
            return say_mount(&mounts[i], error);
    }
    return true;
}

/* Turns \040 and the like in /proc/self/mounts back into the bytes of the path. */
static void unescape(char *path)
{
    char *to = path;

    for (const char *from = path; *from; to++) {
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
            from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
            *to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

static bool under(const char *path, const char *directory)
{
    size_t length = strlen(directory);

    return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static void unmount(char *path)
{
    unescape(path);
    /* These have no disk beneath, and init needs them to the end. */
    if (strcmp(path, "/") == 0 || under(path, "/dev") || under(path, "/proc") ||
        under(path, "/sys"))
        return;
    if (umount2(path, UMOUNT_NOFOLLOW) < 0)
        mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL);
}

/* Unmounts, last mounted first, what the program mounted; what is still busy becomes read-only. */
void unmount_all(void)
{
    static char table[1 << 18];
    ssize_t got = read_file("/proc/self/mounts", table, sizeof(table) - 1);

    if (got <= 0)
        return;
    for (char *end = table + got; end > table;) {
        char *line = end - 1; /* at the newline of the line before `end` */
        char *path, *after;

        *line = '\0';
        while (line > table && line[-1] != '\n')
            line--;
        path = strchr(line, ' ');
        after = path ? strchr(path + 1, ' ') : NULL;
        if (after) {
            *after = '\0';
            unmount(path + 1);
        }
        end = line;
    }
}
