/* composite_matrix.c - ranks, least squares, powers and norms of matrices, and products of vectors:
 * what needs control flow above factorizations.
 */
#include "dispatch/chain.h"
#include "dispatch/rules.h"

#include <float.h>
#include <math.h>
#include <string.h>

static FacStatus
check_matrix(const FacCall *call, int i, bool square)
{
    const FacTensor *t = fac_arg_tensor(call, i);
    if (t->ndim < 2)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                                  "must have at least 2 dimensions, not %d", t->ndim);
    const FacDim rows = t->sizes[t->ndim - 2], cols = t->sizes[t->ndim - 1];
    if (!square || rows == cols) return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i,
                              "must be batches of square matrices, not of %lld by %lld",
                              (long long)rows, (long long)cols);
}

static double
epsilon(int dtype)
{
    switch (fac_dtype_info[dtype].real) {
    case FAC_DT_F64: return DBL_EPSILON;
    case FAC_DT_F16: return 0x1p-10;
    case FAC_DT_BF16: return 0x1p-7;
    default: return FLT_EPSILON;
    }
}

FacStatus
fac_helper_machine_epsilon(const FacValue *args, FacValue *out)
{
    *out = fac_v_float(epsilon((int)args[0].v.i));
    return FAC_OK;
}

/* --- ranks ---------------------------------------------------------------------------------------------- */

static FacStatus
as_tolerance(Chain *c, FacValue *t)
{
    if (t->tag != FAC_V_TENSOR) return FAC_OK;
    return chain_call(c, FAC_OP_unsqueeze, t, 2, (FacValue[]){*t, fac_v_int(-1)});
}

/* Below which of the sizes s (in a last dimension) a value counts as zero: max(atol, rtol * the largest
 * one). rtol is max(m, n) units in the last place unless one of the two is given. */
static FacStatus
tolerance(Chain *c, const FacTensor *a, FacValue s, FacValue atol, FacValue rtol, FacValue *out)
{
    const FacDim m = a->sizes[a->ndim - 2], n = a->sizes[a->ndim - 1], last = -1;
    const double unit = epsilon(a->dtype) * (double)(m > n ? m : n);
    FacValue most;
    if (rtol.tag == FAC_V_NONE) {
        const bool given =
            atol.tag == FAC_V_TENSOR || (atol.tag != FAC_V_NONE && fac_v_as_float(atol) > 0);
        rtol = fac_v_float(given ? 0 : unit);
        if (given && atol.tag == FAC_V_TENSOR) { /* where it is zero it is not given */
            FacValue zero;
            FAC_RETURN_IF_ERROR(
                chain_call(c, FAC_OP_eq, &zero, 2, (FacValue[]){atol, fac_v_int(0)}));
            FAC_RETURN_IF_ERROR(
                chain_call(c, FAC_OP_mul, &rtol, 2, (FacValue[]){zero, fac_v_float(unit)}));
        }
    }
    if (atol.tag == FAC_V_NONE) atol = fac_v_float(0);
    FAC_RETURN_IF_ERROR(as_tolerance(c, &atol));
    FAC_RETURN_IF_ERROR(as_tolerance(c, &rtol));
    FAC_RETURN_IF_ERROR(chain_call(c, FAC_OP_amax, &most, 3,
                                   (FacValue[]){s, fac_v_ints(&last, 1), fac_v_bool(true)}));
    FAC_RETURN_IF_ERROR(chain_call(c, FAC_OP_mul, &most, 2, (FacValue[]){most, rtol}));
    if (atol.tag == FAC_V_TENSOR)
        return chain_call(c, FAC_OP_maximum, out, 2, (FacValue[]){most, atol});
    return chain_call(c, FAC_OP_clamp, out, 2, (FacValue[]){most, atol});
}

