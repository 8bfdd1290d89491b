"""Convolutions against sums over taps written out, in shapes that meet every way of computing them,
and what is promised beyond their values: bits that depend neither on threads nor on the batch."""

import itertools

import facula
import facula.nn.functional as F
import pytest

CONVS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}

# channels and outputs of a group, groups, size, kernel, stride, padding, dilation
CASES = [
    (3, 20, 1, (13, 40), (3, 3), (1, 1), (1, 1), (1, 1)),
    (17, 33, 1, (9, 7), (3, 3), (1, 1), (1, 1), (1, 1)),
    (70, 5, 1, (6, 6), (5, 3), (1, 1), (4, 0), (1, 1)),
    (4, 6, 2, (11, 12), (3, 2), (2, 3), (1, 1), (1, 2)),
    (5, 19, 1, (10, 10), (1, 1), (2, 2), (0, 0), (1, 1)),
    (3, 16, 1, (24, 24), (8, 8), (8, 8), (0, 0), (1, 1)),
    (1, 1, 9, (8, 35), (3, 3), (1, 1), (1, 1), (1, 1)),
    (1, 2, 5, (9, 9), (3, 3), (2, 2), (1, 1), (2, 2)),
    (1, 1, 70, (7, 9), (3, 2), (2, 3), (1, 2), (1, 2)),
    (1, 1, 3, (4, 71), (3, 3), (1, 1), (2, 0), (1, 1)),
    (3, 40, 1, (40, 29), (7, 7), (2, 2), (3, 3), (1, 1)),
    (2, 3, 1, (5, 5), (1, 1), (1, 1), (0, 0), (1, 1)),
    (6, 4, 1, (50,), (5,), (2,), (2,), (3,)),
    (2, 9, 1, (5, 6, 7), (3, 2, 3), (1, 2, 1), (1, 0, 1), (1, 1, 1)),
    (2, 3, 2, (4, 9, 4), (2, 3, 2), (3, 1, 2), (1, 2, 0), (1, 2, 1)),
    # gathered: runs of channels, blocks of panels, strips that end in the middle of a sample
    (60, 35, 1, (5, 7), (3, 3), (1, 1), (1, 1), (1, 1)),
    (9, 260, 1, (6, 5), (5, 5), (1, 1), (2, 2), (1, 1)),
    (35, 40, 1, (14, 14), (3, 3), (2, 2), (1, 1), (1, 1)),
    (30, 70, 2, (7, 7), (1, 1), (1, 1), (0, 0), (1, 1)),
    (40, 33, 1, (20, 20), (1, 1), (1, 1), (0, 0), (1, 1)),
    (3, 31, 1, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1)),
    (2, 40, 1, (45, 47), (20, 17), (1, 1), (0, 0), (1, 1)),
    (1, 1, 5, (7, 20), (5, 5), (1, 1), (2, 2), (1, 1)),
    (1, 3, 4, (40,), (31,), (1,), (15,), (1,)),
    # by Winograd's way: whole vectors of tiles or one that is not full, sizes that are odd
    (40, 33, 1, (13, 16), (3, 3), (1, 1), (1, 1), (1, 1)),
    (32, 35, 2, (12, 15), (3, 3), (1, 1), (2, 0), (1, 1)),
    (130, 32, 1, (5, 71), (3, 3), (1, 1), (1, 1), (1, 1)),
]


def tensors(case, batch, dtype):
    facula.manual_seed(0)
    channels, outputs, groups, size, kernel = case[:5]
    x = facula.randn(batch, channels * groups, *size, dtype=dtype)
    w = facula.randn(outputs * groups, channels, *kernel, dtype=dtype)
    return x, w, facula.randn(outputs * groups, dtype=dtype)


def convolve(case, x, w, b):
    groups, stride, padding, dilation = case[2], *case[5:]
    return CONVS[len(stride)](x, w, b, stride, padding, dilation, groups)


def by_taps(case, x, w, b):
    channels, outputs, groups, size, kernel, stride, padding, dilation = case
    padded = facula.zeros(*x.shape[:2], *(n + 2 * p for n, p in zip(size, padding, strict=True)))
    padded = padded.to(x.dtype)
    inside = [slice(p, p + n) for n, p in zip(size, padding, strict=True)]
    padded[(slice(None), slice(None), *inside)] = x
    x, y = padded, 0
    out = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    ]
    for tap in itertools.product(*map(range, kernel)):
        at = [slice(t * d, t * d + (n - 1) * s + 1, s)
              for t, d, n, s in zip(tap, dilation, out, stride, strict=True)]  # fmt: skip
        seen = x[(slice(None), slice(None), *at)].reshape(len(x), groups, channels, -1)
        weight = w[(slice(None), slice(None), *tap)].reshape(groups, outputs, channels)
        y = y + facula.einsum("ngcp,goc->ngop", seen, weight)
    return y.reshape(len(x), -1, *out) + b.reshape(-1, *[1] * len(size))


