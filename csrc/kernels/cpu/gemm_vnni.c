/* gemm_vnni.c - int8 times int8 to int32 by AVX512-VNNI: four products of bytes a lane, and their sum.
 *
 * The instruction takes one side without a sign. So B is packed with 128 added to it, and sums start
 * from what takes that off again: -128 times the sum of the row of A. Sums are exact, modulo 2^32.
 */
#include "kernels/cpu/gemm_dots.h"

#if defined(__AVX512F__)
#include "kernels/cpu/gemm_tile.h"

#include <immintrin.h>

#pragma GCC target("avx512vnni")

typedef int32_t Sums __attribute__((vector_size(64), aligned(4), may_alias));
#define FIRST(row) (Sums) _mm512_set1_epi32((row)[DOTS_RUN])
#define DOT(sum, b, a) (Sums) _mm512_dpbusd_epi32((__m512i)(sum), b, a)
#include "kernels/cpu/gemm_dots_tile.h"

/* Runs are packed up to a whole vector. */
static void
first_sums(int rows, int64_t groups, int32_t *panel)
{
    const __m512i ones = _mm512_set1_epi8(1);
    for (int i = 0; i < rows; i++, panel += DOTS_ROW) {
        __m512i sums = _mm512_setzero_si512();
        for (int64_t p = 0; p < groups; p += DOTS_LANES)
            sums = _mm512_dpbusd_epi32(sums, ones, _mm512_loadu_si512(panel + p));
        panel[DOTS_RUN] = -128 * _mm512_reduce_add_epi32(sums);
    }
}

/* 64 bytes of a row or column of k, from step p on; zeros beyond. */
static inline __m512i
load_bytes(const void *from, int64_t p, int64_t k)
{
    const __mmask64 valid = k - p < 64 ? ((__mmask64)1 << (k - p)) - 1 : ~(__mmask64)0;
    return _mm512_maskz_loadu_epi8(valid, (const int8_t *)from + p);
}

/* Bound by memory: columns are read where they lie, a few at a time. */
static void
row_by_columns(const FacGemm *g)
{
    enum { COLUMNS = 4 };
    const __m512i ones = _mm512_set1_epi8(1), flip = _mm512_set1_epi8(INT8_MIN);
    __m512i row = _mm512_setzero_si512();
    for (int64_t p = 0; p < g->k; p += 64)
        row = _mm512_dpbusd_epi32(row, ones, load_bytes(g->a, p, g->k));
    const int32_t first = -128 * _mm512_reduce_add_epi32(row);
    for (int64_t j = 0; j < g->n; j += COLUMNS) {
        const int8_t *b[COLUMNS];
        __m512i sums[COLUMNS];
        for (int i = 0; i < COLUMNS; i++) {
            b[i] = (const int8_t *)g->b + (j + i < g->n ? j + i : g->n - 1) * g->b_col;
            sums[i] = _mm512_setzero_si512();
        }
        for (int64_t p = 0; p < g->k; p += 64) {
            const __m512i a = load_bytes(g->a, p, g->k);
            for (int i = 0; i < COLUMNS; i++)
                sums[i] = _mm512_dpbusd_epi32(sums[i], load_bytes(b[i], p, g->k) ^ flip, a);
        }
        int32_t *c = (int32_t *)g->c + j;
        for (int i = 0; i < COLUMNS && j + i < g->n; i++)
            c[i] = (g->accumulate ? c[i] : 0) + first + _mm512_reduce_add_epi32(sums[i]);
    }
}

const FacDots FAC_TIERED(dots_vnni) = {.feature = FAC_CPU_VNNI,
                                       .dtype = FAC_DT_I8,
                                       .rows = GEMM_ROWS,
                                       .run = DOTS_RUN,
                                       .fill = 1,
                                       .flip = (int32_t)0x80808080,
                                       .begin = first_sums,
                                       .tile = tile,
                                       .row_by_columns = row_by_columns};
#else
typedef int NoVnni; /* ISO C asks for a declaration */
#endif
