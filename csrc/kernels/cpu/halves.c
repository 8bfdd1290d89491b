/* halves.c - loops of cheap rows over float16 and bfloat16 as they lie in memory.
 *
 * The generated loops compute in float32, and halves reach them through converted blocks, which costs
 * more than a product or a comparison does. The rows listed here have loops that convert a vector in
 * registers, compute as the generated loop does, and round: the bits are the same. Where the other
 * operands of a row may be numbers, a second loop takes them in float32, as they are.
 *
 * The last elements of a run go through a padded vector, so that bits do not depend on the place. There
 * are such loops where the processor converts float16; elsewhere blocks are as good.
 */
#include "kernels/cpu/kernel.h"

#if defined(__F16C__) && defined(__AVX2__)
#include "kernels/scalar.h"

#include <immintrin.h>

/* Elements a step, as floats, as their bits and as halves. */
#if defined(__AVX512F__)
enum { LANES = 16 };
typedef __m512 Floats;
typedef __m512i Words;
typedef __m256i Narrow;
#define TO_FLOATS(x) _mm512_cvtph_ps(x)
#define FROM_FLOATS(x) _mm512_cvtps_ph(x, 0)
#define WIDEN(x) _mm512_cvtepu16_epi32(x)
#define NARROW(x) _mm512_cvtepi32_epi16(x)
#else
enum { LANES = 8 };
typedef __m256 Floats;
typedef __m256i Words;
typedef __m128i Narrow;
#define TO_FLOATS(x) _mm256_cvtph_ps(x)
#define FROM_FLOATS(x) _mm256_cvtps_ph(x, 0)
#define WIDEN(x) _mm256_cvtepu16_epi32(x)
#define NARROW(x) _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1))
#endif
#define INLINE static inline __attribute__((always_inline))
enum { MOST = 4 }; /* results and operands of a row */
typedef uint32_t Bits __attribute__((vector_size(LANES * sizeof(uint32_t))));

typedef struct Lanes {
    float at[LANES];
} Lanes;

INLINE Lanes
load_f16(const uint16_t *from)
{
    Narrow halves;
    Lanes x;
    memcpy(&halves, from, sizeof halves);
    Floats floats = TO_FLOATS(halves);
    memcpy(&x, &floats, sizeof x);
    return x;
}

INLINE void
store_f16(uint16_t *to, Lanes x)
{
    Floats floats;
    memcpy(&floats, &x, sizeof floats);
    Narrow halves = FROM_FLOATS(floats);
    memcpy(to, &halves, sizeof halves);
}

