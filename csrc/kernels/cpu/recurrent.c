/* recurrent.c - all steps of one recurrent layer in one direction, forward and backward.
 *
 * The products with the input come ready, made for the whole sequence by one product. The recurrent
 * weights are packed once into panels; a step is one job of the pool, whose tasks take the product of
 * the hidden state with their panel and finish their units at once. The kinds of cells differ in the
 * functions of their gates, which lie side by side: input, forget, cell, output in an LSTM; reset,
 * update, new in a GRU; one gate in an Elman layer. Each element is a sum in the order of k: the bits
 * depend on no other row, and not on threads. Halves compute in float32; only what goes out is rounded.
 */
#include "device/device.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/plain.h"
#include "kernels/scalar.h"
#include "tensor/strided.h"

/* A register that keeps its value up to here, where there are enough of them. */
#if defined(__AVX512F__)
#define KEEP(x) __asm__ volatile("" : : "v"(x))
#else
#define KEEP(x) ((void)(x))
#endif

/* X(rows, vectors): the heights of tiles, tallest first. */
#if defined(__AVX512F__)
#define F32_LANES 16
#define F64_LANES 8
#define TILES(X) X(6, 4) X(4, 4) X(2, 4) X(1, 4) X(8, 3) X(4, 3) X(2, 3) X(1, 3)
#else
#define TILES(X) X(3, 4) X(2, 4) X(1, 4) X(4, 3) X(2, 3) X(1, 3)
#if defined(__AVX2__)
#define F32_LANES 8
#define F64_LANES 4
#else
#define F32_LANES 4
#define F64_LANES 2
#endif
#endif

enum {
    GROUP = 24,   /* rows that pass a panel together */
    ONE_TILE = 6, /* as many pass it once */
    STEPS = 64    /* steps of a panel that are in the first cache while more pass */
};

typedef enum CellKind { LSTM, GRU, RNN_TANH, RNN_RELU } CellKind;

/* A matrix of k steps by gates x h columns, in panels; the weights hold it by columns for the steps
 * forward, by steps for those back. */
typedef struct Panels {
    const void *weights;
    void *data;
    int gates, vectors, units; /* units: those of a panel */
    int64_t k, h, count;
    size_t bytes;
} Panels;

typedef struct Layer {
    CellKind kind;
    int64_t steps, batch, h;
    int64_t now, before, after; /* steps of the sequence; negative: there is none */
    const void *gx, *w, *h0, *c0, *bias, *g_out,
        *g_cells;                       /* bias: of the recurrent products, or NULL */
    void *out, *gates, *cells;          /* gates after their functions; NULL: not kept */
    void *dgx, *dgh, *dc, *dh0, *dbias; /* dgh: of the recurrent products */
    Panels panels;
    int64_t pieces; /* tasks of the last panel */
} Layer;

/* A step has a task for each panel. The last panel is cut by rows, so that threads are done at about
 * the same time: one that has to wait longer goes to sleep, and waking it takes as long as a task. */
typedef struct Task {
    int64_t panel, row, end;
} Task;

static Task
task_of(const Layer *s, int64_t i)
{
    const int64_t piece = i - (s->panels.count - 1), last = (piece + 1) * ONE_TILE;
    if (piece < 0 || s->pieces == 1) return (Task){i, 0, s->batch};
    return (Task){s->panels.count - 1, last - ONE_TILE, last < s->batch ? last : s->batch};
}

static void
run_step(Layer *s, int64_t cost, FacBody body)
{
    const int64_t grain = fac_grain(cost);
    s->pieces = grain == 1 ? fac_chunks(s->batch, ONE_TILE) : 1;
    fac_parallel(s->panels.count - 1 + s->pieces, grain, body, s);
}

/* The functions of gates, in place, on two vectors, which may be the same one. */
#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include "kernels/cpu/vector_math.h"
#define FUNCTION_F32(name)                                                                         \
    static inline void name##s_f32(float *a, float *b)                                             \
    {                                                                                              \
        Floats x[PAIR] = {_mm512_loadu_ps(a), _mm512_loadu_ps(b)};                                 \
        name##_f32(x, PAIR);                                                                       \
        _mm512_storeu_ps(a, x[0]);                                                                 \
        _mm512_storeu_ps(b, x[1]);                                                                 \
    }
