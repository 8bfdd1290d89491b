/* test_dots.c - products by AMX, AVX512-BF16 and VNNI, on machines that need not have them.
 *
 * The sources of the kernels are compiled once more with amx_model.h in front of them, which has the
 * instructions in C (those of VNNI are the processor's own, where it has them). Operands end where
 * memory that may not be read begins, results stand among words that must not change, and everything is
 * compared with the plain sum. Packing needs AVX-512: elsewhere nothing is tested.
 */
#define FAC_TIER model
#include "check.h"

#include "kernels/cpu/gemm_dots.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGES = 1 << 21, UNTOUCHED = 0x5a5a5a5a };

static const FacDots *kinds[] = {&fac_dots_amx_bf16_model, &fac_dots_amx_i8_model,
                                 &fac_dots_amx_u8_model, &fac_dots_bf16_model,
                                 &fac_dots_vnni_model};
enum { KINDS = sizeof kinds / sizeof *kinds };

static bool
usable(const FacDots *dots)
{
    return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           (dots->feature != FAC_CPU_VNNI || __builtin_cpu_supports("avx512vnni"));
}

static uint32_t seed = 1;
static uint32_t
next_random(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}
static int
between(int low, int high)
{
    return low + (int)(next_random() % (uint32_t)(high - low + 1));
}

/* Memory that ends where none may be read. */
static char *
guarded_pages(void)
{
    char *pages =
        mmap(NULL, PAGES + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + PAGES, 4096, PROT_NONE)) abort();
    return pages;
}

/* A matrix as it lies: by rows, by columns, or with gaps; what is in no element is not a number. */
typedef struct Matrix {
    char *pages;
    void *data;
    int64_t row, col;
} Matrix;

static void
lay_out(Matrix *x, int rows, int columns, int size, int layout)
{
    if (!x->pages) x->pages = guarded_pages();
    const int64_t gap = layout % 2 ? 3 : 0;
    x->col = layout < 2 ? 1 : layout < 4 ? rows + gap : 2;
    x->row = layout < 2 ? columns + gap : layout < 4 ? 1 : 2 * columns + 1;
    const int64_t span = (rows - 1) * x->row + (columns - 1) * x->col + 1;
    x->data = x->pages + PAGES - span * size;
    const int64_t around = span * size + 4096;
    memset(x->pages + PAGES - around, 0x7f, (size_t)around);
}

static void
put(const FacDots *dots, void *data, int64_t at, float x)
{
    if (dots->dtype == FAC_DT_BF16)
        ((uint16_t *)data)[at] = fac_f32_to_bf16(x);
    else
        ((int8_t *)data)[at] = (int8_t)(int)x;
}

static double
get(const FacDots *dots, const void *data, int64_t at, bool is_a)
{
    if (dots->dtype == FAC_DT_BF16) return (double)fac_bf16_to_f32(((const uint16_t *)data)[at]);
    if (dots->dtype == FAC_DT_U8 && is_a) return ((const uint8_t *)data)[at];
    return ((const int8_t *)data)[at];
}

/* A product with its operands, and what it is compared with. */
typedef struct Product {
    Matrix a, b;
    FacGemm g;
    char *c_pages;
    int32_t *c; /* nothing may be written behind the last element */
} Product;

static void
fill(const FacDots *dots, Product *p, bool exact)
{
    const int most = dots->dtype == FAC_DT_BF16 ? 8 : 127;
    for (int64_t i = 0; i < p->g.m * p->g.k; i++) {
        const int64_t at = i / p->g.k * p->a.row + i % p->g.k * p->a.col;
        put(dots, p->a.data, at,
            exact ? (float)between(-most, most) : (float)between(-999, 999) / 256);
    }
    for (int64_t i = 0; i < p->g.k * p->g.n; i++) {
        const int64_t at = i / p->g.n * p->b.row + i % p->g.n * p->b.col;
        put(dots, p->b.data, at,
            exact ? (float)between(-most, most) : (float)between(-999, 999) / 256);
    }
}

static void
open_product(const FacDots *dots, Product *p, int m, int n, int k, int layouts, bool exact)
{
    const int size = dots->dtype == FAC_DT_BF16 ? 2 : 1;
    lay_out(&p->a, m, k, size, layouts % 5);
    lay_out(&p->b, k, n, size, layouts / 5 % 5);
    const int64_t c_row = n + layouts % 3;
    if (!p->c_pages) p->c_pages = guarded_pages();
    p->c = (int32_t *)(p->c_pages + PAGES) - (m * c_row - layouts % 3);
    for (int64_t i = 0; i < m * c_row - layouts % 3; i++) p->c[i] = UNTOUCHED;
    p->g = (FacGemm){.dtype = dots->dtype,
                     .bytes = size == 1,
                     .m = m,
                     .n = n,
                     .k = k,
                     .a = p->a.data,
                     .b = p->b.data,
                     .c = p->c,
                     .a_row = p->a.row,
                     .a_col = p->a.col,
                     .b_row = p->b.row,
                     .b_col = p->b.col,
                     .c_row = c_row};
    fill(dots, p, exact);
}

