"""Samples of csrc/ops/sort.py. Elements are distinct where the order of equal ones is open."""

import facula
import numpy as np
from registry import Sample, samples

REAL = "int float"


def sort(a, dim=-1, descending=False, stable=None):
    indices = argsort(a, dim, descending)
    return (np.take_along_axis(a, indices, dim) if a.ndim else a), indices


def argsort(a, dim=-1, descending=False, stable=None):
    if not a.ndim:
        return np.zeros((), np.int64)
    # Equal elements keep their order, also when it is descending.
    order = np.flip(a, dim) if descending else a
    indices = np.argsort(order, dim, stable=True)
    return np.flip(a.shape[dim] - 1 - indices, dim) if descending else indices


def sortable(make):
    for dim in (0, 1, -1):
        yield make.distinct(3, 4, 2), dim
    yield make.distinct(0, 3), 1
    yield make.distinct(), 0


@samples("sort", reference=sort, dtypes=REAL)
def _(make):
    for tensor, dim in sortable(make):
        for descending in (False, True):
            yield Sample((tensor, dim, descending))


@samples("sort.stable", reference=sort, dtypes="bool int float")
def _(make):
    ties = make(4, 40, low=0, high=3)
    for descending in (False, True):
        yield Sample((ties,), {"stable": True, "dim": 1, "descending": descending}, grad=False)
    yield Sample((make(600),), {"stable": True}, grad=False)
    yield Sample((make.distinct(3, 4),), {"stable": True, "dim": 0})


@samples("argsort", reference=argsort, dtypes=REAL)
def _(make):
    for tensor, dim in sortable(make):
        yield Sample((tensor, dim, True))


@samples("argsort.stable", reference=argsort, dtypes=REAL)
def _(make):
    yield Sample((make(4, 40, low=0, high=3),), {"stable": True, "dim": 0})


@samples("msort", reference=lambda a: np.sort(a, 0), dtypes=REAL)
def _(make):
    yield Sample((make.distinct(3, 4),))


def topk(a, k, dim=-1, largest=True, sorted=True):
    return tuple(np.take(part, range(k), dim) for part in sort(a, dim, largest))


@samples("topk", reference=topk, dtypes=REAL)
def _(make):
    yield Sample((make.distinct(3, 8), 3))
    yield Sample((make.distinct(3, 8), 2, 0, False))
    yield Sample((make.distinct(5), 0))
    yield Sample((make.distinct(90), 7))


def buckets(sequence, values, right=False, out_int32=False, side=None, sorter=None):
    side = side or ("right" if right else "left")
    flat = sequence.reshape(-1, sequence.shape[-1])
    rows = values.reshape(len(flat), -1) if sequence.ndim > 1 else values.reshape(1, -1)
    orders = [None] * len(flat) if sorter is None else sorter.reshape(flat.shape)
    found = [np.searchsorted(s, v, side, o) for s, v, o in zip(flat, rows, orders)]
    return np.stack(found).reshape(values.shape)


@samples("searchsorted", reference=buckets, dtypes=REAL)
def _(make):
    ordered = make.distinct(8).sort()[0]
    yield Sample((ordered, make(3, 4)))
    yield Sample((ordered, ordered.clone()), {"right": True})
    yield Sample(
        (ordered, ordered.clone()), {"side": "right", "out_int32": True}, dtype=facula.int32
    )
    yield Sample((make.distinct(2, 8).sort()[0], make(2, 3)))
    shuffled = make.distinct(8)
    yield Sample((shuffled, make(3)), {"sorter": shuffled.argsort()})


@samples(
    "searchsorted.Scalar",
    reference=lambda sequence, x, right=False: np.searchsorted(
        sequence, x, "right" if right else "left"
    ),
    dtypes=REAL,
)
def _(make):
    yield Sample((facula.arange(8).to(make.dtype), 3))
    yield Sample((facula.arange(8).to(make.dtype), 3), {"right": True})


@samples(
    "bucketize",
    reference=lambda values, boundaries, out_int32=False, right=False: buckets(
        boundaries, values, right
    ),
    dtypes=REAL,
)
def _(make):
    boundaries = make.distinct(8).sort()[0]
    yield Sample((make(3, 4), boundaries))
    yield Sample(
        (boundaries.clone(), boundaries), {"right": True, "out_int32": True}, dtype=facula.int32
    )


@samples("bincount", dtypes="uint8 int32 int64")
def _(make):
    yield Sample((make(20, low=0, high=9),))
    yield Sample((make(20, low=0, high=9), make(20, dtype=facula.float64)), dtype=facula.float64)
    yield Sample((make(20, low=0, high=9), None, 12))
    yield Sample((make(0),))


def unique(a, sorted=True, return_inverse=False, return_counts=False, dim=None):
    found = np.unique(a, return_inverse=True, return_counts=True, axis=dim)
    shape = a.shape if dim is None else a.shape[dim : dim + 1]
    inverse = (found[1].reshape(shape),) * return_inverse
    extra = inverse + (found[2],) * return_counts
    return (found[0], *extra) if extra else found[0]


@samples("unique", reference=unique, dtypes=REAL, grad=False)
def _(make):
    ties = (
        make(4, 6, low=0, high=5).round()
        if make.dtype.is_floating_point
        else make(4, 6, low=0, high=5)
    )
    yield Sample((ties,), meta=False)
    yield Sample((ties, True, True, True), meta=False)
    yield Sample((ties,), {"return_counts": True}, meta=False)
    yield Sample((ties,), {"dim": 1, "return_inverse": True}, meta=False)


def unique_consecutive(a, return_inverse=False, return_counts=False, dim=None):
    slices = a.reshape(-1) if dim is None else np.moveaxis(a, dim, 0)
    first = [i for i in range(len(slices)) if not i or (slices[i] != slices[i - 1]).any()]
    values = slices[first] if dim is None else np.moveaxis(slices[first], 0, dim)
    inverse = np.searchsorted(first, range(len(slices)), side="right") - 1
    inverse = inverse.reshape(a.shape if dim is None else -1)
    extra = (inverse,) * return_inverse + (np.diff([*first, len(slices)]),) * return_counts
    return (values, *extra) if extra else values


@samples("unique_consecutive", reference=unique_consecutive, dtypes=REAL, grad=False)
def _(make):
    ties = (
        make(4, 6, low=0, high=2).round()
        if make.dtype.is_floating_point
        else make(4, 6, low=0, high=2)
    )
    yield Sample((ties,), meta=False)
    yield Sample((ties, True, True), meta=False)
    yield Sample((ties[:, :1].expand(4, 3),), {"dim": 1, "return_counts": True}, meta=False)
