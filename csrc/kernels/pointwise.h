/* pointwise.h - the kernel that the start of dispatch puts into the CPU slot of pointwise rows.
 */
#ifndef FAC_KERNELS_POINTWISE_H
#define FAC_KERNELS_POINTWISE_H

#include "tensor/call.h"

FacStatus fac_k_pointwise(FacCall *call) FAC_MUST_CHECK;

#endif
