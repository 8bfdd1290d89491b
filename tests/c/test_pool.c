/* test_pool.c - every chunk once, the same bits for any number of threads, nesting, fork.
 *
 * The bodies write to memory of their own chunk without atomics, so that the thread sanitizer sees
 * whether the pool orders what it must.
 */
#include "check.h"

#include "base/pool.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Sum {
    const double *data;
    double *partial;
    int64_t grain;
} Sum;

static void
sum_chunk(int64_t begin, int64_t end, void *context)
{
    Sum *sum = context;
    double total = 0;
    for (int64_t i = begin; i < end; i++) total += sum->data[i];
    sum->partial[begin / sum->grain] = total;
}

static double
parallel_sum(const double *data, int64_t n, int64_t grain)
{
    int64_t chunks = fac_chunks(n, grain);
    Sum sum = {data, calloc((size_t)chunks, sizeof(double)), grain};
    double total = 0;
    fac_parallel(n, grain, sum_chunk, &sum);
    for (int64_t i = 0; i < chunks; i++) total += sum.partial[i];
    free(sum.partial);
    return total;
}

enum { N = 200003 };
static double numbers[N];

TEST(same_bits_for_any_number_of_threads)
{
    for (int i = 0; i < N; i++) numbers[i] = sin(i);
    OK(fac_set_num_threads(1));
    double one = parallel_sum(numbers, N, 1000);
    for (int threads = 2; threads <= 8; threads++) {
        OK(fac_set_num_threads(threads));
        CHECK(fac_num_threads() == threads);
        for (int k = 0; k < 50; k++) CHECK(parallel_sum(numbers, N, 1000) == one);
    }
}

static void
count_up(int64_t begin, int64_t end, void *context)
{
    int *counts = context;
    for (int64_t i = begin; i < end; i++) counts[i]++;
}

TEST(every_element_once)
{
    static int counts[5000];
    static const int64_t grains[] = {1, 7, 512, 4999, 5000, 100000, INT64_MAX};
    OK(fac_set_num_threads(4));
    for (int k = 0; k < 7; k++) {
        memset(counts, 0, sizeof counts);
        fac_parallel(5000, grains[k], count_up, counts);
        int wrong = 0;
        for (int i = 0; i < 5000; i++) wrong += counts[i] != 1;
        CHECK(wrong == 0);
    }
    fac_parallel(0, 1, count_up, NULL);
    fac_parallel(-5, 1, count_up, NULL);
}

static void
count_slowly(int64_t begin, int64_t end, void *context)
{
    volatile int64_t steps = 20000; /* far longer than it takes to wake a thread */
    while (--steps > 0) continue;
    count_up(begin, end, context);
}

/* Small jobs, whose helpers sleep, wait awake or are about to fall asleep. */
TEST(few_chunks_once)
{
    static const int pauses[] = {0, 1, 20, 30, 40, 2000};
    int counts[60];
    OK(fac_set_num_threads(4));
    for (int k = 0; k < 600; k++) {
        memset(counts, 0, sizeof counts);
        if (pauses[k % 6]) usleep((unsigned)pauses[k % 6]);
        fac_parallel(58, 20, k % 7 ? count_up : count_slowly, counts);
        int wrong = 0;
        for (int i = 0; i < 60; i++) wrong += counts[i] != (i < 58);
        CHECK(wrong == 0 && !fac_in_parallel());
    }
}

static void
nest(int64_t begin, int64_t end, void *context)
{
    int *counts = context;
    if (!fac_in_parallel()) return;
    for (int64_t i = begin; i < end; i++) fac_parallel(100, 10, count_up, counts + 100 * i);
}

TEST(nested_calls_run_in_place)
{
    static int counts[3200];
    memset(counts, 0, sizeof counts);
    OK(fac_set_num_threads(4));
    fac_parallel(32, 1, nest, counts);
    int wrong = 0;
    for (int i = 0; i < 3200; i++) wrong += counts[i] != 1;
    CHECK(wrong == 0 && !fac_in_parallel());
}

static void *
call_often(void *context)
{
    double expected = *(double *)context;
    for (int k = 0; k < 100; k++)
        if (parallel_sum(numbers, N, 5000) != expected) return context;
    return NULL;
}

TEST(several_callers)
{
    pthread_t threads[3];
    OK(fac_set_num_threads(3));
    double expected = parallel_sum(numbers, N, 5000);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, call_often, &expected) == 0);
    for (int i = 0; i < 3; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        CHECK(!failed);
    }
}

TEST(a_forked_child_has_a_pool)
{
    OK(fac_set_num_threads(4));
    double expected = parallel_sum(numbers, N, 1000);
    for (int k = 0; k < 5; k++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(30);
            bool same = true;
            for (int i = 0; i < 20; i++) same = same && parallel_sum(numbers, N, 1000) == expected;
            _exit(same ? 0 : 1);
        }
        int status = -1;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    CHECK(parallel_sum(numbers, N, 1000) == expected);
}

TEST(wrong_numbers)
{
    FAILS(FAC_VALUE_ERROR, "positive", fac_set_num_threads(0));
    FAILS(FAC_VALUE_ERROR, "positive", fac_set_num_threads(-3));
    CHECK(fac_grain(1) >= fac_grain(100) && fac_grain(INT64_MAX) >= 1 && fac_grain(0) >= 1);
}

RUN_TESTS(CASE(same_bits_for_any_number_of_threads), CASE(every_element_once),
          CASE(few_chunks_once), CASE(nested_calls_run_in_place), CASE(several_callers),
          CASE(a_forked_child_has_a_pool), CASE(wrong_numbers))
