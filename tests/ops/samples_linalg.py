"""Samples of csrc/ops/linalg.py: products and the inverse."""

import facula
import numpy as np
import scipy.special as special
from registry import Sample, samples

PRODUCTS = "int float complex"


def scalars(make):
    """beta and alpha for the dtype under test."""
    whole = not (make.dtype.is_floating_point or make.dtype.is_complex)
    yield {}
    yield {"beta": 2, "alpha": 3} if whole else {"beta": 0.5, "alpha": -1.5}
    yield {"beta": 0, "alpha": 1}


@samples("mm", reference=np.matmul, dtypes=PRODUCTS)
def _(make):
    for n, k, m in ((2, 3, 4), (1, 5, 1), (7, 1, 3), (0, 3, 2), (2, 0, 3), (17, 33, 35)):
        yield Sample((make(n, k), make(k, m)))
    yield Sample((make(3, 2).t(), make(4, 3).t()))


@samples("bmm", reference=np.matmul, dtypes=PRODUCTS)
def _(make):
    yield Sample((make(3, 2, 4), make(3, 4, 5)))
    yield Sample((make(0, 2, 4), make(0, 4, 5)))
    yield Sample((make(2, 3, 4).transpose(1, 2), make(2, 3, 5)))


def added(product):
    """The reference of addmm and its like."""

    def reference(self, a, b, beta=1, alpha=1):
        result = alpha * product(a, b)
        return np.broadcast_to(beta * self, result.shape) + result

    return reference


@samples("addmm", reference=added(np.matmul), dtypes=PRODUCTS)
def _(make):
    for scale in scalars(make):
        yield Sample((make(2, 4), make(2, 3), make(3, 4)), scale)
    yield Sample((make(4), make(2, 3), make(3, 4)))
    yield Sample((make(2, 1), make(2, 3), make(3, 4)))
    yield Sample((make(), make(2, 0), make(0, 4)))


def activated(self, a, b, beta=1, alpha=1, use_gelu=False):
    total = added(np.matmul)(self, a, b, beta, alpha)
    return special.ndtr(total) * total if use_gelu else np.maximum(total, 0)


@samples("_addmm_activation", reference=activated, dtypes="int float")
def _(make):
    for scale in scalars(make):
        yield Sample((make(2, 4), make(2, 3), make(3, 4)), scale)
    yield Sample((make(4), make(30, 65), make(65, 4)))
    if make.dtype.is_floating_point:
        yield Sample((make(4), make(2, 3), make(3, 4)), {"use_gelu": True})
        yield Sample((make(2, 1), make(2, 3), make(3, 4)), {"alpha": 0.5, "use_gelu": True})


@samples(
    "_int_mm",
    reference=lambda a, b: np.matmul(a.astype("int32"), b.astype("int32")),
    dtypes="int8 uint8",
)
def _(make):
    for n, k, m in ((2, 3, 4), (1, 5, 1), (0, 3, 2), (2, 0, 3), (17, 33, 35)):
        yield Sample((make(n, k), make(k, m, dtype=facula.int8)), dtype=facula.int32)
    yield Sample((make(3, 2).t(), make(4, 3, dtype=facula.int8).t()), dtype=facula.int32)


@samples("baddbmm", reference=added(np.matmul), dtypes=PRODUCTS)
def _(make):
    for scale in scalars(make):
        yield Sample((make(2, 2, 4), make(2, 2, 3), make(2, 3, 4)), scale)
    yield Sample((make(2, 1), make(3, 2, 3), make(3, 3, 4)))


@samples("addbmm", reference=added(lambda a, b: np.matmul(a, b).sum(0, a.dtype)), dtypes=PRODUCTS)
def _(make):
    for scale in scalars(make):
        yield Sample((make(2, 4), make(3, 2, 3), make(3, 3, 4)), scale)


@samples("mv", reference=np.matmul, dtypes=PRODUCTS)
def _(make):
    yield Sample((make(3, 4), make(4)))
    yield Sample((make(40, 33), make(33)))
    yield Sample((make(4, 3).t(), make(4)))
    yield Sample((make(3, 0), make(0)))


@samples("addmv", reference=added(np.matmul), dtypes=PRODUCTS)
def _(make):
    for scale in scalars(make):
        yield Sample((make(3), make(3, 4), make(4)), scale)


@samples("addr", reference=added(np.outer), dtypes=PRODUCTS)
def _(make):
    for scale in scalars(make):
        yield Sample((make(3, 4), make(3), make(4)), scale)


@samples("dot", reference=np.dot, dtypes=PRODUCTS)
def _(make):
    yield Sample((make(5), make(5)))
    yield Sample((make(0), make(0)))
    yield Sample((make(70)[::2], make(35)))


@samples("vdot", dtypes=PRODUCTS)
def _(make):
    yield Sample((make(5), make(5)))


@samples("outer", "ger", reference=np.outer, dtypes="bool int float complex")
def _(make):
    yield Sample((make(3), make(4)))
    yield Sample((make(0), make(4)))


@samples("inner", dtypes=PRODUCTS)
def _(make):
    yield Sample((make(3), make(3)))
    yield Sample((make(2, 3), make(4, 3)))
    yield Sample((make(2, 5, 3), make(3)))
    yield Sample((make(), make(2, 3)))


@samples("matmul", dtypes=PRODUCTS)
def _(make):
    shapes = [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4))]
    shapes += [((5, 2, 3), (3,)), ((3,), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((5, 1, 2, 3), (6, 3, 4))]
    shapes += [((1, 2, 3), (5, 3, 4)), ((0, 2, 3), (3, 4)), ((2, 5, 0), (2, 0, 3))]
    for a, b in shapes:
        yield Sample((make(*a), make(*b)))


@samples("kron", dtypes=PRODUCTS)
def _(make):
    yield Sample((make(2, 3), make(4, 2)))
    yield Sample((make(3), make(2, 2)))
    yield Sample((make(), make(3)))


def linear(x, weight, bias=None):
    return x @ weight.T + (0 if bias is None else bias)


@samples("linear", reference=linear, dtypes="float complex")
def _(make):
    for lead in ((), (2,), (0,), (2, 3)):
        yield Sample((make(*lead, 5), make(4, 5), make(4)))
        yield Sample((make(*lead, 5), make(4, 5)))
    yield Sample((make(3, 5), make(5)))
    yield Sample((make(33, 40), make(35, 40), make(35)))


# Rows that repeat are no matrix with an inverse: not "expanded".
INVERTIBLE = {"dtypes": "float32 float64 complex", "layouts": "transposed stepped conjugated"}


@samples("linalg_inv", "inverse", reference=np.linalg.inv, **INVERTIBLE)
def _(make):
    for shape in ((3, 3), (2, 3, 3), (0, 0), (2, 0, 0)):
        eye = 5 * facula.eye(shape[-1], dtype=make.dtype)
        yield Sample((make(*shape) + eye,))


@samples(
    "linalg_inv_ex",
    **INVERTIBLE,
    reference=lambda a: (np.linalg.inv(a), np.zeros(a.shape[:-2], np.int32)),
)
def _(make):
    yield Sample((make(2, 3, 3) + 5 * facula.eye(3, dtype=make.dtype),))
