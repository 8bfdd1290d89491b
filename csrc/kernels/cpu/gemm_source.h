/* gemm_source.h - how products read their operands: included by gemm_body.h once a type in memory, with
 * S (that type), LOAD(p) (a vector of T from as many of S), GET(x) (the same for one) and FROM (a name
 * with the type's suffix) defined, and PARTS: 1 for A, 2 for B as well, 3 for products of one row, too.
 *
 * What is packed is of type T: halves and bytes are converted on the way, so that no operand is ever
 * converted as a whole. Strides count elements of S.
 */

/* VL rows of VL elements, `step` apart, to columns. Rows from `valid` on are copies of the last valid
 * one. */
static inline void
FROM(transpose)(const S *from, int64_t step, int valid, NAME(vec) r[])
{
#pragma GCC unroll 16
    for (int i = 0; i < NAME(VL); i++) r[i] = LOAD(from + (i < valid ? i : valid - 1) * step);
    NAME(turn)(r);
}

/* The part of a panel of row-major A that blocks of VL steps cover; returns how many steps. The
 * vectors of a step are wider than the panel: the next step overwrites what is too much, so the last
 * steps are left to the caller. */
static int64_t
FROM(pack_a_blocks)(const S *a, int64_t a_row, int rows, int64_t k, T *to)
{
    NAME(vec) r[GEMM_ROWS / NAME(VL) + 1][NAME(VL)];
    const int groups = (rows + NAME(VL) - 1) / NAME(VL);
    int64_t p = 0;
    const int64_t covered = NAME(VL) - 1 + fac_chunks(groups * NAME(VL), rows);
    if (groups * NAME(VL) > 4 * rows) return 0;
    for (; p + covered <= k; p += NAME(VL)) {
        for (int g = 0; g < groups; g++) {
            const int valid = rows - g * NAME(VL);
            FROM(transpose)(a + g * NAME(VL) * a_row + p, a_row, valid, r[g]);
        }
        for (int step = 0; step < NAME(VL); step++)
            for (int g = 0; g < groups; g++)
                *(NAME(vec) *)(to + (p + step) * rows + g * NAME(VL)) = r[g][step];
    }
    return p;
}

/* The same where A lies by columns. A step reads on into the next column, so it must be near. */
static int64_t
FROM(pack_a_columns)(const S *a, int64_t a_col, int rows, int64_t k, T *to)
{
    const int64_t wide = fac_chunks(rows, NAME(VL)) * NAME(VL);
    int64_t p = 0;
    if (a_col < wide - rows) return 0;
    for (; p + 1 < k && p * rows + wide <= k * rows; p++)
        for (int64_t i = 0; i < wide; i += NAME(VL))
            *(NAME(vec) *)(to + p * rows + i) = LOAD(a + p * a_col + i);
    return p;
}

/* k of one row panel of A, from row i0 and step p0, as the tile reads it: rows side by side. */
static void
FROM(pack_a)(const FacGemm *g, int64_t i0, int rows, int64_t p0, int64_t k, T *to)
{
    const S *a = (const S *)g->a + i0 * g->a_row + p0 * g->a_col;
    int64_t p = 0;
    if (g->a_col == 1)
        p = FROM(pack_a_blocks)(a, g->a_row, rows, k, to);
    else if (g->a_row == 1)
        p = FROM(pack_a_columns)(a, g->a_col, rows, k, to);
    for (to += p * rows; p < k; p++, to += rows)
        for (int i = 0; i < rows; i++) to[i] = GET(a[i * g->a_row + p * g->a_col]);
}

#if PARTS > 1
/* A strip whose columns are contiguous in memory: whole blocks by transposing. */
static void
FROM(pack_columns)(const S *b, int64_t col, int64_t columns, int64_t width, int64_t k, T *to)
{
    NAME(vec) r[NAME(VL)];
    const int64_t blocks = k / NAME(VL) * NAME(VL);
    for (int64_t j = 0; j < width; j += NAME(VL)) {
        const int valid = columns - j < NAME(VL) ? (int)(columns - j) : NAME(VL);
        for (int64_t p = 0; p < blocks; p += NAME(VL)) {
            FROM(transpose)(b + j * col + p, col, valid, r);
            for (int i = 0; i < NAME(VL); i++) *(NAME(vec) *)(to + (p + i) * width + j) = r[i];
        }
        for (int64_t p = blocks; p < k; p++)
            for (int i = 0; i < NAME(VL); i++)
                to[p * width + j + i] = i < valid ? GET(b[(j + i) * col + p]) : 0;
    }
}

/* k steps, `row` apart, of columns `col` apart: a strip, padded to `width` columns with zeros or with
 * what follows in the matrix. */
static void
FROM(pack_strip)(const S *b, int64_t row, int64_t col, int64_t columns, int64_t width, int64_t k,
                 T *to)
{
    if (row == 1 && col != 1) {
        FROM(pack_columns)(b, col, columns, width, k, to);
        return;
    }
    if (col == 1 && row >= width - columns) {
        const int64_t whole = columns == width ? k : k - 1; /* nothing follows the last row */
        for (int64_t p = 0; p < whole; p++, b += row, to += width)
            for (int64_t j = 0; j < width; j += NAME(VL)) *(NAME(vec) *)(to + j) = LOAD(b + j);
        k -= whole;
    }
    for (int64_t p = 0; p < k; p++, to += width) {
        for (int64_t j = 0; j < columns; j++) to[j] = GET(b[p * row + j * col]);
        for (int64_t j = columns; j < width; j++) to[j] = 0;
    }
}

