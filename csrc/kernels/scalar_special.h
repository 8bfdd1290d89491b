/* scalar_special.h - error and gamma functions, activations and their slopes (included by
 * scalar.h).
 */
#ifndef FAC_KERNELS_SCALAR_SPECIAL_H
#define FAC_KERNELS_SCALAR_SPECIAL_H

#include "kernels/scalar_math.h"

/* --- error functions -------------------------------------------------------------------------- */

/* erf(x) for x^2 <= 1.22 */
FX double
fx_erf_small(double x)
{
    double z = x * x, z2 = z * z, p = fx_fma_f64(4.397243104152706e-11, z, -1.0282595410619696e-09);
    p = fx_fma_f64(p, z2, fx_fma_f64(1.4324740072124284e-08, z, -1.62908939563689e-07));
    p = fx_fma_f64(p, z2, fx_fma_f64(1.6454288954893951e-06, z, -1.4925092548687926e-05));
    p = fx_fma_f64(p, z2, fx_fma_f64(0.00012055305898602529, z, -0.0008548326145514444));
    p = fx_fma_f64(p, z2, fx_fma_f64(0.0052239776072157485, z, -0.026866170642881174));
    p = fx_fma_f64(p, z2, fx_fma_f64(0.11283791670940684, z, -0.3761263890318339));
    return fx_fma_once_f64(fx_fma_once_f64(p, z, 0.12837916709551256), x, x);
}

/* exp(x^2) * erfc(x) for x >= 0.45: a polynomial in (x - 2) / (x + 2), divided by 1 + 2 x. */
FX fx_pair
fx_erfc_scaled(double x)
{
    double t = (x - 2) / (x + 2), u = t * t;
    double p = fx_fma_f64(-9.287921974486976e-08, t, 1.5755890966365712e-07);
    p = fx_fma_f64(p, u, fx_fma_f64(3.5299428328251086e-07, t, -3.425206971065714e-07));
    p = fx_fma_f64(p, u, fx_fma_f64(-1.0138888489902626e-06, t, -5.896102643147878e-07));
    p = fx_fma_f64(p, u, fx_fma_f64(1.5871563436864054e-06, t, 5.157889593880006e-06));
    p = fx_fma_f64(p, u, fx_fma_f64(3.6880912733209775e-06, t, -1.346858987921337e-05));
    p = fx_fma_f64(p, u, fx_fma_f64(-3.64199102755017e-05, t, -1.515508361391627e-06));
    p = fx_fma_f64(p, u, fx_fma_f64(0.00015103896521284898, t, 0.00020636805834615399));
    p = fx_fma_f64(p, u, fx_fma_f64(-0.0004543408438492818, t, -0.0014568140263960078));
    p = fx_fma_f64(p, u, fx_fma_f64(0.0012713389688451386, t, 0.00872265388008464));
    p = fx_fma_f64(p, u, fx_fma_f64(-0.008034015082594157, t, -0.05422000099216167));
    p = fx_fma_f64(p, u, fx_fma_f64(0.1640512800334458, t, -0.16603039761528798));
    p = fx_fma_f64(p, u, fx_fma_f64(-0.09276382658574603, t, 1.2769783815525286));
    double d = 1 + 2 * x, inverse = 1 / d, q = p * inverse;
    fx_pair back = fx_exact_product(q, d);
    double rest = ((p - back.hi) - back.lo) - q * (2 * x - (d - 1));
    return fx_make_pair(q, rest * inverse);
}

/* exp(-x^2) without the error of rounding x^2 */
FX double
fx_exp_minus_square(double x)
{
    fx_pair square = fx_exact_product(x, x);
    return fx_exp_sum(-square.hi, -square.lo);
}

