/* Phases: what each took, the spans that interrupt them, and where counting ends. */
#include "counter.h"

#include <inttypes.h>

/* Spans that lie in each other: an interrupt in a measured loop. */
#define MAX_SPANS 4
/* QEMU charges a CPU that is initialised with the rest of its slice (cpu_common_reset clears what is
 * left), so that its count runs ahead of what was executed, all at once. */
#define LEAST_JUMP 1000

struct amount {
    uint64_t instructions, wait_ns, host_ns;
};

/* What a CPU has begun and not ended. */
struct spans {
    struct span {
        unsigned phase;
        enum space space; /* while another guest runs it stands still */
        struct frame_id frame;
    } spans[MAX_SPANS];
    unsigned depth;
};

static const struct config *config;
static struct amount spent[MAX_PHASES], begun;
static unsigned phase;      /* what is counted now */
static unsigned boot_phase; /* the same without spans */
static struct spans cpus[MAX_CPUS], *cpu = &cpus[0];
static bool truncated;
static int64_t ahead, never_executed;
static uint64_t total, emulated, ended_ns;

void phases_open(const struct config *watched)
{
    config = watched;
    begun.host_ns = clock_host_ns();
}

unsigned phases_now(void)
{
    return phase;
}

bool phases_truncated(void)
{
    return truncated;
}

static void enter_phase(unsigned next)
{
    struct amount now = {executed_now(), clock_wait_ns(), clock_host_ns()};

    spent[phase].instructions += now.instructions - begun.instructions;
    spent[phase].wait_ns += now.wait_ns - begun.wait_ns;
    spent[phase].host_ns += now.host_ns - begun.host_ns;
    begun = now;
    phase = next;
}

void phases_resume(void)
{
    enum space guest = stack_guest();
    unsigned next = boot_phase;

    for (unsigned depth = 0; depth < cpu->depth; depth++)
        if (cpu->spans[depth].space <= SPACE_HYPERVISOR || cpu->spans[depth].space == guest)
            next = cpu->spans[depth].phase;
    if (next != phase)
        enter_phase(next);
}

void phases_on(unsigned number)
{
    int64_t now = (int64_t)clock_instructions() - (int64_t)executed_now();

    if (now - ahead > LEAST_JUMP)
        never_executed += now - ahead;
    ahead = now;
    cpu = &cpus[number];
    phases_resume();
}

void phases_end_spans(void)
{
    for (unsigned depth = 0; depth < cpu->depth; depth++) {
        if (stack_holds(cpu->spans[depth].frame))
            continue;
        cpu->depth = depth;
        phases_resume();
    }
}

static void begin_span(unsigned next, enum space space)
{
    if (next == phase)
        return; /* it ends before the phase does */
    if (cpu->depth == MAX_SPANS) {
        truncated = true;
        return;
    }
    cpu->spans[cpu->depth++] = (struct span){.phase = next, .space = space, .frame = stack_top()};
    enter_phase(next);
}

/* A mark of an earlier phase is met again when a loader is started a second time: time goes on. */
static void advance(unsigned next)
{
    for (unsigned number = 0; number < MAX_CPUS; number++)
        cpus[number].depth = 0;
    if (next <= boot_phase) {
        phases_resume();
        return;
    }
    boot_phase = next;
    enter_phase(next);
    if (config->forward[next])
        clock_forward();
}

bool phases_pass(const struct mark *mark)
{
    if (mark->ordered && mark->after != boot_phase)
        return false;
    switch (mark->kind) {
    case MARK_SPAN:
        begin_span(mark->phase, config->hypervisor ? mark->space : SPACE_ANY);
        return false;
    case MARK_FORWARD:
        clock_forward();
        return false;
    case MARK_END:
        enter_phase(phase);
        total = begun.instructions;
        emulated = clock_instructions() - (uint64_t)never_executed;
        ended_ns = clock_now_ns();
        return true;
    default:
        advance(mark->phase);
        return false;
    }
}

void phases_write(FILE *out)
{
    const struct clock_step *steps;
    unsigned step_count = clock_steps(&steps);

    fprintf(out, "total %" PRIx64 " %" PRIx64 "\n", total, emulated);
    fprintf(out, "ended %" PRIx64 "\n", ended_ns);
    for (unsigned index = 0; index < step_count; index++)
        fprintf(out, "forward %" PRIx64 " %" PRIx64 "\n", steps[index].at, steps[index].by);
    for (unsigned index = 0; index < config->phase_count; index++)
        fprintf(out, "phase %s %" PRIx64 " %" PRIx64 " %" PRIx64 "\n", config->phases[index],
                spent[index].instructions, spent[index].wait_ns, spent[index].host_ns);
}
