/* engine.c - one backward run.
 *
 * First every node that the roots lead to is counted: how many edges will bring it gradients. Then
 * nodes run when their last gradient has arrived, later calls first, from a heap; no recursion
 * anywhere. What a run knows of a node is a Task in the run's own memory. The way from a node to
 * its task is a field of the node, claimed for this run by an atomic exchange; where another run
 * (of another thread, or one that this run is nested in) has claimed the node, a map of this run's
 * own takes its place. So runs over shared nodes never see each other's state, and the usual run
 * pays for no map.
 *
 * Gradients that meet are added in place where this run is the only holder, else out of place.
 */
#include "layers/engine.h"

#include "layers/gradient.h"
#include "layers/profile.h"
#include "layers/run.h"

#include <string.h>

static _Atomic uint64_t next_run = 1;
static _Thread_local const FacRun *running;
static _Thread_local FacNode *current;
static _Thread_local FacTensor *const *current_grads;

uint64_t
fac_current_run(void)
{
    return running ? running->id : 0;
}

bool
fac_current_run_visits(const FacNode *node)
{
    uint32_t task = running ? fac_run_find(running, node) : FAC_NO_TASK;
    return task != FAC_NO_TASK && running->tasks[task].reached;
}

bool
fac_current_run_is_partial(void)
{
    return running && running->what->ninputs;
}

FacNode *
fac_current_node(void)
{
    return current;
}

FacTensor *const *
fac_current_grads(int *n)
{
    *n = current ? (int)current->nresults : 0;
    return current_grads;
}

/* --- one task --------------------------------------------------------------------------------- */

/* A hook may put new references into `grads`; what it replaced is released. */
static FacStatus
call_hook(const struct FacHookRunItem *hook, FacNode *node, int n, FacTensor **grads)
{
    FacTensor *few[4], **before = n <= 4 ? few : fac_mem_alloc((size_t)n * sizeof *before);
    if (!before) return fac_mem_error((size_t)n * sizeof *before);
    memcpy(before, grads, (size_t)n * sizeof *before);
    FacStatus st = hook->call(hook->foreign, node, n, grads);
    for (int i = 0; i < n; i++)
        if (grads[i] != before[i]) fac_tensor_release(before[i]);
    if (before != few) fac_mem_free(before);
    return st;
}

/* Those of tensors (each gets its one gradient), or those of the node (each gets all n). */
static FacStatus
call_hooks(FacHook *const *list, bool of_tensors, FacNode *node, int n, FacTensor **grads)
{
    FacHookRun hooks;
    FacStatus st = fac_hooks_hold(list, &hooks);
    for (int i = 0; i < hooks.n && st == FAC_OK; i++) {
        int index = hooks.at[i].index;
        if (of_tensors != (index >= 0)) continue;
        if (!of_tensors)
            st = call_hook(&hooks.at[i], node, n, grads);
        else if (grads[index])
            st = call_hook(&hooks.at[i], node, 1, &grads[index]);
    }
    fac_hooks_let_go(&hooks);
    return st;
}

/* retain_grad: the tensor's .grad becomes, or grows by, the gradient. */
static FacStatus
fill_retained(const FacNode *node, FacTensor **grads)
{
    for (const FacHook *hook = node->retain; hook; hook = hook->next) {
        FacTensor *grad = grads[hook->index], *sum;
        if (!grad) continue;
        FacAutograd *au = fac_autograd(hook->target);
        if (au->grad) {
            FAC_RETURN_IF_ERROR(fac_accumulate(au->grad, grad, &sum));
        } else {
            sum = fac_tensor_retain(grad);
        }
        fac_tensor_release(au->grad);
        au->grad = sum;
    }
    return FAC_OK;
}

/* What happens to gradients that have arrived, whether the node runs or not. */
static FacStatus
receive(FacRun *run, uint32_t index, FacTensor **grads)
{
    FacNode *node = run->tasks[index].node;
    if (FAC_UNLIKELY(node->kind == &fac_accumulate_kind)) {
        FacAutograd *au = fac_autograd(node->foreign);
        if (fac_has_hooks(&au->hooks))
            FAC_RETURN_IF_ERROR(call_hooks(&au->hooks, true, node, 1, grads));
    }
    if (FAC_UNLIKELY(fac_has_hooks(&node->prehooks)))
        FAC_RETURN_IF_ERROR(call_hooks(&node->prehooks, true, node, 0, grads));
    if (FAC_UNLIKELY(fac_has_hooks(&node->retain))) FAC_RETURN_IF_ERROR(fill_retained(node, grads));
    for (int i = 0; i < run->ncaptures; i++) {
        FacCapture *capture = &run->captures[i];
        if (capture->task != index || !grads[capture->result]) continue;
        fac_tensor_release(capture->grad);
        capture->grad = fac_tensor_retain(grads[capture->result]);
    }
    return FAC_OK;
}

