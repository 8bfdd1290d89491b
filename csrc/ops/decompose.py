# Factorizations and what is computed from them. The rows that have kernels take batches of equal
# shape; the public ones above them broadcast. Gradients are formulas of the same rows, so that they have
# gradients in turn; where nothing is recorded they use the factors instead.

helper("recording(Tensor self) -> bool")  # whether what is computed from self is differentiated again
helper("matrix_sizes(int[] own, int[] other) -> int[]")  # own matrices, batches broadcast with the other's

# --- the inverse

op("linalg_inv_ex(Tensor A, *, bool check_errors=False) -> (Tensor inverse, Tensor info)",
   variants="function out", module="linalg", public="inv_ex", rule="linalg_inv_ex",
   kernel="linalg_inv_ex", batch="dims", nondiff="info",
   grad={"A": "neg(matmul(matmul(adjoint(inverse), grad), adjoint(inverse)))"},
   doc="The inverses of square matrices, and for each 0 or the step at which it turned out singular.")
op("linalg_inv(Tensor A) -> Tensor",
   variants="function out", module="linalg", public="inv",
   composite="linalg_inv_ex(A, check_errors=True)[0]",
   like="numpy.linalg.inv", doc="The inverses of square matrices.")
op("inverse(Tensor self) -> Tensor",
   variants="function method out", composite="linalg_inv(self)", doc="linalg.inv.")

# --- Cholesky

op("linalg_cholesky_ex(Tensor self, *, bool upper=False, bool check_errors=False) -> (Tensor L, Tensor info)",
   variants="function out", module="linalg", public="cholesky_ex", rule="cholesky",
   kernel="linalg_cholesky_ex", batch="dims", nondiff="info",
   grad={"self": "_cholesky_backward(adjoint(grad), adjoint(L)) if upper else _cholesky_backward(grad, L)"},
   doc="The Cholesky factors of Hermitian positive definite matrices, and for each 0 or the order of the "
       "first minor that is not positive. Only one triangle is read.")
# The lower triangle of L^H dL and the adjoint of what is strictly below, halved, between L^-H and L^-1.
op("_cholesky_backward(Tensor grad, Tensor L) -> Tensor",
   variants="function", module="_C",
   composite="linalg_solve_triangular(L, linalg_solve_triangular(adjoint(L), "
             "(tril((p := matmul(adjoint(L), grad))) + adjoint(tril(p, -1))) / 2, upper=True), "
             "upper=False, left=False)",
   doc="The gradient of cholesky.")
op("_hermitian_sum(Tensor self) -> Tensor",
   variants="function", module="_C", composite="self + adjoint(self)",
   doc="Matrices and their conjugate transposes, added.")
op("linalg_cholesky(Tensor self, *, bool upper=False) -> Tensor",
   variants="function out", module="linalg", public="cholesky",
   composite="linalg_cholesky_ex(self, upper=upper, check_errors=True)[0]",
   doc="L of A = L L^H for Hermitian positive definite matrices, or with upper=True U of U^H U.")
op("cholesky(Tensor self, bool upper=False) -> Tensor",
   variants="function method out", composite="linalg_cholesky(self, upper=upper)",
   doc="linalg.cholesky.")
op("_cholesky_solve(Tensor B, Tensor L, bool upper) -> Tensor",
   variants="function", module="_C", batch="dims",
   composite="linalg_solve_triangular(L, linalg_solve_triangular(adjoint(L), B, upper=False), upper=True) "
             "if upper else "
             "linalg_solve_triangular(adjoint(L), linalg_solve_triangular(L, B, upper=False), upper=True)",
   grad={"B, L": "(g := _cholesky_solve(grad, L, upper)), _factor_gradient(neg(matmul(g, adjoint(result))), L, upper)"},
   doc="cholesky_solve of matrices and factors of one batch.")
# With respect to the factor as part of L L^H: right in the triangle that is read, and not zero in the other.
op("_factor_gradient(Tensor grad, Tensor L, bool upper) -> Tensor",
   variants="function", module="_C",
   composite="matmul(triu(L), _hermitian_sum(grad)) if upper else matmul(_hermitian_sum(grad), tril(L))",
   doc="The gradient of a Cholesky factor from that of its matrix.")
