/* The life of the zones: each is started in its turn, has to become ready, and ends.
 *
 * The launcher does what is done to a domain; supervise.c waits, and tells of it. A zone that does not
 * start is no reason not to start the next.
 */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../common/ticks.h"
#include "host.h"

#define CREATE_LIMIT_MS 60000
/* xenconsoled says where a console is a little after the domain is there, and nobody tells of it. */
#define CONSOLE_RETRY_MS 2
/* What a zone wrote last is on its way when its domain has shut down. */
#define LAST_WORDS_MS 50
#define END_LIMIT_MS 30000
#define FIRST_DELAY_MS 1000
#define LONGEST_DELAY_MS 60000
/* A disk that the host's kernel has not found yet is waited for. */
#define LATE_MS 5000
#define LATE_RETRY_MS 20
/* A zone that ran so long has started well: the next delay is the first again. */
#define RAN_WELL_MS 60000

enum state { WAITING, STARTING, RUNNING, SHUT_DOWN, ENDED };

struct zone {
    const struct sprout_zone *row;
    enum state state;
    pid_t tool;       /* xl, while it starts the zone */
    int64_t deadline; /* of what is waited for, in ms; 0: of nothing */
    int64_t since;    /* when it was started, in ms */
    int64_t late;     /* until when a disk of it is waited for, in ms; 0: none is */
    unsigned failures;
    bool was_ready;
    bool announced;
    bool stopped; /* it is not to be started again */
    bool failed;  /* its program did */
    char why[64];
    struct sprout_zone_ready ready;
};

static struct zone zones[SPROUT_ZONES_MAX];
static size_t count;
static bool up;
static bool stopping;
static bool host_announced;

static struct tail last = {.pipe = -1}; /* what xl wrote */

static void zone_line(size_t row, const char *text, size_t size, bool shown);

static size_t row_of(const struct zone *zone)
{
    return (size_t)(zone - zones);
}

void begin_zones(void)
{
    const struct sprout_zone *rows;

    count = zone_rows(&rows);
    for (size_t i = 0; i < count; i++)
        zones[i] = (struct zone){.row = &rows[i]};
    begin_consoles(rows, count, zone_line);
}

/* The store tells of every domain that comes, so that no zone's first words are late. */
void launcher_is_up(void)
{
    static bool watching;

    if (!watching && !store_watch("@introduceDomain"))
        say("xenstored does not answer", 0);
    watching = true;
    if (!up)
        services_are_up();
    up = true;
}

static int64_t delay_of(struct zone *zone, int64_t now)
{
    int64_t delay = FIRST_DELAY_MS;

    if (zone->was_ready && now - zone->since >= RAN_WELL_MS)
        zone->failures = 0;
    for (unsigned i = 0; i < zone->failures && delay < LONGEST_DELAY_MS; i++)
        delay *= 2;
    zone->failures++;
    return delay < LONGEST_DELAY_MS ? delay : LONGEST_DELAY_MS;
}

static void remember_why(struct zone *zone, const char *why)
{
    size_t length = strnlen(why, sizeof(zone->why) - 1);

    memcpy(zone->why, why, length);
    zone->why[length] = '\0';
}

static void fail(struct zone *zone, const char *why)
{
    int64_t now = now_ms();

    zone->state = ENDED;
    zone->late = 0;
    zone->deadline = 0;
    remember_why(zone, why ? why : "");
    tell_event("failed", zone->row->name, zone->why);
    if (stopping)
        return;
    say_zone(zone->row->name, " did not start", why);
    if (!zone->stopped && zone->row->restart != SPROUT_RESTART_NEVER) {
        zone->state = WAITING;
        zone->deadline = now + delay_of(zone, now);
    }
}

/* Others are started meanwhile. */
static void is_late(struct zone *zone, const char *why)
{
    int64_t now = now_ms();

    if (!zone->late)
        zone->late = now + LATE_MS;
    if (zone->stopped || stopping || now >= zone->late) {
        fail(zone, why);
        return;
    }
    zone->state = WAITING;
    zone->deadline = now + LATE_RETRY_MS;
}

static void start_zone(struct zone *zone)
{
    int output;

    zone->state = STARTING;
    zone->since = now_ms();
    zone->deadline = zone->since + CREATE_LIMIT_MS;
    zone->was_ready = false;
    zone->failed = false;
    zone->why[0] = '\0';
    memset(&zone->ready, 0, sizeof(zone->ready));
    zone->ready.create = ticks();
    if (!zone->late)
        tell_event("starting", zone->row->name, NULL);
    if (!(zone->row->flags & SPROUT_ZONE_BY_XL)) {
        if (!tell_launcher("start", row_of(zone)))
            fail(zone, "the launcher does not listen");
        return;
    }
    output = tail_open(&last);
    zone->tool = output < 0 ? -1 : start_by_xl(zone->row, output);
    if (output >= 0)
        close(output);
    if (zone->tool < 0)
        fail(zone, NULL);
}

