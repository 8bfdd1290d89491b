/* conv_tiles.h - convolution in float32 and float64 (T), straight from images; included by conv.c.
 *
 * An image is copied once, padded, and with the phases of its stride apart: then every convolution
 * has stride 1, and what a tap sees at all positions is one piece of memory, the image shifted. So
 * the tile of products reads its vectors where they lie: no columns are made. Positions are counted
 * along the padded lines, and those between the lines are dropped as a tile is stored. Images of a
 * wave of samples stand side by side in each channel, so that small ones share tiles.
 *
 * The sum over taps and channels is taken in runs of whole channels, tap by tap within a run; that of
 * the weight's gradient over positions in runs of lines, then over the samples. The order depends on
 * the sizes of the convolution alone.
 */

enum {
    NAME(VL) = GEMM_BYTES / sizeof(T),
    NAME(NR) = 2 * NAME(VL),
    NAME(ODD) = 64 / sizeof(T) /* elements of a line of the cache */
};
typedef NAME(FacVec) NAME(vec);

/* --- images ------------------------------------------------------------------------------------------- */

/* Copies plane `index` of the wave's sources into its image. */
static void
NAME(fill_plane)(const Tiled *p, int64_t index)
{
    const int64_t planes = p->groups * p->channels, slot = index / planes, plane = index % planes;
    const int64_t *in = p->in, *wide = p->wide;
    const T *from = (const T *)p->from + ((p->first + slot) * planes + plane) * p->area;
    T *to = (T *)p->images + plane * p->room + slot * p->part, *end = to + p->part;
    if (slot == p->slots - 1) end = (T *)p->images + (plane + 1) * p->room;
    for (int64_t phase = 0; phase < p->phases[0] * p->phases[1] * p->phases[2]; phase++) {
        const int64_t rx = phase % p->phases[2] - p->before[2];
        const int64_t ry = phase / p->phases[2] % p->phases[1] - p->before[1];
        const int64_t rz = phase / p->phases[2] / p->phases[1] - p->before[0];
        const int64_t step = p->step[2];
        int64_t left = rx < 0 ? (-rx + step - 1) / step : 0;
        int64_t right = in[2] > rx ? (in[2] - rx + step - 1) / step : 0;
        if (right > wide[2]) right = wide[2];
        if (left > right) left = right;
        for (int64_t line = 0; line < wide[0] * wide[1]; line++, to += wide[2]) {
            const int64_t z = line / wide[1] * p->step[0] + rz;
            const int64_t y = line % wide[1] * p->step[1] + ry;
            if (z < 0 || z >= in[0] || y < 0 || y >= in[1]) {
                memset(to, 0, (size_t)wide[2] * sizeof(T));
                continue;
            }
            const T *source = from + (z * in[1] + y) * in[2] + rx;
            for (int64_t x = 0; x < left; x++) to[x] = 0;
            if (step == 1)
                memcpy(to + left, source + left, (size_t)(right - left) * sizeof(T));
            else if (step == 2)
                for (int64_t x = left; x < right; x++) to[x] = source[x * 2];
            else
                for (int64_t x = left; x < right; x++) to[x] = source[x * step];
            for (int64_t x = right; x < wide[2]; x++) to[x] = 0;
        }
    }
    for (; to < end; to++) *to = 0;
}

static void
NAME(fill_planes)(int64_t begin, int64_t end, void *context)
{
    for (; begin < end; begin++) NAME(fill_plane)(context, begin);
}

/* --- results ------------------------------------------------------------------------------------------- */

/* Finds the positions of [q, q + n) that are results; returns how many pieces they make. */
static int
NAME(pieces)(const Tiled *p, int64_t q, int64_t n, Piece *piece)
{
    const int64_t *wide = p->wide, *size = p->size, *step = p->to_step;
    const int64_t plane = wide[1] * wide[2], end = q + n, rest = q % p->part;
    int64_t slot = q / p->part, z = rest / plane, y = rest % plane / wide[2], x = rest % wide[2];
    int count = 0;
    for (int64_t at = q; at < end;) {
        if (z >= size[0]) { /* the rest of the image, or another phase */
            at = ++slot * p->part;
            z = y = x = 0;
        } else if (y >= size[1]) {
            at += (wide[1] - y) * wide[2] - x;
            z++;
            y = x = 0;
        } else {
            const int64_t left = size[2] - x, most = end - at;
            const int64_t to = slot * p->to_sample + z * step[0] + y * step[1] + x * step[2];
            if (left > 0) piece[count++] = (Piece){at - q, left < most ? left : most, to};
            at += wide[2] - x;
            y++;
            x = 0;
        }
    }
    return count;
}

