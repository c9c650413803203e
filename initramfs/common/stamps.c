/* The stub's stamps: a table in an EFI variable, read through efivarfs. */
#include <string.h>

#include "init.h"

/* Kernel Documentation/filesystems/efivarfs.rst: four bytes of attributes come first. */
#define ATTRIBUTES 4
/* UEFI 2.10 section 8.2: for boot services and at run time; volatile, so of this boot. */
#define VOLATILE (2u | 4u)
#define VARIABLE_PATH \
    "/sys/firmware/efi/efivars/" SPROUT_STAMPS_VARIABLE "-" SPROUT_STAMPS_GUID_TEXT

/* Any OS that ran before may have left the variable: only this boot's whole table counts. */
bool decode_stamps(const uint8_t *variable, size_t size, struct sprout_stamps *stamps)
{
    struct sprout_stamps table;
    uint32_t attributes;

    if (size != ATTRIBUTES + sizeof(table))
        return false;
    memcpy(&attributes, variable, sizeof(attributes));
    memcpy(&table, variable + ATTRIBUTES, sizeof(table));
    if (attributes != VOLATILE || table.magic != SPROUT_STAMPS_MAGIC || table.version != SPROUT_STAMPS_VERSION ||
        table.size != sizeof(table))
        return false;
    *stamps = table;
    return true;
}

/* Gives zeros where no stub published stamps. */
void read_stamps(struct sprout_stamps *stamps)
{
    uint8_t variable[ATTRIBUTES + sizeof(*stamps) + 1]; /* one more shows a longer one */
    ssize_t got = read_file(VARIABLE_PATH, variable, sizeof(variable));

    if (got < 0 || !decode_stamps(variable, (size_t)got, stamps))
        memset(stamps, 0, sizeof(*stamps));
}
