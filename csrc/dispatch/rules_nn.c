/* rules_nn.c - the rules of softmax, normalization, losses, embeddings, recurrent cells and
 * optimizer steps.
 */
#include "dispatch/rules.h"

#include <string.h>

/* The row computes in the dtype of `t`; makes no result. */
static FacStatus
check_dtype(FacCall *call, const FacTensor *t)
{
    const FacDType compute = (FacDType)fac_dtype_info[t->dtype].compute;
    call->compute = (int8_t)compute;
    return fac_check_dtypes(call, compute, call->op->dtypes);
}

/* Result i like `t`, in C order. */
static FacStatus
like(FacCall *call, int i, const FacTensor *t)
{
    return fac_out(call, i, (FacDType)t->dtype, t->device, t->ndim, t->sizes);
}

/* --- softmax ---------------------------------------------------------------------------------------- */

FacStatus
fac_rule_softmax(FacCall *call)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    const FacDType dt =
        FAC_ARG(call, 2).tag == FAC_V_NONE ? (FacDType)t->dtype : (FacDType)FAC_ARG(call, 2).v.i;
    int dim;
    FAC_RETURN_IF_ERROR(fac_wrap_dim(fac_v_as_int(FAC_ARG(call, 1)), t->ndim, &dim));
    call->compute = fac_dtype_info[dt].compute;
    FAC_RETURN_IF_ERROR(fac_check_dtypes(call, (FacDType)call->compute, call->op->dtypes));
    return fac_out(call, 0, dt, t->device, t->ndim, t->sizes);
}

/* --- normalization ------------------------------------------------------------------------------------ */

/* The dtype of statistics: float32 where half precision meets float32 parameters. */
static FacDType
statistics_dtype(const FacTensor *x, const FacTensor *parameter)
{
    return parameter ? fac_promote((FacDType)x->dtype, (FacDType)parameter->dtype)
                     : (FacDType)x->dtype;
}

/* A parameter or statistic has n elements, and the dtype of x or, beside halves, float32. */
static FacStatus
check_channels(FacCall *call, int i, const FacTensor *x, FacDim n)
{
    const FacTensor *t = fac_arg_tensor(call, i);
    if (!t) return FAC_OK;
    if (t->numel != n || t->ndim != 1)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                  "should contain %lld elements not %lld", (long long)n,
                                  (long long)t->numel);
    if (t->dtype != x->dtype && t->dtype != fac_dtype_info[x->dtype].compute)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "is %s, the input is %s",
                                  fac_dtype_info[t->dtype].name, fac_dtype_info[x->dtype].name);
    return FAC_OK;
}

static FacStatus
check_normalized(FacCall *call, int i, const FacTensor *x, const FacDim *shape, int n)
{
    const FacTensor *t = fac_arg_tensor(call, i);
    if (!t) return FAC_OK;
    if (t->ndim != n || memcmp(t->sizes, shape, (size_t)n * sizeof *shape))
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                  "must have the shape of normalized_shape");
    if (t->dtype != x->dtype && t->dtype != fac_dtype_info[x->dtype].compute)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "is %s, the input is %s",
                                  fac_dtype_info[t->dtype].name, fac_dtype_info[x->dtype].name);
    return FAC_OK;
}

FacStatus
fac_rule_native_layer_norm(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 0), *weight = fac_arg_tensor(call, 2);
    const int n = (int)FAC_ARG(call, 1).len, lead = x->ndim - n;
    const FacDim *shape = FAC_ARG(call, 1).v.ints;
    FacDim sizes[FAC_MAX_NDIM];
    if (n == 0)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 1, "must have at least 1 dimension");
    if (lead < 0 || memcmp(x->sizes + lead, shape, (size_t)n * sizeof *shape)) {
        FacText text = {.len = 0};
        fac_text_dims(&text, n, shape);
        fac_text_add(&text, ", expected input with shape [*");
        for (int i = 0; i < n; i++) fac_text_add(&text, ", %lld", (long long)shape[i]);
        fac_text_add(&text, "], but got input of size");
        fac_text_dims(&text, x->ndim, x->sizes);
        return fac_error(FAC_RUNTIME_ERROR, "Given normalized_shape=%s", text.at);
    }
    FAC_RETURN_IF_ERROR(check_normalized(call, 2, x, shape, n));
    FAC_RETURN_IF_ERROR(check_normalized(call, 3, x, shape, n));
    FAC_RETURN_IF_ERROR(check_dtype(call, x));
    const FacDType dt = statistics_dtype(x, weight ? weight : fac_arg_tensor(call, 3));
    for (int i = 0; i < x->ndim; i++) sizes[i] = i < lead ? x->sizes[i] : 1;
    FAC_RETURN_IF_ERROR(like(call, 0, x));
    FAC_RETURN_IF_ERROR(fac_out(call, 1, dt, x->device, x->ndim, sizes));
    return fac_out(call, 2, dt, x->device, x->ndim, sizes);
}

