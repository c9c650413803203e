/* libFuzzer target for everything in the stub that reads bytes. The first byte chooses the reader;
 * each reader gets a copy of exactly the size it is told, so that one step too far is seen. */
#include <stdlib.h>

#include "acpi.h"
#include "cmdline.h"
#include "elf.h"
#include "images.h"
#include "kernel.h"
#include "level.h"
#include "mock.h"
#include "multiboot2.h"
#include "sprout_levels.h"
#include "sprout_stamps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static EFI_STATUS EFIAPI foreign_load(EFI_LOAD_FILE2_PROTOCOL *self, EFI_DEVICE_PATH_PROTOCOL *path,
                                      BOOLEAN boot_policy, UINTN *size, void *buffer)
{
    (void)self, (void)path, (void)boot_policy, (void)size, (void)buffer;
    abort();
}

static EFI_LOAD_FILE2_PROTOCOL foreign = {foreign_load};

/* What linux 3 and sprout-stub 2 just meet. */
static void put_level(void)
{
    static const EFI_GUID vendor = SPROUT_STAMPS_GUID;
    static const char *const components[] = {"linux", "sprout-stub"};
    uint8_t table[sizeof(struct sprout_levels) + 2 * sizeof(struct sprout_level)] = {0};
    put32(table, SPROUT_LEVELS_MAGIC);
    put16(table + 4, SPROUT_LEVELS_VERSION);
    put16(table + 6, 2);
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t *row = table + sizeof(struct sprout_levels) + i * sizeof(struct sprout_level);
        strcpy((char *)row, components[i]);
        put32(row + offsetof(struct sprout_level, generation), 3 - i);
    }
    mock.runtime.SetVariable(u"" SPROUT_LEVELS_VARIABLE, &vendor, SPROUT_LEVELS_ATTRIBUTES,
                             sizeof(table), table);
}

static EFI_STATUS kernel(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
    (void)entry, (void)self, (void)system;
    for (size_t i = 0; i < MOCK_FOREIGN; i++)
        if (mock.foreign[i].file == &foreign)
            abort();
    return EFI_SUCCESS;
}

/* A hypervisor's view of what it is told: whole modules below 4 GiB. */
static void hypervisor(const uint8_t *entry, uint32_t magic, const uint8_t *information)
{
    uint32_t total, type, size, start, end;
    EFI_HANDLE image = NULL;
    (void)magic;
    (void)*(const volatile uint8_t *)entry;
    memcpy(&total, information, sizeof(total));
    for (uint32_t at = 8; at < total; at += (size + 7) & ~7u) {
        memcpy(&type, information + at, sizeof(type));
        memcpy(&size, information + at + 4, sizeof(size));
        if (size < 8 || size > total - at)
            abort();
        if (type == 20)
            memcpy(&image, information + at + 8, sizeof(image));
        if (type != 3)
            continue;
        memcpy(&start, information + at + 8, sizeof(start));
        memcpy(&end, information + at + 12, sizeof(end));
        if (start % EFI_PAGE_SIZE != 0 || end <= start)
            abort();
        for (uint32_t byte = start; byte < end; byte++)
            (void)*(const volatile uint8_t *)(uintptr_t)byte;
    }
    mock.boot.Exit(image, EFI_SUCCESS, 0, NULL);
}

/* The whole boot: own section table, inner kernel, command line, initrd, and the same around a
 * hypervisor. What the stub accepts has to lie within the image, or the copy it makes is seen to go
 * wrong. */
static void fuzz_boot(const uint8_t *data, size_t size)
{
    static const size_t most = 0x10000;
    if (size < 2 || size > most)
        return;
    /* The firmware has checked what it loaded: whole pages, zeroed beyond the file. */
    size_t loaded = (size + EFI_PAGE_SIZE - 1) & ~(EFI_PAGE_SIZE - 1);
    uint8_t *image = aligned_alloc(EFI_PAGE_SIZE, loaded);
    memset(image, 0, loaded);
    memcpy(image, data, size);
    mock_reset();
    /* These bits are otherwise unused: MZ is looked at in their place. */
    mock.has_attributes = data[1] & 1;
    mock.theirs = &foreign;
    if (data[1] & 2)
        mock.foreign[0] = (struct mock_foreign){.has_path = true, .file = &foreign};
    if (data[1] & 4)
        put_level();
    mock.kernel = kernel;
    mock.hypervisor = hypervisor;
    mock.allows_mixed = true;
    image[0] = 'M';
    image[1] = 'Z';
    mock.image.ImageBase = image;
    mock.image.ImageSize = loaded;
    mock.memory_limit = 0x100;
    (void)mock_start_image();
    if ((data[1] & 2) && mock.foreign[0].file != &foreign)
        abort();
    if (mock.allocation != NULL || mock.initrd != NULL || mock.image.ImageBase != image ||
        mock_low_count() != 0)
        abort();
    free(image);
}

