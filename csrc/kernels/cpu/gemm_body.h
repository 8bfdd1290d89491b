/* gemm_body.h - the product in one real type: included by gemm.c with T, NAME, INDEX (the integer
 * of its size), LANES (how many make a vector) and RUN (products that are summed from zero in one
 * go) defined.
 *
 * The inner tile is a block of up to GEMM_ROWS x 2 vectors of accumulators, one fused multiply-add
 * an element and step of k. Its operands may lie anywhere: A is read by single elements, B by
 * vectors, so that small products need no packing; large ones are packed into panels (A: rows
 * interleaved) and strips (B: two vectors wide) that are read in sequence. A panel stays in the
 * first cache while it passes the strips of a block of B, and these stay in the second.
 *
 * Where A has few rows and the columns of B lie together, the transposed product is computed: then
 * B is what is read by single elements, where it lies. One row is a loop of its own.
 *
 * A complex product is the real product of [[re, -im], [im, re]] (twice the rows, twice k) with
 * [re; im] (twice k); packing spells it so, and the tile is put together again when it is stored.
 */

enum { NAME(VL) = GEMM_BYTES / sizeof(T), NAME(NR) = 2 * NAME(VL), NAME(RUN) = RUN };
typedef NAME(FacVec) NAME(vec);
typedef INDEX NAME(index) __attribute__((vector_size(GEMM_BYTES)));
static const NAME(index) NAME(low) = GEMM_LOW(LANES), NAME(high) = GEMM_HIGH(LANES);

/* Row i of a tile's A, whose rows are r bytes apart and whose row 9 is at `ninth`: written so that few
 * registers address them all. */
static inline T
NAME(element)(const char *a, const char *ninth, int64_t r, int64_t r3, int64_t r5, int64_t r7,
              int i)
{
    const char *const at[] = {a,         a + r,         a + 2 * r,  a + r3,       a + 4 * r,
                              a + r5,    a + 2 * r3,    a + r7,     a + 8 * r,    ninth,
                              ninth + r, ninth + 2 * r, a + 4 * r3, ninth + 4 * r};
    return *(const T *)at[i];
}

/* What comes next: each row of a tile asks for `steps` elements at `at`, from row to row `row` apart. */
typedef struct NAME(Ask) {
    const T *at;
    int64_t row, steps;
} NAME(Ask);
static const NAME(Ask) NAME(nothing);

