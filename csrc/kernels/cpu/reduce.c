/* reduce.c - the kernels of reductions: sums, products, variance and norms; extreme.c has the rest.
 *
 * Each is a table of folds by compute dtype (fold.h), handed to the engine with the dims of the
 * call. Floats accumulate in double whatever their dtype, integers in int64. Rules (rules_reduce.c)
 * have checked everything: kernels here fail only for lack of memory.
 */
#include "kernels/cpu/fold.h"
#include "kernels/reduce_args.h"
#include "kernels/scalar.h"

#include "base/mem.h"

/* --- shared parts ----------------------------------------------------------------------------- */

static void
zero_f64(void *acc, int64_t lanes)
{
    memset(acc, 0, (size_t)lanes * sizeof(double));
}

static void
zero_c128(void *acc, int64_t lanes)
{
    memset(acc, 0, (size_t)lanes * 2 * sizeof(double));
}

static void
add_f64(void *acc, const void *later, int64_t lanes)
{
    for (int64_t j = 0; j < lanes; j++) ((double *)acc)[j] += ((const double *)later)[j];
}

static void
add_c128(void *acc, const void *later, int64_t lanes)
{
    add_f64(acc, later, 2 * lanes);
}

static void
add_i64(void *acc, const void *later, int64_t lanes)
{
    for (int64_t j = 0; j < lanes; j++) ((int64_t *)acc)[j] += ((const int64_t *)later)[j];
}

static void
finish_8(const void *acc, int64_t lanes, void *const *out, const FoldArgs *args)
{
    (void)args;
    memcpy(out[0], acc, (size_t)lanes * 8);
}

static void
finish_16(const void *acc, int64_t lanes, void *const *out, const FoldArgs *args)
{
    (void)args;
    memcpy(out[0], acc, (size_t)lanes * 16);
}

static void
mean_f64(const void *acc, int64_t lanes, void *const *out, const FoldArgs *args)
{
    for (int64_t j = 0; j < lanes; j++)
        ((double *)out[0])[j] = ((const double *)acc)[j] / args->count;
}

static void
mean_c128(const void *acc, int64_t lanes, void *const *out, const FoldArgs *args)
{
    mean_f64(acc, 2 * lanes, out, args);
}

/* --- sums ------------------------------------------------------------------------------------- */

#define JUST(x) (x)
#define AS_DOUBLE(x) ((double)(x))
#define NOT_NAN(x) ((x) == (x) ? (x) : 0)
#define SQUARE(x) ((double)(x) * (double)(x))

#define T float
#define ACC double
#define TERM_TYPE float
#define TERM JUST
#define NAME(part) sum_f32_##part
#include "kernels/cpu/fold_sum.h"

#define T uint16_t
#define ACC double
#define TERM_TYPE float
#define TERM fac_bf16_to_f32
#define NAME(part) sum_bf16_##part
#include "kernels/cpu/fold_sum.h"

#define T double
#define ACC double
#define TERM_TYPE double
#define TERM JUST
#define NAME(part) sum_f64_##part
#include "kernels/cpu/fold_sum.h"

#define T int64_t
#define ACC int64_t
#define TERM_TYPE int64_t
#define TERM JUST
#define NAME(part) sum_i64_##part
#include "kernels/cpu/fold_sum.h"

#define T uint8_t
#define ACC int64_t
#define TERM_TYPE int32_t
#define TERM JUST
#define NAME(part) count_##part
#include "kernels/cpu/fold_sum.h"

#define T float
#define ACC double
#define TERM_TYPE float
#define TERM NOT_NAN
#define NAME(part) nansum_f32_##part
#include "kernels/cpu/fold_sum.h"

#define T double
#define ACC double
#define TERM_TYPE double
#define TERM NOT_NAN
#define NAME(part) nansum_f64_##part
#include "kernels/cpu/fold_sum.h"

#define T float
#define ACC double
#define TERM_TYPE double
#define TERM SQUARE
#define ADD(sum, x) fx_fma_f64((double)(x), (double)(x), sum) /* the square is exact */
#define NAME(part) squares_f32_##part
#include "kernels/cpu/fold_sum.h"

#define T double
#define ACC double
#define TERM_TYPE double
#define TERM SQUARE
#define NAME(part) squares_f64_##part
#include "kernels/cpu/fold_sum.h"

