/* The mock's handles: the stub's own image, and who offers an initrd. */
#include <stdarg.h>

#include "mock_parts.h"

char mock_self_handle, mock_device_handle;
static char our_handle;

static const EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
static const EFI_GUID device_path_guid = EFI_DEVICE_PATH_PROTOCOL_GUID;
static const EFI_GUID load_file2_guid = EFI_LOAD_FILE2_PROTOCOL_GUID;
static const EFI_GUID memory_attribute_guid = EFI_MEMORY_ATTRIBUTE_PROTOCOL_GUID;

static const uint8_t initrd_path[24] = {
    4,    3,    20,   0,    0x27, 0xe4, 0x68, 0x55, 0xfc, 0x68, 0x3d, 0x4f,
    0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68, 0x7f, 0xff, 4,    0};

/* Gives NULL for a handle that is none of theirs. */
static struct mock_foreign *foreign_handle(EFI_HANDLE handle)
{
    for (size_t i = 0; i < MOCK_FOREIGN; i++)
        if (handle == &mock.foreign[i])
            return &mock.foreign[i];
    return NULL;
}

static EFI_STATUS handle_protocol(EFI_HANDLE handle, const EFI_GUID *protocol, void **interface)
{
    if (handle == &mock_self_handle && !mock.hides_image &&
        same_guid(protocol, &loaded_image_guid)) {
        *interface = &mock.image;
        return EFI_SUCCESS;
    }
    if (handle == &mock_device_handle && same_guid(protocol, &device_path_guid) && mock.device_path) {
        *interface = (void *)(uintptr_t)mock.device_path;
        return EFI_SUCCESS;
    }
    if (same_guid(protocol, &load_file2_guid)) {
        struct mock_foreign *foreign = foreign_handle(handle);
        *interface = foreign != NULL ? foreign->file : mock.initrd;
        return EFI_SUCCESS;
    }
    return EFI_UNSUPPORTED;
}

/* Gives the longest match, and the first of equal ones (edk2, CoreLocateDevicePath). */
static EFI_STATUS locate_device_path(const EFI_GUID *protocol, EFI_DEVICE_PATH_PROTOCOL **path,
                                     EFI_HANDLE *handle)
{
    bool any = same_guid(protocol, &device_path_guid), found = false;
    CHECK(any || same_guid(protocol, &load_file2_guid));
    CHECK(memcmp(*path, initrd_path, sizeof(initrd_path)) == 0);
    for (size_t i = 0; i < MOCK_FOREIGN; i++) {
        struct mock_foreign *foreign = &mock.foreign[i];
        if (!any && foreign->file == NULL)
            continue;
        if (foreign->has_path || (foreign->has_no_nodes && !found)) {
            found = true;
            *handle = foreign;
        }
        if (foreign->has_path) {
            *path = (EFI_DEVICE_PATH_PROTOCOL *)((uint8_t *)*path + sizeof(VENDOR_DEVICE_PATH));
            return EFI_SUCCESS;
        }
    }
    if (mock.initrd != NULL && mock.initrd_is_on == 0) {
        *handle = &our_handle;
        *path = (EFI_DEVICE_PATH_PROTOCOL *)((uint8_t *)*path + sizeof(VENDOR_DEVICE_PATH));
        return EFI_SUCCESS;
    }
    return found ? EFI_SUCCESS : EFI_NOT_FOUND;
}

static EFI_STATUS locate_protocol(const EFI_GUID *protocol, void *registration, void **interface)
{
    CHECK(registration == NULL);
    if (!mock.has_attributes || !same_guid(protocol, &memory_attribute_guid))
        return EFI_NOT_FOUND;
    *interface = &mock.attribute_protocol;
    return EFI_SUCCESS;
}

