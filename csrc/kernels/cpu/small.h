/* small.h - decompositions of small real matrices, many side by side, of one tier (small.c). */
#ifndef FAC_KERNELS_CPU_SMALL_H
#define FAC_KERNELS_CPU_SMALL_H

#include "kernels/cpu/kernel.h"
#include "kernels/matrices.h"

/* Up to so many numbers QR is small; so many eigenvalues or singular values, and so many rows of them. */
enum { SMALL_AREA = 576, SMALL_SPECTRUM = 8, SMALL_LONG = 32 };

/* The kernels of QR and of eigh, for matrices that are small. */
FacStatus FAC_TIERED(small_qr)(FacCall *call) FAC_MUST_CHECK;
FacStatus FAC_TIERED(small_eigh)(FacCall *call) FAC_MUST_CHECK;

#endif
