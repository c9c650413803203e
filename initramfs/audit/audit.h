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

/* What a child that attempted something ended with: 0, an error, or FAULTED when a signal did. */
#define FAULTED 1000
#define UNKNOWN 1001

/* Runs an attempt in a child, as user 1000 without any capability where `plain`. */
int in_child(int (*attempt)(void), bool plain);

/* Like syscall(2), and gives 0 or the error. */
int error_of(long result);
