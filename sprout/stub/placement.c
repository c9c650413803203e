/* A UKI's `.linux` is data to the firmware, so under NX_COMPAT it cannot be executed as it lies.
 * With EFI_MEMORY_ATTRIBUTE_PROTOCOL its pages get the attributes that the kernel's own section
 * table asks for, and nothing is copied. Without it, only the type that memory is allocated with
 * can make it executable, and that takes one copy. */
#include "placement.h"

#include <cpu.h>

static const EFI_GUID memory_attribute_guid = EFI_MEMORY_ATTRIBUTE_PROTOCOL_GUID;

/* Bytes that the image lacks beyond its raw data are zeroed by the firmware, so the whole of
 * VirtualSize may be used; see clear_tails for those between raw data and the end of the file. */
static bool fits_in_place(const struct placement *placement, const struct kernel *kernel)
{
    const struct span bytes = kernel->linux_section.bytes;
    uint64_t mask = kernel->pe.section_alignment - 1;
    return placement->attributes != NULL && kernel->file_is_memory &&
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

static struct failure allocate(struct placement *placement, EFI_BOOT_SERVICES *boot,
                               const struct kernel *kernel)
{
    /* Pages are aligned to 4 KiB; a larger alignment is made by taking more of them. */
    uint64_t alignment = kernel->pe.section_alignment;
    size_t count = (size_t)((placement->size + alignment - EFI_PAGE_SIZE) / EFI_PAGE_SIZE);
    /* Data is never executable where the firmware is strict, and attributes make code of it later;
     * without them it has to be code from the start. */
    uint32_t type = placement->attributes != NULL ? EFI_LOADER_DATA : EFI_LOADER_CODE;
    EFI_STATUS status =
        boot->AllocatePages(ALLOCATE_ANY_PAGES, type, count, &placement->pages);
    if (EFI_ERROR(status)) {
        placement->pages = 0;
        return FAILURE(status, ".linux", "no memory for SizeOfImage");
    }
    placement->page_count = count;
    placement->base =
        (uint8_t *)(uintptr_t)((placement->pages + alignment - 1) & ~(alignment - 1));
    return SUCCESS;
}

static void copy_image(struct placement *placement, const struct kernel *kernel)
{
    const uint8_t *file = kernel->linux_section.bytes.data;
    uint8_t *base = placement->base;
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
    cpu_fill(base + done, 0, (size_t)(placement->size - done));
}

static EFI_STATUS set(const struct placement *placement, uint64_t offset, uint64_t size,
                      uint64_t attributes)
{
    EFI_MEMORY_ATTRIBUTE_PROTOCOL *protocol = placement->attributes;
    return protocol->SetMemoryAttributes(protocol, (uintptr_t)placement->base + offset,
                                         whole_pages(size), attributes);
}

static EFI_STATUS clear(const struct placement *placement, uint64_t offset, uint64_t size,
                        uint64_t attributes)
{
    EFI_MEMORY_ATTRIBUTE_PROTOCOL *protocol = placement->attributes;
    return protocol->ClearMemoryAttributes(protocol, (uintptr_t)placement->base + offset,
                                           whole_pages(size), attributes);
}

/* What undo has to bring back. Memory of one section or one allocation has the same attributes
 * everywhere; should it not, it is left as data. */
static uint64_t get(const struct placement *placement)
{
    EFI_MEMORY_ATTRIBUTE_PROTOCOL *protocol = placement->attributes;
    uint64_t attributes = EFI_MEMORY_XP;
    if (EFI_ERROR(protocol->GetMemoryAttributes(protocol, (uintptr_t)placement->base,
                                                placement->size, &attributes)))
        return EFI_MEMORY_XP;
    return attributes & (EFI_MEMORY_XP | EFI_MEMORY_RO | EFI_MEMORY_RP);
}

/* Data is writable and not executable. */
static EFI_STATUS make_data(const struct placement *placement, uint64_t offset, uint64_t size)
{
    EFI_STATUS status = set(placement, offset, size, EFI_MEMORY_XP);
    if (EFI_ERROR(status))
        return status;
    return clear(placement, offset, size, EFI_MEMORY_RO | EFI_MEMORY_RP);
}

/* Read-only before executable, so that no page is made both writable and executable. */
static EFI_STATUS make_code(const struct placement *placement, uint64_t offset, uint64_t size)
{
    EFI_STATUS status = set(placement, offset, size, EFI_MEMORY_RO);
    if (EFI_ERROR(status))
        return status;
    return clear(placement, offset, size, EFI_MEMORY_XP | EFI_MEMORY_RP);
}

static EFI_STATUS protect_range(const struct placement *placement, uint64_t start, uint64_t end,
                                uint32_t flags)
{
    if (start == end)
        return EFI_SUCCESS;
    if (flags & PE_SECTION_EXECUTE)
        return make_code(placement, start, end - start);
    if (flags & PE_SECTION_WRITE)
        return make_data(placement, start, end - start);
    return set(placement, start, end - start, EFI_MEMORY_RO | EFI_MEMORY_XP);
}

/* Gives the headers and each section the attributes that its flags ask for, up to the next section,
 * so that no page between them stays as it was. The firmware walks every page in each of these
 * calls, so no page is visited more often than it has to be. */
static EFI_STATUS protect(const struct placement *placement, const struct pe *pe)
{
    EFI_STATUS status = EFI_SUCCESS;
    uint64_t start = 0;
    uint32_t flags = 0;
    for (uint32_t i = 0; i < pe->sections && !EFI_ERROR(status); i++) {
        struct pe_section next = pe_section(pe, i);
        status = protect_range(placement, start, next.virtual_address, flags);
        start = next.virtual_address;
        flags = next.flags;
    }
    return EFI_ERROR(status) ? status : protect_range(placement, start, placement->size, flags);
}

static EFI_STATUS clear_tails(const struct placement *placement, const struct kernel *kernel)
{
    for (uint32_t i = 0; i < kernel->pe.sections; i++) {
        struct pe_section section = pe_section(&kernel->pe, i);
        uint64_t start;
        size_t size = tail(kernel, &section, &start);
        if (size == 0)
            continue;
        EFI_STATUS status = make_data(placement, section.virtual_address, section.virtual_size);
        if (EFI_ERROR(status))
            return status;
        cpu_fill(placement->base + start, 0, size);
    }
    return EFI_SUCCESS;
}

struct failure placement_make(struct placement *placement, EFI_BOOT_SERVICES *boot,
                              const struct kernel *kernel)
{
    void *protocol = NULL;
    if (EFI_ERROR(boot->LocateProtocol(&memory_attribute_guid, NULL, &protocol)))
        protocol = NULL;
    *placement = (struct placement){.size = kernel->pe.image_size, .attributes = protocol};

    EFI_STATUS status = EFI_SUCCESS;
    if (fits_in_place(placement, kernel)) {
        placement->base = (uint8_t *)(uintptr_t)kernel->linux_section.bytes.data;
        placement->attributes_before = get(placement);
        status = clear_tails(placement, kernel);
    } else {
        struct failure failure = allocate(placement, boot, kernel);
        if (failure.status != EFI_SUCCESS)
            return failure;
        if (placement->attributes != NULL) {
            placement->attributes_before = get(placement);
            status = make_data(placement, 0, placement->size);
        }
        if (!EFI_ERROR(status))
            copy_image(placement, kernel);
    }
    if (!EFI_ERROR(status) && placement->attributes != NULL)
        status = protect(placement, &kernel->pe);
    if (EFI_ERROR(status))
        return FAILURE(status, ".linux", "the firmware refused memory attributes");
    return SUCCESS;
}

/* Some firmware hands out everything writable and executable (OVMF does), and what is not
 * executable when it is freed stays so: the next image in that place could not run. The kernel's
 * bytes are gone before a page may be both again. */
static void give_back(const struct placement *placement)
{
    uint64_t before = placement->attributes_before;
    if (EFI_ERROR(make_data(placement, 0, placement->size)))
        return;
    cpu_fill(placement->base, 0, (size_t)placement->size);
    if (before & (EFI_MEMORY_RO | EFI_MEMORY_RP))
        (void)set(placement, 0, placement->size, before);
    if (!(before & EFI_MEMORY_XP))
        (void)clear(placement, 0, placement->size, EFI_MEMORY_XP);
}

void placement_undo(struct placement *placement, EFI_BOOT_SERVICES *boot)
{
    if (placement->base != NULL && placement->attributes != NULL)
        give_back(placement);
    if (placement->pages != 0)
        (void)boot->FreePages(placement->pages, placement->page_count);
    placement->base = NULL;
    placement->pages = 0;
}
