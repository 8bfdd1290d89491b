/* helpers_reduce.c - the parts of gradients of reductions and scans that are more than an
 * expression.
 *
 * The gradient of a product at elements that are zero cannot be had by dividing the product by
 * them. There it is put together from the products of what stands before and behind each element;
 * those are cumulative products, or a recurrence over the elements for cumulative products
 * themselves.
 */
#include "dispatch/chain.h"
#include "dispatch/rules.h"

/* The mask of a `dim` value: None and [] are all dims. */
static FacStatus
dims_mask(FacValue dim, int ndim, uint64_t *mask)
{
    if (dim.tag == FAC_V_INT) return fac_wrap_dims(&dim.v.i, 1, ndim, true, mask);
    return fac_wrap_dims(dim.v.ints, dim.tag == FAC_V_INTS ? (int)dim.len : 0, ndim, true, mask);
}

/* Elements that are reduced to one. */
static FacStatus
reduced_count(FacValue sizes, FacValue dim, int64_t *count)
{
    uint64_t mask;
    FAC_RETURN_IF_ERROR(dims_mask(dim, (int)sizes.len, &mask));
    *count = 1;
    for (uint32_t d = 0; d < sizes.len; d++)
        if (mask >> d & 1) *count = fac_stride_product(*count, sizes.v.ints[d]);
    return FAC_OK;
}

FacStatus
fac_helper_reduce_keep(const FacValue *args, FacValue *out)
{
    FacValue reduced = args[0], sizes = args[1];
    FacDim kept[FAC_MAX_NDIM];
    uint64_t mask;
    if (args[3].v.b || !sizes.len) return fac_value_keep(reduced, out);
    FAC_RETURN_IF_ERROR(dims_mask(args[2], (int)sizes.len, &mask));
    for (uint32_t d = 0; d < sizes.len; d++) kept[d] = mask >> d & 1 ? 1 : sizes.v.ints[d];
    FacValue view[2] = {reduced, fac_v_ints(kept, (int)sizes.len)};
    return fac_call(FAC_OP_reshape, 2, view, out);
}

FacStatus
fac_helper_reduce_expand(const FacValue *args, FacValue *out)
{
    FacValue kept = FAC_VALUE_NONE;
    FAC_RETURN_IF_ERROR(fac_helper_reduce_keep(args, &kept));
    FacStatus st = fac_call(FAC_OP_expand, 2, (FacValue[]){kept, args[1]}, out);
    fac_formula_release(&kept, 1);
    return st;
}

FacStatus
fac_helper_reduce_count(const FacValue *args, FacValue *out)
{
    int64_t count;
    FAC_RETURN_IF_ERROR(reduced_count(args[0], args[1], &count));
    *out = fac_v_int(count);
    return FAC_OK;
}

FacStatus
fac_helper_var_scale(const FacValue *args, FacValue *out)
{
    int64_t count;
    double correction = args[2].tag == FAC_V_NONE ? 1 : fac_v_as_float(args[2]);
    FAC_RETURN_IF_ERROR(reduced_count(args[0], args[1], &count));
    *out = fac_v_float(2 / ((double)count - correction));
    return FAC_OK;
}

/* --- products --------------------------------------------------------------------------------- */

/* False where there is no data to look at; true where that cannot be read, as inside of vmap. */
static FacStatus
has_zeros(Chain *chain, FacValue x, bool *yes)
{
    FacValue is_zero, some, item;
    double room[2];
    *yes = x.v.t->flags & FAC_T_OVERRIDDEN_STORAGE;
    if (*yes || fac_is_meta(x.v.t)) return FAC_OK;
    FAC_RETURN_IF_ERROR(chain_call(chain, FAC_OP_eq, &is_zero, 2, (FacValue[]){x, fac_v_int(0)}));
    FAC_RETURN_IF_ERROR(chain_call(chain, FAC_OP_any, &some, 1, &is_zero));
    FAC_RETURN_IF_ERROR(fac_tensor_item(some.v.t, room, &item));
    *yes = fac_v_is_true(item);
    return FAC_OK;
}

