/* The kernel's command line: from the section's UTF-8 to the UTF-16 that LoadOptions holds. */
#ifndef SPROUT_CMDLINE_H
#define SPROUT_CMDLINE_H
#include "bytes.h"

/* Linux keeps 2,048 bytes with the NUL (COMMAND_LINE_SIZE on x86 and arm64) and cuts off the rest;
 * an argument that would be lost is an error here. */
#define CMDLINE_MAX 2047

struct cmdline {
    CHAR16 text[CMDLINE_MAX + 1]; /* ends with a NUL */
    uint32_t size;                /* bytes, with the NUL */
};

/* Gives `text` without white space and NULs at its end. */
struct span cmdline_trim(struct span text);

/* Checks a command line that is passed on as it is. Gives NULL, or what is wrong with it: it is not
 * UTF-8, or has a control character. */
const char *cmdline_check(struct span utf8);

/* Converts `utf8`. White space and NULs at its end are dropped. Control characters are refused:
 * Linux stops reading at a line feed or a NUL. */
struct failure cmdline_convert(struct span utf8, struct cmdline *line);

#endif
