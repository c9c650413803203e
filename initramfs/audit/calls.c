/* System calls and protocols that a hardened kernel does not have, or not for everybody. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "audit.h"

#define BPF_PROG_LOAD 5
#define SYSLOG_ACTION_READ_ALL 3
#define IPPROTO_MPTCP_NUMBER 262
#define SOCK_DCCP_NUMBER 6
#define AF_TIPC_NUMBER 30

static int kexec(void)
{
    /* No segments: what was loaded is dropped, and nothing was. */
    return error_of(syscall(SYS_kexec_load, 0, 0, NULL, 0));
}

static int kexec_file(void)
{
    int error = error_of(syscall(SYS_kexec_file_load, -1, -1, 0UL, NULL, 0UL));

    return error == EBADF ? 0 : error;
}

static int module(void)
{
    static const char nothing[4096] = "no module";
    int error = error_of(syscall(SYS_init_module, nothing, sizeof(nothing), ""));

    /* It was looked at, and is none: a module would have been taken. */
    return error == ENOEXEC ? 0 : error;
}

static int bpf_as_plain(void)
{
    /* r0 = 0; exit (Documentation/bpf/standardization/instruction-set.rst) */
    static const uint64_t program[] = {0xb7, 0x95};
    const struct {
        uint32_t type, count;
        uint64_t program, license;
    } filter = {1, 2, (uint64_t)(uintptr_t)program, (uint64_t)(uintptr_t)"GPL"};

    return error_of(syscall(SYS_bpf, BPF_PROG_LOAD, &filter, sizeof(filter)));
}

static int user_namespace_as_plain(void) { return error_of(unshare(CLONE_NEWUSER)); }
static int log_as_plain(void)
{
    char text[64];

    return error_of(syscall(SYS_syslog, SYSLOG_ACTION_READ_ALL, text, sizeof(text)));
}

static int uring(void)
{
    char parameters[120] = {0};

    return error_of(syscall(SYS_io_uring_setup, 1, parameters));
}

static int userfault(void) { return error_of(syscall(SYS_userfaultfd, O_CLOEXEC)); }
static int ldt(void)
{
    char entries[16];

    return error_of(syscall(SYS_modify_ldt, 0, entries, sizeof(entries)));
}

static int io_ports(void) { return error_of(syscall(SYS_iopl, 3)); }
static int compare(void)
{
    return error_of(syscall(SYS_kcmp, getpid(), getpid(), 0, 0, 0));
}

static int cache_statistics(void)
{
    uint64_t range[2] = {0, 4096}, found[8];
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int error = file < 0 ? UNKNOWN : error_of(syscall(451, file, range, found, 0));

    if (file >= 0)
        close(file);
    return error;
}

static int protocol(int family, int kind, int number)
{
    int file = socket(family, kind | SOCK_CLOEXEC, number);
    int error = error_of(file);

    if (file >= 0)
        close(file);
    return error;
}

static int mptcp(void) { return protocol(AF_INET, SOCK_STREAM, IPPROTO_MPTCP_NUMBER); }
static int sctp(void) { return protocol(AF_INET, SOCK_STREAM, 132); }
static int dccp(void) { return protocol(AF_INET, SOCK_DCCP_NUMBER, 33); }
static int tipc(void) { return protocol(AF_TIPC_NUMBER, SOCK_RDM, 0); }

/* Attaches to a sibling of the same user, which is no descendant. */
static int attach_as_plain(void)
{
    int status, error;
    pid_t sibling = fork();

    if (sibling == 0) {
        pause();
        _exit(0);
    }
    if (sibling < 0)
        return UNKNOWN;
    status = 0;
    error = UNKNOWN;
    pid_t tracer = fork();
    if (tracer == 0)
        _exit(error_of(ptrace(PTRACE_ATTACH, sibling, NULL, NULL)));
    if (tracer > 0 && waitpid(tracer, &status, 0) == tracer && WIFEXITED(status))
        error = WEXITSTATUS(status);
    kill(sibling, SIGKILL);
    waitpid(sibling, &status, 0);
    return error;
}

/* Types into a terminal as if its user had. */
static int type_as_plain(void)
{
    int unlock = 0, number, error, terminal;
    char path[32] = "/dev/pts/";
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (master < 0 && errno == ENOENT)
        return ENOENT; /* there are no terminals of programs at all */
    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0 ||
        ioctl(master, TIOCGPTN, &number) < 0 || number > 9)
        return UNKNOWN;
    path[9] = (char)('0' + number);
    if (setsid() < 0)
        return UNKNOWN;
    terminal = open(path, O_RDWR | O_CLOEXEC);
    if (terminal < 0)
        return UNKNOWN;
    error = error_of(ioctl(terminal, TIOCSTI, "x"));
    return error;
}

static int unprivileged_bpf(void) { return in_child(bpf_as_plain, true, NO_FAULT); }
static int unprivileged_userns(void) { return in_child(user_namespace_as_plain, true, NO_FAULT); }
static int unprivileged_log(void) { return in_child(log_as_plain, true, NO_FAULT); }
static int unprivileged_attach(void) { return in_child(attach_as_plain, true, NO_FAULT); }
static int unprivileged_typing(void) { return in_child(type_as_plain, true, NO_FAULT); }
static int port_access(void) { return in_child(io_ports, false, NO_FAULT); }

const struct act call_acts[] = {
    {"kexec", kexec},
    {"kexec-file", kexec_file},
    {"load-module", module},
    {"unprivileged-bpf", unprivileged_bpf},
    {"unprivileged-user-namespace", unprivileged_userns},
    {"unprivileged-kernel-log", unprivileged_log},
    {"attach-to-sibling", unprivileged_attach},
    {"type-into-terminal", unprivileged_typing},
    {"io-uring", uring},
    {"userfaultfd", userfault},
    {"modify-ldt", ldt},
    {"io-ports", port_access},
    {"kcmp", compare},
    {"cachestat", cache_statistics},
    {"mptcp", mptcp},
    {"sctp", sctp},
    {"dccp", dccp},
    {"tipc", tipc},
    {NULL, NULL},
};
