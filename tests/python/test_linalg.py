"""Decompositions: values against NumPy, gradients of both orders, errors, bits."""

import facula
import numpy as np
import pytest
from facula import linalg
from facula.autograd import gradcheck, gradgradcheck

REAL = [facula.float32, facula.float64]
DTYPES = [*REAL, facula.complex64, facula.complex128]
EXACT = [facula.float64, facula.complex128]
# Around the sizes of blocks, panels and halves.
SIZES = [1, 2, 8, 15, 16, 17, 31, 32, 33, 48, 63, 65, 100, 130]


@pytest.fixture(autouse=True)
def seed():
    facula.manual_seed(0)


def tolerance(dtype):
    return 1e-3 if dtype.itemsize // (1 + dtype.is_complex) == 4 else 1e-11


def assert_near(a, b, dtype, scale=1.0):
    a, b = (
        np.asarray(x.resolve_conj().numpy() if isinstance(x, facula.Tensor) else x) for x in (a, b)
    )
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance(dtype) * scale)


def regular(*shape, dtype):
    return facula.randn(*shape, dtype=dtype) + 3 * shape[-1] ** 0.5 * facula.eye(
        shape[-1], dtype=dtype
    )


# --- factors and solutions


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_square(n, dtype):
    a = regular(2, n, n, dtype=dtype)
    b = facula.randn(2, n, 7, dtype=dtype)
    wide = facula.randn(2, n, 41, dtype=dtype)
    p, lower, upper = linalg.lu(a)
    assert_near(p @ lower @ upper, a, dtype)
    assert_near(linalg.inv(a) @ a, facula.eye(n).expand(2, n, n), dtype)
    assert_near(a @ linalg.solve(a, b), b, dtype)
    assert_near(linalg.solve(a, b.mT, left=False) @ a, b.mT, dtype)
    factors = linalg.lu_factor(a)
    assert_near(a.mH @ linalg.lu_solve(*factors, wide, adjoint=True), wide, dtype)
    for up in (False, True):
        s = a @ a.mH
        c = linalg.cholesky(s, upper=up)
        assert_near(c.mH @ c if up else c @ c.mH, s, dtype, n)
        assert not (facula.tril(c, -1) if up else facula.triu(c, 1)).any()
        t = facula.triu(a) if up else facula.tril(a)
        assert_near(t @ linalg.solve_triangular(a, wide, upper=up), wide, dtype)
    q, r = linalg.qr(a)
    assert_near(q @ r, a, dtype)
    assert_near(q.mH @ q, facula.eye(n).expand(2, n, n), dtype)
    assert not facula.tril(r, -1).any()


