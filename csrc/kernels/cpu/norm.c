/* norm.c - layer_norm and batch_norm, their gradients, and the running statistics.
 *
 * Statistics are computed in the compute dtype and rounded to the dtype that the rule gave the
 * results for them. A gradient with respect to the input and one with respect to weight and bias are
 * separate kernels, so that each is computed only when it is wanted. Statistics that were rounded to
 * half precision are computed anew for the gradients, whose terms cancel.
 */
#include "device/device.h"
#include "kernels/cpu/plain.h"

#include <math.h>

enum { NORM_LANES = 32, NORM_GROUP = 256 }; /* rows whose contributions to a weight are one sum */

typedef struct Norm {
    const void *x, *g, *weight, *bias;
    void *partial; /* rows: sums of groups */
    void *y, *mean, *var, *rstd, *dweight, *dbias;
    int64_t n;     /* elements that share a mean */
    int64_t count; /* rows */
    int64_t channels, inner, outer;
    double eps;
    bool train;
    bool anew; /* rows: the statistics are not to be read but computed */
} Norm;

#define T float
#define NAME(x) x##_f32
#define SQRT sqrtf
#include "kernels/cpu/norm_body.h"
#define T double
#define NAME(x) x##_f64
#define SQRT sqrt
#include "kernels/cpu/norm_body.h"

/* The tensors of one call in the compute dtype, released together. */
enum { X, G, WEIGHT, BIAS, Y, MEAN, RSTD, VAR, DWEIGHT, DBIAS, SLOTS };
typedef struct Held {
    FacTensor *t[SLOTS];
} Held;

static void
release(Held *h)
{
    for (int i = 0; i < SLOTS; i++) fac_tensor_release(h->t[i]);
}

static void *
data(const Held *h, int slot)
{
    return h->t[slot] ? fac_data(h->t[slot]) : NULL;
}

static Norm
pointers(const Held *h)
{
    return (Norm){.x = data(h, X),
                  .g = data(h, G),
                  .weight = data(h, WEIGHT),
                  .bias = data(h, BIAS),
                  .y = data(h, Y),
                  .mean = data(h, MEAN),
                  .rstd = data(h, RSTD),
                  .var = data(h, VAR),
                  .dweight = data(h, DWEIGHT),
                  .dbias = data(h, DBIAS)};
}

/* --- rows ------------------------------------------------------------------------------------------- */

static void
split_rows(Norm *p, const FacTensor *x, int normalized)
{
    p->n = 1;
    for (int i = x->ndim - normalized; i < x->ndim; i++) p->n *= x->sizes[i];
    p->count = p->n ? x->numel / p->n : 0;
}

/* (input, normalized_shape, weight, bias, eps) -> (result, mean, rstd). */
FacStatus
FAC_KERNEL(native_layer_norm)(FacCall *call)
{
    FacTensor *x = fac_arg_tensor(call, 0);
    const FacDType dt = plain_compute(x);
    Held h = {{NULL}};
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(x, dt, &h.t[X]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 2), dt, &h.t[WEIGHT]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 3), dt, &h.t[BIAS]));
    FAC_TRY(plain_out(call, 0, dt, &h.t[Y]));
    FAC_TRY(plain_out(call, 1, dt, &h.t[MEAN]));
    FAC_TRY(plain_out(call, 2, dt, &h.t[RSTD]));
    Norm p = pointers(&h);
    split_rows(&p, x, (int)FAC_ARG(call, 1).len);
    p.eps = fac_v_as_float(FAC_ARG(call, 4));
    fac_parallel(p.count, fac_grain(4 * p.n), dt == FAC_DT_F32 ? rows_f32 : rows_f64, &p);
    FAC_TRY(plain_done(call, 0, h.t[Y]));
    FAC_TRY(plain_done(call, 1, h.t[MEAN]));
    FAC_TRY(plain_done(call, 2, h.t[RSTD]));
done:
    release(&h);
    return st;
}

