/* batch_product.c - rules of vmap for products, convolutions, and layers over windows and channels.
 *
 * matmul takes any number of dims in front, so that products of matrices and vectors become matmul.
 * A convolution and its two adjoints are linear in two tensors, with the third as result. If one of
 * the two is a batch, it joins a dim that this one shares with the result: samples, or channels
 * within each group. If both are, there are as many more groups.
 */
#include "layers/batch.h"

#include <string.h>

/* --- products --------------------------------------------------------------------------------- */

/* The product of arguments i and i + 1: matrices, batches of them, a matrix and a vector, or two
 * vectors; the batch of those that have one is in front. */
static FacStatus
multiply(const FacBatch *b, int i, FacTensor **out)
{
    FacTensor *x = NULL, *y = NULL, *product = NULL;
    bool dot = fac_batch_ndim(b, i) == 1, vector = fac_batch_ndim(b, i + 1) == 1;
    bool column = vector && fac_batch_has(b, i + 1);
    bool row = dot && fac_batch_has(b, i) && column;
    FacStatus st;
    if (!dot && fac_batch_ndim(b, i) < 2)
        return fac_batch_refuse(b, "multiplies matrices and vectors");
    if (row)
        FAC_TRY(fac_op_unsqueeze(fac_batch_value(b, i), 1, &x));
    else
        x = fac_tensor_retain(fac_batch_value(b, i));
    if (column)
        FAC_TRY(fac_op_unsqueeze(fac_batch_value(b, i + 1), -1, &y));
    else
        y = fac_tensor_retain(fac_batch_value(b, i + 1));
    FAC_TRY(fac_op_matmul(x, y, &product));
    if (column) {
        FacDim sizes[FAC_MAX_NDIM + 1];
        int n = product->ndim - 1 - row; /* the last one is 1, and that of a row before it */
        memcpy(sizes, product->sizes, (size_t)n * sizeof *sizes);
        FAC_TRY(fac_op_view(product, fac_v_ints(sizes, n), out));
    } else {
        *out = fac_tensor_retain(product);
    }
done:
    fac_tensor_release(x);
    fac_tensor_release(y);
    fac_tensor_release(product);
    return st;
}

/* What matmul takes and the row does not. */
static FacStatus
check_product(const FacBatch *b, int i)
{
    const FacTensor *x = fac_batch_logical(b, i), *y = fac_batch_logical(b, i + 1);
    FacText text = {.len = 0};
    const char *name = b->call->op->name;
    int most = strstr(name, "bmm") ? 3 : strstr(name, "mv") || strstr(name, "mm") ? 2 : 1;
    int other = strstr(name, "mv") ? 1 : most;
    bool fits = x->ndim == most && y->ndim == other &&
                x->sizes[most - 1] == y->sizes[other - (other > 1 ? 2 : 1)] &&
                (most < 3 || x->sizes[0] == y->sizes[0]) && x->dtype == y->dtype;
    if (fits) return FAC_OK;
    fac_text_dims(&text, x->ndim, x->sizes);
    fac_text_add(&text, " (%s) and ", fac_dtype_info[x->dtype].name);
    fac_text_dims(&text, y->ndim, y->sizes);
    return fac_error(FAC_RUNTIME_ERROR, "%s of tensors that do not fit: %s (%s)", name, text.at,
                     fac_dtype_info[y->dtype].name);
}

FacStatus
fac_batch_product(FacBatch *b)
{
    FacTensor *out;
    FAC_RETURN_IF_ERROR(check_product(b, 0));
    FAC_RETURN_IF_ERROR(multiply(b, 0, &out));
    fac_batch_give_take(b, 0, out);
    return FAC_OK;
}

