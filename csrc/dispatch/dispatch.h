/* dispatch.h - rows, the walk through the layers, and the state of a thread.
 *
 * fac_dispatch ORs the key bits of the tensors among the arguments with the thread's masks and
 * calls the highest layer; a layer clears its own bit in call->keys and goes on with
 * fac_dispatch_next. With no bit left the call reaches the device (rule, kernel). dispatch/ knows
 * the layers only as the table fac_layers, which layers/ and bindings/ fill at start.
 *
 * A layer that has nothing installed and is reached is an error, not a crash.
 */
#ifndef FAC_DISPATCH_DISPATCH_H
#define FAC_DISPATCH_DISPATCH_H

#include "tensor/iter.h"

/* --- calls ------------------------------------------------------------------------------------ */

/* The full walk. On failure no result is set and the message starts with the operator's name. */
FacStatus fac_dispatch(FacCall *call) FAC_MUST_CHECK;
/* Goes on below the layer whose bit the caller has cleared in call->keys. */
FacStatus fac_dispatch_next(FacCall *call) FAC_MUST_CHECK;
/* The bottom: rule, kernel or composite, targets, versions. */
FacStatus fac_dispatch_device(FacCall *call) FAC_MUST_CHECK;
/* Runs the row's composite, whose calls start at the top again, and copies what it made to the
 * targets by the row copy_. A layer that has no use for the row as a whole expands it by this. */
FacStatus fac_dispatch_composite(FacCall *call) FAC_MUST_CHECK;

/* Calls a row with its arguments in schema order; missing trailing ones take their defaults. What
 * generated code, composites and formulas use. nargs <= op->nparams. */
FacStatus fac_call(const FacOp *op, int nargs, const FacValue *args,
                   FacValue *results) FAC_MUST_CHECK;
/* The in-place form (args[0] is the target) and the out= form. */
FacStatus fac_call_inplace(const FacOp *op, int nargs, const FacValue *args) FAC_MUST_CHECK;
FacStatus fac_call_out(const FacOp *op, int nargs, const FacValue *args,
                       FacTensor **targets) FAC_MUST_CHECK;

/* By key index. dispatch/ fills LAZY, layers/ GRAD; the slots of TRIPWIRE, TRACE, PYTHON,
 * AUTOCAST, TRANSFORM, PROFILE and OVERRIDE are open for their layers, which install themselves. */
extern FacKernel fac_layers[FAC_KEYS];
FacStatus fac_layer_lazy(FacCall *call) FAC_MUST_CHECK;

/* --- thread state ----------------------------------------------------------------------------- */

typedef struct FacThread {
    uint32_t include;       /* key bits added to every call: modes, profile, trace, transforms */
    uint32_t exclude;       /* key bits taken from every call: GRAD while gradients are off */
    bool inference;         /* inference_mode */
    struct FacLevel *level; /* layers/: the innermost transform that is visible; NULL outside */
    int dispatch_modes;     /* bindings: depth of the __torch_dispatch__ mode stack */
    int function_modes;     /* bindings: depth of the __torch_function__ mode stack */
    bool function_off;      /* bindings: __torch_function__ disabled (DisableTorchFunction) */
    bool checks;            /* debug: fac_tensor_check at every layer */
    int depth; /* dispatch: calls within calls; the outermost names itself in messages */
} FacThread;
extern _Thread_local FacThread fac_thread;

static inline bool
fac_grad_enabled(void)
{
    return !(fac_thread.exclude & FAC_KEY(GRAD));
}
/* The layers that a call with t goes through; what a view's base has for derivatives counts. */
static inline uint32_t
fac_tensor_keys(const FacTensor *t)
{
    uint32_t keys = t->keys;
    if (t->base) keys |= t->base->keys & (FAC_KEY(GRAD) | FAC_KEY(TRANSFORM));
    return keys;
}
/* Whether a derivative may be taken of what is made of t: in a transform there may be a tangent, or a
 * gradient further out. */
static inline bool
fac_is_differentiated(const FacTensor *t)
{
    uint32_t keys = fac_tensor_keys(t);
    return (keys & FAC_KEY(TRANSFORM)) || (fac_grad_enabled() && (keys & FAC_KEY(GRAD)));
}
static inline bool
fac_set_grad_enabled(bool on) /* returns what it was */
{
    bool was = fac_grad_enabled();
    uint32_t others = fac_thread.exclude & ~FAC_KEY(GRAD);
    fac_thread.exclude = on ? others : others | FAC_KEY(GRAD);
    return was;
}

/* The lock that keeps the program's other threads out, for kernels that work long: `held` says
 * whether this thread has it, `leave` gives it up, `enter` takes it again. NULL: there is none. */
typedef struct FacOutside {
    bool (*held)(void);
    void *(*leave)(void);
    void (*enter)(void *left);
} FacOutside;
extern FacOutside fac_outside;

/* --- rows ------------------------------------------------------------------------------------- */

enum { FAC_MAX_PARAMS = 64, FAC_MAX_RESULTS = 16 };

/* All built-in rows (generated/ops_rows.c) by id. */
extern FacOp fac_ops[];
extern const int fac_op_count;
/* "add", "add.overload", "ns::add"; built-in ones first, then those registered. NULL if unknown. */
const FacOp *fac_op_find(const char *name);
/* Rows registered at run time, for listing: i counts from 0; NULL past the end. */
const FacOp *fac_op_registered(int i);
/* Arguments from outside: fills `frame` (op->nparams) with them and the defaults; numbers become
 * the kind that the parameter asks for. TYPE_ERROR names an argument that does not fit. */
FacStatus fac_op_fit_args(const FacOp *op, int nargs, const FacValue *args,
                          FacValue *frame) FAC_MUST_CHECK;
/* facula.h: fac_register_op. The schema parser: fills params, results, names of `op` (owned). */
FacStatus fac_schema_parse(const char *schema, FacOp *op) FAC_MUST_CHECK;
void fac_schema_free(FacOp *op);
/* As fac_register_op, for callers whose kernels are not C functions: each slot may be NULL, and the
 * row's `foreign` is set to the given pointer. Returns the row. */
FacStatus fac_op_register(const FacOpSpec *spec, void *foreign, const FacOp **out) FAC_MUST_CHECK;

/* What one tier brings: generated/kernel_table.c, compiled once a tier as fac_tier_table_v2 ... */
typedef struct FacTierTable {
    FacLoops *const *loops; /* by op id; NULL for rows without */
    const FacTunedLoop *tuned_loops, *half_loops, *beside_loops; /* to be put into them */
    const FacKernel *kernels; /* by op id; NULL for rows without */
    void (*fill_casts)(FacCast (*casts)[FAC_DTYPES]);
    FacAllFinite all_finite;
} FacTierTable;

/* Once a process, idempotent, thread-safe: chooses the tier, fills slots, installs layers; refuses
 * with a clear message when a row lacks what its declaration says it has. */
FacStatus fac_start(void) FAC_MUST_CHECK;

#endif