#else
#define FUNCTION_F32(name) FUNCTION(name, float, f32, F32_LANES)
#endif
#define FUNCTION(name, T, S, lanes)                                                                \
    static inline void name##s_##S(T *a, T *b)                                                     \
    {                                                                                              \
        T x[2 * lanes];                                                                            \
        memcpy(x, a, lanes * sizeof(T));                                                           \
        memcpy(x + lanes, b, lanes * sizeof(T));                                                   \
        for (int i = 0; i < 2 * lanes; i++) x[i] = fx_##name##_##S(x[i]);                          \
        memcpy(a, x, lanes * sizeof(T));                                                           \
        memcpy(b, x + lanes, lanes * sizeof(T));                                                   \
    }
FUNCTION_F32(sigmoid)
FUNCTION_F32(tanh)
FUNCTION(sigmoid, double, f64, F64_LANES)
FUNCTION(tanh, double, f64, F64_LANES)

#define T float
#define NAME(x) x##_f32
#define LANES F32_LANES
#define SIGMOID fx_sigmoid_f32
#define TANH fx_tanh_f32
#include "kernels/cpu/recurrent_body.h"
#define T double
#define NAME(x) x##_f64
#define LANES F64_LANES
#define SIGMOID fx_sigmoid_f64
#define TANH fx_tanh_f64
#include "kernels/cpu/recurrent_body.h"

enum { GX, W, H0, C0, BIAS, OUT, GATES, CELLS, G_OUT, G_CELLS, DGX, DW, DH0, DC0, DBIAS, HELD };

/* A call with what it holds: tensors by their part, as its kernel reads and writes them. */
typedef struct Held {
    FacCall *call;
    FacDType dtype; /* of the arithmetic */
    FacTensor *tensors[HELD];
} Held;

static FacStatus
read_args(Held *held, const int *parts, int n)
{
    for (int i = 0; i < n; i++)
        if (parts[i] >= 0)
            FAC_RETURN_IF_ERROR(
                plain_in(fac_arg_tensor(held->call, i), held->dtype, &held->tensors[parts[i]]));
    return FAC_OK;
}

static FacStatus
open_results(Held *held, const int *parts, int n)
{
    for (int i = 0; i < n; i++)
        FAC_RETURN_IF_ERROR(plain_out(held->call, i, held->dtype, &held->tensors[parts[i]]));
    return FAC_OK;
}

static FacStatus
close_results(Held *held, const int *parts, int n)
{
    for (int i = 0; i < n; i++)
        FAC_RETURN_IF_ERROR(plain_done(held->call, i, held->tensors[parts[i]]));
    return FAC_OK;
}

static FacStatus
close_call(Held *held, FacStatus st)
{
    for (int i = 0; i < HELD; i++) fac_tensor_release(held->tensors[i]);
    return st;
}

static void *
data(const Held *held, int part)
{
    FacTensor *t = held->tensors[part];
    return t && t->numel ? fac_data(t) : NULL;
}

static Layer
layer_of(const Held *held, CellKind kind)
{
    const FacTensor *out = held->tensors[OUT];
    return (Layer){.kind = kind,
                   .steps = out->sizes[0],
                   .batch = out->sizes[1],
                   .h = out->sizes[2],
                   .before = -1,
                   .after = -1,
                   .gx = data(held, GX),
                   .w = data(held, W),
                   .h0 = data(held, H0),
                   .c0 = data(held, C0),
                   .bias = data(held, BIAS),
                   .g_out = data(held, G_OUT),
                   .g_cells = data(held, G_CELLS),
                   .out = data(held, OUT),
                   .gates = data(held, GATES),
                   .cells = data(held, CELLS),
                   .dgx = data(held, DGX),
                   .dc = data(held, DC0),
                   .dh0 = data(held, DH0),
                   .dbias = data(held, DBIAS)};
}

static FacStatus
pack(Panels *w, bool single, FacBody body)
{
    const int lanes = single ? F32_LANES : F64_LANES;
    w->units = w->gates > 1 ? lanes : w->vectors * lanes;
    w->count = fac_chunks(w->h, w->units);
    w->bytes = (size_t)(w->count * w->k * w->vectors * lanes) * (single ? 4 : 8);
    FAC_RETURN_IF_ERROR(fac_host_alloc(w->bytes, &w->data));
    fac_parallel(w->count, fac_grain(w->k * w->vectors * lanes), body, w);
    return FAC_OK;
}

static int
gates_of(CellKind kind)
{
    return kind == LSTM ? 4 : kind == GRU ? 3 : 1;
}

