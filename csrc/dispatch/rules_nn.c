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

/* Result i like `t`, channels last if that is. */
static FacStatus
like_channels(FacCall *call, int i, const FacTensor *t)
{
    FacDim strides[FAC_MAX_NDIM];
    const FacMemoryFormat format = fac_format_of(t->ndim, t->sizes, t->strides);
    if (format == FAC_CONTIGUOUS) return like(call, i, t);
    fac_strides_format(format, t->ndim, t->sizes, strides);
    return fac_out_strided(call, i, (FacDType)t->dtype, t->device, t->ndim, t->sizes, strides);
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

/* (grad_output, output, dim). */
FacStatus
fac_rule_softmax_backward(FacCall *call)
{
    const FacTensor *grad = fac_arg_tensor(call, 0);
    int dim;
    FAC_RETURN_IF_ERROR(fac_wrap_dim(fac_v_as_int(FAC_ARG(call, 2)), grad->ndim, &dim));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 1, grad->ndim, grad->sizes));
    return fac_rule_same(call);
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

/* normalized_shape at args[i] is the end of x's; gives the sizes of the statistics. */
static FacStatus
check_rows(FacCall *call, int i, const FacTensor *x, FacDim *sizes)
{
    const int n = (int)FAC_ARG(call, i).len, lead = x->ndim - n;
    const FacDim *shape = FAC_ARG(call, i).v.ints;
    if (n == 0)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must have at least 1 dimension");
    if (lead < 0 || memcmp(x->sizes + lead, shape, (size_t)n * sizeof *shape)) {
        FacText text = {.len = 0};
        fac_text_dims(&text, n, shape);
        fac_text_add(&text, ", expected input with shape [*");
        for (int d = 0; d < n; d++) fac_text_add(&text, ", %lld", (long long)shape[d]);
        fac_text_add(&text, "], but got input of size");
        fac_text_dims(&text, x->ndim, x->sizes);
        return fac_error(FAC_RUNTIME_ERROR, "Given normalized_shape=%s", text.at);
    }
    for (int d = 0; d < x->ndim; d++) sizes[d] = d < lead ? x->sizes[d] : 1;
    return FAC_OK;
}

FacStatus
fac_rule_native_layer_norm(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 0), *weight = fac_arg_tensor(call, 2);
    const int n = (int)FAC_ARG(call, 1).len;
    const FacDim *shape = FAC_ARG(call, 1).v.ints;
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(check_rows(call, 1, x, sizes));
    FAC_RETURN_IF_ERROR(check_normalized(call, 2, x, shape, n));
    FAC_RETURN_IF_ERROR(check_normalized(call, 3, x, shape, n));
    FAC_RETURN_IF_ERROR(check_dtype(call, x));
    const FacDType dt = statistics_dtype(x, weight ? weight : fac_arg_tensor(call, 3));
    FAC_RETURN_IF_ERROR(like(call, 0, x));
    FAC_RETURN_IF_ERROR(fac_out(call, 1, dt, x->device, x->ndim, sizes));
    return fac_out(call, 2, dt, x->device, x->ndim, sizes);
}

/* (grad_output, input, normalized_shape, mean, rstd, ...). */
static FacStatus
check_layer_backward(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 1);
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    FAC_RETURN_IF_ERROR(check_rows(call, 2, x, sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 0, x->ndim, x->sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 3, x->ndim, sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 4, x->ndim, sizes));
    return check_dtype(call, x);
}

/* (grad_output, input, normalized_shape, mean, rstd, weight, eps). */
FacStatus
fac_rule_layer_norm_backward(FacCall *call)
{
    const FacValue shape = FAC_ARG(call, 2);
    FAC_RETURN_IF_ERROR(check_layer_backward(call));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 5, (int)shape.len, shape.v.ints));
    return like(call, 0, fac_arg_tensor(call, 1));
}

