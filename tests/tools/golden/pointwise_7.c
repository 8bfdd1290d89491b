/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "kernels/loop.h"

FAC_LOOP(loop_add_b)
{
    FAC_RESULT(bool, 0);
    FAC_OPERAND(bool, a, 1);
    FAC_OPERAND(bool, b, 2);
    FAC_NUMBER(bool, alpha, 0);
    if (k_alpha == ((bool)1)) {
        FAC_EACH {
            FAC_LOAD(bool, a);
            FAC_LOAD(bool, b);
            r0[i] = ((bool)(a | b));
        }
        return;
    }
    FAC_EACH {
        FAC_LOAD(bool, a);
        FAC_LOAD(bool, b);
        r0[i] = ((bool)(a | ((bool)(b & k_alpha))));
    }
}

FAC_LOOP(loop_add_u8)
{
    FAC_RESULT(uint8_t, 0);
    FAC_OPERAND(uint8_t, a, 1);
    FAC_OPERAND(uint8_t, b, 2);
    FAC_NUMBER(uint8_t, alpha, 0);
    if (k_alpha == ((uint8_t)1)) {
        FAC_EACH {
            FAC_LOAD(uint8_t, a);
            FAC_LOAD(uint8_t, b);
            r0[i] = ((uint8_t)(a + b));
        }
        return;
    }
    FAC_EACH {
        FAC_LOAD(uint8_t, a);
        FAC_LOAD(uint8_t, b);
        r0[i] = ((uint8_t)(a + ((uint8_t)(k_alpha * b))));
    }
}

FAC_LOOP(loop_add_u16)
{
    FAC_RESULT(uint16_t, 0);
    FAC_OPERAND(uint16_t, a, 1);
    FAC_OPERAND(uint16_t, b, 2);
    FAC_NUMBER(uint16_t, alpha, 0);
    if (k_alpha == ((uint16_t)1)) {
        FAC_EACH {
            FAC_LOAD(uint16_t, a);
            FAC_LOAD(uint16_t, b);
            r0[i] = ((uint16_t)(a + b));
        }
        return;
    }
    FAC_EACH {
        FAC_LOAD(uint16_t, a);
        FAC_LOAD(uint16_t, b);
        r0[i] = ((uint16_t)(a + ((uint16_t)(k_alpha * b))));
    }
}

FAC_LOOP(loop_add_u32)
{
    FAC_RESULT(uint32_t, 0);
    FAC_OPERAND(uint32_t, a, 1);
    FAC_OPERAND(uint32_t, b, 2);
    FAC_NUMBER(uint32_t, alpha, 0);
    if (k_alpha == ((uint32_t)1)) {
        FAC_EACH {
            FAC_LOAD(uint32_t, a);
            FAC_LOAD(uint32_t, b);
            r0[i] = ((uint32_t)(a + b));
        }
        return;
    }
    FAC_EACH {
        FAC_LOAD(uint32_t, a);
        FAC_LOAD(uint32_t, b);
        r0[i] = ((uint32_t)(a + ((uint32_t)(k_alpha * b))));
    }
}

FAC_LOOP(loop_add_u64)
{
    FAC_RESULT(uint64_t, 0);
    FAC_OPERAND(uint64_t, a, 1);
    FAC_OPERAND(uint64_t, b, 2);
    FAC_NUMBER(uint64_t, alpha, 0);
    if (k_alpha == ((uint64_t)1)) {
        FAC_EACH {
            FAC_LOAD(uint64_t, a);
            FAC_LOAD(uint64_t, b);
            r0[i] = ((uint64_t)(a + b));
        }
        return;
    }
    FAC_EACH {
        FAC_LOAD(uint64_t, a);
        FAC_LOAD(uint64_t, b);
        r0[i] = ((uint64_t)(a + ((uint64_t)(k_alpha * b))));
    }
}

FAC_LOOP(loop_add_f32)
{
    FAC_RESULT(float, 0);
    FAC_OPERAND(float, a, 1);
    FAC_OPERAND(float, b, 2);
    FAC_NUMBER(float, alpha, 0);
    if (k_alpha == 1.0f) {
        FAC_EACH {
            FAC_LOAD(float, a);
            FAC_LOAD(float, b);
            r0[i] = (a + b);
        }
        return;
    }
    FAC_EACH {
        FAC_LOAD(float, a);
        FAC_LOAD(float, b);
        r0[i] = (a + (k_alpha * b));
    }
}

