/* saved.c - what a recorded call keeps for its gradient, and how it comes back.
 *
 * A leaf that requires a gradient is kept itself: it cannot lead back to the node. Everything else
 * is kept as an alias, a tensor over the same memory without history, so that no node ever holds a
 * tensor that holds the node. The history that an input had is kept beside it as an edge; that of
 * a result is the node itself. Unpacking restores it when gradients are being recorded
 * (create_graph), and checks that nobody has changed the memory since.
 *
 * Where the thread has a packer (saved_tensors_hooks), what it makes of the tensor is kept instead,
 * and asked to become a tensor again. It may keep the input itself, and that input may lead back to
 * the node after a change in place: such a cycle is left to the collector.
 */
#include "layers/record.h"

#include "generated/ops.h"
#include "layers/level.h"
#include "tensor/layout.h"

#include <string.h>

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

/* --- one tensor ------------------------------------------------------------------------------- */

_Thread_local const FacPacker *fac_packer;

/* The hook sees `shown`. */
static FacStatus
pack(FacSavedTensor *saved, FacTensor *shown, const FacPacker *packer)
{
    FacForeign *packed = NULL;
    int64_t version = fac_tensor_version(shown);
    bool was = fac_set_grad_enabled(false);
    FacStatus st = packer->pack(packer->foreign, shown, &packed);
    fac_set_grad_enabled(was);
    if (st == FAC_OK && fac_tensor_version(shown) != version)
        st = fac_error(FAC_RUNTIME_ERROR,
                       "A saved tensor pack hook is modifying its input in place. Tensors provided "
                       "as input to pack hook can not be modified by in-place operations as this "
                       "can lead to unexpected side-effects. Change a clone() of it.");
    if (st == FAC_OK && saved->original) st = fac_gradient_edge(saved->tensor, &saved->edge);
    if (st != FAC_OK) {
        fac_foreign_release(packed);
        return st;
    }
    saved->packed = packed;
    saved->unpack = packer->unpack;
    fac_tensor_release(saved->tensor);
    saved->tensor = NULL;
    return FAC_OK;
}

/* A packer gets `shown`: an input itself, as the caller knows it, and an alias of a result. */
static FacStatus
finish_saving(FacSavedTensor *saved, FacTensor *shown)
{
    if (FAC_UNLIKELY(fac_packer != NULL)) return pack(saved, shown, fac_packer);
    fac_tensor_kept(saved->tensor);
    return FAC_OK;
}

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
check_inference(const FacTensor *t)
{
    if (t->flags & FAC_T_INFERENCE)
        return fac_error(
            FAC_RUNTIME_ERROR,
            "Inference tensors cannot be saved for backward. Please do not use Tensors "
            "created in inference mode in computation tracked by autograd. To work around "
            "this, you can make a clone to get a normal tensor and use it in autograd, or "
            "use `no_grad()` instead of `inference_mode()`.");
    return FAC_OK;
}

FacStatus
fac_save_original(FacTensor *t, FacSavedTensor *out)
{
    FAC_RETURN_IF_ERROR(check_inference(t));
    out->version = fac_tensor_version(t);
    out->original = true;
    out->tensor = fac_tensor_retain(t);
    return finish_saving(out, t);
}

static FacStatus
save_input(FacTensor *t, bool copied, FacSavedTensor *out)
{
    bool needs = fac_needs_grad(t);
    if (needs && !copied && fac_is_leaf(t)) return fac_save_original(t, out);
    FAC_RETURN_IF_ERROR(check_inference(t));
    if (needs) FAC_RETURN_IF_ERROR(fac_gradient_edge(t, &out->edge));
    out->version = copied ? 0 : fac_tensor_version(t);
    FAC_RETURN_IF_ERROR(copied ? copy_of(t, &out->tensor) : fac_level_alias(t, &out->tensor));
    return finish_saving(out, copied ? out->tensor : t);
}

