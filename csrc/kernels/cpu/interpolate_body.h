/* interpolate_body.h - interpolate.c in one real type, T. */

/* Place i of an axis: the weighted sum of slices of n elements, in `room` unless it is one slice itself. */
static const T *
NAME(blend)(const T *x, int64_t n, const Axis *a, int64_t i, T *room)
{
    const int32_t *index = a->index + i * a->taps;
    const double *weight = a->weight + i * a->taps;
    const T *first = x + index[0] * n, w0 = (T)weight[0];
    if (a->taps == 1) return first;
    for (int64_t j = 0; j < n; j++) room[j] = w0 * first[j];
    for (int k = 1; k < a->taps; k++) {
        const T *more = x + index[k] * n, w = (T)weight[k];
        for (int64_t j = 0; j < n; j++) room[j] += w * more[j];
    }
    return room;
}

/* The other way: adds a slice to those that it was made of. */
static void
NAME(spread)(const T *slice, int64_t n, const Axis *a, int64_t i, T *to)
{
    for (int k = 0; k < a->taps; k++) {
        const T w = (T)a->weight[i * a->taps + k];
        T *part = to + a->index[i * a->taps + k] * n;
        for (int64_t j = 0; j < n; j++) part[j] += w * slice[j];
    }
}

/* A line of results from a line of the input. */
static void
NAME(line)(const Axis *w, const T *line, T *y)
{
    const int32_t *index = w->index;
    const double *weight = w->weight;
    if (w->taps == 1)
        for (int64_t i = 0; i < w->out; i++) y[i] = line[index[i]];
    else if (w->taps == 2)
        for (int64_t i = 0; i < w->out; i++)
            y[i] = (T)weight[2 * i] * line[index[2 * i]] +
                   (T)weight[2 * i + 1] * line[index[2 * i + 1]];
    else
        for (int64_t i = 0; i < w->out; i++) {
            T sum = 0;
            for (int k = 0; k < 4; k++) sum += (T)weight[4 * i + k] * line[index[4 * i + k]];
            y[i] = sum;
        }
}

/* The same with n channels last. */
static void
NAME(line_last)(const Axis *w, const T *line, T *y, int64_t n)
{
    for (int64_t i = 0; i < w->out; i++, y += n) {
        const int32_t *index = w->index + i * w->taps;
        const double *weight = w->weight + i * w->taps;
        const T *a = line + index[0] * n;
        if (w->taps == 1) {
            memcpy(y, a, (size_t)n * sizeof(T));
            continue;
        }
        const T *b = line + index[1] * n, w0 = (T)weight[0], w1 = (T)weight[1];
        if (w->taps == 2) {
            for (int64_t j = 0; j < n; j++) y[j] = w0 * a[j] + w1 * b[j];
            continue;
        }
        const T *c = line + index[2] * n, *d = line + index[3] * n;
        const T w2 = (T)weight[2], w3 = (T)weight[3];
        for (int64_t j = 0; j < n; j++) y[j] = ((w0 * a[j] + w1 * b[j]) + w2 * c[j]) + w3 * d[j];
    }
}

/* Rows [v0, v1) of a plane of results at depth z, or of all channels of a sample where they come last: depth
 * first, then rows, then columns. Scratch: a plane and a row of the input. */
static void
NAME(rows)(const Interpolate *p, const T *x, T *y, int64_t z, int64_t v0, int64_t v1, T *scratch)
{
    const Axis *d = &p->axis[0], *h = &p->axis[1], *w = &p->axis[2];
    const int64_t n = p->last ? p->channels : 1, area = h->in * w->in * n;
    const T *flat = NAME(blend)(x, area, d, z, scratch);
    y += (z * h->out + v0) * w->out * n;
    for (int64_t v = v0; v < v1; v++, y += w->out * n) {
        const T *line = NAME(blend)(flat, w->in * n, h, v, scratch + area);
        if (p->last)
            NAME(line_last)(w, line, y, n);
        else
            NAME(line)(w, line, y);
    }
}

