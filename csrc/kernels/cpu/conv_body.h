/* conv_body.h - the parts of convolution that calculate, in float32 and float64 (T); included by
 * conv.c. Images are padded: every tap of every position lies inside.
 */

/* FacGemm.fill: steps are rows of the columns, columns are positions. Whole blocks of 64 bytes are
 * copied, also behind the end of a run, where the next run or row comes; not so in the last row. */
static void
NAME(fill)(const void *context, int64_t p0, int64_t run, int64_t j0, int64_t columns, int64_t width,
           void *to)
{
    enum { BLOCK = 64 / sizeof(T) };
    const Conv *c = ((const Strips *)context)->c;
    const T *plane = (const T *)((const Strips *)context)->image + p0 / c->taps * c->room;
    const int64_t step = c->stride[2];
    Segment s[SEGMENTS];
    int64_t n = 0, tap = p0 % c->taps;
    const int64_t count = split(c, j0, j0 + columns, s, &n);
    for (int64_t p = 0; p < run; p++) {
        T *row = (T *)to + p * width, *at = row;
        const T *from = plane + c->tap[tap];
        const bool blocks = step == 1 && p + 1 < run;
        for (int64_t i = 0; i < count; at += s[i].n, i++) {
            const T *line = from + s[i].at;
            if (blocks)
                for (int64_t x = 0; x < s[i].n; x += BLOCK) memcpy(at + x, line + x, 64);
            else
                for (int64_t x = 0; x < s[i].n; x++) at[x] = line[x * step];
        }
        for (int64_t j = columns; j < width; j++) row[j] = 0;
        if (++tap < c->taps) continue;
        tap = 0;
        plane += c->room;
    }
}

/* The same of the transposed columns: steps are positions. */
static void
NAME(fill_turned)(const void *context, int64_t p0, int64_t run, int64_t j0, int64_t columns,
                  int64_t width, void *to)
{
    const Conv *c = ((const Strips *)context)->c;
    const T *image = (const T *)((const Strips *)context)->image;
    T rows[TURNED / sizeof(T)];
    Segment s[SEGMENTS];
    for (int64_t done = 0; done < run;) {
        const int64_t most = TURNED / (int64_t)sizeof(T) / columns;
        const int64_t end = run - done < most ? run : done + most;
        int64_t n = 0;
        const int64_t count = split(c, p0 + done, p0 + end, s, &n);
        for (int64_t j = 0; j < columns; j++) {
            const T *from = image + (j0 + j) / c->taps * c->room + c->tap[(j0 + j) % c->taps];
            T *at = rows + j * n;
            for (int64_t i = 0; i < count; at += s[i].n, i++)
                for (int64_t x = 0; x < s[i].n; x++) at[x] = from[s[i].at + x * c->stride[2]];
        }
        FAC_TIERED(gemm_pack_columns)(c->dtype, rows, n, columns, width, n, (T *)to + done * width);
        done += n;
    }
}

/* Adds the columns of channels [begin, end) to the image, tap by tap; elements of `parts` Ts. */
static void
NAME(scatter)(const Conv *c, T *image, const T *columns, int64_t begin, int64_t end, int parts)
{
    for (int64_t row = begin * c->taps; row < end * c->taps; row++) {
        T *plane = image + (row / c->taps * c->room + c->tap[row % c->taps]) * parts;
        const T *from = columns + row * c->positions * parts;
        for (int64_t line = 0; line < c->out[0] * c->out[1]; line++) {
            T *to = plane + line_start(c, line) * parts;
            for (int64_t x = 0; x < c->out[2]; x++, from += parts)
                for (int part = 0; part < parts; part++)
                    to[x * c->stride[2] * parts + part] += from[part];
        }
    }
}

/* Output planes [begin, end) of groups of one channel: no product, a sum over the taps, in blocks of
 * 64 bytes of which the last of a line is not all stored. */
static void
NAME(depthwise)(int64_t begin, int64_t end, void *context)
{
    enum { BLOCK = 64 / sizeof(T) };
    const Conv *c = context;
    const int64_t step = c->stride[2];
    for (; begin < end; begin++) {
        const int64_t output = begin % (c->groups * c->outputs);
        const T *image = (const T *)c->images + begin / c->outputs * c->room;
        const T *w = (const T *)c->w + output * c->taps;
        const T bias = c->bias ? ((const T *)c->bias)[output] : 0;
        T *to = (T *)c->y + begin * c->positions;
        for (int64_t line = 0; line < c->out[0] * c->out[1]; line++, to += c->out[2]) {
            const T *from = image + line_start(c, line);
            for (int64_t x = 0; x < c->out[2]; x += BLOCK) {
                const int64_t left = c->out[2] - x, n = left < BLOCK ? left : BLOCK;
                T sum[BLOCK];
                for (int i = 0; i < BLOCK; i++) sum[i] = bias;
                for (int64_t tap = 0; tap < c->taps; tap++) {
                    const T *at = from + c->tap[tap] + x * step;
                    if (step == 1)
                        for (int i = 0; i < BLOCK; i++) sum[i] += w[tap] * at[i];
                    else
                        for (int64_t i = 0; i < n; i++) sum[i] += w[tap] * at[i * step];
                }
                memcpy(to + x, sum, (size_t)n * sizeof(T));
            }
        }
    }
}

/* The weight of the adjoint: channels and outputs exchanged, the taps in reverse. */
static void
NAME(turn_weight)(const Conv *c, T *to)
{
    const T *w = (const T *)c->w;
    for (int64_t g = 0; g < c->groups; g++)
        for (int64_t i = 0; i < c->channels; i++)
            for (int64_t o = 0; o < c->outputs; o++)
                for (int64_t tap = c->taps - 1; tap >= 0; tap--)
                    *to++ = w[((g * c->outputs + o) * c->channels + i) * c->taps + tap];
}
#undef T
#undef NAME
