/* host.c - the CPU's caching allocator.
 *
 * Sizes are rounded up to classes (64-byte steps, then four, then eight steps a doubling), and a
 * freed block waits in the bin of its class. A block carries no header: its class follows from the
 * size that the caller gives back. Up to 64 KiB a thread keeps bins of its own; beyond that, and
 * for what a thread has too much of, there are shared bins under one lock. Blocks of 2 MiB and more
 * are mapped, aligned to huge pages; smaller ones come from malloc.
 *
 * Linux promises memory that it does not have and kills the process that touches it. So a request
 * that would take facula above the machine's (or the container's) memory fails here, after the
 * cache was emptied; the cache itself is bounded by half of the memory.
 *
 * Counters of small blocks are kept by their thread and carried over when they have grown.
 */
#include "device/device.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    ALIGNMENT = 64,
    SMALL_MAX = 64 << 10,
    SMALL_CLASSES = 8 + 4 * 7, /* 64 .. 512 by 64; then to 64 KiB */
    LARGE_CLASSES = 8 * 32,    /* 64 KiB to 256 TiB */
    CLASSES = SMALL_CLASSES + LARGE_CLASSES,
    THREAD_BIN_BYTES = 256 << 10, /* what one bin of one thread may hold */
    CARRY_BYTES = 256 << 10,      /* a thread's count is carried over when so far off */
    MAPPED_MIN = 2 << 20,
    HUGE_PAGE = 2 << 20,
};

typedef struct Block {
    struct Block *next;
} Block;

/* A counter that one thread changes and any thread may read: no locked instruction. */
typedef _Atomic int64_t OwnCount;

typedef struct ThreadCache {
    Block *bins[SMALL_CLASSES];
    int32_t room[SMALL_CLASSES]; /* blocks that the bin still takes */
    OwnCount allocated, allocations, frees, hits;
    int64_t before; /* what was carried over, and large blocks: with `allocated`, all bytes */
    struct ThreadCache *next, **link; /* the list of all; under the lock */
} ThreadCache;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t exit_key;
static bool exit_key_made, cache_off;
static Block *bins[CLASSES];
static int64_t cached; /* bytes in the shared bins; under the lock, like the bins */
static ThreadCache *caches;
static int64_t memory_size;
static _Thread_local ThreadCache *mine; /* made at the first use; thread-local memory is scarce */
static ThreadCache nobodys; /* of threads without memory for one: keeps nothing, counts roughly */

static _Atomic int64_t allocated, allocated_peak, reserved, reserved_peak;
static _Atomic int64_t allocations, frees, cache_hits, system_allocations;

/* --- size classes ----------------------------------------------------------------------------- */

/* The class of a size from 1 to 2^48, and the bytes that its blocks have. */
static inline int
class_of(size_t bytes, size_t *block)
{
    if (bytes <= 512) {
        int c = (int)((bytes - 1) / ALIGNMENT);
        *block = (size_t)(c + 1) * ALIGNMENT;
        return c;
    }
    int power = 63 - __builtin_clzll((unsigned long long)bytes - 1); /* 2^power < bytes */
    int steps = bytes <= SMALL_MAX ? 2 : 3;
    size_t unit = (size_t)1 << (power - steps);
    size_t part = (bytes - 1 - ((size_t)1 << power)) / unit; /* 0 .. 2^steps - 1 */
    *block = ((size_t)1 << power) + (part + 1) * unit;
    if (steps == 2) return 8 + 4 * (power - 9) + (int)part;
    return SMALL_CLASSES + 8 * (power - 16) + (int)part;
}

static size_t
class_bytes(int c)
{
    if (c < 8) return (size_t)(c + 1) * ALIGNMENT;
    bool small = c < SMALL_CLASSES;
    int k = small ? c - 8 : c - SMALL_CLASSES, steps = small ? 2 : 3;
    int power = (small ? 9 : 16) + (k >> steps);
    size_t part = (size_t)(k & ((1 << steps) - 1));
    return ((size_t)1 << power) + (part + 1) * ((size_t)1 << (power - steps));
}

