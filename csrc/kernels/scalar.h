/* scalar.h - the bodies of pointwise operators, over single elements.
 *
 * fx_NAME_SUFFIX(...) is the function NAME in one compute dtype: b (bool), u8 i8 u16 i16 u32 i32
 * u64 i64, f32, f64, c64, c128. Generated loops call them on the CPU (once a tier, vectorized by
 * the compiler), in CUDA and HIP, and in the fused kernels of the compiler. Therefore: no branches
 * that the vectorizer cannot turn into selects, no tables, no errno, no state; special values are
 * exact, and elementary functions stay within one unit in the last place.
 *
 * This file has types, integers and the simple functions of floats; scalar_math.h the elementary
 * functions, scalar_special.h error and gamma functions and activations, scalar_complex.h complex
 * numbers. Bodies rely on strict evaluation: no -ffast-math, no contraction; fx_fma asks for fused
 * operations where they are cheap, and is a * b + c elsewhere.
 */
#ifndef FAC_KERNELS_SCALAR_H
#define FAC_KERNELS_SCALAR_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __HIPCC__
#include <hip/hip_runtime.h>
#endif
#if defined(__CUDACC__) || defined(__HIPCC__)
#define FX __host__ __device__ static inline
#elif defined(__GNUC__)
#define FX static inline __attribute__((always_inline)) /* a call would stop the vectorizer */
#else
#define FX static inline
#endif

typedef struct fac_c64 {
    float re, im;
} fac_c64;
typedef struct fac_c128 {
    double re, im;
} fac_c128;

/* X(suffix, C type, its unsigned form, bits) */
#define FX_SIGNED(X)                                                                               \
    X(i8, int8_t, uint8_t, 8)                                                                      \
    X(i16, int16_t, uint16_t, 16)                                                                  \
    X(i32, int32_t, uint32_t, 32)                                                                  \
    X(i64, int64_t, uint64_t, 64)
#define FX_UNSIGNED(X)                                                                             \
    X(u8, uint8_t, uint8_t, 8)                                                                     \
    X(u16, uint16_t, uint16_t, 16)                                                                 \
    X(u32, uint32_t, uint32_t, 32)                                                                 \
    X(u64, uint64_t, uint64_t, 64)
#define FX_INTS(X) FX_SIGNED(X) FX_UNSIGNED(X)

/* --- integers --------------------------------------------------------------------------------- */

FX uint64_t
fx_power(uint64_t base, uint64_t exponent)
{
    uint64_t result = 1;
    for (; exponent; exponent >>= 1) {
        if (exponent & 1) result *= base;
        base *= base;
    }
    return result;
}

/* Division by zero gives 0 here: the kernel that must refuse it looks at the divisors first. The
 * smallest number divided by -1 wraps to itself. */
#define FX_SIGNED_BODIES(S, T, U, BITS)                                                            \
    FX T fx_abs_##S(T a)                                                                           \
    {                                                                                              \
        return (T)(a < 0 ? (U)0 - (U)a : (U)a);                                                    \
    }                                                                                              \
    FX T fx_sign_##S(T a)                                                                          \
    {                                                                                              \
        return (T)((a > 0) - (a < 0));                                                             \
    }                                                                                              \
    FX T fx_div_trunc_##S(T a, T b)                                                                \
    {                                                                                              \
        return b == 0 ? 0 : b == -1 ? (T)((U)0 - (U)a) : (T)(a / b);                               \
    }                                                                                              \
    FX T fx_fmod_##S(T a, T b)                                                                     \
    {                                                                                              \
        return b == 0 || b == -1 ? 0 : (T)(a % b);                                                 \
    }                                                                                              \
    FX T fx_floor_divide_##S(T a, T b)                                                             \
    {                                                                                              \
        T q = fx_div_trunc_##S(a, b), r = fx_fmod_##S(a, b);                                       \
        return (T)(q - ((r != 0) & ((r < 0) != (b < 0))));                                         \
    }                                                                                              \
    FX T fx_remainder_##S(T a, T b)                                                                \
    {                                                                                              \
        T r = fx_fmod_##S(a, b);                                                                   \
        return (T)((r != 0) & ((r < 0) != (b < 0)) ? r + b : r);                                   \
    }                                                                                              \
    FX T fx_shift_right_##S(T a, T b)                                                              \
    {                                                                                              \
        return (T)(a >> ((b < 0) | (b >= BITS) ? BITS - 1 : b));                                   \
    }                                                                                              \
    FX T fx_shift_left_##S(T a, T b)                                                               \
    {                                                                                              \
        return (T)((b < 0) | (b >= BITS) ? 0 : (U)((U)a << b));                                    \
    }                                                                                              \
    FX T fx_relu_##S(T a)                                                                          \
    {                                                                                              \
        return a > 0 ? a : 0;                                                                      \
    }                                                                                              \
    FX T fx_pow_##S(T a, T b)                                                                      \
    {                                                                                              \
        T inverse = (T)(a == 1 ? 1 : a == -1 ? 1 - 2 * (b & 1) : 0);                               \
        return b < 0 ? inverse : (T)fx_power((uint64_t)a, (uint64_t)b);                            \
    }

