/* test_device.c - names of devices and the caching allocator.
 *
 * The allocator is tested for what its callers rely on: alignment, reuse, no overlap, an error
 * rather than death for what cannot be had, counts that end where they began, and threads that free
 * what others allocated.
 */
#include "check.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(names)
{
    FacDevice d;
    char text[32];
    OK(fac_device_parse("cpu", &d));
    CHECK(fac_device_equal(d, FAC_CPU_DEVICE));
    OK(fac_device_parse("cuda:3", &d));
    CHECK(d.type == FAC_DEV_CUDA && d.index == 3);
    CHECK(strcmp(fac_device_text(d, text), "cuda:3") == 0);
    CHECK(strcmp(fac_device_text(fac_device(FAC_DEV_PRIVATEUSEONE, 127), text),
                 "privateuseone:127") == 0);
    FAILS(FAC_RUNTIME_ERROR, "Expected one of cpu, cuda", fac_device_parse("gpu", &d));
    FAILS(FAC_RUNTIME_ERROR, "empty", fac_device_parse("", &d));
    static const char *const wrong[] = {"cpu:",     "cuda:-1",  "cuda:01",
                                        "cuda:1:2", "cuda:128", "cuda: 1"};
    for (int i = 0; i < 6; i++)
        FAILS(FAC_RUNTIME_ERROR, "Invalid device string", fac_device_parse(wrong[i], &d));
}

TEST(what_is_there)
{
    OK(fac_device_check(FAC_CPU_DEVICE));
    OK(fac_device_check(fac_device(FAC_DEV_META, -1)));
    FAILS(FAC_RUNTIME_ERROR, "no support for mps", fac_device_check(fac_device(FAC_DEV_MPS, -1)));
    const FacDeviceOps *cpu = fac_devices[FAC_DEV_CPU];
    void *at;
    char from[5] = "word", to[5];
    OK(cpu->alloc(0, 100, &at));
    OK(cpu->fill_zero(0, at, 100));
    CHECK(((char *)at)[99] == 0);
    cpu->free(0, at, 100);
    OK(cpu->copy(to, FAC_CPU_DEVICE, from, FAC_CPU_DEVICE, 5));
    CHECK(strcmp(to, "word") == 0);
    FacDevice meta = fac_device(FAC_DEV_META, -1);
    CHECK(fac_devices[FAC_DEV_META]->copy(to, FAC_CPU_DEVICE, NULL, meta, 5) ==
          FAC_NOT_IMPLEMENTED);
}

TEST(blocks_of_all_sizes)
{
    for (size_t bytes = 1; bytes < (size_t)64 << 20; bytes += bytes / 3 + 1) {
        char *at;
        OK(fac_host_alloc(bytes, (void **)&at));
        CHECK((uintptr_t)at % 64 == 0);
        at[0] = at[bytes - 1] = 1; /* the sanitizer watches the end */
        fac_host_free(at, bytes);
    }
    void *none = &none;
    OK(fac_host_alloc(0, &none));
    CHECK(none == NULL);
    fac_host_free(none, 0);
}

TEST(reuse_and_counts)
{
    FacMemoryStats before, after;
    void *a, *b;
    fac_host_stats(&before);
    OK(fac_host_alloc(3 << 20, &a));
    fac_host_reset_peak();
    OK(fac_host_alloc(5000, &b));
    fac_host_free(a, 3 << 20);
    fac_host_free(b, 5000);
    fac_host_stats(&after);
    CHECK(after.allocated == before.allocated);
    CHECK(after.allocated_peak >= before.allocated + (3 << 20));
    CHECK(after.allocations - before.allocations == 2 && after.frees - before.frees == 2);
    if (after.reserved > before.reserved) { /* the cache is on */
        OK(fac_host_alloc(3 << 20, &b));
        CHECK(b == a);
        fac_host_free(b, 3 << 20);
        fac_host_stats(&before);
        CHECK(before.cache_hits == after.cache_hits + 1);
    }
    fac_host_empty_cache();
    fac_host_stats(&after);
    CHECK(after.reserved == after.allocated);
}

