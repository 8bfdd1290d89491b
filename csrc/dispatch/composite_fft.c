/* composite_fft.c - the transforms of the namespace fft: what they are given is cast, cut or filled up
 * with zeros, and goes to the three rows that compute.
 *
 * fft, ifft, ... over one dim, over two and over any are one function; which transform it is stands
 * in the row's name.
 */
#include "dispatch/chain.h"
#include "dispatch/rules.h"

#include <string.h>

typedef enum Kind { FFT, RFFT, IRFFT, HFFT, IHFFT } Kind;

typedef struct Transform {
    Kind kind;
    bool forward; /* in which direction the norm counts */
    int n;
    int64_t dims[FAC_MAX_NDIM], sizes[FAC_MAX_NDIM]; /* of the signal; -1: as it is */
    int64_t norm;
} Transform;

/* "fft_irfft2": IRFFT. */
static void
read_name(const char *name, Transform *f)
{
    static const struct {
        const char *name;
        Kind kind;
        bool forward;
    } known[] = {{"fft_fft", FFT, true},   {"fft_ifft", FFT, false},
                 {"fft_rfft", RFFT, true}, {"fft_irfft", IRFFT, false},
                 {"fft_hfft", HFFT, true}, {"fft_ihfft", IHFFT, false}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strncmp(name, known[i].name, strlen(known[i].name))) continue;
        f->kind = known[i].kind;
        f->forward = known[i].forward;
    }
}

static FacStatus
read_norm(FacValue norm, Transform *f)
{
    const char *name = norm.tag == FAC_V_STR ? norm.v.s : "backward";
    if (!strcmp(name, "backward"))
        f->norm = f->forward ? 0 : 2;
    else if (!strcmp(name, "forward"))
        f->norm = f->forward ? 2 : 0;
    else if (!strcmp(name, "ortho"))
        f->norm = 1;
    else
        return fac_error(FAC_RUNTIME_ERROR,
                         "Invalid normalization mode: '%s'; there are "
                         "'backward', 'ortho' and 'forward'",
                         name);
    return FAC_OK;
}

/* To float32 or float64, or the complex dtype with such parts. */
static FacStatus
promote(Chain *chain, bool complex, FacValue *t)
{
    FacDType dtype = (FacDType)t->v.t->dtype;
    if (FAC_IS_INT(dtype)) dtype = fac_default_dtype();
    const FacDType real = (FacDType)fac_dtype_info[dtype].real;
    if (real != FAC_DT_F32 && real != FAC_DT_F64)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Unsupported dtype %s: there are transforms of float32, "
                         "float64, complex64 and complex128",
                         fac_dtype_info[dtype].name);
    if (complex) dtype = (FacDType)fac_dtype_info[dtype].complex;
    if (dtype == t->v.t->dtype) return FAC_OK;
    return chain_call(chain, FAC_OP__to_copy, t, CHAIN_ARGS(*t, fac_v_dtype(dtype)));
}

/* t with `size` elements along a dim: the first ones, or zeros behind. */
static FacStatus
resize(Chain *chain, int64_t dim, int64_t size, FacValue *t)
{
    FacDim sizes[FAC_MAX_NDIM];
    const FacTensor *from = t->v.t;
    FacValue zeros;
    const int64_t now = from->sizes[dim];
    if (now == size) return FAC_OK;
    if (now > size)
        return chain_call(
            chain, FAC_OP_slice, t,
            CHAIN_ARGS(*t, fac_v_int(dim), fac_v_int(0), fac_v_int(size), fac_v_int(1)));
    memcpy(sizes, from->sizes, (size_t)from->ndim * sizeof *sizes);
    sizes[dim] = size - now;
    FAC_RETURN_IF_ERROR(
        chain_call(chain, FAC_OP_new_zeros, &zeros, CHAIN_ARGS(*t, fac_v_ints(sizes, from->ndim))));
    FacTensor *parts[] = {t->v.t, zeros.v.t};
    return chain_call(chain, FAC_OP_cat, t, CHAIN_ARGS(fac_v_tensors(parts, 2), fac_v_int(dim)));
}

/* The sizes of the signal where they were not given, and t brought to what the transform reads. */
static FacStatus
fit(Chain *chain, Transform *f, FacValue *t)
{
    const bool half = f->kind == IRFFT || f->kind == HFFT;
    FAC_RETURN_IF_ERROR(promote(chain, half, t));
    for (int i = 0; i < f->n; i++) {
        const int64_t have = t->v.t->sizes[f->dims[i]];
        const bool last = half && i == f->n - 1;
        if (f->sizes[i] == -1) f->sizes[i] = last ? 2 * (have - 1) : have;
        if (f->sizes[i] < 1)
            return fac_error(FAC_RUNTIME_ERROR, "Invalid number of data points (%lld) specified",
                             (long long)f->sizes[i]);
        FAC_RETURN_IF_ERROR(resize(chain, f->dims[i], last ? f->sizes[i] / 2 + 1 : f->sizes[i], t));
    }
    return FAC_OK;
}