op("cholesky_solve(Tensor self, Tensor input2, bool upper=False) -> Tensor",
   variants="function method out",
   composite="_cholesky_solve(expand(self, matrix_sizes(self.shape, input2.shape)), "
             "expand(input2, matrix_sizes(input2.shape, self.shape)), upper)",
   doc="The solution of A X = B from the Cholesky factor of A.")
op("cholesky_inverse(Tensor self, bool upper=False) -> Tensor",
   variants="function method out", batch="dims",
   composite="_cholesky_solve(expand(eye(self.shape[self.ndim - 1], dtype=self.dtype, device=self.device), "
             "self.shape), self, upper)",
   grad={"self": "_factor_gradient(neg(matmul(result, matmul(grad, result))), self, upper)"},
   doc="The inverse of A from its Cholesky factor.")

# --- triangular systems

op("_solve_triangular(Tensor A, Tensor B, bool upper, bool unitriangular) -> Tensor",
   variants="function", module="_C", rule="solve_triangular", kernel="solve_triangular", batch="dims",
   grad={"A, B": "_solve_triangular_backward((g := _solve_triangular(adjoint(A), grad, not upper, unitriangular)), "
                 "result, upper, unitriangular), g"},
   doc="The solution of A X = B for triangular A.")
op("_solve_triangular_backward(Tensor grad, Tensor result, bool upper, bool unitriangular) -> Tensor",
   variants="function", module="_C",
   composite="triu((g := neg(matmul(grad, adjoint(result)))), 1 if unitriangular else 0) if upper else "
             "tril(neg(matmul(grad, adjoint(result))), -1 if unitriangular else 0)",
   doc="The gradient of solve_triangular in A.")
op("linalg_solve_triangular(Tensor self, Tensor B, *, bool upper, bool left=True, bool unitriangular=False) -> Tensor",
   variants="function out", module="linalg", public="solve_triangular", composite="c:solve_triangular",
   doc="The solution of A X = B for triangular A, or with left=False of X A = B. The other triangle of A is "
       "not read.")
op("triangular_solve(Tensor self, Tensor A, bool upper=True, bool transpose=False, bool unitriangular=False)"
   " -> (Tensor solution, Tensor cloned_coefficient)",
   variants="function method out",
   composite="linalg_solve_triangular(transpose(A, -2, -1) if transpose else A, self, upper=upper != transpose, "
             "unitriangular=unitriangular), clone(A)",
   doc="The solution of A X = B for triangular A, and a copy of A.")

# --- LU

op("linalg_lu_factor_ex(Tensor A, *, bool pivot=True, bool check_errors=False) -> (Tensor LU, Tensor pivots, Tensor info)",
   variants="function out", module="linalg", public="lu_factor_ex", rule="lu_factor",
   kernel="linalg_lu_factor_ex", batch="dims", nondiff="pivots info",
   grad={"A": "_lu_backward(tril(grad, -1), triu(grad), LU, pivots)"},
   doc="The LU factors of matrices with rows exchanged, in one matrix, the rows exchanged at each step "
       "(from 1), and 0 or the first column without a pivot.")
op("_lu_backward(Tensor grad_l, Tensor grad_u, Tensor LU, Tensor pivots) -> Tensor",
   variants="function", module="_C", composite="c:lu_backward",
   doc="The gradient of LU factors, given as matrices of the shape of LU.")
op("linalg_lu_factor(Tensor A, *, bool pivot=True) -> (Tensor LU, Tensor pivots)",
   variants="function out", module="linalg", public="lu_factor",
   composite="(f := linalg_lu_factor_ex(A, pivot=pivot, check_errors=True))[0], f[1]",
   doc="The LU factors of matrices with rows exchanged, in one matrix, and the rows exchanged at each step.")
op("_pivot_order(Tensor pivots, int rows) -> Tensor",
   variants="function", module="_C", rule="pivot_order", host_kernel="pivot_order", batch="dims", grad=None,
   doc="The order that exchanges of rows bring these to.")
op("lu_unpack(Tensor LU_data, Tensor LU_pivots, bool unpack_data=True, bool unpack_pivots=True)"
   " -> (Tensor P, Tensor L, Tensor U)",
   variants="function out", composite="c:lu_unpack",
   doc="P, L and U from LU factors in one matrix; what is not asked for is empty.")
