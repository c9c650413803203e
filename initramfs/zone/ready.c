/* The readiness line; its fields and their order come from the definition that reads it. */
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
