/* norm_channels.c - batch_norm and group_norm (instance_norm: groups of one channel), and their
 * gradients.
 *
 * What shares a statistic is a channel in all samples (batch), or the channels of a group in one.
 * Two layouts are walked through:
 * - runs: the elements of a channel of a sample lie together. A statistic belongs to some runs, and
 *   what it normalizes is worked on while it is in the cache.
 * - columns: channels lie side by side (channels last, or a plane of few elements). A sample (for
 *   batch statistics, all of them) is a matrix whose columns have a channel each, cut into blocks
 *   of rows: means, and sums of squares around them, are taken by block while it is in the cache,
 *   and joined.
 */
#include "device/device.h"
#include "kernels/cpu/plain.h"

#include <math.h>

enum {
    NORM_LANES = 32,
    PIECE = 2048,           /* a multiple of NORM_LANES */
    RUN_LEAST = 32,         /* planes of fewer elements are columns */
    WIDTH_LEAST = 256,      /* narrower matrices have several positions in a row */
    BLOCK_ELEMENTS = 32768, /* of a block of rows, about */
    BLOCK_ROWS = 64,        /* at least */
    SAMPLE_TABLES = 6
};

typedef struct Channels {
    const void *x, *g, *weight, *bias;
    FacDType dtype, gtype; /* of x and y, of g */
    void *y;               /* NULL: not wanted */
    void *mean, *rstd;     /* of the statistics */
    void *var;             /* NULL: not wanted */
    void *dweight, *dbias;
    int64_t outer, channels, inner;
    int64_t group;  /* channels that share a statistic; 0: of all samples */
    int64_t shared; /* elements that share a statistic */
    double eps;
    bool own;     /* statistics of the input, not given ones */
    bool anew;    /* they are not to be read but computed */
    bool columns; /* the layout */
    bool last;    /* channels last */
    int64_t runs; /* of a statistic */
    /* columns */
    int64_t samples, total, stats; /* elements and statistics of a sample */
    int64_t width, rows, rest;     /* full rows; elements of the one that is not */
    int64_t height, blocks;        /* rows of a block, blocks of a sample */
    int32_t *channel, *stat;       /* of each column */
    void *scratch;
    /* gradients of parameters */
    int64_t lines; /* parts, each of all channels */
    void *parts;
} Channels;

/* Run r of statistic s, counted over all samples and channels. */
static inline int64_t
run_at(const Channels *p, int64_t s, int64_t r)
{
    return p->group ? s * p->group + r : r * p->channels + s;
}

static inline int64_t
row_length(const Channels *p, int64_t row)
{
    return row < p->rows ? p->width : p->rest;
}

/* The row behind those of a block: the last block has the short row too. */
static inline int64_t
block_end(const Channels *p, int64_t block)
{
    return block + 1 < p->blocks ? (block + 1) * p->height : p->rows + (p->rest > 0);
}

/* How many elements a column of a block has: one of the first `rest` ones, or of the others. */
static inline int64_t
block_rows(const Channels *p, int64_t block, bool first)
{
    const bool end = block + 1 == p->blocks;
    return (end ? p->rows - block * p->height : p->height) + (end && first);
}

/* Elements of scratch memory of a sample. */
static inline int64_t
sample_scratch(const Channels *p)
{
    return (2 * p->blocks + 2 + SAMPLE_TABLES) * p->width;
}

#define T float
#define NAME(x) x##_f32
#define DTYPE FAC_DT_F32
#define SQRT sqrtf
#include "kernels/cpu/norm_channels_body.h"
#define T double
#define NAME(x) x##_f64
#define DTYPE FAC_DT_F64
#define SQRT sqrt
#include "kernels/cpu/norm_channels_body.h"

/* --- the tensors of a call ------------------------------------------------------------------------------ */

enum { X, G, WEIGHT, BIAS, MEAN, RSTD, VAR, DWEIGHT, DBIAS, Y, SLOTS };

