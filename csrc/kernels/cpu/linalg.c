/* linalg.c - the inverse of float32 and float64 matrices, blocked on the product.
 *
 * LAPACK factors what it reads by columns, the transposed matrix: so by rows there is A = L U P^T, U
 * with a unit diagonal. The inverse P U^-1 L^-1 is taken by rows of blocks: the inverses of the blocks
 * on the diagonals by substitution, everything else as products.
 */
#include "kernels/blas.h"
#include "kernels/cpu/gemm.h"

#include <string.h>

#pragma GCC optimize("fp-contract=fast")

enum { BLOCK = 64 };

typedef void (*Getrf)(const int *m, const int *n, void *a, const int *lda, int *pivots, int *info);

/* The inverses of an n x n block of L and of U, rows of `step` elements, to rows of BLOCK; and the rows
 * of a matrix in the order that the pivots (from 1) ask for. */
#define INVERSE(DT, T)                                                                             \
    static void lower_##DT(const T *l, int64_t step, int64_t n, T *to)                             \
    {                                                                                              \
        memset(to, 0, BLOCK * BLOCK * sizeof(T));                                                  \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const T scale = 1 / l[i * step + i];                                                   \
            T *row = to + i * BLOCK;                                                               \
            for (int64_t k = 0; k < i; k++) {                                                      \
                const T x = l[i * step + k] * scale;                                               \
                for (int64_t j = 0; j <= k; j++) row[j] -= x * to[k * BLOCK + j];                  \
            }                                                                                      \
            row[i] = scale;                                                                        \
        }                                                                                          \
    }                                                                                              \
    static void upper_##DT(const T *u, int64_t step, int64_t n, T *to)                             \
    {                                                                                              \
        memset(to, 0, BLOCK * BLOCK * sizeof(T));                                                  \
        for (int64_t i = n - 1; i >= 0; i--) {                                                     \
            T *row = to + i * BLOCK;                                                               \
            row[i] = 1;                                                                            \
            for (int64_t k = i + 1; k < n; k++) {                                                  \
                const T x = u[i * step + k];                                                       \
                for (int64_t j = k; j < n; j++) row[j] -= x * to[k * BLOCK + j];                   \
            }                                                                                      \
        }                                                                                          \
    }
INVERSE(F32, float)
INVERSE(F64, double)
#undef INVERSE

typedef struct Inverse {
    FacDType dtype;
    int64_t n, size;
    char *factors, *result, *block, *rows; /* n x n, n x n, BLOCK x BLOCK, BLOCK x n */
} Inverse;

/* C = alpha A B + D (or NULL) for matrices by rows, of m x k and k x n. */
static FacStatus
multiply(const Inverse *v, int64_t m, int64_t k, int64_t n, const char *a, int64_t a_row,
         const char *b, double alpha, char *c, const char *add)
{
    const FacGemm g = {.dtype = v->dtype,
                       .m = m,
                       .n = n,
                       .k = k,
                       .a = a,
                       .a_row = a_row,
                       .a_col = 1,
                       .b = b,
                       .b_row = v->n,
                       .b_col = 1,
                       .c = c,
                       .c_row = v->n,
                       .add = add,
                       .add_row = v->n,
                       .add_col = 1,
                       .scale = alpha != 1,
                       .alpha = {alpha, 0},
                       .beta = {1, 0}};
    return FAC_TIERED(gemm)(&g);
}

/* result = L^-1: rows [i, i + m) are the inverse of the block on the diagonal,
 * and minus it times L result. */
static FacStatus
invert_lower(const Inverse *v)
{
    const int64_t row = v->n * v->size;
    memset(v->result, 0, (size_t)(v->n * row));
    for (int64_t i = 0; i < v->n; i += BLOCK) {
        const int64_t m = v->n - i < BLOCK ? v->n - i : BLOCK;
        const char *line = v->factors + i * row;
        if (v->dtype == FAC_DT_F32)
            lower_F32((const float *)line + i, v->n, m, (float *)v->block);
        else
            lower_F64((const double *)line + i, v->n, m, (double *)v->block);
        char *to = v->result + i * row;
        if (i) {
            FAC_RETURN_IF_ERROR(multiply(v, m, i, i, line, v->n, v->result, 1, v->rows, NULL));
            FAC_RETURN_IF_ERROR(multiply(v, m, m, i, v->block, BLOCK, v->rows, -1, to, NULL));
        }
        for (int64_t r = 0; r < m; r++)
            memcpy(to + r * row + i * v->size, v->block + r * BLOCK * v->size,
                   (size_t)(m * v->size));
    }
    return FAC_OK;
}

