/* pool.h - the thread pool.
 *
 * fac_parallel splits [0, n) into chunks by size alone (never by the number of threads) and lets
 * the caller and the workers claim them dynamically. A body writes results that depend only on its
 * chunk, and partial results are combined by the caller in chunk order: the bits are the same for
 * any number of threads. Bodies must not raise; they may not call into Python. Nested calls run in
 * the calling thread. Workers start at the first use and again after fork; they wait awake for 30 us
 * after their work. Jobs too small for the wake of a thread are done by the caller alone.
 */
#ifndef FAC_BASE_POOL_H
#define FAC_BASE_POOL_H

#include "facula.h"

typedef void (*FacBody)(int64_t begin, int64_t end, void *context);

/* Chunks of `grain` elements (the last may be shorter). One chunk, or one thread: runs in place. */
void fac_parallel(int64_t n, int64_t grain, FacBody body, void *context);
static inline int64_t
fac_chunks(int64_t n, int64_t grain)
{
    return (n + grain - 1) / grain;
}

/* A grain in elements for work of `cost` "cheap operations" an element; 1 in the stress build. */
int64_t fac_grain(int64_t cost);

int fac_num_threads(void);
FacStatus fac_set_num_threads(int n) FAC_MUST_CHECK; /* FAC_VALUE_ERROR unless n > 0 */
bool fac_in_parallel(void);

#endif