/* The gradients of weight and bias, results `first` and the one after. */
static FacStatus
layer_affine_out(FacCall *call, int first)
{
    const FacTensor *x = fac_arg_tensor(call, 1);
    const FacValue shape = FAC_ARG(call, 2);
    const FacDType dt = (FacDType)fac_arg_tensor(call, 3)->dtype;
    if (dt != x->dtype && dt != fac_dtype_info[x->dtype].compute)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 3, "is %s, the input is %s",
                                  fac_dtype_info[dt].name, fac_dtype_info[x->dtype].name);
    FAC_RETURN_IF_ERROR(fac_out(call, first, dt, x->device, (int)shape.len, shape.v.ints));
    return fac_out(call, first + 1, dt, x->device, (int)shape.len, shape.v.ints);
}

FacStatus
fac_rule_layer_norm_backward_affine(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_layer_backward(call));
    return layer_affine_out(call, 0);
}

FacStatus
fac_rule_layer_norm_backward_all(FacCall *call)
{
    FAC_RETURN_IF_ERROR(fac_rule_layer_norm_backward(call));
    return layer_affine_out(call, 1);
}

/* (input, normalized_shape, weight, eps) -> (result, rstd), which is in the compute dtype. */
FacStatus
fac_rule_rms_norm(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 0);
    const FacValue shape = FAC_ARG(call, 1);
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    FAC_RETURN_IF_ERROR(check_rows(call, 1, x, sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 2, (int)shape.len, shape.v.ints));
    FAC_RETURN_IF_ERROR(check_dtype(call, x));
    FAC_RETURN_IF_ERROR(like(call, 0, x));
    return fac_out(call, 1, (FacDType)call->compute, x->device, x->ndim, sizes);
}

/* (grad_output, input, normalized_shape, rstd, weight, eps). */
FacStatus
fac_rule_rms_norm_backward(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 1), *weight = fac_arg_tensor(call, 4);
    const FacValue shape = FAC_ARG(call, 2);
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    FAC_RETURN_IF_ERROR(check_rows(call, 2, x, sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 0, x->ndim, x->sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 3, x->ndim, sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 4, (int)shape.len, shape.v.ints));
    FAC_RETURN_IF_ERROR(check_dtype(call, x));
    FAC_RETURN_IF_ERROR(like(call, 0, x));
    const FacDType dt = weight ? (FacDType)weight->dtype : (FacDType)x->dtype;
    return fac_out(call, 1, dt, x->device, (int)shape.len, shape.v.ints);
}

/* The input is args[i], other parameters of the channels stand behind it up to the running mean and
 * variance, args[running] and the one after. */
static FacStatus
check_batch(FacCall *call, int i, int running, bool train)
{
    const FacTensor *x = fac_arg_tensor(call, i);
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    if (x->ndim < 2)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                  "must have at least 2 dimensions, not %d", x->ndim);
    for (int j = i + 1; j < running + 2; j++)
        FAC_RETURN_IF_ERROR(check_channels(call, j, x, x->sizes[1]));
    if (!train && (!fac_arg_tensor(call, running) || !fac_arg_tensor(call, running + 1)))
        return fac_error(FAC_RUNTIME_ERROR,
                         "running_mean and running_var must be given in evaluation mode");
    return check_dtype(call, x);
}

FacStatus
fac_rule_native_batch_norm(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 0), *weight = fac_arg_tensor(call, 1);
    const bool train = FAC_ARG(call, 5).v.i;
    FAC_RETURN_IF_ERROR(check_batch(call, 0, 3, train));
    const FacTensor *like_one = weight ? weight : fac_arg_tensor(call, 3);
    const FacDType dt = statistics_dtype(x, like_one);
    const FacDim channels = train ? x->sizes[1] : 0;
    if (train && !x->numel)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0, "must have at least one element");
    FAC_RETURN_IF_ERROR(like_channels(call, 0, x));
    FAC_RETURN_IF_ERROR(fac_out(call, 1, dt, x->device, 1, &channels));
    return fac_out(call, 2, dt, x->device, 1, &channels);
}

