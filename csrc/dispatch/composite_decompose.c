/* composite_decompose.c - systems of equations: the public forms above the rows that have kernels.
 * These take batches of one shape and solve from the left; vectors, other sides and broadcasting are
 * views.
 */
#include "dispatch/chain.h"
#include "dispatch/rules.h"

#include <string.h>

static FacStatus
check_matrix(const FacCall *call, int i)
{
    const FacTensor *t = fac_arg_tensor(call, i);
    if (t->ndim >= 2) return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, i, "must have at least 2 dimensions, not %d",
                              t->ndim);
}

/* The sizes of `own` with the batch of both. */
static FacStatus
joint_sizes(FacValue own, FacValue other, int *ndim, FacDim *sizes)
{
    const int a = (int)own.len, b = (int)other.len;
    if (a < 2 || b < 2 || a > FAC_MAX_NDIM)
        return fac_error(FAC_RUNTIME_ERROR,
                         "takes matrices, or batches of them, not tensors of %d and %d dimensions",
                         a, b);
    *ndim = a - 2;
    memcpy(sizes, own.v.ints, (size_t)a * sizeof *sizes);
    FAC_RETURN_IF_ERROR(fac_broadcast(ndim, sizes, b - 2, other.v.ints));
    sizes[(*ndim)++] = own.v.ints[a - 2];
    sizes[(*ndim)++] = own.v.ints[a - 1];
    return FAC_OK;
}

FacStatus
fac_helper_matrix_sizes(const FacValue *args, FacValue *out)
{
    FacDim sizes[FAC_MAX_NDIM];
    int n;
    FAC_RETURN_IF_ERROR(joint_sizes(args[0], args[1], &n, sizes));
    return fac_value_keep(fac_v_ints(sizes, n), out);
}

FacStatus
fac_helper_recording(const FacValue *args, FacValue *out)
{
    *out = fac_v_bool(fac_is_differentiated(args[0].v.t));
    return FAC_OK;
}

static FacValue
sizes_of(FacValue t)
{
    return fac_v_ints(t.v.t->sizes, t.v.t->ndim);
}

/* Both with the batch of both. */
static FacStatus
broadcast_pair(Chain *c, FacValue *a, FacValue *b)
{
    FacDim sizes[2][FAC_MAX_NDIM];
    int n[2];
    FacValue pair[2] = {*a, *b};
    for (int i = 0; i < 2; i++) {
        FAC_RETURN_IF_ERROR(joint_sizes(sizes_of(pair[i]), sizes_of(pair[1 - i]), &n[i], sizes[i]));
        if (n[i] == pair[i].v.t->ndim &&
            !memcmp(sizes[i], pair[i].v.t->sizes, (size_t)n[i] * sizeof(FacDim)))
            continue;
        FacValue args[2] = {pair[i], fac_v_ints(sizes[i], n[i])};
        FAC_RETURN_IF_ERROR(chain_call(c, FAC_OP_expand, i ? b : a, 2, args));
    }
    return FAC_OK;
}

static FacStatus
turn(Chain *c, const FacOp *op, FacValue *t)
{
    if (op == FAC_OP_adjoint) return chain_call(c, op, t, 1, (FacValue[]){*t});
    return chain_call(c, op, t, 3, (FacValue[]){*t, fac_v_int(-2), fac_v_int(-1)});
}

static FacStatus
check_equation(const FacTensor *a, const FacTensor *b, bool left)
{
    const FacDim inner = b->sizes[b->ndim - (left ? 2 : 1)], n = a->sizes[a->ndim - 1];
    if (inner == n) return FAC_OK;
    return fac_error(FAC_RUNTIME_ERROR,
                     "incompatible shapes of A and B for the equation %s (%lldx%lld and %lldx%lld)",
                     left ? "AX = B" : "XA = B", (long long)a->sizes[a->ndim - 2], (long long)n,
                     (long long)b->sizes[b->ndim - 2], (long long)b->sizes[b->ndim - 1]);
}

/* --- triangles ------------------------------------------------------------------------------------------ */

