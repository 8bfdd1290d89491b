/* rnn.c - the pointwise part of an LSTM step.
 *
 * Gates lie side by side in a row of 4 h: input, forget, cell, output. A block of CELL_BLOCK elements
 * goes through one function after the other, each a loop that vectorizes. The matrix products that
 * make the gates are linear's.
 */
#include "kernels/cpu/plain.h"
#include "kernels/scalar.h"

enum { CELL_BLOCK = 128 };

typedef struct Cell {
    const void *gates, *cx;
    void *hy, *cy;
    int64_t h, blocks; /* blocks of a row */
} Cell;

#define CELL(DT, T, S)                                                                             \
    static void cell_##DT(int64_t begin, int64_t end, void *context)                               \
    {                                                                                              \
        const Cell *p = context;                                                                   \
        T in[CELL_BLOCK], forget[CELL_BLOCK], new[CELL_BLOCK], out[CELL_BLOCK];                    \
        for (; begin < end; begin++) {                                                             \
            const int64_t row = begin / p->blocks, first = begin % p->blocks * CELL_BLOCK;         \
            const int64_t left = p->h - first, n = left < CELL_BLOCK ? left : CELL_BLOCK;          \
            const T *g = (const T *)p->gates + row * 4 * p->h + first;                             \
            const T *c = (const T *)p->cx + row * p->h + first;                                    \
            T *hy = (T *)p->hy + row * p->h + first, *cy = (T *)p->cy + row * p->h + first;        \
            for (int64_t i = 0; i < n; i++) in[i] = fx_sigmoid_##S(g[i]);                          \
            for (int64_t i = 0; i < n; i++) forget[i] = fx_sigmoid_##S(g[p->h + i]);               \
            for (int64_t i = 0; i < n; i++) new[i] = fx_tanh_##S(g[2 * p->h + i]);                 \
            for (int64_t i = 0; i < n; i++) out[i] = fx_sigmoid_##S(g[3 * p->h + i]);              \
            for (int64_t i = 0; i < n; i++) cy[i] = forget[i] * c[i] + in[i] * new[i];             \
            for (int64_t i = 0; i < n; i++) hy[i] = out[i] * fx_tanh_##S(cy[i]);                   \
        }                                                                                          \
    }
CELL(F32, float, f32)
CELL(F64, double, f64)
#undef CELL

/* (gates, cx) -> (hy, cy). */
FacStatus
FAC_KERNEL(lstm_cell)(FacCall *call)
{
    FacTensor *gates = NULL, *cx = NULL, *hy = NULL, *cy = NULL;
    const FacDType dt = plain_compute(fac_result_tensor(call, 0));
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), dt, &gates));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), dt, &cx));
    FAC_TRY(plain_out(call, 0, dt, &hy));
    FAC_TRY(plain_out(call, 1, dt, &cy));
    Cell p = {.gates = fac_data(gates),
              .cx = fac_data(cx),
              .hy = fac_data(hy),
              .cy = fac_data(cy),
              .h = cx->sizes[cx->ndim - 1]};
    p.blocks = fac_chunks(p.h, CELL_BLOCK);
    if (p.h)
        fac_parallel(cx->numel / p.h * p.blocks, fac_grain(20 * CELL_BLOCK),
                     dt == FAC_DT_F32 ? cell_F32 : cell_F64, &p);
    FAC_TRY(plain_done(call, 0, hy));
    FAC_TRY(plain_done(call, 1, cy));
done:
    fac_tensor_release(gates);
    fac_tensor_release(cx);
    fac_tensor_release(hy);
    fac_tensor_release(cy);
    return st;
}