/* --- counters --------------------------------------------------------------------------------- */

static inline void
own_add(OwnCount *count, int64_t n)
{
    int64_t now = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, now + n, memory_order_relaxed);
}

static void
raise_peak(_Atomic int64_t *peak, int64_t value)
{
    int64_t old = atomic_load_explicit(peak, memory_order_relaxed);
    while (value > old && !atomic_compare_exchange_weak(peak, &old, value)) continue;
}

static void
add_reserved(int64_t bytes)
{
    int64_t now = atomic_fetch_add(&reserved, bytes) + bytes;
    raise_peak(&reserved_peak, now);
}

static void
add_allocated(int64_t bytes)
{
    int64_t now = atomic_fetch_add(&allocated, bytes) + bytes;
    raise_peak(&allocated_peak, now);
}

static void
carry_over(ThreadCache *cache)
{
    add_allocated(cache->allocated);
    cache->before += cache->allocated;
    allocations += cache->allocations;
    frees += cache->frees;
    cache_hits += cache->hits;
    cache->allocated = cache->allocations = cache->frees = cache->hits = 0;
}

static inline void
count_small(ThreadCache *cache, int64_t bytes)
{
    own_add(bytes > 0 ? &cache->allocations : &cache->frees, 1);
    own_add(&cache->allocated, bytes);
    int64_t off = atomic_load_explicit(&cache->allocated, memory_order_relaxed);
    if (FAC_UNLIKELY(off > CARRY_BYTES || off < -CARRY_BYTES)) carry_over(cache);
}

static void
count_large(ThreadCache *cache, int64_t bytes)
{
    cache->before += bytes;
    atomic_fetch_add(bytes > 0 ? &allocations : &frees, 1);
    add_allocated(bytes);
}

/* --- the system ------------------------------------------------------------------------------- */

static int64_t
read_limit(const char *path)
{
    char text[32];
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    bool got = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    return got ? strtoll(text, NULL, 10) : 0; /* "max" gives 0 */
}

static int64_t
measure_memory(void)
{
    static const char *const limits[] = {"/sys/fs/cgroup/memory.max",
                                         "/sys/fs/cgroup/memory/memory.limit_in_bytes"};
    char line[128];
    int64_t total = 0, kib;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "MemTotal:", 9) == 0 || strncmp(line, "SwapTotal:", 10) == 0) {
            kib = strtoll(strchr(line, ':') + 1, NULL, 10);
            total += kib << 10;
        }
    if (file) fclose(file);
    if (!total) total = INT64_C(1) << 46;
    for (int i = 0; i < 2; i++) {
        int64_t limit = read_limit(limits[i]);
        if (limit > 0 && limit < total) total = limit;
    }
    return total;
}

static void *
map_aligned(size_t bytes)
{
    size_t whole = bytes + HUGE_PAGE;
    char *at = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return NULL;
    size_t before = (size_t)(-(uintptr_t)at & (HUGE_PAGE - 1));
    if (before) munmap(at, before);
    munmap(at + before + bytes, HUGE_PAGE - before);
    madvise(at + before, bytes, MADV_HUGEPAGE); /* advice: a kernel without it may refuse */
    return at + before;
}

static void *
system_alloc(size_t block)
{
    if (reserved + (int64_t)block > memory_size) return NULL;
    void *at = block >= MAPPED_MIN ? map_aligned(block) : aligned_alloc(ALIGNMENT, block);
    if (!at) return NULL;
    add_reserved((int64_t)block);
    system_allocations++;
    return at;
}

static void
system_free(void *at, size_t block)
{
    add_reserved(-(int64_t)block);
    if (block >= MAPPED_MIN)
        munmap(at, block);
    else
        free(at);
}

/* --- shared bins ------------------------------------------------------------------------------ */

