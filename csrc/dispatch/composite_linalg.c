/* composite_linalg.c - products whose shapes need control flow: matmul, tensordot, einsum and the
 * like are views around one mm, mv, dot or bmm.
 *
 * Helpers named *_to replace a tensor by another look at it: they release the old reference and
 * leave it alone on failure.
 */
#include "dispatch/rules.h"
#include "generated/ops.h"

#include <string.h>

static void
replace(FacTensor **t, FacTensor *by)
{
    fac_tensor_release(*t);
    *t = by;
}

static FacStatus
reshape_to(FacTensor **t, int n, const FacDim *sizes)
{
    FacTensor *out;
    FAC_RETURN_IF_ERROR(fac_op_reshape(*t, fac_v_ints(sizes, n), &out));
    replace(t, out);
    return FAC_OK;
}

static FacStatus
permute_to(FacTensor **t, int n, const FacDim *dims)
{
    FacTensor *out;
    FAC_RETURN_IF_ERROR(fac_op_permute(*t, fac_v_ints(dims, n), &out));
    replace(t, out);
    return FAC_OK;
}

static FacStatus
expand_to(FacTensor **t, int n, const FacDim *sizes)
{
    FacTensor *out;
    FAC_RETURN_IF_ERROR(fac_op_expand(*t, fac_v_ints(sizes, n), false, &out));
    replace(t, out);
    return FAC_OK;
}

static FacStatus
give(FacCall *call, FacTensor *out)
{
    call->results[0] = fac_v_tensor(out);
    return FAC_OK;
}

static FacDim
product_of(const FacDim *sizes, int n)
{
    FacDim product = 1;
    for (int i = 0; i < n; i++) product = fac_stride_product(product, sizes[i]);
    return product;
}

/* --- matmul ------------------------------------------------------------------------------------------- */

/* Leading dims of `a` folded into rows; b is a matrix or a vector. */
static FacStatus
matmul_folded(FacTensor *a, FacTensor *b, FacTensor **out)
{
    FacTensor *rows = fac_tensor_retain(a), *product = NULL;
    const int lead = a->ndim - 1;
    FacDim sizes[FAC_MAX_NDIM];
    FacStatus st = FAC_OK;
    memcpy(sizes, a->sizes, (size_t)lead * sizeof *sizes);
    FAC_TRY(reshape_to(&rows, 2, (FacDim[]){product_of(sizes, lead), a->sizes[lead]}));
    if (b->ndim == 2)
        FAC_TRY(fac_op_mm(rows, b, &product));
    else
        FAC_TRY(fac_op_mv(rows, b, &product));
    if (b->ndim == 2) sizes[lead] = b->sizes[1];
    FAC_TRY(reshape_to(&product, lead + (b->ndim == 2), sizes));
    *out = product;
    product = NULL;
done:
    fac_tensor_release(rows);
    fac_tensor_release(product);
    return st;
}

/* t as [batch, rows, columns], its own batch dims broadcast to the n that are given. */
static FacStatus
to_batch(FacTensor **t, int n, const FacDim *batch)
{
    FacDim sizes[FAC_MAX_NDIM];
    memcpy(sizes, batch, (size_t)n * sizeof *sizes);
    sizes[n] = (*t)->sizes[(*t)->ndim - 2];
    sizes[n + 1] = (*t)->sizes[(*t)->ndim - 1];
    FAC_RETURN_IF_ERROR(expand_to(t, n + 2, sizes));
    return reshape_to(t, 3, (FacDim[]){product_of(batch, n), sizes[n], sizes[n + 1]});
}

/* Batches broadcast against each other; a vector is a row on the left, a column on the right. */
static FacStatus
matmul_batched(FacTensor *a, FacTensor *b, FacTensor **out)
{
    FacTensor *x = NULL, *y = NULL, *product = NULL;
    const bool row = a->ndim == 1, column = b->ndim == 1;
    FacDim sizes[FAC_MAX_NDIM];
    int n;
    FacStatus st = FAC_OK;
    if (row)
        FAC_TRY(fac_op_unsqueeze(a, 0, &x));
    else
        x = fac_tensor_retain(a);
    if (column)
        FAC_TRY(fac_op_unsqueeze(b, 1, &y));
    else
        y = fac_tensor_retain(b);
    n = x->ndim - 2;
    memcpy(sizes, x->sizes, (size_t)n * sizeof *sizes);
    FAC_TRY(fac_broadcast(&n, sizes, y->ndim - 2, y->sizes));
    FAC_TRY(to_batch(&x, n, sizes));
    FAC_TRY(to_batch(&y, n, sizes));
    FAC_TRY(fac_op_bmm(x, y, &product));
    if (!row) sizes[n++] = x->sizes[1];
    if (!column) sizes[n++] = y->sizes[2];
    FAC_TRY(reshape_to(&product, n, sizes));
    *out = product;
    product = NULL;
done:
    fac_tensor_release(x);
    fac_tensor_release(y);
    fac_tensor_release(product);
    return st;
}