op("linalg_lu(Tensor A, *, bool pivot=True) -> (Tensor P, Tensor L, Tensor U)",
   variants="function out", module="linalg", public="lu",
   composite="(u := lu_unpack((f := linalg_lu_factor_ex(A, pivot=pivot))[0], f[1]))[0], u[1], u[2]",
   doc="A = P L U with a permutation, a lower triangle of unit diagonal and an upper triangle.")
op("_linalg_solve_ex(Tensor A, Tensor B, *, bool check_errors=False)"
   " -> (Tensor result, Tensor LU, Tensor pivots, Tensor info)",
   variants="function", module="_C", rule="solve", kernel="linalg_solve_ex", batch="dims",
   nondiff="LU pivots info",
   grad={"A, B": "neg(matmul((g := _linalg_solve_ex(adjoint(A), grad)[0] if recording(A) else "
                 "_lu_solve(LU, pivots, grad, True)), adjoint(result))), g"},
   doc="The solution of A X = B, and the factors of A.")
op("linalg_solve_ex(Tensor A, Tensor B, *, bool left=True, bool check_errors=False) -> (Tensor result, Tensor info)",
   variants="function out", module="linalg", public="solve_ex", composite="c:solve_ex",
   doc="The solution of A X = B, or with left=False of X A = B, and 0 or the step at which A turned out singular.")
op("linalg_solve(Tensor A, Tensor B, *, bool left=True) -> Tensor",
   variants="function out", module="linalg", public="solve",
   composite="linalg_solve_ex(A, B, left=left, check_errors=True)[0]",
   doc="The solution of A X = B for square A, or with left=False of X A = B.")
op("_lu_solve(Tensor LU, Tensor pivots, Tensor B, bool adjoint) -> Tensor",
   variants="function", module="_C", rule="factors_solve", kernel="lu_solve", batch="dims",
   grad={"LU, B": "_lu_solve_backward((g := _lu_solve(LU, pivots, grad, not adjoint)), result, LU, pivots, adjoint), g"},
   doc="The solution of A X = B, or A^H X = B, from the LU factors of A.")
# The gradient of A = P L U, where gA = -g X^H, or -X g^H: that of L is below the diagonal of P^H gA U^H,
# that of U on and above the diagonal of L^H P^H gA.
op("_lu_solve_backward(Tensor grad, Tensor result, Tensor LU, Tensor pivots, bool adjoint) -> Tensor",
   variants="function", module="_C", composite="c:lu_solve_backward",
   doc="The gradient of a solution in LU factors; grad is that of the right side.")
op("linalg_lu_solve(Tensor LU, Tensor pivots, Tensor B, *, bool left=True, bool adjoint=False) -> Tensor",
   variants="function out", module="linalg", public="lu_solve", composite="c:lu_solve",
   doc="The solution of A X = B from the LU factors of A; of X A = B with left=False, of A^H X = B with "
       "adjoint=True.")
op("lu_solve(Tensor self, Tensor LU_data, Tensor LU_pivots) -> Tensor",
   variants="function method out", composite="linalg_lu_solve(LU_data, LU_pivots, self)",
   doc="linalg.lu_solve.")

# --- QR

op("_linalg_qr(Tensor A, str mode) -> (Tensor Q, Tensor R)",
   variants="function", module="_C", rule="qr", kernel="linalg_qr", batch="dims",
   grad={"A": "_qr_backward(grads[0], grads[1], Q, R, mode)"},
   doc="qr; with mode \"r\" Q has no columns.")
op("linalg_qr(Tensor A, str mode=\"reduced\") -> (Tensor Q, Tensor R)",
   variants="function out", module="linalg", public="qr",
   composite="c:qr",
   doc="A = Q R with orthonormal columns of Q and an upper triangle R; mode \"complete\" gives all columns of "
       "a square Q, \"r\" only R.")
op("_qr_backward(Tensor grad_q, Tensor grad_r, Tensor Q, Tensor R, str mode) -> Tensor",
   variants="function", module="_C", composite="c:qr_backward", doc="The gradient of qr.")
op("qr(Tensor self, bool some=True) -> (Tensor Q, Tensor R)",
   variants="function method out",
   composite="(f := _linalg_qr(self, \"reduced\" if some else \"complete\"))[0], f[1]",
   doc="linalg.qr, reduced or complete.")
op("geqrf(Tensor self) -> (Tensor a, Tensor tau)",
   variants="function method out", rule="geqrf", kernel="geqrf", batch="dims", grad=None,
   doc="R, below it the reflectors whose product is Q, and their factors tau; see householder_product.")
