#define _POSIX_C_SOURCE 200809L
#include "images.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

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
