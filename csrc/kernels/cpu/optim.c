/* optim.c - one step of an optimizer for all parameters in one call.
 *
 * Each element goes through the operations of the plain, tensor by tensor form in the same order,
 * with the same roundings: decay, momentum or moments, then the update. Multiply-adds that the plain
 * form fuses are fused here too. float16 and bfloat16 parameters are updated in float32.
 */
#include "kernels/cpu/plain.h"

#include <math.h>

#pragma GCC optimize("fp-contract=fast")

enum { PARAM, GRAD, FIRST, SECOND, MAXIMUM, PARTS };

typedef struct Step {
    void *at[PARTS];
    double lr, weight_decay, momentum, dampening, beta1, beta2, eps;
    double correction, root; /* Adam: step size, and the root of the second bias correction */
    double scale;            /* gradients are divided by it */
    bool nesterov, maximize, first, decoupled;
} Step;

#define OPTIMIZERS(DT, T, SQRT)                                                                    \
    static void sgd_##DT(int64_t begin, int64_t end, void *context)                                \
    {                                                                                              \
        const Step *s = context;                                                                   \
        T *p = s->at[PARAM], *buffer = s->at[FIRST];                                               \
        const T *grad = s->at[GRAD];                                                               \
        const T lr = (T) - s->lr, decay = (T)s->weight_decay, momentum = (T)s->momentum;           \
        const T fresh = (T)(1 - s->dampening), sign = s->maximize ? -1 : 1, scale = (T)s->scale;   \
        for (int64_t i = begin; i < end; i++) {                                                    \
            T g = sign * grad[i] / scale;                                                          \
            if (decay != 0) g = decay * p[i] + g;                                                  \
            if (buffer) {                                                                          \
                T b = s->first ? g : fresh * g + (T)(buffer[i] * momentum);                        \
                buffer[i] = b;                                                                     \
                g = s->nesterov ? momentum * b + g : b;                                            \
            }                                                                                      \
            p[i] = lr * g + p[i];                                                                  \
        }                                                                                          \
    }                                                                                              \
    static void adam_##DT(int64_t begin, int64_t end, void *context)                               \
    {                                                                                              \
        const Step *s = context;                                                                   \
        T *p = s->at[PARAM], *m = s->at[FIRST], *v = s->at[SECOND], *top = s->at[MAXIMUM];         \
        const T *grad = s->at[GRAD];                                                               \
        const T decay = (T)s->weight_decay, keep = (T)(1 - s->lr * s->weight_decay);               \
        const T b1 = (T)(1 - s->beta1), b2 = (T)s->beta2, c2 = (T)(1 - s->beta2);                  \
        const T size = (T) - s->correction, root = (T)s->root, eps = (T)s->eps;                    \
        const T sign = s->maximize ? -1 : 1, scale = (T)s->scale;                                  \
        for (int64_t i = begin; i < end; i++) {                                                    \
            T g = sign * grad[i] / scale, x = p[i];                                                \
            if (s->decoupled)                                                                      \
                x = x * keep;                                                                      \
            else if (decay != 0)                                                                   \
                g = decay * x + g;                                                                 \
            m[i] = b1 < (T)0.5 ? b1 * (g - m[i]) + m[i] : (b1 - 1) * (g - m[i]) + g;               \
            const T kept = v[i] * b2;                                                              \
            T w = c2 * g * g + kept;                                                               \
            v[i] = w;                                                                              \
            if (top) w = top[i] = w > top[i] || w != w ? w : top[i];                               \
            p[i] = size * m[i] / (SQRT(w) / root + eps) + x;                                       \
        }                                                                                          \
    }
OPTIMIZERS(f32, float, sqrtf)
OPTIMIZERS(f64, double, sqrt)
#undef OPTIMIZERS

/* Item i of a list argument, contiguous in dt. */
static FacStatus
item(FacCall *call, int arg, uint32_t i, FacDType dt, FacTensor **out)
{
    const FacValue list = FAC_ARG(call, arg);
    return fac_contiguous(list.v.tensors[i], dt, out);
}