/* (grad_output, input, weight, running_mean, running_var, save_mean, save_invstd, train, eps). */
static FacStatus
check_batch_backward(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 1);
    const bool train = FAC_ARG(call, 7).v.i;
    FAC_RETURN_IF_ERROR(check_batch(call, 1, 3, train));
    for (int i = 5; i < 7 && train; i++)
        FAC_RETURN_IF_ERROR(check_channels(call, i, x, x->sizes[1]));
    return fac_check_sizes(call, 0, x->ndim, x->sizes);
}

FacStatus
fac_rule_batch_norm_backward(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_batch_backward(call));
    return like_channels(call, 0, fac_arg_tensor(call, 1));
}

/* The gradients of weight and bias, results `first` and the one after. */
static FacStatus
channels_out(FacCall *call, int first, const FacTensor *weight)
{
    const FacTensor *x = fac_arg_tensor(call, 1);
    const FacDType dt = weight ? (FacDType)weight->dtype : (FacDType)x->dtype;
    FAC_RETURN_IF_ERROR(fac_out(call, first, dt, x->device, 1, &x->sizes[1]));
    return fac_out(call, first + 1, dt, x->device, 1, &x->sizes[1]);
}

FacStatus
fac_rule_batch_norm_backward_affine(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_batch_backward(call));
    return channels_out(call, 0, fac_arg_tensor(call, 2));
}

FacStatus
fac_rule_batch_norm_backward_all(FacCall *call)
{
    FAC_RETURN_IF_ERROR(fac_rule_batch_norm_backward(call));
    return channels_out(call, 1, fac_arg_tensor(call, 2));
}

/* The input args[i], the number of groups behind it, parameters of channels at args[from] to args[to]. */
static FacStatus
check_group(FacCall *call, int i, int from, int to, FacDim *sizes)
{
    const FacTensor *x = fac_arg_tensor(call, i);
    const int64_t groups = FAC_ARG(call, i + 1).v.i;
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    if (x->ndim < 2)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must have at least 2 dimensions");
    if (groups < 1 || x->sizes[1] % groups)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i + 1,
                                  "must divide the %lld channels of the input, not be %lld",
                                  (long long)x->sizes[1], (long long)groups);
    for (int j = from; j <= to; j++) FAC_RETURN_IF_ERROR(check_channels(call, j, x, x->sizes[1]));
    sizes[0] = x->sizes[0];
    sizes[1] = groups;
    return check_dtype(call, x);
}

/* (input, num_groups, weight, bias, eps) -> (result, mean, rstd), these in the compute dtype. */
FacStatus
fac_rule_group_norm(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 0);
    FacDim sizes[2];
    FAC_RETURN_IF_ERROR(check_group(call, 0, 2, 3, sizes));
    FAC_RETURN_IF_ERROR(like_channels(call, 0, x));
    FAC_RETURN_IF_ERROR(fac_out(call, 1, (FacDType)call->compute, x->device, 2, sizes));
    return fac_out(call, 2, (FacDType)call->compute, x->device, 2, sizes);
}

/* (grad_output, input, num_groups, mean, rstd, weight, eps). */
FacStatus
fac_rule_group_norm_backward(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 1);
    FacDim sizes[2];
    FAC_RETURN_IF_ERROR(check_group(call, 1, 5, 5, sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 0, x->ndim, x->sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 3, 2, sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 4, 2, sizes));
    FAC_RETURN_IF_ERROR(like_channels(call, 0, x));
    return channels_out(call, 1, fac_arg_tensor(call, 5));
}

/* --- losses ------------------------------------------------------------------------------------------- */

/* Classes are dim 1, or dim 0 of a vector; the target has the other dims. */
static FacStatus
check_target(FacCall *call, int ndim, const FacDim *sizes, int target_arg, FacDim *rest, int *nrest)
{
    const FacTensor *target = fac_arg_tensor(call, target_arg);
    const FacTensor *weight = fac_arg_tensor(call, target_arg + 1);
    *nrest = 0;
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    FAC_RETURN_IF_ERROR(fac_check_range(call, target_arg + 2, 0, 2));
    if (ndim == 0 || ndim > FAC_MAX_NDIM)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, target_arg - 1,
                                  "must have from 1 to %d dimensions", FAC_MAX_NDIM);
    for (int i = 0; i < ndim; i++)
        if (i != (ndim > 1)) rest[(*nrest)++] = sizes[i];
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
    if (FAC_ARG(call, 4).v.i == 0)
        FAC_RETURN_IF_ERROR(fac_check_sizes(call, 0, n, rest));
    else
        FAC_RETURN_IF_ERROR(fac_check_one(call, 0));
    FAC_RETURN_IF_ERROR(fac_check_one(call, 6));
    return fac_out(call, 0, (FacDType)grad->dtype, grad->device, (int)size.len, size.v.ints);
}

