/* extreme.c - the kernels of largest and smallest elements, with and without their positions, of any
 * and all, and of logsumexp.
 *
 * Folds (fold.h) by compute dtype, written once in fold_extreme.h. What other reductions need of
 * them, they ask for with extreme_fold and truth_fold. A fold of logsumexp keeps the largest element
 * that it has seen and the sum of exp(x - largest), and rescales the sum where a larger one comes.
 */
#include "kernels/cpu/fold.h"
#include "kernels/reduce_args.h"
#include "kernels/scalar.h"

/* --- extremes --------------------------------------------------------------------------------- */

#define T uint8_t
#define SUFFIX u8
#define LOWEST 0
#define HIGHEST UINT8_MAX
#define IS_NAN(x) false
#include "kernels/cpu/fold_extreme.h"

#define T int8_t
#define SUFFIX i8
#define LOWEST INT8_MIN
#define HIGHEST INT8_MAX
#define IS_NAN(x) false
#include "kernels/cpu/fold_extreme.h"

#define T int16_t
#define SUFFIX i16
#define LOWEST INT16_MIN
#define HIGHEST INT16_MAX
#define IS_NAN(x) false
#include "kernels/cpu/fold_extreme.h"

#define T int32_t
#define SUFFIX i32
#define LOWEST INT32_MIN
#define HIGHEST INT32_MAX
#define IS_NAN(x) false
#include "kernels/cpu/fold_extreme.h"

#define T uint64_t
#define SUFFIX u64
#define LOWEST 0
#define HIGHEST UINT64_MAX
#define IS_NAN(x) false
#include "kernels/cpu/fold_extreme.h"

#define T int64_t
#define SUFFIX i64
#define LOWEST INT64_MIN
#define HIGHEST INT64_MAX
#define IS_NAN(x) false
#include "kernels/cpu/fold_extreme.h"

#define T float
#define SUFFIX f32
#define LOWEST (-INFINITY)
#define HIGHEST INFINITY
#define IS_NAN(x) ((x) != (x))
#define TIMES_0(x, sum) fx_fma_f32(x, 0, sum)
#include "kernels/cpu/fold_extreme.h"

#define T double
#define SUFFIX f64
#define LOWEST (-(double)INFINITY)
#define HIGHEST ((double)INFINITY)
#define IS_NAN(x) ((x) != (x))
#define TIMES_0(x, sum) fx_fma_f64(x, 0, sum)
#include "kernels/cpu/fold_extreme.h"

/* X(dtype, what it is loaded as, suffix of that, bytes); bool is ordered as uint8, rare dtypes as
 * wider ones */
#define ORDERED(X)                                                                                 \
    X(BOOL, BOOL, u8, 1)                                                                           \
    X(U8, U8, u8, 1)                                                                               \
    X(I8, I8, i8, 1)                                                                               \
    X(U16, I32, i32, 4)                                                                            \
    X(I16, I16, i16, 2)                                                                            \
    X(U32, I64, i64, 8)                                                                            \
    X(I32, I32, i32, 4)                                                                            \
    X(U64, U64, u64, 8)                                                                            \
    X(I64, I64, i64, 8)                                                                            \
    X(F32, F32, f32, 4)                                                                            \
    X(F64, F64, f64, 8)

