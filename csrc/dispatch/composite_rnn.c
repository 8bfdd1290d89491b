/* composite_rnn.c - recurrent layers.
 *
 * The products with the input are one linear for the whole sequence, and the steps of a layer are one
 * row, whose gradient is another (composite_rnn_backward.c). Under transforms, which have rules for the
 * steps, and where an LSTM projects its hidden state, a layer goes step by step: the product with the
 * hidden state and a few pointwise rows.
 * Parameters come as the peer has them: for each layer and direction w_ih, w_hh, then b_ih, b_hh if
 * there are biases, then w_hr if an LSTM projects its hidden state.
 */
#include "dispatch/rules.h"
#include "generated/ops.h"

#include <string.h>

typedef enum CellKind { LSTM, GRU, RNN_TANH, RNN_RELU } CellKind;

/* Weights of one layer in one direction, borrowed; `turned` is w_hh transposed. */
typedef struct Weights {
    FacTensor *w_ih, *w_hh, *b_ih, *b_hh, *w_hr, *turned;
} Weights;

static void
replace(FacTensor **t, FacTensor *by)
{
    fac_tensor_release(*t);
    *t = by;
}

static FacStatus
sum(FacTensor *a, FacTensor *b, FacTensor **out)
{
    return fac_op_add(fac_v_tensor(a), fac_v_tensor(b), fac_v_int(1), out);
}

/* --- steps: *h (and *c) become those of the next step ------------------------------------------------------ */

static FacStatus
lstm_step(const Weights *w, FacTensor *gx, FacTensor **h, FacTensor **c)
{
    FacTensor *gates = NULL, *hy = NULL, *cy = NULL, *projected;
    FacStatus st = FAC_OK;
    FAC_TRY(fac_op_addmm(gx, *h, w->turned, fac_v_int(1), fac_v_int(1), &gates));
    FAC_TRY(fac_op__lstm_cell(gates, *c, &hy, &cy));
    if (w->w_hr) {
        FAC_TRY(fac_op_linear(hy, w->w_hr, NULL, &projected));
        replace(&hy, projected);
    }
    replace(h, hy);
    replace(c, cy);
    hy = cy = NULL;
done:
    fac_tensor_release(gates);
    fac_tensor_release(hy);
    fac_tensor_release(cy);
    return st;
}

static FacStatus
gru_step(const Weights *w, FacTensor *gx, FacTensor **h)
{
    FacTensor *gh = NULL, *next;
    FacStatus st = FAC_OK;
    FAC_TRY(fac_op_linear(*h, w->w_hh, w->b_hh, &gh));
    FAC_TRY(fac_op__gru_step(gx, gh, *h, &next));
    replace(h, next);
done:
    fac_tensor_release(gh);
    return st;
}

static FacStatus
rnn_step(const Weights *w, FacTensor *gx, FacTensor **h, CellKind kind)
{
    FacTensor *gates = NULL, *next;
    FacStatus st = FAC_OK;
    FAC_TRY(fac_op_addmm(gx, *h, w->turned, fac_v_int(1), fac_v_int(1), &gates));
    FAC_TRY(kind == RNN_TANH ? fac_op_tanh(gates, &next) : fac_op_relu(gates, &next));
    replace(h, next);
done:
    fac_tensor_release(gates);
    return st;
}

/* --- layers ------------------------------------------------------------------------------------------------ */

/* The products of the whole sequence with w_ih, biases included, but for the recurrent one of a GRU,
 * which is inside a product of its own. */
static FacStatus
multiply_input(CellKind kind, const Weights *w, FacTensor *x, FacTensor **gx)
{
    FacTensor *bias = NULL;
    FacStatus st = FAC_OK;
    if (w->b_ih && kind != GRU)
        FAC_TRY(sum(w->b_ih, w->b_hh, &bias));
    else if (w->b_ih)
        bias = fac_tensor_retain(w->b_ih);
    FAC_TRY(fac_op_linear(x, w->w_ih, bias, gx));
done:
    fac_tensor_release(bias);
    return st;
}

static bool
wants_gradient(const FacTensor *t)
{
    return t && fac_is_differentiated(t);
}

/* Can the layer run as one row? Shapes and dtypes that do not fit are left to the steps, which say so. */
static bool
is_one_row(const Weights *w, const FacTensor *gx, const FacTensor *h, const FacTensor *c)
{
    const uint32_t keys = fac_tensor_keys(gx) | fac_tensor_keys(w->w_hh) | fac_tensor_keys(h) |
                          (c ? fac_tensor_keys(c) : 0) | (w->b_hh ? fac_tensor_keys(w->b_hh) : 0);
    if (keys & FAC_KEY(TRANSFORM) || w->w_hr) return false;
    return gx->sizes[0] > 0 && h->ndim == 2 && h->sizes[0] == gx->sizes[1] &&
           w->w_hh->dtype == gx->dtype && h->dtype == gx->dtype;
}

