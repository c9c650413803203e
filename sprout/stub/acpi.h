/* Finds the ACPI power management timer, a clock of a known frequency. */
#ifndef SPROUT_ACPI_H
#define SPROUT_ACPI_H
#include "bytes.h"
#include "proto/system_table.h"

#define PM_TIMER_HZ 3579545u /* ACPI 6.5, section 4.8.3.3 */

struct pm_timer {
    uint16_t port; /* 0 where there is none */
    uint32_t mask; /* 24 or 32 bits */
};

/* Follows the firmware's configuration table to the FADT. Tables that are missing, out of bounds
 * or have a wrong checksum, and timers outside I/O space, give port 0. */
struct pm_timer acpi_pm_timer(const EFI_SYSTEM_TABLE *system);

#endif