/* a @ b = (b^T @ a^T)^T with the dims of b folded: no gradient of an expanded a has to be summed. */
static FacStatus
matmul_turned(FacTensor *a, FacTensor *b, FacTensor **out)
{
    FacTensor *bt = NULL, *at = NULL, *product = NULL;
    FacStatus st = FAC_OK;
    FAC_TRY(fac_op_transpose(b, -2, -1, &bt));
    if (a->ndim == 1) {
        FAC_TRY(matmul_folded(bt, a, out));
        goto done;
    }
    FAC_TRY(fac_op_t(a, &at));
    FAC_TRY(matmul_folded(bt, at, &product));
    FAC_TRY(fac_op_transpose(product, -2, -1, out));
done:
    fac_tensor_release(bt);
    fac_tensor_release(at);
    fac_tensor_release(product);
    return st;
}

FacStatus
fac_composite_matmul(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *b = fac_arg_tensor(call, 1), *out = NULL, *turned;
    const bool real = !FAC_IS_COMPLEX(a->dtype); /* the bits of complex products depend on sides */
    if (a->ndim == 0 || b->ndim == 0)
        return fac_error(
            FAC_RUNTIME_ERROR,
            "both arguments to matmul need to be at least 1D, but they are %dD and %dD", a->ndim,
            b->ndim);
    if (a->ndim == 2 && b->ndim == 2) {
        FAC_RETURN_IF_ERROR(fac_op_mm(a, b, &out));
    } else if (a->ndim == 1 && b->ndim == 1) {
        FAC_RETURN_IF_ERROR(fac_op_dot(a, b, &out));
    } else if (a->ndim == 2 && b->ndim == 1) {
        FAC_RETURN_IF_ERROR(fac_op_mv(a, b, &out));
    } else if (a->ndim == 1 && b->ndim == 2 && real) {
        FAC_RETURN_IF_ERROR(fac_op_t(b, &turned));
        const FacStatus st = fac_op_mv(turned, a, &out);
        fac_tensor_release(turned);
        FAC_RETURN_IF_ERROR(st);
    } else if (b->ndim <= 2 && a->ndim > 2) {
        FAC_RETURN_IF_ERROR(matmul_folded(a, b, &out));
    } else if (a->ndim <= 2 && b->ndim > 2 && real && (a->keys & FAC_KEY(GRAD))) {
        FAC_RETURN_IF_ERROR(matmul_turned(a, b, &out));
    } else {
        FAC_RETURN_IF_ERROR(matmul_batched(a, b, &out));
    }
    return give(call, out);
}

/* --- products of vectors and matrices ------------------------------------------------------------------- */

static FacStatus
check_vector(const FacCall *call, int i)
{
    const FacTensor *t = fac_arg_tensor(call, i);
    if (t->ndim == 1) return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must be 1-D, not %d-D", t->ndim);
}

static FacStatus
outer(FacTensor *a, FacTensor *b, FacTensor **out)
{
    FacTensor *column;
    FAC_RETURN_IF_ERROR(fac_op_unsqueeze(a, 1, &column));
    const FacStatus st = fac_op_mul(fac_v_tensor(column), fac_v_tensor(b), out);
    fac_tensor_release(column);
    return st;
}

FacStatus
fac_composite_outer(FacCall *call)
{
    FacTensor *out;
    FAC_RETURN_IF_ERROR(check_vector(call, 0));
    FAC_RETURN_IF_ERROR(check_vector(call, 1));
    FAC_RETURN_IF_ERROR(outer(fac_arg_tensor(call, 0), fac_arg_tensor(call, 1), &out));
    return give(call, out);
}

static bool
is_number(FacValue v, double what)
{
    double c[2];
    fac_v_as_complex(v, c);
    return c[0] == what && c[1] == 0;
}

