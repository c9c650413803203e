/* The inner kernel's headers. */
#include "check.h"
#include "images.h"
#include "kernel.h"

static uint8_t file[KERNEL_IMAGE_SIZE];
static struct kernel kernel;

static void prepare(void)
{
    memset(file, 0, sizeof(file));
    kernel_image(file);
}

static struct failure read_kernel(void)
{
    return kernel_read((struct section){{file, sizeof(file)}, KERNEL_FILE_SIZE}, &kernel);
}

static void expect_refused(const char *why)
{
    struct failure failure = read_kernel();
    CHECK(failure.status == EFI_LOAD_ERROR);
    CHECK_TEXT(failure.what, ".linux");
    CHECK_TEXT(failure.why, why);
    prepare();
}

TEST(kernel_like_linux_is_accepted)
{
    prepare();
    CHECK(read_kernel().status == EFI_SUCCESS);
    CHECK(kernel.file_is_memory);
    CHECK(kernel.pe.image_size == KERNEL_IMAGE_SIZE && kernel.pe.entry == KERNEL_ENTRY);
}

TEST(kernel_whose_file_differs_from_memory_is_seen)
{
    prepare();
    put32(file + SECTION_AT(2) + RAW_OFFSET, KERNEL_DATA - 0x200);
    CHECK(read_kernel().status == EFI_SUCCESS);
    CHECK(!kernel.file_is_memory);
}

TEST(kernel_raw_padding_beyond_virtual_size_is_ignored)
{
    prepare();
    put32(file + SECTION_AT(2) + VIRTUAL_SIZE, 0x300);
    put32(file + SECTION_AT(2) + RAW_SIZE, 0x7fffffff);
    CHECK(read_kernel().status == EFI_SUCCESS);
}

TEST(kernel_of_another_kind_is_refused)
{
    prepare();
    put16(file + MACHINE_AT, 0x14c);
    expect_refused("Machine is another architecture");
    put16(file + SUBSYSTEM_AT, 11);
    expect_refused("Subsystem is not EFI application");
    put32(file + SECTION_ALIGNMENT_AT, 32);
    expect_refused("SectionAlignment is not whole pages (Linux before 6.7?)");
    put32(file + SECTION_ALIGNMENT_AT, 0x3000);
    expect_refused("SectionAlignment is not whole pages (Linux before 6.7?)");
    put32(file + SECTION_ALIGNMENT_AT, 0);
    expect_refused("SectionAlignment is not whole pages (Linux before 6.7?)");
    put32(file + IMAGE_SIZE_AT, KERNEL_IMAGE_SIZE + 512);
    expect_refused("SizeOfImage is not whole pages");
    put32(file + RELOCATIONS_AT, 0x4000);
    put32(file + RELOCATIONS_AT + 4, 12);
    expect_refused("has base relocations, so it is no Linux that this stub knows");
    put32(file + HEADERS_SIZE_AT, KERNEL_FILE_SIZE + 1);
    expect_refused("SizeOfHeaders goes beyond the file");
}

TEST(kernel_without_relocation_directory_is_accepted)
{
    prepare();
    put32(file + DIRECTORIES_AT, 5);
    put32(file + RELOCATIONS_AT + 4, 12); /* bytes of nothing in particular then */
    CHECK(read_kernel().status == EFI_SUCCESS);
}

TEST(kernel_sections_out_of_place_are_refused)
{
    prepare();
    put32(file + SECTION_AT(1) + VIRTUAL_ADDRESS, KERNEL_TEXT + 1);
    expect_refused("a section's VirtualAddress is not aligned");
    put32(file + SECTION_AT(0) + VIRTUAL_ADDRESS, 0);
    expect_refused("sections overlap or are out of order");
    put32(file + SECTION_AT(0) + VIRTUAL_SIZE, 0x1001);
    expect_refused("sections overlap or are out of order");
    put32(file + SECTION_AT(2) + VIRTUAL_ADDRESS, 0x1000);
    expect_refused("sections overlap or are out of order");
    put32(file + SECTION_AT(2) + VIRTUAL_SIZE, 0x2001);
    expect_refused("a section goes beyond SizeOfImage");
    put32(file + SECTION_AT(2) + VIRTUAL_SIZE, 0xffffffff);
    expect_refused("a section goes beyond SizeOfImage");
    put32(file + SECTION_AT(2) + VIRTUAL_ADDRESS, 0xfffff000);
    expect_refused("a section goes beyond SizeOfImage");
    put32(file + SECTION_AT(2) + RAW_OFFSET, KERNEL_FILE_SIZE - KERNEL_DATA_RAW + 1);
    expect_refused("a section's raw data goes beyond the file");
    put32(file + SECTION_AT(2) + RAW_OFFSET, 0xffffffff);
    expect_refused("a section's raw data goes beyond the file");
    put32(file + SECTION_AT(2) + RAW_SIZE, KERNEL_DATA_RAW + 1);
    expect_refused("a section's raw data goes beyond the file");
}

TEST(kernel_writable_and_executable_section_is_refused)
{
    prepare();
    put32(file + SECTION_AT(2) + FLAGS, 0xe0000040);
    expect_refused("a section is both writable and executable");
}

TEST(kernel_entry_outside_code_is_refused)
{
    static const uint32_t bad[] = {0, 0x1000, KERNEL_DATA, KERNEL_IMAGE_SIZE, 0xffffffff};
    prepare();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        put32(file + ENTRY_AT, bad[i]);
        expect_refused("AddressOfEntryPoint is in no executable section");
    }
    put32(file + ENTRY_AT, KERNEL_DATA - 1);
    CHECK(read_kernel().status == EFI_SUCCESS);
}

TEST(kernel_cut_short_is_refused)
{
    for (size_t size = 0; size < KERNEL_FILE_SIZE; size += size < 0x200 ? 1 : 0x80) {
        prepare();
        uint8_t *copy = malloc(size + 1);
        memcpy(copy, file, size);
        struct section cut = {{copy, size}, size};
        CHECK(kernel_read(cut, &kernel).status == EFI_LOAD_ERROR);
        free(copy);
    }
}
