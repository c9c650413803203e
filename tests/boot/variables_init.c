/* An init for one test: prints the EFI variables that the stub publishes, then powers off. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOADER "-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

static void show(const char *name)
{
    char path[256];
    unsigned char data[1024];
    snprintf(path, sizeof(path), "/efi/%s" LOADER, name);
    int file = open(path, O_RDONLY);
    ssize_t size = file < 0 ? -1 : read(file, data, sizeof(data));
    printf("variable %s=", name);
    /* Four bytes of attributes, then UTF-16 that is ASCII in all we publish. */
    for (ssize_t i = 4; i + 1 < size && data[i] != 0; i += 2)
        putchar(data[i]);
    printf(" attributes=%d\n", size < 4 ? -1 : data[0]);
}

int main(void)
{
    static const char *const names[] = {"LoaderTimeInitUSec", "LoaderTimeExecUSec", "LoaderInfo",
                                        "StubInfo", "LoaderDevicePartUUID"};
    char line[4096] = "";
    mkdir("/sys", 0755);
    mkdir("/proc", 0755);
    mkdir("/efi", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("efivarfs", "/efi", "efivarfs", 0, NULL);
    FILE *cmdline = fopen("/proc/cmdline", "r");
    if (cmdline != NULL && fgets(line, sizeof(line), cmdline) != NULL)
        printf("cmdline=%s", line);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        show(names[i]);
    printf("sprout-ready v=2 entry=0 handover=0 copied=0 hz=0 free=1024 init=1 ready=2\n");
    fflush(stdout);
    reboot(RB_POWER_OFF);
    return 0;
}
