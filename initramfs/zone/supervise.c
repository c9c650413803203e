/* PID 1's life: reap whoever ends, pass signals on, notice the end of the program.
 *
 *     SIGTERM, SIGUSR2, SIGPWR, 38    everything gets SIGTERM, then the machine powers off
 *     SIGINT, 39                      the same, then it reboots
 *     SIGHUP, SIGQUIT, SIGUSR1, SIGCONT, SIGWINCH    go to the program
 *
 * SIGINT is Ctrl-Alt-Del (kernel/reboot.c), 38 the power button's (common/init.h); SIGUSR2 is
 * busybox's and sysvinit's power-off, SIGPWR that of container managers.
 */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "zone.h"

/* The time that a running program has to end after it was asked to. */
#define PROGRAM_GRACE_MS 10000

/* Reaps all that have ended; gives true when the program is among them. */
static bool reap(pid_t program, int *wait_status)
{
    bool ended = false;
    pid_t child;
    int status;

    while ((child = waitpid(-1, &status, WNOHANG)) > 0) {
        if (child == program) {
            *wait_status = status;
            ended = true;
        }
    }
    return ended;
}

static bool is_failure(int wait_status)
{
    return !WIFEXITED(wait_status) ||
           (WEXITSTATUS(wait_status) != 0 && WEXITSTATUS(wait_status) != STATUS_REBOOT);
}

static enum ending ending_of(int wait_status)
{
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == STATUS_REBOOT)
        return END_REBOOT;
    return END_POWEROFF;
}

/* `program` is 0 where there is none. */
enum ending supervise(pid_t program, const char *name)
{
    static const int taken[] = {SIGCHLD, SIGTERM,         SIGUSR2,       SIGPWR,  SIGINT,
                                SIGHUP,  SIGQUIT,         SIGUSR1,       SIGCONT, SIGWINCH,
                                SIGNAL_POWEROFF, SIGNAL_REBOOT};
    sigset_t set;
    int status;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        sigaddset(&set, taken[i]);
    for (;;) {
        int number = sigwaitinfo(&set, NULL);

        switch (number) {
        case -1: /* EINTR */
            break;
        case SIGCHLD:
            if (reap(program, &status)) {
                say_ended(name, status);
                if (is_failure(status))
                    say("the program has failed", 0);
                return ending_of(status);
            }
            break;
        case SIGTERM:
        case SIGUSR2:
        case SIGPWR:
        case SIGNAL_POWEROFF:
            stop_everything(PROGRAM_GRACE_MS);
            return END_POWEROFF;
        case SIGINT:
        case SIGNAL_REBOOT:
            stop_everything(PROGRAM_GRACE_MS);
            return END_REBOOT;
        default:
            if (program > 0)
                kill(program, number);
        }
    }
}
