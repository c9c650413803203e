/* What is in the domain: memory, kernel and initramfs, by Xen's own builder (libxenguest). */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch.h"

#define MAX_FILE_BYTES (1u << 30)

/* The host's files lie in memory: a mapping shares their pages with every other zone's. */
struct file {
    void *data;
    size_t size;
};

static bool map_file(const struct launch *launch, const char *path, struct file *file)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;

    if (descriptor < 0 || fstat(descriptor, &status) < 0 || status.st_size <= 0 ||
        status.st_size > MAX_FILE_BYTES)
        return failed(launch, path);
    file->size = (size_t)status.st_size;
    file->data = mmap(NULL, file->size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, descriptor, 0);
    close(descriptor);
    if (file->data == MAP_FAILED)
        return failed(launch, path);
    return true;
}

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

static bool fill(struct launch *launch, struct xc_dom_image *image)
{
    bool pvh = launch->row->type == SPROUT_ZONE_PVH;

    if (xc_dom_boot_xen_init(image, launch->xen, launch->domain) != 0)
        return failed(launch, "the hypervisor");
    if (xc_dom_parse_image(image) != 0)
        return failed(launch, launch->row->kernel);
    if (xc_dom_mem_init(image, launch->row->memory_mib) != 0 || xc_dom_boot_mem_init(image) != 0)
        return failed(launch, "its memory");
    if (pvh && !describe_machine(launch, image))
        return false;
    if (xc_dom_build_image(image) != 0)
        return failed(launch, "its kernel and initramfs do not fit");
    if (xc_dom_boot_image(image) != 0 || xc_dom_gnttab_init(image) != 0)
        return failed(launch, "its first processor");
    launch->store_frame = pvh ? image->xenstore_pfn : xc_dom_p2m(image, image->xenstore_pfn);
    launch->console_frame = pvh ? image->console_pfn : xc_dom_p2m(image, image->console_pfn);
    return true;
}

bool build_domain(struct launch *launch)
{
    struct file kernel, initramfs;
    struct xc_dom_image *image;
    bool built;

    if (!map_file(launch, launch->row->kernel, &kernel) ||
        !map_file(launch, launch->row->initramfs, &initramfs))
        return false;
    image = xc_dom_allocate(launch->xen, launch->row->cmdline, NULL);
    if (!image)
        return failed(launch, "its image");
    image->container_type = XC_DOM_PV_CONTAINER;
    if (launch->row->type == SPROUT_ZONE_PVH)
        lay_out_pvh(image, (uint64_t)launch->row->memory_mib << 20);
    image->max_vcpus = launch->row->vcpus;
    image->console_evtchn = launch->console_port;
    image->console_domid = HOST;
    image->xenstore_evtchn = launch->store_port;
    image->xenstore_domid = HOST;
    if (xc_dom_kernel_mem(image, kernel.data, kernel.size) != 0 ||
        xc_dom_module_mem(image, initramfs.data, initramfs.size, NULL) != 0)
        built = failed(launch, "its files");
    else
        built = fill(launch, image);
    xc_dom_release(image);
    return built;
}
