/* rules_reduce.c - shapes, dtypes and argument checks of reductions and scans.
 *
 * A reduction drops the dims in a mask or keeps them with size 1. call->compute is the dtype that
 * elements are converted to as they are loaded; float32 is accumulated in double by the kernels, so
 * that it stands for float16 and bfloat16 too. Reductions without an identity refuse empty dims
 * here.
 */
#include "dispatch/rules.h"
#include "kernels/reduce_args.h"

/* --- parts ------------------------------------------------------------------------------------ */

static FacDType
compute_of(FacDType dt)
{
    return (FacDType)fac_dtype_info[dt].compute;
}

static FacStatus
make_reduced(FacCall *call, int i, FacDType dtype, const FacTensor *self, uint64_t mask)
{
    FacDim sizes[FAC_MAX_NDIM];
    int ndim = fac_reduced_sizes(self, mask, fac_reduce_keepdim(call), sizes);
    return fac_out(call, i, dtype, self->device, ndim, sizes);
}

/* Where there is no identity every reduced dim must have elements. */
static FacStatus
check_not_empty(const FacCall *call, const FacTensor *self, uint64_t mask, FacStatus code)
{
    FacValue dim = fac_arg_named(call, "dim");
    bool given = dim.tag == FAC_V_INT || (dim.tag == FAC_V_INTS && dim.len);
    const char *name = call->op->name;
    if (self->numel) return FAC_OK;
    if (!given)
        return fac_error(code,
                         "%s(): Expected reduction dim to be specified for input.numel() == 0. "
                         "Specify the reduction dim with the 'dim' argument.",
                         name);
    for (int d = 0; d < self->ndim; d++)
        if (mask >> d & 1 && self->sizes[d] == 0)
            return fac_error(FAC_INDEX_ERROR,
                             "%s(): Expected reduction dim %d to have non-zero size.", name, d);
    return FAC_OK;
}

static FacStatus
check_not_complex(const FacCall *call, const FacTensor *self)
{
    if (!FAC_IS_COMPLEX(self->dtype)) return FAC_OK;
    return fac_error(FAC_RUNTIME_ERROR, "%s(): does not support complex input", call->op->name);
}

static FacDType
dtype_arg(const FacCall *call, FacDType fallback)
{
    FacValue v = fac_arg_named(call, "dtype");
    return v.tag == FAC_V_DTYPE ? (FacDType)v.v.i : fallback;
}

/* Integers are summed as int64 unless a dtype is asked for. */
static FacDType
sum_dtype(const FacCall *call, const FacTensor *self)
{
    return dtype_arg(call, FAC_IS_INT(self->dtype) ? FAC_DT_I64 : (FacDType)self->dtype);
}

/* --- reductions ------------------------------------------------------------------------------- */

FacStatus
fac_rule_reduce_sum(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    FacDType dtype = sum_dtype(call, self);
    uint64_t mask;
    FAC_RETURN_IF_ERROR(fac_reduce_mask(call, self, true, &mask));
    call->compute = (int8_t)(FAC_IS_INT(dtype) ? FAC_DT_I64 : compute_of(dtype));
    return make_reduced(call, 0, dtype, self, mask);
}

FacStatus
fac_rule_reduce_nansum(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    if (FAC_IS_COMPLEX(self->dtype) || FAC_IS_COMPLEX(dtype_arg(call, (FacDType)self->dtype)))
        return fac_error(FAC_RUNTIME_ERROR, "nansum does not support complex inputs");
    return fac_rule_reduce_sum(call);
}

FacStatus
fac_rule_reduce_mean(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    FacDType dtype = dtype_arg(call, (FacDType)self->dtype);
    uint64_t mask;
    if (FAC_IS_INT(dtype))
        return fac_error(FAC_RUNTIME_ERROR,
                         "mean(): could not infer output dtype. %s dtype must be either a floating "
                         "point or complex dtype. Got: %s",
                         dtype_arg(call, FAC_DT_NONE) == FAC_DT_NONE ? "Input" : "Optional",
                         fac_dtype_info[dtype].legacy);
    FAC_RETURN_IF_ERROR(fac_reduce_mask(call, self, true, &mask));
    call->compute = (int8_t)compute_of(dtype);
    return make_reduced(call, 0, dtype, self, mask);
}

