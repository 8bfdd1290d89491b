"""Shared memory and common functions with NumPy, the buffer protocol, DLPack."""

import gc
import subprocess
import sys

import facula
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

DTYPES = (
    "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 float32 float64 complex64 "
    "complex128"
).split()


def test_import_does_not_import_numpy():
    code = "import facula, sys; facula.tensor([1.0]) + 1; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- both ways ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_both_ways(dtype):
    a = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    t = facula.from_numpy(a)
    assert t.dtype == getattr(facula, dtype) and t.data_ptr() == a.ctypes.data
    back = t.numpy()
    assert back.dtype == a.dtype and back.ctypes.data == a.ctypes.data
    np.testing.assert_array_equal(back, a)


@given(
    hnp.arrays("int32", hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)),
    st.data(),
)
@settings(max_examples=100, deadline=None)
def test_strides_both_ways(a, data):
    a = a.transpose(data.draw(st.permutations(range(a.ndim))))
    steps = [data.draw(st.sampled_from([1, 2, -1, -2])) for _ in a.shape]
    a = a[(..., *(slice(None, None, step) for step in steps))]
    t = facula.from_numpy(a)
    assert tuple(t.shape) == a.shape
    np.testing.assert_array_equal(t.numpy(), a)
    np.testing.assert_array_equal((t + 1).numpy(), a + 1)
    if a.size:
        a[...] = 3
        assert (t == 3).all()


def test_memory_outlives_either_side():
    t = facula.from_numpy(np.full(1000, 7.0))
    gc.collect()
    assert t.sum() == 7000
    a = facula.full((1000,), 3.0).numpy()
    gc.collect()
    assert a.sum() == 3000


def test_exported_memory_is_not_resized():
    t = facula.ones(4)
    a = t.numpy()
    with pytest.raises(RuntimeError):
        t.resize_(100000)
    assert (a == 1).all()


def test_read_only_memory():
    a = np.ones(3)
    a.flags.writeable = False
    t = facula.from_numpy(a)
    for write in (lambda: t.add_(1), lambda: t.__setitem__(0, 5), lambda: t[1:].zero_()):
        with pytest.raises(RuntimeError, match="read-only"):
            write()
    assert (t + 1).sum() == 6
    assert not t.numpy().flags.writeable
    assert not facula.from_numpy(np.broadcast_to(np.ones(1), (3, 4))).numpy().flags.writeable


@pytest.mark.parametrize(
    ("array", "error", "text"),
    [
        (np.array([1, 2], dtype=">i4"), ValueError, "byteorder"),
        (np.array(["a"]), TypeError, "numpy.str_"),
        (np.array([None]), TypeError, "astype"),
        (np.array(["2020"], dtype="M8[D]"), TypeError, "int64"),
        (np.zeros(3, dtype="i4,i8")["f1"], ValueError, "copy"),
        ([1, 2], TypeError, r"expected np.ndarray \(got list\)"),
    ],
    ids=repr,
)
def test_arrays_that_cannot_be_shared(array, error, text):
    with pytest.raises(error, match=text):
        facula.from_numpy(array)


def test_numpy_errors():
    with pytest.raises(RuntimeError, match="requires grad"):
        facula.ones(2, requires_grad=True).numpy()
    with pytest.raises(TypeError, match="BFloat16"):
        facula.ones(2, dtype=facula.bfloat16).numpy()
    with pytest.raises(RuntimeError, match="conjugate"):
        facula.tensor([1j]).conj().numpy()
    with pytest.raises(TypeError, match="meta"):
        facula.ones(2, device="meta").numpy()
    assert facula.ones(2, requires_grad=True).numpy(force=True).sum() == 2
    assert facula.tensor([1j]).conj().numpy(force=True)[0] == -1j


def test_array_protocol():
    t = facula.arange(4.0)
    assert np.asarray(t).ctypes.data == t.data_ptr()
    assert np.array(t).ctypes.data != t.data_ptr()
    assert np.asarray(t, dtype="int64").dtype == np.int64
    assert np.asarray([t, t]).shape == (2, 4)
    with pytest.raises(RuntimeError, match="requires grad"):
        np.asarray(facula.ones(2, requires_grad=True))

    class Wraps:
        def __array__(self, dtype=None, copy=None):
            return np.arange(3)

    assert facula.tensor(Wraps()).tolist() == [0, 1, 2]


# --- functions ----


def test_ufuncs_give_tensors():
    t, a = facula.tensor([1.0, 4.0]), np.array([2.0, 3.0])
    for result, expected in [
        (np.sin(t), np.sin([1.0, 4.0])),
        (a + t, [3, 7]),
        (t + a, [3, 7]),
        (np.float64(2) * t, [2, 8]),
        (t * np.float64(2), [2, 8]),
        (np.power(t, 2), [1, 16]),
        (np.heaviside(t, facula.zeros(2)), [1, 1]),
        (np.spacing(t), np.spacing(np.float32([1, 4]))),
    ]:
        assert isinstance(result, facula.Tensor)
        np.testing.assert_allclose(result.numpy(), expected, rtol=1e-6)
    assert isinstance(a > t, facula.Tensor)


