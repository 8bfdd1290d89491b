/* record.h - the autograd layer: what a row says about its gradients, and the layer itself.
 *
 * fac_layer_record is the GRAD entry of fac_layers. For a row with `grad` it saves what the formulas
 * that are needed will read, runs the call below, and gives the results a node. For a composite
 * without one it expands the composite here, so that its parts are recorded. For a row with neither,
 * whose result could need a gradient, it makes a node that raises NOT_IMPLEMENTED when it is reached.
 */
#ifndef FAC_LAYERS_RECORD_H
#define FAC_LAYERS_RECORD_H

#include "layers/node.h"

/* What a saved slot holds. SIZES: the sizes of a tensor only, as ints (formulas that use a shape);
 * LIKE: a tensor of which only shape, dtype, device are used, kept as meta. */
typedef enum FacSaveKind { FAC_SAVE_ARG, FAC_SAVE_RESULT, FAC_SAVE_SIZES, FAC_SAVE_META } FacSaveKind;

typedef struct FacSave {
    uint8_t kind;    /* FacSaveKind */
    uint8_t index;   /* of the argument or result */
    uint32_t needed; /* saved when one of these inputs (bits of FacGradRow.inputs) wants a gradient */
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
    uint8_t ninputs;        /* differentiable parameters */
    uint8_t nsaved;
    uint32_t nondiff;       /* bit i: result i is never differentiable */
    const uint8_t *inputs;  /* parameter index of each */
    const FacSave *saved;
    FacStatus (*backward)(FacGradCall *call); /* generated */
};

FacStatus fac_layer_record(FacCall *call);
/* Sums `grad` to the sizes of an operand that was broadcast, and casts it (complex to real: the real
 * part); a new reference. */
FacStatus fac_fit_gradient(FacTensor *grad, const FacMeta *to, FacTensor **out) FAC_MUST_CHECK;

#endif
