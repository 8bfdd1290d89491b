/* rules_view.c - the rules of views: sizes, strides and offset of another look at the same storage.
 *
 * For a view the rule is all that there is to compute. Each works on a copy of the layout of its
 * argument, changes it, and makes the result with fac_out_view. Views keep the lazy conj and neg bits.
 */
#include "dispatch/rules.h"

/* The layout under construction. */
typedef struct View {
    int ndim;
    FacDim sizes[FAC_MAX_NDIM], strides[FAC_MAX_NDIM];
    int64_t offset;
} View;

static void
view_of(const FacTensor *t, View *v)
{
    v->ndim = t->ndim;
    v->offset = t->offset;
    for (int i = 0; i < t->ndim; i++) {
        v->sizes[i] = t->sizes[i];
        v->strides[i] = t->strides[i];
    }
}

static FacStatus
make(FacCall *call, int i, FacTensor *of, const View *v)
{
    return fac_out_view(call, i, of, v->ndim, v->sizes, v->strides, v->offset);
}

static void
remove_dim(View *v, int dim)
{
    for (int i = dim; i + 1 < v->ndim; i++) {
        v->sizes[i] = v->sizes[i + 1];
        v->strides[i] = v->strides[i + 1];
    }
    v->ndim--;
}

static FacStatus
dim_arg(const FacCall *call, int i, int ndim, int *out)
{
    return fac_wrap_dim(call->args[i].v.i, ndim, out);
}

/* --- strides given or derived ---------------------------------------------------------------------- */

FacStatus
fac_rule_as_strided(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FacValue size = call->args[1], stride = call->args[2];
    int64_t offset = call->args[3].tag == FAC_V_NONE ? t->offset : call->args[3].v.i;
    if (size.len != stride.len)
        return fac_error(FAC_RUNTIME_ERROR,
                         "size has %u numbers and stride %u; give one stride a size", size.len,
                         stride.len);
    FAC_RETURN_IF_ERROR(fac_check_ndim(size.len));
    if (offset < 0)
        return fac_error(FAC_RUNTIME_ERROR, "storage_offset must not be negative, got %lld",
                         (long long)offset);
    bool empty = false;
    for (uint32_t i = 0; i < size.len; i++) {
        if (size.v.ints[i] < 0)
            return fac_error(FAC_RUNTIME_ERROR, "sizes must not be negative, got %lld",
                             (long long)size.v.ints[i]);
        empty |= size.v.ints[i] == 0;
    }
    int64_t have = (int64_t)(t->storage->bytes / (size_t)fac_dtype_size(t->dtype)), low, high;
    bool counts = fac_layout_reach((int)size.len, size.v.ints, stride.v.ints, &low, &high) &&
                  offset <= FAC_MAX_OFFSET;
    if (!counts || (!empty && (offset + low < 0 || high >= have - offset))) {
        FacText text = {.len = 0};
        fac_text_dims(&text, (int)size.len, size.v.ints);
        fac_text_add(&text, " with strides ");
        fac_text_dims(&text, (int)stride.len, stride.v.ints);
        return fac_error(
            FAC_RUNTIME_ERROR,
            "sizes %s at offset %lld reach outside the storage, which has %lld elements", text.at,
            (long long)offset, (long long)have);
    }
    return fac_out_view(call, 0, t, (int)size.len, size.v.ints, stride.v.ints, offset);
}

FacStatus
fac_rule_view(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FacValue size = call->args[1];
    View v = {.ndim = (int)size.len, .offset = t->offset};
    FAC_RETURN_IF_ERROR(fac_check_ndim(size.len));
    FAC_RETURN_IF_ERROR(fac_infer_size((int)size.len, size.v.ints, t->numel, v.sizes));
    if (!fac_view_strides(t->ndim, t->sizes, t->strides, v.ndim, v.sizes, v.strides)) {
        FacText text = {.len = 0};
        fac_text_dims(&text, t->ndim, t->sizes);
        fac_text_add(&text, " with strides ");
        fac_text_dims(&text, t->ndim, t->strides);
        fac_text_add(&text, " as ");
        fac_text_dims(&text, v.ndim, v.sizes);
        return fac_error(
            FAC_RUNTIME_ERROR,
            "no strides show %s without a copy; use reshape(), which copies where it must",
            text.at);
    }
    return make(call, 0, t, &v);
}

