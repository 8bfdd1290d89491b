/* batch_shape.c - rules of vmap for operands that broadcast, for dimensions and sizes, and for views.
 *
 * The batch is the first dimension of every value, so there is little to do: operands are padded
 * behind the batch, dimensions are counted from one further on, sizes get the batch in front. What
 * needs care are 0-d tensors: they promote less than others, and count as if they had a dimension.
 */
#include "dispatch/rules.h"
#include "layers/batch.h"
#include "tensor/index.h"
#include "tensor/layout.h"

#include <string.h>

/* --- operands that broadcast ------------------------------------------------------------------ */

static bool
is_promoted(const FacParam *param)
{
    return (param->type == FAC_TYPE_TENSOR || param->type == FAC_TYPE_OPERAND) &&
           strcmp(param->name, "condition") && strcmp(param->name, "mask");
}

/* A 0-d tensor promotes less than others, also where its value has the batch as a dimension, and as
 * much as another 0-d tensor, which has no batch: it is cast to what is computed in, beforehand. */
static FacStatus
cast_scalars(FacBatch *b)
{
    const FacOp *op = b->call->op;
    FacValue operands[FAC_MAX_PARAMS];
    int n = 0, scalars = 0, first = -1, types = 0;
    for (int i = 0; i < op->nparams; i++) {
        FacValue v = b->call->args[i];
        if ((v.tag != FAC_V_TENSOR && !fac_v_is_number(v)) || !is_promoted(&op->params[i]))
            continue;
        operands[n++] = v;
        if (v.tag != FAC_V_TENSOR) continue;
        scalars += v.v.t->ndim == 0;
        if (first < 0) first = i;
        types += v.v.t->dtype != fac_batch_logical(b, first)->dtype;
    }
    if (!scalars || !types) return FAC_OK;
    FacDType common = fac_promote_operands(operands, n);
    for (int i = 0; i < op->nparams; i++) {
        FacTensor *t = fac_batch_logical(b, i), *cast;
        if (!t || t->ndim || t->dtype == common || (i == first && b->call->targets)) continue;
        if (!is_promoted(&op->params[i])) continue;
        FAC_RETURN_IF_ERROR(fac_op__to_copy(fac_batch_value(b, i), common, FAC_VALUE_NONE,
                                            FAC_VALUE_NONE, false, FAC_VALUE_NONE, &cast));
        fac_batch_set_take(b, i, cast);
    }
    return FAC_OK;
}

static FacStatus
pad_arg(FacBatch *b, int i, int ndim)
{
    FacTensor *padded;
    if (!fac_batch_has(b, i) || fac_batch_ndim(b, i) >= ndim) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_batch_pad(fac_batch_value(b, i), ndim, &padded));
    fac_batch_set_take(b, i, padded);
    return FAC_OK;
}

static FacStatus
broadcast(FacBatch *b, bool promotes)
{
    const FacOp *op = b->call->op;
    int most = 0, least = FAC_MAX_NDIM;
    for (int i = 0; i < op->nparams; i++) {
        const FacTensor *t = fac_batch_logical(b, i);
        if (t && t->ndim > most) most = t->ndim;
        if (t && t->ndim < least) least = t->ndim;
    }
    if (least == 0 && promotes) FAC_RETURN_IF_ERROR(cast_scalars(b));
    for (int i = 0; least < most && i < op->nparams; i++) {
        bool target = b->call->targets && b->below.targets[0] == fac_batch_value(b, i);
        if (fac_batch_logical(b, i) && !target) FAC_RETURN_IF_ERROR(pad_arg(b, i, most));
    }
    return fac_batch_run(b);
}

FacStatus
fac_batch_pointwise(FacBatch *b)
{
    return broadcast(b, true);
}

