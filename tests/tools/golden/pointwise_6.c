/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "kernels/loop.h"

FAC_LOOP(loop_abs_f32)
{
    FAC_RESULT(float, 0);
    FAC_OPERAND(float, a, 1);
    FAC_EACH {
        FAC_LOAD(float, a);
        r0[i] = fx_abs_f32(a);
    }
}

FAC_LOOP(loop_abs_f64)
{
    FAC_RESULT(double, 0);
    FAC_OPERAND(double, a, 1);
    FAC_EACH {
        FAC_LOAD(double, a);
        r0[i] = fx_abs_f64(a);
    }
}

FAC_LOOP(loop_abs_c64)
{
    FAC_RESULT(float, 0);
    FAC_OPERAND(fac_c64, a, 1);
    FAC_EACH {
        FAC_LOAD(fac_c64, a);
        r0[i] = fx_abs_c64(a);
    }
}

FAC_LOOP(loop_abs_c128)
{
    FAC_RESULT(double, 0);
    FAC_OPERAND(fac_c128, a, 1);
    FAC_EACH {
        FAC_LOAD(fac_c128, a);
        r0[i] = fx_abs_c128(a);
    }
}

FAC_LOOPS(abs,
    [FAC_DT_F32] = loop_abs_f32,
    [FAC_DT_F64] = loop_abs_f64,
    [FAC_DT_C64] = loop_abs_c64,
    [FAC_DT_C128] = loop_abs_c128)
