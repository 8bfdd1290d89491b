/* norm.c - layer_norm and rms_norm, and their gradients: n elements in a row share the statistics.
 *
 * Statistics are computed in the compute dtype and rounded to the dtype that the rule gave the
 * results for them; those that were rounded to half precision are computed anew for the gradients,
 * whose terms cancel. The gradients of the input and of the parameters come from one pass.
 */
#include "device/device.h"
#include "kernels/cpu/plain.h"

#include <math.h>

/* PIECE is a multiple of NORM_LANES; a group is the rows whose parts of a gradient of a weight
 * are one sum. */
enum { NORM_LANES = 32, NORM_GROUP = 64, PIECE = 2048 };

typedef struct Norm {
    const void *x, *g, *weight, *bias;
    FacDType dtype, gtype; /* of x and y, of g */
    void *y, *mean, *rstd, *dweight, *dbias;
    void *partial; /* sums of groups; NULL: no gradients of parameters */
    int64_t n, count;
    double eps;
    bool centered; /* around the mean: layer_norm */
    bool anew;     /* the statistics are not to be read but computed */
} Norm;

#define T float
#define NAME(x) x##_f32
#define DTYPE FAC_DT_F32
#define SQRT sqrtf
#include "kernels/cpu/norm_body.h"
#define T double
#define NAME(x) x##_f64
#define DTYPE FAC_DT_F64
#define SQRT sqrt
#include "kernels/cpu/norm_body.h"

enum { X, G, WEIGHT, BIAS, MEAN, RSTD, DWEIGHT, DBIAS, SLOTS };

static void *
data(FacTensor *const *held, int slot)
{
    return held[slot] ? fac_data(held[slot]) : NULL;
}

static FacStatus
release(FacTensor **held, FacStatus st)
{
    for (int i = 0; i < SLOTS; i++) fac_tensor_release(held[i]);
    return st;
}

static void
split_rows(Norm *p, const FacTensor *x, int normalized)
{
    p->n = 1;
    for (int i = x->ndim - normalized; i < x->ndim; i++) p->n *= x->sizes[i];
    p->count = p->n ? x->numel / p->n : 0;
}

/* Of (input, normalized_shape, weight, [bias,] eps): the result and the statistics in results[1]
 * on. */
static FacStatus
forward(FacCall *call, bool centered)
{
    FacTensor *x = fac_arg_tensor(call, 0), *held[SLOTS] = {NULL};
    const FacDType dt = plain_compute(x);
    const int rstd = centered ? 2 : 1;
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(x, FAC_DT_NONE, &held[X]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 2), dt, &held[WEIGHT]));
    if (centered) FAC_TRY(plain_in(fac_arg_tensor(call, 3), dt, &held[BIAS]));
    if (centered) FAC_TRY(plain_out(call, 1, dt, &held[MEAN]));
    FAC_TRY(plain_out(call, rstd, dt, &held[RSTD]));
    Norm p = {.x = data(held, X),
              .weight = data(held, WEIGHT),
              .bias = data(held, BIAS),
              .dtype = (FacDType)x->dtype,
              .y = fac_data(fac_result_tensor(call, 0)),
              .mean = data(held, MEAN),
              .rstd = data(held, RSTD),
              .eps = fac_v_as_float(FAC_ARG(call, centered ? 4 : 3)),
              .centered = centered};
    split_rows(&p, x, (int)FAC_ARG(call, 1).len);
    fac_parallel(p.count, fac_grain(4 * p.n), dt == FAC_DT_F32 ? rows_f32 : rows_f64, &p);
    if (centered) FAC_TRY(plain_done(call, 1, held[MEAN]));
    FAC_TRY(plain_done(call, rstd, held[RSTD]));
done:
    return release(held, st);
}

/* The results are those of the input, the weight and the bias; a number below 0 says that there
 * is none. */
typedef struct Wanted {
    int input, weight, bias;
} Wanted;

