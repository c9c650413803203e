/* Hard drive device path node (UEFI 2.10, section 10.3.5.1). */
#include "partition.h"

#define MAX_NODES 64

static const EFI_GUID device_path_guid = EFI_DEVICE_PATH_PROTOCOL_GUID;

bool partition_guid(EFI_BOOT_SERVICES *boot, EFI_HANDLE device, uint8_t guid[16])
{
    void *path = NULL;
    if (device == NULL || EFI_ERROR(boot->HandleProtocol(device, &device_path_guid, &path)))
        return false;
    const uint8_t *node = path;
    for (size_t i = 0; i < MAX_NODES && node[0] != END_DEVICE_PATH; i++) {
        uint16_t length = read16(node + 2);
        if (length < sizeof(EFI_DEVICE_PATH_PROTOCOL))
            return false;
        if (node[0] == MEDIA_DEVICE_PATH && node[1] == MEDIA_HARDDRIVE_DP &&
            length == HARDDRIVE_DP_LENGTH &&
            node[HARDDRIVE_DP_SIGNATURE_TYPE] == SIGNATURE_TYPE_GUID) {
            for (size_t byte = 0; byte < 16; byte++)
                guid[byte] = node[HARDDRIVE_DP_SIGNATURE + byte];
            return true;
        }
        node += length;
    }
    return false;
}
