/* composite_stft.c - transforms of windows over a signal, and the signal from them.
 */
#include "dispatch/chain.h"
#include "dispatch/rules.h"

#include <string.h>

/* What stft and istft share. */
typedef struct Windows {
    int64_t size, hop, length; /* of a transform; from one to the next; of the window */
    bool center, normalized;
    FacValue window; /* of `size` elements, or None: ones */
} Windows;

static int64_t
int_or(FacValue v, int64_t fallback)
{
    return v.tag == FAC_V_NONE ? fallback : v.v.i;
}

static bool
bool_or(FacValue v, bool fallback)
{
    return v.tag == FAC_V_NONE ? fallback : fac_v_is_true(v);
}

/* Elements put in front of and behind the last dim. The mode says which: those of the signal mirrored at its
 * ends, the outermost ones, those of the other end, or zeros. */
static FacStatus
pad_last(Chain *chain, const char *mode, int64_t before, int64_t after, FacValue *t)
{
    const FacTensor *from = t->v.t;
    const int64_t n = from->sizes[from->ndim - 1];
    const bool reflect = !strcmp(mode, "reflect"), circular = !strcmp(mode, "circular");
    FacValue index = FAC_VALUE_NONE, front, behind;
    FacTensor *positions = NULL;
    FacDim sizes[FAC_MAX_NDIM];
    FacStatus st = FAC_OK;
    if (!strcmp(mode, "constant")) {
        memcpy(sizes, from->sizes, (size_t)from->ndim * sizeof *sizes);
        sizes[from->ndim - 1] = before;
        FAC_TRY(chain_call(chain, FAC_OP_new_zeros, &front,
                           CHAIN_ARGS(*t, fac_v_ints(sizes, from->ndim))));
        sizes[from->ndim - 1] = after;
        FAC_TRY(chain_call(chain, FAC_OP_new_zeros, &behind,
                           CHAIN_ARGS(*t, fac_v_ints(sizes, from->ndim))));
        FacTensor *parts[] = {front.v.t, t->v.t, behind.v.t};
        return chain_call(chain, FAC_OP_cat, t, CHAIN_ARGS(fac_v_tensors(parts, 3), fac_v_int(-1)));
    }
    if (!reflect && !circular && strcmp(mode, "replicate"))
        return fac_error(FAC_NOT_IMPLEMENTED,
                         "Unrecognised padding mode %s; there are 'reflect', 'constant', "
                         "'replicate' and 'circular'",
                         mode);
    if ((reflect && (before >= n || after >= n)) || (circular && (before > n || after > n)))
        return fac_error(FAC_RUNTIME_ERROR,
                         "Padding size should be less than the corresponding input dimension, but "
                         "got: padding (%lld, %lld) at a dimension of size %lld",
                         (long long)before, (long long)after, (long long)n);
    const int64_t count = before + n + after;
    FAC_TRY(fac_tensor_new(FAC_DT_I64, (FacDevice){FAC_DEV_CPU, -1}, 1, &count, &positions));
    for (int64_t i = 0; i < count; i++) {
        int64_t at = i - before;
        if (reflect)
            at = at < 0 ? -at : at >= n ? 2 * (n - 1) - at : at;
        else if (circular)
            at = at < 0 ? at + n : at >= n ? at - n : at;
        else
            at = at < 0 ? 0 : at >= n ? n - 1 : at;
        ((int64_t *)fac_data(positions))[i] = at;
    }
    index = fac_v_tensor(positions);
    if (from->device.type != FAC_DEV_CPU)
        FAC_TRY(chain_call(
            chain, FAC_OP__to_copy, &index,
            CHAIN_ARGS(index, FAC_VALUE_NONE, FAC_VALUE_NONE, fac_v_device(from->device))));
    st = chain_call(chain, FAC_OP_index_select, t, CHAIN_ARGS(*t, fac_v_int(-1), index));
done:
    fac_tensor_release(positions);
    return st;
}

