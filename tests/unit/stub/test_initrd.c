/* Linux gets exactly this image's initrd, whatever other programs offer. */
#include "boots.h"
#include "check.h"
#include "images.h"
#include "initrd.h"
#include "mock.h"

#define FOREIGN_LINE "sprout: .initrd: another program offers its own initrd to Linux\r\n"

static EFI_STATUS foreign_load(EFI_LOAD_FILE2_PROTOCOL *self, EFI_DEVICE_PATH_PROTOCOL *path,
                               BOOLEAN boot_policy, UINTN *size, void *buffer)
{
    (void)self, (void)path, (void)boot_policy, (void)size, (void)buffer;
    CHECK(!"a foreign initrd was used");
    return EFI_SUCCESS;
}

static EFI_LOAD_FILE2_PROTOCOL foreign = {foreign_load};

/* A firmware in which other programs offer an initrd on `count` handles. */
static void prepare_foreign(const char *archive, size_t count)
{
    prepare_with(KERNEL_IMAGE_SIZE, archive == NULL ? NULL : boots_cmdline, archive);
    mock.theirs = &foreign;
    for (size_t i = 0; i < count; i++)
        mock.foreign[i] = (struct mock_foreign){.has_path = true, .file = &foreign};
    mock.kernel = archive == NULL ? linux_without_extras : linux_starts;
}

static void expect_given_back(size_t count)
{
    for (size_t i = 0; i < MOCK_FOREIGN; i++)
        CHECK(mock.foreign[i].file == (i < count ? &foreign : NULL));
}

static void expect_boot(size_t count)
{
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK_TEXT(mock.console, "");
    CHECK(mock.kernel_runs == 1);
    expect_given_back(count);
    finish();
}

TEST(initrd_takes_the_place_of_a_foreign_one)
{
    prepare_foreign(boots_initrd, 1);
    expect_boot(1);
}

TEST(initrd_takes_the_place_of_several_foreign_ones)
{
    prepare_foreign(boots_initrd, INITRD_MAX_FOREIGN);
    expect_boot(INITRD_MAX_FOREIGN);
}

TEST(initrd_of_none_leaves_no_foreign_one)
{
    prepare_foreign(NULL, 1);
    expect_boot(1);
    prepare_foreign(NULL, INITRD_MAX_FOREIGN);
    expect_boot(INITRD_MAX_FOREIGN);
}

TEST(initrd_goes_before_a_foreign_one_on_the_beginning_of_the_path)
{
    for (int none = 0; none < 2; none++) {
        prepare_foreign(none ? NULL : boots_initrd, 1);
        mock.foreign[0].has_path = false;
        mock.foreign[0].has_no_nodes = true;
        expect_boot(1);
    }
}

TEST(initrd_goes_onto_a_foreign_handle_that_has_only_the_path)
{
    prepare_foreign(boots_initrd, 1);
    mock.foreign[0].file = NULL;
    expect_boot(0);
    prepare_foreign(NULL, 1);
    mock.foreign[0].file = NULL;
    expect_boot(0);
}

TEST(initrd_gives_back_what_was_theirs_when_the_kernel_gives_up)
{
    for (int exits = 0; exits < 2; exits++) {
        prepare_foreign(boots_initrd, 2);
        mock.kernel = exits ? linux_exits : linux_returns;
        CHECK(mock_start_image() == EFI_UNSUPPORTED);
        CHECK(mock.kernel_runs == 1);
        expect_given_back(2);
        finish();
    }
}

TEST(initrd_gives_back_what_was_theirs_when_the_kernel_is_refused)
{
    prepare_foreign(boots_initrd, 1);
    memcpy(image + SECTION_AT(2), ".nothing", 8);
    expect_refused(EFI_LOAD_ERROR, "sprout: .linux: section is missing or empty\r\n");
    expect_given_back(1);
}

TEST(initrd_that_cannot_be_taken_away_is_refused)
{
    for (int none = 0; none < 2; none++) {
        prepare_foreign(none ? NULL : boots_initrd, 1);
        mock.keeps_foreign = true;
        expect_refused(EFI_SECURITY_VIOLATION, FOREIGN_LINE);
        expect_given_back(1);
    }
}

TEST(initrd_of_too_many_programs_is_refused)
{
    prepare_foreign(boots_initrd, INITRD_MAX_FOREIGN + 1);
    expect_refused(EFI_SECURITY_VIOLATION, FOREIGN_LINE);
    expect_given_back(INITRD_MAX_FOREIGN + 1);
}

TEST(initrd_that_comes_after_ours_and_is_found_first_is_refused)
{
    prepare_foreign(boots_initrd, 0);
    mock.answers = true;
    expect_refused(EFI_SECURITY_VIOLATION, FOREIGN_LINE);
    expect_given_back(1);
}

TEST(initrd_that_cannot_be_installed_gives_back_what_was_theirs)
{
    prepare_foreign(boots_initrd, 1);
    mock.refuses_initrd = true;
    expect_refused(EFI_OUT_OF_RESOURCES,
                   "sprout: .initrd: the firmware refused to install LoadFile2\r\n");
    expect_given_back(1);
}

static EFI_STATUS linux_calls_load_file_wrongly(const uint8_t *entry, EFI_HANDLE self,
                                                EFI_SYSTEM_TABLE *system)
{
    EFI_LOAD_FILE2_PROTOCOL *file = mock.initrd;
    EFI_DEVICE_PATH_PROTOCOL end = {0x7f, 0xff, {4, 0}};
    uint8_t small[4];
    UINTN size = sizeof(small);
    (void)entry, (void)self, (void)system;
    CHECK(file->LoadFile(file, &end, 0, &size, small) == EFI_BUFFER_TOO_SMALL);
    CHECK(size == strlen(boots_initrd));
    CHECK(file->LoadFile(file, &end, 1, &size, NULL) == EFI_UNSUPPORTED);
    CHECK(file->LoadFile(file, &end, 0, NULL, NULL) == EFI_INVALID_PARAMETER);
    CHECK(file->LoadFile(file, NULL, 0, &size, NULL) == EFI_INVALID_PARAMETER);
    CHECK(file->LoadFile(NULL, &end, 0, &size, NULL) == EFI_INVALID_PARAMETER);
    return EFI_SUCCESS;
}

TEST(initrd_is_offered_as_the_specification_says)
{
    prepare();
    mock.kernel = linux_calls_load_file_wrongly;
    CHECK(mock_start_image() == EFI_SUCCESS);
    finish();
}

