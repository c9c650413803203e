/* Which partition was this image loaded from? */
#ifndef SPROUT_PARTITION_H
#define SPROUT_PARTITION_H
#include "bytes.h"
#include "proto/boot_services.h"

/* Finds the GPT partition's unique GUID, as it lies on the disk, for the device that an image came
 * from. Gives false where that is no GPT partition. */
bool partition_guid(EFI_BOOT_SERVICES *boot, EFI_HANDLE device, uint8_t guid[16]);

#endif
