/* lapack.c - what LAPACK does: singular values, eigenvalues, least squares, indefinite factors.
 *
 * Matrices lie by columns, in results or in a copy of the arguments; each is a task or the work of the
 * calling thread (matrices.h). A routine says once a call how much memory it wants.
 */
#include "kernels/matrices.h"
#include "tensor/iter.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { AREAS = 6 };

/* One call for a batch of m x n matrices: `at[i]` of matrix j is at + j * bytes. */
typedef struct Lapack {
    FacDType dtype;
    int m, n, k, columns; /* k: the lesser one; columns of the right side */
    int size, real_size;
    char *at[AREAS];
    size_t bytes[AREAS];
    void *routine;
    char option[2];
    double number;
    int work, reals, ints; /* lengths of the memory that the routine wants */
    int32_t *infos;
} Lapack;

static FacStatus
lapack_init(Lapack *l, const FacTensor *a, const char *name)
{
    const int64_t m = a->sizes[a->ndim - 2], n = a->sizes[a->ndim - 1];
    FAC_RETURN_IF_ERROR(fac_lapack_size(m > n ? m : n));
    *l = (Lapack){.dtype = (FacDType)a->dtype,
                  .m = (int)m,
                  .n = (int)n,
                  .k = (int)(m < n ? m : n),
                  .size = (int)fac_dtype_size((FacDType)a->dtype)};
    l->real_size = (int)fac_dtype_size((FacDType)fac_dtype_info[a->dtype].real);
    return fac_lapack(l->dtype, name, &l->routine);
}

static void
place(Lapack *l, int i, const FacTensor *t, int64_t elements)
{
    l->at[i] = fac_data(t);
    l->bytes[i] = (size_t)(elements * fac_dtype_size((FacDType)t->dtype));
}

static char *
item(const Lapack *l, int i, int64_t index)
{
    return l->at[i] + (size_t)index * l->bytes[i];
}

/* The length that a query has left in front of the memory. */
static FacStatus
wanted(const Lapack *l, const void *answer, int *length)
{
    const double value =
        l->real_size == 4 ? (double)*(const float *)answer : *(const double *)answer;
    if (value >= INT32_MAX)
        return fac_error(FAC_RUNTIME_ERROR, "the matrix is too large for LAPACK");
    *length = (int)ceil(value * (l->real_size == 4 ? 1.0000002 : 1)) + 1;
    return FAC_OK;
}

/* Memory of the routine, in scratch: work, reals, ints. */
static size_t
work_bytes(const Lapack *l)
{
    return (size_t)l->work * (size_t)l->size + (size_t)l->reals * (size_t)l->real_size +
           (size_t)l->ints * sizeof(int) + 64;
}
static char *
reals_of(const Lapack *l, char *scratch)
{
    return scratch + (size_t)l->work * (size_t)l->size;
}
static int *
ints_of(const Lapack *l, char *scratch)
{
    const uintptr_t at = (uintptr_t)reals_of(l, scratch) + (size_t)l->reals * (size_t)l->real_size;
    return (int *)((at + 15) / 16 * 16);
}

/* Runs a body over the batch; infos are kept for `message`, unless they are a result. */
static FacStatus
run(Lapack *l, int64_t count, bool batched, FacMatrixBody body, const char *message)
{
    FacStatus st = FAC_OK;
    int32_t *infos = message ? fac_mem_zalloc((size_t)(count + 1) * sizeof *infos) : NULL;
    if (message && !infos) return fac_mem_error((size_t)count * sizeof *infos);
    if (message) l->infos = infos;
    const double work = 10.0 * (double)l->m * (double)l->n * (double)l->k;
    FAC_TRY(fac_each_matrix(count, work, work_bytes(l), body, l));
    if (message) st = fac_check_infos(infos, count, batched, message);
done:
    fac_mem_free(infos);
    return st;
}

