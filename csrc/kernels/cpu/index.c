/* index.c - the kernels of indexing: index, gather, scatter and all that moves by an index.
 *
 * They are one loop. A job has a self side that is addressed through offsets and an other side
 * that is walked in order (what is gathered to, or scattered from). Its core is a lane of ni x
 * nj elements; what lies outside of the lane is an odometer of outer positions:
 *
 *     self[off[i * off_i + j * off_j] * scale + j * self_j]   other[i * other_i + j * other_j]
 *
 * For index and its kin the offsets are bytes, one for each index position, made from index
 * tensors and masks alike (scale 1, off_j 0, j runs along a row of what is not indexed). For
 * gather and its kin they are the index tensor itself. Indices are checked before anything
 * moves, so a failing call has changed nothing. Writes are split so that a place belongs to one
 * task and meets its values in the order of the index: the same bits for any number of threads.
 */
#include "tensor/index.h"
#include "kernels/cpu/kernel.h"

#include <complex.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

typedef struct Lane {
    int64_t ni, nj, off_i, off_j, scale; /* off_* in elements */
    int64_t self_j, other_i, other_j;    /* in bytes */
    bool is_row;                         /* a row of bytes on both sides */
} Lane;
typedef void (*LaneBody)(const Lane *lane, char *self, const int64_t *off, char *other);

typedef struct Moves {
    LaneBody get, put;
} Moves;

typedef struct Sums {
    LaneBody add, mul, max, min;
    void (*scale)(char *at, int64_t n, const void *factor);
    void (*divide)(char *at, int64_t n, const int64_t *counts);
} Sums;

/* --- bodies ---------------------------------------------------------------------------------- */

typedef struct Bytes16 {
    uint64_t at[2];
} Bytes16;
#define T uint8_t
#define SUFFIX 1
#include "kernels/cpu/index_moves.h"
#define T uint16_t
#define SUFFIX 2
#include "kernels/cpu/index_moves.h"
#define T uint32_t
#define SUFFIX 4
#include "kernels/cpu/index_moves.h"
#define T uint64_t
#define SUFFIX 8
#include "kernels/cpu/index_moves.h"
#define T Bytes16
#define SUFFIX 16
#include "kernels/cpu/index_moves.h"

static const Moves *
moves_of(const FacTensor *t)
{
    switch (fac_dtype_size((FacDType)t->dtype)) {
    case 1: return &moves_1;
    case 2: return &moves_2;
    case 4: return &moves_4;
    case 8: return &moves_8;
    default: return &moves_16;
    }
}

/* bool */
#define LOAD(x) ((x) != 0)
#define STORE(x) (x)
#define ADD(a, b) ((a) | (b))
#define MUL(a, b) ((a) & (b))
#define MAX(a, b) ((a) | (b))
#define MIN(a, b) ((a) & (b))
#define DIV(a, b) ((void)(b), (a))
#define T uint8_t
#define C int
#define SUFFIX BOOL
#include "kernels/cpu/index_sums.h"
#undef LOAD
#undef ADD
#undef MUL
#undef MAX
#undef MIN
#undef DIV

/* integers: quotients are rounded down */
#define LOAD(x) (x)
#define ADD(a, b) ((a) + (b))
#define MUL(a, b) ((a) * (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define DIV(a, b) ((a) / (b))
#define T uint8_t
#define C uint32_t
#define SUFFIX U8
#include "kernels/cpu/index_sums.h"
#define T uint16_t
#define C uint32_t
#define SUFFIX U16
#include "kernels/cpu/index_sums.h"
#define T uint32_t
#define C uint32_t
#define SUFFIX U32
#include "kernels/cpu/index_sums.h"
#undef DIV
#define DIV(a, b) ((a) / (uint64_t)(b))
#define T uint64_t
#define C uint64_t
#define SUFFIX U64
#include "kernels/cpu/index_sums.h"
#undef DIV
#define DIV(a, b) ((a) / (b) - ((a) % (b) < 0))
#define T int8_t
#define C int32_t
#define SUFFIX I8
#define TWIN U8
#include "kernels/cpu/index_sums.h"
#define T int16_t
#define C int32_t
#define SUFFIX I16
#define TWIN U16
#include "kernels/cpu/index_sums.h"
#define T int32_t
#define C int32_t
#define SUFFIX I32
#define TWIN U32
#include "kernels/cpu/index_sums.h"
#define T int64_t
#define C int64_t
#define SUFFIX I64
#define TWIN U64
#include "kernels/cpu/index_sums.h"
#undef DIV
#undef MAX
#undef MIN

/* floats: NaN wins */
#define DIV(a, b) ((a) / (C)(b))
#define MAX(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))
#define MIN(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))
#define T float
#define C float
#define SUFFIX F32
#include "kernels/cpu/index_sums.h"
#define T double
#define C double
#define SUFFIX F64
#include "kernels/cpu/index_sums.h"
#undef LOAD
#undef STORE
#define LOAD(x) fac_f16_to_f32(x)
#define STORE(x) fac_f32_to_f16(x)
#define T uint16_t
#define C float
#define SUFFIX F16
#include "kernels/cpu/index_sums.h"
#undef LOAD
#undef STORE
#define LOAD(x) fac_bf16_to_f32(x)
#define STORE(x) fac_f32_to_bf16(x)
#define T uint16_t
#define C float
#define SUFFIX BF16
#include "kernels/cpu/index_sums.h"
#undef LOAD
#undef STORE
#undef MAX
#undef MIN

