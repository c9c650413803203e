/* The zone in the store: its own folder, and what others look for there (Xen, docs/misc/
 * xenstore-paths.pandoc). One transaction, so that nobody sees half of it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "launch.h"

#define MAX_PATH_BYTES 128
#define MAX_VALUE_BYTES 64

struct writer {
    struct xs_handle *store;
    xs_transaction_t transaction;
    uint32_t domain;
    bool well;
};

enum access { READS, WRITES };

static void put(struct writer *writer, const char *name, const char *value)
{
    char path[MAX_PATH_BYTES];

    snprintf(path, sizeof(path), "/local/domain/%u/%s", writer->domain, name);
    writer->well = writer->well &&
                   xs_write(writer->store, writer->transaction, path, value, (unsigned int)strlen(value));
}

static void put_number(struct writer *writer, const char *name, uint64_t value)
{
    char text[MAX_VALUE_BYTES];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    put(writer, name, text);
}

/* Makes a folder that the zone may read, or have as its own; what is made in it is so too. */
static void folder(struct writer *writer, const char *name, enum access access)
{
    struct xs_permissions reads[] = {{.id = HOST, .perms = XS_PERM_NONE},
                                     {.id = writer->domain, .perms = XS_PERM_READ}};
    struct xs_permissions owns[] = {{.id = writer->domain, .perms = XS_PERM_NONE}};
    char path[MAX_PATH_BYTES];

    snprintf(path, sizeof(path), "/local/domain/%u%s%s", writer->domain, *name ? "/" : "", name);
    writer->well = writer->well && xs_mkdir(writer->store, writer->transaction, path) &&
                   xs_set_permissions(writer->store, writer->transaction, path,
                                      access == READS ? reads : owns, access == READS ? 2 : 1);
}

static void write_all(struct writer *writer, const struct launch *launch)
{
    static const char *const owned[] = {"control/shutdown", "control/feature-poweroff",
                                        "control/feature-reboot", "data", "error", "device/suspend",
                                        "attr"};
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
    put(writer, "console/output", "pty");
    put(writer, "console/limit", "1048576");
    for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++)
        folder(writer, owned[i], WRITES);
}

bool write_nodes(const struct launch *launch)
{
    struct writer writer = {.store = launch->store, .domain = launch->domain};

    do {
        writer.transaction = xs_transaction_start(writer.store);
        writer.well = writer.transaction != XBT_NULL;
        if (!writer.well)
            break;
        write_all(&writer, launch);
        if (!writer.well) {
            xs_transaction_end(writer.store, writer.transaction, true);
            break;
        }
        writer.well = xs_transaction_end(writer.store, writer.transaction, false);
    } while (!writer.well && errno == EAGAIN);
    if (!writer.well)
        return failed(launch, "its place in the store");
    if (!xs_introduce_domain(launch->store, launch->domain, launch->store_frame, launch->store_port))
        return failed(launch, "the store does not take it");
    return true;
}

bool remove_nodes(struct xs_handle *store, uint32_t domain)
{
    char path[MAX_PATH_BYTES];

    snprintf(path, sizeof(path), "/local/domain/%u", domain);
    return xs_rm(store, XBT_NULL, path);
}