FacStatus
fac_rule_reduce_count(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    uint64_t mask;
    FAC_RETURN_IF_ERROR(fac_reduce_mask(call, self, true, &mask));
    call->compute = FAC_DT_BOOL;
    return make_reduced(call, 0, FAC_DT_I64, self, mask);
}

FacStatus
fac_rule_reduce_extreme(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    uint64_t mask;
    if (FAC_IS_COMPLEX(self->dtype)) return fac_not_implemented_for(call, (FacDType)self->dtype);
    FAC_RETURN_IF_ERROR(fac_reduce_mask(call, self, true, &mask));
    FAC_RETURN_IF_ERROR(check_not_empty(call, self, mask, FAC_RUNTIME_ERROR));
    call->compute = (int8_t)compute_of((FacDType)self->dtype);
    if (call->op->dtypes)
        FAC_RETURN_IF_ERROR(fac_check_dtypes(call, (FacDType)call->compute, call->op->dtypes));
    return make_reduced(call, 0, (FacDType)self->dtype, self, mask);
}

FacStatus
fac_rule_reduce_arg(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    uint64_t mask;
    FAC_RETURN_IF_ERROR(check_not_complex(call, self));
    if (self->dtype == FAC_DT_BOOL)
        return fac_error(FAC_RUNTIME_ERROR, "%s(): does not support bool input", call->op->name);
    FAC_RETURN_IF_ERROR(fac_reduce_mask(call, self, true, &mask));
    FAC_RETURN_IF_ERROR(check_not_empty(call, self, mask, FAC_INDEX_ERROR));
    call->compute = (int8_t)compute_of((FacDType)self->dtype);
    return make_reduced(call, 0, FAC_DT_I64, self, mask);
}

/* any and all; of uint8 the result is uint8. An empty list of dims reduces nothing. */
FacStatus
fac_rule_reduce_truth(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    uint64_t mask;
    FAC_RETURN_IF_ERROR(fac_reduce_mask(call, self, false, &mask));
    call->compute = FAC_DT_BOOL;
    return make_reduced(call, 0, self->dtype == FAC_DT_U8 ? FAC_DT_U8 : FAC_DT_BOOL, self, mask);
}

FacStatus
fac_rule_reduce_var(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    uint64_t mask;
    if (FAC_IS_INT(self->dtype))
        return fac_error(FAC_RUNTIME_ERROR,
                         "std and var only support floating point and complex dtypes");
    FAC_RETURN_IF_ERROR(fac_reduce_mask(call, self, true, &mask));
    call->compute = (int8_t)compute_of((FacDType)self->dtype);
    return make_reduced(call, 0, (FacDType)fac_dtype_info[self->dtype].real, self, mask);
}

static FacStatus
check_norm_dtype(const FacTensor *self, FacDType dtype)
{
    FacDType from = (FacDType)self->dtype;
    if (FAC_IS_INT(from))
        return fac_error(
            FAC_RUNTIME_ERROR,
            "linalg.vector_norm: Expected a floating point or complex tensor as input. "
            "Got %s",
            fac_dtype_info[from].legacy);
    if (dtype == from) return FAC_OK;
    if (FAC_IS_INT(dtype) || FAC_IS_COMPLEX(dtype) != FAC_IS_COMPLEX(from))
        return fac_error(
            FAC_RUNTIME_ERROR, "linalg.vector_norm expected dtype to be %s, but got %s",
            FAC_IS_COMPLEX(from) ? "complex" : "floating point", fac_dtype_info[dtype].legacy);
    if (fac_promote(from, dtype) != dtype)
        return fac_error(FAC_RUNTIME_ERROR,
                         "linalg.vector_norm: the dtype of the input (%s) should be convertible "
                         "without narrowing to the specified dtype (%s)",
                         fac_dtype_info[from].legacy, fac_dtype_info[dtype].legacy);
    return FAC_OK;
}

