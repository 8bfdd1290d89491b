/* reflector.h - single reflectors, and what makes products of them, of one tier (qr.c). */
#ifndef FAC_KERNELS_CPU_REFLECTOR_H
#define FAC_KERNELS_CPU_REFLECTOR_H

#include "kernels/cpu/kernel.h"

/* H^H x = beta e for H = I - tau v v^H: x, of n elements, becomes beta and v without its first element,
 * which is 1. */
void FAC_TIERED(reflector)(FacDType dtype, void *x, int64_t n, void *tau);
/* -T and -T^H of the product I - V T V^H of n reflectors, by rows, from V^H V. */
void FAC_TIERED(reflector_product)(FacDType dtype, const void *gram, const void *taus, int64_t n,
                                   void *factor, void *adjoint);

#endif
