/* conv_winograd.c - a convolution of 3x3 windows with 16 products for every 4 results in place of 36.
 *
 * Results come in tiles of 2x2, each made of 4x4 elements d of a channel and the window g:
 *
 *     result = A' ((G g G') * (B' d B)) A
 *     B' = 1  0 -1  0    G = 1    0    0    A' = 1  1  1  0
 *          0  1  1  0        1/2  1/2  1/2       0  1 -1 -1
 *          0 -1  1  0        1/2 -1/2  1/2
 *          0  1  0 -1        0    0    1
 *
 * The product * is by elements, and the sum over the channels is taken before A: so it is 16 matrix
 * products [outputs, channels] [channels, tiles], one for each place of the 4x4. Only sums and halves
 * are taken besides, so that errors stay close to those of the sum over the window (twice as large).
 *
 * Work goes by waves of lines of tiles. Where weights and a wave fit into the second cache, waves are
 * tasks; else a wave is as large as memory allows, and its steps are cut. An element is the same sum
 * wherever its tile lies. A number that is not finite spoils the whole tile: such samples are told.
 */
#include "kernels/cpu/conv_winograd.h"

#include "base/cpu.h"
#include "device/device.h"
#include "kernels/cpu/gemm_tile.h"

#include <stdatomic.h>

typedef FacVec_f32 Vec;
typedef int32_t Index __attribute__((vector_size(GEMM_BYTES)));

enum {
    PLACES = 16, /* of a tile */
    VL = GEMM_BYTES / sizeof(float),
    NR = 2 * VL,
    PIECE = NR + 2,       /* columns of the input that a vector of tiles reads */
    SIDE = 16,            /* windows that are changed side by side */
    RUN = 128,            /* channels that are summed from zero in one go */
    WAVE_BYTES = 8 << 20, /* of a wave beyond the second cache */
    LEAST = 32,
    LEAST_TILES = 36 /* channels, outputs and tiles of a sample, for it to pay */
};

#if defined(__AVX512F__)
#define LANES(X)                                                                                   \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#elif defined(__AVX2__)
#define LANES(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#else
#define LANES(X) X(0) X(1) X(2) X(3)
#endif
#define EVEN(i) 2 * i,
#define ODD(i) 2 * i + 1,
#define LOW(i) i / 2 + i % 2 * VL,
#define SAME(i) i,
#define HIGH(i) VL / 2 + i / 2 + i % 2 * VL,
static const Index even = {LANES(EVEN)}, odd = {LANES(ODD)};
static const Index low = {LANES(LOW)}, high = {LANES(HIGH)}, lane = {LANES(SAME)};
static const int64_t column[4] = {0, VL, 2,
                                  VL + 2}; /* from which the vectors of a piece are read */

/* What all waves share; strides in elements. */
typedef struct Plan {
    const FacWinograd *p;
    int64_t tiles[2], lines, wave_lines; /* of a sample; of all samples; of a wave */
    int64_t run, runs, panels;           /* of channels; of outputs */
    int64_t slot, u_place;               /* of U: a panel of a run, a place */
    int64_t group;
    float *u;
    bool *again;
    _Atomic bool failed; /* a task found no memory */
} Plan;

/* V is [place][channel][tile], M is [place][output][tile]. */
typedef struct Wave {
    Plan *plan;
    float *v, *m;
    int64_t first, last; /* lines */
    int64_t sample, y;   /* of the first line; y counts results */
    int64_t tiles, row;  /* tiles of the wave, and what a row has room for */
} Wave;

static inline Vec
load(const float *at)
{
    return *(const Vec *)at;
}

static inline Vec
load_some(const float *at, Index mask)
{
    return (Vec)((Index)load(at) & mask);
}

/* Vectors of a line's tiles begin at every VL-th one, the last one earlier so that it ends with the
 * line, unless there is but one. */
static inline int64_t
tile_at(const Plan *plan, int64_t i)
{
    const int64_t last = plan->tiles[1] - VL;
    return last < 0 || i < last ? i : last;
}

static inline void
next_line(const Plan *plan, int64_t *sample, int64_t *y)
{
    *y += 2;
    if (*y < 2 * plan->tiles[0]) return;
    *y = 0;
    ++*sample;
}

/* --- weights ------------------------------------------------------------------------------------------ */

/* U = G g G' of SIDE windows, places apart. */
static void
change_windows(float g[9][SIDE], float u[PLACES][SIDE])
{
    for (int r = 0; r < SIDE; r++) {
        float t[4][3];
        for (int j = 0; j < 3; j++) {
            const float both = (g[j][r] + g[6 + j][r]) * 0.5f, mid = g[3 + j][r] * 0.5f;
            t[0][j] = g[j][r];
            t[1][j] = both + mid;
            t[2][j] = both - mid;
            t[3][j] = g[6 + j][r];
        }
        for (int i = 0; i < 4; i++) {
            const float both = (t[i][0] + t[i][2]) * 0.5f, mid = t[i][1] * 0.5f;
            u[4 * i][r] = t[i][0];
            u[4 * i + 1][r] = both + mid;
            u[4 * i + 2][r] = both - mid;
            u[4 * i + 3][r] = t[i][2];
        }
    }
}

