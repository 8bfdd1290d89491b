/* reduce_args.h - how reductions read their arguments: the same for rules and kernels.
 *
 * Rows of reductions take `dim` (absent, None, an int, or a list of ints), `keepdim` and `dtype` at
 * different positions; all are found by name in the row.
 */
#ifndef FAC_KERNELS_REDUCE_ARGS_H
#define FAC_KERNELS_REDUCE_ARGS_H

#include "tensor/call.h"
#include "tensor/layout.h"

#include <string.h>

/* The value of the parameter called `name`; NONE where the row has none. */
static inline FacValue
fac_arg_named(const FacCall *call, const char *name)
{
    for (int i = 0; i < call->op->nparams; i++)
        if (!strcmp(call->op->params[i].name, name)) return call->args[i];
    return FAC_VALUE_NONE;
}

/* The dims that are reduced, as a bit mask: all of them where no dim is given. */
static inline FacStatus
fac_reduce_mask(const FacCall *call, const FacTensor *t, bool empty_means_all, uint64_t *mask)
{
    FacValue dim = fac_arg_named(call, "dim");
    if (dim.tag == FAC_V_INT) return fac_wrap_dims(&dim.v.i, 1, t->ndim, true, mask);
    if (dim.tag == FAC_V_INTS)
        return fac_wrap_dims(dim.v.ints, (int)dim.len, t->ndim, empty_means_all, mask);
    return fac_wrap_dims(NULL, 0, t->ndim, true, mask);
}

static inline bool
fac_reduce_keepdim(const FacCall *call)
{
    return fac_arg_named(call, "keepdim").v.b;
}

/* The one dim of a reduction that selects along it; 0 for 0-d tensors. */
static inline FacStatus
fac_reduce_dim(const FacCall *call, const FacTensor *t, int *dim)
{
    return fac_wrap_dim(fac_arg_named(call, "dim").v.i, t->ndim, dim);
}

#endif
