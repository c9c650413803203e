/* The image's own section table. */
#include "check.h"
#include "images.h"
#include "sections.h"

static uint8_t image[0x3000];
static struct pe self;

static void prepare(void)
{
    memset(image, 0, sizeof(image));
    pe_headers(image, sizeof(image), 0x400);
    pe_add(image, ".linux", 0x1000, 0x800, 0x400, 0x400, 0x40000040);
    pe_add(image, ".initrd", 0x2000, 0x1000, 0x800, 0x1000, 0x40000040);
}

static struct failure open_image(void)
{
    return sections_open((struct span){image, sizeof(image)}, &self);
}

static void expect_refused(const char *why)
{
    struct failure failure = open_image();
    CHECK(failure.status == EFI_LOAD_ERROR);
    CHECK_TEXT(failure.what, "boot image");
    CHECK_TEXT(failure.why, why);
}

TEST(sections_are_found_by_name)
{
    struct section found;
    prepare();
    CHECK(open_image().status == EFI_SUCCESS);
    CHECK(sections_find(&self, ".linux", true, &found).status == EFI_SUCCESS);
    CHECK(found.bytes.data == image + 0x1000 && found.bytes.size == 0x800);
    CHECK(found.file_size == 0x400);
    CHECK(sections_find(&self, ".initrd", true, &found).status == EFI_SUCCESS);
    CHECK(found.bytes.size == 0x1000 && found.file_size == 0x1000);
}

TEST(sections_names_are_whole_names)
{
    struct section found;
    prepare();
    memcpy(image + SECTION_AT(1), ".linuxen", 8);
    CHECK(open_image().status == EFI_SUCCESS);
    CHECK(sections_find(&self, ".linux", true, &found).status == EFI_SUCCESS);
    CHECK(sections_find(&self, ".linuxen", true, &found).status == EFI_SUCCESS);
    CHECK(found.bytes.data == image + 0x2000);
    CHECK(sections_find(&self, ".linuxenx", false, &found).status == EFI_SUCCESS);
    CHECK(found.bytes.size == 0);
}

TEST(sections_missing_one_is_a_failure_only_when_required)
{
    struct section found;
    prepare();
    CHECK(open_image().status == EFI_SUCCESS);
    CHECK(sections_find(&self, ".cmdline", false, &found).status == EFI_SUCCESS);
    CHECK(found.bytes.data == NULL && found.bytes.size == 0 && found.file_size == 0);
    struct failure failure = sections_find(&self, ".cmdline", true, &found);
    CHECK_TEXT(failure.what, ".cmdline");
    CHECK_TEXT(failure.why, "section is missing or empty");
}

TEST(sections_two_of_one_name_are_refused)
{
    struct section found;
    prepare();
    memcpy(image + SECTION_AT(1), ".linux\0", 8);
    CHECK(open_image().status == EFI_SUCCESS);
    CHECK_TEXT(sections_find(&self, ".linux", true, &found).why,
               "there are two sections of this name");
}

TEST(sections_beyond_the_image_are_refused)
{
    static const uint32_t bad[][2] = {
        {0x1000, 0x2001}, {0x3001, 0}, {0xffffffff, 1}, {0x1000, 0xffffffff}, {0x3ff, 16}, {0, 64},
    };
    struct section found;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        prepare();
        put32(image + SECTION_AT(0) + VIRTUAL_ADDRESS, bad[i][0]);
        put32(image + SECTION_AT(0) + VIRTUAL_SIZE, bad[i][1]);
        CHECK(open_image().status == EFI_SUCCESS);
        CHECK_TEXT(sections_find(&self, ".linux", true, &found).why,
                   "VirtualSize goes beyond SizeOfImage");
    }
}

TEST(sections_of_broken_headers_are_refused)
{
    prepare();
    image[0] = 'X';
    expect_refused("DOS header has no MZ");
    prepare();
    put32(image + 60, sizeof(image) - 23);
    expect_refused("e_lfanew goes beyond the image");
    put32(image + 60, 0xffffffff);
    expect_refused("e_lfanew goes beyond the image");
    prepare();
    image[PE_AT + 3] = 1;
    expect_refused("PE signature is missing");
    prepare();
    put16(image + MACHINE_AT, 0xaa64);
    expect_refused("Machine is another architecture");
    prepare();
    put16(image + SECTION_COUNT_AT, 0);
    expect_refused("NumberOfSections is 0 or above 96");
    put16(image + SECTION_COUNT_AT, 97);
    expect_refused("NumberOfSections is 0 or above 96");
    prepare();
    put16(image + OPTIONAL_SIZE_AT, 0xffff);
    expect_refused("SizeOfOptionalHeader goes beyond the image");
    put16(image + OPTIONAL_SIZE_AT, 111);
    expect_refused("SizeOfOptionalHeader is too small");
    prepare();
    put16(image + OPTIONAL_AT, 0x10b);
    expect_refused("optional header Magic is not PE32+");
    prepare();
    put16(image + OPTIONAL_SIZE_AT, 112 + 5 * 8);
    expect_refused("NumberOfRvaAndSizes goes beyond the optional header");
    prepare();
    put32(image + HEADERS_SIZE_AT, SECTION_AT(2) - 1);
    expect_refused("section table goes beyond SizeOfHeaders");
    prepare();
    put32(image + HEADERS_SIZE_AT, sizeof(image) + 1);
    expect_refused("SizeOfHeaders is above SizeOfImage");
    prepare();
    put32(image + IMAGE_SIZE_AT, sizeof(image) + 1);
    expect_refused("SizeOfImage is above what the firmware loaded");
}

TEST(sections_of_a_tiny_image_are_refused)
{
    for (size_t size = 0; size < SECTION_AT(2); size++) {
        prepare();
        uint8_t *copy = malloc(size + 1);
        memcpy(copy + 1, image, size); /* unaligned, and exact for the address sanitizer */
        struct failure failure = sections_open((struct span){copy + 1, size}, &self);
        CHECK(failure.status == EFI_LOAD_ERROR);
        free(copy);
    }
}
