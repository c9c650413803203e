/* A zone's interfaces on the host's bridges. A bridge is made with the first interface on it. */
#include <errno.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "launch.h"

/* The host's kernel makes the interface when it has seen it in the store. */
#define LATE_MS 5000
#define RETRY_MS 1

static bool request_for(struct ifreq *request, const char *name)
{
    memset(request, 0, sizeof(*request));
    errno = ENAMETOOLONG;
    if (strlen(name) >= sizeof(request->ifr_name))
        return false;
    memcpy(request->ifr_name, name, strlen(name) + 1);
    return true;
}

static bool bring_up(int any, const char *name)
{
    struct ifreq request;

    if (!request_for(&request, name) || ioctl(any, SIOCGIFFLAGS, &request) < 0)
        return false;
    request.ifr_flags |= IFF_UP;
    return ioctl(any, SIOCSIFFLAGS, &request) == 0;
}

static unsigned int wait_for(const char *name)
{
    const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000};
    unsigned int index;

    for (int waited = 0; (index = if_nametoindex(name)) == 0 && waited < LATE_MS; waited += RETRY_MS)
        nanosleep(&pause, NULL);
    return index;
}

static bool join(int any, const char *name, const struct sprout_zone_nic *nic)
{
    struct ifreq request;

    if ((ioctl(any, SIOCBRADDBR, nic->bridge) < 0 && errno != EEXIST) ||
        !bring_up(any, nic->bridge) || !request_for(&request, nic->bridge))
        return failed(nic->bridge);
    request.ifr_ifindex = (int)wait_for(name);
    if (request.ifr_ifindex == 0 || ioctl(any, SIOCBRADDIF, &request) < 0)
        return failed(name);
    /* Guarded before it is up: no packet passes in between. */
    return (guard_port(request.ifr_ifindex, nic) && bring_up(any, name)) || failed(name);
}

bool connect_nics(const struct launch *launch)
{
    int any;
    bool connected = true;

    if (launch->row->nic_count == 0)
        return true;
    any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (any < 0)
        return failed("a socket");
    for (uint32_t i = 0; i < launch->row->nic_count && connected; i++) {
        char name[IFNAMSIZ];

        snprintf(name, sizeof(name), "vif%u.%u", launch->domain, i);
        connected = join(any, name, &launch->row->nics[i]) && nic_is_connected(launch, i);
    }
    close(any);
    return connected;
}
