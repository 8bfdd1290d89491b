/* rules_sort.c - shape rules of sorting and searching.
 */
#include "dispatch/rules.h"

#include <string.h>

static FacStatus
sorted_pair(FacCall *call, int64_t dim, FacDim *sizes)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    int d;
    FAC_RETURN_IF_ERROR(fac_wrap_dim(dim, t->ndim, &d));
    if (FAC_IS_COMPLEX(t->dtype))
        return fac_error(FAC_RUNTIME_ERROR, "Sort does not support complex dtypes on CPU");
    FAC_RETURN_IF_ERROR(fac_out(call, 0, (FacDType)t->dtype, t->device, t->ndim, sizes));
    return fac_out(call, 1, FAC_DT_I64, t->device, t->ndim, sizes);
}

FacStatus
fac_rule_sort(FacCall *call)
{
    return sorted_pair(call, call->args[1].v.i, fac_arg_tensor(call, 0)->sizes);
}

FacStatus
fac_rule_sort_stable(FacCall *call)
{
    return sorted_pair(call, call->args[2].v.i, fac_arg_tensor(call, 0)->sizes);
}

FacStatus
fac_rule_topk(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    int64_t k = call->args[1].v.i;
    int d;
    FAC_RETURN_IF_ERROR(fac_wrap_dim(call->args[2].v.i, t->ndim, &d));
    if (k < 0 || k > (t->ndim ? t->sizes[d] : 1))
        return fac_error(FAC_RUNTIME_ERROR,
                         "selected index k out of range: k is %lld, dimension %d has size %lld",
                         (long long)k, d, (long long)(t->ndim ? t->sizes[d] : 1));
    memcpy(sizes, t->sizes, t->ndim * sizeof *sizes);
    if (t->ndim) sizes[d] = k;
    return sorted_pair(call, d, sizes);
}

/* --- searching ------------------------------------------------------------------------------------------ */

static FacStatus
check_search(const FacCall *call, const FacTensor *sequence, FacDType values)
{
    FacValue side = call->args[4];
    FacTensor *sorter = fac_arg_tensor(call, 5);
    if (!sequence->ndim)
        return fac_error(FAC_RUNTIME_ERROR,
                         "boundaries tensor should have positive dimension, but got 0 dimension");
    if (sequence->dtype != values)
        return fac_error(FAC_RUNTIME_ERROR,
                         "boundary tensor and input value tensor should have same dtype, but got "
                         "boundary tensor dtype %s and input value tensor dtype %s",
                         fac_dtype_info[sequence->dtype].legacy, fac_dtype_info[values].legacy);
    if (FAC_IS_COMPLEX(values))
        return fac_error(FAC_RUNTIME_ERROR, "complex numbers have no order");
    if (side.tag == FAC_V_STR && strcmp(side.v.s, "left") && strcmp(side.v.s, "right"))
        return fac_error(FAC_RUNTIME_ERROR, "side can only be 'left' or 'right' but got %s",
                         side.v.s);
    if (side.tag == FAC_V_STR && !strcmp(side.v.s, "left") && call->args[3].v.b)
        return fac_error(FAC_RUNTIME_ERROR,
                         "side and right can't be set to opposites, got side of left while right "
                         "was True");
    if (sorter && (sorter->ndim != sequence->ndim ||
                   memcmp(sorter->sizes, sequence->sizes, sequence->ndim * sizeof(FacDim))))
        return fac_error(FAC_RUNTIME_ERROR, "boundary and sorter must have the same size");
    if (sorter && sorter->dtype != FAC_DT_I64)
        return fac_error(FAC_RUNTIME_ERROR,
                         "sorter must be a tensor of long dtype but got dtype %s",
                         fac_dtype_info[sorter->dtype].legacy);
    return fac_check_same_device(call);
}

static FacDType
index_dtype(const FacCall *call)
{
    return call->args[2].v.b ? FAC_DT_I32 : FAC_DT_I64;
}

FacStatus
fac_rule_searchsorted(FacCall *call)
{
    FacTensor *sequence = fac_arg_tensor(call, 0), *values = fac_arg_tensor(call, 1);
    FAC_RETURN_IF_ERROR(check_search(call, sequence, (FacDType)values->dtype));
    bool fits = sequence->ndim == 1 || sequence->ndim == values->ndim;
    for (int i = 0; fits && sequence->ndim > 1 && i + 1 < sequence->ndim; i++)
        fits = sequence->sizes[i] == values->sizes[i];
    if (!fits) {
        FacText text = {.len = 0};
        fac_text_dims(&text, sequence->ndim, sequence->sizes);
        fac_text_add(&text, " and values ");
        fac_text_dims(&text, values->ndim, values->sizes);
        return fac_error(
            FAC_RUNTIME_ERROR,
            "boundaries tensor should be 1 dimension or the first N-1 dimensions of "
            "boundaries tensor and input value tensor must match, but got boundaries %s",
            text.at);
    }
    return fac_out(call, 0, index_dtype(call), values->device, values->ndim, values->sizes);
}

FacStatus
fac_rule_searchsorted_number(FacCall *call)
{
    FacTensor *sequence = fac_arg_tensor(call, 0);
    FAC_RETURN_IF_ERROR(check_search(call, sequence, (FacDType)sequence->dtype));
    if (sequence->ndim != 1)
        return fac_error(FAC_RUNTIME_ERROR,
                         "input value can be a scalar only when boundaries tensor dimension is 1, "
                         "but got %d dimensions",
                         sequence->ndim);
    return fac_out(call, 0, index_dtype(call), sequence->device, 0, NULL);
}
