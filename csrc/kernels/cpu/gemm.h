/* gemm.h - the matrix product of one tier, for all kernels of the tier.
 *
 * C = A @ B (or C += A @ B), then optionally C = alpha * C + beta * D. A, B and D have any strides;
 * C has unit column stride. The sum over k of one element of C is taken in one fixed order (runs of a
 * fixed length, each from zero, added up in turn), which depends neither on the shape, nor on
 * the position of the element, nor on the path taken: a row of a product equals that row computed
 * alone, and the bits are the same for any number of threads.
 */
#ifndef FAC_KERNELS_CPU_GEMM_H
#define FAC_KERNELS_CPU_GEMM_H

#include "kernels/cpu/kernel.h"

typedef struct FacGemm {
    FacDType dtype; /* of A, B, C and D: F16, BF16, F32, F64, C64, C128 or an integer */
    bool bytes;     /* A is I8 or U8, as dtype says, B I8, and C I32 without a last step */
    int64_t m, n, k;
    const void *a, *b;
    int64_t a_row, a_col, b_row, b_col; /* strides in elements */
    void *c;
    int64_t c_row;
    bool accumulate; /* add to what C holds */
    const void *add; /* D, or NULL: no last step but for alpha */
    int64_t add_row, add_col;
    bool scale; /* alpha and beta are not both one */
    double alpha[2], beta[2];
    int64_t int_alpha, int_beta; /* the same for integers */
    FacLoop activate;  /* the last step of all, NULL for none: of C in its compute dtype */
    _Atomic bool *hit; /* set where C is not finite; NULL: nobody asks */
    void *rounded;     /* gemm's own: where halves go, whose sums C holds as float32 */
    int64_t rounded_row;
} FacGemm;

/* In the pool. Takes scratch memory for large products, which may fail. */
FacStatus FAC_TIERED(gemm)(const FacGemm *g) FAC_MUST_CHECK;
/* In the calling thread, without an allocation: for tasks. */
void FAC_TIERED(gemm_serial)(const FacGemm *g);
/* `count` products alike: operand i lies at a + i * a_step elements and so on. */
FacStatus FAC_TIERED(gemm_batched)(const FacGemm *g, int64_t count, int64_t a_step, int64_t b_step,
                                   int64_t c_step, int64_t add_step) FAC_MUST_CHECK;

/* The sums alone, by instructions that no tier has (gemm_dots.c): bfloat16 into float32 at c, and bytes.
 * False, and nothing done, where the processor has none. The one that takes scratch memory is in the pool,
 * and calls `finish` for blocks whose sums are complete, unless it is NULL. */
typedef void (*FacGemmFinish)(const FacGemm *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1);
bool FAC_TIERED(gemm_has_dots)(const FacGemm *g);
bool FAC_TIERED(gemm_dots_serial)(const FacGemm *g);
FacStatus FAC_TIERED(gemm_dots)(const FacGemm *g, FacGemmFinish finish, bool *done) FAC_MUST_CHECK;

/* For kernels that pack: `columns` columns of k elements, `step` apart, as k rows of `width`, padded with
 * zeros. float32 and float64; width is a number of whole vectors. */
void FAC_TIERED(gemm_pack_columns)(FacDType dtype, const void *from, int64_t step, int64_t columns,
                                   int64_t width, int64_t k, void *to);

#endif
