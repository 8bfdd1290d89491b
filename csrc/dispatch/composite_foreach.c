/* composite_foreach.c - the rows over lists: the base row, found by its name, for every element.
 *
 * `_foreach_add` is `add` for each tensor, `_foreach_add_` its in-place form. An argument that is a list
 * gives its i-th element to the i-th call, any other argument goes to all of them.
 */
#include "dispatch/rules.h"

#include <string.h>

static const char prefix[] = "_foreach_";

/* The base row; *inplace is false for rows like zero_, which write by themselves. */
static const FacOp *
base_of(const FacOp *op, bool *inplace)
{
    const char *name = op->name + sizeof prefix - 1;
    const FacOp *base = fac_op_find(name);
    if (base || !inplace) return base;
    char stem[64];
    size_t len = strlen(name);
    if (len - 1 >= sizeof stem || name[len - 1] != '_') return NULL;
    memcpy(stem, name, len - 1);
    stem[len - 1] = '\0';
    *inplace = true;
    return fac_op_find(stem);
}

static bool
is_list(FacValue v)
{
    return v.tag == FAC_V_TENSORS || v.tag == FAC_V_VALUES || v.tag == FAC_V_INTS ||
           v.tag == FAC_V_FLOATS;
}

static FacValue
element(FacValue v, uint32_t i)
{
    switch (v.tag) {
    case FAC_V_TENSORS: return fac_v_tensor(v.v.tensors[i]);
    case FAC_V_VALUES: return v.v.values[i];
    case FAC_V_INTS: return fac_v_int(v.v.ints[i]);
    case FAC_V_FLOATS: return fac_v_float(v.v.floats[i]);
    default: return v;
    }
}

static FacStatus
check_lists(const FacCall *call, const FacOp *base)
{
    uint32_t n = call->args[0].len;
    if (!base)
        return fac_error(FAC_NOT_IMPLEMENTED, "there is no row that this is the list form of");
    if (call->op->nparams > base->nparams)
        return fac_error(FAC_NOT_IMPLEMENTED, "the row '%s' takes fewer parameters", base->name);
    if (!n) return fac_error(FAC_RUNTIME_ERROR, "Tensor list must have at least one tensor.");
    for (int i = 1; i < call->op->nparams; i++)
        if (is_list(call->args[i]) && call->args[i].len != n)
            return fac_error(FAC_RUNTIME_ERROR,
                             "Tensor lists must have the same number of tensors, got %u and %u", n,
                             call->args[i].len);
    return FAC_OK;
}

/* The arguments of one call. Parameters after the list ones stand in the same order in both rows. */
static void
arguments(const FacCall *call, uint32_t i, FacValue *args)
{
    for (int k = 0; k < call->op->nparams; k++) args[k] = element(call->args[k], i);
}

FacStatus
fac_composite_foreach(FacCall *call)
{
    const FacOp *base = base_of(call->op, NULL);
    FacValue args[FAC_MAX_OPERANDS], made = FAC_VALUE_NONE, result = FAC_VALUE_NONE;
    FacTensor **slots;
    FacStatus st = FAC_OK;
    FAC_TRY(check_lists(call, base));
    FAC_TRY(fac_value_new_tensors((int)call->args[0].len, &made, &slots));
    for (uint32_t i = 0; i < call->args[0].len; i++) {
        arguments(call, i, args);
        FAC_TRY(fac_call(base, call->op->nparams, args, &result));
        slots[i] = result.v.t;
    }
    call->results[0] = made;
    made = FAC_VALUE_NONE;
done:
    fac_value_release(&made);
    return st;
}

FacStatus
fac_composite_foreach_inplace(FacCall *call)
{
    bool inplace = false;
    const FacOp *base = base_of(call->op, &inplace);
    FacValue args[FAC_MAX_OPERANDS];
    FAC_RETURN_IF_ERROR(check_lists(call, base));
    for (uint32_t i = 0; i < call->args[0].len; i++) {
        arguments(call, i, args);
        if (inplace) {
            FAC_RETURN_IF_ERROR(fac_call_inplace(base, call->op->nparams, args));
        } else {
            FacValue same = FAC_VALUE_NONE;
            FAC_RETURN_IF_ERROR(fac_call(base, call->op->nparams, args, &same));
            fac_tensor_release(fac_v_as_tensor(same));
        }
    }
    return FAC_OK;
}
