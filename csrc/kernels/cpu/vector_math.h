/* vector_math.h - elementary functions on vectors of AVX-512 (included by elementary.c).
 *
 * What scalar_math32.h says element by element is said here for PAIR vectors at once, step by step
 * over all of them: a core keeps about a hundred operations waiting, which is three chains of an
 * exponential one behind the other, but enough when two stand side by side. And the instructions
 * are used that the compiler finds in no scalar text: scaling by powers of two, taking a number
 * apart, tables that lie in registers.
 *
 * Errors are below one unit in the last place (docs/accuracy.md), special values exact. Lanes do
 * not know of each other, so an element's bits do not depend on where it lies.
 */
#ifndef FAC_KERNELS_CPU_VECTOR_MATH_H
#define FAC_KERNELS_CPU_VECTOR_MATH_H

#include "kernels/scalar.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define EACH for (int k = 0; k < pair; k++) /* `pair`: how many vectors, a constant, at most PAIR */
enum { PAIR = 2 };

typedef __m512 Floats;
typedef __m512d Doubles;
typedef __m512i Words;

#define F(x) _mm512_set1_ps(x)
#define D(x) _mm512_set1_pd(x)
#define W(x) _mm512_set1_epi32(x)
#define FMA _mm512_fmadd_ps   /* a * b + c */
#define LESS _mm512_fnmadd_ps /* c - a * b */
#define FMAD _mm512_fmadd_pd
#define SIGN F(-0.0f)

/* --- exponentials ----------------------------------------------------------------------------- */

/* The polynomial of fx_exp_f32; the power of two comes in one step, down to subnormal numbers. */
INLINE void
exp_f32(Floats *x, const int pair)
{
    Floats n[PAIR], r[PAIR], r2[PAIR], p[PAIR], q[PAIR];
    EACH x[k] = _mm512_max_ps(F(-105), _mm512_min_ps(F(89), x[k])); /* a NaN is the second */
    EACH n[k] = FMA(x[k], F(1.44269502f), F(FX_ROUNDER32)) - F(FX_ROUNDER32);
    EACH r[k] = FMA(n[k], F(-0.693145751953125f), x[k]);
    EACH r[k] = FMA(n[k], F(-1.42860677e-06f), r[k]);
    EACH r2[k] = r[k] * r[k];
    EACH q[k] = FMA(r[k], F(0.008368754f), F(0.041668296f));
    EACH p[k] = FMA(r[k], F(0.1666652f), F(0.49999994f));
    EACH q[k] = FMA(r2[k], F(0.001381951f), q[k]);
    EACH p[k] = FMA(r2[k], q[k], p[k]);
    EACH p[k] = FMA(p[k], r[k], F(1));
    EACH p[k] = FMA(p[k], r[k], F(1));
    EACH x[k] = _mm512_scalef_ps(p[k], n[k]);
}

/* 2^(j / 16), and what its last bit leaves */
static const double roots[16] = {
    1,
    1.0442737824274138,
    1.0905077326652577,
    1.1387886347566916,
    1.189207115002721,
    1.241857812073484,
    1.2968395546510096,
    1.3542555469368927,
    1.4142135623730951,
    1.4768261459394993,
    1.5422108254079407,
    1.6104903319492543,
    1.681792830507429,
    1.7562521603732995,
    1.8340080864093424,
    1.9152065613971474,
};
static const double roots_low[16] = {
    0,
    8.5518897055379649e-17,
    -3.0467820798124711e-17,
    8.9128126760254078e-17,
    3.9820152314656461e-17,
    4.6580275918369368e-17,
    2.5382502794888315e-17,
    7.7009483798029895e-17,
    -9.6672933134529135e-17,
    -3.4839945568927958e-17,
    7.9498348096976209e-17,
    2.4707192569797888e-17,
    8.1990100205814965e-17,
    2.9601406954488733e-17,
    3.2831072242456272e-17,
    -1.0619946056195963e-16,
};

