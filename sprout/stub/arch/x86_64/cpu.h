/* Everything that only this processor can do: the one file with instructions in it.
 *
 * Included in angle brackets, so that the include path alone decides: it names this directory, or
 * the host tests' mock. */
#ifndef SPROUT_CPU_H
#define SPROUT_CPU_H
#include "proto/system_table.h"

#define CPU_PE_MACHINE 0x8664 /* PE/COFF specification, "Machine Types" */

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

/* Ticks of the time stamp counter since reset (Intel SDM volume 3, section 18.17). The fence keeps
 * the reading behind the loads before it. */
static inline uint64_t cpu_ticks(void)
{
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
    return (uint64_t)high << 32 | low;
}

static inline struct cpuid cpu_id(uint32_t leaf)
{
    struct cpuid id;
    __asm__ volatile("cpuid"
                     : "=a"(id.eax), "=b"(id.ebx), "=c"(id.ecx), "=d"(id.edx)
                     : "0"(leaf), "2"(0));
    return id;
}

static inline uint32_t cpu_in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* Eight bytes an iteration: the fastest string move on processors with fast strings, and an eighth
 * of an instruction a byte where instructions are counted. */
static inline void cpu_copy(void *to, const void *from, size_t size)
{
    size_t words = size / 8, rest = size % 8;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(rest) : : "memory");
}

static inline void cpu_fill(void *to, uint8_t byte, size_t size)
{
    size_t words = size / 8, rest = size % 8;
    uint64_t value = byte * 0x0101010101010101u;
    __asm__ volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(value) : "memory");
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(rest) : "a"(value) : "memory");
}

/* Gives `size` bytes of physical memory. Boot services map memory one to one (UEFI 2.10, section
 * 2.3.4); the addresses asked for come from the firmware itself, which is trusted this far. */
static inline const uint8_t *cpu_physical(uint64_t address, uint64_t size)
{
    uint64_t end;
    if (address == 0 || __builtin_add_overflow(address, size, &end))
        return NULL;
    return (const uint8_t *)(uintptr_t)address;
}

/* Calls an image's entry point (UEFI 2.10, section 4.1). Caches are coherent here, so code that was
 * just copied may run at once. */
static inline EFI_STATUS cpu_enter(const uint8_t *entry, EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    typedef EFI_STATUS(EFIAPI * entry_point)(EFI_HANDLE, EFI_SYSTEM_TABLE *);
    return ((entry_point)(uintptr_t)entry)(image, system);
}

/* Enters a hypervisor by Multiboot2 with boot services on (Multiboot2 Specification 2.0, section
 * 3.5, "EFI amd64 machine state with boot services enabled"): it runs on this stack, and calls Exit when
 * it gives up. */
static inline _Noreturn void cpu_enter_multiboot2(const uint8_t *entry, uint32_t magic,
                                                  const uint8_t *information)
{
    __asm__ volatile("cld; jmp *%2" : : "a"(magic), "b"(information), "r"(entry) : "memory");
    __builtin_unreachable();
}

#endif
