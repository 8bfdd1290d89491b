/* rules_conv.c - the rules of convolutions and pooling.
 *
 * A convolution has n spatial dims, n the length of `stride`; tensors are [batch, channels, spatial].
 * Pooling has n = len(kernel_size) and any number of dims before. `padding` may have 2 n numbers for
 * convolutions: before and after, dim by dim.
 */
#include "dispatch/rules.h"

#include <string.h>

/* Numbers below it multiply and add up without an overflow. */
static const int64_t number_limit = INT64_C(1) << 31, size_limit = INT64_C(1) << 61;

/* Reads a list argument of n numbers, or one number for all. */
static FacStatus
list_arg(const FacCall *call, int i, int n, int64_t least, int64_t *out)
{
    const FacValue v = FAC_ARG(call, i);
    if ((int)v.len != n && v.len != 1)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must have 1 or %d numbers, not %u",
                                  n, v.len);
    for (int j = 0; j < n; j++) {
        out[j] = v.v.ints[v.len == 1 ? 0 : j];
        if (out[j] < least)
            return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must not be below %lld",
                                      (long long)least);
        if (out[j] >= number_limit)
            return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must be below %lld",
                                      (long long)number_limit);
    }
    return FAC_OK;
}

/* Makes result i of the given sizes, in the memory format of t if that has as many dims. */
static FacStatus
out_like(FacCall *call, int i, FacDType dtype, const FacTensor *t, int ndim, const FacDim *sizes)
{
    FacDim strides[FAC_MAX_NDIM];
    const FacMemoryFormat format =
        ndim == t->ndim ? fac_format_of(ndim, t->sizes, t->strides) : FAC_CONTIGUOUS;
    fac_strides_format(format, ndim, sizes, strides);
    return fac_out_strided(call, i, dtype, t->device, ndim, sizes, strides);
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
    FAC_RETURN_IF_ERROR(fac_check_range(call, first + 3, 1, number_limit - 1));
    FAC_RETURN_IF_ERROR(list_arg(call, first, w->n, 1, w->stride));
    FAC_RETURN_IF_ERROR(list_arg(call, first + 2, w->n, 1, w->dilation));
    if ((int)padding.len == 2 * w->n) {
        for (int i = 0; i < w->n; i++) {
            w->before[i] = padding.v.ints[2 * i];
            w->after[i] = padding.v.ints[2 * i + 1];
            if (w->before[i] <= -number_limit || w->before[i] >= number_limit ||
                w->after[i] <= -number_limit || w->after[i] >= number_limit)
                return fac_argument_error(FAC_RUNTIME_ERROR, call, first + 1, "is too large");
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
    for (int i = 0; i < ndim; i++)
        if (weight[i] < 0 || weight[i] >= number_limit || input[i] < 0 || input[i] >= size_limit)
            return fac_error(FAC_RUNTIME_ERROR,
                             "sizes must not be negative or too large, got %s for "
                             "the weight",
                             text.at);
    if (weight[1] * w->groups != input[1]) {
        FacText shape = {.len = 0};
        fac_text_dims(&shape, ndim, input);
        return fac_error(FAC_RUNTIME_ERROR,
                         "Given groups=%lld, weight of size %s, expected input%s to have %lld "
                         "channels, but got %lld channels instead",
                         (long long)w->groups, text.at, shape.at,
                         (long long)(weight[1] * w->groups), (long long)input[1]);
    }
    if (weight[0] % w->groups)
        return fac_error(
            FAC_RUNTIME_ERROR,
            "Given groups=%lld, expected weight to be divisible by %lld at dimension 0, "
            "but got weight of size %s instead",
            (long long)w->groups, (long long)w->groups, text.at);
    out[0] = input[0];
    out[1] = weight[0];
    int64_t room = input[0] > 1 ? input[0] : 1; /* elements of the padded input */
    bool counts = !__builtin_mul_overflow(room, input[1] > 1 ? input[1] : 1, &room);
    for (int i = 0; i < w->n; i++) {
        const FacDim padded = input[i + 2] + w->before[i] + w->after[i];
        counts = counts && !__builtin_mul_overflow(room, padded > 1 ? padded : 1, &room);
        const FacDim reach = w->dilation[i] * (weight[i + 2] - 1) + 1;
        if (padded < reach || weight[i + 2] < 1)
            return fac_error(FAC_RUNTIME_ERROR,
                             "Calculated padded input size per channel: %lld. Kernel size: %lld. "
                             "Kernel size can't be greater than actual input size",
                             (long long)padded, (long long)reach);
        out[i + 2] = (padded - reach) / w->stride[i] + 1;
    }
    if (!counts || room >= size_limit / 16)
        return fac_error(FAC_RUNTIME_ERROR, "the padded input is too large");
    return FAC_OK;
}

static FacStatus
check_pair(FacCall *call, const FacTensor *a, const FacTensor *b)
{
    const FacDType compute = (FacDType)fac_dtype_info[a->dtype].compute;
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    if (a->ndim != b->ndim)
        return fac_error(FAC_RUNTIME_ERROR,
                         "'%s' has %d dimensions and '%s' %d; they must be equal",
                         call->op->params[0].name, a->ndim, call->op->params[1].name, b->ndim);
    if (a->dtype != b->dtype)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Input type (%s) and weight type (%s) should be the same",
                         fac_dtype_info[a->dtype].name, fac_dtype_info[b->dtype].name);
    if (a->dtype == FAC_DT_C32) return fac_not_implemented_for(call, FAC_DT_C32);
    call->compute = (int8_t)compute;
    return fac_check_dtypes(call, compute, call->op->dtypes);
}

/* The one whose channels come last, if any. */
static const FacTensor *
last_of(const FacTensor *a, const FacTensor *b)
{
    return fac_format_of(a->ndim, a->sizes, a->strides) != FAC_CONTIGUOUS ? a : b;
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
        return fac_argument_error(
            FAC_RUNTIME_ERROR, call, 2,
            "must be a vector with an element an output channel, of the dtype "
            "of the input");
    return out_like(call, 0, (FacDType)x->dtype, last_of(x, weight), x->ndim, sizes);
}

/* (a, b, size, stride, padding, dilation, groups): the result has the given size, and the memory
 * order of the operands if `in_order`. The sizes of input, weight and output must belong together; the
 * output is grad_output. */
static FacStatus
conv_adjoint(FacCall *call, const FacDim *input, const FacDim *weight, const FacTensor *output,
             bool in_order)
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
    if (!in_order) return fac_out(call, 0, (FacDType)a->dtype, a->device, a->ndim, size.v.ints);
    return out_like(call, 0, (FacDType)a->dtype, last_of(a, fac_arg_tensor(call, 1)), a->ndim,
                    size.v.ints);
}

