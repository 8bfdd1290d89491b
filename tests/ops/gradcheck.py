"""Gradients against finite differences, of real and of complex functions.

The loss is the real part of the inner product of all results with fixed numbers. Its gradient is
compared, element by element, with central differences; those of a complex element go along the real
and along the imaginary axis. Of large inputs some elements are chosen. A result that has no history
counts as constant, so a gradient that is forgotten is found as well.
"""

import facula
from facula.autograd import forward_ad

EPS = 1e-6
ELEMENTS = 24  # at most so many of an input


def tensors_in(value):
    """The tensors of a nested result that can have a gradient."""
    if isinstance(value, facula.Tensor):
        return [value] if value.is_floating_point() or value.is_complex() else []
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []


def weights_of(tensor):
    """Fixed numbers in the shape of a tensor, no two alike."""
    real = facula.arange(1, tensor.numel() + 1, dtype=facula.float64).sin().reshape(tensor.shape)
    return (real * (1 - 0.7j) if tensor.is_complex() else real).to(tensor.dtype)


def loss_of(results):
    total = facula.zeros((), dtype=facula.float64)
    for result in tensors_in(results):
        product = (result * weights_of(result)).sum()
        total = total + (facula.real(product) if product.is_complex() else product)
    return total


def chosen(x):
    """A view of the elements of an input that are checked: evenly spread."""
    return x.view(-1)[:: x.numel() // ELEMENTS + 1]


def differences(function, inputs, x):
    """The gradient of the loss with respect to the chosen elements of x, by central differences."""
    elements = chosen(x.detach())
    gradient = facula.zeros_like(elements)
    for i, old in enumerate(elements.tolist()):
        for unit in (1, 1j) if x.is_complex() else (1,):
            elements[i] = old + EPS * unit
            high = loss_of(function(*inputs)).item()
            elements[i] = old - EPS * unit
            low = loss_of(function(*inputs)).item()
            gradient[i] += unit * (high - low) / (2 * EPS)
        elements[i] = old
    return gradient


def gradcheck(function, inputs, *, rtol=1e-4, atol=1e-5):
    """Raises unless the gradients of function(*inputs) are those of its values.

    The inputs are contiguous float64 or complex128 leaves that require gradients.
    """
    loss = loss_of(function(*inputs))
    actual = [None] * len(inputs)
    if loss.requires_grad:
        actual = facula.autograd.grad(loss, inputs, allow_unused=True)
    for i, (x, mine) in enumerate(zip(inputs, actual)):
        mine = facula.zeros_like(x) if mine is None else mine
        assert mine.shape == x.shape and mine.dtype == x.dtype
        mine = chosen(mine.contiguous())
        with facula.no_grad():
            truth = differences(function, inputs, x)
        if not facula.allclose(mine, truth, rtol=rtol, atol=atol):
            raise AssertionError(f"gradient of input {i}:\n{mine}\nby differences:\n{truth}")


def gradgradcheck(function, inputs, **tolerance):
    """Raises unless the gradients of the gradients of function(*inputs) are right."""
    recorded = [result for result in tensors_in(function(*inputs)) if result.requires_grad]
    cotangents = [weights_of(result).requires_grad_() for result in recorded]
    n = len(inputs)

    def first(*arguments):
        with facula.enable_grad():
            results = [r for r in tensors_in(function(*arguments[:n])) if r.requires_grad]
            gradients = facula.autograd.grad(
                results, arguments[:n], arguments[n:], create_graph=True, allow_unused=True
            )
        return [gradient for gradient in gradients if gradient is not None]

    if recorded:
        gradcheck(first, [*inputs, *cotangents], **tolerance)


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