/* Arguments n_fft, hop_length, win_length, window at 1 to 4; the window is filled up to n_fft. */
static FacStatus
read_windows(Chain *chain, FacCall *call, FacDType real, Windows *w)
{
    w->size = call->args[1].v.i;
    w->hop = int_or(call->args[2], w->size / 4);
    w->length = int_or(call->args[3], w->size);
    w->window = call->args[4];
    if (w->hop <= 0)
        return fac_error(FAC_RUNTIME_ERROR, "expected hop_length > 0, but got hop_length=%lld",
                         (long long)w->hop);
    if (w->length <= 0 || w->length > w->size)
        return fac_error(FAC_RUNTIME_ERROR,
                         "expected 0 < win_length <= n_fft, but got win_length=%lld and n_fft=%lld",
                         (long long)w->length, (long long)w->size);
    const FacTensor *window = fac_v_as_tensor(w->window);
    if (window && (window->ndim != 1 || window->sizes[0] != w->length)) {
        FacText text = {.len = 0};
        fac_text_dims(&text, window->ndim, window->sizes);
        return fac_error(FAC_RUNTIME_ERROR,
                         "expected a 1D window tensor of size equal to win_length=%lld, but got "
                         "window with size %s",
                         (long long)w->length, text.at);
    }
    if (w->length == w->size) return FAC_OK;
    if (!window) {
        const FacDevice device = call->args[0].v.t->device;
        FAC_RETURN_IF_ERROR(chain_call(chain, FAC_OP_ones, &w->window,
                                       CHAIN_ARGS(fac_v_ints(&w->length, 1), fac_v_dtype(real),
                                                  FAC_VALUE_NONE, fac_v_device(device))));
    }
    const int64_t before = (w->size - w->length) / 2;
    return pad_last(chain, "constant", before, w->size - w->length - before, &w->window);
}

/* --- stft -------------------------------------------------------------------------------------------- */

static FacStatus
check_stft(FacCall *call, bool complex)
{
    const FacTensor *input = call->args[0].v.t, *window = fac_v_as_tensor(call->args[4]);
    const FacValue onesided = call->args[8];
    if (FAC_IS_INT(input->dtype))
        return fac_error(FAC_RUNTIME_ERROR,
                         "expected a tensor of floating point or complex values");
    if (input->ndim != 1 && input->ndim != 2)
        return fac_error(FAC_RUNTIME_ERROR, "expected a 1D or 2D tensor, not one of %d dimensions",
                         input->ndim);
    if (call->args[9].tag == FAC_V_NONE && !complex)
        return fac_error(FAC_RUNTIME_ERROR,
                         "stft requires the return_complex parameter be given for real inputs; "
                         "True gives a complex tensor, False its parts in a last dimension");
    if (complex && bool_or(onesided, false))
        return fac_error(FAC_RUNTIME_ERROR,
                         "Cannot have onesided output if window or input is complex");
    if (window && window->device.type != input->device.type)
        return fac_error(FAC_RUNTIME_ERROR, "stft input and window must be on the same device");
    return FAC_OK;
}

/* (input, n_fft, hop_length, win_length, window, center, pad_mode, normalized, onesided, return_complex,
 * align_to_window) */
FacStatus
fac_composite_stft(FacCall *call)
{
    FacValue t = call->args[0];
    const FacTensor *window = fac_v_as_tensor(call->args[4]);
    const bool complex = FAC_IS_COMPLEX(t.v.t->dtype) || (window && FAC_IS_COMPLEX(window->dtype));
    const bool center = fac_v_is_true(call->args[5]), align = bool_or(call->args[10], false);
    const bool single = t.v.t->ndim == 1;
    const int64_t last = 2;
    Windows w;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(check_stft(call, complex));
    if (center && call->args[10].tag != FAC_V_NONE)
        FAC_FAIL(FAC_RUNTIME_ERROR, "stft align_to_window should only be set when center = false");
    FAC_TRY(read_windows(&c, call, (FacDType)fac_dtype_info[t.v.t->dtype].real, &w));
    if (single) CHAIN(unsqueeze, &t, t, fac_v_int(0));
    if (center)
        FAC_TRY(pad_last(&c, call->args[6].v.s, w.size / 2, w.size / 2, &t));
    else if (align)
        FAC_TRY(pad_last(&c, "constant", (w.size - w.length) / 2, (w.size - w.length) / 2, &t));
    if (w.size <= 0 || w.size > t.v.t->sizes[1])
        FAC_FAIL(FAC_RUNTIME_ERROR, "expected 0 < n_fft <= %lld, but got n_fft=%lld",
                 (long long)t.v.t->sizes[1], (long long)w.size);
    CHAIN(unfold, &t, t, fac_v_int(-1), fac_v_int(w.size), fac_v_int(w.hop));
    if (w.window.tag != FAC_V_NONE) CHAIN(mul, &t, t, w.window);
    const FacValue norm = fac_v_int(bool_or(call->args[7], false));
    if (complex)
        CHAIN(_fft_c2c, &t, t, fac_v_ints(&last, 1), norm, fac_v_bool(true));
    else
        CHAIN(_fft_r2c, &t, t, fac_v_ints(&last, 1), norm,
              fac_v_bool(bool_or(call->args[8], true)));
    CHAIN(transpose, &t, t, fac_v_int(1), fac_v_int(2));
    if (single) CHAIN(squeeze_dim, &t, t, fac_v_int(0));
    if (!bool_or(call->args[9], true)) CHAIN(view_as_real, &t, t);
    st = chain_give(t, call->results);
done:
    chain_end(&c);
    return st;
}

