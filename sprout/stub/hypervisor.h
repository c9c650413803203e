/* A hypervisor with its host's kernel and initrd, ready to be entered by Multiboot2. */
#ifndef SPROUT_HYPERVISOR_H
#define SPROUT_HYPERVISOR_H
#include "elf.h"
#include "multiboot2.h"
#include "pages.h"
#include "proto/system_table.h"

/* Xen cuts off what is longer, of either command line (4.17, MAX_GUEST_CMDLINE and saved_cmdline);
 * an argument that would be lost is an error here. */
#define HYPERVISOR_MAX_CMDLINE 1023

enum { HYPERVISOR_KERNEL, HYPERVISOR_INITRD, HYPERVISOR_MICROCODE, HYPERVISOR_MODULES };

/* The sections that they are in. */
extern const char *const hypervisor_modules[HYPERVISOR_MODULES];

/* What is in the image for it. */
struct hypervisor_parts {
    struct span image; /* Xen's ELF file */
    struct span cmdline;
    struct span kernel_cmdline;
    struct span modules[HYPERVISOR_MODULES]; /* size 0: there is none */
};

struct hypervisor {
    struct pages pages;                       /* what it runs in */
    struct pages info;                        /* the information block */
    struct pages modules[HYPERVISOR_MODULES]; /* copies, where the image could not be used */
    const uint8_t *entry;                     /* NULL where there is no hypervisor */
    uint64_t bytes_copied;
};

/* Loads the hypervisor and tells it of the rest, which stays where the firmware loaded it unless
 * that is beyond 4 GiB or not whole pages. It is a failure when the file is not what it should
 * be, and when memory or its attributes cannot be had; hypervisor_undo has to be called all the
 * same. */
struct failure hypervisor_make(struct hypervisor *hypervisor, EFI_SYSTEM_TABLE *system,
                               EFI_HANDLE image, const struct hypervisor_parts *parts);

/* Clears and frees all of it; does nothing when nothing was done. */
void hypervisor_undo(struct hypervisor *hypervisor, EFI_BOOT_SERVICES *boot);

#endif
