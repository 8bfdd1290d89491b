/* composite_pointwise.c - pointwise operators that choose between rows by their options.
 */
#include "dispatch/chain.h"
#include "dispatch/rules.h"

#include <float.h>
#include <math.h>
#include <string.h>

FacStatus
fac_composite_div_mode(FacCall *call)
{
    FacValue mode = call->args[2];
    const FacOp *op = FAC_OP_div;
    if (mode.tag == FAC_V_STR && !strcmp(mode.v.s, "trunc"))
        op = FAC_OP__div_trunc;
    else if (mode.tag == FAC_V_STR && !strcmp(mode.v.s, "floor"))
        op = FAC_OP_floor_divide;
    else if (mode.tag == FAC_V_STR)
        return fac_error(FAC_RUNTIME_ERROR,
                         "div expected rounding_mode to be one of None, 'trunc', or "
                         "'floor' but found '%s'",
                         mode.v.s);
    return fac_call(op, 2, call->args, call->results);
}

FacStatus
fac_composite_float_power(FacCall *call)
{
    FacStatus st = FAC_OK;
    FacTensor *cast[2] = {NULL, NULL};
    FacValue wide[2];
    bool complex = false;
    for (int i = 0; i < 2; i++) {
        FacTensor *t = fac_arg_tensor(call, i);
        complex |= t ? FAC_IS_COMPLEX(t->dtype) : call->args[i].tag == FAC_V_COMPLEX;
    }
    FacDType to = complex ? FAC_DT_C128 : FAC_DT_F64;
    for (int i = 0; i < 2; i++) {
        FacTensor *t = fac_arg_tensor(call, i);
        wide[i] = call->args[i];
        if (t && t->dtype != to) {
            FAC_TRY(fac_op__to_copy(t, to, FAC_VALUE_NONE, FAC_VALUE_NONE, false, FAC_VALUE_NONE,
                                    &cast[i]));
            wide[i] = fac_v_tensor(cast[i]);
        } else if (!t && wide[i].tag != FAC_V_COMPLEX) {
            wide[i] = fac_v_float(fac_v_as_float(wide[i]));
        }
    }
    FAC_TRY(fac_call(FAC_OP_pow, 2, wide, call->results));
done:
    fac_tensor_release(cast[0]);
    fac_tensor_release(cast[1]);
    return st;
}

