/* mem.h - small memory and reference counts.
 *
 * All small allocations of the core go through fac_mem_*, so that a test can make the n-th one
 * fail and count what is still alive. Tensor data does not: it comes from device/. Hot object
 * types use a FacFreeList: per-thread, bounded, falling back to fac_mem_alloc. With FACULA_STRESS=1
 * free lists hold nothing and freed memory is poisoned.
 */
#ifndef FAC_BASE_MEM_H
#define FAC_BASE_MEM_H

#include "facula.h"

#include <stdatomic.h>

void *fac_mem_alloc(size_t bytes);             /* NULL when there is none left; no message is set */
void *fac_mem_zalloc(size_t bytes);            /* zeroed */
void *fac_mem_realloc(void *at, size_t bytes); /* NULL on failure, `at` stays valid */
void fac_mem_free(void *at);                   /* accepts NULL */
/* Sets the message for a failed fac_mem_alloc and returns FAC_MEMORY_ERROR. */
FacStatus fac_mem_error(size_t bytes);

/* For tests: the n-th allocation from now on fails (1 is the next one; 0 turns it off). Returns what
 * was left of the count before: 0 when that failure has happened. */
int64_t fac_mem_fail_after(int64_t n);
/* Counts one allocation that is made elsewhere (tensor data); true when it is the one to fail. */
bool fac_mem_fails_now(void);
/* Blocks allocated and not yet freed. Empties this thread's free lists first, since a block in one
 * is nobody's; the lists of other threads count until those threads end. */
int64_t fac_mem_live(void);
bool fac_stress(void); /* FACULA_STRESS=1 was set when the library was loaded */

/* A per-thread list of free blocks of one size: the fast way for objects that come and go. It
 * starts without room, so that its first use takes the slow way, which enters it in the thread's
 * chain of lists; they are emptied when the thread ends. */
typedef struct FacFreeList {
    void *head;
    struct FacFreeList *next;
    int room; /* how many more blocks it takes */
    bool known;
} FacFreeList;
enum { FAC_FREE_LIST_MAX = 256 };

/* Declares a file-local thread-safe pair NAME_alloc() and NAME_free(p) for blocks of sizeof(type). */
#define FAC_FREE_LIST(NAME, type)                                                                  \
    static _Thread_local FacFreeList NAME##_list;                                                  \
    static inline type *NAME##_alloc(void)                                                         \
    {                                                                                              \
        return (type *)fac_free_list_pop(&NAME##_list, sizeof(type));                              \
    }                                                                                              \
    static inline void NAME##_free(type *at)                                                       \
    {                                                                                              \
        fac_free_list_push(&NAME##_list, at);                                                      \
    }

void *fac_free_list_pop_slow(FacFreeList *list, size_t bytes);
void fac_free_list_push_slow(FacFreeList *list, void *at);

static inline void *
fac_free_list_pop(FacFreeList *list, size_t bytes)
{
    void *at = list->head;
    if (FAC_UNLIKELY(!at)) return fac_free_list_pop_slow(list, bytes);
    list->head = *(void **)at;
    list->room++;
    return at;
}

static inline void
fac_free_list_push(FacFreeList *list, void *at)
{
    if (FAC_UNLIKELY(list->room <= 0)) {
        fac_free_list_push_slow(list, at);
        return;
    }
    *(void **)at = list->head;
    list->head = at;
    list->room--;
}

/* Reference counts. A count of one object may be touched by several threads. */
typedef _Atomic int64_t FacRefs;

static inline void
fac_refs_up(FacRefs *refs)
{
    atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
}

/* True when the last reference went away. A sole owner needs no locked instruction. */
static inline bool
fac_refs_down(FacRefs *refs)
{
    if (atomic_load_explicit(refs, memory_order_acquire) == 1) return true;
    return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

#endif
