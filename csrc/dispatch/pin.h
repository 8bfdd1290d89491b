/* pin.h - kernels that run while other threads of the program do. Internal to dispatch/, but for
 * what the bindings install.
 */
#ifndef FAC_DISPATCH_PIN_H
#define FAC_DISPATCH_PIN_H

#include "dispatch/dispatch.h"

/* Elements below which a kernel is not worth a change of threads. */
enum { FAC_LONG_POINTWISE = 1 << 16, FAC_LONG = 1 << 13 };

static inline int64_t
fac_elements(FacValue v)
{
    int64_t n = 0;
    if (v.tag == FAC_V_TENSOR) return v.v.t->numel;
    if (v.tag != FAC_V_TENSORS) return 0;
    for (uint32_t k = 0; k < v.len && n < FAC_LONG; k++)
        if (v.v.tensors[k]) n += v.v.tensors[k]->numel;
    return n;
}

/* Whether the call, between its rule and its kernel, is large enough to let others go on. The
 * result of a pointwise row is as large as its largest operand. */
static inline bool
fac_runs_long(const FacCall *call)
{
    const FacOp *op = call->op;
    if (op->flags & FAC_OP_POINTWISE) return fac_elements(call->results[0]) >= FAC_LONG_POINTWISE;
    for (int i = 0; i < op->nresults; i++)
        if (fac_elements(call->results[i]) >= FAC_LONG) return true;
    for (int i = 0; i < op->nparams; i++)
        if (fac_elements(call->args[i]) >= FAC_LONG) return true;
    return false;
}

/* Runs the kernel outside of the lock, on snapshots of its tensors. */
FacStatus fac_run_pinned(FacCall *call, FacKernel kernel) FAC_MUST_CHECK;

#endif
