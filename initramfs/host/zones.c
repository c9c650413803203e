/* The zones: each is started by xl in its turn, and its console relayed.
 *
 * Here is what happens to a zone; supervise.c waits, and tells of it. A zone that does not start
 * is no reason not to start the next.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../common/ticks.h"
#include "host.h"

#define CREATE_LIMIT_MS 60000
#define CONSOLE_LIMIT_MS 5000
#define READY_LIMIT_MS 60000
#define ATTACH_RETRY_MS 2

enum state { WAITING, STARTING, STARTED, FAILED };

struct zone {
    const struct sprout_zone *row;
    enum state state;
    pid_t tool;       /* xl, while it starts the zone */
    int console;      /* -1 while there is none */
    bool attaching;   /* its domain is there, its console not yet */
    bool had_console; /* ... before */
    bool was_ready;
    bool announced;
    int64_t deadline; /* of what is waited for, in ms; 0: of nothing */
    struct sprout_zone_ready ready;
    struct relay relay;
};

static struct zone zones[SPROUT_ZONES_MAX];
static size_t count;
static bool stopping;
static bool host_announced;

static struct tail last = {.pipe = -1}; /* what xl wrote */

/* sprout-init: zone <name><what>[: <why>] */
void say_zone(const char *zone, const char *what, int error)
{
    struct line line = {.used = 0};

    line_text(&line, "zone ");
    line_text(&line, zone);
    line_text(&line, what);
    line.text[line.used] = '\0';
    say(line.text, error);
}

void begin_zones(void)
{
    const struct sprout_zone *rows;

    count = zone_rows(&rows);
    for (size_t i = 0; i < count; i++)
        zones[i] = (struct zone){.row = &rows[i], .console = -1};
}

/* Has the store tell of every domain that comes, so that no zone's first words are late. */
static void watch_domains(void)
{
    static bool watching;

    if (!watching && !store_watch("@introduceDomain"))
        say("xenstored does not answer", 0);
    watching = true;
}

static bool write_config(const struct zone *zone, char *path, size_t size)
{
    static struct config config;
    struct line name = {.used = 0};
    int file;
    bool written;

    line_text(&name, "/run/sprout/");
    line_text(&name, zone->row->name);
    line_text(&name, ".cfg");
    if (name.used >= size)
        return false;
    memcpy(path, name.text, name.used);
    path[name.used] = '\0';
    format_config(&config, zone->row);
    if (config.full) {
        errno = E2BIG;
        return false;
    }
    file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0)
        return false;
    written = write_all(file, config.text, config.used);
    return close(file) == 0 && written;
}

static void start_zone(struct zone *zone)
{
    char path[64];
    char *words[] = {"/usr/sbin/xl", "create", path, NULL};
    int output;

    zone->state = FAILED;
    if (!write_config(zone, path, sizeof(path))) {
        say_zone(zone->row->name, "", errno);
        return;
    }
    output = tail_open(&last);
    if (output < 0)
        return;
    watch_domains();
    zone->ready.create = ticks();
    zone->tool = start_program(words, output);
    close(output);
    if (zone->tool < 0) {
        tail_close(&last);
        return;
    }
    zone->state = STARTING;
    zone->deadline = now_ms() + CREATE_LIMIT_MS;
}

static void announce_if_ready(struct zone *zone)
{
    if (!zone->was_ready || zone->announced || zone->state != STARTED)
        return;
    zone->announced = true;
    zone->deadline = 0;
    announce_zone(zone->row->name, &zone->ready);
}

/* Takes the end of a child; false when it was no zone's tool. */
bool zone_tool_ended(pid_t child, int wait_status)
{
    for (size_t i = 0; i < count; i++) {
        struct zone *zone = &zones[i];

        if (zone->state != STARTING || zone->tool != child)
            continue;
        zone->ready.unpaused = ticks();
        zone->tool = 0;
        tail_close(&last);
        if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) {
            zone->state = STARTED;
            if (zone->console < 0)
                zone->attaching = true;
            zone->deadline = now_ms() + (zone->console < 0 ? CONSOLE_LIMIT_MS : READY_LIMIT_MS);
            announce_if_ready(zone);
            return true;
        }
        zone->state = FAILED;
        zone->deadline = 0;
        if (!stopping) {
            say_zone(zone->row->name, " did not start", 0);
            say_ended("xl", wait_status);
            tail_say(&last, "xl");
        }
        return true;
    }
    return false;
}

static struct zone *zone_named(const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(zones[i].row->name, name) == 0)
            return &zones[i];
    return NULL;
}

