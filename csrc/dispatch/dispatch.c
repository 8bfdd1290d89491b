/* dispatch.c - the walk of a call through the layers, and the bottom of it.
 *
 * A call collects the key bits of its tensors and the thread's masks; the highest bit names the
 * layer that takes it first. A call without bits goes straight to the bottom: the rule makes the
 * results, the kernel of their device fills them, targets and versions follow. A row without a
 * kernel for the device runs its composite, whose calls start at the top again.
 *
 * A view can need a gradient that only its base knows of (the base was changed in place), so the
 * GRAD bit of the base counts as one of the view. Messages are prefixed with the name of the
 * outermost operator, the one that the user called.
 */
#include "dispatch/dispatch.h"

#include "dispatch/pin.h"
#include "dispatch/target.h"

#include <stdio.h>
#include <string.h>

_Thread_local FacThread fac_thread;
FacKernel fac_layers[FAC_KEYS] = {[FAC_KEY_INDEX_LAZY] = fac_layer_lazy};

/* --- messages --------------------------------------------------------------------------------- */

static void
name_operator(const FacCall *call)
{
    char name[160];
    bool inplace = call->flags & FAC_CALL_INPLACE;
    const char *shown = call->op->public_name ? call->op->public_name : call->op->name;
    snprintf(name, sizeof name, "%s%s()", shown, inplace ? "_" : "");
    fac_error_prefix(name);
}

static FacStatus
no_layer(int key)
{
    static const char *const texts[] = {
#define KEY_TEXT(name, text) text,
        FAC_KEY_LIST(KEY_TEXT)
#undef KEY_TEXT
    };
    return fac_error(FAC_NOT_IMPLEMENTED,
                     "a tensor or this thread asks for the layer \"%s\", which is not installed",
                     texts[key]);
}

static FacStatus
no_kernel(const FacCall *call, FacDevice device)
{
    char text[32];
    return fac_error(FAC_NOT_IMPLEMENTED,
                     "the operator '%s' has no implementation for tensors on '%s'", call->op->name,
                     fac_device_text(device, text));
}

/* --- the walk --------------------------------------------------------------------------------- */

static uint32_t
list_keys(FacValue list)
{
    uint32_t keys = 0;
    for (uint32_t i = 0; i < list.len; i++)
        if (list.v.tensors[i]) keys |= fac_tensor_keys(list.v.tensors[i]);
    return keys;
}

static FacStatus
check_tensors(const FacCall *call)
{
    for (int i = 0; i < call->op->nparams; i++) {
        FacValue arg = call->args[i];
        FacTensor *const *list = arg.tag == FAC_V_TENSORS ? arg.v.tensors : &arg.v.t;
        uint32_t n = arg.tag == FAC_V_TENSORS ? arg.len : arg.tag == FAC_V_TENSOR;
        for (uint32_t k = 0; k < n; k++) {
            const char *wrong = list[k] ? fac_tensor_check(list[k]) : NULL;
            if (wrong)
                return fac_error(FAC_RUNTIME_ERROR, "argument '%s' is not a valid tensor: %s",
                                 call->op->params[i].name, wrong);
        }
    }
    return FAC_OK;
}

FacStatus
fac_dispatch_next(FacCall *call)
{
    if (FAC_UNLIKELY(fac_thread.checks)) FAC_RETURN_IF_ERROR(check_tensors(call));
    if (!call->keys) return fac_dispatch_device(call);
    int key = 31 - __builtin_clz(call->keys);
    FacKernel layer = call->op->layer[key] ? call->op->layer[key] : fac_layers[key];
    if (FAC_UNLIKELY(!layer)) return no_layer(key);
    return layer(call);
}

FacStatus
fac_dispatch(FacCall *call)
{
    const FacOp *op = call->op;
    FacThread *thread = &fac_thread;
    uint32_t keys = thread->include;
    for (int i = 0; i < op->nparams; i++) {
        FacValue arg = call->args[i];
        if (arg.tag == FAC_V_TENSOR)
            keys |= fac_tensor_keys(arg.v.t);
        else if (arg.tag == FAC_V_TENSORS)
            keys |= list_keys(arg);
    }
    if (call->targets)
        for (int i = 0; i < op->nresults; i++)
            if (call->targets[i]) keys |= fac_tensor_keys(call->targets[i]);
    call->keys = keys & ~thread->exclude;
    thread->depth++;
    FacStatus st = fac_dispatch_next(call);
    if (--thread->depth == 0 && FAC_UNLIKELY(st != FAC_OK) && st != FAC_FOREIGN)
        name_operator(call);
    return st;
}

