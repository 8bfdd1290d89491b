"""Operands that repeat along rows, columns or both, in rows of all lengths."""

import facula
import numpy as np
import pytest

DTYPES = ["uint8", "int16", "float32", "float64", "complex128"]
LENGTHS = [1, 3, 16, 63, 64, 65, 128, 256, 257, 511, 512, 513, 1023, 1024, 1025, 1500]
# shapes that broadcast to (rows, n) and to (2, rows, n)
OTHERS = ["(rows, 1)", "(1, n)", "(1, 1)", "(n,)", "(2, 1, 1)", "(2, rows, 1)", "(2, 1, n)"]


@pytest.mark.parametrize("n", LENGTHS)
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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [65, 200, 1500])
def test_arithmetic_beside_one_element(dtype, n):
    """The loops for a single element on either side give the bits of the plain ones."""
    a = facula.randn(61, n, dtype=getattr(facula, dtype))
    column = facula.randn(61, 1, dtype=a.dtype)
    whole = column.expand(61, n).contiguous()
    for first, second in ((a, column), (column, a), (a, 2.5), (0.3, a)):
        plain = [whole if x is column else x for x in (first, second)]
        plain = [facula.full_like(a, x) if isinstance(x, float) else x for x in plain]
        for function in (facula.add, facula.sub, facula.mul, facula.div):
            got, expected = function(first, second), function(*plain)
            np.testing.assert_array_equal(got.numpy(), expected.numpy())
        for function in (facula.add, facula.sub):
            got, expected = function(first, second, alpha=0.7), function(*plain, alpha=0.7)
            np.testing.assert_array_equal(got.numpy(), expected.numpy())
    target = a.clone()
    target.div_(column)
    np.testing.assert_array_equal(target.numpy(), (a / whole).numpy())


def test_results_larger_than_the_cache():
    """Lines of the result are asked for ahead, to the end of rows, tasks and memory."""
    a, row, column = facula.rand(1501, 1499), facula.rand(1499), facula.rand(1501, 1)
    np.testing.assert_array_equal((a + row).numpy(), a.numpy() + row.numpy())
    np.testing.assert_array_equal((column / a).numpy(), column.numpy() / a.numpy())
    np.testing.assert_array_equal((a > column).numpy(), a.numpy() > column.numpy())
    np.testing.assert_array_equal((a + a).numpy(), a.numpy() + a.numpy())
    expected = a.numpy() * row.numpy()
    a *= row
    np.testing.assert_array_equal(a.numpy(), expected)


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
