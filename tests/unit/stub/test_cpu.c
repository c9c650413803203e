/* The processor's own cpu.h, where this machine can run it: everything but the port. */
#include "arch/x86_64/cpu.h"

#include "check.h"

TEST(cpu_copies_and_fills_every_size)
{
    uint8_t from[80], to[80], expected[80];
    for (size_t size = 0; size <= 64; size++)
        for (size_t offset = 0; offset < 9; offset++) {
            for (size_t i = 0; i < sizeof(from); i++)
                from[i] = (uint8_t)(i + size);
            memset(to, 0xee, sizeof(to));
            memset(expected, 0xee, sizeof(expected));
            memcpy(expected + offset, from + 3, size);
            cpu_copy(to + offset, from + 3, size);
            CHECK(memcmp(to, expected, sizeof(to)) == 0);
            memset(expected + offset, 0x5a, size);
            cpu_fill(to + offset, 0x5a, size);
            CHECK(memcmp(to, expected, sizeof(to)) == 0);
        }
}

TEST(cpu_ticks_go_on)
{
    uint64_t first = cpu_ticks();
    CHECK(cpu_ticks() > first);
    CHECK(cpu_id(0).eax >= 1);
}

TEST(cpu_physical_memory_has_an_end)
{
    CHECK(cpu_physical(0, 1) == NULL);
    CHECK(cpu_physical(~(uint64_t)0, 2) == NULL);
    CHECK(cpu_physical(0x1000, 36) == (const uint8_t *)0x1000);
}

static EFI_STATUS entry_point(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    return image == (EFI_HANDLE)system ? EFI_NOT_FOUND : EFI_SUCCESS;
}

TEST(cpu_enters_a_function)
{
    EFI_SYSTEM_TABLE system = {0};
    const uint8_t *entry = (const uint8_t *)(uintptr_t)entry_point;
    CHECK(cpu_enter(entry, &system, &system) == EFI_NOT_FOUND);
    CHECK(cpu_enter(entry, NULL, &system) == EFI_SUCCESS);
}
