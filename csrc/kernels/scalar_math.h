/* scalar_math.h - elementary functions of float64 (included by scalar.h).
 *
 * Exponentials reduce by multiples of ln 2, logarithms by powers of 2, trigonometric functions by
 * multiples of pi/2; what is left goes to a polynomial (minimax, relative error below 2^-60). Where
 * one rounding too many would cost the last bit, the leading part is kept as an unevaluated sum of
 * two doubles (fx_pair). Integers are made by adding 1.5 * 2^52, after which the low bits of the
 * sum are the integer: that needs no conversion instruction, so it vectorizes on every tier.
 * Special values pass through the arithmetic where that gives the right result and are selected at
 * the end where it does not. Without fused multiplication the exact products are put together from
 * halves.
 */
#ifndef FAC_KERNELS_SCALAR_MATH_H
#define FAC_KERNELS_SCALAR_MATH_H

#include "kernels/scalar.h"

/* --- sums of two ------------------------------------------------------------------------------ */

/* An unevaluated sum; |lo| is at most about half a unit in the last place of hi. */
typedef struct fx_pair {
    double hi, lo;
} fx_pair;

FX fx_pair
fx_make_pair(double hi, double lo)
{
    fx_pair p;
    p.hi = hi;
    p.lo = lo;
    return p;
}

/* a + b exactly, for |a| >= |b| or a == 0. */
FX fx_pair
fx_quick_sum(double a, double b)
{
    double s = a + b;
    return fx_make_pair(s, b - (s - a));
}

/* a + b exactly. */
FX fx_pair
fx_exact_sum(double a, double b)
{
    double s = a + b, t = s - a;
    return fx_make_pair(s, (a - (s - t)) + (b - t));
}

/* a * b exactly, where neither overflows nor underflows. */
FX fx_pair
fx_exact_product(double a, double b)
{
    double p = a * b;
#if FX_HAS_FMA
    return fx_make_pair(p, fx_fma_f64(a, b, -p));
#else
    double ca = a * 134217729.0, cb = b * 134217729.0;
    double ah = ca - (ca - a), bh = cb - (cb - b), al = a - ah, bl = b - bh;
    return fx_make_pair(p, ((ah * bh - p) + ah * bl + al * bh) + al * bl);
#endif
}

/* a * b + c, rounded (all but) once on every tier. */
FX double
fx_fma_once_f64(double a, double b, double c)
{
#if FX_HAS_FMA
    return fx_fma_f64(a, b, c);
#else
    fx_pair p = fx_exact_product(a, b), s = fx_exact_sum(p.hi, c);
    return s.hi + (s.lo + p.lo);
#endif
}

FX fx_pair
fx_pair_times(fx_pair a, double b)
{
    fx_pair p = fx_exact_product(a.hi, b);
    return fx_quick_sum(p.hi, p.lo + a.lo * b);
}

/* a / b with the remainder divided again. */
FX double
fx_pair_ratio(fx_pair a, fx_pair b)
{
    double q = a.hi / b.hi;
    fx_pair p = fx_exact_product(q, b.hi);
    double rest = ((a.hi - p.hi) - p.lo) + (a.lo - q * b.lo);
    double more = rest / b.hi;
    return more == more ? q + more : q;
}

#define FX_ROUNDER 6755399441055744.0 /* 1.5 * 2^52 */
#define FX_EXPONENT 2046.0 /* added to it where n becomes a power of two: twice the bias */

/* (1 + t) * 2^n for the bits of FX_ROUNDER + FX_EXPONENT + n, |n| < 2040: in two steps, so that
 * subnormal results and those beyond 2^1023 come out right. */
FX double
fx_times_power(double t, uint64_t n_bits)
{
    uint64_t half = n_bits >> 1;
    double power = fx_from_bits_f64(half << 52);
    return fx_fma_f64(t, power, power) * fx_from_bits_f64((n_bits - half) << 52);
}

/* --- exponentials ----------------------------------------------------------------------------- */

/* (exp(r) - 1 - r) / r^2 for |r| <= ln 2 / 2 */
FX double
fx_exp_tail(double r)
{
    double r2 = r * r, r4 = r2 * r2;
    double high = fx_fma_f64(2.5112152655976704e-08, r, 2.755758150081629e-07);
    double p = fx_fma_f64(2.7557234531399396e-06, r, 2.4801586926520452e-05);
    double q = fx_fma_f64(0.0001984126989671395, r, 0.0013888888889115906);
    double s = fx_fma_f64(0.0083333333333169, r, 0.041666666666666095);
    double low = fx_fma_f64(0.16666666666666682, r, 0.5);
    high = fx_fma_f64(2.0826872537124386e-09, r2, high);
    p = fx_fma_f64(high, r2, p);
    return fx_fma_f64(fx_fma_f64(p, r2, q), r4, fx_fma_f64(s, r2, low));
}

