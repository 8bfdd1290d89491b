/* pool.c - max and average pooling over the last one to three dims, and their gradients.
 *
 * Windows either slide (kernel, stride, padding, dilation) or divide the plane evenly (adaptive:
 * output o covers [o in / out, ceil((o + 1) in / out)) ). A task is a number of planes; a plane's
 * gradient is summed in the order of the outputs.
 */
#include "kernels/cpu/plain.h"

typedef enum Kind { MAX, MAX_BACKWARD, AVG, AVG_BACKWARD } Kind;

typedef struct Pool {
    Kind kind;
    bool adaptive, count_padding;
    int64_t in[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t in_area, out_area, planes;
    int64_t divisor;     /* 0: the size of the window */
    void *large, *small; /* the side of the input, the side of the output */
    int64_t *indices;
} Pool;

typedef struct Span {
    int64_t begin, end, step;
    int64_t padded; /* how many positions count when padding counts */
} Span;

static inline Span
span(const Pool *p, int dim, int64_t o)
{
    const int64_t in = p->in[dim], out = p->out[dim], step = p->dilation[dim];
    if (p->adaptive) {
        const int64_t begin = o * in / out, end = ((o + 1) * in + out - 1) / out;
        return (Span){begin, end, 1, end - begin};
    }
    int64_t begin = o * p->stride[dim] - p->padding[dim];
    int64_t end = begin + (p->kernel[dim] - 1) * step + 1;
    const int64_t last = end < in + p->padding[dim] ? end : in + p->padding[dim];
    const int64_t padded = last - begin;
    if (begin < 0) begin += (-begin + step - 1) / step * step;
    return (Span){begin, end < in ? end : in, step, padded};
}

static inline int64_t
divisor(const Pool *p, Span z, Span y, Span x)
{
    if (p->divisor) return p->divisor;
    if (p->count_padding) return z.padded * y.padded * x.padded;
    return (z.end - z.begin) * (y.end - y.begin) * (x.end - x.begin);
}

/* The smallest number divided by -1 wraps. */
static inline int64_t
share_int(int64_t sum, int64_t d)
{
    return d == -1 ? (int64_t)(0 - (uint64_t)sum) : sum / d;
}

#define SHARE(sum, d) ((sum) / (SUM)(d))
#define T float
#define SUM float
#define NAME(name) name##_F32
#include "kernels/cpu/pool_body.h"
#define T double
#define SUM double
#define NAME(name) name##_F64
#include "kernels/cpu/pool_body.h"
#undef SHARE
#define SHARE(sum, d) share_int(sum, d)
#define T uint8_t
#define SUM int64_t
#define NAME(name) name##_U8
#include "kernels/cpu/pool_body.h"
#define T int8_t
#define SUM int64_t
#define NAME(name) name##_I8
#include "kernels/cpu/pool_body.h"
#define T int16_t
#define SUM int64_t
#define NAME(name) name##_I16
#include "kernels/cpu/pool_body.h"
#define T int32_t
#define SUM int64_t
#define NAME(name) name##_I32
#include "kernels/cpu/pool_body.h"
#define T int64_t
#define SUM int64_t
#define NAME(name) name##_I64
#include "kernels/cpu/pool_body.h"

static FacBody
body_of(FacDType dt)
{
    switch (dt) {
    case FAC_DT_F32: return planes_F32;
    case FAC_DT_F64: return planes_F64;
    case FAC_DT_U8: return planes_U8;
    case FAC_DT_I8: return planes_I8;
    case FAC_DT_I16: return planes_I16;
    case FAC_DT_I32: return planes_I32;
    case FAC_DT_I64: return planes_I64;
    default: return NULL;
    }
}

/* n pooled dims of tensors with `large` and `small` sizes. */
static Pool
sizes(Kind kind, int n, const FacTensor *large, const FacTensor *small)
{
    Pool p = {.kind = kind,
              .in = {1, 1, 1},
              .out = {1, 1, 1},
              .kernel = {1, 1, 1},
              .stride = {1, 1, 1},
              .dilation = {1, 1, 1},
              .in_area = 1,
              .out_area = 1,
              .planes = 1};
    for (int i = 0; i < n; i++) {
        p.in[3 - n + i] = large->sizes[large->ndim - n + i];
        p.out[3 - n + i] = small->sizes[small->ndim - n + i];
        p.in_area *= p.in[3 - n + i];
        p.out_area *= p.out[3 - n + i];
    }
    for (int i = 0; i < large->ndim - n; i++) p.planes *= large->sizes[i];
    return p;
}

/* kernel_size, stride, padding from args[first] on. */
static void
sliding(Pool *p, const FacCall *call, int first)
{
    const FacValue kernel = FAC_ARG(call, first), padding = FAC_ARG(call, first + 2);
    const FacValue stride = FAC_ARG(call, first + 1).len ? FAC_ARG(call, first + 1) : kernel;
    const int n = (int)kernel.len;
    for (int i = 0; i < n; i++) {
        p->kernel[3 - n + i] = kernel.v.ints[i];
        p->stride[3 - n + i] = stride.v.ints[stride.len == 1 ? 0 : i];
        p->padding[3 - n + i] = padding.v.ints[padding.len == 1 ? 0 : i];
    }
}

/* Runs with the tensor at args[0] as the one side, result 0 as the other; `indices` may be NULL. */
static FacStatus
run(FacCall *call, Pool *p, FacTensor *indices)
{
    FacTensor *from = NULL, *to = NULL;
    const FacDType dt = plain_compute(fac_result_tensor(call, 0));
    const FacBody body = body_of(dt);
    const bool backward = p->kind == MAX_BACKWARD || p->kind == AVG_BACKWARD;
    FacStatus st = FAC_OK;
    if (!body) return fac_not_implemented_for(call, dt);
    if (fac_result_tensor(call, 0)->numel == 0) return FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), dt, &from));
    FAC_TRY(plain_out(call, 0, dt, &to));
    p->large = fac_data(backward ? to : from);
    p->small = fac_data(backward ? from : to);
    p->indices = indices ? fac_data(indices) : NULL;
    int64_t window = 1;
    for (int i = 0; i < 3; i++)
        window *= p->adaptive ? 2 : p->kernel[i] < p->in[i] ? p->kernel[i] : p->in[i];
    fac_parallel(p->planes, fac_grain(p->in_area + p->out_area * window), body, p);
    FAC_TRY(plain_done(call, 0, to));