FacStatus
fac_rule_view_dtype(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0), *out = NULL;
    FacDType to = (FacDType)call->args[1].v.i;
    int64_t from_size = fac_dtype_size(t->dtype), to_size = fac_dtype_size(to);
    View v;
    view_of(t, &v);
    if (t->flags & (FAC_T_CONJ | FAC_T_NEG))
        return fac_error(FAC_RUNTIME_ERROR, "a conjugated or negated view has no bytes of its own; "
                                            "call resolve_conj() and resolve_neg() first");
    if (from_size != to_size && v.ndim == 0)
        return fac_error(FAC_RUNTIME_ERROR,
                         "self.dim() cannot be 0 to view %s as %s (different "
                         "element sizes)",
                         fac_dtype_info[t->dtype].name, fac_dtype_info[to].name);
    if (from_size != to_size && v.strides[v.ndim - 1] != 1 && v.sizes[v.ndim - 1] > 1)
        return fac_error(FAC_RUNTIME_ERROR,
                         "self.stride(-1) must be 1 to view %s as %s (different "
                         "element sizes), got %lld",
                         fac_dtype_info[t->dtype].name, fac_dtype_info[to].name,
                         (long long)v.strides[v.ndim - 1]);
    for (int i = 0; i < v.ndim && from_size != to_size; i++) {
        bool last = i == v.ndim - 1;
        int64_t bytes = fac_stride_product(last ? v.sizes[i] : v.strides[i], from_size);
        if (bytes % to_size)
            return fac_error(FAC_RUNTIME_ERROR,
                             "self.%s must be divisible by %lld to view %s as %s, "
                             "got %lld",
                             last ? "size(-1)" : "stride", (long long)(to_size / from_size),
                             fac_dtype_info[t->dtype].name, fac_dtype_info[to].name,
                             (long long)(last ? v.sizes[i] : v.strides[i]));
        if (last)
            v.sizes[i] = bytes / to_size;
        else
            v.strides[i] = bytes / to_size;
    }
    if ((v.offset * from_size) % to_size)
        return fac_error(FAC_RUNTIME_ERROR,
                         "self.storage_offset() must be divisible by %lld to view "
                         "%s as %s",
                         (long long)(to_size / from_size), fac_dtype_info[t->dtype].name,
                         fac_dtype_info[to].name);
    v.offset = v.offset * from_size / to_size;
    FAC_RETURN_IF_ERROR(fac_tensor_view_as(t, to, v.ndim, v.sizes, v.strides, v.offset, &out));
    if (to != t->dtype) fac_tensor_forget_base(out);
    call->results[0] = fac_v_tensor(out);
    return FAC_OK;
}

/* --- dimensions in another order ---------------------------------------------------------------------- */

static FacStatus
exchanged(FacCall *call, int a, int b)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    View v;
    view_of(t, &v);
    if (v.ndim) {
        v.sizes[a] = t->sizes[b];
        v.strides[a] = t->strides[b];
        v.sizes[b] = t->sizes[a];
        v.strides[b] = t->strides[a];
    }
    return make(call, 0, t, &v);
}

FacStatus
fac_rule_transpose(FacCall *call)
{
    int a, b, ndim = fac_arg_tensor(call, 0)->ndim;
    FAC_RETURN_IF_ERROR(dim_arg(call, 1, ndim, &a));
    FAC_RETURN_IF_ERROR(dim_arg(call, 2, ndim, &b));
    return exchanged(call, a, b);
}

FacStatus
fac_rule_t(FacCall *call)
{
    int ndim = fac_arg_tensor(call, 0)->ndim;
    if (ndim > 2)
        return fac_error(FAC_RUNTIME_ERROR,
                         "expects a tensor with <= 2 dimensions, but self is %dD; "
                         "use .mT for batches of matrices or permute()",
                         ndim);
    return exchanged(call, 0, ndim == 2 ? 1 : 0);
}

