/* gemm_dots.c - products by groups of steps: packing, blocks, and which instructions are used.
 *
 * The form is that of gemm_body.h: runs of steps, blocks of B in strips that stay in the second cache, panels
 * of A that pass them. Both operands are packed as groups (see gemm_dots.h); steps beyond k are zero.
 *
 * What a processor says that it has is tried before it is used, once a process: a small product must
 * be the plain sum. What fails is given up for good, and the reports say so.
 */
#include "kernels/cpu/gemm_dots.h"

#if defined(__AVX512F__)
#include "kernels/cpu/gemm_types.h"

#include <immintrin.h>
#include <pthread.h>

#define T int32_t
#define INDEX int32_t
#define LANES GEMM_F32_LANES
#define RUN DOTS_RUN
#define NAME(x) x##_groups
typedef int32_t FacVec_groups __attribute__((vector_size(GEMM_BYTES), aligned(4), may_alias));
#include "kernels/cpu/gemm_form.h"

enum {
    GROUP = sizeof(int32_t),
    BLOCK_ROWS = 56, /* about: whole panels */
    PIECE = 8 * DOTS_STRIP,
    TASKS = 8,                       /* row blocks that are enough of them */
    TASK_WORK = 1 << 20,             /* multiply-adds */
    FEW = 16 * DOTS_RUN * DOTS_LANES /* bytes for B on the stack: a strip, at least */
};
_Static_assert(FEW >= DOTS_RUN * DOTS_STRIP * GROUP, "a strip fits");

/* --- packing -------------------------------------------------------------------------------------- */

/* Lanes are rows of A or columns of B: step p of lane i is at from + i * lane + p * step. */
typedef struct Lanes {
    const char *from;
    int64_t lane, step; /* in bytes */
    int lanes;          /* the others are zero, and so are steps beyond k */
    int64_t k;
    int size; /* of an element, in bytes: 1 or 2 */
} Lanes;

/* Row `at` of lanes that lie side by side, each element in the low bits of its lane. */
static inline __m512i
row_across(const Lanes *l, int64_t at, bool whole)
{
    const char *from = l->from + at * l->step;
    const uint16_t some = (uint16_t)((1u << l->lanes) - 1);
    if (whole)
        return l->size == 1 ? _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from))
                            : _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
    if (at >= l->k) return _mm512_setzero_si512();
    return l->size == 1 ? _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(some, from))
                        : _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, from));
}

/* Group p of lanes that lie side by side. */
static inline vec_groups
across(const Lanes *l, int64_t p)
{
    const int steps = GROUP / l->size, bits = 8 * l->size;
    const bool whole = l->lanes == DOTS_LANES && (p + 1) * steps <= l->k;
    __m512i group = row_across(l, p * steps, whole);
    for (int i = 1; i < steps; i++)
        group |= _mm512_sll_epi32(row_across(l, p * steps + i, whole), _mm_cvtsi32_si128(i * bits));
    return (vec_groups)group;
}

/* Group p of lanes that lie anyhow. */
static vec_groups
anyhow(const Lanes *l, int64_t p)
{
    char groups[DOTS_LANES * GROUP] = {0};
    const int steps = GROUP / l->size;
    for (int i = 0; i < l->lanes; i++)
        for (int s = 0; s < steps && p * steps + s < l->k; s++)
            memcpy(groups + i * GROUP + s * l->size,
                   l->from + i * l->lane + (p * steps + s) * l->step, (size_t)l->size);
    return *(vec_groups *)groups;
}