static void
close_product(Product *p)
{
    if (p->a.pages) munmap(p->a.pages, PAGES + 4096);
    if (p->b.pages) munmap(p->b.pages, PAGES + 4096);
    if (p->c_pages) munmap(p->c_pages, PAGES + 4096);
    *p = (Product){.c = NULL};
}

static double
result(const FacDots *dots, const Product *p, int64_t i, int64_t j)
{
    const int32_t bits = p->c[i * p->g.c_row + j];
    return dots->dtype == FAC_DT_BF16 ? (double)fac_bits_float((uint32_t)bits) : bits;
}

/* The largest error, of an element's sum of magnitudes; INFINITY where a gap was written. */
static double
error_of(const FacDots *dots, const Product *p, double before)
{
    double worst = 0;
    const FacGemm *g = &p->g;
    for (int64_t i = 0; i < g->m; i++) {
        for (int64_t j = 0; j < g->n; j++) {
            double sum = before, size = fabs(before) + 1e-30;
            for (int64_t s = 0; s < g->k; s++) {
                const double x = get(dots, g->a, i * g->a_row + s * g->a_col, true) *
                                 get(dots, g->b, s * g->b_row + j * g->b_col, false);
                sum += x;
                size += fabs(x);
            }
            const double error = fabs(result(dots, p, i, j) - sum) / size;
            worst = error > worst ? error : worst;
        }
        for (int64_t j = g->n; j < g->c_row && i + 1 < g->m; j++)
            if (p->c[i * g->c_row + j] != UNTOUCHED) return INFINITY;
    }
    return worst;
}

static void
multiply_both_ways(const FacDots *dots, Product *p)
{
    fac_dots_multiply_alone_model(dots, &p->g);
    CHECK(error_of(dots, p, 0) == 0);
    memset(p->c, 0x5a, (size_t)(p->g.m * p->g.c_row - p->g.c_row + p->g.n) * sizeof *p->c);
    OK(fac_dots_multiply_model(dots, &p->g, NULL));
    CHECK(error_of(dots, p, 0) == 0);
}

/* --- values ------------------------------------------------------------------------------------- */

TEST(trials_pass)
{
    for (int i = 0; i < KINDS; i++) CHECK(!usable(kinds[i]) || fac_dots_agree_model(kinds[i]));
}

TEST(edges)
{
    static const int few[] = {1, 14, 15, 16, 17, 32, 33, 70};
    static const int steps[] = {1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 70};
    Product p = {.c = NULL};
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; usable(kinds[kind]) && i < 8; i++)
            for (size_t j = 0; j < 8; j++)
                for (size_t s = 0; s < 12; s++) {
                    open_product(kinds[kind], &p, few[i], few[j], steps[s], between(0, 24), true);
                    multiply_both_ways(kinds[kind], &p);
                }
    close_product(&p);
}

TEST(any_shape_and_layout)
{
    Product p = {.c = NULL};
    for (int kind = 0; kind < KINDS; kind++)
        for (int i = 0; usable(kinds[kind]) && i < 150; i++) {
            open_product(kinds[kind], &p, between(1, 70), between(1, 70), between(1, 70), i, true);
            multiply_both_ways(kinds[kind], &p);
        }
    close_product(&p);
}

/* A row whose steps, and those of the columns, lie side by side is read in place by VNNI. */
TEST(a_row_and_columns)
{
    Product p = {.c = NULL};
    for (int kind = 0; kind < KINDS; kind++)
        for (int i = 0; usable(kinds[kind]) && i < 60; i++) {
            open_product(kinds[kind], &p, 1, between(1, 40), between(1, 200), 10 + i % 2, true);
            multiply_both_ways(kinds[kind], &p);
        }
    close_product(&p);
}

/* Several runs, blocks of rows, pieces of columns, and strips that do not fit on the stack at once. */
TEST(large)
{
    static const int shapes[][3] = {{3, 5, 3201}, {70, 33, 1700}, {150, 300, 40}, {1, 1500, 300}};
    Product p = {.c = NULL};
    for (int kind = 0; kind < KINDS; kind++)
        for (int i = 0; usable(kinds[kind]) && i < 8; i++) {
            const int *shape = shapes[i % 4];
            open_product(kinds[kind], &p, shape[0], shape[1], shape[2], 7 * i, true);
            multiply_both_ways(kinds[kind], &p);
        }
    close_product(&p);
}

TEST(largest_bytes)
{
    Product p = {.c = NULL};
    for (int kind = 0; kind < KINDS; kind++) {
        if (!usable(kinds[kind]) || kinds[kind]->dtype == FAC_DT_BF16) continue;
        open_product(kinds[kind], &p, 17, 18, 3100, 0, true);
        memset(p.a.data, 0x80, 17 * 3100); /* -128, or 128 */
        memset(p.b.data, 0x80, 18 * 3100);
        multiply_both_ways(kinds[kind], &p);
        memset(p.a.data, 0xff, 17 * 3100);
        multiply_both_ways(kinds[kind], &p);
    }
    close_product(&p);
}

