/* rank.c - order statistics along one dimension: medians, the k-th smallest, the mode.
 *
 * The dimension is moved to the end and the tensor made contiguous, so that each result comes from
 * one row. A function a dtype and statistic gives the position of the element in its row; the value
 * is read there.
 */
#include "kernels/cpu/kernel.h"
#include "kernels/reduce_args.h"

/* How deep partitioning may go before it counts as failed. */
static int
depth_limit(int64_t n)
{
    int depth = 0;
    for (; n > 1; n >>= 1) depth += 2;
    return depth;
}

#define T uint8_t
#define SUFFIX u8
#define IS_NAN(v) 0
#include "kernels/cpu/rank_body.h"

#define T int8_t
#define SUFFIX i8
#define IS_NAN(v) 0
#include "kernels/cpu/rank_body.h"

#define T uint16_t
#define SUFFIX u16
#define IS_NAN(v) 0
#include "kernels/cpu/rank_body.h"

#define T int16_t
#define SUFFIX i16
#define IS_NAN(v) 0
#include "kernels/cpu/rank_body.h"

#define T uint32_t
#define SUFFIX u32
#define IS_NAN(v) 0
#include "kernels/cpu/rank_body.h"

#define T int32_t
#define SUFFIX i32
#define IS_NAN(v) 0
#include "kernels/cpu/rank_body.h"

#define T uint64_t
#define SUFFIX u64
#define IS_NAN(v) 0
#include "kernels/cpu/rank_body.h"

#define T int64_t
#define SUFFIX i64
#define IS_NAN(v) 0
#include "kernels/cpu/rank_body.h"

#define T float
#define SUFFIX f32
#define IS_NAN(v) ((v) != (v))
#include "kernels/cpu/rank_body.h"

#define T double
#define SUFFIX f64
#define IS_NAN(v) ((v) != (v))
#include "kernels/cpu/rank_body.h"

/* X(enumerator, suffix, type) */
#define ORDERED(X)                                                                                 \
    X(BOOL, u8, uint8_t)                                                                           \
    X(U8, u8, uint8_t)                                                                             \
    X(I8, i8, int8_t)                                                                              \
    X(U16, u16, uint16_t)                                                                          \
    X(I16, i16, int16_t)                                                                           \
    X(U32, u32, uint32_t)                                                                          \
    X(I32, i32, int32_t)                                                                           \
    X(U64, u64, uint64_t)                                                                          \
    X(I64, i64, int64_t)                                                                           \
    X(F32, f32, float)                                                                             \
    X(F64, f64, double)
#define FIND_SWITCH(DT, SUFFIX, T)                                                                 \
    case FAC_DT_##DT:                                                                              \
        return which == MEDIAN ? median_at_##SUFFIX((const T *)x, order, n, parameter)             \
               : which == KTH  ? kth_at_##SUFFIX((const T *)x, order, n, parameter)                \
                               : mode_at_##SUFFIX((const T *)x, order, n);

typedef enum Statistic { MEDIAN, KTH, MODE } Statistic;

/* Position of the wanted element in the row x; `order` holds 0..n-1 and is used up. */
static int64_t
find(Statistic which, FacDType dt, const char *x, int64_t *order, int64_t n, int64_t parameter)
{
    switch (dt) {
        ORDERED(FIND_SWITCH)
    default: return 0;
    }
}

typedef struct Job {
    Statistic which;
    FacDType dtype; /* of rows: a compute dtype */
    const char *rows;
    int64_t *order; /* n for each row */
    int64_t n, parameter;
    int64_t *index;
} Job;

static void
find_in_rows(int64_t begin, int64_t end, void *context)
{
    const Job *job = (const Job *)context;
    size_t row_bytes = (size_t)job->n * fac_dtype_info[job->dtype].size;
    for (int64_t row = begin; row < end; row++) {
        int64_t *order = job->order + row * job->n;
        for (int64_t i = 0; i < job->n; i++) order[i] = i;
        job->index[row] = find(job->which, job->dtype, job->rows + (size_t)row * row_bytes, order,
                               job->n, job->parameter);
    }
}

