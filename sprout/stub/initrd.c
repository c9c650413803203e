/* LoadFile2 on the vendor media path LINUX_EFI_INITRD_MEDIA_GUID (UEFI 2.10, section 13.2). */
#include "initrd.h"

#include <cpu.h>

#define FOREIGN_INITRD \
    FAILURE(EFI_SECURITY_VIOLATION, ".initrd", "another program offers its own initrd to Linux")

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

/* Asks what Linux will ask. The firmware gives the closest match, which may be a handle with a part
 * of the path only. */
static bool find(EFI_BOOT_SERVICES *boot, struct initrd_foreign *found)
{
    EFI_DEVICE_PATH_PROTOCOL *path = &initrd_path.vendor.Header;
    void *protocol = NULL;
    found->handle = NULL;
    if (EFI_ERROR(boot->LocateDevicePath(&load_file2_guid, &path, &found->handle)))
        return false;
    if (EFI_ERROR(boot->HandleProtocol(found->handle, &load_file2_guid, &protocol)))
        protocol = NULL;
    found->protocol = protocol;
    return true;
}

/* An initrd from another program is not covered by this image's signature, and must never be used
 * in the place of ours or of none. It is taken away and not answered for: Linux (6.12, libstub,
 * efi_load_initrd_dev_path) gives up on a LoadFile2 that has nothing, and takes none only where
 * nothing is installed. */
static struct failure take_away_others(struct initrd_offer *offer, EFI_BOOT_SERVICES *boot)
{
    struct initrd_foreign found;
    while (find(boot, &found)) {
        if (offer->foreign_count == INITRD_MAX_FOREIGN ||
            EFI_ERROR(boot->UninstallMultipleProtocolInterfaces(found.handle, &load_file2_guid,
                                                                found.protocol, NULL)))
            return FOREIGN_INITRD;
        offer->foreign[offer->foreign_count++] = found;
    }
    return SUCCESS;
}

/* A device path may be there once, so where another program has made a handle of this path, ours
 * goes onto that one. */
static EFI_STATUS install(struct initrd_offer *offer, EFI_BOOT_SERVICES *boot)
{
    EFI_STATUS status = boot->InstallMultipleProtocolInterfaces(
        &offer->handle, &device_path_guid, &initrd_path, &load_file2_guid, &offer->protocol, NULL);
    offer->owns_path = !EFI_ERROR(status);
    if (status == EFI_ALREADY_STARTED) {
        EFI_DEVICE_PATH_PROTOCOL *path = &initrd_path.vendor.Header;
        status = boot->LocateDevicePath(&device_path_guid, &path, &offer->handle);
        if (!EFI_ERROR(status))
            status = boot->InstallMultipleProtocolInterfaces(&offer->handle, &load_file2_guid,
                                                             &offer->protocol, NULL);
    }
    if (EFI_ERROR(status))
        offer->handle = NULL;
    return status;
}

struct failure initrd_install(struct initrd_offer *offer, EFI_BOOT_SERVICES *boot,
                              struct span bytes)
{
    *offer = (struct initrd_offer){.protocol = {load_file}, .bytes = bytes};
    struct failure failure = take_away_others(offer, boot);
    if (failure.status != EFI_SUCCESS || bytes.size == 0)
        return failure;
    EFI_STATUS status = install(offer, boot);
    if (EFI_ERROR(status))
        return FAILURE(status, ".initrd", "the firmware refused to install LoadFile2");
    /* Installing calls whoever asked to be notified, and they may have answered. */
    struct initrd_foreign found;
    if (!find(boot, &found) || found.protocol != &offer->protocol)
        return FOREIGN_INITRD;
    return SUCCESS;
}

void initrd_withdraw(struct initrd_offer *offer, EFI_BOOT_SERVICES *boot)
{
    if (offer->handle != NULL && offer->owns_path)
        boot->UninstallMultipleProtocolInterfaces(offer->handle, &device_path_guid, &initrd_path,
                                                  &load_file2_guid, &offer->protocol, NULL);
    else if (offer->handle != NULL)
        boot->UninstallMultipleProtocolInterfaces(offer->handle, &load_file2_guid,
                                                  &offer->protocol, NULL);
    offer->handle = NULL;
    for (size_t i = 0; i < offer->foreign_count; i++)
        boot->InstallMultipleProtocolInterfaces(&offer->foreign[i].handle, &load_file2_guid,
                                                offer->foreign[i].protocol, NULL);
    offer->foreign_count = 0;
}
