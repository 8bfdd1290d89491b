/* run.h - the memory of one backward run: its tasks, the way to them, and the heap of those that
 * are ready. Internal to the engine, which says what happens to them.
 */
#ifndef FAC_LAYERS_RUN_H
#define FAC_LAYERS_RUN_H

#include "layers/engine.h"

enum { FAC_RUN_FEW = 24, FAC_NO_TASK = 0xffffffffu };

typedef struct FacTask {
    FacNode *node;    /* borrowed: the roots lead to it */
    uint32_t pending; /* edges that have not delivered yet */
    bool reached;     /* something that is wanted lies here or below */
    bool runs;        /* something that is wanted lies below, or nothing is named */
    FacTensor *first; /* the gradient of a single result */
    FacTensor **more; /* of several */
} FacTask;

typedef struct FacCapture {
    uint32_t task, result;
    FacTensor *grad; /* owned */
} FacCapture;

typedef struct FacRunSlot {
    FacNode *node;
    uint32_t task;
} FacRunSlot;

typedef struct FacRun {
    const FacBackward *what;
    uint64_t id;
    FacTask *tasks;
    uint32_t ntasks, task_room;
    uint32_t *heap; /* of tasks, by sequence */
    uint32_t nheap, heap_room;
    FacRunSlot *map; /* nodes that another run has claimed; size is a power of two */
    uint32_t nmap, map_room;
    FacEdge *roots; /* owned */
    FacCapture *captures;
    int ncaptures;
    FacTask few_tasks[FAC_RUN_FEW];
    uint32_t few_heap[FAC_RUN_FEW];
    FacEdge few_roots[2];
} FacRun;

/* fac_run_end is to be called whatever fac_run_start said. */
FacStatus fac_run_start(FacRun *run, const FacBackward *what, uint64_t id) FAC_MUST_CHECK;
void fac_run_end(FacRun *run);
FacStatus fac_run_add(FacRun *run, FacNode *node, uint32_t *index) FAC_MUST_CHECK;
/* Adds everything below the tasks that are there and counts edges; all of it runs. */
FacStatus fac_run_discover(FacRun *run) FAC_MUST_CHECK;
/* Only what leads to tasks marked `reached` runs. */
FacStatus fac_run_restrict(FacRun *run) FAC_MUST_CHECK;
FacStatus fac_run_push(FacRun *run, uint32_t index) FAC_MUST_CHECK;
bool fac_run_pop(FacRun *run, uint32_t *index);
uint32_t fac_run_find_claimed(const FacRun *run, const FacNode *node);

static inline uint32_t
fac_run_find(const FacRun *run, const FacNode *node)
{
    if (FAC_LIKELY(atomic_load_explicit(&node->run, memory_order_acquire) == run->id))
        return node->task;
    return run->nmap ? fac_run_find_claimed(run, node) : FAC_NO_TASK;
}

static inline FacTensor **
fac_task_grads(FacTask *task)
{
    return task->more ? task->more : &task->first;
}
void fac_task_drop(FacTask *task); /* releases its gradients */

#endif