/* copy_, fill_: what is written keeps its dtype and shape. */
FacStatus
fac_batch_into(FacBatch *b)
{
    int ndim = fac_batch_ndim(b, 0);
    bool number = b->call->op->nparams > 1 && b->call->op->params[1].type == FAC_TYPE_OPERAND;
    if (number && fac_batch_ndim(b, 1))
        return fac_batch_refuse(b, "takes a number or a 0-d tensor as its value");
    if (b->call->op->nparams < 2 || !fac_batch_has(b, 1)) return fac_batch_run(b);
    if (fac_batch_ndim(b, 1) > ndim)
        return fac_error(FAC_RUNTIME_ERROR,
                         "'%s' cannot write a tensor of %d dimensions into one of %d",
                         b->call->op->name, fac_batch_ndim(b, 1), ndim);
    FAC_RETURN_IF_ERROR(pad_arg(b, 1, ndim));
    FacValue args[] = {b->below.args[0], b->below.args[1], fac_v_bool(false)};
    return fac_batch_run_row(b, FAC_OP_copy_, args);
}

FacStatus
fac_batch_mask_fill(FacBatch *b)
{
    if (fac_batch_ndim(b, 2))
        return fac_batch_refuse(b, "takes a number or a 0-d tensor as its value");
    return fac_batch_has(b, 2) ? fac_batch_run_as(b, b->other) : broadcast(b, false);
}

/* --- dimensions and sizes --------------------------------------------------------------------- */

static FacStatus
shift_dims(FacBatch *b, int i, int ndim)
{
    FacValue v = b->call->args[i];
    FacDim dims[FAC_MAX_NDIM];
    int wrapped, n = 0;
    if (v.tag == FAC_V_INT) {
        FAC_RETURN_IF_ERROR(fac_wrap_dim(v.v.i, ndim, &wrapped));
        fac_batch_set(b, i, fac_v_int(wrapped + 1));
        return FAC_OK;
    }
    if (v.tag == FAC_V_INTS && v.len > FAC_MAX_NDIM)
        return fac_error(FAC_RUNTIME_ERROR, "%u dims are more than a tensor has", v.len);
    for (uint32_t k = 0; v.tag == FAC_V_INTS && k < v.len; k++) {
        FAC_RETURN_IF_ERROR(fac_wrap_dim(v.v.ints[k], ndim, &wrapped));
        dims[n++] = wrapped + 1;
    }
    /* None, or an empty list: all of them */
    for (; n < ndim && (v.tag != FAC_V_INTS || v.len == 0); n++) dims[n] = n + 1;
    return fac_batch_set_ints(b, i, dims, n);
}

/* A size of -1 follows from the elements, of which an empty batch has none. */
static void
infer_size(const FacBatch *b, FacDim *sizes, int n)
{
    const FacTensor *t = fac_batch_logical(b, 0);
    int64_t others = 1;
    int at = -1;
    for (int i = 0; i < n; i++)
        if (sizes[i] == -1)
            at = i;
        else
            others = fac_stride_product(others, sizes[i]);
    if (t && at >= 0 && others > 0) sizes[at] = t->numel / others;
}

static FacStatus
put_in_front(FacBatch *b, int i, bool infer)
{
    FacValue v = b->call->args[i];
    FacDim sizes[FAC_MAX_NDIM + 1] = {b->level->size};
    if (v.tag != FAC_V_INTS) return FAC_OK;
    if (v.len > FAC_MAX_NDIM)
        return fac_error(FAC_RUNTIME_ERROR, "%u sizes are more than a tensor has", v.len);
    if (v.len) memcpy(sizes + 1, v.v.ints, v.len * sizeof *sizes);
    if (b->level->size == 0 && infer) infer_size(b, sizes + 1, (int)v.len);
    return fac_batch_set_ints(b, i, sizes, (int)v.len + 1);
}

static FacStatus
shift_sizes(FacBatch *b, int i)
{
    return put_in_front(b, i, true);
}

/* A result of the batch without the dimension that stood for that of a 0-d tensor. */
static FacStatus
drop_last(FacValue *result)
{
    FacTensor *t = fac_v_as_tensor(*result), *out;
    if (!t || t->ndim < 2) return FAC_OK;
    FAC_RETURN_IF_ERROR(fac_op_squeeze_dim(t, -1, &out));
    fac_tensor_release(t);
    result->v.t = out;
    return FAC_OK;
}

