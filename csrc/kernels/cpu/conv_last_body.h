/* conv_last_body.h - convolution with the channels last in float32 and float64 (T); included by
 * conv_last.c. */

enum { NAME(VL) = GEMM_BYTES / sizeof(T), NAME(NR) = 2 * NAME(VL) };
typedef NAME(FacVec) NAME(vec);

/* --- images ------------------------------------------------------------------------------------------- */

/* Lines [begin, end) of the wave's padded images. */
static void
NAME(fill)(int64_t begin, int64_t end, void *context)
{
    const View *v = context;
    for (; begin < end; begin++) {
        const int64_t y = begin % v->wide[1] - v->before[1];
        const int64_t z = begin / v->wide[1] % v->wide[0] - v->before[0];
        const int64_t sample = v->first + begin / v->wide[1] / v->wide[0];
        T *to = (T *)v->copy + begin * v->wide[2] * v->pixel;
        if (z < 0 || z >= v->in[0] || y < 0 || y >= v->in[1]) {
            memset(to, 0, (size_t)(v->wide[2] * v->pixel) * sizeof(T));
            continue;
        }
        const T *from =
            (const T *)v->from + ((sample * v->in[0] + z) * v->in[1] + y) * v->in[2] * v->all;
        for (int64_t i = 0; i < v->wide[2]; i++, to += v->pixel) {
            const int64_t x = i - v->before[2];
            const bool inside = x >= 0 && x < v->in[2];
            if (inside) memcpy(to, from + x * v->all, (size_t)v->all * sizeof(T));
            const int64_t n = inside ? v->all : 0;
            memset(to + n, 0, (size_t)(v->pixel - n) * sizeof(T));
        }
    }
}

/* --- forward, and the adjoint in the input -------------------------------------------------------------- */

/* Strips of NR outputs of the groups' weights: by runs of channels, taps, channels. */
static void
NAME(pack)(int64_t begin, int64_t end, void *context)
{
    const View *v = context;
    const int64_t strips = fac_chunks(v->outputs, NAME(NR));
    for (; begin < end; begin++) {
        const int64_t group = begin / strips, o = begin % strips * NAME(NR);
        const int64_t n = v->outputs - o < NAME(NR) ? v->outputs - o : NAME(NR);
        const T *w = (const T *)v->weight + group * v->w_group + o * v->w_output;
        T *to = (T *)v->packed + begin * v->taps * v->channels * NAME(NR);
        for (int64_t c0 = 0; c0 < v->channels; c0 += v->run)
            for (int64_t tap = 0; tap < v->taps; tap++)
                for (int64_t c = c0; c < c0 + v->run && c < v->channels; c++, to += NAME(NR)) {
                    const T *from = w + c * v->w_channel + tap_of(v, tap);
                    for (int64_t i = 0; i < n; i++) to[i] = from[i * v->w_output];
                    for (int64_t i = n; i < NAME(NR); i++) to[i] = 0;
                }
    }
}

/* `rows` results of a line, of the outputs of one strip. `image` is what their first tap sees. */
static void
NAME(panel)(const View *v, int rows, const T *image, const T *b, int64_t n, const T *bias, T *to)
{
    T sums[GEMM_ROWS * NAME(NR)] __attribute__((aligned(64)));
    const int vecs = n > NAME(VL) ? 2 : 1;
    const int64_t row = v->wide[2] * v->pixel, plane = v->wide[1] * row;
    bool add = false;
    for (int64_t c0 = 0; c0 < v->channels; c0 += v->run) {
        const int64_t k = v->channels - c0 < v->run ? v->channels - c0 : v->run;
        int64_t at[CONV_LAST_TAPS];
        for (int64_t i = 0; i < v->count[2]; i++) at[i] = i * k * NAME(NR);
        const int64_t skip = v->at_step[2] * v->pixel - k;
        const int64_t steps = skip ? k : k * v->count[2], lines = skip ? v->count[2] : 1;
        for (int64_t z = 0; z < v->count[0]; z++)
            for (int64_t y = 0; y < v->count[1]; y++, b += v->count[2] * k * NAME(NR)) {
                const T *a = image + c0 + z * v->at_step[0] * plane + y * v->at_step[1] * row;
                FAC_TIERED(NAME(gemm_tile))
                [rows][vecs](steps, lines, a, v->stride[2] *v->pixel, 1, skip, b, NAME(NR), at,
                             sums, NAME(NR), add);
                add = true;
            }
    }
    if (!add) memset(sums, 0, sizeof sums);
    for (int r = 0; r < rows; r++, to += v->to_step[2])
        for (int64_t i = 0; i < n; i++) to[i] = sums[r * NAME(NR) + i] + (bias ? bias[i] : 0);
}

