/* forward.c - levels of forward mode: tangents go along with values.
 *
 * The call runs on the values first; then each result gets its tangent, by the first way that the
 * row allows:
 *   linear        the row itself, on the tangents (FacOp.linear)
 *   elementwise   the gradient formula with the tangent in place of the gradient: the Jacobian of a
 *                 real pointwise row is diagonal, hence its own transpose
 *   composite     it is expanded, and its parts are differentiated
 *   any other     the gradient formula is a linear function of the gradient; its own gradient, taken
 *                 at a level of its own, is the transpose of the transpose
 * So no row says anything about forward mode but what it is linear in, and tangents are made by
 * rows: outer levels and recording see them.
 *
 * In-place calls run out of place and are copied over.
 */
#include "layers/transform.h"

#include "generated/ops.h"
#include "layers/engine.h"
#include "layers/record.h"

#include <string.h>

/* --- which tensors ---------------------------------------------------------------------------- */

static bool
carries(const FacTensor *t)
{
    return !FAC_IS_INT(t->dtype);
}

static bool
value_has_tangent(FacValue v, const FacLevel *level)
{
    if (v.tag == FAC_V_TENSOR) return fac_tangent(v.v.t, level) != NULL;
    for (uint32_t i = 0; v.tag == FAC_V_TENSORS && i < v.len; i++)
        if (v.v.tensors[i] && fac_tangent(v.v.tensors[i], level)) return true;
    return false;
}

/* A tensor of zeros like t, with its strides where it is dense. */
static FacStatus
zeros_like(FacTensor *t, FacTensor **out)
{
    return fac_op_zeros_like(t, FAC_DT_NONE, FAC_VALUE_NONE, FAC_VALUE_NONE, FAC_VALUE_NONE, out);
}

static FacStatus
cast(FacTensor *t, FacDType dtype, FacTensor **out)
{
    if (t->dtype == dtype) {
        *out = fac_tensor_retain(t);
        return FAC_OK;
    }
    return fac_op__to_copy(t, dtype, FAC_VALUE_NONE, FAC_VALUE_NONE, false, FAC_VALUE_NONE, out);
}

/* *sum += t, or = t; takes t. */
static FacStatus
add_take(FacTensor *t, FacTensor **sum)
{
    FacTensor *both = t;
    FacStatus st = FAC_OK;
    if (*sum && t) {
        st = fac_op_add(fac_v_tensor(*sum), fac_v_tensor(t), fac_v_int(1), &both);
        fac_tensor_release(t);
        if (st != FAC_OK) return st;
    }
    if (!both) return FAC_OK;
    fac_tensor_release(*sum);
    *sum = both;
    return FAC_OK;
}

/* The tangents of the results of one call, while they are made: by result, and by item of a list. */
typedef struct Forward {
    FacCall *call;
    FacLevel *level;
    const FacGradRow *row;
    uint32_t which; /* bits of row->inputs that have a tangent */
    int n;          /* results, or items of the one that is a list */
    FacTensor *few[FAC_MAX_RESULTS];
    FacTensor **tangents; /* n of them, owned; NULL for none */
} Forward;

static FacTensor *
result_at(const Forward *f, int i)
{
    FacValue first = f->call->results[0];
    if (first.tag == FAC_V_TENSORS) return first.v.tensors[i];
    return fac_v_as_tensor(f->call->results[i]);
}

/* --- linear rows ------------------------------------------------------------------------------ */

/* The argument as a linear row sees it: tangents, zeros for those that have none. */
static FacStatus
tangent_or_zeros(FacTensor *t, const FacLevel *level, FacTensor **out)
{
    FacTensor *tangent = fac_tangent(t, level);
    if (!tangent) return zeros_like(t, out);
    *out = fac_tensor_retain(tangent);
    return FAC_OK;
}

static FacStatus
linear_argument(FacValue v, const FacLevel *level, FacValue *out)
{
    FacTensor *t, **slots;
    if (v.tag == FAC_V_TENSOR) {
        FAC_RETURN_IF_ERROR(tangent_or_zeros(v.v.t, level, &t));
        *out = (FacValue){.tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = t};
    } else if (v.tag == FAC_V_TENSORS) {
        FAC_RETURN_IF_ERROR(fac_value_new_tensors((int)v.len, out, &slots));
        for (uint32_t i = 0; i < v.len; i++)
            FAC_RETURN_IF_ERROR(tangent_or_zeros(v.v.tensors[i], level, &slots[i]));
    } else {
        *out = fac_v_is_number(v) ? fac_v_int(0) : v; /* a number is a constant */
        if (v.tag == FAC_V_FLOAT) *out = fac_v_float(0);
    }
    return FAC_OK;
}

