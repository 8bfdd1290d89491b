# Pointwise operators: arithmetic, powers and exponentials, trigonometry, rounding, comparison, logic
# and bits, selection.

# --- arithmetic -------------------------------------------------------------------------------------

op("add(Operand self, Operand other, *, Scalar alpha=1) -> Tensor",
   variants="function method inplace out", family=BINARY, rule="pointwise_alpha",
   scalar={"bool": "a | (b & alpha)", "int float complex": "a + alpha * b"},
   fast={"alpha == 1": {"bool": "a | b", "int float complex": "a + b"}},
   grad={"self": "grad", "other": "grad if alpha == 1 else grad * conj_number(alpha)"},
   like="numpy.add",
   doc="self + alpha * other, elementwise.")

op("sub(Operand self, Operand other, *, Scalar alpha=1) -> Tensor",
   variants="function method inplace out", family=BINARY, rule="pointwise_sub",
   scalar={"int float complex": "a - alpha * b"},
   fast={"alpha == 1": "a - b"},
   grad={"self": "grad", "other": "-grad if alpha == 1 else grad * -conj_number(alpha)"},
   like="numpy.subtract",
   doc="self - alpha * other, elementwise. Bools are refused: use logical_xor or ~.")

op("rsub(Operand self, Operand other, *, Scalar alpha=1) -> Tensor",
   variants="function", family=BINARY, rule="pointwise_sub",
   scalar={"int float complex": "b - alpha * a"},
   fast={"alpha == 1": "b - a"},
   grad={"self": "-grad if alpha == 1 else grad * -conj_number(alpha)", "other": "grad"},
   doc="other - alpha * self, elementwise.")

op("mul(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=BINARY,
   scalar={"bool": "a & b", "int float complex": "a * b"},
   grad={"self": "grad * conj(other)", "other": "grad * conj(self)"},
   like="numpy.multiply",
   doc="self * other, elementwise.")

op("div(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=BINARY, promote="FLOAT",
   scalar={"float complex": "a / b"},
   grad={"self": "grad / conj(other)", "other": "-grad * conj(result / other)"},
   like="numpy.true_divide",
   doc="self / other, elementwise; integers are divided as floats.")

op("div.mode(Operand self, Operand other, *, str? rounding_mode) -> Tensor",
   variants="function method inplace out", composite="c:div_mode", grad=None,
   doc="self / other, rounded towards zero (\"trunc\") or down (\"floor\").")

op("_div_trunc(Operand self, Operand other) -> Tensor",
   variants="function", module="_C", family=BINARY,
   scalar={"int float": "fx_div_trunc(a, b)"}, host_kernel="division",
   grad={"self": "zeros_like(grad)", "other": "zeros_like(grad)"},
   doc="The quotient without its fraction.")

op("floor_divide(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=BINARY, host_kernel="division",
   scalar={"int float": "fx_floor_divide(a, b)"},
   grad={"self": "zeros_like(grad)", "other": "zeros_like(grad)"},
   like="numpy.floor_divide",
   doc="The quotient rounded down.")

op("remainder(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=BINARY, host_kernel="division",
   scalar={"int float": "fx_remainder(a, b)"},
   grad={"self": "grad", "other": "-grad * floor_divide(self, other)"},
   like="numpy.remainder",
   doc="The remainder of division with the sign of the divisor.")

op("fmod(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=BINARY, host_kernel="division",
   scalar={"int float": "fx_fmod(a, b)"},
   grad={"self": "grad", "other": "-grad * _div_trunc(self, other)"},
   like="numpy.fmod",
   doc="The remainder of division with the sign of the dividend.")

op("neg(Tensor self) -> Tensor",
   variants="function method inplace out", flags="broadcasts tame", family=UNARY, rule="pointwise_neg",
   scalar={"int float complex": "-a"},
   grad={"self": "-grad"}, like="numpy.negative",
   doc="-self, elementwise.")

op("positive(Tensor(a) self) -> Tensor(a)",
   variants="function method", family=VIEW, rule="positive", batch="dims",
   grad={"self": "grad"}, like="numpy.positive",
   doc="self itself; bools are refused.")

op("reciprocal(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "1 / a"},
   grad={"self": "-grad * conj(result * result)"}, like="numpy.reciprocal",
   doc="1 / self, elementwise.")

op("abs(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="REAL",
   scalar={"int float complex": "fx_abs(a)"},
   grad={"self": "grad * sgn(self)"}, like="numpy.abs",
   doc="The absolute value, elementwise; of complex numbers their modulus.")

op("sign(Tensor self) -> Tensor",
   variants="function method inplace out", flags="broadcasts tame", family=UNARY,
   scalar={"bool": "a", "int float": "fx_sign(a)"},
   grad={"self": "zeros_like(grad)"}, like="numpy.sign",
   doc="-1, 0 or 1 by the sign of each element.")

op("sgn(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY,
   scalar={"bool": "a", "int float complex": "fx_sgn(a)"},
   grad={"self": "sgn_backward(self, grad, result) if is_complex(self) else zeros_like(grad)"},
   doc="The sign; of complex numbers self / abs(self).")

