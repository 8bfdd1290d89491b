/* node.h - the graph of recorded calls.
 *
 * A node stands for one call whose result needs a gradient. It knows its inputs as edges (node and
 * which of that node's results), and how to turn gradients of its results into gradients of its
 * inputs. Kinds of nodes are vtables: recorded operators (record.c), accumulation into a leaf's
 * .grad, in-place through a view, and foreign ones (Python's autograd.Function).
 *
 * Lifetimes: a tensor owns its grad_fn; a node owns its edges' nodes and its saved values. The
 * accumulator of a leaf is a part of the leaf: made once, it lives as long as the leaf, and a
 * reference to it is a reference to the leaf. Releasing a long chain does not recurse.
 */
#ifndef FAC_LAYERS_NODE_H
#define FAC_LAYERS_NODE_H

#include "dispatch/dispatch.h"

typedef struct FacNode FacNode;

typedef struct FacEdge {
    FacNode *node;  /* NULL: no gradient wanted */
    uint32_t index; /* which result of `node` this is */
} FacEdge;

/* Objects of another language that the graph holds (hooks, contexts). bindings/ provides them. */
typedef struct FacForeign {
    FacRefs refs;
    void (*destroy)(struct FacForeign *self); /* the last reference went; may be any thread */
    void *object;
} FacForeign;
void fac_foreign_retain(FacForeign *f);
void fac_foreign_release(FacForeign *f);

/* A gradient hook (hooks.c). grads are borrowed in, new references out (replaced in place). The list
 * that a hook is in holds it; so does whoever may want to take it out. Out of its list it holds
 * nothing. */
typedef FacStatus (*FacHookCall)(FacForeign *hook, FacNode *node, int n, FacTensor **grads);
typedef struct FacHook {
    FacRefs refs;
    struct FacHook *next, **list; /* list NULL: it was taken out, or its list is gone */
    int64_t id;
    int index; /* tensor hooks: which result of the node; -1: all (node prehooks) */
    FacForeign *foreign;
    FacHookCall call;
    FacTensor *target; /* retain_grad: the tensor that gets it; weak, the tensor removes the hook */
} FacHook;

typedef struct FacNodeKind {
    const char *name; /* NULL: from the operator: "MulBackward0" */
    void (*name_of)(FacNode *node,
                    char text[128]); /* where nodes have names of their own, or NULL */
    /* grads: one a result of the forward call, NULL where undefined; out: one an edge, NULL on
     * entry, new references (or NULL) on return. */
    FacStatus (*apply)(FacNode *node, FacTensor *const *grads, FacTensor **out);
    void (*release_saved)(FacNode *node); /* free what backward needs; the graph stays */
    void (*destroy)(FacNode *node);       /* before the memory goes */
} FacNodeKind;

/* What is known of one forward result: for checks, for zeros in place of undefined gradients. */
typedef struct FacMeta {
    int8_t dtype;
    uint8_t ndim;
    FacDevice device;
    FacDim *sizes; /* owned when ndim > FAC_INLINE_NDIM */
    FacDim inline_sizes[FAC_INLINE_NDIM];
} FacMeta;

struct FacNode {
    FacRefs refs;
    const FacNodeKind *kind;
    const FacOp *op;   /* recorded operators */
    uint64_t sequence; /* later calls of a thread have larger ones; accumulators UINT64_MAX */
    uint32_t nedges, nresults;
    FacEdge *edges;          /* inline after the struct where it fits */
    FacMeta *metas;          /* nresults */
    FacHook *prehooks;       /* before apply: tensor hooks and node prehooks */
    FacHook *hooks;          /* after apply */
    FacHook *retain;         /* retain_grad */
    _Atomic(void *) wrapper; /* bindings: the Python object of this node */
    void *foreign;           /* kind's own */
    FacForeign *metadata;    /* bindings: what users put down about the node; owned */
    uint32_t needed;         /* recorded operators: which inputs of op->grad want a gradient */
    uint32_t nsaved;
    uint8_t block; /* node.c: which allocator it came from */
    bool own_metas;
    _Atomic uint32_t users; /* node.c: runs that are in apply, and FAC_NODE_RELEASED */
    _Atomic uint64_t run;   /* engine: the run that keeps its state of this node in `task` */
    uint32_t task;
    FacNode *next_dead; /* node.c: while its release waits for that of others */
    uint32_t ninfos;    /* record.c: how many FacSavedTensor lie at `foreign` */
    FacValue *saved;    /* nsaved */
};

