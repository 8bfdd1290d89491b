/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "ops.h"
#include "dispatch/formula.h"
#include "layers/record.h"

FacStatus fac_helper_pool_backward(const FacValue *args, FacValue *out) FAC_MUST_CHECK;
FacStatus fac_helper_count(const FacValue *args, FacValue *out) FAC_MUST_CHECK;

static FacStatus
backward_pool(FacGradCall *call)
{
    FacValue t[2] = {0};
    FacStatus st = FAC_OK;
    if (call->needed & 0x3) {
        FAC_TRY(fac_helper_pool_backward((FacValue[]){call->grads[0], call->saved[0], call->saved[1]}, &t[0]));
        fac_formula_move(&t[0], &call->out[0]);
        fac_formula_move(&t[1], &call->out[1]);
    }
done:
    fac_formula_release(t, 2);
    return st;
}

extern const FacGradRow fac_grad_pool;
const FacGradRow fac_grad_pool = {
    .ninputs = 2,
    .nsaved = 2,
    .inputs = (const uint8_t[]){0, 1},
    .saved = (const FacSave[]){{FAC_SAVE_ARG, 0, 0x3, "input"}, {FAC_SAVE_ARG, 1, 0x3, "weight"}},
    .backward = backward_pool,
};