/* beta * self + alpha * a @ b: (self, a, b, beta, alpha). */
FacStatus
fac_batch_add_product(FacBatch *b)
{
    FacTensor *product = NULL, *self = NULL, *scaled = NULL;
    FacValue beta = b->call->args[3], alpha = b->call->args[4];
    int ndim = fac_batch_ndim(b, 1) - (fac_batch_ndim(b, 2) == 1);
    FacStatus st;
    FAC_TRY(check_product(b, 1));
    if (fac_batch_has(b, 0))
        FAC_TRY(fac_batch_pad(fac_batch_value(b, 0), ndim, &self));
    else
        self = fac_tensor_retain(fac_batch_value(b, 0));
    if (fac_batch_has(b, 1) && fac_batch_has(b, 2) && fac_batch_value(b, 2)->ndim == 3) {
        FacValue args[] = {fac_v_tensor(self), b->below.args[1], b->below.args[2], beta, alpha};
        FAC_TRY(fac_batch_run_row(b, FAC_OP_baddbmm, args));
        goto done;
    }
    FAC_TRY(multiply(b, 1, &product));
    if (!fac_batch_has(b, 1) && !fac_batch_has(b, 2)) {
        FacTensor *one = product;
        FAC_TRY(fac_batch_repeat(b, one, &product));
        fac_tensor_release(one);
    }
    if (!fac_v_is_true(beta)) { /* then self does not count, not even NaN */
        FacValue args[] = {fac_v_tensor(product), alpha};
        FAC_TRY(fac_batch_run_row(b, FAC_OP_mul, args));
        goto done;
    }
    FAC_TRY(fac_op_mul(fac_v_tensor(self), beta, &scaled));
    FacValue args[] = {fac_v_tensor(scaled), fac_v_tensor(product), alpha};
    FAC_TRY(fac_batch_run_row(b, FAC_OP_add, args));
done:
    fac_tensor_release(product);
    fac_tensor_release(self);
    fac_tensor_release(scaled);
    return st;
}

/* --- an empty batch --------------------------------------------------------------------------- */

/* A dim that an empty batch joins would be empty itself. So a rule that joins dims runs with a batch
 * of one example, of zeros, and its results lose that example again. The zeros are sums over the
 * batch, and the results belong to the inputs for all who record. */
static FacStatus
run_empty(FacBatch *b, FacBatchRule rule)
{
    FacDim first = 0;
    for (int i = 0; i < b->call->op->nparams; i++) {
        FacTensor *value = fac_batch_value(b, i), *one;
        if (!value || !fac_batch_has(b, i)) continue;
        FAC_RETURN_IF_ERROR(fac_op_sum_dim_IntList(value, fac_v_ints(&first, 1), true,
                                                   (FacDType)value->dtype, &one));
        fac_batch_set_take(b, i, one);
    }
    b->level->size = 1;
    FacStatus st = rule(b);
    b->level->size = 0;
    for (int i = 0; st == FAC_OK && i < b->call->op->nresults; i++) {
        FacTensor *one = fac_v_as_tensor(b->call->results[i]), *none;
        if (!one) continue;
        st = fac_op_slice(one, 0, fac_v_int(0), fac_v_int(0), 1, &none);
        if (st != FAC_OK) break;
        fac_tensor_release(one);
        fac_batch_give_take(b, i, none);
    }
    return st;
}

/* --- convolutions ----------------------------------------------------------------------------- */

/* An argument with the batch in dim `at` as well: [B, ...] becomes [..., B * n, ...]. */
static FacStatus
join_arg(FacBatch *b, int i, int at)
{
    FacTensor *moved, *joined;
    FAC_RETURN_IF_ERROR(fac_batch_expand(b, i));
    FAC_RETURN_IF_ERROR(fac_batch_move(fac_batch_value(b, i), 0, 1, at, &moved));
    FacStatus st = fac_batch_join(moved, at, &joined);
    fac_tensor_release(moved);
    if (st == FAC_OK) fac_batch_set_take(b, i, joined);
    return st;
}

