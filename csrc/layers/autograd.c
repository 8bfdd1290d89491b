/* autograd.c - what a tensor knows of its gradient: leaf or history, .grad, hooks.
 *
 * A leaf that requires a gradient has an accumulator, made at the first use and kept as long as the
 * leaf lives. A tensor with history owns the node that made it. The GRAD bit among the tensor's
 * keys says that it has one or the other, so that the walk asks nothing else.
 */
#include "layers/node.h"

#include <string.h>

FAC_FREE_LIST(autograd_block, FacAutograd)

static void
drop(FacExtraPart *part, FacTensor *t)
{
    FacAutograd *au = (FacAutograd *)part;
    if (au->grad_fn && au->retains_grad) fac_retain_unlink(au->grad_fn, t);
    fac_node_release(au->grad_fn);
    fac_tensor_release(au->grad);
    fac_hooks_free(&au->hooks);
    fac_hooks_free(&au->post_hooks);
    fac_node_free(atomic_load(&au->accumulator));
    autograd_block_free(au);
}

FacStatus
fac_autograd_make(FacTensor *t, FacAutograd **out)
{
    if (!t->autograd) {
        FacAutograd *au = autograd_block_alloc();
        if (!au) return fac_mem_error(sizeof *au);
        *au = (FacAutograd){.part.drop = drop};
        t->autograd = &au->part;
    }
    *out = (FacAutograd *)t->autograd;
    return FAC_OK;
}

/* --- history ---------------------------------------------------------------------------------- */

FacStatus
fac_set_history(FacTensor *t, FacNode *node, uint32_t index)
{
    FacAutograd *au;
    FAC_RETURN_IF_ERROR(fac_autograd_make(t, &au));
    if (FAC_UNLIKELY(au->retains_grad)) {
        if (au->grad_fn) fac_retain_unlink(au->grad_fn, t);
        if (node) FAC_RETURN_IF_ERROR(fac_retain_link(node, t, index));
    }
    if (node) fac_node_retain(node);
    fac_node_release(au->grad_fn);
    au->grad_fn = node;
    au->index = index;
    au->requires_grad = false;
    if (t->base) au->base_version = fac_tensor_version(t);
    t->keys = node ? t->keys | FAC_KEY(GRAD) : t->keys & ~FAC_KEY(GRAD);
    return FAC_OK;
}

FacStatus
fac_first_history(FacTensor *t, FacNode **node, uint32_t index)
{
    if (FAC_UNLIKELY(t->autograd || t->base)) return fac_set_history(t, *node, index);
    FacAutograd *au = autograd_block_alloc();
    if (!au) return fac_mem_error(sizeof *au);
    *au = (FacAutograd){.part.drop = drop, .grad_fn = *node, .index = index};
    t->autograd = &au->part;
    t->keys |= FAC_KEY(GRAD);
    *node = NULL;
    return FAC_OK;
}

FacStatus
fac_grad_fn(FacTensor *t, FacNode **out)
{
    *out = NULL;
    if (FAC_UNLIKELY(t->base != NULL)) FAC_RETURN_IF_ERROR(fac_refresh_view(t));
    FacAutograd *au = fac_autograd(t);
    if (au) *out = au->grad_fn;
    return FAC_OK;
}

static bool
same_as_meta(const FacTensor *t, const FacMeta *meta)
{
    if (t->dtype != meta->dtype || t->ndim != meta->ndim) return false;
    for (int i = 0; i < t->ndim; i++)
        if (t->sizes[i] != meta->sizes[i]) return false;
    return true;
}

/* The accumulator of a leaf; made once, whoever is first. */
static FacStatus
accumulator_of(FacTensor *t, FacNode **out)
{
    FacAutograd *au;
    FAC_RETURN_IF_ERROR(fac_autograd_make(t, &au));
    FacNode *node = atomic_load_explicit(&au->accumulator, memory_order_acquire), *other = NULL;
    if (!node) {
        FAC_RETURN_IF_ERROR(fac_node_new(&fac_accumulate_kind, NULL, 0, 1, 0, &node));
        node->foreign = t;
        node->sequence = UINT64_MAX;
        FacStatus st = fac_node_set_meta(node, 0, t);
        if (st != FAC_OK || !atomic_compare_exchange_strong(&au->accumulator, &other, node)) {
            fac_node_free(node);
            node = other;
            if (st != FAC_OK) return st;
        }
    }
    if (FAC_UNLIKELY(!same_as_meta(t, &node->metas[0])))
        FAC_RETURN_IF_ERROR(fac_node_set_meta(node, 0, t)); /* .data was replaced */
    *out = node;
    return FAC_OK;
}