/* (self, target, weight, reduction, ignore_index) -> (output, total_weight, stats). */
FacStatus
fac_rule_cross_entropy(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 0), *target = fac_arg_tensor(call, 1);
    FAC_RETURN_IF_ERROR(fac_rule_nll_loss_forward(call));
    const FacDim sizes[2] = {2, target->numel};
    return fac_out(call, 2, (FacDType)call->compute, x->device, 2, sizes);
}

/* (grad_output, self, target, weight, reduction, ignore_index, total_weight, stats). */
FacStatus
fac_rule_cross_entropy_backward(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 1), *target = fac_arg_tensor(call, 2);
    const FacDim stats[2] = {2, target->numel};
    FacDim rest[FAC_MAX_NDIM];
    int n;
    FAC_RETURN_IF_ERROR(check_target(call, x->ndim, x->sizes, 2, rest, &n));
    FAC_RETURN_IF_ERROR(check_dtype(call, x));
    if (FAC_ARG(call, 4).v.i == 0)
        FAC_RETURN_IF_ERROR(fac_check_sizes(call, 0, n, rest));
    else
        FAC_RETURN_IF_ERROR(fac_check_one(call, 0));
    FAC_RETURN_IF_ERROR(fac_check_one(call, 6));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 7, 2, stats));
    return like(call, 0, x);
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
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    if (indices->ndim == FAC_MAX_NDIM)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 1, "has too many dimensions, %d",
                                  indices->ndim);
    memcpy(sizes, indices->sizes, (size_t)indices->ndim * sizeof *sizes);
    sizes[indices->ndim] = weight->sizes[1];
    return fac_out(call, 0, (FacDType)weight->dtype, weight->device, indices->ndim + 1, sizes);
}

FacStatus
fac_rule_embedding_dense_backward(FacCall *call)
{
    const FacTensor *grad = fac_arg_tensor(call, 0), *indices = fac_arg_tensor(call, 1);
    const int n = grad->ndim - 1;
    if (n != indices->ndim || memcmp(grad->sizes, indices->sizes, (size_t)n * sizeof *grad->sizes))
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0,
                                  "must have the shape of 'indices' and one dimension more");
    const FacDim sizes[2] = {FAC_ARG(call, 2).v.i, grad->sizes[n]};
    FAC_RETURN_IF_ERROR(check_indices(call, 1));
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    FAC_RETURN_IF_ERROR(check_dtype(call, grad));
    return fac_out(call, 0, (FacDType)grad->dtype, grad->device, 2, sizes);
}

/* (weight, indices, offsets, scale_grad_by_freq, mode, per_sample_weights, include_last_offset,
 * padding_idx) -> (output, offset2bag, bag_size, max_indices). */
