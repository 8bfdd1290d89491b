/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "kernels/cpu/kernel.h"
#include "kernels/scalar.h"

#pragma GCC diagnostic ignored "-Wtype-limits"

extern const FacLoops FAC_TIERED(loops_add);

static void
loop_add_b(void *const *data, int64_t n, const void *params)
{
    bool *r0 = data[0];
    const bool *p_a = data[1];
    const bool *p_b = data[2];
    const bool k_alpha = ((const bool *)params)[0];
    if (k_alpha == ((bool)1)) {
    #pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) {
            const bool a = p_a[i];
            const bool b = p_b[i];
            r0[i] = ((bool)(a | b));
        }
        return;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const bool a = p_a[i];
        const bool b = p_b[i];
        r0[i] = ((bool)(a | ((bool)(b & k_alpha))));
    }
}

static void
loop_add_u8(void *const *data, int64_t n, const void *params)
{
    uint8_t *r0 = data[0];
    const uint8_t *p_a = data[1];
    const uint8_t *p_b = data[2];
    const uint8_t k_alpha = ((const uint8_t *)params)[0];
    if (k_alpha == ((uint8_t)1)) {
    #pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) {
            const uint8_t a = p_a[i];
            const uint8_t b = p_b[i];
            r0[i] = ((uint8_t)(a + b));
        }
        return;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const uint8_t a = p_a[i];
        const uint8_t b = p_b[i];
        r0[i] = ((uint8_t)(a + ((uint8_t)(k_alpha * b))));
    }
}

static void
loop_add_i8(void *const *data, int64_t n, const void *params)
{
    int8_t *r0 = data[0];
    const int8_t *p_a = data[1];
    const int8_t *p_b = data[2];
    const int8_t k_alpha = ((const int8_t *)params)[0];
    if (k_alpha == ((int8_t)1)) {
    #pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) {
            const int8_t a = p_a[i];
            const int8_t b = p_b[i];
            r0[i] = ((int8_t)(a + b));
        }
        return;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const int8_t a = p_a[i];
        const int8_t b = p_b[i];
        r0[i] = ((int8_t)(a + ((int8_t)(k_alpha * b))));
    }
}

static void
loop_add_u16(void *const *data, int64_t n, const void *params)
{
    uint16_t *r0 = data[0];
    const uint16_t *p_a = data[1];
    const uint16_t *p_b = data[2];
    const uint16_t k_alpha = ((const uint16_t *)params)[0];
    if (k_alpha == ((uint16_t)1)) {
    #pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) {
            const uint16_t a = p_a[i];
            const uint16_t b = p_b[i];
            r0[i] = ((uint16_t)(a + b));
        }
        return;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const uint16_t a = p_a[i];
        const uint16_t b = p_b[i];
        r0[i] = ((uint16_t)(a + ((uint16_t)(k_alpha * b))));
    }
}

static void
loop_add_i16(void *const *data, int64_t n, const void *params)
{
    int16_t *r0 = data[0];
    const int16_t *p_a = data[1];
    const int16_t *p_b = data[2];
    const int16_t k_alpha = ((const int16_t *)params)[0];
    if (k_alpha == ((int16_t)1)) {
    #pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) {
            const int16_t a = p_a[i];
            const int16_t b = p_b[i];
            r0[i] = ((int16_t)(a + b));
        }
        return;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const int16_t a = p_a[i];
        const int16_t b = p_b[i];
        r0[i] = ((int16_t)(a + ((int16_t)(k_alpha * b))));
    }
}

static void
loop_add_u32(void *const *data, int64_t n, const void *params)
{
    uint32_t *r0 = data[0];
    const uint32_t *p_a = data[1];
    const uint32_t *p_b = data[2];
    const uint32_t k_alpha = ((const uint32_t *)params)[0];
    if (k_alpha == ((uint32_t)1)) {
    #pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) {
            const uint32_t a = p_a[i];
            const uint32_t b = p_b[i];
            r0[i] = (a + b);
        }
        return;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const uint32_t a = p_a[i];
        const uint32_t b = p_b[i];
        r0[i] = (a + (k_alpha * b));
    }
}

static void
loop_add_i32(void *const *data, int64_t n, const void *params)
{
    int32_t *r0 = data[0];
    const int32_t *p_a = data[1];
    const int32_t *p_b = data[2];
    const int32_t k_alpha = ((const int32_t *)params)[0];
    if (k_alpha == ((int32_t)1)) {
    #pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) {
            const int32_t a = p_a[i];
            const int32_t b = p_b[i];
            r0[i] = (a + b);
        }
        return;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const int32_t a = p_a[i];
        const int32_t b = p_b[i];
        r0[i] = (a + (k_alpha * b));
    }
}

static void
loop_add_u64(void *const *data, int64_t n, const void *params)
{
    uint64_t *r0 = data[0];
    const uint64_t *p_a = data[1];
    const uint64_t *p_b = data[2];
    const uint64_t k_alpha = ((const uint64_t *)params)[0];
    if (k_alpha == ((uint64_t)1)) {
    #pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) {
            const uint64_t a = p_a[i];
            const uint64_t b = p_b[i];
            r0[i] = (a + b);
        }
        return;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const uint64_t a = p_a[i];
        const uint64_t b = p_b[i];
        r0[i] = (a + (k_alpha * b));
    }
}

