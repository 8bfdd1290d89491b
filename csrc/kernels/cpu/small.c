/* small.c - QR, singular values and eigenvalues of small real matrices, eight of them side by side.
 *
 * A lane of a vector is a matrix. All numbers are double, so that float32 has no rounding of its own and nothing
 * of it overflows. QR is Householder's. Eigenvectors and singular vectors are turned out by Jacobi's rotations, of
 * both sides and of the columns; a lane that is done gets rotations by nothing, which leave it as it is: the bits of
 * a matrix do not depend on the others. Which matrices are small depends on their size alone, such that
 * one of them takes no longer than by the ways of large ones.
 */
#include "kernels/cpu/small.h"

#include <math.h>
#include <stdint.h>

#pragma GCC optimize("fp-contract=fast")

enum { LANES = 8, SWEEPS = 40 };

typedef double Lanes __attribute__((vector_size(64)));
typedef int64_t Mask __attribute__((vector_size(64)));

/* Matrices of m x n, by rows; r: rows of R or of U and V that are asked for, see the kernels. */
typedef struct Small {
    FacDType dtype;
    int64_t m, n, k, size, count;
    const char *from;
    char *to[3];
    int64_t columns, rows; /* of Q, of R */
    bool upper, vectors;
    int32_t *infos;
} Small;

/* No function takes or gives a vector: tiers without such long ones would not agree how. */
#define PICK(where, a, b) ((Lanes)(((Mask)(a) & (where)) | ((Mask)(b) & ~(where))))
#define SIZE(x) ((Lanes)((Mask)(x) & INT64_MAX))

static inline void
root(Lanes *x)
{
    double *at = (double *)x;
    for (int l = 0; l < LANES; l++) at[l] = sqrt(at[l]);
}

static inline bool
any(const Mask *where)
{
    int64_t all = 0;
    for (int l = 0; l < LANES; l++) all |= (*where)[l];
    return all != 0;
}

/* Instead of numbers up to x, a power of two that brings them near to 1. */
static inline void
power(Lanes *x)
{
    const int64_t one = (int64_t)1 << 52, ceiling = 0x7fd * one;
    Mask exponent = (Mask)*x & (0x7ff * one);
    const Mask above = exponent > ceiling;
    exponent = (exponent & ~above) | (ceiling & above);
    *x = (Lanes)(0x7fe * one - exponent);
}

/* --- between memory and lanes ------------------------------------------------------------------ */

/* The first whole vector of scratch. */
static inline Lanes *
lanes_at(char *scratch)
{
    return (Lanes *)(scratch + -(uintptr_t)scratch % sizeof(Lanes));
}

static int
lanes_of(const Small *s, int64_t group)
{
    const int64_t left = s->count - group * LANES;
    return (int)(left < LANES ? left : LANES);
}

static inline double
number_at(const Small *s, const char *at, int64_t i)
{
    return s->size == 4 ? (double)((const float *)at)[i] : ((const double *)at)[i];
}

static inline void
put_number(const Small *s, char *at, int64_t i, double x)
{
    if (s->size == 4)
        ((float *)at)[i] = (float)x;
    else
        ((double *)at)[i] = x;
}

/* The matrices of a group by columns, or their transposes; lanes beyond the count have the last one. */
static void
take(const Small *s, int64_t group, bool turned, Lanes *to)
{
    const int count = lanes_of(s, group);
    for (int l = 0; l < LANES; l++) {
        const int64_t which = group * LANES + (l < count ? l : count - 1);
        const char *from = s->from + which * s->m * s->n * s->size;
        for (int64_t i = 0; i < s->m; i++)
            for (int64_t j = 0; j < s->n; j++)
                ((double *)(to + (turned ? i * s->n + j : j * s->m + i)))[l] =
                    number_at(s, from, i * s->n + j);
    }
}

/* Brings n numbers near to 1 and says by what; a lane with a number that is not finite becomes zero, with an info. */
static void
normalize(const Small *s, int64_t group, int64_t n, Lanes *x, Lanes *scale)
{
    const int count = lanes_of(s, group);
    Lanes most = {0};
    Mask bad = {0};
    for (int64_t i = 0; i < n; i++) {
        const Lanes size = SIZE(x[i]);
        most = PICK(size > most, size, most);
        bad |= ~(Mask)(size <= 1.7976931348623157e308);
    }
    power(&most);
    for (int64_t i = 0; i < n; i++) x[i] = (Lanes)((Mask)(x[i] * most) & ~bad);
    for (int l = 0; l < count; l++) s->infos[group * LANES + l] = bad[l] ? 1 : 0;
    *scale = most;
}