op("square(Tensor self) -> Tensor",
   variants="function method inplace out", composite="pow(self, 2)", like="numpy.square",
   doc="self * self, elementwise.")

op("addcmul(Tensor self, Operand tensor1, Operand tensor2, *, Scalar value=1) -> Tensor",
   variants="function method inplace out", family=TERNARY,
   scalar={"int float complex": "a + value * b * c"},
   grad={"self": "grad", "tensor1": "grad * conj(tensor2 * value)",
         "tensor2": "grad * conj(tensor1 * value)"},
   doc="self + value * tensor1 * tensor2, elementwise.")

op("addcdiv(Tensor self, Operand tensor1, Operand tensor2, *, Scalar value=1) -> Tensor",
   variants="function method inplace out", family=TERNARY,
   scalar={"float complex": "a + value * b / c"},
   grad={"self": "grad", "tensor1": "grad * conj(value / tensor2)",
         "tensor2": "-grad * conj(value * tensor1 / (tensor2 * tensor2))"},
   doc="self + value * tensor1 / tensor2, elementwise.")

op("lerp(Tensor self, Tensor end, Operand weight) -> Tensor",
   variants="function method inplace out", family=TERNARY, rule="pointwise_lerp",
   scalar={"float complex": "fx_lerp(a, b, c)"},
   grad={"self": "grad * conj(1 - weight)", "end": "grad * conj(weight)",
         "weight": "grad * conj(end - self)"},
   doc="self + weight * (end - self), elementwise.")

# --- powers and exponentials -----------------------------------------------------------------------

op("pow(Operand self, Operand exponent) -> Tensor",
   variants="function method inplace out", family=BINARY, rule="pointwise_pow",
   scalar={"bool int complex": "fx_pow(a, b)",
           "float": "a * a if b == 2 else a * a * a if b == 3 else fx_pow(a, b)"},
   fast={"fx_only(b, 2)": {"float": "a * a"}, "fx_only(b, 3)": {"float": "a * a * a"},
         "fx_only(b, 1)": {"float": "a"}},
   grad={"self": "pow_backward_self(grad, self, exponent)",
         "exponent": "pow_backward_exponent(grad, self, exponent, result)"},
   like="numpy.power",
   doc="self ** exponent, elementwise.")

op("float_power(Operand self, Operand exponent) -> Tensor",
   variants="function method inplace out", composite="c:float_power", like="numpy.float_power",
   doc="self ** exponent in double precision.")

op("sqrt(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_sqrt(a)"},
   grad={"self": "grad / (2 * conj(result))"}, like="numpy.sqrt",
   doc="The square root, elementwise.")

op("rsqrt(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_rsqrt(a)"},
   grad={"self": "-0.5 * grad * conj(result * result * result)"},
   doc="1 / sqrt(self), elementwise.")

op("exp(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_exp(a)"},
   grad={"self": "grad * conj(result)"}, like="numpy.exp",
   doc="e ** self, elementwise.")

op("exp2(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_exp2(a)"},
   grad={"self": "grad * conj(result) * 0.6931471805599453"}, like="numpy.exp2",
   doc="2 ** self, elementwise.")

op("expm1(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_expm1(a)"},
   grad={"self": "grad * conj(result + 1)"}, like="numpy.expm1",
   doc="exp(self) - 1, accurate near 0.")

op("log(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_log(a)"},
   grad={"self": "grad / conj(self)"}, like="numpy.log",
   doc="The natural logarithm, elementwise.")

op("log2(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_log2(a)"},
   grad={"self": "grad / (conj(self) * 0.6931471805599453)"}, like="numpy.log2",
   doc="The logarithm to base 2, elementwise.")

op("log10(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_log10(a)"},
   grad={"self": "grad / (conj(self) * 2.302585092994046)"}, like="numpy.log10",
   doc="The logarithm to base 10, elementwise.")

op("log1p(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_log1p(a)"},
   grad={"self": "grad / conj(self + 1)"}, like="numpy.log1p",
   doc="log(1 + self), accurate near 0.")

op("logaddexp(Tensor self, Tensor other) -> Tensor",
   variants="function method out", family=BINARY,
   scalar={"float": "fx_logaddexp(a, b)", "complex": "fx_logaddexp(a, b)"},
   grad={"self": "grad / conj(1 + exp(other - self))", "other": "grad / conj(1 + exp(self - other))"},
   like="numpy.logaddexp",
   doc="log(exp(self) + exp(other)), without overflow.")

op("logaddexp2(Tensor self, Tensor other) -> Tensor",
   variants="function method out", family=BINARY,
   scalar={"float": "fx_logaddexp2(a, b)"},
   grad={"self": "grad / (1 + exp2(other - self))", "other": "grad / (1 + exp2(self - other))"},
   like="numpy.logaddexp2",
   doc="log2(2 ** self + 2 ** other), without overflow.")