/* One strip of B. */
static void
FROM(pack_b)(const FacGemm *g, int64_t j0, int64_t columns, int64_t width, int64_t p0, int64_t k,
             T *to)
{
    FROM(pack_strip)((const S *)g->b + j0 * g->b_col + p0 * g->b_row, g->b_row, g->b_col, columns,
                     width, k, to);
}

/* Whole strips of B, whose rows lie in memory, side by side: long pieces of a row are read at once. */
static void
FROM(pack_strips)(const FacGemm *g, int64_t j0, int64_t strips, int64_t width, int64_t p0,
                  int64_t k, T *to)
{
    const S *b = (const S *)g->b + j0 + p0 * g->b_row;
    for (int64_t p = 0; p < k; p++, b += g->b_row, to += width)
        for (int64_t i = 0; i < strips; i++)
            for (int64_t v = 0; v < width; v += NAME(VL)) {
                __builtin_prefetch(b + 4 * g->b_row + i * width + v);
                *(NAME(vec) *)(to + i * k * width + v) = LOAD(b + i * width + v);
            }
}

#endif

#if PARTS > 2
/* One row, B by rows: sums of a piece of the columns stay in the first cache while rows of B pass. */
static void
FROM(row_by_rows)(const FacGemm *g)
{
    enum { PIECE = 8192 / sizeof(T) };
    T sums[PIECE] __attribute__((aligned(64)));
    for (int64_t j0 = 0; j0 < g->n; j0 += PIECE) {
        const int64_t n = g->n - j0 < PIECE ? g->n - j0 : PIECE;
        T *c = (T *)g->c + j0;
        for (int64_t p0 = 0; p0 < g->k; p0 += RUN) {
            const S *a = (const S *)g->a + p0 * g->a_col, *b = (const S *)g->b + p0 * g->b_row + j0;
            int64_t run = g->k - p0 < RUN ? g->k - p0 : RUN;
            memset(sums, 0, (size_t)n * sizeof(T));
            for (; run >= 4; run -= 4, a += 4 * g->a_col, b += 4 * g->b_row) {
                const T a0 = GET(a[0]), a1 = GET(a[g->a_col]), a2 = GET(a[2 * g->a_col]),
                        a3 = GET(a[3 * g->a_col]);
                const S *b1 = b + g->b_row, *b2 = b1 + g->b_row, *b3 = b2 + g->b_row;
                int64_t j = 0;
                for (; j + NAME(VL) <= n; j += NAME(VL)) {
                    NAME(vec) sum = *(NAME(vec) *)(sums + j);
                    sum += LOAD(b + j) * a0;
                    sum += LOAD(b1 + j) * a1;
                    sum += LOAD(b2 + j) * a2;
                    sum += LOAD(b3 + j) * a3;
                    *(NAME(vec) *)(sums + j) = sum;
                }
                for (; j < n; j++) {
                    T sum = sums[j] + a0 * GET(b[j]);
                    sum = sum + a1 * GET(b1[j]);
                    sum = sum + a2 * GET(b2[j]);
                    sums[j] = sum + a3 * GET(b3[j]);
                }
            }
            for (; run > 0; run--, a += g->a_col, b += g->b_row)
                for (int64_t j = 0; j < n; j++) sums[j] = sums[j] + GET(a[0]) * GET(b[j]);
            if (p0 > 0 || g->accumulate)
                for (int64_t j = 0; j < n; j++) c[j] += sums[j];
            else
                memcpy(c, sums, (size_t)n * sizeof(T));
        }
    }
}

/* One row, B by columns: blocks of VL x VL are transposed in registers, and used up there. */
static void
FROM(row_by_columns)(const FacGemm *g)
{
    NAME(vec) r[NAME(VL)];
    for (int64_t j = 0; j < g->n; j += NAME(VL)) {
        const int valid = g->n - j < NAME(VL) ? (int)(g->n - j) : NAME(VL);
        const S *a = g->a, *b = (const S *)g->b + j * g->b_col;
        T *c = (T *)g->c + j;
        NAME(vec) total = {0};
        if (g->accumulate) memcpy(&total, c, (size_t)valid * sizeof(T));
        for (int64_t p0 = 0; p0 < g->k; p0 += RUN) {
            const int64_t end = g->k - p0 < RUN ? g->k : p0 + RUN;
            NAME(vec) sum = {0};
            int64_t p = p0;
            for (; p + NAME(VL) <= end; p += NAME(VL)) {
                FROM(transpose)(b + p, g->b_col, valid, r);
#pragma GCC unroll 16
                for (int i = 0; i < NAME(VL); i++) sum += r[i] * GET(a[(p + i) * g->a_col]);
            }
            for (; p < end; p++) {
                T column[NAME(VL)] = {0};
                for (int i = 0; i < valid; i++) column[i] = GET(b[i * g->b_col + p]);
                sum += *(NAME(vec) *)column * GET(a[p * g->a_col]);
            }
            if (p0 > 0 || g->accumulate) sum += total;
            total = sum;
        }
        memcpy(c, &total, (size_t)valid * sizeof(T));
    }
}
#endif
#undef PARTS
#undef S
#undef LOAD
#undef GET
#undef FROM