FacStatus
fac_gradient_edge(FacTensor *t, FacEdge *out)
{
    FacNode *fn;
    *out = (FacEdge){0};
    FAC_RETURN_IF_ERROR(fac_grad_fn(t, &fn));
    if (fn) {
        fac_node_retain(fn);
        *out = (FacEdge){fn, fac_autograd(t)->index};
        return FAC_OK;
    }
    if (!fac_needs_grad(t)) return FAC_OK;
    FAC_RETURN_IF_ERROR(accumulator_of(t, &fn));
    fac_node_retain(fn);
    *out = (FacEdge){fn, 0};
    return FAC_OK;
}

bool
fac_is_leaf(const FacTensor *t)
{
    FacNode *fn = NULL;
    if (!fac_needs_grad(t)) return true;
    /* a view may get its history at this moment; if that fails there is none to be seen */
    if (fac_grad_fn((FacTensor *)t, &fn) != FAC_OK) return false;
    return !fn;
}

/* --- requires_grad, detach_ ------------------------------------------------------------------- */

FacStatus
fac_set_requires_grad(FacTensor *t, bool on)
{
    FacAutograd *au;
    if (!fac_is_leaf(t)) {
        if (on) return FAC_OK;
        return fac_error(
            FAC_RUNTIME_ERROR,
            "you can only change requires_grad flags of leaf variables. If you want to use "
            "a computed variable in a subgraph that doesn't require differentiation use "
            "var_no_grad = var.detach().");
    }
    if (on && FAC_IS_INT(t->dtype))
        return fac_error(FAC_RUNTIME_ERROR,
                         "only Tensors of floating point and complex dtype can require gradients");
    if (on && (t->flags & FAC_T_INFERENCE) && !fac_thread.inference)
        return fac_error(
            FAC_RUNTIME_ERROR,
            "Setting requires_grad=True on inference tensor outside InferenceMode is not "
            "allowed.");
    if (!on && !fac_autograd(t)) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_autograd_make(t, &au));
    au->requires_grad = on;
    t->keys = on ? t->keys | FAC_KEY(GRAD) : t->keys & ~FAC_KEY(GRAD);
    return FAC_OK;
}

FacStatus
fac_detach_(FacTensor *t)
{
    if (t->base && fac_needs_grad(t))
        return fac_error(FAC_RUNTIME_ERROR, "Can't detach views in-place. Use detach() instead.");
    return fac_autograd(t) ? fac_set_history(t, NULL, 0) : FAC_OK;
}

/* --- .grad ------------------------------------------------------------------------------------ */

FacTensor *
fac_grad_of(const FacTensor *t)
{
    FacAutograd *au = fac_autograd(t);
    return au ? au->grad : NULL;
}

static FacStatus
check_grad(const FacTensor *t, const FacTensor *grad)
{
    FacText text = {.len = 0};
    bool same = t->ndim == grad->ndim;
    for (int i = 0; same && i < t->ndim; i++) same = t->sizes[i] == grad->sizes[i];
    if (grad == t) return fac_error(FAC_RUNTIME_ERROR, "can't assign Variable as its own grad");
    if (t->dtype != grad->dtype)
        return fac_error(
            FAC_RUNTIME_ERROR,
            "attempting to assign a gradient with dtype '%s' to a tensor with dtype '%s'",
            fac_dtype_info[grad->dtype].name, fac_dtype_info[t->dtype].name);
    if (t->device.type != grad->device.type) {
        char a[32], b[32];
        return fac_error(
            FAC_RUNTIME_ERROR,
            "attempting to assign a gradient located on device '%s' to a tensor located "
            "on device '%s'",
            fac_device_text(grad->device, a), fac_device_text(t->device, b));
    }
    if (same) return FAC_OK;
    fac_text_add(&text, "attempting to assign a gradient of size '");
    fac_text_dims(&text, grad->ndim, grad->sizes);
    fac_text_add(&text, "' to a tensor of size '");
    fac_text_dims(&text, t->ndim, t->sizes);
    fac_text_add(&text, "'. Please ensure that the gradient and the tensor are the same size");
    return fac_error(FAC_RUNTIME_ERROR, "%s", text.at);
}

FacStatus
fac_set_grad(FacTensor *t, FacTensor *grad)
{
    FacAutograd *au;
    if (!grad && !fac_autograd(t)) return FAC_OK;
    if (grad) FAC_RETURN_IF_ERROR(check_grad(t, grad));
    FAC_RETURN_IF_ERROR(fac_autograd_make(t, &au));
    FacTensor *old = au->grad;
    au->grad = grad ? fac_tensor_retain(grad) : NULL;
    fac_tensor_release(old);
    return FAC_OK;
}

FacStatus
fac_retain_grad(FacTensor *t)
{
    FacAutograd *au;
    FacNode *fn;
    if (!fac_needs_grad(t))
        return fac_error(FAC_RUNTIME_ERROR,
                         "can't retain_grad on Tensor that has requires_grad=False");
    FAC_RETURN_IF_ERROR(fac_grad_fn(t, &fn));
    if (!fn) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_autograd_make(t, &au));
    if (au->retains_grad) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_retain_link(fn, t, au->index));
    au->retains_grad = true;
    return FAC_OK;
}
