/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "kernels/cpu/kernel.h"
#include "kernels/scalar.h"

#pragma GCC diagnostic ignored "-Wtype-limits"

extern const FacLoops FAC_TIERED(loops_mul);

static void
loop_mul_u8(void *const *data, int64_t n, const void *params)
{
    uint8_t *r0 = data[0];
    const uint8_t *p_a = data[1];
    const uint8_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const uint8_t a = p_a[i];
        const uint8_t b = p_b[i];
        r0[i] = ((uint8_t)(a * b));
    }
}

static void
loop_mul_i8(void *const *data, int64_t n, const void *params)
{
    int8_t *r0 = data[0];
    const int8_t *p_a = data[1];
    const int8_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const int8_t a = p_a[i];
        const int8_t b = p_b[i];
        r0[i] = ((int8_t)(a * b));
    }
}

static void
loop_mul_u16(void *const *data, int64_t n, const void *params)
{
    uint16_t *r0 = data[0];
    const uint16_t *p_a = data[1];
    const uint16_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const uint16_t a = p_a[i];
        const uint16_t b = p_b[i];
        r0[i] = ((uint16_t)(a * b));
    }
}

static void
loop_mul_i16(void *const *data, int64_t n, const void *params)
{
    int16_t *r0 = data[0];
    const int16_t *p_a = data[1];
    const int16_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const int16_t a = p_a[i];
        const int16_t b = p_b[i];
        r0[i] = ((int16_t)(a * b));
    }
}

static void
loop_mul_u32(void *const *data, int64_t n, const void *params)
{
    uint32_t *r0 = data[0];
    const uint32_t *p_a = data[1];
    const uint32_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const uint32_t a = p_a[i];
        const uint32_t b = p_b[i];
        r0[i] = (a * b);
    }
}

static void
loop_mul_i32(void *const *data, int64_t n, const void *params)
{
    int32_t *r0 = data[0];
    const int32_t *p_a = data[1];
    const int32_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const int32_t a = p_a[i];
        const int32_t b = p_b[i];
        r0[i] = (a * b);
    }
}

static void
loop_mul_u64(void *const *data, int64_t n, const void *params)
{
    uint64_t *r0 = data[0];
    const uint64_t *p_a = data[1];
    const uint64_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const uint64_t a = p_a[i];
        const uint64_t b = p_b[i];
        r0[i] = (a * b);
    }
}

static void
loop_mul_i64(void *const *data, int64_t n, const void *params)
{
    int64_t *r0 = data[0];
    const int64_t *p_a = data[1];
    const int64_t *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const int64_t a = p_a[i];
        const int64_t b = p_b[i];
        r0[i] = (a * b);
    }
}

static void
loop_mul_f32(void *const *data, int64_t n, const void *params)
{
    float *r0 = data[0];
    const float *p_a = data[1];
    const float *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const float a = p_a[i];
        const float b = p_b[i];
        r0[i] = (a * b);
    }
}

static void
loop_mul_f64(void *const *data, int64_t n, const void *params)
{
    double *r0 = data[0];
    const double *p_a = data[1];
    const double *p_b = data[2];
    (void)params;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; i++) {
        const double a = p_a[i];
        const double b = p_b[i];
        r0[i] = (a * b);
    }
}

const FacLoops FAC_TIERED(loops_mul) = {.loop = {
    [FAC_DT_U8] = loop_mul_u8,
    [FAC_DT_I8] = loop_mul_i8,
    [FAC_DT_U16] = loop_mul_u16,
    [FAC_DT_I16] = loop_mul_i16,
    [FAC_DT_U32] = loop_mul_u32,
    [FAC_DT_I32] = loop_mul_i32,
    [FAC_DT_U64] = loop_mul_u64,
    [FAC_DT_I64] = loop_mul_i64,
    [FAC_DT_F32] = loop_mul_f32,
    [FAC_DT_F64] = loop_mul_f64,
}};