#define FOLD_EXTREME(DT, AS, SUFFIX, bytes, sense)                                                 \
    [FAC_DT_##DT] = {.load = FAC_DT_##AS,                                                          \
                     .element = FAC_DT_##AS,                                                       \
                     .result = {FAC_DT_##AS, FAC_DT_NONE},                                         \
                     .acc_bytes = bytes,                                                           \
                     .init = sense##_init_##SUFFIX,                                                \
                     .row = sense##_row_##SUFFIX,                                                  \
                     .cols = sense##_cols_##SUFFIX,                                                \
                     .join = sense##_join_##SUFFIX,                                                \
                     .finish = extreme_finish_##SUFFIX},
#define FOLD_ARG(DT, AS, SUFFIX, bytes, sense)                                                     \
    [FAC_DT_##DT] = {.load = FAC_DT_##AS,                                                          \
                     .element = FAC_DT_##AS,                                                       \
                     .result = {FAC_DT_##AS, FAC_DT_I64},                                          \
                     .acc_bytes = 8 + bytes,                                                       \
                     .init = arg_init_##SUFFIX,                                                    \
                     .row = arg##sense##_row_##SUFFIX,                                             \
                     .cols = arg##sense##_cols_##SUFFIX,                                           \
                     .join = arg##sense##_join_##SUFFIX,                                           \
                     .finish = arg_finish_##SUFFIX},
#define FOLD_MAX(DT, AS, SUFFIX, bytes) FOLD_EXTREME(DT, AS, SUFFIX, bytes, max)
#define FOLD_MIN(DT, AS, SUFFIX, bytes) FOLD_EXTREME(DT, AS, SUFFIX, bytes, min)
#define FOLD_ARGMAX(DT, AS, SUFFIX, bytes) FOLD_ARG(DT, AS, SUFFIX, bytes, max)
#define FOLD_ARGMIN(DT, AS, SUFFIX, bytes) FOLD_ARG(DT, AS, SUFFIX, bytes, min)
static const Fold maxima[FAC_DTYPES] = {ORDERED(FOLD_MAX)};
static const Fold minima[FAC_DTYPES] = {ORDERED(FOLD_MIN)};
static const Fold argmaxima[FAC_DTYPES] = {ORDERED(FOLD_ARGMAX)};
static const Fold argminima[FAC_DTYPES] = {ORDERED(FOLD_ARGMIN)};

/* all() of nothing is 255 here, which is as true as 1. */
static void
finish_truth(const void *acc, int64_t lanes, void *const *out, const FoldArgs *args)
{
    (void)args;
    for (int64_t j = 0; j < lanes; j++) ((uint8_t *)out[0])[j] = ((const uint8_t *)acc)[j] != 0;
}

#define FOLD_TRUTH(sense)                                                                          \
    {.load = FAC_DT_BOOL,                                                                          \
     .element = FAC_DT_BOOL,                                                                       \
     .result = {FAC_DT_BOOL, FAC_DT_NONE},                                                         \
     .acc_bytes = 1,                                                                               \
     .init = sense##_init_u8,                                                                      \
     .row = sense##_row_u8,                                                                        \
     .cols = sense##_cols_u8,                                                                      \
     .join = sense##_join_u8,                                                                      \
     .finish = finish_truth}
static const Fold any_true = FOLD_TRUTH(max);
static const Fold all_true = FOLD_TRUTH(min);

/* --- logsumexp -------------------------------------------------------------------------------- */

/* Accumulators: all largest elements, then all sums. exp is taken of differences to a number that
 * is finite, so that infinities stay what they are. */
#define FINITE(x) (fx_isfinite_f64(x) ? (x) : 0)

static void
lse_init(void *acc, int64_t lanes)
{
    double *largest = (double *)acc, *sum = largest + lanes;
    for (int64_t j = 0; j < lanes; j++) {
        largest[j] = -(double)INFINITY;
        sum[j] = 0;
    }
}

/* The sum over exp(x - from) becomes that over exp(x - to). */
static inline double
lse_rescale(double sum, double from, double to)
{
    return sum == 0 ? 0 : sum * fx_exp_f64(FINITE(from) - FINITE(to));
}

static void
lse_join(void *acc, const void *later, int64_t lanes)
{
    double *largest = (double *)acc, *sum = largest + lanes;
    const double *largest2 = (const double *)later, *sum2 = largest2 + lanes;
    for (int64_t j = 0; j < lanes; j++) {
        double best = best_f64(largest[j], largest2[j], true);
        sum[j] = lse_rescale(sum[j], largest[j], best) + lse_rescale(sum2[j], largest2[j], best);
        largest[j] = best;
    }
}

static void
lse_finish(const void *acc, int64_t lanes, void *const *out, const FoldArgs *args)
{
    const double *largest = (const double *)acc, *sum = largest + lanes;
    (void)args;
    for (int64_t j = 0; j < lanes; j++)
        ((double *)out[0])[j] = FINITE(largest[j]) + fx_log_f64(sum[j]);
}

/* A run in blocks that stay in L1: their largest element, the sum, then one joining. Columns in
 * groups of rows, so that rescaling is rare. */
#define LOGSUMEXP(SUFFIX, T)                                                                       \
    static void lse_##SUFFIX##_row(void *acc, int64_t lanes, int64_t lane, const void *from,       \
                                   int64_t n, int64_t first)                                       \
    {                                                                                              \
        enum { BLOCK = 2048, LANES = 64 };                                                         \
        double *largest = (double *)acc + lane, whole[2] = {largest[0], largest[lanes]};           \
        (void)first;                                                                               \
        for (int64_t done = 0; done < n; done += BLOCK) {                                          \
            const T *x = (const T *)from + done;                                                   \
            int64_t m = n - done < BLOCK ? n - done : BLOCK, i = 0;                                \
            T best = run_max_##SUFFIX(x, m, (T) - INFINITY);                                       \
            T base = fx_isfinite_##SUFFIX(best) ? best : 0, sum[LANES] = {0};                      \
            double part[2] = {(double)best, 0};                                                    \
            for (; i + LANES <= m; i += LANES)                                                     \
                for (int j = 0; j < LANES; j++) sum[j] += fx_exp_##SUFFIX(x[i + j] - base);        \
            for (int j = 0; i + j < m; j++) sum[j] += fx_exp_##SUFFIX(x[i + j] - base);            \
            for (int j = 0; j < LANES; j++) part[1] += (double)sum[j];                             \
            lse_join(whole, part, 1);                                                              \
        }                                                                                          \
        largest[0] = whole[0];                                                                     \
        largest[lanes] = whole[1];                                                                 \
    }                                                                                              \
    static void lse_##SUFFIX##_cols(void *acc, int64_t lanes, const void *from, int64_t row_bytes, \
                                    int64_t rows, int64_t first)                                   \
    {                                                                                              \
        enum { GROUP = 32 };                                                                       \
        double part[2 * FOLD_LANES];                                                               \
        T best[FOLD_LANES], base[FOLD_LANES], sum[FOLD_LANES];                                     \
        const char *at = (const char *)from;                                                       \
        (void)first;                                                                               \
        for (int64_t m; rows > 0; rows -= m, at += m * row_bytes) {                                \
            m = rows < GROUP ? rows : GROUP;                                                       \
            for (int64_t j = 0; j < lanes; j++) best[j] = (T) - INFINITY;                          \
            columns_best_##SUFFIX(best, at, row_bytes, m, lanes, true);                            \
            for (int64_t j = 0; j < lanes; j++) {                                                  \
                base[j] = fx_isfinite_##SUFFIX(best[j]) ? best[j] : 0;                             \
                sum[j] = 0;                                                                        \
            }                                                                                      \
            for (int64_t r = 0; r < m; r++)                                                        \
                for (int64_t j = 0; j < lanes; j++)                                                \
                    sum[j] += fx_exp_##SUFFIX(((const T *)(at + r * row_bytes))[j] - base[j]);     \
            for (int64_t j = 0; j < lanes; j++) {                                                  \
                part[j] = (double)best[j];                                                         \
                part[lanes + j] = (double)sum[j];                                                  \
            }                                                                                      \
            lse_join(acc, part, lanes);                                                            \
        }                                                                                          \
    }
LOGSUMEXP(f32, float)
LOGSUMEXP(f64, double)

#define FOLD_LSE(DT, SUFFIX)                                                                       \
    [FAC_DT_##DT] = {.load = FAC_DT_##DT,                                                          \
                     .element = FAC_DT_##DT,                                                       \
                     .result = {FAC_DT_F64, FAC_DT_NONE},                                          \
                     .acc_bytes = 16,                                                              \
                     .init = lse_init,                                                             \
                     .row = lse_##SUFFIX##_row,                                                    \
                     .cols = lse_##SUFFIX##_cols,                                                  \
                     .join = lse_join,                                                             \
                     .finish = lse_finish},
static const Fold log_sums[FAC_DTYPES] = {FOLD_LSE(F32, f32) FOLD_LSE(F64, f64)};

/* --- kernels ---------------------------------------------------------------------------------- */

const Fold *
FAC_TIERED(extreme_fold)(FacDType dtype, bool largest)
{
    return largest ? &maxima[dtype] : &minima[dtype];
}

const Fold *
FAC_TIERED(truth_fold)(bool all)
{
    return all ? &all_true : &any_true;
}

/* An empty list of dims means all of them, but for any and all. */
static FacStatus
reduce(FacCall *call, const Fold *fold, bool empty_means_all)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FoldArgs args = {0};
    uint64_t mask;
    FAC_RETURN_IF_ERROR(fac_reduce_mask(call, t, empty_means_all, &mask));
    return FAC_TIERED(fold_tensor)(fold, &args, t, mask, fac_result_tensor(call, 0), NULL);
}

FacStatus
FAC_KERNEL(amax)(FacCall *call)
{
    return reduce(call, &maxima[call->compute], true);
}

FacStatus
FAC_KERNEL(amin)(FacCall *call)
{
    return reduce(call, &minima[call->compute], true);
}

/* Bytes are as true as bools: nothing is to be converted. */
static FacStatus
reduce_truth(FacCall *call, Fold fold)
{
    FacDType dtype = (FacDType)fac_arg_tensor(call, 0)->dtype;
    if (dtype == FAC_DT_U8 || dtype == FAC_DT_I8) fold.load = dtype;
    return reduce(call, &fold, false);
}

FacStatus
FAC_KERNEL(any)(FacCall *call)
{
    return reduce_truth(call, any_true);
}

FacStatus
FAC_KERNEL(all)(FacCall *call)
{
    return reduce_truth(call, all_true);
}

/* Extremes with their positions: along one dim, or in the flattened tensor. */
static FacStatus
reduce_arg(FacCall *call, const Fold *folds, FacTensor *values, FacTensor *indices)
{
    FacTensor *t = fac_arg_tensor(call, 0), *flat = NULL;
    FoldArgs args = {0};
    uint64_t mask;
    if (fac_arg_named(call, "dim").tag == FAC_V_INT) {
        FAC_RETURN_IF_ERROR(fac_reduce_mask(call, t, true, &mask));
        return FAC_TIERED(fold_tensor)(&folds[call->compute], &args, t, mask, values, indices);
    }
    FAC_RETURN_IF_ERROR(fac_contiguous(t, FAC_DT_NONE, &flat));
    FacDim size = flat->numel, stride = 1;
    FoldOut out[2] = {{NULL, FAC_DT_NONE}, {fac_data(indices), FAC_DT_I64}};
    FacStatus st = FAC_TIERED(fold_memory)(&folds[call->compute], &args, fac_data(flat),
                                           (FacDType)flat->dtype, 1, &size, &stride, 1, out);
    fac_tensor_release(flat);
    return st;
}

FacStatus
FAC_KERNEL(argmax)(FacCall *call)
{
    return reduce_arg(call, argmaxima, NULL, fac_result_tensor(call, 0));
}

FacStatus
FAC_KERNEL(argmin)(FacCall *call)
{
    return reduce_arg(call, argminima, NULL, fac_result_tensor(call, 0));
}

FacStatus
FAC_KERNEL(max_dim)(FacCall *call)
{
    return reduce_arg(call, argmaxima, fac_result_tensor(call, 0), fac_result_tensor(call, 1));
}

FacStatus
FAC_KERNEL(min_dim)(FacCall *call)
{
    return reduce_arg(call, argminima, fac_result_tensor(call, 0), fac_result_tensor(call, 1));
}

FacStatus
FAC_KERNEL(logsumexp)(FacCall *call)
{
    return reduce(call, &log_sums[call->compute], true);
}
