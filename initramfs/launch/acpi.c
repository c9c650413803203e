/* What a PVH domain reads of its machine: ACPI tables (Xen's libacpi) and the memory map. */
#include <stdint.h>
#include <string.h>

#include <libacpi.h>
#include <xen/arch-x86/hvm/start_info.h>
#include <xen/hvm/e820.h>
#include <xen/hvm/hvm_info_table.h>

#include "launch.h"

#define PAGE 4096u
#define TABLE_PAGES 16 /* those of 128 processors take 5 */
#define LEAST_ALIGNMENT 16
#define RSDP_BYTES 64
#define RSDP_IN_BIOS (0x100000u - RSDP_BYTES)
#define MOST_RANGES 6

extern const unsigned char dsdt_pvh[];
extern const unsigned int dsdt_pvh_len;

struct tables {
    struct acpi_ctxt context; /* first: libacpi gives it back */
    unsigned char bytes[TABLE_PAGES * PAGE];
    size_t used;
};

struct machine {
    struct tables tables;
    unsigned char rsdp[PAGE];
    unsigned char information[PAGE];
    struct hvm_info_table processors;
    struct e820entry ranges[MOST_RANGES];
};

static void *allocate(struct acpi_ctxt *context, uint32_t size, uint32_t align)
{
    struct tables *tables = (struct tables *)context;
    size_t unit = align < LEAST_ALIGNMENT ? LEAST_ALIGNMENT : align;
    size_t at = (tables->used + unit - 1) / unit * unit;

    if (at > sizeof(tables->bytes) || size > sizeof(tables->bytes) - at)
        return NULL;
    tables->used = at + size;
    return tables->bytes + at;
}

static void release(struct acpi_ctxt *context, void *data, uint32_t size)
{
    (void)context;
    (void)data;
    (void)size;
}

static unsigned long address(struct acpi_ctxt *context, void *data)
{
    struct tables *tables = (struct tables *)context;

    return ACPI_INFO_ADDRESS + PAGE +
           (unsigned long)((unsigned char *)data - tables->bytes);
}

static uint32_t apic_number(unsigned int processor)
{
    return processor * 2;
}

static bool make_tables(struct machine *machine, uint32_t vcpus)
{
    struct acpi_config wanted = {
        .dsdt_anycpu = dsdt_pvh,
        .dsdt_anycpu_len = dsdt_pvh_len,
        .dsdt_15cpu = dsdt_pvh,
        .dsdt_15cpu_len = dsdt_pvh_len,
        .hvminfo = &machine->processors,
        .lapic_base_address = LAPIC_ADDRESS,
        .lapic_id = apic_number,
        .acpi_revision = 5,
        .rsdp = (unsigned long)machine->rsdp,
        .infop = (unsigned long)machine->information,
    };

    machine->tables.context.mem_ops.alloc = allocate;
    machine->tables.context.mem_ops.free = release;
    machine->tables.context.mem_ops.v2p = address;
    machine->processors.apic_mode = 1;
    machine->processors.nr_vcpus = vcpus;
    for (uint32_t i = 0; i < vcpus; i++)
        machine->processors.vcpu_online[i / 8] |= (uint8_t)(1u << (i % 8));
    return acpi_build_tables(&machine->tables.context, &wanted) == 0;
}

static void add_module(struct xc_dom_image *image, size_t index, void *data, size_t size, uint64_t at)
{
    image->acpi_modules[index].data = data;
    image->acpi_modules[index].length = (uint32_t)size;
    image->acpi_modules[index].guest_addr_out = at;
}

static void add_range(struct xc_dom_image *image, uint64_t at, uint64_t size, uint32_t type)
{
    image->e820[image->e820_entries++] = (struct e820entry){.addr = at, .size = size, .type = type};
}

/* Ascending but for the high memory, which comes last. */
static void map_memory(struct xc_dom_image *image)
{
    uint64_t special = (X86_HVM_END_SPECIAL_REGION - X86_HVM_NR_SPECIAL_PAGES) << XC_PAGE_SHIFT;

    add_range(image, 0, image->lowmem_end, E820_RAM);
    add_range(image, special, (uint64_t)X86_HVM_NR_SPECIAL_PAGES << XC_PAGE_SHIFT, E820_RESERVED);
    for (size_t i = 0; i < 3; i++) {
        uint64_t at = image->acpi_modules[i].guest_addr_out, into = at & (PAGE - 1);

        add_range(image, at - into, image->acpi_modules[i].length + into, E820_ACPI);
    }
    if (image->highmem_end)
        add_range(image, 1ull << 32, image->highmem_end - (1ull << 32), E820_RAM);
}

bool describe_machine(struct launch *launch, struct xc_dom_image *image)
{
    struct machine *machine = xc_dom_malloc(image, sizeof(*machine));
    uint64_t tables = ACPI_INFO_ADDRESS + PAGE, rsdp = RSDP_IN_BIOS;
    size_t size;

    if (!machine)
        return failed("memory for its ACPI tables");
    memset(machine, 0, sizeof(*machine));
    if (!make_tables(machine, launch->row->vcpus))
        return failed("its ACPI tables");
    size = (machine->tables.used + PAGE - 1) / PAGE * PAGE;
    /* Linux before 4.17 looked for it in the BIOS alone. */
    if (xc_dom_feature_get(image, XENFEAT_linux_rsdp_unrestricted))
        rsdp = tables + size;
    add_module(image, 0, machine->rsdp, RSDP_BYTES, rsdp);
    add_module(image, 1, machine->information, PAGE, ACPI_INFO_ADDRESS);
    add_module(image, 2, machine->tables.bytes, size, tables);
    image->e820 = machine->ranges;
    image->e820_entries = 0;
    map_memory(image);
    if (xc_domain_set_memory_map(launch->host->xen, launch->domain, image->e820, image->e820_entries) != 0)
        return failed("its memory map");
    return true;
}
