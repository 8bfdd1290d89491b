/* norm_body.h - normalization of rows in one real type, T; included by norm.c. The variance is
 * taken around the mean, in a second pass over what is in the cache then.
 */

#include "kernels/cpu/norm_sums.h"
#include "kernels/cpu/pieces.h"

/* For the pieces of a row of p->n elements: i is where one begins, m how long it is. */
#define EACH_PIECE(p)                                                                              \
    for (int64_t i = 0, m; i < (p)->n && (m = (p)->n - i < PIECE ? (p)->n - i : PIECE, true);      \
         i += m)

/* Those of the row at `at`; without a mean, 1 / the root of the mean square. */
static void
NAME(row_stats)(const Norm *p, NAME(In) * x, int64_t at, T *mean, T *rstd)
{
    NAME(Sums) s = {{0}, {0}}, squares = {{0}, {0}};
    *mean = 0;
    if (p->centered) {
        EACH_PIECE(p) NAME(add_sum)(NAME(piece)(x, at + i, m), m, &s);
        *mean = NAME(fold)(s.a) / (T)p->n;
    }
    EACH_PIECE(p) NAME(add_squares)(NAME(piece)(x, at + i, m), m, *mean, &squares);
    *rstd = 1 / SQRT(NAME(fold)(squares.a) / (T)p->n + (T)p->eps);
}

/* y = (x - mean) rstd w + b; w and b may be NULL. */
static void
NAME(scale_shift)(const T *x, int64_t n, T mean, T rstd, const T *w, const T *b, T *y)
{
    if (w && b)
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * w[i] + b[i];
    else if (w)
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd * w[i];
    else if (b)
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd + b[i];
    else
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * rstd;
}

static void
NAME(rows)(int64_t begin, int64_t end, void *context)
{
    const Norm *p = context;
    const T *w = p->weight, *b = p->bias;
    NAME(In) x;
    NAME(read_from)(&x, p->x, p->dtype);
    NAME(Out) y;
    NAME(write_to)(&y, p->y, p->dtype);
    for (; begin < end; begin++) {
        const int64_t at = begin * p->n;
        T mean, rstd;
        NAME(row_stats)(p, &x, at, &mean, &rstd);
        if (p->mean) ((T *)p->mean)[begin] = mean;
        ((T *)p->rstd)[begin] = rstd;
        EACH_PIECE(p)
        {
            NAME(scale_shift)(NAME(piece)(&x, at + i, m), m, mean, rstd, w ? w + i : NULL,
                              b ? b + i : NULL, NAME(room)(&y, at + i));
            NAME(written)(&y, at + i, m);
        }
    }
}

/* dx = rstd (v - mean(v) - xhat mean(v xhat)), v = g w, for one row. */
static void
NAME(row_backward)(const Norm *p, int64_t at, NAME(In) * x, NAME(In) * g, NAME(Out) * y, T mean,
                   T rstd)
{
    const T *w = p->weight;
    NAME(Sums) s = {{0}, {0}};
    EACH_PIECE(p)
    NAME(add_products)(NAME(piece)(g, at + i, m), NAME(piece)(x, at + i, m), w ? w + i : NULL, m,
                       mean, &s);
    const T a = p->centered ? NAME(fold)(s.a) / (T)p->n : 0;
    const T b = NAME(fold)(s.b) * rstd * rstd / (T)p->n;
    EACH_PIECE(p)
    {
        const T *from = NAME(piece)(g, at + i, m), *xs = NAME(piece)(x, at + i, m);
        T *to = NAME(room)(y, at + i);
        if (w)
            for (int64_t j = 0; j < m; j++)
                to[j] = rstd * (from[j] * w[i + j] - a - (xs[j] - mean) * b);
        else
            for (int64_t j = 0; j < m; j++) to[j] = rstd * (from[j] - a - (xs[j] - mean) * b);
        NAME(written)(y, at + i, m);
    }
}

/* What the groups [begin, end) of NORM_GROUP rows give: dx if it is wanted, and their part of dw
 * and db, a pair of rows of n a group, if those are. */
static void
NAME(rows_backward)(int64_t begin, int64_t end, void *context)
{
    const Norm *p = context;
    NAME(In) x;
    NAME(read_from)(&x, p->x, p->dtype);
    NAME(In) g;
    NAME(read_from)(&g, p->g, p->gtype);
    NAME(Out) y;
    NAME(write_to)(&y, p->y, p->dtype);
    for (; begin < end; begin++) {
        T *dw = p->partial ? (T *)p->partial + begin * 2 * p->n : NULL;
        T *db = dw ? dw + p->n : NULL;
        const int64_t first = begin * NORM_GROUP;
        const int64_t last = first + NORM_GROUP < p->count ? first + NORM_GROUP : p->count;
        if (dw) memset(dw, 0, (size_t)(2 * p->n) * sizeof(T));
        for (int64_t r = first; r < last; r++) {
            const int64_t at = r * p->n;
            T mean = p->mean ? ((const T *)p->mean)[r] : 0, rstd = ((const T *)p->rstd)[r];
            if (p->anew) NAME(row_stats)(p, &x, at, &mean, &rstd);
            if (p->y) NAME(row_backward)(p, at, &x, &g, &y, mean, rstd);
            if (!dw) continue;
            EACH_PIECE(p)
            {
                const T *from = NAME(piece)(&g, at + i, m), *xs = NAME(piece)(&x, at + i, m);
#pragma GCC ivdep
                for (int64_t j = 0; j < m; j++) {
                    dw[i + j] += from[j] * ((xs[j] - mean) * rstd);
                    db[i + j] += from[j];
                }
            }
        }
    }
}

/* The sums of the groups, in order, for the columns [begin, end). */
static void
NAME(add_groups)(int64_t begin, int64_t end, void *context)
{
    const Norm *p = context;
    T *dw = p->dweight, *db = p->dbias;
    for (int64_t i = begin; i < end; i++) dw[i] = 0;
    for (int64_t i = begin; db && i < end; i++) db[i] = 0;
    for (int64_t r = 0; r < fac_chunks(p->count, NORM_GROUP); r++) {
        const T *from = (const T *)p->partial + r * 2 * p->n;
        for (int64_t i = begin; i < end; i++) dw[i] += from[i];
        for (int64_t i = begin; db && i < end; i++) db[i] += from[p->n + i];
    }
}
#undef EACH_PIECE
#undef T
#undef NAME
#undef DTYPE
#undef SQRT
