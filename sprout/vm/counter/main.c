/* Counts a boot: instructions and waits of each phase, and instructions of each block in each
 * calling context. A TCG plugin for one vCPU under -icount.
 *
 *     -plugin libcounter.so,config=FILE,out=FILE
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

/* Spans that lie in each other: an interrupt in a measured loop. */
#define MAX_SPANS 4

struct amount {
    uint64_t instructions, wait_ns, host_ns;
};

static struct config config;
static struct amount spent[MAX_PHASES], begun;
static FILE *out;
static unsigned phase;
static struct span {
    unsigned before; /* the phase that it interrupted */
    struct frame_id frame;
} spans[MAX_SPANS];
static unsigned span_depth;
static bool spans_truncated, ended;
static uint64_t total, emulated;
static uint64_t attributed;
static struct count *attributing;

#if COUNTER_API == 1
static uint64_t executed;

static uint64_t executed_now(void)
{
    return executed;
}

static void count_instruction(struct qemu_plugin_insn *insn)
{
    qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, &executed, 1);
}
#else
static struct qemu_plugin_scoreboard *board;

static uint64_t executed_now(void)
{
    return *(uint64_t *)qemu_plugin_scoreboard_find(board, 0);
}

static void count_instruction(struct qemu_plugin_insn *insn)
{
    qemu_plugin_u64 entry = {.score = board, .offset = 0};

    qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, QEMU_PLUGIN_INLINE_ADD_U64, entry, 1);
}
#endif

/* ---- phases */

static void enter_phase(unsigned next)
{
    struct amount now = {executed_now(), clock_wait_ns(), clock_host_ns()};

    spent[phase].instructions += now.instructions - begun.instructions;
    spent[phase].wait_ns += now.wait_ns - begun.wait_ns;
    spent[phase].host_ns += now.host_ns - begun.host_ns;
    begun = now;
    phase = next;
}

/* Ends the spans from the one at `depth` on: time goes on in the phase that it had interrupted. */
static void leave_spans(unsigned depth)
{
    span_depth = depth;
    enter_phase(spans[depth].before);
}

/* Ends spans whose function has returned. */
static void end_spans(void)
{
    for (unsigned depth = 0; depth < span_depth; depth++)
        if (!stack_holds(spans[depth].frame))
            leave_spans(depth);
}

static void begin_span(unsigned next)
{
    if (next == phase)
        return; /* it ends before the phase does */
    if (span_depth == MAX_SPANS) {
        spans_truncated = true;
        return;
    }
    spans[span_depth++] = (struct span){.before = phase, .frame = stack_top()};
    enter_phase(next);
}

/* A mark of an earlier phase is met again when a loader is started a second time: time goes on. */
static void advance(unsigned next)
{
    if (span_depth)
        leave_spans(0);
    if (next <= phase)
        return;
    enter_phase(next);
    if (config.forward[next])
        clock_forward();
}

static void pass_mark(const struct mark *mark)
{
    switch (mark->kind) {
    case MARK_SPAN:
        begin_span(mark->phase);
        break;
    case MARK_FORWARD:
        clock_forward();
        break;
    case MARK_END:
        enter_phase(phase);
        total = begun.instructions;
        emulated = clock_instructions();
        ended = true;
        break;
    default:
        advance(mark->phase);
    }
}

/* ---- what runs */

enum transfer { TRANSFER_NONE, TRANSFER_CALL, TRANSFER_RETURN };

/* How the running block ends, and where in memory the return address is that it stored or took.
 * The block's first access of that kind counts: QEMU before 8.0 goes on reporting accesses to a
 * block that has ended, such as the frame that an interrupt pushes or a descriptor that it loads. */
static enum transfer expected;
static uint64_t transferred;
static bool has_transferred;

/* Says whether `next` was called. */
static bool finish_transfer(const struct block *next)
{
    if (!has_transferred || expected == TRANSFER_NONE)
        return false;
    if (expected == TRANSFER_CALL)
        stack_call(transferred, next);
    else
        stack_return(transferred);
    return expected == TRANSFER_CALL;
}

static void begin(struct block *block, enum transfer end)
{
    uint64_t now;
    bool called;

    if (ended)
        return;
    now = executed_now();
    attributing->instructions += now - attributed;
    attributed = now;
    called = finish_transfer(block);
    called |= stack_settle(block);
    expected = end;
    has_transferred = false;
    end_spans();
    if (block->mark != NO_MARK)
        pass_mark(&config.marks[block->mark]);
    /* A call belongs to the phase in which the function that was called begins. */
    if (called && !ended)
        tree_enter(phase, stack_node());
    attributing = tree_count(phase, stack_node(), block);
    attributing->times++;
}

static void on_plain_block(unsigned vcpu, void *block)
{
    (void)vcpu;
    begin(block, TRANSFER_NONE);
}

static void on_calling_block(unsigned vcpu, void *block)
{
    (void)vcpu;
    begin(block, TRANSFER_CALL);
}

static void on_returning_block(unsigned vcpu, void *block)
{
    (void)vcpu;
    begin(block, TRANSFER_RETURN);
}

static const qemu_plugin_vcpu_udata_cb_t on_block[] = {
    [TRANSFER_NONE] = on_plain_block,
    [TRANSFER_CALL] = on_calling_block,
    [TRANSFER_RETURN] = on_returning_block,
};

static void on_access(unsigned vcpu, uint32_t info, uint64_t address, void *user)
{
    (void)vcpu, (void)user;
    if (has_transferred || qemu_plugin_mem_is_store(info) != (expected == TRANSFER_CALL))
        return;
    transferred = address;
    has_transferred = true;
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

/* Memory is used again: what lies at an address is asked each time that it is translated. */
static struct block *block_at(uint64_t pc, uint8_t *host)
{
    unsigned image = NO_IMAGE;
    struct block *block;
    uint64_t code = 0;
    struct ram ram;

    if (pc < LOW_END) {
        code = code_at(pc, host);
        if (ram_around(host, &ram))
            image = image_find(pc, host, &ram);
    }
    block = tree_block(pc, image, match_mark(pc, image, code));
    block->thunk = match_thunk(pc);
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
    end = transfer_of(last);
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
    fprintf(out, "sprout-counter 2\n");
    fprintf(out, "state %d %d %d %d\n", ended, where->kernel_seen, where->kernel_fits,
            tree_truncated() || stack_truncated() || image_truncated() || spans_truncated);
    fprintf(out, "total %" PRIx64 " %" PRIx64 "\n", total, emulated);
    fprintf(out, "at %" PRIx64 " %" PRIx64 "\n", where->kernel_slide, where->first_user);
    for (unsigned index = 0; index < config.phase_count; index++)
        fprintf(out, "phase %s %" PRIx64 " %" PRIx64 " %" PRIx64 "\n", config.phases[index],
                spent[index].instructions, spent[index].wait_ns, spent[index].host_ns);
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

    (void)info;
    for (int index = 0; index < argc; index++) {
        if (strncmp(argv[index], "config=", 7) == 0 && !in)
            in = fopen(argv[index] + 7, "r");
        else if (strncmp(argv[index], "out=", 4) == 0 && !out)
            out = fopen(argv[index] + 4, "w");
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
#endif
    match_open(&config);
    attributing = &nowhere;
    begun.host_ns = clock_host_ns();
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}
