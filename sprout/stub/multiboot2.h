/* Multiboot2 with EFI boot services left on: what a header asks for, and what is told. */
#ifndef SPROUT_MULTIBOOT2_H
#define SPROUT_MULTIBOOT2_H
#include "bytes.h"

#define MULTIBOOT2_MAGIC 0x36d76289u /* in EAX at the entry */

struct multiboot2_header {
    uint32_t entry; /* for 64-bit EFI, as a physical address of the file's */
    uint32_t least; /* the whole image has to lie between these two, both included */
    uint32_t last;
    uint32_t alignment; /* a power of two */
};

/* Finds the header. Gives NULL, or what is wrong: there is none, or one that asks for something
 * that is not given here. */
const char *multiboot2_find(struct span file, struct multiboot2_header *header);

/* Writes the information block, from its start to multiboot2_end. What has no room is left out, and
 * multiboot2_end then gives false. */
struct multiboot2_info {
    uint8_t *block;
    size_t room;
    size_t used;
    bool is_full;
};

/* `block` is aligned to 8 bytes. */
struct multiboot2_info multiboot2_begin(uint8_t *block, size_t room);

void multiboot2_add_cmdline(struct multiboot2_info *info, const char *first, struct span rest);
void multiboot2_add_loader(struct multiboot2_info *info, const char *name);

/* A module that lies below 4 GiB; its own command line is `first` and `rest`. */
void multiboot2_add_module(struct multiboot2_info *info, struct span module, const char *first,
                           struct span rest);

/* The boot services are on, and these are the system table and the image's handle. */
void multiboot2_add_efi(struct multiboot2_info *info, const void *system, const void *image);

bool multiboot2_end(struct multiboot2_info *info);

#endif
