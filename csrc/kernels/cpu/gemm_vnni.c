/* gemm_vnni.c - int8 times int8 to int32 by the instructions that multiply and add four bytes a lane.
 *
 * They are in no tier: gemm.c asks whether the processor has them, and takes this file's function in
 * the place of its own, which multiplies bytes as float32. The form is that of gemm_body.h: runs of
 * steps, blocks of B in strips that stay in the second cache, panels of A that pass them. An element
 * of a panel or a strip is a quad, four steps of one row or column; both are packed by one function.
 *
 * The instruction takes one side without a sign. So B is packed with 128 added to it, and what this adds
 * to a row, 128 times the sum of the row of A, is taken off again. Sums are exact, so their order
 * is free.
 */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/gemm_types.h"

#if defined(__AVX512F__) && defined(__AVX512BW__)
#include "base/cpu.h"

#include <immintrin.h>

#pragma GCC target("avx512vnni")

#define T int32_t
#define INDEX int32_t
#define LANES GEMM_F32_LANES
#define RUN GEMM_F32_RUN
#define NAME(x) x##_quads
typedef int32_t FacVec_quads __attribute__((vector_size(GEMM_BYTES), aligned(4), may_alias));
#include "kernels/cpu/gemm_form.h"

enum { QUAD = 4, BLOCK_ROWS = 4 * GEMM_ROWS, STRIP = 2 * LANES };

/* --- packing -------------------------------------------------------------------------------------- */

/* What lies where: lane i of step p is from[i * lane + p * step]. */
typedef struct Bytes {
    const int8_t *from;
    int64_t lane, step;
    int lanes; /* the others are zero, and so are steps beyond k */
    int64_t k;
} Bytes;

/* Quads [p, p + 16) of up to 16 lanes that are contiguous in k. */
static inline void
quads_along(const Bytes *b, int64_t p, vec_quads r[])
{
    const int64_t left = b->k - p * QUAD;
    const __mmask64 mask = left < 64 ? ((__mmask64)1 << left) - 1 : ~(__mmask64)0;
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        r[i] = (vec_quads)_mm512_maskz_loadu_epi8(
            i < b->lanes ? mask : 0, b->from + (i < b->lanes ? i : 0) * b->lane + p * QUAD);
    turn_quads(r);
}

/* Quad p of lanes that lie side by side. */
static inline vec_quads
quad_across(const Bytes *b, int64_t p)
{
    const __mmask16 lanes = (__mmask16)((1u << b->lanes) - 1);
    __m128i row[QUAD];
    for (int i = 0; i < QUAD; i++) {
        const int64_t at = p * QUAD + i;
        row[i] =
            _mm_maskz_loadu_epi8(at < b->k ? lanes : 0, b->from + (at < b->k ? at : 0) * b->step);
    }
    const __m128i low = _mm_unpacklo_epi8(row[0], row[1]), low2 = _mm_unpacklo_epi8(row[2], row[3]);
    const __m128i high = _mm_unpackhi_epi8(row[0], row[1]),
                  high2 = _mm_unpackhi_epi8(row[2], row[3]);
    const __m256i first =
        _mm256_set_m128i(_mm_unpackhi_epi16(low, low2), _mm_unpacklo_epi16(low, low2));
    const __m256i second =
        _mm256_set_m128i(_mm_unpackhi_epi16(high, high2), _mm_unpacklo_epi16(high, high2));
    return (vec_quads)_mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
}

/* Quad p of lanes that lie anyhow. */
static vec_quads
quad_anyhow(const Bytes *b, int64_t p)
{
    int8_t quads[LANES * QUAD] = {0};
    for (int i = 0; i < b->lanes; i++)
        for (int64_t s = 0; s < QUAD && p * QUAD + s < b->k; s++)
            quads[i * QUAD + s] = b->from[i * b->lane + (p * QUAD + s) * b->step];
    return *(vec_quads *)quads;
}

/* All quads, `width` apart, exclusive-or `flip`, of as many lanes as `stored` has bits. Returns for each
 * lane the sum of its bytes. */
