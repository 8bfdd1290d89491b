"""Optimizers against their formulas in NumPy, and what surrounds the step."""

import copy
import pickle

import facula as torch
import numpy as np
import pytest
from facula import nn
from facula.optim import SGD, Adam, AdamW, Optimizer
from facula.testing import assert_close


def sgd(p, grads, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    buffer = None
    for g in grads:
        g = (-g if maximize else g) + weight_decay * p
        if momentum:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        p = p - lr * g
    return p


def adam(
    p,
    grads,
    lr=1e-3,
    betas=(0.9, 0.999),
    eps=1e-8,
    weight_decay=0.0,
    amsgrad=False,
    maximize=False,
    decoupled=False,
):
    m, v, top = 0, 0, 0
    for t, g in enumerate(grads, 1):
        g = -g if maximize else g
        if decoupled:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        top = np.maximum(top, v)
        root = np.sqrt((top if amsgrad else v) / (1 - betas[1] ** t)) + eps
        p = p - lr * m / (1 - betas[0] ** t) / root
    return p


def adamw(p, grads, weight_decay=1e-2, **options):
    return adam(p, grads, weight_decay=weight_decay, decoupled=True, **options)


OTHER_NAMES = ("RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "Rprop", "ASGD")
CASES = [
    (SGD, sgd, {}),
    (SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (SGD, sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
    (SGD, sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    (Adam, adam, {}),
    (Adam, adam, {"lr": 0.1, "betas": (0.5, 0.7), "weight_decay": 0.1}),
    (Adam, adam, {"amsgrad": True, "lr": 0.1}),
    (Adam, adam, {"maximize": True, "eps": 1e-3}),
    (AdamW, adamw, {}),
    (AdamW, adamw, {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("make", "formula", "options"), CASES)
def test_formula(make, formula, options, dtype):
    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=(5, 7)), rng.normal(size=(6, 5, 7))
    param = nn.Parameter(torch.tensor(start, dtype=dtype))
    other = nn.Parameter(torch.ones(3, dtype=dtype))  # without a gradient
    optimizer = make([param, other], **options)
    for g in grads:
        param.grad = torch.tensor(g, dtype=dtype)
        optimizer.step()
    expected = torch.tensor(formula(start, grads, **options), dtype=dtype)
    assert_close(param.detach(), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(other, torch.ones(3, dtype=dtype))


def test_layouts_and_half_types():
    rng = np.random.default_rng(1)
    start, grad = rng.normal(size=(4, 6)), rng.normal(size=(4, 6))
    for dtype in (torch.float32, torch.bfloat16):
        p = nn.Parameter(torch.tensor(start.T.copy(), dtype=dtype).t())
        p.grad = torch.tensor(grad, dtype=dtype)
        AdamW([p], lr=0.1).step()
        expected = torch.tensor(adamw(start, [grad], lr=0.1), dtype=dtype)
        assert_close(p.detach(), expected, rtol=2e-2, atol=2e-2)


def test_a_parameter_that_joins_late():
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = SGD([a, b], lr=0.1, momentum=0.9)
    a.grad = torch.ones(2)
    optimizer.step()
    b.grad = torch.ones(2)
    optimizer.step()
    assert_close(a.detach(), torch.full((2,), 1 - 0.1 - 0.19))
    assert_close(b.detach(), torch.full((2,), 0.9))


OTHERS = [getattr(torch.optim, name) for name in OTHER_NAMES]


@pytest.mark.parametrize("make", [lambda p: SGD(p, lr=0.1, momentum=0.9), Adam, AdamW, *OTHERS])
def test_state_dict_continues(make):
    def steps(params, optimizer, grads):
        for grad in grads:
            for p, g in zip(params, grad):
                p.grad = torch.tensor(g)
            optimizer.step()

    grads = np.random.default_rng(2).normal(size=(6, 2, 3)).astype("float32")
    first = [nn.Parameter(torch.ones(3)) for _ in range(2)]
    optimizer = make(first)
    steps(first, optimizer, grads[:3])
    second = [nn.Parameter(p.detach().clone()) for p in first]
    loaded = make(second)
    loaded.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    steps(first, optimizer, grads[3:])
    steps(second, loaded, grads[3:])
    for p, q in zip(first, second):
        assert torch.equal(p, q)


def test_state_dict_layout():
    p = nn.Parameter(torch.ones(2))
    optimizer = Adam([p])
    assert optimizer.state_dict()["state"] == {}
    p.grad = torch.ones(2)
    optimizer.step()
    state = optimizer.state_dict()
    assert list(state["state"][0]) == ["step", "exp_avg", "exp_avg_sq"]
    assert state["state"][0]["step"].item() == 1.0
    assert state["param_groups"][0]["params"] == [0]
    assert list(state["param_groups"][0])[:5] == ["lr", "betas", "eps", "weight_decay", "amsgrad"]
    with pytest.raises(ValueError, match="different number of parameter groups"):
        Adam([{"params": [nn.Parameter(torch.ones(1))]}, {"params": [p]}]).load_state_dict(state)
    with pytest.raises(ValueError, match="doesn't match the size"):
        Adam([p, nn.Parameter(torch.ones(1))]).load_state_dict(state)


def test_groups():
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = SGD([{"params": [a], "lr": 1.0}, {"params": b}], lr=0.5)
    a.grad = b.grad = torch.ones(1)
    optimizer.step()
    assert (a.item(), b.item()) == (0.0, 0.5)
    assert "    lr: 1.0\n" in repr(optimizer)
    with pytest.raises(ValueError, match="more than one parameter group"):
        optimizer.add_param_group({"params": [a]})
    with pytest.raises(ValueError, match="empty parameter list"):
        SGD([], lr=1.0)
    with pytest.raises(TypeError, match="iterable of Tensors"):
        SGD(a, lr=1.0)
    with pytest.raises(TypeError, match="ordered collections"):
        SGD([{"params": {a}}], lr=1.0)
    with pytest.raises(ValueError, match="non-leaf"):
        SGD([a * 2], lr=1.0)
    named = SGD([("a", a), ("b", b)], lr=0.1)
    assert named.state_dict()["param_groups"][0]["param_names"] == ["a", "b"]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda p: SGD(p, lr=-1), ValueError),
        (lambda p: SGD(p, momentum=-1), ValueError),
        (lambda p: SGD(p, nesterov=True), ValueError),
        (lambda p: Adam(p, betas=(1.0, 0.5)), ValueError),
        (lambda p: Adam(p, eps=-1), ValueError),
        (lambda p: AdamW(p, weight_decay=-1), ValueError),
        (lambda p: Adam(p, foreach=True, fused=True), RuntimeError),
        (lambda p: Adam(p, differentiable=True), NotImplementedError),
    ],
)
def test_options_are_checked(make, error):
    with pytest.raises(error):
        make([nn.Parameter(torch.ones(1))])


def test_closure_hooks_and_gradients():
    p, seen = nn.Parameter(torch.ones(1)), []
    optimizer = SGD([p], lr=0.1)
    optimizer.register_step_pre_hook(lambda opt, args, kwargs: seen.append("pre"))
    optimizer.register_step_post_hook(lambda opt, args, kwargs: seen.append("post"))

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure).item() == 1.0
    assert torch.is_grad_enabled()
    assert seen == ["pre", "post"] and abs(p.item() - 0.8) < 1e-6
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.item() == 0
    optimizer.zero_grad()
    assert p.grad is None


def test_an_optimizer_of_ones_own():
    class Sign(Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def step(self):
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        p.sub_(p.grad.sign() * group["lr"])

    p, seen = nn.Parameter(torch.ones(2)), []
    optimizer = Sign([p], 0.5)
    optimizer.register_step_post_hook(lambda *args: seen.append(args[0]))
    (p * 3).sum().backward()
    optimizer.step()
    assert torch.equal(p, torch.full((2,), 0.5)) and seen == [optimizer]
    assert copy.deepcopy(optimizer).param_groups[0]["lr"] == 0.5


def test_training_learns():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = AdamW(net.parameters(), lr=0.02)
    x = torch.randn(200, 2)
    y = (x.prod(1) > 0).long()
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    assert (net(x).argmax(1) == y).float().mean().item() > 0.9


@pytest.mark.parametrize("make", [SGD, Adam, *OTHERS])
def test_bits_for_any_number_of_threads(make):
    """Large and small parameters together; work is split by size alone."""
    rng = np.random.default_rng(4)
    sizes = 3, 50_001, 1, 7, 20_000
    start = [rng.normal(size=n).astype("float32") for n in sizes]
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            params = [nn.Parameter(torch.tensor(a)) for a in start]
            optimizer = make(params, lr=0.1)
            for _ in range(2):
                for p in params:
                    p.grad = p.detach() * 3 - 1
                optimizer.step()
            results.append(b"".join(p.detach().numpy().tobytes() for p in params))
    finally:
        torch.set_num_threads(before)
    assert len(set(results)) == 1


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_finds_the_minimum(search):
    x = nn.Parameter(torch.tensor([4.0, -3.0], dtype=torch.float64))
    optimizer = torch.optim.LBFGS([x], line_search_fn=search)
    scale = torch.tensor([1.0, 10.0], dtype=torch.float64)

    def closure():
        optimizer.zero_grad()
        loss = (scale * (x - 2) ** 2).sum()
        loss.backward()
        return loss

    first = optimizer.step(closure)
    optimizer.step(closure)
    assert first.item() == 4.0 + 250.0
    assert_close(x.detach(), torch.full((2,), 2.0, dtype=torch.float64), rtol=1e-6, atol=1e-6)
    with pytest.raises(RuntimeError, match="strong_wolfe"):
        torch.optim.LBFGS([x], line_search_fn="exact")