FacStatus
fac_composite_isclose(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *b = fac_arg_tensor(call, 1);
    FacTensor *close = NULL, *nan_a = NULL, *nan_b = NULL, *both = NULL, *off = NULL,
              *allowed = NULL;
    FacTensor *within = NULL, *finite = NULL, *size = NULL, *wide_a = NULL, *wide_b = NULL;
    FacStatus st = FAC_OK;
    double rtol = call->args[2].v.f, atol = call->args[3].v.f;
    if (a->dtype != b->dtype)
        FAC_FAIL(FAC_RUNTIME_ERROR, "%s did not match %s; cast one of them",
                 fac_dtype_info[a->dtype].legacy, fac_dtype_info[b->dtype].legacy);
    if (rtol < 0 || atol < 0)
        FAC_FAIL(FAC_RUNTIME_ERROR, "%s must be greater than or equal to zero, but got %g",
                 rtol < 0 ? "rtol" : "atol", rtol < 0 ? rtol : atol);
    FAC_TRY(fac_op_eq(fac_v_tensor(a), fac_v_tensor(b), &close));
    if (!FAC_IS_INT(a->dtype) && call->args[4].v.b) {
        FAC_TRY(fac_op_isnan(a, &nan_a));
        FAC_TRY(fac_op_isnan(b, &nan_b));
        FAC_TRY(fac_op_logical_and(nan_a, nan_b, &both));
        FAC_TRY(fac_op_logical_or_(close, both));
    }
    if (rtol == 0 && atol == 0) {
        call->results[0] = fac_v_tensor(close);
        close = NULL;
        goto done;
    }
    /* integers and bools are compared as floats, so that differences and products do not wrap */
    FacDType to = FAC_IS_INT(a->dtype) ? fac_default_dtype() : (FacDType)a->dtype;
    FAC_TRY(fac_op__to_copy(a, to, FAC_VALUE_NONE, FAC_VALUE_NONE, false, FAC_VALUE_NONE, &wide_a));
    FAC_TRY(fac_op__to_copy(b, to, FAC_VALUE_NONE, FAC_VALUE_NONE, false, FAC_VALUE_NONE, &wide_b));
    FAC_TRY(fac_op_abs(wide_b, &size));
    FAC_TRY(fac_op_mul(fac_v_tensor(size), fac_v_float(rtol), &allowed));
    FAC_TRY(fac_op_add_(fac_v_tensor(allowed), fac_v_float(atol), fac_v_int(1)));
    FAC_TRY(fac_op_sub(fac_v_tensor(wide_a), fac_v_tensor(wide_b), fac_v_int(1), &off));
    fac_tensor_release(size);
    size = NULL;
    FAC_TRY(fac_op_abs(off, &size));
    FAC_TRY(fac_op_le(fac_v_tensor(size), fac_v_tensor(allowed), &within));
    FAC_TRY(fac_op_isfinite(size, &finite));
    FAC_TRY(fac_op_logical_and_(within, finite));
    FAC_TRY(fac_op_logical_or_(close, within));
    call->results[0] = fac_v_tensor(close);
    close = NULL;
done:
    fac_tensor_release(close);
    fac_tensor_release(nan_a);
    fac_tensor_release(nan_b);
    fac_tensor_release(both);
    fac_tensor_release(off);
    fac_tensor_release(allowed);
    fac_tensor_release(within);
    fac_tensor_release(finite);
    fac_tensor_release(size);
    fac_tensor_release(wide_a);
    fac_tensor_release(wide_b);
    return st;
}

static FacStatus
clamp(FacCall *call)
{
    FacValue low = call->args[1], high = call->args[2];
    if (low.tag == FAC_V_NONE && high.tag == FAC_V_NONE)
        return fac_error(FAC_RUNTIME_ERROR, "At least one of 'min' or 'max' must not be None");
    if (low.tag == FAC_V_NONE)
        return fac_call(FAC_OP__clamp_max, 2, (FacValue[]){call->args[0], high}, call->results);
    if (high.tag == FAC_V_NONE)
        return fac_call(FAC_OP__clamp_min, 2, (FacValue[]){call->args[0], low}, call->results);
    return fac_call(FAC_OP__clamp, 3, call->args, call->results);
}

FacStatus
fac_composite_clamp_numbers(FacCall *call)
{
    return clamp(call);
}

FacStatus
fac_composite_clamp_tensors(FacCall *call)
{
    return clamp(call);
}

FacStatus
fac_composite_gelu(FacCall *call)
{
    const char *approximate = call->args[1].v.s;
    if (!strcmp(approximate, "none"))
        return fac_call(FAC_OP__gelu_erf, 1, call->args, call->results);
    if (!strcmp(approximate, "tanh"))
        return fac_call(FAC_OP__gelu_tanh, 1, call->args, call->results);
    return fac_error(FAC_RUNTIME_ERROR,
                     "approximate argument must be either none or tanh, got '%s'", approximate);
}

/* The largest finite number of a floating dtype. */
static double
largest(FacDType dtype)
{
    switch (dtype) {
    case FAC_DT_F16: return 65504.0;
    case FAC_DT_BF16: return 0x1.fep127;
    case FAC_DT_F64: return DBL_MAX;
    default: return FLT_MAX;
    }
}

