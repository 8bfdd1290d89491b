# Softmax and normalization. Kernels compute the results and the first gradients; second gradients are
# formulas over `_norm_*`, which recompute the statistics and so are differentiable to any order.

helper("last_dims(int ndim, int n) -> int[]")  # the last n of ndim dims
helper("first_dims(int ndim, int n) -> int[]")  # all but the last n
helper("channel_dims(int ndim) -> int[]")  # all but 1
helper("channel_shape(int ndim, int channels) -> int[]")  # [1, channels, 1, ...]
helper("group_size(int[] shape, int groups) -> int")  # elements of a group; checks that they divide
helper("widened(Tensor self) -> Tensor")  # halves as float32: second gradients cancel a lot
helper("narrowed(Tensor self, ScalarType dtype) -> Tensor")  # cast, unless it has that dtype
helper("narrowed_joint(Tensor self, Tensor a, Tensor b) -> Tensor")  # cast to what a and b promote to
helper("normalized_dims(int[] shape, int[] normalized_shape) -> int[]")  # the last ones; checks
helper("dtype_eps(ScalarType dtype) -> float")  # distance from 1 to the next number

op("softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
   variants="function method out", rule="softmax", kernel="softmax", batch="dims", dtypes="float",
   grad={"self": "softmax_backward(grad, result, dim)"}, like="scipy.special.softmax",
   doc="exp(self), scaled to the sum 1 along a dimension.")
op("log_softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
   variants="function method out", rule="softmax", kernel="log_softmax", batch="dims",
   dtypes="float",
   grad={"self": "log_softmax_backward(grad, result, dim)"}, like="scipy.special.log_softmax",
   doc="log(softmax(self, dim)), without overflow.")
op("softmax_backward(Tensor grad_output, Tensor output, int dim) -> Tensor",
   variants="function", module="_C", rule="softmax_backward", kernel="softmax_backward",
   batch="dims", dtypes="float",
   grad={"grad_output": "softmax_backward(grad, output, dim)",
         "output": "(v := widened(grad)) * ((g := widened(grad_output)) "
                   "- sum(g * (y := widened(output)), [dim], True)) - g * sum(v * y, [dim], True)"},
   doc="The gradient of softmax.")
op("log_softmax_backward(Tensor grad_output, Tensor output, int dim) -> Tensor",
   variants="function", module="_C", rule="softmax_backward", kernel="log_softmax_backward",
   batch="dims", dtypes="float",
   grad={"grad_output": "(v := widened(grad)) - sum(v * exp(widened(output)), [dim], True)",
         "output": "neg(widened(grad) * exp(widened(output)) "
                   "* sum(widened(grad_output), [dim], True))"},
   doc="The gradient of log_softmax.")
op("softmin(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
   variants="function", module="_C", composite="softmax(neg(self), dim, dtype)",
   doc="softmax of the negated argument.")

# --- what is common to all normalizations: xhat = (x - mean) rstd over some dims

op("_norm_rstd(Tensor x, int[] dims, float eps) -> Tensor",
   variants="function", module="_C",
   composite="rsqrt(mean(square(x - mean(x, dims, True)), dims, True) + eps)",
   doc="1 / sqrt(variance + eps).")
op("_norm_hat(Tensor x, int[] dims, float eps) -> Tensor",
   variants="function", module="_C",
   composite="(x - mean(x, dims, True)) * _norm_rstd(x, dims, eps)",
   doc="x with mean 0 and variance 1 over some dims.")
op("_norm_project(Tensor v, Tensor hat, Tensor rstd, int[] dims) -> Tensor",
   variants="function", module="_C",
   composite="rstd * (v - mean(v, dims, True) - hat * mean(v * hat, dims, True))",
   doc="The gradient of x, given that of its normalized form.")
op("_norm_backward(Tensor v, Tensor x, int[] dims, float eps) -> Tensor",
   variants="function", module="_C",
   composite="_norm_project(widened(v), _norm_hat((w := widened(x)), dims, eps), "
             "_norm_rstd(w, dims, eps), dims)",
   doc="The same from x.")
