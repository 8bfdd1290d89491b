/* conv.c - convolution and its two adjoints, through columns and the matrix product.
 *
 * One sample of one group is a product of the weight [out, channels x taps] with the columns
 * [channels x taps, positions] of its image, which is padded first, so that nothing is tested later.
 * In float32 and float64 the columns are made strip by strip while the product packs them, in other
 * dtypes they lie in memory. The adjoint in the input is a convolution with the turned weight where
 * the stride is 1; else it multiplies by the transposed weight and adds the columns back into the
 * image. The adjoint in the weight sums the products of gradient and columns over the batch, in
 * order. Small samples are tasks of their own; large ones are cut inside. The choice depends on sizes
 * alone.
 */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/plain.h"

#pragma GCC optimize("fp-contract=fast")

enum {
    CONV_SMALL = 1 << 19, /* bytes of columns, and 1/32 of the work, of a sample that is one task */
    CONV_SLOTS = 16,      /* samples whose columns lie in memory at once */
    SEGMENTS = 64,
    TURNED = 32768 /* bytes */
};

typedef struct Conv {
    FacDType dtype;
    int64_t in[3], out[3], kernel[3], stride[3], before[3], dilation[3];
    int64_t wide[3];                          /* of the padded image: what the windows reach */
    int64_t batch, groups, channels, outputs; /* the last two of one group */
    int64_t taps, area, room, positions;      /* of a window; of planes in, padded, and out */
    bool direct;                              /* the columns are the image itself */
    bool strips;                              /* the columns are made as they are packed */
    bool adjoint;                             /* of the input: y, w are read and x written */
    const char *x, *w, *y, *bias;
    char *images;  /* padded, or x itself */
    char *columns; /* in memory */
    int64_t *tap;  /* where each tap lies from its position in the padded image, in elements */
    int64_t item, image, output, weight, column; /* bytes: an element, and per group */
    int64_t first;                               /* of the samples that are in work */
} Conv;

/* Where the window of the first position of a line of the output starts in the padded image. */
static inline int64_t
line_start(const Conv *c, int64_t line)
{
    const int64_t z = line / c->out[1] * c->stride[0], y = line % c->out[1] * c->stride[1];
    return (z * c->wide[1] + y) * c->wide[2];
}

/* n positions within one line of the output, the first of them at `at` of the padded image. */
typedef struct Segment {
    int64_t at, n;
} Segment;

/* Positions [begin, end) as at most SEGMENTS segments; *n is how many positions they have. */
static int64_t
split(const Conv *c, int64_t begin, int64_t end, Segment *s, int64_t *n)
{
    int64_t count = 0, line = begin / c->out[2], x = begin % c->out[2];
    for (int64_t at = begin; at < end && count < SEGMENTS; count++, s++, line++, x = 0) {
        const int64_t room = c->out[2] - x;
        s->at = line_start(c, line) + x * c->stride[2];
        s->n = room < end - at ? room : end - at;
        at += s->n;
        *n = at - begin;
    }
    return count;
}

/* What the product's fill function needs: the padded image of one sample and group. */
typedef struct Strips {
    const Conv *c;
    const char *image;
} Strips;

#define T float
#define NAME(name) name##_f32
#include "kernels/cpu/conv_body.h"
#define T double
#define NAME(name) name##_f64
#include "kernels/cpu/conv_body.h"

#define SCATTER_INT(DT, T)                                                                         \
    static void scatter_##DT(const Conv *c, T *image, const T *columns, int64_t begin,             \
                             int64_t end)                                                          \
    {                                                                                              \
        for (int64_t row = begin * c->taps; row < end * c->taps; row++) {                          \
            T *plane = image + row / c->taps * c->room + c->tap[row % c->taps];                    \
            const T *from = columns + row * c->positions;                                          \
            for (int64_t line = 0; line < c->out[0] * c->out[1]; line++, from += c->out[2]) {      \
                T *to = plane + line_start(c, line);                                               \
                for (int64_t x = 0; x < c->out[2]; x++)                                            \
                    to[x * c->stride[2]] = (T)(to[x * c->stride[2]] + from[x]);                    \
            }                                                                                      \
        }                                                                                          \
    }
