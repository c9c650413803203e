/* A test is a function; the runner finds it by name and runs each in a process of its own. */
#ifndef SPROUT_CHECK_H
#define SPROUT_CHECK_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};

void test_register(struct test *test);

#define TEST(function)                                                 \
    static void function(void);                                        \
    __attribute__((constructor)) static void register_##function(void) \
    {                                                                  \
        static struct test test = {#function, function, NULL};         \
        test_register(&test);                                          \
    }                                                                  \
    static void function(void)

#define CHECK(condition)                                                           \
    do {                                                                           \
        if (!(condition)) {                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __func__, __LINE__, #condition); \
            exit(1);                                                               \
        }                                                                          \
    } while (0)

#define CHECK_TEXT(actual, expected)                                                          \
    do {                                                                                      \
        if (strcmp((actual), (expected)) != 0) {                                              \
            fprintf(stderr, "%s:%d: \"%s\" is not \"%s\"\n", __func__, __LINE__, (actual),    \
                    (expected));                                                              \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

#endif