/* Panels of outputs of runs of channels, as the tile of products reads them: rows side by side. Every
 * step writes SIDE elements, the next one over those that are too much. */
static void
change_weights(int64_t begin, int64_t end, void *context)
{
    const Plan *plan = context;
    const FacWinograd *p = plan->p;
    for (; begin < end; begin++) {
        const int64_t c0 = begin / plan->panels * plan->run, panel = begin % plan->panels;
        const int64_t n = p->channels - c0 < plan->run ? p->channels - c0 : plan->run;
        float *to = plan->u + begin * plan->slot, g[9][SIDE] = {{0}}, u[PLACES][SIDE];
        int64_t i = 0;
        for (int64_t k = 0; k < panel; k++) i += gemm_height(p->outputs - i, false);
        const int rows = gemm_height(p->outputs - i, false);
        const float *w = p->w + plan->group * p->w_group + i * p->w_output + c0 * p->w_channel;
        for (int64_t c = 0; c < n; c++, to += rows) {
            for (int r = 0; r < rows; r++)
                for (int k = 0; k < 9; k++)
                    g[p->turned ? 8 - k : k][r] = w[r * p->w_output + c * p->w_channel + k];
            change_windows(g, u);
            for (int at = 0; at < PLACES; at++)
                memcpy(to + at * plan->u_place, u[at], sizeof u[at]);
        }
    }
}

/* --- input --------------------------------------------------------------------------------------------- */

/* A vector of tiles, VL results apart: B' d B from the PIECE columns of four rows that the masks let
 * pass. */
static inline void
change_tiles(const float *const row[4], const Index mask[4], float *to, int64_t place)
{
    Vec t[4][4];
    for (int k = 0; k < 4; k++) {
        const int64_t at = column[k];
        const Vec d0 = load_some(row[0] + at, mask[k]), d1 = load_some(row[1] + at, mask[k]);
        const Vec d2 = load_some(row[2] + at, mask[k]), d3 = load_some(row[3] + at, mask[k]);
        t[0][k] = d0 - d2;
        t[1][k] = d1 + d2;
        t[2][k] = d2 - d1;
        t[3][k] = d1 - d3;
    }
    for (int i = 0; i < 4; i++, to += 4 * place) {
        const Vec d0 = __builtin_shuffle(t[i][0], t[i][1], even);
        const Vec d1 = __builtin_shuffle(t[i][0], t[i][1], odd);
        const Vec d2 = __builtin_shuffle(t[i][2], t[i][3], even);
        const Vec d3 = __builtin_shuffle(t[i][2], t[i][3], odd);
        *(Vec *)to = d0 - d2;
        *(Vec *)(to + place) = d1 + d2;
        *(Vec *)(to + 2 * place) = d2 - d1;
        *(Vec *)(to + 3 * place) = d1 - d3;
    }
}

/* The line of tiles from row y on of the plane x. What lies beyond the plane is zero; what lies beyond
 * the tensor is not read. */
static void
change_line(const Plan *plan, const float *x, int64_t y, float *to, int64_t place)
{
    static const float zeros[PIECE] = {0};
    const FacWinograd *p = plan->p;
    const float *end = p->x + p->batch * p->groups * p->channels * p->in[0] * p->in[1];
    for (int64_t i = 0, t; i < plan->tiles[1]; i += VL) {
        float copy[4][PIECE];
        const float *row[4];
        Index mask[4];
        t = tile_at(plan, i);
        const int64_t at = 2 * t - p->before[1];
        for (int k = 0; k < 4; k++) {
            const Index from = lane + (int32_t)(at + column[k]);
            mask[k] = (from >= 0) & (from < (int32_t)p->in[1]);
        }
        for (int k = 0; k < 4; k++) {
            row[k] = x + (y + k) * p->in[1] + at;
            if (y + k < 0 || y + k >= p->in[0]) {
                row[k] = zeros;
            } else if (row[k] < p->x || row[k] + PIECE > end) {
                for (int64_t j = 0; j < PIECE; j++)
                    copy[k][j] = at + j < 0 || at + j >= p->in[1] ? 0 : row[k][j];
                row[k] = copy[k];
            }
        }
        change_tiles(row, mask, to + t, place);
    }
}

