/* PE/COFF specification, "File Headers" and "Section Table (Section Headers)". */
#include "pe.h"

#include <cpu.h>

#define COFF_HEADER_SIZE 24 /* with the signature "PE\0\0" before it */
#define OPTIONAL_HEADER_SIZE 112 /* of PE32+, up to the data directories */
#define SECTION_HEADER_SIZE 40
#define MAX_SECTIONS 96 /* as many as the Windows loader takes */
#define DIRECTORY_BASE_RELOCATION 5

static const char *read_optional_header(struct span header, struct pe *pe)
{
    const uint8_t *at = header.data;
    if (header.size < OPTIONAL_HEADER_SIZE)
        return "SizeOfOptionalHeader is too small";
    if (read16(at) != 0x20b)
        return "optional header Magic is not PE32+";
    pe->entry = read32(at + 16);
    pe->section_alignment = read32(at + 32);
    pe->image_size = read32(at + 56);
    pe->headers_size = read32(at + 60);
    pe->subsystem = read16(at + 68);

    uint32_t directories = read32(at + 108);
    size_t offset = OPTIONAL_HEADER_SIZE + DIRECTORY_BASE_RELOCATION * 8;
    pe->relocations_address = pe->relocations_size = 0;
    if (directories > DIRECTORY_BASE_RELOCATION) {
        if (!span_holds(header, offset, 8))
            return "NumberOfRvaAndSizes goes beyond the optional header";
        pe->relocations_address = read32(at + offset);
        pe->relocations_size = read32(at + offset + 4);
    }
    return NULL;
}

const char *pe_read(struct span bytes, struct pe *pe)
{
    if (bytes.size < 64 || bytes.data[0] != 'M' || bytes.data[1] != 'Z')
        return "DOS header has no MZ";
    uint32_t coff = read32(bytes.data + 60);
    if (!span_holds(bytes, coff, COFF_HEADER_SIZE))
        return "e_lfanew goes beyond the image";
    const uint8_t *at = bytes.data + coff;
    if (!same_bytes(at, "PE\0\0", 4))
        return "PE signature is missing";
    if (read16(at + 4) != CPU_PE_MACHINE)
        return "Machine is another architecture";
    pe->sections = read16(at + 6);
    if (pe->sections == 0 || pe->sections > MAX_SECTIONS)
        return "NumberOfSections is 0 or above 96";

    uint64_t optional = (uint64_t)coff + COFF_HEADER_SIZE;
    uint16_t optional_size = read16(at + 20);
    if (!span_holds(bytes, optional, optional_size))
        return "SizeOfOptionalHeader goes beyond the image";
    const char *wrong =
        read_optional_header((struct span){bytes.data + optional, optional_size}, pe);
    if (wrong != NULL)
        return wrong;

    uint64_t table = optional + optional_size, size = pe->sections * SECTION_HEADER_SIZE;
    if (!span_holds(bytes, table, size) || table + size > pe->headers_size)
        return "section table goes beyond SizeOfHeaders";
    if (pe->headers_size > pe->image_size)
        return "SizeOfHeaders is above SizeOfImage";
    pe->section_table = (size_t)table;
    pe->bytes = bytes;
    return NULL;
}

struct pe_section pe_section(const struct pe *pe, uint32_t index)
{
    const uint8_t *at = pe->bytes.data + pe->section_table + (size_t)index * SECTION_HEADER_SIZE;
    struct pe_section section = {
        .virtual_size = read32(at + 8),
        .virtual_address = read32(at + 12),
        .raw_size = read32(at + 16),
        .raw_offset = read32(at + 20),
        .flags = read32(at + 36),
    };
    for (size_t i = 0; i < sizeof(section.name); i++)
        section.name[i] = at[i];
    return section;
}
