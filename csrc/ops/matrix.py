# What is computed from factorizations: determinants, least squares, norms, functions of matrices; and
# products of vectors.

# --- determinants. A is P L U; where U has a zero on its diagonal, a small number in its place gives the gradient
# in the limit.

op("_linalg_det(Tensor A) -> (Tensor result, Tensor LU, Tensor pivots)",
   variants="function", module="_C", batch="dims", nondiff="LU pivots",
   composite="prod((f := linalg_lu_factor_ex(A))[0].diagonal(0, -2, -1), -1) * _pivot_sign(f[1]), f[0], f[1]",
   grad={"A": "_linalg_solve_ex(adjoint(A), _on_diagonal(grad * conj(result), A))[0] if recording(A) else "
              "_det_backward(grad, LU, pivots)"},
   doc="The determinants of matrices, and their factors.")
op("_pivot_sign(Tensor pivots) -> Tensor",
   variants="function", module="_C", grad=None, batch="dims",
   composite="1 - 2 * remainder(sum(pivots != arange(1, pivots.shape[-1] + 1, device=pivots.device), [-1]), 2)",
   doc="1, or -1 after an odd number of exchanges.")
op("_on_diagonal(Tensor self, Tensor like) -> Tensor",
   variants="function", module="_C",
   composite="unsqueeze(unsqueeze(self, -1), -1) * eye(like.shape[-1], dtype=like.dtype, device=like.device)",
   doc="Multiples of the identity, of the sizes of `like`.")
op("_det_backward(Tensor grad, Tensor LU, Tensor pivots) -> Tensor",
   variants="function", module="_C",
   composite="_lu_solve((u := where((d := eye(LU.shape[-1], dtype=bool, device=LU.device)) & (LU == 0), "
             "machine_epsilon(LU.dtype), LU)), pivots, "
             "_on_diagonal(grad * conj(prod(u.diagonal(0, -2, -1), -1) * _pivot_sign(pivots)), LU), True)",
   doc="The gradient of det, from the factors.")
helper("machine_epsilon(ScalarType dtype) -> float")
op("linalg_det(Tensor A) -> Tensor",
   variants="function out", module="linalg", public="det", composite="_linalg_det(A)[0]",
   like="numpy.linalg.det", doc="The determinants of square matrices.")
op("det(Tensor self) -> Tensor",
   variants="function method", composite="linalg_det(self)", like="numpy.linalg.det", doc="linalg.det.")
op("linalg_slogdet(Tensor A) -> (Tensor sign, Tensor logabsdet)",
   variants="function out", module="linalg", public="slogdet", batch="dims",
   composite="prod(sgn((d := (f := linalg_lu_factor_ex(A))[0].diagonal(0, -2, -1))), -1) * _pivot_sign(f[1]), "
             "sum(log(abs(d)), [-1])",
   grad={"A": "_linalg_solve_ex(adjoint(A), _on_diagonal(grads[1] + "
              "(_to_imaginary(conj(sign) * grads[0]) if A.dtype.is_complex else 0), A))[0]"},
   doc="The signs (phases) of determinants, and the logarithms of their absolute values.")
op("slogdet(Tensor self) -> (Tensor sign, Tensor logabsdet)",
   variants="function method out", composite="(f := linalg_slogdet(self))[0], f[1]", doc="linalg.slogdet.")
op("logdet(Tensor self) -> Tensor",
   variants="function method",
   composite="log((f := linalg_slogdet(self))[0]) + f[1] if self.dtype.is_complex else "
             "where((f := linalg_slogdet(self))[0] == -1, nan, f[1])",
   doc="The logarithms of determinants; NaN where they are negative.")

# --- pseudo-inverses and least squares

op("_pinv(Tensor self, Operand? atol, Operand? rtol, bool hermitian) -> Tensor",
   variants="function", module="_C", composite="c:pinv", batch="dims",
   grad={"self": "_pinv_backward(grad, result, self)"},
   doc="pinv; singular values below max(atol, rtol * the largest) count as zero.")
# From dP = -P dA P + P P^H dA^H (1 - A P) + (1 - P A) dA^H P^H P.
op("_pinv_backward(Tensor grad, Tensor P, Tensor A) -> Tensor",
   variants="function", module="_C",
   composite="matmul(matmul((gh := adjoint(grad)) - matmul(A, matmul(P, gh)), P), (ph := adjoint(P)))"
             " + matmul(ph, matmul(P, gh - matmul(matmul(gh, P), A))) - matmul(matmul(ph, grad), ph)",
   doc="The gradient of pinv.")