/* A dim that is None stands for all elements as one row. */
static FacStatus
over_all(FacBatch *b, int self, int dim)
{
    int keepdim = fac_batch_param(b->call->op, "keepdim");
    bool keep = keepdim >= 0 && fac_v_is_true(b->call->args[keepdim]);
    FacTensor *flat;
    FacDim two[2] = {b->level->size, fac_batch_logical(b, self)->numel};
    FacDim sizes[FAC_MAX_NDIM + 1] = {b->level->size};
    FAC_RETURN_IF_ERROR(fac_op_reshape(fac_batch_value(b, self), fac_v_ints(two, 2), &flat));
    fac_batch_set_take(b, self, flat);
    fac_batch_set(b, dim, fac_v_int(1));
    FAC_RETURN_IF_ERROR(fac_batch_run_aside(b));
    for (int i = 0; keep && i < b->call->op->nresults; i++) {
        FacTensor *t = fac_v_as_tensor(b->call->results[i]), *shaped;
        int ndim = fac_batch_ndim(b, self);
        for (int d = 0; d < ndim; d++) sizes[d + 1] = 1;
        FAC_RETURN_IF_ERROR(fac_op_reshape(t, fac_v_ints(sizes, ndim + 1), &shaped));
        fac_tensor_release(t);
        b->call->results[i].v.t = shaped;
    }
    return FAC_OK;
}

static int
first_tensor(const FacBatch *b)
{
    for (int i = 0; i < b->call->op->nparams; i++)
        if (b->call->args[i].tag == FAC_V_TENSOR || b->call->args[i].tag == FAC_V_TENSORS) return i;
    return -1;
}

/* How many dimensions those that are named count: of the first tensor, or the most in a list. */
static int
counted_dims(const FacBatch *b, int self)
{
    FacValue v = self < 0 ? FAC_VALUE_NONE : b->call->args[self];
    int most = 0;
    if (v.tag == FAC_V_TENSOR) return v.v.t->ndim;
    for (uint32_t k = 0; v.tag == FAC_V_TENSORS && k < v.len; k++)
        if (v.v.tensors[k] && v.v.tensors[k]->ndim > most) most = v.v.tensors[k]->ndim;
    return most;
}

/* cat leaves out empty vectors, whatever the shape of the others. */
static void
drop_empty(FacBatch *b, int i, int ndim)
{
    FacValue *v = &b->below.args[i];
    FacTensor **list = (FacTensor **)(uintptr_t)v->v.tensors;
    uint32_t kept = 0;
    for (uint32_t k = 0; k < v->len; k++) {
        const FacTensor *t = b->call->args[i].v.tensors[k];
        if (t && ndim > 1 && t->ndim == 1 && t->numel == 0)
            fac_tensor_release(list[k]);
        else
            list[kept++] = list[k];
    }
    v->len = kept;
}

/* 0-d tensors get the dimension that they are said to have. */
static FacStatus
give_scalars_dim(FacBatch *b)
{
    for (int i = 0; i < b->call->op->nparams; i++) {
        FacTensor *row, *value = fac_batch_value(b, i);
        if (!value || value->ndim != 1) continue;
        FAC_RETURN_IF_ERROR(fac_op_unsqueeze(value, 1, &row));
        fac_batch_set_take(b, i, row);
    }
    return FAC_OK;
}

