"""Attention: many blocks of queries and keys, layouts, dropout, bits for any number of threads."""

import facula as torch
import numpy as np
import pytest
from facula.nn.functional import scaled_dot_product_attention as attention
from facula.testing import assert_close


def tensors(*shapes, dtype=torch.float32, seed=0):
    rng = np.random.default_rng(seed)
    return [torch.tensor(rng.normal(size=shape)).to(dtype).requires_grad_() for shape in shapes]


def plain(q, k, v, mask=None, is_causal=False, scale=None, keep=None):
    """The formula, with the matrix of scores."""
    k, v = (x.repeat_interleave(q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        scores = scores.masked_fill(~seen, -torch.inf)
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        scores = scores + mask
    weights = scores.softmax(-1)
    return (weights if keep is None else weights * keep) @ v


def gradients(function, inputs):
    out = function(*inputs)
    grad = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    return [out, *torch.autograd.grad(out, inputs, grad)]


MASKS = {
    "none": {},
    "causal": {"is_causal": True},
    "bool": {"mask": torch.tensor(np.random.default_rng(1).random((150, 170)) < 0.5)},
    "added": {"mask": torch.tensor(np.random.default_rng(2).normal(size=(2, 1, 150, 170)))},
    "both": {
        "mask": torch.tensor(np.random.default_rng(1).random((1, 170)) < 0.5).index_fill(
            1, torch.tensor([0]), True
        ),
        "is_causal": True,
    },
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_many_blocks(mask, dtype):
    options = dict(MASKS[mask])
    if mask == "added":
        options["mask"] = options["mask"].to(dtype)
    inputs = tensors((2, 4, 150, 21), (2, 2, 170, 21), (2, 2, 170, 33), dtype=dtype)
    expected = gradients(lambda *args: plain(*args, **options), inputs)
    renamed = {"attn_mask" if key == "mask" else key: options[key] for key in options}
    result = gradients(lambda *args: attention(*args, enable_gqa=True, **renamed), inputs)
    tolerance = 2e-5 if dtype == torch.float32 else 1e-12
    for a, e in zip(result, expected):
        assert_close(a, e, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("queries", [1, 3, 4, 5])
@pytest.mark.parametrize("kind", [None, torch.bool, torch.float32])
def test_few_queries(queries, kind):
    inputs = tensors((2, 3, queries, 40), (2, 3, 100, 40), (2, 3, 100, 40))
    mask = torch.tensor(np.random.default_rng(1).random((queries, 100)) < 0.5)
    mask = None if kind is None else mask.to(kind)
    expected = gradients(lambda *args: plain(*args, mask, scale=0.3), inputs)
    result = gradients(lambda *args: attention(*args, mask, scale=0.3), inputs)
    for a, e in zip(result, expected):
        assert_close(a, e, rtol=1e-5, atol=1e-5)


def test_layout_follows_the_queries():
    """Heads side by side in memory stay so: joining them moves nothing."""
    packed = tensors((2, 50, 3 * 4 * 8))[0]
    q, k, v = (x.view(2, 50, 4, 8).transpose(1, 2) for x in packed.split(32, dim=2))
    out = attention(q, k, v, is_causal=True)
    assert out.transpose(1, 2).is_contiguous()
    assert_close(out, attention(*(x.contiguous() for x in (q, k, v)), is_causal=True))
    grad = torch.autograd.grad(out.square().sum(), q)[0]
    assert grad.transpose(1, 2).is_contiguous()


def test_a_query_that_sees_nothing():
    inputs = tensors((1, 2, 6, 4), (1, 2, 6, 4), (1, 2, 6, 4))
    mask = torch.ones(6, 6, dtype=torch.bool)
    mask[2] = False
    out, *grads = gradients(lambda *args: attention(*args, mask), inputs)
    assert torch.equal(out[:, :, 2], torch.zeros(1, 2, 4))
    assert all(torch.isfinite(g).all() for g in grads)


@pytest.mark.parametrize("queries", [2, 40])
def test_dropout(queries):
    """Keeps and scales what the bits say, forward and backward alike."""
    inputs = tensors((1, 3, queries, 8), (1, 3, 50, 8), (1, 3, 50, 8))
    torch.manual_seed(5)
    keep = torch.bernoulli(torch.full((1, 3, queries, 50), 0.7, dtype=torch.float64)) / 0.7
    expected = gradients(lambda *args: plain(*args, keep=keep.float()), inputs)
    torch.manual_seed(5)
    result = gradients(lambda *args: attention(*args, dropout_p=0.3), inputs)
    for a, e in zip(result, expected):
        assert_close(a, e, rtol=1e-5, atol=1e-5)
    assert torch.equal(attention(*inputs, dropout_p=1.0), torch.zeros(1, 3, queries, 8))


def test_double_backward_of_dropout():
    inputs = tensors((1, 3, 4), (1, 5, 4), (1, 5, 4), dtype=torch.float64)

    def first(*args):
        torch.manual_seed(1)
        out = attention(*args, dropout_p=0.4)
        return torch.autograd.grad(out.sin().sum(), args[0], create_graph=True)[0]

    step, direction = 1e-6, torch.ones(1, 5, 4, dtype=torch.float64)
    q, k, v = inputs
    second = torch.autograd.grad(first(*inputs).sum(), k)[0].sum()
    high = first(q, (k + step * direction).detach().requires_grad_(), v).sum()
    low = first(q, (k - step * direction).detach().requires_grad_(), v).sum()
    assert_close(second, ((high - low) / (2 * step)).detach(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types(dtype):
    wide = tensors((2, 3, 40, 16), (2, 3, 70, 16), (2, 3, 70, 16))
    half = [x.detach().to(dtype).requires_grad_() for x in wide]
    result = gradients(lambda *args: attention(*args, is_causal=True), half)
    floats = [x.detach().float().requires_grad_() for x in half]
    expected = gradients(lambda *args: plain(*args, is_causal=True), floats)
    for a, e in zip(result, expected):
        assert a.dtype == dtype
        assert_close(a.float(), e, rtol=2e-2, atol=2e-2)


def test_a_mask_whose_base_got_a_gradient():
    """A view that is older than the change of its base by which it has a gradient."""
    q, mask = tensors((1, 2, 4, 8), (4, 4))
    base = torch.zeros(4, 4)
    view = base.view(4, 4)
    base.copy_(mask)
    expected = torch.autograd.grad(attention(q, q, q, mask * 1).square().sum(), mask)
    assert_close(torch.autograd.grad(attention(q, q, q, view).square().sum(), mask), expected)


def test_a_mask_with_a_gradient():
    inputs = tensors((1, 2, 5, 4), (1, 2, 6, 4), (1, 2, 6, 4), (5, 6))
    expected = gradients(plain, inputs)
    for a, e in zip(gradients(attention, inputs), expected):
        assert_close(a, e, rtol=1e-5, atol=1e-5)


def test_bits_for_any_number_of_threads():
    inputs = tensors((2, 4, 130, 32), (2, 2, 130, 32), (2, 2, 130, 32))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            run = gradients(lambda *a: attention(*a, is_causal=True, enable_gqa=True), inputs)
            results.append(b"".join(x.detach().contiguous().numpy().tobytes() for x in run))
    finally:
        torch.set_num_threads(before)
    assert len(set(results)) == 1


def test_rows_are_independent():
    """A query gives the same bits in any company of more than four."""
    q, k, v = (x.detach() for x in tensors((1, 1, 90, 16), (1, 1, 100, 16), (1, 1, 100, 16)))
    whole = attention(q, k, v)
    assert torch.equal(whole[:, :, 37:45], attention(q[:, :, 37:45], k, v))


def test_errors():
    q, k, v = tensors((2, 4, 3, 8), (2, 3, 5, 8), (2, 3, 5, 8))
    with pytest.raises(RuntimeError, match="must divide"):
        attention(q, k, v, enable_gqa=True)
    with pytest.raises(RuntimeError, match="same dtype"):
        attention(q, q.double(), q)
    with pytest.raises(RuntimeError, match="at least 2 dimensional"):
        attention(q[0, 0, 0], q, q)
    with pytest.raises(RuntimeError, match="attn_mask"):
        attention(q, q, q, torch.ones(3, 3, dtype=torch.int64))
