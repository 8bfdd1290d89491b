/* conv_body.h - windows of an image as columns of a matrix, and back, in elements of `parts` Ts;
 * included by conv.c. Row r of the matrix is one tap of one channel of the window, column p one
 * position of the output.
 */

/* Rows [begin, end) of the columns of the image at `image`. */
static void
NAME(gather)(const Conv *c, const T *image, T *columns, int64_t begin, int64_t end, int parts)
{
    for (int64_t row = begin; row < end; row++) {
        int64_t first, last;
        const int64_t channel = row / c->taps, kx = tap_offset(c, 2, row % c->kernel[2]);
        const int64_t ky = tap_offset(c, 1, row / c->kernel[2] % c->kernel[1]);
        const int64_t kz = tap_offset(c, 0, row % c->taps / (c->kernel[2] * c->kernel[1]));
        inside(c, kx, &first, &last);
        const T *plane = image + channel * c->area * parts;
        T *to = columns + row * c->positions * parts;
        for (int64_t oz = 0; oz < c->out[0]; oz++)
            for (int64_t oy = 0; oy < c->out[1]; oy++, to += c->out[2] * parts) {
                const int64_t z = oz * c->stride[0] + kz, y = oy * c->stride[1] + ky;
                if (z < 0 || z >= c->in[0] || y < 0 || y >= c->in[1]) {
                    memset(to, 0, (size_t)(c->out[2] * parts) * sizeof(T));
                    continue;
                }
                const T *line = plane + (z * c->in[1] + y) * c->in[2] * parts;
                memset(to, 0, (size_t)(first * parts) * sizeof(T));
                for (int64_t ox = first; ox < last; ox++)
                    for (int part = 0; part < parts; part++)
                        to[ox * parts + part] = line[(ox * c->stride[2] + kx) * parts + part];
                memset(to + last * parts, 0, (size_t)((c->out[2] - last) * parts) * sizeof(T));
            }
    }
}

/* Adds the columns of channels [begin, end) to the image, tap by tap. */
static void
NAME(scatter)(const Conv *c, T *image, const T *columns, int64_t begin, int64_t end, int parts)
{
    for (int64_t row = begin * c->taps; row < end * c->taps; row++) {
        int64_t first, last;
        const int64_t channel = row / c->taps, kx = tap_offset(c, 2, row % c->kernel[2]);
        const int64_t ky = tap_offset(c, 1, row / c->kernel[2] % c->kernel[1]);
        const int64_t kz = tap_offset(c, 0, row % c->taps / (c->kernel[2] * c->kernel[1]));
        inside(c, kx, &first, &last);
        T *plane = image + channel * c->area * parts;
        const T *from = columns + row * c->positions * parts;
        for (int64_t oz = 0; oz < c->out[0]; oz++)
            for (int64_t oy = 0; oy < c->out[1]; oy++, from += c->out[2] * parts) {
                const int64_t z = oz * c->stride[0] + kz, y = oy * c->stride[1] + ky;
                if (z < 0 || z >= c->in[0] || y < 0 || y >= c->in[1]) continue;
                T *line = plane + (z * c->in[1] + y) * c->in[2] * parts;
                for (int64_t ox = first; ox < last; ox++)
                    for (int part = 0; part < parts; part++)
                        line[(ox * c->stride[2] + kx) * parts + part] += from[ox * parts + part];
            }
    }
}
#undef T
#undef NAME
