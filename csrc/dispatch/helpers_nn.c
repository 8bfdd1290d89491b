/* helpers_nn.c - what the formulas of normalization and convolution need besides rows: lists of dims,
 * sizes of groups, precision.
 */
#include "dispatch/rules.h"
#include "generated/ops.h"

static FacStatus
range(int64_t begin, int64_t end, int64_t skip, FacValue *out)
{
    int64_t dims[FAC_MAX_NDIM];
    int n = 0;
    for (int64_t i = begin < 0 ? 0 : begin; i < end; i++)
        if (i != skip) dims[n++] = i;
    return fac_value_keep(fac_v_ints(dims, n), out);
}

FacStatus
fac_helper_last_dims(const FacValue *args, FacValue *out)
{
    return range(args[0].v.i - args[1].v.i, args[0].v.i, -1, out);
}

FacStatus
fac_helper_first_dims(const FacValue *args, FacValue *out)
{
    return range(0, args[0].v.i - args[1].v.i, -1, out);
}

FacStatus
fac_helper_channel_dims(const FacValue *args, FacValue *out)
{
    return range(0, args[0].v.i, 1, out);
}

FacStatus
fac_helper_channel_shape(const FacValue *args, FacValue *out)
{
    int64_t sizes[FAC_MAX_NDIM];
    for (int64_t i = 0; i < args[0].v.i; i++) sizes[i] = i == 1 ? args[1].v.i : 1;
    return fac_value_keep(fac_v_ints(sizes, (int)args[0].v.i), out);
}

FacStatus
fac_helper_group_size(const FacValue *args, FacValue *out)
{
    const FacValue shape = args[0];
    const int64_t groups = args[1].v.i;
    int64_t size = 1;
    if (shape.len < 2)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Expected at least 2 dimensions for input tensor but "
                         "received %u",
                         shape.len);
    if (groups < 1 || shape.v.ints[1] % groups)
        return fac_error(
            FAC_RUNTIME_ERROR,
            "Expected number of channels in input to be divisible by num_groups, but got "
            "%lld channels and num_groups=%lld",
            (long long)shape.v.ints[1], (long long)groups);
    for (uint32_t i = 1; i < shape.len; i++) size = fac_stride_product(size, shape.v.ints[i]);
    *out = fac_v_int(size / groups);
    return FAC_OK;
}

FacStatus
fac_helper_dtype_eps(const FacValue *args, FacValue *out)
{
    const FacDType dt = (FacDType)args[0].v.i;
    switch (fac_dtype_info[dt].real) {
    case FAC_DT_F16: *out = fac_v_float(0x1p-10); break;
    case FAC_DT_BF16: *out = fac_v_float(0x1p-7); break;
    case FAC_DT_F64: *out = fac_v_float(0x1p-52); break;
    default: *out = fac_v_float(0x1p-23); break;
    }
    return FAC_OK;
}

FacStatus
fac_helper_widened(const FacValue *args, FacValue *out)
{
    FacTensor *t = args[0].v.t, *wide;
    const FacDType dt = (FacDType)fac_dtype_info[t->dtype].compute;
    if (t->dtype == dt) return fac_value_keep(args[0], out);
    FAC_RETURN_IF_ERROR(
        fac_op__to_copy(t, dt, FAC_VALUE_NONE, FAC_VALUE_NONE, false, FAC_VALUE_NONE, &wide));
    *out = fac_v_tensor(wide);
    return FAC_OK;
}

FacStatus
fac_helper_narrowed(const FacValue *args, FacValue *out)
{
    FacTensor *t = args[0].v.t, *cast;
    const FacDType dt = (FacDType)args[1].v.i;
    if (t->dtype == dt) return fac_value_keep(args[0], out);
    FAC_RETURN_IF_ERROR(
        fac_op__to_copy(t, dt, FAC_VALUE_NONE, FAC_VALUE_NONE, false, FAC_VALUE_NONE, &cast));
    *out = fac_v_tensor(cast);
    return FAC_OK;
}

FacStatus
fac_helper_narrowed_joint(const FacValue *args, FacValue *out)
{
    const FacDType dt = fac_promote((FacDType)args[1].v.t->dtype, (FacDType)args[2].v.t->dtype);
    return fac_helper_narrowed((FacValue[]){args[0], fac_v_dtype(dt)}, out);
}

FacStatus
fac_helper_normalized_dims(const FacValue *args, FacValue *out)
{
    const uint32_t n = args[1].len, ndim = args[0].len;
    if (n == 0)
        return fac_error(FAC_RUNTIME_ERROR,
                         "Expected normalized_shape to be at least 1-dimensional");
    for (uint32_t i = 0; i < n; i++)
        if (n > ndim || args[1].v.ints[i] != args[0].v.ints[ndim - n + i])
            return fac_error(FAC_RUNTIME_ERROR,
                             "normalized_shape must be the last sizes of the input");
    return range(ndim - n, ndim, -1, out);
}

FacStatus
fac_helper_positive(const FacValue *args, FacValue *out)
{
    *out = args[0];
    if (args[0].v.f > 0) return FAC_OK;
    return fac_error(FAC_RUNTIME_ERROR, "does not support non-positive values for %s", args[1].v.s);
}

FacStatus
fac_helper_joint_shape(const FacValue *args, FacValue *out)
{
    FacDim sizes[FAC_MAX_NDIM];
    int n = (int)args[0].len;
    for (int i = 0; i < n; i++) sizes[i] = args[0].v.ints[i];
    FAC_RETURN_IF_ERROR(fac_broadcast(&n, sizes, (int)args[1].len, args[1].v.ints));
    return fac_value_keep(fac_v_ints(sizes, n), out);
}
