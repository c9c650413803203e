/* The pure parts of the host's init on the host: one mode per part, input on standard input. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

/* Reads standard input into memory of exactly its size, so that ASan sees one byte too far. */
static uint8_t *read_input(size_t *size)
{
    static uint8_t buffer[1 << 18];
    uint8_t *exact;

    *size = fread(buffer, 1, sizeof(buffer), stdin);
    exact = malloc(*size ? *size : 1);
    if (!exact)
        abort();
    memcpy(exact, buffer, *size);
    return exact;
}

static void print_zones(const uint8_t *input, size_t size)
{
    const char *problem = zones_problem(input, size);

    printf("%s\n", problem ? problem : "good");
}

static void print_config(const uint8_t *input, size_t size)
{
    static struct config config;
    struct sprout_zone row;

    if (zones_problem(input, size) || size < sizeof(struct sprout_zones) + sizeof(row))
        return;
    memcpy(&row, input + sizeof(struct sprout_zones), sizeof(row));
    format_config(&config, &row);
    if (config.full)
        printf("full\n");
    else
        fwrite(config.text, 1, config.used, stdout);
}

static void print_line(void *context, const char *text, size_t size)
{
    struct sprout_ready ready;
    int *lines = context;

    printf("%d%s:", ++*lines, parse_ready(text, size, &ready) ? " ready" : "");
    fwrite(text, 1, size, stdout);
    printf("\n");
}

/* In pieces of seven bytes. */
static void print_relay(const uint8_t *input, size_t size)
{
    static struct relay relay;
    int lines = 0;

    for (size_t at = 0; at < size; at += 7)
        relay_bytes(&relay, (const char *)input + at, size - at < 7 ? size - at : 7, print_line,
                    &lines);
    relay_rest(&relay, print_line, &lines);
}

static uint64_t word(char **words, int index)
{
    return strtoull(words[index], NULL, 10);
}

static int print_numbers(int count, char **words)
{
    struct line line = {.used = 0};

    if (strcmp(words[0], "ticks") == 0 && count == 4)
        printf("%" PRIu64 "\n", in_host_ticks(word(words, 1), word(words, 2), word(words, 3)));
    else if (strcmp(words[0], "nanoseconds") == 0 && count == 4)
        printf("%" PRIu64 "\n",
               nanoseconds_in_ticks(word(words, 1), word(words, 2), word(words, 3)));
    else if (strcmp(words[0], "host") == 0 && count == 10) {
        struct sprout_host_ready ready;

        words++;
#define READ(name) ready.name = strtoull(*words++, NULL, 10);
        SPROUT_HOST_READY_FIELDS(READ)
        format_host_ready(&line, &ready);
    } else if (strcmp(words[0], "zone") == 0 && count == 7) {
        struct sprout_zone_ready ready;
        const char *name = words[1];

        words += 2;
        SPROUT_ZONE_READY_FIELDS(READ)
#undef READ
        format_zone_ready(&line, name, &ready);
    } else {
        return 2;
    }
    fwrite(line.text, 1, line.used, stdout);
    return 0;
}

int main(int argc, char **argv)
{
    uint8_t *input;
    size_t size;

    if (argc > 2)
        return print_numbers(argc - 1, argv + 1);
    if (argc != 2)
        return 2;
    input = read_input(&size);
    if (strcmp(argv[1], "zones") == 0)
        print_zones(input, size);
    else if (strcmp(argv[1], "config") == 0)
        print_config(input, size);
    else if (strcmp(argv[1], "relay") == 0)
        print_relay(input, size);
    free(input);
    return 0;
}