FacStatus
fac_rule_embedding_bag(FacCall *call)
{
    const FacTensor *weight = fac_arg_tensor(call, 0), *indices = fac_arg_tensor(call, 1);
    const FacTensor *offsets = fac_arg_tensor(call, 2);
    const int64_t mode = FAC_ARG(call, 4).v.i;
    if (weight->ndim != 2)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0, "must be 2-D, not %d-D",
                                  weight->ndim);
    for (int i = 1; i < 3; i++) {
        FAC_RETURN_IF_ERROR(check_indices(call, i));
        if (fac_arg_tensor(call, i)->ndim != 1)
            return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must be 1-D");
    }
    FAC_RETURN_IF_ERROR(fac_check_range(call, 4, 0, 2));
    if (fac_arg_tensor(call, 5) && mode != 0)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 5, "is for mode 'sum' only");
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 5, 1, indices->sizes));
    const bool last = FAC_ARG(call, 6).v.i;
    if (last && !offsets->numel)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 2, "must hold at least the last offset");
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    FAC_RETURN_IF_ERROR(check_dtype(call, weight));
    const FacDim bags = offsets->numel - last, sizes[2] = {bags, weight->sizes[1]};
    const FacDim most[2] = {mode == 2 ? bags : 0, weight->sizes[1]};
    FAC_RETURN_IF_ERROR(fac_out(call, 0, (FacDType)weight->dtype, weight->device, 2, sizes));
    FAC_RETURN_IF_ERROR(fac_out(call, 1, FAC_DT_I64, weight->device, 1, indices->sizes));
    FAC_RETURN_IF_ERROR(fac_out(call, 2, FAC_DT_I64, weight->device, 1, &bags));
    return fac_out(call, 3, FAC_DT_I64, weight->device, 2, most);
}

/* (grad_output, indices, offsets, offset2bag, bag_size, max_indices, per_sample_weights, num_weights,
 * scale_grad_by_freq, mode, include_last_offset, padding_idx). */
FacStatus
fac_rule_embedding_bag_backward(FacCall *call)
{
    const FacTensor *grad = fac_arg_tensor(call, 0);
    if (grad->ndim != 2)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0, "must be 2-D, not %d-D", grad->ndim);
    const FacDim sizes[2] = {FAC_ARG(call, 7).v.i, grad->sizes[1]};
    FAC_RETURN_IF_ERROR(check_indices(call, 1));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 3, 1, fac_arg_tensor(call, 1)->sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 4, 1, grad->sizes));
    FAC_RETURN_IF_ERROR(fac_check_range(call, 9, 0, 2));
    if (FAC_ARG(call, 9).v.i == 2) FAC_RETURN_IF_ERROR(fac_check_sizes(call, 5, 2, grad->sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 6, 1, fac_arg_tensor(call, 1)->sizes));
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    FAC_RETURN_IF_ERROR(check_dtype(call, grad));
    return fac_out(call, 0, (FacDType)grad->dtype, grad->device, 2, sizes);
}

/* (self, indices, max_norm, norm_type): writes self. */
FacStatus
fac_rule_embedding_renorm(FacCall *call)
{
    const FacTensor *self = fac_arg_tensor(call, 0);
    if (self->ndim != 2)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0, "must be 2-D, not %d-D", self->ndim);
    FAC_RETURN_IF_ERROR(check_indices(call, 1));
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    FAC_RETURN_IF_ERROR(check_dtype(call, self));
    return fac_rule_inplace(call);
}

/* --- others --------------------------------------------------------------------------------------------- */

/* Batch and channels of `t`, the spatial sizes at args[i], mode and scales behind: sizes of a result. */
static FacStatus
resized(FacCall *call, const FacTensor *t, int i, FacDim *sizes)
{
    static const char *const modes[] = {"nearest",  "nearest-exact", "linear",
                                        "bilinear", "bicubic",       "trilinear"};
    static const int dims[] = {0, 0, 1, 2, 2, 3}; /* spatial dims of a mode; 0: any */
    const FacValue size = FAC_ARG(call, i), scales = FAC_ARG(call, i + 3);
    const char *mode = FAC_ARG(call, i + 1).v.s;
    const int n = t->ndim - 2;
    int m = 0;
    while (m < 6 && strcmp(mode, modes[m])) m++;
    if (m == 6 || n < 1 || n > 3 || (dims[m] && dims[m] != n))
        return fac_argument_error(FAC_NOT_IMPLEMENTED, call, i + 1,
                                  "is '%s', which is no way to resize %d spatial dimensions", mode,
                                  n);
    if ((int)size.len != n || (scales.len && (int)scales.len != n))
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must have %d numbers", n);
    for (int d = 0; d < t->ndim; d++) {
        sizes[d] = d < 2 ? t->sizes[d] : size.v.ints[d - 2];
        if (sizes[d] >= INT64_C(1) << 31 || t->sizes[d] >= INT64_C(1) << 31)
            return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "is too large");
        if (d >= 2 && (sizes[d] < 1 || t->sizes[d] < 1))
            return fac_error(
                FAC_RUNTIME_ERROR,
                "Input and output sizes should be greater than 0, but got %lld and %lld",
                (long long)t->sizes[d], (long long)sizes[d]);
    }
    return check_dtype(call, t);
}

