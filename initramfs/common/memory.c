/* How much memory is left. */
#include <sys/sysinfo.h>

#include "init.h"

/* 0 where the kernel does not say. */
uint64_t free_kib(void)
{
    struct sysinfo info;

    return sysinfo(&info) < 0 ? 0 : (uint64_t)info.freeram * info.mem_unit / 1024;
}
