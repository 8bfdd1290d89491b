/* rules_create.c - the rules of factories, copies and casts: from options (dtype, device, memory
 * format) to an empty result of the right layout.
 *
 * Every factory row ends in the same parameters `dtype, layout, device[, memory_format]`; option() finds
 * them by name, so that the rules need not know at which position they stand.
 */
#include "dispatch/rules.h"

#include <math.h>
#include <string.h>

static FacValue
option(const FacCall *call, const char *name)
{
    for (int i = call->op->nparams - 1; i >= 0; i--)
        if (!strcmp(call->op->params[i].name, name)) return call->args[i];
    return FAC_VALUE_NONE;
}

static FacMemoryFormat
format_option(const FacCall *call, FacMemoryFormat fallback)
{
    FacValue format = option(call, "memory_format");
    return format.tag == FAC_V_NONE ? fallback : (FacMemoryFormat)format.v.i;
}

/* Result 0 in the given memory format; PRESERVE keeps the order of `like` (or C order without one). */
static FacStatus
make_formatted(FacCall *call, FacDType dtype, FacDevice device, int ndim, const FacDim *sizes,
               FacMemoryFormat format, const FacTensor *like)
{
    FacDim strides[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(fac_check_ndim(ndim));
    if (format == FAC_CONTIGUOUS || (format == FAC_PRESERVE && (!like || like->contiguous)))
        return fac_out(call, 0, dtype, device, ndim, sizes);
    if (format == FAC_PRESERVE) {
        fac_strides_like(ndim, like->sizes, like->strides, strides);
    } else {
        int want = format == FAC_CHANNELS_LAST ? 4 : 5;
        if (ndim != want)
            return fac_error(FAC_RUNTIME_ERROR,
                             "required rank %d tensor to use channels_last%s format, "
                             "got %d dimensions",
                             want, want == 5 ? "_3d" : "", ndim);
        fac_strides_format(format, ndim, sizes, strides);
    }
    return fac_out_strided(call, 0, dtype, device, ndim, sizes, strides);
}

/* --- from options ------------------------------------------------------------------------------------- */

FacStatus
fac_rule_empty(FacCall *call)
{
    FacValue size = call->args[0];
    FacDType dtype;
    FacDevice device;
    FAC_RETURN_IF_ERROR(fac_factory_options(call, fac_default_dtype(), &dtype, &device));
    return make_formatted(call, dtype, device, (int)size.len, size.v.ints,
                          format_option(call, FAC_CONTIGUOUS), NULL);
}

FacStatus
fac_rule_full(FacCall *call)
{
    FacValue size = call->args[0];
    FacDType dtype;
    FacDevice device;
    FAC_RETURN_IF_ERROR(
        fac_factory_options(call, fac_v_dtype_of_number(call->args[1]), &dtype, &device));
    return make_formatted(call, dtype, device, (int)size.len, size.v.ints, FAC_CONTIGUOUS, NULL);
}

static FacStatus
check_strides(FacValue size, FacValue stride)
{
    if (size.len != stride.len)
        return fac_error(FAC_RUNTIME_ERROR,
                         "dimensionality of sizes (%u) must match dimensionality of "
                         "strides (%u)",
                         size.len, stride.len);
    FAC_RETURN_IF_ERROR(fac_check_ndim(size.len));
    for (uint32_t i = 0; i < stride.len; i++)
        if (stride.v.ints[i] < 0)
            return fac_error(FAC_RUNTIME_ERROR,
                             "a new tensor cannot have negative strides, got %lld",
                             (long long)stride.v.ints[i]);
    return FAC_OK;
}

FacStatus
fac_rule_empty_strided(FacCall *call)
{
    FacDType dtype;
    FacDevice device;
    FAC_RETURN_IF_ERROR(check_strides(call->args[0], call->args[1]));
    FAC_RETURN_IF_ERROR(fac_factory_options(call, fac_default_dtype(), &dtype, &device));
    return fac_out_strided(call, 0, dtype, device, (int)call->args[0].len, call->args[0].v.ints,
                           call->args[1].v.ints);
}

FacStatus
fac_rule_empty_permuted(FacCall *call)
{
    FacValue size = call->args[0], order = call->args[1];
    FacDim strides[FAC_MAX_NDIM], step = 1;
    FacDType dtype;
    FacDevice device;
    uint64_t seen = 0;
    if (size.len != order.len || size.len > FAC_MAX_NDIM)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Number of dimensions in size does not match the length of "
                         "the physical_layout; i.e. len(size) = %u is not equal to "
                         "len(physical_layout) = %u",
                         size.len, order.len);
    for (int i = (int)size.len - 1; i >= 0; i--) {
        int64_t dim = order.v.ints[i];
        if (dim < 0 || dim >= size.len || (seen >> dim & 1))
            return fac_error(FAC_RUNTIME_ERROR,
                             "physical_layout must name each dimension from 0 to %d "
                             "once, got %lld",
                             (int)size.len - 1, (long long)dim);
        seen |= UINT64_C(1) << dim;
        strides[dim] = step;
        if (size.v.ints[dim] > 1 && __builtin_mul_overflow(step, size.v.ints[dim], &step))
            return fac_error(FAC_RUNTIME_ERROR, "the sizes are too large");
    }
    FAC_RETURN_IF_ERROR(fac_factory_options(call, fac_default_dtype(), &dtype, &device));
    return fac_out_strided(call, 0, dtype, device, (int)size.len, size.v.ints, strides);
}

