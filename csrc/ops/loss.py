# Losses. `reduction` is 0 (none), 1 (mean) or 2 (sum); the functions of nn.functional name it.

helper("positive(float value, str name) -> float")  # itself; raises if it is not
helper("joint_shape(int[] a, int[] b) -> int[]")  # of both, broadcast

op("_reduced(Tensor loss, int reduction) -> Tensor",
   variants="function", module="_C",
   composite="loss if reduction == 0 else (mean(loss) if reduction == 1 else sum(loss))",
   doc="The loss itself, its mean or its sum.")

op("_weighted(Tensor self, Tensor? weight) -> Tensor",
   variants="function", module="_C", composite="self if weight is None else self * weight",
   doc="The tensor times a weight, if there is one.")

op("nll_loss_forward(Tensor self, Tensor target, Tensor? weight, int reduction, int ignore_index)"
   " -> (Tensor output, Tensor total_weight)",
   variants="function", module="_C", rule="nll_loss_forward", kernel="nll_loss_forward",
   batch="as _nll_loss_each",
   dtypes="float", nondiff="total_weight",
   grad={"self": "nll_loss_backward(grad, self.shape, target, weight, reduction, ignore_index, "
                 "total_weight)"},
   doc="nll_loss, and the sum of the weights of the targets.")
op("nll_loss_backward(Tensor grad_output, int[] size, Tensor target, Tensor? weight, int reduction, "
   "int ignore_index, Tensor total_weight) -> Tensor",
   variants="function", module="_C", rule="nll_loss_backward", kernel="nll_loss_backward",
   batch="as _nll_loss_backward_each",
   dtypes="float",
   grad={"grad_output": "nll_loss_nd(grad, target, weight, reduction, ignore_index)"},
   linear="grad_output", doc="The gradient of nll_loss.")
op("nll_loss_nd(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, "
   "int ignore_index=-100) -> Tensor",
   variants="function", module="_C",
   composite="nll_loss_forward(self, target, weight, reduction, ignore_index)[0]",
   doc="The negated log probabilities of the target classes; classes are dim 1 (dim 0 of a vector).")

op("_cross_entropy(Tensor self, Tensor target, Tensor? weight, int reduction, int ignore_index)"
   " -> (Tensor output, Tensor total_weight, Tensor stats)",
   variants="function", module="_C", rule="cross_entropy", kernel="cross_entropy",
   batch="as _cross_entropy_each", dtypes="float",
   nondiff="total_weight stats",
   grad={"self": "_cross_entropy_backward(grad, self, target, weight, reduction, ignore_index, "
                 "total_weight, stats)"},
   doc="nll_loss of log_softmax in one pass; stats are the largest element and the logarithm of the sum "
       "of each position.")
op("_cross_entropy_backward(Tensor grad_output, Tensor self, Tensor target, Tensor? weight, "
   "int reduction, int ignore_index, Tensor total_weight, Tensor stats) -> Tensor",
   variants="function", module="_C", rule="cross_entropy_backward", kernel="cross_entropy_backward",
   batch="as _cross_entropy_backward_each", dtypes="float",
   composite="log_softmax_backward(nll_loss_backward(grad_output, self.shape, target, weight, reduction, "
             "ignore_index, total_weight), log_softmax(self, (d := min(self.ndim - 1, 1))), d)",
   doc="The gradient of _cross_entropy.")

# cross_entropy_loss: with probabilities as targets, with smoothed labels, or nll_loss.
op("_class_reduced(Tensor self, int dim, int reduction) -> Tensor",
   variants="function", module="_C",
   composite="neg(sum(self, [dim])) if reduction == 0 else (neg(sum(self)) if reduction == 2 "
             "else neg(sum(self)) / (self.numel / self.shape[dim]))",
   doc="The negated sums over the classes, reduced over the rest.")
