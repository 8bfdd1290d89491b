/* transform.c - the layer of transforms, and levels of gradients.
 *
 * The innermost level that a tensor of the call belongs to takes the call. A level of gradients
 * lifts all tensors into the level, lets the layer of autograd record on the wrappers, and at the
 * bottom of the level (the key LEVEL) runs the call on the values, where outer levels and the
 * thread's own history see it as any other call.
 *
 * A wrapper whose level has ended counts as its value: the function that vjp returns runs the
 * graph of a level that is over.
 */
#include "layers/transform.h"

#include "generated/ops.h"

/* --- wrappers of levels that have ended ------------------------------------------------------- */

static bool
is_stale(const FacTensor *t)
{
    FacWrapped *wrapped = t && (t->keys & FAC_KEY(TRANSFORM)) ? fac_wrapped(t) : NULL;
    return wrapped && !fac_level_visible(wrapped->id);
}

static FacStatus
live_value(void *context, FacTensor *t, FacTensor **out)
{
    (void)context;
    while (is_stale(t)) {
        if (fac_wrapped(t)->kind == FAC_LEVEL_BATCH)
            return fac_error(FAC_RUNTIME_ERROR,
                             "a tensor from inside of vmap was kept and is used after that vmap "
                             "has ended; return it from the function instead");
        t = fac_wrapped(t)->value;
    }
    *out = fac_tensor_retain(t);
    return FAC_OK;
}

static bool
any_stale(FacValue v)
{
    if (v.tag == FAC_V_TENSOR) return is_stale(v.v.t);
    for (uint32_t i = 0; v.tag == FAC_V_TENSORS && i < v.len; i++)
        if (is_stale(v.v.tensors[i])) return true;
    return false;
}

static bool
has_stale(const FacCall *call)
{
    for (int i = 0; i < call->op->nparams; i++)
        if (any_stale(call->args[i])) return true;
    for (int i = 0; call->targets && i < call->op->nresults; i++)
        if (is_stale(call->targets[i])) return true;
    return false;
}

static FacStatus
run_on_live_values(FacCall *call)
{
    FacMapped live;
    FacStatus st = fac_map_call(call, live_value, NULL, &live);
    if (st == FAC_OK) st = fac_dispatch(&live.call);
    for (int i = 0; st == FAC_OK && i < call->op->nresults; i++)
        for (int k = 0; k < call->op->nparams; k++) {
            /* a result that is an argument is the one that the caller gave */
            FacTensor *t = fac_v_as_tensor(call->results[i]);
            FacTensor *given = fac_v_as_tensor(call->args[k]);
            if (!t || !given || given == t || t != fac_v_as_tensor(live.args[k])) continue;
            fac_value_release(&call->results[i]);
            call->results[i] = (FacValue){
                .tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = fac_tensor_retain(given)};
        }
    fac_mapped_end(&live);
    return st;
}

/* --- between a level and the next ------------------------------------------------------------- */

static FacStatus
value_at(void *context, FacTensor *t, FacTensor **out)
{
    FacTensor *value = fac_value_at(t, context);
    *out = fac_tensor_retain(value ? value : t);
    return FAC_OK;
}

FacStatus
fac_unwrap_call(const FacCall *call, FacLevel *level, FacMapped *out)
{
    return fac_map_call(call, value_at, level, out);
}

/* The argument or target of `call` whose value is t (borrowed). */
static FacTensor *
wrapper_of(const FacCall *call, const FacLevel *level, const FacTensor *t)
{
    for (int i = 0; i < call->op->nparams; i++) {
        FacTensor *arg = fac_v_as_tensor(call->args[i]);
        if (arg && (arg == t || fac_value_at(arg, level) == t)) return arg;
    }
    for (int i = 0; call->targets && i < call->op->nresults; i++) {
        FacTensor *target = call->targets[i];
        if (target && (target == t || fac_value_at(target, level) == t)) return target;
    }
    return NULL;
}

static FacStatus
wrap_result(const FacCall *call, FacLevel *level, FacTensor **slot)
{
    FacTensor *value = *slot, *made = wrapper_of(call, level, value);
    if (made) {
        fac_tensor_retain(made);
    } else {
        FAC_RETURN_IF_ERROR(fac_level_wrap(level, value, &made));
        FacTensor *first = call->op->nparams ? fac_v_as_tensor(call->args[0]) : NULL;
        if ((call->op->flags & FAC_OP_VIEW) && value->base && first) {
            fac_tensor_set_base(made, first);
            made->flags |= value->flags & (FAC_T_NO_GRAD_VIEW | FAC_T_MULTI_VIEW);
        }
    }
    *slot = made;
    fac_tensor_release(value);
    return FAC_OK;
}

FacStatus
fac_wrap_results(FacCall *call, FacLevel *level)
{
    for (int i = 0; i < call->op->nresults; i++) {
        FacValue *result = &call->results[i];
        if (result->tag == FAC_V_TENSOR) {
            FAC_RETURN_IF_ERROR(wrap_result(call, level, &result->v.t));
            result->flags |= FAC_VALUE_OWNED;
        } else if (result->tag == FAC_V_TENSORS) {
            FacTensor **list = (FacTensor **)(uintptr_t)result->v.tensors;
            for (uint32_t k = 0; k < result->len; k++)
                FAC_RETURN_IF_ERROR(wrap_result(call, level, &list[k]));
        }
    }
    return FAC_OK;
}

