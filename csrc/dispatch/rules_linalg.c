/* rules_linalg.c - the rules of products.
 *
 * Matrices must have the same dtype (the operators do not promote) and shapes that fit; the message
 * draws both shapes. The last operand of addmm and its like broadcasts to the result.
 */
#include "dispatch/rules.h"

#include <string.h>

static FacStatus
check_ndim(const FacCall *call, int i, int ndim)
{
    const FacTensor *t = fac_arg_tensor(call, i);
    if (t->ndim == ndim) return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must have %d dimension%s, not %d", ndim,
                              ndim == 1 ? "" : "s", t->ndim);
}

/* The tensors in args[0..n) have one dtype, which the row supports, and one device. */
static FacStatus
check_kind(const FacCall *call, int n)
{
    const FacTensor *first = fac_arg_tensor(call, 0);
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    for (int i = 1; i < n; i++) {
        const FacTensor *t = fac_arg_tensor(call, i);
        if (t && t->dtype != first->dtype)
            return fac_error(FAC_RUNTIME_ERROR, "'%s' is %s and '%s' is %s; they must be the same",
                             call->op->params[0].name, fac_dtype_info[first->dtype].name,
                             call->op->params[i].name, fac_dtype_info[t->dtype].name);
    }
    if (first->dtype == FAC_DT_C32) return fac_not_implemented_for(call, FAC_DT_C32);
    return fac_check_dtypes(call, (FacDType)fac_dtype_info[first->dtype].compute, call->op->dtypes);
}

/* The last two dims of args[i] and args[i + 1] multiply. */
static FacStatus
check_product(const FacCall *call, int i)
{
    const FacTensor *a = fac_arg_tensor(call, i), *b = fac_arg_tensor(call, i + 1);
    const int n = b->ndim > 1 ? b->ndim - 2 : 0;
    const bool batch = a->ndim == 3;
    if (a->sizes[a->ndim - 1] == b->sizes[n] && (!batch || a->sizes[0] == b->sizes[0]))
        return FAC_OK;
    FacText text = {.len = 0};
    fac_text_dims(&text, a->ndim, a->sizes);
    fac_text_add(&text, " and ");
    fac_text_dims(&text, b->ndim, b->sizes);
    return fac_error(FAC_RUNTIME_ERROR, "shapes cannot be multiplied (%s)", text.at);
}

/* args[0] broadcasts to the result; beta and alpha are args[3] and args[4]. Integers take a fraction
 * of them as its integral part, as in the peer, but for addmm. */
static FacStatus
check_addend(const FacCall *call, int ndim, const FacDim *sizes, bool whole)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    int joint_ndim = ndim;
    FacDim joint[FAC_MAX_NDIM];
    memcpy(joint, sizes, (size_t)ndim * sizeof *sizes);
    FAC_RETURN_IF_ERROR(fac_broadcast(&joint_ndim, joint, t->ndim, t->sizes));
    if (joint_ndim != ndim || memcmp(joint, sizes, (size_t)ndim * sizeof *sizes)) {
        FacText text = {.len = 0};
        fac_text_dims(&text, t->ndim, t->sizes);
        fac_text_add(&text, " does not broadcast to ");
        fac_text_dims(&text, ndim, sizes);
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0, "of shape %s", text.at);
    }
    for (int i = 3; i < 5; i++) {
        const int tag = FAC_ARG(call, i).tag;
        if (whole && FAC_IS_INT(t->dtype) && tag != FAC_V_INT && tag != FAC_V_BOOL)
            return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                      "must be an integer for integral tensors");
        if (!FAC_IS_COMPLEX(t->dtype) && tag == FAC_V_COMPLEX)
            return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                      "must not be complex for real tensors");
    }
    return FAC_OK;
}

/* Makes result 0 like args[0] in dtype and device. */
static FacStatus
make(FacCall *call, int ndim, const FacDim *sizes)
{
    return fac_out(call, 0, fac_arg_tensor(call, 0)->dtype, fac_common_device(call), ndim, sizes);
}

/* The sizes of args[i] @ args[i + 1] (2-d, or 3-d with a batch), checked. */
static FacStatus
product_sizes(const FacCall *call, int i, int ndim, FacDim *sizes)
{
    const FacTensor *a = fac_arg_tensor(call, i), *b = fac_arg_tensor(call, i + 1);
    FAC_RETURN_IF_ERROR(check_ndim(call, i, ndim));
    FAC_RETURN_IF_ERROR(check_ndim(call, i + 1, ndim));
    FAC_RETURN_IF_ERROR(check_product(call, i));
    sizes[0] = a->sizes[0];
    sizes[ndim - 2] = a->sizes[ndim - 2];
    sizes[ndim - 1] = b->sizes[ndim - 1];
    return FAC_OK;
}

FacStatus
fac_rule_mm(FacCall *call)
{
    FacDim sizes[2];
    FAC_RETURN_IF_ERROR(product_sizes(call, 0, 2, sizes));
    FAC_RETURN_IF_ERROR(check_kind(call, 2));
    return make(call, 2, sizes);
}

