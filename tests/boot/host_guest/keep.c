/* Reads what the zone before it left on its disk, and leaves a mark of its own. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
    char text[512] = "", found[512];
    int disk = -1;

    for (int i = 0; i < 500 && (disk = open("/dev/xvdb", O_RDWR)) < 0; i++)
        usleep(10000);
    if (disk < 0 || pread(disk, text, sizeof(text) - 1, 0) < 0)
        return 1;
    text[strcspn(text, "\n")] = '\0';
    printf("kept: %s\n", text);
    memcpy(found, text, sizeof(found));
    memset(text, 0, sizeof(text));
    strcpy(text, "written by a zone\n");
    if (pwrite(disk, text, sizeof(text), 0) != sizeof(text) || fsync(disk) < 0)
        return 1;
    printf("root: %s\n", access("/init", W_OK) < 0 ? "read-only" : "WRITABLE");
    printf("done after %s\n", found);
    fflush(stdout);
    for (;;)
        pause();
}
