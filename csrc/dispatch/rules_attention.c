/* rules_attention.c - the rules of attention: [batch..., rows, columns], of which the last of the batch
 * dims are heads. Results and gradients are laid out as the queries or keys are: heads side by side in a
 * row where they are so there, so that joining them again moves nothing.
 */
#include "dispatch/rules.h"

#include <string.h>

/* Result i with the sizes of `like` but for the last one, and its order of heads and rows. */
static FacStatus
like_heads(FacCall *call, int i, const FacTensor *like, FacDim columns)
{
    const int n = like->ndim;
    FacDim sizes[FAC_MAX_NDIM], strides[FAC_MAX_NDIM];
    memcpy(sizes, like->sizes, (size_t)n * sizeof *sizes);
    sizes[n - 1] = columns;
    FacDim step = 1;
    for (int d = n - 1; d >= 0; d--) {
        strides[d] = step;
        if (sizes[d] > 1) step *= sizes[d];
    }
    if (n >= 3 && sizes[n - 3] > 1 && sizes[n - 2] > 1 &&
        like->strides[n - 3] < like->strides[n - 2]) {
        strides[n - 3] = columns > 1 ? columns : 1;
        strides[n - 2] = strides[n - 3] * sizes[n - 3];
    }
    return fac_out_strided(call, i, (FacDType)like->dtype, like->device, n, sizes, strides);
}

static FacStatus
wrong_shape(FacCall *call, int i, const char *what)
{
    const FacTensor *t = fac_arg_tensor(call, i);
    FacText text = {.len = 0};
    fac_text_dims(&text, t->ndim, t->sizes);
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "%s, but has the size %s", what, text.at);
}

/* query, key and value at args[first] on; mask and keep at args[option] on. */
static FacStatus
check_attention(FacCall *call, int first, int option)
{
    const FacTensor *q = fac_arg_tensor(call, first), *k = fac_arg_tensor(call, first + 1);
    const FacTensor *v = fac_arg_tensor(call, first + 2), *mask = fac_arg_tensor(call, option);
    const FacTensor *keep = fac_arg_tensor(call, option + 1);
    const int n = q->ndim;
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    if (n < 2) return wrong_shape(call, first, "must have at least 2 dimensions");
    for (int i = 1; i < 3; i++) {
        const FacTensor *t = i == 1 ? k : v;
        bool fits = t->ndim == n && t->dtype == q->dtype;
        for (int d = 0; fits && d < n - 3; d++) fits = t->sizes[d] == q->sizes[d];
        if (fits && n >= 3)
            fits = t->sizes[n - 3] == k->sizes[n - 3] &&
                   (t->sizes[n - 3] ? q->sizes[n - 3] % t->sizes[n - 3] == 0 : !q->sizes[n - 3]);
        if (!fits || t->sizes[n - 2] != k->sizes[n - 2] ||
            (i == 1 && t->sizes[n - 1] != q->sizes[n - 1]))
            return wrong_shape(call, first + i, "must fit 'query' in batch, heads and dtype");
    }
    FacDim scores[FAC_MAX_NDIM];
    memcpy(scores, q->sizes, (size_t)n * sizeof *scores);
    scores[n - 1] = k->sizes[n - 2];
    if (mask) {
        const int missing = n - mask->ndim;
        bool fits = missing >= 0;
        for (int d = 0; fits && d < mask->ndim; d++)
            fits = mask->sizes[d] == 1 || mask->sizes[d] == scores[d + missing];
        if (!fits) return wrong_shape(call, option, "must broadcast to the scores");
        if (mask->dtype != FAC_DT_BOOL && !FAC_IS_FLOAT(mask->dtype))
            return fac_argument_error(FAC_RUNTIME_ERROR, call, option, "must be bool or float");
    }
    if (keep) {
        scores[n - 1] = (k->sizes[n - 2] + 7) / 8;
        FAC_RETURN_IF_ERROR(fac_check_sizes(call, option + 1, n, scores));
    }
    call->compute = fac_dtype_info[q->dtype].compute;
    return fac_check_dtypes(call, (FacDType)call->compute, call->op->dtypes);
}

/* (query, key, value, mask, keep, dropout_p, is_causal, scale) -> (result, lse). */
FacStatus
fac_rule_flash_attention(FacCall *call)
{
    const FacTensor *q = fac_arg_tensor(call, 0), *v = fac_arg_tensor(call, 2);
    FAC_RETURN_IF_ERROR(check_attention(call, 0, 3));
    FAC_RETURN_IF_ERROR(like_heads(call, 0, q, v->sizes[v->ndim - 1]));
    return fac_out(call, 1, (FacDType)call->compute, q->device, q->ndim - 1, q->sizes);
}

/* (grad, query, key, value, result, lse, mask, keep, dropout_p, is_causal, scale). */
FacStatus
fac_rule_flash_attention_backward(FacCall *call)
{
    const FacTensor *q = fac_arg_tensor(call, 1), *v = fac_arg_tensor(call, 3);
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(check_attention(call, 1, 6));
    memcpy(sizes, q->sizes, (size_t)q->ndim * sizeof *sizes);
    sizes[q->ndim - 1] = v->sizes[v->ndim - 1];
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 0, q->ndim, sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 4, q->ndim, sizes));
    FAC_RETURN_IF_ERROR(fac_check_sizes(call, 5, q->ndim - 1, sizes));
    for (int i = 0; i < 3; i++) {
        const FacTensor *t = fac_arg_tensor(call, 1 + i);
        FAC_RETURN_IF_ERROR(like_heads(call, i, t, t->sizes[t->ndim - 1]));
    }
    return FAC_OK;
}

/* (query, key, p). */
FacStatus
fac_rule_attention_keep(FacCall *call)
{
    const FacTensor *q = fac_arg_tensor(call, 0), *k = fac_arg_tensor(call, 1);
    const double p = fac_v_as_float(FAC_ARG(call, 2));
    FacDim sizes[FAC_MAX_NDIM];
    if (q->ndim < 2) return wrong_shape(call, 0, "must have at least 2 dimensions");
    if (k->ndim < 2) return wrong_shape(call, 1, "must have at least 2 dimensions");
    if (!(p >= 0 && p <= 1))
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 2, "must be a probability, not %g", p);
    memcpy(sizes, q->sizes, (size_t)q->ndim * sizeof *sizes);
    sizes[q->ndim - 1] = (k->sizes[k->ndim - 2] + 7) / 8;
    return fac_out(call, 0, FAC_DT_U8, q->device, q->ndim, sizes);
}
