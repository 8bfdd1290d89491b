/* record.c - the autograd layer: a loop over what the row says, the same for every operator.
 *
 * For a call with an input that needs a gradient: collect the edges of the inputs, save what the
 * wanted formulas read, run the call below with recording off, save results, and give the results
 * the node as their history. A call that writes gives the new history to what it wrote.
 *
 * Backward unpacks what was saved, fills in zeros for results whose gradient is undefined, and
 * calls the generated function of the row, which calls rows.
 */
#include "layers/record.h"

#include "generated/ops.h"
#include "layers/gradient.h"

#include <pthread.h>
#include <string.h>

/* --- backward --------------------------------------------------------------------------------- */

/* Which edges belong to which input: one each, or as many as the list had. Kept behind the saved
 * tensors, one count an input. */
static uint32_t *
edge_counts(const FacNode *node)
{
    return (uint32_t *)((FacSavedTensor *)node->foreign + node->ninfos);
}

/* The gradients of the results, zeros where one is undefined; owned is what is not in `grads`. */
static FacStatus
fill_gradients(const FacNode *node, FacTensor *const *grads, FacTensor **full)
{
    for (uint32_t i = 0; i < node->nresults; i++) {
        if (grads[i])
            full[i] = grads[i];
        else if (node->metas[i].dtype >= 0 && node->metas[i].sizes)
            FAC_RETURN_IF_ERROR(fac_zeros_meta(&node->metas[i], &full[i]));
    }
    return FAC_OK;
}

/* Moves the gradients of the inputs to the edges. */
static FacStatus
spread_gradients(FacNode *node, int ninputs, FacValue *values, FacTensor **out)
{
    const uint32_t *counts = edge_counts(node);
    uint32_t edge = 0;
    for (int i = 0; i < ninputs; edge += counts[i++]) {
        FacValue *v = &values[i];
        if (v->tag == FAC_V_TENSOR) {
            out[edge] = v->v.t;
            *v = FAC_VALUE_NONE;
        } else if (v->tag == FAC_V_TENSORS) {
            if (v->len != counts[i])
                return fac_error(FAC_RUNTIME_ERROR,
                                 "the gradient of '%s' has %u tensors for a list of %u",
                                 node->op->name, v->len, counts[i]);
            for (uint32_t k = 0; k < v->len; k++)
                if (v->v.tensors[k]) out[edge + k] = fac_tensor_retain(v->v.tensors[k]);
        }
    }
    return FAC_OK;
}

/* The inputs whose gradients this run wants. */
static uint32_t
wanted_inputs(const FacNode *node, int ninputs)
{
    const uint32_t *counts = edge_counts(node);
    uint32_t edge = 0, wanted = 0;
    if (FAC_LIKELY(!fac_wanted_edges)) return node->needed;
    for (int i = 0; i < ninputs; edge += counts[i++])
        for (uint32_t k = 0; k < counts[i]; k++)
            wanted |= (uint32_t)fac_wanted_edges[edge + k] << i;
    return node->needed & wanted;
}

static FacStatus
run_formulas(FacNode *node, const FacGradRow *row, FacTensor *const *full, FacTensor **out)
{
    FacValue saved[FAC_MAX_SAVED], grads[FAC_MAX_RESULTS], outs[FAC_MAX_INPUTS];
    bool list = node->op->flags & FAC_OP_LIST_RESULT;
    int ngrads = list ? 1 : (int)node->nresults;
    for (int i = 0; i < row->ninputs; i++) outs[i] = FAC_VALUE_NONE;
    for (int i = 0; i < ngrads; i++)
        grads[i] = list ? fac_v_tensors(full, (int)node->nresults) : fac_v_tensor(full[i]);
    FacGradCall call = {.op = node->op, .saved = saved, .grads = grads, .out = outs};
    const bool *outer = fac_wanted_edges;
    call.needed = wanted_inputs(node, row->ninputs);
    FacStatus st = fac_unpack_saved(node, row, call.needed, saved);
    fac_wanted_edges = NULL; /* formulas may run graphs of their own */
    if (st == FAC_OK) st = row->backward(&call);
    fac_wanted_edges = outer;
    if (st == FAC_OK) st = spread_gradients(node, row->ninputs, outs, out);
    for (int i = 0; i < row->ninputs; i++) {
        outs[i].flags |= FAC_VALUE_OWNED;
        fac_value_release(&outs[i]);
    }
    fac_values_release(saved, row->nsaved);
    return st;
}

