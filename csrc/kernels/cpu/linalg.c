/* linalg.c - factors, inverses and solutions: kernels over batches of matrices, by factor.h.
 *
 * What is read row by row here is what the rules lay out so: LU factors and right sides by rows, a
 * lower Cholesky factor and an inverse by columns, as their transposes come out of the algorithms.
 */
#include "kernels/cpu/factor.h"
#include "kernels/matrices.h"

#include <string.h>

static const char singular[] = "The diagonal element %d is zero, the inversion could not be "
                               "completed because the input matrix is "
                               "singular.";
static const char unsolvable[] = "The solver failed because the input matrix is singular.";
static const char no_factors[] =
    "U[%d,%d] is zero and using it on lu_solve would result in a division by zero.";
static const char not_positive[] = "The factorization could not be completed because the input is "
                                   "not positive-definite (the leading "
                                   "minor of order %d is not positive-definite).";

/* A batch: what lies at `at[i]` for matrix m is at + m * bytes. */
typedef struct Batch {
    FacDType dtype;
    int64_t n, m, columns, size; /* rows and columns of the matrix, columns of the right side */
    char *at[4];
    int64_t bytes[4];
    int32_t *pivots, *infos; /* pivots count from 1 */
    bool left, adjoint, upper, unit, pivot;
    int64_t step[2];
} Batch;

static char *
item(const Batch *b, int which, int64_t i)
{
    return b->at[which] + i * b->bytes[which];
}

/* Scratch: int64 pivots, a row-by-row matrix if one is asked for, then that of FacFactor. */
static size_t
scratch_bytes(const Batch *b, int64_t matrix)
{
    const int64_t least = b->n < b->m ? b->n : b->m;
    return (size_t)(least * 8 + 64 + (matrix + fac_factor_scratch(b->n, b->m)) * b->size);
}

static FacFactor
factor_of(const Batch *b, char *scratch, int64_t matrix, bool serial)
{
    const int64_t least = b->n < b->m ? b->n : b->m;
    return (FacFactor){b->dtype, serial, scratch + (least * 8 + 63) / 64 * 64 + matrix * b->size};
}

static double
cube(const Batch *b)
{
    return (double)b->n * (double)b->m * (double)(b->n < b->m ? b->n : b->m);
}

static Batch
batch_of(const FacTensor *a, const FacTensor *info)
{
    const int64_t size = fac_dtype_size((FacDType)a->dtype);
    return (Batch){.dtype = (FacDType)a->dtype,
                   .n = a->sizes[a->ndim - 2],
                   .m = a->sizes[a->ndim - 1],
                   .size = size,
                   .infos = info ? fac_data(info) : NULL};
}

static void
place(Batch *b, int which, const FacTensor *t, int64_t elements)
{
    b->at[which] = fac_data(t);
    b->bytes[which] = elements * fac_dtype_size((FacDType)t->dtype);
}

static FacStatus
check(const FacTensor *info, const char *message)
{
    return fac_check_infos(fac_data(info), info->numel, info->ndim > 0, message);
}

/* --- LU ------------------------------------------------------------------------------------------------- */

static FacStatus
lu_item(int64_t i, char *scratch, bool serial, void *context)
{
    const Batch *b = context;
    const int64_t least = b->n < b->m ? b->n : b->m;
    const FacFactor f = factor_of(b, scratch, 0, serial);
    int64_t *pivots = (int64_t *)scratch, info = 0;
    FAC_RETURN_IF_ERROR(FAC_TIERED(lu)(&f, item(b, 0, i), b->m, b->n, b->m, pivots, &info));
    for (int64_t j = 0; j < least; j++) b->pivots[i * least + j] = (int32_t)pivots[j] + 1;
    b->infos[i] = (int32_t)info;
    return FAC_OK;
}

