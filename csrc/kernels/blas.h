/* blas.h - BLAS and LAPACK, opened at first use.
 *
 * The library is OpenBLAS as the scipy-openblas32 package builds it: every symbol has the prefix
 * "scipy_", integers have 32 bits. It is set to one thread: parallel work belongs to our pool.
 */
#ifndef FAC_KERNELS_BLAS_H
#define FAC_KERNELS_BLAS_H

#include "tensor/call.h"

/* The address of "sgetrf_" and the like; NOT_IMPLEMENTED when the library or the symbol is missing,
 * with a sentence that says where it was looked for. */
FacStatus fac_blas_symbol(const char *name, void **out) FAC_MUST_CHECK;

#endif
