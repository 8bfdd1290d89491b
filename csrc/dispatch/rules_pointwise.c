/* rules_pointwise.c - broadcast, promotion and layout of elementwise results.
 *
 * Almost every call has operands of one dtype and one shape, all in C order: that is tested first
 * and goes straight to the new tensor. The rest follows the peer. Promotion has three classes of
 * operands: tensors with dimensions, 0-d tensors, and numbers; a lower class changes the dtype only
 * by its kind (bool < int < float < complex). The result keeps the order in memory of the
 * dimensions of its operands, the first of them that has one deciding.
 */
#include "dispatch/rules.h"

#include <string.h>

/* --- promotion -------------------------------------------------------------------------------- */

/* The dtype of two classes of operands, of which `high` outranks `low`. */
static FacDType
combine(FacDType high, FacDType low)
{
    if (low < 0) return high;
    if (high < 0) return low;
    if (FAC_IS_COMPLEX(high)) return high;
    if (FAC_IS_FLOAT(high))
        return FAC_IS_COMPLEX(low) && fac_dtype_info[high].complex >= 0
                   ? (FacDType)fac_dtype_info[high].complex
                   : high;
    if (high == FAC_DT_BOOL || FAC_IS_FLOAT(low) || FAC_IS_COMPLEX(low))
        return fac_promote(high, low);
    return high;
}

static FacDType
join(FacDType a, FacDType b)
{
    return a < 0 ? b : b < 0 ? a : fac_promote(a, b);
}

FacDType
fac_promote_operands(const FacValue *args, int n)
{
    FacDType dims = FAC_DT_NONE, zero = FAC_DT_NONE, number = FAC_DT_NONE;
    for (int i = 0; i < n; i++) {
        FacTensor *t = fac_v_as_tensor(args[i]);
        FacDType dt = t ? (FacDType)t->dtype : fac_v_dtype_of_number(args[i]);
        if (dt < 0) continue;
        if (t && (t->flags & FAC_T_NUMBER)) {
            if (FAC_IS_COMPLEX(dt))
                dt = fac_default_complex();
            else if (FAC_IS_FLOAT(dt))
                dt = fac_default_dtype();
        }
        FacDType *to = !t || (t->flags & FAC_T_NUMBER) ? &number : t->ndim ? &dims : &zero;
        *to = join(*to, dt);
    }
    return combine(combine(dims, zero), number);
}

/* The dtype of the result; *common becomes the dtype that the operands are converted to. */
static FacDType
result_dtype(FacPromote promote, FacDType *common)
{
    switch (promote) {
    case FAC_PROMOTE_FLOAT:
        if (FAC_IS_INT(*common)) *common = fac_default_dtype();
        return *common;
    case FAC_PROMOTE_BOOL: return FAC_DT_BOOL;
    case FAC_PROMOTE_REAL: return (FacDType)fac_dtype_info[*common].real;
    case FAC_PROMOTE_INT_OUT: return FAC_DT_I64;
    default: return *common;
    }
}

static FacStatus
choose_dtypes(FacCall *call, FacDType common, FacDType *result)
{
    const FacOp *op = call->op;
    /* angle: real numbers of a row that has no loop for integers */
    if (op->promote == FAC_PROMOTE_REAL && FAC_IS_INT(common) && !(op->dtypes & FAC_BIT(common)))
        common = fac_default_dtype();
    if (op->promote == FAC_PROMOTE_REAL && FAC_IS_COMPLEX(common) &&
        (call->flags & FAC_CALL_INPLACE))
        return fac_error(FAC_RUNTIME_ERROR,
                         "the real result does not go into a complex tensor in place");
    *result = result_dtype((FacPromote)op->promote, &common);
    call->compute = fac_dtype_info[common].compute;
    if (FAC_LIKELY(!op->dtypes || (op->dtypes & FAC_BIT(call->compute)))) return FAC_OK;
    return fac_not_implemented_for(call, common);
}

/* --- layout ----------------------------------------------------------------------------------- */

/* The strides of an operand over the broadcast dimensions: 0 where it is repeated. */
static void
spread_strides(const FacTensor *t, int ndim, const FacDim *sizes, FacDim *out)
{
    int lead = ndim - t->ndim;
    for (int i = 0; i < ndim; i++) {
        bool repeated = i < lead || (t->sizes[i - lead] == 1 && sizes[i] != 1);
        out[i] = repeated ? 0 : t->strides[i - lead];
    }
}

/* > 0 when dim a is to lie further in than dim b, the reverse of now; 0 when no operand knows. */
static int
compare_dims(int n, FacDim strides[][FAC_MAX_NDIM], const FacDim *sizes, int a, int b)
{
    for (int k = 0; k < n; k++) {
        FacDim x = strides[k][a] < 0 ? -strides[k][a] : strides[k][a];
        FacDim y = strides[k][b] < 0 ? -strides[k][b] : strides[k][b];
        if (x == 0 || y == 0) continue;
        if (x != y) return x < y ? -1 : 1;
        if (sizes[a] > sizes[b]) return 1;
    }
    return 0;
}