# Products of reflectors I - tau v v^H are I - V T V^H, with T^-1 = 1 / diag(tau) + triu(V^H V, 1).
op("_reflector_factor(Tensor V, Tensor tau) -> Tensor",
   variants="function", module="_C",
   composite="linalg_solve_triangular(triu(matmul(adjoint(V), V), 1) * unsqueeze(tau, -1), diag_embed(tau), "
             "upper=True, unitriangular=True)",
   doc="T of a product of reflectors.")
op("_reflectors(Tensor input, int n) -> Tensor",
   variants="function", module="_C",
   composite="tril(slice(input, -1, 0, n), -1) + eye(input.shape[input.ndim - 2], n, dtype=input.dtype, "
             "device=input.device)",
   doc="The reflectors below the diagonal of a matrix, with their ones and zeros.")
op("linalg_householder_product(Tensor input, Tensor tau) -> Tensor",
   variants="function out", module="linalg", public="householder_product", composite="c:householder_product",
   doc="The first columns of the product of the reflectors below the diagonal of input.")
op("orgqr(Tensor self, Tensor input2) -> Tensor",
   variants="function method out", composite="linalg_householder_product(self, input2)",
   doc="linalg.householder_product.")
op("ormqr(Tensor self, Tensor input2, Tensor input3, bool left=True, bool transpose=False) -> Tensor",
   variants="function method out", composite="c:ormqr",
   doc="Q C for the product Q of the reflectors self with factors input2; C Q with left=False, Q^H with "
       "transpose=True.")

# --- singular values

op("_linalg_svd(Tensor A, bool full_matrices=False, bool compute_uv=True, *, str? driver=None)"
   " -> (Tensor U, Tensor S, Tensor Vh)",
   variants="function", module="_C", rule="svd", kernel="svd", batch="dims",
   grad={"A": "_svd_backward(slice(grads[0], -1, 0, S.shape[-1]), grads[1], slice(grads[2], -2, 0, S.shape[-1]), "
              "slice(U, -1, 0, S.shape[-1]), S, slice(Vh, -2, 0, S.shape[-1]))"},
   doc="A = U diag(S) Vh, with all columns of square U and Vh, or as many as there are singular values; "
       "without compute_uv only these.")
# The peer's gauge: U and V may turn together by a phase for each singular value.
op("_svd_backward(Tensor grad_u, Tensor grad_s, Tensor grad_vh, Tensor U, Tensor S, Tensor Vh) -> Tensor",
   variants="function", module="_C",
   composite="matmul(U, matmul(_svd_inside(matmul(adjoint(U), grad_u), grad_s, matmul(Vh, adjoint(grad_vh)), S), Vh))"
             " + (_svd_outside(grad_u, U, S, Vh) if U.shape[-2] > S.shape[-1] else 0)"
             " + (adjoint(_svd_outside(adjoint(grad_vh), adjoint(Vh), S, adjoint(U)))"
             " if Vh.shape[-1] > S.shape[-1] else 0)",
   doc="The gradient of svd.")
op("_svd_inside(Tensor u, Tensor grad_s, Tensor v, Tensor S) -> Tensor",
   variants="function", module="_C",
   composite="(u - adjoint(u)) * (e := _gap_reciprocals(S * S)) * unsqueeze(S, -2)"
             " + unsqueeze(S, -1) * ((v - adjoint(v)) * e) + diag_embed(grad_s)"
             " + (diag_embed(_to_imaginary(diagonal(u, 0, -2, -1)) / S) if u.dtype.is_complex else 0)",
   doc="The part of _svd_backward in the spans of U and V.")
op("_svd_outside(Tensor grad_u, Tensor U, Tensor S, Tensor Vh) -> Tensor",
   variants="function", module="_C",
   composite="matmul((grad_u - matmul(U, matmul(adjoint(U), grad_u))) / unsqueeze(S, -2), Vh)",
   doc="The part of _svd_backward outside of the span of U.")
# Zero where two are equal, the diagonal among them: there a gradient has no part.
op("_gap_reciprocals(Tensor self) -> Tensor",
   variants="function", module="_C",
   composite="where((same := (gap := unsqueeze(self, -2) - unsqueeze(self, -1)) == 0), 0, "
             "reciprocal(where(same, 1, gap)))",
   doc="1 / (self[j] - self[i]).")