/* Channels [begin, end) of a wave. */
static void
change_input(int64_t begin, int64_t end, void *context)
{
    const Wave *wave = context;
    const Plan *plan = wave->plan;
    const FacWinograd *p = plan->p;
    const int64_t place = p->channels * wave->row, area = p->in[0] * p->in[1];
    const int64_t samples = p->groups * p->channels * area;
    for (; begin < end; begin++) {
        const float *x = p->x + (plan->group * p->channels + begin) * area;
        float *to = wave->v + begin * wave->row;
        int64_t sample = wave->sample, y = wave->y;
        for (int64_t line = wave->first; line < wave->last; line++, to += plan->tiles[1]) {
            change_line(plan, x + sample * samples, y - p->before[0], to, place);
            next_line(plan, &sample, &y);
        }
        for (int at = 0; at < PLACES; at++) *(Vec *)(to + at * place) = (Vec){0};
    }
}

/* --- products ------------------------------------------------------------------------------------------ */

/* M = U V, a place a task. */
static void
multiply(int64_t begin, int64_t end, void *context)
{
    static const int64_t start = 0;
    const Wave *wave = context;
    const Plan *plan = wave->plan;
    const int64_t channels = plan->p->channels, outputs = plan->p->outputs;
    for (; begin < end; begin++) {
        const float *u = plan->u + begin * plan->u_place;
        const float *v = wave->v + begin * channels * wave->row;
        float *m = wave->m + begin * outputs * wave->row;
        for (int64_t c0 = 0; c0 < channels; c0 += plan->run, v += plan->run * wave->row) {
            const int64_t n = channels - c0 < plan->run ? channels - c0 : plan->run;
            for (int64_t i = 0; i < outputs; u += plan->slot) {
                const int rows = gemm_height(outputs - i, false);
                for (int64_t q = 0; q < wave->tiles; q += NR) FAC_TIERED(gemm_tile_f32)
                [rows][wave->tiles - q > VL ? 2 : 1](n, 1, u, 1, rows, 0, v + q, wave->row, &start,
                                                     m + i *wave->row + q, wave->row, c0 > 0);
                i += rows;
            }
        }
    }
}

/* --- results ------------------------------------------------------------------------------------------- */

/* A vector of tiles of one output: A' m A and the bias, two rows of NR columns. Returns where they are
 * not finite. */
static inline Index
change_back(const float *m, int64_t place, float bias, Vec to[2][2])
{
    Vec t[2][4], sum = {0};
    for (int j = 0; j < 4; j++, m += place) {
        const Vec m0 = load(m), m1 = load(m + 4 * place), m2 = load(m + 8 * place);
        t[0][j] = m0 + (m1 + m2);
        t[1][j] = (m1 - m2) - load(m + 12 * place);
    }
    for (int i = 0; i < 2; i++) {
        const Vec a = t[i][0] + (t[i][1] + t[i][2]) + bias;
        const Vec b = (t[i][1] - t[i][2]) - t[i][3] + bias;
        to[i][0] = __builtin_shuffle(a, b, low);
        to[i][1] = __builtin_shuffle(a, b, high);
        sum += a * 0 + b * 0;
    }
    return sum != 0;
}

/* A line of tiles, as two rows of results or one; those of the wave end at `end`: what is written too
 * much before it is written again. Returns whether all are finite. */
static bool
change_line_back(const Plan *plan, const float *m, int64_t place, float bias, int rows, float *to,
                 const float *end)
{
    const int64_t columns = plan->p->out[1];
    Index bad = {0};
    for (int64_t i = 0; i < plan->tiles[1]; i += VL) {
        const int64_t t = tile_at(plan, i), left = columns - 2 * t, n = left < NR ? left : NR;
        Vec both[2][2];
        bad |= change_back(m + t, place, bias, both) & (lane < (int32_t)(plan->tiles[1] - t));
        for (int k = 0; k < rows; k++) {
            float *row = to + k * columns + 2 * t;
            if (n == NR || (t == 0 && row + NR <= end)) {
                *(Vec *)row = both[k][0];
                *(Vec *)(row + VL) = both[k][1];
            } else {
                memcpy(row, both[k], (size_t)n * sizeof(float));
            }
        }
    }
    int32_t any = 0;
    for (int i = 0; i < VL; i++) any |= bad[i];
    return !any;
}

