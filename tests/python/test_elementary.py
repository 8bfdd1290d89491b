"""Elementary functions of float32 and float64: special values, tails, arguments far away."""

import math

import facula
import numpy as np
import pytest
from facula.nn import functional as F

INF, NAN = math.inf, math.nan
# name: argument, result
SPECIAL = {
    "exp": [(0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (NAN, NAN), (1e30, INF), (-1e30, 0)],
    "log": [(1, 0), (0, -INF), (-0.0, -INF), (INF, INF), (-1, NAN), (-INF, NAN), (NAN, NAN)],
    "tanh": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN), (50, 1), (-50, -1)],
    "sigmoid": [(0, 0.5), (INF, 1), (-INF, 0), (NAN, NAN), (200, 1), (-2000, 0)],
    "sin": [(0, 0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "cos": [(0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "sqrt": [(0, 0), (-0.0, -0.0), (4, 2), (INF, INF), (-1, NAN), (NAN, NAN)],
    "silu": [(0, 0), (-0.0, -0.0), (INF, INF), (NAN, NAN), (200, 200)],
    "gelu": [(0, 0), (INF, INF), (NAN, NAN), (40, 40)],
}


def function(name):
    return getattr(F, name) if name in ("silu", "gelu") else getattr(facula, name)


def bits(t):
    return t.numpy().tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name, dtype):
    x, expected = zip(*SPECIAL[name], strict=True)
    got = function(name)(facula.tensor(x, dtype=getattr(facula, dtype))).numpy()
    np.testing.assert_array_equal(got, np.array(expected, dtype))
    known = ~np.isnan(got)
    if name != "gelu":  # gelu(0) may have either sign
        np.testing.assert_array_equal(np.signbit(got)[known], np.signbit(expected)[known])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SPECIAL)
def test_bits_do_not_depend_on_the_position(name, dtype):
    """An element alone, at the end of a row, and beside one far away: the same bits."""
    facula.manual_seed(0)
    x = facula.randn(167, dtype=getattr(facula, dtype)) * 20
    x[5], x[70], x[71] = 1e5, 3e30, NAN
    whole = function(name)(x)
    for start in (0, 1, 7, 30):
        for n in (1, 2, 5, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130):
            part = function(name)(x[start : start + n].clone())
            assert bits(part) == bits(whole[start : start + n].clone()), (start, n)


def test_subnormal_numbers():
    x = facula.tensor([1e-45, 1e-42, 2e-39, 1.1e-38], dtype=facula.float32)
    exact = x.numpy().astype(np.float64)
    np.testing.assert_allclose(x.log().numpy(), np.log(exact), rtol=1e-7)
    for name in ("tanh", "sin", "sqrt"):
        got = function(name)(x).numpy()
        np.testing.assert_allclose(got, getattr(np, name)(exact), rtol=1e-7, atol=1e-45)
    small = facula.tensor([-88.0, -95.0, -103.0], dtype=facula.float32)
    np.testing.assert_allclose(small.exp().numpy(), np.exp(small.numpy().astype(float)), atol=8e-46)


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_angles_of_all_sizes(name):
    """Near angles, those beyond the fast reduction, and those that need all digits of pi."""
    for high in (1, 6400, 6500, 1e5, 1e12, 1e25):
        x = facula.linspace(-high, high, 1001, dtype=facula.float32)
        exact = getattr(np, name)(x.numpy().astype(np.float64))
        np.testing.assert_allclose(getattr(x, name)().numpy(), exact, rtol=1.2e-7, atol=1e-12)
    near = facula.tensor([math.pi, 355.0, 103993 / 33102, 4096 * math.pi / 2, 6283.1855])
    exact = getattr(np, name)(near.numpy().astype(np.float64))
    np.testing.assert_allclose(getattr(near, name)().numpy(), exact, rtol=1.2e-7)
