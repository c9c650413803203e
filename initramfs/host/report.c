/* The lines that a host says; their fields and order come from the definition that reads them. */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../common/ticks.h"
#include "host.h"

_Static_assert(SPROUT_ZONE_READY_MAX <= sizeof(((struct line *)0)->text), "the line fits whole");
_Static_assert(SPROUT_HOST_READY_MAX <= sizeof(((struct line *)0)->text), "the line fits whole");

static struct sprout_host_ready report;

#define FIELD(name)             \
    line_text(line, " " #name "="); \
    line_number(line, ready->name);

void format_zone_ready(struct line *line, const char *zone, const struct sprout_zone_ready *ready)
{
    line_text(line, SPROUT_ZONE_READY_HEAD);
    line_text(line, zone);
    SPROUT_ZONE_READY_FIELDS(FIELD)
    line_end(line);
}

void format_host_ready(struct line *line, const struct sprout_host_ready *ready)
{
    line_text(line, SPROUT_HOST_READY_HEAD);
    SPROUT_HOST_READY_FIELDS(FIELD)
    line_end(line);
}

/* A time that a zone counted in its own ticks. Xen may give a zone a counter of another speed. */
uint64_t in_host_ticks(uint64_t ticks_there, uint64_t hz, uint64_t host)
{
    uint64_t from = hz / 1000, to = host / 1000;

    if (from == 0 || to == 0 || from == to || ticks_there / from > UINT64_MAX / to / 2)
        return ticks_there;
    /* The remainder is below 2^32 for any counter below 4 THz, and so is the speed in kHz. */
    return ticks_there / from * to + ticks_there % from * to / from;
}

uint64_t nanoseconds_in_ticks(uint64_t seconds, uint64_t nanoseconds, uint64_t hz)
{
    uint64_t result;

    if (__builtin_mul_overflow(seconds, hz, &result))
        return 0;
    return result + nanoseconds / 1000 * (hz / 1000) / 1000;
}

/* A PVH domain's counter begins with the domain (Xen, hvm_vcpu_initialise), so that what the stub
 * read from it cannot be compared with it; a PV one reads the machine's own. */
static bool counts_from_reset(void)
{
    char type[8];
    ssize_t got = read_file("/sys/hypervisor/guest_type", type, sizeof(type));

    return got < 3 || memcmp(type, "PVH", 3) != 0;
}

/* When the kernel's clock began. */
static uint64_t kernel_began(uint64_t hz)
{
    struct timespec since;
    uint64_t now = ticks(), ago;

    clock_gettime(CLOCK_MONOTONIC, &since);
    ago = nanoseconds_in_ticks((uint64_t)since.tv_sec, (uint64_t)since.tv_nsec, hz);
    return hz && ago < now ? now - ago : 0;
}

/* After the mounts. */
void begin_report(uint64_t started)
{
    struct sprout_stamps stamps;

    read_stamps(&stamps);
    if (counts_from_reset() && stamps.tsc_handover < started) {
        report.entry = stamps.tsc_entry;
        report.handover = stamps.tsc_handover;
    }
    report.copied = stamps.bytes_copied;
    report.hz = stamps.tsc_hz ? stamps.tsc_hz : counter_hz();
    report.kernel = kernel_began(report.hz);
    if (report.kernel > started)
        report.kernel = 0;
    report.init = started;
}

void services_are_up(void)
{
    report.services = ticks();
}

uint64_t host_hz(void)
{
    return report.hz;
}

/* One write each, so that no other process's output falls into the line. */
void announce_zone(const char *zone, const struct sprout_zone_ready *ready)
{
    struct line line = {.used = 0};

    format_zone_ready(&line, zone, ready);
    write_all(STDOUT_FILENO, line.text, line.used);
}

void announce_host(void)
{
    struct line line = {.used = 0};

    report.free = free_kib();
    report.ready = ticks();
    format_host_ready(&line, &report);
    write_all(STDOUT_FILENO, line.text, line.used);
}
