/* The image's own sections: the only way to the kernel, the initrd and the command line.
 *
 * A layout that keeps them elsewhere replaces this file and nothing else. */
#ifndef SPROUT_SECTIONS_H
#define SPROUT_SECTIONS_H
#include "pe.h"

struct section {
    struct span bytes; /* VirtualSize bytes in memory; size 0 where there is no such section */
    size_t file_size;  /* how many of them came from the file; the rest the firmware zeroed */
};

/* Reads the section table of the image that was loaded at `loaded`. */
struct failure sections_open(struct span loaded, struct pe *self);

/* Finds the section called `name`. It is a failure when there are two, when one is out of bounds,
 * or when a `required` one is missing or empty. */
struct failure sections_find(const struct pe *self, const char *name, bool required,
                             struct section *found);

#endif
