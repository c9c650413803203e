/* System calls, processes, memory. */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define PAGES 32
#define PAGE_BYTES 4096

/* Two instructions each time: how many ticks of the clock an instruction takes. */
static void spin(unsigned int count)
{
    __asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(count) : : "cc");
}

/* getppid(2) asks for nothing that a C library could know already. */
static void null_call(unsigned int count)
{
    while (count--) {
        long result = SYS_getppid;

        __asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
    }
}

static void fork_and_exec(unsigned int count)
{
    static char *const words[] = {"/init", ENDS_AT_ONCE, NULL};
    int status;

    while (count--) {
        pid_t child = fork();

        if (child == 0) {
            execv(words[0], words);
            _exit(1);
        }
        need(child > 0 && waitpid(child, &status, 0) == child && status == 0, "fork-exec");
    }
}

static volatile char *memory;

/* Pages of 4 KiB, whatever a kernel makes of large areas. */
static void map_memory(void)
{
    void *found = mmap(NULL, PAGES * PAGE_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    need(found != MAP_FAILED, "mmap");
    madvise(found, PAGES * PAGE_BYTES, MADV_NOHUGEPAGE); /* no kernel has to know of such */
    memory = found;
}

static void unmap_memory(void)
{
    need(munmap((void *)memory, PAGES * PAGE_BYTES) == 0, "munmap");
}

/* Each page is touched first in its area's life: MADV_DONTNEED gives them all back (madvise(2)). */
static void touch_pages(unsigned int count)
{
    for (unsigned int page = 0; page < count; page++)
        memory[page * PAGE_BYTES] = 1;
    need(madvise((void *)memory, PAGES * PAGE_BYTES, MADV_DONTNEED) == 0, "madvise");
}

const struct bench call_benches[] = {
    {"loop", 100000, NULL, spin, NULL},
    {"syscall", 500, NULL, null_call, NULL},
    {"fork-exec", 1, NULL, fork_and_exec, NULL},
    {"page-fault", PAGES, map_memory, touch_pages, unmap_memory},
    {NULL, 0, NULL, NULL, NULL},
};