static void attach(struct zone *zone, uint64_t domain)
{
    struct line path = store_path("/local/domain/", domain, "/console/tty");
    char tty[32];

    zone->attaching = true;
    if (!store_read(path.text, tty, sizeof(tty)) || strncmp(tty, "/dev/pts/", 9) != 0)
        return;
    zone->console = open(tty, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (zone->console < 0)
        return;
    zone->attaching = false;
    if (zone->had_console)
        say_zone(zone->row->name, " was started again", 0);
    zone->had_console = true;
    if (zone->state == STARTED && zone->deadline)
        zone->deadline = now_ms() + READY_LIMIT_MS;
}

/* Finds the domains of zones that have no console yet. */
static void attach_consoles(void)
{
    static char names[2048];
    size_t size = store_list("/local/domain", names, sizeof(names));

    for (size_t at = 0; at < size;) {
        const char *end = memchr(names + at, '\0', size - at);
        uint64_t domain;

        if (!end)
            return;
        if (skip_decimal(names + at, end, &domain) == end && domain != 0) {
            struct line path = store_path("/local/domain/", domain, "/name");
            char name[sizeof(((struct sprout_zone *)0)->name)];
            struct zone *zone = NULL;

            if (store_read(path.text, name, sizeof(name)))
                zone = zone_named(name);
            if (zone && zone->console < 0 && zone->state != WAITING)
                attach(zone, domain);
        }
        at = (size_t)(end + 1 - names);
    }
}

static void zone_line(void *context, const char *text, size_t size)
{
    uint64_t now = ticks();
    struct zone *zone = context;
    struct line line = {.used = 0};
    struct sprout_ready ready;

    line_text(&line, "[");
    line_text(&line, zone->row->name);
    line_text(&line, "] ");
    if (size > sizeof(line.text) - 1 - line.used)
        size = sizeof(line.text) - 1 - line.used;
    memcpy(line.text + line.used, text, size);
    line.used += size;
    line_end(&line);
    write_all(STDOUT_FILENO, line.text, line.used);
    if (zone->was_ready || !parse_ready(text, size, &ready))
        return;
    zone->was_ready = true;
    zone->ready.ready = now;
    zone->ready.free = ready.free;
    zone->ready.init = now - in_host_ticks(ready.ready - ready.init, ready.hz, host_hz());
    if (zone->ready.init > now || zone->ready.init < zone->ready.create)
        zone->ready.init = zone->ready.create;
    announce_if_ready(zone);
}

static void read_console(struct zone *zone)
{
    char bytes[1024];
    ssize_t got = read(zone->console, bytes, sizeof(bytes));

    if (got > 0) {
        relay_bytes(&zone->relay, bytes, (size_t)got, zone_line, zone);
        return;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    /* The server of consoles closes it when the domain is gone. */
    relay_rest(&zone->relay, zone_line, zone);
    close(zone->console);
    zone->console = -1;
    zone->deadline = 0;
    if (!stopping)
        say_zone(zone->row->name, zone->announced ? " ended" : " ended before it was ready", 0);
}

/* Gives what to wait for, at most `most`. */
size_t zone_descriptors(int *descriptors, size_t most)
{
    size_t used = 0;

    if (last.pipe >= 0 && used < most)
        descriptors[used++] = last.pipe;
    if (store_socket() >= 0 && used < most)
        descriptors[used++] = store_socket();
    for (size_t i = 0; i < count && used < most; i++)
        if (zones[i].console >= 0)
            descriptors[used++] = zones[i].console;
    return used;
}

void zone_readable(int descriptor)
{
    if (descriptor == last.pipe) {
        tail_read(&last);
    } else if (descriptor == store_socket()) {
        if (store_happened())
            attach_consoles();
    } else {
        for (size_t i = 0; i < count; i++)
            if (zones[i].console == descriptor)
                read_console(&zones[i]);
    }
}

static void take_too_long(struct zone *zone)
{
    zone->deadline = 0;
    if (zone->state == STARTING) {
        say_zone(zone->row->name, ": xl has not ended after 60 s: killed", 0);
        kill(zone->tool, SIGKILL);
    } else if (zone->attaching) {
        zone->attaching = false;
        say_zone(zone->row->name, ": its console is not there after 5 s", 0);
    } else {
        say_zone(zone->row->name, " is not ready after 60 s", 0);
    }
}

/* Does what is due: looks for consoles, starts the next zone, tells that all are ready. */
void zones_progress(void)
{
    int64_t now = now_ms();
    bool starting = false, looking = false;
    size_t announced = 0;

    for (size_t i = 0; i < count; i++) {
        looking = looking || zones[i].attaching;
        if (zones[i].deadline && zones[i].deadline <= now)
            take_too_long(&zones[i]);
    }
    if (looking)
        attach_consoles();
    for (size_t i = 0; i < count; i++) {
        if (zones[i].state == WAITING && !starting && !stopping)
            start_zone(&zones[i]);
        starting = starting || zones[i].state == STARTING;
        announced += zones[i].announced;
    }
    if (announced == count && !host_announced && !stopping) {
        host_announced = true;
        announce_host();
    }
}

/* Gives how long nothing is due, in ms; -1: nothing ever is. */
int64_t zones_next_ms(int64_t now)
{
    int64_t next = -1;

    for (size_t i = 0; i < count; i++) {
        int64_t due = zones[i].deadline ? zones[i].deadline - now : -1;

        if (zones[i].attaching)
            due = ATTACH_RETRY_MS;
        if (due >= 0 && (next < 0 || due < next))
            next = due;
    }
    return next;
}

bool zones_running(void)
{
    for (size_t i = 0; i < count; i++)
        if (zones[i].console >= 0)
            return true;
    return false;
}

/* No zone is started any more, and none is missed when it ends. */
void stop_starting_zones(void)
{
    stopping = true;
    for (size_t i = 0; i < count; i++) {
        zones[i].deadline = 0;
        zones[i].attaching = false;
        if (zones[i].state == STARTING)
            kill(zones[i].tool, SIGKILL);
    }
}