/* Hands the gradients of the inputs on; consumes them, also on failure. */
static FacStatus
deliver(FacRun *run, FacNode *node, FacTensor **out)
{
    FacStatus st = FAC_OK;
    for (uint32_t i = 0; i < node->nedges; i++) {
        FacEdge edge = node->edges[i];
        FacTensor *grad = out[i];
        if (!edge.node) {
            fac_tensor_release(grad);
            continue;
        }
        FacTask *task = &run->tasks[fac_run_find(run, edge.node)];
        if (grad && task->reached && st == FAC_OK) {
            const FacMeta *meta = &edge.node->metas[edge.index];
            if (FAC_UNLIKELY(!fac_gradient_fits(grad, meta)))
                st = fac_fit_gradient_take(node, (int)i, meta, &grad);
            if (st == FAC_OK)
                st = fac_add_gradient_take(grad, &fac_task_grads(task)[edge.index]);
            else
                fac_tensor_release(grad);
        } else {
            fac_tensor_release(grad);
        }
        if (--task->pending == 0 && st == FAC_OK)
            st = fac_run_push(run, (uint32_t)(task - run->tasks));
    }
    return st;
}

/* apply and the hooks around it. */
static FacStatus
run_node(FacRun *run, FacNode *node, FacTensor **grads, FacTensor **out)
{
    FacStatus st = FAC_OK;
    if (FAC_UNLIKELY(fac_has_hooks(&node->prehooks)))
        FAC_RETURN_IF_ERROR(call_hooks(&node->prehooks, false, node, (int)node->nresults, grads));
    FacEventHandle event =
        FAC_UNLIKELY(fac_profiling()) ? fac_profile_begin_node(FAC_EVENT_NODE, node) : 0;
    if (node->kind == &fac_accumulate_kind)
        st = fac_has_hooks(&node->hooks) ? node->kind->apply(node, grads, out)
                                         : fac_run_accumulator(node, grads);
    else
        st = fac_node_apply(node, grads, out, !run->what->retain_graph);
    if (FAC_UNLIKELY(event != 0)) fac_profile_end(event);
    const FacWatch *watch = fac_watching();
    if (FAC_UNLIKELY(watch != NULL)) st = watch->ran(node, st, grads, out);
    if (st == FAC_OK && FAC_UNLIKELY(fac_has_hooks(&node->hooks)))
        st = call_hooks(&node->hooks, false, node, (int)node->nedges, out);
    return st;
}

static FacStatus
apply(FacRun *run, FacNode *node, FacTensor **grads, FacTensor **out, const bool *wanted)
{
    FacNode *outer = current;
    FacTensor *const *outer_grads = current_grads;
    const bool *outer_wanted = fac_wanted_edges;
    current = node;
    current_grads = grads;
    fac_wanted_edges = wanted;
    FacStatus st = run_node(run, node, grads, out);
    current = outer;
    current_grads = outer_grads;
    fac_wanted_edges = outer_wanted;
    return st;
}

/* With inputs named: which edges of a node lead to one of them. */
static void
find_wanted(const FacRun *run, const FacNode *node, bool *wanted)
{
    for (uint32_t i = 0; i < node->nedges; i++) {
        const FacNode *below = node->edges[i].node;
        wanted[i] = below && run->tasks[fac_run_find(run, below)].reached;
    }
}

static FacStatus
run_task(FacRun *run, uint32_t index)
{
    enum { FEW = 16 };
    FacTask *task = &run->tasks[index];
    FacNode *node = task->node;
    FacTensor **grads = fac_task_grads(task), *few[FEW], **out = few;
    bool few_wanted[FEW], *wanted = few_wanted;
    size_t bytes = node->nedges * sizeof *out;
    FAC_RETURN_IF_ERROR(receive(run, index, grads));
    if (node->nedges > FEW) {
        out = fac_mem_alloc(bytes + node->nedges * sizeof *wanted);
        if (!out) return fac_mem_error(bytes);
        wanted = (bool *)((char *)out + bytes);
    }
    if (bytes) memset(out, 0, bytes);
    if (run->what->ninputs && task->runs) find_wanted(run, node, wanted);
    if (!run->what->ninputs) wanted = NULL;
    FacStatus st = task->runs ? apply(run, node, grads, out, wanted) : FAC_OK;
    if (st == FAC_OK)
        st = deliver(run, node, out);
    else
        for (uint32_t i = 0; i < node->nedges; i++) fac_tensor_release(out[i]);
    if (out != few) fac_mem_free(out);
    fac_task_drop(task);
    return st;
}

