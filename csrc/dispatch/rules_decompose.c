/* rules_decompose.c - the rules of factorizations, solutions and spectra: batches of matrices in the
 * last two dimensions, in float32, float64, complex64 or complex128.
 *
 * What LAPACK or a transposed algorithm writes lies column by column, the rest row by row.
 */
#include "dispatch/rules.h"

#include <string.h>

typedef enum Order { BY_ROWS, BY_COLUMNS } Order;

static FacStatus
check_kind(const FacCall *call, int i)
{
    const FacTensor *t = fac_arg_tensor(call, i);
    const FacDType dtype = (FacDType)t->dtype;
    if (t->ndim < 2)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                  "must have at least 2 dimensions, not %d", t->ndim);
    if (FAC_IS_INT(dtype) || dtype == FAC_DT_BOOL)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                  "must be of a floating point or complex dtype, not %s",
                                  fac_dtype_info[dtype].name);
    if (fac_dtype_info[dtype].compute != dtype) return fac_not_implemented_for(call, dtype);
    return FAC_OK;
}

static FacStatus
check_square(const FacCall *call, int i)
{
    const FacTensor *t = fac_arg_tensor(call, i);
    FAC_RETURN_IF_ERROR(check_kind(call, i));
    if (t->sizes[t->ndim - 1] == t->sizes[t->ndim - 2]) return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                              "must be batches of square matrices, not of %lld by %lld",
                              (long long)t->sizes[t->ndim - 2], (long long)t->sizes[t->ndim - 1]);
}

/* args[j] are as many matrices as args[i], of its dtype and number of rows. */
static FacStatus
check_beside(const FacCall *call, int i, int j)
{
    const FacTensor *a = fac_arg_tensor(call, i), *b = fac_arg_tensor(call, j);
    const int n = a->ndim;
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    if (a->dtype != b->dtype)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, j, "is %s, and '%s' is %s",
                                  fac_dtype_info[b->dtype].name, call->op->params[i].name,
                                  fac_dtype_info[a->dtype].name);
    if (b->ndim == n && !memcmp(a->sizes, b->sizes, (size_t)(n - 1) * sizeof *a->sizes))
        return FAC_OK;
    FacText text = {.len = 0};
    fac_text_dims(&text, n, a->sizes);
    fac_text_add(&text, " and ");
    fac_text_dims(&text, b->ndim, b->sizes);
    return fac_error(FAC_RUNTIME_ERROR, "shapes of matrices that do not fit: %s", text.at);
}

/* Result r: matrices of rows x cols, as many as `like` has. */
static FacStatus
make_matrices(FacCall *call, int r, FacDType dtype, const FacTensor *like, FacDim rows, FacDim cols,
              Order order)
{
    FacDim sizes[FAC_MAX_NDIM], strides[FAC_MAX_NDIM];
    const int n = like->ndim;
    memcpy(sizes, like->sizes, (size_t)n * sizeof *sizes);
    sizes[n - 2] = order == BY_ROWS ? rows : cols;
    sizes[n - 1] = order == BY_ROWS ? cols : rows;
    fac_strides_contiguous(n, sizes, strides);
    if (order == BY_COLUMNS) {
        const FacDim row = strides[n - 1];
        strides[n - 1] = strides[n - 2];
        strides[n - 2] = row;
        sizes[n - 2] = rows;
        sizes[n - 1] = cols;
    }
    return fac_out_strided(call, r, dtype, like->device, n, sizes, strides);
}

/* Result r: a vector of n elements for each matrix of `like`. */
static FacStatus
make_vectors(FacCall *call, int r, FacDType dtype, const FacTensor *like, FacDim n)
{
    FacDim sizes[FAC_MAX_NDIM];
    memcpy(sizes, like->sizes, (size_t)like->ndim * sizeof *sizes);
    sizes[like->ndim - 2] = n;
    return fac_out(call, r, dtype, like->device, like->ndim - 1, sizes);
}

static FacStatus
make_infos(FacCall *call, int r, const FacTensor *like)
{
    return fac_out(call, r, FAC_DT_I32, like->device, like->ndim - 2, like->sizes);
}

