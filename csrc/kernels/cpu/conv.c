/* conv.c - convolution and its two adjoints, through columns and the matrix product.
 *
 * One sample of one group is a product of the weight [out, channels x taps] with the columns
 * [channels x taps, positions] of its image. The adjoint in the input multiplies by the transposed
 * weight and adds the columns back into the image; the adjoint in the weight sums the products of
 * gradient and columns over the batch, in order. Small samples are tasks of their own, a few at a
 * time, each with its own columns; large ones are cut inside. The choice depends on sizes alone.
 */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/plain.h"

enum { CONV_SMALL = 1 << 19, CONV_SLOTS = 16 };

typedef struct Conv {
    FacDType dtype;
    int64_t in[3], out[3], kernel[3], stride[3], before[3], dilation[3];
    int64_t batch, groups, channels, outputs; /* the last two of one group */
    int64_t taps, area, positions;            /* of a window, of a plane in and out */
    bool direct; /* the columns are the image itself */
    const char *x, *w, *y; /* images, weight, outputs */
    char *columns;
    int64_t item, image, output, weight, column; /* bytes: an element, and per group */
    bool adjoint; /* of the input: y, w are read and x written */
    int64_t first; /* of the samples that are in work */
    const char *bias;
} Conv;

/* Where tap k of the window lies from the place of the output times the stride. */
static inline int64_t
tap_offset(const Conv *c, int dim, int64_t k)
{
    return k * c->dilation[dim] - c->before[dim];
}

/* The outputs along the last dim whose tap at offset kx lies inside the image. */
static void
inside(const Conv *c, int64_t kx, int64_t *first, int64_t *last)
{
    const int64_t stride = c->stride[2], room = c->in[2] - 1 - kx;
    *first = kx < 0 ? (-kx + stride - 1) / stride : 0;
    *last = room < 0 ? 0 : room / stride + 1;
    if (*last > c->out[2]) *last = c->out[2];
    if (*first > *last) *first = *last;
}

#define T float
#define NAME(name) name##_f32
#include "kernels/cpu/conv_body.h"
#define T double
#define NAME(name) name##_f64
#include "kernels/cpu/conv_body.h"
#define T uint8_t
#define NAME(name) name##_u8
#include "kernels/cpu/conv_body.h"
#define T uint16_t
#define NAME(name) name##_u16
#include "kernels/cpu/conv_body.h"
#define T uint32_t
#define NAME(name) name##_u32
#include "kernels/cpu/conv_body.h"
#define T uint64_t
#define NAME(name) name##_u64
#include "kernels/cpu/conv_body.h"

static void
gather(const Conv *c, const char *image, char *columns, int64_t begin, int64_t end)
{
    switch (c->dtype) {
    case FAC_DT_F32: gather_f32(c, (const void *)image, (void *)columns, begin, end, 1); return;
    case FAC_DT_F64: gather_f64(c, (const void *)image, (void *)columns, begin, end, 1); return;
    case FAC_DT_C64: gather_f32(c, (const void *)image, (void *)columns, begin, end, 2); return;
    case FAC_DT_C128: gather_f64(c, (const void *)image, (void *)columns, begin, end, 2); return;
    default: break;
    }
    switch (c->item) {
    case 1: gather_u8(c, (const void *)image, (void *)columns, begin, end, 1); return;
    case 2: gather_u16(c, (const void *)image, (void *)columns, begin, end, 1); return;
    case 4: gather_u32(c, (const void *)image, (void *)columns, begin, end, 1); return;
    default: gather_u64(c, (const void *)image, (void *)columns, begin, end, 1); return;
    }
}