/* t * factor, or t itself for the factor 1; a bool tensor stays one. */
static FacStatus
scaled(FacTensor *t, FacValue factor, FacTensor **out)
{
    if (t->dtype == FAC_DT_BOOL) factor = fac_v_bool(fac_v_is_true(factor));
    if (!is_number(factor, 1)) return fac_op_mul(fac_v_tensor(t), factor, out);
    *out = fac_tensor_retain(t);
    return FAC_OK;
}

FacStatus
fac_composite_addr(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *product = NULL, *more = NULL, *base = NULL;
    FacTensor *out = NULL;
    FacStatus st = FAC_OK;
    FAC_TRY(check_vector(call, 1));
    FAC_TRY(check_vector(call, 2));
    for (int i = 3; i < 5; i++)
        if (FAC_IS_INT(self->dtype) && FAC_ARG(call, i).tag >= FAC_V_FLOAT)
            FAC_FAIL(FAC_RUNTIME_ERROR,
                     "For integral input tensors, argument %s must not be a floating point number.",
                     call->op->params[i].name);
    FAC_TRY(outer(fac_arg_tensor(call, 1), fac_arg_tensor(call, 2), &product));
    FAC_TRY(scaled(product, FAC_ARG(call, 4), &more));
    FAC_TRY(fac_op_expand(self, fac_v_ints(product->sizes, 2), false, &base));
    if (is_number(FAC_ARG(call, 3), 0)) {
        out = fac_tensor_retain(more);
    } else {
        FacTensor *kept;
        FAC_TRY(scaled(base, FAC_ARG(call, 3), &kept));
        st = fac_op_add(fac_v_tensor(kept), fac_v_tensor(more), fac_v_int(1), &out);
        fac_tensor_release(kept);
    }
done:
    fac_tensor_release(product);
    fac_tensor_release(more);
    fac_tensor_release(base);
    return st ? st : give(call, out);
}

FacStatus
fac_composite_addbmm(FacCall *call)
{
    static const FacDim order[] = {1, 0, 2};
    FacTensor *a = fac_arg_tensor(call, 1), *b = fac_arg_tensor(call, 2), *x = NULL, *y = NULL;
    FacTensor *out = NULL;
    FacValue beta = FAC_ARG(call, 3), alpha = FAC_ARG(call, 4);
    FacStatus st = FAC_OK;
    if (FAC_IS_INT(a->dtype)) {
        beta = fac_v_int(fac_v_as_int(beta));
        alpha = fac_v_int(fac_v_as_int(alpha));
    }
    if (a->ndim != 3 || b->ndim != 3 || a->sizes[0] != b->sizes[0] || a->sizes[2] != b->sizes[1])
        return fac_error(FAC_RUNTIME_ERROR,
                         "batch1 and batch2 must be batches of matrices that fit");
    x = fac_tensor_retain(a);
    y = fac_tensor_retain(b);
    FAC_TRY(permute_to(&x, 3, order));
    FAC_TRY(
        reshape_to(&x, 2, (FacDim[]){a->sizes[1], fac_stride_product(a->sizes[0], a->sizes[2])}));
    FAC_TRY(
        reshape_to(&y, 2, (FacDim[]){fac_stride_product(b->sizes[0], b->sizes[1]), b->sizes[2]}));
    FAC_TRY(fac_op_addmm(fac_arg_tensor(call, 0), x, y, beta, alpha, &out));
done:
    fac_tensor_release(x);
    fac_tensor_release(y);
    return st ? st : give(call, out);
}

/* --- tensordot ------------------------------------------------------------------------------------------ */

/* t with the dims in `summed` (in that order) folded into one, last or first, the rest into another;
 * `rest` receives the sizes of the rest. */
static FacStatus
fold(FacTensor *t, const int *summed, int n, bool last, FacDim *rest, int *nrest, FacTensor **out)
{
    FacDim order[FAC_MAX_NDIM], width = 1;
    uint64_t mask = 0;
    *nrest = 0;
    for (int i = 0; i < n; i++) {
        mask |= UINT64_C(1) << summed[i];
        width = fac_stride_product(width, t->sizes[summed[i]]);
    }
    int at = last ? 0 : n;
    for (int i = 0; i < t->ndim; i++) {
        if (mask >> i & 1) continue;
        order[at++] = i;
        rest[(*nrest)++] = t->sizes[i];
    }
    for (int i = 0; i < n; i++) order[(last ? at : 0) + i] = summed[i];
    const FacDim height = product_of(rest, *nrest);
    *out = fac_tensor_retain(t);
    FacStatus st = permute_to(out, t->ndim, order);
    if (!st) st = reshape_to(out, 2, (FacDim[]){last ? height : width, last ? width : height});
    if (st) replace(out, NULL);
    return st;
}

