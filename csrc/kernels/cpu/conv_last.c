/* conv_last.c - convolution of tensors with the channels last, and its two adjoints.
 *
 * What a line of taps sees of all channels is one piece of memory, so the tile of products reads the
 * image by single elements where it lies: rows are neighbouring results, steps the channels of a
 * tap, lines the taps. The weight is packed, vectors are outputs, and results are written as they
 * are. The image is copied only to pad it, or where its pixels would meet in the same sets of the cache.
 *
 * The adjoint in the input is such a convolution of the output's gradient for every phase of the
 * stride, of those taps that see it. That in the weight takes the gradient by single elements
 * (rows are outputs, steps positions) and vectors of channels from the image.
 */
#include "base/cpu.h"
#include "device/device.h"
#include "kernels/cpu/conv.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gemm_tile.h"

enum {
    DEEP = 4,                  /* results of groups of one channel that are done at a time */
    DEEP_TAPS = 64,            /* their taps */
    CONV_LAST_TAPS = 64,       /* of a line of a window */
    CONV_LAST_RUN = 288,       /* channels times taps of a line, or positions, summed in one go */
    CONV_LAST_LEAST = 8,       /* outputs, and channels of groups, for this to pay */
    CONV_LAST_POSITIONS = 256, /* of a task */
    CONV_LAST_SLACK = 256,     /* bytes behind images that vectors may read */
    CONV_LAST_WAVE = 4 << 20   /* bytes of padded images */
};

/* A convolution over images; sizes, offsets and strides in elements or pixels. */
typedef struct View {
    FacDType dtype;
    int64_t batch, groups, channels, outputs,
        all; /* channels of one group, of a pixel of the source */
    int64_t in[3], before[3], wide[3], pixel,
        part;                   /* images: pixels of a sample, elements of a pixel */
    int64_t size[3], stride[3]; /* results, and the pixels from one to the next */
    /* Taps of a dim: which of the window, the first one and the step; the same for what they see. */
    int64_t count[3], tap[3], tap_step[3], at[3], at_step[3], kernel[3], taps;
    int64_t to_step[3], to_sample;
    int64_t w_output, w_channel, w_group;
    int64_t first, slots; /* the samples of the wave */
    int64_t run, lines, *line_at;
    int64_t folded; /* taps of a line that count as channels */
    const char *from, *images, *bias;
    char *copy, *packed, *to, *weight;
} View;

/* Which element of a window a tap is. */
static inline int64_t
tap_of(const View *v, int64_t tap)
{
    const int64_t x = tap % v->count[2], y = tap / v->count[2] % v->count[1];
    const int64_t z = tap / v->count[2] / v->count[1];
    return ((v->tap[0] + z * v->tap_step[0]) * v->kernel[1] + v->tap[1] + y * v->tap_step[1]) *
               v->kernel[2] +
           v->tap[2] + x * v->tap_step[2];
}

/* What a tap sees, from what the first one sees. */
static inline int64_t
seen_by(const View *v, int64_t tap)
{
    const int64_t x = tap % v->count[2], y = tap / v->count[2] % v->count[1];
    const int64_t z = tap / v->count[2] / v->count[1];
    const int64_t line = z * v->at_step[0] * v->wide[1] + y * v->at_step[1];
    return (line * v->wide[2] + x * v->at_step[2]) * v->pixel;
}

/* What the first tap of the first result of a line sees in its image. */
static inline int64_t
first_seen(const View *v, int64_t z, int64_t y)
{
    const int64_t line = (z * v->stride[0] + v->at[0]) * v->wide[1] + y * v->stride[1] + v->at[1];
    return (line * v->wide[2] + v->at[2]) * v->pixel;
}

#pragma GCC optimize("fp-contract=fast")
#define T float
#define NAME(x) x##_f32
#include "kernels/cpu/conv_last_body.h"
#define T double
#define NAME(x) x##_f64
#include "kernels/cpu/conv_last_body.h"
#define BODY(v, name) ((v)->dtype == FAC_DT_F32 ? name##_f32 : name##_f64)

