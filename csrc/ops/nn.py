# Embeddings, pooling, dropout, recurrent layers, and the steps of optimizers.

# --- embedding

op("embedding(Tensor weight, Tensor indices, int padding_idx=-1, bool scale_grad_by_freq=False, "
   "bool sparse=False) -> Tensor",
   variants="function", flags="tame", rule="embedding", kernel="embedding", batch="lead _embedding_each",
   grad={"weight": "embedding_dense_backward(grad, indices, weight.shape[0], padding_idx, "
                   "scale_grad_by_freq)"},
   linear="weight", doc="Rows of a table by index.")
op("embedding_dense_backward(Tensor grad_output, Tensor indices, int num_weights, int padding_idx, "
   "bool scale_grad_by_freq) -> Tensor",
   variants="function", module="_C", rule="embedding_dense_backward",
   kernel="embedding_dense_backward", batch="as _embedding_backward_each", dtypes="float",
   grad={"grad_output": "masked_fill(embedding(grad, indices), "
                        "unsqueeze(indices == padding_idx, -1), 0)"},
   linear="grad_output", doc="The gradient of embedding.")
op("_embedding_bag(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq, int mode, "
   "Tensor? per_sample_weights, bool include_last_offset, int padding_idx)"
   " -> (Tensor output, Tensor offset2bag, Tensor bag_size, Tensor max_indices)",
   variants="function", module="_C", rule="embedding_bag", kernel="embedding_bag",
   batch="as _embedding_bag_each", dtypes="float",
   nondiff="offset2bag bag_size max_indices",
   grad={"weight": "_embedding_bag_backward(grad, indices, offsets, offset2bag, bag_size, max_indices, "
                   "per_sample_weights, weight.shape[0], scale_grad_by_freq, mode, include_last_offset, "
                   "padding_idx)",
         "per_sample_weights": "_bag_products(grad, weight, indices, offset2bag, padding_idx)"},
   doc="Sums (mode 0), means (1) or maxima (2) of the rows of a table in each bag of indices; bags begin "
       "at the offsets.")
op("_embedding_bag_backward(Tensor grad_output, Tensor indices, Tensor offsets, Tensor offset2bag, "
   "Tensor bag_size, Tensor max_indices, Tensor? per_sample_weights, int num_weights, "
   "bool scale_grad_by_freq, int mode, bool include_last_offset, int padding_idx) -> Tensor",
   variants="function", module="_C", rule="embedding_bag_backward", kernel="embedding_bag_backward",
   batch="as _embedding_bag_backward_each", dtypes="float",
   grad={"grad_output": "masked_fill(gather(grad, 0, clamp(max_indices, 0)), max_indices < 0, 0) if mode == 2 "
                        "else _embedding_bag(_by_frequency(grad, indices, scale_grad_by_freq), indices, "
                        "offsets, False, mode, per_sample_weights, include_last_offset, padding_idx)[0]",
         "per_sample_weights": "_bag_products(grad_output, _by_frequency(grad, indices, "
                               "scale_grad_by_freq), indices, offset2bag, padding_idx)"},
   doc="The gradient of _embedding_bag in its table.")
op("_bag_products(Tensor bags, Tensor weight, Tensor indices, Tensor offset2bag, int padding_idx) -> Tensor",
   variants="function", module="_C",
   composite="masked_fill(sum(embedding(bags, clamp(offset2bag, 0)) * embedding(weight, indices), [-1]), "
             "(indices == padding_idx) | (offset2bag < 0), 0)",
   doc="Each row that the indices name, times the row of its bag.")
op("_by_frequency(Tensor self, Tensor indices, bool divide) -> Tensor",
   variants="function", module="_C",
   composite="self / unsqueeze(clamp(index_put(new_zeros(self, [self.shape[0]]), [indices], "
             "new_ones(self, []), True), 1), -1) if divide else self",
   doc="Each row divided by how often the indices name it.")
