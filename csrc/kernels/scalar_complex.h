/* scalar_complex.h - functions of complex numbers (included by scalar.h).
 *
 * Written once for both widths: (suffix, struct, suffix of its parts, part). Functions with branch
 * cuts go to the C library, which has their special values right, and to that of C++ in CUDA and
 * HIP.
 */
#ifndef FAC_KERNELS_SCALAR_COMPLEX_H
#define FAC_KERNELS_SCALAR_COMPLEX_H

#include "kernels/scalar_special.h"

/* A product that no addition may take in: where real and imaginary parts lie side by side GCC 12 makes
 * vectors of fused steps of them, even with -ffp-contract=off, and what is left behind the vectors
 * would have other bits. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && !defined(__CUDACC__)
#define FX_ROUNDED(x) __builtin_assoc_barrier(x)
#else
#define FX_ROUNDED(x) (x)
#endif

#define FX_COMPLEX_ARITHMETIC(S, C, P, T)                                                          \
    FX C fx_complex_##S(T re, T im)                                                                \
    {                                                                                              \
        C z;                                                                                       \
        z.re = re;                                                                                 \
        z.im = im;                                                                                 \
        return z;                                                                                  \
    }                                                                                              \
    FX C fx_widen_##S(T a)                                                                         \
    {                                                                                              \
        return fx_complex_##S(a, 0);                                                               \
    }                                                                                              \
    FX T fx_real_##S(C a)                                                                          \
    {                                                                                              \
        return a.re;                                                                               \
    }                                                                                              \
    FX T fx_imag_##S(C a)                                                                          \
    {                                                                                              \
        return a.im;                                                                               \
    }                                                                                              \
    FX C fx_neg_##S(C a)                                                                           \
    {                                                                                              \
        return fx_complex_##S(-a.re, -a.im);                                                       \
    }                                                                                              \
    FX C fx_conj_##S(C a)                                                                          \
    {                                                                                              \
        return fx_complex_##S(a.re, -a.im);                                                        \
    }                                                                                              \
    FX C fx_add_##S(C a, C b)                                                                      \
    {                                                                                              \
        return fx_complex_##S(a.re + b.re, a.im + b.im);                                           \
    }                                                                                              \
    FX C fx_sub_##S(C a, C b)                                                                      \
    {                                                                                              \
        return fx_complex_##S(a.re - b.re, a.im - b.im);                                           \
    }                                                                                              \
    FX C fx_mul_##S(C a, C b)                                                                      \
    {                                                                                              \
        return fx_complex_##S(FX_ROUNDED(a.re * b.re) - a.im * b.im,                               \
                              FX_ROUNDED(a.re * b.im) + a.im * b.re);                              \
    }                                                                                              \
    /* the divisor is scaled by its larger part first, so that nothing overflows on the way */     \
    FX C fx_div_##S(C a, C b)                                                                      \
    {                                                                                              \
        T p = fx_abs_##P(b.re), q = fx_abs_##P(b.im);                                              \
        T big = p > q ? p : q, scale = 1 / (big > 0 ? big : 1);                                    \
        T re = b.re * scale, im = b.im * scale, d = re * re + im * im;                             \
        T x = fx_fma_##P(a.re * scale, re, a.im * scale * im);                                     \
        T y = fx_fma_##P(a.im * scale, re, -(a.re * scale * im));                                  \
        return fx_complex_##S(x / d, y / d);                                                       \
    }                                                                                              \
    FX C fx_reciprocal_##S(C a)                                                                    \
    {                                                                                              \
        return fx_div_##S(fx_widen_##S(1), a);                                                     \
    }                                                                                              \
    FX int fx_eq_##S(C a, C b)                                                                     \
    {                                                                                              \
        return (a.re == b.re) & (a.im == b.im);                                                    \
    }                                                                                              \
    FX int fx_ne_##S(C a, C b)                                                                     \
    {                                                                                              \
        return (a.re != b.re) | (a.im != b.im);                                                    \
    }                                                                                              \
    FX int fx_true_##S(C a)                                                                        \
    {                                                                                              \
        return (a.re != 0) | (a.im != 0);                                                          \
    }                                                                                              \
    FX int fx_isreal_##S(C a)                                                                      \
    {                                                                                              \
        return a.im == 0;                                                                          \
    }                                                                                              \
    FX int fx_isnan_##S(C a)                                                                       \
    {                                                                                              \
        return (a.re != a.re) | (a.im != a.im);                                                    \
    }                                                                                              \
    FX int fx_isinf_##S(C a)                                                                       \
    {                                                                                              \
        return fx_isinf_##P(a.re) | fx_isinf_##P(a.im);                                            \
    }                                                                                              \
    FX int fx_isfinite_##S(C a)                                                                    \
    {                                                                                              \
        return fx_isfinite_##P(a.re) & fx_isfinite_##P(a.im);                                      \
    }                                                                                              \
    FX T fx_abs_##S(C a)                                                                           \
    {                                                                                              \
        return fx_hypot_##P(a.re, a.im);                                                           \
    }                                                                                              \
    FX T fx_angle_##S(C a)                                                                         \
    {                                                                                              \
        return fx_atan2_##P(a.im, a.re);                                                           \
    }                                                                                              \
    FX C fx_scale_##S(C a, T by)                                                                   \
    {                                                                                              \
        return fx_complex_##S(a.re * by, a.im * by);                                               \
    }                                                                                              \
    FX C fx_sgn_##S(C a)                                                                           \
    {                                                                                              \
        T m = fx_abs_##S(a);                                                                       \
        return m == 0 ? fx_widen_##S(0) : fx_complex_##S(a.re / m, a.im / m);                      \
    }                                                                                              \
    FX C fx_lerp_##S(C a, C b, C w)                                                                \
    {                                                                                              \
        C d = fx_sub_##S(b, a), rest = fx_sub_##S(fx_widen_##S(1), w);                             \
        C near = fx_add_##S(a, fx_mul_##S(w, d)), far = fx_sub_##S(b, fx_mul_##S(d, rest));        \
        return fx_abs_##S(w) < (T)0.5 ? near : far;                                                \
    }                                                                                              \
    FX C fx_sigmoid_backward_##S(C a, C b)                                                         \
    {                                                                                              \
        return fx_mul_##S(a, fx_conj_##S(fx_mul_##S(fx_sub_##S(fx_widen_##S(1), b), b)));          \
    }                                                                                              \
    FX C fx_tanh_backward_##S(C a, C b)                                                            \
    {                                                                                              \
        return fx_mul_##S(a, fx_conj_##S(fx_sub_##S(fx_widen_##S(1), fx_mul_##S(b, b))));          \
    }