/* The algorithms that divide and conquer go astray where a number is not finite. */
static bool
are_finite(const Lapack *l, const char *at, int64_t n)
{
    n *= FAC_IS_COMPLEX(l->dtype) ? 2 : 1;
    if (l->real_size == 4) {
        const float *x = (const float *)at;
        for (int64_t i = 0; i < n; i++)
            if (!isfinite(x[i])) return false;
        return true;
    }
    const double *x = (const double *)at;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

/* --- singular values ------------------------------------------------------------------------------- */

typedef void (*GesddReal)(const char *job, const int *m, const int *n, void *a, const int *lda,
                          void *s, void *u, const int *ldu, void *vt, const int *ldvt, void *work,
                          const int *lwork, int *iwork, int *info);
typedef void (*GesddComplex)(const char *job, const int *m, const int *n, void *a, const int *lda,
                             void *s, void *u, const int *ldu, void *vt, const int *ldvt,
                             void *work, const int *lwork, void *rwork, int *iwork, int *info);

static int
gesdd(const Lapack *l, void *a, void *s, void *u, void *vt, void *work, int length, void *reals,
      int *ints)
{
    const int lda = l->m ? l->m : 1, ldv = l->option[0] == 'A' ? l->n : l->k ? l->k : 1;
    int info = 0;
    if (FAC_IS_COMPLEX(l->dtype))
        ((GesddComplex)l->routine)(l->option, &l->m, &l->n, a, &lda, s, u, &lda, vt, &ldv, work,
                                   &length, reals, ints, &info);
    else
        ((GesddReal)l->routine)(l->option, &l->m, &l->n, a, &lda, s, u, &lda, vt, &ldv, work,
                                &length, ints, &info);
    return info;
}

static FacStatus
svd_item(int64_t i, char *scratch, bool serial, void *context)
{
    const Lapack *l = context;
    (void)serial;
    l->infos[i] = 1;
    if (!are_finite(l, item(l, 0, i), (int64_t)l->m * l->n)) return FAC_OK;
    l->infos[i] = gesdd(l, item(l, 0, i), item(l, 1, i), item(l, 2, i), item(l, 3, i), scratch,
                        l->work, reals_of(l, scratch), ints_of(l, scratch));
    return FAC_OK;
}

/* Where there are no singular values: the whole of U and Vh is an identity. */
static FacStatus
make_identity(FacTensor *t)
{
    const int64_t n = t->numel ? t->sizes[t->ndim - 1] : 0,
                  size = fac_dtype_size((FacDType)t->dtype);
    FacValue one = fac_v_float(1);
    FacTensor *number = NULL;
    if (!n) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_tensor_from_number(one, (FacDType)t->dtype, &number));
    memset(fac_data(t), 0, (size_t)(t->numel * size));
    for (int64_t i = 0; i < t->numel; i += n * n)
        for (int64_t j = 0; j < n; j++)
            memcpy((char *)fac_data(t) + (i + j * (n + 1)) * size, fac_data(number), (size_t)size);
    fac_tensor_release(number);
    return FAC_OK;
}

const char fac_svd_failed[] =
    "The algorithm failed to converge because the input matrix is ill-conditioned, has too many "
    "repeated singular values, or is not finite (error code: %d).";

/* (A, full_matrices, compute_uv, driver) -> (U, S, Vh). */
FacStatus
fac_k_svd(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *u = fac_result_tensor(call, 0), *copy = NULL;
    FacTensor *s = fac_result_tensor(call, 1), *vh = fac_result_tensor(call, 2);
    Lapack l;
    FacStatus st = FAC_OK;
    char answer[16] = {0};
    FAC_TRY(lapack_init(&l, a, "gesdd_"));
    const bool full = fac_v_is_true(FAC_ARG(call, 1)), vectors = fac_v_is_true(FAC_ARG(call, 2));
    if (!s->numel) {
        if (!vectors || !full) goto done;
        FAC_TRY(make_identity(u));
        FAC_TRY(make_identity(vh));
        goto done;
    }
    l.option[0] = !vectors ? 'N' : full ? 'A' : 'S';
    FAC_TRY(fac_columns_copy(a, &copy));
    place(&l, 0, copy, (int64_t)l.m * l.n);
    place(&l, 1, s, l.k);
    place(&l, 2, u, vectors ? (int64_t)l.m * (full ? l.m : l.k) : 0);
    place(&l, 3, vh, vectors ? (int64_t)l.n * (full ? l.n : l.k) : 0);
    l.ints = 8 * l.k;
    if (FAC_IS_COMPLEX(l.dtype)) {
        const double k = l.k, wide = l.m > l.n ? l.m : l.n;
        const double reals =
            vectors ? k * (5 * k + 7 > 2 * wide + 2 * k + 1 ? 5 * k + 7 : 2 * wide + 2 * k + 1)
                    : 7 * k;
        if (reals > INT32_MAX) FAC_FAIL(FAC_RUNTIME_ERROR, "the matrix is too large for LAPACK");
        l.reals = (int)reals;
    }
    int unused[8];
    gesdd(&l, l.at[0], l.at[1], l.at[2], l.at[3], answer, -1, answer, unused);
    FAC_TRY(wanted(&l, answer, &l.work));
    st = run(&l, s->numel / l.k, s->ndim > 1, svd_item, fac_svd_failed);
done:
    fac_tensor_release(copy);
    return st;
}

