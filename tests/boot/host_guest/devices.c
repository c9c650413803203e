/* What a zone sees of the devices that its host connects. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void show(const char *what, const char *path, int flags)
{
    char text[64] = "";
    int file = open(path, flags);
    ssize_t got = file < 0 ? -1 : read(file, text, sizeof(text) - 1);

    text[strcspn(text, "\n")] = '\0';
    printf("%s %s\n", what, got < 0 ? "FAILED" : text);
    fflush(stdout);
    if (file >= 0)
        close(file);
}

int main(void)
{
    /* Front ends connect in the background. */
    for (int i = 0; i < 500 && (access("/dev/xvdb", F_OK) || access("/sys/class/net/eth0", F_OK)); i++)
        usleep(10000);
    show("xvda", "/dev/xvda", O_RDWR);
    show("xvdb", "/dev/xvdb", O_RDONLY);
    show("xvda: read-only:", "/sys/block/xvda/ro", O_RDONLY);
    show("xvdb: read-only:", "/sys/block/xvdb/ro", O_RDONLY);
    show("eth0", "/sys/class/net/eth0/address", O_RDONLY);
    return 0;
}
