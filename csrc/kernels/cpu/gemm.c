/* gemm.c - the matrix product: dtypes, and the choice between the serial and the packed path.
 *
 * float32, float64 and the complex dtypes run through gemm_body.h, once a real type. Integers have
 * plain loops (they wrap, as the peer's do). The tile is as large as the registers of the tier
 * allow; multiplication and addition are contracted to one instruction where the tier has it, in
 * every path alike, so that all paths give the same bits.
 */
#include "kernels/cpu/gemm.h"

#include "base/cpu.h"
#include "kernels/cpu/gemm_types.h"

/* Most is written in vectors, so the compiler need not look for more: a quarter of its time. */
#pragma GCC optimize("O2", "fp-contract=fast", "no-tree-vectorize")
#define GEMM_LOOPS __attribute__((optimize("O3", "tree-vectorize")))

#if defined(__AVX512F__)
enum { GEMM_BLOCK_ROWS = 48, GEMM_WIDE_ROWS = 6, GEMM_WIDE_VECS = 4 };
#define GEMM_WIDE_HEIGHTS(X) X(1, 4) X(2, 4) X(3, 4) X(4, 4) X(5, 4) X(6, 4)
#define GEMM_HEIGHTS(X, vecs)                                                                      \
    X(1, vecs)                                                                                     \
    X(2, vecs)                                                                                     \
    X(3, vecs)                                                                                     \
    X(4, vecs)                                                                                     \
    X(5, vecs)                                                                                     \
    X(6, vecs)                                                                                     \
    X(7, vecs)                                                                                     \
    X(8, vecs)                                                                                     \
    X(9, vecs)                                                                                     \
    X(10, vecs)                                                                                    \
    X(11, vecs)                                                                                    \
    X(12, vecs)                                                                                    \
    X(13, vecs)                                                                                    \
    X(14, vecs)
#else
enum { GEMM_BLOCK_ROWS = 48, GEMM_WIDE_ROWS = 6, GEMM_WIDE_VECS = 2 };
#define GEMM_WIDE_HEIGHTS(X) GEMM_HEIGHTS(X, 2)
#define GEMM_HEIGHTS(X, vecs) X(1, vecs) X(2, vecs) X(3, vecs) X(4, vecs) X(5, vecs) X(6, vecs)
#endif

/* Rows are real rows. */
enum {
    GEMM_TASKS = 8,       /* blocks that a stage should have at least */
    GEMM_PACK_STRIPS = 4, /* a task that packs */
    GEMM_HIGH = 4032,     /* rows of A that are packed at once */
    GEMM_AHEAD = 16, /* steps that the tile asks for packed B in advance: from the second cache */
    GEMM_NEAR = 4,   /* the same where B lies: rows at a distance soon drive each other out */
    GEMM_SMALL = 64 * 64 * 64,
    GEMM_CLOSE = 28672, /* bytes that stay in the first cache */
    GEMM_TURNED = 8,    /* rows from which on the transposed product is the better one */
    GEMM_THIN = 32,     /* rows: too few to pack B for more than one task */
    GEMM_THIN_COLUMNS = 128,
    GEMM_PIECE = 512,       /* elements of a row that are finished at once */
    GEMM_FEW_SUMS = 16384,  /* of halves, on the stack */
    GEMM_SUMS = 1 << 21,    /* of halves, in memory */
    GEMM_ROW_COLUMNS = 2048 /* the same for one row, whose B is read row by row */
};

#define T float
#define INDEX int32_t
#define LANES GEMM_F32_LANES
#define RUN GEMM_F32_RUN
#define NAME(x) x##_f32
#define GEMM_NARROW
#include "kernels/cpu/gemm_body.h"
#undef GEMM_NARROW
#define T double
#define INDEX int64_t
#define LANES GEMM_F64_LANES
#define RUN GEMM_F64_RUN
#define NAME(x) x##_f64
#include "kernels/cpu/gemm_body.h"

void
FAC_TIERED(gemm_pack_columns)(FacDType dtype, const void *from, int64_t step, int64_t columns,
                              int64_t width, int64_t k, void *to)
{
    if (dtype == FAC_DT_F32)
        pack_columns_plain_f32(from, step, columns, width, k, to);
    else
        pack_columns_plain_f64(from, step, columns, width, k, to);
}

#define INT_GEMM(DT, T)                                                                            \
    GEMM_LOOPS static void gemm_##DT(const FacGemm *g)                                             \
    {                                                                                              \
        const T *a = g->a, *b = g->b, *d = g->add;                                                 \
        const T alpha = (T)g->int_alpha, beta = (T)g->int_beta;                                    \
        for (int64_t i = 0; i < g->m; i++) {                                                       \
            T *c = (T *)g->c + i * g->c_row;                                                       \
            if (!g->accumulate) memset(c, 0, (size_t)g->n * sizeof(T));                            \
            for (int64_t p = 0; p < g->k; p++) {                                                   \
                const T x = a[i * g->a_row + p * g->a_col], *y = b + p * g->b_row;                 \
                for (int64_t j = 0; j < g->n; j++) c[j] = (T)(c[j] + x * y[j * g->b_col]);         \
            }                                                                                      \
            for (int64_t j = 0; j < g->n && (d || g->scale); j++)                                  \
                c[j] = (T)(alpha * c[j] + (d ? beta * d[i * g->add_row + j * g->add_col] : (T)0)); \
            if (g->activate) g->activate((void *[]){c, c}, g->n, NULL);                            \
        }                                                                                          \
    }
FAC_INT_TYPES(INT_GEMM)
#undef INT_GEMM

