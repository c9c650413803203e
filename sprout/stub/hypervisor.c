/* Xen finds out where it runs, and needs no relocations (xen/arch/x86/boot/head.S). Its file is one
 * segment that is written, read and executed, and until Xen has page tables of its own it does all
 * of these under the firmware's. So its pages, and no others, are writable and executable from the
 * last byte loaded until then; there is nothing finer in the file to go by.
 *
 * Its image has to lie at a multiple of 2 MiB, which no firmware knows of, and is copied always.
 * The modules have to be whole pages with 32-bit addresses (arch/x86/setup.c), and are copied only
 * where the firmware has loaded this image above 4 GiB. Loader code and data are RAM to Xen, which
 * keeps what it is told of until it has used it. */
#include "hypervisor.h"

#include <cpu.h>

#define LAST_ADDRESS 0xffffffffu /* Xen is entered with 32-bit addresses for everything */

#define LOADER_NAME "sprout" /* Xen treats one that calls itself GRUB in another way */

const char *const hypervisor_modules[HYPERVISOR_MODULES] = {".linux", ".initrd", ".ucode"};

static const char *const too_high = "no memory below 4 GiB";

static EFI_STATUS allocate_data(struct pages *pages, EFI_BOOT_SERVICES *boot, uint64_t size)
{
    *pages = (struct pages){.size = whole_pages(size), .is_data = true};
    return pages_allocate(pages, boot, EFI_PAGE_SIZE, LAST_ADDRESS);
}

static void load(struct hypervisor *hypervisor, const struct elf *elf)
{
    uint8_t *base = hypervisor->pages.base;
    uint64_t done = 0;
    for (uint32_t i = 0; i < elf->headers; i++) {
        struct elf_segment segment = elf_segment(elf, i);
        if (segment.memory_size == 0)
            continue;
        uint32_t offset = segment.address - elf->start;
        cpu_fill(base + done, 0, (size_t)(offset - done));
        cpu_copy(base + offset, elf->file.data + segment.offset, segment.file_size);
        hypervisor->bytes_copied += segment.file_size;
        done = (uint64_t)offset + segment.file_size;
    }
    cpu_fill(base + done, 0, (size_t)(hypervisor->pages.size - done));
}

static struct failure place(struct hypervisor *hypervisor, EFI_BOOT_SERVICES *boot,
                            struct span image)
{
    struct elf elf;
    struct multiboot2_header header;
    const char *wrong = elf_read(image, &elf);
    if (wrong == NULL)
        wrong = multiboot2_find(image, &header);
    if (wrong == NULL && !elf_has_code(&elf, header.entry))
        wrong = "Multiboot2 entry is not in an executable segment";
    if (wrong != NULL)
        return FAILURE(EFI_LOAD_ERROR, ".hv", wrong);

    struct pages *pages = &hypervisor->pages;
    *pages = pages_of_size(boot, whole_pages(elf.size));
    uint64_t alignment = header.alignment < EFI_PAGE_SIZE ? EFI_PAGE_SIZE : header.alignment;
    EFI_STATUS status = pages_allocate(pages, boot, alignment, header.last);
    if (pages->memory == 0)
        return FAILURE(status, ".hv", too_high);
    if ((uintptr_t)pages->base < header.least)
        return FAILURE(EFI_OUT_OF_RESOURCES, ".hv", "no memory where its header asks for it");
    if (!EFI_ERROR(status))
        load(hypervisor, &elf);
    if (!EFI_ERROR(status) && pages->attributes != NULL)
        status = pages_make_mixed(pages, 0, pages->size);
    if (EFI_ERROR(status))
        return FAILURE(status, ".hv", "the firmware refused memory attributes");
    hypervisor->entry = pages->base + (header.entry - elf.start);
    return SUCCESS;
}

/* Makes a module one that can be named by 32-bit addresses and is whole pages. */
static EFI_STATUS settle(struct hypervisor *hypervisor, EFI_BOOT_SERVICES *boot, size_t index,
                         struct span *module)
{
    uint64_t start = (uintptr_t)module->data;
    if (start % EFI_PAGE_SIZE == 0 && start <= LAST_ADDRESS && module->size <= LAST_ADDRESS - start)
        return EFI_SUCCESS;
    struct pages *copy = &hypervisor->modules[index];
    EFI_STATUS status = allocate_data(copy, boot, module->size);
    if (EFI_ERROR(status))
        return status;
    cpu_copy(copy->base, module->data, module->size);
    cpu_fill(copy->base + module->size, 0, (size_t)(copy->size - module->size));
    hypervisor->bytes_copied += module->size;
    module->data = copy->base;
    return EFI_SUCCESS;
}

/* Xen takes the first word of a command line for the program's name, and drops it. The first module
 * is the host's kernel and the next one that is not taken its initrd. Microcode in a module of its
 * own, after it, is found by scanning: so the initrd need not be copied for it. */
static bool tell(struct multiboot2_info *info, const struct hypervisor_parts *parts,
                 const struct span modules[HYPERVISOR_MODULES], const EFI_SYSTEM_TABLE *system,
                 EFI_HANDLE image)
{
    const struct span none = {NULL, 0};
    bool microcode = modules[HYPERVISOR_MICROCODE].size != 0;
    multiboot2_add_efi(info, system, image);
    multiboot2_add_loader(info, LOADER_NAME);
    multiboot2_add_cmdline(info, microcode ? "xen ucode=scan " : "xen ", parts->cmdline);
    multiboot2_add_module(info, modules[HYPERVISOR_KERNEL], "linux ", parts->kernel_cmdline);
    multiboot2_add_module(info, modules[HYPERVISOR_INITRD], "", none);
    if (microcode)
        multiboot2_add_module(info, modules[HYPERVISOR_MICROCODE], "", none);
    return multiboot2_end(info);
}

struct failure hypervisor_make(struct hypervisor *hypervisor, EFI_SYSTEM_TABLE *system,
                               EFI_HANDLE image, const struct hypervisor_parts *parts)
{
    EFI_BOOT_SERVICES *boot = system->BootServices;
    *hypervisor = (struct hypervisor){0};
    struct failure failure = place(hypervisor, boot, parts->image);
    if (failure.status != EFI_SUCCESS)
        return failure;

    struct span modules[HYPERVISOR_MODULES];
    for (size_t i = 0; i < HYPERVISOR_MODULES; i++) {
        modules[i] = parts->modules[i];
        if (modules[i].size == 0)
            continue;
        EFI_STATUS status = settle(hypervisor, boot, i, &modules[i]);
        if (EFI_ERROR(status))
            return FAILURE(status, hypervisor_modules[i], too_high);
    }

    EFI_STATUS status = allocate_data(&hypervisor->info, boot, EFI_PAGE_SIZE);
    if (EFI_ERROR(status))
        return FAILURE(status, ".hvcmd", too_high);
    struct multiboot2_info info = multiboot2_begin(hypervisor->info.base, EFI_PAGE_SIZE);
    if (!tell(&info, parts, modules, system, image))
        return FAILURE(EFI_LOAD_ERROR, ".hvcmd", "the command lines are longer than a page");
    hypervisor->bytes_copied += parts->cmdline.size + parts->kernel_cmdline.size;
    return SUCCESS;
}

void hypervisor_undo(struct hypervisor *hypervisor, EFI_BOOT_SERVICES *boot)
{
    pages_give_back(&hypervisor->pages, boot);
    pages_give_back(&hypervisor->info, boot);
    for (size_t i = 0; i < HYPERVISOR_MODULES; i++)
        pages_give_back(&hypervisor->modules[i], boot);
}