static void
loop_add_i64(void *const *data, int64_t n, const void *params)
{
    int64_t *r0 = data[0];
    const int64_t *p_a = data[1];
    const int64_t *p_b = data[2];
    const int64_t k_alpha = ((const int64_t *)params)[0];
    if (k_alpha == ((int64_t)1)) {
    #pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) {
            const int64_t a = p_a[i];
            const int64_t b = p_b[i];
            r0[i] = (a + b);
        }
        return;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const int64_t a = p_a[i];
        const int64_t b = p_b[i];
        r0[i] = (a + (k_alpha * b));
    }
}

static void
loop_add_f32(void *const *data, int64_t n, const void *params)
{
    float *r0 = data[0];
    const float *p_a = data[1];
    const float *p_b = data[2];
    const float k_alpha = ((const float *)params)[0];
    if (k_alpha == 1.0f) {
    #pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) {
            const float a = p_a[i];
            const float b = p_b[i];
            r0[i] = (a + b);
        }
        return;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const float a = p_a[i];
        const float b = p_b[i];
        r0[i] = (a + (k_alpha * b));
    }
}

static void
loop_add_f64(void *const *data, int64_t n, const void *params)
{
    double *r0 = data[0];
    const double *p_a = data[1];
    const double *p_b = data[2];
    const double k_alpha = ((const double *)params)[0];
    if (k_alpha == 1.0) {
    #pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) {
            const double a = p_a[i];
            const double b = p_b[i];
            r0[i] = (a + b);
        }
        return;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const double a = p_a[i];
        const double b = p_b[i];
        r0[i] = (a + (k_alpha * b));
    }
}

static void
loop_add_c64(void *const *data, int64_t n, const void *params)
{
    fac_c64 *r0 = data[0];
    const fac_c64 *p_a = data[1];
    const fac_c64 *p_b = data[2];
    const fac_c64 k_alpha = ((const fac_c64 *)params)[0];
    if (fx_eq_c64(k_alpha, ((fac_c64){1.0f, 0}))) {
    #pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) {
            const fac_c64 a = p_a[i];
            const fac_c64 b = p_b[i];
            r0[i] = fx_add_c64(a, b);
        }
        return;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const fac_c64 a = p_a[i];
        const fac_c64 b = p_b[i];
        r0[i] = fx_add_c64(a, fx_mul_c64(k_alpha, b));
    }
}

static void
loop_add_c128(void *const *data, int64_t n, const void *params)
{
    fac_c128 *r0 = data[0];
    const fac_c128 *p_a = data[1];
    const fac_c128 *p_b = data[2];
    const fac_c128 k_alpha = ((const fac_c128 *)params)[0];
    if (fx_eq_c128(k_alpha, ((fac_c128){1.0, 0}))) {
    #pragma GCC ivdep
        for (int64_t i = 0; i < n; i++) {
            const fac_c128 a = p_a[i];
            const fac_c128 b = p_b[i];
            r0[i] = fx_add_c128(a, b);
        }
        return;
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const fac_c128 a = p_a[i];
        const fac_c128 b = p_b[i];
        r0[i] = fx_add_c128(a, fx_mul_c128(k_alpha, b));
    }
}

const FacLoops FAC_TIERED(loops_add) = {.loop = {
    [FAC_DT_BOOL] = loop_add_b,
    [FAC_DT_U8] = loop_add_u8,
    [FAC_DT_I8] = loop_add_i8,
    [FAC_DT_U16] = loop_add_u16,
    [FAC_DT_I16] = loop_add_i16,
    [FAC_DT_U32] = loop_add_u32,
    [FAC_DT_I32] = loop_add_i32,
    [FAC_DT_U64] = loop_add_u64,
    [FAC_DT_I64] = loop_add_i64,
    [FAC_DT_F32] = loop_add_f32,
    [FAC_DT_F64] = loop_add_f64,
    [FAC_DT_C64] = loop_add_c64,
    [FAC_DT_C128] = loop_add_c128,
}};

extern const FacLoops FAC_TIERED(loops_eq);

static void
loop_eq_b(void *const *data, int64_t n, const void *params)
{
    bool *r0 = data[0];
    const bool *p_a = data[1];
    const bool *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const bool a = p_a[i];
        const bool b = p_b[i];
        r0[i] = (a == b);
    }
}

static void
loop_eq_u8(void *const *data, int64_t n, const void *params)
{
    bool *r0 = data[0];
    const uint8_t *p_a = data[1];
    const uint8_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const uint8_t a = p_a[i];
        const uint8_t b = p_b[i];
        r0[i] = (a == b);
    }
}

