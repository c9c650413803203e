/* runner NAME runs one test; its exit status says how it went. */
#include "check.h"

static struct test *tests;

void test_register(struct test *test)
{
    test->next = tests;
    tests = test;
}

int main(int count, char **arguments)
{
    for (struct test *test = tests; count == 2 && test != NULL; test = test->next)
        if (strcmp(test->name, arguments[1]) == 0) {
            test->run();
            return 0;
        }
    fprintf(stderr, "runner: name one test\n");
    return 2;
}
