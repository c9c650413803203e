/* The stub as a whole, from efi_main to the kernel's entry point and back. */
#include "check.h"
#include "images.h"
#include "mock.h"
#include "sprout_stamps.h"

static uint8_t file[KERNEL_FILE_SIZE];
static uint8_t *image;
static size_t image_size;
static const char cmdline[] = "console=ttyS0 quiet";
static const char initrd[] = "070701 an initrd";

static void prepare_with(uint32_t linux_size, const char *text, const char *archive)
{
    mock_reset();
    kernel_image(file);
    image = boot_image(file, sizeof(file), linux_size, text, archive, &image_size);
    mock.image.ImageBase = image;
    mock.image.ImageSize = image_size;
    mock.image.LoadOptions = "from outside";
    mock.image.LoadOptionsSize = 12;
}

static void prepare(void)
{
    prepare_with(KERNEL_IMAGE_SIZE, cmdline, initrd);
}

/* The image's memory is Linux's to keep once it runs, so only a test gives it back. */
static void finish(void)
{
    CHECK(mock.allocation == NULL);
    CHECK(mock.initrd == NULL);
    CHECK(mock.image.ImageBase == image && mock.image.ImageSize == image_size);
    CHECK(mock.image.LoadOptionsSize == 12);
    free(image);
}

static void check_crc(void)
{
    uint32_t crc = mock.boot.Hdr.CRC32, right;
    mock.boot.Hdr.CRC32 = 0;
    mock.boot.CalculateCrc32(&mock.boot, sizeof(mock.boot), &right);
    mock.boot.Hdr.CRC32 = crc;
    CHECK(crc == right);
}

static void check_memory(const uint8_t *base)
{
    CHECK(memcmp(base, file, KERNEL_DATA + KERNEL_DATA_RAW) == 0);
    for (size_t i = KERNEL_DATA + KERNEL_DATA_RAW; i < KERNEL_IMAGE_SIZE; i++)
        CHECK(base[i] == 0);
}

static EFI_STATUS linux_starts(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
    uint8_t buffer[64];
    const uint8_t *base = mock.image.ImageBase;
    (void)self;
    CHECK(system == &mock.system);
    CHECK(entry == base + KERNEL_ENTRY);
    CHECK(mock.image.ImageSize == KERNEL_IMAGE_SIZE);
    check_memory(base);
    const CHAR16 *options = mock.image.LoadOptions;
    CHECK(mock.image.LoadOptionsSize == sizeof(cmdline) * 2);
    for (size_t i = 0; i < sizeof(cmdline); i++)
        CHECK(options[i] == (CHAR16)cmdline[i]);
    CHECK(mock_load_initrd(buffer, sizeof(buffer)) == sizeof(initrd) - 1);
    CHECK(memcmp(buffer, initrd, sizeof(initrd) - 1) == 0);
    check_crc();
    return EFI_SUCCESS;
}

static void check_attributes(const uint8_t *base)
{
    const uint64_t data = EFI_MEMORY_XP, fixed = EFI_MEMORY_RO | EFI_MEMORY_XP;
    const uint64_t code = EFI_MEMORY_RO;
    const uint64_t expected[] = {fixed, fixed, code, code, data, data};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        CHECK(mock_page_attributes(base + i * EFI_PAGE_SIZE) == expected[i]);
    CHECK(!mock.was_writable_and_executable);
}

static EFI_STATUS linux_starts_protected(const uint8_t *entry, EFI_HANDLE self,
                                         EFI_SYSTEM_TABLE *system)
{
    check_attributes(mock.image.ImageBase);
    return linux_starts(entry, self, system);
}

static struct sprout_stamps stamps(void)
{
    static const EFI_GUID guid = SPROUT_STAMPS_GUID;
    struct sprout_stamps table;
    struct mock_variable *variable = mock_variable(SPROUT_STAMPS_VARIABLE);
    CHECK(variable != NULL && variable->size == sizeof(table) && variable->attributes == 6);
    CHECK(memcmp(&variable->vendor, &guid, sizeof(guid)) == 0);
    memcpy(&table, variable->data, sizeof(table));
    CHECK(table.magic == SPROUT_STAMPS_MAGIC && table.version == SPROUT_STAMPS_VERSION);
    CHECK(table.size == sizeof(table));
    return table;
}

static void expect_refused(EFI_STATUS status, const char *line)
{
    CHECK(mock_start_image() == status);
    CHECK_TEXT(mock.console, line);
    CHECK(mock.kernel_runs == 0);
    finish();
}

