"""Samples of csrc/ops/view.py."""

import facula
import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from registry import Sample, samples

ALL = "bool int float complex"


def view_samples(name, *arguments, shape=(2, 3, 4), **options):
    """Samples that differ in what follows the tensor."""

    @samples(name, dtypes=ALL, **options)
    def _(make):
        for args in arguments:
            yield Sample((make(*shape), *args))
        if arguments == ((),):
            yield Sample((make(),))


def strided(a, size, stride, offset=0):
    flat = np.ascontiguousarray(a).reshape(-1)[offset or 0 :]
    return as_strided(flat, size, [n * a.itemsize for n in stride])


view_samples(
    "as_strided",
    ([2, 2], [3, 1]),
    ([3, 4], [1, 2], 5),
    ([2, 0], [1, 1]),
    ([], [], 3),
    reference=strided,
    layouts="",
)
shapes = ([6, 4],), ([4, -1],), ([2, 3, 2, 2],), ([24],)
view_samples("view", *shapes, reference=np.reshape, layouts="")
view_samples("reshape", *shapes)
view_samples(
    "flatten", (), (1,), (0, 1), (-2, -1), reference=lambda a, start=0, end=-1: flat(a, start, end)
)
view_samples(
    "unflatten",
    (2, [2, 2]),
    (-1, [-1, 2]),
    (1, [3]),
    reference=lambda a, dim, sizes: a.reshape(split_shape(a.shape, dim % 3, sizes)),
)
view_samples("ravel", ())
view_samples("transpose", (0, 1), (-1, 0), (2, 2), reference=np.swapaxes)
view_samples("swapaxes", (0, 1), (-1, 0))
view_samples("swapdims", (0, 1), (-1, 0), reference=np.swapaxes)
view_samples("permute", ([2, 0, 1],), ([0, -1, 1],))
view_samples("movedim", ([0], [2]), ([0, 1], [-1, 0]))
view_samples("moveaxis", ([0], [2]), ([0, 1], [-1, 0]))
view_samples("unsqueeze", (0,), (-1,), (2,), (-2,))
view_samples("select", (0, 1), (1, -1), (-1, 2), reference=lambda a, dim, i: np.take(a, i, dim))
view_samples(
    "narrow",
    (0, 0, 1),
    (1, 1, 2),
    (-1, -3, 2),
    (2, 4, 0),
    reference=lambda a, dim, start, n: np.take(a, range(start, start + n), dim),
)
view_samples("diagonal", (), (1,), (-1, 1, 2), (0, 2, 0), (9,))
view_samples(
    "unfold",
    (2, 2, 1),
    (1, 2, 2),
    (-1, 3, 2),
    (0, 2, 1),
    reference=lambda a, dim, size, step: windows(a, dim % 3, size, step),
)
view_samples("detach", (), reference=lambda a: a, grad=False)
view_samples(
    "squeeze.dim", (0,), (1,), (-1,), shape=(1, 3, 1), reference=lambda a, dim: squeezed(a, [dim])
)
view_samples(
    "squeeze.dims",
    ([0],),
    ([0, 1],),
    ([],),
    ([-1, 0],),
    shape=(1, 3, 1),
    reference=lambda a, dims: squeezed(a, dims),
)


def flat(a, start, end):
    start, end = start % a.ndim, end % a.ndim
    return a.reshape(*a.shape[:start], -1, *a.shape[end + 1 :])


def split_shape(shape, dim, sizes):
    return (*shape[:dim], *sizes, *shape[dim + 1 :])


def windows(a, dim, size, step):
    views = sliding_window_view(a, size, dim)
    return np.take(views, range(0, views.shape[dim], step), dim)


def squeezed(a, dims):
    return np.squeeze(a, tuple(dim % a.ndim for dim in dims if a.shape[dim] == 1))


@samples("squeeze", dtypes=ALL)
def _(make):
    yield Sample((make(1, 3, 1),))
    yield Sample((make(2, 3),))
    yield Sample((make(1, 1),))


@samples("t", reference=np.transpose, dtypes=ALL)
def _(make):
    yield Sample((make(2, 3),))
    yield Sample((make(3),))
    yield Sample((make(),))


@samples("adjoint", reference=lambda a: np.conj(a.swapaxes(-1, -2)), dtypes="int float complex")
def _(make):
    yield Sample((make(2, 3),))
    yield Sample((make(2, 3, 4),))


@samples("view.dtype", dtypes="float32 int32", layouts="")
def _(make):
    for dtype in (facula.int32, facula.int16, facula.uint8, facula.float32):
        yield Sample((make(2, 4), dtype))
    yield Sample((make(2, 4), facula.int64))


@samples("view_as", reference=lambda a, other: a.reshape(other.shape), dtypes=ALL, layouts="")
def _(make):
    yield Sample((make(2, 6), make(3, 4)))


@samples("reshape_as", reference=lambda a, other: a.reshape(other.shape), dtypes=ALL)
def _(make):
    yield Sample((make(2, 6), make(3, 4)))
    yield Sample((make(3, 4).t(), make(6, 2)))


@samples(
    "expand",
    "broadcast_to",
    reference=lambda a, size: np.broadcast_to(a, grown(a, size)),
    dtypes=ALL,
)
def _(make):
    yield Sample((make(3, 1), [3, 4]))
    yield Sample((make(3, 1), [2, -1, 2]))
    yield Sample((make(), [2, 2]))
    yield Sample((make(1, 3), [0, 3]))


def grown(a, size):
    missing = len(size) - a.ndim
    return [a.shape[i - missing] if n == -1 else n for i, n in enumerate(size)]


@samples("expand_as", reference=lambda a, other: np.broadcast_to(a, other.shape), dtypes=ALL)
def _(make):
    yield Sample((make(3, 1), make(2, 3, 4)))


# --- several views at once


def pieces(a, sizes, dim=0):
    """Views of the given sizes along a dimension."""
    return np.split(a, np.cumsum(sizes)[:-1], dim)


def equal_sizes(total, size):
    return [size] * (total // size) + [total % size] * (total % size > 0)


view_samples(
    "unbind",
    (),
    (1,),
    (-1,),
    reference=lambda a, dim=0: [np.take(a, i, dim) for i in range(a.shape[dim])],
)
view_samples(
    "split",
    (1,),
    (2, 1),
    (3, -1),
    (9, 0),
    reference=lambda a, size, dim=0: pieces(a, equal_sizes(a.shape[dim], size), dim),
)
for name in ("split.sizes", "split_with_sizes"):
    view_samples(name, ([1, 1],), ([1, 2], 1), ([0, 4], -1), reference=pieces)
view_samples(
    "chunk",
    (2,),
    (2, 1),
    (3, -1),
    (7, 2),
    reference=lambda a, n, dim=0: pieces(a, equal_sizes(a.shape[dim], -(-a.shape[dim] // n)), dim),
)