/* The layer as one row; *h and *c become the last state. */
static FacStatus
run_row(CellKind kind, const Weights *w, FacTensor *gx, bool reverse, FacTensor **h, FacTensor **c,
        FacTensor **out)
{
    const bool keep = wants_gradient(gx) || wants_gradient(w->w_hh) || wants_gradient(*h) ||
                      wants_gradient(w->b_hh) || (c && wants_gradient(*c));
    const int64_t last = reverse ? 0 : gx->sizes[0] - 1;
    FacTensor *gates = NULL, *cells = NULL, *end;
    FacStatus st = FAC_OK;
    switch (kind) {
    case LSTM:
        FAC_TRY(fac_op__lstm_layer(gx, w->w_hh, *h, *c, reverse, keep, out, &gates, &cells));
        FAC_TRY(fac_op_select(cells, 0, last, &end));
        replace(c, end);
        if (cells->dtype == gx->dtype) break;
        FAC_TRY(fac_op__to_copy(*c, (FacDType)gx->dtype, FAC_VALUE_NONE, FAC_VALUE_NONE, false,
                                FAC_VALUE_NONE, &end));
        replace(c, end);
        break;
    case GRU:
        FAC_TRY(fac_op__gru_layer(gx, w->w_hh, *h, w->b_hh, reverse, keep, out, &gates));
        break;
    default: FAC_TRY(fac_op__rnn_layer(gx, w->w_hh, *h, kind == RNN_RELU, reverse, out)); break;
    }
    FAC_TRY(fac_op_select(*out, 0, last, &end));
    replace(h, end);
done:
    fac_tensor_release(gates);
    fac_tensor_release(cells);
    return st;
}

/* One layer in one direction over x [time, batch, features]; *h and *c are the state, in and out. */
static FacStatus
run_direction(CellKind kind, Weights *w, FacTensor *x, bool reverse, FacTensor **h, FacTensor **c,
              FacTensor **out)
{
    const int64_t steps = x->sizes[0];
    FacTensor *gx = NULL;
    FacValue inputs = FAC_VALUE_NONE, outputs = FAC_VALUE_NONE;
    FacTensor **slots;
    FacStatus st = FAC_OK;
    FAC_TRY(multiply_input(kind, w, x, &gx));
    if (is_one_row(w, gx, *h, c ? *c : NULL)) {
        FAC_TRY(run_row(kind, w, gx, reverse, h, c, out));
        goto done;
    }
    FAC_TRY(fac_op_t(w->w_hh, &w->turned));
    FAC_TRY(fac_op_unbind(gx, 0, &inputs));
    FAC_TRY(fac_value_new_tensors((int)steps, &outputs, &slots));
    for (int64_t i = 0; i < steps; i++) {
        const int64_t at = reverse ? steps - 1 - i : i;
        FacTensor *step = inputs.v.tensors[at];
        switch (kind) {
        case LSTM: FAC_TRY(lstm_step(w, step, h, c)); break;
        case GRU: FAC_TRY(gru_step(w, step, h)); break;
        default: FAC_TRY(rnn_step(w, step, h, kind)); break;
        }
        slots[at] = fac_tensor_retain(*h);
    }
    FAC_TRY(fac_op_stack(outputs, 0, out));
done:
    fac_tensor_release(gx);
    fac_tensor_release(w->turned);
    w->turned = NULL;
    fac_value_release(&inputs);
    fac_value_release(&outputs);
    return st;
}

typedef struct Stack {
    CellKind kind;
    FacValue params;
    bool biases, bidirectional, projects;
    int64_t layers;
    double dropout;
    bool train;
} Stack;

static Weights
weights_of(const Stack *s, int64_t index)
{
    const int each = 2 + 2 * s->biases + s->projects;
    FacTensor *const *p = s->params.v.tensors + index * each;
    Weights w = {.w_ih = p[0], .w_hh = p[1]};
    if (s->biases) {
        w.b_ih = p[2];
        w.b_hh = p[3];
    }
    if (s->projects) w.w_hr = p[each - 1];
    return w;
}

/* One layer: *x becomes its output, the final states go to slot `layer * directions` and on. */
static FacStatus
run_layer(const Stack *s, int64_t layer, FacTensor *h0, FacTensor *c0, FacTensor **x,
          FacTensor **h_slots, FacTensor **c_slots)
{
    const int directions = 1 + s->bidirectional;
    FacTensor *outs[2] = {NULL, NULL}, *h = NULL, *c = NULL, *joined;
    FacStatus st = FAC_OK;
    for (int d = 0; d < directions; d++) {
        const int64_t index = layer * directions + d;
        Weights w = weights_of(s, index);
        FAC_TRY(fac_op_select(h0, 0, index, &h));
        if (c0) FAC_TRY(fac_op_select(c0, 0, index, &c));
        FAC_TRY(run_direction(s->kind, &w, *x, d == 1, &h, c0 ? &c : NULL, &outs[d]));
        h_slots[index] = h;
        if (c0) c_slots[index] = c;
        h = c = NULL;
    }
    if (s->bidirectional) {
        FAC_TRY(fac_op_cat(fac_v_tensors(outs, 2), -1, &joined));
        replace(&outs[0], joined);
    }
    if (s->dropout > 0 && s->train && layer + 1 < s->layers) {
        FAC_TRY(fac_op_dropout(outs[0], s->dropout, true, &joined));
        replace(&outs[0], joined);
    }
    replace(x, outs[0]);
    outs[0] = NULL;
done:
    fac_tensor_release(outs[0]);
    fac_tensor_release(outs[1]);
    fac_tensor_release(h);
    fac_tensor_release(c);
    return st;
}

