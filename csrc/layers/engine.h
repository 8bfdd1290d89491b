/* engine.h - backward: runs the graph from its roots to its leaves.
 *
 * Nodes run in descending order of sequence, each when all gradients that flow into it have arrived,
 * in the calling thread; kernels parallelize within. A chain of a million nodes uses no stack.
 */
#ifndef FAC_LAYERS_ENGINE_H
#define FAC_LAYERS_ENGINE_H

#include "layers/node.h"

/* roots[i] gets the cotangent gradients[i] (NULL: ones, for single elements only).
 * inputs NULL: accumulates into the .grad of every leaf. Else grads[i] of inputs[i] is returned
 * (new reference or NULL), and nothing is accumulated unless `accumulate` (backward(inputs=)). */
typedef struct FacBackward {
    int nroots;
    FacTensor *const *roots;
    FacTensor *const *gradients;
    bool retain_graph, create_graph;
    int ninputs;
    FacTensor *const *inputs;
    bool accumulate;
    bool allow_unused;
    FacTensor **grads;
} FacBackward;
FacStatus fac_backward_run(const FacBackward *what) FAC_MUST_CHECK;

/* While a node runs in this thread: that node (borrowed), else NULL. */
FacNode *fac_current_node(void);
/* accumulate `grad` into what is there, the peer's rules for stealing; used by the engine and
 * AccumulateGrad. */
FacStatus fac_accumulate(FacTensor *have, FacTensor *grad, FacTensor **out) FAC_MUST_CHECK;

#endif
