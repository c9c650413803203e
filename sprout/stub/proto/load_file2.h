/* EFI_LOAD_FILE2_PROTOCOL (UEFI 2.10, section 13.2), and the device path on which Linux looks for
 * its initrd (Linux, Documentation/arch/x86/boot.rst and drivers/firmware/efi/libstub). */
#ifndef SPROUT_PROTO_LOAD_FILE2_H
#define SPROUT_PROTO_LOAD_FILE2_H
#include "proto/device_path.h"
#include "proto/types.h"

#define EFI_LOAD_FILE2_PROTOCOL_GUID \
    {0x4006c0c1, 0xfcb3, 0x403e, {0x99, 0x6d, 0x4a, 0x6c, 0x87, 0x24, 0xe0, 0x6d}}

/* 5568e427-68fc-4f3d-ac74-ca555231cc68, in the byte order that a device path holds. */
#define LINUX_EFI_INITRD_MEDIA_GUID_BYTES \
    {0x27, 0xe4, 0x68, 0x55, 0xfc, 0x68, 0x3d, 0x4f, 0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68}

typedef struct EFI_LOAD_FILE2_PROTOCOL {
    EFI_STATUS(EFIAPI *LoadFile)
    (struct EFI_LOAD_FILE2_PROTOCOL *self, EFI_DEVICE_PATH_PROTOCOL *path, BOOLEAN boot_policy,
     UINTN *size, void *buffer);
} EFI_LOAD_FILE2_PROTOCOL;

#endif
