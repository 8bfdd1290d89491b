/* scan.c - running sums, products, log-sum-exps and extremes along one dimension.
 *
 * The input is seen as [outer, n, inner] in C order. With inner == 1 each row is one long chain of
 * dependent steps; otherwise 256 columns go down together, by vectors. Rows, or blocks of columns,
 * are independent and run in the pool. Elements pass through blocks in L1 where dtypes differ;
 * floats accumulate in double.
 */
#include "kernels/cpu/kernel.h"
#include "kernels/reduce_args.h"
#include "kernels/scalar.h"

enum { LANES = 256, BLOCK = 512, ACC_MAX = 16, GRAIN = 16384 };

/* y[i] = carry = step(carry, x[i]) for a run of one lane, from the end if `back`; and one row of
 * many lanes. The scans with positions write them to `index`. */
typedef struct Scan {
    FacDType element;
    void (*init)(void *carry, int64_t lanes);
    void (*run)(void *carry, const void *x, void *y, int64_t *index, int64_t n, int64_t first);
    void (*row)(void *carry, const void *x, void *y, int64_t *index, int64_t lanes, int64_t at);
    bool back;
} Scan;

typedef struct Job {
    const Scan *scan;
    const char *from;
    char *to;
    int64_t *index; /* the second result, or NULL */
    FacDType from_dtype, to_dtype;
    int64_t n, inner, blocks; /* blocks of lanes in `inner` */
} Job;

/* --- steps ------------------------------------------------------------------------------------ */

#define INIT(name, ACC, ONE)                                                                       \
    static void name##_init(void *carry, int64_t lanes)                                            \
    {                                                                                              \
        for (int64_t j = 0; j < lanes; j++) ((ACC *)carry)[j] = ONE;                               \
    }

#define STEPS(name, T, ACC, STEP, NARROW)                                                          \
    static void name##_run(void *carry, const void *x, void *y, int64_t *index, int64_t n,         \
                           int64_t first)                                                          \
    {                                                                                              \
        ACC a = *(ACC *)carry;                                                                     \
        (void)index;                                                                               \
        (void)first;                                                                               \
        for (int64_t i = 0; i < n; i++) {                                                          \
            a = STEP(a, ((const T *)x)[i]);                                                        \
            ((T *)y)[i] = NARROW(a);                                                               \
        }                                                                                          \
        *(ACC *)carry = a;                                                                         \
    }                                                                                              \
    static void name##_row(void *carry, const void *x, void *y, int64_t *index, int64_t lanes,     \
                           int64_t at)                                                             \
    {                                                                                              \
        ACC *restrict a = (ACC *)carry;                                                            \
        T *restrict to = (T *)y;                                                                   \
        (void)index;                                                                               \
        (void)at;                                                                                  \
        for (int64_t j = 0; j < lanes; j++) {                                                      \
            a[j] = STEP(a[j], ((const T *)x)[j]);                                                  \
            to[j] = NARROW(a[j]);                                                                  \
        }                                                                                          \
    }

#define BACK_RUN(name, T, ACC, STEP, NARROW)                                                       \
    static void name##_run_back(void *carry, const void *x, void *y, int64_t *index, int64_t n,    \
                                int64_t first)                                                     \
    {                                                                                              \
        ACC a = *(ACC *)carry;                                                                     \
        (void)index;                                                                               \
        (void)first;                                                                               \
        for (int64_t i = n - 1; i >= 0; i--) {                                                     \
            a = STEP(a, ((const T *)x)[i]);                                                        \
            ((T *)y)[i] = NARROW(a);                                                               \
        }                                                                                          \
        *(ACC *)carry = a;                                                                         \
    }

#define PLUS(a, x) ((a) + (x))
#define TIMES(a, x) ((a) * (x))
#define SAME(a) (a)
#define TO_F32(a) ((float)(a))
#define WIDE(x) fx_complex_c128((double)(x).re, (double)(x).im)
#define TO_C64(a) fx_complex_c64((float)(a).re, (float)(a).im)
#define PLUS_C64(a, x) fx_add_c128(a, WIDE(x))
#define TIMES_C64(a, x) fx_mul_c128(a, WIDE(x))
#define LOGADD(a, x) fx_logaddexp_f64(a, (double)(x))
#define LOGADD_C64(a, x) fx_logaddexp_c128(a, WIDE(x))
#define ONE_C128 ((fac_c128){1, 0})
#define ZERO_C128 ((fac_c128){0, 0})
#define LOG_ZERO_C128 ((fac_c128){-(double)INFINITY, 0})

