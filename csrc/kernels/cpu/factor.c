/* factor.c - see factor.h: the halving, for every dtype alike; the blocks are factor_body.h. */
#include "kernels/cpu/factor.h"

#include <complex.h>
#include <math.h>
#include <string.h>

#pragma GCC optimize("fp-contract=fast", "cx-limited-range")

/* Columns of the smallest block; columns of a right side that are solved together. */
enum { FACTOR_PANEL = 16, FACTOR_WIDE = 32, FACTOR_NARROW = 8 };

#define FACTOR_NOTHING(x) (x)
#define FACTOR_INVERSE(x) (1 / (x))
#define root_f32 sqrtf
#define root_f64 sqrt
#define root_c64 sqrtf
#define root_c128 sqrt

/* 1 / z without an overflow in between. */
static inline double complex
reciprocal_c128(double complex z)
{
    const double x = creal(z), y = cimag(z);
    if (fabs(x) >= fabs(y)) {
        const double ratio = y / x, scale = 1 / (x + y * ratio);
        return CMPLX(scale, -ratio * scale);
    }
    const double ratio = x / y, scale = 1 / (y + x * ratio);
    return CMPLX(ratio * scale, -scale);
}
static inline float complex
reciprocal_c64(float complex z)
{
    const double complex r = reciprocal_c128(z);
    return CMPLXF((float)creal(r), (float)cimag(r));
}
#define SIZE_C64(z) (fabsf(crealf(z)) + fabsf(cimagf(z)))
#define SIZE_C128(z) (fabs(creal(z)) + fabs(cimag(z)))

#define T float
#define REAL float
#define NAME(x) x##_f32
#define CONJ FACTOR_NOTHING
#define PART FACTOR_NOTHING
#define SIZE fabsf
#define RECIPROCAL FACTOR_INVERSE
#include "kernels/cpu/factor_body.h"
#define T double
#define REAL double
#define NAME(x) x##_f64
#define CONJ FACTOR_NOTHING
#define PART FACTOR_NOTHING
#define SIZE fabs
#define RECIPROCAL FACTOR_INVERSE
#include "kernels/cpu/factor_body.h"
#define T float complex
#define REAL float
#define NAME(x) x##_c64
#define CONJ conjf
#define PART crealf
#define SIZE SIZE_C64
#define RECIPROCAL reciprocal_c64
#include "kernels/cpu/factor_body.h"
#define T double complex
#define REAL double
#define NAME(x) x##_c128
#define CONJ conj
#define PART creal
#define SIZE SIZE_C128
#define RECIPROCAL reciprocal_c128
#include "kernels/cpu/factor_body.h"

typedef struct Blocks {
    int64_t (*lu)(void *a, int64_t step, int64_t m, int64_t n, int64_t *pivots, void *scratch);
    int64_t (*cholesky)(void *a, int64_t step, int64_t n);
    void (*solve)(const FacTriangle *t, int64_t n, void *x, int64_t step, int64_t columns);
    void (*negate)(const void *from, int64_t row, int64_t col, bool conjugate, int64_t m, int64_t n,
                   void *to);
} Blocks;