static void fuzz_kernel(const uint8_t *file, size_t size)
{
    struct kernel kernel;
    struct section section = {{file, size}, size};
    if (kernel_read(section, &kernel).status != EFI_SUCCESS)
        return;
    uint64_t end = kernel.pe.headers_size;
    for (uint32_t i = 0; i < kernel.pe.sections; i++) {
        struct pe_section header = pe_section(&kernel.pe, i);
        if (header.virtual_address < end ||
            (uint64_t)header.raw_offset + kernel_raw_size(&header) > size)
            abort();
        end = (uint64_t)header.virtual_address + header.virtual_size;
    }
    if (end > kernel.pe.image_size || kernel.pe.entry >= kernel.pe.image_size)
        abort();
}

static void fuzz_hypervisor(const uint8_t *file, size_t size)
{
    struct multiboot2_header header;
    struct elf elf;
    if (elf_read((struct span){file, size}, &elf) == NULL) {
        uint64_t end = elf.start;
        for (uint32_t i = 0; i < elf.headers; i++) {
            struct elf_segment segment = elf_segment(&elf, i);
            if (segment.memory_size == 0)
                continue;
            if (segment.address < end || segment.file_size > segment.memory_size ||
                (uint64_t)segment.offset + segment.file_size > size)
                abort();
            end = (uint64_t)segment.address + segment.memory_size;
        }
        if (end != (uint64_t)elf.start + elf.size || elf.size > ELF_MAX_MEMORY || end > UINT32_MAX)
            abort();
    }
    if (multiboot2_find((struct span){file, size}, &header) == NULL &&
        (header.alignment == 0 || (header.alignment & (header.alignment - 1)) != 0))
        abort();
}

static void fuzz_cmdline(const uint8_t *text, size_t size)
{
    struct cmdline line;
    if (cmdline_convert((struct span){text, size}, &line).status != EFI_SUCCESS)
        return;
    size_t units = line.size / sizeof(CHAR16);
    if (units == 0 || units > CMDLINE_MAX + 1 || line.text[units - 1] != 0)
        abort();
    for (size_t i = 0; i + 1 < units; i++)
        if (line.text[i] == 0 || line.text[i] == '\n')
            abort();
}

/* The bytes are physical memory at 0x1000, with the RSDP at its start. */
static void fuzz_acpi(const uint8_t *memory, size_t size)
{
    mock_reset();
    mock.memory = memory;
    mock.memory_base = 0x1000;
    mock.memory_size = size;
    mock.tables[0].VendorGuid = (EFI_GUID)EFI_ACPI_20_TABLE_GUID;
    mock.tables[0].VendorTable = (const void *)0x1000;
    mock.system.NumberOfTableEntries = 1;
    mock.system.ConfigurationTable = mock.tables;
    (void)acpi_pm_timer(&mock.system);
}

/* Whether every component that both tables name has in `own` what `least` asks for. */
static bool meets(const uint8_t *least, const uint8_t *own)
{
    for (size_t i = 0; i < read16(least + 6); i++)
        for (size_t j = 0; j < read16(own + 6); j++) {
            const uint8_t *wanted = least + 8 + 32 * i, *found = own + 8 + 32 * j;
            if (strcmp((const char *)wanted, (const char *)found) == 0 &&
                read32(found + 24) < read32(wanted + 24))
                return false;
        }
    return true;
}

/* The first byte is the size of the machine's table; the image's is the rest. */
static void fuzz_level(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] > size - 1)
        return;
    size_t machine_size = data[0], own_size = size - 1 - machine_size;
    uint8_t *machine = malloc(machine_size), *own = malloc(own_size);
    memcpy(machine, data + 1, machine_size);
    memcpy(own, data + 1 + machine_size, own_size);
    struct failure failure =
        level_compare((struct span){machine, machine_size}, (struct span){own, own_size});
    if (failure.status == EFI_SUCCESS && !meets(machine, own))
        abort();
    if (failure.status != EFI_SUCCESS && strlen(failure.what) > 23)
        abort();
    free(machine);
    free(own);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(const uint8_t *, size_t) = {fuzz_boot, fuzz_kernel,
                                                               fuzz_cmdline, fuzz_acpi, fuzz_level,
                                                               fuzz_hypervisor};
    if (size == 0)
        return 0;
    uint8_t *copy = malloc(size);
    memcpy(copy, data, size);
    readers[copy[0] % 6](copy + 1, size - 1);
    free(copy);
    return 0;
}