/* Outputs [begin, end) of a wave. */
static void
change_results(int64_t begin, int64_t end, void *context)
{
    const Wave *wave = context;
    const Plan *plan = wave->plan;
    const FacWinograd *p = plan->p;
    const int64_t place = p->outputs * wave->row, area = p->out[0] * p->out[1];
    const int64_t samples = p->groups * p->outputs * area;
    for (; begin < end; begin++) {
        const int64_t output = plan->group * p->outputs + begin;
        const float *m = wave->m + begin * wave->row, bias = p->bias ? p->bias[output] : 0;
        float *to = p->y + output * area;
        int64_t sample = wave->sample, y = wave->y;
        for (int64_t line = wave->first; line < wave->last; line++, m += plan->tiles[1]) {
            const int64_t after = y + 2 * (wave->last - line);
            const int64_t stop = after < p->out[0] ? after : p->out[0];
            float *plane = to + sample * samples;
            if (!change_line_back(plan, m, place, bias, p->out[0] - y > 1 ? 2 : 1,
                                  plane + y * p->out[1], plane + stop * p->out[1]))
                __atomic_store_n(&plan->again[sample], true, __ATOMIC_RELAXED);
            next_line(plan, &sample, &y);
        }
    }
}

/* --- waves --------------------------------------------------------------------------------------------- */

static void
run_waves(int64_t begin, int64_t end, void *context)
{
    Plan *plan = context;
    const FacWinograd *p = plan->p;
    const int64_t line = 64 / (int64_t)sizeof(float);
    const int64_t room = plan->wave_lines * plan->tiles[1];
    /* of an odd number of lines of the cache, so that rows meet in none of its sets */
    const int64_t row = ((fac_chunks(room, line) + 1) | 1) * line;
    const size_t v = (size_t)(PLACES * p->channels * row) * sizeof(float);
    const size_t m = (size_t)(PLACES * p->outputs * row) * sizeof(float);
    void *memory;
    if (fac_host_alloc(v + m, &memory) != FAC_OK) {
        plan->failed = true;
        return;
    }
    for (; begin < end; begin++) {
        Wave wave = {.plan = plan, .v = memory, .m = (float *)((char *)memory + v), .row = row};
        wave.first = begin * plan->wave_lines;
        wave.last = wave.first + plan->wave_lines;
        if (wave.last > plan->lines) wave.last = plan->lines;
        wave.sample = wave.first / plan->tiles[0];
        wave.y = wave.first % plan->tiles[0] * 2;
        wave.tiles = (wave.last - wave.first) * plan->tiles[1];
        fac_parallel(p->channels, fac_grain(PLACES * wave.tiles), change_input, &wave);
        fac_parallel(PLACES, 1, multiply, &wave);
        fac_parallel(p->outputs, fac_grain(PLACES * wave.tiles), change_results, &wave);
    }
    fac_host_free(memory, v + m);
}

bool
FAC_TIERED(winograd_pays)(const FacWinograd *p)
{
    const int64_t tiles = fac_chunks(p->out[0], 2) * fac_chunks(p->out[1], 2);
    return p->channels >= LEAST && p->outputs >= LEAST && tiles >= LEAST_TILES;
}

FacStatus
FAC_TIERED(winograd)(const FacWinograd *p, bool *again)
{
    const int64_t near = fac_cpu_cache(2) / 2;
    const int64_t tile = PLACES * (p->channels + p->outputs) * (int64_t)sizeof(float);
    Plan plan = {.p = p, .tiles = {fac_chunks(p->out[0], 2), fac_chunks(p->out[1], 2)}};
    plan.again = again;
    plan.lines = p->batch * plan.tiles[0];
    plan.runs = fac_chunks(p->channels, RUN);
    plan.run = fac_chunks(p->channels, plan.runs);
    for (int64_t i = 0; i < p->outputs; plan.panels++) i += gemm_height(p->outputs - i, false);
    plan.slot = plan.run * GEMM_ROWS + SIDE;
    plan.u_place = (fac_chunks(plan.runs * plan.panels * plan.slot, SIDE) | 1) * SIDE;
    const size_t bytes = (size_t)(PLACES * plan.u_place) * sizeof(float);
    const bool small = (int64_t)bytes <= near;
    plan.wave_lines = (small ? near : WAVE_BYTES) / (tile * plan.tiles[1]);
    if (plan.wave_lines < 1) plan.wave_lines = 1;
    if (plan.wave_lines > plan.lines) plan.wave_lines = plan.lines;
    const int64_t waves = fac_chunks(plan.lines, plan.wave_lines);
    plan.wave_lines = fac_chunks(plan.lines, waves);
    void *memory;
    FAC_RETURN_IF_ERROR(fac_host_alloc(bytes, &memory));
    plan.u = memory;
    for (plan.group = 0; plan.group < p->groups && !plan.failed; plan.group++) {
        fac_parallel(plan.runs * plan.panels, 1, change_weights, &plan);
        if (small)
            fac_parallel(waves, 1, run_waves, &plan);
        else
            for (int64_t i = 0; i < waves && !plan.failed; i++) run_waves(i, i + 1, &plan);
    }
    fac_host_free(memory, bytes);
    if (plan.failed) return fac_error(FAC_MEMORY_ERROR, "no memory for a part of a convolution");
    return FAC_OK;
}
