/* scalar_math32.h - elementary functions of float32 (included by scalar_math.h).
 *
 * exp, exp2, log and tanh are single precision throughout: they carry softmax, sigmoid and the
 * losses. The others compute in double with short polynomials (relative error near 1e-10): half the
 * lanes, a result that is nearly always the correctly rounded one, and no care about cancellation.
 */
#ifndef FAC_KERNELS_SCALAR_MATH32_H
#define FAC_KERNELS_SCALAR_MATH32_H

#include "kernels/scalar_math.h"

/* --- in single precision ---------------------------------------------------------------------- */

#define FX_ROUNDER32 12583166.0f /* 1.5 * 2^23, and twice the bias of exponents */

typedef struct fx_split32 {
    float r, q;      /* |r| <= ln 2 / 2; exp(r) = 1 + r + r * r * q */
    uint32_t n_bits; /* exp(x) = exp(r) * 2^n; the bits of FX_ROUNDER32 + n */
} fx_split32;

/* (exp(r) - 1 - r) / r^2 for |r| <= ln 2 / 2 */
FX float
fx_exp_tail32(float r)
{
    float r2 = r * r, q = fx_fma_f32(0.001381951f, r2, fx_fma_f32(0.008368754f, r, 0.041668296f));
    return fx_fma_f32(q, r2, fx_fma_f32(0.1666652f, r, 0.49999994f));
}

FX fx_split32
fx_exp_split32(float x)
{
    fx_split32 s;
    float u = fx_fma_f32(x, 1.44269502f, FX_ROUNDER32), n = u - FX_ROUNDER32;
    s.r = fx_fma_f32(n, -1.42860677e-06f, fx_fma_f32(n, -0.693145751953125f, x));
    s.q = fx_exp_tail32(s.r);
    s.n_bits = fx_bits_f32(u);
    return s;
}

/* exp(r) * power + c for a power of two, rounded little more than once */
FX float
fx_exp_part32(fx_split32 s, float power, float c)
{
#if FX_HAS_FMA
    return fx_fma_f32(fx_fma_f32(s.q, s.r, 1), s.r * power, power + c);
#else
    return (s.r + s.r * s.r * s.q) * power + (power + c);
#endif
}

/* exp(r) * 2^n, |n| < 250: in two steps, so that subnormal results and those beyond 2^127 come out
 * right. */
FX float
fx_exp_whole32(fx_split32 s)
{
    uint32_t half = s.n_bits >> 1;
    float first = fx_exp_part32(s, fx_from_bits_f32(half << 23), 0);
    return first * fx_from_bits_f32((s.n_bits - half) << 23);
}

/* 2^n, -127 < n < 128 */
FX float
fx_power32(fx_split32 s)
{
    return fx_from_bits_f32((s.n_bits - 127) << 23);
}

FX float
fx_exp_f32(float a)
{
    float v = fx_exp_whole32(fx_exp_split32(a));
    v = a > 89 ? (float)INFINITY : v;
    return a < -104 ? 0 : v;
}

FX float
fx_exp2_f32(float a)
{
    fx_split32 s;
    float u = a + FX_ROUNDER32;
    s.r = (a - (u - FX_ROUNDER32)) * 0.693147182f;
    s.q = fx_exp_tail32(s.r);
    s.n_bits = fx_bits_f32(u);
    float v = fx_exp_whole32(s);
    v = a > 129 ? (float)INFINITY : v;
    return a < -151 ? 0 : v;
}

/* The logarithm's values where its argument is not positive and finite. */
FX float
fx_log_special32(float a, float log)
{
    log = a < (float)INFINITY ? log : a;
    log = a < 0 ? (float)NAN : log;
    return a == 0 ? -(float)INFINITY : log;
}

