/* An init for tests of Secure Boot: says what the machine enforces, and which command line and
 * which initrd the kernel was given. The latter needs `retain_initrd` on the command line. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#define GLOBAL "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
#define BYTES_PER_LINE 256

static void show_variable(const char *name)
{
    char path[256];
    unsigned char data[5] = {0}; /* four bytes of attributes, then the value */
    snprintf(path, sizeof(path), "/efi/%s" GLOBAL, name);
    int file = open(path, O_RDONLY);
    ssize_t size = file < 0 ? -1 : read(file, data, sizeof(data));
    if (size == (ssize_t)sizeof(data))
        printf("secure: %s=%d\n", name, data[4]);
}

static void show_text(const char *what, const char *path)
{
    char line[4096] = "";
    FILE *file = fopen(path, "r");
    if (file != NULL && fgets(line, sizeof(line), file) != NULL)
        printf("secure: %s=%s\n", what, strtok(line, "\n"));
}

static void show_bytes(const char *what, const char *path)
{
    unsigned char data[BYTES_PER_LINE];
    size_t size;
    FILE *file = fopen(path, "rb");
    while (file != NULL && (size = fread(data, 1, sizeof(data), file)) > 0) {
        printf("secure: %s=", what);
        for (size_t i = 0; i < size; i++)
            printf("%02x", data[i]);
        printf("\n");
    }
}

int main(void)
{
    mkdir("/sys", 0755);
    mkdir("/proc", 0755);
    mkdir("/efi", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    mount("efivarfs", "/efi", "efivarfs", 0, NULL);
    show_variable("SecureBoot");
    show_variable("SetupMode");
    show_text("cmdline", "/proc/cmdline");
    show_bytes("initrd", "/sys/firmware/initrd");
    printf("sprout-ready v=2 entry=0 handover=0 copied=0 hz=0 free=1024 init=1 ready=2\n");
    fflush(stdout);
    reboot(RB_POWER_OFF);
    return 0;
}
