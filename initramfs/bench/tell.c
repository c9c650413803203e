/* Lines on the console; each begins with the program's name. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "bench.h"

#define SAYS "sprout-bench"

void tell(const char *what, const char *name, const uint64_t *numbers, size_t count)
{
    printf(SAYS ": %s %s", what, name);
    for (size_t at = 0; at < count; at++)
        printf(" %" PRIu64, numbers[at]);
    putchar('\n');
}

void tell_text(const char *what, const char *name, const char *text)
{
    printf(SAYS ": %s %s %s\n", what, name, text);
}

void need(int worked, const char *what)
{
    if (worked)
        return;
    tell_text("failed", what, strerror(errno));
    power_off();
}

void power_off(void)
{
    fflush(stdout);
    reboot(RB_POWER_OFF);
    for (;;)
        pause();
}
