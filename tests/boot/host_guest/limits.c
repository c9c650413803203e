/* What a zone has, as it sees it: processors, memory, and how far it comes in ten seconds. */
#include <stdio.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(void)
{
    struct sysinfo info;
    volatile unsigned long steps = 0;
    unsigned long thousands = 0;
    double begun;

    sysinfo(&info);
    printf("processors: %ld\n", sysconf(_SC_NPROCESSORS_ONLN));
    printf("memory: %lu\n", (unsigned long)(info.totalram * info.mem_unit >> 20));
    for (begun = seconds(); seconds() - begun < 10; thousands++)
        for (steps = 0; steps < 1000; steps++)
            ;
    printf("thousands: %lu\nlooked\n", thousands);
    fflush(stdout);
    for (;;) /* as much as it gets, for who looks from outside */
        steps++;
}