INIT(sum_i64, int64_t, 0)
INIT(sum_f64, double, 0)
INIT(sum_c128, fac_c128, ZERO_C128)
INIT(prod_i64, int64_t, 1)
INIT(prod_f64, double, 1)
INIT(prod_c128, fac_c128, ONE_C128)
INIT(log_f64, double, -(double)INFINITY)
INIT(log_c128, fac_c128, LOG_ZERO_C128)

/* A piece as m + log of sums of exp(x - m), which vectors do but for the additions, where the sums to
 * be taken differ by a factor of at most exp(FEW); else step by step. */
#define LOG_RUN(name, T, NARROW)                                                                   \
    static void name##_pieces(void *carry, const void *from, void *to, int64_t *index, int64_t n,  \
                              int64_t first)                                                       \
    {                                                                                              \
        enum { FEW = 32 };                                                                         \
        const T *x = (const T *)from;                                                              \
        double sums[BLOCK], before = *(double *)carry, m = before;                                 \
        for (int64_t i = 0; i < n; i++) m = (double)x[i] > m ? (double)x[i] : m;                   \
        if (!(m - before < FEW || m - (double)x[0] < FEW)) {                                       \
            name##_run(carry, from, to, index, n, first);                                          \
            return;                                                                                \
        }                                                                                          \
        double sum = fx_exp_f64(before - m);                                                       \
        for (int64_t i = 0; i < n; i++) sums[i] = fx_exp_f64((double)x[i] - m);                    \
        for (int64_t i = 0; i < n; i++) sums[i] = sum += sums[i];                                  \
        for (int64_t i = 0; i < n; i++) sums[i] = m + fx_log_f64(sums[i]);                         \
        for (int64_t i = 0; i < n; i++) ((T *)to)[i] = NARROW(sums[i]);                            \
        *(double *)carry = sums[n - 1];                                                            \
    }

/* M(name, element, accumulator, step, narrowing) */
#define SUM_STEPS(M)                                                                               \
    M(sum_i64, int64_t, int64_t, PLUS, SAME)                                                       \
    M(sum_f32, float, double, PLUS, TO_F32)                                                        \
    M(sum_f64, double, double, PLUS, SAME)                                                         \
    M(sum_c64, fac_c64, fac_c128, PLUS_C64, TO_C64)                                                \
    M(sum_c128, fac_c128, fac_c128, fx_add_c128, SAME)
SUM_STEPS(STEPS)
SUM_STEPS(BACK_RUN)
STEPS(prod_i64, int64_t, int64_t, TIMES, SAME)
STEPS(prod_f32, float, double, TIMES, TO_F32)
STEPS(prod_f64, double, double, TIMES, SAME)
STEPS(prod_c64, fac_c64, fac_c128, TIMES_C64, TO_C64)
STEPS(prod_c128, fac_c128, fac_c128, fx_mul_c128, SAME)
STEPS(log_f32, float, double, LOGADD, TO_F32)
STEPS(log_f64, double, double, LOGADD, SAME)
LOG_RUN(log_f32, float, TO_F32)
LOG_RUN(log_f64, double, SAME)
STEPS(log_c64, fac_c64, fac_c128, LOGADD_C64, TO_C64)
STEPS(log_c128, fac_c128, fac_c128, fx_logaddexp_c128, SAME)

