/* rules_conv.c - the rules of convolutions and pooling.
 *
 * A convolution has n spatial dims, n the length of `stride`; tensors are [batch, channels, spatial].
 * Pooling has n = len(kernel_size) and any number of dims before. `padding` may have 2 n numbers for
 * convolutions: before and after, dim by dim.
 */
#include "dispatch/rules.h"

#include <string.h>

/* Reads a list argument of n numbers, or one number for all. */
static FacStatus
list_arg(const FacCall *call, int i, int n, int64_t least, int64_t *out)
{
    const FacValue v = FAC_ARG(call, i);
    if ((int)v.len != n && v.len != 1)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must have 1 or %d numbers, not %u", n,
                                  v.len);
    for (int j = 0; j < n; j++) {
        out[j] = v.v.ints[v.len == 1 ? 0 : j];
        if (out[j] < least)
            return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must not be below %lld",
                                      (long long)least);
    }
    return FAC_OK;
}

/* --- convolution -------------------------------------------------------------------------------------- */

/* The arguments from `first` on are stride, padding, dilation, groups. */
typedef struct Window {
    int n;
    int64_t stride[FAC_MAX_NDIM], before[FAC_MAX_NDIM], after[FAC_MAX_NDIM];
    int64_t dilation[FAC_MAX_NDIM], groups;
} Window;

static FacStatus
window_args(const FacCall *call, int first, int ndim, Window *w)
{
    const FacValue padding = FAC_ARG(call, first + 1);
    w->n = ndim - 2;
    w->groups = FAC_ARG(call, first + 3).v.i;
    if (w->n < 1 || w->n > 3)
        return fac_error(FAC_RUNTIME_ERROR, "convolutions have 1 to 3 spatial dims, not %d", w->n);
    if (w->groups < 1)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, first + 3, "must be positive");
    FAC_RETURN_IF_ERROR(list_arg(call, first, w->n, 1, w->stride));
    FAC_RETURN_IF_ERROR(list_arg(call, first + 2, w->n, 1, w->dilation));
    if ((int)padding.len == 2 * w->n) {
        for (int i = 0; i < w->n; i++) {
            w->before[i] = padding.v.ints[2 * i];
            w->after[i] = padding.v.ints[2 * i + 1];
        }
        return FAC_OK;
    }
    FAC_RETURN_IF_ERROR(list_arg(call, first + 1, w->n, 0, w->before));
    memcpy(w->after, w->before, sizeof w->before);
    return FAC_OK;
}

/* Input [N, C, ...] and weight [O, C / groups, ...] fit; gives the sizes of the output. */
static FacStatus
conv_sizes(const Window *w, int ndim, const FacDim *input, const FacDim *weight, FacDim *out)
{
    FacText text = {.len = 0};
    fac_text_dims(&text, ndim, weight);
    if (weight[1] * w->groups != input[1]) {
        FacText shape = {.len = 0};
        fac_text_dims(&shape, ndim, input);
        return fac_error(FAC_RUNTIME_ERROR,
                         "Given groups=%lld, weight of size %s, expected input%s to have %lld "
                         "channels, but got %lld channels instead",
                         (long long)w->groups, text.at, shape.at, (long long)(weight[1] * w->groups),
                         (long long)input[1]);
    }
    if (weight[0] % w->groups)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Given groups=%lld, expected weight to be divisible by %lld at dimension 0, "
                         "but got weight of size %s instead",
                         (long long)w->groups, (long long)w->groups, text.at);
    out[0] = input[0];
    out[1] = weight[0];
    for (int i = 0; i < w->n; i++) {
        const FacDim padded = input[i + 2] + w->before[i] + w->after[i];
        const FacDim reach = w->dilation[i] * (weight[i + 2] - 1) + 1;
        if (padded < reach || weight[i + 2] < 1)
            return fac_error(FAC_RUNTIME_ERROR,
                             "Calculated padded input size per channel: %lld. Kernel size: %lld. "
                             "Kernel size can't be greater than actual input size",
                             (long long)padded, (long long)reach);
        out[i + 2] = (padded - reach) / w->stride[i] + 1;
    }
    return FAC_OK;
}

