/* gradient.c - gradients are fitted to what they belong to, added up, and put into .grad.
 *
 * A formula gives the gradient in the shape of the result; an operand that was broadcast gets the
 * sum over what was repeated. A dtype that differs is cast, a complex gradient of a real operand
 * gives its real part. All of it by rows, so that it is recorded under create_graph.
 *
 * A gradient is added to in place, or becomes .grad itself, only where nobody else holds its
 * memory: one count on the tensor, and on its storage none but its own (and that of its base, if
 * it is a view whose base nobody else holds).
 */
#include "layers/gradient.h"

#include "generated/ops.h"
#include "layers/engine.h"
#include "layers/record.h"
#include "tensor/layout.h"

/* --- constants -------------------------------------------------------------------------------- */

FacStatus
fac_ones_like(const FacTensor *t, FacTensor **out)
{
    FacTensor *ones;
    if (t->device.type != FAC_DEV_CPU || t->numel != 1)
        return fac_op_ones_like((FacTensor *)t, FAC_DT_NONE, FAC_VALUE_NONE, FAC_VALUE_NONE,
                                FAC_VALUE_NONE, out);
    FAC_RETURN_IF_ERROR(fac_tensor_new((FacDType)t->dtype, t->device, t->ndim, t->sizes, &ones));
    fac_v_store(fac_v_int(1), (FacDType)t->dtype, fac_data(ones));
    *out = ones;
    return FAC_OK;
}

FacStatus
fac_ones_meta(const FacMeta *meta, FacTensor **out)
{
    FacTensor *like;
    FAC_RETURN_IF_ERROR(
        fac_tensor_new((FacDType)meta->dtype, meta->device, meta->ndim, meta->sizes, &like));
    FacStatus st = fac_ones_like(like, out);
    fac_tensor_release(like);
    return st;
}

FacStatus
fac_zeros_meta(const FacMeta *meta, FacTensor **out)
{
    FacTensor *zeros;
    FAC_RETURN_IF_ERROR(
        fac_tensor_new((FacDType)meta->dtype, meta->device, meta->ndim, meta->sizes, &zeros));
    const FacDeviceOps *ops = fac_devices[meta->device.type];
    FacStatus st = FAC_OK;
    if (ops && ops->fill_zero && zeros->numel && !fac_is_meta(zeros))
        st = ops->fill_zero(meta->device.index, fac_data(zeros), fac_nbytes(zeros));
    if (st != FAC_OK) {
        fac_tensor_release(zeros);
        return st;
    }
    *out = zeros;
    return FAC_OK;
}

/* --- fitting ---------------------------------------------------------------------------------- */

/* Which dims of a gradient of shape (ndim, sizes) are to be summed to give `meta`; false: none
 * fit. */
static bool
repeated_dims(const FacTensor *grad, const FacMeta *meta, FacDim *dims, int *n)
{
    int lead = grad->ndim - meta->ndim;
    *n = 0;
    if (lead < 0) return false;
    for (int i = 0; i < grad->ndim; i++) {
        if (i >= lead && grad->sizes[i] == meta->sizes[i - lead]) continue;
        if (i >= lead && meta->sizes[i - lead] != 1) return false;
        dims[(*n)++] = i;
    }
    return true;
}

/* Replaces *at by `next`, which is consumed. */
static void
step(FacTensor **at, FacTensor *next)
{
    fac_tensor_release(*at);
    *at = next;
}

/* With numel equal, or fewer dims, a gradient may still be expanded to the shape. */
static FacStatus
fit_shape(FacTensor **grad, const FacMeta *meta, bool *fits)
{
    FacDim dims[FAC_MAX_NDIM];
    FacTensor *next;
    int n;
    *fits = true;
    if (repeated_dims(*grad, meta, dims, &n)) {
        if (n) {
            FAC_RETURN_IF_ERROR(
                fac_op_sum_dim_IntList(*grad, fac_v_ints(dims, n), true, FAC_DT_NONE, &next));
            step(grad, next);
        }
        if ((*grad)->ndim != meta->ndim) {
            FAC_RETURN_IF_ERROR(fac_op_reshape(*grad, fac_v_ints(meta->sizes, meta->ndim), &next));
            step(grad, next);
        }
        return FAC_OK;
    }
    *fits = false;
    return FAC_OK;
}

