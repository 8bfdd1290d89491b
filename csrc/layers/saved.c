/* saved.c - what a recorded call keeps for its gradient, and how it comes back.
 *
 * A leaf that requires a gradient is kept itself: it cannot lead back to the node. Everything else
 * is kept as an alias, a tensor over the same memory without history, so that no node ever holds a
 * tensor that holds the node. The history that an input had is kept beside it as an edge; that of
 * a result is the node itself. Unpacking restores it when gradients are being recorded
 * (create_graph), and checks that nobody has changed the memory since.
 */
#include "layers/record.h"

#include "generated/ops.h"
#include "layers/level.h"
#include "tensor/layout.h"

static bool
is_tensor_slot(const FacSave *save)
{
    return save->kind == FAC_SAVE_ARG || save->kind == FAC_SAVE_RESULT;
}

static bool
of_result(const FacSave *save)
{
    return save->kind == FAC_SAVE_RESULT || save->kind == FAC_SAVE_RESULT_SIZES ||
           save->kind == FAC_SAVE_RESULT_META;
}

/* How many FacSavedTensor a slot takes. */
static int
tensors_in(const FacSave *save, const FacOp *op, FacValue arg)
{
    if (save->kind == FAC_SAVE_RESULT) return !(op->flags & FAC_OP_LIST_RESULT);
    if (save->kind != FAC_SAVE_ARG) return 0;
    return arg.tag == FAC_V_TENSOR ? 1 : arg.tag == FAC_V_TENSORS ? (int)arg.len : 0;
}

int
fac_saved_count(const FacGradRow *row, const FacCall *call, uint32_t needed)
{
    int n = 0;
    for (int i = 0; i < row->nsaved; i++) {
        const FacSave *save = &row->saved[i];
        if (!(save->needed & needed)) continue;
        FacValue arg = save->kind == FAC_SAVE_ARG ? call->args[save->index] : FAC_VALUE_NONE;
        n += tensors_in(save, call->op, arg);
    }
    return n;
}

/* --- saving ----------------------------------------------------------------------------------- */

static FacStatus
copy_of(FacTensor *t, FacTensor **out)
{
    FacTensor *copy;
    if (t->keys & FAC_KEY(TRANSFORM)) return fac_op_clone(t, FAC_VALUE_NONE, out);
    FAC_RETURN_IF_ERROR(fac_tensor_new((FacDType)t->dtype, t->device, t->ndim, t->sizes, &copy));
    FacStatus st = fac_tensor_copy(copy, t);
    if (st != FAC_OK) {
        fac_tensor_release(copy);
        return st;
    }
    *out = copy;
    return FAC_OK;
}

static FacStatus
save_input(FacTensor *t, bool copied, FacTensor **out, FacSavedTensor *info)
{
    if (t->flags & FAC_T_INFERENCE)
        return fac_error(
            FAC_RUNTIME_ERROR,
            "Inference tensors cannot be saved for backward. Please do not use Tensors "
            "created in inference mode in computation tracked by autograd. To work around "
            "this, you can make a clone to get a normal tensor and use it in autograd, or "
            "use `no_grad()` instead of `inference_mode()`.");
    info->version = copied ? 0 : fac_tensor_version(t);
    if (fac_needs_grad(t)) {
        if (!copied && fac_is_leaf(t)) {
            *out = fac_tensor_retain(t);
            return FAC_OK;
        }
        FAC_RETURN_IF_ERROR(fac_gradient_edge(t, &info->edge));
    }
    return copied ? copy_of(t, out) : fac_level_alias(t, out);
}

static FacStatus
save_list(FacValue list, FacValue *out, FacSavedTensor *infos)
{
    FacTensor **slots;
    FAC_RETURN_IF_ERROR(fac_value_new_tensors((int)list.len, out, &slots));
    for (uint32_t i = 0; i < list.len; i++)
        if (list.v.tensors[i])
            FAC_RETURN_IF_ERROR(save_input(list.v.tensors[i], false, &slots[i], &infos[i]));
    return FAC_OK;
}