static FacDim
rows_of(const FacTensor *t)
{
    return t->sizes[t->ndim - 2];
}
static FacDim
cols_of(const FacTensor *t)
{
    return t->sizes[t->ndim - 1];
}
static FacDim
least_of(const FacTensor *t)
{
    return rows_of(t) < cols_of(t) ? rows_of(t) : cols_of(t);
}

/* (A, check_errors) -> (inverse, info) */
FacStatus
fac_rule_linalg_inv_ex(FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0);
    if (a->dtype == FAC_DT_F16 || a->dtype == FAC_DT_BF16)
        return fac_error(FAC_RUNTIME_ERROR,
                         "needs float32, float64, complex64 or complex128, not %s",
                         fac_dtype_info[a->dtype].name);
    FAC_RETURN_IF_ERROR(check_square(call, 0));
    FAC_RETURN_IF_ERROR(
        make_matrices(call, 0, (FacDType)a->dtype, a, rows_of(a), cols_of(a), BY_COLUMNS));
    return make_infos(call, 1, a);
}

/* (A, upper, check_errors) -> (L, info) */
FacStatus
fac_rule_cholesky(FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0);
    FAC_RETURN_IF_ERROR(check_square(call, 0));
    FAC_RETURN_IF_ERROR(make_matrices(call, 0, (FacDType)a->dtype, a, rows_of(a), cols_of(a),
                                      FAC_ARG(call, 1).v.b ? BY_ROWS : BY_COLUMNS));
    return make_infos(call, 1, a);
}

/* (A, ...) -> (LU, pivots, info) */
FacStatus
fac_rule_lu_factor(FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0);
    FAC_RETURN_IF_ERROR(check_kind(call, 0));
    FAC_RETURN_IF_ERROR(
        make_matrices(call, 0, (FacDType)a->dtype, a, rows_of(a), cols_of(a), BY_ROWS));
    FAC_RETURN_IF_ERROR(make_vectors(call, 1, FAC_DT_I32, a, least_of(a)));
    return make_infos(call, 2, a);
}

/* (A, B, check_errors) -> (result, LU, pivots, info) */
FacStatus
fac_rule_solve(FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0), *b = fac_arg_tensor(call, 1);
    const FacDType dtype = (FacDType)a->dtype;
    FAC_RETURN_IF_ERROR(check_square(call, 0));
    FAC_RETURN_IF_ERROR(check_beside(call, 0, 1));
    FAC_RETURN_IF_ERROR(make_matrices(call, 0, dtype, b, rows_of(b), cols_of(b), BY_ROWS));
    FAC_RETURN_IF_ERROR(make_matrices(call, 1, dtype, a, rows_of(a), cols_of(a), BY_ROWS));
    FAC_RETURN_IF_ERROR(make_vectors(call, 2, FAC_DT_I32, a, rows_of(a)));
    return make_infos(call, 3, a);
}

/* The pivots args[1] are vectors beside the factors args[0]. */
static FacStatus
check_pivots(const FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0), *pivots = fac_arg_tensor(call, 1);
    const int n = a->ndim - 2;
    if (pivots->dtype != FAC_DT_I32)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 1, "must be of dtype int32");
    if (pivots->ndim == n + 1 && pivots->sizes[n] == least_of(a) &&
        !memcmp(pivots->sizes, a->sizes, (size_t)n * sizeof *a->sizes))
        return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, 1,
                              "must be one vector of %lld pivots for each matrix",
                              (long long)least_of(a));
}

/* (factors, pivots, B, ...) -> X */
FacStatus
fac_rule_factors_solve(FacCall *call)
{
    const FacTensor *b = fac_arg_tensor(call, 2);
    FAC_RETURN_IF_ERROR(check_square(call, 0));
    FAC_RETURN_IF_ERROR(check_pivots(call));
    FAC_RETURN_IF_ERROR(check_beside(call, 0, 2));
    return make_matrices(call, 0, (FacDType)b->dtype, b, rows_of(b), cols_of(b), BY_ROWS);
}