#define FOREIGN_LINE "sprout: .initrd: another program offers its own initrd to Linux\r\n"
#define REFUSED_LINE "sprout: .linux: the firmware refused memory attributes\r\n"

TEST(boot_copies_once_without_the_attribute_protocol)
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

TEST(boot_in_place_copies_nothing)
{
    prepare();
    mock.has_attributes = true;
    mock.kernel = linux_in_place;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock.kernel_runs == 1 && mock.allocated_pages == 0);
    CHECK(stamps().bytes_copied == 0);
    CHECK(mock.attribute_calls == 8);
    for (size_t i = 0; i < KERNEL_IMAGE_SIZE; i += EFI_PAGE_SIZE)
        CHECK(mock_page_attributes(boot_image_linux(image) + i) == EFI_MEMORY_XP);
    finish();
}

TEST(boot_in_place_zeroes_what_follows_raw_data_in_the_file)
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

TEST(boot_copies_and_protects_where_the_section_is_too_small)
{
    prepare_with(KERNEL_FILE_SIZE, cmdline, initrd);
    expect_protected_copy();
}

TEST(boot_copies_and_protects_where_the_section_is_not_aligned)
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

TEST(boot_keeps_a_larger_section_alignment)
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

static EFI_STATUS linux_without_extras(const uint8_t *entry, EFI_HANDLE self,
                                       EFI_SYSTEM_TABLE *system)
{
    (void)entry, (void)self, (void)system;
    CHECK(mock.image.LoadOptionsSize == 2 && *(const CHAR16 *)mock.image.LoadOptions == 0);
    CHECK(mock_load_initrd(NULL, 0) == -1);
    return EFI_SUCCESS;
}

TEST(boot_ignores_load_options_from_outside)
{
    prepare_with(KERNEL_IMAGE_SIZE, NULL, NULL);
    mock.kernel = linux_without_extras;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock.kernel_runs == 1);
    finish();
}

TEST(boot_publishes_who_and_when)
{
    prepare();
    mock.leaf_0.eax = 0x15;
    mock.leaf_15 = (struct cpuid){1, 100, 25000000, 0};
    mock.ticks = 5000000000;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK_TEXT(mock_text("LoaderInfo"), "sprout 1.2.3-test");
    CHECK_TEXT(mock_text("StubInfo"), "sprout-stub 1.2.3-test");
    CHECK_TEXT(mock_text("LoaderTimeInitUSec"), "2000000");
    CHECK_TEXT(mock_text("LoaderTimeExecUSec"), "2000000");
    CHECK(mock_variable("LoaderDevicePartUUID") == NULL);
    struct mock_variable *info = mock_variable("StubInfo");
    CHECK(info->attributes == 6 && info->vendor.data1 == 0x4a67b082);
    CHECK(stamps().tsc_hz == 2500000000 && stamps().tsc_entry == 5000000100);
    CHECK(stamps().tsc_handover > stamps().tsc_entry);
    finish();
}

TEST(boot_publishes_no_microseconds_without_a_frequency)
{
    prepare();
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock_variable("LoaderTimeInitUSec") == NULL);
    CHECK(mock_variable("LoaderTimeExecUSec") == NULL);
    CHECK(stamps().tsc_hz == 0 && stamps().tsc_entry == 1000100);
    finish();
}

TEST(boot_leaves_an_earlier_loaders_variables_alone)
{
    static const EFI_GUID vendor = {
        0x4a67b082, 0x0a4c, 0x41cf, {0xb6, 0xc7, 0x44, 0x0b, 0x29, 0xbb, 0x8c, 0x4f}};
    prepare();
    mock.leaf_0.eax = 0x15;
    mock.leaf_15 = (struct cpuid){1, 100, 25000000, 0};
    mock.runtime.SetVariable(u"LoaderInfo", &vendor, 6, 8, u"abc");
    mock.runtime.SetVariable(u"LoaderTimeInitUSec", &vendor, 6, 4, u"7");
    mock.runtime.SetVariable(u"LoaderTimeExecUSec", &vendor, 6, 4, u"8");
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK_TEXT(mock_text("LoaderInfo"), "abc");
    CHECK_TEXT(mock_text("LoaderTimeInitUSec"), "7");
    CHECK_TEXT(mock_text("LoaderTimeExecUSec"), "400");
    finish();
}

