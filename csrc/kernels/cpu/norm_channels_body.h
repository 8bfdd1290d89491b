/* norm_channels_body.h - normalization of channels in one real type, T; included by
 * norm_channels.c, where `Channels` and the two layouts are explained. Everywhere y  = (x - mean)
 * rstd w + b dx = rstd (g w - A - (x - mean) B),  A = mean(g w),  B = mean(g w (x - mean)) rstd^2
 * with the means over what shares a statistic; A and B are 0 where the statistics are given.
 */

#include "kernels/cpu/norm_sums.h"
#include "kernels/cpu/pieces.h"

static inline T
NAME(weight)(const Channels *p, int64_t c)
{
    return p->weight ? ((const T *)p->weight)[c] : 1;
}

static inline T
NAME(bias)(const Channels *p, int64_t c)
{
    return p->bias ? ((const T *)p->bias)[c] : 0;
}

static void
NAME(keep_stats)(const Channels *p, int64_t s, T mean, T var)
{
    ((T *)p->mean)[s] = mean;
    ((T *)p->rstd)[s] = 1 / SQRT(var + (T)p->eps);
    if (p->var) ((T *)p->var)[s] = var;
}

/* --- runs --------------------------------------------------------------------------------------------- */

/* For the pieces of a run: i is where one begins, m how long it is. */
#define EACH_PIECE(p)                                                                              \
    for (int64_t i = 0, m;                                                                         \
         i < (p)->inner && (m = (p)->inner - i < PIECE ? (p)->inner - i : PIECE, true); i += m)

static void
NAME(runs_stats)(const Channels *p, NAME(In) * x, int64_t s)
{
    NAME(Sums) sum = {{0}, {0}}, squares = {{0}, {0}};
    const int64_t runs = p->runs;
    const T n = (T)p->shared;
    for (int64_t r = 0; r < runs; r++) {
        const int64_t at = run_at(p, s, r) * p->inner;
        EACH_PIECE(p) NAME(add_sum)(NAME(piece)(x, at + i, m), m, &sum);
    }
    const T mean = NAME(fold)(sum.a) / n;
    for (int64_t r = 0; r < runs; r++) {
        const int64_t at = run_at(p, s, r) * p->inner;
        EACH_PIECE(p) NAME(add_squares)(NAME(piece)(x, at + i, m), m, mean, &squares);
    }
    NAME(keep_stats)(p, s, mean, NAME(fold)(squares.a) / n);
}

/* The statistics [begin, end) and what is normalized by them, while it is in the cache. */
static void
NAME(runs_forward)(int64_t begin, int64_t end, void *context)
{
    const Channels *p = context;
    NAME(In) x;
    NAME(read_from)(&x, p->x, p->dtype);
    NAME(Out) y;
    NAME(write_to)(&y, p->y, p->dtype);
    for (int64_t s = begin; s < end; s++) {
        if (p->own) NAME(runs_stats)(p, &x, s);
        const T mean = ((const T *)p->mean)[s], rstd = ((const T *)p->rstd)[s];
        for (int64_t r = 0; r < p->runs; r++) {
            const int64_t run = run_at(p, s, r), at = run * p->inner;
            const T w = rstd * NAME(weight)(p, run % p->channels);
            const T b = NAME(bias)(p, run % p->channels);
            EACH_PIECE(p)
            {
                const T *from = NAME(piece)(&x, at + i, m);
                T *to = NAME(room)(&y, at + i);
                for (int64_t j = 0; j < m; j++) to[j] = (from[j] - mean) * w + b;
                NAME(written)(&y, at + i, m);
            }
        }
    }
}

/* The gradients of what the statistics [begin, end) normalize; the parts of the parameters'
 * gradients, one a run, go to `parts`. */
