/* composite_index.c - composites of indexing that need control flow: words that choose a reduction,
 * indices that are to be broadcast, and copies with a part replaced.
 *
 * Everything goes through rows, so that what is recorded of them can be differentiated again.
 */
#include "dispatch/formula.h"
#include "dispatch/rules.h"
#include "generated/ops.h"
#include "tensor/index.h"

#include <string.h>

/* Calls a row whose result is one tensor. */
static FacStatus
call_for_tensor(const FacOp *op, int nargs, const FacValue *args, FacTensor **out)
{
    FacValue result;
    FAC_RETURN_IF_ERROR(fac_call(op, nargs, args, &result));
    *out = result.v.t;
    return FAC_OK;
}

/* A view of t of other sizes: "view", "expand". */
static FacStatus
resized(const FacOp *op, FacTensor *t, int ndim, const FacDim *sizes, FacTensor **out)
{
    FacValue args[] = {fac_v_tensor(t), fac_v_ints(sizes, ndim)};
    return call_for_tensor(op, 2, args, out);
}

/* --- words ----------------------------------------------------------------------------------- */

FacStatus
fac_composite_scatter_with(FacCall *call)
{
    FacStatus st;
    FacTensor *filled = NULL, *index = fac_arg_tensor(call, 2);
    FacValue src = FAC_ARG(call, 3);
    const char *word = FAC_ARG(call, 4).v.s;
    bool adds = strcmp(word, "add") == 0;
    if (!adds && strcmp(word, "multiply") != 0)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 4,
                                  "must be \"add\" or \"multiply\", not \"%s\"", word);
    if (src.tag != FAC_V_TENSOR) {
        FacValue full[] = {FAC_ARG(call, 0), fac_v_ints(index->sizes, index->ndim), src};
        FAC_TRY(call_for_tensor(FAC_OP_new_full, 3, full, &filled));
        src = fac_v_tensor(filled);
    }
    FacValue args[] = {
        FAC_ARG(call, 0), FAC_ARG(call, 1), FAC_ARG(call, 2), src, fac_v_str(adds ? "sum" : "prod"),
        fac_v_bool(true)};
    FAC_TRY(fac_call(FAC_OP_scatter_reduce, 6, args, call->results));
done:
    fac_tensor_release(filled);
    return st;
}

/* grad_output, self, dim, index, src, reduce, include_self, result -> gradients of self and src */
FacStatus
fac_composite_scatter_reduce_backward(FacCall *call)
{
    FacStatus st;
    const FacValue *a = call->args;
    const char *word = a[5].v.s;
    FacTensor *grad_self = NULL, *kept = NULL, *grad_src = NULL;
    FacValue results[2] = {FAC_VALUE_NONE, FAC_VALUE_NONE};
    if (strcmp(word, "sum") == 0) {
        FacTensor *src = fac_arg_tensor(call, 4);
        FacValue gather[] = {a[0], a[2], a[3], fac_v_ints(src->sizes, src->ndim)};
        FAC_TRY(call_for_tensor(FAC_OP__gather_like, 4, gather, &grad_src));
        grad_self = fac_tensor_retain(fac_arg_tensor(call, 0));
    } else {
        FacValue mean[] = {a[0], a[2], a[3], a[4], a[6]};
        FacValue other[] = {a[0], a[1], a[2], a[3], a[4], a[6], a[7]};
        FAC_TRY(word[0] == 'm'   ? fac_call(FAC_OP__scatter_mean_backward, 5, mean, results)
                : word[0] == 'p' ? fac_call(FAC_OP__scatter_prod_backward, 7, other, results)
                                 : fac_call(FAC_OP__scatter_extreme_backward, 7, other, results));
        grad_self = results[0].v.t;
        grad_src = results[1].v.t;
    }
    if (!fac_v_is_true(a[6])) { /* self takes no part where something was put */
        FacValue clear[] = {fac_v_tensor(grad_self), a[2], a[3], fac_v_int(0)};
        FAC_TRY(call_for_tensor(FAC_OP_scatter_value, 4, clear, &kept));
        fac_tensor_release(grad_self);
        grad_self = kept;
    }
    call->results[0] = fac_v_tensor(grad_self);
    call->results[1] = fac_v_tensor(grad_src);
    return FAC_OK;
done:
    fac_tensor_release(grad_self);
    fac_tensor_release(grad_src);
    return st;
}

