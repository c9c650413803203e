/* Where things lie in a zone's memory, and how they get there.
 *
 * Does what xc_dom_build_image() does, in its order, with the hooks that Xen's builder has for each
 * type of domain. It differs in one thing: what is only handed over (kernel, initramfs, ACPI tables)
 * is copied by Xen (copy.c), where that function maps, clears and fills it.
 */
#include <errno.h>

#include "launch.h"

#include <xen/libelf/libelf.h> /* takes the integers' types as given */

#define MOST_SEGMENTS 16
#define NO_PAGE ((xen_pfn_t)-1) /* xc_dom_alloc_page() failed */

static uint64_t pages_of(uint64_t bytes)
{
    return bytes / XC_PAGE_SIZE + (bytes % XC_PAGE_SIZE != 0);
}

/* The next pages that nothing lies in yet. */
static bool take(struct xc_dom_image *image, struct xc_dom_seg *place, uint64_t bytes)
{
    uint64_t pages = pages_of(bytes);

    errno = ENOMEM;
    if (image->pfn_alloc_end > image->total_pages || pages > image->total_pages - image->pfn_alloc_end)
        return failed("its kernel and initramfs do not fit");
    place->pfn = image->pfn_alloc_end;
    place->pages = pages;
    place->vstart = image->virt_alloc_end;
    place->vend = place->vstart + bytes;
    image->pfn_alloc_end += pages;
    image->virt_alloc_end += pages << XC_PAGE_SHIFT;
    return true;
}

static bool leave_out_up_to(struct xc_dom_image *image, xen_vaddr_t address)
{
    struct xc_dom_seg unused;

    errno = EINVAL;
    if (address < image->virt_alloc_end || address % XC_PAGE_SIZE)
        return failed("where its kernel wants to lie");
    return take(image, &unused, address - image->virt_alloc_end);
}

/* A segment of the kernel; `at` counts from the first one. */
struct part {
    const unsigned char *from;
    uint64_t at, filled, size;
};

/* In ascending order, none over another, all within `size` bytes: a segment that is not so does not
 * come out of a kernel's build. What lies between two is no part of the kernel. */
static size_t read_parts(const struct file *kernel, uint64_t size, struct part *parts)
{
    const Elf64_Ehdr *header = kernel->data;
    const Elf64_Phdr *table;
    uint64_t first = 0, end = 0;
    size_t count = 0;

    if (kernel->size < sizeof(*header) || header->e_phentsize != sizeof(*table) ||
        header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_phoff % 8 ||
        header->e_phoff > kernel->size ||
        header->e_phnum > (kernel->size - header->e_phoff) / sizeof(*table))
        return 0;
    table = (const void *)((const unsigned char *)kernel->data + header->e_phoff);
    for (size_t i = 0; i < header->e_phnum; i++) {
        uint64_t at = table[i].p_paddr;

        /* As libelf judges, which says where the first one lies. */
        if (table[i].p_type != PT_LOAD || (table[i].p_flags & (PF_R | PF_W | PF_X)) == 0)
            continue;
        if (count == 0)
            first = at;
        if (count == MOST_SEGMENTS || at < first || at - first < end || at - first > size ||
            table[i].p_filesz > table[i].p_memsz || table[i].p_memsz > size - (at - first) ||
            table[i].p_offset > kernel->size ||
            table[i].p_filesz > kernel->size - table[i].p_offset)
            return 0;
        end = at - first + table[i].p_memsz;
        parts[count++] = (struct part){.from = (const unsigned char *)kernel->data + table[i].p_offset,
                                       .at = at - first,
                                       .filled = table[i].p_filesz,
                                       .size = table[i].p_memsz};
    }
    return count;
}

static bool place_kernel(struct xc_dom_image *image, const struct file *kernel)
{
    struct xc_dom_seg *place = &image->kernel_seg;
    uint64_t bytes = place->vend - place->vstart;
    struct part parts[MOST_SEGMENTS];
    size_t count = read_parts(kernel, bytes, parts);

    errno = EINVAL;
    if (count == 0)
        return failed("its kernel's segments");
    if ((place->vstart && !leave_out_up_to(image, place->vstart)) || !take(image, place, bytes))
        return false;
    for (size_t i = 0; i < count; i++) {
        uint64_t at = (place->pfn << XC_PAGE_SHIFT) + parts[i].at;

        if (!copy_into(at, parts[i].from, parts[i].filled) ||
            !clear_in(at + parts[i].filled, parts[i].size - parts[i].filled))
            return false;
    }
    return true;
}

