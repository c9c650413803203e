/* What zones need: the store, the first domain's own entries in it, and the consoles' server. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host.h"

#define LIMIT_MS 10000
/* The launcher may end so often in a minute; who ends more often ends the host. */
#define MOST_LAUNCHERS 5
#define LAUNCHERS_MS 60000
#define DOM0 "/usr/sbin/xen-init-dom0"

static struct service {
    const char *name;
    pid_t child;
} services[] = {{"xenstored", 0}, {"xenconsoled", 0}, {"launch", 0}};

enum { STORE, CONSOLES, LAUNCHER };

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

/* Where the host has no memory left, it is not what every zone needs that ends. */
static void spare(pid_t child)
{
    struct line path = {.used = 0};

    line_text(&path, "/proc/");
    line_number(&path, (uint64_t)child);
    line_text(&path, "/oom_score_adj");
    path.text[path.used] = '\0';
    if (!write_file(path.text, "-1000"))
        say(path.text, errno);
}

/* Some say it a little before they listen. */
static bool connect_to_store(void)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    int64_t deadline = now_ms() + LIMIT_MS;

    while (!store_connect()) {
        if ((errno != ENOENT && errno != ECONNREFUSED) || now_ms() >= deadline)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

/* xenstored says its process number when it is up (-P). */
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
    services[STORE].child = start_program(words, said[1]);
    close(said[1]);
    ready.fd = said[0];
    if (services[STORE].child < 0)
        return false;
    spare(services[STORE].child);
    if (poll(&ready, 1, LIMIT_MS) <= 0) {
        say("xenstored is not ready after 10 s", 0);
        return false;
    }
    if (read(said[0], &byte, 1) <= 0) {
        if (ended_well("xenstored", services[STORE].child))
            say("xenstored ended before it was ready", 0);
        return false;
    }
    /* The pipe stays open: whoever writes to one that nobody reads is killed. */
    fcntl(said[0], F_SETFL, O_NONBLOCK);
    if (!connect_to_store()) {
        say("xenstored", errno);
        return false;
    }
    return true;
}

/* What Xen's own tools look for; an image that has them has the program that writes more of it. */
static bool tell_store_of_host(void)
{
    static char *dom0[] = {DOM0, NULL};
    struct tail last;
    pid_t child;
    int output;
    bool well;

    if (access(DOM0, X_OK) < 0) {
        if (store_write("/local/domain/0/name", "Domain-0") &&
            store_write("/local/domain/0/domid", "0"))
            return true;
        say("xenstored does not answer", 0);
        return false;
    }
    output = tail_open(&last);
    if (output < 0)
        return false;
    child = start_program(dom0, output);
    close(output);
    well = child > 0 && ended_well("xen-init-dom0", child);
    tail_close(&last);
    if (!well)
        tail_say(&last, "xen-init-dom0");
    return well;
}

/* Each says what failed; without one of them no zone can be started. */
bool start_services(void)
{
    static char *consoles[] = {"/usr/sbin/xenconsoled", "-i", "--overflow-data=discard", NULL};

    if (!start_store() || !tell_store_of_host())
        return false;
    services[CONSOLES].child = start_program(consoles, -1);
    services[LAUNCHER].child = start_launcher();
    if (services[CONSOLES].child <= 0 || services[LAUNCHER].child <= 0)
        return false;
    spare(services[CONSOLES].child);
    spare(services[LAUNCHER].child);
    return true;
}

/* Takes the end of a child. The launcher keeps nothing that would be lost, so that another one can
 * take its place; without one of the others nothing can be told to zones. */
enum service_end service_ended(pid_t child, int wait_status)
{
    static unsigned launchers;
    static int64_t since;
    const char *name = service_of(child);

    if (!name)
        return OTHER;
    say_ended(name, wait_status);
    if (child != services[LAUNCHER].child)
        return ENDED_FOR_GOOD;
    services[LAUNCHER].child = 0;
    launcher_is_gone();
    if (now_ms() - since > LAUNCHERS_MS) {
        since = now_ms();
        launchers = 0;
    }
    if (++launchers >= MOST_LAUNCHERS)
        return ENDED_FOR_GOOD;
    services[LAUNCHER].child = start_launcher();
    if (services[LAUNCHER].child <= 0)
        return ENDED_FOR_GOOD;
    spare(services[LAUNCHER].child);
    return STARTED_AGAIN;
}

void end_launcher(void)
{
    if (services[LAUNCHER].child > 0)
        kill(services[LAUNCHER].child, SIGKILL);
}