/* --- QR ---------------------------------------------------------------------------------------- */

/* Columns times 1 - tau v v^T, v[0] = 1: one, or two that are `step` apart. */
static void
reflect(const Lanes *v, const Lanes *tau, int64_t rows, Lanes *c)
{
    Lanes sum = c[0];
    for (int64_t i = 1; i < rows; i++) sum += v[i] * c[i];
    sum *= *tau;
    c[0] -= sum;
    for (int64_t i = 1; i < rows; i++) c[i] -= v[i] * sum;
}

static void
reflect_two(const Lanes *v, const Lanes *tau, int64_t rows, Lanes *c, int64_t step)
{
    Lanes *d = c + step, one = c[0], two = d[0];
    for (int64_t i = 1; i < rows; i++) {
        one += v[i] * c[i];
        two += v[i] * d[i];
    }
    one *= *tau;
    two *= *tau;
    c[0] -= one;
    d[0] -= two;
    for (int64_t i = 1; i < rows; i++) {
        c[i] -= v[i] * one;
        d[i] -= v[i] * two;
    }
}

/* x to (beta, v[1:]). */
static void
reflector(Lanes *x, int64_t n, Lanes *tau)
{
    Lanes scale = {0}, rest = {0};
    for (int64_t i = 0; i < n; i++) scale = PICK(SIZE(x[i]) > scale, SIZE(x[i]), scale);
    power(&scale);
    const Lanes alpha = x[0] * scale;
    for (int64_t i = 1; i < n; i++) rest += x[i] * scale * (x[i] * scale);
    Lanes length = alpha * alpha + rest;
    root(&length);
    const Lanes beta = PICK(alpha >= 0, -length, length);
    const Mask none = rest == 0;
    const Lanes by = (Lanes)((Mask)(1 / (alpha - beta)) & ~none);
    for (int64_t i = 1; i < n; i++) x[i] = x[i] * scale * by; /* scale / ... would overflow */
    x[0] = PICK(none, x[0], beta / scale);
    *tau = (Lanes)((Mask)((beta - alpha) / beta) & ~none);
}

static FacStatus
qr_group(int64_t group, char *scratch, bool serial, void *context)
{
    const Small *s = context;
    const int64_t m = s->m, n = s->n, k = s->k, columns = s->columns;
    Lanes *a = lanes_at(scratch), *tau = a + m * n, *q = tau + k;
    (void)serial;
    take(s, group, false, a);
    /* Two columns at a time take all reflectors that are there: they stay in the first cache. */
    for (int64_t c = 0; c < n; c += 2) {
        Lanes *x = a + c * m;
        for (int64_t j = 0; j < c && j < k; j++)
            if (c + 1 < n)
                reflect_two(a + j * m + j, &tau[j], m - j, x + j, m);
            else
                reflect(a + j * m + j, &tau[j], m - j, x + j);
        if (c >= k) continue;
        reflector(x + c, m - c, &tau[c]);
        if (c + 1 < n) reflect(x + c, &tau[c], m - c, x + m + c);
        if (c + 1 < k) reflector(x + m + c + 1, m - c - 1, &tau[c + 1]);
    }
    for (int64_t i = 0; i < m * columns; i++) q[i] = (Lanes){0};
    for (int64_t c = 0; c < columns; c += 2) {
        Lanes *x = q + c * m;
        const bool two = c + 1 < columns;
        x[c] += 1;
        if (two) x[m + c + 1] += 1;
        for (int64_t j = (c + two < k ? c + two : k - 1); j >= 0; j--)
            if (two)
                reflect_two(a + j * m + j, &tau[j], m - j, x + j, m);
            else
                reflect(a + j * m + j, &tau[j], m - j, x + j);
    }
    for (int l = 0; l < lanes_of(s, group); l++) {
        const int64_t which = group * LANES + l;
        char *to = s->to[0] + which * m * columns * s->size;
        char *r = s->to[1] + which * s->rows * n * s->size;
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < columns; j++)
                put_number(s, to, i * columns + j, ((const double *)(q + j * m + i))[l]);
        for (int64_t i = 0; i < s->rows; i++)
            for (int64_t j = 0; j < n; j++)
                put_number(s, r, i * n + j, i <= j ? ((const double *)(a + j * m + i))[l] : 0);
    }
    return FAC_OK;
}