static FacStatus
apply_recorded(FacNode *node, FacTensor *const *grads, FacTensor **out)
{
    FacTensor *few[FAC_MAX_RESULTS], **full = few;
    const FacGradRow *row;
    bool any = false;
    size_t bytes = node->nresults * sizeof *full;
    for (uint32_t i = 0; i < node->nresults; i++) any |= grads[i] != NULL;
    if (!any) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_grad_row(node->op, &row));
    if (node->nresults > FAC_MAX_RESULTS && !(full = fac_mem_alloc(bytes)))
        return fac_mem_error(bytes);
    memset(full, 0, bytes);
    FacStatus st = fill_gradients(node, grads, full);
    if (st == FAC_OK) st = run_formulas(node, row, full, out);
    for (uint32_t i = 0; i < node->nresults; i++)
        if (full[i] != grads[i]) fac_tensor_release(full[i]);
    if (full != few) fac_mem_free(full);
    return st;
}

static FacStatus
apply_missing(FacNode *node, FacTensor *const *grads, FacTensor **out)
{
    (void)grads;
    (void)out;
    return fac_error(FAC_NOT_IMPLEMENTED, "the derivative for '%s' is not implemented",
                     node->op->name);
}

const FacNodeKind fac_recorded_kind = {.apply = apply_recorded, .release_saved = fac_release_saved};
static const FacNodeKind missing_kind = {.name = "NotImplemented", .apply = apply_missing};

/* --- rows ------------------------------------------------------------------------------------- */

/* Of an operator registered with a gradient kernel: saved are its arguments, then its results. */
static FacStatus
backward_registered(FacGradCall *call)
{
    const FacOp *op = call->op;
    FacValue args[FAC_MAX_PARAMS + 2 * FAC_MAX_RESULTS], results[FAC_MAX_PARAMS];
    int nsaved = op->nparams + op->nresults;
    memcpy(args, call->saved, (size_t)nsaved * sizeof *args);
    memcpy(args + nsaved, call->grads, op->nresults * sizeof *args);
    for (int i = 0; i < op->nparams; i++) results[i] = FAC_VALUE_NONE;
    FacCall inner = {.op = op, .args = args, .results = results};
    FacStatus st = op->grad_kernel(&inner);
    for (int i = 0; i < op->nparams; i++) {
        results[i].flags |= FAC_VALUE_OWNED;
        for (int k = 0; k < op->grad->ninputs && st == FAC_OK; k++)
            if (op->grad->inputs[k] == i) {
                call->out[k] = results[i];
                results[i] = FAC_VALUE_NONE;
            }
        fac_value_release(&results[i]);
    }
    return st;
}

typedef struct RegisteredRow {
    FacGradRow row;
    uint8_t inputs[FAC_MAX_PARAMS];
    FacSave saved[FAC_MAX_PARAMS + FAC_MAX_RESULTS];
} RegisteredRow;

