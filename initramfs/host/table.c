/* The zones' table. The image that carries it is signed as a whole; a fault in it is one line. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

static _Alignas(uint64_t) uint8_t table[SPROUT_ZONES_MAX_BYTES + 1]; /* one more shows a longer one */
static size_t rows_there;

static bool one_of(char letter, const char *set)
{
    return letter != '\0' && strchr(set, letter) != NULL;
}

static bool is_plain(char letter)
{
    return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9');
}

/* A text of 1 to `size` - 1 letters, digits and `others`, then nothing but NULs. */
static bool is_text(const char *text, size_t size, const char *others)
{
    size_t length = strnlen(text, size);

    if (length == 0 || length == size)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_plain(text[i]) && !(text[i] >= 'A' && text[i] <= 'Z') && !one_of(text[i], others))
            return false;
    for (size_t i = length; i < size; i++)
        if (text[i])
            return false;
    return true;
}

static bool is_name(const char *text, size_t size)
{
    return is_text(text, size, "-") && is_plain(text[0]);
}

/* An absolute path with no part that climbs. */
static bool is_path(const char *text, size_t size, const char *others)
{
    return is_text(text, size, others) && text[0] == '/' && !strstr(text, "/.");
}

static bool is_cmdline(const char *text, size_t size)
{
    size_t length = strnlen(text, size);

    if (length == size)
        return false;
    for (size_t i = 0; i < size; i++)
        if (i < length ? text[i] < ' ' || text[i] > '~' : text[i] != '\0')
            return false;
    return true;
}

static const char *row_problem(const struct sprout_zone *row)
{
    if (!is_name(row->name, sizeof(row->name)))
        return "a name is none";
    if (row->type != SPROUT_ZONE_PV && row->type != SPROUT_ZONE_PVH)
        return "a type is none";
    if (row->memory_mib == 0 || row->memory_mib > SPROUT_ZONES_MAX_MEMORY_MIB ||
        row->vcpus == 0 || row->vcpus > SPROUT_ZONES_MAX_VCPUS ||
        (row->flags & ~SPROUT_ZONE_BY_XL) || row->restart > SPROUT_RESTART_ALWAYS ||
        row->weight == 0 || row->weight > SPROUT_ZONES_MAX_WEIGHT || row->cap > row->vcpus * 100 ||
        row->ready_s == 0 || row->ready_s > SPROUT_ZONES_MAX_READY_S)
        return "a number is out of range";
    if (!is_path(row->kernel, sizeof(row->kernel), "/._-") ||
        !is_path(row->initramfs, sizeof(row->initramfs), "/._-") ||
        !is_cmdline(row->cmdline, sizeof(row->cmdline)))
        return "a text is none";
    if (row->disk_count > SPROUT_ZONES_MAX_DISKS || row->nic_count > SPROUT_ZONES_MAX_NICS)
        return "a count is out of range";
    for (size_t i = 0; i < row->disk_count; i++)
        if (!is_name(row->disks[i].device, sizeof(row->disks[i].device)) ||
            !is_path(row->disks[i].backend, sizeof(row->disks[i].backend), "/._+:-") ||
            row->disks[i].writable > 1)
            return "a disk is none";
    for (size_t i = 0; i < row->nic_count; i++)
        if (!is_name(row->nics[i].bridge, sizeof(row->nics[i].bridge)) ||
            row->nics[i].isolated > 1)
            return "an interface is none";
    return NULL;
}

/* Gives what keeps the bytes from being a table, or NULL. */
const char *zones_problem(const uint8_t *data, size_t size)
{
    struct sprout_zones head;

    if (size < sizeof(head))
        return "it is cut short";
    memcpy(&head, data, sizeof(head));
    if (head.magic != SPROUT_ZONES_MAGIC || head.version != SPROUT_ZONES_VERSION)
        return "it is of another version";
    if (head.count > SPROUT_ZONES_MAX ||
        size != sizeof(head) + head.count * sizeof(struct sprout_zone))
        return "it does not have the rows that it counts";
    for (size_t i = 0; i < head.count; i++) {
        struct sprout_zone row;
        const char *problem;

        memcpy(&row, data + sizeof(head) + i * sizeof(row), sizeof(row));
        problem = row_problem(&row);
        if (problem)
            return problem;
        if (row.after >> i)
            return "a zone waits for itself or a later one";
        for (size_t other = 0; other < i; other++)
            if (memcmp(data + sizeof(head) + other * sizeof(row), row.name, sizeof(row.name)) == 0)
                return "two zones have one name";
    }
    return NULL;
}

/* No table: a host without zones. */
bool read_zones(void)
{
    ssize_t got = read_file(SPROUT_ZONES_PATH, table, sizeof(table));
    struct line what = {.used = 0};
    const char *problem;

    if (got < 0 && errno == ENOENT)
        return true;
    if (got < 0) {
        say(SPROUT_ZONES_PATH, errno);
        return false;
    }
    problem = zones_problem(table, (size_t)got);
    if (problem) {
        line_text(&what, SPROUT_ZONES_PATH ": ");
        line_text(&what, problem);
        what.text[what.used] = '\0';
        say(what.text, 0);
        return false;
    }
    rows_there = ((size_t)got - sizeof(struct sprout_zones)) / sizeof(struct sprout_zone);
    return true;
}

size_t zone_rows(const struct sprout_zone **rows)
{
    *rows = (const struct sprout_zone *)(table + sizeof(struct sprout_zones));
    return rows_there;
}