/* `like`: the argument whose shape the result follows. */
static FacStatus
run_dims(FacBatch *b, int self, int like)
{
    const FacOp *op = b->call->op;
    bool sized = b->dims && b->sizes; /* select_backward and its kin: dims are those of the sizes */
    int ndim = sized ? (int)b->call->args[__builtin_ctzll(b->sizes)].len : counted_dims(b, self);
    if (self >= 0 && b->call->args[self].tag == FAC_V_TENSORS) drop_empty(b, self, ndim);
    if (!ndim && !sized) FAC_RETURN_IF_ERROR(fac_batch_try_element(b));
    for (int i = 0; i < op->nparams; i++) {
        if (b->sizes >> i & 1) FAC_RETURN_IF_ERROR(shift_sizes(b, i));
        if (!(b->dims >> i & 1)) continue;
        bool list = op->params[i].flags & FAC_P_LIST;
        if (b->call->args[i].tag == FAC_V_NONE && !list) return over_all(b, self, i);
        FAC_RETURN_IF_ERROR(shift_dims(b, i, ndim ? ndim : 1));
    }
    if (!b->dims || sized) return fac_batch_run(b);
    FAC_RETURN_IF_ERROR(give_scalars_dim(b));
    if (counted_dims(b, like) || op->flags & FAC_OP_LIST_RESULT) return fac_batch_run(b);
    FAC_RETURN_IF_ERROR(fac_batch_run_aside(b));
    for (int i = 0; i < op->nresults; i++) FAC_RETURN_IF_ERROR(drop_last(&b->call->results[i]));
    return FAC_OK;
}

FacStatus
fac_batch_dims(FacBatch *b)
{
    int self = first_tensor(b);
    FAC_RETURN_IF_ERROR(fac_batch_expand_all(b));
    return run_dims(b, self, self);
}

/* An empty list of dims names none. */
FacStatus
fac_batch_some(FacBatch *b)
{
    int i = fac_batch_param(b->call->op, "dim");
    FacValue dims = b->call->args[i];
    if (dims.tag == FAC_V_INTS && dims.len == 0) return fac_batch_run(b);
    return fac_batch_dims(b);
}

/* Copies: in channels_last the batch joins the samples. */
FacStatus
fac_batch_copy(FacBatch *b)
{
    FacValue format = b->call->args[fac_batch_param(b->call->op, "memory_format")];
    bool last = format.tag != FAC_V_NONE &&
                (format.v.i == FAC_CHANNELS_LAST || format.v.i == FAC_CHANNELS_LAST_3D);
    return last ? fac_batch_fold(b) : fac_batch_dims(b);
}

FacStatus
fac_batch_gather(FacBatch *b)
{
    FAC_RETURN_IF_ERROR(fac_batch_expand_all(b));
    return run_dims(b, 0, fac_batch_param(b->call->op, "index"));
}

FacStatus
fac_batch_along(FacBatch *b)
{
    const FacOp *op = b->call->op;
    int index = fac_batch_param(op, "index");
    for (int i = 0; i < op->nparams; i++)
        if ((i == index || op->params[i].type == FAC_TYPE_OPERAND) && fac_batch_has(b, i))
            return fac_batch_run_as(b, b->other);
    for (int i = 0; i < op->nparams; i++)
        if (i != index && op->params[i].type == FAC_TYPE_TENSOR)
            FAC_RETURN_IF_ERROR(fac_batch_expand(b, i));
    for (int i = 0; i < op->nparams; i++) {
        FacTensor *row, *value = fac_batch_value(b, i);
        if (!fac_batch_has(b, i) || value->ndim != 1) continue;
        FAC_RETURN_IF_ERROR(fac_op_unsqueeze(value, 1, &row));
        fac_batch_set_take(b, i, row);
    }
    int ndim = fac_batch_ndim(b, 0), dim = fac_batch_param(op, "dim");
    FAC_RETURN_IF_ERROR(shift_dims(b, dim, ndim ? ndim : 1));
    if (ndim) return fac_batch_run(b);
    FAC_RETURN_IF_ERROR(fac_batch_run_aside(b));
    return drop_last(&b->call->results[0]);
}

