"""RMSprop, Adagrad and Adadelta: steps by the gradient over the root of its past squares."""

from .. import full_like, zeros_like
from .._C import _functions
from .optimizer import FusedOptimizer, check_options, count, gather, single

_fused_rmsprop = _functions["_fused_rmsprop_"]
_fused_adagrad = _functions["_fused_adagrad_"]
_fused_adadelta = _functions["_fused_adadelta_"]


class RMSprop(FusedOptimizer):
    """RMSprop: the squares are a moving mean; `centered` takes the variance instead."""

    def __init__(
        self,
        params,
        lr=1e-2,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0,
        momentum=0,
        centered=False,
        capturable=False,
        foreach=None,
        maximize=False,
        differentiable=False,
    ):
        check_options(
            lr,
            foreach=foreach,
            differentiable=differentiable,
            capturable=capturable,
            nonnegative=(
                ("epsilon value", eps),
                ("momentum value", momentum),
                ("weight_decay value", weight_decay),
                ("alpha value", alpha),
            ),
        )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _new_state(self, param, group):
        state = {"step": single(), "square_avg": zeros_like(param)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = zeros_like(param)
        if group["centered"]:
            state["grad_avg"] = zeros_like(param)
        return state

    def _fused(self, group, params, grads, states):
        count(states)
        _fused_rmsprop(
            params,
            grads,
            gather(states, "square_avg"),
            gather(states, "grad_avg") if group["centered"] else (),
            gather(states, "momentum_buffer") if group["momentum"] > 0 else (),
            lr=float(group["lr"]),
            alpha=group["alpha"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
            maximize=group["maximize"],
        )


class Adagrad(FusedOptimizer):
    """Adagrad: the squares of all steps are added up."""

    def __init__(
        self,
        params,
        lr=1e-2,
        lr_decay=0,
        weight_decay=0,
        initial_accumulator_value=0,
        eps=1e-10,
        foreach=None,
        *,
        maximize=False,
        differentiable=False,
        fused=None,
    ):
        check_options(
            lr,
            foreach=foreach,
            fused=fused,
            differentiable=differentiable,
            nonnegative=(
                ("lr_decay value", lr_decay),
                ("weight_decay value", weight_decay),
                ("initial_accumulator_value value", initial_accumulator_value),
                ("epsilon value", eps),
            ),
        )
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                self.state[param].update(self._new_state(param, group))

    def _new_state(self, param, group):
        start = group["initial_accumulator_value"]
        return {"step": single(), "sum": full_like(param, start).detach()}

    def _fused(self, group, params, grads, states):
        _fused_adagrad(
            params,
            grads,
            gather(states, "sum"),
            count(states),
            lr=float(group["lr"]),
            lr_decay=group["lr_decay"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
        )


class Adadelta(FusedOptimizer):
    """Adadelta: steps also by the root of the mean of past squared steps."""

    def __init__(
        self,
        params,
        lr=1.0,
        rho=0.9,
        eps=1e-6,
        weight_decay=0,
        foreach=None,
        *,
        capturable=False,
        maximize=False,
        differentiable=False,
    ):
        check_options(
            lr,
            foreach=foreach,
            differentiable=differentiable,
            capturable=capturable,
            nonnegative=(("epsilon value", eps), ("weight_decay value", weight_decay)),
        )
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _new_state(self, param, group):
        zeros = zeros_like(param)
        return {"step": single(), "square_avg": zeros, "acc_delta": zeros_like(param)}

    def _fused(self, group, params, grads, states):
        count(states)
        _fused_adadelta(
            params,
            grads,
            gather(states, "square_avg"),
            gather(states, "acc_delta"),
            lr=float(group["lr"]),
            rho=group["rho"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            maximize=group["maximize"],
        )