/* With a = m * 2^k, sqrt(1/2) <= m < sqrt(2), and f = m - 1: f + f^2 * Q(f) + k * ln 2. */
FX float
fx_log_f32(float a)
{
    uint32_t tiny = a < 1.17549435e-38f ? 23 : 0; /* subnormal: a * 2^23 is taken apart */
    float scaled = a * fx_from_bits_f32((127 + tiny) << 23);
    uint32_t u = fx_bits_f32(scaled) + (0x3f800000u - 0x3f3504f3u);
    float k = (float)((int32_t)(u >> 23) - (int32_t)(127 + tiny));
    float f = fx_from_bits_f32((u & 0x007fffffu) + 0x3f3504f3u) - 1, f2 = f * f, f3 = f2 * f;
    float low = fx_fma_f32(fx_fma_f32(-0.250015182f, f, 0.333333248f), f, -0.499999893f);
    float middle = fx_fma_f32(fx_fma_f32(0.141821344f, f, -0.166103775f), f, 0.200019911f);
    float high = fx_fma_f32(fx_fma_f32(-0.076365713f, f, 0.128997145f), f, -0.132338809f);
    float v = fx_fma_f32(f2, fx_fma_f32(fx_fma_f32(high, f3, middle), f3, low), f);
#if FX_HAS_FMA
    v = fx_fma_f32(k, 0.693147182f, v);
#else
    v = k * 0.693145751953125f + (k * 1.42860677e-06f + v);
#endif
    return fx_log_special32(a, v);
}

/* A polynomial below 0.9; above, 1 - 2 / (exp(2 x) + 1), where the quotient is small. */
FX float
fx_tanh_f32(float a)
{
    float x = fx_abs_f32(a), y = 10 < x ? 10 : x, z = y * y, z2 = z * z;
    float p = fx_fma_f32(fx_fma_f32(-0.000454294932f, z, 0.00258264225f), z, -0.00826873817f);
    p = fx_fma_f32(p, z2, fx_fma_f32(0.0216686185f, z, -0.0539316833f));
    p = fx_fma_f32(p, z2, fx_fma_f32(0.133330256f, z, -0.333333254f));
    fx_split32 s = fx_exp_split32(y + y);
    float far = 1 - 2 / fx_exp_part32(s, fx_power32(s), 1);
    return fx_copysign_f32(x < 0.9f ? fx_fma_f32(y * z, p, y) : far, a);
}

/* --- in double, with short polynomials -------------------------------------------------------- */

FX double
fx_exp_short(double x)
{
    double t = fx_fma_f64(x, 1.4426950408889634, FX_ROUNDER + 1023);
    double r = fx_fma_f64(t - (FX_ROUNDER + 1023), -0.6931471805599453, x), q = 0.00019790135;
    q = fx_fma_f64(q, r, 0.0013944751);
    q = fx_fma_f64(q, r, 0.008333498);
    q = fx_fma_f64(q, r, 0.041666295);
    q = fx_fma_f64(q, r, 0.16666666);
    q = fx_fma_f64(q, r, 0.5);
    return fx_fma_f64(r * r, q, 1 + r) * fx_from_bits_f64(fx_bits_f64(t) << 52);
}

/* For positive normal x. */
FX double
fx_log_short(double x)
{
    fx_log_split p = fx_split_power(x);
    double f = p.m - 1, s = f / (2 + f), z = s * s, q = 0.19577947438214724;
    q = fx_fma_f64(q, z, 0.22176669179524866);
    q = fx_fma_f64(q, z, 0.2857209605597454);
    q = fx_fma_f64(q, z, 0.3999999576769969);
    q = fx_fma_f64(q, z, 0.6666666667526174);
    return fx_fma_f64(p.k, 0.6931471805599453, f - s * (f - z * q));
}

typedef struct fx_sine_pair {
    double sin, cos;
    uint64_t turn;
} fx_sine_pair;

FX fx_sine_pair
fx_sines_short(double x)
{
    fx_sine_pair v;
    double t = fx_fma_f64(x, 0.6366197723675814, FX_ROUNDER), n = t - FX_ROUNDER;
    double r = fx_less_multiple(x, n, 1.5707963267948966).hi;
    r = fx_fma_f64(n, -6.123233995736766e-17, r);
    double z = r * r, s = 2.7182380836563623e-06, c = -2.7209563728510775e-07;
    s = fx_fma_f64(s, z, -0.0001983932722982348);
    s = fx_fma_f64(s, z, 0.008333329362592715);
    s = fx_fma_f64(s, z, -0.16666666641429453);
    c = fx_fma_f64(c, z, 2.479951193772786e-05);
    c = fx_fma_f64(c, z, -0.0013888883723101055);
    c = fx_fma_f64(c, z, 0.04166666662247828);
    v.sin = fx_fma_f64(r * z, s, r);
    v.cos = fx_fma_f64(z * z, c, 1 - 0.5 * z);
    v.turn = fx_bits_f64(t);
    return v;
}