static void
NAME(runs_backward)(int64_t begin, int64_t end, void *context)
{
    const Channels *p = context;
    NAME(In) x;
    NAME(read_from)(&x, p->x, p->dtype);
    NAME(In) g;
    NAME(read_from)(&g, p->g, p->gtype);
    NAME(Out) y;
    NAME(write_to)(&y, p->y, p->dtype);
    const int64_t runs = p->runs;
    T *dw = p->parts, *db = dw + p->outer * p->channels;
    for (int64_t s = begin; s < end; s++) {
        if (p->anew) NAME(runs_stats)(p, &x, s);
        const T mean = ((const T *)p->mean)[s], rstd = ((const T *)p->rstd)[s];
        T a = 0, b = 0;
        for (int64_t r = 0; r < runs; r++) {
            const int64_t run = run_at(p, s, r), at = run * p->inner;
            NAME(Sums) sums = {{0}, {0}};
            EACH_PIECE(p)
            NAME(add_products)(NAME(piece)(&g, at + i, m), NAME(piece)(&x, at + i, m), NULL, m,
                               mean, &sums);
            const T plain = NAME(fold)(sums.a), centered = NAME(fold)(sums.b);
            dw[run] = centered * rstd;
            db[run] = plain;
            a += plain * NAME(weight)(p, run % p->channels);
            b += centered * NAME(weight)(p, run % p->channels);
        }
        a = p->own ? a / (T)p->shared : 0;
        b = p->own ? b * rstd * rstd / (T)p->shared : 0;
        for (int64_t r = 0; p->y && r < runs; r++) {
            const int64_t run = run_at(p, s, r), at = run * p->inner;
            const T w = NAME(weight)(p, run % p->channels);
            EACH_PIECE(p)
            {
                const T *from = NAME(piece)(&g, at + i, m), *xs = NAME(piece)(&x, at + i, m);
                T *to = NAME(room)(&y, at + i);
                for (int64_t j = 0; j < m; j++)
                    to[j] = (from[j] * w - a - (xs[j] - mean) * b) * rstd;
                NAME(written)(&y, at + i, m);
            }
        }
    }
}
#undef EACH_PIECE

/* --- columns ------------------------------------------------------------------------------------------ */

/* A sample while it is worked on: for each block of rows a pair of sums for each column, the
 * sums of all rows, and tables that have an entry a column. */
typedef struct NAME(Sample) {
    const Channels *p;
    int64_t at; /* its first element */
    T *blocks, *sums, *tables[SAMPLE_TABLES];
} NAME(Sample);

static void
NAME(start_sample)(const Channels *p, int64_t i, NAME(Sample) * s)
{
    T *at = (T *)p->scratch + i * sample_scratch(p);
    *s = (NAME(Sample)){.p = p, .at = i * p->total, .sums = at};
    at += 2 * p->width;
    for (int k = 0; k < SAMPLE_TABLES; k++, at += p->width) s->tables[k] = at;
    s->blocks = at;
}

/* Rows r of block b; pieces of a row, at i and m long. The last row may be short. */
#define EACH_ROW(p, b) for (int64_t r = (b) * (p)->height; r < block_end(p, b); r++)
#define EACH_PIECE(p)                                                                              \
    for (int64_t i = 0, m, n = row_length(p, r);                                                   \
         i < n && (m = n - i < PIECE ? n - i : PIECE, true); i += m)

/* Means and sums of squares around them, of the columns of blocks of rows. */
static void
NAME(block_stats)(int64_t begin, int64_t end, void *context)
{
    const NAME(Sample) *s = context;
    const Channels *p = s->p;
    NAME(In) x;
    NAME(read_from)(&x, p->x, p->dtype);
    for (int64_t b = begin; b < end; b++) {
        T *mean = s->blocks + 2 * b * p->width, *squares = mean + p->width;
        const T rows = (T)block_rows(p, b, false), more = (T)block_rows(p, b, true);
        memset(mean, 0, (size_t)(2 * p->width) * sizeof(T));
        EACH_ROW(p, b)
        EACH_PIECE(p)
        {
            const T *from = NAME(piece)(&x, s->at + r * p->width + i, m);
#pragma GCC ivdep
            for (int64_t j = 0; j < m; j++) mean[i + j] += from[j];
        }
        for (int64_t j = 0; j < p->width; j++) mean[j] /= j < p->rest ? more : rows;
        EACH_ROW(p, b)
        EACH_PIECE(p)
        {
            const T *from = NAME(piece)(&x, s->at + r * p->width + i, m);
#pragma GCC ivdep
            for (int64_t j = 0; j < m; j++) {
                const T d = from[j] - mean[i + j];
                squares[i + j] += d * d;
            }
        }
    }
}

/* The statistics from `first` on, of a sample whose blocks are done: first by column, then by
 * what shares one. */