FacStatus
fac_save_result(FacTensor *t, uint32_t index, FacSavedTensor *out)
{
    FAC_RETURN_IF_ERROR(fac_level_alias(t, &out->tensor));
    out->version = fac_tensor_version(t);
    out->result = true;
    out->index = index;
    return finish_saving(out, out->tensor);
}

FacStatus
fac_saved_pack(FacSavedTensor *saved, const FacPacker *packer)
{
    if (saved->packed)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Calling register_hooks on a saved tensor whose hooks have already been "
                         "set. Hint: only one pair of hooks is allowed at a time.");
    if (!saved->tensor)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Calling register_hooks on a saved tensor with value None is forbidden");
    FacTensor *kept, *shown;
    FAC_RETURN_IF_ERROR(fac_level_alias(saved->tensor, &shown));
    kept = fac_tensor_retain(saved->tensor);
    FacStatus st = pack(saved, shown, packer);
    if (st == FAC_OK) fac_tensor_let_go(kept);
    fac_tensor_release(kept);
    fac_tensor_release(shown);
    return st;
}

void
fac_saved_drop(FacSavedTensor *saved)
{
    FacSavedTensor had = *saved;
    saved->tensor = NULL;
    saved->packed = NULL;
    saved->edge.node = NULL;
    if (had.tensor) fac_tensor_let_go(had.tensor);
    fac_tensor_release(had.tensor);
    fac_foreign_release(had.packed);
    fac_node_release(had.edge.node);
}

/* --- and back --------------------------------------------------------------------------------- */

/* Who changed it, and what to write instead: "exp_() at train.py:12 overwrote it: ..." */
static void
say_culprit(FacText *text, const FacTensor *t, int64_t version)
{
    const char *by, *where;
    if (!fac_tensor_overwritten(t, version, &by, &where) || !*by) {
        fac_text_add(text, "Change a clone() of it, or use the operation that is not in place.");
        return;
    }
    size_t n = strlen(by);
    fac_text_add(text, "%s()%s%s overwrote it: ", by, *where ? " at " : "", where);
    if (by[n - 1] == '_' && strcmp(by, "copy_") != 0)
        fac_text_add(text, "use %.*s(), which gives a new tensor, or change a clone() of it.",
                     (int)n - 1, by);
    else
        fac_text_add(text, "change a clone() of it.");
}

static FacStatus
changed_error(FacNode *node, const char *name, const FacTensor *t, int64_t version)
{
    char node_name[128];
    FacText text = {.len = 0}, culprit = {.len = 0};
    fac_text_tensor(&text, t);
    say_culprit(&culprit, t, version);
    return fac_error(FAC_RUNTIME_ERROR,
                     "one of the variables needed for gradient computation has been modified by an "
                     "inplace operation: %s, which %s saved as '%s', is at version %lld; expected "
                     "version %lld instead. %s",
                     text.at, fac_node_name(node, node_name), name,
                     (long long)fac_tensor_version(t), (long long)version, culprit.at);
}

/* Whether gradients of t go to that result of `node` without more: t is what was packed. */
static bool
has_history(FacTensor *t, const FacNode *node, uint32_t index)
{
    FacNode *fn;
    const FacAutograd *au = fac_autograd(t);
    if (!au || fac_grad_fn(t, &fn) != FAC_OK) return false;
    return fn ? fn == node && au->index == index : atomic_load(&au->accumulator) == node;
}

