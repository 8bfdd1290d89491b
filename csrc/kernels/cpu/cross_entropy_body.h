/* cross_entropy_body.h - cross_entropy.c in one real type, T.
 *
 * A group is one row of classes that lie side by side, or, where positions do, up to SOFTMAX_WIDE
 * positions at once, whose classes are `inner` apart.
 */

#include "kernels/cpu/softmax_rows.h"

/* top[j] and sum[j] of `wide` positions. */
static void
NAME(group_sums)(const CrossEntropy *p, const T *x, int wide, T *top, T *sum)
{
    if (p->inner == 1) {
        top[0] = NAME(row_top)(x, p->classes);
        sum[0] = NAME(row_sum)(x, NULL, p->classes, top[0]);
        return;
    }
    for (int j = 0; j < wide; j++) {
        top[j] = x[j];
        sum[j] = 0;
    }
    for (int64_t c = 1; c < p->classes; c++)
        for (int j = 0; j < wide; j++) {
            const T v = x[c * p->inner + j];
            top[j] = v > top[j] ? v : top[j];
        }
    for (int64_t c = 0; c < p->classes; c++)
        for (int j = 0; j < wide; j++) sum[j] += EXP(x[c * p->inner + j] - top[j]);
}

/* Losses of the groups [begin, end), and what the gradient needs: top and the logarithm of the sum. */
static void
NAME(forward)(int64_t begin, int64_t end, void *context)
{
    const CrossEntropy *p = context;
    const T *weight = p->weight;
    T *loss = p->loss, *tops = p->stats, *logs = tops + p->batch * p->inner;
    for (; begin < end; begin++) {
        const Group g = group_at(p, begin);
        const T *x = (const T *)p->x + g.at;
        T top[SOFTMAX_WIDE], sum[SOFTMAX_WIDE];
        NAME(group_sums)(p, x, g.wide, top, sum);
        for (int j = 0; j < g.wide; j++) {
            const int64_t i = g.first + j, t = p->target[i];
            const T log = LOG(sum[j]);
            tops[i] = top[j];
            logs[i] = log;
            loss[i] = 0;
            if (t == p->ignore) continue;
            loss[i] = -(weight ? weight[t] : 1) * (x[t * p->inner + j] - top[j] - log);
        }
    }
}

/* The losses reduced, in order, and the sum of the weights. */
static void
NAME(reduce)(const CrossEntropy *p, T *out, T *total)
{
    const T *weight = p->weight, *loss = p->loss;
    double sum = 0, weights = 0;
    for (int64_t i = 0; i < p->batch * p->inner; i++) {
        const int64_t t = p->target[i];
        if (t == p->ignore) continue;
        sum += (double)loss[i];
        weights += weight ? (double)weight[t] : 1;
    }
    *total = p->reduction == REDUCE_NONE ? 0 : (T)weights;
    if (p->reduction != REDUCE_NONE) *out = (T)(p->reduction == REDUCE_MEAN ? sum / weights : sum);
}

/* What the gradient of position i is scaled by: 0 where it is ignored. */
static T
NAME(scale_at)(const CrossEntropy *p, int64_t i)
{
    const int64_t t = p->target[i];
    const T *grad = p->grad, *weight = p->weight;
    if (t == p->ignore) return 0;
    const T g = p->reduction == REDUCE_NONE   ? grad[i]
                : p->reduction == REDUCE_MEAN ? *grad / *(const T *)p->total
                                              : *grad;
    return weight ? g * weight[t] : g;
}

/* dx = scale (softmax(x) - 1 at the target). */
static void
NAME(backward)(int64_t begin, int64_t end, void *context)
{
    const CrossEntropy *p = context;
    const T *tops = p->stats, *logs = tops + p->batch * p->inner;
    for (; begin < end; begin++) {
        const Group g = group_at(p, begin);
        const T *x = (const T *)p->x + g.at, *top = tops + g.first, *log = logs + g.first;
        T *dx = (T *)p->dx + g.at, scale[SOFTMAX_WIDE];
        for (int j = 0; j < g.wide; j++) scale[j] = NAME(scale_at)(p, g.first + j);
        if (p->inner == 1)
            for (int64_t c = 0; c < p->classes; c++) dx[c] = scale[0] * EXP(x[c] - *top - *log);
        else
            for (int64_t c = 0; c < p->classes; c++)
                for (int j = 0; j < g.wide; j++) {
                    const int64_t at = c * p->inner + j;
                    dx[at] = scale[j] * EXP(x[at] - top[j] - log[j]);
                }
        for (int j = 0; j < g.wide; j++) {
            const int64_t t = p->target[g.first + j];
            if (t != p->ignore) dx[t * p->inner + j] -= scale[j];
        }
    }
}
#undef T
#undef NAME
#undef EXP
#undef LOG
