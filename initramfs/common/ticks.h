/* The counter that runs from reset through every phase of the boot. */
#ifndef TICKS_H
#define TICKS_H

#include <stdint.h>

#if defined(__x86_64__)
/* Intel SDM volume 3, section 18.17: the time stamp counter counts from reset. */
static inline uint64_t ticks(void)
{
    return __builtin_ia32_rdtsc();
}
#else
#error "name this architecture's counter here"
#endif

#endif