/* Calls the row with the arguments of `mask` replaced; results in `results`. */
static FacStatus
call_on_tangents(const Forward *f, uint32_t mask, FacValue *results)
{
    const FacOp *op = f->call->op;
    FacValue args[FAC_MAX_PARAMS];
    FacStatus st = FAC_OK;
    for (int i = 0; i < op->nparams; i++) {
        args[i] = f->call->args[i];
        args[i].flags &= (uint8_t)~FAC_VALUE_OWNED;
    }
    for (int i = 0; i < op->nparams && i < 32 && st == FAC_OK; i++) {
        bool optional = op->params[i].flags & FAC_P_OPTIONAL;
        if (mask >> i & 1)
            st = linear_argument(f->call->args[i], f->level, &args[i]);
        else if ((op->flags & FAC_OP_MULTILINEAR) && optional && args[i].tag == FAC_V_TENSOR)
            args[i] = FAC_VALUE_NONE; /* what is added does not count */
    }
    if (st == FAC_OK) st = fac_call(op, op->nparams, args, results);
    fac_values_release(args, op->nparams);
    return st;
}

static FacStatus
take_tangents(Forward *f, FacValue *results)
{
    FacStatus st = FAC_OK;
    for (int i = 0; i < f->n && st == FAC_OK; i++) {
        FacTensor *t =
            results[0].tag == FAC_V_TENSORS ? results[0].v.tensors[i] : fac_v_as_tensor(results[i]);
        st = add_take(t ? fac_tensor_retain(t) : NULL, &f->tangents[i]);
    }
    fac_values_release(results, f->call->op->nresults);
    return st;
}

static FacStatus
linear_way(Forward *f)
{
    const FacOp *op = f->call->op;
    FacValue results[FAC_MAX_RESULTS];
    if (!(op->flags & FAC_OP_MULTILINEAR)) {
        FAC_RETURN_IF_ERROR(call_on_tangents(f, op->linear, results));
        return take_tangents(f, results);
    }
    for (int i = 0; i < op->nparams && i < 32; i++) {
        if (!(op->linear >> i & 1) || !value_has_tangent(f->call->args[i], f->level)) continue;
        FAC_RETURN_IF_ERROR(call_on_tangents(f, UINT32_C(1) << i, results));
        FAC_RETURN_IF_ERROR(take_tangents(f, results));
    }
    return FAC_OK;
}

static bool
has_tangents(const FacCall *call, const FacLevel *level)
{
    for (int i = 0; i < call->op->nparams; i++)
        if (value_has_tangent(call->args[i], level)) return true;
    return false;
}

/* Everything with a tangent is among what the row is linear in. */
static bool
is_linear(const FacCall *call, const FacLevel *level)
{
    const FacOp *op = call->op;
    if (!op->linear) return false;
    for (int i = 0; i < op->nparams; i++)
        if (!(i < 32 && op->linear >> i & 1) && value_has_tangent(call->args[i], level))
            return false;
    return true;
}

/* --- by the gradient formula ------------------------------------------------------------------ */

/* What the formulas read, straight from the call. */
static void
saved_of_call(const Forward *f, uint32_t needed, FacValue *saved)
{
    for (int i = 0; i < f->row->nsaved; i++) {
        const FacSave *save = &f->row->saved[i];
        bool result = save->kind == FAC_SAVE_RESULT || save->kind == FAC_SAVE_RESULT_SIZES ||
                      save->kind == FAC_SAVE_RESULT_META;
        bool sizes = save->kind == FAC_SAVE_SIZES || save->kind == FAC_SAVE_RESULT_SIZES;
        FacValue v = result ? f->call->results[save->index] : f->call->args[save->index];
        FacTensor *t = fac_v_as_tensor(v);
        if (sizes && t) v = fac_v_ints(t->sizes, t->ndim);
        v.flags &= (uint8_t)~FAC_VALUE_OWNED;
        saved[i] = save->needed & needed ? v : FAC_VALUE_NONE;
    }
}