/* (A, B, upper, left, unitriangular): X A = B is A^T X^T = B^T. */
FacStatus
fac_composite_solve_triangular(FacCall *call)
{
    FacValue a = call->args[0], b = call->args[1], x;
    const bool left = call->args[3].v.b;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(check_matrix(call, 0));
    FAC_TRY(check_matrix(call, 1));
    FAC_TRY(check_equation(a.v.t, b.v.t, left));
    if (!left) {
        FAC_TRY(turn(&c, FAC_OP_transpose, &a));
        FAC_TRY(turn(&c, FAC_OP_transpose, &b));
    }
    FAC_TRY(broadcast_pair(&c, &a, &b));
    CHAIN(_solve_triangular, &x, a, b, fac_v_bool(call->args[2].v.b == left), call->args[4]);
    if (!left) FAC_TRY(turn(&c, FAC_OP_transpose, &x));
    st = chain_give(x, call->results);
done:
    chain_end(&c);
    return st;
}

/* --- LU ------------------------------------------------------------------------------------------------- */

/* B is a vector, or vectors as many as the matrices of A. */
static bool
is_vector(const FacTensor *a, const FacTensor *b)
{
    return b->ndim == 1 || (a->ndim - 1 == b->ndim &&
                            !memcmp(a->sizes, b->sizes, (size_t)b->ndim * sizeof *b->sizes));
}

/* (A, B, left, check_errors) -> (result, info) */
FacStatus
fac_composite_solve_ex(FacCall *call)
{
    FacValue a = call->args[0], b = call->args[1], solved[4] = {{0}}, x;
    const bool left = call->args[2].v.b;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(check_matrix(call, 0));
    const bool vector = is_vector(a.v.t, b.v.t);
    if (b.v.t->ndim == 0)
        FAC_FAIL(FAC_RUNTIME_ERROR, "argument 'B' must have at least 1 dimension");
    if (vector && !left)
        FAC_FAIL(FAC_RUNTIME_ERROR, "vectors are not supported with left=False: that is B / A");
    if (vector) CHAIN(unsqueeze, &b, b, fac_v_int(-1));
    FAC_TRY(check_equation(a.v.t, b.v.t, left));
    if (!left) {
        FAC_TRY(turn(&c, FAC_OP_transpose, &a));
        FAC_TRY(turn(&c, FAC_OP_transpose, &b));
    }
    FAC_TRY(broadcast_pair(&c, &a, &b));
    FAC_TRY(fac_call(FAC_OP__linalg_solve_ex, 3, (FacValue[]){a, b, call->args[3]}, solved));
    x = solved[0];
    if (!left) FAC_TRY(turn(&c, FAC_OP_transpose, &x));
    if (vector) CHAIN(squeeze_dim, &x, x, fac_v_int(-1));
    FAC_TRY(chain_give(x, &call->results[0]));
    fac_formula_move(&solved[3], &call->results[1]);
done:
    fac_formula_release(solved, 4);
    chain_end(&c);
    return st;
}

/* (LU, pivots, B, left, adjoint): X A = B is A^H X^H = B^H. */
FacStatus
fac_composite_lu_solve(FacCall *call)
{
    FacValue lu = call->args[0], pivots = call->args[1], b = call->args[2], x;
    const bool left = call->args[3].v.b, adjoint = call->args[4].v.b;
    FacDim sizes[FAC_MAX_NDIM];
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(check_matrix(call, 0));
    FAC_TRY(check_matrix(call, 2));
    FAC_TRY(check_equation(lu.v.t, b.v.t, left));
    if (!left) FAC_TRY(turn(&c, FAC_OP_adjoint, &b));
    FAC_TRY(broadcast_pair(&c, &lu, &b));
    const int n = lu.v.t->ndim - 1;
    if (pivots.v.t->ndim <= n && pivots.v.t->ndim > 0) {
        memcpy(sizes, lu.v.t->sizes, (size_t)n * sizeof *sizes);
        CHAIN(expand, &pivots, pivots, fac_v_ints(sizes, n));
    }
    CHAIN(_lu_solve, &x, lu, pivots, b, fac_v_bool(adjoint == left));
    if (!left) FAC_TRY(turn(&c, FAC_OP_adjoint, &x));
    st = chain_give(x, call->results);
done:
    chain_end(&c);
    return st;
}

