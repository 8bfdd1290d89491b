"""Adamax, NAdam and RAdam: relatives of Adam."""

from .. import zeros_like
from .._C import _functions
from .optimizer import FusedOptimizer, check_betas, check_options, count, gather, single

_fused_adamax = _functions["_fused_adamax_"]
_fused_nadam = _functions["_fused_nadam_"]
_fused_radam = _functions["_fused_radam_"]


class _Moments(FusedOptimizer):
    """What the three have in common: their options, and a state of two moments."""

    second = "exp_avg_sq"

    def __init__(self, params, lr, betas, eps, weight_decay, **options):
        check_options(
            lr,
            foreach=options["foreach"],
            differentiable=options["differentiable"],
            capturable=options["capturable"],
            nonnegative=(("epsilon value", eps), ("weight_decay value", weight_decay)),
        )
        check_betas(betas)
        common = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, common | options)

    def _new_state(self, param, group):
        moments = {"exp_avg": zeros_like(param), self.second: zeros_like(param)}
        return {"step": single()} | moments

    def _numbers(self, group):
        beta1, beta2 = group["betas"]
        return {
            "lr": float(group["lr"]),
            "beta1": float(beta1),
            "beta2": float(beta2),
            "weight_decay": group["weight_decay"],
            "eps": group["eps"],
            "maximize": group["maximize"],
        }


class Adamax(_Moments):
    """Adam with the largest of the decayed gradients in place of the mean of squares."""

    second = "exp_inf"

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        foreach=None,
        *,
        maximize=False,
        differentiable=False,
        capturable=False,
    ):
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            foreach=foreach,
            maximize=maximize,
            differentiable=differentiable,
            capturable=capturable,
        )

    def _fused(self, group, params, grads, states):
        moments = gather(states, "exp_avg"), gather(states, "exp_inf")
        _fused_adamax(params, grads, *moments, count(states), **self._numbers(group))


class NAdam(_Moments):
    """Adam with Nesterov momentum."""

    def __init__(
        self,
        params,
        lr=2e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        momentum_decay=4e-3,
        decoupled_weight_decay=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
    ):
        if not 0.0 <= momentum_decay:
            raise ValueError(f"Invalid momentum_decay value: {momentum_decay}")
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
        )

    def _new_state(self, param, group):
        return {"mu_product": single(1.0)} | super()._new_state(param, group)

    def _fused(self, group, params, grads, states):
        steps, decay = count(states), group["momentum_decay"]
        for state in states:
            shrink = 0.96 ** (state["step"].item() * decay)
            state["mu_product"] *= group["betas"][0] * (1.0 - 0.5 * shrink)
        _fused_nadam(
            params,
            grads,
            gather(states, "exp_avg"),
            gather(states, "exp_avg_sq"),
            gather(states, "mu_product"),
            steps,
            momentum_decay=decay,
            decoupled_weight_decay=group["decoupled_weight_decay"],
            **self._numbers(group),
        )


class RAdam(_Moments):
    """Adam that goes by the mean alone until the mean of squares can be trusted."""

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        decoupled_weight_decay=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
    ):
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            decoupled_weight_decay=decoupled_weight_decay,
            differentiable=differentiable,
        )

    def _fused(self, group, params, grads, states):
        _fused_radam(
            params,
            grads,
            gather(states, "exp_avg"),
            gather(states, "exp_avg_sq"),
            count(states),
            decoupled_weight_decay=group["decoupled_weight_decay"],
            **self._numbers(group),
        )
