/* interpolate.c - planes resized: nearest, linear and cubic in one, two or three dimensions, and the
 * gradient, which is the transposed operation.
 *
 * Every axis has a table of the places that an output is made of and their weights; the axes are done
 * one after the other, depth, rows, columns, so that all but the last are sums of whole slices. Tasks
 * are planes, or rows of a sample whose channels come last, as they do in the result then. The coordinates are computed in float for float32, as they decide which element is near.
 */
#include "device/device.h"
#include "kernels/cpu/plain.h"

#include <math.h>
#include <stdatomic.h>

enum {
    ROWS = 8,      /* of a task, where channels come last */
    LAST_LEAST = 4 /* channels, for that to pay */
};

/* Output i is the sum over k of weight[i taps + k] times input index[i taps + k]. */
typedef struct Axis {
    int64_t in, out;
    int taps;
    int32_t *index;
    double *weight;
} Axis;

typedef struct Interpolate {
    Axis axis[3]; /* depth, height, width */
    const void *from;
    void *to;
    bool backward, last;   /* last: the channels, a task is rows of a sample */
    int64_t channels;      /* of a sample */
    int64_t block, blocks; /* rows of a task of the forward way, and how many make a plane */
    _Atomic bool failed;   /* a task found no memory */
} Interpolate;

#define T float
#define NAME(x) x##_f32
#include "kernels/cpu/interpolate_body.h"
#define T double
#define NAME(x) x##_f64
#include "kernels/cpu/interpolate_body.h"

/* How an axis goes: what the mode and its options say. */
typedef struct Mode {
    int taps;
    bool exact, align, single; /* nearest-exact; corners aligned; coordinates in float */
} Mode;

/* x as the coordinates are kept. */
static double
rounded(const Mode *m, double x)
{
    return m->single ? (double)(float)x : x;
}

/* Inputs an output, for a scale factor of the output, or 0 where the sizes alone say it. */
static double
ratio_of(const Mode *m, const Axis *a, double scale)
{
    if (m->align) return a->out > 1 ? rounded(m, (double)(a->in - 1) / (double)(a->out - 1)) : 0;
    return rounded(m, scale > 0 ? 1 / scale : (double)a->in / (double)a->out);
}

/* A coordinate among n places, no further out than where all places are the last one; NaN is in front. */
static double
near(double at, int64_t n)
{
    return at > -4 ? at < (double)n + 4 ? at : (double)n + 4 : -4;
}

static int64_t
within(int64_t i, int64_t n)
{
    return i < 0 ? 0 : i < n ? i : n - 1;
}