/* Complex numbers are pairs of lanes. */
#define COMPLEX_SUM(SUFFIX, PART, T)                                                               \
    static void sum_##SUFFIX##_row(void *acc, int64_t lanes, int64_t lane, const void *from,       \
                                   int64_t n, int64_t first)                                       \
    {                                                                                              \
        enum { LANES = 32 };                                                                       \
        const T *x = (const T *)from;                                                              \
        double *sum = (double *)acc + 2 * lane, part[LANES] = {0};                                 \
        int64_t i = 0;                                                                             \
        (void)lanes;                                                                               \
        (void)first;                                                                               \
        for (; i + LANES <= 2 * n; i += LANES)                                                     \
            for (int j = 0; j < LANES; j++) part[j] += (double)x[i + j];                           \
        for (; i < 2 * n; i++) part[i & 1] += (double)x[i];                                        \
        for (int j = 0; j < LANES; j++) sum[j & 1] += part[j];                                     \
    }                                                                                              \
    static void sum_##SUFFIX##_cols(void *acc, int64_t lanes, const void *from, int64_t row_bytes, \
                                    int64_t rows, int64_t first)                                   \
    {                                                                                              \
        sum_##PART##_cols(acc, 2 * lanes, from, row_bytes, rows, first);                           \
    }
COMPLEX_SUM(c64, f32, float)
COMPLEX_SUM(c128, f64, double)

#define FOLD_SUM(DT, name, ACC, bytes, finisher)                                                   \
    {.load = FAC_DT_##DT,                                                                          \
     .element = FAC_DT_##DT,                                                                       \
     .result = {FAC_DT_##ACC, FAC_DT_NONE},                                                        \
     .acc_bytes = bytes,                                                                           \
     .init = bytes == 8 ? zero_f64 : zero_c128,                                                    \
     .row = name##_row,                                                                            \
     .cols = name##_cols,                                                                          \
     .join = FAC_DT_##ACC == FAC_DT_I64 ? add_i64                                                  \
             : bytes == 8               ? add_f64                                                  \
                                        : add_c128,                                                \
     .finish = finisher}

static const Fold sums[FAC_DTYPES] = {
    [FAC_DT_I64] = FOLD_SUM(I64, sum_i64, I64, 8, finish_8),
    [FAC_DT_F32] = FOLD_SUM(F32, sum_f32, F64, 8, finish_8),
    [FAC_DT_F64] = FOLD_SUM(F64, sum_f64, F64, 8, finish_8),
    [FAC_DT_C64] = FOLD_SUM(C64, sum_c64, C128, 16, finish_16),
    [FAC_DT_C128] = FOLD_SUM(C128, sum_c128, C128, 16, finish_16),
};

/* bfloat16 is widened on the way; its compute dtype, float32, serves the others. */
static const Fold sum_of_bf16 = FOLD_SUM(BF16, sum_bf16, F64, 8, finish_8);
static const Fold mean_of_bf16 = FOLD_SUM(BF16, sum_bf16, F64, 8, mean_f64);

static const Fold nansums[FAC_DTYPES] = {
    [FAC_DT_I64] = FOLD_SUM(I64, sum_i64, I64, 8, finish_8),
    [FAC_DT_F32] = FOLD_SUM(F32, nansum_f32, F64, 8, finish_8),
    [FAC_DT_F64] = FOLD_SUM(F64, nansum_f64, F64, 8, finish_8),
};

static const Fold means[FAC_DTYPES] = {
    [FAC_DT_F32] = FOLD_SUM(F32, sum_f32, F64, 8, mean_f64),
    [FAC_DT_F64] = FOLD_SUM(F64, sum_f64, F64, 8, mean_f64),
    [FAC_DT_C64] = FOLD_SUM(C64, sum_c64, C128, 16, mean_c128),
    [FAC_DT_C128] = FOLD_SUM(C128, sum_c128, C128, 16, mean_c128),
};

static const Fold counts[FAC_DTYPES] = {
    [FAC_DT_BOOL] = FOLD_SUM(BOOL, count, I64, 8, finish_8),
};

/* --- products --------------------------------------------------------------------------------- */

#define PRODUCT(SUFFIX, T, ACC, ONE, MUL, LOAD)                                                    \
    static void prod_##SUFFIX##_init(void *acc, int64_t lanes)                                     \
    {                                                                                              \
        for (int64_t j = 0; j < lanes; j++) ((ACC *)acc)[j] = ONE;                                 \
    }                                                                                              \
    static void prod_##SUFFIX##_row(void *acc, int64_t lanes, int64_t lane, const void *from,      \
                                    int64_t n, int64_t first)                                      \
    {                                                                                              \
        enum { LANES = 256 / sizeof(ACC) };                                                        \
        const T *x = (const T *)from;                                                              \
        ACC part[LANES];                                                                           \
        int64_t i = 0;                                                                             \
        (void)lanes;                                                                               \
        (void)first;                                                                               \
        for (int j = 0; j < LANES; j++) part[j] = ONE;                                             \
        for (; i + LANES <= n; i += LANES)                                                         \
            for (int j = 0; j < LANES; j++) part[j] = MUL(part[j], LOAD(x[i + j]));                \
        _Pragma("GCC unroll 5")                                                                    \
        for (int width = LANES / 2; width > 0; width /= 2)                                         \
            for (int j = 0; j < width; j++) part[j] = MUL(part[j], part[j + width]);               \
        for (; i < n; i++) part[0] = MUL(part[0], LOAD(x[i]));                                     \
        ((ACC *)acc)[lane] = MUL(((ACC *)acc)[lane], part[0]);                                     \
    }                                                                                              \
    static void prod_##SUFFIX##_cols(void *acc, int64_t lanes, const void *from,                   \
                                     int64_t row_bytes, int64_t rows, int64_t first)               \
    {                                                                                              \
        ACC *restrict product = (ACC *)acc;                                                        \
        (void)first;                                                                               \
        for (const char *at = (const char *)from; rows > 0; rows--, at += row_bytes)               \
            for (int64_t j = 0; j < lanes; j++)                                                    \
                product[j] = MUL(product[j], LOAD(((const T *)at)[j]));                            \
    }                                                                                              \
    static void prod_##SUFFIX##_join(void *acc, const void *later, int64_t lanes)                  \
    {                                                                                              \
        ACC *product = (ACC *)acc;                                                                 \
        for (int64_t j = 0; j < lanes; j++) product[j] = MUL(product[j], ((const ACC *)later)[j]); \
    }

