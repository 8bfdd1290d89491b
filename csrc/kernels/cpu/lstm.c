/* lstm.c - all steps of one layer of an LSTM in one direction, forward and backward.
 *
 * The products with the input come ready, made for the whole sequence by one product. The recurrent
 * weights are packed once into panels; a step is one job of the pool, whose tasks take the product of
 * the hidden state with their panel and finish their units at once. Gates lie side by side: input,
 * forget, cell, output. Each element is a sum in the order of k: the bits depend on no other row, and
 * not on threads.
 */
#include "device/device.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/plain.h"
#include "kernels/scalar.h"

#if defined(__AVX512F__)
enum { LSTM_ROWS = 6 };
#define LSTM_F32_LANES 16
#define LSTM_F64_LANES 8
#define LSTM_HEIGHTS(X) X(6) X(4) X(2) X(1)
#else
enum { LSTM_ROWS = 3 };
#define LSTM_HEIGHTS(X) X(3) X(2) X(1)
#if defined(__AVX2__)
#define LSTM_F32_LANES 8
#define LSTM_F64_LANES 4
#else
#define LSTM_F32_LANES 4
#define LSTM_F64_LANES 2
#endif
#endif

typedef struct Lstm {
    int64_t steps, batch, h;
    int64_t now, before, after; /* steps of the sequence; negative: there is none */
    const void *gx, *w, *h0, *c0, *g_out, *g_cells;
    void *out, *gates, *cells; /* gates after their functions; NULL: not kept */
    void *panels, *dgates, *dc, *dh0;
} Lstm;

#define T float
#define NAME(x) x##_f32
#define LANES LSTM_F32_LANES
#define SIGMOID fx_sigmoid_f32
#define TANH fx_tanh_f32
#include "kernels/cpu/lstm_body.h"
#define T double
#define NAME(x) x##_f64
#define LANES LSTM_F64_LANES
#define SIGMOID fx_sigmoid_f64
#define TANH fx_tanh_f64
#include "kernels/cpu/lstm_body.h"

enum { GX, W, H0, C0, OUT, GATES, CELLS, G_OUT, G_CELLS, DGATES, DW, DH0, DC0, HELD };

static void *
data(FacTensor *const *held, int i)
{
    return held[i] ? fac_data(held[i]) : NULL;
}

static FacStatus
close_call(FacTensor **held, FacStatus st)
{
    for (int i = 0; i < HELD; i++) fac_tensor_release(held[i]);
    return st;
}

/* (gx, w_hh, h0, c0, reverse, keep) -> (output, gates, cells). */
FacStatus
FAC_KERNEL(lstm_layer)(FacCall *call)
{
    FacTensor *held[HELD] = {NULL};
    const FacDType dt = plain_compute(fac_arg_tensor(call, 0));
    const bool single = dt == FAC_DT_F32, reverse = FAC_ARG(call, 4).v.i;
    size_t bytes = 0;
    Lstm s = {.panels = NULL};
    FacStatus st = FAC_OK;
    for (int i = 0; i < 4; i++) FAC_TRY(plain_in(fac_arg_tensor(call, i), dt, &held[GX + i]));
    for (int i = 0; i < 3; i++) FAC_TRY(plain_out(call, i, dt, &held[OUT + i]));
    s = (Lstm){.steps = held[GX]->sizes[0],
               .batch = held[GX]->sizes[1],
               .h = held[W]->sizes[1],
               .gx = data(held, GX),
               .w = data(held, W),
               .h0 = data(held, H0),
               .c0 = data(held, C0),
               .out = data(held, OUT),
               .gates = held[GATES]->numel ? data(held, GATES) : NULL,
               .cells = data(held, CELLS)};
    const int64_t lanes = single ? VL_f32 : VL_f64, panels = fac_chunks(s.h, lanes);
    bytes = (size_t)(panels * s.h * 4 * lanes * fac_dtype_size(dt));
    if (!held[OUT]->numel) goto done;
    FAC_TRY(fac_host_alloc(bytes, &s.panels));
    fac_parallel(panels, fac_grain(4 * lanes * s.h), single ? pack_forward_f32 : pack_forward_f64,
                 &s);
    const int64_t grain = fac_grain(s.batch * (s.h * lanes / 4 + 20 * lanes));
    for (int64_t i = 0; i < s.steps; i++) {
        s.now = reverse ? s.steps - 1 - i : i;
        s.before = i == 0 ? -1 : reverse ? s.now + 1 : s.now - 1;
        fac_parallel(panels, grain, single ? forward_f32 : forward_f64, &s);
    }
    for (int i = 0; i < 3; i++) FAC_TRY(plain_done(call, i, held[OUT + i]));
done:
    if (s.panels) fac_host_free(s.panels, bytes);
    return close_call(held, st);
}