/* --- indices --------------------------------------------------------------------------------- */

/* gather, and zeros where `sizes` exceed those of the index. */
FacStatus
fac_composite_gather_like(FacCall *call)
{
    FacStatus st;
    FacTensor *self = fac_arg_tensor(call, 0), *index = fac_arg_tensor(call, 2);
    FacTensor *part = NULL, *zeros = NULL;
    FacValue sizes = FAC_ARG(call, 3);
    int64_t spec[FAC_INDEX_STRIDE * FAC_MAX_NDIM];
    bool same = index->ndim == (int)sizes.len;
    for (int d = 0; d < index->ndim && same; d++) same = index->sizes[d] == sizes.v.ints[d];
    if (same) return fac_call(FAC_OP_gather, 3, call->args, call->results);
    FacValue zero[] = {fac_v_tensor(self), sizes};
    FAC_TRY(call_for_tensor(FAC_OP_new_zeros, 2, zero, &zeros));
    if (index->numel == 0) {
        call->results[0] = fac_v_tensor(fac_tensor_retain(zeros));
        goto done;
    }
    FAC_TRY(call_for_tensor(FAC_OP_gather, 3, call->args, &part));
    for (int d = 0; d < index->ndim; d++) {
        spec[FAC_INDEX_STRIDE * d] = 0;
        spec[FAC_INDEX_STRIDE * d + 1] = 1;
        spec[FAC_INDEX_STRIDE * d + 2] = index->sizes[d];
    }
    FacValue into[] = {fac_v_tensor(zeros), fac_v_tensor(part),
                       fac_v_ints(spec, FAC_INDEX_STRIDE * index->ndim)};
    FAC_TRY(fac_call(FAC_OP__index_view_scatter, 3, into, call->results));
done:
    fac_tensor_release(part);
    fac_tensor_release(zeros);
    return st;
}

FacStatus
fac_composite_spread_index(FacCall *call)
{
    FacStatus st;
    FacTensor *index = fac_arg_tensor(call, 0), *row = NULL;
    FacValue sizes = FAC_ARG(call, 2);
    FacDim ones[FAC_MAX_NDIM];
    int dim, ndim = (int)sizes.len;
    FAC_RETURN_IF_ERROR(fac_check_ndim(sizes.len));
    FAC_TRY(fac_wrap_dim(FAC_ARG(call, 1).v.i, ndim, &dim));
    for (int d = 0; d < ndim; d++) ones[d] = d == dim ? index->numel : 1;
    FAC_TRY(resized(FAC_OP_reshape, index, ndim, ones, &row));
    FacValue args[] = {fac_v_tensor(row), sizes};
    FAC_TRY(fac_call(FAC_OP_expand, 2, args, call->results));
done:
    fac_tensor_release(row);
    return st;
}

