/* A UKI's `.linux` is data to the firmware, so under NX_COMPAT it cannot be executed as it lies.
 * With EFI_MEMORY_ATTRIBUTE_PROTOCOL its pages get the attributes that the kernel's own section
 * table asks for, and nothing is copied. Without it, only the type that memory is allocated with
 * can make it executable, and that takes one copy. */
#include "placement.h"

#include <cpu.h>

/* Bytes that the image lacks beyond its raw data are zeroed by the firmware, so the whole of
 * VirtualSize may be used; see clear_tails for those between raw data and the end of the file. */
static bool fits_in_place(const struct placement *placement, const struct kernel *kernel)
{
    const struct span bytes = kernel->linux_section.bytes;
    uint64_t mask = kernel->pe.section_alignment - 1;
    return placement->pages.attributes != NULL && kernel->file_is_memory &&
           ((uintptr_t)bytes.data & mask) == 0 && bytes.size >= kernel->pe.image_size;
}

/* The file may go on after a section's raw data (padding, a signature's certificate table), where
 * the kernel expects zeros. Gives how many bytes there are to clear, and where they start. */
static size_t tail(const struct kernel *kernel, const struct pe_section *section, uint64_t *start)
{
    uint64_t end = (uint64_t)section->virtual_address + section->virtual_size;
    *start = (uint64_t)section->virtual_address + kernel_raw_size(section);
    if (end > kernel->linux_section.file_size)
        end = kernel->linux_section.file_size;
    return end > *start ? (size_t)(end - *start) : 0;
}

static void copy_image(struct placement *placement, const struct kernel *kernel)
{
    const uint8_t *file = kernel->linux_section.bytes.data;
    uint8_t *base = placement->pages.base;
    size_t done = kernel->pe.headers_size;
    cpu_copy(base, file, done);
    placement->bytes_copied = done;
    for (uint32_t i = 0; i < kernel->pe.sections; i++) {
        struct pe_section section = pe_section(&kernel->pe, i);
        size_t size = kernel_raw_size(&section);
        cpu_fill(base + done, 0, section.virtual_address - done);
        cpu_copy(base + section.virtual_address, file + section.raw_offset, size);
        done = section.virtual_address + size;
        placement->bytes_copied += size;
    }
    cpu_fill(base + done, 0, (size_t)(placement->pages.size - done));
}

static EFI_STATUS protect_range(const struct pages *pages, uint64_t start, uint64_t end,
                                uint32_t flags)
{
    if (start == end)
        return EFI_SUCCESS;
    if (flags & PE_SECTION_EXECUTE)
        return pages_make_code(pages, start, end - start);
    if (flags & PE_SECTION_WRITE)
        return pages_make_data(pages, start, end - start);
    return pages_make_fixed(pages, start, end - start);
}

/* Gives the headers and each section the attributes that its flags ask for, up to the next section,
 * so that no page between them stays as it was. The firmware walks every page in each of these
 * calls, so no page is visited more often than it has to be. */
static EFI_STATUS protect(const struct pages *pages, const struct pe *pe)
{
    EFI_STATUS status = EFI_SUCCESS;
    uint64_t start = 0;
    uint32_t flags = 0;
    for (uint32_t i = 0; i < pe->sections && !EFI_ERROR(status); i++) {
        struct pe_section next = pe_section(pe, i);
        status = protect_range(pages, start, next.virtual_address, flags);
        start = next.virtual_address;
        flags = next.flags;
    }
    return EFI_ERROR(status) ? status : protect_range(pages, start, pages->size, flags);
}

static EFI_STATUS clear_tails(const struct pages *pages, const struct kernel *kernel)
{
    for (uint32_t i = 0; i < kernel->pe.sections; i++) {
        struct pe_section section = pe_section(&kernel->pe, i);
        uint64_t start;
        size_t size = tail(kernel, &section, &start);
        if (size == 0)
            continue;
        EFI_STATUS status =
            pages_make_data(pages, section.virtual_address, section.virtual_size);
        if (EFI_ERROR(status))
            return status;
        cpu_fill(pages->base + start, 0, size);
    }
    return EFI_SUCCESS;
}

struct failure placement_make(struct placement *placement, EFI_BOOT_SERVICES *boot,
                              const struct kernel *kernel)
{
    *placement = (struct placement){.pages = pages_of_size(boot, kernel->pe.image_size)};
    struct pages *pages = &placement->pages;

    EFI_STATUS status = EFI_SUCCESS;
    if (fits_in_place(placement, kernel)) {
        pages_adopt(pages, (uint8_t *)(uintptr_t)kernel->linux_section.bytes.data);
        status = clear_tails(pages, kernel);
    } else {
        status = pages_allocate(pages, boot, kernel->pe.section_alignment, UINT64_MAX);
        if (pages->memory == 0)
            return FAILURE(status, ".linux", "no memory for SizeOfImage");
        if (!EFI_ERROR(status))
            copy_image(placement, kernel);
    }
    if (!EFI_ERROR(status) && pages->attributes != NULL)
        status = protect(pages, &kernel->pe);
    if (EFI_ERROR(status))
        return FAILURE(status, ".linux", "the firmware refused memory attributes");
    return SUCCESS;
}