/* --- from another tensor --------------------------------------------------------------------------------- */

/* dtype and device given, or those of args[0]. */
static FacStatus
options_like(const FacCall *call, FacDType *dtype, FacDevice *device)
{
    FacTensor *like = fac_arg_tensor(call, 0);
    FacValue given = option(call, "device");
    FAC_RETURN_IF_ERROR(fac_factory_options(call, (FacDType)like->dtype, dtype, device));
    if (given.tag == FAC_V_NONE) *device = like->device;
    return FAC_OK;
}

FacStatus
fac_rule_like(FacCall *call)
{
    FacTensor *like = fac_arg_tensor(call, 0);
    FacDType dtype;
    FacDevice device;
    FAC_RETURN_IF_ERROR(options_like(call, &dtype, &device));
    return make_formatted(call, dtype, device, like->ndim, like->sizes,
                          format_option(call, FAC_PRESERVE), like);
}

FacStatus
fac_rule_full_like(FacCall *call)
{
    return fac_rule_like(call);
}

FacStatus
fac_rule_new(FacCall *call)
{
    FacValue size = call->args[1];
    FacDType dtype;
    FacDevice device;
    FAC_RETURN_IF_ERROR(options_like(call, &dtype, &device));
    return make_formatted(call, dtype, device, (int)size.len, size.v.ints, FAC_CONTIGUOUS, NULL);
}

FacStatus
fac_rule_new_strided(FacCall *call)
{
    FacDType dtype;
    FacDevice device;
    FAC_RETURN_IF_ERROR(check_strides(call->args[1], call->args[2]));
    FAC_RETURN_IF_ERROR(options_like(call, &dtype, &device));
    return fac_out_strided(call, 0, dtype, device, (int)call->args[1].len, call->args[1].v.ints,
                           call->args[2].v.ints);
}

FacStatus
fac_rule_clone(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    return make_formatted(call, (FacDType)t->dtype, t->device, t->ndim, t->sizes,
                          format_option(call, FAC_PRESERVE), t);
}

FacStatus
fac_rule_to_copy(FacCall *call)
{
    return fac_rule_like(call);
}

FacStatus
fac_rule_reshape_copy(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    FacValue size = call->args[1];
    FAC_RETURN_IF_ERROR(fac_check_ndim(size.len));
    FAC_RETURN_IF_ERROR(fac_infer_size((int)size.len, size.v.ints, t->numel, sizes));
    return fac_out(call, 0, (FacDType)t->dtype, t->device, (int)size.len, sizes);
}

/* --- ranges ---------------------------------------------------------------------------------------------- */

static bool
is_integral(FacValue v)
{
    return v.tag == FAC_V_INT || v.tag == FAC_V_BOOL;
}

