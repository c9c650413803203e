/* Multiboot2 Specification version 2.0: section 3.1 (header), 3.6 (boot information). */
#include "multiboot2.h"

#include <cpu.h>

#define HEADER_MAGIC 0xe85250d6u
#define HEADER_SEARCH 32768
#define HEADER_SIZE 16

enum header_tag {
    HEADER_END = 0,
    HEADER_INFORMATION = 1,
    HEADER_MODULE_ALIGN = 6,
    HEADER_EFI_BS = 7,
    HEADER_ENTRY_EFI64 = 9,
    HEADER_RELOCATABLE = 10,
};
#define HEADER_OPTIONAL 1

enum tag { END = 0, CMDLINE = 1, LOADER = 2, MODULE = 3, EFI64 = 12, EFI_BS = 18, EFI64_IH = 20 };

static const char loader_name[] = "sprout";
/* A command line begins with the name of what it is for: Xen drops the first word, unless the loader
 * calls itself GRUB 2 (arch/x86/setup.c, cmdline_cook). */
static const char image_name[] = "image ";

static size_t aligned(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

/* With the name before it and the NUL behind it. */
static size_t cmdline_size(struct span text)
{
    return sizeof(image_name) - 1 + text.size + 1;
}

static bool is_header(struct span file, size_t offset, uint32_t *size)
{
    const uint8_t *at = file.data + offset;
    if (read32(at) != HEADER_MAGIC || read32(at + 4) != 0)
        return false;
    *size = read32(at + 8);
    return read32(at) + read32(at + 4) + *size + read32(at + 12) == 0 && *size >= HEADER_SIZE &&
           span_holds(file, offset, *size);
}

static const char *read_tag(const uint8_t *at, uint32_t size, struct multiboot2 *header,
                            bool *boot_services)
{
    switch (read16(at)) {
    case HEADER_ENTRY_EFI64:
        if (size < 12)
            return "Multiboot2 entry tag is cut short";
        header->entry = read32(at + 8);
        break;
    case HEADER_RELOCATABLE:
        if (size < 24)
            return "Multiboot2 relocatable tag is cut short";
        header->lowest = read32(at + 8);
        header->highest = read32(at + 12);
        header->alignment = read32(at + 16);
        break;
    case HEADER_EFI_BS:
        *boot_services = true;
        break;
    case HEADER_INFORMATION: /* memory sizes and map: with boot services on the firmware has them */
    case HEADER_MODULE_ALIGN:
        break;
    default:
        if (!(read16(at + 2) & HEADER_OPTIONAL))
            return "Multiboot2 header asks for what this loader does not know";
    }
    return NULL;
}

static const char *read_tags(struct span tags, struct multiboot2 *header)
{
    bool boot_services = false, ended = false;
    size_t offset = 0;
    *header = (struct multiboot2){0};
    while (!ended) {
        if (!span_holds(tags, offset, 8))
            return "Multiboot2 header has no end tag";
        const uint8_t *at = tags.data + offset;
        uint32_t size = read32(at + 4);
        if (size < 8 || !span_holds(tags, offset, size))
            return "Multiboot2 header tag goes beyond the header";
        ended = read16(at) == HEADER_END;
        const char *wrong = ended ? NULL : read_tag(at, size, header, &boot_services);
        if (wrong != NULL)
            return wrong;
        offset = aligned(offset + size);
    }
    if (header->entry == 0 || !boot_services)
        return "Multiboot2 header has no entry with boot services on";
    if (header->alignment < EFI_PAGE_SIZE || header->alignment > 1u << 24 ||
        (header->alignment & (header->alignment - 1)) != 0)
        return "Multiboot2 header does not say how the image may be moved";
    return NULL;
}

const char *multiboot2_read(struct span file, struct multiboot2 *header)
{
    size_t end = file.size < HEADER_SEARCH ? file.size : HEADER_SEARCH;
    for (size_t offset = 0; offset + HEADER_SIZE <= end; offset += 8) {
        uint32_t size;
        if (!is_header(file, offset, &size))
            continue;
        struct span tags = {file.data + offset + HEADER_SIZE, size - HEADER_SIZE};
        return read_tags(tags, header);
    }
    return "has no Multiboot2 header";
}

size_t multiboot2_size(const struct multiboot2_facts *facts)
{
    size_t size = 8; /* total_size, reserved */
    size += aligned(8 + cmdline_size(facts->cmdline));
    size += aligned(8 + sizeof(loader_name));
    for (size_t i = 0; i < facts->module_count; i++)
        size += aligned(16 + cmdline_size(facts->modules[i].cmdline));
    return size + 8 + 16 + 16 + 8; /* boot services, system table, image handle, end */
}

static void put32(uint8_t *at, uint32_t value)
{
    __builtin_memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
    __builtin_memcpy(at, &value, sizeof(value));
}

/* Begins a tag of `size` bytes at `*at`, moves that past it, and gives where its contents go. */
static uint8_t *put_tag(uint8_t **at, enum tag type, size_t size)
{
    uint8_t *tag = *at;
    put32(tag, (uint32_t)type);
    put32(tag + 4, (uint32_t)size);
    *at += aligned(size);
    return tag + 8;
}

static void put_cmdline(uint8_t *at, struct span text)
{
    cpu_copy(at, image_name, sizeof(image_name) - 1);
    at += sizeof(image_name) - 1;
    cpu_copy(at, text.data, text.size);
    at[text.size] = 0;
}

void multiboot2_write(uint8_t *block, const struct multiboot2_facts *facts)
{
    uint8_t *at = block + 8;
    size_t total = multiboot2_size(facts);
    cpu_fill(block, 0, total);
    put32(block, (uint32_t)total);

    put_tag(&at, EFI_BS, 8);
    put64(put_tag(&at, EFI64, 16), facts->system_table);
    put64(put_tag(&at, EFI64_IH, 16), facts->image_handle);
    put_cmdline(put_tag(&at, CMDLINE, 8 + cmdline_size(facts->cmdline)), facts->cmdline);
    cpu_copy(put_tag(&at, LOADER, 8 + sizeof(loader_name)), loader_name, sizeof(loader_name));
    for (size_t i = 0; i < facts->module_count; i++) {
        const struct multiboot2_module *module = &facts->modules[i];
        uint8_t *contents = put_tag(&at, MODULE, 16 + cmdline_size(module->cmdline));
        put32(contents, module->start);
        put32(contents + 4, module->end);
        put_cmdline(contents + 8, module->cmdline);
    }
    put_tag(&at, END, 8);
}
