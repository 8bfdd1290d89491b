/* batch.c - vmap: a call on tensors of a batch becomes a call on their values.
 *
 * Here are the choice of the rule and the rules that fit most rows. The batch is the first
 * dimension of every value, so a rule has little to do: operands that broadcast are padded behind
 * the batch, dimensions are counted from one further on, sizes get the batch in front.
 */
#include "layers/batch.h"

#include "dispatch/rules.h"
#include "tensor/layout.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* --- what rules share ------------------------------------------------------------------------- */

int
fac_batch_param(const FacOp *op, const char *name)
{
    for (int i = 0; i < op->nparams; i++)
        if (!strcmp(op->params[i].name, name)) return i;
    return -1;
}

static void
set_value(FacValue *slot, FacValue v)
{
    fac_value_release(slot);
    *slot = v;
}

void
fac_batch_set_take(FacBatch *b, int i, FacTensor *t)
{
    FacValue v = {.tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = t};
    set_value(&b->below.args[i], v);
}

void
fac_batch_give_take(FacBatch *b, int i, FacTensor *t)
{
    b->call->results[i] = (FacValue){.tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = t};
}

static FacStatus
repeat(const FacBatch *b, FacTensor *t, FacTensor **out)
{
    FacDim sizes[FAC_MAX_NDIM + 1] = {b->level->size};
    memcpy(sizes + 1, t->sizes, t->ndim * sizeof *sizes);
    return fac_op_expand(t, fac_v_ints(sizes, t->ndim + 1), false, out);
}

FacStatus
fac_batch_expand(FacBatch *b, int i)
{
    FacValue given = b->call->args[i], *v = &b->below.args[i];
    FacTensor *t;
    if (v->tag == FAC_V_TENSOR && !fac_batch_has(b, i)) {
        FAC_RETURN_IF_ERROR(repeat(b, v->v.t, &t));
        fac_batch_set_take(b, i, t);
    } else if (v->tag == FAC_V_TENSORS) {
        FacTensor **list = (FacTensor **)(uintptr_t)v->v.tensors;
        for (uint32_t k = 0; k < v->len; k++) {
            if (!list[k] || fac_value_at(given.v.tensors[k], b->level)) continue;
            FAC_RETURN_IF_ERROR(repeat(b, list[k], &t));
            fac_tensor_release(list[k]);
            list[k] = t;
        }
    } else {
        return FAC_OK;
    }
    b->batched |= UINT64_C(1) << i;
    return FAC_OK;
}

FacStatus
fac_batch_pad(FacTensor *value, int ndim, FacTensor **out)
{
    FacDim sizes[FAC_MAX_NDIM + 1];
    int more = ndim - (value->ndim - 1);
    if (more <= 0) {
        *out = fac_tensor_retain(value);
        return FAC_OK;
    }
    if (ndim >= FAC_MAX_NDIM)
        return fac_error(FAC_RUNTIME_ERROR,
                         "vmap needs a dimension more than the %d that there are", FAC_MAX_NDIM);
    sizes[0] = value->sizes[0];
    for (int i = 0; i < more; i++) sizes[1 + i] = 1;
    for (int i = 1; i < value->ndim; i++) sizes[more + i] = value->sizes[i];
    return fac_op_view(value, fac_v_ints(sizes, ndim + 1), out);
}

FacStatus
fac_batch_fold(FacTensor *value, FacTensor **out)
{
    FacDim sizes[FAC_MAX_NDIM];
    sizes[0] = value->sizes[0] * value->sizes[1];
    for (int i = 2; i < value->ndim; i++) sizes[i - 1] = value->sizes[i];
    return fac_op_reshape(value, fac_v_ints(sizes, value->ndim - 1), out);
}

FacStatus
fac_batch_unfold(const FacBatch *b, FacTensor *folded, FacTensor **out)
{
    FacDim sizes[FAC_MAX_NDIM + 1] = {b->level->size};
    sizes[1] = b->level->size ? folded->sizes[0] / b->level->size : 0;
    for (int i = 1; i < folded->ndim; i++) sizes[i + 1] = folded->sizes[i];
    return fac_op_reshape(folded, fac_v_ints(sizes, folded->ndim + 1), out);
}

FacStatus
fac_batch_run(FacBatch *b)
{
    return fac_dispatch(&b->below.call);
}

/* --- operands that broadcast ------------------------------------------------------------------ */