FacStatus
fac_rule_reverse_dims(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    View v = {.ndim = t->ndim, .offset = t->offset};
    for (int i = 0; i < t->ndim; i++) {
        v.sizes[i] = t->sizes[t->ndim - 1 - i];
        v.strides[i] = t->strides[t->ndim - 1 - i];
    }
    return make(call, 0, t, &v);
}

FacStatus
fac_rule_permute(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FacValue dims = call->args[1];
    View v = {.ndim = t->ndim, .offset = t->offset};
    uint64_t seen = 0;
    if ((int)dims.len != t->ndim)
        return fac_error(FAC_RUNTIME_ERROR,
                         "number of dimensions in the tensor input does not match "
                         "the length of the desired ordering of dimensions i.e. "
                         "input.dim() = %d is not equal to len(dims) = %u",
                         t->ndim, dims.len);
    for (int i = 0; i < t->ndim; i++) {
        int dim;
        FAC_RETURN_IF_ERROR(fac_wrap_dim(dims.v.ints[i], t->ndim, &dim));
        if (seen >> dim & 1)
            return fac_error(FAC_RUNTIME_ERROR, "duplicate dims are not allowed: %d stands twice",
                             dim);
        seen |= UINT64_C(1) << dim;
        v.sizes[i] = t->sizes[dim];
        v.strides[i] = t->strides[dim];
    }
    return make(call, 0, t, &v);
}

/* --- dimensions of size 1 ------------------------------------------------------------------------------ */

static FacStatus
squeezed(FacCall *call, uint64_t mask)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    View v = {.ndim = 0, .offset = t->offset};
    for (int i = 0; i < t->ndim; i++) {
        if ((mask >> i & 1) && t->sizes[i] == 1) continue;
        v.sizes[v.ndim] = t->sizes[i];
        v.strides[v.ndim++] = t->strides[i];
    }
    return make(call, 0, t, &v);
}

FacStatus
fac_rule_squeeze(FacCall *call)
{
    return squeezed(call, ~UINT64_C(0));
}

FacStatus
fac_rule_squeeze_dim(FacCall *call)
{
    int dim;
    FAC_RETURN_IF_ERROR(dim_arg(call, 1, fac_arg_tensor(call, 0)->ndim, &dim));
    return squeezed(call, UINT64_C(1) << dim);
}

FacStatus
fac_rule_squeeze_dims(FacCall *call)
{
    uint64_t mask;
    FacValue dims = call->args[1];
    FAC_RETURN_IF_ERROR(
        fac_wrap_dims(dims.v.ints, (int)dims.len, fac_arg_tensor(call, 0)->ndim, false, &mask));
    return squeezed(call, mask);
}

FacStatus
fac_rule_unsqueeze(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    View v;
    int dim;
    FAC_RETURN_IF_ERROR(dim_arg(call, 1, t->ndim + 1, &dim));
    FAC_RETURN_IF_ERROR(fac_check_ndim(t->ndim + 1));
    view_of(t, &v);
    for (int i = v.ndim++; i > dim; i--) {
        v.sizes[i] = v.sizes[i - 1];
        v.strides[i] = v.strides[i - 1];
    }
    v.strides[dim] = dim < t->ndim ? fac_stride_product(t->sizes[dim], t->strides[dim]) : 1;
    v.sizes[dim] = 1;
    return make(call, 0, t, &v);
}

FacStatus
fac_rule_expand(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FacValue size = call->args[1];
    View v = {.ndim = (int)size.len, .offset = t->offset};
    int lead = v.ndim - t->ndim;
    FAC_RETURN_IF_ERROR(fac_check_ndim(v.ndim));
    for (int i = 0; i < v.ndim && lead >= 0; i++) {
        int64_t want = size.v.ints[i], have = i < lead ? 1 : t->sizes[i - lead];
        if (want == -1 && i >= lead) want = have;
        if (want < 0 || (have != want && have != 1)) {
            lead = -1;
            break;
        }
        v.sizes[i] = want;
        v.strides[i] = i < lead || (have == 1 && want != 1) ? 0 : t->strides[i - lead];
    }
    for (int i = lead - 1; i >= 0; i--) /* a new dimension of size 1 lies as one that was there */
        if (v.sizes[i] == 1)
            v.strides[i] =
                i + 1 < v.ndim ? fac_stride_product(v.sizes[i + 1], v.strides[i + 1]) : 1;
    if (lead < 0) {
        FacText text = {.len = 0};
        fac_text_dims(&text, t->ndim, t->sizes);
        fac_text_add(&text, " to ");
        fac_text_dims(&text, (int)size.len, size.v.ints);
        return fac_error(FAC_RUNTIME_ERROR,
                         "cannot expand %s: aligned at the right, each size must stay (or be -1) "
                         "unless it is 1, and new dimensions stand at the left",
                         text.at);
    }
    return make(call, 0, t, &v);
}

