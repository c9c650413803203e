/* Says ten times a second that it is there. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    for (unsigned number = 1;; number++) {
        printf("alive %u\n", number);
        fflush(stdout);
        usleep(100000);
    }
}
