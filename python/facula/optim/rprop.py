"""Rprop, which goes by the signs of gradients, and averaged stochastic gradient descent."""

from .. import full_like, zeros_like
from .._C import _functions
from .optimizer import FusedOptimizer, check_options, count, gather, single

_fused_rprop, _fused_asgd = _functions["_fused_rprop_"], _functions["_fused_asgd_"]


class Rprop(FusedOptimizer):
    """Resilient propagation: each element has a step of its own, which grows until it turns."""

    def __init__(
        self,
        params,
        lr=1e-2,
        etas=(0.5, 1.2),
        step_sizes=(1e-6, 50),
        *,
        capturable=False,
        foreach=None,
        maximize=False,
        differentiable=False,
    ):
        check_options(lr, foreach=foreach, differentiable=differentiable, capturable=capturable)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _new_state(self, param, group):
        width = full_like(param, float(group["lr"])).detach()
        return {"step": single(), "prev": zeros_like(param), "step_size": width}

    def _fused(self, group, params, grads, states):
        count(states)
        _fused_rprop(
            params,
            grads,
            gather(states, "prev"),
            gather(states, "step_size"),
            etaminus=group["etas"][0],
            etaplus=group["etas"][1],
            step_size_min=group["step_sizes"][0],
            step_size_max=group["step_sizes"][1],
            maximize=group["maximize"],
        )


class ASGD(FusedOptimizer):
    """Stochastic gradient descent that also keeps the average of the parameters (state "ax")."""

    def __init__(
        self,
        params,
        lr=1e-2,
        lambd=1e-4,
        alpha=0.75,
        t0=1e6,
        weight_decay=0,
        foreach=None,
        maximize=False,
        differentiable=False,
        capturable=False,
    ):
        check_options(
            lr,
            foreach=foreach,
            differentiable=differentiable,
            capturable=capturable,
            nonnegative=(("weight_decay value", weight_decay),),
        )
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _new_state(self, param, group):
        numbers = {"step": single(), "eta": single(float(group["lr"])), "mu": single(1.0)}
        return numbers | {"ax": zeros_like(param)}

    def _fused(self, group, params, grads, states):
        steps = count(states)
        _fused_asgd(
            params,
            grads,
            gather(states, "ax"),
            gather(states, "eta"),
            gather(states, "mu"),
            lambd=group["lambd"],
            weight_decay=group["weight_decay"],
            maximize=group["maximize"],
        )
        lr = float(group["lr"])
        for state, step in zip(states, steps):
            t = step.item()
            state["eta"] = single(lr / (1 + group["lambd"] * lr * t) ** group["alpha"])
            state["mu"] = single(1 / max(1, t - group["t0"]))
