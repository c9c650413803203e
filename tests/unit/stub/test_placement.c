/* Where the kernel runs, and the attributes of its pages: the mock ends a test when one that holds
 * anything becomes writable and executable, when one is written that is not data, and when one is
 * freed with other attributes than it came with. */
#include "boots.h"
#include "check.h"
#include "images.h"
#include "mock.h"

#define REFUSED_LINE "sprout: .linux: the firmware refused memory attributes\r\n"

static void check_attributes(const uint8_t *base)
{
    const uint64_t data = EFI_MEMORY_XP, fixed = EFI_MEMORY_RO | EFI_MEMORY_XP;
    const uint64_t code = EFI_MEMORY_RO;
    const uint64_t expected[] = {fixed, fixed, code, code, data, data};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        CHECK(mock_page_attributes(base + i * EFI_PAGE_SIZE) == expected[i]);
}

static EFI_STATUS linux_starts_protected(const uint8_t *entry, EFI_HANDLE self,
                                         EFI_SYSTEM_TABLE *system)
{
    check_attributes(mock.image.ImageBase);
    return linux_starts(entry, self, system);
}

TEST(placement_copies_once_without_the_attribute_protocol)
{
    prepare();
    mock.kernel = linux_starts;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock.kernel_runs == 1 && mock.allocated_type == EFI_LOADER_CODE);
    CHECK(mock.allocated_pages == KERNEL_IMAGE_SIZE / EFI_PAGE_SIZE);
    CHECK(stamps().bytes_copied == KERNEL_FILE_SIZE);
    CHECK_TEXT(mock.console, "");
    finish();
}

static EFI_STATUS linux_in_place(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
    CHECK(mock.image.ImageBase == boot_image_linux(image));
    return linux_starts_protected(entry, self, system);
}

TEST(placement_in_place_copies_nothing)
{
    prepare();
    mock.has_attributes = true;
    mock.kernel = linux_in_place;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock.kernel_runs == 1 && mock.allocated_pages == 0);
    CHECK(stamps().bytes_copied == 0);
    CHECK(mock.attribute_calls == 9);
    finish();
}

TEST(placement_in_place_zeroes_what_follows_raw_data_in_the_file)
{
    prepare();
    put32(image + SECTION_AT(2) + RAW_SIZE, KERNEL_FILE_SIZE + 0x300);
    memset(boot_image_linux(image) + KERNEL_FILE_SIZE, 0xcc, 0x300); /* say, a certificate */
    mock.has_attributes = true;
    mock.kernel = linux_in_place;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock.kernel_runs == 1);
    finish();
}

static void expect_protected_copy(void)
{
    mock.has_attributes = true;
    mock.kernel = linux_starts_protected;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock.kernel_runs == 1 && stamps().bytes_copied == KERNEL_FILE_SIZE);
    finish();
}

TEST(placement_copies_and_protects_where_the_section_is_too_small)
{
    prepare_with(KERNEL_FILE_SIZE, boots_cmdline, boots_initrd);
    expect_protected_copy();
}

TEST(placement_copies_and_protects_where_the_section_is_not_aligned)
{
    prepare();
    uint8_t *linux = boot_image_linux(image);
    memmove(linux - 512, linux, KERNEL_FILE_SIZE);
    put32(image + SECTION_AT(2) + VIRTUAL_ADDRESS, 0x3000 - 512);
    expect_protected_copy();
}

static EFI_STATUS linux_is_aligned(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
    (void)self, (void)system;
    CHECK((uintptr_t)mock.image.ImageBase % 0x2000 == 0);
    CHECK(entry == (const uint8_t *)mock.image.ImageBase + KERNEL_ENTRY);
    return EFI_SUCCESS;
}

TEST(placement_keeps_a_larger_section_alignment)
{
    prepare();
    mock.has_attributes = true;
    uint8_t *linux = boot_image_linux(image);
    put32(linux + SECTION_ALIGNMENT_AT, 0x2000);
    put32(linux + SECTION_AT(0) + VIRTUAL_SIZE, 0);
    put32(linux + SECTION_AT(0) + VIRTUAL_ADDRESS, 0x2000);
    mock.misaligned = true;
    mock.kernel = linux_is_aligned;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock.kernel_runs == 1);
    CHECK(mock.allocated_pages == KERNEL_IMAGE_SIZE / EFI_PAGE_SIZE + 1);
    finish();
}

