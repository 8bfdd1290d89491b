/* fft_plan.c - making and keeping plans of Fourier transforms.
 *
 * All numbers are cosines and sines of fractions of a turn, reduced exactly, as integers, to an eighth
 * of a turn before they are computed in double. The cache holds the plans used last, up to a number
 * of them and of bytes; a plan that is in use outlives its place there.
 */
#include "kernels/fft_plan.h"

#include "device/device.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

enum { CACHED = 64, CACHED_BYTES = 128 << 20 };

typedef struct Turn {
    double re, im;
} Turn;

/* exp(-2 pi i k / n), for 0 <= k. */
static Turn
turn(int64_t k, int64_t n)
{
    const int64_t eighths = 8 * (k % n), octant = eighths / n;
    int64_t rest = eighths - octant * n;
    if (octant & 1) rest = n - rest;
    const double angle = (double)rest / (double)n * 0.78539816339744830962;
    const double c = cos(angle), s = octant & 1 ? -sin(angle) : sin(angle);
    switch ((octant + 1) / 2 & 3) {
    case 0: return (Turn){c, -s};
    case 1: return (Turn){-s, -c};
    case 2: return (Turn){-c, s};
    default: return (Turn){s, c};
    }
}

static void
put(void *at, int size, int64_t i, double value)
{
    if (size == 4)
        ((float *)at)[i] = (float)value;
    else
        ((double *)at)[i] = value;
}

/* --- factors ---------------------------------------------------------------------------------- */

/* Takes `radix` out of *left while it divides, as passes. */
static void
take(FacFftPlan *p, int64_t *left, int radix)
{
    for (; *left % radix == 0; *left /= radix) p->pass[p->npasses++].radix = radix;
}

/* Odd factors first, since the later passes want short rests; then twos by eights and, so that none is
 * left alone, sixteens; last, where it divides, a radix of as many as a vector has lanes, whose transform
 * over neighbours transposes whole blocks of vectors. False: there is a factor that no pass takes. */
static bool
factor(FacFftPlan *p)
{
    static const int odd[] = {13, 11, 7, 5, 3};
    int64_t left = p->n;
    int twos = 0, last = p->n % p->lanes ? 1 : p->lanes;
    left /= last;
    for (int i = 0; i < 5; i++) take(p, &left, odd[i]);
    for (; left % 2 == 0; left /= 2) twos++;
    if (left > 1) return false;
    for (; twos % 3 * 4 <= twos && twos % 3; twos -= 4) p->pass[p->npasses++].radix = 16;
    if (twos % 3) p->pass[p->npasses++].radix = 1 << twos % 3;
    for (; twos >= 3; twos -= 3) p->pass[p->npasses++].radix = 8;
    if (last > 1) p->pass[p->npasses++].radix = last;
    int64_t before = 1;
    p->narrow = true;
    for (int i = 0; i < p->npasses; i++) {
        FacFftPass *pass = &p->pass[i];
        pass->before = before;
        before *= pass->radix;
        pass->rest = p->n / before;
        p->narrow &= p->n / pass->radix >= p->lanes;
    }
    return true;
}

static int64_t
turns_width(const FacFftPlan *p, const FacFftPass *pass)
{
    if (pass->rest == 1) return 0;
    return pass->rest < p->lanes && p->narrow ? pass->rest * pass->before : pass->rest;
}

/* Vectors of turns: those of a last vector that is not whole are there twice. */
static int64_t
turns_blocks(const FacFftPlan *p, int64_t width)
{
    return (width + p->lanes - 1) / p->lanes + (width > p->lanes && width % p->lanes);
}

/* The next free numbers of a plan's memory; counts only while there is none. */
static void *
carve(FacFftPlan *p, int64_t numbers)
{
    void *at = p->memory ? (char *)p->memory + p->bytes : NULL;
    p->bytes += (size_t)(numbers * p->size + 63) & ~(size_t)63;
    return at;
}

static void
fill_turns(const FacFftPlan *p, FacFftPass *pass, int64_t width, void *to)
{
    const int64_t blocks = turns_blocks(p, width), lanes = p->lanes;
    int64_t at = 0;
    for (int64_t block = 0; block < blocks; block++) {
        const bool again = block * lanes >= width;
        const int64_t first = again ? width - lanes : block * lanes;
        for (int j = 1; j < pass->radix; j++, at += lanes)
            for (int64_t l = 0; l < lanes; l++, at++) {
                const Turn t = turn((first + l) % pass->rest * j, pass->rest * pass->radix);
                put(to, p->size, at, t.re);
                put(to, p->size, at + lanes, t.im);
            }
    }
    pass->turns = to;
}