/* Looks on while graphs are made and run (anomaly mode); NULL: nobody, the usual case. */
typedef struct FacWatch {
    void (*made)(FacNode *node); /* a node is being recorded; its edges are not there yet */
    /* ... has run with that status, and these gradients; the status as the run is to see it */
    FacStatus (*ran)(FacNode *node, FacStatus st, FacTensor *const *grads, FacTensor *const *out);
} FacWatch;
extern _Atomic(const FacWatch *) fac_watch;
static inline const FacWatch *
fac_watching(void)
{
    return atomic_load_explicit(&fac_watch, memory_order_acquire);
}

FacStatus fac_node_new(const FacNodeKind *kind, const FacOp *op, int nedges, int nresults,
                       int nsaved, FacNode **out) FAC_MUST_CHECK;
/* The same with `bytes` of zeroed room behind the node, at node->foreign. */
FacStatus fac_node_new_with(const FacNodeKind *kind, const FacOp *op, int nedges, int nresults,
                            int nsaved, size_t bytes, FacNode **out) FAC_MUST_CHECK;
/* The number that this thread's next node will have. */
uint64_t fac_next_sequence(void);
/* For rows that return a list: the number of results is known after the call only. */
FacStatus fac_node_set_results(FacNode *node, int nresults) FAC_MUST_CHECK;
/* Of the node that runs in this thread: which of its edges lead somewhere wanted, one byte each;
 * NULL: all do. apply may leave out the gradients of the others. */
extern _Thread_local const bool *fac_wanted_edges;
/* Runs the kind's apply. Saved values stay until every run that is inside has left; with `last`
 * they are released then, and later runs raise. */
FacStatus fac_node_apply(FacNode *node, FacTensor *const *grads, FacTensor **out,
                         bool last) FAC_MUST_CHECK;
/* The saved values are gone: a second backward raises. */
bool fac_node_released(const FacNode *node);
void fac_node_retain(FacNode *node);
void fac_node_release(FacNode *node);
const char *fac_node_name(FacNode *node, char text[128]); /* "MulBackward0", "AccumulateGrad" */
FacStatus fac_node_set_meta(FacNode *node, int result, const FacTensor *like) FAC_MUST_CHECK;

/* --- the autograd part of a tensor ------------------------------------------------------------ */

typedef struct FacAutograd {
    FacExtraPart part;
    bool requires_grad; /* of a leaf */
    bool retains_grad;
    FacNode *grad_fn;               /* owned; NULL for leaves */
    uint32_t index;                 /* which result of grad_fn */
    _Atomic(FacNode *) accumulator; /* of a leaf: its own; see the top */
    FacTensor *grad;                /* owned */
    FacHook *hooks;                 /* of a leaf: copied to its accumulator */
    FacHook *post_hooks;            /* register_post_accumulate_grad_hook */
    int64_t base_version;           /* of a view: version of the base when grad_fn was made */
} FacAutograd;

static inline FacAutograd *
fac_autograd(const FacTensor *t) /* NULL when it has none */
{
    return (FacAutograd *)t->autograd;
}
FacStatus fac_autograd_make(FacTensor *t, FacAutograd **out) FAC_MUST_CHECK;

/* A view needs a gradient when its base does: the base may have been given a history, in place,
 * after the view was taken. */
static inline bool
fac_needs_grad(const FacTensor *t)
{
    if (t->keys & FAC_KEY(GRAD)) return true;
    return t->base && (t->base->keys & FAC_KEY(GRAD)) && !FAC_IS_INT(t->dtype);
}
/* The node that made t (for a view after in-place: made anew); borrowed, NULL for a leaf. */
FacStatus fac_grad_fn(FacTensor *t, FacNode **out) FAC_MUST_CHECK;
/* Where t's gradient goes: its grad_fn or its accumulator (new reference), or node NULL. */
FacStatus fac_gradient_edge(FacTensor *t, FacEdge *out) FAC_MUST_CHECK;
bool fac_is_leaf(const FacTensor *t);
/* requires_grad_(): RUNTIME_ERROR for non-leaves turned off and for dtypes without gradients. */
FacStatus fac_set_requires_grad(FacTensor *t, bool on) FAC_MUST_CHECK;
FacTensor *fac_grad_of(const FacTensor *t); /* borrowed, may be NULL */
/* Checks shape, dtype and device. */
FacStatus fac_set_grad(FacTensor *t, FacTensor *grad) FAC_MUST_CHECK;
/* Makes t the result `index` of node, or a leaf (NULL); takes over what hangs on the grad_fn that t had
 * (retain_grad). */
