/* misbehave flood | bomb | hog: what a zone must be able to do to itself alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void flood(void)
{
    for (unsigned long number = 0;; number++)
        printf("flood %lu ------------------------------------------------------------\n", number);
}

static void bomb(void)
{
    for (;;)
        if (fork() < 0)
            usleep(1000);
}

/* Every page of it is written to. */
static void hog(void)
{
    for (size_t size = 1 << 20;;) {
        void *memory = malloc(size);

        if (memory)
            memset(memory, 1, size);
        else
            usleep(1000);
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    printf("misbehaves: %s\n", what);
    fflush(stdout);
    if (strcmp(what, "flood") == 0)
        flood();
    else if (strcmp(what, "bomb") == 0)
        bomb();
    else if (strcmp(what, "hog") == 0)
        hog();
    return 2;
}