FacStatus
fac_composite_take_along_dim(FacCall *call)
{
    FacStatus st;
    FacTensor *self = fac_arg_tensor(call, 0), *indices = fac_arg_tensor(call, 1);
    FacTensor *wide_self = NULL, *wide_indices = NULL, *below = NULL, *up = NULL, *wrapped = NULL;
    FacDim a[FAC_MAX_NDIM], b[FAC_MAX_NDIM], all = -1;
    int dim = 0, ndim = self->ndim;
    if (FAC_ARG(call, 2).tag == FAC_V_NONE) {
        FAC_TRY(resized(FAC_OP_reshape, self, 1, &all, &wide_self));
        FAC_TRY(resized(FAC_OP_reshape, indices, 1, &all, &wide_indices));
    } else {
        FAC_TRY(fac_wrap_dim(FAC_ARG(call, 2).v.i, ndim, &dim));
        if (indices->ndim != ndim)
            return fac_argument_error(FAC_RUNTIME_ERROR, call, 1,
                                      "must have the %d dimensions of self, not %d", ndim,
                                      indices->ndim);
        for (int d = 0; d < ndim; d++) {
            a[d] = d == dim ? 1 : self->sizes[d];
            b[d] = d == dim ? 1 : indices->sizes[d];
        }
        FAC_TRY(fac_broadcast(&ndim, a, ndim, b));
        for (int d = 0; d < ndim; d++) b[d] = a[d];
        if (ndim) {
            a[dim] = self->sizes[dim];
            b[dim] = indices->sizes[dim];
        }
        FAC_TRY(resized(FAC_OP_expand, self, ndim, a, &wide_self));
        FAC_TRY(resized(FAC_OP_expand, indices, ndim, b, &wide_indices));
    }
    /* negative indices count from the end */
    int64_t size = wide_self->ndim ? wide_self->sizes[dim] : 1;
    FAC_TRY(fac_op_lt(fac_v_tensor(wide_indices), fac_v_int(0), &below));
    FAC_TRY(fac_op_add(fac_v_tensor(wide_indices), fac_v_int(size), fac_v_int(1), &up));
    FAC_TRY(fac_op_where(below, fac_v_tensor(up), fac_v_tensor(wide_indices), &wrapped));
    FacValue args[] = {fac_v_tensor(wide_self), fac_v_int(dim), fac_v_tensor(wrapped)};
    FAC_TRY(fac_call(FAC_OP_gather, 3, args, call->results));
done:
    fac_tensor_release(wide_self);
    fac_tensor_release(wide_indices);
    fac_tensor_release(below);
    fac_tensor_release(up);
    fac_tensor_release(wrapped);
    return st;
}

FacStatus
fac_composite_nonzero_numpy(FacCall *call)
{
    FacStatus st;
    FacTensor *self = fac_arg_tensor(call, 0), *row = NULL, *positions = NULL;
    FacDim one = 1;
    if (self->ndim == 0) {
        FAC_TRY(resized(FAC_OP_reshape, self, 1, &one, &row));
        self = row;
    }
    FacValue of[] = {fac_v_tensor(self)};
    FAC_TRY(call_for_tensor(FAC_OP_nonzero, 1, of, &positions));
    FacValue args[] = {fac_v_tensor(positions), fac_v_int(1)};
    FAC_TRY(fac_call(FAC_OP_unbind, 2, args, call->results));
done:
    fac_tensor_release(positions);
    fac_tensor_release(row);
    return st;
}

FacStatus
fac_composite_nonzero_as_tuple(FacCall *call)
{
    bool as_tuple = fac_v_is_true(FAC_ARG(call, 1));
    return fac_call(as_tuple ? FAC_OP_nonzero_numpy : FAC_OP_nonzero, 1, call->args, call->results);
}

/* --- distinct elements ------------------------------------------------------------------------ */

/* What is wanted of (values, inverse, counts): the values alone, or a list. */
static FacStatus
give_wanted(FacValue *found, bool inverse, bool counts, FacValue *out)
{
    FacTensor **slots;
    int n = 0;
    if (!inverse && !counts) return fac_value_keep(found[0], out);
    FAC_RETURN_IF_ERROR(fac_value_new_tensors(1 + inverse + counts, out, &slots));
    slots[n++] = fac_tensor_retain(found[0].v.t);
    if (inverse) slots[n++] = fac_tensor_retain(found[1].v.t);
    if (counts) slots[n++] = fac_tensor_retain(found[2].v.t);
    return FAC_OK;
}

