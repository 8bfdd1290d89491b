/* composite_nn.c - layers whose shapes or loops need control flow: convolutions of any form around
 * _conv and _conv_input, maxima of windows, and instance_norm.
 */
#include "dispatch/rules.h"
#include "generated/ops.h"

#include <string.h>

static void
replace(FacTensor **t, FacTensor *by)
{
    fac_tensor_release(*t);
    *t = by;
}

/* --- convolution -------------------------------------------------------------------------------------- */

typedef struct Window {
    int n;                            /* spatial dims */
    FacDim padding[2 * FAC_MAX_NDIM]; /* before and after, dim by dim */
    FacValue stride, dilation;
    int64_t groups;
} Window;

static int64_t
number_at(FacValue list, int i)
{
    return list.v.ints[list.len == 1 ? 0 : i];
}

static FacStatus
check_list(FacValue list, int n, const char *what)
{
    for (uint32_t i = 0; i < list.len; i++)
        if (list.v.ints[i] <= -(INT64_C(1) << 31) || list.v.ints[i] >= INT64_C(1) << 31)
            return fac_error(FAC_RUNTIME_ERROR, "%s is too large", what);
    if ((int)list.len == n || list.len == 1) return FAC_OK;
    return fac_error(FAC_RUNTIME_ERROR,
                     "expected %s to be a single integer value or a list of %d "
                     "values to match the convolution dimensions, but got %u",
                     what, n, list.len);
}

/* `padding` as numbers or a word, for a kernel of the given sizes. */
static FacStatus
read_padding(Window *w, FacValue padding, const FacDim *kernel)
{
    const bool same = padding.tag == FAC_V_STR && strcmp(padding.v.s, "same") == 0;
    if (padding.tag == FAC_V_STR && !same && strcmp(padding.v.s, "valid"))
        return fac_error(FAC_RUNTIME_ERROR,
                         "Invalid padding string: '%s'; there are 'same' and 'valid'", padding.v.s);
    if (padding.tag != FAC_V_STR) FAC_RETURN_IF_ERROR(check_list(padding, w->n, "padding"));
    for (int i = 0; i < w->n; i++) {
        FacDim *side = &w->padding[2 * i];
        if (same && number_at(w->stride, i) != 1)
            return fac_error(FAC_RUNTIME_ERROR,
                             "padding='same' is not supported for strided convolutions");
        if (same) {
            const FacDim total = number_at(w->dilation, i) * (kernel[i] - 1);
            side[0] = total / 2;
            side[1] = total - total / 2;
        } else {
            side[0] = side[1] = padding.tag == FAC_V_STR ? 0 : number_at(padding, i);
            if (side[0] < 0)
                return fac_error(FAC_RUNTIME_ERROR, "negative padding is not supported");
        }
    }
    return FAC_OK;
}

/* The lists fit the weight; `x` is the input, a batch of one where it had none. */
static FacStatus
open_window(Window *w, FacTensor *input, FacTensor *weight, FacValue stride, FacValue padding,
            FacValue dilation, int64_t groups, FacTensor **x)
{
    *w = (Window){.n = weight->ndim - 2, .stride = stride, .dilation = dilation, .groups = groups};
    if (w->n < 1)
        return fac_error(FAC_RUNTIME_ERROR, "weight should have at least three dimensions");
    if (groups < 1 || groups >= INT64_C(1) << 31)
        return fac_error(FAC_RUNTIME_ERROR, "groups must be positive and small, not %lld",
                         (long long)groups);
    for (int i = 0; i < weight->ndim; i++)
        if (weight->sizes[i] >= INT64_C(1) << 31)
            return fac_error(FAC_RUNTIME_ERROR, "the weight is too large");
    if (input->ndim != w->n + 1 && input->ndim != w->n + 2) {
        FacText text = {.len = 0};
        fac_text_dims(&text, input->ndim, input->sizes);
        return fac_error(
            FAC_RUNTIME_ERROR,
            "Expected %dD (unbatched) or %dD (batched) input, but got input of size: %s", w->n + 1,
            w->n + 2, text.at);
    }
    FAC_RETURN_IF_ERROR(check_list(stride, w->n, "stride"));
    FAC_RETURN_IF_ERROR(check_list(dilation, w->n, "dilation"));
    FAC_RETURN_IF_ERROR(read_padding(w, padding, weight->sizes + 2));
    if (input->ndim == w->n + 1) return fac_op_unsqueeze(input, 0, x);
    *x = fac_tensor_retain(input);
    return FAC_OK;
}