/* --- rotations --------------------------------------------------------------------------------- */

typedef struct Rotation {
    Lanes t, c, s;
} Rotation;

/* Of the symmetric matrix with the diagonal p, q and r beside it; by nothing where `wanted` is false. */
static inline void
find_rotation(const Lanes *p, const Lanes *q, const Lanes *r, const Mask *wanted, Rotation *x)
{
    const Lanes theta = (*q - *p) / (2 * *r);
    Lanes part = theta * theta + 1;
    root(&part);
    part = 1 / (SIZE(theta) + part);
    x->t = (Lanes)((Mask)PICK(theta >= 0, part, -part) & *wanted);
    part = x->t * x->t + 1;
    root(&part);
    x->c = 1 / part;
    x->s = x->t * x->c;
}

static inline void
rotate(const Rotation *x, Lanes *a, Lanes *b)
{
    const Lanes u = *a, v = *b;
    *a = x->c * u - x->s * v;
    *b = x->s * u + x->c * v;
}

static void
identity(Lanes *v, int64_t n)
{
    for (int64_t i = 0; i < n * n; i++) v[i] = (Lanes){0};
    for (int64_t i = 0; i < n; i++) v[i * (n + 1)] += 1;
}

/* The n values of a lane by size, from the largest on. */
static void
put_in_order(const Lanes *values, int l, int64_t n, int *order)
{
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0 && values[order[at - 1]][l] < values[i][l]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
}

/* --- eigenvalues ------------------------------------------------------------------------------- */

/* One turn over all that is beside the diagonal, in the upper triangle by columns; whether there was any. */
static bool
eigen_sweep(Lanes *a, Lanes *v, int64_t n, bool vectors)
{
    const double least = 0x1p-60; /* of numbers near to 1 */
    Mask found = {0};
    for (int64_t q = 1; q < n; q++)
        for (int64_t p = 0; p < q; p++) {
            Lanes *r = a + q * n + p;
            const Mask wanted = SIZE(*r) > least;
            if (!any(&wanted)) continue;
            found |= wanted;
            Rotation x;
            find_rotation(&a[p * (n + 1)], &a[q * (n + 1)], r, &wanted, &x);
            a[p * (n + 1)] -= x.t * *r;
            a[q * (n + 1)] += x.t * *r;
            *r = (Lanes)((Mask)*r & ~wanted);
            for (int64_t i = 0; i < n; i++)
                if (i != p && i != q)
                    rotate(&x, a + (i < p ? p * n + i : i * n + p),
                           a + (i < q ? q * n + i : i * n + q));
            for (int64_t i = 0; i < n && vectors; i++) rotate(&x, v + p * n + i, v + q * n + i);
        }
    return any(&found);
}

static FacStatus
eigen_group(int64_t group, char *scratch, bool serial, void *context)
{
    const Small *s = context;
    const int64_t n = s->n;
    Lanes *a = lanes_at(scratch), *v = a + n * n, values[SMALL_SPECTRUM];
    int order[SMALL_SPECTRUM];
    (void)serial;
    take(s, group, !s->upper, a);
    for (int64_t j = 0; j < n; j++) /* what is not read */
        for (int64_t i = j + 1; i < n; i++) a[j * n + i] = (Lanes){0};
    Lanes scale;
    normalize(s, group, n * n, a, &scale);
    if (s->vectors) identity(v, n);
    for (int i = 0; i < SWEEPS && eigen_sweep(a, v, n, s->vectors); i++) {}
    for (int64_t i = 0; i < n; i++) values[i] = -a[i * (n + 1)];
    for (int l = 0; l < lanes_of(s, group); l++) {
        const int64_t which = group * LANES + l;
        put_in_order(values, l, n, order);
        for (int64_t j = 0; j < n; j++) {
            put_number(s, s->to[0], which * n + j, -values[order[j]][l] / scale[l]);
            for (int64_t i = 0; i < n && s->vectors; i++)
                put_number(s, s->to[1] + which * n * n * s->size, j * n + i,
                           ((const double *)(v + order[j] * n + i))[l]);
        }
    }
    return FAC_OK;
}

/* --- singular values --------------------------------------------------------------------------- */