op("_class_weighted(Tensor self, Tensor? weight) -> Tensor",
   variants="function", module="_C",
   composite="self if weight is None else (self * weight if self.ndim == 1 "
             "else self * reshape(weight, channel_shape(self.ndim, self.shape[1])))",
   doc="Each class times its weight.")
op("_cross_entropy_prob(Tensor self, Tensor target, Tensor? weight, int reduction, "
   "float label_smoothing) -> Tensor",
   variants="function", module="_C",
   composite="_class_reduced(_class_weighted(log_softmax(self, (d := min(self.ndim - 1, 1))) * "
             "(target if label_smoothing == 0 else target * (1 - label_smoothing) "
             "+ label_smoothing / self.shape[d]), weight), d, reduction)",
   doc="The cross entropy with probabilities as targets.")
op("_cross_entropy_smooth(Tensor log_prob, Tensor target, Tensor? weight, int reduction, "
   "int ignore_index) -> Tensor",
   variants="function", module="_C",
   composite="_reduced_by(masked_fill(neg(sum(_class_weighted(log_prob, weight), "
             "[min(log_prob.ndim - 1, 1)])), (ignored := target == ignore_index), 0), "
             "logical_not(ignored) if weight is None else masked_fill(reshape(index_select(weight, "
             "0, flatten(masked_fill(target, ignored, 0))), target.shape), ignored, 0), reduction)",
   doc="The cross entropy with the uniform distribution, times the number of classes.")
op("_reduced_by(Tensor self, Tensor count, int reduction) -> Tensor",
   variants="function", module="_C",
   composite="self if reduction == 0 else (sum(self) if reduction == 2 else sum(self) / sum(count))",
   doc="The loss itself, its mean over what counts, or its sum.")
op("_cross_entropy_class(Tensor log_prob, Tensor target, Tensor? weight, int reduction, "
   "int ignore_index, float label_smoothing) -> Tensor",
   variants="function", module="_C",
   composite="nll_loss_nd(log_prob, target, weight, reduction, ignore_index) "
             "if label_smoothing == 0 else "
             "nll_loss_nd(log_prob, target, weight, reduction, ignore_index) * (1 - label_smoothing) "
             "+ _cross_entropy_smooth(log_prob, target, weight, reduction, ignore_index) "
             "* (label_smoothing / log_prob.shape[min(log_prob.ndim - 1, 1)])",
   doc="The cross entropy with classes as targets.")
op("cross_entropy_loss(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, "
   "int ignore_index=-100, float label_smoothing=0.0) -> Tensor",
   variants="function", module="_C",
   composite="_cross_entropy_prob(self, target, weight, reduction, label_smoothing) "
             "if self.shape == target.shape and target.dtype.is_floating_point else "
             "(_cross_entropy(self, target, weight, reduction, ignore_index)[0] if label_smoothing == 0 "
             "else _cross_entropy_class(log_softmax(self, min(self.ndim - 1, 1)), target, weight, "
             "reduction, ignore_index, label_smoothing))",
   doc="nll_loss of log_softmax; targets are classes or probabilities of classes.")

# Losses of one element, and their gradients: one pass each.
op("_squared_error(Tensor self, Tensor target) -> Tensor",
   variants="function", module="_C", family=BINARY, scalar={"float": "(a - b) * (a - b)"},
   grad={"self": "_squared_error_backward(grad, self, target)",
         "target": "neg(_squared_error_backward(grad, self, target))"},
   doc="The squared difference.")
op("_squared_error_backward(Tensor grad_output, Tensor self, Tensor target) -> Tensor",
   variants="function", module="_C", family=TERNARY, scalar={"float": "2 * a * (b - c)"},
   grad={"grad_output": "_squared_error_backward(grad, self, target)",
         "self": "2 * (grad * grad_output)", "target": "-2 * (grad * grad_output)"},
   doc="The gradient of _squared_error.")
op("mse_loss(Tensor self, Tensor target, int reduction=1) -> Tensor",
   variants="function", module="_C", composite="_reduced(_squared_error(self, target), reduction)",
   doc="The squared differences.")
