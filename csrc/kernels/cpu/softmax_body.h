/* softmax_body.h - softmax and its gradient in one real type, T; included by softmax.c.
 *
 * Along the last dim a slice is a row, whose sum runs in SOFTMAX_WIDE lanes that are added up by
 * halves. Along another one slices lie side by side, and `wide` of them are walked through at once,
 * row by row.
 */

#include "kernels/cpu/pieces.h"
#include "kernels/cpu/softmax_rows.h"

/* Where a piece of a row begins, i, and how long it is, m. */
#define EACH_PIECE(n)                                                                              \
    for (int64_t i = 0, m; i < (n) && (m = (n) - i < PIECE ? (n) - i : PIECE, true); i += m)

/* One body each for what is costly to compile: e = exp(x - top), column by column; e = exp(x);
 * and the sum of a piece of a row, whose terms go to e. */
static __attribute__((noinline)) void
NAME(exp_columns)(const T *x, const T *top, int64_t n, T *e)
{
#pragma GCC ivdep
    for (int64_t j = 0; j < n; j++) e[j] = EXP(x[j] - top[j]);
}

static __attribute__((noinline)) void
NAME(exp_any)(const T *x, int64_t n, T *e)
{
#pragma GCC ivdep
    for (int64_t j = 0; j < n; j++) e[j] = EXP_ANY(x[j]);
}

static __attribute__((noinline)) void
NAME(exp_row)(const T *x, T *e, int64_t n, T top, T *lanes)
{
    NAME(add_row)(x, e, n, top, lanes);
}

static void
NAME(row)(const Softmax *s, NAME(In) * x, NAME(Out) * y, int64_t at)
{
    /* whether the exponentials of a row can wait where the results will be */
    const bool kept = !s->log && (y->dtype == DTYPE || s->n <= PIECE);
    T spare[PIECE], lanes[SOFTMAX_WIDE] = {0};
    T top = *NAME(piece)(x, at, s->n < PIECE ? s->n : PIECE);
    EACH_PIECE(s->n)
    {
        const T v = NAME(row_top)(NAME(piece)(x, at + i, m), m);
        top = v > top ? v : top;
    }
    EACH_PIECE(s->n)
    {
        const T *from = NAME(piece)(x, at + i, m);
        NAME(exp_row)(from, kept ? NAME(room)(y, at + i) : spare, m, top, lanes);
    }
    const T sum = NAME(sum_lanes)(lanes), shift = s->log ? LOG(sum) : 0, scale = 1 / sum;
    EACH_PIECE(s->n)
    {
        const T *from = NAME(piece)(x, at + i, m);
        T *to = NAME(room)(y, at + i);
        if (s->log)
            for (int64_t j = 0; j < m; j++) to[j] = from[j] - top - shift;
        if (!s->log && !kept) NAME(exp_row)(from, to, m, top, lanes);
        if (!s->log)
            for (int64_t j = 0; j < m; j++) to[j] *= scale;
        NAME(written)(y, at + i, m);
    }
}

static void
NAME(add_plain)(const T *a, int64_t n, T *lanes)
{
    T sums[SOFTMAX_WIDE];
    int64_t i = 0;
    for (int j = 0; j < SOFTMAX_WIDE; j++) sums[j] = lanes[j];
    for (; i + SOFTMAX_WIDE <= n; i += SOFTMAX_WIDE)
        for (int j = 0; j < SOFTMAX_WIDE; j++) sums[j] += a[i + j];
    for (int j = 0; i < n; i++, j++) sums[j] += a[i];
    for (int j = 0; j < SOFTMAX_WIDE; j++) lanes[j] = sums[j];
}

static void
NAME(add_products)(const T *a, const T *b, int64_t n, T *lanes)
{
    T sums[SOFTMAX_WIDE];
    int64_t i = 0;
    for (int j = 0; j < SOFTMAX_WIDE; j++) sums[j] = lanes[j];
    for (; i + SOFTMAX_WIDE <= n; i += SOFTMAX_WIDE)
        for (int j = 0; j < SOFTMAX_WIDE; j++) sums[j] += a[i + j] * b[i + j];
    for (int j = 0; i < n; i++, j++) sums[j] += a[i] * b[i];
    for (int j = 0; j < SOFTMAX_WIDE; j++) lanes[j] = sums[j];
}

/* Softmax: y (g - sum(g y)); log_softmax: g - exp(y) sum(g). */
static void
NAME(row_backward)(const Softmax *s, NAME(In) * g, NAME(In) * y, NAME(Out) * out, int64_t at)
{
    T lanes[SOFTMAX_WIDE] = {0};
    EACH_PIECE(s->n)
    {
        const T *a = NAME(piece)(g, at + i, m), *b = NAME(piece)(y, at + i, m);
        if (s->log)
            NAME(add_plain)(a, m, lanes);
        else
            NAME(add_products)(a, b, m, lanes);
    }
    const T sum = NAME(sum_lanes)(lanes);
    EACH_PIECE(s->n)
    {
        const T *a = NAME(piece)(g, at + i, m), *b = NAME(piece)(y, at + i, m);
        T *to = NAME(room)(out, at + i);
        if (s->log) NAME(exp_any)(b, m, to);
        if (s->log)
            for (int64_t j = 0; j < m; j++) to[j] = a[j] - to[j] * sum;
        else
            for (int64_t j = 0; j < m; j++) to[j] = b[j] * (a[j] - sum);
        NAME(written)(out, at + i, m);
    }
}
#undef EACH_PIECE