/* Strides of a dense result whose dimensions lie in the order of the operands'. */
static void
result_strides(const FacCall *call, int ndim, const FacDim *sizes, FacDim *out)
{
    FacDim strides[FAC_MAX_OPERANDS][FAC_MAX_NDIM];
    int order[FAC_MAX_NDIM], n = 0;
    for (int i = 0; i < call->op->noperands; i++) {
        FacTensor *t = fac_arg_tensor(call, i);
        if (t && t->ndim) spread_strides(t, ndim, sizes, strides[n++]);
    }
    for (int i = 0; i < ndim; i++) order[i] = ndim - 1 - i; /* innermost first */
    for (int i = 1; i < ndim; i++) {
        for (int at = i, before = i - 1; before >= 0; before--) {
            int way = compare_dims(n, strides, sizes, order[before], order[at]);
            if (way < 0) break;
            if (way == 0) continue;
            int swapped = order[before];
            order[before] = order[at];
            order[at] = swapped;
            at = before;
        }
    }
    FacDim stride = 1;
    for (int i = 0; i < ndim; i++) {
        out[order[i]] = stride;
        stride = fac_stride_product(stride, sizes[order[i]] > 1 ? sizes[order[i]] : 1);
    }
}

/* --- the rule --------------------------------------------------------------------------------- */

/* All operands plain and like the first, which is a tensor; numbers that leave its dtype alone. */
static bool
all_alike(const FacCall *call, const FacTensor *first)
{
    const uint8_t odd = FAC_T_NUMBER | FAC_T_OVERRIDDEN_STORAGE | FAC_T_CONJ | FAC_T_NEG;
    if (!first->contiguous || (first->flags & odd)) return false;
    for (int i = 1; i < call->op->noperands; i++) {
        FacValue arg = call->args[i];
        if (arg.tag == FAC_V_TENSOR) {
            const FacTensor *t = arg.v.t;
            if (t->dtype != first->dtype || t->ndim != first->ndim || !t->contiguous ||
                !fac_device_equal(t->device, first->device) || (t->flags & odd))
                return false;
            for (int d = 0; d < t->ndim; d++)
                if (t->sizes[d] != first->sizes[d]) return false;
        } else {
            static const uint8_t kinds[] = {
                [FAC_V_BOOL] = FAC_KIND_BOOL,
                [FAC_V_INT] = FAC_KIND_INT,
                [FAC_V_FLOAT] = FAC_KIND_FLOAT,
                [FAC_V_COMPLEX] = FAC_KIND_COMPLEX,
            };
            if (!fac_v_is_number(arg) || kinds[arg.tag] > fac_dtype_info[first->dtype].kind)
                return false;
        }
    }
    return true;
}

static FacStatus
broadcast_operands(const FacCall *call, int *ndim, FacDim *sizes, bool *ordered)
{
    *ndim = 0;
    *ordered = true; /* C order fits all operands that have an order */
    for (int i = 0; i < call->op->noperands; i++) {
        FacValue arg = call->args[i];
        FacTensor *t = fac_v_as_tensor(arg);
        if (!t && !fac_v_is_number(arg))
            return fac_argument_error(FAC_TYPE_ERROR, call, i, "must be a tensor or a number");
        if (!t) continue;
        FAC_RETURN_IF_ERROR(fac_broadcast(ndim, sizes, t->ndim, t->sizes));
        *ordered &= t->contiguous;
    }
    return FAC_OK;
}

FacStatus
fac_rule_pointwise(FacCall *call)
{
    const FacOp *op = call->op;
    FacTensor *first = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM], strides[FAC_MAX_NDIM];
    FacDType dtype;
    int ndim;
    bool ordered;

    if (FAC_LIKELY(first && all_alike(call, first))) {
        FAC_RETURN_IF_ERROR(choose_dtypes(call, (FacDType)first->dtype, &dtype));
        for (int i = 0; i < op->nresults; i++)
            FAC_RETURN_IF_ERROR(fac_out(call, i, dtype, first->device, first->ndim, first->sizes));
        call->alike = !call->targets;
        return FAC_OK;
    }
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    FAC_RETURN_IF_ERROR(broadcast_operands(call, &ndim, sizes, &ordered));
    FacDType common = fac_promote_operands(call->args, op->noperands);
    if (common < 0)
        return fac_error(FAC_RUNTIME_ERROR, "the dtypes of the operands have no common dtype");
    FAC_RETURN_IF_ERROR(choose_dtypes(call, common, &dtype));
    if (!ordered) result_strides(call, ndim, sizes, strides);
    for (int i = 0; i < op->nresults; i++)
        FAC_RETURN_IF_ERROR(fac_out_strided(call, i, dtype, fac_common_device(call), ndim, sizes,
                                            ordered ? NULL : strides));
    return FAC_OK;
}