op("xlogy(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=BINARY, promote="FLOAT",
   scalar={"float": "fx_xlogy(a, b)"},
   grad={"self": "grad * masked_fill(log(other), (self == 0) & (other <= 0), 0.0)",
         "other": "grad * self / other"},
   like="scipy.special.xlogy",
   doc="self * log(other), and 0 where self is 0.")

op("sigmoid(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_sigmoid(a)"},
   grad={"self": "sigmoid_backward(grad, result)"}, like="scipy.special.expit",
   doc="1 / (1 + exp(-self)), elementwise.")

op("sigmoid_backward(Tensor grad_output, Tensor output) -> Tensor",
   variants="function out", module="_C", family=BINARY,
   scalar={"float": "a * (1 - b) * b", "complex": "fx_sigmoid_backward(a, b)"},
   grad={"grad_output": "sigmoid_backward(grad, conj(output))",
         "output": "conj(grad) * grad_output * conj(1 - 2 * output)"},
   doc="The gradient of sigmoid from its result.")

op("logit(Tensor self, float? eps=None) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float": "fx_logit(a, eps)"},
   grad={"self": "logit_backward(grad, self, eps)"}, like="scipy.special.logit",
   doc="log(self / (1 - self)), with self clamped to [eps, 1 - eps] if eps is given.")

op("logit_backward(Tensor grad_output, Tensor self, float? eps=None) -> Tensor",
   variants="function out", module="_C", family=BINARY,
   scalar={"float": "fx_logit_backward(a, b, eps)"},
   grad={"grad_output": "logit_backward(grad, self, eps)",
         "self": "grad * grad_output * logit_backward_slope(self, eps)"},
   doc="The gradient of logit.")

op("logit_backward_slope(Tensor self, float? eps=None) -> Tensor",
   variants="function", module="_C", family=UNARY,
   scalar={"float": "fx_logit_slope(a, eps)"}, grad=None,
   doc="The second derivative of logit.")

# --- trigonometry -----------------------------------------------------------------------------------

op("sin(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float": "fx_sin_far(a)", "complex": "fx_sin(a)"},
   fast={"fx_near(a)": {"float": "fx_sin(a)"}},
   grad={"self": "grad * conj(cos(self))"}, like="numpy.sin", doc="The sine, elementwise.")

op("cos(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float": "fx_cos_far(a)", "complex": "fx_cos(a)"},
   fast={"fx_near(a)": {"float": "fx_cos(a)"}},
   grad={"self": "-grad * conj(sin(self))"}, like="numpy.cos", doc="The cosine, elementwise.")

op("tan(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float": "fx_tan_far(a)", "complex": "fx_tan(a)"},
   fast={"fx_near(a)": {"float": "fx_tan(a)"}},
   grad={"self": "grad * conj(1 + result * result)"}, like="numpy.tan", doc="The tangent, elementwise.")

op("asin(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_asin(a)"},
   grad={"self": "grad * conj(rsqrt(1 - self * self))"}, like="numpy.arcsin",
   doc="The inverse sine, elementwise.")

op("acos(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_acos(a)"},
   grad={"self": "-grad * conj(rsqrt(1 - self * self))"}, like="numpy.arccos",
   doc="The inverse cosine, elementwise.")

op("atan(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_atan(a)"},
   grad={"self": "grad / conj(self * self + 1)"}, like="numpy.arctan",
   doc="The inverse tangent, elementwise.")

op("atan2(Tensor self, Operand other) -> Tensor",
   variants="function method inplace out", family=BINARY, promote="FLOAT",
   scalar={"float": "fx_atan2(a, b)"},
   grad={"self": "grad * atan2_slope(other, self, other)",
         "other": "-grad * atan2_slope(self, self, other)"},
   like="numpy.arctan2",
   doc="The angle of the point (other, self).")

op("atan2_slope(Tensor self, Tensor y, Tensor x) -> Tensor",
   variants="function", module="_C", composite="masked_fill(self / (y * y + x * x), (y == 0) & (x == 0), 0.0)",
   doc="self / (y * y + x * x), and 0 at the origin.")

op("sinh(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_sinh(a)"},
   grad={"self": "grad * conj(cosh(self))"}, like="numpy.sinh", doc="The hyperbolic sine.")

op("cosh(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_cosh(a)"},
   grad={"self": "grad * conj(sinh(self))"}, like="numpy.cosh", doc="The hyperbolic cosine.")

op("tanh(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_tanh(a)"},
   grad={"self": "tanh_backward(grad, result)"}, like="numpy.tanh", doc="The hyperbolic tangent.")

op("tanh_backward(Tensor grad_output, Tensor output) -> Tensor",
   variants="function out", module="_C", family=BINARY,
   scalar={"float": "a * (1 - b * b)", "complex": "fx_tanh_backward(a, b)"},
   grad={"grad_output": "tanh_backward(grad, conj(output))",
         "output": "conj(grad) * grad_output * conj(-2 * output)"},
   doc="The gradient of tanh from its result.")

op("asinh(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_asinh(a)"},
   grad={"self": "grad * conj(rsqrt(self * self + 1))"}, like="numpy.arcsinh",
   doc="The inverse hyperbolic sine.")