/* Groups of one channel and one output: vectors are groups. */
static bool
is_deep(const Conv *c)
{
    return c->channels == 1 && c->outputs == 1 && c->groups * c->item >= GEMM_BYTES &&
           c->taps <= DEEP_TAPS && !c->direct;
}

/* Vectors are outputs, so these should fill one. */
bool
FAC_TIERED(conv_last_pays)(const Conv *c)
{
    const int64_t in = c->adjoint ? c->outputs : c->channels;
    const int64_t out = c->adjoint ? c->channels : c->outputs;
    return (c->dtype == FAC_DT_F32 || c->dtype == FAC_DT_F64) && c->kernel[2] <= CONV_LAST_TAPS &&
           (is_deep(c) ||
            (out >= CONV_LAST_LEAST && in > 0 && (c->groups == 1 || in >= CONV_LAST_LEAST)));
}

/* --- views -------------------------------------------------------------------------------------------- */

static View
view_forward(const Conv *c)
{
    View v = {.dtype = c->dtype,
              .batch = c->batch,
              .groups = c->groups,
              .channels = c->channels,
              .outputs = c->outputs,
              .all = c->groups * c->channels,
              .taps = c->taps,
              .folded = 1,
              .w_output = c->channels * c->taps,
              .w_channel = c->taps,
              .w_group = c->outputs * c->channels * c->taps,
              .from = c->x,
              .bias = c->bias,
              .to = (char *)c->y,
              .weight = (char *)c->w};
    int64_t step = c->groups * c->outputs;
    for (int i = 2; i >= 0; i--) {
        v.in[i] = c->in[i];
        v.before[i] = c->before[i];
        v.wide[i] = c->wide[i];
        v.size[i] = c->out[i];
        v.stride[i] = c->stride[i];
        v.count[i] = v.kernel[i] = c->kernel[i];
        v.tap_step[i] = 1;
        v.at_step[i] = c->dilation[i];
        v.to_step[i] = step;
        step *= c->out[i];
    }
    v.to_sample = step;
    return v;
}

/* Results start, start + stride, ... of every dim of the input's gradient. */
static View
view_adjoint(const Conv *c, const int64_t *start)
{
    View v = view_forward(c);
    v.channels = c->outputs;
    v.outputs = c->channels;
    v.all = c->groups * c->outputs;
    v.w_output = c->taps;
    v.w_channel = c->channels * c->taps;
    v.from = c->y;
    v.bias = NULL;
    v.to = (char *)c->x;
    v.taps = 1;
    int64_t step = c->groups * c->channels;
    for (int i = 2; i >= 0; i--) {
        const int64_t stride = c->stride[i];
        int64_t last = 0;
        v.count[i] = 0;
        for (int64_t k = 0; k < c->kernel[i]; k++) {
            const int64_t reach = start[i] + c->before[i] - c->dilation[i] * k;
            if (reach % stride) continue;
            if (v.count[i] == 0) v.tap[i] = k, v.at[i] = reach / stride;
            if (v.count[i] == 1)
                v.tap_step[i] = k - v.tap[i], v.at_step[i] = reach / stride - v.at[i];
            last = reach / stride;
            v.count[i]++;
        }
        const int64_t low = v.count[i] ? last : 0, high = v.at[i];
        v.in[i] = c->out[i];
        v.stride[i] = 1;
        v.before[i] = -low;
        v.size[i] = (c->in[i] - start[i] + stride - 1) / stride;
        v.wide[i] = v.size[i] + high - low;
        v.at[i] = high - low;
        v.to += start[i] * step * c->item;
        v.to_step[i] = stride * step;
        step *= c->in[i];
        v.taps *= v.count[i];
    }
    v.to_sample = step;
    return v;
}