/* complex: max and min are refused by the rules */
#define LOAD(x) (x)
#define STORE(x) (x)
#define T float _Complex
#define C float _Complex
#define SUFFIX C64
#include "kernels/cpu/index_sums.h"
#define T double _Complex
#define C double _Complex
#define SUFFIX C128
#include "kernels/cpu/index_sums.h"

static FacStatus
sums_of(const FacCall *call, const FacTensor *t, const Sums **out)
{
    static const Sums *const sums[FAC_DTYPES] = {
        [FAC_DT_BOOL] = &sums_BOOL, [FAC_DT_U8] = &sums_U8,     [FAC_DT_I8] = &sums_I8,
        [FAC_DT_U16] = &sums_U16,   [FAC_DT_I16] = &sums_I16,   [FAC_DT_U32] = &sums_U32,
        [FAC_DT_I32] = &sums_I32,   [FAC_DT_U64] = &sums_U64,   [FAC_DT_I64] = &sums_I64,
        [FAC_DT_F16] = &sums_F16,   [FAC_DT_BF16] = &sums_BF16, [FAC_DT_F32] = &sums_F32,
        [FAC_DT_F64] = &sums_F64,   [FAC_DT_C64] = &sums_C64,   [FAC_DT_C128] = &sums_C128,
    };
    *out = sums[t->dtype];
    return *out ? FAC_OK : fac_not_implemented_for(call, (FacDType)t->dtype);
}

/* --- the job --------------------------------------------------------------------------------- */

typedef struct Job {
    LaneBody body;
    Lane lane;
    char *self, *other;
    const int64_t *off;
    int ndim; /* outer dimensions */
    FacDim sizes[FAC_MAX_NDIM], self_strides[FAC_MAX_NDIM], other_strides[FAC_MAX_NDIM],
        off_strides[FAC_MAX_NDIM];
    int64_t i_chunk, i_chunks, j_chunk, j_chunks;
    FacDim
        limit; /* above 0: offsets are indices, to be below it; the lane checks before it reads */
    _Atomic(bool) *bad;
} Job;

/* Whether n indices, `step` apart, are in [0, limit). */
static bool
in_range(const int64_t *index, int64_t n, int64_t step, FacDim limit)
{
    uint64_t bad = 0;
    if (step == 1)
        for (int64_t i = 0; i < n; i++) bad |= (uint64_t)index[i] >= (uint64_t)limit;
    else
        for (int64_t i = 0; i < n; i++) bad |= (uint64_t)index[i * step] >= (uint64_t)limit;
    return !bad;
}

/* Whether all indices that the lane will use are. */
static bool
lane_in_range(const Lane *lane, const int64_t *off, FacDim limit)
{
    bool fits = true;
    if (!lane->off_j) return in_range(off, lane->ni, lane->off_i, limit);
    for (int64_t i = 0; i < lane->ni; i++)
        fits &= in_range(off + i * lane->off_i, lane->nj, lane->off_j, limit);
    return fits;
}

static void
add_outer(Job *job, FacDim size, FacDim self_stride, FacDim other_stride, FacDim off_stride)
{
    if (size == 1) return;
    job->sizes[job->ndim] = size;
    job->self_strides[job->ndim] = self_stride;
    job->other_strides[job->ndim] = other_stride;
    job->off_strides[job->ndim++] = off_stride;
}

static void
job_task(int64_t begin, int64_t end, void *context)
{
    const Job *job = context;
    for (int64_t task = begin; task < end; task++) {
        Lane lane = job->lane;
        char *self = job->self, *other = job->other;
        const int64_t *off = job->off;
        int64_t rest = task, j = rest % job->j_chunks * job->j_chunk, i;
        rest /= job->j_chunks;
        i = rest % job->i_chunks * job->i_chunk;
        rest /= job->i_chunks;
        for (int d = job->ndim - 1; d >= 0; d--) {
            int64_t at = rest % job->sizes[d];
            rest /= job->sizes[d];
            self += at * job->self_strides[d];
            other += at * job->other_strides[d];
            off += at * job->off_strides[d];
        }
        if (lane.ni - i < job->i_chunk)
            lane.ni -= i;
        else
            lane.ni = job->i_chunk;
        if (lane.nj - j < job->j_chunk)
            lane.nj -= j;
        else
            lane.nj = job->j_chunk;
        off += i * lane.off_i + j * lane.off_j;
        if (job->limit > 0 && !lane_in_range(&lane, off, job->limit)) {
            atomic_store_explicit(job->bad, true, memory_order_relaxed);
            continue;
        }
        job->body(&lane, self + j * lane.self_j, off, other + i * lane.other_i + j * lane.other_j);
    }
}

/* Runs the job in tasks of about one grain. Writes to self keep i whole. */
static void
job_run(Job *job, bool reads_self)
{
    Lane *lane = &job->lane;
    int64_t grain = fac_grain(4), outer = 1, work = lane->ni * lane->nj;
    for (int d = 0; d < job->ndim; d++) outer *= job->sizes[d];
    if (outer == 0 || work == 0) return;
    job->i_chunk = lane->ni;
    job->j_chunk = lane->nj;
    if (work > grain && reads_self) {
        job->i_chunk = grain / lane->nj > 0 ? grain / lane->nj : 1;
        if (lane->nj > grain) job->j_chunk = grain;
    } else if (work > grain) {
        enum { LEAST = 64 };
        job->j_chunk = grain / lane->ni > LEAST ? grain / lane->ni : LEAST;
        if (job->j_chunk > lane->nj) job->j_chunk = lane->nj;
    }
    job->i_chunks = fac_chunks(lane->ni, job->i_chunk);
    job->j_chunks = fac_chunks(lane->nj, job->j_chunk);
    int64_t one = job->i_chunk * job->j_chunk;
    fac_parallel(outer * job->i_chunks * job->j_chunks, one < grain ? grain / one : 1, job_task,
                 job);
}

