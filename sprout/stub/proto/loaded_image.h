/* EFI_LOADED_IMAGE_PROTOCOL (UEFI 2.10, section 9.1). */
#ifndef SPROUT_PROTO_LOADED_IMAGE_H
#define SPROUT_PROTO_LOADED_IMAGE_H
#include "proto/system_table.h"
#include "proto/types.h"

#define EFI_LOADED_IMAGE_PROTOCOL_GUID \
    {0x5b1b31a1, 0x9562, 0x11d2, {0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}}

typedef struct {
    uint32_t Revision;
    EFI_HANDLE ParentHandle;
    EFI_SYSTEM_TABLE *SystemTable;
    EFI_HANDLE DeviceHandle;
    void *FilePath;
    void *Reserved;
    uint32_t LoadOptionsSize;
    void *LoadOptions;
    void *ImageBase;
    uint64_t ImageSize;
    uint32_t ImageCodeType;
    uint32_t ImageDataType;
    void *Unload;
} EFI_LOADED_IMAGE_PROTOCOL;

_Static_assert(offsetof(EFI_LOADED_IMAGE_PROTOCOL, LoadOptions) == 56, "UEFI 2.10, section 9.1");
_Static_assert(sizeof(EFI_LOADED_IMAGE_PROTOCOL) == 96, "UEFI 2.10, section 9.1");

#endif
