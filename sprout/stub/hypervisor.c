/* Xen's boot protocol under EFI: Multiboot2 with boot services on. It takes 32-bit addresses of
 * whole pages (Xen, arch/x86/boot/head.S and setup.c: modules begin on a page), so whatever the
 * firmware has loaded above 4 GiB is copied; nothing else is. Its own image has to lie at a multiple
 * of 2 MiB, which no firmware knows of, and is copied always.
 *
 * The memory is EfiLoaderData, which Xen takes as its own after it has ended boot services, less
 * what it is told of here. */
#include "hypervisor.h"

#include <cpu.h>
#include "elf.h"
#include "multiboot2.h"

#define LIMIT ((uint64_t)1 << 32)
#define MAX_TEXT 4095

static const EFI_GUID memory_attribute_guid = EFI_MEMORY_ATTRIBUTE_PROTOCOL_GUID;

/* Gives `size` bytes below 4 GiB at a multiple of `alignment`, or 0. */
static uint64_t allocate(struct hypervisor *hypervisor, EFI_BOOT_SERVICES *boot, uint32_t type,
                         uint64_t size, uint64_t alignment)
{
    size_t count = (size_t)((whole_pages(size) + alignment - EFI_PAGE_SIZE) / EFI_PAGE_SIZE);
    EFI_PHYSICAL_ADDRESS pages = LIMIT - 1;
    if (hypervisor->block_count == HYPERVISOR_BLOCKS ||
        EFI_ERROR(boot->AllocatePages(ALLOCATE_MAX_ADDRESS, type, count, &pages)))
        return 0;
    hypervisor->blocks[hypervisor->block_count].pages = pages;
    hypervisor->blocks[hypervisor->block_count++].count = count;
    return (pages + alignment - 1) & ~(alignment - 1);
}

static void load(const struct elf *elf, uint8_t *base)
{
    uint32_t done = elf->start;
    for (uint32_t i = 0; i < elf->headers; i++) {
        struct elf_segment segment;
        if (!elf_segment(elf, i, &segment))
            continue;
        cpu_fill(base + (done - elf->start), 0, segment.address - done);
        cpu_copy(base + (segment.address - elf->start), elf->file.data + segment.offset,
                 segment.file_size);
        done = segment.address + segment.file_size;
    }
    cpu_fill(base + (done - elf->start), 0, elf->end - done);
}

/* Xen's file is one segment that is written, read and executed, and Xen makes page tables of its own
 * that part them. Until then its pages are what it asks for: there is nothing finer to go by. */
static EFI_STATUS make_executable(const struct hypervisor *hypervisor, uint64_t address, uint64_t size)
{
    EFI_MEMORY_ATTRIBUTE_PROTOCOL *protocol = hypervisor->attributes;
    return protocol->ClearMemoryAttributes(protocol, address, size,
                                           EFI_MEMORY_XP | EFI_MEMORY_RO | EFI_MEMORY_RP);
}

static struct failure place(struct hypervisor *hypervisor, struct section hv,
                            EFI_BOOT_SERVICES *boot)
{
    struct span file = {hv.bytes.data, hv.file_size};
    struct multiboot2 header;
    struct elf elf;
    const char *wrong = elf_read(file, &elf);
    if (wrong == NULL)
        wrong = multiboot2_read(file, &header);
    if (wrong == NULL && (header.entry < elf.start || header.entry >= elf.end))
        wrong = "Multiboot2 entry is in no segment";
    if (wrong == NULL && elf.start % header.alignment != 0)
        wrong = "p_paddr is not aligned as the Multiboot2 header asks";
    if (wrong != NULL)
        return FAILURE(EFI_LOAD_ERROR, ".hv", wrong);

    uint64_t size = whole_pages(elf.end - elf.start);
    uint32_t type = hypervisor->attributes != NULL ? EFI_LOADER_DATA : EFI_LOADER_CODE;
    uint64_t base = allocate(hypervisor, boot, type, size, header.alignment);
    if (base == 0)
        return FAILURE(EFI_OUT_OF_RESOURCES, ".hv", "no memory below 4 GiB");
    if (base < header.lowest || base + size - 1 > header.highest)
        return FAILURE(EFI_LOAD_ERROR, ".hv", "no memory where the Multiboot2 header asks for it");
    load(&elf, (uint8_t *)(uintptr_t)base);
    hypervisor->bytes_copied += elf.end - elf.start;
    hypervisor->entry = (const uint8_t *)(uintptr_t)(base + (header.entry - elf.start));
    if (hypervisor->attributes != NULL && EFI_ERROR(make_executable(hypervisor, base, size)))
        return FAILURE(EFI_SECURITY_VIOLATION, ".hv", "the firmware refused memory attributes");
    return SUCCESS;
}

