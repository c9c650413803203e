/* The functions that a compiler may call on its own in freestanding code (C11, section 4). */
#include <cpu.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *left, const void *right, size_t size);

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    cpu_copy(to, from, size);
    return to;
}

void *memset(void *to, int byte, size_t size)
{
    cpu_fill(to, (uint8_t)byte, size);
    return to;
}

int memcmp(const void *left, const void *right, size_t size)
{
    const uint8_t *a = left, *b = right;
    for (size_t i = 0; i < size; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}