/* x = n ln 2 + r with n in sixteenths: 2^n from its floor and a table, exp(r) by a polynomial. */
INLINE void
exp_f64(Doubles *x, const int pair)
{
    const Doubles rounder = D(FX_ROUNDER / 16); /* low bits of a sum: sixteenths */
    Doubles u[PAIR], n[PAIR], r[PAIR], r2[PAIR], p[PAIR], q[PAIR], root[PAIR];
    EACH x[k] = _mm512_max_pd(D(-760), _mm512_min_pd(D(720), x[k]));
    EACH u[k] = FMAD(x[k], D(1.4426950408889634), rounder);
    EACH n[k] = u[k] - rounder;
    EACH r[k] = FMAD(n[k], D(-0.6931471805582987), x[k]);
    EACH r[k] = FMAD(n[k], D(-1.6465949582897082e-12), r[k]);
    EACH r2[k] = r[k] * r[k];
    EACH q[k] = FMAD(r[k], D(0.00019841528498702854), D(0.0013889063475622278));
    EACH p[k] = FMAD(r[k], D(0.008333333332612599), D(0.04166666666359424));
    EACH p[k] = FMAD(q[k], r2[k], p[k]);
    EACH q[k] = FMAD(r[k], D(0.16666666666666671), D(0.50000000000000011));
    EACH p[k] = FMAD(p[k], r2[k], q[k]);
    EACH p[k] = FMAD(p[k], r2[k], r[k]);
    EACH root[k] =
        _mm512_permutex2var_pd(_mm512_loadu_pd(roots), (Words)u[k], _mm512_loadu_pd(roots + 8));
    EACH q[k] = _mm512_permutex2var_pd(_mm512_loadu_pd(roots_low), (Words)u[k],
                                       _mm512_loadu_pd(roots_low + 8));
    EACH p[k] = root[k] + FMAD(root[k], p[k], q[k]);
    EACH x[k] = _mm512_scalef_pd(p[k], n[k]);
}

/* fx_sigmoid_f32: e / (1 + e) or 1 / (1 + e), whose remainder is divided again. */
INLINE void
sigmoid_f32(Floats *x, const int pair)
{
    Floats e[PAIR], d[PAIR], inverse[PAIR], top[PAIR], q[PAIR], rest[PAIR];
    EACH e[k] = _mm512_or_ps(x[k], SIGN);
    exp_f32(e, pair);
    EACH d[k] = e[k] + F(1);
    EACH inverse[k] = F(1) / d[k];
    EACH top[k] = _mm512_mask_mov_ps(F(1), _mm512_movepi32_mask((Words)x[k]), e[k]);
    EACH q[k] = top[k] * inverse[k];
    EACH rest[k] = LESS(q[k], e[k] - (d[k] - F(1)), LESS(q[k], d[k], top[k]));
    EACH x[k] = FMA(rest[k], inverse[k], q[k]);
}

INLINE void
silu_f32(Floats *x, const int pair)
{
    Floats y[PAIR];
    EACH y[k] = x[k];
    sigmoid_f32(y, pair);
    EACH x[k] *= y[k];
}

/* fx_gelu_f32: max(x, 0) - |x| * P(N < -|x|), the probability as exp(..) / 2. */
INLINE void
gelu_f32(Floats *x, const int pair)
{
    Floats y[PAIR], z[PAIR], z2[PAIR], p[PAIR], q[PAIR], r[PAIR], s[PAIR], t[PAIR];
    EACH y[k] = _mm512_min_ps(F(10), _mm512_andnot_ps(SIGN, x[k]));
    EACH z[k] = y[k] * y[k];
    EACH p[k] = FMA(y[k], F(-1.2929358e-08f), F(4.28336932e-07f));
    EACH q[k] = FMA(y[k], F(-5.98199676e-06f), F(4.46356062e-05f));
    EACH r[k] = FMA(y[k], F(-0.000168867336f), F(-4.42253477e-05f));
    EACH s[k] = FMA(y[k], F(0.00486079557f), F(-0.0363751911f));
    EACH t[k] = FMA(y[k], F(-0.318300754f), F(-0.797885239f));
    EACH z2[k] = z[k] * z[k];
    EACH p[k] = FMA(p[k], z[k], q[k]);
    EACH r[k] = FMA(r[k], z[k], s[k]);
    EACH p[k] = FMA(p[k], z2[k], r[k]);
    EACH p[k] = FMA(p[k], z[k], t[k]) * y[k];
    exp_f32(p, pair);
    EACH x[k] = LESS(p[k], F(0.5f) * y[k], _mm512_max_ps(x[k], F(0)));
}

