/* rules_fft.c - the rules of Fourier transforms, of their frequencies and of windows.
 */
#include "dispatch/rules.h"

#include <string.h>

/* The dims exist and differ, and along them are elements. */
static FacStatus
check_dims(const FacCall *call, const FacTensor *t, bool at_least_one)
{
    const FacValue dims = FAC_ARG(call, 1);
    uint64_t seen = 0;
    FAC_RETURN_IF_ERROR(fac_check_range(call, 2, 0, 2));
    if (at_least_one && !dims.len)
        return fac_argument_error(FAC_RUNTIME_ERROR, call, 1, "must name at least one dimension");
    for (uint32_t i = 0; i < dims.len; i++) {
        int d;
        FAC_RETURN_IF_ERROR(fac_wrap_dim(dims.v.ints[i], t->ndim, &d));
        if (!t->ndim || (seen >> d & 1))
            return fac_argument_error(FAC_RUNTIME_ERROR, call, 1,
                                      "must name dimensions of the tensor, each once");
        if (t->sizes[d] < 1)
            return fac_argument_error(FAC_RUNTIME_ERROR, call, 0,
                                      "has no elements along dimension %d", d);
        seen |= UINT64_C(1) << d;
    }
    return FAC_OK;
}

/* The last of the dims. */
static int
last_dim(const FacCall *call, const FacTensor *t)
{
    const FacValue dims = FAC_ARG(call, 1);
    const int64_t d = dims.v.ints[dims.len - 1];
    return (int)(d < 0 ? d + t->ndim : d);
}

static FacStatus
check_dtype(const FacCall *call, FacDType a, FacDType b)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    if (t->dtype == a || t->dtype == b) return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, 0, "must be %s or %s, not %s",
                              fac_dtype_info[a].name, fac_dtype_info[b].name,
                              fac_dtype_info[t->dtype].name);
}

FacStatus
fac_rule_fft_c2c(FacCall *call)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    FAC_RETURN_IF_ERROR(check_dtype(call, FAC_DT_C64, FAC_DT_C128));
    FAC_RETURN_IF_ERROR(check_dims(call, t, false));
    return fac_out(call, 0, (FacDType)t->dtype, t->device, t->ndim, t->sizes);
}

FacStatus
fac_rule_fft_r2c(FacCall *call)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(check_dtype(call, FAC_DT_F32, FAC_DT_F64));
    FAC_RETURN_IF_ERROR(check_dims(call, t, true));
    memcpy(sizes, t->sizes, (size_t)t->ndim * sizeof *sizes);
    const int last = last_dim(call, t);
    if (fac_v_is_true(FAC_ARG(call, 3))) sizes[last] = sizes[last] / 2 + 1;
    return fac_out(call, 0, (FacDType)fac_dtype_info[t->dtype].complex, t->device, t->ndim, sizes);
}

FacStatus
fac_rule_fft_c2r(FacCall *call)
{
    const FacTensor *t = fac_arg_tensor(call, 0);
    const int64_t n = FAC_ARG(call, 3).v.i;
    FacDim sizes[FAC_MAX_NDIM];
    FAC_RETURN_IF_ERROR(check_dtype(call, FAC_DT_C64, FAC_DT_C128));
    FAC_RETURN_IF_ERROR(check_dims(call, t, true));
    memcpy(sizes, t->sizes, (size_t)t->ndim * sizeof *sizes);
    const int last = last_dim(call, t);
    if (n < 1 || n / 2 + 1 > sizes[last])
        return fac_argument_error(
            FAC_RUNTIME_ERROR, call, 3, "must be from 1 to %lld for %lld complex numbers, not %lld",
            (long long)(2 * sizes[last] - 1), (long long)sizes[last], (long long)n);
    sizes[last] = n;
    return fac_out(call, 0, (FacDType)fac_dtype_info[t->dtype].real, t->device, t->ndim, sizes);
}

/* --- from options ------------------------------------------------------------------------------------- */

static FacStatus
make_line(FacCall *call, int64_t n)
{
    FacDType dtype;
    FacDevice device;
    FAC_RETURN_IF_ERROR(fac_factory_options(call, fac_default_dtype(), &dtype, &device));
    if (!FAC_IS_FLOAT(dtype) && !FAC_IS_COMPLEX(dtype))
        return fac_error(FAC_RUNTIME_ERROR, "expects floating point dtypes, got %s",
                         fac_dtype_info[dtype].name);
    return fac_out(call, 0, dtype, device, 1, &n);
}

static FacStatus
check_count(const FacCall *call)
{
    const int64_t n = FAC_ARG(call, 0).v.i;
    if (n >= 0) return FAC_OK;
    return fac_argument_error(FAC_RUNTIME_ERROR, call, 0, "must not be negative, got %lld",
                              (long long)n);
}

FacStatus
fac_rule_fft_freq(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_count(call));
    return make_line(call, FAC_ARG(call, 0).v.i);
}

FacStatus
fac_rule_fft_rfreq(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_count(call));
    return make_line(call, FAC_ARG(call, 0).v.i / 2 + 1);
}

FacStatus
fac_rule_window(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_count(call));
    return make_line(call, FAC_ARG(call, 0).v.i);
}
