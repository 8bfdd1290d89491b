/* rules_index.c - the rules of indexing.
 *
 * Three kinds of results: views (the geometry is in tensor/index.c), fresh tensors whose sizes
 * follow from the index, and copies of self with something written into them. The last kind,
 * called in place, writes to self directly unless an argument shares its memory; then the
 * result is made aside, which gives the values that the arguments had before.
 */
#include "dispatch/rules.h"
#include "tensor/index.h"

#include <string.h>

/* --- checks ---------------------------------------------------------------------------------- */

static FacStatus
check_index_dtype(const FacCall *call, int i)
{
    const FacTensor *index = fac_arg_tensor(call, i);
    FacDType dt = (FacDType)index->dtype;
    if (dt == FAC_DT_I64 || dt == FAC_DT_I32 || !index->numel) return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must be of dtype int64 or int32, not %s",
                              fac_dtype_info[dt].name);
}

static FacStatus
check_same_dtype(const FacCall *call, int i)
{
    const FacTensor *self = fac_arg_tensor(call, 0), *other = fac_arg_tensor(call, i);
    if (!other || other->dtype == self->dtype) return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                              "must have self's dtype, %s, not %s: convert it with .to()",
                              fac_dtype_info[self->dtype].name, fac_dtype_info[other->dtype].name);
}

static FacStatus
check_mask(const FacCall *call, int i)
{
    FacDType dt = (FacDType)fac_arg_tensor(call, i)->dtype;
    if (dt == FAC_DT_BOOL) return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must be a bool tensor, not %s",
                              fac_dtype_info[dt].name);
}

/* The value of a fill: a number, or a 0-d tensor; never complex for a real self. */
static FacStatus
check_value(const FacCall *call, int i)
{
    const FacTensor *self = fac_arg_tensor(call, 0), *value = fac_arg_tensor(call, i);
    if (value && value->ndim)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                  "must be a number or a 0-d tensor, not one of %d dimensions",
                                  value->ndim);
    bool is_complex = value ? FAC_IS_COMPLEX(value->dtype) : FAC_ARG(call, i).tag == FAC_V_COMPLEX;
    if (is_complex && !FAC_IS_COMPLEX(self->dtype))
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                  "is complex and cannot be converted to %s without overflow",
                                  fac_dtype_info[self->dtype].name);
    return FAC_OK;
}

static FacStatus
check_expands(const FacCall *call, int i, const char *what, int ndim, const FacDim *sizes)
{
    const FacTensor *t = fac_arg_tensor(call, i);
    bool fits = t->ndim <= ndim;
    for (int d = 0; d < t->ndim && fits; d++) {
        FacDim have = t->sizes[d], want = sizes[ndim - t->ndim + d];
        fits = have == want || have == 1;
    }
    if (fits) return FAC_OK;
    FacText from = {.len = 0}, to = {.len = 0};
    fac_text_dims(&from, t->ndim, t->sizes);
    fac_text_dims(&to, ndim, sizes);
    return fac_error(FAC_RUNTIME_ERROR,
                     "shape mismatch: value tensor of shape %s cannot be broadcast to %s of shape "
                     "%s",
                     from.at, what, to.at);
}

/* --- results --------------------------------------------------------------------------------- */

static bool
shares_memory(const FacTensor *self, FacValue v)
{
    if (v.tag == FAC_V_TENSOR) return v.v.t != self && v.v.t->storage == self->storage;
    if (v.tag != FAC_V_TENSORS) return false;
    for (uint32_t i = 0; i < v.len; i++)
        if (v.v.tensors[i] && v.v.tensors[i]->storage == self->storage) return true;
    return false;
}

