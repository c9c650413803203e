/* A zone's disks: block devices of the host, or files of it behind loop devices. */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "launch.h"

#define LOOP_CONTROL "/dev/loop-control"

/* Another process may take the free one first. Gives it open, or -1. */
static int take_loop_device(int control, int file, int flags, char *node, size_t size)
{
    for (;;) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        int device, error;

        if (number < 0)
            return -1;
        snprintf(node, size, "/dev/loop%d", number);
        device = open(node, flags);
        if (device < 0 || ioctl(device, LOOP_SET_FD, file) == 0)
            return device;
        error = errno;
        close(device);
        errno = error;
        if (error != EBUSY)
            return -1;
    }
}

/* It is read-only when the file was opened so. */
static bool loop(const char *path, bool writable, struct disk *disk)
{
    int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC;
    int control = open(LOOP_CONTROL, O_RDWR | O_CLOEXEC);
    int file = open(path, flags), device = -1;
    struct stat status;
    bool made;

    if (control >= 0 && file >= 0)
        device = take_loop_device(control, file, flags, disk->node, sizeof(disk->node));
    made = device >= 0 && fstat(device, &status) == 0;
    if (made)
        disk->device = status.st_rdev;
    else
        failed(path);
    if (control >= 0)
        close(control);
    if (file >= 0)
        close(file);
    if (device >= 0)
        close(device);
    return made;
}

/* `late` is set where the host's kernel may not have found it yet. */
bool open_disk(const struct sprout_zone_disk *wanted, struct disk *disk, bool *late)
{
    struct stat status;

    disk->node[0] = '\0';
    if (stat(wanted->backend, &status) < 0) {
        *late = errno == ENOENT;
        return failed(wanted->backend);
    }
    disk->device = status.st_rdev;
    if (S_ISREG(status.st_mode))
        return loop(wanted->backend, wanted->writable, disk);
    errno = ENOTBLK;
    return S_ISBLK(status.st_mode) || failed(wanted->backend);
}

/* A loop device that is still in use lets its file go when it no longer is (loop(4)). */
void release_disk(const char *node)
{
    int device = open(node, O_RDONLY | O_CLOEXEC);

    if (device < 0)
        return;
    ioctl(device, LOOP_CLR_FD);
    close(device);
}
