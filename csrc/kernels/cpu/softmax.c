/* softmax.c - softmax, log_softmax and their gradients along one dimension.
 *
 * The tensor is seen as outer x n x inner. Tasks are slices, or groups of slices side by side when
 * the dimension is not the last one; a slice is summed in an order that depends on n alone.
 */
#include "kernels/cpu/exp_below.h"
#include "kernels/cpu/plain.h"

/* Lanes of the sum of a row; elements of a piece of one; slices walked through at once, at most
 * and at least; elements of them that are kept beside each other. */
enum { SOFTMAX_WIDE = 32, PIECE = 2048, WIDEST = 256, NARROWEST = 32, KEPT = 16384 };

typedef struct Softmax {
    const void *a, *b; /* forward: the input and NULL; backward: gradient and output */
    void *out;
    FacDType a_dtype, b_dtype, out_dtype;
    int64_t n, inner, wide, groups; /* groups of `wide` slices */
    bool log;
} Softmax;

#define T float
#define NAME(x) x##_f32
#define DTYPE FAC_DT_F32
#define EXP exp_below_f32
#define EXP_ANY fx_exp_f32
#define LOG fx_log_f32
#include "kernels/cpu/softmax_body.h"
#define T double
#define NAME(x) x##_f64
#define DTYPE FAC_DT_F64
#define EXP exp_below_f64
#define EXP_ANY fx_exp_f64
#define LOG fx_log_f64
#include "kernels/cpu/softmax_body.h"

/* How many of `inner` slices side by side: few enough that they stay in the cache. Where slices are
 * too long for that, all comes from memory again: then long runs of it, but two tasks at least. */
static int64_t
width(int64_t n, int64_t inner)
{
    const int64_t kept = KEPT / n / NARROWEST * NARROWEST;
    if (kept >= NARROWEST) return kept < WIDEST ? kept : WIDEST;
    const int64_t part = fac_chunks(inner, 2 * NARROWEST) * NARROWEST;
    return part < 2 * NARROWEST ? 2 * NARROWEST : part < WIDEST ? part : WIDEST;
}

/* The tensors are args[0] and, backward, args[1]; the dim follows. */
static FacStatus
run(FacCall *call, int ntensors, bool log)
{
    FacTensor *result = fac_result_tensor(call, 0), *a = NULL, *b = NULL;
    const FacDType dt = plain_compute(result);
    Softmax s = {.n = 1, .inner = 1, .log = log, .out_dtype = (FacDType)result->dtype};
    FacStatus st = FAC_OK;
    int dim;
    if (result->numel == 0) return FAC_OK;
    FAC_TRY(fac_wrap_dim(fac_v_as_int(FAC_ARG(call, ntensors)), result->ndim, &dim));
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), FAC_DT_NONE, &a));
    if (ntensors == 2) FAC_TRY(plain_in(fac_arg_tensor(call, 1), FAC_DT_NONE, &b));
    if (result->ndim) s.n = result->sizes[dim];
    for (int i = dim + 1; i < result->ndim; i++) s.inner *= result->sizes[i];
    s.wide = width(s.n, s.inner);
    s.groups = fac_chunks(s.inner, s.wide);
    s.a = fac_data(a);
    s.a_dtype = (FacDType)a->dtype;
    if (b) {
        s.b = fac_data(b);
        s.b_dtype = (FacDType)b->dtype;
    }
    s.out = fac_data(result);
    const int64_t wide = s.inner < s.wide ? s.inner : s.wide;
    const int64_t tasks = result->numel / (s.n * s.inner) * s.groups;
    fac_parallel(tasks, fac_grain(20 * s.n * wide), dt == FAC_DT_F32 ? task_f32 : task_f64, &s);
done:
    fac_tensor_release(a);
    fac_tensor_release(b);
    return st;
}

FacStatus
FAC_KERNEL(softmax)(FacCall *call)
{
    return run(call, 1, false);
}

FacStatus
FAC_KERNEL(log_softmax)(FacCall *call)
{
    return run(call, 1, true);
}

FacStatus
FAC_KERNEL(softmax_backward)(FacCall *call)
{
    return run(call, 2, false);
}

FacStatus
FAC_KERNEL(log_softmax_backward)(FacCall *call)
{
    return run(call, 2, true);
}
