"""tensor(), as_tensor(), asarray(), frombuffer(): shapes, dtypes, sharing, errors."""

import array as arrays

import facula
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        (1, "int64", ()),
        (1.5, "float32", ()),
        (True, "bool", ()),
        (1j, "complex64", ()),
        ([], "float32", (0,)),
        ([[], []], "float32", (2, 0)),
        ([1, 2], "int64", (2,)),
        ([True, False], "bool", (2,)),
        ([1, True], "int64", (2,)),
        ([1, 2.5, True], "float32", (3,)),
        ([1j, 2], "complex64", (2,)),
        (((1, 2), [3, 4]), "int64", (2, 2)),
        (range(3), "int64", (3,)),
        (arrays.array("i", [1, 2]), "int64", (2,)),
        (np.float64(1), "float64", ()),
        ([np.float64(1)], "float64", (1,)),
        ([np.float32(1), 2.0], "float32", (2,)),
        ([np.int32(1)], "int32", (1,)),
        ([np.bool_(True)], "bool", (1,)),
        (np.zeros((2, 3), "uint16"), "uint16", (2, 3)),
        ([np.zeros(3), np.ones(3)], "float64", (2, 3)),
        ([np.zeros(3), [1, 2, 3]], "float64", (2, 3)),
        ([np.array(1.0), 2], "float64", (2,)),
    ],
    ids=repr,
)
def test_shape_and_dtype(data, dtype, shape):
    t = facula.tensor(data)
    assert str(t.dtype).endswith("." + dtype)
    assert tuple(t.shape) == shape
    plain = [np.asarray(x) for x in data] if isinstance(data, list) and data else np.asarray(data)
    np.testing.assert_array_equal(t.numpy(), np.asarray(plain).reshape(shape))


def test_tensors_in_lists():
    rows = [facula.arange(3), facula.arange(3) + 1]
    assert facula.tensor(rows).tolist() == [[0, 1, 2], [1, 2, 3]]
    assert facula.tensor([facula.tensor(1.0), facula.tensor([2.0]), 3]).tolist() == [1, 2, 3]


def test_default_dtype():
    facula.set_default_dtype(facula.float64)
    try:
        assert facula.tensor([1.0]).dtype == facula.float64
        assert facula.tensor([1j]).dtype == facula.complex128
    finally:
        facula.set_default_dtype(facula.float32)


NUMBERS = st.floats(allow_nan=False, width=32) | st.integers(-(2**31), 2**31) | st.booleans()


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), max_size=5))
@settings(max_examples=100, deadline=None)
def test_lists_as_numpy(data):
    expected = np.array(data, dtype="float64").reshape(len(data), 3 if data else 0)
    t = facula.tensor(data, dtype=facula.float64)
    np.testing.assert_array_equal(t.numpy(), expected if data else np.zeros(0))


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (
            [[1, 2], [3]],
            ValueError,
            r"expected sequence of length 2 at dim 1 \(got 1\), in data\[1\]",
        ),
        ([[1, 2], 3], TypeError, r"not a sequence.*int in data\[1\]"),
        ([1, [2]], TypeError, r"expected a number at data\[1\], got list"),
        ("a", TypeError, "invalid data type 'str'"),
        (["a"], ValueError, r"'str' at data\[0\]"),
        ([b"a"], TypeError, "bytes"),
        (None, RuntimeError, "Could not infer dtype of NoneType"),
        ([[1], [None]], RuntimeError, r"NoneType, at data\[1\]\[0\]"),
        ({1: 2}, RuntimeError, "dict"),
        (2**63, ValueError, "Overflow"),
        ([np.zeros(2), np.zeros(3)], ValueError, r"shape \[2\] at data\[1\], got shape \[3\]"),
    ],
    ids=repr,
)
def test_errors(data, error, text):
    with pytest.raises(error, match=text):
        facula.tensor(data)


def test_self_containing_list():
    data = []
    data.append(data)
    with pytest.raises(ValueError, match="too many dimensions"):
        facula.tensor(data)


def test_list_that_changes_while_it_is_read():
    class Shrinks:
        def __init__(self, data):
            self.data = data

        def __index__(self):
            del self.data[1:]
            return 1

    data = [1, 2, 3]
    data[0] = Shrinks(data)
    with pytest.raises(ValueError, match="expected sequence of length"):
        facula.tensor(data)


