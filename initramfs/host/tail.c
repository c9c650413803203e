/* The last that a tool wrote, for the case that it fails. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

/* Gives the end that the tool writes to, or -1 after it has said why there is none. */
int tail_open(struct tail *tail)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0) {
        say("pipe", errno);
        return -1;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    tail->pipe = ends[0];
    tail->used = 0;
    return ends[1];
}

/* Takes what there is; what does not fit pushes out what came first. */
void tail_read(struct tail *tail)
{
    char bytes[256];
    ssize_t got;

    while ((got = read(tail->pipe, bytes, sizeof(bytes))) > 0) {
        size_t added = (size_t)got, room = sizeof(tail->text) - tail->used;

        if (added > room) {
            tail->used -= added - room;
            memmove(tail->text, tail->text + (added - room), tail->used);
        }
        memcpy(tail->text + tail->used, bytes, added);
        tail->used += added;
    }
}

void tail_close(struct tail *tail)
{
    tail_read(tail);
    close(tail->pipe);
    tail->pipe = -1;
}

/* sprout-init: <tool>: <text> */
void say_of(const char *tool, const char *text)
{
    struct line line = {.used = 0};

    line_text(&line, tool);
    line_text(&line, ": ");
    line_text(&line, text);
    line.text[line.used] = '\0';
    say(line.text, 0);
}

/* sprout-init: zone <name><what>[: <why>] */
void say_zone(const char *zone, const char *what, const char *why)
{
    struct line line = {.used = 0};

    line_text(&line, "zone ");
    line_text(&line, zone);
    line_text(&line, what);
    line_text(&line, why ? ": " : "");
    line_text(&line, why ? why : "");
    line.text[line.used] = '\0';
    say(line.text, 0);
}

static void say_line(void *context, const char *text, size_t size)
{
    char words[400];

    if (size == 0)
        return;
    if (size > sizeof(words) - 1)
        size = sizeof(words) - 1;
    memcpy(words, text, size);
    words[size] = '\0';
    say_of(context, words);
}

/* sprout-init: <tool>: <line>, for each line. */
void tail_say(struct tail *tail, char *tool)
{
    static struct relay relay;

    relay_bytes(&relay, tail->text, tail->used, say_line, tool);
    relay_rest(&relay, say_line, tool);
}
