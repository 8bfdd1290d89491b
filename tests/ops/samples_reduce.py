"""Samples of csrc/ops/reduce.py and csrc/ops/scan.py.

Extremes take distinct elements where gradients are checked: finite differences know nothing of
ties.
"""

import math

import facula
import numpy as np
from registry import Sample, samples

REAL = "int float"
ORDERED = "bool int float"
FLOAT = "float complex"
ALL = "bool int float complex"


def axis(a, dim):
    """None and [] are all dims; what NumPy's reductions take for a 0-d array is ()."""
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    return (tuple(dims) or None) if a.ndim else None


def over(function):
    """The reference of a reduction from the NumPy function of the same meaning."""
    return lambda a, dim=None, keepdim=False: function(a, axis=axis(a, dim), keepdims=keepdim)


def tensors(make):
    """Shapes and layouts that take each way through the engine of reductions."""
    yield make(4, 5)
    yield make(3, 4, 5).transpose(0, 2)
    yield make(40, 3)[::2]
    yield make(1).expand(6, 4)
    yield make(0, 3)
    yield make()


def reductions(make, *, large=True):
    for tensor in tensors(make):
        for dim in range(-tensor.ndim, tensor.ndim) or (0, -1):
            yield Sample((tensor, dim))
        yield Sample((tensor, (0, -1) if tensor.ndim > 1 else (0,)), {"keepdim": True})
    if large:
        for shape, dim in (((3, 9000), 1), ((3000, 70), 0), ((5, 300, 40), 1)):
            yield Sample((make(*shape, low=-1, high=1), dim), grad=False)


# --- sums and products ----------------------------------------------------------------------------


@samples("sum", reference=lambda a: a.sum(), dtypes=ALL)
def _(make):
    for tensor in tensors(make):
        yield Sample((tensor,))
    yield Sample((make(200000, low=-1, high=1),), grad=False)


@samples("sum.dim_IntList", reference=over(np.sum), dtypes=ALL)
def _(make):
    yield from reductions(make)
    yield Sample((make(2, 3), None))
    yield Sample((make(2, 3), []))


@samples("nansum", reference=over(np.nansum), dtypes=ORDERED)
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(3, 4), 1))
    if make.dtype.is_floating_point:
        tensor = make(3, 4)
        tensor[1] = math.nan
        yield Sample((tensor, 0), grad=False)


@samples("mean", reference=lambda a: a.mean(), dtypes=FLOAT)
def _(make):
    yield Sample((make(4, 5),))
    yield Sample((make(),))


@samples("mean.dim", reference=over(np.mean), dtypes=FLOAT)
def _(make):
    for sample in reductions(make):
        if sample.args[0].numel():
            yield sample


@samples("nanmean", reference=over(np.nanmean), dtypes="float")
def _(make):
    yield Sample((make(3, 4), 1))
    tensor = make(3, 4)
    tensor[1, 2] = math.nan
    yield Sample((tensor, 0, True), grad=False)


@samples("prod", reference=lambda a: a.prod(), dtypes=ALL)
def _(make):
    yield Sample((make(2, 3),))
    yield Sample((make(),))
    one_zero = make(5)
    one_zero[2] = 0
    yield Sample((one_zero,))


@samples("prod.dim_int", reference=over(np.prod), dtypes=ALL)
def _(make):
    for dim in (0, 1, -1):
        yield Sample((make(3, 4, 2), dim))
    zeros = make(3, 4)
    zeros[0, 1] = zeros[2, 1] = zeros[1, 2] = 0
    yield Sample((zeros, 0, True))
    yield Sample((make(0, 3), 0))
    yield Sample((make(), 0))


@samples("count_nonzero", reference=over(np.count_nonzero), dtypes=ALL)
def _(make):
    yield Sample((make(4, 5),))
    yield Sample((make(4, 5), 1))


@samples("count_nonzero.dim_IntList", reference=over(np.count_nonzero), dtypes=ALL)
def _(make):
    yield Sample((make(4, 5, 2), (0, 2)))


@samples("trace", reference=np.trace, dtypes="int float complex")
def _(make):
    yield Sample((make(3, 5),))
    yield Sample((make(4, 0),))


