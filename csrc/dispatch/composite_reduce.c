/* composite_reduce.c - reductions that are made of others, and the gradients that depend on
 * numbers.
 */
#include "dispatch/chain.h"
#include "dispatch/rules.h"

#include <math.h>
#include <string.h>

/* Zeros with grad added at the selected places: scatter_add, which is differentiable itself. */
FacStatus
fac_composite_select_from_backward(FacCall *call)
{
    FacValue grad = call->args[0], dim = call->args[1], indices = call->args[2], zeros, y;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    if (!call->args[4].v.b && call->args[3].len) {
        CHAIN(unsqueeze, &grad, grad, dim);
        CHAIN(unsqueeze, &indices, indices, dim);
    }
    CHAIN(new_zeros, &zeros, grad, call->args[3]);
    CHAIN(scatter_add, &y, zeros, dim, indices, grad);
    st = chain_give(y, call->results);
done:
    chain_end(&c);
    return st;
}

FacStatus
fac_composite_trace(FacCall *call)
{
    FacValue self = call->args[0], y;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    if (self.v.t->ndim != 2)
        FAC_FAIL(FAC_RUNTIME_ERROR, "trace: expected a matrix, but got tensor with dim %d",
                 self.v.t->ndim);
    if (self.v.t->dtype == FAC_DT_BOOL) FAC_TRY(fac_not_implemented_for(call, FAC_DT_BOOL));
    CHAIN(diagonal, &y, self);
    CHAIN(sum, &y, y);
    st = chain_give(y, call->results);
done:
    chain_end(&c);
    return st;
}

FacStatus
fac_composite_aminmax(FacCall *call)
{
    FacValue self = call->args[0], dim = call->args[1], low, high;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FacValue dims = fac_v_ints(&dim.v.i, dim.tag == FAC_V_INT ? 1 : 0);
    CHAIN(amin, &low, self, dims, call->args[2]);
    CHAIN(amax, &high, self, dims, call->args[2]);
    FAC_TRY(chain_give(low, &call->results[0]));
    st = chain_give(high, &call->results[1]);
done:
    chain_end(&c);
    return st;
}

FacStatus
fac_composite_nanmean(FacCall *call)
{
    FacValue self = call->args[0], dim = call->args[1], total, count, y;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    if (FAC_IS_INT(self.v.t->dtype))
        FAC_FAIL(FAC_RUNTIME_ERROR,
                 "nanmean(): expected input to have floating point or complex dtype "
                 "but got %s",
                 fac_dtype_info[self.v.t->dtype].legacy);
    CHAIN(isnan, &count, self);
    CHAIN(logical_not, &count, count);
    CHAIN(sum_dim_IntList, &count, count, dim, call->args[2]);
    CHAIN(nansum, &total, self, dim, call->args[2], call->args[3]);
    CHAIN(div, &y, total, count);
    st = chain_give(y, call->results);
done:
    chain_end(&c);
    return st;
}

/* Whether all elements of a bool tensor are true, as a value. */
static FacStatus
all_true(Chain *chain, FacValue truth, FacValue *out)
{
    FacValue every, item;
    double room[2];
    FAC_RETURN_IF_ERROR(chain_call(chain, FAC_OP_all, &every, 1, &truth));
    FAC_RETURN_IF_ERROR(fac_tensor_item(every.v.t, room, &item));
    *out = fac_v_bool(fac_v_is_true(item));
    return FAC_OK;
}

FacStatus
fac_composite_equal(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *b = fac_arg_tensor(call, 1);
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FacValue same;
    bool sizes_agree = a->ndim == b->ndim;
    for (int d = 0; d < a->ndim && sizes_agree; d++) sizes_agree = a->sizes[d] == b->sizes[d];
    if (!sizes_agree) {
        call->results[0] = fac_v_bool(false);
        return FAC_OK;
    }
    CHAIN(eq, &same, call->args[0], call->args[1]);
    st = all_true(&c, same, call->results);
done:
    chain_end(&c);
    return st;
}

FacStatus
fac_composite_allclose(FacCall *call)
{
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FacValue close;
    FAC_TRY(chain_call(&c, FAC_OP_isclose, &close, 5, call->args));
    st = all_true(&c, close, call->results);
done:
    chain_end(&c);
    return st;
}

/* Of complex numbers m + log(sum(exp(self - m))) with the largest real part as m, or 0 where that is infinite. */
FacStatus
fac_composite_logsumexp(FacCall *call)
{
    FacValue self = call->args[0], dim = call->args[1], keepdim = call->args[2];
    FacValue m, wide, endless, y;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    if (FAC_IS_INT(self.v.t->dtype)) CHAIN(_to_copy, &self, self, fac_v_dtype(fac_default_dtype()));
    if (self.v.t->numel == 0) {
        CHAIN(exp, &y, self);
        CHAIN(sum_dim_IntList, &y, y, dim, keepdim);
        CHAIN(log, &y, y);
        st = chain_give(y, call->results);
        goto done;
    }
    if (!FAC_IS_COMPLEX(self.v.t->dtype)) {
        CHAIN(_logsumexp, &y, self, dim, keepdim);
        st = chain_give(y, call->results);
        goto done;
    }
    CHAIN(real, &m, self);
    CHAIN(amax, &wide, m, dim, fac_v_bool(true));
    CHAIN(isinf, &endless, wide);
    CHAIN(masked_fill, &wide, wide, endless, fac_v_int(0));
    CHAIN(sub, &y, self, wide);
    CHAIN(exp, &y, y);
    CHAIN(sum_dim_IntList, &y, y, dim, keepdim);
    CHAIN(log, &y, y);
    CHAIN(reshape, &m, wide, fac_v_ints(y.v.t->sizes, y.v.t->ndim));
    CHAIN(add, &y, y, m);
    st = chain_give(y, call->results);
done:
    chain_end(&c);
    return st;
}

