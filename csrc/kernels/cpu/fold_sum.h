/* fold_sum.h - the row and cols of a sum of TERM(x) over elements of type T, accumulated in ACC.
 *
 * Included once a sum, with T, ACC, TERM, TERM_TYPE and NAME(part) defined, and ADD where a term is
 * added otherwise than by a sum; undefines them. A run is summed in
 * blocks of 4096 by lanes of the TERM's own type, four AVX-512 vectors of them, which are added in
 * ACC: rounding errors grow with the length of a lane (64 or 128), not of the run. Short rows that lie
 * end to end are added several at a time.
 */

#ifndef ADD
#define ADD(sum, x) ((sum) + TERM(x))
#endif

static ACC
NAME(block)(const T *x, int64_t n)
{
    enum { LANES = 256 / sizeof(TERM_TYPE) };
    TERM_TYPE lane[LANES] = {0};
    ACC sum[LANES];
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lane[j] = ADD(lane[j], x[i + j]);
    for (int j = 0; j < LANES; j++) sum[j] = (ACC)lane[j];
#pragma GCC unroll 8
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int j = 0; j < width; j++) sum[j] += sum[j + width];
    for (; i < n; i++) sum[0] += (ACC)TERM(x[i]);
    return sum[0];
}

static void
NAME(row)(void *acc, int64_t lanes, int64_t at, const void *from, int64_t n, int64_t first)
{
    enum { BLOCK = 4096 };
    const T *x = (const T *)from;
    ACC sum = ((ACC *)acc)[at];
    (void)lanes;
    (void)first;
    for (int64_t i = 0; i < n; i += BLOCK) sum += NAME(block)(x + i, n - i < BLOCK ? n - i : BLOCK);
    ((ACC *)acc)[at] = sum;
}

static void
NAME(cols)(void *acc, int64_t lanes, const void *from, int64_t row_bytes, int64_t rows,
           int64_t first)
{
    enum { WIDE = 128 };
    ACC *restrict sum = (ACC *)acc;
    const char *at = (const char *)from;
    const int64_t group = WIDE / lanes, width = group * lanes;
    (void)first;
    if (row_bytes == lanes * (int64_t)sizeof(T) && group >= 4 && rows >= 4 * group) {
        ACC wide[WIDE] = {0};
        for (; rows >= group; rows -= group, at += group * row_bytes) {
            const T *x = (const T *)at;
            for (int64_t j = 0; j < width; j++) wide[j] += (ACC)TERM(x[j]);
        }
        for (int64_t g = 0; g < width; g += lanes)
            for (int64_t j = 0; j < lanes; j++) sum[j] += wide[g + j];
    }
    for (; rows >= 4; rows -= 4, at += 4 * row_bytes) {
        const T *a = (const T *)at, *b = (const T *)(at + row_bytes);
        const T *c = (const T *)(at + 2 * row_bytes), *d = (const T *)(at + 3 * row_bytes);
        for (int64_t j = 0; j < lanes; j++)
            sum[j] += (ACC)((TERM(a[j]) + TERM(b[j])) + (TERM(c[j]) + TERM(d[j])));
    }
    for (; rows > 0; rows--, at += row_bytes) {
        const T *a = (const T *)at;
        for (int64_t j = 0; j < lanes; j++) sum[j] += (ACC)TERM(a[j]);
    }
}

#undef T
#undef ACC
#undef TERM
#undef ADD
#undef TERM_TYPE
#undef NAME
