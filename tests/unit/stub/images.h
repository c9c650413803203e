/* Small PE images for the tests: a kernel as Linux lays it out, and a boot image around it. */
#ifndef SPROUT_IMAGES_H
#define SPROUT_IMAGES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where things are in the kernel that kernel_image makes. */
enum {
    KERNEL_IMAGE_SIZE = 0x6000,
    KERNEL_FILE_SIZE = 0x4400,
    KERNEL_ENTRY = 0x2010,
    KERNEL_TEXT = 0x2000,
    KERNEL_DATA = 0x4000,
    KERNEL_DATA_RAW = 0x400,
};

/* Offsets of fields in every header that is made here. */
enum {
    PE_AT = 0x40,
    MACHINE_AT = PE_AT + 4,
    SECTION_COUNT_AT = PE_AT + 6,
    OPTIONAL_SIZE_AT = PE_AT + 20,
    OPTIONAL_AT = PE_AT + 24,
    ENTRY_AT = OPTIONAL_AT + 16,
    SECTION_ALIGNMENT_AT = OPTIONAL_AT + 32,
    IMAGE_SIZE_AT = OPTIONAL_AT + 56,
    HEADERS_SIZE_AT = OPTIONAL_AT + 60,
    SUBSYSTEM_AT = OPTIONAL_AT + 68,
    DIRECTORIES_AT = OPTIONAL_AT + 108,
    RELOCATIONS_AT = OPTIONAL_AT + 112 + 5 * 8,
    SECTIONS_AT = OPTIONAL_AT + 112 + 6 * 8,
};

/* Offsets in a section header, and the header of section `index`. */
enum { VIRTUAL_SIZE = 8, VIRTUAL_ADDRESS = 12, RAW_SIZE = 16, RAW_OFFSET = 20, FLAGS = 36 };
#define SECTION_AT(index) (SECTIONS_AT + 40 * (index))

void put16(uint8_t *at, uint16_t value);
void put32(uint8_t *at, uint32_t value);

/* Headers without sections. */
void pe_headers(uint8_t *image, uint32_t image_size, uint32_t headers_size);

/* Adds a section header. */
void pe_add(uint8_t *image, const char *name, uint32_t address, uint32_t size, uint32_t raw_offset,
            uint32_t raw_size, uint32_t flags);

/* A kernel file of KERNEL_FILE_SIZE bytes: .setup, .text and .data with a .bss, patterned. */
void kernel_image(uint8_t *file);

/* A boot image as the firmware loads it. `text` and `initrd` may be NULL; `linux_size` is the
 * VirtualSize of `.linux`, which comes last. Gives memory to be freed, in which `.linux` is aligned
 * to 4 KiB and not to 8. */
uint8_t *boot_image(const uint8_t *kernel, size_t kernel_size, uint32_t linux_size,
                    const char *text, const char *initrd, size_t *size);

/* Where boot_image puts `.linux`. */
uint8_t *boot_image_linux(uint8_t *image);

/* Where things are in the hypervisor that hypervisor_file makes: an ELF file with one segment, in
 * which the Multiboot2 header lies. */
enum {
    HV_FILE_SIZE = 0x3400,
    HV_SEGMENT_OFFSET = 0x1000,
    HV_SEGMENT_FILE = 0x2400,
    HV_SEGMENT_MEMORY = 0x4800,
    HV_ADDRESS = 0x200000,
    HV_ENTRY = 0x240,
    HV_ALIGNMENT = 0x4000,
    HV_PROGRAM_AT = 52,
    HV_HEADER_AT = 0x1008,
    HV_HEADER_SIZE = 16 + 16 + 8 + 24 + 16 + 24 + 8 + 16 + 8,
    HV_TAGS_AT = HV_HEADER_AT + 16,
    HV_RELOCATABLE_AT = HV_TAGS_AT + 24,
    HV_SERVICES_AT = HV_RELOCATABLE_AT + 64,
    HV_ENTRY_AT = HV_SERVICES_AT + 8,
    HV_END_AT = HV_ENTRY_AT + 16,
};

/* A hypervisor of HV_FILE_SIZE bytes, patterned. */
void hypervisor_file(uint8_t *file);

/* The sections of the image that host_image makes, in this order. */
enum { HOST_CMDLINE, HOST_HVCMD, HOST_HV, HOST_LINUX, HOST_INITRD, HOST_UCODE, HOST_SECTIONS };

/* The contents of a section of it, and how many bytes they are. */
struct host_section {
    const void *data; /* NULL: there is no such section */
    size_t size;
};

/* A host's boot image as the firmware loads it, below 4 GiB or above; only sections with data are
 * in it, each with pages of its own. Gives memory that is never freed. */
uint8_t *host_image(const struct host_section sections[HOST_SECTIONS], bool low, size_t *size);

/* Where host_image has put the section; NULL where there is none. */
uint8_t *host_section(uint8_t *image, const char *name);

#endif