/* Of (grad, input, normalized_shape, [mean,] rstd, [weight,] eps). */
static FacStatus
backward(FacCall *call, bool centered, Wanted wanted)
{
    FacTensor *x = fac_arg_tensor(call, 1), *held[SLOTS] = {NULL};
    const FacDType dt = plain_compute(x);
    const int rstd = centered ? 4 : 3, last = call->op->nparams - 1;
    size_t bytes = 0;
    Norm p = {.partial = NULL};
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), FAC_DT_NONE, &held[G]));
    FAC_TRY(plain_in(x, FAC_DT_NONE, &held[X]));
    if (centered) FAC_TRY(plain_in(fac_arg_tensor(call, 3), dt, &held[MEAN]));
    FAC_TRY(plain_in(fac_arg_tensor(call, rstd), dt, &held[RSTD]));
    if (wanted.input >= 0) FAC_TRY(plain_in(fac_arg_tensor(call, last - 1), dt, &held[WEIGHT]));
    if (wanted.weight >= 0) FAC_TRY(plain_out(call, wanted.weight, dt, &held[DWEIGHT]));
    if (wanted.bias >= 0) FAC_TRY(plain_out(call, wanted.bias, dt, &held[DBIAS]));
    p = (Norm){.x = data(held, X),
               .g = data(held, G),
               .weight = data(held, WEIGHT),
               .dtype = (FacDType)x->dtype,
               .gtype = (FacDType)held[G]->dtype,
               .y = wanted.input >= 0 ? fac_data(fac_result_tensor(call, wanted.input)) : NULL,
               .mean = data(held, MEAN),
               .rstd = data(held, RSTD),
               .dweight = data(held, DWEIGHT),
               .dbias = data(held, DBIAS),
               .eps = fac_v_as_float(FAC_ARG(call, last)),
               .centered = centered,
               .anew = fac_arg_tensor(call, rstd)->dtype != dt};
    split_rows(&p, x, (int)FAC_ARG(call, 2).len);
    const int64_t groups = fac_chunks(p.count, NORM_GROUP), grain = fac_grain(2 * (groups + 1));
    if (p.dweight) bytes = (size_t)(groups * 2 * p.n * fac_dtype_size(dt));
    if (bytes) FAC_TRY(fac_host_alloc(bytes, &p.partial));
    fac_parallel(groups, fac_grain(6 * NORM_GROUP * p.n),
                 dt == FAC_DT_F32 ? rows_backward_f32 : rows_backward_f64, &p);
    if (p.dweight)
        fac_parallel(p.n, grain < 64 ? 64 : grain,
                     dt == FAC_DT_F32 ? add_groups_f32 : add_groups_f64, &p);
    if (held[DWEIGHT]) FAC_TRY(plain_done(call, wanted.weight, held[DWEIGHT]));
    if (held[DBIAS]) FAC_TRY(plain_done(call, wanted.bias, held[DBIAS]));
done:
    if (p.partial) fac_host_free(p.partial, bytes);
    return release(held, st);
}

/* (input, normalized_shape, weight, bias, eps) -> (result, mean, rstd). */
FacStatus
FAC_KERNEL(native_layer_norm)(FacCall *call)
{
    return forward(call, true);
}

/* (grad, input, normalized_shape, mean, rstd, weight, eps) -> gradient of the input. */
FacStatus
FAC_KERNEL(layer_norm_backward)(FacCall *call)
{
    return backward(call, true, (Wanted){0, -1, -1});
}

/* (grad, input, normalized_shape, mean, rstd, eps) -> gradients of weight and bias. */
FacStatus
FAC_KERNEL(layer_norm_backward_affine)(FacCall *call)
{
    return backward(call, true, (Wanted){-1, 0, 1});
}

/* (grad, input, normalized_shape, mean, rstd, weight, eps) -> gradients of input, weight and
 * bias. */
FacStatus
FAC_KERNEL(layer_norm_backward_all)(FacCall *call)
{
    return backward(call, true, (Wanted){0, 1, 2});
}

/* (input, normalized_shape, weight, eps) -> (result, rstd). */
FacStatus
FAC_KERNEL(rms_norm)(FacCall *call)
{
    return forward(call, false);
}

/* (grad, input, normalized_shape, rstd, weight, eps) -> gradients of input and weight. */
FacStatus
FAC_KERNEL(rms_norm_backward)(FacCall *call)
{
    return backward(call, false, (Wanted){0, 1, -1});
}
