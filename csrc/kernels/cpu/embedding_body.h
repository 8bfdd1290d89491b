/* embedding_body.h - bags of rows, and the gradient of rows, in one real type, T; included by
 * embedding.c. */

#include "kernels/cpu/pieces.h"

/* Adds the rows that are meant for a bucket to `to`, where its rows are `width` elements of columns
 * from `column` on. */
static void
NAME(add_bucket)(const Scatter *p, int64_t bucket, int64_t column, int64_t width, NAME(In) * grad,
                 T *to)
{
    const int64_t first = bucket * p->height;
    const T *scales = p->scales;
    for (int64_t k = p->starts[bucket]; k < p->starts[bucket + 1]; k++) {
        const int64_t i = p->order[k], row = p->indices[i], at = p->source ? p->source[i] : i;
        const T *from = NAME(piece)(grad, at * p->columns + column, width);
        T *sum = to + (row - first) * width;
        if (p->counts || scales) {
            const T scale = (scales ? scales[i] : 1) / (T)(p->counts ? p->counts[row] : 1);
            for (int64_t c = 0; c < width; c++) sum[c] += from[c] * scale;
        } else {
            for (int64_t c = 0; c < width; c++) sum[c] += from[c];
        }
    }
}

/* The rows of the buckets [begin, end): zeros, and what is added to them while they are in the
 * cache. */
static void
NAME(scatter)(int64_t begin, int64_t end, void *context)
{
    const Scatter *p = context;
    NAME(In) grad;
    NAME(Out) out;
    NAME(read_from)(&grad, p->grad, p->grad_dtype);
    NAME(write_to)(&out, p->out, p->out_dtype);
    for (; begin < end; begin++) {
        const int64_t first = begin * p->height, left = p->rows - first;
        const int64_t rows = left < p->height ? left : p->height;
        for (int64_t column = 0; column < p->columns; column += PIECE) {
            const int64_t rest = p->columns - column, width = rest < PIECE ? rest : PIECE;
            const int64_t at = first * p->columns + column;
            T *to = NAME(room)(&out, at);
            memset(to, 0, (size_t)(rows * width) * sizeof(T));
            NAME(add_bucket)(p, begin, column, width, &grad, to);
            NAME(written)(&out, at, rows * width);
        }
    }
}
/* --- bags ------------------------------------------------------------------------------------------- */

/* The columns [column, column + width) of a bag; returns how many of its rows count. */
static int64_t
NAME(one_bag)(const Bags *p, int64_t bag, int64_t column, int64_t width, NAME(In) * table, T *to)
{
    const T *weights = p->weights;
    const int64_t bytes = p->columns * fac_dtype_size(p->dtype);
    int64_t count = 0, *most = p->most ? p->most + bag * p->columns + column : NULL;
    memset(to, 0, (size_t)width * sizeof(T));
    for (int64_t c = 0; most && c < width; c++) most[c] = -1;
    for (int64_t i = p->offsets[bag]; i < bag_end(p, bag); i++) {
        const int64_t row = p->indices[i];
        if (i + AHEAD < p->n) fetch_row(p, i + AHEAD, bytes);
        if (row == p->padding) continue;
        const T *from = NAME(piece)(table, row * p->columns + column, width);
        if (most) {
            for (int64_t c = 0; c < width; c++)
                if (most[c] < 0 || from[c] > to[c]) {
                    to[c] = from[c];
                    most[c] = row;
                }
        } else if (weights) {
            const T w = weights[i];
            for (int64_t c = 0; c < width; c++) to[c] += w * from[c];
        } else {
            for (int64_t c = 0; c < width; c++) to[c] += from[c];
        }
        count++;
    }
    if (p->mode == BAG_MEAN && count)
        for (int64_t c = 0; c < width; c++) to[c] /= (T)count;
    return count;
}

/* The same for sums and means of BLOCK columns, which stay in registers. */
static void
NAME(block_of_bag)(const Bags *p, int64_t bag, int64_t column, T *to)
{
    const T *weights = p->weights, *table = (const T *)p->table + column;
    const int64_t bytes = p->columns * (int64_t)sizeof(T);
    int64_t count = 0;
    T sum[BLOCK] = {0};
    for (int64_t i = p->offsets[bag]; i < bag_end(p, bag); i++) {
        const int64_t row = p->indices[i];
        const T *from = table + row * p->columns, w = weights ? weights[i] : 1;
        if (!column && i + AHEAD < p->n) fetch_row(p, i + AHEAD, bytes);
        if (row == p->padding) continue;
        for (int c = 0; c < BLOCK; c++) sum[c] += w * from[c];
        count++;
    }
    if (p->mode == BAG_MEAN && count)
        for (int c = 0; c < BLOCK; c++) sum[c] /= (T)count;
    memcpy(to, sum, sizeof sum);
}

static void
NAME(bags)(int64_t begin, int64_t end, void *context)
{
    const Bags *p = context;
    const bool plain = p->dtype == DTYPE && p->mode != BAG_MAX;
    const int64_t blocks = plain ? p->columns - p->columns % BLOCK : 0;
    NAME(In) table;
    NAME(Out) out;
    NAME(read_from)(&table, p->table, p->dtype);
    NAME(write_to)(&out, p->out, p->dtype);
    for (; begin < end; begin++) {
        for (int64_t column = 0; column < blocks; column += BLOCK)
            NAME(block_of_bag)(p, begin, column, (T *)p->out + begin * p->columns + column);
        for (int64_t column = blocks; column < p->columns; column += PIECE) {
            const int64_t rest = p->columns - column, width = rest < PIECE ? rest : PIECE;
            const int64_t at = begin * p->columns + column;
            NAME(one_bag)(p, begin, column, width, &table, NAME(room)(&out, at));
            NAME(written)(&out, at, width);
        }
    }
}

/* What the gradient of index i is multiplied by. */
static void
NAME(bag_scales)(const Scatter *p, const int64_t *sizes, int mode, const T *weights, T *to)
{
    for (int64_t i = 0; i < p->n; i++) {
        const int64_t size = sizes[p->source[i]];
        to[i] = weights ? weights[i] : mode == BAG_MEAN && size ? 1 / (T)size : 1;
    }
}

/* The gradient of maxima: a task has BLOCK columns of all bags, in their order. */
static void
NAME(scatter_most)(int64_t begin, int64_t end, void *context)
{
    const Most *p = context;
    const T *grad = p->grad;
    T *out = p->out;
    for (; begin < end; begin++) {
        const int64_t left = p->columns - begin * BLOCK, n = left < BLOCK ? left : BLOCK;
        for (int64_t bag = 0; bag < p->bags; bag++)
            for (int64_t c = begin * BLOCK; c < begin * BLOCK + n; c++) {
                const int64_t row = p->most[bag * p->columns + c];
                if (row >= 0) out[row * p->columns + c] += grad[bag * p->columns + c];
            }
    }
}
#undef T
#undef NAME
#undef DTYPE