static void announce_if_ready(struct zone *zone)
{
    if (!zone->was_ready || zone->state != RUNNING)
        return;
    if (!zone->stopped)
        zone->deadline = 0;
    tell_event("ready", zone->row->name, NULL);
    if (zone->announced)
        return;
    zone->announced = true;
    announce_zone(zone->row->name, &zone->ready);
}

static void runs(struct zone *zone, uint64_t unpaused)
{
    zone->state = RUNNING;
    zone->late = 0;
    zone->ready.unpaused = unpaused;
    zone->deadline = zone->since + (int64_t)zone->row->ready_s * 1000;
    tell_event("started", zone->row->name, NULL);
    announce_if_ready(zone);
}

/* Takes the end of a child; false when it was no zone's tool. */
bool zone_tool_ended(pid_t child, int wait_status)
{
    for (size_t i = 0; i < count; i++) {
        struct zone *zone = &zones[i];

        if (zone->state != STARTING || zone->tool != child)
            continue;
        zone->tool = 0;
        tail_close(&last);
        if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) {
            runs(zone, ticks());
            tell_launcher("adopt", i);
            return true;
        }
        fail(zone, NULL);
        if (!stopping) {
            say_ended("xl", wait_status);
            tail_say(&last, "xl");
        }
        return true;
    }
    return false;
}

static bool is_to_restart(const struct zone *zone)
{
    if (stopping || zone->stopped)
        return false;
    if (strcmp(zone->why, "reboot") == 0)
        return true;
    if (zone->row->restart == SPROUT_RESTART_ALWAYS)
        return true;
    return zone->row->restart == SPROUT_RESTART_ON_FAILURE && strcmp(zone->why, "poweroff") != 0;
}

static void has_ended(struct zone *zone)
{
    int64_t now = now_ms();

    drop_console(row_of(zone));
    if (zone->failed && strcmp(zone->why, "poweroff") == 0)
        remember_why(zone, "failed");
    zone->state = ENDED;
    zone->deadline = 0;
    tell_event("ended", zone->row->name, zone->why);
    if (!stopping)
        say_zone(zone->row->name, zone->was_ready ? " ended" : " ended before it was ready",
                 zone->why);
    if (!is_to_restart(zone))
        return;
    zone->state = WAITING;
    /* One that has run well and asks for it starts again at once. */
    if (strcmp(zone->why, "reboot") != 0 || !zone->was_ready || now - zone->since < RAN_WELL_MS)
        zone->deadline = now + delay_of(zone, now);
}

/* Nobody makes the zone any more that was being made. */
void launcher_is_gone(void)
{
    up = false;
    for (size_t i = 0; i < count; i++)
        if (zones[i].state == STARTING && !zones[i].tool)
            fail(&zones[i], "the launcher ended");
}

/* What the launcher tells of a row. */
void zone_event(enum launcher_event event, uint64_t row, const char *rest)
{
    struct zone *zone = row < count ? &zones[row] : NULL;
    uint64_t when;

    if (!zone)
        return;
    switch (event) {
    case ZONE_STARTED:
        if (zone->state == STARTING && !zone->tool)
            runs(zone, skip_decimal(rest, rest + strlen(rest), &when) ? when : ticks());
        break;
    case ZONE_LATE:
        if (zone->state == STARTING)
            is_late(zone, rest);
        break;
    case ZONE_FAILED:
        if (zone->state == STARTING)
            fail(zone, rest);
        break;
    case ZONE_SHUT_DOWN:
        remember_why(zone, rest);
        zone->state = SHUT_DOWN;
        zone->deadline = now_ms() + LAST_WORDS_MS;
        break;
    case ZONE_ENDED:
        if (zone->state != SHUT_DOWN)
            remember_why(zone, rest);
        has_ended(zone);
        break;
    }
}

static void show_line(const struct zone *zone, const char *text, size_t size)
{
    struct line line = {.used = 0};

    line_text(&line, "[");
    line_text(&line, zone->row->name);
    line_text(&line, "] ");
    if (size > sizeof(line.text) - 1 - line.used)
        size = sizeof(line.text) - 1 - line.used;
    memcpy(line.text + line.used, text, size);
    line.used += size;
    line_end(&line);
    write_all(STDOUT_FILENO, line.text, line.used);
}

/* What a zone's init says before it ends (zone/supervise.c). */
static bool is_failure(const char *text, size_t size)
{
    static const char said[] = SPROUT_FAILED;

    return size == sizeof(said) - 1 && memcmp(text, said, size) == 0;
}

