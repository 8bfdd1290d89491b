/* random.c - kernels that draw from a generator.
 *
 * The order and the number of draws are the peer's, so that one seed gives one set of numbers in both:
 * uniform floats take a 32-bit draw and doubles a 64-bit one; the other distributions take a double
 * an element; normal numbers come 16 at a time by Box-Muller for 16 elements or more, else one by
 * one from the generator's own pair. Draws are serial, under the generator's lock; a tensor with gaps
 * is filled through a contiguous one of the same sizes.
 */
#include "kernels/cpu/kernel.h"
#include "kernels/scalar.h"
#include "tensor/mt19937.h"

#include <math.h>

/* --- where the numbers go ------------------------------------------------------------------------------- */

/* A contiguous tensor to fill in place of t: t itself where it has no gaps in C order. */
typedef struct Target {
    FacTensor *tensor, *plain;
    FacGenerator *generator;
    bool strided; /* t itself is not contiguous: normal numbers are then drawn one by one */
} Target;

static FacStatus
begin(FacTensor *t, FacValue generator, Target *target)
{
    target->tensor = t;
    target->strided = !t->contiguous;
    target->generator =
        generator.tag == FAC_V_GENERATOR ? generator.v.generator : fac_default_generator();
    if (target->generator->device.type != FAC_DEV_CPU)
        return fac_error(FAC_RUNTIME_ERROR, "Expected a 'cpu' device type for generator");
    if (t->contiguous)
        target->plain = fac_tensor_retain(t);
    else
        FAC_RETURN_IF_ERROR(
            fac_tensor_new((FacDType)t->dtype, t->device, t->ndim, t->sizes, &target->plain));
    pthread_mutex_lock(&target->generator->lock);
    return FAC_OK;
}

static FacStatus
finish(Target *target)
{
    pthread_mutex_unlock(&target->generator->lock);
    FacStatus st =
        target->plain == target->tensor ? FAC_OK : fac_tensor_copy(target->tensor, target->plain);
    fac_tensor_release(target->plain);
    return st;
}

static FacValue
generator_arg(const FacCall *call)
{
    for (int i = 0; i < call->op->nparams; i++)
        if (call->op->params[i].type == FAC_TYPE_GENERATOR) return call->args[i];
    return FAC_VALUE_NONE;
}

/* n draws in [0, 1) of 53 bits, each from two words: the first holds the high bits. */
static void
draw_doubles(FacGenerator *g, double *to, int64_t n)
{
    uint32_t bits[2 * FAC_BLOCK];
    for (int64_t at = 0; at < n; at += FAC_BLOCK) {
        const int64_t k = n - at < FAC_BLOCK ? n - at : FAC_BLOCK;
        fac_mt_fill(g, bits, 2 * k);
        for (int64_t i = 0; i < k; i++) {
            const double high = (double)(int32_t)(bits[2 * i] & 0x1fffffu);
            const double low = (double)(int32_t)(bits[2 * i + 1] ^ 0x80000000u) + 0x1p31;
            to[at + i] = (high * 0x1p32 + low) * 0x1p-53;
        }
    }
}

/* Fills t block by block: `shape` turns n draws into n values, stored as the tensor's dtype. */
typedef void (*Shape)(double *block, int64_t n, const double *params);

static FacStatus
fill_shaped(FacTensor *t, FacValue generator, Shape shape, const double *params)
{
    Target target;
    double block[FAC_BLOCK];
    FAC_RETURN_IF_ERROR(begin(t, generator, &target));
    char *to = fac_data(target.plain);
    const int64_t size = fac_dtype_size((FacDType)t->dtype);
    for (int64_t at = 0; at < t->numel; at += FAC_BLOCK) {
        const int64_t n = t->numel - at < FAC_BLOCK ? t->numel - at : FAC_BLOCK;
        draw_doubles(target.generator, block, n);
        shape(block, n, params);
        fac_casts[FAC_DT_F64][t->dtype](block, to + at * size, n);
    }
    return finish(&target);
}

