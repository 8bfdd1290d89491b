/* pool.c - threads that claim chunks of the jobs that callers post.
 *
 * A job lives on its caller's stack and hangs in a list while it has unclaimed chunks. Whoever
 * works on it takes a chunk with one atomic addition, the caller included; the caller then
 * unhooks the job and waits until no helper is inside. So a job finishes even when no worker ever
 * wakes up, and several threads may post jobs at once. Which thread runs which chunk differs from
 * run to run; what a chunk is does not.
 *
 * To wake a thread that sleeps costs its caller 5 us, and it comes 10 us later (measured on a virtual
 * machine); one that waits awake takes a chunk within half a microsecond. So helpers wait awake for a
 * little while after their work. Where none of them is, small work is not worth waking one: the
 * caller does a chunk by itself, and by the time that it took decides about the rest.
 *
 * fork: the child keeps the memory and none of the threads. A handler takes the lock before, and
 * gives the child a fresh lock and an empty list; workers start again at the next job.
 */
#include "base/pool.h"

#include "base/cpu.h"
#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum {
    THREADS_MAX = 1024,
    AWAKE_NS = 30000,    /* how long who has nothing to do waits awake */
    WAKE_NS = 40000,     /* work that is worth waking a helper */
    WAKE_SOON_NS = 4000, /* the same where the last job ended just now, as in a loop of them */
    MANY_CHUNKS = 32,    /* so much work for sure that helpers are called at once */
    CHUNK_COST = 32768,  /* cheap operations that are worth handing to another thread */
    BLOCK = 512          /* grains are multiples of the kernels' block of elements */
};

typedef struct Job {
    FacBody body;
    void *context;
    int64_t n, grain, chunks;
    _Atomic int64_t taken; /* chunks, from both ends */
    int64_t front;         /* the caller's next one */
    _Atomic int64_t back;  /* how many helpers took */
    _Atomic int inside;    /* helpers at work; changed under the lock */
    int helpers_left;      /* how many more may join */
    struct Job *after;
} Job;

/* The lock is held for moments only: who finds it taken had better not sleep. */
#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
#define LOCK_INITIALIZER PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
#else
#define LOCK_INITIALIZER PTHREAD_MUTEX_INITIALIZER
#endif
static pthread_mutex_t lock = LOCK_INITIALIZER;
static pthread_cond_t work_posted = PTHREAD_COND_INITIALIZER;
static pthread_cond_t helper_left = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static Job *jobs;
static int workers, asleep;      /* under the lock */
static _Atomic int awake;        /* workers that wait for a job and do not sleep */
static _Atomic int64_t posts;    /* jobs so far */
static _Atomic int64_t last_job; /* when the last one ended */
static _Atomic int threads_wanted;
static _Thread_local bool inside_body;

static inline void
pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static int64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Waits awake, for a while, until there is another job than number `seen`. */
static void
wait_for_post(int64_t seen)
{
    int64_t end = now_ns() + AWAKE_NS;
    atomic_fetch_add(&awake, 1);
    while (posts == seen && now_ns() < end)
        for (int i = 0; i < 16 && posts == seen; i++) pause_briefly();
    atomic_fetch_sub(&awake, 1);
}

