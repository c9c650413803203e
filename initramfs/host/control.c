/* What a supervisor may ask and hear: JSON lines on a socket of the host and on one channel that leads
 * out of the machine, where the image names it (SPROUT_CHANNEL=/dev/vport0p1 on the host's command
 * line: the kernel hands such a word to init).
 *
 *     list              one line for each zone, then {"done":"list"}
 *     start NAME        starts a zone that does not run
 *     stop NAME         asks a zone to end; it is not started again
 *     memory            an event with the hypervisor's free memory
 *     console NAME      the last that it wrote, a line each, then {"done":"console"}
 *
 * Everybody connected hears each zone's events. Who reads too slowly loses lines; nobody waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../common/ticks.h"
#include "host.h"

#define PATH "/run/sprout/control"
#define MOST_CLIENTS 4
#define MAX_REQUEST 64
/* A channel whose other end is closed is always readable; it is looked at so often. */
#define CHANNEL_MS 1000

struct client {
    int socket; /* -1: free */
    char request[MAX_REQUEST];
    size_t used;
};

static int listener = -1;
static struct client clients[MOST_CLIENTS + 1]; /* the last is the channel */
static int64_t channel_rests;                   /* until then, in ms */

static bool add(struct client *client, int descriptor)
{
    client->socket = descriptor;
    client->used = 0;
    return descriptor >= 0;
}

/* A host without it still starts its zones. */
void open_control(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = PATH};
    const char *channel = getenv("SPROUT_CHANNEL");

    for (size_t i = 0; i <= MOST_CLIENTS; i++)
        clients[i].socket = -1;
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        chmod(PATH, 0600) < 0 || listen(listener, MOST_CLIENTS) < 0)
        say(PATH, errno);
    if (channel && !add(&clients[MOST_CLIENTS],
                        open(channel, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)))
        say(channel, errno);
}

size_t control_descriptors(int *descriptors, size_t most)
{
    size_t used = 0;

    if (listener >= 0 && used < most)
        descriptors[used++] = listener;
    for (size_t i = 0; i <= MOST_CLIENTS && used < most; i++)
        if (clients[i].socket >= 0 && (i < MOST_CLIENTS || now_ms() >= channel_rests))
            descriptors[used++] = clients[i].socket;
    return used;
}

/* Gives how long the channel rests, in ms; -1: it does not. */
int64_t control_next_ms(int64_t now)
{
    return clients[MOST_CLIENTS].socket >= 0 && channel_rests > now ? channel_rests - now : -1;
}

static void drop(struct client *client)
{
    close(client->socket);
    client->socket = -1;
}

static void send_line(struct client *client, struct line *line)
{
    line_end(line);
    if (write(client->socket, line->text, line->used) < 0 && errno != EAGAIN && errno != EINTR)
        drop(client);
}

/* What is shown of a zone's own words has no control characters; quotes and backslashes are marked. */
static void quoted(struct line *line, const char *text, size_t size)
{
    line_text(line, "\"");
    for (size_t i = 0; i < size; i++) {
        const char letter[] = {text[i], '\0'};

        if (text[i] == '"' || text[i] == '\\')
            line_text(line, "\\");
        line_text(line, text[i] == '\t' ? " " : letter);
    }
    line_text(line, "\"");
}

static void field(struct line *line, const char *name, const char *value)
{
    line_text(line, line->used > 1 ? ",\"" : "\"");
    line_text(line, name);
    line_text(line, "\":");
    quoted(line, value, strlen(value));
}

static void done(struct client *client, const char *what)
{
    struct line line = {.text = "{", .used = 1};

    field(&line, "done", what);
    line_text(&line, "}");
    send_line(client, &line);
}

static void refuse(struct client *client, const char *why)
{
    struct line line = {.text = "{", .used = 1};

    field(&line, "error", why);
    line_text(&line, "}");
    send_line(client, &line);
}

static struct line described(const char *key, const char *word, const char *zone, const char *why)
{
    struct line line = {.text = "{", .used = 1};

    field(&line, "zone", zone);
    field(&line, key, word);
    if (why && *why)
        field(&line, "why", why);
    line_text(&line, ",\"ticks\":");
    line_number(&line, ticks());
    line_text(&line, "}");
    return line;
}

/* {"zone":NAME,"event":EVENT[,"why":WHY],"ticks":N} to everybody. */
void tell_event(const char *event, const char *zone, const char *why)
{
    for (size_t i = 0; i <= MOST_CLIENTS; i++) {
        if (clients[i].socket >= 0) {
            struct line line = described("event", event, zone, why);

            send_line(&clients[i], &line);
        }
    }
}

