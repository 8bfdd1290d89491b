/* embedding.c - rows of a table by index, alone and in bags, their gradient, and renormalisation.
 *
 * The gradient adds rows up in the order of the indices. They are put into buckets of rows that fit
 * the first cache, which are tasks: no two write the same element, and halves are summed in
 * float32. A bag is a task, so that its sum is in the order of its indices.
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
    const int64_t *source; /* the row of the gradient that index i has; NULL: i */
    const void *scales;    /* what it is multiplied by, or NULL */
    int64_t n, columns, rows, padding, height;
    int64_t *starts,
        *order; /* the indices of bucket b are order[starts[b]] to order[starts[b + 1]] */
} Scatter;

enum { BAG_SUM, BAG_MEAN, BAG_MAX };

typedef struct Bags {
    const void *table, *weights; /* weights: by index, or NULL */
    void *out;
    FacDType dtype; /* of table and out */
    const int64_t *indices, *offsets;
    int64_t n, bags, offset_count, columns, padding;
    int mode;
    int64_t *most; /* which row is the largest, by bag and column; NULL but for BAG_MAX */
} Bags;

/* Calls for the row of index i, long before it is added. */
static inline void
fetch_row(const Bags *p, int64_t i, int64_t bytes)
{
    const char *row = (const char *)p->table + p->indices[i] * bytes;
    for (int64_t at = 0; at < bytes && at < 1024; at += 64) __builtin_prefetch(row + at);
}

static inline int64_t
bag_end(const Bags *p, int64_t bag)
{
    return bag + 1 < p->offset_count ? p->offsets[bag + 1] : p->n;
}

enum { BLOCK = 32, AHEAD = 12 };

typedef struct Most {
    const void *grad;
    void *out;
    const int64_t *most;
    int64_t bags, columns;
} Most;

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

/* Fills the result from what `p` says of the gradient, and of the indices: `p->indices`, n of them. */
static FacStatus
add_rows(Scatter *p, FacTensor *out, bool by_frequency, FacDType compute)
{
    int64_t *memory = NULL, *counts = NULL;
    FacStatus st = FAC_OK;
    p->out = fac_data(out);
    p->out_dtype = (FacDType)out->dtype;
    p->rows = out->sizes[0];
    p->columns = out->sizes[1];
    FAC_TRY(check_indices(p->indices, p->n, p->rows));
    if (!out->numel) goto done;
    p->height = p->columns < PIECE ? PIECE / p->columns : 1;
    const int64_t buckets = fac_chunks(p->rows, p->height);
    memory = fac_mem_alloc((size_t)(buckets + 1 + p->n) * sizeof *memory);
    if (!memory) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for %lld indices", (long long)p->n);
    p->starts = memory;
    p->order = memory + buckets + 1;
    sort_out(p, buckets);
    if (by_frequency) {
        counts = fac_mem_zalloc((size_t)(p->rows + 1) * sizeof *counts);
        if (!counts) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for %lld counts", (long long)p->rows);
        for (int64_t i = 0; i < p->n; i++) counts[p->indices[i]]++;
        p->counts = counts;
    }
    const int64_t each = p->columns * (p->height + p->n / buckets);
    fac_parallel(buckets, fac_grain(each), compute == FAC_DT_F32 ? scatter_f32 : scatter_f64, p);
done:
    fac_mem_free(memory);
    fac_mem_free(counts);
    return st;
}

/* (grad_output, indices, num_weights, padding_idx, scale_grad_by_freq). */
FacStatus
FAC_KERNEL(embedding_dense_backward)(FacCall *call)
{
    FacTensor *grad = NULL, *indices = NULL, *out = fac_result_tensor(call, 0);
    const FacDType dt = plain_compute(fac_arg_tensor(call, 0));
    Scatter p;
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), FAC_DT_NONE, &grad));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), FAC_DT_I64, &indices));
    p = (Scatter){.grad = fac_data(grad),
                  .grad_dtype = (FacDType)grad->dtype,
                  .indices = fac_data(indices),
                  .n = indices->numel,
                  .padding = FAC_ARG(call, 3).v.i};
    FAC_TRY(add_rows(&p, out, FAC_ARG(call, 4).v.i, dt));
done:
    fac_tensor_release(grad);
    fac_tensor_release(indices);
    return st;
}

/* --- bags ------------------------------------------------------------------------------------------- */

/* Bags begin at 0 and follow one another; fills the bag of each index, -1 behind the last one, and the
 * sizes of bags. */
static FacStatus
count_bags(const Bags *p, int64_t *bag_of, int64_t *sizes)
{
    if (p->offset_count && p->offsets[0] != 0)
        return fac_error(
            FAC_RUNTIME_ERROR,
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to "
            "start from position 0. However, got %lld",
            (long long)p->offsets[0]);
    for (int64_t i = 0; i < p->offset_count; i++)
        if (bag_end(p, i) < p->offsets[i] || bag_end(p, i) > p->n)
            return fac_error(
                FAC_RUNTIME_ERROR,
                "offsets must not decrease, nor pass the %lld indices; bag %lld goes from "
                "%lld to %lld",
                (long long)p->n, (long long)i, (long long)p->offsets[i], (long long)bag_end(p, i));
    for (int64_t i = 0; i < p->n; i++) bag_of[i] = -1;
    for (int64_t bag = 0; bag < p->bags; bag++) {
        sizes[bag] = 0;
        for (int64_t i = p->offsets[bag]; i < bag_end(p, bag); i++) {
            bag_of[i] = bag;
            sizes[bag] += p->indices[i] != p->padding;
        }
    }
    return FAC_OK;
}

/* (weight, indices, offsets, scale_grad_by_freq, mode, per_sample_weights, include_last_offset,
 * padding_idx) -> (output, offset2bag, bag_size, max_indices). */
