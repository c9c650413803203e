/* talk serve ADDRESS | talk call ADDRESS PEER: a line over TCP between two zones. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 7000

static struct sockaddr_in at(const char *text, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    inet_pton(AF_INET, text, &address.sin_addr);
    return address;
}

static int bring_up(const char *text)
{
    int any = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in address = at(text, 0), mask = at("255.255.255.0", 0);
    struct ifreq request = {.ifr_name = "eth0"};

    for (int i = 0; i < 500 && if_nametoindex("eth0") == 0; i++)
        usleep(10000);
    memcpy(&request.ifr_addr, &address, sizeof(address));
    if (ioctl(any, SIOCSIFADDR, &request) < 0)
        return -1;
    memcpy(&request.ifr_netmask, &mask, sizeof(mask));
    if (ioctl(any, SIOCSIFNETMASK, &request) < 0)
        return -1;
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    return ioctl(any, SIOCSIFFLAGS, &request);
}

static void serve(void)
{
    struct sockaddr_in address = at("0.0.0.0", PORT);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 4) < 0)
        printf("talk: %s\n", strerror(errno));
    printf("talk: serving\n");
    fflush(stdout);
    for (;;) {
        int peer = accept(listener, NULL, NULL);

        if (peer >= 0 && write(peer, "hello", 5) == 5)
            close(peer);
    }
}

/* Three seconds of trying are enough between two zones of one host. */
static void call(const char *peer)
{
    struct sockaddr_in address = at(peer, PORT);
    char text[16] = "";

    for (int i = 0; i < 30 && !*text; i++) {
        int line = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        struct pollfd polled = {.fd = line, .events = POLLIN};

        connect(line, (struct sockaddr *)&address, sizeof(address));
        if (poll(&polled, 1, 100) > 0 && read(line, text, sizeof(text) - 1) < 0)
            *text = '\0';
        close(line);
    }
    printf("talk: %s\n", *text ? text : "no answer");
    fflush(stdout);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    if (argc < 3 || bring_up(argv[2]) < 0) {
        printf("talk: %s\n", strerror(errno));
        return 1;
    }
    if (argc == 3)
        serve();
    else
        call(argv[3]);
}
