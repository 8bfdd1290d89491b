/* pool.c - max and average pooling over the last one to three dims, and their gradients.
 *
 * Windows either slide (kernel, stride, padding, dilation) or divide the plane evenly (adaptive:
 * output o covers [o in / out, ceil((o + 1) in / out)) ). Tensors are in C order or with the channels
 * last, the result as the operand. A task is a number of planes, or of channels of a sample; a
 * plane's gradient is summed in the order of the outputs.
 */
#include "device/device.h"
#include "kernels/cpu/plain.h"

#include <math.h>
#include <stdatomic.h>

#pragma GCC optimize("no-version-loops-for-strides")

enum {
    CHANNELS = 64, /* of a task, where they come last */
    LONG = 32,     /* taps of a line: more are not done tap by tap for all windows, */
    LONG_SUM = 16, /* nor are so many sums, */
    FAR = 8,       /* where windows are so far apart */
    NEAR = 512     /* windows of a line whose taps follow one another */
};

typedef enum Kind { MAX, MAX_VALUES, MAX_BACKWARD, AVG, AVG_BACKWARD } Kind;

typedef struct Pool {
    Kind kind;
    int dims; /* that are pooled */
    bool adaptive, count_padding;
    bool by_spans; /* windows of a line one by one: they are long, or not alike */
    int64_t in[3], out[3], kernel[3], stride[3], padding[3], dilation[3];
    int64_t in_area, out_area, planes;
    int64_t channels; /* 0: C order, else they come last */
    int64_t before,
        padded;      /* of a line in C order: what stands in front of it, and its length with all */
    int64_t divisor; /* 0: the size of the window */
    void *large, *small; /* the side of the input, the side of the output */
    int64_t *indices;
    FacDType half;       /* of both sides, for half_planes */
    _Atomic bool failed; /* a task found no memory */
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

/* How many lines of a window count. */
static inline int64_t
lines_of(const Pool *p, Span z, Span y)
{
    return p->count_padding ? z.padded * y.padded : (z.end - z.begin) * (y.end - y.begin);
}

/* The smallest number divided by -1 wraps. */
static inline int64_t
share_int(int64_t sum, int64_t d)
{
    return d == -1 ? (int64_t)(0 - (uint64_t)sum) : sum / d;
}

#define SHARE(sum, d) ((sum) / (SUM)(d))
#define IS_NAN(x) ((x) != (x))
#define T float
#define SUM float
#define INDEX int32_t
#define LOWEST -INFINITY
#define LAST INT32_MAX
#define NAME(name) name##_F32
#include "kernels/cpu/pool_body.h"
#define T double
#define SUM double
#define INDEX int64_t
#define LOWEST -INFINITY
#define LAST INT64_MAX
#define NAME(name) name##_F64
#include "kernels/cpu/pool_body.h"
#undef SHARE
#undef IS_NAN
#define IS_NAN(x) false
#define SHARE(sum, d) share_int(sum, d)
/* Integers, all of them in this type, are seldom pooled: small code. */
#pragma GCC push_options
#pragma GCC optimize("no-tree-vectorize")
#define T int64_t
#define SUM int64_t
#define INDEX int64_t
#define LOWEST INT64_MIN
#define LAST INT64_MAX
#define NAME(name) name##_I64
#include "kernels/cpu/pool_body.h"
#pragma GCC pop_options

/* The gradient of maxima in a half, in C order: a plane at a time is summed in float32. */
static void
half_planes(int64_t begin, int64_t end, void *context)
{
    Pool *p = context;
    const int64_t item = fac_dtype_size(p->half);
    const size_t bytes = (size_t)(p->in_area + p->out_area) * sizeof(float);
    void *memory;
    if (fac_host_alloc(bytes, &memory) != FAC_OK) {
        p->failed = true;
        return;
    }
    float *sums = memory, *grad = sums + p->in_area;
    for (; begin < end; begin++) {
        const int64_t *indices = p->indices + begin * p->out_area;
        fac_casts[p->half][FAC_DT_F32]((char *)p->small + begin * p->out_area * item, grad,
                                       p->out_area);
        memset(sums, 0, (size_t)p->in_area * sizeof(float));
        for (int64_t o = 0; o < p->out_area; o++) sums[indices[o]] += grad[o];
        fac_casts[FAC_DT_F32][p->half](sums, (char *)p->large + begin * p->in_area * item,
                                       p->in_area);
    }
    fac_host_free(memory, bytes);
}

/* The type that pools: one for all integers. */
static FacDType
pooled(FacDType dt)
{
    return FAC_IS_INT(dt) && dt != FAC_DT_U64 ? FAC_DT_I64 : dt;
}

static FacBody
body_of(FacDType dt, bool last)
{
    switch (dt) {
    case FAC_DT_F32: return last ? samples_F32 : planes_F32;
    case FAC_DT_F64: return last ? samples_F64 : planes_F64;
    case FAC_DT_I64: return last ? samples_I64 : planes_I64;
    default: return NULL;
    }
}

/* n pooled dims of tensors with `large` and `small` sizes. */
static Pool
sizes(Kind kind, int n, const FacTensor *large, const FacTensor *small)
{
    Pool p = {.kind = kind,
              .dims = n,
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

/* Windows that divide the planes; those that are alike slide. */
static void
dividing(Pool *p)
{
    p->adaptive = true;
    if (p->out_area <= 1) return;
    for (int i = 0; i < 3; i++)
        if (p->in[i] % p->out[i]) return;
    for (int i = 0; i < 3; i++) p->kernel[i] = p->stride[i] = p->in[i] / p->out[i];
    p->adaptive = false;
}

/* How a line is padded, so that all windows have all of their elements. */
static void
pad_line(Pool *p)
{
    const bool sums = p->kind == AVG || p->kind == AVG_BACKWARD;
    p->by_spans = p->adaptive || p->kernel[2] > LONG ||
                  (sums && p->kernel[2] >= LONG_SUM && p->stride[2] >= FAR);
    p->before = p->by_spans ? 0 : p->padding[2];
    p->padded = p->before + p->in[2];
    const int64_t reach = (p->out[2] - 1) * p->stride[2] + (p->kernel[2] - 1) * p->dilation[2] + 1;
    if (!p->by_spans && reach > p->padded) p->padded = reach;
}

static FacStatus
check_indices(const int64_t *indices, int64_t n, int64_t area)
{
    enum { BLOCK = 1024 };
    for (int64_t first = 0; first < n; first += BLOCK) {
        const int64_t end = n - first < BLOCK ? n : first + BLOCK;
        bool bad = false; /* no way out of this loop, so that it is done by vectors */
        for (int64_t i = first; i < end; i++) bad |= (uint64_t)indices[i] >= (uint64_t)area;
        for (int64_t i = first; bad && i < end; i++)
            if (indices[i] < 0 || indices[i] >= area)
                return fac_error(FAC_INDEX_ERROR, "index %lld is out of range in a plane of %lld",
                                 (long long)indices[i], (long long)area);
    }
    return FAC_OK;
}

/* Runs with the tensor at args[0] as the one side, result 0 as the other; `indices` belong to the small
 * side: NULL, result 1 or args[1]. */
static FacStatus
run(FacCall *call, Pool *p)
{
    FacTensor *from = NULL, *to = NULL, *indices = NULL, *arg = fac_arg_tensor(call, 0);
    const FacDType own = fac_result_tensor(call, 0)->dtype;
    FacDType dt = pooled(plain_compute(fac_result_tensor(call, 0)));
    const bool backward = p->kind == MAX_BACKWARD || p->kind == AVG_BACKWARD;
    FacMemoryFormat format = fac_format_of(arg->ndim, arg->sizes, arg->strides);
    if (arg->ndim != p->dims + 2) format = FAC_CONTIGUOUS;
    FacBody body = body_of(dt, format != FAC_CONTIGUOUS);
    FacStatus st = FAC_OK;
    if (!body) return fac_not_implemented_for(call, dt);
    if (fac_result_tensor(call, 0)->numel == 0) return FAC_OK;
    if (p->kind == MAX && dt != FAC_DT_F64 && dt != FAC_DT_I64 && p->in_area > INT32_MAX)
        return fac_error(FAC_NOT_IMPLEMENTED, "the maximum of a plane of more than 2^31 elements");
    if (p->kind == MAX_BACKWARD && (own == FAC_DT_BF16 || own == FAC_DT_F16) &&
        format == FAC_CONTIGUOUS) {
        body = half_planes;
        dt = p->half = own;
    }
    FAC_TRY(plain_in_format(arg, dt, format, &from));
    FAC_TRY(plain_out_format(call, 0, dt, format, &to));
    if (p->kind == MAX) FAC_TRY(plain_out_format(call, 1, FAC_DT_I64, format, &indices));
    if (p->kind == MAX_BACKWARD) {
        FAC_TRY(plain_in_format(fac_arg_tensor(call, 1), FAC_DT_I64, format, &indices));
        FAC_TRY(check_indices(fac_data(indices), indices->numel, p->in_area));
    }
    p->large = fac_data(backward ? to : from);
    p->small = fac_data(backward ? from : to);
    p->indices = indices ? fac_data(indices) : NULL;
    pad_line(p);
    int64_t window = 1;
    for (int i = 0; i < 3; i++)
        window *= p->adaptive ? 2 : p->kernel[i] < p->in[i] ? p->kernel[i] : p->in[i];
    int64_t tasks = p->planes, work = p->in_area + p->out_area * window;
    if (format != FAC_CONTIGUOUS) {
        p->channels = arg->sizes[1];
        tasks = arg->sizes[0] * fac_chunks(p->channels, CHANNELS);
        work *= p->channels < CHANNELS ? p->channels : CHANNELS;
    }
    fac_parallel(tasks, fac_grain(work), body, p);
    if (p->failed) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for a line");
    FAC_TRY(plain_done(call, 0, to));
    if (p->kind == MAX) FAC_TRY(plain_done(call, 1, indices));
done:
    fac_tensor_release(from);
    fac_tensor_release(to);
    fac_tensor_release(indices);
    return st;
}

static FacStatus
max_pool(FacCall *call, Kind kind)
{
    const FacValue dilation = FAC_ARG(call, 4);
    const int n = (int)FAC_ARG(call, 1).len;
    Pool p = sizes(kind, n, fac_arg_tensor(call, 0), fac_result_tensor(call, 0));
    sliding(&p, call, 1);
    for (int i = 0; i < n; i++) p.dilation[3 - n + i] = dilation.v.ints[dilation.len == 1 ? 0 : i];
    return run(call, &p);
}

/* (self, kernel_size, stride, padding, dilation, ceil_mode) -> (result, indices). */
FacStatus
FAC_KERNEL(max_pool)(FacCall *call)
{
    return max_pool(call, MAX);
}

/* The same without the indices. */
FacStatus
FAC_KERNEL(max_pool_values)(FacCall *call)
{
    return max_pool(call, MAX_VALUES);
}

/* (grad_output, indices, size, n). */
FacStatus
FAC_KERNEL(max_pool_backward)(FacCall *call)
{
    Pool p = sizes(MAX_BACKWARD, (int)FAC_ARG(call, 3).v.i, fac_result_tensor(call, 0),
                   fac_arg_tensor(call, 0));
    return run(call, &p);
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
    return run(call, &p);
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
    return run(call, &p);
}

/* (self, output_size). */
FacStatus
FAC_KERNEL(adaptive_avg_pool)(FacCall *call)
{
    Pool p =
        sizes(AVG, (int)FAC_ARG(call, 1).len, fac_arg_tensor(call, 0), fac_result_tensor(call, 0));
    dividing(&p);
    return run(call, &p);
}

/* (grad_output, size, n). */
FacStatus
FAC_KERNEL(adaptive_avg_pool_backward)(FacCall *call)
{
    Pool p = sizes(AVG_BACKWARD, (int)FAC_ARG(call, 2).v.i, fac_result_tensor(call, 0),
                   fac_arg_tensor(call, 0));
    dividing(&p);
    return run(call, &p);
}

/* (self, output_size) -> (result, indices). */
FacStatus
FAC_KERNEL(adaptive_max_pool)(FacCall *call)
{
    Pool p =
        sizes(MAX, (int)FAC_ARG(call, 1).len, fac_arg_tensor(call, 0), fac_result_tensor(call, 0));
    dividing(&p);
    return run(call, &p);
}