/* Products of the elements before each one along dim, or behind it. */
static FacStatus
products_beside(Chain *chain, FacValue x, int dim, bool behind, FacValue *out)
{
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FacDim n = x.v.t->sizes[dim];
    int64_t d = dim;
    FacValue dims = fac_v_ints(&d, 1), at = fac_v_int(dim), first, ones, rest = x, joined, result;
    if (behind) CHAIN(flip, &rest, x, dims);
    CHAIN(slice, &first, rest, at, fac_v_int(0), fac_v_int(1));
    CHAIN(ones_like, &ones, first);
    CHAIN(slice, &rest, rest, at, fac_v_int(0), fac_v_int(n - 1));
    FacTensor *parts[2] = {ones.v.t, rest.v.t};
    CHAIN(cat, &joined, fac_v_tensors(parts, 2), at);
    FAC_TRY(chain_call(behind ? &c : chain, FAC_OP_cumprod, &result, 2, (FacValue[]){joined, at}));
    if (behind) FAC_TRY(chain_call(chain, FAC_OP_flip, &result, 2, (FacValue[]){result, dims}));
    *out = result;
done:
    chain_end(&c);
    return st;
}

FacStatus
fac_helper_prod_backward(const FacValue *args, FacValue *out)
{
    FacValue grad = args[0], self = args[1], result = args[2], dim = args[3];
    FacValue x, y, before, behind, beside, g = FAC_VALUE_NONE;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    bool zeros;
    int64_t flat = -1;
    int along = 0;
    FacTensor *t = self.v.t;
    FacValue sizes = fac_v_ints(t->sizes, t->ndim);

    CHAIN(conj, &x, self);
    FAC_TRY(fac_helper_reduce_keep((FacValue[]){grad, sizes, dim, args[4]}, &g));
    FAC_TRY(has_zeros(&c, self, &zeros));
    if (!zeros) {
        FAC_TRY(fac_helper_reduce_keep((FacValue[]){result, sizes, dim, args[4]}, &c.held[c.n]));
        y = c.held[c.n++];
        CHAIN(conj, &y, y);
        CHAIN(mul, &y, g, y);
        CHAIN(div, &y, y, x);
        st = chain_give(y, out);
        goto done;
    }
    if (dim.tag == FAC_V_INT && t->ndim)
        FAC_TRY(fac_wrap_dim(dim.v.i, t->ndim, &along));
    else
        CHAIN(reshape, &x, x, fac_v_ints(&flat, 1));
    FAC_TRY(products_beside(&c, x, along, false, &before));
    FAC_TRY(products_beside(&c, x, along, true, &behind));
    CHAIN(mul, &beside, before, behind);
    CHAIN(reshape, &beside, beside, sizes);
    CHAIN(mul, &y, g, beside);
    st = chain_give(y, out);
done:
    fac_formula_release(&g, 1);
    chain_end(&c);
    return st;
}

/* With zeros: d(k) = before(k) * s(k), where s(k) = grad(k) + x(k + 1) * s(k + 1) gathers what
 * comes after. One step an element: slow, and differentiable. */
static FacStatus
cumprod_backward_steps(FacValue grad, FacValue x, int dim, FacValue *out)
{
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FacValue before, joined, s = FAC_VALUE_NONE, at = fac_v_int(dim);
    int64_t n = x.v.t->sizes[dim];
    FacTensor **rows = (FacTensor **)fac_mem_zalloc((size_t)n * sizeof *rows);
    if (!rows) return fac_mem_error((size_t)n * sizeof *rows);
    FAC_TRY(products_beside(&c, x, dim, false, &before));
    for (int64_t k = n - 1; k >= 0; k--) {
        FacValue t[3] = {{0}};
        st = fac_call(FAC_OP_select, 3, (FacValue[]){grad, at, fac_v_int(k)}, &t[0]);
        if (st == FAC_OK && k < n - 1) {
            st = fac_call(FAC_OP_select, 3, (FacValue[]){x, at, fac_v_int(k + 1)}, &t[1]);
            if (st == FAC_OK) st = fac_call(FAC_OP_addcmul, 3, (FacValue[]){t[0], t[1], s}, &t[2]);
        } else if (st == FAC_OK) {
            fac_formula_move(&t[0], &t[2]);
        }
        if (st == FAC_OK) {
            rows[k] = t[2].v.t;
            s = fac_v_tensor(rows[k]);
            t[2] = FAC_VALUE_NONE;
        }
        fac_formula_release(t, 3);
        if (st != FAC_OK) goto done;
    }
    CHAIN(stack, &joined, fac_v_tensors(rows, (int)n), at);
    CHAIN(mul, &joined, joined, before);
    st = chain_give(joined, out);
done:
    for (int64_t k = 0; k < n; k++) fac_tensor_release(rows[k]);
    fac_mem_free(rows);
    chain_end(&c);
    return st;
}

