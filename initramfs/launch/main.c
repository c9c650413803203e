/* Starts a zone of the host's table, and ends one: what Xen's toolstack does, for zones alone.
 *
 *     launch start ROW       makes the zone of that row of /zones/table a running domain
 *     launch end DOMAIN      destroys a domain and what is of it in the store
 *
 * The host's init calls it. What is wrong is one line on standard error, and exit status 1; then
 * nothing of the zone is left.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../host/host.h"
#include "launch.h"

#define MAX_NUMBER 0x7ff0 /* DOMID_FIRST_RESERVED; no table has more rows */

bool failed(const struct launch *launch, const char *what)
{
    fprintf(stderr, "launch: %s%s%s: %s\n", launch->row ? launch->row->name : "",
            launch->row ? ": " : "", what, errno ? strerror(errno) : "refused");
    return false;
}

static bool connect(struct launch *launch)
{
    launch->xen = xc_interface_open(NULL, NULL, 0);
    if (!launch->xen)
        return failed(launch, "the hypervisor does not answer");
    launch->store = xs_open(0);
    return launch->store || failed(launch, "xenstored does not answer");
}

static int start(const struct sprout_zone *row)
{
    struct launch launch = {.row = row, .domain = DOMID_INVALID};

    if (!connect(&launch))
        return 1;
    if (make_domain(&launch) && build_domain(&launch) && write_nodes(&launch)) {
        if (xc_domain_unpause(launch.xen, launch.domain) == 0)
            return 0;
        failed(&launch, "cannot be let run");
    }
    if (launch.domain != DOMID_INVALID) {
        remove_nodes(launch.store, launch.domain);
        xc_domain_destroy(launch.xen, launch.domain);
    }
    return 1;
}

static int end(uint32_t domain)
{
    struct launch launch = {.domain = domain};
    bool ended;

    if (!connect(&launch))
        return 1;
    ended = xc_domain_destroy(launch.xen, domain) == 0 || errno == ESRCH ||
            failed(&launch, "the domain cannot be ended");
    xs_release_domain(launch.store, domain);
    return remove_nodes(launch.store, domain) && ended ? 0 : 1;
}

static bool number(const char *text, uint32_t *value)
{
    char *rest;
    unsigned long parsed;

    errno = 0;
    parsed = strtoul(text, &rest, 10);
    *value = (uint32_t)parsed;
    return *text >= '0' && *text <= '9' && *rest == '\0' && errno == 0 && parsed < MAX_NUMBER;
}

int main(int argc, char **argv)
{
    const struct sprout_zone *rows;
    uint32_t which;

    if (argc == 3 && number(argv[2], &which)) {
        if (strcmp(argv[1], "start") == 0)
            return read_zones() && which < zone_rows(&rows) ? start(&rows[which]) : 1;
        if (strcmp(argv[1], "end") == 0)
            return end(which);
    }
    fprintf(stderr, "usage: launch start ROW | launch end DOMAIN\n");
    return 2;
}