/* --- uniform --------------------------------------------------------------------------------------------- */

static void
uniform_floats(FacGenerator *g, float *to, int64_t n, float from, float range)
{
    uint32_t bits[FAC_BLOCK];
    for (int64_t at = 0; at < n; at += FAC_BLOCK) {
        int64_t k = n - at < FAC_BLOCK ? n - at : FAC_BLOCK;
        fac_mt_fill(g, bits, k);
        for (int64_t i = 0; i < k; i++)
            to[at + i] = fx_fma_f32((float)(int32_t)(bits[i] & 0xffffffu) * 0x1p-24f, range, from);
    }
}

/* What rounding has made equal to the upper end, which does not belong to the range, becomes the lower. */
static void
uniform_wrap(FacDType dtype, void *to, int64_t n, double from, double upto)
{
    _Alignas(8) char low[8], high[8];
    fac_casts[FAC_DT_F64][dtype](&from, low, 1);
    fac_casts[FAC_DT_F64][dtype](&upto, high, 1);
#define WRAP(T)                                                                                    \
    for (int64_t i = 0; i < n; i++)                                                                \
        if (((T *)to)[i] == *(T *)high) ((T *)to)[i] = *(T *)low
    switch (fac_dtype_size(dtype)) {
    case 2: WRAP(uint16_t); break;
    case 4: WRAP(uint32_t); break;
    default: WRAP(uint64_t);
    }
#undef WRAP
}

static void
uniform_run(FacGenerator *g, FacDType dtype, void *to, int64_t n, double from, double upto)
{
    float block[FAC_BLOCK];
    if (dtype == FAC_DT_F32) {
        uniform_floats(g, to, n, (float)from, (float)(upto - from));
    } else if (dtype == FAC_DT_F64) {
        draw_doubles(g, to, n);
        for (int64_t i = 0; i < n; i++)
            ((double *)to)[i] = fx_fma_f64(((double *)to)[i], upto - from, from);
    } else {
        for (int64_t at = 0; at < n; at += FAC_BLOCK) {
            int64_t k = n - at < FAC_BLOCK ? n - at : FAC_BLOCK;
            uniform_floats(g, block, k, (float)from, (float)(upto - from));
            fac_casts[FAC_DT_F32][dtype](block, (char *)to + at * fac_dtype_size(dtype), k);
        }
    }
    uniform_wrap(dtype, to, n, from, upto);
}

/* Complex tensors are filled part by part, as twice as many real numbers. */
static FacStatus
uniform(FacTensor *t, FacValue generator, double from, double upto)
{
    Target target;
    FAC_RETURN_IF_ERROR(begin(t, generator, &target));
    uniform_run(target.generator, (FacDType)fac_dtype_info[t->dtype].real, fac_data(target.plain),
                FAC_IS_COMPLEX(t->dtype) ? 2 * t->numel : t->numel, from, upto);
    return finish(&target);
}

FacStatus
FAC_KERNEL(rand)(FacCall *call)
{
    return uniform(fac_result_tensor(call, 0), generator_arg(call), 0, 1);
}

FacStatus
FAC_KERNEL(uniform)(FacCall *call)
{
    return uniform(fac_arg_tensor(call, 0), generator_arg(call), call->args[1].v.f,
                   call->args[2].v.f);
}

/* --- normal ----------------------------------------------------------------------------------------------- */

/* Logarithm, sine and cosine go through double: the floats are nearly always the right ones. */
static void
box_muller_f32(float *at, float mean, float std)
{
    for (int i = 0; i < 8; i++) {
        const float log = (float)fx_log_short((double)(1.0f - at[i]));
        const float radius = fx_sqrt_f32(-2.0f * log), angle = 6.283185307179586f * at[i + 8];
        at[i] = radius * fx_cos_f32(angle) * std + mean;
        at[i + 8] = radius * fx_sin_f32(angle) * std + mean;
    }
}

