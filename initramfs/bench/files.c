/* Reading a file that is in memory. */
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "bench.h"

#define PIECE 4096
#define PIECES 64

static char piece[PIECE];
static int file;

static void make_file(void)
{
    need(mount("tmpfs", "/tmp", "tmpfs", 0, NULL) == 0, "tmpfs");
    file = open("/tmp/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    need(file >= 0, "open");
    for (int at = 0; at < PIECES; at++)
        need(write(file, piece, PIECE) == PIECE, "write");
}

static void read_pieces(unsigned int count)
{
    for (unsigned int at = 0; at < count; at++)
        need(pread(file, piece, PIECE, (off_t)(at % PIECES) * PIECE) == PIECE, "file-read");
}

static void remove_file(void)
{
    close(file);
    umount("/tmp");
}

const struct bench file_benches[] = {
    {"file-read", 64, make_file, read_pieces, remove_file},
    {NULL, 0, NULL, NULL, NULL},
};