/* Result 0 of these sizes, channels last if `t` is. */
static FacStatus
sized_channels(FacCall *call, const FacTensor *t, const FacDim *sizes)
{
    FacDim strides[FAC_MAX_NDIM];
    fac_strides_format(fac_format_of(t->ndim, t->sizes, t->strides), t->ndim, sizes, strides);
    return fac_out_strided(call, 0, (FacDType)t->dtype, t->device, t->ndim, sizes, strides);
}

/* (self, size, mode, align_corners, scales). */
FacStatus
fac_rule_interpolate(FacCall *call)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(resized(call, t, 1, sizes));
    return sized_channels(call, t, sizes);
}

/* (grad_output, input_size, mode, align_corners, scales). */
FacStatus
fac_rule_interpolate_backward(FacCall *call)
{
    const FacTensor *g = fac_arg_tensor(call, 0);
    FacValue *size = &FAC_ARG(call, 1);
    const FacValue whole = *size;
    FacDim sizes[FAC_MAX_NDIM];
    if ((int)whole.len != g->ndim || whole.len < 3 ||
        memcmp(whole.v.ints, g->sizes, 2 * sizeof *g->sizes))
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 1, "must be batch, channels and sizes");
    size->v.ints += 2; /* the spatial ones, for a moment */
    size->len -= 2;
    const FacStatus st = resized(call, g, 1, sizes);
    *size = whole;
    FAC_RETURN_IF_ERROR(st);
    return sized_channels(call, g, sizes);
}

/* (gates [n, 4h], cx [n, h]). */
FacStatus
fac_rule_lstm_cell(FacCall *call)
{
    const FacTensor *gates = fac_arg_tensor(call, 0), *cx = fac_arg_tensor(call, 1);
    if (gates->ndim != cx->ndim || gates->ndim == 0 ||
        gates->sizes[gates->ndim - 1] != fac_stride_product(4, cx->sizes[cx->ndim - 1]) ||
        gates->numel != 4 * cx->numel)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0,
                                  "must have four times the last size of 'cx'");
    FAC_RETURN_IF_ERROR(check_dtype(call, cx));
    FAC_RETURN_IF_ERROR(like(call, 0, cx));
    return like(call, 1, cx);
}

/* The products with the input [time, batch, gates h], args[i], weights [gates h, h] and the first state
 * [batch, h]; behind them `more` states. */
static FacStatus
check_recurrent(FacCall *call, int i, int gates, int more)
{
    const FacTensor *gx = fac_arg_tensor(call, i), *w = fac_arg_tensor(call, i + 1);
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    if (w->ndim != 2 || w->sizes[0] != fac_stride_product(gates, w->sizes[1]))
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i + 1, "must have the shape [%dh, h]",
                                  gates);
    if (gx->ndim != 3 || gx->sizes[0] == 0 || gx->sizes[2] != w->sizes[0])
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                  "must have the shape [time, batch, %dh]", gates);
    const FacDim state[2] = {gx->sizes[1], w->sizes[1]};
    for (int j = 1; j < 3 + more; j++) {
        if (j > 1) FAC_RETURN_IF_ERROR(fac_check_sizes(call, i + j, 2, state));
        if (fac_arg_tensor(call, i + j)->dtype != gx->dtype)
            return fac_argument_error(FAC_RUNTIME_ERROR, call, i + j,
                                      "must have the dtype of 'gx'");
    }
    return check_dtype(call, gx);
}

/* A bias of the recurrent products, args[i], for weights w; it may be absent. */
static FacStatus
check_bias(FacCall *call, int i, const FacTensor *w)
{
    const FacTensor *bias = fac_arg_tensor(call, i);
    if (bias && bias->dtype != w->dtype)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must have the dtype of 'gx'");
    return fac_check_sizes(call, i, 1, w->sizes);
}