done:
    fac_tensor_release(from);
    fac_tensor_release(to);
    return st;
}

/* (self, kernel_size, stride, padding, dilation, ceil_mode) -> (result, indices). */
FacStatus
FAC_KERNEL(max_pool)(FacCall *call)
{
    const FacValue dilation = FAC_ARG(call, 4);
    const int n = (int)FAC_ARG(call, 1).len;
    Pool p = sizes(MAX, n, fac_arg_tensor(call, 0), fac_result_tensor(call, 0));
    sliding(&p, call, 1);
    for (int i = 0; i < n; i++) p.dilation[3 - n + i] = dilation.v.ints[dilation.len == 1 ? 0 : i];
    return run(call, &p, fac_result_tensor(call, 1));
}

static FacStatus
check_indices(const int64_t *indices, int64_t n, int64_t area)
{
    for (int64_t i = 0; i < n; i++)
        if (indices[i] < 0 || indices[i] >= area)
            return fac_error(FAC_INDEX_ERROR, "index %lld is out of range in a plane of %lld",
                             (long long)indices[i], (long long)area);
    return FAC_OK;
}

/* (grad_output, indices, size, n). */
FacStatus
FAC_KERNEL(max_pool_backward)(FacCall *call)
{
    FacTensor *indices;
    Pool p = sizes(MAX_BACKWARD, (int)FAC_ARG(call, 3).v.i, fac_result_tensor(call, 0),
                   fac_arg_tensor(call, 0));
    FAC_RETURN_IF_ERROR(fac_contiguous(fac_arg_tensor(call, 1), FAC_DT_I64, &indices));
    FacStatus st = check_indices(fac_data(indices), indices->numel, p.in_area);
    if (!st) st = run(call, &p, indices);
    fac_tensor_release(indices);
    return st;
}

/* (self, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override). */
FacStatus
FAC_KERNEL(avg_pool)(FacCall *call)
{
    Pool p =
        sizes(AVG, (int)FAC_ARG(call, 1).len, fac_arg_tensor(call, 0), fac_result_tensor(call, 0));
    sliding(&p, call, 1);
    p.count_padding = FAC_ARG(call, 5).v.i;
    if (FAC_ARG(call, 6).tag != FAC_V_NONE) p.divisor = FAC_ARG(call, 6).v.i;
    return run(call, &p, NULL);
}

/* (grad_output, size, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override). */
FacStatus
FAC_KERNEL(avg_pool_backward)(FacCall *call)
{
    Pool p = sizes(AVG_BACKWARD, (int)FAC_ARG(call, 2).len, fac_result_tensor(call, 0),
                   fac_arg_tensor(call, 0));
    sliding(&p, call, 2);
    p.count_padding = FAC_ARG(call, 6).v.i;
    if (FAC_ARG(call, 7).tag != FAC_V_NONE) p.divisor = FAC_ARG(call, 7).v.i;
    return run(call, &p, NULL);
}

/* (self, output_size). */
FacStatus
FAC_KERNEL(adaptive_avg_pool)(FacCall *call)
{
    Pool p =
        sizes(AVG, (int)FAC_ARG(call, 1).len, fac_arg_tensor(call, 0), fac_result_tensor(call, 0));
    p.adaptive = true;
    return run(call, &p, NULL);
}

/* (grad_output, size, n). */
FacStatus
FAC_KERNEL(adaptive_avg_pool_backward)(FacCall *call)
{
    Pool p = sizes(AVG_BACKWARD, (int)FAC_ARG(call, 2).v.i, fac_result_tensor(call, 0),
                   fac_arg_tensor(call, 0));
    p.adaptive = true;
    return run(call, &p, NULL);
}

/* (self, output_size) -> (result, indices). */
FacStatus
FAC_KERNEL(adaptive_max_pool)(FacCall *call)
{
    Pool p =
        sizes(MAX, (int)FAC_ARG(call, 1).len, fac_arg_tensor(call, 0), fac_result_tensor(call, 0));
    p.adaptive = true;
    return run(call, &p, fac_result_tensor(call, 1));
}
