/* Makes the host's zones domains of Xen, and ends them: what a toolstack does, for zones alone.
 *
 * The host's init starts it once, tells it what to do on standard input and hears of what happened on
 * standard output, a line each; ROW counts the rows of /zones/table from 0:
 *
 *     start ROW      stop ROW (asks it to end)      kill ROW      adopt ROW (which xl started)
 *     memory 0       (then: memory FREE TOTAL, Xen's, in KiB)
 *     up             started ROW TICKS       failed ROW WHAT      shutdown ROW WHY      ended ROW WHY
 *     late ROW WHAT (a disk is not there yet)
 *
 * It keeps nothing that Xen and the store do not know: one that is started again goes on.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../host/host.h"
#include "launch.h"

#define MAX_LINE 64

static char why[256];

bool failed(const char *what)
{
    int error = errno;

    snprintf(why, sizeof(why), "%s: %s", what, error ? strerror(error) : "refused");
    errno = error;
    return false;
}

/* One write, so that nothing falls into the line. */
void tell(const char *event, size_t row, const char *rest)
{
    char line[sizeof(why) + MAX_LINE];
    int length = snprintf(line, sizeof(line), "%s %zu %s\n", event, row, rest);

    if (length > 0 && (size_t)length < sizeof(line))
        write_all(STDOUT_FILENO, line, (size_t)length);
}

static int give_up(void)
{
    fprintf(stderr, "%s\n", why);
    return 1;
}

static void report_memory(const struct host *host)
{
    xc_physinfo_t info = {0};
    char total[24];

    if (xc_physinfo(host->xen, &info) != 0)
        return;
    snprintf(total, sizeof(total), "%llu", (unsigned long long)info.total_pages * 4);
    tell("memory", info.free_pages * 4, total);
}

static void obey(const struct host *host, const struct sprout_zone *rows, size_t count,
                 const char *line)
{
    static const char *const verbs[] = {"start ", "stop ", "kill ", "adopt ", "memory "};
    size_t verb = 0;
    uint64_t row;
    bool late = false;
    const char *end = line + strlen(line);

    while (verb < 5 && strncmp(line, verbs[verb], strlen(verbs[verb])) != 0)
        verb++;
    if (verb == 5 || skip_decimal(line + strlen(verbs[verb]), end, &row) != end || row >= count)
        return;
    if (verb == 0 && !start_row(host, rows, (size_t)row, &late))
        tell(late ? "late" : "failed", (size_t)row, why);
    if (verb == 1)
        stop_row(host, (size_t)row);
    if (verb == 2)
        kill_row(host, (size_t)row);
    if (verb == 3)
        adopt_row(host, rows, (size_t)row);
    if (verb == 4)
        report_memory(host);
}

/* Takes what there is of lines; false when the host's init is gone. */
static bool take_lines(const struct host *host, const struct sprout_zone *rows, size_t count)
{
    static char line[MAX_LINE];
    static size_t used;
    char bytes[MAX_LINE];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof(bytes));

    if (got <= 0)
        return got < 0 && errno == EINTR;
    for (ssize_t i = 0; i < got; i++) {
        if (bytes[i] != '\n') {
            if (used < sizeof(line) - 1)
                line[used++] = bytes[i];
            continue;
        }
        line[used] = '\0';
        used = 0;
        obey(host, rows, count, line);
    }
    return true;
}

static int serve(const struct host *host, const struct sprout_zone *rows, size_t count)
{
    struct pollfd polled[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                              {.fd = store_socket(), .events = POLLIN}};

    write_all(STDOUT_FILENO, "up\n", 3);
    for (;;) {
        if (poll(polled, 2, -1) < 0 && errno != EINTR)
            return 1;
        if (polled[0].revents && !take_lines(host, rows, count))
            return 0;
        /* What was watched may have come before the answer to something that was asked. */
        if (store_happened())
            look_for_ended(host);
        if (store_socket() < 0)
            return 1; /* no zone can be served without the store */
    }
}

int main(void)
{
    const struct sprout_zone *rows;
    struct host host = {.store = NULL};
    size_t count;

    if (!read_zones())
        return 1;
    count = zone_rows(&rows);
    host.xen = xc_interface_open(NULL, NULL, 0);
    if (!host.xen && !failed("the hypervisor does not answer"))
        return give_up();
    host.store = xs_open(0);
    if ((!host.store || !store_connect() || !store_watch("@releaseDomain")) &&
        !failed("xenstored does not answer"))
        return give_up();
    map_files(rows, count);
    adopt_domains(&host, rows, count);
    look_for_ended(&host);
    return serve(&host, rows, count);
}
