/* Offers the initrd to Linux through LoadFile2, and makes sure that it is the one Linux finds. */
#ifndef SPROUT_INITRD_H
#define SPROUT_INITRD_H
#include "bytes.h"
#include "proto/boot_services.h"
#include "proto/load_file2.h"

#define INITRD_MAX_FOREIGN 4

struct initrd_foreign {
    EFI_HANDLE handle;
    EFI_LOAD_FILE2_PROTOCOL *protocol;
};

struct initrd_offer {
    EFI_LOAD_FILE2_PROTOCOL protocol; /* first: the firmware hands back its address */
    struct span bytes;
    EFI_HANDLE handle; /* NULL while nothing is installed */
    bool owns_path;    /* the handle and its device path are ours as well */
    /* What other programs had offered, and is away for as long as this offer stands. */
    struct initrd_foreign foreign[INITRD_MAX_FOREIGN];
    size_t foreign_count;
};

/* Installs `bytes` (none where the size is 0), and takes away whatever another program offers in
 * the place of it. `offer` stays in use until initrd_withdraw, which has to be called after a
 * failure as well. It is a failure when Linux would find anything else than this. */
struct failure initrd_install(struct initrd_offer *offer, EFI_BOOT_SERVICES *boot,
                              struct span bytes);

/* Takes it back, and gives the others back what was theirs; does nothing when nothing was done. */
void initrd_withdraw(struct initrd_offer *offer, EFI_BOOT_SERVICES *boot);

#endif