/* --- the bottom ------------------------------------------------------------------------------- */

static bool
has_kernel(const FacOp *op, int type)
{
    if (op->kernel[type]) return true;
    return type == FAC_DEV_META && op->rule && op->kernel[FAC_DEV_CPU];
}

/* Where the call computes: on the device of its first result, or of its arguments. */
static FacDevice
call_device(const FacCall *call)
{
    if (call->op->nresults > 0) {
        FacValue first = call->results[0];
        if (first.tag == FAC_V_TENSOR) return first.v.t->device;
        if (first.tag == FAC_V_TENSORS && first.len && first.v.tensors[0])
            return first.v.tensors[0]->device;
    }
    return fac_call_device(call);
}

static FacStatus
need_results(const FacCall *call)
{
    for (int i = 0; i < call->op->nresults; i++)
        if (call->results[i].tag == FAC_V_NONE)
            return fac_error(FAC_RUNTIME_ERROR,
                             "the result depends on data, and a tensor on 'meta' has none");
    return FAC_OK;
}

/* Kernels read the memory of their arguments, so all lie on the device; a 0-d tensor of the CPU may
 * stand for a number. */
static FacStatus
check_place(const FacTensor *t, FacDevice device)
{
    if (FAC_LIKELY(!t)) return FAC_OK;
    if (FAC_UNLIKELY(t->flags & FAC_T_OVERRIDDEN_STORAGE))
        return fac_error(FAC_RUNTIME_ERROR,
                         "a tensor that has no data of its own came to a kernel");
    if (FAC_LIKELY(t->device.type == device.type)) return FAC_OK;
    if (t->device.type == FAC_DEV_CPU && t->ndim == 0) return FAC_OK;
    char here[32], there[32];
    return fac_error(FAC_RUNTIME_ERROR,
                     "Expected all tensors to be on the same device, but found at least two "
                     "devices, %s and %s!",
                     fac_device_text(device, here), fac_device_text(t->device, there));
}

static FacStatus
check_places(const FacCall *call, FacDevice device)
{
    const FacOp *op = call->op;
    bool like =
        (op->flags & FAC_OP_FACTORY) && op->nparams && op->params[0].type == FAC_TYPE_TENSOR;
    for (int i = like; i < op->nparams;
         i++) { /* of empty_like and its kin only the shape is read */
        FacValue arg = call->args[i];
        if (arg.tag == FAC_V_TENSOR) FAC_RETURN_IF_ERROR(check_place(arg.v.t, device));
        for (uint32_t k = 0; arg.tag == FAC_V_TENSORS && k < arg.len; k++)
            FAC_RETURN_IF_ERROR(check_place(arg.v.tensors[k], device));
    }
    return FAC_OK;
}

static FacStatus
run_kernel(FacCall *call)
{
    FacDevice device = call_device(call);
    FacKernel kernel = call->op->kernel[device.type];
    if (FAC_LIKELY(kernel != NULL)) {
        if (!call->alike) FAC_RETURN_IF_ERROR(check_places(call, device));
        if (device.type == FAC_DEV_META || FAC_LIKELY(!fac_runs_long(call))) return kernel(call);
        bool alone = call->op->foreign || !fac_outside.held || !fac_outside.held();
        return alone ? kernel(call) : fac_run_pinned(call, kernel);
    }
    if (device.type == FAC_DEV_META && call->op->rule) return need_results(call);
    return no_kernel(call, device);
}

/* Views remember how they were taken: autograd refuses some in-place changes of them. A row may
 * give its argument itself (the real part of a real tensor): that is not a view of this call. */
static void
flag_views(FacCall *call)
{
    const FacOp *op = call->op;
    const FacTensor *self = op->nparams ? fac_v_as_tensor(call->args[0]) : NULL;
    uint8_t flags = fac_grad_enabled() ? 0 : FAC_T_NO_GRAD_VIEW;
    if (self && self->base) flags |= self->flags & (FAC_T_NO_GRAD_VIEW | FAC_T_MULTI_VIEW);
    for (int i = 0; i < op->nresults; i++) {
        FacValue *result = &call->results[i];
        if (result->tag == FAC_V_TENSOR) {
            if (op->nresults > 1) flags |= FAC_T_MULTI_VIEW;
            if (result->v.t->base && result->v.t != self) result->v.t->flags |= flags;
        } else if (result->tag == FAC_V_TENSORS) {
            for (uint32_t k = 0; k < result->len; k++)
                if (result->v.tensors[k]->base)
                    result->v.tensors[k]->flags |= flags | FAC_T_MULTI_VIEW;
        }
    }
}

