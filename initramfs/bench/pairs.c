/* Two processes on one processor that answer each other: by pipes, and by TCP over loopback. */
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define PORT 4000

static int to_child, from_child;
static pid_t child;

/* What comes in goes out again, until the other side closes. */
static _Noreturn void answer(int in, int out)
{
    char byte;

    while (read(in, &byte, 1) == 1 && write(out, &byte, 1) == 1)
        ;
    _exit(0);
}

static void ask(unsigned int count)
{
    char byte = 1;

    while (count--)
        need(write(to_child, &byte, 1) == 1 && read(from_child, &byte, 1) == 1, "answer");
}

static void open_pipes(void)
{
    int there[2], back[2];

    need(pipe(there) == 0 && pipe(back) == 0, "pipe");
    child = fork();
    need(child >= 0, "fork");
    if (child == 0) {
        close(there[1]);
        close(back[0]);
        answer(there[0], back[1]);
    }
    close(there[0]);
    close(back[1]);
    to_child = there[1];
    from_child = back[0];
}

static void close_pair(void)
{
    if (to_child != from_child)
        close(to_child);
    close(from_child);
    waitpid(child, NULL, 0);
}

static void raise_loopback(void)
{
    struct ifreq request;
    int any = socket(AF_INET, SOCK_DGRAM, 0);

    memset(&request, 0, sizeof(request));
    memcpy(request.ifr_name, "lo", sizeof("lo"));
    need(any >= 0 && ioctl(any, SIOCGIFFLAGS, &request) == 0, "lo");
    request.ifr_flags |= IFF_UP;
    need(ioctl(any, SIOCSIFFLAGS, &request) == 0, "lo");
    close(any);
}

static void open_connection(void)
{
    const struct sockaddr_in here = {
        .sin_family = AF_INET,
        .sin_port = htons(PORT),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    const int on = 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0), other;

    raise_loopback();
    need(listener >= 0 && bind(listener, (const void *)&here, sizeof(here)) == 0, "bind");
    need(listen(listener, 1) == 0, "listen");
    to_child = from_child = socket(AF_INET, SOCK_STREAM, 0);
    need(connect(to_child, (const void *)&here, sizeof(here)) == 0, "connect");
    other = accept(listener, NULL, NULL);
    need(other >= 0, "accept");
    /* Each byte goes at once. */
    need(setsockopt(to_child, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
             setsockopt(other, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0,
         "nodelay");
    child = fork();
    need(child >= 0, "fork");
    if (child == 0) {
        close(to_child);
        answer(other, other);
    }
    close(listener);
    close(other);
}

const struct bench pair_benches[] = {
    {"pipe", 20, open_pipes, ask, close_pair},
    {"tcp", 10, open_connection, ask, close_pair},
    {NULL, 0, NULL, NULL, NULL},
};
