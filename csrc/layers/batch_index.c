/* batch_index.c - rules of vmap for advanced indices and searches.
 *
 * Indices that are the same for all elements leave the batch whole: None stands in front. Indices
 * that differ are paired with 0, 1, 2, ... over the batch if that which is indexed is a batch, too.
 * In both cases the dimensions that the indices make can lie elsewhere than in the result that the
 * user sees, where they take the place of the indexed dimensions if those are neighbours, else come
 * first.
 */
#include "layers/batch.h"
#include "tensor/index.h"

#include <string.h>

/* How a call indexes, as the user sees it. */
typedef struct Plan {
    FacTensor *index[FAC_MAX_NDIM + 1]; /* owned; of values, masks resolved; NULL: None */
    bool batch[FAC_MAX_NDIM + 1];       /* that index is a batch */
    int n;
    bool differ;   /* some index is a batch */
    int ndim;      /* of the indices, broadcast */
    int indexed;   /* dimensions that go away */
    int before;    /* dimensions that stay in front of the indexed ones; 0 if those are apart */
    bool apart;    /* indexed dimensions with others between them */
    int batchmask; /* position of a mask that is a batch; -1 */
} Plan;

static void
plan_end(Plan *p)
{
    for (int i = 0; i < p->n; i++) fac_tensor_release(p->index[i]);
}

static FacStatus
add_index(Plan *p, FacTensor *t, bool batch) /* takes t */
{
    if (p->n > FAC_MAX_NDIM) {
        fac_tensor_release(t);
        return fac_error(FAC_INDEX_ERROR, "too many indices for a tensor");
    }
    p->batch[p->n] = batch;
    p->index[p->n++] = t;
    return FAC_OK;
}

/* A mask that is the same for all: the positions of its true elements, dimension by dimension. */
static FacStatus
add_mask(Plan *p, FacTensor *mask)
{
    FacValue list;
    FacStatus st = FAC_OK;
    FAC_RETURN_IF_ERROR(fac_op_nonzero_numpy(mask, &list));
    for (uint32_t k = 0; st == FAC_OK && k < list.len; k++)
        st = add_index(p, fac_tensor_retain(list.v.tensors[k]), false);
    fac_value_release(&list);
    return st;
}

static FacStatus
plan_indices(const FacBatch *b, int arg, Plan *p)
{
    FacValue given = b->call->args[arg], values = b->below.args[arg];
    bool ended = false;
    *p = (Plan){.batchmask = -1};
    for (uint32_t i = 0; i < given.len; i++) {
        FacTensor *t = given.v.tensors[i], *value = values.v.tensors[i];
        bool batch = t && fac_value_at(t, b->level);
        bool mask = t && fac_is_mask_dtype(t->dtype);
        if (!t) {
            FAC_RETURN_IF_ERROR(add_index(p, NULL, false));
            p->before += !p->indexed;
            ended = p->indexed > 0;
            continue;
        }
        p->apart |= ended;
        p->differ |= batch;
        p->indexed += mask ? t->ndim : 1;
        if (mask && batch) p->batchmask = p->n;
        if (mask && t->ndim == 0)
            return fac_error(FAC_NOT_IMPLEMENTED, "vmap: an index that is a single bool");
        if (mask && !batch)
            FAC_RETURN_IF_ERROR(add_mask(p, value));
        else
            FAC_RETURN_IF_ERROR(add_index(p, fac_tensor_retain(value), batch));
        int ndim = mask ? 1 : t->ndim;
        if (ndim > p->ndim) p->ndim = ndim;
    }
    if (p->before + p->indexed > fac_batch_ndim(b, 0))
        return fac_error(FAC_INDEX_ERROR, "too many indices for tensor of dimension %d",
                         fac_batch_ndim(b, 0));
    if (p->apart) p->before = 0;
    return FAC_OK;
}

/* 0, 1, ... over the batch, as an index beside indices of p->ndim dimensions. */
static FacStatus
elements(const FacBatch *b, const Plan *p, FacDevice device, FacTensor **out)
{
    FacDim sizes[FAC_MAX_NDIM + 1] = {b->level->size};
    FacTensor *numbers;
    for (int i = 1; i <= p->ndim; i++) sizes[i] = 1;
    FAC_RETURN_IF_ERROR(fac_op_arange(fac_v_int(b->level->size), FAC_DT_I64, FAC_VALUE_NONE,
                                      fac_v_device(device), &numbers));
    FacStatus st = fac_op_view(numbers, fac_v_ints(sizes, p->ndim + 1), out);
    fac_tensor_release(numbers);
    return st;
}

