# Families: defaults for rows that have the same shape rule, and the helpers that formulas call.

family("UNARY", rule="pointwise", promote="SAME", flags="pointwise broadcasts")
family("BINARY", rule="pointwise", promote="SAME", flags="pointwise broadcasts")
family("TERNARY", rule="pointwise", promote="SAME", flags="pointwise broadcasts")
family("COMPARE", rule="pointwise", promote="BOOL", flags="pointwise broadcasts")
family("VIEW", flags="view")
family("FACTORY", flags="factory")
family("REDUCE", rule="reduce")
family("RANDOM", flags="random")

# Sizes and dims.
helper("permutation_inverse(int[] dims) -> int[]")

# Pointwise gradients.
helper("conj_number(Scalar x) -> Scalar")
helper("pow_backward_self(Tensor grad, Operand self, Operand exponent) -> Tensor")
helper("pow_backward_exponent(Tensor grad, Operand self, Operand exponent, Tensor result) -> Tensor")
helper("sgn_backward(Tensor self, Tensor grad, Tensor result) -> Tensor")
helper("tie_weight(Tensor self, Tensor other, Tensor wins) -> Tensor")  # 1 where it wins, 1/2 where equal

# Creation and views.
helper("polar_backward(Tensor grad, Tensor result) -> (Tensor, Tensor)")
helper("imag_backward(Tensor grad) -> Tensor")
helper("angle_backward(Tensor grad, Tensor self) -> Tensor")
helper("as_strided_backward(Tensor grad, Tensor self, int[] size, int[] stride, int? offset) -> Tensor")
helper("flattened_sizes(int[] sizes, int start_dim, int end_dim) -> int[]")
helper("unflattened_sizes(int[] sizes, int dim, int[] parts) -> int[]")
helper("movedim_order(int ndim, int[] source, int[] destination) -> int[]")
helper("sum_to_like(Tensor grad, Tensor like) -> Tensor")

# Joining.
helper("cat_backward(Tensor grad, Tensor[] tensors, int dim) -> Tensor[]")
helper("stack_backward(Tensor grad, Tensor[] tensors, int dim) -> Tensor[]")
