/* Reads PE32+ headers, whether they lie in a file or in memory. */
#ifndef SPROUT_PE_H
#define SPROUT_PE_H
#include "bytes.h"

#define PE_SECTION_EXECUTE 0x20000000u
#define PE_SECTION_WRITE 0x80000000u
#define PE_SUBSYSTEM_EFI_APPLICATION 10

struct pe {
    struct span bytes;
    size_t section_table; /* offset of the first section header; all of them are in `bytes` */
    uint32_t sections;
    uint32_t entry;
    uint32_t section_alignment;
    uint32_t image_size;
    uint32_t headers_size;
    uint16_t subsystem;
    uint32_t relocations_address; /* base relocation directory, 0 and 0 where there is none */
    uint32_t relocations_size;
};

struct pe_section {
    uint8_t name[8];
    uint32_t virtual_size;
    uint32_t virtual_address;
    uint32_t raw_size;
    uint32_t raw_offset;
    uint32_t flags;
};

/* Reads the headers at the start of `bytes`. Gives NULL, or the field and what is wrong with it. */
const char *pe_read(struct span bytes, struct pe *pe);

/* Gives section header `index`, which is below `pe->sections`. */
struct pe_section pe_section(const struct pe *pe, uint32_t index);

#endif