FacStatus
fac_helper_cumprod_backward(const FacValue *args, FacValue *out)
{
    FacValue grad = args[0], self = args[1], result = args[2], x, y;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FacTensor *t = self.v.t;
    bool zeros;
    int dim;
    FAC_TRY(fac_wrap_dim(args[3].v.i, t->ndim, &dim));
    if (t->ndim == 0 || t->sizes[dim] <= 1) {
        st = chain_give(grad, out);
        goto done;
    }
    CHAIN(conj, &x, self);
    FAC_TRY(has_zeros(&c, self, &zeros));
    if (zeros) {
        st = cumprod_backward_steps(grad, x, dim, out);
        goto done;
    }
    CHAIN(conj, &y, result);
    CHAIN(mul, &y, grad, y);
    CHAIN(_cumsum_back, &y, y, fac_v_int(dim));
    CHAIN(div, &y, y, x);
    st = chain_give(y, out);
done:
    chain_end(&c);
    return st;
}

/* exp(logcumsumexp(scaled) + self), the scan taken from the end. */
static FacStatus
log_scan_back(Chain *chain, FacValue scaled, FacValue self, FacValue dim, FacValue *out)
{
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FacValue dims = fac_v_ints(&dim.v.i, 1), y;
    CHAIN(flip, &y, scaled, dims);
    CHAIN(logcumsumexp, &y, y, dim);
    CHAIN(flip, &y, y, dims);
    CHAIN(add, &y, y, self);
    st = chain_call(chain, FAC_OP_exp, out, 1, &y);
done:
    chain_end(&c);
    return st;
}

/* The part of the gradient that comes from the positive elements of `part`. The logarithm of the
 * others is a number whose exponential is zero, not -inf, which would make NaN of the second
 * derivatives; half the lowest one, so that it stays a number when the result is taken from it. */
static FacStatus
log_scan_part(Chain *chain, FacValue part, FacValue self, FacValue result, FacValue dim,
              FacValue *out)
{
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FacValue none, y;
    FacDType dt = (FacDType)self.v.t->dtype;
    double lowest = dt == FAC_DT_F64 ? -0x1p1023 : dt == FAC_DT_F16 ? -0x1p15 : -0x1p127;
    CHAIN(le, &none, part, fac_v_int(0));
    CHAIN(log, &y, part);
    CHAIN(masked_fill, &y, y, none, fac_v_float(lowest));
    CHAIN(sub, &y, y, result);
    st = log_scan_back(chain, y, self, dim, out);
done:
    chain_end(&c);
    return st;
}

FacStatus
fac_helper_logcumsumexp_backward(const FacValue *args, FacValue *out)
{
    FacValue grad = args[0], self = args[1], result = args[2], dim = args[3], up, down, y;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    if (self.v.t->ndim == 0) return chain_give(grad, out);
    if (FAC_IS_COMPLEX(self.v.t->dtype)) {
        CHAIN(log, &up, grad);
        CHAIN(conj, &down, result);
        CHAIN(sub, &up, up, down);
        CHAIN(conj, &down, self);
        FAC_TRY(log_scan_back(&c, up, down, dim, &y));
        st = chain_give(y, out);
        goto done;
    }
    FAC_TRY(log_scan_part(&c, grad, self, result, dim, &up));
    CHAIN(neg, &y, grad);
    FAC_TRY(log_scan_part(&c, y, self, result, dim, &down));
    CHAIN(sub, &y, up, down);
    st = chain_give(y, out);
done:
    chain_end(&c);
    return st;
}
