/* run.c - tasks, the map from nodes to them, and the heap.
 *
 * Small runs use the memory inside FacRun, which lies on the stack of the engine.
 */
#include "layers/run.h"

#include <string.h>

/* --- start and end ---------------------------------------------------------------------------- */

FacStatus
fac_run_start(FacRun *run, const FacBackward *what, uint64_t id)
{
    run->what = what;
    run->id = id;
    run->tasks = run->few_tasks;
    run->heap = run->few_heap;
    run->task_room = run->heap_room = FAC_RUN_FEW;
    run->ntasks = run->nheap = run->nmap = run->map_room = 0;
    run->map = NULL;
    run->captures = NULL;
    run->ncaptures = 0;
    run->roots = run->few_roots;
    size_t bytes = (size_t)what->nroots * sizeof *run->roots;
    if (what->nroots > 2 && !(run->roots = fac_mem_alloc(bytes))) return fac_mem_error(bytes);
    if (bytes) memset(run->roots, 0, bytes);
    bytes = (size_t)what->ninputs * sizeof *run->captures;
    if (what->ninputs && !(run->captures = fac_mem_zalloc(bytes))) return fac_mem_error(bytes);
    return FAC_OK;
}

void
fac_task_drop(FacTask *task)
{
    fac_tensor_release(task->first);
    task->first = NULL;
    if (!task->more) return;
    for (uint32_t i = 0; i < task->node->nresults; i++) fac_tensor_release(task->more[i]);
    fac_mem_free(task->more);
    task->more = NULL;
}

void
fac_run_end(FacRun *run)
{
    for (uint32_t i = 0; i < run->ntasks; i++) {
        FacTask *task = &run->tasks[i];
        fac_task_drop(task);
        if (atomic_load_explicit(&task->node->run, memory_order_relaxed) == run->id)
            atomic_store_explicit(&task->node->run, 0, memory_order_release);
    }
    for (int i = 0; i < run->ncaptures; i++) fac_tensor_release(run->captures[i].grad);
    for (int i = 0; run->roots && i < run->what->nroots; i++) fac_node_release(run->roots[i].node);
    if (run->roots != run->few_roots) fac_mem_free(run->roots);
    if (run->tasks != run->few_tasks) fac_mem_free(run->tasks);
    if (run->heap != run->few_heap) fac_mem_free(run->heap);
    fac_mem_free(run->captures);
    fac_mem_free(run->map);
}

/* --- nodes to tasks --------------------------------------------------------------------------- */

static uint32_t
home_of(const FacRun *run, const FacNode *node)
{
    uint64_t h = (uint64_t)(uintptr_t)node * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)(h >> 32) & (run->map_room - 1);
}

uint32_t
fac_run_find_claimed(const FacRun *run, const FacNode *node)
{
    for (uint32_t i = home_of(run, node); run->map[i].node; i = (i + 1) & (run->map_room - 1))
        if (run->map[i].node == node) return run->map[i].task;
    return FAC_NO_TASK;
}

static void
put(FacRun *run, FacNode *node, uint32_t task)
{
    uint32_t i = home_of(run, node);
    while (run->map[i].node) i = (i + 1) & (run->map_room - 1);
    run->map[i] = (FacRunSlot){node, task};
}

static FacStatus
enter_map(FacRun *run, FacNode *node, uint32_t task)
{
    if (2 * run->nmap >= run->map_room) {
        FacRunSlot *old = run->map;
        uint32_t room = run->map_room, wanted = room ? 2 * room : 64;
        FacRunSlot *map = fac_mem_zalloc(wanted * sizeof *map);
        if (!map) return fac_mem_error(wanted * sizeof *map);
        run->map = map;
        run->map_room = wanted;
        for (uint32_t i = 0; i < room; i++)
            if (old[i].node) put(run, old[i].node, old[i].task);
        fac_mem_free(old);
    }
    put(run, node, task);
    run->nmap++;
    return FAC_OK;
}

/* Moves an array that started in the run itself to the heap, or lets it grow there. */
static FacStatus
grow(void **at, const void *few, uint32_t *room, size_t item)
{
    size_t bytes = 2 * (size_t)*room * item;
    void *larger = *at == few ? fac_mem_alloc(bytes) : fac_mem_realloc(*at, bytes);
    if (!larger) return fac_mem_error(bytes);
    if (*at == few) memcpy(larger, few, *room * item);
    *at = larger;
    *room *= 2;
    return FAC_OK;
}

