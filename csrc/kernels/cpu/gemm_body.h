/* gemm_body.h - the product in one real type: included by gemm.c with T, NAME,
 * INDEX (the integer of its size) and LANES (how many make a vector) defined.
 *
 * The inner tile is a block of up to GEMM_ROWS x 2 vectors of accumulators, one fused multiply-add
 * an element and step of k. Its operands may lie anywhere: A is read by single elements, B by
 * vectors, so that small products need no packing; large ones are packed into panels (A: rows
 * interleaved) and strips (B: two vectors wide) that are read in sequence.
 *
 * A complex product is the real product of [[re, -im], [im, re]] (twice the rows, twice k) with
 * [re; im] (twice k); packing spells it so, and the tile is put together again when it is stored.
 */

enum { NAME(VL) = GEMM_BYTES / sizeof(T), NAME(NR) = 2 * NAME(VL) };
typedef T NAME(vec) __attribute__((vector_size(GEMM_BYTES), aligned(sizeof(T)), may_alias));
typedef INDEX NAME(index) __attribute__((vector_size(GEMM_BYTES)));
static const NAME(index) NAME(low) = GEMM_LOW(LANES), NAME(high) = GEMM_HIGH(LANES);

#define TILE(rows, vecs)                                                                           \
    static void NAME(tile_##rows##_##vecs)(int64_t k, const T *a, int64_t a_row, int64_t a_col,    \
                                           const T *b, int64_t b_row, T *c, int64_t c_row,         \
                                           bool add)                                               \
    {                                                                                              \
        NAME(vec) acc[rows][vecs] = {0};                                                           \
        for (int64_t p = 0; p < k; p++, a += a_col, b += b_row) {                                  \
            const NAME(vec) *bv = (const NAME(vec) *)b;                                            \
            _Pragma("GCC unroll 16")                                                               \
            for (int i = 0; i < rows; i++) {                                                       \
                _Pragma("GCC unroll 2")                                                            \
                for (int v = 0; v < vecs; v++) acc[i][v] += bv[v] * a[i * a_row];                  \
            }                                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 16")                                                                   \
        for (int i = 0; i < rows; i++) {                                                           \
            _Pragma("GCC unroll 2")                                                                \
            for (int v = 0; v < vecs; v++) {                                                       \
                NAME(vec) *cv = (NAME(vec) *)(c + i * c_row) + v;                                  \
                if (add) acc[i][v] += *cv;                                                         \
                *cv = acc[i][v];                                                                   \
            }                                                                                      \
        }                                                                                          \
    }
GEMM_HEIGHTS(TILE, 1)
GEMM_HEIGHTS(TILE, 2)
#undef TILE

typedef void (*NAME(Tile))(int64_t k, const T *a, int64_t a_row, int64_t a_col, const T *b,
                           int64_t b_row, T *c, int64_t c_row, bool add);

static NAME(Tile) NAME(tile)(int rows, int vecs)
{
#define PICK(r, v)                                                                                 \
    case 2 * r + v - 1: return NAME(tile_##r##_##v);
    switch (2 * rows + vecs - 1) {
        GEMM_HEIGHTS(PICK, 1)
        GEMM_HEIGHTS(PICK, 2)
    }
#undef PICK
    return NULL;
}

/* VL rows of VL elements, `step` apart, to columns: after log2(VL) rounds of interleaving the first
 * half of the vectors with the second, the matrix is transposed. Rows from `valid` on are zeros. */
static inline void
NAME(transpose)(const T *from, int64_t step, int valid, NAME(vec) r[])
{
#pragma GCC unroll 16
    for (int i = 0; i < NAME(VL); i++)
        r[i] = i < valid ? *(const NAME(vec) *)(from + i * step) : (NAME(vec)){0};
#pragma GCC unroll 4
    for (int round = 1; round < NAME(VL); round *= 2) {
        NAME(vec) s[NAME(VL)];
#pragma GCC unroll 16
        for (int i = 0; i < NAME(VL) / 2; i++) {
            s[2 * i] = __builtin_shuffle(r[i], r[i + NAME(VL) / 2], NAME(low));
            s[2 * i + 1] = __builtin_shuffle(r[i], r[i + NAME(VL) / 2], NAME(high));
        }
#pragma GCC unroll 16
        for (int i = 0; i < NAME(VL); i++) r[i] = s[i];
    }
}

/* The part of a panel of row-major A that blocks of VL steps cover; returns how many steps. The
 * vectors of a step are wider than the panel: the next step overwrites what is too much, so the last
 * steps are left to the caller. */
static int64_t
NAME(pack_a_blocks)(const T *a, int64_t a_row, int rows, int64_t k, T *to)
{
    NAME(vec) r[GEMM_ROWS / NAME(VL) + 1][NAME(VL)];
    const int groups = (rows + NAME(VL) - 1) / NAME(VL);
    int64_t p = 0;
    if (groups * NAME(VL) > 2 * rows) return 0;
    for (; p + NAME(VL) < k; p += NAME(VL)) {
        for (int g = 0; g < groups; g++) {
            const int valid = rows - g * NAME(VL);
            NAME(transpose)(a + g * NAME(VL) * a_row + p, a_row, valid, r[g]);
        }
        for (int step = 0; step < NAME(VL); step++)
            for (int g = 0; g < groups; g++)
                *(NAME(vec) *)(to + (p + step) * rows + g * NAME(VL)) = r[g][step];
    }
    return p;
}

/* k of one row panel of A, from row i0 and step p0, as the tile reads it: rows side by side. */
static void
NAME(pack_a)(const FacGemm *g, int64_t i0, int rows, int64_t p0, int64_t k, T *to)
{
    const T *a = (const T *)g->a + i0 * g->a_row + p0 * g->a_col;
    if (!FAC_IS_COMPLEX(g->dtype)) {
        int64_t p = g->a_col == 1 ? NAME(pack_a_blocks)(a, g->a_row, rows, k, to) : 0;
        for (to += p * rows; p < k; p++, to += rows)
            for (int i = 0; i < rows; i++) to[i] = a[i * g->a_row + p * g->a_col];
        return;
    }
    /* i0 and p0 count halves of complex numbers: as offsets in Ts they are right as they are */
    for (int64_t p = 0; p < k; p += 2, to += 2 * rows)
        for (int i = 0; i < rows; i += 2) {
            const T *z = a + i * g->a_row + p * g->a_col;
            to[i] = z[0];
            to[i + 1] = z[1];
            to[rows + i] = -z[1];
            to[rows + i + 1] = z[0];
        }
}

/* A strip of B whose columns are contiguous in memory: whole blocks by transposing. */
static void
NAME(pack_b_columns)(const T *b, int64_t col, int64_t columns, int64_t width, int64_t k, T *to)
{
    NAME(vec) r[NAME(VL)];
    const int64_t blocks = k / NAME(VL) * NAME(VL);
    for (int64_t j = 0; j < width; j += NAME(VL)) {
        const int valid = columns - j < NAME(VL) ? (int)(columns - j) : NAME(VL);
        for (int64_t p = 0; p < blocks; p += NAME(VL)) {
            NAME(transpose)(b + j * col + p, col, valid, r);
            for (int i = 0; i < NAME(VL); i++) *(NAME(vec) *)(to + (p + i) * width + j) = r[i];
        }
        for (int64_t p = blocks; p < k; p++)
            for (int i = 0; i < NAME(VL); i++)
                to[p * width + j + i] = i < valid ? b[(j + i) * col + p] : 0;
    }
}

/* One strip of B, padded with zeros to `width` columns. */
static void
NAME(pack_b)(const FacGemm *g, int64_t j0, int64_t columns, int64_t width, int64_t p0, int64_t k,
             T *to)
{
    const T *b = g->b;
    int64_t row = g->b_row, col = g->b_col;
    if (g->fill) {
        g->fill(g->fill_context, p0, k, j0, columns, width, to);
        return;
    }
    if (!FAC_IS_COMPLEX(g->dtype)) {
        b += j0 * col + p0 * row;
        if (row == 1 && col != 1) {
            NAME(pack_b_columns)(b, col, columns, width, k, to);
            return;
        }
        for (int64_t p = 0; p < k; p++, to += width) {
            if (col == 1)
                for (int64_t j = 0; j < columns; j++) to[j] = b[p * row + j];
            else
                for (int64_t j = 0; j < columns; j++) to[j] = b[p * row + j * col];
            for (int64_t j = columns; j < width; j++) to[j] = 0;
        }
        return;
    }
    b += 2 * j0 * col + p0 * row;
    for (int64_t p = 0; p < k; p += 2, to += 2 * width)
        for (int64_t j = 0; j < width; j++) {
            const T *z = b + p * row + 2 * j * col;
            to[j] = j < columns ? z[0] : 0;
            to[width + j] = j < columns ? z[1] : 0;
        }
}

/* Adds a finished tile to C where it does not fit there as it is. Rows are real rows. */
static void
NAME(store)(const FacGemm *g, const T *tile, int64_t i0, int rows, int64_t j0, int64_t columns,
            bool add)
{
    if (!FAC_IS_COMPLEX(g->dtype)) {
        for (int i = 0; i < rows; i++) {
            T *c = (T *)g->c + (i0 + i) * g->c_row + j0;
            const T *from = tile + i * NAME(NR);
            for (int64_t j = 0; j < columns; j++) c[j] = add ? c[j] + from[j] : from[j];
        }
        return;
    }
    for (int i = 0; i < rows; i += 2) {
        T *c = (T *)g->c + (i0 + i) * g->c_row + 2 * j0;
        const T *re = tile + i * NAME(NR), *im = re + NAME(NR);
        for (int64_t j = 0; j < columns; j++) {
            c[2 * j] = add ? c[2 * j] + re[j] : re[j];
            c[2 * j + 1] = add ? c[2 * j + 1] + im[j] : im[j];
        }
    }
}

/* One tile: A and B as given by pointer and strides, `columns` of them valid. */
static inline void
NAME(run_tile)(const FacGemm *g, int rows, int vecs, int64_t k, const T *a, int64_t a_row,
               int64_t a_col, const T *b, int64_t b_row, int64_t i0, int64_t j0, int64_t columns,
               bool add)
{
    if (!FAC_IS_COMPLEX(g->dtype) && columns == vecs * NAME(VL)) {
        T *c = (T *)g->c + i0 * g->c_row + j0;
        NAME(tile)(rows, vecs)(k, a, a_row, a_col, b, b_row, c, g->c_row, add);
        return;
    }
    T tile[GEMM_ROWS * NAME(NR)];
    NAME(tile)(rows, vecs)(k, a, a_row, a_col, b, b_row, tile, NAME(NR), false);
    NAME(store)(g, tile, i0, rows, j0, columns, add);
}

/* C = alpha * C + beta * D over a block of C. */
static void
NAME(finish)(const FacGemm *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1)
{
    const T ar = (T)g->alpha[0], ai = (T)g->alpha[1], br = (T)g->beta[0], bi = (T)g->beta[1];
    if (!g->add && !g->scale) return;
    if (!FAC_IS_COMPLEX(g->dtype)) {
        for (int64_t i = i0; i < i1; i++) {
            T *c = (T *)g->c + i * g->c_row;
            const T *d = g->add ? (const T *)g->add + i * g->add_row : NULL;
            if (!d)
                for (int64_t j = j0; j < j1; j++) c[j] *= ar;
            else if (!g->scale && g->add_col == 1)
                for (int64_t j = j0; j < j1; j++) c[j] += d[j];
            else
                for (int64_t j = j0; j < j1; j++) c[j] = br * d[j * g->add_col] + ar * c[j];
        }
        return;
    }
    for (int64_t i = i0; i < i1; i++) {
        T *c = (T *)g->c + 2 * i * g->c_row;
        const T *d = g->add ? (const T *)g->add + 2 * i * g->add_row : NULL;
        for (int64_t j = j0; j < j1; j++) {
            T re = ar * c[2 * j] - ai * c[2 * j + 1], im = ar * c[2 * j + 1] + ai * c[2 * j];
            if (d) {
                const T *z = d + 2 * j * g->add_col;
                re += br * z[0] - bi * z[1];
                im += br * z[1] + bi * z[0];
            }
            c[2 * j] = re;
            c[2 * j + 1] = im;
        }
    }
}

/* Small products and those inside of tasks: strips of B through a buffer on the stack, A where it
 * lies (through a buffer too when it is complex). Strips stay where they are if they are read once or
 * lie close together: at large strides their rows would drive each other out of the cache. */
static void
NAME(serial)(const FacGemm *g)
{
    T strip[GEMM_RUN * NAME(NR)] __attribute__((aligned(64))), panel[GEMM_RUN * GEMM_ROWS];
    const bool complex = FAC_IS_COMPLEX(g->dtype);
    const int64_t m = complex ? 2 * g->m : g->m, k = complex ? 2 * g->k : g->k;
    const bool close = m <= GEMM_ROWS || k * g->b_row * (int64_t)sizeof(T) <= GEMM_CLOSE;
    const bool in_place = !complex && !g->fill && g->b_col == 1 && close;
    for (int64_t p0 = 0; p0 < k; p0 += GEMM_RUN) {
        const int64_t run = k - p0 < GEMM_RUN ? k - p0 : GEMM_RUN;
        const bool add = p0 > 0 || g->accumulate;
        for (int64_t j0 = 0; j0 < g->n; j0 += NAME(NR)) {
            const int64_t left = g->n - j0, columns = left < NAME(NR) ? left : NAME(NR);
            const int vecs = columns > NAME(VL) ? 2 : 1;
            const int64_t width = vecs * NAME(VL);
            const T *b = (const T *)g->b + j0 + p0 * g->b_row;
            int64_t b_row = g->b_row;
            if (!in_place || columns != width) {
                NAME(pack_b)(g, j0, columns, width, p0, run, strip);
                b = strip;
                b_row = width;
            }
            for (int64_t i0 = 0; i0 < m;) {
                const int rows = gemm_height(m - i0);
                const T *a = (const T *)g->a + i0 * g->a_row + p0 * g->a_col;
                if (complex) NAME(pack_a)(g, i0, rows, p0, run, panel);
                NAME(run_tile)(g, rows, vecs, run, complex ? panel : a, complex ? 1 : g->a_row,
                               complex ? rows : g->a_col, b, b_row, i0, j0, columns, add);
                i0 += rows;
            }
        }
    }
    if (k == 0 && !g->accumulate)
        for (int64_t i = 0; i < g->m; i++)
            memset((char *)g->c + i * g->c_row * fac_dtype_size(g->dtype), 0,
                   (size_t)(g->n * fac_dtype_size(g->dtype)));
    NAME(finish)(g, 0, g->m, 0, g->n);
}

/* A stage of a large product: columns [j0, j1) of C, real rows [i0, i1), steps [p0, p0 + run). */
typedef struct NAME(Stage) {
    const FacGemm *g;
    int64_t i0, i1, j0, j1, p0, run, blocks;
    bool add, last;
    T *a, *b;
} NAME(Stage);

static void
NAME(stage_pack_b)(int64_t begin, int64_t end, void *context)
{
    const NAME(Stage) *s = context;
    for (int64_t j = s->j0 + begin * NAME(NR); begin < end; begin++, j += NAME(NR)) {
        const int64_t columns = s->j1 - j < NAME(NR) ? s->j1 - j : NAME(NR);
        const int64_t width = columns > NAME(VL) ? NAME(NR) : NAME(VL);
        NAME(pack_b)(s->g, j, columns, width, s->p0, s->run, s->b + (j - s->j0) * s->run);
    }
}

static void
NAME(stage_pack_a)(int64_t begin, int64_t end, void *context)
{
    const NAME(Stage) *s = context;
    const int64_t i1 =
        s->i0 + end * GEMM_BLOCK_ROWS < s->i1 ? s->i0 + end * GEMM_BLOCK_ROWS : s->i1;
    for (int64_t i = s->i0 + begin * GEMM_BLOCK_ROWS; i < i1;) {
        const int rows = gemm_height(i1 - i);
        NAME(pack_a)(s->g, i, rows, s->p0, s->run, s->a + (i - s->i0) * s->run);
        i += rows;
    }
}

static void
NAME(stage_block)(int64_t task, int64_t end, void *context)
{
    const NAME(Stage) *s = context;
    for (; task < end; task++) {
        const int64_t i0 = s->i0 + task / s->blocks * GEMM_BLOCK_ROWS;
        const int64_t i1 = i0 + GEMM_BLOCK_ROWS < s->i1 ? i0 + GEMM_BLOCK_ROWS : s->i1;
        const int64_t j0 = s->j0 + task % s->blocks * GEMM_BLOCK_COLUMNS;
        const int64_t j1 = j0 + GEMM_BLOCK_COLUMNS < s->j1 ? j0 + GEMM_BLOCK_COLUMNS : s->j1;
        for (int64_t j = j0; j < j1; j += NAME(NR)) {
            const int64_t columns = j1 - j < NAME(NR) ? j1 - j : NAME(NR);
            const int vecs = columns > NAME(VL) ? 2 : 1;
            const T *b = s->b + (j - s->j0) * s->run;
            for (int64_t i = i0; i < i1;) {
                const int rows = gemm_height(i1 - i);
                NAME(run_tile)(s->g, rows, vecs, s->run, s->a + (i - s->i0) * s->run, 1, rows, b,
                               vecs * NAME(VL), i, j, columns, s->add);
                i += rows;
            }
        }
        const int64_t part = FAC_IS_COMPLEX(s->g->dtype) ? 2 : 1;
        if (s->last) NAME(finish)(s->g, i0 / part, i1 / part, j0, j1);
    }
}

static FacStatus
NAME(parallel)(const FacGemm *g)
{
    const int64_t part = FAC_IS_COMPLEX(g->dtype) ? 2 : 1, m = g->m * part, k = g->k * part;
    const int64_t rows = m < GEMM_PANEL ? m : GEMM_PANEL;
    const int64_t columns = g->n < GEMM_PANEL ? fac_chunks(g->n, NAME(NR)) * NAME(NR) : GEMM_PANEL;
    const int64_t depth = k < GEMM_RUN ? k : GEMM_RUN;
    const size_t bytes = (size_t)((rows + columns) * depth) * sizeof(T);
    void *scratch;
    FAC_RETURN_IF_ERROR(fac_host_alloc(bytes, &scratch));
    NAME(Stage) s = {.g = g, .b = scratch, .a = (T *)scratch + columns * depth};
    for (s.j0 = 0; s.j0 < g->n; s.j0 = s.j1) {
        s.j1 = s.j0 + GEMM_PANEL < g->n ? s.j0 + GEMM_PANEL : g->n;
        s.blocks = fac_chunks(s.j1 - s.j0, GEMM_BLOCK_COLUMNS);
        for (s.p0 = 0; s.p0 < k; s.p0 += GEMM_RUN) {
            s.run = k - s.p0 < GEMM_RUN ? k - s.p0 : GEMM_RUN;
            s.add = s.p0 > 0 || g->accumulate;
            s.last = s.p0 + s.run == k;
            fac_parallel(fac_chunks(s.j1 - s.j0, NAME(NR)), 4, NAME(stage_pack_b), &s);
            for (s.i0 = 0; s.i0 < m; s.i0 = s.i1) {
                s.i1 = s.i0 + GEMM_PANEL < m ? s.i0 + GEMM_PANEL : m;
                const int64_t blocks = fac_chunks(s.i1 - s.i0, GEMM_BLOCK_ROWS);
                fac_parallel(blocks, 1, NAME(stage_pack_a), &s);
                fac_parallel(blocks * s.blocks, 1, NAME(stage_block), &s);
            }
        }
    }
    fac_host_free(scratch, bytes);
    return FAC_OK;
}
#undef T
#undef INDEX
#undef LANES
#undef NAME
