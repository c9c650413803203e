/* What is mounted in a zone. */
#include <sys/mount.h>

#include "zone.h"

#define PLAIN (MS_NOSUID | MS_NODEV | MS_NOEXEC)

const struct mount zone_mounts[] = {
    {"devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=0755"},
    {"proc", "/proc", PLAIN, NULL},
    {"sysfs", "/sys", PLAIN, NULL},
    {"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755"},
    {"tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777"},
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666"},
    {"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777"},
    {"cgroup2", "/sys/fs/cgroup", PLAIN, "nsdelegate"},
};

const size_t zone_mount_count = sizeof(zone_mounts) / sizeof(zone_mounts[0]);