/* erf(x) for 0.84 <= x <= 1.4, around 1.125 */
FX double
fx_erf_middle(double x)
{
    double t = x - 1.125, u = t * t,
           p = fx_fma_f64(1.0877387525669309e-05, t, 4.733280530466945e-05);
    p = fx_fma_f64(p, u, fx_fma_f64(-0.00014160286165481692, t, -0.00017672306087216153));
    p = fx_fma_f64(p, u, fx_fma_f64(0.0011532716417675495, t, -0.00036020460883825003));
    p = fx_fma_f64(p, u, fx_fma_f64(-0.006031261075268972, t, 0.009606894578677392));
    p = fx_fma_f64(p, u, fx_fma_f64(0.015536835453871793, t, -0.0613236836103683));
    p = fx_fma_f64(p, u, fx_fma_f64(0.02797329713381963, t, 0.16245233298479117));
    p = fx_fma_f64(p, u, fx_fma_f64(-0.35805820331336535, t, 0.3182739585007693));
    return 0.8883882317017078 + fx_fma_f64(p, t, -1.158643993739769e-17);
}

FX double
fx_erf_f64(double a)
{
    double x = fx_abs_f64(a), y = x < 6 ? x : 6;
    double e = fx_exp_minus_square(y);
    fx_pair tail = fx_erfc_scaled(y);
    double v = fx_fma_once_f64(-tail.hi, e, 1) - tail.lo * e;
    v = x < 1.4 ? fx_erf_middle(x) : v;
    v = x < 0.85 ? fx_erf_small(x) : v;
    return a != a ? a : fx_copysign_f64(v, a);
}

FX double
fx_erfc_f64(double a)
{
    double x = fx_abs_f64(a), y = x < 28 ? x : 28;
    double e = fx_exp_minus_square(y);
    fx_pair s = fx_erfc_scaled(y);
    double tail = fx_fma_once_f64(s.hi, e, s.lo * e), v = a < 0 ? 2 - tail : tail;
    v = x < 0.5 ? 1 - fx_erf_small(a) : v;
    return a != a ? a : v;
}

/* Below 1, a polynomial; above, 1 - exp of a polynomial that is log(erfc). */
FX float
fx_erf_f32(float a)
{
    float x = fx_abs_f32(a), y = 4 < x ? 4 : x, z = y * y, z2 = z * z;
    float p = fx_fma_f32(fx_fma_f32(-5.41313966e-06f, z, 9.61167607e-05f), z2,
                         fx_fma_f32(-0.000823098002f, z, 0.00520180818f));
    p = fx_fma_f32(p, z2, fx_fma_f32(-0.026857933f, z, 0.112836435f));
    p = fx_fma_once_f32(p, z2, fx_fma_once_f32(-0.376126289f, z, 0.128379166f));
    float q = fx_fma_f32(fx_fma_f32(-2.16926819e-05f, y, 0.000441426004f), z,
                         fx_fma_f32(-0.00420510722f, y, 0.0252099875f));
    q = fx_fma_f32(q, z, fx_fma_f32(-0.108421713f, y, -0.633216619f));
    q = fx_fma_once_f32(q, z, fx_fma_once_f32(-1.12958026f, y, 0.000188468257f));
    fx_split32 s = fx_exp_split32(q);
    float far = fx_exp_part32(s, -fx_power32(s), 1);
    return fx_copysign_f32(x < 1 ? fx_fma_f32(y, p, y) : far, a);
}

FX float
fx_erfc_f32(float a)
{
    return (float)fx_erfc_f64((double)a);
}

/* Polynomials in -log(1 - a^2) or its root give seven digits; one step of Halley's method on erf,
 * or on erfc where that is the smaller one, gives the rest. */