/* --- eigenvalues of Hermitian matrices ------------------------------------------------------------------ */

typedef void (*SyevdReal)(const char *job, const char *uplo, const int *n, void *a, const int *lda,
                          void *w, void *work, const int *lwork, int *iwork, const int *liwork,
                          int *info);
typedef void (*SyevdComplex)(const char *job, const char *uplo, const int *n, void *a,
                             const int *lda, void *w, void *work, const int *lwork, void *rwork,
                             const int *lrwork, int *iwork, const int *liwork, int *info);

static int
syevd(const Lapack *l, void *a, void *w, void *work, int length, void *reals, int reals_length,
      int *ints, int ints_length)
{
    int info = 0;
    if (FAC_IS_COMPLEX(l->dtype))
        ((SyevdComplex)l->routine)(&l->option[0], &l->option[1], &l->n, a, &l->n, w, work, &length,
                                   reals, &reals_length, ints, &ints_length, &info);
    else
        ((SyevdReal)l->routine)(&l->option[0], &l->option[1], &l->n, a, &l->n, w, work, &length,
                                ints, &ints_length, &info);
    return info;
}

/* Whether the triangle that is read is finite. */
static bool
is_finite_triangle(const Lapack *l, const char *a)
{
    const bool lower = l->option[1] == 'L' || l->option[1] == 'l';
    for (int j = 0; j < l->n; j++, a += (size_t)l->n * (size_t)l->size)
        if (!are_finite(l, lower ? a + (size_t)j * (size_t)l->size : a, lower ? l->n - j : j + 1))
            return false;
    return true;
}

static FacStatus
eigh_item(int64_t i, char *scratch, bool serial, void *context)
{
    const Lapack *l = context;
    (void)serial;
    l->infos[i] = 1;
    if (!is_finite_triangle(l, item(l, 0, i))) return FAC_OK;
    l->infos[i] = syevd(l, item(l, 0, i), item(l, 1, i), scratch, l->work, reals_of(l, scratch),
                        l->reals, ints_of(l, scratch), l->ints);
    return FAC_OK;
}

const char fac_eigh_failed[] =
    "The algorithm failed to converge because the input matrix is ill-conditioned or has too many "
    "repeated eigenvalues (error code: %d).";

/* (A, UPLO, compute_v) -> (eigenvalues, eigenvectors). */
FacStatus
fac_k_eigh(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *w = fac_result_tensor(call, 0), *v = NULL;
    const bool vectors = fac_v_is_true(FAC_ARG(call, 2));
    Lapack l;
    FacStatus st = FAC_OK;
    char answer[16] = {0}, reals[16] = {0};
    int ints = 0;
    FAC_TRY(lapack_init(&l, a, "syevd_|heevd_"));
    if (!w->numel) goto done;
    if (vectors) {
        v = fac_tensor_retain(fac_result_tensor(call, 1));
        FAC_TRY(fac_tensor_copy(v, a));
    } else {
        FAC_TRY(fac_columns_copy(a, &v));
    }
    l.option[0] = vectors ? 'V' : 'N';
    l.option[1] = FAC_ARG(call, 1).v.s[0];
    place(&l, 0, v, (int64_t)l.n * l.n);
    place(&l, 1, w, l.n);
    syevd(&l, l.at[0], l.at[1], answer, -1, reals, -1, &ints, -1);
    FAC_TRY(wanted(&l, answer, &l.work));
    if (FAC_IS_COMPLEX(l.dtype)) FAC_TRY(wanted(&l, reals, &l.reals));
    l.ints = ints;
    st = run(&l, w->numel / l.n, w->ndim > 1, eigh_item, fac_eigh_failed);
done:
    fac_tensor_release(v);
    return st;
}

/* --- eigenvalues ---------------------------------------------------------------------------------------- */

