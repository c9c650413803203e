/* The loopback interface; the kernel gives it 127.0.0.1 and ::1 itself when it comes up. */
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init.h"

bool loopback_up(void)
{
    struct ifreq request;
    int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up = false;

    memset(&request, 0, sizeof(request));
    memcpy(request.ifr_name, "lo", sizeof("lo"));
    if (any >= 0 && ioctl(any, SIOCGIFFLAGS, &request) == 0) {
        request.ifr_flags |= IFF_UP;
        up = ioctl(any, SIOCSIFFLAGS, &request) == 0;
    }
    if (!up)
        say("lo up", errno);
    if (any >= 0)
        close(any);
    return up;
}
