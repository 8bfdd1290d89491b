/* softmax_body.h - softmax and its gradient in one real type, T; included by softmax.c.
 *
 * A slice is n elements at a distance of `step`; the slices of one outer index lie side by side, so
 * that a task walks up to SOFTMAX_WIDE of them at once and stays vectorized in either direction. The
 * sum over a contiguous slice runs in SOFTMAX_WIDE lanes, which are added up by halves.
 */

#include "kernels/cpu/softmax_rows.h"

static void
NAME(row)(const T *x, T *y, int64_t n, bool log)
{
    const T top = NAME(row_top)(x, n);
    if (log) {
        const T shift = LOG(NAME(row_sum)(x, NULL, n, top));
        for (int64_t i = 0; i < n; i++) y[i] = x[i] - top - shift;
    } else {
        const T scale = 1 / NAME(row_sum)(x, y, n, top);
        for (int64_t i = 0; i < n; i++) y[i] *= scale;
    }
}

static void
NAME(columns)(const T *x, T *y, int64_t n, int64_t step, int wide, bool log)
{
    T top[SOFTMAX_WIDE], sum[SOFTMAX_WIDE] = {0};
    for (int j = 0; j < wide; j++) top[j] = x[j];
    for (int64_t i = 1; i < n; i++)
        for (int j = 0; j < wide; j++) {
            const T v = x[i * step + j];
            top[j] = v > top[j] ? v : top[j];
        }
    for (int64_t i = 0; i < n; i++)
        for (int j = 0; j < wide; j++) {
            const T e = EXP(x[i * step + j] - top[j]);
            sum[j] += e;
            if (!log) y[i * step + j] = e;
        }
    for (int j = 0; j < wide; j++) sum[j] = log ? LOG(sum[j]) : 1 / sum[j];
    for (int64_t i = 0; i < n; i++)
        for (int j = 0; j < wide; j++)
            y[i * step + j] = log ? x[i * step + j] - top[j] - sum[j] : y[i * step + j] * sum[j];
}

/* Softmax: y (g - sum(g y)); log_softmax: g - exp(y) sum(g). */
static void
NAME(row_backward)(const T *g, const T *y, T *out, int64_t n, bool log)
{
    T lanes[SOFTMAX_WIDE] = {0};
    int64_t i = 0;
    for (; i + SOFTMAX_WIDE <= n; i += SOFTMAX_WIDE)
        for (int j = 0; j < SOFTMAX_WIDE; j++) lanes[j] += log ? g[i + j] : g[i + j] * y[i + j];
    for (int j = 0; i < n; i++, j++) lanes[j] += log ? g[i] : g[i] * y[i];
    const T sum = NAME(sum_lanes)(lanes);
    if (log)
        for (i = 0; i < n; i++) out[i] = g[i] - EXP_ANY(y[i]) * sum;
    else
        for (i = 0; i < n; i++) out[i] = y[i] * (g[i] - sum);
}

static void
NAME(columns_backward)(const T *g, const T *y, T *out, int64_t n, int64_t step, int wide, bool log)
{
    T sum[SOFTMAX_WIDE] = {0};
    for (int64_t i = 0; i < n; i++)
        for (int j = 0; j < wide; j++)
            sum[j] += log ? g[i * step + j] : g[i * step + j] * y[i * step + j];
    for (int64_t i = 0; i < n; i++)
        for (int j = 0; j < wide; j++) {
            const int64_t at = i * step + j;
            out[at] = log ? g[at] - EXP_ANY(y[at]) * sum[j] : y[at] * (g[at] - sum[j]);
        }
}

static void
NAME(task)(int64_t begin, int64_t end, void *context)
{
    const Softmax *s = context;
    const T *a = s->a, *b = s->b;
    T *out = s->out;
    for (; begin < end; begin++) {
        if (s->inner == 1) {
            const int64_t at = begin * s->n;
            if (b)
                NAME(row_backward)(a + at, b + at, out + at, s->n, s->log);
            else
                NAME(row)(a + at, out + at, s->n, s->log);
            continue;
        }
        const int64_t column = begin % s->groups * SOFTMAX_WIDE;
        const int64_t left = s->inner - column, at = begin / s->groups * s->n * s->inner + column;
        const int wide = left < SOFTMAX_WIDE ? (int)left : SOFTMAX_WIDE;
        if (b)
            NAME(columns_backward)(a + at, b + at, out + at, s->n, s->inner, wide, s->log);
        else
            NAME(columns)(a + at, out + at, s->n, s->inner, wide, s->log);
    }
}
#undef T
#undef NAME
#undef EXP
#undef EXP_ANY
#undef LOG