op("l1_loss(Tensor self, Tensor target, int reduction=1) -> Tensor",
   variants="function", module="_C", composite="_reduced(abs(self - target), reduction)",
   doc="The absolute differences.")
op("_smooth_l1(Tensor self, Tensor target, float beta) -> Tensor",
   variants="function", module="_C", family=BINARY,
   scalar={"float": "fx_abs(a - b) - 0.5 * beta if fx_abs(a - b) >= beta "
                    "else 0.5 * (a - b) * (a - b) / beta"},
   grad={"self": "_smooth_l1_backward(grad, self, target, beta)",
         "target": "neg(_smooth_l1_backward(grad, self, target, beta))"},
   doc="smooth_l1_loss of each element, for positive beta.")
op("_smooth_l1_backward(Tensor grad_output, Tensor self, Tensor target, float beta) -> Tensor",
   variants="function", module="_C", family=TERNARY,
   scalar={"float": "-a if b - c <= -beta else (a if b - c >= beta else a * (b - c) / beta)"},
   grad={"grad_output": "_smooth_l1_backward(grad, self, target, beta)",
         "self": "where(abs(self - target) < beta, grad * grad_output / beta, 0)",
         "target": "where(abs(self - target) < beta, grad * grad_output / -beta, 0)"},
   doc="The gradient of _smooth_l1.")
op("smooth_l1_loss(Tensor self, Tensor target, int reduction=1, float beta=1.0) -> Tensor",
   variants="function", module="_C",
   composite="_reduced(abs(self - target) if beta == 0 else _smooth_l1(self, target, beta), reduction)",
   doc="Squared differences where they are small, absolute ones beyond beta.")
op("_huber(Tensor self, Tensor target, float delta) -> Tensor",
   variants="function", module="_C", family=BINARY,
   scalar={"float": "0.5 * (a - b) * (a - b) if fx_abs(a - b) <= delta "
                    "else delta * (fx_abs(a - b) - 0.5 * delta)"},
   grad={"self": "_huber_backward(grad, self, target, delta)",
         "target": "neg(_huber_backward(grad, self, target, delta))"},
   doc="huber_loss of each element.")
op("_huber_backward(Tensor grad_output, Tensor self, Tensor target, float delta) -> Tensor",
   variants="function", module="_C", family=TERNARY,
   scalar={"float": "-delta * a if b - c <= -delta else (delta * a if b - c >= delta else a * (b - c))"},
   grad={"grad_output": "_huber_backward(grad, self, target, delta)",
         "self": "where(abs(self - target) < delta, grad * grad_output, 0)",
         "target": "where(abs(self - target) < delta, neg(grad * grad_output), 0)"},
   doc="The gradient of _huber.")
op("huber_loss(Tensor self, Tensor target, int reduction=1, float delta=1.0) -> Tensor",
   variants="function", module="_C",
   composite="_reduced(_huber(self, target, positive(delta, 'delta')), reduction)",
   doc="Squared differences where they are small, absolute ones beyond delta.")
op("_binary_cross_entropy(Tensor self, Tensor target) -> Tensor",
   variants="function", module="_C",
   composite="(target - 1) * clamp(log1p(neg(self)), -100) - target * clamp(log(self), -100)",
   batch="pointwise",
   grad={"self": "grad * (self - target) / clamp(self * (1 - self), 1e-12)",
         "target": "grad * (log1p(neg(self)) - log(self))"},
   doc="The cross entropy of each element; logarithms do not go below -100.")
op("binary_cross_entropy(Tensor self, Tensor target, Tensor? weight=None, int reduction=1) -> Tensor",
   variants="function", module="_C",
   composite="_reduced(_weighted(_binary_cross_entropy(self, target), weight), reduction)",
   doc="The cross entropy of probabilities and targets between 0 and 1.")
