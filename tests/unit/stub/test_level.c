/* The machine's SBAT level against the image's own generations. */
#include "level.h"

#include "boots.h"
#include "check.h"
#include "images.h"
#include "mock.h"
#include "sprout_levels.h"
#include "sprout_stamps.h"

#define ROW_AT(index) (sizeof(struct sprout_levels) + (index) * sizeof(struct sprout_level))

static const EFI_GUID vendor = SPROUT_STAMPS_GUID;
static uint8_t machine[SPROUT_LEVELS_MAX_BYTES + 64], own[SPROUT_LEVELS_MAX_BYTES + 64];

/* Writes a table of sbat 1, linux and sprout-stub; gives its size. */
static size_t table(uint8_t *at, uint32_t linux_generation, uint32_t stub_generation)
{
    static const char *const components[] = {"linux", "sbat", "sprout-stub"};
    const uint32_t generations[] = {linux_generation, 1, stub_generation};
    memset(at, 0, SPROUT_LEVELS_MAX_BYTES);
    put32(at, SPROUT_LEVELS_MAGIC);
    put16(at + 4, SPROUT_LEVELS_VERSION);
    put16(at + 6, 3);
    for (size_t i = 0; i < 3; i++) {
        strcpy((char *)at + ROW_AT(i), components[i]);
        put32(at + ROW_AT(i) + 24, generations[i]);
    }
    return ROW_AT(3);
}

static void machine_has(const void *data, size_t size, uint32_t attributes)
{
    CHECK(mock.runtime.SetVariable(u"" SPROUT_LEVELS_VARIABLE, &vendor, attributes, size, data) ==
          EFI_SUCCESS);
}

static void image_has(const uint8_t *data, size_t size)
{
    memcpy(image + 0x1800, data, size); /* in the page of .cmdline, which is short */
    pe_add(image, SPROUT_LEVELS_SECTION, 0x1800, (uint32_t)size, 0x400, 512, 0x40000040);
}

/* A boot of an image of linux 5 and sprout-stub 3. */
static void prepare_level(uint32_t linux_generation, uint32_t stub_generation)
{
    prepare();
    mock.kernel = linux_starts;
    machine_has(machine, table(machine, linux_generation, stub_generation), 0x27);
    image_has(own, table(own, 5, 3));
}

static void expect_boot(void)
{
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK_TEXT(mock.console, "");
    CHECK(mock.kernel_runs == 1);
    finish();
}

/* Refused before there is anything to take back. */
static void expect_violation(const char *line)
{
    mock.boot.LocateDevicePath = NULL;
    mock.boot.AllocatePages = NULL;
    expect_refused(EFI_SECURITY_VIOLATION, line);
}

TEST(level_that_is_absent_asks_for_nothing)
{
    prepare();
    mock.kernel = linux_starts;
    expect_boot();
    prepare();
    mock.kernel = linux_starts;
    image_has((const uint8_t *)"no table", 8);
    expect_boot();
}

TEST(level_of_another_vendor_asks_for_nothing)
{
    static const EFI_GUID shim = {
        0x605dab50, 0xe046, 0x4300, {0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23}};
    prepare();
    mock.kernel = linux_starts;
    mock.runtime.SetVariable(u"" SPROUT_LEVELS_VARIABLE, &shim, 7, 4, "sbat");
    expect_boot();
}

TEST(level_that_is_met_or_exceeded_boots)
{
    prepare_level(5, 3);
    expect_boot();
    prepare_level(1, 2);
    expect_boot();
}

TEST(level_that_is_not_met_is_refused)
{
    prepare_level(6, 3);
    expect_violation("sprout: linux: revoked: below this machine's SbatLevel\r\n");
    prepare_level(5, 4);
    expect_violation("sprout: sprout-stub: revoked: below this machine's SbatLevel\r\n");
    prepare_level(SPROUT_LEVELS_MAX_GENERATION, 1);
    expect_violation("sprout: linux: revoked: below this machine's SbatLevel\r\n");
}

TEST(level_that_is_no_authenticated_variable_is_refused)
{
    for (uint32_t attributes = 0; attributes < 0x100; attributes++) {
        if (attributes == SPROUT_LEVELS_ATTRIBUTES)
            continue;
        prepare();
        image_has(own, table(own, 5, 3));
        machine_has(machine, table(machine, 1, 1), attributes);
        expect_violation("sprout: SbatLevel: is not an authenticated variable\r\n");
    }
}

TEST(level_that_is_too_long_is_refused)
{
    prepare();
    image_has(own, table(own, 5, 3));
    machine_has(machine, SPROUT_LEVELS_MAX_BYTES + 1, 0x27);
    expect_violation("sprout: SbatLevel: longer than any table\r\n");
}

TEST(level_that_cannot_be_read_is_refused)
{
    prepare_level(5, 3);
    mock.reading_fails = EFI_SECURITY_VIOLATION;
    expect_violation("sprout: SbatLevel: the firmware cannot read it\r\n");
}

TEST(level_refuses_an_image_without_a_table)
{
    prepare();
    machine_has(machine, table(machine, 1, 1), 0x27);
    expect_violation("sprout: .sbatlvl: is missing, and this machine has an SbatLevel\r\n");
}

