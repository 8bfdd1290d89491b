/* softmax_rows.h - the largest element of a row and the sum of its exponentials, in one real type:
 * included with T, NAME, EXP and SOFTMAX_WIDE (lanes of a sum) defined. The maximum may miss a NaN;
 * the sum does not.
 */

static T
NAME(sum_lanes)(const T *lanes)
{
    T sum[SOFTMAX_WIDE / 2];
    for (int j = 0; j < SOFTMAX_WIDE / 2; j++) sum[j] = lanes[j] + lanes[j + SOFTMAX_WIDE / 2];
#pragma GCC unroll 8
    for (int half = SOFTMAX_WIDE / 4; half > 0; half /= 2)
        for (int j = 0; j < half; j++) sum[j] += sum[j + half];
    return sum[0];
}

/* The largest element. */
static T
NAME(row_top)(const T *x, int64_t n)
{
    T lanes[SOFTMAX_WIDE], top = x[0];
    int64_t i = 0;
    for (int j = 0; j < SOFTMAX_WIDE; j++) lanes[j] = x[0];
    for (; i + SOFTMAX_WIDE <= n; i += SOFTMAX_WIDE)
        for (int j = 0; j < SOFTMAX_WIDE; j++) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
    for (; i < n; i++) top = x[i] > top ? x[i] : top;
    for (int j = 0; j < SOFTMAX_WIDE; j++) top = lanes[j] > top ? lanes[j] : top;
    return top;
}

/* Adds exp(x - top) to the lanes, in the order of the row; the terms are written to y unless it
 * is NULL. Of the pieces of a row all but the last have a multiple of SOFTMAX_WIDE elements. */
static inline __attribute__((always_inline)) void
NAME(add_row)(const T *x, T *y, int64_t n, T top, T *lanes)
{
    T sums[SOFTMAX_WIDE];
    int64_t i = 0;
    for (int j = 0; j < SOFTMAX_WIDE; j++) sums[j] = lanes[j];
    for (; i + SOFTMAX_WIDE <= n; i += SOFTMAX_WIDE)
        for (int j = 0; j < SOFTMAX_WIDE; j++) {
            const T e = EXP(x[i + j] - top);
            sums[j] += e;
            if (y) y[i + j] = e;
        }
    for (int j = 0; i < n; i++, j++) {
        const T e = EXP(x[i] - top);
        sums[j] += e;
        if (y) y[i] = e;
    }
    for (int j = 0; j < SOFTMAX_WIDE; j++) lanes[j] = sums[j];
}