static FacStatus
make_registered_row(const FacOp *op, const FacGradRow **out)
{
    if (op->nparams + op->nresults > FAC_MAX_SAVED || op->nparams > FAC_MAX_INPUTS)
        return fac_error(FAC_NOT_IMPLEMENTED,
                         "too many parameters for an operator with a gradient");
    RegisteredRow *made = fac_mem_zalloc(sizeof *made);
    if (!made) return fac_mem_error(sizeof *made);
    FacGradRow *row = &made->row;
    row->inputs = made->inputs;
    row->saved = made->saved;
    row->backward = backward_registered;
    for (int i = 0; i < op->nparams; i++) {
        uint8_t type = op->params[i].type;
        made->saved[row->nsaved++] =
            (FacSave){FAC_SAVE_ARG, (uint8_t)i, ~UINT32_C(0), op->params[i].name};
        if (type == FAC_TYPE_TENSOR || type == FAC_TYPE_OPERAND)
            made->inputs[row->ninputs++] = (uint8_t)i;
    }
    for (int i = 0; i < op->nresults; i++)
        made->saved[row->nsaved++] = (FacSave){FAC_SAVE_RESULT, (uint8_t)i, ~UINT32_C(0), "result"};
    *out = row;
    return FAC_OK;
}

FacStatus
fac_grad_row(const FacOp *op, const FacGradRow **out)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    FacStatus st = FAC_OK;
    *out = __atomic_load_n(&op->grad, __ATOMIC_ACQUIRE);
    if (FAC_LIKELY(*out || !op->grad_kernel)) return FAC_OK;
    pthread_mutex_lock(&lock);
    *out = op->grad;
    if (!*out) st = make_registered_row(op, out);
    if (st == FAC_OK) __atomic_store_n(&((FacOp *)op)->grad, *out, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
    return st;
}

/* --- forward ---------------------------------------------------------------------------------- */

static bool
wants_gradient(const FacTensor *t)
{
    return t && fac_needs_grad(t) && !FAC_IS_INT(t->dtype);
}

static bool
any_wants_gradient(FacValue v)
{
    if (v.tag == FAC_V_TENSOR) return wants_gradient(v.v.t);
    for (uint32_t i = 0; v.tag == FAC_V_TENSORS && i < v.len; i++)
        if (wants_gradient(v.v.tensors[i])) return true;
    return false;
}

static bool
any_arg_wants_gradient(const FacCall *call)
{
    for (int i = 0; i < call->op->nparams; i++)
        if (any_wants_gradient(call->args[i])) return true;
    return false;
}

/* What the call changes and returns: its in-place target, or a parameter marked (a!). */
static bool
is_written(const FacCall *call, const FacTensor *t)
{
    if ((call->flags & FAC_CALL_INPLACE) && call->targets[0] == t) return true;
    if (!(call->op->flags & FAC_OP_WRITES)) return false;
    for (int i = 0; i < call->op->nparams; i++)
        if ((call->op->params[i].flags & FAC_P_WRITE) && fac_v_as_tensor(call->args[i]) == t)
            return true;
    return false;
}

static FacStatus
check_written(const FacCall *call)
{
    if (call->flags & FAC_CALL_INPLACE) return fac_check_inplace(call->targets[0]);
    for (int i = 0; (call->op->flags & FAC_OP_WRITES) && i < call->op->nparams; i++) {
        FacTensor *t = fac_v_as_tensor(call->args[i]);
        if (t && (call->op->params[i].flags & FAC_P_WRITE))
            FAC_RETURN_IF_ERROR(fac_check_inplace(t));
    }
    return FAC_OK;
}

/* Below this layer nothing is recorded, in calls that kernels and composites make neither. Views
 * make no calls, and are to see whether gradients are on. */
static FacStatus
call_below(FacCall *call)
{
    if (call->op->flags & FAC_OP_VIEW) return fac_dispatch_next(call);
    uint32_t exclude = fac_thread.exclude;
    fac_thread.exclude |= FAC_KEY(GRAD);
    FacStatus st = fac_dispatch_next(call);
    fac_thread.exclude = exclude;
    return st;
}

static FacStatus
collect_edges(FacNode *node, const FacGradRow *row, const FacCall *call)
{
    uint32_t *counts = edge_counts(node), edge = 0;
    for (int i = 0; i < row->ninputs; i++) {
        FacValue v = call->args[row->inputs[i]];
        FacTensor *const *list = v.tag == FAC_V_TENSORS ? v.v.tensors : &v.v.t;
        counts[i] = v.tag == FAC_V_TENSORS ? v.len : 1;
        for (uint32_t k = 0; node->needed >> i & 1 && k < counts[i]; k++)
            if (counts[i] == 1 || wants_gradient(list[k])) /* of one tensor `needed` says it */
                FAC_RETURN_IF_ERROR(fac_gradient_edge(list[k], &node->edges[edge + k]));
        edge += counts[i];
    }
    return FAC_OK;
}

