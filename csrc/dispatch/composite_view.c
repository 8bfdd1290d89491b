/* composite_view.c - views that may need a copy, gradients of views that put a part back into zeros, and
 * the arithmetic on sizes that formulas of views call.
 */
#include "dispatch/rules.h"
#include "generated/ops.h"

#include <string.h>

/* The argument itself as the result. */
static FacStatus
give_back(FacCall *call)
{
    call->results[0] = fac_v_tensor(fac_tensor_retain(fac_arg_tensor(call, 0)));
    return FAC_OK;
}

FacStatus
fac_composite_contiguous(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FacMemoryFormat format = (FacMemoryFormat)call->args[1].v.i;
    if (format == FAC_PRESERVE)
        return fac_error(FAC_RUNTIME_ERROR,
                         "preserve memory format is unsupported by the contiguous operator");
    if (format == FAC_CONTIGUOUS ? t->contiguous
                                 : fac_is_format(format, t->ndim, t->sizes, t->strides))
        return give_back(call);
    return fac_call(FAC_OP_clone, 2, call->args, call->results);
}

FacStatus
fac_composite_resolve_conj(FacCall *call)
{
    if (!(fac_arg_tensor(call, 0)->flags & FAC_T_CONJ)) return give_back(call);
    return fac_call(FAC_OP_clone, 1, call->args, call->results);
}

FacStatus
fac_composite_resolve_neg(FacCall *call)
{
    if (!(fac_arg_tensor(call, 0)->flags & FAC_T_NEG)) return give_back(call);
    return fac_call(FAC_OP_clone, 1, call->args, call->results);
}