static FacValue
owned_tensor(FacTensor *t)
{
    return (FacValue){.tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = t};
}

/* Shape, dtype and device without data: made on meta, and then said to be where the tensor is. */
static FacStatus
save_meta(const FacTensor *t, FacValue *out)
{
    FacTensor *meta;
    FAC_RETURN_IF_ERROR(
        fac_tensor_new((FacDType)t->dtype, fac_device(FAC_DEV_META, -1), t->ndim, t->sizes, &meta));
    meta->device = t->device;
    *out = owned_tensor(meta);
    return FAC_OK;
}

/* Slots that hold no data of a tensor. */
static FacStatus
save_plain(const FacSave *save, FacValue v, FacValue *out)
{
    if (v.tag != FAC_V_TENSOR) return fac_value_keep(v, out);
    if (save->kind == FAC_SAVE_META || save->kind == FAC_SAVE_RESULT_META)
        return save_meta(v.v.t, out);
    return fac_value_keep(fac_v_ints(v.v.t->sizes, v.v.t->ndim), out);
}

FacStatus
fac_save_args(FacNode *node, const FacGradRow *row, const FacCall *call, const FacTensor *copied)
{
    FacSavedTensor *info = node->foreign;
    for (int i = 0; i < row->nsaved; i++) {
        const FacSave *save = &row->saved[i];
        if (!(save->needed & node->needed)) continue;
        if (of_result(save)) {
            info += tensors_in(save, call->op, FAC_VALUE_NONE);
            continue;
        }
        FacValue arg = call->args[save->index], *slot = &node->saved[i];
        FacTensor *kept;
        if (!is_tensor_slot(save) || (arg.tag != FAC_V_TENSOR && arg.tag != FAC_V_TENSORS)) {
            FAC_RETURN_IF_ERROR(save_plain(save, arg, slot));
        } else if (arg.tag == FAC_V_TENSORS) {
            FAC_RETURN_IF_ERROR(save_list(arg, slot, info));
            info += arg.len;
        } else {
            bool copy = arg.v.t == copied && save->index == 0;
            FAC_RETURN_IF_ERROR(save_input(arg.v.t, copy, &kept, info++));
            *slot = owned_tensor(kept);
        }
    }
    return FAC_OK;
}

static FacStatus
save_list_result(FacValue list, FacValue *out)
{
    FacTensor **slots;
    FAC_RETURN_IF_ERROR(fac_value_new_tensors((int)list.len, out, &slots));
    for (uint32_t i = 0; i < list.len; i++)
        FAC_RETURN_IF_ERROR(fac_level_alias(list.v.tensors[i], &slots[i]));
    return FAC_OK;
}

FacStatus
fac_save_results(FacNode *node, const FacGradRow *row, const FacCall *call)
{
    FacSavedTensor *info = node->foreign;
    for (int i = 0; i < row->nsaved; i++) {
        const FacSave *save = &row->saved[i];
        if (!(save->needed & node->needed)) continue;
        if (!of_result(save)) {
            info +=
                tensors_in(save, call->op,
                           save->kind == FAC_SAVE_ARG ? call->args[save->index] : FAC_VALUE_NONE);
            continue;
        }
        FacValue result = call->results[save->index], *slot = &node->saved[i];
        FacTensor *alias;
        if (save->kind != FAC_SAVE_RESULT) {
            FAC_RETURN_IF_ERROR(save_plain(save, result, slot));
        } else if (result.tag == FAC_V_TENSORS) {
            FAC_RETURN_IF_ERROR(save_list_result(result, slot));
        } else {
            FacSavedTensor *at = info++;
            if (result.tag != FAC_V_TENSOR) continue;
            FAC_RETURN_IF_ERROR(fac_level_alias(result.v.t, &alias));
            *slot = owned_tensor(alias);
            at->version = fac_tensor_version(alias);
            at->result = true;
            at->index = save->index;
        }
    }
    return FAC_OK;
}

