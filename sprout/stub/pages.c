/* EFI_MEMORY_ATTRIBUTE_PROTOCOL (UEFI 2.10, section 37.7) over AllocatePages (section 7.2.1). */
#include "pages.h"

#include <cpu.h>

static const EFI_GUID memory_attribute_guid = EFI_MEMORY_ATTRIBUTE_PROTOCOL_GUID;

struct pages pages_of_size(EFI_BOOT_SERVICES *boot, uint64_t size)
{
    void *protocol = NULL;
    if (EFI_ERROR(boot->LocateProtocol(&memory_attribute_guid, NULL, &protocol)))
        protocol = NULL;
    return (struct pages){.size = size, .attributes = protocol};
}

static EFI_STATUS set(const struct pages *pages, uint64_t offset, uint64_t size,
                      uint64_t attributes)
{
    EFI_MEMORY_ATTRIBUTE_PROTOCOL *protocol = pages->attributes;
    return protocol->SetMemoryAttributes(protocol, (uintptr_t)pages->base + offset,
                                         whole_pages(size), attributes);
}

static EFI_STATUS clear(const struct pages *pages, uint64_t offset, uint64_t size,
                        uint64_t attributes)
{
    EFI_MEMORY_ATTRIBUTE_PROTOCOL *protocol = pages->attributes;
    return protocol->ClearMemoryAttributes(protocol, (uintptr_t)pages->base + offset,
                                           whole_pages(size), attributes);
}

/* What has to be brought back in the end. Memory of one section or one allocation has the same
 * attributes everywhere; should it not, it is left as data. */
static uint64_t get(const struct pages *pages)
{
    EFI_MEMORY_ATTRIBUTE_PROTOCOL *protocol = pages->attributes;
    uint64_t attributes = EFI_MEMORY_XP;
    if (EFI_ERROR(protocol->GetMemoryAttributes(protocol, (uintptr_t)pages->base, pages->size,
                                                &attributes)))
        return EFI_MEMORY_XP;
    return attributes & (EFI_MEMORY_XP | EFI_MEMORY_RO | EFI_MEMORY_RP);
}

void pages_adopt(struct pages *pages, uint8_t *base)
{
    pages->base = base;
    if (pages->attributes != NULL)
        pages->attributes_before = get(pages);
}

EFI_STATUS pages_allocate(struct pages *pages, EFI_BOOT_SERVICES *boot, uint64_t alignment,
                          uint64_t last)
{
    /* Pages are aligned to 4 KiB; a larger alignment is made by taking more of them. */
    size_t count = (size_t)((pages->size + alignment - EFI_PAGE_SIZE) / EFI_PAGE_SIZE);
    /* Data is never executable where the firmware is strict, and attributes make code of it later;
     * without them it has to be code from the start. */
    bool data = pages->is_data || pages->attributes != NULL;
    pages->memory = last;
    EFI_STATUS status = boot->AllocatePages(
        last == UINT64_MAX ? ALLOCATE_ANY_PAGES : ALLOCATE_MAX_ADDRESS,
        data ? EFI_LOADER_DATA : EFI_LOADER_CODE, count, &pages->memory);
    if (EFI_ERROR(status)) {
        pages->memory = 0;
        return status;
    }
    pages->count = count;
    pages_adopt(pages,
                (uint8_t *)(uintptr_t)((pages->memory + alignment - 1) & ~(alignment - 1)));
    return pages->attributes != NULL ? pages_make_data(pages, 0, pages->size) : EFI_SUCCESS;
}

EFI_STATUS pages_make_data(const struct pages *pages, uint64_t offset, uint64_t size)
{
    EFI_STATUS status = set(pages, offset, size, EFI_MEMORY_XP);
    if (EFI_ERROR(status))
        return status;
    return clear(pages, offset, size, EFI_MEMORY_RO | EFI_MEMORY_RP);
}

/* Read-only before executable, so that no page is made both writable and executable. */
EFI_STATUS pages_make_code(const struct pages *pages, uint64_t offset, uint64_t size)
{
    EFI_STATUS status = set(pages, offset, size, EFI_MEMORY_RO);
    if (EFI_ERROR(status))
        return status;
    return clear(pages, offset, size, EFI_MEMORY_XP | EFI_MEMORY_RP);
}

EFI_STATUS pages_make_fixed(const struct pages *pages, uint64_t offset, uint64_t size)
{
    return set(pages, offset, size, EFI_MEMORY_RO | EFI_MEMORY_XP);
}

EFI_STATUS pages_make_mixed(const struct pages *pages, uint64_t offset, uint64_t size)
{
    return clear(pages, offset, size, EFI_MEMORY_XP | EFI_MEMORY_RO | EFI_MEMORY_RP);
}

/* Some firmware hands out everything writable and executable (OVMF does), and what is not
 * executable when it is freed stays so: the next image in that place could not run. What was in it
 * is gone before a page may be both again. */
static void restore(const struct pages *pages)
{
    uint64_t before = pages->attributes_before;
    if (EFI_ERROR(pages_make_data(pages, 0, pages->size)))
        return;
    cpu_fill(pages->base, 0, (size_t)pages->size);
    if (before & (EFI_MEMORY_RO | EFI_MEMORY_RP))
        (void)set(pages, 0, pages->size, before);
    if (!(before & EFI_MEMORY_XP))
        (void)clear(pages, 0, pages->size, EFI_MEMORY_XP);
}

void pages_give_back(struct pages *pages, EFI_BOOT_SERVICES *boot)
{
    if (pages->base != NULL && pages->attributes != NULL)
        restore(pages);
    else if (pages->memory != 0)
        cpu_fill(pages->base, 0, (size_t)pages->size);
    if (pages->memory != 0)
        (void)boot->FreePages(pages->memory, pages->count);
    pages->base = NULL;
    pages->memory = 0;
}
