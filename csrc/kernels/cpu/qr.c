/* qr.c - QR by Householder reflectors, blocked on the product.
 *
 * Panels of QR_PANEL columns are factored column by column, in a copy that has a column a row. Their
 * reflectors together are I - V T V^H, with which what is right of the panel is three products, and
 * so is Q, from the last panel to the first.
 */
#include "kernels/cpu/factor.h"
#include "kernels/cpu/reflector.h"
#include "kernels/cpu/small.h"
#include "kernels/matrices.h"

#include <complex.h>
#include <float.h>
#include <math.h>
#include <string.h>

#pragma GCC optimize("fp-contract=fast", "cx-limited-range")

/* Below LSTSQ_LEAST columns LAPACK solves least squares as fast. */
enum { QR_PANEL = 32, LSTSQ_LEAST = 32 };

#define QR_NOTHING(x) (x)
#define root_f32 sqrtf
#define root_f64 sqrt
#define root_c64 sqrtf
#define root_c128 sqrt
#define size_f32 fabsf
#define size_f64 fabs
#define size_c64 cabsf
#define size_c128 cabs

#define T float
#define REAL float
#define NAME(x) x##_f32
#define CONJ QR_NOTHING
#define PART QR_NOTHING
#define QR_TINY 1e-30f
#define QR_MOST FLT_MAX
#include "kernels/cpu/qr_body.h"
#define T double
#define REAL double
#define NAME(x) x##_f64
#define CONJ QR_NOTHING
#define PART QR_NOTHING
#define QR_TINY 1e-280
#define QR_MOST DBL_MAX
#include "kernels/cpu/qr_body.h"
#define T float complex
#define REAL float
#define NAME(x) x##_c64
#define CONJ conjf
#define PART crealf
#define QR_TINY 1e-30f
#define QR_MOST FLT_MAX
#include "kernels/cpu/qr_body.h"
#define T double complex
#define REAL double
#define NAME(x) x##_c128
#define CONJ conj
#define PART creal
#define QR_TINY 1e-280
#define QR_MOST DBL_MAX
#include "kernels/cpu/qr_body.h"

static const struct Panels {
    void (*panel)(void *columns, int64_t m, int64_t n, void *taus, void *triangle);
    void (*product)(const void *gram, const void *taus, int64_t n, void *factor, void *adjoint);
    bool (*is_regular)(const void *triangle, int64_t n, double least, void *x, void *y);
    void (*conjugate)(const void *from, int64_t n, void *to);
    void (*turn)(const void *from, int64_t step, int64_t m, int64_t n, void *to);
    void (*store)(const void *columns, int64_t m, int64_t n, void *to, int64_t step);
} panels[FAC_DTYPES] = {
    [FAC_DT_F32] = {panel_f32, product_f32, is_regular_f32, conjugate_f32, turn_f32, store_f32},
    [FAC_DT_F64] = {panel_f64, product_f64, is_regular_f64, conjugate_f64, turn_f64, store_f64},
    [FAC_DT_C64] = {panel_c64, product_c64, is_regular_c64, conjugate_c64, turn_c64, store_c64},
    [FAC_DT_C128] = {panel_c128, product_c128, is_regular_c128, conjugate_c128, turn_c128,
                     store_c128},
};

void
FAC_TIERED(reflector)(FacDType dtype, void *x, int64_t n, void *tau)
{
    switch (dtype) {
    case FAC_DT_F32: *(float *)tau = reflector_f32(x, n); return;
    case FAC_DT_F64: *(double *)tau = reflector_f64(x, n); return;
    case FAC_DT_C64: *(float complex *)tau = reflector_c64(x, n); return;
    default: *(double complex *)tau = reflector_c128(x, n); return;
    }
}

void
FAC_TIERED(reflector_product)(FacDType dtype, const void *gram, const void *taus, int64_t n,
                              void *factor, void *adjoint)
{
    panels[dtype].product(gram, taus, n, factor, adjoint);
}

/* One matrix of m x n with k reflectors, and where it works. */
typedef struct Qr {
    FacDType dtype;
    bool serial;
    int64_t size, m, n, k, width; /* width: columns of the widest matrix that is multiplied */
    char *a;                      /* m x n by rows */
    char *v, *tau;                /* panel by panel, each with its columns as rows; k */
    char *vh, *gram, *factors, *triangle, *w[2];
} Qr;

/* Elements of scratch, all but a. */
static int64_t
qr_scratch(const Qr *q)
{
    return q->k * q->m + q->k + QR_PANEL * (q->m + 2 * q->width + 2 * q->k + 3 * QR_PANEL);
}

