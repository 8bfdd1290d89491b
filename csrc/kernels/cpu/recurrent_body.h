/* recurrent_body.h - recurrent layers over time in one real type: included by recurrent.c with T,
 * NAME, LANES and the scalar functions SIGMOID and TANH defined.
 *
 * A panel holds three or four vectors of columns of a matrix, row by row: one vector for each gate of
 * the same hidden units, so that a task has all gates of its units when its products are done, or,
 * where there is one gate, vectors of units side by side.
 */

typedef T NAME(vec) __attribute__((vector_size(LANES * sizeof(T)), aligned(sizeof(T)), may_alias));
enum { NAME(VL) = LANES, NAME(WIDTH) = 4 * LANES };

#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")

/* c[i] = the sum over p < k of a[i][p] panel[p], for rows of `a` that are a_row apart. */
#define TILE(rows, vectors)                                                                        \
    static void NAME(tile_##rows##x##vectors)(int64_t k, const T *a, int64_t a_row,                \
                                              const T *panel, T *c)                                \
    {                                                                                              \
        NAME(vec) acc[rows][vectors] = {0};                                                        \
        for (int64_t p = 0; p < k; p++, panel += vectors * LANES) {                                \
            const NAME(vec) *b = (const NAME(vec) *)panel;                                         \
            _Pragma("GCC unroll 8")                                                                \
            for (int i = 0; i < rows; i++) {                                                       \
                _Pragma("GCC unroll 4")                                                            \
                for (int v = 0; v < vectors; v++) acc[i][v] += b[v] * a[i * a_row + p];            \
            }                                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 8")                                                                    \
        for (int i = 0; i < rows; i++) {                                                           \
            _Pragma("GCC unroll 4")                                                                \
            for (int v = 0; v < vectors; v++)                                                      \
                ((NAME(vec) *)(c + i * vectors * LANES))[v] = acc[i][v];                           \
        }                                                                                          \
    }
TILES(TILE)
#undef TILE

#pragma GCC pop_options

/* As many rows as one tile takes; returns how many. */
static int
NAME(tile)(const Panels *w, int64_t rows, const T *a, int64_t panel, T *c)
{
    const T *b = (const T *)w->data + panel * w->k * w->vectors * LANES;
#define PICK(r, v)                                                                                 \
    if (w->vectors == v && rows >= r) {                                                            \
        NAME(tile_##r##x##v)(w->k, a, w->k, b, c);                                                 \
        return r;                                                                                  \
    }
    TILES(PICK)
#undef PICK
    return 0;
}

/* Panels [begin, end) of columns that are rows of the weights, padded with zeros: a square of LANES
 * columns and steps at a time. */
static void
NAME(pack_rows)(int64_t begin, int64_t end, void *context)
{
    const Panels *w = context;
    const int width = w->vectors * LANES;
    for (; begin < end; begin++)
        for (int column = 0; column < width; column += LANES) {
            const int64_t gate = column / w->units, unit = begin * w->units + column % w->units;
            const int64_t left = w->h - unit, n = left < LANES ? left : LANES;
            const T *from = (const T *)w->weights + (gate * w->h + unit) * w->k;
            T *to = (T *)w->data + begin * w->k * width + column;
            for (int64_t p = 0; p < w->k; p += LANES) {
                const int64_t steps = w->k - p < LANES ? w->k - p : LANES;
                T square[LANES][LANES] = {0};
                for (int64_t j = 0; j < n; j++)
                    for (int64_t q = 0; q < steps; q++) square[q][j] = from[j * w->k + p + q];
                for (int64_t q = 0; q < steps; q++)
                    *(NAME(vec) *)(to + (p + q) * width) = *(const NAME(vec) *)square[q];
            }
        }
}

/* The same where rows of the weights are steps. */
static void
NAME(pack_steps)(int64_t begin, int64_t end, void *context)
{
    const Panels *w = context;
    for (; begin < end; begin++) {
        const int64_t unit = begin * w->units, left = w->h - unit;
        const int64_t n = left < w->units ? left : w->units;
        const T *from = (const T *)w->weights + unit;
        T *to = (T *)w->data + begin * w->k * w->units;
        for (int64_t p = 0; p < w->k; p++, from += w->h, to += w->units) {
            memcpy(to, from, (size_t)n * sizeof(T));
            memset(to + n, 0, (size_t)(w->units - n) * sizeof(T));
        }
    }
}

/* n elements, nearly always a whole vector. */
static inline void
NAME(move)(const T *from, T *to, int64_t n)
{
    if (n >= LANES)
        *(NAME(vec) *)to = *(const NAME(vec) *)from;
    else
        for (int64_t j = 0; j < n; j++) to[j] = from[j];
}

/* to = a + b, where a has n elements and the others two a whole vector. */
static inline void
NAME(join)(const T *a, const T *b, T *to, int64_t n)
{
    if (n >= LANES) {
        *(NAME(vec) *)to = *(const NAME(vec) *)a + *(const NAME(vec) *)b;
        return;
    }
    for (int64_t j = 0; j < LANES; j++) to[j] = j < n ? a[j] + b[j] : 0;
}

/* --- forward ---------------------------------------------------------------------------------------- */

/* The state before this step. */
static inline const T *
NAME(state)(const Layer *s, const void *steps, const void *first)
{
    return s->before >= 0 ? (const T *)steps + s->before * s->batch * s->h : (const T *)first;
}

/* Cells: new states of some batch rows for the units of a panel, from the recurrent part of their
 * gates. Each function passes over all rows before the next one. */
static void
NAME(lstm_cells)(const Layer *s, int64_t row, int rows, int64_t unit, const T *recurrent)
{
    const int64_t n = s->h - unit, at = s->now * s->batch + row, count = rows * LANES;
    const T *gx = (const T *)s->gx + at * 4 * s->h + unit;
    const T *before = NAME(state)(s, s->cells, s->c0) + row * s->h + unit;
    T g[4][MOST_ROWS * LANES], c[MOST_ROWS * LANES] = {0}, hidden[MOST_ROWS * LANES];
    for (int i = 0; i < rows; i++) {
        for (int gate = 0; gate < 4; gate++)
            NAME(join)(gx + (i * 4 + gate) * s->h, recurrent + (i * 4 + gate) * LANES,
                       &g[gate][i * LANES], n);
        NAME(move)(before + i * s->h, c + i * LANES, n);
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

/* n = tanh(x_n + r h_n), h' = n + z (h - n); kept are r, z, n and h_n. */
static void
NAME(gru_cells)(const Layer *s, int64_t row, int rows, int64_t unit, T *recurrent)
{
    const int64_t n = s->h - unit, at = s->now * s->batch + row, count = rows * LANES;
    const T *gx = (const T *)s->gx + at * 3 * s->h + unit, *bias = s->bias;
    const T *before = NAME(state)(s, s->out, s->h0) + row * s->h + unit;
    T g[4][MOST_ROWS * LANES], x[MOST_ROWS * LANES] = {0}, h[MOST_ROWS * LANES] = {0};
    for (int i = 0; i < rows; i++) {
        T *sums = recurrent + i * 3 * LANES;
        const T *from = gx + i * 3 * s->h;
        for (int gate = 0; bias && gate < 3; gate++)
            NAME(join)(bias + gate * s->h + unit, sums + gate * LANES, sums + gate * LANES, n);
        NAME(join)(from, sums, &g[0][i * LANES], n);
        NAME(join)(from + s->h, sums + LANES, &g[1][i * LANES], n);
        NAME(move)(sums + 2 * LANES, &g[3][i * LANES], LANES);
        NAME(move)(from + 2 * s->h, x + i * LANES, n);
        NAME(move)(before + i * s->h, h + i * LANES, n);
    }
    for (int64_t j = 0; j < count; j++) g[0][j] = SIGMOID(g[0][j]);
    for (int64_t j = 0; j < count; j++) g[1][j] = SIGMOID(g[1][j]);
    for (int64_t j = 0; j < count; j++) g[2][j] = TANH(x[j] + g[0][j] * g[3][j]);
    for (int64_t j = 0; j < count; j++) h[j] = g[2][j] + g[1][j] * (h[j] - g[2][j]);
    for (int i = 0; i < rows; i++) {
        NAME(move)(h + i * LANES, (T *)s->out + (at + i) * s->h + unit, n);
        for (int gate = 0; s->gates && gate < 4; gate++)
            NAME(move)(&g[gate][i * LANES], (T *)s->gates + ((at + i) * 4 + gate) * s->h + unit, n);
    }
}

static void
NAME(rnn_cells)(const Layer *s, int64_t row, int rows, int64_t unit, T *sums)
{
    const int64_t n = s->h - unit, at = s->now * s->batch + row, count = rows * NAME(WIDTH);
    const T *gx = (const T *)s->gx + at * s->h + unit;
    T *out = (T *)s->out + at * s->h + unit;
    for (int i = 0; i < rows; i++)
        for (int64_t j = 0; j < NAME(WIDTH); j += LANES)
            if (j < n)
                NAME(join)(gx + i * s->h + j, sums + i * NAME(WIDTH) + j,
                           sums + i * NAME(WIDTH) + j, n - j);
    if (s->kind == RNN_TANH)
        for (int64_t j = 0; j < count; j++) sums[j] = TANH(sums[j]);
    else
        for (int64_t j = 0; j < count; j++) sums[j] = sums[j] < 0 ? 0 : sums[j];
    for (int i = 0; i < rows; i++)
        for (int64_t j = 0; j < NAME(WIDTH) && j < n; j += LANES)
            NAME(move)(sums + i * NAME(WIDTH) + j, out + i * s->h + j, n - j);
}

/* Calls for what the cells of the next rows will read besides the recurrent part, which is made
 * first. */
static inline __attribute__((always_inline)) void
NAME(fetch)(const Layer *s, int64_t row, int64_t unit)
{
    const int64_t left = s->batch - row, rows = left < MOST_ROWS ? left : MOST_ROWS;
    const int64_t lines = rows * s->panels.gates;
    const T *gx = (const T *)s->gx + (s->now * s->batch + row) * s->panels.gates * s->h + unit;
    for (int64_t i = 0; i < lines; i++) __builtin_prefetch(gx + i * s->h);
}

/* One step for the units of the panels [begin, end). */
static void
NAME(forward)(int64_t begin, int64_t end, void *context)
{
    const Layer *s = context;
    const T *h = NAME(state)(s, s->out, s->h0);
    T recurrent[MOST_ROWS * NAME(WIDTH)];
    for (; begin < end; begin++) {
        const int64_t unit = begin * s->panels.units;
        for (int64_t row = 0; row < s->batch;) {
            NAME(fetch)(s, row, unit);
            const int n = NAME(tile)(&s->panels, s->batch - row, h + row * s->h, begin, recurrent);
            switch (s->kind) {
            case LSTM: NAME(lstm_cells)(s, row, n, unit, recurrent); break;
            case GRU: NAME(gru_cells)(s, row, n, unit, recurrent); break;
            default: NAME(rnn_cells)(s, row, n, unit, recurrent); break;
            }
            row += n;
        }
    }
}

/* --- backward ----------------------------------------------------------------------------------------- */

/* The gradients of the gates of one batch row for n units, from those of its outputs: `dh` of the
 * hidden state by way of the products of the next step. What goes back to the step before by another
 * way is left in dc, in dh0 for a GRU. */
static void
NAME(lstm_backward)(const Layer *s, int64_t row, int64_t unit, int64_t n, const T *dh)
{
    const int64_t h = s->h, at = (s->now * s->batch + row) * h + unit;
    const T *gates = (const T *)s->gates + (s->now * s->batch + row) * 4 * h + unit;
    const T *before = NAME(state)(s, s->cells, s->c0) + row * h + unit;
    const T *cells = (const T *)s->cells + at;
    const T *g_out = s->g_out ? (const T *)s->g_out + at : NULL;
    const T *g_cells = s->g_cells ? (const T *)s->g_cells + at : NULL;
    T *dc = (T *)s->dc + row * h + unit;
    T *dg = (T *)s->dgx + (s->now * s->batch + row) * 4 * h + unit;
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

static void
NAME(gru_backward)(const Layer *s, int64_t row, int64_t unit, int64_t n, const T *dh)
{
    const int64_t h = s->h, at = s->now * s->batch + row;
    const T *gates = (const T *)s->gates + at * 4 * h + unit;
    const T *before = NAME(state)(s, s->out, s->h0) + row * h + unit;
    const T *g_out = (const T *)s->g_out + at * h + unit;
    T *carry = (T *)s->dh0 + row * h + unit;
    T *dx = (T *)s->dgx + at * 3 * h + unit, *dg = (T *)s->dgh + at * 3 * h + unit;
#pragma GCC ivdep
    for (int64_t j = 0; j < n; j++) {
        const T reset = gates[j], update = gates[h + j], new = gates[2 * h + j];
        const T g = g_out[j] + dh[j] + carry[j];
        const T dnew = g * (1 - update) * (1 - new *new);
        const T dreset = dnew * gates[3 * h + j] * (1 - reset) * reset;
        const T dupdate = g * (before[j] - new) * (1 - update) * update;
        dx[j] = dg[j] = dreset;
        dx[h + j] = dg[h + j] = dupdate;
        dx[2 * h + j] = dnew;
        dg[2 * h + j] = dnew * reset;
        carry[j] = g * update;
    }
}

static void
NAME(rnn_backward)(const Layer *s, int64_t row, int64_t unit, int64_t n, const T *dh)
{
    const int64_t at = (s->now * s->batch + row) * s->h + unit;
    const T *g_out = (const T *)s->g_out + at, *out = (const T *)s->out + at;
    T *dg = (T *)s->dgx + at;
    if (s->kind == RNN_TANH)
        for (int64_t j = 0; j < n; j++) dg[j] = (g_out[j] + dh[j]) * (1 - out[j] * out[j]);
    else
        for (int64_t j = 0; j < n; j++) dg[j] = out[j] <= 0 ? 0 : g_out[j] + dh[j];
}

/* What the first state gets. */
static void
NAME(first_backward)(const Layer *s, int64_t row, int64_t unit, int64_t n, const T *dh)
{
    T *to = (T *)s->dh0 + row * s->h + unit;
    for (int64_t j = 0; j < n; j++) to[j] = s->kind == GRU ? to[j] + dh[j] : dh[j];
}

/* One step for the units of the panels [begin, end): what comes back from the step after, `after`
 * (negative: nothing), then the cells; with now negative only dh0 is left to be written. */
static void
NAME(backward)(int64_t begin, int64_t end, void *context)
{
    const Layer *s = context;
    T dh[MOST_ROWS * NAME(WIDTH)];
    for (; begin < end; begin++) {
        const int64_t unit = begin * NAME(WIDTH), left = s->h - unit, k = s->panels.k;
        const int64_t n = left < NAME(WIDTH) ? left : NAME(WIDTH);
        for (int64_t row = 0; row < s->batch;) {
            int rows = 1;
            if (s->after >= 0)
                rows = NAME(tile)(&s->panels, s->batch - row,
                                  (const T *)s->dgh + (s->after * s->batch + row) * k, begin, dh);
            else
                memset(dh, 0, sizeof dh);
            for (int i = 0; i < rows; i++, row++) {
                const T *one = dh + i * NAME(WIDTH);
                if (s->now < 0)
                    NAME(first_backward)(s, row, unit, n, one);
                else if (s->kind == LSTM)
                    NAME(lstm_backward)(s, row, unit, n, one);
                else if (s->kind == GRU)
                    NAME(gru_backward)(s, row, unit, n, one);
                else
                    NAME(rnn_backward)(s, row, unit, n, one);
            }
        }
    }
}

/* The gradient of the bias of the recurrent products: sums over the rows of a step, and of these
 * over the steps. */
static void
NAME(bias_gradient)(int64_t begin, int64_t end, void *context)
{
    const Layer *s = context;
    const int64_t width = s->panels.k;
    for (; begin < end; begin++) {
        const int64_t first = begin * NAME(WIDTH), left = width - first;
        const int64_t n = left < NAME(WIDTH) ? left : NAME(WIDTH);
        const T *from = (const T *)s->dgh + first;
        T total[NAME(WIDTH)] = {0};
        for (int64_t i = 0; i < s->steps; i++) {
            T sum[NAME(WIDTH)] = {0};
            for (int64_t row = 0; row < s->batch; row++, from += width)
                for (int64_t j = 0; j < n; j++) sum[j] += from[j];
            for (int64_t j = 0; j < n; j++) total[j] += sum[j];
        }
        memcpy((T *)s->dbias + first, total, (size_t)n * sizeof(T));
    }
}
#undef T
#undef NAME
#undef LANES
#undef SIGMOID
#undef TANH
