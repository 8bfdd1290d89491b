"""Samples of the rows in csrc/ops/index.py."""

import facula
import numpy as np
from registry import Sample, samples


def put(a, indices, values, accumulate=False):
    """index_put on arrays."""
    out = np.array(a)
    at = tuple(slice(None) if index is None else index for index in indices)
    if accumulate:
        np.add.at(out, at, values)
    else:
        out[at] = values
    return out


def along(a, dim, index):
    """The key that names slices `index` of dimension `dim`."""
    return (slice(None),) * (dim % max(a.ndim, 1)) + (index,)


def view(a, spec):
    """The basic index that triples describe; see csrc/tensor/index.h."""
    key = []
    for start, step, size in zip(spec[0::3], spec[1::3], spec[2::3], strict=True):
        if size == -1:
            key.append(start)
        elif step == 0:
            key.append(None)
        else:
            stop = start + size * step
            key.append(slice(start, None if stop < 0 else stop, step))
    return a[tuple(key)]


def lanes(index, dim):
    """The key of all elements that a gather with this index reads."""
    grids = list(np.indices(index.shape, sparse=True))
    if not grids:
        return ()
    grids[dim] = index
    return tuple(grids)


def gather(a, dim, index):
    return np.atleast_1d(a)[lanes(np.atleast_1d(index), dim)].reshape(index.shape)


def scatter(a, dim, index, src):
    out = np.array(a)
    if isinstance(src, np.ndarray):
        src = src[tuple(slice(n) for n in index.shape)]
    out[lanes(index, dim)] = src
    return out


def combine(a, dim, index, src, reduce, include_self=True):
    """scatter_reduce, element by element."""
    out, count = np.array(a), np.ones(a.shape) * include_self
    steps = {"sum": np.add, "mean": np.add, "prod": np.multiply, "amax": np.maximum}
    step = steps.get(reduce, np.minimum)
    for at in np.ndindex(index.shape):
        to = (*at[:dim], index[at], *at[dim + 1 :])
        out[to] = src[at] if count[to] == 0 else step(out[to], src[at])
        count[to] += 1
    if reduce == "mean":
        shape = np.maximum(count, 1)
        out = out // shape if np.issubdtype(a.dtype, np.integer) else out / shape
    return out.astype(a.dtype)


SPECS = [
    [1, 1, -1],
    [0, 1, 3, 2, 1, -1],
    [0, 2, 2, 0, 0, 1, 3, -1, 4],
    [2, -1, 2, 0, 1, 4],
    [],
]


@samples("_index_view", reference=view)
def _(make):
    for spec in SPECS:
        yield Sample((make(3, 4), spec))


@samples(
    "_index_view_backward", reference=lambda g, sizes, spec: scatter_view(np.zeros(sizes), g, spec)
)
def _(make):
    for spec in SPECS:
        yield Sample((make(*view(np.zeros((3, 4)), spec).shape), [3, 4], spec))


def scatter_view(a, src, spec):
    out = np.array(a)
    view(out, spec)[...] = src
    return out


@samples("_index_view_scatter", reference=scatter_view)
def _(make):
    for spec in SPECS[1:]:
        yield Sample((make(3, 4), make(*view(np.zeros((3, 4)), spec).shape), spec))
    yield Sample((make(3, 4), make(1), SPECS[0]))


def index_lists(make):
    """Lists of indices over a tensor of shape (3, 4, 5)."""
    yield [make.index(3, 6)]
    yield [None, make.index(4, 2, 3)]
    yield [make.index(3, 2, 1), None, make.index(5, 3)]
    yield [make.index(3, 2), make.index(4, 2) - 4]
    yield [make(3, 4, dtype=facula.bool)]
    yield [None, make(4, 5, dtype=facula.bool)]
    yield [make.index(3, 0)]


@samples("index", reference=lambda a, at: a[tuple(slice(None) if i is None else i for i in at)])
def _(make):
    for indices in index_lists(make):
        masked = any(index is not None and index.dtype == facula.bool for index in indices)
        yield Sample((make(3, 4, 5), indices), meta=not masked)


@samples(
    "_index_backward", reference=lambda g, sizes, at: put(np.zeros(sizes, g.dtype), at, g, True)
)
def _(make):
    for indices in index_lists(make):
        masked = any(index is not None and index.dtype == facula.bool for index in indices)
        if not masked:  # the shape of the gradient of a mask depends on the mask
            shape = facula._C.index(make(3, 4, 5), indices).shape
            yield Sample((make(*shape), [3, 4, 5], indices))


