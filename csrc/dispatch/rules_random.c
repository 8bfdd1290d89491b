/* rules_random.c - rules and composites of random numbers: ranges of parameters, shapes of factories.
 */
#include "dispatch/rules.h"
#include "generated/ops.h"

#include <math.h>
#include <string.h>

static FacStatus
sized(FacCall *call, FacValue size, FacDType fallback, uint32_t kinds)
{
    FacDType dtype;
    FacDevice device;
    FAC_RETURN_IF_ERROR(fac_factory_options(call, fallback, &dtype, &device));
    FAC_RETURN_IF_ERROR(fac_check_dtypes(call, dtype, kinds));
    return fac_out(call, 0, dtype, device, (int)size.len, size.v.ints);
}

static const uint32_t floating =
    FAC_BIT(FAC_DT_F16) | FAC_BIT(FAC_DT_BF16) | FAC_BIT(FAC_DT_F32) | FAC_BIT(FAC_DT_F64);
static const uint32_t complexes = FAC_BIT(FAC_DT_C32) | FAC_BIT(FAC_DT_C64) | FAC_BIT(FAC_DT_C128);
static const uint32_t integers = FAC_BIT(FAC_DT_BOOL) | FAC_BIT(FAC_DT_U8) | FAC_BIT(FAC_DT_I8) |
                                 FAC_BIT(FAC_DT_U16) | FAC_BIT(FAC_DT_I16) | FAC_BIT(FAC_DT_U32) |
                                 FAC_BIT(FAC_DT_I32) | FAC_BIT(FAC_DT_U64) | FAC_BIT(FAC_DT_I64);

FacStatus
fac_rule_random_new(FacCall *call)
{
    return sized(call, call->args[0], fac_default_dtype(), floating | complexes);
}

FacStatus
fac_rule_normal_size(FacCall *call)
{
    if (!(call->args[1].v.f >= 0))
        return fac_error(FAC_RUNTIME_ERROR, "normal expects std >= 0.0, but found std %g",
                         call->args[1].v.f);
    return sized(call, call->args[2], fac_default_dtype(), floating | complexes);
}

static FacStatus
check_range(int64_t low, int64_t high)
{
    if (low >= high)
        return fac_error(FAC_RUNTIME_ERROR,
                         "random_ expects 'from' to be less than 'to', but got from=%lld >= "
                         "to=%lld",
                         (long long)low, (long long)high);
    return FAC_OK;
}

FacStatus
fac_rule_randint_high(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_range(0, call->args[0].v.i));
    return sized(call, call->args[1], FAC_DT_I64, floating | integers);
}

FacStatus
fac_rule_randint(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_range(call->args[0].v.i, call->args[1].v.i));
    return sized(call, call->args[2], FAC_DT_I64, floating | integers);
}

/* Like args[0], of a dtype that can hold the numbers. */
static FacStatus
sized_like(FacCall *call, uint32_t kinds)
{
    FAC_RETURN_IF_ERROR(fac_rule_like(call));
    return fac_check_dtypes(call, (FacDType)fac_result_tensor(call, 0)->dtype, kinds);
}

FacStatus
fac_rule_rand_like(FacCall *call)
{
    return sized_like(call, floating | complexes);
}

FacStatus
fac_rule_randint_like_high(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_range(0, call->args[1].v.i));
    return sized_like(call, floating | integers);
}

FacStatus
fac_rule_randint_like(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_range(call->args[1].v.i, call->args[2].v.i));
    return sized_like(call, floating | integers);
}

FacStatus
fac_rule_randperm(FacCall *call)
{
    FacDim n = call->args[0].v.i;
    FacDType dtype;
    FacDevice device;
    if (n < 0)
        return fac_error(FAC_RUNTIME_ERROR, "n must be non-negative, got %lld", (long long)n);
    FAC_RETURN_IF_ERROR(fac_factory_options(call, FAC_DT_I64, &dtype, &device));
    FAC_RETURN_IF_ERROR(
        fac_check_dtypes(call, dtype, (floating | integers) & ~FAC_BIT(FAC_DT_BOOL)));
    double most = dtype == FAC_DT_U8     ? 256
                  : dtype == FAC_DT_I8   ? 128
                  : dtype == FAC_DT_I16  ? 32768
                  : dtype == FAC_DT_U16  ? 65536
                  : dtype == FAC_DT_F16  ? 2049
                  : dtype == FAC_DT_BF16 ? 257
                  : dtype == FAC_DT_F32  ? 16777217
                  : dtype == FAC_DT_I32  ? 2147483648.0
                                         : 9007199254740993.0;
    if ((double)n > most)
        return fac_error(FAC_RUNTIME_ERROR,
                         "n = %lld is too large: %s cannot hold every number up to it",
                         (long long)n, fac_dtype_info[dtype].name);
    return fac_out(call, 0, dtype, device, 1, &n);
}

