/* lstm_body.h - a layer of an LSTM over time in one real type: included by lstm.c with T, NAME,
 * LANES and the scalar functions SIGMOID and TANH defined.
 *
 * A panel holds four vectors of columns of a matrix, row by row. Forward they are the four gates of
 * one vector of hidden units, so that a task has all gates of its units when its products are done;
 * backward, four vectors of units.
 */

typedef T NAME(vec) __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T)), may_alias));
enum { NAME(VL) = LANES, NAME(WIDTH) = 4 * LANES };

#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")

/* c[i] = the sum over p < k of a[i][p] panel[p], for rows of `a` that are a_row apart. */
#define TILE(rows)                                                                                 \
    static void NAME(tile_##rows)(int64_t k, const T *a, int64_t a_row, const T *panel, T *c)      \
    {                                                                                              \
        NAME(vec) acc[rows][4] = {0};                                                              \
        for (int64_t p = 0; p < k; p++, panel += NAME(WIDTH)) {                                    \
            const NAME(vec) *b = (const NAME(vec) *)panel;                                         \
            _Pragma("GCC unroll 8")                                                                \
            for (int i = 0; i < rows; i++) {                                                       \
                _Pragma("GCC unroll 4")                                                            \
                for (int v = 0; v < 4; v++) acc[i][v] += b[v] * a[i * a_row + p];                  \
            }                                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 8")                                                                    \
        for (int i = 0; i < rows; i++) {                                                           \
            _Pragma("GCC unroll 4")                                                                \
            for (int v = 0; v < 4; v++) ((NAME(vec) *)(c + i * NAME(WIDTH)))[v] = acc[i][v];       \
        }                                                                                          \
    }
LSTM_HEIGHTS(TILE)
#undef TILE

#pragma GCC pop_options

/* As many rows as one tile takes; returns how many. */
static int
NAME(tile)(int64_t rows, int64_t k, const T *a, int64_t a_row, const T *panel, T *c)
{
#define PICK(r)                                                                                    \
    if (rows >= r) {                                                                               \
        NAME(tile_##r)(k, a, a_row, panel, c);                                                     \
        return r;                                                                                  \
    }
    LSTM_HEIGHTS(PICK)
#undef PICK
    return 0;
}

/* Panels of the weights [4h, h], padded with zeros: task u is panel u. */
static void
NAME(pack_forward)(int64_t begin, int64_t end, void *context)
{
    const Lstm *s = context;
    const T *w = s->w;
    for (; begin < end; begin++) {
        T *to = (T *)s->panels + begin * s->h * NAME(WIDTH);
        for (int64_t p = 0; p < s->h; p++)
            for (int gate = 0; gate < 4; gate++)
                for (int j = 0; j < LANES; j++) {
                    const int64_t unit = begin * LANES + j;
                    *to++ = unit < s->h ? w[(gate * s->h + unit) * s->h + p] : 0;
                }
    }
}

static void
NAME(pack_backward)(int64_t begin, int64_t end, void *context)
{
    const Lstm *s = context;
    const T *w = s->w;
    for (; begin < end; begin++) {
        T *to = (T *)s->panels + begin * 4 * s->h * NAME(WIDTH);
        for (int64_t p = 0; p < 4 * s->h; p++)
            for (int j = 0; j < NAME(WIDTH); j++) {
                const int64_t unit = begin * NAME(WIDTH) + j;
                *to++ = unit < s->h ? w[p * s->h + unit] : 0;
            }
    }
}

/* n elements, nearly always a whole vector. */
static inline void
NAME(move)(const T *from, T *to, int64_t n)
{
    if (n == LANES)
        *(NAME(vec) *)to = *(const NAME(vec) *)from;
    else
        for (int64_t j = 0; j < n; j++) to[j] = from[j];
}

/* to = a + b, where a has n elements and the others two a whole vector. */
static inline void
NAME(join)(const T *a, const T *b, T *to, int64_t n)
{
    if (n == LANES) {
        *(NAME(vec) *)to = *(const NAME(vec) *)a + *(const NAME(vec) *)b;
        return;
    }
    for (int64_t j = 0; j < LANES; j++) to[j] = j < n ? a[j] + b[j] : 0;
}

/* --- forward ---------------------------------------------------------------------------------------- */

/* The cells of some batch rows for the units of a panel, from the recurrent part of their gates.
 * Each function passes over all rows before the next one. */
static void
NAME(cells)(const Lstm *s, int64_t row, int rows, int64_t unit, const T *recurrent)
{
    const int64_t left = s->h - unit, n = left < LANES ? left : LANES, at = s->now * s->batch + row;
    const int64_t count = rows * LANES;
    const T *gx = (const T *)s->gx + at * 4 * s->h + unit;
    const T *before =
        s->before >= 0 ? (const T *)s->cells + s->before * s->batch * s->h : (const T *)s->c0;
    T g[4][LSTM_ROWS * LANES], c[LSTM_ROWS * LANES] = {0}, hidden[LSTM_ROWS * LANES];
    for (int i = 0; i < rows; i++) {
        for (int gate = 0; gate < 4; gate++)
            NAME(join)(gx + (i * 4 + gate) * s->h, recurrent + i * NAME(WIDTH) + gate * LANES,
                       &g[gate][i * LANES], n);
        NAME(move)(before + (row + i) * s->h + unit, c + i * LANES, n);
    }
    for (int64_t j = 0; j < count; j++) g[0][j] = SIGMOID(g[0][j]);
    for (int64_t j = 0; j < count; j++) g[1][j] = SIGMOID(g[1][j]);
    for (int64_t j = 0; j < count; j++) g[2][j] = TANH(g[2][j]);
    for (int64_t j = 0; j < count; j++) g[3][j] = SIGMOID(g[3][j]);
    for (int64_t j = 0; j < count; j++) c[j] = g[1][j] * c[j] + g[0][j] * g[2][j];
    for (int64_t j = 0; j < count; j++) hidden[j] = g[3][j] * TANH(c[j]);
    for (int i = 0; i < rows; i++) {
        NAME(move)(c + i * LANES, (T *)s->cells + (at + i) * s->h + unit, n);
        NAME(move)(hidden + i * LANES, (T *)s->out + (at + i) * s->h + unit, n);
        for (int gate = 0; s->gates && gate < 4; gate++)
            NAME(move)(&g[gate][i * LANES], (T *)s->gates + ((at + i) * 4 + gate) * s->h + unit, n);
    }
}

/* Calls for what the cells of the next rows will read besides the recurrent part, which is made
 * first. */
static inline __attribute__((always_inline)) void
NAME(fetch)(const Lstm *s, int64_t row, int64_t unit)
{
    const int64_t at = s->now * s->batch + row;
    const T *gx = (const T *)s->gx + at * 4 * s->h + unit;
    for (int64_t i = 0; i < 4 * LSTM_ROWS && row + i / 4 < s->batch; i++)
        __builtin_prefetch(gx + i * s->h);
}

/* One step for the units of the panels [begin, end). */
static void
NAME(forward)(int64_t begin, int64_t end, void *context)
{
    const Lstm *s = context;
    const T *h =
        s->before >= 0 ? (const T *)s->out + s->before * s->batch * s->h : (const T *)s->h0;
    T recurrent[LSTM_ROWS * NAME(WIDTH)];
    for (; begin < end; begin++) {
        const T *panel = (const T *)s->panels + begin * s->h * NAME(WIDTH);
        for (int64_t row = 0; row < s->batch;) {
            NAME(fetch)(s, row, begin * LANES);
            const int n = NAME(tile)(s->batch - row, s->h, h + row * s->h, s->h, panel, recurrent);
            NAME(cells)(s, row, n, begin * LANES, recurrent);
            row += n;
        }
    }
}

/* --- backward ----------------------------------------------------------------------------------------- */

/* The gradients of the gates of one batch row for n units, from those of its outputs: `dh` of the
 * hidden state by way of the next step; dc is updated to the step before. */
static void
NAME(cell_backward)(const Lstm *s, int64_t row, int64_t unit, int64_t n, const T *dh)
{
    const int64_t h = s->h, at = (s->now * s->batch + row) * h + unit;
    const T *gates = (const T *)s->gates + (s->now * s->batch + row) * 4 * h + unit;
    const T *before = s->before >= 0 ? (const T *)s->cells + (s->before * s->batch + row) * h + unit
                                     : (const T *)s->c0 + row * h + unit;
    const T *cells = (const T *)s->cells + at;
    const T *g_out = s->g_out ? (const T *)s->g_out + at : NULL;
    const T *g_cells = s->g_cells ? (const T *)s->g_cells + at : NULL;
    T *dc = (T *)s->dc + row * h + unit;
    T *dg = (T *)s->dgates + (s->now * s->batch + row) * 4 * h + unit;
#pragma GCC ivdep
    for (int64_t j = 0; j < n; j++) {
        const T in = gates[j], forget = gates[h + j], new = gates[2 * h + j],
                out = gates[3 * h + j];
        const T t = TANH(cells[j]), g = g_out ? g_out[j] + dh[j] : dh[j];
        const T d = (g_cells ? dc[j] + g_cells[j] : dc[j]) + g * out * (1 - t * t);
        dg[j] = d * new * (1 - in) * in;
        dg[h + j] = d * before[j] * (1 - forget) * forget;
        dg[2 * h + j] = d * in * (1 - new *new);
        dg[3 * h + j] = g * t * (1 - out) * out;
        dc[j] = d * forget;
    }
}

/* One step for the units of the panels [begin, end): what comes back from the step after, `after`
 * (negative: nothing), then the cells; with now negative only dh0 is left to be written. */
static void
NAME(backward)(int64_t begin, int64_t end, void *context)
{
    const Lstm *s = context;
    T dh[LSTM_ROWS * NAME(WIDTH)];
    for (; begin < end; begin++) {
        const int64_t unit = begin * NAME(WIDTH), left = s->h - unit;
        const int64_t n = left < NAME(WIDTH) ? left : NAME(WIDTH);
        const T *panel = (const T *)s->panels + begin * 4 * s->h * NAME(WIDTH);
        for (int64_t row = 0; row < s->batch;) {
            int rows = 1;
            if (s->after >= 0)
                rows = NAME(tile)(s->batch - row, 4 * s->h,
                                  (const T *)s->dgates + (s->after * s->batch + row) * 4 * s->h,
                                  4 * s->h, panel, dh);
            else
                memset(dh, 0, sizeof dh);
            for (int i = 0; i < rows; i++) {
                const T *one = dh + i * NAME(WIDTH);
                if (s->now >= 0)
                    NAME(cell_backward)(s, row + i, unit, n, one);
                else
                    memcpy((T *)s->dh0 + (row + i) * s->h + unit, one, (size_t)n * sizeof(T));
            }
            row += rows;
        }
    }
}
#undef T
#undef NAME
#undef LANES
#undef SIGMOID
#undef TANH
