/* composite_attention.c - scaled_dot_product_attention: checks, broadcasting, and the choice between the
 * kernel that goes block by block and the formula with the matrix of scores.
 */
#include "dispatch/rules.h"
#include "generated/ops.h"

#include <math.h>
#include <string.h>

enum { QUERY, KEY, VALUE, OPERANDS };

static const char *
dtype_name(const FacTensor *t)
{
    return fac_dtype_info[t->dtype].name;
}

static FacStatus
check(FacTensor *const *t, const FacTensor *mask)
{
    const FacTensor *q = t[QUERY], *k = t[KEY], *v = t[VALUE];
    if (q->ndim < 2 || k->ndim < 2 || v->ndim < 2)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Expected query, key, and value to all be at least 2 dimensional, but got "
                         "query.dim: %d key.dim: %d and value.dim: %d instead.",
                         q->ndim, k->ndim, v->ndim);
    if (q->dtype != k->dtype || q->dtype != v->dtype)
        return fac_error(
            FAC_RUNTIME_ERROR,
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            "%s key.dtype: %s and value.dtype: %s instead.",
            dtype_name(q), dtype_name(k), dtype_name(v));
    if (mask && mask->dtype != FAC_DT_BOOL && mask->dtype != FAC_DT_F32 && mask->dtype != q->dtype)
        return fac_error(
            FAC_RUNTIME_ERROR,
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got "
            "attn_mask.dtype: %s and  query.dtype: %s instead.",
            dtype_name(mask), dtype_name(q));
    return FAC_OK;
}

/* t (of which `own` last dims are its own) with the batch dims `sizes`; a new reference. */
static FacStatus
expand_batch(FacTensor *t, int own, int dims, const FacDim *sizes, FacTensor **out)
{
    FacDim full[FAC_MAX_NDIM];
    memcpy(full, sizes, (size_t)dims * sizeof *sizes);
    memcpy(full + dims, t->sizes + t->ndim - own, (size_t)own * sizeof *full);
    if (t->ndim == dims + own && !memcmp(full, t->sizes, (size_t)t->ndim * sizeof *full)) {
        *out = fac_tensor_retain(t);
        return FAC_OK;
    }
    return fac_op_expand(t, fac_v_ints(full, dims + own), false, out);
}

/* One batch for all three; heads differ only where groups of them share keys. */
static FacStatus
join_batches(FacTensor *const *t, bool grouped, FacTensor **held)
{
    const int own = grouped ? 3 : 2;
    FacDim sizes[FAC_MAX_NDIM];
    int dims = 0;
    for (int i = 0; i < OPERANDS; i++)
        FAC_RETURN_IF_ERROR(fac_broadcast(&dims, sizes, t[i]->ndim - own, t[i]->sizes));
    FAC_RETURN_IF_ERROR(fac_check_ndim(dims + own));
    for (int i = 0; i < OPERANDS; i++)
        FAC_RETURN_IF_ERROR(expand_batch(t[i], own, dims, sizes, &held[i]));
    return FAC_OK;
}

static bool
wants_gradient(const FacTensor *t)
{
    return t && !FAC_IS_INT(t->dtype) && fac_is_differentiated(t);
}

static bool
fits_kernel(FacTensor *const *t, const FacTensor *mask, double dropout)
{
    for (int i = 0; i < OPERANDS; i++)
        if (t[i]->numel == 0) return false;
    return !wants_gradient(mask) && dropout < 1 && FAC_IS_FLOAT(t[QUERY]->dtype) &&
           (!mask || mask->ndim <= t[QUERY]->ndim);
}

static FacStatus
by_kernel(FacTensor *const *t, FacTensor *mask, double dropout, bool causal, double scale,
          FacTensor **out)
{
    FacTensor *keep = NULL, *lse = NULL;
    FacStatus st = FAC_OK;
    if (dropout > 0) FAC_TRY(fac_op__attention_keep(t[QUERY], t[KEY], dropout, NULL, &keep));
    FAC_TRY(fac_op__flash_attention(t[QUERY], t[KEY], t[VALUE], mask, keep, dropout, causal, scale,
                                    out, &lse));
done:
    fac_tensor_release(keep);
    fac_tensor_release(lse);
    return st;
}

static FacStatus
by_formula(FacTensor *const *t, FacTensor *mask, double dropout, bool causal, double scale,
           FacTensor **out)
{
    FacTensor *k = NULL, *v = NULL;
    FacStatus st = FAC_OK;
    FAC_TRY(fac_op__heads_repeated(t[KEY], t[QUERY], &k));
    FAC_TRY(fac_op__heads_repeated(t[VALUE], t[QUERY], &v));
    FAC_TRY(fac_op__attention(t[QUERY], k, v, mask, dropout, causal, scale, out));
done:
    fac_tensor_release(k);
    fac_tensor_release(v);
    return st;
}

/* (query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa). */
FacStatus
fac_composite_attention(FacCall *call)
{
    FacTensor *t[OPERANDS], *held[OPERANDS] = {NULL}, *out = NULL;
    FacTensor *mask = fac_arg_tensor(call, 3);
    const double dropout = fac_v_as_float(FAC_ARG(call, 4));
    const bool causal = FAC_ARG(call, 5).v.i;
    FacStatus st = FAC_OK;
    for (int i = 0; i < OPERANDS; i++) t[i] = fac_arg_tensor(call, i);
    FAC_TRY(check(t, mask));
    const FacDim size = t[QUERY]->sizes[t[QUERY]->ndim - 1];
    const double scale = FAC_ARG(call, 6).tag == FAC_V_NONE ? 1 / sqrt((double)size)
                                                            : fac_v_as_float(FAC_ARG(call, 6));
    bool grouped = FAC_ARG(call, 7).v.i;
    if (grouped) {
        FacDim heads[OPERANDS];
        for (int i = 0; i < OPERANDS; i++) {
            if (t[i]->ndim < 3)
                FAC_FAIL(FAC_RUNTIME_ERROR, "enable_gqa needs a dimension of heads");
            heads[i] = t[i]->sizes[t[i]->ndim - 3];
        }
        if (heads[KEY] != heads[VALUE] || !heads[KEY] || heads[QUERY] % heads[KEY])
            FAC_FAIL(
                FAC_RUNTIME_ERROR,
                "Number of heads in key and value must divide the number of heads in query, got "
                "%lld, %lld and %lld",
                (long long)heads[KEY], (long long)heads[VALUE], (long long)heads[QUERY]);
        grouped = heads[QUERY] != heads[KEY];
    }
    FAC_TRY(join_batches(t, grouped, held));
    FAC_TRY(fits_kernel(held, mask, dropout)
                ? by_kernel(held, mask, dropout, causal, scale, &out)
                : by_formula(held, mask, dropout, causal, scale, &out));
    call->results[0] = fac_v_tensor(out);
done:
    for (int i = 0; i < OPERANDS; i++) fac_tensor_release(held[i]);
    return st;
}
