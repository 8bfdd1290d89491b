/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "ops.h"
#include "dispatch/formula.h"
#include "layers/record.h"

FacStatus fac_helper_pool_backward(const FacValue *args, FacValue *out) FAC_MUST_CHECK;
FacStatus fac_helper_count(const FacValue *args, FacValue *out) FAC_MUST_CHECK;

static FacStatus
backward_cat(FacGradCall *call)
{
    FacValue t[1] = {0};
    FacValue v[2] = {0};
    FacTensor *x0[2];
    FacStatus st = FAC_OK;
    if (call->needed & 0x1) {
        FAC_TRY(fac_formula_item(call->saved[0], fac_v_int(1), &v[0]));
        FAC_TRY(fac_formula_item(fac_v_ints(v[0].v.t->sizes, v[0].v.t->ndim), fac_v_int(0), &v[1]));
        FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){call->grads[0], v[1]}, &t[0]));
        x0[0] = fac_v_as_tensor(call->grads[0]);
        x0[1] = fac_v_as_tensor(t[0]);
        FAC_TRY(fac_value_keep(fac_v_tensors(x0, 2), &call->out[0]));
    }
done:
    fac_formula_release(t, 1);
    return st;
}

extern const FacGradRow fac_grad_cat;
const FacGradRow fac_grad_cat = {
    .ninputs = 1,
    .nsaved = 1,
    .inputs = (const uint8_t[]){0},
    .saved = (const FacSave[]){{FAC_SAVE_ARG, 0, 0x1, "tensors"}},
    .backward = backward_cat,
};
