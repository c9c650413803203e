/* The zone's init: makes the kernel's promises true, says that it is ready, and looks after one
 * program, which is named after `--` on the kernel command line:
 *
 *     console=ttyS0 quiet -- /bin/program argument
 *
 * When the program ends, the machine powers off, or reboots when its exit status is 133. Without a
 * program, init reaps orphans until it is told to stop. supervise.c lists what each signal does.
 *
 * Called as `poweroff` or `reboot`, which the kernel itself does when a hypervisor asks for it,
 * the same file tells PID 1.
 */
#include <errno.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/ticks.h"
#include "zone.h"

/* The time that is left to processes that outlive the program. */
#define ORPHANS_GRACE_MS 2000

static bool prepare(void)
{
    /* From here on Ctrl-Alt-Del sends SIGINT instead of restarting on the spot. */
    reboot(RB_DISABLE_CAD);
    block_signals();
    umask(022);
    if (!mount_each(zone_mounts, zone_mount_count) || !mount_efivarfs())
        return false;
    open_console();
    restrict_tracing();
    return loopback_up();
}

static void announce_ready(uint64_t started)
{
    struct sprout_stamps stamps;
    struct sprout_ready ready = {.init = started};

    read_stamps(&stamps);
    ready.entry = stamps.tsc_entry;
    ready.handover = stamps.tsc_handover;
    ready.copied = stamps.bytes_copied;
    ready.hz = stamps.tsc_hz ? stamps.tsc_hz : counter_hz();
    ready.free = free_kib();
    ready.ready = ticks();
    announce(&ready);
}

/* Does init's work and gives how the machine ends. */
static enum ending run_zone(int argc, char **argv, uint64_t started)
{
    char **words;
    pid_t program = 0;

    if (!prepare())
        return END_POWEROFF;
    words = program_words(argc, argv);
    if (words && !can_run(words[0]))
        return END_POWEROFF;
    announce_ready(started);
    if (words) {
        program = start_program(words, -1);
        if (program < 0)
            return END_POWEROFF;
    }
    return supervise(program, words ? words[0] : NULL);
}

int main(int argc, char **argv)
{
    uint64_t started = ticks();
    enum ending ending;

    if (getpid() != 1)
        return ask_init(argc > 0 ? argv[0] : "");
    ending = run_zone(argc, argv, started);
    stop_everything(ORPHANS_GRACE_MS);
    end_machine(ending);
}