op("_to_imaginary(Tensor self) -> Tensor",
   variants="function", module="_C", composite="(self - conj(self)) / 2", doc="Without the real part.")
op("linalg_svd(Tensor A, bool full_matrices=True, *, str? driver=None) -> (Tensor U, Tensor S, Tensor Vh)",
   variants="function out", module="linalg", public="svd",
   composite="(f := _linalg_svd(A, full_matrices, driver=driver))[0], f[1], f[2]",
   doc="A = U diag(S) Vh with orthonormal columns of U and rows of Vh, and singular values in descending order.")
op("linalg_svdvals(Tensor A, *, str? driver=None) -> Tensor",
   variants="function out", module="linalg", public="svdvals", batch="dims",
   composite="_linalg_svd(A, False, False, driver=driver)[1]",
   grad={"A": "matmul((f := _linalg_svd(A))[0] * unsqueeze(grad, -2), f[2])"},
   doc="The singular values of matrices, in descending order.")
op("svd(Tensor self, bool some=True, bool compute_uv=True) -> (Tensor U, Tensor S, Tensor V)",
   variants="function method out", composite="c:svd",
   doc="A = U diag(S) V^H, reduced unless some=False.")
op("_nuclear_norm(Tensor self) -> Tensor",
   variants="function", module="_C", composite="sum(_linalg_svd(self, False, False)[1], [-1])", batch="dims",
   grad={"self": "unsqueeze(unsqueeze(grad, -1), -1) * _polar(self)"},
   doc="The sums of the singular values of matrices.")
op("_polar(Tensor self) -> Tensor",
   variants="function", module="_C", composite="matmul((f := _linalg_svd(self))[0], f[2])",
   batch="dims",
   grad={"self": "_polar_backward(grad, self)"},
   doc="The nearest matrices with orthonormal rows or columns: U Vh.")
# With A = U S Vh and M = Uh dA V: d(U Vh) = U ((M - Mh) / (s_i + s_j)) Vh, and what of dA lies outside of the
# span of U (or of V) divided by S. This map is its own adjoint.
op("_polar_backward(Tensor grad, Tensor self) -> Tensor",
   variants="function", module="_C",
   composite="_polar_inside(grad, (f := _linalg_svd(self))[0], f[1], f[2]) "
             "+ (_polar_outside(grad, f[0], f[1], f[2]) if self.shape[self.ndim - 2] > self.shape[self.ndim - 1] else "
             "(adjoint(_polar_outside(adjoint(grad), adjoint(f[2]), f[1], adjoint(f[0]))) "
             "if self.shape[self.ndim - 2] < self.shape[self.ndim - 1] else 0))",
   doc="The gradient of _polar.")
op("_polar_inside(Tensor grad, Tensor u, Tensor s, Tensor vh) -> Tensor",
   variants="function", module="_C",
   composite="matmul(u, matmul(((m := matmul(adjoint(u), matmul(grad, adjoint(vh)))) - adjoint(m)) "
             "/ (unsqueeze(s, -1) + unsqueeze(s, -2)), vh))",
   doc="The part of _polar_backward in the spans of u and v.")
op("_polar_outside(Tensor grad, Tensor u, Tensor s, Tensor vh) -> Tensor",
   variants="function", module="_C",
   composite="matmul(matmul(grad - matmul(u, matmul(adjoint(u), grad)), adjoint(vh)) / unsqueeze(s, -2), vh)",
   doc="The part of _polar_backward outside of the span of u.")
op("_matrix_norm_name(Tensor self, str ord=\"fro\", int[] dim=[-2, -1], bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
   variants="function", module="_C", composite="c:matrix_norm_name",
   doc="The nuclear or Frobenius norm of the matrices over two dimensions.")

# --- eigenvalues

op("_linalg_eigh(Tensor A, str UPLO=\"L\", bool compute_v=True) -> (Tensor eigenvalues, Tensor eigenvectors)",
   variants="function", module="_C", rule="eigh", kernel="eigh", batch="dims",
   grad={"A": "matmul(eigenvectors, matmul(_hermitian_sum(matmul(adjoint(eigenvectors), grads[1]) "
              "* _gap_reciprocals(eigenvalues)) / 2 + diag_embed(grads[0]), adjoint(eigenvectors)))"},
   doc="The eigenvalues of Hermitian matrices and, with compute_v, their eigenvectors.")
