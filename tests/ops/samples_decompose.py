"""Samples of csrc/ops/decompose.py. What is fixed only up to a sign or a phase has no reference
here: see tests/python/test_linalg.py."""

import facula
import numpy as np
from registry import Sample, samples

# Rows that repeat are no matrix with an inverse: not "expanded".
FULL = {"dtypes": "float32 float64 complex", "layouts": "transposed stepped conjugated"}
SHAPES = ((1, 1), (3, 3), (4, 2), (2, 4), (2, 3, 2), (0, 3), (3, 0), (0, 2, 2))
SQUARE = ((1, 1), (3, 3), (2, 4, 4), (0, 0), (0, 2, 2))


def regular(make, *shape):
    """Square matrices that are far from singular."""
    return make(*shape) + 5 * facula.eye(shape[-1], dtype=make.dtype)


def wide(make, *shape):
    """Triangles of them are far from singular, too."""
    return make(*shape) + 3 * facula.eye(*shape[-2:], dtype=make.dtype)


def triangular(a, b, upper, left=True, unitriangular=False):
    t = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        n = t.shape[-1]
        t = t - t * np.eye(n) + np.eye(n)
    if left:
        return np.linalg.solve(t, b)
    return np.linalg.solve(t.swapaxes(-1, -2), b.swapaxes(-1, -2)).swapaxes(-1, -2)


def adjoint(a):
    return a.conj().swapaxes(-1, -2)


# --- Cholesky. A perturbed matrix is no longer Hermitian: gradients are in test_linalg.py.

DEFINITE = {**FULL, "layouts": "transposed stepped conjugated"}


def cholesky(a, upper=False):
    lower = np.linalg.cholesky(a)
    return adjoint(lower) if upper else lower


@samples("linalg_cholesky", "cholesky", reference=cholesky, **DEFINITE)
def _(make):
    for batch, n in (((), 1), ((), 3), ((2,), 4), ((), 0), ((0,), 2)):
        for upper in (False, True):
            yield Sample((make.symmetric(n, *batch),), {"upper": upper}, grad=False)


@samples(
    "linalg_cholesky_ex",
    reference=lambda a, upper=False, check_errors=False: (
        cholesky(a, upper),
        np.zeros(a.shape[:-2], np.int32),
    ),
    **DEFINITE,
)
def _(make):
    yield Sample((make.symmetric(3, 2),), grad=False)
    yield Sample((make.symmetric(3),), {"upper": True, "check_errors": True}, grad=False)


def cholesky_solve(b, a, upper=False):
    return np.linalg.solve(adjoint(a) @ a if upper else a @ adjoint(a), b)


@samples("cholesky_solve", reference=lambda b, a, upper=False: cholesky_solve(b, a, upper), **FULL)
def _(make):
    for upper in (False, True):
        triangle = (facula.triu if upper else facula.tril)(wide(make, 3, 3))
        yield Sample((make(3, 2), triangle), {"upper": upper}, grad=False)
        yield Sample((make(2, 3, 2), triangle), {"upper": upper}, grad=False)


@samples(
    "cholesky_inverse",
    reference=lambda a, upper=False: np.linalg.inv(adjoint(a) @ a if upper else a @ adjoint(a)),
    **FULL,
)
def _(make):
    yield Sample((facula.tril(wide(make, 3, 3)),), grad=False)
    yield Sample((facula.triu(wide(make, 2, 3, 3)),), {"upper": True}, grad=False)


# --- systems


@samples("linalg_solve_triangular", reference=triangular, **FULL)
def _(make):
    for upper in (False, True):
        for unit in (False, True):
            more = {"upper": upper, "unitriangular": unit}
            yield Sample((wide(make, 3, 3), make(3, 2)), more)
            yield Sample((wide(make, 2, 1, 3, 3), make(4, 3, 2)), more)
            yield Sample((wide(make, 3, 3), make(2, 5, 3)), {**more, "left": False})
    yield Sample((wide(make, 20, 20), make(20, 3)), {"upper": True})
    yield Sample((make(0, 0), make(0, 2)), {"upper": True})


def triangular_solve(b, a, upper=True, transpose=False, unitriangular=False):
    t = a.swapaxes(-1, -2) if transpose else a
    return triangular(t, b, upper != transpose, unitriangular=unitriangular), a


@samples("triangular_solve", reference=triangular_solve, **FULL)
def _(make):
    yield Sample((make(3, 2), wide(make, 3, 3)))
    yield Sample((make(2, 3, 2), wide(make, 3, 3)), {"upper": False, "transpose": True}, grad=False)


def solve(a, b, left=True):
    vector = b.ndim == 1 or a.shape[:-1] == b.shape
    if not left:
        return solve(a.swapaxes(-1, -2), b.swapaxes(-1, -2)).swapaxes(-1, -2)
    return np.linalg.solve(a, b[..., None])[..., 0] if vector else np.linalg.solve(a, b)


@samples("linalg_solve", reference=solve, **FULL)
def _(make):
    yield Sample((regular(make, 3, 3), make(3)))
    yield Sample((regular(make, 3, 3), make(3, 2)))
    yield Sample((regular(make, 2, 3, 3), make(2, 3)))
    yield Sample((regular(make, 2, 1, 3, 3), make(4, 3, 2)))
    yield Sample((regular(make, 3, 3), make(2, 3)), {"left": False})
    yield Sample((regular(make, 20, 20), make(20, 3)))
    yield Sample((make(0, 0), make(0, 2)))


