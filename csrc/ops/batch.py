# Rows that vmap runs in the place of others ("as" and its like, see layers/batch.h), on the tensors
# of each element: the same values by rows that have rules of their own.

# --- indices that differ within the batch

op("_index_backward_each(Tensor grad_output, int[] input_sizes, Tensor?[] indices) -> Tensor",
   variants="function", module="_C",
   composite="index_put(new_zeros(grad_output, input_sizes), indices, grad_output, True)",
   doc="_index_backward.")
op("_index_select_each(Tensor self, int dim, Tensor index) -> Tensor",
   variants="function", module="_C",
   composite="index(reshape(self, [1]), [index]).reshape(self.shape) if self.ndim == 0 else "
             "movedim(index(movedim(self, [dim], [0]), [reshape(index, [-1])]), [0], [dim])",
   doc="index_select.")
op("_index_add_each(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor",
   variants="function", module="_C",
   composite="_index_write_each(self, dim, index, source * alpha, True)", doc="index_add.")
op("_index_copy_each(Tensor self, int dim, Tensor index, Tensor source) -> Tensor",
   variants="function", module="_C",
   composite="_index_write_each(self, dim, index, source, False)", doc="index_copy.")
op("_index_write_each(Tensor self, int dim, Tensor index, Tensor source, bool accumulate) -> Tensor",
   variants="function", module="_C",
   composite="reshape(index_put(reshape(self, [1]), [reshape(index, [-1])], reshape(source, [-1]), "
             "accumulate), self.shape) if self.ndim == 0 else movedim(index_put(movedim(self, [dim], "
             "[0]), [reshape(index, [-1])], movedim(source.reshape([-1]) if source.ndim == 0 else "
             "source, [dim], [0]), accumulate), [0], [dim])",
   doc="index_add and index_copy.")
op("_index_fill_each(Tensor self, int dim, Tensor index, Operand value) -> Tensor",
   variants="function", module="_C",
   composite="reshape(_fill_last(reshape(self, [1]), index, value), self.shape) if self.ndim == 0 "
             "else movedim(_fill_last(movedim(self, [dim], [-1]), index, value), [-1], [dim])",
   doc="index_fill.")
op("_fill_last(Tensor self, Tensor index, Operand value) -> Tensor",
   variants="function", module="_C",
   composite="_masked_fill_each(self, index_put(new_zeros(self, [self.shape[self.ndim - 1]], "
             "dtype=bool), [reshape(index, [-1])], new_ones(self, [], dtype=bool)), value)",
   doc="index_fill of the last dimension.")
op("_index_reduce_each(Tensor self, int dim, Tensor index, Tensor source, str reduce, *, "
   "bool include_self=True) -> Tensor",
   variants="function", module="_C",
   composite="scatter_reduce(self, dim, _spread_index(index, dim, source.shape), source, reduce, "
             "include_self=include_self)",
   doc="index_reduce.")
op("_take_each(Tensor self, Tensor index) -> Tensor",
   variants="function", module="_C", composite="index(reshape(self, [-1]), [index])", doc="take.")
op("_put_each(Tensor self, Tensor index, Tensor source, bool accumulate=False) -> Tensor",
   variants="function", module="_C",
   composite="reshape(index_put(reshape(self, [-1]), [reshape(index, [-1])], reshape(source, [-1]), "
             "accumulate), self.shape)",
   doc="put.")

# --- masks

op("_masked_fill_each(Tensor self, Tensor mask, Operand value) -> Tensor",
   variants="function", module="_C",
   composite="_to_copy(where(mask, value, self), dtype=self.dtype)", doc="masked_fill.")
op("_mask_places(Tensor mask) -> Tensor",
   variants="function", module="_C",
   composite="clamp(cumsum(reshape(mask, [-1]), 0) - 1, 0)",
   doc="How many elements of a mask are true before each, as one row.")
op("_masked_scatter_each(Tensor self, Tensor mask, Tensor source) -> Tensor",
   variants="function", module="_C",
   composite="where((m := expand(mask, joint_shape(self.shape, mask.shape))), reshape(index("
             "reshape(source, [-1]), [_mask_places(m)]), m.shape), self)",
   doc="masked_scatter.")