typedef struct fx_split {
    double r, lo;    /* |r| <= ln 2 / 2, and what is below its last bit */
    uint64_t n_bits; /* exp(x) = exp(r + lo) * 2^n, as fx_times_power takes it */
} fx_split;

FX fx_split
fx_exp_split(double x)
{
    fx_split s;
    double t = fx_fma_f64(x, 1.4426950408889634, FX_ROUNDER + FX_EXPONENT);
    double n = t - (FX_ROUNDER + FX_EXPONENT);
    double high = fx_fma_f64(n, -0.6931471805598903, x);
    s.r = fx_fma_f64(n, -5.497923018708371e-14, high);
    s.lo = fx_fma_f64(n, -5.497923018708371e-14, high - s.r);
    s.n_bits = fx_bits_f64(t);
    return s;
}

/* exp(x) and exp(x + lo), for |lo| far below |x| */
FX double
fx_exp_f64(double a)
{
    fx_split s = fx_exp_split(a);
    double tail = fx_fma_f64(s.r * s.r, fx_exp_tail(s.r), s.lo);
    double v = fx_times_power(s.r + tail, s.n_bits);
    v = a > 720 ? (double)INFINITY : v;
    return a < -760 ? 0 : v;
}

FX double
fx_exp_sum(double x, double lo)
{
    fx_split s = fx_exp_split(x);
    fx_pair r = fx_quick_sum(s.r, s.lo + lo);
    double tail = fx_fma_f64(r.hi * r.hi, fx_exp_tail(r.hi), r.lo),
           v = fx_times_power(r.hi + tail, s.n_bits);
    v = x > 720 ? (double)INFINITY : v;
    return x < -760 ? 0 : v;
}

FX double
fx_exp2_f64(double a)
{
    double t = a + (FX_ROUNDER + FX_EXPONENT), f = a - (t - (FX_ROUNDER + FX_EXPONENT));
    fx_pair r = fx_exact_product(f, 0.6931471805599453);
    double lo = r.lo + f * 2.3190468138462996e-17;
    double tail = fx_fma_f64(r.hi * r.hi, fx_exp_tail(r.hi), lo),
           v = fx_times_power(r.hi + tail, fx_bits_f64(t));
    v = a > 1100 ? (double)INFINITY : v;
    return a < -1100 ? 0 : v;
}

/* exp(a) - 1 as a pair, for -50 < a < 709 */
FX fx_pair
fx_expm1_pair(double a)
{
    fx_split s = fx_exp_split(a);
    double tail = fx_fma_f64(s.r * s.r, fx_exp_tail(s.r), s.lo);
    double power = fx_from_bits_f64((s.n_bits - 1023) << 52);
    fx_pair sum = fx_exact_sum(power - 1, power * s.r);
    double less = power > 9007199254740992.0 ? -1 : 0; /* what power - 1 has lost */
    return fx_quick_sum(sum.hi, sum.lo + (power * tail + less));
}

FX double
fx_expm1_f64(double a)
{
    double x = a > 720 ? 720 : a < -45 ? -45 : a;
    fx_pair e = fx_expm1_pair(x > 708 ? 708 : x);
    double big = x > 700 ? fx_exp_f64(x) : e.hi + e.lo;
    big = fx_abs_f64(a) < 1e-300 ? a : big;
    return a < -44 ? -1 : big;
}

/* --- logarithms ------------------------------------------------------------------------------- */

typedef struct fx_log_split {
    double m, k; /* x = m * 2^k, sqrt(1/2) <= m < sqrt(2) */
} fx_log_split;

/* For positive finite x, subnormal ones too. */
FX fx_log_split
fx_split_power(double x)
{
    fx_log_split s;
    int tiny = x < 2.2250738585072014e-308;
    uint64_t u = fx_bits_f64(tiny ? x * 18014398509481984.0 : x) +
                 (UINT64_C(0x3ff0000000000000) - UINT64_C(0x3fe6a09e667f3bcd));
    s.k = fx_from_bits_f64((u >> 52) | UINT64_C(0x4330000000000000)) -
          (tiny ? 4503599627371573.0 : 4503599627371519.0); /* 2^52 + 1023 (+ 54) */
    s.m = fx_from_bits_f64((u & UINT64_C(0x000fffffffffffff)) + UINT64_C(0x3fe6a09e667f3bcd));
    return s;
}

