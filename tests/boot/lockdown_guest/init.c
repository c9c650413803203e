/* An init for tests of lockdown: says how far the kernel is locked down, and tries as root what
 * would reach into the running kernel or past it. Each act is one line, "act NAME: ERROR" with the
 * error's number, 0 for one that worked. What was read is written back unchanged, so that an act
 * that works does no harm. Ends with "acts end" and the power off. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LEVELS "/security/lockdown"
#define BRIDGE "/sys/bus/pci/devices/0000:00:00.0/config"
#define REGISTERS "/sys/bus/pci/devices/0000:00:1f.2/resource5" /* of the disk controller */
#define PARAMETER "/sys/module/8250/parameters/share_irqs" /* what hardware there is */

/* What TIOCGSERIAL fills in (Linux, include/uapi/linux/serial.h); musl has no definition of it. */
struct serial {
    int type, line;
    unsigned int port;
    int irq, rest[32];
};

static void act(const char *name, int error)
{
    printf("act %s: %d\n", name, error);
}

static void show_level(const char *when)
{
    char levels[80] = "";
    int file = open(LEVELS, O_RDONLY);

    if (file < 0 || read(file, levels, sizeof(levels) - 1) < 0)
        perror(LEVELS);
    printf("level %s: %s\n", when, strtok(levels, "\n"));
    if (file >= 0)
        close(file);
}

/* Writes `size` bytes at `offset` as they are; reads them first. */
static int rewrite(const char *path, size_t size, off_t offset)
{
    char data[64];
    int error = 0, file = open(path, O_RDWR);

    if (file < 0)
        return errno;
    if (pread(file, data, size, offset) != (ssize_t)size ||
        pwrite(file, data, size, offset) != (ssize_t)size)
        error = errno;
    close(file);
    return error;
}

static int set_level(const char *level)
{
    int file = open(LEVELS, O_WRONLY);
    int error = file >= 0 && write(file, level, strlen(level)) > 0 ? 0 : errno;

    if (file >= 0)
        close(file);
    return error;
}

/* Maps a device's registers, which reach into memory as the kernel sees it. */
static int map_registers(void)
{
    int error, file = open(REGISTERS, O_RDWR);
    void *map;

    if (file < 0)
        return errno;
    map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    error = map == MAP_FAILED ? errno : 0;
    if (!error)
        printf("register: %x\n", *(volatile unsigned *)map);
    close(file);
    return error;
}

static int move_serial_port(void)
{
    struct serial port;
    int error, file = open("/ttyS0", O_RDWR | O_NONBLOCK | O_NOCTTY);

    if (file < 0)
        return errno;
    error = ioctl(file, TIOCGSERIAL, &port) ? errno : 0;
    port.irq = port.irq == 5 ? 7 : 5;
    if (!error && ioctl(file, TIOCSSERIAL, &port))
        error = errno;
    close(file);
    return error;
}

static int open_device(const char *name, unsigned int major, unsigned int minor, int flags)
{
    int file, error;

    mknod(name, S_IFCHR | 0600, makedev(major, minor));
    file = open(name, flags);
    error = file < 0 ? errno : 0;
    if (file >= 0)
        close(file);
    return error;
}

static int result(long status)
{
    return status < 0 ? errno : 0;
}

int main(void)
{
    char line[256] = "";
    FILE *words;

    mkdir("/proc", 0755);
    mkdir("/sys", 0755);
    mkdir("/security", 0755);
    mknod("/ttyS0", S_IFCHR | 0600, makedev(4, 64));
    if (mount("proc", "/proc", "proc", 0, "") || mount("sys", "/sys", "sysfs", 0, "") ||
        mount("security", "/security", "securityfs", 0, ""))
        perror("mount");
    words = fopen("/proc/cmdline", "r");
    if (words && fgets(line, sizeof(line), words))
        printf("words: %s", line);

    show_level("at boot");
    act("write PCI configuration", rewrite(BRIDGE, 2, 4));
    act("write PCI configuration in proc", rewrite("/proc/bus/pci/00/00.0", 2, 4));
    act("map device registers", map_registers());
    act("set hardware parameter", rewrite(PARAMETER, 2, 0));
    act("move serial port", move_serial_port());

    act("open mem", open_device("/mem", 1, 1, O_RDWR));
    act("open kmem", open_device("/kmem", 1, 2, O_RDWR));
    act("open port", open_device("/port", 1, 4, O_RDWR));
    act("open msr", open_device("/msr", 202, 0, O_RDWR));
    act("open kcore", result(open("/proc/kcore", O_RDONLY)));
    act("ioperm", result(ioperm(0x80, 1, 1)));
    act("iopl", result(iopl(3)));
    act("kexec_load", result(syscall(SYS_kexec_load, 0, 0, NULL, 0)));
    act("kexec_file_load", result(syscall(SYS_kexec_file_load, 0, -1, 1, "", 4)));
    act("bpf", result(syscall(SYS_bpf, 0, line, sizeof(line))));
    act("init_module", result(syscall(SYS_init_module, line, sizeof(line), "")));

    act("lower to none", set_level("none"));
    show_level("after none");
    act("raise to confidentiality", set_level("confidentiality"));
    act("lower to integrity", set_level("integrity"));
    show_level("in the end");
    printf("acts end\n");
    /* What a whole boot waits for. */
    printf("sprout-ready v=2 entry=0 handover=0 copied=0 hz=0 free=1024 init=1 ready=2\n");
    fflush(stdout);
    reboot(RB_POWER_OFF);
    return 1;
}
