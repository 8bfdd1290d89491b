/* rules_join.c - shape rules and gradients of joining, and composites that put elements elsewhere.
 */
#include "dispatch/rules.h"
#include "generated/ops.h"

#include <string.h>

/* cat takes tensors of shape [0] whatever the others' shape is: they add nothing. */
static bool
adds_nothing(const FacTensor *t)
{
    return t->ndim == 1 && t->sizes[0] == 0;
}

static FacDType
common_dtype(const FacCall *call)
{
    FacValue operands[64];
    int n = (int)call->args[0].len, used = n < 64 ? n : 64;
    for (int i = 0; i < used; i++) operands[i] = fac_v_tensor(call->args[0].v.tensors[i]);
    FacDType dtype = fac_promote_operands(operands, used);
    for (int i = used; i < n && dtype != FAC_DT_NONE; i++)
        dtype = fac_promote(dtype, (FacDType)call->args[0].v.tensors[i]->dtype);
    return dtype;
}

FacStatus
fac_rule_cat(FacCall *call)
{
    FacValue list = call->args[0];
    const FacTensor *first = NULL;
    FacDim sizes[FAC_MAX_NDIM], along = 0;
    int dim = 0;
    if (!list.len)
        return fac_error(FAC_VALUE_ERROR, "torch.cat(): expected a non-empty list of Tensors");
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    for (uint32_t i = 0; i < list.len; i++) {
        const FacTensor *t = list.v.tensors[i];
        if (!t->ndim)
            return fac_error(FAC_RUNTIME_ERROR,
                             "zero-dimensional tensor (at position %u) cannot be "
                             "concatenated; use stack()",
                             i);
        if (adds_nothing(t)) continue;
        if (!first) {
            first = t;
            FAC_RETURN_IF_ERROR(fac_wrap_dim(call->args[1].v.i, t->ndim, &dim));
            memcpy(sizes, t->sizes, t->ndim * sizeof *sizes);
        }
        bool fits = t->ndim == first->ndim;
        for (int d = 0; fits && d < t->ndim; d++) fits = d == dim || t->sizes[d] == sizes[d];
        if (!fits) {
            FacText text = {.len = 0};
            fac_text_dims(&text, first->ndim, first->sizes);
            fac_text_add(&text, " and ");
            fac_text_dims(&text, t->ndim, t->sizes);
            return fac_error(FAC_RUNTIME_ERROR,
                             "Sizes of tensors must match except in dimension %d, but "
                             "tensor %u in the list does not fit: %s",
                             dim, i, text.at);
        }
        if (__builtin_add_overflow(along, t->sizes[dim], &along))
            return fac_error(FAC_RUNTIME_ERROR, "the joined size is too large");
    }
    if (!first) {
        first = list.v.tensors[0];
        FAC_RETURN_IF_ERROR(fac_wrap_dim(call->args[1].v.i, 1, &dim));
    }
    sizes[dim] = along;
    return fac_out(call, 0, common_dtype(call), fac_common_device(call), first->ndim, sizes);
}

FacStatus
fac_rule_stack(FacCall *call)
{
    FacValue list = call->args[0];
    FacDim sizes[FAC_MAX_NDIM];
    int dim;
    if (!list.len) return fac_error(FAC_RUNTIME_ERROR, "stack expects a non-empty TensorList");
    const FacTensor *first = list.v.tensors[0];
    FAC_RETURN_IF_ERROR(fac_check_ndim(first->ndim + 1));
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    FAC_RETURN_IF_ERROR(fac_wrap_dim(call->args[1].v.i, first->ndim + 1, &dim));
    for (uint32_t i = 1; i < list.len; i++) {
        const FacTensor *t = list.v.tensors[i];
        if (t->ndim == first->ndim && !memcmp(t->sizes, first->sizes, t->ndim * sizeof *sizes))
            continue;
        FacText text = {.len = 0};
        fac_text_dims(&text, first->ndim, first->sizes);
        fac_text_add(&text, " at entry 0 and ");
        fac_text_dims(&text, t->ndim, t->sizes);
        return fac_error(FAC_RUNTIME_ERROR,
                         "stack expects each tensor to be equal size, but got %s at entry %u",
                         text.at, i);
    }
    for (int i = 0; i <= first->ndim; i++)
        sizes[i] = i == dim ? (FacDim)list.len : first->sizes[i < dim ? i : i - 1];
    return fac_out(call, 0, common_dtype(call), fac_common_device(call), first->ndim + 1, sizes);
}

