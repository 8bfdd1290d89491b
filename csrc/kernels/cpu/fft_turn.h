/* fft_turn.h - rows of complex numbers to lanes and back by pieces of 16 bytes, with AVX-512.
 *
 * A vector is put together of pieces of four rows, which costs the loads and no shuffle; only what is inside
 * of a piece is left to turn. On the way back rows leave in halves of a vector. Lanes are so many rows,
 * `step` numbers apart.
 */
#include <immintrin.h>

enum { FFT_ROWS_F32 = 4, FFT_ROWS_F64 = 2 }; /* in a piece, once it is turned */

/* Pieces at a, a + step, a + 2 step and a + 3 step. */
static inline __m512
pieces_f32(const float *a, int64_t step)
{
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(a));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(a + step), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(a + 2 * step), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(a + 3 * step), 3);
}

/* n complex numbers, an even number, of 16 rows; the parts of number k go to re + 16 k and im + 16 k. */
static void
rows_to_lanes_f32(const float *from, int64_t step, int64_t n, float *re, float *im)
{
    for (int64_t k = 0; k < n; k += 2, from += 4, re += 32, im += 32) {
        const __m512 a = pieces_f32(from, 4 * step), b = pieces_f32(from + step, 4 * step);
        const __m512 c = pieces_f32(from + 2 * step, 4 * step);
        const __m512 d = pieces_f32(from + 3 * step, 4 * step);
        const __m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
        const __m512d cd = _mm512_castps_pd(_mm512_unpacklo_ps(c, d));
        const __m512d ab2 = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
        const __m512d cd2 = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
        _mm512_store_pd(re, _mm512_unpacklo_pd(ab, cd));
        _mm512_store_pd(im, _mm512_unpackhi_pd(ab, cd));
        _mm512_store_pd(re + 16, _mm512_unpacklo_pd(ab2, cd2));
        _mm512_store_pd(im + 16, _mm512_unpackhi_pd(ab2, cd2));
    }
}

static void
rows_to_lanes_f64(const double *from, int64_t step, int64_t n, double *re, double *im)
{
    for (int64_t k = 0; k < n; k++, from += 2, re += 8, im += 8) {
        const __m512d a = _mm512_castps_pd(pieces_f32((const float *)from, 4 * step));
        const __m512d b = _mm512_castps_pd(pieces_f32((const float *)(from + step), 4 * step));
        _mm512_store_pd(re, _mm512_unpacklo_pd(a, b));
        _mm512_store_pd(im, _mm512_unpackhi_pd(a, b));
    }
}

/* Pieces of two vectors, side by side: rows 0, 1, 2, 3 `step` apart. */
static inline void
put_pieces(double *to, int64_t step, __m512d a, __m512d b)
{
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    const __m512d first = _mm512_permutex2var_pd(a, low, b);
    const __m512d last = _mm512_permutex2var_pd(a, high, b);
    _mm256_storeu_pd(to, _mm512_castpd512_pd256(first));
    _mm256_storeu_pd(to + step, _mm512_extractf64x4_pd(first, 1));
    _mm256_storeu_pd(to + 2 * step, _mm512_castpd512_pd256(last));
    _mm256_storeu_pd(to + 3 * step, _mm512_extractf64x4_pd(last, 1));
}

/* Four rows of pieces, each one of a vector, from the parts of two numbers. */
static inline void
turn_pieces(const float *re, const float *im, __m512 scale, __m512d out[4])
{
    const __m512 a = _mm512_mul_ps(_mm512_load_ps(re), scale);
    const __m512 b = _mm512_mul_ps(_mm512_load_ps(im), scale);
    const __m512 c = _mm512_mul_ps(_mm512_load_ps(re + 16), scale);
    const __m512 d = _mm512_mul_ps(_mm512_load_ps(im + 16), scale);
    const __m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
    const __m512d cd = _mm512_castps_pd(_mm512_unpacklo_ps(c, d));
    const __m512d ab2 = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
    const __m512d cd2 = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
    out[0] = _mm512_unpacklo_pd(ab, cd);
    out[1] = _mm512_unpackhi_pd(ab, cd);
    out[2] = _mm512_unpacklo_pd(ab2, cd2);
    out[3] = _mm512_unpackhi_pd(ab2, cd2);
}

/* n is a multiple of 4. */
static void
lanes_to_rows_f32(const float *re, const float *im, float scale, int64_t n, float *to, int64_t step)
{
    const __m512 by = _mm512_set1_ps(scale);
    for (int64_t k = 0; k < n; k += 4, re += 64, im += 64, to += 8) {
        __m512d one[4], two[4];
        turn_pieces(re, im, by, one);
        turn_pieces(re + 32, im + 32, by, two);
        for (int r = 0; r < FFT_ROWS_F32; r++)
            put_pieces((double *)(to + r * step), 2 * step, one[r], two[r]);
    }
}

/* n is a multiple of 2. */
static void
lanes_to_rows_f64(const double *re, const double *im, double scale, int64_t n, double *to,
                  int64_t step)
{
    const __m512d by = _mm512_set1_pd(scale);
    for (int64_t k = 0; k < n; k += 2, re += 16, im += 16, to += 4) {
        const __m512d a = _mm512_mul_pd(_mm512_load_pd(re), by);
        const __m512d b = _mm512_mul_pd(_mm512_load_pd(im), by);
        const __m512d c = _mm512_mul_pd(_mm512_load_pd(re + 8), by);
        const __m512d d = _mm512_mul_pd(_mm512_load_pd(im + 8), by);
        put_pieces(to, 2 * step, _mm512_unpacklo_pd(a, b), _mm512_unpacklo_pd(c, d));
        put_pieces(to + step, 2 * step, _mm512_unpackhi_pd(a, b), _mm512_unpackhi_pd(c, d));
    }
}