op("embedding_bag(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq=False, int mode=0, "
   "bool sparse=False, Tensor? per_sample_weights=None, bool include_last_offset=False, "
   "int? padding_idx=None) -> (Tensor output, Tensor offset2bag, Tensor bag_size, Tensor max_indices)",
   variants="function", flags="tame",
   composite="_embedding_bag(weight, indices, offsets, scale_grad_by_freq, mode, per_sample_weights, "
             "include_last_offset, -1 if padding_idx is None else (padding_idx if padding_idx >= 0 else "
             "padding_idx + weight.shape[0]))",
   doc="Sums (mode 0), means (1) or maxima (2) of the rows of a table in each bag of indices; bags begin "
       "at the offsets. The gradient is dense, whatever `sparse` says.")
op("embedding_renorm_(Tensor(a!) self, Tensor indices, float max_norm, float norm_type) -> Tensor(a!)",
   variants="function", rule="embedding_renorm", dtypes="float", kernel="embedding_renorm",
   batch="as _embedding_renorm_each", grad=None,
   doc="Scales the rows that are named by index so that their norms are at most max_norm.")

# --- pooling; n dims are pooled, n the length of kernel_size

op("_max_pool(Tensor self, int[] kernel_size, int[] stride, int[] padding, int[] dilation, "
   "bool ceil_mode) -> (Tensor result, Tensor indices)",
   variants="function", module="_C", rule="max_pool", kernel="max_pool", batch="fold",
   dtypes="int float",
   nondiff="indices",
   grad={"self": "_max_pool_backward(grad, indices, self.shape, len(kernel_size))"},
   doc="The largest element of each window, and where it stands among those of its plane.")
op("_max_pool_values(Tensor self, int[] kernel_size, int[] stride, int[] padding, int[] dilation, "
   "bool ceil_mode) -> Tensor",
   variants="function", module="_C", rule="max_pool_values", kernel="max_pool_values", batch="fold",
   dtypes="int float",
   grad={"self": "_max_pool_backward(grad, _max_pool(self, kernel_size, stride, padding, dilation, "
                 "ceil_mode)[1], self.shape, len(kernel_size))"},
   doc="The largest element of each window.")
op("_max_pool_backward(Tensor grad_output, Tensor indices, int[] size, int n) -> Tensor",
   variants="function", module="_C", rule="max_pool_backward", kernel="max_pool_backward",
   batch="fold", dtypes="int float",
   grad={"grad_output": "reshape(gather(flatten(grad, -n), -1, flatten(indices, -n)), "
                        "grad_output.shape)"},
   linear="grad_output", doc="The gradient of _max_pool.")
op("_avg_pool(Tensor self, int[] kernel_size, int[] stride, int[] padding, bool ceil_mode, "
   "bool count_include_pad, int? divisor_override) -> Tensor",
   variants="function", module="_C", rule="avg_pool", kernel="avg_pool", batch="fold",
   dtypes="int float",
   grad={"self": "_avg_pool_backward(grad, self.shape, kernel_size, stride, padding, ceil_mode, "
                 "count_include_pad, divisor_override)"},
   linear="self", doc="The mean of each window.")
op("_avg_pool_backward(Tensor grad_output, int[] size, int[] kernel_size, int[] stride, "
   "int[] padding, bool ceil_mode, bool count_include_pad, int? divisor_override) -> Tensor",
   variants="function", module="_C", rule="avg_pool_backward", kernel="avg_pool_backward",
   batch="fold", dtypes="int float",
   grad={"grad_output": "_avg_pool(grad, kernel_size, stride, padding, ceil_mode, "
                        "count_include_pad, divisor_override)"},
   linear="grad_output", doc="The gradient of _avg_pool.")
op("_adaptive_avg_pool(Tensor self, int[] output_size) -> Tensor",
   variants="function", module="_C", rule="adaptive_avg_pool", kernel="adaptive_avg_pool",
   batch="fold",
   dtypes="float",
   grad={"self": "_adaptive_avg_pool_backward(grad, self.shape, len(output_size))"},
   linear="self", doc="Means of windows that divide the last dims evenly into output_size parts.")
