/* Stands in for the stub: where the variable with its stamps is missing, writes one that survives
 * a reboot and asks for that; else ends with status 0. */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "sprout_stamps.h"

#define DIRECTORY "/sys/firmware/efi/efivars"
#define VARIABLE DIRECTORY "/" SPROUT_STAMPS_VARIABLE "-" SPROUT_STAMPS_GUID_TEXT

int main(void)
{
    /* UEFI 2.10 section 8.2: non-volatile, for boot services and at run time. */
    const uint32_t attributes = 1 | 2 | 4;
    const struct sprout_stamps stamps = {
        .magic = SPROUT_STAMPS_MAGIC,
        .version = SPROUT_STAMPS_VERSION,
        .size = sizeof(stamps),
        .tsc_entry = 11,
        .tsc_handover = 22,
        .tsc_hz = 3000000000,
        .bytes_copied = 44,
    };
    char table[sizeof(attributes) + sizeof(stamps)];
    int file;

    if (access(VARIABLE, F_OK) == 0)
        return 0;
    if (open(DIRECTORY "/sprout-1", O_WRONLY | O_CREAT, 0644) >= 0)
        return 10; /* init mounts it read-only */
    if (mount(NULL, DIRECTORY, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        return 11;
    memcpy(table, &attributes, sizeof(attributes));
    memcpy(table + sizeof(attributes), &stamps, sizeof(stamps));
    file = open(VARIABLE, O_WRONLY | O_CREAT, 0644);
    if (file < 0 || write(file, table, sizeof(table)) != sizeof(table))
        return 12;
    return 133;
}
