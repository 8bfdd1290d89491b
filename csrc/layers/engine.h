/* engine.h - backward: runs the graph from its roots to its leaves.
 *
 * Nodes run in descending order of sequence, each when all gradients that flow into it have
 * arrived, in the calling thread; kernels parallelize within. A chain of a million nodes uses no
 * stack.
 *
 * Hooks: those of a tensor get its gradient (of a leaf before it is accumulated), one tensor each;
 * post-accumulate hooks get the leaf itself; node hooks get all gradients of the node's results
 * (before) or inputs (after). A hook that replaces a gradient leaves a new reference in its place.
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
/* Node hooks that run after apply get the gradients of the inputs; these are those of the
 * results, of the node that runs in this thread (borrowed; *n of them). */
FacTensor *const *fac_current_grads(int *n);
/* accumulate `grad` into what is there, the peer's rules for stealing; used by the engine and
 * AccumulateGrad. */
FacStatus fac_accumulate(FacTensor *have, FacTensor *grad, FacTensor **out) FAC_MUST_CHECK;

#endif
