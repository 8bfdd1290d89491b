"""Stochastic gradient descent."""

from .._C import _functions
from .optimizer import Optimizer, check_options

_fused_sgd = _functions["_fused_sgd_"]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum.

    All parameters of a group are updated in one call, whatever `foreach` and `fused` say.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        momentum=0,
        dampening=0,
        weight_decay=0,
        nesterov=False,
        *,
        maximize=False,
        foreach=None,
        differentiable=False,
        fused=None,
    ):
        check_options(
            lr,
            foreach=foreach,
            fused=fused,
            differentiable=differentiable,
            nonnegative=(("momentum value", momentum), ("weight_decay value", weight_decay)),
        )
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def _update(self, group):
        params, grads, buffers = [], [], []  # with a momentum buffer, or without momentum
        new_params, new_grads, new_buffers = [], [], []
        momentum, state = group["momentum"], self.state
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if momentum:
                own = state[param]
                buffer = own.get("momentum_buffer")
                if buffer is None:
                    buffer = own["momentum_buffer"] = grad.new_empty(grad.shape)
                    new_params.append(param)
                    new_grads.append(grad)
                    new_buffers.append(buffer)
                    continue
                buffers.append(buffer)
            params.append(param)
            grads.append(grad)
        if params:
            self._call(group, params, grads, buffers, False)
        if new_params:
            self._call(group, new_params, new_grads, new_buffers, True)

    def _call(self, group, params, grads, buffers, first):
        _fused_sgd(
            params,
            grads,
            buffers,
            weight_decay=float(group["weight_decay"]),
            momentum=group["momentum"],
            lr=float(group["lr"]),
            dampening=group["dampening"],
            nesterov=group["nesterov"],
            maximize=group["maximize"],
            is_first_step=first,
        )
