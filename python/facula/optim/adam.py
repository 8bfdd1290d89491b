"""Adam, and with decoupled weight decay AdamW."""

from .. import zeros_like
from .._C import _functions
from .optimizer import FusedOptimizer, check_betas, check_options, count, gather, single

_fused_adam, _fused_adamw = _functions["_fused_adam_"], _functions["_fused_adamw_"]


class Adam(FusedOptimizer):
    """Adam: steps by the mean of gradients over the root of the mean of their squares.

    All parameters of a group are updated in one call, whatever `foreach` and `fused` say.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0,
        amsgrad=False,
        *,
        foreach=None,
        maximize=False,
        capturable=False,
        differentiable=False,
        fused=None,
        decoupled_weight_decay=False,
    ):
        check_options(
            lr,
            foreach=foreach,
            fused=fused,
            differentiable=differentiable,
            capturable=capturable,
            nonnegative=(("epsilon value", eps), ("weight_decay value", weight_decay)),
        )
        check_betas(betas)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _new_state(self, param, group):
        state = {
            "step": single(),
            "exp_avg": zeros_like(param),
            "exp_avg_sq": zeros_like(param),
        }
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = zeros_like(param)
        return state

    def _fused(self, group, params, grads, states):
        amsgrad = group["amsgrad"]
        beta1, beta2 = group["betas"]
        step = _fused_adamw if group["decoupled_weight_decay"] else _fused_adam
        step(
            params,
            grads,
            gather(states, "exp_avg"),
            gather(states, "exp_avg_sq"),
            gather(states, "max_exp_avg_sq") if amsgrad else (),
            count(states),
            lr=float(group["lr"]),
            beta1=float(beta1),
            beta2=float(beta2),
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=amsgrad,
            maximize=group["maximize"],
        )


class AdamW(Adam):
    """Adam with decoupled weight decay."""

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=1e-2,
        amsgrad=False,
        *,
        maximize=False,
        foreach=None,
        capturable=False,
        differentiable=False,
        fused=None,
    ):
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
