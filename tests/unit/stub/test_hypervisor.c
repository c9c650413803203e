/* An image with a hypervisor, from efi_main to its entry by Multiboot2 and back. */
#include "hypervisor.h"

#include "boots.h"
#include "check.h"
#include "images.h"
#include "mock.h"

#define INITRD "070701 an initrd"
#define MICROCODE "070701 kernel/x86/microcode"
#define LINUX_SIZE 0x1234

static uint8_t file[HV_FILE_SIZE], linux_file[LINUX_SIZE];
static struct host_section sections[HOST_SECTIONS];
static uint8_t *host;
static size_t host_size;
static CHAR16 evil[] = u"dom0_mem=evil";

/* Everything that a host has, but no microcode. */
static void fill(void)
{
    hypervisor_file(file);
    memset(linux_file, 0x5c, sizeof(linux_file));
    memset(sections, 0, sizeof(sections));
    sections[HOST_CMDLINE] = (struct host_section){"console=hvc0 quiet\n", 19};
    sections[HOST_HVCMD] = (struct host_section){"console=com1 dom0_mem=128M", 26};
    sections[HOST_HV] = (struct host_section){file, sizeof(file)};
    sections[HOST_LINUX] = (struct host_section){linux_file, sizeof(linux_file)};
    sections[HOST_INITRD] = (struct host_section){INITRD, strlen(INITRD)};
}

static void load_host(bool low)
{
    mock_reset();
    host = host_image(sections, low, &host_size);
    mock.image.ImageBase = host;
    mock.image.ImageSize = host_size;
    mock.image.LoadOptions = evil;
    mock.image.LoadOptionsSize = sizeof(evil);
    mock.allows_mixed = true;
}

static void prepare_host(void)
{
    fill();
    load_host(true);
}

static void expect_undone(void)
{
    CHECK(mock_low_count() == 0 && mock.allocation == NULL && mock.initrd == NULL);
    CHECK(mock.image.ImageBase == host && mock.image.LoadOptions == evil);
    CHECK(mock.image.LoadOptionsSize == sizeof(evil));
    check_crc();
}

static void expect_host_refused(EFI_STATUS status, const char *line)
{
    CHECK(mock_start_image() == status);
    CHECK_TEXT(mock.console, line);
    CHECK(mock.hypervisor_runs == 0 && mock.kernel_runs == 0);
    expect_undone();
}

/* What the information says. */
static struct {
    const char *cmdline, *loader, *strings[4];
    uint32_t starts[4], ends[4];
    size_t modules;
    uint64_t system, image;
    bool services;
} told;

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static uint64_t get64(const uint8_t *at)
{
    return get32(at) | (uint64_t)get32(at + 4) << 32;
}

static void read_information(const uint8_t *block)
{
    memset(&told, 0, sizeof(told));
    CHECK((uintptr_t)block % 8 == 0 && (uintptr_t)block < 1ull << 32 && get32(block + 4) == 0);
    const uint8_t *at = block + 8, *end = block + get32(block);
    for (; get32(at) != 0; at += (get32(at + 4) + 7) & ~7u) {
        CHECK(at + 16 <= end && at + get32(at + 4) <= end);
        const char *text = (const char *)at + (get32(at) == 3 ? 16 : 8);
        if (get32(at) <= 3)
            CHECK(text + strlen(text) + 1 == (const char *)at + get32(at + 4));
        switch (get32(at)) {
        case 1:
            told.cmdline = text;
            break;
        case 2:
            told.loader = text;
            break;
        case 3:
            CHECK(told.modules < 4);
            told.starts[told.modules] = get32(at + 8);
            told.ends[told.modules] = get32(at + 12);
            told.strings[told.modules++] = text;
            break;
        case 12:
            told.system = get64(at + 8);
            break;
        case 18:
            told.services = true;
            break;
        case 20:
            told.image = get64(at + 8);
            break;
        default:
            CHECK(!"an unexpected tag");
        }
    }
    CHECK(get32(at + 4) == 8 && at + 8 == end);
}