#define TIMES(a, b) ((a) * (b))
#define AS_C128(x) fx_complex_c128((double)(x).re, (double)(x).im)
#define ONE_C128 ((fac_c128){1, 0})
PRODUCT(i64, int64_t, int64_t, 1, TIMES, JUST)
PRODUCT(f32, float, double, 1, TIMES, AS_DOUBLE)
PRODUCT(f64, double, double, 1, TIMES, JUST)
PRODUCT(c64, fac_c64, fac_c128, ONE_C128, fx_mul_c128, AS_C128)
PRODUCT(c128, fac_c128, fac_c128, ONE_C128, fx_mul_c128, JUST)

#define FOLD_PROD(DT, SUFFIX, ACC, bytes)                                                          \
    [FAC_DT_##DT] = {.load = FAC_DT_##DT,                                                          \
                     .element = FAC_DT_##DT,                                                       \
                     .result = {FAC_DT_##ACC, FAC_DT_NONE},                                        \
                     .acc_bytes = bytes,                                                           \
                     .init = prod_##SUFFIX##_init,                                                 \
                     .row = prod_##SUFFIX##_row,                                                   \
                     .cols = prod_##SUFFIX##_cols,                                                 \
                     .join = prod_##SUFFIX##_join,                                                 \
                     .finish = bytes == 8 ? finish_8 : finish_16},
static const Fold products[FAC_DTYPES] = {
    FOLD_PROD(I64, i64, I64, 8) FOLD_PROD(F32, f32, F64, 8) FOLD_PROD(F64, f64, F64, 8)
        FOLD_PROD(C64, c64, C128, 16) FOLD_PROD(C128, c128, C128, 16)};

/* --- variance --------------------------------------------------------------------------------- */

/* Accumulators: all means, then all sums of squared distances from the mean, then all counts. */
static void
var_init(void *acc, int64_t lanes)
{
    memset(acc, 0, (size_t)lanes * 3 * sizeof(double));
}

static void
var_join(void *acc, const void *later, int64_t lanes)
{
    double *mean = (double *)acc, *m2 = mean + lanes, *count = m2 + lanes;
    const double *mean2 = (const double *)later, *m22 = mean2 + lanes, *count2 = m22 + lanes;
    for (int64_t j = 0; j < lanes; j++) {
        double total = count[j] + count2[j], d = mean2[j] - mean[j];
        double share = total > 0 ? count2[j] / total : 0;
        mean[j] += d * share;
        m2[j] += m22[j] + d * d * count[j] * share;
        count[j] = total;
    }
}

static void
var_finish(const void *acc, int64_t lanes, void *const *out, const FoldArgs *args)
{
    const double *m2 = (const double *)acc + lanes;
    double divisor = args->count - args->correction;
    if (divisor < 0) divisor = 0;
    for (int64_t j = 0; j < lanes; j++) ((double *)out[0])[j] = m2[j] / divisor;
}

static void
std_finish(const void *acc, int64_t lanes, void *const *out, const FoldArgs *args)
{
    var_finish(acc, lanes, out, args);
    for (int64_t j = 0; j < lanes; j++) ((double *)out[0])[j] = sqrt(((double *)out[0])[j]);
}

/* A run is taken in blocks that stay in L1: their mean, then distances from it, then one
 * joining. */
#define VARIANCE(SUFFIX, T)                                                                        \
    static void var_##SUFFIX##_row(void *acc, int64_t lanes, int64_t lane, const void *from,       \
                                   int64_t n, int64_t first)                                       \
    {                                                                                              \
        enum { BLOCK = 2048, LANES = 32 };                                                         \
        const T *x = (const T *)from;                                                              \
        double *mean = (double *)acc + lane;                                                       \
        double whole[3] = {mean[0], mean[lanes], mean[2 * lanes]};                                 \
        (void)first;                                                                               \
        for (int64_t done = 0; done < n; done += BLOCK, x += BLOCK) {                              \
            int64_t m = n - done < BLOCK ? n - done : BLOCK, i = 0;                                \
            double part[3] = {sum_##SUFFIX##_block(x, m) / (double)m, 0, (double)m};               \
            double lane_sum[LANES] = {0};                                                          \
            for (; i + LANES <= m; i += LANES)                                                     \
                for (int j = 0; j < LANES; j++) {                                                  \
                    double d = (double)x[i + j] - part[0];                                         \
                    lane_sum[j] += d * d;                                                          \
                }                                                                                  \
            for (int j = 0; j < LANES; j++) part[1] += lane_sum[j];                                \
            for (; i < m; i++) part[1] += ((double)x[i] - part[0]) * ((double)x[i] - part[0]);     \
            var_join(whole, part, 1);                                                              \
        }                                                                                          \
        for (int k = 0; k < 3; k++) mean[k * lanes] = whole[k];                                    \
    }                                                                                              \
    static void var_##SUFFIX##_cols(void *acc, int64_t lanes, const void *from, int64_t row_bytes, \
                                    int64_t rows, int64_t first)                                   \
    {                                                                                              \
        double *restrict mean = (double *)acc, *restrict m2 = mean + lanes;                        \
        double *count = mean + 2 * lanes, seen = count[0];                                         \
        (void)first;                                                                               \
        for (const char *at = (const char *)from; rows > 0; rows--, at += row_bytes) {             \
            double share = 1 / ++seen;                                                             \
            for (int64_t j = 0; j < lanes; j++) {                                                  \
                double x = (double)((const T *)at)[j], d = x - mean[j];                            \
                mean[j] += d * share;                                                              \
                m2[j] += d * (x - mean[j]);                                                        \
            }                                                                                      \
        }                                                                                          \
        for (int64_t j = 0; j < lanes; j++) count[j] = seen;                                       \
    }
