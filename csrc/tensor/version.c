/* version.c - versions: how many times a memory was changed in place, and who did it.
 *
 * A gradient that finds a saved tensor at another version than it saved raises. To say which line
 * changed it, the version counts how many gradients keep it at this moment; a change that overwrites
 * a version that is kept writes down the operator and the line. Changes that nobody minds, such as
 * those of an optimizer, write down nothing.
 */
#include "tensor/call.h"

#include <stdio.h>
#include <string.h>

typedef struct FacOverwrite {
    struct FacOverwrite *next;
    int64_t version; /* that was overwritten */
    char by[64], where[192];
} FacOverwrite;

enum { OVERWRITES_MAX = 64 };

FAC_FREE_LIST(version_block, FacVersion)

void (*fac_tensor_where_hook)(char *text, size_t bytes);

/* The tensor's version, made now if it has none: borrowed, NULL where memory is out. */
static FacVersion *
version_of(FacTensor *t)
{
    FacVersion *version = atomic_load_explicit(&t->version, memory_order_acquire);
    if (FAC_LIKELY(version != NULL)) return version;
    FacVersion *made = version_block_alloc();
    if (!made) return NULL;
    atomic_init(&made->refs, 1);
    atomic_init(&made->count, 0);
    atomic_init(&made->saved, -1);
    atomic_init(&made->savers, 0);
    made->overwrites = NULL;
    if (atomic_compare_exchange_strong(&t->version, &version, made)) return made;
    version_block_free(made); /* another thread was first */
    return version;
}

void
fac_version_release(FacVersion *version)
{
    if (!version || !fac_refs_down(&version->refs)) return;
    for (FacOverwrite *at = version->overwrites, *next; at; at = next) {
        next = at->next;
        fac_mem_free(at);
    }
    version_block_free(version);
}

int64_t
fac_tensor_version(const FacTensor *t)
{
    FacVersion *version = atomic_load_explicit(&t->version, memory_order_acquire);
    return version ? atomic_load_explicit(&version->count, memory_order_relaxed) : 0;
}

FacStatus
fac_tensor_share_version(FacTensor *from, FacTensor *to)
{
    FacVersion *version = version_of(from);
    if (!version) return fac_mem_error(sizeof *version);
    fac_refs_up(&version->refs);
    fac_version_release(atomic_exchange_explicit(&to->version, version, memory_order_acq_rel));
    return FAC_OK;
}

/* --- who keeps what --------------------------------------------------------------------------- */

void
fac_tensor_kept(FacTensor *t)
{
    FacVersion *v = version_of(t);
    if (!v) return; /* a later message will say less */
    int64_t count = atomic_load_explicit(&v->count, memory_order_relaxed);
    int32_t savers = atomic_load_explicit(&v->savers, memory_order_relaxed);
    atomic_store_explicit(&v->saved, count, memory_order_relaxed);
    atomic_store_explicit(&v->savers, savers + 1, memory_order_relaxed);
}

void
fac_tensor_let_go(FacTensor *t)
{
    FacVersion *v = atomic_load_explicit(&t->version, memory_order_acquire);
    int32_t savers = v ? atomic_load_explicit(&v->savers, memory_order_relaxed) : 0;
    if (savers > 0) atomic_store_explicit(&v->savers, savers - 1, memory_order_relaxed);
}

/* Newest first. Of a memory that is overwritten again and again only the first are kept: a backward
 * that raises stops at one of them. */
static void
write_down(FacVersion *v, int64_t version, const FacCall *call)
{
    int n = 0;
    for (FacOverwrite *at = __atomic_load_n(&v->overwrites, __ATOMIC_ACQUIRE); at; at = at->next)
        n++;
    FacOverwrite *made = n < OVERWRITES_MAX ? fac_mem_zalloc(sizeof *made) : NULL;
    if (!made) return;
    made->version = version;
    if (call)
        snprintf(made->by, sizeof made->by, "%s%s", call->op->name,
                 call->flags & FAC_CALL_INPLACE ? "_" : "");
    if (fac_tensor_where_hook) fac_tensor_where_hook(made->where, sizeof made->where);
    made->next = __atomic_load_n(&v->overwrites, __ATOMIC_ACQUIRE);
    while (!__atomic_compare_exchange_n(&v->overwrites, &made->next, made, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
        continue;
}

FacStatus
fac_tensor_bump_by(FacTensor *t, const FacCall *call)
{
    FacVersion *v = version_of(t);
    if (!v) return fac_mem_error(sizeof *v);
    int64_t before = atomic_fetch_add_explicit(&v->count, 1, memory_order_relaxed);
    if (FAC_UNLIKELY(atomic_load_explicit(&v->savers, memory_order_relaxed) > 0) &&
        atomic_load_explicit(&v->saved, memory_order_relaxed) == before)
        write_down(v, before, call);
    return FAC_OK;
}

FacStatus
fac_tensor_bump(FacTensor *t)
{
    return fac_tensor_bump_by(t, NULL);
}

bool
fac_tensor_overwritten(const FacTensor *t, int64_t version, const char **by, const char **where)
{
    FacVersion *v = atomic_load_explicit(&t->version, memory_order_acquire);
    const FacOverwrite *at = v ? __atomic_load_n(&v->overwrites, __ATOMIC_ACQUIRE) : NULL;
    while (at && at->version != version) at = at->next;
    if (!at) return false;
    *by = at->by;
    *where = at->where;
    return true;
}