FacStatus
fac_visit_written(const FacCall *call, FacWrittenVisit visit, void *context)
{
    const FacOp *op = call->op;
    for (int i = 0; call->targets && i < op->nresults; i++)
        if (call->targets[i]) FAC_RETURN_IF_ERROR(visit(context, call->targets[i]));
    for (int i = 0; (op->flags & FAC_OP_WRITES) && i < op->nparams; i++) {
        if (!(op->params[i].flags & FAC_P_WRITE)) continue;
        FacValue v = call->args[i];
        FacTensor *const *list = v.tag == FAC_V_TENSORS ? v.v.tensors : &v.v.t;
        uint32_t n = v.tag == FAC_V_TENSORS ? v.len : v.tag == FAC_V_TENSOR;
        for (uint32_t k = 0; k < n; k++)
            if (list[k]) FAC_RETURN_IF_ERROR(visit(context, list[k]));
    }
    return FAC_OK;
}

static FacStatus
follow(void *context, FacTensor *t)
{
    return fac_value_at(t, context) ? fac_level_follow(t) : FAC_OK;
}

FacStatus
fac_follow_written(const FacCall *call, const FacLevel *level)
{
    return fac_visit_written(call, follow, (void *)(uintptr_t)level);
}

/* --- levels of gradients ---------------------------------------------------------------------- */

static FacStatus
lift(void *context, FacTensor *t, FacTensor **out)
{
    if (!fac_value_at(t, context)) return fac_level_wrap(context, t, out);
    *out = fac_tensor_retain(t);
    return FAC_OK;
}

static FacStatus
check_inside(void *context, FacTensor *t)
{
    if (fac_value_at(t, context)) return FAC_OK;
    return fac_error(FAC_RUNTIME_ERROR,
                     "a function that is being differentiated changes a tensor from outside of it "
                     "in place, which would be lost on the gradient; pass the tensor in as an "
                     "argument, or use the operation that is not in place");
}

FacStatus
fac_run_gradient(FacCall *call, FacLevel *level)
{
    FacMapped lifted;
    FAC_RETURN_IF_ERROR(fac_visit_written(call, check_inside, level));
    FacLevel *was = fac_level_enter(level);
    FacStatus st = fac_map_call(call, lift, level, &lifted);
    lifted.call.keys = FAC_KEY(LEVEL) | (fac_grad_enabled() ? FAC_KEY(GRAD) : 0);
    if (st == FAC_OK) st = fac_dispatch_next(&lifted.call);
    fac_mapped_end(&lifted);
    fac_level_enter(was);
    return st;
}

/* The bottom of a level of gradients: the layer of the key LEVEL. */
static FacStatus
layer_level(FacCall *call)
{
    FacLevel *level = fac_thread.level;
    FacMapped values;
    FacStatus st = fac_unwrap_call(call, level, &values);
    if (st == FAC_OK) {
        bool inside = fac_set_grad_enabled(level->grad_outside);
        fac_level_enter(level->below);
        st = fac_dispatch(&values.call);
        fac_level_enter(level);
        fac_set_grad_enabled(inside);
        if (st == FAC_OK) st = fac_wrap_results(call, level);
        if (st == FAC_OK) st = fac_follow_written(call, level);
        if (st != FAC_OK) fac_values_release(call->results, call->op->nresults);
    }
    fac_mapped_end(&values);
    return st;
}

/* Rows whose result is a tensor of one's own. */
static bool
makes_anew(const FacOp *op)
{
    return op->flags & FAC_OP_FACTORY || op == FAC_OP_clone;
}

/* What is made anew where gradients are taken is inside of that level, so that it may be changed in
 * place by what is differentiated. */
static FacStatus
run_maker(FacCall *call)
{
    FacLevel *level = fac_thread.level;
    while (level && level->kind != FAC_LEVEL_GRAD) level = level->below;
    if (!level || call->targets) return fac_dispatch_next(call);
    FacCall below = *call;
    FacLevel *was = fac_level_enter(level->below);
    bool inside = fac_set_grad_enabled(level->grad_outside);
    FacStatus st = fac_dispatch(&below);
    fac_set_grad_enabled(inside);
    fac_level_enter(was);
    if (st == FAC_OK) st = fac_wrap_results(call, level);
    if (st != FAC_OK) fac_values_release(call->results, call->op->nresults);
    return st;
}

/* --- the layer -------------------------------------------------------------------------------- */

static FacLevel *
level_of_call(const FacCall *call)
{
    FacLevel *level = NULL;
    for (int i = 0; i < call->op->nparams; i++) {
        FacValue v = call->args[i];
        if (v.tag == FAC_V_TENSOR) level = fac_level_of(v.v.t, level);
        for (uint32_t k = 0; v.tag == FAC_V_TENSORS && k < v.len; k++)
            level = fac_level_of(v.v.tensors[k], level);
    }
    for (int i = 0; call->targets && i < call->op->nresults; i++)
        level = fac_level_of(call->targets[i], level);
    if (!(call->op->flags & FAC_OP_RANDOM)) return level;
    for (FacLevel *at = fac_thread.level; at && at != level; at = at->below)
        if (at->kind == FAC_LEVEL_BATCH) return at;
    return level;
}

static FacStatus
layer_transform(FacCall *call)
{
    call->keys &= ~FAC_KEY(TRANSFORM);
    if (has_stale(call)) return run_on_live_values(call);
    FacLevel *level = level_of_call(call);
    if (!level) return makes_anew(call->op) ? run_maker(call) : fac_dispatch_next(call);
    switch (level->kind) {
    case FAC_LEVEL_GRAD: return fac_run_gradient(call, level);
    case FAC_LEVEL_FORWARD: return fac_run_forward(call, level);
    case FAC_LEVEL_BATCH: break;
    }
    return fac_run_batch(call, level);
}

__attribute__((constructor)) static void
install(void)
{
    fac_layers[FAC_KEY_INDEX_TRANSFORM] = layer_transform;
    fac_layers[FAC_KEY_INDEX_LEVEL] = layer_level;
}