op("_norm_backward_x(Tensor v, Tensor g, Tensor x, int[] dims, float eps) -> Tensor",
   variants="function", module="_C",
   composite="_norm_backward_wide(widened(v), widened(g), widened(x), dims, eps)",
   doc="The gradient with respect to x of the sum of v * _norm_backward(g, x).")
op("_norm_backward_wide(Tensor v, Tensor g, Tensor x, int[] dims, float eps) -> Tensor",
   variants="function", module="_C",
   composite="_norm_project(neg((rstd := _norm_rstd(x, dims, eps)) * "
             "(v * mean(g * (hat := _norm_hat(x, dims, eps)), dims, True) "
             "+ g * mean(v * hat, dims, True))), hat, rstd, dims) "
             "- rstd * hat * mean(v * _norm_project(g, hat, rstd, dims), dims, True)",
   doc="The same, in the dtype of the arguments.")

# --- layer_norm

op("native_layer_norm(Tensor input, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps)"
   " -> (Tensor result, Tensor mean, Tensor rstd)",
   variants="function", rule="native_layer_norm", kernel="native_layer_norm",
   batch="lead _layer_norm_each", dtypes="float",
   nondiff="mean rstd", flags="broadcasts",
   grad={"input, weight, bias": "layer_norm_backward_all(grad, input, normalized_shape, mean, rstd, "
                                "weight, eps)"},
   doc="Normalizes over the last dims; also gives the mean and 1 / sqrt(variance + eps).")
op("layer_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, "
   "float eps=1e-05, bool cudnn_enable=True) -> Tensor",
   variants="function",
   composite="native_layer_norm(input, normalized_shape, weight, bias, eps)[0]",
   doc="Normalizes over the last dims to mean 0 and variance 1, then scales and shifts.")
op("layer_norm_backward(Tensor grad_output, Tensor input, int[] normalized_shape, Tensor mean, "
   "Tensor rstd, Tensor? weight, float eps) -> Tensor",
   variants="function", module="_C", rule="layer_norm_backward", kernel="layer_norm_backward",
   batch="lead _layer_norm_backward_each",
   dtypes="float", flags="broadcasts",
   grad={"grad_output": "_norm_backward(grad, input, "
                        "last_dims(input.ndim, len(normalized_shape)), eps) "
                        "if weight is None else weight * _norm_backward(grad, input, "
                        "last_dims(input.ndim, len(normalized_shape)), eps)",
         "input": "_norm_backward_x(grad, grad_output if weight is None else grad_output * weight, "
                  "input, last_dims(input.ndim, len(normalized_shape)), eps)",
         "weight": "grad_output * _norm_backward(grad, input, "
                   "last_dims(input.ndim, len(normalized_shape)), eps)"},
   doc="The gradient of layer_norm with respect to its input.")
op("layer_norm_backward_affine(Tensor grad_output, Tensor input, int[] normalized_shape, "
   "Tensor mean, Tensor rstd, float eps) -> (Tensor weight, Tensor bias)",
   variants="function", module="_C", rule="layer_norm_backward_affine",
   kernel="layer_norm_backward_affine", batch="as _layer_norm_affine_each", dtypes="float",
   grad={"grad_output": "grads[0] * _norm_hat(widened(input), last_dims(input.ndim, len(normalized_shape)), eps)"
                        " + grads[1]",
         "input": "_norm_backward(grads[0] * grad_output, input, "
                  "last_dims(input.ndim, len(normalized_shape)), eps)"},
   doc="The gradients of layer_norm with respect to weight and bias.")

op("layer_norm_backward_all(Tensor grad_output, Tensor input, int[] normalized_shape, Tensor mean, "
   "Tensor rstd, Tensor? weight, float eps) -> (Tensor input_grad, Tensor weight_grad, Tensor bias_grad)",
   variants="function", module="_C", rule="layer_norm_backward_all",
   kernel="layer_norm_backward_all", batch="as _layer_norm_all_each", dtypes="float",
   composite="_layer_norm_all_each(grad_output, input, normalized_shape, mean, rstd, weight, eps)",
   doc="The gradients of layer_norm, in one pass.")