typedef struct Held {
    FacTensor *t[SLOTS];
    size_t scratch, parts; /* bytes */
} Held;

static void *
data(const Held *h, int slot)
{
    return h->t[slot] ? fac_data(h->t[slot]) : NULL;
}

static FacStatus
release(Held *h, Channels *p, FacStatus st)
{
    for (int i = 0; i < SLOTS; i++) fac_tensor_release(h->t[i]);
    if (p->scratch) fac_host_free(p->scratch, h->scratch);
    if (p->parts) fac_host_free(p->parts, h->parts);
    fac_mem_free(p->channel);
    return st;
}

/* t with the strides that the kernel walks by; a new reference. */
static FacStatus
dense_in(FacTensor *t, bool last, FacTensor **out)
{
    FacDim strides[FAC_MAX_NDIM];
    if (!last) return fac_contiguous(t, FAC_DT_NONE, out);
    const FacMemoryFormat format = t->ndim == 4 ? FAC_CHANNELS_LAST : FAC_CHANNELS_LAST_3D;
    if (fac_is_format(format, t->ndim, t->sizes, t->strides)) {
        *out = fac_tensor_retain(t);
        return FAC_OK;
    }
    fac_strides_format(format, t->ndim, t->sizes, strides);
    FAC_RETURN_IF_ERROR(
        fac_tensor_new_strided((FacDType)t->dtype, t->device, t->ndim, t->sizes, strides, out));
    const FacStatus st = fac_tensor_copy(*out, t);
    if (st) fac_tensor_release(*out);
    return st;
}

/* The sizes, and which way to walk; the rest of *p is 0. */
static void
plan(Channels *p, const FacTensor *x, int64_t groups)
{
    p->outer = x->sizes[0];
    p->channels = x->sizes[1];
    p->inner = 1;
    for (int i = 2; i < x->ndim; i++) p->inner *= x->sizes[i];
    p->dtype = (FacDType)x->dtype;
    p->group = groups ? p->channels / groups : 0;
    p->shared = (groups ? p->group : p->outer) * p->inner;
    p->runs = groups ? p->group : p->outer;
    p->last = fac_format_of(x->ndim, x->sizes, x->strides) != FAC_CONTIGUOUS;
    p->columns = p->last || (!groups && p->inner < RUN_LEAST);
    p->samples = groups ? p->outer : 1;
    p->stats = groups ? groups : p->channels;
    p->lines = p->columns ? p->samples : p->outer;
    if (!p->columns || !x->numel) return;
    const int64_t period = p->last ? p->channels : p->channels * p->inner;
    p->total = x->numel / p->samples;
    p->width = period;
    if (period < WIDTH_LEAST) p->width *= WIDTH_LEAST / period;
    if (p->width > p->total) p->width = period;
    p->rows = p->total / p->width;
    p->rest = p->total % p->width;
    p->height = BLOCK_ELEMENTS / p->width;
    if (p->height < BLOCK_ROWS) p->height = BLOCK_ROWS;
    p->blocks = fac_chunks(p->rows, p->height);
}

/* Memory for the tables, and for the parts of gradients. */
static FacStatus
prepare(Channels *p, Held *h, bool backward)
{
    const size_t size = (size_t)fac_dtype_size((FacDType)fac_dtype_info[p->dtype].compute);
    if (p->columns) {
        h->scratch = (size_t)(p->samples * sample_scratch(p)) * size;
        FAC_RETURN_IF_ERROR(fac_host_alloc(h->scratch, &p->scratch));
        p->channel = fac_mem_alloc((size_t)(2 * p->width) * sizeof *p->channel);
        if (!p->channel) return fac_error(FAC_MEMORY_ERROR, "no memory for a table of channels");
        p->stat = p->channel + p->width;
        for (int64_t j = 0; j < p->width; j++) {
            const int64_t c = p->last ? j % p->channels : j / p->inner % p->channels;
            p->channel[j] = (int32_t)c;
            p->stat[j] = (int32_t)(p->group ? c / p->group : c);
        }
    }
    if (!backward) return FAC_OK;
    h->parts = (size_t)(2 * p->lines * p->channels) * size;
    return fac_host_alloc(h->parts, &p->parts);
}