/* All dims but the last, which the real transforms treat apart. */
static FacStatus
others(Chain *chain, const Transform *f, bool forward, FacValue *t)
{
    if (f->n < 2) return FAC_OK;
    return chain_call(
        chain, FAC_OP__fft_c2c, t,
        CHAIN_ARGS(*t, fac_v_ints(f->dims, f->n - 1), fac_v_int(f->norm), fac_v_bool(forward)));
}

static FacStatus
transform(FacCall *call, Transform *f)
{
    FacValue t = call->args[0];
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(fit(&c, f, &t));
    const FacValue dims = fac_v_ints(f->dims, f->n), norm = fac_v_int(f->norm);
    const FacValue last = fac_v_ints(&f->dims[f->n ? f->n - 1 : 0], 1), yes = fac_v_bool(true);
    switch (f->kind) {
    case FFT:
        if (!FAC_IS_COMPLEX(t.v.t->dtype) && f->n && (f->forward || f->n == 1)) {
            CHAIN(_fft_r2c, &t, t, dims, norm, fac_v_bool(false));
            if (!f->forward) CHAIN(conj, &t, t);
            break;
        }
        FAC_TRY(promote(&c, true, &t));
        CHAIN(_fft_c2c, &t, t, dims, norm, fac_v_bool(f->forward));
        break;
    case RFFT: CHAIN(_fft_r2c, &t, t, dims, norm, yes); break;
    case IRFFT: CHAIN(_fft_c2r, &t, t, dims, norm, fac_v_int(f->sizes[f->n - 1])); break;
    case HFFT:
        FAC_TRY(others(&c, f, true, &t));
        CHAIN(conj, &t, t);
        CHAIN(_fft_c2r, &t, t, last, norm, fac_v_int(f->sizes[f->n - 1]));
        break;
    case IHFFT:
        CHAIN(_fft_r2c, &t, t, last, norm, yes);
        CHAIN(conj, &t, t);
        FAC_TRY(others(&c, f, false, &t));
        break;
    }
    st = chain_give(t, call->results);
done:
    chain_end(&c);
    return st;
}

static FacStatus
check_input(FacCall *call, const Transform *f)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    const char *name = call->op->public_name;
    if ((f->kind == RFFT || f->kind == IHFFT) && FAC_IS_COMPLEX(t->dtype))
        return fac_error(FAC_RUNTIME_ERROR,
                         "%s expects a real input tensor, but got %s; fft takes complex ones", name,
                         fac_dtype_info[t->dtype].name);
    if (f->kind != FFT && !f->n)
        return fac_error(FAC_RUNTIME_ERROR, "%s must transform at least one axis", name);
    return FAC_OK;
}

static FacStatus
wrap(const FacTensor *t, int64_t dim, int64_t *out)
{
    int d;
    if (!t->ndim)
        return fac_error(FAC_INDEX_ERROR,
                         "Dimension specified as %lld but tensor has no dimensions",
                         (long long)dim);
    FAC_RETURN_IF_ERROR(fac_wrap_dim(dim, t->ndim, &d));
    *out = d;
    return FAC_OK;
}

/* (input, n, dim, norm) */
FacStatus
fac_composite_fft_line(FacCall *call)
{
    Transform f = {.n = 1};
    read_name(call->op->name, &f);
    FAC_RETURN_IF_ERROR(check_input(call, &f));
    FAC_RETURN_IF_ERROR(read_norm(call->args[3], &f));
    FAC_RETURN_IF_ERROR(wrap(call->args[0].v.t, call->args[2].v.i, &f.dims[0]));
    f.sizes[0] = call->args[1].tag == FAC_V_NONE ? -1 : call->args[1].v.i;
    if (call->args[1].tag != FAC_V_NONE && f.sizes[0] < 1)
        return fac_error(FAC_RUNTIME_ERROR, "Invalid number of data points (%lld) specified",
                         (long long)f.sizes[0]);
    return transform(call, &f);
}

/* Which dims: those given, else as many of the last ones as there are sizes, else all. */
static FacStatus
read_dims(FacValue sizes, FacValue dims, const FacTensor *t, Transform *f)
{
    const bool shaped = sizes.tag != FAC_V_NONE, chosen = dims.tag != FAC_V_NONE;
    f->n = chosen ? (int)dims.len : shaped ? (int)sizes.len : t->ndim;
    if (chosen && shaped && dims.len != sizes.len)
        return fac_error(FAC_RUNTIME_ERROR,
                         "When given, dim and shape arguments must have the same length: %u dims "
                         "and %u sizes",
                         dims.len, sizes.len);
    if (!chosen && f->n > t->ndim)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Got shape with %u values but input tensor only has %d dimensions.",
                         sizes.len, t->ndim);
    if (f->n > FAC_MAX_NDIM) return fac_error(FAC_RUNTIME_ERROR, "FFT dims must be unique");
    for (int i = 0; i < f->n; i++) {
        FAC_RETURN_IF_ERROR(wrap(t, chosen ? dims.v.ints[i] : t->ndim - f->n + i, &f->dims[i]));
        for (int k = 0; k < i; k++)
            if (f->dims[k] == f->dims[i])
                return fac_error(FAC_RUNTIME_ERROR, "FFT dims must be unique");
        f->sizes[i] = shaped ? sizes.v.ints[i] : -1;
    }
    return FAC_OK;
}