/* The indices below: None or the elements of the batch in front where `self` is a batch. */
static FacStatus
indices_below(const FacBatch *b, const Plan *p, const FacTensor *self, bool batch, FacValue *out)
{
    FacTensor **slots;
    int at = batch;
    FAC_RETURN_IF_ERROR(fac_value_new_tensors(p->n + batch, out, &slots));
    if (batch && p->differ) FAC_RETURN_IF_ERROR(elements(b, p, self->device, &slots[0]));
    for (int i = 0; i < p->n; i++, at++) {
        if (!p->index[i]) continue;
        if (p->batch[i])
            FAC_RETURN_IF_ERROR(fac_batch_pad(p->index[i], p->ndim, &slots[at]));
        else
            slots[at] = fac_tensor_retain(p->index[i]);
    }
    return FAC_OK;
}

static FacStatus
data_dependent(const FacBatch *b)
{
    return fac_error(FAC_RUNTIME_ERROR,
                     "vmap: It looks like you're attempting to use an operator with dynamic shape: "
                     "'%s' with a mask that differs within the batch. Use where() instead",
                     b->call->op->name);
}

static FacStatus
moved_result(FacBatch *b, FacTensor *t, int from, int n, int to) /* takes t */
{
    FacTensor *moved;
    if (from == to || n == 0) {
        fac_batch_give_take(b, 0, t);
        return FAC_OK;
    }
    FacStatus st = fac_batch_move(t, from, n, to, &moved);
    fac_tensor_release(t);
    if (st == FAC_OK) fac_batch_give_take(b, 0, moved);
    return st;
}

/* (self, indices). */
FacStatus
fac_batch_index(FacBatch *b)
{
    Plan p;
    FacValue below = FAC_VALUE_NONE;
    FacTensor *self = fac_batch_value(b, 0), *out;
    bool batch = fac_batch_has(b, 0);
    FacStatus st;
    FAC_TRY(plan_indices(b, 1, &p));
    if (p.batchmask >= 0) FAC_TRY(data_dependent(b));
    FAC_TRY(indices_below(b, &p, self, batch, &below));
    FAC_TRY(fac_op_index(self, below, &out));
    if (!p.differ)
        st = moved_result(b, out, p.apart ? p.ndim : 0, 1, 0);
    else if (batch)
        st = moved_result(b, out, 1, p.ndim, 1 + p.before);
    else
        st = moved_result(b, out, p.before, 1, 0);
done:
    plan_end(&p);
    fac_value_release(&below);
    return st;
}

/* self where a mask that differs is false: values that need no count of the true ones. */
static FacStatus
put_by_mask(FacBatch *b, const Plan *p)
{
    FacTensor *self = fac_batch_value(b, 0), *mask = NULL, *values = NULL, *sum = NULL, *out;
    FacDim sizes[FAC_MAX_NDIM + 1];
    int ndim = fac_batch_ndim(b, 0), after = ndim - p->before - p->indexed, at = 0;
    const FacTensor *given = p->index[p->batchmask];
    FacStatus st;
    if (fac_batch_ndim(b, 2) > after && fac_batch_logical(b, 2)->numel != 1)
        return data_dependent(b);
    sizes[at++] = b->level->size;
    for (int i = 0; i < p->before; i++) sizes[at++] = 1;
    for (int i = 1; i < given->ndim; i++) sizes[at++] = given->sizes[i];
    for (int i = 0; i < after; i++) sizes[at++] = 1;
    FAC_TRY(fac_op_view(p->index[p->batchmask], fac_v_ints(sizes, at), &mask));
    if (fac_batch_has(b, 2))
        FAC_TRY(fac_batch_pad(fac_batch_value(b, 2), ndim, &values));
    else
        values = fac_tensor_retain(fac_batch_value(b, 2));
    if (fac_v_is_true(b->call->args[3])) {
        FAC_TRY(fac_op_add(fac_v_tensor(self), fac_v_tensor(values), fac_v_int(1), &sum));
        FAC_TRY(fac_op_where(mask, fac_v_tensor(sum), fac_v_tensor(self), &out));
    } else {
        FAC_TRY(fac_op_where(mask, fac_v_tensor(values), fac_v_tensor(self), &out));
    }
    fac_batch_give_take(b, 0, out);
done:
    fac_tensor_release(mask);
    fac_tensor_release(values);
    fac_tensor_release(sum);
    return st;
}

