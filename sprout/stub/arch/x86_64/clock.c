/* The time stamp counter's frequency: from CPUID, or measured across the stub's own work. */
#include "clock.h"

#include <cpu.h>

/* No processor that runs UEFI in 64-bit mode has a slower or a faster counter. */
#define LEAST_HZ 100000000u
#define MOST_HZ 20000000000u

/* The measured interval may be wrong by one tick of the PM timer, and by half of the time that each
 * of its two readings took. Each of these two errors has to be below 1/400 of the interval, so that
 * the frequency published is right to 0.5 %, or not published. The shortest interval is 112 us. */
#define PRECISION 400

static uint64_t plausible(uint64_t hz)
{
    return hz >= LEAST_HZ && hz <= MOST_HZ ? hz : 0;
}

/* Leaf 0x15: EBX/EAX times the crystal's ECX Hz (Intel SDM volume 2, CPUID). ECX is 0 on processors
 * that leave the crystal to a table of models; such a table would be a guess. */
static uint64_t hz_from_crystal(void)
{
    if (cpu_id(0).eax < 0x15)
        return 0;
    struct cpuid id = cpu_id(0x15);
    uint64_t product;
    if (id.eax == 0 || id.ebx == 0 || id.ecx < 1000000 || id.ecx > 1000000000 ||
        __builtin_mul_overflow((uint64_t)id.ecx, (uint64_t)id.ebx, &product))
        return 0;
    return plausible(product / id.eax);
}

/* Leaf 0x40000010: EAX in kHz. VMware defined it, KVM and bhyve give the same; other hypervisors
 * may mean something else by that number. */
static uint64_t hz_from_hypervisor(void)
{
    static const char vendors[][13] = {"KVMKVMKVM\0\0\0", "VMwareVMware", "bhyve bhyve "};
    if (!(cpu_id(1).ecx & 1u << 31))
        return 0;
    struct cpuid base = cpu_id(0x40000000);
    if (base.eax < 0x40000010 || base.eax > 0x4fffffff)
        return 0;
    uint32_t vendor[] = {base.ebx, base.ecx, base.edx};
    for (size_t i = 0; i < sizeof(vendors) / sizeof(vendors[0]); i++)
        if (same_bytes(vendor, vendors[i], sizeof(vendor)))
            return plausible((uint64_t)cpu_id(0x40000010).eax * 1000);
    return 0;
}

static struct clock_mark read_once(const struct pm_timer *timer)
{
    struct clock_mark now;
    now.before = cpu_ticks();
    now.timer = cpu_in32(timer->port) & timer->mask;
    now.after = cpu_ticks();
    return now;
}

/* The shortest of three readings: a virtual machine may have been set aside during one of them. */
static struct clock_mark mark(const struct pm_timer *timer)
{
    struct clock_mark best = read_once(timer);
    for (int more = 2; more > 0; more--) {
        struct clock_mark next = read_once(timer);
        if (next.after - next.before < best.after - best.before)
            best = next;
    }
    return best;
}

void clock_start(struct clock *clock, const EFI_SYSTEM_TABLE *system)
{
    *clock = (struct clock){0};
    clock->hz = hz_from_crystal();
    if (clock->hz == 0)
        clock->hz = hz_from_hypervisor();
    if (clock->hz != 0)
        return;
    clock->timer = acpi_pm_timer(system);
    if (clock->timer.port != 0)
        clock->start = mark(&clock->timer);
}

static uint64_t calibrate(const struct clock *clock, struct clock_mark end)
{
    struct clock_mark start = clock->start;
    if (start.after < start.before || end.before < start.after || end.after < end.before)
        return 0;
    uint64_t ticks = (end.before - start.before) / 2 + (end.after - start.after) / 2;
    uint64_t reading = (end.after - end.before) / 2 + (start.after - start.before) / 2;
    uint64_t interval = (end.timer - start.timer) & clock->timer.mask;
    /* Even the slowest counter makes so many ticks until the PM timer has gone round once; after
     * more of them, how often it has gone round is not known. */
    uint64_t round = (uint64_t)clock->timer.mask * LEAST_HZ / PM_TIMER_HZ;
    if (interval < PRECISION || reading > ticks / PRECISION || ticks >= round)
        return 0;
    return plausible(ticks * PM_TIMER_HZ / interval);
}

uint64_t clock_finish(struct clock *clock)
{
    if (clock->hz == 0 && clock->timer.port != 0)
        clock->hz = calibrate(clock, mark(&clock->timer));
    return clock->hz;
}

uint64_t clock_microseconds(uint64_t ticks, uint64_t hz)
{
    return ticks / hz * 1000000 + ticks % hz * 1000000 / hz;
}
