/* conv.c - convolution and its two adjoints.
 *
 * In float32 and float64 they run on images that are copied in a form in which the tile of products
 * reads them in place (conv_tiles.h); here is the geometry: what is an image, which taps see it at
 * which offset, and where results go. The adjoint in the input is such a convolution of the output's
 * gradient for every phase of the stride.
 *
 * Windows of one element and stride 1 are a product as they are. Other dtypes make columns [channels x
 * taps, positions] of a padded image in memory, and multiply: the adjoint in the input adds columns
 * back into the image, that in the weight sums products of gradient and columns over the batch, in
 * order. Small samples are tasks of their own; large ones are cut inside. The choice depends on sizes
 * alone.
 */
#include "kernels/cpu/conv.h"
#include "base/cpu.h"
#include "kernels/cpu/conv_winograd.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gemm_tile.h"
#include "kernels/cpu/plain.h"
#include "tensor/strided.h"

#pragma GCC optimize("fp-contract=fast")

enum {
    CONV_SMALL = 1 << 19, /* bytes of columns, and 1/32 of the work, of a sample that is one task */
    CONV_SLOTS = 16,      /* samples whose columns lie in memory at once */
    CONV_PANELS = 8,      /* of outputs, */
    CONV_STRIPS = 16,     /* and strips of positions, that make a task */
    CONV_GATHERED = 4,    /* strips of positions, and */
    CONV_GATHERED_PANELS = 16, /* panels of outputs of a task that gathers what its taps see */
    CONV_ALL_PANELS = 40,      /* the same where all channels are one run, */
    CONV_MANY = 8,             /* and so many tasks are left */
    CONV_NARROW = 800,         /* positions of windows of one element */
    CONV_FEW = 256,            /* positions for which a weight is not packed */
    CONV_RUN = 288,            /* channels times taps, or positions, summed from zero in one go */
    CONV_SLACK = 1024,         /* bytes behind the images that vectors may read */
    CONV_PHASES = 64           /* of the stride: with more of them the adjoint makes columns */
};

/* Where the window of the first position of a line of the output starts in the padded image. */
static inline int64_t
line_start(const Conv *c, int64_t line)
{
    const int64_t z = line / c->out[1] * c->stride[0], y = line % c->out[1] * c->stride[1];
    return (z * c->wide[1] + y) * c->wide[2];
}

/* Some positions of a block that are results, and where in the results they belong. */
typedef struct Piece {
    int64_t at, n, to;
} Piece;

/* A convolution with stride 1 over images of our own. Sizes, offsets and strides in elements. */
typedef struct Tiled {
    FacDType dtype;
    int64_t batch, groups, channels, outputs; /* the last two of one group */
    /* Images: element j of phase r of a dim is element j * step + r - before of the source. */
    int64_t in[3], step[3], before[3], phases[3], wide[3];
    int64_t area, part, room; /* of a source plane, an image plane, a channel of the wave */
    int64_t layer, sample;    /* from a phase to the next, and from the image of a sample */
    int64_t shared;           /* what is read behind an image: zeros */
    int64_t taps;
    int64_t *tap, *tap_at; /* which element of the window, and its offset in an image */
    int64_t size[3];       /* of the results; their positions count along the images' lines */
    int64_t to_step[3], to_plane, to_sample;
    int64_t w_output, w_channel, w_group;
    int64_t first, slots, positions; /* the samples of the wave */
    int64_t run, runs;               /* of channels */
    bool in_place;                   /* the weight is not packed */
    bool gathers;                    /* what taps see at results is brought together */
    int64_t q_block, q_blocks, i_blocks, panels;
    int64_t lines, *line_at; /* of the adjoint in the weight: a run, and where its lines start */
    const char *from, *bias;
    char *to, *weight, *images, *packed, *sums;
} Tiled;

