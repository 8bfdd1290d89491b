/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "kernels/loop.h"

FAC_LOOP(loop_mul_u8)
{
    FAC_RESULT(uint8_t, 0);
    FAC_OPERAND(uint8_t, a, 1);
    FAC_OPERAND(uint8_t, b, 2);
    FAC_EACH {
        FAC_LOAD(uint8_t, a);
        FAC_LOAD(uint8_t, b);
        r0[i] = ((uint8_t)(a * b));
    }
}

FAC_LOOP(loop_mul_u16)
{
    FAC_RESULT(uint16_t, 0);
    FAC_OPERAND(uint16_t, a, 1);
    FAC_OPERAND(uint16_t, b, 2);
    FAC_EACH {
        FAC_LOAD(uint16_t, a);
        FAC_LOAD(uint16_t, b);
        r0[i] = ((uint16_t)(a * b));
    }
}

FAC_LOOP(loop_mul_u32)
{
    FAC_RESULT(uint32_t, 0);
    FAC_OPERAND(uint32_t, a, 1);
    FAC_OPERAND(uint32_t, b, 2);
    FAC_EACH {
        FAC_LOAD(uint32_t, a);
        FAC_LOAD(uint32_t, b);
        r0[i] = ((uint32_t)(a * b));
    }
}

FAC_LOOP(loop_mul_u64)
{
    FAC_RESULT(uint64_t, 0);
    FAC_OPERAND(uint64_t, a, 1);
    FAC_OPERAND(uint64_t, b, 2);
    FAC_EACH {
        FAC_LOAD(uint64_t, a);
        FAC_LOAD(uint64_t, b);
        r0[i] = ((uint64_t)(a * b));
    }
}

FAC_LOOP(loop_mul_f32)
{
    FAC_RESULT(float, 0);
    FAC_OPERAND(float, a, 1);
    FAC_OPERAND(float, b, 2);
    FAC_EACH {
        FAC_LOAD(float, a);
        FAC_LOAD(float, b);
        r0[i] = (a * b);
    }
}

FAC_LOOP(loop_mul_f64)
{
    FAC_RESULT(double, 0);
    FAC_OPERAND(double, a, 1);
    FAC_OPERAND(double, b, 2);
    FAC_EACH {
        FAC_LOAD(double, a);
        FAC_LOAD(double, b);
        r0[i] = (a * b);
    }
}

FAC_LOOPS(mul,
    [FAC_DT_U8] = loop_mul_u8,
    [FAC_DT_I8] = loop_mul_u8,
    [FAC_DT_U16] = loop_mul_u16,
    [FAC_DT_I16] = loop_mul_u16,
    [FAC_DT_U32] = loop_mul_u32,
    [FAC_DT_I32] = loop_mul_u32,
    [FAC_DT_U64] = loop_mul_u64,
    [FAC_DT_I64] = loop_mul_u64,
    [FAC_DT_F32] = loop_mul_f32,
    [FAC_DT_F64] = loop_mul_f64)
