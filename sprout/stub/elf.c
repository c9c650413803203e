/* System V ABI, gABI chapters 4 "Object Files" and 5 "Program Loading". */
#include "elf.h"

#define HEADER_SIZE 52
#define PROGRAM_HEADER_SIZE 32
#define MAX_HEADERS 16
#define TYPE_EXECUTABLE 2
#define MACHINE_386 3
#define PT_LOAD 1

struct elf_segment elf_segment(const struct elf *elf, uint32_t index)
{
    const uint8_t *at = elf->file.data + elf->table + (size_t)index * PROGRAM_HEADER_SIZE;
    if (read32(at) != PT_LOAD)
        return (struct elf_segment){0};
    return (struct elf_segment){
        .offset = read32(at + 4),
        .address = read32(at + 12),
        .file_size = read32(at + 16),
        .memory_size = read32(at + 20),
        .flags = read32(at + 24),
    };
}

static const char *check_segments(struct elf *elf)
{
    uint64_t end = 0;
    bool found = false;
    elf->executable = false;
    for (uint32_t i = 0; i < elf->headers; i++) {
        struct elf_segment segment = elf_segment(elf, i);
        if (segment.file_size > segment.memory_size)
            return "a segment's p_filesz is above its p_memsz";
        if (segment.memory_size == 0)
            continue;
        if (!span_holds(elf->file, segment.offset, segment.file_size))
            return "a segment goes beyond the file";
        if (segment.address < end)
            return "segments overlap or are out of order";
        if (!found)
            elf->start = segment.address;
        end = (uint64_t)segment.address + segment.memory_size;
        if (end - elf->start > ELF_MAX_MEMORY)
            return "its segments take more than 64 MiB";
        found = true;
        elf->executable |= (segment.flags & ELF_SEGMENT_EXECUTE) != 0;
    }
    if (!found)
        return "has no segment to load";
    if (end > UINT32_MAX)
        return "a segment goes beyond 4 GiB";
    elf->size = (uint32_t)(end - elf->start);
    return NULL;
}

const char *elf_read(struct span file, struct elf *elf)
{
    static const uint8_t identity[] = {0x7f, 'E', 'L', 'F', 1, 1, 1};
    const uint8_t *at = file.data;
    if (file.size < HEADER_SIZE || !same_bytes(at, identity, sizeof(identity)))
        return "is no 32-bit little-endian ELF file";
    if (read16(at + 16) != TYPE_EXECUTABLE || read16(at + 18) != MACHINE_386)
        return "is no ELF executable for x86";
    if (read16(at + 42) != PROGRAM_HEADER_SIZE)
        return "e_phentsize is not 32";
    elf->headers = read16(at + 44);
    if (elf->headers == 0 || elf->headers > MAX_HEADERS)
        return "e_phnum is 0 or above 16";
    elf->table = read32(at + 28);
    if (!span_holds(file, elf->table, (uint64_t)elf->headers * PROGRAM_HEADER_SIZE))
        return "program headers go beyond the file";
    elf->file = file;
    return check_segments(elf);
}

bool elf_has_code(const struct elf *elf, uint32_t address)
{
    for (uint32_t i = 0; i < elf->headers; i++) {
        struct elf_segment segment = elf_segment(elf, i);
        if ((segment.flags & ELF_SEGMENT_EXECUTE) && address >= segment.address &&
            address - segment.address < segment.file_size)
            return true;
    }
    return false;
}