op("_adaptive_avg_pool_backward(Tensor grad_output, int[] size, int n) -> Tensor",
   variants="function", module="_C", rule="adaptive_pool_backward", kernel="adaptive_avg_pool_backward",
   batch="fold",
   dtypes="float",
   grad={"grad_output": "_adaptive_avg_pool(grad, grad_output.shape[grad_output.ndim - n:])"},
   linear="grad_output", doc="The gradient of _adaptive_avg_pool.")
op("_adaptive_max_pool(Tensor self, int[] output_size) -> (Tensor result, Tensor indices)",
   variants="function", module="_C", rule="adaptive_max_pool", kernel="adaptive_max_pool",
   batch="fold",
   dtypes="float", nondiff="indices",
   grad={"self": "_max_pool_backward(grad, indices, self.shape, len(output_size))"},
   doc="Maxima of windows that divide the last dims evenly, and where they stand.")

op("max_pool1d(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] padding=0, "
   "int[1] dilation=1, bool ceil_mode=False) -> Tensor",
   variants="function",
   composite="c:max_pool",
   doc="The largest element of each window.")
op("max_pool1d_with_indices(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] padding=0, "
   "int[1] dilation=1, bool ceil_mode=False) -> (Tensor result, Tensor indices)",
   variants="function", flags="tame",
   composite="_max_pool(self, kernel_size, stride, padding, dilation, ceil_mode)",
   doc="The largest element of each window and its position.")
op("max_pool2d(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, "
   "int[2] dilation=1, bool ceil_mode=False) -> Tensor",
   variants="function",
   composite="c:max_pool",
   doc="The largest element of each window.")
op("max_pool2d_with_indices(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, "
   "int[2] dilation=1, bool ceil_mode=False) -> (Tensor result, Tensor indices)",
   variants="function", flags="tame", module="_C",
   composite="_max_pool(self, kernel_size, stride, padding, dilation, ceil_mode)",
   doc="The largest element of each window and its position in the plane.")
op("max_pool3d(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0, "
   "int[3] dilation=1, bool ceil_mode=False) -> Tensor",
   variants="function",
   composite="c:max_pool",
   doc="The largest element of each window.")
op("max_pool3d_with_indices(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0, "
   "int[3] dilation=1, bool ceil_mode=False) -> (Tensor result, Tensor indices)",
   variants="function", flags="tame", module="_C",
   composite="_max_pool(self, kernel_size, stride, padding, dilation, ceil_mode)",
   doc="The largest element of each window and its position in the volume.")
op("avg_pool1d(Tensor self, int[1] kernel_size, int[1] stride=[], int[1] padding=0, "
   "bool ceil_mode=False, bool count_include_pad=True) -> Tensor",
   variants="function",
   composite="_avg_pool(self, kernel_size, stride, padding, ceil_mode, count_include_pad, None)",
   doc="The mean of each window.")
op("avg_pool2d(Tensor self, int[2] kernel_size, int[2] stride=[], int[2] padding=0, "
   "bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor",
   variants="function out", module="nn.functional",
   composite="_avg_pool(self, kernel_size, stride, padding, ceil_mode, count_include_pad, "
             "divisor_override)",
   doc="The mean of each window.")
op("avg_pool3d(Tensor self, int[3] kernel_size, int[3] stride=[], int[3] padding=0, "
   "bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor",
   variants="function out", module="nn.functional",
   composite="_avg_pool(self, kernel_size, stride, padding, ceil_mode, count_include_pad, "
             "divisor_override)",
   doc="The mean of each window.")
op("adaptive_avg_pool1d(Tensor self, int[1] output_size) -> Tensor",
   variants="function", composite="_adaptive_avg_pool(self, output_size)",
   doc="Means of windows that divide the last dim evenly.")
op("adaptive_avg_pool2d(Tensor self, int[2] output_size) -> Tensor",
   variants="function", module="_C", composite="_adaptive_avg_pool(self, output_size)",
   doc="Means of windows that divide the last two dims evenly.")
