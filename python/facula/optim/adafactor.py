"""Adafactor: second moments of a matrix from those of its rows and columns."""

from .. import finfo
from .._C import Tensor
from .optimizer import Optimizer, check_options, single


class Adafactor(Optimizer):
    """Steps in proportion to the size of a parameter, over the root of estimated second moments.

    A tensor of two and more dimensions keeps means over its last dimension (row_var) and over the
    last but one (col_var) only. eps are the least variance (None: that of the dtype) and the least
    size of a parameter; d limits the root mean square of an update.
    """

    def __init__(
        self,
        params,
        lr=1e-2,
        beta2_decay=-0.8,
        eps=(None, 1e-3),
        d=1.0,
        weight_decay=0.0,
        *,
        foreach=None,
        maximize=False,
    ):
        check_options(lr, foreach=foreach, nonnegative=(("weight_decay", weight_decay),))
        if beta2_decay > 0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        for name, value in zip(("epsilon1", "epsilon2"), eps):
            if value is not None and value < 0:
                raise ValueError(f"{name} should be >= 0 but is: {value}")
        if d < 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _update(self, group):
        for param in group["params"]:
            if param.grad is None:
                continue
            if param.is_complex():
                raise RuntimeError("Adafactor does not support complex parameters")
            self._step(group, param, -param.grad if group["maximize"] else param.grad)

    def _step(self, group, param, grad):
        state = self.state[param]
        if not state:
            state["step"] = single()
            if grad.dim() > 1:
                state["row_var"] = grad.new_zeros(*grad.shape[:-1], 1)
                state["col_var"] = grad.new_zeros(*grad.shape[:-2], 1, grad.shape[-1])
            else:
                state["variance"] = grad.new_zeros(grad.shape)
        state["step"] += 1
        step, lr = state["step"].item(), float(group["lr"])
        least = group["eps"][0]
        if least is None:
            least = finfo(param.dtype).eps
        variance = self._variance(state, grad, step ** group["beta2_decay"], least)
        update = variance.clamp(min=least * least).rsqrt_().mul_(grad)
        root = param.numel() ** 0.5
        size = max(group["eps"][1], param.norm().item() / root)
        excess = max(1.0, update.norm().item() / (root * group["d"]))
        if group["weight_decay"]:
            param.mul_(1 - lr * group["weight_decay"])
        param.add_(update, alpha=-size * min(lr, step**-0.5) / excess)

    @staticmethod
    def _variance(state: dict, grad: Tensor, weight: float, least: float) -> Tensor:
        """The estimate of grad ** 2, to which this one counts by `weight`."""
        squares = grad.square()
        if grad.dim() < 2:
            return state["variance"].lerp_(squares, weight)
        rows = state["row_var"].lerp_(squares.mean(-1, keepdim=True), weight)
        columns = state["col_var"].lerp_(squares.mean(-2, keepdim=True), weight)
        return rows @ columns / rows.mean(-2, keepdim=True).clamp(min=least)
