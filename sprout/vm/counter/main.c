/* Counts a boot: instructions and waits of each phase, and instructions of each block in each
 * calling context. A TCG plugin for QEMU under -icount, where one thread runs all vCPUs.
 *
 *     -plugin libcounter.so,config=FILE,out=FILE[,cpus=N]
 *
 * Instructions are counted by an addition of their own, one for each: a block that an interrupt or
 * a device access cuts short is counted as far as it ran. Whoever runs gets them when the next
 * block begins.
 */
#include "api.h"
#include "counter.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int qemu_plugin_version = COUNTER_API == 3 ? 3 : COUNTER_API;

static struct config config;
static FILE *out;

/* How the running block ends, and where in memory the return address is that it stored or took.
 * The block's first access of that kind counts: QEMU before 8.0 goes on reporting accesses to a
 * block that has ended, such as the frame that an interrupt pushes or a descriptor that it loads. */
enum transfer { TRANSFER_NONE, TRANSFER_CALL, TRANSFER_RETURN };

/* One thread runs all CPUs in turn. */
static struct cpu {
    enum transfer expected;
    uint64_t transferred;
    bool has_transferred;
} cpus[MAX_CPUS], *cpu = &cpus[0];
static bool ended, too_many_cpus;
static uint64_t attributed;
static unsigned last_cpu; /* the highest number that has run */
static struct count *attributing;

#if COUNTER_API == 1
static uint64_t executed;

uint64_t executed_now(void)
{
    return executed;
}

static void count_instruction(struct qemu_plugin_insn *insn)
{
    qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &executed, 1);
}
#else
static struct qemu_plugin_scoreboard *board;
/* QEMU 10.0 multiplies the number of a CPU by the size of a slot each time that it adds to one, in
 * one block of code: right for CPU 0 alone (accel/tcg/plugin-gen.c, gen_plugin_u64_ptr). */
static bool by_call;
static uint64_t called;

uint64_t executed_now(void)
{
    uint64_t sum = called;

    for (unsigned number = 0; number <= last_cpu; number++)
        sum += *(uint64_t *)qemu_plugin_scoreboard_find(board, number);
    return sum;
}

static void on_instruction(unsigned int vcpu, void *user)
{
    (void)vcpu, (void)user;
    called++;
}

static void count_instruction(struct qemu_plugin_insn *insn)
{
    qemu_plugin_u64 entry = {.score = board, .offset = 0};

    if (by_call) {
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_instruction, QEMU_PLUGIN_CB_NO_REGS, NULL);
        return;
    }
    qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, QEMU_PLUGIN_INLINE_ADD_U64, entry, 1);
}
#endif

/* ---- what runs */

/* Says whether `next` was called. */
static bool finish_transfer(const struct block *next)
{
    if (!cpu->has_transferred || cpu->expected == TRANSFER_NONE)
        return false;
    if (cpu->expected == TRANSFER_CALL)
        stack_call(cpu->transferred, next);
    else
        stack_return(cpu->transferred);
    return cpu->expected == TRANSFER_CALL;
}

/* User space of a hypervisor's guests is not told by function: many programs share its addresses. */
static struct block *user_of[SPACES];

static bool is_user(uint64_t pc)
{
    return pc >= LOW_END && pc < KERNEL_HALF;
}

static void switch_cpu(unsigned number)
{
    if (number >= MAX_CPUS) {
        too_many_cpus = true;
        return;
    }
    if (number > last_cpu)
        last_cpu = number;
    cpu = &cpus[number];
    stack_on(number);
    phases_on(number);
}