TEST(adds_to_what_is_there)
{
    Product p = {.c = NULL};
    for (int kind = 0; kind < KINDS; kind++) {
        if (!usable(kinds[kind])) continue;
        open_product(kinds[kind], &p, 37, 41, 1601, 2, true);
        const bool floats = kinds[kind]->dtype == FAC_DT_BF16;
        for (int i = 0; i < 37 * 41; i++)
            p.c[i / 41 * p.g.c_row + i % 41] = floats ? (int32_t)fac_float_bits(1000) : 1000;
        p.g.accumulate = true;
        OK(fac_dots_multiply_model(kinds[kind], &p.g, NULL));
        CHECK(error_of(kinds[kind], &p, 1000) == 0);
    }
    close_product(&p);
}

/* --- floats ------------------------------------------------------------------------------------- */

TEST(rounding)
{
    Product p = {.c = NULL};
    for (int kind = 0; kind < KINDS; kind++)
        for (int i = 0; usable(kinds[kind]) && kinds[kind]->dtype == FAC_DT_BF16 && i < 20; i++) {
            open_product(kinds[kind], &p, between(1, 40), between(1, 40), between(1, 900), i,
                         false);
            OK(fac_dots_multiply_model(kinds[kind], &p.g, NULL));
            CHECK(error_of(kinds[kind], &p, 0) < 1e-6);
        }
    close_product(&p);
}

/* An element's bits do not depend on what stands around it. */
TEST(rows_and_columns_alone)
{
    Product p = {.c = NULL};
    for (int kind = 0; kind < KINDS; kind++) {
        if (!usable(kinds[kind]) || kinds[kind]->dtype != FAC_DT_BF16) continue;
        open_product(kinds[kind], &p, 67, 69, 1999, 0, false);
        OK(fac_dots_multiply_model(kinds[kind], &p.g, NULL));
        for (int trial = 0; trial < 12; trial++) {
            const int i = between(0, 66), j = between(0, 68);
            int32_t part[67 * 69];
            FacGemm g = p.g;
            g.a = (uint16_t *)p.a.data + i * p.a.row;
            g.b = (uint16_t *)p.b.data + j * p.b.col;
            g.m = between(1, 67 - i);
            g.n = between(1, 69 - j);
            g.c = part;
            g.c_row = g.n;
            fac_dots_multiply_alone_model(kinds[kind], &g);
            for (int64_t x = 0; x < g.m * g.n; x++)
                CHECK(part[x] == p.c[(i + x / g.n) * p.g.c_row + j + x % g.n]);
        }
    }
    close_product(&p);
}

TEST(not_finite)
{
    Product p = {.c = NULL};
    for (int kind = 0; kind < KINDS; kind++) {
        if (!usable(kinds[kind]) || kinds[kind]->dtype != FAC_DT_BF16) continue;
        open_product(kinds[kind], &p, 35, 37, 75, 0, false);
        put(kinds[kind], p.a.data, 34 * p.a.row + 74, NAN);
        put(kinds[kind], p.b.data, 74 * p.b.row + 36, INFINITY);
        OK(fac_dots_multiply_model(kinds[kind], &p.g, NULL));
        for (int i = 0; i < 35; i++)
            for (int j = 0; j < 37; j++)
                CHECK((bool)isfinite(result(kinds[kind], &p, i, j)) == (i < 34 && j < 36));
        CHECK(isnan(result(kinds[kind], &p, 34, 0)));
    }
    close_product(&p);
}

/* --- the pool ------------------------------------------------------------------------------------- */

static void
mark(const FacGemm *g, int64_t i0, int64_t i1, int64_t j0, int64_t j1)
{
    uint8_t *marks = g->rounded;
    for (int64_t i = i0; i < i1; i++)
        for (int64_t j = j0; j < j1; j++) marks[i * g->n + j]++;
}

TEST(threads)
{
    Product p = {.c = NULL};
    static uint8_t marks[130 * 300];
    static int32_t first[130 * 300];
    for (int kind = 0; kind < KINDS; kind++) {
        if (!usable(kinds[kind])) continue;
        open_product(kinds[kind], &p, 130, 300, 300, 0, kinds[kind]->dtype != FAC_DT_BF16);
        p.g.rounded = marks;
        for (int threads = 1; threads <= 3; threads++) {
            OK(fac_set_num_threads(threads));
            memset(marks, 0, sizeof marks);
            OK(fac_dots_multiply_model(kinds[kind], &p.g, mark));
            for (size_t i = 0; i < sizeof marks; i++) CHECK(marks[i] == 1);
            if (threads == 1) memcpy(first, p.c, sizeof first);
            CHECK(memcmp(first, p.c, sizeof first) == 0);
        }
    }
    close_product(&p);
}

RUN_TESTS(CASE(trials_pass), CASE(edges), CASE(any_shape_and_layout), CASE(a_row_and_columns),
          CASE(large), CASE(largest_bytes), CASE(adds_to_what_is_there), CASE(rounding),
          CASE(rows_and_columns_alone), CASE(not_finite), CASE(threads))