VARIANCE(f32, float)
VARIANCE(f64, double)

#define FOLD_VAR(DT, SUFFIX, finisher)                                                             \
    [FAC_DT_##DT] = {.load = FAC_DT_##DT,                                                          \
                     .element = FAC_DT_##DT,                                                       \
                     .result = {FAC_DT_F64, FAC_DT_NONE},                                          \
                     .acc_bytes = 24,                                                              \
                     .init = var_init,                                                             \
                     .row = var_##SUFFIX##_row,                                                    \
                     .cols = var_##SUFFIX##_cols,                                                  \
                     .join = var_join,                                                             \
                     .finish = finisher},
static const Fold variances[FAC_DTYPES] = {FOLD_VAR(F32, f32, var_finish)
                                               FOLD_VAR(F64, f64, var_finish)};
static const Fold deviations[FAC_DTYPES] = {FOLD_VAR(F32, f32, std_finish)
                                                FOLD_VAR(F64, f64, std_finish)};

/* --- norms ------------------------------------------------------------------------------------ */

static void
root_2(const void *acc, int64_t lanes, void *const *out, const FoldArgs *args)
{
    (void)args;
    for (int64_t j = 0; j < lanes; j++) ((double *)out[0])[j] = sqrt(((const double *)acc)[j]);
}

