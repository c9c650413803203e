/* Is this image too old for this machine? The owner's SBAT level against the image's own. */
#ifndef SPROUT_LEVEL_H
#define SPROUT_LEVEL_H
#include "pe.h"
#include "proto/runtime_services.h"

/* Compares the machine's authenticated variable SbatLevel with the image's section `.sbatlvl`. It
 * is a failure when a component of the image is below the level, and when the variable is there but
 * cannot be read, is malformed or is not authenticated, or the image has no sound table. Where the
 * variable is absent, nothing is asked of the image. */
struct failure level_check(EFI_RUNTIME_SERVICES *runtime, const struct pe *self);

/* The same for two tables (see sprout/format/levels.py), each of any bytes. */
struct failure level_compare(struct span machine, struct span image);

#endif