/* A 0-d tensor promotes less than others, also where its value has the batch as a dimension: it is
 * cast to what is computed in, beforehand. */
static FacStatus
cast_scalars(FacBatch *b)
{
    const FacOp *op = b->call->op;
    FacValue operands[FAC_MAX_PARAMS];
    int n = 0, shaped = 0, scalars = 0, first = -1;
    for (int i = 0; i < op->nparams; i++) {
        FacValue v = b->call->args[i];
        if (v.tag != FAC_V_TENSOR && !fac_v_is_number(v)) continue;
        if (op->params[i].type != FAC_TYPE_TENSOR && op->params[i].type != FAC_TYPE_OPERAND)
            continue;
        if (!strcmp(op->params[i].name, "condition") || !strcmp(op->params[i].name, "mask"))
            continue;
        operands[n++] = v;
        if (v.tag != FAC_V_TENSOR) continue;
        shaped += v.v.t->ndim > 0;
        scalars += v.v.t->ndim == 0;
        if (first < 0) first = i;
    }
    if (!scalars || shaped + scalars < 2) return FAC_OK;
    FacDType common = fac_promote_operands(operands, n);
    for (int i = 0; i < op->nparams; i++) {
        FacTensor *t = fac_batch_logical(b, i), *cast;
        if (!t || t->ndim || t->dtype == common || (i == first && b->call->targets)) continue;
        if (!strcmp(op->params[i].name, "condition") || !strcmp(op->params[i].name, "mask"))
            continue;
        FAC_RETURN_IF_ERROR(fac_op__to_copy(fac_batch_value(b, i), common, FAC_VALUE_NONE,
                                            FAC_VALUE_NONE, false, FAC_VALUE_NONE, &cast));
        fac_batch_set_take(b, i, cast);
    }
    return FAC_OK;
}

FacStatus
fac_batch_pointwise(FacBatch *b)
{
    const FacOp *op = b->call->op;
    int most = 0;
    for (int i = 0; i < op->nparams; i++) {
        const FacTensor *t = fac_batch_logical(b, i);
        if (t && t->ndim > most) most = t->ndim;
    }
    FAC_RETURN_IF_ERROR(cast_scalars(b));
    for (int i = 0; i < op->nparams; i++) {
        FacTensor *padded;
        bool target = b->call->targets && b->below.targets[0] == fac_batch_value(b, i);
        if (!fac_batch_logical(b, i) || !fac_batch_has(b, i) || target) continue;
        FAC_RETURN_IF_ERROR(fac_batch_pad(fac_batch_value(b, i), most, &padded));
        fac_batch_set_take(b, i, padded);
    }
    return fac_batch_run(b);
}

/* --- dimensions and sizes --------------------------------------------------------------------- */

static bool
is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (!strcmp(name, *names)) return true;
    return false;
}

static bool
names_dims(const FacParam *param)
{
    static const char *const names[] = {"dim",    "dims",        "dim0",      "dim1",
                                        "dim2",   "dimension",   "start_dim", "end_dim",
                                        "source", "destination", NULL};
    return param->type == FAC_TYPE_INT && is_one_of(param->name, names);
}

static bool
names_sizes(const FacParam *param)
{
    static const char *const names[] = {"size", "sizes", "input_sizes", NULL};
    return param->type == FAC_TYPE_INT && (param->flags & FAC_P_LIST) &&
           is_one_of(param->name, names);
}

static FacStatus
own_ints(FacBatch *b, int i, const FacDim *ints, int n)
{
    FacValue v;
    FAC_RETURN_IF_ERROR(fac_value_keep(fac_v_ints(ints, n), &v));
    set_value(&b->below.args[i], v);
    return FAC_OK;
}

static FacStatus
shift_dims(FacBatch *b, int i, int ndim)
{
    FacValue v = b->call->args[i];
    FacDim dims[FAC_MAX_NDIM];
    int wrapped, n = 0;
    if (v.tag == FAC_V_INT) {
        FAC_RETURN_IF_ERROR(fac_wrap_dim(v.v.i, ndim, &wrapped));
        set_value(&b->below.args[i], fac_v_int(wrapped + 1));
        return FAC_OK;
    }
    if (v.tag == FAC_V_INTS && v.len > FAC_MAX_NDIM)
        return fac_error(FAC_RUNTIME_ERROR, "%u dims are more than a tensor has", v.len);
    for (uint32_t k = 0; v.tag == FAC_V_INTS && k < v.len; k++) {
        FAC_RETURN_IF_ERROR(fac_wrap_dim(v.v.ints[k], ndim, &wrapped));
        dims[n++] = wrapped + 1;
    }
    /* None, or an empty list: all of them */
    for (int d = 0; n == 0 && d < ndim; d++) dims[d] = d + 1;
    if (n == 0) n = ndim;
    return own_ints(b, i, dims, n);
}