TEST(boot_replaces_what_an_os_left_under_its_names)
{
    static const EFI_GUID loader = {
        0x4a67b082, 0x0a4c, 0x41cf, {0xb6, 0xc7, 0x44, 0x0b, 0x29, 0xbb, 0x8c, 0x4f}};
    static const EFI_GUID vendor = SPROUT_STAMPS_GUID;
    prepare();
    mock.leaf_0.eax = 0x15;
    mock.leaf_15 = (struct cpuid){1, 100, 25000000, 0};
    mock.runtime.SetVariable(u"LoaderInfo", &loader, 7, 8, u"abc");
    mock.runtime.SetVariable(u"LoaderTimeInitUSec", &loader, 7, 4, u"7");
    mock.runtime.SetVariable(u"LoaderTimeExecUSec", &loader, 7, 4, u"8");
    mock.runtime.SetVariable(u"StubInfo", &loader, 7, 4, u"9");
    mock.runtime.SetVariable(u"" SPROUT_STAMPS_VARIABLE, &vendor, 7, 8, u"old");
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK_TEXT(mock_text("LoaderInfo"), "sprout 1.2.3-test");
    CHECK_TEXT(mock_text("StubInfo"), "sprout-stub 1.2.3-test");
    CHECK_TEXT(mock_text("LoaderTimeInitUSec"), "400");
    CHECK(mock_variable("LoaderTimeExecUSec")->attributes == 6);
    CHECK(stamps().tsc_entry == 1000100);
    finish();
}

TEST(boot_goes_on_where_variables_cannot_be_set)
{
    prepare();
    mock.variables_are_full = true;
    mock.kernel = linux_starts;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock.kernel_runs == 1);
    CHECK_TEXT(mock.console, "");
    finish();
}

TEST(boot_publishes_the_partition)
{
    static const uint8_t path[] = {
        0x02, 0x01, 12, 0, 0xd0, 0x41, 0x03, 0x0a, 0, 0, 0, 0, /* PciRoot(0) */
        0x04, 0x01, 42, 0, 1, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0x33, 0x22,
        0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 2, 2,
        0x7f, 0xff, 4, 0};
    prepare();
    mock.device_path = path;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK_TEXT(mock_text("LoaderDevicePartUUID"), "00112233-4455-6677-8899-aabbccddeeff");
    finish();
}

TEST(boot_does_not_follow_a_broken_device_path)
{
    static const uint8_t no_length[] = {0x02, 0x01, 3, 0};
    static const uint8_t mbr[] = {0x04, 0x01, 42, 0, 1, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0,
                                  0,    8,    0,  0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0,
                                  0,    0,    0,  0, 0, 0, 0, 0, 1, 1, 0x7f, 0xff, 4, 0};
    prepare();
    mock.device_path = no_length;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock_variable("LoaderDevicePartUUID") == NULL);
    mock.device_path = mbr;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock_variable("LoaderDevicePartUUID") == NULL);
    finish();
}

static EFI_STATUS foreign_load(EFI_LOAD_FILE2_PROTOCOL *self, EFI_DEVICE_PATH_PROTOCOL *path,
                               BOOLEAN boot_policy, UINTN *size, void *buffer)
{
    (void)self, (void)path, (void)boot_policy, (void)size, (void)buffer;
    CHECK(!"a foreign initrd was used");
    return EFI_SUCCESS;
}

static EFI_LOAD_FILE2_PROTOCOL foreign = {foreign_load};

TEST(boot_refuses_a_foreign_initrd)
{
    prepare();
    mock.foreign_initrd = &foreign;
    expect_refused(EFI_SECURITY_VIOLATION, FOREIGN_LINE);
}

TEST(boot_refuses_a_foreign_initrd_in_the_place_of_none)
{
    prepare_with(KERNEL_IMAGE_SIZE, cmdline, NULL);
    mock.foreign_initrd = &foreign;
    expect_refused(EFI_SECURITY_VIOLATION, FOREIGN_LINE);
}