# --- batch_norm

op("native_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, "
   "Tensor? running_var, bool training, float momentum, float eps)"
   " -> (Tensor result, Tensor save_mean, Tensor save_invstd)",
   variants="function out", rule="native_batch_norm", kernel="native_batch_norm", batch="channels",
   dtypes="float",
   nondiff="save_mean save_invstd",
   grad={"input, weight, bias": "batch_norm_backward_all(grad, input, weight, running_mean, "
                                "running_var, save_mean, save_invstd, training, eps)"},
   doc="Normalizes each channel by the statistics of the batch (training, which also updates the "
       "running ones) or by the running ones.")
op("batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, "
   "bool training, float momentum, float eps, bool cudnn_enabled) -> Tensor",
   variants="function",
   composite="_weighted(input, weight) if input.ndim < 2 and input.numel == 0 else "
             "native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, "
             "eps)[0]",
   doc="Normalizes each channel, then scales and shifts.")
op("batch_norm_backward(Tensor grad_output, Tensor input, Tensor? weight, Tensor? running_mean, "
   "Tensor? running_var, Tensor save_mean, Tensor save_invstd, bool train, float eps) -> Tensor",
   variants="function", module="_C", rule="batch_norm_backward", kernel="batch_norm_backward",
   batch="channels",
   dtypes="float",
   grad={"grad_output": "batch_norm_backward(grad, input, weight, running_mean, running_var, "
                        "save_mean, save_invstd, train, eps)",
         "input": "_norm_backward_x(grad, grad_output if weight is None else "
                  "grad_output * reshape(weight, channel_shape(input.ndim, input.shape[1])), "
                  "input, channel_dims(input.ndim), eps) if train else None",
         "weight": "sum(grad_output * _batch_backward(grad, input, running_mean, running_var, "
                   "save_mean, save_invstd, train, eps), channel_dims(input.ndim))"},
   doc="The gradient of batch_norm with respect to its input.")
op("batch_norm_backward_affine(Tensor grad_output, Tensor input, Tensor? weight, "
   "Tensor? running_mean, Tensor? running_var, Tensor save_mean, Tensor save_invstd, bool train, "
   "float eps) -> (Tensor weight_grad, Tensor bias_grad)",
   variants="function", module="_C", rule="batch_norm_backward_affine",
   kernel="batch_norm_backward_affine", batch="channels", dtypes="float",
   grad={"grad_output": "reshape(grads[0], channel_shape(input.ndim, input.shape[1])) * "
                        "_batch_hat(input, running_mean, running_var, train, eps) "
                        "+ reshape(grads[1], channel_shape(input.ndim, input.shape[1]))",
         "input": "_batch_backward(grad_output * reshape(grads[0], channel_shape(input.ndim, "
                  "input.shape[1])), input, running_mean, running_var, save_mean, save_invstd, "
                  "train, eps)"},
   doc="The gradients of batch_norm with respect to weight and bias.")
op("batch_norm_backward_all(Tensor grad_output, Tensor input, Tensor? weight, Tensor? running_mean, "
   "Tensor? running_var, Tensor save_mean, Tensor save_invstd, bool train, float eps)"
   " -> (Tensor input_grad, Tensor weight_grad, Tensor bias_grad)",
   variants="function", module="_C", rule="batch_norm_backward_all",
   kernel="batch_norm_backward_all", batch="channels", dtypes="float",
   composite="(batch_norm_backward(grad_output, input, weight, running_mean, running_var, save_mean, "
             "save_invstd, train, eps), (d := batch_norm_backward_affine(grad_output, input, weight, "
             "running_mean, running_var, save_mean, save_invstd, train, eps))[0], d[1])",
   doc="The gradients of batch_norm, in one pass.")