/* Groups [p, p + 16) of 16 lanes: a vector for each lane, or (lines) for each group. */
static inline void
square(const Lanes *l, int64_t p, bool lines, vec_groups r[])
{
    const bool along = l->step == l->size;
    if (along) {
        const int64_t left = l->k * l->size - p * GROUP;
        const __mmask64 mask =
            left < 64 ? ((__mmask64)1 << (left > 0 ? left : 0)) - 1 : ~(__mmask64)0;
#pragma GCC unroll 16
        for (int i = 0; i < DOTS_LANES; i++) {
            const bool valid = i < l->lanes;
            const char *from = l->from + (valid ? i : 0) * l->lane + p * GROUP;
            r[i] = (vec_groups)_mm512_maskz_loadu_epi8(valid ? mask : 0, from);
        }
    } else {
        for (int i = 0; i < DOTS_LANES; i++)
            r[i] = l->lane == l->size ? across(l, p + i) : anyhow(l, p + i);
    }
    if (along == lines) turn_groups(r);
}

/* --- blocks ------------------------------------------------------------------------------------------- */

/* Steps [p0, p0 + k) of columns [j0, j1), packed in `b` strip by strip. */
typedef struct Stage {
    const FacDots *dots;
    const FacGemm *g;
    int size; /* of an element */
    int64_t p0, k, groups, j0, j1;
    int64_t block, piece; /* rows and columns of a task */
    int32_t *b;
    FacGemmFinish finish; /* or NULL */
} Stage;

/* Up to 16 of `left` lanes of an operand: `lane` elements from one to the next, `step` between steps. */
static inline Lanes
lanes_of(const Stage *s, const void *operand, int64_t first, int64_t left, int64_t lane,
         int64_t step)
{
    return (Lanes){(const char *)operand + (first * lane + s->p0 * step) * s->size,
                   lane * s->size,
                   step * s->size,
                   left < DOTS_LANES ? (int)left : DOTS_LANES,
                   s->k,
                   s->size};
}

/* Rows of A from row i on, and columns of B from column j on. */
static inline Lanes
rows_of(const Stage *s, int64_t i, int64_t left)
{
    return lanes_of(s, s->g->a, i, left, s->g->a_row, s->g->a_col);
}

static inline Lanes
columns_of(const Stage *s, int64_t j)
{
    return lanes_of(s, s->g->b, j, s->j1 - j, s->g->b_col, s->g->b_row);
}

/* Vectors of the strip at column j. */
static inline int
strip_vecs(const Stage *s, int64_t j)
{
    return s->j1 - j > DOTS_LANES ? 2 : 1;
}

/* Where vector v of the strip at column j is packed: line after line, so many groups apart. */
static inline int32_t *
packed_at(const Stage *s, int64_t j, int v)
{
    return s->b + (j - s->j0) * s->groups + v * DOTS_LANES;
}

/* Columns [j0, j1) of B, whose rows lie in memory: they pass all the strips, so that long pieces of a row are
 * read at once. */
static inline __attribute__((always_inline)) void
pack_rows(const Stage *s, int64_t j0, int64_t j1, int size)
{
    const __m512i flip = _mm512_set1_epi32(s->dots->flip);
    const int64_t groups = s->groups;
    Lanes l = columns_of(s, j0);
    const char *from = l.from;
    l.size = size; /* known when this is compiled */
    for (int64_t p = 0; p < groups; p++)
        for (int64_t j = j0; j < j1; j += DOTS_STRIP) {
            const int64_t width = strip_vecs(s, j) * DOTS_LANES;
            int32_t *to = packed_at(s, j, 0) + p * width;
            for (int64_t x = 0; x < width; x += DOTS_LANES) {
                const int64_t left = j1 - j - x;
                l.from = from + (j - j0 + x) * size;
                l.lanes = left < DOTS_LANES ? (int)left : DOTS_LANES;
                _mm512_storeu_si512(to + x, (__m512i)across(&l, p) ^ flip);
            }
        }
}

/* Vector v of the strip at column j of B, which lies otherwise. */
static void
pack_columns(const Stage *s, int64_t j, int v)
{
    const __m512i flip = _mm512_set1_epi32(s->dots->flip);
    const Lanes l = columns_of(s, j + v * DOTS_LANES);
    const int64_t width = strip_vecs(s, j) * DOTS_LANES;
    int32_t *to = packed_at(s, j, v);
    vec_groups r[DOTS_LANES];
    for (int64_t p = 0; p < s->groups; p += DOTS_LANES) {
        const int64_t left = s->groups - p, lines = left < DOTS_LANES ? left : DOTS_LANES;
        square(&l, p, true, r);
        for (int64_t x = 0; x < lines; x++, to += width)
            _mm512_storeu_si512(to, (__m512i)r[x] ^ flip);
    }
}

