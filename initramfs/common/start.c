/* Starts a program: in a session of its own, with no blocked signals.
 *
 * The console does not become its controlling terminal: when the leader of such a session ends,
 * the kernel hangs the terminal up and throws away what it has not sent yet
 * (drivers/tty/tty_jobctrl.c, disassociate_ctty), which would be the program's last words.
 *
 * Its environment is the kernel's (HOME, TERM and name=value words of the command line) with a
 * PATH where the command line gave none.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init.h"

/* Signals wait until init takes them; programs start with none blocked. */
void block_signals(void)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
}

/* Asked before init says that it is ready: without its program it is not. */
bool can_run(const char *program)
{
    struct stat status;

    if (stat(program, &status) < 0 || access(program, X_OK) < 0) {
        say(program, errno);
        return false;
    }
    if (!S_ISREG(status.st_mode)) {
        say(program, EACCES);
        return false;
    }
    return true;
}

/* The kernel passes at most 34 variables (init/main.c, MAX_INIT_ENVS and its own two). */
#define MAX_ENVIRONMENT 64

/* Not by setenv(): its allocator would be a quarter of this program. */
static char **environment(void)
{
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    static char *variables[MAX_ENVIRONMENT + 2];
    size_t count = 0;

    for (; environ && environ[count] && count < MAX_ENVIRONMENT; count++)
        variables[count] = environ[count];
    if (!getenv("PATH"))
        variables[count++] = path;
    variables[count] = NULL;
    return variables;
}

static _Noreturn void become(char **words, int output, int report)
{
    sigset_t none;
    int error;

    setsid();
    if (output >= 0) {
        dup2(output, STDIN_FILENO); /* one end of a pair is read from, too */
        dup2(output, STDOUT_FILENO);
        dup2(output, STDERR_FILENO);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(words[0], words, environment());
    error = errno;
    write_all(report, &error, sizeof(error));
    _exit(127);
}

/* Starts words[0]; what it writes goes to `output`, or where init's goes when that is -1. Gives its
 * process, or -1 after it has said why there is none. */
pid_t start_program(char **words, int output)
{
    int report[2]; /* closed by a successful exec, else it carries errno */
    int error = 0;
    ssize_t got;
    pid_t child;

    if (pipe2(report, O_CLOEXEC) < 0) {
        say("pipe", errno);
        return -1;
    }
    child = fork();
    if (child == 0)
        become(words, output, report[1]);
    if (child < 0)
        error = errno;
    close(report[1]);
    if (child > 0) {
        do
            got = read(report[0], &error, sizeof(error));
        while (got < 0 && errno == EINTR);
    }
    close(report[0]);
    if (error) {
        say(words[0], error);
        return -1;
    }
    return child;
}
