/* cmocka.h - as much of cmocka as the kernel checkers use, for targets that have no cmocka: cross builds (make check-arm).
 * The first failure ends its test; what is printed is what scripts/test reads. */
#ifndef QN_TESTS_BARE_CMOCKA_H
#define QN_TESTS_BARE_CMOCKA_H

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};

static jmp_buf bare_end; /* of the running test */

#define cmocka_unit_test(f) {#f, f}

#define bare_fail(...)                                                                                                 \
    do {                                                                                                               \
        printf("%s:%d: ", __FILE__, __LINE__);                                                                         \
        printf(__VA_ARGS__);                                                                                           \
        printf("\n");                                                                                                  \
        longjmp(bare_end, 1);                                                                                          \
    } while (0)
#define fail_msg(...) bare_fail(__VA_ARGS__)
#define assert_true(c)                                                                                                 \
    do {                                                                                                               \
        if (!(c))                                                                                                      \
            bare_fail("%s", #c);                                                                                       \
    } while (0)
#define assert_false(c) assert_true(!(c))
#define assert_null(p) assert_true((p) == NULL)
#define assert_non_null(p) assert_true((p) != NULL)
#define assert_int_equal(a, b) assert_true((long long)(a) == (long long)(b))
#define assert_ptr_equal(a, b) assert_true((a) == (b))
#define assert_ptr_not_equal(a, b) assert_true((a) != (b))
#define assert_string_equal(a, b) assert_true(strcmp(a, b) == 0)
#define assert_memory_equal(a, b, n) assert_true(memcmp(a, b, n) == 0)

static inline int bare_run(const struct CMUnitTest *tests, size_t n)
{
    volatile size_t failed = 0;
    printf("[==========] Running %zu test(s).\n", n);
    for (volatile size_t i = 0; i < n; i++) {
        void *state = NULL;
        if (setjmp(bare_end) == 0) {
            tests[i].run(&state);
            printf("[       OK ] %s\n", tests[i].name);
        } else {
            printf("[  FAILED  ] %s\n", tests[i].name);
            failed++;
        }
        fflush(stdout);
    }
    printf("[  PASSED  ] %zu test(s).\n", n - failed);
    if (failed)
        printf("[  FAILED  ] %zu test(s), listed below:\n", failed);
    return (int)failed;
}
#define cmocka_run_group_tests(tests, setup, teardown) bare_run(tests, sizeof tests / sizeof *tests)

#endif
