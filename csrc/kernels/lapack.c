/* lapack.c - kernels that hand matrices to LAPACK.
 *
 * LAPACK wants columns together and we have rows together. The inverse does not mind: the inverse of
 * the transpose is the transpose of the inverse, so the result is computed in place in our order.
 */
#include "kernels/blas.h"
#include "tensor/iter.h"

#include <stdint.h>

typedef void (*Getrf)(const int *m, const int *n, void *a, const int *lda, int *pivots, int *info);
typedef void (*Getri)(const int *n, void *a, const int *lda, const int *pivots, void *work,
                      const int *lwork, int *info);

/* The letter that LAPACK names a dtype with, in front of `name`. */
static FacStatus
routine(FacDType dt, const char *name, void **out)
{
    char full[32] = {dt == FAC_DT_F32   ? 's'
                     : dt == FAC_DT_F64 ? 'd'
                     : dt == FAC_DT_C64 ? 'c'
                                        : 'z'};
    for (int i = 0; name[i] && i < 30; i++) full[i + 1] = name[i];
    return fac_blas_symbol(full, out);
}

/* (A, check_errors) -> (inverse, info). */
FacStatus
fac_k_linalg_inv_ex(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *out = fac_result_tensor(call, 0);
    const int64_t size = a->sizes[a->ndim - 1], area = size * size;
    int32_t *infos = fac_data(fac_result_tensor(call, 1));
    const int n = (int)size, work_n = 64 * n;
    int *pivots = NULL;
    void *work = NULL;
    Getrf getrf;
    Getri getri;
    FacStatus st = FAC_OK;
    if (size > INT32_MAX / 64) FAC_FAIL(FAC_RUNTIME_ERROR, "the matrix is too large for LAPACK");
    FAC_TRY(fac_tensor_copy(out, a));
    if (area == 0) {
        for (int64_t i = 0; i < fac_result_tensor(call, 1)->numel; i++) infos[i] = 0;
        goto done;
    }
    FAC_TRY(routine((FacDType)a->dtype, "getrf_", (void **)&getrf));
    FAC_TRY(routine((FacDType)a->dtype, "getri_", (void **)&getri));
    const size_t work_bytes = (size_t)work_n * (size_t)fac_dtype_size((FacDType)a->dtype);
    pivots = fac_mem_alloc((size_t)n * sizeof *pivots);
    work = fac_mem_alloc(work_bytes);
    if (!pivots || !work) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for a workspace of %zu bytes", work_bytes);
    char *matrix = fac_data(out);
    for (int64_t i = 0; i < out->numel / area; i++, matrix += (size_t)area * (work_bytes / (size_t)work_n)) {
        int info = 0;
        getrf(&n, &n, matrix, &n, pivots, &info);
        if (info == 0) getri(&n, matrix, &n, pivots, work, &work_n, &info);
        infos[i] = info;
    }
done:
    fac_mem_free(pivots);
    fac_mem_free(work);
    return st;
}
