"""Samples of csrc/ops/join.py."""

import facula
import numpy as np
from registry import Sample, samples

ALL = "bool int float complex"


@samples("cat", "concat", "concatenate", reference=np.concatenate, dtypes=ALL)
def _(make):
    yield Sample(([make(2, 3), make(4, 3)],))
    yield Sample(([make(2, 3), make(2, 1), make(2, 0)], 1))
    yield Sample(([make(2, 3)], -1))
    yield Sample(([make(5), make(0), make(3)],))


@samples("stack", reference=np.stack, dtypes=ALL)
def _(make):
    for dim in (0, 1, -1):
        yield Sample(([make(2, 3), make(2, 3)], dim))
    yield Sample(([make(), make(), make()],))
    yield Sample(([make(0, 2), make(0, 2)], 1))


def lists(make):
    for shape in ((), (3,), (2, 3), (2, 3, 2)):
        yield Sample(([make(*shape), make(*shape)],))


samples("hstack", "dstack", "column_stack", dtypes=ALL)(lists)
samples("vstack", "row_stack", reference=np.vstack, dtypes=ALL)(lists)


@samples("repeat", reference=np.tile, dtypes=ALL)
def _(make):
    yield Sample((make(2, 3), [2, 1]))
    yield Sample((make(3), [2, 2, 2]))
    yield Sample((make(2, 3), [0, 1]))
    yield Sample((make(), [3]))


@samples("tile", reference=np.tile, dtypes=ALL)
def _(make):
    yield Sample((make(2, 3), [2]))
    yield Sample((make(2, 3), [2, 1, 2]))
    yield Sample((make(), []))


@samples(
    "repeat_interleave",
    reference=lambda a, counts, dim=None, output_size=None: np.repeat(a, counts, dim),
    dtypes=ALL,
)
def _(make):
    counts = facula.tensor([1, 0, 2])
    yield Sample((make(2, 3), counts, 1), meta=False)
    yield Sample((make(2, 3), counts, 1), {"output_size": 3}, meta=False)
    yield Sample((make(2, 3), facula.tensor(2)), meta=False)


@samples("repeat_interleave.int", reference=np.repeat, dtypes=ALL)
def _(make):
    yield Sample((make(2, 3), 2))
    yield Sample((make(2, 3), 3, 1))
    yield Sample((make(2, 3), 0, -1))


@samples(
    "repeat_interleave.counts",
    reference=lambda n: np.repeat(np.arange(n.size), n),
    dtypes="int32 int64",
)
def _(make):
    yield Sample((make(4, low=0, high=4),))
    yield Sample((make(0),))


def rows_of(name, *arguments, shape=(2, 3, 4), **options):
    @samples(name, dtypes=ALL, **options)
    def _(make):
        for args in arguments:
            yield Sample((make(*shape), *args))


rows_of("flip", ([0],), ([0, -1],), ([1, 2, 0],), ([],))
rows_of("fliplr", ())
rows_of("flipud", ())
rows_of("rot90", (), (2,), (-1, [1, 2]), (4, [0, 2]))
rows_of(
    "roll",
    (2,),
    (5, 1),
    ([1, -1], [0, 2]),
    (0, [1]),
    reference=lambda a, n, dim=None: np.roll(a, n, dim),
)
for name in ("tril", "triu"):
    rows_of(name, (), (1,), (-1,), (9,), (-9,))
rows_of("diag", (), (1,), (-2,), shape=(3, 4))
rows_of("diagflat", (), (1,), (-2,), shape=(2, 3))
rows_of(
    "diag_embed",
    (),
    (1,),
    (-1,),
    (0, 0, 2),
    shape=(2, 3),
    reference=lambda a, offset=0, dim1=-2, dim2=-1: embedded(a, offset, dim1, dim2),
)


def embedded(a, offset, dim1, dim2):
    n = a.shape[-1] + abs(offset)
    out = np.zeros((*a.shape[:-1], n, n), a.dtype)
    i = np.arange(a.shape[-1])
    out[..., i + max(-offset, 0), i + max(offset, 0)] = a
    return np.moveaxis(out, (-2, -1), (dim1, dim2))


@samples("atleast_1d", "atleast_2d", "atleast_3d", dtypes=ALL)
def _(make):
    for shape in ((), (3,), (2, 3), (2, 3, 2)):
        yield Sample((make(*shape),))
