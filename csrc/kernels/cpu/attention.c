/* attention.c - softmax(Q K^T scale + mask) V without the matrix of scores, and its gradient.
 *
 * A task takes a block of queries past all keys, block by block, with the largest score, the sum of
 * weights and the weighted sum of values so far (the online softmax). The gradient computes the
 * weights anew from the logarithm of their sum, which the forward kernel returns. Which weights
 * dropout keeps stands in a matrix of bits. Tensors are read where they lie, with any strides;
 * half types go through float32. A query's result depends on nothing but its own row, and the order
 * of its sums on the number of keys alone.
 */
#include "kernels/cpu/plain.h"

#include "device/device.h"
#include "kernels/cpu/exp_below.h"

#include <stdatomic.h>

#if defined(__AVX512F__)
#define ATTENTION_F32_LANES 16
#define ATTENTION_F64_LANES 8
#define ATTENTION_HEIGHTS(X, vecs) X(8, vecs) X(4, vecs) X(2, vecs) X(1, vecs)
#elif defined(__AVX2__)
#define ATTENTION_F32_LANES 8
#define ATTENTION_F64_LANES 4
#define ATTENTION_HEIGHTS(X, vecs) X(4, vecs) X(2, vecs) X(1, vecs)
#else
#define ATTENTION_F32_LANES 4
#define ATTENTION_F64_LANES 2
#define ATTENTION_HEIGHTS(X, vecs) X(4, vecs) X(2, vecs) X(1, vecs)
#endif

enum {
    FEW_QUERIES = 4, /* up to so many go one by one */
    MASK_ROWS = 8    /* of a mask that are worked on together */
};

/* A tensor [batch..., rows, columns]; strides in elements, 0 where it is broadcast. */
typedef struct Operand {
    void *data;
    int64_t batch[FAC_MAX_NDIM], row, col;
} Operand;

typedef struct Attention {
    Operand q, k, v, mask, out, g, dq, dk, dv;
    int dims; /* of the batch; heads are the last of them */
    int64_t sizes[FAC_MAX_NDIM];
    int64_t heads, group; /* query heads in the whole batch; how many share keys and values */
    int64_t queries, keys, size, value_size;
    const uint8_t *keep; /* bits, (keys + 7) / 8 bytes a query; or NULL */
    void *lse;
    double scale, dropout;
    bool causal, mask_is_bool;
    _Atomic bool failed; /* a task found no memory */
} Attention;

/* Where head `head` of the whole batch begins; `group` query heads share one of the operand's. */
static int64_t
offset_of(const Attention *p, const Operand *t, int64_t head, int64_t group)
{
    int64_t at = 0;
    for (int d = p->dims - 1; d >= 0; d--) {
        int64_t i = head % p->sizes[d];
        head /= p->sizes[d];
        if (d == p->dims - 1) i /= group;
        at += i * t->batch[d];
    }
    return at;
}

typedef uint8_t Bytes __attribute__((vector_size(MASK_ROWS)));

/* Bytes of a square of 8 rows, each 0 or 1, become those of its columns; true if all are 1: then
 * they stay where they are. */
static inline bool
transpose_bytes(uint64_t *r)
{
    static const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t all = ones;
    for (int i = 0; i < MASK_ROWS; i++) all &= r[i];
    if (all == ones) return true;
    static const uint64_t halves[] = {UINT64_C(0x00000000ffffffff), UINT64_C(0x0000ffff0000ffff),
                                      UINT64_C(0x00ff00ff00ff00ff)};
#pragma GCC unroll 3
    for (int step = 0; step < 3; step++) {
        const int apart = MASK_ROWS / 2 >> step;
#pragma GCC unroll 8
        for (int i = 0; i < MASK_ROWS; i++) {
            if (i & apart) continue;
            const uint64_t t = (r[i] >> 8 * apart ^ r[i + apart]) & halves[step];
            r[i + apart] ^= t;
            r[i] ^= t << 8 * apart;
        }
    }
    return false;
}

static void *
take_scratch(Attention *p, size_t bytes)
{
    void *at = NULL;
    if (fac_host_alloc(bytes, &at) != FAC_OK) {
        p->failed = true;
        return NULL;
    }
    return at;
}

