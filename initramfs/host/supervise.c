/* PID 1's life in a host: zones, the services they need, and the end of it all.
 *
 *     SIGTERM, SIGUSR2, SIGPWR, 38    the zones are shut down, then the machine powers off
 *     SIGINT, 39                      the same, then it reboots
 *
 * These are the signals of a zone's init. A service that ends ends the host.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

#define SHUTDOWN_MS 30000
#define MAX_DESCRIPTORS (SPROUT_ZONES_MAX + 3)

static bool ending_asked;
static bool service_ended;
static enum ending ending;
static pid_t shutdown_tool;

static int open_signals(void)
{
    static const int taken[] = {SIGCHLD, SIGTERM, SIGUSR2,         SIGPWR,
                                SIGINT,  SIGHUP,  SIGNAL_POWEROFF, SIGNAL_REBOOT};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        sigaddset(&set, taken[i]);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void reap(void)
{
    pid_t child;
    int status;

    while ((child = waitpid(-1, &status, WNOHANG)) > 0) {
        const char *service = service_of(child);

        if (service) {
            say_ended(service, status);
            service_ended = true;
        } else if (child == shutdown_tool) {
            shutdown_tool = 0;
        } else {
            zone_tool_ended(child, status);
        }
    }
}

static void take_signals(int signals)
{
    struct signalfd_siginfo taken;

    while (read(signals, &taken, sizeof(taken)) == (ssize_t)sizeof(taken)) {
        switch (taken.ssi_signo) {
        case SIGCHLD:
            reap();
            break;
        case SIGHUP:
            break;
        case SIGINT:
        case SIGNAL_REBOOT:
            ending = END_REBOOT;
            ending_asked = true;
            break;
        default:
            ending = END_POWEROFF;
            ending_asked = true;
        }
    }
}

static void wait_once(int signals, int64_t limit_ms)
{
    struct pollfd polled[MAX_DESCRIPTORS];
    int descriptors[MAX_DESCRIPTORS - 1];
    size_t used = zone_descriptors(descriptors, MAX_DESCRIPTORS - 1);

    polled[0] = (struct pollfd){.fd = signals, .events = POLLIN};
    for (size_t i = 0; i < used; i++)
        polled[i + 1] = (struct pollfd){.fd = descriptors[i], .events = POLLIN};
    if (poll(polled, used + 1, (int)limit_ms) <= 0)
        return;
    for (size_t i = 0; i < used; i++)
        if (polled[i + 1].revents)
            zone_readable(descriptors[i]);
    if (polled[0].revents)
        take_signals(signals);
}

/* Asks all zones to end, and gives them a while; what they say meanwhile is still relayed. */
static void shut_zones_down(int signals)
{
    static char *words[] = {"/usr/sbin/xl", "shutdown", "-a", NULL};
    int64_t deadline = now_ms() + SHUTDOWN_MS;

    stop_starting_zones();
    if (!zones_running())
        return;
    shutdown_tool = start_program(words, -1);
    while (zones_running() && !service_ended) {
        int64_t left = deadline - now_ms();

        if (left <= 0) {
            say("not every zone ended in 30 s", 0);
            return;
        }
        wait_once(signals, left);
    }
}

enum ending supervise_host(void)
{
    int signals = open_signals();

    if (signals < 0) {
        say("signalfd", errno);
        return END_POWEROFF;
    }
    begin_zones();
    for (;;) {
        zones_progress();
        if (service_ended)
            return END_POWEROFF; /* nothing can be told to zones without them */
        if (ending_asked)
            break;
        wait_once(signals, zones_next_ms(now_ms()));
    }
    shut_zones_down(signals);
    return ending;
}