op("acosh(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_acosh(a)"},
   grad={"self": "grad * conj(rsqrt(self - 1) * rsqrt(self + 1))"}, like="numpy.arccosh",
   doc="The inverse hyperbolic cosine.")

op("atanh(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_atanh(a)"},
   grad={"self": "grad / conj(1 - self * self)"}, like="numpy.arctanh",
   doc="The inverse hyperbolic tangent.")

op("hypot(Tensor self, Tensor other) -> Tensor",
   variants="function method inplace out", family=BINARY,
   scalar={"float": "fx_hypot(a, b)"},
   grad={"self": "grad * (self / result)", "other": "grad * (other / result)"},
   like="numpy.hypot",
   doc="sqrt(self ** 2 + other ** 2), without overflow.")

op("sinc(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float complex": "fx_sinc(a)"},
   grad={"self": "sinc_backward(grad, self)"}, like="numpy.sinc",
   doc="sin(pi * self) / (pi * self), and 1 at 0.")

op("sinc_backward(Tensor grad, Tensor self) -> Tensor",
   variants="function", module="_C",
   composite="grad * conj(masked_fill((cos(p := self * 3.141592653589793) * p - sin(p)) / (p * self), self == 0, 0.0))",
   doc="The gradient of sinc.")

op("deg2rad(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float": "a * 0.017453292519943295"},
   grad={"self": "grad * 0.017453292519943295"}, like="numpy.deg2rad", doc="Degrees to radians.")

op("rad2deg(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float": "a * 57.29577951308232"},
   grad={"self": "grad * 57.29577951308232"}, like="numpy.rad2deg", doc="Radians to degrees.")

# --- error and gamma functions -----------------------------------------------------------------------

op("erf(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float": "fx_erf(a)"},
   grad={"self": "1.1283791670955126 * exp(-(self * self)) * grad"}, like="scipy.special.erf",
   doc="The error function.")

op("erfc(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float": "fx_erfc(a)"},
   grad={"self": "-1.1283791670955126 * exp(-(self * self)) * grad"}, like="scipy.special.erfc",
   doc="1 - erf(self), accurate for large self.")

op("erfinv(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float": "fx_erfinv(a)"},
   grad={"self": "0.8862269254527579 * exp(result * result) * grad"}, like="scipy.special.erfinv",
   doc="The inverse of erf on (-1, 1).")

op("lgamma(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float": "fx_lgamma(a)"},
   grad={"self": "grad * digamma(self)"}, like="scipy.special.gammaln",
   doc="The logarithm of the absolute value of the gamma function.")

op("digamma(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY, promote="FLOAT",
   scalar={"float": "fx_digamma(a)"},
   grad={"self": "grad * _polygamma(self, 1)"}, like="scipy.special.psi",
   doc="The derivative of lgamma.")

op("polygamma(int n, Tensor self) -> Tensor",
   variants="function method out", composite="_polygamma(self, n)", like="scipy.special.polygamma",
   doc="The n-th derivative of digamma.")

op("polygamma_(Tensor(a!) self, int n) -> Tensor(a!)",
   variants="method", composite="_polygamma_(self, n)",
   doc="polygamma(n, self), in place.")

op("_polygamma(Tensor self, int n) -> Tensor",
   variants="function inplace", module="_C", family=UNARY, promote="FLOAT", rule="polygamma",
   scalar={"float": "fx_polygamma(a, n)"},
   grad={"self": "grad * _polygamma(self, n + 1)"},
   doc="The n-th derivative of digamma.")

# --- rounding -----------------------------------------------------------------------------------------

op("floor(Tensor self) -> Tensor",
   variants="function method inplace out", flags="broadcasts tame", family=UNARY,
   scalar={"int": "a", "float": "fx_floor(a)"}, grad={"self": "zeros_like(grad)"},
   like="numpy.floor", doc="The largest integer not above each element.")

op("ceil(Tensor self) -> Tensor",
   variants="function method inplace out", flags="broadcasts tame", family=UNARY,
   scalar={"int": "a", "float": "fx_ceil(a)"}, grad={"self": "zeros_like(grad)"},
   like="numpy.ceil", doc="The smallest integer not below each element.")

op("trunc(Tensor self) -> Tensor",
   variants="function method inplace out", flags="broadcasts tame", family=UNARY,
   scalar={"int": "a", "float": "fx_trunc(a)"}, grad={"self": "zeros_like(grad)"},
   like="numpy.trunc", doc="Each element without its fraction.")

op("round(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY,
   scalar={"int": "a", "float": "fx_round(a)"}, grad={"self": "zeros_like(grad)"},
   like="numpy.round", doc="The nearest integer, halves to even.")

op("round.decimals(Tensor self, *, int decimals) -> Tensor",
   variants="function method inplace out", family=UNARY,
   scalar={"float": "fx_round_decimals(a, decimals)"}, grad={"self": "zeros_like(grad)"},
   doc="Rounded to a number of decimals, negative ones left of the point.")

