/* How many ticks a second the time stamp counter makes. Each architecture has its own clock.c. */
#ifndef SPROUT_CLOCK_H
#define SPROUT_CLOCK_H
#include "acpi.h"

/* One reading of the PM timer, with the counter read before and after it. */
struct clock_mark {
    uint64_t before;
    uint64_t after;
    uint32_t timer;
};

struct clock {
    uint64_t hz; /* 0 while not known */
    struct pm_timer timer;
    struct clock_mark start;
};

/* Asks the processor; where it does not say, starts a calibration. Never waits. */
void clock_start(struct clock *clock, const EFI_SYSTEM_TABLE *system);

/* Gives ticks per second, or 0 where no sound figure is to be had. */
uint64_t clock_finish(struct clock *clock);

/* Gives microseconds, rounded down; `hz` is not 0. */
uint64_t clock_microseconds(uint64_t ticks, uint64_t hz);

#endif