/* (input, s, dim, norm) */
FacStatus
fac_composite_fft_dims(FacCall *call)
{
    Transform f = {.n = 0};
    read_name(call->op->name, &f);
    FAC_RETURN_IF_ERROR(read_dims(call->args[1], call->args[2], call->args[0].v.t, &f));
    FAC_RETURN_IF_ERROR(check_input(call, &f));
    FAC_RETURN_IF_ERROR(read_norm(call->args[3], &f));
    return transform(call, &f);
}

/* fftshift, and back: the dims rolled by half of their sizes. */
FacStatus
fac_composite_fft_shift(FacCall *call)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    const bool back = !strcmp(call->op->name, "fft_ifftshift");
    int64_t dims[FAC_MAX_NDIM], shifts[FAC_MAX_NDIM];
    const FacValue given = call->args[1];
    const int n = given.tag == FAC_V_NONE ? t->ndim : (int)given.len;
    if (n > FAC_MAX_NDIM) return fac_argument_error(FAC_RUNTIME_ERROR, call, 1, "is too long");
    for (int i = 0; i < n; i++) {
        FAC_RETURN_IF_ERROR(wrap(t, given.tag == FAC_V_NONE ? i : given.v.ints[i], &dims[i]));
        shifts[i] = (t->sizes[dims[i]] + back) / 2;
    }
    if (n == 0) return fac_call(FAC_OP_clone, 1, call->args, call->results);
    return fac_call(FAC_OP_roll, 3,
                    (FacValue[]){call->args[0], fac_v_ints(shifts, n), fac_v_ints(dims, n)},
                    call->results);
}

/* --- gradients -------------------------------------------------------------------------------------------- */

/* The last of the dims in args[1]. */
static FacStatus
last_dim(const FacCall *call, int64_t *dim)
{
    const FacValue dims = call->args[1];
    if (dims.len) return wrap(call->args[0].v.t, dims.v.ints[dims.len - 1], dim);
    return fac_argument_error(FAC_RUNTIME_ERROR, call, 1, "must name at least one dimension");
}

/* (self, dim, n, factor): of n / 2 + 1 elements along the last of the dims all count but the first and, for
 * even n, the last. */
FacStatus
fac_composite_fft_weigh(FacCall *call)
{
    FacValue self = call->args[0], weights, inner;
    const FacTensor *t = self.v.t;
    const int64_t n = call->args[2].v.i, end = n / 2 + n % 2;
    FacDim sizes[FAC_MAX_NDIM];
    int64_t dim = 0;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    FAC_TRY(last_dim(call, &dim));
    for (int d = 0; d < t->ndim; d++) sizes[d] = d == dim ? t->sizes[d] : 1;
    CHAIN(ones, &weights, fac_v_ints(sizes, t->ndim),
          fac_v_dtype((FacDType)fac_dtype_info[t->dtype].real), FAC_VALUE_NONE,
          fac_v_device(t->device));
    CHAIN(slice, &inner, weights, fac_v_int(dim), fac_v_int(1), fac_v_int(end), fac_v_int(1));
    FAC_TRY(fac_op_fill_(inner.v.t, call->args[3]));
    CHAIN(mul, &self, self, weights);
    st = chain_give(self, call->results);
done:
    chain_end(&c);
    return st;
}

/* (grad, dim, normalization, onesided, sizes): with half of the weights, the half stands for the whole. */
FacStatus
fac_composite_fft_r2c_backward(FacCall *call)
{
    FacValue grad = call->args[0], dims = call->args[1], norm = call->args[2],
             sizes = call->args[4];
    int64_t dim = 0;
    Chain c = {.n = 0};
    FacStatus st = FAC_OK;
    if (!fac_v_is_true(call->args[3])) {
        CHAIN(_fft_c2c, &grad, grad, dims, norm, fac_v_bool(false));
        CHAIN(real, &grad, grad);
    } else {
        FAC_TRY(last_dim(call, &dim));
        if (sizes.len != grad.v.t->ndim)
            FAC_FAIL(FAC_RUNTIME_ERROR, "argument 'sizes' must have %d sizes, not %u",
                     grad.v.t->ndim, sizes.len);
        const FacValue n = fac_v_int(sizes.v.ints[dim]);
        CHAIN(_fft_weigh, &grad, grad, dims, n, fac_v_float(0.5));
        CHAIN(_fft_c2r, &grad, grad, dims, norm, n);
    }
    st = chain_give(grad, call->results);
done:
    chain_end(&c);
    return st;
}