/* Strips [begin, end) of the stage. */
static void
pack_strips(int64_t begin, int64_t end, void *context)
{
    const Stage *s = context;
    const int64_t j0 = s->j0 + begin * DOTS_STRIP, most = s->j0 + end * DOTS_STRIP;
    const int64_t j1 = most < s->j1 ? most : s->j1;
    if (s->g->b_col == 1) {
        if (s->size == 1)
            pack_rows(s, j0, j1, 1);
        else
            pack_rows(s, j0, j1, 2);
        return;
    }
    for (int64_t j = j0; j < j1; j += DOTS_STRIP)
        for (int v = 0; v < strip_vecs(s, j); v++) pack_columns(s, j, v);
}

static void
pack_panel(const Stage *s, int64_t i, int rows, int32_t *panel)
{
    vec_groups r[DOTS_LANES];
    for (int first = 0; first < rows; first += DOTS_LANES, panel += DOTS_LANES * DOTS_ROW) {
        const Lanes l = rows_of(s, i + first, rows - first);
        for (int64_t p = 0; p < s->groups; p += DOTS_LANES) {
            square(&l, p, false, r);
            for (int x = 0; x < l.lanes; x++) *(vec_groups *)(panel + x * DOTS_ROW + p) = r[x];
        }
    }
}

/* A panel times the strips of columns [j0, j1). */
static void
multiply_panel(const Stage *s, const int32_t *panel, int64_t i, int rows, int64_t j0, int64_t j1)
{
    const bool add = s->p0 > 0 || s->g->accumulate;
    for (int64_t j = j0; j < j1; j += DOTS_STRIP) {
        const int vecs = strip_vecs(s, j);
        const int64_t left = s->j1 - j, width = vecs * DOTS_LANES;
        const int32_t *b = s->b + (j - s->j0) * s->groups;
        char *c = (char *)s->g->c + (i * s->g->c_row + j) * GROUP;
        if (left >= width) {
            s->dots->tile(rows, vecs, s->groups, panel, b, c, s->g->c_row, add);
            continue;
        }
        int32_t part[DOTS_ROWS * DOTS_STRIP] __attribute__((aligned(64))) = {0};
        const size_t bytes = (size_t)left * GROUP;
        for (int x = 0; x < rows && add; x++)
            memcpy(part + x * width, c + x * s->g->c_row * GROUP, bytes);
        s->dots->tile(rows, vecs, s->groups, panel, b, part, width, add);
        for (int x = 0; x < rows; x++) memcpy(c + x * s->g->c_row * GROUP, part + x * width, bytes);
    }
}

static void
multiply_blocks(int64_t task, int64_t end, void *context)
{
    int32_t panel[DOTS_ROWS * DOTS_ROW] __attribute__((aligned(64)));
    const Stage *s = context;
    const FacGemm *g = s->g;
    const int64_t blocks = fac_chunks(g->m, s->block);
    for (; task < end; task++) {
        const int64_t i0 = task % blocks * s->block, j0 = s->j0 + task / blocks * s->piece;
        const int64_t i1 = i0 + s->block < g->m ? i0 + s->block : g->m;
        const int64_t j1 = j0 + s->piece < s->j1 ? j0 + s->piece : s->j1;
        for (int64_t i = i0; i < i1;) {
            const int rows = gemm_panel(i1 - i, s->dots->rows, false);
            pack_panel(s, i, rows, panel);
            if (s->dots->begin) s->dots->begin(rows, s->groups, panel);
            multiply_panel(s, panel, i, rows, j0, j1);
            if (s->dots->end) s->dots->end();
            i += rows;
        }
        if (s->finish && s->p0 + s->k == g->k) s->finish(g, i0, i1, j0, j1);
    }
}