/* (self, atol, rtol, hermitian): V diag(1 / s) U^H of the singular values that count. */
FacStatus
fac_composite_pinv(FacCall *call)
{
    FacValue self = call->args[0], parts[3] = {{0}}, u, s, v, size, limit, x;
    const FacTensor *a = self.v.t;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(check_matrix(call, 0, call->args[3].v.b));
    if (a->numel == 0) {
        CHAIN(transpose, &x, self, fac_v_int(-2), fac_v_int(-1));
        CHAIN(empty_like, &x, x);
        st = chain_give(x, call->results);
        goto done;
    }
    if (call->args[3].v.b) {
        FAC_TRY(fac_call(FAC_OP__linalg_eigh, 1, &self, parts));
        s = parts[0];
        u = v = parts[1];
        CHAIN(abs, &size, s);
    } else {
        FAC_TRY(fac_call(FAC_OP__linalg_svd, 1, &self, parts));
        u = parts[0];
        size = s = parts[1];
        CHAIN(adjoint, &v, parts[2]);
    }
    FAC_TRY(tolerance(&c, a, size, call->args[1], call->args[2], &limit));
    CHAIN(gt, &limit, size, limit);
    CHAIN(reciprocal, &x, s);
    CHAIN(where, &x, limit, x, fac_v_int(0));
    CHAIN(unsqueeze, &x, x, fac_v_int(-2));
    CHAIN(mul, &x, v, x);
    CHAIN(adjoint, &u, u);
    CHAIN(matmul, &x, x, u);
    st = chain_give(x, call->results);
done:
    fac_formula_release(parts, 3);
    chain_end(&c);
    return st;
}

/* (self, tol, hermitian, atol, rtol): tol stands for atol, with rtol 0. */
FacStatus
fac_composite_matrix_rank(FacCall *call)
{
    FacValue self = call->args[0], atol = call->args[3], rtol = call->args[4], s, limit;
    const FacDim last = -1;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(check_matrix(call, 0, call->args[2].v.b));
    if (call->args[1].tag != FAC_V_NONE) {
        atol = call->args[1];
        rtol = fac_v_float(0);
    }
    CHAIN(detach, &self, self);
    if (call->args[2].v.b) {
        CHAIN(linalg_eigvalsh, &s, self);
        CHAIN(abs, &s, s);
    } else {
        CHAIN(linalg_svdvals, &s, self);
    }
    if (s.v.t->sizes[s.v.t->ndim - 1] > 0) {
        FAC_TRY(tolerance(&c, self.v.t, s, atol, rtol, &limit));
        CHAIN(gt, &s, s, limit);
    }
    CHAIN(sum_dim_IntList, &s, s, fac_v_ints(&last, 1), fac_v_bool(false), fac_v_dtype(FAC_DT_I64));
    st = chain_give(s, call->results);
done:
    chain_end(&c);
    return st;
}

/* --- least squares -------------------------------------------------------------------------------------- */

/* (A, B, rcond, driver): LAPACK wants room for the larger one of B and X. */
FacStatus
fac_composite_lstsq_solution(FacCall *call)
{
    FacValue b = call->args[1], x, parts[3] = {{0}};
    const FacTensor *a = fac_arg_tensor(call, 0);
    const FacValue row = fac_v_int(-2), zero = fac_v_int(0);
    FacDim sizes[FAC_MAX_NDIM];
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(check_matrix(call, 0, false));
    FAC_TRY(check_matrix(call, 1, false));
    const FacDim m = a->sizes[a->ndim - 2], n = a->sizes[a->ndim - 1];
    if (m < n) {
        memcpy(sizes, b.v.t->sizes, (size_t)b.v.t->ndim * sizeof *sizes);
        sizes[b.v.t->ndim - 2] = n - m;
        CHAIN(new_zeros, &x, b, fac_v_ints(sizes, b.v.t->ndim));
        FacTensor *both[2] = {b.v.t, x.v.t};
        CHAIN(cat, &b, fac_v_tensors(both, 2), row);
    }
    FAC_TRY(fac_call(FAC_OP__lstsq, 4, (FacValue[]){call->args[0], b, call->args[2], call->args[3]},
                     parts));
    CHAIN(slice, &x, parts[0], row, zero, fac_v_int(n));
    CHAIN(clone, &x, x);
    FAC_TRY(chain_give(x, &call->results[0]));
    fac_formula_move(&parts[1], &call->results[1]);
    fac_formula_move(&parts[2], &call->results[2]);
done:
    fac_formula_release(parts, 3);
    chain_end(&c);
    return st;
}

