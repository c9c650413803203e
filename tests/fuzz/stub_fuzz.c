/* libFuzzer target for everything in the stub that reads bytes. The first byte chooses the reader;
 * each reader gets a copy of exactly the size it is told, so that one step too far is seen. */
#include <stdlib.h>

#include "acpi.h"
#include "cmdline.h"
#include "images.h"
#include "kernel.h"
#include "mock.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The whole boot: own section table, inner kernel, command line, initrd. What the stub accepts has
 * to lie within the image, or the copy it makes is seen to go wrong. */
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
    mock.has_attributes = data[1] & 1; /* otherwise unused: MZ is looked at in its place */
    image[0] = 'M';
    image[1] = 'Z';
    mock.image.ImageBase = image;
    mock.image.ImageSize = loaded;
    mock.memory_limit = 0x100;
    (void)mock_start_image();
    if (mock.allocation != NULL || mock.initrd != NULL || mock.image.ImageBase != image)
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(const uint8_t *, size_t) = {fuzz_boot, fuzz_kernel,
                                                               fuzz_cmdline, fuzz_acpi};
    if (size == 0)
        return 0;
    uint8_t *copy = malloc(size);
    memcpy(copy, data, size);
    readers[copy[0] % 4](copy + 1, size - 1);
    free(copy);
    return 0;
}