/* The four weights of a cubic (a = -0.75) at distance t behind the second place. */
static void
cubic_weights(double t, double *w)
{
    const double a = -0.75, far = t + 1, rest = 1 - t, back = 2 - t;
    w[0] = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a;
    w[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    w[2] = ((a + 2) * rest - (a + 3)) * rest * rest + 1;
    w[3] = ((a * back - 5 * a) * back + 8 * a) * back - 4 * a;
}

static FacStatus
make_axis(const Mode *m, int64_t in, int64_t out, double scale, Axis *a)
{
    a->in = in;
    a->out = out;
    a->taps = m->taps;
    a->index = fac_mem_alloc((size_t)(out * m->taps + 1) * sizeof *a->index);
    a->weight = fac_mem_alloc((size_t)(out * m->taps + 1) * sizeof *a->weight);
    if (!a->index || !a->weight)
        return fac_error(FAC_MEMORY_ERROR, "no memory for %lld places", (long long)out);
    const double ratio = ratio_of(m, a, scale);
    for (int64_t i = 0; i < out; i++) {
        int32_t *index = a->index + i * m->taps;
        double *weight = a->weight + i * m->taps;
        if (m->taps == 1) {
            const double at = m->exact ? ((double)i + 0.5) * ratio : (double)i * ratio;
            *index = (int32_t)within((int64_t)floor(near(rounded(m, at), in)), in);
            *weight = 1;
            continue;
        }
        double at = m->align ? (double)i * ratio : ratio * ((double)i + 0.5) - 0.5;
        at = near(rounded(m, m->taps == 2 && at < 0 ? 0 : at), in);
        const int64_t base = (int64_t)floor(at);
        const double t = at - (double)base;
        if (m->taps == 2) {
            index[0] = (int32_t)within(base, in);
            index[1] = (int32_t)within(base + 1, in);
            weight[0] = 1 - t;
            weight[1] = t;
        } else {
            for (int k = 0; k < 4; k++) index[k] = (int32_t)within(base - 1 + k, in);
            cubic_weights(t, weight);
        }
    }
    return FAC_OK;
}

/* self or its gradient at args[0]; `in` and `out` are the sizes of input and result, mode, align_corners
 * and scales stand at args[option]. */
static FacStatus
interpolate(FacCall *call, const FacDim *in, const FacDim *out, int ndim, int option, bool backward)
{
    FacTensor *from = NULL, *to = NULL;
    const FacDType dt = plain_compute(fac_arg_tensor(call, 0));
    const char *name = FAC_ARG(call, option).v.s;
    const FacValue scales = FAC_ARG(call, option + 2);
    const Mode mode = {.taps = !strncmp(name, "nearest", 7) ? 1
                               : !strcmp(name, "bicubic")   ? 4
                                                            : 2,
                       .exact = !strcmp(name, "nearest-exact"),
                       .align = FAC_ARG(call, option + 1).v.i,
                       .single = dt == FAC_DT_F32};
    const Mode same = {.taps = 1};
    Interpolate p = {.backward = backward};
    FacStatus st = FAC_OK;
    const FacTensor *arg = fac_arg_tensor(call, 0);
    FacMemoryFormat format = fac_format_of(ndim, arg->sizes, arg->strides);
    if (in[1] < LAST_LEAST) format = FAC_CONTIGUOUS;
    FAC_TRY(plain_in_format(fac_arg_tensor(call, 0), dt, format, &from));
    FAC_TRY(plain_out_format(call, 0, dt, format, &to));
    if (from->numel == 0 || to->numel == 0) goto done;
    for (int i = 0; i < 3; i++) {
        const int d = i - 3 + ndim; /* the dim of the axis; the first two are batch and channels */
        const double scale = d >= 2 && scales.len ? scales.v.floats[d - 2] : 0;
        FAC_TRY(d < 2 ? make_axis(&same, 1, 1, 0, &p.axis[i])
                      : make_axis(&mode, in[d], out[d], scale, &p.axis[i]));
    }
    p.from = fac_data(from);
    p.to = fac_data(to);
    p.last = format != FAC_CONTIGUOUS;
    p.channels = in[1];
    const int64_t planes = p.last ? in[0] : in[0] * in[1];
    const int64_t work = (from->numel > to->numel ? from->numel : to->numel) / planes;
    /* what is combined in depth is that for all rows */
    p.block = p.axis[0].taps > 1 || !p.last ? p.axis[1].out : ROWS;
    p.blocks = fac_chunks(p.axis[1].out, p.block);
    const int64_t parts = backward ? 1 : p.axis[0].out * p.blocks;
    fac_parallel(planes * parts, fac_grain(4 * mode.taps * (work / parts + 1)),
                 dt == FAC_DT_F32 ? run_f32 : run_f64, &p);
    if (p.failed) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for a plane");
    FAC_TRY(plain_done(call, 0, to));
done:
    for (int i = 0; i < 3; i++) {
        fac_mem_free(p.axis[i].index);
        fac_mem_free(p.axis[i].weight);
    }
    fac_tensor_release(from);
    fac_tensor_release(to);
    return st;
}

/* (self, size, mode, align_corners, scales). */
FacStatus
FAC_KERNEL(interpolate)(FacCall *call)
{
    const FacTensor *x = fac_arg_tensor(call, 0), *y = fac_result_tensor(call, 0);
    return interpolate(call, x->sizes, y->sizes, x->ndim, 2, false);
}

/* (grad_output, input_size, mode, align_corners, scales). */
FacStatus
FAC_KERNEL(interpolate_backward)(FacCall *call)
{
    const FacTensor *g = fac_arg_tensor(call, 0), *dx = fac_result_tensor(call, 0);
    return interpolate(call, dx->sizes, g->sizes, g->ndim, 2, true);
}
