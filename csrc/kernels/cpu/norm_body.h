/* norm_body.h - normalization in one real type, T; included by norm.c.
 *
 * Two shapes: rows (layer_norm: n elements together share a mean) and channels (batch_norm: the
 * elements of one channel lie in `outer` runs of `inner`). Sums run in NORM_LANES lanes that are
 * added up by halves; the variance is taken around the mean, in a second pass.
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

static void
NAME(row_stats)(const Norm *p, const T *x, T *mean, T *rstd)
{
    NAME(Sums) s = {{0}, {0}}, squares = {{0}, {0}};
    NAME(add_sum)(x, p->n, &s);
    *mean = NAME(fold)(s.a) / (T)p->n;
    NAME(add_squares)(x, p->n, *mean, &squares);
    *rstd = 1 / SQRT(NAME(fold)(squares.a) / (T)p->n + (T)p->eps);
}

/* Those of row r: as saved, or computed anew. */
static void
NAME(saved_stats)(const Norm *p, int64_t r, T *mean, T *rstd)
{
    *mean = ((const T *)p->mean)[r];
    *rstd = ((const T *)p->rstd)[r];
    if (p->anew) NAME(row_stats)(p, (const T *)p->x + r * p->n, mean, rstd);
}

static void
NAME(rows)(int64_t begin, int64_t end, void *context)
{
    const Norm *p = context;
    const T *w = p->weight, *b = p->bias;
    for (; begin < end; begin++) {
        const T *x = (const T *)p->x + begin * p->n;
        T *y = (T *)p->y + begin * p->n;
        T mean, rstd;
        NAME(row_stats)(p, x, &mean, &rstd);
        ((T *)p->mean)[begin] = mean;
        ((T *)p->rstd)[begin] = rstd;
        if (w && b)
            for (int64_t i = 0; i < p->n; i++) y[i] = (x[i] - mean) * rstd * w[i] + b[i];
        else if (w)
            for (int64_t i = 0; i < p->n; i++) y[i] = (x[i] - mean) * rstd * w[i];
        else if (b)
            for (int64_t i = 0; i < p->n; i++) y[i] = (x[i] - mean) * rstd + b[i];
        else
            for (int64_t i = 0; i < p->n; i++) y[i] = (x[i] - mean) * rstd;
    }
}

/* dx = rstd (v - mean(v) - xhat mean(v xhat)), v = g w. */
static void
NAME(rows_backward)(int64_t begin, int64_t end, void *context)
{
    const Norm *p = context;
    const T *w = p->weight;
    for (; begin < end; begin++) {
        const T *x = (const T *)p->x + begin * p->n, *g = (const T *)p->g + begin * p->n;
        T mean, rstd, *y = (T *)p->y + begin * p->n;
        NAME(Sums) s = {{0}, {0}};
        NAME(saved_stats)(p, begin, &mean, &rstd);
        NAME(add_products)(g, x, w, p->n, mean, &s);
        const T a = NAME(fold)(s.a) / (T)p->n;
        const T b = NAME(fold)(s.b) * rstd * rstd / (T)p->n;
        for (int64_t i = 0; i < p->n; i++)
            y[i] = rstd * ((w ? g[i] * w[i] : g[i]) - a - (x[i] - mean) * b);
    }
}