op("linalg_eigh(Tensor self, str UPLO=\"L\") -> (Tensor eigenvalues, Tensor eigenvectors)",
   variants="function out", module="linalg", public="eigh",
   composite="(f := _linalg_eigh(self, UPLO))[0], f[1]",
   doc="The eigenvalues of Hermitian matrices in ascending order, and orthonormal eigenvectors in columns. Only "
       "the triangle UPLO is read.")
op("linalg_eigvalsh(Tensor self, str UPLO=\"L\") -> Tensor",
   variants="function out", module="linalg", public="eigvalsh", batch="dims",
   composite="_linalg_eigh(self, UPLO, False)[0]",
   grad={"self": "matmul((v := _linalg_eigh(self, UPLO)[1]) * unsqueeze(grad, -2), adjoint(v))"},
   doc="The eigenvalues of Hermitian matrices, in ascending order.")
op("_linalg_eig(Tensor self, bool compute_v) -> (Tensor eigenvalues, Tensor eigenvectors)",
   variants="function", module="_C", rule="eig", host_kernel="eig", batch="dims",
   grad={"self": "_eig_backward(grads[0], grads[1], eigenvalues, eigenvectors)"},
   doc="The eigenvalues of matrices and, with compute_v, their eigenvectors.")
op("_eig_backward(Tensor grad_l, Tensor grad_v, Tensor L, Tensor V) -> Tensor",
   variants="function", module="_C",
   composite="linalg_solve((vh := adjoint(V)), matmul(((m := matmul(vh, grad_v)) - matmul(vh, V) * unsqueeze("
             "real(diagonal(m, 0, -2, -1)), -2)) * conj(_gap_reciprocals(L)) + diag_embed(grad_l), vh))",
   doc="The gradient of eig, whose eigenvectors have norm 1 and any phase.")
op("linalg_eig(Tensor self) -> (Tensor eigenvalues, Tensor eigenvectors)",
   variants="function out", module="linalg", public="eig",
   composite="(f := _linalg_eig(self, True))[0], f[1]",
   doc="The eigenvalues of square matrices, in no order, and eigenvectors of norm 1 in columns; complex.")
op("linalg_eigvals(Tensor self) -> Tensor",
   variants="function out", module="linalg", public="eigvals", batch="dims",
   composite="_linalg_eig(self, False)[0]",
   grad={"self": "linalg_solve((vh := adjoint(_linalg_eig(self, True)[1])), unsqueeze(grad, -1) * vh)"},
   doc="The eigenvalues of square matrices, in no order; complex.")

# --- indefinite factors

op("linalg_ldl_factor_ex(Tensor self, *, bool hermitian=False, bool check_errors=False)"
   " -> (Tensor LD, Tensor pivots, Tensor info)",
   variants="function out", module="linalg", public="ldl_factor_ex", rule="ldl_factor", host_kernel="ldl_factor",
   batch="dims", grad=None,
   doc="The factors of A = L D L^T, or L D L^H, for symmetric or Hermitian matrices, as ldl_solve takes them, and 0 "
       "or the number of a block of D that is zero.")
op("linalg_ldl_factor(Tensor self, *, bool hermitian=False) -> (Tensor LD, Tensor pivots)",
   variants="function out", module="linalg", public="ldl_factor",
   composite="(f := linalg_ldl_factor_ex(self, hermitian=hermitian, check_errors=True))[0], f[1]",
   doc="The factors of A = L D L^T, or L D L^H, as ldl_solve takes them.")
op("linalg_ldl_solve(Tensor LD, Tensor pivots, Tensor B, *, bool hermitian=False) -> Tensor",
   variants="function out", module="linalg", public="ldl_solve",
   composite="_ldl_solve(expand(LD, matrix_sizes(LD.shape, B.shape)), pivots, "
             "expand(B, matrix_sizes(B.shape, LD.shape)), hermitian)",
   doc="The solution of A X = B from the factors of ldl_factor.")
op("_ldl_solve(Tensor LD, Tensor pivots, Tensor B, bool hermitian) -> Tensor",
   variants="function", module="_C", rule="ldl_solve", host_kernel="ldl_solve", batch="dims", grad=None,
   doc="ldl_solve of as many right sides as factors.")
