/* embedding_body.h - the gradient of embedding in one real type, T; included by embedding.c. */

#include "kernels/cpu/pieces.h"

/* Adds the rows that are meant for a bucket to `to`, where its rows are `width` elements of columns
 * from `column` on. */
static void
NAME(add_bucket)(const Scatter *p, int64_t bucket, int64_t column, int64_t width, NAME(In) * grad,
                 T *to)
{
    const int64_t first = bucket * p->height;
    for (int64_t k = p->starts[bucket]; k < p->starts[bucket + 1]; k++) {
        const int64_t i = p->order[k], row = p->indices[i];
        const T *from = NAME(piece)(grad, i * p->columns + column, width);
        T *sum = to + (row - first) * width;
        if (p->counts) {
            const T scale = 1 / (T)p->counts[row];
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
#undef T
#undef NAME
#undef DTYPE
