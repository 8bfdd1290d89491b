/* scalar_math.h - elementary functions of floats (included by scalar.h).
 */
#ifndef FAC_KERNELS_SCALAR_MATH_H
#define FAC_KERNELS_SCALAR_MATH_H

#include "kernels/scalar.h"

#define FX_ELEMENTARY(S, T, U)                                                                     \
    FX T fx_exp_##S(T a) { return FX_LIBM_##S(exp)(a); }                                           \
    FX T fx_exp2_##S(T a) { return FX_LIBM_##S(exp2)(a); }                                         \
    FX T fx_expm1_##S(T a) { return FX_LIBM_##S(expm1)(a); }                                       \
    FX T fx_log_##S(T a) { return FX_LIBM_##S(log)(a); }                                           \
    FX T fx_log2_##S(T a) { return FX_LIBM_##S(log2)(a); }                                         \
    FX T fx_log10_##S(T a) { return FX_LIBM_##S(log10)(a); }                                       \
    FX T fx_log1p_##S(T a) { return FX_LIBM_##S(log1p)(a); }                                       \
    FX T fx_sin_##S(T a) { return FX_LIBM_##S(sin)(a); }                                           \
    FX T fx_cos_##S(T a) { return FX_LIBM_##S(cos)(a); }                                           \
    FX T fx_tan_##S(T a) { return FX_LIBM_##S(tan)(a); }                                           \
    FX T fx_asin_##S(T a) { return FX_LIBM_##S(asin)(a); }                                         \
    FX T fx_acos_##S(T a) { return FX_LIBM_##S(acos)(a); }                                         \
    FX T fx_atan_##S(T a) { return FX_LIBM_##S(atan)(a); }                                         \
    FX T fx_atan2_##S(T a, T b) { return FX_LIBM_##S(atan2)(a, b); }                               \
    FX T fx_sinh_##S(T a) { return FX_LIBM_##S(sinh)(a); }                                         \
    FX T fx_cosh_##S(T a) { return FX_LIBM_##S(cosh)(a); }                                         \
    FX T fx_tanh_##S(T a) { return FX_LIBM_##S(tanh)(a); }                                         \
    FX T fx_asinh_##S(T a) { return FX_LIBM_##S(asinh)(a); }                                       \
    FX T fx_acosh_##S(T a) { return FX_LIBM_##S(acosh)(a); }                                       \
    FX T fx_atanh_##S(T a) { return FX_LIBM_##S(atanh)(a); }                                       \
    FX T fx_pow_##S(T a, T b) { return FX_LIBM_##S(pow)(a, b); }                                   \
    FX T fx_hypot_##S(T a, T b) { return FX_LIBM_##S(hypot)(a, b); }
FX_FLOATS(FX_ELEMENTARY)

#endif