/* (pivots, rows) -> the order that they bring [0, rows) to */
FacStatus
fac_rule_pivot_order(FacCall *call)
{
    const FacTensor *pivots = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    const int n = pivots->ndim - 1;
    const int64_t rows = fac_v_as_int(FAC_ARG(call, 1));
    if (pivots->dtype != FAC_DT_I32)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0, "must be of dtype int32");
    if (n < 0 || rows < pivots->sizes[n])
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 0,
                                  "must be vectors of at most %lld pivots", (long long)rows);
    memcpy(sizes, pivots->sizes, (size_t)n * sizeof *sizes);
    sizes[n] = rows;
    return fac_out(call, 0, FAC_DT_I64, pivots->device, n + 1, sizes);
}

/* (A, B, ...) -> X */
FacStatus
fac_rule_solve_triangular(FacCall *call)
{
    const FacTensor *b = fac_arg_tensor(call, 1);
    FAC_RETURN_IF_ERROR(check_square(call, 0));
    FAC_RETURN_IF_ERROR(check_beside(call, 0, 1));
    return make_matrices(call, 0, (FacDType)b->dtype, b, rows_of(b), cols_of(b), BY_ROWS);
}

/* --- QR ------------------------------------------------------------------------------------------------- */

/* (A, mode) -> (Q, R) */
FacStatus
fac_rule_qr(FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0);
    const FacDType dtype = (FacDType)a->dtype;
    const char *mode = FAC_ARG(call, 1).v.s;
    FAC_RETURN_IF_ERROR(check_kind(call, 0));
    const bool complete = !strcmp(mode, "complete"), bare = !strcmp(mode, "r");
    const FacDim k = complete ? rows_of(a) : least_of(a);
    if (!complete && !bare && strcmp(mode, "reduced"))
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 1,
                                  "must be 'reduced', 'complete' or 'r', not '%s'", mode);
    FAC_RETURN_IF_ERROR(make_matrices(call, 0, dtype, a, rows_of(a), bare ? 0 : k, BY_ROWS));
    return make_matrices(call, 1, dtype, a, k, cols_of(a), BY_ROWS);
}

/* (A) -> (a, tau) */
FacStatus
fac_rule_geqrf(FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0);
    FAC_RETURN_IF_ERROR(check_kind(call, 0));
    FAC_RETURN_IF_ERROR(
        make_matrices(call, 0, (FacDType)a->dtype, a, rows_of(a), cols_of(a), BY_ROWS));
    return make_vectors(call, 1, (FacDType)a->dtype, a, least_of(a));
}

/* --- spectra -------------------------------------------------------------------------------------------- */

/* (A, full_matrices, compute_uv, driver) -> (U, S, Vh): the singular values are real; vectors that are
 * not asked for are empty. */
FacStatus
fac_rule_svd(FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0);
    const FacDType dtype = (FacDType)a->dtype, real = (FacDType)fac_dtype_info[dtype].real;
    const FacDim none = 0;
    FAC_RETURN_IF_ERROR(check_kind(call, 0));
    if (FAC_ARG(call, 3).tag != FAC_V_NONE)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 3, "is for other devices than this one");
    const bool full = FAC_ARG(call, 1).v.b, vectors = FAC_ARG(call, 2).v.b;
    const FacDim m = rows_of(a), n = cols_of(a), k = least_of(a);
    if (vectors)
        FAC_RETURN_IF_ERROR(make_matrices(call, 0, dtype, a, m, full ? m : k, BY_COLUMNS));
    else
        FAC_RETURN_IF_ERROR(fac_out(call, 0, dtype, a->device, 1, &none));
    FAC_RETURN_IF_ERROR(make_vectors(call, 1, real, a, k));
    if (!vectors) return fac_out(call, 2, dtype, a->device, 1, &none);
    return make_matrices(call, 2, dtype, a, full ? n : k, n, BY_COLUMNS);
}

/* (A, UPLO, compute_v) -> (eigenvalues, eigenvectors) */
FacStatus
fac_rule_eigh(FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0);
    const FacDType dtype = (FacDType)a->dtype;
    const char *triangle = FAC_ARG(call, 1).v.s;
    const FacDim none = 0;
    FAC_RETURN_IF_ERROR(check_square(call, 0));
    if (!strchr("LUlu", triangle[0]) || !triangle[0] || triangle[1])
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 1, "must be 'L' or 'U', not '%s'",
                                  triangle);
    FAC_RETURN_IF_ERROR(make_vectors(call, 0, (FacDType)fac_dtype_info[dtype].real, a, rows_of(a)));
    if (!FAC_ARG(call, 2).v.b) return fac_out(call, 1, dtype, a->device, 1, &none);
    return make_matrices(call, 1, dtype, a, rows_of(a), cols_of(a), BY_COLUMNS);
}

