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

/* One plane: depth first, then rows, then columns. Scratch: a plane and a row of the input. */
static void
NAME(plane)(const Interpolate *p, const T *x, T *y, T *scratch)
{
    const Axis *d = &p->axis[0], *h = &p->axis[1], *w = &p->axis[2];
    const int64_t area = h->in * w->in;
    T *row = scratch + area;
    for (int64_t z = 0; z < d->out; z++) {
        const T *flat = NAME(blend)(x, area, d, z, scratch);
        for (int64_t v = 0; v < h->out; v++, y += w->out) {
            const T *line = NAME(blend)(flat, w->in, h, v, row);
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
                    for (int k = 0; k < 4; k++)
                        sum += (T)weight[4 * i + k] * line[index[4 * i + k]];
                    y[i] = sum;
                }
        }
    }
}

/* The gradient of a plane: each element goes back to where it was read, with its weight. */
static void
NAME(plane_backward)(const Interpolate *p, const T *g, T *dx, T *scratch)
{
    const Axis *d = &p->axis[0], *h = &p->axis[1], *w = &p->axis[2];
    const int64_t area = h->in * w->in;
    T *row = scratch + area;
    memset(dx, 0, (size_t)(d->in * area) * sizeof(T));
    for (int64_t z = 0; z < d->out; z++) {
        memset(scratch, 0, (size_t)area * sizeof(T));
        for (int64_t v = 0; v < h->out; v++, g += w->out) {
            memset(row, 0, (size_t)w->in * sizeof(T));
            for (int64_t i = 0; i < w->out; i++)
                for (int k = 0; k < w->taps; k++)
                    row[w->index[i * w->taps + k]] += (T)w->weight[i * w->taps + k] * g[i];
            NAME(spread)(row, w->in, h, v, scratch);
        }
        NAME(spread)(scratch, area, d, z, dx);
    }
}

static void
NAME(run)(int64_t begin, int64_t end, void *context)
{
    Interpolate *p = context;
    const Axis *d = &p->axis[0], *h = &p->axis[1], *w = &p->axis[2];
    const int64_t in = d->in * h->in * w->in, out = d->out * h->out * w->out;
    const size_t bytes = (size_t)((h->in + 1) * w->in) * sizeof(T);
    void *scratch;
    if (fac_host_alloc(bytes, &scratch) != FAC_OK) {
        p->failed = true;
        return;
    }
    for (; begin < end; begin++) {
        if (p->backward)
            NAME(plane_backward)(p, (const T *)p->from + begin * out, (T *)p->to + begin * in,
                                 scratch);
        else
            NAME(plane)(p, (const T *)p->from + begin * in, (T *)p->to + begin * out, scratch);
    }
    fac_host_free(scratch, bytes);
}
#undef T
#undef NAME
