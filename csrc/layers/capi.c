/* capi.c - differentiation in facula.h.
 */
#include "layers/engine.h"

FacStatus
fac_requires_grad(FacTensor *tensor, bool on)
{
    FAC_RETURN_IF_ERROR(fac_start());
    return fac_set_requires_grad(tensor, on);
}

FacStatus
fac_backward(FacTensor *root, FacTensor *gradient)
{
    const FacBackward what = {.nroots = 1, .roots = &root, .gradients = &gradient};
    FAC_RETURN_IF_ERROR(fac_start());
    return fac_backward_run(&what);
}

FacStatus
fac_tensor_grad(FacTensor *tensor, FacTensor **out)
{
    FacTensor *grad = fac_grad_of(tensor);
    *out = grad ? fac_tensor_retain(grad) : NULL;
    return FAC_OK;
}
