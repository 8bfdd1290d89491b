/* user_program.c - the C library as its users see it: facula.h, libfacula.so and nothing else.
 *
 * Calls operators by name, differentiates, registers an operator with a gradient of its own, and
 * reads an error message.
 */
#include "facula.h"

#include <stdio.h>
#include <string.h>

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition,                     \
                    fac_error_message());                                                          \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

static FacValue
tensor_value(FacTensor *tensor)
{
    return (FacValue){.tag = FAC_V_TENSOR, .v.t = tensor};
}

static FacTensor *
call(const char *name, int n, const FacValue *args)
{
    FacValue result = {0};
    return fac_call_name(name, n, args, 1, &result) == FAC_OK ? result.v.t : NULL;
}

/* sum(x * x): its gradient is 2 x. */
static int
differentiate(void)
{
    const float data[] = {1, 2, 3};
    FacTensor *x, *grad = NULL;
    EXPECT(fac_tensor_from_data(data, FAC_DT_F32, 1, (FacDim[]){3}, &x) == FAC_OK);
    EXPECT(fac_requires_grad(x, true) == FAC_OK);
    FacTensor *square = call("mul", 2, (FacValue[]){tensor_value(x), tensor_value(x)});
    EXPECT(square);
    FacTensor *sum = call("sum", 1, (FacValue[]){tensor_value(square)});
    EXPECT(sum && ((float *)fac_tensor_data(sum))[0] == 14.0f);
    EXPECT(fac_backward(sum, NULL) == FAC_OK);
    EXPECT(fac_tensor_grad(x, &grad) == FAC_OK && grad);
    for (int i = 0; i < 3; i++) EXPECT(((float *)fac_tensor_data(grad))[i] == 2 * data[i]);
    fac_release(grad);
    fac_release(sum);
    fac_release(square);
    fac_release(x);
    return 0;
}

static FacStatus
halve_on_cpu(FacCall *c)
{
    FacTensor *x = fac_call_args(c)[0].v.t, *whole = NULL, *out = NULL;
    FacStatus st = fac_tensor_contiguous(x, &whole);
    if (st != FAC_OK) return st;
    st = fac_tensor_from_data(fac_tensor_data(whole), FAC_DT_F32, fac_tensor_ndim(whole),
                              fac_tensor_sizes(whole), &out);
    fac_release(whole);
    if (st != FAC_OK) return st;
    float *at = fac_tensor_data(out);
    for (int64_t i = 0; i < fac_tensor_numel(out); i++) at[i] *= 0.5f;
    fac_call_results(c)[0] = tensor_value(out);
    return FAC_OK;
}

static int
register_an_operator(void)
{
    const FacOpSpec spec = {
        .schema = "user::halve(Tensor self) -> Tensor", .doc = "Half of it.", .cpu = halve_on_cpu};
    const float data[] = {1, 2, 3, 4};
    FacTensor *x;
    EXPECT(fac_register_op(&spec) == FAC_OK);
    EXPECT(fac_tensor_from_data(data, FAC_DT_F32, 2, (FacDim[]){2, 2}, &x) == FAC_OK);
    FacTensor *half = call("user::halve", 1, (FacValue[]){tensor_value(x)});
    EXPECT(half && fac_tensor_ndim(half) == 2 && ((float *)fac_tensor_data(half))[3] == 2.0f);
    fac_release(half);
    fac_release(x);
    return 0;
}

static int
read_an_error(void)
{
    FacTensor *a, *b;
    EXPECT(fac_tensor_from_data(NULL, FAC_DT_F32, 1, (FacDim[]){3}, &a) == FAC_OK);
    EXPECT(fac_tensor_from_data(NULL, FAC_DT_F32, 1, (FacDim[]){4}, &b) == FAC_OK);
    FacValue result = {0};
    FacStatus st =
        fac_call_name("add", 2, (FacValue[]){tensor_value(a), tensor_value(b)}, 1, &result);
    EXPECT(st == FAC_RUNTIME_ERROR && strstr(fac_error_message(), "3"));
    EXPECT(fac_call_name("no_such_operator", 0, NULL, 1, &result) != FAC_OK);
    fac_release(a);
    fac_release(b);
    return 0;
}

int
main(void)
{
    return differentiate() || register_an_operator() || read_an_error();
}