/* --- offsets from index tensors and masks ---------------------------------------------------- */

static FacStatus
new_offsets(int64_t n, FacTensor **out)
{
    return fac_tensor_new(FAC_DT_I64, FAC_CPU_DEVICE, 1, &n, out);
}

/* Checks indices of one dimension (from -size on, or from 0 on) and turns them to offsets. */
static FacStatus
scale_indices(const int64_t *index, int64_t n, int dim, FacDim size, bool negative, FacDim stride,
              int64_t *out)
{
    int64_t low = negative ? -size : 0, bad = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t k = index[i];
        bad |= (k < low) | (k >= size);
        out[i] = (int64_t)((uint64_t)(k < 0 ? k + size : k) * (uint64_t)stride);
    }
    if (!bad) return FAC_OK;
    int64_t i = 0;
    while (index[i] >= low && index[i] < size) i++;
    return fac_index_range_error(index[i], dim, size);
}

static FacStatus
number_offsets(const FacTensor *self, const FacIndexPart *part, bool negative, FacTensor **out)
{
    FacStatus st;
    FacTensor *index = NULL, *offsets = NULL;
    FacDim size = self->ndim ? self->sizes[part->dim] : 1;
    FacDim stride =
        self->ndim ? self->strides[part->dim] * fac_dtype_size((FacDType)self->dtype) : 0;
    FAC_TRY(fac_contiguous(part->index, FAC_DT_I64, &index));
    FAC_TRY(new_offsets(index->numel, &offsets));
    FAC_TRY(scale_indices(fac_data(index), index->numel, part->dim, size, negative, stride,
                          fac_data(offsets)));
    *out = offsets;
    offsets = NULL;
done:
    fac_tensor_release(index);
    fac_tensor_release(offsets);
    return st;
}

static int64_t
count_true(const uint8_t *mask, int64_t n)
{
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) count += mask[i] != 0;
    return count;
}

/* Adds one to an odometer over sizes[0..ndim); returns the change of the offset. */
static int64_t
step(int64_t *at, int ndim, const FacDim *sizes, const FacDim *strides)
{
    int64_t change = 0;
    for (int d = ndim - 1; d >= 0; d--) {
        change += strides[d];
        if (++at[d] < sizes[d]) break;
        change -= sizes[d] * strides[d];
        at[d] = 0;
    }
    return change;
}

static FacStatus
mask_offsets(const FacTensor *self, const FacIndexPart *part, FacTensor **out, int64_t *count)
{
    FacStatus st;
    FacTensor *mask = NULL;
    FAC_TRY(fac_contiguous(part->index, FAC_DT_BOOL, &mask));
    const uint8_t *from = fac_data(mask);
    const FacDim *sizes = self->sizes + part->dim;
    FacDim strides[FAC_MAX_NDIM];
    int64_t at[FAC_MAX_NDIM] = {0}, base = 0, n = 0, inner = part->ndim ? sizes[part->ndim - 1] : 1;
    for (int d = 0; d < part->ndim; d++)
        strides[d] = self->strides[part->dim + d] * fac_dtype_size((FacDType)self->dtype);
    FacDim stride = part->ndim ? strides[part->ndim - 1] : 0;
    *count = count_true(from, mask->numel);
    FAC_TRY(new_offsets(*count + 1, out)); /* one more: the loop writes before it knows */
    int64_t *to = fac_data(*out);
    for (int64_t i = 0; i < mask->numel; i += inner) {
        for (int64_t j = 0; j < inner; j++) {
            to[n] = base + j * stride;
            n += from[i + j] != 0;
        }
        base += step(at, part->ndim - 1, sizes, strides);
    }
done:
    fac_tensor_release(mask);
    return st;
}

/* Adds the offsets of one part, broadcast to the shape of all indices. */
static void
add_part(const FacIndexPlan *plan, const FacIndexPart *part, int64_t count, const int64_t *from,
         int64_t *to)
{
    int ndim = plan->index_ndim, own = part->mask ? 1 : part->index->ndim;
    const FacDim *sizes = part->mask ? &count : part->index->sizes;
    FacDim strides[FAC_MAX_NDIM] = {0}, product = 1;
    int64_t at[FAC_MAX_NDIM] = {0}, position = 0;
    if (count == plan->index_numel) {
        for (int64_t i = 0; i < count; i++) to[i] += from[i];
        return;
    }
    for (int d = own - 1; d >= 0; d--) {
        strides[ndim - own + d] = sizes[d] == 1 ? 0 : product;
        product *= sizes[d];
    }
    for (int64_t i = 0; i < plan->index_numel; i++) {
        to[i] += from[position];
        position += step(at, ndim, plan->index_sizes, strides);
    }
}

