/* exp_below.h - exp of what is not above zero: of scores less the largest one.
 *
 * Below -87, where the result would be subnormal or nearly so, it is zero: that spares the care for
 * exponents that a float does not have.
 */
#ifndef FAC_KERNELS_CPU_EXP_BELOW_H
#define FAC_KERNELS_CPU_EXP_BELOW_H

#include "kernels/scalar.h"

FX float
exp_below_f32(float a)
{
    const fx_split32 s = fx_exp_split32(a);
    const float v = fx_exp_part32(s, fx_power32(s), 0);
    return a < -87 ? 0 : v;
}

FX double
exp_below_f64(double a)
{
    return fx_exp_f64(a);
}

#endif