static FacStatus
call_formula(const Forward *f, uint32_t needed, const FacValue *grads, FacValue *out)
{
    FacValue saved[FAC_MAX_SAVED];
    saved_of_call(f, needed, saved);
    for (int i = 0; i < f->row->ninputs; i++) out[i] = FAC_VALUE_NONE;
    FacGradCall call = {
        .op = f->call->op, .saved = saved, .grads = grads, .needed = needed, .out = out};
    FacStatus st = f->row->backward(&call);
    for (int i = 0; i < f->row->ninputs; i++) out[i].flags |= FAC_VALUE_OWNED;
    return st;
}

static bool
is_elementwise(const Forward *f)
{
    const FacOp *op = f->call->op;
    const FacTensor *result = result_at(f, 0);
    if (!(op->flags & FAC_OP_POINTWISE) || op->nresults != 1 || !FAC_IS_FLOAT(result->dtype))
        return false;
    for (int i = 0; i < op->nparams; i++) {
        const FacTensor *t = fac_v_as_tensor(f->call->args[i]);
        if (t && FAC_IS_COMPLEX(t->dtype)) return false;
    }
    return true;
}

/* The tangent as the result has it: its dtype, its shape. */
static FacStatus
fit_to_result(FacTensor *tangent, FacTensor *result, FacTensor **out)
{
    FacTensor *same;
    FAC_RETURN_IF_ERROR(cast(tangent, (FacDType)result->dtype, &same));
    FacStatus st = fac_op_expand(same, fac_v_ints(result->sizes, result->ndim), false, out);
    fac_tensor_release(same);
    return st;
}

static FacStatus
elementwise_way(Forward *f)
{
    FacValue out[FAC_MAX_INPUTS];
    FacTensor *grad = NULL, *result = result_at(f, 0);
    for (int i = 0; i < f->row->ninputs; i++) {
        if (!(f->which >> i & 1)) continue;
        FacTensor *arg = fac_v_as_tensor(f->call->args[f->row->inputs[i]]);
        FAC_RETURN_IF_ERROR(fit_to_result(fac_tangent(arg, f->level), result, &grad));
        FacValue g = fac_v_tensor(grad);
        FacStatus st = call_formula(f, UINT32_C(1) << i, &g, out);
        fac_tensor_release(grad);
        FacTensor *part = fac_v_as_tensor(out[i]), *fit = NULL;
        if (st == FAC_OK && part) st = fit_to_result(part, result, &fit);
        if (st == FAC_OK) st = add_take(fit, &f->tangents[0]);
        fac_values_release(out, f->row->ninputs);
        FAC_RETURN_IF_ERROR(st);
    }
    return FAC_OK;
}

/* --- the transpose of the transpose ----------------------------------------------------------- */

/* One run of the formula at a level of its own: gradients of the results that can have one, which
 * are the inputs, and roots, which are the gradients of the arguments. */
typedef struct Transpose {
    FacTensor **grads; /* f->n wrappers, NULL for results without */
    FacValue out[FAC_MAX_INPUTS];
    int nroots, room;
    FacTensor **roots, **cotangents; /* owned roots; borrowed tangents */
} Transpose;

/* Where the derivative is taken is all the same: the formula is linear. Some go by logarithms, so it
 * is taken at 1. */
static FacStatus
make_gradients(const Forward *f, const FacLevel *inner, FacTensor **grads)
{
    for (int i = 0; i < f->n; i++) {
        FacTensor *result = result_at(f, i), *ones;
        bool listed = f->call->results[0].tag == FAC_V_TENSORS;
        if (!result || !carries(result) || (f->row->nondiff >> (listed ? 0 : i) & 1)) continue;
        FAC_RETURN_IF_ERROR(fac_op_ones_like(result, FAC_DT_NONE, FAC_VALUE_NONE, FAC_VALUE_NONE,
                                             FAC_VALUE_NONE, &ones));
        FacStatus st = fac_level_wrap(inner, ones, &grads[i]);
        fac_tensor_release(ones);
        if (st == FAC_OK) st = fac_set_requires_grad(grads[i], true);
        FAC_RETURN_IF_ERROR(st);
    }
    return FAC_OK;
}

/* The gradient of one argument as a root: fitted to the argument, if it depends on `grads`. */
static FacStatus
add_root(Transpose *t, FacTensor *part, FacTensor *arg, FacTensor *tangent)
{
    FacMeta meta = {.dtype = arg->dtype, .ndim = arg->ndim, .device = arg->device};
    meta.sizes = arg->sizes;
    if (!part || !tangent) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_fit_gradient(part, &meta, &t->roots[t->nroots]));
    if (!fac_needs_grad(t->roots[t->nroots])) {
        fac_tensor_release(t->roots[t->nroots]);
        return FAC_OK;
    }
    t->cotangents[t->nroots++] = tangent;
    return FAC_OK;
}