FX float
fx_sin_f32(float a)
{
    fx_sine_pair p = fx_sines_short((double)a);
    double v = p.turn & 1 ? p.cos : p.sin;
    return (float)fx_from_bits_f64(fx_bits_f64(v) ^ ((p.turn & 2) << 62));
}

FX float
fx_cos_f32(float a)
{
    fx_sine_pair p = fx_sines_short((double)a);
    double v = p.turn & 1 ? p.sin : p.cos;
    return (float)fx_from_bits_f64(fx_bits_f64(v) ^ (((p.turn + 1) & 2) << 62));
}

FX float
fx_tan_f32(float a)
{
    fx_sine_pair p = fx_sines_short((double)a);
    return (float)(p.turn & 1 ? -p.cos / p.sin : p.sin / p.cos);
}

FX float
fx_sin_far_f32(float a)
{
    return fx_is_far((double)a) ? (float)fx_sin_far_f64((double)a) : fx_sin_f32(a);
}

FX float
fx_cos_far_f32(float a)
{
    return fx_is_far((double)a) ? (float)fx_cos_far_f64((double)a) : fx_cos_f32(a);
}

FX float
fx_tan_far_f32(float a)
{
    return fx_is_far((double)a) ? (float)fx_tan_far_f64((double)a) : fx_tan_f32(a);
}

FX float
fx_expm1_f32(float a)
{
    double x = a > 90 ? 90 : a < -30 ? -30 : (double)a, e = fx_exp_short(x) - 1;
    double small = x + x * x * (0.5 + x * (0.16666666666666666 + x * 0.041666666666666664));
    return fx_abs_f64(x) < 1e-3 ? (a == 0 ? a : (float)small) : (float)e;
}

FX float
fx_log1p_f32(float a)
{
    double x = (double)a, v = fx_log_short(1 + x);
    double small = x - x * x * (0.5 - x * (0.3333333333333333 - x * 0.25));
    v = fx_abs_f64(x) < 1e-3 ? (a == 0 ? x : small) : v;
    v = a > 3.40282347e38f ? x : v;
    v = a == -1 ? -(double)INFINITY : v;
    return (a < -1) | (a != a) ? (float)NAN : (float)v;
}

FX float
fx_log2_f32(float a)
{
    double v = fx_log_short((double)a) * 1.4426950408889634;
    return (float)fx_log_special((double)a, v);
}

FX float
fx_log10_f32(float a)
{
    double v = fx_log_short((double)a) * 0.4342944819032518;
    return (float)fx_log_special((double)a, v);
}

FX float
fx_pow_f32(float a, float b)
{
    float x = fx_abs_f32(a);
    double p = (double)b * fx_log_short((double)x);
    p = p > 90 ? 90 : p < -106 ? -106 : p;
    float r = (float)fx_exp_short(p);
    int whole = fx_round_f32(b) == b, odd = whole & (fx_round_f32(b * 0.5f) != b * 0.5f);
    int grows = (x > 1) == (b > 0);
    r = (x == 0) | fx_isinf_f32(x) | fx_isinf_f32(b) ? (grows ? (float)INFINITY : 0) : r;
    r = x == 1 ? 1 : r;
    r = odd ? fx_copysign_f32(r, a) : r;
    r = (a < 0) & !whole & fx_isfinite_f32(a) ? (float)NAN : r;
    r = (a != a) | (b != b) ? (float)NAN : r;
    return (b == 0) | (a == 1) ? 1 : r;
}

FX float
fx_sinh_f32(float a)
{
    double x = (double)a, y = fx_abs_f64(x), z = x * x, e = fx_exp_short(y < 91 ? y : 91);
    double p = 0.16666666666666666 + z * (0.008333333333333333 + z * 0.0001984127);
    double small = x + x * z * p;
    double v = 0.5 * (e - 1 / e);
    v = fx_abs_f64(x) < 0.3 ? small : fx_copysign_f64(v, x);
    return a != a ? a : (float)v;
}

FX float
fx_cosh_f32(float a)
{
    double x = fx_abs_f64((double)a), e = fx_exp_short(x < 91 ? x : 91);
    return a != a ? a : (float)(0.5 * (e + 1 / e));
}