FacStatus
fac_run_add(FacRun *run, FacNode *node, uint32_t *index)
{
    uint64_t nobody = 0;
    FacTensor **more = NULL;
    if (run->ntasks == run->task_room) {
        void *at = run->tasks;
        FAC_RETURN_IF_ERROR(grow(&at, run->few_tasks, &run->task_room, sizeof(FacTask)));
        run->tasks = at;
    }
    if (node->nresults > 1) {
        more = fac_mem_zalloc(node->nresults * sizeof *more);
        if (!more) return fac_mem_error(node->nresults * sizeof *more);
    }
    run->tasks[run->ntasks] = (FacTask){.node = node, .more = more};
    *index = run->ntasks++;
    if (FAC_LIKELY(atomic_compare_exchange_strong(&node->run, &nobody, run->id))) {
        node->task = *index;
        return FAC_OK;
    }
    return enter_map(run, node, *index);
}

FacStatus
fac_run_discover(FacRun *run)
{
    for (uint32_t i = 0; i < run->ntasks; i++) {
        FacNode *node = run->tasks[i].node;
        run->tasks[i].runs = run->tasks[i].reached = run->what->ninputs == 0;
        for (uint32_t k = 0; k < node->nedges; k++) {
            FacNode *below = node->edges[k].node;
            if (!below) continue;
            uint32_t index = fac_run_find(run, below);
            if (index == FAC_NO_TASK) FAC_RETURN_IF_ERROR(fac_run_add(run, below, &index));
            run->tasks[index].pending++;
        }
    }
    return FAC_OK;
}

/* Every task after all that lead to it. */
static void
topological_order(const FacRun *run, uint32_t *order, uint32_t *left)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < run->ntasks; i++) {
        left[i] = run->tasks[i].pending;
        if (left[i] == 0) order[n++] = i;
    }
    for (uint32_t i = 0; i < n; i++) {
        const FacNode *node = run->tasks[order[i]].node;
        for (uint32_t k = 0; k < node->nedges; k++) {
            if (!node->edges[k].node) continue;
            uint32_t below = fac_run_find(run, node->edges[k].node);
            if (--left[below] == 0) order[n++] = below;
        }
    }
}

FacStatus
fac_run_restrict(FacRun *run)
{
    size_t bytes = 2 * (size_t)run->ntasks * sizeof(uint32_t);
    uint32_t *order = fac_mem_alloc(bytes);
    if (!order) return fac_mem_error(bytes);
    topological_order(run, order, order + run->ntasks);
    for (uint32_t i = run->ntasks; i-- > 0;) {
        FacTask *task = &run->tasks[order[i]];
        for (uint32_t k = 0; k < task->node->nedges; k++) {
            FacNode *below = task->node->edges[k].node;
            if (below && run->tasks[fac_run_find(run, below)].reached) task->runs = true;
        }
        task->reached |= task->runs;
    }
    fac_mem_free(order);
    return FAC_OK;
}

/* --- the heap --------------------------------------------------------------------------------- */

static uint64_t
sequence_of(const FacRun *run, uint32_t at)
{
    return run->tasks[run->heap[at]].node->sequence;
}

static void
swap(FacRun *run, uint32_t a, uint32_t b)
{
    uint32_t task = run->heap[a];
    run->heap[a] = run->heap[b];
    run->heap[b] = task;
}

FacStatus
fac_run_push(FacRun *run, uint32_t index)
{
    if (run->nheap == run->heap_room) {
        void *at = run->heap;
        FAC_RETURN_IF_ERROR(grow(&at, run->few_heap, &run->heap_room, sizeof *run->heap));
        run->heap = at;
    }
    uint32_t at = run->nheap++;
    run->heap[at] = index;
    for (; at && sequence_of(run, (at - 1) / 2) < sequence_of(run, at); at = (at - 1) / 2)
        swap(run, at, (at - 1) / 2);
    return FAC_OK;
}

bool
fac_run_pop(FacRun *run, uint32_t *index)
{
    if (run->nheap == 0) return false;
    *index = run->heap[0];
    run->heap[0] = run->heap[--run->nheap];
    for (uint32_t at = 0, child; (child = 2 * at + 1) < run->nheap; at = child) {
        if (child + 1 < run->nheap && sequence_of(run, child + 1) > sequence_of(run, child))
            child++;
        if (sequence_of(run, at) >= sequence_of(run, child)) break;
        swap(run, at, child);
    }
    return true;
}
