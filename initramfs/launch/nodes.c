/* The zone in the store: its own folder, and what others look for there (Xen, docs/misc/
 * xenstore-paths.pandoc). One transaction, so that nobody sees half of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <xen/io/xenbus.h>

#include "launch.h"

#define MAX_PATH_BYTES 128
#define BACKENDS "/local/domain/0/backend"
#define XVD_MAJOR 202u
#define MAX_VALUE_BYTES 64
/* What the host keeps of a console that nobody reads, in bytes. */
#define CONSOLE_LIMIT "65536"

struct writer {
    uint32_t domain;
    char home[32]; /* the zone's folder */
};

enum access { READS, WRITES };

static void put_at(const char *base, const char *name, const char *value)
{
    char path[MAX_PATH_BYTES];

    snprintf(path, sizeof(path), "%s/%s", base, name);
    batch_write(path, value);
}

static void put_number_at(const char *base, const char *name, uint64_t value)
{
    char text[MAX_VALUE_BYTES];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    put_at(base, name, text);
}

static void put(const struct writer *writer, const char *name, const char *value)
{
    put_at(writer->home, name, value);
}

static void put_number(const struct writer *writer, const char *name, uint64_t value)
{
    put_number_at(writer->home, name, value);
}

/* Makes a folder that the zone may read, or have as its own; what is made in it is so too. */
static void folder_at(const struct writer *writer, const char *path, enum access access)
{
    char list[2 * MAX_VALUE_BYTES]; /* each permission with its NUL */
    int size = access == READS ? snprintf(list, sizeof(list), "n%u%cr%u", HOST, 0, writer->domain)
                               : snprintf(list, sizeof(list), "n%u", writer->domain);

    batch_folder(path, list, (size_t)size + 1);
}

static void folder(const struct writer *writer, const char *name, enum access access)
{
    char path[MAX_PATH_BYTES];

    snprintf(path, sizeof(path), "%s%s%s", writer->home, *name ? "/" : "", name);
    folder_at(writer, path, access);
}

/* A device is two folders that name each other: the zone's, and the host's that serves it (Xen,
 * public/io/blkif.h and netif.h). */
struct device {
    char front[MAX_PATH_BYTES];
    char back[MAX_PATH_BYTES];
};

static struct device begin_device(const struct writer *writer, const char *kind, uint32_t number)
{
    struct device device;

    snprintf(device.front, sizeof(device.front), "%s/device/%s/%u", writer->home, kind, number);
    snprintf(device.back, sizeof(device.back), BACKENDS "/%s/%u/%u", kind, writer->domain, number);
    folder_at(writer, device.back, READS);
    folder_at(writer, device.front, WRITES);
    put_at(device.front, "backend", device.back);
    put_number_at(device.front, "backend-id", HOST);
    put_number_at(device.front, "handle", number);
    put_number_at(device.front, "state", XenbusStateInitialising);
    put_at(device.back, "frontend", device.front);
    put_number_at(device.back, "frontend-id", writer->domain);
    put_number_at(device.back, "handle", number);
    put_number_at(device.back, "online", 1);
    put_number_at(device.back, "state", XenbusStateInitialising);
    return device;
}

static void write_disk(const struct writer *writer, const struct sprout_zone_disk *row,
                       const struct disk *disk)
{
    /* xvda to xvdz (Xen, docs/man/xen-vbd-interface.7). */
    uint32_t number = XVD_MAJOR << 8 | (uint32_t)(row->device[3] - 'a') << 4;
    struct device device = begin_device(writer, "vbd", number);
    char numbers[MAX_VALUE_BYTES];

    snprintf(numbers, sizeof(numbers), "%x:%x", major(disk->device), minor(disk->device));
    put_number_at(device.front, "virtual-device", number);
    put_at(device.front, "device-type", "disk");
    put_at(device.back, "dev", row->device);
    put_at(device.back, "type", "phy");
    put_at(device.back, "params", row->backend);
    put_at(device.back, "mode", row->writable ? "w" : "r");
    put_at(device.back, "device-type", "disk");
    put_at(device.back, "node", disk->node);
    put_at(device.back, "physical-device", numbers);
}

static void write_nic(const struct writer *writer, const struct sprout_zone_nic *row, uint32_t number)
{
    struct device device = begin_device(writer, "vif", number);
    const uint8_t *mac = row->mac;
    char address[MAX_VALUE_BYTES];

    snprintf(address, sizeof(address), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
             mac[4], mac[5]);
    put_at(device.front, "mac", address);
    put_at(device.back, "mac", address);
    put_at(device.back, "bridge", row->bridge);
    put_at(device.back, "script", ""); /* Linux refuses one without; we do its work */
}

