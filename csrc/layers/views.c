/* views.c - in-place changes through views, and the history of views whose base was changed.
 *
 * When a view is changed in place, it is the base that gets a new history: a node that cuts the
 * view's part out of the gradient of the base, sends it through what changed the view, and puts the
 * result back. The view itself, and every other view of that base, gets its history anew when it is
 * asked for: the same view, taken of the base as it is now. Versions, which a base shares with its
 * views, tell when that is due.
 *
 * A view is described by its geometry over the base's memory: sizes, strides and offset, for a real
 * view of a complex base in units of its parts, and its lazy bits.
 */
#include "layers/node.h"

#include "generated/ops.h"
#include "layers/gradient.h"
#include "layers/record.h"

#include <string.h>

typedef struct Layout {
    uint8_t ndim;
    int64_t offset;
    FacDim *dims; /* sizes, then strides; not owned */
} Layout;

typedef struct Slice {
    FacNode *fn;    /* what changed the view; owned */
    int self;       /* the edge of fn that stands for the view; -1: none */
    FacDType dtype; /* of the view */
    uint8_t flags;  /* lazy bits of the view */
    Layout view, base;
    FacDim dims[]; /* of both layouts */
} Slice;

static void
keep_layout(const FacTensor *t, FacDim *dims, Layout *out)
{
    *out = (Layout){t->ndim, t->offset, dims};
    memcpy(dims, t->sizes, t->ndim * sizeof(FacDim));
    memcpy(dims + t->ndim, t->strides, t->ndim * sizeof(FacDim));
}

static FacValue
sizes_of(const Layout *l)
{
    return fac_v_ints(l->dims, l->ndim);
}

static FacValue
strides_of(const Layout *l)
{
    return fac_v_ints(l->dims + l->ndim, l->ndim);
}

/* The view of `base` with this geometry, taken by rows, so that it is recorded. `shift`:
 * elements of the base by which its memory starts later than that of the geometry. */
static FacStatus
take_view(FacTensor *base, const Layout *view, FacDType dtype, uint8_t flags, int64_t shift,
          FacTensor **out)
{
    FacStatus st = FAC_OK;
    FacTensor *parts = NULL, *cut = NULL, *turned = NULL;
    if (dtype != base->dtype) {
        if (!FAC_IS_COMPLEX(base->dtype) || fac_dtype_info[base->dtype].real != dtype)
            FAC_FAIL(FAC_NOT_IMPLEMENTED,
                     "a view as another dtype has no history after its base was changed in place");
        FAC_TRY(fac_op_view_as_real(base, &parts));
        shift *= 2;
    }
    FAC_TRY(fac_op_as_strided(parts ? parts : base, sizes_of(view), strides_of(view),
                              fac_v_int(view->offset - shift), &cut));
    if (flags & FAC_T_CONJ) {
        FAC_TRY(fac_op_conj(cut, &turned));
        fac_tensor_release(cut);
        cut = turned;
    }
    if (flags & FAC_T_NEG) {
        FAC_TRY(fac_op__neg_view(cut, &turned));
        fac_tensor_release(cut);
        cut = turned;
    }
    *out = cut;
    cut = NULL;
done:
    fac_tensor_release(parts);
    fac_tensor_release(cut);
    return st;
}

/* --- checks ----------------------------------------------------------------------------------- */

static FacStatus
multi_view_error(FacTensor *t, bool indirect)
{
    FacAutograd *au = fac_autograd(t);
    char text[128];
    const char *name = au && au->grad_fn ? fac_node_name(au->grad_fn, text) : "a call";
    return fac_error(
        FAC_RUNTIME_ERROR,
        "Output %u of %s is a view and %s modified inplace. This view is the output of a "
        "function that returns multiple views. Such functions do not allow the output "
        "views to be modified inplace. You should replace the inplace operation by an "
        "out-of-place one.",
        au ? au->index : 0, name,
        indirect ? "its base or another view of its base has been" : "is being");
}

