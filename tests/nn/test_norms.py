"""Normalization in the layouts and sizes that its kernels tell apart: planes as runs or as columns,
channels last, rows in several pieces, several blocks; half types; bits for any threads."""

import facula as torch
import pytest
from facula import nn
from facula.nn import functional as F
from facula.testing import assert_close

# planes, small planes, none; one block of rows and several; narrow rows, and such with a rest
SHAPES = [
    (3, 6, 8, 8),
    (2, 4, 50, 50),
    (5, 6, 3, 3),
    (40, 6),
    (3000, 6),
    (300, 260),
    (2, 6, 70, 71),
]


def moments(x, dims):
    mean = x.mean(dims, keepdim=True)
    return mean, (x - mean).square().mean(dims, keepdim=True)


def by_formula(x, w, b, groups):
    """batch_norm, or group_norm with groups, in float64."""
    shape = [1, -1, *[1] * (x.dim() - 2)]
    if groups:
        rows = x.reshape(x.shape[0], groups, -1)
        mean, var = moments(rows, [2])
        y = ((rows - mean) / (var + 1e-5).sqrt()).reshape(x.shape)
    else:
        mean, var = moments(x, [0, *range(2, x.dim())])
        y = (x - mean) / (var + 1e-5).sqrt()
    return y * w.reshape(shape) + b.reshape(shape)


def with_gradients(function, *inputs):
    """The result, and the gradients for a seed that no dtype rounds."""
    y = function(*inputs)
    seed = (torch.arange(y.numel()) * 31 % 17 - 8).reshape(y.shape).to(y.dtype)
    return [y, *torch.autograd.grad(y, inputs, seed)]


@pytest.mark.parametrize("groups", [0, 2, 6])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_channels(shape, groups, last, dtype):
    if last and len(shape) != 4 or groups and shape[1] % groups:
        return
    torch.manual_seed(0)
    x = (torch.randn(shape) + 3).to(dtype)
    w, b = (torch.randn(shape[1]).to(dtype) for _ in range(2))
    if last:
        x = x.to(memory_format=torch.channels_last)
    inputs = [t.requires_grad_() for t in (x, w, b)]

    def function(x, w, b):
        if groups:
            return F.group_norm(x, groups, w, b)
        return F.batch_norm(x, None, None, w, b, training=True)

    result = with_gradients(function, *inputs)
    exact = with_gradients(
        lambda *t: by_formula(*t, groups), *[t.detach().double().requires_grad_() for t in inputs]
    )
    if last and (not groups or shape[2] * shape[3] >= 16):
        formats = [t.is_contiguous(memory_format=torch.channels_last) for t in result[:2]]
        assert all(formats)
    for r, e in zip(result, exact):
        assert r.dtype == dtype
        slack = {torch.float32: 5e-5, torch.float64: 1e-11, torch.float16: 2e-3}.get(dtype, 1e-2)
        assert ((r.double() - e).abs().max() / (e.abs().max() + 1)).item() < slack


@pytest.mark.parametrize("size", [5, 64, 2048, 2049, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("centered", [False, True])
def test_rows_in_pieces(size, dtype, centered):
    torch.manual_seed(0)
    x, w, b = (torch.randn(s).to(dtype).requires_grad_() for s in ((70, size), (size,), (size,)))
    exact = [t.detach().double().requires_grad_() for t in (x, w, b)]
    if centered:
        result = with_gradients(lambda x, w, b: F.layer_norm(x, [size], w, b), x, w, b)
        mean, var = moments(exact[0], [1])
        expected = with_gradients(
            lambda x, w, b: (x - moments(x, [1])[0]) / (moments(x, [1])[1] + 1e-5).sqrt() * w + b,
            *exact,
        )
    else:
        result = with_gradients(lambda x, w: F.rms_norm(x, [size], w, 1e-5), x, w)
        expected = with_gradients(
            lambda x, w: x / (x.square().mean(1, keepdim=True) + 1e-5).sqrt() * w, *exact[:2]
        )
    for r, e in zip(result, expected):
        slack = {torch.float32: 5e-5, torch.float16: 2e-3}.get(dtype, 1e-2)
        assert ((r.double() - e).abs().max() / (e.abs().max() + 1)).item() < slack


def test_mean_far_from_zero():
    for shape in ((4, 8, 40, 40), (4000, 8)):
        x = torch.randn(shape, dtype=torch.float64) + 1000
        exact = F.batch_norm(x, None, None, training=True)
        assert_close(
            F.batch_norm(x.float(), None, None, training=True), exact.float(), rtol=0, atol=5e-4
        )


def test_a_sample_alone_and_any_number_of_threads():
    torch.manual_seed(0)
    before = torch.get_num_threads()
    x = torch.randn(4, 64, 40, 40)
    layers = [nn.GroupNorm(8, 64), nn.BatchNorm2d(64), nn.InstanceNorm2d(64)]
    try:
        for last in (False, True):
            y = x.to(memory_format=torch.channels_last) if last else x
            results = []
            for threads in (1, 3):
                torch.set_num_threads(threads)
                results.append([with_gradients(m, y.clone().requires_grad_()) for m in layers])
            for one, other in zip(*results):
                assert all(torch.equal(a, b) for a, b in zip(one, other))
            alone = layers[0](y[2:3])
            assert torch.equal(alone, layers[0](y)[2:3])
    finally:
        torch.set_num_threads(before)


def test_second_gradients():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    w, b = (torch.randn(4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    check = torch.autograd.gradgradcheck
    assert check(lambda x, w, b: F.group_norm(x, 2, w, b), (x, w, b))
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert check(lambda x, w, b: F.layer_norm(x, [4], w, b), (x, w, b))
    assert check(lambda x, w: F.rms_norm(x, [4], w, 1e-5), (x, w))
