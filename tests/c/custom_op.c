/* custom_op.c - a shared object that brings an operator of its own: what somebody else's library
 * does.
 *
 * mylib::smooth_step(x) = x / (1 + |x|), with a gradient, from facula.h alone. The program or the
 * interpreter that loads this calls register_operators once; from then on the operator is a row
 * like the built-in ones: by name, on meta tensors, and in graphs.
 */
#include "facula.h"

#include <math.h>

FAC_API FacStatus register_operators(void);

/* A new tensor in C order with the shape of x, filled by f; both are float32. */
static FacStatus
map(FacTensor *x, FacTensor *y, float (*f)(float x, float y), FacTensor **out)
{
    FacStatus st = FAC_OK;
    FacTensor *from = NULL, *with = NULL, *to = NULL;
    if (fac_tensor_dtype(x) != FAC_DT_F32)
        return fac_error(FAC_TYPE_ERROR, "smooth_step needs a float32 tensor");
    FAC_TRY(fac_tensor_contiguous(x, &from));
    FAC_TRY(fac_tensor_contiguous(y, &with));
    FAC_TRY(fac_tensor_from_data(NULL, FAC_DT_F32, fac_tensor_ndim(x), fac_tensor_sizes(x), &to));
    const float *a = fac_tensor_data(from), *b = fac_tensor_data(with);
    float *c = fac_tensor_data(to);
    for (int64_t i = 0; i < fac_tensor_numel(x); i++) c[i] = f(a[i], b[i]);
    *out = to;
    to = NULL;
done:
    fac_release(from);
    fac_release(with);
    fac_release(to);
    return st;
}

static float
value(float x, float unused)
{
    (void)unused;
    return x / (1 + fabsf(x));
}

static float
slope(float x, float grad)
{
    float below = 1 + fabsf(x);
    return grad / (below * below);
}

static FacStatus
smooth_step_cpu(FacCall *call)
{
    FacTensor *x = fac_call_args(call)[0].v.t, *out;
    FAC_RETURN_IF_ERROR(map(x, x, value, &out));
    fac_call_results(call)[0] = (FacValue){.tag = FAC_V_TENSOR, .v.t = out};
    return FAC_OK;
}

/* Arguments: x, the result, the gradient of the result. */
static FacStatus
smooth_step_grad(FacCall *call)
{
    const FacValue *args = fac_call_args(call);
    FacTensor *out;
    FAC_RETURN_IF_ERROR(map(args[0].v.t, args[2].v.t, slope, &out));
    fac_call_results(call)[0] = (FacValue){.tag = FAC_V_TENSOR, .v.t = out};
    return FAC_OK;
}

static FacStatus
smooth_step_meta(FacCall *call)
{
    return fac_call_name("empty_like", 1, fac_call_args(call), 1, fac_call_results(call));
}

/* A composite calls other operators, and is differentiated through them. */
static FacStatus
distance(FacCall *call)
{
    const FacValue *args = fac_call_args(call);
    FacValue difference = {0}, square = {0};
    FacStatus st = FAC_OK;
    FAC_TRY(fac_call_name("sub", 2, args, 1, &difference));
    FAC_TRY(fac_call_name("mul", 2, (FacValue[]){difference, difference}, 1, &square));
    FAC_TRY(fac_call_name("sum", 1, &square, 1, fac_call_results(call)));
done:
    fac_value_release(&difference);
    fac_value_release(&square);
    return st;
}

FacStatus
register_operators(void)
{
    const FacOpSpec smooth_step = {
        .schema = "mylib::smooth_step(Tensor self) -> Tensor",
        .doc = "x / (1 + |x|).",
        .cpu = smooth_step_cpu,
        .meta = smooth_step_meta,
        .grad = smooth_step_grad,
    };
    const FacOpSpec squared_distance = {
        .schema = "mylib::squared_distance(Tensor a, Tensor b) -> Tensor",
        .doc = "The sum of the squared differences.",
        .composite = distance,
    };
    FAC_RETURN_IF_ERROR(fac_register_op(&smooth_step));
    return fac_register_op(&squared_distance);
}