# --- extremes -------------------------------------------------------------------------------------


def distinct_reductions(make):
    for dim in (0, 1, (0, 2), ()):
        yield Sample((make.distinct(3, 4, 2), dim))
    yield Sample((make.distinct(0, 3), 1), grad=False)
    yield Sample((make(2000, 7), 0), grad=False)
    yield Sample((make(7, 2000), 1, True), grad=False)
    if make.dtype.is_floating_point:
        tensor = make(5, 6)
        tensor[2, 3] = math.nan
        yield Sample((tensor, 1), grad=False)


@samples("amax", reference=over(np.amax), dtypes=ORDERED)
def _(make):
    yield from distinct_reductions(make)


@samples("amin", reference=over(np.amin), dtypes=ORDERED)
def _(make):
    yield from distinct_reductions(make)


@samples(
    "aminmax",
    reference=lambda a, dim=None, keepdim=False: (
        np.amin(a, axis(a, dim), keepdims=keepdim),
        np.amax(a, axis(a, dim), keepdims=keepdim),
    ),
    dtypes=ORDERED,
)
def _(make):
    yield Sample((make.distinct(3, 4),))
    yield Sample((make.distinct(3, 4),), {"dim": 1, "keepdim": True})


@samples("max", reference=lambda a: a.max(), dtypes=ORDERED)
def _(make):
    yield Sample((make.distinct(3, 4),))
    yield Sample((make.distinct(),))


@samples("min", reference=lambda a: a.min(), dtypes=ORDERED)
def _(make):
    yield Sample((make.distinct(3, 4),))
    yield Sample((make(100000),), grad=False)


def extreme_along(value, place):
    def reference(a, dim, keepdim=False):
        if not a.ndim:
            return a, np.zeros((), np.int64)
        return value(a, dim, keepdims=keepdim), place(a, dim, keepdims=keepdim)

    return reference


def along(make):
    for dim in (0, 1, -1):
        yield Sample((make.distinct(3, 4, 2), dim))
    yield Sample((make.distinct(3, 4), 0, True))
    yield Sample((make.distinct(), 0))
    yield Sample((make.distinct(0, 3), 1))
    yield Sample((make(3000, 5, low=0, high=3), 0), grad=False)  # ties: the first one
    yield Sample((make(5, 3000, low=0, high=3), 1), grad=False)


@samples("max.dim", reference=extreme_along(np.amax, np.argmax), dtypes=ORDERED)
def _(make):
    yield from along(make)


@samples("min.dim", reference=extreme_along(np.amin, np.argmin), dtypes=ORDERED)
def _(make):
    yield from along(make)


@samples("max.other", "min.other", dtypes=ORDERED)
def _(make):
    yield Sample((make(3, 4), make(4)))


def place(function):
    return lambda a, dim=None, keepdim=False: function(a, dim, keepdims=keepdim)


@samples("argmax", reference=place(np.argmax), dtypes=REAL)
def _(make):
    yield Sample((make(3, 4),))
    for sample in along(make):
        if sample.args[0].ndim:
            yield sample


@samples("argmin", reference=place(np.argmin), dtypes=REAL)
def _(make):
    yield Sample((make(3, 4).transpose(0, 1),))
    for sample in along(make):
        if sample.args[0].ndim:
            yield sample


@samples("_select_from_backward", dtypes="float", grad=False)
def _(make):
    yield Sample((make(3), 1, make.index(4, 3), (3, 4), False))
    yield Sample((make(3, 1), 1, make.index(4, 3, 1), (3, 4), True))


@samples("_share_evenly", dtypes="float", grad=False)
def _(make):
    tensor = make(6, low=0, high=1).round()
    yield Sample((make(), tensor, tensor.max()))


# --- truth ----------------------------------------------------------------------------------------


def result_of_truth(tensor):
    return facula.uint8 if tensor.dtype == facula.uint8 else facula.bool


def truth(make):
    yield make(3, 4)
    yield make(3, 4) != make(3, 4)
    yield make(3, 1000) * 0
    yield make(0)


