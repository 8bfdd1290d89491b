/* mem.c - counted small allocations and per-thread free lists.
 *
 * malloc with two counters around it: how many blocks are alive, and how many allocations remain
 * until one is made to fail. A free list is bounded and belongs to one thread; the lists of a
 * thread form a chain that a pthread key's destructor empties when the thread ends. Under stress
 * no list ever gets room; a failure test takes it from those of its thread. Every object is a
 * block of its own then.
 */
#include "base/mem.h"

#include "base/status.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { POISON = 0xDB };

static _Atomic int64_t live;
static _Atomic int64_t until_failure; /* 0: off */
static bool stress;
static pthread_key_t exit_key;
static bool exit_key_made;
static _Thread_local FacFreeList *chain;

static _Atomic bool lists_off; /* stress, or an allocation failure test is running */

static void
drain_chain(void)
{
    while (chain) {
        FacFreeList *list = chain;
        chain = list->next;
        while (list->head) {
            void *at = list->head;
            list->head = *(void **)at;
            fac_mem_free(at);
        }
        list->room = 0;
        list->known = false;
    }
}

static void
at_thread_exit(void *unused)
{
    (void)unused;
    drain_chain();
}

__attribute__((constructor)) static void
mem_start(void)
{
    const char *text = getenv("FACULA_STRESS");
    stress = text && *text && strcmp(text, "0") != 0;
    lists_off = stress;
    exit_key_made = pthread_key_create(&exit_key, at_thread_exit) == 0;
}

bool
fac_stress(void)
{
    return stress;
}

bool
fac_mem_fails_now(void)
{
    int64_t left = atomic_load_explicit(&until_failure, memory_order_relaxed);
    while (FAC_UNLIKELY(left > 0))
        if (atomic_compare_exchange_weak(&until_failure, &left, left - 1)) return left == 1;
    return false;
}

static void *
count_block(void *at)
{
    if (FAC_LIKELY(at)) atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    return at;
}

void *
fac_mem_alloc(size_t bytes)
{
    if (fac_mem_fails_now()) return NULL;
    return count_block(malloc(bytes ? bytes : 1));
}

void *
fac_mem_zalloc(size_t bytes)
{
    if (fac_mem_fails_now()) return NULL;
    return count_block(calloc(1, bytes ? bytes : 1));
}

void *
fac_mem_realloc(void *at, size_t bytes)
{
    if (!at) return fac_mem_alloc(bytes);
    if (fac_mem_fails_now()) return NULL;
    return realloc(at, bytes ? bytes : 1);
}

void
fac_mem_free(void *at)
{
    if (!at) return;
    atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
    if (FAC_UNLIKELY(stress)) memset(at, POISON, malloc_usable_size(at));
    free(at);
}

FacStatus
fac_mem_error(size_t bytes)
{
    return fac_error(FAC_MEMORY_ERROR, "not enough memory for %zu bytes", bytes);
}

int64_t
fac_mem_fail_after(int64_t n)
{
    lists_off = stress || n > 0;
    if (n > 0) drain_chain();
    return atomic_exchange(&until_failure, n > 0 ? n : 0);
}

int64_t
fac_mem_live(void)
{
    drain_chain();
    return live;
}

/* Gives a list its room and enters it in the chain of this thread. */
static void
admit(FacFreeList *list)
{
    if (list->known || !exit_key_made || pthread_setspecific(exit_key, &chain) != 0) return;
    list->known = true;
    list->room = FAC_FREE_LIST_MAX;
    list->next = chain;
    chain = list;
}

void *
fac_free_list_pop_slow(FacFreeList *list, size_t bytes)
{
    if (!lists_off) admit(list);
    return fac_mem_alloc(bytes < sizeof(void *) ? sizeof(void *) : bytes);
}

void
fac_free_list_push_slow(FacFreeList *list, void *at)
{
    if (!at) return;
    if (!lists_off) admit(list);
    if (lists_off || list->room <= 0) {
        fac_mem_free(at);
        return;
    }
    *(void **)at = list->head;
    list->head = at;
    list->room--;
}
