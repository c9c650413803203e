/* What a kernel does for programs, measured by an init of its own in a machine whose clock is the
 * instructions executed. Each part is the .c file named above its functions. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Short ones, and many, so that the clock's interrupts are in few of them. */
#define BATCHES 31

/* `run` does the thing so many times; `prepare` and `finish` go before and after all batches, and are
 * not measured. */
struct bench {
    const char *name;
    unsigned int count;
    void (*prepare)(void);
    void (*run)(unsigned int count);
    void (*finish)(void);
};

/* calls.c, files.c, pairs.c */
extern const struct bench call_benches[], file_benches[], pair_benches[];

/* Ends at once: what a measured execve(2) starts. */
#define ENDS_AT_ONCE "end"

/* tell.c */
void tell(const char *what, const char *name, const uint64_t *numbers, size_t count);
void tell_text(const char *what, const char *name, const char *text);
/* Ends everything where `worked` is not true: what cannot be done cannot be measured. */
void need(int worked, const char *what);
_Noreturn void power_off(void);