#define FX_UNSIGNED_BODIES(S, T, U, BITS)                                                          \
    FX T fx_abs_##S(T a)                                                                           \
    {                                                                                              \
        return a;                                                                                  \
    }                                                                                              \
    FX T fx_sign_##S(T a)                                                                          \
    {                                                                                              \
        return a != 0;                                                                             \
    }                                                                                              \
    FX T fx_div_trunc_##S(T a, T b)                                                                \
    {                                                                                              \
        return (T)(b == 0 ? 0 : a / b);                                                            \
    }                                                                                              \
    FX T fx_fmod_##S(T a, T b)                                                                     \
    {                                                                                              \
        return (T)(b == 0 ? 0 : a % b);                                                            \
    }                                                                                              \
    FX T fx_floor_divide_##S(T a, T b)                                                             \
    {                                                                                              \
        return fx_div_trunc_##S(a, b);                                                             \
    }                                                                                              \
    FX T fx_remainder_##S(T a, T b)                                                                \
    {                                                                                              \
        return fx_fmod_##S(a, b);                                                                  \
    }                                                                                              \
    FX T fx_shift_right_##S(T a, T b)                                                              \
    {                                                                                              \
        return (T)(b >= BITS ? 0 : a >> b);                                                        \
    }                                                                                              \
    FX T fx_shift_left_##S(T a, T b)                                                               \
    {                                                                                              \
        return (T)(b >= BITS ? 0 : a << b);                                                        \
    }                                                                                              \
    FX T fx_relu_##S(T a)                                                                          \
    {                                                                                              \
        return a;                                                                                  \
    }                                                                                              \
    FX T fx_pow_##S(T a, T b)                                                                      \
    {                                                                                              \
        return (T)fx_power(a, b);                                                                  \
    }

/* Powers wrap; negative exponents give 0 but for bases 1 and -1. gcd and lcm are not negative but
 * where the magnitude itself does not fit. */
#define FX_INT_BODIES(S, T, U, BITS)                                                               \
    FX T fx_sgn_##S(T a)                                                                           \
    {                                                                                              \
        return fx_sign_##S(a);                                                                     \
    }                                                                                              \
    FX T fx_max_##S(T a, T b)                                                                      \
    {                                                                                              \
        return a > b ? a : b;                                                                      \
    }                                                                                              \
    FX T fx_min_##S(T a, T b)                                                                      \
    {                                                                                              \
        return a < b ? a : b;                                                                      \
    }                                                                                              \
    FX T fx_clamp_##S(T a, T low, T high)                                                          \
    {                                                                                              \
        return fx_min_##S(fx_max_##S(a, low), high);                                               \
    }                                                                                              \
    FX T fx_heaviside_##S(T a, T b)                                                                \
    {                                                                                              \
        return a == 0 ? b : (T)(a > 0);                                                            \
    }                                                                                              \
    FX T fx_gcd_##S(T a, T b)                                                                      \
    {                                                                                              \
        U m = (U)fx_abs_##S(a), n = (U)fx_abs_##S(b);                                              \
        while (n) {                                                                                \
            U rest = (U)(m % n);                                                                   \
            m = n;                                                                                 \
            n = rest;                                                                              \
        }                                                                                          \
        return (T)m;                                                                               \
    }                                                                                              \
    FX T fx_lcm_##S(T a, T b)                                                                      \
    {                                                                                              \
        U g = (U)fx_gcd_##S(a, b);                                                                 \
        return g == 0 ? 0 : fx_abs_##S((T)((U)((U)fx_abs_##S(a) / g) * (uint64_t)fx_abs_##S(b)));  \
    }

