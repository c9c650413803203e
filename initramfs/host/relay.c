/* A zone's console as lines. Pure: no system calls. */
#include <string.h>

#include "host.h"

/* Gives the character that stands for a byte of a zone's, or NUL for none. A zone that moves the
 * cursor could make a line look as if the host had written it: nothing it writes leaves its line. */
static char shown(char byte)
{
    if ((byte >= ' ' && byte < 0x7f) || byte == '\t')
        return byte;
    return (unsigned char)byte >= 0x80 ? '?' : '\0';
}

/* What is too long for a line is cut; control characters are no part of one. */
void relay_bytes(struct relay *relay, const char *bytes, size_t size, relay_line *line,
                 void *context)
{
    for (size_t i = 0; i < size; i++) {
        char character = shown(bytes[i]);

        if (bytes[i] == '\n') {
            line(context, relay->text, relay->used);
            relay->used = 0;
        } else if (character && relay->used < sizeof(relay->text)) {
            relay->text[relay->used++] = character;
        }
    }
}

/* What was no whole line when the console ended. */
void relay_rest(struct relay *relay, relay_line *line, void *context)
{
    if (relay->used)
        line(context, relay->text, relay->used);
    relay->used = 0;
}

static const char *skip(const char *at, const char *end, const char *text)
{
    size_t length = strlen(text);

    if (!at || (size_t)(end - at) < length || memcmp(at, text, length) != 0)
        return NULL;
    return at + length;
}

/* Reads a zone's readiness line, which may be followed by spaces alone. */
bool parse_ready(const char *text, size_t size, struct sprout_ready *ready)
{
    const char *end = text + size;
    const char *at = skip(text, end, SPROUT_READY_HEAD);

#define FIELD(name)                        \
    at = skip(at, end, " " #name "=");     \
    if (at)                                \
        at = skip_decimal(at, end, &ready->name);
    SPROUT_READY_FIELDS(FIELD)
#undef FIELD
    if (!at)
        return false;
    while (at < end && *at == ' ')
        at++;
    return at == end && ready->init > 0 && ready->init <= ready->ready;
}