/* Byte offsets into self of all index positions; completes the sizes of the plan. */
static FacStatus
plan_offsets(const FacTensor *self, FacIndexPlan *plan, bool negative, FacTensor **out)
{
    FacStatus st = FAC_OK;
    FacTensor *offsets[FAC_MAX_NDIM] = {NULL}, *sum = NULL;
    int64_t counts[FAC_MAX_NDIM];
    for (int p = 0; p < plan->nparts; p++) {
        const FacIndexPart *part = &plan->part[p];
        counts[p] = part->index->numel;
        if (part->mask)
            FAC_TRY(mask_offsets(self, part, &offsets[p], &counts[p]));
        else
            FAC_TRY(number_offsets(self, part, negative, &offsets[p]));
    }
    if (plan->nmasks) FAC_TRY(fac_index_plan_sizes(self, counts, plan));
    if (plan->nparts == 1) {
        *out = offsets[0];
        return FAC_OK;
    }
    FAC_TRY(new_offsets(plan->index_numel, &sum));
    if (plan->index_numel) memset(fac_data(sum), 0, fac_nbytes(sum));
    for (int p = 0; p < plan->nparts && plan->index_numel; p++)
        add_part(plan, &plan->part[p], counts[p], fac_data(offsets[p]), fac_data(sum));
    *out = sum;
done:
    for (int p = 0; p < plan->nparts; p++) fac_tensor_release(offsets[p]);
    return st;
}

/* --- jobs over a plan ------------------------------------------------------------------------ */

/* The other side is contiguous and of the plan's sizes, or one element for all (spread). */
static void
plan_job(const FacTensor *self, const FacIndexPlan *plan, const FacTensor *offsets, void *other,
         bool spread, Job *job)
{
    FacDim size = fac_dtype_size((FacDType)self->dtype), product = 1, other_strides[FAC_MAX_NDIM];
    Lane *lane = &job->lane;
    int last = plan->nrest;
    for (int r = plan->nrest - 1; r >= 0; r--) {
        if (r == plan->before - 1) product *= plan->index_numel;
        other_strides[r] = spread ? 0 : product * size;
        product *= self->sizes[plan->rest[r]];
    }
    *lane = (Lane){.ni = plan->index_numel,
                   .nj = 1,
                   .off_i = 1,
                   .scale = 1,
                   .self_j = size,
                   .other_j = spread ? 0 : size};
    while (last > plan->before) { /* the rest behind the block, as far as it lies in one row */
        FacDim n = self->sizes[plan->rest[last - 1]];
        FacDim stride = self->strides[plan->rest[last - 1]] * size;
        if (n != 1 && lane->nj != 1 && stride != lane->self_j * lane->nj) break;
        if (n != 1 && lane->nj == 1) lane->self_j = stride;
        lane->nj *= n;
        last--;
    }
    lane->is_row = lane->self_j == size && lane->other_j == size;
    job->self = fac_data(self);
    job->other = other;
    job->off = fac_data(offsets);
    job->ndim = 0;
    job->limit = 0;
    product = size;
    for (int r = plan->before; r < plan->nrest; r++) product *= self->sizes[plan->rest[r]];
    lane->other_i = spread ? 0 : product;
    for (int r = 0; r < last; r++)
        add_outer(job, self->sizes[plan->rest[r]], self->strides[plan->rest[r]] * size,
                  other_strides[r], 0);
}

/* other <- self at the plan's places. `other` is a fresh result. */
static void
plan_get(const FacTensor *self, const FacIndexPlan *plan, const FacTensor *offsets,
         FacTensor *other)
{
    Job job;
    plan_job(self, plan, offsets, fac_data(other), false, &job);
    job.body = moves_of(self)->get;
    job_run(&job, true);
}

/* self at the plan's places <- values, by `body`. values broadcasts to the plan's sizes. */
static FacStatus
plan_put(FacTensor *self, const FacIndexPlan *plan, const FacTensor *offsets, FacTensor *values,
         LaneBody body)
{
    FacStatus st = FAC_OK;
    FacTensor *wide = NULL, *row = NULL;
    Job job;
    if (values->numel != 1) {
        FacDim strides[FAC_MAX_NDIM];
        int more = plan->ndim - values->ndim;
        for (int d = 0; d < plan->ndim; d++) {
            FacDim have = d < more ? 1 : values->sizes[d - more];
            if (more < 0 || (have != plan->sizes[d] && have != 1)) {
                FacText from = {.len = 0}, to = {.len = 0};
                fac_text_dims(&from, values->ndim, values->sizes);
                fac_text_dims(&to, plan->ndim, plan->sizes);
                FAC_FAIL(FAC_RUNTIME_ERROR,
                         "shape mismatch: value tensor of shape %s cannot be broadcast to indexing "
                         "result of shape %s",
                         from.at, to.at);
            }
            strides[d] = have == 1 ? 0 : values->strides[d - more];
        }
        FAC_TRY(fac_tensor_view(values, plan->ndim, plan->sizes, strides, values->offset, &wide));
        FAC_TRY(fac_contiguous(wide, FAC_DT_NONE, &row));
        values = row;
    }
    plan_job(self, plan, offsets, fac_data(values), values->numel == 1, &job);
    job.body = body;
    job_run(&job, false);
done:
    fac_tensor_release(row);
    fac_tensor_release(wide);
    return st;
}

/* Result 0 starts as a copy of argument 0, unless it is argument 0. */
static FacStatus
begin(FacCall *call, FacTensor **out)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    *out = fac_result_tensor(call, 0);
    return *out == self ? FAC_OK : fac_tensor_copy(*out, self);
}