/* The values in the layout of self[indices] below. */
static FacStatus
values_below(FacBatch *b, const Plan *p, FacTensor **out)
{
    FacTensor *padded;
    int rest = fac_batch_ndim(b, 0) - p->indexed;
    bool moves = p->differ ? p->before > 0 : p->apart;
    if (!fac_batch_has(b, 2) && !moves) {
        *out = fac_tensor_retain(fac_batch_value(b, 2));
        return FAC_OK;
    }
    FAC_RETURN_IF_ERROR(fac_batch_expand(b, 2));
    FAC_RETURN_IF_ERROR(fac_batch_pad(fac_batch_value(b, 2), p->ndim + rest, &padded));
    FacStatus st = FAC_OK;
    if (!moves)
        *out = fac_tensor_retain(padded);
    else if (p->differ)
        st = fac_batch_move(padded, 1 + p->before, p->ndim, 1, out);
    else
        st = fac_batch_move(padded, 0, 1, p->ndim, out);
    fac_tensor_release(padded);
    return st;
}

/* (self, indices, values, accumulate). */
FacStatus
fac_batch_index_put(FacBatch *b)
{
    Plan p;
    FacValue below = FAC_VALUE_NONE;
    FacTensor *values = NULL;
    FacStatus st;
    int masks = 0;
    FAC_TRY(plan_indices(b, 1, &p));
    FAC_TRY(fac_batch_expand(b, 0));
    for (int i = 0; i < p.n; i++) masks += p.index[i] != NULL;
    if (p.batchmask >= 0) {
        FAC_TRY(masks == 1 ? put_by_mask(b, &p) : data_dependent(b));
        goto done;
    }
    FAC_TRY(indices_below(b, &p, fac_batch_value(b, 0), true, &below));
    FAC_TRY(values_below(b, &p, &values));
    FacValue args[] = {b->below.args[0], below, fac_v_tensor(values), b->call->args[3]};
    st = fac_batch_run_row(b, FAC_OP_index_put, args);
done:
    plan_end(&p);
    fac_value_release(&below);
    fac_tensor_release(values);
    return st;
}

/* --- searches --------------------------------------------------------------------------------- */

/* A number to be found in each element's sequence: the tensor of it. */
static FacStatus
number_to_find(FacBatch *b, FacTensor *sequence, FacTensor **out)
{
    FacDim sizes[2] = {b->level->size, 1};
    FacValue number = b->call->args[1];
    FacDType dt = (FacDType)sequence->dtype;
    if (number.tag == FAC_V_FLOAT && FAC_IS_INT(dt)) dt = FAC_DT_F64;
    return fac_op_full(fac_v_ints(sizes, 2), number, dt, FAC_VALUE_NONE,
                       fac_v_device(sequence->device), out);
}

/* A sequence for each element, and one row of values for it. */
static FacStatus
search_rows(FacBatch *b)
{
    FacValue args[6];
    FacTensor *values = NULL, *sequence = NULL, *found = NULL, *out;
    FacDim sizes[FAC_MAX_NDIM + 1] = {b->level->size, 1};
    bool number = b->call->args[1].tag != FAC_V_TENSOR;
    int ndim = fac_batch_ndim(b, 1);
    FacStatus st;
    memcpy(args, b->below.args, sizeof args);
    if (number) {
        FAC_TRY(number_to_find(b, fac_batch_value(b, 0), &values));
        FAC_TRY(fac_op__to_copy(fac_batch_value(b, 0), (FacDType)values->dtype, FAC_VALUE_NONE,
                                FAC_VALUE_NONE, false, FAC_VALUE_NONE, &sequence));
        args[0] = fac_v_tensor(sequence);
    } else {
        sizes[1] = fac_batch_logical(b, 1)->numel;
        FAC_TRY(fac_op_reshape(fac_batch_value(b, 1), fac_v_ints(sizes, 2), &values));
        for (int i = 0; i < ndim; i++) sizes[1 + i] = fac_batch_logical(b, 1)->sizes[i];
    }
    args[1] = fac_v_tensor(values);
    FacValue result = FAC_VALUE_NONE;
    FAC_TRY(fac_call(FAC_OP_searchsorted, 6, args, &result));
    found = result.v.t;
    FAC_TRY(fac_op_view(found, fac_v_ints(sizes, 1 + ndim), &out));
    fac_batch_give_take(b, 0, out);
done:
    fac_tensor_release(values);
    fac_tensor_release(sequence);
    fac_tensor_release(found);
    return st;
}

/* (sorted_sequence, self, out_int32, right, side, sorter). */
FacStatus
fac_batch_search(FacBatch *b)
{
    bool one = fac_batch_ndim(b, 0) == 1;
    if (one && !fac_batch_has(b, 0) && !fac_batch_has(b, 5)) return fac_batch_run(b);
    FAC_RETURN_IF_ERROR(fac_batch_expand_all(b));
    return one ? search_rows(b) : fac_batch_run(b);
}