FacStatus
fac_composite_reshape(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FacValue size = call->args[1];
    FacDim sizes[FAC_MAX_NDIM], strides[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(fac_check_ndim(size.len));
    FAC_RETURN_IF_ERROR(fac_infer_size((int)size.len, size.v.ints, t->numel, sizes));
    FacValue args[2] = {call->args[0], fac_v_ints(sizes, (int)size.len)};
    bool viewable = fac_view_strides(t->ndim, t->sizes, t->strides, (int)size.len, sizes, strides);
    return fac_call(viewable ? FAC_OP_view : FAC_OP__reshape_copy, 2, args, call->results);
}

FacStatus
fac_composite_narrow(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    int64_t start = call->args[2].v.i, length = call->args[3].v.i;
    int dim;
    if (!t->ndim)
        return fac_error(FAC_RUNTIME_ERROR, "narrow() cannot be applied to a 0-dim tensor.");
    if (length < 0) return fac_error(FAC_RUNTIME_ERROR, "narrow(): length must be non-negative.");
    FAC_RETURN_IF_ERROR(fac_wrap_dim(call->args[1].v.i, t->ndim, &dim));
    int64_t size = t->sizes[dim];
    if (start < -size || start > size)
        return fac_error(FAC_INDEX_ERROR,
                         "start out of range (expected to be in range of [-%lld, %lld], but "
                         "got %lld)",
                         (long long)size, (long long)size, (long long)start);
    if (start < 0) start += size;
    if (length > size - start)
        return fac_error(FAC_RUNTIME_ERROR,
                         "start (%lld) + length (%lld) exceeds dimension size (%lld).",
                         (long long)start, (long long)length, (long long)size);
    FacValue args[5] = {call->args[0], fac_v_int(dim), fac_v_int(start), fac_v_int(start + length),
                        fac_v_int(1)};
    return fac_call(FAC_OP_slice, 5, args, call->results);
}

/* --- a part put back into zeros ------------------------------------------------------------------------ */

/* results[0] = zeros of `sizes` like grad, with grad copied into the view of it that `view` takes. */
static FacStatus
put_back(FacCall *call, const FacOp *view, int nargs, const FacValue *args)
{
    FacTensor *grad = fac_arg_tensor(call, 0), *whole = NULL, *part = NULL;
    FacValue at[8], seen = FAC_VALUE_NONE;
    FacStatus st = FAC_OK;
    FAC_TRY(
        fac_op_new_zeros(grad, call->args[1], FAC_DT_NONE, FAC_VALUE_NONE, FAC_VALUE_NONE, &whole));
    at[0] = fac_v_tensor(whole);
    for (int i = 0; i < nargs; i++) at[i + 1] = args[i];
    FAC_TRY(fac_call(view, nargs + 1, at, &seen));
    part = seen.v.t;
    FAC_TRY(fac_op_copy_(part, grad, false));
    call->results[0] = fac_v_tensor(whole);
    whole = NULL;
done:
    fac_tensor_release(part);
    fac_tensor_release(whole);
    return st;
}

FacStatus
fac_composite_select_backward(FacCall *call)
{
    return put_back(call, FAC_OP_select, 2, call->args + 2);
}

FacStatus
fac_composite_slice_backward(FacCall *call)
{
    return put_back(call, FAC_OP_slice, 4, call->args + 2);
}

FacStatus
fac_composite_diagonal_backward(FacCall *call)
{
    return put_back(call, FAC_OP_diagonal, 3, call->args + 2);
}

/* Windows overlap, so their gradients are added: by the flat index of every element of the view. */
FacStatus
fac_composite_unfold_backward(FacCall *call)
{
    FacTensor *grad = fac_arg_tensor(call, 0), *positions = NULL, *square = NULL, *windows = NULL;
    FacTensor *flat_at = NULL, *flat_grad = NULL, *zeros = NULL, *sum = NULL;
    FacStatus st = FAC_OK;
    int64_t numel, minus_one = -1;
    FacValue sizes = call->args[1], none = FAC_VALUE_NONE;
    FAC_TRY(fac_sizes_numel((int)sizes.len, sizes.v.ints, &numel));
    FAC_TRY(
        fac_op_arange(fac_v_int(numel), FAC_DT_I64, none, fac_v_device(grad->device), &positions));
    FAC_TRY(fac_op_view(positions, sizes, &square));
    FAC_TRY(
        fac_op_unfold(square, call->args[2].v.i, call->args[3].v.i, call->args[4].v.i, &windows));
    FAC_TRY(fac_op_reshape(windows, fac_v_ints(&minus_one, 1), &flat_at));
    FAC_TRY(fac_op_reshape(grad, fac_v_ints(&minus_one, 1), &flat_grad));
    FAC_TRY(fac_op_new_zeros(grad, fac_v_ints(&numel, 1), FAC_DT_NONE, none, none, &zeros));
    FAC_TRY(fac_op_index_add(zeros, 0, flat_at, flat_grad, fac_v_int(1), &sum));
    FAC_TRY(fac_call(FAC_OP_view, 2, (FacValue[]){fac_v_tensor(sum), sizes}, call->results));
done:
    fac_tensor_release(positions);
    fac_tensor_release(square);
    fac_tensor_release(windows);
    fac_tensor_release(flat_at);
    fac_tensor_release(flat_grad);
    fac_tensor_release(zeros);
    fac_tensor_release(sum);
    return st;
}

/* as_strided: the gradient of each element of the storage is the sum over the places of the view that
 * show it; then self's own layout is read out of it. */
FacStatus
fac_helper_as_strided_backward(const FacValue *args, FacValue *out)
{
    FacTensor *grad = args[0].v.t, *self = args[1].v.t, *positions = NULL, *seen = NULL,
              *flat_at = NULL;
    FacTensor *flat_grad = NULL, *zeros = NULL, *sum = NULL, *whole = NULL;
    FacStatus st = FAC_OK;
    int64_t minus_one = -1, n = 1, first, last;
    FacValue none = FAC_VALUE_NONE,
             offset = args[4].tag == FAC_V_NONE ? fac_v_int(self->offset) : args[4];
    int64_t low, high;
    if (!grad->numel || !self->numel) {
        FAC_TRY(fac_call(FAC_OP_new_zeros, 2,
                         (FacValue[]){args[0], fac_v_ints(self->sizes, self->ndim)}, out));
        goto done;
    }
    if (!fac_layout_reach((int)args[2].len, args[2].v.ints, args[3].v.ints, &low, &high) ||
        !fac_layout_reach(self->ndim, self->sizes, self->strides, &first, &last)) {
        st = fac_sizes_overflow((int)args[2].len, args[2].v.ints);
        goto done;
    }
    low += offset.v.i;
    high += offset.v.i;
    first += self->offset;
    last += self->offset;
    low = low < first ? low : first;
    high = high > last ? high : last;
    n = high - low + 1;
    FAC_TRY(fac_op_arange(fac_v_int(n), FAC_DT_I64, none, fac_v_device(grad->device), &positions));
    FAC_TRY(fac_op_as_strided(positions, args[2], args[3], fac_v_int(offset.v.i - low), &seen));
    FAC_TRY(fac_op_reshape(seen, fac_v_ints(&minus_one, 1), &flat_at));
    FAC_TRY(fac_op_reshape(grad, fac_v_ints(&minus_one, 1), &flat_grad));
    FAC_TRY(fac_op_new_zeros(grad, fac_v_ints(&n, 1), FAC_DT_NONE, none, none, &zeros));
    FAC_TRY(fac_op_index_add(zeros, 0, flat_at, flat_grad, fac_v_int(1), &sum));
    FAC_TRY(fac_op_as_strided(sum, fac_v_ints(self->sizes, self->ndim),
                              fac_v_ints(self->strides, self->ndim), fac_v_int(self->offset - low),
                              &whole));
    FAC_TRY(fac_call(FAC_OP_clone, 1, (FacValue[]){fac_v_tensor(whole)}, out));
done:
    fac_tensor_release(positions);
    fac_tensor_release(seen);
    fac_tensor_release(flat_at);
    fac_tensor_release(flat_grad);
    fac_tensor_release(zeros);
    fac_tensor_release(sum);
    fac_tensor_release(whole);
    return st;
}

/* --- sizes and dims ---------------------------------------------------------------------------------------- */

static FacStatus
keep_ints(const int64_t *ints, int n, FacValue *out)
{
    return fac_value_keep(fac_v_ints(ints, n), out);
}

/* flattened_sizes(sizes, start_dim, end_dim) */
FacStatus
fac_helper_flattened_sizes(const FacValue *args, FacValue *out)
{
    int n = (int)args[0].len, start, end, at = 0;
    FacDim sizes[FAC_MAX_NDIM] = {1};
    if (!n) return keep_ints(sizes, 1, out);
    FAC_RETURN_IF_ERROR(fac_wrap_dim(args[1].v.i, n, &start));
    FAC_RETURN_IF_ERROR(fac_wrap_dim(args[2].v.i, n, &end));
    if (start > end)
        return fac_error(FAC_RUNTIME_ERROR,
                         "flatten() has invalid args: start_dim cannot come after end_dim");
    for (int i = 0; i < n; i++) {
        if (i > start && i <= end)
            sizes[at - 1] = fac_stride_product(sizes[at - 1], args[0].v.ints[i]);
        else
            sizes[at++] = args[0].v.ints[i];
    }
    return keep_ints(sizes, at, out);
}

/* unflattened_sizes(sizes, dim, parts) */
FacStatus
fac_helper_unflattened_sizes(const FacValue *args, FacValue *out)
{
    int n = (int)args[0].len, k = (int)args[2].len, dim;
    FacDim sizes[2 * FAC_MAX_NDIM];
    if (!k) return fac_error(FAC_RUNTIME_ERROR, "unflatten: sizes must be non-empty");
    FAC_RETURN_IF_ERROR(fac_check_ndim(n ? n + k - 1 : k));
    FAC_RETURN_IF_ERROR(fac_wrap_dim(args[1].v.i, n, &dim));
    int64_t product = 1, unknown = -1, size = n ? args[0].v.ints[dim] : 1;
    for (int i = 0; i < k; i++) {
        if (args[2].v.ints[i] == -1 && unknown < 0)
            unknown = i;
        else
            product = fac_stride_product(product, args[2].v.ints[i]); /* the view checks it */
    }
    if (unknown >= 0 ? product == 0 || size % product : product != size) {
        FacText text = {.len = 0};
        fac_text_dims(&text, k, args[2].v.ints);
        return fac_error(FAC_RUNTIME_ERROR,
                         "unflatten: Provided sizes %s don't multiply up to the size of dim "
                         "%d (%lld) in the input tensor",
                         text.at, dim, (long long)size);
    }
    memcpy(sizes, args[0].v.ints, (size_t)dim * sizeof *sizes);
    for (int i = 0; i < k; i++) sizes[dim + i] = i == unknown ? size / product : args[2].v.ints[i];
    for (int i = dim + 1; i < n; i++) sizes[k + i - 1] = args[0].v.ints[i];
    return keep_ints(sizes, n ? n + k - 1 : k, out);
}

FacStatus
fac_helper_permutation_inverse(const FacValue *args, FacValue *out)
{
    int n = (int)args[0].len;
    int64_t inverse[FAC_MAX_NDIM];
    for (int i = 0; i < n; i++) {
        int dim;
        FAC_RETURN_IF_ERROR(fac_wrap_dim(args[0].v.ints[i], n, &dim));
        inverse[dim] = i;
    }
    return keep_ints(inverse, n, out);
}

/* movedim_order(ndim, source, destination): the permutation that moves them. */
FacStatus
fac_helper_movedim_order(const FacValue *args, FacValue *out)
{
    int n = (int)args[0].v.i, k = (int)args[1].len;
    int64_t order[FAC_MAX_NDIM];
    uint64_t moved = 0, taken = 0;
    if (args[1].len != args[2].len)
        return fac_error(FAC_RUNTIME_ERROR,
                         "movedim: Invalid source or destination dims: source (%u dims) "
                         "should contain the same number of dims as destination (%u dims)",
                         args[1].len, args[2].len);
    for (int i = 0; i < k; i++) {
        int from, to;
        FAC_RETURN_IF_ERROR(fac_wrap_dim(args[1].v.ints[i], n, &from));
        FAC_RETURN_IF_ERROR(fac_wrap_dim(args[2].v.ints[i], n, &to));
        if ((moved >> from & 1) || (taken >> to & 1))
            return fac_error(FAC_RUNTIME_ERROR, "movedim: repeated dim in `%s`",
                             (moved >> from & 1) ? "source" : "destination");
        moved |= UINT64_C(1) << from;
        taken |= UINT64_C(1) << to;
        order[to] = from;
    }
    for (int to = 0, from = 0; to < n; to++) {
        if (taken >> to & 1) continue;
        while (moved >> from & 1) from++;
        order[to] = from++;
    }
    return keep_ints(order, n, out);
}

/* sum_to_like(grad, tensor): grad summed over the dimensions that broadcasting added. */
FacStatus
fac_helper_sum_to_like(const FacValue *args, FacValue *out)
{
    FacTensor *grad = args[0].v.t, *like = args[1].v.t;
    int64_t dims[FAC_MAX_NDIM];
    int n = 0, lead = grad->ndim - like->ndim;
    for (int i = 0; i < grad->ndim; i++)
        if (i < lead || (like->sizes[i - lead] == 1 && grad->sizes[i] != 1)) dims[n++] = i;
    if (!n && lead <= 0) return fac_value_keep(args[0], out);
    FacTensor *sum = NULL;
    FAC_RETURN_IF_ERROR(fac_op_sum_dim_IntList(grad, fac_v_ints(dims, n), true, FAC_DT_NONE, &sum));
    FacValue reshape[2] = {fac_v_tensor(sum), fac_v_ints(like->sizes, like->ndim)};
    FacStatus st = fac_call(FAC_OP_reshape, 2, reshape, out);
    fac_tensor_release(sum);
    return st;
}