FacStatus
fac_rule_triangle(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    if (t->ndim < 2)
        return fac_error(FAC_RUNTIME_ERROR, "input tensor must have at least 2 dimensions, got %d",
                         t->ndim);
    return fac_out(call, 0, (FacDType)t->dtype, t->device, t->ndim, t->sizes);
}

/* --- gradients --------------------------------------------------------------------------------------- */

FacStatus
fac_helper_cat_backward(const FacValue *args, FacValue *out)
{
    FacTensor *grad = args[0].v.t, **slots;
    FacValue list = args[1], made = FAC_VALUE_NONE;
    FacStatus st = FAC_OK;
    int64_t at = 0;
    int dim;
    FAC_TRY(fac_wrap_dim(args[2].v.i, grad->ndim, &dim));
    FAC_TRY(fac_value_new_tensors((int)list.len, &made, &slots));
    for (uint32_t i = 0; i < list.len; i++) {
        FacTensor *t = list.v.tensors[i];
        if (adds_nothing(t) && !(grad->ndim == 1)) {
            FAC_TRY(fac_op_new_zeros(grad, fac_v_ints(t->sizes, t->ndim), FAC_DT_NONE,
                                     FAC_VALUE_NONE, FAC_VALUE_NONE, &slots[i]));
            continue;
        }
        FAC_TRY(
            fac_op_slice(grad, dim, fac_v_int(at), fac_v_int(at + t->sizes[dim]), 1, &slots[i]));
        at += t->sizes[dim];
    }
    *out = made;
    made = FAC_VALUE_NONE;
done:
    fac_value_release(&made);
    return st;
}

FacStatus
fac_helper_stack_backward(const FacValue *args, FacValue *out)
{
    return fac_call(FAC_OP_unbind, 2, (FacValue[]){args[0], args[2]}, out);
}

/* --- stacks -------------------------------------------------------------------------------------------- */

/* cat along `dim` after `prepare` has made each tensor wide enough. */
static FacStatus
prepared_cat(FacCall *call, FacStatus (*prepare)(FacTensor *, FacTensor **), int dim,
             bool vectors_at_0)
{
    FacTensor **slots;
    FacValue list = call->args[0], made = FAC_VALUE_NONE;
    FacStatus st = FAC_OK;
    if (!list.len) FAC_FAIL(FAC_RUNTIME_ERROR, "%s expects a non-empty TensorList", call->op->name);
    FAC_TRY(fac_value_new_tensors((int)list.len, &made, &slots));
    for (uint32_t i = 0; i < list.len; i++) FAC_TRY(prepare(list.v.tensors[i], &slots[i]));
    if (vectors_at_0 && slots[0]->ndim == 1) dim = 0;
    FAC_TRY(fac_call(FAC_OP_cat, 2, (FacValue[]){made, fac_v_int(dim)}, call->results));
done:
    fac_value_release(&made);
    return st;
}

static FacStatus
at_least_1(FacTensor *t, FacTensor **out)
{
    return fac_op_atleast_1d(t, out);
}

static FacStatus
at_least_2(FacTensor *t, FacTensor **out)
{
    return fac_op_atleast_2d(t, out);
}

static FacStatus
at_least_3(FacTensor *t, FacTensor **out)
{
    return fac_op_atleast_3d(t, out);
}

static FacStatus
as_column(FacTensor *t, FacTensor **out)
{
    if (t->ndim > 1) {
        *out = fac_tensor_retain(t);
        return FAC_OK;
    }
    return fac_op_reshape(t, fac_v_ints((int64_t[]){t->numel, 1}, 2), out);
}

FacStatus
fac_composite_hstack(FacCall *call)
{
    return prepared_cat(call, at_least_1, 1, true);
}

FacStatus
fac_composite_vstack(FacCall *call)
{
    return prepared_cat(call, at_least_2, 0, false);
}

FacStatus
fac_composite_dstack(FacCall *call)
{
    return prepared_cat(call, at_least_3, 2, false);
}

FacStatus
fac_composite_column_stack(FacCall *call)
{
    return prepared_cat(call, as_column, 1, false);
}

/* --- repeats ----------------------------------------------------------------------------------------------- */

