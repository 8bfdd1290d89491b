/* fft_body.h - Fourier transforms over one real type: included by fft.c with T, NAME, INDEX (the integer
 * of its size) and LANES (how many make a vector) defined.
 *
 * Numbers are in two arrays, real and imaginary parts. The lanes of a vector are either neighbours of
 * one row ("narrow") or the same place of so many rows ("wide"); an element takes the same steps in
 * both, so that a row has the same bits alone and among others. The inverse transform is the
 * transform with the two arrays exchanged.
 *
 * What lies in memory is loaded whole before anything is stored: a transform may be in place.
 */

typedef NAME(FacVec) NAME(vec);
typedef INDEX NAME(index) __attribute__((vector_size(GEMM_BYTES)));
typedef struct NAME(Cx) {
    NAME(vec) re, im;
} NAME(Cx);
typedef struct NAME(Pair) {
    T *re;
    int64_t part; /* the imaginary parts are so far behind */
} NAME(Pair);

/* --- vectors ---------------------------------------------------------------------------------- */

static inline NAME(vec) NAME(load)(const T *at)
{
    return *(const NAME(vec) *)at;
}
static inline void
NAME(store)(T *at, NAME(vec) v)
{
    *(NAME(vec) *)at = v;
}
static inline NAME(vec) NAME(splat)(T x)
{
    return x - (NAME(vec)){0};
}
static inline NAME(vec) NAME(reversed)(NAME(vec) v)
{
    return __builtin_shuffle(v, (NAME(index))FFT_LIST(REVERSED, LANES));
}
/* LANES complex numbers that lie in memory. */
static inline NAME(Cx) NAME(parts)(const T *at)
{
    const NAME(vec) a = NAME(load)(at), b = NAME(load)(at + LANES);
    return (NAME(Cx)){__builtin_shuffle(a, b, (NAME(index))FFT_LIST(EVEN, LANES)),
                      __builtin_shuffle(a, b, (NAME(index))FFT_LIST(ODD, LANES))};
}
static inline void
NAME(put_parts)(T *at, NAME(Cx) x)
{
    NAME(store)(at, __builtin_shuffle(x.re, x.im, (NAME(index))FFT_LIST(LOW, LANES)));
    NAME(store)(at + LANES, __builtin_shuffle(x.re, x.im, (NAME(index))FFT_LIST(HIGH, LANES)));
}

static inline NAME(Cx) NAME(add)(NAME(Cx) a, NAME(Cx) b)
{
    return (NAME(Cx)){a.re + b.re, a.im + b.im};
}
static inline NAME(Cx) NAME(sub)(NAME(Cx) a, NAME(Cx) b)
{
    return (NAME(Cx)){a.re - b.re, a.im - b.im};
}
static inline NAME(Cx) NAME(mul)(NAME(Cx) a, NAME(vec) re, NAME(vec) im)
{
    return (NAME(Cx)){a.re * re - a.im * im, a.re * im + a.im * re};
}
/* times -i */
static inline NAME(Cx) NAME(right)(NAME(Cx) a)
{
    return (NAME(Cx)){a.im, -a.re};
}

/* LANES vectors as the rows of a matrix to its columns. */
static inline void
NAME(transpose)(NAME(vec) r[LANES])
{
    const NAME(index) low = FFT_LIST(LOW, LANES), high = FFT_LIST(HIGH, LANES);
#pragma GCC unroll 4
    for (int round = 1; round < LANES; round *= 2) {
        NAME(vec) s[LANES];
#pragma GCC unroll 8
        for (int i = 0; i < LANES / 2; i++) {
            s[2 * i] = __builtin_shuffle(r[i], r[i + LANES / 2], low);
            s[2 * i + 1] = __builtin_shuffle(r[i], r[i + LANES / 2], high);
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) r[i] = s[i];
    }
}

/* --- transforms of a few numbers, in place and in order --------------------------------------- */

static inline void
NAME(two)(NAME(Cx) * x)
{
    const NAME(Cx) a = x[0], b = x[1];
    x[0] = NAME(add)(a, b);
    x[1] = NAME(sub)(a, b);
}

static inline void
NAME(four)(NAME(Cx) * a, NAME(Cx) * b, NAME(Cx) * c, NAME(Cx) * d)
{
    const NAME(Cx) p = NAME(add)(*a, *c), q = NAME(sub)(*a, *c);
    const NAME(Cx) r = NAME(add)(*b, *d), s = NAME(right)(NAME(sub)(*b, *d));
    *a = NAME(add)(p, r);
    *b = NAME(add)(q, s);
    *c = NAME(sub)(p, r);
    *d = NAME(sub)(q, s);
}

static inline void
NAME(eight)(NAME(Cx) * x)
{
    const T h = (T)0.70710678118654752440;
    NAME(four)(&x[0], &x[2], &x[4], &x[6]);
    NAME(four)(&x[1], &x[3], &x[5], &x[7]);
    const NAME(Cx) a = {(x[3].re + x[3].im) * h, (x[3].im - x[3].re) * h};
    const NAME(Cx) b = NAME(right)(x[5]);
    const NAME(Cx) c = {(x[7].im - x[7].re) * h, -(x[7].re + x[7].im) * h};
    const NAME(Cx) even[4] = {x[0], x[2], x[4], x[6]}, odd[4] = {x[1], a, b, c};
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        x[k] = NAME(add)(even[k], odd[k]);
        x[k + 4] = NAME(sub)(even[k], odd[k]);
    }
}

