/* collect.c - what the collector sees of the graph: cycles that pass through it.
 *
 * A hook, a context or a packed value is a Python object that hangs on a node, and nodes hang on
 * each other and on tensors. None of that is Python's, so a tensor's object answers for all that it
 * alone holds: from its grad_fn on, a node belongs to it when every count of the node was met on
 * the way. What is shared with anybody else is left alone, and so is everything beyond some number
 * of nodes, which bounds the cost.
 *
 * The collector counts in several passes and trusts that nothing changes between them. A thread
 * that is in the core without the interpreter lock does change counts of nodes; while there is one,
 * the graph is not looked at.
 */
#include "bindings/bindings.h"

#include "layers/record.h"

_Atomic int fac_py_unlocked;

enum { NODES = 2048, SLOTS = 4 * NODES, DEPTH = 4 };

/* One walk at a time: the collector runs with the interpreter lock, or with the world stopped. */
typedef struct Walk {
    visitproc visit;
    void *arg;
    int n, todo; /* how many slots are used; how many nodes wait in `ready` */
    uint16_t used[NODES];
    FacNode *ready[NODES];
    struct WalkSlot {
        FacNode *node;
        int64_t met;
    } slots[SLOTS];
} Walk;

/* --- nodes ------------------------------------------------------------------------------------ */

/* The leaf of an accumulator, whose counts are those of the leaf; NULL for other nodes. */
static FacTensor *
leaf_of(const FacNode *node)
{
    return node->kind == &fac_accumulate_kind ? node->foreign : NULL;
}

/* One count of the node was met; when it was the last, the node is ready to be looked into. */
static void
meet(Walk *w, FacNode *node)
{
    if (!node) return;
    FacRefs *refs = leaf_of(node) ? &leaf_of(node)->refs : &node->refs;
    uint64_t h = (uint64_t)(uintptr_t)node * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t at = (uint32_t)(h >> 40) & (SLOTS - 1);
    while (w->slots[at].node && w->slots[at].node != node) at = (at + 1) & (SLOTS - 1);
    if (!w->slots[at].node) {
        if (w->n == NODES) return;
        w->used[w->n++] = (uint16_t)at;
        w->slots[at] = (struct WalkSlot){node, 0};
    }
    if (++w->slots[at].met == atomic_load_explicit(refs, memory_order_relaxed))
        w->ready[w->todo++] = node;
}

static int
visit_foreign(const Walk *w, const FacForeign *f)
{
    if (!f || atomic_load_explicit(&f->refs, memory_order_relaxed) != 1) return 0;
    return w->visit(f->object, w->arg);
}

static int
visit_hooks(const Walk *w, const FacHook *hook)
{
    int st = 0;
    for (; hook && !st; hook = hook->next) st = visit_foreign(w, hook->foreign);
    return st;
}

/* The object that a tensor holds, not the other way round. */
static int
visit_object(const Walk *w, FacTensor *t)
{
    PyObject *o = t->wrapper_owned ? atomic_load(&t->wrapper) : NULL;
    return o ? w->visit(o, w->arg) : 0;
}

/* The same of a tensor that is held only here. */
static int
visit_held(const Walk *w, FacTensor *t)
{
    return t && atomic_load(&t->refs) == 1 ? visit_object(w, t) : 0;
}

static int
visit_saved(Walk *w, FacSavedTensor *saved, uint32_t n)
{
    int st = 0;
    for (uint32_t i = 0; i < n && !st; i++) {
        const FacAutograd *au = saved[i].tensor ? fac_autograd(saved[i].tensor) : NULL;
        FacNode *accumulator = au ? atomic_load(&au->accumulator) : NULL;
        st = visit_foreign(w, saved[i].packed);
        if (accumulator)
            meet(w, accumulator);
        else if (!st)
            st = visit_held(w, saved[i].tensor);
        meet(w, saved[i].edge.node);
    }
    return st;
}

static int
visit_tensor(Walk *w, FacTensor *t, int depth)
{
    const FacAutograd *au = fac_autograd(t);
    int st = 0;
    if (au) {
        st = visit_hooks(w, au->hooks);
        if (!st) st = visit_hooks(w, au->post_hooks);
        if (!st) st = visit_held(w, au->grad);
        meet(w, au->grad_fn);
        if (!st && au->grad && depth < DEPTH && !atomic_load(&au->grad->wrapper) &&
            atomic_load(&au->grad->refs) == 1)
            st = visit_tensor(w, au->grad, depth + 1);
    }
    if (!st && t->base && depth < DEPTH && !atomic_load(&t->base->wrapper) &&
        atomic_load(&t->base->refs) == 1)
        st = visit_tensor(w, t->base, depth + 1);
    return st;
}

static int
visit_node(Walk *w, FacNode *node)
{
    FacFunctionNode *function = fac_function_node(node);
    FacTensor *leaf = leaf_of(node);
    int st = visit_hooks(w, node->prehooks);
    if (!st) st = visit_hooks(w, node->hooks);
    if (!st) st = visit_foreign(w, node->metadata);
    if (!st && function) st = w->visit(function->ctx, w->arg);
    if (!st && function) st = visit_saved(w, function->saved, (uint32_t)function->nsaved);
    if (!st && node->kind == &fac_recorded_kind) st = visit_saved(w, node->foreign, node->ninfos);
    if (!st && leaf) st = visit_object(w, leaf);
    if (!st && leaf) st = visit_tensor(w, leaf, 0);
    for (uint32_t i = 0; i < node->nedges; i++) meet(w, node->edges[i].node);
    meet(w, fac_slice_inner(node));
    return st;
}

/* --- the walk --------------------------------------------------------------------------------- */

/* Goes on until no node is ready any more. */
static int
walk_on(Walk *w, int st)
{
    while (w->todo && !st) st = visit_node(w, w->ready[--w->todo]);
    for (int i = 0; i < w->n; i++) w->slots[w->used[i]].node = NULL;
    w->n = w->todo = 0;
    return st;
}

static Walk walk;

int
fac_autograd_visit(FacTensor *t, visitproc visit, void *arg)
{
    if (atomic_load_explicit(&fac_py_unlocked, memory_order_acquire)) return 0;
    walk.visit = visit;
    walk.arg = arg;
    return walk_on(&walk, visit_tensor(&walk, t, 0));
}

int
fac_node_visit(FacNode *node, visitproc visit, void *arg)
{
    if (atomic_load_explicit(&fac_py_unlocked, memory_order_acquire)) return 0;
    walk.visit = visit;
    walk.arg = arg;
    meet(&walk, node);
    return walk_on(&walk, 0);
}

void
fac_autograd_clear(FacTensor *t)
{
    FacAutograd *au = fac_autograd(t);
    if (!au) return;
    FacTensor *grad = __atomic_exchange_n(&au->grad, NULL, __ATOMIC_ACQ_REL);
    fac_hooks_free(&au->hooks);
    fac_hooks_free(&au->post_hooks);
    if (au->grad_fn && fac_set_history(t, NULL, 0) != FAC_OK) PyErr_Clear();
    fac_tensor_release(grad);
}
