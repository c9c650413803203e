/* The readiness line; its fields and their order come from the definition that reads it. */
#include <unistd.h>

#include "zone.h"

_Static_assert(SPROUT_READY_MAX <= sizeof(((struct line *)0)->text), "the line fits whole");

void format_ready(struct line *line, const struct sprout_ready *ready)
{
    line_text(line, SPROUT_READY_HEAD);
#define FIELD(name)             \
    line_text(line, " " #name "="); \
    line_number(line, ready->name);
    SPROUT_READY_FIELDS(FIELD)
#undef FIELD
    line_end(line);
}

/* One write, so that no other process's output falls into the line. */
void announce(const struct sprout_ready *ready)
{
    struct line line = {.used = 0};

    format_ready(&line, ready);
    write_all(STDOUT_FILENO, line.text, line.used);
}
