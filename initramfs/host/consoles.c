/* The zones' consoles: pseudo-terminals that xenconsoled makes, relayed a line at a time.
 *
 * What a zone wrote last is kept, at most KEPT bytes of it. A zone that writes without end is not
 * relayed without end: after ALLOWED bytes in a second its lines are kept alone, until the next.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

#define KEPT 4096
#define ALLOWED 16384
#define PERIOD_MS 1000

static struct console {
    int terminal;    /* -1 while there is none */
    uint64_t domain; /* whose it is */
    struct relay relay;
    char kept[KEPT]; /* whole lines */
    size_t used;
    int64_t since; /* when the period began, in ms */
    size_t relayed;
    bool quiet;
} consoles[SPROUT_ZONES_MAX];
static const struct sprout_zone *zones;
static size_t count;
static console_line *take;

void begin_consoles(const struct sprout_zone *rows, size_t rows_there, console_line *line)
{
    zones = rows;
    count = rows_there;
    take = line;
    for (size_t i = 0; i < count; i++)
        consoles[i].terminal = -1;
}

static bool is_attached(uint64_t domain)
{
    for (size_t i = 0; i < count; i++)
        if (consoles[i].terminal >= 0 && consoles[i].domain == domain)
            return true;
    return false;
}

static void attach(struct console *console, uint64_t domain)
{
    struct line path = store_path("/local/domain/", domain, "/console/tty");
    char tty[32];

    if (!store_read(path.text, tty, sizeof(tty)) || strncmp(tty, "/dev/pts/", 9) != 0)
        return;
    console->terminal = open(tty, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    console->domain = domain;
}

static struct console *without_terminal(const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(zones[i].name, name) == 0)
            return consoles[i].terminal < 0 ? &consoles[i] : NULL;
    return NULL;
}

/* Finds the domains of zones that have no console yet. */
void attach_consoles(void)
{
    static char names[4096];
    size_t size = store_list("/local/domain", names, sizeof(names));

    for (size_t at = 0; at < size;) {
        const char *end = memchr(names + at, '\0', size - at);
        uint64_t domain;

        if (!end)
            return;
        if (skip_decimal(names + at, end, &domain) == end && domain != 0 &&
            !is_attached(domain)) {
            struct line path = store_path("/local/domain/", domain, "/name");
            char name[sizeof(zones->name)];
            struct console *console = NULL;

            if (store_read(path.text, name, sizeof(name)))
                console = without_terminal(name);
            if (console)
                attach(console, domain);
        }
        at = (size_t)(end + 1 - names);
    }
}

bool has_console(size_t row)
{
    return consoles[row].terminal >= 0;
}

/* The oldest lines go first, a quarter of them at least: to move the others costs time. */
static void keep(struct console *console, const char *text, size_t size)
{
    size_t most = console->used + size + 1 > KEPT ? KEPT - KEPT / 4 : KEPT;

    if (size + 1 > most)
        most = KEPT;
    while (console->used + size + 1 > most) {
        const char *end = memchr(console->kept, '\n', console->used);
        size_t gone = end ? (size_t)(end + 1 - console->kept) : console->used;

        memmove(console->kept, console->kept + gone, console->used - gone);
        console->used -= gone;
    }
    memcpy(console->kept + console->used, text, size);
    console->used += size;
    console->kept[console->used++] = '\n';
}

static bool is_relayed(struct console *console, size_t size)
{
    int64_t now = now_ms();

    if (now - console->since >= PERIOD_MS) {
        console->since = now;
        console->relayed = 0;
        console->quiet = false;
    }
    /* As it is shown: "[NAME] " comes before it. */
    console->relayed += size + strlen(zones[console - consoles].name) + sizeof("[] ");
    return console->relayed <= ALLOWED;
}

static void relayed(void *context, const char *text, size_t size)
{
    static const char silence[] = "(it writes too much: the rest of this second is not shown)";
    struct console *console = context;
    size_t row = (size_t)(console - consoles);

    keep(console, text, size);
    if (is_relayed(console, size)) {
        take(row, text, size, true);
        return;
    }
    if (!console->quiet)
        take(row, silence, sizeof(silence) - 1, true);
    console->quiet = true;
    take(row, text, size, false);
}

size_t console_kept(size_t row, const char **text)
{
    *text = consoles[row].kept;
    return consoles[row].used;
}

/* What was no whole line is one now. */
void drop_console(size_t row)
{
    struct console *console = &consoles[row];

    if (console->terminal < 0)
        return;
    relay_rest(&console->relay, relayed, console);
    close(console->terminal);
    console->terminal = -1;
}

/* Takes what there is; xenconsoled closes its end when the domain is gone. */
void read_console(size_t row)
{
    struct console *console = &consoles[row];
    char bytes[1024];
    ssize_t got = console->terminal < 0 ? -1 : read(console->terminal, bytes, sizeof(bytes));

    if (got > 0)
        relay_bytes(&console->relay, bytes, (size_t)got, relayed, console);
    else if (console->terminal >= 0 && (got == 0 || (errno != EAGAIN && errno != EINTR)))
        drop_console(row);
}

size_t console_descriptors(int *descriptors, size_t most)
{
    size_t used = 0;

    for (size_t i = 0; i < count && used < most; i++)
        if (consoles[i].terminal >= 0)
            descriptors[used++] = consoles[i].terminal;
    return used;
}

bool console_readable(int descriptor)
{
    for (size_t i = 0; i < count; i++) {
        if (consoles[i].terminal == descriptor) {
            read_console(i);
            return true;
        }
    }
    return false;
}