/* log(x) as a pair with a relative error near 2^-66: with s = (m - 1) / (m + 1),
 * log(m) = 2 s + s^3 (2/3 + s^2 R(s^2)). */
FX fx_pair
fx_log_pair(double x)
{
    fx_log_split p = fx_split_power(x);
    double f = p.m - 1, d = p.m + 1, d_lo = p.m - (d - 1), inverse = 1 / d, s = f * inverse;
    fx_pair back = fx_exact_product(s, d);
    double s_lo = (((f - back.hi) - back.lo) - s * d_lo) * inverse;
    fx_pair t = fx_exact_product(s, s);
    t.lo += 2 * s * s_lo;
    double z = t.hi, z2 = z * z, r = fx_fma_f64(0.11989641990468568, z, 0.11674743093963853);
    r = fx_fma_f64(r, z2, fx_fma_f64(0.1333632112917421, z, 0.15384556774713967));
    r = fx_fma_f64(r, z2, fx_fma_f64(0.18181818871723027, z, 0.2222222221752502));
    r = fx_fma_f64(r, z2, fx_fma_f64(0.28571428571445157, z, 0.3999999999999998));
    fx_pair c = fx_quick_sum(0.6666666666666666, t.hi * r);
    c.lo += 3.700743415417188e-17 + 0.4 * t.lo;
    fx_pair q = fx_exact_product(t.hi, c.hi);
    q.lo += t.hi * c.lo + t.lo * c.hi;
    fx_pair cube = fx_exact_product(q.hi, s);
    cube.lo += q.lo * s + q.hi * s_lo;
    fx_pair m = fx_quick_sum(2 * s, cube.hi);
    m.lo += cube.lo + 2 * s_lo;
    fx_pair sum = fx_quick_sum(p.k * 0.6931471805598903, m.hi);
    return fx_quick_sum(sum.hi, sum.lo + (m.lo + p.k * 5.497923018708371e-14));
}

/* The logarithm's values where its argument is not positive and finite. */
FX double
fx_log_special(double a, double log)
{
    log = a > 1.7976931348623157e308 ? a : log;
    log = a == 0 ? -(double)INFINITY : log;
    return (a < 0) | (a != a) ? (double)NAN : log;
}

/* With s = f / (2 + f), log(1 + f) = f - (f^2 / 2 - s * (f^2 / 2 + s^2 (2/3 + ...))), where the
 * last bracket is small against f. */
FX double
fx_log_f64(double a)
{
    fx_log_split p = fx_split_power(a);
    double f = p.m - 1, s = f / (2 + f), half = 0.5 * f * f, z = s * s, z2 = z * z;
    double r = fx_fma_f64(0.13196977549640285, z, 0.1325674966021348);
    r = fx_fma_f64(r, z2, fx_fma_f64(0.15386760172107072, z, 0.18181784307381804));
    r = fx_fma_f64(r, z2, fx_fma_f64(0.22222222520581697, z, 0.28571428570096036));
    r = z * fx_fma_f64(r, z2, fx_fma_f64(0.4000000000000226, z, 0.6666666666666666));
    double low = fx_fma_f64(s, half + r, p.k * 5.497923018708371e-14);
    return fx_log_special(a, p.k * 0.6931471805598903 + (f - (half - low)));
}

FX double
fx_log2_f64(double a)
{
    fx_pair p = fx_log_pair(a), r = fx_exact_product(p.hi, 1.4426950408889634);
    r.lo += p.hi * 2.0355273740931033e-17 + p.lo * 1.4426950408889634;
    return fx_log_special(a, r.hi + r.lo);
}

FX double
fx_log10_f64(double a)
{
    fx_pair p = fx_log_pair(a), r = fx_exact_product(p.hi, 0.4342944819032518);
    r.lo += p.hi * 1.098319650216765e-17 + p.lo * 0.4342944819032518;
    return fx_log_special(a, r.hi + r.lo);
}

/* log(hi + lo) as a pair */
FX fx_pair
fx_log_of_pair(fx_pair x)
{
    fx_pair p = fx_log_pair(x.hi);
    return fx_quick_sum(p.hi == 0 ? x.lo / x.hi : p.hi, p.hi == 0 ? 0 : p.lo + x.lo / x.hi);
}

FX double
fx_log1p_f64(double a)
{
    fx_pair p = fx_log_of_pair(fx_exact_sum(1, a));
    double r = fx_abs_f64(a) < 1e-300 ? a : p.hi + p.lo;
    r = a > 1.7976931348623157e308 ? a : r;
    r = a == -1 ? -(double)INFINITY : r;
    return (a < -1) | (a != a) ? (double)NAN : r;
}

