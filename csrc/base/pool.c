/* pool.c - threads that claim chunks of the jobs that callers post.
 *
 * A job lives on its caller's stack and hangs in a list while it has unclaimed chunks. Whoever
 * works on it takes the next chunk with one atomic addition, the caller included; the caller then
 * unhooks the job and waits until no helper is inside. So a job finishes even when no worker ever
 * wakes up, and several threads may post jobs at once. Which thread runs which chunk differs from
 * run to run; what a chunk is does not.
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

enum {
    THREADS_MAX = 1024,
    SPINS = 64,         /* processor pauses before sleeping: a few microseconds */
    CHUNK_COST = 32768, /* cheap operations that are worth handing to another thread */
    BLOCK = 512         /* grains are multiples of the kernels' block of elements */
};

typedef struct Job {
    FacBody body;
    void *context;
    int64_t n, grain, chunks;
    _Atomic int64_t next;
    _Atomic int inside; /* helpers at work; changed under the lock */
    int helpers_left;   /* how many more may join */
    struct Job *after;
} Job;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_posted = PTHREAD_COND_INITIALIZER;
static pthread_cond_t helper_left = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static Job *jobs;
static int workers;
static _Atomic int64_t posts;
static _Atomic int threads_wanted;
static _Thread_local bool inside_body;

static inline void
pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
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
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&work_posted, NULL);
    pthread_cond_init(&helper_left, NULL);
    jobs = NULL;
    workers = 0;
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

static void
work_on(Job *job)
{
    int64_t chunk;
    inside_body = true;
    while ((chunk = atomic_fetch_add(&job->next, 1)) < job->chunks) {
        int64_t begin = chunk * job->grain;
        int64_t end = chunk + 1 < job->chunks ? begin + job->grain : job->n;
        job->body(begin, end, job->context);
    }
    inside_body = false;
}

/* The first job that still has chunks and room for a helper; called under the lock. */
static Job *
find_job(void)
{
    for (Job *job = jobs; job; job = job->after)
        if (job->helpers_left > 0 && atomic_load(&job->next) < job->chunks) return job;
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
            for (int i = 0; i < SPINS && posts == seen; i++) pause_briefly();
            pthread_mutex_lock(&lock);
            if (posts == seen) pthread_cond_wait(&work_posted, &lock);
            continue;
        }
        job->helpers_left--;
        job->inside++;
        pthread_mutex_unlock(&lock);
        work_on(job);
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
    int helpers = job->helpers_left;
    pthread_mutex_lock(&lock);
    start_workers(helpers);
    job->after = jobs;
    jobs = job;
    posts++;
    for (int i = 0; i < helpers; i++) pthread_cond_signal(&work_posted);
    pthread_mutex_unlock(&lock);

    work_on(job);

    pthread_mutex_lock(&lock);
    for (at = &jobs; *at != job; at = &(*at)->after) continue;
    *at = job->after;
    if (job->inside) {
        pthread_mutex_unlock(&lock);
        for (int i = 0; i < SPINS && job->inside; i++) pause_briefly();
        pthread_mutex_lock(&lock);
    }
    while (job->inside) pthread_cond_wait(&helper_left, &lock);
    pthread_mutex_unlock(&lock);
}

void
fac_parallel(int64_t n, int64_t grain, FacBody body, void *context)
{
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    int64_t chunks = n / grain + (n % grain != 0);
    int threads = chunks == 1 || inside_body ? 1 : fac_num_threads();
    if (threads == 1) {
        for (int64_t begin = 0; begin < n; begin += grain)
            body(begin, n - begin > grain ? begin + grain : n, context);
        return;
    }
    Job job = {.body = body,
               .context = context,
               .n = n,
               .grain = grain,
               .chunks = chunks,
               .helpers_left = (int)(chunks < threads ? chunks : threads) - 1};
    run_job(&job);
}

int64_t
fac_grain(int64_t cost)
{
    if (fac_stress()) return 1;
    int64_t grain = CHUNK_COST / (cost > 0 ? cost : 1);
    if (grain < 1) return 1;
    return grain > BLOCK ? grain / BLOCK * BLOCK : grain;
}
