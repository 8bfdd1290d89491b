"""Samples: the arguments with which the tests of the table call each operator.

    from registry import Sample, samples

    @samples("logaddexp")
    def _(make):
        yield Sample((make(3, 4), make(3, 4)))
        yield Sample((make(3, 1), make(4)))                 # broadcast

    @samples("sum", reference=lambda a, dim, keepdim=False: a.sum(dim, keepdims=keepdim))
    def _(make): ...

A name is a row's: "div" or "div.mode"; an overload without samples of its own has those of the
plain name. The function is called once for each dtype that is tested, with a new `make`, and its
tensors are the same in each run. `make.dtype` is the dtype under test.
"""

from dataclasses import dataclass, field, replace

import facula
import numpy as np
from compare import each_tensor

# Spelled as strings in declarations: the words of `dtypes`.
CLASSES = {
    "bool": ("bool",),
    "int": ("uint8", "int8", "int16", "int32", "int64"),
    "float": ("float32", "float64", "bfloat16", "float16"),
    "complex": ("complex64", "complex128"),
}


@dataclass
class Sample:
    """One call.

    grad   False: there is no gradient worth checking (a kink, say)
    meta   False: the shape depends on data, or a storage is given; meta tensors are refused
    dtype  that of the first result, where it does not follow from the reference and the dtype
           under test
    """

    args: tuple = ()
    kwargs: dict = field(default_factory=dict)
    grad: bool = True
    meta: bool = True
    dtype: object = None

    def mapped(self, function):
        """The same call with function(tensor) for each of its tensors."""
        args, kwargs = each_tensor(function, (self.args, self.kwargs))
        return replace(self, args=args, kwargs=kwargs)


@dataclass
class Samples:
    """The samples of a row and how its tests differ from the usual.

    reference  from NumPy arrays to the expected result, if the row's `like` does not do
    dtypes     words of CLASSES or single dtypes; the default is what the row declares
    grad       False: the gradient is not checked (the reason belongs in a comment)
    gradgrad   False: only its gradient is
    random     the values are not compared, only shape and dtype
    layouts    words: the other layouts of the tensors that give the same result; see test_strides
    slack      how many times the dtype's usual tolerance
    """

    build: object
    reference: object = None
    dtypes: str | None = None
    grad: bool = True
    gradgrad: bool = True
    random: bool = False
    layouts: str = "transposed stepped expanded conjugated"
    slack: float = 1.0

    def __call__(self, dtype):
        return list(self.build(Make(dtype)))


REGISTRY = {}


def samples(*names, **options):
    """Registers a generator of samples for rows; see Samples for the options."""

    def register(build):
        for name in names:
            assert name not in REGISTRY, f"{name} has samples already"
            REGISTRY[name] = Samples(build, **options)
        return build

    return register


class Make:
    """Makes tensors of the dtype under test from a fixed seed."""

    def __init__(self, dtype, seed=0):
        self.dtype = dtype
        self.rng = np.random.default_rng(seed)

    def __call__(self, *shape, dtype=None, low=None, high=None, requires_grad=False):
        dtype = self.dtype if dtype is None else dtype
        if dtype == facula.bool:
            array = self.rng.random(shape) < 0.5
        elif dtype.is_complex:
            low, high = -2 if low is None else low, 2 if high is None else high
            array = self.rng.uniform(low, high, shape) + 1j * self.rng.uniform(low, high, shape)
        elif dtype.is_floating_point:
            low, high = -2 if low is None else low, 2 if high is None else high
            array = self.rng.uniform(low, high, shape)
        else:
            low = (0 if dtype == facula.uint8 else -9) if low is None else low
            array = self.rng.integers(int(low), 10 if high is None else int(np.ceil(high)), shape)
        return facula.tensor(np.asarray(array)).to(dtype).requires_grad_(requires_grad)

    def index(self, n, *shape):
        """Random int64 indices into a dimension of n."""
        return self(*shape, dtype=facula.int64, low=0, high=n)

    def distinct(self, *shape):
        """Like make(), but no two elements are close: for sorting, extrema and ties."""
        count = int(np.prod(shape))
        if self.dtype.is_floating_point or self.dtype.is_complex:
            values = np.linspace(-2, 2, count)
        else:
            values = np.arange(count) % 100
        return facula.tensor(self.rng.permutation(values).reshape(shape)).to(self.dtype)

    def symmetric(self, n, *batch):
        """A well-conditioned Hermitian positive definite matrix."""
        a = self(*batch, n, n)
        return a @ a.mH + n * facula.eye(n, dtype=self.dtype)
