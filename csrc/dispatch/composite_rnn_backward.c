/* composite_rnn_backward.c - the gradients of recurrent layers step by step, for gradients of higher
 * order: the steps once more, then back through them, all by rows that have gradients.
 */
#include "dispatch/rules.h"
#include "generated/ops.h"

typedef enum CellKind { LSTM, GRU, RNN_TANH, RNN_RELU } CellKind;

enum { GX, G_OUT, G_CELLS, GATES, STATES, CELLS, DGX, LISTS };

/* A layer unrolled. What the steps have: the gates before their functions (of a GRU their recurrent
 * part), and the states h and c, one more, the first one in front. */
typedef struct Unrolled {
    CellKind kind;
    bool reverse;
    FacTensor *w, *bias;   /* borrowed */
    FacTensor *turned;     /* w transposed */
    FacValue lists[LISTS]; /* of tensors, a step each; the last four are filled here: */
    FacTensor **gates, **h, **c, **dgx;
    FacTensor *dh, *dc, *dw,
        *dbias; /* those of the states go back from step to step, the others grow */
} Unrolled;

static void
replace(FacTensor **t, FacTensor *by)
{
    fac_tensor_release(*t);
    *t = by;
}

static FacStatus
add_to(FacTensor **t, FacTensor *by)
{
    FacTensor *sum;
    FAC_RETURN_IF_ERROR(fac_op_add(fac_v_tensor(*t), fac_v_tensor(by), fac_v_int(1), &sum));
    replace(t, sum);
    return FAC_OK;
}

/* The place in time of step i. */
static uint32_t
place(const Unrolled *u, uint32_t i)
{
    return u->reverse ? u->lists[GX].len - 1 - i : i;
}

static FacStatus
step_forward(Unrolled *u, uint32_t i)
{
    FacTensor *gx = u->lists[GX].v.tensors[place(u, i)], **gates = &u->gates[i];
    FacTensor **h = u->h, **c = u->c;
    if (u->kind == GRU) {
        FAC_RETURN_IF_ERROR(fac_op_linear(h[i], u->w, u->bias, gates));
        return fac_op__gru_step(gx, *gates, h[i], &h[i + 1]);
    }
    FAC_RETURN_IF_ERROR(fac_op_addmm(gx, h[i], u->turned, fac_v_int(1), fac_v_int(1), gates));
    if (u->kind == LSTM) return fac_op__lstm_cell(*gates, c[i], &h[i + 1], &c[i + 1]);
    return u->kind == RNN_TANH ? fac_op_tanh(*gates, &h[i + 1]) : fac_op_relu(*gates, &h[i + 1]);
}

/* The gradients of the gates of step i: *dgx, and *dgh of their recurrent part, from that of the hidden
 * state; *carry is what the state before gets besides. New references, or NULL. */
static FacStatus
cell_backward(Unrolled *u, uint32_t i, FacTensor *grad, FacTensor **dgx, FacTensor **dgh,
              FacTensor **carry)
{
    FacTensor *gates = u->gates[i], **h = u->h, **c = u->c, *dc;
    switch (u->kind) {
    case LSTM:
        FAC_RETURN_IF_ERROR(
            fac_op__lstm_cell_backward(grad, u->dc, gates, c[i], c[i + 1], dgx, &dc));
        replace(&u->dc, dc);
        break;
    case GRU:
        return fac_op__gru_step_backward(grad, u->lists[GX].v.tensors[place(u, i)], gates, h[i],
                                         dgx, dgh, carry);
    case RNN_TANH: FAC_RETURN_IF_ERROR(fac_op_tanh_backward(grad, h[i + 1], dgx)); break;
    default:
        FAC_RETURN_IF_ERROR(fac_op_threshold_backward(grad, h[i + 1], fac_v_int(0), dgx));
        break;
    }
    *dgh = fac_tensor_retain(*dgx);
    return FAC_OK;
}

static FacStatus
step_back(Unrolled *u, uint32_t i)
{
    static const int64_t rows[] = {0};
    const uint32_t at = place(u, i);
    FacTensor *dgh = NULL, *carry = NULL, *turned = NULL, *more = NULL, *next;
    FacStatus st = FAC_OK;
    if (u->lists[G_OUT].len) FAC_TRY(add_to(&u->dh, u->lists[G_OUT].v.tensors[at]));
    if (u->lists[G_CELLS].len) FAC_TRY(add_to(&u->dc, u->lists[G_CELLS].v.tensors[at]));
    FAC_TRY(cell_backward(u, i, u->dh, &u->dgx[at], &dgh, &carry));
    FAC_TRY(fac_op_mm(dgh, u->w, &next));
    replace(&u->dh, next);
    if (carry) FAC_TRY(add_to(&u->dh, carry));
    FAC_TRY(fac_op_t(dgh, &turned));
    FAC_TRY(fac_op_mm(turned, u->h[i], &more));
    FAC_TRY(add_to(&u->dw, more));
    if (!u->bias) goto done;
    FAC_TRY(fac_op_sum_dim_IntList(dgh, fac_v_ints(rows, 1), false, FAC_DT_NONE, &next));
    st = add_to(&u->dbias, next);
    fac_tensor_release(next);
done:
    fac_tensor_release(dgh);
    fac_tensor_release(carry);
    fac_tensor_release(turned);
    fac_tensor_release(more);
    return st;
}

