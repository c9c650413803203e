/* Calling contexts as a tree, how often each was called in each phase, and for each block in each
 * context and phase the instructions and how often it began. Three open-addressed tables of a fixed
 * size: when one is full the result says so and is of no use, since what does not fit is counted
 * wrongly or not at all. */
#include "counter.h"

#include <inttypes.h>
#include <stdlib.h>

#define BLOCK_SLOTS (1u << 20)
#define NODE_SLOTS (1u << 20)
#define COUNT_SLOTS (1u << 22)
/* Tables are left a quarter empty, so that a search ends soon. */
#define FULL(slots) ((slots) / 4 * 3)

struct node {
    uint32_t parent;
    uint32_t entry; /* block index + 1; 0 is an empty slot */
    uint64_t calls[MAX_PHASES];
};

static struct block *blocks;   /* in the order in which they were met */
static uint32_t *block_slots;  /* block index + 1 */
static uint32_t block_total;
static struct node *nodes;
static uint32_t *node_slots; /* node index + 1 */
static uint32_t node_total = 1;
static struct count *counts;
static uint32_t count_total;
static bool truncated;

bool tree_open(void)
{
    blocks = calloc(FULL(BLOCK_SLOTS), sizeof(*blocks));
    block_slots = calloc(BLOCK_SLOTS, sizeof(*block_slots));
    nodes = calloc(FULL(NODE_SLOTS), sizeof(*nodes));
    node_slots = calloc(NODE_SLOTS, sizeof(*node_slots));
    counts = calloc(COUNT_SLOTS, sizeof(*counts));
    return blocks && block_slots && nodes && node_slots && counts;
}

bool tree_truncated(void)
{
    return truncated;
}

/* MurmurHash3's finalizer: every input bit reaches every output bit. */
static uint32_t mix(uint64_t key)
{
    key ^= key >> 33;
    key *= UINT64_C(0xff51afd7ed558ccd);
    key ^= key >> 33;
    key *= UINT64_C(0xc4ceb9fe1a85ec53);
    key ^= key >> 33;
    return (uint32_t)key;
}

/* The same address is another block where other code with another mark has come to lie there. */
struct block *tree_block(uint64_t pc, unsigned image, unsigned mark)
{
    static struct block spare;
    uint32_t slot = mix(pc ^ (uint64_t)image << 48 ^ (uint64_t)mark << 40) % BLOCK_SLOTS;

    for (; block_slots[slot]; slot = (slot + 1) % BLOCK_SLOTS) {
        struct block *known = &blocks[block_slots[slot] - 1];

        if (known->pc == pc && known->image == image && known->mark == mark)
            return known;
    }
    if (block_total == FULL(BLOCK_SLOTS)) {
        truncated = true;
        return &spare;
    }
    block_slots[slot] = block_total + 1;
    blocks[block_total] =
        (struct block){.pc = pc, .image = image, .index = block_total, .mark = mark};
    return &blocks[block_total++];
}

uint32_t tree_child(uint32_t parent, const struct block *entry)
{
    uint32_t slot = mix((uint64_t)parent << 32 | entry->index) % NODE_SLOTS;

    for (; node_slots[slot]; slot = (slot + 1) % NODE_SLOTS) {
        const struct node *known = &nodes[node_slots[slot] - 1];

        if (known->parent == parent && known->entry == entry->index + 1)
            return node_slots[slot] - 1;
    }
    if (node_total == FULL(NODE_SLOTS)) {
        truncated = true;
        return parent;
    }
    node_slots[slot] = node_total + 1;
    nodes[node_total] = (struct node){.parent = parent, .entry = entry->index + 1};
    return node_total++;
}

void tree_enter(unsigned phase, uint32_t node)
{
    nodes[node].calls[phase]++;
}

struct count *tree_count(unsigned phase, uint32_t node, struct block *block)
{
    static struct count spare;
    uint64_t key = (uint64_t)(phase + 1) << 56 | (uint64_t)node << 28 | block->index;
    uint32_t slot;

    if (block->counted && block->counted->key == key)
        return block->counted;
    for (slot = mix(key) % COUNT_SLOTS; counts[slot].key != key; slot = (slot + 1) % COUNT_SLOTS) {
        if (counts[slot].key)
            continue;
        if (count_total == FULL(COUNT_SLOTS)) {
            truncated = true;
            return &spare;
        }
        count_total++;
        counts[slot].key = key;
        break;
    }
    block->counted = &counts[slot];
    return block->counted;
}

static void write_node(FILE *out, uint32_t index)
{
    const struct node *node = &nodes[index];
    const struct block *entry = &blocks[node->entry - 1];

    fprintf(out, "node %" PRIx32 " %" PRIx32 " %" PRIx64 " %" PRIx32 "\n", index, node->parent,
            entry->pc, entry->image);
    for (unsigned phase = 0; phase < MAX_PHASES; phase++)
        if (node->calls[phase])
            fprintf(out, "calls %x %" PRIx32 " %" PRIx64 "\n", phase, index, node->calls[phase]);
}

void tree_write(FILE *out)
{
    for (uint32_t index = 1; index < node_total; index++)
        write_node(out, index);
    for (uint32_t slot = 0; slot < COUNT_SLOTS; slot++) {
        const struct count *count = &counts[slot];
        uint64_t key = count->key;
        const struct block *block;

        if (!key || !count->instructions)
            continue;
        block = &blocks[key & 0xfffffff];
        fprintf(out, "count %x %" PRIx64 " %" PRIx64 " %" PRIx32 " %" PRIx64 " %" PRIx64 "\n",
                (unsigned)(key >> 56) - 1, key >> 28 & 0xfffffff, block->pc, block->image,
                count->instructions, count->times);
    }
}
