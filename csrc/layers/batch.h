/* batch.h - what the rules of vmap share. Internal to layers/.
 *
 * A rule runs with the level of the batch invisible. It gets the call as it came and the same call
 * on values, where the batch is the first dimension of each argument that has one; it changes the
 * arguments of the latter, or calls other rows, and leaves results that have the batch first in
 * call->results. Rows name their rule (`batch` in csrc/ops); pointwise rows need no name, a
 * composite without one is expanded, and what remains runs once for each element of the batch.
 */
#ifndef FAC_LAYERS_BATCH_H
#define FAC_LAYERS_BATCH_H

#include "generated/ops.h"
#include "layers/transform.h"

typedef struct FacBatch {
    FacCall *call; /* as it came: shapes as the user sees them */
    FacLevel *level;
    FacMapped below;    /* on values */
    uint64_t batched;   /* bits of the arguments that are, or hold, values of the batch */
    const FacOp *other; /* the row that the rule's name mentions: "all sum.dim_IntList" */
} FacBatch;

typedef FacStatus (*FacBatchRule)(FacBatch *b);

static inline bool
fac_batch_has(const FacBatch *b, int i)
{
    return b->batched >> i & 1;
}
/* An argument as the user sees it, and as it lies in memory. */
static inline FacTensor *
fac_batch_logical(const FacBatch *b, int i)
{
    return fac_v_as_tensor(b->call->args[i]);
}
static inline FacTensor *
fac_batch_value(const FacBatch *b, int i)
{
    return fac_v_as_tensor(b->below.args[i]);
}
int fac_batch_param(const FacOp *op, const char *name); /* index, or -1 */
/* Replaces an argument of the call below; takes the tensor. */
void fac_batch_set_take(FacBatch *b, int i, FacTensor *t);
/* Gives an argument (or each of a list) that has none a batch, by repetition. */
FacStatus fac_batch_expand(FacBatch *b, int i) FAC_MUST_CHECK;
/* Inserts dimensions of size 1 behind the batch until a value has `ndim` without it. */
FacStatus fac_batch_pad(FacTensor *value, int ndim, FacTensor **out) FAC_MUST_CHECK;
/* A value as [B * n, ...], and back. */
FacStatus fac_batch_fold(FacTensor *value, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_batch_unfold(const FacBatch *b, FacTensor *folded, FacTensor **out) FAC_MUST_CHECK;
/* Runs the call below; its results are those of the call. */
FacStatus fac_batch_run(FacBatch *b) FAC_MUST_CHECK;
/* Result i; takes it. */
void fac_batch_give_take(FacBatch *b, int i, FacTensor *t);

/* --- rules ------------------------------------------------------------------------------------ */

/* By name, as rows spell it; each is a function fac_batch_<name>. */
#define FAC_BATCH_LIST(X)                                                                          \
    X(dims)      /* dims count behind the batch, sizes get it in front: by names of parameters */  \
    X(pointwise) /* tensors broadcast */                                                           \
    X(all)       /* "all other": over all elements, by another row over one dimension */           \
    X(loop)      /* once for each element */                                                       \
    X(random)
#define FAC_BATCH_DECLARE(name) FacStatus fac_batch_##name(FacBatch *b) FAC_MUST_CHECK;
FAC_BATCH_LIST(FAC_BATCH_DECLARE)
#undef FAC_BATCH_DECLARE

#endif