/* dw += a^T b, for `rows` rows of gradients of gates and of hidden states. */
static FacStatus
add_weights(const Lstm *s, FacDType dt, const void *a, const void *b, int64_t rows, bool add,
            void *dw)
{
    const FacGemm g = {.dtype = dt,
                       .m = 4 * s->h,
                       .n = s->h,
                       .k = rows,
                       .a = a,
                       .a_row = 1,
                       .a_col = 4 * s->h,
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
weight_gradient(const Lstm *s, FacDType dt, bool reverse, void *dw)
{
    const int64_t size = fac_dtype_size(dt), rows = (s->steps - 1) * s->batch;
    const int64_t step = s->batch * s->h * size; /* bytes of a step's output */
    const char *dgates = s->dgates, *out = s->out;
    const char *first = reverse ? dgates + (s->steps - 1) * 4 * step : dgates;
    FAC_RETURN_IF_ERROR(add_weights(s, dt, first, s->h0, s->batch, false, dw));
    if (!rows) return FAC_OK;
    return add_weights(s, dt, reverse ? dgates : dgates + 4 * step, reverse ? out + step : out,
                       rows, true, dw);
}

/* (grad_output, grad_cells, gx, w_hh, h0, c0, output, gates, cells, reverse) -> the gradients of gx,
 * w_hh, h0 and c0. */
FacStatus
FAC_KERNEL(lstm_layer_backward)(FacCall *call)
{
    static const int args[] = {G_OUT, G_CELLS, -1, W, H0, C0, OUT, GATES, CELLS};
    FacTensor *held[HELD] = {NULL};
    const FacDType dt = plain_compute(fac_arg_tensor(call, 2));
    const bool single = dt == FAC_DT_F32, reverse = FAC_ARG(call, 9).v.i;
    size_t bytes = 0;
    Lstm s = {.panels = NULL};
    FacStatus st = FAC_OK;
    for (int i = 0; i < 9; i++)
        if (args[i] >= 0) FAC_TRY(plain_in(fac_arg_tensor(call, i), dt, &held[args[i]]));
    for (int i = 0; i < 4; i++) FAC_TRY(plain_out(call, i, dt, &held[DGATES + i]));
    s = (Lstm){.steps = held[OUT]->sizes[0],
               .batch = held[OUT]->sizes[1],
               .h = held[W]->sizes[1],
               .after = -1,
               .w = data(held, W),
               .h0 = data(held, H0),
               .c0 = data(held, C0),
               .out = data(held, OUT),
               .gates = data(held, GATES),
               .cells = data(held, CELLS),
               .g_out = data(held, G_OUT),
               .g_cells = data(held, G_CELLS),
               .dgates = data(held, DGATES),
               .dh0 = data(held, DH0),
               .dc = data(held, DC0)};
    const int64_t width = single ? WIDTH_f32 : WIDTH_f64, panels = fac_chunks(s.h, width);
    const FacBody body = single ? backward_f32 : backward_f64;
    bytes = (size_t)(panels * 4 * s.h * width * fac_dtype_size(dt));
    FAC_TRY(fac_host_alloc(bytes, &s.panels));
    fac_parallel(panels, fac_grain(4 * width * s.h), single ? pack_backward_f32 : pack_backward_f64,
                 &s);
    if (held[DC0]->numel) memset(s.dc, 0, fac_nbytes(held[DC0]));
    const int64_t grain = fac_grain(s.batch * (s.h * width / 4 + 30 * width));
    for (int64_t i = s.steps - 1; i >= 0; i--) {
        s.now = reverse ? s.steps - 1 - i : i;
        s.before = i == 0 ? -1 : reverse ? s.now + 1 : s.now - 1;
        fac_parallel(panels, grain, body, &s);
        s.after = s.now;
    }
    s.now = -1;
    fac_parallel(panels, grain, body, &s);
    FAC_TRY(weight_gradient(&s, dt, reverse, data(held, DW)));
    for (int i = 0; i < 4; i++) FAC_TRY(plain_done(call, i, held[DGATES + i]));
done:
    if (s.panels) fac_host_free(s.panels, bytes);
    return close_call(held, st);
}