/* Whether all matrices have full rank: those on meta and inside of transforms count as such. */
static FacStatus
is_full(Chain *c, FacValue rank, FacDim n, bool *yes)
{
    FacValue full;
    *yes = true;
    if (fac_is_meta(rank.v.t) || (rank.v.t->keys & FAC_KEY(TRANSFORM))) return FAC_OK;
    FAC_RETURN_IF_ERROR(chain_call(c, FAC_OP_eq, &full, 2, (FacValue[]){rank, fac_v_int(n)}));
    FAC_RETURN_IF_ERROR(chain_call(c, FAC_OP_all, &full, 1, (FacValue[]){full}));
    *yes = *(const bool *)fac_data(full.v.t);
    return FAC_OK;
}

/* In composite_decompose.c. */
FacStatus fac_helper_matrix_sizes(const FacValue *args, FacValue *out);

/* t with the batch of both. */
static FacStatus
expand_batch(Chain *c, FacValue *t, const FacTensor *other)
{
    FacValue sizes = FAC_VALUE_NONE;
    FacValue args[2] = {fac_v_ints(t->v.t->sizes, t->v.t->ndim),
                        fac_v_ints(other->sizes, other->ndim)};
    FAC_RETURN_IF_ERROR(fac_helper_matrix_sizes(args, &sizes));
    const FacStatus st = chain_call(c, FAC_OP_expand, t, 2, (FacValue[]){*t, sizes});
    fac_formula_release(&sizes, 1);
    return st;
}

/* (self, b, rcond, driver) -> (solution, residuals, rank, singular_values): residuals where there are more
 * rows than columns and the rank is full, ranks of drivers that find them. */
FacStatus
fac_composite_lstsq(FacCall *call)
{
    FacValue a = call->args[0], b = call->args[1], rcond = call->args[2], driver = call->args[3];
    FacValue parts[3] = {{0}}, x, y, residuals, rank, values;
    const FacDim none = 0, row = -2;
    const FacTensor *t = a.v.t;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    if (driver.tag == FAC_V_NONE) driver = fac_v_str("gelsy");
    FAC_TRY(check_matrix(call, 0, false));
    const FacDim m = t->sizes[t->ndim - 2], n = t->sizes[t->ndim - 1];
    const bool vector = b.v.t->ndim == t->ndim - 1;
    if (vector) CHAIN(unsqueeze, &b, b, fac_v_int(-1));
    if (b.v.t->ndim < 2 || b.v.t->sizes[b.v.t->ndim - 2] != m)
        FAC_FAIL(FAC_RUNTIME_ERROR, "argument 'b' must have %lld rows, as the matrix has",
                 (long long)m);
    if (b.v.t->dtype != t->dtype)
        FAC_FAIL(FAC_RUNTIME_ERROR, "'self' and 'b' must have the same dtype, not %s and %s",
                 fac_dtype_info[t->dtype].name, fac_dtype_info[b.v.t->dtype].name);
    FAC_TRY(expand_batch(&c, &a, b.v.t));
    FAC_TRY(expand_batch(&c, &b, a.v.t));
    if (rcond.tag == FAC_V_NONE) rcond = fac_v_float(epsilon(t->dtype) * (double)(m > n ? m : n));
    FAC_TRY(fac_call(FAC_OP__lstsq_solution, 4, (FacValue[]){a, b, rcond, driver}, parts));
    /* without residuals an empty part of the solution, so that they have a gradient as it has */
    CHAIN(slice, &y, parts[0], fac_v_int(row), fac_v_int(0), fac_v_int(0));
    CHAIN(reshape, &y, y, fac_v_ints(&none, 1));
    CHAIN(abs, &residuals, y);
    bool with_residuals = m > n && driver.v.s[driver.len - 1] != 'y';
    if (with_residuals && driver.len == 5) FAC_TRY(is_full(&c, parts[1], n, &with_residuals));
    if (with_residuals) {
        CHAIN(matmul, &y, a, parts[0]);
        CHAIN(sub, &y, y, b);
        CHAIN(abs, &y, y);
        CHAIN(square, &y, y);
        CHAIN(sum_dim_IntList, &residuals, y, fac_v_ints(&row, 1));
    }
    rank = parts[1];
    values = parts[2];
    if (driver.len == 4) CHAIN(new_empty, &rank, rank, fac_v_ints(&none, 1));
    if (driver.len == 4 || driver.v.s[4] == 'y')
        CHAIN(new_empty, &values, values, fac_v_ints(&none, 1));
    x = parts[0];
    if (vector) CHAIN(squeeze_dim, &x, x, fac_v_int(-1));
    FAC_TRY(chain_give(x, &call->results[0]));
    FAC_TRY(chain_give(residuals, &call->results[1]));
    FAC_TRY(chain_give(rank, &call->results[2]));
    FAC_TRY(chain_give(values, &call->results[3]));
done:
    fac_formula_release(parts, 3);
    chain_end(&c);
    return st;
}