/* *made: a new reference, else borrowed from `saved`. */
static FacStatus
unpack_tensor(FacNode *node, const char *name, const FacSavedTensor *saved, FacTensor **out,
              bool *made)
{
    FacNode *history = saved->result ? node : saved->edge.node;
    uint32_t index = saved->result ? saved->index : saved->edge.index;
    FacTensor *t = saved->tensor;
    FacStatus st = FAC_OK;
    *made = false;
    if (FAC_UNLIKELY(saved->packed != NULL)) {
        FAC_RETURN_IF_ERROR(saved->unpack(saved->packed, &t));
        *made = true;
    } else if (t && FAC_UNLIKELY(fac_tensor_version(t) != saved->version)) {
        /* the gradient of a view reads no elements */
        if (!node->op || !(node->op->flags & FAC_OP_VIEW))
            return changed_error(node, name, t, saved->version);
    }
    *out = t;
    if (!t || !history || !fac_grad_enabled() || FAC_IS_INT(t->dtype)) return FAC_OK;
    if (*made && has_history(t, history, index)) return FAC_OK;
    st = fac_level_alias(t, out);
    if (*made) fac_tensor_release(t);
    if (st != FAC_OK) return st;
    *made = true;
    st = fac_set_history(*out, history, index);
    if (st != FAC_OK) fac_tensor_release(*out);
    return st;
}

FacStatus
fac_saved_unpack(FacNode *node, const char *name, const FacSavedTensor *saved, FacTensor **out)
{
    bool made;
    FAC_RETURN_IF_ERROR(unpack_tensor(node, name, saved, out, &made));
    if (!made && *out) fac_tensor_retain(*out);
    return FAC_OK;
}

/* --- a call: saving --------------------------------------------------------------------------- */

/* What a slot says of tensors that lie in the array: how many they are, in `len`. */
static FacValue
mark(uint8_t tag, uint32_t n)
{
    return (FacValue){.tag = tag, .len = n};
}

