"""Sine, cosine and tangent of numbers that are far from 0, beside exact arithmetic on integers."""

import functools
import math
import random

import facula
import pytest

DRAWN = random.Random(0)
FAR = [DRAWN.choice((-1, 1)) * DRAWN.uniform(1, 2) * 2.0**e for e in range(53, 1024, 5)]
FAR += [2.0**50, -(2.0**50) - 1, 2.0**1023, 1.7976931348623157e308]
FAR += [6381956970095103 * 2.0**797]  # the float64 that comes nearest to a multiple of pi/2
FUNCTIONS = ["sin", "cos", "tan"]

ONE = 1 << 1300  # what stands for 1: numbers are integers in units of 2**-1300


def arctan_of_inverse(n):
    total, term, k = 0, ONE // n, 1
    while term:
        total += term // k if k % 4 == 1 else -(term // k)
        term, k = term // (n * n), k + 2
    return total


PI = 16 * arctan_of_inverse(5) - 4 * arctan_of_inverse(239)  # Machin's formula


@functools.cache
def sine_and_cosine(x):
    """Of a float that is an integer, by their series."""
    angle = (int(x) * ONE % (2 * PI)) >> 1100  # of which 200 bits will do
    term, sums = 1 << 200, [0, 0, 0, 0]
    for k in range(1, 90):
        sums[(k - 1) % 4] += term
        term = (term * angle >> 200) // k
    return (sums[1] - sums[3]) / (1 << 200), (sums[0] - sums[2]) / (1 << 200)


def exact(name, x):
    sine, cosine = sine_and_cosine(x)
    return {"sin": sine, "cos": cosine, "tan": sine / cosine}[name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_double(name):
    result = getattr(facula, name)(facula.tensor(FAR, dtype=facula.float64)).tolist()
    for x, y in zip(FAR, result, strict=True):
        expected = exact(name, x)
        assert abs(y - expected) <= 2.5 * math.ulp(expected), x


@pytest.mark.parametrize("name", FUNCTIONS)
def test_single(name):
    drawn = facula.tensor([x for x in FAR if abs(x) < 3e38])
    for x, y in zip(drawn.tolist(), getattr(facula, name)(drawn).tolist(), strict=True):
        expected = exact(name, x)
        assert abs(y - expected) <= 2**-23.9 * abs(expected), x


@pytest.mark.parametrize("dtype", [facula.float32, facula.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits_do_not_depend_on_the_neighbours(name, dtype):
    near = facula.linspace(-1e6, 1e6, 1000, dtype=dtype)
    mixed = facula.cat([near, facula.tensor([1e30, math.inf, math.nan], dtype=dtype)])
    function = getattr(facula, name)
    result = function(mixed)
    assert (result[:1000] == function(near)).all()
    assert result[1001:].isnan().all()
