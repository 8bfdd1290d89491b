/* cross_entropy.c - the negative log likelihood of the softmax, without the softmax in memory.
 *
 * Forward reads the input and keeps two numbers a position: the largest element and the logarithm
 * of the sum of the exponentials. Backward reads the input again and writes the gradient, in one
 * pass. The input is seen as batch x classes x inner, the target as batch x inner. The sums of the
 * reduced forms are taken in double precision, in order.
 */
#include "device/device.h"
#include "kernels/cpu/exp_below.h"
#include "kernels/cpu/plain.h"

enum { REDUCE_NONE, REDUCE_MEAN, REDUCE_SUM };
enum { SOFTMAX_WIDE = 32, PIECE = 2048, GROUP_WIDE = 128 };

typedef struct CrossEntropy {
    int64_t batch, classes, inner, groups; /* groups of positions in a batch item */
    const int64_t *target;
    int64_t ignore;
    int reduction;
    FacDType dtype; /* of x and dx */
    const void *x, *weight, *grad, *total;
    void *loss, *stats, *dx;
} CrossEntropy;

/* Positions side by side: `wide` of them, the first one and where its first class lies. */
typedef struct Group {
    int64_t first, at;
    int wide;
} Group;

static Group
group_at(const CrossEntropy *p, int64_t i)
{
    const int64_t item = i / p->groups, column = i % p->groups * GROUP_WIDE;
    const int64_t left = p->inner - column;
    return (Group){.first = item * p->inner + column,
                   .at = item * p->classes * p->inner + column,
                   .wide = left < GROUP_WIDE ? (int)left : GROUP_WIDE};
}

#define T float
#define NAME(x) x##_f32
#define DTYPE FAC_DT_F32
#define EXP exp_below_f32
#define LOG fx_log_f32
#include "kernels/cpu/cross_entropy_body.h"
#define T double
#define NAME(x) x##_f64
#define DTYPE FAC_DT_F64
#define EXP exp_below_f64
#define LOG fx_log_f64
#include "kernels/cpu/cross_entropy_body.h"

static FacStatus
open_call(CrossEntropy *p, const FacTensor *x, const FacTensor *target)
{
    p->batch = x->ndim > 1 ? x->sizes[0] : 1;
    p->classes = x->ndim > 1 ? x->sizes[1] : x->sizes[0];
    p->inner = 1;
    for (int i = 2; i < x->ndim; i++) p->inner *= x->sizes[i];
    p->groups = fac_chunks(p->inner, GROUP_WIDE);
    p->x = fac_data(x);
    p->dtype = (FacDType)x->dtype;
    p->target = fac_data(target);
    for (int64_t i = 0; i < p->batch * p->inner; i++) {
        const int64_t t = p->target[i];
        if (t != p->ignore && (t < 0 || t >= p->classes))
            return fac_error(FAC_INDEX_ERROR, "Target %lld is out of bounds.", (long long)t);
    }
    return FAC_OK;
}

static void
run(CrossEntropy *p, FacBody body)
{
    const int64_t wide = p->inner < GROUP_WIDE ? p->inner : GROUP_WIDE;
    fac_parallel(p->classes ? p->batch * p->groups : 0, fac_grain(20 * p->classes * wide), body, p);
}

enum { X, TARGET, WEIGHT, OUT, TOTAL, STATS, GRAD, HELD };

static FacStatus
close_call(FacTensor **held, FacStatus st)
{
    for (int i = 0; i < HELD; i++) fac_tensor_release(held[i]);
    return st;
}

/* (self, target, weight, reduction, ignore_index) -> (output, total_weight, stats). */
FacStatus
FAC_KERNEL(cross_entropy)(FacCall *call)
{
    FacTensor *held[HELD] = {NULL};
    const FacDType dt = plain_compute(fac_arg_tensor(call, 0));
    const bool single = dt == FAC_DT_F32;
    CrossEntropy p = {.reduction = (int)FAC_ARG(call, 3).v.i, .ignore = FAC_ARG(call, 4).v.i};
    size_t bytes = 0;
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), FAC_DT_NONE, &held[X]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), FAC_DT_I64, &held[TARGET]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 2), dt, &held[WEIGHT]));
    FAC_TRY(plain_out(call, 0, dt, &held[OUT]));
    FAC_TRY(plain_out(call, 1, dt, &held[TOTAL]));
    FAC_TRY(open_call(&p, held[X], held[TARGET]));
    p.weight = held[WEIGHT] ? fac_data(held[WEIGHT]) : NULL;
    p.stats = fac_data(fac_result_tensor(call, 2));
    p.loss = fac_data(held[OUT]);
    if (p.reduction != REDUCE_NONE && held[TARGET]->numel) {
        bytes = (size_t)(held[TARGET]->numel * fac_dtype_size(dt));
        FAC_TRY(fac_host_alloc(bytes, &p.loss));
    }
    run(&p, single ? forward_f32 : forward_f64);
    if (single)
        reduce_f32(&p, fac_data(held[OUT]), fac_data(held[TOTAL]));
    else
        reduce_f64(&p, fac_data(held[OUT]), fac_data(held[TOTAL]));
    if (bytes) fac_host_free(p.loss, bytes);
    FAC_TRY(plain_done(call, 0, held[OUT]));
    FAC_TRY(plain_done(call, 1, held[TOTAL]));
done:
    return close_call(held, st);
}

/* (grad, self, target, weight, reduction, ignore_index, total_weight, stats). */
FacStatus
FAC_KERNEL(cross_entropy_backward)(FacCall *call)
{
    FacTensor *held[HELD] = {NULL};
    const FacDType dt = plain_compute(fac_arg_tensor(call, 1));
    CrossEntropy p = {.reduction = (int)FAC_ARG(call, 4).v.i, .ignore = FAC_ARG(call, 5).v.i};
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), dt, &held[GRAD]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), FAC_DT_NONE, &held[X]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 2), FAC_DT_I64, &held[TARGET]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 3), dt, &held[WEIGHT]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 6), dt, &held[TOTAL]));
    FAC_TRY(plain_in(fac_arg_tensor(call, 7), dt, &held[STATS]));
    FAC_TRY(open_call(&p, held[X], held[TARGET]));
    p.grad = fac_data(held[GRAD]);
    p.weight = held[WEIGHT] ? fac_data(held[WEIGHT]) : NULL;
    p.total = fac_data(held[TOTAL]);
    p.stats = fac_data(held[STATS]);
    p.dx = fac_data(fac_result_tensor(call, 0));
    run(&p, dt == FAC_DT_F32 ? backward_f32 : backward_f64);
done:
    return close_call(held, st);
}
