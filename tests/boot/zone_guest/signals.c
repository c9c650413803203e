/* Sends signals to init and prints those that come back; then asks for a power-off as the kernel
 * does for a hypervisor, and ends on the SIGTERM that follows. */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void print(const char *text)
{
    if (write(STDOUT_FILENO, text, strlen(text)) < 0)
        _exit(1);
}

static void ask_for_poweroff(void)
{
    char *words[] = {"/sbin/poweroff", NULL};

    if (fork() == 0) {
        execv(words[0], words);
        _exit(1);
    }
}

int main(void)
{
    static const struct {
        int number;
        const char *text;
    } passed[] = {{SIGHUP, "passed on: SIGHUP\n"},
                  {SIGUSR1, "passed on: SIGUSR1\n"},
                  {SIGQUIT, "passed on: SIGQUIT\n"},
                  {SIGWINCH, "passed on: SIGWINCH\n"}};
    sigset_t all;
    int got;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    sigdelset(&all, SIGCHLD);
    for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
        kill(1, passed[i].number);
        sigwait(&all, &got);
        print(got == passed[i].number ? passed[i].text : "FAILED: another signal came\n");
    }
    ask_for_poweroff();
    sigwait(&all, &got);
    print(got == SIGTERM ? "told to end\n" : "FAILED: no SIGTERM\n");
    return 0;
}