/* --- functions of matrices ------------------------------------------------------------------------------ */

FacStatus
fac_composite_matrix_power(FacCall *call)
{
    FacValue base = call->args[0], x = FAC_VALUE_NONE, eye;
    const FacTensor *a = base.v.t;
    const int64_t power = call->args[1].v.i;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(check_matrix(call, 0, true));
    uint64_t n = power < 0 ? 0 - (uint64_t)power : (uint64_t)power;
    if (n >= UINT64_C(1) << 20) FAC_FAIL(FAC_RUNTIME_ERROR, "a power of at most 2^20 is wanted");
    if (n == 0) { /* the identity and nothing of the matrix: its gradient is zero, not missing */
        const FacValue size = fac_v_int(a->sizes[a->ndim - 1]);
        CHAIN(eye, &eye, size, fac_v_dtype(a->dtype), FAC_VALUE_NONE, fac_v_device(a->device));
        CHAIN(triu, &x, base, size);
        CHAIN(add, &x, x, eye);
    }
    if (power < 0) CHAIN(linalg_inv, &base, base);
    for (; n; n >>= 1) {
        if (n & 1 && x.tag == FAC_V_NONE)
            x = base;
        else if (n & 1)
            CHAIN(matmul, &x, x, base);
        if (n > 1) CHAIN(matmul, &base, base, base);
    }
    if (power == 1) CHAIN(clone, &x, x);
    st = chain_give(x, call->results);
done:
    chain_end(&c);
    return st;
}

enum { MOST_FACTORS = 16 };

/* The product of factors [i, j]: split[i][j] is the last of the left part. */
static FacStatus
multiply_range(Chain *c, FacTensor *const *t, int (*split)[MOST_FACTORS], int i, int j,
               FacValue *out)
{
    FacValue left, right;
    if (i == j) {
        *out = fac_v_tensor(t[i]);
        return FAC_OK;
    }
    FAC_RETURN_IF_ERROR(multiply_range(c, t, split, i, split[i][j], &left));
    FAC_RETURN_IF_ERROR(multiply_range(c, t, split, split[i][j] + 1, j, &right));
    return chain_call(c, FAC_OP_matmul, out, 2, (FacValue[]){left, right});
}

/* The split of each range that takes the fewest multiplications, shorter ranges first. */
static void
plan_ranges(int n, const FacDim *sides, int (*split)[MOST_FACTORS])
{
    double cost[MOST_FACTORS][MOST_FACTORS] = {{0}};
    for (int length = 1; length < n; length++)
        for (int i = 0; i + length < n; i++) {
            const int j = i + length;
            cost[i][j] = INFINITY;
            for (int k = i; k < j; k++) {
                const double each = (double)sides[i] * (double)sides[k + 1] * (double)sides[j + 1];
                const double all = cost[i][k] + cost[k + 1][j] + each;
                if (!(all < cost[i][j])) continue;
                cost[i][j] = all;
                split[i][j] = k;
            }
        }
}