/* --- the logarithm ---------------------------------------------------------------------------- */

/* Of 32 numbers, by the five low bits of i. */
INLINE Floats
pick(const float *table, Words i)
{
    return _mm512_permutex2var_ps(_mm512_loadu_ps(table), i, _mm512_loadu_ps(table + 16));
}

/* By the five leading bits of 3/4 <= m < 3/2: the inverse of a number near m in few bits, so that
 * its product with m has hardly more than m, and minus its logarithm in two parts: multiples of
 * 2^-16 and the rest. Around 1 they are 1 and 0. */
static const float inverses[32] = {
    1.0f,       0.96875f,  0.9375f,   0.90625f,  0.890625f, 0.8515625f, 0.828125f, 0.8125f,
    0.7890625f, 0.78125f,  0.75f,     0.734375f, 0.71875f,  0.703125f,  0.6875f,   0.671875f,
    1.3203125f, 1.296875f, 1.265625f, 1.25f,     1.21875f,  1.203125f,  1.171875f, 1.15625f,
    1.125f,     1.109375f, 1.09375f,  1.078125f, 1.0625f,   1.046875f,  1.03125f,  1.0f,
};
static const float logs[32] = {
    0.0f,           0.03175354f,   0.0645446777f,  0.0984344482f,  0.115829468f,   0.160675049f,
    0.188598633f,   0.207641602f,  0.236907959f,   0.246856689f,   0.287689209f,   0.308731079f,
    0.330245972f,   0.352218628f,  0.374694824f,   0.397689819f,   -0.277862549f,  -0.259963989f,
    -0.235565186f,  -0.223144531f, -0.1978302f,    -0.184921265f,  -0.158599854f,  -0.145187378f,
    -0.117782593f,  -0.103790283f, -0.0896148682f, -0.0752258301f, -0.0606231689f, -0.0458068848f,
    -0.0307769775f, 0.0f,
};
static const float logs_low[32] = {
    0.0f,
    -4.8417246e-06f,
    -6.15659701e-06f,
    5.62457126e-06f,
    2.34775166e-06f,
    7.33286242e-06f,
    -7.46300475e-06f,
    -2.23678421e-06f,
    1.78809398e-06f,
    3.38847849e-06f,
    -7.13653253e-06f,
    4.40254826e-06f,
    -4.28480917e-06f,
    1.96565975e-06f,
    -1.3747773e-06f,
    -6.8516697e-06f,
    -5.90217542e-06f,
    6.46482067e-06f,
    -8.85765871e-07f,
    9.79935749e-07f,
    4.45686555e-06f,
    -1.07384562e-06f,
    -5.17666103e-06f,
    5.36808511e-06f,
    -4.42882936e-07f,
    -6.51047867e-06f,
    2.7094743e-06f,
    2.4088406e-06f,
    -1.45287117e-06f,
    -2.65126573e-06f,
    5.31887235e-06f,
    0.0f,
};

/* With x = m 2^n and c near 1 / m, log(x) = n ln 2 - log(c) + log(1 + (c m - 1)). The sum of the
 * multiples of 2^-16 is exact. Zero, infinity and what is below zero come out right by themselves:
 * their exponents are infinite, their m is NaN. */
