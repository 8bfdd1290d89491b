/* fold.h - reductions as folds: what a reduction says of itself, and the engine that runs it.
 *
 * A fold keeps an accumulator for each output. Accumulators come in blocks of `lanes`, so that a
 * fold may lay out its parts as arrays of that length (all means, then all counts). The engine
 * (fold.c) walks the memory in the order in which it lies and feeds either
 *
 *   row    a run of elements that all belong to one lane, or
 *   cols   rows of elements, one for each lane.
 *
 * `first` is the position of the run's first element (of the first row) along the reduced
 * dimension, which has a meaning only where a single dimension is reduced. Work is cut by size
 * alone, and the parts are joined in order: the bits do not depend on the number of threads.
 */
#ifndef FAC_KERNELS_CPU_FOLD_H
#define FAC_KERNELS_CPU_FOLD_H

#include "kernels/cpu/kernel.h"

enum { FOLD_LANES = 1024, FOLD_ACC_MAX = 24 };

typedef struct FoldArgs {
    double count;      /* elements reduced to one output */
    double correction; /* of the divisor of a variance */
    double order;      /* of a norm */
} FoldArgs;

typedef struct Fold {
    FacDType load;      /* what elements are converted to as they are loaded */
    FacDType element;   /* what row and cols read: `load`, or what `map` makes of it */
    FacDType result[2]; /* what finish writes; the second may be NONE */
    int acc_bytes;      /* of one lane; at most FOLD_ACC_MAX */
    void (*map)(const void *x, void *y, int64_t n, const FoldArgs *args); /* or NULL */
    void (*init)(void *acc, int64_t lanes);
    void (*row)(void *acc, int64_t lanes, int64_t lane, const void *x, int64_t n, int64_t first);
    void (*cols)(void *acc, int64_t lanes, const void *x, int64_t row_bytes, int64_t rows,
                 int64_t first);
    void (*join)(void *acc, const void *later, int64_t lanes);
    void (*finish)(const void *acc, int64_t lanes, void *const *out, const FoldArgs *args);
} Fold;

/* Memory that results go to: contiguous, in the order of the dims that are kept. */
typedef struct FoldOut {
    void *data;
    FacDType dtype;
} FoldOut;

/* Reduces the dims in `mask` of strided memory (strides in elements). args->count is set here. */
FacStatus FAC_TIERED(fold_memory)(const Fold *fold, FoldArgs *args, const void *data,
                                  FacDType dtype, int ndim, const FacDim *sizes,
                                  const FacDim *strides, uint64_t mask, const FoldOut *out);
/* The same for a tensor and result tensors (the second may be NULL). */
FacStatus FAC_TIERED(fold_tensor)(const Fold *fold, FoldArgs *args, const FacTensor *t,
                                  uint64_t mask, FacTensor *first, FacTensor *second);

/* Folds of the largest and smallest elements, and of any and all (extreme.c). */
const Fold *FAC_TIERED(extreme_fold)(FacDType dtype, bool largest);
const Fold *FAC_TIERED(truth_fold)(bool all);

#endif
