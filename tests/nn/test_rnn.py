"""Recurrent layers of odd sizes against their cells; and the bits for any number of threads."""

import facula as torch
import numpy as np
import pytest
from facula import nn
from facula.testing import assert_close

KINDS = {
    "lstm": (nn.LSTM, {}, torch.lstm_cell),
    "gru": (nn.GRU, {}, torch.gru_cell),
    "tanh": (nn.RNN, {"nonlinearity": "tanh"}, torch.rnn_tanh_cell),
    "relu": (nn.RNN, {"nonlinearity": "relu"}, torch.rnn_relu_cell),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def make(kind, *args, **kwargs):
    torch.manual_seed(0)
    layer, more, _ = KINDS[kind]
    return layer(*args, **more, **kwargs)


def states_of(kind, *shape, **kwargs):
    return [torch.randn(*shape, **kwargs) for _ in range(2 if kind == "lstm" else 1)]


def run(rnn, x, states):
    """The output and the states, flat."""
    out, final = rnn(x, tuple(states) if len(states) == 2 else states[0])
    return [out, *(final if len(states) == 2 else [final])]


def by_cells(kind, rnn, x, states, reverse=False):
    """One layer, step by step."""
    suffix = "_l0_reverse" if reverse else "_l0"
    names = [n for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if hasattr(rnn, n + "_l0")]
    weights = [getattr(rnn, name + suffix) for name in names]
    outputs = []
    for step in reversed(x) if reverse else x:
        if kind == "lstm":
            states = torch.lstm_cell(step, list(states), *weights)
        else:
            states = [KINDS[kind][2](step, states[0], *weights)]
        outputs.append(states[0])
    return torch.stack(outputs[::-1] if reverse else outputs), *states


def everything(rnn, results, inputs):
    """Results, and the gradients of all of them together."""
    loss = sum(
        (r * torch.linspace(-1, 1, r.numel()).to(r.dtype).reshape(r.shape)).sum() for r in results
    )
    return [*results, *torch.autograd.grad(loss, [*inputs, *rnn.parameters()])]


@kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 16, 37, 70])
@pytest.mark.parametrize("reverse", [False, True])
def test_layer_against_cells(kind, size, dtype, reverse):
    rnn = make(kind, 5, size, bidirectional=reverse, bias=size != 16).to(dtype)
    x = torch.randn(6, 9, 5, dtype=dtype, requires_grad=True)
    states = states_of(kind, 1 + reverse, 9, size, dtype=dtype, requires_grad=True)
    parts = [by_cells(kind, rnn, x, [s[i] for s in states], bool(i)) for i in range(1 + reverse)]
    joined = [
        torch.cat([p[0] for p in parts], -1),
        *(torch.stack(s) for s in list(zip(*parts))[1:]),
    ]
    expected = everything(rnn, joined, (x, *states))
    result = everything(rnn, run(rnn, x, states), (x, *states))
    tolerance = 1e-4 if dtype == torch.float32 else 1e-11
    for a, e in zip(result, expected):
        assert_close(a, e, rtol=tolerance, atol=tolerance)


@kinds
def test_second_gradients(kind):
    rnn = make(kind, 3, 4).double()
    x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    zeros = [torch.zeros(1, 2, 4, dtype=torch.float64) for _ in states_of(kind, 1)]

    def first(function):
        grad = torch.autograd.grad(function().square().sum(), x, create_graph=True)[0]
        wanted = [x, *rnn.parameters()]
        return [grad, *torch.autograd.grad(grad.square().sum(), wanted, materialize_grads=True)]

    expected = first(lambda: by_cells(kind, rnn, x, [z[0] for z in zeros])[0])
    for a, e in zip(first(lambda: run(rnn, x, zeros)[0]), expected):
        assert_close(a, e, rtol=1e-10, atol=1e-10)


@kinds
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_round_what_goes_out(kind, dtype):
    """Between the steps nothing is rounded: the result is that of float32, but for gx."""
    rnn, x = make(kind, 5, 20).to(dtype), torch.randn(6, 3, 5).to(dtype).requires_grad_()
    states = [s.to(dtype).requires_grad_() for s in states_of(kind, 1, 3, 20)]
    results = everything(rnn, run(rnn, x, states), (x, *states))
    assert all(r.dtype == dtype for r in results)
    wide = [t.detach().float().requires_grad_() for t in (x, *states)]
    rnn = rnn.float()
    expected = everything(rnn, run(rnn, wide[0], wide[1:]), wide)
    tolerance = 2e-2 if dtype == torch.bfloat16 else 2e-3
    for a, e in zip(results, expected):
        assert_close(a.float(), e, rtol=tolerance, atol=tolerance * max(1, e.abs().max().item()))


@kinds
def test_without_gradients_nothing_is_kept(kind):
    rnn, x = make(kind, 5, 20), torch.randn(6, 11, 5)
    with torch.no_grad():
        quiet = rnn(x)[0]
    assert torch.equal(quiet, rnn(x)[0].detach())
    assert torch.equal(quiet[:, 1:2], rnn(x[:, 1:2].contiguous())[0].detach())


@kinds
def test_transforms_go_step_by_step(kind):
    rnn, x = make(kind, 3, 4).double(), torch.randn(5, 6, 2, 3, dtype=torch.float64)
    mapped = torch.func.vmap(lambda each: rnn(each)[0])(x)
    assert_close(mapped, torch.stack([rnn(each)[0] for each in x]))
    tangent = torch.randn(6, 2, 3, dtype=torch.float64)
    moved = torch.func.jvp(lambda each: rnn(each)[0], (x[0],), (tangent,))[1]
    near = (rnn(x[0] + 1e-6 * tangent)[0] - rnn(x[0] - 1e-6 * tangent)[0]) / 2e-6
    assert_close(moved, near, rtol=1e-5, atol=1e-6)


def test_nan_stays():
    for kind in KINDS:
        rnn, x = make(kind, 3, 20), torch.zeros(4, 2, 3)
        x[1, 0, 0] = float("nan")
        out = rnn(x)[0]
        assert out[1:, 0].isnan().all() and not out[:, 1].isnan().any()


def test_nothing_in_the_batch():
    for kind in KINDS:
        rnn, x = make(kind, 3, 4), torch.zeros(4, 0, 3, requires_grad=True)
        out = rnn(x)[0]
        out.sum().backward()
        assert out.shape == (4, 0, 4)
        assert all(p.grad.count_nonzero() == 0 for p in rnn.parameters())


@kinds
def test_bits_for_any_number_of_threads(kind):
    rnn, x = make(kind, 40, 100, 2, bidirectional=True), torch.randn(9, 11, 40)
    states = states_of(kind, 4, 11, 100)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            parts = everything(rnn, run(rnn, x, states), ())
            results.append(
                b"".join(np.ascontiguousarray(p.detach().numpy()).tobytes() for p in parts)
            )
    finally:
        torch.set_num_threads(before)
    assert len(set(results)) == 1
