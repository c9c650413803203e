/* A mock firmware: as much of UEFI as the stub uses, with everything it did open to inspection. */
#ifndef SPROUT_MOCK_H
#define SPROUT_MOCK_H
#include <setjmp.h>
#include <stdbool.h>

#include "cpu.h"
#include "proto/load_file2.h"
#include "proto/loaded_image.h"
#include "proto/memory_attribute.h"

#define MOCK_VARIABLES 16
#define MOCK_PAGES 512
#define MOCK_FOREIGN 6
#define MOCK_LOW 6

struct mock_variable {
    char name[40];
    EFI_GUID vendor;
    uint32_t attributes;
    size_t size;
    uint8_t data[2304];
};

/* Another program's handle. One without a file has nothing but its device path. */
struct mock_foreign {
    bool has_path;      /* the initrd's whole device path */
    bool has_no_nodes;  /* or one without nodes, which is the beginning of every path */
    EFI_LOAD_FILE2_PROTOCOL *file;
};

/* What AllocatePages gave with a limit to the address. */
struct mock_low {
    uint8_t *memory; /* NULL where it is free */
    size_t pages;
    uint32_t type;
};

struct mock_page {
    uint64_t address; /* 0 where the entry is free */
    uint64_t attributes;
};

struct mock {
    EFI_SYSTEM_TABLE system;
    EFI_BOOT_SERVICES boot;
    EFI_RUNTIME_SERVICES runtime;
    EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL text;
    EFI_MEMORY_ATTRIBUTE_PROTOCOL attribute_protocol;
    EFI_LOADED_IMAGE_PROTOCOL image;
    EFI_CONFIGURATION_TABLE tables[2];
    const void *device_path; /* of image.DeviceHandle */
    char console[1024];      /* what was printed, as ASCII */
    bool hides_image;        /* there is no loaded image protocol */
    bool refuses_initrd;     /* LoadFile2 cannot be installed */

    struct mock_variable variables[MOCK_VARIABLES];
    bool variables_are_full;
    EFI_STATUS reading_fails; /* what GetVariable gives for a variable that is there; 0: its data */

    EFI_LOAD_FILE2_PROTOCOL *theirs; /* what other programs offer */
    struct mock_foreign foreign[MOCK_FOREIGN];
    bool keeps_foreign;              /* nothing of theirs can be uninstalled */
    bool answers;                    /* somebody else installs theirs as soon as ours is there */
    EFI_LOAD_FILE2_PROTOCOL *initrd; /* installed by the stub, on whichever handle */
    size_t initrd_is_on;             /* a foreign handle's number from 1 on, or 0: its own */

    void *allocation; /* the one that AllocatePages gave */
    size_t allocated_pages;
    uint32_t allocated_type;
    size_t memory_limit; /* pages that may be allocated; 0: any number */
    bool memory_is_full;
    bool misaligned; /* AllocatePages gives an odd page */

    struct mock_low low[MOCK_LOW];
    size_t low_calls;
    size_t low_call_that_fails; /* counted from 1; 0: none does */

    bool has_attributes;
    bool allows_mixed;            /* pages may be writable and executable at once */
    uint64_t attributes_at_first; /* of every page, and again of those that are freed */
    bool attributes_differ;       /* they cannot be asked for */
    struct mock_page pages[MOCK_PAGES];
    int attribute_calls;
    int attribute_call_that_fails; /* counted from 1; 0: none does */

    uint64_t ticks;          /* the counter */
    uint64_t ticks_per_read; /* how far it goes on with each look at a clock */
    uint64_t hz;             /* its true frequency, for the PM timer */
    uint32_t timer_start;    /* the PM timer's value at tick 0 */
    int port_reads;
    int slow_port_read; /* which one takes 20 ms; 0 is none */
    struct cpuid leaf_0, leaf_1, leaf_15, leaf_hypervisor, leaf_hypervisor_10;

    const uint8_t *memory; /* physical memory, for ACPI tables */
    uint64_t memory_base;
    uint64_t memory_size;

    /* Called in the place of the kernel's entry point. */
    EFI_STATUS (*kernel)(const uint8_t *entry, EFI_HANDLE self, EFI_SYSTEM_TABLE *system);
    int kernel_runs;
    /* The same of a hypervisor's; when it comes back, it has taken over. */
    void (*hypervisor)(const uint8_t *entry, uint32_t magic, const uint8_t *information);
    int hypervisor_runs;
    jmp_buf exit_jump;
    bool exit_is_armed;
    EFI_STATUS exit_status;
};

extern struct mock mock;

/* A firmware with nothing in it but its tables. */
void mock_reset(void);

/* Calls efi_main as StartImage does, Exit included. A hypervisor that took over is a success, after
 * which everything is as it left it. */
EFI_STATUS mock_start_image(void);

/* How many allocations below 4 GiB have not been freed. */
size_t mock_low_count(void);

/* Gives `size` bytes, whole pages filled with `byte`, below 4 GiB or above. */
uint8_t *mock_pages_at(bool low, size_t size, int byte);

/* Finds a variable; NULL where there is none. */
struct mock_variable *mock_variable(const char *name);

/* A variable's UTF-16 text as ASCII; "" where there is none. */
const char *mock_text(const char *name);

/* The attributes of the page at `address`. */
uint64_t mock_page_attributes(const void *address);

/* Loads the initrd as Linux does. Gives its size, or -1 when there is none; `buffer` of `room`
 * bytes gets its start. */
long mock_load_initrd(uint8_t *buffer, size_t room);

#endif