/* result = U^-1 result. */
static FacStatus
solve_upper(const Inverse *v)
{
    const int64_t row = v->n * v->size;
    for (int64_t i = (v->n - 1) / BLOCK * BLOCK; i >= 0; i -= BLOCK) {
        const int64_t m = v->n - i < BLOCK ? v->n - i : BLOCK, after = v->n - i - m;
        const char *line = v->factors + i * row;
        char *to = v->result + i * row;
        if (v->dtype == FAC_DT_F32)
            upper_F32((const float *)line + i, v->n, m, (float *)v->block);
        else
            upper_F64((const double *)line + i, v->n, m, (double *)v->block);
        if (after)
            FAC_RETURN_IF_ERROR(multiply(v, m, after, v->n, line + (i + m) * v->size, v->n,
                                         v->result + (i + m) * row, -1, v->rows, to));
        else
            memcpy(v->rows, to, (size_t)(m * row));
        FAC_RETURN_IF_ERROR(multiply(v, m, m, v->n, v->block, BLOCK, v->rows, 1, to, NULL));
    }
    return FAC_OK;
}

static void
swap_rows(const Inverse *v, const int *pivots)
{
    const size_t row = (size_t)(v->n * v->size);
    for (int64_t i = v->n - 1; i >= 0; i--) {
        char *a = v->result + (size_t)i * row, *b = v->result + (size_t)(pivots[i] - 1) * row;
        if (a == b) continue;
        memcpy(v->rows, a, row);
        memcpy(a, b, row);
        memcpy(b, v->rows, row);
    }
}

/* (A, check_errors) -> (inverse, info). */
FacStatus
FAC_KERNEL(linalg_inv_ex)(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *out = fac_result_tensor(call, 0), *factors = NULL;
    const int64_t n = a->sizes[a->ndim - 1], area = n * n;
    const FacDType dtype = (FacDType)a->dtype;
    int32_t *infos = fac_data(fac_result_tensor(call, 1));
    int *pivots = NULL;
    Getrf getrf;
    FacStatus st = FAC_OK;
    if (area == 0 || n > INT32_MAX / 64 || (dtype != FAC_DT_F32 && dtype != FAC_DT_F64))
        return fac_k_linalg_inv_ex(call);
    Inverse v = {.dtype = dtype, .n = n, .size = fac_dtype_size(dtype)};
    FAC_TRY(fac_blas_symbol(dtype == FAC_DT_F32 ? "sgetrf_" : "dgetrf_", (void **)&getrf));
    FAC_TRY(fac_tensor_copy(out, a));
    const FacDim scratch[1] = {area + BLOCK * BLOCK + BLOCK * n};
    FAC_TRY(fac_tensor_new(dtype, out->device, 1, scratch, &factors));
    pivots = fac_mem_alloc((size_t)n * sizeof *pivots);
    if (!pivots) FAC_FAIL(FAC_MEMORY_ERROR, "no memory for %lld pivots", (long long)n);
    v.factors = fac_data(factors);
    v.block = v.factors + area * v.size;
    v.rows = v.block + BLOCK * BLOCK * v.size;
    v.result = fac_data(out);
    for (int64_t i = 0; i < out->numel / area; i++, v.result += area * v.size) {
        const int lda = (int)n;
        int info = 0;
        memcpy(v.factors, v.result, (size_t)(area * v.size));
        getrf(&lda, &lda, v.factors, &lda, pivots, &info);
        infos[i] = info;
        if (info) continue;
        FAC_TRY(invert_lower(&v));
        FAC_TRY(solve_upper(&v));
        swap_rows(&v, pivots);
    }
    if (fac_v_is_true(FAC_ARG(call, 1))) FAC_TRY(fac_lapack_check(fac_result_tensor(call, 1)));
done:
    fac_tensor_release(factors);
    fac_mem_free(pivots);
    return st;
}
