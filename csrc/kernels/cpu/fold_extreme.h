/* fold_extreme.h - the largest and smallest elements of type T, with and without their positions.
 *
 * Included once a dtype with T, SUFFIX, LOWEST, HIGHEST and IS_NAN defined. NaN beats everything;
 * of equal elements the first one keeps its position. Accumulators of arg folds are the positions
 * of all lanes (-1: nothing seen yet), then their values. Every function takes the sense of the
 * comparison as a constant and is inlined into the two folds of that sense.
 */
#define NAME_(a, b) a##_##b
#define NAME2(a, b) NAME_(a, b)
#define NAME(a) NAME2(a, SUFFIX)

static inline bool
NAME(beats)(T a, T b, bool largest)
{
    return (largest ? a > b : a < b) | (IS_NAN(a) & !IS_NAN(b));
}

static inline T
NAME(best)(T a, T b, bool largest)
{
    return (largest ? b > a : b < a) | IS_NAN(b) ? b : a;
}

#ifdef TIMES_0
/* Of a run without NaN. What a sum of the elements times 0 comes to, goes to *zero: NaN if there is a
 * NaN or an infinity, which costs less to find out than to compare each element with itself. */
static inline __attribute__((always_inline)) T
NAME(run_plain)(const T *x, int64_t n, T best, bool largest, T *zero)
{
    enum { LANES = 256 / sizeof(T) };
    T lane[LANES], zeros[LANES] = {0};
    for (int j = 0; j < LANES; j++) lane[j] = best;
    for (int64_t i = 0; i < n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            T a = x[i + j];
            lane[j] = (largest ? a > lane[j] : a < lane[j]) ? a : lane[j];
            zeros[j] = TIMES_0(a, zeros[j]);
        }
#pragma GCC unroll 8
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++) {
            T a = lane[j + width];
            lane[j] = (largest ? a > lane[j] : a < lane[j]) ? a : lane[j];
            zeros[j] += zeros[j + width];
        }
    *zero = zeros[0];
    return lane[0];
}
#endif

static inline T
NAME(run_best)(const T *x, int64_t n, T best, bool largest)
{
    enum { LANES = 256 / sizeof(T) };
    T lane[LANES];
    int64_t i = 0;
#ifdef TIMES_0
    T zero, found = NAME(run_plain)(x, n / LANES * LANES, best, largest, &zero);
    if (zero == 0) {
        for (i = n / LANES * LANES; i < n; i++) found = NAME(best)(found, x[i], largest);
        return found;
    }
#endif
    for (int j = 0; j < LANES; j++) lane[j] = best;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lane[j] = NAME(best)(lane[j], x[i + j], largest);
#pragma GCC unroll 8
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++) lane[j] = NAME(best)(lane[j], lane[j + width], largest);
    best = lane[0];
    for (; i < n; i++) best = NAME(best)(best, x[i], largest);
    return best;
}

/* Functions of their own, for each of which there are several callers. */
static __attribute__((noinline)) T
NAME(run_max)(const T *x, int64_t n, T best)
{
    return NAME(run_best)(x, n, best, true);
}

static __attribute__((noinline)) T
NAME(run_min)(const T *x, int64_t n, T best)
{
    return NAME(run_best)(x, n, best, false);
}

static inline void
NAME(columns_best)(T *restrict best, const char *at, int64_t row_bytes, int64_t rows, int64_t lanes,
                   bool largest)
{
    for (; rows > 0; rows--, at += row_bytes)
        for (int64_t j = 0; j < lanes; j++)
            best[j] = NAME(best)(best[j], ((const T *)at)[j], largest);
}

/* Where the first element stands that is `best` (or NaN, if that is); there is one. */
static __attribute__((noinline)) int64_t
NAME(place_of)(const T *x, int64_t n, T best)
{
    enum { LANES = 128 / sizeof(T) };
    int64_t k = 0;
    if (IS_NAN(best)) {
        while (!IS_NAN(x[k])) k++;
        return k;
    }
    for (; k + LANES <= n; k += LANES) {
        int found = 0;
        for (int j = 0; j < LANES; j++) found |= x[k + j] == best;
        if (found) break;
    }
    while (x[k] != best) k++;
    return k;
}

/* Chunk by chunk: the best value of a chunk is found by vectors, its place only if it wins. */
static inline void
NAME(run_arg)(T *value, int64_t *index, const T *x, int64_t n, int64_t first, bool largest)
{
    enum { CHUNK = 1024 };
    for (int64_t i = 0; i < n; i += CHUNK) {
        const int64_t m = n - i < CHUNK ? n - i : CHUNK;
        T best = largest ? NAME(run_max)(x + i, m, x[i]) : NAME(run_min)(x + i, m, x[i]);
        if (*index >= 0 && !NAME(beats)(best, *value, largest)) continue;
        *value = best;
        *index = first + i + NAME(place_of)(x + i, m, best);
    }
}