@samples("index_put", reference=put)
def _(make):
    for indices in index_lists(make):
        yield Sample((make(3, 4, 5), indices, make(), True))
    yield Sample((make(3, 4, 5), [make.index(3, 6)], make(6, 4, 5), True))
    yield Sample((make(3, 4, 5), [facula.tensor([2, 0])], make(2, 1, 5)))
    yield Sample((make(5), [make(5, dtype=facula.bool)], make()))


@samples("index_select", reference=lambda a, dim, index: np.take(a, np.atleast_1d(index), dim))
def _(make):
    yield Sample((make(3, 4), 0, make.index(3, 5)))
    yield Sample((make(3, 4), -1, make.index(4, 2)))
    yield Sample((make(3, 4), 1, make.index(4)))
    yield Sample((make(2, 3, 4), 1, make.index(3, 0)))


def add_along(a, dim, index, source, alpha=1):
    out = np.array(a)
    np.add.at(out, along(a, dim, index), (source * alpha).astype(a.dtype))
    return out


@samples("index_add", reference=add_along)
def _(make):
    yield Sample((make(3, 4), 0, make.index(3, 5), make(5, 4)))
    yield Sample((make(3, 4), 1, make.index(4, 2), make(3, 2)), {"alpha": 2})
    yield Sample((make(4), 0, make.index(4, 6), make(6)))


@samples("index_copy", reference=lambda a, dim, index, src: copy_along(a, dim, index, src))
def _(make):
    yield Sample((make(3, 4), 0, facula.tensor([2, 0]), make(2, 4)))
    yield Sample((make(3, 4), 1, facula.tensor([1]), make(3, 1)))


def copy_along(a, dim, index, src):
    out = np.array(a)
    out[along(a, dim, index)] = src
    return out


@samples("index_fill", reference=copy_along)
def _(make):
    yield Sample((make(3, 4), 0, make.index(3, 2), 1))
    yield Sample((make(3, 4), 1, make.index(4, 2), make()))


REDUCTIONS = ("prod", "mean", "amax", "amin")


def spread(index, dim, shape):
    """The index of slices as the index of all their elements."""
    sizes = [1] * len(shape)
    sizes[dim] = -1
    return np.broadcast_to(index.reshape(sizes), shape)


@samples(
    "index_reduce",
    reference=lambda a, dim, index, src, *rest, **more: combine(
        a, dim, spread(index, dim, src.shape), src, *rest, **more
    ),
    dtypes="int float",
)
def _(make):
    for reduce in REDUCTIONS:
        for include in (True, False):
            args = make.distinct(3, 4), 0, facula.tensor([2, 0, 2]), make.distinct(3, 4) + 3
            yield Sample((*args, reduce), {"include_self": include})


@samples("_spread_index", reference=spread)
def _(make):
    yield Sample((make.index(3, 4), 1, [2, 4, 3]))


@samples("gather", reference=gather)
def _(make):
    yield Sample((make(3, 4), 0, make.index(3, 2, 4)))
    yield Sample((make(3, 4), 1, make.index(4, 3, 6)))
    yield Sample((make(2, 3, 4), 1, make.index(3, 2, 5, 3)))
    yield Sample((make(5), -1, make.index(5, 0)))


@samples("_gather_like", reference=lambda a, dim, index, sizes: pad(gather(a, dim, index), sizes))
def _(make):
    yield Sample((make(3, 4), 0, make.index(3, 2, 4), [2, 4]))
    yield Sample((make(3, 4), 0, make.index(3, 2, 4), [4, 5]))


def pad(a, sizes):
    return np.pad(a, [(0, n - have) for n, have in zip(sizes, a.shape, strict=True)])


@samples("scatter.src", "scatter.value", reference=scatter)
def _(make):
    index = facula.tensor([[2, 0, 1, 2], [0, 1, 2, 0]])
    yield Sample((make(3, 4), 0, index, make(2, 4)))
    yield Sample((make(3, 4), 0, index, make(3, 5)))
    yield Sample((make(3, 4), 0, index, 1))


def scatter_with(a, dim, index, src, *, reduce):
    if not isinstance(src, np.ndarray):
        src = np.full(index.shape, src, a.dtype)
    return combine(a, dim, index, src, {"add": "sum", "multiply": "prod"}[reduce])


