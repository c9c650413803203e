/* Mounts the first disk, a squashfs, and says of each file in /modules there: "file NAME: SIZE, SUM"
 * with its checksum (Adler-32, RFC 1950). Ends with "read all" and the power off. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>

static void say(const char *name)
{
    char path[300];
    uint32_t a = 1, b = 0;
    long size = 0;
    FILE *file;
    int byte;

    snprintf(path, sizeof(path), "/addons/modules/%s", name);
    file = fopen(path, "r");
    if (!file) {
        printf("file %s: %s\n", name, strerror(errno));
        return;
    }
    while ((byte = getc(file)) != EOF) {
        a = (a + (uint32_t)byte) % 65521;
        b = (b + a) % 65521;
        size++;
    }
    fclose(file);
    printf("file %s: %ld, %u\n", name, size, b << 16 | a);
}

int main(void)
{
    DIR *directory;
    struct dirent *entry;

    mkdir("/dev", 0755);
    mkdir("/addons", 0755);
    if (mount("dev", "/dev", "devtmpfs", 0, "") ||
        mount("/dev/vda", "/addons", "squashfs", MS_RDONLY, ""))
        printf("mount: %s\n", strerror(errno));
    directory = opendir("/addons/modules");
    while (directory && (entry = readdir(directory)))
        if (entry->d_name[0] != '.')
            say(entry->d_name);
    printf("read all\n");
    fflush(stdout);
    reboot(RB_POWER_OFF);
    return 1;
}