static vec_quads
pack_bytes(const Bytes *b, int32_t *to, int64_t width, __mmask16 stored, int8_t flip)
{
    const __m512i flips = _mm512_set1_epi8(flip), ones = _mm512_set1_epi8(1);
    const int64_t quads = fac_chunks(b->k, QUAD);
    __m512i sums = _mm512_setzero_si512();
    vec_quads r[LANES];
    for (int64_t p = 0; p < quads; p++, to += width) {
        if (b->step == 1 && p % LANES == 0) quads_along(b, p, r);
        const __m512i quad = (__m512i)(b->step == 1   ? r[p % LANES]
                                       : b->lane == 1 ? quad_across(b, p)
                                                      : quad_anyhow(b, p));
        sums = _mm512_dpbusd_epi32(sums, ones, quad);
        _mm512_mask_storeu_epi32(to, stored, _mm512_xor_si512(quad, flips));
    }
    return (vec_quads)sums;
}

/* --- the tile --------------------------------------------------------------------------------------- */

/* C (+)= A B - `less`, one number a row: k quads of a panel of `rows` rows and of a strip. */
typedef void (*Tile)(int64_t k, const int32_t *a, const int32_t *b, int32_t *c, int64_t c_row,
                     const int32_t *less, bool add);

static inline vec_quads
add_quads(vec_quads sum, vec_quads b, __m512i x)
{
    return (vec_quads)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)b, x);
}