/* A node with edges and saved arguments; the results are still to come. */
static FacStatus
prepare(const FacCall *call, const FacGradRow *row, uint32_t needed, FacNode **out)
{
    const FacOp *op = call->op;
    FacNode *node;
    int nedges = 0, nresults = op->flags & FAC_OP_LIST_RESULT ? 0 : op->nresults;
    for (int i = 0; i < row->ninputs; i++) {
        FacValue v = call->args[row->inputs[i]];
        nedges += v.tag == FAC_V_TENSORS ? (int)v.len : 1;
    }
    int ninfos = fac_saved_count(row, call, needed);
    size_t bytes = (size_t)ninfos * sizeof(FacSavedTensor) + row->ninputs * sizeof(uint32_t);
    FAC_RETURN_IF_ERROR(
        fac_node_new_with(&fac_recorded_kind, op, nedges, nresults, row->nsaved, bytes, &node));
    node->needed = needed;
    node->ninfos = (uint32_t)ninfos;
    const FacTensor *first = op->nparams ? fac_v_as_tensor(call->args[0]) : NULL;
    const FacTensor *copied = first && is_written(call, first) ? first : NULL;
    FacStatus st = collect_edges(node, row, call);
    if (st == FAC_OK) st = fac_save_args(node, row, call, copied);
    if (st != FAC_OK) {
        fac_node_release(node);
        return st;
    }
    *out = node;
    return FAC_OK;
}

static bool
is_an_argument(const FacCall *call, const FacTensor *t)
{
    if (atomic_load_explicit(&t->refs, memory_order_relaxed) == 1) return false;
    for (int i = 0; i < call->op->nparams; i++)
        if (fac_v_as_tensor(call->args[i]) == t) return true;
    return false;
}

/* Result r of the node is t. A result that is an argument as it was keeps the history it has. The
 * last result may take the reference to the node, leaving NULL. */
static FacStatus
give_history(const FacCall *call, FacNode **node, FacTensor *t, uint32_t r, bool last)
{
    if (FAC_IS_INT(t->dtype)) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_node_set_meta(*node, (int)r, t));
    if (is_written(call, t)) return fac_rebase_history(t, *node, r);
    if (is_an_argument(call, t)) return FAC_OK;
    return last ? fac_first_history(t, node, r) : fac_set_history(t, *node, r);
}

static FacStatus
finish(const FacCall *call, FacNode **node, uint32_t nondiff)
{
    const FacOp *op = call->op;
    for (uint32_t r = 0; r < op->nresults; r++) {
        FacValue result = call->results[r];
        if (nondiff >> r & 1) continue;
        if (result.tag == FAC_V_TENSOR)
            FAC_RETURN_IF_ERROR(give_history(call, node, result.v.t, r, r + 1 == op->nresults));
        if (result.tag != FAC_V_TENSORS) continue;
        FAC_RETURN_IF_ERROR(fac_node_set_results(*node, (int)result.len));
        for (uint32_t k = 0; k < result.len; k++)
            FAC_RETURN_IF_ERROR(give_history(call, node, result.v.tensors[k], k, false));
    }
    return FAC_OK;
}

static void
drop_results(FacCall *call)
{
    for (int i = 0; i < call->op->nresults; i++) fac_value_release(&call->results[i]);
}

