/* EFI_SYSTEM_TABLE (UEFI 2.10, section 4.3) and its configuration tables (section 4.6). */
#ifndef SPROUT_PROTO_SYSTEM_TABLE_H
#define SPROUT_PROTO_SYSTEM_TABLE_H
#include "proto/boot_services.h"
#include "proto/runtime_services.h"
#include "proto/simple_text_output.h"
#include "proto/types.h"

#define EFI_ACPI_20_TABLE_GUID \
    {0x8868e871, 0xe4f1, 0x11d3, {0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81}}

typedef struct {
    EFI_GUID VendorGuid;
    const void *VendorTable;
} EFI_CONFIGURATION_TABLE;

typedef struct {
    EFI_TABLE_HEADER Hdr;
    CHAR16 *FirmwareVendor;
    uint32_t FirmwareRevision;
    EFI_HANDLE ConsoleInHandle;
    void *ConIn;
    EFI_HANDLE ConsoleOutHandle;
    EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL *ConOut;
    EFI_HANDLE StandardErrorHandle;
    EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL *StdErr;
    EFI_RUNTIME_SERVICES *RuntimeServices;
    EFI_BOOT_SERVICES *BootServices;
    UINTN NumberOfTableEntries;
    const EFI_CONFIGURATION_TABLE *ConfigurationTable;
} EFI_SYSTEM_TABLE;

_Static_assert(sizeof(EFI_CONFIGURATION_TABLE) == 24, "UEFI 2.10, section 4.6");
_Static_assert(offsetof(EFI_SYSTEM_TABLE, BootServices) == 96, "UEFI 2.10, section 4.3");
_Static_assert(sizeof(EFI_SYSTEM_TABLE) == 120, "UEFI 2.10, section 4.3");

#endif