FX_SIGNED(FX_SIGNED_BODIES)
FX_UNSIGNED(FX_UNSIGNED_BODIES)
FX_INTS(FX_INT_BODIES)

FX uint8_t
fx_pow_b(uint8_t a, uint8_t b)
{
    return a | !b;
}
FX uint8_t
fx_heaviside_b(uint8_t a, uint8_t b)
{
    return a ? 1 : b;
}

/* --- floats ----------------------------------------------------------------------------------- */

FX uint32_t
fx_bits_f32(float a)
{
    uint32_t u;
    memcpy(&u, &a, 4);
    return u;
}
FX float
fx_from_bits_f32(uint32_t u)
{
    float a;
    memcpy(&a, &u, 4);
    return a;
}
FX uint64_t
fx_bits_f64(double a)
{
    uint64_t u;
    memcpy(&u, &a, 8);
    return u;
}
FX double
fx_from_bits_f64(uint64_t u)
{
    double a;
    memcpy(&a, &u, 8);
    return a;
}

#if defined(__FMA__) || defined(__CUDACC__) || defined(__HIPCC__)
#define FX_HAS_FMA 1
FX float
fx_fma_f32(float a, float b, float c)
{
    return fmaf(a, b, c);
}
FX double
fx_fma_f64(double a, double b, double c)
{
    return fma(a, b, c);
}
FX float
fx_fma_once_f32(float a, float b, float c)
{
    return fmaf(a, b, c);
}
#else
#define FX_HAS_FMA 0
FX float
fx_fma_f32(float a, float b, float c)
{
    return a * b + c;
}
FX double
fx_fma_f64(double a, double b, double c)
{
    return a * b + c;
}
/* Rounded (all but) once where fx_fma rounds twice: for steps that would cost the last bit. */
FX float
fx_fma_once_f32(float a, float b, float c)
{
    return (float)((double)a * (double)b + (double)c);
}
#endif

/* libm's name of a function for a float type */
#define FX_LIBM_f32(name) name##f
#define FX_LIBM_f64(name) name
/* X(suffix, C type, unsigned type of its size) */
#define FX_FLOATS(X) X(f32, float, uint32_t) X(f64, double, uint64_t)

/* max and min give NaN if either is NaN, fmax and fmin the other one. remainder and floor_divide
 * take the sign of the divisor, as Python does; fmod that of the dividend. */
