/* A block of memory that something is made ready to run in, and the attributes of its pages. */
#ifndef SPROUT_PAGES_H
#define SPROUT_PAGES_H
#include "bytes.h"
#include "proto/boot_services.h"
#include "proto/memory_attribute.h"

struct pages {
    uint8_t *base;
    uint64_t size;               /* whole pages */
    EFI_PHYSICAL_ADDRESS memory; /* what was allocated; 0 where it is somebody else's */
    size_t count;                /* how many pages of it */
    bool is_data;                /* and nothing ever runs in it */
    EFI_MEMORY_ATTRIBUTE_PROTOCOL *attributes; /* NULL where the firmware has none */
    uint64_t attributes_before; /* EFI_MEMORY_XP, RO and RP as the firmware had set them */
};

/* Gives an empty block of that size, which knows whether the firmware has attributes. */
struct pages pages_of_size(EFI_BOOT_SERVICES *boot, uint64_t size);

/* Allocates memory for the block, which becomes data, and executable where there are no attributes
 * to make it so later. `alignment` is a power of two of at least a page; the last byte lies at or
 * below `last`. On an error pages_give_back has to be called all the same. */
EFI_STATUS pages_allocate(struct pages *pages, EFI_BOOT_SERVICES *boot, uint64_t alignment,
                          uint64_t last);

/* Takes memory that is there already for the block. */
void pages_adopt(struct pages *pages, uint8_t *base);

/* What the pages from `offset` on may be used for; the firmware has attributes. Data is writable
 * and not executable, code is executable and not writable, fixed is neither. */
EFI_STATUS pages_make_data(const struct pages *pages, uint64_t offset, uint64_t size);
EFI_STATUS pages_make_code(const struct pages *pages, uint64_t offset, uint64_t size);
EFI_STATUS pages_make_fixed(const struct pages *pages, uint64_t offset, uint64_t size);

/* Makes data executable as well. */
EFI_STATUS pages_make_mixed(const struct pages *pages, uint64_t offset, uint64_t size);

/* Clears the memory and gives it the attributes that it had before, because the firmware hands
 * freed pages out as they are, and frees what was allocated. Safe at any stage. */
void pages_give_back(struct pages *pages, EFI_BOOT_SERVICES *boot);

#endif