/* One turn over all pairs of k columns of m rows: makes them orthogonal; whether any were not. */
static bool
singular_sweep(Lanes *w, Lanes *v, int64_t m, int64_t k, bool vectors)
{
    const double enough = 0x1p-52, zero = 1e-240; /* of squares of numbers near to 1 */
    Mask found = {0};
    for (int64_t p = 0; p < k; p++)
        for (int64_t q = p + 1; q < k; q++) {
            Lanes *a = w + p * m, *b = w + q * m, aa = {0}, bb = {0}, ab = {0};
            for (int64_t i = 0; i < m; i++) {
                aa += a[i] * a[i];
                bb += b[i] * b[i];
                ab += a[i] * b[i];
            }
            Lanes most = aa, other = bb;
            root(&most);
            root(&other);
            most *= enough * other;
            const Mask wanted = (SIZE(ab) > most) & (aa > zero) & (bb > zero);
            if (!any(&wanted)) continue;
            found |= wanted;
            Rotation x;
            find_rotation(&aa, &bb, &ab, &wanted, &x);
            for (int64_t i = 0; i < m; i++) rotate(&x, a + i, b + i);
            for (int64_t i = 0; i < k && vectors; i++) rotate(&x, v + p * k + i, v + q * k + i);
        }
    return any(&found);
}

/* Columns of no length become orthogonal to all others, in one lane of u: `from` on, in `order`. */
static void
complete(Lanes *u, int l, int64_t m, int64_t k, const int *order, int64_t from)
{
    for (int64_t j = from, unit = 0; j < k; unit++) {
        double length = 0;
        Lanes *x = u + order[j] * m;
        for (int64_t i = 0; i < m; i++) x[i][l] = i == unit % m;
        for (int round = 0; round < 2; round++)
            for (int64_t p = 0; p < j; p++) {
                const Lanes *y = u + order[p] * m;
                double sum = 0;
                for (int64_t i = 0; i < m; i++) sum += x[i][l] * y[i][l];
                for (int64_t i = 0; i < m; i++) x[i][l] -= sum * y[i][l];
            }
        for (int64_t i = 0; i < m; i++) length += x[i][l] * x[i][l];
        if (length * (double)(2 * m) < 1) continue; /* nearly in the span of the others */
        length = sqrt(length);
        for (int64_t i = 0; i < m; i++) x[i][l] /= length;
        j++;
    }
}

/* Columns of w are the left vectors of A or, where it has more columns than rows, of its transpose. */
static FacStatus
singular_group(int64_t group, char *scratch, bool serial, void *context)
{
    const Small *s = context;
    const bool turned = s->m < s->n;
    const int64_t m = turned ? s->n : s->m, k = s->k;
    Lanes *w = lanes_at(scratch), *v = w + m * k, values[SMALL_SPECTRUM];
    int order[SMALL_SPECTRUM];
    (void)serial;
    take(s, group, turned, w);
    Lanes scale;
    normalize(s, group, m * k, w, &scale);
    if (s->vectors) identity(v, k);
    for (int i = 0; i < SWEEPS && singular_sweep(w, v, m, k, s->vectors); i++) {}
    for (int64_t j = 0; j < k; j++) {
        Lanes sum = {0};
        for (int64_t i = 0; i < m; i++) sum += w[j * m + i] * w[j * m + i];
        values[j] = (Lanes)((Mask)sum & (sum > 1e-240));
        root(&values[j]);
        for (int64_t i = 0; i < m && s->vectors; i++) w[j * m + i] /= values[j];
    }
    for (int l = 0; l < lanes_of(s, group); l++) {
        const int64_t which = group * LANES + l;
        int64_t rank = 0;
        put_in_order(values, l, k, order);
        for (int64_t j = 0; j < k; j++) {
            put_number(s, s->to[1], which * k + j, values[order[j]][l] / scale[l]);
            rank += values[order[j]][l] > 0;
        }
        if (!s->vectors) continue;
        if (rank < k) complete(w, l, m, k, order, rank);
        char *u = s->to[0] + which * s->m * k * s->size,
             *vh = s->to[2] + which * s->n * k * s->size;
        const Lanes *left = turned ? v : w, *right = turned ? w : v;
        for (int64_t j = 0; j < k; j++) {
            for (int64_t i = 0; i < s->m; i++)
                put_number(s, u, j * s->m + i, ((const double *)(left + order[j] * s->m + i))[l]);
            for (int64_t i = 0; i < s->n; i++)
                put_number(s, vh, i * k + j, ((const double *)(right + order[j] * s->n + i))[l]);
        }
    }
    return FAC_OK;
}