TEST(too_much)
{
    void *at = NULL;
    FAILS(FAC_MEMORY_ERROR, "not enough memory", fac_host_alloc((size_t)1 << 50, &at));
    FAILS(FAC_MEMORY_ERROR, "not enough memory", fac_host_alloc(SIZE_MAX, &at));
    FAILS(FAC_MEMORY_ERROR, "not enough memory", fac_host_alloc((size_t)PTRDIFF_MAX, &at));
    CHECK(at == NULL);
    /* never touched, but promised: what does not fit together is refused as well */
    enum { PIECE = 1 << 30, PIECES = 4096 };
    static void *pieces[PIECES];
    int n = 0;
    while (n < PIECES && fac_host_alloc(PIECE, &pieces[n]) == FAC_OK) n++;
    CHECK(n < PIECES);
    while (n > 0) fac_host_free(pieces[--n], PIECE);
    fac_host_empty_cache();
    OK(fac_host_alloc(100, &at));
    fac_host_free(at, 100);
}

enum { SLOTS = 64, ROUNDS = 20000 };

typedef struct Exchange {
    pthread_mutex_t lock;
    unsigned char *blocks[SLOTS];
    size_t sizes[SLOTS];
} Exchange;

/* Allocates, marks, swaps with what lies in a slot, checks the marks of that and frees it. */
static void *
exchange_blocks(void *context)
{
    Exchange *exchange = context;
    unsigned seed = (unsigned)(uintptr_t)&seed;
    for (int i = 0; i < ROUNDS; i++) {
        size_t bytes = (size_t)(rand_r(&seed) % 2000) * (rand_r(&seed) % 64 == 0 ? 200 : 1) + 1;
        unsigned char *mine, *other;
        if (fac_host_alloc(bytes, (void **)&mine) != FAC_OK) return context;
        mine[0] = mine[bytes - 1] = (unsigned char)bytes;
        int slot = rand_r(&seed) % SLOTS;
        pthread_mutex_lock(&exchange->lock);
        other = exchange->blocks[slot];
        size_t size = exchange->sizes[slot];
        exchange->blocks[slot] = mine;
        exchange->sizes[slot] = bytes;
        pthread_mutex_unlock(&exchange->lock);
        if (!other) continue;
        if (other[0] != (unsigned char)size || other[size - 1] != (unsigned char)size)
            return context;
        fac_host_free(other, size);
    }
    return NULL;
}

TEST(threads_exchange_blocks)
{
    static Exchange exchange = {.lock = PTHREAD_MUTEX_INITIALIZER};
    FacMemoryStats before, after;
    pthread_t threads[4];
    fac_host_stats(&before);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, exchange_blocks, &exchange) == 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        CHECK(!failed);
    }
    for (int i = 0; i < SLOTS; i++) fac_host_free(exchange.blocks[i], exchange.sizes[i]);
    fac_host_stats(&after);
    CHECK(after.allocated == before.allocated);
    CHECK(after.allocations - before.allocations == 4 * ROUNDS);
    fac_host_empty_cache();
    fac_host_stats(&after);
    CHECK(after.reserved == after.allocated);
}

TEST(a_forked_child_allocates)
{
    void *at;
    OK(fac_host_alloc(1000, &at));
    pid_t child = fork();
    if (child == 0) {
        void *more;
        fac_host_free(at, 1000);
        bool fine = fac_host_alloc(1000, &more) == FAC_OK;
        fac_host_empty_cache();
        _exit(fine ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    fac_host_free(at, 1000);
}

static FacStatus
allocate_two(void *context)
{
    void *a = NULL, *b = NULL;
    FacStatus st;
    FAC_TRY(fac_host_alloc(100, &a));
    FAC_TRY(fac_host_alloc(1 << 20, &b));
done:
    fac_host_free(a, 100);
    fac_host_free(b, 1 << 20);
    (void)context;
    return st;
}

TEST(failure_on_demand)
{
    EACH_ALLOCATION(allocate_two, NULL);
}

RUN_TESTS(CASE(names), CASE(what_is_there), CASE(blocks_of_all_sizes), CASE(reuse_and_counts),
          CASE(too_much), CASE(threads_exchange_blocks), CASE(a_forked_child_allocates),
          CASE(failure_on_demand))
