/* Runs as the program of a zone and looks at what init promised: prints "ok NAME" or "FAILED NAME"
 * for each, "facts end" after the last, and ends with status 7. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

static void fact(bool holds, const char *name)
{
    char line[128] = "";

    strcat(line, holds ? "ok " : "FAILED ");
    strcat(line, name);
    strcat(line, "\n");
    if (write(STDOUT_FILENO, line, strlen(line)) < 0)
        _exit(1);
}

static void about_mount(const char *path, unsigned long type, unsigned long flags)
{
    struct statfs status;
    struct statvfs options;

    fact(statfs(path, &status) == 0 && (unsigned long)status.f_type == type &&
             statvfs(path, &options) == 0 && (options.f_flag & flags) == flags,
         path);
}

static void about_mounts(void)
{
    const unsigned long tmpfs = 0x01021994, plain = ST_NOSUID | ST_NODEV | ST_NOEXEC;
    struct stat status;

    about_mount("/dev", tmpfs, ST_NOSUID | ST_NOEXEC);
    about_mount("/dev/pts", 0x1cd1, ST_NOSUID | ST_NOEXEC);
    about_mount("/dev/shm", tmpfs, ST_NOSUID | ST_NODEV);
    about_mount("/proc", 0x9fa0, plain);
    about_mount("/sys", 0x62656572, plain);
    about_mount("/sys/fs/cgroup", 0x63677270, plain);
    about_mount("/run", tmpfs, ST_NOSUID | ST_NODEV);
    about_mount("/tmp", tmpfs, ST_NOSUID | ST_NODEV);
    fact(stat("/tmp", &status) == 0 && (status.st_mode & 07777) == 01777, "mode of /tmp");
    fact(stat("/run", &status) == 0 && (status.st_mode & 07777) == 0755, "mode of /run");
    fact(stat("/dev/vda", &status) == 0 && S_ISBLK(status.st_mode), "devtmpfs has devices");
}

static void about_process(int argc, char **argv)
{
    sigset_t blocked;
    bool none = sigprocmask(SIG_SETMASK, NULL, &blocked) == 0;
    bool open_beyond = false;

    for (int number = 1; number < 32; number++)
        none = none && sigismember(&blocked, number) == 0;
    for (int descriptor = 3; descriptor < 64; descriptor++)
        open_beyond = open_beyond || fcntl(descriptor, F_GETFD) >= 0;
    fact(getppid() == 1, "child of init");
    fact(getsid(0) == getpid(), "own session");
    fact(none, "no blocked signals");
    fact(!open_beyond, "no inherited files");
    fact(isatty(0) && isatty(1) && isatty(2), "terminal");
    fact(argc == 3 && strcmp(argv[1], "one") == 0 && strcmp(argv[2], "two words") == 0,
         "arguments");
    fact(getenv("PATH") && strstr(getenv("PATH"), "/usr/bin"), "PATH");
    fact(getenv("colour") && strcmp(getenv("colour"), "green") == 0, "environment");
}

static void about_network(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    struct ifreq request = {.ifr_name = "lo"};
    int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);

    fact(ioctl(client, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP), "lo is up");
    fact(bind(server, (struct sockaddr *)&address, size) == 0 && listen(server, 1) == 0 &&
             getsockname(server, (struct sockaddr *)&address, &size) == 0 &&
             connect(client, (struct sockaddr *)&address, size) == 0,
         "a connection over lo");
    close(server);
    close(client);
}

static void about_terminals(void)
{
    int leader = posix_openpt(O_RDWR | O_NOCTTY), follower = -1;

    if (leader >= 0 && unlockpt(leader) == 0)
        follower = open(ptsname(leader), O_RDWR | O_NOCTTY);
    fact(follower >= 0, "pseudo-terminals");
}

/* Makes a grandchild whose parent ends at once; it lives on for `linger`, then ends. */
static pid_t orphan(void (*life)(void))
{
    int report[2];
    pid_t middle, last = -1;

    if (pipe(report) < 0)
        return -1;
    middle = fork();
    if (middle == 0) {
        pid_t grandchild = fork();

        if (grandchild == 0) {
            close(report[0]);
            close(report[1]);
            while (getppid() != 1)
                usleep(1000);
            life();
            _exit(0);
        }
        if (write(report[1], &grandchild, sizeof(grandchild)) < 0)
            _exit(1);
        _exit(0);
    }
    if (read(report[0], &last, sizeof(last)) != sizeof(last))
        last = -1;
    waitpid(middle, NULL, 0);
    close(report[0]);
    close(report[1]);
    return last;
}

static void ends_at_once(void)
{
}

static void stays(void)
{
    for (;;)
        pause();
}

static void about_orphans(void)
{
    pid_t pids[20];
    int left = 0;

    for (int i = 0; i < 20; i++)
        pids[i] = orphan(ends_at_once);
    for (int spent = 0; spent < 2000; spent += 10) {
        left = 0;
        for (int i = 0; i < 20; i++)
            left += pids[i] < 0 || kill(pids[i], 0) == 0; /* a zombie still takes signals */
        if (left == 0)
            break;
        usleep(10000);
    }
    fact(left == 0, "orphans are reaped");
}

static void about_disk(void)
{
    int file = -1;

    mkdir("/mnt", 0755);
    mkdir("/mnt/a disk", 0755);
    if (mount("/dev/vda", "/mnt/a disk", "ext4", 0, NULL) == 0)
        file = open("/mnt/a disk/written", O_WRONLY | O_CREAT, 0644);
    fact(file >= 0 && write(file, "not synced\n", 11) == 11, "a disk is written to");
    /* The orphan inherits both: it has to be killed before the disk can be unmounted. */
    signal(SIGTERM, SIG_IGN);
    fact(chdir("/mnt/a disk") == 0 && orphan(stays) > 0, "an orphan stays");
}

int main(int argc, char **argv)
{
    about_mounts();
    about_process(argc, argv);
    about_network();
    about_terminals();
    about_orphans();
    about_disk();
    fact(true, "end");
    return 7;
}