/* (grad_output, input, ...): like the input. */
FacStatus
fac_rule_norm_backward(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_dtype(call, fac_arg_tensor(call, 1)));
    return like(call, 0, fac_arg_tensor(call, 1));
}

FacStatus
fac_rule_layer_norm_backward_affine(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 1);
    const FacValue shape = FAC_ARG(call, 2);
    const FacDType dt = (FacDType)fac_arg_tensor(call, 3)->dtype;
    FAC_RETURN_IF_ERROR(check_dtype(call, x));
    FAC_RETURN_IF_ERROR(fac_out(call, 0, dt, x->device, (int)shape.len, shape.v.ints));
    return fac_out(call, 1, dt, x->device, (int)shape.len, shape.v.ints);
}

FacStatus
fac_rule_native_batch_norm(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 0), *weight = fac_arg_tensor(call, 1);
    const bool train = FAC_ARG(call, 5).v.i;
    if (x->ndim < 2)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0,
                                  "must have at least 2 dimensions, not %d", x->ndim);
    for (int i = 1; i < 5; i++) FAC_RETURN_IF_ERROR(check_channels(call, i, x, x->sizes[1]));
    if (!train && (!fac_arg_tensor(call, 3) || !fac_arg_tensor(call, 4)))
        return fac_error(FAC_RUNTIME_ERROR,
                         "running_mean and running_var must be given in evaluation mode");
    FAC_RETURN_IF_ERROR(check_dtype(call, x));
    const FacTensor *like_one = weight ? weight : fac_arg_tensor(call, 3);
    const FacDType dt = statistics_dtype(x, like_one);
    const FacDim channels = train ? x->sizes[1] : 0;
    FAC_RETURN_IF_ERROR(like(call, 0, x));
    FAC_RETURN_IF_ERROR(fac_out(call, 1, dt, x->device, 1, &channels));
    return fac_out(call, 2, dt, x->device, 1, &channels);
}

FacStatus
fac_rule_batch_norm_backward_affine(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 1), *weight = fac_arg_tensor(call, 2);
    const FacDType dt = weight ? (FacDType)weight->dtype : (FacDType)x->dtype;
    FAC_RETURN_IF_ERROR(check_dtype(call, x));
    FAC_RETURN_IF_ERROR(fac_out(call, 0, dt, x->device, 1, &x->sizes[1]));
    return fac_out(call, 1, dt, x->device, 1, &x->sizes[1]);
}

/* --- losses ------------------------------------------------------------------------------------------- */

/* Classes are dim 1, or dim 0 of a vector; the target has the other dims. */
static FacStatus
check_target(FacCall *call, int ndim, const FacDim *sizes, int target_arg, FacDim *rest, int *nrest)
{
    const FacTensor *target = fac_arg_tensor(call, target_arg);
    const FacTensor *weight = fac_arg_tensor(call, target_arg + 1);
    *nrest = 0;
    for (int i = 0; i < ndim; i++)
        if (i != (ndim > 1)) rest[(*nrest)++] = sizes[i];
    if (ndim == 0)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0, "must have at least 1 dimension");
    if (!FAC_IS_INT(target->dtype))
        return fac_argument_error(FAC_RUNTIME_ERROR, call, target_arg,
                                  "must hold classes as int64, not %s",
                                  fac_dtype_info[target->dtype].name);
    if (target->ndim && *nrest && target->sizes[0] != rest[0])
        return fac_error(FAC_VALUE_ERROR,
                         "Expected input batch_size (%lld) to match target batch_size (%lld).",
                         (long long)rest[0], (long long)target->sizes[0]);
    if (target->ndim != *nrest || memcmp(target->sizes, rest, (size_t)*nrest * sizeof *rest)) {
        FacText text = {.len = 0};
        fac_text_dims(&text, target->ndim, target->sizes);
        return fac_argument_error(FAC_RUNTIME_ERROR, call, target_arg,
                                  "has a size that does not fit the input: %s", text.at);
    }
    if (weight && (weight->ndim != 1 || weight->numel != sizes[ndim > 1]))
        return fac_argument_error(FAC_RUNTIME_ERROR, call, target_arg + 1,
                                  "must have one element a class");
    return FAC_OK;
}

