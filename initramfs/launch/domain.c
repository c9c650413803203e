/* The domain itself: what Xen has to know before there is anything in it. */
#include <errno.h>
#include <sys/random.h>

#include "launch.h"

/* What a zone may use beside its memory, in KiB (Xen, libs/light: LIBXL_MAXMEM_CONSTANT). */
#define SLACK_KIB 1024
#define EVENT_CHANNELS 1023
/* The domain's nested page tables: 1 MiB for each processor and 8 KiB for each MiB of memory, as
 * much as Xen's own tools give (libs/light, libxl__get_required_paging_memory). */
#define PAGING_BYTES_PER_VCPU (1u << 20)
#define PAGING_BYTES_PER_MIB (8u << 10)
/* Ticks that were missed are not made up for (Xen, public/hvm/params.h). */
#define NO_MISSED_TICKS 2

static bool is_pvh(const struct launch *launch)
{
    return launch->row->type == SPROUT_ZONE_PVH;
}

static bool create(struct launch *launch)
{
    struct xen_domctl_createdomain wanted = {
        .max_vcpus = launch->row->vcpus,
        .max_evtchn_port = EVENT_CHANNELS,
        .max_grant_frames = -1,
        .max_maptrack_frames = -1,
        .grant_opts = XEN_DOMCTL_GRANT_version(2),
    };
    uint32_t domain = 0; /* any that is free */

    if (getrandom(wanted.handle, sizeof(wanted.handle), 0) != sizeof(wanted.handle))
        return failed(launch, "a random identity");
    if (is_pvh(launch)) {
        wanted.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;
        wanted.arch.emulation_flags = XEN_X86_EMU_LAPIC;
    }
    if (xc_domain_create(launch->xen, &domain, &wanted) != 0)
        return failed(launch, "cannot be made a domain");
    launch->domain = domain;
    return true;
}

static bool give_paging_memory(struct launch *launch)
{
    uint64_t bytes = (uint64_t)launch->row->vcpus * PAGING_BYTES_PER_VCPU +
                     (uint64_t)launch->row->memory_mib * PAGING_BYTES_PER_MIB;

    return xc_set_paging_mempool_size(launch->xen, launch->domain, bytes) == 0 &&
           xc_hvm_param_set(launch->xen, launch->domain, HVM_PARAM_TIMER_MODE, NO_MISSED_TICKS) == 0;
}

static bool set_processor(struct launch *launch)
{
    /* As Xen's own tools do; no address extension, frequency or nesting is left out or asked for. */
    return xc_cpuid_apply_policy(launch->xen, launch->domain, false, NULL, 0, true, false, false, NULL,
                                 NULL) == 0;
}

static bool open_channels(struct launch *launch)
{
    int store = xc_evtchn_alloc_unbound(launch->xen, launch->domain, HOST);
    int console = xc_evtchn_alloc_unbound(launch->xen, launch->domain, HOST);

    if (store < 0 || console < 0)
        return false;
    launch->store_port = (evtchn_port_t)store;
    launch->console_port = (evtchn_port_t)console;
    return true;
}

/* Makes an empty domain with its limits; on failure there may be one, which the caller ends. */
bool make_domain(struct launch *launch)
{
    uint64_t kib = (uint64_t)launch->row->memory_mib << 10;

    if (!create(launch))
        return false;
    if (xc_domain_max_vcpus(launch->xen, launch->domain, launch->row->vcpus) != 0)
        return failed(launch, "its processors");
    if (xc_domain_setmaxmem(launch->xen, launch->domain, kib + SLACK_KIB) != 0)
        return failed(launch, "its memory's limit");
    if (!is_pvh(launch) && xc_domain_set_memmap_limit(launch->xen, launch->domain, kib) != 0)
        return failed(launch, "its memory map");
    if (is_pvh(launch) && !give_paging_memory(launch))
        return failed(launch, "memory for its page tables");
    if (!open_channels(launch))
        return failed(launch, "its event channels");
    if (!set_processor(launch))
        return failed(launch, "what its processors can do");
    return true;
}
