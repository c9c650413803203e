/* The emulator's own clock. With -icount the virtual clock is the instructions executed, times
 * their length, plus a bias: the time that was skipped while every vCPU was halted. The bias is
 * what the guest waited. QEMU offers none of this to plugins, but its program exports these
 * functions for its own loadable modules.
 */
#define _GNU_SOURCE
#include "counter.h"

#include <dlfcn.h>
#include <string.h>
#include <time.h>

static int64_t (*icount_get)(void);
static int64_t (*icount_get_raw)(void);
static int64_t (*icount_to_ns)(int64_t);
static void (*icount_update)(void *cpu);

static bool find(const char *name, void *function)
{
    void *found = dlsym(RTLD_DEFAULT, name);

    memcpy(function, &found, sizeof(found));
    return found != NULL;
}

const char *clock_open(void)
{
    if (!find("icount_get", &icount_get) || !find("icount_get_raw", &icount_get_raw) ||
        !find("icount_to_ns", &icount_to_ns) || !find("icount_update", &icount_update) ||
        dlsym(RTLD_DEFAULT, "current_cpu") == NULL)
        return "this QEMU does not export its instruction clock (it was built without modules)";
    return NULL;
}

/* Inside a block QEMU refuses to read its clock, since the block's instructions are not in it yet.
 * The bias does not depend on them: without a current vCPU both readings leave them out. */
static void **hide_cpu(void **cpu)
{
    void **current = dlsym(RTLD_DEFAULT, "current_cpu");

    *cpu = *current;
    *current = NULL;
    return current;
}

uint64_t clock_wait_ns(void)
{
    void *cpu;
    void **current = hide_cpu(&cpu);
    int64_t wait = icount_get() - icount_to_ns(icount_get_raw());

    *current = cpu;
    return wait < 0 ? 0 : (uint64_t)wait;
}

uint64_t clock_instructions(void)
{
    void *cpu;
    void **current = hide_cpu(&cpu);
    int64_t count;

    if (cpu != NULL)
        icount_update(cpu);
    count = icount_get_raw();
    *current = cpu;
    return count < 0 ? 0 : (uint64_t)count;
}

uint64_t clock_host_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