static void
box_muller_f64(double *at, double mean, double std)
{
    for (int i = 0; i < 8; i++) {
        const double radius = fx_sqrt_f64(-2.0 * fx_log1p_f64(-at[i]));
        const double angle = 6.283185307179586 * at[i + 8];
        at[i] = radius * fx_cos_f64(angle) * std + mean;
        at[i + 8] = radius * fx_sin_f64(angle) * std + mean;
    }
}

static void
normal_f32(FacGenerator *g, float *to, int64_t n, double mean, double std)
{
    uniform_floats(g, to, n, 0, 1);
    for (int64_t i = 0; i + 16 <= n; i += 16) box_muller_f32(to + i, (float)mean, (float)std);
    if (n % 16) { /* the last 16 anew, as the peer */
        uniform_floats(g, to + n - 16, 16, 0, 1);
        box_muller_f32(to + n - 16, (float)mean, (float)std);
    }
}

static void
normal_f64(FacGenerator *g, double *to, int64_t n, double mean, double std)
{
    draw_doubles(g, to, n);
    for (int64_t i = 0; i + 16 <= n; i += 16) box_muller_f64(to + i, mean, std);
    if (n % 16) {
        draw_doubles(g, to + n - 16, 16);
        box_muller_f64(to + n - 16, mean, std);
    }
}

/* Half types go 16 by 16 through float32, so the tail draws no number that is thrown away. */
static void
normal_half(FacGenerator *g, FacDType dtype, char *to, int64_t n, double mean, double std)
{
    float block[16];
    for (int64_t i = 0; i < n; i += 16) {
        int64_t at = i + 16 <= n ? i : n - 16;
        uniform_floats(g, block, 16, 0, 1);
        box_muller_f32(block, (float)mean, (float)std);
        fac_casts[FAC_DT_F32][dtype](block, to + at * fac_dtype_size(dtype), 16);
    }
}

static double
draw_normal(FacGenerator *g, const double *params)
{
    return fac_random_normal_double(g) * params[1] + params[0];
}

static FacStatus
normal(FacTensor *t, FacValue generator, double mean, double std)
{
    bool complex = FAC_IS_COMPLEX(t->dtype);
    FacDType part = (FacDType)fac_dtype_info[t->dtype].real;
    int64_t n = complex ? 2 * t->numel : t->numel;
    Target target;
    if (complex) std *= 0.70710678118654752440;
    FAC_RETURN_IF_ERROR(begin(t, generator, &target));
    char *to = fac_data(target.plain);
    if (n < 16 || target.strided) {
        double params[2] = {mean, std}, value;
        for (int64_t i = 0; i < n; i++) {
            value = draw_normal(target.generator, params);
            fac_casts[FAC_DT_F64][part](&value, to + i * fac_dtype_size(part), 1);
        }
    } else if (part == FAC_DT_F32) {
        normal_f32(target.generator, (float *)to, n, mean, std);
    } else if (part == FAC_DT_F64) {
        normal_f64(target.generator, (double *)to, n, mean, std);
    } else {
        normal_half(target.generator, part, to, n, mean, std);
    }
    return finish(&target);
}

FacStatus
FAC_KERNEL(randn)(FacCall *call)
{
    return normal(fac_result_tensor(call, 0), generator_arg(call), 0, 1);
}

FacStatus
FAC_KERNEL(normal_fill)(FacCall *call)
{
    return normal(fac_arg_tensor(call, 0), generator_arg(call), call->args[1].v.f,
                  call->args[2].v.f);
}

FacStatus
FAC_KERNEL(normal_size)(FacCall *call)
{
    return normal(fac_result_tensor(call, 0), generator_arg(call), call->args[0].v.f,
                  call->args[1].v.f);
}

/* --- other distributions ------------------------------------------------------------------------------------ */

static void
shape_exponential(double *block, int64_t n, const double *params)
{
    for (int64_t i = 0; i < n; i++) block[i] = -fx_log1p_f64(-block[i]) / params[0];
}

static void
shape_cauchy(double *block, int64_t n, const double *params)
{
    for (int64_t i = 0; i < n; i++)
        block[i] = params[0] + params[1] * tan(3.14159265358979323846 * (block[i] - 0.5));
}