FacStatus
fac_composite_multi_dot(FacCall *call)
{
    const FacValue list = call->args[0];
    const int n = (int)list.len;
    FacTensor *t[MOST_FACTORS];
    FacDim sides[MOST_FACTORS + 1];
    int split[MOST_FACTORS][MOST_FACTORS] = {{0}};
    FacValue x;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    if (n < 2 || n > MOST_FACTORS)
        return fac_error(FAC_RUNTIME_ERROR, "expected 2 to %d tensors but got %d", MOST_FACTORS, n);
    const bool row = list.v.tensors[0]->ndim == 1, column = list.v.tensors[n - 1]->ndim == 1;
    for (int i = 0; i < n; i++) {
        x = fac_v_tensor(list.v.tensors[i]);
        if (i == 0 && row) CHAIN(unsqueeze, &x, x, fac_v_int(0));
        if (i == n - 1 && column) CHAIN(unsqueeze, &x, x, fac_v_int(1));
        t[i] = x.v.t;
        if (t[i]->ndim != 2)
            FAC_FAIL(FAC_RUNTIME_ERROR, "tensor %d must be a matrix%s, and has %d dimensions", i,
                     i == 0 || i == n - 1 ? " or a vector" : "", list.v.tensors[i]->ndim);
        if (i && t[i]->sizes[0] != sides[i])
            FAC_FAIL(FAC_RUNTIME_ERROR, "tensors %d and %d cannot be multiplied (%lld and %lld)",
                     i - 1, i, (long long)sides[i], (long long)t[i]->sizes[0]);
        sides[i] = t[i]->sizes[0];
        sides[i + 1] = t[i]->sizes[1];
    }
    plan_ranges(n, sides, split);
    FAC_TRY(multiply_range(&c, t, split, 0, n - 1, &x));
    if (row) CHAIN(squeeze_dim, &x, x, fac_v_int(0));
    if (column) CHAIN(squeeze_dim, &x, x, fac_v_int(-1));
    st = chain_give(x, call->results);
done:
    chain_end(&c);
    return st;
}

static FacDim
product_of(const FacDim *sizes, int n)
{
    FacDim product = 1;
    for (int i = 0; i < n; i++) product = fac_stride_product(product, sizes[i]);
    return product;
}

FacStatus
fac_composite_tensorinv(FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0);
    const int64_t ind = call->args[1].v.i;
    FacDim sizes[FAC_MAX_NDIM];
    FacValue x;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    if (ind <= 0)
        return fac_error(FAC_RUNTIME_ERROR, "expected a strictly positive integer for 'ind'");
    const int n = a->ndim, k = ind < n ? (int)ind : n;
    const FacDim rows = product_of(a->sizes, k), cols = product_of(a->sizes + k, n - k);
    if (rows != cols)
        return fac_error(
            FAC_RUNTIME_ERROR,
            "expected the product of the sizes of the first %d dimensions, %lld, to be "
            "that of the others, %lld",
            k, (long long)rows, (long long)cols);
    const FacDim square[2] = {rows, cols};
    memcpy(sizes, a->sizes + k, (size_t)(n - k) * sizeof *sizes);
    memcpy(sizes + n - k, a->sizes, (size_t)k * sizeof *sizes);
    CHAIN(reshape, &x, call->args[0], fac_v_ints(square, 2));
    CHAIN(linalg_inv, &x, x);
    CHAIN(reshape, &x, x, fac_v_ints(sizes, n));
    st = chain_give(x, call->results);
done:
    chain_end(&c);
    return st;
}