op("_batch_backward(Tensor v, Tensor input, Tensor? running_mean, Tensor? running_var, "
   "Tensor save_mean, Tensor save_invstd, bool train, float eps) -> Tensor",
   variants="function", module="_C",
   composite="_norm_backward(v, input, channel_dims(input.ndim), eps) if train else "
             "batch_norm_backward(v, input, None, running_mean, running_var, save_mean, "
             "save_invstd, False, eps)",
   doc="batch_norm_backward without a weight, differentiable to any order.")
op("_batch_hat(Tensor input, Tensor? running_mean, Tensor? running_var, bool train, float eps)"
   " -> Tensor",
   variants="function", module="_C",
   composite="(input - reshape(running_mean, channel_shape(input.ndim, input.shape[1]))) "
             "* reshape(rsqrt(running_var + eps), channel_shape(input.ndim, input.shape[1])) "
             "if not train and running_mean is not None and running_var is not None "
             "else _norm_hat(input, channel_dims(input.ndim), eps)",
   doc="The input of batch_norm, normalized.")

# --- others

op("_normalize(Tensor self, Scalar p, int[1] dim, float eps) -> Tensor",
   variants="function out", module="_C",
   composite="narrowed((x := widened(self)) / clamp(linalg_vector_norm(x, p, dim, True), eps), self.dtype)",
   doc="Vectors along a dimension divided by their norm of order p, or by eps where that is larger.")
op("_channel_scaled(Tensor self, Tensor? weight) -> Tensor",
   variants="function", module="_C",
   composite="self if weight is None else "
             "self * reshape(weight, channel_shape(self.ndim, self.shape[1]))",
   doc="Each channel times its weight.")
op("_channel_shifted(Tensor self, Tensor? bias) -> Tensor",
   variants="function", module="_C",
   composite="self if bias is None else "
             "self + reshape(bias, channel_shape(self.ndim, self.shape[1]))",
   doc="Each channel plus its bias.")

# --- group_norm: by a kernel where a channel has a plane of some size, else over rows of layer_norm

op("group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, "
   "float eps=1e-05, bool cudnn_enabled=True) -> Tensor",
   variants="function",
   composite="_group_norm_rows(input, num_groups, weight, bias, eps)[0] "
             "if group_size(input.shape, num_groups) < 16 * (input.shape[1] // num_groups) "
             "else _group_norm(input, num_groups, weight, bias, eps)[0]",
   doc="Normalizes each sample over groups of channels, then scales and shifts each channel.")
op("_group_norm(Tensor input, int num_groups, Tensor? weight, Tensor? bias, float eps)"
   " -> (Tensor result, Tensor mean, Tensor rstd)",
   variants="function", module="_C", rule="group_norm", kernel="group_norm",
   batch="as _group_norm_rows", dtypes="float", nondiff="mean rstd",
   grad={"input, weight, bias": "_group_norm_backward(grad, input, num_groups, mean, rstd, weight, "
                                "eps)"},
   doc="group_norm, and the statistics of the groups.")
op("_group_norm_backward(Tensor grad_output, Tensor input, int num_groups, Tensor mean, Tensor rstd, "
   "Tensor? weight, float eps) -> (Tensor input_grad, Tensor weight_grad, Tensor bias_grad)",
   variants="function", module="_C", rule="group_norm_backward", kernel="group_norm_backward",
   batch="as _group_norm_backward_rows", dtypes="float",
   composite="_group_norm_backward_rows(grad_output, input, num_groups, mean, rstd, weight, eps)",
   doc="The gradients of group_norm.")
op("_group_norm_rows(Tensor input, int num_groups, Tensor? weight, Tensor? bias, float eps)"
   " -> (Tensor result, Tensor mean, Tensor rstd)",
   variants="function", module="_C",
   composite="(_channel_shifted(_channel_scaled(reshape((r := native_layer_norm(reshape(input, "
             "[input.shape[0] * num_groups, (n := group_size(input.shape, num_groups))]), [n], None, "
             "None, eps))[0], input.shape), weight), bias), reshape(r[1], [input.shape[0], num_groups]), "
             "reshape(r[2], [input.shape[0], num_groups]))",
   doc="group_norm as layer_norm of groups.")
