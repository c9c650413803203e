/* What the parts of the launcher share. Each part is the .c file named above its functions. */
#ifndef LAUNCH_H
#define LAUNCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

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

/* What all zones share: the hypervisor and the store. What is watched comes by a connection of its own
 * (host/store.c): libxenstore takes events by a thread, which its static library does not have. */
struct host {
    xc_interface *xen;
    struct xs_handle *store;
};

/* A zone on its way to be a domain. */
struct launch {
    const struct host *host;
    const struct sprout_zone *row;
    uint32_t domain; /* DOMID_INVALID until there is one */
    evtchn_port_t store_port;
    evtchn_port_t console_port;
    unsigned long store_frame;
    unsigned long console_frame;
    struct disk {
        dev_t device;
        char node[24]; /* of the loop device, where there is one */
    } disks[SPROUT_ZONES_MAX_DISKS];
    uint32_t disks_open;
    bool late; /* the host's kernel has not found a disk yet */
};

/* main.c: says "failed ROW <what>: <why>" later, for the host's init; gives false. */
bool failed(const char *what);

/* domain.c */
bool make_domain(struct launch *launch);

/* files.c */
struct file {
    void *data;
    size_t size;
};
bool map_files(const struct sprout_zone *rows, size_t count);
const struct file *mapped(const char *path);

/* copy.c: between begin_copies() and end_copies(), by addresses of the domain's memory. */
bool begin_copies(const struct launch *launch, struct xc_dom_image *image);
bool copy_into(uint64_t at, const void *from, uint64_t size);
bool clear_in(uint64_t at, uint64_t size);
bool end_copies(void);

/* place.c */
bool place(const struct launch *launch, struct xc_dom_image *image, const struct file *kernel);

/* build.c */
bool build_domain(struct launch *launch);

/* acpi.c */
bool describe_machine(struct launch *launch, struct xc_dom_image *image);

/* disks.c */
bool open_disk(const struct sprout_zone_disk *wanted, struct disk *disk, bool *late);
void release_disk(const char *node);

/* nics.c */
bool connect_nics(const struct launch *launch);

/* batch.c: what comes between batch_begin() and batch_end() fails there, if it does. */
bool batch_begin(void);
void batch_write(const char *path, const char *value);
void batch_folder(const char *path, const char *access, size_t access_size);
bool batch_end(void);

/* port.c: of a bridge, by the number of its interface */
bool guard_port(int port, const struct sprout_zone_nic *nic);

/* nodes.c */
bool nic_is_connected(const struct launch *launch, uint32_t number);
bool write_nodes(const struct launch *launch);
bool introduce(const struct launch *launch);
void ask_to_end(struct xs_handle *store, uint32_t domain);
void remove_nodes(struct xs_handle *store, uint32_t domain);
bool name_of(struct xs_handle *store, uint32_t domain, char *name, size_t size);

/* domains.c: the zones that are domains, by their rows. */
void adopt_domains(const struct host *host, const struct sprout_zone *rows, size_t count);
bool start_row(const struct host *host, const struct sprout_zone *rows, size_t row, bool *late);
void adopt_row(const struct host *host, const struct sprout_zone *rows, size_t row);
void stop_row(const struct host *host, size_t row);
void kill_row(const struct host *host, size_t row);
void look_for_ended(const struct host *host);

/* main.c */
void tell(const char *event, size_t row, const char *rest);

#endif
