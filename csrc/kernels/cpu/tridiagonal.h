/* tridiagonal.h - eigenvalues and eigenvectors of real symmetric tridiagonal matrices, of one tier. */
#ifndef FAC_KERNELS_CPU_TRIDIAGONAL_H
#define FAC_KERNELS_CPU_TRIDIAGONAL_H

#include "kernels/cpu/kernel.h"

/* Bytes of scratch; dtype is F32 or F64, that of the eigenvectors. */
int64_t FAC_TIERED(tridiagonal_scratch)(int64_t n, FacDType dtype, bool vectors);

/* d (n) and e (n - 1, overwritten) are the diagonals, finite; d becomes the eigenvalues, ascending. The
 * eigenvectors become the rows of z, n x n; NULL: they are not wanted. `serial`: not in the pool, and
 * does not fail. `info` is not zero where eigenvalues were not found. */
FacStatus FAC_TIERED(tridiagonal_eigen)(int64_t n, double *d, double *e, FacDType dtype, void *z,
                                        char *scratch, bool serial, int32_t *info) FAC_MUST_CHECK;

#endif