/* The rows of t brought to their places before the exchanges, or the reverse. */
static FacStatus
exchange(Chain *c, FacValue *t, FacValue pivots, bool forward)
{
    FacValue order;
    const int n = t->v.t->ndim;
    FacDim sizes[FAC_MAX_NDIM];
    memcpy(sizes, t->v.t->sizes, (size_t)n * sizeof *sizes);
    FAC_RETURN_IF_ERROR(chain_call(c, FAC_OP__pivot_order, &order, 2,
                                   (FacValue[]){pivots, fac_v_int(sizes[n - 2])}));
    if (!forward)
        FAC_RETURN_IF_ERROR(
            chain_call(c, FAC_OP_argsort, &order, 2, (FacValue[]){order, fac_v_int(-1)}));
    FAC_RETURN_IF_ERROR(
        chain_call(c, FAC_OP_unsqueeze, &order, 2, (FacValue[]){order, fac_v_int(-1)}));
    FAC_RETURN_IF_ERROR(
        chain_call(c, FAC_OP_expand, &order, 2, (FacValue[]){order, fac_v_ints(sizes, n)}));
    return chain_call(c, FAC_OP_gather, t, 3, (FacValue[]){*t, fac_v_int(-2), order});
}

/* (LU, pivots, unpack_data, unpack_pivots) -> (P, L, U): P has the columns of the identity in the order
 * of the rows. */
FacStatus
fac_composite_lu_unpack(FacCall *call)
{
    FacValue lu = call->args[0], p, l, u, eye;
    const FacTensor *t = lu.v.t;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(check_matrix(call, 0));
    const int n = t->ndim;
    const FacDim rows = t->sizes[n - 2], cols = t->sizes[n - 1], k = rows < cols ? rows : cols;
    const FacValue dtype = fac_v_dtype(t->dtype), device = fac_v_device(t->device),
                   zero = fac_v_int(0);
    FacDim none = 0, sizes[FAC_MAX_NDIM];
    CHAIN(new_empty, &p, lu, fac_v_ints(&none, 1));
    l = u = p;
    if (call->args[3].v.b) {
        memcpy(sizes, t->sizes, (size_t)n * sizeof *sizes);
        sizes[n - 1] = rows;
        CHAIN(eye, &eye, fac_v_int(rows), dtype, FAC_VALUE_NONE, device);
        CHAIN(expand, &p, eye, fac_v_ints(sizes, n));
        FAC_TRY(exchange(&c, &p, call->args[1], true));
        FAC_TRY(turn(&c, FAC_OP_transpose, &p));
    }
    if (call->args[2].v.b) {
        CHAIN(slice, &l, lu, fac_v_int(-1), zero, fac_v_int(k));
        CHAIN(tril, &l, l, fac_v_int(-1));
        CHAIN(eye_m, &eye, fac_v_int(rows), fac_v_int(k), dtype, FAC_VALUE_NONE, device);
        CHAIN(add, &l, l, eye);
        CHAIN(slice, &u, lu, fac_v_int(-2), zero, fac_v_int(k));
        CHAIN(triu, &u, u);
    }
    FAC_TRY(chain_give(p, &call->results[0]));
    FAC_TRY(chain_give(l, &call->results[1]));
    st = chain_give(u, &call->results[2]);
done:
    chain_end(&c);
    return st;
}

/* (A, mode): Q is an empty vector where it is not wanted. */
FacStatus
fac_composite_qr(FacCall *call)
{
    const FacDim none = 0;
    FacValue parts[2] = {{0}}, empty[2] = {call->args[0], fac_v_ints(&none, 1)};
    FAC_RETURN_IF_ERROR(fac_call(FAC_OP__linalg_qr, 2, call->args, parts));
    FacStatus st = FAC_OK;
    if (!strcmp(call->args[1].v.s, "r"))
        FAC_TRY(fac_call(FAC_OP_new_empty, 2, empty, &call->results[0]));
    else
        fac_formula_move(&parts[0], &call->results[0]);
    fac_formula_move(&parts[1], &call->results[1]);
done:
    fac_formula_release(parts, 2);
    return st;
}