static void check_module(size_t index, const void *bytes, size_t size)
{
    CHECK(told.starts[index] % EFI_PAGE_SIZE == 0);
    CHECK(told.ends[index] - told.starts[index] == size);
    CHECK(memcmp((const void *)(uintptr_t)told.starts[index], bytes, size) == 0);
}

static void xen_starts(const uint8_t *entry, uint32_t magic, const uint8_t *information)
{
    const uint8_t *base = entry - HV_ENTRY;
    CHECK(magic == 0x36d76289);
    CHECK((uintptr_t)base % HV_ALIGNMENT == 0 && (uintptr_t)base + HV_SEGMENT_MEMORY < 1ull << 32);
    CHECK(memcmp(base, file + HV_SEGMENT_OFFSET, HV_SEGMENT_FILE) == 0);
    for (size_t i = HV_SEGMENT_FILE; i < HV_SEGMENT_MEMORY; i++)
        CHECK(base[i] == 0);
    CHECK(mock.image.LoadOptions == NULL && mock.image.LoadOptionsSize == 0);
    CHECK(mock.image.ImageBase == host);
    check_crc();
    read_information(information);
    CHECK(told.services && told.system == (uintptr_t)&mock.system && told.image != 0);
    CHECK_TEXT(told.loader, "sprout");
    CHECK_TEXT(told.strings[0], "linux console=hvc0 quiet");
    CHECK_TEXT(told.strings[1], "");
    check_module(0, linux_file, sizeof(linux_file));
    check_module(1, INITRD, strlen(INITRD));
}

static void xen_in_place(const uint8_t *entry, uint32_t magic, const uint8_t *information)
{
    xen_starts(entry, magic, information);
    CHECK_TEXT(told.cmdline, "xen console=com1 dom0_mem=128M");
    CHECK(told.modules == 2);
    CHECK(told.starts[0] == (uintptr_t)host_section(host, ".linux"));
    CHECK(told.starts[1] == (uintptr_t)host_section(host, ".initrd"));
}

static uint64_t texts(void)
{
    return sections[HOST_CMDLINE].size - 1 + sections[HOST_HVCMD].size;
}

TEST(hypervisor_starts_with_modules_where_they_lie)
{
    prepare_host();
    mock.hypervisor = xen_in_place;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock.hypervisor_runs == 1 && mock.kernel_runs == 0 && mock.initrd == NULL);
    CHECK_TEXT(mock.console, "");
    CHECK(mock_low_count() == 2);
    CHECK(mock.low[0].type == EFI_LOADER_CODE && mock.low[1].type == EFI_LOADER_DATA);
    CHECK(mock.low[0].pages == 5 + HV_ALIGNMENT / EFI_PAGE_SIZE - 1 && mock.low[1].pages == 1);
    CHECK(stamps().bytes_copied == HV_SEGMENT_FILE + texts());
}

static void xen_with_copies(const uint8_t *entry, uint32_t magic, const uint8_t *information)
{
    xen_starts(entry, magic, information);
    CHECK(told.modules == 2);
}

TEST(hypervisor_copies_modules_from_above_4_gib)
{
    fill();
    load_host(false);
    mock.hypervisor = xen_with_copies;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock.hypervisor_runs == 1 && mock_low_count() == 4);
    CHECK(stamps().bytes_copied ==
          HV_SEGMENT_FILE + texts() + sizeof(linux_file) + strlen(INITRD));
}

TEST(hypervisor_copies_a_module_that_is_not_on_a_page)
{
    prepare_host();
    uint8_t *initrd = host_section(host, ".initrd");
    memmove(initrd + 8, initrd, strlen(INITRD));
    put32(host + SECTION_AT(HOST_INITRD) + VIRTUAL_ADDRESS, (uint32_t)(initrd + 8 - host));
    mock.hypervisor = xen_with_copies;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock.hypervisor_runs == 1 && mock_low_count() == 3);
    CHECK(stamps().bytes_copied == HV_SEGMENT_FILE + texts() + strlen(INITRD));
}

