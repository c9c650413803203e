/* The one line on the console when something is wrong. */
#ifndef SPROUT_REPORT_H
#define SPROUT_REPORT_H
#include "bytes.h"
#include "proto/system_table.h"

/* Prints "sprout: <what>: <why>"; nothing for a success or without a console. */
void report_failure(EFI_SYSTEM_TABLE *system, struct failure failure);

/* Says that the kernel came back with an error; nothing when it ended well. */
void report_kernel_status(EFI_SYSTEM_TABLE *system, EFI_STATUS status);

/* The same of the hypervisor. */
void report_hypervisor_status(EFI_SYSTEM_TABLE *system, EFI_STATUS status);

#endif
