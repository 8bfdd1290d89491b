"""softmax and the cross entropy in sizes that their kernels tell apart: rows in pieces, slices side
by side that are kept in the cache or not, half types."""

import facula as torch
import pytest
from facula.nn import functional as F

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
SLACK = {torch.float32: 2e-6, torch.float64: 1e-13, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def compare(results, exact, dtype):
    for r, e in zip(results, exact):
        assert r.dtype == dtype
        assert ((r.double() - e).abs().max() / (e.abs().max() + 1)).item() < SLACK[dtype]


def with_gradient(function, x):
    y = function(x)
    seed = (torch.arange(y.numel()) * 31 % 17 - 8).reshape(y.shape).to(y.dtype) / 8
    return [y, *torch.autograd.grad(y, x, seed)]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape, dim",
    [
        ((3, 40), 1),
        ((2, 2048), 1),
        ((2, 5000), 1),
        ((2, 10, 300), 1),
        ((700, 70), 0),
        ((9, 3, 5), 0),
    ],
    ids=str,
)
def test_softmax(shape, dim, dtype, log):
    torch.manual_seed(0)
    x = (torch.randn(shape) * 3).to(dtype).requires_grad_()

    def by_formula(x):
        x = x - x.amax(dim, keepdim=True)
        sums = x.exp().sum(dim, keepdim=True)
        return x - sums.log() if log else x.exp() / sums

    result = with_gradient(lambda x: (torch.log_softmax if log else torch.softmax)(x, dim), x)
    compare(result, with_gradient(by_formula, x.detach().double().requires_grad_()), dtype)


def test_rows_of_infinities():
    inf = float("inf")
    for n, inner in ((5, 1), (5000, 1), (5, 40)):
        x = torch.zeros(2, n, inner)
        x[0, 1:] = -inf
        y = torch.softmax(x, 1)
        assert torch.equal(y[0, 0], torch.ones(inner)) and (y[0, 1:] == 0).all()
        assert torch.softmax(torch.full((2, n, inner), -inf), 1).isnan().all()
        x[1, n - 1] = float("nan")
        assert torch.softmax(x, 1)[1].isnan().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 7), (3, 5000), (2, 7, 3, 50)], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("function", ["cross_entropy", "nll_loss"])
def test_cross_entropy(shape, dtype, weighted, function):
    torch.manual_seed(0)
    x = torch.randn(shape).to(dtype).requires_grad_()
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]))
    target[0] = -100
    weight = torch.rand(shape[1]).to(dtype) if weighted else None

    def by_formula(x):
        w = torch.ones(shape[1], dtype=torch.float64) if weight is None else weight.double()
        logs = x - x.exp().sum(1, keepdim=True).log() if function == "cross_entropy" else x
        picked = logs.gather(1, target.clamp(min=0).unsqueeze(1)).squeeze(1)
        each = w[target.clamp(min=0)] * (target >= 0)
        return -(picked * each).sum() / each.sum()

    result = with_gradient(lambda x: getattr(F, function)(x, target, weight), x)
    compare(result, with_gradient(by_formula, x.detach().double().requires_grad_()), dtype)
