/* Reads a 32-bit x86 ELF file that is to be loaded by its program headers. */
#ifndef SPROUT_ELF_H
#define SPROUT_ELF_H
#include "bytes.h"

/* Xen with everything in it takes 4 MiB. */
#define ELF_MAX_MEMORY (64u << 20)

struct elf {
    struct span file;
    size_t table; /* offset of the first program header; all of them are in `file` */
    uint32_t headers;
    uint32_t start; /* the lowest physical address of a segment */
    uint32_t size;  /* from there to the end of the highest one */
    bool executable; /* one of them asks to be executable */
};

struct elf_segment {
    uint32_t offset;
    uint32_t address; /* physical */
    uint32_t file_size;
    uint32_t memory_size; /* 0 where there is nothing to load */
    uint32_t flags;
};

#define ELF_SEGMENT_EXECUTE 1u

/* Reads and checks the headers. Afterwards every segment is known to be in ascending order, in
 * `size` bytes from `start` on, and its bytes in the file. Gives NULL, or what is wrong. */
const char *elf_read(struct span file, struct elf *elf);

/* Gives program header `index`, which is below `elf->headers`. */
struct elf_segment elf_segment(const struct elf *elf, uint32_t index);

/* Whether `address` is in bytes of the file that are to be executable. */
bool elf_has_code(const struct elf *elf, uint32_t address);

#endif