static FacStatus
check(const Stack *s, const FacTensor *input, const FacTensor *h0, const FacTensor *c0)
{
    const int64_t directions = 1 + s->bidirectional;
    const int64_t each = 2 + 2 * s->biases + s->projects;
    if (input->ndim != 3)
        return fac_error(FAC_RUNTIME_ERROR, "input must have 3 dimensions, got %d", input->ndim);
    if (s->layers < 1 || s->layers > s->params.len)
        return fac_error(FAC_RUNTIME_ERROR, "%lld layers do not fit %u parameters",
                         (long long)s->layers, s->params.len);
    if (s->params.len != each * s->layers * directions)
        return fac_error(FAC_RUNTIME_ERROR, "expected %lld parameters, got %u",
                         (long long)(each * s->layers * directions), s->params.len);
    for (int i = 0; i < 2; i++) {
        const FacTensor *t = i ? c0 : h0;
        if (t && (t->ndim != 3 || t->sizes[0] != s->layers * directions))
            return fac_error(FAC_RUNTIME_ERROR,
                             "the initial state must have the shape [%lld, batch, "
                             "hidden]",
                             (long long)(s->layers * directions));
    }
    return FAC_OK;
}

/* (input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first). */
static FacStatus
run(FacCall *call, CellKind kind, FacTensor *h0, FacTensor *c0)
{
    FacTensor *input = fac_arg_tensor(call, 0), *x = NULL, *turned, *finals[2] = {NULL, NULL};
    FacValue h = FAC_VALUE_NONE, c = FAC_VALUE_NONE;
    FacTensor **h_slots, **c_slots = NULL;
    const bool batch_first = FAC_ARG(call, 8).v.i;
    Stack s = {.kind = kind,
               .params = FAC_ARG(call, 2),
               .biases = FAC_ARG(call, 3).v.i,
               .layers = FAC_ARG(call, 4).v.i,
               .dropout = fac_v_as_float(FAC_ARG(call, 5)),
               .train = FAC_ARG(call, 6).v.i,
               .bidirectional = FAC_ARG(call, 7).v.i};
    s.projects = c0 && h0->ndim == 3 && c0->ndim == 3 && h0->sizes[2] != c0->sizes[2];
    FacStatus st = FAC_OK;
    FAC_TRY(check(&s, input, h0, c0));
    const int states = (int)(s.layers * (1 + s.bidirectional));
    FAC_TRY(batch_first ? fac_op_transpose(input, 0, 1, &x)
                        : (x = fac_tensor_retain(input), FAC_OK));
    FAC_TRY(fac_value_new_tensors(states, &h, &h_slots));
    if (c0) FAC_TRY(fac_value_new_tensors(states, &c, &c_slots));
    for (int64_t i = 0; i < s.layers; i++) FAC_TRY(run_layer(&s, i, h0, c0, &x, h_slots, c_slots));
    if (batch_first) {
        FAC_TRY(fac_op_transpose(x, 0, 1, &turned));
        replace(&x, turned);
    }
    FAC_TRY(fac_op_stack(h, 0, &finals[0]));
    if (c0) FAC_TRY(fac_op_stack(c, 0, &finals[1]));
    call->results[0] = fac_v_tensor(x);
    call->results[1] = fac_v_tensor(finals[0]);
    if (c0) call->results[2] = fac_v_tensor(finals[1]);
    x = finals[0] = finals[1] = NULL;
done:
    fac_value_release(&h);
    fac_value_release(&c);
    fac_tensor_release(x);
    fac_tensor_release(finals[0]);
    fac_tensor_release(finals[1]);
    return st;
}

FacStatus
fac_composite_lstm(FacCall *call)
{
    const FacValue hx = FAC_ARG(call, 1);
    if (hx.len != 2) return fac_error(FAC_RUNTIME_ERROR, "lstm expects two hidden states");
    return run(call, LSTM, hx.v.tensors[0], hx.v.tensors[1]);
}

FacStatus
fac_composite_gru(FacCall *call)
{
    return run(call, GRU, fac_arg_tensor(call, 1), NULL);
}

FacStatus
fac_composite_rnn_tanh(FacCall *call)
{
    return run(call, RNN_TANH, fac_arg_tensor(call, 1), NULL);
}

FacStatus
fac_composite_rnn_relu(FacCall *call)
{
    return run(call, RNN_RELU, fac_arg_tensor(call, 1), NULL);
}
