/* gemm_bf16.c - bfloat16 times bfloat16 to float32 by AVX512-BF16: two products a lane, added in turn.
 *
 * What vdpbf16ps does to a lane, whatever MXCSR says: sum = a1 * b1 + sum, then sum = a0 * b0 + sum, each
 * rounded once, to nearest even; numbers below the normal ones are zero, as operands and as results.
 */
#include "kernels/cpu/gemm_dots.h"

#if defined(__AVX512F__) && defined(FAC_HAS_AVX512_BF16)
#include "kernels/cpu/gemm_tile.h"

#include <immintrin.h>

#if !defined(dot_pairs) /* a test has one in C */
#pragma GCC target("avx512bf16")
#define dot_pairs(sum, b, a) _mm512_dpbf16_ps(sum, (__m512bh)(b), (__m512bh)(a))
#endif

typedef float Sums __attribute__((vector_size(64), aligned(4), may_alias));
#define FIRST(row) ((Sums){0})
#define DOT(sum, b, a) (Sums) dot_pairs((__m512)(sum), b, a)
#include "kernels/cpu/gemm_dots_tile.h"

const FacDots FAC_TIERED(dots_bf16) = {.feature = FAC_CPU_BF16,
                                       .dtype = FAC_DT_BF16,
                                       .rows = GEMM_ROWS,
                                       .run = DOTS_RUN,
                                       .fill = 1,
                                       .tile = tile};
#else
typedef int NoBf16; /* ISO C asks for a declaration */
#endif
