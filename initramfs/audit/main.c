/* Attempts what a hardened kernel refuses, and tells how it went:
 *
 *     sprout-audit: NAME refused ERROR
 *     sprout-audit: NAME allowed
 *     sprout-audit: NAME unknown
 *     sprout-audit: end
 *
 * ERROR is a number of errno(3), or `fault` where a signal ended the attempt. Unknown is what could not
 * be attempted. sprout/kernel/live.py says which options of the kernel's configuration decide.
 */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../common/init.h"
#include "audit.h"

#define PLAIN_USER 1000
#define LIMIT_S 5
#define CANNOT 255 /* a status, of which a parent sees eight bits */

int error_of(long result)
{
    return result < 0 ? errno : 0;
}

static void become_plain(void)
{
    /* Leaving the user 0 leaves all its capabilities behind (capabilities(7)). */
    if (setgroups(0, NULL) < 0 || setgid(PLAIN_USER) < 0 || setuid(PLAIN_USER) < 0)
        _exit(CANNOT);
    /* Who has changed its user may not be traced; that is no matter of these checks. */
    prctl(PR_SET_DUMPABLE, 1);
}

int in_child(int (*attempt)(void), bool plain, int fault)
{
    const struct rlimit no_core = {0, 0};
    int status, error;
    pid_t child = fork();

    if (child < 0)
        return UNKNOWN;
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &no_core);
        alarm(LIMIT_S);
        if (plain)
            become_plain();
        error = attempt();
        _exit(error < CANNOT ? error : CANNOT);
    }
    if (waitpid(child, &status, 0) != child)
        return UNKNOWN;
    if (WIFSIGNALED(status))
        return fault != NO_FAULT && WTERMSIG(status) == fault ? FAULTED : UNKNOWN;
    return WEXITSTATUS(status) == CANNOT ? UNKNOWN : WEXITSTATUS(status);
}

static void tell(const struct act *act)
{
    int error = act->attempt();

    if (error == 0)
        printf("sprout-audit: %s allowed\n", act->name);
    else if (error == FAULTED)
        printf("sprout-audit: %s refused fault\n", act->name);
    else if (error == UNKNOWN)
        printf("sprout-audit: %s unknown\n", act->name);
    else
        printf("sprout-audit: %s refused %d\n", act->name, error);
}

/* Of a kernel that cannot run a zone's init this is init itself. Says what the host's init makes true
 * as well, and nothing more. */
static void be_init(void)
{
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, NULL);
    mkdir("/dev/pts", 0755);
    mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666");
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, NULL);
    write_file("/proc/sys/kernel/yama/ptrace_scope", "1");
}

int main(void)
{
    const struct act *const tables[] = {file_acts, call_acts, memory_acts};

    if (getpid() == 1)
        be_init();
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* What is not there is not refused. */
    if (access("/proc/self/stat", R_OK) < 0 || access("/sys/kernel", X_OK) < 0 ||
        access("/dev/null", W_OK) < 0) {
        puts("sprout-audit: there is no /proc, /sys or /dev to look at");
        return 1;
    }
    for (size_t table = 0; table < sizeof(tables) / sizeof(*tables); table++)
        for (const struct act *act = tables[table]; act->name; act++)
            tell(act);
    puts("sprout-audit: end");
    if (getpid() == 1) {
        fflush(stdout);
        reboot(RB_POWER_OFF);
    }
    return 0;
}
