/* cast.c - conversions between dtypes, contiguous to contiguous: all pairs.
 *
 * The thirteen dtypes that arithmetic is done in convert to each other directly, by one plain loop
 * a pair that the compiler vectorizes; pairs that give the same bits share one (fill_twins). The rest
 * (float16, bfloat16, complex32 and the float8 forms) have loops from and to float32 or complex64, and
 * reach every other dtype by a hop through a block of those in L1.
 *
 * Out of range: floats go to int32 and smaller through int32, to wider integers through int64, as
 * the processor's truncating conversions do (0x80..0 for what does not fit), so that uint8 of -1.5
 * is 255. To bool: whether the element differs from zero. Complex to real drops the imaginary part.
 */
#include "kernels/cpu/kernel.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

typedef struct Pair32 {
    float re, im;
} Pair32;
typedef struct Pair64 {
    double re, im;
} Pair64;

/* --- one element ------------------------------------------------------------------------------ */

#define TO_INT32(x) ((int32_t)(x))
#define TO_INT64(x) ((int64_t)(x))

static inline uint64_t
to_u64(double x)
{
    const double half = 9223372036854775808.0;
    return x >= half ? (uint64_t)TO_INT64(x - half) ^ (UINT64_C(1) << 63) : (uint64_t)TO_INT64(x);
}

/* CVT_<to>_<kind of source>(x): kinds are I (integers), F (floats). */
#define CVT_BOOL_I(x) ((x) != 0)
#define CVT_BOOL_F(x) ((x) != 0)
#define CVT_I8_I(x) ((int8_t)(x))
#define CVT_I8_F(x) ((int8_t)TO_INT32(x))
#define CVT_I16_I(x) ((int16_t)(x))
#define CVT_I16_F(x) ((int16_t)TO_INT32(x))
#define CVT_U32_F(x) ((uint32_t)TO_INT64(x))
#define CVT_I32_I(x) ((int32_t)(x))
#define CVT_I32_F(x) TO_INT32(x)
#define CVT_U64_F(x) to_u64((double)(x))
#define CVT_I64_I(x) ((int64_t)(x))
#define CVT_I64_F(x) TO_INT64(x)
#define CVT_F32_I(x) ((float)(x))
#define CVT_F32_F(x) ((float)(x))
#define CVT_F64_I(x) ((double)(x))
#define CVT_F64_F(x) ((double)(x))
#define CVT_C64_I(x) ((Pair32){(float)(x), 0})
#define CVT_C64_F(x) ((Pair32){(float)(x), 0})
#define CVT_C128_I(x) ((Pair64){(double)(x), 0})
#define CVT_C128_F(x) ((Pair64){(double)(x), 0})

/* --- direct loops ----------------------------------------------------------------------------- */

#define LOOP(name, S, D, expr)                                                                     \
    static void name(const void *from, void *to, int64_t n)                                        \
    {                                                                                              \
        const S *restrict s = (const S *)from;                                                     \
        D *restrict d = (D *)to;                                                                   \
        for (int64_t i = 0; i < n; i++) d[i] = (expr);                                             \
    }

/* X(destination, its C type, source, its C type, kind of source) for every destination that is no twin */
#define EACH_DESTINATION(X, SRC, S, K)                                                             \
    X(BOOL, uint8_t, SRC, S, K)                                                                    \
    X(I8, int8_t, SRC, S, K)                                                                       \
    X(I16, int16_t, SRC, S, K)                                                                     \
    X(I32, int32_t, SRC, S, K)                                                                     \
    X(I64, int64_t, SRC, S, K)                                                                     \
    X(F32, float, SRC, S, K)                                                                       \
    X(F64, double, SRC, S, K)                                                                      \
    X(C64, Pair32, SRC, S, K)                                                                      \
    X(C128, Pair64, SRC, S, K)
#define EACH_REAL_SOURCE(M)                                                                        \
    M(U8, uint8_t, I)                                                                              \
    M(I8, int8_t, I)                                                                               \
    M(U16, uint16_t, I)                                                                            \
    M(I16, int16_t, I)                                                                             \
    M(U32, uint32_t, I)                                                                            \
    M(I32, int32_t, I)                                                                             \
    M(U64, uint64_t, I)                                                                            \
    M(I64, int64_t, I)                                                                             \
    M(F32, float, F)                                                                               \
    M(F64, double, F)

