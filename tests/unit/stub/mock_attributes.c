/* The mock's memory attribute protocol: which pages may be written, and which executed. */
#include "mock_parts.h"

#define MOCK_NO_MAPPING (EFI_ERROR_BIT | 17)

static struct mock_page *page_entry(uint64_t address)
{
    for (size_t i = 0; i < MOCK_PAGES; i++) {
        if (mock.pages[i].address == 0)
            mock.pages[i] = (struct mock_page){address, mock.attributes_at_first};
        if (mock.pages[i].address == address)
            return &mock.pages[i];
    }
    CHECK(!"more pages than the mock has");
    return NULL;
}

uint64_t mock_page_attributes(const void *address)
{
    return page_entry((uintptr_t)address & ~(EFI_PAGE_SIZE - 1))->attributes;
}

bool mock_has_attributes_or_none(const void *address, uint64_t attributes)
{
    for (size_t i = 0; i < MOCK_PAGES && mock.pages[i].address != 0; i++)
        if (mock.pages[i].address == (uintptr_t)address)
            return mock.pages[i].attributes == attributes;
    return true;
}

static bool is_known(uint64_t page)
{
    for (size_t i = 0; i < MOCK_PAGES && mock.pages[i].address != 0; i++)
        if (mock.pages[i].address == page)
            return true;
    return mock.allocation != NULL && page >= (uintptr_t)mock.allocation &&
           page - (uintptr_t)mock.allocation < (mock.allocated_pages + 1) * EFI_PAGE_SIZE;
}

/* Memory that attributes have been set for, or that was allocated, is written as data only. */
void mock_writes(const void *to, size_t size)
{
    uint64_t page = (uintptr_t)to & ~(EFI_PAGE_SIZE - 1);
    for (; mock.has_attributes && page < (uintptr_t)to + size; page += EFI_PAGE_SIZE)
        if (is_known(page))
            CHECK((mock_page_attributes((void *)(uintptr_t)page) &
                   (EFI_MEMORY_XP | EFI_MEMORY_RO)) == EFI_MEMORY_XP);
}

static bool is_blank(uint64_t page)
{
    const uint8_t *bytes = (const uint8_t *)(uintptr_t)page;
    for (size_t i = 0; i < EFI_PAGE_SIZE; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static EFI_STATUS change(EFI_PHYSICAL_ADDRESS base, uint64_t length, uint64_t on, uint64_t off)
{
    mock.attribute_calls++;
    CHECK(base % EFI_PAGE_SIZE == 0 && length % EFI_PAGE_SIZE == 0 && length > 0);
    CHECK(((on | off) & ~(uint64_t)(EFI_MEMORY_RO | EFI_MEMORY_RP | EFI_MEMORY_XP)) == 0);
    if (mock.attribute_calls == mock.attribute_call_that_fails)
        return EFI_UNSUPPORTED;
    for (uint64_t at = base; at < base + length; at += EFI_PAGE_SIZE) {
        struct mock_page *page = page_entry(at);
        page->attributes = (page->attributes | on) & ~off;
        CHECK((page->attributes & (EFI_MEMORY_RO | EFI_MEMORY_XP)) || is_blank(at) ||
              mock.allows_mixed);
    }
    return EFI_SUCCESS;
}

static EFI_STATUS get_attributes(EFI_MEMORY_ATTRIBUTE_PROTOCOL *self, EFI_PHYSICAL_ADDRESS base,
                                 uint64_t length, uint64_t *attributes)
{
    CHECK(self == &mock.attribute_protocol);
    CHECK(base % EFI_PAGE_SIZE == 0 && length % EFI_PAGE_SIZE == 0 && length > 0);
    if (mock.attributes_differ)
        return MOCK_NO_MAPPING;
    *attributes = page_entry(base)->attributes;
    for (uint64_t at = base; at < base + length; at += EFI_PAGE_SIZE)
        CHECK(page_entry(at)->attributes == *attributes);
    return EFI_SUCCESS;
}

static EFI_STATUS set_attributes(EFI_MEMORY_ATTRIBUTE_PROTOCOL *self, EFI_PHYSICAL_ADDRESS base,
                                 uint64_t length, uint64_t attributes)
{
    CHECK(self == &mock.attribute_protocol);
    return change(base, length, attributes, 0);
}

static EFI_STATUS clear_attributes(EFI_MEMORY_ATTRIBUTE_PROTOCOL *self, EFI_PHYSICAL_ADDRESS base,
                                   uint64_t length, uint64_t attributes)
{
    CHECK(self == &mock.attribute_protocol);
    return change(base, length, 0, attributes);
}

void mock_reset_attributes(void)
{
    mock.attribute_protocol.GetMemoryAttributes = get_attributes;
    mock.attribute_protocol.SetMemoryAttributes = set_attributes;
    mock.attribute_protocol.ClearMemoryAttributes = clear_attributes;
}
