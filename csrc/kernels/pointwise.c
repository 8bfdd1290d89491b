/* pointwise.c - the kernel of every pointwise row on the CPU.
 *
 * A row brings one contiguous loop a compute dtype. This file chooses it, packs the row's number
 * parameters as elements of that dtype, and hands both to the engine (tensor/iter.h), which deals
 * with strides, broadcasting, conversion and threads.
 *
 * Where all tensors are of one half type and the row has a loop for halves as they lie, that one runs.
 *
 * Small calls go around the engine: where everything is contiguous and already of the loop's
 * dtypes (the rule says so of the most common ones), the loop runs on the tensors' memory at once;
 * numbers and one-element tensors are spread over a block on the stack first.
 */
#include "kernels/pointwise.h"

#include "base/dtype.h"
#include "tensor/iter.h"

#include <string.h>

enum { SMALL = 4 * FAC_BLOCK };

/* The loop for halves as they lie, if the row has one and all tensors are of one half; else NULL. */
static FacLoop
half_loop(const FacCall *call, FacDType half)
{
    const FacOp *op = call->op;
    unsigned numbers = 0;
    for (int i = 0; i < op->noperands; i++) {
        const FacTensor *t = fac_arg_tensor(call, i);
        if (t && t->dtype != half) return NULL;
        numbers |= (unsigned)!t << i;
    }
    if (op->promote != FAC_PROMOTE_BOOL && fac_result_tensor(call, 0)->dtype != half) return NULL;
    if (!numbers) return op->loops->loop[half];
    return numbers == op->loops->numbers ? op->loops->beside_numbers[half == FAC_DT_BF16] : NULL;
}

static FacDType
loop_result_dtype(const FacOp *op, FacDType compute)
{
    switch (op->promote) {
    case FAC_PROMOTE_BOOL: return FAC_DT_BOOL;
    case FAC_PROMOTE_REAL: return fac_dtype_info[compute].real;
    case FAC_PROMOTE_INT_OUT: return FAC_DT_I64;
    default: return compute;
    }
}

/* None arrives as NaN: a body cannot ask whether a number was given. */
static void
pack_numbers(const FacCall *call, FacDType compute, char *params)
{
    const FacOp *op = call->op;
    size_t size = fac_dtype_info[compute].size;
    for (int i = 0; i < op->nnumbers; i++) {
        FacValue v = call->args[op->noperands + i];
        if (v.tag == FAC_V_NONE) v = fac_v_float(__builtin_nan(""));
        fac_v_store(v, compute, params + (size_t)i * size);
    }
}

/* Fills a block with one element of `size` bytes. */
static void
spread(const void *element, size_t size, char *block, int64_t n)
{
    size_t total = (size_t)n * size, done = size;
    memcpy(block, element, size);
    for (; done < total; done *= 2)
        memcpy(block + done, block, done <= total - done ? done : total - done);
}

/* Memory of a tensor that a loop over dtype dt can use as it lies. */
static bool
is_plain(const FacTensor *t, FacDType dt)
{
    return t->contiguous && t->dtype == dt && !(t->flags & (FAC_T_CONJ | FAC_T_NEG));
}

/* A loop may read what it overwrites at the same element, not at another one. */
static bool
is_apart(const FacTensor *result, const FacTensor *operand)
{
    const char *r = (const char *)fac_data(result), *o = (const char *)fac_data(operand);
    return r == o || r + fac_nbytes(result) <= o || o + fac_nbytes(operand) <= r;
}

/* The most common call: plain tensors of one shape and of the loop's dtype, and nothing else. */
static bool
run_alike(const FacCall *call, FacLoop loop, FacDType compute, const void *params)
{
    const FacOp *op = call->op;
    void *data[FAC_MAX_OPERANDS];
    if (fac_arg_tensor(call, 0)->dtype != compute) return false;
    for (int i = 0; i < op->noperands; i++) {
        if (call->args[i].tag != FAC_V_TENSOR) return false;
        data[op->nresults + i] = fac_data(call->args[i].v.t);
    }
    for (int i = 0; i < op->nresults; i++) data[i] = fac_data(fac_result_tensor(call, i));
    loop(data, fac_result_tensor(call, 0)->numel, params);
    return true;
}