/* m slices side by side. `keep` has room for all of them, or is NULL: then exponentials are
 * taken twice. */
static void
NAME(columns)(const Softmax *s, NAME(In) * x, NAME(Out) * y, int64_t at, int64_t m, T *keep)
{
    T top[WIDEST], sum[WIDEST] = {0}, shift[WIDEST], spare[WIDEST];
    for (int64_t i = 0; i < s->n; i++) {
        const T *from = NAME(piece)(x, at + i * s->inner, m);
        if (!i) memcpy(top, from, (size_t)m * sizeof(T));
        for (int64_t j = 0; j < m; j++) top[j] = from[j] > top[j] ? from[j] : top[j];
        if (keep) memcpy(keep + i * m, from, (size_t)m * sizeof(T));
    }
    for (int64_t i = 0; i < s->n; i++) {
        const T *from = keep ? keep + i * m : NAME(piece)(x, at + i * s->inner, m);
        T *own = keep && !s->log ? keep + i * m : spare;
        NAME(exp_columns)(from, top, m, own);
        for (int64_t j = 0; j < m; j++) sum[j] += own[j];
    }
    for (int64_t j = 0; s->log && j < m; j++) shift[j] = LOG(sum[j]);
    for (int64_t j = 0; j < m; j++) sum[j] = 1 / sum[j];
    for (int64_t i = 0; i < s->n; i++) {
        const int64_t here = at + i * s->inner;
        const T *from = keep ? keep + i * m : NAME(piece)(x, here, m);
        T *to = NAME(room)(y, here);
        if (s->log)
            for (int64_t j = 0; j < m; j++) to[j] = from[j] - top[j] - shift[j];
        if (!s->log && !keep) NAME(exp_columns)(from, top, m, to);
        if (!s->log)
            for (int64_t j = 0; j < m; j++) to[j] = (keep ? from[j] : to[j]) * sum[j];
        NAME(written)(y, here, m);
    }
}

static void
NAME(columns_backward)(const Softmax *s, NAME(In) * g, NAME(In) * y, NAME(Out) * out, int64_t at,
                       int64_t m)
{
    T sum[WIDEST] = {0};
    for (int64_t i = 0; i < s->n; i++) {
        const T *a = NAME(piece)(g, at + i * s->inner, m);
        const T *b = s->log ? NULL : NAME(piece)(y, at + i * s->inner, m);
        if (s->log)
            for (int64_t j = 0; j < m; j++) sum[j] += a[j];
        else
            for (int64_t j = 0; j < m; j++) sum[j] += a[j] * b[j];
    }
    for (int64_t i = 0; i < s->n; i++) {
        const int64_t here = at + i * s->inner;
        const T *a = NAME(piece)(g, here, m), *b = NAME(piece)(y, here, m);
        T *to = NAME(room)(out, here);
        if (s->log) {
            NAME(exp_any)(b, m, to);
#pragma GCC ivdep
            for (int64_t j = 0; j < m; j++) to[j] = a[j] - to[j] * sum[j];
        } else {
#pragma GCC ivdep
            for (int64_t j = 0; j < m; j++) to[j] = b[j] * (a[j] - sum[j]);
        }
        NAME(written)(out, here, m);
    }
}

static void
NAME(task)(int64_t begin, int64_t end, void *context)
{
    const Softmax *s = context;
    NAME(In) a;
    NAME(read_from)(&a, s->a, s->a_dtype);
    NAME(In) b;
    NAME(read_from)(&b, s->b, s->b_dtype);
    NAME(Out) out;
    NAME(write_to)(&out, s->out, s->out_dtype);
    T keep[KEPT];
    for (; begin < end; begin++) {
        if (s->inner == 1) {
            if (s->b)
                NAME(row_backward)(s, &a, &b, &out, begin * s->n);
            else
                NAME(row)(s, &a, &out, begin * s->n);
            continue;
        }
        const int64_t column = begin % s->groups * s->wide, left = s->inner - column;
        const int64_t at = begin / s->groups * s->n * s->inner + column;
        const int64_t m = left < s->wide ? left : s->wide;
        if (s->b)
            NAME(columns_backward)(s, &a, &b, &out, at, m);
        else
            NAME(columns)(s, &a, &out, at, m, s->n * s->wide <= KEPT ? keep : NULL);
    }
}
#undef T
#undef NAME
#undef DTYPE
#undef EXP
#undef EXP_ANY
#undef LOG
