/* What the counter's files share. One thread runs all vCPUs: nothing here is locked. */
#ifndef COUNTER_H
#define COUNTER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define MAX_PHASES 16
#define MAX_MARKS 160
#define MAX_CPUS 64
#define MAX_CODE 32
#define MAX_IMAGES 1024
#define MAX_NAME 32
#define NO_IMAGE 0
#define NO_MARK 0
#define ROOT 0

/* Below this, addresses are the firmware's and the loaders': memory mapped one to one. Above it and
 * below the kernel's half, they are user space's, whose programs and stacks lie far above 1 TiB. */
#define LOW_END UINT64_C(0x10000000000)
#define KERNEL_HALF UINT64_C(0xffff800000000000)
#define KERNEL_TEXT UINT64_C(0xffffffff80000000)
/* Below this the kernel's half belongs to a hypervisor, if there is one (Xen, HYPERVISOR_VIRT_END).
 * Its guests see nothing there. */
#define HYPERVISOR_END UINT64_C(0xffff880000000000)

/* Whose code a block is where there is a hypervisor. Guests have the same addresses, user space and
 * low memory are whichever guest's ran last. */
enum space { SPACE_ANY, SPACE_HYPERVISOR, SPACE_HOST, SPACE_ZONE, SPACES };
/* In the place of an image's number, for guests' code: their kernels, and user space as a whole. */
#define SPACE_IMAGE 0xff00u

/* ---- config.c: what to watch for */
enum mark_kind {
    MARK_NONE,
    MARK_IMAGE,    /* the entry point of a PE image */
    MARK_PHYSICAL, /* an address in low memory */
    MARK_CODE,     /* a block in low memory that begins with these 8 bytes */
    MARK_KERNEL,   /* the first instruction at the kernel's own address */
    MARK_SPAN,     /* a function of the kernel: its phase lasts until it returns */
    MARK_USER,     /* user space's first instruction */
    MARK_END,      /* counting ends: an address in user space, from its first instruction */
    MARK_THUNK,    /* code of the kernel that only passes a call on */
    MARK_FORWARD,  /* a function of the kernel: the clock is put forward when it begins */
    MARK_GUEST,    /* the entry of a guest's kernel */
    MARK_PROGRAM,  /* the entry of a program in user space, wherever it lies */
    MARK_AT        /* an address in the first program of user space */
};

struct mark {
    enum mark_kind kind;
    unsigned phase;
    uint64_t address;            /* all but MARK_IMAGE, MARK_CODE, MARK_USER */
    bool anywhere;               /* MARK_KERNEL: no address is known */
    uint64_t code;               /* MARK_CODE: little-endian */
    uint8_t bytes[MAX_CODE];     /* what has to be there */
    unsigned byte_count;
    bool ordered;                /* counts only in the phase `after` */
    unsigned after;
    enum space space;            /* MARK_SPAN, MARK_THUNK, MARK_FORWARD */
    uint64_t end;                /* MARK_THUNK */
    uint32_t stamp, size, entry; /* MARK_IMAGE: TimeDateStamp, SizeOfImage, AddressOfEntryPoint */
};

struct config {
    char phases[MAX_PHASES][MAX_NAME];
    bool forward[MAX_PHASES]; /* the clock is put forward when the phase begins */
    unsigned phase_count;     /* phase 0 is there from the beginning */
    struct mark marks[MAX_MARKS];
    unsigned mark_count; /* mark 0 is none */
    bool hypervisor;     /* there is one: code is told apart by its space */
};

/* Gives NULL, or what is wrong with the file. */
const char *config_read(struct config *config, FILE *file);