FX float
fx_asinh_f32(float a)
{
    double x = fx_abs_f64((double)a), v = fx_log_short(x + fx_sqrt_f64(x * x + 1));
    v = x < 1e-3 ? x - x * x * x * 0.16666666666666666 : v;
    v = a - a == 0 ? v : x;
    return fx_copysign_f32((float)v, a);
}

FX float
fx_acosh_f32(float a)
{
    double x = (double)a, v = fx_log_short(x + fx_sqrt_f64((x - 1) * (x + 1)));
    v = a > 3.40282347e38f ? x : v;
    return a >= 1 ? (float)v : (float)NAN;
}

FX float
fx_atanh_f32(float a)
{
    double x = fx_abs_f64((double)a), v = 0.5 * fx_log_short((1 + x) / (1 - x));
    v = x < 1e-3 ? x + x * x * x * 0.3333333333333333 : v;
    v = x == 1 ? (double)INFINITY : v;
    return x <= 1 ? fx_copysign_f32((float)v, a) : (float)NAN;
}

/* asin(s) for s^2 = z <= 1/4 */
FX double
fx_asin_short(double s, double z)
{
    double p = 0.03762930812755261;
    p = fx_fma_f64(p, z, 0.01435910825214034);
    p = fx_fma_f64(p, z, 0.03182850152284301);
    p = fx_fma_f64(p, z, 0.044514495651524114);
    p = fx_fma_f64(p, z, 0.07500516837633535);
    p = fx_fma_f64(p, z, 0.1666665978150182);
    return fx_fma_f64(s * z, p, s);
}

FX float
fx_asin_f32(float a)
{
    double x = fx_abs_f64((double)a), z = x > 0.5 ? 0.5 * (1 - x) : x * x;
    double v = fx_asin_short(x > 0.5 ? fx_sqrt_f64(z) : x, z);
    v = x > 0.5 ? 1.5707963267948966 - 2 * v : v;
    return x <= 1 ? fx_copysign_f32((float)v, a) : (float)NAN;
}

FX float
fx_acos_f32(float a)
{
    double x = fx_abs_f64((double)a), z = x > 0.5 ? 0.5 * (1 - x) : x * x;
    double v = fx_asin_short(x > 0.5 ? fx_sqrt_f64(z) : x, z);
    v = x > 0.5 ? 2 * v : 1.5707963267948966 - v;
    v = a < 0 ? 3.141592653589793 - v : v;
    return x <= 1 ? (float)v : (float)NAN;
}

/* atan(y / x) for 0 <= y, 0 < x or 0 < y */
FX double
fx_atan_short(double y, double x)
{
    double small = y > x ? x : y, big = y > x ? y : x;
    int middle = small > 0.41421356237309503 * big;
    double q = (middle ? small - big : small) / (middle ? big + small : big), z = q * q;
    double p = 0.04746223899787467;
    p = fx_fma_f64(p, z, -0.08477464761091572);
    p = fx_fma_f64(p, z, 0.11044934680213475);
    p = fx_fma_f64(p, z, -0.14282030093120435);
    p = fx_fma_f64(p, z, 0.19999904801081392);
    p = fx_fma_f64(p, z, -0.3333333251071462);
    double v = (middle ? 0.7853981633974483 : 0) + fx_fma_f64(q * z, p, q);
    return y > x ? 1.5707963267948966 - v : v;
}

FX float
fx_atan_f32(float a)
{
    double x = fx_abs_f64((double)a), v = fx_atan_short(x < 1e30 ? x : 1e30, 1);
    return a != a ? a : fx_copysign_f32((float)v, a);
}

FX float
fx_atan2_f32(float a, float b)
{
    double y = fx_abs_f64((double)a), x = fx_abs_f64((double)b);
    y = y < 1e300 ? y : 1e300; /* of two infinities the angle is that of equal numbers */
    x = x < 1e300 ? x : 1e300;
    double v = (y == 0) & (x == 0) ? 0 : fx_atan_short(y, x);
    v = fx_signbit_f32(b) ? 3.141592653589793 - v : v;
    return (a != a) | (b != b) ? a + b : fx_copysign_f32((float)v, a);
}

FX float
fx_hypot_f32(float a, float b)
{
    double x = (double)a, y = (double)b;
    float v = (float)fx_sqrt_f64(x * x + y * y);
    return fx_isinf_f32(a) | fx_isinf_f32(b) ? (float)INFINITY : v;
}

#endif