typedef void (*GeevReal)(const char *left, const char *right, const int *n, void *a, const int *lda,
                         void *wr, void *wi, void *vl, const int *ldvl, void *vr, const int *ldvr,
                         void *work, const int *lwork, int *info);
typedef void (*GeevComplex)(const char *left, const char *right, const int *n, void *a,
                            const int *lda, void *w, void *vl, const int *ldvl, void *vr,
                            const int *ldvr, void *work, const int *lwork, void *rwork, int *info);

/* Real matrices have their eigenvalues as real and imaginary parts, in reals. */
static int
geev(const Lapack *l, void *a, void *w, void *v, void *work, int length, char *reals)
{
    const int one = 1, ldv = l->option[0] == 'V' ? l->n : 1;
    int info = 0;
    if (FAC_IS_COMPLEX(l->dtype))
        ((GeevComplex)l->routine)("N", l->option, &l->n, a, &l->n, w, NULL, &one, v, &ldv, work,
                                  &length, reals, &info);
    else
        ((GeevReal)l->routine)("N", l->option, &l->n, a, &l->n, reals,
                               reals + (size_t)l->n * (size_t)l->size, NULL, &one, v, &ldv, work,
                               &length, &info);
    return info;
}

/* Eigenvalues from parts, and eigenvectors from real columns, where a pair of conjugates has the real and
 * the imaginary part of the first one. */
#define COMPLEX_PAIRS(name, T)                                                                     \
    static void name(int n, const T *re, const T *im, const T *from, T *w, T *v)                   \
    {                                                                                              \
        for (int j = 0; j < n; j++) {                                                              \
            w[2 * j] = re[j];                                                                      \
            w[2 * j + 1] = im[j];                                                                  \
        }                                                                                          \
        for (int j = 0; v && j < n; j++) {                                                         \
            const bool second = im[j] < 0;                                                         \
            const T *x = from + (size_t)(second ? j - 1 : j) * (size_t)n;                          \
            T *to = v + 2 * (size_t)j * (size_t)n;                                                 \
            for (int i = 0; i < n; i++) {                                                          \
                to[2 * i] = x[i];                                                                  \
                to[2 * i + 1] = im[j] == 0 ? 0 : second ? -x[n + i] : x[n + i];                    \
            }                                                                                      \
        }                                                                                          \
    }
COMPLEX_PAIRS(complex_pairs_f32, float)
COMPLEX_PAIRS(complex_pairs_f64, double)
#undef COMPLEX_PAIRS

static FacStatus
eig_item(int64_t i, char *scratch, bool serial, void *context)
{
    const Lapack *l = context;
    const bool complex = FAC_IS_COMPLEX(l->dtype), vectors = l->option[0] == 'V';
    char *reals = reals_of(l, scratch), *w = item(l, 1, i), *v = item(l, 2, i);
    char *columns = reals + 2 * (size_t)l->n * (size_t)l->real_size;
    const char *im = reals + (size_t)l->n * (size_t)l->real_size;
    (void)serial;
    l->infos[i] = geev(l, item(l, 0, i), w, complex ? v : columns, scratch, l->work, reals);
    if (complex) return FAC_OK;
    if (l->dtype == FAC_DT_F32)
        complex_pairs_f32(l->n, (float *)reals, (const float *)im, (float *)columns, (float *)w,
                          vectors ? (float *)v : NULL);
    else
        complex_pairs_f64(l->n, (double *)reals, (const double *)im, (double *)columns, (double *)w,
                          vectors ? (double *)v : NULL);
    return FAC_OK;
}

