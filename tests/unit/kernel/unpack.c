/*
 * Unpacks what a kernel's image holds, as the decompressor does, for tests: SIZE, input on stdin.
 * String instructions are nothing that a sanitizer sees, so the output ends at a page that nobody may
 * touch, and the second time it begins behind one.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lz4_kernel.h"

enum { INPUT = 32 << 20, BLOCK = 8 << 20, BEHIND = 64, PAGE = 4096 };

static int unpack(const unsigned char *in, size_t length, unsigned char *out, size_t size)
{
	size_t at = 4;
	size_t done = 0;

	while (done < size && at + 4 <= length) {
		unsigned long block = size - done < BLOCK ? size - done : BLOCK;
		uint32_t packed;
		long read;

		memcpy(&packed, in + at, sizeof(packed));
		at += 4;
		read = lz4k_unpack(in + at, out + done, block);
		if (read < 0)
			return 3;
		if ((unsigned long)read != packed)
			return 4;
		at += packed;
		done += block;
	}
	return done == size && at == length ? 0 : 5;
}

int main(int count, char **words)
{
	size_t size = count == 2 ? strtoul(words[1], NULL, 10) : 0;
	size_t room = (size + PAGE - 1) / PAGE * PAGE;
	unsigned char *buffer = malloc(INPUT);
	size_t length = buffer ? fread(buffer, 1, INPUT - BEHIND, stdin) : 0;
	/* Exactly as large as it may be, for the sanitizer. */
	unsigned char *in = malloc(length + BEHIND);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	unsigned char *pages = mmap(NULL, room + 2 * PAGE, PROT_NONE, flags, -1, 0);
	unsigned char *first, *second;
	int status;

	if (!buffer || !in || pages == MAP_FAILED || mprotect(pages + PAGE, room, PROT_READ | PROT_WRITE))
		return 2;
	memcpy(in, buffer, length);
	memset(in + length, 255, BEHIND);
	first = pages + PAGE + room - size;
	second = pages + PAGE;
	status = unpack(in, length, first, size);
	if (status == 0) {
		memcpy(buffer, first, size < INPUT ? size : INPUT);
		memset(second, 0, room);
		status = unpack(in, length, second, size);
	}
	if (status == 0 && memcmp(buffer, second, size < INPUT ? size : INPUT) != 0)
		status = 6;
	if (status == 0)
		fwrite(second, 1, size, stdout);
	free(buffer);
	free(in);
	return status;
}