static void begin(unsigned number, struct block *block, enum transfer end)
{
    uint64_t now;
    bool called;

    if (ended)
        return;
    if (cpu != &cpus[number])
        switch_cpu(number);
    now = executed_now();
    attributing->instructions += now - attributed;
    attributed = now;
    called = finish_transfer(block);
    if (stack_enter(block))
        phases_resume(); /* of another guest, or of none */
    called |= stack_settle(block);
    cpu->expected = end;
    cpu->has_transferred = false;
    phases_end_spans();
    if (block->mark != NO_MARK)
        ended = phases_pass(&config.marks[block->mark]);
    /* A call belongs to the phase in which the function that was called begins. */
    if (called && !ended)
        tree_enter(phases_now(), stack_node());
    if (block == user_of[SPACE_HOST] && stack_guest() == SPACE_ZONE)
        block = user_of[SPACE_ZONE];
    attributing = tree_count(phases_now(), stack_node(), block);
    attributing->times++;
}

static void on_plain_block(unsigned vcpu, void *block)
{
    begin(vcpu, block, TRANSFER_NONE);
}

static void on_calling_block(unsigned vcpu, void *block)
{
    begin(vcpu, block, TRANSFER_CALL);
}

static void on_returning_block(unsigned vcpu, void *block)
{
    begin(vcpu, block, TRANSFER_RETURN);
}

static const qemu_plugin_vcpu_udata_cb_t on_block[] = {
    [TRANSFER_NONE] = on_plain_block,
    [TRANSFER_CALL] = on_calling_block,
    [TRANSFER_RETURN] = on_returning_block,
};

static void on_access(unsigned vcpu, uint32_t info, uint64_t address, void *user)
{
    struct cpu *on = &cpus[vcpu < MAX_CPUS ? vcpu : 0];

    (void)user;
    if (on->has_transferred || qemu_plugin_mem_is_store(info) != (on->expected == TRANSFER_CALL))
        return;
    on->transferred = address;
    on->has_transferred = true;
}

/* ---- what is translated */

static enum transfer transfer_of(const struct qemu_plugin_insn *insn)
{
    uint8_t bytes[15] = {0};
    size_t size = qemu_plugin_insn_size(insn), at = 0;

    if (size > sizeof(bytes))
        return TRANSFER_NONE;
#if COUNTER_API < 3
    memcpy(bytes, qemu_plugin_insn_data(insn), size);
#else
    qemu_plugin_insn_data(insn, bytes, size);
#endif
    /* Prefixes (Intel SDM volume 2, section 2.1.1), then REX, which is none before these opcodes
     * outside 64-bit mode. */
    while (at < size && memchr("\x66\x67\xf2\xf3\x2e\x36\x3e\x26\x64\x65", bytes[at], 10))
        at++;
    if (at < size && (bytes[at] & 0xf0) == 0x40)
        at++;
    if (at >= size)
        return TRANSFER_NONE;
    if (bytes[at] == 0xe8 || (bytes[at] == 0xff && at + 1 < size && (bytes[at + 1] >> 3 & 7) == 2))
        return TRANSFER_CALL;
    /* An iret takes its frame from above all that its handler called, whether that returned or not. */
    if (bytes[at] == 0xc3 || bytes[at] == 0xc2 || bytes[at] == 0xcf)
        return TRANSFER_RETURN;
    return TRANSFER_NONE;
}

/* Gives the 8 bytes that begin at `pc` in low memory, 0 where the page ends before. They may be
 * more than the block, which QEMU cuts where a timer is due. */
static uint64_t code_at(uint64_t pc, const uint8_t *host)
{
    uint64_t code = 0;

    if (host && pc % 4096 <= 4096 - sizeof(code))
        memcpy(&code, host, sizeof(code));
    return code;
}

static struct block *user_block(void)
{
    for (unsigned space = SPACE_HOST; space <= SPACE_ZONE && !user_of[space]; space++)
        user_of[space] = tree_block(LOW_END, SPACE_IMAGE | space, NO_MARK);
    return user_of[SPACE_HOST];
}

/* Memory is used again: what lies at an address is asked each time that it is translated. */
static struct block *block_at(uint64_t pc, uint8_t *host)
{
    struct code_at at = {.pc = pc, .host = host};
    unsigned mark, image = NO_IMAGE;
    struct block *block;
    struct ram ram;