/* A 0-d tensor of t's dtype with the number or the 0-d tensor that argument i is. */
static FacStatus
value_like(const FacTensor *t, FacValue v, FacTensor **out)
{
    double c[2];
    if (v.tag == FAC_V_TENSOR) FAC_RETURN_IF_ERROR(fac_tensor_item(v.v.t, c, &v));
    return fac_tensor_from_number(v, (FacDType)t->dtype, out);
}

FacStatus
FAC_KERNEL(index)(FacCall *call)
{
    FacStatus st;
    FacTensor *self = fac_arg_tensor(call, 0), *offsets = NULL;
    FacValue indices = FAC_ARG(call, 1);
    FacIndexPlan plan;
    FAC_TRY(fac_index_plan(self, (int)indices.len, indices.v.tensors, &plan));
    if (!plan.nmasks) FAC_TRY(fac_index_plan_sizes(self, NULL, &plan));
    FAC_TRY(plan_offsets(self, &plan, true, &offsets));
    if (plan.nmasks)
        FAC_TRY(fac_out(call, 0, (FacDType)self->dtype, self->device, plan.ndim, plan.sizes));
    plan_get(self, &plan, offsets, fac_result_tensor(call, 0));
done:
    fac_tensor_release(offsets);
    return st;
}

static FacStatus
put_at_indices(const FacCall *call, FacTensor *out, FacTensor *values, bool accumulate)
{
    FacStatus st;
    FacTensor *offsets = NULL;
    FacValue indices = FAC_ARG(call, call->op->nparams == 3 ? 2 : 1);
    FacIndexPlan plan;
    const Sums *sums = NULL;
    if (accumulate) FAC_TRY(sums_of(call, out, &sums));
    FAC_TRY(fac_index_plan(out, (int)indices.len, indices.v.tensors, &plan));
    if (!plan.nmasks) FAC_TRY(fac_index_plan_sizes(out, NULL, &plan));
    FAC_TRY(plan_offsets(out, &plan, true, &offsets));
    FAC_TRY(plan_put(out, &plan, offsets, values, accumulate ? sums->add : moves_of(out)->put));
done:
    fac_tensor_release(offsets);
    return st;
}

FacStatus
FAC_KERNEL(index_put)(FacCall *call)
{
    FacTensor *out;
    FAC_RETURN_IF_ERROR(begin(call, &out));
    return put_at_indices(call, out, fac_arg_tensor(call, 2), fac_v_is_true(FAC_ARG(call, 3)));
}

static void
set_zero(FacTensor *fresh)
{
    if (fresh->numel) memset(fac_data(fresh), 0, fac_nbytes(fresh));
}

FacStatus
FAC_KERNEL(index_backward)(FacCall *call)
{
    FacTensor *out = fac_result_tensor(call, 0);
    set_zero(out);
    return put_at_indices(call, out, fac_arg_tensor(call, 0), true);
}

/* --- basic views, written to ----------------------------------------------------------------- */

static FacStatus
copy_into_layout(FacTensor *out, const FacLayout *v, FacTensor *src)
{
    FacStatus st;
    FacTensor *view = NULL;
    FAC_TRY(fac_tensor_view(out, v->ndim, v->sizes, v->strides, v->offset, &view));
    FAC_TRY(fac_tensor_copy(view, src));
done:
    fac_tensor_release(view);
    return st;
}

FacStatus
FAC_KERNEL(index_view_backward)(FacCall *call)
{
    FacTensor *out = fac_result_tensor(call, 0);
    FacValue spec = FAC_ARG(call, 2);
    FacLayout v;
    set_zero(out);
    FAC_RETURN_IF_ERROR(fac_index_layout(out, (int)spec.len, spec.v.ints, &v));
    return copy_into_layout(out, &v, fac_arg_tensor(call, 0));
}

FacStatus
FAC_KERNEL(index_view_scatter)(FacCall *call)
{
    FacTensor *out;
    FacValue spec = FAC_ARG(call, 2);
    FacLayout v;
    FAC_RETURN_IF_ERROR(begin(call, &out));
    FAC_RETURN_IF_ERROR(fac_index_layout(out, (int)spec.len, spec.v.ints, &v));
    return copy_into_layout(out, &v, fac_arg_tensor(call, 1));
}

FacStatus
FAC_KERNEL(diagonal_scatter)(FacCall *call)
{
    FacTensor *out;
    FacLayout v = {.ndim = 0};
    int64_t offset = FAC_ARG(call, 2).v.i;
    int dim1, dim2;
    FAC_RETURN_IF_ERROR(begin(call, &out));
    FAC_RETURN_IF_ERROR(fac_wrap_dim(FAC_ARG(call, 3).v.i, out->ndim, &dim1));
    FAC_RETURN_IF_ERROR(fac_wrap_dim(FAC_ARG(call, 4).v.i, out->ndim, &dim2));
    FacDim rows = out->sizes[dim1], columns = out->sizes[dim2];
    if (offset >= 0)
        columns = offset < columns ? columns - offset : 0;
    else
        rows = offset > -rows ? rows + offset : 0;
    FacDim length = rows < columns ? rows : columns;
    v.offset = out->offset;
    if (length)
        v.offset += offset >= 0 ? offset * out->strides[dim2] : -offset * out->strides[dim1];
    for (int d = 0; d < out->ndim; d++) {
        if (d == dim1 || d == dim2) continue;
        v.sizes[v.ndim] = out->sizes[d];
        v.strides[v.ndim++] = out->strides[d];
    }
    v.sizes[v.ndim] = length;
    v.strides[v.ndim++] = out->strides[dim1] + out->strides[dim2];
    return copy_into_layout(out, &v, fac_arg_tensor(call, 1));
}

