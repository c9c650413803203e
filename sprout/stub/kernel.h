/* The inner kernel image: is it one that this stub can start, and how is it laid out? */
#ifndef SPROUT_KERNEL_H
#define SPROUT_KERNEL_H
#include "pe.h"
#include "sections.h"

struct kernel {
    struct pe pe;
    struct section linux_section;
    bool file_is_memory; /* every section lies in the file where it has to lie in memory */
};

/* Reads and checks `.linux`. Afterwards every section of `kernel->pe` is known to be in ascending
 * order, whole pages apart, within SizeOfImage and, with its raw data, within the file; none is
 * both writable and executable, and the entry point is in an executable one. */
struct failure kernel_read(struct section linux_section, struct kernel *kernel);

/* Bytes of raw data that belong into memory: raw data may be padded, or cut short by zeros. */
static inline uint32_t kernel_raw_size(const struct pe_section *section)
{
    return section->raw_size < section->virtual_size ? section->raw_size : section->virtual_size;
}

#endif
