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

/* c[i] += the sum over p < k of a[i][p] panel[p], for rows of `a` that are a_row apart. Meanwhile half
 * of what `ahead` points to, as much as this part of the panel, is asked for. KEEP: else the last
 * sums with a register end up in it, and are moved back. */
#define TILE(rows, vectors)                                                                        \
    static void NAME(tile_##rows##x##vectors)(int64_t k, const T *a, int64_t a_row,                \
                                              const T *panel, const T *ahead, T *c)                \
    {                                                                                              \
        NAME(vec) acc[rows][vectors], b[vectors], *to = (NAME(vec) *)c;                            \
        _Pragma("GCC unroll 32")                                                                   \
        for (int i = 0; i < rows * vectors; i++) acc[i / vectors][i % vectors] = to[i];            \
        for (int64_t p = 0; p < k; p++, panel += vectors * LANES, ahead += 2 * LANES) {            \
            if (rows >= 4) __builtin_prefetch(ahead);                                              \
            if (rows >= 4) __builtin_prefetch(ahead + LANES);                                      \
            _Pragma("GCC unroll 4")                                                                \
            for (int v = 0; v < vectors; v++) b[v] = ((const NAME(vec) *)panel)[v];                \
            _Pragma("GCC unroll 8")                                                                \
            for (int i = 0; i < rows; i++) {                                                       \
                const NAME(vec) x = a[i * a_row + p] - (NAME(vec)){0};                             \
                _Pragma("GCC unroll 4")                                                            \
                for (int v = 0; v < vectors; v++) acc[i][v] += b[v] * x;                           \
                KEEP(x);                                                                           \
            }                                                                                      \
            _Pragma("GCC unroll 4")                                                                \
            for (int v = 0; rows > 1 && v < vectors; v++) KEEP(b[v]);                              \
        }                                                                                          \
        _Pragma("GCC unroll 32")                                                                   \
        for (int i = 0; i < rows * vectors; i++) to[i] = acc[i / vectors][i % vectors];            \
    }
TILES(TILE)
#undef TILE

#pragma GCC pop_options

/* c[i] += the products of up to GROUP rows of `a` with a panel, as many steps at a time as stay in the
 * first cache while the rows pass. */
