/* pool_body.h - pooling in one type, T (sums in SUM, divided by SHARE; places in INDEX, at least as wide
 * as T, which vectors like; LOWEST is below or equal to all); included by pool.c.
 *
 * Windows are first combined slice by slice: whole lines of a plane in C order, channels in
 * channels-last order, which then is all. In C order windows of the line are combined after that, tap by
 * tap for all of them; before and behind the line stands padding that changes nothing.
 *
 * Maxima take the first of equal elements, in C order of the window; any NaN wins, the last of them.
 */

/* --- slices --------------------------------------------------------------------------------------------- */

/* Elements at, at + step, ... of the plane. */
static inline void
NAME(first_slice)(T *top, INDEX *place, const T *x, INDEX at, INDEX step, int64_t n)
{
    memcpy(top, x, (size_t)n * sizeof(T));
    for (int64_t i = 0; i < n; i++) place[i] = at + (INDEX)i * step;
}

static inline void
NAME(max_slice)(T *restrict top, INDEX *restrict place, const T *restrict x, INDEX at, INDEX step,
                int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const bool better = (x[i] > top[i]) | IS_NAN(x[i]);
        top[i] = better ? x[i] : top[i];
        place[i] = better ? at + (INDEX)i * step : place[i];
    }
}

/* The larger ones of n elements that are `stride` apart, without their places. */
static inline __attribute__((always_inline)) void
NAME(top_slice)(T *restrict top, const T *restrict x, int64_t stride, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const T v = x[i * stride];
        top[i] = (v > top[i]) | IS_NAN(v) ? v : top[i];
    }
}

static inline void
NAME(add_slice)(SUM *restrict sum, const T *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) sum[i] += (SUM)x[i];
}

/* --- lines ---------------------------------------------------------------------------------------------- */

/* A tap of all windows of a line, `stride` apart. */
static inline __attribute__((always_inline)) void
NAME(max_tap)(T *restrict top, INDEX *restrict place, const T *restrict x,
              const INDEX *restrict from, int64_t stride, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const T v = x[i * stride];
        const INDEX at = from[i * stride];
        const bool first = at < place[i];
        const bool better =
            (v > top[i]) | ((v == top[i]) & first) | (IS_NAN(v) & (!IS_NAN(top[i]) | !first));
        top[i] = better ? v : top[i];
        place[i] = better ? at : place[i];
    }
}

static inline __attribute__((always_inline)) void
NAME(add_tap)(SUM *restrict sum, const SUM *restrict x, int64_t stride, int64_t n)
{
    for (int64_t i = 0; i < n; i++) sum[i] += x[i * stride];
}

/* The windows of a line whose first element is x[0], from[0]. */
static void
NAME(max_line)(const Pool *p, const T *x, const INDEX *from, T *top, INDEX *place)
{
    const int64_t n = p->out[2], stride = p->stride[2], step = p->dilation[2];
    for (int64_t o = 0; p->by_spans && o < n; o++) {
        const Span h = span(p, 2, o);
        top[o] = x[h.begin];
        place[o] = from[h.begin];
        for (int64_t i = h.begin + h.step; i < h.end; i += h.step)
            NAME(max_tap)(top + o, place + o, x + i, from + i, 1, 1);
    }
    if (p->by_spans) return;
    for (int64_t o = 0; o < n; o++) {
        top[o] = x[o * stride];
        place[o] = from[o * stride];
    }
    for (int64_t k = 1; k < p->kernel[2]; k++) {
        const T *tap = x + k * step;
        const INDEX *at = from + k * step;
        if (stride == 1)
            NAME(max_tap)(top, place, tap, at, 1, n);
        else if (stride == 2)
            NAME(max_tap)(top, place, tap, at, 2, n);
        else
            NAME(max_tap)(top, place, tap, at, stride, n);
    }
}

static void
NAME(top_line)(const Pool *p, const T *x, T *top)
{
    const int64_t n = p->out[2], stride = p->stride[2], step = p->dilation[2];
    for (int64_t o = 0; p->by_spans && o < n; o++) {
        const Span h = span(p, 2, o);
        top[o] = x[h.begin];
        for (int64_t i = h.begin + h.step; i < h.end; i += h.step)
            NAME(top_slice)(top + o, x + i, 1, 1);
    }
    if (p->by_spans) return;
    for (int64_t o = 0, count; o < n; o += count, top += count, x += count * stride) {
        count = n - o < NEAR ? n - o : NEAR;
        for (int64_t i = 0; i < count; i++) top[i] = x[i * stride];
        for (int64_t k = 1; k < p->kernel[2]; k++) {
            if (stride == 1)
                NAME(top_slice)(top, x + k * step, 1, count);
            else if (stride == 2)
                NAME(top_slice)(top, x + k * step, 2, count);
            else
                NAME(top_slice)(top, x + k * step, stride, count);
        }
    }
}