static FacStatus
fit(FacTensor **grad, const FacMeta *meta, bool *fits)
{
    FacTensor *next;
    if (FAC_IS_COMPLEX((*grad)->dtype) && !FAC_IS_COMPLEX(meta->dtype)) {
        FAC_RETURN_IF_ERROR(fac_op_real(*grad, &next));
        step(grad, next);
    }
    FAC_RETURN_IF_ERROR(fit_shape(grad, meta, fits));
    if (!*fits || (*grad)->dtype == meta->dtype) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_op__to_copy(*grad, (FacDType)meta->dtype, FAC_VALUE_NONE,
                                        FAC_VALUE_NONE, false, FAC_VALUE_NONE, &next));
    step(grad, next);
    return FAC_OK;
}

FacStatus
fac_fit_gradient_take(FacNode *node, int input, const FacMeta *meta, FacTensor **grad)
{
    bool fits;
    char name[128];
    FacText text = {.len = 0};
    FacTensor *given = fac_tensor_retain(*grad);
    FacStatus st = fit(grad, meta, &fits);
    if (st == FAC_OK && !fits) {
        fac_text_dims(&text, given->ndim, given->sizes);
        fac_text_add(&text, " but expected shape compatible with ");
        fac_text_dims(&text, meta->ndim, meta->sizes);
        st = fac_error(FAC_RUNTIME_ERROR,
                       "Function %s returned an invalid gradient at index %d - got %s",
                       fac_node_name(node, name), input, text.at);
    }
    fac_tensor_release(given);
    return st;
}

FacStatus
fac_fit_gradient(FacTensor *grad, const FacMeta *to, FacTensor **out)
{
    bool fits;
    FacTensor *fitted = fac_tensor_retain(grad);
    FacStatus st = fit(&fitted, to, &fits);
    if (st == FAC_OK && !fits)
        st = fac_error(FAC_RUNTIME_ERROR, "a gradient does not fit the shape that it belongs to");
    if (st != FAC_OK) {
        fac_tensor_release(fitted);
        return st;
    }
    *out = fitted;
    return FAC_OK;
}

/* --- adding ----------------------------------------------------------------------------------- */

/* Nobody but one holder can see the memory change. */
static bool
is_sole(const FacTensor *t)
{
    int64_t storage = atomic_load(&t->storage->refs);
    if (atomic_load(&t->refs) != 1 || (t->flags & (FAC_T_CONJ | FAC_T_NEG))) return false;
    if (t->storage->read_only) return false;
    if (!t->contiguous && !fac_is_dense(t->ndim, t->sizes, t->strides)) return false;
    if (storage == 1) return true;
    return t->base && storage == 2 && atomic_load(&t->base->refs) == 1;
}

FacStatus
fac_accumulate(FacTensor *have, FacTensor *grad, FacTensor **out)
{
    FacValue args[2] = {fac_v_tensor(have), fac_v_tensor(grad)}, sum;
    bool inner = grad->keys & ~have->keys & FAC_KEY(TRANSFORM);
    if (!fac_grad_enabled() && !inner && !fac_is_meta(have) && have->dtype == grad->dtype) {
        FAC_RETURN_IF_ERROR(fac_call_inplace(FAC_OP_add, 2, args));
        *out = fac_tensor_retain(have);
        return FAC_OK;
    }
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_add, 2, args, &sum));
    *out = sum.v.t;
    return FAC_OK;
}

FacStatus
fac_add_gradient_take(FacTensor *grad, FacTensor **slot)
{
    FacTensor *have = *slot;
    FacStatus st;
    if (FAC_LIKELY(!have)) {
        *slot = grad;
        return FAC_OK;
    }
    FacValue args[2] = {fac_v_tensor(have), fac_v_tensor(grad)}, sum;
    /* what belongs to a level cannot be added into what does not, or belongs to another */
    bool inner = grad->keys & FAC_KEY(TRANSFORM);
    if (!fac_grad_enabled() && !inner && is_sole(have)) {
        st = fac_call_inplace(FAC_OP_add, 2, args);
    } else {
        st = fac_call(FAC_OP_add, 2, args, &sum);
        if (st == FAC_OK) {
            *slot = sum.v.t;
            fac_tensor_release(have);
        }
    }
    fac_tensor_release(grad);
    return st;
}

/* --- .grad ------------------------------------------------------------------------------------ */

/* .grad lies in memory as its tensor does, where that is dense, and in C order else. */
static bool
lies_like(const FacTensor *grad, const FacTensor *t)
{
    if (grad->contiguous && t->contiguous) return true;
    if (!fac_is_dense(t->ndim, t->sizes, t->strides)) return grad->contiguous;
    for (int i = 0; i < t->ndim; i++)
        if (grad->sizes[i] > 1 && grad->strides[i] != t->strides[i]) return false;
    return true;
}