#define SUM_ROW(DT, name, init)                                                                    \
    [FAC_DT_##DT] = {FAC_DT_##DT, init##_init, name##_run, name##_row, false},
#define BACK_ROW(DT, name, init)                                                                   \
    [FAC_DT_##DT] = {FAC_DT_##DT, init##_init, name##_run_back, name##_row, true},
static const Scan sums[FAC_DTYPES] = {
    SUM_ROW(I64, sum_i64, sum_i64) SUM_ROW(F32, sum_f32, sum_f64) SUM_ROW(F64, sum_f64, sum_f64)
        SUM_ROW(C64, sum_c64, sum_c128) SUM_ROW(C128, sum_c128, sum_c128)};
static const Scan sums_back[FAC_DTYPES] = {
    BACK_ROW(I64, sum_i64, sum_i64) BACK_ROW(F32, sum_f32, sum_f64) BACK_ROW(F64, sum_f64, sum_f64)
        BACK_ROW(C64, sum_c64, sum_c128) BACK_ROW(C128, sum_c128, sum_c128)};
static const Scan products[FAC_DTYPES] = {SUM_ROW(I64, prod_i64, prod_i64) SUM_ROW(
    F32, prod_f32, prod_f64) SUM_ROW(F64, prod_f64, prod_f64) SUM_ROW(C64, prod_c64, prod_c128)
                                              SUM_ROW(C128, prod_c128, prod_c128)};
#define LOG_ROW(DT, name)                                                                          \
    [FAC_DT_##DT] = {FAC_DT_##DT, log_f64_init, name##_pieces, name##_row, false},
static const Scan log_sums[FAC_DTYPES] = {LOG_ROW(F32, log_f32) LOG_ROW(F64, log_f64) SUM_ROW(
    C64, log_c64, log_c128) SUM_ROW(C128, log_c128, log_c128)};

/* --- extremes with positions ------------------------------------------------------------------ */

/* Carries: the positions of all lanes (-1 at first), then their values. Of equal elements the last
 * one counts; NaN beats everything, itself too. */
#define EXTREME(name, T, BEATS, IS_NAN)                                                            \
    static void name##_run(void *carry, const void *x, void *y, int64_t *index, int64_t n,         \
                           int64_t first)                                                          \
    {                                                                                              \
        int64_t *place = (int64_t *)carry, at = place[0];                                          \
        T *value = (T *)(place + 1), best = value[0];                                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            T v = ((const T *)x)[i];                                                               \
            bool wins = (at < 0) | IS_NAN(v) | (!IS_NAN(best) & (v BEATS best));                   \
            best = wins ? v : best;                                                                \
            at = wins ? first + i : at;                                                            \
            ((T *)y)[i] = best;                                                                    \
            index[i] = at;                                                                         \
        }                                                                                          \
        place[0] = at;                                                                             \
        value[0] = best;                                                                           \
    }                                                                                              \
    static void name##_row(void *carry, const void *x, void *y, int64_t *index, int64_t lanes,     \
                           int64_t at)                                                             \
    {                                                                                              \
        int64_t *place = (int64_t *)carry;                                                         \
        T *value = (T *)(place + lanes);                                                           \
        for (int64_t j = 0; j < lanes; j++) {                                                      \
            T v = ((const T *)x)[j];                                                               \
            bool wins = (place[j] < 0) | IS_NAN(v) | (!IS_NAN(value[j]) & (v BEATS value[j]));     \
            value[j] = wins ? v : value[j];                                                        \
            place[j] = wins ? at : place[j];                                                       \
            ((T *)y)[j] = value[j];                                                                \
            index[j] = place[j];                                                                   \
        }                                                                                          \
    }

static void
place_init(void *carry, int64_t lanes)
{
    memset((int64_t *)carry + lanes, 0, (size_t)lanes * 8);
    for (int64_t j = 0; j < lanes; j++) ((int64_t *)carry)[j] = -1;
}

#define NEVER_NAN(v) false
#define IS_NAN(v) ((v) != (v))
/* X(enumerator, suffix, type, NaN test) */
#define ORDERED(X)                                                                                 \
    X(U8, u8, uint8_t, NEVER_NAN)                                                                  \
    X(I8, i8, int8_t, NEVER_NAN)                                                                   \
    X(U16, u16, uint16_t, NEVER_NAN)                                                               \
    X(I16, i16, int16_t, NEVER_NAN)                                                                \
    X(U32, u32, uint32_t, NEVER_NAN)                                                               \
    X(I32, i32, int32_t, NEVER_NAN)                                                                \
    X(U64, u64, uint64_t, NEVER_NAN)                                                               \
    X(I64, i64, int64_t, NEVER_NAN)                                                                \
    X(F32, f32, float, IS_NAN)                                                                     \
    X(F64, f64, double, IS_NAN)
#define MAX_STEPS(DT, s, T, NAN_TEST) EXTREME(max_##s, T, >=, NAN_TEST)
#define MIN_STEPS(DT, s, T, NAN_TEST) EXTREME(min_##s, T, <=, NAN_TEST)
ORDERED(MAX_STEPS)
ORDERED(MIN_STEPS)