static void
qr_place(Qr *q, char *scratch)
{
    char **const places[] = {&q->v,        &q->tau,  &q->vh,   &q->gram,
                             &q->triangle, &q->w[0], &q->w[1], &q->factors};
    const int64_t lengths[] = {q->k * q->m,         q->k,
                               QR_PANEL * q->m,     QR_PANEL * QR_PANEL,
                               QR_PANEL * QR_PANEL, QR_PANEL * q->width,
                               QR_PANEL * q->width, QR_PANEL * (2 * q->k + QR_PANEL)};
    for (int i = 0; i < 8; i++) {
        *places[i] = scratch;
        scratch += lengths[i] * q->size;
    }
}

static FacStatus
multiply(const Qr *q, int64_t m, int64_t k, int64_t n, const char *a, int64_t a_row, int64_t a_col,
         const char *b, int64_t b_row, int64_t b_col, char *c, int64_t c_row, bool accumulate)
{
    const FacGemm g = {.dtype = q->dtype,
                       .m = m,
                       .n = n,
                       .k = k,
                       .a = a,
                       .a_row = a_row,
                       .a_col = a_col,
                       .b = b,
                       .b_row = b_row,
                       .b_col = b_col,
                       .c = c,
                       .c_row = c_row,
                       .accumulate = accumulate};
    if (!q->serial) return FAC_TIERED(gemm)(&g);
    FAC_TIERED(gemm_serial)(&g);
    return FAC_OK;
}

/* V^H by rows: for real numbers V as it is stored. */
static const char *
adjoint_of(const Qr *q, const char *v, int64_t m, int64_t n)
{
    if (!FAC_IS_COMPLEX(q->dtype)) return v;
    panels[q->dtype].conjugate(v, n * m, q->vh);
    return q->vh;
}

/* C += V (factor (V^H C)), C of m rows of `columns`; factor is -T or -T^H. */
static FacStatus
reflect(const Qr *q, const char *v, int64_t m, int64_t n, const char *factor, char *c, int64_t step,
        int64_t columns)
{
    if (columns == 0) return FAC_OK;
    const char *vh = adjoint_of(q, v, m, n);
    FAC_RETURN_IF_ERROR(multiply(q, n, m, columns, vh, m, 1, c, step, 1, q->w[0], columns, false));
    FAC_RETURN_IF_ERROR(
        multiply(q, n, n, columns, factor, n, 1, q->w[0], columns, 1, q->w[1], columns, false));
    return multiply(q, m, n, columns, v, 1, m, q->w[1], columns, 1, c, step, true);
}

/* Where the reflectors of the panel that begins at column j lie, and -T of it; -T^H is behind that. */
static char *
panel_at(const Qr *q, int64_t j)
{
    return q->v + j * q->m * q->size;
}
static char *
factors_at(const Qr *q, int64_t j)
{
    return q->factors + 2 * j * QR_PANEL * q->size;
}

/* R in the upper triangle of a; the reflectors in v. */
static FacStatus
qr_factor(const Qr *q)
{
    const struct Panels *p = &panels[q->dtype];
    for (int64_t j = 0; j < q->k; j += QR_PANEL) {
        const int64_t n = q->k - j < QR_PANEL ? q->k - j : QR_PANEL, m = q->m - j;
        char *a = q->a + j * (q->n + 1) * q->size, *v = panel_at(q, j), *factors = factors_at(q, j);
        char *tau = q->tau + j * q->size, *adjoint = factors + n * n * q->size;
        p->turn(a, q->n, m, n, v);
        p->panel(v, m, n, tau, q->triangle);
        for (int64_t i = 0; i < n; i++)
            memcpy(a + i * (q->n + 1) * q->size, q->triangle + i * (QR_PANEL + 1) * q->size,
                   (size_t)((n - i) * q->size));
        FAC_RETURN_IF_ERROR(
            multiply(q, n, m, n, adjoint_of(q, v, m, n), m, 1, v, 1, m, q->gram, n, false));
        p->product(q->gram, tau, n, factors, adjoint);
        FAC_RETURN_IF_ERROR(reflect(q, v, m, n, adjoint, a + n * q->size, q->n, q->n - j - n));
    }
    return FAC_OK;
}

