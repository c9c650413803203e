/* What the counter's files share. One vCPU, one thread: nothing here is locked. */
#ifndef COUNTER_H
#define COUNTER_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define MAX_PHASES 16
#define MAX_MARKS 64
#define MAX_IMAGES 1024
#define MAX_NAME 32
#define NO_IMAGE 0
#define NO_MARK 0
#define ROOT 0

/* Below this, addresses are the firmware's and the loaders': memory mapped one to one. Above it
 * and below the kernel's half, they are user space's. */
#define LOW_END UINT64_C(0x100000000)
#define KERNEL_HALF UINT64_C(0xffff800000000000)
#define KERNEL_TEXT UINT64_C(0xffffffff80000000)

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
    MARK_FORWARD   /* a function of the kernel: the clock is put forward when it begins */
};

struct mark {
    enum mark_kind kind;
    unsigned phase;
    uint64_t address;            /* all but MARK_IMAGE, MARK_CODE, MARK_USER */
    bool anywhere;               /* MARK_KERNEL: no address is known */
    uint64_t code;               /* MARK_CODE: little-endian */
    uint64_t end;                /* MARK_THUNK */
    uint32_t stamp, size, entry; /* MARK_IMAGE: TimeDateStamp, SizeOfImage, AddressOfEntryPoint */
};

struct config {
    char phases[MAX_PHASES][MAX_NAME];
    bool forward[MAX_PHASES]; /* the clock is put forward when the phase begins */
    unsigned phase_count;     /* phase 0 is there from the beginning */
    struct mark marks[MAX_MARKS];
    unsigned mark_count; /* mark 0 is none */
};

/* Gives NULL, or what is wrong with the file. */
const char *config_read(struct config *config, FILE *file);

/* ---- clock.c: the emulator's own clock */
const char *clock_open(void);
uint64_t clock_wait_ns(void);       /* virtual time that passed without an instruction */
uint64_t clock_instructions(void);  /* the emulator's count, exact between blocks */
uint64_t clock_host_ns(void);
void clock_forward(void);           /* to the next full step, without a wait */

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

void match_open(const struct config *config);
unsigned match_mark(uint64_t pc, unsigned image, uint64_t code); /* or NO_MARK */
bool match_thunk(uint64_t pc);
const struct where *match_where(void);

/* ---- tree.c: calling contexts, and the instructions spent in each */
struct block {
    uint64_t pc;
    uint32_t image;
    uint32_t index;
    uint32_t mark;
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
bool stack_truncated(void);
uint32_t stack_node(void);                         /* the context that runs now */
void stack_call(uint64_t slot, const struct block *entry); /* its return address is at `slot` */
void stack_return(uint64_t slot);                           /* one was taken from `slot` */
/* Says whether `block` begins a function that a thunk has passed the call on to. */
bool stack_settle(const struct block *block);
struct frame_id stack_top(void);
bool stack_holds(struct frame_id frame);           /* has not returned yet */

#endif
