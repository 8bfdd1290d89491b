# Products and linear algebra. Formulas conjugate what they multiply with, which costs nothing for
# real tensors.

family("PRODUCT", dtypes="int float complex")

op("mm(Tensor self, Tensor mat2) -> Tensor",
   variants="function method out", family=PRODUCT, rule="mm", kernel="mm", batch="product",
   grad={"self": "mm(grad, conj(t(mat2)))", "mat2": "mm(conj(t(self)), grad)"},
   linear="self * mat2", doc="The product of two matrices.")
op("bmm(Tensor self, Tensor mat2) -> Tensor",
   variants="function method out", family=PRODUCT, rule="bmm", kernel="mm", batch="product",
   grad={"self": "bmm(grad, conj(transpose(mat2, 1, 2)))",
         "mat2": "bmm(conj(transpose(self, 1, 2)), grad)"},
   linear="self * mat2", doc="The products of two batches of matrices.")
op("addmm(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
   variants="function method inplace out", family=PRODUCT, rule="addmm", kernel="addmm",
   batch="add_product",
   flags="broadcasts",
   grad={"self": "grad * conj_number(beta)",
         "mat1": "mm(grad, conj(t(mat2))) * conj_number(alpha)",
         "mat2": "mm(conj(t(mat1)), grad) * conj_number(alpha)"},
   doc="beta * self + alpha * mat1 @ mat2.")
op("_addmm_activation(Tensor self, Tensor mat1, Tensor mat2, *, Scalar beta=1, Scalar alpha=1, "
   "bool use_gelu=False) -> Tensor",
   variants="function method out", dtypes="int float", rule="addmm_activation",
   kernel="addmm_activation", batch="as _addmm_activation_each", flags="broadcasts",
   grad={"self, mat1, mat2": "((g := _addmm_activation_backward(grad, self, mat1, mat2, result, beta, "
                             "alpha, use_gelu)) * conj_number(beta), mm(g, t(mat2)) * "
                             "conj_number(alpha), mm(t(mat1), g) * conj_number(alpha))"},
   doc="relu, or gelu, of addmm.")
op("_addmm_activation_backward(Tensor grad, Tensor self, Tensor mat1, Tensor mat2, Tensor result, "
   "Scalar beta, Scalar alpha, bool use_gelu) -> Tensor",
   variants="function", module="_C",
   composite="_gelu_erf_backward(grad, addmm(self, mat1, mat2, beta=beta, alpha=alpha)) if use_gelu "
             "else threshold_backward(grad, result, 0)",
   doc="The gradient of _addmm_activation with respect to the sum.")
op("_int_mm(Tensor self, Tensor mat2) -> Tensor",
   variants="function out", dtypes="uint8 int8", rule="int_mm", kernel="int_mm",
   batch="as _int_mm_each", nondiff="result",
   doc="The product of two matrices of bytes, int8 or uint8 and int8, in int32.")
op("baddbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
   variants="function method inplace out", family=PRODUCT, rule="baddbmm", kernel="addmm",
   batch="add_product",
   flags="broadcasts",
   grad={"self": "grad * conj_number(beta)",
         "batch1": "bmm(grad, conj(transpose(batch2, 1, 2))) * conj_number(alpha)",
         "batch2": "bmm(conj(transpose(batch1, 1, 2)), grad) * conj_number(alpha)"},
   doc="beta * self + alpha * batch1 @ batch2, matrix by matrix.")
op("addbmm(Tensor self, Tensor batch1, Tensor batch2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
   variants="function method inplace out", composite="c:addbmm",
   doc="beta * self + alpha * the sum over a batch of batch1 @ batch2.")
op("mv(Tensor self, Tensor vec) -> Tensor",
   variants="function method out", family=PRODUCT, rule="mv", kernel="mv", batch="product",
   grad={"self": "outer(grad, conj(vec))", "vec": "mv(conj(t(self)), grad)"},
   linear="self * vec", doc="The product of a matrix and a vector.")
op("addmv(Tensor self, Tensor mat, Tensor vec, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
   variants="function method inplace out", family=PRODUCT, rule="addmv", kernel="addmv",
   batch="add_product",
   flags="broadcasts",
   grad={"self": "grad * conj_number(beta)",
         "mat": "outer(grad, conj(vec)) * conj_number(alpha)",
         "vec": "mv(conj(t(mat)), grad) * conj_number(alpha)"},
   doc="beta * self + alpha * mat @ vec.")
op("addr(Tensor self, Tensor vec1, Tensor vec2, *, Scalar beta=1, Scalar alpha=1) -> Tensor",
   variants="function method inplace out", composite="c:addr",
   doc="beta * self + alpha * the outer product of two vectors.")
op("dot(Tensor self, Tensor tensor) -> Tensor",
   variants="function method out", family=PRODUCT, rule="dot", kernel="dot", batch="product",
   grad={"self": "grad * conj(tensor)", "tensor": "grad * conj(self)"},
   linear="self * tensor", doc="The sum of the products of two vectors.")
op("vdot(Tensor self, Tensor other) -> Tensor",
   variants="function method out", composite="dot(conj(self), other)", like="numpy.vdot",
   doc="The sum of the products of two vectors, the first conjugated.")
op("outer(Tensor self, Tensor vec2) -> Tensor",
   variants="function method out", composite="c:outer", like="numpy.outer",
   doc="The matrix of all products of an element of one vector with one of another.")
op("ger(Tensor self, Tensor vec2) -> Tensor",
   variants="function method out", composite="outer(self, vec2)", doc="outer.")
op("inner(Tensor self, Tensor other) -> Tensor",
   variants="function method out", composite="c:inner", like="numpy.inner",
   doc="Sums of products over the last dimension of both.")
op("matmul(Tensor self, Tensor other) -> Tensor",
   variants="function method out", composite="c:matmul", like="numpy.matmul",
   doc="The matrix product, batches broadcast; vectors count as a row on the left, a column on the "
       "right.")
op("tensordot(Tensor self, Tensor other, int[] dims_self, int[] dims_other) -> Tensor",
   variants="function", module="_C", composite="c:tensordot",
   doc="Sums of products over pairs of dimensions.")
op("kron(Tensor self, Tensor other) -> Tensor",
   variants="function method out", composite="c:kron", like="numpy.kron",
   doc="The Kronecker product.")
op("einsum(str equation, Tensor[] tensors) -> Tensor",
   variants="function", module="_C", composite="c:einsum",
   doc="Sums of products, by Einstein's notation.")
op("linear(Tensor input, Tensor weight, Tensor? bias=None) -> Tensor",
   variants="function out", module="nn.functional", family=PRODUCT, rule="linear", kernel="linear",
   batch="lead _linear_each",
   flags="broadcasts",
   grad={"input": "matmul(grad, conj(weight)) if weight.ndim == 2 "
                  "else unsqueeze(grad, -1) * conj(weight)",
         "weight": "mm(t(flatten(unsqueeze(grad, 0), 0, -2)), "
                   "conj(flatten(unsqueeze(input, 0), 0, -2))) if weight.ndim == 2 "
                   "else mv(conj(t(flatten(unsqueeze(input, 0), 0, -2))), flatten(grad))",
         "bias": "grad"},
   linear="input * weight", doc="input @ weight.T + bias, over the last dimension of input.")