/* The outputs [*first, *last) of a block of so many panels. */
static void
panel_range(int64_t outputs, int64_t panels, int64_t block, int64_t *first, int64_t *last)
{
    *first = *last = 0;
    for (int64_t i = 0; *last < outputs && i <= block; i++) {
        *first = *last;
        for (int64_t n = 0; n < panels && *last < outputs; n++)
            *last += gemm_height(outputs - *last, false);
    }
}

#define T float
#define INDEX int32_t
#define NAME(name) name##_f32
#include "kernels/cpu/conv_tiles.h"
#define T double
#define INDEX int64_t
#define NAME(name) name##_f64
#include "kernels/cpu/conv_tiles.h"
#define TILED(p, name) ((p)->dtype == FAC_DT_F32 ? name##_f32 : name##_f64)

/* Adds the columns of channels [begin, end) to the image, tap by tap; elements of `parts` Ts. */
#define SCATTER(DT, T, parts)                                                                      \
    static void scatter_##DT(const Conv *c, T *image, const T *columns, int64_t begin,             \
                             int64_t end)                                                          \
    {                                                                                              \
        for (int64_t row = begin * c->taps; row < end * c->taps; row++) {                          \
            T *plane = image + (row / c->taps * c->room + c->tap[row % c->taps]) * (parts);        \
            const T *from = columns + row * c->positions * (parts);                                \
            for (int64_t line = 0; line < c->out[0] * c->out[1]; line++) {                         \
                T *to = plane + line_start(c, line) * (parts);                                     \
                for (int64_t x = 0; x < c->out[2]; x++, from += (parts))                           \
                    for (int i = 0; i < (parts); i++) {                                            \
                        T *at = to + x * c->stride[2] * (parts) + i;                               \
                        *at = (T)(*at + from[i]);                                                  \
                    }                                                                              \
            }                                                                                      \
        }                                                                                          \
    }
#define SCATTER_ONE(DT, T) SCATTER(DT, T, 1)
FAC_REAL_TYPES(SCATTER_ONE)
SCATTER(C64, float, 2)
SCATTER(C128, double, 2)
#undef SCATTER_ONE
#undef SCATTER