static void
shape_geometric(double *block, int64_t n, const double *params)
{
    const double scale = log1p(-params[0]);
    for (int64_t i = 0; i < n; i++) block[i] = ceil(fx_log_f64(block[i]) / scale);
}

static void
shape_bernoulli(double *block, int64_t n, const double *params)
{
    for (int64_t i = 0; i < n; i++) block[i] = block[i] < params[0];
}

FacStatus
FAC_KERNEL(exponential)(FacCall *call)
{
    return fill_shaped(fac_arg_tensor(call, 0), generator_arg(call), shape_exponential,
                       &call->args[1].v.f);
}

FacStatus
FAC_KERNEL(cauchy)(FacCall *call)
{
    double params[2] = {call->args[1].v.f, call->args[2].v.f};
    return fill_shaped(fac_arg_tensor(call, 0), generator_arg(call), shape_cauchy, params);
}

/* Normal numbers one by one, from the generator's own pairs. */
FacStatus
FAC_KERNEL(log_normal)(FacCall *call)
{
    const double params[2] = {call->args[1].v.f, call->args[2].v.f};
    FacTensor *t = fac_arg_tensor(call, 0);
    Target target;
    FAC_RETURN_IF_ERROR(begin(t, generator_arg(call), &target));
    char *to = fac_data(target.plain);
    for (int64_t i = 0; i < t->numel; i++) {
        const double value = exp(draw_normal(target.generator, params));
        fac_casts[FAC_DT_F64][t->dtype](&value, to + i * fac_dtype_size((FacDType)t->dtype), 1);
    }
    return finish(&target);
}

FacStatus
FAC_KERNEL(geometric)(FacCall *call)
{
    return fill_shaped(fac_arg_tensor(call, 0), generator_arg(call), shape_geometric,
                       &call->args[1].v.f);
}

/* Each element with the probability that stands at its place in p (contiguous, float32 or float64). */
static FacStatus
bernoulli_by(FacTensor *t, FacTensor *p, FacValue generator)
{
    bool wide = p->dtype == FAC_DT_F64;
    FacTensor *plain = NULL;
    FacStatus st = FAC_OK;
    Target target;
    FAC_TRY(fac_contiguous(p, wide ? FAC_DT_F64 : FAC_DT_F32, &plain));
    for (int64_t i = 0; i < plain->numel; i++) {
        double at = wide ? ((double *)fac_data(plain))[i] : ((float *)fac_data(plain))[i];
        if (!(at >= 0 && at <= 1))
            FAC_FAIL(FAC_RUNTIME_ERROR, "Expected p_in >= 0 && p_in <= 1, but got %g", at);
    }
    FAC_TRY(begin(t, generator, &target));
    char *to = fac_data(target.plain);
    for (int64_t at = 0; at < t->numel; at += FAC_BLOCK) {
        const int64_t n = t->numel - at < FAC_BLOCK ? t->numel - at : FAC_BLOCK;
        double hits[FAC_BLOCK];
        float draws[FAC_BLOCK];
        if (wide) {
            const double *chance = (const double *)fac_data(plain) + at;
            draw_doubles(target.generator, hits, n);
            for (int64_t i = 0; i < n; i++) hits[i] = hits[i] < chance[i];
        } else {
            const float *chance = (const float *)fac_data(plain) + at;
            uniform_floats(target.generator, draws, n, 0, 1);
            for (int64_t i = 0; i < n; i++) hits[i] = draws[i] < chance[i];
        }
        fac_casts[FAC_DT_F64][t->dtype](hits, to + at * fac_dtype_size((FacDType)t->dtype), n);
    }
    st = finish(&target);
done:
    fac_tensor_release(plain);
    return st;
}

FacStatus
FAC_KERNEL(bernoulli)(FacCall *call)
{
    return bernoulli_by(fac_result_tensor(call, 0), fac_arg_tensor(call, 0), generator_arg(call));
}

