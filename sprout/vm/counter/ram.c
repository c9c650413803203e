/* Which block of the emulator's memory a byte of the guest's lies in. The guest's page tables say
 * where its addresses lead, so neither an address nor a pointer for one tells how far around it
 * there is memory. QEMU's own list of blocks does; plugins are not given it, but its program
 * exports these functions for its own loadable modules. No block is freed while the machine runs.
 */
#define _GNU_SOURCE
#include "counter.h"

#include <dlfcn.h>
#include <string.h>

static void *(*block_from_host)(void *host, bool round, uint64_t *offset);
static void *(*block_host)(void *block);
static uint64_t (*block_used)(void *block);

static bool find(const char *name, void *function)
{
    void *found = dlsym(RTLD_DEFAULT, name);

    memcpy(function, &found, sizeof(found));
    return found != NULL;
}

const char *ram_open(void)
{
    if (!find("qemu_ram_block_from_host", &block_from_host) ||
        !find("qemu_ram_get_host_addr", &block_host) ||
        !find("qemu_ram_get_used_length", &block_used))
        return "this QEMU does not export its memory blocks (it was built without modules)";
    return NULL;
}

bool ram_around(uint8_t *host, struct ram *ram)
{
    uint64_t offset;
    void *block = host ? block_from_host(host, false, &offset) : NULL;

    if (!block)
        return false;
    *ram = (struct ram){.host = block_host(block), .size = block_used(block)};
    return ram->host != NULL;
}