/* ---- clock.c: the emulator's own clock */
const char *clock_open(void);
uint64_t clock_wait_ns(void);       /* virtual time that passed without an instruction */
uint64_t clock_instructions(void);  /* the emulator's count, exact between blocks */
uint64_t clock_host_ns(void);
void clock_forward(void);           /* to the next full step, without a wait */
uint64_t clock_now_ns(void);        /* virtual time, all of it */
/* Each time that the clock was put forward: its time then, and by how much: ns. */
#define MAX_STEPS 1024
struct clock_step {
    uint64_t at, by;
};
unsigned clock_steps(const struct clock_step **list);
bool clock_truncated(void); /* more than MAX_STEPS */

/* ---- ram.c: the emulator's memory */
struct ram {
    const uint8_t *host; /* its first byte */
    uint64_t size;
};

const char *ram_open(void);
/* Gives the block that the byte at `host` lies in; false where it is in none. */
bool ram_around(uint8_t *host, struct ram *ram);

/* ---- image.c: PE images in guest memory */
struct image {
    uint64_t base;
    uint32_t stamp, size, entry, code, checksum;
};

/* Gives the image around `address`, whose byte is at `host` in the block `ram`, or NO_IMAGE. */
unsigned image_find(uint64_t address, const uint8_t *host, const struct ram *ram);
bool image_truncated(void);
unsigned image_count(void);
const struct image *image_at(unsigned index);

/* ---- match.c: the marks that code is */
struct where {
    bool kernel_seen, kernel_fits; /* it ran; it is the one that the marks are of */
    uint64_t kernel_slide, first_user;
};

/* What is translated: `host` is the emulator's byte at `pc`, or NULL; `code` the first 8 bytes in low
 * memory. */
struct code_at {
    uint64_t pc;
    const uint8_t *host;
    uint64_t code;
    unsigned image;
    enum space space;
};

void match_open(const struct config *config);
enum space match_space(const struct code_at *at);
unsigned match_mark(const struct code_at *at); /* or NO_MARK */
bool match_thunk(const struct code_at *at);
const struct where *match_where(void);

/* ---- tree.c: calling contexts, and the instructions spent in each */
struct block {
    uint64_t pc;
    uint32_t image;
    uint32_t index;
    uint32_t mark;
    enum space space;
    bool thunk;
    struct count *counted; /* where it counted last */
};

struct count {
    uint64_t key; /* 0 is an empty slot */
    uint64_t instructions;
    uint64_t times; /* the block was begun */
};

bool tree_open(void);
bool tree_truncated(void);
struct block *tree_block(uint64_t pc, unsigned image, unsigned mark);
uint32_t tree_child(uint32_t parent, const struct block *entry);
void tree_enter(unsigned phase, uint32_t node); /* a call */
struct count *tree_count(unsigned phase, uint32_t node, struct block *block);
void tree_write(FILE *out);

/* ---- stack.c: who called whom */
struct frame_id {
    uint32_t stack;
    uint32_t depth;
};

bool stack_open(void);
void stack_on(unsigned cpu); /* the functions below are about what this one runs */
/* `block` begins to run, maybe in another space. Says whether another guest runs now. */
bool stack_enter(const struct block *block);
enum space stack_guest(void);                /* whose user space would run now */
bool stack_truncated(void);
uint32_t stack_node(void);                         /* the context that runs now */
void stack_call(uint64_t slot, const struct block *entry); /* its return address is at `slot` */
void stack_return(uint64_t slot);                           /* one was taken from `slot` */
/* Says whether `block` begins a function that a thunk has passed the call on to. */
bool stack_settle(const struct block *block);
struct frame_id stack_top(void);
bool stack_holds(struct frame_id frame);           /* has not returned yet */

/* ---- phases.c: what is counted now, and what each phase took */
void phases_open(const struct config *config);
void phases_on(unsigned cpu); /* it runs from now on */
void phases_resume(void);     /* enters the phase that the CPU is in: of its innermost span, or none */
void phases_end_spans(void);  /* those whose function has returned */
bool phases_pass(const struct mark *mark); /* says whether counting ends here */
unsigned phases_now(void);
bool phases_truncated(void);
void phases_write(FILE *out);

/* ---- main.c */
uint64_t executed_now(void); /* instructions */

#endif
