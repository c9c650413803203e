/* Which mark the code at an address is, and where kernel and user space turned out to lie. */
#include "counter.h"

#include <string.h>

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

/* The host's kernel lies in few pieces of memory, each as its addresses are. */
#define MAX_PIECES 64
static uintptr_t pieces[MAX_PIECES];
static unsigned piece_count;
static bool zone_began;

static bool has_bytes(const struct mark *mark, const struct code_at *at)
{
    return at->host && at->pc % 4096 <= 4096 - mark->byte_count &&
           memcmp(at->host, mark->bytes, mark->byte_count) == 0;
}

/* A zone's kernel is known by its entry once the host's has run; from then on kernels are told apart
 * by the memory that they lie in. */
static void see_zone(const struct code_at *at)
{
    for (unsigned index = 1; where.kernel_seen && index < config->mark_count; index++) {
        const struct mark *mark = &config->marks[index];

        if (mark->kind == MARK_GUEST && at->pc == mark->address && has_bytes(mark, at))
            zone_began = true;
    }
}

static enum space kernel_space(const struct code_at *at)
{
    uintptr_t piece = (uintptr_t)at->host - (uintptr_t)at->pc;

    for (unsigned index = 0; index < piece_count; index++)
        if (pieces[index] == piece)
            return SPACE_HOST;
    if (zone_began)
        return SPACE_ZONE;
    if (piece_count < MAX_PIECES)
        pieces[piece_count++] = piece;
    return SPACE_HOST;
}

enum space match_space(const struct code_at *at)
{
    if (!config->hypervisor)
        return SPACE_ANY;
    if (!zone_began)
        see_zone(at);
    if (at->pc < KERNEL_HALF)
        return SPACE_ANY;
    if (at->pc < HYPERVISOR_END)
        return SPACE_HYPERVISOR;
    return at->pc >= KERNEL_TEXT ? kernel_space(at) : SPACE_ANY;
}

static bool is_user(uint64_t pc)
{
    return pc >= LOW_END && pc < KERNEL_HALF;
}

/* Gives the address that a function of `space` is linked at, from where it runs. */
static bool is_linked(const struct mark *mark, const struct code_at *at, uint64_t *address)
{
    if (config->hypervisor && at->space != mark->space)
        return false;
    *address = mark->space == SPACE_HOST ? at->pc - where.kernel_slide : at->pc;
    return mark->space != SPACE_HOST || where.kernel_fits;
}

static bool matches(const struct mark *mark, const struct code_at *at)
{
    const struct image *image = image_at(at->image);
    uint64_t pc = at->pc, address;

    switch (mark->kind) {
    case MARK_IMAGE:
        return at->image != NO_IMAGE && image->stamp == mark->stamp && image->size == mark->size &&
               image->entry == mark->entry && pc - image->base == mark->entry;
    case MARK_PHYSICAL:
        return pc == mark->address;
    case MARK_CODE:
        return at->code == mark->code;
    case MARK_KERNEL:
        return is_first_in_kernel(mark, pc);
    case MARK_SPAN:
    case MARK_FORWARD:
        return is_linked(mark, at, &address) && address == mark->address;
    case MARK_USER:
        return is_first_user(pc);
    case MARK_END:
        return where.first_user && pc - where.first_user == mark->address;
    case MARK_GUEST:
        return pc == mark->address && has_bytes(mark, at);
    case MARK_PROGRAM:
        return is_user(pc) && has_bytes(mark, at);
    case MARK_AT:
        return where.first_user && pc - where.first_user == mark->address && has_bytes(mark, at);
    default:
        return false;
    }
}

unsigned match_mark(const struct code_at *at)
{
    for (unsigned index = 1; index < config->mark_count; index++)
        if (matches(&config->marks[index], at))
            return index;
    return NO_MARK;
}

bool match_thunk(const struct code_at *at)
{
    for (unsigned index = 1; index < config->mark_count; index++) {
        const struct mark *mark = &config->marks[index];
        uint64_t address;

        if (mark->kind == MARK_THUNK && is_linked(mark, at, &address) &&
            address >= mark->address && address < mark->end)
            return true;
    }
    return false;
}
