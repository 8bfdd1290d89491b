/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "ops.h"
#include "dispatch/formula.h"
#include "layers/record.h"

FacStatus fac_helper_pool_backward(const FacValue *args, FacValue *out) FAC_MUST_CHECK;
FacStatus fac_helper_count(const FacValue *args, FacValue *out) FAC_MUST_CHECK;

static FacStatus
backward_add(FacGradCall *call)
{
    FacValue t[1] = {0};
    FacValue v[1] = {0};
    FacStatus st = FAC_OK;
    if (call->needed & 0x1) {
        FAC_TRY(fac_value_keep(call->grads[0], &call->out[0]));
    }
    if (call->needed & 0x2) {
        if (fac_formula_compare(call->saved[0], "==", fac_v_int(1))) {
            v[0] = call->grads[0];
        } else {
            FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){call->grads[0], call->saved[0]}, &t[0]));
            v[0] = t[0];
        }
        FAC_TRY(fac_value_keep(v[0], &call->out[1]));
    }
done:
    fac_formula_release(t, 1);
    return st;
}

extern const FacGradRow fac_grad_add;
const FacGradRow fac_grad_add = {
    .ninputs = 2,
    .nsaved = 1,
    .inputs = (const uint8_t[]){0, 1},
    .saved = (const FacSave[]){{FAC_SAVE_ARG, 2, 0x2, "alpha"}},
    .backward = backward_add,
};

static FacStatus
backward_expand(FacGradCall *call)
{
    FacValue t[1] = {0};
    FacStatus st = FAC_OK;
    if (call->needed & 0x1) {
        FAC_TRY(fac_call(FAC_OP_sum_dim, 4, (FacValue[]){call->grads[0], FAC_VALUE_NONE, FAC_OP_sum_dim->params[2].fallback, fac_v_dtype(call->saved[0].v.t->dtype)}, &t[0]));
        fac_formula_move(&t[0], &call->out[0]);
    }
done:
    fac_formula_release(t, 1);
    return st;
}

extern const FacGradRow fac_grad_expand;
const FacGradRow fac_grad_expand = {
    .ninputs = 1,
    .nsaved = 1,
    .inputs = (const uint8_t[]){0},
    .saved = (const FacSave[]){{FAC_SAVE_META, 0, 0x1, "self"}},
    .backward = backward_expand,
};
