/* index.h - the geometry of indexing, shared by rules, kernels and bindings.
 *
 * Basic indexing is a list of triples (start, step, size), one an item, independent of the layout
 * of the tensor that it is applied to, so that gradients, transforms and traces can reapply it:
 *
 *     (start, 0, 1)      a new dimension of one element; consumes no dimension
 *     (start, step, -1)  the element `start` of the next dimension, which goes away
 *     (start, step, n)   n elements of the next dimension; step may be negative
 *
 * Dimensions after the last item stay as they are.
 *
 * Advanced indexing is a list with a tensor or NULL for each dimension; a mask (bool or uint8)
 * stands for as many dimensions as it has. Its plan says which dimensions are indexed by what, and
 * the sizes of the result. Sizes that depend on masks need the counts of their true elements.
 */
#ifndef FAC_TENSOR_INDEX_H
#define FAC_TENSOR_INDEX_H

#include "tensor/tensor.h"

enum { FAC_INDEX_STRIDE = 3, FAC_INDEX_SELECT = -1, FAC_INDEX_SPEC_MAX = 3 * 3 * FAC_MAX_NDIM };

typedef struct FacLayout {
    int ndim;
    FacDim sizes[FAC_MAX_NDIM], strides[FAC_MAX_NDIM];
    int64_t offset;
} FacLayout;

/* The layout of the view of t that `spec` (n numbers) describes; everything is range-checked. */
FacStatus fac_index_layout(const FacTensor *t, int n, const int64_t *spec,
                           FacLayout *out) FAC_MUST_CHECK;

typedef struct FacIndexPart {
    FacTensor *index; /* borrowed */
    int dim, ndim;    /* the dimensions that it indexes: one, or as many as the mask has */
    bool mask;
} FacIndexPart;

typedef struct FacIndexPlan {
    int nparts, nmasks;
    FacIndexPart part[FAC_MAX_NDIM];
    int index_ndim; /* the indices, broadcast */
    FacDim index_sizes[FAC_MAX_NDIM];
    int64_t index_numel;
    int before;                    /* how many of `rest` stand before the index block */
    int nrest, rest[FAC_MAX_NDIM]; /* dimensions that are not indexed */
    int ndim;                      /* the result: rest[0..before), index block, other rest */
    FacDim sizes[FAC_MAX_NDIM];
} FacIndexPlan;

static inline bool
fac_is_mask_dtype(int dt)
{
    return dt == FAC_DT_BOOL || dt == FAC_DT_U8;
}
/* Parts, rest and before: all that does not depend on counts. */
FacStatus fac_index_plan(const FacTensor *self, int n, FacTensor *const *indices,
                         FacIndexPlan *plan) FAC_MUST_CHECK;
/* index_* and sizes. counts: by part, read for masks only. */
FacStatus fac_index_plan_sizes(const FacTensor *self, const int64_t *counts,
                               FacIndexPlan *plan) FAC_MUST_CHECK;
/* The plan of a one-dimensional (or 0-d) index along one dimension: index_select and its kin. */
void fac_index_plan_dim(const FacTensor *self, int dim, FacTensor *index, FacIndexPlan *plan);
/* "index 7 is out of bounds for dimension 0 with size 3" */
FacStatus fac_index_range_error(int64_t index, int dim, FacDim size);

#endif
