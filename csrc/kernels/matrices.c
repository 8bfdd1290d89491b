/* matrices.c - see matrices.h. */
#include "kernels/matrices.h"

#include "base/pool.h"
#include "tensor/iter.h"
#include "tensor/layout.h"

#include <stdio.h>
#include <string.h>

/* Below LARGE a matrix is a task, at least TASK worth of them together; no more than TASKS tasks. */
static const double LARGE = 16e6, TASK = 1 << 18;
enum { TASKS = 64 };

typedef struct Each {
    int64_t grain;
    char *scratch;
    size_t scratch_bytes;
    FacMatrixBody body;
    void *context;
} Each;

static void
each_chunk(int64_t begin, int64_t end, void *context)
{
    const Each *e = context;
    char *scratch = e->scratch + (size_t)(begin / e->grain) * e->scratch_bytes;
    for (; begin < end; begin++) {
        const FacStatus st = e->body(begin, scratch, true, e->context);
        (void)st; /* a serial body does not fail */
    }
}

FacStatus
fac_each_matrix(int64_t count, double work, size_t scratch_bytes, FacMatrixBody body, void *context)
{
    const bool tasks = count > 1 && work < LARGE;
    Each e = {.grain = 1, .body = body, .context = context};
    FacStatus st = FAC_OK;
    e.scratch_bytes = (scratch_bytes + 63) / 64 * 64;
    if (count == 0) return FAC_OK;
    if (tasks) {
        e.grain = (int64_t)(TASK / (work + 1)) + 1;
        if (e.grain < fac_chunks(count, TASKS)) e.grain = fac_chunks(count, TASKS);
    }
    const size_t bytes = e.scratch_bytes * (size_t)(tasks ? fac_chunks(count, e.grain) : 1);
    e.scratch = fac_mem_alloc(bytes ? bytes : 1);
    if (!e.scratch) return fac_mem_error(bytes);
    if (tasks)
        fac_parallel(count, e.grain, each_chunk, &e);
    else
        for (int64_t i = 0; i < count && st == FAC_OK; i++) st = body(i, e.scratch, false, context);
    fac_mem_free(e.scratch);
    return st;
}

int64_t
fac_matrix_count(const FacTensor *t, int dims)
{
    int64_t count = 1;
    for (int i = 0; i < t->ndim - dims; i++) count *= t->sizes[i];
    return count;
}

FacStatus
fac_lapack(FacDType dtype, const char *name, void **out)
{
    const char *bar = strchr(name, '|');
    char full[32] = {dtype == FAC_DT_F32   ? 's'
                     : dtype == FAC_DT_F64 ? 'd'
                     : dtype == FAC_DT_C64 ? 'c'
                                           : 'z'};
    if (bar && FAC_IS_COMPLEX(dtype))
        snprintf(full + 1, sizeof full - 1, "%s", bar + 1);
    else
        snprintf(full + 1, sizeof full - 1, "%.*s", bar ? (int)(bar - name) : 30, name);
    return fac_blas_symbol(full, out);
}

FacStatus
fac_lapack_size(int64_t size)
{
    if (size <= INT32_MAX / 64) return FAC_OK;
    return fac_error(FAC_RUNTIME_ERROR, "a matrix of %lld rows or columns is too large for LAPACK",
                     (long long)size);
}

FacStatus
fac_check_infos(const int32_t *infos, int64_t count, bool batched, const char *message)
{
    FacText text = {.len = 0};
    int64_t i = 0;
    while (i < count && infos[i] == 0) i++;
    if (i == count) return FAC_OK;
    if (batched) fac_text_add(&text, "(Batch element %lld): ", (long long)i);
    fac_text_add(&text, message, infos[i], infos[i]);
    return fac_error(FAC_LINALG_ERROR, "%s", text.at);
}

FacStatus
fac_columns_copy(FacTensor *from, FacTensor **out)
{
    FacDim strides[FAC_MAX_NDIM], turned[FAC_MAX_NDIM];
    const int n = from->ndim;
    memcpy(turned, from->sizes, (size_t)n * sizeof *turned);
    turned[n - 2] = from->sizes[n - 1];
    turned[n - 1] = from->sizes[n - 2];
    fac_strides_contiguous(n, turned, strides);
    const FacDim row = strides[n - 1];
    strides[n - 1] = strides[n - 2];
    strides[n - 2] = row;
    FAC_RETURN_IF_ERROR(
        fac_tensor_new_strided((FacDType)from->dtype, from->device, n, from->sizes, strides, out));
    const FacStatus st = fac_tensor_copy(*out, from);
    if (st) {
        fac_tensor_release(*out);
        *out = NULL;
    }
    return st;
}

/* (pivots, rows): [0, rows) after the exchanges. */
FacStatus
fac_k_pivot_order(FacCall *call)
{
    FacTensor *out = fac_result_tensor(call, 0), *pivots;
    const int64_t rows = out->sizes[out->ndim - 1];
    FAC_RETURN_IF_ERROR(fac_contiguous(fac_arg_tensor(call, 0), FAC_DT_I32, &pivots));
    const int64_t n = pivots->sizes[pivots->ndim - 1];
    const int32_t *from = fac_data(pivots);
    int64_t *order = fac_data(out);
    FacStatus st = FAC_OK;
    for (int64_t i = fac_matrix_count(out, 1); i > 0; i--, order += rows, from += n) {
        for (int64_t j = 0; j < rows; j++) order[j] = j;
        for (int64_t j = 0; j < n; j++) {
            const int64_t at = (int64_t)from[j] - 1, saved = order[j];
            if (at < 0 || at >= rows)
                FAC_FAIL(FAC_RUNTIME_ERROR, "pivots must be from 1 to the number of rows, %lld",
                         (long long)rows);
            order[j] = order[at];
            order[at] = saved;
        }
    }
done:
    fac_tensor_release(pivots);
    return st;
}
