"""repr(t), to the character as the peer's."""

import math

import facula
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


def test_plain():
    assert repr(facula.tensor([1.0, 2.5])) == "tensor([1.0000, 2.5000])"
    assert repr(facula.tensor([[1, -20], [3, 4]])) == "tensor([[  1, -20],\n        [  3,   4]])"
    assert repr(facula.tensor(True)) == "tensor(True)"
    assert repr(facula.zeros(0, 3)) == "tensor([], size=(0, 3))"
    assert repr(facula.tensor([1.0], requires_grad=True)) == "tensor([1.], requires_grad=True)"
    meta = facula.ones(2, 3, device="meta")
    assert repr(meta) == "tensor(..., device='meta', size=(2, 3))"


def test_history():
    x = facula.ones(2, requires_grad=True)
    assert repr(x + 1) == "tensor([2., 2.], grad_fn=<AddBackward0>)"
    assert repr(x[0]) == "tensor(1., grad_fn=<SelectBackward0>)"


def test_options():
    t = facula.arange(20.0) / 3
    plain = repr(t)
    facula.set_printoptions(precision=2, threshold=10, edgeitems=2)
    try:
        assert repr(t) == "tensor([0.00, 0.33,  ..., 6.00, 6.33])"
        facula.set_printoptions(sci_mode=True)
        assert "e+00" in repr(t)
        facula.set_printoptions(profile="full")
        assert "..." not in repr(facula.zeros(2000))
    finally:
        facula.set_printoptions(profile="default")
    assert repr(t) == plain
    with pytest.raises(ValueError, match="profile"):
        facula.set_printoptions(profile="wide")


peer = pytest.mark.peer


def both(array):
    """The texts of ours and of the peer's, with our module name put to theirs."""
    torch = pytest.importorskip("torch")
    array = np.ascontiguousarray(array)
    ours = repr(facula.tensor(array)).replace("facula.", "torch.")
    return ours, repr(torch.tensor(array))


FLOATS = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1.0, 2.0, 0.5, 1e-5, 1e9, -1.0])
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@peer
@given(hnp.arrays("float32", SHAPES, elements=FLOATS))
@settings(max_examples=300, deadline=None)
def test_floats(array):
    ours, theirs = both(array)
    assert ours == theirs


@peer
@given(hnp.arrays("complex64", SHAPES, elements=st.builds(complex, FLOATS, FLOATS)))
@settings(max_examples=200, deadline=None)
def test_complex(array):
    ours, theirs = both(array)
    assert ours == theirs


@peer
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int32", "int64", "float16", "float64"])
@pytest.mark.parametrize(
    "shape", [(), (0,), (2, 0), (7,), (40,), (3, 30), (1001,), (40, 40), (3, 4, 100), (2, 600, 1)]
)
def test_shapes_and_dtypes(dtype, shape):
    ours, theirs = both((np.arange(math.prod(shape)).reshape(shape) % 120).astype(dtype))
    assert ours == theirs


@peer
@pytest.mark.parametrize("options", [{}, {"precision": 8}, {"linewidth": 30}, {"edgeitems": 1}])
@pytest.mark.parametrize("more", [{}, {"threshold": 5}, {"sci_mode": False}, {"profile": "short"}])
def test_options_as_the_peer(options, more):
    torch = pytest.importorskip("torch")
    array = np.linspace(-3, 70000, 24).reshape(2, 12)
    try:
        facula.set_printoptions(**options, **more)
        torch.set_printoptions(**options, **more)
        for values in (array, array[0], array.astype("int64"), array + 1j):
            ours, theirs = both(values)
            assert ours == theirs
    finally:
        facula.set_printoptions(profile="default")
        torch.set_printoptions(profile="default")


@peer
def test_suffixes_as_the_peer():
    torch = pytest.importorskip("torch")
    for make in (
        lambda m: m.ones(3, dtype=m.bfloat16),
        lambda m: m.ones(20, dtype=m.float64, requires_grad=True),
        lambda m: m.ones(7, 3, requires_grad=True) * 1000.5,
        lambda m: m.ones(2, 3, device="meta", dtype=m.int64),
        lambda m: m.zeros(0, dtype=m.int64),
        lambda m: m.zeros(2, 0, dtype=m.float64),
        lambda m: m.nn.Parameter(m.ones(2)),
        lambda m: m.tensor([1 + 2j]).conj(),
        lambda m: m.tensor([1e-10, 1.0]),
    ):
        assert repr(make(facula)).replace("facula.", "torch.") == repr(make(torch))