static FacStatus
factor(Batch *b, FacTensor *from, FacTensor *lu, FacTensor *pivots)
{
    FAC_RETURN_IF_ERROR(fac_tensor_copy(lu, from));
    place(b, 0, lu, b->n * b->m);
    b->pivots = fac_data(pivots);
    const int64_t count = fac_matrix_count(lu, 2);
    return fac_each_matrix(count, cube(b), scratch_bytes(b, 0), lu_item, b);
}

/* (A, pivot, check_errors) -> (LU, pivots, info). */
FacStatus
FAC_KERNEL(linalg_lu_factor_ex)(FacCall *call)
{
    FacTensor *info = fac_result_tensor(call, 2);
    Batch b = batch_of(fac_arg_tensor(call, 0), info);
    if (!fac_v_is_true(FAC_ARG(call, 1)))
        return fac_error(FAC_RUNTIME_ERROR,
                         "linalg.lu_factor: LU without pivoting is not implemented on the CPU");
    FAC_RETURN_IF_ERROR(factor(&b, fac_arg_tensor(call, 0), fac_result_tensor(call, 0),
                               fac_result_tensor(call, 1)));
    return fac_v_is_true(FAC_ARG(call, 2)) ? check(info, no_factors) : FAC_OK;
}

/* X = A^-1 X from factors by rows, or with A^H. */
static FacStatus
solve_item(int64_t i, char *scratch, bool serial, void *context)
{
    const Batch *b = context;
    const FacFactor f = factor_of(b, scratch, 0, serial);
    const char *lu = item(b, 0, i);
    char *x = item(b, 1, i);
    int64_t *pivots = (int64_t *)scratch;
    const FacTriangle lower = {.at = lu, .row = b->n, .col = 1, .unit = true};
    const FacTriangle upper = {.at = lu, .row = b->n, .col = 1, .upper = true};
    const FacTriangle lower_h = {lu, 1, b->n, .upper = true, .unit = true, .conj = true};
    const FacTriangle upper_h = {lu, 1, b->n, .conj = true};
    for (int64_t j = 0; j < b->n; j++) pivots[j] = b->pivots[i * b->n + j] - 1;
    if (!b->adjoint) FAC_TIERED(swap_rows)(&f, pivots, b->n, false, x, b->columns, b->columns);
    FAC_RETURN_IF_ERROR(FAC_TIERED(solve_triangle)(&f, b->adjoint ? &upper_h : &lower, b->n, x,
                                                   b->columns, b->columns));
    FAC_RETURN_IF_ERROR(FAC_TIERED(solve_triangle)(&f, b->adjoint ? &lower_h : &upper, b->n, x,
                                                   b->columns, b->columns));
    if (b->adjoint) FAC_TIERED(swap_rows)(&f, pivots, b->n, true, x, b->columns, b->columns);
    return FAC_OK;
}

static FacStatus
solve(Batch *b, FacTensor *x, FacTensor *from)
{
    b->columns = x->sizes[x->ndim - 1];
    FAC_RETURN_IF_ERROR(fac_tensor_copy(x, from));
    place(b, 1, x, b->n * b->columns);
    if (!b->columns || !b->n) return FAC_OK;
    return fac_each_matrix(fac_matrix_count(x, 2), (double)b->n * (double)b->n * (double)b->columns,
                           scratch_bytes(b, 0), solve_item, b);
}

/* (A, B, check_errors) -> (X, LU, pivots, info), of as many matrices each. */
FacStatus
FAC_KERNEL(linalg_solve_ex)(FacCall *call)
{
    FacTensor *lu = fac_result_tensor(call, 1), *info = fac_result_tensor(call, 3);
    Batch b = batch_of(lu, info);
    FAC_RETURN_IF_ERROR(factor(&b, fac_arg_tensor(call, 0), lu, fac_result_tensor(call, 2)));
    if (fac_v_is_true(FAC_ARG(call, 2))) FAC_RETURN_IF_ERROR(check(info, unsolvable));
    return solve(&b, fac_result_tensor(call, 0), fac_arg_tensor(call, 1));
}