/* --- along one dimension --------------------------------------------------------------------- */

/* The plan and offsets of argument 2 along the dimension that argument 1 names. */
static FacStatus
dim_offsets(const FacCall *call, const FacTensor *self, FacIndexPlan *plan, FacTensor **offsets)
{
    int dim;
    FAC_RETURN_IF_ERROR(fac_wrap_dim(FAC_ARG(call, 1).v.i, self->ndim, &dim));
    fac_index_plan_dim(self, dim, fac_arg_tensor(call, 2), plan);
    return plan_offsets(self, plan, false, offsets);
}

FacStatus
FAC_KERNEL(index_select)(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *offsets = NULL;
    FacIndexPlan plan;
    FAC_RETURN_IF_ERROR(dim_offsets(call, self, &plan, &offsets));
    plan_get(self, &plan, offsets, fac_result_tensor(call, 0));
    fac_tensor_release(offsets);
    return FAC_OK;
}

/* out at the named slices <- values, by `body`. A 0-d or 1-d source may stand for the other. */
static FacStatus
put_along_dim(const FacCall *call, FacTensor *out, FacTensor *values, LaneBody body)
{
    FacStatus st;
    FacTensor *offsets = NULL, *flat = NULL;
    FacIndexPlan plan;
    FAC_TRY(dim_offsets(call, out, &plan, &offsets));
    if (values->ndim > plan.ndim) /* one element for a 0-d self */
        FAC_TRY(fac_tensor_view(values, 0, NULL, NULL, values->offset, &flat));
    FAC_TRY(plan_put(out, &plan, offsets, flat ? flat : values, body));
done:
    fac_tensor_release(flat);
    fac_tensor_release(offsets);
    return st;
}

FacStatus
FAC_KERNEL(index_copy)(FacCall *call)
{
    FacTensor *out;
    FAC_RETURN_IF_ERROR(begin(call, &out));
    return put_along_dim(call, out, fac_arg_tensor(call, 3), moves_of(out)->put);
}

FacStatus
FAC_KERNEL(index_fill)(FacCall *call)
{
    FacTensor *out, *value = NULL;
    FAC_RETURN_IF_ERROR(begin(call, &out));
    FAC_RETURN_IF_ERROR(value_like(out, FAC_ARG(call, 3), &value));
    FacStatus st = put_along_dim(call, out, value, moves_of(out)->put);
    fac_tensor_release(value);
    return st;
}

/* A contiguous copy of t times the number. */
static FacStatus
scaled_copy(FacTensor *t, FacValue factor, const Sums *sums, FacTensor **out)
{
    FacStatus st;
    FacTensor *copy = NULL;
    double element[2];
    FAC_TRY(fac_tensor_new((FacDType)t->dtype, t->device, t->ndim, t->sizes, &copy));
    FAC_TRY(fac_tensor_copy(copy, t));
    fac_v_store(factor, (FacDType)t->dtype, element);
    sums->scale(fac_data(copy), copy->numel, element);
    *out = copy;
    return FAC_OK;
done:
    fac_tensor_release(copy);
    return st;
}

FacStatus
FAC_KERNEL(index_add)(FacCall *call)
{
    FacStatus st;
    FacTensor *out, *source = fac_arg_tensor(call, 3), *scaled = NULL;
    FacValue alpha = FAC_ARG(call, 4);
    const Sums *sums;
    double factor[2];
    FAC_TRY(sums_of(call, fac_result_tensor(call, 0), &sums));
    FAC_TRY(begin(call, &out));
    fac_v_as_complex(alpha, factor);
    if (factor[0] != 1 || factor[1] != 0) FAC_TRY(scaled_copy(source, alpha, sums, &scaled));
    FAC_TRY(put_along_dim(call, out, scaled ? scaled : source, sums->add));
done:
    fac_tensor_release(scaled);
    return st;
}

/* --- the tensor as one row ------------------------------------------------------------------- */

/* Byte offsets of positions in C order (argument 1), which may count from the end. */
static FacStatus
flat_offsets(const FacCall *call, const FacTensor *self, FacTensor **out)
{
    FacStatus st;
    FacTensor *index = NULL, *offsets = NULL;
    FacDim size = fac_dtype_size((FacDType)self->dtype);
    FAC_TRY(fac_contiguous(fac_arg_tensor(call, 1), FAC_DT_I64, &index));
    FAC_TRY(new_offsets(index->numel, &offsets));
    int64_t *to = fac_data(offsets);
    FAC_TRY(scale_indices(fac_data(index), index->numel, 0, self->numel, true,
                          self->contiguous ? size : 1, to));
    for (int64_t i = 0; i < index->numel && !self->contiguous; i++) {
        int64_t rest = to[i];
        to[i] = 0;
        for (int d = self->ndim - 1; d >= 0; d--) {
            to[i] += rest % self->sizes[d] * self->strides[d] * size;
            rest /= self->sizes[d];
        }
    }
    *out = offsets;
    offsets = NULL;
done:
    fac_tensor_release(index);
    fac_tensor_release(offsets);
    return st;
}