/* --- fills -------------------------------------------------------------------------------------------- */

static FacStatus
fill_of(FacCall *call, uint32_t kinds)
{
    FAC_RETURN_IF_ERROR(fac_check_dtypes(call, (FacDType)fac_arg_tensor(call, 0)->dtype, kinds));
    return fac_rule_inplace(call);
}

FacStatus
fac_rule_uniform(FacCall *call)
{
    double from = call->args[1].v.f, to = call->args[2].v.f;
    if (!(from <= to))
        return fac_error(FAC_RUNTIME_ERROR,
                         "uniform_ expects to return a [from, to) range, but found from=%g > "
                         "to=%g",
                         from, to);
    return fill_of(call, floating | complexes);
}

FacStatus
fac_rule_normal_fill(FacCall *call)
{
    if (!(call->args[2].v.f >= 0))
        return fac_error(FAC_RUNTIME_ERROR, "normal expects std >= 0.0, but found std %g",
                         call->args[2].v.f);
    return fill_of(call, floating | complexes);
}

FacStatus
fac_rule_exponential(FacCall *call)
{
    if (!(call->args[1].v.f > 0))
        return fac_error(FAC_RUNTIME_ERROR,
                         "exponential_ expects lambda > 0.0, but found lambda=%g",
                         call->args[1].v.f);
    return fill_of(call, floating);
}

FacStatus
fac_rule_cauchy(FacCall *call)
{
    if (!(call->args[2].v.f > 0))
        return fac_error(FAC_RUNTIME_ERROR, "cauchy_ expects sigma > 0.0, but found sigma=%g",
                         call->args[2].v.f);
    return fill_of(call, floating);
}

FacStatus
fac_rule_log_normal(FacCall *call)
{
    if (!(call->args[2].v.f > 0))
        return fac_error(FAC_RUNTIME_ERROR, "log_normal_ expects std > 0.0, but found std=%g",
                         call->args[2].v.f);
    return fill_of(call, floating);
}

FacStatus
fac_rule_geometric(FacCall *call)
{
    double p = call->args[1].v.f;
    if (!(p > 0 && p < 1))
        return fac_error(FAC_RUNTIME_ERROR, "geometric_ expects p to be in (0, 1), but got p=%g",
                         p);
    return fill_of(call, (floating | integers) & ~FAC_BIT(FAC_DT_BOOL));
}

FacStatus
fac_rule_random_to(FacCall *call)
{
    FAC_RETURN_IF_ERROR(check_range(0, call->args[1].v.i));
    return fill_of(call, floating | integers);
}

FacStatus
fac_rule_random_from(FacCall *call)
{
    if (call->args[2].tag != FAC_V_NONE)
        FAC_RETURN_IF_ERROR(check_range(call->args[1].v.i, call->args[2].v.i));
    return fill_of(call, floating | integers);
}

static FacStatus
check_probability(double p)
{
    if (!(p >= 0 && p <= 1))
        return fac_error(FAC_RUNTIME_ERROR, "bernoulli_ expects p to be in [0, 1], but got p=%g",
                         p);
    return FAC_OK;
}

FacStatus
fac_rule_bernoulli_into(FacCall *call)
{
    FacTensor *p = fac_arg_tensor(call, 1), *self = fac_arg_tensor(call, 0);
    FacDim sizes[FAC_MAX_NDIM];
    int ndim = self->ndim;
    if (!p) FAC_RETURN_IF_ERROR(check_probability(fac_v_as_float(call->args[1])));
    if (p && !FAC_IS_FLOAT(p->dtype))
        return fac_error(FAC_RUNTIME_ERROR,
                         "expected probabilities tensor to have floating type, got %s",
                         fac_dtype_info[p->dtype].legacy);
    if (p) {
        memcpy(sizes, self->sizes, (size_t)ndim * sizeof *sizes);
        FAC_RETURN_IF_ERROR(fac_broadcast(&ndim, sizes, p->ndim, p->sizes));
        if (ndim != self->ndim || memcmp(sizes, self->sizes, (size_t)ndim * sizeof *sizes))
            return fac_error(FAC_RUNTIME_ERROR, "p does not broadcast to the shape of self");
    }
    return fill_of(call, floating | integers);
}

FacStatus
fac_rule_bernoulli(FacCall *call)
{
    FacTensor *p = fac_arg_tensor(call, 0);
    FAC_RETURN_IF_ERROR(fac_check_dtypes(call, (FacDType)p->dtype, floating));
    return fac_out(call, 0, (FacDType)p->dtype, p->device, p->ndim, p->sizes);
}