void
FAC_TIERED(gemm_serial)(const FacGemm *g)
{
    if (g->bytes) {
        if (!FAC_TIERED(gemm_dots_serial)(g)) serial_f32(g);
        return;
    }
    switch (g->dtype) {
    case FAC_DT_F16:
    case FAC_DT_BF16:
    case FAC_DT_F32:
    case FAC_DT_C64: serial_f32(g); return;
    case FAC_DT_F64:
    case FAC_DT_C128: serial_f64(g); return;
#define INT_CASE(DT, T)                                                                            \
    case FAC_DT_##DT: gemm_##DT(g); return;
        FAC_INT_TYPES(INT_CASE)
#undef INT_CASE
    default: return;
    }
}

typedef struct Batch {
    const FacGemm *g;
    int64_t a_step, b_step, c_step, add_step;
} Batch;

static FacGemm
batch_item(const Batch *batch, int64_t i)
{
    FacGemm g = *batch->g;
    const int64_t size = fac_dtype_size(g.dtype);
    g.a = (const char *)g.a + i * batch->a_step * size;
    g.b = (const char *)g.b + i * batch->b_step * size;
    g.c = (char *)g.c + i * batch->c_step * size;
    if (g.add) g.add = (const char *)g.add + i * batch->add_step * size;
    return g;
}

static void
batch_body(int64_t begin, int64_t end, void *context)
{
    for (; begin < end; begin++) {
        FacGemm g = batch_item(context, begin);
        FAC_TIERED(gemm_serial)(&g);
    }
}

/* The columns of a task of a product with few rows. */
static int64_t
thin_columns(const FacGemm *g)
{
    return g->m == 1 && g->b_col == 1 ? GEMM_ROW_COLUMNS : GEMM_THIN_COLUMNS;
}

static void
thin_body(int64_t begin, int64_t end, void *context)
{
    FacGemm g = *(const FacGemm *)context;
    const int64_t size = fac_dtype_size(g.dtype), first = begin * thin_columns(&g);
    const int64_t last = end * thin_columns(&g);
    g.n = (last < g.n ? last : g.n) - first;
    g.b = (const char *)g.b + first * g.b_col * size;
    g.c = (char *)g.c + first * (g.bytes ? (int64_t)sizeof(int32_t) : size);
    if (g.add) g.add = (const char *)g.add + first * g.add_col * size;
    FAC_TIERED(gemm_serial)(&g);
}

static bool
is_small(const FacGemm *g)
{
    return (double)g->m * (double)g->n * (double)g->k <= GEMM_SMALL;
}

/* A single column as a single row: the transposed product, whose bits are the same but for complex
 * numbers, where the two terms of the imaginary part would change places. */
static FacGemm
turned(const FacGemm *g)
{
    FacGemm t = *g;
    t.m = 1;
    t.n = g->m;
    t.a = g->b;
    t.a_row = g->b_col;
    t.a_col = g->b_row;
    t.b = g->a;
    t.b_row = g->a_col;
    t.b_col = g->a_row;
    t.add_row = g->add_col;
    t.add_col = g->add_row;
    return t;
}

FacStatus
FAC_TIERED(gemm)(const FacGemm *g)
{
    if (g->m == 0 || g->n == 0) return FAC_OK;
    if (g->n == 1 && g->m > 1 && g->c_row == 1 && !FAC_IS_COMPLEX(g->dtype)) {
        FacGemm row = turned(g);
        return FAC_TIERED(gemm)(&row);
    }
    if (is_small(g)) {
        FAC_TIERED(gemm_serial)(g);
        return FAC_OK;
    }
    /* where pieces of rows of B are packed, a task of its own would get short ones */
    const bool pieces = g->b_col == 1 && FAC_TIERED(gemm_has_dots)(g);
    if (g->m * (FAC_IS_COMPLEX(g->dtype) ? 2 : 1) <= GEMM_THIN &&
        (g->bytes || !FAC_IS_INT(g->dtype)) && !pieces) {
        const int64_t columns = thin_columns(g), grain = GEMM_SMALL / (g->m * g->k * columns);
        fac_parallel(fac_chunks(g->n, columns), grain > 0 ? grain : 1, thin_body, (void *)g);
        return FAC_OK;
    }
    if (FAC_IS_INT(g->dtype) && !g->bytes) {
        Batch rows = {g, g->a_row, 0, g->c_row, g->add_row};
        FacGemm row = *g;
        row.m = 1;
        rows.g = &row;
        const int64_t grain = GEMM_SMALL / (g->n * g->k);
        fac_parallel(g->m, grain > 0 ? grain : 1, batch_body, &rows);
        return FAC_OK;
    }
    if (g->dtype == FAC_DT_F16 || g->dtype == FAC_DT_BF16) return parallel_narrow(g);
    if (g->bytes) return parallel_sums(g);
    const bool single = fac_dtype_info[g->dtype].real == FAC_DT_F32;
    return single ? parallel_f32(g) : parallel_f64(g);
}

FacStatus
FAC_TIERED(gemm_batched)(const FacGemm *g, int64_t count, int64_t a_step, int64_t b_step,
                         int64_t c_step, int64_t add_step)
{
    Batch batch = {g, a_step, b_step, c_step, add_step};
    const double work = (double)g->m * (double)g->n * (double)g->k;
    if (g->m == 0 || g->n == 0) return FAC_OK;
    if (work <= 8.0 * GEMM_SMALL && count > 1) {
        const int64_t grain = (int64_t)(GEMM_SMALL / (work + 64));
        fac_parallel(count, grain > 0 ? grain : 1, batch_body, &batch);
        return FAC_OK;
    }
    for (int64_t i = 0; i < count; i++) {
        FacGemm item = batch_item(&batch, i);
        FAC_RETURN_IF_ERROR(FAC_TIERED(gemm)(&item));
    }
    return FAC_OK;
}
