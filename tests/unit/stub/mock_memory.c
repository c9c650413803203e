/* The mock's AllocatePages and FreePages: memory below 4 GiB, and one allocation anywhere. */
#define _DEFAULT_SOURCE /* MAP_32BIT */
#include <stdlib.h>
#include <sys/mman.h>

#include "mock_parts.h"

uint8_t *mock_pages_at(bool low, size_t size, int byte)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | (low ? MAP_32BIT : 0), -1, 0);
    CHECK(memory != MAP_FAILED && ((uintptr_t)memory < 1ull << 32) == low);
    return memset(memory, byte, size);
}

size_t mock_low_count(void)
{
    size_t count = 0;
    for (size_t i = 0; i < MOCK_LOW; i++)
        count += mock.low[i].memory != NULL;
    return count;
}

static EFI_STATUS allocate_low(uint32_t memory_type, UINTN pages, EFI_PHYSICAL_ADDRESS *memory)
{
    CHECK(*memory <= 0xffffffff);
    mock.low_calls++;
    if (mock.low_calls == mock.low_call_that_fails || mock.memory_is_full ||
        (mock.memory_limit != 0 && pages > mock.memory_limit))
        return EFI_OUT_OF_RESOURCES;
    for (size_t i = 0; i < MOCK_LOW; i++) {
        if (mock.low[i].memory != NULL)
            continue;
        uint8_t *at = mock_pages_at(true, pages * EFI_PAGE_SIZE, 0xa5);
        if ((uintptr_t)at + pages * EFI_PAGE_SIZE - 1 > *memory) {
            munmap(at, pages * EFI_PAGE_SIZE);
            return EFI_OUT_OF_RESOURCES;
        }
        mock.low[i] = (struct mock_low){at, pages, memory_type};
        *memory = (uintptr_t)at;
        return EFI_SUCCESS;
    }
    CHECK(!"more allocations than the mock has");
    return EFI_OUT_OF_RESOURCES;
}

static EFI_STATUS allocate_pages(uint32_t type, uint32_t memory_type, UINTN pages,
                                 EFI_PHYSICAL_ADDRESS *memory)
{
    if (type == ALLOCATE_MAX_ADDRESS)
        return allocate_low(memory_type, pages, memory);
    CHECK(type == ALLOCATE_ANY_PAGES);
    CHECK(mock.allocation == NULL);
    if (mock.memory_is_full || (mock.memory_limit != 0 && pages > mock.memory_limit))
        return EFI_OUT_OF_RESOURCES;
    size_t size = pages * EFI_PAGE_SIZE;
    size_t offset = mock.misaligned ? EFI_PAGE_SIZE : 0;
    CHECK(posix_memalign(&mock.allocation, 2 * EFI_PAGE_SIZE, offset + size) == 0);
    memset(mock.allocation, 0xa5, offset + size);
    mock.allocated_pages = pages;
    mock.allocated_type = memory_type;
    CHECK(memory_type == (mock.has_attributes ? EFI_LOADER_DATA : EFI_LOADER_CODE));
    *memory = (uintptr_t)mock.allocation + offset;
    return EFI_SUCCESS;
}

/* Nothing of what was written is left: a page is cleared, or as it was given. */
static void check_cleared(const uint8_t *page)
{
    CHECK(page[0] == 0 || page[0] == 0xa5);
    CHECK(memcmp(page, page + 1, EFI_PAGE_SIZE - 1) == 0);
}

static bool free_low(EFI_PHYSICAL_ADDRESS memory, UINTN pages)
{
    for (size_t i = 0; i < MOCK_LOW; i++) {
        struct mock_low *low = &mock.low[i];
        if (low->memory == NULL || (uintptr_t)low->memory != memory)
            continue;
        CHECK(pages == low->pages);
        for (size_t j = 0; j < pages; j++) {
            uint8_t *page = low->memory + j * EFI_PAGE_SIZE;
            if (mock.attribute_call_that_fails == 0) {
                check_cleared(page);
                CHECK(!mock.has_attributes ||
                      mock_has_attributes_or_none(page, mock.attributes_differ
                                                           ? EFI_MEMORY_XP
                                                           : mock.attributes_at_first));
            }
        }
        munmap(low->memory, pages * EFI_PAGE_SIZE);
        *low = (struct mock_low){0};
        return true;
    }
    return false;
}

/* edk2 may fill freed pages with a pattern, and hands them out again as they are: with other
 * attributes than they came with, whoever gets them next would fault. */
static EFI_STATUS free_pages(EFI_PHYSICAL_ADDRESS memory, UINTN pages)
{
    if (free_low(memory, pages))
        return EFI_SUCCESS;
    CHECK(mock.allocation != NULL);
    CHECK(memory == (uintptr_t)mock.allocation + (mock.misaligned ? EFI_PAGE_SIZE : 0));
    CHECK(pages == mock.allocated_pages);
    uint64_t expected = mock.attributes_differ ? EFI_MEMORY_XP : mock.attributes_at_first;
    for (size_t i = 0; mock.has_attributes && i < pages; i++)
        CHECK(mock_page_attributes((uint8_t *)(uintptr_t)memory + i * EFI_PAGE_SIZE) == expected ||
              mock.attribute_call_that_fails != 0);
    free(mock.allocation);
    mock.allocation = NULL;
    return EFI_SUCCESS;
}

void mock_reset_memory(void)
{
    mock.boot.AllocatePages = allocate_pages;
    mock.boot.FreePages = free_pages;
}
