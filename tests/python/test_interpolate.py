"""Resizing with the channels last: the numbers of C order, in the order of the operand."""

import facula
import facula.nn.functional as F
import pytest

LAST = {4: facula.channels_last, 5: facula.channels_last_3d}
CASES = [
    ("nearest", (2, 5, 7, 9), (11, 4)),
    ("nearest-exact", (1, 17, 6, 5), (6, 20)),
    ("bilinear", (2, 5, 7, 9), (20, 5)),
    ("bicubic", (3, 33, 6, 8), (4, 13)),
    ("nearest", (2, 6, 3, 5, 4), (7, 2, 9)),
    ("trilinear", (2, 9, 4, 5, 6), (3, 11, 5)),
]


@pytest.mark.parametrize("dtype", [facula.float32, facula.float64, facula.bfloat16], ids=str)
@pytest.mark.parametrize("mode, shape, size", CASES, ids=str)
def test_channels_last(mode, shape, size, dtype):
    facula.manual_seed(0)
    x = facula.randn(*shape, dtype=dtype)
    found = []
    for last in (False, True):
        leaf = x.to(memory_format=LAST[x.ndim]) if last else x.clone()
        y = F.interpolate(leaf.requires_grad_(), size, mode=mode)
        grad = y.detach().sin()
        y.backward(grad)
        found.append((y.detach(), leaf.grad))
        if last:
            assert y.is_contiguous(memory_format=LAST[x.ndim])
            assert leaf.grad.is_contiguous(memory_format=LAST[x.ndim])
    for a, b in zip(*found, strict=True):
        assert bool((a == b).all())


def test_threads():
    x = facula.randn(2, 20, 30, 40).to(memory_format=facula.channels_last)
    before, found = facula.get_num_threads(), []
    try:
        for threads in (1, 3, 8):
            facula.set_num_threads(threads)
            leaf = x.clone().requires_grad_()
            y = F.interpolate(leaf, (61, 50), mode="bilinear")
            y.backward(y.detach())
            found.append((y.detach(), leaf.grad))
    finally:
        facula.set_num_threads(before)
    for later in found[1:]:
        assert all(bool((a == b).all()) for a, b in zip(found[0], later, strict=True))


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
def test_interpolate_by_next_to_nothing(mode):
    """Coordinates that are infinite or no numbers are places of the input all the same."""
    x = facula.arange(4.0).view(1, 1, 2, 2)
    y = facula._C._functions["_interpolate"](x, [3, 3], mode, False, [1e-320, 1e-320])
    assert y.isnan().any() or set(y.flatten().tolist()) <= {0.0, 1.0, 2.0, 3.0}