TEST(placement_says_when_attributes_are_refused)
{
    for (int copy = 0; copy < 2; copy++)
        for (int call = 1; call <= 6; call++) {
            prepare_with(copy ? KERNEL_FILE_SIZE : KERNEL_IMAGE_SIZE, boots_cmdline, boots_initrd);
            mock.has_attributes = true;
            mock.attribute_call_that_fails = call;
            expect_refused(EFI_UNSUPPORTED, REFUSED_LINE);
        }
    prepare();
    put32(image + SECTION_AT(2) + RAW_SIZE, KERNEL_IMAGE_SIZE);
    mock.has_attributes = true;
    mock.attribute_call_that_fails = 2;
    expect_refused(EFI_UNSUPPORTED, REFUSED_LINE);
}

TEST(placement_says_when_memory_runs_out)
{
    prepare();
    mock.memory_is_full = true;
    expect_refused(EFI_OUT_OF_RESOURCES, "sprout: .linux: no memory for SizeOfImage\r\n");
}


static EFI_STATUS linux_has_no_gap(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
    (void)entry, (void)self, (void)system;
    check_attributes(mock.image.ImageBase);
    return EFI_SUCCESS;
}

TEST(placement_leaves_no_page_between_sections_as_it_was)
{
    for (int copy = 0; copy < 2; copy++) {
        prepare_with(copy ? KERNEL_FILE_SIZE : KERNEL_IMAGE_SIZE, boots_cmdline, boots_initrd);
        put32(boot_image_linux(image) + SECTION_AT(1) + VIRTUAL_SIZE, 0x1000);
        put32(boot_image_linux(image) + SECTION_AT(2) + VIRTUAL_SIZE, 0x0800);
        mock.has_attributes = true;
        mock.kernel = linux_has_no_gap;
        CHECK(mock_start_image() == EFI_SUCCESS);
        CHECK(mock.kernel_runs == 1);
        finish();
    }
}

static void expect_given_back(uint64_t attributes)
{
    for (size_t i = 0; i < KERNEL_IMAGE_SIZE; i += EFI_PAGE_SIZE)
        CHECK(mock_page_attributes(boot_image_linux(image) + i) == attributes);
}

TEST(placement_gives_pages_back_as_they_came)
{
    static const uint64_t at_first[] = {0, EFI_MEMORY_XP, EFI_MEMORY_XP | EFI_MEMORY_RO};
    EFI_STATUS (*const kernels[])(const uint8_t *, EFI_HANDLE, EFI_SYSTEM_TABLE *) = {
        linux_starts, linux_returns, linux_exits};
    for (size_t i = 0; i < sizeof(at_first) / sizeof(at_first[0]); i++)
        for (size_t kernel = 0; kernel < sizeof(kernels) / sizeof(kernels[0]); kernel++) {
            prepare();
            mock.has_attributes = true;
            mock.attributes_at_first = at_first[i];
            mock.kernel = kernels[kernel];
            (void)mock_start_image();
            CHECK(mock.kernel_runs == 1 && mock.allocated_pages == 0);
            expect_given_back(at_first[i]);
            finish();
            if (at_first[i] & EFI_MEMORY_RO)
                continue; /* nothing that is allocated is read-only */
            prepare_with(KERNEL_FILE_SIZE, boots_cmdline, boots_initrd);
            mock.has_attributes = true;
            mock.attributes_at_first = at_first[i];
            mock.kernel = kernels[kernel];
            (void)mock_start_image();
            CHECK(mock.kernel_runs == 1 && mock.allocated_pages != 0);
            finish();
        }
}

TEST(placement_leaves_data_where_the_firmware_does_not_tell)
{
    for (int copy = 0; copy < 2; copy++) {
        prepare_with(copy ? KERNEL_FILE_SIZE : KERNEL_IMAGE_SIZE, boots_cmdline, boots_initrd);
        mock.has_attributes = true;
        mock.attributes_differ = true;
        mock.kernel = linux_starts_protected;
        CHECK(mock_start_image() == EFI_SUCCESS);
        CHECK(mock.kernel_runs == 1);
        if (!copy)
            expect_given_back(EFI_MEMORY_XP);
        finish();
    }
}