/* t with `dim` moved to the end, contiguous, in its compute dtype. */
static FacStatus
rows_along(FacTensor *t, int dim, FacTensor **out)
{
    FacDim sizes[FAC_MAX_NDIM], strides[FAC_MAX_NDIM];
    FacTensor *moved = NULL;
    int n = 0;
    for (int d = 0; d < t->ndim; d++)
        if (d != dim) {
            sizes[n] = t->sizes[d];
            strides[n++] = t->strides[d];
        }
    if (t->ndim) {
        sizes[n] = t->sizes[dim];
        strides[n++] = t->strides[dim];
    }
    FAC_RETURN_IF_ERROR(fac_tensor_view(t, n, sizes, strides, t->offset, &moved));
    FacStatus st = fac_contiguous(moved, (FacDType)fac_dtype_info[t->dtype].compute, out);
    fac_tensor_release(moved);
    return st;
}

/* Finds the positions along `n` elements of each row of `rows` and writes the values found
 * there. */
static FacStatus
select_from(FacTensor *rows, int64_t n, Statistic which, int64_t parameter, FacTensor *values,
            int64_t *index)
{
    FacTensor *order = NULL;
    FacDType dt = (FacDType)rows->dtype;
    size_t size = fac_dtype_info[dt].size, to_size = fac_dtype_info[values->dtype].size;
    FacDim numel = rows->numel;
    FAC_RETURN_IF_ERROR(fac_tensor_new(FAC_DT_I64, rows->device, 1, &numel, &order));
    Job job = {.which = which,
               .dtype = dt,
               .rows = (const char *)fac_data(rows),
               .order = (int64_t *)fac_data(order),
               .n = n,
               .parameter = parameter,
               .index = index};
    fac_parallel(numel / n, 4096 / n + 1, find_in_rows, &job);
    for (int64_t row = 0; row < numel / n; row++)
        fac_casts[dt][values->dtype](job.rows + (size_t)(row * n + index[row]) * size,
                                     (char *)fac_data(values) + (size_t)row * to_size, 1);
    fac_tensor_release(order);
    return FAC_OK;
}

static FacStatus
select_along(FacCall *call, Statistic which, int64_t parameter)
{
    FacTensor *t = fac_arg_tensor(call, 0), *values = fac_result_tensor(call, 0), *rows = NULL;
    int dim;
    FAC_RETURN_IF_ERROR(fac_reduce_dim(call, t, &dim));
    if (values->numel == 0) return FAC_OK;
    FAC_RETURN_IF_ERROR(rows_along(t, dim, &rows));
    FacStatus st = select_from(rows, t->ndim ? t->sizes[dim] : 1, which, parameter, values,
                               (int64_t *)fac_data(fac_result_tensor(call, 1)));
    fac_tensor_release(rows);
    return st;
}

/* The median of all elements; of none it is NaN. */
static FacStatus
select_of_all(FacCall *call, int64_t skip_nan)
{
    FacTensor *t = fac_arg_tensor(call, 0), *value = fac_result_tensor(call, 0), *row = NULL;
    int64_t index;
    if (t->numel == 0) {
        double nan = __builtin_nan("");
        fac_casts[FAC_DT_F64][value->dtype](&nan, fac_data(value), 1);
        return FAC_OK;
    }
    FAC_RETURN_IF_ERROR(fac_contiguous(t, (FacDType)fac_dtype_info[t->dtype].compute, &row));
    FacStatus st = select_from(row, row->numel, MEDIAN, skip_nan, value, &index);
    fac_tensor_release(row);
    return st;
}

FacStatus
FAC_KERNEL(median)(FacCall *call)
{
    return select_of_all(call, 0);
}

FacStatus
FAC_KERNEL(nanmedian)(FacCall *call)
{
    return select_of_all(call, 1);
}

FacStatus
FAC_KERNEL(median_dim)(FacCall *call)
{
    return select_along(call, MEDIAN, 0);
}

FacStatus
FAC_KERNEL(nanmedian_dim)(FacCall *call)
{
    return select_along(call, MEDIAN, 1);
}

FacStatus
FAC_KERNEL(kthvalue)(FacCall *call)
{
    return select_along(call, KTH, fac_arg_named(call, "k").v.i - 1);
}

FacStatus
FAC_KERNEL(mode)(FacCall *call)
{
    return select_along(call, MODE, 0);
}
