/* factor.h - LU, Cholesky and triangular systems of one tier, blocked on the product.
 *
 * All three halve the matrix until a block is small and leave the rest to products. Matrices lie by
 * rows; triangles are read by any strides, so that transposes need no copy. The bits do not depend on
 * the number of threads, nor on `serial`.
 */
#ifndef FAC_KERNELS_CPU_FACTOR_H
#define FAC_KERNELS_CPU_FACTOR_H

#include "kernels/cpu/gemm.h"

/* What the blocks of one factorization share. Strides are in elements. */
typedef struct FacFactor {
    FacDType dtype; /* F32, F64, C64, C128 */
    bool serial;    /* in the calling thread, without an allocation */
    char *scratch;  /* of fac_factor_scratch() elements */
} FacFactor;

typedef struct FacTriangle {
    const char *at;
    int64_t row, col;
    bool upper, unit, conj; /* conj: of what is read */
} FacTriangle;

/* Elements of scratch for matrices of m x n. */
static inline int64_t
fac_factor_scratch(int64_t m, int64_t n)
{
    const int64_t least = m < n ? m : n;
    return least * least / 2 + 16 * m + 64;
}

/* P A = L U of m x n; pivots[j], from 0, is the row that changes places with row j. `info` is the number
 * from 1 of the first column without a pivot, or 0. */
FacStatus FAC_TIERED(lu)(const FacFactor *f, char *a, int64_t step, int64_t m, int64_t n,
                         int64_t *pivots, int64_t *info) FAC_MUST_CHECK;
/* A = U^H U from the upper triangle of n x n to the upper triangle. */
FacStatus FAC_TIERED(cholesky)(const FacFactor *f, char *a, int64_t step, int64_t n,
                               int64_t *info) FAC_MUST_CHECK;
/* X = T^-1 X; X has n rows of `columns` elements. */
FacStatus FAC_TIERED(solve_triangle)(const FacFactor *f, const FacTriangle *t, int64_t n, char *x,
                                     int64_t step, int64_t columns) FAC_MUST_CHECK;
/* Rows [0, n) change places with those of `pivots`: from the first on, or back from the last. */
void FAC_TIERED(swap_rows)(const FacFactor *f, const int64_t *pivots, int64_t n, bool back, char *a,
                           int64_t step, int64_t columns);
/* C -= A B, of m x k and k x n; `conj`: of A. */
FacStatus FAC_TIERED(subtract_product)(const FacFactor *f, int64_t m, int64_t k, int64_t n,
                                       const char *a, int64_t a_row, int64_t a_col, bool conj,
                                       const char *b, int64_t b_row, char *c,
                                       int64_t c_row) FAC_MUST_CHECK;

#endif
