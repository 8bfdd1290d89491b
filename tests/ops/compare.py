"""Results of facula beside results of NumPy: conversion and comparison."""

import facula
import numpy as np

# Of floating results, both absolute and relative.
TOLERANCE = {
    facula.bfloat16: 2**-6,
    facula.float16: 2**-9,
    facula.float32: 2e-5,
    facula.float64: 1e-10,
    facula.complex64: 2e-5,
    facula.complex128: 1e-10,
}
NUMPY = {
    getattr(facula, name): np.dtype(name)
    for name in (
        "bool uint8 int8 int16 int32 int64 float16 float32 float64 complex64 complex128".split()
    )
}


def each_tensor(function, value):
    """A nested value with function(tensor) in the place of each tensor."""
    if isinstance(value, facula.Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: each_tensor(function, item) for key, item in value.items()}
    if isinstance(value, list):
        return [each_tensor(function, item) for item in value]
    if type(value) is tuple:
        return tuple(each_tensor(function, item) for item in value)
    return value


def tensors_in(value):
    """All tensors of a nested value, in order."""
    found = []
    each_tensor(found.append, list(value) if isinstance(value, tuple) else value)
    return found


def wide(dtype):
    """The NumPy dtype in which references compute: double precision, or the integers' own."""
    if dtype.is_complex:
        return np.dtype("complex128")
    return np.dtype("float64") if dtype.is_floating_point else NUMPY[dtype]


def to_array(tensor):
    """A tensor as an array of its wide dtype."""
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.is_floating_point() or tensor.is_complex():
        tensor = tensor.to(facula.complex128 if tensor.is_complex() else facula.float64)
    return np.array(tensor.cpu().numpy())


def assert_same(actual, expected):
    """Two nested results of facula have equal dtypes, shapes and bits (but for the sign of 0)."""
    mine, others = tensors_in(actual), tensors_in(expected)
    assert len(mine) == len(others)
    for a, b in zip(mine, others):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(to_array(a), to_array(b))
    if not mine:
        assert actual == expected


def assert_close(actual, expected, slack=1.0):
    """A nested result of facula has the shapes and values of arrays; where those are None, any."""
    if isinstance(actual, (list, tuple)):
        assert isinstance(expected, (list, tuple)) and len(actual) == len(expected)
        for a, e in zip(actual, expected):
            assert_close(a, e, slack)
        return
    if expected is None:
        return
    if not isinstance(actual, facula.Tensor):
        assert actual == expected
        return
    values, expected = to_array(actual), np.asarray(expected)
    assert values.shape == expected.shape
    if actual.dtype not in TOLERANCE:
        np.testing.assert_array_equal(values, expected)
        return
    with np.errstate(over="ignore"):
        # What overflows in the dtype of the result is infinite in the reference, too.
        expected = expected.astype(NUMPY.get(actual.dtype, np.float32)).astype(values.dtype)
    tolerance = TOLERANCE[actual.dtype] * slack
    np.testing.assert_allclose(values, expected, rtol=tolerance, atol=tolerance)
