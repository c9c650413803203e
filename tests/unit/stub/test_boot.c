/* The stub as a whole, from efi_main to the kernel's entry point and back. */
#include "boots.h"
#include "check.h"
#include "images.h"
#include "mock.h"

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
    prepare_with(KERNEL_IMAGE_SIZE, "a\nb", boots_initrd);
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

TEST(boot_is_silent_without_a_console)
{
    prepare();
    mock.system.ConOut = NULL;
    mock.memory_is_full = true;
    CHECK(mock_start_image() == EFI_OUT_OF_RESOURCES);
    finish();
}
