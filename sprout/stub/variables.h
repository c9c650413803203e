/* What the stub measured and who it is, as volatile EFI variables for the operating system. */
#ifndef SPROUT_VARIABLES_H
#define SPROUT_VARIABLES_H
#include "bytes.h"
#include "proto/runtime_services.h"
#include "sprout_stamps.h"

/* Nothing here gives a status: a report that the firmware has no room for is no reason not to boot.
 *
 * LoaderInfo and LoaderDevicePartUUID are left alone where an earlier loader has set them.
 * `partition` is a GUID as it lies on the disk, or NULL. */
void variables_publish_names(EFI_RUNTIME_SERVICES *runtime, const uint8_t *partition);

/* LoaderTimeInitUSec, unless an earlier loader has set it; nothing where `stamps->tsc_hz` is 0. */
void variables_publish_entry(EFI_RUNTIME_SERVICES *runtime, const struct sprout_stamps *stamps);

/* LoaderTimeExecUSec where `stamps->tsc_hz` is not 0, and the table of stamps itself. */
void variables_publish_handover(EFI_RUNTIME_SERVICES *runtime, const struct sprout_stamps *stamps);

#endif