/* (grad, input, normalized_shape, mean, rstd, weight, eps) -> gradient of input. */
FacStatus
FAC_KERNEL(layer_norm_backward)(FacCall *call)
{
    FacTensor *x = fac_arg_tensor(call, 1);
    const FacDType dt = plain_compute(x);
    Held h = {{NULL}};
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), dt, &h.t[G]));
    FAC_TRY(plain_in(x, dt, &h.t[X]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 3), dt, &h.t[MEAN]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 4), dt, &h.t[RSTD]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 5), dt, &h.t[WEIGHT]));
    FAC_TRY(plain_out(call, 0, dt, &h.t[Y]));
    Norm p = pointers(&h);
    split_rows(&p, x, (int)FAC_ARG(call, 2).len);
    p.anew = fac_arg_tensor(call, 3)->dtype != dt;
    p.eps = fac_v_as_float(FAC_ARG(call, 6));
    fac_parallel(p.count, fac_grain(6 * p.n),
                 dt == FAC_DT_F32 ? rows_backward_f32 : rows_backward_f64, &p);
    FAC_TRY(plain_done(call, 0, h.t[Y]));
done:
    release(&h);
    return st;
}

/* (grad, input, normalized_shape, mean, rstd, eps) -> gradients of weight and bias. */
FacStatus
FAC_KERNEL(layer_norm_backward_affine)(FacCall *call)
{
    FacTensor *x = fac_arg_tensor(call, 1);
    const FacDType dt = plain_compute(x);
    Held h = {{NULL}};
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), dt, &h.t[G]));
    FAC_TRY(plain_in(x, dt, &h.t[X]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 3), dt, &h.t[MEAN]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 4), dt, &h.t[RSTD]));
    FAC_TRY(plain_out(call, 0, dt, &h.t[DWEIGHT]));
    FAC_TRY(plain_out(call, 1, dt, &h.t[DBIAS]));
    Norm p = pointers(&h);
    split_rows(&p, x, (int)FAC_ARG(call, 2).len);
    p.anew = fac_arg_tensor(call, 3)->dtype != dt;
    p.eps = fac_v_as_float(FAC_ARG(call, 5));
    const int64_t groups = fac_chunks(p.count, NORM_GROUP), grain = fac_grain(2 * (groups + 1));
    const size_t bytes = (size_t)(groups * 2 * p.n * fac_dtype_size(dt));
    if (bytes) FAC_TRY(fac_host_alloc(bytes, &p.partial));
    fac_parallel(groups, fac_grain(4 * NORM_GROUP * p.n),
                 dt == FAC_DT_F32 ? rows_affine_f32 : rows_affine_f64, &p);
    fac_parallel(p.n, grain < 64 ? 64 : grain, dt == FAC_DT_F32 ? add_groups_f32 : add_groups_f64,
                 &p);
    if (bytes) fac_host_free(p.partial, bytes);
    FAC_TRY(plain_done(call, 0, h.t[DWEIGHT]));
    FAC_TRY(plain_done(call, 1, h.t[DBIAS]));
done:
    release(&h);
    return st;
}

/* --- channels --------------------------------------------------------------------------------------- */

