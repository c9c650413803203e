/* Finds the PE image that code in low memory belongs to: firmware, boot loaders and the boot stub
 * are loaded at page boundaries with their headers in front of them.
 *
 * Everything here is the guest's memory and may hold anything, and its page tables may lead an
 * address anywhere. So only code that runs one to one has an image: where an address tells the
 * distance from the beginning of its block of memory. That is so for all code of the kinds above,
 * because guest RAM is one block in QEMU's x86 machines: what does not fit below the flash goes on
 * at 4 GiB, and of a machine with so much q35 keeps 2 GiB below (hw/i386/pc_q35.c). Reads stay
 * between the instruction that runs and the image's first page, in that block.
 */
#include "counter.h"

#include <string.h>

#define PAGE 4096u
#define RAM_BEGIN UINT64_C(0x100000)
#define RAM_END UINT64_C(0x80000000)
#define HIGH_BEGIN UINT64_C(0x100000000)
#define MAX_IMAGE_BYTES (1u << 30)
/* How far in front of code its headers are looked for: an image with a large initrd in it has its
 * code at its beginning. */
#define MAX_DISTANCE (64u << 20)
/* Offsets in the headers: Microsoft, "PE Format". */
#define LFANEW 0x3c
#define COFF_STAMP 8
#define OPTIONAL 24
#define CODE 4
#define ENTRY 16
#define SIZE_OF_IMAGE 56
#define CHECKSUM 64

static struct image images[MAX_IMAGES] = {{0}};
static unsigned used = 1; /* 0 is NO_IMAGE */
static bool truncated;

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

static bool read_headers(const uint8_t *page, uint64_t base, struct image *image)
{
    uint32_t at;
    uint16_t magic;

    if (page[0] != 'M' || page[1] != 'Z')
        return false;
    at = get32(page + LFANEW);
    if (at > PAGE - OPTIONAL - CHECKSUM - 4 || memcmp(page + at, "PE\0\0", 4) != 0)
        return false;
    memcpy(&magic, page + at + OPTIONAL, sizeof(magic));
    if (magic != 0x20b && magic != 0x10b)
        return false;
    *image = (struct image){
        .base = base,
        .stamp = get32(page + at + COFF_STAMP),
        .code = get32(page + at + OPTIONAL + CODE),
        .entry = get32(page + at + OPTIONAL + ENTRY),
        .size = get32(page + at + OPTIONAL + SIZE_OF_IMAGE),
        .checksum = get32(page + at + OPTIONAL + CHECKSUM),
    };
    return image->entry < image->size && image->size <= MAX_IMAGE_BYTES;
}

static bool same(const struct image *one, const struct image *other)
{
    return one->base == other->base && one->stamp == other->stamp && one->size == other->size &&
           one->entry == other->entry && one->code == other->code &&
           one->checksum == other->checksum;
}

static unsigned remember(const struct image *image)
{
    for (unsigned index = 1; index < used; index++)
        if (same(&images[index], image))
            return index;
    if (used == MAX_IMAGES) {
        truncated = true;
        return NO_IMAGE;
    }
    images[used] = *image;
    return used++;
}

unsigned image_find(uint64_t address, const uint8_t *host, const struct ram *ram)
{
    bool high = address >= HIGH_BEGIN && address < LOW_END;
    uint64_t begin = high ? HIGH_BEGIN : RAM_BEGIN, hole = high ? HIGH_BEGIN - RAM_END : 0;
    uint64_t base = address & ~(uint64_t)(PAGE - 1);

    if (address < RAM_BEGIN || (address >= RAM_END && !high) || ram->size < PAGE ||
        base - hole > ram->size - PAGE || ram->host + (address - hole) != host)
        return NO_IMAGE;
    for (;; base -= PAGE) {
        struct image image;

        if (read_headers(ram->host + (base - hole), base, &image) && address - base < image.size)
            return remember(&image);
        if (base <= begin || address - base >= MAX_DISTANCE)
            return NO_IMAGE;
    }
}

bool image_truncated(void)
{
    return truncated;
}

unsigned image_count(void)
{
    return used;
}

const struct image *image_at(unsigned index)
{
    return &images[index];
}
