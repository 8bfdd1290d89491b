/* fft.c - Fourier transforms of tensors, one dimension after the other.
 *
 * A dimension is transformed line by line. Lines of neighbours whose length suits the vectors go one by
 * one; all others go side by side, as many as a vector has lanes, which are brought together (and
 * transposed, where a line is a run of memory) as they are loaded. float32 and float64 run through
 * fft_body.h. See kernels/fft_plan.h for the passes, docs/kernels.md for the whole.
 */
#include "kernels/fft_plan.h"

#include "kernels/cpu/gemm_tile.h"

#include <math.h>
#include <string.h>

#pragma GCC optimize("fp-contract=fast")

#if defined(__AVX512F__)
#include "kernels/cpu/fft_turn.h"
#define FFT_TURNS
#define FFT_F32_LANES 16
#define FFT_F64_LANES 8
#elif defined(__AVX2__)
#define FFT_F32_LANES 8
#define FFT_F64_LANES 4
#else
#define FFT_F32_LANES 4
#define FFT_F64_LANES 2
#endif

/* Lanes of two vectors of n: their first and their second halves interleaved, every other one, and the
 * lanes of one vector from the end. */
#define LOW_2 {0, 2}
#define HIGH_2 {1, 3}
#define EVEN_2 {0, 2}
#define ODD_2 {1, 3}
#define REVERSED_2 {1, 0}
#define LOW_4 {0, 4, 1, 5}
#define HIGH_4 {2, 6, 3, 7}
#define EVEN_4 {0, 2, 4, 6}
#define ODD_4 {1, 3, 5, 7}
#define REVERSED_4 {3, 2, 1, 0}
#define LOW_8 {0, 8, 1, 9, 2, 10, 3, 11}
#define HIGH_8 {4, 12, 5, 13, 6, 14, 7, 15}
#define EVEN_8 {0, 2, 4, 6, 8, 10, 12, 14}
#define ODD_8 {1, 3, 5, 7, 9, 11, 13, 15}
#define REVERSED_8 {7, 6, 5, 4, 3, 2, 1, 0}
#define LOW_16 {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}
#define HIGH_16 {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31}
#define EVEN_16 {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30}
#define ODD_16 {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31}
#define REVERSED_16 {15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}
#define FFT_LIST_(name, n) name##_##n
#define FFT_LIST(name, n) FFT_LIST_(name, n)

typedef enum Kind { C2C, R2C, C2R } Kind;

/* One side of the lines: real numbers from `data`; steps and strides count real numbers. */
typedef struct Side {
    char *data;
    int64_t step, part; /* see NAME(Lines) */
    bool real;
    FacDim strides[FAC_MAX_NDIM];
} Side;

/* One dimension of a tensor. */
typedef struct Job {
    FacFftPlan *plan;
    Kind kind;
    bool inverse, halves; /* halves: a real transform of even n, through one of n / 2 pairs */
    int64_t n, loads, stores;
    double scale;
    Side from, to;
    int ndim; /* the other dims, merged, the innermost first */
    FacDim sizes[FAC_MAX_NDIM];
    int64_t lines, inner; /* inner: blocks do not go across lines of so many; 0: they do */
    bool wide;
    const FacFftPlan *matrix; /* columns of a long transform, which this plan turns */
    _Atomic bool failed;      /* a task had no memory */
    int64_t room;             /* numbers of one of the four arrays of a block */
} Job;

/* Between a long transform of pairs and that of real numbers: complex numbers in a row. Chunks have
 * HALVES_CHUNK vectors; the last one has what is left, too. */
typedef struct Halves {
    const FacFftPlan *plan;
    void *from, *to;
    double scale;
    bool back;
    int64_t chunks;
} Halves;

enum { HALVES_CHUNK = 1 << 13 };

/* The lines of a block: the first, and how many. */
static inline int
block_lines(const Job *j, int64_t block, int lanes, int64_t *first)
{
    int64_t end = j->lines;
    if (!j->wide) {
        *first = block;
        return 1;
    }
    if (j->inner) {
        const int64_t blocks = (j->inner + lanes - 1) / lanes, row = block / blocks;
        *first = row * j->inner + block % blocks * lanes;
        end = (row + 1) * j->inner;
    } else {
        *first = block * lanes;
    }
    return (int)(end - *first < lanes ? end - *first : lanes);
}