op("_logits_entropy(Tensor self, Tensor target) -> Tensor",
   variants="function", module="_C", family=BINARY,
   scalar={"float": "(1 - b) * a + (fx_log1p(fx_exp(-fx_abs(a))) - (a if a < 0 else 0))"},
   grad={"self": "_logits_entropy_backward(grad, self, target)", "target": "neg(grad * self)"},
   doc="The cross entropy of sigmoid(self) and target, of each element.")
op("_logits_entropy_backward(Tensor grad_output, Tensor self, Tensor target) -> Tensor",
   variants="function", module="_C", family=TERNARY, scalar={"float": "a * (fx_sigmoid(b) - c)"},
   grad={"grad_output": "_logits_entropy_backward(grad, self, target)",
         "self": "sigmoid_backward(grad * grad_output, sigmoid(self))",
         "target": "neg(grad * grad_output)"},
   doc="The gradient of _logits_entropy.")
op("_weighted_entropy(Tensor self, Tensor target, Tensor weight) -> Tensor",
   variants="function", module="_C", family=TERNARY,
   scalar={"float": "(1 - b) * a + ((c - 1) * b + 1) * (fx_log1p(fx_exp(-fx_abs(a))) "
                    "- (a if a < 0 else 0))"},
   grad={"self": "_weighted_entropy_backward(grad, self, target, weight)",
         "target": "neg(grad * (self + (weight - 1) * log_sigmoid(self)))",
         "weight": "neg(grad * (target * log_sigmoid(self)))"},
   doc="_logits_entropy with a weight of the part where the target is 1.")
op("_weighted_entropy_backward(Tensor grad_output, Tensor self, Tensor target, Tensor weight) -> Tensor",
   variants="function", module="_C", family=TERNARY,
   scalar={"float": "a * (1 - c + ((d - 1) * c + 1) * (fx_sigmoid(b) - 1))"},
   grad={"grad_output": "_weighted_entropy_backward(grad, self, target, weight)",
         "self": "sigmoid_backward(grad * grad_output * ((weight - 1) * target + 1), sigmoid(self))",
         "target": "grad * grad_output * ((weight - 1) * (sigmoid(self) - 1) - 1)",
         "weight": "grad * grad_output * (target * (sigmoid(self) - 1))"},
   doc="The gradient of _weighted_entropy.")
op("binary_cross_entropy_with_logits(Tensor self, Tensor target, Tensor? weight=None, "
   "Tensor? pos_weight=None, int reduction=1) -> Tensor",
   variants="function",
   composite="_reduced(_weighted(_logits_entropy(self, target) if pos_weight is None "
             "else _weighted_entropy(self, target, pos_weight), weight), reduction)",
   doc="binary_cross_entropy of sigmoid(self), without overflow.")
op("kl_div(Tensor self, Tensor target, int reduction=1, *, bool log_target=False) -> Tensor",
   variants="function",
   composite="_reduced(exp(target) * (target - self) if log_target "
             "else xlogy(target, target) - target * self, reduction)",
   doc="The Kullback-Leibler divergence; self holds log probabilities.")
op("_soft_margin(Tensor self, Tensor target) -> Tensor",
   variants="function", module="_C", family=BINARY,
   scalar={"float": "fx_log1p(fx_exp(-fx_abs(a * b))) - (a * b if a * b < 0 else 0)"},
   grad={"self": "neg(grad * (target * sigmoid(neg(self * target))))",
         "target": "neg(grad * (self * sigmoid(neg(self * target))))"},
   doc="log(1 + exp(-target * self)) of each element, without overflow.")
op("soft_margin_loss(Tensor self, Tensor target, int reduction=1) -> Tensor",
   variants="function", module="_C", composite="_reduced(_soft_margin(self, target), reduction)",
   doc="log(1 + exp(-target * self)).")
op("_gaussian_nll(Tensor self, Tensor target, Tensor var) -> Tensor",
   variants="function", module="_C", family=TERNARY,
   scalar={"float": "0.5 * (fx_log(c) + (a - b) * (a - b) / c)"},
   grad={"self": "grad * ((self - target) / var)", "target": "grad * ((target - self) / var)",
         "var": "grad * ((0.5 - 0.5 * square(self - target) / var) / var)"},
   doc="The negative log likelihood of each element under a normal distribution, but for a constant.")
