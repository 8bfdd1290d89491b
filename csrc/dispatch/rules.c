/* rules.c - what rules share: options of factories, sizes of reductions, dims, and the rules that
 * more than one family uses.
 */
#include "dispatch/rules.h"

#include "dispatch/target.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

FacDevice
fac_common_device(const FacCall *call)
{
    return fac_call_device(call);
}

FacStatus
fac_argument_error(FacStatus code, const FacCall *call, int i, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fac_error(code, "argument '%s' %s", call->op->params[i].name, text);
}

FacStatus
fac_factory_options(const FacCall *call, FacDType fallback, FacDType *dtype, FacDevice *device)
{
    const FacOp *op = call->op;
    *dtype = fallback;
    *device = fac_call_device(call);
    for (int i = 0; i < op->nparams; i++) {
        FacValue arg = call->args[i];
        switch ((FacType)op->params[i].type) {
        case FAC_TYPE_DTYPE:
            if (arg.tag == FAC_V_DTYPE) *dtype = (FacDType)arg.v.i;
            break;
        case FAC_TYPE_DEVICE:
            if (arg.tag == FAC_V_DEVICE) *device = arg.v.device;
            break;
        case FAC_TYPE_LAYOUT:
            if (arg.tag == FAC_V_LAYOUT && arg.v.i != FAC_STRIDED)
                return fac_argument_error(
                    FAC_NOT_IMPLEMENTED, call, i,
                    "names a sparse layout; only strided tensors can be made");
            break;
        default: break;
        }
    }
    return device->type == FAC_DEV_CPU ? FAC_OK : fac_device_check(*device);
}

int
fac_reduced_sizes(const FacTensor *t, uint64_t mask, bool keepdim, FacDim *sizes)
{
    int n = 0;
    for (int i = 0; i < t->ndim; i++) {
        if (!(mask >> i & 1))
            sizes[n++] = t->sizes[i];
        else if (keepdim)
            sizes[n++] = 1;
    }
    return n;
}

FacStatus
fac_dims_arg(const FacCall *call, int i, const FacTensor *t, bool empty_means_all, uint64_t *mask)
{
    FacValue arg = call->args[i];
    int64_t one;
    switch (arg.tag) {
    case FAC_V_NONE: return fac_wrap_dims(NULL, 0, t->ndim, true, mask);
    case FAC_V_INT: one = arg.v.i; return fac_wrap_dims(&one, 1, t->ndim, empty_means_all, mask);
    case FAC_V_INTS: return fac_wrap_dims(arg.v.ints, (int)arg.len, t->ndim, empty_means_all, mask);
    default: return fac_argument_error(FAC_TYPE_ERROR, call, i, "must be an int or a list of ints");
    }
}

FacStatus
fac_check_sizes(const FacCall *call, int i, int ndim, const FacDim *sizes)
{
    const FacTensor *t = fac_arg_tensor(call, i);
    FacText have = {.len = 0}, want = {.len = 0};
    if (!t || (t->ndim == ndim && !memcmp(t->sizes, sizes, (size_t)ndim * sizeof *sizes)))
        return FAC_OK;
    fac_text_dims(&have, t->ndim, t->sizes);
    fac_text_dims(&want, ndim, sizes);
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "has the shape %s, it must have %s",
                              have.at, want.at);
}

FacStatus
fac_check_one(const FacCall *call, int i)
{
    const FacTensor *t = fac_arg_tensor(call, i);
    if (t->numel == 1) return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must have one element, not %lld",
                              (long long)t->numel);
}

FacStatus
fac_check_range(const FacCall *call, int i, int64_t low, int64_t high)
{
    const int64_t n = FAC_ARG(call, i).v.i;
    if (n >= low && n <= high) return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must be from %lld to %lld, not %lld",
                              (long long)low, (long long)high, (long long)n);
}

/* --- rules of several families ---------------------------------------------------------------- */

FacStatus
fac_rule_same(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    if (!t) return fac_argument_error(FAC_TYPE_ERROR, call, 0, "must be a tensor");
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    if (call->op->dtypes) {
        FacDType compute = (FacDType)fac_dtype_info[t->dtype].compute;
        FAC_RETURN_IF_ERROR(fac_check_dtypes(call, compute, call->op->dtypes));
    }
    call->compute = fac_dtype_info[t->dtype].compute;
    return fac_out(call, 0, (FacDType)t->dtype, t->device, t->ndim, t->sizes);
}

FacStatus
fac_rule_inplace(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    if (!t) return fac_argument_error(FAC_TYPE_ERROR, call, 0, "must be a tensor");
    FAC_RETURN_IF_ERROR(fac_check_overlap(call, t));
    call->compute = fac_dtype_info[t->dtype].compute;
    if (call->op->nresults == 0) return FAC_OK;
    call->results[0] =
        (FacValue){.tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = fac_tensor_retain(t)};
    return FAC_OK;
}

FacStatus
fac_rule_data(FacCall *call)
{
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    FacTensor *t = fac_arg_tensor(call, 0);
    if (t) call->compute = fac_dtype_info[t->dtype].compute;
    if (fac_common_device(call).type != FAC_DEV_META) return FAC_OK;
    return fac_error(FAC_NOT_IMPLEMENTED,
                     "the shape of the result depends on data, and a tensor on 'meta' has none");
}