/* --- roots ------------------------------------------------------------------------------------ */

static FacStatus
implicit_gradient(const FacMeta *meta, const FacTensor *root, FacTensor **out)
{
    int64_t numel = 1;
    for (int i = 0; i < meta->ndim; i++) numel *= meta->sizes[i];
    if (numel != 1)
        return fac_error(FAC_RUNTIME_ERROR,
                         "grad can be implicitly created only for scalar outputs");
    if (!FAC_IS_FLOAT(meta->dtype))
        return fac_error(FAC_RUNTIME_ERROR,
                         "grad can be implicitly created only for real scalar outputs but got %s",
                         fac_dtype_info[meta->dtype].name);
    return root ? fac_ones_like(root, out) : fac_ones_meta(meta, out);
}

static FacStatus
check_gradient(int i, const FacMeta *root, const FacTensor *grad)
{
    FacText text = {.len = 0};
    bool same = root->ndim == grad->ndim;
    for (int d = 0; same && d < root->ndim; d++) same = root->sizes[d] == grad->sizes[d];
    if (!same) {
        fac_text_add(&text, "Mismatch in shape: grad_output[%d] has a shape of ", i);
        fac_text_dims(&text, grad->ndim, grad->sizes);
        fac_text_add(&text, " and output[%d] has a shape of ", i);
        fac_text_dims(&text, root->ndim, root->sizes);
        return fac_error(FAC_RUNTIME_ERROR, "%s.", text.at);
    }
    if (FAC_IS_COMPLEX(root->dtype) != FAC_IS_COMPLEX(grad->dtype))
        return fac_error(
            FAC_RUNTIME_ERROR,
            "For complex Tensors, both grad_output and output are required to have the "
            "same dtype. Mismatch in dtype: grad_output[%d] has a dtype of %s and "
            "output[%d] has a dtype of %s.",
            i, fac_dtype_info[grad->dtype].name, i, fac_dtype_info[root->dtype].name);
    return FAC_OK;
}

/* Where the gradient of a root or input goes, owned: that of the tensor, or the edge as given. */
static FacStatus
edge_of(FacTensor *t, const FacEdge *given, FacEdge *out)
{
    if (t) return fac_gradient_edge(t, out);
    if (given->index >= given->node->nresults)
        return fac_error(FAC_INDEX_ERROR, "a gradient edge names result %u of %u", given->index,
                         given->node->nresults);
    fac_node_retain(given->node);
    *out = *given;
    return FAC_OK;
}

/* Finds where the roots' gradients go; the edges are owned by the run. */
static FacStatus
enter_roots(FacRun *run)
{
    const FacBackward *what = run->what;
    for (int i = 0; i < what->nroots; i++) {
        FacEdge *edge = &run->roots[i];
        FAC_RETURN_IF_ERROR(
            edge_of(what->roots[i], what->root_edges ? &what->root_edges[i] : NULL, edge));
        if (!edge->node)
            return fac_error(FAC_RUNTIME_ERROR,
                             "element %d of tensors does not require grad and does "
                             "not have a grad_fn",
                             i);
        if (fac_run_find(run, edge->node) == FAC_NO_TASK) {
            uint32_t index;
            FAC_RETURN_IF_ERROR(fac_run_add(run, edge->node, &index));
        }
    }
    return FAC_OK;
}