/* {"event":"memory","free_kib":N,"total_kib":N}: the hypervisor's, to everybody. */
void tell_memory(uint64_t free_kib, const char *total_kib)
{
    uint64_t total = 0;

    skip_decimal(total_kib, total_kib + strlen(total_kib), &total);
    for (size_t i = 0; i <= MOST_CLIENTS; i++) {
        struct line line = {.text = "{", .used = 1};

        if (clients[i].socket < 0)
            continue;
        field(&line, "event", "memory");
        line_text(&line, ",\"free_kib\":");
        line_number(&line, free_kib);
        line_text(&line, ",\"total_kib\":");
        line_number(&line, total);
        line_text(&line, "}");
        send_line(&clients[i], &line);
    }
}

static void list(struct client *client)
{
    const struct sprout_zone *rows;
    size_t count = zone_rows(&rows);

    for (size_t i = 0; i < count && client->socket >= 0; i++) {
        struct line line = described("state", zone_state(i), rows[i].name, zone_why(i));

        send_line(client, &line);
    }
    if (client->socket >= 0)
        done(client, "list");
}

static void show_console(struct client *client, size_t row)
{
    const char *text;
    size_t size = console_kept(row, &text);

    while (size > 0 && client->socket >= 0) {
        const char *end = memchr(text, '\n', size);
        size_t length = end ? (size_t)(end - text) : size;
        struct line line = {.text = "{", .used = 1};

        line_text(&line, "\"line\":");
        /* A line of a zone fits, with each letter marked, but for the longest. */
        quoted(&line, text, length < 200 ? length : 200);
        line_text(&line, "}");
        send_line(client, &line);
        text += end ? length + 1 : length;
        size -= end ? length + 1 : length;
    }
    if (client->socket >= 0)
        done(client, "console");
}

static bool row_named(const char *name, size_t *row)
{
    const struct sprout_zone *rows;
    size_t count = zone_rows(&rows);

    for (*row = 0; *row < count; (*row)++)
        if (strcmp(rows[*row].name, name) == 0)
            return true;
    return false;
}

static void obey(struct client *client, const char *request)
{
    char *name = strchr(request, ' ');
    size_t row;

    if (strcmp(request, "list") == 0) {
        list(client);
        return;
    }
    if (strcmp(request, "memory") == 0) {
        tell_launcher("memory", 0);
        return;
    }
    if (!name) {
        refuse(client, "write list, memory, or start, stop or console and a zone");
        return;
    }
    if (!row_named(name + 1, &row)) {
        refuse(client, "there is no such zone");
        return;
    }
    if (strncmp(request, "start ", 6) == 0) {
        if (want_zone(row))
            done(client, "start");
        else
            refuse(client, "it runs already");
    } else if (strncmp(request, "stop ", 5) == 0) {
        if (stop_zone(row))
            done(client, "stop");
        else
            refuse(client, "it does not run");
    } else if (strncmp(request, "console ", 8) == 0) {
        show_console(client, row);
    } else {
        refuse(client, "write list, memory, or start, stop or console and a zone");
    }
}

static void take_client(struct client *client)
{
    char bytes[MAX_REQUEST];
    ssize_t got = read(client->socket, bytes, sizeof(bytes));

    if (got == 0 && client == &clients[MOST_CLIENTS]) {
        channel_rests = now_ms() + CHANNEL_MS;
        return;
    }
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        drop(client);
        return;
    }
    for (ssize_t i = 0; i < got && client->socket >= 0; i++) {
        if (bytes[i] != '\n') {
            if (client->used < sizeof(client->request) - 1)
                client->request[client->used++] = bytes[i];
            continue;
        }
        client->request[client->used] = '\0';
        client->used = 0;
        obey(client, client->request);
    }
}

static void accept_client(void)
{
    int descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    for (size_t i = 0; i < MOST_CLIENTS && descriptor >= 0; i++) {
        if (clients[i].socket < 0) {
            add(&clients[i], descriptor);
            return;
        }
    }
    if (descriptor >= 0)
        close(descriptor);
}

bool control_readable(int descriptor)
{
    if (descriptor == listener) {
        accept_client();
        return true;
    }
    for (size_t i = 0; i <= MOST_CLIENTS; i++) {
        if (clients[i].socket == descriptor) {
            take_client(&clients[i]);
            return true;
        }
    }
    return false;
}
