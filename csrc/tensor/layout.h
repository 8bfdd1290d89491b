/* layout.h - arithmetic on sizes and strides. No tensors, no memory: all of it works on arrays.
 */
#ifndef FAC_TENSOR_LAYOUT_H
#define FAC_TENSOR_LAYOUT_H

#include "base/status.h"

/* Arithmetic on strides. A dimension of less than two elements may have any stride, which nothing
 * reads: so strides wrap, where all that is read cannot overflow. */
static inline FacDim
fac_stride_product(FacDim a, FacDim b)
{
    return (FacDim)((uint64_t)a * (uint64_t)b);
}
static inline FacDim
fac_stride_sum(FacDim a, FacDim b)
{
    return (FacDim)((uint64_t)a + (uint64_t)b);
}

/* How far into its storage a tensor may start, without elements too: its bytes can be counted. */
#define FAC_MAX_OFFSET (INT64_C(1) << 48)
/* The lowest and the highest element that a layout reaches, relative to its offset; false on
 * overflow. Without elements both are 0. */
bool fac_layout_reach(int ndim, const FacDim *sizes, const FacDim *strides, int64_t *low,
                      int64_t *high);
/* Product of the sizes; FAC_RUNTIME_ERROR on overflow, FAC_RUNTIME_ERROR with the peer's wording
 * for a negative size. */
FacStatus fac_sizes_numel(int ndim, const FacDim *sizes, int64_t *out) FAC_MUST_CHECK;
/* The error for sizes whose bytes cannot be counted in 63 bits. */
FacStatus fac_sizes_overflow(int ndim, const FacDim *sizes) FAC_MUST_CHECK;
void fac_strides_contiguous(int ndim, const FacDim *sizes, FacDim *strides);
/* Strides for a memory format: ndim 4 for channels last, 5 for channels last 3d. */
void fac_strides_format(FacMemoryFormat format, int ndim, const FacDim *sizes, FacDim *strides);
bool fac_is_contiguous(int ndim, const FacDim *sizes, const FacDim *strides);
bool fac_is_format(FacMemoryFormat format, int ndim, const FacDim *sizes, const FacDim *strides);
/* The channels-last format that the strides suggest (the peer's suggest_memory_format), else
 * FAC_CONTIGUOUS. */
FacMemoryFormat fac_format_of(int ndim, const FacDim *sizes, const FacDim *strides);
/* No two indices share an element and no gaps: some permutation of C order. */
bool fac_is_dense(int ndim, const FacDim *sizes, const FacDim *strides);
/* True where two indices share an element for sure (stride 0): the peer refuses to write there. */
bool fac_repeats_elements(int ndim, const FacDim *sizes, const FacDim *strides);
/* True where they might: false only when it is certain that none do. */
bool fac_may_overlap_itself(int ndim, const FacDim *sizes, const FacDim *strides);
/* Strides of a fresh tensor that keeps the order of the dimensions in memory of (sizes, strides):
 * the peer's rule for preserve_format (empty_like). Elementwise results of contiguous operands are
 * in C order instead: ask FacTensor.contiguous first. */
void fac_strides_like(int ndim, const FacDim *sizes, const FacDim *strides, FacDim *out);

/* Negative dims counted from the end; INDEX_ERROR with the peer's text. A 0-d tensor takes -1
 * and 0. */
FacStatus fac_wrap_dim(int64_t dim, int ndim, int *out) FAC_MUST_CHECK;
/* Wraps and sorts out duplicates (RUNTIME_ERROR); mask bit i set for dim i. n == 0:
 * `empty_means_all` decides between all dims and none. */
FacStatus fac_wrap_dims(const int64_t *dims, int n, int ndim, bool empty_means_all,
                        uint64_t *mask) FAC_MUST_CHECK;
/* Right-aligned broadcast of a into *sizes (in and out). RUNTIME_ERROR draws both shapes. */
FacStatus fac_broadcast(int *ndim, FacDim *sizes, int a_ndim, const FacDim *a_sizes) FAC_MUST_CHECK;
/* Fills in a single -1 so that the product is numel; the peer's errors. */
FacStatus fac_infer_size(int n, const int64_t *wanted, int64_t numel, FacDim *out) FAC_MUST_CHECK;
/* Strides that view (sizes, strides) as new_sizes without a copy; false if there are none. */
bool fac_view_strides(int ndim, const FacDim *sizes, const FacDim *strides, int new_ndim,
                      const FacDim *new_sizes, FacDim *new_strides);

#endif
