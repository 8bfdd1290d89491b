/* rules_arith.c - pointwise rows whose arguments must meet conditions that the general rule does not
 * know: what alpha may be, negative powers of integers, equal dtypes of lerp, the condition of where.
 */
#include "dispatch/rules.h"

#include <string.h>

/* The dtype of the first two operands together, before the row's own policy. */
static FacDType
common_of_two(const FacCall *call)
{
    return fac_promote_operands(call->args, 2);
}

FacStatus
fac_rule_pointwise_alpha(FacCall *call)
{
    FacValue alpha = call->args[2];
    if (alpha.tag == FAC_V_INT) return fac_rule_pointwise(call);
    FacDType common = common_of_two(call);
    if (common < 0) return fac_rule_pointwise(call);
    if (alpha.tag == FAC_V_BOOL && common != FAC_DT_BOOL)
        return fac_error(FAC_RUNTIME_ERROR, "Boolean alpha only supported for Boolean results.");
    if (alpha.tag == FAC_V_FLOAT && FAC_IS_INT(common))
        return fac_error(FAC_RUNTIME_ERROR,
                         "For integral input tensors, argument alpha must not be a floating "
                         "point number.");
    if (alpha.tag == FAC_V_COMPLEX && !FAC_IS_COMPLEX(common))
        return fac_error(FAC_RUNTIME_ERROR,
                         "For non-complex input tensors, argument alpha must not be a complex "
                         "number.");
    return fac_rule_pointwise(call);
}

static bool
is_bool(FacValue v)
{
    return v.tag == FAC_V_TENSOR ? v.v.t->dtype == FAC_DT_BOOL : v.tag == FAC_V_BOOL;
}

FacStatus
fac_rule_pointwise_sub(FacCall *call)
{
    bool first = is_bool(call->args[0]), second = is_bool(call->args[1]);
    if (first && second)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Subtraction, the `-` operator, with two bool tensors is not supported. "
                         "Use the `^` or `logical_xor()` operator instead.");
    if (first || second)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Subtraction, the `-` operator, with a bool tensor is not supported. If "
                         "you are trying to invert a mask, use the `~` or `logical_not()` operator "
                         "instead.");
    return fac_rule_pointwise_alpha(call);
}

FacStatus
fac_rule_pointwise_neg(FacCall *call)
{
    if (is_bool(call->args[0]))
        return fac_error(
            FAC_RUNTIME_ERROR,
            "Negation, the `-` operator, on a bool tensor is not supported. If you are "
            "trying to invert a mask, use the `~` or `logical_not()` operator instead.");
    return fac_rule_pointwise(call);
}

FacStatus
fac_rule_pointwise_pow(FacCall *call)
{
    FacValue exponent = call->args[1];
    FacTensor *base = fac_arg_tensor(call, 0);
    if (exponent.tag == FAC_V_INT && exponent.v.i < 0 && base && FAC_IS_INT(base->dtype))
        return fac_error(FAC_RUNTIME_ERROR, "Integers to negative integer powers are not allowed.");
    return fac_rule_pointwise(call);
}

FacStatus
fac_rule_pointwise_lerp(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    for (int i = 1; i < 3; i++) {
        FacTensor *t = fac_arg_tensor(call, i);
        if (t && t->dtype != self->dtype && (i == 1 || t->ndim))
            return fac_error(FAC_RUNTIME_ERROR, "expected dtype %s for `%s` but got dtype %s",
                             fac_dtype_info[self->dtype].name, i == 1 ? "end" : "weight",
                             fac_dtype_info[t->dtype].name);
    }
    return fac_rule_pointwise(call);
}

FacStatus
fac_rule_polygamma(FacCall *call)
{
    if (call->args[1].v.i < 0)
        return fac_error(FAC_RUNTIME_ERROR, "polygamma(n, x) does not support negative n, got %lld",
                         (long long)call->args[1].v.i);
    return fac_rule_pointwise(call);
}

/* The result takes its dtype from the two choices; the condition only broadcasts. */
FacStatus
fac_rule_where(FacCall *call)
{
    FacTensor *condition = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    int ndim = 0;
    if (condition->dtype != FAC_DT_BOOL && condition->dtype != FAC_DT_U8)
        return fac_error(FAC_RUNTIME_ERROR,
                         "where expected condition to be a boolean tensor, but got a tensor with "
                         "dtype %s",
                         fac_dtype_info[condition->dtype].legacy);
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    for (int i = 0; i < 3; i++) {
        FacTensor *t = fac_arg_tensor(call, i);
        if (t) FAC_RETURN_IF_ERROR(fac_broadcast(&ndim, sizes, t->ndim, t->sizes));
    }
    FacDType dtype = fac_promote_operands(call->args + 1, 2);
    if (dtype < 0)
        return fac_error(FAC_RUNTIME_ERROR, "the dtypes of self and other have no common dtype");
    call->compute = (int8_t)dtype;
    return fac_out(call, 0, dtype, fac_common_device(call), ndim, sizes);
}
