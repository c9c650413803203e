/* Another program that runs before the boot image and wants its own way: it offers Linux an initrd
 * of its own, then starts \EFI\sprout\zone.efi from the same partition with LoadOptions of its own.
 *
 * Says "meddler: " and what happens on the console. Built by tests/support/meddler.py. */
#include <stdbool.h>

#include "proto/load_file2.h"
#include "proto/loaded_image.h"
#include "proto/system_table.h"

#define MAX_PATH 512
#define FILE_PATH_DP 0x04 /* UEFI 2.10, section 10.3.5.4 */

typedef EFI_STATUS(EFIAPI *load_image)(BOOLEAN boot_policy, EFI_HANDLE parent,
                                       EFI_DEVICE_PATH_PROTOCOL *path, void *source, UINTN size,
                                       EFI_HANDLE *image);
typedef EFI_STATUS(EFIAPI *start_image)(EFI_HANDLE image, UINTN *exit_size, CHAR16 **exit_data);

EFI_STATUS EFIAPI efi_main(EFI_HANDLE self, EFI_SYSTEM_TABLE *system);
void *memcpy(void *to, const void *from, size_t size);

static const EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
static const EFI_GUID device_path_guid = EFI_DEVICE_PATH_PROTOCOL_GUID;
static const EFI_GUID load_file2_guid = EFI_LOAD_FILE2_PROTOCOL_GUID;

static const CHAR16 file_name[] = u"\\EFI\\sprout\\zone.efi";
static CHAR16 load_options[] = u"init=/evil rdinit=/evil initrd=\\evil.cpio lockdown=none noinitrd";
static EFI_SYSTEM_TABLE *firmware;

static struct {
    VENDOR_DEVICE_PATH vendor;
    EFI_DEVICE_PATH_PROTOCOL end;
} initrd_path = {
    {{MEDIA_DEVICE_PATH, MEDIA_VENDOR_DP, {sizeof(VENDOR_DEVICE_PATH), 0}},
     LINUX_EFI_INITRD_MEDIA_GUID_BYTES},
    {END_DEVICE_PATH, END_ENTIRE_DEVICE_PATH, {sizeof(EFI_DEVICE_PATH_PROTOCOL), 0}},
};

void *memcpy(void *to, const void *from, size_t size)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    return to;
}

static void say(const CHAR16 *text)
{
    firmware->ConOut->OutputString(firmware->ConOut, u"meddler: ");
    firmware->ConOut->OutputString(firmware->ConOut, text);
    firmware->ConOut->OutputString(firmware->ConOut, u"\r\n");
}

/* NULs are an archive with nothing in it, so a kernel that takes this has no init. */
static EFI_STATUS EFIAPI load_file(EFI_LOAD_FILE2_PROTOCOL *self, EFI_DEVICE_PATH_PROTOCOL *path,
                                   BOOLEAN boot_policy, UINTN *size, void *buffer)
{
    static const uint8_t nothing[4096];
    (void)self, (void)path, (void)boot_policy;
    if (buffer == NULL || *size < sizeof(nothing)) {
        say(u"its initrd was asked for");
        *size = sizeof(nothing);
        return EFI_BUFFER_TOO_SMALL;
    }
    memcpy(buffer, nothing, sizeof(nothing));
    *size = sizeof(nothing);
    return EFI_SUCCESS;
}

static EFI_LOAD_FILE2_PROTOCOL initrd = {load_file};

/* Whether Linux would find the meddler's initrd now. */
static bool is_offered(void)
{
    EFI_DEVICE_PATH_PROTOCOL *path = &initrd_path.vendor.Header;
    EFI_BOOT_SERVICES *boot = firmware->BootServices;
    EFI_HANDLE handle = NULL;
    void *found = NULL;
    if (EFI_ERROR(boot->LocateDevicePath(&load_file2_guid, &path, &handle)) ||
        EFI_ERROR(boot->HandleProtocol(handle, &load_file2_guid, &found)))
        return false;
    return found == &initrd;
}

/* Writes the device's path and the file's name after it; false where that is too long. */
static bool make_path(const uint8_t *device, uint8_t *path)
{
    size_t used = 0;
    while (device[0] != END_DEVICE_PATH) {
        size_t length = (size_t)(device[2] | device[3] << 8);
        if (length < sizeof(EFI_DEVICE_PATH_PROTOCOL) || used + length > MAX_PATH / 2)
            return false;
        memcpy(path + used, device, length);
        used += length;
        device += length;
    }
    const uint8_t node[] = {MEDIA_DEVICE_PATH, FILE_PATH_DP, 4 + sizeof(file_name), 0};
    memcpy(path + used, node, sizeof(node));
    memcpy(path + used + sizeof(node), file_name, sizeof(file_name));
    memcpy(path + used + sizeof(node) + sizeof(file_name), &initrd_path.end, 4);
    return true;
}

static EFI_STATUS load(EFI_HANDLE self, EFI_HANDLE *image)
{
    static uint8_t path[MAX_PATH];
    EFI_BOOT_SERVICES *boot = firmware->BootServices;
    void *own = NULL, *device = NULL;
    EFI_STATUS status = boot->HandleProtocol(self, &loaded_image_guid, &own);
    if (!EFI_ERROR(status))
        status = boot->HandleProtocol(((EFI_LOADED_IMAGE_PROTOCOL *)own)->DeviceHandle,
                                      &device_path_guid, &device);
    if (EFI_ERROR(status))
        return status;
    if (!make_path(device, path))
        return EFI_UNSUPPORTED;
    return ((load_image)(uintptr_t)boot->LoadImage)(0, self, (EFI_DEVICE_PATH_PROTOCOL *)path, NULL,
                                                    0, image);
}

EFI_STATUS EFIAPI efi_main(EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
    EFI_BOOT_SERVICES *boot = system->BootServices;
    EFI_HANDLE handle = NULL, image = NULL;
    void *loaded = NULL;
    firmware = system;

    EFI_STATUS status = boot->InstallMultipleProtocolInterfaces(
        &handle, &device_path_guid, &initrd_path, &load_file2_guid, &initrd, NULL);
    if (EFI_ERROR(status) || !is_offered()) {
        say(u"cannot offer an initrd");
        return EFI_LOAD_ERROR;
    }
    status = load(self, &image);
    if (EFI_ERROR(status)) {
        say(status == EFI_SECURITY_VIOLATION ? u"the image is refused" : u"cannot load the image");
        return status;
    }
    status = boot->HandleProtocol(image, &loaded_image_guid, &loaded);
    if (EFI_ERROR(status))
        return status;
    ((EFI_LOADED_IMAGE_PROTOCOL *)loaded)->LoadOptions = load_options;
    ((EFI_LOADED_IMAGE_PROTOCOL *)loaded)->LoadOptionsSize = sizeof(load_options);
    say(u"offers an initrd, and starts the image");
    status = ((start_image)(uintptr_t)boot->StartImage)(image, NULL, NULL);
    say(is_offered() ? u"the image is back, and so is the initrd"
                     : u"the image is back, but the initrd is gone");
    return status;
}