/* --- istft ------------------------------------------------------------------------------------------- */

/* The shape, [batch,] frequencies, windows, fits the size of a transform. */
static FacStatus
check_istft(FacCall *call, bool onesided)
{
    const FacTensor *t = call->args[0].v.t, *window = fac_v_as_tensor(call->args[4]);
    const int64_t n = call->args[1].v.i;
    if (!FAC_IS_COMPLEX(t->dtype))
        return fac_error(FAC_RUNTIME_ERROR,
                         "istft requires a complex-valued input tensor matching the output from "
                         "stft with return_complex=True.");
    if (t->numel == 0) return fac_error(FAC_RUNTIME_ERROR, "input tensor cannot be empty.");
    if (t->ndim != 2 && t->ndim != 3)
        return fac_error(FAC_RUNTIME_ERROR, "expected a tensor with 2 or 3 dimensions, but got %d",
                         t->ndim);
    const int64_t have = t->sizes[t->ndim - 2], want = onesided ? n / 2 + 1 : n;
    if (have != want)
        return fac_error(
            FAC_RUNTIME_ERROR,
            "expected the frequency dimension (%dth to the last) of the input tensor to "
            "match n_fft%s when onesided=%s, but got %lld and n_fft=%lld",
            2, onesided ? " / 2 + 1" : "", onesided ? "True" : "False", (long long)have,
            (long long)n);
    const bool complex = fac_v_is_true(call->args[9]);
    if (complex && onesided)
        return fac_error(FAC_RUNTIME_ERROR,
                         "cannot have onesided output if return_complex is true");
    if (!complex && window && FAC_IS_COMPLEX(window->dtype))
        return fac_error(FAC_RUNTIME_ERROR, "complex windows are incompatible with "
                                            "return_complex=False");
    return FAC_OK;
}

/* windows (batch, count, size) added up where they lie in the signal. */
static FacStatus
add_up(Chain *chain, FacValue windows, const Windows *w, FacValue *out)
{
    const FacTensor *t = windows.v.t;
    FacDim sizes[2] = {t->sizes[0], 0};
    if (__builtin_mul_overflow(t->sizes[1] - 1, w->hop, &sizes[1]) ||
        __builtin_add_overflow(sizes[1], w->size, &sizes[1]))
        return fac_error(FAC_RUNTIME_ERROR, "hop_length=%lld is too large", (long long)w->hop);
    return chain_call(chain, FAC_OP_unfold_backward, out,
                      CHAIN_ARGS(windows, fac_v_ints(sizes, 2), fac_v_int(1), fac_v_int(w->size),
                                 fac_v_int(w->hop)));
}

/* The squares of the windows, added up: what the sum of windowed windows is too large by. */
static FacStatus
envelope(Chain *chain, int64_t count, const Windows *w, FacValue *out)
{
    FacValue square;
    const FacDim sizes[3] = {1, count, w->size};
    FAC_RETURN_IF_ERROR(chain_call(chain, FAC_OP_mul, &square, CHAIN_ARGS(w->window, w->window)));
    FAC_RETURN_IF_ERROR(
        chain_call(chain, FAC_OP_expand, &square, CHAIN_ARGS(square, fac_v_ints(sizes, 3))));
    return add_up(chain, square, w, out);
}

