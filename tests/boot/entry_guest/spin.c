/* Says that it runs, and never enters the kernel again by itself. */
#include <unistd.h>

int main(void)
{
    if (write(1, "spinning\n", 9) != 9)
        return 1;
    for (;;)
        __asm__ volatile("");
}
