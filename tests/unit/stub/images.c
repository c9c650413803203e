#define _POSIX_C_SOURCE 200809L
#include "images.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "mock.h"

void put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

void put32(uint8_t *at, uint32_t value)
{
    put16(at, (uint16_t)value);
    put16(at + 2, (uint16_t)(value >> 16));
}

void pe_headers(uint8_t *image, uint32_t image_size, uint32_t headers_size)
{
    memcpy(image, "MZ", 2);
    put32(image + 60, PE_AT);
    memcpy(image + PE_AT, "PE\0\0", 4);
    put16(image + MACHINE_AT, 0x8664);
    put16(image + SECTION_COUNT_AT, 0);
    put16(image + OPTIONAL_SIZE_AT, 112 + 6 * 8);
    put16(image + OPTIONAL_AT, 0x20b);
    put32(image + SECTION_ALIGNMENT_AT, 4096);
    put32(image + IMAGE_SIZE_AT, image_size);
    put32(image + HEADERS_SIZE_AT, headers_size);
    put16(image + SUBSYSTEM_AT, 10);
    put32(image + DIRECTORIES_AT, 6);
}

void pe_add(uint8_t *image, const char *name, uint32_t address, uint32_t size, uint32_t raw_offset,
            uint32_t raw_size, uint32_t flags)
{
    uint16_t index = image[SECTION_COUNT_AT];
    uint8_t *at = image + SECTION_AT(index);
    memcpy(at, name, strlen(name));
    put32(at + VIRTUAL_SIZE, size);
    put32(at + VIRTUAL_ADDRESS, address);
    put32(at + RAW_SIZE, raw_size);
    put32(at + RAW_OFFSET, raw_offset);
    put32(at + FLAGS, flags);
    put16(image + SECTION_COUNT_AT, index + 1);
}

void kernel_image(uint8_t *file)
{
    for (size_t i = 0; i < KERNEL_FILE_SIZE; i++)
        file[i] = (uint8_t)(i * 7 + (i >> 8) + 1);
    memset(file, 0, 0x1000);
    pe_headers(file, KERNEL_IMAGE_SIZE, 0x1000);
    put32(file + ENTRY_AT, KERNEL_ENTRY);
    pe_add(file, ".setup", 0x1000, 0x1000, 0x1000, 0x1000, 0x42000040);
    pe_add(file, ".text", KERNEL_TEXT, 0x2000, KERNEL_TEXT, 0x2000, 0x60000020);
    pe_add(file, ".data", KERNEL_DATA, 0x1800, KERNEL_DATA, KERNEL_DATA_RAW, 0xc0000040);
}

static uint32_t pages(size_t size)
{
    return (uint32_t)((size + 4095) & ~(size_t)4095);
}

uint8_t *boot_image(const uint8_t *kernel, size_t kernel_size, uint32_t linux_size,
                    const char *text, const char *initrd, size_t *size)
{
    uint32_t at = 0x1000, total = 0x3000 + pages(linux_size);
    void *memory = NULL;
    CHECK(posix_memalign(&memory, 8192, total) == 0);
    uint8_t *image = memset(memory, 0, total);
    pe_headers(image, total, 0x400);
    if (text != NULL) {
        pe_add(image, ".cmdline", at, (uint32_t)strlen(text), 0x400, 512, 0x40000040);
        memcpy(image + at, text, strlen(text));
    }
    at += 0x1000;
    if (initrd != NULL) {
        pe_add(image, ".initrd", at, (uint32_t)strlen(initrd), 0x600, 512, 0x40000040);
        memcpy(image + at, initrd, strlen(initrd));
    }
    at += 0x1000;
    pe_add(image, ".linux", at, linux_size, 0x800, (uint32_t)kernel_size, 0x40000040);
    memcpy(image + at, kernel, kernel_size < linux_size ? kernel_size : linux_size);
    *size = total;
    return image;
}

uint8_t *boot_image_linux(uint8_t *image)
{
    return image + 0x3000;
}

static uint8_t *put_tag(uint8_t *at, uint16_t type, uint16_t flags, uint32_t size)
{
    put16(at, type);
    put16(at + 2, flags);
    put32(at + 4, size);
    return at + ((size + 7) & ~7u);
}