FX double
fx_erfinv_f64(double a)
{
    double x = fx_abs_f64(a), w = -fx_log_short((1 - x) * (1 + x)), u = (w < 5 ? w : 5) - 2.5;
    double s = fx_sqrt_f64(w > 5 ? w : 5), v = (s < 6.1 ? s : 6.1) - 4, p = 3.3549459198374353e-10;
    p = fx_fma_f64(p, u, -8.772799872173e-09);
    p = fx_fma_f64(p, u, 1.8038030778723014e-08);
    p = fx_fma_f64(p, u, 4.658918762503543e-07);
    p = fx_fma_f64(p, u, -3.434617034813848e-06);
    p = fx_fma_f64(p, u, -4.961911512292149e-06);
    p = fx_fma_f64(p, u, 0.00021828264526930246);
    p = fx_fma_f64(p, u, -0.0012527446596087256);
    p = fx_fma_f64(p, u, -0.0041773394171110215);
    p = fx_fma_f64(p, u, 0.24664028763275606);
    p = fx_fma_f64(p, u, 1.5014093535137176);
    double q = -1.5724933544088603e-06;
    q = fx_fma_f64(q, v, -4.73007039727422e-07);
    q = fx_fma_f64(q, v, 3.4115722448521574e-05);
    q = fx_fma_f64(q, v, -7.38418967590171e-05);
    q = fx_fma_f64(q, v, 3.253290946653591e-05);
    q = fx_fma_f64(q, v, -4.619677192602576e-05);
    q = fx_fma_f64(q, v, 0.0003386704364155484);
    q = fx_fma_f64(q, v, -0.0009172943474869575);
    q = fx_fma_f64(q, v, 0.0012533342061787761);
    q = fx_fma_f64(q, v, 1.009502169425209);
    q = fx_fma_f64(q, v, 3.8397843109538976);
    double y = x * (w < 5 ? p : q), e = fx_exp_minus_square(y);
    double near = fx_erf_small(y) - x, far = (1 - x) - fx_erfc_scaled(y).hi * e;
    double step = (x < 0.5 ? near : far) * 0.88622692545275801 / e;
    y -= step / (1 + y * step);
    y = x == 1 ? (double)INFINITY : y;
    return x <= 1 ? fx_copysign_f64(y, a) : (double)NAN;
}

FX float
fx_erfinv_f32(float a)
{
    double x = fx_abs_f64((double)a), w = -fx_log_short((1 - x) * (1 + x)),
           u = (w < 5 ? w : 5) - 2.5;
    double v = fx_sqrt_f64(w > 5 ? w : 5) - 3, p = -8.791003858688278e-09,
           q = 0.0001184646214734277;
    p = fx_fma_f64(p, u, 2.3232656496057715e-08);
    p = fx_fma_f64(p, u, 4.661699467974477e-07);
    p = fx_fma_f64(p, u, -3.4627048434660818e-06);
    p = fx_fma_f64(p, u, -4.963344607967908e-06);
    p = fx_fma_f64(p, u, 0.0002183444393790116);
    p = fx_fma_f64(p, u, -0.0012527418838366646);
    p = fx_fma_f64(p, u, -0.004177386780293866);
    p = fx_fma_f64(p, u, 0.2466402861555361);
    p = fx_fma_f64(p, u, 1.5014093592820177);
    q = fx_fma_f64(q, v, -0.00031205806710320335);
    q = fx_fma_f64(q, v, -6.0608918455243574e-05);
    q = fx_fma_f64(q, v, 0.0014880343829391113);
    q = fx_fma_f64(q, v, -0.0035954866703774685);
    q = fx_fma_f64(q, v, 0.005685911192072187);
    q = fx_fma_f64(q, v, -0.0076376773592138686);
    q = fx_fma_f64(q, v, 0.009445402743845374);
    q = fx_fma_f64(q, v, 1.0016749897126316);
    q = fx_fma_f64(q, v, 2.8329767994672097);
    double y = x == 1 ? (double)INFINITY : x * (w < 5 ? p : q);
    return x <= 1 ? fx_copysign_f32((float)y, a) : (float)NAN;
}

/* --- the gamma function's logarithm and its derivative ---------------------------------------- */