static bool place_initramfs(struct xc_dom_image *image)
{
    struct xc_dom_module *module = &image->modules[0];
    uint64_t start;

    if (!take(image, &module->seg, module->size))
        return false;
    start = module->seg.pfn << XC_PAGE_SHIFT;
    return copy_into(start, module->blob, module->size) &&
           clear_in(start + module->size, (module->seg.pages << XC_PAGE_SHIFT) - module->size);
}

/* They lie above what the domain has of memory: pages of their own. */
static bool place_tables(const struct launch *launch, struct xc_dom_image *image)
{
    for (size_t i = 0; i < MAX_ACPI_MODULES && image->acpi_modules[i].length; i++) {
        uint64_t at = image->acpi_modules[i].guest_addr_out;
        uint64_t size = image->acpi_modules[i].length;
        xen_pfn_t end = (xen_pfn_t)pages_of(at + size);

        for (xen_pfn_t page = at >> XC_PAGE_SHIFT; page < end; page++)
            if (xc_domain_populate_physmap_exact(launch->host->xen, launch->domain, 1, 0, 0, &page) != 0)
                return failed("memory for its ACPI tables");
        if (!copy_into(at, image->acpi_modules[i].data, size))
            return false;
    }
    return true;
}

static bool place_list(struct xc_dom_image *image)
{
    return !image->arch_hooks->alloc_p2m_list || image->arch_hooks->alloc_p2m_list(image) == 0;
}

/* What the hypervisor and the domain share, and a PV domain's first page tables. */
static bool place_rest(struct xc_dom_image *image)
{
    const struct xc_dom_arch *hooks = image->arch_hooks;

    if (hooks->alloc_magic_pages(image) != 0)
        return false;
    if (hooks->alloc_pgtables && hooks->alloc_pgtables(image) != 0)
        return false;
    if (image->alloc_bootstack) {
        image->bootstack_pfn = xc_dom_alloc_page(image, "boot stack");
        if (image->bootstack_pfn == NO_PAGE)
            return false;
    }
    return true;
}

bool place(const struct launch *launch, struct xc_dom_image *image, const struct file *kernel)
{
    struct elf_dom_parms *wishes = image->parms;
    bool list_is_apart;

    if (wishes->virt_base != UNSET_ADDR)
        image->virt_alloc_end = wishes->virt_base;
    errno = EINVAL;
    /* Every paravirtualised Linux has it so (XEN_ELFNOTE_MOD_START_PFN); to others it is nothing. */
    if (image->container_type == XC_DOM_PV_CONTAINER && !wishes->unmapped_initrd)
        return failed("its kernel wants its initramfs mapped");
    if (!place_kernel(image, kernel) || !place_tables(launch, image))
        return false;
    list_is_apart = image->arch_hooks->p2m_base_supported && wishes->p2m_base != UNSET_ADDR &&
                    wishes->p2m_base < wishes->virt_base && wishes->p2m_base % XC_PAGE_SIZE == 0;
    if (!list_is_apart)
        wishes->p2m_base = UNSET_ADDR;
    if ((!list_is_apart && !place_list(image)) || !place_rest(image))
        return failed("its first page tables");
    if (image->virt_pgtab_end && !leave_out_up_to(image, image->virt_pgtab_end))
        return false;
    if (!place_initramfs(image))
        return false;
    image->flags |= SIF_MOD_START_PFN;
    image->initrd_start = image->modules[0].seg.pfn;
    image->initrd_len = image->modules[0].seg.pages << XC_PAGE_SHIFT;
    if (list_is_apart) {
        if (!place_list(image))
            return failed("the list of its pages");
        image->p2m_seg.vstart = wishes->p2m_base;
    }
    return true;
}