static FacStatus
check_pair(FacCall *call, const FacTensor *a, const FacTensor *b)
{
    const FacDType compute = (FacDType)fac_dtype_info[a->dtype].compute;
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    if (a->ndim != b->ndim)
        return fac_error(FAC_RUNTIME_ERROR, "'%s' has %d dimensions and '%s' %d; they must be equal",
                         call->op->params[0].name, a->ndim, call->op->params[1].name, b->ndim);
    if (a->dtype != b->dtype)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Input type (%s) and weight type (%s) should be the same",
                         fac_dtype_info[a->dtype].name, fac_dtype_info[b->dtype].name);
    if (a->dtype == FAC_DT_C32) return fac_not_implemented_for(call, FAC_DT_C32);
    call->compute = (int8_t)compute;
    return fac_check_dtypes(call, compute, call->op->dtypes);
}

/* (input, weight, bias, stride, padding, dilation, groups). */
FacStatus
fac_rule_conv(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 0), *weight = fac_arg_tensor(call, 1);
    const FacTensor *bias = fac_arg_tensor(call, 2);
    Window w;
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(check_pair(call, x, weight));
    FAC_RETURN_IF_ERROR(window_args(call, 3, x->ndim, &w));
    FAC_RETURN_IF_ERROR(conv_sizes(&w, x->ndim, x->sizes, weight->sizes, sizes));
    if (bias && (bias->ndim != 1 || bias->numel != weight->sizes[0] || bias->dtype != x->dtype))
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 2,
                                  "must be a vector with an element an output channel, of the dtype "
                                  "of the input");
    return fac_out(call, 0, (FacDType)x->dtype, x->device, x->ndim, sizes);
}

/* (a, b, size, stride, padding, dilation, groups): the result has the given size. The sizes of
 * input, weight and output must belong together; the output is grad_output. */
static FacStatus
conv_adjoint(FacCall *call, const FacDim *input, const FacDim *weight, const FacTensor *output)
{
    const FacTensor *a = fac_arg_tensor(call, 0);
    const FacValue size = FAC_ARG(call, 2);
    Window w;
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(check_pair(call, a, fac_arg_tensor(call, 1)));
    FAC_RETURN_IF_ERROR(window_args(call, 3, a->ndim, &w));
    if ((int)size.len != a->ndim)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 2, "must have %d numbers", a->ndim);
    FAC_RETURN_IF_ERROR(conv_sizes(&w, a->ndim, input, weight, sizes));
    if (memcmp(sizes, output->sizes, (size_t)a->ndim * sizeof *sizes)) {
        FacText text = {.len = 0};
        fac_text_dims(&text, a->ndim, sizes);
        return fac_error(FAC_RUNTIME_ERROR, "the gradient does not have the shape %s", text.at);
    }
    return fac_out(call, 0, (FacDType)a->dtype, a->device, a->ndim, size.v.ints);
}

FacStatus
fac_rule_conv_input(FacCall *call)
{
    return conv_adjoint(call, FAC_ARG(call, 2).v.ints, fac_arg_tensor(call, 1)->sizes,
                        fac_arg_tensor(call, 0));
}

FacStatus
fac_rule_conv_weight(FacCall *call)
{
    return conv_adjoint(call, fac_arg_tensor(call, 0)->sizes, FAC_ARG(call, 2).v.ints,
                        fac_arg_tensor(call, 1));
}

/* --- pooling ------------------------------------------------------------------------------------------ */

static FacStatus
check_pooled(FacCall *call, int n)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    const FacDType compute = (FacDType)fac_dtype_info[t->dtype].compute;
    if (t->ndim != n + 1 && t->ndim != n + 2)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0, "must have %d or %d dimensions, not %d",
                                  n + 1, n + 2, t->ndim);
    for (int i = t->ndim - n - 1; i < t->ndim; i++)
        if (t->sizes[i] == 0)
            return fac_argument_error(FAC_RUNTIME_ERROR, call, 0,
                                      "must have no empty dimension but the batch");
    call->compute = (int8_t)compute;
    return fac_check_dtypes(call, compute, call->op->dtypes);
}

