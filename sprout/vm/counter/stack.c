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
static struct stack *running;
static uint32_t running_index;
static bool truncated;

static struct stack *stack_of(uint64_t slot)
{
    uint64_t key = slot >= KERNEL_HALF ? slot >> STACK_SHIFT
                   : slot >= LOW_END   ? KEY_USER
                                       : KEY_LOW;
    uint32_t index;

    if (running && running->key == key)
        return running;
    index = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 52) % STACK_SLOTS;
    for (; stacks[index]; index = (index + 1) % STACK_SLOTS) {
        if (stacks[index]->key == key) {
            running_index = index;
            return stacks[index];
        }
    }
    if (stack_total == MAX_STACKS || !(stacks[index] = calloc(1, sizeof(struct stack)))) {
        truncated = true;
        return running;
    }
    stack_total++;
    stacks[index]->key = key;
    running_index = index;
    return stacks[index];
}

bool stack_open(void)
{
    running = stack_of(0);
    return running != NULL;
}

bool stack_truncated(void)
{
    return truncated;
}

uint32_t stack_node(void)
{
    return running->depth ? running->frames[running->depth - 1].node : ROOT;
}

static void drop(struct stack *stack, uint64_t slot)
{
    while (stack->depth && stack->frames[stack->depth - 1].slot <= slot)
        stack->depth--;
}

void stack_call(uint64_t slot, const struct block *entry)
{
    uint32_t caller;

    running = stack_of(slot);
    drop(running, slot);
    caller = stack_node();
    if (running->depth == MAX_DEPTH) {
        truncated = true;
        running->depth--;
    }
    running->frames[running->depth++] = (struct frame){
        .slot = slot,
        .node = tree_child(caller, entry),
        .caller = caller,
        .thunk = entry->thunk,
    };
}

void stack_return(uint64_t slot)
{
    running = stack_of(slot);
    drop(running, slot);
}

/* The kernel and user space come and go without a call. A thunk reaches its function by a jump, or
 * by a return to an address that it has put in place of its own (a retpoline). */
bool stack_settle(const struct block *block)
{
    bool user = block->pc >= LOW_END && block->pc < KERNEL_HALF;
    struct frame *top;

    if (user != (running->key == KEY_USER))
        running = stack_of(user ? LOW_END : ENTRY_SLOT);
    top = running->depth ? &running->frames[running->depth - 1] : NULL;
    if (!top || !top->thunk || block->thunk)
        return false;
    top->node = tree_child(top->caller, block);
    top->thunk = false;
    return true;
}

struct frame_id stack_top(void)
{
    return (struct frame_id){.stack = running_index, .depth = running->depth};
}

bool stack_holds(struct frame_id frame)
{
    return stacks[frame.stack]->depth >= frame.depth;
}
