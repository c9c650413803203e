#define _DEFAULT_SOURCE /* MAP_32BIT */
#include "mock.h"

#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "acpi.h"
#include "check.h"

struct mock mock;

EFI_STATUS EFIAPI efi_main(EFI_HANDLE self, EFI_SYSTEM_TABLE *system);

#define MOCK_NO_MAPPING (EFI_ERROR_BIT | 17)

/* Whether no attributes were ever asked of or set for the page, or it has these. */
static bool has_attributes_or_none(const void *address, uint64_t attributes);

static char self_handle, device_handle, our_handle;

static const EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
static const EFI_GUID device_path_guid = EFI_DEVICE_PATH_PROTOCOL_GUID;
static const EFI_GUID load_file2_guid = EFI_LOAD_FILE2_PROTOCOL_GUID;
static const EFI_GUID memory_attribute_guid = EFI_MEMORY_ATTRIBUTE_PROTOCOL_GUID;

static const uint8_t initrd_path[24] = {
    4,    3,    20,   0,    0x27, 0xe4, 0x68, 0x55, 0xfc, 0x68, 0x3d, 0x4f,
    0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68, 0x7f, 0xff, 4,    0};

static bool same_guid(const EFI_GUID *left, const EFI_GUID *right)
{
    return memcmp(left, right, sizeof(*left)) == 0;
}

/* What is asked of these services is as important as what they do: anything else ends the test. */

uint8_t *mock_pages_at(bool low, size_t size, int byte)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | (low ? MAP_32BIT : 0), -1, 0);
    CHECK(memory != MAP_FAILED && ((uintptr_t)memory < 1ull << 32) == low);
    return memset(memory, byte, size);
}

size_t mock_low_count(void)
{
    size_t count = 0;
    for (size_t i = 0; i < MOCK_LOW; i++)
        count += mock.low[i].memory != NULL;
    return count;
}

static EFI_STATUS allocate_low(uint32_t memory_type, UINTN pages, EFI_PHYSICAL_ADDRESS *memory)
{
    CHECK(*memory <= 0xffffffff);
    mock.low_calls++;
    if (mock.low_calls == mock.low_call_that_fails || mock.memory_is_full ||
        (mock.memory_limit != 0 && pages > mock.memory_limit))
        return EFI_OUT_OF_RESOURCES;
    for (size_t i = 0; i < MOCK_LOW; i++) {
        if (mock.low[i].memory != NULL)
            continue;
        uint8_t *at = mock_pages_at(true, pages * EFI_PAGE_SIZE, 0xa5);
        if ((uintptr_t)at + pages * EFI_PAGE_SIZE - 1 > *memory) {
            munmap(at, pages * EFI_PAGE_SIZE);
            return EFI_OUT_OF_RESOURCES;
        }
        mock.low[i] = (struct mock_low){at, pages, memory_type};
        *memory = (uintptr_t)at;
        return EFI_SUCCESS;
    }
    CHECK(!"more allocations than the mock has");
    return EFI_OUT_OF_RESOURCES;
}

static EFI_STATUS allocate_pages(uint32_t type, uint32_t memory_type, UINTN pages,
                                 EFI_PHYSICAL_ADDRESS *memory)
{
    if (type == ALLOCATE_MAX_ADDRESS)
        return allocate_low(memory_type, pages, memory);
    CHECK(type == ALLOCATE_ANY_PAGES);
    CHECK(mock.allocation == NULL);
    if (mock.memory_is_full || (mock.memory_limit != 0 && pages > mock.memory_limit))
        return EFI_OUT_OF_RESOURCES;
    size_t size = pages * EFI_PAGE_SIZE;
    size_t offset = mock.misaligned ? EFI_PAGE_SIZE : 0;
    CHECK(posix_memalign(&mock.allocation, 2 * EFI_PAGE_SIZE, offset + size) == 0);
    memset(mock.allocation, 0xa5, offset + size);
    mock.allocated_pages = pages;
    mock.allocated_type = memory_type;
    CHECK(memory_type == (mock.has_attributes ? EFI_LOADER_DATA : EFI_LOADER_CODE));
    *memory = (uintptr_t)mock.allocation + offset;
    return EFI_SUCCESS;
}

/* Nothing of what was written is left: a page is cleared, or as it was given. */
static void check_cleared(const uint8_t *page)
{
    CHECK(page[0] == 0 || page[0] == 0xa5);
    CHECK(memcmp(page, page + 1, EFI_PAGE_SIZE - 1) == 0);
}