FacStatus
fac_check_inplace(FacTensor *t)
{
    uint8_t flags = t->flags | (t->base ? t->base->flags : 0);
    if ((flags & FAC_T_FUNCTION_VIEW) && fac_needs_grad(t))
        return fac_error(
            FAC_RUNTIME_ERROR,
            "A tensor that an autograd.Function returned is a view and is being modified inplace. "
            "It is a view of an input of the Function (or an input returned as it is), and its "
            "backward could not take part in the gradient of that change. Return a clone() of it "
            "from forward, or use the operation that is not in place.");
    if (t->base) {
        if (t->flags & FAC_T_NO_GRAD_VIEW)
            return fac_error(
                FAC_RUNTIME_ERROR,
                "A view was created in no_grad mode and is being modified inplace with grad "
                "mode enabled. Given that this use case is ambiguous and error-prone, it is "
                "forbidden. You can clarify your code by moving both the view and the "
                "inplace either both inside the no_grad block (if you don't want the "
                "inplace to be tracked) or both outside (if you want the inplace to be "
                "tracked).");
        if (t->flags & FAC_T_MULTI_VIEW) return multi_view_error(t, false);
        if (fac_needs_grad(t) && fac_is_leaf(t->base) && fac_needs_grad(t->base))
            return fac_error(FAC_RUNTIME_ERROR,
                             "a view of a leaf Variable that requires grad is being "
                             "used in an in-place operation.");
    }
    if (fac_needs_grad(t) && fac_is_leaf(t))
        return fac_error(
            FAC_RUNTIME_ERROR,
            "a leaf Variable that requires grad is being used in an in-place operation.");
    return FAC_OK;
}

/* --- views of a base that was changed --------------------------------------------------------- */

FacStatus
fac_same_view(FacTensor *t, FacTensor *from, FacTensor **out)
{
    FacDim dims[2 * FAC_MAX_NDIM];
    Layout layout;
    keep_layout(t, dims, &layout);
    return take_view(from, &layout, (FacDType)t->dtype, t->flags, t->base->offset - from->offset,
                     out);
}

FacStatus
fac_refresh_view(FacTensor *t)
{
    FacAutograd *au = fac_autograd(t), *base_au = fac_autograd(t->base);
    if (!fac_needs_grad(t->base) || !fac_needs_grad(t) || (t->flags & FAC_T_NO_GRAD_VIEW))
        return FAC_OK;
    bool recorded = au && au->grad_fn;
    if (recorded ? au->base_version == fac_tensor_version(t) : !base_au->grad_fn) return FAC_OK;
    if (au && au->requires_grad) return FAC_OK; /* made a leaf of its own */
    if (t->flags & FAC_T_MULTI_VIEW) return multi_view_error(t, true);

    FacTensor *again;
    uint32_t exclude = fac_thread.exclude;
    fac_thread.exclude &= ~FAC_KEY(GRAD);
    FacStatus st = fac_same_view(t, t->base, &again);
    fac_thread.exclude = exclude;
    if (st != FAC_OK) return st;
    FacAutograd *made = fac_autograd(again);
    if (made && made->grad_fn) st = fac_set_history(t, made->grad_fn, made->index);
    fac_tensor_release(again);
    return st;
}

/* --- a change through a view ------------------------------------------------------------------ */

/* result: the gradient of the base, in memory of its own laid out like the base. */
static FacStatus
spread_like_base(const Slice *s, FacTensor *grad, FacTensor **out)
{
    FacTensor *result;
    FAC_RETURN_IF_ERROR(fac_op_new_empty_strided(grad, sizes_of(&s->base), strides_of(&s->base),
                                                 FAC_DT_NONE, FAC_VALUE_NONE, FAC_VALUE_NONE,
                                                 &result));
    FacStatus st = fac_op_copy_(result, grad, false);
    if (st != FAC_OK) {
        fac_tensor_release(result);
        return st;
    }
    *out = result;
    return FAC_OK;
}

/* Which edges of the inner node are wanted: its own was replaced by the first, to the base. */
static void
wanted_inside(const Slice *s, const bool *outer, bool *inner)
{
    for (int i = 0, from = 1; i < (int)s->fn->nedges; i++)
        inner[i] = outer[i == s->self ? 0 : from++];
}