#define TILE(rows, vecs)                                                                           \
    static void tile_##rows##_##vecs(int64_t k, const int32_t *a, const int32_t *b, int32_t *c,    \
                                     int64_t c_row, const int32_t *less, bool add)                 \
    {                                                                                              \
        vec_quads acc[rows][vecs] = {0};                                                           \
        for (int64_t p = k; p > 0; p--, a += rows, b += vecs * LANES) {                            \
            const vec_quads *bv = (const vec_quads *)b;                                            \
            _Pragma("GCC unroll 16")                                                               \
            for (int i = 0; i < rows; i++) {                                                       \
                const __m512i x = _mm512_set1_epi32(a[i]);                                         \
                _Pragma("GCC unroll 3")                                                            \
                for (int v = 0; v < vecs; v++) acc[i][v] = add_quads(acc[i][v], bv[v], x);         \
            }                                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 16")                                                                   \
        for (int i = 0; i < rows; i++) {                                                           \
            _Pragma("GCC unroll 3")                                                                \
            for (int v = 0; v < vecs; v++) {                                                       \
                vec_quads *to = (vec_quads *)(c + i * c_row) + v;                                  \
                acc[i][v] -= less[i];                                                              \
                if (add) acc[i][v] += *to;                                                         \
                *to = acc[i][v];                                                                   \
            }                                                                                      \
        }                                                                                          \
    }
#define TILES(X, v)                                                                                \
    X(1, v)                                                                                        \
    X(2, v)                                                                                        \
    X(3, v)                                                                                        \
    X(4, v) X(5, v) X(6, v) X(7, v) X(8, v) X(9, v) X(10, v) X(11, v) X(12, v) X(13, v) X(14, v)
TILES(TILE, 1)
TILES(TILE, 2)
#define TILE_ROW(rows, vecs) [rows][vecs] = tile_##rows##_##vecs,
static const Tile tiles[GEMM_ROWS + 1][3] = {TILES(TILE_ROW, 1) TILES(TILE_ROW, 2)};

/* --- blocks ------------------------------------------------------------------------------------------- */

/* Steps [p0, p0 + k) of columns [j0, j1), packed in `b` strip by strip. */
typedef struct Stage {
    const FacGemm *g;
    int64_t p0, k, j0, j1;
    int32_t *b;
} Stage;

/* Vectors of the strip at column j. */
static inline int
strip_vecs(const Stage *s, int64_t j)
{
    return s->j1 - j > LANES ? 2 : 1;
}

/* Vector v of the strip at column j. */
static Bytes
strip_bytes(const Stage *s, int64_t j, int v)
{
    const FacGemm *g = s->g;
    const int64_t at = j + v * LANES, left = s->j1 - at;
    return (Bytes){(const int8_t *)g->b + at * g->b_col + s->p0 * g->b_row, g->b_col, g->b_row,
                   left < LANES ? (int)left : LANES, s->k};
}

/* Rows of B pass all strips of a task: long pieces of a row are read at once. */
static void
pack_strips(int64_t begin, int64_t end, void *context)
{
    const Stage *s = context;
    const int64_t quads = fac_chunks(s->k, QUAD);
    const bool by_rows = s->g->b_col == 1;
    const __m512i flips = _mm512_set1_epi8(INT8_MIN);
    for (int64_t p = 0; by_rows && p < quads; p++)
        for (int64_t i = begin; i < end; i++) {
            const int64_t j = s->j0 + i * STRIP;
            const int vecs = strip_vecs(s, j);
            int32_t *to = s->b + i * STRIP * quads + p * vecs * LANES;
            for (int v = 0; v < vecs; v++) {
                const Bytes bytes = strip_bytes(s, j, v);
                const __m512i quad = _mm512_xor_si512((__m512i)quad_across(&bytes, p), flips);
                _mm512_storeu_si512(to + v * LANES, quad);
            }
        }
    for (int64_t i = begin; !by_rows && i < end; i++) {
        const int64_t j = s->j0 + i * STRIP;
        const int vecs = strip_vecs(s, j);
        for (int v = 0; v < vecs; v++) {
            const Bytes bytes = strip_bytes(s, j, v);
            pack_bytes(&bytes, s->b + i * STRIP * quads + v * LANES, vecs * LANES, 0xffff,
                       INT8_MIN);
        }
    }
}

static void
multiply_rows(int64_t begin, int64_t end, void *context)
{
    int32_t panel[GEMM_ROWS * RUN] __attribute__((aligned(64)));
    const Stage *s = context;
    const FacGemm *g = s->g;
    const int64_t quads = fac_chunks(s->k, QUAD), most = end * BLOCK_ROWS;
    const int64_t i1 = most < g->m ? most : g->m;
    for (int64_t i = begin * BLOCK_ROWS; i < i1;) {
        const int rows = gemm_height(i1 - i, false);
        const Bytes bytes = {(const int8_t *)g->a + i * g->a_row + s->p0 * g->a_col, g->a_row,
                             g->a_col, rows, s->k};
        const vec_quads less =
            pack_bytes(&bytes, panel, rows, (__mmask16)((1u << rows) - 1), 0) * 128;
        for (int64_t j = s->j0; j < s->j1; j += STRIP) {
            const int vecs = strip_vecs(s, j);
            const int64_t columns = s->j1 - j < STRIP ? s->j1 - j : STRIP;
            const int32_t *b = s->b + (j - s->j0) * quads;
            int32_t *c = (int32_t *)g->c + i * g->c_row + j, part[GEMM_ROWS * STRIP];
            if (columns == vecs * LANES) {
                tiles[rows][vecs](quads, panel, b, c, g->c_row, (const int32_t *)&less, s->p0 > 0);
                continue;
            }
            tiles[rows][vecs](quads, panel, b, part, STRIP, (const int32_t *)&less, false);
            for (int r = 0; r < rows; r++)
                for (int64_t x = 0; x < columns; x++) {
                    const int32_t sum = part[r * STRIP + x];
                    c[r * g->c_row + x] = s->p0 > 0 ? c[r * g->c_row + x] + sum : sum;
                }
        }
        i += rows;
    }
}

FacStatus
FAC_TIERED(gemm_vnni)(const FacGemm *g)
{
    const int64_t run = g->k < QUAD * RUN ? fac_chunks(g->k, QUAD) : RUN;
    const int64_t fit = fac_cpu_cache(2) / 2 / (run * QUAD * STRIP),
                  strips = fac_chunks(g->n, STRIP);
    const int64_t width = fac_chunks(strips, fac_chunks(strips, fit < 1 ? 1 : fit)) * STRIP;
    const size_t bytes = (size_t)(run * width * QUAD);
    void *scratch;
    FAC_RETURN_IF_ERROR(fac_host_alloc(bytes, &scratch));
    Stage s = {.g = g, .b = scratch};
    for (s.p0 = 0; s.p0 < g->k; s.p0 += s.k) {
        s.k = g->k - s.p0 < QUAD * RUN ? g->k - s.p0 : QUAD * RUN;
        const int64_t row_work = BLOCK_ROWS * width * s.k, grain = (1 << 20) / row_work;
        for (s.j0 = 0; s.j0 < g->n; s.j0 = s.j1) {
            s.j1 = s.j0 + width < g->n ? s.j0 + width : g->n;
            fac_parallel(fac_chunks(s.j1 - s.j0, STRIP), 8, pack_strips, &s);
            fac_parallel(fac_chunks(g->m, BLOCK_ROWS), grain > 0 ? grain : 1, multiply_rows, &s);
        }
    }
    fac_host_free(scratch, bytes);
    return FAC_OK;
}
#else
typedef int NoVnni; /* ISO C asks for a declaration */
#endif