static void xen_with_microcode(const uint8_t *entry, uint32_t magic, const uint8_t *information)
{
    xen_starts(entry, magic, information);
    CHECK_TEXT(told.cmdline, "xen ucode=scan console=com1 dom0_mem=128M");
    CHECK(told.modules == 3);
    check_module(2, MICROCODE, strlen(MICROCODE));
    CHECK_TEXT(told.strings[2], "");
}

TEST(hypervisor_finds_microcode_behind_the_initrd)
{
    fill();
    sections[HOST_UCODE] = (struct host_section){MICROCODE, strlen(MICROCODE)};
    load_host(true);
    mock.hypervisor = xen_with_microcode;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock.hypervisor_runs == 1 && mock_low_count() == 2);
}

static void xen_protected(const uint8_t *entry, uint32_t magic, const uint8_t *information)
{
    const uint8_t *base = entry - HV_ENTRY;
    xen_in_place(entry, magic, information);
    for (size_t i = 0; i < HV_SEGMENT_MEMORY; i += EFI_PAGE_SIZE)
        CHECK(mock_page_attributes(base + i) == 0);
    CHECK(mock_page_attributes(base + 5 * EFI_PAGE_SIZE) == EFI_MEMORY_XP);
    CHECK(mock_page_attributes(information) == EFI_MEMORY_XP);
    CHECK(mock_page_attributes(host_section(host, ".linux")) == EFI_MEMORY_XP);
}

TEST(hypervisor_alone_is_made_executable)
{
    prepare_host();
    mock.has_attributes = true;
    mock.attributes_at_first = EFI_MEMORY_XP;
    mock.hypervisor = xen_protected;
    CHECK(mock_start_image() == EFI_SUCCESS);
    CHECK(mock.hypervisor_runs == 1);
    CHECK(mock.low[0].type == EFI_LOADER_DATA && mock.low[1].type == EFI_LOADER_DATA);
}

static void xen_gives_up(const uint8_t *entry, uint32_t magic, const uint8_t *information)
{
    (void)entry, (void)magic, (void)information;
    mock.boot.Exit((EFI_HANDLE)(uintptr_t)told.image, EFI_SUCCESS, 0, NULL);
}

static void xen_reads_and_gives_up(const uint8_t *entry, uint32_t magic,
                                   const uint8_t *information)
{
    read_information(information);
    xen_gives_up(entry, magic, information);
}

/* Xen ends with success after it has said what is wrong. */
TEST(hypervisor_that_gives_up_is_an_error_and_leaves_nothing)
{
    static const uint64_t at_first[] = {0, EFI_MEMORY_XP};
    for (int low = 0; low < 2; low++)
        for (int attributes = 0; attributes < 3; attributes++) {
            fill();
            load_host(low != 0);
            mock.has_attributes = attributes > 0;
            mock.attributes_at_first = attributes > 0 ? at_first[attributes - 1] : 0;
            mock.hypervisor = xen_reads_and_gives_up;
            CHECK(mock_start_image() == EFI_LOAD_ERROR);
            CHECK_TEXT(mock.console, "sprout: .hv: the hypervisor gave up before it took over\r\n");
            CHECK(mock.hypervisor_runs == 1);
            expect_undone();
        }
}

TEST(hypervisor_says_which_section_is_missing)
{
    static const struct {
        int section;
        const char *line;
    } missing[] = {
        {HOST_HVCMD, "sprout: .hvcmd: section is missing or empty\r\n"},
        {HOST_LINUX, "sprout: .linux: section is missing or empty\r\n"},
        {HOST_INITRD, "sprout: .initrd: section is missing or empty\r\n"},
    };
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        fill();
        sections[missing[i].section] = (struct host_section){NULL, 0};
        load_host(true);
        expect_host_refused(EFI_LOAD_ERROR, missing[i].line);
    }
    fill();
    put32(file, 0);
    load_host(true);
    expect_host_refused(EFI_LOAD_ERROR, "sprout: .hv: is no 32-bit little-endian ELF file\r\n");
    prepare_host();
    put32(host + SECTION_AT(HOST_HV) + VIRTUAL_SIZE, 0);
    expect_host_refused(EFI_LOAD_ERROR, "sprout: .hv: is no 32-bit little-endian ELF file\r\n");
    prepare_host();
    memcpy(host + SECTION_AT(HOST_CMDLINE), ".hv\0\0\0\0\0", 8);
    expect_host_refused(EFI_LOAD_ERROR, "sprout: .hv: there are two sections of this name\r\n");
}