/* Result i, whose dim `at` holds the batch as well, with the batch in front. */
static FacStatus
part_result(FacBatch *b, int i, int at)
{
    FacTensor *t = fac_v_as_tensor(b->call->results[i]), *parts, *front;
    FAC_RETURN_IF_ERROR(fac_batch_part(t, at, b->level->size, &parts));
    FacStatus st = fac_batch_move(parts, at, 1, 0, &front);
    fac_tensor_release(parts);
    if (st != FAC_OK) return st;
    fac_tensor_release(t);
    fac_batch_give_take(b, i, front);
    return FAC_OK;
}

/* A size at args[i] grows by the batch in dim `at`. */
static FacStatus
grow_size(FacBatch *b, int i, int at)
{
    FacDim sizes[FAC_MAX_NDIM];
    FacValue given = b->call->args[i];
    if (given.len > FAC_MAX_NDIM || (int)given.len <= at)
        return fac_batch_refuse(b, "got a list of sizes that does not fit");
    memcpy(sizes, given.v.ints, given.len * sizeof *sizes);
    if (__builtin_mul_overflow(sizes[at], b->level->size, &sizes[at]))
        return fac_batch_refuse(b, "got a size that does not fit");
    return fac_batch_set_ints(b, i, sizes, (int)given.len);
}

static int64_t
groups_of(const FacBatch *b)
{
    return b->call->args[fac_batch_param(b->call->op, "groups")].v.i;
}

static void
grow_groups(FacBatch *b)
{
    int at = fac_batch_param(b->call->op, "groups");
    int64_t groups;
    if (__builtin_mul_overflow(groups_of(b), b->level->size, &groups)) groups = 0; /* refused */
    fac_batch_set(b, at, fac_v_int(groups));
}

/* As join_arg, with the batch inside of each of the groups that dim `at` consists of. */
static FacStatus
join_in_groups(FacBatch *b, int i, int at, int64_t groups)
{
    FacTensor *value = fac_batch_value(b, i), *parts = NULL, *moved = NULL, *joined = NULL, *all;
    FacStatus st;
    if (value->ndim <= at + 1 || groups < 1 || value->sizes[at + 1] % groups)
        return fac_batch_refuse(b, "got channels that do not divide into its groups");
    FAC_TRY(fac_batch_part(value, at + 1, groups, &parts));
    FAC_TRY(fac_batch_move(parts, 0, 1, at + 1, &moved)); /* ..., groups, batch, rest */
    FAC_TRY(fac_batch_join(moved, at, &joined));
    FAC_TRY(fac_batch_join(joined, at, &all));
    fac_batch_set_take(b, i, all);
done:
    fac_tensor_release(parts);
    fac_tensor_release(moved);
    fac_tensor_release(joined);
    return st;
}

/* As part_result, likewise. */
static FacStatus
part_in_groups(FacBatch *b, int at, int64_t groups)
{
    FacTensor *t = fac_v_as_tensor(b->call->results[0]), *apart = NULL, *parts = NULL,
              *moved = NULL;
    FacTensor *joined;
    FacStatus st;
    FAC_TRY(fac_batch_part(t, at, groups, &apart));
    FAC_TRY(fac_batch_part(apart, at + 1, b->level->size, &parts));
    FAC_TRY(fac_batch_move(parts, at + 1, 1, 0, &moved));
    FAC_TRY(fac_batch_join(moved, at + 1, &joined));
    fac_tensor_release(t);
    fac_batch_give_take(b, 0, joined);
done:
    fac_tensor_release(apart);
    fac_tensor_release(parts);
    fac_tensor_release(moved);
    return st;
}

/* [..., C, ...] plus a bias of [B, C]. */
static FacStatus
add_bias(FacBatch *b, FacTensor *bias)
{
    FacTensor *t = fac_v_as_tensor(b->call->results[0]), *wide, *sum;
    FacDim sizes[FAC_MAX_NDIM + 1] = {b->level->size, 1, bias->sizes[1]};
    for (int i = 3; i < t->ndim; i++) sizes[i] = 1;
    FAC_RETURN_IF_ERROR(fac_op_reshape(bias, fac_v_ints(sizes, t->ndim), &wide));
    FacStatus st = fac_op_add(fac_v_tensor(t), fac_v_tensor(wide), fac_v_int(1), &sum);
    fac_tensor_release(wide);
    if (st != FAC_OK) return st;
    fac_tensor_release(t);
    fac_batch_give_take(b, 0, sum);
    return FAC_OK;
}