/* (self, other, dims) */
FacStatus
fac_composite_tensorsolve(FacCall *call)
{
    FacValue a = call->args[0], b = call->args[1], dims = call->args[2], x;
    FacDim to[FAC_MAX_NDIM];
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    if (dims.tag != FAC_V_NONE) {
        if (dims.len > FAC_MAX_NDIM) FAC_FAIL(FAC_RUNTIME_ERROR, "got %u dims", dims.len);
        for (uint32_t i = 0; i < dims.len; i++) to[i] = (FacDim)i - (FacDim)dims.len;
        CHAIN(movedim, &a, a, dims, fac_v_ints(to, (int)dims.len));
    }
    const FacTensor *t = a.v.t;
    const int n = b.v.t->ndim;
    if (n > t->ndim) FAC_FAIL(FAC_RUNTIME_ERROR, "'other' has more dimensions than 'self'");
    const FacDim rows = product_of(t->sizes, n), cols = product_of(t->sizes + n, t->ndim - n);
    if (rows != cols)
        FAC_FAIL(FAC_RUNTIME_ERROR,
                 "expected 'self' to be a square matrix over the dimensions of 'other', not %lld "
                 "by %lld",
                 (long long)rows, (long long)cols);
    const FacDim square[2] = {rows, cols};
    const FacDim rest[1] = {-1};
    CHAIN(reshape, &x, a, fac_v_ints(square, 2));
    CHAIN(reshape, &b, b, fac_v_ints(rest, 1));
    CHAIN(linalg_solve, &x, x, b);
    CHAIN(reshape, &x, x, fac_v_ints(t->sizes + n, t->ndim - n));
    st = chain_give(x, call->results);
done:
    chain_end(&c);
    return st;
}

/* (x, N): ones, and cumulative products. */
FacStatus
fac_composite_vander(FacCall *call)
{
    FacValue x = call->args[0], ones, y;
    const FacTensor *t = x.v.t;
    FacDim sizes[FAC_MAX_NDIM];
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    if (t->ndim == 0) {
        CHAIN(unsqueeze, &x, x, fac_v_int(0));
        t = x.v.t;
    }
    const int n = t->ndim;
    const int64_t count = call->args[1].tag == FAC_V_NONE ? t->sizes[n - 1] : call->args[1].v.i;
    if (count < 2 && call->args[1].tag != FAC_V_NONE)
        FAC_FAIL(FAC_RUNTIME_ERROR, "N must be greater than 1");
    FAC_TRY(fac_check_ndim(n + 1));
    memcpy(sizes, t->sizes, (size_t)n * sizeof *sizes);
    sizes[n] = 1;
    const FacDType dtype = FAC_IS_INT(t->dtype) || t->dtype == FAC_DT_BOOL ? FAC_DT_I64 : t->dtype;
    CHAIN(new_ones, &ones, x, fac_v_ints(sizes, n + 1), fac_v_dtype(dtype));
    sizes[n] = count > 0 ? count - 1 : 0;
    CHAIN(unsqueeze, &y, x, fac_v_int(-1));
    CHAIN(expand, &y, y, fac_v_ints(sizes, n + 1));
    CHAIN(cumprod, &y, y, fac_v_int(-1));
    FacTensor *both[2] = {ones.v.t, y.v.t};
    CHAIN(cat, &y, fac_v_tensors(both, 2), fac_v_int(-1));
    st = chain_give(y, call->results);
done:
    chain_end(&c);
    return st;
}

/* --- norms ---------------------------------------------------------------------------------------------- */

/* The largest (order > 0) or least of x, which is not negative, over a dim that is kept; of nothing 0 is the
 * largest. */
static FacStatus
extreme(Chain *c, FacValue x, double order, FacDim dim, FacValue *out)
{
    const FacTensor *t = x.v.t;
    const bool none = t->sizes[dim < 0 ? dim + t->ndim : dim] == 0;
    const FacOp *op = order < 0 ? FAC_OP_amin : none ? FAC_OP_sum_dim_IntList : FAC_OP_amax;
    return chain_call(c, op, out, 3, (FacValue[]){x, fac_v_ints(&dim, 1), fac_v_bool(true)});
}