FacStatus
FAC_KERNEL(bernoulli_into)(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0), *p = fac_arg_tensor(call, 1), *wide = NULL;
    double number = fac_v_as_float(call->args[1]);
    if (!p) return fill_shaped(t, generator_arg(call), shape_bernoulli, &number);
    FAC_RETURN_IF_ERROR(fac_tensor_new((FacDType)p->dtype, p->device, t->ndim, t->sizes, &wide));
    FacStatus st = fac_tensor_copy(wide, p);
    if (st == FAC_OK) st = bernoulli_by(t, wide, generator_arg(call));
    fac_tensor_release(wide);
    return st;
}

/* (query, key, p): a bit an element of the matrix of scores, set with probability 1 - p. */
FacStatus
FAC_KERNEL(attention_keep)(FacCall *call)
{
    FacTensor *bits = fac_result_tensor(call, 0);
    const FacTensor *key = fac_arg_tensor(call, 1);
    const int64_t keys = key->sizes[key->ndim - 2], row = (keys + 7) / 8;
    const double chance = 1 - fac_v_as_float(call->args[2]);
    Target target;
    FAC_RETURN_IF_ERROR(begin(bits, generator_arg(call), &target));
    uint8_t *to = fac_data(target.plain);
    for (int64_t i = 0; row && i < bits->numel / row; i++, to += row) {
        memset(to, 0, (size_t)row);
        for (int64_t at = 0; at < keys; at += FAC_BLOCK) {
            const int64_t n = keys - at < FAC_BLOCK ? keys - at : FAC_BLOCK;
            double draws[FAC_BLOCK];
            draw_doubles(target.generator, draws, n);
            for (int64_t j = 0; j < n; j++)
                to[(at + j) / 8] |= (uint8_t)((draws[j] < chance) << (j % 8));
        }
    }
    return finish(&target);
}

/* --- integers ---------------------------------------------------------------------------------------------------- */

/* n draws of 32 bits modulo `range` < 2^28, plus low. In doubles, where the quotient is off by one at
 * most: that vectorizes, a division of integers does not. */
static void
narrow_integers(FacGenerator *g, int64_t *to, int64_t n, int64_t low, uint64_t range)
{
    uint32_t bits[FAC_BLOCK];
    const double wide = (double)range, inverse = 1 / wide;
    fac_mt_fill(g, bits, n);
    for (int64_t i = 0; i < n; i++) {
        const double x = (double)(int32_t)(bits[i] ^ 0x80000000u) + 0x1p31;
        double rest = x - fx_floor_f64(x * inverse) * wide; /* exact: all are integers below 2^53 */
        rest = rest < 0 ? rest + wide : rest;
        rest = rest >= wide ? rest - wide : rest;
        to[i] = (int64_t)((uint64_t)(int64_t)(int32_t)rest + (uint64_t)low);
    }
}

/* `range` numbers from `low` on; 0 stands for 2^64. Small ranges take a 32-bit draw. */
static FacStatus
integers(FacTensor *t, FacValue generator, int64_t low, uint64_t range)
{
    Target target;
    int64_t block[FAC_BLOCK];
    const bool narrow = range && range < (UINT64_C(1) << 28);
    FAC_RETURN_IF_ERROR(begin(t, generator, &target));
    char *to = fac_data(target.plain);
    for (int64_t at = 0; at < t->numel; at += FAC_BLOCK) {
        const int64_t n = t->numel - at < FAC_BLOCK ? t->numel - at : FAC_BLOCK;
        if (narrow) {
            narrow_integers(target.generator, block, n, low, range);
        } else {
            for (int64_t i = 0; i < n; i++) {
                const uint64_t bits = fac_random_u64(target.generator);
                block[i] = (int64_t)((range ? bits % range : bits) + (uint64_t)low);
            }
        }
        fac_casts[FAC_DT_I64][t->dtype](block, to + at * fac_dtype_size((FacDType)t->dtype), n);
    }
    return finish(&target);
}

FacStatus
FAC_KERNEL(randint_high)(FacCall *call)
{
    return integers(fac_result_tensor(call, 0), generator_arg(call), 0,
                    (uint64_t)call->args[0].v.i);
}