/* Result 0 is self with something written into it; `sizes` are self's unless it was broadcast. */
static FacStatus
out_written(FacCall *call, int ndim, const FacDim *sizes)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    bool direct = (call->flags & FAC_CALL_INPLACE) && call->targets && ndim == self->ndim;
    for (int d = 0; d < ndim && direct; d++) direct = sizes[d] == self->sizes[d];
    for (int i = 1; i < call->op->nparams && direct; i++)
        direct = !shares_memory(self, FAC_ARG(call, i));
    if (!direct) return fac_out(call, 0, (FacDType)self->dtype, self->device, ndim, sizes);
    if (fac_repeats_elements(ndim, self->sizes, self->strides))
        return fac_error(FAC_RUNTIME_ERROR,
                         "unsupported operation: more than one element of the written-to tensor "
                         "refers to a single memory location. Please clone() the tensor before "
                         "performing the operation.");
    call->results[0] = fac_v_tensor(fac_tensor_retain(self));
    call->direct |= 1;
    return FAC_OK;
}

static FacStatus
out_self(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    return out_written(call, self->ndim, self->sizes);
}

static FacStatus
out_sizes(FacCall *call, int ndim, const FacDim *sizes)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    return fac_out(call, 0, (FacDType)self->dtype, self->device, ndim, sizes);
}

/* --- basic ----------------------------------------------------------------------------------- */

FacStatus
fac_rule_index_view(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    FacValue spec = FAC_ARG(call, 1);
    FacLayout v;
    FAC_RETURN_IF_ERROR(fac_index_layout(self, (int)spec.len, spec.v.ints, &v));
    return fac_out_view(call, 0, self, v.ndim, v.sizes, v.strides, v.offset);
}

/* (grad_output, input_sizes, spec). */
FacStatus
fac_rule_index_view_backward(FacCall *call)
{
    FacValue sizes = FAC_ARG(call, 1), spec = FAC_ARG(call, 2);
    FacLayout v;
    FAC_RETURN_IF_ERROR(out_sizes(call, (int)sizes.len, sizes.v.ints));
    FAC_RETURN_IF_ERROR(
        fac_index_layout(fac_result_tensor(call, 0), (int)spec.len, spec.v.ints, &v));
    return fac_check_sizes(call, 0, v.ndim, v.sizes);
}

FacStatus
fac_rule_index_view_scatter(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    FacValue spec = FAC_ARG(call, 2);
    FacLayout v;
    FAC_RETURN_IF_ERROR(check_same_dtype(call, 1));
    FAC_RETURN_IF_ERROR(fac_index_layout(self, (int)spec.len, spec.v.ints, &v));
    FAC_RETURN_IF_ERROR(check_expands(call, 1, "the slice", v.ndim, v.sizes));
    return out_sizes(call, self->ndim, self->sizes);
}

FacStatus
fac_rule_diagonal_scatter(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    int64_t offset = FAC_ARG(call, 2).v.i, rows, columns;
    int dim1, dim2, ndim = 0;
    FAC_RETURN_IF_ERROR(fac_wrap_dim(FAC_ARG(call, 3).v.i, self->ndim, &dim1));
    FAC_RETURN_IF_ERROR(fac_wrap_dim(FAC_ARG(call, 4).v.i, self->ndim, &dim2));
    if (dim1 == dim2)
        return fac_error(FAC_RUNTIME_ERROR, "diagonal dimensions cannot be identical %d, %d", dim1,
                         dim2);
    FAC_RETURN_IF_ERROR(check_same_dtype(call, 1));
    for (int d = 0; d < self->ndim; d++)
        if (d != dim1 && d != dim2) sizes[ndim++] = self->sizes[d];
    rows = self->sizes[dim1];
    columns = self->sizes[dim2];
    if (offset >= 0)
        columns = offset < columns ? columns - offset : 0;
    else
        rows = offset > -rows ? rows + offset : 0;
    sizes[ndim++] = rows < columns ? rows : columns;
    FAC_RETURN_IF_ERROR(check_expands(call, 1, "the diagonal", ndim, sizes));
    return out_sizes(call, self->ndim, self->sizes);
}

/* --- advanced -------------------------------------------------------------------------------- */