/* Nowhere is the sum zero, if it can be looked at: on meta and inside of vmap it cannot. */
static FacStatus
check_envelope(Chain *chain, FacValue sum)
{
    FacValue low, least;
    double c[2];
    if (fac_is_meta(sum.v.t) || sum.v.t->numel == 0 || (sum.v.t->flags & FAC_T_OVERRIDDEN_STORAGE))
        return FAC_OK;
    FAC_RETURN_IF_ERROR(chain_call(chain, FAC_OP_detach, &low, CHAIN_ARGS(sum)));
    FAC_RETURN_IF_ERROR(chain_call(chain, FAC_OP_abs, &low, CHAIN_ARGS(low)));
    FAC_RETURN_IF_ERROR(chain_call(chain, FAC_OP_min, &low, CHAIN_ARGS(low)));
    FAC_RETURN_IF_ERROR(fac_tensor_item(low.v.t, c, &least));
    if (fac_v_as_float(least) > 1e-11) return FAC_OK;
    return fac_error(FAC_RUNTIME_ERROR,
                     "window overlap add min: %g: the windows leave a part of the signal without "
                     "weight",
                     fac_v_as_float(least));
}

/* (input, n_fft, hop_length, win_length, window, center, normalized, onesided, length, return_complex) */
FacStatus
fac_composite_istft(FacCall *call)
{
    FacValue t = call->args[0], sum;
    const int64_t last = 2;
    const bool single = t.v.t->ndim == 2, complex = fac_v_is_true(call->args[9]);
    const bool onesided = bool_or(call->args[7], t.v.t->ndim > 1 && t.v.t->sizes[t.v.t->ndim - 2] !=
                                                                        call->args[1].v.i);
    const FacDType real = (FacDType)fac_dtype_info[t.v.t->dtype].real;
    Windows w;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(check_istft(call, onesided));
    FAC_TRY(read_windows(&c, call, real, &w));
    if (w.window.tag == FAC_V_NONE)
        CHAIN(ones, &w.window, fac_v_ints(&w.size, 1), fac_v_dtype(real), FAC_VALUE_NONE,
              fac_v_device(t.v.t->device));
    if (single) CHAIN(unsqueeze, &t, t, fac_v_int(0));
    CHAIN(transpose, &t, t, fac_v_int(1), fac_v_int(2));
    const int64_t count = t.v.t->sizes[1];
    const FacValue norm = fac_v_int(bool_or(call->args[6], false) ? 1 : 2);
    const FacValue dims = fac_v_ints(&last, 1);
    if (complex) {
        CHAIN(_fft_c2c, &t, t, dims, norm, fac_v_bool(false));
    } else {
        if (!onesided)
            CHAIN(slice, &t, t, fac_v_int(2), fac_v_int(0), fac_v_int(w.size / 2 + 1),
                  fac_v_int(1));
        CHAIN(_fft_c2r, &t, t, dims, norm, fac_v_int(w.size));
    }
    CHAIN(mul, &t, t, w.window);
    FAC_TRY(add_up(&c, t, &w, &t));
    FAC_TRY(envelope(&c, count, &w, &sum));
    const int64_t whole = t.v.t->sizes[1];
    const int64_t start = fac_v_is_true(call->args[5]) ? w.size / 2 : 0;
    const FacValue length = call->args[8];
    int64_t end = fac_v_is_true(call->args[5]) ? whole - w.size / 2 : whole;
    if (length.tag != FAC_V_NONE && __builtin_add_overflow(start, length.v.i, &end))
        FAC_FAIL(FAC_RUNTIME_ERROR, "length=%lld is too large", (long long)length.v.i);
    const int64_t lacking = end > whole ? end - whole : 0;
    end -= lacking;
    CHAIN(slice, &t, t, fac_v_int(1), fac_v_int(start), fac_v_int(end), fac_v_int(1));
    CHAIN(slice, &sum, sum, fac_v_int(1), fac_v_int(start), fac_v_int(end), fac_v_int(1));
    FAC_TRY(check_envelope(&c, sum));
    CHAIN(div, &t, t, sum);
    if (lacking) {
        FAC_TRY(fac_warn(FAC_WARN_USER,
                         "The length of signal is shorter than the length parameter. Result is "
                         "being padded with zeros in the tail. Please check your center and "
                         "hop_length settings."));
        FAC_TRY(pad_last(&c, "constant", 0, lacking, &t));
    }
    if (single) CHAIN(squeeze_dim, &t, t, fac_v_int(0));
    st = chain_give(t, call->results);
done:
    chain_end(&c);
    return st;
}
