/* target.c - making results, and writing where the caller asked for it.
 *
 * fac_out* is how a rule makes a result. Without a target that is a fresh tensor. With one (the
 * in-place and out= forms) the kernel writes to the target itself where it can: pointwise rows
 * always can unless the target shares memory with an operand in an unequal layout, the others when
 * dtype and layout are what the rule asked for and no argument lies in the same storage. Otherwise
 * the result is made aside and copied when the kernel is done.
 */
#include "dispatch/target.h"

#include "tensor/layout.h"

#include <string.h>

/* --- devices ---------------------------------------------------------------------------------- */

typedef struct Walker {
    const FacCall *call;
    int arg;
    uint32_t item;
} Walker;

/* The next tensor among the arguments, lists included; NULL at the end. */
static FacTensor *
next_tensor(Walker *w)
{
    while (w->arg < w->call->op->nparams) {
        FacValue arg = w->call->args[w->arg];
        if (arg.tag == FAC_V_TENSORS && w->item < arg.len) {
            FacTensor *t = arg.v.tensors[w->item++];
            if (t) return t;
            continue;
        }
        w->item = 0;
        w->arg++;
        if (arg.tag == FAC_V_TENSOR) return arg.v.t;
    }
    return NULL;
}

static bool
is_roaming(const FacTensor *t) /* a CPU scalar, which goes with tensors of any device */
{
    return t->ndim == 0 && t->device.type == FAC_DEV_CPU;
}

FacDevice
fac_call_device(const FacCall *call)
{
    Walker w = {.call = call};
    FacTensor *first = NULL;
    for (FacTensor *t = next_tensor(&w); t; t = next_tensor(&w)) {
        if (!is_roaming(t)) return t->device;
        if (!first) first = t;
    }
    return first ? first->device : fac_default_device();
}

FacStatus
fac_check_same_device(const FacCall *call)
{
    Walker w = {.call = call};
    FacTensor *first = NULL;
    for (FacTensor *t = next_tensor(&w); t; t = next_tensor(&w)) {
        if (is_roaming(t)) continue;
        if (!first) first = t;
        if (fac_device_equal(first->device, t->device)) continue;
        char a[32], b[32];
        return fac_error(FAC_RUNTIME_ERROR,
                         "Expected all tensors to be on the same device, but found at least two "
                         "devices, %s and %s!",
                         fac_device_text(first->device, a), fac_device_text(t->device, b));
    }
    return FAC_OK;
}

/* --- dtypes ----------------------------------------------------------------------------------- */

FacStatus
fac_not_implemented_for(const FacCall *call, FacDType dt)
{
    const char *legacy = dt >= 0 ? fac_dtype_info[dt].legacy : "Undefined";
    return fac_error(FAC_NOT_IMPLEMENTED, "\"%s\" not implemented for '%s'", call->op->name,
                     legacy);
}

FacStatus
fac_check_dtypes(const FacCall *call, FacDType dt, uint32_t allowed)
{
    if (dt >= 0 && (allowed & FAC_BIT(dt))) return FAC_OK;
    return fac_not_implemented_for(call, dt);
}

/* --- overlap ---------------------------------------------------------------------------------- */

FacOverlap
fac_overlap(const FacTensor *a, const FacTensor *b)
{
    if (a->storage != b->storage || a->numel == 0 || b->numel == 0) return FAC_OVERLAP_NONE;
    if (a->offset == b->offset && a->ndim == b->ndim && a->dtype == b->dtype &&
        memcmp(a->sizes, b->sizes, a->ndim * sizeof(FacDim)) == 0 &&
        memcmp(a->strides, b->strides, a->ndim * sizeof(FacDim)) == 0)
        return FAC_OVERLAP_SAME;
    if (!fac_is_dense(a->ndim, a->sizes, a->strides) ||
        !fac_is_dense(b->ndim, b->sizes, b->strides))
        return FAC_OVERLAP_UNKNOWN;
    if (fac_is_meta(a)) return FAC_OVERLAP_UNKNOWN;
    const char *first_a = fac_data(a), *first_b = fac_data(b);
    bool apart = first_a + fac_nbytes(a) <= first_b || first_b + fac_nbytes(b) <= first_a;
    return apart ? FAC_OVERLAP_NONE : FAC_OVERLAP_PARTIAL;
}