FX_COMPLEX_ARITHMETIC(c64, fac_c64, f32, float)
FX_COMPLEX_ARITHMETIC(c128, fac_c128, f64, double)

/* The complex numbers of the library; in C++ a type makes its values. */
#if defined(__CUDACC__) || defined(__HIPCC__)
#ifdef __CUDACC__
#include <cuda/std/complex>
namespace fx_std = cuda::std;
#else
#include <complex>
namespace fx_std = std;
#endif
#define FX_LIBRARY_c64(name) fx_std::name
#define FX_LIBRARY_c128(name) fx_std::name
#define FX_Z_c64 fx_std::complex<float>
#define FX_Z_c128 fx_std::complex<double>
#define FX_MAKE_Z_c64 FX_Z_c64
#define FX_MAKE_Z_c128 FX_Z_c128
#else
#include <complex.h>
#undef complex
#undef I
#define FX_LIBRARY_c64(name) c##name##f
#define FX_LIBRARY_c128(name) c##name
#define FX_Z_c64 float _Complex
#define FX_Z_c128 double _Complex
#define FX_MAKE_Z_c64 CMPLXF
#define FX_MAKE_Z_c128 CMPLX
#endif

#define FX_COMPLEX_LIBM(S, C, P, T, name)                                                          \
    FX C fx_##name##_##S(C a)                                                                      \
    {                                                                                              \
        FX_Z_##S z = FX_LIBRARY_##S(name)(FX_MAKE_Z_##S(a.re, a.im));                              \
        return fx_complex_##S((T)FX_LIBRARY_##S(real)(z), (T)FX_LIBRARY_##S(imag)(z));             \
    }