static void
scatter(const Conv *c, char *image, const char *columns, int64_t begin, int64_t end)
{
    void *to = image;
    const void *from = columns;
    switch (c->dtype) {
#define SCATTER_CASE(DT, T)                                                                        \
    case FAC_DT_##DT: scatter_##DT(c, to, from, begin, end); return;
        FAC_REAL_TYPES(SCATTER_CASE)
        SCATTER_CASE(C64, float)
        SCATTER_CASE(C128, double)
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
}

static void
set_data(Conv *c, const FacTensor *x, const FacTensor *w, const FacTensor *y)
{
    c->x = fac_data(x);
    c->w = fac_data(w);
    c->y = fac_data(y);
}

/* `first` is the index of the argument stride; padding, dilation, groups follow. */
static Conv
geometry(const FacCall *call, int first, FacDType dtype, const FacTensor *x, const FacTensor *w,
         const FacTensor *y)
{
    const int n = x->ndim - 2, lead = 3 - n;
    const FacValue stride = FAC_ARG(call, first), padding = FAC_ARG(call, first + 1);
    const FacValue dilation = FAC_ARG(call, first + 2);
    const bool pairs = (int)padding.len == 2 * n;
    Conv c = {.dtype = dtype,
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

/* Y[o, p] = W[o, k] columns[k, p], or columns[k, p] = W^T[k, o] Y[o, p]. */
static FacGemm
product(const Conv *c, int64_t sample, int64_t group, char *columns)
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
    const int64_t plane = r->c->room * r->c->item;
    memset(r->image + begin * plane, 0, (size_t)((end - begin) * plane));
    scatter(r->c, r->image, r->c->columns, begin, end);
}

static FacStatus
large_sample(const Conv *c, int64_t sample)
{
    for (int64_t group = 0; group < c->groups; group++) {
        Rows rows = {c, c->images + (sample * c->groups + group) * c->image};
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
run_samples(Conv *c)
{
    const double work = (double)(c->channels * c->taps) * (double)c->positions * (double)c->outputs;
    const bool own = !c->direct; /* columns */
    const bool small =
        (!own || c->column <= CONV_SMALL) && work < 32.0 * CONV_SMALL && c->batch > 1;
    const int64_t most = own ? CONV_SLOTS : c->batch;
    const int64_t slots = small ? (c->batch < most ? c->batch : most) : 1;
    const size_t bytes = own ? (size_t)(slots * c->column) : 0;
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

static FacStatus
run(Conv *c)
{
    size_t bytes;
    FAC_RETURN_IF_ERROR(open_images(c, &bytes));
    const FacStatus st = run_samples(c);
    close_images(c, bytes);
    return st;
}

/* --- on images of our own --------------------------------------------------------------------------------- */

static bool
is_tiled(const Conv *c)
{
    if (c->direct || c->channels == 0 || c->outputs == 0) return false;
    if (c->dtype != FAC_DT_F32 && c->dtype != FAC_DT_F64) return false;
    if (!c->adjoint) return true;
    return c->stride[0] <= CONV_PHASES && c->stride[1] <= CONV_PHASES &&
           c->stride[2] <= CONV_PHASES && c->stride[0] * c->stride[1] * c->stride[2] <= CONV_PHASES;
}

/* Windows of one element that see few positions of a sample: as products, rows would end in the middle of a
 * vector. */
static bool
is_narrow(const Conv *c)
{
    const int64_t channels = c->adjoint ? c->outputs : c->channels;
    const int64_t outputs = c->adjoint ? c->channels : c->outputs;
    return c->direct && (c->dtype == FAC_DT_F32 || c->dtype == FAC_DT_F64) && channels > 0 &&
           outputs > 2 * GEMM_ROWS && c->positions <= CONV_NARROW;
}

/* Where images have zeros on both sides, those behind a line are those in front of the next one; the
 * same with lines and planes. Returns by how many elements what an image reads is larger than it. */
static int64_t
share_padding(Tiled *p)
{
    const int64_t whole = p->wide[0] * p->wide[1] * p->wide[2];
    for (int i = 0; i < 3; i++) {
        const int64_t left = p->before[i], right = p->wide[i] - left - p->in[i];
        const int64_t most = p->wide[i] - p->size[i], both = left < right ? left : right;
        if (p->step[i] == 1 && both > 0) p->wide[i] -= both < most ? both : most;
    }
    return whole - p->wide[0] * p->wide[1] * p->wide[2];
}

/* Sets what follows from the dims: how many samples a wave has, and where their images are. Those of windows
 * of one element are the source itself. */
static void
tiled_sizes(Tiled *p, const Conv *c)
{
    const int64_t line = 64 / c->item, phases = p->phases[0] * p->phases[1] * p->phases[2];
    const int64_t near = fac_cpu_cache(2) / 2;
    p->part = p->sample = p->wide[0] * p->wide[1] * p->wide[2];
    p->slots = near / (p->groups * p->channels * phases * p->part * c->item + 1);
    p->slots = p->slots < 1 ? 1 : p->slots < p->batch ? p->slots : p->batch;
    p->layer = p->slots * p->part;
    /* channels begin at an odd number of lines of the cache, so that they meet in none of its sets */
    p->room = (fac_chunks(phases * p->layer + p->shared, line) | 1) * line;
    if (!c->direct) return;
    p->slots = p->batch;
    p->room = p->area;
    p->sample = p->groups * p->channels * p->area;
}

/* The dims of the images of x, and what a tap k of a dim sees: element at[i][k] of phase[i][k]. */
static Tiled
tiled_forward(const Conv *c)
{
    Tiled p = {.dtype = c->dtype,
               .batch = c->batch,
               .groups = c->groups,
               .channels = c->channels,
               .outputs = c->outputs,
               .area = c->area,
               .from = c->x,
               .bias = c->bias,
               .to = (char *)c->y,
               .weight = (char *)c->w,
               .to_step = {c->out[1] * c->out[2], c->out[2], 1},
               .to_plane = c->positions,
               .to_sample = c->groups * c->outputs * c->positions,
               .w_output = c->channels * c->taps,
               .w_channel = c->taps,
               .w_group = c->outputs * c->channels * c->taps};
    for (int i = 0; i < 3; i++) {
        const int64_t reach = c->dilation[i] * (c->kernel[i] - 1) + 1;
        p.in[i] = c->in[i];
        p.step[i] = c->stride[i];
        p.before[i] = c->before[i];
        p.size[i] = c->out[i];
        p.phases[i] = c->stride[i] < reach ? c->stride[i] : reach;
        p.wide[i] = c->out[i] + (reach - 1) / c->stride[i];
    }
    p.shared = share_padding(&p);
    tiled_sizes(&p, c);
    return p;
}

/* Results `start`, start + stride, ... of every dim of x, from images of y. They are seen through the
 * taps k for which start + before - dilation * k is a multiple of the stride: at[i][k], else -1. */
static Tiled
tiled_adjoint(const Conv *c, const int64_t *start, int64_t *const at[3])
{
    Tiled p = {.dtype = c->dtype,
               .batch = c->batch,
               .groups = c->groups,
               .channels = c->outputs,
               .outputs = c->channels,
               .area = c->positions,
               .from = c->y,
               .to = (char *)c->x,
               .weight = (char *)c->w,
               .to_plane = c->area,
               .to_sample = c->groups * c->channels * c->area,
               .w_output = c->taps,
               .w_channel = c->channels * c->taps,
               .w_group = c->outputs * c->channels * c->taps};
    int64_t plane = c->item;
    for (int i = 2; i >= 0; i--) {
        const int64_t stride = c->stride[i];
        int64_t low = 0, high = 0;
        bool any = false;
        for (int64_t k = 0; k < c->kernel[i]; k++) {
            const int64_t reach = start[i] + c->before[i] - c->dilation[i] * k,
                          seen = reach / stride;
            if (reach % stride) continue;
            low = !any || seen < low ? seen : low;
            high = !any || seen > high ? seen : high;
            any = true;
        }
        for (int64_t k = 0; k < c->kernel[i]; k++) {
            const int64_t reach = start[i] + c->before[i] - c->dilation[i] * k;
            at[i][k] = reach % stride ? -1 : reach / stride - low;
        }
        p.in[i] = c->out[i];
        p.step[i] = p.phases[i] = 1;
        p.before[i] = -low;
        p.size[i] = (c->in[i] - start[i] + stride - 1) / stride;
        p.wide[i] = p.size[i] + high - low;
        p.to += start[i] * plane;
        p.to_step[i] = stride * (plane / c->item);
        plane *= c->in[i];
    }
    p.shared = share_padding(&p);
    tiled_sizes(&p, c);
    return p;
}

/* Takes the memory: images, and as many bytes for `packed` (of each sample, if there are sums) and `sums` as are
 * asked for. */
static FacStatus
tiled_open(Tiled *p, const Conv *c, size_t packed, size_t sums, size_t *bytes)
{
    const size_t planes = (size_t)(p->groups * p->channels);
    const size_t images = c->direct ? 0 : planes * (size_t)(p->room * c->item) + CONV_SLACK;
    packed *= sums ? (size_t)p->slots : 1;
    packed = (packed + 63) / 64 * 64;
    *bytes = images + packed + sums;
    void *memory;
    FAC_RETURN_IF_ERROR(fac_host_alloc(*bytes, &memory));
    p->images = c->direct ? (char *)p->from : memory;
    p->packed = (char *)memory + images;
    p->sums = p->packed + packed;
    if (images) memset(p->packed - CONV_SLACK, 0, CONV_SLACK);
    return FAC_OK;
}

/* The taps of which every dim is seen. */
static void
tiled_taps(Tiled *p, const Conv *c, int64_t *const at[3], int64_t *const phase[3])
{
    p->taps = 0;
    for (int64_t i = 0; i < c->taps; i++) {
        const int64_t x = i % c->kernel[2], y = i / c->kernel[2] % c->kernel[1];
        const int64_t z = i / c->kernel[2] / c->kernel[1];
        if (at[0][z] < 0 || at[1][y] < 0 || at[2][x] < 0) continue;
        const int64_t r = (phase[0][z] * p->phases[1] + phase[1][y]) * p->phases[2] + phase[2][x];
        p->tap[p->taps] = i;
        p->tap_at[p->taps++] =
            r * p->layer + (at[0][z] * p->wide[1] + at[1][y]) * p->wide[2] + at[2][x];
    }
}

/* The next samples, from `first` on. */
static void
tiled_wave(Tiled *p, int64_t first, int64_t slots)
{
    const int64_t left = p->batch - first;
    p->first = first;
    p->slots = left < slots ? left : slots;
    p->positions = (p->slots - 1) * p->part + p->size[2] +
                   ((p->size[0] - 1) * p->wide[1] + p->size[1] - 1) * p->wide[2];
    if (p->gathers) p->positions = p->slots * p->size[0] * p->size[1] * p->size[2];
}

/* Whether it pays to bring together what the taps see at results: with so many outputs it costs less than
 * products of positions that are no results and reading from all over the images. */
static bool
tiled_gathers(const Tiled *p)
{
    return !p->in_place && p->run * p->taps <= CONV_RUN && p->outputs > 2 * GEMM_ROWS;
}

/* Groups of one channel and few outputs. */
static bool
is_depthwise(const Tiled *p)
{
    return p->channels == 1 && p->outputs < 4;
}

static FacStatus
run_tiled(Tiled *p, const Conv *c)
{
    size_t bytes;
    FAC_RETURN_IF_ERROR(tiled_open(p, c, (size_t)(p->groups * p->w_group * c->item), 0, &bytes));
    const int64_t slots = p->slots, planes = p->groups * p->channels,
                  run = p->taps ? CONV_RUN / p->taps : p->channels;
    const bool depthwise = is_depthwise(p);
    p->runs = fac_chunks(p->channels, run < 1 ? 1 : run);
    p->run = fac_chunks(p->channels, p->runs);
    p->runs = fac_chunks(p->channels, p->run);
    /* a weight that passes few positions is read where it lies */
    p->in_place = !c->adjoint && !c->direct && p->batch * p->part <= CONV_FEW;
    p->gathers = tiled_gathers(p);
    const int64_t panels = fac_chunks(p->outputs, GEMM_ROWS);
    if (!depthwise && !p->in_place)
        fac_parallel(p->groups * p->runs * fac_chunks(panels, CONV_PANELS),
                     fac_grain(CONV_PANELS * GEMM_ROWS * p->run * p->taps), TILED(p, pack_weight),
                     p);
    for (int64_t first = 0; first < p->batch; first += slots) {
        tiled_wave(p, first, slots);
        const int64_t strip = p->dtype == FAC_DT_F32 ? NR_f32 : NR_f64;
        const int64_t work = p->part * p->slots * (depthwise ? p->taps : 1);
        if (depthwise) {
            fac_parallel(p->groups, fac_grain(work), TILED(p, depthwise), p);
            continue;
        }
        const int64_t strips = fac_chunks(p->positions, strip);
        p->q_blocks = fac_chunks(strips, p->gathers ? CONV_GATHERED : CONV_STRIPS);
        p->q_block = fac_chunks(strips, p->q_blocks) * strip;
        p->panels = !p->gathers                                ? CONV_PANELS
                    : p->runs == 1 && p->q_blocks >= CONV_MANY ? CONV_ALL_PANELS
                                                               : CONV_GATHERED_PANELS;
        p->i_blocks = fac_chunks(panels, p->panels);
        if (p->taps && !c->direct)
            fac_parallel(planes * p->slots, fac_grain(p->part), TILED(p, fill_planes), p);
        fac_parallel(p->q_blocks * p->i_blocks * p->groups, 1, TILED(p, conv_blocks), p);
    }
    fac_host_free(c->direct ? p->packed : p->images, bytes);
    return FAC_OK;
}

/* Tables for all of a convolution in one block: of the dims, of the taps, and of lines. */
static FacStatus
tables(const Conv *c, int64_t *at[3], int64_t *phase[3], Tiled *p, int64_t **memory)
{
    int64_t n = 0;
    for (int i = 0; i < 3; i++) n += 2 * c->kernel[i];
    *memory = fac_mem_alloc((size_t)(n + 2 * c->taps + CONV_RUN) * sizeof **memory);
    if (!*memory) return fac_mem_error((size_t)(n + 2 * c->taps) * sizeof **memory);
    int64_t *next = *memory;
    for (int i = 0; i < 3; i++) {
        at[i] = next;
        phase[i] = next + c->kernel[i];
        next += 2 * c->kernel[i];
        for (int64_t k = 0; k < c->kernel[i]; k++) {
            at[i][k] = c->dilation[i] * k / c->stride[i];
            phase[i][k] = c->adjoint ? 0 : c->dilation[i] * k % c->stride[i];
        }
    }
    p->tap = next;
    p->tap_at = next + c->taps;
    p->line_at = p->tap_at + c->taps;
    return FAC_OK;
}

static void
keep_tables(Tiled *p, const Tiled *tables_of)
{
    p->tap = tables_of->tap;
    p->tap_at = tables_of->tap_at;
    p->line_at = tables_of->line_at;
}

/* Forward, or every phase of the adjoint in the input. */
static FacStatus
conv_tiled(const Conv *c)
{
    int64_t *at[3], *phase[3], *memory;
    Tiled p, with;
    FacStatus st = FAC_OK;
    FAC_RETURN_IF_ERROR(tables(c, at, phase, &with, &memory));
    if (!c->adjoint) {
        p = tiled_forward(c);
        keep_tables(&p, &with);
        tiled_taps(&p, c, at, phase);
        st = run_tiled(&p, c);
    } else {
        const int64_t *s = c->stride;
        for (int64_t i = 0; i < s[0] * s[1] * s[2] && st == FAC_OK; i++) {
            const int64_t start[3] = {i / s[2] / s[1], i / s[2] % s[1], i % s[2]};
            if (start[0] >= c->in[0] || start[1] >= c->in[1] || start[2] >= c->in[2]) continue;
            p = tiled_adjoint(c, start, at);
            keep_tables(&p, &with);
            tiled_taps(&p, c, at, phase);
            st = run_tiled(&p, c);
        }
    }
    fac_mem_free(memory);
    return st;
}

/* As one with few products, for windows of 3x3 that go step by step. */
static FacWinograd
as_winograd(const Conv *c)
{
    FacWinograd p = {.batch = c->batch,
                     .groups = c->groups,
                     .channels = c->adjoint ? c->outputs : c->channels,
                     .outputs = c->adjoint ? c->channels : c->outputs,
                     .x = (const float *)(c->adjoint ? c->y : c->x),
                     .w = (const float *)c->w,
                     .bias = (const float *)c->bias,
                     .y = (float *)(c->adjoint ? c->x : c->y),
                     .w_output = c->adjoint ? 9 : 9 * c->channels,
                     .w_channel = c->adjoint ? 9 * c->channels : 9,
                     .w_group = 9 * c->channels * c->outputs,
                     .turned = c->adjoint};
    for (int i = 0; i < 2; i++) {
        p.in[i] = c->adjoint ? c->out[i + 1] : c->in[i + 1];
        p.out[i] = c->adjoint ? c->in[i + 1] : c->out[i + 1];
        p.before[i] = c->adjoint ? 2 - c->before[i + 1] : c->before[i + 1];
    }
    return p;
}

static bool
is_winograd(const Conv *c)
{
    bool fits = c->dtype == FAC_DT_F32 && c->in[0] == 1 && c->kernel[0] == 1 && c->out[0] == 1;
    for (int i = 1; i < 3; i++)
        fits = fits && c->kernel[i] == 3 && c->stride[i] == 1 && c->dilation[i] == 1;
    if (!fits) return false;
    const FacWinograd p = as_winograd(c);
    return FAC_TIERED(winograd_pays)(&p);
}

/* Samples whose results are not finite are done again, as sums: there a number that is not finite
 * reaches further than it should. */
static FacStatus
conv_winograd(const Conv *c)
{
    const FacWinograd p = as_winograd(c);
    bool *again = fac_mem_alloc((size_t)c->batch * sizeof *again);
    if (!again) return fac_mem_error((size_t)c->batch * sizeof *again);
    memset(again, 0, (size_t)c->batch * sizeof *again);
    FacStatus st = FAC_TIERED(winograd)(&p, again);
    for (int64_t i = 0; i < c->batch && !st; i++) {
        Conv one = *c;
        one.batch = 1;
        one.x += i * c->groups * c->channels * c->area * c->item;
        one.y += i * c->groups * c->outputs * c->positions * c->item;
        if (again[i]) st = conv_tiled(&one);
    }
    fac_mem_free(again);
    return st;
}

/* Forward, or the adjoint in the input. */
static FacStatus
convolve(Conv *c)
{
    if (is_winograd(c)) return conv_winograd(c);
    return is_tiled(c) || is_narrow(c) ? conv_tiled(c) : run(c);
}

/* The adjoint in the weight, wave by wave. */
static void
weight_waves(Tiled *p, const Conv *c, int64_t strips)
{
    const int64_t slots = p->slots, planes = p->groups * p->channels;
    for (int64_t first = 0; first < p->batch; first += slots) {
        tiled_wave(p, first, slots);
        if (is_depthwise(p)) {
            fac_parallel(p->groups, fac_grain(p->slots * p->to_plane * p->taps),
                         TILED(p, depthwise_weight), p);
            continue;
        }
        fac_parallel(planes * p->slots, fac_grain(p->part), TILED(p, fill_planes), p);
        fac_parallel(strips * p->slots, 1, TILED(p, pack_gradient), p);
        fac_parallel(strips * fac_chunks(p->channels, GEMM_ROWS), 1, TILED(p, weight_blocks), p);
    }
    fac_parallel(p->groups * p->outputs, fac_grain(c->taps * c->channels),
                 is_depthwise(p) ? TILED(p, put_depthwise) : TILED(p, put_weight), p);
}

/* The adjoint in the weight. */
static FacStatus
weight_tiled(const Conv *c)
{
    const int64_t strip = c->dtype == FAC_DT_F32 ? NR_f32 : NR_f64;
    const int64_t strips = c->groups * fac_chunks(c->outputs, strip);
    int64_t *at[3], *phase[3], *memory;
    Tiled p = tiled_forward(c), with;
    size_t bytes, packed, sums;
    FAC_RETURN_IF_ERROR(tables(c, at, phase, &with, &memory));
    keep_tables(&p, &with);
    tiled_taps(&p, c, at, phase);
    p.lines = c->out[2] < CONV_RUN ? CONV_RUN / c->out[2] : 1;
    if (p.lines > c->out[1]) p.lines = c->out[1];
    for (int64_t i = 0; i < p.lines; i++) p.line_at[i] = i * c->out[2] * strip;
    packed = (size_t)(strips * c->positions * strip * c->item);
    sums = (size_t)(strips * strip * c->taps * c->channels * c->item);
    if (is_depthwise(&p)) { /* a vector for each element of the weight */
        packed = 0;
        sums = (size_t)(c->groups * c->outputs * c->taps * GEMM_BYTES);
    }
    const FacStatus st = tiled_open(&p, c, packed, sums, &bytes);
    if (!st) {
        weight_waves(&p, c, strips);
        fac_host_free(p.images, bytes);
    }
    fac_mem_free(memory);
    return st;
}

/* --- the rows ----------------------------------------------------------------------------------------- */

/* The memory order in which x and y of a call are taken: that of the operands where the channels come last
 * in one of them and a way for it pays. */
static FacMemoryFormat
order_of(const FacCall *call, const Conv *c)
{
    FacMemoryFormat format = FAC_CONTIGUOUS;
    for (int i = 0; i < 2 && format == FAC_CONTIGUOUS; i++) {
        const FacTensor *t = fac_arg_tensor(call, i);
        format = fac_format_of(t->ndim, t->sizes, t->strides);
    }
    return FAC_TIERED(conv_last_pays)(c) ? format : FAC_CONTIGUOUS;
}

/* (input, weight, bias, stride, padding, dilation, groups). */
FacStatus
FAC_KERNEL(conv)(FacCall *call)
{
    FacTensor *result = fac_result_tensor(call, 0), *input = fac_arg_tensor(call, 0);
    FacTensor *x = NULL, *w = NULL, *bias = NULL, *y = NULL;
    const FacDType dt = plain_compute(result);
    FacStatus st = FAC_OK;
    if (result->numel == 0) return FAC_OK;
    Conv c = geometry(call, 3, dt, input, fac_arg_tensor(call, 1), result);
    const FacMemoryFormat format = order_of(call, &c);
    FAC_TRY(plain_in_format(input, dt, format, &x));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), dt, &w));
    FAC_TRY(plain_in(fac_arg_tensor(call, 2), dt, &bias));
    FAC_TRY(plain_out_format(call, 0, dt, format, &y));
    set_data(&c, x, w, y);
    c.bias = bias ? fac_data(bias) : NULL;
    FAC_TRY(format == FAC_CONTIGUOUS ? convolve(&c) : FAC_TIERED(conv_last)(&c));
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
    Conv c = geometry(call, 3, dt, result, fac_arg_tensor(call, 1), fac_arg_tensor(call, 0));
    c.adjoint = true;
    const FacMemoryFormat format = order_of(call, &c);
    FAC_TRY(plain_in_format(fac_arg_tensor(call, 0), dt, format, &y));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), dt, &w));
    FAC_TRY(plain_out_format(call, 0, dt, format, &x));
    set_data(&c, x, w, y);
    FAC_TRY(format == FAC_CONTIGUOUS ? convolve(&c) : FAC_TIERED(conv_last)(&c));
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
        if (!c->direct) fac_parallel(rows, fac_grain(c->positions), gather_rows, &image);
        FAC_RETURN_IF_ERROR(FAC_TIERED(gemm)(&g));
    }
    return FAC_OK;
}

static FacStatus
run_weight(Conv *c)
{
    const size_t bytes = c->direct ? 0 : (size_t)c->column;
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
    Conv c = geometry(call, 3, dt, fac_arg_tensor(call, 0), result, fac_arg_tensor(call, 1));
    const FacMemoryFormat format = order_of(call, &c);
    FAC_TRY(plain_in_format(fac_arg_tensor(call, 0), dt, format, &x));
    FAC_TRY(plain_in_format(fac_arg_tensor(call, 1), dt, format, &y));
    FAC_TRY(plain_out(call, 0, dt, &w));
    set_data(&c, x, w, y);
    if (c.batch == 0)
        memset(fac_data(w), 0, fac_nbytes(w));
    else if (format != FAC_CONTIGUOUS)
        FAC_TRY(FAC_TIERED(conv_last_weight)(&c));
    else
        FAC_TRY(is_tiled(&c) ? weight_tiled(&c) : run_weight(&c));
    FAC_TRY(plain_done(call, 0, w));
done:
    fac_tensor_release(x);
    fac_tensor_release(w);
    fac_tensor_release(y);
    return st;
}
