# fmt: off
# ruff: noqa: F821
op("add(Operand self, Operand other, *, Scalar alpha=1) -> Tensor",
   variants="function method inplace out", family=BINARY,
   scalar={"bool": "a | (b & alpha)", "int float complex": "a + alpha * b"},
   fast={"alpha == 1": {"bool": "a | b", "int float complex": "a + b"}},
   grad={"self": "grad", "other": "grad if alpha == 1 else grad * alpha"},
   like="numpy.add", doc="self + alpha * other, elementwise.")
op("mul(Operand self, Operand other) -> Tensor",
   variants="function method", family=BINARY, scalar={"int float": "a * b"},
   grad={"self": "grad * other", "other": "grad * self"}, doc="self * other, elementwise.")
op("eq(Operand self, Operand other) -> Tensor",
   variants="function", family=BINARY, promote=BOOL,
   scalar={"bool int float complex": "a == b"}, doc="self == other, elementwise.")
op("abs(Tensor self) -> Tensor",
   variants="function method", family=UNARY, promote=REAL,
   scalar={"float complex": "fx_abs(a)"}, grad=None, doc="The absolute value, elementwise.")
op("clip(Tensor self, float low, float? high=None) -> Tensor",
   variants="function", family=UNARY, grad=None,
   scalar={"float": "low if a < low else (high if not fx_isnan(high) and a > high else a)"},
   doc="Each element limited to [low, high].")
op("sum.dim(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
   variants="function method out", rule="sum", kernel="sum",
   grad={"self": "expand(grad, self.shape) * (1 / count(self.shape, dim)) if self.ndim else grad"},
   doc="The sum over some dimensions.")
op("max.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
   variants="function method out", rule="max", host_kernel="max", nondiff="indices",
   grad={"self": "expand(grad, self.shape) * (self == values)"},
   doc="The largest elements of a dimension and where they are.")
op("expand(Tensor(a) self, int[] size) -> Tensor(a)",
   variants="method", flags="view", rule="expand",
   grad={"self": "sum_dim(grad, None, dtype=self.dtype)"},
   doc="Dimensions of size 1 repeated without a copy.")
op("split(Tensor(a) self, int[2] sizes=[1, 2], int dim=0) -> Tensor(a)[]",
   variants="method", flags="view", rule="split", grad={"self": "cat(grads, dim)"},
   doc="Pieces of a dimension.")
op("cat(Tensor[] tensors, int dim=0) -> Tensor",
   variants="function out", rule="cat", kernel="cat",
   grad={"tensors": "[grad, grad * tensors[1].shape[0]]"}, doc="Tensors joined along a dimension.")
op("fill_(Tensor(a!) self, Scalar value) -> Tensor(a!)",
   variants="method function", rule="fill", kernel="fill", grad=None,
   doc="Sets every element to the number.")
op("pool(Tensor input, Tensor? weight=None, str mode=\"mean\", float scale=2.5) -> Tensor",
   variants="function", module="nn.functional", rule="pool", kernel="pool",
   grad={"input, weight": "pool_backward(grad, input, weight)"}, doc="A joint gradient.")
op("choose(Tensor self, Tensor? weight, int n, str mode) -> (Tensor, int)", variants="function",
   composite="((y := self * self) * weight * y if weight is not None and n > 1 else -self"
             " if mode == \"minus\" else self.mul(n + 1), self.shape[-1] + len(self.shape[1:]))",
   doc="Conditions, shared values and numbers.")
op("fill_twice(Tensor self) -> Tensor[]", variants="function",
   composite="[add_(self, 1), expand(self, [2, self.numel])]",
   doc="The in-place form of a row, and a list.")
op("tail(Tensor self) -> Tensor", variants="function", composite="c:tail", doc="Written in C.")