static void
root_p(const void *acc, int64_t lanes, void *const *out, const FoldArgs *args)
{
    for (int64_t j = 0; j < lanes; j++)
        ((double *)out[0])[j] = pow(((const double *)acc)[j], 1 / args->order);
}

#define MAGNITUDE(SUFFIX, T, PART)                                                                 \
    static void map_abs_##SUFFIX(const void *x, void *y, int64_t n, const FoldArgs *args)          \
    {                                                                                              \
        (void)args;                                                                                \
        for (int64_t i = 0; i < n; i++) ((PART *)y)[i] = fx_abs_##SUFFIX(((const T *)x)[i]);       \
    }                                                                                              \
    static void map_pow_##SUFFIX(const void *x, void *y, int64_t n, const FoldArgs *args)          \
    {                                                                                              \
        for (int64_t i = 0; i < n; i++)                                                            \
            ((double *)y)[i] =                                                                     \
                fx_pow_f64((double)fx_abs_##SUFFIX(((const T *)x)[i]), args->order);               \
    }
MAGNITUDE(f32, float, float)
MAGNITUDE(f64, double, double)
MAGNITUDE(c64, fac_c64, float)
MAGNITUDE(c128, fac_c128, double)

/* Norms of orders other than 2 map elements to magnitudes or their powers, then fold those. */
typedef struct NormFolds {
    Fold abs_sum, squares, powers;
    void (*magnitudes)(const void *x, void *y, int64_t n, const FoldArgs *args);
    FacDType part; /* of the magnitudes */
} NormFolds;
#define NORM_ROW(DT, PART_DT, SUFFIX, PART)                                                        \
    [FAC_DT_##DT] = {                                                                              \
        .abs_sum = {FAC_DT_##DT,                                                                   \
                    FAC_DT_##PART_DT,                                                              \
                    {FAC_DT_F64, FAC_DT_NONE},                                                     \
                    8,                                                                             \
                    map_abs_##SUFFIX,                                                              \
                    zero_f64,                                                                      \
                    sum_##PART##_row,                                                              \
                    sum_##PART##_cols,                                                             \
                    add_f64,                                                                       \
                    finish_8},                                                                     \
        .squares = {FAC_DT_##DT,                                                                   \
                    FAC_DT_##PART_DT,                                                              \
                    {FAC_DT_F64, FAC_DT_NONE},                                                     \
                    8,                                                                             \
                    FAC_DT_##DT == FAC_DT_##PART_DT ? NULL : map_abs_##SUFFIX,                     \
                    zero_f64,                                                                      \
                    squares_##PART##_row,                                                          \
                    squares_##PART##_cols,                                                         \
                    add_f64,                                                                       \
                    root_2},                                                                       \
        .powers = {FAC_DT_##DT,                                                                    \
                   FAC_DT_F64,                                                                     \
                   {FAC_DT_F64, FAC_DT_NONE},                                                      \
                   8,                                                                              \
                   map_pow_##SUFFIX,                                                               \
                   zero_f64,                                                                       \
                   sum_f64_row,                                                                    \
                   sum_f64_cols,                                                                   \
                   add_f64,                                                                        \
                   root_p},                                                                        \
        .magnitudes = map_abs_##SUFFIX,                                                            \
        .part = FAC_DT_##PART_DT,                                                                  \
    },
static const NormFolds norms[FAC_DTYPES] = {NORM_ROW(F32, F32, f32, f32) NORM_ROW(
    F64, F64, f64, f64) NORM_ROW(C64, F32, c64, f32) NORM_ROW(C128, F64, c128, f64)};

/* --- kernels ---------------------------------------------------------------------------------- */

static FacStatus
reduce(FacCall *call, const Fold *fold, FoldArgs *args)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    bool is_truth = fold == FAC_TIERED(truth_fold)(false) || fold == FAC_TIERED(truth_fold)(true);
    uint64_t mask;
    FAC_RETURN_IF_ERROR(fac_reduce_mask(call, t, !is_truth, &mask));
    return FAC_TIERED(fold_tensor)(fold, args, t, mask, fac_result_tensor(call, 0), NULL);
}

static FacStatus
reduce_by(FacCall *call, const Fold *folds)
{
    FoldArgs args = {0};
    return reduce(call, &folds[call->compute], &args);
}

/* Sums and products that are asked for as bool are truth values. */
static FacStatus
reduce_sum(FacCall *call, const Fold *folds, const Fold *truth)
{
    FoldArgs args = {0};
    bool is_bool = fac_result_tensor(call, 0)->dtype == FAC_DT_BOOL;
    return reduce(call, is_bool ? truth : &folds[call->compute], &args);
}

