/* Shadow stacks. A frame is known by where in memory its return address is, so the frames of a
 * stack have ever lower addresses: whatever lies at or below a new one is gone, however it went
 * (a longjmp, a switched thread, a reset). Interrupts need no care: their frames come and go on
 * top of the function they interrupted. */
#include "counter.h"

#include <stdlib.h>

#define STACK_SLOTS 4096u
#define MAX_STACKS (STACK_SLOTS / 2)
#define MAX_DEPTH 256u
/* Linux' x86_64 thread and interrupt stacks are 16 KiB and aligned so (THREAD_SIZE). */
#define STACK_SHIFT 14
#define KEY_LOW 1u
#define KEY_USER 2u
/* The kernel between user space's last instruction and its own first call. */
#define ENTRY_SLOT KERNEL_HALF

struct frame {
    uint64_t slot;
    uint32_t node;
    uint32_t caller;
    bool thunk; /* what was called only passes the call on */
};

struct stack {
    uint64_t key; /* 0 is an empty slot */
    uint32_t depth;
    struct frame frames[MAX_DEPTH];
};

static struct stack *stacks[STACK_SLOTS];
static unsigned stack_total;
static bool truncated;

/* What a CPU runs: of which space, on which stack, and the stacks on which it left the others. */
struct cpu {
    enum space space, guest; /* and of which guest it was last */
    struct stack *running, *left[SPACES];
    uint32_t running_index, left_index[SPACES];
};

static struct cpu cpus[MAX_CPUS];
static struct cpu *cpu = &cpus[0];

/* Guests have the same addresses for other stacks; what has no stack of its own is a CPU's. */
static uint64_t key_of(uint64_t slot)
{
    uint64_t space = (uint64_t)cpu->space << 52, own = (uint64_t)(cpu - cpus) << 2;

    if (slot == ENTRY_SLOT)
        return slot >> STACK_SHIFT | space | own << 8;
    if (slot >= KERNEL_HALF)
        return slot >> STACK_SHIFT | space;
    return (slot >= LOW_END ? KEY_USER : KEY_LOW) | space | own;
}

static struct stack *stack_of(uint64_t slot)
{
    uint64_t key = key_of(slot);
    uint32_t index;

    if (cpu->running && cpu->running->key == key)
        return cpu->running;
    index = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 52) % STACK_SLOTS;
    for (; stacks[index]; index = (index + 1) % STACK_SLOTS) {
        if (stacks[index]->key == key) {
            cpu->running_index = index;
            return stacks[index];
        }
    }
    if (stack_total == MAX_STACKS || !(stacks[index] = calloc(1, sizeof(struct stack)))) {
        truncated = true;
        return cpu->running;
    }
    stack_total++;
    stacks[index]->key = key;
    cpu->running_index = index;
    return stacks[index];
}

bool stack_open(void)
{
    cpu->running = stack_of(0);
    return cpu->running != NULL;
}

void stack_on(unsigned number)
{
    struct cpu *before = cpu;

    cpu = &cpus[number < MAX_CPUS ? number : 0];
    if (number >= MAX_CPUS)
        truncated = true;
    if (!cpu->running && !(cpu->running = stack_of(0)))
        cpu = before;
}

enum space stack_guest(void)
{
    return cpu->guest;
}

static void switch_space(enum space space)
{
    cpu->left[cpu->space] = cpu->running;
    cpu->left_index[cpu->space] = cpu->running_index;
    cpu->space = space;
    if (space != SPACE_HYPERVISOR)
        cpu->guest = space;
    /* A hypervisor's stack begins anew each time that it is entered. */
    if (space != SPACE_HYPERVISOR && cpu->left[space]) {
        cpu->running = cpu->left[space];
        cpu->running_index = cpu->left_index[space];
        return;
    }
    cpu->running = stack_of(ENTRY_SLOT);
    cpu->running->depth = 0;
}

bool stack_enter(const struct block *block)
{
    enum space guest = cpu->guest;
    bool user = block->pc >= LOW_END && block->pc < KERNEL_HALF;
    enum space space = block->space;

    if (user && cpu->space == SPACE_HYPERVISOR)
        space = cpu->guest;
    if (space != SPACE_ANY && space != cpu->space)
        switch_space(space);
    return cpu->guest != guest;
}

bool stack_truncated(void)
{
    return truncated;
}

uint32_t stack_node(void)
{
    return cpu->running->depth ? cpu->running->frames[cpu->running->depth - 1].node : ROOT;
}

static void drop(struct stack *stack, uint64_t slot)
{
    while (stack->depth && stack->frames[stack->depth - 1].slot <= slot)
        stack->depth--;
}

void stack_call(uint64_t slot, const struct block *entry)
{
    uint32_t caller;

    cpu->running = stack_of(slot);
    drop(cpu->running, slot);
    caller = stack_node();
    if (cpu->running->depth == MAX_DEPTH) {
        truncated = true;
        cpu->running->depth--;
    }
    cpu->running->frames[cpu->running->depth++] = (struct frame){
        .slot = slot,
        .node = tree_child(caller, entry),
        .caller = caller,
        .thunk = entry->thunk,
    };
}

void stack_return(uint64_t slot)
{
    cpu->running = stack_of(slot);
    drop(cpu->running, slot);
}

/* The kernel and user space come and go without a call. A thunk reaches its function by a jump, or
 * by a return to an address that it has put in place of its own (a retpoline). */
bool stack_settle(const struct block *block)
{
    bool user = block->pc >= LOW_END && block->pc < KERNEL_HALF;
    struct frame *top;

    if (user != (cpu->running->key == key_of(LOW_END)))
        cpu->running = stack_of(user ? LOW_END : ENTRY_SLOT);
    top = cpu->running->depth ? &cpu->running->frames[cpu->running->depth - 1] : NULL;
    if (!top || !top->thunk || block->thunk)
        return false;
    top->node = tree_child(top->caller, block);
    top->thunk = false;
    return true;
}

struct frame_id stack_top(void)
{
    return (struct frame_id){.stack = cpu->running_index, .depth = cpu->running->depth};
}

bool stack_holds(struct frame_id frame)
{
    return stacks[frame.stack]->depth >= frame.depth;
}
