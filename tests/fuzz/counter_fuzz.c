/* libFuzzer target for the counting plugin: its configuration, the guest's memory that it looks for
 * PE images in, and any sequence of calls and returns. The first byte chooses. */
#define _GNU_SOURCE
#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>

#include "counter.h"

#define PAGE 4096u
#define RAM_BEGIN 0x100000u

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    if (!tree_open() || !stack_open())
        abort();
    return 0;
}

static void fuzz_config(const uint8_t *data, size_t size)
{
    static struct config config;
    FILE *file = size ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;

    if (!file)
        return;
    if (config_read(&config, file) == NULL) {
        if (config.phase_count == 0 || config.phase_count > MAX_PHASES ||
            config.mark_count > MAX_MARKS)
            abort();
        for (unsigned index = 1; index < config.mark_count; index++)
            if (config.marks[index].phase >= config.phase_count)
                abort();
        match_open(&config);
        for (unsigned index = 1; index < config.mark_count; index++) {
            const struct mark *mark = &config.marks[index];
            struct code_at at = {.pc = mark->address, .host = mark->bytes, .code = mark->code};

            at.pc -= at.pc % PAGE; /* so that all bytes that are compared are of its page */
            at.space = match_space(&at);
            if (mark->byte_count > MAX_CODE || match_mark(&at) >= config.mark_count)
                abort();
            (void)match_thunk(&at);
        }
    }
    fclose(file);
}

/* Where the instruction is: in the memory that follows, and how far from there its address is. */
struct place {
    uint16_t at;
    uint16_t cut; /* bytes that the block ends before its last page does */
    uint64_t shift;
} __attribute__((packed));

/* The guest's memory below RAM_BEGIN may not be read at all. */
static void fuzz_memory(const uint8_t *data, size_t size)
{
    struct place place;
    size_t loaded, at;
    uint64_t address;
    uint8_t *memory;
    struct ram ram;
    unsigned found;

    if (size <= sizeof(place) || size > 1u << 16)
        return;
    memcpy(&place, data, sizeof(place));
    data += sizeof(place), size -= sizeof(place);
    loaded = (size + PAGE - 1) & ~(size_t)(PAGE - 1);
    memory = aligned_alloc(PAGE, RAM_BEGIN + loaded);
    memset(memory + RAM_BEGIN, 0, loaded);
    memcpy(memory + RAM_BEGIN, data, size);
    ASAN_POISON_MEMORY_REGION(memory, RAM_BEGIN);
    ram = (struct ram){.host = memory, .size = RAM_BEGIN + loaded - place.cut % PAGE};
    ASAN_POISON_MEMORY_REGION(memory + ram.size, RAM_BEGIN + loaded - ram.size);
    at = RAM_BEGIN + place.at % loaded;
    address = at + place.shift;
    found = image_find(address, memory + at, &ram);
    if (found != NO_IMAGE && (place.shift || image_at(found)->base > address ||
                              address - image_at(found)->base >= image_at(found)->size))
        abort();
    ASAN_UNPOISON_MEMORY_REGION(memory, RAM_BEGIN + loaded);
    free(memory);
}

/* Nine bytes a step: what happens, and an address. */
static void fuzz_calls(const uint8_t *data, size_t size)
{
    for (; size >= 9; data += 9, size -= 9) {
        uint64_t address;
        struct block *block;

        memcpy(&address, data + 1, sizeof(address));
        block = tree_block(address, data[0] >> 4, data[0] >> 6);
        block->thunk = data[0] & 8;
        block->space = address >> 8 & 3;
        stack_on(address & (2 * MAX_CPUS - 1));
        if (data[0] & 4)
            (void)stack_enter(block);
        switch (data[0] & 3) {
        case 0:
            stack_call(address, block);
            tree_enter(data[0] & 7, stack_node());
            break;
        case 1:
            stack_return(address);
            break;
        default:
            if (stack_settle(block))
                tree_enter(data[0] & 7, stack_node());
        }
        tree_count(data[0] & 7, stack_node(), block)->times++;
        (void)stack_holds(stack_top());
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    switch (data[0] % 3) {
    case 0:
        fuzz_config(data + 1, size - 1);
        break;
    case 1:
        fuzz_memory(data + 1, size - 1);
        break;
    default:
        fuzz_calls(data + 1, size - 1);
    }
    return 0;
}
