/* index_sums.h - lanes that combine elements; included by index.c once a dtype.
 *
 * T is the type in memory, C the one of the arithmetic, LOAD and STORE convert, ADD, MUL, MAX, MIN
 * and DIV combine two values of type C, SUFFIX is the name of the dtype. Order in a lane is the
 * order of the index, so that sums are the same at every run. TWIN is an integer of the same width, if
 * there is one already: sums and products have the same bits. Without MAX and MIN there are none.
 */
#define NAME(name) FAC_JOIN(name, , SUFFIX)
#ifdef TWIN
#define SUM(name) FAC_JOIN(name, , TWIN)
#else
#define SUM NAME
#endif
#define LANE_COMBINES(name, COMBINE)                                                               \
    static void NAME(name)(const Lane *l, char *self, const int64_t *off, char *other)             \
    {                                                                                              \
        const int64_t scale = l->scale;                                                            \
        if (l->nj == 1 && l->off_i == 1 && l->other_i == sizeof(T)) {                              \
            for (int64_t i = 0, n = l->ni; i < n; i++) {                                           \
                T *to = (T *)(self + off[i] * scale);                                              \
                C a = LOAD(*to), b = LOAD(((const T *)other)[i]);                                  \
                *to = (T)STORE(COMBINE(a, b));                                                     \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        for (int64_t i = 0; i < l->ni; i++, other += l->other_i) {                                 \
            const int64_t *at = off + i * l->off_i;                                                \
            if (l->nj == 1 || l->is_row) {                                                         \
                T *to = (T *)(self + *at * scale);                                                 \
                const T *from = (const T *)other;                                                  \
                for (int64_t j = 0; j < l->nj; j++) {                                              \
                    C a = LOAD(to[j]), b = LOAD(from[j]);                                          \
                    to[j] = (T)STORE(COMBINE(a, b));                                               \
                }                                                                                  \
                continue;                                                                          \
            }                                                                                      \
            for (int64_t j = 0; j < l->nj; j++) {                                                  \
                T *to = (T *)(self + at[j * l->off_j] * scale + j * l->self_j);                    \
                C a = LOAD(*to), b = LOAD(*(const T *)(other + j * l->other_j));                   \
                *to = (T)STORE(COMBINE(a, b));                                                     \
            }                                                                                      \
        }                                                                                          \
    }
#ifdef MAX
LANE_COMBINES(max, MAX)
LANE_COMBINES(min, MIN)
#endif

#ifndef TWIN
LANE_COMBINES(add, ADD)
LANE_COMBINES(mul, MUL)

/* n contiguous elements times one number. */
static void
NAME(scale)(char *at, int64_t n, const void *factor)
{
    T *to = (T *)at;
    C b = LOAD(*(const T *)factor);
    for (int64_t i = 0; i < n; i++) {
        C a = LOAD(to[i]);
        to[i] = (T)STORE(MUL(a, b));
    }
}
#endif

/* n contiguous elements, each divided by its count. */
static void
NAME(divide)(char *at, int64_t n, const int64_t *counts)
{
    T *to = (T *)at;
    for (int64_t i = 0; i < n; i++) {
        C a = LOAD(to[i]);
        int64_t b = counts[i] > 0 ? counts[i] : 1;
        to[i] = (T)STORE(DIV(a, b));
    }
}

static const Sums NAME(sums) = {.add = SUM(add),
                                .mul = SUM(mul),
#ifdef MAX
                                .max = NAME(max),
                                .min = NAME(min),
#endif
                                .scale = SUM(scale),
                                .divide = NAME(divide)};

#undef LANE_COMBINES
#undef NAME
#undef SUM
#undef T
#undef C
#undef SUFFIX
#undef TWIN