static void
NAME(join_stats)(const NAME(Sample) * s, int64_t first)
{
    const Channels *p = s->p;
    const T rows = (T)p->rows, n = (T)p->shared;
    T *mean = s->sums, *squares = mean + p->width, *total = s->tables[0], *all = s->tables[1];
    memset(mean, 0, (size_t)(2 * p->width) * sizeof(T));
    for (int64_t b = 0; b < p->blocks; b++) {
        const T *from = s->blocks + 2 * b * p->width;
        const T few = (T)block_rows(p, b, false), many = (T)block_rows(p, b, true);
        for (int64_t j = 0; j < p->width; j++) mean[j] += from[j] * (j < p->rest ? many : few);
    }
    for (int64_t j = 0; j < p->width; j++) mean[j] /= j < p->rest ? rows + 1 : rows;
    for (int64_t b = 0; b < p->blocks; b++) {
        const T *from = s->blocks + 2 * b * p->width, *own = from + p->width;
        const T few = (T)block_rows(p, b, false), many = (T)block_rows(p, b, true);
        for (int64_t j = 0; j < p->width; j++) {
            const T d = from[j] - mean[j];
            squares[j] += own[j] + d * d * (j < p->rest ? many : few);
        }
    }
    memset(total, 0, (size_t)p->stats * sizeof(T));
    memset(all, 0, (size_t)p->stats * sizeof(T));
    for (int64_t j = 0; j < p->width; j++)
        total[p->stat[j]] += mean[j] * (j < p->rest ? rows + 1 : rows);
    for (int64_t k = 0; k < p->stats; k++) total[k] /= n;
    for (int64_t j = 0; j < p->width; j++) {
        const T d = mean[j] - total[p->stat[j]];
        all[p->stat[j]] += squares[j] + d * d * (j < p->rest ? rows + 1 : rows);
    }
    for (int64_t k = 0; k < p->stats; k++) NAME(keep_stats)(p, first + k, total[k], all[k] / n);
}

static void
NAME(block_apply)(int64_t begin, int64_t end, void *context)
{
    const NAME(Sample) *s = context;
    const Channels *p = s->p;
    NAME(In) x;
    NAME(read_from)(&x, p->x, p->dtype);
    NAME(Out) y;
    NAME(write_to)(&y, p->y, p->dtype);
    for (int64_t b = begin; b < end; b++) EACH_ROW(p, b)
    EACH_PIECE(p)
    {
        const int64_t at = s->at + r * p->width + i;
        const T *from = NAME(piece)(&x, at, m), *mean = s->tables[0] + i;
        const T *w = s->tables[1] + i, *shift = s->tables[2] + i;
        T *to = NAME(room)(&y, at);
#pragma GCC ivdep
        for (int64_t j = 0; j < m; j++) to[j] = (from[j] - mean[j]) * w[j] + shift[j];
        NAME(written)(&y, at, m);
    }
}

/* Samples [begin, end). */
static void
NAME(columns_forward)(int64_t begin, int64_t end, void *context)
{
    const Channels *p = context;
    const int64_t grain = fac_grain(4 * p->height * p->width);
    for (int64_t i = begin; i < end; i++) {
        NAME(Sample) s;
        NAME(start_sample)(p, i, &s);
        if (p->own) {
            fac_parallel(p->blocks, grain, NAME(block_stats), &s);
            NAME(join_stats)(&s, i * p->stats);
        }
        const T *mean = (const T *)p->mean + i * p->stats,
                *rstd = (const T *)p->rstd + i * p->stats;
        for (int64_t j = 0; j < p->width; j++) {
            const int64_t k = p->stat[j], c = p->channel[j];
            s.tables[0][j] = mean[k];
            s.tables[1][j] = rstd[k] * NAME(weight)(p, c);
            s.tables[2][j] = NAME(bias)(p, c);
        }
        fac_parallel(p->blocks, grain, NAME(block_apply), &s);
    }
}

/* Sums of g and of g (x - mean), of the columns of blocks of rows. */
static void
NAME(block_products)(int64_t begin, int64_t end, void *context)
{
    const NAME(Sample) *s = context;
    const Channels *p = s->p;
    NAME(In) x;
    NAME(read_from)(&x, p->x, p->dtype);
    NAME(In) g;
    NAME(read_from)(&g, p->g, p->gtype);
    for (int64_t b = begin; b < end; b++) {
        T *sums = s->blocks + 2 * b * p->width;
        memset(sums, 0, (size_t)(2 * p->width) * sizeof(T));
        EACH_ROW(p, b)
        EACH_PIECE(p)
        {
            const int64_t at = s->at + r * p->width + i;
            const T *from = NAME(piece)(&g, at, m), *xs = NAME(piece)(&x, at, m);
            const T *mean = s->tables[0] + i;
            T *plain = sums + i, *centered = plain + p->width;
#pragma GCC ivdep
            for (int64_t j = 0; j < m; j++) {
                plain[j] += from[j];
                centered[j] += from[j] * (xs[j] - mean[j]);
            }
        }
    }
}

/* From the sums of the blocks of sample i: its parts of the parameters' gradients, and by
 * statistic the sums that A and B are made of. */