/* Where a line starts on both sides. */
static inline void
line_at(const Job *j, int64_t line, int64_t at[2])
{
    at[0] = at[1] = 0;
    for (int d = 0; d < j->ndim; d++) {
        const int64_t rest = d == j->ndim - 1 ? 0 : line / j->sizes[d],
                      i = line - rest * j->sizes[d];
        at[0] += i * j->from.strides[d];
        at[1] += i * j->to.strides[d];
        line = rest;
    }
}

#define T float
#define INDEX int32_t
#define LANES FFT_F32_LANES
#define NAME(x) x##_f32
#include "kernels/cpu/fft_body.h"
#undef T
#undef INDEX
#undef LANES
#undef NAME

#define T double
#define INDEX int64_t
#define LANES FFT_F64_LANES
#define NAME(x) x##_f64
#include "kernels/cpu/fft_body.h"
#undef T
#undef INDEX
#undef LANES
#undef NAME

/* --- a dimension ------------------------------------------------------------------------------ */

/* The dims of `to` but for `skip`, merged where both sides allow it. */
static void
merge_dims(Job *j, const FacTensor *from, const FacTensor *to, int skip)
{
    const int64_t from_unit = FAC_IS_COMPLEX(from->dtype) ? 2 : 1;
    const int64_t to_unit = FAC_IS_COMPLEX(to->dtype) ? 2 : 1;
    j->lines = 1;
    for (int d = to->ndim - 1; d >= 0; d--) {
        const FacDim size = to->sizes[d];
        const FacDim a = from->strides[d] * from_unit, b = to->strides[d] * to_unit;
        if (d == skip || size == 1) continue;
        j->lines *= size;
        const int last = j->ndim - 1;
        if (last >= 0 && a == j->from.strides[last] * j->sizes[last] &&
            b == j->to.strides[last] * j->sizes[last]) {
            j->sizes[last] *= size;
            continue;
        }
        j->sizes[j->ndim] = size;
        j->from.strides[j->ndim] = a;
        j->to.strides[j->ndim++] = b;
    }
}

/* Real numbers from step to step along the dimension, and what that means for the pairs of `halves`. */
static void
set_steps(Side *side, const FacTensor *t, int dim, bool halves)
{
    side->data = fac_data(t);
    side->part = 1;
    side->step = t->strides[dim] * 2;
    if (FAC_IS_COMPLEX(t->dtype)) return;
    side->step = t->strides[dim] * (halves ? 2 : 1);
    side->part = halves ? t->strides[dim] : 2;
    side->real = !halves;
}

/* One by one where lines are runs and their length suits the vectors, or where there are few. */
static void
choose_lanes(Job *j, int lanes)
{
    const FacFftPlan *p = j->plan;
    const bool runs = j->from.step <= 2 && j->to.step <= 2;
    const bool suits = runs && (p->inner || p->n % lanes == 0);
    j->wide = !(p->narrow && p->n >= 2 * lanes && (suits || j->lines < 4));
    j->inner = j->wide && !runs && j->ndim && j->sizes[0] >= lanes ? j->sizes[0] : 0;
    j->room = fac_fft_work(p) > j->n ? fac_fft_work(p) : j->n;
    j->room = ((j->room + lanes) / lanes * (j->wide ? lanes : 1) + 1) * lanes;
}

/* Runs the blocks of a job whose plan and sides are set; the number of lines is there. */
static FacStatus
run_blocks(Job *j, int lanes)
{
    int64_t blocks = j->lines;
    if (j->wide && j->inner)
        blocks = j->lines / j->inner * ((j->inner + lanes - 1) / lanes);
    else if (j->wide)
        blocks = (j->lines + lanes - 1) / lanes;
    fac_parallel(blocks, fac_grain(4 * j->room), j->plan->size == 4 ? blocks_f32 : blocks_f64, j);
    return j->failed
               ? fac_error(FAC_MEMORY_ERROR, "no memory for %lld numbers", (long long)(4 * j->room))
               : FAC_OK;
}

/* --- long lines ------------------------------------------------------------------------------- */

/* A matrix of complex numbers from `data`: its columns or rows as the lines of a step. */
static Side
across(Side side, int64_t apart, int64_t step)
{
    side.strides[0] = side.step * apart;
    side.step *= step;
    return side;
}