/* Result i [steps, batch, size] of a layer: what its gradient reads besides the output is not rounded
 * to halves. */
static FacStatus
layer_out(FacCall *call, int i, int64_t steps, int64_t size, bool round)
{
    const FacTensor *gx = fac_arg_tensor(call, 0);
    const FacDim sizes[3] = {steps, gx->sizes[1], size};
    return fac_out(call, i, (FacDType)(round ? gx->dtype : call->compute), gx->device, 3, sizes);
}

/* (gx, w_hh, h0, c0, reverse, keep) -> (output, gates, cells). */
FacStatus
fac_rule_lstm_layer(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_recurrent(call, 0, 4, 1));
    const int64_t steps = fac_arg_tensor(call, 0)->sizes[0], h = fac_arg_tensor(call, 1)->sizes[1];
    FAC_RETURN_IF_ERROR(layer_out(call, 0, steps, h, true));
    FAC_RETURN_IF_ERROR(layer_out(call, 1, FAC_ARG(call, 5).v.i ? steps : 0, 4 * h, false));
    return layer_out(call, 2, steps, h, false);
}

/* (gx, w_hh, h0, b_hh, reverse, keep) -> (output, gates). */
FacStatus
fac_rule_gru_layer(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_recurrent(call, 0, 3, 0));
    FAC_RETURN_IF_ERROR(check_bias(call, 3, fac_arg_tensor(call, 1)));
    const int64_t steps = fac_arg_tensor(call, 0)->sizes[0], h = fac_arg_tensor(call, 1)->sizes[1];
    FAC_RETURN_IF_ERROR(layer_out(call, 0, steps, h, true));
    return layer_out(call, 1, FAC_ARG(call, 5).v.i ? steps : 0, 4 * h, false);
}

/* (gx, w_hh, h0, relu, reverse) -> output. */
FacStatus
fac_rule_rnn_layer(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_recurrent(call, 0, 1, 0));
    return layer_out(call, 0, fac_arg_tensor(call, 0)->sizes[0], fac_arg_tensor(call, 1)->sizes[1],
                     true);
}

/* Tensors [time, batch, size] of a layer whose products with the input are args[1], at args[i]. */
static FacStatus
check_steps(FacCall *call, const FacTensor *gx, int i, int64_t size)
{
    const FacDim sizes[3] = {gx->sizes[0], gx->sizes[1], size};
    return fac_check_sizes(call, i, 3, sizes);
}

/* (grad_output, grad_cells, gx, w_hh, h0, c0, output, gates, cells, reverse). */
FacStatus
fac_rule_lstm_layer_backward(FacCall *call)
{
    const FacTensor *gx = fac_arg_tensor(call, 2);
    FAC_RETURN_IF_ERROR(check_recurrent(call, 2, 4, 1));
    const int64_t h = fac_arg_tensor(call, 3)->sizes[1];
    FAC_RETURN_IF_ERROR(check_steps(call, gx, 0, h));
    FAC_RETURN_IF_ERROR(check_steps(call, gx, 1, h));
    FAC_RETURN_IF_ERROR(check_steps(call, gx, 6, h));
    FAC_RETURN_IF_ERROR(check_steps(call, gx, 7, 4 * h));
    FAC_RETURN_IF_ERROR(check_steps(call, gx, 8, h));
    for (int i = 0; i < 4; i++) FAC_RETURN_IF_ERROR(like(call, i, fac_arg_tensor(call, 2 + i)));
    return FAC_OK;
}

