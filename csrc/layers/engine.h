/* engine.h - backward: runs the graph from its roots to its leaves.
 *
 * Nodes run in descending order of sequence, each when all gradients that flow into it have
 * arrived, in the calling thread; kernels parallelize within. A chain of a million nodes uses no
 * stack.
 *
 * Hooks run in this order: those of a tensor, which get its gradient (of a leaf before it is
 * accumulated); retain_grad; then, if the node itself runs, its prehooks with all gradients of its
 * results, apply, and its hooks with those of its inputs. Hooks after accumulation get the leaf. A
 * hook that replaces a gradient leaves a new reference in its place.
 *
 * With inputs named, only nodes that lead to one of them run, and a node computes only gradients
 * that lead there.
 */
#ifndef FAC_LAYERS_ENGINE_H
#define FAC_LAYERS_ENGINE_H

#include "layers/node.h"

/* roots[i] gets the cotangent gradients[i] (NULL: ones, for single elements only).
 * inputs NULL: accumulates into the .grad of every leaf. Else grads[i] of inputs[i] is returned
 * (new reference or NULL), and nothing is accumulated unless `accumulate` (backward(inputs=)). */
typedef struct FacBackward {
    int nroots;
    FacTensor *const *roots;   /* NULL where root_edges says where the gradient enters */
    const FacEdge *root_edges; /* may be NULL */
    FacTensor *const *gradients;
    bool retain_graph, create_graph;
    int ninputs;
    FacTensor *const *inputs;   /* NULL where input_edges says which result it is */
    const FacEdge *input_edges; /* may be NULL */
    bool accumulate;
    bool allow_unused;
    FacTensor **grads;
} FacBackward;
FacStatus fac_backward_run(const FacBackward *what) FAC_MUST_CHECK;

/* While a run is under way in this thread: its number, which no other run has had, whether it goes
 * through that node, and whether it goes to chosen inputs only; else 0 and false. */
uint64_t fac_current_run(void);
bool fac_current_run_visits(const FacNode *node);
bool fac_current_run_is_partial(void);
/* While a node runs in this thread: that node (borrowed), else NULL. */
FacNode *fac_current_node(void);
/* Node hooks that run after apply get the gradients of the inputs; these are those of the
 * results, of the node that runs in this thread (borrowed; *n of them). */
FacTensor *const *fac_current_grads(int *n);
/* accumulate `grad` into what is there, the peer's rules for stealing; used by the engine and
 * AccumulateGrad. */
FacStatus fac_accumulate(FacTensor *have, FacTensor *grad, FacTensor **out) FAC_MUST_CHECK;

/* Whether this thread takes a first gradient over that lies otherwise than its leaf, rather than copy
 * it; what it was. */
bool fac_set_any_gradient_layout(bool any);

#endif
