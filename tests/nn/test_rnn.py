"""LSTM layers of odd sizes against their cells; and the bits for any number of threads."""

import facula as torch
import numpy as np
import pytest
from facula import nn
from facula.testing import assert_close


def by_cells(rnn, x, h, c, reverse=False):
    """One layer, step by step."""
    suffix = "_l0_reverse" if reverse else "_l0"
    weights = [getattr(rnn, f"{kind}{suffix}") for kind in ("weight_ih", "weight_hh")]
    weights += [getattr(rnn, f"{kind}{suffix}") for kind in ("bias_ih", "bias_hh")]
    outputs = []
    for step in reversed(x) if reverse else x:
        h, c = torch.lstm_cell(step, [h, c], *weights)
        outputs.append(h)
    return torch.stack(outputs[::-1] if reverse else outputs), h, c


def everything(rnn, results, inputs):
    """Results, and the gradients of all of them together."""
    loss = sum(
        (r * torch.linspace(-1, 1, r.numel()).to(r.dtype).reshape(r.shape)).sum() for r in results
    )
    return [*results, *torch.autograd.grad(loss, [*inputs, *rnn.parameters()])]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 16, 37, 70])
@pytest.mark.parametrize("reverse", [False, True])
def test_layer_against_cells(size, dtype, reverse):
    torch.manual_seed(0)
    rnn = nn.LSTM(5, size, bidirectional=reverse).to(dtype)
    x = torch.randn(6, 7, 5, dtype=dtype, requires_grad=True)
    h, c = (torch.randn(1 + reverse, 7, size, dtype=dtype, requires_grad=True) for _ in range(2))
    parts = [by_cells(rnn, x, h[i], c[i], bool(i)) for i in range(1 + reverse)]
    joined = [
        torch.cat([p[0] for p in parts], -1),
        *(torch.stack(s) for s in list(zip(*parts))[1:]),
    ]
    out, (h_n, c_n) = rnn(x, (h, c))
    expected = everything(rnn, joined, (x, h, c))
    result = everything(rnn, [out, h_n, c_n], (x, h, c))
    tolerance = 1e-4 if dtype == torch.float32 else 1e-11
    for a, e in zip(result, expected):
        assert_close(a, e, rtol=tolerance, atol=tolerance)


def test_second_gradients():
    torch.manual_seed(0)
    rnn = nn.LSTM(3, 4).double()
    x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)

    def first(function):
        grad = torch.autograd.grad(function().square().sum(), x, create_graph=True)[0]
        return [grad, *torch.autograd.grad(grad.square().sum(), [x, *rnn.parameters()])]

    zero = torch.zeros(2, 4, dtype=torch.float64)
    expected = first(lambda: by_cells(rnn, x, zero, zero)[0])
    for a, e in zip(first(lambda: rnn(x)[0]), expected):
        assert_close(a, e, rtol=1e-10, atol=1e-10)


def test_half_types_round_the_state():
    torch.manual_seed(0)
    rnn, x = nn.LSTM(5, 20), torch.randn(6, 3, 5)
    out = rnn.to(torch.bfloat16)(x.to(torch.bfloat16))[0]
    assert out.dtype == torch.bfloat16
    assert_close(out.float(), rnn.float()(x)[0], rtol=3e-2, atol=3e-2)


def test_without_gradients_nothing_is_kept():
    rnn, x = nn.LSTM(5, 20), torch.randn(6, 3, 5)
    with torch.no_grad():
        quiet = rnn(x)[0]
    assert torch.equal(quiet, rnn(x)[0].detach())
    assert torch.equal(quiet[:, 1:2], rnn(x[:, 1:2].contiguous())[0].detach())


def test_bits_for_any_number_of_threads():
    torch.manual_seed(0)
    rnn, x = nn.LSTM(40, 100, 2, bidirectional=True), torch.randn(9, 11, 40)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            out, (h, c) = rnn(x)
            parts = everything(rnn, [out, h, c], ())
            results.append(
                b"".join(np.ascontiguousarray(p.detach().numpy()).tobytes() for p in parts)
            )
    finally:
        torch.set_num_threads(before)
    assert len(set(results)) == 1