/* (LU, pivots, B, adjoint) -> X, of as many matrices each. */
FacStatus
FAC_KERNEL(lu_solve)(FacCall *call)
{
    FacTensor *lu = NULL, *pivots = NULL;
    Batch b = batch_of(fac_arg_tensor(call, 0), NULL);
    FacStatus st = FAC_OK;
    FAC_TRY(fac_contiguous(fac_arg_tensor(call, 0), b.dtype, &lu));
    FAC_TRY(fac_contiguous(fac_arg_tensor(call, 1), FAC_DT_I32, &pivots));
    place(&b, 0, lu, b.n * b.n);
    b.pivots = fac_data(pivots);
    for (int64_t i = 0; i < pivots->numel; i++)
        if (b.pivots[i] < 1 || b.pivots[i] > b.n)
            FAC_FAIL(FAC_RUNTIME_ERROR,
                     "Pivots given to lu_solve must all be greater or equal to 1 and at most %lld. "
                     "Did you "
                     "properly pass the result of lu_factor?",
                     (long long)b.n);
    b.adjoint = fac_v_is_true(FAC_ARG(call, 3));
    st = solve(&b, fac_result_tensor(call, 0), fac_arg_tensor(call, 2));
done:
    fac_tensor_release(lu);
    fac_tensor_release(pivots);
    return st;
}

/* --- triangles ------------------------------------------------------------------------------------------ */

static FacStatus
triangular_item(int64_t i, char *scratch, bool serial, void *context)
{
    const Batch *b = context;
    const FacFactor f = factor_of(b, scratch, 0, serial);
    const FacTriangle t = {.at = item(b, 0, i),
                           .row = b->step[0],
                           .col = b->step[1],
                           .upper = b->upper,
                           .unit = b->unit};
    return FAC_TIERED(solve_triangle)(&f, &t, b->n, item(b, 1, i), b->columns, b->columns);
}

/* (A, B, upper, unitriangular) -> X = A^-1 B, of as many matrices each. */
FacStatus
FAC_KERNEL(solve_triangular)(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *x = fac_result_tensor(call, 0), *whole = NULL;
    Batch b = batch_of(a, NULL);
    FacStatus st = FAC_OK;
    FAC_TRY(fac_tensor_copy(x, fac_arg_tensor(call, 1)));
    if (!x->numel) goto done;
    if (a->ndim == 2)
        whole = fac_tensor_retain(a);
    else
        FAC_TRY(fac_contiguous(a, b.dtype, &whole));
    b.columns = x->sizes[x->ndim - 1];
    b.upper = fac_v_is_true(FAC_ARG(call, 2));
    b.unit = fac_v_is_true(FAC_ARG(call, 3));
    b.step[0] = whole->strides[a->ndim - 2];
    b.step[1] = whole->strides[a->ndim - 1];
    place(&b, 0, whole, b.n * b.n);
    place(&b, 1, x, b.n * b.columns);
    st = fac_each_matrix(fac_matrix_count(x, 2), (double)b.n * (double)b.n * (double)b.columns,
                         scratch_bytes(&b, 0), triangular_item, &b);
done:
    fac_tensor_release(whole);
    return st;
}

/* --- Cholesky ------------------------------------------------------------------------------------------- */

static FacStatus
cholesky_item(int64_t i, char *scratch, bool serial, void *context)
{
    const Batch *b = context;
    const FacFactor f = factor_of(b, scratch, 0, serial);
    const int64_t n = b->n;
    char *a = item(b, 0, i);
    int64_t info = 0;
    FAC_RETURN_IF_ERROR(FAC_TIERED(cholesky)(&f, a, n, n, &info));
    for (int64_t r = 1; r < n; r++) memset(a + r * n * b->size, 0, (size_t)(r * b->size));
    b->infos[i] = (int32_t)info;
    return FAC_OK;
}