/* The first `columns` columns of Q, by rows. */
static FacStatus
qr_form(const Qr *q, char *to, int64_t columns)
{
    static const float single[2] = {1, 0};
    static const double wide[2] = {1, 0};
    const bool is_single = fac_dtype_info[q->dtype].real == FAC_DT_F32;
    memset(to, 0, (size_t)(q->m * columns * q->size));
    for (int64_t i = 0; i < columns; i++)
        memcpy(to + i * (columns + 1) * q->size, is_single ? (const void *)single : wide,
               (size_t)q->size);
    for (int64_t j = (q->k - 1) / QR_PANEL * QR_PANEL; j >= 0 && q->k > 0; j -= QR_PANEL) {
        const int64_t n = q->k - j < QR_PANEL ? q->k - j : QR_PANEL;
        FAC_RETURN_IF_ERROR(reflect(q, panel_at(q, j), q->m - j, n, factors_at(q, j),
                                    to + j * (columns + 1) * q->size, columns, columns - j));
    }
    return FAC_OK;
}

typedef struct Batch {
    Qr q;
    const char *from;
    char *to[2];     /* Q and R, or the reflectors and tau */
    int64_t columns; /* of Q; 0: it is not wanted */
    int64_t r_rows;
} Batch;

static double
qr_work(const Qr *q)
{
    return (double)q->m * (double)q->n * (double)q->k * 2;
}

static FacStatus
qr_item(int64_t i, char *scratch, bool serial, void *context)
{
    const Batch *b = context;
    Qr q = b->q;
    const int64_t area = q.m * q.n * q.size, row = q.n * q.size;
    char *r = b->to[1] + i * b->r_rows * row;
    q.serial = serial;
    q.a = scratch;
    qr_place(&q, scratch + area);
    if (area) memcpy(q.a, b->from + i * area, (size_t)area);
    FAC_RETURN_IF_ERROR(qr_factor(&q));
    memset(r, 0, (size_t)(b->r_rows * row));
    for (int64_t j = 0; j < q.k; j++)
        memcpy(r + j * (row + q.size), q.a + j * (row + q.size), (size_t)(row - j * q.size));
    if (!b->columns) return FAC_OK;
    return qr_form(&q, b->to[0] + i * q.m * b->columns * q.size, b->columns);
}

static Qr
qr_of(const FacTensor *a, int64_t columns)
{
    const int64_t m = a->sizes[a->ndim - 2], n = a->sizes[a->ndim - 1];
    return (Qr){.dtype = (FacDType)a->dtype,
                .size = fac_dtype_size((FacDType)a->dtype),
                .m = m,
                .n = n,
                .k = m < n ? m : n,
                .width = n > columns ? n : columns};
}

/* (A, mode) -> (Q, R); Q has no columns where it is not wanted. */
FacStatus
FAC_KERNEL(linalg_qr)(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *out = fac_result_tensor(call, 0), *plain;
    FacTensor *r = fac_result_tensor(call, 1);
    const int64_t columns = out->sizes[out->ndim - 1];
    const int64_t m = a->sizes[a->ndim - 2], n = a->sizes[a->ndim - 1];
    if (!out->numel && !r->numel) return FAC_OK;
    if (!FAC_IS_COMPLEX(a->dtype) && m * n <= SMALL_AREA && m * columns <= SMALL_AREA)
        return FAC_TIERED(small_qr)(call);
    FAC_RETURN_IF_ERROR(fac_contiguous(a, (FacDType)a->dtype, &plain));
    Batch b = {.q = qr_of(a, columns),
               .from = fac_data(plain),
               .to = {fac_data(out), fac_data(r)},
               .columns = columns,
               .r_rows = r->sizes[r->ndim - 2]};
    const FacStatus st =
        fac_each_matrix(fac_matrix_count(a, 2), qr_work(&b.q),
                        (size_t)((b.q.m * b.q.n + qr_scratch(&b.q)) * b.q.size), qr_item, &b);
    fac_tensor_release(plain);
    return st;
}

static FacStatus
reflectors_item(int64_t i, char *scratch, bool serial, void *context)
{
    const Batch *b = context;
    Qr q = b->q;
    q.serial = serial;
    q.a = b->to[0] + i * q.m * q.n * q.size;
    qr_place(&q, scratch);
    FAC_RETURN_IF_ERROR(qr_factor(&q));
    if (q.k) memcpy(b->to[1] + i * q.k * q.size, q.tau, (size_t)(q.k * q.size));
    for (int64_t j = 0; j < q.k; j += QR_PANEL) {
        const int64_t n = q.k - j < QR_PANEL ? q.k - j : QR_PANEL;
        panels[q.dtype].store(panel_at(&q, j), q.m - j, n, q.a + j * (q.n + 1) * q.size, q.n);
    }
    return FAC_OK;
}

