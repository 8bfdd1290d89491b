"""Adafactor and Muon, which take parameters for matrices."""

import facula as torch
import numpy as np
import pytest
from facula import nn
from facula.optim import Adafactor, Muon
from facula.testing import assert_close


def rms(x):
    return np.sqrt(np.mean(x * x))


def adafactor(p, grads, lr=0.1, decay=-0.8, least=1e-3, d=1.0, weight_decay=0.0, eps=None):
    """The published algorithm, with the whole matrix of second moments of rank one."""
    eps = np.finfo(p.dtype).eps if eps is None else eps
    rows = columns = whole = 0.0
    for t, g in enumerate(grads, 1):
        beta = 1 - t**decay
        square = g * g
        if p.ndim > 1:
            rows = beta * rows + (1 - beta) * square.mean(-1, keepdims=True)
            columns = beta * columns + (1 - beta) * square.mean(-2, keepdims=True)
            moment = rows * columns / np.maximum(rows.mean(-2, keepdims=True), eps)
        else:
            moment = whole = beta * whole + (1 - beta) * square
        update = g / np.sqrt(np.maximum(moment, eps**2))
        update /= max(1.0, rms(update) / d)
        rate = max(least, rms(p)) * min(lr, t**-0.5)
        p = p * (1 - lr * weight_decay) - rate * update
    return p


@pytest.mark.parametrize("shape", [(7,), (4, 5), (2, 3, 4), ()])
@pytest.mark.parametrize(
    "options", [{}, {"weight_decay": 0.1, "d": 2.0}, {"lr": 1.0, "eps": (1e-4, 0.1)}], ids=str
)
def test_adafactor(shape, options):
    rng = np.random.default_rng(0)
    start = np.asarray(rng.normal(size=shape))
    grads = [np.asarray(rng.normal(size=shape)) for _ in range(4)]
    param = nn.Parameter(torch.tensor(start))
    optimizer = Adafactor([param], **{"lr": 0.1, **options})
    for grad in grads:
        param.grad = torch.tensor(grad)
        optimizer.step()
    eps, least = options.get("eps", (None, 1e-3))
    formula = {key: value for key, value in options.items() if key != "eps"}
    expected = adafactor(start, grads, eps=eps, least=least, **formula)
    assert_close(param.detach(), torch.tensor(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 6), (12, 5), (5, 12)])
@pytest.mark.parametrize("fn", [None, "original", "match_rms_adamw"])
def test_muon_goes_along_orthogonal_matrices(shape, fn):
    torch.manual_seed(0)
    start = torch.randn(*shape)
    param = nn.Parameter(start.clone())
    optimizer = Muon([param], lr=0.1, weight_decay=0.5, adjust_lr_fn=fn)
    param.grad = torch.randn(*shape)
    optimizer.step()
    rows, columns = shape
    scale = (
        max(rows, columns) ** 0.5 * 0.2
        if fn == "match_rms_adamw"
        else max(1, rows / columns) ** 0.5
    )
    direction = (start * 0.95 - param.detach()) / (0.1 * scale)
    values = torch.linalg.svdvals(direction)
    assert 0.4 < values.min().item() and values.max().item() < 1.4
    assert (direction * param.grad).sum().item() > 0
    assert list(optimizer.state[param]) == ["momentum_buffer"]


def test_what_they_refuse():
    vector = nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="2D"):
        Muon([vector])
    with pytest.raises(ValueError, match="not supported"):
        Muon([nn.Parameter(torch.zeros(3, 3))], adjust_lr_fn="none")
    with pytest.raises(ValueError, match="beta2_decay"):
        Adafactor([vector], beta2_decay=0.5)
    with pytest.raises(ValueError, match="threshold"):
        Adafactor([vector], d=0.5)
