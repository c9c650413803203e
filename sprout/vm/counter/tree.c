/* Calling contexts as a tree, and the instructions spent by each block in each context and phase.
 * Three open-addressed tables of a fixed size: when one is full the result says so, and what does
 * not fit is counted in the context above it. */
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
    uint64_t calls;
};

struct count {
    uint64_t key; /* 0 is an empty slot */
    uint64_t instructions;
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

struct block *tree_block(uint64_t pc, unsigned image, bool *fresh)
{
    static struct block spare;
    uint32_t slot = mix(pc ^ (uint64_t)image << 48) % BLOCK_SLOTS;

    *fresh = false;
    for (; block_slots[slot]; slot = (slot + 1) % BLOCK_SLOTS) {
        struct block *known = &blocks[block_slots[slot] - 1];

        if (known->pc == pc && known->image == image)
            return known;
    }
    if (block_total == FULL(BLOCK_SLOTS)) {
        truncated = true;
        return &spare;
    }
    block_slots[slot] = block_total + 1;
    blocks[block_total] = (struct block){.pc = pc, .image = image, .index = block_total};
    *fresh = true;
    return &blocks[block_total++];
}

uint32_t tree_child(uint32_t parent, const struct block *entry)
{
    uint32_t slot = mix((uint64_t)parent << 32 | entry->index) % NODE_SLOTS;

    for (; node_slots[slot]; slot = (slot + 1) % NODE_SLOTS) {
        struct node *known = &nodes[node_slots[slot] - 1];

        if (known->parent == parent && known->entry == entry->index + 1) {
            known->calls++;
            return node_slots[slot] - 1;
        }
    }
    if (node_total == FULL(NODE_SLOTS)) {
        truncated = true;
        return parent;
    }
    node_slots[slot] = node_total + 1;
    nodes[node_total] = (struct node){.parent = parent, .entry = entry->index + 1, .calls = 1};
    return node_total++;
}

uint64_t *tree_count(unsigned phase, uint32_t node, struct block *block)
{
    static uint64_t spare;
    uint64_t key = (uint64_t)(phase + 1) << 56 | (uint64_t)node << 28 | block->index;
    uint32_t slot;

    if (block->context == key)
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
    block->context = key;
    block->counted = &counts[slot].instructions;
    return block->counted;
}

void tree_write(FILE *out)
{
    for (uint32_t index = 1; index < node_total; index++) {
        const struct block *entry = &blocks[nodes[index].entry - 1];

        fprintf(out, "node %" PRIx32 " %" PRIx32 " %" PRIx64 " %" PRIx32 " %" PRIx64 "\n", index,
                nodes[index].parent, entry->pc, entry->image, nodes[index].calls);
    }
    for (uint32_t slot = 0; slot < COUNT_SLOTS; slot++) {
        uint64_t key = counts[slot].key;
        const struct block *block;

        if (!key || !counts[slot].instructions)
            continue;
        block = &blocks[key & 0xfffffff];
        fprintf(out, "count %x %" PRIx64 " %" PRIx64 " %" PRIx32 " %" PRIx64 "\n",
                (unsigned)(key >> 56) - 1, key >> 28 & 0xfffffff, block->pc, block->image,
                counts[slot].instructions);
    }
}