#define BLOCKS(DT, name)                                                                           \
    [FAC_DT_##DT] = {lu_panel_##name, cholesky_block_##name, solve_block_##name, negate_##name},
static const Blocks blocks[FAC_DTYPES] = {BLOCKS(F32, f32) BLOCKS(F64, f64) BLOCKS(C64, c64)
                                              BLOCKS(C128, c128)};
#undef BLOCKS

/* The smaller one of the operands is negated, in a copy. */
FacStatus
FAC_TIERED(subtract_product)(const FacFactor *f, int64_t m, int64_t k, int64_t n, const char *a,
                             int64_t a_row, int64_t a_col, bool conj, const char *b, int64_t b_row,
                             char *c, int64_t c_row)
{
    FacGemm g = {.dtype = f->dtype,
                 .m = m,
                 .n = n,
                 .k = k,
                 .a = a,
                 .a_row = a_row,
                 .a_col = a_col,
                 .b = b,
                 .b_row = b_row,
                 .b_col = 1,
                 .c = c,
                 .c_row = c_row,
                 .accumulate = true};
    if (m == 0 || n == 0) return FAC_OK;
    if ((conj && FAC_IS_COMPLEX(f->dtype)) || m <= n) {
        blocks[f->dtype].negate(a, a_row, a_col, conj, m, k, f->scratch);
        g.a = f->scratch;
        g.a_row = k;
        g.a_col = 1;
    } else {
        blocks[f->dtype].negate(b, b_row, 1, false, k, n, f->scratch);
        g.b = f->scratch;
        g.b_row = n;
    }
    if (!f->serial) return FAC_TIERED(gemm)(&g);
    FAC_TIERED(gemm_serial)(&g);
    return FAC_OK;
}

/* Where to halve: a whole number of panels. */
static int64_t
half(int64_t n)
{
    return n <= 2 * FACTOR_PANEL ? FACTOR_PANEL
                                 : (n / 2 + FACTOR_PANEL - 1) / FACTOR_PANEL * FACTOR_PANEL;
}

FacStatus
FAC_TIERED(solve_triangle)(const FacFactor *f, const FacTriangle *t, int64_t n, char *x,
                           int64_t step, int64_t columns)
{
    if (n == 0 || columns == 0) return FAC_OK;
    if (n <= FACTOR_PANEL) {
        blocks[f->dtype].solve(t, n, x, step, columns);
        return FAC_OK;
    }
    const int64_t size = fac_dtype_size(f->dtype), n1 = half(n), n2 = n - n1;
    const char *corner = t->at + n1 * (t->upper ? t->col : t->row) * size;
    char *below = x + n1 * step * size;
    FacTriangle first = *t, second = *t;
    second.at += n1 * (t->row + t->col) * size;
    if (t->upper) {
        FAC_RETURN_IF_ERROR(FAC_TIERED(solve_triangle)(f, &second, n2, below, step, columns));
        FAC_RETURN_IF_ERROR(FAC_TIERED(subtract_product)(f, n1, n2, columns, corner, t->row, t->col,
                                                         t->conj, below, step, x, step));
        return FAC_TIERED(solve_triangle)(f, &first, n1, x, step, columns);
    }
    FAC_RETURN_IF_ERROR(FAC_TIERED(solve_triangle)(f, &first, n1, x, step, columns));
    FAC_RETURN_IF_ERROR(FAC_TIERED(subtract_product)(f, n2, n1, columns, corner, t->row, t->col,
                                                     t->conj, x, step, below, step));
    return FAC_TIERED(solve_triangle)(f, &second, n2, below, step, columns);
}

static void
swap_bytes(char *a, char *b, size_t bytes)
{
    char saved[512];
    for (size_t n; bytes > 0; bytes -= n, a += n, b += n) {
        n = bytes < sizeof saved ? bytes : sizeof saved;
        memcpy(saved, a, n);
        memcpy(a, b, n);
        memcpy(b, saved, n);
    }
}

void
FAC_TIERED(swap_rows)(const FacFactor *f, const int64_t *pivots, int64_t n, bool back, char *a,
                      int64_t step, int64_t columns)
{
    const int64_t size = fac_dtype_size(f->dtype);
    for (int64_t j = 0; j < n; j++) {
        const int64_t i = back ? n - 1 - j : j;
        if (pivots[i] != i)
            swap_bytes(a + i * step * size, a + pivots[i] * step * size, (size_t)(columns * size));
    }
}

/* Columns [0, n) of rows [first, m), whose place is a; pivots count from the first row of all. */
static FacStatus
lu_part(const FacFactor *f, char *a, int64_t step, int64_t m, int64_t n, int64_t *pivots,
        int64_t *info)
{
    if (n <= FACTOR_PANEL) {
        *info = m > 0 && n > 0 ? blocks[f->dtype].lu(a, step, m, n, pivots, f->scratch) : 0;
        return FAC_OK;
    }
    const int64_t size = fac_dtype_size(f->dtype), n1 = half(m < n ? m : n), n2 = n - n1;
    const int64_t k = m < n1 ? m : n1, rest = m < n ? m - k : n2;
    char *right = a + n1 * size, *below = a + k * step * size;
    const FacTriangle lower = {.at = a, .row = step, .col = 1, .unit = true};
    int64_t more = 0;
    FAC_RETURN_IF_ERROR(lu_part(f, a, step, m, n1, pivots, info));
    FAC_TIERED(swap_rows)(f, pivots, k, false, right, step, n2);
    FAC_RETURN_IF_ERROR(FAC_TIERED(solve_triangle)(f, &lower, k, right, step, n2));
    if (m <= k) return FAC_OK;
    FAC_RETURN_IF_ERROR(FAC_TIERED(subtract_product)(f, m - k, k, n2, below, step, 1, false, right,
                                                     step, below + n1 * size, step));
    FAC_RETURN_IF_ERROR(lu_part(f, below + n1 * size, step, m - k, n2, pivots + k, &more));
    FAC_TIERED(swap_rows)(f, pivots + k, rest, false, below, step, n1);
    for (int64_t j = 0; j < rest; j++) pivots[k + j] += k;
    if (!*info && more) *info = more + k;
    return FAC_OK;
}

FacStatus
FAC_TIERED(lu)(const FacFactor *f, char *a, int64_t step, int64_t m, int64_t n, int64_t *pivots,
               int64_t *info)
{
    return lu_part(f, a, step, m, n, pivots, info);
}

/* The part below the diagonal of what is left is computed in squares that are left as they are. */
static FacStatus
cholesky_rest(const FacFactor *f, const char *u, int64_t step, int64_t k, int64_t n, char *a)
{
    enum { ROWS = 64 };
    const int64_t size = fac_dtype_size(f->dtype);
    for (int64_t i = 0; i < n; i += ROWS) {
        const int64_t m = n - i < ROWS ? n - i : ROWS;
        FAC_RETURN_IF_ERROR(FAC_TIERED(subtract_product)(f, m, k, n - i, u + i * size, 1, step,
                                                         true, u + i * size, step,
                                                         a + i * (step + 1) * size, step));
    }
    return FAC_OK;
}

FacStatus
FAC_TIERED(cholesky)(const FacFactor *f, char *a, int64_t step, int64_t n, int64_t *info)
{
    *info = 0;
    if (n <= FACTOR_PANEL) {
        *info = blocks[f->dtype].cholesky(a, step, n);
        return FAC_OK;
    }
    const int64_t size = fac_dtype_size(f->dtype), n1 = half(n), n2 = n - n1;
    char *right = a + n1 * size, *rest = right + n1 * step * size;
    const FacTriangle adjoint = {.at = a, .row = 1, .col = step, .conj = true};
    FAC_RETURN_IF_ERROR(FAC_TIERED(cholesky)(f, a, step, n1, info));
    if (*info) return FAC_OK;
    FAC_RETURN_IF_ERROR(FAC_TIERED(solve_triangle)(f, &adjoint, n1, right, step, n2));
    FAC_RETURN_IF_ERROR(cholesky_rest(f, right, step, n1, n2, rest));
    FAC_RETURN_IF_ERROR(FAC_TIERED(cholesky)(f, rest, step, n2, info));
    if (*info) *info += n1;
    return FAC_OK;
}