/* A long window is summed in lanes, which are put together by halves. */
static SUM
NAME(add_span)(const SUM *x, int64_t n)
{
    enum { LANES = 256 / sizeof(SUM) };
    SUM lanes[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int64_t k = 0; k < LANES; k++) lanes[k] += x[i + k];
    for (int64_t k = 0; k < n - i; k++) lanes[k] += x[i + k];
#pragma GCC unroll 8
    for (int64_t half = LANES / 2; half > 0; half /= 2)
        for (int64_t k = 0; k < half; k++) lanes[k] += lanes[k + half];
    return lanes[0];
}

static void
NAME(add_line)(const Pool *p, const SUM *x, SUM *sum)
{
    const int64_t n = p->out[2], stride = p->stride[2];
    memset(sum, 0, (size_t)n * sizeof(SUM));
    for (int64_t o = 0; p->by_spans && o < n; o++) {
        const Span h = span(p, 2, o);
        sum[o] = NAME(add_span)(x + h.begin, h.end - h.begin);
    }
    if (p->by_spans) return;
    for (int64_t k = 0; k < p->kernel[2]; k++) {
        if (stride == 1)
            NAME(add_tap)(sum, x + k, 1, n);
        else if (stride == 2)
            NAME(add_tap)(sum, x + k, 2, n);
        else
            NAME(add_tap)(sum, x + k, stride, n);
    }
}

/* Adds every element to its window of the line. */
static void
NAME(spread_line)(const Pool *p, const T *part, SUM *x)
{
    const int64_t n = p->out[2], stride = p->stride[2];
    for (int64_t o = 0; p->by_spans && o < n; o++) {
        const Span h = span(p, 2, o);
        for (int64_t i = h.begin; i < h.end; i++) x[i] += (SUM)part[o];
    }
    if (p->by_spans) return;
    for (int64_t k = 0; k < p->kernel[2]; k++) {
        if (stride == 1)
            for (int64_t o = 0; o < n; o++) x[o + k] += (SUM)part[o];
        else
            for (int64_t o = 0; o < n; o++) x[o * stride + k] += (SUM)part[o];
    }
}

/* --- planes in C order ---------------------------------------------------------------------------------- */

/* What a task works in; `line` and `from` have padding around what stands at p->before. */
typedef struct NAME(Room) {
    T *part;
    SUM *line, *sum;
    INDEX *from, *place, *count; /* count: how many elements the windows have */
} NAME(Room);

static void
NAME(max_plane)(const Pool *p, const T *x, T *y, int64_t *indices, const NAME(Room) * r)
{
    const int64_t width = p->in[2];
    T *top = (T *)r->line + p->before;
    INDEX *from = r->from + p->before;
    for (int64_t o = 0; o < p->out[0] * p->out[1]; o++, y += p->out[2], indices += p->out[2]) {
        const Span z = span(p, 0, o / p->out[1]), v = span(p, 1, o % p->out[1]);
        bool first = true;
        for (int64_t iz = z.begin; iz < z.end; iz += z.step)
            for (int64_t iy = v.begin; iy < v.end; iy += v.step, first = false) {
                const int64_t at = (iz * p->in[1] + iy) * width;
                if (first)
                    NAME(first_slice)(top, from, x + at, (INDEX)at, 1, width);
                else
                    NAME(max_slice)(top, from, x + at, (INDEX)at, 1, width);
            }
        NAME(max_line)(p, (T *)r->line, r->from, y, r->place);
        for (int64_t i = 0; i < p->out[2]; i++) indices[i] = r->place[i];
    }
}

static void
NAME(top_plane)(const Pool *p, const T *x, T *y, const NAME(Room) * r)
{
    const int64_t width = p->in[2];
    const bool plain = p->kernel[0] == 1 && p->kernel[1] == 1 && p->padded == width;
    T *top = (T *)r->line + p->before;
    for (int64_t o = 0; o < p->out[0] * p->out[1]; o++, y += p->out[2]) {
        const Span z = span(p, 0, o / p->out[1]), v = span(p, 1, o % p->out[1]);
        bool first = true;
        if (plain) { /* one line, as it is */
            NAME(top_line)(p, x + (z.begin * p->in[1] + v.begin) * width, y);
            continue;
        }
        for (int64_t iz = z.begin; iz < z.end; iz += z.step)
            for (int64_t iy = v.begin; iy < v.end; iy += v.step, first = false) {
                const T *line = x + (iz * p->in[1] + iy) * width;
                if (first)
                    memcpy(top, line, (size_t)width * sizeof(T));
                else
                    NAME(top_slice)(top, line, 1, width);
            }
        NAME(top_line)(p, (T *)r->line, y);
    }
}

