/* gradient.h - arithmetic on gradients: fitting, adding, accumulating. Internal to layers/.
 */
#ifndef FAC_LAYERS_GRADIENT_H
#define FAC_LAYERS_GRADIENT_H

#include "layers/node.h"

static inline bool
fac_gradient_fits(const FacTensor *grad, const FacMeta *meta)
{
    if (grad->dtype != meta->dtype || grad->ndim != meta->ndim) return false;
    for (int i = 0; i < meta->ndim; i++)
        if (grad->sizes[i] != meta->sizes[i]) return false;
    return true;
}
/* Replaces *grad by what fits; `node` and `input` name it in messages. On failure *grad stays. */
FacStatus fac_fit_gradient_take(FacNode *node, int input, const FacMeta *meta,
                                FacTensor **grad) FAC_MUST_CHECK;
/* *slot += grad (or = grad); consumes `grad`, also on failure. */
FacStatus fac_add_gradient_take(FacTensor *grad, FacTensor **slot) FAC_MUST_CHECK;
/* t.grad += *grad, the peer's rules for what is shared and what is copied. *grad is NULL afterwards
 * where it became .grad itself. */
FacStatus fac_accumulate_into(FacTensor *t, FacTensor **grad) FAC_MUST_CHECK;
/* What an accumulator does: the same for its leaf, and the hooks that come after. */
FacStatus fac_run_accumulator(FacNode *node, FacTensor **grad) FAC_MUST_CHECK;

/* Constants, made without a call. */
FacStatus fac_ones_like(const FacTensor *t, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_ones_meta(const FacMeta *meta, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_zeros_meta(const FacMeta *meta, FacTensor **out) FAC_MUST_CHECK;

#endif
