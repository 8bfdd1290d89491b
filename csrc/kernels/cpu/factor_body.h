/* factor_body.h - the innermost blocks of factorizations in one type: included by factor.c with T,
 * REAL (the type of its parts), NAME, CONJ, PART (the real part), SIZE (what a pivot is chosen by) and
 * RECIPROCAL defined. Matrices lie by rows. */

/* The LU factors of m rows of n <= FACTOR_PANEL columns; pivots[j] is the row that changes places with
 * row j. A column without a pivot is left as it is; returns its number from 1, of the first one, or 0.
 * While a row is updated, its next element is a candidate for the next pivot. */
static inline __attribute__((always_inline)) int64_t
NAME(lu_columns)(T *a, int64_t step, int64_t m, int64_t n, int64_t *pivots)
{
    int64_t info = 0, best = 0;
    REAL size = SIZE(a[0]);
    for (int64_t i = 1; i < m; i++)
        if (SIZE(a[i * step]) > size) size = SIZE(a[i * step]), best = i;
    for (int64_t j = 0; j < (m < n ? m : n); j++) {
        T u[FACTOR_PANEL], *row = a + j * step, *pivot = a + best * step;
        pivots[j] = best;
        for (int64_t c = 0; c < n; c++) {
            u[c] = pivot[c];
            pivot[c] = row[c];
            row[c] = u[c];
        }
        const bool found = size != 0;
        const T scale = found ? RECIPROCAL(u[j]) : 0;
        if (!found && !info) info = j + 1;
        for (int64_t c = 0; c <= j; c++) u[c] = 0;
        best = j + 1;
        size = -1;
        for (int64_t i = j + 1; i < m; i++) {
            T *at = a + i * step;
            const T factor = at[j] * scale;
            for (int64_t c = 0; c < n; c++) at[c] -= factor * u[c];
            at[j] = factor; /* not before: reading it in a vector would wait for the store */
            if (j + 1 < n && SIZE(at[j + 1]) > size) size = SIZE(at[j + 1]), best = i;
        }
    }
    return info;
}

/* A panel is brought together first: its rows would drive each other out of the cache. */
static int64_t
NAME(lu_panel)(void *memory, int64_t step, int64_t m, int64_t n, int64_t *pivots, void *scratch)
{
    T *a = memory, *panel = scratch;
    if (n < FACTOR_PANEL) return NAME(lu_columns)(a, step, m, n, pivots);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < FACTOR_PANEL; j++) panel[i * FACTOR_PANEL + j] = a[i * step + j];
    const int64_t info = NAME(lu_columns)(panel, FACTOR_PANEL, m, FACTOR_PANEL, pivots);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < FACTOR_PANEL; j++) a[i * step + j] = panel[i * FACTOR_PANEL + j];
    return info;
}

/* U of U^H U = A in the upper triangle, n <= FACTOR_PANEL; the order of the first minor that is not
 * positive, or 0. */
static int64_t
NAME(cholesky_block)(void *memory, int64_t step, int64_t n)
{
    T *a = memory;
    for (int64_t k = 0; k < n; k++) {
        T *u = a + k * step;
        if (!(PART(u[k]) > 0)) return k + 1;
        const REAL root = NAME(root)(PART(u[k])), scale = 1 / root;
        u[k] = root;
        for (int64_t j = k + 1; j < n; j++) u[j] *= scale;
        for (int64_t i = k + 1; i < n; i++) {
            const T factor = CONJ(u[i]);
            for (int64_t j = i; j < n; j++) a[i * step + j] -= factor * u[j];
        }
    }
    return 0;
}

/* X = T^-1 X for some columns: `order` is 1 from the first row on (lower), or -1. */
static inline __attribute__((always_inline)) void
NAME(substitute)(const T *t, const T *inverse, int64_t n, T *x, int64_t step, int64_t width)
{
    for (int64_t i = 0; i < n; i++) {
        T sum[FACTOR_WIDE], *row = x + i * step;
        for (int64_t c = 0; c < width; c++) sum[c] = row[c];
        for (int64_t p = 0; p < i; p++) {
            const T factor = t[i * FACTOR_PANEL + p], *from = x + p * step;
            for (int64_t c = 0; c < width; c++) sum[c] -= factor * from[c];
        }
        for (int64_t c = 0; c < width; c++) row[c] = sum[c] * inverse[i];
    }
}

/* X = T^-1 X, n <= FACTOR_PANEL rows of `columns`. An upper triangle is read as a lower one from its
 * other end. */
static void
NAME(solve_block)(const FacTriangle *t, int64_t n, void *memory, int64_t step, int64_t columns)
{
    T block[FACTOR_PANEL * FACTOR_PANEL], inverse[FACTOR_PANEL], *x = memory;
    const int64_t last = n - 1;
    const T *a = (const T *)t->at + (t->upper ? last * (t->row + t->col) : 0);
    const int64_t row = t->upper ? -t->row : t->row, col = t->upper ? -t->col : t->col;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t p = 0; p <= i; p++) {
            const T value = a[i * row + p * col];
            block[i * FACTOR_PANEL + p] = t->conj ? CONJ(value) : value;
        }
        inverse[i] = t->unit ? 1 : RECIPROCAL(block[i * FACTOR_PANEL + i]);
    }
    if (t->upper) {
        x += last * step;
        step = -step;
    }
    for (; columns >= FACTOR_WIDE; columns -= FACTOR_WIDE, x += FACTOR_WIDE)
        NAME(substitute)(block, inverse, n, x, step, FACTOR_WIDE);
    for (; columns >= FACTOR_NARROW; columns -= FACTOR_NARROW, x += FACTOR_NARROW)
        NAME(substitute)(block, inverse, n, x, step, FACTOR_NARROW);
    for (; columns > 0; columns--, x++) NAME(substitute)(block, inverse, n, x, step, 1);
}

/* to = -from or its conjugate, rows together. */
static void
NAME(negate)(const void *memory, int64_t row, int64_t col, bool conjugate, int64_t m, int64_t n,
             void *to_memory)
{
    const T *from = memory;
    T *to = to_memory;
    for (int64_t i = 0; i < m; i++, from += row, to += n) {
        if (conjugate)
            for (int64_t j = 0; j < n; j++) to[j] = -CONJ(from[j * col]);
        else if (col == 1)
            for (int64_t j = 0; j < n; j++) to[j] = -from[j];
        else
            for (int64_t j = 0; j < n; j++) to[j] = -from[j * col];
    }
}

#undef T
#undef REAL
#undef NAME
#undef CONJ
#undef PART
#undef SIZE
#undef RECIPROCAL