/* Reads [device path,] LoadFile2, NULL. */
static EFI_LOAD_FILE2_PROTOCOL *read_interfaces(va_list list, bool *with_path)
{
    const EFI_GUID *guid = va_arg(list, const EFI_GUID *);
    *with_path = same_guid(guid, &device_path_guid);
    if (*with_path) {
        CHECK(memcmp(va_arg(list, const void *), initrd_path, sizeof(initrd_path)) == 0);
        guid = va_arg(list, const EFI_GUID *);
    }
    CHECK(same_guid(guid, &load_file2_guid));
    EFI_LOAD_FILE2_PROTOCOL *interface = va_arg(list, EFI_LOAD_FILE2_PROTOCOL *);
    CHECK(interface != NULL && va_arg(list, const void *) == NULL);
    return interface;
}

static bool path_is_taken(void)
{
    for (size_t i = 0; i < MOCK_FOREIGN; i++)
        if (mock.foreign[i].has_path)
            return true;
    return false;
}

static EFI_STATUS install(EFI_HANDLE *handle, ...)
{
    bool with_path;
    va_list list;
    va_start(list, handle);
    EFI_LOAD_FILE2_PROTOCOL *interface = read_interfaces(list, &with_path);
    va_end(list);
    if (mock.refuses_initrd && interface != mock.theirs)
        return EFI_OUT_OF_RESOURCES;
    struct mock_foreign *foreign = foreign_handle(*handle);
    CHECK(with_path == (*handle == NULL) && with_path == (foreign == NULL));
    if (foreign != NULL) {
        if (foreign->file != NULL)
            return EFI_INVALID_PARAMETER;
        foreign->file = interface;
        if (interface == mock.theirs)
            return EFI_SUCCESS;
    } else if (path_is_taken()) {
        return EFI_ALREADY_STARTED;
    } else {
        *handle = &our_handle;
    }
    CHECK(mock.initrd == NULL);
    mock.initrd = interface;
    mock.initrd_is_on = foreign == NULL ? 0 : (size_t)(foreign - mock.foreign) + 1;
    if (mock.answers)
        mock.foreign[0] = (struct mock_foreign){.has_path = true, .file = mock.theirs};
    return EFI_SUCCESS;
}

static EFI_STATUS uninstall(EFI_HANDLE handle, ...)
{
    bool with_path;
    va_list list;
    va_start(list, handle);
    EFI_LOAD_FILE2_PROTOCOL *interface = read_interfaces(list, &with_path);
    va_end(list);
    struct mock_foreign *foreign = foreign_handle(handle);
    CHECK(with_path == (foreign == NULL) && (foreign != NULL || handle == &our_handle));
    CHECK(interface == (foreign == NULL ? mock.initrd : foreign->file));
    if (mock.keeps_foreign && foreign != NULL)
        return EFI_INVALID_PARAMETER;
    if (interface == mock.initrd)
        mock.initrd = NULL;
    if (foreign != NULL)
        foreign->file = NULL;
    return EFI_SUCCESS;
}

long mock_load_initrd(uint8_t *buffer, size_t room)
{
    uint8_t path[sizeof(initrd_path)];
    memcpy(path, initrd_path, sizeof(path));
    EFI_DEVICE_PATH_PROTOCOL *at = (EFI_DEVICE_PATH_PROTOCOL *)path;
    EFI_HANDLE handle;
    void *interface;
    if (EFI_ERROR(mock.boot.LocateDevicePath(&load_file2_guid, &at, &handle)))
        return -1;
    CHECK(mock.boot.HandleProtocol(handle, &load_file2_guid, &interface) == EFI_SUCCESS);
    EFI_LOAD_FILE2_PROTOCOL *file = interface;
    UINTN size = 0;
    CHECK(file->LoadFile(file, at, 0, &size, NULL) == EFI_BUFFER_TOO_SMALL);
    CHECK(size <= room);
    CHECK(file->LoadFile(file, at, 0, &size, buffer) == EFI_SUCCESS);
    return (long)size;
}

void mock_reset_protocols(void)
{
    mock.boot.HandleProtocol = handle_protocol;
    mock.boot.LocateDevicePath = locate_device_path;
    mock.boot.LocateProtocol = locate_protocol;
    mock.boot.InstallMultipleProtocolInterfaces = install;
    mock.boot.UninstallMultipleProtocolInterfaces = uninstall;
    mock.image.DeviceHandle = &mock_device_handle;
}
