/* loop.h - what generated pointwise loops are written in.
 *
 *     FAC_LOOP(loop_add_f32)
 *     {
 *         FAC_RESULT(float, 0);           r0, at data[0]; operands follow the results
 *         FAC_OPERAND(float, a, 1);
 *         FAC_OPERAND(float, b, 2);
 *         FAC_NUMBER(float, alpha, 0);    k_alpha, at params[0]
 *         FAC_EACH {
 *             FAC_LOAD(float, a);
 *             FAC_LOAD(float, b);
 *             r0[i] = a + k_alpha * b;
 *         }
 *     }
 *     FAC_LOOPS(add, [FAC_DT_F32] = loop_add_f32)
 *
 * On the CPU a loop is a FacLoop, compiled once a tier, and FAC_LOOPS the row's table of them. In
 * CUDA and HIP it is a kernel of that name, a thread an element or several, and there is no table:
 * kernels are looked up in their module by name.
 */
#ifndef FAC_KERNELS_LOOP_H
#define FAC_KERNELS_LOOP_H

#include "kernels/scalar.h"

#if defined(__CUDACC__) || defined(__HIPCC__)

typedef struct FacLoopArgs {
    void *data[8];
    alignas(16) char params[6 * 16];
    int64_t n;
} FacLoopArgs;

#define FAC_DATA args.data
#define FAC_PARAMS args.params
#define FAC_LOOP(name) extern "C" __global__ void name(const FacLoopArgs args)
#define FAC_EACH                                                                                   \
    for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < args.n;                   \
         i += gridDim.x * (int64_t)blockDim.x)
#define FAC_LOOPS(name, ...)

#else

#include "kernels/cpu/kernel.h"

/* Bodies are for all dtypes, so that some compare an unsigned number with 0. */
#pragma GCC diagnostic ignored "-Wtype-limits"

#define FAC_DATA data
#define FAC_PARAMS params
#define FAC_LOOP(name) static void name(void *const *data, int64_t n, FAC_UNUSED const void *params)
/* A result may lie exactly where an operand lies, never shifted. */
#define FAC_EACH                                                                                   \
    _Pragma("GCC ivdep")                                                                           \
    for (int64_t i = 0; i < n; i++)
#define FAC_LOOPS(name, ...)                                                                       \
    extern FacLoops FAC_TIERED(loops_##name);                                                      \
    FacLoops FAC_TIERED(loops_##name) = {.loop = {__VA_ARGS__}};

#endif

#define FAC_UNUSED __attribute__((unused))

/* Conditions in front of a loop. fx_near(a): no element of the operand is too far from 0 for
 * the plain sine and its like. */
#ifdef __cplusplus
#define fx_near_f32(x) 0
#define fx_near_f64(x) 0
#define fx_only_f32(x, value) 0
#define fx_only_f64(x, value) 0
#else
#define FAC_NEAR(T, S, ABS)                                                                        \
    FAC_UNUSED static int all_near_##S(const T *x, int64_t n)                                      \
    {                                                                                              \
        int far = 0;                                                                               \
        for (int64_t i = 0; i < n; i++) far |= ABS(x[i]) > (T)FX_FAR;                              \
        return !far;                                                                               \
    }
FAC_NEAR(float, f32, __builtin_fabsf)
FAC_NEAR(double, f64, __builtin_fabs)
#define fx_near_f32(x) all_near_f32(p_##x, n)
#define fx_near_f64(x) all_near_f64(p_##x, n)

/* fx_only(b, 2), as a condition: all elements of the operand are this number. */
#define FAC_ONLY(T, S)                                                                             \
    FAC_UNUSED static int all_are_##S(const T *x, int64_t n, T value)                              \
    {                                                                                              \
        int other = n && x[0] != value;                                                            \
        for (int64_t i = 1; i < n && !other; i += FAC_BLOCK)                                       \
            for (int64_t k = i; k < i + FAC_BLOCK && k < n; k++) other |= x[k] != value;           \
        return !other;                                                                             \
    }
FAC_ONLY(float, f32)
FAC_ONLY(double, f64)
#define fx_only_f32(x, value) all_are_f32(p_##x, n, value)
#define fx_only_f64(x, value) all_are_f64(p_##x, n, value)
#endif
#define FAC_RESULT(T, at) T *r##at = (T *)FAC_DATA[at]
#define FAC_OPERAND(T, x, at) const T *p_##x = (const T *)FAC_DATA[at]
#define FAC_NUMBER(T, name, at) FAC_UNUSED const T k_##name = ((const T *)FAC_PARAMS)[at]
/* Memory that became a bool tensor unseen (empty, a view of bytes) holds any byte: all but 0 are
 * true. */
#ifdef __cplusplus
#define FAC_LOAD(T, x) FAC_UNUSED const T x = p_##x[i]
#else
#define FAC_LOAD(T, x)                                                                             \
    FAC_UNUSED const T x =                                                                         \
        _Generic(p_##x[i], bool: *(const unsigned char *)&p_##x[i] != 0, default: p_##x[i])
#endif

#endif
