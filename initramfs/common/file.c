/* Reads and writes whole pieces, whatever the kernel splits them into. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "init.h"

/* Reads up to `size` bytes; gives how many there were, or -1 with errno set. */
ssize_t read_file(const char *path, void *data, size_t size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    size_t got = 0;

    if (file < 0)
        return -1;
    while (got < size) {
        ssize_t part = read(file, (char *)data + got, size - got);

        if (part < 0 && errno == EINTR)
            continue;
        if (part < 0) {
            int error = errno;

            close(file);
            errno = error;
            return -1;
        }
        if (part == 0)
            break;
        got += (size_t)part;
    }
    close(file);
    return (ssize_t)got;
}

bool write_all(int descriptor, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        ssize_t part = write(descriptor, at, size);

        if (part < 0 && errno == EINTR)
            continue;
        if (part <= 0)
            return false;
        at += part;
        size -= (size_t)part;
    }
    return true;
}

bool write_file(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    int error;

    if (file < 0)
        return false;
    error = write_all(file, text, strlen(text)) ? 0 : errno;
    close(file);
    errno = error;
    return error == 0;
}
