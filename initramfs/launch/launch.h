/* What the parts of the launcher share. Each part is the .c file named above its functions. */
#ifndef LAUNCH_H
#define LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XC_WANT_COMPAT_MAP_FOREIGN_API
#include <xenctrl.h>
#include <xenguest.h>
#include <xenstore.h>

#include "sprout_zones.h"

/* The domain that serves consoles and the store: the host. */
#define HOST 0

/* Where a PVH domain's local APIC is, and what its DSDT reads (Xen, libs/light/libxl_arch.h and
 * libacpi/dsdt_acpi_info.asl). */
#define LAPIC_ADDRESS 0xfee00000ull
#define ACPI_INFO_ADDRESS 0xfc000000ull

/* A zone on its way to be a domain. */
struct launch {
    const struct sprout_zone *row;
    xc_interface *xen;
    struct xs_handle *store;
    uint32_t domain; /* DOMID_INVALID until there is one */
    evtchn_port_t store_port;
    evtchn_port_t console_port;
    unsigned long store_frame;
    unsigned long console_frame;
};

/* main.c */
bool failed(const struct launch *launch, const char *what);

/* domain.c */
bool make_domain(struct launch *launch);

/* build.c */
bool build_domain(struct launch *launch);

/* acpi.c */
bool describe_machine(struct launch *launch, struct xc_dom_image *image);

/* nodes.c */
bool write_nodes(const struct launch *launch);
bool remove_nodes(struct xs_handle *store, uint32_t domain);

#endif