static inline void
NAME(columns_arg)(T *restrict value, int64_t *restrict index, const char *at, int64_t row_bytes,
                  int64_t rows, int64_t lanes, int64_t first, bool largest)
{
    for (; rows > 0; rows--, at += row_bytes, first++)
        for (int64_t j = 0; j < lanes; j++) {
            T x = ((const T *)at)[j];
            bool better = (index[j] < 0) | NAME(beats)(x, value[j], largest);
            value[j] = better ? x : value[j];
            index[j] = better ? first : index[j];
        }
}

static void
NAME(extreme_finish)(const void *acc, int64_t lanes, void *const *out, const FoldArgs *args)
{
    (void)args;
    memcpy(out[0], acc, (size_t)lanes * sizeof(T));
}

static void
NAME(arg_finish)(const void *acc, int64_t lanes, void *const *out, const FoldArgs *args)
{
    (void)args;
    memcpy(out[0], (const int64_t *)acc + lanes, (size_t)lanes * sizeof(T));
    memcpy(out[1], acc, (size_t)lanes * sizeof(int64_t));
}

static void
NAME(arg_init)(void *acc, int64_t lanes)
{
    int64_t *index = (int64_t *)acc;
    T *value = (T *)(index + lanes);
    for (int64_t j = 0; j < lanes; j++) {
        index[j] = -1;
        value[j] = 0;
    }
}

/* The eight functions that depend on the sense. */
#define EXTREME(sense, largest, identity)                                                          \
    static void NAME(sense##_init)(void *acc, int64_t lanes)                                       \
    {                                                                                              \
        for (int64_t j = 0; j < lanes; j++) ((T *)acc)[j] = identity;                              \
    }                                                                                              \
    static void NAME(sense##_row)(void *acc, int64_t lanes, int64_t lane, const void *x,           \
                                  int64_t n, int64_t first)                                        \
    {                                                                                              \
        T *best = (T *)acc + lane;                                                                 \
        (void)lanes;                                                                               \
        (void)first;                                                                               \
        *best = NAME(run_##sense)((const T *)x, n, *best);                                         \
    }                                                                                              \
    static void NAME(sense##_cols)(void *acc, int64_t lanes, const void *x, int64_t row_bytes,     \
                                   int64_t rows, int64_t first)                                    \
    {                                                                                              \
        (void)first;                                                                               \
        NAME(columns_best)((T *)acc, (const char *)x, row_bytes, rows, lanes, largest);            \
    }                                                                                              \
    static void NAME(sense##_join)(void *acc, const void *later, int64_t lanes)                    \
    {                                                                                              \
        NAME(sense##_cols)(acc, lanes, later, 0, 1, 0);                                            \
    }                                                                                              \
    static void NAME(arg##sense##_row)(void *acc, int64_t lanes, int64_t lane, const void *x,      \
                                       int64_t n, int64_t first)                                   \
    {                                                                                              \
        int64_t *index = (int64_t *)acc;                                                           \
        T *value = (T *)(index + lanes);                                                           \
        NAME(run_arg)(value + lane, index + lane, (const T *)x, n, first, largest);                \
    }                                                                                              \
    static void NAME(arg##sense##_cols)(void *acc, int64_t lanes, const void *x,                   \
                                        int64_t row_bytes, int64_t rows, int64_t first)            \
    {                                                                                              \
        int64_t *index = (int64_t *)acc;                                                           \
        NAME(columns_arg)((T *)(index + lanes), index, (const char *)x, row_bytes, rows, lanes,    \
                          first, largest);                                                         \
    }                                                                                              \
    static void NAME(arg##sense##_join)(void *acc, const void *later, int64_t lanes)               \
    {                                                                                              \
        int64_t *index = (int64_t *)acc;                                                           \
        const int64_t *from = (const int64_t *)later;                                              \
        T *value = (T *)(index + lanes);                                                           \
        const T *with = (const T *)(from + lanes);                                                 \
        for (int64_t j = 0; j < lanes; j++)                                                        \
            if (from[j] >= 0 && (index[j] < 0 || NAME(beats)(with[j], value[j], largest))) {       \
                value[j] = with[j];                                                                \
                index[j] = from[j];                                                                \
            }                                                                                      \
    }

EXTREME(max, true, LOWEST)
EXTREME(min, false, HIGHEST)

#undef EXTREME
#undef NAME
#undef NAME2
#undef NAME_
#undef T
#undef SUFFIX
#undef LOWEST
#undef HIGHEST
#undef IS_NAN
#undef TIMES_0
