/* Text without the C library's printf, which would be half of this program. Pure: no system calls. */
#include <string.h>

#include "init.h"

void line_text(struct line *line, const char *text)
{
    size_t room = sizeof(line->text) - 1 - line->used;
    size_t length = strnlen(text, room);

    memcpy(line->text + line->used, text, length);
    line->used += length;
}

void line_number(struct line *line, uint64_t number)
{
    char digits[21]; /* 2^64 - 1 has 20 */
    size_t at = sizeof(digits) - 1;

    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    line_text(line, digits + at);
}

/* Ends the line; one byte was kept free for this. Control bytes from outside become '?'. */
void line_end(struct line *line)
{
    for (size_t i = 0; i < line->used; i++) {
        unsigned char byte = (unsigned char)line->text[i];

        if (byte < 0x20 || byte == 0x7f)
            line->text[i] = '?';
    }
    line->text[line->used++] = '\n';
}

/* Reads decimal digits; gives where they end, or NULL where there are none or too many. */
const char *skip_decimal(const char *at, const char *end, uint64_t *number)
{
    const char *start = at;
    uint64_t value = 0;

    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return NULL;
    }
    *number = value;
    return at == start ? NULL : at;
}
