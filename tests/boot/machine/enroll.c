/* Writes the variables that \PLAN on its own disk lists (tests/support/secure.py, write_plan), and
 * says what the firmware answered to each: `enroll: 0 status=0`. Then it waits to be ended. */
#include <stdint.h>

#define MAX_PLAN (1u << 20)
#define NAME_CHARS 32
#define OPEN_READ 1u

typedef uint64_t status_t;
struct guid {
    uint8_t bytes[16];
};

/* UEFI 2.10 sections 4.3, 4.4, 4.5, 9.1, 13.4 and 13.5, named as far as they are used here. */
struct runtime_services {
    uint8_t header[24];
    void *before_get_variable[6];
    status_t (*get_variable)(const uint16_t *name, const struct guid *vendor, uint32_t *attributes,
                             uint64_t *size, void *data);
    void *get_next_variable_name;
    status_t (*set_variable)(const uint16_t *name, const struct guid *vendor, uint32_t attributes,
                             uint64_t size, const void *data);
};

struct boot_services {
    uint8_t header[24];
    void *before_handle_protocol[16];
    status_t (*handle_protocol)(void *handle, const struct guid *protocol, void **interface);
};

struct system_table {
    uint8_t header[24];
    void *before_services[8];
    struct runtime_services *runtime_services;
    struct boot_services *boot_services;
};

struct loaded_image {
    uint64_t revision;
    void *parent;
    void *system_table;
    void *device;
};

struct file {
    uint64_t revision;
    status_t (*open)(struct file *self, struct file **opened, const uint16_t *name, uint64_t mode,
                     uint64_t attributes);
    void *close;
    void *delete_file;
    status_t (*read)(struct file *self, uint64_t *size, void *data);
};

struct file_system {
    uint64_t revision;
    status_t (*open_volume)(struct file_system *self, struct file **root);
};

struct write {
    uint16_t name[NAME_CHARS];
    struct guid vendor;
    uint32_t attributes;
    uint32_t size;
};

static const struct guid loaded_image_guid = {{0xa1, 0x31, 0x1b, 0x5b, 0x62, 0x95, 0xd2, 0x11, 0x8e,
                                               0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const struct guid file_system_guid = {{0x22, 0x5b, 0x4e, 0x96, 0x59, 0x64, 0xd2, 0x11, 0x8e,
                                              0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b}};
static const struct guid global_guid = {{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d,
                                         0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}};
static uint8_t plan[MAX_PLAN];

/* Waits after each byte until it is sent (line status, bit 6), so that none is lost. */
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

static void print_hex(uint64_t number)
{
    char text[17] = "";
    int at = 16;

    do
        text[--at] = "0123456789abcdef"[number & 15];
    while ((number >>= 4) != 0 && at > 0);
    print(text + at);
}

static uint64_t read_plan(void *image, const struct boot_services *boot)
{
    struct loaded_image *loaded;
    struct file_system *disk;
    struct file *root, *file;
    uint64_t size = MAX_PLAN;

    if (boot->handle_protocol(image, &loaded_image_guid, (void **)&loaded) != 0 ||
        boot->handle_protocol(loaded->device, &file_system_guid, (void **)&disk) != 0 ||
        disk->open_volume(disk, &root) != 0 ||
        root->open(root, &file, L"\\PLAN", OPEN_READ, 0) != 0 || file->read(file, &size, plan) != 0)
        return 0;
    return size;
}

static void show(const struct runtime_services *runtime, const char *text, const uint16_t *name)
{
    uint8_t value = 0xff;
    uint64_t size = sizeof(value);
    uint32_t attributes;

    runtime->get_variable(name, &global_guid, &attributes, &size, &value);
    print(text);
    print_hex(value);
    print("\n");
}

static void show_mode(const struct runtime_services *runtime)
{
    show(runtime, "enroll: SetupMode=", L"SetupMode");
    show(runtime, "enroll: SecureBoot=", L"SecureBoot");
}

uint64_t efi_main(void *image, const struct system_table *system)
{
    const struct runtime_services *runtime = system->runtime_services;
    uint64_t size = read_plan(image, system->boot_services), at = 0, number = 0;

    print("\n");
    show_mode(runtime);
    while (size - at >= sizeof(struct write)) {
        const struct write *write = (const struct write *)(plan + at);
        status_t status;

        at += sizeof(*write);
        if (write->name[NAME_CHARS - 1] != 0 || write->size > size - at)
            break;
        status = runtime->set_variable(write->name, &write->vendor, write->attributes, write->size,
                                       plan + at);
        at += write->size;
        print("enroll: ");
        print_hex(number++);
        print(" status=");
        print_hex(status & 0xff);
        print("\n");
        /* What follows is read through uint16_t and uint32_t. */
        at = (at + 7) & ~(uint64_t)7;
        if (at > size)
            break;
    }
    show_mode(runtime);
    print(at >= size ? "enroll: done\n" : "enroll: the plan is damaged\n");
    for (;;)
        __asm__ volatile("hlt");
}
