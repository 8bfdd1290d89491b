/* join.c - cat and stack, triangles, and the indices of repeat_interleave.
 *
 * Joining copies runs: the result is C-contiguous, so along `dim` each tensor contributes one run of
 * consecutive elements for every combination of the dimensions before it.
 */
#include "kernels/cpu/kernel.h"

/* Bytes: runs between are copied one by one, alone or several a task. */
enum { SHORT_RUN = 64, LONG_RUN = 128 << 10 };

/* Runs of `bytes` from one place to another, each side in steps of its own. */
typedef struct Runs {
    char *to;
    const char *from;
    FacDim to_step, from_step;
    size_t bytes;
} Runs;

static void
copy_runs(int64_t begin, int64_t end, void *context)
{
    const Runs *r = context;
    for (int64_t i = begin; i < end; i++)
        memcpy(r->to + i * r->to_step, r->from + i * r->from_step, r->bytes);
}

/* Whether t is a run for each index before dimension `dim`, `step` elements apart. */
static bool
find_runs(const FacTensor *t, int dim, FacDim *step)
{
    FacDim expected = 1;
    if (t->flags & (FAC_T_CONJ | FAC_T_NEG)) return false;
    for (int d = t->ndim - 1; d >= dim; d--) {
        if (t->sizes[d] != 1 && t->strides[d] != expected) return false;
        expected *= t->sizes[d];
    }
    *step = expected;
    for (int d = dim - 1, first = 1; d >= 0; d--) {
        if (t->sizes[d] == 1) continue;
        if (first) *step = expected = t->strides[d];
        if (t->strides[d] != expected) return false;
        expected *= t->sizes[d];
        first = 0;
    }
    return true;
}

/* Copies t into `to`, C-contiguous and seen as [outer, along, inner], at `at` of the middle dimension;
 * the strides are those of `to` for the dimensions of t. */
static FacStatus
place(FacTensor *to, FacTensor *t, int dim, int64_t outer, int64_t along, int64_t inner, int64_t at,
      int64_t length, const FacDim *strides)
{
    int size = fac_dtype_size((FacDType)to->dtype);
    int64_t run = length * inner * size;
    FacDim step;
    if (!t->numel) return FAC_OK;
    if (t->dtype != to->dtype || run < SHORT_RUN || (outer == 1 && run > LONG_RUN) ||
        !find_runs(t, dim, &step)) {
        FacTensor *part;
        FAC_RETURN_IF_ERROR(
            fac_tensor_view(to, t->ndim, t->sizes, strides, to->offset + at * inner, &part));
        FacStatus st = fac_tensor_copy(part, t);
        fac_tensor_release(part);
        return st;
    }
    Runs r = {(char *)fac_data(to) + at * inner * size, fac_data(t), along * inner * size,
              step * size, (size_t)run};
    fac_parallel(outer, fac_grain(run / 4), copy_runs, &r);
    return FAC_OK;
}

static int64_t
product(const FacDim *sizes, int begin, int end)
{
    int64_t n = 1;
    for (int i = begin; i < end; i++) n *= sizes[i];
    return n;
}

FacStatus
FAC_KERNEL(cat)(FacCall *call)
{
    FacTensor *to = fac_result_tensor(call, 0);
    FacValue list = call->args[0];
    int64_t at = 0;
    int dim;
    FAC_RETURN_IF_ERROR(fac_wrap_dim(call->args[1].v.i, to->ndim, &dim));
    int64_t outer = product(to->sizes, 0, dim), inner = product(to->sizes, dim + 1, to->ndim);
    for (uint32_t i = 0; i < list.len; i++) {
        FacTensor *t = list.v.tensors[i];
        if (t->ndim != to->ndim) continue; /* of shape [0]: adds nothing */
        FAC_RETURN_IF_ERROR(
            place(to, t, dim, outer, to->sizes[dim], inner, at, t->sizes[dim], to->strides));
        at += t->sizes[dim];
    }
    return FAC_OK;
}