/* --- parts ------------------------------------------------------------------------------------------------ */

FacStatus
fac_rule_select(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    int64_t index = call->args[2].v.i;
    View v;
    int dim;
    if (!t->ndim) return fac_error(FAC_INDEX_ERROR, "select() cannot be applied to a 0-dim tensor");
    FAC_RETURN_IF_ERROR(dim_arg(call, 1, t->ndim, &dim));
    if (index < -t->sizes[dim] || index >= t->sizes[dim])
        return fac_error(FAC_INDEX_ERROR,
                         "index %lld is out of bounds for dimension %d with size %lld",
                         (long long)index, dim, (long long)t->sizes[dim]);
    view_of(t, &v);
    if (index < 0) index += v.sizes[dim];
    if (t->numel) v.offset += index * v.strides[dim];
    remove_dim(&v, dim);
    return make(call, 0, t, &v);
}

/* Python's rule for one slice: clips start and end, counts the elements. */
static int64_t
slice_length(int64_t size, FacValue start, FacValue end, int64_t step, int64_t *first)
{
    int64_t lowest = step > 0 ? 0 : -1, highest = step > 0 ? size : size - 1;
    int64_t a = start.tag == FAC_V_NONE ? (step > 0 ? 0 : highest) : start.v.i;
    int64_t b = end.tag == FAC_V_NONE ? (step > 0 ? size : lowest) : end.v.i;
    if (start.tag != FAC_V_NONE && a < 0) a += size;
    if (end.tag != FAC_V_NONE && b < 0) b += size;
    a = a < lowest ? lowest : a > highest ? highest : a;
    b = b < lowest ? lowest : b > highest ? highest : b;
    *first = a;
    if (step > 0) return b > a ? (b - a - 1) / step + 1 : 0;
    return a > b ? (a - b - 1) / -step + 1 : 0;
}

FacStatus
fac_rule_slice(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    int64_t step = call->args[4].v.i, first;
    View v;
    int dim;
    if (!t->ndim)
        return fac_error(FAC_RUNTIME_ERROR, "slice() cannot be applied to a 0-dim tensor.");
    if (!step || step == INT64_MIN)
        return fac_error(FAC_RUNTIME_ERROR, "slice step must not be zero");
    FAC_RETURN_IF_ERROR(dim_arg(call, 1, t->ndim, &dim));
    view_of(t, &v);
    v.sizes[dim] = slice_length(t->sizes[dim], call->args[2], call->args[3], step, &first);
    if (v.sizes[dim] && t->numel) v.offset += first * v.strides[dim];
    v.strides[dim] = fac_stride_product(v.strides[dim], step);
    return make(call, 0, t, &v);
}

FacStatus
fac_rule_diagonal(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    int64_t offset = call->args[1].v.i;
    View v;
    int a, b;
    FAC_RETURN_IF_ERROR(dim_arg(call, 2, t->ndim, &a));
    FAC_RETURN_IF_ERROR(dim_arg(call, 3, t->ndim, &b));
    if (a == b)
        return fac_error(FAC_RUNTIME_ERROR, "diagonal dimensions cannot be identical %lld, %lld",
                         (long long)call->args[2].v.i, (long long)call->args[3].v.i);
    view_of(t, &v);
    int64_t rows = t->sizes[a], cols = t->sizes[b], length;
    if (offset >= 0)
        length = rows < cols - offset ? rows : cols - offset;
    else
        length = rows + offset < cols ? rows + offset : cols;
    if (length < 0) length = 0;
    if (length && t->numel)
        v.offset += offset >= 0 ? offset * t->strides[b] : -offset * t->strides[a];
    int64_t stride = fac_stride_sum(t->strides[a], t->strides[b]);
    remove_dim(&v, a > b ? a : b);
    remove_dim(&v, a > b ? b : a);
    v.sizes[v.ndim] = length;
    v.strides[v.ndim++] = stride;
    return make(call, 0, t, &v);
}