struct start {
    struct hypervisor *hypervisor;
    const struct pe *self;
    EFI_BOOT_SERVICES *boot;
    struct multiboot2_module modules[3];
    size_t count;
};

/* Adds a section as a module. Without the section, and where it is not `required`, none is added. */
static struct failure add_module(struct start *start, const char *name, bool required,
                                 struct span cmdline)
{
    struct section section;
    struct failure failure = sections_find(start->self, name, required, &section);
    if (failure.status != EFI_SUCCESS || section.bytes.size == 0)
        return failure;
    uint64_t address = (uintptr_t)section.bytes.data, size = section.bytes.size;
    if (address % EFI_PAGE_SIZE != 0 || address + size >= LIMIT) {
        address = allocate(start->hypervisor, start->boot, EFI_LOADER_DATA, size, EFI_PAGE_SIZE);
        if (address == 0)
            return FAILURE(EFI_OUT_OF_RESOURCES, name, "no memory below 4 GiB");
        cpu_copy((void *)(uintptr_t)address, section.bytes.data, (size_t)size);
        start->hypervisor->bytes_copied += size;
    }
    start->modules[start->count++] = (struct multiboot2_module){
        .start = (uint32_t)address, .end = (uint32_t)(address + size), .cmdline = cmdline};
    return SUCCESS;
}

static struct failure find_text(const struct pe *self, const char *name, struct span *text)
{
    struct section section;
    struct failure failure = sections_find(self, name, false, &section);
    if (failure.status != EFI_SUCCESS)
        return failure;
    *text = section.bytes;
    if (text->size > MAX_TEXT)
        return FAILURE(EFI_LOAD_ERROR, name, "longer than 4095 bytes");
    for (size_t i = 0; i < text->size; i++) {
        if (text->data[i] < 0x20 || text->data[i] > 0x7e)
            return FAILURE(EFI_LOAD_ERROR, name, "has what is no printable ASCII");
    }
    return SUCCESS;
}

/* Xen takes the first module as the host's kernel and the first of the others as its initramfs, and
 * looks for microcode in all of them (arch/x86/cpu/microcode/core.c, `ucode=scan`). */
static struct failure add_modules(struct start *start)
{
    struct span cmdline;
    struct failure failure = find_text(start->self, ".cmdline", &cmdline);
    if (failure.status == EFI_SUCCESS)
        failure = add_module(start, ".linux", true, cmdline);
    if (failure.status == EFI_SUCCESS)
        failure = add_module(start, ".initrd", true, (struct span){NULL, 0});
    if (failure.status == EFI_SUCCESS)
        failure = add_module(start, ".ucode", false, (struct span){NULL, 0});
    return failure;
}

static struct failure inform(struct start *start, EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    struct multiboot2_facts facts = {.modules = start->modules,
                                     .module_count = start->count,
                                     .system_table = (uintptr_t)system,
                                     .image_handle = (uintptr_t)image};
    struct failure failure = find_text(start->self, ".hvcmd", &facts.cmdline);
    if (failure.status != EFI_SUCCESS)
        return failure;
    uint64_t block = allocate(start->hypervisor, start->boot, EFI_LOADER_DATA,
                              multiboot2_size(&facts), EFI_PAGE_SIZE);
    if (block == 0)
        return FAILURE(EFI_OUT_OF_RESOURCES, ".hvcmd", "no memory below 4 GiB");
    multiboot2_write((uint8_t *)(uintptr_t)block, &facts);
    start->hypervisor->information = (uint32_t)block;
    return SUCCESS;
}

struct failure hypervisor_make(struct hypervisor *hypervisor, const struct pe *self,
                               struct section hv, EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    EFI_BOOT_SERVICES *boot = system->BootServices;
    void *protocol = NULL;
    if (EFI_ERROR(boot->LocateProtocol(&memory_attribute_guid, NULL, &protocol)))
        protocol = NULL;
    *hypervisor = (struct hypervisor){.attributes = protocol};
    struct start start = {.hypervisor = hypervisor, .self = self, .boot = boot};
    struct failure failure = place(hypervisor, hv, boot);
    if (failure.status == EFI_SUCCESS)
        failure = add_modules(&start);
    if (failure.status == EFI_SUCCESS)
        failure = inform(&start, image, system);
    return failure;
}

/* What was made executable is not again until it holds other bytes. */
void hypervisor_undo(struct hypervisor *hypervisor, EFI_BOOT_SERVICES *boot)
{
    for (size_t i = 0; i < hypervisor->block_count; i++) {
        EFI_PHYSICAL_ADDRESS pages = hypervisor->blocks[i].pages;
        size_t count = hypervisor->blocks[i].count;
        cpu_fill((void *)(uintptr_t)pages, 0, count * EFI_PAGE_SIZE);
        (void)boot->FreePages(pages, count);
    }
    hypervisor->block_count = 0;
}