static FacStatus
tensordot(FacTensor *a, FacTensor *b, const int *da, const int *db, int n, FacTensor **out)
{
    FacTensor *x = NULL, *y = NULL, *product = NULL;
    FacDim sizes[2 * FAC_MAX_NDIM];
    int na, nb;
    FacStatus st = FAC_OK;
    FAC_TRY(fold(a, da, n, true, sizes, &na, &x));
    FAC_TRY(fold(b, db, n, false, sizes + na, &nb, &y));
    FAC_TRY(fac_op_mm(x, y, &product));
    FAC_TRY(reshape_to(&product, na + nb, sizes));
    *out = product;
    product = NULL;
done:
    fac_tensor_release(x);
    fac_tensor_release(y);
    fac_tensor_release(product);
    return st;
}

/* Where one side has size 1 at a dim that is summed, the other is summed beforehand. */
static FacStatus
sum_beside_one(FacTensor **t, int dim)
{
    const FacDim dims = dim;
    FacTensor *out;
    FAC_RETURN_IF_ERROR(
        fac_op_sum_dim_IntList(*t, fac_v_ints(&dims, 1), true, (FacDType)(*t)->dtype, &out));
    replace(t, out);
    return FAC_OK;
}

FacStatus
fac_composite_tensordot(FacCall *call)
{
    FacTensor *a = fac_tensor_retain(fac_arg_tensor(call, 0)), *out;
    FacTensor *b = fac_tensor_retain(fac_arg_tensor(call, 1));
    const FacValue da = FAC_ARG(call, 2), db = FAC_ARG(call, 3);
    int dims[2][FAC_MAX_NDIM];
    uint64_t seen[2] = {0};
    FacStatus st = FAC_OK;
    if (da.len != db.len || da.len > FAC_MAX_NDIM)
        FAC_FAIL(FAC_RUNTIME_ERROR, "both dimension lists should have same length");
    if (da.len && (!a->ndim || !b->ndim))
        FAC_FAIL(FAC_RUNTIME_ERROR, "a tensor of no dimensions has none to contract");
    for (uint32_t i = 0; i < da.len; i++) {
        FAC_TRY(fac_wrap_dim(da.v.ints[i], a->ndim, &dims[0][i]));
        FAC_TRY(fac_wrap_dim(db.v.ints[i], b->ndim, &dims[1][i]));
        if (seen[0] >> dims[0][i] & 1 || seen[1] >> dims[1][i] & 1)
            FAC_FAIL(FAC_RUNTIME_ERROR, "a dimension stands twice in a list: pair %u, (%d, %d)", i,
                     dims[0][i], dims[1][i]);
        seen[0] |= UINT64_C(1) << dims[0][i];
        seen[1] |= UINT64_C(1) << dims[1][i];
        const FacDim x = a->sizes[dims[0][i]], y = b->sizes[dims[1][i]];
        if (x != y && x != 1 && y != 1)
            FAC_FAIL(FAC_RUNTIME_ERROR,
                     "contracted dimensions need to match, but first has size %lld in dim %d and "
                     "second has size %lld in dim %d",
                     (long long)x, dims[0][i], (long long)y, dims[1][i]);
        if (x != y)
            FAC_TRY(x == 1 ? sum_beside_one(&b, dims[1][i]) : sum_beside_one(&a, dims[0][i]));
    }
    FAC_TRY(tensordot(a, b, dims[0], dims[1], (int)da.len, &out));
    give(call, out);
done:
    fac_tensor_release(a);
    fac_tensor_release(b);
    return st;
}

FacStatus
fac_composite_inner(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *b = fac_arg_tensor(call, 1), *out;
    if (a->ndim == 0 || b->ndim == 0) {
        FAC_RETURN_IF_ERROR(fac_op_mul(fac_v_tensor(a), fac_v_tensor(b), &out));
        return give(call, out);
    }
    const int da = a->ndim - 1, db = b->ndim - 1;
    if (a->sizes[da] != b->sizes[db])
        return fac_error(
            FAC_RUNTIME_ERROR,
            "inner() the last dimension must match on both input tensors but got shapes "
            "with last dimensions %lld and %lld",
            (long long)a->sizes[da], (long long)b->sizes[db]);
    FAC_RETURN_IF_ERROR(tensordot(a, b, &da, &db, 1, &out));
    return give(call, out);
}

