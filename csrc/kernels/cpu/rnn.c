/* rnn.c - the pointwise part of an LSTM step.
 *
 * Gates lie side by side in a row of 4 h: input, forget, cell, output. The row is one pass over the
 * gates; the matrix products that make them are linear's.
 */
#include "kernels/cpu/plain.h"
#include "kernels/scalar.h"

typedef struct Cell {
    const void *gates, *cx;
    void *hy, *cy;
    int64_t h;
} Cell;

#define CELL(DT, T, S)                                                                             \
    static void cell_##DT(int64_t begin, int64_t end, void *context)                               \
    {                                                                                              \
        const Cell *p = context;                                                                   \
        for (; begin < end; begin++) {                                                             \
            const T *g = (const T *)p->gates + begin * 4 * p->h, *c = (const T *)p->cx + begin * p->h; \
            T *hy = (T *)p->hy + begin * p->h, *cy = (T *)p->cy + begin * p->h;                    \
            for (int64_t i = 0; i < p->h; i++) {                                                   \
                const T in = fx_sigmoid_##S(g[i]), forget = fx_sigmoid_##S(g[p->h + i]);           \
                const T cell = forget * c[i] + in * fx_tanh_##S(g[2 * p->h + i]);                  \
                cy[i] = cell;                                                                      \
                hy[i] = fx_sigmoid_##S(g[3 * p->h + i]) * fx_tanh_##S(cell);                       \
            }                                                                                      \
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
    Cell p = {fac_data(gates), fac_data(cx), fac_data(hy), fac_data(cy), cx->sizes[cx->ndim - 1]};
    if (p.h)
        fac_parallel(cx->numel / p.h, fac_grain(60 * p.h), dt == FAC_DT_F32 ? cell_F32 : cell_F64,
                     &p);
    FAC_TRY(plain_done(call, 0, hy));
    FAC_TRY(plain_done(call, 1, cy));
done:
    fac_tensor_release(gates);
    fac_tensor_release(cx);
    fac_tensor_release(hy);
    fac_tensor_release(cy);
    return st;
}
