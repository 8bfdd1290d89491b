/* lazy.c - views that are read otherwise than they lie: as another dtype, conjugated, negated.
 */
#include "tensor/tensor.h"

FacStatus
fac_tensor_view_as(FacTensor *of, FacDType dtype, int ndim, const FacDim *sizes,
                   const FacDim *strides, int64_t offset, FacTensor **out)
{
    FacTensor *t;
    FAC_RETURN_IF_ERROR(fac_tensor_view(of, ndim, sizes, strides, offset, &t));
    t->dtype = (int8_t)dtype;
    if (!FAC_IS_COMPLEX(dtype)) fac_tensor_set_lazy(t, false, t->flags & FAC_T_NEG);
    *out = t;
    return FAC_OK;
}

void
fac_tensor_forget_base(FacTensor *t)
{
    fac_tensor_release(t->base);
    t->base = NULL;
}

void
fac_tensor_set_lazy(FacTensor *t, bool conj, bool neg)
{
    t->flags = (uint8_t)((t->flags & ~(FAC_T_CONJ | FAC_T_NEG)) | (conj ? FAC_T_CONJ : 0) |
                         (neg ? FAC_T_NEG : 0));
    t->keys = conj || neg ? t->keys | FAC_KEY(LAZY) : t->keys & ~FAC_KEY(LAZY);
}