/* Adds a line of the gradient to where it was read, with the weights. */
static void
NAME(line_back)(const Axis *w, const T *g, T *line)
{
    const int32_t *index = w->index;
    const double *weight = w->weight;
    if (w->taps == 1)
        for (int64_t i = 0; i < w->out; i++) line[index[i]] += g[i];
    else if (w->taps == 2)
        for (int64_t i = 0; i < w->out; i++) {
            line[index[2 * i]] += (T)weight[2 * i] * g[i];
            line[index[2 * i + 1]] += (T)weight[2 * i + 1] * g[i];
        }
    else
        for (int64_t i = 0; i < w->out; i++)
            for (int k = 0; k < 4; k++) line[index[4 * i + k]] += (T)weight[4 * i + k] * g[i];
}

/* The same with n channels last. */
static void
NAME(line_last_back)(const Axis *w, const T *g, T *line, int64_t n)
{
    for (int64_t i = 0; i < w->out; i++, g += n)
        for (int k = 0; k < w->taps; k++) {
            const T weight = (T)w->weight[i * w->taps + k];
            T *to = line + w->index[i * w->taps + k] * n;
            for (int64_t j = 0; j < n; j++) to[j] += weight * g[j];
        }
}

/* The gradient of a plane, or of a sample: each element goes back to where it was read, with its weight. Where
 * one element makes a result, it goes there at once. */
static void
NAME(backward)(const Interpolate *p, const T *g, T *dx, T *scratch)
{
    const Axis *d = &p->axis[0], *h = &p->axis[1], *w = &p->axis[2];
    const int64_t n = p->last ? p->channels : 1, width = w->in * n, area = h->in * width;
    memset(dx, 0, (size_t)(d->in * area) * sizeof(T));
    for (int64_t z = 0; z < d->out; z++) {
        T *flat = d->taps == 1 ? dx + d->index[z] * area : scratch;
        if (flat == scratch) memset(flat, 0, (size_t)area * sizeof(T));
        for (int64_t v = 0; v < h->out; v++, g += w->out * n) {
            T *line = h->taps == 1 ? flat + h->index[v] * width : scratch + area;
            if (h->taps > 1) memset(line, 0, (size_t)width * sizeof(T));
            if (p->last)
                NAME(line_last_back)(w, g, line, n);
            else
                NAME(line_back)(w, g, line);
            if (h->taps > 1) NAME(spread)(line, width, h, v, flat);
        }
        if (d->taps > 1) NAME(spread)(flat, area, d, z, dx);
    }
}

static void
NAME(run)(int64_t begin, int64_t end, void *context)
{
    Interpolate *p = context;
    const Axis *d = &p->axis[0], *h = &p->axis[1], *w = &p->axis[2];
    const int64_t n = p->last ? p->channels : 1;
    const int64_t in = d->in * h->in * w->in * n, out = d->out * h->out * w->out * n;
    const int64_t blocks = p->blocks;
    const size_t bytes = (size_t)((h->in + 1) * w->in * n) * sizeof(T);
    void *scratch;
    if (fac_host_alloc(bytes, &scratch) != FAC_OK) {
        p->failed = true;
        return;
    }
    for (; begin < end; begin++) {
        if (p->backward) {
            NAME(backward)(p, (const T *)p->from + begin * out, (T *)p->to + begin * in, scratch);
            continue;
        }
        const int64_t plane = begin / blocks / d->out, z = begin / blocks % d->out;
        const int64_t v0 = begin % blocks * p->block, v1 = v0 + p->block;
        NAME(rows)(p, (const T *)p->from + plane * in, (T *)p->to + plane * out, z, v0,
                   v1 < h->out ? v1 : h->out, scratch);
    }
    fac_host_free(scratch, bytes);
}
#undef T
#undef NAME