TEST(level_refuses_an_image_with_two_tables)
{
    prepare_level(5, 3);
    pe_add(image, SPROUT_LEVELS_SECTION, 0x1800, 8, 0x400, 512, 0x40000040);
    expect_violation("sprout: .sbatlvl: there are two sections of this name\r\n");
}

/* Compares copies of exactly their size, so that the sanitizer sees one step too far. */
static struct failure compare(size_t machine_size, size_t own_size)
{
    uint8_t *left = malloc(machine_size + 1), *right = malloc(own_size + 1);
    memcpy(left + 1, machine, machine_size);
    memcpy(right + 1, own, own_size);
    struct failure failure = level_compare((struct span){left + 1, machine_size},
                                           (struct span){right + 1, own_size});
    CHECK(failure.status == EFI_SUCCESS || failure.status == EFI_SECURITY_VIOLATION);
    free(left);
    free(right);
    return failure;
}

/* One field is harmed in the machine's table, then in the image's. */
static void expect_malformed(size_t at, const char *bytes, size_t count, const char *why)
{
    for (int which = 0; which < 2; which++) {
        size_t size = table(machine, 1, 1);
        table(own, 1, 1);
        memcpy((which ? own : machine) + at, bytes, count);
        struct failure failure = compare(size, size);
        CHECK_TEXT(failure.what, which ? ".sbatlvl" : "SbatLevel");
        CHECK_TEXT(failure.why, why);
    }
}

TEST(level_of_which_a_field_is_malformed_is_refused)
{
    expect_malformed(0, "s", 1, "magic is wrong");
    expect_malformed(3, "l", 1, "magic is wrong");
    expect_malformed(4, "\2", 1, "version is unknown");
    expect_malformed(5, "\1", 1, "version is unknown");
    expect_malformed(6, "\2", 1, "count does not fit the size");
    expect_malformed(6, "\4", 1, "count does not fit the size");
    expect_malformed(7, "\1", 1, "count does not fit the size");
    expect_malformed(6, "\377\377", 2, "count does not fit the size");
    expect_malformed(ROW_AT(0), "\0", 1, "component is no name");
    expect_malformed(ROW_AT(1), " ", 1, "component is no name");
    expect_malformed(ROW_AT(2), ",", 1, "component is no name");
    expect_malformed(ROW_AT(0) + 1, "\177", 1, "component is no name");
    expect_malformed(ROW_AT(0) + 1, "\303", 1, "component is no name");
    expect_malformed(ROW_AT(1) + 23, "x", 1, "component is no name");
    expect_malformed(ROW_AT(1), "abcdefghijklmnopqrstuvwx", 24, "component is no name");
    expect_malformed(ROW_AT(2) + 24, "\0\0\0\0", 4, "generation is out of range");
    expect_malformed(ROW_AT(2) + 27, "\200", 1, "generation is out of range");
    expect_malformed(ROW_AT(0) + 28, "\1", 1, "reserved is not 0");
    expect_malformed(ROW_AT(0) + 31, "\200", 1, "reserved is not 0");
    expect_malformed(ROW_AT(0), "sbat\0", 5, "components are out of order");
    expect_malformed(ROW_AT(1), "a", 1, "components are out of order");
}

TEST(level_of_another_size_is_refused)
{
    size_t whole = table(machine, 1, 1);
    table(own, 1, 1);
    for (size_t size = 0; size < whole + 40; size++) {
        CHECK((compare(size, whole).status == EFI_SUCCESS) == (size == whole));
        CHECK((compare(whole, size).status == EFI_SUCCESS) == (size == whole));
    }
}

TEST(level_takes_as_many_rows_as_the_table_may_have)
{
    for (int which = 0; which < 2; which++) {
        uint8_t *at = which ? own : machine;
        memset(at, 0, SPROUT_LEVELS_MAX_BYTES);
        put32(at, SPROUT_LEVELS_MAGIC);
        put16(at + 4, SPROUT_LEVELS_VERSION);
        put16(at + 6, SPROUT_LEVELS_MAX_ROWS);
        for (size_t i = 0; i < SPROUT_LEVELS_MAX_ROWS; i++) {
            sprintf((char *)at + ROW_AT(i), "a-component-named-%05zu", i);
            put32(at + ROW_AT(i) + 24, 7);
        }
    }
    CHECK(compare(SPROUT_LEVELS_MAX_BYTES, SPROUT_LEVELS_MAX_BYTES).status == EFI_SUCCESS);
    put32(own + ROW_AT(63) + 24, 6);
    CHECK_TEXT(compare(SPROUT_LEVELS_MAX_BYTES, SPROUT_LEVELS_MAX_BYTES).why,
               "revoked: below this machine's SbatLevel");
    put16(machine + 6, SPROUT_LEVELS_MAX_ROWS + 1);
    CHECK_TEXT(compare(SPROUT_LEVELS_MAX_BYTES + 32, SPROUT_LEVELS_MAX_BYTES).why,
               "count does not fit the size");
}

TEST(level_compares_only_what_both_name)
{
    size_t size = table(machine, 9, 9);
    memcpy(machine + ROW_AT(0), "grub2", 5);
    memcpy(machine + ROW_AT(2), "systemd-stb", 11);
    CHECK(compare(size, table(own, 1, 1)).status == EFI_SUCCESS);
    size = table(own, 1, 1);
    put16(machine + 6, 0);
    CHECK(compare(ROW_AT(0), size).status == EFI_SUCCESS);
}
