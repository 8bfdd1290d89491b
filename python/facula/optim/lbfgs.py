"""L-BFGS: Newton's method with an inverse Hessian that is built from the last gradients."""

from __future__ import annotations

import math
from typing import NamedTuple

from .. import cat
from .._C import Tensor
from ..autograd.grad_mode import enable_grad, no_grad
from .optimizer import Optimizer


class _Point(NamedTuple):
    """A point of a line search: how far, the loss, its gradient, and the slope along the line."""

    t: float
    loss: float
    grad: Tensor
    slope: float


def _cubic_minimum(a: _Point, b: _Point, bounds=None) -> float:
    """Where the cubic through two points with their slopes is least, within bounds."""
    if bounds is None:
        bounds = min(a.t, b.t), max(a.t, b.t)
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (bounds[0] + bounds[1]) / 2.0
    d2 = math.sqrt(square)
    if a.t <= b.t:
        t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    else:
        t = a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2 * d2))
    return min(max(t, bounds[0]), bounds[1])


class _LineSearch:
    """A step length with the strong Wolfe conditions: the loss falls enough, the slope flattens.

    `evaluate(t)` gives the loss and the gradient at a length, `start` is the point at length 0.
    """

    falls, flattens = 1e-4, 0.9
    most = 25  # evaluations of the two phases together

    def __init__(self, evaluate, direction, start: _Point, tolerance: float):
        self.evaluate = evaluate
        self.direction = direction
        self.start = start
        self.tolerance = tolerance
        self.evaluations = 0

    def at(self, t: float) -> _Point:
        loss, grad = self.evaluate(t)
        self.evaluations += 1
        return _Point(t, loss, grad, grad.dot(self.direction).item())

    def too_high(self, point: _Point) -> bool:
        return point.loss > self.start.loss + self.falls * point.t * self.start.slope

    def flat(self, point: _Point) -> bool:
        return abs(point.slope) <= -self.flattens * self.start.slope

    def run(self, t: float) -> _Point:
        bracket, rounds = self.bracket(t)
        return bracket[0] if len(bracket) == 1 else self.zoom(bracket, rounds)

    def bracket(self, t: float) -> tuple[list[_Point], int]:
        """Two points that have a good one between them, or a good one."""
        before, point = self.start, self.at(t)
        for rounds in range(self.most):
            if self.too_high(point) or (rounds > 1 and point.loss >= before.loss):
                return [before, point], rounds
            if self.flat(point):
                return [point], rounds
            if point.slope >= 0:
                return [before, point], rounds
            bounds = point.t + 0.01 * (point.t - before.t), point.t * 10
            before, point = point, self.at(_cubic_minimum(before, point, bounds))
        return [self.start, point], self.most

    def zoom(self, bracket: list[_Point], rounds: int) -> _Point:
        """The bracket made smaller around its lower end until that is good."""
        size = self.direction.abs().max().item()
        low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
        stuck = False
        while rounds < self.most:
            least, most = sorted(point.t for point in bracket)
            if (most - least) * size < self.tolerance:
                break
            t, margin = _cubic_minimum(*bracket), 0.1 * (most - least)
            near = min(most - t, t - least) < margin
            if near and (stuck or t >= most or t <= least):
                t = most - margin if abs(t - most) < abs(t - least) else least + margin
                near = False
            stuck = near
            point = self.at(t)
            rounds += 1
            if self.too_high(point) or point.loss >= bracket[low].loss:
                bracket[high] = point
                low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
                continue
            if self.flat(point):
                return point
            if point.slope * (bracket[high].t - bracket[low].t) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = point
        return bracket[low]