/* sum() by sum.dim: the same arguments where both rows have them, and dim 1 of all in a row. */
FacStatus
fac_batch_all(FacBatch *b)
{
    FacValue args[FAC_MAX_PARAMS], results[FAC_MAX_RESULTS];
    const FacOp *op = b->call->op;
    FacDim two[2] = {b->level->size, fac_batch_logical(b, 0)->numel}, one = 1;
    FacTensor *flat;
    FAC_RETURN_IF_ERROR(fac_op_reshape(fac_batch_value(b, 0), fac_v_ints(two, 2), &flat));
    for (int i = 0; i < b->other->nparams; i++) {
        const FacParam *param = &b->other->params[i];
        int same = fac_batch_param(op, param->name);
        args[i] = same < 0 ? param->fallback : b->call->args[same];
        if (!strcmp(param->name, "dim"))
            args[i] = param->flags & FAC_P_LIST ? fac_v_ints(&one, 1) : fac_v_int(1);
        args[i].flags = 0;
    }
    args[0] = fac_v_tensor(flat);
    FacStatus st = fac_call(b->other, b->other->nparams, args, results);
    fac_tensor_release(flat);
    FAC_RETURN_IF_ERROR(st);
    fac_batch_give_take(b, 0, fac_tensor_retain(results[0].v.t));
    fac_values_release(results, b->other->nresults);
    return FAC_OK;
}

/* --- views ------------------------------------------------------------------------------------ */

/* unsqueeze, stack: dims of the result. */
FacStatus
fac_batch_insert(FacBatch *b)
{
    FAC_RETURN_IF_ERROR(fac_batch_expand_all(b));
    int ndim = counted_dims(b, 0), dim = fac_batch_param(b->call->op, "dim");
    FAC_RETURN_IF_ERROR(shift_dims(b, dim, ndim + 1));
    return fac_batch_run(b);
}

FacStatus
fac_batch_permute(FacBatch *b)
{
    FacDim dims[FAC_MAX_NDIM + 1] = {0};
    FacValue v = b->call->args[1];
    int wrapped, ndim = fac_batch_ndim(b, 0);
    if ((int)v.len != ndim)
        return fac_error(FAC_RUNTIME_ERROR,
                         "number of dimensions in the tensor input does not match the length of "
                         "the desired ordering of dimensions i.e. input.dim() = %d is not equal to "
                         "len(dims) = %u",
                         ndim, v.len);
    for (int i = 0; i < ndim; i++) {
        FAC_RETURN_IF_ERROR(fac_wrap_dim(v.v.ints[i], ndim, &wrapped));
        dims[i + 1] = wrapped + 1;
    }
    FAC_RETURN_IF_ERROR(fac_batch_set_ints(b, 1, dims, ndim + 1));
    return fac_batch_run(b);
}

FacStatus
fac_batch_transpose(FacBatch *b)
{
    int ndim = fac_batch_ndim(b, 0);
    if (ndim > 2)
        return fac_error(FAC_RUNTIME_ERROR,
                         "t() expects a tensor with <= 2 dimensions, but self "
                         "is %dD",
                         ndim);
    int last = ndim == 2 ? 2 : 0;
    FacValue args[] = {b->below.args[0], fac_v_int(last ? 1 : 0), fac_v_int(last)};
    return fac_batch_run_row(b, FAC_OP_transpose, args);
}

FacStatus
fac_batch_reverse(FacBatch *b)
{
    FacDim dims[FAC_MAX_NDIM + 1] = {0};
    int ndim = fac_batch_ndim(b, 0);
    for (int i = 0; i < ndim; i++) dims[i + 1] = ndim - i;
    FacValue args[] = {b->below.args[0], fac_v_ints(dims, ndim + 1)};
    return fac_batch_run_row(b, FAC_OP_permute, args);
}

FacStatus
fac_batch_squeeze(FacBatch *b)
{
    const FacTensor *t = fac_batch_logical(b, 0);
    FacDim dims[FAC_MAX_NDIM];
    int n = 0;
    for (int i = 0; i < t->ndim; i++)
        if (t->sizes[i] == 1) dims[n++] = i + 1;
    FacValue args[] = {b->below.args[0], fac_v_ints(dims, n)};
    return fac_batch_run_row(b, FAC_OP_squeeze_dims, args);
}

