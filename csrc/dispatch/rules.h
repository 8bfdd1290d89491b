/* rules.h - helpers for shape and dtype rules.
 *
 * A rule is `FacStatus fac_rule_NAME(FacCall *)`: it checks the arguments, computes the results'
 * dtype, sizes and strides, and makes them by fac_out* (tensor/call.h). It never looks at data.
 * Rules are the meta device, the checks of out=, and later fake tensors and the compiler's shape
 * inference. They live in rules_<family>.c; generated code declares them by name.
 */
#ifndef FAC_DISPATCH_RULES_H
#define FAC_DISPATCH_RULES_H

#include "dispatch/dispatch.h"
#include "tensor/layout.h"

/* Promotion of the operands args[0..n) as the peer does it: dimension, category, numbers. */
FacDType fac_promote_operands(const FacValue *args, int n);
/* The device of the first tensor that is not 0-d on the CPU, else of the first tensor. */
FacDevice fac_common_device(const FacCall *call);
/* The dtype, device, layout given to a factory, or the defaults; checks layout and device. */
FacStatus fac_factory_options(const FacCall *call, FacDType fallback, FacDType *dtype,
                              FacDevice *device) FAC_MUST_CHECK;
/* Result sizes of a reduction over the dims in `mask`. */
int fac_reduced_sizes(const FacTensor *t, uint64_t mask, bool keepdim, FacDim *sizes);
/* Reads an optional dim list argument (None, int, or ints) to a mask of dims of t. */
FacStatus fac_dims_arg(const FacCall *call, int i, const FacTensor *t, bool empty_means_all,
                       uint64_t *mask) FAC_MUST_CHECK;
/* Parameter errors in one form: "softmax(): argument 'dim' ..." (the prefix is dispatch's). */
FacStatus fac_argument_error(FacStatus code, const FacCall *call, int i, const char *format, ...)
    FAC_PRINTF(4, 5);

/* Argument i, unless it is None, has these sizes: gradients beside what they are gradients of. */
FacStatus fac_check_sizes(const FacCall *call, int i, int ndim, const FacDim *sizes) FAC_MUST_CHECK;
/* Argument i has exactly one element. */
FacStatus fac_check_one(const FacCall *call, int i) FAC_MUST_CHECK;
/* The number argument i lies in [low, high]. */
FacStatus fac_check_range(const FacCall *call, int i, int64_t low, int64_t high) FAC_MUST_CHECK;

/* Rules that more than one file uses. */
FacStatus fac_rule_pointwise(FacCall *call); /* broadcast, promote by op->promote, result layout */
FacStatus fac_rule_same(FacCall *call);      /* result like the first tensor, C order */
FacStatus fac_rule_inplace(FacCall *call);   /* rows that only write: shares args[0] as result 0 */
FacStatus fac_rule_like(FacCall *call);      /* factories: like args[0], options given */
FacStatus fac_rule_data(FacCall *call);      /* data-shaped rows: no results yet; raises on meta */

#endif