/* One edge for each tensor among the arguments that wants a gradient; counts only without a node. */
static FacStatus
lead_to_inputs(FacNode *node, const FacCall *call, int *n)
{
    *n = 0;
    for (int i = 0; i < call->op->nparams; i++) {
        FacValue v = call->args[i];
        FacTensor *const *list = v.tag == FAC_V_TENSORS ? v.v.tensors : &v.v.t;
        uint32_t len = v.tag == FAC_V_TENSORS ? v.len : v.tag == FAC_V_TENSOR;
        for (uint32_t k = 0; k < len; k++) {
            if (!wants_gradient(list[k])) continue;
            if (node) FAC_RETURN_IF_ERROR(fac_gradient_edge(list[k], &node->edges[*n]));
            ++*n;
        }
    }
    return FAC_OK;
}

/* A row without a gradient: the error waits in the graph until it is reached on the way to an
 * input. */
static FacStatus
record_missing(FacCall *call)
{
    int nedges;
    const FacOp *op = call->op;
    uint32_t silent = FAC_OP_FACTORY | FAC_OP_VIEW | FAC_OP_RANDOM | FAC_OP_WRITES;
    FacNode *node;
    int nresults = op->flags & FAC_OP_LIST_RESULT ? 0 : op->nresults;
    if (op->flags & silent) return call_below(call);
    FAC_RETURN_IF_ERROR(call_below(call));
    FacStatus st = lead_to_inputs(NULL, call, &nedges);
    if (st == FAC_OK) st = fac_node_new(&missing_kind, op, nedges, nresults, 0, &node);
    if (st == FAC_OK) {
        st = lead_to_inputs(node, call, &nedges);
        if (st == FAC_OK) st = finish(call, &node, 0);
        fac_node_release(node);
    }
    if (st != FAC_OK) drop_results(call);
    return st;
}

static FacStatus
record(FacCall *call, const FacGradRow *row, uint32_t needed)
{
    FacNode *node;
    FAC_RETURN_IF_ERROR(prepare(call, row, needed, &node));
    FacStatus st = call_below(call);
    if (st == FAC_OK) {
        st = fac_save_results(node, row, call);
        if (st == FAC_OK) st = finish(call, &node, row->nondiff);
        if (st != FAC_OK) drop_results(call);
    }
    fac_node_release(node);
    return st;
}

/* A composite whose result goes back into self: what its calls save of self is a copy, which the end
 * does not overwrite. */
static FacStatus
record_composite(FacCall *call)
{
    const FacValue self = call->args[0];
    FacTensor *copy;
    if (!(call->flags & FAC_CALL_INPLACE) || !any_arg_wants_gradient(call))
        return fac_dispatch_composite(call);
    FAC_RETURN_IF_ERROR(fac_op_clone(self.v.t, FAC_VALUE_NONE, &copy));
    call->args[0] = fac_v_tensor(copy);
    FacStatus st = fac_dispatch_composite(call);
    call->args[0] = self;
    fac_tensor_release(copy);
    return st;
}

FacStatus
fac_layer_record(FacCall *call)
{
    const FacOp *op = call->op;
    const FacGradRow *row;
    uint32_t needed = 0;
    call->keys &= ~FAC_KEY(GRAD);
    FAC_RETURN_IF_ERROR(fac_grad_row(op, &row));
    if ((call->flags & FAC_CALL_OUT) && any_arg_wants_gradient(call))
        return fac_error(
            FAC_RUNTIME_ERROR,
            "functions with out=... arguments don't support automatic differentiation, but "
            "one of the arguments requires grad.");
    if (!row && op->composite) return record_composite(call);
    if (!row && !any_arg_wants_gradient(call)) return call_below(call);
    for (int i = 0; row && i < row->ninputs; i++)
        needed |= (uint32_t)any_wants_gradient(call->args[row->inputs[i]]) << i;
    if (row && !needed) return call_below(call);
    if ((call->flags & FAC_CALL_INPLACE) || (op->flags & FAC_OP_WRITES))
        FAC_RETURN_IF_ERROR(check_written(call));
    return row ? record(call, row, needed) : record_missing(call);
}

__attribute__((constructor)) static void
install(void)
{
    fac_layers[FAC_KEY_INDEX_GRAD] = fac_layer_record;
}