static void
loop_eq_i8(void *const *data, int64_t n, const void *params)
{
    bool *r0 = data[0];
    const int8_t *p_a = data[1];
    const int8_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const int8_t a = p_a[i];
        const int8_t b = p_b[i];
        r0[i] = (a == b);
    }
}

static void
loop_eq_u16(void *const *data, int64_t n, const void *params)
{
    bool *r0 = data[0];
    const uint16_t *p_a = data[1];
    const uint16_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const uint16_t a = p_a[i];
        const uint16_t b = p_b[i];
        r0[i] = (a == b);
    }
}

static void
loop_eq_i16(void *const *data, int64_t n, const void *params)
{
    bool *r0 = data[0];
    const int16_t *p_a = data[1];
    const int16_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const int16_t a = p_a[i];
        const int16_t b = p_b[i];
        r0[i] = (a == b);
    }
}

static void
loop_eq_u32(void *const *data, int64_t n, const void *params)
{
    bool *r0 = data[0];
    const uint32_t *p_a = data[1];
    const uint32_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const uint32_t a = p_a[i];
        const uint32_t b = p_b[i];
        r0[i] = (a == b);
    }
}

static void
loop_eq_i32(void *const *data, int64_t n, const void *params)
{
    bool *r0 = data[0];
    const int32_t *p_a = data[1];
    const int32_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const int32_t a = p_a[i];
        const int32_t b = p_b[i];
        r0[i] = (a == b);
    }
}

static void
loop_eq_u64(void *const *data, int64_t n, const void *params)
{
    bool *r0 = data[0];
    const uint64_t *p_a = data[1];
    const uint64_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const uint64_t a = p_a[i];
        const uint64_t b = p_b[i];
        r0[i] = (a == b);
    }
}

static void
loop_eq_i64(void *const *data, int64_t n, const void *params)
{
    bool *r0 = data[0];
    const int64_t *p_a = data[1];
    const int64_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const int64_t a = p_a[i];
        const int64_t b = p_b[i];
        r0[i] = (a == b);
    }
}

static void
loop_eq_f32(void *const *data, int64_t n, const void *params)
{
    bool *r0 = data[0];
    const float *p_a = data[1];
    const float *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const float a = p_a[i];
        const float b = p_b[i];
        r0[i] = (a == b);
    }
}

static void
loop_eq_f64(void *const *data, int64_t n, const void *params)
{
    bool *r0 = data[0];
    const double *p_a = data[1];
    const double *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const double a = p_a[i];
        const double b = p_b[i];
        r0[i] = (a == b);
    }
}

static void
loop_eq_c64(void *const *data, int64_t n, const void *params)
{
    bool *r0 = data[0];
    const fac_c64 *p_a = data[1];
    const fac_c64 *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const fac_c64 a = p_a[i];
        const fac_c64 b = p_b[i];
        r0[i] = fx_eq_c64(a, b);
    }
}

static void
loop_eq_c128(void *const *data, int64_t n, const void *params)
{
    bool *r0 = data[0];
    const fac_c128 *p_a = data[1];
    const fac_c128 *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const fac_c128 a = p_a[i];
        const fac_c128 b = p_b[i];
        r0[i] = fx_eq_c128(a, b);
    }
}

const FacLoops FAC_TIERED(loops_eq) = {.loop = {
    [FAC_DT_BOOL] = loop_eq_b,
    [FAC_DT_U8] = loop_eq_u8,
    [FAC_DT_I8] = loop_eq_i8,
    [FAC_DT_U16] = loop_eq_u16,
    [FAC_DT_I16] = loop_eq_i16,
    [FAC_DT_U32] = loop_eq_u32,
    [FAC_DT_I32] = loop_eq_i32,
    [FAC_DT_U64] = loop_eq_u64,
    [FAC_DT_I64] = loop_eq_i64,
    [FAC_DT_F32] = loop_eq_f32,
    [FAC_DT_F64] = loop_eq_f64,
    [FAC_DT_C64] = loop_eq_c64,
    [FAC_DT_C128] = loop_eq_c128,
}};

extern const FacLoops FAC_TIERED(loops_clip);

static void
loop_clip_f32(void *const *data, int64_t n, const void *params)
{
    float *r0 = data[0];
    const float *p_a = data[1];
    const float k_low = ((const float *)params)[0];
    const float k_high = ((const float *)params)[1];
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const float a = p_a[i];
        r0[i] = ((a < k_low) ? k_low : ((!fx_isnan_f32(k_high) && (a > k_high)) ? k_high : a));
    }
}

static void
loop_clip_f64(void *const *data, int64_t n, const void *params)
{
    double *r0 = data[0];
    const double *p_a = data[1];
    const double k_low = ((const double *)params)[0];
    const double k_high = ((const double *)params)[1];
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const double a = p_a[i];
        r0[i] = ((a < k_low) ? k_low : ((!fx_isnan_f64(k_high) && (a > k_high)) ? k_high : a));
    }
}

const FacLoops FAC_TIERED(loops_clip) = {.loop = {
    [FAC_DT_F32] = loop_clip_f32,
    [FAC_DT_F64] = loop_clip_f64,
}};