op("_masked_scatter_backward_each(Tensor grad_output, Tensor mask, int[] sizes) -> Tensor",
   variants="function", module="_C",
   composite="reshape(index_put((z := reshape(new_zeros(grad_output, sizes), [-1])), [clamp("
             "_mask_places((m := expand(mask, grad_output.shape))), None, max(z.numel - 1, 0))], "
             "reshape(masked_fill(grad_output, logical_not(m), 0), [-1]), True), sizes)",
   doc="_masked_scatter_backward.")

# --- layers with parameters that differ

op("_embedding_each(Tensor weight, Tensor indices, int padding_idx=-1, bool scale_grad_by_freq=False, "
   "bool sparse=False) -> Tensor",
   variants="function", module="_C",
   composite="index(weight, [indices]) if padding_idx < 0 else where(unsqueeze(indices == "
             "padding_idx, -1), detach((r := index(weight, [indices]))), r)",
   doc="embedding.")
op("_embedding_backward_each(Tensor grad_output, Tensor indices, int num_weights, int padding_idx, "
   "bool scale_grad_by_freq) -> Tensor",
   variants="function", module="_C",
   composite="index_put(new_zeros(grad_output, [num_weights, "
             "grad_output.shape[grad_output.ndim - 1]]), [indices], masked_fill(grad_output / "
             "unsqueeze(index(index_put(new_zeros(grad_output, [num_weights]), [indices], "
             "new_ones(grad_output, []), True), [indices]), -1) if scale_grad_by_freq else "
             "grad_output, unsqueeze(indices == padding_idx, -1), 0), True)",
   doc="embedding_dense_backward.")
op("_bag_of_each(Tensor indices, Tensor offsets, bool include_last_offset) -> Tensor",
   variants="function", module="_C",
   composite="masked_fill((b := searchsorted(offsets, cumsum(ones_like(indices, dtype=int64), 0) - 1, "
             "right=True) - 1), b >= offsets.shape[0] - int(include_last_offset), -1)",
   doc="The bag of each index, -1 behind the last one.")
op("_bag_rows_each(Tensor rows, Tensor? weights, Tensor dropped) -> Tensor",
   variants="function", module="_C",
   composite="masked_fill(rows if weights is None else rows * unsqueeze(weights, -1), "
             "unsqueeze(dropped, -1), 0)",
   doc="Rows times their weights, zero where they are dropped.")
op("_bag_output_each(Tensor weight, Tensor indices, Tensor bag, Tensor dropped, Tensor sizes, int mode, "
   "Tensor? weights) -> Tensor",
   variants="function", module="_C",
   composite="masked_fill(index_reduce(new_zeros(weight, [sizes.shape[0], weight.shape[1]]), 0, bag, "
             "masked_fill(embedding(weight, indices), unsqueeze(dropped, -1), -inf), 'amax', "
             "include_self=False), unsqueeze(sizes == 0, -1), 0) if mode == 2 else index_add(new_zeros("
             "weight, [sizes.shape[0], weight.shape[1]]), 0, bag, _bag_rows_each(embedding(weight, indices), "
             "weights, dropped)) / (unsqueeze(clamp(sizes, 1), -1) if mode == 1 else ones_like(unsqueeze("
             "sizes, -1)))",
   doc="Sums, means or maxima of bags.")
op("_bag_most_each(Tensor weight, Tensor indices, Tensor bag, Tensor dropped, Tensor top, int mode) -> Tensor",
   variants="function", module="_C",
   composite="index_reduce(new_full(indices, top.shape, -1), 0, bag, where((embedding(weight, indices) == "
             "embedding(top, bag)) & logical_not(unsqueeze(dropped, -1)), unsqueeze(indices, -1), -1), 'amax') "
             "if mode == 2 else new_zeros(indices, [0, top.shape[1]])",
   doc="The rows that have the maxima of bags.")
