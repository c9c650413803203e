/* The domain itself: what Xen has to know before there is anything in it. */
#include <errno.h>
#include <stdlib.h>
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
        return failed("a random identity");
    if (is_pvh(launch)) {
        wanted.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;
        wanted.arch.emulation_flags = XEN_X86_EMU_LAPIC;
    }
    if (xc_domain_create(launch->host->xen, &domain, &wanted) != 0)
        return failed("cannot be made a domain");
    launch->domain = domain;
    return true;
}

static bool give_paging_memory(struct launch *launch)
{
    uint64_t bytes = (uint64_t)launch->row->vcpus * PAGING_BYTES_PER_VCPU +
                     (uint64_t)launch->row->memory_mib * PAGING_BYTES_PER_MIB;

    return xc_set_paging_mempool_size(launch->host->xen, launch->domain, bytes) == 0 &&
           xc_hvm_param_set(launch->host->xen, launch->domain, HVM_PARAM_TIMER_MODE, NO_MISSED_TICKS) == 0;
}

static bool set_processor(struct launch *launch)
{
    /* As Xen's own tools do; no address extension, frequency or nesting is left out or asked for. */
    return xc_cpuid_apply_policy(launch->host->xen, launch->domain, false, NULL, 0, true, false, false, NULL,
                                 NULL) == 0;
}

static bool open_channels(struct launch *launch)
{
    int store = xc_evtchn_alloc_unbound(launch->host->xen, launch->domain, HOST);
    int console = xc_evtchn_alloc_unbound(launch->host->xen, launch->domain, HOST);

    if (store < 0 || console < 0)
        return false;
    launch->store_port = (evtchn_port_t)store;
    launch->console_port = (evtchn_port_t)console;
    return true;
}

/* What it may have of the machine's processors. */
static bool set_share(struct launch *launch)
{
    const struct sprout_zone *row = launch->row;
    struct xen_domctl_sched_credit2 share = {.weight = (uint16_t)row->weight, .cap = (uint16_t)row->cap};

    if (row->weight == SPROUT_ZONES_DEFAULT_WEIGHT && row->cap == 0)
        return true;
    return xc_sched_credit2_domain_set(launch->host->xen, launch->domain, &share) == 0;
}

/* A processor that the machine does not have is no fault, as long as it has one of them. */
static bool pin(struct launch *launch)
{
    const struct sprout_zone *row = launch->row;
    xc_cpumap_t map;
    bool done = true;

    if (row->cpus[0] == 0 && row->cpus[1] == 0)
        return true;
    map = xc_cpumap_alloc(launch->host->xen);
    if (!map)
        return false;
    for (int cpu = 0; cpu < 128 && cpu < xc_get_max_cpus(launch->host->xen); cpu++)
        if (row->cpus[cpu / 64] >> (cpu % 64) & 1)
            xc_cpumap_setcpu(cpu, map);
    for (uint32_t vcpu = 0; vcpu < row->vcpus && done; vcpu++)
        done = xc_vcpu_setaffinity(launch->host->xen, launch->domain, (int)vcpu, map, NULL,
                                   XEN_VCPUAFFINITY_HARD) == 0;
    free(map);
    return done;
}

/* Makes an empty domain with its limits; on failure there may be one, which the caller ends. */
bool make_domain(struct launch *launch)
{
    uint64_t kib = (uint64_t)launch->row->memory_mib << 10;

    if (!create(launch))
        return false;
    if (xc_domain_max_vcpus(launch->host->xen, launch->domain, launch->row->vcpus) != 0)
        return failed("its processors");
    if (xc_domain_setmaxmem(launch->host->xen, launch->domain, kib + SLACK_KIB) != 0)
        return failed("its memory's limit");
    if (!is_pvh(launch) && xc_domain_set_memmap_limit(launch->host->xen, launch->domain, kib) != 0)
        return failed("its memory map");
    if (is_pvh(launch) && !give_paging_memory(launch))
        return failed("memory for its page tables");
    if (!open_channels(launch))
        return failed("its event channels");
    if (!set_share(launch))
        return failed("its share of the processors");
    if (!pin(launch))
        return failed("the processors that it is to run on");
    if (!set_processor(launch))
        return failed("what its processors can do");
    return true;
}
