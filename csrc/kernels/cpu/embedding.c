/* embedding.c - rows of a table by index, their gradient, and renormalisation.
 *
 * The gradient adds rows up in the order of the indices. They are put into buckets of rows that fit
 * the first cache, which are tasks: no two write the same element, and halves are summed in
 * float32.
 */
#include "kernels/cpu/plain.h"

#include <math.h>

static FacStatus
check_indices(const int64_t *indices, int64_t n, int64_t rows)
{
    for (int64_t i = 0; i < n; i++)
        if (indices[i] < 0 || indices[i] >= rows)
            return fac_error(FAC_INDEX_ERROR, "index out of range in self");
    return FAC_OK;
}

typedef struct Lookup {
    const char *table;
    char *out;
    const int64_t *indices;
    int64_t row;  /* bytes from one row of the table to the next */
    size_t bytes; /* of a row */
} Lookup;

static void
lookup(int64_t begin, int64_t end, void *context)
{
    const Lookup *p = context;
    for (; begin < end; begin++)
        memcpy(p->out + (size_t)begin * p->bytes, p->table + p->indices[begin] * p->row, p->bytes);
}

/* (weight, indices, padding_idx, scale_grad_by_freq, sparse). */
FacStatus
FAC_KERNEL(embedding)(FacCall *call)
{
    FacTensor *weight = fac_arg_tensor(call, 0), *out = fac_result_tensor(call, 0);
    FacTensor *rows = NULL, *indices = NULL;
    const int64_t size = fac_dtype_size((FacDType)weight->dtype);
    FacStatus st = FAC_OK;
    FAC_TRY(fac_contiguous(fac_arg_tensor(call, 1), FAC_DT_I64, &indices));
    FAC_TRY(check_indices(fac_data(indices), indices->numel, weight->sizes[0]));
    if (out->numel == 0) goto done;
    if (weight->strides[1] == 1)
        rows = fac_tensor_retain(weight);
    else
        FAC_TRY(fac_contiguous(weight, FAC_DT_NONE, &rows));
    Lookup p = {fac_data(rows), fac_data(out), fac_data(indices), rows->strides[0] * size,
                (size_t)(weight->sizes[1] * size)};
    fac_parallel(indices->numel, fac_grain(weight->sizes[1]), lookup, &p);
done:
    fac_tensor_release(rows);
    fac_tensor_release(indices);
    return st;
}

/* Rows of the gradient come in buckets of `height`, of PIECE elements at most (or one row each). */
enum { PIECE = 8192 };

typedef struct Scatter {
    const void *grad;
    void *out;
    FacDType grad_dtype, out_dtype;
    const int64_t *indices;
    const int64_t *counts; /* by row, or NULL */
    int64_t n, columns, rows, padding, height;
    int64_t *starts,
        *order; /* the indices of bucket b are order[starts[b]] to order[starts[b + 1]] */
} Scatter;

#define T float
#define NAME(x) x##_f32
#define DTYPE FAC_DT_F32
#include "kernels/cpu/embedding_body.h"
#define T double
#define NAME(x) x##_f64
#define DTYPE FAC_DT_F64
#include "kernels/cpu/embedding_body.h"

/* Fills starts[buckets + 1] and order[n], which keeps the order of the indices in each bucket. */
static void
sort_out(Scatter *p, int64_t buckets)
{
    memset(p->starts, 0, (size_t)(buckets + 1) * sizeof *p->starts);
    for (int64_t i = 0; i < p->n; i++)
        if (p->indices[i] != p->padding) p->starts[p->indices[i] / p->height]++;
    int64_t sum = 0;
    for (int64_t b = 0; b <= buckets; b++) {
        const int64_t here = p->starts[b];
        p->starts[b] = sum;
        sum += here;
    }
    for (int64_t i = 0; i < p->n; i++)
        if (p->indices[i] != p->padding) p->order[p->starts[p->indices[i] / p->height]++] = i;
    memmove(p->starts + 1, p->starts, (size_t)buckets * sizeof *p->starts);
    p->starts[0] = 0;
}