#define REAL_LOOP(DST, D, SRC, S, K) LOOP(cast_##SRC##_##DST, S, D, CVT_##DST##_##K(s[i]))
#define REAL_LOOPS(SRC, S, K) EACH_DESTINATION(REAL_LOOP, SRC, S, K)
EACH_REAL_SOURCE(REAL_LOOPS)
REAL_LOOP(U32, uint32_t, F32, float, F)
REAL_LOOP(U64, uint64_t, F32, float, F)
REAL_LOOP(U32, uint32_t, F64, double, F)
REAL_LOOP(U64, uint64_t, F64, double, F)

#define COMPLEX_LOOP(DST, D, SRC, S, K) LOOP(cast_##SRC##_##DST, S, D, CVT_##DST##_##K(s[i].re))
#define COMPLEX_LOOPS(SRC, S)                                                                      \
    COMPLEX_LOOP(I8, int8_t, SRC, S, F)                                                            \
    COMPLEX_LOOP(I16, int16_t, SRC, S, F)                                                          \
    COMPLEX_LOOP(U32, uint32_t, SRC, S, F)                                                         \
    COMPLEX_LOOP(I32, int32_t, SRC, S, F)                                                          \
    COMPLEX_LOOP(U64, uint64_t, SRC, S, F)                                                         \
    COMPLEX_LOOP(I64, int64_t, SRC, S, F)                                                          \
    COMPLEX_LOOP(F32, float, SRC, S, F)                                                            \
    COMPLEX_LOOP(F64, double, SRC, S, F)                                                           \
    LOOP(cast_##SRC##_BOOL, S, uint8_t, (s[i].re != 0) | (s[i].im != 0))                           \
    LOOP(cast_##SRC##_C64, S, Pair32, ((Pair32){(float)s[i].re, (float)s[i].im}))                  \
    LOOP(cast_##SRC##_C128, S, Pair64, ((Pair64){(double)s[i].re, (double)s[i].im}))
COMPLEX_LOOPS(C64, Pair32)
COMPLEX_LOOPS(C128, Pair64)

/* --- half precision --------------------------------------------------------------------------- */

#if defined(__F16C__)
/* Eight or sixteen at a time; the tail goes through a padded block, so that bits do not depend on position. */
static void
cast_F16_F32(const void *from, void *to, int64_t n)
{
    const uint16_t *s = (const uint16_t *)from;
    float *d = (float *)to;
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(d + i, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(s + i))));
#endif
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(d + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(s + i))));
    if (i < n) {
        uint16_t in[8] = {0};
        float out[8];
        memcpy(in, s + i, (size_t)(n - i) * 2);
        _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)in)));
        memcpy(d + i, out, (size_t)(n - i) * 4);
    }
}

static void
cast_F32_F16(const void *from, void *to, int64_t n)
{
    const float *s = (const float *)from;
    uint16_t *d = (uint16_t *)to;
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(d + i), _mm512_cvtps_ph(_mm512_loadu_ps(s + i), 0));
#endif
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(d + i), _mm256_cvtps_ph(_mm256_loadu_ps(s + i), 0));
    if (i < n) {
        float in[8] = {0};
        uint16_t out[8];
        memcpy(in, s + i, (size_t)(n - i) * 4);
        _mm_storeu_si128((__m128i *)out, _mm256_cvtps_ph(_mm256_loadu_ps(in), 0));
        memcpy(d + i, out, (size_t)(n - i) * 2);
    }
}
#else
LOOP(cast_F16_F32, uint16_t, float, fac_f16_to_f32(s[i]))
LOOP(cast_F32_F16, float, uint16_t, fac_f32_to_f16(s[i]))
#endif

