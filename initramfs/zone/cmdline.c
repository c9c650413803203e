/* Which of init's arguments are the program.
 *
 * The kernel gives init the words after `--`, but before them every word of the command line that
 * it did not know itself (init/main.c, unknown_bootoption): a misspelt parameter must not become
 * the program. The command line tells how many words there are after `--`.
 */
#include <errno.h>
#include <string.h>

#include "zone.h"

/* Cuts words as the kernel does (lib/cmdline.c, next_arg): at spaces outside double quotes. */
size_t words_after_dashes(const char *cmdline, size_t size)
{
    const char *at = cmdline, *end = cmdline + size;
    bool after = false;
    size_t words = 0;

    while (at < end) {
        const char *word = at;
        bool quoted = false;

        while (at < end && (quoted || (*at != ' ' && *at != '\t' && *at != '\n'))) {
            if (*at == '"')
                quoted = !quoted;
            at++;
        }
        if (at > word) {
            if (after)
                words++;
            else if (at - word == 2 && memcmp(word, "--", 2) == 0)
                after = true;
        }
        if (at < end)
            at++;
    }
    return words;
}

/* Gives the program's words, the last of init's own, or NULL where none was named. */
char **program_words(int argc, char **argv)
{
    static char cmdline[1 << 15];
    ssize_t got = read_file("/proc/cmdline", cmdline, sizeof(cmdline));
    size_t words;

    if (got < 0) {
        say("/proc/cmdline", errno);
        return NULL;
    }
    words = words_after_dashes(cmdline, (size_t)got);
    if (words == 0 || argc < 2)
        return NULL;
    if (words > (size_t)argc - 1)
        words = (size_t)argc - 1;
    return argv + ((size_t)argc - words);
}
