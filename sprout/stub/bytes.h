/* Bytes from elsewhere: spans with a size, little-endian numbers, and what failed. */
#ifndef SPROUT_BYTES_H
#define SPROUT_BYTES_H
#include <stdbool.h>

#include "proto/types.h"

struct span {
    const uint8_t *data;
    size_t size;
};

/* What went wrong, for the one line on the console; `status` 0 is success. */
struct failure {
    EFI_STATUS status;
    const char *what; /* section or step */
    const char *why;  /* field and fault */
};

#define SUCCESS ((struct failure){EFI_SUCCESS, NULL, NULL})
#define FAILURE(status, what, why) ((struct failure){(status), (what), (why)})

static inline bool span_holds(struct span span, uint64_t offset, uint64_t size)
{
    uint64_t end;
    return !__builtin_add_overflow(offset, size, &end) && end <= span.size;
}

static inline uint16_t read16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t read32(const uint8_t *at)
{
    return read16(at) | (uint32_t)read16(at + 2) << 16;
}

static inline uint64_t read64(const uint8_t *at)
{
    return read32(at) | (uint64_t)read32(at + 4) << 32;
}

static inline bool same_bytes(const void *left, const void *right, size_t size)
{
    return __builtin_memcmp(left, right, size) == 0;
}

/* `value`, which fits 33 bits, rounded up to whole pages. */
static inline uint64_t whole_pages(uint64_t value)
{
    return (value + EFI_PAGE_SIZE - 1) & ~(uint64_t)(EFI_PAGE_SIZE - 1);
}

#endif