def truth_reference(function):
    def reference(a, dim=None, keepdim=False):
        if dim == ():
            return a != 0
        return function(a != 0, axis=axis(a, dim), keepdims=keepdim)

    return reference


@samples("any", reference=lambda a: np.any(a), dtypes="bool int float complex")
def _(make):
    for tensor in truth(make):
        yield Sample((tensor,), dtype=result_of_truth(tensor))


@samples("all", reference=lambda a: np.all(a), dtypes="bool int float complex")
def _(make):
    for tensor in truth(make):
        yield Sample((tensor,), dtype=result_of_truth(tensor))


def truth_along(make):
    for tensor in truth(make):
        for dim in range(tensor.ndim):
            yield Sample((tensor, dim), dtype=result_of_truth(tensor))
            yield Sample((tensor, dim, True), dtype=result_of_truth(tensor))


@samples("any.dim", reference=truth_reference(np.any), dtypes=ALL)
def _(make):
    yield from truth_along(make)


@samples("all.dim", reference=truth_reference(np.all), dtypes=ALL)
def _(make):
    yield from truth_along(make)


@samples("any.dims", reference=truth_reference(np.any), dtypes=ALL)
def _(make):
    for dims in ((0, 1), (1,), ()):
        tensor = make(3, 4)
        yield Sample((tensor, dims), dtype=result_of_truth(tensor))


@samples("all.dims", reference=truth_reference(np.all), dtypes=ALL)
def _(make):
    for dims in ((0, 1), (1,), ()):
        tensor = make(3, 4)
        yield Sample((tensor, dims), dtype=result_of_truth(tensor))


@samples("equal", reference=np.array_equal, dtypes=ALL)
def _(make):
    tensor = make(3, 4)
    yield Sample((tensor, tensor.clone()), meta=False)
    yield Sample((tensor, make(3, 4)), meta=False)
    yield Sample((tensor, make(4)))


@samples("allclose", reference=np.allclose, dtypes=ALL)
def _(make):
    tensor = make(3, 4)
    yield Sample((tensor, tensor.clone()), meta=False)
    yield Sample((tensor, make(3, 4), 0.5, 0.5), meta=False)


# --- statistics -----------------------------------------------------------------------------------


def moment(root):
    def reference(a, dim=None, unbiased=True, keepdim=False, correction=None):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        divisor = (1 if unbiased else 0) if correction is None else correction
        value = np.var(a, axis=axis(a, dim), ddof=divisor, keepdims=keepdim)
        return np.sqrt(value) if root else value

    return reference


def mean_too(function):
    def reference(a, dim=None, unbiased=True, keepdim=False, correction=None):
        moment_value = function(a, dim, unbiased, keepdim, correction)
        dims = None if isinstance(dim, bool) else dim
        return moment_value, np.mean(a, axis=axis(a, dims), keepdims=keepdim)

    return reference


def whole(make):
    yield Sample((make(3, 4),))
    yield Sample((make(3, 4), False))


def some_dims(make):
    for dim in (0, 1, (0, 2)):
        yield Sample((make(3, 4, 2), dim))
        yield Sample((make(3, 4, 2), dim, False, True))
    yield Sample((make(5, 300), 1), grad=False)
    yield Sample((make(300, 50), 0), grad=False)


def corrected(make):
    for correction in (0, 1, 2, None):
        yield Sample((make(4, 5), 1), {"correction": correction})
    yield Sample((make(4, 5),), {"correction": 1, "keepdim": True})


for name, root in (("var", False), ("std", True)):
    samples(name, reference=moment(root), dtypes=FLOAT)(whole)
    samples(f"{name}.dim", reference=moment(root), dtypes=FLOAT)(some_dims)
    samples(f"{name}.correction", reference=moment(root), dtypes=FLOAT)(corrected)
    samples(f"{name}_mean", reference=mean_too(moment(root)), dtypes=FLOAT)(whole)
    samples(f"{name}_mean.dim", reference=mean_too(moment(root)), dtypes=FLOAT)(some_dims)
    samples(f"{name}_mean.correction", reference=mean_too(moment(root)), dtypes=FLOAT)(corrected)