#define FX_FLOAT_BODIES(S, T, U)                                                                   \
    FX T fx_abs_##S(T a)                                                                           \
    {                                                                                              \
        return FX_LIBM_##S(fabs)(a);                                                               \
    }                                                                                              \
    FX T fx_floor_##S(T a)                                                                         \
    {                                                                                              \
        return FX_LIBM_##S(floor)(a);                                                              \
    }                                                                                              \
    FX T fx_ceil_##S(T a)                                                                          \
    {                                                                                              \
        return FX_LIBM_##S(ceil)(a);                                                               \
    }                                                                                              \
    FX T fx_trunc_##S(T a)                                                                         \
    {                                                                                              \
        return FX_LIBM_##S(trunc)(a);                                                              \
    }                                                                                              \
    FX T fx_round_##S(T a)                                                                         \
    {                                                                                              \
        return FX_LIBM_##S(rint)(a);                                                               \
    }                                                                                              \
    FX T fx_sqrt_##S(T a)                                                                          \
    {                                                                                              \
        return FX_LIBM_##S(sqrt)(a);                                                               \
    }                                                                                              \
    FX T fx_rsqrt_##S(T a)                                                                         \
    {                                                                                              \
        return 1 / FX_LIBM_##S(sqrt)(a);                                                           \
    }                                                                                              \
    FX T fx_copysign_##S(T a, T b)                                                                 \
    {                                                                                              \
        return FX_LIBM_##S(copysign)(a, b);                                                        \
    }                                                                                              \
    FX int fx_isnan_##S(T a)                                                                       \
    {                                                                                              \
        return a != a;                                                                             \
    }                                                                                              \
    FX int fx_isinf_##S(T a)                                                                       \
    {                                                                                              \
        return fx_abs_##S(a) == (T)INFINITY;                                                       \
    }                                                                                              \
    FX int fx_isfinite_##S(T a)                                                                    \
    {                                                                                              \
        return fx_abs_##S(a) < (T)INFINITY;                                                        \
    }                                                                                              \
    FX int fx_signbit_##S(T a)                                                                     \
    {                                                                                              \
        return fx_copysign_##S(1, a) < 0;                                                          \
    }                                                                                              \
    FX T fx_sign_##S(T a)                                                                          \
    {                                                                                              \
        return (T)((a > 0) - (a < 0));                                                             \
    }                                                                                              \
    FX T fx_sgn_##S(T a)                                                                           \
    {                                                                                              \
        return (T)((a > 0) - (a < 0));                                                             \
    }                                                                                              \
    FX T fx_max_##S(T a, T b)                                                                      \
    {                                                                                              \
        return (a > b) | (a != a) ? a : b;                                                         \
    }                                                                                              \
    FX T fx_min_##S(T a, T b)                                                                      \
    {                                                                                              \
        return (a < b) | (a != a) ? a : b;                                                         \
    }                                                                                              \
    FX T fx_fmax_##S(T a, T b)                                                                     \
    {                                                                                              \
        return (a > b) | (b != b) ? a : b;                                                         \
    }                                                                                              \
    FX T fx_fmin_##S(T a, T b)                                                                     \
    {                                                                                              \
        return (a < b) | (b != b) ? a : b;                                                         \
    }                                                                                              \
    FX T fx_clamp_##S(T a, T low, T high)                                                          \
    {                                                                                              \
        a = (a <= low) | (low != low) ? low : a;                                                   \
        return (a >= high) | (high != high) ? high : a;                                            \
    }                                                                                              \
    FX T fx_relu_##S(T a)                                                                          \
    {                                                                                              \
        return (a > 0) | (a != a) ? a : 0;                                                         \
    }                                                                                              \
    FX T fx_heaviside_##S(T a, T b)                                                                \
    {                                                                                              \
        return a == 0 ? b : (T)(a > 0);                                                            \
    }                                                                                              \
    FX T fx_angle_##S(T a)                                                                         \
    {                                                                                              \
        return a != a ? a : a < 0 ? (T)3.14159265358979324 : 0;                                    \
    }                                                                                              \
    FX T fx_lerp_##S(T a, T b, T w)                                                                \
    {                                                                                              \
        T d = b - a;                                                                               \
        return fx_abs_##S(w) < (T)0.5 ? a + w * d : b - d * (1 - w);                               \
    }                                                                                              \
    FX T fx_fmod_##S(T a, T b)                                                                     \
    {                                                                                              \
        return FX_LIBM_##S(fmod)(a, b);                                                            \
    }                                                                                              \
    FX T fx_remainder_##S(T a, T b)                                                                \
    {                                                                                              \
        T r = fx_fmod_##S(a, b);                                                                   \
        return (r != 0) & ((r < 0) != (b < 0)) ? r + b : r;                                        \
    }                                                                                              \
    FX T fx_div_trunc_##S(T a, T b)                                                                \
    {                                                                                              \
        return fx_trunc_##S(a / b);                                                                \
    }                                                                                              \
    FX T fx_floor_divide_##S(T a, T b)                                                             \
    {                                                                                              \
        T r = fx_fmod_##S(a, b), q = (a - r) / b;                                                  \
        q = (r != 0) & ((r < 0) != (b < 0)) ? q - 1 : q;                                           \
        T down = fx_floor_##S(q);                                                                  \
        down = q - down > (T)0.5 ? down + 1 : down;                                                \
        down = q == 0 ? fx_copysign_##S(0, a / b) : down;                                          \
        return b == 0 ? a / b : down;                                                              \
    }                                                                                              \
    FX T fx_nextafter_##S(T a, T b)                                                                \
    {                                                                                              \
        U u = fx_bits_##S(a);                                                                      \
        T moved = fx_from_bits_##S((a < b) == (a > 0) ? u + 1 : u - 1);                            \
        moved = a == 0 ? fx_copysign_##S(fx_from_bits_##S(1), b) : moved;                          \
        moved = a == b ? b : moved;                                                                \
        return (a != a) | (b != b) ? a + b : moved;                                                \
    }                                                                                              \
    FX T fx_round_decimals_##S(T a, T decimals)                                                    \
    {                                                                                              \
        T scale = (T)pow(10.0, fabs((double)decimals));                                            \
        return decimals < 0 ? fx_round_##S(a / scale) * scale : fx_round_##S(a * scale) / scale;   \
    }

FX_FLOATS(FX_FLOAT_BODIES)

#include "kernels/scalar_math.h"
#include "kernels/scalar_special.h"

#include "kernels/scalar_complex.h"

#endif
