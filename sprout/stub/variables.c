/* Boot Loader Interface (systemd.io/BOOT_LOADER_INTERFACE): volatile UTF-16 strings with their NUL.
 * Who shows them: systemd-analyze and bootctl; our own init shows the table of stamps. */
#include "variables.h"

#include "clock.h"
#include "version.h"

#define VOLATILE (EFI_VARIABLE_BOOTSERVICE_ACCESS | EFI_VARIABLE_RUNTIME_ACCESS)
#define DECIMAL_MAX 21 /* 2^64 - 1 has 20 digits, and the NUL */
#define GUID_MAX 37

static const EFI_GUID loader_guid = {
    0x4a67b082, 0x0a4c, 0x41cf, {0xb6, 0xc7, 0x44, 0x0b, 0x29, 0xbb, 0x8c, 0x4f}};
static const EFI_GUID stamps_guid = SPROUT_STAMPS_GUID;

/* Only this boot can have made a volatile variable; an older one is left over from an OS. */
static bool is_set(EFI_RUNTIME_SERVICES *runtime, const CHAR16 *name)
{
    UINTN size = 0;
    uint32_t attributes = 0;
    EFI_STATUS status = runtime->GetVariable(name, &loader_guid, &attributes, &size, NULL);
    return status == EFI_BUFFER_TOO_SMALL && attributes == VOLATILE;
}

/* A variable with other attributes cannot be overwritten (UEFI 2.10, section 8.2.3), only deleted:
 * whatever an OS left under our name must not speak for this boot. */
static void publish(EFI_RUNTIME_SERVICES *runtime, const CHAR16 *name, const EFI_GUID *vendor,
                    const void *data, size_t size)
{
    EFI_STATUS status = runtime->SetVariable(name, vendor, VOLATILE, size, data);
    if (status != EFI_INVALID_PARAMETER)
        return;
    UINTN old = 0;
    uint32_t attributes = 0;
    if (runtime->GetVariable(name, vendor, &attributes, &old, NULL) != EFI_BUFFER_TOO_SMALL)
        return;
    (void)runtime->SetVariable(name, vendor, attributes, 0, NULL);
    (void)runtime->SetVariable(name, vendor, VOLATILE, size, data);
}

static void set(EFI_RUNTIME_SERVICES *runtime, const CHAR16 *name, const CHAR16 *text, size_t size)
{
    publish(runtime, name, &loader_guid, text, size);
}

static void set_decimal(EFI_RUNTIME_SERVICES *runtime, const CHAR16 *name, uint64_t value)
{
    CHAR16 text[DECIMAL_MAX];
    size_t at = DECIMAL_MAX;
    text[--at] = 0;
    do {
        text[--at] = (CHAR16)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    set(runtime, name, text + at, (DECIMAL_MAX - at) * sizeof(CHAR16));
}

static void set_guid(EFI_RUNTIME_SERVICES *runtime, const CHAR16 *name, const uint8_t *guid)
{
    /* The first three groups are little-endian (UEFI 2.10, appendix A). */
    static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    static const char digits[] = "0123456789abcdef";
    CHAR16 text[GUID_MAX];
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            text[at++] = '-';
        text[at++] = (CHAR16)digits[guid[order[i]] >> 4];
        text[at++] = (CHAR16)digits[guid[order[i]] & 15];
    }
    text[at] = 0;
    set(runtime, name, text, sizeof(text));
}

void variables_publish_names(EFI_RUNTIME_SERVICES *runtime, const uint8_t *partition)
{
    static const CHAR16 loader_info[] = u"sprout " SPROUT_VERSION;
    static const CHAR16 stub_info[] = u"sprout-stub " SPROUT_VERSION;
    set(runtime, u"StubInfo", stub_info, sizeof(stub_info));
    if (!is_set(runtime, u"LoaderInfo"))
        set(runtime, u"LoaderInfo", loader_info, sizeof(loader_info));
    if (partition != NULL && !is_set(runtime, u"LoaderDevicePartUUID"))
        set_guid(runtime, u"LoaderDevicePartUUID", partition);
}

void variables_publish_entry(EFI_RUNTIME_SERVICES *runtime, const struct sprout_stamps *stamps)
{
    if (stamps->tsc_hz != 0 && !is_set(runtime, u"LoaderTimeInitUSec"))
        set_decimal(runtime, u"LoaderTimeInitUSec",
                    clock_microseconds(stamps->tsc_entry, stamps->tsc_hz));
}

void variables_publish_handover(EFI_RUNTIME_SERVICES *runtime, const struct sprout_stamps *stamps)
{
    if (stamps->tsc_hz != 0)
        set_decimal(runtime, u"LoaderTimeExecUSec",
                    clock_microseconds(stamps->tsc_handover, stamps->tsc_hz));
    publish(runtime, u"" SPROUT_STAMPS_VARIABLE, &stamps_guid, stamps, sizeof(*stamps));
}