/* (A, compute_v) -> (eigenvalues, eigenvectors). */
FacStatus
fac_k_eig(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *w = fac_result_tensor(call, 0), *copy = NULL;
    FacTensor *v = fac_result_tensor(call, 1);
    const bool vectors = fac_v_is_true(FAC_ARG(call, 1));
    Lapack l;
    FacStatus st = FAC_OK;
    char answer[16] = {0}, reals[16] = {0};
    FAC_TRY(lapack_init(&l, a, "geev_"));
    if (!w->numel) goto done;
    FAC_TRY(fac_columns_copy(a, &copy));
    if (!are_finite(&l, fac_data(copy), copy->numel))
        FAC_FAIL(FAC_RUNTIME_ERROR, "the matrix should not contain infs or NaNs");
    l.option[0] = vectors ? 'V' : 'N';
    place(&l, 0, copy, (int64_t)l.n * l.n);
    place(&l, 1, w, l.n);
    place(&l, 2, v, vectors ? (int64_t)l.n * l.n : 0);
    if ((double)l.n * l.n > INT32_MAX / 2)
        FAC_FAIL(FAC_RUNTIME_ERROR, "the matrix is too large for LAPACK");
    l.reals = 2 * l.n + (FAC_IS_COMPLEX(l.dtype) || !vectors ? 0 : l.n * l.n);
    geev(&l, l.at[0], l.at[1], l.at[2], answer, -1, reals);
    FAC_TRY(wanted(&l, answer, &l.work));
    st = run(&l, w->numel / l.n, w->ndim > 1, eig_item, fac_eigh_failed);
done:
    fac_tensor_release(copy);
    return st;
}

/* --- least squares -------------------------------------------------------------------------------------- */

typedef void (*Gels)(const char *trans, const int *m, const int *n, const int *nrhs, void *a,
                     const int *lda, void *b, const int *ldb, void *work, const int *lwork,
                     int *info);
typedef void (*GelsyReal)(const int *m, const int *n, const int *nrhs, void *a, const int *lda,
                          void *b, const int *ldb, int *jpvt, const void *rcond, int *rank,
                          void *work, const int *lwork, int *info);
typedef void (*GelsyComplex)(const int *m, const int *n, const int *nrhs, void *a, const int *lda,
                             void *b, const int *ldb, int *jpvt, const void *rcond, int *rank,
                             void *work, const int *lwork, void *rwork, int *info);
typedef void (*GelsdReal)(const int *m, const int *n, const int *nrhs, void *a, const int *lda,
                          void *b, const int *ldb, void *s, const void *rcond, int *rank,
                          void *work, const int *lwork, int *iwork, int *info);
typedef void (*GelsdComplex)(const int *m, const int *n, const int *nrhs, void *a, const int *lda,
                             void *b, const int *ldb, void *s, const void *rcond, int *rank,
                             void *work, const int *lwork, void *rwork, int *iwork, int *info);
typedef void (*GelssReal)(const int *m, const int *n, const int *nrhs, void *a, const int *lda,
                          void *b, const int *ldb, void *s, const void *rcond, int *rank,
                          void *work, const int *lwork, int *info);
typedef void (*GelssComplex)(const int *m, const int *n, const int *nrhs, void *a, const int *lda,
                             void *b, const int *ldb, void *s, const void *rcond, int *rank,
                             void *work, const int *lwork, void *rwork, int *info);

/* option[0] is the last letter of the driver: gels, gelsy, gelsd, gelss. */
static int
gels(const Lapack *l, void *a, void *b, void *s, int *rank, void *work, int length, void *reals,
     int *ints)
{
    const float single = (float)l->number;
    const void *rcond = l->real_size == 4 ? (const void *)&single : &l->number;
    const int ldb = l->m > l->n ? l->m : l->n;
    const bool complex = FAC_IS_COMPLEX(l->dtype);
    int info = 0;
    const char driver = l->option[1];
    if (driver == 's')
        ((Gels)l->routine)("N", &l->m, &l->n, &l->columns, a, &l->m, b, &ldb, work, &length, &info);
    else if (driver == 'y' && complex)
        ((GelsyComplex)l->routine)(&l->m, &l->n, &l->columns, a, &l->m, b, &ldb, ints, rcond, rank,
                                   work, &length, reals, &info);
    else if (driver == 'y')
        ((GelsyReal)l->routine)(&l->m, &l->n, &l->columns, a, &l->m, b, &ldb, ints, rcond, rank,
                                work, &length, &info);
    else if (driver == 'd' && complex)
        ((GelsdComplex)l->routine)(&l->m, &l->n, &l->columns, a, &l->m, b, &ldb, s, rcond, rank,
                                   work, &length, reals, ints, &info);
    else if (driver == 'd')
        ((GelsdReal)l->routine)(&l->m, &l->n, &l->columns, a, &l->m, b, &ldb, s, rcond, rank, work,
                                &length, ints, &info);
    else if (complex)
        ((GelssComplex)l->routine)(&l->m, &l->n, &l->columns, a, &l->m, b, &ldb, s, rcond, rank,
                                   work, &length, reals, &info);
    else
        ((GelssReal)l->routine)(&l->m, &l->n, &l->columns, a, &l->m, b, &ldb, s, rcond, rank, work,
                                &length, &info);
    return info;
}