/* A row of sums and the bias, to the results. */
static inline void
NAME(put)(const Tiled *p, const T *from, T *to, const Piece *piece, int count, T bias)
{
    const int64_t step = p->to_step[2];
    for (int i = 0; i < count; i++) {
        const T *restrict a = from + piece[i].at;
        T *restrict c = to + piece[i].to;
        if (step == 1)
            for (int64_t x = 0; x < piece[i].n; x++) c[x] = a[x] + bias;
        else
            for (int64_t x = 0; x < piece[i].n; x++) c[x * step] = a[x] + bias;
    }
}

/* --- forward, and the adjoint in the input -------------------------------------------------------------- */

/* The weight of a group as the tiles read it: by runs of channels, panels, taps, channels, rows. */
static void
NAME(pack_weight)(int64_t begin, int64_t end, void *context)
{
    const Tiled *p = context;
    for (; begin < end; begin++) {
        const int64_t c0 = begin % p->runs * p->run, group = begin / p->runs;
        const int64_t n = p->channels - c0 < p->run ? p->channels - c0 : p->run;
        const T *w = (const T *)p->weight + group * p->w_group + c0 * p->w_channel;
        T *to = (T *)p->packed + (group * p->channels + c0) * p->taps * p->outputs;
        for (int64_t i = 0; i < p->outputs;) {
            const int rows = gemm_height(p->outputs - i, false);
            for (int64_t tap = 0; tap < p->taps; tap++) {
                const T *from = w + i * p->w_output + p->tap[tap];
                for (int64_t c = 0; c < n; c++, from += p->w_channel, to += rows)
                    for (int r = 0; r < rows; r++) to[r] = from[r * p->w_output];
            }
            i += rows;
        }
    }
}

/* What the taps of few channels see at a strip of positions, as rows side by side: lines of so few steps
 * would cost the tile more than the copy. */
static void
NAME(pack_strip)(const Tiled *p, const T *images, T *to)
{
    for (int64_t tap = 0; tap < p->taps; tap++)
        for (int64_t c = 0; c < p->channels; c++, to += NAME(NR))
            memcpy(to, images + c * p->room + p->tap_at[tap], NAME(NR) * sizeof(T));
}

/* Some strips of positions of some outputs of one group: panel by panel, whose sums stay near. */
static void
NAME(conv_block)(const Tiled *p, int64_t group, int64_t i0, int64_t i1, int64_t q0, int64_t q1)
{
    enum { WIDTH = CONV_STRIPS * NAME(NR), NEAR = CONV_FEW_STRIPS * CONV_RUN * NAME(NR) };
    static const int64_t start = 0;
    T sums[GEMM_ROWS * WIDTH] __attribute__((aligned(64)));
    T strips[NEAR] __attribute__((aligned(64)));
    Piece piece[WIDTH];
    const int count = NAME(pieces)(p, q0, q1 - q0, piece);
    const T *images = (const T *)p->images + group * p->channels * p->room;
    const T *bias = p->bias ? (const T *)p->bias + group * p->outputs : NULL;
    T *results = (T *)p->to + p->first * p->to_sample + group * p->outputs * p->to_plane;
    const int64_t steps = p->taps * p->channels;
    for (int64_t q = q0; p->few && q < q1; q += NAME(NR))
        NAME(pack_strip)(p, images + q, strips + (q - q0) * steps);
    for (int64_t i = i0; i < i1;) {
        const int rows = gemm_height(p->outputs - i, false);
        for (int64_t c0 = 0; c0 < p->channels; c0 += p->run) {
            const int64_t n = p->channels - c0 < p->run ? p->channels - c0 : p->run;
            const T *weight =
                p->in_place
                    ? (const T *)p->weight + group * p->w_group + i * p->w_output + c0 * p->taps
                    : (const T *)p->packed +
                          ((group * p->channels + c0) * p->outputs + i * n) * p->taps;
            for (int64_t q = q0; q < q1; q += NAME(NR)) {
                const NAME(FacTile) tile =
                    FAC_TIERED(NAME(gemm_tile))[rows][q1 - q > NAME(VL) ? 2 : 1];
                if (p->few)
                    tile(steps, 1, weight, 1, rows, 0, strips + (q - q0) * steps, NAME(NR), &start,
                         sums + q - q0, WIDTH, false);
                else
                    tile(n, p->taps, weight, p->in_place ? p->w_output : 1,
                         p->in_place ? p->taps : rows, p->in_place ? 1 - n * p->taps : 0,
                         images + c0 * p->room + q, p->room, p->tap_at, sums + q - q0, WIDTH,
                         c0 > 0);
            }
        }
        for (int r = 0; r < rows; r++, i++)
            NAME(put)(p, sums + r * WIDTH, results + i * p->to_plane, piece, count,
                      bias ? bias[i] : 0);
    }
}

