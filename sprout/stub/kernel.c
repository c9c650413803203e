/* The kernel's own PE headers (Linux, arch/x86/boot/header.S). Since 6.7 its sections are whole
 * pages, with code, read-only data and data apart, and lie in the file as they lie in memory. */
#include "kernel.h"

static const char *check_headers(const struct pe *pe)
{
    if (pe->subsystem != PE_SUBSYSTEM_EFI_APPLICATION)
        return "Subsystem is not EFI application";
    if (pe->section_alignment < EFI_PAGE_SIZE ||
        (pe->section_alignment & (pe->section_alignment - 1)) != 0)
        return "SectionAlignment is not whole pages (Linux before 6.7?)";
    if (pe->image_size % EFI_PAGE_SIZE != 0)
        return "SizeOfImage is not whole pages";
    /* Linux is position independent. An image that is not would start at a wrong address. */
    if (pe->relocations_size != 0)
        return "has base relocations, so it is no Linux that this stub knows";
    return NULL;
}

static const char *check_section(const struct kernel *kernel, const struct pe_section *section,
                                 uint64_t least)
{
    const struct pe *pe = &kernel->pe;
    struct span image = {NULL, pe->image_size};
    struct span file = {NULL, kernel->linux_section.file_size};
    if (section->virtual_address % pe->section_alignment != 0)
        return "a section's VirtualAddress is not aligned";
    if (section->virtual_address < least)
        return "sections overlap or are out of order";
    if (!span_holds(image, section->virtual_address, section->virtual_size))
        return "a section goes beyond SizeOfImage";
    if (!span_holds(file, section->raw_offset, kernel_raw_size(section)))
        return "a section's raw data goes beyond the file";
    if ((section->flags & PE_SECTION_WRITE) && (section->flags & PE_SECTION_EXECUTE))
        return "a section is both writable and executable";
    return NULL;
}

static const char *check_sections(struct kernel *kernel)
{
    const struct pe *pe = &kernel->pe;
    uint64_t least = whole_pages(pe->headers_size);
    bool entry_found = false;
    kernel->file_is_memory = true;
    for (uint32_t i = 0; i < pe->sections; i++) {
        struct pe_section section = pe_section(pe, i);
        const char *wrong = check_section(kernel, &section, least);
        if (wrong != NULL)
            return wrong;
        uint64_t end = (uint64_t)section.virtual_address + section.virtual_size;
        least = whole_pages(end);
        if ((section.flags & PE_SECTION_EXECUTE) && pe->entry >= section.virtual_address &&
            pe->entry < end)
            entry_found = true;
        if (kernel_raw_size(&section) != 0 && section.raw_offset != section.virtual_address)
            kernel->file_is_memory = false;
    }
    return entry_found ? NULL : "AddressOfEntryPoint is in no executable section";
}

struct failure kernel_read(struct section linux_section, struct kernel *kernel)
{
    kernel->linux_section = linux_section;
    struct span file = {linux_section.bytes.data, linux_section.file_size};
    const char *wrong = pe_read(file, &kernel->pe);
    if (wrong == NULL && kernel->pe.headers_size > file.size)
        wrong = "SizeOfHeaders goes beyond the file";
    if (wrong == NULL)
        wrong = check_headers(&kernel->pe);
    if (wrong == NULL)
        wrong = check_sections(kernel);
    return wrong == NULL ? SUCCESS : FAILURE(EFI_LOAD_ERROR, ".linux", wrong);
}
