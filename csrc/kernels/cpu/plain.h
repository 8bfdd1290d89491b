/* plain.h - operands and results as plain rows, for kernels that are not pointwise.
 *
 * A kernel that computes in float32 for float16 and bfloat16 reads contiguous copies in that dtype
 * and writes to a stand-in, which is rounded to the result at the end. Where nothing has to be
 * converted, both are the tensors themselves.
 */
#ifndef FAC_KERNELS_CPU_PLAIN_H
#define FAC_KERNELS_CPU_PLAIN_H

#include "kernels/cpu/kernel.h"

/* t (or NULL) contiguous in dtype dt; NONE: its own, for reading by pieces (pieces.h). A new
 * reference. */
static inline FacStatus
plain_in(FacTensor *t, FacDType dt, FacTensor **out)
{
    *out = NULL;
    return t ? fac_contiguous(t, dt, out) : FAC_OK;
}

/* Where to write result i, in dtype dt; a new reference. */
static inline FacStatus
plain_out(FacCall *call, int i, FacDType dt, FacTensor **out)
{
    FacTensor *result = fac_result_tensor(call, i);
    if (result->dtype != dt || !result->contiguous)
        return fac_tensor_new(dt, result->device, result->ndim, result->sizes, out);
    *out = fac_tensor_retain(result);
    return FAC_OK;
}

/* The same with elements in the order of a memory format. */
static inline FacStatus
plain_in_format(FacTensor *t, FacDType dt, FacMemoryFormat format, FacTensor **out)
{
    FacDim strides[FAC_MAX_NDIM];
    if (format == FAC_CONTIGUOUS) return plain_in(t, dt, out);
    if (t->dtype == dt && fac_is_format(format, t->ndim, t->sizes, t->strides)) {
        *out = fac_tensor_retain(t);
        return FAC_OK;
    }
    fac_strides_format(format, t->ndim, t->sizes, strides);
    FAC_RETURN_IF_ERROR(fac_tensor_new_strided(dt, t->device, t->ndim, t->sizes, strides, out));
    return fac_tensor_copy(*out, t);
}

static inline FacStatus
plain_out_format(FacCall *call, int i, FacDType dt, FacMemoryFormat format, FacTensor **out)
{
    FacTensor *t = fac_result_tensor(call, i);
    FacDim strides[FAC_MAX_NDIM];
    if (format == FAC_CONTIGUOUS) return plain_out(call, i, dt, out);
    if (t->dtype == dt && fac_is_format(format, t->ndim, t->sizes, t->strides)) {
        *out = fac_tensor_retain(t);
        return FAC_OK;
    }
    fac_strides_format(format, t->ndim, t->sizes, strides);
    return fac_tensor_new_strided(dt, t->device, t->ndim, t->sizes, strides, out);
}

/* Rounds what was written to the result. */
static inline FacStatus
plain_done(FacCall *call, int i, FacTensor *written)
{
    FacTensor *result = fac_result_tensor(call, i);
    return written == result ? FAC_OK : fac_tensor_copy(result, written);
}

/* The dtype that arithmetic on t is done in. */
static inline FacDType
plain_compute(const FacTensor *t)
{
    return (FacDType)fac_dtype_info[t->dtype].compute;
}

#endif