/* --- forward ---------------------------------------------------------------------------------------- */

static FacStatus
run_forward(Layer *s, bool single, bool reverse)
{
    const int gates = gates_of(s->kind), vectors = gates > 1 ? gates : 4;
    const int64_t lanes = single ? F32_LANES : F64_LANES, width = vectors * lanes;
    s->panels = (Panels){.weights = s->w, .gates = gates, .vectors = vectors, .k = s->h, .h = s->h};
    FAC_RETURN_IF_ERROR(pack(&s->panels, single, single ? pack_rows_f32 : pack_rows_f64));
    const int64_t cost = s->batch * (s->h * width / 16 + 5 * width);
    for (int64_t i = 0; i < s->steps; i++) {
        s->now = reverse ? s->steps - 1 - i : i;
        s->before = i == 0 ? -1 : reverse ? s->now + 1 : s->now - 1;
        run_step(s, cost, single ? forward_f32 : forward_f64);
    }
    fac_host_free(s->panels.data, s->panels.bytes);
    return FAC_OK;
}

/* A forward call, whose arguments and results are the parts listed. */
static FacStatus
forward_call(FacCall *call, CellKind kind, bool reverse, const int *args, int n_args,
             const int *results, int n_results)
{
    Held held = {.call = call, .dtype = plain_compute(fac_arg_tensor(call, 0))};
    Layer s;
    FacStatus st = FAC_OK;
    FAC_TRY(read_args(&held, args, n_args));
    FAC_TRY(open_results(&held, results, n_results));
    if (!held.tensors[OUT]->numel) goto done;
    s = layer_of(&held, kind);
    FAC_TRY(run_forward(&s, held.dtype == FAC_DT_F32, reverse));
    FAC_TRY(close_results(&held, results, n_results));
done:
    return close_call(&held, st);
}

/* (gx, w_hh, h0, c0, reverse, keep) -> (output, gates, cells). */
FacStatus
FAC_KERNEL(lstm_layer)(FacCall *call)
{
    static const int args[] = {GX, W, H0, C0}, results[] = {OUT, GATES, CELLS};
    return forward_call(call, LSTM, FAC_ARG(call, 4).v.i, args, 4, results, 3);
}

/* (gx, w_hh, h0, b_hh, reverse, keep) -> (output, gates). */
FacStatus
FAC_KERNEL(gru_layer)(FacCall *call)
{
    static const int args[] = {GX, W, H0, BIAS}, results[] = {OUT, GATES};
    return forward_call(call, GRU, FAC_ARG(call, 4).v.i, args, 4, results, 2);
}

/* (gx, w_hh, h0, relu, reverse) -> output. */
FacStatus
FAC_KERNEL(rnn_layer)(FacCall *call)
{
    static const int args[] = {GX, W, H0}, results[] = {OUT};
    const CellKind kind = FAC_ARG(call, 3).v.i ? RNN_RELU : RNN_TANH;
    return forward_call(call, kind, FAC_ARG(call, 4).v.i, args, 3, results, 1);
}

/* --- backward ---------------------------------------------------------------------------------------- */

/* dw += a^T b, for `rows` rows of gradients of gates and of hidden states. */
static FacStatus
add_weights(const Layer *s, FacDType dt, const void *a, const void *b, int64_t rows, bool add,
            void *dw)
{
    const FacGemm g = {.dtype = dt,
                       .m = s->panels.k,
                       .n = s->h,
                       .k = rows,
                       .a = a,
                       .a_row = 1,
                       .a_col = s->panels.k,
                       .b = b,
                       .b_row = s->h,
                       .b_col = 1,
                       .c = dw,
                       .c_row = s->h,
                       .accumulate = add};
    return FAC_TIERED(gemm)(&g);
}

/* The gradient of the weights: the first step meets h0, the others the output of the step before. */
static FacStatus
weight_gradient(const Layer *s, FacDType dt, bool reverse, void *dw)
{
    const int64_t rows = (s->steps - 1) * s->batch;
    const int64_t step = s->batch * s->h * fac_dtype_size(dt); /* bytes of a step's output */
    const int64_t wide = s->batch * s->panels.k * fac_dtype_size(dt);
    const char *dgh = s->dgh, *out = s->out;
    const char *first = reverse ? dgh + (s->steps - 1) * wide : dgh;
    FAC_RETURN_IF_ERROR(add_weights(s, dt, first, s->h0, s->batch, false, dw));
    if (!rows) return FAC_OK;
    return add_weights(s, dt, reverse ? dgh : dgh + wide, reverse ? out + step : out, rows, true,
                       dw);
}