static void
give_scratch(void *at, size_t bytes)
{
    if (at) fac_host_free(at, bytes);
}

#define T float
#define NAME(x) x##_f32
#define EXP exp_below_f32
#define LOG fx_log_f32
#define LANES ATTENTION_F32_LANES
#include "kernels/cpu/attention_body.h"
#define T double
#define NAME(x) x##_f64
#define EXP exp_below_f64
#define LOG fx_log_f64
#define LANES ATTENTION_F64_LANES
#include "kernels/cpu/attention_body.h"

static Operand
operand(const Attention *p, FacTensor *t)
{
    Operand o = {.data = NULL};
    if (!t) return o;
    const int missing = p->dims + 2 - t->ndim;
    o.data = fac_data(t);
    for (int d = missing; d < p->dims + 2; d++) {
        const int64_t stride = t->sizes[d - missing] == 1 ? 0 : t->strides[d - missing];
        if (d < p->dims)
            o.batch[d] = stride;
        else if (d == p->dims)
            o.row = stride;
        else
            o.col = stride;
    }
    return o;
}

/* t itself where it has the dtype, else a contiguous copy; a new reference, NULL for NULL. */
static FacStatus
as_is(FacTensor *t, FacDType dt, FacTensor **out)
{
    if (!t || t->dtype != dt) return plain_in(t, dt, out);
    *out = fac_tensor_retain(t);
    return FAC_OK;
}

/* A tensor to write result i to: the result itself where it has the dtype. */
static FacStatus
target(FacCall *call, int i, FacDType dt, FacTensor **out)
{
    FacTensor *result = fac_result_tensor(call, i);
    if (result->dtype != dt)
        return fac_tensor_new(dt, result->device, result->ndim, result->sizes, out);
    *out = fac_tensor_retain(result);
    return FAC_OK;
}

enum { QUERY, KEY, VALUE, MASK, KEEP, OUT, GRAD, LSE, DQ, DK, DV, HELD };

/* The arguments from args[first] on: query, key, value. Options stand at args[option]: mask, keep,
 * dropout_p, is_causal, scale. */
static FacStatus
open_call(FacCall *call, int first, int option, FacDType dt, Attention *p, FacTensor **held)
{
    const FacTensor *q = fac_arg_tensor(call, first), *k = fac_arg_tensor(call, first + 1);
    const FacTensor *v = fac_arg_tensor(call, first + 2);
    FacTensor *mask = fac_arg_tensor(call, option);
    p->dims = q->ndim - 2;
    p->heads = 1;
    for (int d = 0; d < p->dims; d++) p->heads *= p->sizes[d] = q->sizes[d];
    p->group = p->dims && k->sizes[p->dims - 1] ? q->sizes[p->dims - 1] / k->sizes[p->dims - 1] : 1;
    p->queries = q->sizes[p->dims];
    p->keys = k->sizes[p->dims];
    p->size = q->sizes[p->dims + 1];
    p->value_size = v->sizes[p->dims + 1];
    p->dropout = fac_v_as_float(FAC_ARG(call, option + 2));
    p->causal = FAC_ARG(call, option + 3).v.i;
    p->scale = fac_v_as_float(FAC_ARG(call, option + 4));
    p->mask_is_bool = mask && mask->dtype == FAC_DT_BOOL;
    for (int i = 0; i < 3; i++)
        FAC_RETURN_IF_ERROR(as_is(fac_arg_tensor(call, first + i), dt, &held[QUERY + i]));
    FAC_RETURN_IF_ERROR(as_is(mask, p->mask_is_bool ? FAC_DT_BOOL : dt, &held[MASK]));
    FAC_RETURN_IF_ERROR(plain_in(fac_arg_tensor(call, option + 1), FAC_DT_U8, &held[KEEP]));
    p->keep = held[KEEP] ? fac_data(held[KEEP]) : NULL;
    p->q = operand(p, held[QUERY]);
    p->k = operand(p, held[KEY]);
    p->v = operand(p, held[VALUE]);
    p->mask = operand(p, held[MASK]);
    return FAC_OK;
}