def logsumexp(a, dim, keepdim=False):
    wide = a if a.dtype.kind in "fc" else a.astype(np.float64)
    return np.log(np.sum(np.exp(wide), axis=axis(a, dim), keepdims=keepdim))


@samples("logsumexp", reference=logsumexp, dtypes="int float complex")
def _(make):
    for dim in (0, 1, (0, 2)):
        yield Sample((make(3, 4, 2), dim))
    yield Sample((make(3, 4), 1, True))
    yield Sample((make(), 0))
    yield Sample((make(2, 3) - 3, 0))


@samples("_logsumexp", reference=logsumexp, dtypes="float")
def _(make):
    for dim in (0, 1, (0, 2), ()):
        yield Sample((make(3, 4, 2), dim))
    yield Sample((make(5000), 0, True))
    yield Sample((make(70, 40), 0))
    yield Sample((make(70, 40) * 300, 1))


# --- norms ----------------------------------------------------------------------------------------


def vector_norm(a, ord=2, dim=None, keepdim=False):
    size, dims = np.abs(a), axis(a, dim)
    if ord == 0:
        return np.sum(size != 0, axis=dims, keepdims=keepdim).astype(size.dtype)
    if math.isinf(ord):
        return (np.amax if ord > 0 else np.amin)(size, axis=dims, keepdims=keepdim)
    return np.sum(size**ord, axis=dims, keepdims=keepdim) ** (1 / ord)


def norms(make):
    for order in (2, 1, 3, 2.5, 0.5, 0, -1, math.inf, -math.inf):
        yield Sample((make.distinct(3, 4) + 2.3, order, 1))
    yield Sample((make(3, 4), 2, (0, 1), True))
    yield Sample((make(3, 700), 2, 1), grad=False)
    yield Sample((make(3, 700), 2, 0), grad=False)


@samples("linalg_vector_norm", reference=vector_norm, dtypes=FLOAT, slack=4)
def _(make):
    yield from norms(make)
    yield Sample((make(0, 3), 2, 0), grad=False)


@samples("norm.Scalar", reference=vector_norm, dtypes=FLOAT, slack=4)
def _(make):
    yield from norms(make)


@samples("norm.name", reference=lambda a, p="fro", dim=None: vector_norm(a, 2, dim), dtypes=FLOAT)
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(3, 4), "fro", (0, 1)))


@samples("dist", reference=lambda a, b, p=2: vector_norm(a - b, p), dtypes=FLOAT)
def _(make):
    yield Sample((make(3, 4), make(4)))
    yield Sample((make(3, 4), make(3, 4), 1))


@samples("_vector_norm_backward", dtypes="float", grad=False)
def _(make):
    tensor = make(3, 4)
    for order in (2, 1, 3, 0.5, 1.5, math.inf):
        yield Sample((make(3, 1), tensor, tensor.norm(order, 1, True), order, 1))


# --- order statistics -----------------------------------------------------------------------------


def select(a, k, dim, keepdim):
    """The k-th smallest along dim, from 0, and its place when equal ones keep their order."""
    if not a.ndim:
        return a, np.zeros((), np.int64)
    order = np.take(np.argsort(a, dim, stable=True), [k], dim)
    value = np.take_along_axis(a, order, dim)
    return tuple(part if keepdim else part.squeeze(dim) for part in (value, order))


