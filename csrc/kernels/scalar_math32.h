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

/* y * 2^n for the bits of FX_ROUNDER32 + n, |n| < 250 */
FX float
fx_times_power32(float y, uint32_t n_bits)
{
    uint32_t half = n_bits >> 1;
    return y * fx_from_bits_f32(half << 23) * fx_from_bits_f32((n_bits - half) << 23);
}

/* exp(r + lo), |r| <= ln 2 / 2 */
FX float
fx_exp_kernel32(float r, float lo)
{
    float q = 0.00138144987f;
    q = fx_fma_f32(q, r, 0.00836877991f);
    q = fx_fma_f32(q, r, 0.0416683927f);
    q = fx_fma_f32(q, r, 0.166665196f);
    q = fx_fma_f32(q, r, 0.49999994f);
    return 1 + (r + fx_fma_f32(r * r, q, lo));
}

FX float
fx_exp_f32(float a)
{
    float x = fx_abs_f32(a) > 106 ? fx_copysign_f32(106, a) : a;
    float t = fx_fma_f32(x, 1.44269502f, FX_ROUNDER32), n = t - FX_ROUNDER32;
    float high = fx_fma_f32(n, -0.693145751953125f, x), low = n * 1.42860677e-06f, r = high - low;
    return fx_times_power32(fx_exp_kernel32(r, (high - r) - low), fx_bits_f32(t));
}

FX float
fx_exp2_f32(float a)
{
    float x = fx_abs_f32(a) > 155 ? fx_copysign_f32(155, a) : a;
    float t = x + FX_ROUNDER32, f = x - (t - FX_ROUNDER32);
    float high = f * 0.693145751953125f, low = f * 1.42860677e-06f, r = high + low;
    return fx_times_power32(fx_exp_kernel32(r, (high - r) + low), fx_bits_f32(t));
}

/* With s = f / (2 + f) and f = m - 1, log(m) = f - s * (f - s^2 * Q(s^2)). */
FX float
fx_log_f32(float a)
{
    int tiny = a < 1.17549435e-38f;
    uint32_t u = fx_bits_f32(tiny ? a * 8388608.0f : a) + (0x3f800000u - 0x3f3504f3u);
    float k = (float)((int32_t)(u >> 23) - (tiny ? 150 : 127));
    float f = fx_from_bits_f32((u & 0x007fffffu) + 0x3f3504f3u) - 1, s = f / (2 + f), z = s * s;
    float q = fx_fma_f32(z, 0.235767543f, 0.28537643f);
    q = fx_fma_f32(q, z, 0.400003284f);
    q = fx_fma_f32(q, z, 0.666666687f);
    float tail = fx_fma_f32(k, 1.42860677e-06f, -s * (f - z * q));
    float v = k * 0.693145751953125f + (f + tail);
    v = a > 3.40282347e38f ? a : v;
    v = a == 0 ? -(float)INFINITY : v;
    return (a < 0) | (a != a) ? (float)NAN : v;
}

/* A polynomial below 0.625; above, 1 - 2 / (exp(2 x) + 1), where the quotient is less than half. */
FX float
fx_tanh_f32(float a)
{
    float x = fx_abs_f32(a), y = x < 10 ? x : 10, z = x * x, p = -0.00569740729f;
    p = fx_fma_f32(p, z, 0.0206325743f);
    p = fx_fma_f32(p, z, -0.0537378117f);
    p = fx_fma_f32(p, z, 0.133314207f);
    p = fx_fma_f32(p, z, -0.333332807f);
    float far = 1 - 2 / (fx_exp_f32(2 * y) + 1), near = fx_fma_f32(x * z, p, x);
    float v = x < 0.625f ? near : far;
    return a != a ? a : fx_copysign_f32(v, a);
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