/* Takes the memory: images of a wave of samples unless the source can be read, and `packed` bytes. */
static FacStatus
view_open(View *v, const Conv *c, bool spill, size_t packed, size_t *bytes, void **memory)
{
    const int64_t line = 64 / c->item;
    bool copy = spill || v->all * c->item % 2048 == 0;
    for (int i = 0; i < 3; i++) copy |= v->before[i] != 0 || v->wide[i] > v->in[i];
    v->pixel = copy ? v->all + (v->all * c->item % 1024 ? 0 : line) : v->all;
    if (!copy) memcpy(v->wide, v->in, sizeof v->wide);
    v->part = v->wide[0] * v->wide[1] * v->wide[2] * v->pixel;
    v->slots = copy ? CONV_LAST_WAVE / (v->part * c->item + 1) : v->batch;
    v->slots = v->slots < 1 ? 1 : v->slots < v->batch ? v->slots : v->batch;
    packed = (packed + 63) / 64 * 64;
    *bytes = packed + (copy ? (size_t)(v->slots * v->part * c->item) + CONV_LAST_SLACK : 0);
    FAC_RETURN_IF_ERROR(fac_host_alloc(*bytes, memory));
    v->packed = *memory;
    v->copy = copy ? v->packed + packed : NULL;
    if (copy) memset((char *)*memory + *bytes - CONV_LAST_SLACK, 0, CONV_LAST_SLACK);
    return FAC_OK;
}

/* The next samples, from `first` on. */
static void
view_wave(View *v, const Conv *c, int64_t first, int64_t slots)
{
    v->first = first;
    v->slots = v->batch - first < slots ? v->batch - first : slots;
    v->images = v->copy ? v->copy : v->from + first * v->part * c->item;
    const int64_t lines = v->slots * v->wide[0] * v->wide[1];
    if (v->copy) fac_parallel(lines, fac_grain(v->wide[2] * v->pixel), BODY(v, fill), v);
}

/* --- the three ways ------------------------------------------------------------------------------------- */

static FacStatus
run_view(View *v, const Conv *c)
{
    const int64_t nr = 2 * GEMM_BYTES / c->item, strips = v->groups * fac_chunks(v->outputs, nr);
    void *memory;
    size_t bytes;
    if (v->taps == 0) memset(v->count, 0, sizeof v->count);
    const int64_t run = v->taps ? CONV_LAST_RUN / v->count[2] : v->channels;
    v->run = fac_chunks(v->channels, fac_chunks(v->channels, run < 1 ? 1 : run));
    FAC_RETURN_IF_ERROR(view_open(
        v, c, false, (size_t)(strips * nr * v->taps * v->channels * c->item), &bytes, &memory));
    const bool deep = is_deep(c);
    if (deep)
        fac_parallel(v->taps, fac_grain(v->groups), BODY(v, pack_deep), v);
    else
        fac_parallel(strips, 1, BODY(v, pack), v);
    const int64_t slots = v->slots, grain = fac_chunks(CONV_LAST_POSITIONS, v->size[2]);
    for (int64_t first = 0; first < v->batch; first += slots) {
        view_wave(v, c, first, slots);
        fac_parallel(v->slots * v->size[0] * v->size[1], grain,
                     deep ? BODY(v, lines_deep) : BODY(v, lines), v);
    }
    fac_host_free(memory, bytes);
    return FAC_OK;
}

/* Windows of one element and stride 1: rows of pixels times the weight. */
static FacStatus
multiply_pixels(const Conv *c)
{
    const int64_t in = c->adjoint ? c->outputs : c->channels;
    const int64_t out = c->adjoint ? c->channels : c->outputs;
    FacStatus st = FAC_OK;
    for (int64_t group = 0; group < c->groups && !st; group++) {
        const FacGemm g = {.dtype = c->dtype,
                           .m = c->batch * c->positions,
                           .n = out,
                           .k = in,
                           .a = (c->adjoint ? c->y : c->x) + group * in * c->item,
                           .a_row = c->groups * in,
                           .a_col = 1,
                           .b = c->w + group * c->weight,
                           .b_row = c->adjoint ? out : 1,
                           .b_col = c->adjoint ? 1 : in,
                           .c = (char *)(c->adjoint ? c->x : c->y) + group * out * c->item,
                           .c_row = c->groups * out,
                           .add = c->bias ? c->bias + group * out * c->item : NULL,
                           .add_col = 1,
                           .alpha = {1, 0},
                           .beta = {1, 0}};
        st = FAC_TIERED(gemm)(&g);
    }
    return st;
}