static void
scatter(const Conv *c, char *image, const char *columns, int64_t begin, int64_t end)
{
    switch (c->dtype) {
    case FAC_DT_F32: scatter_f32(c, (void *)image, (const void *)columns, begin, end, 1); return;
    case FAC_DT_F64: scatter_f64(c, (void *)image, (const void *)columns, begin, end, 1); return;
    case FAC_DT_C64: scatter_f32(c, (void *)image, (const void *)columns, begin, end, 2); return;
    case FAC_DT_C128: scatter_f64(c, (void *)image, (const void *)columns, begin, end, 2); return;
    default: break;
    }
    switch (c->item) {
    case 1: scatter_u8(c, (void *)image, (const void *)columns, begin, end, 1); return;
    case 2: scatter_u16(c, (void *)image, (const void *)columns, begin, end, 1); return;
    case 4: scatter_u32(c, (void *)image, (const void *)columns, begin, end, 1); return;
    default: scatter_u64(c, (void *)image, (const void *)columns, begin, end, 1); return;
    }
}

/* --- geometry ----------------------------------------------------------------------------------------- */

/* `first` is the index of the argument stride; padding, dilation, groups follow. */
static Conv
geometry(const FacCall *call, int first, const FacDim *input, const FacDim *weight,
         const FacDim *output, int ndim, FacDType dt)
{
    const int n = ndim - 2, lead = 3 - n;
    const FacValue stride = FAC_ARG(call, first), padding = FAC_ARG(call, first + 1);
    const FacValue dilation = FAC_ARG(call, first + 2);
    Conv c = {.dtype = dt, .in = {1, 1, 1}, .out = {1, 1, 1}, .kernel = {1, 1, 1},
              .stride = {1, 1, 1}, .dilation = {1, 1, 1}};
    c.groups = FAC_ARG(call, first + 3).v.i;
    c.batch = input[0];
    c.channels = input[1] / c.groups;
    c.outputs = output[1] / c.groups;
    c.direct = true;
    for (int i = 0; i < n; i++) {
        const bool pairs = (int)padding.len == 2 * n;
        c.in[lead + i] = input[i + 2];
        c.out[lead + i] = output[i + 2];
        c.kernel[lead + i] = weight[i + 2];
        c.stride[lead + i] = stride.v.ints[stride.len == 1 ? 0 : i];
        c.dilation[lead + i] = dilation.v.ints[dilation.len == 1 ? 0 : i];
        c.before[lead + i] = padding.v.ints[pairs ? 2 * i : padding.len == 1 ? 0 : i];
        c.direct &= weight[i + 2] == 1 && c.stride[lead + i] == 1 && input[i + 2] == output[i + 2] &&
                    c.before[lead + i] == 0;
    }
    c.taps = c.kernel[0] * c.kernel[1] * c.kernel[2];
    c.area = c.in[0] * c.in[1] * c.in[2];
    c.positions = c.out[0] * c.out[1] * c.out[2];
    c.item = fac_dtype_size(dt);
    c.image = c.channels * c.area * c.item;
    c.output = c.outputs * c.positions * c.item;
    c.weight = c.outputs * c.channels * c.taps * c.item;
    c.column = c.channels * c.taps * c.positions * c.item;
    return c;
}

/* Y[o, p] = W[o, k] columns[k, p], or columns[k, p] = W^T[k, o] Y[o, p]. */
static FacGemm
product(const Conv *c, int64_t sample, int64_t group, char *columns)
{
    const int64_t rows = c->channels * c->taps, at = sample * c->groups + group;
    FacGemm g = {.dtype = c->dtype, .alpha = {1, 0}, .beta = {1, 0}, .int_alpha = 1, .int_beta = 1};
    char *image = c->direct ? (char *)c->x + at * c->image : columns;
    g.a = c->w + group * c->weight;
    g.n = c->positions;
    g.c_row = g.b_row = c->positions;
    g.b_col = 1;
    if (c->adjoint) {
        g.m = rows;
        g.k = c->outputs;
        g.a_row = 1;
        g.a_col = rows;
        g.b = c->y + at * c->output;
        g.c = image;
    } else {
        g.m = c->outputs;
        g.k = rows;
        g.a_row = rows;
        g.a_col = 1;
        g.b = image;
        g.c = (char *)c->y + at * c->output;
        g.add = c->bias ? c->bias + group * c->outputs * c->item : NULL;
        g.add_row = 1;
    }
    return g;
}