static void
point(Channels *p, const Held *h)
{
    p->x = data(h, X);
    p->g = data(h, G);
    p->weight = data(h, WEIGHT);
    p->bias = data(h, BIAS);
    p->mean = data(h, MEAN);
    p->rstd = data(h, RSTD);
    p->var = data(h, VAR);
    p->dweight = data(h, DWEIGHT);
    p->dbias = data(h, DBIAS);
    p->y = data(h, Y);
}

static void
run_forward(Channels *p)
{
    const bool single = fac_dtype_info[p->dtype].compute == FAC_DT_F32;
    if (p->columns)
        fac_parallel(p->samples, fac_grain(6 * p->total),
                     single ? columns_forward_f32 : columns_forward_f64, p);
    else
        fac_parallel(p->outer * p->channels / p->runs, fac_grain(6 * p->shared),
                     single ? runs_forward_f32 : runs_forward_f64, p);
}

static void
run_backward(Channels *p)
{
    const bool single = fac_dtype_info[p->dtype].compute == FAC_DT_F32;
    if (p->columns)
        fac_parallel(p->samples, fac_grain(10 * p->total),
                     single ? columns_backward_f32 : columns_backward_f64, p);
    else
        fac_parallel(p->outer * p->channels / p->runs, fac_grain(10 * p->shared),
                     single ? runs_backward_f32 : runs_backward_f64, p);
    if (p->dweight)
        fac_parallel(p->channels, fac_grain(2 * p->lines), single ? add_lines_f32 : add_lines_f64,
                     p);
}

/* --- batch_norm --------------------------------------------------------------------------------------- */

/* mean and 1 / sqrt(var + eps) from the running statistics, into fresh tensors. */
static FacStatus
from_running(FacTensor *mean, FacTensor *var, FacDType dt, double eps, Held *h)
{
    FAC_RETURN_IF_ERROR(plain_in(mean, dt, &h->t[MEAN]));
    FAC_RETURN_IF_ERROR(plain_in(var, dt, &h->t[VAR]));
    FAC_RETURN_IF_ERROR(fac_tensor_new(dt, var->device, 1, var->sizes, &h->t[RSTD]));
    for (int64_t i = 0; i < var->numel; i++) {
        if (dt == FAC_DT_F32)
            ((float *)data(h, RSTD))[i] = 1 / sqrtf(((float *)data(h, VAR))[i] + (float)eps);
        else
            ((double *)data(h, RSTD))[i] = 1 / sqrt(((double *)data(h, VAR))[i] + eps);
    }
    return FAC_OK;
}

/* running = (1 - momentum) running + momentum value * scale, in the compute dtype. */
static FacStatus
update_running(FacTensor *running, const FacTensor *value, double momentum, double scale)
{
    FacTensor *now = NULL;
    const FacDType dt = (FacDType)value->dtype;
    if (!running) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_contiguous(running, dt, &now));
    for (int64_t i = 0; i < value->numel; i++) {
        if (dt == FAC_DT_F32) {
            float *r = (float *)fac_data(now) + i;
            *r = (float)momentum * (((const float *)fac_data(value))[i] * (float)scale) +
                 (1 - (float)momentum) * *r;
        } else {
            double *r = (double *)fac_data(now) + i;
            *r = momentum * (((const double *)fac_data(value))[i] * scale) + (1 - momentum) * *r;
        }
    }
    const FacStatus st = now == running ? FAC_OK : fac_tensor_copy(running, now);
    fac_tensor_release(now);
    return st;
}

/* (input, weight, bias, running_mean, running_var, training, momentum, eps)
 * -> (result, save_mean, save_invstd). */