static inline void
NAME(sixteen)(NAME(Cx) * x)
{
    const T c = (T)0.92387953251128675613, s = (T)0.38268343236508977173;
    const T h = (T)0.70710678118654752440;
    const NAME(vec) re[10] = {{0},
                              c + (NAME(vec)){0},
                              h + (NAME(vec)){0},
                              s + (NAME(vec)){0},
                              {0},
                              {0},
                              -h + (NAME(vec)){0},
                              {0},
                              {0},
                              -c + (NAME(vec)){0}};
    const NAME(vec) im[10] = {{0},
                              -s + (NAME(vec)){0},
                              -h + (NAME(vec)){0},
                              -c + (NAME(vec)){0},
                              {0},
                              {0},
                              -h + (NAME(vec)){0},
                              {0},
                              {0},
                              s + (NAME(vec)){0}};
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) NAME(four)(&x[i], &x[i + 4], &x[i + 8], &x[i + 12]);
#pragma GCC unroll 4
    for (int i = 1; i < 4; i++)
#pragma GCC unroll 4
        for (int k = 1; k < 4; k++)
            x[i + 4 * k] = i * k == 4 ? NAME(right)(x[i + 4 * k])
                                      : NAME(mul)(x[i + 4 * k], re[i * k], im[i * k]);
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) NAME(four)(&x[4 * k], &x[4 * k + 1], &x[4 * k + 2], &x[4 * k + 3]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
#pragma GCC unroll 4
        for (int k = 0; k < i; k++) {
            const NAME(Cx) a = x[4 * i + k];
            x[4 * i + k] = x[4 * k + i];
            x[4 * k + i] = a;
        }
}

/* Any odd number: the j-th and the last but j-th share their products. */
static inline __attribute__((always_inline)) void
NAME(odd)(NAME(Cx) * x, const int radix, const T *roots)
{
    const int half = (radix - 1) / 2;
    NAME(Cx) sum[FAC_FFT_ODD / 2], difference[FAC_FFT_ODD / 2];
    const NAME(Cx) first = x[0];
#pragma GCC unroll 6
    for (int j = 0; j < half; j++) {
        sum[j] = NAME(add)(x[j + 1], x[radix - 1 - j]);
        difference[j] = NAME(sub)(x[j + 1], x[radix - 1 - j]);
        x[0] = NAME(add)(x[0], sum[j]);
    }
#pragma GCC unroll 3 /* 11 and 13 are rare */
    for (int k = 1; k <= half; k++) {
        NAME(Cx) a = first, b = {{0}, {0}};
#pragma GCC unroll 6
        for (int j = 1; j <= half; j++) {
            const T c = roots[j * k % radix], s = roots[radix + j * k % radix];
            a.re += sum[j - 1].re * c;
            a.im += sum[j - 1].im * c;
            b.re += difference[j - 1].re * s;
            b.im += difference[j - 1].im * s;
        }
        b = NAME(right)(b);
        x[k] = NAME(add)(a, b);
        x[radix - k] = NAME(sub)(a, b);
    }
}

/* --- a pass ----------------------------------------------------------------------------------- */

/* One side of a pass: real parts from `at`, imaginary ones `part` behind; `mixed`: complex numbers as they
 * lie in memory, which `turned` asks to exchange. Steps in real numbers: from one j, vector and row (of
 * the pass) to the next. */
typedef struct NAME(Port) {
    T *at;
    int64_t part, j, next, row;
    bool mixed, turned;
} NAME(Port);

/* Memory that is asked for on the way, two lines of the cache with each vector, since transforms leave the
 * memory idle: `step` apart, and `next` from the first of one time to that of the next. NULL: none. */
typedef struct NAME(Ask) {
    const T *at;
    int64_t step, next;
} NAME(Ask);

/* `rows` times `count` vectors; `last`: once more, for the whole vector at the end of runs that begins there.
 * What goes to mixed numbers is scaled. */
typedef struct NAME(Step) {
    const FacFftPass *pass;
    int radix;
    int64_t last;
    bool wide;
    int64_t rows, count;
    NAME(Port) from, to;
    const T *turns, *roots;
    T scale;
    NAME(Ask) before, behind; /* reading and writing */
} NAME(Step);

static __attribute__((noinline)) void
NAME(ask)(NAME(Ask) * a, int64_t vectors)
{
    const T *at = a->at;
#pragma GCC unroll 4
    for (int64_t j = 0; j < vectors; j++, at += a->step) {
        __builtin_prefetch(at, 0, 2);
        __builtin_prefetch(at + LANES, 0, 2);
    }
    a->at += a->next;
}