FacStatus
FAC_TIERED(conv_last)(const Conv *c)
{
    const int64_t *s = c->stride;
    FacStatus st = FAC_OK;
    View v;
    if (c->direct) return multiply_pixels(c);
    if (!c->adjoint) {
        v = view_forward(c);
        return run_view(&v, c);
    }
    for (int64_t z = 0; z < s[0] && z < c->in[0] && !st; z++)
        for (int64_t y = 0; y < s[1] && y < c->in[1] && !st; y++)
            for (int64_t x = 0; x < s[2] && x < c->in[2] && !st; x++) {
                const int64_t start[3] = {z, y, x};
                v = view_adjoint(c, start);
                st = run_view(&v, c);
            }
    return st;
}

/* The same for the weight: the gradient's pixels, transposed, times those of the input. */
static FacStatus
multiply_for_weight(const Conv *c)
{
    FacStatus st = FAC_OK;
    for (int64_t group = 0; group < c->groups && !st; group++) {
        const FacGemm g = {.dtype = c->dtype,
                           .m = c->outputs,
                           .n = c->channels,
                           .k = c->batch * c->positions,
                           .a = c->y + group * c->outputs * c->item,
                           .a_row = 1,
                           .a_col = c->groups * c->outputs,
                           .b = c->x + group * c->channels * c->item,
                           .b_row = c->groups * c->channels,
                           .b_col = 1,
                           .c = (char *)c->w + group * c->weight,
                           .c_row = c->channels,
                           .alpha = {1, 0}};
        st = FAC_TIERED(gemm)(&g);
    }
    return st;
}

/* What a line of taps sees of few channels is one piece of memory: as many channels of one tap. */
static void
fold_lines(View *v)
{
    v->folded = v->count[2];
    v->channels *= v->folded;
    v->taps /= v->folded;
    v->count[2] = 1;
}

FacStatus
FAC_TIERED(conv_last_weight)(const Conv *c)
{
    if (c->direct) return multiply_for_weight(c);
    View v = view_forward(c);
    const bool deep = is_deep(c);
    const int64_t nr = 2 * GEMM_BYTES / c->item, vectors = fac_chunks(c->groups, nr / 2);
    if (!deep && v.groups == 1 && v.channels < nr && v.at_step[2] == 1) fold_lines(&v);
    const int64_t room = fac_chunks(v.channels, nr) * nr;
    const int64_t tasks = v.groups * fac_chunks(v.outputs, GEMM_ROWS) * (room / nr);
    int64_t line_at[CONV_LAST_RUN];
    void *memory;
    size_t bytes;
    v.to = (char *)c->y;
    FAC_RETURN_IF_ERROR(view_open(&v, c, !deep && v.channels % nr != 0,
                                  (size_t)(v.groups * v.taps * v.outputs * room * c->item), &bytes,
                                  &memory));
    v.lines = v.size[2] < CONV_LAST_RUN ? CONV_LAST_RUN / v.size[2] : 1;
    v.line_at = line_at;
    for (int64_t i = 0; i < v.lines; i++) line_at[i] = i * v.stride[1] * v.wide[2] * v.pixel;
    const int64_t slots = v.slots;
    for (int64_t first = 0; first < v.batch; first += slots) {
        view_wave(&v, c, first, slots);
        if (deep)
            fac_parallel(vectors, 1, BODY(&v, weights_deep), &v);
        else
            fac_parallel(tasks, 1, BODY(&v, weights), &v);
    }
    if (deep)
        fac_parallel(vectors, fac_grain(v.taps * nr), BODY(&v, put_deep), &v);
    else
        fac_parallel(v.groups * v.outputs, fac_grain(v.taps * v.channels), BODY(&v, put_weights),
                     &v);
    fac_host_free(memory, bytes);
    return FAC_OK;
}
