/* norm_sums.h - sums over a row in one real type: included with T and NAME defined. They run in
 * NORM_LANES lanes that are added up by halves; a sum of several pieces goes on in the same lanes,
 * so that all but the last have a multiple of NORM_LANES elements.
 */

typedef struct NAME(Sums) {
    T a[NORM_LANES], b[NORM_LANES];
} NAME(Sums);

/* The sum of the lanes, by halves. */
static T
NAME(fold)(const T *lanes)
{
    T sum[NORM_LANES / 2];
    for (int j = 0; j < NORM_LANES / 2; j++) sum[j] = lanes[j] + lanes[j + NORM_LANES / 2];
#pragma GCC unroll 8
    for (int half = NORM_LANES / 4; half > 0; half /= 2)
        for (int j = 0; j < half; j++) sum[j] += sum[j + half];
    return sum[0];
}

/* Sum of x. */
static void
NAME(add_sum)(const T *x, int64_t n, NAME(Sums) * s)
{
    int64_t i = 0;
    for (; i + NORM_LANES <= n; i += NORM_LANES)
        for (int j = 0; j < NORM_LANES; j++) s->a[j] += x[i + j];
    for (int j = 0; i < n; i++, j++) s->a[j] += x[i];
}

/* Sum of the squares of x - mean. */
static void
NAME(add_squares)(const T *x, int64_t n, T mean, NAME(Sums) * s)
{
    int64_t i = 0;
    for (; i + NORM_LANES <= n; i += NORM_LANES)
        for (int j = 0; j < NORM_LANES; j++) {
            const T d = x[i + j] - mean;
            s->a[j] += d * d;
        }
    for (int j = 0; i < n; i++, j++) s->a[j] += (x[i] - mean) * (x[i] - mean);
}

/* Sums of g w and of g w (x - mean); w may be NULL. */
static void
NAME(add_products)(const T *g, const T *x, const T *w, int64_t n, T mean, NAME(Sums) * s)
{
    int64_t i = 0;
    for (; i + NORM_LANES <= n; i += NORM_LANES)
        for (int j = 0; j < NORM_LANES; j++) {
            const T v = w ? g[i + j] * w[i + j] : g[i + j];
            s->a[j] += v;
            s->b[j] += v * (x[i + j] - mean);
        }
    for (int j = 0; i < n; i++, j++) {
        const T v = w ? g[i] * w[i] : g[i];
        s->a[j] += v;
        s->b[j] += v * (x[i] - mean);
    }
}