/* (input, weight, bias, stride, padding, dilation, groups). */
FacStatus
fac_batch_conv(FacBatch *b)
{
    FacTensor *bias = NULL; /* added to the result */
    FacStatus st;
    bool weights = fac_batch_has(b, 1), alone = weights && !fac_batch_has(b, 0);
    if (FAC_UNLIKELY(!b->level->size)) return run_empty(b, fac_batch_conv);
    if (weights) FAC_TRY(fac_batch_expand(b, 2));
    if (fac_batch_has(b, 2)) {
        bias = fac_tensor_retain(fac_batch_value(b, 2));
        fac_batch_set(b, 2, FAC_VALUE_NONE);
    }
    if (alone) {
        FAC_TRY(join_in_groups(b, 1, 0, groups_of(b)));
    } else {
        if (weights) FAC_TRY(join_arg(b, 1, 0));
        if (weights) grow_groups(b);
        FAC_TRY(join_arg(b, 0, weights));
    }
    FAC_TRY(fac_batch_run_aside(b));
    if (alone)
        FAC_TRY(part_in_groups(b, 1, groups_of(b)));
    else
        FAC_TRY(part_result(b, 0, weights));
    if (bias) FAC_TRY(add_bias(b, bias));
done:
    fac_tensor_release(bias);
    return st;
}

/* (grad_output, weight, size, stride, padding, dilation, groups); size is that of the input. */
FacStatus
fac_batch_conv_input(FacBatch *b)
{
    bool weights = fac_batch_has(b, 1);
    if (FAC_UNLIKELY(!b->level->size)) return run_empty(b, fac_batch_conv_input);
    if (weights && !fac_batch_has(b, 0)) {
        FAC_RETURN_IF_ERROR(join_in_groups(b, 1, 1, 1));
        FAC_RETURN_IF_ERROR(grow_size(b, 2, 1));
        FAC_RETURN_IF_ERROR(fac_batch_run_aside(b));
        return part_in_groups(b, 1, groups_of(b));
    }
    if (weights) FAC_RETURN_IF_ERROR(join_arg(b, 1, 0));
    if (weights) grow_groups(b);
    FAC_RETURN_IF_ERROR(join_arg(b, 0, weights));
    FAC_RETURN_IF_ERROR(grow_size(b, 2, weights));
    FAC_RETURN_IF_ERROR(fac_batch_run_aside(b));
    return part_result(b, 0, weights);
}

/* (input, grad_output, size, stride, padding, dilation, groups); size is that of the weight. */
FacStatus
fac_batch_conv_weight(FacBatch *b)
{
    bool input = fac_batch_has(b, 0);
    if (FAC_UNLIKELY(!b->level->size)) return run_empty(b, fac_batch_conv_weight);
    if (!input || !fac_batch_has(b, 1)) { /* the channels of the one that is a batch */
        FAC_RETURN_IF_ERROR(join_in_groups(b, !input, 1, groups_of(b)));
        FAC_RETURN_IF_ERROR(grow_size(b, 2, input));
        FAC_RETURN_IF_ERROR(fac_batch_run_aside(b));
        return part_in_groups(b, input, input ? 1 : groups_of(b));
    }
    FAC_RETURN_IF_ERROR(join_arg(b, 0, 1));
    FAC_RETURN_IF_ERROR(join_arg(b, 1, 1));
    FAC_RETURN_IF_ERROR(grow_size(b, 2, 0));
    grow_groups(b);
    FAC_RETURN_IF_ERROR(fac_batch_run_aside(b));
    return part_result(b, 0, 0);
}