op("linalg_pinv(Tensor self, Operand? rcond=None, bool hermitian=False, *, Operand? atol=None, Operand? rtol=None)"
   " -> Tensor",
   variants="function out", module="linalg", public="pinv",
   composite="_pinv(self, atol, rtol if rcond is None else rcond, hermitian)",
   doc="The pseudo-inverses of matrices; singular values below max(atol, rtol * the largest) count as zero.")
op("pinverse(Tensor self, float rcond=1e-15) -> Tensor",
   variants="function method", composite="linalg_pinv(self, rcond)", doc="linalg.pinv.")
op("linalg_matrix_rank(Tensor self, Operand? tol=None, bool hermitian=False, *, Operand? atol=None, "
   "Operand? rtol=None) -> Tensor",
   variants="function out", module="linalg", public="matrix_rank", composite="c:matrix_rank", grad=None,
   doc="How many singular values are above max(atol, rtol * the largest).")
op("_lstsq(Tensor A, Tensor B, float rcond, str driver) -> (Tensor X, Tensor rank, Tensor singular_values)",
   variants="function", module="_C", rule="lstsq", kernel="lstsq", grad=None, batch="dims",
   doc="lstsq of one driver; X and B have max(m, n) rows.")
op("_lstsq_solution(Tensor A, Tensor B, float rcond, str driver)"
   " -> (Tensor solution, Tensor rank, Tensor singular_values)",
   variants="function", module="_C", composite="c:lstsq_solution", batch="dims", nondiff="rank singular_values",
   grad={"A": "_pinv_backward(matmul(grad, adjoint(B)), _pinv(A, None, None, False), A)",
         "B": "matmul(adjoint(_pinv(A, None, None, False)), grad)"},
   doc="lstsq of as many right sides as matrices, without residuals.")
op("linalg_lstsq(Tensor self, Tensor b, float? rcond=None, *, str? driver=None)"
   " -> (Tensor solution, Tensor residuals, Tensor rank, Tensor singular_values)",
   variants="function out", module="linalg", public="lstsq", composite="c:lstsq",
   doc="The X that makes |A X - B| least; drivers are gels, gelsy, gelsd and gelss.")

# --- functions of matrices

op("_matrix_exp(Tensor self) -> Tensor",
   variants="function", module="_C", rule="matrix_exp", kernel="matrix_exp", batch="dims",
   grad={"self": "_matrix_exp_backward(grad, adjoint(self))"},
   doc="matrix_exp of what is not in half precision.")
# exp of [[A, G], [0, A]] has beside exp(A) what exp loses by G.
op("_matrix_exp_backward(Tensor grad, Tensor A) -> Tensor",
   variants="function", module="_C",
   composite="slice(slice(_matrix_exp(cat([cat([A, grad], -1), cat([zeros_like(A), A], -1)], -2)), "
             "-2, 0, A.shape[-1]), -1, A.shape[-1])",
   doc="The gradient of matrix_exp.")
op("linalg_matrix_exp(Tensor self) -> Tensor",
   variants="function", module="linalg", public="matrix_exp", composite="narrowed(_matrix_exp(widened(self)), self.dtype)",
   doc="The exponentials of square matrices.")
op("matrix_exp(Tensor self) -> Tensor",
   variants="function method", composite="linalg_matrix_exp(self)", doc="linalg.matrix_exp.")
op("linalg_matrix_power(Tensor self, int n) -> Tensor",
   variants="function out", module="linalg", public="matrix_power", composite="c:matrix_power",
   like="numpy.linalg.matrix_power", doc="The n-th power of square matrices; of their inverses for negative n.")
op("matrix_power(Tensor self, int n) -> Tensor",
   variants="function method out", composite="linalg_matrix_power(self, n)", like="numpy.linalg.matrix_power",
   doc="linalg.matrix_power.")
op("linalg_multi_dot(Tensor[] tensors) -> Tensor",
   variants="function out", module="linalg", public="multi_dot", composite="c:multi_dot",
   doc="The product of matrices, in the order that takes the fewest multiplications; the first and the last may be "
       "vectors.")