LOOP(cast_BF16_F32, uint16_t, float, fac_bf16_to_f32(s[i]))
LOOP(cast_F32_BF16, float, uint16_t, fac_f32_to_bf16(s[i]))
LOOP(cast_F8_E4M3FN_F32, uint8_t, float, fac_f8_e4m3fn_to_f32(s[i]))
LOOP(cast_F32_F8_E4M3FN, float, uint8_t, fac_f32_to_f8_e4m3fn(s[i]))
LOOP(cast_F8_E5M2_F32, uint8_t, float, fac_f8_e5m2_to_f32(s[i]))
LOOP(cast_F32_F8_E5M2, float, uint8_t, fac_f32_to_f8_e5m2(s[i]))
LOOP(cast_F8_E4M3FNUZ_F32, uint8_t, float, fac_f8_e4m3fnuz_to_f32(s[i]))
LOOP(cast_F32_F8_E4M3FNUZ, float, uint8_t, fac_f32_to_f8_e4m3fnuz(s[i]))
LOOP(cast_F8_E5M2FNUZ_F32, uint8_t, float, fac_f8_e5m2fnuz_to_f32(s[i]))
LOOP(cast_F32_F8_E5M2FNUZ, float, uint8_t, fac_f32_to_f8_e5m2fnuz(s[i]))

typedef struct Pair16 {
    uint16_t re, im;
} Pair16;
LOOP(cast_C32_F32, Pair16, float, fac_f16_to_f32(s[i].re))
LOOP(cast_F32_C32, float, Pair16, ((Pair16){fac_f32_to_f16(s[i]), 0}))

static void
cast_C32_C64(const void *from, void *to, int64_t n)
{
    cast_F16_F32(from, to, 2 * n);
}

static void
cast_C64_C32(const void *from, void *to, int64_t n)
{
    cast_F32_F16(from, to, 2 * n);
}

/* --- hops ------------------------------------------------------------------------------------- */

enum { HOP = 512 };

static inline void
hop(const char *from, size_t from_size, FacCast first, FacCast second, char *to, size_t to_size,
    int64_t n)
{
    float block[2 * HOP];
    for (int64_t i = 0; i < n; i += HOP) {
        int64_t m = n - i < HOP ? n - i : HOP;
        first(from + (size_t)i * from_size, block, m);
        second(block, to + (size_t)i * to_size, m);
    }
}

#define HOP_CAST(SRC, SIZE, MID, DST, DST_SIZE)                                                    \
    static void cast_##SRC##_##DST(const void *from, void *to, int64_t n)                          \
    {                                                                                              \
        hop((const char *)from, SIZE, cast_##SRC##_##MID, cast_##MID##_##DST, (char *)to,          \
            DST_SIZE, n);                                                                          \
    }

/* HALVES(X, ...): X(enumerator, bytes, ...) for the dtypes that hop through float32. */
#define HALVES_BUT_F16(X, ...)                                                                     \
    X(BF16, 2, __VA_ARGS__)                                                                        \
    X(F8_E4M3FN, 1, __VA_ARGS__)                                                                   \
    X(F8_E5M2, 1, __VA_ARGS__)                                                                     \
    X(F8_E4M3FNUZ, 1, __VA_ARGS__)                                                                 \
    X(F8_E5M2FNUZ, 1, __VA_ARGS__)
#define HALVES(X, ...) X(F16, 2, __VA_ARGS__) HALVES_BUT_F16(X, __VA_ARGS__)

/* Between a half and every direct dtype but float32. */
#define HALF_DIRECT(HALF, SIZE, ...)                                                               \
    HOP_CAST(HALF, SIZE, F32, BOOL, 1)                                                             \
    HOP_CAST(HALF, SIZE, F32, I8, 1)                                                               \
    HOP_CAST(HALF, SIZE, F32, I16, 2)                                                              \
    HOP_CAST(HALF, SIZE, F32, U32, 4)                                                              \
    HOP_CAST(HALF, SIZE, F32, I32, 4)                                                              \
    HOP_CAST(HALF, SIZE, F32, U64, 8)                                                              \
    HOP_CAST(HALF, SIZE, F32, I64, 8)                                                              \
    HOP_CAST(HALF, SIZE, F32, F64, 8)                                                              \
    HOP_CAST(HALF, SIZE, F32, C64, 8)                                                              \
    HOP_CAST(HALF, SIZE, F32, C128, 16)                                                            \
    HOP_CAST(HALF, SIZE, F32, C32, 4)                                                              \
    HOP_CAST(C32, 4, F32, HALF, SIZE)                                                              \
    HOP_CAST(U8, 1, F32, HALF, SIZE)                                                               \
    HOP_CAST(I8, 1, F32, HALF, SIZE)                                                               \
    HOP_CAST(U16, 2, F32, HALF, SIZE)                                                              \
    HOP_CAST(I16, 2, F32, HALF, SIZE)                                                              \
    HOP_CAST(U32, 4, F32, HALF, SIZE)                                                              \
    HOP_CAST(I32, 4, F32, HALF, SIZE)                                                              \
    HOP_CAST(U64, 8, F32, HALF, SIZE)                                                              \
    HOP_CAST(I64, 8, F32, HALF, SIZE)                                                              \
    HOP_CAST(F64, 8, F32, HALF, SIZE)                                                              \
    HOP_CAST(C64, 8, F32, HALF, SIZE)                                                              \
    HOP_CAST(C128, 16, F32, HALF, SIZE)