FAC_INT_TYPES(SCATTER_INT)
#undef SCATTER_INT

static void
scatter(const Conv *c, char *image, const char *columns, int64_t begin, int64_t end)
{
    void *to = image;
    const void *from = columns;
    switch (c->dtype) {
    case FAC_DT_F32: scatter_f32(c, to, from, begin, end, 1); return;
    case FAC_DT_F64: scatter_f64(c, to, from, begin, end, 1); return;
    case FAC_DT_C64: scatter_f32(c, to, from, begin, end, 2); return;
    case FAC_DT_C128: scatter_f64(c, to, from, begin, end, 2); return;
#define SCATTER_CASE(DT, T)                                                                        \
    case FAC_DT_##DT: scatter_##DT(c, to, from, begin, end); return;
        FAC_INT_TYPES(SCATTER_CASE)
#undef SCATTER_CASE
    default: return;
    }
}

/* Rows [begin, end) of the columns of a padded image, in memory. */
static void
gather(const Conv *c, const char *image, char *columns, int64_t begin, int64_t end)
{
    const int64_t item = c->item, step = c->stride[2] * item;
    for (int64_t row = begin; row < end; row++) {
        const char *plane = image + (row / c->taps * c->room + c->tap[row % c->taps]) * item;
        char *to = columns + row * c->positions * item;
        for (int64_t line = 0; line < c->out[0] * c->out[1]; line++, to += c->out[2] * item) {
            const char *from = plane + line_start(c, line) * item;
            if (step == item)
                memcpy(to, from, (size_t)(c->out[2] * item));
            else
                for (int64_t x = 0; x < c->out[2]; x++)
                    memcpy(to + x * item, from + x * step, (size_t)item);
        }
    }
}

/* --- geometry ----------------------------------------------------------------------------------------- */

/* What follows from the sizes, the strides and the dtype. */
static void
derive(Conv *c)
{
    c->direct = c->taps == 1;
    c->area = c->room = c->positions = 1;
    for (int i = 0; i < 3; i++) {
        c->wide[i] = (c->out[i] - 1) * c->stride[i] + c->dilation[i] * (c->kernel[i] - 1) + 1;
        c->area *= c->in[i];
        c->room *= c->wide[i];
        c->positions *= c->out[i];
        c->direct &= c->stride[i] == 1 && c->in[i] == c->out[i] && c->before[i] == 0;
    }
    c->item = fac_dtype_size(c->dtype);
    c->image = c->channels * c->room * c->item;
    c->output = c->outputs * c->positions * c->item;
    c->weight = c->outputs * c->channels * c->taps * c->item;
    c->column = c->channels * c->taps * c->positions * c->item;
    c->strips = !c->direct && (c->dtype == FAC_DT_F32 || c->dtype == FAC_DT_F64);
}

/* `first` is the index of the argument stride; padding, dilation, groups follow. */
static Conv
geometry(const FacCall *call, int first, const FacTensor *x, const FacTensor *w, const FacTensor *y)
{
    const int n = x->ndim - 2, lead = 3 - n;
    const FacValue stride = FAC_ARG(call, first), padding = FAC_ARG(call, first + 1);
    const FacValue dilation = FAC_ARG(call, first + 2);
    const bool pairs = (int)padding.len == 2 * n;
    Conv c = {.dtype = (FacDType)x->dtype,
              .in = {1, 1, 1},
              .out = {1, 1, 1},
              .kernel = {1, 1, 1},
              .stride = {1, 1, 1},
              .dilation = {1, 1, 1},
              .batch = x->sizes[0],
              .taps = 1};
    c.groups = FAC_ARG(call, first + 3).v.i;
    c.channels = x->sizes[1] / c.groups;
    c.outputs = y->sizes[1] / c.groups;
    for (int i = 0; i < n; i++) {
        c.in[lead + i] = x->sizes[i + 2];
        c.out[lead + i] = y->sizes[i + 2];
        c.kernel[lead + i] = w->sizes[i + 2];
        c.stride[lead + i] = stride.v.ints[stride.len == 1 ? 0 : i];
        c.dilation[lead + i] = dilation.v.ints[dilation.len == 1 ? 0 : i];
        c.before[lead + i] = padding.v.ints[pairs ? 2 * i : padding.len == 1 ? 0 : i];
        c.taps *= w->sizes[i + 2];
    }
    c.x = fac_data(x);
    c.w = fac_data(w);
    c.y = fac_data(y);
    derive(&c);
    return c;
}