/* --- unpacking -------------------------------------------------------------------------------- */

static FacStatus
changed_error(FacNode *node, const FacSave *save, const FacTensor *t, int64_t version)
{
    char name[128];
    FacText text = {.len = 0};
    fac_text_tensor(&text, t);
    return fac_error(
        FAC_RUNTIME_ERROR,
        "one of the variables needed for gradient computation has been modified by an "
        "inplace operation: %s, which %s saved as '%s', is at version %lld; expected "
        "version %lld instead. Change a clone() of it, or use the operation that is not "
        "in place.",
        text.at, fac_node_name(node, name), save->name, (long long)fac_tensor_version(t),
        (long long)version);
}

/* The saved tensor as the formula is to see it; *made: a new reference, else borrowed. */
static FacStatus
unpack_tensor(FacNode *node, const FacSave *save, FacTensor *t, const FacSavedTensor *info,
              FacTensor **out, bool *made)
{
    FacNode *history = info->result ? node : info->edge.node;
    *made = false;
    *out = t;
    bool geometry_only =
        node->op->flags & FAC_OP_VIEW; /* the gradient of a view reads no elements */
    if (FAC_UNLIKELY(fac_tensor_version(t) != info->version && !geometry_only))
        return changed_error(node, save, t, info->version);
    if (!history || !fac_grad_enabled()) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_level_alias(t, out));
    *made = true;
    FacStatus st =
        FAC_IS_INT(t->dtype)
            ? FAC_OK
            : fac_set_history(*out, history, info->result ? info->index : info->edge.index);
    if (st != FAC_OK) fac_tensor_release(*out);
    return st;
}

static FacStatus
unpack_list(FacNode *node, const FacSave *save, FacValue list, const FacSavedTensor *infos,
            FacValue *out)
{
    FacTensor **slots;
    FAC_RETURN_IF_ERROR(fac_value_new_tensors((int)list.len, out, &slots));
    for (uint32_t i = 0; i < list.len; i++) {
        bool made;
        if (!list.v.tensors[i]) continue;
        FAC_RETURN_IF_ERROR(
            unpack_tensor(node, save, list.v.tensors[i], &infos[i], &slots[i], &made));
        if (!made) fac_tensor_retain(slots[i]);
    }
    return FAC_OK;
}

FacStatus
fac_unpack_saved(FacNode *node, const FacGradRow *row, FacValue *values)
{
    const FacSavedTensor *info = node->foreign;
    for (int i = 0; i < row->nsaved; i++) values[i] = FAC_VALUE_NONE;
    for (int i = 0; i < row->nsaved; i++) {
        const FacSave *save = &row->saved[i];
        FacValue kept = node->saved[i];
        bool made;
        if (!(save->needed & node->needed)) continue;
        if (is_tensor_slot(save) && kept.tag == FAC_V_TENSOR) {
            FacTensor *t;
            FAC_RETURN_IF_ERROR(unpack_tensor(node, save, kept.v.t, info++, &t, &made));
            values[i] = made ? owned_tensor(t) : fac_v_tensor(t);
        } else if (save->kind == FAC_SAVE_ARG && kept.tag == FAC_V_TENSORS) {
            FAC_RETURN_IF_ERROR(unpack_list(node, save, kept, info, &values[i]));
            info += kept.len;
        } else {
            values[i] = kept;
            values[i].flags &= (uint8_t)~FAC_VALUE_OWNED;
            info += save->kind == FAC_SAVE_RESULT && !(node->op->flags & FAC_OP_LIST_RESULT);
        }
    }
    return FAC_OK;
}

void
fac_release_saved(FacNode *node)
{
    FacSavedTensor *infos = node->foreign;
    fac_values_release(node->saved, (int)node->nsaved);
    for (uint32_t i = 0; i < node->ninfos; i++) {
        fac_node_release(infos[i].edge.node);
        infos[i].edge.node = NULL;
    }
}