static void
fill_roots(const FacFftPlan *p, FacFftPass *pass, void *to)
{
    for (int j = 0; j < pass->radix; j++) {
        const Turn t = turn(j, pass->radix);
        put(to, p->size, j, t.re);
        put(to, p->size, pass->radix + j, -t.im);
    }
    pass->roots = to;
}

static void
lay_passes(FacFftPlan *p)
{
    for (int i = 0; i < p->npasses; i++) {
        FacFftPass *pass = &p->pass[i];
        const bool odd = pass->radix & 1;
        const int64_t width = turns_width(p, pass);
        if (width) {
            void *turns = carve(p, 2 * (pass->radix - 1) * turns_blocks(p, width) * p->lanes);
            if (turns) fill_turns(p, pass, width, turns);
        }
        void *roots = odd ? carve(p, 2 * pass->radix) : NULL;
        if (roots) fill_roots(p, pass, roots);
    }
}

/* --- Bluestein -------------------------------------------------------------------------------- */

static Turn
times(Turn a, Turn b)
{
    return (Turn){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

/* The transform of n numbers, `step` apart, n a product of 2, 3 and 5; `room` has n more. */
static void
transform(const Turn *from, int64_t step, int64_t n, Turn *to, Turn *room)
{
    if (n == 1) {
        *to = *from;
        return;
    }
    const int radix = n % 2 == 0 ? 2 : n % 3 == 0 ? 3 : 5;
    const int64_t m = n / radix;
    for (int j = 0; j < radix; j++)
        transform(from + j * step, step * radix, m, room + j * m, to + j * m);
    for (int64_t k = 0; k < m; k++) {
        Turn turned[5];
        for (int j = 0; j < radix; j++) turned[j] = times(room[j * m + k], turn(j * k, n));
        for (int q = 0; q < radix; q++) {
            Turn sum = turned[0];
            for (int j = 1; j < radix; j++) {
                const Turn x = times(turned[j], turn(j * q, radix));
                sum.re += x.re;
                sum.im += x.im;
            }
            to[q * m + k] = sum;
        }
    }
}

/* The shortest convenient length for a convolution of n: 2^a times 1, 3, 5, 9 or 15. */
static int64_t
convenient(int64_t n)
{
    static const int odd[] = {1, 3, 5, 9, 15};
    int64_t best = INT64_MAX;
    for (int i = 0; i < 5; i++) {
        int64_t m = 256 * odd[i];
        while (m < 2 * n - 1) m *= 2;
        if (m < best) best = m;
    }
    return best;
}

static FacStatus
lay_chirp(FacFftPlan *p)
{
    const int64_t n = p->n, m = p->inner->n;
    void *chirp = carve(p, 2 * n), *spectrum = carve(p, 2 * m);
    if (!chirp) return FAC_OK;
    Turn *work = fac_mem_zalloc((size_t)m * 3 * sizeof *work);
    if (!work) return fac_mem_error((size_t)m * 3 * sizeof *work);
    for (int64_t k = 0, square = 0; k < n; k++) {
        const Turn t = turn(square, 2 * n);
        put(chirp, p->size, k, t.re);
        put(chirp, p->size, n + k, t.im);
        work[k] = (Turn){t.re, -t.im};
        if (k) work[m - k] = work[k];
        square = (square + 2 * k + 1) % (2 * n);
    }
    transform(work, 1, m, work + m, work + 2 * m);
    for (int64_t k = 0; k < m; k++) {
        put(spectrum, p->size, k, work[m + k].re / (double)m);
        put(spectrum, p->size, m + k, work[m + k].im / (double)m);
    }
    fac_mem_free(work);
    p->chirp = chirp;
    p->spectrum = spectrum;
    return FAC_OK;
}

/* --- long lengths ----------------------------------------------------------------------------- */

/* The largest divisor of n, a product of factors of passes, that is at most the root of n; one of as many as a
 * vector has lanes, where there is a large one. */
static int64_t
least_half(int64_t n, int lanes)
{
    int64_t best = 1, suits = 1;
    for (int64_t i = 2; i * i <= n; i++) {
        if (n % i) continue;
        best = i;
        if (n / i % lanes == 0) suits = i;
    }
    return 4 * suits >= best ? suits : best;
}

static void
lay_matrix(FacFftPlan *p)
{
    const int64_t k = p->rows->n, n = p->columns->n, lanes = p->lanes;
    const int64_t blocks = (n + lanes - 1) / lanes;
    void *near = carve(p, 2 * k * lanes), *far = carve(p, 2 * k * blocks);
    if (!near) return;
    for (int64_t i = 0; i < k; i++)
        for (int64_t l = 0; l < lanes; l++) {
            const Turn t = turn(i * l, p->n);
            put(near, p->size, 2 * i * lanes + l, t.re);
            put(near, p->size, (2 * i + 1) * lanes + l, t.im);
        }
    for (int64_t i = 0; i < k * blocks; i++) {
        const Turn t = turn(i / k * lanes * (i % k), p->n);
        put(far, p->size, 2 * i, t.re);
        put(far, p->size, 2 * i + 1, t.im);
    }
    p->near = near;
    p->far = far;
}

/* --- plans ------------------------------------------------------------------------------------ */

/* All numbers; run once to count them and once to fill them. */
static FacStatus
lay_out(FacFftPlan *p)
{
    p->bytes = 0;
    if (p->rows)
        lay_matrix(p);
    else
        lay_passes(p);
    p->half = p->n / 2 + p->lanes;
    void *halves = carve(p, 2 * p->half);
    for (int64_t k = 0; halves && k < p->half; k++) {
        const Turn t = turn(k, 2 * p->n);
        put(halves, p->size, k, t.re);
        put(halves, p->size, p->half + k, t.im);
    }
    p->halves = halves;
    return p->inner ? lay_chirp(p) : FAC_OK;
}

void
fac_fft_plan_release(FacFftPlan *plan)
{
    if (!plan || !fac_refs_down(&plan->refs)) return;
    fac_fft_plan_release(plan->inner);
    fac_fft_plan_release(plan->rows);
    fac_fft_plan_release(plan->columns);
    if (plan->memory) fac_host_free(plan->memory, plan->bytes);
    fac_mem_free(plan);
}

static FacStatus
make(int64_t n, int size, int lanes, bool flat, FacFftPlan **out)
{
    FacStatus st = FAC_OK;
    FacFftPlan *p = fac_mem_zalloc(sizeof *p);
    if (!p) return fac_mem_error(sizeof *p);
    p->refs = 1;
    p->n = n;
    p->size = size;
    p->lanes = lanes;
    p->flat = flat;
    if (!factor(p)) {
        p->npasses = 0;
        FAC_TRY(fac_fft_plan(convenient(n), size, lanes, true, &p->inner));
        p->narrow = true;
    } else if (!flat && 2 * n * size >= FAC_FFT_LONG) {
        p->npasses = 0;
        FAC_TRY(fac_fft_plan(least_half(n, lanes), size, lanes, true, &p->rows));
        FAC_TRY(fac_fft_plan(n / p->rows->n, size, lanes, true, &p->columns));
    }
    FAC_TRY(lay_out(p));
    FAC_TRY(fac_host_alloc(p->bytes, &p->memory));
    FAC_TRY(lay_out(p));
    *out = p;
    p = NULL;
done:
    fac_fft_plan_release(p);
    return st;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static FacFftPlan *cached[CACHED]; /* the last used first */
static int ncached;
static size_t cached_bytes;

/* A child has the cache as it was, and a lock that nobody holds. */
static void
before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void
after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

static void
start(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}

/* Moves entry i to the front; under the lock. */
static FacFftPlan *
to_front(int i)
{
    FacFftPlan *p = cached[i];
    memmove(cached + 1, cached, (size_t)i * sizeof *cached);
    cached[0] = p;
    return p;
}

/* A new reference to the plan, if it is there. */
static FacFftPlan *
find(int64_t n, int size, int lanes, bool flat)
{
    FacFftPlan *p = NULL;
    pthread_once(&once, start);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < ncached && !p; i++)
        if (cached[i]->n == n && cached[i]->size == size && cached[i]->lanes == lanes &&
            cached[i]->flat == flat) {
            p = to_front(i);
            fac_refs_up(&p->refs);
        }
    pthread_mutex_unlock(&lock);
    return p;
}

/* The cache holds it too from now on, unless it is too large; the oldest make room. */
static void
keep(FacFftPlan *p)
{
    FacFftPlan *out[CACHED];
    int nout = 0;
    if (p->bytes > CACHED_BYTES) return;
    pthread_mutex_lock(&lock);
    while (ncached && (ncached == CACHED || cached_bytes + p->bytes > CACHED_BYTES)) {
        out[nout] = cached[--ncached];
        cached_bytes -= out[nout++]->bytes;
    }
    fac_refs_up(&p->refs);
    cached[ncached++] = p;
    cached_bytes += p->bytes;
    to_front(ncached - 1);
    pthread_mutex_unlock(&lock);
    while (nout) fac_fft_plan_release(out[--nout]);
}

FacStatus
fac_fft_plan(int64_t n, int size, int lanes, bool flat, FacFftPlan **out)
{
    *out = find(n, size, lanes, flat);
    if (*out) return FAC_OK;
    FAC_RETURN_IF_ERROR(make(n, size, lanes, flat, out));
    keep(*out);
    return FAC_OK;
}