/* Shape, dtype and device without data: made on meta, and then said to be where the tensor is. */
static FacStatus
save_meta(const FacTensor *t, FacValue *out)
{
    FacTensor *meta;
    FAC_RETURN_IF_ERROR(
        fac_tensor_new((FacDType)t->dtype, fac_device(FAC_DEV_META, -1), t->ndim, t->sizes, &meta));
    meta->device = t->device;
    *out = (FacValue){.tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = meta};
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
    FacSavedTensor *at = node->foreign;
    for (int i = 0; i < row->nsaved; i++) {
        const FacSave *save = &row->saved[i];
        if (!(save->needed & node->needed)) continue;
        if (of_result(save)) {
            at += tensors_in(save, call->op, FAC_VALUE_NONE);
            continue;
        }
        FacValue arg = call->args[save->index], *slot = &node->saved[i];
        if (!is_tensor_slot(save) || (arg.tag != FAC_V_TENSOR && arg.tag != FAC_V_TENSORS)) {
            FAC_RETURN_IF_ERROR(save_plain(save, arg, slot));
        } else if (arg.tag == FAC_V_TENSORS) {
            *slot = mark(FAC_V_TENSORS, arg.len);
            for (uint32_t k = 0; k < arg.len; k++, at++)
                if (arg.v.tensors[k]) FAC_RETURN_IF_ERROR(save_input(arg.v.tensors[k], false, at));
        } else {
            bool copy = arg.v.t == copied && save->index == 0;
            *slot = mark(FAC_V_TENSOR, 1);
            FAC_RETURN_IF_ERROR(save_input(arg.v.t, copy, at++));
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
    FacSavedTensor *at = node->foreign;
    for (int i = 0; i < row->nsaved; i++) {
        const FacSave *save = &row->saved[i];
        if (!(save->needed & node->needed)) continue;
        if (!of_result(save)) {
            at += tensors_in(save, call->op,
                             save->kind == FAC_SAVE_ARG ? call->args[save->index] : FAC_VALUE_NONE);
            continue;
        }
        FacValue result = call->results[save->index], *slot = &node->saved[i];
        if (save->kind != FAC_SAVE_RESULT) {
            FAC_RETURN_IF_ERROR(save_plain(save, result, slot));
        } else if (result.tag == FAC_V_TENSORS) {
            FAC_RETURN_IF_ERROR(save_list_result(result, slot));
        } else {
            FacSavedTensor *saved = at++;
            if (result.tag != FAC_V_TENSOR) continue;
            *slot = mark(FAC_V_TENSOR, 1);
            FAC_RETURN_IF_ERROR(fac_save_result(result.v.t, save->index, saved));
        }
    }
    return FAC_OK;
}

/* --- a call: unpacking ------------------------------------------------------------------------ */

/* Whether a slot's tensors lie in the array (a result that is a list does not). */
static bool
in_array(const FacNode *node, const FacSave *save, FacValue kept)
{
    if (save->kind == FAC_SAVE_RESULT) return !(node->op->flags & FAC_OP_LIST_RESULT);
    return save->kind == FAC_SAVE_ARG && (kept.tag == FAC_V_TENSOR || kept.tag == FAC_V_TENSORS);
}

static uint32_t
length_in_array(const FacNode *node, const FacSave *save, FacValue kept)
{
    if (!in_array(node, save, kept)) return 0;
    return kept.tag == FAC_V_TENSORS ? kept.len : 1;
}

static FacStatus
unpack_slot(FacNode *node, const FacSave *save, FacValue kept, const FacSavedTensor *saved,
            FacValue *out)
{
    FacTensor **slots, *t;
    bool made;
    if (kept.tag != FAC_V_TENSORS) {
        FAC_RETURN_IF_ERROR(unpack_tensor(node, save->name, saved, &t, &made));
        if (t) *out = fac_v_tensor(t);
        if (made) out->flags |= FAC_VALUE_OWNED;
        return FAC_OK;
    }
    FAC_RETURN_IF_ERROR(fac_value_new_tensors((int)kept.len, out, &slots));
    for (uint32_t k = 0; k < kept.len; k++)
        FAC_RETURN_IF_ERROR(fac_saved_unpack(node, save->name, &saved[k], &slots[k]));
    return FAC_OK;
}

FacStatus
fac_unpack_saved(FacNode *node, const FacGradRow *row, uint32_t needed, FacValue *values)
{
    const FacSavedTensor *at = node->foreign;
    for (int i = 0; i < row->nsaved; i++) values[i] = FAC_VALUE_NONE;
    for (int i = 0; i < row->nsaved; i++) {
        const FacSave *save = &row->saved[i];
        FacValue kept = node->saved[i];
        if (!(save->needed & node->needed)) continue;
        uint32_t n = length_in_array(node, save, kept);
        if (!(save->needed & needed)) {
            at += n;
        } else if (in_array(node, save, kept)) {
            FAC_RETURN_IF_ERROR(unpack_slot(node, save, kept, at, &values[i]));
            at += n;
        } else {
            values[i] = kept;
            values[i].flags &= (uint8_t)~FAC_VALUE_OWNED;
        }
    }
    return FAC_OK;
}

FacSavedTensor *
fac_saved_slot(FacNode *node, const FacGradRow *row, int slot, int *n)
{
    FacSavedTensor *at = node->foreign;
    for (int i = 0; i <= slot; i++) {
        const FacSave *save = &row->saved[i];
        bool saved = save->needed & node->needed;
        *n = saved ? (int)length_in_array(node, save, node->saved[i]) : 0;
        if (i < slot) at += *n;
    }
    return *n || in_array(node, &row->saved[slot], node->saved[slot]) ? at : NULL;
}

void
fac_release_saved(FacNode *node)
{
    FacSavedTensor *at = node->foreign;
    fac_values_release(node->saved, (int)node->nsaved);
    for (uint32_t i = 0; i < node->ninfos; i++) fac_saved_drop(&at[i]);
}

FacStatus
fac_saved_give_tangent(FacTensor *result, const FacLevel *level, FacTensor *tangent)
{
    const FacAutograd *au = fac_autograd(result);
    FacNode *node = au ? au->grad_fn : NULL;
    if (!node || node->kind != &fac_recorded_kind) return FAC_OK;
    FacSavedTensor *infos = node->foreign;
    for (uint32_t i = 0; i < node->ninfos; i++)
        if (infos[i].result && infos[i].tensor && infos[i].index == au->index)
            FAC_RETURN_IF_ERROR(fac_set_tangent(infos[i].tensor, level, tangent));
    return FAC_OK;
}