/* A matrix norm by number over the dims d[0], d[1]; they are kept. */
static FacStatus
extreme_norm(Chain *c, FacValue self, double order, const int *d, FacValue *out)
{
    const FacDim from[2] = {d[0], d[1]}, to[2] = {-2, -1};
    const FacValue keep = fac_v_bool(true), last = fac_v_int(-1);
    FacValue x;
    if (fabs(order) == 2) {
        FAC_RETURN_IF_ERROR(chain_call(c, FAC_OP_movedim, &x, 3,
                                       (FacValue[]){self, fac_v_ints(from, 2), fac_v_ints(to, 2)}));
        FAC_RETURN_IF_ERROR(chain_call(c, FAC_OP_linalg_svdvals, &x, 1, (FacValue[]){x}));
        FAC_RETURN_IF_ERROR(extreme(c, x, order, -1, &x));
        FAC_RETURN_IF_ERROR(chain_call(c, FAC_OP_unsqueeze, &x, 2, (FacValue[]){x, last}));
        return chain_call(c, FAC_OP_movedim, out, 3,
                          (FacValue[]){x, fac_v_ints(to, 2), fac_v_ints(from, 2)});
    }
    const int summed = fabs(order) == 1 ? 0 : 1;
    FAC_RETURN_IF_ERROR(
        chain_call(c, FAC_OP_linalg_vector_norm, &x, 4,
                   (FacValue[]){self, fac_v_int(1), fac_v_ints(&from[summed], 1), keep}));
    return extreme(c, x, order, from[1 - summed], out);
}

/* (self, ord, dim, keepdim, dtype) */
FacStatus
fac_composite_matrix_norm(FacCall *call)
{
    FacValue self = call->args[0], dims = call->args[2], x;
    const double order = fac_v_as_float(call->args[1]);
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    int d[2];
    FAC_TRY(check_matrix(call, 0, false));
    if (dims.len != 2) FAC_FAIL(FAC_RUNTIME_ERROR, "dim must be a 2-tuple, got %u dims", dims.len);
    for (int i = 0; i < 2; i++) FAC_TRY(fac_wrap_dim(dims.v.ints[i], self.v.t->ndim, &d[i]));
    if (d[0] == d[1]) FAC_FAIL(FAC_RUNTIME_ERROR, "dims must be different, got %d twice", d[0]);
    if (fabs(order) != 1 && fabs(order) != 2 && !isinf(order))
        FAC_FAIL(FAC_RUNTIME_ERROR, "order %g not supported", order);
    if (FAC_IS_INT(self.v.t->dtype) || self.v.t->dtype == FAC_DT_BOOL)
        FAC_FAIL(FAC_RUNTIME_ERROR, "expected a floating point or complex tensor as input, got %s",
                 fac_dtype_info[self.v.t->dtype].name);
    if (call->args[4].tag != FAC_V_NONE) CHAIN(_to_copy, &self, self, call->args[4]);
    FAC_TRY(extreme_norm(&c, self, order, d, &x));
    if (!call->args[3].v.b) CHAIN(squeeze_dims, &x, x, dims);
    st = chain_give(x, call->results);
done:
    chain_end(&c);
    return st;
}

/* (self, ord, dim, keepdim, dtype): of vectors or of matrices. */
FacStatus
fac_composite_linalg_norm(FacCall *call)
{
    FacValue args[5] = {call->args[0], call->args[1], call->args[2], call->args[3], call->args[4]};
    const FacDim last[2] = {-2, -1};
    const int ndim = args[0].v.t->ndim;
    const bool ordered = args[1].tag != FAC_V_NONE, chosen = args[2].tag != FAC_V_NONE;
    const uint32_t count = args[2].tag == FAC_V_INT ? 1 : args[2].len;
    if (ordered && chosen && count != 1 && count != 2)
        return fac_error(FAC_RUNTIME_ERROR,
                         "if dim is specified, it must be of length 1 or 2, not %u", count);
    if (ordered && !chosen && ndim != 1 && ndim != 2)
        return fac_error(FAC_RUNTIME_ERROR,
                         "if dim is not specified but ord is, the input must be 1D or 2D, not %dD",
                         ndim);
    if (ordered && (chosen ? count == 2 : ndim == 2)) {
        if (!chosen) args[2] = fac_v_ints(last, 2);
        return fac_call(FAC_OP_linalg_matrix_norm, 5, args, call->results);
    }
    if (!ordered) args[1] = fac_v_int(2);
    return fac_call(FAC_OP_linalg_vector_norm, 5, args, call->results);
}