/* Queries, keys and values may have any dims in front; a mask broadcasts. */
FacStatus
fac_batch_attention(FacBatch *b)
{
    const FacOp *op = b->call->op;
    int mask = fac_batch_param(op, "mask"), query = fac_batch_param(op, "query");
    for (int i = 0; i < op->nparams; i++)
        if (i != mask) FAC_RETURN_IF_ERROR(fac_batch_expand(b, i));
    if (fac_batch_has(b, mask)) {
        FacTensor *padded;
        FAC_RETURN_IF_ERROR(
            fac_batch_pad(fac_batch_value(b, mask), fac_batch_ndim(b, query), &padded));
        fac_batch_set_take(b, mask, padded);
    }
    return fac_batch_run(b);
}

/* --- windows and channels --------------------------------------------------------------------- */

/* Pools: the batch joins the first dim, whatever that is. */
FacStatus
fac_batch_fold(FacBatch *b)
{
    const FacOp *op = b->call->op;
    if (FAC_UNLIKELY(!b->level->size)) return run_empty(b, fac_batch_fold);
    for (int i = 0; i < op->nparams; i++) {
        if (b->call->args[i].tag == FAC_V_TENSOR) FAC_RETURN_IF_ERROR(join_arg(b, i, 0));
        if (b->sizes >> i & 1) FAC_RETURN_IF_ERROR(grow_size(b, i, 0));
    }
    FAC_RETURN_IF_ERROR(fac_batch_run_aside(b));
    for (int i = 0; i < op->nresults; i++) FAC_RETURN_IF_ERROR(part_result(b, i, 0));
    return FAC_OK;
}

/* Statistics that the row updates in place: what was written aside goes back. */
static FacStatus
write_back(const FacBatch *b, int i, FacTensor *given)
{
    FacTensor *written = fac_batch_value(b, i), *shaped;
    if (!written || written->storage == given->storage) return FAC_OK;
    FacDim sizes[2] = {b->level->size, fac_batch_logical(b, i)->numel};
    FAC_RETURN_IF_ERROR(fac_op_view(written, fac_v_ints(sizes, 2), &shaped));
    FacStatus st = fac_op_copy_(given, shaped, false);
    fac_tensor_release(shaped);
    return st;
}

/* batch_norm and its gradients: the batch joins the channels, which vectors have alone. */
FacStatus
fac_batch_channels(FacBatch *b)
{
    const FacOp *op = b->call->op;
    int training = fac_batch_param(op, "training"), mean = fac_batch_param(op, "running_mean");
    bool tracks = training >= 0 && fac_v_is_true(b->call->args[training]);
    FacTensor *stats[2] = {NULL, NULL};
    FacStatus st = FAC_OK;
    if (FAC_UNLIKELY(!b->level->size)) return run_empty(b, fac_batch_channels);
    for (int k = 0; tracks && k < 2; k++) {
        FacTensor *t = fac_batch_value(b, mean + k);
        if (t && !fac_batch_has(b, mean + k))
            FAC_FAIL(FAC_RUNTIME_ERROR,
                     "vmap: batch_norm updates its running statistics in place, and they are not "
                     "in the batch; give each element its own, or none");
        stats[k] = t ? fac_tensor_retain(t) : NULL;
    }
    for (int i = 0; i < op->nparams; i++)
        if (b->call->args[i].tag == FAC_V_TENSOR) FAC_TRY(join_arg(b, i, fac_batch_ndim(b, i) > 1));
    FAC_TRY(fac_batch_run_aside(b));
    for (int i = 0; i < op->nresults; i++)
        FAC_TRY(part_result(b, i, fac_v_as_tensor(b->call->results[i])->ndim > 1));
    for (int k = 0; k < 2; k++)
        if (stats[k]) FAC_TRY(write_back(b, mean + k, stats[k]));
done:
    fac_tensor_release(stats[0]);
    fac_tensor_release(stats[1]);
    return st;
}
