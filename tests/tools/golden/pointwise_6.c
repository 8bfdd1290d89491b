/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "kernels/cpu/kernel.h"
#include "kernels/scalar.h"

#pragma GCC diagnostic ignored "-Wtype-limits"

extern const FacLoops FAC_TIERED(loops_abs);

static void
loop_abs_f32(void *const *data, int64_t n, const void *params)
{
    float *r0 = data[0];
    const float *p_a = data[1];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const float a = p_a[i];
        r0[i] = fx_abs_f32(a);
    }
}

static void
loop_abs_f64(void *const *data, int64_t n, const void *params)
{
    double *r0 = data[0];
    const double *p_a = data[1];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const double a = p_a[i];
        r0[i] = fx_abs_f64(a);
    }
}

static void
loop_abs_c64(void *const *data, int64_t n, const void *params)
{
    float *r0 = data[0];
    const fac_c64 *p_a = data[1];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const fac_c64 a = p_a[i];
        r0[i] = fx_abs_c64(a);
    }
}

static void
loop_abs_c128(void *const *data, int64_t n, const void *params)
{
    double *r0 = data[0];
    const fac_c128 *p_a = data[1];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const fac_c128 a = p_a[i];
        r0[i] = fx_abs_c128(a);
    }
}

const FacLoops FAC_TIERED(loops_abs) = {.loop = {
    [FAC_DT_F32] = loop_abs_f32,
    [FAC_DT_F64] = loop_abs_f64,
    [FAC_DT_C64] = loop_abs_c64,
    [FAC_DT_C128] = loop_abs_c128,
}};
