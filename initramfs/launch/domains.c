/* The zones that are domains: started, asked to end, ended, and found again by a new launcher. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../common/ticks.h"
#include "launch.h"

#define MOST_DOMAINS 1024

static uint32_t domain_of[SPROUT_ZONES_MAX]; /* HOST: the row is no domain */
static bool told[SPROUT_ZONES_MAX];          /* that it has shut down */

static void forget(const struct host *host, size_t row, const char *why)
{
    uint32_t domain = domain_of[row];

    domain_of[row] = HOST;
    xc_domain_destroy(host->xen, domain);
    remove_nodes(host->store, domain);
    tell("ended", row, why);
}

/* `when` is the time stamp counter's. */
static void tell_started(size_t row, uint64_t when)
{
    char number[24];

    told[row] = false;
    snprintf(number, sizeof(number), "%llu", (unsigned long long)when);
    tell("started", row, number);
}

static bool open_disks(struct launch *launch)
{
    const struct sprout_zone *row = launch->row;

    for (uint32_t i = 0; i < row->disk_count; i++) {
        const char *device = row->disks[i].device;

        errno = EINVAL;
        if (strncmp(device, "xvd", 3) != 0 || device[3] < 'a' || device[3] > 'z' || device[4])
            return failed(device);
        if (!open_disk(&row->disks[i], &launch->disks[i], &launch->late))
            return false;
        launch->disks_open++;
    }
    return true;
}

/* What the store does not know of yet. */
static void release_disks(const struct launch *launch)
{
    for (uint32_t i = 0; i < launch->disks_open; i++)
        if (launch->disks[i].node[0])
            release_disk(launch->disks[i].node);
}

/* From here on they are released with the zone's nodes. */
static bool are_in_store(struct launch *launch)
{
    launch->disks_open = 0;
    return true;
}

static bool make(struct launch *launch)
{
    return open_disks(launch) && make_domain(launch) && build_domain(launch) &&
           write_nodes(launch) && are_in_store(launch) && introduce(launch) && connect_nics(launch);
}

static void unmake(struct launch *launch)
{
    int error = errno;

    if (launch->domain != DOMID_INVALID) {
        xc_domain_destroy(launch->host->xen, launch->domain);
        remove_nodes(launch->host->store, launch->domain);
    }
    release_disks(launch);
    errno = error;
}

/* `late` is set where it may be tried again: a disk is not there yet. */
bool start_row(const struct host *host, const struct sprout_zone *rows, size_t row, bool *late)
{
    struct launch launch = {.host = host, .row = &rows[row], .domain = DOMID_INVALID};
    uint64_t when;

    errno = EEXIST;
    if (domain_of[row] != HOST)
        return failed("it is running");
    errno = 0;
    if (make(&launch)) {
        when = ticks();
        if (xc_domain_unpause(host->xen, launch.domain) == 0) {
            domain_of[row] = launch.domain;
            tell_started(row, when);
            return true;
        }
        failed("it cannot be let run");
    }
    unmake(&launch);
    *late = launch.late;
    return false;
}

void stop_row(const struct host *host, size_t row)
{
    if (domain_of[row] != HOST)
        ask_to_end(host->store, domain_of[row]);
}

void kill_row(const struct host *host, size_t row)
{
    if (domain_of[row] != HOST)
        forget(host, row, "killed");
}

static const char *reason(uint32_t flags)
{
    switch (flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask) {
    case SHUTDOWN_poweroff:
        return "poweroff";
    case SHUTDOWN_reboot:
        return "reboot";
    case SHUTDOWN_crash:
        return "crash";
    case SHUTDOWN_watchdog:
        return "watchdog";
    default:
        return "suspend";
    }
}

/* Looks at each zone's domain. One that has shut down stays, until it is told to end: what it wrote
 * last may still be on its way. */
void look_for_ended(const struct host *host)
{
    for (size_t row = 0; row < SPROUT_ZONES_MAX; row++) {
        xc_domaininfo_t info;

        if (domain_of[row] == HOST)
            continue;
        if (xc_domain_getinfolist(host->xen, domain_of[row], 1, &info) != 1 ||
            info.domain != domain_of[row]) {
            forget(host, row, "gone");
        } else if (info.flags & XEN_DOMINF_shutdown && !told[row]) {
            told[row] = true;
            tell("shutdown", row, reason(info.flags));
        }
    }
}

static bool is_row(const struct host *host, uint32_t domain, const struct sprout_zone *row)
{
    char name[sizeof(row->name)];

    return name_of(host->store, domain, name, sizeof(name)) && strcmp(name, row->name) == 0;
}

/* What a launcher before this one started. A domain that is no zone's, or has never run because
 * that launcher ended while it made it, is ended. */
void adopt_domains(const struct host *host, const struct sprout_zone *rows, size_t count)
{
    static xc_domaininfo_t found[MOST_DOMAINS];
    int there = xc_domain_getinfolist(host->xen, HOST + 1, MOST_DOMAINS, found);

    for (int i = 0; i < there; i++) {
        uint32_t domain = found[i].domain;
        size_t row = 0;

        if (found[i].flags & XEN_DOMINF_dying)
            continue;
        while (row < count && (domain_of[row] != HOST || !is_row(host, domain, &rows[row])))
            row++;
        if (row == count || found[i].flags & XEN_DOMINF_paused) {
            xc_domain_destroy(host->xen, domain);
            remove_nodes(host->store, domain);
            continue;
        }
        domain_of[row] = domain;
        tell_started(row, 0);
    }
}

/* What Xen's own tool started. */
void adopt_row(const struct host *host, const struct sprout_zone *rows, size_t row)
{
    static xc_domaininfo_t found[MOST_DOMAINS];
    int there = xc_domain_getinfolist(host->xen, HOST + 1, MOST_DOMAINS, found);

    for (int i = 0; i < there && domain_of[row] == HOST; i++)
        if (is_row(host, found[i].domain, &rows[row]))
            domain_of[row] = found[i].domain;
    told[row] = false;
    if (domain_of[row] == HOST)
        tell("ended", row, "gone");
    else
        look_for_ended(host);
}