/* Copies planes [begin, end) between x and the padded images. */
static void
pad_planes(int64_t begin, int64_t end, void *context)
{
    const Conv *c = context;
    const int64_t *to = c->adjoint ? c->in : c->wide, *from = c->adjoint ? c->wide : c->in;
    const int64_t sign = c->adjoint ? 1 : -1, shift = sign * c->before[2];
    const int64_t left = shift < 0 ? (-shift < to[2] ? -shift : to[2]) : 0;
    int64_t right = from[2] - shift < to[2] ? from[2] - shift : to[2];
    if (right < left) right = left;
    for (; begin < end; begin++) {
        char *x = (char *)c->x + begin * c->area * c->item,
             *wide = c->images + begin * c->room * c->item;
        char *at = c->adjoint ? x : wide;
        const char *source = c->adjoint ? wide : x;
        for (int64_t line = 0; line < to[0] * to[1]; line++, at += to[2] * c->item) {
            const int64_t z = line / to[1] + sign * c->before[0];
            const int64_t y = line % to[1] + sign * c->before[1];
            const bool none = z < 0 || z >= from[0] || y < 0 || y >= from[1] || left == right;
            if (none || right - left < to[2]) memset(at, 0, (size_t)(to[2] * c->item));
            if (none) continue;
            memcpy(at + left * c->item,
                   source + ((z * from[1] + y) * from[2] + left + shift) * c->item,
                   (size_t)((right - left) * c->item));
        }
    }
}

/* Makes the padded images, filled unless they are to be written, and the table of taps. Images have
 * 64 bytes more, for the blocks of fill. */
static FacStatus
open_images(Conv *c, size_t *bytes)
{
    const int64_t planes = c->batch * c->groups * c->channels;
    c->tap = fac_mem_alloc((size_t)(c->taps + 1) * sizeof *c->tap);
    if (!c->tap) return fac_mem_error((size_t)c->taps * sizeof *c->tap);
    for (int64_t i = 0; i < c->taps; i++) {
        const int64_t x = i % c->kernel[2] * c->dilation[2];
        const int64_t y = i / c->kernel[2] % c->kernel[1] * c->dilation[1];
        const int64_t z = i / c->kernel[2] / c->kernel[1] * c->dilation[0];
        c->tap[i] = (z * c->wide[1] + y) * c->wide[2] + x;
    }
    *bytes = 0;
    c->images = (char *)c->x;
    if (c->direct) return FAC_OK;
    void *images;
    *bytes = (size_t)(planes * c->room * c->item) + 64;
    const FacStatus st = fac_host_alloc(*bytes, &images);
    if (st) {
        fac_mem_free(c->tap);
        return st;
    }
    c->images = images;
    memset(c->images + *bytes - 64, 0, 64);
    if (!c->adjoint) fac_parallel(planes, fac_grain(c->room), pad_planes, c);
    return FAC_OK;
}

static void
close_images(Conv *c, size_t bytes)
{
    const int64_t planes = c->batch * c->groups * c->channels;
    if (c->adjoint && !c->direct) fac_parallel(planes, fac_grain(c->area), pad_planes, c);
    if (bytes) fac_host_free(c->images, bytes);
    fac_mem_free(c->tap);
}