/* (grad_output, gx, w_hh, h0, b_hh, output, gates, reverse). */
FacStatus
fac_rule_gru_layer_backward(FacCall *call)
{
    const FacTensor *gx = fac_arg_tensor(call, 1), *w = fac_arg_tensor(call, 2);
    FAC_RETURN_IF_ERROR(check_recurrent(call, 1, 3, 0));
    FAC_RETURN_IF_ERROR(check_bias(call, 4, w));
    FAC_RETURN_IF_ERROR(check_steps(call, gx, 0, w->sizes[1]));
    FAC_RETURN_IF_ERROR(check_steps(call, gx, 5, w->sizes[1]));
    FAC_RETURN_IF_ERROR(check_steps(call, gx, 6, 4 * w->sizes[1]));
    for (int i = 0; i < 3; i++) FAC_RETURN_IF_ERROR(like(call, i, fac_arg_tensor(call, 1 + i)));
    return fac_out(call, 3, (FacDType)gx->dtype, gx->device, 1, w->sizes);
}

/* (grad_output, gx, w_hh, h0, output, relu, reverse). */
FacStatus
fac_rule_rnn_layer_backward(FacCall *call)
{
    const FacTensor *gx = fac_arg_tensor(call, 1), *w = fac_arg_tensor(call, 2);
    FAC_RETURN_IF_ERROR(check_recurrent(call, 1, 1, 0));
    FAC_RETURN_IF_ERROR(check_steps(call, gx, 0, w->sizes[1]));
    FAC_RETURN_IF_ERROR(check_steps(call, gx, 4, w->sizes[1]));
    for (int i = 0; i < 3; i++) FAC_RETURN_IF_ERROR(like(call, i, fac_arg_tensor(call, 1 + i)));
    return FAC_OK;
}

/* Is parameter i one of `names`, which are separated by blanks? */
static bool
named(const FacCall *call, int i, const char *names)
{
    const char *name = call->op->params[i].name;
    const size_t n = strlen(name);
    for (const char *at = strstr(names, name); at; at = strstr(at + 1, name))
        if ((at == names || at[-1] == ' ') && (at[n] == ' ' || !at[n])) return true;
    return false;
}

/* List i has, tensor by tensor, the shape, dtype and device of the parameters. */
static FacStatus
check_state(FacCall *call, int i, FacValue params)
{
    const FacValue list = FAC_ARG(call, i);
    for (uint32_t j = 0; j < list.len; j++) {
        const FacTensor *a = params.v.tensors[j], *b = list.v.tensors[j];
        if (a->ndim != b->ndim || a->dtype != b->dtype || !fac_device_equal(a->device, b->device) ||
            memcmp(a->sizes, b->sizes, a->ndim * sizeof *a->sizes))
            return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                      "has another shape, dtype or device at %u than 'self'", j);
    }
    return FAC_OK;
}

/* List i has single real numbers. */
static FacStatus
check_numbers(FacCall *call, int i)
{
    const FacValue list = FAC_ARG(call, i);
    for (uint32_t j = 0; j < list.len; j++) {
        const FacTensor *t = list.v.tensors[j];
        if (t->numel != 1 || FAC_IS_COMPLEX(t->dtype))
            return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                      "must hold single real numbers, has %lld at %u",
                                      (long long)t->numel, j);
    }
    return FAC_OK;
}

/* Lists of equal length, but that those of states which are not kept are empty. The results are the
 * first list itself. */
FacStatus
fac_rule_fused_step(FacCall *call)
{
    const FacValue params = FAC_ARG(call, 0);
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    for (int i = 0; i < call->op->nparams; i++) {
        const FacValue list = FAC_ARG(call, i);
        if (list.tag == FAC_V_TENSOR) FAC_RETURN_IF_ERROR(fac_check_one(call, i));
        if (list.tag != FAC_V_TENSORS) continue;
        if (list.len == 0 && named(call, i,
                                   "momentum_buffer_list max_exp_avg_sqs grad_avgs "
                                   "momentum_buffers"))
            continue;
        if (list.len != params.len)
            return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "has %u tensors, 'self' has %u",
                                      list.len, params.len);
        FAC_RETURN_IF_ERROR(named(call, i, "state_steps mu_products etas mus")
                                ? check_numbers(call, i)
                                : check_state(call, i, params));
    }
    for (uint32_t j = 0; j < params.len; j++)
        FAC_RETURN_IF_ERROR(check_dtype(call, params.v.tensors[j]));
    return FAC_OK;
}