FacStatus
FAC_KERNEL(sum)(FacCall *call)
{
    FoldArgs args = {0};
    if (fac_arg_tensor(call, 0)->dtype == FAC_DT_BF16 && call->compute == FAC_DT_F32)
        return reduce(call, &sum_of_bf16, &args);
    return reduce_sum(call, sums, FAC_TIERED(truth_fold)(false));
}

FacStatus
FAC_KERNEL(nansum)(FacCall *call)
{
    return reduce_sum(call, nansums, FAC_TIERED(truth_fold)(false));
}

FacStatus
FAC_KERNEL(prod)(FacCall *call)
{
    return reduce_sum(call, products, FAC_TIERED(truth_fold)(true));
}

FacStatus
FAC_KERNEL(mean)(FacCall *call)
{
    FoldArgs args = {0};
    if (fac_arg_tensor(call, 0)->dtype == FAC_DT_BF16 && call->compute == FAC_DT_F32)
        return reduce(call, &mean_of_bf16, &args);
    return reduce_by(call, means);
}

FacStatus
FAC_KERNEL(count_nonzero)(FacCall *call)
{
    return reduce_by(call, counts);
}

/* The variance of complex numbers is the sum of those of their parts. */
static FacStatus
complex_variance(const FacTensor *t, FoldArgs *args, uint64_t mask, bool root, FacTensor *result)
{
    FacDType part = (FacDType)fac_dtype_info[t->dtype].real;
    FacDType compute = (FacDType)fac_dtype_info[part].compute;
    const size_t size = fac_dtype_info[part].size;
    FacDim strides[FAC_MAX_NDIM];
    size_t bytes = (size_t)result->numel * 2 * sizeof(double);
    double *parts = (double *)fac_mem_alloc(bytes ? bytes : 1);
    FacStatus st = FAC_OK;
    if (!parts) return fac_mem_error(bytes);
    for (int d = 0; d < t->ndim; d++) strides[d] = 2 * t->strides[d];
    for (int k = 0; k < 2; k++) {
        const char *data = (const char *)fac_data(t);
        FoldOut out[2] = {{parts + k * result->numel, FAC_DT_F64}, {NULL, FAC_DT_NONE}};
        FAC_TRY(FAC_TIERED(fold_memory)(&variances[compute], args,
                                        data ? data + (size_t)k * size : NULL, part, t->ndim,
                                        t->sizes, strides, mask, out));
    }
    for (int64_t i = 0; i < result->numel; i++) {
        parts[i] += parts[result->numel + i];
        if (root) parts[i] = sqrt(parts[i]);
    }
    fac_casts[FAC_DT_F64][result->dtype](parts, fac_data(result), result->numel);
done:
    fac_mem_free(parts);
    return st;
}

static FacStatus
variance(FacCall *call, bool root)
{
    FacTensor *t = fac_arg_tensor(call, 0), *result = fac_result_tensor(call, 0);
    FacValue correction = fac_arg_named(call, "correction");
    FoldArgs args = {.correction = correction.tag == FAC_V_NONE ? 1 : fac_v_as_float(correction)};
    uint64_t mask;
    FAC_RETURN_IF_ERROR(fac_reduce_mask(call, t, true, &mask));
    if (FAC_IS_COMPLEX(t->dtype)) return complex_variance(t, &args, mask, root, result);
    const Fold *fold = root ? &deviations[call->compute] : &variances[call->compute];
    return FAC_TIERED(fold_tensor)(fold, &args, t, mask, result, NULL);
}

FacStatus
FAC_KERNEL(var)(FacCall *call)
{
    return variance(call, false);
}

FacStatus
FAC_KERNEL(std)(FacCall *call)
{
    return variance(call, true);
}

FacStatus
FAC_KERNEL(vector_norm)(FacCall *call)
{
    const NormFolds *n = &norms[call->compute];
    FoldArgs args = {.order = fac_v_as_float(call->args[1])};
    if (isinf(args.order)) {
        Fold extreme = *FAC_TIERED(extreme_fold)(n->part, args.order > 0);
        extreme.load = n->abs_sum.load;
        extreme.map = n->magnitudes;
        return reduce(call, &extreme, &args);
    }
    const Fold *fold = args.order == 2   ? &n->squares
                       : args.order == 1 ? &n->abs_sum
                       : args.order == 0 ? &counts[FAC_DT_BOOL]
                                         : &n->powers;
    return reduce(call, fold, &args);
}
