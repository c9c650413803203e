/* Gives the processor to the kernel, under this image's own handle, and takes everything back when
 * the kernel gives up. */
#ifndef SPROUT_HANDOVER_H
#define SPROUT_HANDOVER_H
#include "cmdline.h"
#include "hypervisor.h"
#include "initrd.h"
#include "placement.h"
#include "proto/loaded_image.h"

struct handover {
    EFI_HANDLE self;
    EFI_SYSTEM_TABLE *system;
    EFI_LOADED_IMAGE_PROTOCOL *image; /* our own, which the kernel is shown in */
    EFI_LOADED_IMAGE_PROTOCOL firmware_image; /* what the firmware had put there */
    struct cmdline cmdline;
    struct initrd_offer initrd;
    struct kernel kernel;
    struct placement placement;
    struct hypervisor hypervisor; /* in place of kernel, initrd and placement, where there is one */
};

/* Calls the kernel, and gives its status when it comes back. When the kernel calls Exit, this does
 * not return: everything is undone and the firmware goes on after StartImage. */
EFI_STATUS handover_enter(struct handover *handover);

/* Enters the hypervisor. It calls Exit when it gives up: everything is undone then, and the
 * firmware goes on with an error. */
_Noreturn void handover_enter_hypervisor(struct handover *handover);

/* Gives back what was installed and allocated; safe at any stage. */
void handover_undo(struct handover *handover);

#endif
