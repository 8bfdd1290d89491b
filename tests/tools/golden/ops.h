/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */

#ifndef FAC_GENERATED_OPS_H
#define FAC_GENERATED_OPS_H

#include "dispatch/formula.h"

enum {
    FAC_OP_ID_add,
    FAC_OP_ID_mul,
    FAC_OP_ID_eq,
    FAC_OP_ID_abs,
    FAC_OP_ID_clip,
    FAC_OP_ID_sum_dim,
    FAC_OP_ID_max_dim,
    FAC_OP_ID_expand,
    FAC_OP_ID_split,
    FAC_OP_ID_cat,
    FAC_OP_ID_fill_,
    FAC_OP_ID_pool,
    FAC_OP_ID_choose,
    FAC_OP_ID_fill_twice,
    FAC_OP_ID_tail,
    FAC_OP_COUNT
};

#define FAC_OP_add (&fac_ops[FAC_OP_ID_add])
#define FAC_OP_mul (&fac_ops[FAC_OP_ID_mul])
#define FAC_OP_eq (&fac_ops[FAC_OP_ID_eq])
#define FAC_OP_abs (&fac_ops[FAC_OP_ID_abs])
#define FAC_OP_clip (&fac_ops[FAC_OP_ID_clip])
#define FAC_OP_sum_dim (&fac_ops[FAC_OP_ID_sum_dim])
#define FAC_OP_max_dim (&fac_ops[FAC_OP_ID_max_dim])
#define FAC_OP_expand (&fac_ops[FAC_OP_ID_expand])
#define FAC_OP_split (&fac_ops[FAC_OP_ID_split])
#define FAC_OP_cat (&fac_ops[FAC_OP_ID_cat])
#define FAC_OP_fill_ (&fac_ops[FAC_OP_ID_fill_])
#define FAC_OP_pool (&fac_ops[FAC_OP_ID_pool])
#define FAC_OP_choose (&fac_ops[FAC_OP_ID_choose])
#define FAC_OP_fill_twice (&fac_ops[FAC_OP_ID_fill_twice])
#define FAC_OP_tail (&fac_ops[FAC_OP_ID_tail])

/* Absent parameters: NULL, FAC_DT_NONE or FAC_VALUE_NONE. Results are new
 * references; NULL drops one. Inline: a file compiles the few that it calls. */
static inline FAC_MUST_CHECK FacStatus fac_op_add(FacValue self, FacValue other, FacValue alpha, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_add, 3, (FacValue[]){self, other, alpha}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

static inline FAC_MUST_CHECK FacStatus fac_op_add_(FacValue self, FacValue other, FacValue alpha)
{
    return fac_call_inplace(FAC_OP_add, 3, (FacValue[]){self, other, alpha});
}

static inline FAC_MUST_CHECK FacStatus fac_op_mul(FacValue self, FacValue other, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_mul, 2, (FacValue[]){self, other}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

static inline FAC_MUST_CHECK FacStatus fac_op_eq(FacValue self, FacValue other, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_eq, 2, (FacValue[]){self, other}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

static inline FAC_MUST_CHECK FacStatus fac_op_abs(FacTensor *self, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_abs, 1, (FacValue[]){fac_v_tensor(self)}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

static inline FAC_MUST_CHECK FacStatus fac_op_clip(FacTensor *self, double low, FacValue high, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_clip, 3, (FacValue[]){fac_v_tensor(self), fac_v_float(low), high}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

static inline FAC_MUST_CHECK FacStatus fac_op_sum_dim(FacTensor *self, FacValue dim, bool keepdim, FacDType dtype, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_sum_dim, 4, (FacValue[]){fac_v_tensor(self), dim, fac_v_bool(keepdim), fac_v_dtype(dtype)}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

static inline FAC_MUST_CHECK FacStatus fac_op_max_dim(FacTensor *self, int64_t dim, bool keepdim, FacTensor **values, FacTensor **indices)
{
    FacValue r[2] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_max_dim, 3, (FacValue[]){fac_v_tensor(self), fac_v_int(dim), fac_v_bool(keepdim)}, r));
    fac_formula_take_tensor(&r[0], values);
    fac_formula_take_tensor(&r[1], indices);
    return FAC_OK;
}

static inline FAC_MUST_CHECK FacStatus fac_op_expand(FacTensor *self, FacValue size, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_expand, 2, (FacValue[]){fac_v_tensor(self), size}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

static inline FAC_MUST_CHECK FacStatus fac_op_split(FacTensor *self, FacValue sizes, int64_t dim, FacValue *out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_split, 3, (FacValue[]){fac_v_tensor(self), sizes, fac_v_int(dim)}, r));
    fac_formula_take(&r[0], out);
    return FAC_OK;
}

static inline FAC_MUST_CHECK FacStatus fac_op_cat(FacValue tensors, int64_t dim, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_cat, 2, (FacValue[]){tensors, fac_v_int(dim)}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

static inline FAC_MUST_CHECK FacStatus fac_op_fill_(FacTensor *self, FacValue value)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_fill_, 2, (FacValue[]){fac_v_tensor(self), value}, r));
    fac_formula_release(r, 1);
    return FAC_OK;
}

static inline FAC_MUST_CHECK FacStatus fac_op_pool(FacTensor *input, FacTensor *weight, const char *mode, double scale, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_pool, 4, (FacValue[]){fac_v_tensor(input), fac_v_tensor(weight), fac_v_str(mode), fac_v_float(scale)}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

static inline FAC_MUST_CHECK FacStatus fac_op_choose(FacTensor *self, FacTensor *weight, int64_t n, const char *mode, FacTensor **out0, FacValue *out1)
{
    FacValue r[2] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_choose, 4, (FacValue[]){fac_v_tensor(self), fac_v_tensor(weight), fac_v_int(n), fac_v_str(mode)}, r));
    fac_formula_take_tensor(&r[0], out0);
    fac_formula_take(&r[1], out1);
    return FAC_OK;
}

static inline FAC_MUST_CHECK FacStatus fac_op_fill_twice(FacTensor *self, FacValue *out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_fill_twice, 1, (FacValue[]){fac_v_tensor(self)}, r));
    fac_formula_take(&r[0], out);
    return FAC_OK;
}

static inline FAC_MUST_CHECK FacStatus fac_op_tail(FacTensor *self, FacTensor **out)
{
    FacValue r[1] = {0};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP_tail, 1, (FacValue[]){fac_v_tensor(self)}, r));
    fac_formula_take_tensor(&r[0], out);
    return FAC_OK;
}

#endif