/* (A, compute_v) -> (eigenvalues, eigenvectors), complex */
FacStatus
fac_rule_eig(FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0);
    const FacDim none = 0;
    FAC_RETURN_IF_ERROR(check_square(call, 0));
    const FacDType complex = fac_dtype_info[a->dtype].real == FAC_DT_F32 ? FAC_DT_C64 : FAC_DT_C128;
    FAC_RETURN_IF_ERROR(make_vectors(call, 0, complex, a, rows_of(a)));
    if (!FAC_ARG(call, 1).v.b) return fac_out(call, 1, complex, a->device, 1, &none);
    return make_matrices(call, 1, complex, a, rows_of(a), cols_of(a), BY_COLUMNS);
}

static FacStatus
check_driver(FacValue driver)
{
    static const char *const drivers[] = {"gels", "gelsy", "gelsd", "gelss"};
    for (int i = 0; i < 4; i++)
        if (!strcmp(driver.v.s, drivers[i])) return FAC_OK;
    return fac_error(FAC_RUNTIME_ERROR,
                     "argument 'driver' must be gels, gelsy, gelsd or gelss, not '%s'", driver.v.s);
}

/* (A, B, rcond, driver) -> (X, rank, singular_values); B has max(m, n) rows. Drivers that find no singular
 * values give vectors of none. */
FacStatus
fac_rule_lstsq(FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0), *b = fac_arg_tensor(call, 1);
    const FacValue driver = FAC_ARG(call, 3);
    FAC_RETURN_IF_ERROR(check_kind(call, 0));
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    const FacDim rows = rows_of(a) > cols_of(a) ? rows_of(a) : cols_of(a);
    if (b->dtype != a->dtype || b->ndim != a->ndim || rows_of(b) != rows ||
        memcmp(a->sizes, b->sizes, (size_t)(a->ndim - 2) * sizeof *a->sizes))
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 1,
                                  "must be a matrix of %lld rows and of dtype %s for each of A",
                                  (long long)rows, fac_dtype_info[a->dtype].name);
    FAC_RETURN_IF_ERROR(check_driver(driver));
    FAC_RETURN_IF_ERROR(
        make_matrices(call, 0, (FacDType)a->dtype, b, rows_of(b), cols_of(b), BY_COLUMNS));
    FAC_RETURN_IF_ERROR(fac_out(call, 1, FAC_DT_I64, a->device, a->ndim - 2, a->sizes));
    const bool wanted = driver.len == 5 && driver.v.s[4] != 'y';
    return make_vectors(call, 2, (FacDType)fac_dtype_info[a->dtype].real, a,
                        wanted ? least_of(a) : 0);
}

/* (A, hermitian, check_errors) -> (LD, pivots, info) */
FacStatus
fac_rule_ldl_factor(FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0);
    FAC_RETURN_IF_ERROR(check_square(call, 0));
    FAC_RETURN_IF_ERROR(
        make_matrices(call, 0, (FacDType)a->dtype, a, rows_of(a), cols_of(a), BY_COLUMNS));
    FAC_RETURN_IF_ERROR(make_vectors(call, 1, FAC_DT_I32, a, rows_of(a)));
    return make_infos(call, 2, a);
}

/* (LD, pivots, B, hermitian) -> X */
FacStatus
fac_rule_ldl_solve(FacCall *call)
{
    const FacTensor *b = fac_arg_tensor(call, 2);
    FAC_RETURN_IF_ERROR(check_square(call, 0));
    FAC_RETURN_IF_ERROR(check_pivots(call));
    FAC_RETURN_IF_ERROR(check_beside(call, 0, 2));
    return make_matrices(call, 0, (FacDType)b->dtype, b, rows_of(b), cols_of(b), BY_COLUMNS);
}

/* (A) -> a matrix like it, by rows */
FacStatus
fac_rule_matrix_exp(FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0);
    FAC_RETURN_IF_ERROR(check_square(call, 0));
    return make_matrices(call, 0, (FacDType)a->dtype, a, rows_of(a), cols_of(a), BY_ROWS);
}