FacStatus
fac_rule_index(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    FacValue indices = FAC_ARG(call, 1);
    FacIndexPlan plan;
    FAC_RETURN_IF_ERROR(fac_index_plan(self, (int)indices.len, indices.v.tensors, &plan));
    if (plan.nmasks) return fac_rule_data(call);
    FAC_RETURN_IF_ERROR(fac_index_plan_sizes(self, NULL, &plan));
    return out_sizes(call, plan.ndim, plan.sizes);
}

/* (grad_output, input_sizes, indices): with masks the kernel knows how many places there are. */
FacStatus
fac_rule_index_backward(FacCall *call)
{
    FacValue sizes = FAC_ARG(call, 1), indices = FAC_ARG(call, 2);
    FacIndexPlan plan;
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    FAC_RETURN_IF_ERROR(out_sizes(call, (int)sizes.len, sizes.v.ints));
    const FacTensor *out = fac_result_tensor(call, 0);
    FAC_RETURN_IF_ERROR(fac_index_plan(out, (int)indices.len, indices.v.tensors, &plan));
    if (plan.nmasks) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_index_plan_sizes(out, NULL, &plan));
    return fac_check_sizes(call, 0, plan.ndim, plan.sizes);
}

FacStatus
fac_rule_index_put(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    FacValue indices = FAC_ARG(call, 1);
    FacIndexPlan plan;
    FAC_RETURN_IF_ERROR(check_same_dtype(call, 2));
    FAC_RETURN_IF_ERROR(fac_index_plan(self, (int)indices.len, indices.v.tensors, &plan));
    if (!plan.nmasks) {
        FAC_RETURN_IF_ERROR(fac_index_plan_sizes(self, NULL, &plan));
        FAC_RETURN_IF_ERROR(check_expands(call, 2, "indexing result", plan.ndim, plan.sizes));
    }
    return out_self(call);
}

/* --- along one dimension --------------------------------------------------------------------- */

/* Checks self, dim (argument 1) and the row of indices (argument 2). */
static FacStatus
check_row_index(const FacCall *call, int *dim)
{
    const FacTensor *self = fac_arg_tensor(call, 0), *index = fac_arg_tensor(call, 2);
    FAC_RETURN_IF_ERROR(fac_wrap_dim(FAC_ARG(call, 1).v.i, self->ndim, dim));
    FAC_RETURN_IF_ERROR(check_index_dtype(call, 2));
    if (index->ndim > 1)
        return fac_argument_error(FAC_INDEX_ERROR, call, 2,
                                  "must have at most one dimension, not %d", index->ndim);
    return FAC_OK;
}

FacStatus
fac_rule_index_select(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *index = fac_arg_tensor(call, 2);
    FacDim sizes[FAC_MAX_NDIM];
    int dim;
    FAC_RETURN_IF_ERROR(check_row_index(call, &dim));
    for (int d = 0; d < self->ndim; d++) sizes[d] = self->sizes[d];
    if (self->ndim)
        sizes[dim] = index->numel;
    else if (index->numel != 1)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 2,
                                  "must have one element for a 0-d tensor, not %lld",
                                  (long long)index->numel);
    return out_sizes(call, self->ndim, sizes);
}

FacStatus
fac_rule_index_add(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *index = fac_arg_tensor(call, 2);
    FacTensor *source = fac_arg_tensor(call, 3);
    int dim;
    FAC_RETURN_IF_ERROR(check_row_index(call, &dim));
    FAC_RETURN_IF_ERROR(check_same_dtype(call, 3));
    bool fits = source->ndim == self->ndim || (source->ndim <= 1 && self->ndim <= 1);
    FacDim slices = source->ndim == 0 ? 1 : fits ? source->sizes[dim] : 0;
    for (int d = 0; d < self->ndim && fits && source->ndim == self->ndim; d++)
        fits = d == dim || source->sizes[d] == self->sizes[d];
    if (fits && slices == index->numel) return out_self(call);
    FacText want = {.len = 0}, have = {.len = 0};
    fac_text_dims(&want, self->ndim, self->sizes);
    fac_text_dims(&have, source->ndim, source->sizes);
    FacStatus code = slices == index->numel || !fits ? FAC_RUNTIME_ERROR : FAC_INDEX_ERROR;
    return fac_argument_error(code, call, 3,
                              "of shape %s must have the shape of self, %s, but for dimension %d, "
                              "where it must have the %lld elements of the index",
                              have.at, want.at, dim, (long long)index->numel);
}

