/* gemm_types.h - what the files of the product agree on for each type: lanes of a vector, steps of a run.
 */
#ifndef FAC_KERNELS_CPU_GEMM_TYPES_H
#define FAC_KERNELS_CPU_GEMM_TYPES_H

#include "kernels/cpu/gemm_tile.h"

/* Steps that are summed from zero in one go: a part of what a product's bits are. */
#define GEMM_F32_RUN 384
#define GEMM_F64_RUN 256

#if defined(__AVX512F__)
#define GEMM_F32_LANES 16
#define GEMM_F64_LANES 8
#elif defined(__AVX2__)
#define GEMM_F32_LANES 8
#define GEMM_F64_LANES 4
#else
#define GEMM_F32_LANES 4
#define GEMM_F64_LANES 2
#endif

/* Which lanes of two vectors of n interleave the first halves of both, or the second halves. */
#define GEMM_LOW_2 {0, 2}
#define GEMM_HIGH_2 {1, 3}
#define GEMM_LOW_4 {0, 4, 1, 5}
#define GEMM_HIGH_4 {2, 6, 3, 7}
#define GEMM_LOW_8 {0, 8, 1, 9, 2, 10, 3, 11}
#define GEMM_HIGH_8 {4, 12, 5, 13, 6, 14, 7, 15}
#define GEMM_LOW_16 {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}
#define GEMM_HIGH_16 {8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31}
#define GEMM_PASTE(name, n) name##n
#define GEMM_LOW(n) GEMM_PASTE(GEMM_LOW_, n)
#define GEMM_HIGH(n) GEMM_PASTE(GEMM_HIGH_, n)

#endif
