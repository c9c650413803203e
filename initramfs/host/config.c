/* A zone's row as the text that xl reads (Xen, docs/man/xl.cfg.5.pod.in). Pure: no system calls. */
#include <string.h>

#include "host.h"

static void put(struct config *config, const char *text, size_t length)
{
    if (config->full || length > sizeof(config->text) - config->used) {
        config->full = true;
        return;
    }
    memcpy(config->text + config->used, text, length);
    config->used += length;
}

static void text(struct config *config, const char *words)
{
    put(config, words, strlen(words));
}

static void number(struct config *config, uint64_t value)
{
    struct line line = {.used = 0};

    line_number(&line, value);
    put(config, line.text, line.used);
}

/* Between double quotes a backslash makes the next letter plain. */
static void quoted(struct config *config, const char *words)
{
    text(config, "\"");
    for (; *words; words++) {
        if (*words == '"' || *words == '\\')
            text(config, "\\");
        put(config, words, 1);
    }
    text(config, "\"");
}

static void string_field(struct config *config, const char *name, const char *value)
{
    text(config, name);
    text(config, " = ");
    quoted(config, value);
    text(config, "\n");
}

static void number_field(struct config *config, const char *name, uint64_t value)
{
    text(config, name);
    text(config, " = ");
    number(config, value);
    text(config, "\n");
}

static void disks(struct config *config, const struct sprout_zone *row)
{
    text(config, "disk = [");
    for (size_t i = 0; i < row->disk_count; i++) {
        text(config, i ? ", \"" : "\"");
        text(config, "format=raw, backendtype=phy, script=block, vdev=");
        text(config, row->disks[i].device);
        text(config, row->disks[i].writable ? ", access=rw, target=" : ", access=ro, target=");
        text(config, row->disks[i].backend);
        text(config, "\"");
    }
    text(config, "]\n");
}

static void nics(struct config *config, const struct sprout_zone *row)
{
    static const char hex[] = "0123456789abcdef";

    text(config, "vif = [");
    for (size_t i = 0; i < row->nic_count; i++) {
        text(config, i ? ", \"mac=" : "\"mac=");
        for (size_t byte = 0; byte < sizeof(row->nics[i].mac); byte++) {
            const char digits[] = {':', hex[row->nics[i].mac[byte] >> 4],
                                   hex[row->nics[i].mac[byte] & 15]};

            put(config, byte ? digits : digits + 1, byte ? 3 : 2);
        }
        text(config, ", bridge=");
        text(config, row->nics[i].bridge);
        text(config, "\"");
    }
    text(config, "]\n");
}

void format_config(struct config *config, const struct sprout_zone *row)
{
    config->used = 0;
    config->full = false;
    string_field(config, "name", row->name);
    string_field(config, "type", row->type == SPROUT_ZONE_PVH ? "pvh" : "pv");
    string_field(config, "kernel", row->kernel);
    string_field(config, "ramdisk", row->initramfs);
    string_field(config, "cmdline", row->cmdline);
    number_field(config, "memory", row->memory_mib);
    number_field(config, "vcpus", row->vcpus);
    string_field(config, "on_poweroff", "destroy");
    string_field(config, "on_reboot", "restart");
    string_field(config, "on_crash", "destroy");
    disks(config, row);
    nics(config, row);
}
