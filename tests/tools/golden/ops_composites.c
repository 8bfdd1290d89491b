/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "ops.h"
#include "dispatch/formula.h"

FacStatus fac_helper_pool_backward(const FacValue *args, FacValue *out) FAC_MUST_CHECK;
FacStatus fac_helper_count(const FacValue *args, FacValue *out) FAC_MUST_CHECK;

FacStatus fac_composed_choose(FacCall *call);
FacStatus
fac_composed_choose(FacCall *call)
{
    FacValue t[5] = {0};
    FacValue v[5] = {0};
    FacStatus st = FAC_OK;
    if (call->args[1].tag != FAC_V_NONE ? fac_formula_compare(call->args[2], ">", fac_v_int(1)) : false) {
        FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){call->args[0], call->args[0]}, &t[0]));
        FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){t[0], call->args[1]}, &t[1]));
        FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){t[1], t[0]}, &t[2]));
        v[2] = t[2];
    } else {
        if (fac_formula_equal(call->args[3], fac_v_str("minus"))) {
            FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){call->args[0], fac_v_int(-1)}, &t[3]));
            v[1] = t[3];
        } else {
            v[0] = fac_formula_arithmetic(call->args[2], "+", fac_v_int(1), NULL);
            FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){call->args[0], v[0]}, &t[4]));
            v[1] = t[4];
        }
        v[2] = v[1];
    }
    FAC_TRY(fac_formula_item(fac_v_ints(call->args[0].v.t->sizes, call->args[0].v.t->ndim), fac_v_int(-1), &v[3]));
    v[4] = fac_formula_arithmetic(v[3], "+", fac_v_int(fac_formula_slice(fac_v_ints(call->args[0].v.t->sizes, call->args[0].v.t->ndim), fac_v_int(1), FAC_VALUE_NONE).len), NULL);
    FAC_TRY(fac_value_keep(v[2], &call->results[0]));
    FAC_TRY(fac_value_keep(v[4], &call->results[1]));
done:
    fac_formula_release(t, 5);
    return st;
}

FacStatus fac_composed_fill_twice(FacCall *call);
FacStatus
fac_composed_fill_twice(FacCall *call)
{
    FacValue t[1] = {0};
    int64_t x0[2];
    FacTensor *x1[2];
    FacStatus st = FAC_OK;
    FAC_TRY(fac_call_inplace(FAC_OP_add, 2, (FacValue[]){call->args[0], fac_v_int(1)}));
    x0[0] = 2;
    x0[1] = call->args[0].v.t->numel;
    FAC_TRY(fac_call(FAC_OP_expand, 2, (FacValue[]){call->args[0], fac_v_ints(x0, 2)}, &t[0]));
    x1[0] = fac_v_as_tensor(call->args[0]);
    x1[1] = fac_v_as_tensor(t[0]);
    FAC_TRY(fac_value_keep(fac_v_tensors(x1, 2), &call->results[0]));
done:
    fac_formula_release(t, 1);
    return st;
}