static FacStatus
add_roots(const Forward *f, Transpose *t)
{
    for (int i = 0; i < f->row->ninputs; i++) {
        FacValue arg = f->call->args[f->row->inputs[i]], part = t->out[i];
        if (!(f->which >> i & 1)) continue;
        if (arg.tag == FAC_V_TENSOR)
            FAC_RETURN_IF_ERROR(
                add_root(t, fac_v_as_tensor(part), arg.v.t, fac_tangent(arg.v.t, f->level)));
        for (uint32_t k = 0; arg.tag == FAC_V_TENSORS && k < arg.len && k < part.len; k++)
            FAC_RETURN_IF_ERROR(add_root(t, part.v.tensors[k], arg.v.tensors[k],
                                         fac_tangent(arg.v.tensors[k], f->level)));
    }
    return FAC_OK;
}

/* Gradients of the roots with respect to `grads`: the tangents of the results. */
static FacStatus
pull(const Forward *f, Transpose *t, const FacLevel *inner)
{
    FacTensor **inputs = fac_mem_zalloc(2 * (size_t)f->n * sizeof *inputs);
    FacTensor **found = inputs + f->n;
    int n = 0;
    if (!inputs) return fac_mem_error(2 * (size_t)f->n * sizeof *inputs);
    for (int i = 0; i < f->n; i++)
        if (t->grads[i]) inputs[n++] = t->grads[i];
    FacBackward what = {.nroots = t->nroots,
                        .roots = t->roots,
                        .gradients = t->cotangents,
                        .ninputs = n,
                        .inputs = inputs,
                        .allow_unused = true,
                        .grads = found};
    FacStatus st = n && t->nroots ? fac_backward_run(&what) : FAC_OK;
    n = 0;
    for (int i = 0; i < f->n && st == FAC_OK; i++) {
        FacTensor *grad = t->grads[i] ? found[n++] : NULL;
        FacTensor *value = grad ? fac_value_at(grad, inner) : NULL;
        if (grad) f->tangents[i] = fac_tensor_retain(value ? value : grad);
        fac_tensor_release(grad);
    }
    fac_mem_free(inputs);
    return st;
}

static FacStatus
run_transpose(const Forward *f, Transpose *t, const FacLevel *inner)
{
    FacValue grads[FAC_MAX_RESULTS];
    bool listed = f->call->results[0].tag == FAC_V_TENSORS;
    FAC_RETURN_IF_ERROR(make_gradients(f, inner, t->grads));
    for (int i = 0; i < f->call->op->nresults; i++)
        grads[i] = listed ? fac_v_tensors(t->grads, f->n) : fac_v_tensor(t->grads[i]);
    FAC_RETURN_IF_ERROR(call_formula(f, f->which, grads, t->out));
    FAC_RETURN_IF_ERROR(add_roots(f, t));
    return pull(f, t, inner);
}

static int
count_tensors(const Forward *f)
{
    int n = 0;
    for (int i = 0; i < f->row->ninputs; i++) {
        FacValue arg = f->call->args[f->row->inputs[i]];
        n += arg.tag == FAC_V_TENSORS ? (int)arg.len : 1;
    }
    return n;
}

static FacStatus
transposed_way(Forward *f)
{
    FacLevel *inner;
    int most = count_tensors(f);
    size_t bytes = ((size_t)f->n + 2 * (size_t)most) * sizeof(FacTensor *);
    Transpose t = {.nroots = 0};
    FacTensor **memory = fac_mem_zalloc(bytes);
    if (!memory) return fac_mem_error(bytes);
    t.grads = memory;
    t.roots = memory + f->n;
    t.cotangents = t.roots + most;
    FacStatus st = fac_level_push(FAC_LEVEL_GRAD, 0, FAC_RANDOM_ERROR, &inner);
    if (st == FAC_OK) {
        st = run_transpose(f, &t, inner);
        FacStatus popped = fac_level_pop(inner);
        if (st == FAC_OK) st = popped;
    }
    fac_values_release(t.out, f->row->ninputs);
    for (int i = 0; i < t.nroots; i++) fac_tensor_release(t.roots[i]);
    for (int i = 0; i < f->n; i++) fac_tensor_release(t.grads[i]);
    fac_mem_free(memory);
    return st;
}

/* --- one call --------------------------------------------------------------------------------- */