op("frac(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY,
   scalar={"float": "a - fx_trunc(a)"}, grad={"self": "grad"}, doc="The fraction of each element.")

# --- comparison -----------------------------------------------------------------------------------------

op("eq(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=COMPARE,
   scalar={"bool int float": "a == b", "complex": "fx_eq(a, b)"}, like="numpy.equal",
   doc="self == other, elementwise.")

op("ne(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=COMPARE,
   scalar={"bool int float": "a != b", "complex": "fx_ne(a, b)"}, like="numpy.not_equal",
   doc="self != other, elementwise.")

op("lt(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=COMPARE,
   scalar={"bool int float": "a < b"}, like="numpy.less", doc="self < other, elementwise.")

op("le(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=COMPARE,
   scalar={"bool int float": "a <= b"}, like="numpy.less_equal", doc="self <= other, elementwise.")

op("gt(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=COMPARE,
   scalar={"bool int float": "a > b"}, like="numpy.greater", doc="self > other, elementwise.")

op("ge(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=COMPARE,
   scalar={"bool int float": "a >= b"}, like="numpy.greater_equal", doc="self >= other, elementwise.")

op("isnan(Tensor self) -> Tensor",
   variants="function method", family=COMPARE,
   scalar={"bool int": "0", "float complex": "fx_isnan(a)"}, like="numpy.isnan",
   doc="Whether each element is not a number.")

op("isinf(Tensor self) -> Tensor",
   variants="function method", family=COMPARE,
   scalar={"bool int": "0", "float complex": "fx_isinf(a)"}, like="numpy.isinf",
   doc="Whether each element is infinite.")

op("isfinite(Tensor self) -> Tensor",
   variants="function method", family=COMPARE,
   scalar={"bool int": "1", "float complex": "fx_isfinite(a)"}, like="numpy.isfinite",
   doc="Whether each element is finite.")

op("isposinf(Tensor self) -> Tensor",
   variants="function method out", family=COMPARE,
   scalar={"bool int": "0", "float": "fx_isinf(a) and a > 0"}, like="numpy.isposinf",
   doc="Whether each element is positive infinity.")

op("isneginf(Tensor self) -> Tensor",
   variants="function method out", family=COMPARE,
   scalar={"bool int": "0", "float": "fx_isinf(a) and a < 0"}, like="numpy.isneginf",
   doc="Whether each element is negative infinity.")

op("signbit(Tensor self) -> Tensor",
   variants="function method out", family=COMPARE,
   scalar={"bool unsigned": "0", "signed": "a < 0", "float": "fx_signbit(a)"}, like="numpy.signbit",
   doc="Whether the sign bit of each element is set.")

op("isreal(Tensor self) -> Tensor",
   variants="function method", family=COMPARE,
   scalar={"bool int float": "1", "complex": "fx_isreal(a)"}, like="numpy.isreal",
   doc="Whether the imaginary part of each element is 0.")

op("isclose(Tensor self, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False) -> Tensor",
   variants="function method", composite="c:isclose", like="numpy.isclose",
   doc="Whether |self - other| <= atol + rtol * |other|, elementwise.")

# --- logic and bits ----------------------------------------------------------------------------------------

op("logical_and(Tensor self, Tensor other) -> Tensor",
   variants="function method inplace out", family=COMPARE,
   scalar={"bool int float": "a != 0 and b != 0", "complex": "fx_true(a) and fx_true(b)"},
   like="numpy.logical_and", doc="self and other, elementwise.")

op("logical_or(Tensor self, Tensor other) -> Tensor",
   variants="function method inplace out", family=COMPARE,
   scalar={"bool int float": "a != 0 or b != 0", "complex": "fx_true(a) or fx_true(b)"},
   like="numpy.logical_or", doc="self or other, elementwise.")

op("logical_xor(Tensor self, Tensor other) -> Tensor",
   variants="function method inplace out", family=COMPARE,
   scalar={"bool int float": "(a != 0) != (b != 0)", "complex": "fx_true(a) != fx_true(b)"},
   like="numpy.logical_xor", doc="Whether just one of self and other is true, elementwise.")

op("logical_not(Tensor self) -> Tensor",
   variants="function method inplace out", family=COMPARE,
   scalar={"bool int float": "a == 0", "complex": "not fx_true(a)"},
   like="numpy.logical_not", doc="not self, elementwise.")

op("bitwise_and(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=BINARY,
   scalar={"bool int": "a & b"}, like="numpy.bitwise_and", doc="self & other, elementwise.")

op("bitwise_or(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=BINARY,
   scalar={"bool int": "a | b"}, like="numpy.bitwise_or", doc="self | other, elementwise.")

op("bitwise_xor(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=BINARY,
   scalar={"bool int": "a ^ b"}, like="numpy.bitwise_xor", doc="self ^ other, elementwise.")

op("bitwise_not(Tensor self) -> Tensor",
   variants="function method inplace out", family=UNARY,
   scalar={"bool": "a == 0", "int": "~a"}, like="numpy.invert", doc="~self, elementwise.")

