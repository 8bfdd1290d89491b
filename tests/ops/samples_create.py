"""Samples of csrc/ops/create.py. Rows that leave memory uninitialised count as random."""

import facula
import numpy as np
from registry import Sample, samples

ALL = "bool int float complex"
NUMBERS = "int float complex"
SIZES = ([2, 3], [], [0, 4])


@samples("empty", dtypes=ALL, random=True)
def _(make):
    for size in SIZES:
        yield Sample((size,), {"dtype": make.dtype})
    nhwc = {"dtype": make.dtype, "memory_format": facula.channels_last}
    yield Sample(([2, 3, 4, 5],), nhwc)


@samples("empty_strided", dtypes=ALL, random=True)
def _(make):
    yield Sample(([2, 3], [1, 2]), {"dtype": make.dtype})
    yield Sample(([2, 3], [0, 5]), {"dtype": make.dtype})


@samples("empty_permuted", dtypes=ALL, random=True)
def _(make):
    yield Sample(([2, 3, 4], [2, 0, 1]), {"dtype": make.dtype})


@samples("zeros", "ones", dtypes=ALL)
def _(make):
    for size in SIZES:
        yield Sample((size,), {"dtype": make.dtype})
    yield Sample(([2, 2],), {"dtype": facula.float64})


@samples("full", reference=lambda size, value, dtype=None: np.full(size, value, dtype), dtypes=ALL)
def _(make):
    for size in SIZES:
        yield Sample((size, 2), {"dtype": make.dtype})
    yield Sample(([2], True), {"dtype": facula.bool})


def likes(make):
    yield Sample((make(2, 3),))
    yield Sample((make(),))
    yield Sample((make(2, 3),), {"dtype": facula.float64})
    yield Sample((make(2, 3, 4, 5),), {"memory_format": facula.channels_last})


samples("empty_like", dtypes=ALL, random=True)(likes)
for name, like in (("zeros_like", np.zeros_like), ("ones_like", np.ones_like)):
    samples(
        name,
        reference=lambda a, dtype=None, memory_format=None, like=like: like(a, dtype),
        dtypes=ALL,
    )(likes)


@samples(
    "full_like", reference=lambda a, value, dtype=None: np.full_like(a, value, dtype), dtypes=ALL
)
def _(make):
    yield Sample((make(2, 3), 1))
    yield Sample((make(), 2.5), {"dtype": facula.float64})


def news(make):
    yield Sample((make(2, 3), [4, 1]))
    yield Sample((make(2, 3), []))
    yield Sample((make(2, 3), [2]), {"dtype": facula.float64})


samples("new_empty", dtypes=ALL, random=True)(news)
for name, new in (("new_zeros", np.zeros), ("new_ones", np.ones)):
    samples(
        name, reference=lambda a, size, dtype=None, new=new: new(size, dtype or a.dtype), dtypes=ALL
    )(news)


@samples("new_empty_strided", dtypes=ALL, random=True)
def _(make):
    yield Sample((make(2, 3), [4, 2], [1, 4]))


@samples(
    "new_full",
    reference=lambda a, size, value, dtype=None: np.full(size, value, dtype or a.dtype),
    dtypes=ALL,
)
def _(make):
    yield Sample((make(2, 3), [4, 1], 1))
    yield Sample((make(2, 3), [2], 2.5), {"dtype": facula.float64})


@samples("arange", dtypes="int float")
def _(make):
    yield Sample((5,), {"dtype": make.dtype})
    yield Sample((0,), {"dtype": make.dtype})
    yield Sample((3.5,), {"dtype": facula.float64})


@samples("arange.start", dtypes="int float")
def _(make):
    yield Sample((2, 9), {"dtype": make.dtype})
    yield Sample((1, 10, 3), {"dtype": make.dtype})
    yield Sample((9, 2, -2), {"dtype": make.dtype})
    yield Sample((0.5, 2.0, 0.25), {"dtype": facula.float64})


def spaced(a, b, steps, base=None, dtype=None):
    exact = np.linspace(a, b, steps) if base is None else np.logspace(a, b, steps, base=base)
    return exact.astype(dtype)


@samples("linspace", reference=spaced, dtypes="float complex")
def _(make):
    yield Sample((-1, 2.5, 7), {"dtype": make.dtype})
    yield Sample((3, 3, 1), {"dtype": make.dtype})
    yield Sample((0, 1, 0), {"dtype": make.dtype})
    yield Sample((0, 10, 600), {"dtype": make.dtype})
    yield Sample((make(), make(), 5), {"dtype": make.dtype})


@samples(
    "logspace",
    reference=lambda a, b, steps, base=10.0, dtype=None: spaced(a, b, steps, base, dtype),
    dtypes="float",
)
def _(make):
    yield Sample((-1, 2, 7), {"dtype": make.dtype})
    yield Sample((0, 3, 4, 2.0), {"dtype": make.dtype})


@samples("eye", dtypes=ALL)
def _(make):
    yield Sample((3,), {"dtype": make.dtype})
    yield Sample((0,), {"dtype": make.dtype})