FacStatus
FAC_KERNEL(randint)(FacCall *call)
{
    return integers(fac_result_tensor(call, 0), generator_arg(call), call->args[0].v.i,
                    (uint64_t)call->args[1].v.i - (uint64_t)call->args[0].v.i);
}

static FacStatus
randint_like(FacCall *call, int64_t low, int64_t high)
{
    if (low >= high)
        return fac_error(FAC_RUNTIME_ERROR,
                         "random_ expects 'from' to be less than 'to', but got from=%lld >= "
                         "to=%lld",
                         (long long)low, (long long)high);
    return integers(fac_result_tensor(call, 0), FAC_VALUE_NONE, low,
                    (uint64_t)high - (uint64_t)low);
}

FacStatus
FAC_KERNEL(randint_like_high)(FacCall *call)
{
    return randint_like(call, 0, call->args[1].v.i);
}

FacStatus
FAC_KERNEL(randint_like)(FacCall *call)
{
    return randint_like(call, call->args[1].v.i, call->args[2].v.i);
}

FacStatus
FAC_KERNEL(random_to)(FacCall *call)
{
    return integers(fac_arg_tensor(call, 0), generator_arg(call), 0, (uint64_t)call->args[1].v.i);
}

/* The largest number up to which a dtype holds every integer. */
static uint64_t
integer_limit(FacDType dtype)
{
    switch (dtype) {
    case FAC_DT_BOOL: return 1;
    case FAC_DT_U8: return UINT8_MAX;
    case FAC_DT_I8: return INT8_MAX;
    case FAC_DT_U16: return UINT16_MAX;
    case FAC_DT_I16: return INT16_MAX;
    case FAC_DT_U32: return UINT32_MAX;
    case FAC_DT_I32: return INT32_MAX;
    case FAC_DT_F16: return UINT64_C(1) << 11;
    case FAC_DT_BF16: return UINT64_C(1) << 8;
    case FAC_DT_F32: return UINT64_C(1) << 24;
    case FAC_DT_F64: return UINT64_C(1) << 53;
    default: return INT64_MAX;
    }
}

FacStatus
FAC_KERNEL(random_from)(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    int64_t from = call->args[1].v.i;
    uint64_t range;
    if (call->args[2].tag != FAC_V_NONE)
        range = (uint64_t)call->args[2].v.i - (uint64_t)from;
    else
        range = integer_limit((FacDType)t->dtype) - (uint64_t)from + 1;
    return integers(t, generator_arg(call), from, range);
}

/* The whole range of the dtype: by 64-bit draws where it is wider than 32 bits. */
FacStatus
FAC_KERNEL(random_full)(FacCall *call)
{
    FacTensor *t = fac_arg_tensor(call, 0);
    uint64_t limit = integer_limit((FacDType)t->dtype);
    bool wide = limit > UINT32_MAX;
    Target target;
    FAC_RETURN_IF_ERROR(begin(t, generator_arg(call), &target));
    char *to = fac_data(target.plain);
    for (int64_t i = 0; i < t->numel; i++) {
        uint64_t bits = wide ? fac_random_u64(target.generator) : fac_random_u32(target.generator);
        int64_t value = (int64_t)(bits % (limit + 1));
        fac_casts[FAC_DT_I64][t->dtype](&value, to + i * fac_dtype_size((FacDType)t->dtype), 1);
    }
    return finish(&target);
}

