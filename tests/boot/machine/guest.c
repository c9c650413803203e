/* A guest that behaves as -DBEHAVIOUR tells it, for tests/boot/test_machine_boot.py. */
#include <stdint.h>

enum { READY, PANIC, POWER_OFF, RESET, HANG, RETURN, EXCEPTION, HOST, ZONE_PANIC };
enum reset_type { COLD_RESET, WARM_RESET, SHUTDOWN };

/* UEFI 2.10 section 4.5, named as far as it is used here. */
struct runtime_services {
    uint8_t header[24];
    void *before_reset[10];
    void (*reset_system)(enum reset_type type, uint64_t status, uint64_t size, void *data);
};

/* UEFI 2.10 section 4.3 */
struct system_table {
    uint8_t header[24];
    void *before_services[8];
    struct runtime_services *runtime_services;
};

/* Waits after each byte until it is sent (line status, bit 6), so that none is lost at power-off. */
static void print(const char *text)
{
    for (; *text; text++) {
        uint8_t status;

        __asm__ volatile("outb %0, %1" : : "a"(*text), "Nd"((uint16_t)0x3f8));
        do
            __asm__ volatile("inb %1, %0" : "=a"(status) : "Nd"((uint16_t)0x3fd));
        while (!(status & 0x40));
    }
}

static void hang(void)
{
    for (;;)
        __asm__ volatile("hlt");
}

uint64_t efi_main(void *image, const struct system_table *system)
{
    (void)image;
    print("\x1b[2J\x1b[01;01Hguest: \x1b[1mhello\x1b[0m\x07\r\n");
    switch (BEHAVIOUR) {
    case READY:
        print("sprout-ready v=2 entry=2000000 handover=2500000 copied=4096 hz=1000000 free=1024 "
              "init=4000000 ready=4250000\n");
        print("sprout-init: /bin/true exited with status 0\n");
        break;
    case PANIC:
        print("[    1.000000] last words\n");
        print("[    1.000001] Kernel panic - not syncing: Attempted to kill init! "
              "exitcode=0x00000100\n");
        print("[    1.000002] Call Trace:\n");
        print("[    1.000003]  do_exit+0x1/0x2\n");
        hang();
        break;
    case HOST:
        print("sprout-ready v=2 entry=1 handover=1 copied=0 hz=1 free=1 init=1 ready=1\n");
        print("[first] sprout-ready v=2 entry=0 handover=0 copied=0 hz=1000000 free=9 init=5 "
              "ready=9\n");
        print("sprout-zone v=1 zone=first create=6000000 unpaused=6200000 init=6700000 "
              "ready=6800000 free=1024\n");
        print("sprout-host v=1 entry=2000000 handover=2500000 copied=4096 hz=1000000 free=1024 "
              "kernel=3000000 init=4000000 services=5900000 ready=6800000\n");
        break;
    case ZONE_PANIC:
        print("[first] [    0.1] Kernel panic - not syncing: No working init found.\n");
        print("[first] [    0.1] Call Trace:\n");
        hang();
        break;
    case RESET:
        system->runtime_services->reset_system(COLD_RESET, 0, 0, 0);
        break;
    case HANG:
        hang();
        break;
    case RETURN:
        return 0;
    case EXCEPTION:
        __asm__ volatile("ud2");
        break;
    default:
        break;
    }
    system->runtime_services->reset_system(SHUTDOWN, 0, 0, 0);
    return 0;
}