op("linalg_tensorinv(Tensor self, int ind=2) -> Tensor",
   variants="function out", module="linalg", public="tensorinv", composite="c:tensorinv", like="numpy.linalg.tensorinv",
   doc="The inverse of the matrix of the first ind dimensions by the others.")
op("linalg_tensorsolve(Tensor self, Tensor other, int[]? dims=None) -> Tensor",
   variants="function out", module="linalg", public="tensorsolve", composite="c:tensorsolve",
   doc="The X whose products with self over its last dimensions, those in dims moved there, give other.")
op("linalg_vander(Tensor x, *, int? N=None) -> Tensor",
   variants="function", module="linalg", public="vander", composite="c:vander",
   doc="The powers 0 to N - 1 of each element, in a last dimension.")

# --- norms

op("linalg_matrix_norm(Tensor self, Scalar ord, int[] dim=[-2, -1], bool keepdim=False, *, ScalarType? dtype=None)"
   " -> Tensor",
   variants="function out", module="linalg", public="matrix_norm", composite="c:matrix_norm",
   doc="The norms of the matrices over two dimensions: 2 and -2 the extreme singular values, 1 and -1 the extreme "
       "sums of columns, inf and -inf of rows.")
op("linalg_matrix_norm.str_ord(Tensor self, str ord=\"fro\", int[] dim=[-2, -1], bool keepdim=False, *, "
   "ScalarType? dtype=None) -> Tensor",
   variants="function out", module="linalg", public="matrix_norm",
   composite="_matrix_norm_name(self, ord, dim, keepdim, dtype=dtype)",
   doc="The Frobenius (\"fro\") or nuclear (\"nuc\") norms of the matrices over two dimensions.")
op("linalg_norm(Tensor self, Scalar? ord=None, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None)"
   " -> Tensor",
   variants="function out", module="linalg", public="norm", composite="c:linalg_norm",
   doc="The norms of vectors or matrices, by the number of dims; of all elements without ord and dim.")
op("linalg_norm.ord_str(Tensor self, str ord, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None)"
   " -> Tensor",
   variants="function out", module="linalg", public="norm",
   composite="_matrix_norm_name(self, ord, [-2, -1] if dim is None else dim, keepdim, dtype=dtype)",
   doc="The Frobenius or nuclear norms of matrices.")
op("linalg_cond(Tensor self, Scalar? p=None) -> Tensor",
   variants="function out", module="linalg", public="cond", composite="c:cond",
   doc="The condition numbers of matrices by a norm, 2 unless given.")
op("linalg_cond.p_str(Tensor self, str p) -> Tensor",
   variants="function out", module="linalg", public="cond",
   composite="_matrix_norm_name(self, p) * _matrix_norm_name(linalg_inv_ex(self)[0], p)",
   doc="The condition numbers of matrices by the Frobenius or nuclear norm.")

# --- products of vectors

op("linalg_vecdot(Tensor x, Tensor y, *, int dim=-1) -> Tensor",
   variants="function out", module="linalg", public="vecdot", composite="sum(conj(x) * y, [dim])",
   doc="The sums of products along a dimension, the first operand conjugated.")
op("linalg_cross(Tensor self, Tensor other, *, int dim=-1) -> Tensor",
   variants="function out", module="linalg", public="cross", composite="c:cross",
   doc="The vector products along a dimension of size 3.")
op("cross(Tensor self, Tensor other, int? dim=None) -> Tensor",
   variants="function method out", composite="c:cross_any",
   doc="linalg.cross; without dim along the first dimension of size 3.")
op("linalg_matmul(Tensor self, Tensor other) -> Tensor",
   variants="function out", module="linalg", public="matmul", composite="matmul(self, other)", like="numpy.matmul",
   doc="matmul.")
op("linalg_diagonal(Tensor(a) A, *, int offset=0, int dim1=-2, int dim2=-1) -> Tensor(a)",
   variants="function", module="linalg", public="diagonal", composite="diagonal(A, offset, dim1, dim2)",
   doc="diagonal, of the last two dimensions unless others are given.")
op("chain_matmul(Tensor[] matrices) -> Tensor",
   variants="function out", composite="linalg_multi_dot(matrices)", doc="linalg.multi_dot.")