/* With the leading square block A1 = L1 U1 of P^H A, rows below it A2 = L2 U1, columns beside it
 * A3 = L1 U3: what is below and beside gives its gradient to A2 and A3 at once, and through them to L1
 * and U1; then gA1 = L1^-H (tril(L1^H gL1, -1) + triu(gU1 U1^H)) U1^-H. */
FacStatus
fac_composite_lu_backward(FacCall *call)
{
    FacValue gl = call->args[0], gu = call->args[1], lu = call->args[2], zero = fac_v_int(0);
    FacValue lh, uh, x, y, g1, gu1, gl1, part;
    const FacTensor *t = lu.v.t;
    const int n = t->ndim;
    FAC_RETURN_IF_ERROR(check_matrix(call, 2));
    const FacDim rows = t->sizes[n - 2], cols = t->sizes[n - 1], k = rows < cols ? rows : cols;
    const FacValue yes = fac_v_bool(true), no = fac_v_bool(false), last = fac_v_int(-1);
    const FacValue size = fac_v_int(k), row = fac_v_int(-2);
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    CHAIN(slice, &x, lu, row, zero, size);
    CHAIN(slice, &x, x, last, zero, size);
    CHAIN(adjoint, &lh, x);
    uh = lh;
    CHAIN(slice, &gl1, gl, row, zero, size);
    CHAIN(slice, &gu1, gu, last, zero, size);
    if (rows > cols) { /* the part of A below gets gL2 U1^-H, and U1 loses L2^H of it */
        CHAIN(slice, &part, gl, row, size);
        CHAIN(linalg_solve_triangular, &g1, uh, part, no, no);
        CHAIN(slice, &y, lu, row, size);
        CHAIN(adjoint, &y, y);
        CHAIN(matmul, &y, y, g1);
        CHAIN(slice, &gu1, gu1, row, zero, size);
        CHAIN(sub, &gu1, gu1, y);
    } else if (rows < cols) {
        CHAIN(slice, &part, gu, last, size);
        CHAIN(linalg_solve_triangular, &g1, lh, part, yes, yes, yes);
        CHAIN(slice, &y, lu, last, size);
        CHAIN(adjoint, &y, y);
        CHAIN(matmul, &y, g1, y);
        CHAIN(slice, &gl1, gl1, last, zero, size);
        CHAIN(sub, &gl1, gl1, y);
    }
    CHAIN(triu, &x, lh, fac_v_int(1)); /* L1^H without its diagonal */
    CHAIN(matmul, &x, x, gl1);
    CHAIN(add, &x, x, gl1);
    CHAIN(tril, &x, x, last);
    CHAIN(tril, &y, uh);
    CHAIN(matmul, &y, gu1, y);
    CHAIN(triu, &y, y);
    CHAIN(add, &x, x, y);
    CHAIN(linalg_solve_triangular, &x, lh, x, yes, yes, yes);
    CHAIN(linalg_solve_triangular, &x, uh, x, no, no);
    if (rows != cols) {
        FacTensor *both[2] = {x.v.t, g1.v.t};
        CHAIN(cat, &x, fac_v_tensors(both, 2), rows > cols ? row : last);
    }
    FAC_TRY(exchange(&c, &x, call->args[3], false));
    st = chain_give(x, call->results);
done:
    chain_end(&c);
    return st;
}

/* (grad, result, LU, pivots, adjoint) */
FacStatus
fac_composite_lu_solve_backward(FacCall *call)
{
    FacValue g = call->args[0], result = call->args[1], lu = call->args[2], uh, l, x, y;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    CHAIN(adjoint, &x, call->args[4].v.b ? g : result);
    CHAIN(matmul, &x, call->args[4].v.b ? result : g, x);
    CHAIN(neg, &x, x);
    FAC_TRY(exchange(&c, &x, call->args[3], true));
    CHAIN(adjoint, &uh, lu);
    CHAIN(triu, &l, uh, fac_v_int(1));
    CHAIN(tril, &uh, uh);
    CHAIN(matmul, &y, x, uh);
    CHAIN(tril, &y, y, fac_v_int(-1));
    CHAIN(matmul, &l, l, x);
    CHAIN(add, &l, l, x);
    CHAIN(triu, &l, l);
    CHAIN(add, &y, y, l);
    st = chain_give(y, call->results);
done:
    chain_end(&c);
    return st;
}