def test_ufuncs_keep_gradients():
    t = facula.ones(2, requires_grad=True)
    np.exp(t).sum().backward()
    np.testing.assert_allclose(t.grad.numpy(), np.e, rtol=1e-6)


def test_ufuncs_with_out():
    a, t = np.ones(2), facula.ones(2, dtype=facula.float64)
    a += t
    assert isinstance(a, np.ndarray) and (a == 2).all()
    assert np.add(a, a, out=t) is t and (t == 4).all()


def test_functions():
    t = facula.tensor([[1.0, 2.0], [3.0, 4.0]])
    for result, expected in [
        (np.mean(t), 2.5),
        (np.sum(t, axis=0), [4, 6]),
        (np.max(t), 4),
        (np.std(t), np.std(t.numpy())),
        (np.var(t, axis=1, ddof=1), [0.5, 0.5]),
        (np.sum(t, axis=(0, 1), keepdims=True), [[10]]),
        (np.argmax(t, axis=1), [1, 1]),
        (np.mean(facula.tensor([1, 2])), 1.5),
    ]:
        assert isinstance(result, facula.Tensor)
        np.testing.assert_allclose(result.numpy(), expected)
    for result in (np.stack([t, t]), np.concatenate([t, t]), np.median(t, axis=0)):
        assert isinstance(result, np.ndarray)
    assert np.allclose(t, t.numpy())


# --- buffers ----


def test_buffer():
    t = facula.arange(6, dtype=facula.int16).reshape(2, 3)
    view = memoryview(t)
    assert view.format == "h" and view.shape == (2, 3) and view.strides == (6, 2)
    assert view.tolist() == [[0, 1, 2], [3, 4, 5]]
    view[0, 0] = 9
    assert t[0, 0] == 9
    assert memoryview(t.t()).strides == (2, 6)
    assert memoryview(t[:, ::-1]).tolist() == [[2, 1, 9], [5, 4, 3]]
    assert bytes(facula.tensor([1, 2], dtype=facula.uint8)) == b"\x01\x02"
    assert memoryview(facula.tensor(3.0)).shape == ()
    assert memoryview(facula.zeros(2, 0)).nbytes == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: facula.ones(2, dtype=facula.bfloat16),
        lambda: facula.ones(2, requires_grad=True),
        lambda: facula.ones(2, device="meta"),
        lambda: facula.tensor([1j]).conj(),
    ],
)
def test_buffers_that_are_refused(make):
    with pytest.raises(BufferError, match="use tensor"):
        memoryview(make())


def test_buffer_outlives_the_tensor():
    view = memoryview(facula.full((100,), 5, dtype=facula.uint8))
    gc.collect()
    assert set(view) == {5}


# --- DLPack ----


def test_dlpack_both_ways():
    a = np.arange(6.0).reshape(2, 3)[:, ::2]
    t = facula.from_dlpack(a)
    assert t.data_ptr() == a.ctypes.data and t.stride() == (3, 2)
    b = np.from_dlpack(facula.arange(4))
    assert b.tolist() == [0, 1, 2, 3]
    x = facula.arange(3.0)
    y = facula.from_dlpack(x)
    y[0] = 7
    assert x[0] == 7
    assert facula.from_dlpack(x.__dlpack__()).tolist() == x.tolist()
    assert x.__dlpack_device__() == (1, 0)


def test_dlpack_versions():
    x = facula.arange(3.0)
    assert '"dltensor"' in repr(x.__dlpack__())
    assert "versioned" in repr(x.__dlpack__(max_version=(1, 0)))
    copied = facula.from_dlpack(x.__dlpack__(max_version=(1, 0), copy=True))
    copied[0] = 9
    assert x[0] == 0
    capsule = x.__dlpack__()
    facula.from_dlpack(capsule)
    with pytest.raises(RuntimeError, match="only once"):
        facula.from_dlpack(capsule)


def test_dlpack_of_old_producers():
    class Old:
        def __init__(self, t):
            self.t = t

        def __dlpack__(self):
            return self.t.__dlpack__()

        def __dlpack_device__(self):
            return self.t.__dlpack_device__()

    x = facula.arange(3)
    assert facula.from_dlpack(Old(x)).data_ptr() == x.data_ptr()
    assert facula.as_tensor(Old(x)).data_ptr() == x.data_ptr()


def test_dlpack_errors():
    x = facula.ones(2)
    with pytest.raises(BufferError, match="gradient"):
        facula.ones(2, requires_grad=True).__dlpack__()
    with pytest.raises(BufferError, match="device"):
        x.__dlpack__(dl_device=(2, 0))
    with pytest.raises(BufferError, match="stream"):
        x.__dlpack__(stream=1)
    with pytest.raises(TypeError):
        x.__dlpack__(max_version=1)
    with pytest.raises(TypeError, match="__dlpack__"):
        facula.from_dlpack([1])
    a = np.ones(2)
    a.flags.writeable = False
    fixed = facula.from_numpy(a)
    with pytest.raises(BufferError, match="read-only"):
        fixed.__dlpack__()
    assert not np.from_dlpack(fixed).flags.writeable
