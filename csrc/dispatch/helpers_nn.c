/* helpers_nn.c - lists of dims for the formulas of normalization and convolution.
 */
#include "dispatch/rules.h"

static FacStatus
range(int64_t begin, int64_t end, int64_t skip, FacValue *out)
{
    int64_t dims[FAC_MAX_NDIM];
    int n = 0;
    for (int64_t i = begin; i < end; i++)
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