op("bitwise_left_shift(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=BINARY,
   scalar={"int": "fx_shift_left(a, b)"}, like="numpy.left_shift", doc="self << other, elementwise.")

op("bitwise_right_shift(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=BINARY,
   scalar={"int": "fx_shift_right(a, b)"}, like="numpy.right_shift",
   doc="self >> other, elementwise, keeping the sign.")

op("gcd(Tensor self, Tensor other) -> Tensor",
   variants="function method inplace out", family=BINARY,
   scalar={"int": "fx_gcd(a, b)"}, like="numpy.gcd", doc="The greatest common divisor.")

op("lcm(Tensor self, Tensor other) -> Tensor",
   variants="function method inplace out", family=BINARY,
   scalar={"int": "fx_lcm(a, b)"}, like="numpy.lcm", doc="The least common multiple.")

# --- selection --------------------------------------------------------------------------------------------

op("maximum(Tensor self, Tensor other) -> Tensor",
   variants="function method out", family=BINARY,
   scalar={"bool": "a | b", "int float": "fx_max(a, b)"},
   grad={"self": "grad * tie_weight(self, other, gt(self, other))",
         "other": "grad * tie_weight(self, other, lt(self, other))"},
   like="numpy.maximum", doc="The larger of two elements; NaN if either is.")

op("minimum(Tensor self, Tensor other) -> Tensor",
   variants="function method out", family=BINARY,
   scalar={"bool": "a & b", "int float": "fx_min(a, b)"},
   grad={"self": "grad * tie_weight(self, other, lt(self, other))",
         "other": "grad * tie_weight(self, other, gt(self, other))"},
   like="numpy.minimum", doc="The smaller of two elements; NaN if either is.")

op("fmax(Tensor self, Tensor other) -> Tensor",
   variants="function method out", family=BINARY,
   scalar={"bool": "a | b", "int": "fx_max(a, b)", "float": "fx_fmax(a, b)"},
   grad={"self": "masked_fill(grad, logical_not((self >= other) | isnan(other)), 0)",
         "other": "masked_fill(grad, (self >= other) | isnan(other), 0)"},
   like="numpy.fmax", doc="The larger of two elements; the other one if one is NaN.")

op("fmin(Tensor self, Tensor other) -> Tensor",
   variants="function method out", family=BINARY,
   scalar={"bool": "a & b", "int": "fx_min(a, b)", "float": "fx_fmin(a, b)"},
   grad={"self": "masked_fill(grad, logical_not((self <= other) | isnan(other)), 0)",
         "other": "masked_fill(grad, (self <= other) | isnan(other), 0)"},
   like="numpy.fmin", doc="The smaller of two elements; the other one if one is NaN.")

op("clamp(Tensor self, Scalar? min=None, Scalar? max=None) -> Tensor",
   variants="function method inplace out", composite="c:clamp_numbers", grad=None,
   doc="Each element limited to [min, max].")

op("clamp.Tensor(Tensor self, Tensor? min=None, Tensor? max=None) -> Tensor",
   variants="function method inplace out", composite="c:clamp_tensors", grad=None,
   doc="Each element limited to [min, max], which broadcast.")

op("_clamp(Tensor self, Operand min, Operand max) -> Tensor",
   variants="function", module="_C", family=TERNARY,
   scalar={"int float": "fx_clamp(a, b, c)"},
   grad={"self": "where(logical_and(self >= min, self <= max), grad, 0)",
         "min": "where(logical_and(self < min, min < max), grad, 0)",
         "max": "where(logical_or(self > max, min >= max), grad, 0)"},
   doc="Each element limited to [min, max].")

op("_clamp_min(Tensor self, Operand min) -> Tensor",
   variants="function", module="_C", family=BINARY,
   scalar={"bool": "a | b", "int float": "fx_max(a, b)"},
   grad={"self": "where(self >= min, grad, 0)", "min": "where(self < min, grad, 0)"},
   doc="Each element not below min.")

op("_clamp_max(Tensor self, Operand max) -> Tensor",
   variants="function", module="_C", family=BINARY,
   scalar={"bool": "a & b", "int float": "fx_min(a, b)"},
   grad={"self": "where(self <= max, grad, 0)", "max": "where(self > max, grad, 0)"},
   doc="Each element not above max.")

op("where(Tensor condition, Operand self, Operand other) -> Tensor",
   variants="function method out", family=TERNARY, rule="where", kernel="where", batch="pointwise",
   grad={"self": "where(condition, grad, 0)", "other": "where(condition, 0, grad)"},
   like="numpy.where",
   linear="self other", doc="self where the condition is true, else other.")

op("copysign(Operand self, Operand other) -> Tensor",
   variants="function method inplace out", family=BINARY, promote="FLOAT",
   scalar={"float": "fx_copysign(a, b)"},
   grad={"self": "copysign_backward(grad, self, result)", "other": "zeros_like(grad)"},
   like="numpy.copysign", doc="The magnitude of self with the sign of other.")

