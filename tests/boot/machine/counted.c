/* A guest without firmware's help, started by its PVH entry, that does to the counting plugin what
 * -DBEHAVIOUR tells it; for tests/boot/test_counter.py. 32-bit, without paging at first (the Xen
 * project's docs/misc/pvh.pandoc). */
#include <stdint.h>

enum { MAPPED, IMAGES, REUSED };

#define PAGE 4096u
/* A page directory of 4 MiB pages: Intel SDM volume 3, section 4.3. */
#define LARGE 0x83u
#define ELSEWHERE 0x40000000u
#define FREE 0x400000u
#define IMAGE_COUNT 1100u

__asm__(".pushsection .note.pvh, \"a\", @note\n"
        ".long 4, 4, 18\n" /* XEN_ELFNOTE_PHYS32_ENTRY */
        ".asciz \"Xen\"\n"
        ".long _start\n"
        ".popsection\n"
        ".globl _start\n"
        "_start: cli\n"
        "mov $stack_end, %esp\n"
        "call guest\n");

void guest(void);

static uint32_t directory[1024] __attribute__((aligned(PAGE)));
static uint8_t stack[2 * PAGE] __attribute__((used));
__asm__(".set stack_end, stack + 8192");

/* Waits after each byte until it is sent (line status, bit 6). */
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

__attribute__((noinline)) static void finish(void)
{
    print("guest: done\n");
    for (;;)
        __asm__ volatile("hlt");
}

static void run(uintptr_t address)
{
    ((void (*)(void))address)();
}

/* Runs at an address far from where in memory the code lies. */
static void run_mapped(void)
{
    directory[0] = directory[ELSEWHERE >> 22] = LARGE;
    __asm__ volatile("mov %%cr4, %%eax\n"
                     "or $0x10, %%eax\n" /* PSE */
                     "mov %%eax, %%cr4\n"
                     "mov %0, %%cr3\n"
                     "mov %%cr0, %%eax\n"
                     "or $0x80000000, %%eax\n" /* PG */
                     "mov %%eax, %%cr0\n"
                     : : "r"(directory) : "eax", "memory");
    run((uintptr_t)finish + ELSEWHERE);
}

static void write32(uintptr_t address, uint32_t value)
{
    *(volatile uint32_t *)address = value;
}

/* Runs code in more PE images than the plugin remembers. */
static void run_images(void)
{
    for (uintptr_t base = FREE; base < FREE + IMAGE_COUNT * PAGE; base += PAGE) {
        write32(base, 0x5a4d);         /* MZ */
        write32(base + 0x3c, 0x80);    /* e_lfanew */
        write32(base + 0x80, 0x4550);  /* PE */
        write32(base + 0x98, 0x20b);   /* PE32+ */
        write32(base + 0xd0, PAGE);    /* SizeOfImage */
        write32(base + 0x800, 0xc3);   /* ret */
        run(base + 0x800);
    }
}

/* Runs code, puts other code in its place, and runs that. */
static void run_reused(void)
{
    for (uint32_t number = 0; number < 2; number++) {
        write32(FREE, 0xb9u | number << 8); /* mov $number, %ecx */
        write32(FREE + 4, 0xc3909000);      /* nop, nop, ret */
        run(FREE);
    }
}

void guest(void)
{
    switch (BEHAVIOUR) {
    case MAPPED:
        run_mapped();
        break;
    case IMAGES:
        run_images();
        break;
    default:
        run_reused();
    }
    finish();
}