HALVES(HALF_DIRECT, )

HOP_CAST(C32, 4, C64, BOOL, 1)
HOP_CAST(C32, 4, F32, I8, 1)
HOP_CAST(C32, 4, F32, I16, 2)
HOP_CAST(C32, 4, F32, U32, 4)
HOP_CAST(C32, 4, F32, I32, 4)
HOP_CAST(C32, 4, F32, U64, 8)
HOP_CAST(C32, 4, F32, I64, 8)
HOP_CAST(C32, 4, F32, F64, 8)
HOP_CAST(C32, 4, C64, C128, 16)
HOP_CAST(U8, 1, F32, C32, 4)
HOP_CAST(I8, 1, F32, C32, 4)
HOP_CAST(U16, 2, F32, C32, 4)
HOP_CAST(I16, 2, F32, C32, 4)
HOP_CAST(U32, 4, F32, C32, 4)
HOP_CAST(I32, 4, F32, C32, 4)
HOP_CAST(U64, 8, F32, C32, 4)
HOP_CAST(I64, 8, F32, C32, 4)
HOP_CAST(F64, 8, F32, C32, 4)
HOP_CAST(C128, 16, C64, C32, 4)

/* Between two different halves. */
#define HALF_HALF(HALF, SIZE, OTHER, OTHER_SIZE) HOP_CAST(OTHER, OTHER_SIZE, F32, HALF, SIZE)
HALVES_BUT_F16(HALF_HALF, F16, 2)
#define TO_F16(HALF, SIZE, ...) HOP_CAST(HALF, SIZE, F32, F16, 2)
HALVES_BUT_F16(TO_F16, )
#define BETWEEN(A, A_SIZE, B, B_SIZE)                                                              \
    HOP_CAST(A, A_SIZE, F32, B, B_SIZE) HOP_CAST(B, B_SIZE, F32, A, A_SIZE)
BETWEEN(BF16, 2, F8_E4M3FN, 1)
BETWEEN(BF16, 2, F8_E5M2, 1)
BETWEEN(BF16, 2, F8_E4M3FNUZ, 1)
BETWEEN(BF16, 2, F8_E5M2FNUZ, 1)
BETWEEN(F8_E4M3FN, 1, F8_E5M2, 1)
BETWEEN(F8_E4M3FN, 1, F8_E4M3FNUZ, 1)
BETWEEN(F8_E4M3FN, 1, F8_E5M2FNUZ, 1)
BETWEEN(F8_E5M2, 1, F8_E4M3FNUZ, 1)
BETWEEN(F8_E5M2, 1, F8_E5M2FNUZ, 1)
BETWEEN(F8_E4M3FNUZ, 1, F8_E5M2FNUZ, 1)

/* The same dtype on both sides: bytes. */
#define COPY_CAST(DT, name, size, kind)                                                            \
    static void copy_##DT(const void *from, void *to, int64_t n)                                   \
    {                                                                                              \
        memcpy(to, from, (size_t)n * (size));                                                      \
    }
FAC_DTYPE_LIST(COPY_CAST)

/* --- the table -------------------------------------------------------------------------------- */