    at.space = match_space(&at);
    if (at.space != SPACE_ANY)
        image = SPACE_IMAGE | at.space;
    if (pc < LOW_END) {
        at.code = code_at(pc, host);
        if (ram_around(host, &ram))
            image = at.image = image_find(pc, host, &ram);
    }
    mark = match_mark(&at);
    if (config.hypervisor && mark == NO_MARK && is_user(pc))
        return user_block();
    block = tree_block(pc, image, mark);
    block->space = at.space;
    block->thunk = match_thunk(&at);
    return block;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t count = qemu_plugin_tb_n_insns(tb);
    struct qemu_plugin_insn *last;
    struct block *block;
    enum transfer end;

    (void)id;
    if (count == 0 || ended)
        return;
    block = block_at(qemu_plugin_tb_vaddr(tb),
                     qemu_plugin_insn_haddr(qemu_plugin_tb_get_insn(tb, 0)));
    for (size_t index = 0; index < count; index++)
        count_instruction(qemu_plugin_tb_get_insn(tb, index));
    last = qemu_plugin_tb_get_insn(tb, count - 1);
    end = config.hypervisor && is_user(qemu_plugin_tb_vaddr(tb)) ? TRANSFER_NONE : transfer_of(last);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block[end], QEMU_PLUGIN_CB_NO_REGS, block);
    /* Reads and writes: QEMU before 8.0 takes one kind for the other. */
    if (end != TRANSFER_NONE)
        qemu_plugin_register_vcpu_mem_cb(last, on_access, QEMU_PLUGIN_CB_NO_REGS,
                                         QEMU_PLUGIN_MEM_RW, NULL);
}

/* ---- the result */

static void on_exit_of_qemu(qemu_plugin_id_t id, void *user)
{
    const struct where *where = match_where();

    (void)id, (void)user;
    fprintf(out, "sprout-counter 3\n");
    fprintf(out, "state %d %d %d %d\n", ended, where->kernel_seen, where->kernel_fits,
            tree_truncated() || stack_truncated() || clock_truncated() || image_truncated() ||
                phases_truncated() || too_many_cpus);
    fprintf(out, "at %" PRIx64 " %" PRIx64 "\n", where->kernel_slide, where->first_user);
    phases_write(out);
    for (unsigned index = 1; index < image_count(); index++) {
        const struct image *image = image_at(index);

        fprintf(out, "image %x %" PRIx64 " %" PRIx32 " %" PRIx32 " %" PRIx32 " %" PRIx32
                " %" PRIx32 "\n", index, image->base, image->stamp, image->size, image->entry,
                image->code, image->checksum);
    }
    tree_write(out);
    fprintf(out, "done\n");
    fclose(out);
}

static int refuse(const char *why)
{
    fprintf(stderr, "counter: %s\n", why);
    return 1;
}

int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
    static struct count nowhere;
    const char *wrong = NULL;
    FILE *in = NULL;
    bool several = false;

    (void)info;
    for (int index = 0; index < argc; index++) {
        if (strncmp(argv[index], "config=", 7) == 0 && !in)
            in = fopen(argv[index] + 7, "r");
        else if (strncmp(argv[index], "out=", 4) == 0 && !out)
            out = fopen(argv[index] + 4, "w");
        else if (strncmp(argv[index], "cpus=", 5) == 0)
            several = strcmp(argv[index] + 5, "1") != 0;
        else
            return refuse("an argument is not understood");
    }
    if (!in || !out)
        return refuse("config=FILE and out=FILE are needed, and have to open");
    wrong = config_read(&config, in);
    fclose(in);
    if (!wrong)
        wrong = clock_open();
    if (!wrong)
        wrong = ram_open();
    if (!wrong && (!tree_open() || !stack_open()))
        wrong = "there is not enough memory";
    if (wrong)
        return refuse(wrong);
#if COUNTER_API > 1
    board = qemu_plugin_scoreboard_new(sizeof(uint64_t));
    by_call = several;
#else
    (void)several;
#endif
    match_open(&config);
    attributing = &nowhere;
    phases_open(&config);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}