op("adaptive_avg_pool3d(Tensor self, int[3] output_size) -> Tensor",
   variants="function", module="_C", composite="_adaptive_avg_pool(self, output_size)",
   doc="Means of windows that divide the last three dims evenly.")
op("adaptive_max_pool1d(Tensor self, int[1] output_size) -> (Tensor result, Tensor indices)",
   variants="function", composite="_adaptive_max_pool(self, output_size)",
   doc="Maxima of windows that divide the last dim evenly, and their positions.")
op("adaptive_max_pool2d(Tensor self, int[2] output_size) -> (Tensor result, Tensor indices)",
   variants="function", module="_C", composite="_adaptive_max_pool(self, output_size)",
   doc="Maxima of windows that divide the last two dims evenly, and their positions.")
op("adaptive_max_pool3d(Tensor self, int[3] output_size) -> (Tensor result, Tensor indices)",
   variants="function", module="_C", composite="_adaptive_max_pool(self, output_size)",
   doc="Maxima of windows that divide the last three dims evenly, and their positions.")

# --- resizing

op("_interpolate(Tensor self, int[] out_size, str mode, bool align_corners, float[] scales) -> Tensor",
   variants="function", module="_C", rule="interpolate", kernel="interpolate", batch="fold",
   dtypes="float",
   grad={"self": "_interpolate_backward(grad, self.shape, mode, align_corners, scales)"}, linear="self",
   doc="Planes of another size: nearest, nearest-exact, linear, bilinear, bicubic or trilinear. scales are "
       "the factors of the sizes, or empty.")
op("_interpolate_backward(Tensor grad_output, int[] input_sizes, str mode, bool align_corners, "
   "float[] scales) -> Tensor",
   variants="function", module="_C", rule="interpolate_backward", kernel="interpolate_backward",
   batch="fold", dtypes="float",
   grad={"grad_output": "_interpolate(grad, grad_output.shape[2:], mode, align_corners, scales)"},
   linear="grad_output", doc="The gradient of _interpolate.")

# --- recurrent layers, dropout

op("_lstm_cell(Tensor gates, Tensor cx) -> (Tensor hy, Tensor cy)",
   variants="function", module="_C", rule="lstm_cell", kernel="lstm_cell", batch="dims",
   dtypes="float",
   grad={"gates, cx": "_lstm_cell_backward(grads[0], grads[1], gates, cx, cy)"},
   doc="The pointwise part of an LSTM step: gates are input, forget, cell, output, side by side.")
op("_lstm_cell_backward(Tensor grad_h, Tensor grad_c, Tensor gates, Tensor cx, Tensor cy)"
   " -> (Tensor grad_gates, Tensor grad_cx)",
   variants="function", module="_C",
   composite="(cat([sigmoid_backward((dc := grad_c + tanh_backward(grad_h * (o := sigmoid(narrow("
             "gates, -1, 3 * (h := cx.shape[cx.ndim - 1]), h))), (tc := tanh(cy)))) * (n := tanh("
             "narrow(gates, -1, 2 * h, h))), (i := sigmoid(narrow(gates, -1, 0, h)))), "
             "sigmoid_backward(dc * cx, (f := sigmoid(narrow(gates, -1, h, h)))), "
             "tanh_backward(dc * i, n), sigmoid_backward(grad_h * tc, o)], -1), dc * f)",
   doc="The gradient of _lstm_cell.")
op("_lstm_layer(Tensor gx, Tensor w_hh, Tensor h0, Tensor c0, bool reverse, bool keep)"
   " -> (Tensor output, Tensor gates, Tensor cells)",
   variants="function", module="_C", rule="lstm_layer", kernel="lstm_layer", dtypes="float",
   nondiff="gates",
   grad={"gx, w_hh, h0, c0": "_lstm_layer_backward(grads[0], grads[2], gx, w_hh, h0, c0, output, gates, "
                             "cells, reverse)"},
   doc="All steps of one layer in one direction: gx are the products with the input. gates are kept for "
       "the gradient.")