op("_embedding_bag_each(Tensor weight, Tensor indices, Tensor offsets, bool scale_grad_by_freq, int mode, "
   "Tensor? per_sample_weights, bool include_last_offset, int padding_idx)"
   " -> (Tensor output, Tensor offset2bag, Tensor bag_size, Tensor max_indices)",
   variants="function", module="_C",
   composite="((out := _bag_output_each(weight, indices, (to := clamp((b := _bag_of_each(indices, offsets, "
             "include_last_offset)), 0)), (off := (indices == padding_idx) | (b < 0)), (sizes := index_add("
             "new_zeros(b, [offsets.shape[0] - int(include_last_offset)]), 0, to, _to_copy(logical_not("
             "off), dtype=int64))), mode, per_sample_weights)), b, sizes, _bag_most_each(weight, indices, to, "
             "off, out, mode))",
   doc="_embedding_bag.")
op("_embedding_bag_backward_each(Tensor grad_output, Tensor indices, Tensor offsets, Tensor offset2bag, "
   "Tensor bag_size, Tensor max_indices, Tensor? per_sample_weights, int num_weights, "
   "bool scale_grad_by_freq, int mode, bool include_last_offset, int padding_idx) -> Tensor",
   variants="function", module="_C",
   composite="scatter_add(new_zeros(grad_output, [num_weights, grad_output.shape[1]]), 0, clamp(max_indices, "
             "0), masked_fill(grad_output, max_indices < 0, 0)) if mode == 2 else embedding_dense_backward("
             "_bag_rows_each(embedding(grad_output / unsqueeze(clamp(bag_size, 1), -1) if mode == 1 else "
             "grad_output, clamp(offset2bag, 0)), per_sample_weights, offset2bag < 0), indices, num_weights, "
             "padding_idx, scale_grad_by_freq)",
   doc="_embedding_bag_backward.")
op("_linear_each(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor",
   variants="function", module="_C",
   composite="_shifted(matmul(input, t(weight)), bias)", doc="linear.")
op("_addmm_activation_each(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, "
   "Scalar alpha=1, bool use_gelu=False) -> Tensor",
   variants="function", module="_C",
   composite="_gelu_erf(addmm(self, mat1, mat2, beta=beta, alpha=alpha)) if use_gelu else "
             "relu(addmm(self, mat1, mat2, beta=beta, alpha=alpha))",
   doc="_addmm_activation.")
op("_int_mm_each(Tensor self, Tensor mat2) -> Tensor",
   variants="function", module="_C",
   composite="mm(_to_copy(self, dtype=int32), _to_copy(mat2, dtype=int32))", doc="_int_mm.")
op("_shifted(Tensor self, Tensor? bias) -> Tensor",
   variants="function", module="_C", composite="self if bias is None else self + bias",
   doc="The sum with a bias, if there is one.")
op("_layer_norm_each(Tensor input, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps)"
   " -> (Tensor result, Tensor mean, Tensor rstd)",
   variants="function", module="_C",
   composite="(_shifted(_weighted((r := native_layer_norm(input, normalized_shape, None, None, "
             "eps))[0], weight), bias), r[1], r[2])",
   doc="native_layer_norm.")
op("_layer_norm_backward_each(Tensor grad_output, Tensor input, int[] normalized_shape, Tensor mean, "
   "Tensor rstd, Tensor? weight, float eps) -> Tensor",
   variants="function", module="_C",
   composite="layer_norm_backward(_weighted(grad_output, weight), input, normalized_shape, mean, "
             "rstd, None, eps)",
   doc="layer_norm_backward.")
op("_layer_norm_affine_each(Tensor grad_output, Tensor input, int[] normalized_shape, Tensor mean, "
   "Tensor rstd, float eps) -> (Tensor weight, Tensor bias)",
   variants="function", module="_C",
   composite="(sum_to_like(grad_output * (input - mean) * rstd, (n := new_empty(grad_output, "
             "normalized_shape))), sum_to_like(grad_output, n))",
   doc="layer_norm_backward_affine.")

op("_layer_norm_all_each(Tensor grad_output, Tensor input, int[] normalized_shape, Tensor mean, "
   "Tensor rstd, Tensor? weight, float eps) -> (Tensor input_grad, Tensor weight_grad, Tensor bias_grad)",
   variants="function", module="_C",
   composite="(layer_norm_backward(grad_output, input, normalized_shape, mean, rstd, weight, eps), "
             "(d := layer_norm_backward_affine(grad_output, input, normalized_shape, mean, rstd, "
             "eps))[0], d[1])",
   doc="layer_norm_backward_all.")