op("hinge_embedding_loss(Tensor self, Tensor target, float margin=1.0, int reduction=1) -> Tensor",
   variants="function",
   composite="_reduced(where(target != 1, clamp(full_like(self, margin) - self, 0), 0) + where(target != -1, self, 0), "
             "reduction)",
   doc="The distance where target is 1, how far it falls short of the margin where it is -1.")
op("margin_ranking_loss(Tensor input1, Tensor input2, Tensor target, float margin=0.0, "
   "int reduction=1) -> Tensor",
   variants="function",
   composite="_reduced(clamp(neg(target * (input1 - input2)) + margin, 0), reduction)",
   doc="How far input1 falls short of ranking above input2 by the margin.")
op("poisson_nll_loss(Tensor input, Tensor target, bool log_input, bool full, float eps, "
   "int reduction) -> Tensor",
   variants="function",
   composite="_reduced((exp(input) - target * input if log_input "
             "else input - target * log(input + eps)) + (masked_fill(target * log(target) - target "
             "+ 0.5 * log(2 * pi * target), target <= 1, 0) if full else 0), reduction)",
   doc="The negative log likelihood of Poisson distributed targets.")
op("cosine_similarity(Tensor x1, Tensor x2, int dim=1, float eps=1e-08) -> Tensor",
   variants="function",
   composite="narrowed_joint(sum(_normalize(expand(widened(x1), (s := joint_shape(x1.shape, x2.shape))), 2, [dim], "
             "eps) * _normalize(expand(widened(x2), s), 2, [dim], eps), [dim]), x1, x2)",
   doc="The cosine of the angle between vectors along a dimension.")
op("pairwise_distance(Tensor x1, Tensor x2, float p=2, float eps=1e-06, bool keepdim=False) -> Tensor",
   variants="function", composite="linalg_vector_norm(x1 - x2 + eps, p, [-1], keepdim)",
   doc="The norm of x1 - x2 + eps along the last dimension.")
op("_cosine_margin(Tensor cosine, Tensor target, float margin) -> Tensor",
   variants="function", module="_C",
   composite="where(target == 1, 1 - cosine, 0) + where(target == -1, clamp(cosine - margin, 0), 0)",
   doc="1 - cosine where target is 1, what it is above the margin where target is -1.")
op("cosine_embedding_loss(Tensor input1, Tensor input2, Tensor target, float margin=0.0, int reduction=1)"
   " -> Tensor",
   variants="function",
   composite="_reduced(_cosine_margin(sum(input1 * input2, [-1]) / sqrt((sum(square(input1), [-1]) + 1e-12) * "
             "(sum(square(input2), [-1]) + 1e-12)), target, margin), reduction)",
   doc="1 minus the cosine of two vectors where target is 1, what it is above the margin where it is -1.")
op("_negative_distance(Tensor anchor, Tensor positive, Tensor negative, float p, float eps, bool swap)"
   " -> Tensor",
   variants="function", module="_C",
   composite="minimum(pairwise_distance(anchor, negative, p, eps), pairwise_distance(positive, negative, p, "
             "eps)) if swap else pairwise_distance(anchor, negative, p, eps)",
   doc="The distance to the negative example, with swap that of the nearer one.")
op("triplet_margin_loss(Tensor anchor, Tensor positive, Tensor negative, float margin=1.0, float p=2, "
   "float eps=1e-06, bool swap=False, int reduction=1) -> Tensor",
   variants="function",
   composite="_reduced(clamp(pairwise_distance(anchor, positive, p, eps) - _negative_distance(anchor, "
             "positive, negative, p, eps, swap) + margin, 0), reduction)",
   doc="How far the positive example falls short of being nearer than the negative one by the margin.")