/* What the groups [begin, end) of NORM_GROUP rows add to dw and db: a pair of rows of n a group. */
static void
NAME(rows_affine)(int64_t begin, int64_t end, void *context)
{
    const Norm *p = context;
    for (; begin < end; begin++) {
        T *dw = (T *)p->partial + begin * 2 * p->n, *db = dw + p->n;
        const int64_t first = begin * NORM_GROUP;
        const int64_t last = first + NORM_GROUP < p->count ? first + NORM_GROUP : p->count;
        memset(dw, 0, (size_t)(2 * p->n) * sizeof(T));
        for (int64_t r = first; r < last; r++) {
            const T *x = (const T *)p->x + r * p->n, *g = (const T *)p->g + r * p->n;
            T mean, rstd;
            NAME(saved_stats)(p, r, &mean, &rstd);
#pragma GCC ivdep
            for (int64_t i = 0; i < p->n; i++) {
                dw[i] += g[i] * ((x[i] - mean) * rstd);
                db[i] += g[i];
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
    for (int64_t i = begin; i < end; i++) dw[i] = db[i] = 0;
    for (int64_t r = 0; r < fac_chunks(p->count, NORM_GROUP); r++) {
        const T *from = (const T *)p->partial + r * 2 * p->n;
        for (int64_t i = begin; i < end; i++) {
            dw[i] += from[i];
            db[i] += from[p->n + i];
        }
    }
}

/* Batch statistics of the channels [begin, end). */
static void
NAME(channel_stats)(int64_t begin, int64_t end, void *context)
{
    const Norm *p = context;
    for (int64_t c = begin; c < end; c++) {
        NAME(Sums) s = {{0}, {0}}, squares = {{0}, {0}};
        const T *x = (const T *)p->x + c * p->inner;
        const int64_t step = p->channels * p->inner;
        for (int64_t o = 0; o < p->outer; o++) NAME(add_sum)(x + o * step, p->inner, &s);
        const T mean = NAME(fold)(s.a) / (T)p->n;
        for (int64_t o = 0; o < p->outer; o++)
            NAME(add_squares)(x + o * step, p->inner, mean, &squares);
        const T var = NAME(fold)(squares.a) / (T)p->n;
        ((T *)p->mean)[c] = mean;
        ((T *)p->var)[c] = var;
        ((T *)p->rstd)[c] = 1 / SQRT(var + (T)p->eps);
    }
}

/* y = (x - mean) rstd w + b, runs [begin, end) of outer x channels. */
static void
NAME(channel_apply)(int64_t begin, int64_t end, void *context)
{
    const Norm *p = context;
    for (; begin < end; begin++) {
        const int64_t c = begin % p->channels;
        const T *x = (const T *)p->x + begin * p->inner;
        T *y = (T *)p->y + begin * p->inner;
        const T w = p->weight ? ((const T *)p->weight)[c] : 1;
        const T b = p->bias ? ((const T *)p->bias)[c] : 0;
        const T alpha = ((const T *)p->rstd)[c] * w, beta = b - ((const T *)p->mean)[c] * alpha;
        for (int64_t i = 0; i < p->inner; i++) y[i] = x[i] * alpha + beta;
    }
}

/* dw and db of the channels [begin, end), and dx if it is wanted. */
static void
NAME(channel_backward)(int64_t begin, int64_t end, void *context)
{
    const Norm *p = context;
    const int64_t step = p->channels * p->inner;
    for (int64_t c = begin; c < end; c++) {
        NAME(Sums) s = {{0}, {0}};
        const T *x = (const T *)p->x + c * p->inner, *g = (const T *)p->g + c * p->inner;
        const T mean = ((const T *)p->mean)[c], rstd = ((const T *)p->rstd)[c];
        const T w = p->weight ? ((const T *)p->weight)[c] : 1;
        for (int64_t o = 0; o < p->outer; o++)
            NAME(add_products)(g + o * step, x + o * step, NULL, p->inner, mean, &s);
        const T sum = NAME(fold)(s.a), dot = NAME(fold)(s.b);
        if (p->dweight) {
            ((T *)p->dweight)[c] = dot * rstd;
            ((T *)p->dbias)[c] = sum;
            continue;
        }
        const T a = p->train ? sum / (T)p->n : 0;
        const T b = p->train ? dot * rstd * rstd / (T)p->n : 0;
        T *y = (T *)p->y + c * p->inner;
        for (int64_t o = 0; o < p->outer; o++)
            for (int64_t i = 0; i < p->inner; i++) {
                const int64_t at = o * step + i;
                y[at] = (g[at] - a - (x[at] - mean) * b) * rstd * w;
            }
    }
}
#undef T
#undef NAME
#undef SQRT
