/* What the stub asks of the processor, and its ways out: to a kernel, and to a hypervisor. */
#include "acpi.h"
#include "mock_parts.h"

uint64_t cpu_ticks(void)
{
    return mock.ticks += mock.ticks_per_read;
}

uint32_t cpu_in32(uint16_t port)
{
    CHECK(port == 0x608);
    mock.port_reads++;
    mock.ticks += mock.ticks_per_read;
    if (mock.port_reads == mock.slow_port_read)
        mock.ticks += mock.hz / 50;
    /* The upper bits of a 24-bit timer are reserved, and not always 0. */
    return (uint32_t)(mock.timer_start + mock.ticks * PM_TIMER_HZ / mock.hz);
}

struct cpuid cpu_id(uint32_t leaf)
{
    switch (leaf) {
    case 0:
        return mock.leaf_0;
    case 1:
        return mock.leaf_1;
    case 0x15:
        CHECK(mock.leaf_0.eax >= 0x15);
        return mock.leaf_15;
    case 0x40000000:
        CHECK(mock.leaf_1.ecx & 1u << 31);
        return mock.leaf_hypervisor;
    case 0x40000010:
        CHECK(mock.leaf_hypervisor.eax >= 0x40000010);
        return mock.leaf_hypervisor_10;
    default:
        CHECK(!"an unexpected CPUID leaf");
        return (struct cpuid){0, 0, 0, 0};
    }
}

const uint8_t *cpu_physical(uint64_t address, uint64_t size)
{
    if (mock.memory == NULL || address < mock.memory_base || size > mock.memory_size ||
        address - mock.memory_base > mock.memory_size - size)
        return NULL;
    return mock.memory + (address - mock.memory_base);
}

EFI_STATUS cpu_enter(const uint8_t *entry, EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    CHECK(image == &mock_self_handle && system == &mock.system);
    mock.kernel_runs++;
    return mock.kernel == NULL ? EFI_SUCCESS : mock.kernel(entry, image, system);
}

_Noreturn void cpu_enter_multiboot2(const uint8_t *entry, uint32_t magic,
                                    const uint8_t *information)
{
    mock.hypervisor_runs++;
    if (mock.hypervisor != NULL)
        mock.hypervisor(entry, magic, information);
    mock.exit_status = EFI_SUCCESS;
    longjmp(mock.exit_jump, 1);
}