static void
NAME(join_products)(const NAME(Sample) * s, int64_t i, T *a, T *b)
{
    const Channels *p = s->p;
    const T *rstd = (const T *)p->rstd + i * p->stats;
    T *plain = s->sums, *centered = plain + p->width;
    T *dw = (T *)p->parts + i * p->channels, *db = dw + p->lines * p->channels;
    memset(plain, 0, (size_t)(2 * p->width) * sizeof(T));
    for (int64_t k = 0; k < p->blocks; k++) {
        const T *from = s->blocks + 2 * k * p->width;
        for (int64_t j = 0; j < 2 * p->width; j++) plain[j] += from[j];
    }
    memset(dw, 0, (size_t)p->channels * sizeof(T));
    memset(db, 0, (size_t)p->channels * sizeof(T));
    memset(a, 0, (size_t)p->stats * sizeof(T));
    memset(b, 0, (size_t)p->stats * sizeof(T));
    for (int64_t j = 0; j < p->width; j++) {
        const int64_t c = p->channel[j], k = p->stat[j];
        dw[c] += centered[j] * rstd[k];
        db[c] += plain[j];
        a[k] += plain[j] * NAME(weight)(p, c);
        b[k] += centered[j] * NAME(weight)(p, c);
    }
}

static void
NAME(block_backward)(int64_t begin, int64_t end, void *context)
{
    const NAME(Sample) *s = context;
    const Channels *p = s->p;
    NAME(In) x;
    NAME(read_from)(&x, p->x, p->dtype);
    NAME(In) g;
    NAME(read_from)(&g, p->g, p->gtype);
    NAME(Out) y;
    NAME(write_to)(&y, p->y, p->dtype);
    for (int64_t k = begin; k < end; k++) EACH_ROW(p, k)
    EACH_PIECE(p)
    {
        const int64_t at = s->at + r * p->width + i;
        const T *from = NAME(piece)(&g, at, m), *xs = NAME(piece)(&x, at, m);
        const T *mean = s->tables[0] + i, *w = s->tables[1] + i;
        const T *a = s->tables[2] + i, *b = s->tables[3] + i;
        T *to = NAME(room)(&y, at);
#pragma GCC ivdep
        for (int64_t j = 0; j < m; j++) to[j] = from[j] * w[j] - a[j] - (xs[j] - mean[j]) * b[j];
        NAME(written)(&y, at, m);
    }
}

/* Samples [begin, end). */
static void
NAME(columns_backward)(int64_t begin, int64_t end, void *context)
{
    const Channels *p = context;
    const int64_t grain = fac_grain(4 * p->height * p->width);
    const T n = p->own ? 1 / (T)p->shared : 0;
    for (int64_t i = begin; i < end; i++) {
        const T *mean = (const T *)p->mean + i * p->stats,
                *rstd = (const T *)p->rstd + i * p->stats;
        NAME(Sample) s;
        NAME(start_sample)(p, i, &s);
        T *a = s.tables[4], *b = s.tables[5];
        if (p->anew) {
            fac_parallel(p->blocks, grain, NAME(block_stats), &s);
            NAME(join_stats)(&s, i * p->stats);
        }
        for (int64_t j = 0; j < p->width; j++) s.tables[0][j] = mean[p->stat[j]];
        fac_parallel(p->blocks, grain, NAME(block_products), &s);
        NAME(join_products)(&s, i, a, b);
        if (!p->y) continue;
        for (int64_t j = 0; j < p->width; j++) {
            const int64_t k = p->stat[j];
            s.tables[1][j] = rstd[k] * NAME(weight)(p, p->channel[j]);
            s.tables[2][j] = rstd[k] * a[k] * n;
            s.tables[3][j] = rstd[k] * rstd[k] * rstd[k] * b[k] * n;
        }
        fac_parallel(p->blocks, grain, NAME(block_backward), &s);
    }
}
#undef EACH_ROW
#undef EACH_PIECE

/* --- both --------------------------------------------------------------------------------------------- */

/* The gradients of the parameters of the channels [begin, end): the parts in the order of their
 * lines. */
static void
NAME(add_lines)(int64_t begin, int64_t end, void *context)
{
    const Channels *p = context;
    const T *dw = p->parts, *db = dw + p->lines * p->channels;
    for (int64_t c = begin; c < end; c++) {
        T w = 0, b = 0;
        for (int64_t i = 0; i < p->lines; i++) {
            w += dw[i * p->channels + c];
            b += db[i * p->channels + c];
        }
        ((T *)p->dweight)[c] = w;
        ((T *)p->dbias)[c] = b;
    }
}
#undef T
#undef NAME
#undef DTYPE
#undef SQRT