/* Lines of results of the wave, for each strip of outputs. */
static void
NAME(lines)(int64_t begin, int64_t end, void *context)
{
    const View *v = context;
    const int64_t strips = fac_chunks(v->outputs, NAME(NR));
    for (int64_t strip = 0; strip < strips * v->groups; strip++)
        for (int64_t line = begin; line < end; line++) {
            const int64_t y = line % v->size[1], z = line / v->size[1] % v->size[0];
            const int64_t slot = line / v->size[1] / v->size[0], group = strip / strips;
            const int64_t o = strip % strips * NAME(NR), at = group * v->outputs + o;
            const int64_t n = v->outputs - o < NAME(NR) ? v->outputs - o : NAME(NR);
            const T *image = (const T *)v->images + slot * v->part + group * v->channels;
            image += first_seen(v, z, y);
            T *to = (T *)v->to + (v->first + slot) * v->to_sample + z * v->to_step[0] +
                    y * v->to_step[1] + at;
            const T *b = (const T *)v->packed + strip * v->taps * v->channels * NAME(NR);
            for (int64_t x = 0; x < v->size[2];) {
                const int rows = gemm_height(v->size[2] - x, false);
                NAME(panel)(v, rows, image + x * v->stride[2] * v->pixel, b, n,
                            v->bias ? (const T *)v->bias + at : NULL, to + x * v->to_step[2]);
                x += rows;
            }
        }
}

/* --- groups of one channel and one output ------------------------------------------------------------------ */

/* Vectors are channels, the last one earlier so that it ends with them. */
static inline int64_t
NAME(vector_at)(const View *v, int64_t i)
{
    const int64_t last = v->groups - NAME(VL);
    return i * NAME(VL) < last ? i * NAME(VL) : last;
}

/* Weights as taps of channels. */
static void
NAME(pack_deep)(int64_t begin, int64_t end, void *context)
{
    const View *v = context;
    for (; begin < end; begin++)
        for (int64_t group = 0; group < v->groups; group++)
            ((T *)v->packed)[begin * v->groups + group] =
                ((const T *)v->weight)[group * v->w_group + tap_of(v, begin)];
}

/* DEEP results side by side of a line (n of them wanted), of the channels of one or two vectors. */
static inline __attribute__((always_inline)) void
NAME(deep_results)(const View *v, const int64_t *seen, const T *image, const T *w, const T *bias,
                   T *to, int64_t n, int vecs)
{
    const int64_t step = v->stride[2] * v->pixel;
    const T *from[DEEP];
    NAME(vec) sums[DEEP][2] = {0};
    for (int r = 0; r < DEEP; r++) from[r] = image + (r < n ? r : 0) * step;
    for (int64_t tap = 0; tap < v->taps; tap++, w += v->groups) {
        const NAME(vec) *y = (const NAME(vec) *)w;
#pragma GCC unroll 4
        for (int r = 0; r < DEEP; r++)
            for (int i = 0; i < vecs; i++)
                sums[r][i] += ((const NAME(vec) *)(from[r] + seen[tap]))[i] * y[i];
    }
    for (int64_t r = 0; r < n; r++, to += v->to_step[2])
        for (int i = 0; i < vecs; i++) {
            if (bias) sums[r][i] += ((const NAME(vec) *)bias)[i];
            ((NAME(vec) *)to)[i] = sums[r][i];
        }
}