/* The peer: int64 when all are integers, else the default dtype. */
static FacStatus
range(FacCall *call, FacValue start, FacValue end, FacValue step)
{
    bool integral = is_integral(start) && is_integral(end) && is_integral(step);
    FacDType dtype;
    FacDevice device;
    FAC_RETURN_IF_ERROR(
        fac_factory_options(call, integral ? FAC_DT_I64 : fac_default_dtype(), &dtype, &device));
    double a = fac_v_as_float(start), b = fac_v_as_float(end), s = fac_v_as_float(step);
    if (s == 0 || isnan(s)) return fac_error(FAC_RUNTIME_ERROR, "step must be nonzero");
    if (!isfinite(a) || !isfinite(b))
        return fac_error(FAC_RUNTIME_ERROR, "unsupported range: %g -> %g", a, b);
    if ((s > 0 && b < a) || (s < 0 && b > a))
        return fac_error(FAC_RUNTIME_ERROR,
                         "upper bound and lower bound inconsistent with step sign: "
                         "from %g to %g by %g",
                         a, b, s);
    double count = ceil((b - a) / s);
    FacDim size;
    if (integral || dtype == FAC_DT_I64) { /* as the peer: int64 ranges are of whole numbers */
        __int128 span = (__int128)fac_v_as_int(end) - fac_v_as_int(start), by = fac_v_as_int(step);
        if (by == 0) return fac_error(FAC_RUNTIME_ERROR, "step must be nonzero");
        span = (span + by - (by > 0 ? 1 : -1)) / by;
        if (span > INT64_MAX)
            return fac_error(FAC_RUNTIME_ERROR, "invalid size, possible overflow?");
        size = (FacDim)span;
    } else if (count < 0x1p62) {
        size = (FacDim)count;
    } else {
        return fac_error(FAC_RUNTIME_ERROR, "invalid size, possible overflow?");
    }
    return fac_out(call, 0, dtype, device, 1, &size);
}

FacStatus
fac_rule_arange_end(FacCall *call)
{
    return range(call, fac_v_int(0), call->args[0], fac_v_int(1));
}

FacStatus
fac_rule_arange(FacCall *call)
{
    return range(call, call->args[0], call->args[1], call->args[2]);
}

FacStatus
fac_rule_linspace(FacCall *call)
{
    FacDim steps = call->args[2].v.i;
    FacDType dtype, fallback = fac_default_dtype();
    FacDevice device;
    if (steps < 0) return fac_error(FAC_RUNTIME_ERROR, "number of steps must be non-negative");
    for (int i = 0; i < 2; i++) {
        FacTensor *t = fac_arg_tensor(call, i);
        if (t && t->ndim)
            return fac_error(FAC_RUNTIME_ERROR,
                             "linspace only supports 0-dimensional start and end "
                             "tensors, but got %s with %d dimension(s)",
                             i ? "end" : "start", t->ndim);
        if (t ? FAC_IS_COMPLEX(t->dtype) : call->args[i].tag == FAC_V_COMPLEX)
            fallback = fac_default_complex();
    }
    FAC_RETURN_IF_ERROR(fac_factory_options(call, fallback, &dtype, &device));
    return fac_out(call, 0, dtype, device, 1, &steps);
}

static FacStatus
eye_of(FacCall *call, int64_t n, int64_t m)
{
    FacDType dtype;
    FacDevice device;
    if (n < 0 || m < 0)
        return fac_error(FAC_RUNTIME_ERROR, "%s must be greater or equal to 0, got %lld",
                         n < 0 ? "n" : "m", (long long)(n < 0 ? n : m));
    FAC_RETURN_IF_ERROR(fac_factory_options(call, fac_default_dtype(), &dtype, &device));
    return fac_out(call, 0, dtype, device, 2, (FacDim[]){n, m});
}

FacStatus
fac_rule_eye(FacCall *call)
{
    return eye_of(call, call->args[0].v.i, call->args[0].v.i);
}

FacStatus
fac_rule_eye_m(FacCall *call)
{
    return eye_of(call, call->args[0].v.i, call->args[1].v.i);
}

/* Elements on or below the diagonal `offset`, which meets the rows x cols matrix or its edge: rows that
 * grow by one element each, then whole ones. */