/* --- powers ----------------------------------------------------------------------------------- */

FX double
fx_pow_f64(double a, double b)
{
    double x = fx_abs_f64(a);
    fx_pair l = fx_log_pair(x), p = fx_exact_product(l.hi, b);
    double below = fx_abs_f64(p.hi) < 800 ? p.lo + l.lo * b : 0;
    double r = fx_exp_sum(p.hi, below);
    int whole = fx_round_f64(b) == b, odd = whole & (fx_round_f64(b * 0.5) != b * 0.5);
    odd &= fx_abs_f64(b) < 9007199254740992.0;
    int grows = (x > 1) == (b > 0);
    r = (x == 0) | fx_isinf_f64(x) | fx_isinf_f64(b) ? (grows ? (double)INFINITY : 0) : r;
    r = x == 1 ? 1 : r;
    r = odd ? fx_copysign_f64(r, a) : r;
    r = (a < 0) & !whole & fx_isfinite_f64(a) ? (double)NAN : r;
    r = (a != a) | (b != b) ? (double)NAN : r;
    return (b == 0) | (a == 1) ? 1 : r;
}

FX double
fx_hypot_f64(double a, double b)
{
    double x = fx_abs_f64(a), y = fx_abs_f64(b), big = x > y ? x : y, small = x > y ? y : x;
    double scale = big > 1e150 ? 0x1p-600 : big < 1e-150 ? 0x1p600 : 1;
    double back = big > 1e150 ? 0x1p600 : big < 1e-150 ? 0x1p-600 : 1;
    fx_pair p = fx_exact_product(big * scale, big * scale);
    fx_pair q = fx_exact_product(small * scale, small * scale), s = fx_quick_sum(p.hi, q.hi);
    double root = fx_sqrt_f64(s.hi);
    fx_pair square = fx_exact_product(root, root);
    double rest = ((s.hi - square.hi) - square.lo) + (s.lo + (p.lo + q.lo));
    root = root > 0 ? root + rest / (2 * root) : 0;
    root = (x != x) | (y != y) ? x + y : root * back;
    return fx_isinf_f64(x) | fx_isinf_f64(y) ? (double)INFINITY : root;
}

/* --- trigonometric functions ------------------------------------------------------------------ */

typedef struct fx_angle {
    double r, lo;  /* |r| <= pi/4, and what is below its last bit */
    uint64_t turn; /* its low two bits: how many quarters were taken off */
} fx_angle;

/* x - n * c exactly, when that is far smaller than x */
FX fx_pair
fx_less_multiple(double x, double n, double c)
{
#if FX_HAS_FMA
    return fx_make_pair(fx_fma_f64(-n, c, x), 0);
#else
    fx_pair p = fx_exact_product(n, c);
    return fx_exact_sum(x - p.hi, -p.lo);
#endif
}

/* Takes off quarters of a turn with 161 bits of pi/2: good up to |x| near 2^50. */
FX fx_angle
fx_reduce_angle(double x)
{
    fx_angle a;
    double t = fx_fma_f64(x, 0.6366197723675814, FX_ROUNDER), n = t - FX_ROUNDER;
    fx_pair one = fx_less_multiple(x, n, 1.5707963267948966);
    fx_pair two = fx_exact_product(n, 6.123233995736766e-17);
    fx_pair sum = fx_exact_sum(one.hi, -two.hi);
    fx_pair all = fx_quick_sum(sum.hi, (sum.lo + (one.lo - two.lo)) + n * 1.4973849048591698e-33);
    a.r = all.hi;
    a.lo = all.lo;
    a.turn = fx_bits_f64(t);
    return a;
}

/* The same beyond that, up to the largest number. x = m 2^e with an integer m, and of 2/pi only the
 * bits matter that give less than four quarters: 192 of them times m, modulo 2^192, are the
 * quarter and 190 bits of the place in it. */
