/* What both inits set in a kernel that has it. */
#include <errno.h>

#include "init.h"

/* Debian's kernels have Yama, and leave it off: a program is traced by its parents alone from here on
 * (Documentation/admin-guide/LSM/Yama.rst). Where there is no Yama, nothing is lost. */
void restrict_tracing(void)
{
    static const char scope[] = "/proc/sys/kernel/yama/ptrace_scope";

    if (!write_file(scope, "1") && errno != ENOENT)
        say(scope, errno);
}