/* The groups of the longest run. */
static int64_t
longest_run(const FacDots *dots, const FacGemm *g, int size)
{
    const int64_t groups = fac_chunks(fac_chunks(g->k * size, GROUP), dots->fill) * dots->fill;
    return groups < dots->run ? groups : dots->run;
}

/* All of a product, with room at s->b for `room` bytes: of a strip of the longest run, at least. */
static void
multiply(Stage *s, int64_t room, bool pool)
{
    const FacGemm *g = s->g;
    const int64_t run = longest_run(s->dots, g, s->size), steps = GROUP / s->size;
    const int64_t fit = room / (run * GROUP * DOTS_STRIP), strips = fac_chunks(g->n, DOTS_STRIP);
    const int64_t width = fac_chunks(strips, fac_chunks(strips, fit < 1 ? 1 : fit)) * DOTS_STRIP;
    s->block = fac_chunks(BLOCK_ROWS, s->dots->rows) * s->dots->rows;
    const int64_t blocks = fac_chunks(g->m, s->block);
    s->piece = pool && blocks < TASKS ? PIECE : width;
    const int64_t grain = TASK_WORK / (s->block * s->piece * run * steps);
    for (s->p0 = 0; s->p0 < g->k; s->p0 += s->k) {
        s->k = g->k - s->p0 < run * steps ? g->k - s->p0 : run * steps;
        s->groups = fac_chunks(fac_chunks(s->k, steps), s->dots->fill) * s->dots->fill;
        for (s->j0 = 0; s->j0 < g->n; s->j0 = s->j1) {
            s->j1 = s->j0 + width < g->n ? s->j0 + width : g->n;
            const int64_t packs = fac_chunks(s->j1 - s->j0, DOTS_STRIP);
            const int64_t tasks = blocks * fac_chunks(s->j1 - s->j0, s->piece);
            fac_parallel(packs, pool ? PIECE / DOTS_STRIP : packs, pack_strips, s);
            fac_parallel(tasks, !pool ? tasks : grain > 0 ? grain : 1, multiply_blocks, s);
        }
    }
}

static bool
is_row_by_columns(const FacGemm *g)
{
    return g->m == 1 && g->a_col == 1 && g->b_row == 1;
}

void
FAC_TIERED(dots_multiply_alone)(const FacDots *dots, const FacGemm *g)
{
    int32_t b[FEW / GROUP] __attribute__((aligned(64)));
    if (dots->row_by_columns && is_row_by_columns(g)) {
        dots->row_by_columns(g);
        return;
    }
    Stage s = {.dots = dots, .g = g, .b = b, .size = (int)fac_dtype_size(dots->dtype)};
    multiply(&s, sizeof b, false);
}

FacStatus
FAC_TIERED(dots_multiply)(const FacDots *dots, const FacGemm *g, FacGemmFinish finish)
{
    Stage s = {.dots = dots, .g = g, .finish = finish, .size = (int)fac_dtype_size(dots->dtype)};
    const int64_t strip = longest_run(dots, g, s.size) * DOTS_STRIP * GROUP;
    const int64_t all = fac_chunks(g->n, DOTS_STRIP) * strip, near = fac_cpu_cache(2) / 2;
    const int64_t room = all < near ? all : near < strip ? strip : near;
    void *scratch;
    FAC_RETURN_IF_ERROR(fac_host_alloc((size_t)room, &scratch));
    s.b = scratch;
    multiply(&s, room, true);
    fac_host_free(scratch, (size_t)room);
    return FAC_OK;
}

/* --- the choice --------------------------------------------------------------------------------------- */

/* For each dtype of A, in the order of preference. */
static const FacDots *const kinds[] = {
#if defined(FAC_HAS_AMX)
    &FAC_TIERED(dots_amx_bf16), &FAC_TIERED(dots_amx_i8), &FAC_TIERED(dots_amx_u8),
#endif
#if defined(FAC_HAS_AVX512_BF16)
    &FAC_TIERED(dots_bf16),
#endif
    &FAC_TIERED(dots_vnni)};