FacStatus
fac_rule_conv_input(FacCall *call)
{
    return conv_adjoint(call, FAC_ARG(call, 2).v.ints, fac_arg_tensor(call, 1)->sizes,
                        fac_arg_tensor(call, 0), true);
}

FacStatus
fac_rule_conv_weight(FacCall *call)
{
    return conv_adjoint(call, fac_arg_tensor(call, 0)->sizes, FAC_ARG(call, 2).v.ints,
                        fac_arg_tensor(call, 1), false);
}

/* --- pooling ------------------------------------------------------------------------------------------ */

/* args[i] is what is pooled over the last n dims, or its sizes, `in`. */
static FacStatus
check_pooled(FacCall *call, int i, int n, int ndim, const FacDim *in)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    const FacDType compute = (FacDType)fac_dtype_info[t->dtype].compute;
    if (n < 1 || n > 3) return fac_error(FAC_RUNTIME_ERROR, "1 to 3 dims are pooled, not %d", n);
    if (ndim != n + 1 && ndim != n + 2)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                  "must have %d or %d dimensions, not %d", n + 1, n + 2, ndim);
    for (int d = ndim - n - 1; d < ndim; d++)
        if (in[d] < 1 || in[d] >= size_limit)
            return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                      "must have no empty dimension but the batch");
    call->compute = (int8_t)compute;
    return fac_check_dtypes(call, compute, call->op->dtypes);
}

/* Windows that start in the padding before the input reach into it, whatever the dilation. */
static bool
reaches_input(FacDim size, FacDim input, int64_t stride, int64_t padding, int64_t step)
{
    for (FacDim o = 0; step > input && o < size && o * stride < padding; o++) {
        const int64_t before = padding - o * stride;
        if ((before + step - 1) / step * step - before >= input) return false;
    }
    return true;
}

/* The sizes of what pools something of sizes `in`: kernel_size, stride, padding stand from
 * args[first] on, the dilation behind them if `dilated`, else it is 1. */
static FacStatus
pool_sizes(FacCall *call, int ndim, const FacDim *in, int first, int ceil_arg, bool dilated,
           FacDim *sizes)
{
    const int n = (int)FAC_ARG(call, first).len;
    int64_t kernel[3], stride[3], padding[3], step[3] = {1, 1, 1}, window = 1;
    FAC_RETURN_IF_ERROR(check_pooled(call, first - 1, n, ndim, in));
    FAC_RETURN_IF_ERROR(list_arg(call, first, n, 1, kernel));
    if (FAC_ARG(call, first + 1).len == 0)
        memcpy(stride, kernel, sizeof kernel);
    else
        FAC_RETURN_IF_ERROR(list_arg(call, first + 1, n, 1, stride));
    FAC_RETURN_IF_ERROR(list_arg(call, first + 2, n, 0, padding));
    if (dilated) FAC_RETURN_IF_ERROR(list_arg(call, first + 3, n, 1, step));
    memcpy(sizes, in, (size_t)ndim * sizeof *sizes);
    for (int i = 0; i < n; i++) {
        FacDim *size = &sizes[ndim - n + i];
        const FacDim input = *size, free = input + 2 * padding[i] - step[i] * (kernel[i] - 1) - 1;
        const bool up = FAC_ARG(call, ceil_arg).v.i;
        if (__builtin_mul_overflow(window, kernel[i], &window))
            return fac_argument_error(FAC_RUNTIME_ERROR, call, first, "is too large");
        if (2 * padding[i] > kernel[i])
            return fac_error(
                FAC_RUNTIME_ERROR,
                "pad should be at most half of effective kernel size, but got pad=%lld, "
                "kernel_size=%lld and dilation=%lld",
                (long long)padding[i], (long long)kernel[i], (long long)step[i]);
        *size = free < 0 && !up ? 0 : (free + (up ? stride[i] - 1 : 0)) / stride[i] + 1;
        /* the last window must start inside the input or the padding before it */
        if (up && (*size - 1) * stride[i] >= input + padding[i]) --*size;
        if (*size < 1)
            return fac_error(FAC_RUNTIME_ERROR,
                             "Output size is too small: a window of %lld does not "
                             "fit into %lld",
                             (long long)kernel[i], (long long)input);
        if (!reaches_input(*size, input, stride[i], padding[i], step[i]))
            return fac_error(FAC_RUNTIME_ERROR,
                             "a window with dilation %lld steps over the input of "
                             "size %lld",
                             (long long)step[i], (long long)input);
    }
    return FAC_OK;
}

