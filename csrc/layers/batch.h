/* batch.h - what the rules of vmap share. Internal to layers/.
 *
 * A rule runs with the level of the batch invisible. It gets the call as it came and the same call
 * on values, where the batch is the first dimension of each argument that has one; it changes the
 * arguments of the latter, or calls other rows, and leaves results that have the batch first in
 * call->results. Rows name their rule (`batch` in csrc/ops); pointwise rows need no name, a
 * composite without one is expanded, and what remains runs once for each element of the batch.
 *
 * In-place and out= forms are the rows' own where a rule runs the call below with the target as
 * argument; where it gives another result, that is copied to the target.
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
    uint64_t dims;      /* bits of the parameters that name dimensions */
    uint64_t sizes;     /* ... that list sizes */
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
static inline int
fac_batch_ndim(const FacBatch *b, int i)
{
    const FacTensor *t = fac_batch_logical(b, i);
    return t ? t->ndim : 0;
}
int fac_batch_param(const FacOp *op, const char *name); /* index, or -1 */

/* --- arguments of the call below -------------------------------------------------------------- */

/* Replaces an argument of the call below; takes the tensor, or copies the numbers. */
void fac_batch_set_take(FacBatch *b, int i, FacTensor *t);
void fac_batch_set(FacBatch *b, int i, FacValue number);
FacStatus fac_batch_set_ints(FacBatch *b, int i, const FacDim *ints, int n) FAC_MUST_CHECK;
/* Gives an argument (or each of a list) that has none a batch, by repetition. */
FacStatus fac_batch_expand(FacBatch *b, int i) FAC_MUST_CHECK;
FacStatus fac_batch_expand_all(FacBatch *b) FAC_MUST_CHECK;
FacStatus fac_batch_repeat(const FacBatch *b, FacTensor *t, FacTensor **out) FAC_MUST_CHECK;
/* Inserts dimensions of size 1 behind the batch until a value has `ndim` without it. */
FacStatus fac_batch_pad(FacTensor *value, int ndim, FacTensor **out) FAC_MUST_CHECK;
/* Dims `at` and at + 1 of a tensor as one, and one of them as n and the rest. */
FacStatus fac_batch_join(FacTensor *t, int at, FacTensor **out) FAC_MUST_CHECK;
FacStatus fac_batch_part(FacTensor *t, int at, int64_t n, FacTensor **out) FAC_MUST_CHECK;
/* Moves dims [from, from + n) of a tensor to begin at `to`. */
FacStatus fac_batch_move(FacTensor *t, int from, int n, int to, FacTensor **out) FAC_MUST_CHECK;

/* --- running -------------------------------------------------------------------------------------- */

/* Runs the call below; its results are those of the call. */
FacStatus fac_batch_run(FacBatch *b) FAC_MUST_CHECK;
/* The same without the targets: the result is copied to them later. */
FacStatus fac_batch_run_aside(FacBatch *b) FAC_MUST_CHECK;
/* Whether the row takes the first element by itself: for what cannot be seen of the batch, whose
 * values have a dimension where elements have none. */
FacStatus fac_batch_try_element(FacBatch *b) FAC_MUST_CHECK;
/* Another row below, with the arguments given, results and targets those of the call. */
FacStatus fac_batch_run_row(FacBatch *b, const FacOp *op, FacValue *args) FAC_MUST_CHECK;
/* Another row in the level, on the arguments as they came. */
FacStatus fac_batch_run_as(FacBatch *b, const FacOp *op) FAC_MUST_CHECK;
/* Result i; takes it. */
void fac_batch_give_take(FacBatch *b, int i, FacTensor *t);
FacStatus fac_batch_refuse(const FacBatch *b, const char *why) FAC_MUST_CHECK;

/* --- rules ------------------------------------------------------------------------------------ */

/* By name, as rows spell it; each is a function fac_batch_<name>. "rule other" has another row. */
#define FAC_BATCH_LIST(X)                                                                          \
    X(loop)  /* once for each element */                                                           \
    X(never) /* an error */                                                                        \
    X(random)                                                                                      \
    X(draw)      /* random, and only the shapes of its tensors count */                            \
    X(as)        /* "as other": another row, mostly a composite of csrc/ops/batch.py */            \
    X(lead)      /* "lead other": any dims in front, but not of weight and bias; else as */        \
    X(dims)      /* dims count behind the batch, sizes get it in front: by names of parameters */  \
    X(some)      /* ... an empty list of dims names none */                                        \
    X(copy)      /* ... with a memory format */                                                    \
    X(gather)    /* ... the result has the shape of `index` */                                     \
    X(all)       /* "all other": over all elements, by another row over one dimension */           \
    X(along)     /* "along other": dims, with an index that is no batch; else as */                \
    X(pointwise) /* tensors broadcast */                                                           \
    X(into)      /* the first is written, others broadcast to it */                                \
    X(mask_fill) /* pointwise, or as another if the number is a batch */                           \
    X(insert)    /* dims of a result that has one more */                                          \
    X(permute)                                                                                     \
    X(transpose)                                                                                   \
    X(reverse)                                                                                     \
    X(squeeze)                                                                                     \
    X(widen)   /* expand */                                                                        \
    X(strided) /* sizes and strides */                                                             \
    X(spec)    /* basic indices, see tensor/index.h */                                             \
    X(index)   /* advanced indices */                                                              \
    X(index_put)                                                                                   \
    X(search)                                                                                      \
    X(product) /* mm, bmm, mv, dot */                                                              \
    X(add_product)                                                                                 \
    X(conv)                                                                                        \
    X(conv_input)                                                                                  \
    X(conv_weight)                                                                                 \
    X(fold) /* the batch joins the first dim, in sizes too */                                      \
    X(attention)                                                                                   \
    X(channels) /* the batch joins the channels */
#define FAC_BATCH_DECLARE(name) FacStatus fac_batch_##name(FacBatch *b) FAC_MUST_CHECK;
FAC_BATCH_LIST(FAC_BATCH_DECLARE)
#undef FAC_BATCH_DECLARE

#endif