#define ENTRY(A, B) casts[FAC_DT_##A][FAC_DT_##B] = cast_##A##_##B;
#define ROW_INT(A)                                                                                 \
    ENTRY(A, BOOL)                                                                                 \
    ENTRY(A, I8)                                                                                   \
    ENTRY(A, I16)                                                                                  \
    ENTRY(A, I32)                                                                                  \
    ENTRY(A, I64)                                                                                  \
    ENTRY(A, F32)                                                                                  \
    ENTRY(A, F64)                                                                                  \
    ENTRY(A, C64)                                                                                  \
    ENTRY(A, C128)
#define ROW_DIRECT(A) ROW_INT(A) ENTRY(A, U32) ENTRY(A, U64)
#define COLUMN_DIRECT(B)                                                                           \
    ENTRY(U8, B)                                                                                   \
    ENTRY(I8, B)                                                                                   \
    ENTRY(U16, B)                                                                                  \
    ENTRY(I16, B)                                                                                  \
    ENTRY(U32, B)                                                                                  \
    ENTRY(I32, B)                                                                                  \
    ENTRY(U64, B)                                                                                  \
    ENTRY(I64, B)                                                                                  \
    ENTRY(F32, B)                                                                                  \
    ENTRY(F64, B)                                                                                  \
    ENTRY(C64, B)                                                                                  \
    ENTRY(C128, B)
#define ENTRIES_BETWEEN(A, B) ENTRY(A, B) ENTRY(B, A)

/* What has the same bits: bool is a uint8 of 0 and 1, and a narrow integer, or any that comes from
 * integers, is as if it had a sign. */
static void
fill_twins(FacCast (*casts)[FAC_DTYPES])
{
    for (int from = 0; from < FAC_DTYPES; from++) {
        casts[from][FAC_DT_U8] = casts[from][FAC_DT_I8];
        casts[from][FAC_DT_U16] = casts[from][FAC_DT_I16];
        if (!FAC_IS_INT(from)) continue;
        casts[from][FAC_DT_U32] = casts[from][FAC_DT_I32];
        casts[from][FAC_DT_U64] = casts[from][FAC_DT_I64];
    }
    memcpy(casts[FAC_DT_BOOL], casts[FAC_DT_U8], sizeof casts[FAC_DT_BOOL]);
}

void
FAC_TIERED(fill_casts)(FacCast (*casts)[FAC_DTYPES])
{
    ROW_INT(U8)
    ROW_INT(I8)
    ROW_INT(U16)
    ROW_INT(I16)
    ROW_INT(U32)
    ROW_INT(I32)
    ROW_INT(U64)
    ROW_INT(I64)
    ROW_DIRECT(F32)
    ROW_DIRECT(F64)
    ROW_DIRECT(C64)
    ROW_DIRECT(C128)

#define HALF_ENTRIES(HALF, ...) ROW_DIRECT(HALF) COLUMN_DIRECT(HALF) ENTRIES_BETWEEN(HALF, C32)
    HALVES(HALF_ENTRIES, )
    ROW_DIRECT(C32)
    COLUMN_DIRECT(C32)

#define F16_ENTRIES(HALF, ...) ENTRIES_BETWEEN(HALF, F16)
    HALVES_BUT_F16(F16_ENTRIES, )
    ENTRIES_BETWEEN(BF16, F8_E4M3FN)
    ENTRIES_BETWEEN(BF16, F8_E5M2)
    ENTRIES_BETWEEN(BF16, F8_E4M3FNUZ)
    ENTRIES_BETWEEN(BF16, F8_E5M2FNUZ)
    ENTRIES_BETWEEN(F8_E4M3FN, F8_E5M2)
    ENTRIES_BETWEEN(F8_E4M3FN, F8_E4M3FNUZ)
    ENTRIES_BETWEEN(F8_E4M3FN, F8_E5M2FNUZ)
    ENTRIES_BETWEEN(F8_E5M2, F8_E4M3FNUZ)
    ENTRIES_BETWEEN(F8_E5M2, F8_E5M2FNUZ)
    ENTRIES_BETWEEN(F8_E4M3FNUZ, F8_E5M2FNUZ)

    fill_twins(casts);

#define COPY_ENTRY(DT, name, size, kind) casts[FAC_DT_##DT][FAC_DT_##DT] = copy_##DT;
    FAC_DTYPE_LIST(COPY_ENTRY)
}
