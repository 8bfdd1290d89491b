/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */
#include "ops.h"
#include "dispatch/formula.h"

FacStatus
fac_op_add(FacValue self, FacValue other, FacValue alpha, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_add, 3, (FacValue[]){self, other, alpha}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

FacStatus
fac_op_add_(FacValue self, FacValue other, FacValue alpha)
{
    return fac_call_inplace(FAC_OP_add, 3, (FacValue[]){self, other, alpha});
}

FacStatus
fac_op_mul(FacValue self, FacValue other, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_mul, 2, (FacValue[]){self, other}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

FacStatus
fac_op_eq(FacValue self, FacValue other, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_eq, 2, (FacValue[]){self, other}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

FacStatus
fac_op_abs(FacTensor *self, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_abs, 1, (FacValue[]){fac_v_tensor(self)}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

FacStatus
fac_op_clip(FacTensor *self, double low, FacValue high, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_clip, 3, (FacValue[]){fac_v_tensor(self), fac_v_float(low), high}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

FacStatus
fac_op_sum_dim(FacTensor *self, FacValue dim, bool keepdim, FacDType dtype, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_sum_dim, 4, (FacValue[]){fac_v_tensor(self), dim, fac_v_bool(keepdim), fac_v_dtype(dtype)}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

FacStatus
fac_op_max_dim(FacTensor *self, int64_t dim, bool keepdim, FacTensor **values, FacTensor **indices)
{
    FacValue r[2] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_max_dim, 3, (FacValue[]){fac_v_tensor(self), fac_v_int(dim), fac_v_bool(keepdim)}, r));
    fac_formula_take_tensor(&r[0], values);
    fac_formula_take_tensor(&r[1], indices);
    return FAC_OK;
}

FacStatus
fac_op_expand(FacTensor *self, FacValue size, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_expand, 2, (FacValue[]){fac_v_tensor(self), size}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

FacStatus
fac_op_split(FacTensor *self, FacValue sizes, int64_t dim, FacValue *out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_split, 3, (FacValue[]){fac_v_tensor(self), sizes, fac_v_int(dim)}, r));
    fac_formula_take(&r[0], out);
    return FAC_OK;
}

FacStatus
fac_op_cat(FacValue tensors, int64_t dim, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_cat, 2, (FacValue[]){tensors, fac_v_int(dim)}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

FacStatus
fac_op_fill_(FacTensor *self, FacValue value)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_fill_, 2, (FacValue[]){fac_v_tensor(self), value}, r));
    fac_formula_release(r, 1);
    return FAC_OK;
}

FacStatus
fac_op_pool(FacTensor *input, FacTensor *weight, const char *mode, double scale, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_pool, 4, (FacValue[]){fac_v_tensor(input), fac_v_tensor(weight), fac_v_str(mode), fac_v_float(scale)}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

FacStatus
fac_op_choose(FacTensor *self, FacTensor *weight, int64_t n, const char *mode, FacTensor **out0, FacValue *out1)
{
    FacValue r[2] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_choose, 4, (FacValue[]){fac_v_tensor(self), fac_v_tensor(weight), fac_v_int(n), fac_v_str(mode)}, r));
    fac_formula_take_tensor(&r[0], out0);
    fac_formula_take(&r[1], out1);
    return FAC_OK;
}

FacStatus
fac_op_fill_twice(FacTensor *self, FacValue *out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_fill_twice, 1, (FacValue[]){fac_v_tensor(self)}, r));
    fac_formula_take(&r[0], out);
    return FAC_OK;
}

FacStatus
fac_op_tail(FacTensor *self, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_tail, 1, (FacValue[]){fac_v_tensor(self)}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}