/* --- forward, and the adjoint in the input -------------------------------------------------------------- */

static void
small_samples(int64_t begin, int64_t end, void *context)
{
    const Conv *c = context;
    for (int64_t slot = begin; slot < end; slot++) {
        const int64_t sample = c->first + slot;
        char *columns = c->columns + slot * c->column;
        for (int64_t group = 0; group < c->groups; group++) {
            char *image = (char *)c->x + (sample * c->groups + group) * c->image;
            const FacGemm g = product(c, sample, group, columns);
            if (!c->adjoint && !c->direct) gather(c, image, columns, 0, c->channels * c->taps);
            FAC_TIERED(gemm_serial)(&g);
            if (c->adjoint && !c->direct) {
                memset(image, 0, (size_t)c->image);
                scatter(c, image, columns, 0, c->channels);
            }
        }
    }
}

typedef struct Rows {
    const Conv *c;
    char *image;
} Rows;

static void
gather_rows(int64_t begin, int64_t end, void *context)
{
    const Rows *r = context;
    gather(r->c, r->image, r->c->columns, begin, end);
}

static void
scatter_channels(int64_t begin, int64_t end, void *context)
{
    const Rows *r = context;
    const int64_t plane = r->c->area * r->c->item;
    memset(r->image + begin * plane, 0, (size_t)((end - begin) * plane));
    scatter(r->c, r->image, r->c->columns, begin, end);
}

static FacStatus
large_sample(const Conv *c, int64_t sample)
{
    for (int64_t group = 0; group < c->groups; group++) {
        Rows rows = {c, (char *)c->x + (sample * c->groups + group) * c->image};
        const FacGemm g = product(c, sample, group, c->columns);
        if (!c->adjoint && !c->direct)
            fac_parallel(c->channels * c->taps, fac_grain(c->positions), gather_rows, &rows);
        FAC_RETURN_IF_ERROR(FAC_TIERED(gemm)(&g));
        if (c->adjoint && !c->direct)
            fac_parallel(c->channels, fac_grain(c->positions * c->taps), scatter_channels, &rows);
    }
    return FAC_OK;
}

static FacStatus
run(Conv *c)
{
    const double work = (double)(c->channels * c->taps) * (double)c->positions * (double)c->outputs;
    const bool small = c->column <= CONV_SMALL && work < 32.0 * CONV_SMALL && c->batch > 1;
    const int64_t slots = small ? (c->batch < CONV_SLOTS ? c->batch : CONV_SLOTS) : 1;
    const size_t bytes = c->direct ? 0 : (size_t)(slots * c->column);
    void *columns = NULL;
    FacStatus st = FAC_OK;
    if (bytes) FAC_RETURN_IF_ERROR(fac_host_alloc(bytes, &columns));
    c->columns = columns;
    for (c->first = 0; c->first < c->batch && st == FAC_OK; c->first += slots) {
        const int64_t left = c->batch - c->first;
        if (small)
            fac_parallel(left < slots ? left : slots, 1, small_samples, c);
        else
            st = large_sample(c, c->first);
    }
    if (bytes) fac_host_free(columns, bytes);
    return st;
}

/* (input, weight, bias, stride, padding, dilation, groups). */
FacStatus
FAC_KERNEL(conv)(FacCall *call)
{
    FacTensor *result = fac_result_tensor(call, 0);
    FacTensor *x = NULL, *w = NULL, *bias = NULL, *y = NULL;
    const FacDType dt = plain_compute(result);
    FacStatus st = FAC_OK;
    if (result->numel == 0) return FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), dt, &x));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), dt, &w));
    FAC_TRY(plain_in(fac_arg_tensor(call, 2), dt, &bias));
    FAC_TRY(plain_out(call, 0, dt, &y));
    Conv c = geometry(call, 3, x->sizes, w->sizes, y->sizes, x->ndim, dt);
    c.x = fac_data(x);
    c.w = fac_data(w);
    c.y = fac_data(y);
    c.bias = bias ? fac_data(bias) : NULL;
    FAC_TRY(run(&c));
    FAC_TRY(plain_done(call, 0, y));
