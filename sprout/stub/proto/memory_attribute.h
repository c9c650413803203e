/* EFI_MEMORY_ATTRIBUTE_PROTOCOL (UEFI 2.10, "EFI Memory Attribute Protocol"). Base and length are
 * multiples of the page size. Set adds the given bits and Clear takes them away; Get gives what all
 * of the pages have, and is an error when they differ. */
#ifndef SPROUT_PROTO_MEMORY_ATTRIBUTE_H
#define SPROUT_PROTO_MEMORY_ATTRIBUTE_H
#include "proto/types.h"

#define EFI_MEMORY_ATTRIBUTE_PROTOCOL_GUID \
    {0xf4560cf6, 0x40ec, 0x4b4a, {0xa1, 0x92, 0xbf, 0x1d, 0x57, 0xd0, 0xb1, 0x89}}

#define EFI_MEMORY_RP 0x2000u
#define EFI_MEMORY_XP 0x4000u
#define EFI_MEMORY_RO 0x20000u

typedef struct EFI_MEMORY_ATTRIBUTE_PROTOCOL {
    EFI_STATUS(EFIAPI *GetMemoryAttributes)
    (struct EFI_MEMORY_ATTRIBUTE_PROTOCOL *self, EFI_PHYSICAL_ADDRESS base, uint64_t length,
     uint64_t *attributes);
    EFI_STATUS(EFIAPI *SetMemoryAttributes)
    (struct EFI_MEMORY_ATTRIBUTE_PROTOCOL *self, EFI_PHYSICAL_ADDRESS base, uint64_t length,
     uint64_t attributes);
    EFI_STATUS(EFIAPI *ClearMemoryAttributes)
    (struct EFI_MEMORY_ATTRIBUTE_PROTOCOL *self, EFI_PHYSICAL_ADDRESS base, uint64_t length,
     uint64_t attributes);
} EFI_MEMORY_ATTRIBUTE_PROTOCOL;

#endif