INLINE Lanes
load_bf16(const uint16_t *from)
{
    Narrow halves;
    Lanes x;
    memcpy(&halves, from, sizeof halves);
    Bits bits = (Bits)WIDEN(halves) << 16;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* As fac_f32_to_bf16. */
INLINE void
store_bf16(uint16_t *to, Lanes x)
{
    Bits bits;
    memcpy(&bits, &x, sizeof bits);
    Bits nan = (Bits)((bits & 0x7fffffffu) > 0x7f800000u);
    Bits rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    Narrow halves = NARROW((Words)((rounded & ~nan) | (nan & 0x7fc0u)));
    memcpy(to, &halves, sizeof halves);
}

/* The n < LANES elements from `at` on, padded. Operands in `numbers` are a float each. */
__attribute__((noinline)) static void
finish(FacLoop loop, void *const *data, int64_t at, int64_t n, const void *params, int operands,
       int result_size, unsigned numbers)
{
    _Alignas(64) uint16_t block[MOST][LANES] = {{0}};
    void *padded[MOST] = {block[0]};
    for (int k = 1; k <= operands; k++) {
        padded[k] = numbers >> k & 1 ? data[k] : block[k];
        if (padded[k] != data[k])
            memcpy(block[k], (const uint16_t *)data[k] + at, (size_t)n * sizeof(uint16_t));
    }
    loop(padded, LANES, params);
    memcpy((char *)data[0] + at * result_size, block[0], (size_t)(n * result_size));
}

/* --- the loops -------------------------------------------------------------------------------- */

/* The compiler is to make vectors of the elements of one step, not of several steps. */
#define ONE_STEP __asm__ volatile("")

#define LOOP(name, operands, numbers, R, SETUP, LOADS, ELEMENTS, STORE, body)                      \
    static void NAME(name)(void *const *data, int64_t n, const void *params)                       \
    {                                                                                              \
        R *to = data[0];                                                                           \
        const float first = *(const float *)params, second = ((const float *)params)[1];           \
        int64_t i = 0;                                                                             \
        SETUP(void) first;                                                                         \
        (void)second;                                                                              \
        for (; i + LANES <= n; i += LANES) {                                                       \
            ONE_STEP;                                                                              \
            LOADS                                                                                  \
            STORE(body, ELEMENTS)                                                                  \
        }                                                                                          \
        if (i < n) finish(NAME(name), data, i, n - i, params, operands, sizeof(R), numbers);       \
    }

#define HALF(body, ELEMENTS)                                                                       \
    Lanes r;                                                                                       \
    _Pragma("GCC unroll 1")                                                                        \
    for (int k = 0; k < LANES; k++) {                                                              \
        ELEMENTS r.at[k] = (body);                                                                 \
    }                                                                                              \
    STORE_LANES(to + i, r);
#define TRUTH(body, ELEMENTS)                                                                      \
    _Pragma("GCC unroll 1")                                                                        \
    for (int k = 0; k < LANES; k++) {                                                              \
        ELEMENTS to[i + k] = (body);                                                               \
    }

#define FROM(x, at) const uint16_t *from_##x = data[at];
#define CONSTANT(x, at) const float x = *(const float *)data[at];
#define LOAD(x) const Lanes x##s = LOAD_LANES(from_##x + i);
#define ELEMENT(x) const float x = x##s.at[k];

#define AB(M) M(a) M(b)
#define ABC(M) M(a) M(b) M(c)
#define UNARY(name, R, STORE, body)                                                                \
    LOOP(name, 1, 0, R, FROM(a, 1), LOAD(a), ELEMENT(a), STORE, body)
#define BINARY(name, R, STORE, body)                                                               \
    LOOP(name, 2, 0, R, FROM(a, 1) FROM(b, 2), AB(LOAD), AB(ELEMENT), STORE, body)
#define BINARY_NUMBER(name, R, STORE, body)                                                        \
    LOOP(name##_number, 2, 4, R, FROM(a, 1) CONSTANT(b, 2), LOAD(a), ELEMENT(a), STORE, body)
#define TERNARY(name, R, STORE, body)                                                              \
    LOOP(name, 3, 0, R, FROM(a, 1) FROM(b, 2) FROM(c, 3), ABC(LOAD), ABC(ELEMENT), STORE, body)
#define TERNARY_LAST(name, R, STORE, body)                                                         \
    LOOP(name##_number, 3, 8, R, FROM(a, 1) FROM(b, 2) CONSTANT(c, 3), AB(LOAD), AB(ELEMENT),      \
         STORE, body)
#define TERNARY_TWO(name, R, STORE, body)                                                          \
    LOOP(name##_number, 3, 12, R, FROM(a, 1) CONSTANT(b, 2) CONSTANT(c, 3), LOAD(a), ELEMENT(a),   \
         STORE, body)

/* X(row, kind of result, its body as in csrc/ops/pointwise.py); `first` and `second` are its numbers. */
#define UNARY_ROWS(X)                                                                              \
    X(sign, HALF, fx_sign_f32(a))                                                                  \
    X(sqrt, HALF, fx_sqrt_f32(a))                                                                  \
    X(rsqrt, HALF, fx_rsqrt_f32(a))                                                                \
    X(reciprocal, HALF, 1 / a)                                                                     \
    X(floor, HALF, fx_floor_f32(a))                                                                \
    X(ceil, HALF, fx_ceil_f32(a))                                                                  \
    X(trunc, HALF, fx_trunc_f32(a))                                                                \
    X(round, HALF, fx_round_f32(a))                                                                \
    X(relu, HALF, fx_relu_f32(a))                                                                  \
    X(leaky_relu, HALF, a > 0 ? a : a * first)                                                     \
    X(hardtanh, HALF, fx_clamp_f32(a, first, second))                                              \
    X(hardsigmoid, HALF, fx_clamp_f32(a + 3, 0, 6) / 6)                                            \
    X(hardswish, HALF, a *fx_clamp_f32(a + 3, 0, 6) / 6)                                           \
    X(isnan, TRUTH, fx_isnan_f32(a))                                                               \
    X(isinf, TRUTH, fx_isinf_f32(a))                                                               \
    X(isfinite, TRUTH, fx_isfinite_f32(a))
#define BINARY_ROWS(X)                                                                             \
    X(maximum, HALF, fx_max_f32(a, b))                                                             \
    X(minimum, HALF, fx_min_f32(a, b))                                                             \
    X(threshold_backward, HALF, b > first ? a : 0)                                                 \
    X(leaky_relu_backward, HALF, b > 0 ? a : a * first)                                            \
    X(sigmoid_backward, HALF, a * (1 - b) * b)                                                     \
    X(tanh_backward, HALF, a * (1 - b * b))
#define BINARY_NUMBER_ROWS(X)                                                                      \
    X(add, HALF, a + first * b)                                                                    \
    X(sub, HALF, a - first * b)                                                                    \
    X(mul, HALF, a *b)                                                                             \
    X(div, HALF, a / b)                                                                            \
    X(_clamp_min, HALF, fx_max_f32(a, b))                                                          \
    X(_clamp_max, HALF, fx_min_f32(a, b))                                                          \
    X(eq, TRUTH, a == b)                                                                           \
    X(ne, TRUTH, a != b)                                                                           \
    X(lt, TRUTH, a < b)                                                                            \
    X(le, TRUTH, a <= b)                                                                           \
    X(gt, TRUTH, a > b)                                                                            \
    X(ge, TRUTH, a >= b)
#define TERNARY_ROWS(X)                                                                            \
    X(addcmul, HALF, a + first * b * c)                                                            \
    X(addcdiv, HALF, a + first * b / c)

#define R_HALF uint16_t
#define R_TRUTH bool
#define UNARY_LOOP(row, kind, body) UNARY(row, R_##kind, kind, body)
#define BINARY_LOOP(row, kind, body) BINARY(row, R_##kind, kind, body)
#define BINARY_NUMBER_LOOPS(row, kind, body)                                                       \
    BINARY(row, R_##kind, kind, body)                                                              \
    BINARY_NUMBER(row, R_##kind, kind, body)
#define TERNARY_LOOP(row, kind, body) TERNARY(row, R_##kind, kind, body)
#define LOOPS                                                                                      \
    UNARY_ROWS(UNARY_LOOP)                                                                         \
    BINARY_ROWS(BINARY_LOOP)                                                                       \
    BINARY_NUMBER_ROWS(BINARY_NUMBER_LOOPS)                                                        \
    TERNARY_ROWS(TERNARY_LOOP)                                                                     \
    TERNARY(lerp, uint16_t, HALF, fx_lerp_f32(a, b, c))                                            \
    TERNARY_LAST(lerp, uint16_t, HALF, fx_lerp_f32(a, b, c))                                       \
    TERNARY_TWO(_clamp, uint16_t, HALF, fx_clamp_f32(a, b, c))

#define LOAD_LANES load_f16
#define STORE_LANES store_f16
#define NAME(row) row##_f16
LOOPS
#undef LOAD_LANES
#undef STORE_LANES
#undef NAME
#define LOAD_LANES load_bf16
#define STORE_LANES store_bf16
#define NAME(row) row##_bf16
LOOPS

/* The sign is one bit in both. */
#define SIGN_LOOP(name, body)                                                                      \
    static void name(void *const *data, int64_t n, const void *params)                             \
    {                                                                                              \
        uint16_t *to = data[0];                                                                    \
        const uint16_t *from = data[1];                                                            \
        (void)params;                                                                              \
        _Pragma("GCC ivdep")                                                                       \
        for (int64_t i = 0; i < n; i++) to[i] = (uint16_t)(body);                                  \
    }
SIGN_LOOP(neg_halves, from[i] ^ 0x8000)
SIGN_LOOP(abs_halves, from[i] & 0x7fff)

/* --- the list --------------------------------------------------------------------------------- */

#define DECLARE(row, ...) extern FacLoops FAC_TIERED(loops_##row);
#define PLAIN(row, ...)                                                                            \
    {&FAC_TIERED(loops_##row), FAC_DT_F16, row##_f16, 0},                                          \
        {&FAC_TIERED(loops_##row), FAC_DT_BF16, row##_bf16, 0},
#define SAME(row)                                                                                  \
    {&FAC_TIERED(loops_##row), FAC_DT_F16, row##_halves, 0},                                       \
        {&FAC_TIERED(loops_##row), FAC_DT_BF16, row##_halves, 0},
#define NUMBERS(row, numbers)                                                                      \
    {&FAC_TIERED(loops_##row), FAC_DT_F16, row##_number_f16, numbers},                             \
        {&FAC_TIERED(loops_##row), FAC_DT_BF16, row##_number_bf16, numbers},
#define BOTH(row, ...) PLAIN(row) NUMBERS(row, 2)

UNARY_ROWS(DECLARE)
BINARY_ROWS(DECLARE)
BINARY_NUMBER_ROWS(DECLARE)
TERNARY_ROWS(DECLARE)
DECLARE(neg)
DECLARE(abs)
DECLARE(lerp)
DECLARE(_clamp)

const FacTunedLoop FAC_TIERED(half_loops)[] = {
    SAME(neg) SAME(abs) UNARY_ROWS(PLAIN) BINARY_ROWS(PLAIN) BINARY_NUMBER_ROWS(BOTH) /**/
    TERNARY_ROWS(PLAIN) PLAIN(lerp) NUMBERS(lerp, 4) NUMBERS(_clamp, 6)               /**/
    {NULL, FAC_DT_NONE, NULL, 0}};
#else
const FacTunedLoop FAC_TIERED(half_loops)[] = {{NULL, FAC_DT_NONE, NULL, 0}};
#endif
