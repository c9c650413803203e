/* Stands in for the stub's cpu.h on the host: the same functions, answered by the mock firmware. */
#ifndef SPROUT_CPU_H
#define SPROUT_CPU_H
#include <string.h>

#include "proto/system_table.h"

#define CPU_PE_MACHINE 0x8664

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

uint64_t cpu_ticks(void);
struct cpuid cpu_id(uint32_t leaf);
uint32_t cpu_in32(uint16_t port);
const uint8_t *cpu_physical(uint64_t address, uint64_t size);
EFI_STATUS cpu_enter(const uint8_t *entry, EFI_HANDLE image, EFI_SYSTEM_TABLE *system);
_Noreturn void cpu_enter_multiboot2(const uint8_t *entry, uint32_t magic,
                                    const uint8_t *information);

/* Looks at the attributes of what is about to be written. */
void mock_writes(const void *to, size_t size);

static inline void cpu_copy(void *to, const void *from, size_t size)
{
    mock_writes(to, size);
    if (size != 0)
        memcpy(to, from, size);
}

static inline void cpu_fill(void *to, uint8_t byte, size_t size)
{
    mock_writes(to, size);
    if (size != 0)
        memset(to, byte, size);
}

#endif
