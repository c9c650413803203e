/* The host's init: starts what Xen's zones need, the zones in the order of their table, and looks
 * after them. It has no shell, runs no program but the launcher and those of Xen, and takes nothing
 * from outside.
 *
 * Called as `poweroff` or `reboot`, which the kernel itself does, the same file tells PID 1; called
 * as a hotplug script, which xl does, it connects a zone's device (hotplug.c).
 */
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../common/ticks.h"
#include "host.h"

/* The time that is left to what still runs when the zones have ended. */
#define REST_GRACE_MS 2000

static bool prepare(uint64_t started)
{
    /* From here on Ctrl-Alt-Del sends SIGINT instead of restarting on the spot. */
    reboot(RB_DISABLE_CAD);
    block_signals();
    umask(022);
    if (!mount_host())
        return false;
    open_console();
    begin_report(started);
    return loopback_up() && read_zones() && start_services();
}

int main(int argc, char **argv)
{
    uint64_t started = ticks();
    const char *name = argc > 0 ? argv[0] : "";
    enum ending ending = END_POWEROFF;

    if (is_hotplug(name))
        return run_hotplug(name, argc > 1 ? argv[1] : "");
    if (getpid() != 1)
        return ask_init(name);
    if (prepare(started))
        ending = supervise_host();
    expect_services_to_end();
    stop_everything(REST_GRACE_MS);
    end_machine(ending);
}
