/* Connects a zone's device to the host, where Xen's own tools would run a script of a shell.
 *
 * xl calls `block add|remove` and `vif-bridge online|offline` with the device's place in the store
 * in XENBUS_PATH (Xen, libs/light/libxl_linux.c), and waits for "connected" there.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "host.h"

#define LOOP_CONTROL "/dev/loop-control"

/* Kernel include/uapi/linux/loop.h and sockios.h, which musl does not have. */
#define LOOP_SET_FD 0x4C00
#define LOOP_CLR_FD 0x4C01
#define LOOP_CTL_GET_FREE 0x4C82
#define SIOCBRADDBR 0x89a0
#define SIOCBRADDIF 0x89a2

static const char *called(const char *called_as)
{
    const char *slash = strrchr(called_as, '/');

    return slash ? slash + 1 : called_as;
}

bool is_hotplug(const char *called_as)
{
    return strcmp(called(called_as), "block") == 0 || strcmp(called(called_as), "vif-bridge") == 0;
}

static struct line entry(const char *name)
{
    struct line path = {.used = 0};
    const char *place = getenv("XENBUS_PATH");

    line_text(&path, place && place[0] == '/' ? "" : "/local/domain/0/");
    line_text(&path, place ? place : "");
    line_text(&path, "/");
    line_text(&path, name);
    path.text[path.used] = '\0';
    return path;
}

static bool get(const char *name, char *value, size_t size)
{
    return store_read(entry(name).text, value, size);
}

static bool set(const char *name, const char *value)
{
    return store_write(entry(name).text, value);
}

static bool failed(const char *what, int error)
{
    struct line why = {.used = 0};

    line_text(&why, what);
    line_text(&why, ": ");
    line_text(&why, strerror(error));
    why.text[why.used] = '\0';
    set("hotplug-error", why.text);
    set("hotplug-status", "error");
    say(why.text, 0);
    return false;
}

/* Takes a loop device for the file; another process may take the free one first. Gives it open, or
 * -1 with its name in `node`. */
static int take_loop_device(int control, int file, int flags, struct line *node)
{
    for (;;) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        int device, error;

        node->used = 0;
        line_text(node, number < 0 ? LOOP_CONTROL : "/dev/loop");
        if (number >= 0)
            line_number(node, (uint64_t)number);
        node->text[node->used] = '\0';
        if (number < 0)
            return -1;
        device = open(node->text, flags);
        if (device < 0 || ioctl(device, LOOP_SET_FD, file) == 0)
            return device;
        error = errno;
        close(device);
        errno = error;
        if (error != EBUSY)
            return -1;
    }
}

/* A file gets a loop device, which is read-only when the file was opened so; gives its number, or 0
 * after it has said why there is none. */
static dev_t loop_device(const char *path, bool writable)
{
    int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC;
    int control = open(LOOP_CONTROL, O_RDWR | O_CLOEXEC);
    int file = open(path, flags);
    struct line node = {.used = 0};
    struct stat status;
    int device;

    if (control < 0 || file < 0) {
        failed(file < 0 ? path : LOOP_CONTROL, errno);
        return 0;
    }
    device = take_loop_device(control, file, flags, &node);
    if (device < 0 || fstat(device, &status) < 0) {
        failed(node.text, errno);
        return 0;
    }
    set("node", node.text);
    return status.st_rdev;
}

static void hexadecimal(struct line *line, unsigned int number)
{
    static const char hex[] = "0123456789abcdef";

    for (int shift = 28; shift >= 0; shift -= 4)
        if (number >> shift || shift == 0)
            line_text(line, (const char[]){hex[number >> shift & 15], '\0'});
}

static bool connect_disk(void)
{
    struct line numbers = {.used = 0};
    struct stat status;
    char path[128], mode[4];
    dev_t device;

    if (!get("params", path, sizeof(path)) || !get("mode", mode, sizeof(mode)))
        return failed("disk", ENOENT);
    if (stat(path, &status) < 0)
        return failed(path, errno);
    device = status.st_rdev;
    if (S_ISREG(status.st_mode))
        device = loop_device(path, mode[0] == 'w');
    else if (!S_ISBLK(status.st_mode))
        return failed(path, ENOTBLK);
    if (device == 0)
        return false;
    hexadecimal(&numbers, major(device));
    line_text(&numbers, ":");
    hexadecimal(&numbers, minor(device));
    numbers.text[numbers.used] = '\0';
    return set("physical-device", numbers.text) && set("hotplug-status", "connected");
}

static bool disconnect_disk(void)
{
    char node[32];
    int device;

    if (!get("node", node, sizeof(node)) || strncmp(node, "/dev/loop", 9) != 0)
        return true;
    device = open(node, O_RDONLY | O_CLOEXEC);
    return device >= 0 && ioctl(device, LOOP_CLR_FD) == 0;
}

static bool name_into(struct ifreq *request, const char *name)
{
    memset(request, 0, sizeof(*request));
    if (strlen(name) >= sizeof(request->ifr_name))
        return false;
    memcpy(request->ifr_name, name, strlen(name) + 1);
    return true;
}

static bool bring_up(int any, const char *name)
{
    struct ifreq request;

    if (!name_into(&request, name) || ioctl(any, SIOCGIFFLAGS, &request) < 0)
        return false;
    request.ifr_flags |= IFF_UP;
    return ioctl(any, SIOCSIFFLAGS, &request) == 0;
}

/* The bridge is made with the first interface on it. */
static bool connect_interface(void)
{
    const char *interface = getenv("vif");
    int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request;
    char bridge[IFNAMSIZ];

    if (!interface || !get("bridge", bridge, sizeof(bridge)))
        return failed("interface", ENOENT);
    if ((ioctl(any, SIOCBRADDBR, bridge) < 0 && errno != EEXIST) || !bring_up(any, bridge))
        return failed(bridge, errno);
    if (!name_into(&request, bridge))
        return failed(bridge, ENAMETOOLONG);
    request.ifr_ifindex = (int)if_nametoindex(interface);
    if ((ioctl(any, SIOCBRADDIF, &request) < 0 && errno != EBUSY) || !bring_up(any, interface))
        return failed(interface, errno);
    return set("hotplug-status", "connected");
}

/* Gives an exit status. */
int run_hotplug(const char *called_as, const char *action)
{
    bool done = true;

    if (!store_connect()) {
        say("xenstored", errno);
        return 1;
    }
    if (strcmp(called(called_as), "block") == 0) {
        if (strcmp(action, "add") == 0)
            done = connect_disk();
        else if (strcmp(action, "remove") == 0)
            done = disconnect_disk();
    } else if (strcmp(action, "online") == 0) {
        done = connect_interface();
    }
    return done ? 0 : 1;
}