/* (grad_output, indices, num_weights, padding_idx, scale_grad_by_freq). */
FacStatus
FAC_KERNEL(embedding_dense_backward)(FacCall *call)
{
    FacTensor *grad = NULL, *indices = NULL, *out = fac_result_tensor(call, 0);
    const FacDType dt = plain_compute(fac_arg_tensor(call, 0));
    int64_t *memory = NULL, *counts = NULL;
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), FAC_DT_NONE, &grad));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), FAC_DT_I64, &indices));
    Scatter p = {.grad = fac_data(grad),
                 .out = fac_data(out),
                 .grad_dtype = (FacDType)grad->dtype,
                 .out_dtype = (FacDType)out->dtype,
                 .indices = fac_data(indices),
                 .n = indices->numel,
                 .rows = out->sizes[0],
                 .columns = out->sizes[1],
                 .padding = FAC_ARG(call, 3).v.i};
    FAC_TRY(check_indices(p.indices, p.n, p.rows));
    if (!out->numel) goto done;
    p.height = p.columns < PIECE ? PIECE / p.columns : 1;
    const int64_t buckets = fac_chunks(p.rows, p.height);
    memory = fac_mem_alloc((size_t)(buckets + 1 + p.n) * sizeof *memory);
    if (!memory) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for %lld indices", (long long)p.n);
    p.starts = memory;
    p.order = memory + buckets + 1;
    sort_out(&p, buckets);
    if (FAC_ARG(call, 4).v.i) {
        counts = fac_mem_zalloc((size_t)(p.rows + 1) * sizeof *counts);
        if (!counts) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for %lld counts", (long long)p.rows);
        for (int64_t i = 0; i < p.n; i++) counts[p.indices[i]]++;
        p.counts = counts;
    }
    const int64_t each = p.columns * (p.height + p.n / buckets);
    fac_parallel(buckets, fac_grain(each), dt == FAC_DT_F32 ? scatter_f32 : scatter_f64, &p);
done:
    fac_mem_free(memory);
    fac_mem_free(counts);
    fac_tensor_release(grad);
    fac_tensor_release(indices);
    return st;
}

/* Scales the row at x (double precision sums) so that its norm is at most `most`. */
#define RENORM(DT, T)                                                                              \
    static void renorm_##DT(T *x, int64_t n, double most, double power)                            \
    {                                                                                              \
        double norm = 0;                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const double size = fabs((double)x[i]);                                                \
            norm = isinf(power) ? fmax(norm, size) : norm + pow(size, power);                      \
        }                                                                                          \
        if (!isinf(power)) norm = pow(norm, 1 / power);                                            \
        if (!(norm > most)) return;                                                                \
        const T scale = (T)(most / (norm + 1e-7));                                                 \
        for (int64_t i = 0; i < n; i++) x[i] *= scale;                                             \
    }
FAC_FLOAT_TYPES(RENORM)
#undef RENORM

/* (self, indices, max_norm, norm_type): writes self. */
FacStatus
FAC_KERNEL(embedding_renorm)(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *rows = NULL, *indices = NULL;
    const FacDType dt = plain_compute(self);
    const double most = fac_v_as_float(FAC_ARG(call, 2)), power = fac_v_as_float(FAC_ARG(call, 3));
    char *seen = NULL;
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(self, dt, &rows));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), FAC_DT_I64, &indices));
    FAC_TRY(check_indices(fac_data(indices), indices->numel, self->sizes[0]));
    seen = fac_mem_zalloc((size_t)self->sizes[0] + 1);
    if (!seen) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for marks of the rows");
    const int64_t n = self->sizes[1];
    for (int64_t i = 0; i < indices->numel; i++) {
        const int64_t at = ((const int64_t *)fac_data(indices))[i];
        if (seen[at]) continue;
        seen[at] = 1;
        if (dt == FAC_DT_F32)
            renorm_F32((float *)fac_data(rows) + at * n, n, most, power);
        else
            renorm_F64((double *)fac_data(rows) + at * n, n, most, power);
    }
    if (rows != self) FAC_TRY(fac_tensor_copy(self, rows));
done:
    fac_mem_free(seen);
    fac_tensor_release(rows);
    fac_tensor_release(indices);
    return st;
}