FX double
fx_digamma_f64(double a)
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
    double tail =
        z *
        (1.0 / 12 -
         z * (1.0 / 120 -
              z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z / 12))))));
    return below + log(x) - 0.5 / x - tail;
}
FX float
fx_digamma_f32(float a)
{
    return (float)fx_digamma_f64((double)a);
}

/* The sum of (q + k) ** -s over k >= 0, for s > 1 and q > 0: ten terms, then the series of Euler
 * and Maclaurin. */
FX double
fx_zeta_f64(double s, double q)
{
    /* (2 k)! / B_2k */
    static const double factors[] = {12.0,
                                     -720.0,
                                     30240.0,
                                     -1209600.0,
                                     47900160.0,
                                     -1.8924375803183791606e9,
                                     7.47242496e10,
                                     -2.950130727918164224e12,
                                     1.1646782814350067249e14,
                                     -4.5979787224074726105e15,
                                     1.8152105401943546773e17,
                                     -7.1661652561756670113e18};
    double sum = 0, w = q;
    for (int i = 0; i < 10; i++, w += 1) sum += pow(w, -s);
    double power = pow(w, -s), rising = s;
    sum += power * (w / (s - 1) + 0.5);
    for (int i = 0; i < 12; i++) {
        power /= w;
        sum += rising * power / factors[i];
        power /= w;
        rising *= (s + 2 * i + 1) * (s + 2 * i + 2);
    }
    return sum;
}

/* The n-th derivative of digamma. The terms left of 0 are a finite part of a sum from its other
 * end. */
FX double
fx_polygamma_f64(double a, double n)
{
    double s = n + 1, below = floor(a), sign = fmod(n, 2.0) == 0 ? -1 : 1;
    if (n == 0) return fx_digamma_f64(a);
    if (a <= 0 && a == below) return sign * (double)INFINITY;
    double sum = fx_zeta_f64(s, a > 0 ? a : a - below);
    if (a < 0) sum += sign * (fx_zeta_f64(s, 1 - (a - below)) - fx_zeta_f64(s, 1 - a));
    return sign * exp(lgamma(s)) * sum;
}
FX float
fx_polygamma_f32(float a, float n)
{
    return (float)fx_polygamma_f64((double)a, (double)n);
}

/* --- sigmoid ---------------------------------------------------------------------------------- */

/* e / (1 + e) or 1 / (1 + e), whose remainder is divided again. */
FX float
fx_sigmoid_f32(float a)
{
    float x = -fx_abs_f32(a), v = fx_exp_whole32(fx_exp_split32(x)), e = x < -104 ? 0 : v;
#if FX_HAS_FMA
    float d = 1 + e, inverse = 1 / d, top = a < 0 ? e : 1, q = top * inverse;
    float rest = fx_fma_f32(-q, d, top) - q * (e - (d - 1));
    return fx_fma_f32(rest, inverse, q);
#else
    return (float)((a < 0 ? (double)e : 1) / (1 + (double)e));
#endif
}

FX double
fx_sigmoid_f64(double a)
{
    double e = fx_exp_f64(-fx_abs_f64(a)), d = 1 + e, inverse = 1 / d;
    double top = a < 0 ? e : 1, q = top * inverse;
    fx_pair back = fx_exact_product(q, d);
    double rest = ((top - back.hi) - back.lo) - q * (e - (d - 1));
    return q + rest * inverse;
}

/* --- normal distribution and the functions on it --------------------------------------------- */

/* P(N < -y) of a standard normal N, 0 <= y <= 10, as exp(..) / 2; absolute error near 2^-27. */
FX float
fx_normal_tail32(float y)
{
    float z = y * y, q = fx_fma_f32(-1.2929358e-08f, y, 4.28336932e-07f);
    q = fx_fma_f32(q, z, fx_fma_f32(-5.98199676e-06f, y, 4.46356062e-05f));
    q = fx_fma_f32(q, z, fx_fma_f32(-0.000168867336f, y, -4.42253477e-05f));
    q = fx_fma_f32(q, z, fx_fma_f32(0.00486079557f, y, -0.0363751911f));
    q = fx_fma_f32(q, z, fx_fma_f32(-0.318300754f, y, -0.797885239f));
    fx_split32 s = fx_exp_split32(q * y);
    return fx_exp_part32(s, fx_power32(s) * 0.5f, 0);
}

