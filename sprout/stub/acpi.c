/* RSDP, XSDT and FADT (ACPI 6.5, sections 5.2.5.3, 5.2.8 and 5.2.9). */
#include "acpi.h"

#include <cpu.h>

#define RSDP_SIZE 36
#define TABLE_HEADER_SIZE 36
#define MAX_TABLE_SIZE 65536 /* larger than any XSDT or FADT; bounds the checksum's work */
#define FADT_PM_TMR_BLK 76
#define FADT_PM_TMR_LEN 91
#define FADT_FLAGS 112
#define FADT_X_PM_TMR_BLK 208
#define FADT_FLAG_TMR_VAL_EXT (1u << 8)
#define FADT_FLAG_HW_REDUCED_ACPI (1u << 20)
#define GAS_SIZE 12
#define GAS_SYSTEM_IO 1

static const EFI_GUID acpi_20_guid = EFI_ACPI_20_TABLE_GUID;

static bool adds_up(struct span table)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < table.size; i++)
        sum = (uint8_t)(sum + table.data[i]);
    return sum == 0;
}

static const uint8_t *find_rsdp(const EFI_SYSTEM_TABLE *system)
{
    if (system->ConfigurationTable == NULL)
        return NULL;
    for (size_t i = 0; i < system->NumberOfTableEntries; i++) {
        const EFI_CONFIGURATION_TABLE *entry = &system->ConfigurationTable[i];
        if (!same_bytes(&entry->VendorGuid, &acpi_20_guid, sizeof(acpi_20_guid)))
            continue;
        const uint8_t *rsdp = cpu_physical((uintptr_t)entry->VendorTable, RSDP_SIZE);
        if (rsdp == NULL || !same_bytes(rsdp, "RSD PTR ", 8) || rsdp[15] < 2 ||
            !adds_up((struct span){rsdp, RSDP_SIZE}))
            return NULL;
        return rsdp;
    }
    return NULL;
}

/* Gives the table at `address` when it is called `name`; size 0 when it is not, or is broken. Only
 * a table of that name is read to its end. */
static struct span open_table(uint64_t address, const char *name)
{
    const struct span none = {NULL, 0};
    const uint8_t *header = cpu_physical(address, TABLE_HEADER_SIZE);
    if (header == NULL || !same_bytes(header, name, 4))
        return none;
    uint32_t size = read32(header + 4);
    if (size < TABLE_HEADER_SIZE || size > MAX_TABLE_SIZE)
        return none;
    struct span table = {cpu_physical(address, size), size};
    return table.data != NULL && adds_up(table) ? table : none;
}

static struct pm_timer read_fadt(struct span fadt)
{
    const struct pm_timer none = {0, 0};
    if (!span_holds(fadt, FADT_FLAGS, 4))
        return none;
    uint32_t flags = read32(fadt.data + FADT_FLAGS);
    uint64_t address = read32(fadt.data + FADT_PM_TMR_BLK);
    if ((flags & FADT_FLAG_HW_REDUCED_ACPI) || fadt.data[FADT_PM_TMR_LEN] != 4)
        return none;
    if (span_holds(fadt, FADT_X_PM_TMR_BLK, GAS_SIZE)) {
        const uint8_t *extended = fadt.data + FADT_X_PM_TMR_BLK;
        uint64_t extended_address = read64(extended + 4);
        if (extended_address != 0 && extended[0] != GAS_SYSTEM_IO)
            return none;
        if (extended_address != 0)
            address = extended_address;
    }
    if (address == 0 || address > 0xffff - 3)
        return none;
    uint32_t mask = flags & FADT_FLAG_TMR_VAL_EXT ? 0xffffffff : 0xffffff;
    return (struct pm_timer){(uint16_t)address, mask};
}

struct pm_timer acpi_pm_timer(const EFI_SYSTEM_TABLE *system)
{
    const uint8_t *rsdp = find_rsdp(system);
    if (rsdp != NULL) {
        struct span xsdt = open_table(read64(rsdp + 24), "XSDT");
        for (size_t at = TABLE_HEADER_SIZE; span_holds(xsdt, at, 8); at += 8) {
            struct span fadt = open_table(read64(xsdt.data + at), "FACP");
            if (fadt.size != 0)
                return read_fadt(fadt);
        }
    }
    return (struct pm_timer){0, 0};
}