FacStatus
fac_dispatch_device(FacCall *call)
{
    FacStatus st = FAC_OK;
    const FacOp *op = call->op;
    bool writes = call->targets || (op->flags & FAC_OP_WRITES);
    if (op->composite && !has_kernel(op, fac_call_device(call).type))
        return fac_dispatch_composite(call);
    call->direct = 0;
    call->alike = false;
    call->compute = FAC_DT_NONE;
    if (FAC_UNLIKELY(writes)) FAC_TRY(fac_check_written(call));
    if (FAC_LIKELY(op->rule != NULL)) FAC_TRY(op->rule(call));
    if (op->flags & FAC_OP_VIEW)
        flag_views(call);
    else
        FAC_TRY(run_kernel(call));
    if (FAC_UNLIKELY(writes)) FAC_TRY(fac_finish_written(call));
    for (int i = 0; i < op->nresults; i++) call->results[i].flags |= FAC_VALUE_OWNED;
done:
    if (FAC_UNLIKELY(st != FAC_OK)) fac_drop_results(call);
    return st;
}

FacStatus
fac_dispatch_composite(FacCall *call)
{
    FacStatus st = FAC_OK;
    FacTensor **targets = call->targets;
    uint8_t flags = call->flags;
    call->targets = NULL;
    call->flags = 0;
    FAC_TRY(call->op->composite(call));
    for (int i = 0; i < call->op->nresults; i++) call->results[i].flags |= FAC_VALUE_OWNED;
    call->flags = flags;
    for (int i = 0; targets && i < call->op->nresults; i++)
        if (targets[i]) FAC_TRY(fac_copy_to_target(call, i, targets[i]));
done:
    call->targets = targets;
    call->flags = flags;
    if (FAC_UNLIKELY(st != FAC_OK)) fac_drop_results(call);
    return st;
}

/* --- calls from C ----------------------------------------------------------------------------- */

/* The arguments with the defaults of those that are not given. */
static FacStatus
fill_frame(const FacOp *op, int nargs, const FacValue *args, FacValue *frame)
{
    if (nargs > op->nparams)
        return fac_error(FAC_TYPE_ERROR, "%s() takes %d arguments, %d were given", op->name,
                         op->nparams, nargs);
    if (nargs) memcpy(frame, args, (size_t)nargs * sizeof *frame);
    for (int i = nargs; i < op->nparams; i++) {
        if (!(op->params[i].flags & (FAC_P_DEFAULT | FAC_P_OPTIONAL)))
            return fac_error(FAC_TYPE_ERROR, "%s() misses its argument '%s'", op->name,
                             op->params[i].name);
        frame[i] = op->params[i].fallback;
    }
    return FAC_OK;
}

FacStatus
fac_call(const FacOp *op, int nargs, const FacValue *args, FacValue *results)
{
    FacValue frame[FAC_MAX_PARAMS];
    FAC_RETURN_IF_ERROR(fill_frame(op, nargs, args, frame));
    FacCall call = {.op = op, .args = frame, .results = results};
    for (int i = 0; i < op->nresults; i++) results[i] = FAC_VALUE_NONE;
    return fac_dispatch(&call);
}

static FacStatus
call_into(const FacOp *op, int nargs, const FacValue *args, FacTensor **targets, uint8_t flags)
{
    FacValue frame[FAC_MAX_PARAMS], results[FAC_MAX_RESULTS];
    FAC_RETURN_IF_ERROR(fill_frame(op, nargs, args, frame));
    for (int i = 0; i < op->nresults; i++) results[i] = FAC_VALUE_NONE;
    FacCall call = {
        .op = op, .args = frame, .results = results, .targets = targets, .flags = flags};
    FacStatus st = fac_dispatch(&call);
    if (st == FAC_OK) fac_values_release(results, op->nresults);
    return st;
}

FacStatus
fac_call_inplace(const FacOp *op, int nargs, const FacValue *args)
{
    FacTensor *targets[FAC_MAX_RESULTS] = {nargs > 0 ? fac_v_as_tensor(args[0]) : NULL};
    if (!targets[0]) return fac_error(FAC_TYPE_ERROR, "%s_() needs a tensor to write to", op->name);
    return call_into(op, nargs, args, targets, FAC_CALL_INPLACE);
}

FacStatus
fac_call_out(const FacOp *op, int nargs, const FacValue *args, FacTensor **targets)
{
    return call_into(op, nargs, args, targets, FAC_CALL_OUT);
}

const FacValue *
fac_call_args(const FacCall *call)
{
    return call->args;
}

FacValue *
fac_call_results(FacCall *call)
{
    return call->results;
}