FX fx_angle
fx_reduce_far(double x)
{
    const uint64_t two_over_pi[] = {
        /* one word above the point, 1280 bits below it */
        UINT64_C(0x0000000000000000), UINT64_C(0xa2f9836e4e441529), UINT64_C(0xfc2757d1f534ddc0),
        UINT64_C(0xdb6295993c439041), UINT64_C(0xfe5163abdebbc561), UINT64_C(0xb7246e3a424dd2e0),
        UINT64_C(0x06492eea09d1921c), UINT64_C(0xfe1deb1cb129a73e), UINT64_C(0xe88235f52ebb4484),
        UINT64_C(0xe99c7026b45f7e41), UINT64_C(0x3991d639835339f4), UINT64_C(0x9c845f8bbdf9283b),
        UINT64_C(0x1ff897ffde05980f), UINT64_C(0xef2f118b5a0a6d1f), UINT64_C(0x6d367ecf27cb09b7),
        UINT64_C(0x4f463f669e5fea2d), UINT64_C(0x7527bac7ebe5f17b), UINT64_C(0x3d0739f78a5292ea),
        UINT64_C(0x6bfb5fb11f8d5d08), UINT64_C(0x56033046fc7b6bab), UINT64_C(0xf0cfbc209af4361d),
    };
    uint64_t bits = fx_bits_f64(x), sign = bits >> 63;
    uint64_t m = (bits & UINT64_C(0xfffffffffffff)) | UINT64_C(0x10000000000000);
    int first = (int)(bits >> 52 & 0x7ff) - 1075 + 62, k = first >> 6, s = first & 63;
    uint64_t w[3];
    for (int i = 0; i < 3; i++)
        w[i] = two_over_pi[k + i] << s | two_over_pi[k + i + 1] >> 1 >> (63 - s);
    unsigned __int128 low = (unsigned __int128)m * w[2];
    unsigned __int128 middle = (unsigned __int128)m * w[1] + (uint64_t)(low >> 64);
    uint64_t q0 = m * w[0] + (uint64_t)(middle >> 64), q1 = (uint64_t)middle, q2 = (uint64_t)low;
    uint64_t turn = q0 >> 62;
    q0 = q0 << 2 | q1 >> 62;
    q1 = q1 << 2 | q2 >> 62;
    q2 = q2 << 2;
    uint64_t above = q0 >> 63; /* nearer to the next quarter: the place counts back from it */
    turn += above;
    q2 = above ? -q2 : q2;
    q1 = above ? ~q1 + (q2 == 0) : q1;
    q0 = above ? ~q0 + ((q2 | q1) == 0) : q0;
    int zeros = q0 ? __builtin_clzll(q0) : 63;
    q0 = q0 << zeros | q1 >> 1 >> (63 - zeros);
    q1 = q1 << zeros | q2 >> 1 >> (63 - zeros);
    double scale = fx_from_bits_f64((uint64_t)(1023 - 53 - zeros) << 52);
    scale = above ^ sign ? -scale : scale;
    double hi = (double)(q0 >> 11) * scale;
    double lo = (double)((q0 & 0x7ff) << 53 | q1 >> 11) * (scale * 0x1p-64);
    fx_pair p = fx_exact_product(hi, 1.5707963267948966);
    p = fx_quick_sum(p.hi, p.lo + (hi * 6.123233995736766e-17 + lo * 1.5707963267948966));
    fx_angle a;
    a.r = p.hi;
    a.lo = p.lo;
    a.turn = sign ? -turn : turn;
    return a;
}

/* Where fx_reduce_angle does not do; loops test for it a block at a time (kernels/loop.h). */
#define FX_FAR 0x1p50
FX int
fx_is_far(double x)
{
    double size = x < 0 ? -x : x;
    return size > FX_FAR && size < (double)INFINITY;
}

/* sin and cos of a reduced angle as pairs */
FX fx_pair
fx_sin_kernel(double r, double lo)
{
    double z = r * r, s = -7.57862476728218e-13;
    s = fx_fma_f64(s, z, 1.6058365178374344e-10);
    s = fx_fma_f64(s, z, -2.505210490042394e-08);
    s = fx_fma_f64(s, z, 2.755731921414843e-06);
    s = fx_fma_f64(s, z, -0.00019841269841254988);
    s = fx_fma_f64(s, z, 0.008333333333333323);
    s = fx_fma_f64(s, z, -0.16666666666666666);
    return fx_make_pair(r, fx_fma_f64(r * z, s, lo - 0.5 * z * lo));
}

FX fx_pair
fx_cos_kernel(double r, double lo)
{
    double z = r * r, half = 0.5 * z, w = 1 - half, c = 4.738048782435833e-14;
    c = fx_fma_f64(c, z, -1.1470291952315344e-11);
    c = fx_fma_f64(c, z, 2.08767543547828e-09);
    c = fx_fma_f64(c, z, -2.7557319215326284e-07);
    c = fx_fma_f64(c, z, 2.4801587301571384e-05);
    c = fx_fma_f64(c, z, -0.0013888888888888874);
    c = fx_fma_f64(c, z, 0.041666666666666664);
    return fx_make_pair(w, ((1 - w) - half) + fx_fma_f64(z * z, c, -r * lo));
}

