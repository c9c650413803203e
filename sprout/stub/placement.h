/* Where the kernel runs: in place, as a part of the loaded image, or in a copy of its own. */
#ifndef SPROUT_PLACEMENT_H
#define SPROUT_PLACEMENT_H
#include "kernel.h"
#include "pages.h"

struct placement {
    struct pages pages;    /* SizeOfImage of them */
    uint64_t bytes_copied; /* 0 in place */
};

/* Makes the kernel ready to run, with each section readable, and either writable or executable as
 * its flags say. From the first byte written until pages_give_back no page is both, where the
 * firmware has attributes. It is a failure when memory or its attributes cannot be had;
 * pages_give_back has to be called all the same. */
struct failure placement_make(struct placement *placement, EFI_BOOT_SERVICES *boot,
                              const struct kernel *kernel);

#endif
