/* optim.c - one step of an optimizer for all parameters in one call.
 *
 * Each element goes through the operations of the plain, tensor by tensor form in the same order,
 * with the same roundings: decay, momentum or moments, then the update. Multiply-adds that the plain
 * form fuses are fused here too. float16 and bfloat16 parameters are updated in float32.
 *
 * The tensors of a call are seen as one row of elements, end to end, which is split by size: many
 * small parameters make one task, a large one several.
 */
#include "kernels/cpu/plain.h"

#include <math.h>

#pragma GCC optimize("fp-contract=fast")
#define OPTIM_INLINE static inline __attribute__((always_inline))

enum { PARAM, GRAD, STATE, PARTS = STATE + 3 };

/* What a step needs of one parameter. Names of numbers are those of Adam where others have the like. */
typedef struct Step {
    void *at[PARTS]; /* the parameter, its gradient, its states; NULL: not kept */
    double lr, weight_decay, momentum, dampening, beta1, beta2, eps;
    double size, next, root; /* derived from the number of the step, see each optimizer */
    double scale;            /* gradients are divided by it */
    bool nesterov, maximize, first, decoupled;
} Step;

#define T float
#define NAME(x) x##_f32
#define SQRT sqrtf
#include "kernels/cpu/optim_body.h"
#define T double
#define NAME(x) x##_f64
#define SQRT sqrt
#include "kernels/cpu/optim_body.h"

typedef void (*Body)(int64_t begin, int64_t end, const Step *s);

/* One parameter in the row of all elements. */
typedef struct Item {
    Step step;
    Body body;
    int64_t first; /* where it begins in the row */
    FacTensor *held[PARTS];
} Item;

typedef struct Row {
    Item *items;
    uint32_t count;
    int64_t n;
    _Atomic bool *hit; /* set where a parameter is not finite any more; NULL: nobody asks */
} Row;

/* How an optimizer goes: its loops, which argument is which part, and the numbers of parameter i. */
typedef struct Recipe {
    Body f32, f64;
    int parts;
    FacStatus (*numbers)(FacCall *call, uint32_t i, Step *s); /* NULL: the same for all */
} Recipe;

static void
run_item(const Row *row, const Item *item, int64_t begin, int64_t end)
{
    item->body(begin, end, &item->step);
    if (!row->hit) return;
    const FacDType dt = (FacDType)item->held[PARAM]->dtype;
    const char *at = (const char *)item->step.at[PARAM] + begin * fac_dtype_size(dt);
    if (!FAC_TIERED(all_finite)(dt, at, end - begin))
        atomic_store_explicit(row->hit, true, memory_order_relaxed);
}

static void
run_row(int64_t begin, int64_t end, void *context)
{
    const Row *row = context;
    uint32_t low = 0, high = row->count; /* the last item that begins at or before `begin` */
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (row->items[middle].first <= begin)
            low = middle;
        else
            high = middle;
    }
    for (; begin < end; low++) {
        const Item *item = &row->items[low];
        const int64_t next = low + 1 < row->count ? row->items[low + 1].first : row->n;
        const int64_t stop = next < end ? next : end;
        if (stop > begin) run_item(row, item, begin - item->first, stop - item->first);
        begin = stop;
    }
}

static FacStatus
open_item(FacCall *call, const Recipe *r, const Step *common, uint32_t i, Item *item)
{
    const FacDType dt = plain_compute(FAC_ARG(call, 0).v.tensors[i]);
    item->step = *common;
    item->body = dt == FAC_DT_F32 ? r->f32 : r->f64;
    for (int j = 0; j < r->parts; j++) {
        const FacValue list = FAC_ARG(call, j);
        if (i >= list.len) continue;
        FAC_RETURN_IF_ERROR(fac_contiguous(list.v.tensors[i], dt, &item->held[j]));
        item->step.at[j] = fac_data(item->held[j]);
    }
    return r->numbers ? r->numbers(call, i, &item->step) : FAC_OK;
}

