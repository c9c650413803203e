/* Ends in the way that its arguments say: `exit N`, `die N` (by signal N), or `ask N` (sends
 * signal N to init and waits). */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int number = argc == 3 ? atoi(argv[2]) : -1;

    if (number < 0)
        return 99;
    if (strcmp(argv[1], "exit") == 0)
        return number;
    if (strcmp(argv[1], "die") == 0)
        raise(number);
    if (strcmp(argv[1], "ask") == 0) {
        kill(1, number);
        for (;;)
            pause();
    }
    return 99;
}
