/* tangent.c - tangents of views, and of what is written.
 *
 * The tangent of a view shares memory with the tangent of its base, as the view does with the base:
 * then a write to either is seen by both. For this a tangent is laid out like its tensor from the
 * first view on. A view that was taken while its base had no tangent takes its part of it, by
 * geometry, when a call of the level comes to it.
 */
#include "layers/transform.h"

#include "generated/ops.h"
#include "layers/node.h"

/* --- layouts ---------------------------------------------------------------------------------- */

static bool
lies_alike(const FacTensor *t, const FacTensor *tangent)
{
    for (int i = 0; i < t->ndim; i++)
        if (t->strides[i] != tangent->strides[i] && t->sizes[i] > 1) return false;
    return true;
}

static bool
is_expanded(const FacTensor *t)
{
    for (int i = 0; i < t->ndim; i++)
        if (t->strides[i] == 0 && t->sizes[i] > 1) return true;
    return false;
}

/* A tensor laid out like t, in the batches that `of` is in. */
static FacStatus
new_like(FacTensor *t, FacTensor *of, FacTensor **out)
{
    return fac_op_new_empty_strided(of, fac_v_ints(t->sizes, t->ndim),
                                    fac_v_ints(t->strides, t->ndim), (FacDType)t->dtype,
                                    FAC_VALUE_NONE, FAC_VALUE_NONE, out);
}

FacStatus
fac_lay_out_tangent(FacTensor *t, const FacLevel *level)
{
    FacTensor *made, *tangent = fac_tangent(t, level);
    if (!tangent || lies_alike(t, tangent) || is_expanded(t)) return FAC_OK;
    FAC_RETURN_IF_ERROR(new_like(t, tangent, &made));
    FacStatus st = fac_op_copy_(made, tangent, false);
    if (st == FAC_OK) st = fac_set_tangent(t, level, made);
    fac_tensor_release(made);
    return st;
}

/* --- views ------------------------------------------------------------------------------------ */

/* The part of the base's tangent that belongs to t. */
static FacStatus
take_part(FacTensor *t, const FacLevel *level)
{
    FacTensor *part;
    FAC_RETURN_IF_ERROR(fac_lay_out_tangent(t->base, level));
    FAC_RETURN_IF_ERROR(fac_same_view(t, fac_tangent(t->base, level), &part));
    FacStatus st = fac_set_tangent(t, level, part);
    fac_tensor_release(part);
    return st;
}

FacStatus
fac_inherit_tangent(FacTensor *t, const FacLevel *level)
{
    bool has_part = fac_follows_base(t, level) && fac_tangent(t->base, level);
    return has_part ? take_part(t, level) : FAC_OK;
}

FacStatus
fac_inherit_tangents(const FacCall *call, const FacLevel *level)
{
    for (int i = 0; i < call->op->nparams; i++) {
        FacValue v = call->args[i];
        if (v.tag == FAC_V_TENSOR) FAC_RETURN_IF_ERROR(fac_inherit_tangent(v.v.t, level));
        for (uint32_t k = 0; v.tag == FAC_V_TENSORS && k < v.len; k++)
            if (v.v.tensors[k]) FAC_RETURN_IF_ERROR(fac_inherit_tangent(v.v.tensors[k], level));
    }
    return FAC_OK;
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool
in_batch(const FacTensor *t, uint64_t id)
{
    FacWrapped *at = fac_wrapped(t);
    while (at && at->id != id) at = fac_wrapped(at->value);
    return at;
}

/* Whether `of` (or NULL), which is to be written into t, is in a batch that t is not in. */
static bool
is_narrower(const FacTensor *t, const FacTensor *of)
{
    for (FacWrapped *at = of ? fac_wrapped(of) : NULL; at; at = fac_wrapped(at->value))
        if (at->kind == FAC_LEVEL_BATCH && fac_level_visible(at->id) && !in_batch(t, at->id))
            return true;
    return false;
}

/* The tangent of what a row reads beside its first parameter that is a batch, else any, or NULL. */
static FacTensor *
any_tangent(const FacCall *call, const FacLevel *level)
{
    FacTensor *found = NULL;
    for (int i = 1; i < call->op->nparams; i++) {
        FacTensor *arg = fac_v_as_tensor(call->args[i]);
        FacTensor *tangent = arg ? fac_tangent(arg, level) : NULL;
        if (tangent && (!found || is_narrower(found, tangent))) found = tangent;
    }
    return found;
}

/* t gets a tangent with the elements of `had`, or zeros (NULL), in all batches that t and `of` are in. */
static FacStatus
make_tangent(FacTensor *t, const FacLevel *level, FacTensor *had, FacTensor *of)
{
    FacStatus st = FAC_OK;
    FacTensor *made = NULL, *zero = NULL, *wide = NULL;
    if (had)
        made = fac_tensor_retain(had);
    else
        FAC_TRY(new_like(t, t, &made));
    if (!had) FAC_TRY(fac_op_zero_(made));
    if (is_narrower(made, of)) {
        FAC_TRY(fac_op_new_zeros(of, fac_v_ints(NULL, 0), (FacDType)made->dtype, FAC_VALUE_NONE,
                                 FAC_VALUE_NONE, &zero));
        FAC_TRY(fac_op_add(fac_v_tensor(made), fac_v_tensor(zero), fac_v_int(1), &wide));
    }
    FAC_TRY(fac_set_tangent(t, level, wide ? wide : made));
    FAC_TRY(fac_lay_out_tangent(t, level));
done:
    fac_tensor_release(made);
    fac_tensor_release(zero);
    fac_tensor_release(wide);
    return st;
}

/* t has a tangent that can take what is like `of` (NULL: numbers). */
static FacStatus
prepare(FacTensor *t, const FacLevel *level, FacTensor *of)
{
    FacTensor *had = fac_tangent(t, level);
    if (had && !is_narrower(had, of)) return fac_lay_out_tangent(t, level);
    if (fac_follows_base(t, level)) {
        FAC_RETURN_IF_ERROR(prepare(t->base, level, of));
        return take_part(t, level);
    }
    if (had && (had->base || had->refs > 1)) /* somebody else sees its memory */
        return fac_error(
            FAC_NOT_IMPLEMENTED,
            "a batch of tangents cannot be written over a single one that views share; "
            "use the operation that is not in place");
    return make_tangent(t, level, had, of);
}

FacStatus
fac_tangent_to_write(const FacCall *call, FacTensor *t, const FacLevel *level, FacTensor **out)
{
    FAC_RETURN_IF_ERROR(prepare(t, level, any_tangent(call, level)));
    *out = fac_tangent(t, level);
    return FAC_OK;
}
