/* What is mounted in a host, and the directories that Xen's tools expect to be there. */
#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"

#define PLAIN (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* Nothing that a zone makes the tools log can use up the host's memory. */
static const struct mount mounts[] = {
    {"devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=0755"},
    {"proc", "/proc", PLAIN, NULL},
    {"sysfs", "/sys", PLAIN, NULL},
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666"},
    {"xenfs", "/proc/xen", PLAIN, NULL},
    {"tmpfs", "/run", PLAIN, "mode=0755,size=8m"},
    {"tmpfs", "/var", PLAIN, "mode=0755,size=8m"},
    {"tmpfs", "/tmp", PLAIN, "mode=1777,size=8m"},
};

/* The tools were built for these (Xen, config/Paths.mk). */
static const char *const directories[] = {
    "/run/sprout",   "/run/xen",      "/run/xenstored", "/run/lock", "/var/lib",
    "/var/lib/xen",  "/var/lib/xen/dump", "/var/lib/xenstored", "/var/log",  "/var/log/xen",
};

static bool is_first_domain(void)
{
    char text[64];
    ssize_t got = read_file("/proc/xen/capabilities", text, sizeof(text) - 1);

    if (got < 0) {
        say("/proc/xen/capabilities", errno);
        return false;
    }
    text[got] = '\0';
    if (!strstr(text, "control_d")) {
        say("this is not the hypervisor's first domain", 0);
        return false;
    }
    return true;
}

/* The host speaks to nobody: its bridges are for the zones, and get no addresses of their own. */
static bool stay_silent(void)
{
    static const char *const paths[] = {"/proc/sys/net/ipv6/conf/all/disable_ipv6",
                                        "/proc/sys/net/ipv6/conf/default/disable_ipv6"};

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (!write_file(paths[i], "1") && errno != ENOENT) {
            say(paths[i], errno);
            return false;
        }
    }
    return true;
}

bool mount_host(void)
{
    if (!mount_each(mounts, sizeof(mounts) / sizeof(mounts[0])) || !mount_efivarfs())
        return false;
    for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++) {
        if (mkdir(directories[i], 0755) < 0) {
            say(directories[i], errno);
            return false;
        }
    }
    if (symlink("/run", "/var/run") < 0 || symlink("/run/lock", "/var/lock") < 0) {
        say("/var", errno);
        return false;
    }
    restrict_tracing();
    return stay_silent() && is_first_domain();
}
