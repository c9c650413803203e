/* Reads a 32-bit x86 ELF file that is loaded at physical addresses: a hypervisor. */
#ifndef SPROUT_ELF_H
#define SPROUT_ELF_H
#include "bytes.h"

struct elf {
    struct span file;
    uint32_t table; /* offset of the first program header; all of them are in `file` */
    uint32_t headers;
    uint32_t start, end; /* physical addresses that the segments take; end is past the last */
};

struct elf_segment {
    uint32_t offset, address, file_size, memory_size; /* address is physical */
};

/* Reads the headers. Gives NULL, or the field and what is wrong with it. Afterwards the segments
 * that are loaded are known to be in ascending order, apart, and with their bytes in the file. */
const char *elf_read(struct span file, struct elf *elf);

/* Gives program header `index`, which is below `elf->headers`, and whether it is one to load. */
bool elf_segment(const struct elf *elf, uint32_t index, struct elf_segment *segment);

#endif
