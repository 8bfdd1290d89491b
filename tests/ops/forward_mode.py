"""Forward mode against reverse mode, in one direction.

The loss is the real part of the inner product of all results with fixed numbers.
"""

import facula
from compare import tensors_in
from facula.autograd import forward_ad


def weights_of(tensor):
    """Fixed numbers in the shape of a tensor, no two alike."""
    real = facula.arange(1, tensor.numel() + 1, dtype=facula.float64).sin().reshape(tensor.shape)
    return (real * (1 - 0.7j) if tensor.is_complex() else real).to(tensor.dtype)


def loss_of(results):
    total = facula.zeros((), dtype=facula.float64)
    for result in tensors_in(results):
        if result.is_floating_point() or result.is_complex():
            product = (result * weights_of(result)).sum()
            total = total + (facula.real(product) if product.is_complex() else product)
    return total


def forward_agrees(function, inputs, *, rtol=1e-7, atol=1e-9):
    """Raises unless forward mode gives the derivative of the loss that its gradients give."""
    loss = loss_of(function(*inputs))
    gradients = [None] * len(inputs)
    if loss.requires_grad:
        gradients = facula.autograd.grad(loss, inputs, allow_unused=True)
    directions = [weights_of(x).cos() for x in inputs]
    backward = facula.zeros((), dtype=facula.float64)
    for gradient, direction in zip(gradients, directions):
        if gradient is not None:
            backward += facula.real((gradient.conj() * direction).sum())
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(x.detach(), v) for x, v in zip(inputs, directions)]
        forward = forward_ad.unpack_dual(loss_of(function(*duals))).tangent
    forward = facula.zeros_like(backward) if forward is None else forward
    if not facula.allclose(forward, backward, rtol=rtol, atol=atol, equal_nan=True):
        raise AssertionError(f"forward mode: {forward.item()}, reverse mode: {backward.item()}")