/* Seen as [1, size, ...] expanded to [count, size, ...] and reshaped: one copy. */
static FacStatus
repeat(FacTensor *t, int n, const int64_t *counts, FacValue *result)
{
    FacDim seen[2 * FAC_MAX_NDIM], wide[2 * FAC_MAX_NDIM], sizes[FAC_MAX_NDIM];
    FacTensor *split = NULL, *expanded = NULL;
    FacStatus st = FAC_OK;
    int lead = n - t->ndim;
    if (lead < 0)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Number of dimensions of repeat dims can not be smaller than "
                         "number of dimensions of tensor: %d counts for %d dimensions",
                         n, t->ndim);
    if (2 * n > FAC_MAX_NDIM)
        return fac_error(FAC_RUNTIME_ERROR, "repeat takes at most %d dimensions", FAC_MAX_NDIM / 2);
    for (int i = 0; i < n; i++) {
        if (counts[i] < 0)
            return fac_error(FAC_RUNTIME_ERROR,
                             "Trying to create tensor with negative dimension %lld",
                             (long long)counts[i]);
        FacDim size = i < lead ? 1 : t->sizes[i - lead];
        seen[2 * i] = 1;
        wide[2 * i] = counts[i];
        seen[2 * i + 1] = wide[2 * i + 1] = size;
        if (__builtin_mul_overflow(counts[i], size, &sizes[i]))
            return fac_error(FAC_RUNTIME_ERROR, "the repeated sizes are too large");
    }
    FAC_TRY(fac_op_reshape(t, fac_v_ints(seen, 2 * n), &split));
    FAC_TRY(fac_op_expand(split, fac_v_ints(wide, 2 * n), false, &expanded));
    FAC_TRY(fac_call(FAC_OP__reshape_copy, 2,
                     (FacValue[]){fac_v_tensor(expanded), fac_v_ints(sizes, n)}, result));
done:
    fac_tensor_release(split);
    fac_tensor_release(expanded);
    return st;
}

FacStatus
fac_composite_repeat(FacCall *call)
{
    return repeat(fac_arg_tensor(call, 0), (int)call->args[1].len, call->args[1].v.ints,
                  call->results);
}