op("_lstm_layer_backward(Tensor? grad_output, Tensor? grad_cells, Tensor gx, Tensor w_hh, Tensor h0, "
   "Tensor c0, Tensor output, Tensor gates, Tensor cells, bool reverse)"
   " -> (Tensor grad_gx, Tensor grad_w_hh, Tensor grad_h0, Tensor grad_c0)",
   variants="function", module="_C", rule="lstm_layer_backward", kernel="lstm_layer_backward",
   dtypes="float", composite="c:lstm_layer_backward", doc="The gradient of _lstm_layer.")
op("_gru_layer(Tensor gx, Tensor w_hh, Tensor h0, Tensor? b_hh, bool reverse, bool keep)"
   " -> (Tensor output, Tensor gates)",
   variants="function", module="_C", rule="gru_layer", kernel="gru_layer", dtypes="float",
   nondiff="gates",
   grad={"gx, w_hh, h0, b_hh": "_gru_layer_backward(grad, gx, w_hh, h0, b_hh, output, gates, reverse)"},
   doc="All steps of one layer in one direction: gx are the products with the input. gates, and the "
       "recurrent part of the new one, are kept for the gradient.")
op("_gru_layer_backward(Tensor grad_output, Tensor gx, Tensor w_hh, Tensor h0, Tensor? b_hh, "
   "Tensor output, Tensor gates, bool reverse)"
   " -> (Tensor grad_gx, Tensor grad_w_hh, Tensor grad_h0, Tensor grad_b_hh)",
   variants="function", module="_C", rule="gru_layer_backward", kernel="gru_layer_backward",
   dtypes="float", composite="c:gru_layer_backward", doc="The gradient of _gru_layer.")
op("_rnn_layer(Tensor gx, Tensor w_hh, Tensor h0, bool relu, bool reverse) -> Tensor",
   variants="function", module="_C", rule="rnn_layer", kernel="rnn_layer", dtypes="float",
   grad={"gx, w_hh, h0": "_rnn_layer_backward(grad, gx, w_hh, h0, result, relu, reverse)"},
   doc="All steps of one Elman layer in one direction: gx are the products with the input.")
op("_rnn_layer_backward(Tensor grad_output, Tensor gx, Tensor w_hh, Tensor h0, Tensor output, bool relu, "
   "bool reverse) -> (Tensor grad_gx, Tensor grad_w_hh, Tensor grad_h0)",
   variants="function", module="_C", rule="rnn_layer_backward", kernel="rnn_layer_backward",
   dtypes="float", composite="c:rnn_layer_backward", doc="The gradient of _rnn_layer.")
op("lstm.input(Tensor input, Tensor[] hx, Tensor[] params, bool has_biases, int num_layers, "
   "float dropout, bool train, bool bidirectional, bool batch_first)"
   " -> (Tensor output, Tensor h_n, Tensor c_n)",
   variants="function", composite="c:lstm", doc="A stack of LSTM layers over a sequence.")
op("gru.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, "
   "float dropout, bool train, bool bidirectional, bool batch_first)"
   " -> (Tensor output, Tensor h_n)",
   variants="function", composite="c:gru", doc="A stack of GRU layers over a sequence.")
op("rnn_tanh.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, "
   "float dropout, bool train, bool bidirectional, bool batch_first)"
   " -> (Tensor output, Tensor h_n)",
   variants="function", composite="c:rnn_tanh", doc="A stack of Elman layers with tanh.")
op("rnn_relu.input(Tensor input, Tensor hx, Tensor[] params, bool has_biases, int num_layers, "
   "float dropout, bool train, bool bidirectional, bool batch_first)"
   " -> (Tensor output, Tensor h_n)",
   variants="function", composite="c:rnn_relu", doc="A stack of Elman layers with relu.")