static void zone_line(size_t row, const char *text, size_t size, bool shown)
{
    uint64_t now = ticks();
    struct zone *zone = &zones[row];
    struct sprout_ready ready;

    if (shown)
        show_line(zone, text, size);
    zone->failed = zone->failed || is_failure(text, size);
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

static void take_too_long(struct zone *zone)
{
    zone->deadline = 0;
    switch (zone->state) {
    case STARTING:
        if (zone->tool > 0)
            kill(zone->tool, SIGKILL);
        else
            end_launcher();
        fail(zone, "it took more than 60 s");
        break;
    case RUNNING:
        say_zone(zone->row->name,
                 zone->stopped ? " has not ended in 30 s: it is ended now"
                               : " is not ready in time: it is ended",
                 NULL);
        tell_launcher("kill", row_of(zone));
        break;
    case SHUT_DOWN:
        read_console(row_of(zone));
        tell_launcher("kill", row_of(zone));
        break;
    default:
        break;
    }
}

/* Those that it comes after are ready, or were. */
static bool may_start(const struct zone *zone, int64_t now)
{
    for (size_t i = 0; i < count; i++)
        if (zone->row->after >> i & 1 && !zones[i].announced)
            return false;
    return zone->deadline <= now;
}

static bool wants_console(const struct zone *zone)
{
    return zone->state == RUNNING && !zone->was_ready && !has_console(row_of(zone));
}

/* Of those that may start, the one that has waited longest; of those alike, the first. */
static void start_next(int64_t now)
{
    struct zone *next = NULL;

    for (;;) {
        for (size_t i = 0; i < count; i++)
            if (zones[i].state == WAITING && may_start(&zones[i], now) &&
                (!next || zones[i].deadline < next->deadline))
                next = &zones[i];
        if (!next)
            return;
        start_zone(next);
        if (next->state == STARTING)
            return;
        next = NULL; /* it has failed at once: another one may start */
    }
}

/* Does what is due: starts the next zone, tells that all are ready. */
void zones_progress(void)
{
    int64_t now = now_ms();
    bool starting = false, looking = false;
    size_t announced = 0;

    for (size_t i = 0; i < count; i++) {
        looking = looking || wants_console(&zones[i]);
        if (zones[i].deadline && zones[i].deadline <= now && zones[i].state != WAITING)
            take_too_long(&zones[i]);
        starting = starting || zones[i].state == STARTING;
    }
    if (looking)
        attach_consoles();
    if (up && !stopping && !starting)
        start_next(now);
    for (size_t i = 0; i < count; i++)
        announced += zones[i].announced;
    if (up && announced == count && !host_announced && !stopping) {
        host_announced = true;
        announce_host();
    }
}

/* Gives how long nothing is due, in ms; -1: nothing ever is. */
int64_t zones_next_ms(int64_t now)
{
    int64_t next = -1;

    for (size_t i = 0; i < count; i++) {
        int64_t due = zones[i].deadline - now;

        if (wants_console(&zones[i]))
            return CONSOLE_RETRY_MS;
        /* One that only waits for others is started when they are ready. */
        if (zones[i].deadline == 0 || (zones[i].state == WAITING && due <= 0))
            continue;
        if (due < 0)
            due = 0;
        if (next < 0 || due < next)
            next = due;
    }
    return next;
}

bool zones_running(void)
{
    for (size_t i = 0; i < count; i++)
        if (zones[i].state != WAITING && zones[i].state != ENDED)
            return true;
    return false;
}

/* All that run are asked to end; none is started any more, and none is missed when it ends. */
void stop_zones(void)
{
    stopping = true;
    for (size_t i = 0; i < count; i++) {
        zones[i].deadline = 0;
        if (zones[i].state == STARTING && zones[i].tool > 0)
            kill(zones[i].tool, SIGKILL);
        if (zones[i].state == RUNNING || zones[i].state == STARTING)
            tell_launcher("stop", i);
        if (zones[i].state == SHUT_DOWN)
            tell_launcher("kill", i);
    }
}

const char *zone_state(size_t row)
{
    static const char *const words[] = {"waiting", "starting", "running", "shut down", "ended"};
    const struct zone *zone = &zones[row];

    return zone->state == RUNNING && zone->was_ready ? "ready" : words[zone->state];
}

/* Why it ended, or did not start; empty while it has not. */
const char *zone_why(size_t row)
{
    return zones[row].why;
}

/* False where the zone runs. */
bool want_zone(size_t row)
{
    struct zone *zone = &zones[row];

    if (zone->state != ENDED && zone->state != WAITING)
        return false;
    zone->state = WAITING;
    zone->deadline = 0;
    zone->late = 0;
    zone->stopped = false;
    zone->failures = 0;
    return true;
}

/* False where the zone does not run, nor is to be started again. */
bool stop_zone(size_t row)
{
    struct zone *zone = &zones[row];

    if (zone->state == ENDED)
        return false;
    zone->stopped = true;
    if (zone->state == WAITING) {
        zone->state = ENDED;
        zone->deadline = 0;
    } else {
        tell_launcher("stop", row);
        if (zone->state == RUNNING)
            zone->deadline = now_ms() + END_LIMIT_MS;
    }
    return true;
}
