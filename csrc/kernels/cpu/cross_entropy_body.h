/* cross_entropy_body.h - cross_entropy.c in one real type, T.
 *
 * A group is one row of classes that lie side by side, or, where positions do, up to GROUP_WIDE
 * positions at once, whose classes are `inner` apart.
 */

#include "kernels/cpu/pieces.h"
#include "kernels/cpu/softmax_rows.h"

/* Where a piece of a row of classes begins, i, and how long it is, m. */
#define EACH_PIECE(n)                                                                              \
    for (int64_t i = 0, m; i < (n) && (m = (n) - i < PIECE ? (n) - i : PIECE, true); i += m)

/* top[j] and sum[j] of the positions of a group. */
static void
NAME(group_sums)(const CrossEntropy *p, NAME(In) * x, Group g, T *top, T *sum)
{
    if (p->inner == 1) {
        T lanes[SOFTMAX_WIDE] = {0};
        top[0] = *NAME(piece)(x, g.at, p->classes < PIECE ? p->classes : PIECE);
        EACH_PIECE(p->classes)
        {
            const T v = NAME(row_top)(NAME(piece)(x, g.at + i, m), m);
            top[0] = v > top[0] ? v : top[0];
        }
        EACH_PIECE(p->classes)
        NAME(add_row)(NAME(piece)(x, g.at + i, m), NULL, m, top[0], lanes);
        sum[0] = NAME(sum_lanes)(lanes);
        return;
    }
    for (int64_t c = 0; c < p->classes; c++) {
        const T *from = NAME(piece)(x, g.at + c * p->inner, g.wide);
        if (!c) memcpy(top, from, (size_t)g.wide * sizeof(T));
        for (int j = 0; j < g.wide; j++) top[j] = from[j] > top[j] ? from[j] : top[j];
    }
    for (int j = 0; j < g.wide; j++) sum[j] = 0;
    for (int64_t c = 0; c < p->classes; c++) {
        const T *from = NAME(piece)(x, g.at + c * p->inner, g.wide);
#pragma GCC ivdep
        for (int j = 0; j < g.wide; j++) sum[j] += EXP(from[j] - top[j]);
    }
}

/* Losses of the groups [begin, end), and what the gradient needs: top and the logarithm of the
 * sum. */
static void
NAME(forward)(int64_t begin, int64_t end, void *context)
{
    const CrossEntropy *p = context;
    const T *weight = p->weight;
    NAME(In) x;
    NAME(read_from)(&x, p->x, p->dtype);
    NAME(In) one;
    NAME(read_from)(&one, p->x, p->dtype);
    T *loss = p->loss, *tops = p->stats, *logs = tops + p->batch * p->inner;
    for (; begin < end; begin++) {
        const Group g = group_at(p, begin);
        T top[GROUP_WIDE], sum[GROUP_WIDE];
        NAME(group_sums)(p, &x, g, top, sum);
        for (int j = 0; j < g.wide; j++) sum[j] = LOG(sum[j]);
        for (int j = 0; j < g.wide; j++) {
            const int64_t i = g.first + j, t = p->target[i];
            tops[i] = top[j];
            logs[i] = sum[j];
            loss[i] = 0;
            if (t == p->ignore) continue;
            const T at = *NAME(piece)(&one, g.at + t * p->inner + j, 1);
            loss[i] = -(weight ? weight[t] : 1) * (at - top[j] - sum[j]);
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
    NAME(In) x;
    NAME(read_from)(&x, p->x, p->dtype);
    NAME(Out) dx;
    NAME(write_to)(&dx, p->dx, p->dtype);
    for (; begin < end; begin++) {
        const Group g = group_at(p, begin);
        const T *top = tops + g.first, *log = logs + g.first;
        const int64_t *target = p->target + g.first;
        T scale[GROUP_WIDE];
        for (int j = 0; j < g.wide; j++) scale[j] = NAME(scale_at)(p, g.first + j);
        if (p->inner == 1) {
            EACH_PIECE(p->classes)
            {
                const T *from = NAME(piece)(&x, g.at + i, m);
                T *to = NAME(room)(&dx, g.at + i);
                for (int64_t j = 0; j < m; j++) to[j] = scale[0] * EXP(from[j] - *top - *log);
                if (*target != p->ignore && *target >= i && *target < i + m)
                    to[*target - i] -= scale[0];
                NAME(written)(&dx, g.at + i, m);
            }
            continue;
        }
        for (int64_t c = 0; c < p->classes; c++) {
            const int64_t at = g.at + c * p->inner;
            const T *from = NAME(piece)(&x, at, g.wide);
            T *to = NAME(room)(&dx, at);
#pragma GCC ivdep
            for (int j = 0; j < g.wide; j++)
                to[j] = scale[j] * (EXP(from[j] - top[j] - log[j]) - (T)(target[j] == c));
            NAME(written)(&dx, at, g.wide);
        }
    }
}
#undef EACH_PIECE
#undef T
#undef NAME
#undef DTYPE
#undef EXP
#undef LOG