op("lstm_cell(Tensor input, Tensor[] hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, "
   "Tensor? b_hh=None) -> (Tensor hy, Tensor cy)",
   variants="function",
   composite="_lstm_cell(linear(input, w_ih, b_ih) + linear(hx[0], w_hh, b_hh), hx[1])",
   doc="One step of an LSTM.")
op("_gru_step(Tensor gx, Tensor gh, Tensor hx) -> Tensor",
   variants="function", module="_C",
   composite="(n := tanh(narrow(gx, -1, 2 * (h := hx.shape[hx.ndim - 1]), h) + sigmoid(narrow(gx, -1, 0, h) "
             "+ narrow(gh, -1, 0, h)) * narrow(gh, -1, 2 * h, h))) + sigmoid(narrow(gx, -1, h, h) "
             "+ narrow(gh, -1, h, h)) * (hx - n)",
   doc="The pointwise part of a GRU step: reset, update, new, side by side.")
op("_gru_step_backward(Tensor grad, Tensor gx, Tensor gh, Tensor hx)"
   " -> (Tensor grad_gx, Tensor grad_gh, Tensor grad_hx)",
   variants="function", module="_C",
   composite="(cat([(dr := sigmoid_backward((dn := tanh_backward(grad * (1 - (z := sigmoid(narrow(gx, -1, (h := "
             "hx.shape[hx.ndim - 1]), h) + narrow(gh, -1, h, h)))), (n := tanh(narrow(gx, -1, 2 * h, h) + (r := "
             "sigmoid(narrow(gx, -1, 0, h) + narrow(gh, -1, 0, h))) * narrow(gh, -1, 2 * h, h))))) "
             "* narrow(gh, -1, 2 * h, h), r)), (dz := sigmoid_backward(grad * (hx - n), z)), dn], -1), "
             "cat([dr, dz, dn * r], -1), grad * z)",
   doc="The gradient of _gru_step.")
op("gru_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, "
   "Tensor? b_hh=None) -> Tensor",
   variants="function",
   composite="_gru_step(linear(input, w_ih, b_ih), linear(hx, w_hh, b_hh), hx)",
   doc="One step of a GRU.")
op("rnn_tanh_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, "
   "Tensor? b_hh=None) -> Tensor",
   variants="function", composite="tanh(linear(input, w_ih, b_ih) + linear(hx, w_hh, b_hh))",
   doc="One step of an Elman layer with tanh.")
op("rnn_relu_cell(Tensor input, Tensor hx, Tensor w_ih, Tensor w_hh, Tensor? b_ih=None, "
   "Tensor? b_hh=None) -> Tensor",
   variants="function", composite="relu(linear(input, w_ih, b_ih) + linear(hx, w_hh, b_hh))",
   doc="One step of an Elman layer with relu.")

op("dropout(Tensor input, float p, bool train) -> Tensor",
   variants="function",
   composite="input if p == 0 or not train or input.numel == 0 else (input * zeros_like(input) "
             "if p == 1 else input * div_(bernoulli_p(input, 1 - p), 1 - p))",
   doc="Zeroes elements with probability p and scales the others by 1 / (1 - p), in training.")
op("dropout_(Tensor(a!) input, float p, bool train) -> Tensor(a!)",
   variants="function",
   composite="input if p == 0 or not train else mul_(input, zeros_like(input) if p == 1 "
             "else div_(bernoulli_(empty_like(input), 1 - p), 1 - p))",
   doc="dropout in place.")
# --- optimizers: one step for all parameters

op("_fused_sgd_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] momentum_buffer_list, *, "
   "float weight_decay, float momentum, float lr, float dampening, bool nesterov, bool maximize, "
   "bool is_first_step, Tensor? grad_scale=None, Tensor? found_inf=None) -> ()",
   variants="function", rule="fused_step", kernel="fused_sgd", batch="never", dtypes="float",
   doc="One step of stochastic gradient descent.")
