/* Standard input and output on the console, and the few lines that init writes there. */
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "init.h"

#define DRAIN_MS 1000

/* The kernel opens /dev/console for init only when the initramfs itself has that node. A zone
 * without any console still works: it then talks to /dev/null. */
void open_console(void)
{
    int console = open("/dev/console", O_RDWR | O_NOCTTY);

    if (console < 0)
        console = open("/dev/null", O_RDWR);
    if (console < 0)
        return;
    for (int descriptor = 0; descriptor <= 2; descriptor++)
        if (descriptor != console)
            dup2(console, descriptor);
    if (console > 2)
        close(console);
}

/* sprout-init: <what>: <why>. `error` is an errno value, 0 where `what` says it all. */
void say(const char *what, int error)
{
    struct line line = {.used = 0};

    line_text(&line, "sprout-init: ");
    line_text(&line, what);
    if (error) {
        line_text(&line, ": ");
        line_text(&line, strerror(error));
    }
    line_end(&line);
    write_all(STDERR_FILENO, line.text, line.used);
}

void say_ended(const char *program, int wait_status)
{
    struct line line = {.used = 0};

    line_text(&line, "sprout-init: ");
    line_text(&line, program);
    if (WIFSIGNALED(wait_status)) {
        line_text(&line, " ended by signal ");
        line_number(&line, (uint64_t)WTERMSIG(wait_status));
    } else {
        line_text(&line, " exited with status ");
        line_number(&line, (uint64_t)WEXITSTATUS(wait_status));
    }
    line_end(&line);
    write_all(STDERR_FILENO, line.text, line.used);
}

/* Lets the last lines leave a slow serial port, but waits for no reader that is gone:
 * tcdrain() has no time limit. */
void drain_console(void)
{
    const struct timespec tick = {.tv_nsec = 1000000};
    int waiting = 0;

    for (int spent = 0; spent < DRAIN_MS; spent++) {
        if (ioctl(STDOUT_FILENO, TIOCOUTQ, &waiting) < 0)
            return;
        /* The count leaves out the port's own FIFO: 16 bytes, 1.4 ms at 115,200 baud. */
        nanosleep(&tick, NULL);
        if (waiting == 0)
            break;
    }
    nanosleep(&tick, NULL);
}