TEST(boot_refuses_a_foreign_initrd_that_linux_would_find_first)
{
    prepare();
    mock.foreign_initrd = &foreign;
    mock.foreign_is_found_first = true;
    expect_refused(EFI_SECURITY_VIOLATION, FOREIGN_LINE);
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
    CHECK(size == sizeof(initrd) - 1);
    CHECK(file->LoadFile(file, &end, 1, &size, NULL) == EFI_UNSUPPORTED);
    CHECK(file->LoadFile(file, &end, 0, NULL, NULL) == EFI_INVALID_PARAMETER);
    CHECK(file->LoadFile(file, NULL, 0, &size, NULL) == EFI_INVALID_PARAMETER);
    CHECK(file->LoadFile(NULL, &end, 0, &size, NULL) == EFI_INVALID_PARAMETER);
    return EFI_SUCCESS;
}

TEST(boot_offers_the_initrd_as_the_specification_says)
{
    prepare();
    mock.kernel = linux_calls_load_file_wrongly;
    CHECK(mock_start_image() == EFI_SUCCESS);
    finish();
}

static EFI_STATUS linux_returns(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
    (void)entry, (void)self, (void)system;
    return EFI_UNSUPPORTED;
}

static EFI_STATUS linux_exits(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
    (void)entry;
    check_crc();
    return system->BootServices->Exit(self, EFI_UNSUPPORTED, 0, NULL);
}

static void expect_everything_undone(EFI_STATUS (*kernel)(const uint8_t *, EFI_HANDLE,
                                                          EFI_SYSTEM_TABLE *))
{
    for (int protocol = 0; protocol < 2; protocol++) {
        prepare();
        EFI_BOOT_SERVICES before = mock.boot;
        mock.has_attributes = protocol != 0;
        mock.kernel = kernel;
        CHECK(mock_start_image() == EFI_UNSUPPORTED);
        CHECK_TEXT(mock.console, "sprout: .linux: the kernel gave up before it took over\r\n");
        CHECK(memcmp(&before, &mock.boot, sizeof(before)) == 0);
        finish();
    }
}

TEST(boot_undoes_everything_when_the_kernel_returns)
{
    expect_everything_undone(linux_returns);
}

TEST(boot_undoes_everything_when_the_kernel_exits)
{
    expect_everything_undone(linux_exits);
}

TEST(boot_says_what_is_wrong_with_the_image)
{
    prepare();
    memcpy(image + SECTION_AT(2), ".nothing", 8);
    expect_refused(EFI_LOAD_ERROR, "sprout: .linux: section is missing or empty\r\n");
    prepare();
    put16(boot_image_linux(image) + MACHINE_AT, 0xaa64);
    expect_refused(EFI_LOAD_ERROR, "sprout: .linux: Machine is another architecture\r\n");
    prepare_with(KERNEL_IMAGE_SIZE, "a\nb", initrd);
    expect_refused(EFI_LOAD_ERROR, "sprout: .cmdline: has a control character\r\n");
    prepare();
    memcpy(image + SECTION_AT(1), ".cmdline", 8);
    expect_refused(EFI_LOAD_ERROR, "sprout: .cmdline: there are two sections of this name\r\n");
    prepare();
    put32(image + SECTION_AT(1) + VIRTUAL_SIZE, 0x7fffffff);
    expect_refused(EFI_LOAD_ERROR, "sprout: .initrd: VirtualSize goes beyond SizeOfImage\r\n");
    prepare();
    image[0] = 0;
    expect_refused(EFI_LOAD_ERROR, "sprout: boot image: DOS header has no MZ\r\n");
}

TEST(boot_says_what_the_firmware_refused)
{
    prepare();
    mock.hides_image = true;
    expect_refused(EFI_UNSUPPORTED,
                   "sprout: boot image: the firmware does not say where it is loaded\r\n");
    prepare();
    mock.refuses_initrd = true;
    expect_refused(EFI_OUT_OF_RESOURCES,
                   "sprout: .initrd: the firmware refused to install LoadFile2\r\n");
}

TEST(boot_says_when_memory_runs_out)
{
    prepare();
    mock.memory_is_full = true;
    expect_refused(EFI_OUT_OF_RESOURCES, "sprout: .linux: no memory for SizeOfImage\r\n");
}

TEST(boot_says_when_attributes_are_refused)
{
    for (int copy = 0; copy < 2; copy++)
        for (int call = 1; call <= 6; call++) {
            prepare_with(copy ? KERNEL_FILE_SIZE : KERNEL_IMAGE_SIZE, cmdline, initrd);
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

TEST(boot_is_silent_without_a_console)
{
    prepare();
    mock.system.ConOut = NULL;
    mock.memory_is_full = true;
    CHECK(mock_start_image() == EFI_OUT_OF_RESOURCES);
    finish();
}