op("_fused_adam_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] exp_avgs, "
   "Tensor(d!)[] exp_avg_sqs, Tensor(e!)[] max_exp_avg_sqs, Tensor[] state_steps, *, float lr, "
   "float beta1, float beta2, float weight_decay, float eps, bool amsgrad, bool maximize, "
   "Tensor? grad_scale=None, Tensor? found_inf=None) -> ()",
   variants="function", rule="fused_step", kernel="fused_adam", batch="never", dtypes="float",
   doc="One step of Adam.")
op("_fused_adamw_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] exp_avgs, "
   "Tensor(d!)[] exp_avg_sqs, Tensor(e!)[] max_exp_avg_sqs, Tensor[] state_steps, *, float lr, "
   "float beta1, float beta2, float weight_decay, float eps, bool amsgrad, bool maximize, "
   "Tensor? grad_scale=None, Tensor? found_inf=None) -> ()",
   variants="function", rule="fused_step", kernel="fused_adamw", batch="never", dtypes="float",
   doc="One step of Adam with decoupled weight decay.")
op("_fused_rmsprop_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] square_avgs, "
   "Tensor(d!)[] grad_avgs, Tensor(e!)[] momentum_buffers, *, float lr, float alpha, float eps, "
   "float weight_decay, float momentum, bool maximize) -> ()",
   variants="function", module="_C", rule="fused_step", kernel="fused_rmsprop", batch="never",
   dtypes="float",
   doc="One step of RMSprop: centered with grad_avgs, with momentum where there are buffers.")
op("_fused_adagrad_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] state_sums, "
   "Tensor[] state_steps, *, float lr, float lr_decay, float weight_decay, float eps, bool maximize)"
   " -> ()",
   variants="function", module="_C", rule="fused_step", kernel="fused_adagrad", batch="never",
   dtypes="float",
   doc="One step of Adagrad.")
op("_fused_adadelta_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] square_avgs, "
   "Tensor(d!)[] acc_deltas, *, float lr, float rho, float eps, float weight_decay, bool maximize)"
   " -> ()",
   variants="function", module="_C", rule="fused_step", kernel="fused_adadelta", batch="never",
   dtypes="float",
   doc="One step of Adadelta.")
op("_fused_adamax_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] exp_avgs, "
   "Tensor(d!)[] exp_infs, Tensor[] state_steps, *, float lr, float beta1, float beta2, "
   "float weight_decay, float eps, bool maximize) -> ()",
   variants="function", module="_C", rule="fused_step", kernel="fused_adamax", batch="never",
   dtypes="float",
   doc="One step of Adamax.")
op("_fused_nadam_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] exp_avgs, "
   "Tensor(d!)[] exp_avg_sqs, Tensor[] mu_products, Tensor[] state_steps, *, float lr, float beta1, "
   "float beta2, float weight_decay, float eps, float momentum_decay, bool decoupled_weight_decay, "
   "bool maximize) -> ()",
   variants="function", module="_C", rule="fused_step", kernel="fused_nadam", batch="never",
   dtypes="float",
   doc="One step of NAdam.")
op("_fused_radam_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] exp_avgs, "
   "Tensor(d!)[] exp_avg_sqs, Tensor[] state_steps, *, float lr, float beta1, float beta2, "
   "float weight_decay, float eps, bool decoupled_weight_decay, bool maximize) -> ()",
   variants="function", module="_C", rule="fused_step", kernel="fused_radam", batch="never",
   dtypes="float",
   doc="One step of RAdam.")
op("_fused_rprop_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] prevs, "
   "Tensor(d!)[] step_sizes, *, float etaminus, float etaplus, float step_size_min, "
   "float step_size_max, bool maximize) -> ()",
   variants="function", module="_C", rule="fused_step", kernel="fused_rprop", batch="never",
   dtypes="float",
   doc="One step of resilient propagation.")
op("_fused_asgd_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] averages, Tensor[] etas, "
   "Tensor[] mus, *, float lambd, float weight_decay, bool maximize) -> ()",
   variants="function", module="_C", rule="fused_step", kernel="fused_asgd", batch="never",
   dtypes="float",
   doc="One step of averaged stochastic gradient descent.")
