/* System V ABI, gABI chapters 4 ("ELF Header") and 5 ("Program Header"). */
#include "elf.h"

#define HEADER_SIZE 52
#define PROGRAM_HEADER_SIZE 32
#define MAX_PROGRAM_HEADERS 32
#define TYPE_EXECUTABLE 2
#define MACHINE_386 3
#define LOAD 1

bool elf_segment(const struct elf *elf, uint32_t index, struct elf_segment *segment)
{
    const uint8_t *at = elf->file.data + elf->table + (size_t)index * PROGRAM_HEADER_SIZE;
    *segment = (struct elf_segment){
        .offset = read32(at + 4),
        .address = read32(at + 12),
        .file_size = read32(at + 16),
        .memory_size = read32(at + 20),
    };
    return read32(at) == LOAD && segment->memory_size != 0;
}

static const char *check_segments(struct elf *elf)
{
    bool any = false;
    for (uint32_t i = 0; i < elf->headers; i++) {
        struct elf_segment segment;
        uint32_t end;
        if (!elf_segment(elf, i, &segment))
            continue;
        if (segment.file_size > segment.memory_size)
            return "p_filesz is above p_memsz";
        if (!span_holds(elf->file, segment.offset, segment.file_size))
            return "p_offset and p_filesz go beyond the file";
        if (__builtin_add_overflow(segment.address, segment.memory_size, &end))
            return "p_paddr and p_memsz go beyond 4 GiB";
        if (any && segment.address < elf->end)
            return "segments overlap or are out of order";
        if (!any)
            elf->start = segment.address;
        elf->end = end;
        any = true;
    }
    return any ? NULL : "has no segment to load";
}

const char *elf_read(struct span file, struct elf *elf)
{
    *elf = (struct elf){.file = file};
    if (file.size < HEADER_SIZE || !same_bytes(file.data, "\177ELF\1\1", 6))
        return "is no 32-bit little-endian ELF file";
    if (read16(file.data + 16) != TYPE_EXECUTABLE || read16(file.data + 18) != MACHINE_386)
        return "e_type or e_machine is not of an x86 program";
    elf->table = read32(file.data + 28);
    elf->headers = read16(file.data + 44);
    if (read16(file.data + 42) != PROGRAM_HEADER_SIZE || elf->headers == 0 ||
        elf->headers > MAX_PROGRAM_HEADERS)
        return "e_phentsize or e_phnum is out of bounds";
    if (!span_holds(file, elf->table, (uint64_t)elf->headers * PROGRAM_HEADER_SIZE))
        return "e_phoff goes beyond the file";
    return check_segments(elf);
}
