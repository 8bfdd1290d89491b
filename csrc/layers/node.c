/* node.c - nodes: memory, release, names, and the runs that are inside one.
 *
 * A node, its edges, metas, saved slots and the room of its kind are one block; most fit one of two
 * sizes, which come from free lists. A release that happens while another one is under way in this
 * thread is put on a list and done in a loop, so that a chain of a million nodes needs no stack.
 *
 * `users` counts the runs that are in apply, and has one bit for "the saved values are to go". Who
 * leaves last with that bit set frees them, so that two threads that go through one graph see
 * values that stay, or the error about a second backward, and nothing in between.
 */
#include "layers/node.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

typedef struct SmallBlock {
    _Alignas(16) char bytes[320];
} SmallBlock;
FAC_FREE_LIST(small_block, SmallBlock)

typedef struct LargeBlock {
    _Alignas(16) char bytes[640];
} LargeBlock;
FAC_FREE_LIST(large_block, LargeBlock)

enum { FROM_HEAP, SMALL, LARGE }; /* FacNode.block */

#define RELEASED UINT32_C(0x80000000)

/* Threads take numbers by the block, so that the usual node costs no locked instruction. */
enum { NUMBERS_AT_ONCE = 1 << 12 };
static _Atomic uint64_t numbers_taken = 1;
static _Thread_local uint64_t next_number, numbers_end;
static _Thread_local FacNode *dead; /* waiting; `releasing` is the loop that takes them */
static _Thread_local bool releasing;
_Thread_local const bool *fac_wanted_edges;
_Atomic(const FacWatch *) fac_watch;

/* --- foreign objects -------------------------------------------------------------------------- */

void
fac_foreign_retain(FacForeign *f)
{
    fac_refs_up(&f->refs);
}

void
fac_foreign_release(FacForeign *f)
{
    if (f && fac_refs_down(&f->refs)) f->destroy(f);
}

/* --- making ----------------------------------------------------------------------------------- */

uint64_t
fac_next_sequence(void)
{
    if (FAC_UNLIKELY(next_number == numbers_end)) {
        next_number =
            atomic_fetch_add_explicit(&numbers_taken, NUMBERS_AT_ONCE, memory_order_relaxed);
        numbers_end = next_number + NUMBERS_AT_ONCE;
    }
    return next_number;
}

FacStatus
fac_node_new_with(const FacNodeKind *kind, const FacOp *op, int nedges, int nresults, int nsaved,
                  size_t bytes, FacNode **out)
{
    size_t edges = sizeof(FacNode), saved = edges + (size_t)nedges * sizeof(FacEdge);
    size_t room = saved + (size_t)nsaved * sizeof(FacValue);
    size_t metas = room + ((bytes + 15) & ~(size_t)15);
    size_t total = metas + (size_t)nresults * sizeof(FacMeta);
    uint8_t block = total <= sizeof(SmallBlock)   ? SMALL
                    : total <= sizeof(LargeBlock) ? LARGE
                                                  : FROM_HEAP;
    char *at = block == SMALL   ? (char *)small_block_alloc()
               : block == LARGE ? (char *)large_block_alloc()
                                : fac_mem_alloc(total);
    if (!at) return fac_mem_error(total);
    memset(at, 0, metas);
    FacNode *node = (FacNode *)at;
    atomic_init(&node->refs, 1);
    node->kind = kind;
    node->op = op;
    node->sequence = fac_next_sequence();
    next_number++;
    node->nedges = (uint32_t)nedges;
    node->nresults = (uint32_t)nresults;
    node->nsaved = (uint32_t)nsaved;
    node->edges = (FacEdge *)(at + edges);
    node->saved = (FacValue *)(at + saved);
    node->metas = (FacMeta *)(at + metas);
    node->foreign = bytes ? at + room : NULL;
    node->block = block;
    for (int i = 0; i < nresults; i++) {
        node->metas[i].dtype = FAC_DT_NONE;
        node->metas[i].ndim = 0;
    }
    const FacWatch *watch = fac_watching();
    if (FAC_UNLIKELY(watch != NULL) && kind != &fac_accumulate_kind) watch->made(node);
    *out = node;
    return FAC_OK;
}

FacStatus
fac_node_new(const FacNodeKind *kind, const FacOp *op, int nedges, int nresults, int nsaved,
             FacNode **out)
{
    return fac_node_new_with(kind, op, nedges, nresults, nsaved, 0, out);
}

FacStatus
fac_node_set_results(FacNode *node, int nresults)
{
    size_t bytes = (size_t)(nresults ? nresults : 1) * sizeof(FacMeta);
    FacMeta *metas = fac_mem_zalloc(bytes);
    if (!metas) return fac_mem_error(bytes);
    node->metas = metas;
    node->own_metas = true;
    node->nresults = (uint32_t)nresults;
    return FAC_OK;
}

static void
free_meta(FacMeta *meta)
{
    if (meta->ndim > FAC_INLINE_NDIM) fac_mem_free(meta->sizes);
    meta->ndim = 0;
}

