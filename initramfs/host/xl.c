/* A zone started by Xen's own tool, to compare with: an image has it only where its list says so. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

static bool write_config(const struct sprout_zone *row, const char *path)
{
    static struct config config;
    int file;
    bool written;

    format_config(&config, row);
    if (config.full) {
        errno = E2BIG;
        return false;
    }
    file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0)
        return false;
    written = write_all(file, config.text, config.used);
    return close(file) == 0 && written;
}

/* Gives the tool's process, or -1 after it has said why there is none. It does not stay (-e): the
 * launcher looks after the domain, as after any other. */
pid_t start_by_xl(const struct sprout_zone *row, int output)
{
    struct line path = {.used = 0};
    char *words[] = {"/usr/sbin/xl", "create", "-e", path.text, NULL};

    line_text(&path, "/run/sprout/");
    line_text(&path, row->name);
    line_text(&path, ".cfg");
    path.text[path.used] = '\0';
    if (!write_config(row, path.text)) {
        say_zone(row->name, "", strerror(errno));
        return -1;
    }
    return start_program(words, output);
}