void hypervisor_file(uint8_t *file)
{
    for (size_t i = 0; i < HV_FILE_SIZE; i++)
        file[i] = (uint8_t)(i * 5 + (i >> 8) + 3);
    memset(file, 0, HV_PROGRAM_AT + 64);
    memcpy(file, "\177ELF\1\1\1", 7);
    put16(file + 16, 2);
    put16(file + 18, 3);
    put32(file + 20, 1);
    put32(file + 24, HV_ADDRESS);
    put32(file + 28, HV_PROGRAM_AT);
    put16(file + 42, 32);
    put16(file + 44, 2);
    const uint32_t segment[] = {1, HV_SEGMENT_OFFSET, HV_ADDRESS, HV_ADDRESS,
                                HV_SEGMENT_FILE, HV_SEGMENT_MEMORY, 7, 64};
    const uint32_t note[] = {4, 0x2000, 0, 0, 0x24, 0x24, 4, 4};
    for (size_t i = 0; i < 8; i++) {
        put32(file + HV_PROGRAM_AT + 4 * i, segment[i]);
        put32(file + HV_PROGRAM_AT + 32 + 4 * i, note[i]);
    }
    uint8_t *at = file + HV_HEADER_AT;
    memset(at, 0, HV_HEADER_SIZE);
    put32(at, 0xe85250d6);
    put32(at + 8, HV_HEADER_SIZE);
    put32(at + 12, 0u - 0xe85250d6u - HV_HEADER_SIZE);
    at = file + HV_TAGS_AT;
    put32(at + 8, 4);
    put32(at + 12, 6);
    at = put_tag(at, 1, 0, 16); /* memory sizes and map, required */
    at = put_tag(at, 6, 0, 8);  /* modules in whole pages */
    CHECK(at == file + HV_RELOCATABLE_AT);
    put32(at + 8, HV_ADDRESS);
    put32(at + 12, 0xffffffff);
    put32(at + 16, HV_ALIGNMENT);
    put32(at + 20, 2);
    at = put_tag(at, 10, 1, 24);
    at = put_tag(at, 4, 1, 12); /* console */
    at = put_tag(at, 5, 1, 20); /* frame buffer */
    CHECK(at == file + HV_SERVICES_AT);
    at = put_tag(at, 7, 1, 8);
    put32(at + 8, HV_ADDRESS + HV_ENTRY);
    at = put_tag(at, 9, 1, 12);
    CHECK(at == file + HV_END_AT);
    put_tag(at, 0, 0, 8);
}

static const char *const host_names[HOST_SECTIONS] = {".cmdline", ".hvcmd",  ".hv",
                                                      ".linux",   ".initrd", ".ucode"};

uint8_t *host_image(const struct host_section sections[HOST_SECTIONS], bool low, size_t *size)
{
    uint32_t at = 0x1000, total = 0x1000;
    for (size_t i = 0; i < HOST_SECTIONS; i++)
        total += pages(sections[i].size);
    uint8_t *image = mock_pages_at(low, total, 0);
    pe_headers(image, total, 0x400);
    for (size_t i = 0; i < HOST_SECTIONS; i++) {
        const struct host_section *section = &sections[i];
        if (section->data == NULL)
            continue;
        pe_add(image, host_names[i], at, (uint32_t)section->size, at, pages(section->size),
               0x40000040);
        memcpy(image + at, section->data, section->size);
        at += pages(section->size);
    }
    *size = total;
    return image;
}

uint8_t *host_section(uint8_t *image, const char *name)
{
    char padded[9] = {0};
    strncpy(padded, name, 8);
    for (size_t i = 0; i < image[SECTION_COUNT_AT]; i++) {
        const uint8_t *header = image + SECTION_AT(i);
        if (memcmp(header, padded, 8) == 0)
            return image + (header[VIRTUAL_ADDRESS] | header[VIRTUAL_ADDRESS + 1] << 8 |
                            header[VIRTUAL_ADDRESS + 2] << 16);
    }
    return NULL;
}