FacStatus
fac_composite_nan_to_num(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *parts = NULL, *fixed = NULL;
    FacStatus st = FAC_OK;
    FacValue replaced[4] = {call->args[0], call->args[1], call->args[2], call->args[3]};
    if (FAC_IS_COMPLEX(self->dtype)) { /* part by part */
        FAC_TRY(fac_op_view_as_real(self, &parts));
        replaced[0] = fac_v_tensor(parts);
        FAC_TRY(fac_call(FAC_OP_nan_to_num, 4, replaced, &replaced[1]));
        fixed = replaced[1].v.t;
        FAC_TRY(fac_call(FAC_OP_view_as_complex, 1, &replaced[1], call->results));
        goto done;
    }
    if (FAC_IS_INT(self->dtype)) {
        FAC_TRY(fac_call(FAC_OP_clone, 1, call->args, call->results));
        goto done;
    }
    double edge = largest((FacDType)self->dtype);
    replaced[1] = call->args[1].tag ? call->args[1] : fac_v_float(0);
    replaced[2] = call->args[2].tag ? call->args[2] : fac_v_float(edge);
    replaced[3] = call->args[3].tag ? call->args[3] : fac_v_float(-edge);
    FAC_TRY(fac_call(FAC_OP__nan_to_num, 4, replaced, call->results));
done:
    fac_tensor_release(parts);
    fac_tensor_release(fixed);
    return st;
}

FacStatus
fac_composite_is_complex(FacCall *call)
{
    call->results[0] = fac_v_bool(FAC_IS_COMPLEX(fac_arg_tensor(call, 0)->dtype));
    return FAC_OK;
}

/* (start, end, steps[, base], dtype, ...) by rows, in the arithmetic of the kernel: in float32 for
 * float32 and double otherwise, counting from the nearer end. */
FacStatus
fac_composite_linspace_each(FacCall *call)
{
    Chain c = {.n = 0};
    FacStatus st;
    FacDType dtype;
    FacDevice device;
    FacValue ends[2], i, step, low, high, first, all;
    int64_t n = call->args[2].v.i;
    bool complex = false, powers = !strcmp(call->op->params[3].name, "base");
    for (int k = 0; k < 2; k++) {
        FacTensor *t = fac_arg_tensor(call, k);
        complex |= t ? FAC_IS_COMPLEX(t->dtype) : call->args[k].tag == FAC_V_COMPLEX;
        if (t && t->ndim)
            FAC_FAIL(FAC_RUNTIME_ERROR, "start and end are 0-dimensional, not %d-dimensional",
                     t->ndim);
    }
    if (n < 0) FAC_FAIL(FAC_RUNTIME_ERROR, "number of steps must be non-negative");
    FAC_TRY(fac_factory_options(call, complex ? fac_default_complex() : fac_default_dtype(), &dtype,
                                &device));
    bool single = dtype == FAC_DT_F32 || dtype == FAC_DT_C64;
    FacValue real = fac_v_dtype(single ? FAC_DT_F32 : FAC_DT_F64), where = fac_v_device(device);
    FacValue to = single                  ? fac_v_dtype(dtype)
                  : FAC_IS_COMPLEX(dtype) ? fac_v_dtype(FAC_DT_C128)
                                          : real;
    for (int k = 0; k < 2; k++) {
        if (fac_arg_tensor(call, k))
            CHAIN(_to_copy, &ends[k], call->args[k], to, FAC_VALUE_NONE, where);
        else
            CHAIN(full, &ends[k], fac_v_ints(NULL, 0), call->args[k], to, FAC_VALUE_NONE, where);
        if (FAC_IS_INT(dtype)) CHAIN(trunc, &ends[k], ends[k]);
    }
    if (n == 1) ends[1] = ends[0];
    CHAIN(arange, &i, fac_v_int(n), real, FAC_VALUE_NONE, where);
    CHAIN(sub, &step, ends[1], ends[0]);
    CHAIN(div, &step, step, fac_v_float(n > 1 ? (double)(n - 1) : 1));
    CHAIN(mul, &low, step, i);
    CHAIN(add, &low, ends[0], low);
    CHAIN(rsub, &high, i, fac_v_int(n - 1));
    CHAIN(mul, &high, step, high);
    CHAIN(sub, &high, ends[1], high);
    CHAIN(lt, &first, i, fac_v_int(n / 2));
    CHAIN(where, &all, first, low, high);
    if (powers) CHAIN(pow, &all, call->args[3], all);
    CHAIN(_to_copy, &all, all, fac_v_dtype(dtype));
    st = chain_give(all, &call->results[0]);
done:
    chain_end(&c);
    return st;
}