/* Result 0, without the batch dimension where the input had none. */
static FacStatus
give_unbatched(FacCall *call, FacTensor *input, const Window *w, FacTensor *out)
{
    if (input->ndim == w->n + 2) {
        call->results[0] = fac_v_tensor(out);
        return FAC_OK;
    }
    FacTensor *single;
    const FacStatus st = fac_op_squeeze_dim(out, 0, &single);
    fac_tensor_release(out);
    if (!st) call->results[0] = fac_v_tensor(single);
    return st;
}

static FacStatus
convolve(FacCall *call, FacValue stride, FacValue padding, FacValue dilation, int64_t groups)
{
    FacTensor *input = fac_arg_tensor(call, 0), *weight = fac_arg_tensor(call, 1), *x, *out;
    Window w;
    FAC_RETURN_IF_ERROR(open_window(&w, input, weight, stride, padding, dilation, groups, &x));
    const FacStatus st = fac_op__conv(x, weight, fac_arg_tensor(call, 2), stride,
                                      fac_v_ints(w.padding, 2 * w.n), dilation, groups, &out);
    fac_tensor_release(x);
    FAC_RETURN_IF_ERROR(st);
    return give_unbatched(call, input, &w, out);
}

/* The size of the result of a transposed convolution. The extra size behind (output_padding) is size
 * that the padding does not cut off. */
static FacStatus
transposed_size(Window *w, const FacTensor *x, const FacTensor *weight, FacValue extra,
                FacDim *sizes)
{
    FAC_RETURN_IF_ERROR(check_list(extra, w->n, "output_padding"));
    sizes[0] = x->sizes[0];
    sizes[1] = weight->sizes[1] * w->groups;
    for (int i = 0; i < w->n; i++) {
        const FacDim more = number_at(extra, i), stride = number_at(w->stride, i);
        const FacDim dilation = number_at(w->dilation, i);
        if (more < 0 || (more >= stride && more >= dilation))
            return fac_error(
                FAC_RUNTIME_ERROR,
                "output padding must be smaller than either stride or dilation, but got "
                "output_padding %lld, stride %lld, dilation %lld",
                (long long)more, (long long)stride, (long long)dilation);
        w->padding[2 * i + 1] -= more;
        if (x->sizes[i + 2] >= INT64_C(1) << 31)
            return fac_error(FAC_RUNTIME_ERROR, "the input is too large");
        sizes[i + 2] = (x->sizes[i + 2] - 1) * stride - w->padding[2 * i] - w->padding[2 * i + 1] +
                       dilation * (weight->sizes[i + 2] - 1) + 1;
    }
    return FAC_OK;
}

static FacStatus
convolve_transposed(FacCall *call, FacValue stride, FacValue padding, FacValue dilation,
                    FacValue extra, int64_t groups)
{
    FacTensor *input = fac_arg_tensor(call, 0), *weight = fac_arg_tensor(call, 1);
    FacTensor *x = NULL, *out = NULL, *shifted;
    FacDim sizes[FAC_MAX_NDIM];
    Window w;
    FacStatus st = FAC_OK;
    FAC_TRY(open_window(&w, input, weight, stride, padding, dilation, groups, &x));
    FAC_TRY(transposed_size(&w, x, weight, extra, sizes));
    FAC_TRY(fac_op__conv_input(x, weight, fac_v_ints(sizes, w.n + 2), stride,
                               fac_v_ints(w.padding, 2 * w.n), dilation, groups, &out));
    if (fac_arg_tensor(call, 2)) {
        FAC_TRY(fac_op__channel_shifted(out, fac_arg_tensor(call, 2), &shifted));
        replace(&out, shifted);
    }
    st = give_unbatched(call, input, &w, out);
    out = NULL;
done:
    fac_tensor_release(x);
    fac_tensor_release(out);
    return st;
}

/* (input, weight, bias, stride, padding, dilation, groups). */
FacStatus
fac_composite_conv(FacCall *call)
{
    return convolve(call, FAC_ARG(call, 3), FAC_ARG(call, 4), FAC_ARG(call, 5),
                    FAC_ARG(call, 6).v.i);
}

/* (input, weight, bias, stride, padding, output_padding, groups, dilation). */
FacStatus
fac_composite_conv_transpose(FacCall *call)
{
    return convolve_transposed(call, FAC_ARG(call, 3), FAC_ARG(call, 4), FAC_ARG(call, 7),
                               FAC_ARG(call, 5), FAC_ARG(call, 6).v.i);
}