/* --- QR ------------------------------------------------------------------------------------------------- */

/* gA = (gQ + Q S) R^-H, where S has the upper triangle of gR R^H - Q^H gQ, mirrored, real on the diagonal.
 * Of a wide matrix the columns beside the square get Q gR2, and Q loses A2 gR2^H. */
FacStatus
fac_composite_qr_backward(FacCall *call)
{
    FacValue gq = call->args[0], gr = call->args[1], q = call->args[2], r = call->args[3];
    FacValue x, y, qh, side = FAC_VALUE_NONE;
    const char *mode = call->args[4].v.s;
    const FacTensor *factor = r.v.t;
    FAC_RETURN_IF_ERROR(check_matrix(call, 3));
    const FacDim rows = factor->sizes[factor->ndim - 2], cols = factor->sizes[factor->ndim - 1];
    const FacValue no = fac_v_bool(false), last = fac_v_int(-1), size = fac_v_int(rows);
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    if (!strcmp(mode, "r"))
        FAC_FAIL(FAC_RUNTIME_ERROR,
                 "linalg.qr has no gradient with mode='r', which does not keep Q");
    if (rows > cols)
        FAC_FAIL(FAC_RUNTIME_ERROR,
                 "linalg.qr has no gradient with mode='complete' of matrices with "
                 "more rows than columns");
    CHAIN(adjoint, &qh, q);
    if (rows < cols) {
        CHAIN(slice, &x, gr, last, size);
        CHAIN(matmul, &side, q, x);
        CHAIN(slice, &y, r, last, size);
        CHAIN(matmul, &y, q, y);
        CHAIN(adjoint, &x, x);
        CHAIN(matmul, &x, y, x);
        CHAIN(add, &gq, gq, x);
        CHAIN(slice, &gr, gr, last, fac_v_int(0), size);
        CHAIN(slice, &r, r, last, fac_v_int(0), size);
    }
    CHAIN(adjoint, &r, r);
    CHAIN(matmul, &x, gr, r);
    CHAIN(matmul, &y, qh, gq);
    CHAIN(sub, &x, x, y);
    CHAIN(triu, &y, x, fac_v_int(1));
    CHAIN(triu, &x, x);
    CHAIN(add, &x, x, y);
    CHAIN(_hermitian_sum, &x, x);
    CHAIN(mul, &x, x, fac_v_float(0.5));
    CHAIN(matmul, &x, q, x);
    CHAIN(add, &x, x, gq);
    CHAIN(linalg_solve_triangular, &x, r, x, no, no);
    if (rows < cols) {
        FacTensor *both[2] = {x.v.t, side.v.t};
        CHAIN(cat, &x, fac_v_tensors(both, 2), last);
    }
    st = chain_give(x, call->results);
done:
    chain_end(&c);
    return st;
}

/* V and T of the reflectors in args[0] with the factors args[1]. */
static FacStatus
reflectors(Chain *c, const FacCall *call, FacValue *v, FacValue *t)
{
    const FacTensor *a = fac_arg_tensor(call, 0), *tau = fac_arg_tensor(call, 1);
    FAC_RETURN_IF_ERROR(check_matrix(call, 0));
    const int n = a->ndim;
    if (tau->ndim != n - 1 || memcmp(tau->sizes, a->sizes, (size_t)(n - 2) * sizeof *a->sizes) ||
        tau->sizes[n - 2] > a->sizes[n - 1] || tau->dtype != a->dtype)
        return fac_argument_error(
            FAC_RUNTIME_ERROR, call, 1,
            "must hold a vector of at most %lld numbers for each matrix, of its dtype",
            (long long)a->sizes[n - 1]);
    FAC_RETURN_IF_ERROR(chain_call(c, FAC_OP__reflectors, v, 2,
                                   (FacValue[]){call->args[0], fac_v_int(tau->sizes[n - 2])}));
    return chain_call(c, FAC_OP__reflector_factor, t, 2, (FacValue[]){*v, call->args[1]});
}

/* What no reflectors at all take away: zeros that are made of V and T and give them no gradient, since
 * they are a count. */
