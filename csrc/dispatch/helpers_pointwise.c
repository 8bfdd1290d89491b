/* helpers_pointwise.c - the parts of pointwise gradients that are more than an expression.
 */
#include "dispatch/rules.h"
#include "generated/ops.h"

FacStatus
fac_helper_conj_number(const FacValue *args, FacValue *out)
{
    double c[2];
    if (args[0].tag != FAC_V_COMPLEX) return fac_value_keep(args[0], out);
    fac_v_as_complex(args[0], c);
    c[1] = -c[1];
    return fac_value_keep((FacValue){.tag = FAC_V_COMPLEX, .v.c = c}, out);
}

static bool
is_zero_number(FacValue v)
{
    return fac_v_is_number(v) && !fac_v_is_true(v);
}

/* conj of an operand, which may be a number: owned. */
static FacStatus
conj_operand(FacValue v, FacValue *out)
{
    if (v.tag == FAC_V_TENSOR) return fac_call(FAC_OP_conj, 1, &v, out);
    return fac_helper_conj_number(&v, out);
}

/* grad * conj(exponent * self ** (exponent - 1)), and 0 where the exponent is 0. */
FacStatus
fac_helper_pow_backward_self(const FacValue *args, FacValue *out)
{
    FacValue grad = args[0], self = args[1], exponent = args[2], t[6] = {{0}};
    FacStatus st = FAC_OK;
    if (is_zero_number(exponent)) return fac_call(FAC_OP_zeros_like, 1, &grad, out);
    if (fac_v_is_number(exponent)) {
        double c[2];
        fac_v_as_complex(exponent, c);
        c[0] -= 1;
        FacValue less = exponent.tag == FAC_V_COMPLEX ? (FacValue){.tag = FAC_V_COMPLEX, .v.c = c}
                        : exponent.tag == FAC_V_FLOAT ? fac_v_float(c[0])
                                                      : fac_v_int(fac_v_as_int(exponent) - 1);
        FAC_TRY(fac_call(FAC_OP_pow, 2, (FacValue[]){self, less}, &t[0]));
        FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){t[0], exponent}, &t[1]));
        FAC_TRY(fac_call(FAC_OP_conj, 1, &t[1], &t[2]));
        FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){grad, t[2]}, out));
        goto done;
    }
    FAC_TRY(fac_call(FAC_OP_sub, 2, (FacValue[]){exponent, fac_v_int(1)}, &t[0]));
    FAC_TRY(fac_call(FAC_OP_pow, 2, (FacValue[]){self, t[0]}, &t[1]));
    FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){t[1], exponent}, &t[2]));
    FAC_TRY(fac_call(FAC_OP_conj, 1, &t[2], &t[3]));
    FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){grad, t[3]}, &t[4]));
    FAC_TRY(fac_call(FAC_OP_eq, 2, (FacValue[]){exponent, fac_v_int(0)}, &t[5]));
    FAC_TRY(fac_call(FAC_OP_where, 3, (FacValue[]){t[5], fac_v_int(0), t[4]}, out));
done:
    fac_values_release(t, 6);
    return st;
}

