/* Says whether the firmware has EFI_MEMORY_ATTRIBUTE_PROTOCOL, for tests/boot/test_placement.py. */
#include <stdint.h>

struct guid {
    uint32_t a;
    uint16_t b, c;
    uint8_t d[8];
};

/* UEFI 2.10 section 4.4, named as far as it is used here. */
struct boot_services {
    uint8_t header[24];
    void *before_locate_protocol[37];
    uint64_t (*locate_protocol)(const struct guid *protocol, void *registration, void **interface);
};

/* UEFI 2.10 section 4.3 */
struct system_table {
    uint8_t header[24];
    void *before_services[9];
    struct boot_services *boot_services;
};

static const struct guid memory_attribute = {
    0xf4560cf6, 0x40ec, 0x4b4a, {0xa1, 0x92, 0xbf, 0x1d, 0x57, 0xd0, 0xb1, 0x89}};

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

uint64_t efi_main(void *image, const struct system_table *system)
{
    void *interface;

    (void)image;
    if (system->boot_services->locate_protocol(&memory_attribute, 0, &interface) == 0)
        print("\r\nattributes: offered\r\n");
    else
        print("\r\nattributes: absent\r\n");
    for (;;)
        __asm__ volatile("hlt");
}