FacStatus
FAC_KERNEL(native_batch_norm)(FacCall *call)
{
    FacTensor *x = fac_arg_tensor(call, 0);
    FacTensor *running_mean = fac_arg_tensor(call, 3), *running_var = fac_arg_tensor(call, 4);
    const FacDType dt = plain_compute(x);
    const double momentum = fac_v_as_float(FAC_ARG(call, 6));
    Channels p = {.eps = fac_v_as_float(FAC_ARG(call, 7)), .own = FAC_ARG(call, 5).v.i};
    Held h = {{NULL}, 0, 0};
    FacStatus st = FAC_OK;
    plan(&p, x, 0);
    FAC_TRY(dense_in(x, p.last, &h.t[X]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), dt, &h.t[WEIGHT]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 2), dt, &h.t[BIAS]));
    h.t[Y] = fac_tensor_retain(fac_result_tensor(call, 0));
    if (p.own) {
        FAC_TRY(plain_out(call, 1, dt, &h.t[MEAN]));
        FAC_TRY(plain_out(call, 2, dt, &h.t[RSTD]));
        FAC_TRY(fac_tensor_new(dt, x->device, 1, &x->sizes[1], &h.t[VAR]));
    } else {
        FAC_TRY(from_running(running_mean, running_var, dt, p.eps, &h));
    }
    point(&p, &h);
    if (x->numel) {
        FAC_TRY(prepare(&p, &h, false));
        run_forward(&p);
    }
    if (!p.own) goto done;
    const double n = (double)p.shared, unbiased = n > 1 ? n / (n - 1) : NAN;
    if (x->numel) {
        FAC_TRY(update_running(running_mean, h.t[MEAN], momentum, 1));
        FAC_TRY(update_running(running_var, h.t[VAR], momentum, unbiased));
    }
    FAC_TRY(plain_done(call, 1, h.t[MEAN]));
    FAC_TRY(plain_done(call, 2, h.t[RSTD]));
done:
    return release(&h, &p, st);
}

/* Results are the gradients of the input, the weight and the bias; below 0: it is not wanted. */
typedef struct Wanted {
    int input, weight, bias;
} Wanted;

static FacStatus
gradients_out(FacCall *call, Wanted wanted, FacDType dt, Held *h)
{
    if (wanted.input >= 0) h->t[Y] = fac_tensor_retain(fac_result_tensor(call, wanted.input));
    if (wanted.weight < 0) return FAC_OK;
    FAC_RETURN_IF_ERROR(plain_out(call, wanted.weight, dt, &h->t[DWEIGHT]));
    return plain_out(call, wanted.bias, dt, &h->t[DBIAS]);
}

/* Runs the kernel and rounds the gradients of the parameters. */
static FacStatus
gradients(FacCall *call, Wanted wanted, Channels *p, Held *h)
{
    point(p, h);
    p->gtype = (FacDType)h->t[G]->dtype;
    if (h->t[X]->numel) {
        FAC_RETURN_IF_ERROR(prepare(p, h, true));
        run_backward(p);
    } else if (h->t[DWEIGHT]) {
        memset(p->dweight, 0, fac_nbytes(h->t[DWEIGHT]));
        memset(p->dbias, 0, fac_nbytes(h->t[DBIAS]));
    }
    if (!h->t[DWEIGHT]) return FAC_OK;
    FAC_RETURN_IF_ERROR(plain_done(call, wanted.weight, h->t[DWEIGHT]));
    return plain_done(call, wanted.bias, h->t[DBIAS]);
}