@samples("scatter.src_reduce", "scatter.value_reduce", reference=scatter_with)
def _(make):
    index = make.index(3, 4, 4)
    yield Sample((make(3, 4), 0, index, make(4, 4)), {"reduce": "add"})
    yield Sample((make(3, 4), 0, index, make(4, 4)), {"reduce": "multiply"})
    yield Sample((make(3, 4), 0, index, 2), {"reduce": "multiply"})


@samples("scatter_add", reference=lambda *args: combine(*args, "sum"))
def _(make):
    yield Sample((make(3, 4), 0, make.index(3, 5, 4), make(5, 4)))
    yield Sample((make(3, 4), 1, make.index(4, 2, 6), make(3, 6)))


@samples("scatter_reduce", reference=combine, dtypes="int float")
def _(make):
    for reduce in ("sum", *REDUCTIONS):
        for include in (True, False):
            args = make.distinct(3, 4), 0, make.index(3, 4, 4), make.distinct(4, 4) + 3
            yield Sample((*args, reduce), {"include_self": include})


def reduction_gradients(make, *, extra):
    """The arguments of a gradient of scatter_reduce; `extra` says which of them it takes."""
    self, src, index = make.distinct(3, 4), make.distinct(4, 4) + 3, make.index(3, 4, 4)
    for reduce in REDUCTIONS:
        result = self.scatter_reduce(0, index, src, reduce)
        everything = {"reduce": reduce, "include_self": True, "result": result}
        args = (make(3, 4), *([] if extra == ["include_self"] else [self]), 0, index, src)
        yield reduce, Sample((*args, *(everything[name] for name in extra)))


def gradients_of(self, dim, index, src, reduce, grad):
    """The gradients of scatter_reduce by its definition: equal shares, or the other factors."""
    counts = combine(np.ones(self.shape), dim, index, np.ones(index.shape), "sum")
    back = lanes(index, dim)
    if reduce == "mean":
        return grad / counts, (grad / counts)[back]
    result = combine(self, dim, index, src, reduce)
    if reduce == "prod":
        return grad * result / self, (grad * result)[back] / src
    ours, theirs = (self == result).astype(float), (src == result[back]).astype(float)
    share = grad / combine(ours, dim, index, theirs, "sum")
    return ours * share, theirs * share[back]


@samples(
    "_scatter_reduce_backward",
    reference=lambda g, a, dim, index, src, reduce, *rest: gradients_of(
        a, dim, index, src, reduce, g
    ),
    dtypes="float32 float64",
    grad=False,  # steps where values become equal
)
def _(make):
    for _reduce, sample in reduction_gradients(make, extra=["reduce", "include_self", "result"]):
        yield sample


@samples(
    "_scatter_mean_backward",
    reference=lambda g, dim, index, src, *rest: gradients_of(g, dim, index, src, "mean", g),
    dtypes="float32 float64",
)
def _(make):
    yield next(s for r, s in reduction_gradients(make, extra=["include_self"]) if r == "mean")


@samples(
    "_scatter_extreme_backward",
    reference=lambda g, a, dim, index, src, *rest: gradients_of(a, dim, index, src, "amax", g),
    dtypes="float32 float64",
    grad=False,  # steps where values become equal
)
def _(make):
    extra = ["include_self", "result"]
    yield next(s for r, s in reduction_gradients(make, extra=extra) if r == "amax")


@samples(
    "_scatter_prod_backward",
    reference=lambda g, a, dim, index, src, *rest: gradients_of(a, dim, index, src, "prod", g),
    dtypes="float32 float64",
    grad=False,  # its argument `result` depends on the others
)
def _(make):
    extra = ["include_self", "result"]
    yield next(s for r, s in reduction_gradients(make, extra=extra) if r == "prod")


def take_along(a, index, dim=None):
    if dim is None:
        return np.take_along_axis(a.ravel(), index.ravel(), 0)
    shape = np.broadcast_shapes(*(x.shape[:dim] + (1,) + x.shape[dim:][1:] for x in (a, index)))
    wide = [shape[:dim] + (x.shape[dim],) + shape[dim:][1:] for x in (a, index)]
    return np.take_along_axis(np.broadcast_to(a, wide[0]), np.broadcast_to(index, wide[1]), dim)


@samples("take_along_dim", reference=take_along)
def _(make):
    yield Sample((make(3, 4), make.index(12, 5)))
    yield Sample((make(3, 4), make.index(3, 2, 4), 0))
    yield Sample((make(3, 4), make.index(4, 1, 2), 1))