/* grad * conj(result * log(self)), and 0 where self is 0 and the exponent is not negative. */
FacStatus
fac_helper_pow_backward_exponent(const FacValue *args, FacValue *out)
{
    FacValue grad = args[0], self = args[1], exponent = args[2], result = args[3], t[8] = {{0}};
    FacStatus st = FAC_OK;
    bool complex = fac_v_as_tensor(result) && FAC_IS_COMPLEX(result.v.t->dtype);
    if (self.tag == FAC_V_TENSOR) {
        FAC_TRY(fac_call(FAC_OP_log, 1, &self, &t[0]));
    } else {
        double c[2] = {0, 0};
        fac_v_as_complex(self, c);
        FacDType dtype = c[1] != 0 || c[0] < 0 ? fac_default_complex() : FAC_DT_F64;
        if (!complex) dtype = FAC_DT_F64;
        FacTensor *number = NULL;
        FAC_TRY(fac_tensor_from_number(self, dtype, &number));
        t[7] = fac_v_tensor(number);
        t[7].flags = FAC_VALUE_OWNED;
        FAC_TRY(fac_call(FAC_OP_log, 1, &t[7], &t[0]));
        /* takes part in promotion as the number did */
        t[0].v.t->flags |= FAC_T_NUMBER;
    }
    FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){result, t[0]}, &t[1]));
    FAC_TRY(fac_call(FAC_OP_conj, 1, &t[1], &t[2]));
    FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){grad, t[2]}, &t[3]));
    if (self.tag != FAC_V_TENSOR && fac_v_is_true(self)) {
        FAC_TRY(fac_value_keep(t[3], out));
        goto done;
    }
    /* at self == 0 the derivative is 0 for every exponent whose power is finite */
    FacValue zero = fac_v_int(0), is_zero = t[4];
    if (self.tag == FAC_V_TENSOR) {
        FAC_TRY(fac_call(FAC_OP_eq, 2, (FacValue[]){self, zero}, &t[4]));
        is_zero = t[4];
    }
    if (complex) {
        FAC_TRY(conj_operand(exponent, &t[5]));
        FacValue real_exponent = FAC_VALUE_NONE;
        FAC_TRY(fac_call(FAC_OP_real, 1, &t[5], &real_exponent));
        st = fac_call(FAC_OP_ge, 2, (FacValue[]){real_exponent, zero}, &t[6]);
        fac_value_release(&real_exponent);
        if (st != FAC_OK) goto done;
    } else {
        FAC_TRY(fac_call(FAC_OP_ge, 2, (FacValue[]){exponent, zero}, &t[6]));
    }
    FacValue hide = t[6], both = FAC_VALUE_NONE;
    if (is_zero.tag == FAC_V_TENSOR) {
        FAC_TRY(fac_call(FAC_OP_logical_and, 2, (FacValue[]){is_zero, t[6]}, &both));
        hide = both;
    }
    st = fac_call(FAC_OP_where, 3, (FacValue[]){hide, zero, t[3]}, out);
    fac_value_release(&both);
done:
    fac_values_release(t, 8);
    return st;
}

/* For complex self: (grad / |self| - real(grad / self * result... ) as the projection that is left of a
 * change along the circle: (grad - result * real(conj(result) * grad)) / |self|, and 0 at 0. */
FacStatus
fac_helper_sgn_backward(const FacValue *args, FacValue *out)
{
    FacValue self = args[0], grad = args[1], result = args[2], t[8] = {{0}};
    FacStatus st = FAC_OK;
    FAC_TRY(fac_call(FAC_OP_conj, 1, &result, &t[0]));
    FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){t[0], grad}, &t[1]));
    FAC_TRY(fac_call(FAC_OP_real, 1, &t[1], &t[2]));
    FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){result, t[2]}, &t[3]));
    FAC_TRY(fac_call(FAC_OP_sub, 2, (FacValue[]){grad, t[3]}, &t[4]));
    FAC_TRY(fac_call(FAC_OP_abs, 1, &self, &t[5]));
    FAC_TRY(fac_call(FAC_OP_div, 2, (FacValue[]){t[4], t[5]}, &t[6]));
    FAC_TRY(fac_call(FAC_OP_eq, 2, (FacValue[]){t[5], fac_v_int(0)}, &t[7]));
    FAC_TRY(fac_call(FAC_OP_where, 3, (FacValue[]){t[7], fac_v_int(0), t[6]}, out));
done:
    fac_values_release(t, 8);
    return st;
}