static FacStatus
copy_like(FacTensor *t, FacTensor *grad, FacTensor **out)
{
    FacTensor *copy;
    FacDType dtype = (FacDType)grad->dtype;
    FacStatus st;
    if (grad->keys & FAC_KEY(TRANSFORM)) return fac_op_clone(grad, FAC_VALUE_NONE, out);
    if (fac_is_dense(t->ndim, t->sizes, t->strides))
        st = fac_tensor_new_strided(dtype, grad->device, t->ndim, t->sizes, t->strides, &copy);
    else
        st = fac_tensor_new(dtype, grad->device, t->ndim, t->sizes, &copy);
    if (st != FAC_OK) return st;
    st = fac_tensor_copy(copy, grad);
    if (st != FAC_OK) {
        fac_tensor_release(copy);
        return st;
    }
    *out = copy;
    return FAC_OK;
}

static _Thread_local bool any_layout;

bool
fac_set_any_gradient_layout(bool any)
{
    bool was = any_layout;
    any_layout = any;
    return was;
}

/* The first gradient: taken as it is (*grad becomes NULL) if nobody else holds it, else a copy. */
static FacStatus
first_gradient(FacTensor *t, FacTensor **grad, FacTensor **out)
{
    bool foreign = (*grad)->keys & FAC_KEY(PYTHON); /* its class knows how to copy it */
    if (fac_grad_enabled() || foreign) return fac_op_clone(*grad, FAC_VALUE_NONE, out);
    if (!is_sole(*grad) || !(any_layout || lies_like(*grad, t))) return copy_like(t, *grad, out);
    if ((*grad)->base || (*grad)->autograd || (*grad)->extra) return fac_tensor_alias(*grad, out);
    *out = *grad;
    *grad = NULL;
    return FAC_OK;
}

/* Threads that accumulate into one leaf take turns without a lock: whoever wants to add takes what
 * is there away, and whoever finds another gradient in its place when it puts its own back takes
 * that one too and adds it. */
FacStatus
fac_accumulate_into(FacTensor *t, FacTensor **grad)
{
    FacAutograd *au;
    FacTensor *mine = NULL, *have = NULL;
    FAC_RETURN_IF_ERROR(fac_autograd_make(t, &au));
    if (__atomic_load_n(&au->grad, __ATOMIC_RELAXED))
        have = __atomic_exchange_n(&au->grad, NULL, __ATOMIC_ACQ_REL);
    FacStatus st = have ? fac_accumulate(have, *grad, &mine) : first_gradient(t, grad, &mine);
    if (FAC_UNLIKELY(st != FAC_OK) && have) /* what was there stays */
        have = __atomic_exchange_n(&au->grad, have, __ATOMIC_ACQ_REL);
    fac_tensor_release(have);
    while (st == FAC_OK) {
        FacTensor *none = NULL, *sum;
        if (__atomic_compare_exchange_n(&au->grad, &none, mine, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            return FAC_OK;
        FacTensor *other = __atomic_exchange_n(&au->grad, NULL, __ATOMIC_ACQ_REL);
        if (!other) continue;
        st = fac_accumulate(other, mine, &sum);
        fac_tensor_release(other);
        fac_tensor_release(mine);
        mine = st == FAC_OK ? sum : NULL;
    }
    fac_tensor_release(mine);
    return st;
}

/* --- the accumulator -------------------------------------------------------------------------- */

FacStatus
fac_run_accumulator(FacNode *node, FacTensor **grad)
{
    FacTensor *leaf = node->foreign;
    if (!*grad || !fac_needs_grad(leaf)) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_accumulate_into(leaf, grad));
    FacAutograd *au = fac_autograd(leaf);
    if (FAC_LIKELY(!fac_has_hooks(&au->post_hooks))) return FAC_OK;
    FacHookRun hooks;
    FacStatus st = fac_hooks_hold(&au->post_hooks, &hooks);
    for (int i = 0; i < hooks.n && st == FAC_OK; i++)
        st = hooks.at[i].call(hooks.at[i].foreign, node, 1, &leaf);
    fac_hooks_let_go(&hooks);
    return st;
}

/* For callers other than the engine, which keep their gradient. */
static FacStatus
apply_accumulate(FacNode *node, FacTensor *const *grads, FacTensor **out)
{
    FacTensor *grad = grads[0] ? fac_tensor_retain(grads[0]) : NULL;
    FacStatus st = fac_run_accumulator(node, &grad);
    (void)out;
    fac_tensor_release(grad);
    return st;
}

const FacNodeKind fac_accumulate_kind = {.name = "AccumulateGrad", .apply = apply_accumulate};
