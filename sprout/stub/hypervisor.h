/* The hypervisor in `.hv`, and what it is started with: placed in memory below 4 GiB. */
#ifndef SPROUT_HYPERVISOR_H
#define SPROUT_HYPERVISOR_H
#include "pe.h"
#include "proto/boot_services.h"
#include "proto/memory_attribute.h"
#include "proto/system_table.h"
#include "sections.h"

#define HYPERVISOR_BLOCKS 5 /* itself, the information, and at most three modules */

struct hypervisor {
    const uint8_t *entry;
    uint32_t information; /* where the Multiboot2 information lies */
    uint64_t bytes_copied;
    EFI_MEMORY_ATTRIBUTE_PROTOCOL *attributes; /* NULL where the firmware has none */
    struct {
        EFI_PHYSICAL_ADDRESS pages;
        size_t count;
    } blocks[HYPERVISOR_BLOCKS]; /* what was allocated */
    size_t block_count;
};

/* Makes the hypervisor of the image `self` ready to run: `hv` is its section `.hv`. The host's
 * kernel, its initramfs and the microcode are used where they lie, unless that is above 4 GiB. It
 * is a failure when a section is missing or malformed, or there is no memory;
 * hypervisor_undo has to be called all the same. */
struct failure hypervisor_make(struct hypervisor *hypervisor, const struct pe *self,
                               struct section hv, EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

/* Clears and frees what was allocated. */
void hypervisor_undo(struct hypervisor *hypervisor, EFI_BOOT_SERVICES *boot);

#endif