done:
    fac_tensor_release(x);
    fac_tensor_release(w);
    fac_tensor_release(bias);
    fac_tensor_release(y);
    return st;
}

/* (grad_output, weight, size, stride, padding, dilation, groups). */
FacStatus
FAC_KERNEL(conv_input)(FacCall *call)
{
    FacTensor *x = NULL, *w = NULL, *y = NULL, *result = fac_result_tensor(call, 0);
    const FacDType dt = plain_compute(result);
    FacStatus st = FAC_OK;
    if (result->numel == 0) return FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), dt, &y));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), dt, &w));
    FAC_TRY(plain_out(call, 0, dt, &x));
    Conv c = geometry(call, 3, x->sizes, w->sizes, y->sizes, x->ndim, dt);
    c.x = fac_data(x);
    c.w = fac_data(w);
    c.y = fac_data(y);
    c.adjoint = true;
    FAC_TRY(run(&c));
    FAC_TRY(plain_done(call, 0, x));
done:
    fac_tensor_release(x);
    fac_tensor_release(w);
    fac_tensor_release(y);
    return st;
}

/* --- the adjoint in the weight --------------------------------------------------------------------------- */

/* W[o, k] (+)= Y[o, p] columns^T[p, k], sample after sample. */
static FacStatus
sum_weight(const Conv *c)
{
    const int64_t rows = c->channels * c->taps;
    for (int64_t at = 0; at < c->batch * c->groups; at++) {
        const int64_t group = at % c->groups;
        Rows image = {c, (char *)c->x + at * c->image};
        if (!c->direct) fac_parallel(rows, fac_grain(c->positions), gather_rows, &image);
        const FacGemm g = {.dtype = c->dtype, .m = c->outputs, .n = rows, .k = c->positions,
                           .a = c->y + at * c->output, .a_row = c->positions, .a_col = 1,
                           .b = c->direct ? image.image : c->columns, .b_row = 1,
                           .b_col = c->positions, .c = (char *)c->w + group * c->weight,
                           .c_row = rows, .accumulate = at >= c->groups, .alpha = {1, 0},
                           .int_alpha = 1};
        FAC_RETURN_IF_ERROR(FAC_TIERED(gemm)(&g));
    }
    return FAC_OK;
}

/* (input, grad_output, size, stride, padding, dilation, groups). */
FacStatus
FAC_KERNEL(conv_weight)(FacCall *call)
{
    FacTensor *x = NULL, *w = NULL, *y = NULL, *result = fac_result_tensor(call, 0);
    const FacDType dt = plain_compute(result);
    void *columns = NULL;
    size_t bytes = 0;
    FacStatus st = FAC_OK;
    if (result->numel == 0) return FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), dt, &x));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), dt, &y));
    FAC_TRY(plain_out(call, 0, dt, &w));
    Conv c = geometry(call, 3, x->sizes, w->sizes, y->sizes, x->ndim, dt);
    c.x = fac_data(x);
    c.w = fac_data(w);
    c.y = fac_data(y);
    if (c.batch == 0) memset(fac_data(w), 0, fac_nbytes(w));
    if (c.batch && !c.direct) {
        bytes = (size_t)c.column;
        FAC_TRY(fac_host_alloc(bytes, &columns));
    }
    c.columns = columns;
    FAC_TRY(sum_weight(&c));
    FAC_TRY(plain_done(call, 0, w));
done:
    if (columns) fac_host_free(columns, bytes);
    fac_tensor_release(x);
    fac_tensor_release(w);
    fac_tensor_release(y);
    return st;
}