static bool free_low(EFI_PHYSICAL_ADDRESS memory, UINTN pages)
{
    for (size_t i = 0; i < MOCK_LOW; i++) {
        struct mock_low *low = &mock.low[i];
        if (low->memory == NULL || (uintptr_t)low->memory != memory)
            continue;
        CHECK(pages == low->pages);
        for (size_t j = 0; j < pages; j++) {
            uint8_t *page = low->memory + j * EFI_PAGE_SIZE;
            if (mock.attribute_call_that_fails == 0) {
                check_cleared(page);
                CHECK(!mock.has_attributes ||
                      has_attributes_or_none(page, mock.attributes_differ
                                                           ? EFI_MEMORY_XP
                                                           : mock.attributes_at_first));
            }
        }
        munmap(low->memory, pages * EFI_PAGE_SIZE);
        *low = (struct mock_low){0};
        return true;
    }
    return false;
}

/* edk2 may fill freed pages with a pattern, and hands them out again as they are: with other
 * attributes than they came with, whoever gets them next would fault. */
static EFI_STATUS free_pages(EFI_PHYSICAL_ADDRESS memory, UINTN pages)
{
    if (free_low(memory, pages))
        return EFI_SUCCESS;
    CHECK(mock.allocation != NULL);
    CHECK(memory == (uintptr_t)mock.allocation + (mock.misaligned ? EFI_PAGE_SIZE : 0));
    CHECK(pages == mock.allocated_pages);
    uint64_t expected = mock.attributes_differ ? EFI_MEMORY_XP : mock.attributes_at_first;
    for (size_t i = 0; mock.has_attributes && i < pages; i++)
        CHECK(mock_page_attributes((uint8_t *)(uintptr_t)memory + i * EFI_PAGE_SIZE) == expected ||
              mock.attribute_call_that_fails != 0);
    free(mock.allocation);
    mock.allocation = NULL;
    return EFI_SUCCESS;
}

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
    if (handle == &self_handle && !mock.hides_image &&
        same_guid(protocol, &loaded_image_guid)) {
        *interface = &mock.image;
        return EFI_SUCCESS;
    }
    if (handle == &device_handle && same_guid(protocol, &device_path_guid) && mock.device_path) {
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

static EFI_STATUS calculate_crc32(const void *data, UINTN size, uint32_t *crc)
{
    CHECK(data == &mock.boot && size == sizeof(mock.boot));
    uint32_t value = 0xffffffff; /* `crc` may lie in `data` */
    for (size_t i = 0; i < size; i++) {
        value ^= ((const uint8_t *)data)[i];
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
    }
    *crc = ~value;
    return EFI_SUCCESS;
}

static EFI_STATUS firmware_exit(EFI_HANDLE image, EFI_STATUS status, UINTN data_size, CHAR16 *data)
{
    CHECK(image == &self_handle && data_size == 0 && data == NULL);
    CHECK(mock.exit_is_armed);
    mock.exit_status = status;
    longjmp(mock.exit_jump, 1);
}

static void to_ascii(const CHAR16 *from, char *to, size_t room)
{
    size_t i = 0;
    for (; from[i] != 0; i++) {
        CHECK(i + 1 < room && from[i] < 0x80);
        to[i] = (char)from[i];
    }
    to[i] = '\0';
}

struct mock_variable *mock_variable(const char *name)
{
    for (size_t i = 0; i < MOCK_VARIABLES; i++)
        if (strcmp(mock.variables[i].name, name) == 0)
            return &mock.variables[i];
    return NULL;
}

const char *mock_text(const char *name)
{
    static char text[128];
    struct mock_variable *variable = mock_variable(name);
    if (variable == NULL)
        return "";
    CHAR16 units[64];
    memcpy(units, variable->data, variable->size);
    CHECK(variable->size % 2 == 0 && units[variable->size / 2 - 1] == 0);
    to_ascii(units, text, sizeof(text));
    CHECK((strlen(text) + 1) * 2 == variable->size);
    return text;
}

static EFI_STATUS get_variable(const CHAR16 *name, const EFI_GUID *vendor, uint32_t *attributes,
                               UINTN *size, void *data)
{
    char ascii[40];
    to_ascii(name, ascii, sizeof(ascii));
    struct mock_variable *variable = mock_variable(ascii);
    CHECK(attributes != NULL && (data == NULL) == (*size == 0));
    if (variable == NULL || !same_guid(&variable->vendor, vendor))
        return EFI_NOT_FOUND;
    if (mock.reading_fails != EFI_SUCCESS)
        return mock.reading_fails;
    bool fits = *size >= variable->size;
    *attributes = variable->attributes;
    *size = variable->size;
    if (!fits)
        return EFI_BUFFER_TOO_SMALL;
    memcpy(data, variable->data, variable->size);
    return EFI_SUCCESS;
}

static EFI_STATUS set_variable(const CHAR16 *name, const EFI_GUID *vendor, uint32_t attributes,
                               UINTN size, const void *data)
{
    char ascii[40];
    to_ascii(name, ascii, sizeof(ascii));
    if (mock.variables_are_full)
        return EFI_OUT_OF_RESOURCES;
    struct mock_variable *variable = mock_variable(ascii);
    /* UEFI 2.10, section 8.2.3: other attributes than it has are no way to write a variable. */
    if (variable != NULL && variable->attributes != attributes)
        return EFI_INVALID_PARAMETER;
    if (size == 0) {
        CHECK(variable != NULL);
        memset(variable, 0, sizeof(*variable));
        return EFI_SUCCESS;
    }
    if (variable == NULL)
        variable = mock_variable("");
    CHECK(variable != NULL && size <= sizeof(variable->data));
    strcpy(variable->name, ascii);
    variable->vendor = *vendor;
    variable->attributes = attributes;
    variable->size = size;
    memcpy(variable->data, data, size);
    return EFI_SUCCESS;
}

static EFI_STATUS output_string(EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL *self, const CHAR16 *string)
{
    CHECK(self == &mock.text);
    size_t used = strlen(mock.console);
    to_ascii(string, mock.console + used, sizeof(mock.console) - used);
    return EFI_SUCCESS;
}

static struct mock_page *page_entry(uint64_t address)
{
    for (size_t i = 0; i < MOCK_PAGES; i++) {
        if (mock.pages[i].address == 0)
            mock.pages[i] = (struct mock_page){address, mock.attributes_at_first};
        if (mock.pages[i].address == address)
            return &mock.pages[i];
    }
    CHECK(!"more pages than the mock has");
    return NULL;
}

uint64_t mock_page_attributes(const void *address)
{
    return page_entry((uintptr_t)address & ~(EFI_PAGE_SIZE - 1))->attributes;
}

static bool has_attributes_or_none(const void *address, uint64_t attributes)
{
    for (size_t i = 0; i < MOCK_PAGES && mock.pages[i].address != 0; i++)
        if (mock.pages[i].address == (uintptr_t)address)
            return mock.pages[i].attributes == attributes;
    return true;
}

static bool is_known(uint64_t page)
{
    for (size_t i = 0; i < MOCK_PAGES && mock.pages[i].address != 0; i++)
        if (mock.pages[i].address == page)
            return true;
    return mock.allocation != NULL && page >= (uintptr_t)mock.allocation &&
           page - (uintptr_t)mock.allocation < (mock.allocated_pages + 1) * EFI_PAGE_SIZE;
}

/* Memory that attributes have been set for, or that was allocated, is written as data only. */
void mock_writes(const void *to, size_t size)
{
    uint64_t page = (uintptr_t)to & ~(EFI_PAGE_SIZE - 1);
    for (; mock.has_attributes && page < (uintptr_t)to + size; page += EFI_PAGE_SIZE)
        if (is_known(page))
            CHECK((mock_page_attributes((void *)(uintptr_t)page) &
                   (EFI_MEMORY_XP | EFI_MEMORY_RO)) == EFI_MEMORY_XP);
}

static bool is_blank(uint64_t page)
{
    const uint8_t *bytes = (const uint8_t *)(uintptr_t)page;
    for (size_t i = 0; i < EFI_PAGE_SIZE; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static EFI_STATUS change(EFI_PHYSICAL_ADDRESS base, uint64_t length, uint64_t on, uint64_t off)
{
    mock.attribute_calls++;
    CHECK(base % EFI_PAGE_SIZE == 0 && length % EFI_PAGE_SIZE == 0 && length > 0);
    CHECK(((on | off) & ~(uint64_t)(EFI_MEMORY_RO | EFI_MEMORY_RP | EFI_MEMORY_XP)) == 0);
    if (mock.attribute_calls == mock.attribute_call_that_fails)
        return EFI_UNSUPPORTED;
    for (uint64_t at = base; at < base + length; at += EFI_PAGE_SIZE) {
        struct mock_page *page = page_entry(at);
        page->attributes = (page->attributes | on) & ~off;
        CHECK((page->attributes & (EFI_MEMORY_RO | EFI_MEMORY_XP)) || is_blank(at) ||
              mock.allows_mixed);
    }
    return EFI_SUCCESS;
}

static EFI_STATUS get_attributes(EFI_MEMORY_ATTRIBUTE_PROTOCOL *self, EFI_PHYSICAL_ADDRESS base,
                                 uint64_t length, uint64_t *attributes)
{
    CHECK(self == &mock.attribute_protocol);
    CHECK(base % EFI_PAGE_SIZE == 0 && length % EFI_PAGE_SIZE == 0 && length > 0);
    if (mock.attributes_differ)
        return MOCK_NO_MAPPING;
    *attributes = page_entry(base)->attributes;
    for (uint64_t at = base; at < base + length; at += EFI_PAGE_SIZE)
        CHECK(page_entry(at)->attributes == *attributes);
    return EFI_SUCCESS;
}

static EFI_STATUS set_attributes(EFI_MEMORY_ATTRIBUTE_PROTOCOL *self, EFI_PHYSICAL_ADDRESS base,
                                 uint64_t length, uint64_t attributes)
{
    CHECK(self == &mock.attribute_protocol);
    return change(base, length, attributes, 0);
}

static EFI_STATUS clear_attributes(EFI_MEMORY_ATTRIBUTE_PROTOCOL *self, EFI_PHYSICAL_ADDRESS base,
                                   uint64_t length, uint64_t attributes)
{
    CHECK(self == &mock.attribute_protocol);
    return change(base, length, 0, attributes);
}

uint64_t cpu_ticks(void)
{
    return mock.ticks += mock.ticks_per_read;
}

uint32_t cpu_in32(uint16_t port)
{
    CHECK(port == 0x608);
    mock.port_reads++;
    mock.ticks += mock.ticks_per_read;
    if (mock.port_reads == mock.slow_port_read)
        mock.ticks += mock.hz / 50;
    /* The upper bits of a 24-bit timer are reserved, and not always 0. */
    return (uint32_t)(mock.timer_start + mock.ticks * PM_TIMER_HZ / mock.hz);
}

struct cpuid cpu_id(uint32_t leaf)
{
    switch (leaf) {
    case 0:
        return mock.leaf_0;
    case 1:
        return mock.leaf_1;
    case 0x15:
        CHECK(mock.leaf_0.eax >= 0x15);
        return mock.leaf_15;
    case 0x40000000:
        CHECK(mock.leaf_1.ecx & 1u << 31);
        return mock.leaf_hypervisor;
    case 0x40000010:
        CHECK(mock.leaf_hypervisor.eax >= 0x40000010);
        return mock.leaf_hypervisor_10;
    default:
        CHECK(!"an unexpected CPUID leaf");
        return (struct cpuid){0, 0, 0, 0};
    }
}

const uint8_t *cpu_physical(uint64_t address, uint64_t size)
{
    if (mock.memory == NULL || address < mock.memory_base || size > mock.memory_size ||
        address - mock.memory_base > mock.memory_size - size)
        return NULL;
    return mock.memory + (address - mock.memory_base);
}

EFI_STATUS cpu_enter(const uint8_t *entry, EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    CHECK(image == &self_handle && system == &mock.system);
    mock.kernel_runs++;
    return mock.kernel == NULL ? EFI_SUCCESS : mock.kernel(entry, image, system);
}

_Noreturn void cpu_enter_multiboot2(const uint8_t *entry, uint32_t magic,
                                    const uint8_t *information)
{
    mock.hypervisor_runs++;
    if (mock.hypervisor != NULL)
        mock.hypervisor(entry, magic, information);
    mock.exit_status = EFI_SUCCESS;
    longjmp(mock.exit_jump, 1);
}

void mock_reset(void)
{
    memset(&mock, 0, sizeof(mock));
    mock.boot.Hdr.HeaderSize = sizeof(mock.boot);
    mock.boot.AllocatePages = allocate_pages;
    mock.boot.FreePages = free_pages;
    mock.boot.HandleProtocol = handle_protocol;
    mock.boot.LocateDevicePath = locate_device_path;
    mock.boot.LocateProtocol = locate_protocol;
    mock.boot.InstallMultipleProtocolInterfaces = install;
    mock.boot.UninstallMultipleProtocolInterfaces = uninstall;
    mock.boot.CalculateCrc32 = calculate_crc32;
    mock.boot.Exit = firmware_exit;
    calculate_crc32(&mock.boot, sizeof(mock.boot), &mock.boot.Hdr.CRC32);
    mock.runtime.GetVariable = get_variable;
    mock.runtime.SetVariable = set_variable;
    mock.text.OutputString = output_string;
    mock.attribute_protocol.GetMemoryAttributes = get_attributes;
    mock.attribute_protocol.SetMemoryAttributes = set_attributes;
    mock.attribute_protocol.ClearMemoryAttributes = clear_attributes;
    mock.system.ConOut = &mock.text;
    mock.system.BootServices = &mock.boot;
    mock.system.RuntimeServices = &mock.runtime;
    mock.image.DeviceHandle = &device_handle;
    mock.ticks = 1000000;
    mock.ticks_per_read = 100;
    mock.hz = 1000000000;
}

EFI_STATUS mock_start_image(void)
{
    if (setjmp(mock.exit_jump) != 0)
        return mock.exit_status;
    mock.exit_is_armed = true;
    return efi_main(&self_handle, &mock.system);
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