static FacStatus
seed_roots(FacRun *run)
{
    const FacBackward *what = run->what;
    for (int i = 0; i < what->nroots; i++) {
        FacTensor *root = what->roots[i], *grad = what->gradients ? what->gradients[i] : NULL;
        FacEdge edge = run->roots[i];
        const FacMeta *meta = &edge.node->metas[edge.index];
        if (grad) {
            FAC_RETURN_IF_ERROR(check_gradient(i, meta, grad));
            fac_tensor_retain(grad);
        } else {
            FAC_RETURN_IF_ERROR(implicit_gradient(meta, root, &grad));
        }
        FacStatus st = FAC_OK;
        if (!fac_gradient_fits(grad, meta)) st = fac_fit_gradient_take(edge.node, i, meta, &grad);
        if (st != FAC_OK) {
            fac_tensor_release(grad);
            return st;
        }
        FacTask *task = &run->tasks[fac_run_find(run, edge.node)];
        FAC_RETURN_IF_ERROR(fac_add_gradient_take(grad, &fac_task_grads(task)[edge.index]));
    }
    return FAC_OK;
}

/* --- inputs ----------------------------------------------------------------------------------- */

/* Leaves that are accumulated into run as they always do; the rest is captured on the way. */
static FacStatus
enter_inputs(FacRun *run)
{
    const FacBackward *what = run->what;
    for (int i = 0; i < what->ninputs; i++) {
        FacCapture *capture = &run->captures[run->ncaptures++];
        FacTensor *t = what->inputs[i];
        FacEdge edge;
        *capture = (FacCapture){.task = FAC_NO_TASK};
        if (what->accumulate && t && fac_needs_grad(t) && !fac_is_leaf(t))
            FAC_RETURN_IF_ERROR(fac_retain_grad(t));
        FAC_RETURN_IF_ERROR(
            edge_of(what->inputs[i], what->input_edges ? &what->input_edges[i] : NULL, &edge));
        if (!edge.node)
            return fac_error(FAC_RUNTIME_ERROR,
                             "One of the differentiated Tensors does not require grad");
        uint32_t task = fac_run_find(run, edge.node);
        bool leaf = edge.node->kind == &fac_accumulate_kind;
        fac_node_release(edge.node); /* the tensor keeps it, or who gave the edge */
        if (task == FAC_NO_TASK) continue;
        capture->task = task;
        capture->result = edge.index;
        run->tasks[task].reached = true;
        if (leaf && what->accumulate) run->tasks[task].runs = true;
    }
    return FAC_OK;
}

static FacStatus
hand_out(FacRun *run)
{
    const FacBackward *what = run->what;
    if (what->accumulate) return FAC_OK; /* leaves and retain_grad have seen to it */
    for (int i = 0; i < run->ncaptures; i++) {
        FacCapture *capture = &run->captures[i];
        if (!capture->grad && !what->allow_unused)
            return fac_error(
                FAC_RUNTIME_ERROR,
                "The differentiated Tensor at index %d appears to not have been used in the "
                "graph. Set allow_unused=True if this is the desired behavior.",
                i);
    }
    for (int i = 0; i < run->ncaptures; i++) {
        what->grads[i] = run->captures[i].grad;
        run->captures[i].grad = NULL;
    }
    return FAC_OK;
}

/* --- the run ---------------------------------------------------------------------------------- */

static FacStatus
run_noted(FacRun *run, uint32_t index)
{
    FacEventHandle event = fac_profile_begin_node(FAC_EVENT_TASK, run->tasks[index].node);
    FacStatus st = run_task(run, index);
    fac_profile_end(event);
    return st;
}

static FacStatus
run_all(FacRun *run)
{
    uint32_t index;
    for (uint32_t i = 0; i < run->ntasks; i++)
        if (run->tasks[i].pending == 0) FAC_RETURN_IF_ERROR(fac_run_push(run, i));
    while (fac_run_pop(run, &index))
        FAC_RETURN_IF_ERROR(FAC_UNLIKELY(fac_profiling()) ? run_noted(run, index)
                                                          : run_task(run, index));
    return FAC_OK;
}

FacStatus
fac_backward_run(const FacBackward *what)
{
    FacStatus st = FAC_OK;
    FacRun run;
    const FacRun *outer = running;
    bool was = fac_set_grad_enabled(what->create_graph);
    FAC_TRY(fac_run_start(&run, what, atomic_fetch_add(&next_run, 1)));
    FAC_TRY(enter_roots(&run));
    FAC_TRY(fac_run_discover(&run));
    if (what->ninputs) {
        FAC_TRY(enter_inputs(&run));
        FAC_TRY(fac_run_restrict(&run));
    }
    FAC_TRY(seed_roots(&run));
    running = &run;
    FAC_TRY(run_all(&run));
    if (what->ninputs) FAC_TRY(hand_out(&run));
done:
    running = outer;
    fac_run_end(&run);
    fac_set_grad_enabled(was);
    return st;
}
