/* window.c - windows over signals and the frequencies of transforms: formulas over the index, computed in
 * double whatever the dtype.
 */
#include "tensor/call.h"

#include <math.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

static void
put(FacTensor *t, int64_t i, double value)
{
    char *at = (char *)fac_data(t) + i * t->strides[0] * fac_dtype_size((FacDType)t->dtype);
    fac_v_store(fac_v_float(value), (FacDType)t->dtype, at);
}

/* fftfreq and rfftfreq, (n, d): i / (n d), in fftfreq with the negative ones behind. */
FacStatus
fac_k_fft_freq(FacCall *call)
{
    FacTensor *t = fac_result_tensor(call, 0);
    const bool half = !strcmp(call->op->name, "fft_rfftfreq");
    const int64_t n = FAC_ARG(call, 0).v.i, below = half ? t->numel : (n + 1) / 2;
    const double unit = 1 / ((double)n * FAC_ARG(call, 1).v.f);
    for (int64_t i = 0; i < t->numel; i++) put(t, i, (double)(i < below ? i : i - n) * unit);
    return FAC_OK;
}

/* The modified Bessel function of the first kind and order 0, by its series: all terms are positive. */
static double
bessel(double x)
{
    const double quarter = x * x / 4;
    double term = 1, sum = 1;
    for (int k = 1; term > sum * 1e-17; k++) {
        term *= quarter / ((double)k * k);
        sum += term;
    }
    return sum;
}

/* (window_length, periodic, alpha, beta): which one it is stands in the row's name. A periodic window is a
 * symmetric one of one element more, without the last. */
FacStatus
fac_k_window(FacCall *call)
{
    const char *name = call->op->name;
    FacTensor *t = fac_result_tensor(call, 0);
    const int64_t last = FAC_ARG(call, 1).v.i ? t->numel : t->numel - 1;
    double a = 0.5, b = 0.5, c = 0, shape = 0;
    const bool triangle = !strncmp(name, "bartlett", 8), kaiser = !strncmp(name, "kaiser", 6);
    if (!strncmp(name, "blackman", 8)) a = 0.42, b = 0.5, c = 0.08;
    if (!strncmp(name, "hamming", 7)) a = FAC_ARG(call, 2).v.f, b = FAC_ARG(call, 3).v.f;
    if (kaiser) shape = FAC_ARG(call, 2).v.f;
    const double whole = kaiser ? bessel(shape) : 1;
    for (int64_t i = 0; i < t->numel; i++) {
        const double x = (double)i / (double)last, middle = 2 * x - 1;
        double value = a - b * cos(2 * PI * x) + c * cos(4 * PI * x);
        if (triangle) value = 1 - fabs(middle);
        if (kaiser) value = bessel(shape * sqrt(fmax(1 - middle * middle, 0))) / whole;
        put(t, i, t->numel == 1 ? 1 : value);
    }
    return FAC_OK;
}
