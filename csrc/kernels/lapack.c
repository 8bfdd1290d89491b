/* lapack.c - kernels that hand matrices to LAPACK.
 *
 * LAPACK wants columns together and we have rows together. The inverse does not mind: the inverse of
 * the transpose is the transpose of the inverse, so the result is computed in place in our order.
 */
#include "kernels/blas.h"
#include "tensor/iter.h"

#include <stdint.h>
#include <string.h>

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

FacStatus
fac_lapack_check(const FacTensor *info)
{
    const int32_t *at = fac_data(info);
    FacText where = {.at = "", .len = 0};
    for (int64_t i = 0; i < info->numel; i++) {
        if (at[i] == 0) continue;
        if (info->ndim) fac_text_add(&where, "(Batch element %lld): ", (long long)i);
        return fac_error(
            FAC_LINALG_ERROR,
            "linalg.inv: %sThe diagonal element %d is zero, the inversion could not be completed "
            "because the input matrix is singular.",
            where.at, at[i]);
    }
    return FAC_OK;
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
    if (!pivots || !work)
        FAC_FAIL(FAC_MEMORY_ERROR, "no memory for a workspace of %zu bytes", work_bytes);
    char *matrix = fac_data(out);
    for (int64_t i = 0; i < out->numel / area;
         i++, matrix += (size_t)area * (work_bytes / (size_t)work_n)) {
        int info = 0;
        getrf(&n, &n, matrix, &n, pivots, &info);
        if (info == 0) getri(&n, matrix, &n, pivots, work, &work_n, &info);
        infos[i] = info;
    }
    if (fac_v_is_true(FAC_ARG(call, 1))) FAC_TRY(fac_lapack_check(fac_result_tensor(call, 1)));
done:
    fac_mem_free(pivots);
    fac_mem_free(work);
    return st;
}

/* --- singular values ------------------------------------------------------------------------------- */

typedef void (*GesddReal)(const char *job, const int *m, const int *n, void *a, const int *lda,
                          void *s, void *u, const int *ldu, void *vt, const int *ldvt, void *work,
                          const int *lwork, int *iwork, int *info);
typedef void (*GesddComplex)(const char *job, const int *m, const int *n, void *a, const int *lda,
                             void *s, void *u, const int *ldu, void *vt, const int *ldvt,
                             void *work, const int *lwork, void *rwork, int *iwork, int *info);
/* One decomposition of an m x n matrix (columns together): what it works in, and where it goes. */
typedef struct Svd {
    FacDType dtype;
    int m, n, k, work_n;
    char *memory, *a, *work, *real_work;
    int *int_work;
    char *s, *u, *vt; /* results */
} Svd;

static FacStatus
svd_init(Svd *svd, FacDType dtype, int m, int n)
{
    const size_t k = (size_t)(m < n ? m : n), wide = (size_t)(m < n ? n : m);
    const size_t size = (size_t)fac_dtype_size(dtype);
    const size_t work = k * (4 * k + 8) + 64 * (wide + k), reals = k * (7 * k + 2 * wide + 16);
    const size_t counts[] = {(size_t)m * (size_t)n, work, reals};
    size_t bytes = 8 * k * sizeof(int) + 64, offsets[3];
    for (int i = 0; i < 3; i++) {
        offsets[i] = bytes;
        bytes += (counts[i] * size + 63) / 64 * 64;
    }
    if (work > INT32_MAX) return fac_error(FAC_RUNTIME_ERROR, "the matrix is too large for LAPACK");
    char *memory = fac_mem_alloc(bytes);
    if (!memory) return fac_mem_error(bytes);
    *svd = (Svd){.dtype = dtype,
                 .m = m,
                 .n = n,
                 .k = (int)k,
                 .work_n = (int)work,
                 .memory = memory,
                 .a = memory + offsets[0],
                 .work = memory + offsets[1],
                 .real_work = memory + offsets[2],
                 .int_work = (int *)memory};
    return FAC_OK;
}

/* svd->a = u * s * vt; LINALG_ERROR when the iteration does not converge. */
static FacStatus
svd_run(Svd *svd)
{
    void *gesdd;
    int info = 0;
    FAC_RETURN_IF_ERROR(routine(svd->dtype, "gesdd_", &gesdd));
    if (FAC_IS_COMPLEX(svd->dtype))
        ((GesddComplex)gesdd)("S", &svd->m, &svd->n, svd->a, &svd->m, svd->s, svd->u, &svd->m,
                              svd->vt, &svd->k, svd->work, &svd->work_n, svd->real_work,
                              svd->int_work, &info);
    else
        ((GesddReal)gesdd)("S", &svd->m, &svd->n, svd->a, &svd->m, svd->s, svd->u, &svd->m, svd->vt,
                           &svd->k, svd->work, &svd->work_n, svd->int_work, &info);
    if (info)
        return fac_error(FAC_LINALG_ERROR, "the singular value decomposition did not converge");
    return FAC_OK;
}

/* (matrices) -> (U, S, Vh). Read by columns a matrix is its transpose: so the left vectors of that,
 * written by columns, are Vh by rows, and its right ones U. */
FacStatus
fac_k_svd(FacCall *call)
{
    FacTensor *u = fac_result_tensor(call, 0), *s = fac_result_tensor(call, 1);
    FacTensor *vh = fac_result_tensor(call, 2), *plain = NULL;
    const FacDType dtype = (FacDType)u->dtype;
    const int64_t rows = u->sizes[u->ndim - 2], cols = vh->sizes[vh->ndim - 1];
    const size_t size = (size_t)fac_dtype_size(dtype), area = (size_t)(rows * cols) * size;
    Svd svd = {.memory = NULL};
    FacStatus st = FAC_OK;
    if (rows > INT32_MAX / 64 || cols > INT32_MAX / 64)
        FAC_FAIL(FAC_RUNTIME_ERROR, "the matrix is too large for LAPACK");
    if (!s->numel) goto done;
    FAC_TRY(fac_contiguous(fac_arg_tensor(call, 0), dtype, &plain));
    FAC_TRY(svd_init(&svd, dtype, (int)cols, (int)rows));
    svd.s = fac_data(s);
    svd.u = fac_data(vh);
    svd.vt = fac_data(u);
    const char *from = fac_data(plain);
    for (int64_t i = s->numel / svd.k; i > 0; i--, from += area) {
        memcpy(svd.a, from, area);
        FAC_TRY(svd_run(&svd));
        svd.s += svd.k * fac_dtype_size((FacDType)s->dtype);
        svd.u += (size_t)(cols * svd.k) * size;
        svd.vt += (size_t)(rows * svd.k) * size;
    }
done:
    fac_tensor_release(plain);
    fac_mem_free(svd.memory);
    return st;
}
