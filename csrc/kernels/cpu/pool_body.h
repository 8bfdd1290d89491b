/* pool_body.h - pooling of one plane in one type, T (sums in SUM, divided by
 * SHARE); included by pool.c.
 *
 * A plane is walked by output position; the window of a position is cut to the plane. Maxima take the
 * first of equal elements, and any NaN wins.
 */

static void
NAME(max_plane)(const Pool *p, const T *x, T *y, int64_t *indices)
{
    Span z, v, h;
    for (int64_t oz = 0, o = 0; oz < p->out[0]; oz++) {
        z = span(p, 0, oz);
        for (int64_t oy = 0; oy < p->out[1]; oy++) {
            v = span(p, 1, oy);
            for (int64_t ox = 0; ox < p->out[2]; ox++, o++) {
                h = span(p, 2, ox);
                int64_t best = (z.begin * p->in[1] + v.begin) * p->in[2] + h.begin;
                T top = x[best];
                bool first = true;
                for (int64_t iz = z.begin; iz < z.end; iz += z.step)
                    for (int64_t iy = v.begin; iy < v.end; iy += v.step)
                        for (int64_t ix = h.begin; ix < h.end; ix += h.step) {
                            const int64_t at = (iz * p->in[1] + iy) * p->in[2] + ix;
                            if (first || x[at] > top || x[at] != x[at]) {
                                top = x[at];
                                best = at;
                                first = false;
                            }
                        }
                y[o] = top;
                indices[o] = best;
            }
        }
    }
}

static void
NAME(max_plane_backward)(const Pool *p, const T *g, const int64_t *indices, T *x)
{
    memset(x, 0, (size_t)p->in_area * sizeof(T));
    for (int64_t o = 0; o < p->out_area; o++) x[indices[o]] += g[o];
}

static void
NAME(avg_plane)(const Pool *p, const T *x, T *y)
{
    for (int64_t oz = 0, o = 0; oz < p->out[0]; oz++)
        for (int64_t oy = 0; oy < p->out[1]; oy++)
            for (int64_t ox = 0; ox < p->out[2]; ox++, o++) {
                const Span z = span(p, 0, oz), v = span(p, 1, oy), h = span(p, 2, ox);
                SUM sum = 0;
                for (int64_t iz = z.begin; iz < z.end; iz++)
                    for (int64_t iy = v.begin; iy < v.end; iy++)
                        for (int64_t ix = h.begin; ix < h.end; ix++)
                            sum += x[(iz * p->in[1] + iy) * p->in[2] + ix];
                y[o] = (T)SHARE(sum, divisor(p, z, v, h));
            }
}

static void
NAME(avg_plane_backward)(const Pool *p, const T *g, T *x)
{
    memset(x, 0, (size_t)p->in_area * sizeof(T));
    for (int64_t oz = 0, o = 0; oz < p->out[0]; oz++)
        for (int64_t oy = 0; oy < p->out[1]; oy++)
            for (int64_t ox = 0; ox < p->out[2]; ox++, o++) {
                const Span z = span(p, 0, oz), v = span(p, 1, oy), h = span(p, 2, ox);
                const T part = (T)SHARE((SUM)g[o], divisor(p, z, v, h));
                for (int64_t iz = z.begin; iz < z.end; iz++)
                    for (int64_t iy = v.begin; iy < v.end; iy++)
                        for (int64_t ix = h.begin; ix < h.end; ix++)
                            x[(iz * p->in[1] + iy) * p->in[2] + ix] += part;
            }
}

static void
NAME(planes)(int64_t begin, int64_t end, void *context)
{
    const Pool *p = context;
    for (; begin < end; begin++) {
        T *small = (T *)p->small + begin * p->out_area, *large = (T *)p->large + begin * p->in_area;
        int64_t *indices = p->indices + begin * p->out_area;
        switch (p->kind) {
        case MAX: NAME(max_plane)(p, large, small, indices); break;
        case MAX_BACKWARD: NAME(max_plane_backward)(p, small, indices, large); break;
        case AVG: NAME(avg_plane)(p, large, small); break;
        case AVG_BACKWARD: NAME(avg_plane_backward)(p, small, large); break;
        }
    }
}
#undef T
#undef SUM
#undef NAME
