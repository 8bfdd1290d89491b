/* check.h - the whole test harness of the C tests.
 *
 * A test program is a list of TEST(name) functions and one RUN_TESTS line. CHECK reports and counts
 * a failure and goes on; OK(expr) is CHECK for a status and shows its message. An argument of the
 * program picks the tests whose names contain it.
 *
 * test_each_allocation runs a scenario with its 1st, 2nd, 3rd ... allocation failing: each time the
 * scenario must report a clean memory error (or cope), and leave no block behind.
 */
#ifndef FACULA_TESTS_CHECK_H
#define FACULA_TESTS_CHECK_H

#include "base/mem.h"
#include "device/device.h"

#include <stdio.h>
#include <string.h>

static int check_failures;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check_failures++;                                                                      \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
        }                                                                                          \
    } while (0)

#define OK(expression)                                                                             \
    do {                                                                                           \
        FacStatus ok_status_ = (expression);                                                       \
        if (ok_status_ != FAC_OK) {                                                                \
            check_failures++;                                                                      \
            fprintf(stderr, "%s:%d: %s: status %d: %s\n", __FILE__, __LINE__, #expression,         \
                    (int)ok_status_, fac_error_message());                                         \
        }                                                                                          \
    } while (0)

/* The expression fails with this code, and the message contains the text. */
#define FAILS(code, text, expression)                                                              \
    do {                                                                                           \
        CHECK((expression) == (code));                                                             \
        if (!strstr(fac_error_message(), (text))) {                                                \
            check_failures++;                                                                      \
            fprintf(stderr, "%s:%d: the message was: %s\n", __FILE__, __LINE__,                    \
                    fac_error_message());                                                          \
        }                                                                                          \
    } while (0)

typedef struct TestCase {
    const char *name;
    void (*run)(void);
} TestCase;

#define TEST(name) static void name(void)
#define RUN_TESTS(...)                                                                             \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        const TestCase cases[] = {__VA_ARGS__};                                                    \
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {                              \
            if (argc > 1 && !strstr(cases[i].name, argv[1])) continue;                             \
            int before = check_failures;                                                           \
            cases[i].run();                                                                        \
            printf("%-40s %s\n", cases[i].name, check_failures == before ? "ok" : "FAILED");       \
        }                                                                                          \
        return check_failures != 0;                                                                \
    }
#define CASE(name) {#name, name}

/* Blocks and bytes of tensor data that are alive. */
static inline int64_t
test_live(void)
{
    FacMemoryStats stats;
    fac_host_stats(&stats);
    return fac_mem_live() + stats.allocated;
}

/* The scenario releases all that it made, also when it fails, and returns its status. */
typedef FacStatus (*TestScenario)(void *context);

static inline void
test_each_allocation(const char *name, TestScenario scenario, void *context)
{
    OK(scenario(context)); /* what is made once (tables, caches) is made here */
    for (int64_t n = 1; n < 100000; n++) {
        int64_t before = test_live();
        fac_mem_fail_after(n);
        FacStatus st = scenario(context);
        bool fired = fac_mem_fail_after(0) == 0;
        int64_t leaked = test_live() - before;
        bool clean = st == FAC_OK || (fired && st == FAC_MEMORY_ERROR);
        if (!clean || leaked) {
            check_failures++;
            fprintf(stderr, "%s: allocation %lld: status %d (%s), %lld leaked\n", name,
                    (long long)n, (int)st, fac_error_message(), (long long)leaked);
            return;
        }
        if (!fired) return;
    }
    CHECK(!"a scenario with fewer allocations");
}
#define EACH_ALLOCATION(scenario, context) test_each_allocation(#scenario, scenario, context)

#endif