static void
NAME(conv_blocks)(int64_t begin, int64_t end, void *context)
{
    const Tiled *p = context;
    for (; begin < end; begin++) {
        const int64_t q0 = begin % p->q_blocks * p->q_block, q1 = q0 + p->q_block;
        const int64_t block = begin / p->q_blocks % p->i_blocks,
                      group = begin / p->q_blocks / p->i_blocks;
        int64_t i0 = 0, i1 = 0;
        for (int64_t i = 0; i1 < p->outputs && i <= block; i++) { /* whole panels */
            i0 = i1;
            for (int n = 0; n < CONV_PANELS && i1 < p->outputs; n++)
                i1 += gemm_height(p->outputs - i1, false);
        }
        NAME(conv_block)(p, group, i0, i1, q0, q1 < p->positions ? q1 : p->positions);
    }
}

/* A line of results of one channel: a sum over the taps of four vectors of positions at a time. */
static void
NAME(depthwise_line)(const Tiled *p, const T *image, const T *w, T bias, T *to)
{
    enum { N = 4 * NAME(VL) };
    const int64_t step = p->to_step[2];
    for (int64_t x = 0; x < p->size[2]; x += N) {
        const int64_t n = p->size[2] - x < N ? p->size[2] - x : N;
        NAME(vec) a[4] = {0};
        for (int64_t tap = 0; tap < p->taps; tap++) {
            const NAME(vec) *from = (const NAME(vec) *)(image + x + p->tap_at[tap]);
            const T y = w[p->tap[tap]];
            for (int v = 0; v < 4; v++) a[v] += from[v] * y;
        }
        for (int v = 0; v < 4; v++) a[v] += bias;
        if (step == 1)
            memcpy(to + x, a, (size_t)n * sizeof(T));
        else
            for (int64_t i = 0; i < n; i++) to[(x + i) * step] = ((const T *)a)[i];
    }
}

/* One sample of a group of one channel and few outputs. */
static void
NAME(depthwise_plane)(const Tiled *p, int64_t group, int64_t slot)
{
    const T *image = (const T *)p->images + group * p->room + slot * p->part;
    for (int64_t i = 0; i < p->outputs; i++) {
        const int64_t output = group * p->outputs + i;
        const T *w = (const T *)p->weight + group * p->w_group + i * p->w_output;
        const T bias = p->bias ? ((const T *)p->bias)[output] : 0;
        T *to = (T *)p->to + (p->first + slot) * p->to_sample + output * p->to_plane;
        for (int64_t z = 0; z < p->size[0]; z++)
            for (int64_t y = 0; y < p->size[1]; y++)
                NAME(depthwise_line)(p, image + (z * p->wide[1] + y) * p->wide[2], w, bias,
                                     to + z * p->to_step[0] + y * p->to_step[1]);
    }
}

/* Images first: what stands behind one is what stands in front of the next. */
static void
NAME(depthwise)(int64_t begin, int64_t end, void *context)
{
    const Tiled *p = context;
    for (; begin < end; begin++) {
        for (int64_t slot = 0; slot < p->slots; slot++)
            NAME(fill_plane)(p, slot * p->groups + begin);
        for (int64_t slot = 0; slot < p->slots; slot++) NAME(depthwise_plane)(p, begin, slot);
    }
}

/* --- the adjoint in the weight --------------------------------------------------------------------------- */