static void
find_inputs(Forward *f)
{
    for (int i = 0; i < f->row->ninputs; i++) {
        FacValue arg = f->call->args[f->row->inputs[i]];
        f->which |= (uint32_t)value_has_tangent(arg, f->level) << i;
    }
}

/* Rows through which nothing flows by their meaning. */
static FacStatus
no_way(const Forward *f)
{
    const FacOp *op = f->call->op;
    if (op->flags & (FAC_OP_FACTORY | FAC_OP_VIEW | FAC_OP_RANDOM)) return FAC_OK;
    for (int i = 0; i < f->n; i++) {
        const FacTensor *result = result_at(f, i);
        if (result && carries(result))
            return fac_error(FAC_NOT_IMPLEMENTED,
                             "the derivative of '%s' is not implemented, in forward mode neither",
                             op->name);
    }
    return FAC_OK;
}

/* Whether a result can have a tangent at all. */
static bool
some_result_carries(const Forward *f)
{
    for (int i = 0; i < f->n; i++) {
        const FacTensor *result = result_at(f, i);
        if (result && carries(result)) return true;
    }
    return false;
}

static FacStatus
make_tangents(Forward *f)
{
    if (!some_result_carries(f) || !has_tangents(f->call, f->level)) return FAC_OK;
    if (is_linear(f->call, f->level)) return linear_way(f);
    if (!f->row) return no_way(f);
    find_inputs(f);
    if (!f->which) return FAC_OK;
    return is_elementwise(f) ? elementwise_way(f) : transposed_way(f);
}

/* A view without one says so: it is not to have that of its base. */
static FacStatus
give_tangents(const Forward *f)
{
    bool views = f->call->op->flags & FAC_OP_VIEW;
    for (int i = 0; i < f->n; i++) {
        FacTensor *result = result_at(f, i), *tangent = f->tangents[i];
        if (!result || !carries(result) || (!tangent && !views)) continue;
        FAC_RETURN_IF_ERROR(fac_set_tangent(result, f->level, tangent));
        if (tangent) FAC_RETURN_IF_ERROR(fac_saved_give_tangent(result, f->level, tangent));
    }
    return FAC_OK;
}

static FacStatus
run_values_and_tangents(FacCall *call, FacLevel *level, const FacGradRow *row)
{
    Forward f = {.call = call, .level = level, .row = row};
    FacCall below = *call;
    if (call->op->flags & FAC_OP_VIEW)
        FAC_RETURN_IF_ERROR(fac_lay_out_tangent(fac_v_as_tensor(call->args[0]), level));
    FAC_RETURN_IF_ERROR(fac_dispatch(&below));
    bool listed = call->op->nresults && call->results[0].tag == FAC_V_TENSORS;
    f.n = listed ? (int)call->results[0].len : call->op->nresults;
    f.tangents = f.n <= FAC_MAX_RESULTS ? f.few : fac_mem_zalloc((size_t)f.n * sizeof *f.tangents);
    FacStatus st = f.tangents ? FAC_OK : fac_mem_error((size_t)f.n * sizeof *f.tangents);
    if (st == FAC_OK) st = make_tangents(&f);
    if (st == FAC_OK) st = give_tangents(&f);
    for (int i = 0; f.tangents && i < f.n; i++) fac_tensor_release(f.tangents[i]);
    if (f.tangents != f.few) fac_mem_free(f.tangents);
    if (st != FAC_OK) fac_values_release(call->results, call->op->nresults);
    return st;
}

/* --- calls that write ------------------------------------------------------------------------- */

/* Whether backward may want the elements of the target as they were. */
static bool
saves_target(const FacGradRow *row)
{
    if (!row) return true;
    for (int i = 0; i < row->nsaved; i++)
        if (row->saved[i].kind == FAC_SAVE_ARG && row->saved[i].index == 0) return true;
    return false;
}

/* r = row(...) beside its target, and then target.copy_(r). What may be kept for a backward outside
 * of the level is a copy of the target and of its tangent. */
