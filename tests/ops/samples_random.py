"""Samples of csrc/ops/random.py: the tests compare shapes, dtypes and forms, from one seed."""

import facula
from registry import Sample, samples

FLOATS = "float"


@samples("rand", "randn", dtypes=FLOATS)
def _(make):
    for size in ([3, 4], [], [0, 2], [40]):
        yield Sample((size,), {"dtype": make.dtype})


@samples("randint", dtypes="int float")
def _(make):
    yield Sample((9, [3, 4]), {"dtype": make.dtype})


@samples("randint.low", dtypes="int float")
def _(make):
    yield Sample((2, 9, [3, 4]), {"dtype": make.dtype})


@samples("randperm", dtypes="int float32 float64")
def _(make):
    for n in (0, 1, 12):
        yield Sample((n,), {"dtype": make.dtype})


@samples("rand_like", "randn_like", dtypes=FLOATS)
def _(make):
    yield Sample((make(3, 4),))
    yield Sample((make(3, 4),), {"dtype": facula.float64})


@samples("randint_like", dtypes="int float")
def _(make):
    yield Sample((make(3, 4), 9))


@samples("randint_like.low", dtypes="int float")
def _(make):
    yield Sample((make(3, 4), 2, 9))


def fills(name, *arguments, dtypes=FLOATS):
    @samples(name, dtypes=dtypes)
    def _(make):
        for args in ((), *arguments) if name != "geometric_" else arguments:
            yield Sample((make(3, 4), *args))
        yield Sample((make(0), *(arguments[0])))


fills("uniform_", (-1.0, 2.0))
fills("normal_", (1.0, 2.0))
fills("exponential_", (2.0,))
fills("cauchy_", (1.0, 2.0))
fills("log_normal_", (0.5, 1.0))
fills("geometric_", (0.3,), dtypes="int float")
fills("random_", (9,), (2, 9), dtypes="int float")
fills("bernoulli_", (0.3,), (facula.full([4], 0.5),), dtypes="bool int float")


@samples("bernoulli", dtypes=FLOATS)
def _(make):
    yield Sample((make(3, 4, low=0, high=1),))
    yield Sample((make(low=0, high=1),))


@samples("bernoulli.p", dtypes="int float")
def _(make):
    yield Sample((make(3, 4), 0.3))


@samples("normal", dtypes=FLOATS)
def _(make):
    yield Sample((make(3, 4), make(3, 4, low=0.1)))
    yield Sample((make(3, 1), make(4, low=0.1)))
    yield Sample((make(3, 4), 2.0))
    yield Sample((2.0, make(3, 4, low=0.1)))


@samples("normal.size", dtypes=FLOATS)
def _(make):
    yield Sample((0.5, 2.0, [3, 4]), {"dtype": make.dtype})


@samples("multinomial", dtypes="float32 float64")
def _(make):
    yield Sample((make(3, 5, low=0.1), 2))
    yield Sample((make(5, low=0.1), 9, True))
