/* scalar_special.h - error and gamma functions, activations and their slopes (included by scalar.h).
 */
#ifndef FAC_KERNELS_SCALAR_SPECIAL_H
#define FAC_KERNELS_SCALAR_SPECIAL_H

#include "kernels/scalar_math.h"

FX double fx_erfinv_f64(double a)
{
    /* Giles' approximation by the logarithm, then two Newton steps on erf */
    double w = -log((1 - a) * (1 + a)), p = sqrt(w < 0 ? 0 : w), s = w < 5 ? w : 2 * p + 1;
    double x = a * (0.886 + 0.18 * s / (1 + 0.2 * s));
    for (int i = 0; i < 6; i++) {
        double e = a < 0 ? -(erfc(-x) - (1 + a)) : erfc(x) - (1 - a);
        double step = e * 0.88622692545275801 * exp(x * x);
        x += step / (1 - x * step);
    }
    x = fabs(a) == 1 ? (double)INFINITY * a : x;
    return fabs(a) > 1 ? (double)NAN : x;
}
FX float fx_erfinv_f32(float a) { return (float)fx_erfinv_f64((double)a); }

FX double fx_digamma_f64(double a)
{
    /* reflect below zero, step up to ten, then the asymptotic series */
    double below = 0, x = a;
    if (a == 0) return copysign((double)INFINITY, -a);
    if (a < 0) {
        double part = a - trunc(a);
        if (part == 0) return (double)NAN;
        below = -3.14159265358979324 / tan(3.14159265358979324 * part);
        x = 1 - a;
    }
    for (; x < 10; x += 1) below -= 1 / x;
    double z = 1 / (x * x);
    double tail = z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 -
                  z * (1.0 / 132 - z * (691.0 / 32760 - z / 12))))));
    return below + log(x) - 0.5 / x - tail;
}
FX float fx_digamma_f32(float a) { return (float)fx_digamma_f64((double)a); }

#define FX_SPECIAL(S, T, U)                                                                        \
    FX T fx_erf_##S(T a) { return FX_LIBM_##S(erf)(a); }                                           \
    FX T fx_erfc_##S(T a) { return FX_LIBM_##S(erfc)(a); }                                         \
    FX T fx_lgamma_##S(T a) { return FX_LIBM_##S(lgamma)(a); }                                     \
    FX T fx_sigmoid_##S(T a) { return 1 / (1 + fx_exp_##S(-a)); }                                  \
    FX T fx_sinc_##S(T a)                                                                          \
    {                                                                                              \
        T x = a * (T)3.14159265358979324;                                                          \
        return a == 0 ? 1 : fx_sin_##S(x) / x;                                                     \
    }                                                                                              \
    FX T fx_xlogy_##S(T a, T b)                                                                    \
    {                                                                                              \
        T x = a * fx_log_##S(b);                                                                   \
        return (a == 0) & (b == b) ? 0 : x;                                                        \
    }                                                                                              \
    FX T fx_logaddexp_##S(T a, T b)                                                                \
    {                                                                                              \
        T x = fx_max_##S(a, b) + fx_log1p_##S(fx_exp_##S(-fx_abs_##S(a - b)));                     \
        return fx_isinf_##S(a) & (a == b) ? a : x;                                                 \
    }                                                                                              \
    FX T fx_logaddexp2_##S(T a, T b)                                                               \
    {                                                                                              \
        T x = fx_log1p_##S(fx_exp2_##S(-fx_abs_##S(a - b))) * (T)1.4426950408889634;               \
        return fx_isinf_##S(a) & (a == b) ? a : fx_max_##S(a, b) + x;                              \
    }                                                                                              \
    FX T fx_log_sigmoid_##S(T a)                                                                   \
    {                                                                                              \
        return fx_min_##S(a, 0) - fx_log1p_##S(fx_exp_##S(-fx_abs_##S(a)));                        \
    }                                                                                              \
    /* eps: NaN when none is given, so that no comparison with it holds */                         \
    FX T fx_logit_##S(T a, T eps)                                                                  \
    {                                                                                              \
        T x = a < eps ? eps : a > 1 - eps ? 1 - eps : a;                                           \
        return fx_log_##S(x / (1 - x));                                                            \
    }                                                                                              \
    FX T fx_logit_backward_##S(T a, T b, T eps)                                                    \
    {                                                                                              \
        T low = eps == eps ? eps : 0, d = a / (b * (1 - b));                                       \
        d = (b == 0) | (b == 1) ? a * (T)INFINITY : d;                                             \
        return (b < low) | (b > 1 - low) ? (eps == eps ? 0 : (T)NAN) : d;                          \
    }                                                                                              \
    FX T fx_logit_slope_##S(T a, T eps)                                                            \
    {                                                                                              \
        T low = eps == eps ? eps : 0, v = a * (1 - a);                                             \
        return (a < low) | (a > 1 - low) ? (eps == eps ? 0 : (T)NAN) : (2 * a - 1) / (v * v);      \
    }                                                                                              \
    FX T fx_gelu_##S(T a)                                                                          \
    {                                                                                              \
        return a * (T)0.5 * (1 + fx_erf_##S(a * (T)0.70710678118654752));                          \
    }                                                                                              \
    FX T fx_gelu_backward_##S(T a, T b)                                                            \
    {                                                                                              \
        T below = (T)0.5 * (1 + fx_erf_##S(b * (T)0.70710678118654752));                           \
        return a * (below + b * fx_exp_##S(b * b * (T)-0.5) * (T)0.39894228040143268);             \
    }                                                                                              \
    FX T fx_gelu_tanh_##S(T a)                                                                     \
    {                                                                                              \
        T inner = (T)0.79788456080286536 * (a + (T)0.044715 * a * a * a);                          \
        return (T)0.5 * a * (1 + fx_tanh_##S(inner));                                              \
    }                                                                                              \
    FX T fx_gelu_tanh_backward_##S(T a, T b)                                                       \
    {                                                                                              \
        T inner = (T)0.79788456080286536 * (b + (T)0.044715 * b * b * b);                          \
        T slope = (T)0.79788456080286536 * (1 + (T)0.134145 * b * b);                              \
        T t = fx_tanh_##S(inner);                                                                  \
        return a * ((T)0.5 * (1 + t) + (T)0.5 * b * (1 - t * t) * slope);                          \
    }
FX_FLOATS(FX_SPECIAL)

#endif
