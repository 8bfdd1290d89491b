"""Muon: momentum whose matrix is made orthogonal before it is used."""

import math

from .._C import Tensor
from .optimizer import Optimizer, check_options


class Muon(Optimizer):
    """Steps along the orthogonal matrix next to the momentum; for parameters that are matrices.

    The orthogonal matrix comes from `ns_steps` steps of a polynomial iteration of Newton and
    Schulz with the given coefficients, in bfloat16. adjust_lr_fn says how the rate goes by the
    shape: "original" (None) by the root of rows over columns, "match_rms_adamw" so that updates
    are as large as those of AdamW.
    """

    def __init__(
        self,
        params,
        lr=1e-3,
        weight_decay=0.1,
        momentum=0.95,
        nesterov=True,
        ns_coefficients=(3.4445, -4.7750, 2.0315),
        eps=1e-7,
        ns_steps=5,
        adjust_lr_fn=None,
    ):
        check_options(
            lr, nonnegative=(("momentum value", momentum), ("weight_decay value", weight_decay))
        )
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        if ns_steps >= 100:
            raise ValueError("Number of steps must be less than 100 for computational efficiency")
        if len(ns_coefficients) != 3:
            raise ValueError("Coefficients must be a tuple of exactly 3 values")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for param in group["params"]:
                if param.dim() != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with size: "
                        f"{tuple(param.shape)}"
                    )

    def _update(self, group):
        momentum, lr = group["momentum"], float(group["lr"])
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            if param.is_complex():
                raise RuntimeError("Muon does not support complex parameters")
            state = self.state[param]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = grad.new_zeros(grad.shape)
            average = state["momentum_buffer"].lerp_(grad, 1 - momentum)
            update = grad.lerp(average, momentum) if group["nesterov"] else average
            update = _orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
            rows, columns = param.shape
            if group["adjust_lr_fn"] == "match_rms_adamw":
                ratio = 0.2 * math.sqrt(max(rows, columns))
            else:
                ratio = math.sqrt(max(1, rows / columns))
            param.mul_(1 - lr * group["weight_decay"])
            param.add_(update, alpha=-lr * ratio)


def _orthogonal(matrix: Tensor, coefficients: tuple, steps: int, eps: float) -> Tensor:
    """Nearly the orthogonal factor of a matrix: its singular values all go to about 1."""
    a, b, c = coefficients
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if tall else x