static void
steps_back(Layer *s, bool single, bool reverse)
{
    const FacBody body = single ? backward_f32 : backward_f64;
    const int64_t width = s->panels.units;
    const int64_t cost = s->batch * width * (s->panels.k / 16 + 30);
    for (int64_t i = s->steps - 1; i >= 0; i--) {
        s->now = reverse ? s->steps - 1 - i : i;
        s->before = i == 0 ? -1 : reverse ? s->now + 1 : s->now - 1;
        run_step(s, cost, body);
        s->after = s->now;
    }
    s->now = -1;
    run_step(s, cost, body);
    if (s->dbias)
        fac_parallel(fac_chunks(s->panels.k, width), fac_grain(s->steps * s->batch * width),
                     single ? bias_gradient_f32 : bias_gradient_f64, s);
}

/* A backward call; its results begin with the gradients of gx and of the weights. */
static FacStatus
backward_call(FacCall *call, CellKind kind, bool reverse, const int *args, int n_args,
              const int *results, int n_results)
{
    Held held = {.call = call, .dtype = plain_compute(fac_result_tensor(call, 0))};
    Layer s = {.panels.data = NULL};
    size_t bytes = 0;
    FacStatus st = FAC_OK;
    const bool single = held.dtype == FAC_DT_F32;
    FAC_TRY(read_args(&held, args, n_args));
    FAC_TRY(open_results(&held, results, n_results));
    for (int i = held.tensors[OUT]->numel ? 2 : 1; i < n_results; i++)
        if (held.tensors[results[i]]->numel)
            memset(data(&held, results[i]), 0, fac_nbytes(held.tensors[results[i]]));
    s = layer_of(&held, kind);
    s.dgh = s.dgx;
    s.panels =
        (Panels){.weights = s.w, .gates = 1, .vectors = 4, .k = gates_of(kind) * s.h, .h = s.h};
    if (held.tensors[OUT]->numel) {
        FAC_TRY(pack(&s.panels, single, single ? pack_steps_f32 : pack_steps_f64));
        if (kind == GRU) {
            bytes = fac_nbytes(held.tensors[DGX]);
            FAC_TRY(fac_host_alloc(bytes, &s.dgh));
        }
        steps_back(&s, single, reverse);
        FAC_TRY(weight_gradient(&s, held.dtype, reverse, data(&held, DW)));
    }
    FAC_TRY(close_results(&held, results, n_results));
done:
    if (s.panels.data) fac_host_free(s.panels.data, s.panels.bytes);
    if (s.dgh != s.dgx) fac_host_free(s.dgh, bytes);
    return close_call(&held, st);
}

/* (grad_output, grad_cells, gx, w_hh, h0, c0, output, gates, cells, reverse) -> the gradients of gx,
 * w_hh, h0 and c0. */
FacStatus
FAC_KERNEL(lstm_layer_backward)(FacCall *call)
{
    static const int args[] = {G_OUT, G_CELLS, -1, W, H0, C0, OUT, GATES, CELLS};
    static const int results[] = {DGX, DW, DH0, DC0};
    return backward_call(call, LSTM, FAC_ARG(call, 9).v.i, args, 9, results, 4);
}

/* (grad_output, gx, w_hh, h0, b_hh, output, gates, reverse) -> those of gx, w_hh, h0 and b_hh. */
FacStatus
FAC_KERNEL(gru_layer_backward)(FacCall *call)
{
    static const int args[] = {G_OUT, -1, W, H0, -1, OUT, GATES};
    static const int results[] = {DGX, DW, DH0, DBIAS};
    return backward_call(call, GRU, FAC_ARG(call, 7).v.i, args, 7, results, 4);
}

/* (grad_output, gx, w_hh, h0, output, relu, reverse) -> those of gx, w_hh and h0. */
FacStatus
FAC_KERNEL(rnn_layer_backward)(FacCall *call)
{
    static const int args[] = {G_OUT, -1, W, H0, OUT}, results[] = {DGX, DW, DH0};
    const CellKind kind = FAC_ARG(call, 5).v.i ? RNN_RELU : RNN_TANH;
    return backward_call(call, kind, FAC_ARG(call, 6).v.i, args, 5, results, 3);
}
