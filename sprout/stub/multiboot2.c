/* Multiboot2 Specification 2.0, section 3.1 (header) and 3.6 (boot information). */
#include "multiboot2.h"

#include <cpu.h>

#define SEARCHED 32768
#define HEADER_MAGIC 0xe85250d6u
#define ARCHITECTURE_I386 0
#define HEADER_SIZE 16
#define TAG_SIZE 8
#define TAG_IS_OPTIONAL 1u

enum {
    HEADER_END = 0,
    HEADER_INFORMATION_REQUEST = 1,
    HEADER_ENTRY = 3,
    HEADER_CONSOLE_FLAGS = 4,
    HEADER_FRAMEBUFFER = 5,
    HEADER_MODULE_ALIGN = 6,
    HEADER_EFI_BOOT_SERVICES = 7,
    HEADER_ENTRY_EFI32 = 8,
    HEADER_ENTRY_EFI64 = 9,
    HEADER_RELOCATABLE = 10,
};

enum {
    INFO_END = 0,
    INFO_CMDLINE = 1,
    INFO_LOADER_NAME = 2,
    INFO_MODULE = 3,
    INFO_EFI64 = 12,
    INFO_EFI_BOOT_SERVICES = 18,
    INFO_EFI64_IMAGE = 20,
};

static size_t align8(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static const char *read_relocatable(const uint8_t *tag, uint32_t size,
                                    struct multiboot2_header *header)
{
    if (size < 24)
        return "Multiboot2 relocatable tag is too small";
    header->least = read32(tag + 8);
    header->last = read32(tag + 12);
    header->alignment = read32(tag + 16);
    if (header->alignment == 0)
        header->alignment = 1;
    if ((header->alignment & (header->alignment - 1)) != 0 || header->alignment > 1u << 30)
        return "Multiboot2 alignment is no power of two up to 1 GiB";
    return NULL;
}

/* What is asked for beyond where to load and to start needs nothing from here. The memory map among
 * the information requested is the firmware's own while boot services are on (section 3.6.8). */
static const char *read_tags(struct span tags, struct multiboot2_header *header)
{
    bool entry = false, relocatable = false, boot_services = false;
    for (size_t at = 0; span_holds(tags, at, TAG_SIZE);) {
        const uint8_t *tag = tags.data + at;
        uint32_t size = read32(tag + 4);
        if (size < TAG_SIZE || !span_holds(tags, at, size))
            return "a Multiboot2 tag goes beyond the header";
        switch (read16(tag)) {
        case HEADER_END:
            if (!entry || !relocatable || !boot_services)
                return "Multiboot2 header has no relocatable start with EFI boot services";
            return NULL;
        case HEADER_INFORMATION_REQUEST:
        case HEADER_ENTRY:
        case HEADER_CONSOLE_FLAGS:
        case HEADER_FRAMEBUFFER:
        case HEADER_MODULE_ALIGN:
        case HEADER_ENTRY_EFI32:
            break;
        case HEADER_EFI_BOOT_SERVICES:
            boot_services = true;
            break;
        case HEADER_ENTRY_EFI64:
            if (size < 12)
                return "Multiboot2 entry tag is too small";
            header->entry = read32(tag + 8);
            entry = true;
            break;
        case HEADER_RELOCATABLE: {
            const char *wrong = read_relocatable(tag, size, header);
            if (wrong != NULL)
                return wrong;
            relocatable = true;
            break;
        }
        default:
            if (!(read16(tag + 2) & TAG_IS_OPTIONAL))
                return "Multiboot2 header requires what this stub does not have";
        }
        at += align8(size);
    }
    return "Multiboot2 header has no end";
}

const char *multiboot2_find(struct span file, struct multiboot2_header *header)
{
    struct span searched = {file.data, file.size < SEARCHED ? file.size : SEARCHED};
    for (size_t at = 0; span_holds(searched, at, HEADER_SIZE); at += 8) {
        const uint8_t *fields = file.data + at;
        uint32_t magic = read32(fields), architecture = read32(fields + 4);
        uint32_t size = read32(fields + 8), checksum = read32(fields + 12);
        if (magic != HEADER_MAGIC || magic + architecture + size + checksum != 0)
            continue;
        if (architecture != ARCHITECTURE_I386)
            return "Multiboot2 header is for another architecture";
        if (size < HEADER_SIZE || !span_holds(searched, at, size))
            return "Multiboot2 header goes beyond the first 32 KiB";
        return read_tags((struct span){fields + HEADER_SIZE, size - HEADER_SIZE}, header);
    }
    return "has no Multiboot2 header";
}

static void write32(uint8_t *at, uint32_t value)
{
    for (size_t i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

/* Gives room for a tag's contents, cleared up to the next tag, or NULL. */
static uint8_t *add(struct multiboot2_info *info, uint32_t type, size_t size)
{
    size_t whole = align8(TAG_SIZE + size);
    if (whole > info->room - info->used) {
        info->is_full = true;
        return NULL;
    }
    uint8_t *tag = info->block + info->used;
    cpu_fill(tag, 0, whole);
    write32(tag, type);
    write32(tag + 4, (uint32_t)(TAG_SIZE + size));
    info->used += whole;
    return tag + TAG_SIZE;
}

static size_t length(const char *text)
{
    size_t size = 0;
    while (text[size] != '\0')
        size++;
    return size;
}

/* Adds a tag that ends in a text with a NUL. Gives what is before the text, or NULL. */
static uint8_t *add_text(struct multiboot2_info *info, uint32_t type, size_t before,
                         const char *first, struct span rest)
{
    size_t size = length(first);
    uint8_t *at = add(info, type, before + size + rest.size + 1);
    if (at == NULL)
        return NULL;
    cpu_copy(at + before, first, size);
    cpu_copy(at + before + size, rest.data, rest.size);
    return at;
}

struct multiboot2_info multiboot2_begin(uint8_t *block, size_t room)
{
    return (struct multiboot2_info){.block = block, .room = room, .used = TAG_SIZE};
}

void multiboot2_add_cmdline(struct multiboot2_info *info, const char *first, struct span rest)
{
    (void)add_text(info, INFO_CMDLINE, 0, first, rest);
}

void multiboot2_add_loader(struct multiboot2_info *info, const char *name)
{
    (void)add_text(info, INFO_LOADER_NAME, 0, name, (struct span){NULL, 0});
}

void multiboot2_add_module(struct multiboot2_info *info, struct span module, const char *first,
                           struct span rest)
{
    uint8_t *at = add_text(info, INFO_MODULE, 8, first, rest);
    if (at == NULL)
        return;
    write32(at, (uint32_t)(uintptr_t)module.data);
    write32(at + 4, (uint32_t)((uintptr_t)module.data + module.size));
}

static void add_pointer(struct multiboot2_info *info, uint32_t type, const void *pointer)
{
    uint8_t *at = add(info, type, 8);
    if (at == NULL)
        return;
    write32(at, (uint32_t)(uintptr_t)pointer);
    write32(at + 4, (uint32_t)((uintptr_t)pointer >> 32));
}

void multiboot2_add_efi(struct multiboot2_info *info, const void *system, const void *image)
{
    (void)add(info, INFO_EFI_BOOT_SERVICES, 0);
    add_pointer(info, INFO_EFI64, system);
    add_pointer(info, INFO_EFI64_IMAGE, image);
}

bool multiboot2_end(struct multiboot2_info *info)
{
    (void)add(info, INFO_END, 0);
    write32(info->block, (uint32_t)info->used);
    write32(info->block + 4, 0);
    return !info->is_full;
}
