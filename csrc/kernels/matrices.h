/* matrices.h - what kernels of linear algebra share: batches of matrices, LAPACK by name, errors.
 *
 * A kernel works on one matrix at a time. Batches of small matrices are spread over the pool, a large
 * matrix is one task of the calling thread that may itself use the pool; which, is decided by size.
 * LAPACK wants columns together: rules of rows that hand matrices to it ask for such results.
 */
#ifndef FAC_KERNELS_MATRICES_H
#define FAC_KERNELS_MATRICES_H

#include "kernels/blas.h"

/* One of several matrices: `scratch` is memory of its own, uninitialised; `serial`: do not use the
 * pool. It fails only where it may use the pool. */
typedef FacStatus (*FacMatrixBody)(int64_t index, char *scratch, bool serial, void *context);

/* Runs `body` for [0, count). `work` is what one matrix costs, in multiplications. */
FacStatus fac_each_matrix(int64_t count, double work, size_t scratch_bytes, FacMatrixBody body,
                          void *context) FAC_MUST_CHECK;

/* How many matrices of the last two dims a tensor holds (1 and more dims: see `dims`). */
int64_t fac_matrix_count(const FacTensor *t, int dims);

/* The address of the LAPACK routine for a dtype: "getrf_", or, where it is named differently for
 * complex numbers, that name after a bar: "syevd_|heevd_". */
FacStatus fac_lapack(FacDType dtype, const char *name, void **out) FAC_MUST_CHECK;
/* The dimension as LAPACK takes it. */
FacStatus fac_lapack_size(int64_t size) FAC_MUST_CHECK;

/* LINALG_ERROR for the first of the infos that is not zero, with a message whose %d is that info.
 * `batched`: the matrix is one of several, and the message says which. */
FacStatus fac_check_infos(const int32_t *infos, int64_t count, bool batched,
                          const char *message) FAC_MUST_CHECK;

/* A copy of matrices with the columns together; the caller owns it. */
FacStatus fac_columns_copy(FacTensor *from, FacTensor **out) FAC_MUST_CHECK;

/* Eigenvalues and eigenvectors of Hermitian matrices by LAPACK, and its message for infos. */
FacStatus fac_k_eigh(FacCall *call) FAC_MUST_CHECK;
extern const char fac_eigh_failed[];
/* Singular values and vectors by LAPACK, and its message for infos. */
FacStatus fac_k_svd(FacCall *call) FAC_MUST_CHECK;
extern const char fac_svd_failed[];
/* Least squares by LAPACK. */
FacStatus fac_k_lstsq(FacCall *call) FAC_MUST_CHECK;

#endif