/* Lines of results of the wave. */
static void
NAME(lines_deep)(int64_t begin, int64_t end, void *context)
{
    const View *v = context;
    int64_t seen[DEEP_TAPS];
    for (int64_t tap = 0; tap < v->taps; tap++) seen[tap] = seen_by(v, tap);
    for (; begin < end; begin++) {
        const int64_t y = begin % v->size[1], z = begin / v->size[1] % v->size[0];
        const int64_t slot = begin / v->size[1] / v->size[0];
        const T *image = (const T *)v->images + slot * v->part + first_seen(v, z, y);
        T *to =
            (T *)v->to + (v->first + slot) * v->to_sample + z * v->to_step[0] + y * v->to_step[1];
        for (int64_t c = 0; c < v->groups;) {
            const bool two = c + 2 * NAME(VL) <= v->groups;
            const int64_t at = two ? c : NAME(vector_at)(v, c / NAME(VL));
            const T *w = (const T *)v->packed + at,
                    *bias = v->bias ? (const T *)v->bias + at : NULL;
            for (int64_t x = 0; x < v->size[2]; x += DEEP) {
                const int64_t left = v->size[2] - x, n = left < DEEP ? left : DEEP;
                const T *from = image + x * v->stride[2] * v->pixel + at;
                if (two)
                    NAME(deep_results)(v, seen, from, w, bias, to + x * v->to_step[2] + at, n, 2);
                else
                    NAME(deep_results)(v, seen, from, w, bias, to + x * v->to_step[2] + at, n, 1);
            }
            c += two ? 2 * NAME(VL) : NAME(VL);
        }
    }
}

/* What a sample gives to `taps` elements of a vector of windows. */
#define SAMPLE(taps)                                                                               \
    static void NAME(deep_taps_##taps)(const View *v, const int64_t *seen, const T *image,         \
                                       const T *grad, NAME(vec) * to)                              \
    {                                                                                              \
        NAME(vec) sums[taps] = {0};                                                                \
        for (int64_t line = 0; line < v->size[0] * v->size[1]; line++) {                           \
            const int64_t z = line / v->size[1], y = line % v->size[1];                            \
            const T *from = image + first_seen(v, z, y);                                           \
            const T *g = grad + z * v->to_step[0] + y * v->to_step[1];                             \
            for (int64_t x = 0; x < v->size[2]; x++) {                                             \
                const NAME(vec) at = *(const NAME(vec) *)g;                                        \
                _Pragma("GCC unroll 9")                                                            \
                for (int i = 0; i < taps; i++)                                                     \
                    sums[i] += *(const NAME(vec) *)(from + seen[i]) * at;                          \
                from += v->stride[2] * v->pixel;                                                   \
                g += v->to_step[2];                                                                \
            }                                                                                      \
        }                                                                                          \
        for (int i = 0; i < taps; i++) to[i] += sums[i];                                           \
    }
SAMPLE(1)
SAMPLE(3)
SAMPLE(5)
SAMPLE(7)
SAMPLE(9)
#undef SAMPLE

/* The weight's gradient of vectors of channels, a vector for each tap. */
static void
NAME(weights_deep)(int64_t begin, int64_t end, void *context)
{
    const View *v = context;
    int64_t seen[DEEP_TAPS];
    for (int64_t tap = 0; tap < v->taps; tap++) seen[tap] = seen_by(v, tap);
    const int step = depthwise_step(v->taps);
    for (; begin < end; begin++) {
        const int64_t c = NAME(vector_at)(v, begin);
        NAME(vec) *sums = (NAME(vec) *)v->packed + begin * v->taps;
        if (v->first == 0) memset(sums, 0, (size_t)v->taps * sizeof *sums);
        for (int64_t slot = 0; slot < v->slots; slot++) {
            const T *image = (const T *)v->images + slot * v->part + c;
            const T *grad = (const T *)v->to + (v->first + slot) * v->to_sample + c;
            for (int64_t tap = 0; tap < v->taps;) {
                const int n = v->taps - tap < step ? 1 : step;
                (n == 9   ? NAME(deep_taps_9)
                 : n == 7 ? NAME(deep_taps_7)
                 : n == 5 ? NAME(deep_taps_5)
                 : n == 3 ? NAME(deep_taps_3)
                          : NAME(deep_taps_1))(v, seen + tap, image, grad, sums + tap);
                tap += n;
            }
        }
    }
}

