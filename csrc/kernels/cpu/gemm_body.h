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

#include "kernels/cpu/gemm_form.h"
#if defined(GEMM_NARROW) /* gemm_narrow.c */
const NAME(Form) * FAC_TIERED(gemm_narrow)(FacDType dtype);
/* n halves, `step` apart, as float32; and back, rounded. */
void FAC_TIERED(gemm_widen)(FacDType dtype, const uint16_t *from, int64_t step, int64_t n,
                            float *to);
void FAC_TIERED(gemm_round)(FacDType dtype, const float *from, int64_t n, uint16_t *to);
#endif

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
                                       int64_t ahead)                                              \
    {                                                                                              \
        NAME(vec) acc[rows][vecs] = {0};                                                           \
        const char *at = (const char *)a;                                                          \
        int64_t r = a_row * (int64_t)sizeof(T), r3 = 3 * r, r5 = 5 * r, r7 = 7 * r;                \
        __asm__("" : "+r"(r3), "+r"(r5), "+r"(r7));                                                \
        a_col *= (int64_t)sizeof(T);                                                               \
        _Pragma("GCC unroll 1")                                                                    \
        for (int i = 0; i < rows; i++) {                                                           \
            _Pragma("GCC unroll 4")                                                                \
            for (int v = 0; v < vecs; v++) __builtin_prefetch(c + i * c_row + v * NAME(VL), 0, 2); \
        }                                                                                          \
        for (const T *from = b, *soon = b + ahead * b_row; k > 0; k--, at += a_col) {              \
            const NAME(vec) *bv = (const NAME(vec) *)from;                                         \
            _Pragma("GCC unroll 4")                                                                \
            for (int v = 0; v < vecs; v++) __builtin_prefetch(soon + v * NAME(VL), 0, 3);          \
            _Pragma("GCC unroll 16")                                                               \
            for (int i = 0; i < rows; i++) {                                                       \
                const T x = NAME(element)(at, at, r, r3, r5, r7, i);                               \
                _Pragma("GCC unroll 4")                                                            \
                for (int v = 0; v < vecs; v++) acc[i][v] += bv[v] * x;                             \
            }                                                                                      \
            from += b_row;                                                                         \
            soon += b_row;                                                                         \
        }                                                                                          \
        _Pragma("GCC unroll 16")                                                                   \
        for (int i = 0; i < rows; i++) {                                                           \
            _Pragma("GCC unroll 4")                                                                \
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
/* For products whose B streams out of the second cache, `ahead` steps in advance: few rows, whose panel
 * of A leaves most of the first cache to what passes, and many columns. */
#define TILE_ROW(rows, vecs) [rows] = NAME(tile_wide_##rows),
typedef void (*NAME(TileWide))(int64_t k, const T *a, int64_t a_row, int64_t a_col, const T *b,
                               int64_t b_row, T *c, int64_t c_row, bool add, int64_t ahead);
static const NAME(TileWide) NAME(tiles_wide)[GEMM_WIDE_ROWS + 1] = {GEMM_WIDE_HEIGHTS(TILE_ROW)};
#undef TILE_ROW

/* ahead: 0 unless a strip may be wide. */
static inline void
NAME(tile)(int rows, int vecs, int64_t k, const T *a, int64_t a_row, int64_t a_col, const T *b,
           int64_t b_row, T *c, int64_t c_row, bool add, int64_t ahead)
{
    static const int64_t start = 0;
    if (ahead && vecs == GEMM_WIDE_VECS) {
        NAME(tiles_wide)[rows](k, a, a_row, a_col, b, b_row, c, c_row, add, ahead);
        return;
    }
    for (; vecs > 0; vecs -= 2, b += NAME(NR), c += NAME(NR)) {
        const NAME(FacTile) *tiles = FAC_TIERED(NAME(gemm_tile))[rows];
        tiles[vecs < 2 ? vecs : 2](k, 1, a, a_row, a_col, 0, b, b_row, &start, c, c_row, add);
    }
}

/* --- reading ------------------------------------------------------------------------------------------- */

#define S T
#define LOAD(p) (*(const NAME(vec) *)(p))
#define GET(x) (x)
#define FROM(name) NAME(name##_plain)
#define PARTS 3
#include "kernels/cpu/gemm_source.h"

/* i0 and p0 count halves of complex numbers: as offsets in Ts they are right as they are. */
static void
NAME(pack_a_complex)(const FacGemm *g, int64_t i0, int rows, int64_t p0, int64_t k, T *to)
{
    const T *a = (const T *)g->a + i0 * g->a_row + p0 * g->a_col;
    for (int64_t p = 0; p < k; p += 2, to += 2 * rows)
        for (int i = 0; i < rows; i += 2) {
            const T *z = a + i * g->a_row + p * g->a_col;
            to[i] = z[0];
            to[i + 1] = z[1];
            to[rows + i] = -z[1];
            to[rows + i + 1] = z[0];
        }
}

static void
NAME(pack_b_complex)(const FacGemm *g, int64_t j0, int64_t columns, int64_t width, int64_t p0,
                     int64_t k, T *to)
{
    const T *b = (const T *)g->b + 2 * j0 * g->b_col + p0 * g->b_row;
    for (int64_t p = 0; p < k; p += 2, to += 2 * width)
        for (int64_t j = 0; j < width; j++) {
            const T *z = b + p * g->b_row + 2 * j * g->b_col;
            to[j] = j < columns ? z[0] : 0;
            to[width + j] = j < columns ? z[1] : 0;
        }
}

static const NAME(Form) * NAME(form)(const FacGemm *g)
{
    static const NAME(Form) plain = {true,
                                     NAME(pack_a_plain),
                                     NAME(pack_b_plain),
                                     NAME(pack_strips_plain),
                                     NAME(row_by_rows_plain),
                                     NAME(row_by_columns_plain)};
    static const NAME(Form)
        complex = {false, NAME(pack_a_complex), NAME(pack_b_complex), NULL, NULL, NULL};
    if (FAC_IS_COMPLEX(g->dtype)) return &complex;
#if defined(GEMM_NARROW)
    if (g->dtype != FAC_DT_F32) return FAC_TIERED(gemm_narrow)(g->dtype);
#endif
    return &plain;
}

/* --- results ------------------------------------------------------------------------------------------- */

/* Adds a finished tile to C where it does not fit there as it is. Rows are real rows. */
GEMM_LOOPS static void
NAME(store)(const FacGemm *g, const T *tile, int64_t width, int64_t i0, int rows, int64_t j0,
            int64_t columns, bool add)
{
    if (FAC_IS_INT(g->dtype)) {
        for (int i = 0; i < rows; i++) {
            int32_t *c = (int32_t *)g->c + (i0 + i) * g->c_row + j0;
            const T *from = tile + i * width;
            for (int64_t j = 0; j < columns; j++) c[j] = (add ? c[j] : 0) + (int32_t)from[j];
        }
        return;
    }
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
               bool add, int64_t ahead)
{
    const int64_t width = vecs * NAME(VL);
    if (!FAC_IS_COMPLEX(g->dtype) && !FAC_IS_INT(g->dtype) && columns == width) {
        T *c = (T *)g->c + i0 * g->c_row + j0;
        NAME(tile)(rows, vecs, k, a, a_row, a_col, b, b_row, c, g->c_row, add, ahead);
        return;
    }
    T tile[GEMM_ROWS * NAME(NR)];
    NAME(tile)(rows, vecs, k, a, a_row, a_col, b, b_row, tile, width, false, ahead);
    NAME(store)(g, tile, width, i0, rows, j0, columns, add);
}

GEMM_LOOPS static inline void
NAME(add_number)(T *c, T x, int64_t n)
{
    for (int64_t j = 0; j < n; j++) c[j] += x;
}

/* n elements of a row: C = alpha * C + beta * D. */
GEMM_LOOPS static void
NAME(combine)(const FacGemm *g, T *c, const T *d, int64_t d_col, int64_t n)
{
    const T ar = (T)g->alpha[0], ai = (T)g->alpha[1], br = (T)g->beta[0], bi = (T)g->beta[1];
    if (!FAC_IS_COMPLEX(g->dtype)) {
        if (!d)
            for (int64_t j = 0; j < n; j++) c[j] *= ar;
        else if (!g->scale && d_col == 1)
            for (int64_t j = 0; j < n; j++) c[j] += d[j];
        else if (!g->scale && d_col == 0)
            NAME(add_number)(c, d[0], n);
        else
            for (int64_t j = 0; j < n; j++) c[j] = br * d[j * d_col] + ar * c[j];
        return;
    }
    for (int64_t j = 0; j < n; j++) {
        T re = ar * c[2 * j] - ai * c[2 * j + 1], im = ar * c[2 * j + 1] + ai * c[2 * j];
        if (d) {
            const T *z = d + 2 * j * d_col;
            re += br * z[0] - bi * z[1];
            im += br * z[1] + bi * z[0];
        }
        c[2 * j] = re;
        c[2 * j + 1] = im;
    }
}

/* n elements of row i from column j on, whose sums are complete in c. */
static void
NAME(finish_row)(const FacGemm *g, T *c, int64_t i, int64_t j, int64_t n)
{
    const int64_t part = FAC_IS_COMPLEX(g->dtype) ? 2 : 1;
    const T *d = g->add ? (const T *)g->add + (i * g->add_row + j * g->add_col) * part : NULL;
    int64_t d_col = g->add_col;
#if defined(GEMM_NARROW)
    T wide[GEMM_PIECE];
    if (d && g->rounded) {
        const uint16_t *halves = g->add;
        FAC_TIERED(gemm_widen)(g->dtype, halves + i * g->add_row + j * d_col, d_col, n, wide);
        d = wide;
        d_col = 1;
    }
#endif
    if (d || g->scale) NAME(combine)(g, c, d, d_col, n);
    if (g->activate) g->activate((void *[]){c, c}, n, NULL);
#if defined(GEMM_NARROW)
    if (g->rounded)
        FAC_TIERED(gemm_round)(g->dtype, c, n, (uint16_t *)g->rounded + i * g->rounded_row + j);
#endif
    if (g->hit && !FAC_TIERED(all_finite)(fac_dtype_info[g->dtype].real, c, n * part))
        atomic_store_explicit(g->hit, true, memory_order_relaxed);
}

/* What happens to a block of C when its sums are there. */
static void
NAME(finish)(const FacGemm *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1)
{
    const int64_t part = FAC_IS_COMPLEX(g->dtype) ? 2 : 1;
    if (!g->add && !g->scale && !g->activate && !g->rounded && !g->hit) return;
    for (int64_t i = i0; i < i1; i++)
        for (int64_t j = j0; j < j1; j += GEMM_PIECE) {
            const int64_t n = j1 - j < GEMM_PIECE ? j1 - j : GEMM_PIECE;
            NAME(finish_row)(g, (T *)g->c + (i * g->c_row + j) * part, i, j, n);
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
            NAME(pack_strip_plain)((const T *)g->a + i0 * g->a_row + p0 * g->a_col, g->a_col,
                                   g->a_row, m, vecs * NAME(VL), run, strip);
            for (int64_t j = 0; j < g->n;) {
                const int rows = gemm_height(g->n - j, false);
                const T *b = (const T *)g->b + j * g->b_col + p0 * g->b_row;
                NAME(tile)(rows, vecs, run, b, g->b_col, g->b_row, strip, vecs * NAME(VL), tile,
                           NAME(NR), false, 0);
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
    const NAME(Form) *form = NAME(form)(g);
    const bool complex = FAC_IS_COMPLEX(g->dtype);
    const int64_t m = complex ? 2 * g->m : g->m, k = complex ? 2 * g->k : g->k;
    const int64_t span = k * g->b_row * (int64_t)sizeof(T);
    const bool close_b = span <= GEMM_CLOSE;
    const bool whole = g->n % (GEMM_WIDE_VECS * NAME(VL)) == 0 && span <= fac_cpu_cache(2) / 2;
    const bool near_b = m <= GEMM_THIN || close_b || whole;
    const bool near_a = g->n <= NAME(NR) || GEMM_ROWS * g->a_row * (int64_t)sizeof(T) <= GEMM_CLOSE;
    const bool b_in_place = form->plain && g->b_col == 1 && near_b;
    const bool a_in_place = form->plain && near_a && (g->a_col == 1 || g->a_row == 1);
    const bool wide = b_in_place && !close_b && g->n >= GEMM_WIDE_VECS * NAME(VL);
    const int64_t most = wide ? GEMM_WIDE_VECS * NAME(VL) : NAME(NR);
    const int64_t fit = GEMM_THIN * RUN / (k < RUN ? k : RUN) / GEMM_ROWS * GEMM_ROWS;
    const int64_t block = wide ? GEMM_THIN : fit;
    const int high = wide ? GEMM_WIDE_ROWS : GEMM_ROWS;
    for (int64_t p0 = 0; p0 < k; p0 += RUN)
        for (int64_t i0 = 0, i1; i0 < m; i0 = i1) {
            const int64_t run = k - p0 < RUN ? k - p0 : RUN;
            i1 = a_in_place || i0 + block > m ? m : i0 + block;
            for (int64_t i = i0; i < i1 && !a_in_place;) {
                const int rows = gemm_panel(i1 - i, high, complex);
                form->pack_a(g, i, rows, p0, run, panels + (i - i0) * run);
                i += rows;
            }
            for (int64_t j0 = 0; j0 < g->n; j0 += most) {
                const int64_t left = g->n - j0, columns = left < most ? left : most;
                const int vecs = (int)fac_chunks(columns, NAME(VL));
                const int64_t width = vecs * NAME(VL);
                const bool packed = !b_in_place || columns != width;
                const T *b = packed ? strip : (const T *)g->b + j0 + p0 * g->b_row;
                if (packed) form->pack_b(g, j0, columns, width, p0, run, strip);
                for (int64_t i = i0; i < i1;) {
                    const int rows = gemm_panel(i1 - i, high, complex);
                    const T *a = a_in_place ? (const T *)g->a + i * g->a_row + p0 * g->a_col
                                            : panels + (i - i0) * run;
                    NAME(run_tile)(g, rows, vecs, run, a, a_in_place ? g->a_row : 1,
                                   a_in_place ? g->a_col : rows, b, packed ? width : g->b_row, i,
                                   j0, columns, p0 > 0 || g->accumulate, wide ? GEMM_NEAR : 0);
                    i += rows;
                }
            }
        }
}

static void
NAME(serial_sums)(const FacGemm *g)
{
    const NAME(Form) *form = NAME(form)(g);
    const bool columns = g->b_row == 1 && g->b_col != 1;
    if (g->k == 0) {
        const int64_t size = FAC_IS_COMPLEX(g->dtype) ? 2 * sizeof(T) : sizeof(T);
        for (int64_t i = 0; i < g->m && !g->accumulate; i++)
            memset((char *)g->c + i * g->c_row * size, 0, (size_t)(g->n * size));
    } else if (form->row_by_rows && g->m == 1 && g->b_col == 1) {
        form->row_by_rows(g);
    } else if (form->row_by_columns && g->m == 1 && columns) {
        form->row_by_columns(g);
    } else if (form->plain && columns && g->m >= GEMM_TURNED && g->m <= GEMM_THIN) {
        NAME(serial_turned)(g);
    } else {
        NAME(serial_blocks)(g);
    }
}

#if defined(GEMM_NARROW)
/* A part of a product of halves, with its sums in float32 at `c`. */
static FacGemm
narrow_part(const FacGemm *g, int64_t i0, int64_t m, int64_t j0, int64_t n, float *c)
{
    FacGemm part = *g;
    const int64_t size = sizeof(uint16_t);
    part.m = m;
    part.n = n;
    part.a = (const char *)g->a + i0 * g->a_row * size;
    part.b = (const char *)g->b + j0 * g->b_col * size;
    if (g->add) part.add = (const char *)g->add + (i0 * g->add_row + j0 * g->add_col) * size;
    part.rounded = (uint16_t *)g->c + i0 * g->c_row + j0;
    part.rounded_row = g->c_row;
    part.c = c;
    part.c_row = n;
    return part;
}

static void
serial_narrow(const FacGemm *g)
{
    float sums[GEMM_FEW_SUMS] __attribute__((aligned(64)));
    const int64_t columns = g->n < GEMM_FEW_SUMS / 8 ? g->n : GEMM_FEW_SUMS / 8;
    const int64_t rows = GEMM_FEW_SUMS / columns;
    for (int64_t i = 0; i < g->m; i += rows)
        for (int64_t j = 0; j < g->n; j += columns) {
            const int64_t m = g->m - i < rows ? g->m - i : rows;
            const int64_t n = g->n - j < columns ? g->n - j : columns;
            const FacGemm part = narrow_part(g, i, m, j, n, sums);
            if (!FAC_TIERED(gemm_dots_serial)(&part)) serial_sums_f32(&part);
            finish_f32(&part, 0, m, 0, n);
        }
}
#endif

static void
NAME(serial)(const FacGemm *g)
{
#if defined(GEMM_NARROW)
    if (g->dtype == FAC_DT_BF16 || g->dtype == FAC_DT_F16) {
        serial_narrow(g);
        return;
    }
#endif
    NAME(serial_sums)(g);
    NAME(finish)(g, 0, g->m, 0, g->n);
}

/* --- large products ------------------------------------------------------------------------------------- */

/* A stage: rows [i0, i1) and columns [j0, j1) of C, steps [p0, p0 + run). B is packed first, a few strips
 * a task; then a task is `width` columns of `high` rows. The panels of A are packed in front of
 * all stages that share them or, with one stage, by the task that needs them, or are read in place. */
typedef struct NAME(Stage) {
    const FacGemm *g;
    const NAME(Form) * form;
    int64_t i0, i1, j0, j1, p0, run, width;
    int64_t strip; /* columns */
    int64_t high;  /* rows of a task */
    int rows;      /* of a panel, at most */
    bool wide, add, last, a_in_place, b_in_place;
    T *a, *b; /* packed; a: NULL where A is packed by the tasks or not at all */
} NAME(Stage);

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
    } else if (g->b_col == 1 && s->form->pack_strips) {
        const int64_t strips = (j1 - j) / s->strip;
        s->form->pack_strips(g, j, strips, s->strip, s->p0, s->run, s->b + (j - s->j0) * s->run);
        j += strips * s->strip;
    }
    for (; j < j1; j += s->strip) {
        const int64_t columns = j1 - j < s->strip ? j1 - j : s->strip;
        const int64_t width = fac_chunks(columns, NAME(VL)) * NAME(VL);
        s->form->pack_b(g, j, columns, width, s->p0, s->run, s->b + (j - s->j0) * s->run);
    }
}

/* Packs blocks of rows of A, panel after panel, for all blocks of B. */
static void
NAME(stage_pack_a)(int64_t task, int64_t end, void *context)
{
    const NAME(Stage) *s = context;
    for (; task < end; task++) {
        const int64_t i0 = s->i0 + task * s->high;
        const int64_t i1 = i0 + s->high < s->i1 ? i0 + s->high : s->i1;
        for (int64_t i = i0; i < i1;) {
            const int rows = gemm_panel(i1 - i, s->rows, FAC_IS_COMPLEX(s->g->dtype));
            s->form->pack_a(s->g, i, rows, s->p0, s->run, s->a + (i - s->i0) * s->run);
            i += rows;
        }
    }
}

static void
NAME(block)(const NAME(Stage) * s, int64_t i0, int64_t i1, int64_t j0, int64_t j1)
{
    T panel[GEMM_ROWS * RUN + NAME(VL)] __attribute__((aligned(64)));
    const FacGemm *g = s->g;
    const bool complex = FAC_IS_COMPLEX(g->dtype);
    for (int64_t i = i0; i < i1;) {
        const int rows = gemm_panel(i1 - i, s->rows, complex);
        const T *a = panel;
        if (s->a_in_place)
            a = (const T *)g->a + i * g->a_row + s->p0 * g->a_col;
        else if (s->a)
            a = s->a + (i - s->i0) * s->run;
        else
            s->form->pack_a(g, i, rows, s->p0, s->run, panel);
        for (int64_t j = j0; j < j1; j += s->strip) {
            const int64_t columns = j1 - j < s->strip ? j1 - j : s->strip;
            const int vecs = (int)fac_chunks(columns, NAME(VL));
            const T *b = s->b + (j - s->j0) * s->run;
            int64_t b_row = vecs * NAME(VL);
            if (s->b_in_place && columns == b_row) {
                b = (const T *)g->b + s->p0 * g->b_row + j;
                b_row = g->b_row;
            }
            NAME(run_tile)(g, rows, vecs, s->run, a, s->a_in_place ? g->a_row : 1,
                           s->a_in_place ? g->a_col : rows, b, b_row, i, j, columns, s->add,
                           !s->wide        ? 0
                           : s->b_in_place ? GEMM_NEAR
                                           : GEMM_AHEAD);
        }
        i += rows;
    }
    if (s->last) NAME(finish)(g, complex ? i0 / 2 : i0, complex ? i1 / 2 : i1, j0, j1);
}

static void
NAME(stage_blocks)(int64_t task, int64_t end, void *context)
{
    const NAME(Stage) *s = context;
    const int64_t blocks = fac_chunks(s->i1 - s->i0, s->high);
    for (; task < end; task++) {
        const int64_t i0 = s->i0 + task % blocks * s->high, i1 = i0 + s->high;
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
    const NAME(Form) *form = NAME(form)(g);
    const int64_t part = FAC_IS_COMPLEX(g->dtype) ? 2 : 1, m = g->m * part, k = g->k * part;
    const bool wide = g->n >= GEMM_WIDE_VECS * NAME(VL);
    const int64_t strip = wide ? GEMM_WIDE_VECS * NAME(VL) : NAME(NR);
    const int64_t width = NAME(block_columns)(g->n, strip), blocks = fac_chunks(g->n, width);
    const bool near_a = wide || GEMM_ROWS * g->a_row * (int64_t)sizeof(T) <= GEMM_CLOSE;
    const bool a_in_place = form->plain && g->a_col == 1 && near_a;
    const bool b_in_place =
        form->plain && g->b_col == 1 && k * g->b_row * (int64_t)sizeof(T) <= fac_cpu_cache(2) / 2;
    const bool ahead = blocks > 1 && !a_in_place;
    const int64_t high = ahead && m > GEMM_HIGH ? GEMM_HIGH : m;
    const int64_t tasks = fac_chunks(high, GEMM_BLOCK_ROWS), run = k < RUN ? k : RUN;
    const int64_t step = fac_chunks(blocks, fac_chunks(blocks * tasks, GEMM_TASKS)) * width;
    const size_t bytes = (size_t)((step + (ahead ? high : 0)) * run) * sizeof(T);
    void *scratch;
    FAC_RETURN_IF_ERROR(fac_host_alloc(bytes, &scratch));
    NAME(Stage) s = {.g = g, .form = form, .width = width, .b = scratch};
    s.wide = wide;
    s.high = fac_chunks(high, part * tasks) * part;
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
            const int64_t high_blocks = fac_chunks(s.i1 - s.i0, s.high);
            if (ahead) fac_parallel(high_blocks, 1, NAME(stage_pack_a), &s);
            for (s.j0 = 0; s.j0 < g->n; s.j0 = s.j1) {
                s.j1 = s.j0 + step < g->n ? s.j0 + step : g->n;
                if (!b_in_place || (s.j1 - s.j0) % strip)
                    fac_parallel(fac_chunks(s.j1 - s.j0, GEMM_PACK_STRIPS * strip), 1,
                                 NAME(stage_pack), &s);
                fac_parallel(high_blocks * fac_chunks(s.j1 - s.j0, width), 1, NAME(stage_blocks),
                             &s);
            }
        }
    }
    fac_host_free(scratch, bytes);
    return FAC_OK;
}

#if defined(GEMM_NARROW)
static FacStatus
parallel_sums(const FacGemm *g)
{
    bool done;
    FAC_RETURN_IF_ERROR(FAC_TIERED(gemm_dots)(g, g->bytes ? NULL : finish_f32, &done));
    return done ? FAC_OK : parallel_f32(g);
}

/* Large parts one after the other, so that no more than GEMM_SUMS sums are kept in float32. */
static FacStatus
parallel_narrow(const FacGemm *g)
{
    const int64_t rows = g->m < GEMM_HIGH ? g->m : GEMM_HIGH, most = GEMM_SUMS / rows;
    const int64_t columns = fac_chunks(g->n, fac_chunks(g->n, most));
    FacStatus st = FAC_OK;
    void *sums;
    FAC_RETURN_IF_ERROR(fac_host_alloc((size_t)(rows * columns) * sizeof(float), &sums));
    for (int64_t i = 0; i < g->m && !st; i += rows)
        for (int64_t j = 0; j < g->n && !st; j += columns) {
            const int64_t m = g->m - i < rows ? g->m - i : rows;
            const FacGemm part =
                narrow_part(g, i, m, j, g->n - j < columns ? g->n - j : columns, sums);
            st = parallel_sums(&part);
        }
    fac_host_free(sums, (size_t)(rows * columns) * sizeof(float));
    return st;
}
#endif
#undef T
#undef INDEX
#undef LANES
#undef RUN
#undef NAME
