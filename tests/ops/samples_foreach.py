"""Samples of csrc/ops/foreach.py: the same samples for a row and for its in-place form."""

import operator

import numpy as np
from registry import Sample, samples

BINARY = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
}
UNARY = {
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "reciprocal": np.reciprocal,
    "sign": np.sign,
}
TERNARY = {
    "addcmul": lambda a, b, c: a + b * c,
    "addcdiv": lambda a, b, c: a + b / c,
}
KINDS = "float complex"


def tensors(make):
    """A list of small tensors of several shapes, positive."""
    return [make(*shape, low=0.5, high=2) for shape in ((2, 3), (4,), (), (0, 2))]


def one_by_one(function):
    """function on the items of lists; what is no list stands for each item."""

    def reference(first, *rest):
        lists = [item if isinstance(item, list) else [item] * len(first) for item in rest]
        return [function(*items) for items in zip(first, *lists)]

    return reference


def foreach(name, function, *rest, overload="", dtypes=KINDS):
    """Registers both forms: the list of the tensors, then what each of `rest` makes."""

    def build(make):
        yield Sample((tensors(make), *(more(make) for more in rest)))
        yield Sample((tensors(make)[:1], *(one(more(make)) for more in rest)))

    def one(item):
        return item[:1] if isinstance(item, list) else item

    names = f"_foreach_{name}{overload}", f"_foreach_{name}_{overload}"
    samples(*names, reference=one_by_one(function), dtypes=dtypes)(build)


for name, function in BINARY.items():
    foreach(name, function, lambda make: 2.5, overload=".Scalar")
    foreach(name, function, tensors, overload=".List")
    foreach(name, function, lambda make: [1.5, 2.0, 3.0, 0.5], overload=".ScalarList")
for name, function in UNARY.items():
    foreach(name, function, dtypes="float" if name in ("sign", "abs") else KINDS)
for name, function in TERNARY.items():
    foreach(name, function, tensors, tensors)


@samples("_foreach_zero_", reference=one_by_one(np.zeros_like), dtypes=KINDS)
def _(make):
    yield Sample((tensors(make),))


@samples("_foreach_copy_", reference=one_by_one(lambda a, b: b), dtypes=KINDS)
def _(make):
    yield Sample((tensors(make), [tensor + 1 for tensor in tensors(make)]))