static FacStatus
shift_sizes(FacBatch *b, int i)
{
    FacValue v = b->call->args[i];
    FacDim sizes[FAC_MAX_NDIM + 1] = {b->level->size};
    if (v.tag != FAC_V_INTS) return FAC_OK;
    if (v.len > FAC_MAX_NDIM)
        return fac_error(FAC_RUNTIME_ERROR, "%u sizes are more than a tensor has", v.len);
    memcpy(sizes + 1, v.v.ints, v.len * sizeof *sizes);
    return own_ints(b, i, sizes, (int)v.len + 1);
}

/* A result of the batch without the dimension that stood for that of a 0-d tensor. */
static FacStatus
drop_last(FacValue *result)
{
    FacTensor *t = fac_v_as_tensor(*result), *out;
    if (!t || t->ndim < 2) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_op_squeeze_dim(t, -1, &out));
    fac_tensor_release(t);
    result->v.t = out;
    return FAC_OK;
}

/* A dim that is None stands for all elements as one row. */
static FacStatus
over_all(FacBatch *b, int self, int dim)
{
    int keepdim = fac_batch_param(b->call->op, "keepdim");
    bool keep = keepdim >= 0 && fac_v_is_true(b->call->args[keepdim]);
    FacTensor *value = fac_batch_value(b, self), *flat;
    FacDim two[2] = {b->level->size, -1}, sizes[FAC_MAX_NDIM + 1] = {b->level->size};
    two[1] = fac_batch_logical(b, self)->numel;
    FAC_RETURN_IF_ERROR(fac_op_reshape(value, fac_v_ints(two, 2), &flat));
    fac_batch_set_take(b, self, flat);
    set_value(&b->below.args[dim], fac_v_int(1));
    FAC_RETURN_IF_ERROR(fac_batch_run(b));
    for (int i = 0; keep && i < b->call->op->nresults; i++) {
        FacTensor *t = fac_v_as_tensor(b->call->results[i]), *shaped;
        int ndim = fac_batch_logical(b, self)->ndim;
        for (int d = 0; d < ndim; d++) sizes[d + 1] = 1;
        FAC_RETURN_IF_ERROR(fac_op_reshape(t, fac_v_ints(sizes, ndim + 1), &shaped));
        fac_tensor_release(t);
        b->call->results[i].v.t = shaped;
    }
    return FAC_OK;
}

static int
first_tensor(const FacBatch *b)
{
    for (int i = 0; i < b->call->op->nparams; i++)
        if (b->call->args[i].tag == FAC_V_TENSOR || b->call->args[i].tag == FAC_V_TENSORS) return i;
    return -1;
}

/* How many dimensions those that are named count: of the first tensor, or of one in a list. */
static int
counted_dims(const FacBatch *b, int self)
{
    if (self < 0) return 0; /* a factory */
    FacValue v = b->call->args[self];
    const FacTensor *t = v.tag == FAC_V_TENSORS ? v.len ? v.v.tensors[0] : NULL : v.v.t;
    return t ? t->ndim : 0;
}

FacStatus
fac_batch_dims(FacBatch *b)
{
    const FacOp *op = b->call->op;
    int self = first_tensor(b), ndim = counted_dims(b, self);
    bool scalar = false;
    for (int i = 0; i < op->nparams; i++) FAC_RETURN_IF_ERROR(fac_batch_expand(b, i));
    for (int i = 0; i < op->nparams; i++) {
        const FacParam *param = &op->params[i];
        bool list = param->flags & FAC_P_LIST;
        if (names_sizes(param)) FAC_RETURN_IF_ERROR(shift_sizes(b, i));
        if (!names_dims(param)) continue;
        if (b->call->args[i].tag == FAC_V_NONE && !list) return over_all(b, self, i);
        scalar |= ndim == 0;
        FAC_RETURN_IF_ERROR(shift_dims(b, i, ndim ? ndim : 1));
    }
    /* the dimension that a 0-d tensor is said to have */
    for (int i = 0; scalar && i < op->nparams; i++) {
        FacTensor *row, *value = fac_batch_value(b, i);
        if (!value || value->ndim != 1) continue;
        FAC_RETURN_IF_ERROR(fac_op_unsqueeze(value, 1, &row));
        fac_batch_set_take(b, i, row);
    }
    FAC_RETURN_IF_ERROR(fac_batch_run(b));
    for (int i = 0; scalar && i < op->nresults; i++)
        FAC_RETURN_IF_ERROR(drop_last(&b->call->results[i]));
    return FAC_OK;
}