op("_group_norm_backward_rows(Tensor grad_output, Tensor input, int num_groups, Tensor mean, "
   "Tensor rstd, Tensor? weight, float eps)"
   " -> (Tensor input_grad, Tensor weight_grad, Tensor bias_grad)",
   variants="function", module="_C",
   composite="(reshape(layer_norm_backward(reshape(_channel_scaled(grad_output, weight), (s := "
             "[input.shape[0] * num_groups, (n := group_size(input.shape, num_groups))])), (rows := "
             "reshape(input, s)), [n], reshape(mean, [s[0], 1]), reshape(rstd, [s[0], 1]), None, eps), "
             "input.shape), sum(grad_output * reshape(_norm_hat(widened(rows), [1], eps), "
             "input.shape), (d := channel_dims(input.ndim))), sum(grad_output, d))",
   doc="The gradients of _group_norm_rows.")
op("instance_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, "
   "Tensor? running_var, bool use_input_stats, float momentum, float eps, bool cudnn_enabled)"
   " -> Tensor",
   variants="function", composite="c:instance_norm",
   doc="Normalizes each channel of each sample, then scales and shifts.")

# --- rms_norm

op("rms_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, float? eps=None) -> Tensor",
   variants="function",
   composite="_rms_norm_any(input, normalized_shape, weight, dtype_eps(input.dtype) if eps is None "
             "else eps)",
   doc="Divides by the root of the mean square over the last dims, then scales.")
op("_rms_norm_any(Tensor input, int[] normalized_shape, Tensor? weight, float eps) -> Tensor",
   variants="function", module="_C",
   composite="_rms_norm(input, normalized_shape, weight, eps)[0] if input.dtype.is_floating_point "
             "else _rms_norm_formula(input, normalized_shape, weight, eps)[0]",
   doc="rms_norm with a given eps.")
op("_rms_norm(Tensor input, int[] normalized_shape, Tensor? weight, float eps)"
   " -> (Tensor result, Tensor rstd)",
   variants="function", module="_C", rule="rms_norm", kernel="rms_norm",
   batch="as _rms_norm_formula", dtypes="float", nondiff="rstd", flags="broadcasts",
   grad={"input, weight": "_rms_norm_backward(grad, input, normalized_shape, rstd, weight, eps)"},
   doc="rms_norm, and 1 / the root of the mean square.")
op("_rms_norm_backward(Tensor grad_output, Tensor input, int[] normalized_shape, Tensor rstd, "
   "Tensor? weight, float eps) -> (Tensor input_grad, Tensor weight_grad)",
   variants="function", module="_C", rule="rms_norm_backward", kernel="rms_norm_backward",
   batch="as _rms_norm_backward_formula", dtypes="float",
   composite="_rms_norm_backward_formula(grad_output, input, normalized_shape, rstd, weight, eps)",
   doc="The gradients of rms_norm.")
op("_rms_norm_formula(Tensor input, int[] normalized_shape, Tensor? weight, float eps)"
   " -> (Tensor result, Tensor rstd)",
   variants="function", module="_C",
   composite="(narrowed(_weighted((x := widened(input)) * (r := rsqrt(mean(square(x), normalized_dims("
             "input.shape, normalized_shape), True) + eps)), weight), input.dtype), r)",
   doc="rms_norm, differentiable to any order.")
op("_rms_norm_backward_formula(Tensor grad_output, Tensor input, int[] normalized_shape, Tensor rstd, "
   "Tensor? weight, float eps) -> (Tensor input_grad, Tensor weight_grad)",
   variants="function", module="_C",
   composite="((r := rsqrt(mean(square((x := widened(input))), (d := normalized_dims(input.shape, "
             "normalized_shape)), True) + eps)) * ((v := _weighted(widened(grad_output), weight)) "
             "- x * (square(r) * mean(v * x, d, True))), sum_to_like(widened(grad_output) * (x * r), "
             "new_empty(grad_output, normalized_shape)))",
   doc="The gradients of rms_norm, differentiable to any order.")