/* Which way of combining a word names; the words are of the peer. */
static FacStatus
check_reduce(const FacCall *call, int i, const char *const *words)
{
    const char *word = FAC_ARG(call, i).v.s;
    FacText text = {.len = 0};
    for (int k = 0; words[k]; k++) {
        if (strcmp(words[k], word) == 0) return FAC_OK;
        fac_text_add(&text, "%s%s", k ? ", " : "", words[k]);
    }
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must be one of %s, not \"%s\"", text.at,
                              word);
}

/* What amax and amin cannot order. */
static FacStatus
check_ordered(const FacCall *call, int i)
{
    const FacTensor *self = fac_arg_tensor(call, 0);
    if (FAC_IS_COMPLEX(self->dtype) && FAC_ARG(call, i).v.s[0] == 'a')
        return fac_not_implemented_for(call, (FacDType)self->dtype);
    return FAC_OK;
}

FacStatus
fac_rule_index_reduce(FacCall *call)
{
    static const char *const words[] = {"prod", "mean", "amax", "amin", NULL};
    FAC_RETURN_IF_ERROR(check_reduce(call, 4, words));
    FAC_RETURN_IF_ERROR(check_ordered(call, 4));
    return fac_rule_index_add(call);
}

FacStatus
fac_rule_index_fill(FacCall *call)
{
    int dim;
    FAC_RETURN_IF_ERROR(check_row_index(call, &dim));
    FAC_RETURN_IF_ERROR(check_value(call, 3));
    return out_self(call);
}

/* --- gather and scatter ---------------------------------------------------------------------- */

static int
ndim_at_least_1(const FacTensor *t)
{
    return t->ndim ? t->ndim : 1;
}

static FacDim
size_of(const FacTensor *t, int d)
{
    return t->ndim ? t->sizes[d] : 1;
}

/* The index (argument 2) must lie within argument i, but for dimension `skip` (-1: none). */
static FacStatus
check_within(const FacCall *call, int i, int skip)
{
    const FacTensor *index = fac_arg_tensor(call, 2), *t = fac_arg_tensor(call, i);
    if (index->numel == 0) return FAC_OK;
    bool fits = ndim_at_least_1(index) == ndim_at_least_1(t);
    if (!fits)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Index tensor must have the same number of dimensions as %s tensor: "
                         "%d and %d",
                         call->op->params[i].name, index->ndim, t->ndim);
    for (int d = 0; d < ndim_at_least_1(t) && fits; d++)
        fits = d == skip || size_of(index, d) <= size_of(t, d);
    if (fits) return FAC_OK;
    FacText have = {.len = 0}, room = {.len = 0};
    fac_text_dims(&have, index->ndim, index->sizes);
    fac_text_dims(&room, t->ndim, t->sizes);
    if (skip < 0)
        return fac_error(FAC_RUNTIME_ERROR, "Size does not match: index %s is larger than %s %s",
                         have.at, call->op->params[i].name, room.at);
    return fac_error(FAC_RUNTIME_ERROR,
                     "Size does not match at dimensions other than %d: index %s is larger than "
                     "%s %s",
                     skip, have.at, call->op->params[i].name, room.at);
}

FacStatus
fac_rule_gather(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *index = fac_arg_tensor(call, 2);
    int dim;
    FAC_RETURN_IF_ERROR(fac_wrap_dim(FAC_ARG(call, 1).v.i, self->ndim, &dim));
    FAC_RETURN_IF_ERROR(check_index_dtype(call, 2));
    FAC_RETURN_IF_ERROR(check_within(call, 0, dim));
    return out_sizes(call, index->ndim, index->sizes);
}

