/* Offers the initrd to Linux through LoadFile2, and makes sure that it is the one Linux finds. */
#ifndef SPROUT_INITRD_H
#define SPROUT_INITRD_H
#include "bytes.h"
#include "proto/boot_services.h"
#include "proto/load_file2.h"

struct initrd_offer {
    EFI_LOAD_FILE2_PROTOCOL protocol; /* first: the firmware hands back its address */
    struct span bytes;
    EFI_HANDLE handle; /* NULL while nothing is installed */
};

/* Installs `bytes` (none where the size is 0). `offer` stays in use until initrd_withdraw.
 * It is a failure when Linux would find anything else than this. */
struct failure initrd_install(struct initrd_offer *offer, EFI_BOOT_SERVICES *boot,
                              struct span bytes);

/* Takes it back; does nothing when it is not installed. */
void initrd_withdraw(struct initrd_offer *offer, EFI_BOOT_SERVICES *boot);

#endif
