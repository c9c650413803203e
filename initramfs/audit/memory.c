/* What a program does with its own memory, and ways into the kernel that nobody needs. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "audit.h"

#define PAGE 4096
#define VSYSCALL_TIME 0xffffffffff600400UL
#define RETURN 0xc3

/* Writes to a page that is mapped to be read. */
static int store_read_only(void)
{
    volatile char *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return UNKNOWN;
    page[0] = 1;
    return 0;
}

/* Does the same through /proc/self/mem, where the kernel writes for it. */
static int force_read_only(void)
{
    void *page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int file = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    int error;

    if (page == MAP_FAILED || file < 0)
        return UNKNOWN;
    error = error_of(pwrite(file, "x", 1, (off_t)(uintptr_t)page));
    close(file);
    return error;
}

/* Runs code in a page that is mapped to be written. */
static int run_writable(void)
{
    unsigned char *page =
        mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void (*code)(void);

    if (page == MAP_FAILED)
        return UNKNOWN;
    page[0] = RETURN;
    memcpy(&code, &page, sizeof(code));
    code();
    return 0;
}

static int map_low(void)
{
    void *page = mmap((void *)(uintptr_t)(8 * PAGE), PAGE, PROT_READ,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

    return page == MAP_FAILED ? errno : 0;
}

static int call_vsyscall(void)
{
    long (*time_of_day)(void *) = (long (*)(void *))VSYSCALL_TIME;

    time_of_day(NULL);
    return 0;
}

/* Enters the kernel by the gate of 32-bit programs: getpid there is call 20. */
static int enter_by_32_bits(void)
{
    long result = 20;

    __asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    return 0;
}

/* A program that has bound itself to four calls makes a fifth. */
static int break_seccomp(void)
{
    if (prctl(PR_SET_SECCOMP, 1) < 0)
        return 0; /* there is nothing that would stop it */
    syscall(SYS_getuid);
    syscall(SYS_exit, 0);
    return 0;
}

static int crash(void)
{
    raise(SIGSEGV);
    return 0;
}

/* Leaves what a program had in memory in a file. */
static int dump_core(void)
{
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    int status;
    pid_t child;

    if (chdir("/tmp") < 0 || access(".", W_OK) < 0)
        return UNKNOWN;
    child = fork();
    if (child == 0) {
        _exit(setrlimit(RLIMIT_CORE, &all) < 0 ? 1 : crash());
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
        return UNKNOWN;
    unlink("/tmp/core");
    return WCOREDUMP(status) ? 0 : EPERM;
}

static int stores(void) { return in_child(store_read_only, false, SIGSEGV); }
static int forces(void) { return in_child(force_read_only, false, NO_FAULT); }
static int runs(void) { return in_child(run_writable, false, SIGSEGV); }
static int maps(void) { return in_child(map_low, true, NO_FAULT); }
static int vsyscalls(void) { return in_child(call_vsyscall, false, SIGSEGV); }
static int enters(void) { return in_child(enter_by_32_bits, false, SIGSEGV); }
static int breaks(void) { return in_child(break_seccomp, false, SIGKILL); }

const struct act memory_acts[] = {
    {"write-read-only-page", stores},
    {"force-read-only-page", forces},
    {"run-writable-page", runs},
    {"map-low-page", maps},
    {"call-vsyscall", vsyscalls},
    {"enter-by-32-bits", enters},
    {"break-seccomp", breaks},
    {"dump-core", dump_core},
    {NULL, NULL},
};