FacStatus
fac_rule_scatter(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    int dim;
    FAC_RETURN_IF_ERROR(fac_wrap_dim(FAC_ARG(call, 1).v.i, self->ndim, &dim));
    FAC_RETURN_IF_ERROR(check_index_dtype(call, 2));
    FAC_RETURN_IF_ERROR(check_within(call, 0, dim));
    if (fac_arg_tensor(call, 3)) {
        FAC_RETURN_IF_ERROR(check_same_dtype(call, 3));
        FAC_RETURN_IF_ERROR(check_within(call, 3, -1));
    } else {
        FAC_RETURN_IF_ERROR(check_value(call, 3));
    }
    return out_self(call);
}

FacStatus
fac_rule_scatter_reduce(FacCall *call)
{
    static const char *const words[] = {"sum", "prod", "mean", "amax", "amin", NULL};
    FAC_RETURN_IF_ERROR(check_reduce(call, 4, words));
    FAC_RETURN_IF_ERROR(check_ordered(call, 4));
    return fac_rule_scatter(call);
}

/* --- the tensor as one row ------------------------------------------------------------------- */

FacStatus
fac_rule_take(FacCall *call)
{
    FacTensor *index = fac_arg_tensor(call, 1);
    FAC_RETURN_IF_ERROR(check_index_dtype(call, 1));
    return out_sizes(call, index->ndim, index->sizes);
}

FacStatus
fac_rule_put(FacCall *call)
{
    FacTensor *index = fac_arg_tensor(call, 1), *source = fac_arg_tensor(call, 2);
    FAC_RETURN_IF_ERROR(check_index_dtype(call, 1));
    FAC_RETURN_IF_ERROR(check_same_dtype(call, 2));
    if (source->numel != index->numel)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 2,
                                  "must have as many elements as the index: %lld, not %lld",
                                  (long long)index->numel, (long long)source->numel);
    return out_self(call);
}

/* --- masks ----------------------------------------------------------------------------------- */

/* The result is self, broadcast with the mask unless it is written in place. */
static FacStatus
out_masked(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *mask = fac_arg_tensor(call, 1);
    FacDim sizes[FAC_MAX_NDIM];
    int ndim = self->ndim;
    for (int d = 0; d < ndim; d++) sizes[d] = self->sizes[d];
    FAC_RETURN_IF_ERROR(fac_broadcast(&ndim, sizes, mask->ndim, mask->sizes));
    return out_written(call, ndim, sizes);
}

FacStatus
fac_rule_masked_fill(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_mask(call, 1));
    FAC_RETURN_IF_ERROR(check_value(call, 2));
    return out_masked(call);
}

FacStatus
fac_rule_masked_scatter(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_mask(call, 1));
    FAC_RETURN_IF_ERROR(check_same_dtype(call, 2));
    return out_masked(call);
}

FacStatus
fac_rule_masked_select(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *mask = fac_arg_tensor(call, 1);
    FacDim sizes[FAC_MAX_NDIM];
    int ndim = self->ndim;
    FAC_RETURN_IF_ERROR(check_mask(call, 1));
    for (int d = 0; d < ndim; d++) sizes[d] = self->sizes[d];
    FAC_RETURN_IF_ERROR(fac_broadcast(&ndim, sizes, mask->ndim, mask->sizes));
    return fac_rule_data(call);
}

FacStatus
fac_rule_masked_scatter_backward(FacCall *call)
{
    const FacTensor *grad = fac_arg_tensor(call, 0);
    FacValue sizes = FAC_ARG(call, 2);
    FAC_RETURN_IF_ERROR(check_mask(call, 1));
    FAC_RETURN_IF_ERROR(check_expands(call, 1, "the gradient", grad->ndim, grad->sizes));
    return out_sizes(call, (int)sizes.len, sizes.v.ints);
}