FacStatus
fac_rule_multinomial(FacCall *call)
{
    FacTensor *p = fac_arg_tensor(call, 0);
    FacDim n = call->args[1].v.i, sizes[2];
    if (p->ndim != 1 && p->ndim != 2)
        return fac_error(FAC_RUNTIME_ERROR, "prob_dist must be 1 or 2 dim, got %d", p->ndim);
    if (!FAC_IS_FLOAT(p->dtype))
        return fac_error(FAC_RUNTIME_ERROR,
                         "multinomial only supports floating-point dtypes for input, got: %s",
                         fac_dtype_info[p->dtype].legacy);
    if (n <= 0) return fac_error(FAC_RUNTIME_ERROR, "cannot sample n_sample <= 0 samples");
    if (!call->args[2].v.b && n > p->sizes[p->ndim - 1])
        return fac_error(FAC_RUNTIME_ERROR,
                         "cannot sample n_sample > prob_dist.size(-1) samples without "
                         "replacement");
    if (p->sizes[p->ndim - 1] > (FacDim)1 << 24)
        return fac_error(FAC_RUNTIME_ERROR, "number of categories cannot exceed 2^24");
    sizes[0] = p->ndim == 2 ? p->sizes[0] : n;
    sizes[1] = n;
    return fac_out(call, 0, FAC_DT_I64, p->device, p->ndim, sizes);
}

/* --- composites ------------------------------------------------------------------------------------------ */

FacStatus
fac_composite_bernoulli_p(FacCall *call)
{
    FacTensor *out = NULL;
    FacStatus st = FAC_OK;
    FAC_TRY(fac_op_empty_like(fac_arg_tensor(call, 0), FAC_DT_NONE, FAC_VALUE_NONE, FAC_VALUE_NONE,
                              FAC_VALUE_NONE, &out));
    FAC_TRY(fac_op_bernoulli_(out, call->args[1], call->args[2].v.generator));
    call->results[0] = fac_v_tensor(out);
    out = NULL;
done:
    fac_tensor_release(out);
    return st;
}

/* Standard normal numbers in the common shape, times std, plus mean, as the peer does it. */
FacStatus
fac_composite_normal(FacCall *call)
{
    FacTensor *mean = fac_arg_tensor(call, 0), *std = fac_arg_tensor(call, 1), *out = NULL;
    FacTensor *like = mean ? mean : std;
    FacDim sizes[FAC_MAX_NDIM];
    FacStatus st = FAC_OK;
    int ndim = 0;
    double scale = std ? 1 : fac_v_as_float(call->args[1]);
    if (!like)
        return fac_error(FAC_TYPE_ERROR, "normal() needs a size when mean and std are numbers");
    if (!(scale >= 0))
        return fac_error(FAC_RUNTIME_ERROR, "normal expects std >= 0.0, but found std %g", scale);
    if (std && FAC_IS_COMPLEX(std->dtype))
        return fac_error(FAC_RUNTIME_ERROR, "normal expects standard deviation to be non-complex");
    if (mean) FAC_TRY(fac_broadcast(&ndim, sizes, mean->ndim, mean->sizes));
    if (std) FAC_TRY(fac_broadcast(&ndim, sizes, std->ndim, std->sizes));
    FacDType dtype = mean && std ? fac_promote((FacDType)mean->dtype, (FacDType)std->dtype)
                                 : (FacDType)like->dtype;
    if (std) { /* the peer refuses negative deviations where it can look */
        FacTensor *least = NULL;
        FacValue lowest = FAC_VALUE_NONE;
        double c[2];
        if (std->numel && !fac_is_meta(std)) {
            FAC_TRY(fac_op_amin(std, fac_v_ints(NULL, 0), false, &least));
            st = fac_tensor_item(least, c, &lowest);
            fac_tensor_release(least);
            if (st != FAC_OK) goto done;
            if (fac_v_as_float(lowest) < 0)
                FAC_FAIL(FAC_RUNTIME_ERROR, "normal expects all elements of std >= 0.0");
        }
    }
    FAC_TRY(fac_op_empty(fac_v_ints(sizes, ndim), dtype, FAC_VALUE_NONE, fac_v_device(like->device),
                         FAC_VALUE_NONE, &out));
    FAC_TRY(fac_op_normal_(out, 0, scale, call->args[2].v.generator));
    if (std) FAC_TRY(fac_op_mul_(fac_v_tensor(out), call->args[1]));
    FAC_TRY(fac_op_add_(fac_v_tensor(out), call->args[0], fac_v_int(1)));
    call->results[0] = fac_v_tensor(out);
    out = NULL;
done:
    fac_tensor_release(out);
    return st;
}