static void
NAME(avg_plane)(const Pool *p, const T *x, T *y, const NAME(Room) * r)
{
    const int64_t width = p->in[2];
    if (p->adaptive && p->out_area == 1 && sizeof(T) == sizeof(SUM)) { /* all of the plane */
        *y = (T)SHARE(NAME(add_span)((const SUM *)x, p->in_area), p->in_area);
        return;
    }
    for (int64_t o = 0; o < p->out[0] * p->out[1]; o++, y += p->out[2]) {
        const Span z = span(p, 0, o / p->out[1]), v = span(p, 1, o % p->out[1]);
        const int64_t lines = lines_of(p, z, v);
        memset(r->line + p->before, 0, (size_t)width * sizeof(SUM));
        for (int64_t iz = z.begin; iz < z.end; iz++)
            for (int64_t iy = v.begin; iy < v.end; iy++)
                NAME(add_slice)(r->line + p->before, x + (iz * p->in[1] + iy) * width, width);
        NAME(add_line)(p, r->line, r->sum);
        for (int64_t i = 0; i < p->out[2]; i++)
            y[i] = (T)SHARE(r->sum[i], p->divisor ? p->divisor : lines * r->count[i]);
    }
}

static void
NAME(avg_plane_backward)(const Pool *p, const T *g, T *x, const NAME(Room) * r)
{
    const int64_t width = p->in[2];
    if (p->adaptive && p->out_area == 1) {
        const T part = (T)SHARE((SUM)*g, p->in_area);
        for (int64_t i = 0; i < p->in_area; i++) x[i] = part;
        return;
    }
    memset(x, 0, (size_t)p->in_area * sizeof(T));
    for (int64_t o = 0; o < p->out[0] * p->out[1]; o++, g += p->out[2]) {
        const Span z = span(p, 0, o / p->out[1]), v = span(p, 1, o % p->out[1]);
        const int64_t lines = lines_of(p, z, v);
        for (int64_t i = 0; i < p->out[2]; i++)
            r->part[i] = (T)SHARE((SUM)g[i], p->divisor ? p->divisor : lines * r->count[i]);
        memset(r->line, 0, (size_t)p->padded * sizeof(SUM));
        NAME(spread_line)(p, r->part, r->line);
        for (int64_t iz = z.begin; iz < z.end; iz++)
            for (int64_t iy = v.begin; iy < v.end; iy++) {
                T *to = x + (iz * p->in[1] + iy) * width;
                for (int64_t i = 0; i < width; i++) to[i] += (T)r->line[p->before + i];
            }
    }
}

static void
NAME(planes)(int64_t begin, int64_t end, void *context)
{
    Pool *p = context;
    const size_t outs = (size_t)p->out[2], padded = (size_t)p->padded;
    const size_t bytes =
        (padded + outs) * (sizeof(SUM) + sizeof(INDEX)) + outs * (sizeof(T) + sizeof(INDEX));
    void *memory;
    if (fac_host_alloc(bytes, &memory) != FAC_OK) {
        p->failed = true;
        return;
    }
    NAME(Room) r = {.line = memory};
    r.sum = r.line + padded;
    r.from = (INDEX *)(r.sum + outs);
    r.place = r.from + padded;
    r.count = r.place + outs;
    r.part = (T *)(r.count + outs);
    for (int64_t i = 0; i < p->padded; i++) {
        if (p->kind == MAX || p->kind == MAX_VALUES)
            ((T *)r.line)[i] = LOWEST;
        else
            r.line[i] = 0;
        r.from[i] = LAST;
    }
    const bool counts = p->kind == AVG || p->kind == AVG_BACKWARD;
    for (int64_t o = 0; counts && o < p->out[2]; o++) {
        const Span h = span(p, 2, o);
        r.count[o] = (INDEX)(p->count_padding ? h.padded : h.end - h.begin);
    }
    for (; begin < end; begin++) {
        T *small = (T *)p->small + begin * p->out_area, *large = (T *)p->large + begin * p->in_area;
        int64_t *indices = p->indices + begin * p->out_area;
        switch (p->kind) {
        case MAX: NAME(max_plane)(p, large, small, indices, &r); break;
        case MAX_VALUES: NAME(top_plane)(p, large, small, &r); break;
        case MAX_BACKWARD:
            memset(large, 0, (size_t)p->in_area * sizeof(T));
            for (int64_t o = 0; o < p->out_area; o++) large[indices[o]] += small[o];
            break;
        case AVG: NAME(avg_plane)(p, large, small, &r); break;
        case AVG_BACKWARD: NAME(avg_plane_backward)(p, small, large, &r); break;
        }
    }
    fac_host_free(memory, bytes);
}

