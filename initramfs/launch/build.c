/* What is in the domain: memory, kernel and initramfs, by Xen's own builder (libxenguest). */
#include <errno.h>
#include <stdio.h>

#include "launch.h"

/* A PVH domain's memory begins at 0, and leaves room below 4 GiB for what Xen maps there. */
static void lay_out_pvh(struct xc_dom_image *image, uint64_t bytes)
{
    uint64_t hole = (X86_HVM_END_SPECIAL_REGION - X86_HVM_NR_SPECIAL_PAGES) << XC_PAGE_SHIFT;

    if (hole > LAPIC_ADDRESS)
        hole = LAPIC_ADDRESS;
    if (hole > ACPI_INFO_ADDRESS)
        hole = ACPI_INFO_ADDRESS;
    image->container_type = XC_DOM_HVM_CONTAINER;
    image->target_pages = bytes >> XC_PAGE_SHIFT;
    image->mmio_start = hole;
    image->mmio_size = (1ull << 32) - hole;
    image->lowmem_end = bytes < hole ? bytes : hole;
    image->highmem_end = bytes < hole ? 0 : (1ull << 32) + (bytes - hole);
}

/* Xen would give what there is, and then fail. */
static bool is_free(const struct launch *launch)
{
    xc_physinfo_t info = {0};
    char what[64];

    if (xc_physinfo(launch->host->xen, &info) != 0)
        return failed("the hypervisor");
    if (info.free_pages >> (20 - XC_PAGE_SHIFT) >= launch->row->memory_mib)
        return true;
    snprintf(what, sizeof(what), "%u MiB of memory, %llu are free", launch->row->memory_mib,
             (unsigned long long)(info.free_pages >> (20 - XC_PAGE_SHIFT)));
    errno = ENOMEM;
    return failed(what);
}

static bool fill(struct launch *launch, struct xc_dom_image *image, const struct file *kernel)
{
    bool pvh = launch->row->type == SPROUT_ZONE_PVH;
    bool placed;

    if (xc_dom_boot_xen_init(image, launch->host->xen, launch->domain) != 0)
        return failed("the hypervisor");
    if (xc_dom_parse_image(image) != 0)
        return failed(launch->row->kernel);
    if (!is_free(launch))
        return false;
    if (xc_dom_mem_init(image, launch->row->memory_mib) != 0 || xc_dom_boot_mem_init(image) != 0)
        return failed("its memory");
    if (pvh && !describe_machine(launch, image))
        return false;
    if (!begin_copies(launch, image))
        return false;
    placed = place(launch, image, kernel);
    if (!end_copies() || !placed)
        return false;
    if (xc_dom_boot_image(image) != 0 || xc_dom_gnttab_init(image) != 0)
        return failed("its first processor");
    launch->store_frame = pvh ? image->xenstore_pfn : xc_dom_p2m(image, image->xenstore_pfn);
    launch->console_frame = pvh ? image->console_pfn : xc_dom_p2m(image, image->console_pfn);
    return true;
}

bool build_domain(struct launch *launch)
{
    const struct file *kernel = mapped(launch->row->kernel);
    const struct file *initramfs = mapped(launch->row->initramfs);
    struct xc_dom_image *image;
    bool built;

    if (!kernel || !initramfs)
        return failed("its files are not there");
    image = xc_dom_allocate(launch->host->xen, launch->row->cmdline, NULL);
    if (!image)
        return failed("its image");
    image->container_type = XC_DOM_PV_CONTAINER;
    if (launch->row->type == SPROUT_ZONE_PVH)
        lay_out_pvh(image, (uint64_t)launch->row->memory_mib << 20);
    image->max_vcpus = launch->row->vcpus;
    image->console_evtchn = launch->console_port;
    image->console_domid = HOST;
    image->xenstore_evtchn = launch->store_port;
    image->xenstore_domid = HOST;
    if (xc_dom_kernel_mem(image, kernel->data, kernel->size) != 0 ||
        xc_dom_module_mem(image, initramfs->data, initramfs->size, NULL) != 0)
        built = failed("its files");
    else
        built = fill(launch, image, kernel);
    xc_dom_release(image);
    return built;
}