static FacStatus
check_itself(const FacTensor *target)
{
    for (int i = 0; i < target->ndim; i++)
        if (target->strides[i] == 0 && target->sizes[i] > 1 && target->numel > 0)
            return fac_error(
                FAC_RUNTIME_ERROR,
                "unsupported operation: more than one element of the written-to tensor "
                "refers to a single memory location. Please clone() the tensor before "
                "performing the operation.");
    return FAC_OK;
}

FacStatus
fac_check_overlap(const FacCall *call, const FacTensor *target)
{
    FAC_RETURN_IF_ERROR(check_itself(target));
    Walker w = {.call = call};
    for (FacTensor *t = next_tensor(&w); t; t = next_tensor(&w))
        if (fac_overlap(target, t) == FAC_OVERLAP_PARTIAL)
            return fac_error(FAC_RUNTIME_ERROR,
                             "unsupported operation: some elements of the input tensor and the "
                             "written-to tensor refer to a single memory location. Please clone() "
                             "the tensor before performing the operation.");
    return FAC_OK;
}

/* --- targets ---------------------------------------------------------------------------------- */

static FacStatus
size_error(const FacTensor *target, int ndim, const FacDim *sizes)
{
    FacText text = {.len = 0};
    fac_text_add(&text, "output with shape ");
    fac_text_dims(&text, target->ndim, target->sizes);
    fac_text_add(&text, " doesn't match the broadcast shape ");
    fac_text_dims(&text, ndim, sizes);
    return fac_error(FAC_RUNTIME_ERROR, "%s", text.at);
}

/* An argument that changed its shape would no longer be what the rule has looked at. */
static FacStatus
check_not_argument(const FacCall *call, const FacTensor *target, int ndim, const FacDim *sizes)
{
    Walker w = {.call = call};
    for (FacTensor *t = next_tensor(&w); t; t = next_tensor(&w)) {
        if (t != target) continue;
        FacText text = {.len = 0};
        fac_text_add(&text, "unsupported operation: the tensor to write to is an argument too, and "
                            "would have to be resized from shape ");
        fac_text_dims(&text, target->ndim, target->sizes);
        fac_text_add(&text, " to ");
        fac_text_dims(&text, ndim, sizes);
        return fac_error(FAC_RUNTIME_ERROR, "%s; give another tensor as out=", text.at);
    }
    return FAC_OK;
}

static FacStatus
resize_target(FacTensor *target, int ndim, const FacDim *sizes)
{
    if (target->numel != 0) {
        FacText text = {.len = 0};
        fac_text_add(&text, "An output with one or more elements was resized since it had shape ");
        fac_text_dims(&text, target->ndim, target->sizes);
        fac_text_add(&text, ", which does not match the required output shape ");
        fac_text_dims(&text, ndim, sizes);
        FAC_RETURN_IF_ERROR(fac_warn(
            FAC_WARN_USER,
            "%s. Resize it to no elements by t.resize_(0) before it is passed as out=.", text.at));
    }
    return fac_tensor_resize(target, ndim, sizes);
}