/* sum() by sum.dim: the same arguments where both rows have them, and dim 1 of all in a row. */
FacStatus
fac_batch_all(FacBatch *b)
{
    FacValue args[FAC_MAX_PARAMS], results[FAC_MAX_RESULTS];
    const FacOp *op = b->call->op;
    FacDim two[2] = {b->level->size, fac_batch_logical(b, 0)->numel}, one = 1;
    FacTensor *flat;
    FAC_RETURN_IF_ERROR(fac_op_reshape(fac_batch_value(b, 0), fac_v_ints(two, 2), &flat));
    for (int i = 0; i < b->other->nparams; i++) {
        const FacParam *param = &b->other->params[i];
        int same = fac_batch_param(op, param->name);
        args[i] = same < 0 ? param->fallback : b->call->args[same];
        if (!strcmp(param->name, "dim"))
            args[i] = param->flags & FAC_P_LIST ? fac_v_ints(&one, 1) : fac_v_int(1);
        args[i].flags = 0;
    }
    args[0] = fac_v_tensor(flat);
    FacStatus st = fac_call(b->other, b->other->nparams, args, results);
    fac_tensor_release(flat);
    FAC_RETURN_IF_ERROR(st);
    fac_batch_give_take(b, 0, fac_tensor_retain(results[0].v.t));
    fac_values_release(results, b->other->nresults);
    return FAC_OK;
}

/* --- random numbers --------------------------------------------------------------------------- */

static FacStatus
draw_same(FacBatch *b)
{
    const FacOp *op = b->call->op;
    FacTensor *one, *filled = NULL;
    if (!b->batched) return fac_batch_run(b); /* all see what is drawn once */
    for (int i = 1; i < op->nparams; i++)
        if (fac_batch_has(b, i)) b->batched |= 2;
    if (b->batched >> 1 || !(op->flags & (FAC_OP_WRITES | FAC_OP_FACTORY)))
        return fac_error(FAC_RUNTIME_ERROR,
                         "vmap: randomness='same' cannot draw from what differs in the batch; use "
                         "randomness='different'");
    FacTensor *value = fac_batch_value(b, 0);
    FAC_RETURN_IF_ERROR(fac_op_select(value, 0, 0, &one));
    bool writes = op->flags & FAC_OP_WRITES;
    if (writes) {
        FacStatus st = fac_op_empty_like(one, FAC_DT_NONE, FAC_VALUE_NONE, FAC_VALUE_NONE,
                                         FAC_VALUE_NONE, &filled);
        fac_tensor_release(one);
        FAC_RETURN_IF_ERROR(st);
        one = filled;
    }
    fac_tensor_retain(value);
    fac_batch_set_take(b, 0, one);
    FacStatus st = fac_batch_run(b);
    if (st == FAC_OK && writes) {
        st = fac_op_copy_(value, one, false);
        fac_value_release(&b->call->results[0]);
        fac_batch_give_take(b, 0, fac_tensor_retain(value));
    } else if (st == FAC_OK) {
        FacTensor *made = b->call->results[0].v.t, *all;
        st = repeat(b, made, &all);
        fac_value_release(&b->call->results[0]);
        if (st == FAC_OK) fac_batch_give_take(b, 0, all);
    }
    fac_tensor_release(value);
    return st;
}

static FacStatus
draw_permutations(FacBatch *b)
{
    FacTensor **rows, *all;
    FacValue list;
    int n = (int)b->level->size;
    FAC_RETURN_IF_ERROR(fac_value_new_tensors(n, &list, &rows));
    FacStatus st = FAC_OK;
    for (int i = 0; i < n && st == FAC_OK; i++) {
        st = fac_batch_run(b);
        if (st == FAC_OK) rows[i] = b->call->results[0].v.t;
        b->call->results[0] = FAC_VALUE_NONE;
    }
    if (st == FAC_OK) st = fac_op_stack(list, 0, &all);
    if (st == FAC_OK) fac_batch_give_take(b, 0, all);
    fac_value_release(&list);
    return st;
}