FacStatus
fac_batch_widen(FacBatch *b)
{
    FAC_RETURN_IF_ERROR(pad_arg(b, 0, (int)b->call->args[1].len));
    FAC_RETURN_IF_ERROR(put_in_front(b, 1, false));
    return fac_batch_run(b);
}

/* How far the elements of the batch are apart if each has these sizes and strides. */
static FacStatus
find_extent(FacValue sizes, FacValue strides, int64_t *out)
{
    int64_t step;
    *out = 1;
    for (uint32_t i = 0; i < sizes.len; i++) {
        if (sizes.v.ints[i] <= 0) { /* none, or what the row refuses */
            *out = 0;
            return FAC_OK;
        }
        if (__builtin_mul_overflow(sizes.v.ints[i] - 1, strides.v.ints[i], &step) ||
            __builtin_add_overflow(*out, step, out))
            return fac_sizes_overflow((int)sizes.len, sizes.v.ints);
    }
    return FAC_OK;
}

/* as_strided: within the memory of each element; new_empty_strided: one after the other. */
FacStatus
fac_batch_strided(FacBatch *b)
{
    FacValue given = b->call->args[2];
    FacDim strides[FAC_MAX_NDIM + 1];
    bool view = b->call->op->flags & FAC_OP_VIEW;
    if (given.len > FAC_MAX_NDIM || given.len != b->call->args[1].len)
        return fac_error(FAC_RUNTIME_ERROR, "%u strides do not fit %u sizes", given.len,
                         b->call->args[1].len);
    if (view)
        strides[0] = fac_batch_value(b, 0)->strides[0];
    else
        FAC_RETURN_IF_ERROR(find_extent(b->call->args[1], given, &strides[0]));
    for (uint32_t i = 0; i < given.len; i++) strides[i + 1] = given.v.ints[i];
    FAC_RETURN_IF_ERROR(fac_batch_set_ints(b, 2, strides, (int)given.len + 1));
    FAC_RETURN_IF_ERROR(shift_sizes(b, 1));
    return fac_batch_run(b);
}

/* Basic indices take all of the batch first. */
FacStatus
fac_batch_spec(FacBatch *b)
{
    FacDim spec[FAC_INDEX_SPEC_MAX + FAC_INDEX_STRIDE] = {0, 1, b->level->size};
    int at = fac_batch_param(b->call->op, "spec"), src = fac_batch_param(b->call->op, "src");
    FacValue given = b->call->args[at];
    if (given.len > FAC_INDEX_SPEC_MAX)
        return fac_error(FAC_INDEX_ERROR, "there are more indices than a tensor has dimensions");
    if (given.len % FAC_INDEX_STRIDE)
        return fac_error(FAC_VALUE_ERROR, "the items of an index are triples, not %u numbers",
                         given.len);
    if (given.len) memcpy(spec + FAC_INDEX_STRIDE, given.v.ints, given.len * sizeof *spec);
    FAC_RETURN_IF_ERROR(fac_batch_expand(b, 0));
    if (src >= 0 && fac_batch_has(b, src)) { /* it broadcasts */
        int ndim = fac_batch_ndim(b, 0);
        for (uint32_t i = 0; i < given.len; i += FAC_INDEX_STRIDE)
            ndim += given.v.ints[i + 1] == 0 ? 1 : given.v.ints[i + 2] == FAC_INDEX_SELECT ? -1 : 0;
        FAC_RETURN_IF_ERROR(pad_arg(b, src, ndim));
    }
    for (int i = 0; i < b->call->op->nparams; i++)
        if (b->sizes >> i & 1) FAC_RETURN_IF_ERROR(shift_sizes(b, i));
    FAC_RETURN_IF_ERROR(fac_batch_set_ints(b, at, spec, (int)given.len + FAC_INDEX_STRIDE));
    return fac_batch_run(b);
}