static FacStatus
lstsq_item(int64_t i, char *scratch, bool serial, void *context)
{
    const Lapack *l = context;
    int rank = 0, *ints = ints_of(l, scratch);
    (void)serial;
    memset(ints, 0, (size_t)l->n * sizeof *ints); /* gelsy: all columns may move */
    l->infos[i] = gels(l, item(l, 0, i), item(l, 1, i), item(l, 2, i), &rank, scratch, l->work,
                       reals_of(l, scratch), ints);
    ((int64_t *)l->at[3])[i] = rank;
    return FAC_OK;
}

/* (A, B, rcond, driver) -> (X, rank, singular values): X has max(m, n) rows, of which the first n are the
 * solution; B has as many, the first m are the right side. */
FacStatus
fac_k_lstsq(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *x = fac_result_tensor(call, 0), *copy = NULL;
    FacTensor *rank = fac_result_tensor(call, 1), *s = fac_result_tensor(call, 2);
    const FacValue driver = FAC_ARG(call, 3);
    const char *const names[] = {"gels_", "gelsy_", "gelsd_", "gelss_"};
    Lapack l;
    FacStatus st = FAC_OK;
    char answer[16] = {0}, reals[16] = {0};
    int ints[64] = {0}, unused;
    const int which = driver.len < 5 ? 0 : driver.v.s[4] == 'y' ? 1 : driver.v.s[4] == 'd' ? 2 : 3;
    FAC_TRY(lapack_init(&l, a, names[which]));
    FAC_TRY(fac_tensor_copy(x, fac_arg_tensor(call, 1)));
    if (rank->numel) memset(fac_data(rank), 0, (size_t)rank->numel * sizeof(int64_t));
    if (!a->numel || !x->numel) goto done;
    l.option[1] = "sydS"[which];
    l.columns = (int)x->sizes[x->ndim - 1];
    l.number = fac_v_as_float(FAC_ARG(call, 2));
    FAC_TRY(fac_columns_copy(a, &copy));
    place(&l, 0, copy, (int64_t)l.m * l.n);
    place(&l, 1, x, (int64_t)(l.m > l.n ? l.m : l.n) * l.columns);
    place(&l, 2, s, s->sizes[s->ndim - 1]);
    place(&l, 3, rank, 1);
    if (!are_finite(&l, fac_data(copy), copy->numel))
        FAC_FAIL(FAC_LINALG_ERROR, "the matrix should not contain infs or NaNs");
    l.ints = l.reals = l.n;
    int *pivots = fac_mem_zalloc((size_t)(l.n + 64) * sizeof *pivots);
    if (!pivots) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for %d pivots", l.n);
    gels(&l, l.at[0], l.at[1], answer, &unused, answer, -1, reals, which == 1 ? pivots : ints);
    fac_mem_free(pivots);
    FAC_TRY(wanted(&l, answer, &l.work));
    if (which == 2) {
        l.ints = ints[0] > l.n ? ints[0] : l.n;
        if (FAC_IS_COMPLEX(l.dtype)) FAC_TRY(wanted(&l, reals, &l.reals));
    } else {
        l.reals = which == 1 ? 2 * l.n : 5 * l.k;
    }
    st = run(&l, rank->numel, rank->ndim > 0, lstsq_item,
             "The least squares solution could not be computed because the input matrix does not "
             "have full "
             "rank or the algorithm failed to converge (error code: %d).");
done:
    fac_tensor_release(copy);
    return st;
}

/* --- indefinite factors --------------------------------------------------------------------------------- */

typedef void (*Sytrf)(const char *uplo, const int *n, void *a, const int *lda, int *pivots,
                      void *work, const int *lwork, int *info);
typedef void (*Sytrs)(const char *uplo, const int *n, const int *nrhs, const void *a,
                      const int *lda, const int *pivots, void *b, const int *ldb, int *info);