static int64_t
count_lower(int64_t rows, int64_t cols, int64_t offset)
{
    int64_t first = offset < 0 ? -offset : 0, whole = cols - offset - 1;
    if (whole < first) whole = first;
    if (whole > rows) whole = rows;
    int64_t growing = whole - first, longest = whole + offset;
    return growing * (first + offset + 1 + longest) / 2 + (rows - whole) * cols;
}

static int64_t
limited(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

static FacStatus
tri_indices(FacCall *call, bool lower)
{
    int64_t rows = call->args[0].v.i, cols = call->args[1].v.i, offset = call->args[2].v.i;
    FacDType dtype;
    FacDevice device;
    if (rows < 0 || cols < 0)
        return fac_error(FAC_RUNTIME_ERROR, "%s must be non-negative, got %lld",
                         rows < 0 ? "row" : "col", (long long)(rows < 0 ? rows : cols));
    if (rows > INT32_MAX || cols > INT32_MAX)
        return fac_error(FAC_RUNTIME_ERROR, "a matrix of %lld x %lld is too large", (long long)rows,
                         (long long)cols);
    FAC_RETURN_IF_ERROR(fac_factory_options(call, FAC_DT_I64, &dtype, &device));
    if (dtype != FAC_DT_I64 && dtype != FAC_DT_I32)
        return fac_error(FAC_RUNTIME_ERROR, "indices are int32 or int64, not %s",
                         fac_dtype_info[dtype].name);
    offset = limited(offset, -rows, cols);
    int64_t n = lower ? count_lower(rows, cols, offset)
                      : rows * cols - count_lower(rows, cols, limited(offset - 1, -rows, cols));
    return fac_out(call, 0, dtype, device, 2, (FacDim[]){2, n});
}

FacStatus
fac_rule_tri_indices_lower(FacCall *call)
{
    return tri_indices(call, true);
}

FacStatus
fac_rule_tri_indices_upper(FacCall *call)
{
    return tri_indices(call, false);
}

/* complex and polar: two tensors of one real floating dtype. */
FacStatus
fac_rule_complex(FacCall *call)
{
    FacTensor *a = fac_arg_tensor(call, 0), *b = fac_arg_tensor(call, 1);
    FacDim sizes[FAC_MAX_NDIM];
    int ndim = 0;
    bool half = a->dtype == FAC_DT_F16;
    if (a->dtype != FAC_DT_F32 && a->dtype != FAC_DT_F64 && !half)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Expected both inputs to be Half, Float or Double tensors but "
                         "got %s and %s",
                         fac_dtype_info[a->dtype].legacy, fac_dtype_info[b->dtype].legacy);
    if (a->dtype != b->dtype)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Expected object of scalar type %s but got scalar type %s for "
                         "second argument",
                         fac_dtype_info[a->dtype].legacy, fac_dtype_info[b->dtype].legacy);
    FAC_RETURN_IF_ERROR(fac_check_same_device(call));
    FAC_RETURN_IF_ERROR(fac_broadcast(&ndim, sizes, a->ndim, a->sizes));
    FAC_RETURN_IF_ERROR(fac_broadcast(&ndim, sizes, b->ndim, b->sizes));
    return fac_out(call, 0, (FacDType)fac_dtype_info[a->dtype].complex, fac_common_device(call),
                   ndim, sizes);
}

/* --- rows that write --------------------------------------------------------------------------------------- */

FacStatus
fac_rule_copy_into(FacCall *call)
{
    FacTensor *to = fac_arg_tensor(call, 0), *from = fac_arg_tensor(call, 1);
    FacDim sizes[FAC_MAX_NDIM];
    int ndim = to->ndim;
    FAC_RETURN_IF_ERROR(fac_rule_inplace(call));
    memcpy(sizes, to->sizes, (size_t)to->ndim * sizeof *sizes);
    FacStatus st = fac_broadcast(&ndim, sizes, from->ndim, from->sizes);
    if (st != FAC_OK || ndim != to->ndim ||
        memcmp(sizes, to->sizes, (size_t)ndim * sizeof *sizes)) {
        FacText text = {.len = 0};
        fac_text_dims(&text, from->ndim, from->sizes);
        fac_text_add(&text, " into ");
        fac_text_dims(&text, to->ndim, to->sizes);
        fac_value_release(&call->results[0]);
        return fac_error(FAC_RUNTIME_ERROR,
                         "cannot copy %s: the source does not broadcast to the target", text.at);
    }
    return FAC_OK;
}