FX double
fx_sin_turned(fx_angle t)
{
    fx_pair s = fx_sin_kernel(t.r, t.lo), c = fx_cos_kernel(t.r, t.lo);
    double v = t.turn & 1 ? c.hi + c.lo : s.hi + s.lo;
    return fx_from_bits_f64(fx_bits_f64(v) ^ ((t.turn & 2) << 62));
}
FX double
fx_sin_f64(double a)
{
    double v = fx_sin_turned(fx_reduce_angle(a));
    return a == 0 ? a : v;
}
FX double
fx_sin_far_f64(double a)
{
    return fx_is_far(a) ? fx_sin_turned(fx_reduce_far(a)) : fx_sin_f64(a);
}

FX double
fx_cos_turned(fx_angle t)
{
    fx_pair s = fx_sin_kernel(t.r, t.lo), c = fx_cos_kernel(t.r, t.lo);
    double v = t.turn & 1 ? s.hi + s.lo : c.hi + c.lo;
    return fx_from_bits_f64(fx_bits_f64(v) ^ (((t.turn + 1) & 2) << 62));
}
FX double
fx_cos_f64(double a)
{
    return fx_cos_turned(fx_reduce_angle(a));
}
FX double
fx_cos_far_f64(double a)
{
    return fx_is_far(a) ? fx_cos_turned(fx_reduce_far(a)) : fx_cos_f64(a);
}

FX double
fx_tan_turned(fx_angle t)
{
    fx_pair s = fx_sin_kernel(t.r, t.lo), c = fx_cos_kernel(t.r, t.lo);
    int odd = (int)(t.turn & 1);
    fx_pair top = fx_quick_sum(odd ? -c.hi : s.hi, odd ? -c.lo : s.lo);
    fx_pair bottom = fx_quick_sum(odd ? s.hi : c.hi, odd ? s.lo : c.lo);
    return fx_pair_ratio(top, bottom);
}
FX double
fx_tan_f64(double a)
{
    double v = fx_tan_turned(fx_reduce_angle(a));
    return a == 0 ? a : v;
}
FX double
fx_tan_far_f64(double a)
{
    return fx_is_far(a) ? fx_tan_turned(fx_reduce_far(a)) : fx_tan_f64(a);
}

/* asin(s) / s - 1 over s^2, for s^2 <= 1/4 */
FX double
fx_asin_tail(double z)
{
    double p = 0.03280186048071362;
    p = fx_fma_f64(p, z, -0.021272319635885117);
    p = fx_fma_f64(p, z, 0.021897819144971308);
    p = fx_fma_f64(p, z, 0.003629318619074504);
    p = fx_fma_f64(p, z, 0.010800344875143605);
    p = fx_fma_f64(p, z, 0.01139538691096839);
    p = fx_fma_f64(p, z, 0.013981243675560596);
    p = fx_fma_f64(p, z, 0.017351577416415607);
    p = fx_fma_f64(p, z, 0.02237221687067137);
    p = fx_fma_f64(p, z, 0.03038194264267129);
    p = fx_fma_f64(p, z, 0.044642857175927655);
    p = fx_fma_f64(p, z, 0.07499999999969471);
    return fx_fma_f64(p, z, 0.16666666666666766);
}

typedef struct fx_half_angle {
    double z, s, lo; /* s + lo = |x|, or sqrt((1 - |x|) / 2) where |x| > 1/2; z its square */
    int beyond;      /* |x| > 1/2 */
} fx_half_angle;

FX fx_half_angle
fx_halve_angle(double a)
{
    fx_half_angle h;
    double x = fx_abs_f64(a), z = 0.5 * (1 - x), root = fx_sqrt_f64(z);
    fx_pair square = fx_exact_product(root, root);
    double rest = ((z - square.hi) - square.lo) / (2 * root);
    h.beyond = x > 0.5;
    h.z = h.beyond ? z : x * x;
    h.s = h.beyond ? root : x;
    h.lo = h.beyond & (root > 0) ? rest : 0;
    return h;
}

FX double
fx_asin_f64(double a)
{
    fx_half_angle h = fx_halve_angle(a);
    double tail = h.lo + h.s * h.z * fx_asin_tail(h.z);
    fx_pair big = fx_quick_sum(1.5707963267948966, -2 * h.s);
    double v = h.beyond ? big.hi + (big.lo + (6.123233995736766e-17 - 2 * tail)) : h.s + tail;
    v = fx_copysign_f64(v, a);
    return fx_abs_f64(a) <= 1 ? v : (double)NAN;
}

