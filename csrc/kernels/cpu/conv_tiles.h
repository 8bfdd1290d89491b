/* conv_tiles.h - convolution in float32 and float64 (T; INDEX is the integer of its size), straight
 * from images; included by conv.c.
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
typedef INDEX NAME(index) __attribute__((vector_size(GEMM_BYTES)));

/* --- images ------------------------------------------------------------------------------------------- */

/* Copies plane `index` of the wave's sources into its image. */
static void
NAME(fill_plane)(const Tiled *p, int64_t index)
{
    const int64_t planes = p->groups * p->channels, slot = index / planes, plane = index % planes;
    const int64_t *in = p->in, *wide = p->wide;
    const T *from = (const T *)p->from + ((p->first + slot) * planes + plane) * p->area;
    const int64_t phases = p->phases[0] * p->phases[1] * p->phases[2];
    T *image = (T *)p->images + plane * p->room;
    for (int64_t phase = 0; phase < phases; phase++) {
        T *to = image + phase * p->layer + slot * p->part;
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
    if (slot == p->slots - 1)
        for (int64_t i = phases * p->layer; i < p->room; i++) image[i] = 0;
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

/* The weight of a group as the tiles read it: by runs of channels, panels, taps, channels, rows. A task
 * has CONV_PANELS panels. */
static void
NAME(pack_weight)(int64_t begin, int64_t end, void *context)
{
    const Tiled *p = context;
    const int64_t blocks = fac_chunks(fac_chunks(p->outputs, GEMM_ROWS), CONV_PANELS);
    for (; begin < end; begin++) {
        const int64_t at = begin / blocks, c0 = at % p->runs * p->run, group = at / p->runs;
        const int64_t n = p->channels - c0 < p->run ? p->channels - c0 : p->run;
        const T *w = (const T *)p->weight + group * p->w_group + c0 * p->w_channel;
        int64_t i, last;
        panel_range(p->outputs, CONV_PANELS, begin % blocks, &i, &last);
        T *to = (T *)p->packed + ((group * p->channels + c0) * p->outputs + i * n) * p->taps;
        while (i < last) {
            const int rows = gemm_height(p->outputs - i, false);
            if (p->taps == 1 && p->w_channel == 1) {
                const T *from = w + i * p->w_output + p->tap[0];
                fac_transpose((char *)to, rows * (int64_t)sizeof(T), (const char *)from,
                              p->w_output * (int64_t)sizeof(T), n, rows, sizeof(T));
                to += n * rows;
                i += rows;
                continue;
            }
            for (int64_t tap = 0; tap < p->taps; tap++) {
                const T *from = w + i * p->w_output + p->tap[tap];
                for (int64_t c = 0; c < n; c++, from += p->w_channel, to += rows)
                    for (int r = 0; r < rows; r++) to[r] = from[r * p->w_output];
            }
            i += rows;
        }
    }
}

/* Some strips of positions of some outputs of one group: panel by panel, whose sums stay near. */
static void
NAME(conv_block)(const Tiled *p, int64_t group, int64_t i0, int64_t i1, int64_t q0, int64_t q1)
{
    enum { WIDTH = CONV_STRIPS * NAME(NR) };
    T sums[GEMM_ROWS * WIDTH] __attribute__((aligned(64)));
    Piece piece[WIDTH];
    const int count = NAME(pieces)(p, q0, q1 - q0, piece);
    const T *images = (const T *)p->images + group * p->channels * p->room;
    const T *bias = p->bias ? (const T *)p->bias + group * p->outputs : NULL;
    T *results = (T *)p->to + p->first * p->to_sample + group * p->outputs * p->to_plane;
    for (int64_t i = i0; i < i1;) {
        const int rows = gemm_height(p->outputs - i, false);
        for (int64_t c0 = 0; c0 < p->channels; c0 += p->run) {
            const int64_t n = p->channels - c0 < p->run ? p->channels - c0 : p->run;
            const T *weight =
                p->in_place
                    ? (const T *)p->weight + group * p->w_group + i * p->w_output + c0 * p->taps
                    : (const T *)p->packed +
                          ((group * p->channels + c0) * p->outputs + i * n) * p->taps;
            for (int64_t q = q0; q < q1; q += NAME(NR)) FAC_TIERED(NAME(gemm_tile))
            [rows][q1 - q > NAME(VL) ? 2 : 1](
                n, p->taps, weight, p->in_place ? p->w_output : 1, p->in_place ? p->taps : rows,
                p->in_place ? 1 - n *p->taps : 0, images + c0 *p->room + q, p->room, p->tap_at,
                sums + q - q0, WIDTH, c0 > 0);
        }
        for (int r = 0; r < rows; r++, i++)
            NAME(put)(p, sums + r * WIDTH, results + i * p->to_plane, piece, count,
                      bias ? bias[i] : 0);
    }
}

/* --- the same, of what is gathered -------------------------------------------------------------------------- */

/* A vector of results' positions: its first `count` elements lie at `from`, and in two vectors at `base`. */
typedef struct NAME(Pick) {
    int64_t base[2], from[NAME(VL)];
    NAME(index) lane;
    int count;
    bool run, slow; /* they are one vector; they are not in two */
} NAME(Pick);

/* Both vectors stay between the first element and the last one. */
static void
NAME(find_vectors)(NAME(Pick) * k)
{
    const int64_t first = k->from[0], last = k->from[k->count - 1], reach = last - first + 1;
    k->run = reach == NAME(VL) && k->count == NAME(VL);
    k->slow = reach < NAME(VL) && last + 1 < NAME(VL);
    k->base[1] = last + 1 - NAME(VL);
    k->base[0] = reach < NAME(VL) ? k->base[1] : first;
    k->lane = (NAME(index)){0};
    for (int i = 0; i < k->count; i++) {
        const int64_t low = k->from[i] - k->base[0], high = k->from[i] - k->base[1];
        k->lane[i] = (INDEX)(low < NAME(VL) ? low : NAME(VL) + high);
        k->slow |= low >= NAME(VL) && high < 0;
    }
}

/* The results of positions [q, q + n), which count results alone: pieces of them, and where they are seen. */
static int
NAME(gathered_pieces)(const Tiled *p, int64_t q, int64_t n, Piece *piece, NAME(Pick) * pick)
{
    const int64_t *wide = p->wide, *size = p->size, *step = p->to_step;
    const int64_t first = q / size[2], lines = size[0] * size[1];
    int64_t slot = first / lines, z = first % lines / size[1], y = first % size[1], x = q % size[2];
    int count = 0;
    for (int64_t at = 0; at < n;) {
        const int64_t line = size[2] - x, length = line < n - at ? line : n - at;
        const int64_t from = slot * p->sample + (z * wide[1] + y) * wide[2] + x;
        const int64_t to = slot * p->to_sample + z * step[0] + y * step[1] + x * step[2];
        Piece *last = piece + count - 1;
        if (count && step[2] == 1 && last->to + last->n == to)
            last->n += length;
        else
            piece[count++] = (Piece){at, length, to};
        for (int64_t i = 0; i < length; i++, at++)
            pick[at / NAME(VL)].from[at % NAME(VL)] = from + i;
        x += length;
        if (x < size[2]) continue;
        x = 0;
        if (++y < size[1]) continue;
        y = 0;
        if (++z < size[0]) continue;
        z = 0;
        slot++;
    }
    for (int64_t at = 0; at < n; at += NAME(VL)) {
        pick[at / NAME(VL)].count = n - at < NAME(VL) ? (int)(n - at) : NAME(VL);
        NAME(find_vectors)(&pick[at / NAME(VL)]);
    }
    return count;
}

/* What the taps see of n channels at a vector of results, a row for each. */
static void
NAME(gather)(const Tiled *p, const T *image, int64_t n, const NAME(Pick) * k, T *to)
{
    const int64_t room = p->room;
    const NAME(index) lane = k->lane;
    for (int64_t tap = 0; tap < p->taps; tap++) {
        const T *from = image + p->tap_at[tap];
        const T *low = from + k->base[0], *high = from + k->base[1];
        if (k->run)
            for (int64_t c = 0; c < n; c++, low += room, to += NAME(NR))
                *(NAME(vec) *)to = *(const NAME(vec) *)low;
        else if (!k->slow)
            for (int64_t c = 0; c < n; c++, low += room, high += room, to += NAME(NR))
                *(NAME(vec) *)to =
                    __builtin_shuffle(*(const NAME(vec) *)low, *(const NAME(vec) *)high, lane);
        else
            for (int64_t c = 0; c < n; c++, from += room, to += NAME(NR))
                for (int i = 0; i < NAME(VL); i++) to[i] = i < k->count ? from[k->from[i]] : 0;
    }
}

/* Asks for the places of results that `rows` outputs will be written to. */
static inline void
NAME(ask)(const Tiled *p, const T *to, int rows, const Piece *piece, int count)
{
    for (int r = 0; r < rows && p->to_step[2] == 1; r++, to += p->to_plane)
        for (int i = 0; i < count; i++)
            for (int64_t x = 0; x < piece[i].n; x += 64 / (int64_t)sizeof(T))
                __builtin_prefetch(to + piece[i].to + x, 1, 2);
}

/* As conv_block, with all panels of a run of channels behind one another; all sums are kept only where
 * there are more runs than one. */
static void
NAME(gathered_block)(const Tiled *p, int64_t group, int64_t i0, int64_t i1, int64_t q0, int64_t q1)
{
    enum { WIDTH = CONV_GATHERED * NAME(NR), MOST = CONV_GATHERED_PANELS * GEMM_ROWS };
    static const int64_t start = 0;
    T all_sums[MOST * WIDTH] __attribute__((aligned(64)));
    T strips[WIDTH * CONV_RUN] __attribute__((aligned(64)));
    Piece piece[WIDTH];
    NAME(Pick) pick[WIDTH / NAME(VL)];
    const int count = NAME(gathered_pieces)(p, q0, q1 - q0, piece, pick);
    const T *images = (const T *)p->images + group * p->channels * p->room;
    const T *bias = p->bias ? (const T *)p->bias + group * p->outputs : NULL;
    T *results = (T *)p->to + p->first * p->to_sample + group * p->outputs * p->to_plane;
    for (int64_t c0 = 0; c0 < p->channels; c0 += p->run) {
        const int64_t n = p->channels - c0 < p->run ? p->channels - c0 : p->run;
        const int64_t steps = n * p->taps;
        const bool last = c0 + n == p->channels;
        for (int64_t at = 0; at < q1 - q0; at += NAME(VL))
            NAME(gather)(p, images + c0 * p->room, n, pick + at / NAME(VL),
                         strips + at / NAME(NR) * NAME(NR) * steps + at % NAME(NR));
        for (int64_t i = i0; i < i1;) {
            const int rows = gemm_height(p->outputs - i, false);
            const T *weight =
                (const T *)p->packed + ((group * p->channels + c0) * p->outputs + i * n) * p->taps;
            T *sums = p->runs == 1 ? all_sums : all_sums + (i - i0) * WIDTH;
            if (last) NAME(ask)(p, results + i * p->to_plane, rows, piece, count);
            for (int64_t q = 0; q < q1 - q0; q += NAME(NR)) FAC_TIERED(NAME(gemm_tile))
            [rows][q1 - q0 - q > NAME(VL) ? 2 : 1](steps, 1, weight, 1, rows, 0, strips + q *steps,
                                                   NAME(NR), &start, sums + q, WIDTH, c0 > 0);
            for (int r = 0; last && r < rows; r++)
                NAME(put)(p, sums + r * WIDTH, results + (i + r) * p->to_plane, piece, count,
                          bias ? bias[i + r] : 0);
            i += rows;
        }
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
        int64_t i0, i1;
        panel_range(p->outputs, p->panels, block, &i0, &i1);
        (p->gathers ? NAME(gathered_block) : NAME(conv_block))(
            p, group, i0, i1, q0, q1 < p->positions ? q1 : p->positions);
    }
}

/* --- groups of one channel ------------------------------------------------------------------------------ */

enum { NAME(JOBS) = 4 };

/* Vectors of results of one window, from what the first tap sees on; the first n of each are stored. The last one
 * of a line ends with it. */
typedef struct NAME(Jobs) {
    int count;
    const T *from[NAME(JOBS)];
    T *to[NAME(JOBS)];
    int64_t n[NAME(JOBS)];
} NAME(Jobs);

/* All jobs side by side, so that one has not to wait for the other's sum. */
static void
NAME(do_jobs)(const Tiled *p, NAME(Jobs) * jobs, const T *w, T bias)
{
    const int64_t step = p->to_step[2];
    NAME(vec) a[NAME(JOBS)] = {0};
    const T *from[NAME(JOBS)];
    for (int v = 0; v < NAME(JOBS); v++) from[v] = jobs->from[v < jobs->count ? v : 0];
    for (int64_t tap = 0; tap < p->taps; tap++) {
        const int64_t at = p->tap_at[tap];
        const T y = w[p->tap[tap]];
#pragma GCC unroll 8
        for (int v = 0; v < NAME(JOBS); v++) a[v] += *(const NAME(vec) *)(from[v] + at) * y;
    }
    for (int v = 0; v < jobs->count; v++) {
        const NAME(vec) sum = a[v] + bias;
        T *to = jobs->to[v];
        if (step == 1 && jobs->n[v] == NAME(VL))
            *(NAME(vec) *)to = sum;
        else
            for (int64_t i = 0; i < jobs->n[v]; i++) to[i * step] = ((const T *)&sum)[i];
    }
    jobs->count = 0;
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
        NAME(Jobs) jobs = {0};
        for (int64_t line = 0; line < p->size[0] * p->size[1]; line++) {
            const int64_t z = line / p->size[1], y = line % p->size[1];
            const T *from = image + (z * p->wide[1] + y) * p->wide[2];
            T *at = to + z * p->to_step[0] + y * p->to_step[1];
            const int64_t last = p->size[2] - NAME(VL);
            for (int64_t next = 0; next < p->size[2]; next += NAME(VL)) {
                const int64_t x = next < last || last < 0 ? next : last;
                jobs.from[jobs.count] = from + x;
                jobs.to[jobs.count] = at + x * p->to_step[2];
                jobs.n[jobs.count++] = last < 0 ? p->size[2] : NAME(VL);
                if (jobs.count == NAME(JOBS)) NAME(do_jobs)(p, &jobs, w, bias);
            }
        }
        if (jobs.count) NAME(do_jobs)(p, &jobs, w, bias);
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

/* The elements at `from`, wherever that is, that the mask lets pass, and zeros. */
static inline __attribute__((always_inline))
NAME(vec) NAME(masked)(const T *from, NAME(index) mask)
{
    const NAME(vec) v = *(const NAME(vec) *)from;
    return (NAME(vec))((NAME(index))v & mask);
}

/* What a line of the gradient gives to the sums of `taps` elements of a window. `end` is that of the
 * gradient, beyond which nothing is read; nor is anything behind the line multiplied. */
static inline __attribute__((always_inline)) void
NAME(depthwise_products)(const T *image, const int64_t *tap_at, int taps, const T *grad,
                         const T *end, int64_t n, NAME(vec) * sums)
{
    int64_t x = 0;
    for (; x + NAME(VL) <= n; x += NAME(VL)) {
        const NAME(vec) g = *(const NAME(vec) *)(grad + x);
#pragma GCC unroll 9
        for (int i = 0; i < taps; i++) sums[i] += *(const NAME(vec) *)(image + tap_at[i] + x) * g;
    }
    if (x == n) return;
    NAME(index) mask = {0};
    for (int i = 0; i < NAME(VL); i++) mask[i] = i < n - x ? -1 : 0;
    NAME(vec) g = {0};
    if (grad + x + NAME(VL) <= end)
        g = NAME(masked)(grad + x, mask);
    else
        memcpy(&g, grad + x, (size_t)(n - x) * sizeof(T));
#pragma GCC unroll 9
    for (int i = 0; i < taps; i++) sums[i] += NAME(masked)(image + tap_at[i] + x, mask) * g;
}

/* Adds what a plane of the gradient gives to `taps` elements of a window, a vector each. */
#define PLANE(taps)                                                                                \
    static void NAME(depthwise_taps_##taps)(const Tiled *p, const T *image, const int64_t *tap_at, \
                                            const T *grad, const T *end, NAME(vec) * to)           \
    {                                                                                              \
        NAME(vec) sums[taps] = {0};                                                                \
        for (int64_t z = 0; z < p->size[0]; z++)                                                   \
            for (int64_t y = 0; y < p->size[1]; y++, grad += p->size[2])                           \
                NAME(depthwise_products)(image + (z * p->wide[1] + y) * p->wide[2], tap_at, taps,  \
                                         grad, end, p->size[2], sums);                             \
        for (int i = 0; i < taps; i++) to[i] += sums[i];                                           \
    }
PLANE(1)
PLANE(3)
PLANE(5)
PLANE(7)
PLANE(9)
#undef PLANE

/* All taps of a plane. */
static void
NAME(depthwise_sums)(const Tiled *p, const T *image, const T *grad, const T *end, NAME(vec) * to)
{
    const int step = depthwise_step(p->taps);
    for (int64_t tap = 0; tap < p->taps;) {
        const int64_t *at = p->tap_at + tap;
        const int n = p->taps - tap < step ? 1 : step;
        (n == 9   ? NAME(depthwise_taps_9)
         : n == 7 ? NAME(depthwise_taps_7)
         : n == 5 ? NAME(depthwise_taps_5)
         : n == 3 ? NAME(depthwise_taps_3)
                  : NAME(depthwise_taps_1))(p, image, at, grad, end, to + tap);
        tap += n;
    }
}

/* Groups of one channel: the sums of all taps, in lanes. */
static void
NAME(depthwise_weight)(int64_t begin, int64_t end, void *context)
{
    const Tiled *p = context;
    const T *stop = (const T *)p->to + p->batch * p->to_sample;
    for (; begin < end; begin++) {
        NAME(vec) *to = (NAME(vec) *)p->sums + begin * p->outputs * p->taps;
        if (p->first == 0) memset(to, 0, (size_t)(p->outputs * p->taps) * sizeof *to);
        for (int64_t slot = 0; slot < p->slots; slot++)
            NAME(fill_plane)(p, slot * p->groups + begin);
        for (int64_t slot = 0; slot < p->slots; slot++)
            for (int64_t i = 0; i < p->outputs; i++)
                NAME(depthwise_sums)(p, (const T *)p->images + begin * p->room + slot * p->part,
                                     (const T *)p->to + (p->first + slot) * p->to_sample +
                                         (begin * p->outputs + i) * p->to_plane,
                                     stop, to + i * p->taps);
    }
}

static void
NAME(put_depthwise)(int64_t begin, int64_t end, void *context)
{
    const Tiled *p = context;
    for (; begin < end; begin++)
        for (int64_t tap = 0; tap < p->taps; tap++) {
            const NAME(vec) *sums = (const NAME(vec) *)p->sums + begin * p->taps + tap;
            T sum = 0;
            for (int i = 0; i < NAME(VL); i++) sum += (*sums)[i];
            ((T *)p->weight)[begin * p->w_output + p->tap[tap]] = sum;
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
#undef INDEX
#undef NAME