FacStatus
fac_rule_nll_loss_forward(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 0), *weight = fac_arg_tensor(call, 2);
    FacDim rest[FAC_MAX_NDIM];
    int n;
    FAC_RETURN_IF_ERROR(check_target(call, x->ndim, x->sizes, 1, rest, &n));
    if (weight && weight->dtype != x->dtype)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 2, "must have the dtype of the input");
    FAC_RETURN_IF_ERROR(check_dtype(call, x));
    if (FAC_ARG(call, 3).v.i != 0) n = 0;
    FAC_RETURN_IF_ERROR(fac_out(call, 0, (FacDType)x->dtype, x->device, n, rest));
    return fac_out(call, 1, (FacDType)x->dtype, x->device, 0, NULL);
}

FacStatus
fac_rule_nll_loss_backward(FacCall *call)
{
    const FacTensor *grad = fac_arg_tensor(call, 0);
    const FacValue size = FAC_ARG(call, 1);
    FacDim rest[FAC_MAX_NDIM];
    int n;
    FAC_RETURN_IF_ERROR(check_target(call, (int)size.len, size.v.ints, 2, rest, &n));
    FAC_RETURN_IF_ERROR(check_dtype(call, grad));
    return fac_out(call, 0, (FacDType)grad->dtype, grad->device, (int)size.len, size.v.ints);
}

/* --- embeddings ---------------------------------------------------------------------------------------- */

static FacStatus
check_indices(FacCall *call, int i)
{
    const FacTensor *t = fac_arg_tensor(call, i);
    if (t->dtype == FAC_DT_I64 || t->dtype == FAC_DT_I32) return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must be int64 or int32, not %s",
                              fac_dtype_info[t->dtype].name);
}

FacStatus
fac_rule_embedding(FacCall *call)
{
    const FacTensor *weight = fac_arg_tensor(call, 0), *indices = fac_arg_tensor(call, 1);
    FacDim sizes[FAC_MAX_NDIM];
    if (weight->ndim != 2)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0, "must be 2-D, not %d-D",
                                  weight->ndim);
    FAC_RETURN_IF_ERROR(check_indices(call, 1));
    memcpy(sizes, indices->sizes, (size_t)indices->ndim * sizeof *sizes);
    sizes[indices->ndim] = weight->sizes[1];
    return fac_out(call, 0, (FacDType)weight->dtype, weight->device, indices->ndim + 1, sizes);
}

FacStatus
fac_rule_embedding_dense_backward(FacCall *call)
{
    const FacTensor *grad = fac_arg_tensor(call, 0);
    const FacDim sizes[2] = {FAC_ARG(call, 2).v.i, grad->sizes[grad->ndim - 1]};
    FAC_RETURN_IF_ERROR(check_indices(call, 1));
    FAC_RETURN_IF_ERROR(check_dtype(call, grad));
    return fac_out(call, 0, (FacDType)grad->dtype, grad->device, 2, sizes);
}

/* --- others --------------------------------------------------------------------------------------------- */

/* (gates [n, 4h], cx [n, h]). */
FacStatus
fac_rule_lstm_cell(FacCall *call)
{
    const FacTensor *gates = fac_arg_tensor(call, 0), *cx = fac_arg_tensor(call, 1);
    if (gates->ndim != cx->ndim || gates->ndim == 0 ||
        gates->sizes[gates->ndim - 1] != 4 * cx->sizes[cx->ndim - 1] || gates->numel != 4 * cx->numel)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0,
                                  "must have four times the last size of 'cx'");
    FAC_RETURN_IF_ERROR(check_dtype(call, cx));
    FAC_RETURN_IF_ERROR(like(call, 0, cx));
    return like(call, 1, cx);
}

/* Lists of equal length (the momentum buffers and maxima may be absent), tensor by tensor of one
 * shape, dtype and device. The results are the first list itself. */
FacStatus
fac_rule_fused_step(FacCall *call)
{
    const FacValue params = FAC_ARG(call, 0);
    for (int i = 0; i < call->op->nparams; i++) {
        const FacValue list = FAC_ARG(call, i);
        if (list.tag != FAC_V_TENSORS) break;
        if (list.len != params.len && !(i > 1 && list.len == 0))
            return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "has %u tensors, 'self' has %u",
                                      list.len, params.len);
        const bool steps = call->op->nparams > 12 && i == 5;
        for (uint32_t j = 0; j < list.len && !steps; j++) {
            const FacTensor *a = params.v.tensors[j], *b = list.v.tensors[j];
            if (a->ndim != b->ndim || a->dtype != b->dtype || !fac_device_equal(a->device, b->device) ||
                memcmp(a->sizes, b->sizes, a->ndim * sizeof *a->sizes))
                return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                          "has another shape, dtype or device at %u than 'self'", j);
        }
    }
    for (uint32_t j = 0; j < params.len; j++)
        FAC_RETURN_IF_ERROR(check_dtype(call, params.v.tensors[j]));
    return FAC_OK;
}