/* One tensor of every list through `body`; what was copied is written back. */
static FacStatus
step_one(FacCall *call, uint32_t i, int parts, const int *args, Step *s, bool adam)
{
    FacTensor *held[PARTS] = {NULL};
    FacTensor *param = FAC_ARG(call, 0).v.tensors[i];
    const FacDType dt = plain_compute(param);
    FacStatus st = FAC_OK;
    for (int j = 0; j < parts; j++) {
        s->at[j] = NULL;
        if (i >= FAC_ARG(call, args[j]).len) continue;
        FAC_TRY(item(call, args[j], i, dt, &held[j]));
        s->at[j] = fac_data(held[j]);
    }
    const FacBody body =
        dt == FAC_DT_F32 ? (adam ? adam_f32 : sgd_f32) : (adam ? adam_f64 : sgd_f64);
    fac_parallel(param->numel, fac_grain(4), body, s);
    for (int j = 0; j < parts; j++) {
        FacTensor *to = held[j] ? FAC_ARG(call, args[j]).v.tensors[i] : NULL;
        if (j != GRAD && to && to != held[j]) FAC_TRY(fac_tensor_copy(to, held[j]));
    }
done:
    for (int j = 0; j < parts; j++) fac_tensor_release(held[j]);
    return st;
}

/* One element as a double; `fallback` without a tensor. */
static FacStatus
number(FacTensor *t, double fallback, double *out)
{
    double room[2];
    FacValue v;
    *out = fallback;
    if (!t) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_tensor_item(t, room, &v));
    *out = fac_v_as_float(v);
    return FAC_OK;
}

/* (self, grads, momentum_buffers, weight_decay, momentum, lr, dampening, nesterov, maximize,
 * is_first_step, grad_scale, found_inf). */
FacStatus
FAC_KERNEL(fused_sgd)(FacCall *call)
{
    static const int args[] = {0, 1, 2};
    double found;
    Step s = {.weight_decay = fac_v_as_float(FAC_ARG(call, 3)),
              .momentum = fac_v_as_float(FAC_ARG(call, 4)),
              .lr = fac_v_as_float(FAC_ARG(call, 5)),
              .dampening = fac_v_as_float(FAC_ARG(call, 6)),
              .nesterov = FAC_ARG(call, 7).v.i,
              .maximize = FAC_ARG(call, 8).v.i,
              .first = FAC_ARG(call, 9).v.i};
    FAC_RETURN_IF_ERROR(number(fac_arg_tensor(call, 10), 1, &s.scale));
    FAC_RETURN_IF_ERROR(number(fac_arg_tensor(call, 11), 0, &found));
    if (found != 0) return FAC_OK;
    for (uint32_t i = 0; i < FAC_ARG(call, 0).len; i++)
        FAC_RETURN_IF_ERROR(step_one(call, i, 3, args, &s, false));
    return FAC_OK;
}

/* (self, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, lr, beta1, beta2, weight_decay,
 * eps, amsgrad, maximize, grad_scale, found_inf). The steps have been counted up already. */
static FacStatus
fused_adam(FacCall *call, bool decoupled)
{
    static const int args[] = {0, 1, 2, 3, 4};
    double found, step;
    Step s = {.lr = fac_v_as_float(FAC_ARG(call, 6)),
              .beta1 = fac_v_as_float(FAC_ARG(call, 7)),
              .beta2 = fac_v_as_float(FAC_ARG(call, 8)),
              .weight_decay = fac_v_as_float(FAC_ARG(call, 9)),
              .eps = fac_v_as_float(FAC_ARG(call, 10)),
              .maximize = FAC_ARG(call, 12).v.i,
              .decoupled = decoupled};
    const int parts = FAC_ARG(call, 11).v.i ? 5 : 4;
    FAC_RETURN_IF_ERROR(number(fac_arg_tensor(call, 13), 1, &s.scale));
    FAC_RETURN_IF_ERROR(number(fac_arg_tensor(call, 14), 0, &found));
    if (found != 0) return FAC_OK;
    for (uint32_t i = 0; i < FAC_ARG(call, 0).len; i++) {
        FAC_RETURN_IF_ERROR(number(FAC_ARG(call, 5).v.tensors[i], 1, &step));
        s.correction = s.lr / (1 - pow(s.beta1, step));
        s.root = sqrt(1 - pow(s.beta2, step));
        FAC_RETURN_IF_ERROR(step_one(call, i, parts, args, &s, true));
    }
    return FAC_OK;
}

FacStatus
FAC_KERNEL(fused_adam)(FacCall *call)
{
    return fused_adam(call, false);
}

FacStatus
FAC_KERNEL(fused_adamw)(FacCall *call)
{
    return fused_adam(call, true);
}
