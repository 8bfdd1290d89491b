/* iter.h - the one strided engine: broadcast, coalesce, cast in blocks, split, parallelize.
 *
 * An iteration has operands (results first) over one broadcast shape. Dimensions are reordered by
 * stride and merged, so that most calls become one long row. Two ways to run it:
 *
 *   fac_iter_blocks  for pointwise loops: hands the loop contiguous runs of the loop's own dtypes.
 *                    Operands that are strided, broadcast, of another dtype, or numbers pass
 *                    through blocks of FAC_BLOCK elements in L1.
 *   fac_iter_rows    for everything else: hands the body one inner row, pointers and byte strides.
 *
 * Both split by size alone and run in the pool: the same bits for any number of threads.
 */
#ifndef FAC_TENSOR_ITER_H
#define FAC_TENSOR_ITER_H

#include "tensor/call.h"

typedef struct FacIterOperand {
    char *data;
    FacDType dtype;      /* as it lies in memory */
    FacDType loop_dtype; /* as the loop wants it */
    bool conj, neg;      /* lazy bits to apply while loading */
    bool is_number;      /* data points into `number` */
    double number[2];
    FacDim strides[FAC_MAX_NDIM]; /* in bytes, by merged dimension, innermost first */
} FacIterOperand;

typedef struct FacIter {
    int noperands, nresults;
    int ndim;                   /* after merging; at least 1 */
    FacDim sizes[FAC_MAX_NDIM]; /* innermost first */
    int64_t numel;
    bool contiguous;       /* one row, every operand contiguous in its loop dtype */
    bool looked;           /* fac_iter_blocks has told `hit` all of the results */
    _Atomic bool *hit;     /* set where a result is not finite; NULL: nobody asks */
    const FacLoop *beside; /* for fac_iter_blocks: the loop's forms in FacLoops.beside_element */
    FacIterOperand operand[FAC_MAX_OPERANDS];
} FacIter;

/* In what dtype a loop over `compute` takes numbers: beside halves in float32. */
static inline FacDType
fac_number_dtype(FacDType compute)
{
    return compute == FAC_DT_F16 || compute == FAC_DT_BF16 ? FAC_DT_F32 : compute;
}

/* results[i] and tensors among the operands must broadcast to the shape of results[0].
 * loop dtypes: result_dtype for results, compute for operands (NONE: no conversion). */
FacStatus fac_iter_init(FacIter *it, int nresults, FacTensor *const *results, int noperands,
                        const FacValue *operands, FacDType result_dtype,
                        FacDType compute) FAC_MUST_CHECK;
/* The same over a shape given explicitly, dims in `skip` (bit mask of unmerged dims) left out:
 * operands are restricted to offset 0 along them. For kernels that walk everything but one dim. */
FacStatus fac_iter_init_skip(FacIter *it, int ntensors, FacTensor *const *tensors, int ndim,
                             const FacDim *sizes, uint64_t skip) FAC_MUST_CHECK;

void fac_iter_blocks(FacIter *it, FacLoop loop, const void *params);

typedef void (*FacRowBody)(char *const *data, const FacDim *strides, int64_t n, void *context);
/* grain: elements a task at least; 0 for the default of pointwise work. Rows may be cut. */
void fac_iter_rows(FacIter *it, int64_t grain, FacRowBody body, void *context);

/* n elements from one dtype to another; contiguous to contiguous. Filled in by kernels/ at start,
 * every pair of dtypes. Complex to real drops the imaginary part. */
typedef void (*FacCast)(const void *from, void *to, int64_t n);
extern FacCast fac_casts[FAC_DTYPES][FAC_DTYPES];
/* Whether n elements of a real floating dtype are all finite. Filled in as the casts are. */
typedef bool (*FacAllFinite)(FacDType real, const void *data, int64_t n);
extern FacAllFinite fac_all_finite;

/* Copies elementwise with conversion and broadcasting of `from` to the shape of `to`. */
FacStatus fac_tensor_copy(FacTensor *to, FacTensor *from) FAC_MUST_CHECK;
/* A C-contiguous tensor with t's elements (lazy bits applied), of dtype dt (FAC_DT_NONE: its own):
 * t itself, retained, when it already is that. For kernels that want plain rows. */
FacStatus fac_contiguous(FacTensor *t, FacDType dt, FacTensor **out) FAC_MUST_CHECK;
/* One element as a number, at the end of any strides and lazy bits. c: room for complex. */
FacStatus fac_tensor_item(FacTensor *t, double c[2], FacValue *out) FAC_MUST_CHECK;

#endif
