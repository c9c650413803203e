/* stranger MAC: sends frames as if it were MAC, asks all IPv6 nodes for an echo, and tells after some
 * seconds how many frames it caught that were meant for MAC, and how many answers came. */
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECONDS 15
#define ECHO_SIZE 8
#define ICMPV6 58

static uint8_t own[ETH_ALEN], other[ETH_ALEN];
static unsigned caught, answered;

static bool parse(const char *text, uint8_t *address)
{
    unsigned part[ETH_ALEN];

    if (sscanf(text, "%x:%x:%x:%x:%x:%x", &part[0], &part[1], &part[2], &part[3], &part[4],
               &part[5]) != ETH_ALEN)
        return false;
    for (int i = 0; i < ETH_ALEN; i++)
        address[i] = (uint8_t)part[i];
    return true;
}

static int open_port(void)
{
    struct ifreq request = {.ifr_name = "eth0"};
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    struct packet_mreq all = {.mr_type = PACKET_MR_PROMISC};
    int port = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));

    for (int i = 0; i < 500 && if_nametoindex("eth0") == 0; i++)
        usleep(10000);
    address.sll_ifindex = (int)if_nametoindex("eth0");
    all.mr_ifindex = address.sll_ifindex;
    if (ioctl(port, SIOCGIFHWADDR, &request) < 0)
        return -1;
    memcpy(own, request.ifr_hwaddr.sa_data, ETH_ALEN);
    if (ioctl(port, SIOCGIFFLAGS, &request) < 0)
        return -1;
    request.ifr_flags |= IFF_UP;
    if (ioctl(port, SIOCSIFFLAGS, &request) < 0 ||
        bind(port, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        setsockopt(port, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) < 0)
        return -1;
    return port;
}

/* A frame of no protocol, to everybody, from another's address. */
static void pretend(int port)
{
    uint8_t frame[60];

    memset(frame, 0xff, ETH_ALEN);
    memcpy(frame + ETH_ALEN, other, ETH_ALEN);
    memset(frame + 2 * ETH_ALEN, 0x88, sizeof(frame) - 2 * ETH_ALEN);
    send(port, frame, sizeof(frame), 0);
}

/* An echo request to all nodes of the link (RFC 4443, section 4.1; RFC 4291, section 2.7.1). */
static void ask_everybody(int port)
{
    static const uint8_t to[ETH_ALEN] = {0x33, 0x33, 0, 0, 0, 1};
    uint8_t frame[14 + 40 + ECHO_SIZE] = {0};
    uint8_t *ip = frame + 14, *echo = ip + 40;
    uint32_t sum = ECHO_SIZE + ICMPV6;

    memcpy(frame, to, ETH_ALEN);
    memcpy(frame + ETH_ALEN, own, ETH_ALEN);
    frame[12] = 0x86;
    frame[13] = 0xdd;
    ip[0] = 0x60;
    ip[5] = ECHO_SIZE;
    ip[6] = ICMPV6;
    ip[7] = 255;
    ip[8] = 0xfe;
    ip[9] = 0x80;
    ip[23] = 0x77;
    ip[24] = 0xff;
    ip[25] = 0x02;
    ip[39] = 1;
    echo[0] = 128;
    for (int at = 8; at < 40 + ECHO_SIZE; at += 2)
        sum += (uint32_t)(ip[at] << 8 | ip[at + 1]);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    echo[2] = (uint8_t)(~sum >> 8);
    echo[3] = (uint8_t)~sum;
    send(port, frame, sizeof(frame), 0);
}

static void look(const uint8_t *frame, ssize_t size)
{
    bool from_others = memcmp(frame + ETH_ALEN, own, ETH_ALEN) != 0 &&
                       memcmp(frame + ETH_ALEN, other, ETH_ALEN) != 0;

    if (size < 14 || !from_others)
        return;
    if (memcmp(frame, other, ETH_ALEN) == 0)
        caught++;
    /* Whoever answers, or first asks for our address, is a node of IPv6 here. */
    if (size > 54 && frame[12] == 0x86 && frame[13] == 0xdd && frame[20] == ICMPV6 &&
        (frame[54] == 129 || frame[54] == 135))
        answered++;
}

int main(int argc, char **argv)
{
    struct pollfd polled = {.events = POLLIN};
    time_t end;

    if (argc != 2 || !parse(argv[1], other) || (polled.fd = open_port()) < 0) {
        puts("stranger: has no port");
        return 1;
    }
    puts("stranger: begins");
    fflush(stdout);
    for (end = time(NULL) + SECONDS; time(NULL) < end;) {
        uint8_t frame[2048];

        pretend(polled.fd);
        ask_everybody(polled.fd);
        while (poll(&polled, 1, 20) > 0)
            look(frame, recv(polled.fd, frame, sizeof(frame), MSG_DONTWAIT));
    }
    printf("stranger: caught %u, answered %u\n", caught, answered);
    fflush(stdout);
    for (;;)
        pause();
}