static FacStatus
apply_slice(FacNode *node, FacTensor *const *grads, FacTensor **out)
{
    enum { FEW = 16 };
    FacStatus st = FAC_OK;
    const Slice *s = node->foreign;
    FacTensor *result = NULL, *cut = NULL, *part = NULL, *few[FEW], **inner = few;
    bool few_wanted[FEW], *wanted = few_wanted;
    size_t bytes = s->fn->nedges * sizeof *inner;
    if (!grads[0]) return FAC_OK;
    const bool *outer = fac_wanted_edges;
    if (s->fn->nedges > FEW) {
        inner = fac_mem_alloc(bytes + s->fn->nedges * sizeof *wanted);
        if (!inner) return fac_mem_error(bytes);
        wanted = (bool *)((char *)inner + bytes);
    }
    memset(inner, 0, bytes);
    if (outer) wanted_inside(s, outer, wanted);
    FAC_TRY(spread_like_base(s, grads[0], &result));
    FAC_TRY(take_view(result, &s->view, s->dtype, s->flags, s->base.offset, &cut));
    FAC_TRY(fac_op_clone(cut, FAC_VALUE_NONE, &part));
    fac_wanted_edges = outer ? wanted : NULL;
    st = fac_node_apply(s->fn, (FacTensor *const *)&part, inner, false);
    fac_wanted_edges = outer;
    FAC_TRY(st);
    if (s->self >= 0 && inner[s->self])
        FAC_TRY(fac_op_copy_(cut, inner[s->self], false));
    else
        FAC_TRY(fac_op_zero_(cut));
    out[0] = result;
    result = NULL;
    for (int i = 0, to = 1; i < (int)s->fn->nedges; i++) {
        if (i == s->self) continue;
        out[to++] = inner[i];
        inner[i] = NULL;
    }
done:
    for (uint32_t i = 0; i < s->fn->nedges; i++) fac_tensor_release(inner[i]);
    if (inner != few) fac_mem_free(inner);
    fac_tensor_release(part);
    fac_tensor_release(cut);
    fac_tensor_release(result);
    return st;
}

static void
release_slice(FacNode *node)
{
    const Slice *s = node->foreign;
    fac_node_drop_saved(s->fn);
}

static void
destroy_slice(FacNode *node)
{
    fac_node_release(((Slice *)node->foreign)->fn);
}

static const FacNodeKind slice_kind = {
    .name = "CopySlices",
    .apply = apply_slice,
    .release_saved = release_slice,
    .destroy = destroy_slice,
};

FacNode *
fac_slice_inner(const FacNode *node)
{
    return node->kind == &slice_kind ? ((const Slice *)node->foreign)->fn : NULL;
}

/* Which edge of `node` led to t's history before the change: t's own place among the inputs. */
static int
own_edge(FacTensor *t, const FacNode *node)
{
    FacAutograd *au = fac_autograd(t);
    if (!au || !au->grad_fn) return -1;
    for (uint32_t i = 0; i < node->nedges; i++)
        if (node->edges[i].node == au->grad_fn && node->edges[i].index == au->index) return (int)i;
    return -1;
}

static FacStatus
make_slice(FacTensor *t, FacNode *fn, FacNode **out)
{
    FacNode *node;
    int self = own_edge(t, fn);
    int nedges = 1 + (int)fn->nedges - (self >= 0);
    size_t bytes = sizeof(Slice) + 2 * (size_t)(t->ndim + t->base->ndim) * sizeof(FacDim);
    FAC_RETURN_IF_ERROR(fac_node_new_with(&slice_kind, NULL, nedges, 1, 0, bytes, &node));
    Slice *s = node->foreign;
    fac_node_retain(fn);
    s->fn = fn;
    s->self = self;
    s->dtype = (FacDType)t->dtype;
    s->flags = t->flags & (FAC_T_CONJ | FAC_T_NEG);
    keep_layout(t, s->dims, &s->view);
    keep_layout(t->base, s->dims + 2 * t->ndim, &s->base);
    for (int i = 0, to = 1; i < (int)fn->nedges; i++) {
        if (i == self) continue;
        node->edges[to] = fn->edges[i];
        if (node->edges[to].node) fac_node_retain(node->edges[to].node);
        to++;
    }
    FacStatus st = fac_gradient_edge(t->base, &node->edges[0]);
    if (st == FAC_OK) st = fac_node_set_meta(node, 0, t->base);
    if (st != FAC_OK) {
        fac_node_release(node);
        return st;
    }
    *out = node;
    return FAC_OK;
}

FacStatus
fac_rebase_history(FacTensor *t, FacNode *node, uint32_t index)
{
    FacNode *slice;
    if (!t->base) return fac_set_history(t, node, index);
    if (index != 0 || node->nresults != 1)
        return fac_error(
            FAC_NOT_IMPLEMENTED,
            "a call with several results cannot change a view in place and be recorded");
    FAC_RETURN_IF_ERROR(make_slice(t, node, &slice));
    FacStatus st = fac_set_history(t->base, slice, 0);
    fac_node_release(slice);
    if (st != FAC_OK) return st;
    /* the view is to take its history from the base when it is asked for it */
    return fac_set_history(t, NULL, 0);
}