FacStatus
fac_rule_bmm(FacCall *call)
{
    FacDim sizes[3];
    FAC_RETURN_IF_ERROR(product_sizes(call, 0, 3, sizes));
    FAC_RETURN_IF_ERROR(check_kind(call, 2));
    return make(call, 3, sizes);
}

FacStatus
fac_rule_addmm(FacCall *call)
{
    FacDim sizes[2];
    FAC_RETURN_IF_ERROR(product_sizes(call, 1, 2, sizes));
    FAC_RETURN_IF_ERROR(check_kind(call, 3));
    FAC_RETURN_IF_ERROR(check_addend(call, 2, sizes, true));
    return make(call, 2, sizes);
}

/* addmm, and gelu is for floating-point numbers only. */
FacStatus
fac_rule_addmm_activation(FacCall *call)
{
    const FacDType dtype = (FacDType)fac_arg_tensor(call, 0)->dtype;
    if (fac_v_is_true(FAC_ARG(call, 5)) && FAC_IS_INT(dtype))
        return fac_not_implemented_for(call, dtype);
    return fac_rule_addmm(call);
}

FacStatus
fac_rule_int_mm(FacCall *call)
{
    FacDim sizes[2];
    FAC_RETURN_IF_ERROR(product_sizes(call, 0, 2, sizes));
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    const FacTensor *a = fac_arg_tensor(call, 0), *b = fac_arg_tensor(call, 1);
    if (a->dtype != FAC_DT_I8 && a->dtype != FAC_DT_U8)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0, "must be int8 or uint8, not %s",
                                  fac_dtype_info[a->dtype].name);
    if (b->dtype != FAC_DT_I8)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 1, "must be int8, not %s",
                                  fac_dtype_info[b->dtype].name);
    return fac_out(call, 0, FAC_DT_I32, fac_common_device(call), 2, sizes);
}

FacStatus
fac_rule_baddbmm(FacCall *call)
{
    FacDim sizes[3];
    FAC_RETURN_IF_ERROR(product_sizes(call, 1, 3, sizes));
    FAC_RETURN_IF_ERROR(check_kind(call, 3));
    FAC_RETURN_IF_ERROR(check_addend(call, 3, sizes, false));
    return make(call, 3, sizes);
}

FacStatus
fac_rule_mv(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_ndim(call, 0, 2));
    FAC_RETURN_IF_ERROR(check_ndim(call, 1, 1));
    FAC_RETURN_IF_ERROR(check_product(call, 0));
    FAC_RETURN_IF_ERROR(check_kind(call, 2));
    return make(call, 1, fac_arg_tensor(call, 0)->sizes);
}

FacStatus
fac_rule_addmv(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_ndim(call, 1, 2));
    FAC_RETURN_IF_ERROR(check_ndim(call, 2, 1));
    FAC_RETURN_IF_ERROR(check_product(call, 1));
    FAC_RETURN_IF_ERROR(check_kind(call, 3));
    FAC_RETURN_IF_ERROR(check_addend(call, 1, fac_arg_tensor(call, 1)->sizes, false));
    return make(call, 1, fac_arg_tensor(call, 1)->sizes);
}

FacStatus
fac_rule_dot(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_ndim(call, 0, 1));
    FAC_RETURN_IF_ERROR(check_ndim(call, 1, 1));
    FAC_RETURN_IF_ERROR(check_kind(call, 2));
    FAC_RETURN_IF_ERROR(check_product(call, 0));
    return make(call, 0, NULL);
}

/* x [..., k], weight [n, k] gives [..., n]; weight [k] gives [...]. */
FacStatus
fac_rule_linear(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 0), *w = fac_arg_tensor(call, 1);
    const FacTensor *bias = fac_arg_tensor(call, 2);
    FacDim sizes[FAC_MAX_NDIM];
    if (x->ndim == 0)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0, "must have at least 1 dimension");
    if (w->ndim != 1 && w->ndim != 2)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 1, "must have 1 or 2 dimensions, not %d",
                                  w->ndim);
    if (x->sizes[x->ndim - 1] != w->sizes[w->ndim - 1])
        return fac_error(
            FAC_RUNTIME_ERROR,
            "shapes cannot be multiplied: the last dimension of '%s' is %lld, and that "
            "of '%s' is %lld",
            call->op->params[0].name, (long long)x->sizes[x->ndim - 1], call->op->params[1].name,
            (long long)w->sizes[w->ndim - 1]);
    FAC_RETURN_IF_ERROR(check_kind(call, 3));
    memcpy(sizes, x->sizes, (size_t)x->ndim * sizeof *sizes);
    const FacDim n = w->ndim == 2 ? w->sizes[0] : 1;
    sizes[x->ndim - 1] = n;
    if (bias && (bias->ndim > 1 || (bias->ndim == 1 && bias->sizes[0] != n && bias->sizes[0] != 1)))
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 2, "must have %lld elements",
                                  (long long)n);
    return make(call, x->ndim - (w->ndim == 1), sizes);
}
