/* What a hardened kernel refuses: acts that are attempted in a booted zone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* An act's name, and the attempt: 0 when it was carried out, else the error that refused it. */
struct act {
    const char *name;
    int (*attempt)(void);
};

extern const struct act file_acts[], call_acts[], memory_acts[];

/* What else an attempt comes to: the signal that ended it is how it is refused, or it was none. */
#define FAULTED 1000
#define UNKNOWN 1001

/* Runs an attempt in a child: as user 1000 without any capability where `plain`. What is refused by a
 * signal and no error is refused by that `fault`; any other signal, and taking too long, says nothing. */
#define NO_FAULT 0
int in_child(int (*attempt)(void), bool plain, int fault);

/* Like syscall(2), and gives 0 or the error. */
int error_of(long result);
