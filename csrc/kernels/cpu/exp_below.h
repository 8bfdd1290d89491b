/* exp_below.h - exp of what is not above zero: of scores less the largest one.
 *
 * The bits are those of fx_exp wherever the result is a normal number; below
 * that, where it would be subnormal, it is zero. Without the care for large and
 * subnormal results it takes a third less time.
 */
#ifndef FAC_KERNELS_CPU_EXP_BELOW_H
#define FAC_KERNELS_CPU_EXP_BELOW_H

#include "kernels/scalar.h"

FX float
exp_below_f32(float a)
{
    const float x = a < -87.0f ? -87.0f : a;
    const float t = fx_fma_f32(x, 1.44269502f, FX_ROUNDER32), n = t - FX_ROUNDER32;
    const float high = fx_fma_f32(n, -0.693145751953125f, x), low = n * 1.42860677e-06f;
    const float r = high - low, y = fx_exp_kernel32(r, (high - r) - low);
    const uint32_t power = (fx_bits_f32(t) - fx_bits_f32(FX_ROUNDER32)) << 23;
    const float e = fx_from_bits_f32(fx_bits_f32(y) + power);
    return a != a ? a : a < -87.0f ? 0 : e;
}

FX double
exp_below_f64(double a)
{
    return fx_exp_f64(a);
}

#endif