/* (self, p): by singular values for 2 and -2, else the norm times that of the inverse, which is infinite for
 * singular matrices. */
FacStatus
fac_composite_cond(FacCall *call)
{
    FacValue self = call->args[0], p = call->args[1], parts[2] = {{0}}, x, y;
    const double order = p.tag == FAC_V_NONE ? 2 : fac_v_as_float(p);
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(check_matrix(call, 0, fabs(order) != 2));
    if (self.v.t->numel == 0) {
        CHAIN(new_zeros, &x, self, fac_v_ints(self.v.t->sizes, self.v.t->ndim - 2),
              fac_v_dtype(fac_dtype_info[self.v.t->dtype].real));
    } else if (fabs(order) == 2) {
        CHAIN(linalg_svdvals, &x, self);
        CHAIN(select, &y, x, fac_v_int(-1), fac_v_int(order > 0 ? -1 : 0));
        CHAIN(select, &x, x, fac_v_int(-1), fac_v_int(order > 0 ? 0 : -1));
        CHAIN(div, &x, x, y);
    } else {
        FAC_TRY(fac_call(FAC_OP_linalg_inv_ex, 1, &self, parts));
        CHAIN(linalg_matrix_norm, &x, self, p);
        CHAIN(linalg_matrix_norm, &y, parts[0], p);
        CHAIN(mul, &x, x, y);
        CHAIN(gt, &y, parts[1], fac_v_int(0));
        CHAIN(masked_fill, &x, x, y, fac_v_float(INFINITY));
    }
    st = chain_give(x, call->results);
done:
    fac_formula_release(parts, 2);
    chain_end(&c);
    return st;
}

/* --- vector products ------------------------------------------------------------------------------------ */

/* With a turned by one and by two places, a1 * b2 - a2 * b1; both broadcast. */
static FacStatus
cross(FacCall *call, int64_t dim)
{
    FacValue a = call->args[0], b = call->args[1], parts[2][2], x, y;
    FacValue pair[2] = {a, b};
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    const FacDim shifts[2] = {-1, -2};
    int at;
    if (a.v.t->ndim != b.v.t->ndim)
        FAC_FAIL(FAC_RUNTIME_ERROR, "inputs must have the same number of dimensions, not %d and %d",
                 a.v.t->ndim, b.v.t->ndim);
    FAC_TRY(fac_wrap_dim(dim, a.v.t->ndim, &at));
    if (a.v.t->ndim == 0 || a.v.t->sizes[at] != 3 || b.v.t->sizes[at] != 3)
        FAC_FAIL(FAC_RUNTIME_ERROR, "inputs dimension %d must have length 3", at);
    const FacDim axis = at;
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++)
            CHAIN(roll, &parts[i][k], pair[i], fac_v_ints(&shifts[k], 1), fac_v_ints(&axis, 1));
    CHAIN(mul, &x, parts[0][0], parts[1][1]);
    CHAIN(mul, &y, parts[0][1], parts[1][0]);
    CHAIN(sub, &x, x, y);
    st = chain_give(x, call->results);
done:
    chain_end(&c);
    return st;
}

FacStatus
fac_composite_cross(FacCall *call)
{
    return cross(call, call->args[2].v.i);
}

FacStatus
fac_composite_cross_any(FacCall *call)
{
    const FacTensor *a = fac_arg_tensor(call, 0);
    int dim = 0;
    if (call->args[2].tag != FAC_V_NONE) return cross(call, call->args[2].v.i);
    while (dim < a->ndim && a->sizes[dim] != 3) dim++;
    if (dim == a->ndim) return fac_error(FAC_RUNTIME_ERROR, "no dimension of size 3 in input");
    return cross(call, dim);
}
