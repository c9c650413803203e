/* libFuzzer target for the counting plugin: its configuration, the guest's memory that it looks for
 * PE images in, and any sequence of calls and returns. The first byte chooses. */
#define _GNU_SOURCE
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
    }
    fclose(file);
}

/* The first two bytes say where in the memory the instruction is. */
static void fuzz_memory(const uint8_t *data, size_t size)
{
    size_t loaded = (size + PAGE - 1) & ~(size_t)(PAGE - 1), at;
    uint8_t *memory;
    unsigned found;

    if (size < 2 || size > 1u << 16)
        return;
    memory = aligned_alloc(PAGE, loaded);
    memset(memory, 0, loaded);
    memcpy(memory, data, size);
    at = (size_t)(data[0] | data[1] << 8) % loaded;
    memory[0] = 'M'; /* the two bytes have said what they had to */
    memory[1] = 'Z';
    found = image_find(RAM_BEGIN + at, memory + at);
    if (found != NO_IMAGE &&
        (image_at(found)->base > RAM_BEGIN + at ||
         RAM_BEGIN + at - image_at(found)->base >= image_at(found)->size))
        abort();
    free(memory);
}

/* Nine bytes a step: what happens, and an address. */
static void fuzz_calls(const uint8_t *data, size_t size)
{
    for (; size >= 9; data += 9, size -= 9) {
        uint64_t address;
        bool fresh;
        struct block *block;

        memcpy(&address, data + 1, sizeof(address));
        block = tree_block(address, data[0] >> 4, &fresh);
        block->thunk = data[0] & 8;
        switch (data[0] & 3) {
        case 0:
            stack_call(address, block);
            break;
        case 1:
            stack_return(address);
            break;
        default:
            stack_settle(block);
        }
        ++*tree_count(data[0] & 7, stack_node(), block);
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
