/* The end: processes, file systems, power. PID 1 never exits, which would panic the kernel. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "init.h"

#define KILL_GRACE_MS 1000

int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reaps until no child is left or the time is up; gives true when none is left. */
static bool wait_for_all(int grace_ms)
{
    int64_t deadline = now_ms() + grace_ms;
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    for (;;) {
        struct timespec left;
        int64_t left_ms;
        pid_t ended;

        do
            ended = waitpid(-1, NULL, WNOHANG);
        while (ended > 0);
        if (ended < 0 && errno == ECHILD)
            return true;
        left_ms = deadline - now_ms();
        if (left_ms <= 0)
            return false;
        left.tv_sec = left_ms / 1000;
        left.tv_nsec = (left_ms % 1000) * 1000000;
        sigtimedwait(&child, NULL, &left);
    }
}

/* SIGTERM to everybody, `grace_ms` to end, then SIGKILL. A stopped process has to be continued to
 * notice either. */
void stop_everything(int grace_ms)
{
    kill(-1, SIGTERM);
    kill(-1, SIGCONT);
    if (wait_for_all(grace_ms))
        return;
    say("not everything ended in time: killed", 0);
    kill(-1, SIGKILL);
    wait_for_all(KILL_GRACE_MS);
}

_Noreturn void end_machine(enum ending ending)
{
    sync();
    unmount_all();
    sync();
    drain_console();
    reboot(ending == END_REBOOT ? RB_AUTOBOOT : RB_POWER_OFF);
    say(ending == END_REBOOT ? "reboot" : "power off", errno);
    for (;;)
        pause();
}

/* What init does when it is not PID 1: the kernel runs /sbin/poweroff and /sbin/reboot when a
 * hypervisor asks for an orderly end (kernel/reboot.c, orderly_poweroff). Gives an exit status. */
int ask_init(const char *called_as)
{
    const char *slash = strrchr(called_as, '/');
    const char *name = slash ? slash + 1 : called_as;
    int number = 0;

    if (strcmp(name, "poweroff") == 0)
        number = SIGUSR2;
    else if (strcmp(name, "reboot") == 0)
        number = SIGINT;
    if (number == 0) {
        say("runs as PID 1 only", 0);
        return 1;
    }
    if (kill(1, number) < 0) {
        say(name, errno);
        return 1;
    }
    return 0;
}
