/* An init for one test: runs the commands that the documentation gives for efivarfs. */
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    mkdir("/sys", 0755);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    mount("efivarfs", "/sys/firmware/efi/efivars", "efivarfs", 0, NULL);
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/sh", "sh", "/commands", (char *)NULL);
        _exit(127);
    }
    int status = -1;
    waitpid(child, &status, 0);
    printf("\nefivars: done, status=%d\n", status);
    fflush(stdout);
    reboot(RB_POWER_OFF);
    return 0;
}