/* Of (grad, input, weight, running_mean, running_var, save_mean, save_invstd, train, eps). */
static FacStatus
batch_norm_gradients(FacCall *call, Wanted wanted)
{
    FacTensor *x = fac_arg_tensor(call, 1);
    const FacDType dt = plain_compute(x);
    Channels p = {.eps = fac_v_as_float(FAC_ARG(call, 8)), .own = FAC_ARG(call, 7).v.i};
    Held h = {{NULL}, 0, 0};
    FacStatus st = FAC_OK;
    plan(&p, x, 0);
    p.anew = p.own && fac_arg_tensor(call, 5)->dtype != dt;
    FAC_TRY(dense_in(fac_arg_tensor(call, 0), p.last, &h.t[G]));
    FAC_TRY(dense_in(x, p.last, &h.t[X]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 2), dt, &h.t[WEIGHT]));
    if (p.anew) {
        FAC_TRY(fac_tensor_new(dt, x->device, 1, &x->sizes[1], &h.t[MEAN]));
        FAC_TRY(fac_tensor_new(dt, x->device, 1, &x->sizes[1], &h.t[RSTD]));
    } else if (p.own) {
        FAC_TRY(plain_in(fac_arg_tensor(call, 5), dt, &h.t[MEAN]));
        FAC_TRY(plain_in(fac_arg_tensor(call, 6), dt, &h.t[RSTD]));
    } else {
        FAC_TRY(from_running(fac_arg_tensor(call, 3), fac_arg_tensor(call, 4), dt, p.eps, &h));
    }
    FAC_TRY(gradients_out(call, wanted, dt, &h));
    FAC_TRY(gradients(call, wanted, &p, &h));
done:
    return release(&h, &p, st);
}

FacStatus
FAC_KERNEL(batch_norm_backward)(FacCall *call)
{
    return batch_norm_gradients(call, (Wanted){0, -1, -1});
}

FacStatus
FAC_KERNEL(batch_norm_backward_affine)(FacCall *call)
{
    return batch_norm_gradients(call, (Wanted){-1, 0, 1});
}

FacStatus
FAC_KERNEL(batch_norm_backward_all)(FacCall *call)
{
    return batch_norm_gradients(call, (Wanted){0, 1, 2});
}

/* --- group_norm --------------------------------------------------------------------------------------- */

/* (input, num_groups, weight, bias, eps) -> (result, mean, rstd). */
FacStatus
FAC_KERNEL(group_norm)(FacCall *call)
{
    FacTensor *x = fac_arg_tensor(call, 0);
    const FacDType dt = plain_compute(x);
    Channels p = {.eps = fac_v_as_float(FAC_ARG(call, 4)), .own = true};
    Held h = {{NULL}, 0, 0};
    FacStatus st = FAC_OK;
    if (!x->numel) goto done;
    plan(&p, x, FAC_ARG(call, 1).v.i);
    FAC_TRY(dense_in(x, p.last, &h.t[X]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 2), dt, &h.t[WEIGHT]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 3), dt, &h.t[BIAS]));
    h.t[Y] = fac_tensor_retain(fac_result_tensor(call, 0));
    h.t[MEAN] = fac_tensor_retain(fac_result_tensor(call, 1));
    h.t[RSTD] = fac_tensor_retain(fac_result_tensor(call, 2));
    point(&p, &h);
    FAC_TRY(prepare(&p, &h, false));
    run_forward(&p);
done:
    return release(&h, &p, st);
}

/* (grad, input, num_groups, mean, rstd, weight, eps) -> gradients of input, weight and bias. */
FacStatus
FAC_KERNEL(group_norm_backward)(FacCall *call)
{
    FacTensor *x = fac_arg_tensor(call, 1);
    const FacDType dt = plain_compute(x);
    const Wanted wanted = {0, 1, 2};
    Channels p = {.own = true};
    Held h = {{NULL}, 0, 0};
    FacStatus st = FAC_OK;
    if (x->numel) plan(&p, x, FAC_ARG(call, 2).v.i);
    FAC_TRY(dense_in(fac_arg_tensor(call, 0), p.last, &h.t[G]));
    FAC_TRY(dense_in(x, p.last, &h.t[X]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 3), dt, &h.t[MEAN]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 4), dt, &h.t[RSTD]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 5), dt, &h.t[WEIGHT]));
    FAC_TRY(gradients_out(call, wanted, dt, &h));
    FAC_TRY(gradients(call, wanted, &p, &h));
done:
    return release(&h, &p, st);
}