static void
run_flat(const FacTensor *self, const FacTensor *offsets, FacTensor *other, LaneBody body,
         bool reads_self)
{
    FacDim size = fac_dtype_size((FacDType)self->dtype);
    Job job = {.body = body,
               .self = fac_data(self),
               .other = fac_data(other),
               .off = fac_data(offsets),
               .lane = {.ni = offsets->numel,
                        .nj = 1,
                        .off_i = 1,
                        .scale = 1,
                        .self_j = size,
                        .other_i = size,
                        .other_j = size}};
    job_run(&job, reads_self);
}

FacStatus
FAC_KERNEL(take)(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *offsets;
    FAC_RETURN_IF_ERROR(flat_offsets(call, self, &offsets));
    run_flat(self, offsets, fac_result_tensor(call, 0), moves_of(self)->get, true);
    fac_tensor_release(offsets);
    return FAC_OK;
}

FacStatus
FAC_KERNEL(put)(FacCall *call)
{
    FacStatus st;
    FacTensor *out, *offsets = NULL, *source = NULL;
    bool accumulate = fac_v_is_true(FAC_ARG(call, 3));
    const Sums *sums = NULL;
    if (accumulate) FAC_TRY(sums_of(call, fac_result_tensor(call, 0), &sums));
    FAC_TRY(begin(call, &out));
    FAC_TRY(flat_offsets(call, out, &offsets));
    FAC_TRY(fac_contiguous(fac_arg_tensor(call, 2), FAC_DT_NONE, &source));
    run_flat(out, offsets, source, accumulate ? sums->add : moves_of(out)->put, false);
done:
    fac_tensor_release(source);
    fac_tensor_release(offsets);
    return st;
}

/* --- gather and scatter ---------------------------------------------------------------------- */

static FacDim
byte_stride(const FacTensor *t, int d)
{
    return t->ndim ? t->strides[d] * fac_dtype_size((FacDType)t->dtype) : 0;
}

/* The job of a gather or scatter along dim. `index` is contiguous; other may be one
 * element for all (spread). */
static void
lane_job(const FacTensor *self, int dim, const FacTensor *index, const FacTensor *other,
         bool spread, Job *job)
{
    FacDim size = fac_dtype_size((FacDType)self->dtype);
    int last = index->ndim - 1;
    Lane *lane = &job->lane;
    *lane =
        (Lane){.ni = index->ndim ? index->sizes[dim] : 1, .nj = 1, .scale = byte_stride(self, dim)};
    lane->off_i = index->ndim ? index->strides[dim] : 0;
    lane->other_i = spread ? 0 : byte_stride(other, dim);
    if (last > dim) {
        lane->nj = index->sizes[last];
        lane->off_j = 1;
        lane->self_j = byte_stride(self, last);
        lane->other_j = spread ? 0 : byte_stride(other, last);
    } else {
        lane->self_j = lane->other_j = size;
    }
    job->self = fac_data(self);
    job->other = fac_data(other);
    job->off = fac_data(index);
    job->ndim = 0;
    job->limit = 0;
    for (int d = 0; d < last; d++)
        if (d != dim)
            add_outer(job, index->sizes[d], byte_stride(self, d),
                      spread ? 0 : byte_stride(other, d), index->strides[d]);
}

/* Argument 2 as a row of int64. */
static FacStatus
lane_index(const FacCall *call, const FacTensor *self, int *dim, FacTensor **out)
{
    FAC_RETURN_IF_ERROR(fac_wrap_dim(FAC_ARG(call, 1).v.i, self->ndim, dim));
    return fac_contiguous(fac_arg_tensor(call, 2), FAC_DT_I64, out);
}

typedef struct RangeCheck {
    const int64_t *index;
    FacDim size;
    _Atomic(bool) bad;
} RangeCheck;

static void
range_task(int64_t begin, int64_t end, void *context)
{
    RangeCheck *check = context;
    if (!in_range(check->index + begin, end - begin, 1, check->size))
        atomic_store_explicit(&check->bad, true, memory_order_relaxed);
}

static FacStatus
range_error(const FacTensor *index, int dim, FacDim size)
{
    const int64_t *at = fac_data(index);
    while ((uint64_t)*at < (uint64_t)size) at++;
    return fac_index_range_error(*at, dim, size);
}

static FacStatus
check_range(const FacTensor *self, int dim, const FacTensor *index)
{
    RangeCheck check = {fac_data(index), self->ndim ? self->sizes[dim] : 1, false};
    fac_parallel(index->numel, fac_grain(1), range_task, &check);
    return check.bad ? range_error(index, dim, check.size) : FAC_OK;
}

/* Each lane checks its indices while they are in the cache; a failing call gives no result. */
FacStatus
FAC_KERNEL(gather)(FacCall *call)
{
    FacStatus st;
    FacTensor *self = fac_arg_tensor(call, 0), *index = NULL;
    _Atomic(bool) bad = false;
    Job job;
    int dim;
    FAC_TRY(lane_index(call, self, &dim, &index));
    if (index->numel == 0) goto done; /* and then it may have any shape */
    FacDim size = self->ndim ? self->sizes[dim] : 1;
    if (size == 0 && index->numel) FAC_TRY(range_error(index, dim, size));
    lane_job(self, dim, index, fac_result_tensor(call, 0), false, &job);
    job.body = moves_of(self)->get;
    job.limit = size;
    job.bad = &bad;
    job_run(&job, true);
    if (bad) FAC_TRY(range_error(index, dim, size));
done:
    fac_tensor_release(index);
    return st;
}