/* kernel_size, stride, padding at args[1..3]; dilation at args[4] if `dilated`, else 1. */
static FacStatus
pool_sizes(FacCall *call, int ceil_arg, bool dilated, FacDim *sizes)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    const int n = (int)FAC_ARG(call, 1).len;
    int64_t kernel[FAC_MAX_NDIM], stride[FAC_MAX_NDIM], padding[FAC_MAX_NDIM], step[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(check_pooled(call, n));
    FAC_RETURN_IF_ERROR(list_arg(call, 1, n, 1, kernel));
    if (FAC_ARG(call, 2).len == 0)
        memcpy(stride, kernel, sizeof kernel);
    else
        FAC_RETURN_IF_ERROR(list_arg(call, 2, n, 1, stride));
    FAC_RETURN_IF_ERROR(list_arg(call, 3, n, 0, padding));
    for (int i = 0; i < n; i++) step[i] = 1;
    if (dilated) FAC_RETURN_IF_ERROR(list_arg(call, 4, n, 1, step));
    memcpy(sizes, t->sizes, (size_t)t->ndim * sizeof *sizes);
    for (int i = 0; i < n; i++) {
        FacDim *size = &sizes[t->ndim - n + i];
        const FacDim input = *size, free = input + 2 * padding[i] - step[i] * (kernel[i] - 1) - 1;
        const bool up = FAC_ARG(call, ceil_arg).v.i;
        if (2 * padding[i] > kernel[i])
            return fac_error(FAC_RUNTIME_ERROR,
                             "pad should be at most half of effective kernel size, but got pad=%lld, "
                             "kernel_size=%lld and dilation=%lld",
                             (long long)padding[i], (long long)kernel[i], (long long)step[i]);
        *size = free < 0 && !up ? 0 : (free + (up ? stride[i] - 1 : 0)) / stride[i] + 1;
        /* the last window must start inside the input or the padding before it */
        if (up && (*size - 1) * stride[i] >= input + padding[i]) --*size;
        if (*size < 1)
            return fac_error(FAC_RUNTIME_ERROR, "Output size is too small: a window of %lld does not "
                             "fit into %lld", (long long)kernel[i], (long long)input);
    }
    return FAC_OK;
}

FacStatus
fac_rule_max_pool(FacCall *call)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(pool_sizes(call, 5, true, sizes));
    FAC_RETURN_IF_ERROR(fac_out(call, 0, (FacDType)t->dtype, t->device, t->ndim, sizes));
    return fac_out(call, 1, FAC_DT_I64, t->device, t->ndim, sizes);
}

FacStatus
fac_rule_avg_pool(FacCall *call)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    if (FAC_ARG(call, 6).tag != FAC_V_NONE && FAC_ARG(call, 6).v.i == 0)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 6, "must not be zero");
    FAC_RETURN_IF_ERROR(pool_sizes(call, 4, false, sizes));
    return fac_out(call, 0, (FacDType)t->dtype, t->device, t->ndim, sizes);
}

static FacStatus
adaptive_sizes(FacCall *call, FacDim *sizes)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    const FacValue size = FAC_ARG(call, 1);
    if (t->ndim <= (int)size.len)
        return fac_error(FAC_VALUE_ERROR, "Input dimension should be at least %u", size.len + 1);
    FAC_RETURN_IF_ERROR(check_pooled(call, (int)size.len));
    memcpy(sizes, t->sizes, (size_t)t->ndim * sizeof *sizes);
    for (uint32_t i = 0; i < size.len; i++) {
        if (size.v.ints[i] < 0)
            return fac_argument_error(FAC_RUNTIME_ERROR, call, 1, "must not be negative");
        sizes[t->ndim - (int)size.len + (int)i] = size.v.ints[i];
    }
    return FAC_OK;
}

FacStatus
fac_rule_adaptive_avg_pool(FacCall *call)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(adaptive_sizes(call, sizes));
    return fac_out(call, 0, (FacDType)t->dtype, t->device, t->ndim, sizes);
}

FacStatus
fac_rule_adaptive_max_pool(FacCall *call)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(adaptive_sizes(call, sizes));
    FAC_RETURN_IF_ERROR(fac_out(call, 0, (FacDType)t->dtype, t->device, t->ndim, sizes));
    return fac_out(call, 1, FAC_DT_I64, t->device, t->ndim, sizes);
}

/* The gradient of something of the size that is given: an int[] named `size`. */
FacStatus
fac_rule_sized(FacCall *call)
{
    const FacTensor *grad = fac_arg_tensor(call, 0);
    const FacDType compute = (FacDType)fac_dtype_info[grad->dtype].compute;
    int i = 1;
    while (strcmp(call->op->params[i].name, "size")) i++;
    const FacValue size = FAC_ARG(call, i);
    call->compute = (int8_t)compute;
    FAC_RETURN_IF_ERROR(fac_check_dtypes(call, compute, call->op->dtypes));
    return fac_out(call, 0, (FacDType)grad->dtype, grad->device, (int)size.len, size.v.ints);
}