static void *
take_shared(int c, size_t block)
{
    pthread_mutex_lock(&lock);
    Block *at = bins[c];
    if (at) {
        bins[c] = at->next;
        cached -= (int64_t)block;
    }
    pthread_mutex_unlock(&lock);
    return at;
}

/* Gives blocks back to the system until at most `keep` bytes are cached, the largest first. */
static void
trim(int64_t keep)
{
    Block *out = NULL;
    for (int c = CLASSES - 1; c >= 0; c--) {
        size_t block = class_bytes(c);
        pthread_mutex_lock(&lock);
        while (bins[c] && cached > keep) {
            Block *at = bins[c];
            bins[c] = at->next;
            cached -= (int64_t)block;
            at->next = out;
            out = at;
        }
        pthread_mutex_unlock(&lock);
        while (out) {
            Block *next = out->next;
            system_free(out, block);
            out = next;
        }
    }
}

static void
put_shared(void *freed, int c, size_t block)
{
    Block *at = freed;
    pthread_mutex_lock(&lock);
    at->next = bins[c];
    bins[c] = at;
    cached += (int64_t)block;
    bool full = cached > memory_size / 2;
    pthread_mutex_unlock(&lock);
    if (FAC_UNLIKELY(full)) trim(memory_size / 4);
}

/* --- threads ---------------------------------------------------------------------------------- */

static void
empty_thread_bins(ThreadCache *cache)
{
    for (int c = 0; c < SMALL_CLASSES; c++)
        while (cache->bins[c]) {
            Block *at = cache->bins[c];
            cache->bins[c] = at->next;
            cache->room[c]++;
            put_shared(at, c, class_bytes(c));
        }
}

static void
at_thread_exit(void *at)
{
    ThreadCache *cache = at;
    empty_thread_bins(cache);
    pthread_mutex_lock(&lock);
    *cache->link = cache->next;
    if (cache->next) cache->next->link = cache->link;
    carry_over(cache);
    pthread_mutex_unlock(&lock);
    mine = NULL;
    free(cache);
}

static void
before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void
after_fork_in_parent(void)
{
    pthread_mutex_unlock(&lock);
}

/* The other threads are gone, and with them the memory of their caches. */
static void
after_fork_in_child(void)
{
    pthread_mutex_init(&lock, NULL);
    caches = NULL;
    if (!mine || mine == &nobodys) return;
    mine->next = NULL;
    mine->link = &caches;
    caches = mine;
}

static void
start(void)
{
    memory_size = measure_memory();
    exit_key_made = pthread_key_create(&exit_key, at_thread_exit) == 0;
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    cache_off = fac_stress();
#ifdef __SANITIZE_ADDRESS__
    cache_off = true; /* a cached block would hide its use after free */
#endif
}

static ThreadCache *
make_thread_cache(void)
{
    pthread_once(&once, start);
    ThreadCache *cache = calloc(1, sizeof *cache);
    mine = cache ? cache : &nobodys;
    if (!cache) return mine;
    bool kept = exit_key_made && pthread_setspecific(exit_key, cache) == 0 && !cache_off;
    for (int c = 0; kept && c < SMALL_CLASSES; c++)
        cache->room[c] = (int32_t)(THREAD_BIN_BYTES / class_bytes(c));
    pthread_mutex_lock(&lock);
    cache->next = caches;
    cache->link = &caches;
    if (caches) caches->link = &cache->next;
    caches = cache;
    pthread_mutex_unlock(&lock);
    return cache;
}

/* This thread's cache, entered in the list at its first use. */
static inline ThreadCache *
thread_cache(void)
{
    return FAC_LIKELY(mine != NULL) ? mine : make_thread_cache();
}

/* --- the interface ---------------------------------------------------------------------------- */

static FacStatus
no_memory(size_t bytes)
{
    const double gib = 1.0 / (1 << 30);
    return fac_error(FAC_MEMORY_ERROR,
                     "not enough memory on the CPU for %zu bytes (%.2f GiB): tensors hold %.2f of "
                     "the machine's %.2f GiB",
                     bytes, (double)bytes * gib, (double)allocated * gib,
                     (double)memory_size * gib);
}

