"""Samples of csrc/ops/matrix.py."""

import numpy as np
import scipy.linalg
from registry import Sample, samples
from samples_decompose import FULL, regular, wide

ORDERS = (1, -1, 2, -2, float("inf"), float("-inf"))


@samples("linalg_det", "det", **FULL)
def _(make):
    for shape in ((1, 1), (3, 3), (2, 4, 4), (0, 0), (2, 0, 0)):
        yield Sample((wide(make, *shape),))


@samples("linalg_slogdet", "slogdet", reference=lambda a: tuple(np.linalg.slogdet(a)), **FULL)
def _(make):
    for shape in ((1, 1), (3, 3), (2, 4, 4), (0, 0)):
        yield Sample((regular(make, *shape),), grad=not make.dtype.is_complex or shape == (3, 3))


@samples("logdet", reference=lambda a: np.log(np.linalg.det(a)), **FULL)
def _(make):
    yield Sample((regular(make, 3, 3),))
    yield Sample((regular(make, 2, 2, 2),))


@samples("linalg_pinv", **FULL)
def _(make):
    for shape in ((3, 3), (4, 2), (2, 2, 4)):
        yield Sample((wide(make, *shape),))
        yield Sample((wide(make, *shape),), {"rtol": 1e-3})
        yield Sample((wide(make, *shape), 1e-3))
    yield Sample((make.symmetric(3, 2),), {"hermitian": True}, grad=False)
    yield Sample((make(0, 3),), grad=False)


@samples("pinverse", reference=lambda a: np.linalg.pinv(a), **FULL)
def _(make):
    yield Sample((wide(make, 4, 2),))


@samples("linalg_matrix_rank", **FULL)
def _(make):
    for shape in ((3, 3), (4, 2), (2, 2, 4), (0, 3)):
        yield Sample((make(*shape),))
        yield Sample((make(*shape), 0.5))
        yield Sample((make(*shape),), {"rtol": 0.1, "atol": 0.1})
    yield Sample((make.symmetric(3, 2),), {"hermitian": True})


@samples("linalg_lstsq", **FULL)
def _(make):
    for shape in ((4, 4), (5, 3), (3, 5), (2, 5, 3)):
        for driver in (None, "gels", "gelsd"):
            # singular values have no gradient here
            smooth = driver != "gelsd"
            yield Sample(
                (wide(make, *shape), make(*shape[:-1], 2)), {"driver": driver}, grad=smooth
            )
    yield Sample((wide(make, 2, 4, 3), make(2, 4)))


@samples("linalg_matrix_exp", "matrix_exp", reference=scipy.linalg.expm, **FULL)
def _(make):
    for shape in ((1, 1), (3, 3), (2, 4, 4)):
        yield Sample((make(*shape),))
    yield Sample((0.01 * make(3, 3),))


@samples("linalg_matrix_power", "matrix_power", **FULL)
def _(make):
    for n in (0, 1, 2, 3, 6, -1, -3):
        yield Sample((regular(make, 2, 3, 3), n))


def multi_dot(tensors):
    return np.linalg.multi_dot(tensors)


@samples("linalg_multi_dot", reference=multi_dot, dtypes="float32 float64 complex")
def _(make):
    yield Sample(([make(2, 3), make(3, 4)],))
    yield Sample(([make(3), make(3, 5), make(5, 2), make(2, 4), make(4)],))
    yield Sample(([make(2, 6), make(6, 3), make(3, 1)],))


@samples("chain_matmul", reference=multi_dot, dtypes="float32 float64 complex")
def _(make):
    yield Sample(([make(2, 3), make(3, 4), make(4, 2)],))


@samples("linalg_tensorinv", **FULL)
def _(make):
    yield Sample((make(2, 3, 6), 2))
    yield Sample((make(4, 2, 2), 1))


@samples("linalg_tensorsolve", reference=lambda a, b: np.linalg.tensorsolve(a, b), **FULL)
def _(make):
    yield Sample((make(2, 3, 6), make(2, 3)))
    yield Sample((make(4, 2, 2), make(4)))


def vander(x, N=None):  # noqa: N803
    powers = np.arange(x.shape[-1] if N is None else N)
    return x[..., None] ** powers


@samples("linalg_vander", reference=vander, dtypes="int float32 float64 complex")
def _(make):
    yield Sample((make(3),))
    yield Sample((make(2, 3),), {"N": 2})
    yield Sample((make(2, 2),), {"N": 3})


# --- norms: those of complex matrices have real results


def matrix_norm(a, order="fro", dim=(-2, -1), keepdim=False):
    return np.linalg.norm(a, order, tuple(dim), keepdim)


@samples("linalg_matrix_norm", reference=matrix_norm, **FULL)
def _(make):
    for order in ORDERS:
        yield Sample((make(3, 2), order))
        yield Sample((make(2, 3, 4), order, (0, 2), True))


@samples("linalg_matrix_norm.str_ord", reference=matrix_norm, **FULL)
def _(make):
    yield Sample((make(3, 2),))
    yield Sample((make(2, 3, 4), "nuc", (0, 2), True))


@samples("linalg_norm", reference=lambda a, ord=None, dim=None: np.linalg.norm(a, ord, dim), **FULL)
def _(make):
    for order in ORDERS:
        yield Sample((make(3, 2), order))
        yield Sample((make(2, 3), order, 1))
    yield Sample((make(2, 3, 4), 2, (0, 1)))
    yield Sample((make(5), 3))


@samples("linalg_norm.ord_str", reference=lambda a, ord: np.linalg.norm(a, ord), **FULL)
def _(make):
    yield Sample((make(3, 2), "fro"))
    yield Sample((make(3, 2), "nuc"))


@samples("linalg_cond", reference=lambda a, p=None: np.linalg.cond(a, p), **FULL)
def _(make):
    yield Sample((make(3, 2),))
    for order in ORDERS:
        yield Sample((regular(make, 3, 3), order))
    yield Sample((regular(make, 2, 3, 3), 1))


@samples("linalg_cond.p_str", reference=lambda a, p: np.linalg.cond(a, p), **FULL)
def _(make):
    yield Sample((regular(make, 3, 3), "fro"))
    yield Sample((regular(make, 3, 3), "nuc"))


# --- vectors


@samples(
    "linalg_vecdot",
    reference=lambda x, y, dim=-1: (x.conj() * y).sum(dim),
    dtypes="int float32 float64 complex",
)
def _(make):
    yield Sample((make(2, 3), make(2, 3)))
    yield Sample((make(2, 3), make(4, 1, 3)), {"dim": -2})


@samples("linalg_cross", reference=lambda a, b, dim=-1: np.cross(a, b, axis=dim), **FULL)
def _(make):
    yield Sample((make(2, 3), make(2, 3)))
    yield Sample((make(3, 4), make(3, 1)), {"dim": 0})


@samples("cross", reference=lambda a, b: np.cross(a, b, axis=0), **FULL)
def _(make):
    yield Sample((make(3, 3), make(3, 3)))
    yield Sample((make(3, 2), make(3, 2)))


@samples("linalg_matmul", dtypes="float32 float64 complex")
def _(make):
    yield Sample((make(2, 3), make(3, 4)))


@samples("linalg_diagonal", dtypes="float32 float64 complex")
def _(make):
    yield Sample((make(2, 3, 4),))
    yield Sample((make(2, 3, 4),), {"offset": 1, "dim1": 0, "dim2": 1})
