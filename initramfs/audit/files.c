/* Files and file systems that show or change the kernel's memory. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "audit.h"

/* Opens a device by its number, wherever it is: the name is ours. */
static int device(mode_t kind, unsigned major, unsigned minor, int flags)
{
    int file, error = UNKNOWN;

    /* In a file system of its own: the others of a zone take no devices. */
    if (mkdir("/run/audit", 0700) < 0 && errno != EEXIST)
        return UNKNOWN;
    if (mount("audit", "/run/audit", "tmpfs", 0, NULL) < 0)
        return UNKNOWN;
    if (mknod("/run/audit/device", kind | 0600, makedev(major, minor)) == 0) {
        file = open("/run/audit/device", flags | O_NONBLOCK | O_CLOEXEC);
        error = error_of(file);
        if (file >= 0)
            close(file);
    }
    umount2("/run/audit", MNT_DETACH);
    return error;
}

static int readable(const char *path)
{
    char bytes[8]; /* as many as one entry of pagemap has */
    int file = open(path, O_RDONLY | O_CLOEXEC);
    int error = error_of(file < 0 ? file : read(file, bytes, sizeof(bytes)));

    if (file >= 0)
        close(file);
    return error;
}

static int writable(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    int error = error_of(file < 0 ? file : write(file, text, strlen(text)));

    if (file >= 0)
        close(file);
    return error;
}

static int mountable(const char *type)
{
    int error;

    if (mkdir("/run/audit", 0700) < 0 && errno != EEXIST)
        return UNKNOWN;
    error = error_of(mount(type, "/run/audit", type, 0, NULL));
    if (error == 0)
        umount2("/run/audit", MNT_DETACH);
    return error;
}

static int devmem(void) { return device(S_IFCHR, 1, 1, O_RDONLY); }
static int devport(void) { return device(S_IFCHR, 1, 4, O_RDONLY); }
static int snapshot(void) { return device(S_IFCHR, 10, 231, O_RDONLY); }
static int msr(void) { return device(S_IFCHR, 202, 0, O_RDONLY); }
static int cpuid(void) { return device(S_IFCHR, 203, 0, O_RDONLY); }
static int legacy_pty(void) { return device(S_IFCHR, 2, 0, O_RDWR); }
static int kcore(void) { return readable("/proc/kcore"); }
static int vmcore(void) { return readable("/proc/vmcore"); }
static int pagemap(void) { return readable("/proc/self/pagemap"); }
static int kallsyms(void) { return readable("/proc/kallsyms"); }
static int cmdline(void) { return writable("/proc/cmdline", "init=/bin/sh"); }
static int sysrq(void) { return writable("/proc/sysrq-trigger", "h"); }
static int debugfs(void) { return mountable("debugfs"); }
static int tracefs(void) { return mountable("tracefs"); }
static int binfmt_misc(void) { return mountable("binfmt_misc"); }

/* Is there an address of the kernel's half of memory in some text? Sixteen hexadecimal digits. */
static bool has_pointer(const char *text, size_t length)
{
    size_t digits = 0;

    for (size_t at = 0; at < length; at++) {
        digits = isxdigit((unsigned char)text[at]) ? digits + 1 : 0;
        if (digits == 16 && (at + 1 == length || !isxdigit((unsigned char)text[at + 1])) &&
            strncasecmp(&text[at - 15], "ffff", 4) == 0 &&
            strncasecmp(&text[at - 15], "ffffffffffffffff", 16) != 0)
            return true;
    }
    return false;
}

/* Is there one in a file? It is read to its end, whole lines at a time. */
static bool shows_pointer(int file)
{
    static char text[64 << 10];
    size_t used = 0;
    ssize_t got;

    while ((got = read(file, text + used, sizeof(text) - used)) > 0) {
        char *end;

        used += (size_t)got;
        end = memrchr(text, '\n', used);
        if (end == NULL && used < sizeof(text))
            continue;
        size_t whole = end ? (size_t)(end - text) + 1 : used;
        if (has_pointer(text, whole))
            return true;
        used -= whole;
        memmove(text, text + whole, used);
    }
    return has_pointer(text, used);
}

/* Looks for addresses of the kernel in what root can read. */
static int pointers(void)
{
    static const char *const paths[] = {
        "/proc/kallsyms", "/proc/modules",    "/proc/timer_list", "/proc/net/unix",
        "/proc/net/tcp",  "/proc/net/packet", "/proc/net/netlink", "/proc/self/stat",
        "/proc/self/wchan", "/proc/self/stack", "/proc/vmallocinfo", "/proc/slabinfo",
    };

    for (size_t path = 0; path < sizeof(paths) / sizeof(*paths); path++) {
        int file = open(paths[path], O_RDONLY | O_CLOEXEC);
        bool shows = file >= 0 && shows_pointer(file);

        if (file >= 0)
            close(file);
        if (shows)
            return 0;
    }
    return ENOENT;
}

const struct act file_acts[] = {
    {"open-devmem", devmem},
    {"open-devport", devport},
    {"open-snapshot", snapshot},
    {"open-msr", msr},
    {"open-cpuid", cpuid},
    {"open-legacy-pty", legacy_pty},
    {"read-kcore", kcore},
    {"read-vmcore", vmcore},
    {"read-pagemap", pagemap},
    {"read-kallsyms", kallsyms},
    {"read-kernel-pointers", pointers},
    {"write-command-line", cmdline},
    {"write-sysrq", sysrq},
    {"mount-debugfs", debugfs},
    {"mount-tracefs", tracefs},
    {"mount-binfmt-misc", binfmt_misc},
    {NULL, NULL},
};