/* A block of class c from the shared bins or the system; the cache goes before the request does. */
static void *
find_block(ThreadCache *cache, int c, size_t block)
{
    void *at = take_shared(c, block);
    if (at) {
        own_add(&cache->hits, 1);
        return at;
    }
    at = system_alloc(block);
    if (at) return at;
    fac_host_empty_cache();
    return system_alloc(block);
}

FacStatus
fac_host_alloc(size_t bytes, void **out)
{
    ThreadCache *cache = thread_cache();
    size_t block;
    if (bytes == 0) {
        *out = NULL;
        return FAC_OK;
    }
    if (FAC_UNLIKELY(bytes > (size_t)memory_size || fac_mem_fails_now())) return no_memory(bytes);
    int c = class_of(bytes, &block);
    if (c < SMALL_CLASSES && FAC_LIKELY(cache->bins[c] != NULL)) {
        Block *at = cache->bins[c];
        cache->bins[c] = at->next;
        cache->room[c]++;
        own_add(&cache->hits, 1);
        count_small(cache, (int64_t)block);
        *out = at;
        return FAC_OK;
    }
    void *at = find_block(cache, c, block);
    if (!at) return no_memory(bytes);
    if (FAC_UNLIKELY(fac_stress())) memset(at, 0xFF, block); /* NaN for whoever forgets to write */
    if (c < SMALL_CLASSES)
        count_small(cache, (int64_t)block);
    else
        count_large(cache, (int64_t)block);
    *out = at;
    return FAC_OK;
}

void
fac_host_free(void *at, size_t bytes)
{
    ThreadCache *cache = thread_cache();
    size_t block;
    if (!at || !bytes) return;
    int c = class_of(bytes, &block);
    if (c < SMALL_CLASSES)
        count_small(cache, -(int64_t)block);
    else
        count_large(cache, -(int64_t)block);
    if (FAC_UNLIKELY(cache_off)) {
        if (fac_stress()) memset(at, 0xDB, block);
        system_free(at, block);
    } else if (c < SMALL_CLASSES && FAC_LIKELY(cache->room[c] > 0)) {
        Block *freed = at;
        freed->next = cache->bins[c];
        cache->bins[c] = freed;
        cache->room[c]--;
    } else {
        put_shared(at, c, block);
    }
}

void
fac_host_discard(void *at, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)at;
    uintptr_t first = (begin + page - 1) / page * page, end = (begin + bytes) / page * page;
#ifdef MADV_DONTNEED
    if (first < end) (void)madvise((void *)first, end - first, MADV_DONTNEED);
#endif
}

void
fac_host_empty_cache(void)
{
    empty_thread_bins(thread_cache());
    trim(0);
}

void
fac_host_stats(FacMemoryStats *out)
{
    thread_cache();
    pthread_mutex_lock(&lock);
    int64_t sums[4] = {allocated, allocations, frees, cache_hits};
    for (ThreadCache *cache = caches; cache; cache = cache->next) {
        sums[0] += cache->allocated;
        sums[1] += cache->allocations;
        sums[2] += cache->frees;
        sums[3] += cache->hits;
    }
    pthread_mutex_unlock(&lock);
    raise_peak(&allocated_peak, sums[0]);
    *out = (FacMemoryStats){.allocated = sums[0],
                            .allocated_peak = allocated_peak,
                            .reserved = reserved,
                            .reserved_peak = reserved_peak,
                            .allocations = sums[1],
                            .frees = sums[2],
                            .cache_hits = sums[3],
                            .system_allocations = system_allocations};
}

int64_t
fac_host_thread_bytes(void)
{
    const ThreadCache *cache = thread_cache();
    return cache->before + cache->allocated;
}

void
fac_host_reset_peak(void)
{
    FacMemoryStats now;
    fac_host_stats(&now);
    allocated_peak = now.allocated;
    reserved_peak = now.reserved;
}
