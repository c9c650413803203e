/* The pure parts of the zone's init on the host: one mode per part, input on standard input. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "zone.h"

/* Reads standard input into memory of exactly its size, so that ASan sees one byte too far. */
static uint8_t *read_input(size_t *size)
{
    static uint8_t buffer[1 << 16];
    uint8_t *exact;

    *size = fread(buffer, 1, sizeof(buffer), stdin);
    exact = malloc(*size ? *size : 1);
    if (!exact)
        abort();
    memcpy(exact, buffer, *size);
    return exact;
}

static void print_ready(char **numbers)
{
    struct sprout_ready ready;
    struct line line = {.used = 0};

#define READ(name) ready.name = strtoull(*numbers++, NULL, 10);
    SPROUT_READY_FIELDS(READ)
#undef READ
    format_ready(&line, &ready);
    fwrite(line.text, 1, line.used, stdout);
}

static void print_stamps(const uint8_t *input, size_t size)
{
    struct sprout_stamps stamps;

    if (decode_stamps(input, size, &stamps))
        printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", stamps.tsc_entry,
               stamps.tsc_handover, stamps.tsc_hz, stamps.bytes_copied);
    else
        printf("none\n");
}

/* Puts the input into one line, NUL-terminated, three times. */
static void print_line(const uint8_t *input, size_t size)
{
    struct line line = {.used = 0};
    char *text = strndup((const char *)input, size);

    for (int i = 0; i < 3; i++)
        line_text(&line, text);
    line_number(&line, UINT64_MAX);
    line_end(&line);
    fwrite(line.text, 1, line.used, stdout);
    free(text);
}

int main(int argc, char **argv)
{
    uint8_t *input;
    size_t size;

    if (argc == 9 && strcmp(argv[1], "ready") == 0) {
        print_ready(argv + 2);
        return 0;
    }
    if (argc != 2)
        return 2;
    input = read_input(&size);
    if (strcmp(argv[1], "cpuinfo") == 0)
        printf("%" PRIu64 "\n", cpuinfo_hz((const char *)input, size));
    else if (strcmp(argv[1], "words") == 0)
        printf("%zu\n", words_after_dashes((const char *)input, size));
    else if (strcmp(argv[1], "stamps") == 0)
        print_stamps(input, size);
    else if (strcmp(argv[1], "line") == 0)
        print_line(input, size);
    free(input);
    return 0;
}