# --- the negative log likelihood: classes are dim 1, or dim 0 of a vector

op("_class_weights(Tensor target, Tensor self, Tensor? weight, int ignore_index) -> Tensor",
   variants="function", module="_C",
   composite="masked_fill(ones_like(target, dtype=self.dtype) if weight is None else index(weight, "
             "[masked_fill(target, target == ignore_index, 0)]), target == ignore_index, 0)",
   doc="The weight of each target, 0 where it is ignored.")
op("_class_places(Tensor target, int dim, int ignore_index) -> Tensor",
   variants="function", module="_C",
   composite="unsqueeze(masked_fill(target, target == ignore_index, 0), dim)",
   doc="The targets as an index along the classes.")
op("_cross_entropy_each(Tensor self, Tensor target, Tensor? weight, int reduction, int ignore_index)"
   " -> (Tensor output, Tensor total_weight, Tensor stats)",
   variants="function", module="_C",
   composite="((r := nll_loss_forward(log_softmax(self, (d := min(self.ndim - 1, 1))), target, weight, "
             "reduction, ignore_index))[0], r[1], reshape(stack([(top := amax(self, [d])), "
             "logsumexp(self, [d]) - top], 0), [2, -1]))",
   doc="_cross_entropy.")
op("_cross_entropy_backward_each(Tensor grad_output, Tensor self, Tensor target, Tensor? weight, "
   "int reduction, int ignore_index, Tensor total_weight, Tensor stats) -> Tensor",
   variants="function", module="_C",
   composite="log_softmax_backward(nll_loss_backward(grad_output, self.shape, target, weight, reduction, "
             "ignore_index, total_weight), log_softmax(self, (d := min(self.ndim - 1, 1))), d)",
   doc="_cross_entropy_backward.")
op("_nll_loss_each(Tensor self, Tensor target, Tensor? weight, int reduction, int ignore_index)"
   " -> (Tensor output, Tensor total_weight)",
   variants="function", module="_C",
   composite="(_reduced_by(neg(where(target == ignore_index, 0, squeeze_dim(gather(self, (d := "
             "min(self.ndim - 1, 1)), _class_places(target, d, ignore_index)), d))) * (w := "
             "_class_weights(target, self, weight, ignore_index)), w, reduction), sum(w) * min("
             "reduction, 1))",
   doc="nll_loss_forward.")
op("_nll_loss_backward_each(Tensor grad_output, int[] size, Tensor target, Tensor? weight, "
   "int reduction, int ignore_index, Tensor total_weight) -> Tensor",
   variants="function", module="_C",
   composite="scatter(new_zeros(grad_output, size), (d := min(len(size) - 1, 1)), _class_places("
             "target, d, ignore_index), unsqueeze(neg(_class_weights(target, grad_output, weight, "
             "ignore_index) * (grad_output / total_weight if reduction == 1 else grad_output)), d))",
   doc="nll_loss_backward.")

# --- others

op("_linspace_each(Operand start, Operand end, int steps, *, ScalarType? dtype=None, "
   "Layout? layout=None, Device? device=None) -> Tensor",
   variants="function", module="_C", composite="c:linspace_each", doc="linspace.")
op("_logspace_each(Operand start, Operand end, int steps, float base=10.0, *, "
   "ScalarType? dtype=None, Layout? layout=None, Device? device=None) -> Tensor",
   variants="function", module="_C", composite="c:linspace_each", doc="logspace.")
op("_embedding_renorm_each(Tensor(a!) self, Tensor indices, float max_norm, float norm_type)"
   " -> Tensor(a!)",
   variants="function", module="_C",
   composite="copy_(self, where(unsqueeze(_named_rows(self, indices) & ((n := "
             "linalg_vector_norm(self, norm_type, [1])) > max_norm), 1), self * unsqueeze(max_norm / "
             "(n + 1e-7), 1), self))",
   doc="embedding_renorm_.")
op("_named_rows(Tensor self, Tensor indices) -> Tensor",
   variants="function", module="_C",
   composite="index_put(new_zeros(self, [self.shape[0]], dtype=bool), [indices], new_ones(self, [], "
             "dtype=bool))",
   doc="Which rows of self the indices name.")