static FacStatus
close_call(Attention *p, FacTensor **held, FacStatus st)
{
    for (int i = 0; i < HELD; i++) fac_tensor_release(held[i]);
    if (st == FAC_OK && p->failed)
        return fac_error(FAC_MEMORY_ERROR, "no memory for a block of attention");
    return st;
}

static void
run_forward(Attention *p, FacDType dt)
{
    const bool single = dt == FAC_DT_F32;
    const int64_t row = p->keys * (p->size + p->value_size) / 8 + 1; /* cheap operations a query */
    if (p->queries <= FEW_QUERIES) {
        fac_parallel(p->heads * p->queries, fac_grain(row),
                     single ? forward_rows_f32 : forward_rows_f64, p);
    } else {
        const int64_t block = single ? BLOCK_f32 : BLOCK_f64;
        fac_parallel(p->heads * fac_chunks(p->queries, block), fac_grain(row * block),
                     single ? forward_f32 : forward_f64, p);
    }
}

/* (query, key, value, mask, keep, dropout_p, is_causal, scale) -> (result, lse). */
FacStatus
FAC_KERNEL(flash_attention)(FacCall *call)
{
    const FacDType dt = plain_compute(fac_arg_tensor(call, 0));
    FacTensor *held[HELD] = {NULL};
    Attention p = {.failed = false};
    FacStatus st = FAC_OK;
    FAC_TRY(open_call(call, 0, 3, dt, &p, held));
    FAC_TRY(target(call, 0, dt, &held[OUT]));
    p.out = operand(&p, held[OUT]);
    p.lse = fac_data(fac_result_tensor(call, 1));
    run_forward(&p, dt);
    FAC_TRY(plain_done(call, 0, held[OUT]));
done:
    return close_call(&p, held, st);
}

/* The result and its lse as forward gave them. A result in half precision is too coarse to be
 * multiplied with the gradient: it is computed again. */
static FacStatus
result_of(FacCall *call, FacDType dt, Attention *p, FacTensor **held)
{
    FacTensor *result = fac_arg_tensor(call, 4), *lse = fac_arg_tensor(call, 5);
    const bool again = result->dtype != dt;
    if (again) {
        FAC_RETURN_IF_ERROR(
            fac_tensor_new(dt, result->device, result->ndim, result->sizes, &held[OUT]));
        FAC_RETURN_IF_ERROR(fac_tensor_new(dt, lse->device, lse->ndim, lse->sizes, &held[LSE]));
    } else {
        FAC_RETURN_IF_ERROR(as_is(result, dt, &held[OUT]));
        FAC_RETURN_IF_ERROR(plain_in(lse, dt, &held[LSE]));
    }
    p->out = operand(p, held[OUT]);
    p->lse = fac_data(held[LSE]);
    if (again) run_forward(p, dt);
    return FAC_OK;
}

/* (grad, query, key, value, result, lse, mask, keep, dropout_p, is_causal, scale) -> the
 * gradients of query, key and value. */
FacStatus
FAC_KERNEL(flash_attention_backward)(FacCall *call)
{
    const FacDType dt = plain_compute(fac_arg_tensor(call, 1));
    FacTensor *held[HELD] = {NULL};
    Attention p = {.failed = false};
    FacStatus st = FAC_OK;
    FAC_TRY(open_call(call, 1, 6, dt, &p, held));
    FAC_TRY(as_is(fac_arg_tensor(call, 0), dt, &held[GRAD]));
    FAC_TRY(result_of(call, dt, &p, held));
    for (int i = 0; i < 3; i++) FAC_TRY(target(call, i, dt, &held[DQ + i]));
    p.g = operand(&p, held[GRAD]);
    p.dq = operand(&p, held[DQ]);
    p.dk = operand(&p, held[DK]);
    p.dv = operand(&p, held[DV]);
    fac_parallel(p.heads / p.group, 1, dt == FAC_DT_F32 ? backward_f32 : backward_f64, &p);
    for (int i = 0; i < 3; i++) FAC_TRY(plain_done(call, i, held[DQ + i]));
done:
    return close_call(&p, held, st);
}