/* One of the two steps of a long transform: so many lines. */
static FacStatus
long_step(const Job *whole, bool turned, Side from, Side to)
{
    const FacFftPlan *p = whole->plan;
    FacFftPlan *plan = turned ? p->rows : p->columns;
    const int64_t lines = turned ? p->columns->n : p->rows->n;
    Job j = {.plan = plan,
             .kind = C2C,
             .inverse = whole->inverse,
             .n = plan->n,
             .loads = plan->n,
             .stores = plan->n,
             .scale = turned || whole->kind == R2C ? 1 : whole->scale,
             .from = from,
             .to = to,
             .ndim = 1,
             .sizes = {lines},
             .lines = lines,
             .wide = true,
             .matrix = turned ? p : NULL,
             .room = (plan->n + 2) * p->lanes};
    return run_blocks(&j, p->lanes);
}

/* From row to row of the matrix: whole vectors, an odd number, so that rows do not share lines of the cache. */
static int64_t
long_pitch(const FacFftPlan *p)
{
    return ((p->columns->n + p->lanes - 1) / p->lanes | 1) * p->lanes;
}

/* Numbers of the two areas of a long line. */
static void
long_room(const FacFftPlan *p, int64_t room[2])
{
    room[1] = 2 * (p->n + 2 * p->lanes);
    room[0] = 2 * p->rows->n * long_pitch(p);
    if (room[0] < room[1]) room[0] = room[1];
}

static void
long_halves(const Job *j, char *from, char *to)
{
    const int64_t chunks = j->plan->n / 2 / HALVES_CHUNK;
    Halves h = {j->plan, from, to, j->scale, j->kind == C2R, chunks ? chunks : 1};
    fac_parallel(h.chunks, 1, j->plan->size == 4 ? long_halves_f32 : long_halves_f64, &h);
}

/* One line of a plan that has rows and columns. */
static FacStatus
long_line(const Job *j, Side from, Side to, char *room)
{
    const FacFftPlan *p = j->plan;
    const int64_t k = p->rows->n, n = p->columns->n, one = p->size;
    const int64_t pitch = long_pitch(p);
    const bool single = one == 4, close = j->kind == C2R ? from.step == 2 && from.part == 1
                                                         : to.step == 2 && to.part == 1;
    int64_t areas[2];
    long_room(p, areas);
    const Side matrix = {.data = room, .step = 2, .part = 1};
    const Side spare = {.data = room + areas[0] * one, .step = 2, .part = 1};
    Side in = from, out = to;
    if (j->kind == C2R) {
        in = spare;
        if (!j->halves || !close)
            (single ? gather_f32 : gather_f64)(&from, j->loads, j->halves ? j->loads : j->n,
                                               j->halves ? room : spare.data);
        if (j->halves) long_halves(j, close ? from.data : room, spare.data);
    } else if (j->kind == R2C) {
        out = spare;
    }
    Side rows = matrix, columns = across(matrix, 1, pitch);
    rows.strides[0] = 2 * pitch;
    FAC_RETURN_IF_ERROR(long_step(j, true, across(in, 1, n), columns));
    FAC_RETURN_IF_ERROR(long_step(j, false, rows, across(out, 1, k)));
    if (j->kind != R2C) return FAC_OK;
    const int64_t have = j->n / 2 + 1;
    if (j->halves) long_halves(j, spare.data, close ? to.data : room);
    if (j->halves && close && j->stores == have) return FAC_OK;
    (single ? scatter_f32 : scatter_f64)(!j->halves ? spare.data
                                         : close    ? to.data
                                                    : room,
                                         have, j->stores, &to);
    return FAC_OK;
}

static FacStatus
long_lines(const Job *j)
{
    int64_t areas[2];
    FacStatus st = FAC_OK;
    void *room;
    long_room(j->plan, areas);
    const size_t bytes = (size_t)(areas[0] + areas[1]) * (size_t)j->plan->size;
    FAC_RETURN_IF_ERROR(fac_host_alloc(bytes, &room));
    for (int64_t line = 0; line < j->lines && st == FAC_OK; line++) {
        Side from = j->from, to = j->to;
        int64_t at[2];
        line_at(j, line, at);
        from.data += at[0] * j->plan->size;
        to.data += at[1] * j->plan->size;
        st = long_line(j, from, to, room);
    }
    fac_host_free(room, bytes);
    return st;
}

/* --- a dimension, whole ------------------------------------------------------------------------ */