@pytest.mark.parametrize("dtype", [facula.float32, facula.float64], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients(case, dtype):
    leaves = [t.requires_grad_() for t in tensors(case, 3, dtype)]
    exact = [t.detach().double().requires_grad_() for t in leaves]
    y, reference = convolve(case, *leaves), by_taps(case, *exact)
    grad = facula.randn(*y.shape, dtype=dtype)
    y.backward(grad)
    reference.backward(grad.double())
    limit = 2e-5 if dtype == facula.float32 else 1e-13
    found = [y.detach(), *(t.grad for t in leaves)]
    for a, b in zip(found, [reference.detach(), *(t.grad for t in exact)], strict=True):
        assert a.shape == b.shape
        assert (a.double() - b).abs().max().item() <= limit * max(1, b.abs().max().item())


LAST = {4: facula.channels_last, 5: facula.channels_last_3d}


def channels_last(t):
    return t.to(memory_format=LAST[t.ndim]) if t.ndim in LAST else t


@pytest.mark.parametrize("dtype", [facula.float32, facula.float64, facula.bfloat16], ids=str)
@pytest.mark.parametrize("case", [c for c in CASES if len(c[3]) > 1], ids=str)
def test_channels_last(case, dtype):
    x, w, b = tensors(case, 3, dtype)
    exact = [t.double().clone().requires_grad_() for t in (x, w, b)]
    leaves = [channels_last(x).requires_grad_(), w.requires_grad_(), b.requires_grad_()]
    y, reference = convolve(case, *leaves), convolve(case, *exact)
    grad = facula.randn(*y.shape, dtype=dtype)
    y.backward(channels_last(grad))
    reference.backward(grad.double())
    assert y.is_contiguous(memory_format=LAST[y.ndim])
    assert leaves[0].grad.is_contiguous(memory_format=LAST[y.ndim])
    limit = {facula.float32: 2e-5, facula.float64: 1e-13, facula.bfloat16: 1e-2}[dtype]
    found = [y.detach(), *(t.grad for t in leaves)]
    for a, e in zip(found, [reference.detach(), *(t.grad for t in exact)], strict=True):
        assert (a.double() - e).abs().max().item() <= limit * max(1, e.abs().max().item())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_threads_and_batch(case):
    x, w, b = tensors(case, 4, facula.float32)
    before, results = facula.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            facula.set_num_threads(threads)
            leaves = [t.clone().requires_grad_() for t in (x, w)]
            y = convolve(case, *leaves, b)
            y.backward(y.detach())
            results.append([y.detach(), *(t.grad for t in leaves)])
    finally:
        facula.set_num_threads(before)
    for later in results[1:]:
        assert all(bool((a == b).all()) for a, b in zip(results[0], later, strict=True))
    assert bool((convolve(case, x[2:3], w, b)[0] == results[0][0][2]).all())


@pytest.mark.parametrize("case", [c for c in CASES if len(c[3]) > 1], ids=str)
def test_threads_and_batch_channels_last(case):
    x, w, b = tensors(case, 4, facula.float32)
    before, results = facula.get_num_threads(), []
    try:
        for threads in (1, 3):
            facula.set_num_threads(threads)
            leaves = [channels_last(x.clone()).requires_grad_(), w.clone().requires_grad_()]
            y = convolve(case, *leaves, b)
            y.backward(y.detach())
            results.append([y.detach(), *(t.grad for t in leaves)])
    finally:
        facula.set_num_threads(before)
    assert all(bool((a == b).all()) for a, b in zip(*results, strict=True))
    assert bool((convolve(case, channels_last(x)[2:3], w, b)[0] == results[0][0][2]).all())


@pytest.mark.parametrize("channels, outputs, size", [(2, 3, 6), (32, 48, 14)])
def test_not_finite(channels, outputs, size):
    x, w = facula.ones(2, channels, size, size), facula.ones(outputs, channels, 3, 3)
    clean = F.conv2d(x[1:], w, padding=1)
    x[0, 1, 0, size - 1] = float("inf")
    w.requires_grad_()
    y = F.conv2d(x, w, padding=1)
    assert y.isinf().sum().item() == outputs * 4 and not y.isnan().any()
    assert bool((y[1:] == clean).all())
    y.backward(facula.ones_like(y))
    # the corner is seen by the taps that reach it from the four positions around it
    assert w.grad.isinf().sum().item() == outputs * 4 and not w.grad.isnan().any()


def test_more_groups_than_can_be_counted_in_a_batch():
    x, w = facula.randn(3, 2, 4), facula.randn(2, 1, 2)
    with pytest.raises(RuntimeError, match="groups"):
        facula.vmap(lambda x: F.conv1d(x, w, groups=2**62))(x)