TEST(hypervisor_needs_no_command_line_for_its_host)
{
    fill();
    sections[HOST_CMDLINE] = (struct host_section){NULL, 0};
    load_host(true);
    mock.hypervisor = xen_reads_and_gives_up;
    CHECK(mock_start_image() == EFI_LOAD_ERROR);
    CHECK(mock.hypervisor_runs == 1);
}

TEST(hypervisor_command_lines_are_bounded_text)
{
    static char text[HYPERVISOR_MAX_CMDLINE + 1];
    memset(text, 'a', sizeof(text));
    for (int which = HOST_CMDLINE; which <= HOST_HVCMD; which++) {
        const char *name = which == HOST_CMDLINE ? ".cmdline" : ".hvcmd";
        char line[80];
        fill();
        sections[which] = (struct host_section){text, sizeof(text)};
        load_host(true);
        snprintf(line, sizeof(line), "sprout: %s: longer than 1023 bytes\r\n", name);
        expect_host_refused(EFI_LOAD_ERROR, line);
        fill();
        sections[which] = (struct host_section){"a\nb", 3};
        load_host(true);
        snprintf(line, sizeof(line), "sprout: %s: has a control character\r\n", name);
        expect_host_refused(EFI_LOAD_ERROR, line);
        fill();
        sections[which] = (struct host_section){"a\xff", 2};
        load_host(true);
        snprintf(line, sizeof(line), "sprout: %s: not UTF-8\r\n", name);
        expect_host_refused(EFI_LOAD_ERROR, line);
    }
    fill();
    sections[HOST_CMDLINE] = sections[HOST_HVCMD] = (struct host_section){text, sizeof(text) - 1};
    sections[HOST_UCODE] = (struct host_section){MICROCODE, strlen(MICROCODE)};
    load_host(true);
    CHECK(mock_start_image() == EFI_SUCCESS && mock.hypervisor_runs == 1);
}

TEST(hypervisor_has_to_start_in_its_own_code)
{
    static const uint32_t entries[] = {0, HV_ADDRESS - 1, HV_ADDRESS + HV_SEGMENT_FILE, 0xffffffff};
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        fill();
        put32(file + HV_ENTRY_AT + 8, entries[i]);
        load_host(true);
        expect_host_refused(EFI_LOAD_ERROR,
                            "sprout: .hv: Multiboot2 entry is not in an executable segment\r\n");
    }
}

TEST(hypervisor_says_when_memory_runs_out)
{
    static const char *const lines[] = {
        "sprout: .hv: no memory below 4 GiB\r\n",
        "sprout: .linux: no memory below 4 GiB\r\n",
        "sprout: .initrd: no memory below 4 GiB\r\n",
        "sprout: .hvcmd: no memory below 4 GiB\r\n",
    };
    for (size_t i = 0; i < 4; i++) {
        fill();
        load_host(false);
        mock.low_call_that_fails = i + 1;
        expect_host_refused(EFI_OUT_OF_RESOURCES, lines[i]);
    }
    fill();
    put32(file + HV_RELOCATABLE_AT + 12, 0xffff); /* the image may not go beyond this */
    load_host(true);
    expect_host_refused(EFI_OUT_OF_RESOURCES, lines[0]);
    fill();
    put32(file + HV_RELOCATABLE_AT + 8, 0xfffff000);
    load_host(true);
    expect_host_refused(EFI_OUT_OF_RESOURCES,
                        "sprout: .hv: no memory where its header asks for it\r\n");
}

TEST(hypervisor_says_when_attributes_are_refused)
{
    for (int call = 1; call <= 3; call++) {
        prepare_host();
        mock.has_attributes = true;
        mock.attribute_call_that_fails = call;
        expect_host_refused(EFI_UNSUPPORTED,
                            "sprout: .hv: the firmware refused memory attributes\r\n");
    }
}