/* (input, weight, bias, stride, padding, dilation, transposed, output_padding, groups). */
FacStatus
fac_composite_convolution(FacCall *call)
{
    const FacValue stride = FAC_ARG(call, 3), padding = FAC_ARG(call, 4);
    const FacValue dilation = FAC_ARG(call, 5);
    const int64_t groups = FAC_ARG(call, 8).v.i;
    if (!FAC_ARG(call, 6).v.i) return convolve(call, stride, padding, dilation, groups);
    return convolve_transposed(call, stride, padding, dilation, FAC_ARG(call, 7), groups);
}

/* --- instance_norm -------------------------------------------------------------------------------------- */

/* running = (1 - momentum) running + momentum mean over the batch of `value`, outside the graph. */
static FacStatus
track(FacTensor *running, FacTensor *value, double momentum)
{
    const FacDim first = 0;
    FacTensor *mean = NULL;
    const bool recording = fac_set_grad_enabled(false);
    FacStatus st = FAC_OK;
    FAC_TRY(fac_op_mean_dim(value, fac_v_ints(&first, 1), false, (FacDType)running->dtype, &mean));
    FAC_TRY(fac_op_mul_(fac_v_tensor(running), fac_v_float(1 - momentum)));
    FAC_TRY(fac_op_add_(fac_v_tensor(running), fac_v_tensor(mean), fac_v_float(momentum)));
done:
    fac_set_grad_enabled(recording);
    fac_tensor_release(mean);
    return st;
}

static FacStatus
track_both(FacTensor *input, FacTensor *mean, FacTensor *var, double momentum)
{
    FacDim dims[FAC_MAX_NDIM];
    FacTensor *now = NULL;
    FacStatus st = FAC_OK;
    for (int i = 2; i < input->ndim; i++) dims[i - 2] = i;
    const FacValue spatial = fac_v_ints(dims, input->ndim - 2);
    const bool recording = fac_set_grad_enabled(false);
    if (mean) {
        FAC_TRY(fac_op_mean_dim(input, spatial, false, FAC_DT_NONE, &now));
        FAC_TRY(track(mean, now, momentum));
    }
    if (var) {
        replace(&now, NULL);
        FAC_TRY(fac_op_var_correction(input, spatial, fac_v_int(1), false, &now));
        FAC_TRY(track(var, now, momentum));
    }
done:
    fac_set_grad_enabled(recording);
    fac_tensor_release(now);
    return st;
}

/* (input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn). */
FacStatus
fac_composite_instance_norm(FacCall *call)
{
    FacTensor *input = fac_arg_tensor(call, 0), *weight = fac_arg_tensor(call, 1);
    FacTensor *bias = fac_arg_tensor(call, 2), *mean = fac_arg_tensor(call, 3);
    FacTensor *var = fac_arg_tensor(call, 4), *out;
    const double momentum = fac_v_as_float(FAC_ARG(call, 6)),
                 eps = fac_v_as_float(FAC_ARG(call, 7));
    const bool own = FAC_ARG(call, 5).v.i;
    if (!own && (!mean || !var))
        return fac_error(FAC_RUNTIME_ERROR,
                         "Expected running_mean and running_var to be defined when "
                         "use_input_stats is false");
    if (input->ndim < 2)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0, "must have at least 2 dimensions");
    if (own) {
        FAC_RETURN_IF_ERROR(
            fac_op_group_norm(input, input->sizes[1], weight, bias, eps, true, &out));
        const FacStatus st = track_both(input, mean, var, momentum);
        if (st) {
            fac_tensor_release(out);
            return st;
        }
    } else {
        FAC_RETURN_IF_ERROR(
            fac_op_batch_norm(input, weight, bias, mean, var, false, momentum, eps, true, &out));
    }
    call->results[0] = fac_v_tensor(out);
    return FAC_OK;
}

/* --- maxima of windows -------------------------------------------------------------------------------- */

/* The places of the maxima are wanted by the gradient alone. */
FacStatus
fac_composite_max_pool(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *out, *indices = NULL;
    const FacValue *size = &FAC_ARG(call, 1); /* then stride, padding, dilation, ceil_mode */
    if (fac_is_differentiated(self))
        FAC_RETURN_IF_ERROR(fac_op__max_pool(self, size[0], size[1], size[2], size[3], size[4].v.i,
                                             &out, &indices));
    else
        FAC_RETURN_IF_ERROR(
            fac_op__max_pool_values(self, size[0], size[1], size[2], size[3], size[4].v.i, &out));
    fac_tensor_release(indices);
    call->results[0] = fac_v_tensor(out);
    return FAC_OK;
}
