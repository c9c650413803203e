/* What zones need: the store, the first domain's own entries in it, and the consoles' server. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

#define LIMIT_MS 10000

static struct service {
    const char *name;
    pid_t child;
} services[] = {{"xenstored", 0}, {"xenconsoled", 0}};

#define SERVICES (sizeof(services) / sizeof(services[0]))

/* Gives the service that `child` was, or NULL. */
const char *service_of(pid_t child)
{
    for (size_t i = 0; i < SERVICES; i++)
        if (services[i].child > 0 && services[i].child == child)
            return services[i].name;
    return NULL;
}

void expect_services_to_end(void)
{
    for (size_t i = 0; i < SERVICES; i++)
        services[i].child = 0;
}

/* Waits for a child within a bound. */
static bool ended_well(const char *name, pid_t child)
{
    const struct timespec limit = {.tv_sec = LIMIT_MS / 1000};
    int64_t deadline = now_ms() + LIMIT_MS;
    sigset_t set;
    int status;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (;;) {
        pid_t ended = waitpid(-1, &status, WNOHANG);

        if (ended > 0 && ended != child && service_of(ended)) {
            say_ended(service_of(ended), status);
            return false;
        }
        if (ended == child) {
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return true;
            say_ended(name, status);
            return false;
        }
        if (ended > 0)
            continue;
        if (now_ms() >= deadline) {
            struct line what = {.used = 0};

            line_text(&what, name);
            line_text(&what, " has not ended after 10 s");
            what.text[what.used] = '\0';
            say(what.text, 0);
            return false;
        }
        sigtimedwait(&set, NULL, &limit);
    }
}

/* xenstored says its process number when it listens (-P). */
static bool start_store(void)
{
    static char *words[] = {"/usr/sbin/xenstored", "-N", "-P", NULL};
    struct pollfd ready = {.events = POLLIN};
    int said[2];
    char byte;

    if (pipe2(said, O_CLOEXEC) < 0) {
        say("pipe", errno);
        return false;
    }
    services[0].child = start_program(words, said[1]);
    close(said[1]);
    ready.fd = said[0];
    if (services[0].child < 0)
        return false;
    if (poll(&ready, 1, LIMIT_MS) <= 0) {
        say("xenstored is not ready after 10 s", 0);
        return false;
    }
    if (read(said[0], &byte, 1) <= 0) {
        if (ended_well("xenstored", services[0].child))
            say("xenstored ended before it was ready", 0);
        return false;
    }
    /* The pipe stays open: whoever writes to one that nobody reads is killed. */
    fcntl(said[0], F_SETFL, O_NONBLOCK);
    if (!store_connect()) {
        say("xenstored", errno);
        return false;
    }
    return true;
}

/* Each says what failed; without one of them no zone can be started. */
bool start_services(void)
{
    static char *dom0[] = {"/usr/sbin/xen-init-dom0", NULL};
    static char *consoles[] = {"/usr/sbin/xenconsoled", "-i", "--overflow-data=discard", NULL};
    struct tail last;
    pid_t child;
    int output;
    bool well;

    if (!start_store())
        return false;
    output = tail_open(&last);
    if (output < 0)
        return false;
    child = start_program(dom0, output);
    close(output);
    well = child > 0 && ended_well("xen-init-dom0", child);
    tail_close(&last);
    if (!well) {
        tail_say(&last, "xen-init-dom0");
        return false;
    }
    services[1].child = start_program(consoles, -1);
    return services[1].child > 0;
}
