/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "ops.h"
#include "dispatch/formula.h"
#include "layers/record.h"

FacStatus fac_helper_pool_backward(const FacValue *args, FacValue *out) FAC_MUST_CHECK;
FacStatus fac_helper_count(const FacValue *args, FacValue *out) FAC_MUST_CHECK;

static FacStatus
backward_mul(FacGradCall *call)
{
    FacValue t[2] = {0};
    FacStatus st = FAC_OK;
    if (call->needed & 0x1) {
        FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){call->grads[0], call->saved[1]}, &t[0]));
        fac_formula_move(&t[0], &call->out[0]);
    }
    if (call->needed & 0x2) {
        FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){call->grads[0], call->saved[0]}, &t[1]));
        fac_formula_move(&t[1], &call->out[1]);
    }
done:
    fac_formula_release(t, 2);
    return st;
}

extern const FacGradRow fac_grad_mul;
const FacGradRow fac_grad_mul = {
    .ninputs = 2,
    .nsaved = 2,
    .inputs = (const uint8_t[]){0, 1},
    .saved = (const FacSave[]){{FAC_SAVE_ARG, 0, 0x2, "self"}, {FAC_SAVE_ARG, 1, 0x1, "other"}},
    .backward = backward_mul,
};

static FacStatus
backward_sum_dim(FacGradCall *call)
{
    FacValue t[3] = {0};
    FacValue v[2] = {0};
    FacStatus st = FAC_OK;
    if (call->needed & 0x1) {
        if (fac_v_is_true(fac_v_int(call->saved[0].len))) {
            FAC_TRY(fac_call(FAC_OP_expand, 2, (FacValue[]){call->grads[0], call->saved[0]}, &t[0]));
            FAC_TRY(fac_helper_count((FacValue[]){call->saved[0], call->saved[1]}, &t[1]));
            v[0] = fac_formula_arithmetic(fac_v_int(1), "/", t[1], NULL);
            FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){t[0], v[0]}, &t[2]));
            v[1] = t[2];
        } else {
            v[1] = call->grads[0];
        }
        FAC_TRY(fac_value_keep(v[1], &call->out[0]));
    }
done:
    fac_formula_release(t, 3);
    return st;
}

extern const FacGradRow fac_grad_sum_dim;
const FacGradRow fac_grad_sum_dim = {
    .ninputs = 1,
    .nsaved = 2,
    .inputs = (const uint8_t[]){0},
    .saved = (const FacSave[]){{FAC_SAVE_SIZES, 0, 0x1, "self"}, {FAC_SAVE_ARG, 1, 0x1, "dim"}},
    .backward = backward_sum_dim,
};

static FacStatus
backward_max_dim(FacGradCall *call)
{
    FacValue t[3] = {0};
    FacStatus st = FAC_OK;
    if (call->needed & 0x1) {
        FAC_TRY(fac_call(FAC_OP_expand, 2, (FacValue[]){call->grads[0], fac_v_ints(call->saved[0].v.t->sizes, call->saved[0].v.t->ndim)}, &t[0]));
        FAC_TRY(fac_call(FAC_OP_eq, 2, (FacValue[]){call->saved[0], call->saved[1]}, &t[1]));
        FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){t[0], t[1]}, &t[2]));
        fac_formula_move(&t[2], &call->out[0]);
    }
done:
    fac_formula_release(t, 3);
    return st;
}

extern const FacGradRow fac_grad_max_dim;
const FacGradRow fac_grad_max_dim = {
    .ninputs = 1,
    .nsaved = 2,
    .nondiff = 2,
    .inputs = (const uint8_t[]){0},
    .saved = (const FacSave[]){{FAC_SAVE_ARG, 0, 0x1, "self"}, {FAC_SAVE_RESULT, 0, 0x1, "values"}},
    .backward = backward_max_dim,
};

static FacStatus
backward_split(FacGradCall *call)
{
    FacValue t[1] = {0};
    FacStatus st = FAC_OK;
    if (call->needed & 0x1) {
        FAC_TRY(fac_call(FAC_OP_cat, 2, (FacValue[]){call->grads[0], call->saved[0]}, &t[0]));
        fac_formula_move(&t[0], &call->out[0]);
    }
done:
    fac_formula_release(t, 1);
    return st;
}

extern const FacGradRow fac_grad_split;
const FacGradRow fac_grad_split = {
    .ninputs = 1,
    .nsaved = 1,
    .inputs = (const uint8_t[]){0},
    .saved = (const FacSave[]){{FAC_SAVE_ARG, 2, 0x1, "dim"}},
    .backward = backward_split,
};
