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
