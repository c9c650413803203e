/* The readiness line; its fields and their order come from the definition that reads it. */
#include <sys/sysinfo.h>

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

/* 0 where the kernel does not say. */
uint64_t free_kib(void)
{
    struct sysinfo info;

    return sysinfo(&info) < 0 ? 0 : (uint64_t)info.freeram * info.mem_unit / 1024;
}