@samples("eye.m", reference=lambda n, m, dtype: np.eye(n, m, dtype=dtype), dtypes=ALL)
def _(make):
    yield Sample((3, 4), {"dtype": make.dtype})
    yield Sample((3, 0), {"dtype": make.dtype})


for name, indices in (("tril_indices", np.tril_indices), ("triu_indices", np.triu_indices)):

    @samples(
        name,
        reference=lambda row, col, offset=0, indices=indices: np.stack(indices(row, offset, col)),
        dtypes="int64",
    )
    def _(make):
        for arguments in ((3, 3), (3, 5), (5, 2, 1), (3, 4, -1), (3, 3, -5)):
            yield Sample(arguments)


@samples("complex", reference=lambda real, imag: real + 1j * imag, dtypes="float32 float64")
def _(make):
    yield Sample((make(3, 4), make(3, 4)))
    yield Sample((make(3, 1), make(4)))
    yield Sample((make(0), make(0)))


@samples("polar", reference=lambda r, angle: r * np.exp(1j * angle), dtypes="float32 float64")
def _(make):
    yield Sample((make(3, 4, low=0.1), make(3, 4)))
    yield Sample((make(low=0.1), make()))


# --- copies and casts


@samples("clone", reference=lambda a, memory_format=None: a, dtypes=ALL)
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(),))
    yield Sample((make(2, 3, 4, 5),), {"memory_format": facula.channels_last}, grad=False)


@samples("contiguous", reference=lambda a, memory_format=None: a, dtypes=ALL)
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(3, 4).t(),))
    yield Sample((make(2, 3, 4, 5),), {"memory_format": facula.channels_last}, grad=False)


@samples("_to_copy", reference=lambda a, dtype=None: a.astype(dtype or a.dtype), dtypes=ALL)
def _(make):
    yield Sample((make(3, 4),))
    if not make.dtype.is_complex:
        yield Sample((make(3, 4, low=0, high=9),), {"dtype": facula.float64})


def copied(a, source):
    return np.broadcast_to(source, a.shape).astype(a.dtype)


@samples("copy_", reference=copied, dtypes=ALL)
def _(make):
    yield Sample((make(3, 4), make(3, 4)))
    yield Sample((make(3, 4), make(4)))
    yield Sample((make(3, 4), make()))
    yield Sample((make(3, 4), make(3, 4, dtype=facula.int64, low=0)))


@samples("fill_", reference=copied, dtypes=ALL)
def _(make):
    yield Sample((make(3, 4), 1))
    yield Sample((make(3, 4), make()))
    yield Sample((make(0), 1))


@samples("zero_", reference=np.zeros_like, dtypes=ALL)
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(),))


# What grows is uninitialised, so these only shrink.
@samples("resize_", reference=lambda a, size: np.resize(a, size), dtypes=ALL, layouts="")
def _(make):
    yield Sample((make(3, 4), [2, 5]))
    yield Sample((make(3, 4), []))


@samples("resize_as_", reference=lambda a, like: np.resize(a, like.shape), dtypes=ALL, layouts="")
def _(make):
    yield Sample((make(3, 4), make(5, 2)))


@samples(
    "set_.storage",
    reference=lambda a, storage, *layout: np.arange(9.0)[2:8].reshape(2, 3),
    dtypes="float64",
)
def _(make):
    source = facula.arange(9, dtype=make.dtype).untyped_storage()
    yield Sample((make(4), source, 2, [2, 3]), meta=False)
    yield Sample((make(4), source, 2, [2, 3], [3, 1]), meta=False)


@samples("set_.tensor", reference=lambda a, source: source, dtypes=ALL)
def _(make):
    yield Sample((make(4), make(2, 3)))


@samples("set_", reference=lambda a: a.reshape(-1)[:0], dtypes=ALL)
def _(make):
    yield Sample((make(4),))


# --- complex parts


@samples("real", dtypes="float complex")
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(),))


@samples("imag", "resolve_conj", dtypes="complex")
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(),))


@samples(
    "view_as_real",
    reference=lambda a: np.stack([a.real, a.imag], -1),
    dtypes="complex",
    layouts="transposed stepped expanded",  # conjugates that are pending are refused
)
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(0),))


@samples(
    "view_as_complex",
    reference=lambda a: a[..., 0] + 1j * a[..., 1],
    dtypes="float32 float64",
    layouts="",
)
def _(make):
    yield Sample((make(3, 2),))
    yield Sample((make(2),))


@samples(
    "conj", "conj_physical", reference=lambda a: a.conj() if a.dtype.kind == "c" else a, dtypes=ALL
)
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(),))


@samples("resolve_neg", reference=lambda a: a, dtypes="float complex")
def _(make):
    yield Sample((make(3, 4),))
    if make.dtype.is_complex:
        yield Sample((make(3, 4).conj().imag,), grad=False)


@samples("angle", dtypes="int float complex")
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(),))