#define FX_COMPLEX_FUNCTIONS(S, C, P, T)                                                           \
    FX_COMPLEX_LIBM(S, C, P, T, exp)                                                               \
    FX_COMPLEX_LIBM(S, C, P, T, log)                                                               \
    FX_COMPLEX_LIBM(S, C, P, T, sqrt)                                                              \
    FX_COMPLEX_LIBM(S, C, P, T, sin)                                                               \
    FX_COMPLEX_LIBM(S, C, P, T, cos)                                                               \
    FX_COMPLEX_LIBM(S, C, P, T, tan)                                                               \
    FX_COMPLEX_LIBM(S, C, P, T, sinh)                                                              \
    FX_COMPLEX_LIBM(S, C, P, T, cosh)                                                              \
    FX_COMPLEX_LIBM(S, C, P, T, tanh)                                                              \
    FX_COMPLEX_LIBM(S, C, P, T, asin)                                                              \
    FX_COMPLEX_LIBM(S, C, P, T, acos)                                                              \
    FX_COMPLEX_LIBM(S, C, P, T, atan)                                                              \
    FX_COMPLEX_LIBM(S, C, P, T, asinh)                                                             \
    FX_COMPLEX_LIBM(S, C, P, T, acosh)                                                             \
    FX_COMPLEX_LIBM(S, C, P, T, atanh)                                                             \
    FX C fx_pow_##S(C a, C b)                                                                      \
    {                                                                                              \
        FX_Z_##S z = FX_LIBRARY_##S(pow)(FX_MAKE_Z_##S(a.re, a.im), FX_MAKE_Z_##S(b.re, b.im));    \
        C power = fx_complex_##S((T)FX_LIBRARY_##S(real)(z), (T)FX_LIBRARY_##S(imag)(z));          \
        C square = fx_mul_##S(a, a);                                                               \
        power = (b.re == 2) & (b.im == 0) ? square : power;                                        \
        return fx_true_##S(b) ? power : fx_widen_##S(1);                                           \
    }                                                                                              \
    FX C fx_rsqrt_##S(C a)                                                                         \
    {                                                                                              \
        return fx_reciprocal_##S(fx_sqrt_##S(a));                                                  \
    }                                                                                              \
    FX C fx_exp2_##S(C a)                                                                          \
    {                                                                                              \
        return fx_exp_##S(fx_scale_##S(a, (T)0.69314718055994531));                                \
    }                                                                                              \
    FX C fx_log2_##S(C a)                                                                          \
    {                                                                                              \
        return fx_scale_##S(fx_log_##S(a), (T)1.4426950408889634);                                 \
    }                                                                                              \
    FX C fx_log10_##S(C a)                                                                         \
    {                                                                                              \
        return fx_scale_##S(fx_log_##S(a), (T)0.43429448190325183);                                \
    }                                                                                              \
    FX C fx_expm1_##S(C a)                                                                         \
    {                                                                                              \
        T half = fx_sin_##P(a.im * (T)0.5), e = fx_exp_##P(a.re);                                  \
        return fx_complex_##S(fx_expm1_##P(a.re) - 2 * e * half * half, e * fx_sin_##P(a.im));     \
    }                                                                                              \
    /* |1 + a|^2 - 1 = re * (2 + re) + im^2 keeps its digits where a is small */                   \
    FX C fx_log1p_##S(C a)                                                                         \
    {                                                                                              \
        T grown = a.re * (2 + a.re) + a.im * a.im;                                                 \
        C full = fx_log_##S(fx_complex_##S(1 + a.re, a.im));                                       \
        T small = (T)0.5 * fx_log1p_##P(grown);                                                    \
        return fx_complex_##S(fx_abs_##P(grown) < (T)0.5 ? small : full.re, full.im);              \
    }                                                                                              \
    FX C fx_sigmoid_##S(C a)                                                                       \
    {                                                                                              \
        C e = fx_exp_##S(fx_neg_##S(a));                                                           \
        return fx_reciprocal_##S(fx_complex_##S(1 + e.re, e.im));                                  \
    }                                                                                              \
    FX C fx_silu_##S(C a)                                                                          \
    {                                                                                              \
        C e = fx_exp_##S(fx_neg_##S(a));                                                           \
        return fx_div_##S(a, fx_complex_##S(1 + e.re, e.im));                                      \
    }                                                                                              \
    FX C fx_sinc_##S(C a)                                                                          \
    {                                                                                              \
        C x = fx_scale_##S(a, (T)3.14159265358979324);                                             \
        return fx_true_##S(a) ? fx_div_##S(fx_sin_##S(x), x) : fx_widen_##S(1);                    \
    }                                                                                              \
    FX C fx_logaddexp_##S(C a, C b)                                                                \
    {                                                                                              \
        C big = a.re >= b.re ? a : b, small = a.re >= b.re ? b : a;                                \
        C sum = fx_add_##S(big, fx_log1p_##S(fx_exp_##S(fx_sub_##S(small, big))));                 \
        return fx_isinf_##P(big.re) & (a.re == b.re) ? big : sum;                                  \
    }
FX_COMPLEX_FUNCTIONS(c64, fac_c64, f32, float)
FX_COMPLEX_FUNCTIONS(c128, fac_c128, f64, double)

#endif