/* --- channels last -------------------------------------------------------------------------------------- */

/* One window of n channels of a sample, from x and y on. */
static void
NAME(window)(const Pool *p, Span z, Span v, Span h, T *x, T *y, int64_t *indices, int64_t n)
{
    const int64_t d = p->divisor
                          ? p->divisor
                          : lines_of(p, z, v) * (p->count_padding ? h.padded : h.end - h.begin);
    INDEX place[CHANNELS];
    SUM sum[CHANNELS];
    bool first = true;
    for (int64_t i = 0; i < n; i++) sum[i] = p->kind == AVG_BACKWARD ? SHARE((SUM)y[i], d) : 0;
    for (int64_t iz = z.begin; iz < z.end; iz += z.step)
        for (int64_t iy = v.begin; iy < v.end; iy += v.step)
            for (int64_t ix = h.begin; ix < h.end; ix += h.step, first = false) {
                const int64_t at = (iz * p->in[1] + iy) * p->in[2] + ix;
                T *slice = x + at * p->channels;
                if (p->kind == AVG)
                    NAME(add_slice)(sum, slice, n);
                else if (p->kind == AVG_BACKWARD && p->adaptive && p->out_area == 1)
                    for (int64_t i = 0; i < n; i++) slice[i] = (T)sum[i];
                else if (p->kind == AVG_BACKWARD)
                    for (int64_t i = 0; i < n; i++) slice[i] += (T)sum[i];
                else if (p->kind == MAX_VALUES && first)
                    memcpy(y, slice, (size_t)n * sizeof(T));
                else if (p->kind == MAX_VALUES)
                    NAME(top_slice)(y, slice, 1, n);
                else if (first)
                    NAME(first_slice)(y, place, slice, (INDEX)at, 0, n);
                else
                    NAME(max_slice)(y, place, slice, (INDEX)at, 0, n);
            }
    for (int64_t i = 0; i < n && p->kind == AVG; i++) y[i] = (T)SHARE(sum[i], d);
    for (int64_t i = 0; i < n && p->kind == MAX; i++) indices[i] = place[i];
}

static void
NAME(windows)(const Pool *p, T *x, T *y, int64_t *indices, int64_t n)
{
    for (int64_t oz = 0; oz < p->out[0]; oz++) {
        const Span z = span(p, 0, oz);
        for (int64_t oy = 0; oy < p->out[1]; oy++) {
            const Span v = span(p, 1, oy);
            for (int64_t ox = 0; ox < p->out[2]; ox++, y += p->channels, indices += p->channels)
                NAME(window)(p, z, v, span(p, 2, ox), x, y, indices, n);
        }
    }
}

/* A task is up to CHANNELS channels of a sample. */
static void
NAME(samples)(int64_t begin, int64_t end, void *context)
{
    const Pool *p = context;
    const int64_t blocks = fac_chunks(p->channels, CHANNELS);
    for (; begin < end; begin++) {
        const int64_t sample = begin / blocks, c = begin % blocks * CHANNELS;
        const int64_t n = p->channels - c < CHANNELS ? p->channels - c : CHANNELS;
        const int64_t to = sample * p->out_area * p->channels + c;
        T *x = (T *)p->large + sample * p->in_area * p->channels + c, *y = (T *)p->small + to;
        int64_t *indices = p->indices + to;
        const bool whole = p->adaptive && p->out_area == 1;
        if ((p->kind == AVG_BACKWARD && !whole) || p->kind == MAX_BACKWARD)
            for (int64_t at = 0; at < p->in_area; at++)
                memset(x + at * p->channels, 0, (size_t)n * sizeof(T));
        if (p->kind != MAX_BACKWARD) {
            NAME(windows)(p, x, y, indices, n);
            continue;
        }
        for (int64_t o = 0; o < p->out_area; o++, y += p->channels, indices += p->channels)
            for (int64_t i = 0; i < n; i++) x[indices[i] * p->channels + i] += y[i];
    }
}
#undef T
#undef SUM
#undef INDEX
#undef LOWEST
#undef LAST
#undef NAME