static void
NAME(multiply)(const Panels *w, int64_t rows, const T *a, int64_t panel, T *c)
{
    const int width = w->vectors * LANES;
    const T *b = (const T *)w->data + panel * w->k * width;
    const int64_t most = rows > ONE_TILE ? STEPS : w->k;
    for (int64_t p = 0, k; p < w->k; p += k, b += k * width) {
        k = w->k - p < most ? w->k - p : most;
        for (int64_t row = 0; row < rows;) {
            const T *ahead = b + (row ? k * width * 3 / 2 : k * width);
#define PICK(r, v)                                                                                 \
    if (w->vectors == v && rows - row >= r) {                                                      \
        NAME(tile_##r##x##v)(k, a + row * w->k + p, w->k, b, ahead, c + row * width);              \
        row += r;                                                                                  \
        continue;                                                                                  \
    }
            TILES(PICK)
#undef PICK
        }
    }
}

/* Panels [begin, end) of columns that are rows of the weights, padded with zeros. */
static void
NAME(pack_rows)(int64_t begin, int64_t end, void *context)
{
    const Panels *w = context;
    const int width = w->vectors * LANES;
    for (; begin < end; begin++) {
        T *to = (T *)w->data + begin * w->k * width;
        const int64_t left = w->h - begin * w->units, n = left < w->units ? left : w->units;
        if (n < w->units) memset(to, 0, (size_t)(w->k * width) * sizeof(T));
        for (int gate = 0; gate < w->gates; gate++) {
            const T *from = (const T *)w->weights + (gate * w->h + begin * w->units) * w->k;
            fac_transpose((char *)(to + gate * w->units), width * (int64_t)sizeof(T),
                          (const char *)from, w->k * (int64_t)sizeof(T), w->k, n, sizeof(T));
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

/* A vector of n elements and zeros. */
static inline NAME(vec) NAME(part)(const T *from, int64_t n)
{
    NAME(vec) x = {0};
    if (n >= LANES) return *(const NAME(vec) *)from;
    for (int64_t j = 0; j < n; j++) x[j] = from[j];
    return x;
}

/* --- forward ---------------------------------------------------------------------------------------- */

/* The state before this step. */
static inline const T *
NAME(state)(const Layer *s, const void *steps, const void *first)
{
    return s->before >= 0 ? (const T *)steps + s->before * s->batch * s->h : (const T *)first;
}

/* Where the sums of the gates begin, for some batch rows and the units of a panel: at the products with
 * the input, at the bias where those stay apart. What the cells will read and write besides is asked
 * for. */
static void
NAME(start)(const Layer *s, int64_t row, int rows, int64_t unit, T *sums)
{
    const int gates = s->panels.gates, wide = s->panels.vectors / gates; /* vectors of a gate */
    const int64_t at = s->now * s->batch + row;
    for (int i = 0; i < rows; i++)
        for (int gate = 0; gate < gates; gate++) {
            const T *gx = (const T *)s->gx + ((at + i) * gates + gate) * s->h + unit;
            for (int v = 0; v < wide; v++, sums += LANES) {
                const int64_t n = s->h - unit - v * LANES;
                NAME(vec) sum = {0};
                if (s->kind != GRU || gate < 2) sum = NAME(part)(gx + v * LANES, n);
                if (s->bias) sum += NAME(part)((const T *)s->bias + gate * s->h + unit, n);
                *(NAME(vec) *)sums = sum;
            }
            __builtin_prefetch(gx + s->panels.units, 0, 2);
            if (s->gates)
                __builtin_prefetch((T *)s->gates + ((at + i) * 4 + gate) * s->h + unit, 1, 2);
        }
    for (int i = 0; i < rows; i++) {
        __builtin_prefetch((T *)s->out + (at + i) * s->h + unit, 1, 2);
        if (s->cells) __builtin_prefetch((T *)s->cells + (at + i) * s->h + unit, 1, 2);
    }
}

/* Cells: new states of some batch rows for the units of a panel from the sums of their gates, two rows
 * at a time, the last one alone. */
static void
NAME(lstm_cells)(const Layer *s, int64_t row, int rows, int64_t unit, T *sums)
{
    const int64_t n = s->h - unit, at = s->now * s->batch + row;
    const T *before = NAME(state)(s, s->cells, s->c0) + row * s->h + unit;
    for (int i = 0; i < rows; i += 2) {
        const int last = i + 1 < rows;
        T *g[2] = {sums + i * 4 * LANES, sums + (i + last) * 4 * LANES};
        T c[2][LANES] = {0}, hidden[2][LANES];
        for (int r = 0; r <= last; r++) NAME(sigmoids)(g[r], g[r] + LANES);
        NAME(tanhs)(g[0] + 2 * LANES, g[last] + 2 * LANES);
        NAME(sigmoids)(g[0] + 3 * LANES, g[last] + 3 * LANES);
        for (int r = 0; r <= last; r++) {
            NAME(move)(before + (i + r) * s->h, c[r], n);
            for (int j = 0; j < LANES; j++)
                c[r][j] = g[r][LANES + j] * c[r][j] + g[r][j] * g[r][2 * LANES + j];
            memcpy(hidden[r], c[r], sizeof c[r]);
        }
        NAME(tanhs)(hidden[0], hidden[last]);
        for (int r = 0; r <= last; r++) {
            T *kept = s->gates ? (T *)s->gates + (at + i + r) * 4 * s->h + unit : NULL;
            for (int j = 0; j < LANES; j++) hidden[r][j] *= g[r][3 * LANES + j];
            NAME(move)(c[r], (T *)s->cells + (at + i + r) * s->h + unit, n);
            NAME(move)(hidden[r], (T *)s->out + (at + i + r) * s->h + unit, n);
            for (int gate = 0; kept && gate < 4; gate++)
                NAME(move)(g[r] + gate * LANES, kept + gate * s->h, n);
        }
    }
}

/* n = tanh(x_n + r h_n), h' = n + z (h - n); kept are r, z, n and h_n. */
static void
NAME(gru_cells)(const Layer *s, int64_t row, int rows, int64_t unit, T *sums)
{
    const int64_t n = s->h - unit, at = s->now * s->batch + row;
    const T *gx = (const T *)s->gx + (at * 3 + 2) * s->h + unit;
    const T *before = NAME(state)(s, s->out, s->h0) + row * s->h + unit;
    for (int i = 0; i < rows; i += 2) {
        const int last = i + 1 < rows;
        T *g[2] = {sums + i * 3 * LANES, sums + (i + last) * 3 * LANES};
        T new[2][LANES] = {0}, h[2][LANES] = {0};
        for (int r = 0; r <= last; r++) {
            NAME(sigmoids)(g[r], g[r] + LANES);
            NAME(move)(gx + (i + r) * 3 * s->h, new[r], n);
            for (int j = 0; j < LANES; j++) new[r][j] += g[r][j] * g[r][2 * LANES + j];
        }
        NAME(tanhs)(new[0], new[last]);
        for (int r = 0; r <= last; r++) {
            T *kept = s->gates ? (T *)s->gates + (at + i + r) * 4 * s->h + unit : NULL;
            NAME(move)(before + (i + r) * s->h, h[r], n);
            for (int j = 0; j < LANES; j++)
                h[r][j] = new[r][j] + g[r][LANES + j] * (h[r][j] - new[r][j]);
            NAME(move)(h[r], (T *)s->out + (at + i + r) * s->h + unit, n);
            if (!kept) continue;
            NAME(move)(g[r], kept, n);
            NAME(move)(g[r] + LANES, kept + s->h, n);
            NAME(move)(new[r], kept + 2 * s->h, n);
            NAME(move)(g[r] + 2 * LANES, kept + 3 * s->h, n);
        }
    }
}

static void
NAME(rnn_cells)(const Layer *s, int64_t row, int rows, int64_t unit, T *sums)
{
    const int64_t n = s->h - unit;
    T *out = (T *)s->out + (s->now * s->batch + row) * s->h + unit;
    for (int i = 0; i < rows; i++, sums += NAME(WIDTH), out += s->h) {
        if (s->kind == RNN_TANH)
            for (int j = 0; j < NAME(WIDTH); j += 2 * LANES)
                NAME(tanhs)(sums + j, sums + j + LANES);
        else
            for (int j = 0; j < NAME(WIDTH); j++) sums[j] = sums[j] < 0 ? 0 : sums[j];
        for (int64_t j = 0; j < NAME(WIDTH) && j < n; j += LANES)
            NAME(move)(sums + j, out + j, n - j);
    }
}

/* One step, the tasks [begin, end). */
static void
NAME(forward)(int64_t begin, int64_t end, void *context)
{
    const Layer *s = context;
    const T *h = NAME(state)(s, s->out, s->h0);
    T sums[GROUP * NAME(WIDTH)];
    for (; begin < end; begin++) {
        const Task task = task_of(s, begin);
        const int64_t unit = task.panel * s->panels.units;
        for (int64_t row = task.row; row < task.end; row += GROUP) {
            const int n = (int)(task.end - row < GROUP ? task.end - row : GROUP);
            NAME(start)(s, row, n, unit, sums);
            NAME(multiply)(&s->panels, n, h + row * s->h, task.panel, sums);
            switch (s->kind) {
            case LSTM: NAME(lstm_cells)(s, row, n, unit, sums); break;
            case GRU: NAME(gru_cells)(s, row, n, unit, sums); break;
            default: NAME(rnn_cells)(s, row, n, unit, sums); break;
            }
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

/* One step, the tasks [begin, end): what comes back from the step after, `after`
 * (negative: nothing), then the cells; with now negative only dh0 is left to be written. */
static void
NAME(backward)(int64_t begin, int64_t end, void *context)
{
    const Layer *s = context;
    T dh[GROUP * NAME(WIDTH)];
    for (; begin < end; begin++) {
        const Task task = task_of(s, begin);
        const int64_t unit = task.panel * NAME(WIDTH), left = s->h - unit, k = s->panels.k;
        const int64_t n = left < NAME(WIDTH) ? left : NAME(WIDTH);
        for (int64_t row = task.row; row < task.end;) {
            const int rows = (int)(task.end - row < GROUP ? task.end - row : GROUP);
            memset(dh, 0, (size_t)rows * NAME(WIDTH) * sizeof(T));
            if (s->after >= 0)
                NAME(multiply)(&s->panels, rows,
                               (const T *)s->dgh + (s->after * s->batch + row) * k, task.panel, dh);
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