/* --- forward, and the adjoint in the input -------------------------------------------------------------- */

/* Y[o, p] = W[o, k] columns[k, p], or columns[k, p] = W^T[k, o] Y[o, p]. `strips` is for the caller
 * to keep while the product runs. */
static FacGemm
product(const Conv *c, int64_t sample, int64_t group, char *columns, Strips *strips)
{
    const int64_t rows = c->channels * c->taps, at = sample * c->groups + group;
    FacGemm g = {.dtype = c->dtype, .alpha = {1, 0}, .beta = {1, 0}, .int_alpha = 1, .int_beta = 1};
    char *image = c->direct ? c->images + at * c->image : columns;
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
        return g;
    }
    g.m = c->outputs;
    g.k = rows;
    g.a_row = rows;
    g.a_col = 1;
    g.b = image;
    if (c->strips) {
        *strips = (Strips){c, c->images + at * c->image};
        g.fill = c->dtype == FAC_DT_F32 ? fill_f32 : fill_f64;
        g.fill_context = strips;
    }
    g.c = (char *)c->y + at * c->output;
    g.add = c->bias ? c->bias + group * c->outputs * c->item : NULL;
    g.add_row = 1;
    return g;
}

static void
small_samples(int64_t begin, int64_t end, void *context)
{
    const Conv *c = context;
    for (int64_t slot = begin; slot < end; slot++) {
        const int64_t sample = c->first + slot;
        char *columns = c->columns + slot * c->column;
        for (int64_t group = 0; group < c->groups; group++) {
            char *image = c->images + (sample * c->groups + group) * c->image;
            Strips strips;
            const FacGemm g = product(c, sample, group, columns, &strips);
            if (!c->adjoint && !c->direct && !c->strips)
                gather(c, image, columns, 0, c->channels * c->taps);
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
    const int64_t plane = r->c->room * r->c->item;
    memset(r->image + begin * plane, 0, (size_t)((end - begin) * plane));
    scatter(r->c, r->image, r->c->columns, begin, end);
}

static FacStatus
large_sample(const Conv *c, int64_t sample)
{
    for (int64_t group = 0; group < c->groups; group++) {
        Rows rows = {c, c->images + (sample * c->groups + group) * c->image};
        Strips strips;
        const FacGemm g = product(c, sample, group, c->columns, &strips);
        if (!c->adjoint && !c->direct && !c->strips)
            fac_parallel(c->channels * c->taps, fac_grain(c->positions), gather_rows, &rows);
        FAC_RETURN_IF_ERROR(FAC_TIERED(gemm)(&g));
        if (c->adjoint && !c->direct)
            fac_parallel(c->channels, fac_grain(c->positions * c->taps), scatter_channels, &rows);
    }
    return FAC_OK;
}

static FacStatus
run_samples(Conv *c)
{
    const double work = (double)(c->channels * c->taps) * (double)c->positions * (double)c->outputs;
    const bool own = !c->direct && (c->adjoint || !c->strips); /* columns in memory */
    const bool small =
        (!own || c->column <= CONV_SMALL) && work < 32.0 * CONV_SMALL && c->batch > 1;
    const int64_t most = own ? CONV_SLOTS : c->batch;
    const int64_t slots = small ? (c->batch < most ? c->batch : most) : 1;
    const size_t bytes = own ? (size_t)(slots * c->column) : 0;
    void *columns = NULL;
    FacStatus st = FAC_OK;
    if (!c->adjoint && c->channels == 1 && (c->dtype == FAC_DT_F32 || c->dtype == FAC_DT_F64) &&
        c->outputs < 4) {
        fac_parallel(c->batch * c->groups * c->outputs, fac_grain(c->taps * c->positions),
                     c->dtype == FAC_DT_F32 ? depthwise_f32 : depthwise_f64, c);
        return FAC_OK;
    }
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

static FacStatus
run(Conv *c)
{
    size_t bytes;
    FAC_RETURN_IF_ERROR(open_images(c, &bytes));
    const FacStatus st = run_samples(c);
    close_images(c, bytes);
    return st;
}

/* The adjoint in the input for stride 1: the convolution of the outputs with the turned weight. */
static FacStatus
run_turned(const Conv *c)
{
    const size_t bytes = (size_t)(c->groups * c->weight);
    Conv t = *c;
    void *weight;
    FAC_RETURN_IF_ERROR(fac_host_alloc(bytes, &weight));
    if (c->dtype == FAC_DT_F32)
        turn_weight_f32(c, weight);
    else
        turn_weight_f64(c, weight);
    t.adjoint = false;
    t.w = weight;
    t.x = c->y;
    t.y = c->x;
    t.channels = c->outputs;
    t.outputs = c->channels;
    for (int i = 0; i < 3; i++) {
        t.in[i] = c->out[i];
        t.out[i] = c->in[i];
        t.before[i] = c->dilation[i] * (c->kernel[i] - 1) - c->before[i];
    }
    derive(&t);
    const FacStatus st = run(&t);
    fac_host_free(weight, bytes);
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
    Conv c = geometry(call, 3, x, w, y);
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
    Conv c = geometry(call, 3, x, w, y);
    c.adjoint = true;
    if (c.strips && c.stride[0] == 1 && c.stride[1] == 1 && c.stride[2] == 1)
        FAC_TRY(run_turned(&c));
    else
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
        Rows image = {c, c->images + at * c->image};
        Strips strips = {c, image.image};
        FacGemm g = {.dtype = c->dtype,
                     .m = c->outputs,
                     .n = rows,
                     .k = c->positions,
                     .a = c->y + at * c->output,
                     .a_row = c->positions,
                     .a_col = 1,
                     .b = c->direct ? image.image : c->columns,
                     .b_row = 1,
                     .b_col = c->positions,
                     .c = (char *)c->w + group * c->weight,
                     .c_row = rows,
                     .accumulate = at >= c->groups,
                     .alpha = {1, 0},
                     .int_alpha = 1};
        if (c->strips) {
            g.fill = c->dtype == FAC_DT_F32 ? fill_turned_f32 : fill_turned_f64;
            g.fill_context = &strips;
        } else if (!c->direct) {
            fac_parallel(rows, fac_grain(c->positions), gather_rows, &image);
        }
        FAC_RETURN_IF_ERROR(FAC_TIERED(gemm)(&g));
    }
    return FAC_OK;
}

static FacStatus
run_weight(Conv *c)
{
    const size_t bytes = c->direct || c->strips ? 0 : (size_t)c->column;
    size_t images;
    void *columns = NULL;
    FAC_RETURN_IF_ERROR(open_images(c, &images));
    FacStatus st = bytes ? fac_host_alloc(bytes, &columns) : FAC_OK;
    c->columns = columns;
    if (!st) st = sum_weight(c);
    if (columns) fac_host_free(columns, bytes);
    close_images(c, images);
    return st;
}

/* (input, grad_output, size, stride, padding, dilation, groups). */
FacStatus
FAC_KERNEL(conv_weight)(FacCall *call)
{
    FacTensor *x = NULL, *w = NULL, *y = NULL, *result = fac_result_tensor(call, 0);
    const FacDType dt = plain_compute(result);
    FacStatus st = FAC_OK;
    if (result->numel == 0) return FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), dt, &x));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), dt, &y));
    FAC_TRY(plain_out(call, 0, dt, &w));
    Conv c = geometry(call, 3, x, w, y);
    if (c.batch == 0)
        memset(fac_data(w), 0, fac_nbytes(w));
    else
        FAC_TRY(run_weight(&c));
    FAC_TRY(plain_done(call, 0, w));
done:
    fac_tensor_release(x);
    fac_tensor_release(w);
    fac_tensor_release(y);
    return st;
}