@pytest.mark.parametrize(
    ("value", "dtype", "result"),
    [
        (300, "uint8", RuntimeError),
        (-1, "uint8", 255),
        (256, "int8", RuntimeError),
        (1.9, "int64", 1),
        (-1.9, "int64", -1),
        (float("nan"), "int64", RuntimeError),
        (1e30, "int32", RuntimeError),
        (2**63, "uint64", 2**63),
        (1j, "float32", TypeError),
        (1e40, "float32", float("inf")),
        (10**20, "float64", 1e20),
        (2, "bool", True),
    ],
)
def test_conversion(value, dtype, result):
    dtype = getattr(facula, dtype)
    for data in (value, [value], [[value]]):
        if isinstance(result, type):
            with pytest.raises(result):
                facula.tensor(data, dtype=dtype)
        else:
            assert facula.tensor(data, dtype=dtype).item() == result


def test_options():
    t = facula.tensor([1.0], requires_grad=True, dtype=facula.float64, device="cpu")
    assert t.requires_grad and t.is_leaf and t.dtype == facula.float64
    with pytest.raises(RuntimeError):
        facula.tensor([1], requires_grad=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        facula.tensor([1], size=3)
    with pytest.raises(TypeError, match="positional"):
        facula.tensor([1], facula.float32)
    with pytest.raises(TypeError, match="'dtype' must be a dtype"):
        facula.tensor([1], dtype="float32x")
    assert facula.tensor([1.0, 2.0], device="meta").device.type == "meta"


def test_copy_of_a_tensor_warns():
    x = facula.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="copy construct"):
        y = facula.tensor(x)
    assert not y.requires_grad and y.data_ptr() != x.data_ptr()


def test_as_tensor_shares():
    a = np.ones(3, dtype="float32")
    t = facula.as_tensor(a)
    a[0] = 5
    assert t[0] == 5
    x = facula.ones(2, requires_grad=True)
    assert facula.as_tensor(x) is x
    assert facula.as_tensor(x, dtype=facula.float64).requires_grad
    assert facula.as_tensor([1, 2], facula.float32).dtype == facula.float32


def test_asarray():
    a = np.ones(3, dtype="float32")
    assert facula.asarray(a).data_ptr() == a.ctypes.data
    assert facula.asarray(a, copy=True).data_ptr() != a.ctypes.data
    with pytest.raises(ValueError, match="copy=False"):
        facula.asarray(a, dtype=facula.float64, copy=False)
    with pytest.raises(ValueError, match="copy=False"):
        facula.asarray([1, 2], copy=False)
    assert facula.asarray(b"abcd", dtype=facula.int16).tolist() == [25185, 25699]


def test_frombuffer():
    memory = bytearray(b"abcd")
    t = facula.frombuffer(memory, dtype=facula.uint8)
    memory[0] = 1
    assert t.tolist() == [1, 98, 99, 100]
    t[1] = 2
    assert memory[1] == 2
    assert facula.frombuffer(memory, dtype=facula.uint8, count=2, offset=1).tolist() == [2, 99]
    for options in ({"offset": 9}, {"offset": -1}, {"count": 9}, {"count": 0}):
        with pytest.raises(ValueError, match="frombuffer"):
            facula.frombuffer(memory, dtype=facula.uint8, **options)
    with pytest.raises(ValueError, match="multiple of element size"):
        facula.frombuffer(b"abc", dtype=facula.int16)
    fixed = facula.frombuffer(b"abcd", dtype=facula.uint8)
    with pytest.raises(RuntimeError, match="read-only"):
        fixed[0] = 1


@pytest.mark.peer
def test_as_the_peer():
    torch = pytest.importorskip("torch")
    for data in (
        [1, 2.5],
        [[1, 2], [3, 4]],
        [True],
        [1j],
        [np.float16(1), 2],
        [np.int8(1), 2],
        [np.float64(1), 1],
        np.arange(3),
        range(4),
        (),
    ):
        ours, theirs = facula.tensor(data), torch.tensor(data)
        assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


@pytest.mark.parametrize(
    "args", [(0, 2.0**63, 1.0), (0, 1e19), (-(2**62), 2**62), (-(2**63), 2**63 - 1)]
)
def test_ranges_too_long_to_count(args):
    with pytest.raises(RuntimeError, match="invalid size, possible overflow"):
        facula.arange(*args, device="meta")


@pytest.mark.parametrize(
    "make",
    [
        lambda one: one.unsqueeze(0),
        lambda one: facula.stack([one]),
        lambda one: one.expand([1] * 65),
        lambda one: one.reshape([1] * 65),
        lambda one: one.unfold(0, 1, 1),
        lambda one: one.unflatten(0, (1, 1)),
        lambda one: one.as_strided([1] * 65, [1] * 65),
        lambda one: one.resize_([1] * 65),
        lambda one: one.new_empty([1] * 65),
        lambda one: facula.empty_strided([1] * 65, [1] * 65),
    ],
)
def test_at_most_64_dimensions(make):
    with pytest.raises(RuntimeError, match="a tensor has at most 64 dimensions, not 65"):
        make(facula.ones([1] * 64))