FX double
fx_acos_f64(double a)
{
    fx_half_angle h = fx_halve_angle(a);
    double tail = h.lo + h.s * h.z * fx_asin_tail(h.z);
    double s = h.beyond ? 2 * h.s : a < 0 ? h.s : -h.s, t = h.beyond ? 2 * tail : tail;
    t = h.beyond | (a < 0) ? t : -t;
    /* pi/2 -+ asin(|x|) near 0; pi - 2 asin(..) near -1, 2 asin(..) near 1 */
    int minus = h.beyond & (a < 0);
    double base = minus ? 3.141592653589793 : h.beyond ? 0 : 1.5707963267948966;
    double base_lo = minus ? 1.2246467991473532e-16 : h.beyond ? 0 : 6.123233995736766e-17;
    fx_pair sum = fx_quick_sum(base, minus ? -s : s);
    double v = sum.hi + (sum.lo + (base_lo + (minus ? -t : t)));
    return fx_abs_f64(a) <= 1 ? v : (double)NAN;
}

/* atan(y / x) for 0 <= y, 0 <= x, not both 0 nor both infinite, as a pair in [0, pi/2]: the smaller
 * by the larger, and from tan(pi/8) on the difference to pi/4. */
FX fx_pair
fx_atan_ratio(double y, double x)
{
    int steep = y > x;
    double small = steep ? x : y, big = steep ? y : x;
    int middle = small > 0.41421356237309503 * big;
    fx_pair top = fx_exact_sum(small, middle ? -big : 0);
    fx_pair bottom = fx_quick_sum(big, middle ? small : 0);
    double inverse = 1 / bottom.hi, q = top.hi * inverse;
    fx_pair back = fx_exact_product(q, bottom.hi);
    double rest = ((top.hi - back.hi) - back.lo) + (top.lo - q * bottom.lo), q_lo = rest * inverse;
    q_lo = q_lo == q_lo ? q_lo : 0;
    double z = q * q, p = 0.01519625637727983;
    p = fx_fma_f64(p, z, -0.03347562681536132);
    p = fx_fma_f64(p, z, 0.04503603723222956);
    p = fx_fma_f64(p, z, -0.052184188777653864);
    p = fx_fma_f64(p, z, 0.05877024254094185);
    p = fx_fma_f64(p, z, -0.06666227033124263);
    p = fx_fma_f64(p, z, 0.07692282779400851);
    p = fx_fma_f64(p, z, -0.09090908145561477);
    p = fx_fma_f64(p, z, 0.11111111088210668);
    p = fx_fma_f64(p, z, -0.14285714285388632);
    p = fx_fma_f64(p, z, 0.19999999999997675);
    p = fx_fma_f64(p, z, -0.33333333333333326);
    double tail = fx_fma_f64(q * z, p, q_lo);
    fx_pair v = fx_quick_sum(middle ? 0.7853981633974483 : q, middle ? q : tail);
    v.lo += middle ? tail + 3.061616997868383e-17 : 0;
    fx_pair w = fx_quick_sum(1.5707963267948966, -v.hi);
    w.lo += 6.123233995736766e-17 - v.lo;
    return fx_make_pair(steep ? w.hi : v.hi, steep ? w.lo : v.lo);
}

FX double
fx_atan_f64(double a)
{
    double x = fx_abs_f64(a);
    fx_pair p = fx_atan_ratio(x, 1);
    double v = x > 1e300 ? 1.5707963267948966 : p.hi + p.lo;
    v = a == 0 ? 0 : v;
    return a != a ? a : fx_copysign_f64(v, a);
}

FX double
fx_atan2_f64(double a, double b)
{
    double y = fx_abs_f64(a), x = fx_abs_f64(b), big = y > x ? y : x;
    double scale = big > 1e150 ? 0x1p-600 : big < 1e-150 ? 0x1p600 : 1;
    int both = fx_isinf_f64(x) & fx_isinf_f64(y);
    fx_pair p = fx_atan_ratio(y * scale, x * scale), back = fx_quick_sum(3.141592653589793, -p.hi);
    double obtuse = back.hi + (back.lo + (1.2246467991473532e-16 - p.lo));
    double v = fx_signbit_f64(b) ? obtuse : p.hi + p.lo;
    double flat = fx_signbit_f64(b) ? 3.141592653589793 : 0;
    double corner = fx_signbit_f64(b) ? 2.356194490192345 : 0.7853981633974483;
    v = (y == 0) | (fx_isinf_f64(x) & !fx_isinf_f64(y)) ? flat : v;
    v = fx_isinf_f64(y) ? (both ? corner : 1.5707963267948966) : v;
    return (a != a) | (b != b) ? a + b : fx_copysign_f64(v, a);
}