/* (A) -> (reflectors below R, tau). */
FacStatus
FAC_KERNEL(geqrf)(FacCall *call)
{
    FacTensor *out = fac_result_tensor(call, 0);
    Batch b = {.q = qr_of(out, 0), .to = {fac_data(out), fac_data(fac_result_tensor(call, 1))}};
    if (!out->numel) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_tensor_copy(out, fac_arg_tensor(call, 0)));
    return fac_each_matrix(fac_matrix_count(out, 2), qr_work(&b.q),
                           (size_t)(qr_scratch(&b.q) * b.q.size), reflectors_item, &b);
}

/* --- least squares ---------------------------------------------------------------------------------- */

typedef struct Least {
    Qr q;
    const char *from, *sides;
    char *to;        /* by columns */
    int64_t columns; /* of a right side */
    double rcond;
    bool again; /* only what is solved already */
    bool *solved;
} Least;

static FacStatus
least_item(int64_t i, char *scratch, bool serial, void *context)
{
    const Least *b = context;
    Qr q = b->q;
    const int64_t area = q.m * q.n * q.size, side = q.m * b->columns * q.size;
    char *x = scratch + area, *rest = x + side;
    if (b->again && !b->solved[i]) return FAC_OK;
    q.serial = serial;
    q.a = scratch;
    qr_place(&q, rest);
    memcpy(q.a, b->from + i * area, (size_t)area);
    FAC_RETURN_IF_ERROR(qr_factor(&q));
    b->solved[i] = panels[q.dtype].is_regular(q.a, q.n, b->rcond, q.w[0], q.w[1]);
    if (!b->solved[i]) return FAC_OK;
    memcpy(x, b->sides + i * side, (size_t)side);
    for (int64_t j = 0; j < q.n; j += QR_PANEL) {
        const int64_t n = q.n - j < QR_PANEL ? q.n - j : QR_PANEL;
        FAC_RETURN_IF_ERROR(reflect(&q, panel_at(&q, j), q.m - j, n,
                                    factors_at(&q, j) + n * n * q.size, x + j * b->columns * q.size,
                                    b->columns, b->columns));
    }
    const FacFactor f = {q.dtype, serial, rest + qr_scratch(&q) * q.size};
    const FacTriangle r = {.at = q.a, .row = q.n, .col = 1, .upper = true};
    FAC_RETURN_IF_ERROR(FAC_TIERED(solve_triangle)(&f, &r, q.n, x, b->columns, b->columns));
    panels[q.dtype].turn(x, b->columns, q.m, b->columns, b->to + i * side);
    return FAC_OK;
}

/* (A, B, rcond, driver) -> (X, rank, singular values), see fac_k_lstsq: matrices of full rank by QR without
 * an order of the columns; LAPACK has all others, and what asks for singular values. */
FacStatus
FAC_KERNEL(lstsq)(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *x = fac_result_tensor(call, 0);
    FacTensor *rank = fac_result_tensor(call, 1), *plain = NULL, *sides = NULL;
    const FacValue driver = FAC_ARG(call, 3);
    const int64_t columns = x->sizes[x->ndim - 1], count = fac_matrix_count(a, 2);
    const bool ranks = driver.len == 5;
    Least b = {.q = qr_of(a, columns), .columns = columns};
    FacStatus st = FAC_OK;
    if ((ranks && driver.v.s[4] != 'y') || b.q.m < b.q.n || b.q.n < LSTSQ_LEAST || !x->numel)
        return fac_k_lstsq(call);
    const int64_t room =
        b.q.m * (b.q.n + columns) + qr_scratch(&b.q) + fac_factor_scratch(b.q.n, b.q.n);
    FAC_TRY(fac_contiguous(a, b.q.dtype, &plain));
    FAC_TRY(fac_contiguous(fac_arg_tensor(call, 1), b.q.dtype, &sides));
    b.from = fac_data(plain);
    b.sides = fac_data(sides);
    b.to = fac_data(x);
    b.rcond = fac_v_as_float(FAC_ARG(call, 2));
    b.solved = fac_mem_zalloc((size_t)count);
    if (!b.solved) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for %lld numbers", (long long)count);
    for (; st == FAC_OK; b.again = true) {
        int64_t open = 0;
        FAC_TRY(fac_each_matrix(count, qr_work(&b.q), (size_t)(room * b.q.size), least_item, &b));
        for (int64_t i = 0; i < count; i++) open += !b.solved[i];
        if (b.again || open == 0) break;
        FAC_TRY(fac_k_lstsq(call)); /* all of them: bits do not depend on the others of a batch */
        if (open == count) goto done;
    }
    for (int64_t i = 0; i < count; i++)
        if (b.solved[i]) ((int64_t *)fac_data(rank))[i] = ranks ? b.q.n : 0;
done:
    fac_mem_free(b.solved);
    fac_tensor_release(plain);
    fac_tensor_release(sides);
    return st;
}