@samples(
    "linalg_solve_ex",
    reference=lambda a, b, **kwargs: (solve(a, b), np.zeros(a.shape[:-2], np.int32)),
    **FULL,
)
def _(make):
    yield Sample((regular(make, 2, 3, 3), make(2, 3, 2)))
    yield Sample((regular(make, 3, 3), make(3)), {"check_errors": True})


@samples("linalg_lu_factor", **FULL)
def _(make):
    for shape in SHAPES:
        yield Sample((wide(make, *shape),))
    yield Sample((make(20, 30),))


@samples("linalg_lu_factor_ex", "linalg_lu", **FULL)
def _(make):
    for shape in SHAPES:
        yield Sample((wide(make, *shape),))


@samples("lu_unpack", **FULL)
def _(make):
    for shape in ((3, 3), (2, 4, 2), (2, 4)):
        factors, pivots = facula.linalg.lu_factor(make(*shape))
        yield Sample((factors, pivots))
        yield Sample((factors, pivots), {"unpack_data": False})
        yield Sample((factors, pivots), {"unpack_pivots": False})


@samples("linalg_lu_solve", **FULL)
def _(make):
    factors, pivots = facula.linalg.lu_factor(regular(make, 2, 3, 3))
    for left in (True, False):
        for is_adjoint in (False, True):
            b = make(2, 3, 4) if left else make(2, 4, 3)
            yield Sample((factors, pivots, b), {"left": left, "adjoint": is_adjoint})
    yield Sample((factors, pivots, make(3, 4)))


@samples("lu_solve", **FULL)
def _(make):
    factors, pivots = facula.linalg.lu_factor(regular(make, 3, 3))
    yield Sample((make(3, 2), factors, pivots))


# --- QR: R has a real diagonal, of which the reflectors fix the sign


def qr(a, mode="reduced"):
    result = np.linalg.qr(a, mode)
    return (np.zeros(0, a.dtype), result) if mode == "r" else tuple(result)


@samples("linalg_qr", reference=qr, **FULL)
def _(make):
    for shape in SHAPES:
        smooth = not make.dtype.is_complex or shape[-2] > shape[-1]
        yield Sample((make(*shape),), grad=smooth)
        tall = shape[-2] > shape[-1]
        yield Sample((make(*shape), "complete"), grad=smooth and not tall)
        yield Sample((make(*shape), "r"), grad=False)
    yield Sample((make(40, 35),), grad=False)


@samples("qr", reference=lambda a, some=True: qr(a, "reduced" if some else "complete"), **FULL)
def _(make):
    yield Sample((make(4, 2),))
    yield Sample((make(4, 2), False), grad=False)


@samples("geqrf", **FULL)
def _(make):
    for shape in SHAPES:
        yield Sample((make(*shape),))


@samples("linalg_householder_product", "orgqr", **FULL)
def _(make):
    yield Sample((make(4, 3), make(3)))
    yield Sample((make(4, 3), make(2)))
    yield Sample((make(2, 3, 3), make(2, 3)))


@samples("ormqr", **FULL)
def _(make):
    for left in (True, False):
        for transpose in (False, True):
            c = make(4, 3) if left else make(3, 4)
            yield Sample((make(4, 2), make(2), c), {"left": left, "transpose": transpose})


# --- spectra: values; vectors are in test_linalg.py


@samples("linalg_svd", **FULL)
def _(make):
    for shape in SHAPES:
        yield Sample((make(*shape), False), grad=not make.dtype.is_complex)
        yield Sample((make(*shape),), grad=False)


@samples("svd", **FULL)
def _(make):
    yield Sample((make(4, 2),), grad=not make.dtype.is_complex)
    yield Sample((make(2, 4), False), grad=False)
    yield Sample((make(2, 4), True, False))


@samples("linalg_svdvals", reference=lambda a: np.linalg.svd(a, compute_uv=False), **FULL)
def _(make):
    for shape in SHAPES:
        yield Sample((make(*shape),))


# Only one triangle is read, and gradients are those of a Hermitian matrix: see test_linalg.py.
@samples("linalg_eigh", **FULL)
def _(make):
    for shape in SQUARE:
        yield Sample((make(*shape),), grad=False)
        yield Sample((make(*shape), "U"), grad=False)


@samples("linalg_eigvalsh", reference=np.linalg.eigvalsh, **FULL)
def _(make):
    for shape in SQUARE:
        yield Sample((make(*shape),), grad=False)
        yield Sample((make(*shape), "U"), grad=False)


@samples("linalg_eig", **FULL)
def _(make):
    for shape in SQUARE:
        yield Sample((make(*shape),), grad=False)


@samples("linalg_eigvals", **FULL)
def _(make):
    for shape in SQUARE:
        yield Sample((make(*shape),))


# The peer has no gradients of these either.
@samples("linalg_ldl_factor", "linalg_ldl_factor_ex", grad=False, **FULL)
def _(make):
    for batch, n in (((), 3), ((2,), 4), ((), 0)):
        yield Sample((make.symmetric(n, *batch),), {"hermitian": True})


@samples("linalg_ldl_solve", grad=False, **FULL)
def _(make):
    factors, pivots = facula.linalg.ldl_factor(make.symmetric(3, 2), hermitian=True)
    yield Sample((factors, pivots, make(2, 3, 2)), {"hermitian": True})
    yield Sample((factors, pivots, make(3, 2)), {"hermitian": True})