op("copysign_backward(Tensor grad, Tensor self, Tensor result) -> Tensor",
   variants="function", module="_C",
   composite="masked_fill(grad * (result / self), self == 0, 0.0)",
   doc="The gradient of copysign.")

op("nextafter(Tensor self, Tensor other) -> Tensor",
   variants="function method inplace out", family=BINARY,
   scalar={"float": "fx_nextafter(a, b)"},
   grad={"self": "masked_fill(grad, self == other, 0)", "other": "zeros_like(grad)"},
   like="numpy.nextafter",
   doc="The next representable number after self towards other.")

op("heaviside(Tensor self, Tensor values) -> Tensor",
   variants="function method inplace out", family=BINARY,
   scalar={"bool int float": "fx_heaviside(a, b)"}, grad=None, like="numpy.heaviside",
   doc="0 below 0, 1 above, values at 0.")

op("nan_to_num(Tensor self, float? nan=None, float? posinf=None, float? neginf=None) -> Tensor",
   variants="function method inplace out", composite="c:nan_to_num", like="numpy.nan_to_num",
   doc="NaN and infinities replaced by finite numbers.")

op("_nan_to_num(Tensor self, float nan, float posinf, float neginf) -> Tensor",
   variants="function", module="_C", family=UNARY,
   scalar={"float": "nan if fx_isnan(a) else posinf if fx_isinf(a) and a > 0 else neginf if fx_isinf(a) else a"},
   grad={"self": "where(isfinite(self), grad, 0)"},
   doc="NaN and infinities replaced by the given numbers.")

# --- activations ---------------------------------------------------------------------------------------

op("relu(Tensor self) -> Tensor",
   variants="function method inplace", flags="broadcasts tame", family=UNARY,
   scalar={"int float": "fx_relu(a)"},
   grad={"self": "threshold_backward(grad, result, 0)"},
   doc="max(self, 0), elementwise.")

op("threshold_backward(Tensor grad_output, Tensor self, Scalar threshold) -> Tensor",
   variants="function", flags="broadcasts tame", module="_C", family=BINARY,
   scalar={"int float": "a if b > threshold else 0"},
   grad={"grad_output": "threshold_backward(grad, self, threshold)", "self": "zeros_like(grad)"},
   doc="The gradient of relu and threshold.")

op("threshold(Tensor self, Scalar threshold, Scalar value) -> Tensor",
   variants="function inplace out", family=UNARY,
   scalar={"int float": "value if a <= threshold else a"},
   grad={"self": "threshold_backward(grad, self, threshold)"},
   doc="self above the threshold, value elsewhere.")

op("leaky_relu(Tensor self, Scalar negative_slope=0.01) -> Tensor",
   variants="function inplace out", module="nn.functional", family=UNARY,
   scalar={"float": "a if a > 0 else a * negative_slope"},
   grad={"self": "leaky_relu_backward(grad, self, negative_slope)"},
   doc="self above 0, negative_slope * self below.")

op("leaky_relu_backward(Tensor grad_output, Tensor self, Scalar negative_slope) -> Tensor",
   variants="function", module="_C", family=BINARY,
   scalar={"float": "a if b > 0 else a * negative_slope"},
   grad={"grad_output": "leaky_relu_backward(grad, self, negative_slope)", "self": "zeros_like(grad)"},
   doc="The gradient of leaky_relu.")

op("elu(Tensor self, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1) -> Tensor",
   variants="function inplace out", module="nn.functional", family=UNARY,
   scalar={"float": "a * scale if a > 0 else alpha * scale * fx_expm1(a * input_scale)"},
   grad={"self": "elu_backward(grad, self, alpha, scale, input_scale)"},
   doc="self above 0, alpha * (exp(self) - 1) below.")

op("elu_backward(Tensor grad_output, Tensor self, Scalar alpha, Scalar scale, Scalar input_scale) -> Tensor",
   variants="function", module="_C", family=BINARY,
   scalar={"float": "a * scale if b > 0 else a * alpha * scale * input_scale * fx_exp(b * input_scale)"},
   grad={"grad_output": "elu_backward(grad, self, alpha, scale, input_scale)",
         "self": "where(self > 0, 0, grad * grad_output * exp(self * input_scale) * (alpha * scale * input_scale * input_scale))"},
   doc="The gradient of elu.")

op("gelu(Tensor self, *, str approximate=\"none\") -> Tensor",
   variants="function out", module="nn.functional", composite="c:gelu", grad=None,
   doc="self times the normal distribution function of self; \"tanh\" for the approximation.")

op("_gelu_erf(Tensor self) -> Tensor",
   variants="function", module="_C", family=UNARY,
   scalar={"float": "fx_gelu(a)"},
   grad={"self": "_gelu_erf_backward(grad, self)"}, doc="gelu, exactly.")

op("_gelu_erf_backward(Tensor grad_output, Tensor self) -> Tensor",
   variants="function", module="_C", family=BINARY,
   scalar={"float": "fx_gelu_backward(a, b)"},
   grad={"grad_output": "_gelu_erf_backward(grad, self)",
         "self": "grad * grad_output * 0.3989422804014327 * exp(self * self * -0.5) * (2 - self * self)"},
   doc="The gradient of gelu.")