FacStatus
fac_rule_unfold(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    int64_t size = call->args[2].v.i, step = call->args[3].v.i;
    View v;
    int dim;
    FAC_RETURN_IF_ERROR(dim_arg(call, 1, t->ndim, &dim));
    int64_t have = t->ndim ? t->sizes[dim] : 1;
    if (size < 0 || size > have)
        return fac_error(FAC_RUNTIME_ERROR,
                         "maximum size for tensor at dimension %d is %lld but size "
                         "is %lld",
                         dim, (long long)have, (long long)size);
    if (step <= 0)
        return fac_error(FAC_RUNTIME_ERROR, "step is %lld but must be > 0", (long long)step);
    FAC_RETURN_IF_ERROR(fac_check_ndim(t->ndim + 1));
    view_of(t, &v);
    v.sizes[v.ndim] = size;
    v.strides[v.ndim] = t->ndim ? t->strides[dim] : 1;
    v.ndim++;
    if (t->ndim) {
        v.sizes[dim] = (have - size) / step + 1;
        v.strides[dim] = fac_stride_product(v.strides[dim], step);
    }
    return make(call, 0, t, &v);
}

/* --- the same elements otherwise ------------------------------------------------------------------------ */

FacStatus
fac_rule_alias(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    return fac_out_view(call, 0, t, t->ndim, t->sizes, t->strides, t->offset);
}

/* Where there is nothing to do: the tensor itself. */
static FacStatus
give_itself(FacCall *call)
{
    call->results[0] = fac_v_tensor(fac_tensor_retain(fac_arg_tensor(call, 0)));
    return FAC_OK;
}

FacStatus
fac_rule_detach(FacCall *call)
{
    FacTensor *out = NULL;
    FAC_RETURN_IF_ERROR(fac_tensor_alias(fac_arg_tensor(call, 0), &out));
    call->results[0] = fac_v_tensor(out);
    return FAC_OK;
}

FacStatus
fac_rule_positive(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    if (t->dtype == FAC_DT_BOOL)
        return fac_error(FAC_RUNTIME_ERROR,
                         "The `+` operator, positive, is not supported on a bool "
                         "tensor.");
    return give_itself(call);
}

/* The parts of complex numbers: `parts` elements of the real dtype an element, the part at `at`. */
static FacStatus
parts_view(FacCall *call, FacTensor *t, int at, bool all)
{
    FacTensor *out = NULL;
    View v;
    view_of(t, &v);
    for (int i = 0; i < v.ndim; i++) v.strides[i] = fac_stride_product(v.strides[i], 2);
    v.offset = 2 * v.offset + at;
    if (all) {
        FAC_RETURN_IF_ERROR(fac_check_ndim(v.ndim + 1));
        v.sizes[v.ndim] = 2;
        v.strides[v.ndim++] = 1;
    }
    FAC_RETURN_IF_ERROR(fac_tensor_view_as(t, (FacDType)fac_dtype_info[t->dtype].real, v.ndim,
                                           v.sizes, v.strides, v.offset, &out));
    /* the real part of a conjugate is that of the number; its imaginary part is negated */
    fac_tensor_set_lazy(out, false,
                        (t->flags & FAC_T_NEG) ? !(at && (t->flags & FAC_T_CONJ))
                                               : at && (t->flags & FAC_T_CONJ));
    call->results[0] = fac_v_tensor(out);
    return FAC_OK;
}

FacStatus
fac_rule_real(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    if (!FAC_IS_COMPLEX(t->dtype)) return give_itself(call);
    return parts_view(call, t, 0, false);
}

FacStatus
fac_rule_imag(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    if (!FAC_IS_COMPLEX(t->dtype))
        return fac_error(FAC_RUNTIME_ERROR, "imag is not implemented for tensors with non-complex "
                                            "dtypes.");
    return parts_view(call, t, 1, false);
}

