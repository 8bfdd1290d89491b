/* loss.c - the negative log likelihood and its gradient.
 *
 * The input is seen as batch x classes x inner, the target as batch x inner. The sums of the
 * reduced forms are taken in double precision, in order.
 */
#include "kernels/cpu/plain.h"

enum { REDUCE_NONE, REDUCE_MEAN, REDUCE_SUM };

typedef struct Nll {
    int64_t batch, classes, inner;
    const int64_t *target;
    int64_t ignore;
    int reduction;
    FacDType dtype; /* of the input */
} Nll;

/* The shape of the call, from the sizes of the input. */
static void
split(Nll *p, int ndim, const FacDim *sizes)
{
    p->batch = ndim > 1 ? sizes[0] : 1;
    p->classes = ndim > 1 ? sizes[1] : sizes[0];
    p->inner = 1;
    for (int i = 2; i < ndim; i++) p->inner *= sizes[i];
}

static FacStatus
check_targets(const Nll *p)
{
    for (int64_t i = 0; i < p->batch * p->inner; i++) {
        const int64_t t = p->target[i];
        if (t != p->ignore && (t < 0 || t >= p->classes))
            return fac_error(FAC_INDEX_ERROR, "Target %lld is out of bounds.", (long long)t);
    }
    return FAC_OK;
}

/* Where class t of position `column` of batch item `item` stands in the input. */
static inline int64_t
place(const Nll *p, int64_t item, int64_t column, int64_t t)
{
    return (item * p->classes + t) * p->inner + column;
}

/* i counts positions, by batch item and column. */
#define EACH_POSITION(p)                                                                           \
    for (int64_t item = 0, i = 0; item < (p)->batch; item++)                                       \
        for (int64_t column = 0; column < (p)->inner; column++, i++)

/* Element i of an input of any float dtype. */
static inline double
read_at(const Nll *p, const void *x, int64_t i)
{
    double value;
    if (p->dtype == FAC_DT_F32) return (double)((const float *)x)[i];
    fac_casts[p->dtype][FAC_DT_F64]((const char *)x + i * fac_dtype_size(p->dtype), &value, 1);
    return value;
}

static inline void
write_at(const Nll *p, void *x, int64_t i, double value)
{
    fac_casts[FAC_DT_F64][p->dtype](&value, (char *)x + i * fac_dtype_size(p->dtype), 1);
}

#define NLL(DT, T)                                                                                 \
    static void forward_##DT(const Nll *p, const void *x, const T *weight, T *out, T *total)       \
    {                                                                                              \
        double sum = 0, weights = 0;                                                               \
        EACH_POSITION(p)                                                                           \
        {                                                                                          \
            const int64_t t = p->target[i];                                                        \
            T value = 0;                                                                           \
            if (t != p->ignore) {                                                                  \
                const T w = weight ? weight[t] : 1;                                                \
                value = -w * (T)read_at(p, x, place(p, item, column, t));                          \
                weights += (double)w;                                                              \
            }                                                                                      \
            if (p->reduction == REDUCE_NONE)                                                       \
                out[i] = value;                                                                    \
            else                                                                                   \
                sum += (double)value;                                                              \
        }                                                                                          \
        if (p->reduction != REDUCE_NONE)                                                           \
            *out = (T)(p->reduction == REDUCE_MEAN ? sum / weights : sum);                         \
        *total = p->reduction == REDUCE_NONE ? 0 : (T)weights;                                     \
    }                                                                                              \
    static void backward_##DT(const Nll *p, const T *grad, const T *weight, const T *total,        \
                              void *dx)                                                            \
    {                                                                                              \
        const T one = p->reduction == REDUCE_NONE   ? 0                                            \
                      : p->reduction == REDUCE_MEAN ? *grad / *total                               \
                                                    : *grad;                                       \
        EACH_POSITION(p)                                                                           \
        {                                                                                          \
            const int64_t t = p->target[i];                                                        \
            if (t == p->ignore) continue;                                                          \
            const T g = p->reduction == REDUCE_NONE ? grad[i] : one;                               \
            write_at(p, dx, place(p, item, column, t), (double)(-g * (weight ? weight[t] : 1)));   \
        }                                                                                          \
    }
FAC_FLOAT_TYPES(NLL)
#undef NLL

/* (self, target, weight, reduction, ignore_index) -> (output, total_weight). */
FacStatus
FAC_KERNEL(nll_loss_forward)(FacCall *call)
{
    FacTensor *self = fac_arg_tensor(call, 0);
    FacTensor *x = NULL, *target = NULL, *weight = NULL, *out = NULL, *total = NULL;
    const FacDType dt = plain_compute(self);
    Nll p = {.reduction = (int)FAC_ARG(call, 3).v.i, .ignore = FAC_ARG(call, 4).v.i};
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(self, FAC_DT_NONE, &x));
    FAC_TRY(plain_in(fac_arg_tensor(call, 1), FAC_DT_I64, &target));
    FAC_TRY(plain_in(fac_arg_tensor(call, 2), dt, &weight));
    FAC_TRY(plain_out(call, 0, dt, &out));
    FAC_TRY(plain_out(call, 1, dt, &total));
    split(&p, self->ndim, self->sizes);
    p.dtype = (FacDType)self->dtype;
    p.target = fac_data(target);
    FAC_TRY(check_targets(&p));
    const void *w = weight ? fac_data(weight) : NULL;
    if (dt == FAC_DT_F32)
        forward_F32(&p, fac_data(x), w, fac_data(out), fac_data(total));
    else
        forward_F64(&p, fac_data(x), w, fac_data(out), fac_data(total));
    FAC_TRY(plain_done(call, 0, out));
    FAC_TRY(plain_done(call, 1, total));
done:
    fac_tensor_release(x);
    fac_tensor_release(target);
    fac_tensor_release(weight);
    fac_tensor_release(out);
    fac_tensor_release(total);
    return st;
}

/* (grad, size, target, weight, reduction, ignore_index, total_weight). */
FacStatus
FAC_KERNEL(nll_loss_backward)(FacCall *call)
{
    FacTensor *out = fac_result_tensor(call, 0);
    FacTensor *grad = NULL, *target = NULL, *weight = NULL, *total = NULL;
    const FacDType dt = plain_compute(fac_arg_tensor(call, 0));
    Nll p = {.reduction = (int)FAC_ARG(call, 4).v.i, .ignore = FAC_ARG(call, 5).v.i};
    FacStatus st = FAC_OK;
    FAC_TRY(plain_in(fac_arg_tensor(call, 0), dt, &grad));
    FAC_TRY(plain_in(fac_arg_tensor(call, 2), FAC_DT_I64, &target));
    FAC_TRY(plain_in(fac_arg_tensor(call, 3), dt, &weight));
    FAC_TRY(plain_in(fac_arg_tensor(call, 6), dt, &total));
    split(&p, out->ndim, out->sizes);
    p.dtype = (FacDType)out->dtype;
    p.target = fac_data(target);
    FAC_TRY(check_targets(&p));
    const void *w = weight ? fac_data(weight) : NULL;
    if (out->numel == 0) goto done;
    memset(fac_data(out), 0, fac_nbytes(out));
    if (dt == FAC_DT_F32)
        backward_F32(&p, fac_data(grad), w, fac_data(total), fac_data(out));
    else
        backward_F64(&p, fac_data(grad), w, fac_data(total), fac_data(out));
done:
    fac_tensor_release(grad);
    fac_tensor_release(target);
    fac_tensor_release(weight);
    fac_tensor_release(total);
    return st;
}