op("_gelu_tanh(Tensor self) -> Tensor",
   variants="function", module="_C", family=UNARY,
   scalar={"float": "fx_gelu_tanh(a)"},
   grad={"self": "_gelu_tanh_backward(grad, self)"}, doc="gelu by its tanh approximation.")

op("_gelu_tanh_backward(Tensor grad_output, Tensor self) -> Tensor",
   variants="function", module="_C", family=BINARY,
   scalar={"float": "fx_gelu_tanh_backward(a, b)"},
   grad={"grad_output": "_gelu_tanh_backward(grad, self)",
         "self": "grad * grad_output * gelu_tanh_curvature(widened(self))"},
   doc="The gradient of gelu's tanh approximation.")

op("gelu_tanh_curvature(Tensor self) -> Tensor",
   variants="function", module="_C",
   composite="(1 - (t := tanh(self * (0.7978845608028654 + 0.035677408136300125 * (x2 := self * self)))) * t)"
             " * ((d := 0.7978845608028654 + 0.10703222440890037 * x2)"
             " + 0.5 * self * (0.21406444881780075 * self - 2 * t * d * d))",
   doc="The second derivative of gelu's tanh approximation.")

op("silu(Tensor self) -> Tensor",
   variants="function inplace out", module="nn.functional", family=UNARY,
   scalar={"float": "a * fx_sigmoid(a)", "complex": "fx_silu(a)"},
   grad={"self": "silu_backward(grad, self)"}, doc="self * sigmoid(self).")

op("silu_backward(Tensor grad_output, Tensor self) -> Tensor",
   variants="function", module="_C",
   composite="grad_output * conj((s := sigmoid(self)) * (1 + self * (1 - s)))",
   doc="The gradient of silu.")

op("softplus(Tensor self, Scalar beta=1, Scalar threshold=20) -> Tensor",
   variants="function out", module="nn.functional", family=UNARY,
   scalar={"float": "a if a * beta > threshold else fx_softplus(a * beta) / beta"},
   grad={"self": "softplus_backward(grad, self, beta, threshold)"},
   doc="log(1 + exp(beta * self)) / beta.")

op("softplus_backward(Tensor grad_output, Tensor self, Scalar beta, Scalar threshold) -> Tensor",
   variants="function", module="_C", family=BINARY,
   scalar={"float": "a if b * beta > threshold else a * fx_sigmoid(b * beta)"},
   grad={"grad_output": "softplus_backward(grad, self, beta, threshold)",
         "self": "where(self * beta > threshold, 0, grad * grad_output * beta * sigmoid(self * beta) * sigmoid(self * -beta))"},
   doc="The gradient of softplus.")

op("hardtanh(Tensor self, Scalar min_val=-1, Scalar max_val=1) -> Tensor",
   variants="function inplace out", module="nn.functional", family=UNARY,
   scalar={"int float": "fx_clamp(a, min_val, max_val)"},
   grad={"self": "where(logical_or(self <= min_val, self >= max_val), 0, grad)"},
   doc="self limited to [min_val, max_val].")

op("hardsigmoid(Tensor self) -> Tensor",
   variants="function inplace out", module="nn.functional", family=UNARY,
   scalar={"float": "fx_clamp(a + 3, 0, 6) / 6"},
   grad={"self": "where(logical_and(self > -3, self < 3), grad / 6, 0)"},
   doc="A piecewise linear sigmoid.")

op("hardswish(Tensor self) -> Tensor",
   variants="function inplace out", module="nn.functional", family=UNARY,
   scalar={"float": "a * fx_clamp(a + 3, 0, 6) / 6"},
   grad={"self": "where(self < -3, 0, where(self <= 3, grad * (self / 3 + 0.5), grad))"},
   doc="self * hardsigmoid(self).")

op("mish(Tensor self) -> Tensor",
   variants="function inplace out", module="nn.functional", family=UNARY,
   scalar={"float": "a * fx_tanh(fx_log1p(fx_exp(a)) if a < 20 else a)"},
   grad={"self": "mish_backward(grad, self)"}, doc="self * tanh(softplus(self)).")

op("mish_backward(Tensor grad_output, Tensor self) -> Tensor",
   variants="function", module="_C", family=BINARY,
   scalar={"float": "a * fx_mish_slope(b)"},
   grad={"grad_output": "mish_backward(grad, self)",
         "self": "grad * grad_output * (s := sigmoid(self)) * (1 - (t := tanh(softplus(self))) * t)"
                 " * (2 + self * (1 - s - 2 * t * s))"},
   doc="The gradient of mish.")

op("log_sigmoid(Tensor self) -> Tensor",
   variants="function out", module="nn.functional", public="logsigmoid", family=UNARY,
   scalar={"float": "fx_log_sigmoid(a)"},
   grad={"self": "grad * sigmoid(-widened(self))"}, doc="log(sigmoid(self)), without overflow.")
