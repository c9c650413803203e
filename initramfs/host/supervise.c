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
#define MAX_DESCRIPTORS (SPROUT_ZONES_MAX + 9)

static bool ending_asked;
static bool service_is_gone;
static enum ending ending;

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
        switch (service_ended(child, status)) {
        case ENDED_FOR_GOOD:
            service_is_gone = true;
            break;
        case OTHER:
            zone_tool_ended(child, status);
            break;
        case STARTED_AGAIN:
            break;
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

static size_t descriptors_of_zones(int *descriptors, size_t most)
{
    size_t used = 0;

    if (launcher_channel() >= 0)
        descriptors[used++] = launcher_channel();
    if (store_socket() >= 0)
        descriptors[used++] = store_socket();
    used += control_descriptors(descriptors + used, most - used);
    return used + console_descriptors(descriptors + used, most - used);
}

static void take(int descriptor)
{
    if (console_readable(descriptor) || control_readable(descriptor))
        return;
    if (descriptor == launcher_channel())
        hear_launcher();
    else if (descriptor == store_socket() && store_happened())
        attach_consoles();
}

static void wait_once(int signals, int64_t limit_ms)
{
    struct pollfd polled[MAX_DESCRIPTORS];
    int descriptors[MAX_DESCRIPTORS - 1];
    size_t used = descriptors_of_zones(descriptors, MAX_DESCRIPTORS - 1);
    int64_t channel_ms = control_next_ms(now_ms());

    if (channel_ms >= 0 && (limit_ms < 0 || channel_ms < limit_ms))
        limit_ms = channel_ms;
    polled[0] = (struct pollfd){.fd = signals, .events = POLLIN};
    for (size_t i = 0; i < used; i++)
        polled[i + 1] = (struct pollfd){.fd = descriptors[i], .events = POLLIN};
    if (poll(polled, used + 1, (int)limit_ms) <= 0)
        return;
    for (size_t i = 0; i < used; i++)
        if (polled[i + 1].revents)
            take(descriptors[i]);
    if (polled[0].revents)
        take_signals(signals);
}

/* Asks all zones to end, and gives them a while; what they say meanwhile is still relayed. */
static void shut_zones_down(int signals)
{
    int64_t deadline = now_ms() + SHUTDOWN_MS;

    stop_zones();
    while (zones_running() && !service_is_gone) {
        int64_t left = deadline - now_ms(), due;

        if (left <= 0) {
            say("not every zone ended in 30 s", 0);
            return;
        }
        zones_progress();
        due = zones_next_ms(now_ms());
        wait_once(signals, due >= 0 && due < left ? due : left);
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
    open_control();
    for (;;) {
        zones_progress();
        if (service_is_gone)
            return END_POWEROFF; /* nothing can be told to zones without them */
        if (ending_asked)
            break;
        wait_once(signals, zones_next_ms(now_ms()));
    }
    shut_zones_down(signals);
    return ending;
}