FacStatus
fac_composite_tile(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    int n = (int)call->args[1].len, missing = t->ndim > n ? t->ndim - n : 0;
    int64_t counts[2 * FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(fac_check_ndim(n));
    for (int i = 0; i < missing; i++) counts[i] = 1;
    memcpy(counts + missing, call->args[1].v.ints, (size_t)n * sizeof *counts);
    return repeat(t, n + missing, counts, call->results);
}

/* Each element so many times: the indices are made from the counts, then selected. */
FacStatus
fac_composite_repeat_interleave_tensor(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *counts = fac_arg_tensor(call, 1);
    FacTensor *flat = NULL, *index = NULL, *wide = NULL, *resolved = NULL;
    FacValue dim = call->args[2];
    FacStatus st = FAC_OK;
    int64_t minus_one = -1, size;
    int d = 0;
    if (dim.tag == FAC_V_NONE)
        FAC_TRY(fac_op_reshape(self, fac_v_ints(&minus_one, 1), &flat));
    else
        flat = fac_tensor_retain(self);
    if (dim.tag != FAC_V_NONE) FAC_TRY(fac_wrap_dim(dim.v.i, flat->ndim, &d));
    size = flat->ndim ? flat->sizes[d] : 1;
    if (counts->ndim > 1) FAC_FAIL(FAC_RUNTIME_ERROR, "repeats must be 0-dim or 1-dim tensor");
    if (counts->numel == 1) {
        FAC_TRY(fac_op_reshape(counts, fac_v_ints(&minus_one, 1), &resolved));
        FAC_TRY(fac_op_expand(resolved, fac_v_ints(&size, 1), false, &wide));
    } else if (counts->ndim == 1 && counts->sizes[0] == size) {
        wide = fac_tensor_retain(counts);
    } else {
        FAC_FAIL(FAC_RUNTIME_ERROR,
                 "repeats must have the same size as input along dim, but got repeats.size(0) "
                 "= %lld and input.size(%d) = %lld",
                 (long long)(counts->ndim ? counts->sizes[0] : 1), d, (long long)size);
    }
    FAC_TRY(fac_op_repeat_interleave_counts(wide, call->args[3], &index));
    FAC_TRY(fac_call(FAC_OP_index_select, 3,
                     (FacValue[]){fac_v_tensor(flat), fac_v_int(d), fac_v_tensor(index)},
                     call->results));
done:
    fac_tensor_release(flat);
    fac_tensor_release(index);
    fac_tensor_release(wide);
    fac_tensor_release(resolved);
    return st;
}

/* Each element repeated along a new dimension, which then joins the one before it. */
FacStatus
fac_composite_repeat_interleave_int(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *flat = NULL, *column = NULL, *wide = NULL;
    FacStatus st = FAC_OK;
    FacDim sizes[FAC_MAX_NDIM + 1], minus_one = -1;
    int64_t repeats = call->args[1].v.i;
    FacValue dim = call->args[2], wanted = call->args[3];
    int d = 0;
    if (dim.tag == FAC_V_NONE)
        FAC_TRY(fac_op_reshape(self, fac_v_ints(&minus_one, 1), &flat));
    else
        flat = fac_tensor_retain(self);
    if (dim.tag != FAC_V_NONE) FAC_TRY(fac_wrap_dim(dim.v.i, flat->ndim, &d));
    if (repeats < 0) FAC_FAIL(FAC_RUNTIME_ERROR, "Repeats must be non-negative");
    FAC_TRY(fac_op_unsqueeze(flat, d + 1, &column));
    memcpy(sizes, column->sizes, (size_t)column->ndim * sizeof *sizes);
    sizes[d + 1] = repeats;
    FAC_TRY(fac_op_expand(column, fac_v_ints(sizes, column->ndim), false, &wide));
    memcpy(sizes, flat->sizes, (size_t)flat->ndim * sizeof *sizes);
    if (__builtin_mul_overflow(repeats, flat->sizes[d], &sizes[d]))
        FAC_FAIL(FAC_RUNTIME_ERROR, "the repeated sizes are too large");
    if (wanted.tag != FAC_V_NONE && wanted.v.i != sizes[d])
        FAC_FAIL(FAC_RUNTIME_ERROR, "output_size must be %lld, got %lld", (long long)sizes[d],
                 (long long)wanted.v.i);
    FAC_TRY(fac_call(FAC_OP__reshape_copy, 2,
                     (FacValue[]){fac_v_tensor(wide), fac_v_ints(sizes, flat->ndim)},
                     call->results));
done:
    fac_tensor_release(flat);
    fac_tensor_release(column);
    fac_tensor_release(wide);
    return st;
}

/* --- elements elsewhere ---------------------------------------------------------------------------------------- */

/* A view with negative steps along the dims in `mask`, copied. */
static FacStatus
flipped(FacTensor *t, uint64_t mask, FacValue *result)
{
    FacTensor *seen = fac_tensor_retain(t), *next = NULL;
    FacStatus st = FAC_OK;
    for (int d = 0; d < t->ndim; d++) {
        if (!(mask >> d & 1)) continue;
        FAC_TRY(fac_op_slice(seen, d, FAC_VALUE_NONE, FAC_VALUE_NONE, -1, &next));
        fac_tensor_release(seen);
        seen = next;
        next = NULL;
    }
    FacValue sizes = fac_v_ints(t->sizes, t->ndim);
    FAC_TRY(fac_call(FAC_OP__reshape_copy, 2, (FacValue[]){fac_v_tensor(seen), sizes}, result));
done:
    fac_tensor_release(seen);
    return st;
}

FacStatus
fac_composite_flip(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    uint64_t mask;
    FAC_RETURN_IF_ERROR(
        fac_wrap_dims(call->args[1].v.ints, (int)call->args[1].len, t->ndim, false, &mask));
    return flipped(t, mask, call->results);
}

FacStatus
fac_composite_fliplr(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    if (t->ndim < 2) return fac_error(FAC_RUNTIME_ERROR, "Input must be >= 2-d.");
    return flipped(t, 2, call->results);
}

FacStatus
fac_composite_flipud(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    if (t->ndim < 1) return fac_error(FAC_RUNTIME_ERROR, "Input must be >= 1-d.");
    return flipped(t, 1, call->results);
}

FacStatus
fac_composite_rot90(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FacValue dims = call->args[2];
    int a, b, k = (int)(((call->args[1].v.i % 4) + 4) % 4);
    if (t->ndim < 2)
        return fac_error(FAC_RUNTIME_ERROR, "expected total dims >= 2, but got total dims = %d",
                         t->ndim);
    if (dims.len != 2)
        return fac_error(FAC_RUNTIME_ERROR, "expected total rotation dims == 2, but got dims = %u",
                         dims.len);
    FAC_RETURN_IF_ERROR(fac_wrap_dim(dims.v.ints[0], t->ndim, &a));
    FAC_RETURN_IF_ERROR(fac_wrap_dim(dims.v.ints[1], t->ndim, &b));
    if (a == b)
        return fac_error(FAC_RUNTIME_ERROR,
                         "expected rotation dims to be different, but got dim0 = %d and "
                         "dim1 = %d",
                         a, b);
    uint64_t first = UINT64_C(1) << a, second = UINT64_C(1) << b;
    if (k == 0 || k == 2) return flipped(t, k ? first | second : 0, call->results);
    FAC_RETURN_IF_ERROR(flipped(t, k == 1 ? second : first, call->results));
    return fac_op_transpose_(fac_result_tensor(call, 0), a, b);
}

/* One dimension shifted: the two parts exchanged. */
static FacStatus
rolled(FacTensor *t, int dim, int64_t shift, FacTensor **out)
{
    FacTensor *parts[2] = {NULL, NULL};
    FacStatus st = FAC_OK;
    int64_t size = t->sizes[dim], cut = size ? ((size - shift % size) % size + size) % size : 0;
    FAC_TRY(fac_op_slice(t, dim, fac_v_int(cut), FAC_VALUE_NONE, 1, &parts[0]));
    FAC_TRY(fac_op_slice(t, dim, fac_v_int(0), fac_v_int(cut), 1, &parts[1]));
    FAC_TRY(fac_op_cat(fac_v_tensors(parts, 2), dim, out));
done:
    fac_tensor_release(parts[0]);
    fac_tensor_release(parts[1]);
    return st;
}

FacStatus
fac_composite_roll(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0), *now = NULL, *next = NULL;
    FacValue shifts = call->args[1], dims = call->args[2];
    FacStatus st = FAC_OK;
    int64_t minus_one = -1;
    int dim;
    if (!shifts.len) FAC_FAIL(FAC_RUNTIME_ERROR, "`shifts` required");
    if (!dims.len && shifts.len == 1) {
        FAC_TRY(fac_op_reshape(t, fac_v_ints(&minus_one, 1), &now));
        FAC_TRY(rolled(now, 0, shifts.v.ints[0], &next));
        FAC_TRY(fac_call(FAC_OP_view, 2,
                         (FacValue[]){fac_v_tensor(next), fac_v_ints(t->sizes, t->ndim)},
                         call->results));
        goto done;
    }
    if (dims.len != shifts.len)
        FAC_FAIL(FAC_RUNTIME_ERROR, "shifts and dimensions must align. shifts: %u, dims:%u",
                 shifts.len, dims.len);
    now = fac_tensor_retain(t);
    for (uint32_t i = 0; i < dims.len; i++) {
        FAC_TRY(fac_wrap_dim(dims.v.ints[i], t->ndim, &dim));
        if (!t->ndim) FAC_FAIL(FAC_INDEX_ERROR, "a 0-dim tensor has no dimension to roll");
        FAC_TRY(rolled(now, dim, shifts.v.ints[i], &next));
        fac_tensor_release(now);
        now = next;
        next = NULL;
    }
    call->results[0] = fac_v_tensor(now);
    now = NULL;
done:
    fac_tensor_release(now);
    fac_tensor_release(next);
    return st;
}

