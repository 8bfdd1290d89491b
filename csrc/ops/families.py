# Families: defaults for rows that have the same shape rule, and the helpers that formulas call.

family("UNARY", rule="pointwise", promote="SAME", flags="broadcasts")
family("BINARY", rule="pointwise", promote="SAME", flags="broadcasts")
family("TERNARY", rule="pointwise", promote="SAME", flags="broadcasts")
family("COMPARE", rule="pointwise", promote="BOOL", flags="broadcasts")
family("VIEW", flags="view", linear="self", batch="dims")
family("FACTORY", flags="factory")
family("REDUCE", rule="reduce")
family("RANDOM", flags="random")

# Operators in formulas: what is tried, in order, when an operand is a tensor.
operators({
    "a + b": "add(a, b)",
    "a - b": "sub(a, b)",
    "a * b": "mul(a, b)",
    "a / b": "div(a, b)",
    "a // b": "floor_divide(a, b)",
    "a % b": "remainder(a, b)",
    "a ** b": "pow(a, b)",
    "a @ b": "matmul(a, b)",
    "a & b": "bitwise_and(a, b)",
    "a | b": "bitwise_or(a, b)",
    "a ^ b": "bitwise_xor(a, b)",
    "a << b": "bitwise_left_shift(a, b)",
    "a >> b": "bitwise_right_shift(a, b)",
    "a == b": "eq(a, b)",
    "a != b": "ne(a, b)",
    "a < b": "lt(a, b)",
    "a <= b": "le(a, b)",
    "a > b": "gt(a, b)",
    "a >= b": "ge(a, b)",
    "-a": "neg(a)",
    "~a": "bitwise_not(a)",
})

# Functions of kernels/scalar.h whose result is not of the compute dtype.
scalar_results(
    real="fx_abs fx_angle fx_real fx_imag",
    bool="fx_eq fx_ne fx_true fx_isnan fx_isinf fx_isfinite fx_isreal fx_signbit",
)

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
