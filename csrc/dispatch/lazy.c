/* lazy.c - the layer of the conj and neg bits.
 *
 * A conjugated or negated view is read as such only by rows that say so: pointwise rows, whose
 * engine applies the bits while it loads and stores, views, which pass them on, and rows marked
 * conj. For every other row the arguments are carried out here: copies for what is read; for what
 * is written a copy that goes back through the bits when the call is done.
 */
#include "dispatch/dispatch.h"

enum { MAX_CARRIED = 16 };

static bool
is_lazy(const FacTensor *t)
{
    return (t->flags & (FAC_T_CONJ | FAC_T_NEG)) != 0;
}

typedef struct Carried {
    int n;
    FacTensor *plain[FAC_MAX_PARAMS];   /* owned */
    FacTensor *written[FAC_MAX_PARAMS]; /* where plain[i] goes back to, or NULL; borrowed */
    int nlists;
    FacValue lists[MAX_CARRIED]; /* owned */
} Carried;

static FacStatus
carry_list(FacValue *arg, Carried *c)
{
    FacTensor **slots;
    bool lazy = false;
    for (uint32_t i = 0; i < arg->len; i++) lazy |= arg->v.tensors[i] && is_lazy(arg->v.tensors[i]);
    if (!lazy) return FAC_OK;
    if (c->nlists == MAX_CARRIED)
        return fac_error(FAC_NOT_IMPLEMENTED, "more than %d lists of lazy tensors", MAX_CARRIED);
    FacValue *list = &c->lists[c->nlists];
    FAC_RETURN_IF_ERROR(fac_value_new_tensors((int)arg->len, list, &slots));
    c->nlists++;
    for (uint32_t i = 0; i < arg->len; i++) {
        FacTensor *t = arg->v.tensors[i];
        if (!t) continue;
        if (!is_lazy(t)) {
            slots[i] = fac_tensor_retain(t);
            continue;
        }
        FAC_RETURN_IF_ERROR(fac_contiguous(t, FAC_DT_NONE, &slots[i]));
    }
    arg->v = list->v;
    return FAC_OK;
}

static FacStatus
carry_arguments(const FacCall *call, FacValue *frame, Carried *c)
{
    const FacOp *op = call->op;
    for (int i = 0; i < op->nparams; i++) {
        FacValue *arg = &frame[i];
        *arg = call->args[i];
        if (arg->tag == FAC_V_TENSORS) {
            FAC_RETURN_IF_ERROR(carry_list(arg, c));
            continue;
        }
        if (arg->tag != FAC_V_TENSOR || !is_lazy(arg->v.t)) continue;
        FAC_RETURN_IF_ERROR(fac_contiguous(arg->v.t, FAC_DT_NONE, &c->plain[c->n]));
        c->written[c->n] = op->params[i].flags & FAC_P_WRITE ? arg->v.t : NULL;
        arg->v.t = c->plain[c->n++];
    }
    return FAC_OK;
}

/* Puts what was written back, and the caller's tensor in place of the copy among the results. */
static FacStatus
put_back(FacCall *call, const Carried *c)
{
    for (int i = 0; i < c->n; i++) {
        FacTensor *target = c->written[i];
        if (!target) continue;
        FAC_RETURN_IF_ERROR(fac_tensor_copy(target, c->plain[i]));
        FAC_RETURN_IF_ERROR(fac_tensor_bump(target));
        for (int k = 0; k < call->op->nresults; k++)
            if (fac_v_as_tensor(call->results[k]) == c->plain[i]) {
                fac_tensor_release(c->plain[i]);
                call->results[k].v.t = fac_tensor_retain(target);
            }
    }
    return FAC_OK;
}

FacStatus
fac_layer_lazy(FacCall *call)
{
    const FacOp *op = call->op;
    call->keys &= ~FAC_KEY(LAZY);
    bool composite = op->composite && !op->kernel[FAC_DEV_CPU];
    if (composite || (op->flags & (FAC_OP_CONJ | FAC_OP_POINTWISE | FAC_OP_VIEW)))
        return fac_dispatch_next(call);

    FacValue frame[FAC_MAX_PARAMS], *args = call->args;
    Carried c;
    c.n = c.nlists = 0;
    FacStatus st = carry_arguments(call, frame, &c);
    if (st == FAC_OK) {
        call->args = frame;
        st = fac_dispatch_next(call);
        call->args = args;
    }
    if (st == FAC_OK) st = put_back(call, &c);
    for (int i = 0; i < c.n; i++) fac_tensor_release(c.plain[i]);
    for (int i = 0; i < c.nlists; i++) fac_value_release(&c.lists[i]);
    return st;
}
