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

struct amount {
    uint64_t instructions, wait_ns, host_ns;
};

static struct config config;
static struct amount spent[MAX_PHASES], begun;
static FILE *out;
static unsigned phase, phase_before_span;
static bool in_span, ended;
static struct frame_id span_frame;
static uint64_t first_user, kernel_slide, total, emulated;
static bool kernel_seen, kernel_fits;
static uint64_t attributed;
static uint64_t *attributing;

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

/* Ends a span whose function has returned. */
static void leave_span(void)
{
    in_span = false;
    enter_phase(phase_before_span);
}

/* A mark of an earlier phase is met again when a loader is started a second time: time goes on. */
static void advance(unsigned next)
{
    if (in_span)
        leave_span();
    if (next > phase)
        enter_phase(next);
}

static void pass_mark(const struct mark *mark)
{
    switch (mark->kind) {
    case MARK_SPAN:
        if (!in_span) {
            phase_before_span = phase;
            in_span = true;
            span_frame = stack_top();
            enter_phase(mark->phase);
        }
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

static void finish_transfer(const struct block *next)
{
    if (!has_transferred)
        return;
    if (expected == TRANSFER_CALL)
        stack_call(transferred, next);
    else if (expected == TRANSFER_RETURN)
        stack_return(transferred);
}

static void begin(struct block *block, enum transfer end)
{
    uint64_t now;

    if (ended)
        return;
    now = executed_now();
    *attributing += now - attributed;
    attributed = now;
    finish_transfer(block);
    stack_settle(block);
    expected = end;
    has_transferred = false;
    if (in_span && !stack_holds(span_frame))
        leave_span();
    if (block->mark != NO_MARK)
        pass_mark(&config.marks[block->mark]);
    attributing = tree_count(phase, stack_node(), block);
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

static bool matches(const struct mark *mark, const struct block *block, uint64_t code)
{
    const struct image *image = image_at(block->image);

    switch (mark->kind) {
    case MARK_IMAGE:
        return block->image != NO_IMAGE && image->stamp == mark->stamp &&
               image->size == mark->size && image->entry == mark->entry &&
               block->pc - image->base == mark->entry;
    case MARK_PHYSICAL:
        return block->pc == mark->address;
    case MARK_CODE:
        return code == mark->code;
    case MARK_KERNEL:
        if (kernel_seen || block->pc < KERNEL_TEXT)
            return false;
        kernel_seen = true;
        kernel_slide = mark->anywhere ? 0 : block->pc - mark->address;
        kernel_fits = (kernel_slide & 0x1fffff) == 0;
        return true;
    case MARK_SPAN:
        return kernel_fits && block->pc - kernel_slide == mark->address;
    case MARK_USER:
        if (first_user || !kernel_seen || block->pc < LOW_END || block->pc >= KERNEL_HALF)
            return false;
        first_user = block->pc;
        return true;
    case MARK_END:
        return first_user && block->pc - first_user == mark->address;
    default:
        return false;
    }
}

static bool is_thunk(const struct block *block)
{
    for (unsigned index = 1; kernel_fits && index < config.mark_count; index++) {
        const struct mark *mark = &config.marks[index];
        uint64_t at = block->pc - kernel_slide;

        if (mark->kind == MARK_THUNK && at >= mark->address && at < mark->end)
            return true;
    }
    return false;
}

static uint32_t find_mark(const struct block *block, uint64_t code)
{
    for (unsigned index = 1; index < config.mark_count; index++)
        if (matches(&config.marks[index], block, code))
            return index;
    return NO_MARK;
}

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

/* Gives the first 8 bytes of a block in low memory, 0 where it is shorter. */
static uint64_t first_code(const struct qemu_plugin_tb *tb, size_t count)
{
    uint8_t *host = qemu_plugin_insn_haddr(qemu_plugin_tb_get_insn(tb, 0));
    size_t size = 0;
    uint64_t code = 0;

    for (size_t index = 0; index < count && size < sizeof(code); index++)
        size += qemu_plugin_insn_size(qemu_plugin_tb_get_insn(tb, index));
    if (size >= sizeof(code) && host && qemu_plugin_tb_vaddr(tb) % 4096 <= 4096 - sizeof(code))
        memcpy(&code, host, sizeof(code));
    return code;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t count = qemu_plugin_tb_n_insns(tb);
    uint64_t pc = qemu_plugin_tb_vaddr(tb);
    unsigned image = NO_IMAGE;
    struct qemu_plugin_insn *last;
    struct block *block;
    enum transfer end;
    bool fresh;

    (void)id;
    if (count == 0 || ended)
        return;
    if (pc < LOW_END)
        image = image_find(pc, qemu_plugin_insn_haddr(qemu_plugin_tb_get_insn(tb, 0)));
    block = tree_block(pc, image, &fresh);
    if (fresh) {
        block->mark = find_mark(block, pc < LOW_END ? first_code(tb, count) : 0);
        block->thunk = is_thunk(block);
    }
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
    (void)id, (void)user;
    fprintf(out, "sprout-counter 1\n");
    fprintf(out, "state %d %d %d %d\n", ended, kernel_seen, kernel_fits,
            tree_truncated() || stack_truncated());
    fprintf(out, "total %" PRIx64 " %" PRIx64 "\n", total, emulated);
    fprintf(out, "at %" PRIx64 " %" PRIx64 "\n", kernel_slide, first_user);
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
    static uint64_t nowhere;
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
    if (!wrong && (!tree_open() || !stack_open()))
        wrong = "there is not enough memory";
    if (wrong)
        return refuse(wrong);
#if COUNTER_API > 1
    board = qemu_plugin_scoreboard_new(sizeof(uint64_t));
#endif
    attributing = &nowhere;
    begun.host_ns = clock_host_ns();
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}