@samples("take")
def _(make):
    yield Sample((make(3, 4), make.index(12, 5)))
    yield Sample((make(3, 4), make.index(12, 2, 2) - 12))
    yield Sample((make(3, 4).T, make.index(12, 5)))


def put_flat(a, index, source, accumulate=False):
    return put(a.reshape(-1), (index.reshape(-1),), source.reshape(-1), accumulate).reshape(a.shape)


@samples("put", reference=put_flat)
def _(make):
    yield Sample((make(3, 4), make.index(12, 5), make(5), True))
    yield Sample((make(3, 4), facula.tensor([[3, -1], [0, 5]]), make(4)))


@samples("masked_fill", reference=lambda a, mask, value: np.where(mask, value, a).astype(a.dtype))
def _(make):
    yield Sample((make(3, 4), make(3, 4, dtype=facula.bool), 1))
    yield Sample((make(3, 4), make(4, dtype=facula.bool), make()))
    yield Sample((make(4), make(3, 1, dtype=facula.bool), 0))


def select(a, mask):
    return np.broadcast_arrays(a, mask)[0][np.broadcast_arrays(a, mask)[1]]


@samples("masked_select", reference=select)
def _(make):
    yield Sample((make(3, 4), make(3, 4, dtype=facula.bool)))
    yield Sample((make(4), make(3, 1, dtype=facula.bool)))
    yield Sample((make(), make(3, dtype=facula.bool)))


def scatter_masked(a, mask, source):
    out, mask = (np.array(x) for x in np.broadcast_arrays(a, mask))
    out[mask] = source.reshape(-1)[: mask.sum()]
    return out


@samples("masked_scatter", reference=scatter_masked)
def _(make):
    yield Sample((make(3, 4), make(3, 4, dtype=facula.bool), make(12)))
    yield Sample((make(4), make(3, 4, dtype=facula.bool), make(4, 4)))


def pack(g, mask, sizes):
    out = np.zeros(sizes, g.dtype)
    picked = select(g, mask)
    out.reshape(-1)[: picked.size] = picked
    return out


@samples("_masked_scatter_backward", reference=pack)
def _(make):
    yield Sample((make(3, 4), make(3, 4, dtype=facula.bool), [4, 4]))


@samples("nonzero", "argwhere", reference=np.argwhere, grad=False)
def _(make):
    yield Sample((make(3, 4, dtype=facula.bool).to(make.dtype),))
    yield Sample((make(2, 0),))
    yield Sample((make(),))


@samples(
    "nonzero_numpy",
    "where.condition",
    reference=lambda a: np.nonzero(np.atleast_1d(a)),
    grad=False,
)
def _(make):
    yield Sample((make(3, 4, dtype=facula.bool).to(make.dtype),))
    yield Sample((make(),))


def positions(a, *, as_tuple):
    return np.nonzero(np.atleast_1d(a)) if as_tuple else np.argwhere(a)


@samples("nonzero.as_tuple", reference=positions, grad=False)
def _(make):
    for as_tuple in (True, False):
        yield Sample((make(3, 4, dtype=facula.bool).to(make.dtype),), {"as_tuple": as_tuple})


def replace(a, src, key):
    out = np.array(a)
    out[key] = src
    return out


@samples("select_scatter", reference=lambda a, src, dim, i: replace(a, src, along(a, dim, i)))
def _(make):
    yield Sample((make(3, 4), make(4), 0, 1))
    yield Sample((make(3, 4), make(3), 1, -1))


@samples(
    "slice_scatter",
    reference=lambda a, src, dim=0, start=None, end=None, step=1: replace(
        a, src, along(a, dim, slice(start, end, step))
    ),
)
def _(make):
    yield Sample((make(5, 4), make(2, 4), 0, 1, 4, 2))
    yield Sample((make(3, 4), make(3, 2), 1, -2))
    yield Sample((make(3, 4), make(3, 4)))


def replace_diagonal(a, src, offset=0, dim1=0, dim2=1):
    out = np.array(a)
    diagonal = np.diagonal(out, offset, dim1, dim2)
    diagonal.flags.writeable = True
    diagonal[...] = src
    return out


@samples("diagonal_scatter", reference=replace_diagonal)
def _(make):
    yield Sample((make(3, 4), make(3)))
    yield Sample((make(3, 4), make(2), 2))
    yield Sample((make(4, 3), make(2), -2))
    yield Sample((make(2, 3, 4), make(3, 2), 0, 0, 2))
