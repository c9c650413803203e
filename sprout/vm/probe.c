/*
 * The smallest boot that proves an accelerator: UEFI calls it, a timer interrupt wakes it, and it
 * writes one line to the first serial port. Read by sprout/vm/probe.py.
 */
#include <stdint.h>

#define SERIAL_DATA 0x3f8u
#define SERIAL_LINE_STATUS 0x3fdu
#define TRANSMITTER_EMPTY 0x20u

#define EVENT_TIMER 0x80000000u
#define TIMER_RELATIVE 1
#define HUNDRED_NS_PER_MS 10000u

/* UEFI 2.10 section 4.4: the boot services table, named as far as it is used here. */
struct boot_services {
    uint8_t header[24];
    void *before_events[7];
    uint64_t (*create_event)(uint32_t type, uint64_t level, void *notify, void *context,
                             void **event);
    uint64_t (*set_timer)(void *event, int type, uint64_t hundred_ns);
    uint64_t (*wait_for_event)(uint64_t count, void **events, uint64_t *index);
};

/* UEFI 2.10 section 4.3 */
struct system_table {
    uint8_t header[24];
    void *before_services[9];
    struct boot_services *boot_services;
};

static void out_byte(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in_byte(uint16_t port)
{
    uint8_t value;

    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

uint64_t efi_main(void *image, const struct system_table *system)
{
    const struct boot_services *boot = system->boot_services;
    void *event = 0;
    uint64_t index;
    uint64_t status;

    (void)image;
    status = boot->create_event(EVENT_TIMER, 0, 0, 0, &event);
    if (!status)
        status = boot->set_timer(event, TIMER_RELATIVE, HUNDRED_NS_PER_MS);
    if (!status)
        status = boot->wait_for_event(1, &event, &index);
    if (status)
        return status;
    for (const char *text = "sprout-probe: alive\r\n"; *text; text++) {
        while (!(in_byte(SERIAL_LINE_STATUS) & TRANSMITTER_EMPTY))
            ;
        out_byte(SERIAL_DATA, (uint8_t)*text);
    }
    return 0;
}