/* The host's kernel holds its side back until then. */
bool nic_is_connected(const struct launch *launch, uint32_t number)
{
    static const char word[] = "connected";
    char path[MAX_PATH_BYTES];

    snprintf(path, sizeof(path), BACKENDS "/vif/%u/%u/hotplug-status", launch->domain, number);
    return xs_write(launch->host->store, XBT_NULL, path, word, sizeof(word) - 1) || failed(path);
}

static void write_everything(const struct writer *writer, const struct launch *launch)
{
    static const char *const owned[] = {"control", "data", "device", "error"};
    const struct sprout_zone *row = launch->row;

    folder(writer, "", READS);
    put(writer, "name", row->name);
    put_number(writer, "domid", writer->domain);
    put_number(writer, "memory/static-max", (uint64_t)row->memory_mib << 10);
    put_number(writer, "memory/target", (uint64_t)row->memory_mib << 10);
    put_number(writer, "store/port", launch->store_port);
    put_number(writer, "store/ring-ref", launch->store_frame);
    for (uint32_t i = 0; i < row->vcpus; i++) {
        char name[MAX_PATH_BYTES];

        snprintf(name, sizeof(name), "cpu/%u/availability", i);
        put(writer, name, "online");
    }
    put_number(writer, "console/ring-ref", launch->console_frame);
    put_number(writer, "console/port", launch->console_port);
    put(writer, "console/type", "xenconsoled");
    put(writer, "console/limit", CONSOLE_LIMIT);
    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
        folder(writer, owned[i], WRITES);
    for (uint32_t i = 0; i < row->disk_count; i++)
        write_disk(writer, &row->disks[i], &launch->disks[i]);
    for (uint32_t i = 0; i < row->nic_count; i++)
        write_nic(writer, &row->nics[i], i);
}

bool write_nodes(const struct launch *launch)
{
    struct writer writer = {.domain = launch->domain};
    bool done;

    snprintf(writer.home, sizeof(writer.home), "/local/domain/%u", launch->domain);
    do {
        done = batch_begin();
        if (done) {
            write_everything(&writer, launch);
            done = batch_end();
        }
    } while (!done && errno == EAGAIN);
    return done || failed("its place in the store");
}

/* From here on the store serves the domain, and watchers of new domains know of it. */
bool introduce(const struct launch *launch)
{
    return xs_introduce_domain(launch->host->store, launch->domain, launch->store_frame,
                               launch->store_port) ||
           failed("the store does not take it");
}

static void path_of(char *path, uint32_t domain, const char *name)
{
    snprintf(path, MAX_PATH_BYTES, "/local/domain/%u%s", domain, name);
}

/* The domain's kernel watches this node and lets its init end everything. */
void ask_to_end(struct xs_handle *store, uint32_t domain)
{
    static const char word[] = "poweroff";
    char path[MAX_PATH_BYTES];

    path_of(path, domain, "/control/shutdown");
    xs_write(store, XBT_NULL, path, word, sizeof(word) - 1);
}

/* A backend whose folder is gone lets its device go. */
static void remove_backends(struct xs_handle *store, uint32_t domain, const char *kind)
{
    char path[MAX_PATH_BYTES], node[MAX_PATH_BYTES];
    unsigned int count = 0, length;
    char **devices;

    snprintf(path, sizeof(path), BACKENDS "/%s/%u", kind, domain);
    devices = xs_directory(store, XBT_NULL, path, &count);
    for (unsigned int i = 0; i < count && i < SPROUT_ZONES_MAX_DISKS; i++) {
        char *loop;

        snprintf(node, sizeof(node), BACKENDS "/%s/%u/%.16s/node", kind, domain, devices[i]);
        loop = xs_read(store, XBT_NULL, node, &length);
        node[strlen(node) - strlen("/node")] = '\0';
        xs_rm(store, XBT_NULL, node);
        if (loop && *loop)
            release_disk(loop);
        free(loop);
    }
    free(devices);
    if (count)
        xs_rm(store, XBT_NULL, path);
}

void remove_nodes(struct xs_handle *store, uint32_t domain)
{
    char path[MAX_PATH_BYTES];

    remove_backends(store, domain, "vbd");
    remove_backends(store, domain, "vif");
    path_of(path, domain, "");
    xs_rm(store, XBT_NULL, path);
}

bool name_of(struct xs_handle *store, uint32_t domain, char *name, size_t size)
{
    char path[MAX_PATH_BYTES];
    unsigned int length;
    char *value;
    bool fits;

    path_of(path, domain, "/name");
    value = xs_read(store, XBT_NULL, path, &length);
    fits = value && length < size;
    if (fits)
        memcpy(name, value, length + 1);
    free(value);
    return fits;
}