/* max(a, 0) - |a| * P(N < -|a|) */
FX float
fx_gelu_f32(float a)
{
    float x = fx_abs_f32(a), y = 10 < x ? 10 : x;
    return fx_fma_f32(fx_normal_tail32(y), -y, a > 0 ? a : 0);
}

FX float
fx_gelu_backward_f32(float a, float b)
{
    float x = fx_abs_f32(b), y = 10 < x ? 10 : x;
    float tail = fx_normal_tail32(y), below = b > 0 ? 1 - tail : tail;
    fx_split32 d = fx_exp_split32(y * y * -0.5f);
    float density = fx_exp_part32(d, fx_power32(d), 0) * 0.39894228040143268f;
    return a * fx_fma_f32(fx_copysign_f32(y, b), density, below);
}

FX double
fx_gelu_f64(double a)
{
    return a * 0.5 * (1 + fx_erf_f64(a * 0.70710678118654752));
}

FX double
fx_gelu_backward_f64(double a, double b)
{
    double below = 0.5 * (1 + fx_erf_f64(b * 0.70710678118654752));
    return a * (below + b * fx_exp_f64(b * b * -0.5) * 0.39894228040143268);
}

/* --- written once for both -------------------------------------------------------------------- */

/* log(1 + exp(x)) for x <= 0, where the argument of the logarithm is 1 to 2: 2 atanh(u / (2 + u)). */
FX float
fx_log1p_exp_f32(float x)
{
    float u = fx_exp_f32(x), s = u / (2 + u), z = s * s, q = 0.07692308f;
    q = fx_fma_f32(q, z, 0.09090909f);
    q = fx_fma_f32(q, z, 0.11111111f);
    q = fx_fma_f32(q, z, 0.14285715f);
    q = fx_fma_f32(q, z, 0.2f);
    q = fx_fma_f32(q, z, 0.33333334f);
    return 2 * fx_fma_f32(s * z, q, s);
}

FX double
fx_log1p_exp_f64(double x)
{
    return fx_log1p_f64(fx_exp_f64(x));
}

#define FX_SPECIAL(S, T, U)                                                                        \
    FX T fx_lgamma_##S(T a)                                                                        \
    {                                                                                              \
        return FX_LIBM_##S(lgamma)(a);                                                             \
    }                                                                                              \
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
        T x = fx_max_##S(a, b) + fx_log1p_exp_##S(-fx_abs_##S(a - b));                             \
        return fx_isinf_##S(a) & (a == b) ? a : x;                                                 \
    }                                                                                              \
    FX T fx_logaddexp2_##S(T a, T b)                                                               \
    {                                                                                              \
        T x = fx_log1p_##S(fx_exp2_##S(-fx_abs_##S(a - b))) * (T)1.4426950408889634;               \
        return fx_isinf_##S(a) & (a == b) ? a : fx_max_##S(a, b) + x;                              \
    }                                                                                              \
    FX T fx_log_sigmoid_##S(T a)                                                                   \
    {                                                                                              \
        return fx_min_##S(a, 0) - fx_log1p_exp_##S(-fx_abs_##S(a));                                \
    }                                                                                              \
    FX T fx_softplus_##S(T a)                                                                      \
    {                                                                                              \
        return fx_max_##S(a, 0) + fx_log1p_exp_##S(-fx_abs_##S(a));                                \
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
    FX T fx_mish_slope_##S(T a)                                                                    \
    {                                                                                              \
        T t = fx_tanh_##S(a < 20 ? fx_log1p_##S(fx_exp_##S(a)) : a);                               \
        return t + a * fx_sigmoid_##S(a) * (1 - t * t);                                            \
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