FacStatus
fac_helper_tie_weight(const FacValue *args, FacValue *out)
{
    FacValue self = args[0], other = args[1], wins = args[2], equal = FAC_VALUE_NONE,
             half = FAC_VALUE_NONE;
    FacValue full = FAC_VALUE_NONE;
    FacStatus st = FAC_OK;
    FacDType dtype = fac_promote((FacDType)self.v.t->dtype, (FacDType)other.v.t->dtype);
    FAC_TRY(fac_call(FAC_OP_eq, 2, (FacValue[]){self, other}, &equal));
    FAC_TRY(fac_call(FAC_OP__to_copy, 2, (FacValue[]){equal, fac_v_dtype(dtype)}, &half));
    FAC_TRY(fac_call_inplace(FAC_OP_mul, 2, (FacValue[]){half, fac_v_float(0.5)}));
    FAC_TRY(fac_call(FAC_OP__to_copy, 2, (FacValue[]){wins, fac_v_dtype(dtype)}, &full));
    FAC_TRY(fac_call(FAC_OP_add, 2, (FacValue[]){full, half}, out));
done:
    fac_value_release(&equal);
    fac_value_release(&half);
    fac_value_release(&full);
    return st;
}

/* --- creation and views ---------------------------------------------------------------------------- */

/* polar: d abs = real(grad * conj(unit)), d angle = imag-part projection: real(grad * conj(i result)). */
FacStatus
fac_helper_polar_backward(const FacValue *args, FacValue *out)
{
    FacValue grad = args[0], result = args[1], t[8] = {{0}};
    FacStatus st = FAC_OK;
    const double i[2] = {0, 1};
    FAC_TRY(fac_call(FAC_OP_conj, 1, &result, &t[0]));
    FAC_TRY(fac_call(FAC_OP_sgn, 1, &t[0], &t[1]));
    FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){grad, t[1]}, &t[2]));
    FAC_TRY(fac_call(FAC_OP_real, 1, &t[2], &out[0]));
    FAC_TRY(fac_call(FAC_OP_mul, 2,
                     (FacValue[]){result, (FacValue){.tag = FAC_V_COMPLEX, .v.c = i}}, &t[3]));
    FAC_TRY(fac_call(FAC_OP_conj, 1, &t[3], &t[4]));
    FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){grad, t[4]}, &t[5]));
    FAC_TRY(fac_call(FAC_OP_real, 1, &t[5], &out[1]));
done:
    fac_values_release(t, 8);
    return st;
}

FacStatus
fac_helper_imag_backward(const FacValue *args, FacValue *out)
{
    const double i[2] = {0, 1};
    return fac_call(FAC_OP_mul, 2,
                    (FacValue[]){args[0], (FacValue){.tag = FAC_V_COMPLEX, .v.c = i}}, out);
}

/* Real: 0. Complex: the direction that turns the angle, i * sgn(self) / |self|, times grad. */
FacStatus
fac_helper_angle_backward(const FacValue *args, FacValue *out)
{
    FacValue grad = args[0], self = args[1], t[6] = {{0}};
    FacStatus st = FAC_OK;
    const double i[2] = {0, 1};
    if (!FAC_IS_COMPLEX(self.v.t->dtype)) return fac_call(FAC_OP_zeros_like, 1, &grad, out);
    FAC_TRY(fac_call(FAC_OP_abs, 1, &self, &t[0]));
    FAC_TRY(fac_call(FAC_OP_sgn, 1, &self, &t[1]));
    FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){t[1], (FacValue){.tag = FAC_V_COMPLEX, .v.c = i}},
                     &t[2]));
    FAC_TRY(fac_call(FAC_OP_div, 2, (FacValue[]){t[2], t[0]}, &t[3]));
    FAC_TRY(fac_call(FAC_OP_mul, 2, (FacValue[]){t[3], grad}, &t[4]));
    FAC_TRY(fac_call(FAC_OP_eq, 2, (FacValue[]){t[0], fac_v_int(0)}, &t[5]));
    FAC_TRY(fac_call(FAC_OP_where, 3, (FacValue[]){t[5], fac_v_int(0), t[4]}, out));
done:
    fac_values_release(t, 6);
    return st;
}