/* What was copied for the loops goes back; as rounding may make it infinite, it counts as a hit. */
static FacStatus
write_back(FacCall *call, const Recipe *r, uint32_t i, const Item *item, _Atomic bool *hit)
{
    if (item->held[PARAM] != FAC_ARG(call, PARAM).v.tensors[i]) *hit = true;
    for (int j = 0; j < r->parts; j++) {
        FacTensor *to = item->held[j] ? FAC_ARG(call, j).v.tensors[i] : NULL;
        if (j != GRAD && to && to != item->held[j])
            FAC_RETURN_IF_ERROR(fac_tensor_copy(to, item->held[j]));
    }
    return FAC_OK;
}

/* The lists are the first arguments, in the order of the parts. */
static FacStatus
run(FacCall *call, const Recipe *r, const Step *common)
{
    _Atomic bool hit = false;
    Row row = {.count = FAC_ARG(call, 0).len, .hit = fac_look_start(call, &hit)};
    FacStatus st = FAC_OK;
    if (!row.count) return FAC_OK;
    row.items = fac_mem_zalloc(row.count * sizeof *row.items);
    if (!row.items) return fac_error(FAC_MEMORY_ERROR, "no memory for %u parameters", row.count);
    for (uint32_t i = 0; i < row.count; i++) {
        row.items[i].first = row.n;
        FAC_TRY(open_item(call, r, common, i, &row.items[i]));
        row.n += FAC_ARG(call, 0).v.tensors[i]->numel;
    }
    fac_parallel(row.n, fac_grain(4), run_row, &row);
    for (uint32_t i = 0; i < row.count; i++) FAC_TRY(write_back(call, r, i, &row.items[i], &hit));
    if (row.hit) fac_look_end(call, &hit);
done:
    for (uint32_t i = 0; i < row.count; i++)
        for (int j = 0; j < PARTS; j++) fac_tensor_release(row.items[i].held[j]);
    fac_mem_free(row.items);
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

/* That of parameter i in the list of single numbers at args[arg]. */
static FacStatus
number_of(FacCall *call, int arg, uint32_t i, double *out)
{
    return number(FAC_ARG(call, arg).v.tensors[i], 1, out);
}

static double
float_arg(FacCall *call, int i)
{
    return fac_v_as_float(FAC_ARG(call, i));
}

/* (self, grads, momentum_buffers, weight_decay, momentum, lr, dampening, nesterov, maximize,
 * is_first_step, grad_scale, found_inf). */
FacStatus
FAC_KERNEL(fused_sgd)(FacCall *call)
{
    static const Recipe recipe = {sgd_f32, sgd_f64, 3, NULL};
    double found;
    Step s = {.weight_decay = float_arg(call, 3),
              .momentum = float_arg(call, 4),
              .lr = float_arg(call, 5),
              .dampening = float_arg(call, 6),
              .nesterov = FAC_ARG(call, 7).v.i,
              .maximize = FAC_ARG(call, 8).v.i,
              .first = FAC_ARG(call, 9).v.i};
    FAC_RETURN_IF_ERROR(number(fac_arg_tensor(call, 10), 1, &s.scale));
    FAC_RETURN_IF_ERROR(number(fac_arg_tensor(call, 11), 0, &found));
    return found != 0 ? FAC_OK : run(call, &recipe, &s);
}

/* size: the learning rate with the first bias corrected; root: that of the second correction. */
static FacStatus
adam_numbers(FacCall *call, uint32_t i, Step *s)
{
    double step;
    FAC_RETURN_IF_ERROR(number_of(call, 5, i, &step));
    s->size = s->lr / (1 - pow(s->beta1, step));
    s->root = sqrt(1 - pow(s->beta2, step));
    return FAC_OK;
}

/* (self, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, state_steps, lr, beta1, beta2, weight_decay,
 * eps, amsgrad, maximize, grad_scale, found_inf). The steps have been counted up already. */
static FacStatus
fused_adam(FacCall *call, bool decoupled)
{
    const Recipe recipe = {adam_f32, adam_f64, FAC_ARG(call, 11).v.i ? 5 : 4, adam_numbers};
    double found;
    Step s = {.lr = float_arg(call, 6),
              .beta1 = float_arg(call, 7),
              .beta2 = float_arg(call, 8),
              .weight_decay = float_arg(call, 9),
              .eps = float_arg(call, 10),
              .maximize = FAC_ARG(call, 12).v.i,
              .decoupled = decoupled};
    FAC_RETURN_IF_ERROR(number(fac_arg_tensor(call, 13), 1, &s.scale));
    FAC_RETURN_IF_ERROR(number(fac_arg_tensor(call, 14), 0, &found));
    return found != 0 ? FAC_OK : run(call, &recipe, &s);
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

/* (self, grads, square_avgs, grad_avgs, momentum_buffers, lr, alpha, eps, weight_decay, momentum,
 * maximize). */
FacStatus
FAC_KERNEL(fused_rmsprop)(FacCall *call)
{
    static const Recipe recipe = {rmsprop_f32, rmsprop_f64, 5, NULL};
    const Step s = {.lr = float_arg(call, 5),
                    .beta2 = float_arg(call, 6),
                    .eps = float_arg(call, 7),
                    .weight_decay = float_arg(call, 8),
                    .momentum = float_arg(call, 9),
                    .maximize = FAC_ARG(call, 10).v.i};
    return run(call, &recipe, &s);
}

/* size: the learning rate of this step. lr_decay stands in `next`. */
static FacStatus
adagrad_numbers(FacCall *call, uint32_t i, Step *s)
{
    double step;
    FAC_RETURN_IF_ERROR(number_of(call, 3, i, &step));
    s->size = s->lr / (1 + (step - 1) * s->next);
    return FAC_OK;
}

/* (self, grads, state_sums, state_steps, lr, lr_decay, weight_decay, eps, maximize). */
FacStatus
FAC_KERNEL(fused_adagrad)(FacCall *call)
{
    static const Recipe recipe = {adagrad_f32, adagrad_f64, 3, adagrad_numbers};
    const Step s = {.lr = float_arg(call, 4),
                    .next = float_arg(call, 5),
                    .weight_decay = float_arg(call, 6),
                    .eps = float_arg(call, 7),
                    .maximize = FAC_ARG(call, 8).v.i};
    return run(call, &recipe, &s);
}

/* (self, grads, square_avgs, acc_deltas, lr, rho, eps, weight_decay, maximize). */
FacStatus
FAC_KERNEL(fused_adadelta)(FacCall *call)
{
    static const Recipe recipe = {adadelta_f32, adadelta_f64, 4, NULL};
    const Step s = {.lr = float_arg(call, 4),
                    .beta2 = float_arg(call, 5),
                    .eps = float_arg(call, 6),
                    .weight_decay = float_arg(call, 7),
                    .maximize = FAC_ARG(call, 8).v.i};
    return run(call, &recipe, &s);
}

static FacStatus
adamax_numbers(FacCall *call, uint32_t i, Step *s)
{
    double step;
    FAC_RETURN_IF_ERROR(number_of(call, 4, i, &step));
    s->size = s->lr / (1 - pow(s->beta1, step));
    return FAC_OK;
}

/* (self, grads, exp_avgs, exp_infs, state_steps, lr, beta1, beta2, weight_decay, eps, maximize). */
FacStatus
FAC_KERNEL(fused_adamax)(FacCall *call)
{
    static const Recipe recipe = {adamax_f32, adamax_f64, 4, adamax_numbers};
    const Step s = {.lr = float_arg(call, 5),
                    .beta1 = float_arg(call, 6),
                    .beta2 = float_arg(call, 7),
                    .weight_decay = float_arg(call, 8),
                    .eps = float_arg(call, 9),
                    .maximize = FAC_ARG(call, 10).v.i};
    return run(call, &recipe, &s);
}

/* mu_products hold the product of all momenta up to this step's. root: the second correction. */
static FacStatus
nadam_numbers(FacCall *call, uint32_t i, Step *s)
{
    const double decay = float_arg(call, 11);
    double step, product;
    FAC_RETURN_IF_ERROR(number_of(call, 4, i, &product));
    FAC_RETURN_IF_ERROR(number_of(call, 5, i, &step));
    const double mu = s->beta1 * (1 - 0.5 * pow(0.96, step * decay));
    const double mu_next = s->beta1 * (1 - 0.5 * pow(0.96, (step + 1) * decay));
    s->size = s->lr * (1 - mu) / (1 - product);
    s->next = s->lr * mu_next / (1 - product * mu_next);
    s->root = 1 - pow(s->beta2, step);
    return FAC_OK;
}

/* (self, grads, exp_avgs, exp_avg_sqs, mu_products, state_steps, lr, beta1, beta2, weight_decay, eps,
 * momentum_decay, decoupled_weight_decay, maximize). */
FacStatus
FAC_KERNEL(fused_nadam)(FacCall *call)
{
    static const Recipe recipe = {nadam_f32, nadam_f64, 4, nadam_numbers};
    const Step s = {.lr = float_arg(call, 6),
                    .beta1 = float_arg(call, 7),
                    .beta2 = float_arg(call, 8),
                    .weight_decay = float_arg(call, 9),
                    .eps = float_arg(call, 10),
                    .decoupled = FAC_ARG(call, 12).v.i,
                    .maximize = FAC_ARG(call, 13).v.i};
    return run(call, &recipe, &s);
}

static FacStatus
radam_numbers(FacCall *call, uint32_t i, Step *s)
{
    double step;
    FAC_RETURN_IF_ERROR(number_of(call, 4, i, &step));
    const double left = 1 - pow(s->beta2, step), most = 2 / (1 - s->beta2) - 1;
    const double rho = most - 2 * step * pow(s->beta2, step) / left;
    s->size = 1 - pow(s->beta1, step);
    s->root = rho > 5 ? sqrt(left) : 0;
    s->next = rho > 5 ? sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)) : 0;
    return FAC_OK;
}