#define MAX_ROW(DT, s, T, NAN_TEST)                                                                \
    [FAC_DT_##DT] = {FAC_DT_##DT, place_init, max_##s##_run, max_##s##_row, false},
#define MIN_ROW(DT, s, T, NAN_TEST)                                                                \
    [FAC_DT_##DT] = {FAC_DT_##DT, place_init, min_##s##_run, min_##s##_row, false},
static const Scan maxima[FAC_DTYPES] = {ORDERED(MAX_ROW) MAX_ROW(BOOL, u8, uint8_t, NEVER_NAN)};
static const Scan minima[FAC_DTYPES] = {ORDERED(MIN_ROW) MIN_ROW(BOOL, u8, uint8_t, NEVER_NAN)};

/* --- the walk --------------------------------------------------------------------------------- */

/* m elements at flat position `at`, through blocks where dtypes differ; lanes 1: a run, else a
 * row. */
static void
step(const Job *job, void *carry, int64_t at, int64_t m, int64_t position, bool is_run)
{
    _Alignas(64) char in[BLOCK * 16], out[BLOCK * 16];
    const Scan *scan = job->scan;
    const char *x = job->from + (size_t)at * fac_dtype_info[job->from_dtype].size;
    char *y = job->to + (size_t)at * fac_dtype_info[job->to_dtype].size, *into = y;
    int64_t *index = job->index ? job->index + at : NULL;
    if (job->from_dtype != scan->element) {
        fac_casts[job->from_dtype][scan->element](x, in, m);
        x = in;
    }
    if (job->to_dtype != scan->element) into = out;
    (is_run ? scan->run : scan->row)(carry, x, into, index, m, position);
    if (into != y) fac_casts[scan->element][job->to_dtype](into, y, m);
}

static void
scan_rows(int64_t begin, int64_t end, void *context)
{
    const Job *job = (const Job *)context;
    for (int64_t row = begin; row < end; row++) {
        _Alignas(16) char carry[ACC_MAX];
        job->scan->init(carry, 1);
        for (int64_t done = 0; done < job->n; done += BLOCK) {
            int64_t m = job->n - done < BLOCK ? job->n - done : BLOCK;
            int64_t at = job->scan->back ? job->n - done - m : done;
            step(job, carry, row * job->n + at, m, at, true);
        }
    }
}

static void
scan_columns(int64_t begin, int64_t end, void *context)
{
    const Job *job = (const Job *)context;
    for (int64_t task = begin; task < end; task++) {
        _Alignas(64) char carry[LANES * ACC_MAX];
        int64_t lane = task % job->blocks * LANES;
        int64_t start = task / job->blocks * job->n * job->inner + lane;
        int64_t lanes = job->inner - lane < LANES ? job->inner - lane : LANES;
        job->scan->init(carry, lanes);
        for (int64_t i = 0; i < job->n; i++) {
            int64_t at = job->scan->back ? job->n - 1 - i : i;
            step(job, carry, start + at * job->inner, lanes, at, false);
        }
    }
}

static FacStatus
scan_by(FacCall *call, const Scan *scans)
{
    FacTensor *self = fac_arg_tensor(call, 0), *result = fac_result_tensor(call, 0), *t = NULL;
    FacTensor *index = call->op->nresults > 1 ? fac_result_tensor(call, 1) : NULL;
    int dim;
    FAC_RETURN_IF_ERROR(fac_reduce_dim(call, self, &dim));
    if (self->numel == 0) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_contiguous(self, FAC_DT_NONE, &t));

    Job job = {.scan = &scans[call->compute],
               .from = (const char *)fac_data(t),
               .to = (char *)fac_data(result),
               .index = index ? (int64_t *)fac_data(index) : NULL,
               .from_dtype = (FacDType)t->dtype,
               .to_dtype = (FacDType)result->dtype,
               .n = 1,
               .inner = 1};
    if (t->ndim) job.n = t->sizes[dim];
    for (int d = dim + 1; d < t->ndim; d++) job.inner *= t->sizes[d];
    int64_t outer = t->numel / (job.n * job.inner);
    if (job.inner == 1) {
        fac_parallel(outer, GRAIN / job.n + 1, scan_rows, &job);
    } else {
        job.blocks = fac_chunks(job.inner, LANES);
        fac_parallel(outer * job.blocks, GRAIN / (job.n * LANES) + 1, scan_columns, &job);
    }
    fac_tensor_release(t);
    return FAC_OK;
}

FacStatus
FAC_KERNEL(cumsum)(FacCall *call)
{
    return scan_by(call, sums);
}

FacStatus
FAC_KERNEL(cumsum_back)(FacCall *call)
{
    return scan_by(call, sums_back);
}

FacStatus
FAC_KERNEL(cumprod)(FacCall *call)
{
    return scan_by(call, products);
}

FacStatus
FAC_KERNEL(logcumsumexp)(FacCall *call)
{
    return scan_by(call, log_sums);
}

FacStatus
FAC_KERNEL(cummax)(FacCall *call)
{
    return scan_by(call, maxima);
}

FacStatus
FAC_KERNEL(cummin)(FacCall *call)
{
    return scan_by(call, minima);
}