/* Transforms `dim` of `from` into that of `to`; n is the length of the signal. */
static FacStatus
transform_dim(FacTensor *from, FacTensor *to, int dim, int64_t n, Kind kind, bool inverse,
              double scale)
{
    const bool single = to->dtype == FAC_DT_F32 || to->dtype == FAC_DT_C64;
    const int lanes = single ? FFT_F32_LANES : FFT_F64_LANES;
    Job j = {.kind = kind, .inverse = inverse, .n = n, .scale = scale};
    FacStatus st;
    if (to->numel == 0) return FAC_OK;
    j.halves = kind != C2C && n % 2 == 0;
    j.loads = kind == R2C ? (j.halves ? n / 2 : n) : from->sizes[dim];
    j.stores = kind == C2R ? (j.halves ? n / 2 : n) : to->sizes[dim];
    if (kind == C2R) j.loads = n / 2 + 1;
    FAC_RETURN_IF_ERROR(fac_fft_plan(j.halves ? n / 2 : n, single ? 4 : 8, lanes, false, &j.plan));
    set_steps(&j.from, from, dim, j.halves);
    set_steps(&j.to, to, dim, j.halves);
    merge_dims(&j, from, to, dim);
    if (j.plan->rows) {
        st = long_lines(&j);
    } else {
        choose_lanes(&j, lanes);
        st = run_blocks(&j, lanes);
    }
    fac_fft_plan_release(j.plan);
    return st;
}

/* 0: 1; 1: 1 / sqrt(n); 2: 1 / n, for all n elements of the signal. */
static double
scale_of(const FacTensor *signal, FacValue dims, int64_t normalization)
{
    double n = 1;
    for (uint32_t i = 0; i < dims.len; i++) {
        const int64_t d = dims.v.ints[i];
        n *= (double)signal->sizes[d < 0 ? d + signal->ndim : d];
    }
    return normalization == 0 ? 1 : normalization == 1 ? 1 / sqrt(n) : 1 / n;
}

static int
dim_of(const FacTensor *t, FacValue dims, uint32_t i)
{
    const int64_t d = dims.v.ints[i];
    return (int)(d < 0 ? d + t->ndim : d);
}

/* (self, dim, normalization, forward) */
FacStatus
FAC_KERNEL(fft_c2c)(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *out = fac_result_tensor(call, 0);
    const FacValue dims = FAC_ARG(call, 1);
    const bool inverse = !fac_v_is_true(FAC_ARG(call, 3));
    double scale = scale_of(self, dims, FAC_ARG(call, 2).v.i);
    if (dims.len == 0) return fac_tensor_copy(out, self);
    for (uint32_t i = dims.len; i-- > 0; scale = 1, self = out) {
        const int d = dim_of(out, dims, i);
        FAC_RETURN_IF_ERROR(transform_dim(self, out, d, out->sizes[d], C2C, inverse, scale));
    }
    return FAC_OK;
}

/* (self, dim, normalization, onesided) */
FacStatus
FAC_KERNEL(fft_r2c)(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *out = fac_result_tensor(call, 0);
    const FacValue dims = FAC_ARG(call, 1);
    const double scale = scale_of(self, dims, FAC_ARG(call, 2).v.i);
    const int last = dim_of(out, dims, dims.len - 1);
    FAC_RETURN_IF_ERROR(transform_dim(self, out, last, self->sizes[last], R2C, false, scale));
    for (uint32_t i = dims.len - 1; i-- > 0;) {
        const int d = dim_of(out, dims, i);
        FAC_RETURN_IF_ERROR(transform_dim(out, out, d, out->sizes[d], C2C, false, 1));
    }
    return FAC_OK;
}

/* (self, dim, normalization, last_dim_size) */
FacStatus
FAC_KERNEL(fft_c2r)(FacCall *call)
{
    FacTensor *out = fac_result_tensor(call, 0), *self = fac_arg_tensor(call, 0), *aside = NULL;
    const FacValue dims = FAC_ARG(call, 1);
    const double scale = scale_of(out, dims, FAC_ARG(call, 2).v.i);
    const int last = dim_of(out, dims, dims.len - 1);
    FacStatus st = FAC_OK;
    if (dims.len > 1)
        FAC_TRY(
            fac_tensor_new((FacDType)self->dtype, self->device, self->ndim, self->sizes, &aside));
    for (uint32_t i = dims.len - 1; i-- > 0; self = aside) {
        const int d = dim_of(out, dims, i);
        FAC_TRY(transform_dim(self, aside, d, self->sizes[d], C2C, true, 1));
    }
    FAC_TRY(transform_dim(self, out, last, out->sizes[last], C2R, true, scale));
done:
    fac_tensor_release(aside);
    return st;
}