@pytest.mark.parametrize(
    "m, n", [(3, 7), (7, 3), (20, 50), (100, 37), (37, 100), (17, 100), (65, 33), (0, 3)]
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rectangular(m, n, dtype):
    a = facula.randn(2, m, n, dtype=dtype)
    p, lower, upper = linalg.lu(a)
    assert_near(p @ lower @ upper, a, dtype)
    for mode in ("reduced", "complete"):
        q, r = linalg.qr(a, mode)
        assert_near(q @ r, a, dtype)
        assert_near(q.mH @ q, facula.eye(q.shape[-1]).expand(2, -1, -1), dtype)
    reflectors, tau = facula.geqrf(a)
    assert_near(facula.triu(reflectors[:, : min(m, n)]), linalg.qr(a, "r")[1], dtype)
    if m >= n:
        assert_near(linalg.householder_product(reflectors, tau), linalg.qr(a)[0], dtype)
        c = facula.randn(2, m, 3, dtype=dtype)
        whole = linalg.qr(a, "complete")[0]
        assert_near(facula.ormqr(reflectors, tau, c), whole @ c, dtype)
        assert_near(facula.ormqr(reflectors, tau, c, transpose=True), whole.mH @ c, dtype)


@pytest.mark.parametrize("shape", [(5, 0), (2, 5, 0), (0, 5, 3)])
def test_no_reflectors(shape):
    """There is nothing to differentiate in what nothing reflects."""
    a = facula.randn(shape, requires_grad=True)
    tau = facula.zeros(*shape[:-2], shape[-1], requires_grad=True)
    c = facula.randn(*shape[:-2], 5, 2, requires_grad=True)
    result = facula.ormqr(a, tau, c)
    assert result.equal(c)
    result.sum().backward()
    assert (a.grad, tau.grad) == (None, None) and c.grad.equal(facula.ones_like(c))
    linalg.householder_product(a, tau).sum().backward()
    assert (a.grad, tau.grad) == (None, None)


@pytest.mark.parametrize("half", [facula.bfloat16, facula.float16])
def test_matrix_exp_in_half_precision(half):
    a = facula.randn(3, 4, 4, dtype=half, requires_grad=True)
    result = linalg.matrix_exp(a)
    assert result.equal(linalg.matrix_exp(a.float()).to(half))
    result.sum().backward()
    assert a.grad.dtype is half


@pytest.mark.parametrize("norm", [0.1, 1.9, 2.1, 20])
def test_matrix_exp_in_single_precision(norm):
    a = facula.randn(8, 6, 6, dtype=facula.float64)
    a *= norm / a.abs().sum(-1).amax()
    wanted = linalg.matrix_exp(a)
    error = (linalg.matrix_exp(a.float()) - wanted).abs().amax((-2, -1))
    assert (error / wanted.abs().amax((-2, -1))).max() < 2e-6


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_qr_at_the_ends_of_the_range(scale):
    a = facula.randn(5, 3) * scale
    q, r = linalg.qr(a)
    np.testing.assert_allclose((q @ (r / scale)).numpy(), (a / scale).numpy(), atol=1e-5)
    np.testing.assert_allclose((q.mT @ q).numpy(), np.eye(3), atol=1e-5)
    q, r = linalg.qr(facula.zeros(3, 3))
    assert q.equal(facula.eye(3)) and not r.any()


@pytest.mark.parametrize("shape", [(3, 3), (5, 2), (2, 3, 6), (30, 30)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_singular_vectors(shape, dtype):
    a = facula.randn(*shape, dtype=dtype)
    for full in (False, True):
        u, s, vh = linalg.svd(a, full)
        k = s.shape[-1]
        assert_near((u[..., :k] * s.unsqueeze(-2)) @ vh[..., :k, :], a, dtype)
        assert_near(u.mH @ u, facula.eye(u.shape[-1]).expand(*u.shape[:-2], -1, -1), dtype)
        assert_near(vh @ vh.mH, facula.eye(vh.shape[-2]).expand(*vh.shape[:-2], -1, -1), dtype)
        assert (s[..., :-1] >= s[..., 1:]).all()
    u, s, v = facula.svd(a)
    assert_near((u * s.unsqueeze(-2)) @ v.mH, a, dtype)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 5, 5), (40, 40), (64, 64), (2, 97, 97)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_eigenvectors(shape, dtype):
    a = facula.randn(*shape, dtype=dtype)
    for uplo, triangle in (("L", facula.tril), ("U", facula.triu)):
        strict = triangle(a, -1 if uplo == "L" else 1)
        hermitian = strict + strict.mH + facula.diag_embed(a.diagonal(0, -2, -1).real)
        values, v = linalg.eigh(a, uplo)
        assert_near((v * values.unsqueeze(-2)) @ v.mH, hermitian, dtype)
        assert (values[..., :-1] <= values[..., 1:]).all()
        assert_near(linalg.eigvalsh(a, uplo), values, dtype)
    values, v = linalg.eig(a)
    assert_near(a.to(v.dtype) @ v, v * values.unsqueeze(-2), dtype, 4)
    assert_near(facula.linalg.vector_norm(v, dim=-2), np.ones(values.shape), dtype)
    assert_near(linalg.eigvals(a).sum(-1), values.sum(-1), dtype, 4)


def spectra(n):
    """Symmetric matrices whose eigenvalues lie close together, far apart, or are all the same."""
    g = np.random.default_rng(n).standard_normal((n, n))
    q = np.linalg.qr(g)[0]
    line = np.diag(np.ones(n - 1), 1) + np.diag(np.ones(n - 1), -1)
    glue = line.copy()
    glue[np.arange(20, n - 1, 21), np.arange(20, n - 1, 21) + 1] = 1e-7
    places = np.arange(n)
    yield np.zeros((n, n))
    yield np.ones((n, n))
    yield 2 * np.eye(n) - line
    yield np.diag(np.abs(places - n // 2)) + line
    yield np.diag(np.abs(places % 21 - 10)) + np.triu(glue) + np.triu(glue).T
    yield q @ np.diag(np.where(places % 2, 1, 1 + 1e-6 * places)) @ q.T
    yield q @ np.diag(10.0 ** (-12 * places / n)) @ q.T
    yield q @ np.diag(np.sign(np.diag(g))) @ q.T
    yield g[:, :2] @ g[:, :2].T
    yield (g + g.T) * 1e-36
    yield (g + g.T) * 1e36


@pytest.mark.parametrize("n", [2, 3, 24, 25, 49, 64, 150])
@pytest.mark.parametrize("dtype", [facula.float32, facula.float64])
def test_spectra(n, dtype):
    eps = facula.finfo(dtype).eps
    for a in spectra(n):
        a = facula.from_numpy(a).to(dtype)
        values, v = (x.double().numpy() for x in linalg.eigh(a))
        a = a.double().numpy()
        size = np.linalg.norm(a, 2)
        assert (np.diff(values) >= 0).all()
        assert np.abs(a @ v - v * values).max() <= 30 * eps * size
        assert np.abs(v.T @ v - np.eye(n)).max() <= (30 + n) * eps
        assert np.abs(values - np.linalg.eigvalsh(a)).max() <= 40 * eps * size
        alone = linalg.eigvalsh(facula.from_numpy(a).to(dtype)).double().numpy()
        assert np.abs(values - alone).max() <= 40 * eps * size


@pytest.mark.parametrize("dtype", DTYPES)
def test_indefinite(dtype):
    a = facula.randn(2, 6, 6, dtype=dtype)
    b = facula.randn(2, 6, 2, dtype=dtype)
    for hermitian in (False, True):
        s = a + (a.mH if hermitian else a.mT)
        factors = linalg.ldl_factor(s, hermitian=hermitian)
        assert_near(s @ linalg.ldl_solve(*factors, b, hermitian=hermitian), b, dtype, 10)
    with pytest.raises(RuntimeError):
        linalg.ldl_solve(factors[0], facula.full((2, 6), 9, dtype=facula.int32), b)


# --- gradients that need a Hermitian matrix, or do not depend on a phase


def real_parts(u, s, v):
    return u.abs(), s, v.abs(), u @ v


HERMITIAN = {
    "cholesky": lambda a: linalg.cholesky(a @ a.mH),
    "cholesky upper": lambda a: linalg.cholesky(a @ a.mH, upper=True),
    "cholesky_ex": lambda a: linalg.cholesky_ex(a @ a.mH)[0],
    "cholesky_solve": lambda a: facula.cholesky_solve(a[:, :1], a.triu(), True),
    "cholesky_inverse": lambda a: facula.cholesky_inverse(a.tril()),
    "eigh": lambda a: (linalg.eigh(a + a.mH)[0], linalg.eigh(a + a.mH)[1].abs()),
    "eigvalsh": lambda a: linalg.eigvalsh(a + a.mH, "U"),
    "svd": lambda a: real_parts(*linalg.svd(a, False)),
    "svd wide": lambda a: real_parts(*linalg.svd(a[:2], False)),
    "svd tall": lambda a: real_parts(*linalg.svd(a[:, :2], False)),
    "svd full": lambda a: linalg.svd(a[:2])[1],
    "eig": lambda a: (lambda values, v: (values, v.abs()))(*linalg.eig(a)),
    "qr": lambda a: (linalg.qr(a)[0].abs(), linalg.qr(a)[1].abs()),
    "qr wide": lambda a: linalg.qr(a[:2])[1].abs(),
    "triangular_solve": lambda a: facula.triangular_solve(a[:, :2], a, False, True)[0],
}


@pytest.mark.parametrize("name", HERMITIAN)
@pytest.mark.parametrize("dtype", EXACT)
def test_gradients(name, dtype):
    # eigenvectors of a complex pair of a real matrix have no double gradient worth checking
    a = facula.tensor([[2.1, -0.3, 0.8], [0.4, 1.2, -0.6], [-0.5, 0.9, -1.7]], dtype=dtype)
    a = (a + 0.3 * facula.randn(3, 3, dtype=dtype)).requires_grad_()
    assert gradcheck(HERMITIAN[name], a, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(HERMITIAN[name], a)


@pytest.mark.parametrize("upper", [False, True])
def test_gradient_of_a_factor_beside_other_numbers(upper):
    a = facula.randn(3, 3, dtype=facula.float64) + 3 * facula.eye(3, dtype=facula.float64)
    triangle = facula.triu if upper else facula.tril
    for function in (facula.cholesky_inverse, lambda x, upper: facula.cholesky_solve(a, x, upper)):
        full, clean = (x.detach().requires_grad_() for x in (a, triangle(a)))
        for x in (full, clean):
            function(x, upper=upper).square().sum().backward()
        assert facula.equal(triangle(full.grad), triangle(clean.grad))


@pytest.mark.parametrize("uplo", ["L", "U"])
def test_gradient_of_eigh_is_hermitian(uplo):
    # whichever triangle is read, and for a loss that a phase would change too
    for dtype in EXACT:
        a = facula.randn(4, 4, dtype=dtype).requires_grad_()
        values, v = linalg.eigh(a, uplo)
        ((v.real * facula.randn(4, 4, dtype=v.real.dtype)).sum() + values[0]).backward()
        assert_near(a.grad, a.grad.mH, dtype)


def test_gradients_of_nothing():
    a = facula.randn(3, 3, requires_grad=True)
    linalg.matrix_power(a, 0).sum().backward()
    assert facula.equal(a.grad, facula.zeros(3, 3))
    b = facula.randn(3, 2)
    assert linalg.lstsq(a, b).residuals.requires_grad
    assert not linalg.lstsq(a.detach(), b).residuals.requires_grad
    empty = facula.empty(0, 3, requires_grad=True)
    for order in (1, 2, float("inf")):
        assert linalg.matrix_norm(empty, order) == 0
        assert linalg.matrix_norm(empty.detach().T.expand(2, 3, 0), order).tolist() == [0, 0]
    for order in (-2, float("-inf")):
        with pytest.raises(IndexError):
            linalg.matrix_norm(empty, order)
    linalg.norm(empty, 2).backward()
    assert empty.grad.shape == (0, 3)
    assert linalg.vander(facula.tensor(3.0), N=3).tolist() == [[1, 3, 9]]


def test_repeated_singular_values():
    a = facula.eye(3, dtype=facula.float64).requires_grad_()
    (gradient,) = facula.autograd.grad(linalg.svd(a)[1].sum(), a)
    assert gradient.isfinite().all()


def test_no_gradient():
    a = facula.randn(4, 2, requires_grad=True)
    for mode in ("r", "complete"):
        with pytest.raises(RuntimeError):
            linalg.qr(a, mode)[1].sum().backward()


# --- errors


def test_singular_matrices():
    zeros = facula.zeros(2, 3, 3)
    zeros[0] = facula.eye(3)
    for function in (linalg.inv, linalg.cholesky, linalg.lu_factor, linalg.ldl_factor):
        with pytest.raises(linalg.LinAlgError, match="Batch element 1"):
            function(zeros)
        with pytest.raises(linalg.LinAlgError):
            function(zeros[1])
    with pytest.raises(linalg.LinAlgError):
        linalg.solve(zeros, facula.ones(3, 1))
    for function in (linalg.inv_ex, linalg.cholesky_ex, linalg.lu_factor_ex):
        assert function(zeros)[-1].tolist() == [0, 1]
    assert linalg.solve_ex(zeros, facula.ones(3, 1)).info.tolist() == [0, 1]
    assert linalg.cholesky_ex(facula.diag(facula.tensor([1.0, -1.0, 1.0]))).info == 2
    tail = facula.eye(40)
    tail[30, 30] = 0
    assert linalg.lu_factor_ex(tail).info == 31 and linalg.inv_ex(tail).info == 31
    tail[30, 30] = -1
    assert linalg.cholesky_ex(tail).info == 31


@pytest.mark.parametrize("function", [linalg.inv, linalg.cholesky, linalg.eigh, linalg.eig])
def test_bad_matrices(function):
    for bad in (facula.ones(3), facula.ones(2, 3), facula.eye(3).int(), facula.eye(3).half()):
        with pytest.raises(RuntimeError):
            function(bad)


def test_bad_arguments():
    eye = facula.eye(3)
    for call in (
        lambda: linalg.solve(eye, facula.ones(2)),
        lambda: linalg.solve(eye, facula.ones(3).double()),
        lambda: linalg.solve(eye, facula.ones(3), left=False),
        lambda: linalg.solve_triangular(eye, facula.ones(3), upper=True),
        lambda: linalg.eigh(eye, "X"),
        lambda: linalg.qr(eye, "x"),
        lambda: linalg.lu_factor(eye, pivot=False),
        lambda: linalg.lu_solve(eye, facula.full((3,), 7, dtype=facula.int32), eye),
        lambda: facula.lu_unpack(eye, facula.zeros(3, dtype=facula.int32)),
        lambda: linalg.svd(eye, driver="gesvd"),
    ):
        with pytest.raises(RuntimeError):
            call()


def test_not_finite():
    nan = facula.full((3, 3), float("nan"))
    with pytest.raises(linalg.LinAlgError):
        linalg.svd(nan)
    for matrix in (nan, nan.repeat(30, 30)):
        with pytest.raises(linalg.LinAlgError):
            linalg.eigh(matrix)
    with pytest.raises(RuntimeError):
        linalg.eig(nan)
    with pytest.raises(linalg.LinAlgError):
        linalg.lstsq(nan, nan)
    assert linalg.cholesky_ex(nan).info == 1
    assert linalg.qr(nan).R.isnan().any() and linalg.qr(-nan[:, :1] / 0).R.isnan().any()


# --- small matrices, several side by side


def orthonormal(v, eps):
    return (v.mT @ v - facula.eye(v.shape[-1], dtype=v.dtype)).abs().max() <= eps


@pytest.mark.parametrize(
    "shape", [(1, 1), (3, 3), (8, 8), (5, 3), (3, 7), (16, 16), (24, 24), (32, 2)]
)
@pytest.mark.parametrize("dtype", REAL)
def test_many_small_matrices(shape, dtype):
    """In double, whatever the dtype: results are good to its last places."""
    eps = 16 * facula.finfo(dtype).eps
    a = facula.randn(19, *shape, dtype=dtype)
    wide = a.double()
    for mode in ("reduced", "complete"):
        q, r = (x.double() for x in linalg.qr(a, mode))
        assert (q @ r - wide).abs().max() <= eps * wide.abs().max() and orthonormal(q, eps)
        assert r.tril(-1).eq(0).all()
    u, s, vh = (x.double() for x in linalg.svd(a, full_matrices=False))
    assert ((u * s.unsqueeze(-2)) @ vh - wide).abs().max() <= eps * s.max()
    assert orthonormal(u, eps) and orthonormal(vh.mT, eps)
    assert (s - linalg.svdvals(a).double()).abs().max() <= eps * s.max()
    if shape[0] == shape[1]:
        w, v = (x.double() for x in linalg.eigh(a @ a.mT))
        assert (v * w.unsqueeze(-2) @ v.mT - wide @ wide.mT).abs().max() <= eps * w.max()
        assert orthonormal(v, eps)


@pytest.mark.parametrize("dtype", REAL)
def test_small_matrices_of_low_rank_and_any_size(dtype):
    info, eps = facula.finfo(dtype), 16 * facula.finfo(dtype).eps
    one = facula.outer(facula.arange(6, dtype=dtype), facula.ones(4, dtype=dtype))
    for a in (one, one * 0, one * (info.max / 64), one * info.tiny, facula.eye(5, dtype=dtype)):
        u, s, vh = linalg.svd(a, full_matrices=False)
        size = a.abs().max() if a.any() else facula.tensor(1, dtype=dtype)
        assert ((u * (s / size).unsqueeze(-2)) @ vh - a / size).abs().max() <= eps
        assert orthonormal(u, eps) and orthonormal(vh.mT, eps)
        w, v = linalg.eigh((a / size) @ (a / size).mT)
        assert orthonormal(v, eps) and abs(w[-1] - (s[0] / size) ** 2) <= eps * 64
        q, r = linalg.qr(a)
        assert (q @ (r / size) - a / size).abs().max() <= eps and orthonormal(q, eps)


@pytest.mark.parametrize("dtype", REAL)
def test_a_small_matrix_alone(dtype):
    """The same bits as among others, also where one of these is not finite or takes longer."""
    a = facula.randn(21, 5, 5, dtype=dtype)
    a[3] *= 1e-20
    a[4, 1:] = 0
    for function in (linalg.qr, linalg.eigh, lambda x: linalg.svd(x, full_matrices=False)):
        whole = function(a)
        for i in (0, 3, 4, 5, 20):
            assert all(x[i].equal(y) for x, y in zip(whole, function(a[i]), strict=True))
    a[7, 2, 2] = float("nan")
    q = linalg.qr(a).Q
    assert q[7].isnan().any() and q[6].equal(linalg.qr(a[6]).Q)
    for function in (linalg.eigh, linalg.svd):
        with pytest.raises(linalg.LinAlgError, match="Batch element 7"):
            function(a)


# --- bits


@pytest.mark.parametrize("n", [40, 300])
def test_bits_do_not_depend_on_threads(n):
    was = facula.get_num_threads()
    a = regular(3, n, n, dtype=facula.float32)
    b = facula.randn(3, n, 5)
    results = []
    for threads in (1, 2, 3):
        facula.set_num_threads(threads)
        results.append(
            [
                linalg.inv(a),
                linalg.solve(a, b),
                linalg.cholesky(a @ a.mT),
                *linalg.qr(a),
                *linalg.eigh(a),
                linalg.inv(a[1]),
            ]
        )
    facula.set_num_threads(was)
    for other in results[1:]:
        assert all(x.equal(y) for x, y in zip(results[0], other))
    assert results[0][0][1].equal(results[0][-1])


# --- norms


@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 3), (2, 3)])
@pytest.mark.parametrize("dtype", EXACT)
def test_nuclear_norm(shape, dtype):
    x = facula.randn(shape, dtype=dtype)
    values = np.linalg.svd(x.numpy(), compute_uv=False).sum(-1)
    np.testing.assert_allclose(facula.norm(x, "nuc", dim=(-2, -1)).numpy(), values)
    x.requires_grad_()
    assert gradcheck(lambda x: facula.norm(x, "nuc", dim=(-2, -1)), x)
    assert gradgradcheck(lambda x: facula.norm(x, "nuc", dim=(-2, -1)), x)


def test_nuclear_norm_of_nothing():
    assert facula.norm(facula.zeros(0, 3), "nuc").item() == 0


@pytest.mark.parametrize("order", ["x", 3, 0])
def test_orders_that_are_no_norm(order):
    with pytest.raises(RuntimeError):
        linalg.matrix_norm(facula.eye(3), order)
    with pytest.raises(RuntimeError):
        linalg.norm(facula.ones(2, 3, 4), order)


# --- what is computed from factors


def test_gradient_of_a_determinant_that_is_zero():
    a = facula.tensor([[1.0, 2, 3], [2, 4, 6], [1, 0, 1]], dtype=facula.float64).requires_grad_()
    (gradient,) = facula.autograd.grad(linalg.det(a), a)
    cofactors = [[4, 4, -4], [-2, -2, 2], [0, 0, 0]]
    np.testing.assert_allclose(gradient.numpy(), cofactors, atol=1e-12)


def test_determinants():
    assert linalg.det(facula.zeros(2, 0, 0)).tolist() == [1, 1]
    assert linalg.slogdet(facula.zeros(2, 2)).logabsdet == -float("inf")
    assert facula.logdet(-facula.eye(3)).isnan() and facula.logdet(facula.eye(3)) == 0
    rows = facula.eye(5)[[1, 0, 2, 4, 3]]
    assert facula.det(rows) == 1 and facula.det(rows[[1, 0, 2, 3, 4]]) == -1


@pytest.mark.parametrize("dtype", EXACT)
def test_gradient_of_slogdet(dtype):
    a = regular(2, 3, 3, dtype=dtype).requires_grad_()
    assert gradcheck(lambda a: tuple(linalg.slogdet(a)), a)
    assert gradgradcheck(lambda a: tuple(linalg.slogdet(a)), a)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pseudo_inverse_of_low_rank(dtype):
    a = facula.randn(2, 6, 2, dtype=dtype) @ facula.randn(2, 2, 5, dtype=dtype)
    p = linalg.pinv(a, rtol=1e-4)
    assert_near(a @ p @ a, a, dtype)
    assert_near(p @ a @ p, p, dtype)
    assert linalg.matrix_rank(a, rtol=1e-4).tolist() == [2, 2]
    s = a @ a.mH
    assert_near(s @ linalg.pinv(s, rtol=1e-4, hermitian=True) @ s, s, dtype, 100)
    assert linalg.matrix_rank(s, hermitian=True, rtol=facula.tensor(1e-4)).tolist() == [2, 2]


@pytest.mark.parametrize("dtype", EXACT)
def test_gradient_of_pseudo_inverse(dtype):
    left, right = (facula.randn(*s, dtype=dtype, requires_grad=True) for s in ((4, 2), (2, 3)))
    # only such as keep the rank have a derivative
    assert gradcheck(lambda x, y: linalg.pinv(x @ y, rtol=1e-6), (left, right))
    assert gradgradcheck(lambda x, y: linalg.pinv(x @ y, rtol=1e-6), (left, right))


@pytest.mark.parametrize("driver", ["gels", "gelsy", "gelsd", "gelss"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_least_squares(driver, dtype):
    a, b = facula.randn(6, 3, dtype=dtype), facula.randn(6, 2, dtype=dtype)
    result = linalg.lstsq(a, b, driver=driver)
    x, residuals, rank, values = np.linalg.lstsq(a.numpy(), b.numpy(), rcond=None)
    assert_near(result.solution, x, dtype)
    assert result.rank.tolist() == ([] if driver == "gels" else 3)
    if driver != "gelsy":
        assert_near(result.residuals, residuals, dtype)
    if driver in ("gelsd", "gelss"):
        assert_near(result.singular_values, values, dtype)
        low = linalg.lstsq(facula.ones(6, 3, dtype=dtype), b, driver=driver)
        assert low.rank == 1 and low.residuals.shape == (0,)
    x = linalg.lstsq(a.mT, b[:3], driver=driver).solution
    assert_near(x, np.linalg.lstsq(a.mT.numpy(), b[:3].numpy(), rcond=None)[0], dtype)


@pytest.mark.parametrize("shape", [(40, 40), (90, 33), (300, 100)])
@pytest.mark.parametrize("driver", ["gels", "gelsy"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_least_squares_of_many_columns(shape, driver, dtype):
    m, n = shape
    a, b = facula.randn(3, m, n, dtype=dtype), facula.randn(3, m, 5, dtype=dtype)
    a = a + 12 * facula.eye(m, n, dtype=dtype)
    if driver == "gelsy":
        a[1, :, 7] = a[1, :, 3]
    result = linalg.lstsq(a, b, driver=driver)
    assert result.rank.tolist() == ([n, n - 1, n] if driver == "gelsy" else [])
    for i in range(3):
        x, residuals = np.linalg.lstsq(a[i].numpy(), b[i].numpy(), rcond=None)[:2]
        assert_near(result.solution[i], x, dtype, 4)
        if driver == "gels" and m > n:
            assert_near(result.residuals[i], residuals, dtype, 40)
        assert facula.equal(result.solution[i], linalg.lstsq(a[i], b[i], driver=driver).solution)
    vector = linalg.lstsq(a[0], b[0, :, 0], driver=driver).solution
    assert_near(vector, result.solution[0, :, 0], dtype)


def test_least_squares_near_the_limit_of_the_rank():
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((60, 60)))[0]
    for least, rank in ((1e-9, 59), (1e-3, 60)):
        a = q @ np.diag(np.r_[np.ones(59), least]) @ q.T
        result = linalg.lstsq(facula.from_numpy(a), facula.ones(60, 1).double(), rcond=1e-6)
        assert result.rank == rank
    a = facula.from_numpy(a)
    a[4, 4] = float("nan")
    with pytest.raises(RuntimeError):
        linalg.lstsq(a, a)


@pytest.mark.parametrize("size", [1e-9, 0.4, 3, 40])
@pytest.mark.parametrize("dtype", EXACT)
def test_matrix_exp(size, dtype):
    linalg_of = pytest.importorskip("scipy.linalg")
    a = facula.randn(4, 30, 30, dtype=dtype) * (size / 30)
    expected = linalg_of.expm(a.numpy())
    error = np.abs(linalg.matrix_exp(a).numpy() - expected).max()
    assert error <= 1e-12 * np.abs(expected).max()


def test_conditions():
    assert linalg.cond(facula.ones(3, 3), 1) == float("inf")
    assert linalg.cond(facula.eye(3)) == 1 and linalg.cond(facula.zeros(2, 0, 0)).tolist() == [0, 0]
    for bad in (
        lambda: linalg.multi_dot([facula.eye(2)]),
        lambda: facula.cross(*[facula.eye(2)] * 2),
    ):
        with pytest.raises(RuntimeError):
            bad()


def test_lu():
    a = facula.randn(3, 4, 4)
    for infos, expected in ((False, linalg.lu_factor(a)), (True, linalg.lu_factor_ex(a))):
        for result in (facula.lu(a, get_infos=infos), a.lu(get_infos=infos)):
            assert len(result) == len(expected)
            assert all(facula.equal(x, y) for x, y in zip(result, expected, strict=True))
    with pytest.raises(RuntimeError):
        facula.lu(facula.zeros(2, 2))
    assert facula.lu(facula.zeros(2, 2), get_infos=True)[2] == 1


@pytest.mark.parametrize("shape", [(9, 5), (5, 9), (2, 6, 6)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_low_rank(shape, dtype):
    *batch, m, n = shape
    a = facula.randn(*batch, m, 3, dtype=dtype) @ facula.randn(*batch, 3, n, dtype=dtype)
    mean = facula.randn(n, dtype=dtype)
    for u, s, v in (facula.svd_lowrank(a, 3), facula.svd_lowrank(a + mean, 3, M=mean)):
        assert_near((u * s.unsqueeze(-2)) @ v.mH, a, dtype, 10)
        assert_near(s, linalg.svdvals(a)[..., :3], dtype, 10)
    u, s, v = facula.pca_lowrank(a)
    assert u.shape[-1] == min(6, m, n)
    assert_near(s[..., :3], linalg.svdvals(a - a.mean(-2, True))[..., :3], dtype, 10)
    for bad in ({"q": min(m, n) + 1}, {"q": -1}, {"niter": -1}):
        with pytest.raises(ValueError):
            facula.pca_lowrank(a, **bad)


@pytest.mark.parametrize("dtype", EXACT)
def test_norm_of_zeros_has_a_second_gradient(dtype):
    x = facula.zeros(3, dtype=dtype, requires_grad=True)
    weight = facula.ones((), dtype=facula.float64, requires_grad=True)
    (g,) = facula.autograd.grad(weight * linalg.vector_norm(x), x, create_graph=True)
    second = facula.autograd.grad(g.real.sum(), (x, weight))
    assert facula.equal(g.detach(), facula.zeros(3, dtype=dtype))
    assert facula.equal(second[0], facula.zeros(3, dtype=dtype)) and second[1] == 0


@pytest.mark.parametrize(
    "solve",
    [
        lambda a, v: facula.cholesky_solve(v, a),
        lambda a, v: facula.cholesky_solve(a, v),
        lambda a, v: linalg.ldl_solve(*linalg.ldl_factor(a), v),
    ],
)
def test_solutions_refuse_vectors(solve):
    with pytest.raises(RuntimeError, match="takes matrices, or batches of them"):
        solve(facula.eye(3), facula.ones(3))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_of_no_elements(dtype):
    empty = facula.empty(2, 0, 0, dtype=dtype)
    assert linalg.inv(empty).shape == linalg.solve(empty, empty).shape == (2, 0, 0)
    assert linalg.qr(facula.empty(3, 0, dtype=dtype), "r")[1].shape == (0, 0)
    assert linalg.qr(facula.empty(0, 3, dtype=dtype)).R.shape == (0, 3)
    assert linalg.qr(facula.empty(2**40, 0, 3, dtype=dtype)).R.shape == (2**40, 0, 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda f: facula.tensordot(
            facula.ones(1, 1, 1, 1), facula.ones(1, 1, 1, 1), [[0] * 64] * 2
        ),
        lambda f: facula.tensordot(facula.tensor(2.0), facula.tensor(3.0), ([0], [0])),
        lambda f: facula.linalg.tensorsolve(facula.ones(1, 1), facula.ones(1), [0] * 1000),
        lambda f: facula.linalg.vander(facula.ones([1] * 64)),
        lambda f: f["_spread_index"](facula.tensor([0]), 0, [1] * 1000),
        lambda f: f["_lu_backward"](
            *[facula.tensor(1.0)] * 3, facula.tensor(1, dtype=facula.int32)
        ),
        lambda f: f["_qr_backward"](*[facula.tensor(1.0)] * 4, "reduced"),
        lambda f: f["_pivot_order"](facula.tensor([-(2**31)], dtype=facula.int32), 1),
        lambda f: f["_rnn_layer_backward"](
            facula.ones(1, 1, 1).requires_grad_(),
            facula.ones(3, 1, 1),
            *[facula.ones(1, 1)] * 2,
            facula.ones(3, 1, 1),
            False,
            False,
        ),
    ],
    ids="tensordot scalars tensorsolve vander spread_index lu qr pivots rnn".split(),
)
def test_shapes_that_do_not_fit(call):
    with pytest.raises(RuntimeError):
        call(facula._C._functions)