FacStatus
FAC_KERNEL(randperm)(FacCall *call)
{
    FacTensor *t = fac_result_tensor(call, 0), *order = NULL;
    int64_t n = t->numel;
    Target target;
    FacStatus st = FAC_OK;
    FAC_RETURN_IF_ERROR(fac_tensor_new(FAC_DT_I64, t->device, 1, &n, &order));
    int64_t *at = fac_data(order);
    FAC_TRY(begin(t, generator_arg(call), &target));
    for (int64_t i = 0; i < n; i++) at[i] = i;
    for (int64_t i = 0; i + 1 < n; i++) {
        uint64_t bits = n < UINT32_MAX / 20 ? fac_random_u32(target.generator)
                                            : fac_random_u64(target.generator);
        int64_t other = i + (int64_t)(bits % (uint64_t)(n - i)), kept = at[i];
        at[i] = at[other];
        at[other] = kept;
    }
    if (n) fac_casts[FAC_DT_I64][t->dtype](at, fac_data(target.plain), n);
    st = finish(&target);
done:
    fac_tensor_release(order);
    return st;
}

/* --- multinomial ------------------------------------------------------------------------------------------------ */

/* One row of weights: checked, and their sum. */
static FacStatus
check_weights(const double *p, int64_t n, double *sum)
{
    *sum = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(p[i]) || p[i] < 0)
            return fac_error(FAC_RUNTIME_ERROR,
                             "probability tensor contains either `inf`, `nan` or element < 0");
        *sum += p[i];
    }
    if (!(*sum > 0))
        return fac_error(FAC_RUNTIME_ERROR,
                         "invalid multinomial distribution (sum of probabilities <= 0)");
    return FAC_OK;
}

/* With replacement: a uniform number looked up in the cumulative distribution. */
static void
draw_replacing(FacGenerator *g, double *p, int64_t n, double sum, int64_t *to, int64_t count)
{
    double total = 0;
    for (int64_t i = 0; i < n; i++) p[i] = total += p[i];
    for (int64_t i = 0; i < n; i++) p[i] /= sum;
    p[n - 1] = 1;
    for (int64_t k = 0; k < count; k++) {
        double u = fac_random_double(g);
        int64_t low = 0, high = n;
        while (low < high) {
            int64_t middle = low + (high - low) / 2;
            if (p[middle] < u)
                low = middle + 1;
            else
                high = middle;
        }
        to[k] = low;
    }
}

/* Without: the largest of p / exponential; `key` holds them. Ties go to the lower index. */
static void
pick_largest(double *key, int64_t n, int64_t *to, int64_t count)
{
    for (int64_t k = 0; k < count; k++) {
        int64_t best = 0;
        for (int64_t i = 1; i < n; i++)
            if (key[i] > key[best]) best = i;
        to[k] = best;
        key[best] = -1;
    }
}

FacStatus
FAC_KERNEL(multinomial)(FacCall *call)
{
    FacTensor *p = fac_arg_tensor(call, 0), *weights = NULL, *t = fac_result_tensor(call, 0);
    int64_t n = p->sizes[p->ndim - 1], rows = p->ndim == 2 ? p->sizes[0] : 1,
            count = call->args[1].v.i;
    bool replacing = call->args[2].v.b && count > 1, single = p->dtype != FAC_DT_F64;
    Target target;
    FacStatus st = FAC_OK;
    double sum;
    FAC_TRY(fac_tensor_new(FAC_DT_F64, p->device, p->ndim, p->sizes, &weights));
    FAC_TRY(fac_tensor_copy(weights, p));
    double *at = fac_data(weights);
    for (int64_t r = 0; r < rows; r++) FAC_TRY(check_weights(at + r * n, n, &sum));
    FAC_TRY(begin(t, generator_arg(call), &target));
    int64_t *to = fac_data(target.plain);
    if (!replacing) { /* all exponentials are drawn first, in the dtype of p */
        for (int64_t i = 0; i < rows * n; i++) {
            double e = -log1p(-fac_random_double(target.generator));
            at[i] = single ? (float)at[i] / (float)e : at[i] / e;
        }
    }
    for (int64_t r = 0; r < rows; r++) {
        double *row = at + r * n;
        if (!replacing) {
            pick_largest(row, n, to + r * count, count);
            continue;
        }
        sum = 0;
        for (int64_t i = 0; i < n; i++) sum += row[i];
        draw_replacing(target.generator, row, n, sum, to + r * count, count);
    }
    st = finish(&target);
done:
    fac_tensor_release(weights);
    return st;
}
