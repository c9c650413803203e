/* LoadFile2 on the vendor media path LINUX_EFI_INITRD_MEDIA_GUID (UEFI 2.10, section 13.2). */
#include "initrd.h"

#include <cpu.h>

static const EFI_GUID load_file2_guid = EFI_LOAD_FILE2_PROTOCOL_GUID;
static const EFI_GUID device_path_guid = EFI_DEVICE_PATH_PROTOCOL_GUID;

static struct {
    VENDOR_DEVICE_PATH vendor;
    EFI_DEVICE_PATH_PROTOCOL end;
} initrd_path = {
    {{MEDIA_DEVICE_PATH, MEDIA_VENDOR_DP, {sizeof(VENDOR_DEVICE_PATH), 0}},
     LINUX_EFI_INITRD_MEDIA_GUID_BYTES},
    {END_DEVICE_PATH, END_ENTIRE_DEVICE_PATH, {sizeof(EFI_DEVICE_PATH_PROTOCOL), 0}},
};

static EFI_STATUS EFIAPI load_file(EFI_LOAD_FILE2_PROTOCOL *self, EFI_DEVICE_PATH_PROTOCOL *path,
                                   BOOLEAN boot_policy, UINTN *size, void *buffer)
{
    if (self == NULL || path == NULL || size == NULL)
        return EFI_INVALID_PARAMETER;
    if (boot_policy)
        return EFI_UNSUPPORTED;
    const struct initrd_offer *offer = (const struct initrd_offer *)self;
    if (buffer == NULL || *size < offer->bytes.size) {
        *size = offer->bytes.size;
        return EFI_BUFFER_TOO_SMALL;
    }
    cpu_copy(buffer, offer->bytes.data, offer->bytes.size);
    *size = offer->bytes.size;
    return EFI_SUCCESS;
}

/* Linux takes whatever LocateDevicePath gives it, and the firmware gives the closest match: an
 * initrd that somebody else installed is not covered by this image's signature, and must never be
 * used in the place of ours or of none. So ask the same question that Linux will ask. */
static struct failure only_ours(const struct initrd_offer *offer, EFI_BOOT_SERVICES *boot)
{
    EFI_DEVICE_PATH_PROTOCOL *path = &initrd_path.vendor.Header;
    EFI_HANDLE found = NULL;
    EFI_STATUS status = boot->LocateDevicePath(&load_file2_guid, &path, &found);
    if (EFI_ERROR(status))
        found = NULL;
    return found == offer->handle ? SUCCESS
                                  : FAILURE(EFI_SECURITY_VIOLATION, ".initrd",
                                            "another program offers its own initrd to Linux");
}

struct failure initrd_install(struct initrd_offer *offer, EFI_BOOT_SERVICES *boot,
                              struct span bytes)
{
    *offer = (struct initrd_offer){{load_file}, bytes, NULL};
    if (bytes.size == 0)
        return only_ours(offer, boot);
    EFI_STATUS status = boot->InstallMultipleProtocolInterfaces(
        &offer->handle, &device_path_guid, &initrd_path, &load_file2_guid, &offer->protocol, NULL);
    if (status == EFI_ALREADY_STARTED)
        return FAILURE(EFI_SECURITY_VIOLATION, ".initrd",
                       "another program offers its own initrd to Linux");
    if (EFI_ERROR(status))
        return FAILURE(status, ".initrd", "the firmware refused to install LoadFile2");
    return only_ours(offer, boot);
}

void initrd_withdraw(struct initrd_offer *offer, EFI_BOOT_SERVICES *boot)
{
    if (offer->handle == NULL)
        return;
    boot->UninstallMultipleProtocolInterfaces(offer->handle, &device_path_guid, &initrd_path,
                                              &load_file2_guid, &offer->protocol, NULL);
    offer->handle = NULL;
}
