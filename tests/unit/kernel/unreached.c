/* A small kernel: main() is its beginning, the rest is reached or not. Compiled with a section for each
 * function and object; the tables are those that the kernel's own code has. */
struct operations {
    int (*run)(int);
};

#define EXCEPTION(number)                                                                              \
    __asm__ volatile("1: nop\n\t.pushsection __ex_table, \"a\"\n\t"                                    \
                     ".long 1b - .\n\t.long 1b - .\n\t.long " #number "\n\t.popsection")

/* Calls `first`, and `second` where the alternative is taken. */
#define ALTERNATIVE(first, second)                                                                     \
    __asm__ volatile("661: call " #first "\n662:\n\t"                                                  \
                     ".pushsection .altinstructions, \"a\"\n\t"                                        \
                     ".long 661b - .\n\t.long 663f - .\n\t.long 7\n\t"                                 \
                     ".byte 662b - 661b\n\t.byte 664f - 663f\n\t.popsection\n\t"                       \
                     ".pushsection .altinstr_replacement, \"ax\"\n"                                    \
                     "663: call " #second "\n664:\n\t.popsection" ::: "rax", "rdi", "memory")

int counter = 40;
int dead_counter = 7;
int dead_zeroes[64];

void other_way(void) { counter++; }
void plain_way(void) { counter += 2; }
void dead_other_way(void) { dead_counter++; }

__attribute__((noinline)) static int helper_of_both(int x) { return x ^ counter; }
static int helper_of_dead(int x) { return x * dead_counter; }

int dead_leaf(int x)
{
    EXCEPTION(1);
    ALTERNATIVE(plain_way, dead_other_way);
    return helper_of_dead(helper_of_both(x)) + dead_zeroes[x & 63];
}

int dead_top(int x) { return dead_leaf(x) + 2; }

int reached(int x)
{
    EXCEPTION(2);
    ALTERNATIVE(plain_way, other_way);
    return helper_of_both(x);
}

int by_pointer(int x) { return x + 5; }

const struct operations operations = {by_pointer};
const struct operations dead_operations = {dead_top};
const struct operations *volatile chosen = &operations;

__attribute__((section(".init.text"))) int main(void)
{
    EXCEPTION(3);
    return reached(chosen->run(0)) == (5 ^ 42) ? 0 : 1;
}
