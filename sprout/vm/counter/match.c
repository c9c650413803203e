/* Which mark the code at an address is, and where kernel and user space turned out to lie. */
#include "counter.h"

static const struct config *config;
static struct where where;
static uint64_t first_kernel;

void match_open(const struct config *watched)
{
    config = watched;
}

const struct where *match_where(void)
{
    return &where;
}

/* The first instructions of kernel and user space are known by their addresses from then on: QEMU
 * may translate a block several times, and does so before it runs. */
static bool is_first_in_kernel(const struct mark *mark, uint64_t pc)
{
    if (!where.kernel_seen && pc >= KERNEL_TEXT) {
        where.kernel_seen = true;
        first_kernel = pc;
        where.kernel_slide = mark->anywhere ? 0 : pc - mark->address;
        where.kernel_fits = (where.kernel_slide & 0x1fffff) == 0;
    }
    return where.kernel_seen && pc == first_kernel;
}

static bool is_first_user(uint64_t pc)
{
    if (!where.first_user && where.kernel_seen && pc >= LOW_END && pc < KERNEL_HALF)
        where.first_user = pc;
    return where.first_user && pc == where.first_user;
}

static bool matches(const struct mark *mark, uint64_t pc, unsigned in, uint64_t code)
{
    const struct image *image = image_at(in);

    switch (mark->kind) {
    case MARK_IMAGE:
        return in != NO_IMAGE && image->stamp == mark->stamp && image->size == mark->size &&
               image->entry == mark->entry && pc - image->base == mark->entry;
    case MARK_PHYSICAL:
        return pc == mark->address;
    case MARK_CODE:
        return code == mark->code;
    case MARK_KERNEL:
        return is_first_in_kernel(mark, pc);
    case MARK_SPAN:
    case MARK_FORWARD:
        return where.kernel_fits && pc - where.kernel_slide == mark->address;
    case MARK_USER:
        return is_first_user(pc);
    case MARK_END:
        return where.first_user && pc - where.first_user == mark->address;
    default:
        return false;
    }
}

unsigned match_mark(uint64_t pc, unsigned image, uint64_t code)
{
    for (unsigned index = 1; index < config->mark_count; index++)
        if (matches(&config->marks[index], pc, image, code))
            return index;
    return NO_MARK;
}

bool match_thunk(uint64_t pc)
{
    for (unsigned index = 1; where.kernel_fits && index < config->mark_count; index++) {
        const struct mark *mark = &config->marks[index];
        uint64_t at = pc - where.kernel_slide;

        if (mark->kind == MARK_THUNK && at >= mark->address && at < mark->end)
            return true;
    }
    return false;
}
