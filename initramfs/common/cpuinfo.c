/* How fast the counter runs, where the stub could not tell. */
#include <string.h>

#include "init.h"

/* Finds `text` in the first processor's part of /proc/cpuinfo. */
static const char *find(const char *at, const char *end, const char *text)
{
    size_t length = strlen(text);

    for (; (size_t)(end - at) >= length; at++)
        if (memcmp(at, text, length) == 0)
            return at;
    return NULL;
}

/* "cpu MHz : 2194.844" as ticks per second; 0 where it cannot be told.
 *
 * With the flag aperfmperf that field is the speed of this moment and not the counter's (kernel
 * arch/x86/kernel/cpu/aperfmperf.c): no figure is better than a wrong one.
 */
uint64_t cpuinfo_hz(const char *text, size_t size)
{
    const char *end = find(text, text + size, "\n\n");
    const char *at;
    uint64_t mhz, hz, scale = 100000;

    if (!end)
        end = text + size;
    at = find(text, end, "cpu MHz");
    if (!at || find(text, end, " aperfmperf"))
        return 0;
    at += strlen("cpu MHz");
    while (at < end && (*at == ' ' || *at == '\t' || *at == ':'))
        at++;
    at = skip_decimal(at, end, &mhz);
    if (!at || __builtin_mul_overflow(mhz, (uint64_t)1000000, &hz))
        return 0;
    if (at < end && *at == '.')
        for (at++; at < end && *at >= '0' && *at <= '9' && scale; at++, scale /= 10)
            if (__builtin_add_overflow(hz, (uint64_t)(*at - '0') * scale, &hz))
                return 0;
    return hz;
}

uint64_t counter_hz(void)
{
    char text[8192];
    ssize_t got = read_file("/proc/cpuinfo", text, sizeof(text));

    return got < 0 ? 0 : cpuinfo_hz(text, (size_t)got);
}
