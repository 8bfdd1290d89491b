/* gemm_tile.h - the inner tile of products: the one loop that all their time should go into.
 *
 * A tile is `rows` times `vecs` vectors of sums that stay in registers. A is read by single
 * elements, B by vectors. The steps of the sum come in `lines` lines of k: within a line A moves by
 * a_col and B by b_row, from line to line A by a_skip more, and B starts at b + b_at[line]. So what
 * is packed, what lies in a matrix and what lies in an image are all read in place.
 */
#ifndef FAC_KERNELS_CPU_GEMM_TILE_H
#define FAC_KERNELS_CPU_GEMM_TILE_H

#include "kernels/cpu/kernel.h"

#if defined(__AVX512F__)
enum { GEMM_BYTES = 64, GEMM_ROWS = 14 };
#elif defined(__AVX2__)
enum { GEMM_BYTES = 32, GEMM_ROWS = 6 };
#else
enum { GEMM_BYTES = 16, GEMM_ROWS = 6 };
#endif

/* Steps and strides in elements. C (+)= the sums. */
#define GEMM_TILE(T, type)                                                                         \
    typedef T FacVec_##type                                                                        \
        __attribute__((vector_size(GEMM_BYTES), aligned(sizeof(T)), may_alias));                   \
    typedef void (*FacTile_##type)(int64_t k, int64_t lines, const T *a, int64_t a_row,            \
                                   int64_t a_col, int64_t a_skip, const T *b, int64_t b_row,       \
                                   const int64_t *b_at, T *c, int64_t c_row, bool add);
GEMM_TILE(float, f32)
GEMM_TILE(double, f64)
#undef GEMM_TILE

/* Indexed by rows and vectors (1 or 2). */
extern const FacTile_f32 FAC_TIERED(gemm_tile_f32)[GEMM_ROWS + 1][3];
extern const FacTile_f64 FAC_TIERED(gemm_tile_f64)[GEMM_ROWS + 1][3];

/* How many of `left` rows the next panel takes, at most `most`: panels are about equally high, and of whole pairs of
 * rows if `even`. The same sequence when packing and when reading. */
static inline int
gemm_panel(int64_t left, int most, bool even)
{
    if (left <= most) return (int)left;
    const int64_t panels = (left + most - 1) / most;
    const int rows = (int)((left + panels - 1) / panels);
    return even ? (rows + 1) & ~1 : rows;
}

static inline int
gemm_height(int64_t left, bool even)
{
    return gemm_panel(left, GEMM_ROWS, even);
}

#endif