/* Runs the loop at once if all is plain; false when the engine is needed. Not inlined: its blocks
 * would make the stack frame of every call a large one. */
static __attribute__((noinline)) bool
run_small(const FacCall *call, FacLoop loop, FacDType result_dtype, FacDType compute,
          const void *params)
{
    const FacOp *op = call->op;
    FacTensor *first = fac_result_tensor(call, 0);
    int64_t n = first->numel;
    void *data[FAC_MAX_OPERANDS];
    _Alignas(64) char blocks[2][FAC_BLOCK * 16];
    int spreads = 0;

    for (int i = 0; i < op->nresults; i++) {
        FacTensor *result = fac_result_tensor(call, i);
        if (!is_plain(result, result_dtype) || result->numel != n) return false;
        data[i] = fac_data(result);
    }
    for (int i = 0; i < op->noperands; i++) {
        FacTensor *t = fac_arg_tensor(call, i);
        if (t && t->numel == n && is_plain(t, compute)) {
            for (int k = 0; call->direct && k < op->nresults; k++)
                if (!is_apart(fac_result_tensor(call, k), t)) return false;
            data[op->nresults + i] = fac_data(t);
            continue;
        }
        char element[16];
        const void *at = element;
        FacDType dt = t ? compute : fac_number_dtype(compute);
        if (spreads == 2 || n > FAC_BLOCK) return false;
        if (!t)
            fac_v_store(call->args[i], dt, element);
        else if (t->numel == 1 && is_plain(t, compute))
            at = fac_data(t);
        else
            return false;
        spread(at, fac_dtype_info[dt].size, blocks[spreads], n);
        data[op->nresults + i] = blocks[spreads++];
    }
    loop(data, n, params);
    return true;
}

static __attribute__((noinline)) FacStatus
run_engine(FacCall *call, FacLoop loop, FacDType result_dtype, FacDType compute, const void *params)
{
    const FacOp *op = call->op;
    FacIter it;
    FacTensor *results[FAC_MAX_OPERANDS];
    for (int i = 0; i < op->nresults; i++) results[i] = fac_result_tensor(call, i);
    FAC_RETURN_IF_ERROR(fac_iter_init(&it, op->nresults, results, op->noperands, call->args,
                                      result_dtype, compute));
    if (compute == FAC_DT_F32 || compute == FAC_DT_F64)
        it.beside = op->loops->beside_element[compute == FAC_DT_F64];
    _Atomic bool hit = false;
    it.hit = fac_look_start(call, &hit);
    fac_iter_blocks(&it, loop, params);
    if (FAC_UNLIKELY(it.looked)) fac_look_end(call, &hit);
    return FAC_OK;
}

FacStatus
fac_k_pointwise(FacCall *call)
{
    const FacOp *op = call->op;
    FacDType compute = (FacDType)call->compute;
    FacLoop loop = op->loops && compute >= 0 ? op->loops->loop[compute] : NULL;
    if (!loop) return fac_not_implemented_for(call, compute);

    _Alignas(16) char params[16 * FAC_MAX_POINTWISE_PARAMS];
    pack_numbers(call, compute, params);
    const FacTensor *first = fac_arg_tensor(call, 0);
    const FacDType own = first ? (FacDType)first->dtype : FAC_DT_NONE;
    if (compute == FAC_DT_F32 && (own == FAC_DT_F16 || own == FAC_DT_BF16)) {
        FacLoop direct = half_loop(call, own);
        if (direct) loop = direct, compute = own;
    }
    int64_t n = fac_result_tensor(call, 0)->numel;
    if (n == 0) return FAC_OK;
    if (n <= SMALL && call->alike && run_alike(call, loop, compute, params)) return FAC_OK;
    FacDType result_dtype = loop_result_dtype(op, compute);
    if (n <= SMALL && run_small(call, loop, result_dtype, compute, params)) return FAC_OK;
    return run_engine(call, loop, result_dtype, compute, params);
}
