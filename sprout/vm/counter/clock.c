/* The emulator's own clock. With -icount the virtual clock is the instructions executed, times
 * their length, plus a bias: the time that was skipped while every vCPU was halted. The bias is
 * what the guest waited. QEMU offers none of this to plugins, but its program exports these names
 * for its own loadable modules.
 */
#define _GNU_SOURCE
#include "counter.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <time.h>

/* The clock is put forward to a multiple of this many ns, about a second: far more than what one
 * build differs from the next before the kernel starts. */
#define STEP (INT64_C(1) << 30)
/* Added to each number of QEMU's structure to see what it does: even in either half, because halves
 * are sequence counters, which readers wait for while they are odd. */
#define PROBE (INT64_C(1) << 34)

static int64_t (*icount_get)(void);
static int64_t (*icount_get_raw)(void);
static int64_t (*icount_to_ns)(int64_t);
static void (*icount_update)(void *cpu);
static void (*cpu_exit)(void *cpu);
static int64_t *bias;
static int64_t forwarded; /* this part of the bias is ours, and no wait */
static struct clock_step steps[MAX_STEPS];
static unsigned step_count;
static bool truncated;

static bool find(const char *name, void *function)
{
    void *found = dlsym(RTLD_DEFAULT, name);

    memcpy(function, &found, sizeof(found));
    return found != NULL;
}

/* QEMU's structure of times has another layout in each version. The bias is the one number in it
 * with which the clock moves, but not the count of instructions. No vCPU is there yet. */
static int64_t *find_bias(void)
{
    int64_t *times = dlsym(RTLD_DEFAULT, "timers_state"), *found = NULL;
    const ElfW(Sym) *symbol = NULL;
    Dl_info info;

    if (!times || !dladdr1(times, &info, (void **)&symbol, RTLD_DL_SYMENT) || !symbol)
        return NULL;
    for (size_t index = 0; index < symbol->st_size / sizeof(*times); index++) {
        int64_t clock = icount_get(), count = icount_get_raw();
        bool moves;

        times[index] += PROBE;
        moves = icount_get() == clock + PROBE && icount_get_raw() == count;
        times[index] -= PROBE;
        if (moves && found)
            return NULL;
        if (moves)
            found = &times[index];
    }
    return found;
}

const char *clock_open(void)
{
    if (!find("icount_get", &icount_get) || !find("icount_get_raw", &icount_get_raw) ||
        !find("icount_to_ns", &icount_to_ns) || !find("icount_update", &icount_update) ||
        dlsym(RTLD_DEFAULT, "current_cpu") == NULL)
        return "this QEMU does not export its instruction clock (it was built without modules)";
    bias = find_bias();
    if (!bias || !find("cpu_exit", &cpu_exit))
        return "this QEMU's instruction clock cannot be put forward";
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
    int64_t wait = icount_get() - icount_to_ns(icount_get_raw()) - forwarded;

    *current = cpu;
    return wait < 0 ? 0 : (uint64_t)wait;
}

static uint64_t read_with_block(int64_t (*get)(void))
{
    void *cpu;
    void **current = hide_cpu(&cpu);
    int64_t now;

    if (cpu != NULL)
        icount_update(cpu);
    now = get();
    *current = cpu;
    return now < 0 ? 0 : (uint64_t)now;
}

uint64_t clock_instructions(void)
{
    return read_with_block(icount_get_raw);
}

uint64_t clock_now_ns(void)
{
    return read_with_block(icount_get);
}

/* The running slice of instructions ends with this block: QEMU then runs the timers that have become
 * due, and not at an end that was set before. */
void clock_forward(void)
{
    void *cpu;
    void **current = hide_cpu(&cpu);
    int64_t ns;

    if (cpu != NULL)
        icount_update(cpu);
    ns = STEP - icount_get() % STEP;
    if (step_count < MAX_STEPS)
        steps[step_count++] = (struct clock_step){(uint64_t)(icount_get() + ns), (uint64_t)ns};
    else
        truncated = true;
    *bias += ns;
    forwarded += ns;
    *current = cpu;
    if (cpu != NULL)
        cpu_exit(cpu);
}

unsigned clock_steps(const struct clock_step **list)
{
    *list = steps;
    return step_count;
}

bool clock_truncated(void)
{
    return truncated;
}

uint64_t clock_host_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