static inline __attribute__((always_inline)) void
NAME(run)(const NAME(Step) * s, const int radix)
{
    const T *const roots = s->roots, *const turns = s->turns;
    const int64_t from_j = s->from.j, to_j = s->to.j, block = 2 * (radix - 1) * LANES;
    const int64_t from_part = s->from.part, to_part = s->to.part;
    const bool wide = s->wide, from_mixed = s->from.mixed, to_mixed = s->to.mixed;
    NAME(Ask) before = s->before, behind = s->behind;
    for (int64_t row = 0; row < s->rows; row++) {
        const T *from = s->from.at + row * s->from.row;
        T *to = s->to.at + row * s->to.row;
        for (int64_t i = 0; i < s->count; i++) {
            NAME(Cx) x[FAC_FFT_RADIX];
            const T *in = from;
            T *out = to;
            if (before.at) NAME(ask)(&before, radix);
            if (from_mixed) {
                const NAME(index) flip = (s->from.turned ? 1 : 0) - (NAME(index)){0};
                const NAME(index) even = (NAME(index))FFT_LIST(EVEN, LANES) ^ flip;
#pragma GCC unroll 16
                for (int j = 0; j < radix; j++, in += from_j) {
                    const NAME(vec) a = NAME(load)(in), b = NAME(load)(in + LANES);
                    x[j].re = __builtin_shuffle(a, b, even);
                    x[j].im = __builtin_shuffle(a, b, even ^ 1);
                }
            } else {
#pragma GCC unroll 16
                for (int j = 0; j < radix; j++, in += from_j)
                    x[j] = (NAME(Cx)){NAME(load)(in), NAME(load)(in + from_part)};
            }
            switch (radix) {
            case 2: NAME(two)(x); break;
            case 4: NAME(four)(&x[0], &x[1], &x[2], &x[3]); break;
            case 8: NAME(eight)(x); break;
            case 16: NAME(sixteen)(x); break;
            default: NAME(odd)(x, radix, roots);
            }
            if (turns && wide) {
                const T *at = turns + i / LANES * block + i % LANES;
#pragma GCC unroll 15
                for (int j = 1; j < radix; j++, at += 2 * LANES)
                    x[j] = NAME(mul)(x[j], NAME(splat)(at[0]), NAME(splat)(at[LANES]));
            } else if (turns) {
                const T *at = turns + i * block;
#pragma GCC unroll 15
                for (int j = 1; j < radix; j++, at += 2 * LANES)
                    x[j] = NAME(mul)(x[j], NAME(load)(at), NAME(load)(at + LANES));
            }
            if (to_mixed) {
                const NAME(index) flip = (s->to.turned ? LANES : 0) - (NAME(index)){0};
                const NAME(index) low = (NAME(index))FFT_LIST(LOW, LANES) ^ flip;
                const NAME(index) high = (NAME(index))FFT_LIST(HIGH, LANES) ^ flip;
                const T scale = s->scale;
#pragma GCC unroll 16
                for (int j = 0; j < radix; j++, out += to_j) {
                    const NAME(vec) re = x[j].re * scale, im = x[j].im * scale;
                    NAME(store)(out, __builtin_shuffle(re, im, low));
                    NAME(store)(out + LANES, __builtin_shuffle(re, im, high));
                }
            } else {
#pragma GCC unroll 16
                for (int j = 0; j < radix; j++, out += to_j) {
                    NAME(store)(out, x[j].re);
                    NAME(store)(out + to_part, x[j].im);
                }
            }
            if (behind.at) NAME(ask)(&behind, radix);
            from += s->from.next;
            to += s->to.next;
        }
    }
}