FacStatus
fac_composite_unique(FacCall *call)
{
    FacValue self = FAC_ARG(call, 0), sorted = FAC_ARG(call, 1), dim = FAC_ARG(call, 4);
    FacValue inverse = FAC_ARG(call, 2), counts = FAC_ARG(call, 3), found[3];
    if (dim.tag == FAC_V_NONE)
        FAC_RETURN_IF_ERROR(
            fac_call(FAC_OP__unique2, 4, (FacValue[]){self, sorted, inverse, counts}, found));
    else
        FAC_RETURN_IF_ERROR(fac_call(FAC_OP_unique_dim, 5,
                                     (FacValue[]){self, dim, sorted, inverse, counts}, found));
    FacStatus st = give_wanted(found, fac_v_is_true(inverse), fac_v_is_true(counts), call->results);
    fac_formula_release(found, 3);
    return st;
}

FacStatus
fac_composite_unique_consecutive(FacCall *call)
{
    FacValue found[3];
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP__unique_consecutive, 4, call->args, found));
    FacStatus st = give_wanted(found, fac_v_is_true(FAC_ARG(call, 1)),
                               fac_v_is_true(FAC_ARG(call, 2)), call->results);
    fac_formula_release(found, 3);
    return st;
}

/* --- a part replaced ------------------------------------------------------------------------- */

/* spec: `before` whole dimensions, then one item. */
static FacStatus
scatter_item(FacCall *call, int before, int64_t start, int64_t step, int64_t size)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    int64_t spec[FAC_INDEX_STRIDE * (FAC_MAX_NDIM + 1)], *at = spec;
    for (int d = 0; d < before; d++) {
        *at++ = 0;
        *at++ = 1;
        *at++ = self->sizes[d];
    }
    *at++ = start;
    *at++ = step;
    *at++ = size;
    FacValue args[] = {FAC_ARG(call, 0), FAC_ARG(call, 1), fac_v_ints(spec, (int)(at - spec))};
    return fac_call(FAC_OP__index_view_scatter, 3, args, call->results);
}

FacStatus
fac_composite_select_scatter(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    int64_t index = FAC_ARG(call, 3).v.i;
    int dim;
    if (self->ndim == 0)
        return fac_error(FAC_INDEX_ERROR, "a 0-dim tensor has no dimension to select from");
    FAC_RETURN_IF_ERROR(fac_wrap_dim(FAC_ARG(call, 2).v.i, self->ndim, &dim));
    if (index < -self->sizes[dim] || index >= self->sizes[dim])
        return fac_index_range_error(index, dim, self->sizes[dim]);
    return scatter_item(call, dim, index < 0 ? index + self->sizes[dim] : index, 1,
                        FAC_INDEX_SELECT);
}

/* A bound of a slice, from the start and within [0, size]. */
static int64_t
bound(FacValue v, int64_t missing, int64_t size)
{
    int64_t at = v.tag == FAC_V_NONE ? missing : v.v.i;
    if (at < 0) at += size;
    return at < 0 ? 0 : at > size ? size : at;
}

FacStatus
fac_composite_slice_scatter(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    int64_t step = FAC_ARG(call, 5).v.i;
    int dim;
    if (self->ndim == 0)
        return fac_error(FAC_RUNTIME_ERROR, "a 0-dim tensor has no dimension to slice");
    if (step <= 0)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 5, "must be positive, not %lld",
                                  (long long)step);
    FAC_RETURN_IF_ERROR(fac_wrap_dim(FAC_ARG(call, 2).v.i, self->ndim, &dim));
    int64_t size = self->sizes[dim], start = bound(FAC_ARG(call, 3), 0, size);
    int64_t end = bound(FAC_ARG(call, 4), size, size);
    return scatter_item(call, dim, start, step, end > start ? (end - start - 1) / step + 1 : 0);
}