static FacStatus
ldl_item(int64_t i, char *scratch, bool serial, void *context)
{
    const Lapack *l = context;
    char *a = item(l, 0, i);
    int info = 0;
    (void)serial;
    ((Sytrf)l->routine)("L", &l->n, a, &l->n, (int *)item(l, 1, i), scratch, &l->work, &info);
    l->infos[i] = info;
    for (int j = 1; j < l->n; j++)
        memset(a + (size_t)j * (size_t)l->n * (size_t)l->size, 0, (size_t)j * (size_t)l->size);
    return FAC_OK;
}

/* (A, hermitian, check_errors) -> (LD, pivots, info). */
FacStatus
fac_k_ldl_factor(FacCall *call)
{
    FacTensor *ld = fac_result_tensor(call, 0), *info = fac_result_tensor(call, 2);
    const bool hermitian = fac_v_is_true(FAC_ARG(call, 1));
    Lapack l;
    char answer[16] = {0};
    const int query = -1;
    int unused = 0;
    FAC_RETURN_IF_ERROR(lapack_init(&l, ld, hermitian ? "sytrf_|hetrf_" : "sytrf_"));
    FAC_RETURN_IF_ERROR(fac_tensor_copy(ld, fac_arg_tensor(call, 0)));
    l.infos = fac_data(info);
    if (info->numel) memset(l.infos, 0, (size_t)info->numel * sizeof *l.infos);
    if (!ld->numel) return FAC_OK;
    place(&l, 0, ld, (int64_t)l.n * l.n);
    place(&l, 1, fac_result_tensor(call, 1), l.n);
    ((Sytrf)l.routine)("L", &l.n, l.at[0], &l.n, (int *)l.at[1], answer, &query, &unused);
    FAC_RETURN_IF_ERROR(wanted(&l, answer, &l.work));
    FAC_RETURN_IF_ERROR(run(&l, info->numel, false, ldl_item, NULL));
    if (!fac_v_is_true(FAC_ARG(call, 2))) return FAC_OK;
    return fac_check_infos(l.infos, info->numel, info->ndim > 0,
                           "D[%d,%d] is zero: the factors cannot be used to solve a system.");
}

static FacStatus
ldl_solve_item(int64_t i, char *scratch, bool serial, void *context)
{
    const Lapack *l = context;
    int info;
    (void)scratch;
    (void)serial;
    ((Sytrs)l->routine)("L", &l->n, &l->columns, item(l, 0, i), &l->n, (const int *)item(l, 1, i),
                        item(l, 2, i), &l->n, &info);
    return FAC_OK;
}

/* LAPACK believes its pivots: a 2 x 2 block is two equal negative ones. */
static bool
are_pivots(const int32_t *pivots, int n)
{
    for (int j = 0; j < n; j++) {
        if (pivots[j] > 0 ? pivots[j] > n : pivots[j] < -n || pivots[j] == 0) return false;
        if (pivots[j] > 0) continue;
        if (j + 1 == n || pivots[j + 1] != pivots[j]) return false;
        j++;
    }
    return true;
}

/* (LD, pivots, B, hermitian) -> X. */
FacStatus
fac_k_ldl_solve(FacCall *call)
{
    FacTensor *x = fac_result_tensor(call, 0), *ld = NULL, *pivots = NULL;
    const bool hermitian = fac_v_is_true(FAC_ARG(call, 3));
    Lapack l;
    FacStatus st = FAC_OK;
    FAC_TRY(lapack_init(&l, fac_arg_tensor(call, 0), hermitian ? "sytrs_|hetrs_" : "sytrs_"));
    FAC_TRY(fac_tensor_copy(x, fac_arg_tensor(call, 2)));
    if (!x->numel) goto done;
    FAC_TRY(fac_columns_copy(fac_arg_tensor(call, 0), &ld));
    FAC_TRY(fac_contiguous(fac_arg_tensor(call, 1), FAC_DT_I32, &pivots));
    l.columns = (int)x->sizes[x->ndim - 1];
    place(&l, 0, ld, (int64_t)l.n * l.n);
    place(&l, 1, pivots, l.n);
    place(&l, 2, x, (int64_t)l.n * l.columns);
    for (int64_t i = 0; i < pivots->numel / l.n; i++)
        if (!are_pivots((const int32_t *)item(&l, 1, i), l.n))
            FAC_FAIL(FAC_RUNTIME_ERROR, "these are not the pivots of ldl_factor");
    st = run(&l, pivots->numel / l.n, false, ldl_solve_item, NULL);
done:
    fac_tensor_release(ld);
    fac_tensor_release(pivots);
    return st;
}
