/* Multiboot2: what a hypervisor asks of its loader, and the information that it is given. */
#ifndef SPROUT_MULTIBOOT2_H
#define SPROUT_MULTIBOOT2_H
#include "bytes.h"

#define MULTIBOOT2_MAGIC 0x36d76289u /* in EAX at the entry */

/* What of the header concerns a loader that leaves boot services on. */
struct multiboot2 {
    uint32_t entry;          /* physical address where the file says, for 64-bit EFI */
    uint32_t lowest, highest; /* where the image may lie; highest is its last byte */
    uint32_t alignment;
};

struct multiboot2_module {
    uint32_t start, end; /* physical addresses; end is past the last byte */
    struct span cmdline; /* no NUL in it */
};

struct multiboot2_facts {
    struct span cmdline; /* no NUL in it */
    const struct multiboot2_module *modules;
    size_t module_count;
    uint64_t system_table, image_handle;
};

/* Finds and reads the header in `file`. Gives NULL, or what is wrong. */
const char *multiboot2_read(struct span file, struct multiboot2 *header);

/* The bytes that the information takes, with room to align each tag. Nothing overflows as long as
 * the texts and modules are some thousands. */
size_t multiboot2_size(const struct multiboot2_facts *facts);

/* Writes the information to `block`, which is aligned to 8 and has multiboot2_size bytes. */
void multiboot2_write(uint8_t *block, const struct multiboot2_facts *facts);

#endif