/* --- norms ------------------------------------------------------------------------------------ */

/* Of the orders inf and -inf: shared by the elements whose magnitude is the norm. */
static FacStatus
extreme_norm_backward(FacCall *call)
{
    FacValue grad = call->args[0], self = call->args[1], norm = call->args[2], dim = call->args[4];
    FacValue size, mask, nan, count, y;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    CHAIN(abs, &size, self);
    CHAIN(eq, &mask, size, norm);
    CHAIN(isnan, &nan, size);
    CHAIN(logical_or, &mask, mask, nan);
    CHAIN(sum_dim_IntList, &count, mask, dim, fac_v_bool(true));
    CHAIN(div, &y, grad, count);
    CHAIN(mul, &y, y, mask);
    CHAIN(sgn, &size, self);
    CHAIN(mul, &y, size, y);
    st = chain_give(y, call->results);
done:
    chain_end(&c);
    return st;
}

/* grad * self * |self| ** (p - 2) * norm ** (1 - p), with 0 where that is 0 times infinity. The
 * order of the factors keeps each of them in range. */
static FacStatus
power_norm_backward(FacCall *call, double p)
{
    FacValue grad = call->args[0], self = call->args[1], norm = call->args[2];
    FacValue size, scaled, zero, y;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    CHAIN(abs, &size, self);
    CHAIN(pow, &y, size, fac_v_float(p < 2 ? p - 1 : p - 2));
    if (p < 1) {
        CHAIN(eq, &zero, self, fac_v_int(0));
        CHAIN(masked_fill, &y, y, zero, fac_v_int(0));
    }
    scaled = self;
    if (p < 2) CHAIN(sgn, &scaled, self);
    CHAIN(mul, &scaled, scaled, y);
    if (p < 1) {
        CHAIN(mul, &scaled, scaled, grad);
        CHAIN(pow, &y, norm, fac_v_float(1 - p));
    } else {
        CHAIN(pow, &y, norm, fac_v_float(p - 1));
        CHAIN(div, &y, grad, y);
        CHAIN(eq, &zero, norm, fac_v_int(0));
        CHAIN(masked_fill, &y, y, zero, fac_v_int(0));
    }
    CHAIN(mul, &y, scaled, y);
    st = chain_give(y, call->results);
done:
    chain_end(&c);
    return st;
}

FacStatus
fac_composite_vector_norm_backward(FacCall *call)
{
    FacValue grad = call->args[0], self = call->args[1], norm = call->args[2], zero, y;
    double p = fac_v_as_float(call->args[3]);
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    if (__builtin_isinf(p)) return extreme_norm_backward(call);
    if (p != 1 && p != 2) return power_norm_backward(call, p);
    if (p == 1) {
        CHAIN(sgn, &y, self);
        CHAIN(mul, &y, y, grad);
    } else {
        /* zero where the norm is, as are the derivatives of this */
        CHAIN(eq, &zero, norm, fac_v_int(0));
        CHAIN(masked_fill, &y, norm, zero, fac_v_float(INFINITY));
        CHAIN(div, &y, grad, y);
        CHAIN(mul, &y, self, y);
    }
    st = chain_give(y, call->results);
done:
    chain_end(&c);
    return st;
}

FacStatus
fac_composite_norm_number(FacCall *call)
{
    FacValue args[5] = {call->args[0], call->args[1], call->args[2], call->args[3], call->args[4]};
    if (args[1].tag == FAC_V_NONE) args[1] = fac_v_int(2);
    return fac_call(FAC_OP_linalg_vector_norm, 5, args, call->results);
}

FacStatus
fac_composite_norm_name(FacCall *call)
{
    FacValue args[5] = {call->args[0], fac_v_int(2), call->args[2], call->args[3], call->args[4]};
    const char *name = call->args[1].v.s;
    if (!strcmp(name, "fro")) return fac_call(FAC_OP_linalg_vector_norm, 5, args, call->results);
    if (strcmp(name, "nuc"))
        return fac_error(FAC_RUNTIME_ERROR, "norm(): p must be a number, 'fro' or 'nuc', not '%s'",
                         name);
    /* the sum of the singular values of the matrices over two dims */
    const FacOp *nuclear = fac_op_find("_matrix_norm_name");
    if (!nuclear)
        return fac_error(FAC_NOT_IMPLEMENTED, "the nuclear norm needs linalg.matrix_norm");
    int64_t last[2] = {-2, -1};
    FacValue matrix[5] = {args[0], call->args[1],
                          args[2].tag == FAC_V_INTS ? args[2] : fac_v_ints(last, 2), args[3],
                          args[4]};
    return fac_call(nuclear, 5, matrix, call->results);
}