FAC_LOOP(loop_add_f64)
{
    FAC_RESULT(double, 0);
    FAC_OPERAND(double, a, 1);
    FAC_OPERAND(double, b, 2);
    FAC_NUMBER(double, alpha, 0);
    if (k_alpha == 1.0) {
        FAC_EACH {
            FAC_LOAD(double, a);
            FAC_LOAD(double, b);
            r0[i] = (a + b);
        }
        return;
    }
    FAC_EACH {
        FAC_LOAD(double, a);
        FAC_LOAD(double, b);
        r0[i] = (a + (k_alpha * b));
    }
}

FAC_LOOP(loop_add_c64)
{
    FAC_RESULT(fac_c64, 0);
    FAC_OPERAND(fac_c64, a, 1);
    FAC_OPERAND(fac_c64, b, 2);
    FAC_NUMBER(fac_c64, alpha, 0);
    if (fx_eq_c64(k_alpha, fx_widen_c64(1.0f))) {
        FAC_EACH {
            FAC_LOAD(fac_c64, a);
            FAC_LOAD(fac_c64, b);
            r0[i] = fx_add_c64(a, b);
        }
        return;
    }
    FAC_EACH {
        FAC_LOAD(fac_c64, a);
        FAC_LOAD(fac_c64, b);
        r0[i] = fx_add_c64(a, fx_mul_c64(k_alpha, b));
    }
}

FAC_LOOP(loop_add_c128)
{
    FAC_RESULT(fac_c128, 0);
    FAC_OPERAND(fac_c128, a, 1);
    FAC_OPERAND(fac_c128, b, 2);
    FAC_NUMBER(fac_c128, alpha, 0);
    if (fx_eq_c128(k_alpha, fx_widen_c128(1.0))) {
        FAC_EACH {
            FAC_LOAD(fac_c128, a);
            FAC_LOAD(fac_c128, b);
            r0[i] = fx_add_c128(a, b);
        }
        return;
    }
    FAC_EACH {
        FAC_LOAD(fac_c128, a);
        FAC_LOAD(fac_c128, b);
        r0[i] = fx_add_c128(a, fx_mul_c128(k_alpha, b));
    }
}

FAC_LOOPS(add,
    [FAC_DT_BOOL] = loop_add_b,
    [FAC_DT_U8] = loop_add_u8,
    [FAC_DT_I8] = loop_add_u8,
    [FAC_DT_U16] = loop_add_u16,
    [FAC_DT_I16] = loop_add_u16,
    [FAC_DT_U32] = loop_add_u32,
    [FAC_DT_I32] = loop_add_u32,
    [FAC_DT_U64] = loop_add_u64,
    [FAC_DT_I64] = loop_add_u64,
    [FAC_DT_F32] = loop_add_f32,
    [FAC_DT_F64] = loop_add_f64,
    [FAC_DT_C64] = loop_add_c64,
    [FAC_DT_C128] = loop_add_c128)

FAC_LOOP(loop_eq_b)
{
    FAC_RESULT(bool, 0);
    FAC_OPERAND(bool, a, 1);
    FAC_OPERAND(bool, b, 2);
    FAC_EACH {
        FAC_LOAD(bool, a);
        FAC_LOAD(bool, b);
        r0[i] = (a == b);
    }
}

FAC_LOOP(loop_eq_u8)
{
    FAC_RESULT(bool, 0);
    FAC_OPERAND(uint8_t, a, 1);
    FAC_OPERAND(uint8_t, b, 2);
    FAC_EACH {
        FAC_LOAD(uint8_t, a);
        FAC_LOAD(uint8_t, b);
        r0[i] = (a == b);
    }
}

FAC_LOOP(loop_eq_u16)
{
    FAC_RESULT(bool, 0);
    FAC_OPERAND(uint16_t, a, 1);
    FAC_OPERAND(uint16_t, b, 2);
    FAC_EACH {
        FAC_LOAD(uint16_t, a);
        FAC_LOAD(uint16_t, b);
        r0[i] = (a == b);
    }
}