/* (self, grads, exp_avgs, exp_avg_sqs, state_steps, lr, beta1, beta2, weight_decay, eps,
 * decoupled_weight_decay, maximize). */
FacStatus
FAC_KERNEL(fused_radam)(FacCall *call)
{
    static const Recipe recipe = {radam_f32, radam_f64, 4, radam_numbers};
    const Step s = {.lr = float_arg(call, 5),
                    .beta1 = float_arg(call, 6),
                    .beta2 = float_arg(call, 7),
                    .weight_decay = float_arg(call, 8),
                    .eps = float_arg(call, 9),
                    .decoupled = FAC_ARG(call, 10).v.i,
                    .maximize = FAC_ARG(call, 11).v.i};
    return run(call, &recipe, &s);
}

/* (self, grads, prevs, step_sizes, etaminus, etaplus, step_min, step_max, maximize). */
FacStatus
FAC_KERNEL(fused_rprop)(FacCall *call)
{
    static const Recipe recipe = {rprop_f32, rprop_f64, 4, NULL};
    const Step s = {.beta1 = float_arg(call, 4),
                    .beta2 = float_arg(call, 5),
                    .size = float_arg(call, 6),
                    .next = float_arg(call, 7),
                    .maximize = FAC_ARG(call, 8).v.i};
    return run(call, &recipe, &s);
}

static FacStatus
asgd_numbers(FacCall *call, uint32_t i, Step *s)
{
    FAC_RETURN_IF_ERROR(number_of(call, 3, i, &s->size));
    return number_of(call, 4, i, &s->next);
}

/* (self, grads, averages, etas, mus, lambd, weight_decay, maximize). */
FacStatus
FAC_KERNEL(fused_asgd)(FacCall *call)
{
    static const Recipe recipe = {asgd_f32, asgd_f64, 3, asgd_numbers};
    const Step s = {.beta1 = float_arg(call, 5),
                    .weight_decay = float_arg(call, 6),
                    .maximize = FAC_ARG(call, 7).v.i};
    return run(call, &recipe, &s);
}