FacStatus
fac_batch_random(FacBatch *b)
{
    const FacOp *op = b->call->op;
    switch (b->level->randomness) {
    case FAC_RANDOM_SAME: return draw_same(b);
    case FAC_RANDOM_DIFFERENT: break;
    case FAC_RANDOM_ERROR:
        return fac_error(FAC_RUNTIME_ERROR,
                         "vmap: called random operation while in randomness error mode. Please "
                         "either use the 'same' or 'different' randomness flags on vmap or perform "
                         "the randomness operation out of vmap");
    }
    if ((op->flags & FAC_OP_WRITES) && !fac_batch_has(b, 0))
        return fac_error(FAC_RUNTIME_ERROR,
                         "vmap: '%s' would draw different numbers into one tensor that is not in "
                         "the batch; make the tensor from one that is",
                         op->name);
    if (!strcmp(op->name, "randperm")) return draw_permutations(b);
    return fac_batch_dims(b);
}

/* --- one by one ------------------------------------------------------------------------------- */

typedef struct Element {
    const FacBatch *b;
    int64_t index;
} Element;

static FacStatus
select_element(void *context, FacTensor *t, FacTensor **out)
{
    const Element *e = context;
    FacTensor *value = fac_value_at(t, e->b->level);
    if (value) return fac_op_select(value, 0, e->index, out);
    *out = fac_tensor_retain(t);
    return FAC_OK;
}

/* Results of all elements: those of result r of element i at [r * size + i]. */
static FacStatus
run_elements(FacBatch *b, FacTensor **made)
{
    FacStatus st = FAC_OK;
    int nresults = b->call->op->nresults;
    for (int64_t i = 0; i < b->level->size && st == FAC_OK; i++) {
        Element element = {b, i};
        FacMapped one;
        st = fac_map_call(b->call, select_element, &element, &one);
        if (st == FAC_OK) st = fac_dispatch(&one.call);
        for (int r = 0; r < nresults && st == FAC_OK; r++) {
            FacTensor *t = fac_v_as_tensor(b->call->results[r]);
            made[r * b->level->size + i] = t ? fac_tensor_retain(t) : NULL;
        }
        if (st == FAC_OK) fac_values_release(b->call->results, nresults);
        fac_mapped_end(&one);
    }
    return st;
}

FacStatus
fac_batch_loop(FacBatch *b)
{
    const FacOp *op = b->call->op;
    int64_t size = b->level->size;
    bool writes = b->call->targets || (op->flags & FAC_OP_WRITES);
    if (op->flags & FAC_OP_DATA_SHAPE)
        return fac_error(FAC_RUNTIME_ERROR,
                         "vmap: It looks like you're attempting to use an operator with dynamic "
                         "shape: that of the result of '%s' depends on data, and may differ within "
                         "the batch. Use masks and where() instead, or a loop",
                         op->name);
    if (!size || (op->flags & (FAC_OP_LIST_RESULT | FAC_OP_VIEW)) ||
        (writes && !fac_batch_has(b, 0)))
        return fac_error(FAC_NOT_IMPLEMENTED,
                         "vmap has no rule for '%s', and cannot run it once for each of %lld "
                         "elements",
                         op->name, (long long)size);
    FAC_RETURN_IF_ERROR(fac_warn(FAC_WARN_USER,
                                 "There is a performance drop because we have not yet implemented "
                                 "the batching rule for aten::%s: it runs once for each element.",
                                 op->name));
    FacValue list;
    FacTensor **made, *all;
    FAC_RETURN_IF_ERROR(fac_value_new_tensors((int)size * op->nresults, &list, &made));
    FacStatus st = run_elements(b, made);
    for (int r = 0; r < op->nresults && st == FAC_OK; r++) {
        if (writes) {
            fac_batch_give_take(b, r, fac_tensor_retain(fac_batch_value(b, 0)));
            continue;
        }
        if (!made[r * size]) continue;
        st = fac_op_stack(fac_v_tensors(made + r * size, (int)size), 0, &all);
        if (st == FAC_OK) fac_batch_give_take(b, r, all);
    }
    fac_value_release(&list);
    return st;
}

/* --- the rule of a row ------------------------------------------------------------------------ */

typedef struct Rule {
    FacBatchRule run;
    const FacOp *other;
} Rule;

