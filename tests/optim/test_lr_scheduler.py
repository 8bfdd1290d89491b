"""Schedules against their formulas, alone and together, saved and resumed."""

import math
import warnings

import facula as torch
import pytest
from facula import nn
from facula.optim import SGD, Adam, lr_scheduler

EPOCHS = 25
FORMULAS = {
    "LambdaLR": ({"lr_lambda": lambda e: 0.9**e}, lambda e: 0.9**e),
    "MultiplicativeLR": ({"lr_lambda": lambda e: 0.9}, lambda e: 0.9**e),
    "StepLR": ({"step_size": 4, "gamma": 0.5}, lambda e: 0.5 ** (e // 4)),
    "MultiStepLR": (
        {"milestones": [3, 5, 5], "gamma": 0.5},
        lambda e: 0.5 ** ((e >= 3) + 2 * (e >= 5)),
    ),
    "ConstantLR": ({"factor": 0.5, "total_iters": 4}, lambda e: 0.5 if e < 4 else 1),
    "LinearLR": (
        {"start_factor": 0.25, "end_factor": 0.75, "total_iters": 4},
        lambda e: 0.25 + 0.5 * min(e, 4) / 4,
    ),
    "ExponentialLR": ({"gamma": 0.9}, lambda e: 0.9**e),
    "PolynomialLR": ({"total_iters": 8, "power": 2.0}, lambda e: (1 - min(e, 8) / 8) ** 2),
    "CosineAnnealingLR": ({"T_max": 6}, lambda e: (1 + math.cos(math.pi * e / 6)) / 2),
    "CosineAnnealingWarmRestarts": (
        {"T_0": 5},
        lambda e: (1 + math.cos(math.pi * (e % 5) / 5)) / 2,
    ),
    "CyclicLR": (
        {"base_lr": 1.0, "max_lr": 3.0, "step_size_up": 5, "cycle_momentum": False},
        lambda e: 1 + 2 * (1 - abs((e % 10) / 5 - 1)),
    ),
    "OneCycleLR": (
        {
            "max_lr": 5.0,
            "total_steps": EPOCHS,
            "pct_start": 0.24,
            "anneal_strategy": "linear",
            "div_factor": 5.0,
            "final_div_factor": math.inf,
        },
        lambda e: 1 + 4 * e / 5 if e <= 5 else 5 * (24 - e) / 19,
    ),
}
names = pytest.mark.parametrize("name", FORMULAS)


def make(lr=1.0, **kwargs):
    return SGD([nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9, **kwargs)


def run(optimizer, scheduler, steps):
    rates = []
    for _ in range(steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return rates


@names
def test_formula(name):
    kwargs, formula = FORMULAS[name]
    optimizer = make()
    rates = run(optimizer, getattr(lr_scheduler, name)(optimizer, **kwargs), EPOCHS)
    assert rates == pytest.approx([formula(e) for e in range(EPOCHS)], abs=1e-12)


@names
def test_state_goes_on_elsewhere(name):
    kwargs, _ = FORMULAS[name]
    first, second = make(), make()
    scheduler = getattr(lr_scheduler, name)(first, **kwargs)
    run(first, scheduler, 7)
    other = getattr(lr_scheduler, name)(second, **kwargs)
    other.load_state_dict(scheduler.state_dict())
    second.load_state_dict(first.state_dict())
    assert "optimizer" not in scheduler.state_dict()
    assert run(second, other, 9) == run(first, scheduler, 9)


@names
def test_given_epoch(name):
    kwargs, formula = FORMULAS[name]
    optimizer = make()
    scheduler = getattr(lr_scheduler, name)(optimizer, **kwargs)
    optimizer.step()
    if name in ("MultiplicativeLR", "OneCycleLR"):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler.step(11)
    assert scheduler.get_last_lr() == pytest.approx([formula(11)], abs=1e-12)


def test_tensor_rates_stay_the_same_objects():
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=torch.tensor(1.0))
    lr = optimizer.param_groups[0]["lr"]
    run(optimizer, lr_scheduler.ExponentialLR(optimizer, 0.5), 3)
    assert optimizer.param_groups[0]["lr"] is lr and lr.item() == 0.125


def test_momentum_moves_against_the_rate():
    for optimizer in (make(), Adam([nn.Parameter(torch.zeros(1))])):
        group = optimizer.param_groups[0]
        scheduler = lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=10)
        read = lambda: group["betas"][0] if "betas" in group else group["momentum"]  # noqa: E731, B023
        assert read() == pytest.approx(0.95)
        run(optimizer, scheduler, 2)
        assert read() == pytest.approx(0.85)


def test_one_after_the_other():
    optimizer = make()
    parts = [
        lr_scheduler.ConstantLR(optimizer, 0.1, 3),
        lr_scheduler.ExponentialLR(optimizer, 0.5),
    ]
    rates = run(optimizer, lr_scheduler.SequentialLR(optimizer, parts, [3]), 6)
    assert rates == pytest.approx([0.1, 0.1, 0.1, 1, 0.5, 0.25])


def test_together():
    optimizer = make()
    parts = [lr_scheduler.ConstantLR(optimizer, 0.1, 2), lr_scheduler.ExponentialLR(optimizer, 0.5)]
    scheduler = lr_scheduler.ChainedScheduler(parts)
    assert run(optimizer, scheduler, 4) == pytest.approx([0.1, 0.05, 0.25, 0.125])
    with pytest.raises(ValueError, match="same optimizer"):
        lr_scheduler.ChainedScheduler([parts[0], lr_scheduler.ExponentialLR(make(), 0.5)])


@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau(mode):
    optimizer = make()
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer, mode=mode, factor=0.1, patience=1, cooldown=1, min_lr=0.005
    )
    rates = []
    for metric in (3.0, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1):
        scheduler.step(torch.tensor(metric if mode == "min" else 4.0 - metric))
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.005, 0.005, 0.005])


def test_mistakes():
    optimizer = make()
    with pytest.raises(TypeError, match="not an Optimizer"):
        lr_scheduler.StepLR(3, 1)
    with pytest.raises(KeyError, match="initial_lr"):
        lr_scheduler.StepLR(optimizer, 1, last_epoch=3)
    with pytest.raises(ValueError, match="lr_lambda"):
        lr_scheduler.LambdaLR(optimizer, [lambda e: e] * 2)
    with pytest.raises(ValueError, match="total_steps"):
        lr_scheduler.OneCycleLR(optimizer, 1.0)
    scheduler = lr_scheduler.StepLR(make(), 1)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()