INLINE void
log_f32(Floats *x, const int pair)
{
    Floats m[PAIR], n[PAIR], r[PAIR], r2[PAIR], high[PAIR], low[PAIR], p[PAIR], q[PAIR];
    Words i[PAIR];
    EACH m[k] = _mm512_getmant_ps(x[k], _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
    EACH n[k] = _mm512_getexp_ps(x[k] * F(1.33333337f)); /* of x from 1.5 * 2^n on, n + 1 */
    EACH i[k] = _mm512_srli_epi32((Words)m[k], 18);
    EACH high[k] = FMA(n[k], F(0.693145751953125f), pick(logs, i[k]));
    EACH low[k] = FMA(n[k], F(1.42860677e-06f), pick(logs_low, i[k]));
    EACH r[k] = FMA(m[k], pick(inverses, i[k]), F(-1));
    EACH r2[k] = r[k] * r[k];
    EACH q[k] = FMA(r[k], F(0.195310965f), F(-0.250042558f));
    EACH p[k] = FMA(r[k], F(0.333334416f), F(-0.5f));
    EACH p[k] = FMA(q[k], r2[k], p[k]);
    EACH p[k] = FMA(p[k], r2[k], low[k]);
    EACH x[k] = high[k] + (r[k] + p[k]);
}

/* --- tanh ------------------------------------------------------------------------------------- */

/* Quarters of octaves, found by the exponent's low bits and two bits of the significand: from 2 to
 * 9.03, three unused, all below 1/16, from 1/16 to 2. Of each: a point, tanh there, coefficients of
 * the powers of the distance from it. */
static const float tanh_points[32] = {
    2.3929472f,    2.69623852f,   3.36669159f,  3.86877537f,  4.47416115f,  5.28412056f,
    6.47332764f,   7.76839066f,   8.66434574f,  0.0f,         0.0f,         0.0f,
    0.0740112066f, 0.0851300359f, 0.106472403f, 0.118867546f, 0.1486215f,   0.17742306f,
    0.210756838f,  0.233932197f,  0.271977186f, 0.348490596f, 0.392080307f, 0.470885873f,
    0.552497864f,  0.717193842f,  0.774471045f, 0.903846979f, 1.1193738f,   1.44689035f,
    1.698349f,     1.95460033f,
};
static const float tanh_powers[6][32] = {
    {
        0.98344487f,  0.990939856f, 0.997621834f, 0.999128103f, 0.999740124f, 0.999948561f,
        0.999995232f, 0.999999642f, 0.99999994f,  0.0f,         0.0f,         0.0f,
        0.073876366f, 0.084924981f, 0.106071882f, 0.118310846f, 0.147536814f, 0.17558451f,
        0.207690805f, 0.229756325f, 0.26546365f,  0.335036248f, 0.373152256f, 0.438914806f,
        0.502389967f, 0.615168095f, 0.649521768f, 0.718165874f, 0.807350993f, 0.895076275f,
        0.93520236f,  0.960675657f,
    },
    {
        0.0328361355f,
        0.0180381145f,
        0.00475068437f,
        0.00174303574f,
        0.000519667752f,
        0.000102865f,
        9.53634117e-06f,
        7.15263354e-07f,
        1.19252604e-07f,
        0.0f,
        0.0f,
        1.0f,
        0.994542301f,
        0.992787719f,
        0.988748729f,
        0.986002564f,
        0.978232861f,
        0.969170094f,
        0.956864536f,
        0.94721204f,
        0.929529071f,
        0.887750685f,
        0.860757411f,
        0.807353795f,
        0.747604311f,
        0.621568203f,
        0.578121483f,
        0.48423779f,
        0.348184407f,
        0.198838487f,
        0.125396565f,
        0.0771022886f,
    },
    {
        -0.0322943218f,
        -0.017874416f,
        -0.00473986845f,
        -0.00174171105f,
        -0.000518945977f,
        -0.000102949009f,
        -9.52548453e-06f,
        -7.17373325e-07f,
        -1.19272926e-07f,
        0.0f,
        0.0f,
        0.0f,
        -0.0734731704f,
        -0.0843124837f,
        -0.10487844f,
        -0.116654798f,
        -0.144325361f,
        -0.170171261f,
        -0.198731974f,
        -0.217627957f,
        -0.246756181f,
        -0.297428638f,
        -0.321193606f,
        -0.354359508f,
        -0.375588745f,
        -0.382369041f,
        -0.375502437f,
        -0.347762883f,
        -0.281108886f,
        -0.177974015f,
        -0.117270574f,
        -0.0740702227f,
    },
    {
        0.0208152644f,
        0.0117089823f,
        0.00314218295f,
        0.00115814945f,
        0.000346573914f,
        6.89909211e-05f,
        6.36526829e-06f,
        4.77407013e-07f,
        7.83055398e-08f,
        0.0f,
        0.0f,
        -0.33333391f,
        -0.326086164f,
        -0.323769003f,
        -0.318458259f,
        -0.314866006f,
        -0.304784387f,
        -0.293177515f,
        -0.277680188f,
        -0.265735894f,
        -0.244335562f,
        -0.196269274f,
        -0.1670634f,
        -0.113584958f,
        -0.0605020598f,
        0.0280304831f,
        0.0511916317f,
        0.0883386582f,
        0.110882185f,
        0.0930137113f,
        0.0678685978f,
        0.0454548225f,
    },
    {
        -0.00955924205f,
        -0.00566492369f,
        -0.00153235684f,
        -0.000567043026f,
        -0.000180812305f,
        -3.3574488e-05f,
        -3.32470108e-06f,
        -2.02476627e-07f,
        -3.97263946e-08f,
        0.0f,
        0.0f,
        3.9169201e-05f,
        0.0485837348f,
        0.0555978715f,
        0.0687484443f,
        0.0761350095f,
        0.0931013674f,
        0.108205184f,
        0.123944223f,
        0.133574396f,
        0.14710097f,
        0.164823875f,
        0.169495761f,
        0.16790095f,
        0.15543285f,
        0.110294156f,
        0.0918170139f,
        0.052305188f,
        0.00457171351f,
        -0.0244824011f,
        -0.0245993696f,
        -0.0190180689f,
    },
    {
        0.00395752955f, 0.00191628665f,  0.000764977129f, 0.000290480966f, 6.85898194e-05f,
        9.465728e-06f,  1.26186421e-06f, 1.68061476e-07f, 2.23814158e-08f, 0.0f,
        0.0f,           0.132649273f,    0.127769768f,    0.125105903f,    0.121906012f,
        0.118273616f,   0.111868173f,    0.102085076f,    0.090872094f,    0.0787448585f,
        0.0591169111f,  0.0319558345f,   0.00614042813f,  -0.0171540659f,  -0.0434532352f,
        -0.0616233386f, -0.062688075f,   -0.0531654656f,  -0.0320456289f,  -0.00940020941f,
        0.00143065443f, 0.00460064737f,
    },
};

INLINE void
tanh_f32(Floats *x, const int pair)
{
    Floats sign[PAIR], y[PAIR], d[PAIR], d2[PAIR], p[PAIR], q[PAIR];
    Words i[PAIR];
    EACH sign[k] = _mm512_and_ps(x[k], SIGN);
    EACH y[k] = _mm512_min_ps(F(9.03f), _mm512_andnot_ps(SIGN, x[k]));
    /* the bits of 15/256: everything below 1/16 has one place in the tables */
    EACH i[k] = _mm512_srli_epi32(_mm512_max_epi32((Words)y[k], W(0x3d700000)), 21);
    EACH d[k] = y[k] - pick(tanh_points, i[k]);
    EACH d2[k] = d[k] * d[k];
    EACH q[k] = FMA(d[k], pick(tanh_powers[5], i[k]), pick(tanh_powers[4], i[k]));
    EACH p[k] = FMA(d[k], pick(tanh_powers[3], i[k]), pick(tanh_powers[2], i[k]));
    EACH p[k] = FMA(q[k], d2[k], p[k]);
    EACH q[k] = d[k] * pick(tanh_powers[1], i[k]);
    EACH p[k] = FMA(p[k], d2[k], q[k]) + pick(tanh_powers[0], i[k]);
    EACH x[k] = _mm512_or_ps(p[k], sign[k]);
}

/* --- sine and cosine -------------------------------------------------------------------------- */

#define FX_NEAR_SINES 6400.0f /* quarters up to 2^12: their products below are exact */

/* |x| less n quarters of a turn, as r + low; then both series, of which the quarter takes one. */
INLINE void
sines_f32(Floats *x, const int pair, const bool cosine)
{
    const Floats rounder = F(12582912.0f); /* 1.5 * 2^23 */
    Floats u[PAIR], n[PAIR], t[PAIR], r[PAIR], low[PAIR], z[PAIR], s[PAIR], c[PAIR], one[PAIR];
    EACH u[k] = FMA(_mm512_andnot_ps(SIGN, x[k]), F(0.636619747f), rounder);
    EACH n[k] = u[k] - rounder;
    EACH t[k] = LESS(n[k], F(1.57079637f), _mm512_andnot_ps(SIGN, x[k]));
    EACH s[k] = n[k] * F(-4.371395334601402e-08f); /* 12 bits */
    EACH r[k] = t[k] - s[k];
    EACH low[k] = LESS(n[k], F(2.56334407e-12f), (t[k] - r[k]) - s[k]);
    EACH z[k] = r[k] * r[k];
    EACH s[k] = FMA(z[k], F(-0.00019516977f), F(0.00833217613f));
    EACH c[k] = FMA(z[k], F(2.44380906e-05f), F(-0.00138873642f));
    EACH s[k] = FMA(z[k], s[k], F(-0.166666552f));
    EACH c[k] = FMA(z[k], c[k], F(0.0416666456f));
    EACH one[k] = FMA(z[k], F(-0.5f), F(1));
    EACH t[k] = FMA(z[k], F(-0.5f), F(1) - one[k]);
    EACH t[k] = LESS(r[k], low[k], t[k]);
    EACH s[k] = FMA(r[k] * z[k], s[k], low[k]);
    EACH c[k] = FMA(z[k] * z[k], c[k], t[k]);
    EACH
    {
        Words turn = cosine ? _mm512_add_epi32((Words)u[k], W(1)) : (Words)u[k];
        __mmask16 odd = _mm512_test_epi32_mask(turn, W(1));
        Words sign = _mm512_slli_epi32(turn, 30);
        if (!cosine) sign = sign ^ (Words)x[k];
        s[k] = _mm512_mask_mov_ps(r[k], odd, one[k]) + _mm512_mask_mov_ps(s[k], odd, c[k]);
        x[k] = (Floats)_mm512_ternarylogic_epi32((Words)s[k], sign, (Words)SIGN, 0x78);
    }
}

/* Lanes beyond FX_NEAR_SINES, which are rare, by the functions for any number. */
static __attribute__((noinline)) Floats
sines_beyond(Floats x, Floats near, __mmask16 beyond, bool cosine)
{
    float in[16], out[16];
    bool far = _mm512_cmp_ps_mask(_mm512_abs_ps(x), F(FX_FAR), _CMP_NLE_UQ);
    _mm512_storeu_ps(in, x);
    if (far)
        for (int i = 0; i < 16; i++)
            out[i] = cosine ? fx_cos_far_f32(in[i]) : fx_sin_far_f32(in[i]);
    else if (cosine)
        for (int i = 0; i < 16; i++) out[i] = fx_cos_f32(in[i]);
    else
        for (int i = 0; i < 16; i++) out[i] = fx_sin_f32(in[i]);
    return _mm512_mask_mov_ps(near, beyond, _mm512_loadu_ps(out));
}

INLINE void
sines_any_f32(Floats *x, const int pair, const bool cosine)
{
    Floats from[PAIR];
    EACH from[k] = x[k];
    sines_f32(x, pair, cosine);
    EACH
    {
        Floats size = _mm512_andnot_ps(SIGN, from[k]);
        __mmask16 beyond = _mm512_cmp_ps_mask(size, F(FX_NEAR_SINES), _CMP_NLE_UQ);
        if (FAC_UNLIKELY(beyond)) x[k] = sines_beyond(from[k], x[k], beyond, cosine);
    }
}

INLINE void
sin_f32(Floats *x, const int pair)
{
    sines_any_f32(x, pair, false);
}

INLINE void
cos_f32(Floats *x, const int pair)
{
    sines_any_f32(x, pair, true);
}

#endif