/* --- diagonals ---------------------------------------------------------------------------------------------------- */

FacStatus
fac_composite_diag_embed(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    int64_t offset = call->args[1].v.i, extra;
    int a, b, at = 0, ndim = t->ndim + 1;
    FacDim sizes[FAC_MAX_NDIM];
    FacTensor *zeros = NULL;
    FacStatus st = FAC_OK;
    if (t->ndim < 1 || ndim > FAC_MAX_NDIM)
        return fac_error(FAC_RUNTIME_ERROR, "diag_embed takes 1 to %d dimensions, got %d",
                         FAC_MAX_NDIM - 1, t->ndim);
    FAC_RETURN_IF_ERROR(fac_wrap_dim(call->args[2].v.i, ndim, &a));
    FAC_RETURN_IF_ERROR(fac_wrap_dim(call->args[3].v.i, ndim, &b));
    if (a == b)
        return fac_error(FAC_RUNTIME_ERROR, "diagonal dimensions cannot be identical %d, %d", a, b);
    FAC_RETURN_IF_ERROR(fac_check_range(call, 1, -INT32_MAX, INT32_MAX));
    extra = offset < 0 ? -offset : offset;
    FacDim side = t->sizes[t->ndim - 1] + extra;
    for (int i = 0; i < ndim; i++) sizes[i] = i == a || i == b ? side : t->sizes[at++];
    FAC_TRY(fac_op_new_zeros(t, fac_v_ints(sizes, ndim), FAC_DT_NONE, FAC_VALUE_NONE,
                             FAC_VALUE_NONE, &zeros));
    FAC_TRY(fac_call(FAC_OP_diagonal_scatter, 5,
                     (FacValue[]){fac_v_tensor(zeros), call->args[0], fac_v_int(offset),
                                  fac_v_int(a), fac_v_int(b)},
                     call->results));
done:
    fac_tensor_release(zeros);
    return st;
}