/* (A, upper, check_errors) -> (L, info). A lower factor lies by columns: its transpose is U of
 * U^H U = A^T, and the lower triangle of A is the upper one of A^T. */
FacStatus
FAC_KERNEL(linalg_cholesky_ex)(FacCall *call)
{
    FacTensor *out = fac_result_tensor(call, 0), *info = fac_result_tensor(call, 1);
    Batch b = batch_of(out, info);
    FAC_RETURN_IF_ERROR(fac_tensor_copy(out, fac_arg_tensor(call, 0)));
    place(&b, 0, out, b.n * b.n);
    FAC_RETURN_IF_ERROR(fac_each_matrix(fac_matrix_count(out, 2), cube(&b) / 2,
                                        scratch_bytes(&b, 0), cholesky_item, &b));
    return fac_v_is_true(FAC_ARG(call, 2)) ? check(info, not_positive) : FAC_OK;
}

/* --- the inverse ---------------------------------------------------------------------------------------- */

/* By columns, that is transposed: A^-T = P^T L^-T U^-T. U^-T is lower: its columns from j on are
 * solved for together, as long as they are many. */
static FacStatus
inverse_item(int64_t i, char *scratch, bool serial, void *context)
{
    enum { COLUMNS = 64 };
    const Batch *b = context;
    const int64_t n = b->n, area = n * n;
    const FacFactor f = factor_of(b, scratch, area, serial);
    char *lu = f.scratch - area * b->size, *out = item(b, 0, i);
    int64_t *pivots = (int64_t *)scratch, info = 0;
    static const double one[2] = {1, 0};
    static const float single_one[2] = {1, 0};
    const bool single = fac_dtype_info[b->dtype].real == FAC_DT_F32;
    if (area) memcpy(lu, item(b, 1, i), (size_t)(area * b->size));
    FAC_RETURN_IF_ERROR(FAC_TIERED(lu)(&f, lu, n, n, n, pivots, &info));
    b->infos[i] = (int32_t)info;
    memset(out, 0, (size_t)(area * b->size));
    if (info) return FAC_OK;
    for (int64_t j = 0; j < n; j++)
        memcpy(out + j * (n + 1) * b->size, single ? (const void *)single_one : one,
               (size_t)b->size);
    for (int64_t j = 0; j < n; j += COLUMNS) {
        const FacTriangle u = {.at = lu + j * (n + 1) * b->size, .row = 1, .col = n};
        const int64_t columns = n - j < COLUMNS ? n - j : COLUMNS;
        FAC_RETURN_IF_ERROR(
            FAC_TIERED(solve_triangle)(&f, &u, n - j, out + j * (n + 1) * b->size, n, columns));
    }
    const FacTriangle l = {.at = lu, .row = 1, .col = n, .upper = true, .unit = true};
    FAC_RETURN_IF_ERROR(FAC_TIERED(solve_triangle)(&f, &l, n, out, n, n));
    FAC_TIERED(swap_rows)(&f, pivots, n, true, out, n, n);
    return FAC_OK;
}

/* (A, check_errors) -> (inverse, info); the inverse lies by columns. */
FacStatus
FAC_KERNEL(linalg_inv_ex)(FacCall *call)
{
    FacTensor *out = fac_result_tensor(call, 0), *info = fac_result_tensor(call, 1), *a = NULL;
    Batch b = batch_of(out, info);
    FacStatus st = FAC_OK;
    FAC_TRY(fac_contiguous(fac_arg_tensor(call, 0), b.dtype, &a));
    place(&b, 0, out, b.n * b.n);
    place(&b, 1, a, b.n * b.n);
    FAC_TRY(fac_each_matrix(fac_matrix_count(out, 2), 3 * cube(&b), scratch_bytes(&b, b.n * b.n),
                            inverse_item, &b));
    if (fac_v_is_true(FAC_ARG(call, 1))) st = check(info, singular);
done:
    fac_tensor_release(a);
    return st;
}