#define TILE(rows, vecs)                                                                           \
    static void NAME(tile_##rows##_##vecs)(                                                        \
        int64_t k, int64_t lines, const T *a, int64_t a_row, int64_t a_col, int64_t a_skip,        \
        const T *b, int64_t b_row, const int64_t *b_at, T *c, int64_t c_row, bool add)             \
    {                                                                                              \
        NAME(vec) acc[rows][vecs] = {0};                                                           \
        const char *at = (const char *)a;                                                          \
        int64_t r = a_row * (int64_t)sizeof(T), r3 = 3 * r, r5 = 5 * r, r7 = 7 * r;                \
        const char *ninth = at + 9 * r;                                                            \
        __asm__("" : "+r"(r3), "+r"(r5), "+r"(r7), "+r"(ninth));                                   \
        a_col *= (int64_t)sizeof(T);                                                               \
        a_skip *= (int64_t)sizeof(T);                                                              \
        _Pragma("GCC unroll 1")                                                                    \
        for (int i = 0; i < rows; i++) {                                                           \
            __builtin_prefetch(c + i * c_row, 0, 2);                                               \
            if (vecs >= 2) __builtin_prefetch(c + i * c_row + NAME(VL), 0, 2);                     \
        }                                                                                          \
        for (; lines > 0; lines--, at += a_skip, ninth += a_skip) {                                \
            const T *from = b + *b_at++;                                                           \
            for (int64_t p = k; p > 0; p--, at += a_col, ninth += a_col) {                         \
                const NAME(vec) *bv = (const NAME(vec) *)from;                                     \
                _Pragma("GCC unroll 16")                                                           \
                for (int i = 0; i < rows; i++) {                                                   \
                    const T x = NAME(element)(at, ninth, r, r3, r5, r7, i);                        \
                    _Pragma("GCC unroll 3")                                                        \
                    for (int v = 0; v < vecs; v++) acc[i][v] += bv[v] * x;                         \
                }                                                                                  \
                from += b_row;                                                                     \
            }                                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 16")                                                                   \
        for (int i = 0; i < rows; i++) {                                                           \
            _Pragma("GCC unroll 3")                                                                \
            for (int v = 0; v < vecs; v++) {                                                       \
                NAME(vec) *cv = (NAME(vec) *)(c + i * c_row) + v;                                  \
                if (add) acc[i][v] += *cv;                                                         \
                *cv = acc[i][v];                                                                   \
            }                                                                                      \
        }                                                                                          \
    }
#define TILE_WIDE(rows, vecs)                                                                      \
    static void NAME(tile_wide_##rows)(int64_t k, const T *a, int64_t a_row, int64_t a_col,        \
                                       const T *b, int64_t b_row, T *c, int64_t c_row, bool add,   \
                                       const NAME(Ask) * ask)                                      \
    {                                                                                              \
        NAME(vec) acc[rows][vecs] = {0};                                                           \
        const char *at = (const char *)a;                                                          \
        int64_t r = a_row * (int64_t)sizeof(T), r3 = 3 * r, r5 = 5 * r, r7 = 7 * r;                \
        __asm__("" : "+r"(r3), "+r"(r5), "+r"(r7));                                                \
        a_col *= (int64_t)sizeof(T);                                                               \
        const T *from = b, *soon = b + GEMM_AHEAD * b_row;                                         \
        const int64_t share = fac_chunks(k, rows);                                                 \
        _Pragma("GCC unroll 1")                                                                    \
        for (int part = 0; part < rows; part++, k -= share) {                                      \
            const T *c_next = c + part * c_row, *a_next = ask->at + part * ask->row;               \
            _Pragma("GCC unroll 3")                                                                \
            for (int v = 0; v < vecs; v++) __builtin_prefetch(c_next + v * NAME(VL), 0, 2);        \
            for (int64_t p = 0; p < ask->steps; p += 64 / (int64_t)sizeof(T))                      \
                __builtin_prefetch(a_next + p, 0, 2);                                              \
            for (int64_t p = k < share ? k : share; p > 0; p--, at += a_col) {                     \
                const NAME(vec) *bv = (const NAME(vec) *)from;                                     \
                _Pragma("GCC unroll 3")                                                            \
                for (int v = 0; v < vecs; v++) __builtin_prefetch(soon + v * NAME(VL), 0, 3);      \
                _Pragma("GCC unroll 16")                                                           \
                for (int i = 0; i < rows; i++) {                                                   \
                    const T x = NAME(element)(at, at, r, r3, r5, r7, i);                           \
                    _Pragma("GCC unroll 3")                                                        \
                    for (int v = 0; v < vecs; v++) acc[i][v] += bv[v] * x;                         \
                }                                                                                  \
                from += b_row;                                                                     \
                soon += b_row;                                                                     \
            }                                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 16")                                                                   \
        for (int i = 0; i < rows; i++) {                                                           \
            _Pragma("GCC unroll 3")                                                                \
            for (int v = 0; v < vecs; v++) {                                                       \
                NAME(vec) *cv = (NAME(vec) *)(c + i * c_row) + v;                                  \
                if (add) acc[i][v] += *cv;                                                         \
                *cv = acc[i][v];                                                                   \
            }                                                                                      \
        }                                                                                          \
    }
GEMM_HEIGHTS(TILE, 1)
GEMM_HEIGHTS(TILE, 2)
GEMM_WIDE_HEIGHTS(TILE_WIDE)
#undef TILE
#undef TILE_WIDE

#define TILE_ROW(rows, vecs) [rows][vecs] = NAME(tile_##rows##_##vecs),
const NAME(FacTile) FAC_TIERED(NAME(gemm_tile))[GEMM_ROWS + 1][3] = {GEMM_HEIGHTS(TILE_ROW, 1)
                                                                         GEMM_HEIGHTS(TILE_ROW, 2)};
#undef TILE_ROW
/* For large products: the shape that fits more of A into the first cache, and B, which streams out of
 * the second one, is asked for ahead. With every row of steps it asks for a row of C and for a part of
 * what comes after the tile: asked for at once, they would keep B waiting. */
#define TILE_ROW(rows, vecs) [rows] = NAME(tile_wide_##rows),
typedef void (*NAME(TileWide))(int64_t k, const T *a, int64_t a_row, int64_t a_col, const T *b,
                               int64_t b_row, T *c, int64_t c_row, bool add, const NAME(Ask) * ask);
static const NAME(TileWide) NAME(tiles_wide)[GEMM_WIDE_ROWS + 1] = {GEMM_WIDE_HEIGHTS(TILE_ROW)};
#undef TILE_ROW

/* ask: NULL unless the tile is wide. */
static inline void
NAME(tile)(int rows, int vecs, int64_t k, const T *a, int64_t a_row, int64_t a_col, const T *b,
           int64_t b_row, T *c, int64_t c_row, bool add, const NAME(Ask) * ask)
{
    static const int64_t start = 0;
    if (ask && vecs == GEMM_WIDE_VECS)
        NAME(tiles_wide)[rows](k, a, a_row, a_col, b, b_row, c, c_row, add, ask);
    else
        FAC_TIERED(NAME(gemm_tile))
    [rows][vecs](k, 1, a, a_row, a_col, 0, b, b_row, &start, c, c_row, add);
}

/* VL rows of VL elements, `step` apart, to columns: after log2(VL) rounds of interleaving the first
 * half of the vectors with the second, the matrix is transposed. Rows from `valid` on are copies of the
 * last valid one. */
static inline void
NAME(transpose)(const T *from, int64_t step, int valid, NAME(vec) r[])
{
#pragma GCC unroll 16
    for (int i = 0; i < NAME(VL); i++)
        r[i] = *(const NAME(vec) *)(from + (i < valid ? i : valid - 1) * step);
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
    const int64_t covered = NAME(VL) - 1 + fac_chunks(groups * NAME(VL), rows);
    if (groups * NAME(VL) > 4 * rows) return 0;
    for (; p + covered <= k; p += NAME(VL)) {
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
        if (g->a_row == 1 && rows == GEMM_ROWS)
            for (; p < k; p++) memcpy(to + p * GEMM_ROWS, a + p * g->a_col, GEMM_ROWS * sizeof(T));
        if (g->a_row == 1 && rows == GEMM_WIDE_ROWS)
            for (; p < k; p++)
                memcpy(to + p * GEMM_WIDE_ROWS, a + p * g->a_col, GEMM_WIDE_ROWS * sizeof(T));
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

/* A strip whose columns are contiguous in memory: whole blocks by transposing. */
static void
NAME(pack_columns)(const T *b, int64_t col, int64_t columns, int64_t width, int64_t k, T *to)
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

/* k steps, `row` apart, of columns `col` apart: a strip, padded to `width` columns with zeros or with
 * what follows in the matrix. */
static void
NAME(pack_strip)(const T *b, int64_t row, int64_t col, int64_t columns, int64_t width, int64_t k,
                 T *to)
{
    if (row == 1 && col != 1) {
        NAME(pack_columns)(b, col, columns, width, k, to);
        return;
    }
    if (col == 1 && row >= width - columns) {
        const int64_t whole = columns == width ? k : k - 1; /* nothing follows the last row */
        for (int64_t p = 0; p < whole; p++, b += row, to += width)
            for (int64_t j = 0; j < width; j += NAME(VL))
                *(NAME(vec) *)(to + j) = *(const NAME(vec) *)(b + j);
        k -= whole;
    }
    for (int64_t p = 0; p < k; p++, to += width) {
        for (int64_t j = 0; j < columns; j++) to[j] = b[p * row + j * col];
        for (int64_t j = columns; j < width; j++) to[j] = 0;
    }
}

/* One strip of B. */
static void
NAME(pack_b)(const FacGemm *g, int64_t j0, int64_t columns, int64_t width, int64_t p0, int64_t k,
             T *to)
{
    const T *b = g->b;
    const int64_t row = g->b_row, col = g->b_col;
    if (!FAC_IS_COMPLEX(g->dtype)) {
        NAME(pack_strip)(b + j0 * col + p0 * row, row, col, columns, width, k, to);
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
NAME(store)(const FacGemm *g, const T *tile, int64_t width, int64_t i0, int rows, int64_t j0,
            int64_t columns, bool add)
{
    if (!FAC_IS_COMPLEX(g->dtype)) {
        for (int i = 0; i < rows; i++) {
            T *c = (T *)g->c + (i0 + i) * g->c_row + j0;
            const T *from = tile + i * width;
            for (int64_t j = 0; j < columns; j++) c[j] = add ? c[j] + from[j] : from[j];
        }
        return;
    }
    for (int i = 0; i < rows; i += 2) {
        T *c = (T *)g->c + (i0 + i) * g->c_row + 2 * j0;
        const T *re = tile + i * width, *im = re + width;
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
               bool add, const NAME(Ask) * ask)
{
    const int64_t width = vecs * NAME(VL);
    if (!FAC_IS_COMPLEX(g->dtype) && columns == width) {
        T *c = (T *)g->c + i0 * g->c_row + j0;
        NAME(tile)(rows, vecs, k, a, a_row, a_col, b, b_row, c, g->c_row, add, ask);
        return;
    }
    T tile[GEMM_ROWS * NAME(NR)];
    NAME(tile)(rows, vecs, k, a, a_row, a_col, b, b_row, tile, width, false, ask);
    NAME(store)(g, tile, width, i0, rows, j0, columns, add);
}

static inline void
NAME(add_number)(T *c, T x, int64_t n)
{
    for (int64_t j = 0; j < n; j++) c[j] += x;
}

/* C = alpha * C + beta * D over a block of C. */
static void
NAME(combine)(const FacGemm *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1)
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
            else if (!g->scale && g->add_col == 0)
                NAME(add_number)(c + j0, d[0], j1 - j0);
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

/* What happens to a block of C when its sums are there. */
static void
NAME(finish)(const FacGemm *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1)
{
    const int64_t part = FAC_IS_COMPLEX(g->dtype) ? 2 : 1;
    NAME(combine)(g, i0, i1, j0, j1);
    if (!g->hit) return;
    for (int64_t i = i0; i < i1; i++) {
        const T *c = (const T *)g->c + (i * g->c_row + j0) * part;
        if (!FAC_TIERED(all_finite)(fac_dtype_info[g->dtype].real, c, (j1 - j0) * part))
            atomic_store_explicit(g->hit, true, memory_order_relaxed);
    }
}

/* --- one row ----------------------------------------------------------------------------------------- */

/* B by rows: sums of a piece of the columns stay in the first cache while rows of B pass. */
static void
NAME(row_by_rows)(const FacGemm *g)
{
    enum { PIECE = 8192 / sizeof(T) };
    T sums[PIECE] __attribute__((aligned(64)));
    for (int64_t j0 = 0; j0 < g->n; j0 += PIECE) {
        const int64_t n = g->n - j0 < PIECE ? g->n - j0 : PIECE;
        T *c = (T *)g->c + j0;
        for (int64_t p0 = 0; p0 < g->k; p0 += RUN) {
            const T *a = (const T *)g->a + p0 * g->a_col, *b = (const T *)g->b + p0 * g->b_row + j0;
            int64_t run = g->k - p0 < RUN ? g->k - p0 : RUN;
            memset(sums, 0, (size_t)n * sizeof(T));
            for (; run >= 4; run -= 4, a += 4 * g->a_col, b += 4 * g->b_row) {
                const T a0 = a[0], a1 = a[g->a_col], a2 = a[2 * g->a_col], a3 = a[3 * g->a_col];
                const T *b1 = b + g->b_row, *b2 = b1 + g->b_row, *b3 = b2 + g->b_row;
                for (int64_t j = 0; j < n; j++) {
                    T sum = sums[j] + a0 * b[j];
                    sum = sum + a1 * b1[j];
                    sum = sum + a2 * b2[j];
                    sums[j] = sum + a3 * b3[j];
                }
            }
            for (; run > 0; run--, a += g->a_col, b += g->b_row)
                for (int64_t j = 0; j < n; j++) sums[j] = sums[j] + a[0] * b[j];
            if (p0 > 0 || g->accumulate)
                for (int64_t j = 0; j < n; j++) c[j] += sums[j];
            else
                memcpy(c, sums, (size_t)n * sizeof(T));
        }
    }
}

/* B by columns: blocks of VL x VL are transposed in registers, and used up there. */
static void
NAME(row_by_columns)(const FacGemm *g)
{
    NAME(vec) r[NAME(VL)];
    for (int64_t j = 0; j < g->n; j += NAME(VL)) {
        const int valid = g->n - j < NAME(VL) ? (int)(g->n - j) : NAME(VL);
        const T *a = g->a, *b = (const T *)g->b + j * g->b_col;
        T *c = (T *)g->c + j;
        NAME(vec) total = {0};
        if (g->accumulate) memcpy(&total, c, (size_t)valid * sizeof(T));
        for (int64_t p0 = 0; p0 < g->k; p0 += RUN) {
            const int64_t end = g->k - p0 < RUN ? g->k : p0 + RUN;
            NAME(vec) sum = {0};
            int64_t p = p0;
            for (; p + NAME(VL) <= end; p += NAME(VL)) {
                NAME(transpose)(b + p, g->b_col, valid, r);
#pragma GCC unroll 16
                for (int i = 0; i < NAME(VL); i++) sum += r[i] * a[(p + i) * g->a_col];
            }
            for (; p < end; p++) {
                T column[NAME(VL)] = {0};
                for (int i = 0; i < valid; i++) column[i] = b[i * g->b_col + p];
                sum += *(NAME(vec) *)column * a[p * g->a_col];
            }
            if (p0 > 0 || g->accumulate) sum += total;
            total = sum;
        }
        memcpy(c, &total, (size_t)valid * sizeof(T));
    }
}

/* --- small products, and those inside of tasks ---------------------------------------------------------- */

/* Few rows of A, columns of B together: the tile's rows are columns of B where they lie, its columns
 * rows of A. */
static void
NAME(serial_turned)(const FacGemm *g)
{
    T strip[RUN * NAME(NR)] __attribute__((aligned(64))), tile[GEMM_ROWS * NAME(NR)];
    for (int64_t i0 = 0; i0 < g->m; i0 += NAME(NR))
        for (int64_t p0 = 0; p0 < g->k; p0 += RUN) {
            const int64_t run = g->k - p0 < RUN ? g->k - p0 : RUN;
            const int64_t m = g->m - i0 < NAME(NR) ? g->m - i0 : NAME(NR);
            const int vecs = m > NAME(VL) ? 2 : 1;
            const bool add = p0 > 0 || g->accumulate;
            NAME(pack_strip)((const T *)g->a + i0 * g->a_row + p0 * g->a_col, g->a_col, g->a_row, m,
                             vecs * NAME(VL), run, strip);
            for (int64_t j = 0; j < g->n;) {
                const int rows = gemm_height(g->n - j, false);
                const T *b = (const T *)g->b + j * g->b_col + p0 * g->b_row;
                NAME(tile)(rows, vecs, run, b, g->b_col, g->b_row, strip, vecs * NAME(VL), tile,
                           NAME(NR), false, NULL);
                for (int64_t i = 0; i < m; i++) {
                    T *c = (T *)g->c + (i0 + i) * g->c_row + j;
                    for (int r = 0; r < rows; r++)
                        c[r] = add ? c[r] + tile[r * NAME(NR) + i] : tile[r * NAME(NR) + i];
                }
                j += rows;
            }
        }
}

/* Strips of B through a buffer on the stack, or where they lie if they are read once or twice or lie
 * close together: at large strides their rows would drive each other out of the cache. The same for
 * the panels of A. */
static void
NAME(serial_blocks)(const FacGemm *g)
{
    T strip[RUN * GEMM_WIDE_VECS * NAME(VL)] __attribute__((aligned(64)));
    T panels[GEMM_THIN * RUN + NAME(VL)] __attribute__((aligned(64)));
    const bool complex = FAC_IS_COMPLEX(g->dtype);
    const int64_t m = complex ? 2 * g->m : g->m, k = complex ? 2 * g->k : g->k;
    const bool close_b = k * g->b_row * (int64_t)sizeof(T) <= GEMM_CLOSE;
    const bool near_b = m <= GEMM_THIN || close_b;
    const bool near_a = g->n <= NAME(NR) || GEMM_ROWS * g->a_row * (int64_t)sizeof(T) <= GEMM_CLOSE;
    const bool b_in_place = !complex && g->b_col == 1 && near_b;
    const bool a_in_place = !complex && near_a && (g->a_col == 1 || g->a_row == 1);
    const bool wide = b_in_place && !close_b && g->n >= GEMM_WIDE_VECS * NAME(VL);
    const int64_t most = wide ? GEMM_WIDE_VECS * NAME(VL) : NAME(NR);
    const int64_t block = wide ? GEMM_THIN : GEMM_SERIAL_ROWS;
    const int high = wide ? GEMM_WIDE_ROWS : GEMM_ROWS;
    for (int64_t p0 = 0; p0 < k; p0 += RUN)
        for (int64_t i0 = 0, i1; i0 < m; i0 = i1) {
            const int64_t run = k - p0 < RUN ? k - p0 : RUN;
            i1 = a_in_place || i0 + block > m ? m : i0 + block;
            for (int64_t i = i0; i < i1 && !a_in_place;) {
                const int rows = gemm_panel(i1 - i, high, complex);
                NAME(pack_a)(g, i, rows, p0, run, panels + (i - i0) * run);
                i += rows;
            }
            for (int64_t j0 = 0; j0 < g->n; j0 += most) {
                const int64_t left = g->n - j0, columns = left < most ? left : most;
                const int vecs = (int)fac_chunks(columns, NAME(VL));
                const int64_t width = vecs * NAME(VL);
                const bool packed = !b_in_place || columns != width;
                const T *b = packed ? strip : (const T *)g->b + j0 + p0 * g->b_row;
                if (packed) NAME(pack_b)(g, j0, columns, width, p0, run, strip);
                for (int64_t i = i0; i < i1;) {
                    const int rows = gemm_panel(i1 - i, high, complex);
                    const T *a = a_in_place ? (const T *)g->a + i * g->a_row + p0 * g->a_col
                                            : panels + (i - i0) * run;
                    NAME(run_tile)(g, rows, vecs, run, a, a_in_place ? g->a_row : 1,
                                   a_in_place ? g->a_col : rows, b, packed ? width : g->b_row, i,
                                   j0, columns, p0 > 0 || g->accumulate,
                                   wide ? &NAME(nothing) : NULL);
                    i += rows;
                }
            }
        }
}

static void
NAME(serial)(const FacGemm *g)
{
    const bool plain = !FAC_IS_COMPLEX(g->dtype);
    const bool columns = plain && g->b_row == 1 && g->b_col != 1;
    if (g->k == 0) {
        if (!g->accumulate)
            for (int64_t i = 0; i < g->m; i++)
                memset((char *)g->c + i * g->c_row * fac_dtype_size(g->dtype), 0,
                       (size_t)(g->n * fac_dtype_size(g->dtype)));
    } else if (plain && g->m == 1 && g->b_col == 1) {
        NAME(row_by_rows)(g);
    } else if (columns && g->m == 1) {
        NAME(row_by_columns)(g);
    } else if (columns && g->m >= GEMM_TURNED && g->m <= GEMM_THIN) {
        NAME(serial_turned)(g);
    } else {
        NAME(serial_blocks)(g);
    }
    NAME(finish)(g, 0, g->m, 0, g->n);
}

/* --- large products ------------------------------------------------------------------------------------- */

/* A stage: rows [i0, i1) and columns [j0, j1) of C, steps [p0, p0 + run). B is packed first, a few strips
 * a task; then a task is `width` columns of GEMM_BLOCK_ROWS rows. The panels of A are packed in front of
 * all stages that share them or, with one stage, by the task that needs them, or are read in place. */
typedef struct NAME(Stage) {
    const FacGemm *g;
    int64_t i0, i1, j0, j1, p0, run, width;
    int64_t strip; /* columns */
    int rows;      /* of a panel, at most */
    bool wide, add, last, a_in_place, b_in_place;
    T *a, *b; /* packed; a: NULL where A is packed by the tasks or not at all */
} NAME(Stage);

/* Whole strips of rows in memory, side by side: long pieces of a row are read at once. */
static void
NAME(pack_strips)(const T *b, int64_t row, int64_t strips, int64_t width, int64_t k, T *to)
{
    for (int64_t p = 0; p < k; p++, b += row, to += width)
        for (int64_t i = 0; i < strips; i++) {
            const NAME(vec) *from = (const NAME(vec) *)(b + i * width);
            NAME(vec) *at = (NAME(vec) *)(to + i * k * width);
            for (int64_t v = 0; v < width / NAME(VL); v++) at[v] = from[v];
        }
}

static void
NAME(stage_pack)(int64_t task, int64_t end, void *context)
{
    const NAME(Stage) *s = context;
    int64_t j = s->j0 + task * GEMM_PACK_STRIPS * s->strip;
    const int64_t most = s->j0 + end * GEMM_PACK_STRIPS * s->strip,
                  j1 = most < s->j1 ? most : s->j1;
    const FacGemm *g = s->g;
    if (s->b_in_place) {
        j += (j1 - j) / s->strip * s->strip; /* only what does not fill a strip */
    } else if (g->b_col == 1 && !FAC_IS_COMPLEX(g->dtype)) {
        const int64_t strips = (j1 - j) / s->strip;
        NAME(pack_strips)((const T *)g->b + s->p0 * g->b_row + j, g->b_row, strips, s->strip,
                          s->run, s->b + (j - s->j0) * s->run);
        j += strips * s->strip;
    }
    for (; j < j1; j += s->strip) {
        const int64_t columns = j1 - j < s->strip ? j1 - j : s->strip;
        const int64_t width = fac_chunks(columns, NAME(VL)) * NAME(VL);
        NAME(pack_b)(g, j, columns, width, s->p0, s->run, s->b + (j - s->j0) * s->run);
    }
}

/* Packs blocks of rows of A, panel after panel, for all blocks of B. */
static void
NAME(stage_pack_a)(int64_t task, int64_t end, void *context)
{
    const NAME(Stage) *s = context;
    for (; task < end; task++) {
        const int64_t i0 = s->i0 + task * GEMM_BLOCK_ROWS;
        const int64_t i1 = i0 + GEMM_BLOCK_ROWS < s->i1 ? i0 + GEMM_BLOCK_ROWS : s->i1;
        for (int64_t i = i0; i < i1;) {
            const int rows = gemm_panel(i1 - i, s->rows, FAC_IS_COMPLEX(s->g->dtype));
            NAME(pack_a)(s->g, i, rows, s->p0, s->run, s->a + (i - s->i0) * s->run);
            i += rows;
        }
    }
}

static void
NAME(block)(const NAME(Stage) * s, int64_t i0, int64_t i1, int64_t j0, int64_t j1)
{
    T panel[GEMM_ROWS * RUN + NAME(VL)] __attribute__((aligned(64)));
    const FacGemm *g = s->g;
    const bool complex = FAC_IS_COMPLEX(g->dtype), readable = !complex && g->a_col == 1;
    /* steps of the next panel, whole lines, that are asked for in front of each tile */
    const int64_t line = 64 / sizeof(T), strips = fac_chunks(j1 - j0, s->strip);
    const int64_t share = fac_chunks(s->run, line * strips) * line;
    for (int64_t i = i0; i < i1;) {
        const int rows = gemm_panel(i1 - i, s->rows, complex);
        const T *a = panel, *next = NULL;
        int64_t next_row = g->a_row, asked = 0;
        if (s->a_in_place)
            a = (const T *)g->a + i * g->a_row + s->p0 * g->a_col;
        else if (s->a)
            a = s->a + (i - s->i0) * s->run;
        else
            NAME(pack_a)(g, i, rows, s->p0, s->run, panel);
        if (strips < GEMM_FEW_STRIPS || i + rows == s->i1) {
            next = NULL; /* all at once would stand in the way of the tile */
        } else if (s->a) {
            next = a + rows * s->run;
            next_row = s->run;
        } else if (readable) {
            next = (const T *)g->a + (i + rows) * g->a_row + s->p0;
        }
        for (int64_t j = j0; j < j1; j += s->strip) {
            const int64_t columns = j1 - j < s->strip ? j1 - j : s->strip;
            const int vecs = (int)fac_chunks(columns, NAME(VL));
            const T *b = s->b + (j - s->j0) * s->run;
            int64_t b_row = vecs * NAME(VL);
            if (s->b_in_place && columns == b_row) {
                b = (const T *)g->b + s->p0 * g->b_row + j;
                b_row = g->b_row;
            }
            NAME(Ask) ask = NAME(nothing);
            if (next && asked < s->run) {
                const int64_t end = asked + share < s->run ? asked + share : s->run;
                ask = (NAME(Ask)){next + asked, next_row, end - asked};
                asked = end;
            }
            NAME(run_tile)(g, rows, vecs, s->run, a, s->a_in_place ? g->a_row : 1,
                           s->a_in_place ? g->a_col : rows, b, b_row, i, j, columns, s->add,
                           s->wide ? &ask : NULL);
        }
        i += rows;
    }
    if (s->last) NAME(finish)(g, complex ? i0 / 2 : i0, complex ? i1 / 2 : i1, j0, j1);
}

static void
NAME(stage_blocks)(int64_t task, int64_t end, void *context)
{
    const NAME(Stage) *s = context;
    const int64_t blocks = fac_chunks(s->i1 - s->i0, GEMM_BLOCK_ROWS);
    for (; task < end; task++) {
        const int64_t i0 = s->i0 + task % blocks * GEMM_BLOCK_ROWS, i1 = i0 + GEMM_BLOCK_ROWS;
        const int64_t j0 = s->j0 + task / blocks * s->width, j1 = j0 + s->width;
        NAME(block)(s, i0, i1 < s->i1 ? i1 : s->i1, j0, j1 < s->j1 ? j1 : s->j1);
    }
}

/* How many columns of B make a block: a part of the second cache, in equal blocks. */
static int64_t
NAME(block_columns)(int64_t n, int64_t strip)
{
    const int64_t most = fac_cpu_cache(2) / 2 / (RUN * (int64_t)sizeof(T) * strip);
    const int64_t strips = fac_chunks(n, strip);
    return fac_chunks(strips, fac_chunks(strips, most < 4 ? 4 : most)) * strip;
}

static FacStatus
NAME(parallel)(const FacGemm *g)
{
    const int64_t part = FAC_IS_COMPLEX(g->dtype) ? 2 : 1, m = g->m * part, k = g->k * part;
    const bool wide = g->n > 4 * NAME(VL);
    const int64_t strip = wide ? GEMM_WIDE_VECS * NAME(VL) : NAME(NR);
    const int64_t width = NAME(block_columns)(g->n, strip), blocks = fac_chunks(g->n, width);
    const bool a_in_place =
        part == 1 && g->a_col == 1 && GEMM_ROWS * g->a_row * (int64_t)sizeof(T) <= GEMM_CLOSE;
    const bool b_in_place =
        part == 1 && g->b_col == 1 && k * g->b_row * (int64_t)sizeof(T) <= fac_cpu_cache(2) / 2;
    const bool ahead = blocks > 1 && !a_in_place;
    const int64_t high = ahead && m > GEMM_HIGH ? GEMM_HIGH : m;
    const int64_t tasks = fac_chunks(high, GEMM_BLOCK_ROWS), run = k < RUN ? k : RUN;
    const int64_t step = fac_chunks(blocks, fac_chunks(blocks * tasks, GEMM_TASKS)) * width;
    const size_t bytes = (size_t)((step + (ahead ? high : 0)) * run) * sizeof(T);
    void *scratch;
    FAC_RETURN_IF_ERROR(fac_host_alloc(bytes, &scratch));
    NAME(Stage) s = {.g = g, .width = width, .b = scratch};
    s.wide = wide;
    s.strip = strip;
    s.rows = wide ? GEMM_WIDE_ROWS : GEMM_ROWS;
    s.a_in_place = a_in_place;
    s.b_in_place = b_in_place;
    if (ahead) s.a = s.b + step * run;
    for (s.p0 = 0; s.p0 < k; s.p0 += RUN) {
        s.run = k - s.p0 < RUN ? k - s.p0 : RUN;
        s.add = s.p0 > 0 || g->accumulate;
        s.last = s.p0 + s.run == k;
        for (s.i0 = 0; s.i0 < m; s.i0 = s.i1) {
            s.i1 = s.i0 + high < m ? s.i0 + high : m;
            const int64_t high_blocks = fac_chunks(s.i1 - s.i0, GEMM_BLOCK_ROWS);
            if (ahead) fac_parallel(high_blocks, 1, NAME(stage_pack_a), &s);
            for (s.j0 = 0; s.j0 < g->n; s.j0 = s.j1) {
                s.j1 = s.j0 + step < g->n ? s.j0 + step : g->n;
                fac_parallel(fac_chunks(s.j1 - s.j0, GEMM_PACK_STRIPS * strip), 1, NAME(stage_pack),
                             &s);
                fac_parallel(high_blocks * fac_chunks(s.j1 - s.j0, width), 1, NAME(stage_blocks),
                             &s);
            }
        }
    }
    fac_host_free(scratch, bytes);
    return FAC_OK;
}
#undef T
#undef INDEX
#undef LANES
#undef RUN
#undef NAME