static void
NAME(put_deep)(int64_t begin, int64_t end, void *context)
{
    const View *v = context;
    for (; begin < end; begin++) {
        const NAME(vec) *sums = (const NAME(vec) *)v->packed + begin * v->taps;
        const int64_t at = NAME(vector_at)(v, begin);
        for (int64_t tap = 0; tap < v->taps; tap++)
            for (int64_t i = begin * NAME(VL) - at; i < NAME(VL); i++)
                ((T *)v->weight)[(at + i) * v->w_group + tap] = sums[tap][i];
    }
}

/* --- the adjoint in the weight --------------------------------------------------------------------------- */

/* A panel of outputs by a strip of channels, all taps: sums[group][tap][output][channel]. */
static void
NAME(weights)(int64_t begin, int64_t end, void *context)
{
    const View *v = context;
    const int64_t strips = fac_chunks(v->channels, NAME(NR)), room = strips * NAME(NR);
    const int64_t panels = fac_chunks(v->outputs, GEMM_ROWS);
    for (; begin < end; begin++) {
        const int64_t c = begin % strips * NAME(NR), panel = begin / strips % panels;
        const int64_t group = begin / strips / panels;
        int64_t o = 0;
        for (int64_t i = 0; i < panel && o < v->outputs; i++)
            o += gemm_height(v->outputs - o, false);
        if (o >= v->outputs) continue;
        const int rows = gemm_height(v->outputs - o, false);
        const int vecs = v->channels - c > NAME(VL) ? 2 : 1;
        T *sums = (T *)v->packed + (group * v->taps * v->outputs + o) * room + c;
        for (int64_t line = 0; line < v->slots * v->size[0] * v->size[1];) {
            const int64_t y = line % v->size[1], z = line / v->size[1] % v->size[0];
            const int64_t slot = line / v->size[1] / v->size[0];
            const int64_t n = v->size[1] - y < v->lines ? v->size[1] - y : v->lines;
            const T *a = (const T *)v->to + (v->first + slot) * v->to_sample + z * v->to_step[0] +
                         y * v->to_step[1] + group * v->outputs + o;
            const T *b = (const T *)v->images + slot * v->part + group * v->channels + c +
                         first_seen(v, z, y);
            for (int64_t tap = 0; tap < v->taps; tap++) {
                FAC_TIERED(NAME(gemm_tile))
                [rows][vecs](v->size[2], n, a, 1, v->to_step[2], 0, b + seen_by(v, tap),
                             v->stride[2] *v->pixel, v->line_at, sums + tap *v->outputs *room, room,
                             v->first + line > 0);
            }
            line += n;
        }
    }
}

static void
NAME(put_weights)(int64_t begin, int64_t end, void *context)
{
    const View *v = context;
    const int64_t room = fac_chunks(v->channels, NAME(NR)) * NAME(NR);
    for (; begin < end; begin++) {
        const int64_t group = begin / v->outputs, o = begin % v->outputs;
        T *w = (T *)v->weight + group * v->w_group + o * v->w_output;
        const T *from = (const T *)v->packed + (group * v->taps * v->outputs + o) * room;
        const int64_t channels = v->channels / v->folded;
        for (int64_t c = 0; c < v->channels; c++) /* of a folded line: a channel of a tap */
            for (int64_t tap = 0; tap < v->taps; tap++)
                w[c % channels * v->w_channel + tap * v->folded + c / channels] =
                    from[tap * v->outputs * room + c];
    }
}
#undef T
#undef NAME