/* Whether a result of this shape, dtype and device can go to the target; out= may resize it. */
static FacStatus
fit_target(const FacCall *call, FacTensor *target, FacDType dtype, FacDevice device, int ndim,
           const FacDim *sizes)
{
    if (!fac_can_cast(dtype, (FacDType)target->dtype))
        return fac_error(FAC_RUNTIME_ERROR,
                         "result type %s can't be cast to the desired output type %s",
                         fac_dtype_info[dtype].legacy, fac_dtype_info[target->dtype].legacy);
    if (device.type != target->device.type) {
        char a[32], b[32];
        return fac_error(FAC_RUNTIME_ERROR,
                         "Expected all tensors to be on the same device, but the result is on %s "
                         "and the tensor to write to is on %s!",
                         fac_device_text(device, a), fac_device_text(target->device, b));
    }
    bool same = target->ndim == ndim &&
                (ndim == 0 || memcmp(target->sizes, sizes, (size_t)ndim * sizeof *sizes) == 0);
    if (same) return FAC_OK;
    if (call->flags & FAC_CALL_INPLACE) return size_error(target, ndim, sizes);
    FAC_RETURN_IF_ERROR(check_not_argument(call, target, ndim, sizes));
    return resize_target(target, ndim, sizes);
}

/* Whether the kernel may write to the target itself. */
static bool
can_write(const FacCall *call, const FacTensor *target, FacDType dtype, const FacDim *strides)
{
    Walker w = {.call = call};
    if (call->op->flags & FAC_OP_POINTWISE) {
        for (FacTensor *t = next_tensor(&w); t; t = next_tensor(&w))
            if (fac_overlap(target, t) == FAC_OVERLAP_UNKNOWN) return false;
        return true;
    }
    if (strides || target->dtype != dtype || !target->contiguous ||
        (target->flags & (FAC_T_CONJ | FAC_T_NEG)))
        return false;
    for (FacTensor *t = next_tensor(&w); t; t = next_tensor(&w))
        if (t->storage == target->storage) return false;
    return true;
}

/* Results are owned by the frame; inference mode marks what is made in it. */
static FacStatus
make_result(FacCall *call, int i, FacDType dtype, FacDevice device, int ndim, const FacDim *sizes,
            const FacDim *strides)
{
    FacTensor *t;
    FacStatus st = strides ? fac_tensor_new_strided(dtype, device, ndim, sizes, strides, &t)
                           : fac_tensor_new(dtype, device, ndim, sizes, &t);
    if (FAC_UNLIKELY(st != FAC_OK)) return st;
    if (FAC_UNLIKELY(fac_thread.inference)) t->flags |= FAC_T_INFERENCE;
    call->results[i] = (FacValue){.tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = t};
    return FAC_OK;
}

FacStatus
fac_out_strided(FacCall *call, int i, FacDType dtype, FacDevice device, int ndim,
                const FacDim *sizes, const FacDim *strides)
{
    FacTensor *target = call->targets ? call->targets[i] : NULL;
    if (FAC_UNLIKELY(dtype < 0))
        return fac_error(FAC_RUNTIME_ERROR, "the dtypes of the arguments have no common dtype");
    if (FAC_LIKELY(!target)) return make_result(call, i, dtype, device, ndim, sizes, strides);
    FAC_RETURN_IF_ERROR(fit_target(call, target, dtype, device, ndim, sizes));
    FAC_RETURN_IF_ERROR(call->op->flags & FAC_OP_POINTWISE ? fac_check_overlap(call, target)
                                                           : check_itself(target));
    if (!can_write(call, target, dtype, strides))
        return make_result(call, i, dtype, device, ndim, sizes, strides);
    call->direct |= (uint8_t)(1u << i);
    call->results[i] =
        (FacValue){.tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = fac_tensor_retain(target)};
    return FAC_OK;
}

FacStatus
fac_out(FacCall *call, int i, FacDType dtype, FacDevice device, int ndim, const FacDim *sizes)
{
    return fac_out_strided(call, i, dtype, device, ndim, sizes, NULL);
}

FacStatus
fac_out_view(FacCall *call, int i, FacTensor *of, int ndim, const FacDim *sizes,
             const FacDim *strides, int64_t offset)
{
    FacTensor *t;
    FAC_RETURN_IF_ERROR(fac_tensor_view(of, ndim, sizes, strides, offset, &t));
    call->results[i] = (FacValue){.tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = t};
    return FAC_OK;
}

/* --- around the kernel ------------------------------------------------------------------------ */