/* --- hyperbolic functions --------------------------------------------------------------------- */

/* exp(x) / 2 for x >= 40, where exp(x) alone may overflow */
FX double
fx_half_exp(double x)
{
    fx_pair p = fx_quick_sum(x < 800 ? x : 800, -0.6931471805599453);
    return fx_exp_sum(p.hi, p.lo - 2.3190468138462996e-17);
}

FX double
fx_sinh_f64(double a)
{
    double x = fx_abs_f64(a);
    fx_pair e = fx_expm1_pair(x < 40 ? x : 40), d = fx_exact_sum(1, e.hi);
    double q = fx_pair_ratio(e, fx_make_pair(d.hi, d.lo + e.lo));
    double v = 0.5 * (e.hi + (e.lo + q));
    v = x >= 40 ? fx_half_exp(x) : v;
    v = x < 1e-300 ? x : v;
    return a != a ? a : fx_copysign_f64(v, a);
}

FX double
fx_cosh_f64(double a)
{
    double x = fx_abs_f64(a);
    fx_pair e = fx_expm1_pair(x < 40 ? x : 40), d = fx_exact_sum(1, e.hi);
    double rest = d.lo + e.lo, inverse = 1 / d.hi, v = 0.5 * (d.hi + (rest + inverse));
    v = x >= 40 ? fx_half_exp(x) : v;
    return a != a ? a : v;
}

FX double
fx_tanh_f64(double a)
{
    double x = fx_abs_f64(a);
    fx_pair e = fx_expm1_pair(x < 20 ? 2 * x : 40), d = fx_exact_sum(2, e.hi);
    double v = fx_pair_ratio(e, fx_make_pair(d.hi, d.lo + e.lo));
    v = x < 1e-300 ? x : x >= 20 ? 1 : v;
    return a != a ? a : fx_copysign_f64(v, a);
}

/* sqrt of a pair, as a pair */
FX fx_pair
fx_sqrt_pair(fx_pair a)
{
    double root = fx_sqrt_f64(a.hi);
    fx_pair square = fx_exact_product(root, root);
    double rest = ((a.hi - square.hi) - square.lo) + a.lo;
    return fx_make_pair(root, root > 0 ? rest / (2 * root) : 0);
}

FX double
fx_asinh_f64(double a)
{
    double x = fx_abs_f64(a), y = x < 1e100 ? x : 1e100;
    fx_pair square = fx_exact_product(y, y), s = fx_exact_sum(1, square.hi);
    fx_pair root = fx_sqrt_pair(fx_quick_sum(s.hi, s.lo + square.lo));
    fx_pair sum = fx_exact_sum(root.hi, y);
    sum = fx_quick_sum(sum.hi, sum.lo + root.lo);
    int large = x > 1e17;
    fx_pair l = fx_log_of_pair(fx_make_pair(large ? x : sum.hi, large ? 0 : sum.lo));
    double v = l.hi + (l.lo + (large ? 0.6931471805599453 : 0));
    v = x < 1e-150 ? x : x > 1.7976931348623157e308 ? x : v;
    return a != a ? a : fx_copysign_f64(v, a);
}

FX double
fx_acosh_f64(double a)
{
    double y = a < 1e100 ? a : 1e100;
    fx_pair square = fx_exact_product(y, y), s = fx_exact_sum(square.hi, -1);
    fx_pair root = fx_sqrt_pair(fx_quick_sum(s.hi, s.lo + square.lo));
    fx_pair sum = fx_exact_sum(y, root.hi);
    sum = fx_quick_sum(sum.hi, sum.lo + root.lo);
    int large = a > 1e17;
    fx_pair l = fx_log_of_pair(fx_make_pair(large ? a : sum.hi, large ? 0 : sum.lo));
    double v = l.hi + (l.lo + (large ? 0.6931471805599453 : 0));
    v = a > 1.7976931348623157e308 ? a : v;
    return a >= 1 ? v : (double)NAN;
}

FX double
fx_atanh_f64(double a)
{
    double x = fx_abs_f64(a);
    fx_pair up = fx_log_of_pair(fx_exact_sum(1, x)), down = fx_log_of_pair(fx_exact_sum(1, -x));
    fx_pair d = fx_exact_sum(up.hi, -down.hi);
    double v = 0.5 * (d.hi + (d.lo + (up.lo - down.lo)));
    v = x < 1e-300 ? x : v;
    v = x == 1 ? (double)INFINITY : v;
    return x <= 1 ? fx_copysign_f64(v, a) : (double)NAN;
}

#include "kernels/scalar_math32.h"

#endif