FacStatus
fac_rule_view_as_real(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    if (!FAC_IS_COMPLEX(t->dtype))
        return fac_error(FAC_RUNTIME_ERROR, "view_as_real is only supported for complex tensors");
    if (t->flags & FAC_T_CONJ)
        return fac_error(FAC_RUNTIME_ERROR, "view_as_real doesn't work on unresolved conjugated "
                                            "tensors; call resolve_conj() first");
    return parts_view(call, t, 0, true);
}

FacStatus
fac_rule_view_as_complex(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0), *out = NULL;
    FacDType to = (FacDType)fac_dtype_info[t->dtype].complex;
    View v;
    if (t->dtype != FAC_DT_F32 && t->dtype != FAC_DT_F64 && t->dtype != FAC_DT_F16)
        return fac_error(FAC_RUNTIME_ERROR,
                         "view_as_complex is only supported for half, float and "
                         "double tensors, but got a tensor of scalar type: %s",
                         fac_dtype_info[t->dtype].legacy);
    if (!t->ndim || t->sizes[t->ndim - 1] != 2)
        return fac_error(FAC_RUNTIME_ERROR, "Tensor must have a last dimension of size 2");
    if (t->strides[t->ndim - 1] != 1)
        return fac_error(FAC_RUNTIME_ERROR, "Tensor must have a last dimension with stride 1");
    view_of(t, &v);
    v.ndim--;
    for (int i = 0; i < v.ndim; i++) {
        if (v.strides[i] % 2)
            return fac_error(FAC_RUNTIME_ERROR,
                             "Tensor must have a stride divisible by 2 for all but "
                             "last dimension");
        v.strides[i] /= 2;
    }
    if (v.offset % 2)
        return fac_error(FAC_RUNTIME_ERROR, "Tensor must have a storage_offset divisible by 2");
    v.offset /= 2;
    FAC_RETURN_IF_ERROR(fac_tensor_view_as(t, to, v.ndim, v.sizes, v.strides, v.offset, &out));
    call->results[0] = fac_v_tensor(out);
    return FAC_OK;
}

FacStatus
fac_rule_conj(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    if (!FAC_IS_COMPLEX(t->dtype)) return give_itself(call);
    FAC_RETURN_IF_ERROR(fac_rule_alias(call));
    fac_tensor_set_lazy(fac_result_tensor(call, 0), !(t->flags & FAC_T_CONJ), t->flags & FAC_T_NEG);
    return FAC_OK;
}

FacStatus
fac_rule_neg_view(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FAC_RETURN_IF_ERROR(fac_rule_alias(call));
    fac_tensor_set_lazy(fac_result_tensor(call, 0), t->flags & FAC_T_CONJ, !(t->flags & FAC_T_NEG));
    return FAC_OK;
}

/* --- several views ------------------------------------------------------------------------------------------ */

static FacStatus
new_views(int64_t n, FacValue *list, FacTensor ***slots)
{
    if (n > INT32_MAX) return fac_error(FAC_MEMORY_ERROR, "%lld views are too many", (long long)n);
    return fac_value_new_tensors((int)n, list, slots);
}

/* Views of consecutive ranges of `dim`; lengths[i], or all `length` but the last. */
static FacStatus
ranges(FacCall *call, int dim, int64_t n, const int64_t *lengths, int64_t length)
{
    FacTensor *t = fac_arg_tensor(call, 0), **slots;
    FacStatus st = FAC_OK;
    FacValue list = FAC_VALUE_NONE;
    int64_t at = 0;
    View v;
    view_of(t, &v);
    FAC_TRY(new_views(n, &list, &slots));
    for (int64_t i = 0; i < n; i++) {
        int64_t rest = t->sizes[dim] - at;
        v.sizes[dim] = lengths ? lengths[i] : length < rest ? length : rest;
        v.offset = t->offset + (v.sizes[dim] && t->numel ? at * t->strides[dim] : 0);
        FAC_TRY(fac_tensor_view(t, v.ndim, v.sizes, v.strides, v.offset, &slots[i]));
        slots[i]->flags |= FAC_T_MULTI_VIEW;
        at += v.sizes[dim];
    }
    call->results[0] = list;
    list = FAC_VALUE_NONE;
done:
    fac_value_release(&list);
    return st;
}