/* The same until no helper is inside of the job. */
static void
wait_for_helpers(Job *job)
{
    int64_t end = now_ns() + AWAKE_NS;
    while (job->inside && now_ns() < end)
        for (int i = 0; i < 16 && job->inside; i++) pause_briefly();
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

static void
after_fork_in_child(void)
{
    static const pthread_mutex_t fresh = LOCK_INITIALIZER;
    lock = fresh;
    pthread_cond_init(&work_posted, NULL);
    pthread_cond_init(&helper_left, NULL);
    jobs = NULL;
    workers = asleep = awake = 0;
}

static int
threads_from(const char *variable)
{
    const char *text = getenv(variable);
    long n = text ? strtol(text, NULL, 10) : 0;
    return n < 1 ? 0 : n > THREADS_MAX ? THREADS_MAX : (int)n;
}

static void
start(void)
{
    int n = threads_from("FACULA_NUM_THREADS");
    if (!n) n = threads_from("OMP_NUM_THREADS");
    if (!n) n = fac_cpu_count();
    threads_wanted = n;
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

int
fac_num_threads(void)
{
    pthread_once(&once, start);
    return threads_wanted;
}

FacStatus
fac_set_num_threads(int n)
{
    if (n < 1)
        return fac_error(FAC_VALUE_ERROR, "the number of threads must be positive, not %d", n);
    pthread_once(&once, start);
    threads_wanted = n < THREADS_MAX ? n : THREADS_MAX;
    return FAC_OK;
}

bool
fac_in_parallel(void)
{
    return inside_body;
}

static inline void
run_chunk(const Job *job, int64_t chunk)
{
    int64_t begin = chunk * job->grain;
    int64_t end = chunk + 1 < job->chunks ? begin + job->grain : job->n;
    job->body(begin, end, job->context);
}

/* The caller goes forward from the first chunk and helpers back from the last one: each passes through
 * memory of its own. */
static void
work_on(Job *job, bool helping)
{
    inside_body = true;
    while (atomic_fetch_add(&job->taken, 1) < job->chunks)
        run_chunk(job, helping ? job->chunks - 1 - atomic_fetch_add(&job->back, 1) : job->front++);
    inside_body = false;
}

/* The first job that still has chunks and room for a helper; called under the lock. */
static Job *
find_job(void)
{
    for (Job *job = jobs; job; job = job->after)
        if (job->helpers_left > 0 && atomic_load(&job->taken) < job->chunks) return job;
    return NULL;
}

static void *
worker(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        Job *job = find_job();
        if (!job) {
            int64_t seen = posts;
            pthread_mutex_unlock(&lock);
            wait_for_post(seen);
            pthread_mutex_lock(&lock);
            if (posts == seen) {
                asleep++;
                pthread_cond_wait(&work_posted, &lock);
                asleep--;
            }
            continue;
        }
        job->helpers_left--;
        job->inside++;
        pthread_mutex_unlock(&lock);
        work_on(job, true);
        pthread_mutex_lock(&lock);
        if (--job->inside == 0) pthread_cond_broadcast(&helper_left);
    }
    return NULL;
}

/* Starts workers up to n; called under the lock. Where the system refuses, fewer have to do. */
static void
start_workers(int n)
{
    sigset_t all, old;
    pthread_attr_t attributes;
    if (workers >= n || pthread_attr_init(&attributes) != 0) return;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all); /* signals belong to the threads of the program, not to these */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (workers < n) {
        pthread_t id;
        if (pthread_create(&id, &attributes, worker, NULL) != 0) break;
        workers++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
}

static void
run_job(Job *job)
{
    Job **at;
    pthread_mutex_lock(&lock);
    start_workers(job->helpers_left);
    job->after = jobs;
    jobs = job;
    posts++;
    int wake = job->helpers_left - awake;
    if (wake > asleep) wake = asleep;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < wake; i++) pthread_cond_signal(&work_posted);

    work_on(job, false);

    pthread_mutex_lock(&lock);
    for (at = &jobs; *at != job; at = &(*at)->after) continue;
    *at = job->after;
    if (job->inside) {
        pthread_mutex_unlock(&lock);
        wait_for_helpers(job);
        pthread_mutex_lock(&lock);
    }
    while (job->inside) pthread_cond_wait(&helper_left, &lock);
    pthread_mutex_unlock(&lock);
}

/* The caller's own first chunk, by which it tells whether the others are worth waking a helper. */
static bool
is_worth_waking(Job *job)
{
    int64_t start = now_ns();
    inside_body = true;
    job->taken++;
    run_chunk(job, job->front++);
    inside_body = false;
    int64_t left = (now_ns() - start) * (job->chunks - 1);
    return left > (start - last_job < AWAKE_NS ? WAKE_SOON_NS : WAKE_NS);
}

void
fac_parallel(int64_t n, int64_t grain, FacBody body, void *context)
{
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    Job job = {.body = body, .context = context, .n = n, .grain = grain};
    job.chunks = n / grain + (n % grain != 0);
    int threads = job.chunks == 1 || inside_body ? 1 : fac_num_threads();
    if (threads == 1) {
        for (int64_t begin = 0; begin < n; begin += grain)
            body(begin, n - begin > grain ? begin + grain : n, context);
        return;
    }
    job.helpers_left = (int)(job.chunks < threads ? job.chunks : threads) - 1;
    /* A grain of one is what callers with large tasks ask for. */
    bool small = job.chunks < MANY_CHUNKS && grain > 1 && awake == 0;
    if (small && !is_worth_waking(&job))
        work_on(&job, false);
    else
        run_job(&job);
    last_job = now_ns();
}

int64_t
fac_grain(int64_t cost)
{
    if (fac_stress()) return 1;
    int64_t grain = CHUNK_COST / (cost > 0 ? cost : 1);
    if (grain < 1) return 1;
    return grain > BLOCK ? grain / BLOCK * BLOCK : grain;
}
