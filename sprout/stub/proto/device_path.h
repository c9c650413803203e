/* EFI_DEVICE_PATH_PROTOCOL (UEFI 2.10, chapter 10). Nodes follow each other unaligned. */
#ifndef SPROUT_PROTO_DEVICE_PATH_H
#define SPROUT_PROTO_DEVICE_PATH_H
#include "proto/types.h"

#define EFI_DEVICE_PATH_PROTOCOL_GUID \
    {0x09576e91, 0x6d3f, 0x11d2, {0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}}

#define MEDIA_DEVICE_PATH 0x04
#define MEDIA_HARDDRIVE_DP 0x01
#define MEDIA_VENDOR_DP 0x03
#define END_DEVICE_PATH 0x7f
#define END_ENTIRE_DEVICE_PATH 0xff

typedef struct {
    uint8_t Type;
    uint8_t SubType;
    uint8_t Length[2];
} EFI_DEVICE_PATH_PROTOCOL;

/* Section 10.3.5.3. */
typedef struct {
    EFI_DEVICE_PATH_PROTOCOL Header;
    uint8_t VendorGuid[16];
} VENDOR_DEVICE_PATH;

/* Section 10.3.5.1: offsets in the hard drive node, which is 42 bytes long. */
#define HARDDRIVE_DP_LENGTH 42
#define HARDDRIVE_DP_SIGNATURE 24
#define HARDDRIVE_DP_SIGNATURE_TYPE 41
#define SIGNATURE_TYPE_GUID 0x02

_Static_assert(sizeof(EFI_DEVICE_PATH_PROTOCOL) == 4, "UEFI 2.10, section 10.2");
_Static_assert(sizeof(VENDOR_DEVICE_PATH) == 20, "UEFI 2.10, section 10.3.5.3");

#endif