/* --- calls ------------------------------------------------------------------------------------- */

static Small
small_of(const FacTensor *a, FacTensor *plain)
{
    Small s = {.dtype = (FacDType)a->dtype,
               .m = a->sizes[a->ndim - 2],
               .n = a->sizes[a->ndim - 1],
               .size = fac_dtype_size((FacDType)a->dtype),
               .count = fac_matrix_count(a, 2),
               .from = fac_data(plain)};
    s.k = s.m < s.n ? s.m : s.n;
    return s;
}

/* `numbers`: of scratch. */
static FacStatus
run(Small *s, FacMatrixBody body, int64_t numbers)
{
    const double work = 4.0 * LANES * (double)s->m * (double)s->n * (double)s->k;
    return fac_each_matrix((s->count + LANES - 1) / LANES, work,
                           (size_t)(numbers + 1) * sizeof(Lanes), body, s);
}

FacStatus
FAC_TIERED(small_qr)(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *q = fac_result_tensor(call, 0), *plain;
    FacTensor *r = fac_result_tensor(call, 1);
    FAC_RETURN_IF_ERROR(fac_contiguous(a, (FacDType)a->dtype, &plain));
    Small s = small_of(a, plain);
    s.to[0] = fac_data(q);
    s.to[1] = fac_data(r);
    s.columns = q->sizes[q->ndim - 1];
    s.rows = r->sizes[r->ndim - 2];
    const FacStatus st = run(&s, qr_group, s.m * (s.n + s.columns) + s.k);
    fac_tensor_release(plain);
    return st;
}

FacStatus
FAC_TIERED(small_eigh)(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *w = fac_result_tensor(call, 0), *plain;
    const char triangle = FAC_ARG(call, 1).v.s[0];
    FacStatus st = FAC_OK;
    FAC_RETURN_IF_ERROR(fac_contiguous(a, (FacDType)a->dtype, &plain));
    Small s = small_of(a, plain);
    s.upper = triangle == 'U' || triangle == 'u';
    s.vectors = fac_v_is_true(FAC_ARG(call, 2));
    s.to[0] = fac_data(w);
    s.to[1] = fac_data(fac_result_tensor(call, 1));
    s.infos = fac_mem_zalloc((size_t)s.count * sizeof *s.infos);
    if (!s.infos) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for %lld numbers", (long long)s.count);
    FAC_TRY(run(&s, eigen_group, 2 * s.n * s.n));
    st = fac_check_infos(s.infos, s.count, w->ndim > 1, fac_eigh_failed);
done:
    fac_mem_free(s.infos);
    fac_tensor_release(plain);
    return st;
}

/* (A, full_matrices, compute_uv, driver) -> (U, S, Vh). */
FacStatus
FAC_KERNEL(svd)(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *values = fac_result_tensor(call, 1), *plain = NULL;
    const bool full = fac_v_is_true(FAC_ARG(call, 1)), vectors = fac_v_is_true(FAC_ARG(call, 2));
    const int64_t m = a->sizes[a->ndim - 2], n = a->sizes[a->ndim - 1];
    FacStatus st = FAC_OK;
    if (FAC_IS_COMPLEX(a->dtype) || !values->numel || (m < n ? m : n) > SMALL_SPECTRUM ||
        (m > n ? m : n) > SMALL_LONG || (full && vectors && m != n))
        return fac_k_svd(call);
    FAC_RETURN_IF_ERROR(fac_contiguous(a, (FacDType)a->dtype, &plain));
    Small s = small_of(a, plain);
    s.vectors = vectors;
    for (int i = 0; i < 3; i++) s.to[i] = fac_data(fac_result_tensor(call, i));
    s.infos = fac_mem_zalloc((size_t)s.count * sizeof *s.infos);
    if (!s.infos) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for %lld numbers", (long long)s.count);
    FAC_TRY(run(&s, singular_group, s.m * s.n + s.k * s.k));
    st = fac_check_infos(s.infos, s.count, values->ndim > 1, fac_svd_failed);
done:
    fac_mem_free(s.infos);
    fac_tensor_release(plain);
    return st;
}
