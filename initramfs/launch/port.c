/* What a zone may send from its port of a bridge: frames from its own address, and no others.
 *
 * The bridge learns nothing from the port (what it learns costs the host memory, and leads others'
 * frames astray), knows the zone's address from its row, and drops what has another source (bridge(8),
 * learning, fdb add ... static, locked).
 */
#include <errno.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launch.h"

#define ROOM 128

/* A request of rtnetlink(7), written front to back; what is written always fits. */
struct request {
    struct nlmsghdr head;
    char rest[ROOM];
};

static void *add(struct request *request, size_t size)
{
    void *at = (char *)request + NLMSG_ALIGN(request->head.nlmsg_len);

    request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len) + (uint32_t)size;
    return at;
}

static struct rtattr *add_attribute(struct request *request, unsigned short type, const void *data,
                                    size_t size)
{
    struct rtattr *attribute = add(request, RTA_LENGTH(size));

    attribute->rta_type = type;
    attribute->rta_len = (unsigned short)RTA_LENGTH(size);
    if (size > 0)
        memcpy(RTA_DATA(attribute), data, size);
    return attribute;
}

static void begin(struct request *request, uint16_t type, uint16_t flags)
{
    memset(request, 0, sizeof(*request));
    request->head.nlmsg_len = NLMSG_HDRLEN;
    request->head.nlmsg_type = type;
    request->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
}

/* The kernel answers before send() is back. */
static bool ask(int any, struct request *request)
{
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        char rest[ROOM];
    } answer;
    ssize_t got;

    if (send(any, request, request->head.nlmsg_len, 0) < 0)
        return false;
    got = recv(any, &answer, sizeof(answer), 0);
    errno = EPROTO;
    if (got < (ssize_t)(sizeof(answer.head) + sizeof(int)) ||
        answer.head.nlmsg_type != NLMSG_ERROR)
        return false;
    errno = -answer.error.error;
    return answer.error.error == 0;
}

static bool add_address(int any, int port, const struct sprout_zone_nic *nic)
{
    struct request request;
    struct ndmsg *neighbour;

    begin(&request, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
    neighbour = add(&request, sizeof(*neighbour));
    neighbour->ndm_family = AF_BRIDGE;
    neighbour->ndm_ifindex = port;
    neighbour->ndm_state = NUD_NOARP;
    neighbour->ndm_flags = NTF_MASTER;
    add_attribute(&request, NDA_LLADDR, nic->mac, sizeof(nic->mac));
    return ask(any, &request);
}

static bool lock(int any, int port, const struct sprout_zone_nic *nic)
{
    const uint8_t on = 1, off = 0;
    struct request request;
    struct ifinfomsg *info;
    struct rtattr *options;

    begin(&request, RTM_SETLINK, 0);
    info = add(&request, sizeof(*info));
    info->ifi_family = AF_BRIDGE;
    info->ifi_index = port;
    options = add_attribute(&request, IFLA_PROTINFO | NLA_F_NESTED, NULL, 0);
    add_attribute(&request, IFLA_BRPORT_LEARNING, &off, sizeof(off));
    add_attribute(&request, IFLA_BRPORT_LOCKED, &on, sizeof(on));
    /* The bridge carries nothing from one isolated port to another. */
    add_attribute(&request, IFLA_BRPORT_ISOLATED, nic->isolated ? &on : &off, sizeof(on));
    options->rta_len =
        (unsigned short)((char *)&request + request.head.nlmsg_len - (char *)options);
    return ask(any, &request);
}

bool guard_port(int port, const struct sprout_zone_nic *nic)
{
    int any = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    bool guarded = any >= 0 && lock(any, port, nic) && add_address(any, port, nic);
    int error = errno;

    if (any >= 0)
        close(any);
    errno = error;
    return guarded;
}