FacStatus
FAC_KERNEL(embedding_bag)(FacCall *call)
{
    FacTensor *weight = fac_arg_tensor(call, 0), *out = fac_result_tensor(call, 0);
    FacTensor *rows = NULL, *indices = NULL, *offsets = NULL, *scales = NULL;
    const FacDType dt = plain_compute(weight);
    Bags p;
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(weight, FAC_DT_NONE, &rows));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), FAC_DT_I64, &indices));
    FAC_TRY(plain_in(fac_arg_tensor(call, 2), FAC_DT_I64, &offsets));
    FAC_TRY(plain_in(fac_arg_tensor(call, 5), dt, &scales));
    p = (Bags){.table = fac_data(rows),
               .weights = scales ? fac_data(scales) : NULL,
               .out = fac_data(out),
               .dtype = (FacDType)rows->dtype,
               .indices = fac_data(indices),
               .offsets = fac_data(offsets),
               .n = indices->numel,
               .bags = out->sizes[0],
               .offset_count = offsets->numel,
               .columns = out->sizes[1],
               .padding = FAC_ARG(call, 7).v.i,
               .mode = (int)FAC_ARG(call, 4).v.i};
    if (p.mode == BAG_MAX) p.most = fac_data(fac_result_tensor(call, 3));
    FAC_TRY(check_indices(p.indices, p.n, weight->sizes[0]));
    FAC_TRY(
        count_bags(&p, fac_data(fac_result_tensor(call, 1)), fac_data(fac_result_tensor(call, 2))));
    if (!out->numel) goto done;
    const int64_t each = p.columns * (1 + p.n / p.bags);
    fac_parallel(p.bags, fac_grain(each), dt == FAC_DT_F32 ? bags_f32 : bags_f64, &p);
done:
    fac_tensor_release(rows);
    fac_tensor_release(indices);
    fac_tensor_release(offsets);
    fac_tensor_release(scales);
    return st;
}

/* The gradient of maxima, to result 0. */
static FacStatus
most_backward(FacCall *call, FacDType dt)
{
    FacTensor *grad = NULL, *most = NULL, *out = NULL;
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), dt, &grad));
    FAC_TRY(plain_in(fac_arg_tensor(call, 5), FAC_DT_I64, &most));
    FAC_TRY(plain_out(call, 0, dt, &out));
    if (!out->numel) goto done;
    const int64_t *rows = fac_data(most);
    for (int64_t i = 0; i < most->numel; i++) /* -1: an empty bag has none */
        if (rows[i] < -1 || rows[i] >= out->sizes[0])
            FAC_FAIL(FAC_INDEX_ERROR, "max_indices must be below %lld, not %lld",
                     (long long)out->sizes[0], (long long)rows[i]);
    memset(fac_data(out), 0, fac_nbytes(out));
    Most p = {.grad = fac_data(grad),
              .out = fac_data(out),
              .most = fac_data(most),
              .bags = grad->sizes[0],
              .columns = grad->sizes[1]};
    fac_parallel(fac_chunks(p.columns, BLOCK), fac_grain(p.bags * BLOCK),
                 dt == FAC_DT_F32 ? scatter_most_f32 : scatter_most_f64, &p);
    FAC_TRY(plain_done(call, 0, out));
done:
    fac_tensor_release(grad);
    fac_tensor_release(most);
    fac_tensor_release(out);
    return st;
}

/* (grad_output, indices, offsets, offset2bag, bag_size, max_indices, per_sample_weights, num_weights,
 * scale_grad_by_freq, mode, include_last_offset, padding_idx). */
FacStatus
FAC_KERNEL(embedding_bag_backward)(FacCall *call)
{
    static const int args[] = {1, 3, 4};
    FacTensor *grad = NULL, *ints[3] = {NULL}, *weights = NULL;
    const FacDType dt = plain_compute(fac_arg_tensor(call, 0));
    const int mode = (int)FAC_ARG(call, 9).v.i;
    void *scales = NULL;
    Scatter p;
    FacStatus st = FAC_OK;
    if (mode == BAG_MAX) return most_backward(call, dt);
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), FAC_DT_NONE, &grad));
    for (int i = 0; i < 3; i++)
        FAC_TRY(plain_in(fac_arg_tensor(call, args[i]), FAC_DT_I64, &ints[i]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 6), dt, &weights));
    p = (Scatter){.grad = fac_data(grad),
                  .grad_dtype = (FacDType)grad->dtype,
                  .indices = fac_data(ints[0]),
                  .source = fac_data(ints[1]),
                  .n = ints[0]->numel,
                  .padding = FAC_ARG(call, 11).v.i};
    while (p.n && p.source[p.n - 1] < 0) p.n--; /* behind the last bag */
    FAC_TRY(check_indices(p.source, p.n, grad->sizes[0]));
    if ((mode == BAG_MEAN || weights) && p.n) {
        scales = fac_mem_alloc((size_t)(p.n * fac_dtype_size(dt)));
        if (!scales) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for %lld indices", (long long)p.n);
        const void *w = weights ? fac_data(weights) : NULL;
        if (dt == FAC_DT_F32)
            bag_scales_f32(&p, fac_data(ints[2]), mode, w, scales);
        else
            bag_scales_f64(&p, fac_data(ints[2]), mode, w, scales);
        p.scales = scales;
    }
    FAC_TRY(add_rows(&p, fac_result_tensor(call, 0), FAC_ARG(call, 8).v.i, dt));
done:
    fac_mem_free(scales);
    fac_tensor_release(grad);
    fac_tensor_release(weights);
    for (int i = 0; i < 3; i++) fac_tensor_release(ints[i]);
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