FacStatus
fac_rule_max_pool_values(FacCall *call)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(pool_sizes(call, t->ndim, t->sizes, 1, 5, true, sizes));
    return out_like(call, 0, (FacDType)t->dtype, t, t->ndim, sizes);
}

FacStatus
fac_rule_max_pool(FacCall *call)
{
    FAC_RETURN_IF_ERROR(fac_rule_max_pool_values(call));
    const FacTensor *t = fac_arg_tensor(call, 0), *values = fac_result_tensor(call, 0);
    return out_like(call, 1, FAC_DT_I64, t, t->ndim, values->sizes);
}

/* divisor_override at args[i] is not zero. */
static FacStatus
check_divisor(const FacCall *call, int i)
{
    const FacValue divisor = FAC_ARG(call, i);
    if (divisor.tag == FAC_V_NONE || divisor.v.i != 0) return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must not be zero");
}

FacStatus
fac_rule_avg_pool(FacCall *call)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(check_divisor(call, 6));
    FAC_RETURN_IF_ERROR(pool_sizes(call, t->ndim, t->sizes, 1, 4, false, sizes));
    return out_like(call, 0, (FacDType)t->dtype, t, t->ndim, sizes);
}

static FacStatus
adaptive_sizes(FacCall *call, FacDim *sizes)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    const FacValue size = FAC_ARG(call, 1);
    if (t->ndim <= (int)size.len)
        return fac_error(FAC_VALUE_ERROR, "Input dimension should be at least %u", size.len + 1);
    FAC_RETURN_IF_ERROR(check_pooled(call, 0, (int)size.len, t->ndim, t->sizes));
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
    return out_like(call, 0, (FacDType)t->dtype, t, t->ndim, sizes);
}

FacStatus
fac_rule_adaptive_max_pool(FacCall *call)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(adaptive_sizes(call, sizes));
    FAC_RETURN_IF_ERROR(out_like(call, 0, (FacDType)t->dtype, t, t->ndim, sizes));
    return out_like(call, 1, FAC_DT_I64, t, t->ndim, sizes);
}

/* The gradient of something of the sizes at args[size_arg], pooled over its last n dims. */
static FacStatus
pooled_from(FacCall *call, int size_arg, int64_t n)
{
    const FacTensor *grad = fac_arg_tensor(call, 0);
    const FacValue size = FAC_ARG(call, size_arg);
    const int ndim = grad->ndim, most = n < 1 || n > 3 ? 0 : (int)n;
    FAC_RETURN_IF_ERROR(check_pooled(call, size_arg, most, (int)size.len, size.v.ints));
    if (ndim != (int)size.len ||
        memcmp(grad->sizes, size.v.ints, (size_t)(ndim - most) * sizeof *grad->sizes))
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0,
                                  "must have the dims of 'size' but for the last %d", most);
    return out_like(call, 0, (FacDType)grad->dtype, grad, (int)size.len, size.v.ints);
}

/* (grad_output, size, n). */
FacStatus
fac_rule_adaptive_pool_backward(FacCall *call)
{
    return pooled_from(call, 1, FAC_ARG(call, 2).v.i);
}

/* (grad_output, indices, size, n). */
FacStatus
fac_rule_max_pool_backward(FacCall *call)
{
    const FacTensor *grad = fac_arg_tensor(call, 0), *indices = fac_arg_tensor(call, 1);
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 1, grad->ndim, grad->sizes));
    if (indices->dtype != FAC_DT_I64)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 1, "must be int64, not %s",
                                  fac_dtype_info[indices->dtype].name);
    return pooled_from(call, 2, FAC_ARG(call, 3).v.i);
}

/* (grad_output, size, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor). */
FacStatus
fac_rule_avg_pool_backward(FacCall *call)
{
    const FacValue size = FAC_ARG(call, 1);
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(check_divisor(call, 7));
    FAC_RETURN_IF_ERROR(pool_sizes(call, (int)size.len, size.v.ints, 2, 5, false, sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 0, (int)size.len, sizes));
    return pooled_from(call, 1, FAC_ARG(call, 2).len);
}