/* a[i, k] b[j, l] as [i, j, k, l], folded to [i j, k l]; so for any number of dims. */
FacStatus
fac_composite_kron(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *b = fac_arg_tensor(call, 1), *x, *y;
    FacTensor *out = NULL;
    const int n = a->ndim > b->ndim ? a->ndim : b->ndim;
    FacDim wide[2][2 * FAC_MAX_NDIM], sizes[FAC_MAX_NDIM];
    FacStatus st = FAC_OK;
    FAC_RETURN_IF_ERROR(fac_check_ndim(2 * n));
    for (int i = 0; i < n; i++) {
        const int ia = i - n + a->ndim, ib = i - n + b->ndim;
        const FacDim sa = ia < 0 ? 1 : a->sizes[ia], sb = ib < 0 ? 1 : b->sizes[ib];
        wide[0][2 * i] = sa;
        wide[1][2 * i + 1] = sb;
        wide[0][2 * i + 1] = wide[1][2 * i] = 1;
        sizes[i] = fac_stride_product(sa, sb);
    }
    x = fac_tensor_retain(a);
    y = fac_tensor_retain(b);
    FAC_TRY(reshape_to(&x, 2 * n, wide[0]));
    FAC_TRY(reshape_to(&y, 2 * n, wide[1]));
    FAC_TRY(fac_op_mul(fac_v_tensor(x), fac_v_tensor(y), &out));
    FAC_TRY(reshape_to(&out, n, sizes));
    call->results[0] = fac_v_tensor(out);
    out = NULL;
done:
    fac_tensor_release(x);
    fac_tensor_release(y);
    fac_tensor_release(out);
    return st;
}

/* The two dimensions go last, and come back as 1 if they are kept. */
FacStatus
fac_composite_matrix_norm_name(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0), *cast = NULL, *moved = NULL, *norm = NULL;
    FacValue dims = call->args[2], dtype = call->args[4];
    const char *name = call->args[1].v.s;
    const int64_t last[2] = {-2, -1};
    FacStatus st = FAC_OK;
    FacDim sizes[FAC_MAX_NDIM];
    int a, b;
    if (!strcmp(name, "fro"))
        return fac_call(FAC_OP_linalg_vector_norm, 5,
                        (FacValue[]){call->args[0], fac_v_int(2), dims, call->args[3], dtype},
                        call->results);
    if (strcmp(name, "nuc"))
        return fac_error(FAC_RUNTIME_ERROR, "linalg.matrix_norm: order %s not supported", name);
    if (dims.len != 2)
        return fac_error(FAC_RUNTIME_ERROR,
                         "linalg.matrix_norm: dim must be a 2-tuple, got %u dims", dims.len);
    FAC_TRY(fac_wrap_dim(dims.v.ints[0], self->ndim, &a));
    FAC_TRY(fac_wrap_dim(dims.v.ints[1], self->ndim, &b));
    if (a == b || self->ndim < 2)
        FAC_FAIL(FAC_RUNTIME_ERROR, "linalg.matrix_norm: dims must be different, got %d and %d", a,
                 b);
    if (dtype.tag == FAC_V_DTYPE)
        FAC_TRY(fac_op__to_copy(self, (FacDType)dtype.v.i, FAC_VALUE_NONE, FAC_VALUE_NONE, false,
                                FAC_VALUE_NONE, &cast));
    FAC_TRY(fac_op_movedim(cast ? cast : self, dims, fac_v_ints(last, 2), &moved));
    FAC_TRY(fac_op__nuclear_norm(moved, &norm));
    if (call->args[3].v.b) {
        for (int i = 0; i < self->ndim; i++) sizes[i] = i == a || i == b ? 1 : self->sizes[i];
        FAC_TRY(fac_call(FAC_OP_reshape, 2,
                         (FacValue[]){fac_v_tensor(norm), fac_v_ints(sizes, self->ndim)},
                         call->results));
    } else {
        call->results[0] = fac_v_tensor(fac_tensor_retain(norm));
    }
done:
    fac_tensor_release(cast);
    fac_tensor_release(moved);
    fac_tensor_release(norm);
    return st;
}