FacStatus
fac_rule_unbind(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0), **slots;
    FacStatus st = FAC_OK;
    FacValue list = FAC_VALUE_NONE;
    View v;
    int dim;
    if (!t->ndim) return fac_error(FAC_INDEX_ERROR, "a 0-dim tensor has no dimension to unbind");
    FAC_RETURN_IF_ERROR(dim_arg(call, 1, t->ndim, &dim));
    view_of(t, &v);
    remove_dim(&v, dim);
    FAC_TRY(new_views(t->sizes[dim], &list, &slots));
    FacDim step = t->numel ? t->strides[dim] : 0;
    for (int64_t i = 0; i < t->sizes[dim]; i++) {
        FAC_TRY(fac_tensor_view(t, v.ndim, v.sizes, v.strides, t->offset + i * step, &slots[i]));
        slots[i]->flags |= FAC_T_MULTI_VIEW;
    }
    call->results[0] = list;
    list = FAC_VALUE_NONE;
done:
    fac_value_release(&list);
    return st;
}

static int64_t
chunks_of(int64_t n, int64_t length)
{
    return n / length + (n % length != 0);
}

static FacStatus
split_into(FacCall *call, int dim, int64_t length)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    if (length < 0)
        return fac_error(FAC_RUNTIME_ERROR,
                         "split expects split_size be non-negative, but got "
                         "split_size=%lld",
                         (long long)length);
    if (!length && t->sizes[dim])
        return fac_error(FAC_RUNTIME_ERROR,
                         "split_size can only be 0 if dimension size is 0, but got "
                         "dimension size of %lld",
                         (long long)t->sizes[dim]);
    int64_t n = length ? chunks_of(t->sizes[dim], length) : 1;
    return ranges(call, dim, n < 1 ? 1 : n, NULL, length);
}

FacStatus
fac_rule_split(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    int dim;
    if (!t->ndim)
        return fac_error(FAC_RUNTIME_ERROR, "split expects at least a 1-dimensional tensor");
    FAC_RETURN_IF_ERROR(dim_arg(call, 2, t->ndim, &dim));
    return split_into(call, dim, call->args[1].v.i);
}

FacStatus
fac_rule_chunk(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    int64_t chunks = call->args[1].v.i;
    int dim;
    if (!t->ndim)
        return fac_error(FAC_RUNTIME_ERROR, "chunk expects at least a 1-dimensional tensor");
    if (chunks <= 0)
        return fac_error(FAC_RUNTIME_ERROR,
                         "chunk expects `chunks` to be greater than 0, got: %lld",
                         (long long)chunks);
    FAC_RETURN_IF_ERROR(dim_arg(call, 2, t->ndim, &dim));
    int64_t length = chunks_of(t->sizes[dim], chunks);
    if (!length) return ranges(call, dim, chunks, NULL, 0); /* of nothing: as many as asked for */
    return split_into(call, dim, length);
}

FacStatus
fac_rule_split_sizes(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FacValue sizes = call->args[1];
    int64_t sum = 0;
    bool beyond = false;
    int dim;
    if (!t->ndim)
        return fac_error(FAC_RUNTIME_ERROR, "split expects at least a 1-dimensional tensor");
    FAC_RETURN_IF_ERROR(dim_arg(call, 2, t->ndim, &dim));
    for (uint32_t i = 0; i < sizes.len; i++) {
        if (sizes.v.ints[i] < 0 || sizes.v.ints[i] > t->sizes[dim])
            return fac_error(FAC_RUNTIME_ERROR, "split sizes must lie between 0 and %lld, got %lld",
                             (long long)t->sizes[dim], (long long)sizes.v.ints[i]);
        beyond |= __builtin_add_overflow(sum, sizes.v.ints[i], &sum);
    }
    if (beyond || sum != t->sizes[dim])
        return fac_error(FAC_RUNTIME_ERROR,
                         "split sizes sum to %lld, but dimension %d has size %lld", (long long)sum,
                         dim, (long long)t->sizes[dim]);
    return ranges(call, dim, sizes.len, sizes.v.ints, 0);
}