static FacStatus
zeros_like(FacTensor *t, FacTensor **out)
{
    return t ? fac_op_zeros_like(t, FAC_DT_NONE, FAC_VALUE_NONE, FAC_VALUE_NONE, FAC_VALUE_NONE,
                                 out)
             : FAC_OK;
}

/* The steps of t in its dtype; none if there is no t. */
static FacStatus
split(FacTensor *t, FacDType dt, FacValue *out)
{
    FacTensor *cast = NULL;
    FacStatus st = FAC_OK;
    if (!t) return FAC_OK;
    if (t->dtype == dt)
        cast = fac_tensor_retain(t);
    else
        FAC_TRY(
            fac_op__to_copy(t, dt, FAC_VALUE_NONE, FAC_VALUE_NONE, false, FAC_VALUE_NONE, &cast));
    FAC_TRY(fac_op_unbind(cast, 0, out));
done:
    fac_tensor_release(cast);
    return st;
}

/* There and back again. The tensors are arguments of the call; results are the gradients of gx, w, h0
 * and of c0 or the bias. */
static FacStatus
unroll(FacCall *call, Unrolled *u, FacTensor *gx, FacTensor *h0, FacTensor *c0, FacTensor *g_out,
       FacTensor *g_cells)
{
    FacTensor *all = NULL;
    FacStatus st = FAC_OK;
    FAC_TRY(split(gx, (FacDType)gx->dtype, &u->lists[GX]));
    FAC_TRY(split(g_out, (FacDType)gx->dtype, &u->lists[G_OUT]));
    FAC_TRY(split(g_cells, (FacDType)gx->dtype, &u->lists[G_CELLS]));
    const int steps = (int)u->lists[GX].len;
    if ((g_out && (int)u->lists[G_OUT].len != steps) ||
        (g_cells && (int)u->lists[G_CELLS].len != steps))
        FAC_FAIL(FAC_RUNTIME_ERROR, "the gradient must have %d steps, as gx has", steps);
    FAC_TRY(fac_op_t(u->w, &u->turned));
    FAC_TRY(fac_value_new_tensors(steps, &u->lists[GATES], &u->gates));
    FAC_TRY(fac_value_new_tensors(steps, &u->lists[DGX], &u->dgx));
    FAC_TRY(fac_value_new_tensors(steps + 1, &u->lists[STATES], &u->h));
    FAC_TRY(fac_value_new_tensors(steps + 1, &u->lists[CELLS], &u->c));
    u->h[0] = fac_tensor_retain(h0);
    if (c0) u->c[0] = fac_tensor_retain(c0);
    for (int i = 0; i < steps; i++) FAC_TRY(step_forward(u, (uint32_t)i));
    FAC_TRY(zeros_like(h0, &u->dh));
    FAC_TRY(zeros_like(c0, &u->dc));
    FAC_TRY(zeros_like(u->w, &u->dw));
    FAC_TRY(zeros_like(u->bias, &u->dbias));
    for (int i = steps - 1; i >= 0; i--) FAC_TRY(step_back(u, (uint32_t)i));
    FAC_TRY(fac_op_stack(u->lists[DGX], 0, &all));
    call->results[0] = fac_v_tensor(all);
    call->results[1] = fac_v_tensor(u->dw);
    call->results[2] = fac_v_tensor(u->dh);
    if (u->kind == LSTM) call->results[3] = fac_v_tensor(u->dc);
    if (u->kind == GRU) call->results[3] = fac_v_tensor(u->dbias);
    u->dw = u->dh = u->dc = u->dbias = NULL;
done:
    fac_values_release(u->lists, LISTS);
    fac_tensor_release(u->turned);
    fac_tensor_release(u->dh);
    fac_tensor_release(u->dc);
    fac_tensor_release(u->dw);
    fac_tensor_release(u->dbias);
    return st;
}

/* (grad_output, grad_cells, gx, w_hh, h0, c0, output, gates, cells, reverse). */
FacStatus
fac_composite_lstm_layer_backward(FacCall *call)
{
    Unrolled u = {.kind = LSTM, .reverse = FAC_ARG(call, 9).v.i, .w = fac_arg_tensor(call, 3)};
    return unroll(call, &u, fac_arg_tensor(call, 2), fac_arg_tensor(call, 4),
                  fac_arg_tensor(call, 5), fac_arg_tensor(call, 0), fac_arg_tensor(call, 1));
}

/* (grad_output, gx, w_hh, h0, b_hh, output, gates, reverse). */
FacStatus
fac_composite_gru_layer_backward(FacCall *call)
{
    Unrolled u = {.kind = GRU,
                  .reverse = FAC_ARG(call, 7).v.i,
                  .w = fac_arg_tensor(call, 2),
                  .bias = fac_arg_tensor(call, 4)};
    return unroll(call, &u, fac_arg_tensor(call, 1), fac_arg_tensor(call, 3), NULL,
                  fac_arg_tensor(call, 0), NULL);
}

/* (grad_output, gx, w_hh, h0, output, relu, reverse). */
FacStatus
fac_composite_rnn_layer_backward(FacCall *call)
{
    Unrolled u = {.kind = FAC_ARG(call, 5).v.i ? RNN_RELU : RNN_TANH,
                  .reverse = FAC_ARG(call, 6).v.i,
                  .w = fac_arg_tensor(call, 2)};
    return unroll(call, &u, fac_arg_tensor(call, 1), fac_arg_tensor(call, 3), NULL,
                  fac_arg_tensor(call, 0), NULL);
}