FacStatus
FAC_KERNEL(stack)(FacCall *call)
{
    FacTensor *to = fac_result_tensor(call, 0);
    FacValue list = call->args[0];
    int dim;
    FAC_RETURN_IF_ERROR(fac_wrap_dim(call->args[1].v.i, to->ndim, &dim));
    int64_t outer = product(to->sizes, 0, dim), inner = product(to->sizes, dim + 1, to->ndim);
    FacDim strides[FAC_MAX_NDIM];
    for (int d = 0; d < to->ndim - 1; d++) strides[d] = to->strides[d < dim ? d : d + 1];
    for (uint32_t i = 0; i < list.len; i++)
        FAC_RETURN_IF_ERROR(
            place(to, list.v.tensors[i], dim, outer, list.len, inner, i, 1, strides));
    return FAC_OK;
}

/* Rows of the result are copied between the edges of the triangle and zero outside. */
static FacStatus
triangle(FacCall *call, bool lower)
{
    FacTensor *to = fac_result_tensor(call, 0), *from = NULL;
    size_t size = (size_t)fac_dtype_size((FacDType)to->dtype);
    int64_t rows = to->sizes[to->ndim - 2], cols = to->sizes[to->ndim - 1], k = call->args[1].v.i;
    if (!to->numel) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_contiguous(fac_arg_tensor(call, 0), (FacDType)to->dtype, &from));
    int64_t all = to->numel / cols;
    k = k > cols ? cols : k < -rows ? -rows : k;
    for (int64_t row = 0; row < all; row++) {
        char *out = (char *)fac_data(to) + (size_t)(row * cols) * size;
        const char *in = (const char *)fac_data(from) + (size_t)(row * cols) * size;
        int64_t edge = row % rows + k + (lower ? 1 : 0);
        edge = edge < 0 ? 0 : edge > cols ? cols : edge;
        size_t left = (size_t)edge * size, right = (size_t)(cols - edge) * size;
        if (lower) {
            memcpy(out, in, left);
            memset(out + left, 0, right);
        } else {
            memset(out, 0, left);
            memcpy(out + left, in + left, right);
        }
    }
    fac_tensor_release(from);
    return FAC_OK;
}

FacStatus
FAC_KERNEL(tril)(FacCall *call)
{
    return triangle(call, true);
}

FacStatus
FAC_KERNEL(triu)(FacCall *call)
{
    return triangle(call, false);
}

FacStatus
FAC_KERNEL(repeat_interleave_counts)(FacCall *call)
{
    FacTensor *counts = fac_arg_tensor(call, 0), *plain = NULL;
    FacStatus st = FAC_OK;
    int64_t total = 0, at = 0;
    if (counts->ndim != 1)
        return fac_error(FAC_RUNTIME_ERROR, "repeat_interleave only accept 1D vector as repeat");
    if (counts->dtype != FAC_DT_I64 && counts->dtype != FAC_DT_I32)
        return fac_error(FAC_RUNTIME_ERROR, "repeats has to be Long or Int tensor");
    FAC_TRY(fac_contiguous(counts, FAC_DT_I64, &plain));
    const int64_t *n = fac_data(plain);
    for (int64_t i = 0; i < counts->numel; i++) {
        if (n[i] < 0)
            FAC_FAIL(FAC_RUNTIME_ERROR, "repeats can not be negative, got %lld at index %lld",
                     (long long)n[i], (long long)i);
        if (__builtin_add_overflow(total, n[i], &total))
            FAC_FAIL(FAC_RUNTIME_ERROR, "the sum of repeats is too large");
    }
    if (call->args[1].tag != FAC_V_NONE && call->args[1].v.i != total)
        FAC_FAIL(FAC_RUNTIME_ERROR,
                 "allocated size does not match required size: output_size is %lld, repeats "
                 "sum to %lld",
                 (long long)call->args[1].v.i, (long long)total);
    FAC_TRY(fac_out(call, 0, FAC_DT_I64, counts->device, 1, &total));
    int64_t *to = fac_data(fac_result_tensor(call, 0));
    for (int64_t i = 0; i < counts->numel; i++)
        for (int64_t k = 0; k < n[i]; k++) to[at++] = i;
done:
    fac_tensor_release(plain);
    return st;
}
