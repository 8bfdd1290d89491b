# Losses. `reduction` is 0 (none), 1 (mean) or 2 (sum); the functions of nn.functional name it.

op("_reduced(Tensor loss, int reduction) -> Tensor",
   variants="function", module="_C",
   composite="loss if reduction == 0 else (mean(loss) if reduction == 1 else sum(loss))",
   doc="The loss itself, its mean or its sum.")

op("nll_loss_forward(Tensor self, Tensor target, Tensor? weight, int reduction, int ignore_index)"
   " -> (Tensor output, Tensor total_weight)",
   variants="function", module="_C", rule="nll_loss_forward", kernel="nll_loss_forward",
   dtypes="float", nondiff="total_weight",
   grad={"self": "nll_loss_backward(grad, self.shape, target, weight, reduction, ignore_index, "
                 "total_weight)"},
   doc="nll_loss, and the sum of the weights of the targets.")
op("nll_loss_backward(Tensor grad_output, int[] size, Tensor target, Tensor? weight, int reduction, "
   "int ignore_index, Tensor total_weight) -> Tensor",
   variants="function", module="_C", rule="nll_loss_backward", kernel="nll_loss_backward",
   dtypes="float",
   grad={"grad_output": "nll_loss_nd(grad, target, weight, reduction, ignore_index)"},
   doc="The gradient of nll_loss.")
op("nll_loss_nd(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, "
   "int ignore_index=-100) -> Tensor",
   variants="function", module="_C",
   composite="nll_loss_forward(self, target, weight, reduction, ignore_index)[0]",
   doc="The negated log probabilities of the target classes; classes are dim 1 (dim 0 of a vector).")
op("cross_entropy_loss(Tensor self, Tensor target, Tensor? weight=None, int reduction=1, "
   "int ignore_index=-100, float label_smoothing=0.0) -> Tensor",
   variants="function", module="_C", composite="c:cross_entropy_loss",
   doc="nll_loss of log_softmax; targets are classes or probabilities of classes.")

op("mse_loss(Tensor self, Tensor target, int reduction=1) -> Tensor",
   variants="function", module="_C", composite="_reduced(square(self - target), reduction)",
   doc="The squared differences.")
op("l1_loss(Tensor self, Tensor target, int reduction=1) -> Tensor",
   variants="function", module="_C", composite="_reduced(abs(self - target), reduction)",
   doc="The absolute differences.")
op("smooth_l1_loss(Tensor self, Tensor target, int reduction=1, float beta=1.0) -> Tensor",
   variants="function", module="_C",
   composite="_reduced(abs(self - target) if beta == 0 else where((d := abs(self - target)) < beta, "
             "square(d) * (0.5 / beta), d - 0.5 * beta), reduction)",
   doc="Squared differences where they are small, absolute ones beyond beta.")
op("huber_loss(Tensor self, Tensor target, int reduction=1, float delta=1.0) -> Tensor",
   variants="function", module="_C",
   composite="_reduced(where((d := abs(self - target)) <= delta, square(d) * 0.5, "
             "(d - 0.5 * delta) * delta), reduction)",
   doc="Squared differences where they are small, absolute ones beyond delta.")
op("binary_cross_entropy(Tensor self, Tensor target, Tensor? weight=None, int reduction=1) -> Tensor",
   variants="function", module="_C", composite="c:binary_cross_entropy",
   doc="The cross entropy of probabilities and targets between 0 and 1.")
op("binary_cross_entropy_with_logits(Tensor self, Tensor target, Tensor? weight=None, "
   "Tensor? pos_weight=None, int reduction=1) -> Tensor",
   variants="function", composite="c:binary_cross_entropy_with_logits",
   doc="binary_cross_entropy of sigmoid(self), without overflow.")
op("kl_div(Tensor self, Tensor target, int reduction=1, *, bool log_target=False) -> Tensor",
   variants="function",
   composite="_reduced(exp(target) * (target - self) if log_target "
             "else xlogy(target, target) - target * self, reduction)",
   doc="The Kullback-Leibler divergence; self holds log probabilities.")
op("soft_margin_loss(Tensor self, Tensor target, int reduction=1) -> Tensor",
   variants="function", module="_C",
   composite="_reduced(log1p(exp(neg(target * self))), reduction)",
   doc="log(1 + exp(-target * self)).")
op("hinge_embedding_loss(Tensor self, Tensor target, float margin=1.0, int reduction=1) -> Tensor",
   variants="function",
   composite="_reduced(where(target != 1, relu(margin - self), 0) + where(target != -1, self, 0), "
             "reduction)",
   doc="The distance where target is 1, how far it falls short of the margin where it is -1.")
op("margin_ranking_loss(Tensor input1, Tensor input2, Tensor target, float margin=0.0, "
   "int reduction=1) -> Tensor",
   variants="function",
   composite="_reduced(relu(neg(target * (input1 - input2)) + margin), reduction)",
   doc="How far input1 falls short of ranking above input2 by the margin.")
op("poisson_nll_loss(Tensor input, Tensor target, bool log_input, bool full, float eps, "
   "int reduction) -> Tensor",
   variants="function", composite="c:poisson_nll_loss",
   doc="The negative log likelihood of Poisson distributed targets.")
op("cosine_similarity(Tensor x1, Tensor x2, int dim=1, float eps=1e-08) -> Tensor",
   variants="function", composite="c:cosine_similarity",
   doc="The cosine of the angle between vectors along a dimension.")
