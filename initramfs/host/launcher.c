/* The launcher (initramfs/launch): told what to do, and heard, a line each. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host.h"

static char *words[] = {"/usr/sbin/launch", NULL};
static int channel = -1;
static struct relay heard;

/* Gives the launcher's process, or -1 after it has said why there is none. */
pid_t start_launcher(void)
{
    int ends[2];
    pid_t child;

    if (channel >= 0)
        close(channel);
    channel = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        say("socketpair", errno);
        return -1;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    child = start_program(words, ends[1]);
    close(ends[1]);
    channel = ends[0];
    heard.used = 0;
    return child;
}

int launcher_channel(void)
{
    return channel;
}

/* VERB ROW; a launcher that does not listen is ended by the host's init. */
bool tell_launcher(const char *verb, size_t row)
{
    struct line line = {.used = 0};

    line_text(&line, verb);
    line_text(&line, " ");
    line_number(&line, row);
    line_end(&line);
    return channel >= 0 && write_all(channel, line.text, line.used);
}

static const char *after_word(const char *text, const char *word)
{
    size_t length = strlen(word);

    return strncmp(text, word, length) == 0 ? text + length : NULL;
}

/* EVENT ROW REST; what is no event is said as it is. */
static void take_line(void *context, const char *text, size_t size)
{
    static const struct {
        const char *word;
        enum launcher_event event;
    } events[] = {{"started ", ZONE_STARTED},
                {"late ", ZONE_LATE},
                {"failed ", ZONE_FAILED},
                {"shutdown ", ZONE_SHUT_DOWN},
                {"ended ", ZONE_ENDED}};
    char line[sizeof(heard.text) + 1];
    const char *end = line + size, *at;
    uint64_t row;

    (void)context;
    memcpy(line, text, size);
    line[size] = '\0';
    if (strcmp(line, "up") == 0) {
        launcher_is_up();
        return;
    }
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        at = after_word(line, events[i].word);
        at = at ? skip_decimal(at, end, &row) : NULL;
        if (at && *at == ' ') {
            zone_event(events[i].event, row, at + 1);
            return;
        }
    }
    at = after_word(line, "memory ");
    at = at ? skip_decimal(at, end, &row) : NULL;
    if (at && *at == ' ')
        tell_memory(row, at + 1);
    else
        say_of("launch", line);
}

/* Takes what has come; false when the launcher has closed its end. */
bool hear_launcher(void)
{
    char bytes[512];
    ssize_t got;

    while ((got = recv(channel, bytes, sizeof(bytes), 0)) > 0)
        relay_bytes(&heard, bytes, (size_t)got, take_line, NULL);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    relay_rest(&heard, take_line, NULL);
    close(channel);
    channel = -1;
    return false;
}