static FacStatus
run_inplace(FacCall *call, const FacGradRow *row)
{
    const FacOp *op = call->op;
    FacTensor *target = call->targets[0], *before = NULL;
    FacValue results[FAC_MAX_RESULTS], args[FAC_MAX_PARAMS];
    FacStatus st = FAC_OK;
    for (int i = 0; i < op->nresults; i++) results[i] = FAC_VALUE_NONE;
    memcpy(args, call->args, op->nparams * sizeof *args);
    if (saves_target(row)) {
        FAC_TRY(fac_op_clone(target, FAC_VALUE_NONE, &before));
        args[0] = fac_v_tensor(before);
    }
    FacCall apart = {.op = op, .args = args, .results = results};
    FAC_TRY(fac_dispatch(&apart));
    FacTensor *made = fac_v_as_tensor(results[0]);
    if (made && carries(made) && !carries(target))
        FAC_FAIL(FAC_RUNTIME_ERROR, "result type %s can't be cast to the desired output type %s",
                 fac_dtype_info[made->dtype].name, fac_dtype_info[target->dtype].name);
    FAC_TRY(fac_op_copy_(target, made, false));
    call->results[0] =
        (FacValue){.tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = fac_tensor_retain(target)};
done:
    fac_tensor_release(before);
    fac_values_release(results, op->nresults);
    return st;
}

/* A view taken in place (transpose_): the same is done to the tangent. */
static FacStatus
run_inplace_view(FacCall *call, FacLevel *level)
{
    FacTensor *tangent = fac_tangent(call->targets[0], level), *targets[1] = {tangent};
    FacValue args[FAC_MAX_PARAMS], results[FAC_MAX_RESULTS] = {{0}};
    FacCall below = *call;
    FAC_RETURN_IF_ERROR(fac_dispatch(&below));
    if (!tangent) return FAC_OK;
    memcpy(args, call->args, call->op->nparams * sizeof *args);
    args[0] = fac_v_tensor(tangent);
    FacCall on_tangent = {.op = call->op,
                          .args = args,
                          .results = results,
                          .targets = targets,
                          .flags = FAC_CALL_INPLACE};
    FAC_RETURN_IF_ERROR(fac_dispatch(&on_tangent));
    fac_values_release(results, call->op->nresults);
    return FAC_OK;
}

/* Rows whose first parameter is written, copy_ and its kin: linear in what they read, or numbers
 * that have no derivative. */
static FacStatus
run_writing(FacCall *call, FacLevel *level)
{
    const FacOp *op = call->op;
    FacTensor *target = fac_v_as_tensor(call->args[0]), *tangent = NULL;
    FacValue results[FAC_MAX_RESULTS] = {{0}};
    const Forward f = {.call = call, .level = level};
    FacCall below = *call;
    if (!target || !(op->linear & 1 || op->flags & FAC_OP_RANDOM))
        return fac_error(FAC_NOT_IMPLEMENTED,
                         "'%s' writes to a tensor, and is not implemented in forward mode",
                         op->name);
    if (carries(target)) FAC_RETURN_IF_ERROR(fac_tangent_to_write(call, target, level, &tangent));
    FAC_RETURN_IF_ERROR(fac_dispatch(&below));
    if (!tangent) return FAC_OK;
    if (!(op->linear & 1)) return fac_op_zero_(tangent);
    FAC_RETURN_IF_ERROR(call_on_tangents(&f, op->linear, results)); /* of the target: `tangent` */
    fac_values_release(results, op->nresults);
    return FAC_OK;
}

static FacStatus
run_below(FacCall *call, FacLevel *level, const FacGradRow *row)
{
    if (call->flags & FAC_CALL_INPLACE) return run_inplace_view(call, level);
    if (call->op->flags & FAC_OP_WRITES) return run_writing(call, level);
    return run_values_and_tangents(call, level, row);
}

FacStatus
fac_run_forward(FacCall *call, FacLevel *level)
{
    const FacOp *op = call->op;
    const FacGradRow *row;
    FacStatus st;
    FAC_RETURN_IF_ERROR(fac_grad_row(op, &row));
    if (call->flags & FAC_CALL_OUT)
        return fac_error(FAC_RUNTIME_ERROR,
                         "functions with out=... arguments don't support automatic "
                         "differentiation, but one of the arguments has a tangent; use the form "
                         "without out=");
    if ((call->flags & FAC_CALL_INPLACE) && !(op->flags & FAC_OP_VIEW))
        return run_inplace(call, row);
    bool expanded = !op->linear && !row && op->composite && !(call->flags & FAC_CALL_INPLACE);
    FacLevel *was = fac_level_enter(level->below);
    st = fac_inherit_tangents(call, level);
    if (st == FAC_OK && expanded) {
        fac_level_enter(level);
        st = fac_dispatch_composite(call);
    } else if (st == FAC_OK) {
        st = run_below(call, level, row);
    }
    fac_level_enter(was);
    return st;
}