FacStatus
fac_composite_diag(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0), *seen = NULL;
    if (t->ndim == 1) return fac_call(FAC_OP_diag_embed, 2, call->args, call->results);
    if (t->ndim != 2)
        return fac_error(FAC_RUNTIME_ERROR, "Supports 1D or 2D tensors. Got %dD", t->ndim);
    FAC_RETURN_IF_ERROR(fac_op_diagonal(t, call->args[1].v.i, 0, 1, &seen));
    FacStatus st = fac_call(FAC_OP_clone, 1, (FacValue[]){fac_v_tensor(seen)}, call->results);
    fac_tensor_release(seen);
    return st;
}

/* --- several tensors at once ---------------------------------------------------------------------------------------- */

FacStatus
fac_composite_broadcast_tensors(FacCall *call)
{
    FacValue list = call->args[0], made = FAC_VALUE_NONE;
    FacTensor **slots;
    FacDim sizes[FAC_MAX_NDIM];
    FacStatus st = FAC_OK;
    int ndim = 0;
    for (uint32_t i = 0; i < list.len; i++)
        FAC_TRY(fac_broadcast(&ndim, sizes, list.v.tensors[i]->ndim, list.v.tensors[i]->sizes));
    FAC_TRY(fac_value_new_tensors((int)list.len, &made, &slots));
    for (uint32_t i = 0; i < list.len; i++)
        FAC_TRY(fac_op_expand(list.v.tensors[i], fac_v_ints(sizes, ndim), false, &slots[i]));
    call->results[0] = made;
    made = FAC_VALUE_NONE;
done:
    fac_value_release(&made);
    return st;
}

FacStatus
fac_composite_meshgrid(FacCall *call)
{
    FacValue list = call->args[0], made = FAC_VALUE_NONE;
    FacTensor **slots, *seen = NULL, *wide = NULL;
    FacDim sizes[FAC_MAX_NDIM], one[FAC_MAX_NDIM];
    FacStatus st = FAC_OK;
    int n = (int)list.len;
    bool swap = !strcmp(call->args[1].v.s, "xy") && n > 1;
    if (strcmp(call->args[1].v.s, "xy") && strcmp(call->args[1].v.s, "ij"))
        FAC_FAIL(FAC_RUNTIME_ERROR, "indexing must be one of \"xy\" or \"ij\", but received: %s",
                 call->args[1].v.s);
    if (!n) FAC_FAIL(FAC_RUNTIME_ERROR, "meshgrid expects a non-empty TensorList");
    if (n > FAC_MAX_NDIM)
        FAC_FAIL(FAC_RUNTIME_ERROR, "meshgrid takes at most %d tensors", FAC_MAX_NDIM);
    for (int i = 0; i < n; i++) {
        const FacTensor *t = list.v.tensors[i];
        if (t->ndim > 1)
            FAC_FAIL(FAC_RUNTIME_ERROR,
                     "Expected 0D or 1D tensor in the tensor list but got %d dimensions", t->ndim);
        if (t->dtype != list.v.tensors[0]->dtype)
            FAC_FAIL(FAC_RUNTIME_ERROR,
                     "torch.meshgrid expects all tensors to have the same dtype");
        sizes[i] = t->numel;
    }
    FAC_TRY(fac_check_same_device(call));
    FAC_TRY(fac_value_new_tensors(n, &made, &slots));
    for (int i = 0; i < n; i++) {
        for (int d = 0; d < n; d++) one[d] = d == i ? sizes[i] : 1;
        FAC_TRY(fac_op_reshape(list.v.tensors[i], fac_v_ints(one, n), &seen));
        FAC_TRY(fac_op_expand(seen, fac_v_ints(sizes, n), false, &wide));
        if (swap)
            FAC_TRY(fac_op_transpose(wide, 0, 1, &slots[i]));
        else
            slots[i] = fac_tensor_retain(wide);
        fac_tensor_release(seen);
        fac_tensor_release(wide);
        seen = wide = NULL;
    }
    call->results[0] = made;
    made = FAC_VALUE_NONE;
done:
    fac_tensor_release(seen);
    fac_tensor_release(wide);
    fac_value_release(&made);
    return st;
}
