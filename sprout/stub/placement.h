/* Where the kernel runs: in place, as a part of the loaded image, or in a copy of its own. */
#ifndef SPROUT_PLACEMENT_H
#define SPROUT_PLACEMENT_H
#include "kernel.h"
#include "proto/boot_services.h"
#include "proto/memory_attribute.h"

struct placement {
    uint8_t *base;
    uint64_t size;         /* SizeOfImage, whole pages */
    uint64_t bytes_copied; /* 0 in place */
    EFI_PHYSICAL_ADDRESS pages; /* what was allocated; 0 in place */
    size_t page_count;
    EFI_MEMORY_ATTRIBUTE_PROTOCOL *attributes; /* NULL where the firmware has none */
    uint64_t attributes_before; /* EFI_MEMORY_XP, RO and RP as the firmware had set them */
};

/* Makes the kernel ready to run, with each section readable, and either writable or executable as
 * its flags say. From the first byte written until placement_undo no page is both, where the
 * firmware has attributes. It is a failure when memory or its attributes cannot be had;
 * placement_undo has to be called all the same. */
struct failure placement_make(struct placement *placement, EFI_BOOT_SERVICES *boot,
                              const struct kernel *kernel);

/* Clears the memory and gives it the attributes that it had before, because the firmware hands
 * freed pages out as they are, and frees what was allocated. */
void placement_undo(struct placement *placement, EFI_BOOT_SERVICES *boot);

#endif
