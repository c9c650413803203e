/* See boots.h. */
#include "boots.h"

#include "check.h"
#include "images.h"
#include "mock.h"

const char boots_cmdline[] = "console=ttyS0 quiet";
const char boots_initrd[] = "070701 an initrd";
uint8_t *image;
static uint8_t file[KERNEL_FILE_SIZE];
static size_t image_size;
static CHAR16 hostile_options[] = u"init=/evil initrd=\\evil lockdown=none";

void prepare_with(uint32_t linux_size, const char *text, const char *archive)
{
    mock_reset();
    kernel_image(file);
    image = boot_image(file, sizeof(file), linux_size, text, archive, &image_size);
    mock.image.ImageBase = image;
    mock.image.ImageSize = image_size;
    mock.image.LoadOptions = hostile_options;
    mock.image.LoadOptionsSize = sizeof(hostile_options);
}

void prepare(void)
{
    prepare_with(KERNEL_IMAGE_SIZE, boots_cmdline, boots_initrd);
}

void finish(void)
{
    CHECK(mock.allocation == NULL);
    CHECK(mock.initrd == NULL);
    CHECK(mock.image.ImageBase == image && mock.image.ImageSize == image_size);
    CHECK(mock.image.LoadOptions == hostile_options);
    CHECK(mock.image.LoadOptionsSize == sizeof(hostile_options));
    free(image);
}

void check_crc(void)
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

EFI_STATUS linux_starts(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
    uint8_t buffer[64];
    const uint8_t *base = mock.image.ImageBase;
    const size_t size = strlen(boots_cmdline) + 1;
    (void)self;
    CHECK(system == &mock.system);
    CHECK(entry == base + KERNEL_ENTRY);
    CHECK(mock.image.ImageSize == KERNEL_IMAGE_SIZE);
    check_memory(base);
    const CHAR16 *options = mock.image.LoadOptions;
    CHECK(mock.image.LoadOptionsSize == size * 2);
    for (size_t i = 0; i < size; i++)
        CHECK(options[i] == (CHAR16)boots_cmdline[i]);
    CHECK(mock_load_initrd(buffer, sizeof(buffer)) == (long)strlen(boots_initrd));
    CHECK(memcmp(buffer, boots_initrd, strlen(boots_initrd)) == 0);
    check_crc();
    return EFI_SUCCESS;
}

EFI_STATUS linux_without_extras(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
    (void)entry, (void)self, (void)system;
    CHECK(mock.image.LoadOptionsSize == 2 && *(const CHAR16 *)mock.image.LoadOptions == 0);
    CHECK(mock_load_initrd(NULL, 0) == -1);
    return EFI_SUCCESS;
}

EFI_STATUS linux_returns(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
    (void)entry, (void)self, (void)system;
    return EFI_UNSUPPORTED;
}

EFI_STATUS linux_exits(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system)
{
    (void)entry;
    check_crc();
    return system->BootServices->Exit(self, EFI_UNSUPPORTED, 0, NULL);
}

struct sprout_stamps stamps(void)
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

void expect_refused(EFI_STATUS status, const char *line)
{
    CHECK(mock_start_image() == status);
    CHECK_TEXT(mock.console, line);
    CHECK(mock.kernel_runs == 0);
    finish();
}