def median(a, dim=None, keepdim=False):
    if dim is None:
        return select(a.ravel(), (a.size - 1) // 2, 0, False)[0]
    return select(a, ((a.shape[dim] if a.ndim else 1) - 1) // 2, dim, keepdim)


@samples("median", reference=median, dtypes=REAL)
def _(make):
    yield Sample((make.distinct(3, 5),))
    yield Sample((make.distinct(8),))
    yield Sample((make.distinct(),))


@samples("median.dim", reference=median, dtypes=REAL)
def _(make):
    for dim in (0, 1, -1):
        yield Sample((make.distinct(3, 4, 2), dim))
    yield Sample((make.distinct(), 0))
    yield Sample((make(4, 300, low=0, high=5), 1, True), grad=False)


@samples("nanmedian", reference=median, dtypes=REAL)
def _(make):
    yield Sample((make.distinct(3, 5),))


@samples("nanmedian.dim", reference=median, dtypes=REAL)
def _(make):
    yield Sample((make.distinct(3, 5), 1))


def mode(a, dim=-1, keepdim=False):
    def of_row(row):
        values, counts = np.unique(row, return_counts=True)
        return values[np.argmax(counts)]

    value = np.apply_along_axis(of_row, dim, a)
    matches = a == np.expand_dims(value, dim)
    last = a.shape[dim] - 1 - np.argmax(np.flip(matches, dim), dim)
    return tuple(np.expand_dims(p, dim) if keepdim else p for p in (value, last))


@samples("mode", reference=mode, dtypes=ORDERED)
def _(make):
    yield Sample((make.distinct(3, 5),))
    for shape, dim, keepdim in (((3, 12), 1, True), ((12, 4), 0, False)):
        few = make(*shape, dtype=facula.int64, low=0, high=3).to(make.dtype)
        yield Sample((few, dim, keepdim), grad=False)


@samples("kthvalue", reference=lambda a, k, dim=-1, keepdim=False: select(a, k - 1, dim, keepdim),
         dtypes=REAL)  # fmt: skip
def _(make):
    yield Sample((make.distinct(3, 5), 2))
    yield Sample((make.distinct(3, 5), 3, 0, True))
    yield Sample((make.distinct(90), 41))
    yield Sample((make.distinct(), 1))


# --- scans ----------------------------------------------------------------------------------------


def scan(function):
    return lambda a, dim: function(a, dim) if a.ndim else function(a[None], 0)[0]


def scanned(make):
    for dim in (0, 1, -1):
        yield Sample((make(3, 4, 2), dim))
    yield Sample((make(4, 3).transpose(0, 1), 1))
    yield Sample((make(), 0))
    yield Sample((make(0, 3), 1))


def long_ones(make):
    yield Sample((make(3, 1300, low=-1, high=1), 1), grad=False)
    yield Sample((make(20, 300), 0), grad=False)


@samples("cumsum", reference=scan(np.cumsum), dtypes=ALL)
def _(make):
    yield from scanned(make)
    yield from long_ones(make)


@samples("_cumsum_back", dtypes=ALL,
         reference=scan(lambda a, dim: np.flip(np.cumsum(np.flip(a, dim), dim), dim)))  # fmt: skip
def _(make):
    yield from scanned(make)
    yield from long_ones(make)


@samples("cumprod", reference=scan(np.cumprod), dtypes=ALL)
def _(make):
    yield from scanned(make)
    zeros = make(3, 4)
    zeros[0, 1] = zeros[1, 2] = zeros[1, 3] = 0
    yield Sample((zeros, 1))


def logcumsumexp(a, dim):
    return np.log(np.cumsum(np.exp(a), dim)) if a.ndim else a


@samples("logcumsumexp", reference=logcumsumexp, dtypes=FLOAT)
def _(make):
    yield from scanned(make)


def running(better):
    """Running extremes; of equal elements the last one counts."""

    def reference(a, dim):
        if not a.ndim:
            return a, np.zeros((), np.int64)
        rows = np.moveaxis(a, dim, -1)
        values, places = rows.copy(), np.zeros(rows.shape, np.int64)
        for i in range(1, rows.shape[-1]):
            wins = better(rows[..., i], values[..., i - 1])
            values[..., i] = np.where(wins, rows[..., i], values[..., i - 1])
            places[..., i] = np.where(wins, i, places[..., i - 1])
        return np.moveaxis(values, -1, dim), np.moveaxis(places, -1, dim)

    return reference


def running_extremes(make):
    for dim in (0, 1, -1):
        yield Sample((make.distinct(3, 4, 2), dim))
    yield Sample((make.distinct(), 0))
    yield Sample((make(3, 900, low=0, high=50), 1), grad=False)
    yield Sample((make(9, 300, low=0, high=5), 0), grad=False)


@samples("cummax", reference=running(np.greater_equal), dtypes=ORDERED)
def _(make):
    yield from running_extremes(make)


@samples("cummin", reference=running(np.less_equal), dtypes=ORDERED)
def _(make):
    yield from running_extremes(make)