static Rule *rules; /* by id of the row; NULL where none is named */
static char unknown_rule[160];

static FacBatchRule
rule_named(const char *name, size_t len)
{
    static const struct {
        const char *name;
        FacBatchRule run;
    } known[] = {
#define BATCH_ENTRY(rule) {#rule, fac_batch_##rule},
        FAC_BATCH_LIST(BATCH_ENTRY)
#undef BATCH_ENTRY
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == len && !strncmp(known[i].name, name, len)) return known[i].run;
    return NULL;
}

static void
find_rules(void)
{
    rules = fac_mem_zalloc((size_t)fac_op_count * sizeof *rules);
    for (int i = 0; rules && i < fac_op_count; i++) {
        const char *name = fac_ops[i].batch, *space = name ? strchr(name, ' ') : NULL;
        if (!name) continue;
        rules[i].run = rule_named(name, space ? (size_t)(space - name) : strlen(name));
        rules[i].other = space ? fac_op_find(space + 1) : NULL;
        if (!rules[i].run || (space && !rules[i].other))
            snprintf(unknown_rule, sizeof unknown_rule, "'%s' asks for the rule '%s'",
                     fac_ops[i].name, name);
    }
}

static FacStatus
find_rule(const FacOp *op, Rule *out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_rules);
    if (!rules) return fac_mem_error((size_t)fac_op_count * sizeof *rules);
    if (unknown_rule[0])
        return fac_error(FAC_RUNTIME_ERROR, "there is no such rule of vmap: %s", unknown_rule);
    *out = op->flags & FAC_OP_RUNTIME ? (Rule){NULL, NULL} : rules[op->id];
    if (out->run) return FAC_OK;
    if ((op->flags & FAC_OP_RANDOM) && !op->composite) out->run = fac_batch_random;
    if (op->flags & FAC_OP_POINTWISE) out->run = fac_batch_pointwise;
    return FAC_OK;
}

/* --- a call ----------------------------------------------------------------------------------- */

static FacStatus
check_written(void *context, FacTensor *t)
{
    const FacBatch *b = context;
    if (fac_value_at(t, b->level) || !b->batched) return FAC_OK;
    return fac_error(
        FAC_RUNTIME_ERROR,
        "vmap: inplace arithmetic(self, *extra_args) is not possible: '%s' would write "
        "a whole batch into a tensor that is not in the batch. Use the operation that "
        "is not in place",
        b->call->op->name);
}

static uint64_t
batched_args(const FacCall *call, const FacLevel *level)
{
    uint64_t batched = 0;
    for (int i = 0; i < call->op->nparams; i++) {
        FacValue v = call->args[i];
        bool has = v.tag == FAC_V_TENSOR && fac_value_at(v.v.t, level);
        for (uint32_t k = 0; v.tag == FAC_V_TENSORS && k < v.len; k++)
            has |= v.v.tensors[k] && fac_value_at(v.v.tensors[k], level);
        batched |= (uint64_t)has << i;
    }
    return batched;
}

static FacStatus
run_rule(FacBatch *b, FacBatchRule run)
{
    FacCall *call = b->call;
    bool everything_plain = !b->batched && b->level->randomness == FAC_RANDOM_SAME;
    FAC_RETURN_IF_ERROR(fac_visit_written(call, check_written, b));
    FacStatus st = run(b);
    if (st == FAC_OK && !everything_plain) st = fac_wrap_results(call, b->level);
    if (st == FAC_OK) st = fac_follow_written(call, b->level);
    if (st != FAC_OK) fac_values_release(call->results, call->op->nresults);
    return st;
}

FacStatus
fac_run_batch(FacCall *call, FacLevel *level)
{
    Rule rule = {NULL, NULL};
    FAC_RETURN_IF_ERROR(find_rule(call->op, &rule));
    FacLevel *was = fac_level_enter(level);
    FacStatus st;
    if (!rule.run && call->op->composite) {
        st = fac_dispatch_composite(call);
    } else {
        FacBatch b = {.call = call, .level = level, .other = rule.other};
        b.batched = batched_args(call, level);
        fac_level_enter(level->below);
        st = fac_unwrap_call(call, level, &b.below);
        if (st == FAC_OK) st = run_rule(&b, rule.run ? rule.run : fac_batch_loop);
        fac_mapped_end(&b.below);
    }
    fac_level_enter(was);
    return st;
}