FacStatus fac_set_history(FacTensor *t, FacNode *node, uint32_t index) FAC_MUST_CHECK;
/* The same for a result that nobody else has seen: it takes the caller's reference to the node over,
 * leaving NULL, or retains the node where that cannot be. */
FacStatus fac_first_history(FacTensor *t, FacNode **node, uint32_t index) FAC_MUST_CHECK;
/* t was changed in place by what `node` stands for: t (and its base, if it is a view) get it. Among
 * the node's edges, the first that led to t's history before stands for t. */
FacStatus fac_rebase_history(FacTensor *t, FacNode *node, uint32_t index) FAC_MUST_CHECK;
/* RUNTIME_ERROR when t may not be changed in place by a call that is recorded. */
FacStatus fac_check_inplace(FacTensor *t) FAC_MUST_CHECK;
FacStatus fac_detach_(FacTensor *t) FAC_MUST_CHECK;
FacStatus fac_retain_grad(FacTensor *t) FAC_MUST_CHECK;

/* --- hooks ------------------------------------------------------------------------------------ */

/* The foreign object is retained. *out (may be NULL) is a new reference, for fac_hook_remove. */
FacStatus fac_hook_tensor(FacTensor *t, FacForeign *f, FacHookCall call,
                          FacHook **out) FAC_MUST_CHECK;
FacStatus fac_hook_post_accumulate(FacTensor *t, FacForeign *f, FacHookCall call,
                                   FacHook **out) FAC_MUST_CHECK;
FacStatus fac_hook_node(FacNode *node, bool before, FacForeign *f, FacHookCall call,
                        FacHook **out) FAC_MUST_CHECK;
/* Takes it out of its list, if it is in one still. Runs that are calling the hooks of that list
 * at this moment may still call it. */
void fac_hook_remove(FacHook *hook);
void fac_hook_release(FacHook *hook);

/* --- internal to layers/ ---------------------------------------------------------------------- */

/* Releases what backward needs of a node that another one runs, once nobody is inside. */
void fac_node_drop_saved(FacNode *node);
/* Frees a node that nobody refers to: an accumulator, whose count is that of its leaf. */
void fac_node_free(FacNode *node);
void fac_hooks_free(FacHook **list); /* all of them */
static inline bool
fac_has_hooks(FacHook *const *list) /* without the lock: only the first link is looked at */
{
    return __atomic_load_n(list, __ATOMIC_ACQUIRE) != NULL;
}
/* The hooks of a list at one moment, held: while they run, the list may change. */
enum { FAC_HOOKS_FEW = 8 };
typedef struct FacHookRun {
    int n;
    struct FacHookRunItem {
        FacForeign *foreign;
        FacHookCall call;
        int index;
    } few[FAC_HOOKS_FEW], *at;
} FacHookRun;
FacStatus fac_hooks_hold(FacHook *const *list, FacHookRun *out) FAC_MUST_CHECK;
void fac_hooks_let_go(FacHookRun *run);
/* Links and unlinks the hook that gives `t` its .grad when grad_fn runs. */
FacStatus fac_retain_link(FacNode *node, FacTensor *t, uint32_t index) FAC_MUST_CHECK;
void fac_retain_unlink(FacNode *node, const FacTensor *t);
/* The view of `from` that t, a view, is of its base; `from` is laid out as that base. */
FacStatus fac_same_view(FacTensor *t, FacTensor *from, FacTensor **out) FAC_MUST_CHECK;
/* The history of a view whose base was changed in place, if it is not up to date. */
FacStatus fac_refresh_view(FacTensor *t) FAC_MUST_CHECK;
/* The node inside one that stands for a change through a view (views.c), else NULL. */
FacNode *fac_slice_inner(const FacNode *node);
extern const FacNodeKind fac_accumulate_kind; /* engine.c; foreign: the leaf, borrowed */

#endif