#define RADICES(X) X(2) X(3) X(4) X(5) X(7) X(8) X(11) X(13) X(16)
#define PASS(r)                                                                                    \
    static void NAME(pass_##r)(const NAME(Step) * s)                                               \
    {                                                                                              \
        NAME(run)(s, r);                                                                           \
    }
RADICES(PASS)
#undef PASS

static inline void
NAME(step)(const NAME(Step) * s)
{
#define PASS(r) [r] = NAME(pass_##r),
    static void (*const passes[])(const NAME(Step) *) = {RADICES(PASS)};
#undef PASS
    passes[s->radix](s);
}
#undef RADICES

/* LANES rows of LANES numbers to columns. */
static inline void
NAME(turn_block)(const T *from, T *to)
{
    NAME(vec) r[LANES];
#pragma GCC unroll 16
    for (int l = 0; l < LANES; l++) r[l] = NAME(load)(from + l * LANES);
    NAME(transpose)(r);
#pragma GCC unroll 16
    for (int l = 0; l < LANES; l++) NAME(store)(to + l * LANES, r[l]);
}

/* The turns of the vector that begins with number i: whole, or the last one. */
static inline const T *
NAME(turns_at)(const FacFftPass *p, int64_t i)
{
    const int64_t block = i / LANES + (i % LANES ? 2 : 0);
    return (const T *)p->turns + block * 2 * (p->radix - 1) * LANES;
}

/* Runs of fewer numbers than a vector: what a vector needs is brought together in a tile. */
static __attribute__((noinline)) void
NAME(short_pass)(const FacFftPass *p, NAME(Step) * s)
{
    enum { TILE = FAC_FFT_RADIX * LANES };
    T tile[2 * TILE];
    const int64_t radix = p->radix, rest = p->rest, span = rest * p->before;
    const int64_t unit = s->to.next / LANES;
    const NAME(Port) from = s->from, to = s->to;
    s->from = (NAME(Port)){.at = tile, .part = TILE, .j = LANES};
    s->rows = s->count = 1;
    for (int64_t c = 0; c < span; c += LANES) {
        if (c > span - LANES) c = span - LANES;
        if (rest == 1 && radix == LANES) {
            NAME(turn_block)(from.at + c * LANES, tile);
            NAME(turn_block)(from.at + from.part + c * LANES, tile + TILE);
        } else {
            int64_t i = c % rest, at = i + rest * radix * (c / rest);
            for (int l = 0; l < LANES; l++) {
                for (int64_t j = 0; j < radix; j++) {
                    tile[j * LANES + l] = from.at[at + rest * j];
                    tile[TILE + j * LANES + l] = from.at[from.part + at + rest * j];
                }
                at++;
                if (++i == rest) i = 0, at += rest * (radix - 1);
            }
        }
        s->to.at = to.at + c * unit;
        if (p->turns) s->turns = NAME(turns_at)(p, c);
        NAME(step)(s);
        if (s->before.at) s->before.at += s->before.next;
        if (s->behind.at) s->behind.at += s->behind.next;
    }
}

/* Where a pass reads from: numbers `unit` apart (narrow: of a row, wide: of LANES). */
static inline void
NAME(read_from)(const FacFftPass *p, int64_t unit, bool wide, NAME(Port) * port)
{
    port->j = p->rest * unit;
    port->row = p->rest * p->radix * unit;
    port->next = wide ? unit : unit * LANES;
}

static inline void
NAME(write_to)(const FacFftPass *p, int64_t unit, bool wide, NAME(Port) * port)
{
    port->j = p->rest * p->before * unit;
    port->row = p->rest * unit;
    port->next = wide ? unit : unit * LANES;
}

static __attribute__((noinline)) void
NAME(prepare)(const FacFftPass *p, bool wide, T scale, const NAME(Port) * from,
              const NAME(Port) * to, NAME(Step) * s)
{
    *s = (NAME(Step)){.pass = p,
                      .radix = p->radix,
                      .wide = wide,
                      .rows = p->before,
                      .count = wide ? p->rest : p->rest / LANES,
                      .from = *from,
                      .to = *to,
                      .turns = p->turns,
                      .roots = p->roots,
                      .scale = scale};
    s->last = wide || p->rest % LANES == 0 ? 0 : p->rest - LANES;
    NAME(read_from)(p, from->next, wide, &s->from);
    NAME(write_to)(p, to->next, wide, &s->to);
}

static __attribute__((noinline)) void
NAME(pass)(const NAME(Step) * s)
{
    if (s->count && !s->last) {
        NAME(step)(s);
        return;
    }
    NAME(Step) again = *s;
    if (s->count == 0) {
        NAME(short_pass)(s->pass, &again);
        return;
    }
    NAME(step)(s);
    again.from.at += again.last * (again.from.next / LANES);
    again.to.at += again.last * (again.to.next / LANES);
    if (s->turns) again.turns = NAME(turns_at)(s->pass, s->last);
    again.count = 1;
    again.before.at = again.behind.at = NULL;
    NAME(step)(&again);
}

/* --- one transform, or LANES of them ---------------------------------------------------------- */

static inline NAME(Port) NAME(array)(NAME(Pair) x, bool wide)
{
    return (NAME(Port)){.at = x.re, .part = x.part, .next = wide ? LANES : 1};
}

static inline NAME(Pair) NAME(exchanged)(NAME(Pair) a)
{
    return (NAME(Pair)){a.re + a.part, -a.part};
}

static inline void
NAME(swap)(NAME(Pair) * a, NAME(Pair) * b)
{
    const NAME(Pair) c = *a;
    *a = *b;
    *b = c;
}

/* to = from times numbers of a table (cosines, sines, `table` apart), n of them. */
static void
NAME(turn_all)(int64_t n, bool wide, NAME(Pair) from, NAME(Pair) to, const T *turns, int64_t table)
{
    const int64_t unit = wide ? LANES : 1;
    for (int64_t k = 0; k < n; k += wide ? 1 : LANES) {
        if (!wide && k > n - LANES) k = n - LANES;
        const T *in = from.re + k * unit, *at = turns + k;
        T *out = to.re + k * unit;
        NAME(Cx) x = {NAME(load)(in), NAME(load)(in + from.part)};
        x = wide ? NAME(mul)(x, NAME(splat)(at[0]), NAME(splat)(at[table]))
                 : NAME(mul)(x, NAME(load)(at), NAME(load)(at + table));
        NAME(store)(out, x.re);
        NAME(store)(out + to.part, x.im);
    }
}

/* The passes of a plan over two arrays, prepared once for many blocks. What a block will write and what the
 * next one reads is asked for by the first and by the last pass. */
typedef struct NAME(Chain) {
    NAME(Ask) output, input;
    bool ready, reads, writes; /* memory, at the beginning and at the end */
    int count;
    NAME(Step) steps[FAC_FFT_PASSES];
} NAME(Chain);

static inline NAME(Ask) NAME(ask_run)(NAME(Ask) a, int radix)
{
    a.next = a.step * radix;
    return a;
}

static inline NAME(Ask) NAME(ask_ahead)(const NAME(Port) * p)
{
    enum { AHEAD = 6 };
    return (NAME(Ask)){p->at + AHEAD * p->next, p->j, p->next};
}

/* Long lines side by side would not stay in the cache from one block to the next: of those the passes ask for what
 * they need soon. */
static inline void
NAME(ask_along)(const FacFftPlan *p, bool reads, bool writes, NAME(Chain) * chain)
{
    NAME(Step) *first = &chain->steps[0], *last = &chain->steps[p->npasses - 1];
    const bool is_long = p->n >= 512;
    last->before = is_long && writes ? NAME(ask_ahead)(&last->to) : (NAME(Ask)){NULL, 0, 0};
    last->behind =
        is_long && reads ? (NAME(Ask)){NULL, 0, 0} : NAME(ask_run)(chain->input, last->radix);
    if (is_long && reads)
        first->before = NAME(ask_ahead)(&first->from);
    else if (!is_long || !writes)
        first->before = NAME(ask_run)(chain->output, first->radix);
}

/* From *x (or what `in` says) with the help of *y; the result is in *x, which may have changed places with
 * *y (or where `out` says). Blocks differ in the places of `in` and `out` alone. */
static void
NAME(run_passes)(const FacFftPlan *p, bool wide, NAME(Pair) * x, NAME(Pair) * y,
                 const NAME(Port) * in, const NAME(Port) * out, T scale, NAME(Chain) * chain)
{
    const int last = p->npasses - 1;
    if (last < 0) return; /* one number */
    if (!chain->ready || chain->reads != !!in || chain->writes != !!out) {
        NAME(Pair) one = *x, two = *y;
        for (int i = 0; i <= last; i++) {
            const NAME(Port) from = i == 0 && in ? *in : NAME(array)(one, wide);
            const NAME(Port) to = i == last && out ? *out : NAME(array)(two, wide);
            NAME(prepare)(&p->pass[i], wide, scale, &from, &to, &chain->steps[i]);
            NAME(swap)(&one, &two);
        }
        chain->ready = true;
        chain->reads = in;
        chain->writes = out;
    }
    if (in) chain->steps[0].from.at = in->at;
    if (out) chain->steps[last].to.at = out->at;
    NAME(ask_along)(p, wide && in, wide && out, chain);
    for (int i = 0; i <= last; i++) NAME(pass)(&chain->steps[i]);
    if (p->npasses % 2) NAME(swap)(x, y);
}

/* Forward, as run_passes; a plan that has no passes knows neither in nor out. */
static void
NAME(transform)(const FacFftPlan *p, bool wide, NAME(Pair) * x, NAME(Pair) * y,
                const NAME(Port) * in, const NAME(Port) * out, T scale, NAME(Chain) * chain)
{
    if (!p->inner) {
        NAME(run_passes)(p, wide, x, y, in, out, scale, chain);
        return;
    }
    const int64_t n = p->n, m = p->inner->n, unit = wide ? LANES : 1;
    const size_t behind = (size_t)((m - n) * unit) * sizeof(T);
    NAME(turn_all)(n, wide, *x, *y, p->chirp, n);
    memset(y->re + n * unit, 0, behind);
    memset(y->re + y->part + n * unit, 0, behind);
    chain->ready = false;
    NAME(transform)(p->inner, wide, y, x, NULL, NULL, 1, chain);
    NAME(turn_all)(m, wide, *y, *x, p->spectrum, m);
    *x = NAME(exchanged)(*x);
    *y = NAME(exchanged)(*y);
    chain->ready = false;
    NAME(transform)(p->inner, wide, x, y, NULL, NULL, 1, chain);
    *x = NAME(exchanged)(*x);
    *y = NAME(exchanged)(*y);
    NAME(turn_all)(n, wide, *x, *y, p->chirp, n);
    NAME(swap)(x, y);
}

static inline NAME(Cx) NAME(fetch)(const NAME(Port) * p, int64_t k)
{
    const T *at = p->at + k * p->next;
    return p->mixed ? NAME(parts)(at) : (NAME(Cx)){NAME(load)(at), NAME(load)(at + p->part)};
}

static inline void
NAME(put)(const NAME(Port) * p, int64_t k, NAME(Cx) x)
{
    T *at = p->at + k * p->next;
    if (p->mixed) {
        NAME(put_parts)(at, x);
        return;
    }
    NAME(store)(at, x.re);
    NAME(store)(at + p->part, x.im);
}

/* Between the transform Z of m pairs of real numbers and their transform X of 2 m, of which 0 to m are
 * asked for: with E and D the halves of Z[k] +- conj(Z[m - k]), X[k] = E - i w^k D; Z[m] is Z[0].
 * Backwards (where the halves are left to the scale) Z[k] = E + i w^-k D; X[0] and X[m] count as real. The
 * m - k-th are the conjugates with the other sign. For k from begin to end, or to the next whole vector. */
static void
NAME(halves_part)(const FacFftPlan *p, bool wide, bool back, const NAME(Port) * from,
                  const NAME(Port) * to, T scale, int64_t begin, int64_t end)
{
    const int64_t m = p->n, behind = wide ? 0 : LANES - 1;
    const T *const turns = p->halves, half = back ? 1 : (T)0.5 * scale;
    for (int64_t k = begin; k < end; k += wide ? 1 : LANES) {
        const int64_t other = m - k - behind;
        NAME(Cx) a = NAME(fetch)(from, k), b = NAME(fetch)(from, other);
        if (!wide) b = (NAME(Cx)){NAME(reversed)(b.re), NAME(reversed)(b.im)};
        for (int l = 0; k == 0 && l < (wide ? LANES : 1); l++) {
            if (back)
                a.im[l] = b.im[l] = 0;
            else
                b.re[l] = a.re[l], b.im[l] = a.im[l];
        }
        b.im = -b.im;
        NAME(Cx) e = NAME(add)(a, b), d = NAME(sub)(a, b);
        e = (NAME(Cx)){e.re * half, e.im * half};
        d = (NAME(Cx)){d.re * half, d.im * half};
        const NAME(vec) re = wide ? NAME(splat)(turns[k]) : NAME(load)(turns + k);
        const NAME(vec) im =
            wide ? NAME(splat)(turns[p->half + k]) : NAME(load)(turns + p->half + k);
        d = NAME(right)(NAME(mul)(d, re, back ? -im : im));
        a = back ? NAME(sub)(e, d) : NAME(add)(e, d);
        b = back ? NAME(add)(e, d) : NAME(sub)(e, d);
        b.im = -b.im;
        if (!wide) b = (NAME(Cx)){NAME(reversed)(b.re), NAME(reversed)(b.im)};
        NAME(put)(to, k, a);
        NAME(put)(to, other, b);
    }
}

static void
NAME(halves)(const FacFftPlan *p, bool wide, bool back, const NAME(Port) * from,
             const NAME(Port) * to, T scale)
{
    NAME(halves_part)(p, wide, back, from, to, scale, 0, p->n / 2 + 1);
}

/* The numbers from `have` to n - 1 are the conjugates of those at the other end. */
static void
NAME(mirror)(int64_t have, int64_t n, int64_t unit, NAME(Pair) x)
{
    for (int64_t k = have; k < n; k++)
        for (int64_t l = 0; l < unit; l++) {
            x.re[k * unit + l] = x.re[(n - k) * unit + l];
            x.re[x.part + k * unit + l] = -x.re[x.part + (n - k) * unit + l];
        }
}

/* --- from memory and to it -------------------------------------------------------------------- */

/* Where the lanes of a block are. Number k of a line is at k * step, its imaginary part, unless it is
 * `real`, `part` behind. `even`: there are as many as a vector has, `stride` apart, and `at` has the
 * first one alone; `close`: they lie side by side. */
typedef struct NAME(Lines) {
    T *at[LANES];
    int count;
    bool even, close, real;
    int64_t step, part, stride;
} NAME(Lines);

static inline T *
NAME(lane)(const NAME(Lines) * b, int l)
{
    return b->even ? b->at[0] + l * b->stride : b->at[l];
}

static void
NAME(load_row)(const NAME(Lines) * b, int64_t n, NAME(Pair) to)
{
    const T *const at = b->at[0];
    if (b->step != 2 || b->part != 1 || n < LANES) {
        for (int64_t k = 0; k < n; k++) {
            to.re[k] = at[k * b->step];
            to.re[to.part + k] = b->real ? 0 : at[k * b->step + b->part];
        }
        return;
    }
    for (int64_t k = 0; k < n; k += LANES) {
        if (k > n - LANES) k = n - LANES;
        const NAME(Cx) x = NAME(parts)(at + 2 * k);
        NAME(store)(to.re + k, x.re);
        NAME(store)(to.re + to.part + k, x.im);
    }
}

static void
NAME(store_row)(const NAME(Lines) * b, int64_t n, NAME(Pair) from, T scale)
{
    T *const at = b->at[0];
    if (b->step != 2 || b->part != 1 || n < LANES) {
        for (int64_t k = 0; k < n; k++) {
            at[k * b->step] = from.re[k] * scale;
            if (!b->real) at[k * b->step + b->part] = from.re[from.part + k] * scale;
        }
        return;
    }
    for (int64_t k = 0; k < n; k += LANES) {
        if (k > n - LANES) k = n - LANES;
        NAME(put_parts)(at + 2 * k, (NAME(Cx)){NAME(load)(from.re + k) * scale,
                                               NAME(load)(from.re + from.part + k) * scale});
    }
}

/* Lanes beyond the count are copies of the last one. */
static void
NAME(load_lanes)(const NAME(Lines) * b, int64_t n, NAME(Pair) to)
{
    const int64_t step = b->step, part = b->part;
    if (b->close) {
        for (int64_t k = 0; k < n; k++) {
            const T *at = b->at[0] + k * step;
            NAME(Cx) x = {NAME(load)(at), {0}};
            if (part == 1)
                x = NAME(parts)(at);
            else if (!b->real)
                x.im = NAME(load)(at + part);
            NAME(store)(to.re + k * LANES, x.re);
            NAME(store)(to.re + to.part + k * LANES, x.im);
        }
#ifdef FFT_TURNS
    } else if (b->even && step == 2 && part == 1 && n % 4 == 0) {
        NAME(rows_to_lanes)(b->at[0], b->stride, n, to.re, to.re + to.part);
#endif
    } else if (step == 2 && part == 1 && n >= LANES / 2) {
        for (int64_t k = 0; k < n; k += LANES / 2) {
            NAME(vec) r[LANES]; /* of each line; then real and imaginary parts in turn */
            if (k > n - LANES / 2) k = n - LANES / 2;
            for (int l = 0; l < LANES; l++) r[l] = NAME(load)(NAME(lane)(b, l) + 2 * k);
            NAME(transpose)(r);
            for (int l = 0; l < LANES / 2; l++) {
                NAME(store)(to.re + (k + l) * LANES, r[2 * l]);
                NAME(store)(to.re + to.part + (k + l) * LANES, r[2 * l + 1]);
            }
        }
    } else {
        for (int64_t k = 0; k < n; k++)
            for (int l = 0; l < LANES; l++) {
                const T *at = NAME(lane)(b, l) + k * step;
                to.re[k * LANES + l] = at[0];
                to.re[to.part + k * LANES + l] = b->real ? 0 : at[part];
            }
    }
}

static void
NAME(store_lanes)(const NAME(Lines) * b, int64_t n, NAME(Pair) from, T scale)
{
    const int64_t step = b->step, part = b->part;
    if (b->close) {
        for (int64_t k = 0; k < n; k++) {
            T *at = b->at[0] + k * step;
            const NAME(Cx) x = {NAME(load)(from.re + k * LANES) * scale,
                                NAME(load)(from.re + from.part + k * LANES) * scale};
            if (part == 1) {
                NAME(put_parts)(at, x);
                continue;
            }
            NAME(store)(at, x.re);
            if (!b->real) NAME(store)(at + part, x.im);
        }
#ifdef FFT_TURNS
    } else if (b->even && step == 2 && part == 1 && n % 4 == 0) {
        NAME(lanes_to_rows)(from.re, from.re + from.part, scale, n, b->at[0], b->stride);
#endif
    } else if (step == 2 && part == 1 && n >= LANES / 2 && b->count == LANES) {
        for (int64_t k = 0; k < n; k += LANES / 2) {
            NAME(vec) r[LANES];
            if (k > n - LANES / 2) k = n - LANES / 2;
            for (int l = 0; l < LANES / 2; l++) {
                r[2 * l] = NAME(load)(from.re + (k + l) * LANES) * scale;
                r[2 * l + 1] = NAME(load)(from.re + from.part + (k + l) * LANES) * scale;
            }
            NAME(transpose)(r);
            for (int l = 0; l < LANES; l++) NAME(store)(NAME(lane)(b, l) + 2 * k, r[l]);
        }
    } else {
        for (int64_t k = 0; k < n; k++)
            for (int l = 0; l < b->count; l++) {
                T *at = NAME(lane)(b, l) + k * step;
                at[0] = from.re[k * LANES + l] * scale;
                if (!b->real) at[part] = from.re[from.part + k * LANES + l] * scale;
            }
    }
}

/* --- lines of a tensor ------------------------------------------------------------------------ */

/* Whether passes can read or write memory itself, and how. */
static bool
NAME(reach)(const NAME(Lines) * b, bool wide, bool turned, NAME(Port) * port)
{
    *port = (NAME(Port)){.at = b->at[0], .part = b->part, .next = b->step, .mixed = b->part == 1};
    port->turned = turned;
    if (b->real) return false;
    return wide ? b->close : b->part == 1 && b->step == 2;
}

static void
NAME(load_block)(const NAME(Lines) * b, bool wide, int64_t n, NAME(Pair) to)
{
    if (wide)
        NAME(load_lanes)(b, n, to);
    else
        NAME(load_row)(b, n, to);
}

static void
NAME(store_block)(const NAME(Lines) * b, bool wide, int64_t n, NAME(Pair) from, T scale)
{
    if (wide)
        NAME(store_lanes)(b, n, from, scale);
    else
        NAME(store_row)(b, n, from, scale);
}

/* Forward or back, of what is in *x or in memory, to *x or memory. */
static void
NAME(convert)(const Job *j, NAME(Pair) * x, NAME(Pair) * y, const NAME(Port) * in,
              const NAME(Port) * out, NAME(Chain) * chain)
{
    if (j->inverse) {
        *x = NAME(exchanged)(*x);
        *y = NAME(exchanged)(*y);
    }
    NAME(transform)(j->plan, j->wide, x, y, in, out, (T)j->scale, chain);
    if (j->inverse) {
        *x = NAME(exchanged)(*x);
        *y = NAME(exchanged)(*y);
    }
}

/* Columns of a long transform from `first` on, turned, to rows of numbers side by side. */
static void
NAME(store_turned)(const Job *j, int64_t first, NAME(Pair) from, T *to)
{
    const T *near = j->matrix->near;
    const T *far = (const T *)j->matrix->far + first / LANES * 2 * j->n;
    for (int64_t k = 0; k < j->n; k++, near += 2 * LANES, far += 2, to += j->to.step) {
        const NAME(Cx) turn = NAME(mul)((NAME(Cx)){NAME(load)(near), NAME(load)(near + LANES)},
                                        NAME(splat)(far[0]), NAME(splat)(far[1]));
        const T *at = from.re + k * LANES;
        NAME(Cx) x = {NAME(load)(at), NAME(load)(at + from.part)};
        if (j->inverse) x = (NAME(Cx)){x.im, x.re};
        x = NAME(mul)(x, turn.re, turn.im);
        if (j->inverse) x = (NAME(Cx)){x.im, x.re};
        NAME(put_parts)(to, x);
    }
}

static void
NAME(block_c2c)(const Job *j, const NAME(Lines) * from, const NAME(Lines) * to, NAME(Pair) x,
                NAME(Pair) y, NAME(Chain) * chain)
{
    NAME(Port) in, out;
    const bool reads = NAME(reach)(from, j->wide, j->inverse, &in) && j->plan->npasses;
    const bool writes =
        NAME(reach)(to, j->wide, j->inverse, &out) && j->plan->npasses && !j->matrix;
    if (!reads) NAME(load_block)(from, j->wide, j->n, x);
    NAME(convert)(j, &x, &y, reads ? &in : NULL, writes ? &out : NULL, chain);
    if (j->matrix)
        NAME(store_turned)(j, (to->at[0] - (T *)j->to.data) / 2, x, to->at[0]);
    else if (!writes)
        NAME(store_block)(to, j->wide, j->n, x, (T)j->scale);
}

static void
NAME(block_r2c)(const Job *j, const NAME(Lines) * from, const NAME(Lines) * to, NAME(Pair) x,
                NAME(Pair) y, NAME(Chain) * chain)
{
    NAME(Port) in, out;
    const bool reads = NAME(reach)(from, j->wide, false, &in) && j->plan->npasses;
    const bool writes = NAME(reach)(to, j->wide, false, &out) && j->stores < j->n;
    T scale = (T)j->scale;
    if (!reads) NAME(load_block)(from, j->wide, j->loads, x);
    NAME(convert)(j, &x, &y, reads ? &in : NULL, NULL, chain);
    if (j->halves) {
        const NAME(Port) array = NAME(array)(x, j->wide), other = NAME(array)(y, j->wide);
        NAME(halves)(j->plan, j->wide, false, &array, writes ? &out : &other, scale);
        if (writes) return;
        NAME(swap)(&x, &y);
        scale = 1;
    }
    if (j->stores == j->n) NAME(mirror)(j->n / 2 + 1, j->n, j->wide ? LANES : 1, x);
    NAME(store_block)(to, j->wide, j->stores, x, scale);
}

static void
NAME(block_c2r)(const Job *j, const NAME(Lines) * from, const NAME(Lines) * to, NAME(Pair) x,
                NAME(Pair) y, NAME(Chain) * chain)
{
    NAME(Port) in, out;
    const bool reads = NAME(reach)(from, j->wide, false, &in) && j->halves;
    const bool writes = NAME(reach)(to, j->wide, true, &out) && out.mixed && j->plan->npasses;
    if (!reads) NAME(load_block)(from, j->wide, j->loads, x);
    if (j->halves) {
        const NAME(Port) array = NAME(array)(x, j->wide), other = NAME(array)(y, j->wide);
        NAME(halves)(j->plan, j->wide, true, reads ? &in : &array, &other, 1);
        NAME(swap)(&x, &y);
    } else {
        memset(x.re + x.part, 0, (j->wide ? LANES : 1) * sizeof(T));
        NAME(mirror)(j->loads, j->n, j->wide ? LANES : 1, x);
    }
    NAME(convert)(j, &x, &y, NULL, writes ? &out : NULL, chain);
    if (!writes) NAME(store_block)(to, j->wide, j->stores, x, (T)j->scale);
}

/* How to ask for a block of lines side by side: a run of memory, or pieces. One line alone is better left to
 * the processor, which foresees it: a line of 4096 takes a tenth longer when it is asked for. */
static inline NAME(Ask) NAME(ask_for)(const NAME(Lines) * b, int64_t n)
{
    if (b->close) return (NAME(Ask)){b->at[0], b->step, 0};
    const bool run = b->even && b->step <= 2 && b->stride <= 2 * n + 2;
    return (NAME(Ask)){run ? b->at[0] : NULL, 2 * LANES, 0};
}

/* Where the lines of a block are; lanes beyond the count are copies of the last one. */
static __attribute__((noinline)) void
NAME(place)(const Job *j, int64_t block, NAME(Lines) * from, NAME(Lines) * to)
{
    int64_t first;
    const int count = block_lines(j, block, LANES, &first), lanes = j->wide ? LANES : 1;
    const int64_t inner = j->ndim ? j->sizes[0] : 1;
    const int64_t left = inner - (j->ndim > 1 ? first % inner : first);
    const int64_t from_step = j->ndim ? j->from.strides[0] : 0;
    const int64_t to_step = j->ndim ? j->to.strides[0] : 0;
    int64_t at[2];
    line_at(j, first, at);
    from->step = j->from.step;
    from->part = j->from.part;
    from->real = j->from.real;
    to->step = j->to.step;
    to->part = j->to.part;
    to->real = j->to.real;
    from->count = to->count = count;
    from->even = to->even = count == LANES && left >= LANES;
    from->stride = from_step;
    to->stride = to_step;
    from->close = from->even && from_step == (from->part == 1 ? 2 : 1);
    to->close = to->even && to_step == (to->part == 1 ? 2 : 1);
    from->at[0] = (T *)j->from.data + at[0];
    to->at[0] = (T *)j->to.data + at[1];
    if (from->even) return;
    for (int l = 1; l < lanes; l++) {
        if (l < count && l >= left) {
            line_at(j, first + l, at);
        } else if (l < count) {
            at[0] += from_step;
            at[1] += to_step;
        }
        from->at[l] = (T *)j->from.data + at[0];
        to->at[l] = (T *)j->to.data + at[1];
    }
}

static void
NAME(blocks)(int64_t begin, int64_t end, void *context)
{
    Job *j = context;
    const size_t bytes = (size_t)(4 * j->room) * sizeof(T);
    void *room;
    if (fac_host_alloc(bytes, &room) != FAC_OK) {
        j->failed = true;
        return;
    }
    NAME(Chain) chain;
    NAME(Lines) from[2], to[2]; /* of every other block */
    const NAME(Pair) x = {room, j->room}, y = {(T *)room + 2 * j->room, j->room};
    chain.ready = false;
    NAME(place)(j, begin, &from[begin % 2], &to[begin % 2]);
    for (; begin < end; begin++) {
        const NAME(Lines) *reads = &from[begin % 2], *writes = &to[begin % 2];
        const int next = (int)((begin + 1) % 2);
        if (begin + 1 < end) NAME(place)(j, begin + 1, &from[next], &to[next]);
        chain.output = NAME(ask_for)(writes, j->n);
        chain.input = NAME(ask_for)(begin + 1 < end ? &from[next] : reads, j->n);
        switch (j->kind) {
        case C2C: NAME(block_c2c)(j, reads, writes, x, y, &chain); break;
        case R2C: NAME(block_r2c)(j, reads, writes, x, y, &chain); break;
        case C2R: NAME(block_c2r)(j, reads, writes, x, y, &chain); break;
        }
    }
    fac_host_free(room, bytes);
}

/* --- long transforms -------------------------------------------------------------------------- */

/* The first numbers of a line, as many as there are, as complex ones; the rest up to n are their conjugates from
 * the other end. A line of real numbers has no imaginary parts. */
static void
NAME(gather)(const Side *side, int64_t have, int64_t n, void *memory)
{
    const T *from = (const T *)side->data;
    T *to = memory;
    for (int64_t k = 0; k < have; k++) {
        to[2 * k] = from[k * side->step];
        to[2 * k + 1] = from[k * side->step + side->part];
    }
    for (int64_t k = have; k < n; k++) {
        to[2 * k] = to[2 * (n - k)];
        to[2 * k + 1] = -to[2 * (n - k) + 1];
    }
    if (have < n) to[1] = 0;
}

static void
NAME(scatter)(const void *memory, int64_t have, int64_t n, const Side *side)
{
    const T *from = memory;
    T *to = (T *)side->data;
    for (int64_t k = 0; k < n; k++, to += side->step) {
        to[0] = from[2 * (k < have ? k : n - k)];
        to[side->part] = k < have ? from[2 * k + 1] : -from[2 * (n - k) + 1];
    }
}

static __attribute__((noinline)) void
NAME(long_halves)(int64_t begin, int64_t end, void *context)
{
    const Halves *h = context;
    const NAME(Port) from = {.at = h->from, .next = 2, .mixed = true};
    const NAME(Port) to = {.at = h->to, .next = 2, .mixed = true};
    const int64_t last = h->plan->n / 2 + 1;
    NAME(halves_part)(h->plan, false, h->back, &from, &to, (T)h->scale, begin * HALVES_CHUNK,
                      end == h->chunks ? last : end * HALVES_CHUNK);
}