FAC_LOOP(loop_eq_u32)
{
    FAC_RESULT(bool, 0);
    FAC_OPERAND(uint32_t, a, 1);
    FAC_OPERAND(uint32_t, b, 2);
    FAC_EACH {
        FAC_LOAD(uint32_t, a);
        FAC_LOAD(uint32_t, b);
        r0[i] = (a == b);
    }
}

FAC_LOOP(loop_eq_u64)
{
    FAC_RESULT(bool, 0);
    FAC_OPERAND(uint64_t, a, 1);
    FAC_OPERAND(uint64_t, b, 2);
    FAC_EACH {
        FAC_LOAD(uint64_t, a);
        FAC_LOAD(uint64_t, b);
        r0[i] = (a == b);
    }
}

FAC_LOOP(loop_eq_f32)
{
    FAC_RESULT(bool, 0);
    FAC_OPERAND(float, a, 1);
    FAC_OPERAND(float, b, 2);
    FAC_EACH {
        FAC_LOAD(float, a);
        FAC_LOAD(float, b);
        r0[i] = (a == b);
    }
}

FAC_LOOP(loop_eq_f64)
{
    FAC_RESULT(bool, 0);
    FAC_OPERAND(double, a, 1);
    FAC_OPERAND(double, b, 2);
    FAC_EACH {
        FAC_LOAD(double, a);
        FAC_LOAD(double, b);
        r0[i] = (a == b);
    }
}

FAC_LOOP(loop_eq_c64)
{
    FAC_RESULT(bool, 0);
    FAC_OPERAND(fac_c64, a, 1);
    FAC_OPERAND(fac_c64, b, 2);
    FAC_EACH {
        FAC_LOAD(fac_c64, a);
        FAC_LOAD(fac_c64, b);
        r0[i] = fx_eq_c64(a, b);
    }
}

FAC_LOOP(loop_eq_c128)
{
    FAC_RESULT(bool, 0);
    FAC_OPERAND(fac_c128, a, 1);
    FAC_OPERAND(fac_c128, b, 2);
    FAC_EACH {
        FAC_LOAD(fac_c128, a);
        FAC_LOAD(fac_c128, b);
        r0[i] = fx_eq_c128(a, b);
    }
}

FAC_LOOPS(eq,
    [FAC_DT_BOOL] = loop_eq_b,
    [FAC_DT_U8] = loop_eq_u8,
    [FAC_DT_I8] = loop_eq_u8,
    [FAC_DT_U16] = loop_eq_u16,
    [FAC_DT_I16] = loop_eq_u16,
    [FAC_DT_U32] = loop_eq_u32,
    [FAC_DT_I32] = loop_eq_u32,
    [FAC_DT_U64] = loop_eq_u64,
    [FAC_DT_I64] = loop_eq_u64,
    [FAC_DT_F32] = loop_eq_f32,
    [FAC_DT_F64] = loop_eq_f64,
    [FAC_DT_C64] = loop_eq_c64,
    [FAC_DT_C128] = loop_eq_c128)

FAC_LOOP(loop_clip_f32)
{
    FAC_RESULT(float, 0);
    FAC_OPERAND(float, a, 1);
    FAC_NUMBER(float, low, 0);
    FAC_NUMBER(float, high, 1);
    FAC_EACH {
        FAC_LOAD(float, a);
        r0[i] = ((a < k_low) ? k_low : ((!fx_isnan_f32(k_high) && (a > k_high)) ? k_high : a));
    }
}

FAC_LOOP(loop_clip_f64)
{
    FAC_RESULT(double, 0);
    FAC_OPERAND(double, a, 1);
    FAC_NUMBER(double, low, 0);
    FAC_NUMBER(double, high, 1);
    FAC_EACH {
        FAC_LOAD(double, a);
        r0[i] = ((a < k_low) ? k_low : ((!fx_isnan_f64(k_high) && (a > k_high)) ? k_high : a));
    }
}

FAC_LOOPS(clip,
    [FAC_DT_F32] = loop_clip_f32,
    [FAC_DT_F64] = loop_clip_f64)