FacStatus
fac_rule_fill(FacCall *call)
{
    FacTensor *value = fac_arg_tensor(call, 1);
    if (value && value->ndim)
        return fac_error(FAC_RUNTIME_ERROR,
                         "fill_ only supports 0-dimension value tensor but got tensor "
                         "with %d dimensions.",
                         value->ndim);
    return fac_rule_inplace(call);
}

FacStatus
fac_rule_resize(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FacValue size = call->args[1];
    if (t->keys & FAC_KEY(GRAD))
        return fac_error(FAC_RUNTIME_ERROR, "cannot resize variables that require grad");
    FAC_RETURN_IF_ERROR(fac_check_ndim(size.len));
    FAC_RETURN_IF_ERROR(fac_tensor_resize(t, (int)size.len, size.v.ints));
    FacMemoryFormat format = format_option(call, FAC_CONTIGUOUS);
    if (format == FAC_CHANNELS_LAST || format == FAC_CHANNELS_LAST_3D) {
        FacDim strides[FAC_MAX_NDIM];
        if (t->ndim != (format == FAC_CHANNELS_LAST ? 4 : 5))
            return fac_error(FAC_RUNTIME_ERROR,
                             "channels_last formats need 4 or 5 dimensions, got %d", t->ndim);
        fac_strides_format(format, t->ndim, size.v.ints, strides);
        FAC_RETURN_IF_ERROR(
            fac_tensor_set_layout(t, NULL, t->ndim, size.v.ints, strides, t->offset));
    }
    return fac_rule_inplace(call);
}

FacStatus
fac_rule_resize_as(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0), *like = fac_arg_tensor(call, 1);
    if (t->keys & FAC_KEY(GRAD))
        return fac_error(FAC_RUNTIME_ERROR, "cannot resize variables that require grad");
    FAC_RETURN_IF_ERROR(fac_tensor_resize(t, like->ndim, like->sizes));
    return fac_rule_inplace(call);
}

FacStatus
fac_rule_set_storage(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FacStorage *storage = call->args[1].v.storage;
    FacValue size = call->args[3], stride = call->args[4];
    FacDim strides[FAC_MAX_NDIM];
    if (size.len > FAC_MAX_NDIM || (stride.len && stride.len != size.len))
        return fac_error(FAC_RUNTIME_ERROR, "mismatch in length of strides and shape: %u and %u",
                         stride.len, size.len);
    if (!fac_device_equal(t->device, storage->device))
        return fac_error(FAC_RUNTIME_ERROR, "the storage is on another device than the tensor");
    if (stride.len)
        memcpy(strides, stride.v.ints, stride.len * sizeof *strides);
    else
        fac_strides_contiguous((int)size.len, size.v.ints, strides);
    FAC_RETURN_IF_ERROR(
        fac_tensor_set_layout(t, storage, (int)size.len, size.v.ints, strides, call->args[2].v.i));
    return fac_rule_inplace(call);
}

FacStatus
fac_rule_set_tensor(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0), *source = fac_arg_tensor(call, 1);
    if (t->dtype != source->dtype)
        return fac_error(FAC_RUNTIME_ERROR, "cannot set a %s tensor to one of %s",
                         fac_dtype_info[t->dtype].name, fac_dtype_info[source->dtype].name);
    if (!fac_device_equal(t->device, source->device))
        return fac_error(FAC_RUNTIME_ERROR, "the source is on another device than the tensor");
    FAC_RETURN_IF_ERROR(fac_tensor_set_layout(t, source->storage, source->ndim, source->sizes,
                                              source->strides, source->offset));
    return fac_rule_inplace(call);
}

FacStatus
fac_rule_set_empty(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    FacStorage *storage = NULL;
    FAC_RETURN_IF_ERROR(fac_storage_new(t->device, 0, &storage));
    FacStatus st = fac_tensor_set_layout(t, storage, 1, (FacDim[]){0}, (FacDim[]){1}, 0);
    fac_storage_release(storage);
    return st == FAC_OK ? fac_rule_inplace(call) : st;
}
