/* record.h - the autograd layer: what a row says about its gradients, and the layer itself.
 *
 * fac_layer_record is the GRAD entry of fac_layers. For a row with `grad` it saves what the
 * formulas that are needed will read, runs the call below, and gives the results a node. For a
 * composite without one it expands the composite here, so that its parts are recorded. For a row
 * with neither it makes a node that raises NOT_IMPLEMENTED when it is reached -- unless nothing
 * flows through such a row by its meaning: factories, views (detach), random numbers, and rows
 * that only write.
 */
#ifndef FAC_LAYERS_RECORD_H
#define FAC_LAYERS_RECORD_H

#include "layers/node.h"

/* What a saved slot holds. SIZES: the sizes of an argument only, as ints (formulas that use a
 * shape); META: an argument of which only sizes, dtype and device are read: a tensor without
 * data, which may not go into a call. The last two are the same of a result. */
typedef enum FacSaveKind {
    FAC_SAVE_ARG,
    FAC_SAVE_RESULT,
    FAC_SAVE_SIZES,
    FAC_SAVE_META,
    FAC_SAVE_RESULT_SIZES,
    FAC_SAVE_RESULT_META,
} FacSaveKind;

typedef struct FacSave {
    uint8_t kind;     /* FacSaveKind */
    uint8_t index;    /* of the argument or result */
    uint32_t needed;  /* saved when one of these inputs (bits of FacGradRow.inputs) is wanted */
    const char *name; /* "self": _saved_self */
} FacSave;

/* One backward call of generated code. */
typedef struct FacGradCall {
    const FacOp *op;
    const FacValue *saved; /* by FacGradRow.saved */
    const FacValue *grads; /* a result of the forward call each; TENSOR, never undefined: zeros are
                            * made for undefined ones; one TENSORS value for a list result */
    uint32_t needed;       /* bits of inputs whose gradient is wanted */
    FacValue *out;         /* an input each: TENSOR, TENSORS or NONE; NONE on entry */
} FacGradCall;

struct FacGradRow {
    uint8_t ninputs; /* differentiable parameters */
    uint8_t nsaved;
    uint32_t nondiff;      /* bit i: result i is never differentiable */
    const uint8_t *inputs; /* parameter index of each */
    const FacSave *saved;
    FacStatus (*backward)(FacGradCall *call); /* generated */
};

enum { FAC_MAX_INPUTS = 32, FAC_MAX_SAVED = 64 }; /* of a row */

FacStatus fac_layer_record(FacCall *call);
/* The gradient row of an operator; of one registered with a gradient kernel it is made at the first
 * call. NULL: it has none. */
FacStatus fac_grad_row(const FacOp *op, const FacGradRow **out) FAC_MUST_CHECK;

/* saved.c: what a node keeps of its call. */
typedef struct FacSavedTensor {
    int64_t version;
    FacEdge edge; /* the history to give back at unpack; owned */
    bool result;  /* ... is the node itself */
    uint32_t index;
} FacSavedTensor;
/* How many tensors a node of this row would save of the call: the length of its FacSavedTensor
 * array, which lies at node->foreign. Results that are lists are saved without. */
int fac_saved_count(const FacGradRow *row, const FacCall *call, uint32_t needed);
/* copied: an argument (index) to be saved as a copy, because the call overwrites it; or NULL. */
FacStatus fac_save_args(FacNode *node, const FacGradRow *row, const FacCall *call,
                        const FacTensor *copied) FAC_MUST_CHECK;
FacStatus fac_save_results(FacNode *node, const FacGradRow *row,
                           const FacCall *call) FAC_MUST_CHECK;
/* values[nsaved]: owned where FAC_VALUE_OWNED is set; checks versions. */
FacStatus fac_unpack_saved(FacNode *node, const FacGradRow *row, FacValue *values) FAC_MUST_CHECK;
void fac_release_saved(FacNode *node);
/* Sums `grad` to the sizes of an operand that was broadcast, and casts it (complex to real: the
 * real part); a new reference. */
FacStatus fac_fit_gradient(FacTensor *grad, const FacMeta *to, FacTensor **out) FAC_MUST_CHECK;

#endif