static FacStatus
check_writable(const FacTensor *t)
{
    if (t->storage->read_only)
        return fac_error(FAC_RUNTIME_ERROR,
                         "the tensor shares the memory of a read-only array and cannot be changed "
                         "in place; change a clone() of it");
    if ((t->flags & FAC_T_INFERENCE) && !fac_thread.inference)
        return fac_error(
            FAC_RUNTIME_ERROR,
            "Inplace update to inference tensor outside InferenceMode is not allowed. "
            "You can make a clone to get a normal tensor before doing inplace update.");
    return FAC_OK;
}

/* Calls `visit` for every tensor that the call writes. */
static FacStatus
for_written(const FacCall *call, FacStatus (*visit)(const FacCall *call, FacTensor *t))
{
    const FacOp *op = call->op;
    for (int i = 0; call->targets && i < op->nresults; i++)
        if (call->targets[i]) FAC_RETURN_IF_ERROR(visit(call, call->targets[i]));
    for (int i = 0; i < op->nparams; i++) {
        if (!(op->params[i].flags & FAC_P_WRITE)) continue;
        FacValue arg = call->args[i];
        if (arg.tag == FAC_V_TENSOR) FAC_RETURN_IF_ERROR(visit(call, arg.v.t));
        for (uint32_t k = 0; arg.tag == FAC_V_TENSORS && k < arg.len; k++)
            if (arg.v.tensors[k]) FAC_RETURN_IF_ERROR(visit(call, arg.v.tensors[k]));
    }
    return FAC_OK;
}

static FacStatus
visit_check(const FacCall *call, FacTensor *t)
{
    (void)call;
    return check_writable(t);
}

static FacStatus
visit_bump(const FacCall *call, FacTensor *t)
{
    return t->flags & FAC_T_INFERENCE ? FAC_OK : fac_tensor_bump_by(t, call);
}

FacStatus
fac_check_written(const FacCall *call)
{
    return for_written(call, visit_check);
}

static void
become_target(FacCall *call, int i, FacTensor *target)
{
    fac_tensor_retain(target);
    fac_value_release(&call->results[i]);
    call->results[i] = (FacValue){.tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = target};
}

/* A view as the result of an in-place form (transpose_): the target takes over the view's
 * layout. */
static FacStatus
become_view(FacTensor *target, const FacTensor *view)
{
    return fac_tensor_set_layout(target, NULL, view->ndim, view->sizes, view->strides,
                                 view->offset);
}

FacStatus
fac_finish_written(FacCall *call)
{
    const FacOp *op = call->op;
    for (int i = 0; call->targets && i < op->nresults; i++) {
        FacTensor *target = call->targets[i];
        if (!target || (call->direct >> i & 1)) continue;
        FacTensor *made = fac_result_tensor(call, i);
        if (made != target)
            FAC_RETURN_IF_ERROR(op->flags & FAC_OP_VIEW ? become_view(target, made)
                                                        : fac_tensor_copy(target, made));
        become_target(call, i, target);
    }
    return for_written(call, visit_bump);
}

FacStatus
fac_copy_to_target(FacCall *call, int i, FacTensor *target)
{
    FacTensor *made = fac_result_tensor(call, i);
    if (made == target) return FAC_OK;
    FAC_RETURN_IF_ERROR(
        fit_target(call, target, (FacDType)made->dtype, made->device, made->ndim, made->sizes));
    const FacOp *copy = fac_op_find("copy_");
    FacValue args[] = {fac_v_tensor(target), fac_v_tensor(made)}, result;
    if (!copy) return fac_error(FAC_NOT_IMPLEMENTED, "the operator 'copy_' is missing");
    FAC_RETURN_IF_ERROR(fac_call(copy, 2, args, &result));
    fac_value_release(&result);
    become_target(call, i, target);
    return FAC_OK;
}

void
fac_drop_results(FacCall *call)
{
    for (int i = 0; i < call->op->nresults; i++) {
        call->results[i].flags |= FAC_VALUE_OWNED;
        fac_value_release(&call->results[i]);
    }
}
