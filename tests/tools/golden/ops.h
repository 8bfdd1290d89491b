/* Made by tools/opgen from csrc/ops: edit the declarations, not this file. */

#ifndef FAC_GENERATED_OPS_H
#define FAC_GENERATED_OPS_H

#include "dispatch/dispatch.h"

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
 * references; NULL drops one. */
FacStatus fac_op_add(FacValue self, FacValue other, FacValue alpha, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_op_add_(FacValue self, FacValue other, FacValue alpha) FAC_MUST_CHECK;
FacStatus fac_op_mul(FacValue self, FacValue other, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_op_eq(FacValue self, FacValue other, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_op_abs(FacTensor *self, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_op_clip(FacTensor *self, double low, FacValue high, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_op_sum_dim(FacTensor *self, FacValue dim, bool keepdim, FacDType dtype, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_op_max_dim(FacTensor *self, int64_t dim, bool keepdim, FacTensor **values, FacTensor **indices) FAC_MUST_CHECK;
FacStatus fac_op_expand(FacTensor *self, FacValue size, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_op_split(FacTensor *self, FacValue sizes, int64_t dim, FacValue *out) FAC_MUST_CHECK;
FacStatus fac_op_cat(FacValue tensors, int64_t dim, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_op_fill_(FacTensor *self, FacValue value) FAC_MUST_CHECK;
FacStatus fac_op_pool(FacTensor *input, FacTensor *weight, const char *mode, double scale, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_op_choose(FacTensor *self, FacTensor *weight, int64_t n, const char *mode, FacTensor **out0, FacValue *out1) FAC_MUST_CHECK;
FacStatus fac_op_fill_twice(FacTensor *self, FacValue *out) FAC_MUST_CHECK;
FacStatus fac_op_tail(FacTensor *self, FacTensor **out) FAC_MUST_CHECK;

#endif
