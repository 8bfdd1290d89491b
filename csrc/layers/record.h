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

/* --- saved.c: what a node keeps of its call --------------------------------------------------- */

/* saved_tensors_hooks of this thread: what is kept in place of each tensor that is saved. */
typedef struct FacPacker {
    FacForeign *foreign;
    FacStatus (*pack)(FacForeign *packer, FacTensor *t, FacForeign **packed);
    FacStatus (*unpack)(FacForeign *packed, FacTensor **out);
} FacPacker;
extern _Thread_local const FacPacker *fac_packer; /* NULL: tensors are kept as they are */

typedef struct FacSavedTensor {
    FacTensor *tensor;  /* owned; NULL: nothing, or packed */
    FacForeign *packed; /* owned; what comes back is what `unpack` makes of it */
    FacStatus (*unpack)(FacForeign *packed, FacTensor **out);
    int64_t version;
    FacEdge edge;  /* the history to give back; owned */
    bool result;   /* ... is the node itself, and `index` which of its results it is */
    bool original; /* it is kept itself, and has its history */
    uint32_t index;
} FacSavedTensor;

/* Keeps a tensor itself, which must not lead to the node that keeps it, or result `index` of that
 * node. `out` is zeroed before, and to be dropped whatever comes of it. */
FacStatus fac_save_original(FacTensor *t, FacSavedTensor *out) FAC_MUST_CHECK;
FacStatus fac_save_result(FacTensor *t, uint32_t index, FacSavedTensor *out) FAC_MUST_CHECK;
/* The tensor as it was, with its history where gradients are being recorded; a new reference, NULL
 * for nothing. RUNTIME_ERROR when it was changed since; the message says that `node` kept it as
 * `name`. */
FacStatus fac_saved_unpack(FacNode *node, const char *name, const FacSavedTensor *saved,
                           FacTensor **out) FAC_MUST_CHECK;
/* Has it packed now. RUNTIME_ERROR when it is packed already. */
FacStatus fac_saved_pack(FacSavedTensor *saved, const FacPacker *packer) FAC_MUST_CHECK;
void fac_saved_drop(FacSavedTensor *saved);

/* How many tensors a node of this row would save of the call: the length of its FacSavedTensor
 * array, which lies at node->foreign. Results that are lists are saved without. */
int fac_saved_count(const FacGradRow *row, const FacCall *call, uint32_t needed);
/* copied: an argument (index) to be saved as a copy, because the call overwrites it; or NULL. */
FacStatus fac_save_args(FacNode *node, const FacGradRow *row, const FacCall *call,
                        const FacTensor *copied) FAC_MUST_CHECK;
FacStatus fac_save_results(FacNode *node, const FacGradRow *row,
                           const FacCall *call) FAC_MUST_CHECK;
/* values[nsaved]: what the gradients of the inputs `needed` read; owned where FAC_VALUE_OWNED is
 * set; checks versions. */
FacStatus fac_unpack_saved(FacNode *node, const FacGradRow *row, uint32_t needed,
                           FacValue *values) FAC_MUST_CHECK;
/* The FacSavedTensor of slot i, and how many it has; NULL for a slot of another kind. */
FacSavedTensor *fac_saved_slot(FacNode *node, const FacGradRow *row, int i, int *n);
void fac_release_saved(FacNode *node);
/* What the node that made `result` kept of it gets the tangent that `result` has got since. */
FacStatus fac_saved_give_tangent(FacTensor *result, const struct FacLevel *level,
                                 FacTensor *tangent) FAC_MUST_CHECK;
/* The kind of nodes that stand for recorded calls. */
extern const FacNodeKind fac_recorded_kind;

/* Sums `grad` to the sizes of an operand that was broadcast, and casts it (complex to real: the
 * real part); a new reference. */
FacStatus fac_fit_gradient(FacTensor *grad, const FacMeta *to, FacTensor **out) FAC_MUST_CHECK;

#endif