/* out <- src where argument 2 says, by `body`. */
static FacStatus
put_lanes(const FacCall *call, FacTensor *out, FacTensor *src, bool spread, LaneBody body)
{
    FacStatus st;
    FacTensor *index = NULL;
    Job job;
    int dim;
    FAC_TRY(lane_index(call, out, &dim, &index));
    if (index->numel == 0) goto done;
    FAC_TRY(check_range(out, dim, index));
    lane_job(out, dim, index, src, spread, &job);
    job.body = body;
    job_run(&job, false);
done:
    fac_tensor_release(index);
    return st;
}

FacStatus
FAC_KERNEL(scatter)(FacCall *call)
{
    FacTensor *out, *src = fac_arg_tensor(call, 3), *value = NULL;
    FAC_RETURN_IF_ERROR(begin(call, &out));
    if (!src) FAC_RETURN_IF_ERROR(value_like(out, FAC_ARG(call, 3), &value));
    FacStatus st = put_lanes(call, out, src ? src : value, !src, moves_of(out)->put);
    fac_tensor_release(value);
    return st;
}

FacStatus
FAC_KERNEL(scatter_add)(FacCall *call)
{
    FacTensor *out;
    const Sums *sums;
    FAC_RETURN_IF_ERROR(sums_of(call, fac_result_tensor(call, 0), &sums));
    FAC_RETURN_IF_ERROR(begin(call, &out));
    return put_lanes(call, out, fac_arg_tensor(call, 3), false, sums->add);
}

/* --- reductions by index --------------------------------------------------------------------- */

/* How index_reduce and scatter_reduce put values: along a dimension, or where an index says. */
typedef FacStatus (*Putter)(const FacCall *call, FacTensor *out, FacTensor *src, LaneBody body);

static FacStatus
put_reduced_lanes(const FacCall *call, FacTensor *out, FacTensor *src, LaneBody body)
{
    return put_lanes(call, out, src, src->ndim == 0 && fac_arg_tensor(call, 3) != src, body);
}

/* The number that changes nothing: what a place starts with when self is left out. */
static FacStatus
neutral(FacDType dt, const char *reduce, FacTensor **out)
{
    FacValue v = fac_v_int(strcmp(reduce, "prod") == 0);
    bool is_max = strcmp(reduce, "amax") == 0, is_min = strcmp(reduce, "amin") == 0;
    if (is_max || is_min) {
        int bits = 8 * fac_dtype_size(dt);
        bool is_signed = fac_dtype_info[dt].is_signed;
        if (FAC_IS_FLOAT(dt))
            v = fac_v_float(is_max ? -INFINITY : INFINITY);
        else if (dt == FAC_DT_BOOL)
            v = fac_v_int(is_min);
        else if (is_signed)
            v = fac_v_int(is_max ? INT64_MIN >> (64 - bits) : INT64_MAX >> (64 - bits));
        else
            v = fac_v_int(is_max ? 0 : -1); /* wraps to the largest */
    }
    return fac_tensor_from_number(v, dt, out);
}

/* Divides by how many values met at each place, self among them if it is included. */
static FacStatus
divide_by_counts(const FacCall *call, FacTensor *out, const Sums *sums, bool include_self,
                 Putter put)
{
    FacStatus st;
    FacTensor *counts = NULL, *one = NULL;
    FAC_TRY(fac_tensor_new(FAC_DT_I64, out->device, out->ndim, out->sizes, &counts));
    FAC_TRY(fac_tensor_from_number(fac_v_int(1), FAC_DT_I64, &one));
    int64_t *at = fac_data(counts);
    for (int64_t i = 0; i < counts->numel; i++) at[i] = include_self;
    FAC_TRY(put(call, counts, one, sums_I64.add));
    sums->divide(fac_data(out), out->numel, at);
done:
    fac_tensor_release(one);
    fac_tensor_release(counts);
    return st;
}

static FacStatus
reduce_by_index(FacCall *call, Putter put)
{
    FacStatus st;
    FacTensor *out = fac_result_tensor(call, 0), *work = NULL, *start = NULL;
    const char *reduce = FAC_ARG(call, 4).v.s;
    bool include_self = fac_v_is_true(FAC_ARG(call, 5)), is_mean = strcmp(reduce, "mean") == 0;
    const Sums *sums;
    FAC_TRY(sums_of(call, out, &sums));
    LaneBody body = strcmp(reduce, "prod") == 0   ? sums->mul
                    : strcmp(reduce, "amax") == 0 ? sums->max
                    : strcmp(reduce, "amin") == 0 ? sums->min
                                                  : sums->add;
    FAC_TRY(begin(call, &out));
    FAC_TRY(fac_contiguous(out, FAC_DT_NONE, &work));
    if (!include_self) {
        FAC_TRY(neutral((FacDType)out->dtype, reduce, &start));
        FAC_TRY(put(call, work, start, moves_of(work)->put));
    }
    FAC_TRY(put(call, work, fac_arg_tensor(call, 3), body));
    if (is_mean) FAC_TRY(divide_by_counts(call, work, sums, include_self, put));
    if (work != out) FAC_TRY(fac_tensor_copy(out, work));
done:
    fac_tensor_release(start);
    fac_tensor_release(work);
    return st;
}

FacStatus
FAC_KERNEL(scatter_reduce)(FacCall *call)
{
    return reduce_by_index(call, put_reduced_lanes);
}

FacStatus
FAC_KERNEL(index_reduce)(FacCall *call)
{
    return reduce_by_index(call, put_along_dim);
}