static FacStatus
count_none(Chain *c, FacValue v, FacValue t, FacValue *y)
{
    const int64_t dims[2] = {-2, -1};
    FAC_RETURN_IF_ERROR(chain_call(c, FAC_OP_matmul, y, 2, (FacValue[]){v, t}));
    return chain_call(
        c, FAC_OP_linalg_vector_norm, y, 4,
        (FacValue[]){*y, fac_v_int(0), fac_v_ints(dims, 2), fac_v_bool(true), FAC_VALUE_NONE});
}

/* (input, tau): I - V T V^H, as many columns as input has. */
FacStatus
fac_composite_householder_product(FacCall *call)
{
    FacValue v, t, x, eye;
    const FacTensor *a = fac_arg_tensor(call, 0);
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(reflectors(&c, call, &v, &t));
    const FacDim rows = a->sizes[a->ndim - 2], cols = a->sizes[a->ndim - 1];
    if (rows < cols)
        FAC_FAIL(FAC_RUNTIME_ERROR,
                 "the matrices must not have more columns than rows, and are %lld by %lld",
                 (long long)rows, (long long)cols);
    CHAIN(eye_m, &eye, fac_v_int(rows), fac_v_int(cols), fac_v_dtype(a->dtype), FAC_VALUE_NONE,
          fac_v_device(a->device));
    if (fac_arg_tensor(call, 1)->numel) {
        CHAIN(slice, &x, v, fac_v_int(-2), fac_v_int(0), fac_v_int(cols));
        CHAIN(adjoint, &x, x);
        CHAIN(matmul, &x, t, x);
        CHAIN(matmul, &x, v, x);
    } else {
        FAC_TRY(count_none(&c, v, t, &x));
    }
    CHAIN(sub, &x, eye, x);
    st = chain_give(x, call->results);
done:
    chain_end(&c);
    return st;
}

/* (reflectors, tau, C, left, transpose) */
FacStatus
fac_composite_ormqr(FacCall *call)
{
    FacValue v, t, vh, x = call->args[2], y = x;
    const bool left = call->args[3].v.b;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(reflectors(&c, call, &v, &t));
    FAC_TRY(check_matrix(call, 2));
    if (call->args[4].v.b) FAC_TRY(turn(&c, FAC_OP_adjoint, &t));
    if (fac_arg_tensor(call, 1)->numel) {
        CHAIN(adjoint, &vh, v);
        CHAIN(matmul, &y, left ? vh : y, left ? y : v);
        CHAIN(matmul, &y, left ? t : y, left ? y : t);
        CHAIN(matmul, &y, left ? v : y, left ? y : vh);
    } else {
        FAC_TRY(count_none(&c, v, t, &y));
    }
    CHAIN(sub, &x, x, y);
    st = chain_give(x, call->results);
done:
    chain_end(&c);
    return st;
}

/* (self, some, compute_uv): vectors that are not asked for are zeros. */
FacStatus
fac_composite_svd(FacCall *call)
{
    FacValue self = call->args[0], parts[3] = {{0}}, x;
    const bool vectors = call->args[2].v.b;
    const int n = self.v.t->ndim;
    FacDim sizes[FAC_MAX_NDIM];
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(check_matrix(call, 0));
    if (vectors)
        FAC_TRY(fac_call(FAC_OP__linalg_svd, 2, (FacValue[]){self, fac_v_bool(!call->args[1].v.b)},
                         parts));
    else
        FAC_TRY(fac_call(FAC_OP_linalg_svdvals, 1, &self, &parts[1]));
    memcpy(sizes, self.v.t->sizes, (size_t)n * sizeof *sizes);
    for (int i = 0; i < 3; i += 2) {
        sizes[n - 1] = sizes[n - 2] = self.v.t->sizes[n - (i ? 1 : 2)];
        x = parts[i];
        if (!vectors) CHAIN(new_zeros, &x, self, fac_v_ints(sizes, n));
        if (vectors && i) {
            FAC_TRY(turn(&c, FAC_OP_transpose, &x));
            CHAIN(conj_physical, &x, x);
        }
        FAC_TRY(chain_give(x, &call->results[i]));
    }
    fac_formula_move(&parts[1], &call->results[1]);
done:
    fac_formula_release(parts, 3);
    chain_end(&c);
    return st;
}