/* The wave's gradients of NR outputs, positions by outputs. */
static void
NAME(pack_gradient)(int64_t begin, int64_t end, void *context)
{
    const Tiled *p = context;
    const int64_t strips = fac_chunks(p->outputs, NAME(NR));
    for (; begin < end; begin++) {
        const int64_t strip = begin % strips, group = begin / strips % p->groups;
        const int64_t slot = begin / strips / p->groups, i = strip * NAME(NR);
        const int64_t n = p->outputs - i < NAME(NR) ? p->outputs - i : NAME(NR);
        const T *from = (const T *)p->to + (p->first + slot) * p->to_sample +
                        (group * p->outputs + i) * p->to_plane;
        FAC_TIERED(gemm_pack_columns)(sizeof(T) == 4 ? FAC_DT_F32 : FAC_DT_F64, from, p->to_plane,
                                      n, NAME(NR), p->to_plane,
                                      (T *)p->packed + begin * p->to_plane * NAME(NR));
    }
}

/* One panel of channels, NR outputs, all taps: sums[tap][channel][output]. */
static void
NAME(weight_block)(const Tiled *p, int64_t group, int64_t strip, int64_t c, int rows)
{
    const int64_t strips = fac_chunks(p->outputs, NAME(NR)), lines = p->lines;
    const int64_t left = p->outputs - strip * NAME(NR);
    const int vecs = left > NAME(VL) ? 2 : 1;
    T *sums = (T *)p->sums + ((group * strips + strip) * p->taps * p->channels + c) * NAME(NR);
    for (int64_t slot = 0; slot < p->slots; slot++) {
        const T *image =
            (const T *)p->images + (group * p->channels + c) * p->room + slot * p->part;
        const T *b = (const T *)p->packed +
                     ((slot * p->groups + group) * strips + strip) * p->to_plane * NAME(NR);
        for (int64_t z = 0; z < p->size[0]; z++)
            for (int64_t y = 0; y < p->size[1]; y += lines, b += lines * p->size[2] * NAME(NR)) {
                const int64_t n = p->size[1] - y < lines ? p->size[1] - y : lines;
                const bool add = p->first + slot > 0 || z > 0 || y > 0;
                for (int64_t tap = 0; tap < p->taps; tap++) {
                    const T *a = image + p->tap_at[tap] + (z * p->wide[1] + y) * p->wide[2];
                    FAC_TIERED(NAME(gemm_tile))
                    [rows][vecs](p->size[2], n, a, p->room, 1, p->wide[2] - p->size[2], b, NAME(NR),
                                 p->line_at, sums + tap *p->channels *NAME(NR), NAME(NR), add);
                }
                if (n < lines) b -= (lines - n) * p->size[2] * NAME(NR);
            }
    }
}

static void
NAME(weight_blocks)(int64_t begin, int64_t end, void *context)
{
    const Tiled *p = context;
    const int64_t strips = fac_chunks(p->outputs, NAME(NR));
    const int64_t panels = fac_chunks(p->channels, GEMM_ROWS);
    for (; begin < end; begin++) {
        const int64_t panel = begin % panels, strip = begin / panels % strips;
        int64_t c = 0;
        for (int64_t i = 0; i < panel; i++) c += gemm_height(p->channels - c, false);
        if (c < p->channels)
            NAME(weight_block)(p, begin / panels / strips, strip, c,
                               gemm_height(p->channels - c, false));
    }
}

/* The sums to where the weight has them. */
static void
NAME(put_weight)(int64_t begin, int64_t end, void *context)
{
    const Tiled *p = context;
    const int64_t strips = fac_chunks(p->outputs, NAME(NR));
    for (; begin < end; begin++) {
        const int64_t group = begin / p->outputs, i = begin % p->outputs;
        T *w = (T *)p->weight + group * p->w_group + i * p->w_output;
        const T *from = (const T *)p->sums + i % NAME(NR) +
                        (group * strips + i / NAME(NR)) * p->taps * p->channels * NAME(NR);
        for (int64_t c = 0; c < p->channels; c++)
            for (int64_t tap = 0; tap < p->taps; tap++)
                w[c * p->w_channel + p->tap[tap]] = from[(tap * p->channels + c) * NAME(NR)];
    }
}
#undef T
#undef NAME
