/* batch.c - vmap: a call on tensors of a batch becomes a call on their values.
 *
 * Here are what rules share, the choice of the rule, and the rules that know nothing of shapes:
 * another row, random numbers, one element after the other.
 */
#include "layers/batch.h"

#include "dispatch/target.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* --- arguments of the call below -------------------------------------------------------------- */

int
fac_batch_param(const FacOp *op, const char *name)
{
    for (int i = 0; i < op->nparams; i++)
        if (!strcmp(op->params[i].name, name)) return i;
    return -1;
}

void
fac_batch_set(FacBatch *b, int i, FacValue number)
{
    fac_value_release(&b->below.args[i]);
    b->below.args[i] = number;
}

void
fac_batch_set_take(FacBatch *b, int i, FacTensor *t)
{
    FacValue v = {.tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = t};
    fac_batch_set(b, i, v);
}

FacStatus
fac_batch_set_ints(FacBatch *b, int i, const FacDim *ints, int n)
{
    FacValue v;
    FAC_RETURN_IF_ERROR(fac_value_keep(fac_v_ints(ints, n), &v));
    fac_batch_set(b, i, v);
    return FAC_OK;
}

FacStatus
fac_batch_repeat(const FacBatch *b, FacTensor *t, FacTensor **out)
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
        FAC_RETURN_IF_ERROR(fac_batch_repeat(b, v->v.t, &t));
        fac_batch_set_take(b, i, t);
    } else if (v->tag == FAC_V_TENSORS) {
        FacTensor **list = (FacTensor **)(uintptr_t)v->v.tensors;
        for (uint32_t k = 0; k < v->len; k++) {
            if (!list[k] || fac_value_at(given.v.tensors[k], b->level)) continue;
            FAC_RETURN_IF_ERROR(fac_batch_repeat(b, list[k], &t));
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
fac_batch_expand_all(FacBatch *b)
{
    for (int i = 0; i < b->call->op->nparams; i++) FAC_RETURN_IF_ERROR(fac_batch_expand(b, i));
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
fac_batch_join(FacTensor *t, int at, FacTensor **out)
{
    FacDim sizes[FAC_MAX_NDIM];
    for (int i = 0; i < t->ndim - 1; i++) sizes[i] = t->sizes[i + (i > at)];
    sizes[at] = t->sizes[at] * t->sizes[at + 1];
    return fac_op_reshape(t, fac_v_ints(sizes, t->ndim - 1), out);
}

FacStatus
fac_batch_part(FacTensor *t, int at, int64_t n, FacTensor **out)
{
    FacDim sizes[FAC_MAX_NDIM + 1];
    for (int i = 0; i < t->ndim; i++) sizes[i + (i > at)] = t->sizes[i];
    sizes[at] = n;
    sizes[at + 1] = n ? t->sizes[at] / n : 0;
    return fac_op_reshape(t, fac_v_ints(sizes, t->ndim + 1), out);
}

FacStatus
fac_batch_move(FacTensor *t, int from, int n, int to, FacTensor **out)
{
    FacDim dims[FAC_MAX_NDIM];
    for (int i = 0, rest = 0; i < t->ndim; i++) {
        if (i >= to && i < to + n) {
            dims[i] = from + i - to;
            continue;
        }
        if (rest == from) rest += n;
        dims[i] = rest++;
    }
    return fac_op_permute(t, fac_v_ints(dims, t->ndim), out);
}

/* --- running ---------------------------------------------------------------------------------- */

void
fac_batch_give_take(FacBatch *b, int i, FacTensor *t)
{
    b->call->results[i] = (FacValue){.tag = FAC_V_TENSOR, .flags = FAC_VALUE_OWNED, .v.t = t};
}

FacStatus
fac_batch_run(FacBatch *b)
{
    FacCall *below = &b->below.call;
    bool replaced = (below->flags & FAC_CALL_INPLACE) && below->targets &&
                    below->targets[0] != fac_v_as_tensor(below->args[0]);
    return replaced ? fac_batch_run_aside(b) : fac_dispatch(below);
}

FacStatus
fac_batch_run_aside(FacBatch *b)
{
    FacCall call = b->below.call;
    call.targets = NULL;
    call.flags = 0;
    return fac_dispatch(&call);
}

FacStatus
fac_batch_run_row(FacBatch *b, const FacOp *op, FacValue *args)
{
    FacCall call = b->below.call;
    call.op = op;
    call.args = args;
    if ((call.flags & FAC_CALL_INPLACE) && call.targets[0] != fac_v_as_tensor(args[0])) {
        call.targets = NULL;
        call.flags = 0;
    }
    return fac_dispatch(&call);
}

FacStatus
fac_batch_run_as(FacBatch *b, const FacOp *op)
{
    FacCall *call = b->call;
    FacLevel *was = fac_level_enter(b->level);
    FacStatus st = fac_call(op, call->op->nparams, call->args, call->results);
    fac_level_enter(was);
    for (int i = 0; st == FAC_OK && i < call->op->nresults; i++) {
        FacTensor *t = fac_v_as_tensor(call->results[i]), *value;
        if (!t) continue;
        value = fac_value_at(t, b->level);
        if (value)
            fac_tensor_retain(value);
        else
            st = fac_batch_repeat(b, t, &value);
        if (st != FAC_OK) break;
        fac_value_release(&call->results[i]);
        fac_batch_give_take(b, i, value);
    }
    return st;
}

FacStatus
fac_batch_as(FacBatch *b)
{
    return fac_batch_run_as(b, b->other);
}

FacStatus
fac_batch_refuse(const FacBatch *b, const char *why)
{
    return fac_error(FAC_RUNTIME_ERROR, "vmap: '%s' %s", b->call->op->name, why);
}

FacStatus
fac_batch_never(FacBatch *b)
{
    return fac_batch_refuse(b, "does not go with tensors of a batch");
}

FacStatus
fac_batch_lead(FacBatch *b)
{
    const FacOp *op = b->call->op;
    int weight = fac_batch_param(op, "weight"), bias = fac_batch_param(op, "bias");
    for (int i = 0; i < op->nparams; i++)
        if ((i == weight || i == bias) && fac_batch_has(b, i)) return fac_batch_as(b);
    for (int i = 0; i < op->nparams; i++)
        if (i != weight && i != bias) FAC_RETURN_IF_ERROR(fac_batch_expand(b, i));
    return fac_batch_run(b);
}

/* --- random numbers --------------------------------------------------------------------------- */

/* One draw of the shape of an element, and the same for all. */
static FacStatus
write_same(FacBatch *b)
{
    FacTensor *value = fac_tensor_retain(fac_batch_value(b, 0)), *one = NULL, *filled = NULL;
    FacStatus st;
    FAC_TRY(fac_op_select(value, 0, 0, &one));
    FAC_TRY(fac_op_empty_like(one, FAC_DT_NONE, FAC_VALUE_NONE, FAC_VALUE_NONE, FAC_VALUE_NONE,
                              &filled));
    fac_batch_set_take(b, 0, fac_tensor_retain(filled));
    FAC_TRY(fac_batch_run(b));
    FAC_TRY(fac_op_copy_(value, filled, false));
    fac_value_release(&b->call->results[0]);
    fac_batch_give_take(b, 0, fac_tensor_retain(value));
done:
    fac_tensor_release(value);
    fac_tensor_release(one);
    fac_tensor_release(filled);
    return st;
}

/* `shapes`: nothing is read of the tensors but their shape. */
static FacStatus
draw_same(FacBatch *b, bool shapes)
{
    const FacOp *op = b->call->op;
    FacTensor *one, *all, *apart;
    FacValue contiguous = {.tag = FAC_V_FORMAT, .v.i = FAC_CONTIGUOUS};
    if (!b->batched) return fac_batch_run(b); /* all see what is drawn once */
    if ((op->flags & FAC_OP_WRITES) && b->batched == 1) return write_same(b);
    if (!shapes && !(op->flags & FAC_OP_FACTORY))
        return fac_error(FAC_RUNTIME_ERROR,
                         "vmap: randomness='same' cannot draw from what differs in the batch; use "
                         "randomness='different'");
    for (int i = 0; i < op->nparams; i++) {
        if (!fac_batch_has(b, i)) continue;
        FAC_RETURN_IF_ERROR(fac_op_select(fac_batch_value(b, i), 0, 0, &one));
        fac_batch_set_take(b, i, one);
    }
    FAC_RETURN_IF_ERROR(fac_batch_run(b));
    FAC_RETURN_IF_ERROR(fac_batch_repeat(b, b->call->results[0].v.t, &all));
    FacStatus st = fac_op_clone(all, contiguous, &apart); /* it may be changed */
    fac_tensor_release(all);
    if (st != FAC_OK) return st;
    fac_value_release(&b->call->results[0]);
    fac_batch_give_take(b, 0, apart);
    return FAC_OK;
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

static FacStatus
draw(FacBatch *b, bool shapes)
{
    const FacOp *op = b->call->op;
    switch (b->level->randomness) {
    case FAC_RANDOM_SAME: return draw_same(b, shapes);
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
    if (!strcmp(op->name, "multinomial") && fac_batch_ndim(b, 0) == 2) return fac_batch_fold(b);
    if (!(op->flags & FAC_OP_BROADCASTS)) return fac_batch_dims(b);
    FAC_RETURN_IF_ERROR(fac_batch_expand_all(b));
    return fac_batch_pointwise(b);
}

FacStatus
fac_batch_random(FacBatch *b)
{
    return draw(b, false);
}

FacStatus
fac_batch_draw(FacBatch *b)
{
    return draw(b, true);
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

FacStatus
fac_batch_try_element(FacBatch *b)
{
    const FacOp *op = b->call->op;
    Element element = {b, 0};
    FacMapped one;
    if (!b->level->size || (op->flags & (FAC_OP_WRITES | FAC_OP_RANDOM))) return FAC_OK;
    FacStatus st = fac_map_call(b->call, select_element, &element, &one);
    one.call.targets = NULL;
    one.call.flags = 0;
    if (st == FAC_OK) st = fac_dispatch(&one.call);
    if (st == FAC_OK) fac_values_release(b->call->results, op->nresults);
    fac_mapped_end(&one);
    return st;
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
    uint64_t dims, sizes; /* see FacBatch */
} Rule;

static Rule *rules; /* by id of the row; no `run` where it is to be expanded or looped */
static char unknown_rule[160];

static bool
is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (!strcmp(name, *names)) return true;
    return false;
}

static void
find_parameters(const FacOp *op, Rule *rule)
{
    static const char *const dims[] = {"dim",    "dims",        "dim0",      "dim1",
                                       "dim2",   "dimension",   "start_dim", "end_dim",
                                       "source", "destination", NULL};
    static const char *const sizes[] = {"size", "sizes", "input_sizes", NULL};
    for (int i = 0; i < op->nparams; i++) {
        const FacParam *param = &op->params[i];
        if (param->type != FAC_TYPE_INT) continue;
        rule->dims |= (uint64_t)is_one_of(param->name, dims) << i;
        if (param->flags & FAC_P_LIST) rule->sizes |= (uint64_t)is_one_of(param->name, sizes) << i;
    }
}

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
find_rule(const FacOp *op, Rule *rule)
{
    const char *space = op->batch ? strchr(op->batch, ' ') : NULL;
    find_parameters(op, rule);
    if (op->batch) {
        size_t len = space ? (size_t)(space - op->batch) : strlen(op->batch);
        rule->run = rule_named(op->batch, len);
        rule->other = space ? fac_op_find(space + 1) : NULL;
        if (!rule->run || (space && !rule->other))
            snprintf(unknown_rule, sizeof unknown_rule, "'%s' asks for the rule '%s'", op->name,
                     op->batch);
    } else if (op->flags & FAC_OP_POINTWISE) {
        rule->run = fac_batch_pointwise;
    } else if ((op->flags & FAC_OP_RANDOM) && !op->composite) {
        rule->run = fac_batch_random;
    }
}

static void
find_rules(void)
{
    rules = fac_mem_zalloc((size_t)fac_op_count * sizeof *rules);
    for (int i = 0; rules && i < fac_op_count; i++) find_rule(&fac_ops[i], &rules[i]);
}

static FacStatus
rule_of(const FacOp *op, const Rule **out)
{
    static const Rule none;
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_rules);
    if (!rules) return fac_mem_error((size_t)fac_op_count * sizeof *rules);
    if (unknown_rule[0])
        return fac_error(FAC_RUNTIME_ERROR, "there is no such rule of vmap: %s", unknown_rule);
    *out = op->flags & FAC_OP_RUNTIME ? &none : &rules[op->id];
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
    for (int i = 0; st == FAC_OK && call->targets && i < call->op->nresults; i++)
        if (call->targets[i] && b->below.targets[i] != call->results[i].v.t)
            st = fac_copy_to_target(&b->below.call, i, b->below.targets[i]);
    if (st == FAC_OK && !everything_plain) st = fac_wrap_results(call, b->level);
    if (st == FAC_OK) st = fac_follow_written(call, b->level);
    if (st != FAC_OK) fac_values_release(call->results, call->op->nresults);
    return st;
}

FacStatus
fac_run_batch(FacCall *call, FacLevel *level)
{
    const Rule *rule = NULL;
    FAC_RETURN_IF_ERROR(rule_of(call->op, &rule));
    FacLevel *was = fac_level_enter(level);
    FacStatus st;
    if (!rule->run && call->op->composite) {
        st = fac_dispatch_composite(call);
    } else {
        FacBatch b; /* not cleared: its frame is large, and fac_unwrap_call fills what is used */
        b.call = call;
        b.level = level;
        b.batched = batched_args(call, level);
        b.other = rule->other;
        b.dims = rule->dims;
        b.sizes = rule->sizes;
        fac_level_enter(level->below);
        st = fac_unwrap_call(call, level, &b.below);
        if (st == FAC_OK) st = run_rule(&b, rule->run ? rule->run : fac_batch_loop);
        fac_mapped_end(&b.below);
    }
    fac_level_enter(was);
    return st;
}