/* Small integers, whose sums are exact in whatever order. */
static int
trial_number(const FacDots *dots, int64_t i)
{
    const uint32_t bits = (uint32_t)i * 2654435761u;
    return dots->dtype == FAC_DT_BF16 ? (int)(bits >> 28) - 8 : (int8_t)(bits >> 24);
}

bool
FAC_TIERED(dots_agree)(const FacDots *dots)
{
    enum { M = 35, N = 37, K = 75 };
    const bool floats = dots->dtype == FAC_DT_BF16;
    uint16_t halves[M * K + K * N];
    int8_t bytes[M * K + K * N];
    int32_t c[M * N];
    for (int i = 0; i < M * K + K * N; i++) {
        bytes[i] = (int8_t)trial_number(dots, i);
        halves[i] = fac_f32_to_bf16(bytes[i]);
    }
    FacGemm g = {.dtype = dots->dtype, .m = M, .n = N, .k = K, .c = c, .c_row = N};
    g.a = floats ? (const void *)halves : bytes;
    g.b = floats ? (const void *)(halves + M * K) : bytes + M * K;
    g.a_row = K;
    g.b_row = N;
    g.a_col = g.b_col = 1;
    FAC_TIERED(dots_multiply_alone)(dots, &g);
    for (int i = 0; i < M * N; i++) {
        int sum = 0;
        for (int p = 0; p < K; p++) {
            const int8_t a = bytes[i / N * K + p];
            sum += (dots->dtype == FAC_DT_U8 ? (uint8_t)a : a) * bytes[M * K + p * N + i % N];
        }
        if ((floats ? (int)fac_bits_float((uint32_t)c[i]) : c[i]) != sum) return false;
    }
    return true;
}

static const FacDots *chosen[FAC_DTYPES];

static void
choose(void)
{
    const int count = sizeof kinds / sizeof *kinds;
    for (int i = 0; i < count; i++)
        if (fac_cpu_enable(kinds[i]->feature) && !FAC_TIERED(dots_agree)(kinds[i]))
            fac_cpu_give_up(kinds[i]->feature);
    for (int i = count - 1; i >= 0; i--)
        if (fac_cpu_has(kinds[i]->feature)) chosen[kinds[i]->dtype] = kinds[i];
}

static const FacDots *
dots_for(const FacGemm *g)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (g->k == 0 || !(g->bytes || g->dtype == FAC_DT_BF16)) return NULL;
    pthread_once(&once, choose);
    const FacDots *vnni = &FAC_TIERED(dots_vnni);
    const bool row = g->dtype == vnni->dtype && is_row_by_columns(g) && fac_cpu_has(vnni->feature);
    return row ? vnni : chosen[g->dtype]; /* sums of integers are the same */
}

bool
FAC_TIERED(gemm_has_dots)(const FacGemm *g)
{
    return dots_for(g);
}

bool
FAC_TIERED(gemm_dots_serial)(const FacGemm *g)
{
    const FacDots *dots = dots_for(g);
    if (dots) FAC_TIERED(dots_multiply_alone)(dots, g);
    return dots;
}

FacStatus
FAC_TIERED(gemm_dots)(const FacGemm *g, FacGemmFinish finish, bool *done)
{
    const FacDots *dots = dots_for(g);
    *done = dots;
    return dots ? FAC_TIERED(dots_multiply)(dots, g, finish) : FAC_OK;
}
#else
/* Nothing below AVX-512. */
bool
FAC_TIERED(gemm_has_dots)(const FacGemm *g)
{
    (void)g;
    return false;
}

bool
FAC_TIERED(gemm_dots_serial)(const FacGemm *g)
{
    (void)g;
    return false;
}

FacStatus
FAC_TIERED(gemm_dots)(const FacGemm *g, FacGemmFinish finish, bool *done)
{
    (void)g;
    (void)finish;
    *done = false;
    return FAC_OK;
}
#endif