FacStatus
fac_rule_reduce_norm(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    FacDType dtype = dtype_arg(call, (FacDType)self->dtype);
    double order = fac_v_as_float(call->args[1]);
    uint64_t mask;
    FAC_RETURN_IF_ERROR(check_norm_dtype(self, dtype));
    FAC_RETURN_IF_ERROR(fac_reduce_mask(call, self, true, &mask));
    if (self->numel == 0 && (order < 0 || order > 1.7976931348623157e308))
        for (int d = 0; d < self->ndim; d++)
            if (mask >> d & 1 && self->sizes[d] == 0)
                return fac_error(
                    FAC_RUNTIME_ERROR,
                    "linalg.vector_norm cannot compute the %g norm on the dimension %d "
                    "because this dimension is empty and the operation does not have an "
                    "identity",
                    order, d);
    call->compute = (int8_t)compute_of(dtype);
    return make_reduced(call, 0, (FacDType)fac_dtype_info[dtype].real, self, mask);
}

/* --- selections along one dim ----------------------------------------------------------------- */

static FacStatus
make_selected(FacCall *call, const FacTensor *self)
{
    uint64_t mask;
    FAC_RETURN_IF_ERROR(fac_reduce_mask(call, self, true, &mask));
    FAC_RETURN_IF_ERROR(check_not_empty(call, self, mask, FAC_INDEX_ERROR));
    call->compute = (int8_t)compute_of((FacDType)self->dtype);
    FAC_RETURN_IF_ERROR(make_reduced(call, 0, (FacDType)self->dtype, self, mask));
    return make_reduced(call, 1, FAC_DT_I64, self, mask);
}

FacStatus
fac_rule_reduce_select(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    if (call->op->dtypes)
        FAC_RETURN_IF_ERROR(
            fac_check_dtypes(call, compute_of((FacDType)self->dtype), call->op->dtypes));
    else
        FAC_RETURN_IF_ERROR(check_not_complex(call, self));
    return make_selected(call, self);
}

FacStatus
fac_rule_reduce_kth(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    int64_t k = fac_arg_named(call, "k").v.i;
    int dim;
    FAC_RETURN_IF_ERROR(
        fac_check_dtypes(call, compute_of((FacDType)self->dtype), call->op->dtypes));
    FAC_RETURN_IF_ERROR(fac_reduce_dim(call, self, &dim));
    int64_t size = self->ndim ? self->sizes[dim] : 1;
    if (size && (k < 1 || k > size))
        return fac_error(FAC_RUNTIME_ERROR,
                         "kthvalue(): selected number k out of range for dimension %d", dim);
    return make_selected(call, self);
}

FacStatus
fac_rule_reduce_median(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    if (self->dtype == FAC_DT_BOOL || FAC_IS_COMPLEX(self->dtype))
        return fac_not_implemented_for(call, (FacDType)self->dtype);
    call->compute = (int8_t)compute_of((FacDType)self->dtype);
    return fac_out(call, 0, (FacDType)self->dtype, self->device, 0, NULL);
}

/* --- scans ------------------------------------------------------------------------------------ */

static FacStatus
make_scan(FacCall *call, int i, FacDType dtype, const FacTensor *self)
{
    int dim;
    FAC_RETURN_IF_ERROR(fac_reduce_dim(call, self, &dim));
    return fac_out(call, i, dtype, self->device, self->ndim, self->sizes);
}

FacStatus
fac_rule_scan_sum(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    FacDType dtype = sum_dtype(call, self);
    if (call->flags & FAC_CALL_INPLACE) dtype = dtype_arg(call, (FacDType)self->dtype);
    if (dtype == FAC_DT_BOOL) return fac_not_implemented_for(call, dtype);
    call->compute = (int8_t)(FAC_IS_INT(dtype) ? FAC_DT_I64 : compute_of(dtype));
    return make_scan(call, 0, dtype, self);
}

FacStatus
fac_rule_scan_same(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    FAC_RETURN_IF_ERROR(
        fac_check_dtypes(call, compute_of((FacDType)self->dtype), call->op->dtypes));
    call->compute = (int8_t)compute_of((FacDType)self->dtype);
    return make_scan(call, 0, (FacDType)self->dtype, self);
}

FacStatus
fac_rule_scan_select(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    FAC_RETURN_IF_ERROR(fac_rule_scan_same(call));
    return make_scan(call, 1, FAC_DT_I64, self);
}
