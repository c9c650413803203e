/* Unpacks what a kernel's image holds, as the decompressor does, for tests: SIZE, input on stdin. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lz4_kernel.h"

enum { INPUT = 32 << 20, BLOCK = 8 << 20, BEHIND = 64 };

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
	unsigned char *buffer = malloc(INPUT);
	size_t length = buffer ? fread(buffer, 1, INPUT - BEHIND, stdin) : 0;
	/* Exactly as large as it may be, so that the sanitizer sees every byte beyond. */
	unsigned char *in = malloc(length + BEHIND);
	unsigned char *out = malloc(size ? size : 1);
	int status = 2;

	if (buffer && in && out) {
		memcpy(in, buffer, length);
		memset(in + length, 255, BEHIND);
		status = unpack(in, length, out, size);
		if (status == 0)
			fwrite(out, 1, size, stdout);
	}
	free(buffer);
	free(in);
	free(out);
	return status;
}