static void
split_channels(Norm *p, const FacTensor *x)
{
    p->outer = x->sizes[0];
    p->channels = x->sizes[1];
    p->inner = 1;
    for (int i = 2; i < x->ndim; i++) p->inner *= x->sizes[i];
    p->n = p->outer * p->inner;
}

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
    const double momentum = fac_v_as_float(FAC_ARG(call, 6)),
                 eps = fac_v_as_float(FAC_ARG(call, 7));
    const bool train = FAC_ARG(call, 5).v.i;
    Held h = {{NULL}};
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(x, dt, &h.t[X]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), dt, &h.t[WEIGHT]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 2), dt, &h.t[BIAS]));
    FAC_TRY(plain_out(call, 0, dt, &h.t[Y]));
    if (train) {
        FAC_TRY(plain_out(call, 1, dt, &h.t[MEAN]));
        FAC_TRY(plain_out(call, 2, dt, &h.t[RSTD]));
        FAC_TRY(fac_tensor_new(dt, x->device, 1, &x->sizes[1], &h.t[VAR]));
    } else {
        FAC_TRY(from_running(running_mean, running_var, dt, eps, &h));
    }
    Norm p = pointers(&h);
    split_channels(&p, x);
    p.eps = eps;
    if (train) {
        fac_parallel(p.channels, fac_grain(4 * (p.n + 1)),
                     dt == FAC_DT_F32 ? channel_stats_f32 : channel_stats_f64, &p);
        const double n = (double)p.n, unbiased = n > 1 ? n / (n - 1) : NAN;
        if (p.n) {
            FAC_TRY(update_running(running_mean, h.t[MEAN], momentum, 1));
            FAC_TRY(update_running(running_var, h.t[VAR], momentum, unbiased));
        }
        FAC_TRY(plain_done(call, 1, h.t[MEAN]));
        FAC_TRY(plain_done(call, 2, h.t[RSTD]));
    }
    fac_parallel(p.outer * p.channels, fac_grain(2 * (p.inner + 1)),
                 dt == FAC_DT_F32 ? channel_apply_f32 : channel_apply_f64, &p);
    FAC_TRY(plain_done(call, 0, h.t[Y]));
done:
    release(&h);
    return st;
}

/* (grad, input, weight, running_mean, running_var, save_mean, save_invstd, train, eps) ->
 * gradient of input, or of weight and bias. */
static FacStatus
batch_norm_backward(FacCall *call, bool affine)
{
    FacTensor *x = fac_arg_tensor(call, 1);
    const FacDType dt = plain_compute(x);
    const double eps = fac_v_as_float(FAC_ARG(call, 8));
    const bool train = FAC_ARG(call, 7).v.i;
    Held h = {{NULL}};
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), dt, &h.t[G]));
    FAC_TRY(plain_in(x, dt, &h.t[X]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 2), dt, &h.t[WEIGHT]));
    const bool anew = train && fac_arg_tensor(call, 5)->dtype != dt;
    if (anew) {
        FAC_TRY(fac_tensor_new(dt, x->device, 1, &x->sizes[1], &h.t[MEAN]));
        FAC_TRY(fac_tensor_new(dt, x->device, 1, &x->sizes[1], &h.t[RSTD]));
        FAC_TRY(fac_tensor_new(dt, x->device, 1, &x->sizes[1], &h.t[VAR]));
    } else if (train) {
        FAC_TRY(plain_in(fac_arg_tensor(call, 5), dt, &h.t[MEAN]));
        FAC_TRY(plain_in(fac_arg_tensor(call, 6), dt, &h.t[RSTD]));
    } else {
        FAC_TRY(from_running(fac_arg_tensor(call, 3), fac_arg_tensor(call, 4), dt, eps, &h));
    }
    if (affine) {
        FAC_TRY(plain_out(call, 0, dt, &h.t[DWEIGHT]));
        FAC_TRY(plain_out(call, 1, dt, &h.t[DBIAS]));
    } else {
        FAC_TRY(plain_out(call, 0, dt, &h.t[Y]));
    }
    Norm p = pointers(&h);
    split_channels(&p, x);
    p.train = train;
    p.eps = eps;
    if (anew)
        fac_parallel(p.channels, fac_grain(4 * (p.n + 1)),
                     dt == FAC_DT_F32 ? channel_stats_f32 : channel_stats_f64, &p);
    fac_parallel(p.channels, fac_grain(6 * (p.n + 1)),
                 dt == FAC_DT_F32 ? channel_backward_f32 : channel_backward_f64, &p);
    FAC_TRY(plain_done(call, 0, affine ? h.t[DWEIGHT] : h.t[Y]));
    if (affine) FAC_TRY(plain_done(call, 1, h.t[DBIAS]));
done:
    release(&h);
    return st;
}

FacStatus
FAC_KERNEL(batch_norm_backward)(FacCall *call)
{
    return batch_norm_backward(call, false);
}

FacStatus
FAC_KERNEL(batch_norm_backward_affine)(FacCall *call)
{
    return batch_norm_backward(call, true);
}