FacStatus
fac_node_set_meta(FacNode *node, int result, const FacTensor *like)
{
    FacMeta *meta = &node->metas[result];
    FacDim *sizes = meta->inline_sizes;
    if (FAC_UNLIKELY(like->ndim > FAC_INLINE_NDIM)) {
        size_t bytes = like->ndim * sizeof(FacDim);
        sizes = fac_mem_alloc(bytes);
        if (!sizes) return fac_mem_error(bytes);
    }
    free_meta(meta);
    meta->sizes = sizes;
    meta->dtype = like->dtype;
    meta->ndim = like->ndim;
    meta->device = like->device;
    for (int i = 0; i < like->ndim; i++) sizes[i] = like->sizes[i];
    return FAC_OK;
}

/* --- runs ------------------------------------------------------------------------------------- */

bool
fac_node_released(const FacNode *node)
{
    return (atomic_load_explicit(&node->users, memory_order_acquire) & RELEASED) != 0;
}

/* The last one out of a node that is to be released frees its saved values: nobody reads them any
 * more, nor will. */
static void
leave(FacNode *node)
{
    uint32_t alone = RELEASED;
    uint32_t left = atomic_fetch_sub_explicit(&node->users, 1, memory_order_acq_rel) - 1;
    if (left != RELEASED) return;
    if (!atomic_compare_exchange_strong(&node->users, &alone, RELEASED | 1)) return;
    node->kind->release_saved(node);
    atomic_fetch_sub_explicit(&node->users, 1, memory_order_acq_rel);
}

/* The same for one who says that the node is to be released. Alone in it, as usual, it takes a
 * single exchange to shut the others out. */
static void
leave_released(FacNode *node)
{
    uint32_t alone = 1;
    if (FAC_LIKELY(atomic_compare_exchange_strong(&node->users, &alone, RELEASED | 1)))
        node->kind->release_saved(node);
    else
        atomic_fetch_or_explicit(&node->users, RELEASED, memory_order_acq_rel);
    leave(node);
}

static FacStatus
second_time(void)
{
    return fac_error(
        FAC_RUNTIME_ERROR,
        "Trying to backward through the graph a second time (or directly access saved "
        "tensors after they have already been freed). Saved intermediate values of the graph "
        "are freed when you call .backward() or autograd.grad(). Specify retain_graph=True "
        "if you need to backward through the graph a second time or if you need to access "
        "saved tensors after calling backward.");
}

FacStatus
fac_node_apply(FacNode *node, FacTensor *const *grads, FacTensor **out, bool last)
{
    if (!node->kind->release_saved) return node->kind->apply(node, grads, out);
    uint32_t before = atomic_fetch_add_explicit(&node->users, 1, memory_order_acq_rel);
    FacStatus st = before & RELEASED ? second_time() : node->kind->apply(node, grads, out);
    if (last && st == FAC_OK)
        leave_released(node);
    else
        leave(node);
    return st;
}

void
fac_node_drop_saved(FacNode *node)
{
    if (!node->kind->release_saved) return;
    atomic_fetch_add_explicit(&node->users, 1, memory_order_acq_rel);
    leave_released(node);
}

/* --- release ---------------------------------------------------------------------------------- */

void
fac_node_free(FacNode *node)
{
    if (!node) return;
    if (node->kind->release_saved && !fac_node_released(node)) node->kind->release_saved(node);
    if (node->kind->destroy) node->kind->destroy(node);
    for (uint32_t i = 0; i < node->nedges; i++) fac_node_release(node->edges[i].node);
    fac_hooks_free(&node->prehooks);
    fac_hooks_free(&node->hooks);
    fac_hooks_free(&node->retain);
    fac_foreign_release(node->metadata);
    for (uint32_t i = 0; i < node->nresults; i++) free_meta(&node->metas[i]);
    if (node->own_metas) fac_mem_free(node->metas);
    if (node->block == SMALL)
        small_block_free((SmallBlock *)node);
    else if (node->block == LARGE)
        large_block_free((LargeBlock *)node);
    else
        fac_mem_free(node);
}

/* Destroys the node now, or after those that this thread is destroying already. */
static void
bury(FacNode *node)
{
    node->next_dead = dead;
    dead = node;
    if (releasing) return;
    releasing = true;
    while (dead) {
        FacNode *next = dead;
        dead = next->next_dead;
        fac_node_free(next);
    }
    releasing = false;
}

void
fac_node_retain(FacNode *node)
{
    if (node->kind == &fac_accumulate_kind)
        fac_tensor_retain(node->foreign);
    else
        fac_refs_up(&node->refs);
}

void
fac_node_release(FacNode *node)
{
    if (!node) return;
    if (node->kind == &fac_accumulate_kind)
        fac_tensor_release(node->foreign);
    else if (fac_refs_down(&node->refs))
        bury(node);
}

/* --- names ------------------------------------------------------------------------------------ */

const char *
fac_node_name(FacNode *node, char text[128])
{
    if (node->kind->name_of) {
        node->kind->name_of(node, text);
        return text;
    }
    if (node->kind->name || !node->op) {
        snprintf(text, 128, "%s", node->kind->name ? node->kind->name : "Node");
        return text;
    }
    size_t n = 0;
    bool upper = true;
    for (const char *c = node->op->name; *c && n < 100; c++) {
        if (*c == '_') {
            upper = true;
            continue;
        }
        text[n++] = upper ? (char)toupper((unsigned char)*c) : *c;
        upper = false;
    }
    snprintf(text + n, 128 - n, "Backward%d", node->op->overload[0] != 0);
    return text;
}
