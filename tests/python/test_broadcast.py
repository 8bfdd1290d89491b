"""Operands that repeat along rows, columns or both, in rows of all lengths."""

import facula
import numpy as np
import pytest

DTYPES = ["uint8", "int16", "float32", "float64", "complex128"]
# shapes that broadcast to (rows, n) and to (2, rows, n)
OTHERS = ["(rows, 1)", "(1, n)", "(1, 1)", "(n,)", "(2, 1, 1)", "(2, rows, 1)", "(2, 1, n)"]


@pytest.mark.parametrize("n", [1, 3, 63, 64, 65, 511, 512, 513, 1500])
@pytest.mark.parametrize("dtype", DTYPES)
def test_repeated_operands(dtype, n):
    rows = 17
    a = (np.arange(rows * n).reshape(rows, n) % 11).astype(dtype)
    for text in OTHERS:
        shape = eval(text, {"rows": rows, "n": n})
        b = (np.arange(np.prod(shape)).reshape(shape) % 7 + 1).astype(dtype)
        got = facula.from_numpy(a) * facula.from_numpy(b)
        np.testing.assert_array_equal(got.numpy(), a * b, err_msg=text)
        got = facula.from_numpy(b) - facula.from_numpy(a)
        np.testing.assert_array_equal(got.numpy(), b - a, err_msg=text)


def test_columns_over_several_tasks():
    """More elements than one task takes, cut in the middle of a row."""
    a, b = facula.rand(701, 999), facula.rand(701, 1)
    np.testing.assert_array_equal((a * b).numpy(), a.numpy() * b.numpy())
    flipped = facula.rand(701, 2)[:, 1:]
    np.testing.assert_array_equal((a + flipped).numpy(), a.numpy() + flipped.numpy())
    target = facula.zeros(999, 701).t()
    facula.mul(a, b, out=target)
    np.testing.assert_array_equal(target.numpy(), a.numpy() * b.numpy())
    where = facula.where(a > b, a, 2.0)
    expected = np.where(a.numpy() > b.numpy(), a.numpy(), np.float32(2))
    np.testing.assert_array_equal(where.numpy(), expected)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "float16", "float32", "float64"])
@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_copies_of_one_element(dtype, start):
    for n in (1, 5, 31, 64, 200, 3000):
        t = facula.zeros(start + n + 1, dtype=getattr(facula, dtype))
        t[start : start + n] = facula.ones(1, dtype=t.dtype).expand(n)
        expected = np.zeros(start + n + 1, dtype)
        expected[start : start + n] = 1
        np.testing.assert_array_equal(t.numpy(), expected)