class LBFGS(Optimizer):
    """L-BFGS for one group of parameters; `step` needs a closure, which it may call many times.

    `line_search_fn` is None, for steps of length `lr`, or "strong_wolfe".
    """

    def __init__(
        self,
        params,
        lr=1,
        max_iter=20,
        max_eval=None,
        tolerance_grad=1e-7,
        tolerance_change=1e-9,
        history_size=100,
        line_search_fn=None,
    ):
        if not 0.0 <= lr:
            raise ValueError(f"Invalid learning rate: {lr}")
        if line_search_fn not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]

    def _gradient(self) -> Tensor:
        return cat(
            [
                (param.new_zeros(param.shape) if param.grad is None else param.grad).reshape(-1)
                for param in self._params
            ]
        )

    def _move(self, t: float, direction: Tensor) -> None:
        begin = 0
        for param in self._params:
            part = direction[begin : begin + param.numel()]
            param.add_(part.view(param.shape), alpha=t)
            begin += param.numel()

    @staticmethod
    def _direction(state: dict, grad: Tensor, history_size: int) -> Tensor:
        """-H grad, by the two loops over the history, which takes in the last step."""
        if state["n_iter"] == 1:
            state |= {"old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1}
            return grad.neg()
        change, step = grad.sub(state["prev_flat_grad"]), state["d"].mul(state["t"])
        curvature = change.dot(step)
        if curvature > 1e-10:
            for key, new in (("old_dirs", change), ("old_stps", step), ("ro", 1.0 / curvature)):
                if len(state[key]) == history_size:
                    state[key].pop(0)
                state[key].append(new)
            state["H_diag"] = curvature / change.dot(change)
        history = list(zip(state["old_dirs"], state["old_stps"], state["ro"]))
        direction, weights = grad.neg(), state.setdefault("al", [None] * history_size)
        for i, (old_change, old_step, ro) in reversed(list(enumerate(history))):
            weights[i] = old_step.dot(direction) * ro
            direction.add_(old_change * -weights[i])
        direction = direction * state["H_diag"]
        for (old_change, old_step, ro), weight in zip(history, weights):
            direction.add_(old_step * (weight - old_change.dot(direction) * ro))
        return direction

    @no_grad()
    def step(self, closure):
        """Up to max_iter iterations; returns the loss at the start.

        The closure computes the loss and its gradients.
        """
        group, closure = self.param_groups[0], enable_grad()(closure)
        lr, tolerance = float(group["lr"]), group["tolerance_change"]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss = closure()
        loss, evaluations = float(first_loss), 1
        state["func_evals"] += 1
        grad = self._gradient()
        if grad.abs().max() <= group["tolerance_grad"]:
            return first_loss

        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(state, grad, group["history_size"])
            before, t = loss, lr
            if state["n_iter"] == 1:
                t = min(1.0, 1.0 / grad.abs().sum().item()) * lr
            state |= {"d": direction, "t": t, "prev_flat_grad": grad.clone(), "prev_loss": before}
            slope = grad.dot(direction).item()
            if slope > -tolerance:
                break
            calls = 0
            if group["line_search_fn"]:
                evaluate, start = self._evaluator(closure, direction), _Point(0, loss, grad, slope)
                search = _LineSearch(evaluate, direction, start, tolerance)
                point = search.run(t)
                t, loss, grad, calls = point.t, point.loss, point.grad, search.evaluations
                self._move(t, direction)
            else:
                self._move(t, direction)
                if iteration != group["max_iter"]:
                    with enable_grad():
                        loss = float(closure())
                    grad, calls = self._gradient(), 1
            state["t"] = t
            evaluations += calls
            state["func_evals"] += calls
            if (
                evaluations >= group["max_eval"]
                or grad.abs().max() <= group["tolerance_grad"]
                or direction.mul(t).abs().max() <= tolerance
                or abs(loss - before) < tolerance
            ):
                break
        return first_loss

    def _evaluator(self, closure, direction):
        """Loss and gradient at a length along the direction, from where the parameters are."""
        origin = [param.clone() for param in self._params]

        def evaluate(t):
            self._move(t, direction)
            loss, grad = float(closure()), self._gradient()
            for param, value in zip(self._params, origin):
                param.copy_(value)
            return loss, grad

        return evaluate
