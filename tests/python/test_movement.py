"""Moves of elements in shapes around the boundaries of squares, tiles and pieces."""

import facula
import numpy as np
import pytest

SIZES = ["uint8", "int16", "float32", "float64", "complex128"]


def numbers(dtype, *shape):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("shape", [(1, 17), (16, 16), (15, 33), (40, 31), (97, 130), (1025, 19)])
def test_transposed_and_turned(dtype, shape):
    a = numbers(dtype, *shape)
    t = facula.from_numpy(a)
    assert (t.t().contiguous().numpy() == a.T).all()
    assert (facula.rot90(t).contiguous().numpy() == np.rot90(a)).all()
    assert (facula.rot90(t, -1).contiguous().numpy() == np.rot90(a, -1)).all()
    assert (t.t().flip(0).numpy() == a.T[::-1]).all()
    assert (t.t().flip(0, 1).numpy() == a.T[::-1, ::-1]).all()
    assert (t.flip(1).numpy() == a[:, ::-1]).all()
    assert ((t.t().flip(1) + t.t()).numpy() == a.T[:, ::-1] + a.T).all()


@pytest.mark.parametrize("dtype", SIZES)
def test_joined(dtype):
    a, b = numbers(dtype, 5, 7, 3), numbers(dtype, 5, 7, 3) + 1
    t, u = facula.from_numpy(a), facula.from_numpy(b)
    for dim in range(3):
        assert (facula.cat([t, u, t], dim).numpy() == np.concatenate([a, b, a], dim)).all()
        parts = [t.transpose(0, 1), u.transpose(0, 1).to(facula.float64)]
        wanted = np.concatenate([a.swapaxes(0, 1), b.swapaxes(0, 1)], dim)
        assert (facula.cat(parts, dim).numpy() == wanted).all()
    for dim in range(4):
        assert (facula.stack([t, u], dim).numpy() == np.stack([a, b], dim)).all()
        wanted = np.stack([a[:, ::2], b[:, ::2]], dim)
        assert (facula.stack([t[:, ::2], u[:, ::2]], dim).numpy() == wanted).all()
    assert (t.roll((2, 1), (1, 2)).numpy() == np.roll(a, (2, 1), (1, 2))).all()


@pytest.mark.parametrize("dtype", SIZES)
def test_filled_with_steps(dtype):
    a = numbers(dtype, 9, 21)
    t = facula.from_numpy(a.copy())
    t[:, ::2] = 3
    t[1].fill_(5)
    a[:, ::2] = 3
    a[1] = 5
    assert (t.numpy() == a).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "complex128"])
def test_joined_slices(dtype):
    """Runs of slices, of expanded and of transposed tensors, of any length, in several tasks."""
    a = (np.arange(700 * 130) % 251).astype(dtype).reshape(700, 130)
    t = facula.from_numpy(a)
    for edges in ([0, 1, 3, 67, 130], [0, 64, 130], [5, 5, 9, 129]):
        parts = list(zip(edges[:-1], edges[1:], strict=True))
        for dim in (0, 1):
            got = facula.cat([t[:, i:j] if dim else t[i:j] for i, j in parts], dim)
            expected = np.concatenate([a[:, i:j] if dim else a[i:j] for i, j in parts], dim)
            np.testing.assert_array_equal(got.numpy(), expected)
    cube, cube_t = a.reshape(70, 10, 130), t.reshape(70, 10, 130)
    mixed = [(cube_t[:, 2:5], cube[:, 2:5]), (cube_t[:, ::2], cube[:, ::2])]
    mixed += [(cube_t[:1].expand(70, 10, 130), cube[:1].repeat(70, 0))]
    got = facula.cat([x for x, _ in mixed], 1)
    np.testing.assert_array_equal(got.numpy(), np.concatenate([y for _, y in mixed], 1))
    turned = facula.stack([t.t(), t.t()], 1)
    np.testing.assert_array_equal(turned.numpy(), np.stack([a.T, a.T], 1))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
def test_unique_of_narrow_and_wide_ranges(dtype):
    generator = np.random.default_rng(0)
    info = np.iinfo(dtype)
    for least, most, n in ((-3, 3, 50), (0, 100, 50), (info.min, info.max, 400), (7, 7, 1)):
        least = max(least, info.min)
        a = generator.integers(least, most, n, dtype=dtype, endpoint=True)
        a[0], a[-1] = most, least
        got = facula.from_numpy(a).unique(return_inverse=True, return_counts=True)
        values, inverse, counts = np.unique(a, return_inverse=True, return_counts=True)
        for one, other in zip(got, (values, inverse, counts), strict=True):
            np.testing.assert_array_equal(one.numpy(), other)
