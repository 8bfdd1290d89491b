/* elementary.c - loops of elementary functions that take the place of generated ones.
 *
 * At the tier with AVX-512 some functions have a form on vectors (vector_math.h); here are the loops
 * around them: pairs of vectors, then single ones, the last with a mask. The generated loops of the
 * other tiers, and of rows in which these functions are a part, keep to scalar.h.
 */
#include "kernels/cpu/kernel.h"

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include "kernels/cpu/vector_math.h"

#define LOOP(FUNCTION, T, VECTOR, LANES, MASK, S)                                                  \
    static void loop_##FUNCTION(void *const *data, int64_t n, const void *params)                  \
    {                                                                                              \
        T *to = data[0];                                                                           \
        const T *from = data[1];                                                                   \
        int64_t i = 0;                                                                             \
        (void)params;                                                                              \
        for (; i + PAIR * LANES <= n; i += PAIR * LANES) {                                         \
            VECTOR x[PAIR];                                                                        \
            for (int k = 0; k < PAIR; k++) x[k] = _mm512_loadu_##S(from + i + LANES * k);          \
            FUNCTION(x, PAIR);                                                                     \
            for (int k = 0; k < PAIR; k++) _mm512_storeu_##S(to + i + LANES * k, x[k]);            \
        }                                                                                          \
        for (; i < n; i += LANES) {                                                                \
            MASK rest = (MASK)(n - i < LANES ? (1u << (n - i)) - 1 : (1u << LANES) - 1);           \
            VECTOR x[1] = {_mm512_maskz_loadu_##S(rest, from + i)};                                \
            FUNCTION(x, 1);                                                                        \
            _mm512_mask_storeu_##S(to + i, rest, x[0]);                                            \
        }                                                                                          \
    }
#define LOOP_F32(FUNCTION) LOOP(FUNCTION, float, Floats, 16, __mmask16, ps)
#define LOOP_F64(FUNCTION) LOOP(FUNCTION, double, Doubles, 8, __mmask8, pd)

LOOP_F32(exp_f32)
LOOP_F32(log_f32)
LOOP_F32(tanh_f32)
LOOP_F32(sigmoid_f32)
LOOP_F32(silu_f32)
LOOP_F32(gelu_f32)
LOOP_F32(sin_f32)
LOOP_F32(cos_f32)
LOOP_F64(exp_f64)

/* The divider takes twice as long for twice the lanes, and a processor that works on whole vectors
 * runs slower. */
__attribute__((target("prefer-vector-width=256"))) static void
loop_sqrt_f32(void *const *data, int64_t n, const void *params)
{
    float *to = data[0];
    const float *from = data[1];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) to[i] = __builtin_sqrtf(from[i]);
}

#define TUNED(row, dtype, loop) {&FAC_TIERED(loops_##row), dtype, loop, 0}

extern FacLoops FAC_TIERED(loops_exp), FAC_TIERED(loops_log), FAC_TIERED(loops_tanh),
    FAC_TIERED(loops_sigmoid), FAC_TIERED(loops_silu), FAC_TIERED(loops__gelu_erf),
    FAC_TIERED(loops_sin), FAC_TIERED(loops_cos), FAC_TIERED(loops_sqrt);

const FacTunedLoop FAC_TIERED(tuned_loops)[] = {
    TUNED(exp, FAC_DT_F32, loop_exp_f32),   TUNED(exp, FAC_DT_F64, loop_exp_f64),
    TUNED(log, FAC_DT_F32, loop_log_f32),   TUNED(tanh, FAC_DT_F32, loop_tanh_f32),
    TUNED(sin, FAC_DT_F32, loop_sin_f32),   TUNED(sigmoid, FAC_DT_F32, loop_sigmoid_f32),
    TUNED(cos, FAC_DT_F32, loop_cos_f32),   TUNED(silu, FAC_DT_F32, loop_silu_f32),
    TUNED(sqrt, FAC_DT_F32, loop_sqrt_f32), TUNED(_gelu_erf, FAC_DT_F32, loop_gelu_f32),
    {NULL, FAC_DT_NONE, NULL, 0},
};
#else
const FacTunedLoop FAC_TIERED(tuned_loops)[] = {{NULL, FAC_DT_NONE, NULL, 0}};
#endif
