"""Jacobians, Hessians and their products with vectors, of functions of tensors.

Each function takes a tensor or a tuple of them and gives its results in that form. It runs `func`
on inputs without history (with `create_graph=True`: on views of them, so that what is returned can
be differentiated further). A derivative that is zero because nothing connects an output with an
input is a tensor of zeros, and with `strict=True` an error.

Products with the Jacobian from the right go by reverse mode twice: the product with a vector from
the left is linear in that vector, and its derivative with respect to it is the transposed product.
"""

from functools import partial

import facula

from .._C import Tensor
from . import enable_grad, grad

# --- inputs, outputs, vectors


def _as_tensors(values, role, caller):
    """(whether it is a tuple, the tensors) of what a user gave or returned."""
    several = isinstance(values, tuple)
    for value in values if several else (values,):
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{caller}(): the {role} must be a Tensor or a tuple of Tensors, but "
                f"{'among them is' if several else 'it is'} {type(value).__name__}"
            )
    return several, values if several else (values,)


def _start(inputs, create_graph):
    """The inputs as func receives them: leaves, or views of them that keep their history."""
    return tuple(
        x.view_as(x) if create_graph and x.requires_grad else x.detach().requires_grad_()
        for x in inputs
    )


def _call(func, inputs, create_graph, strict, caller):
    """Runs func; returns (started inputs, whether outputs is a tuple, outputs)."""
    inputs = _start(inputs, create_graph)
    several, outputs = _as_tensors(func(*inputs), "result of the function", caller)
    if strict:
        _check_recorded(outputs)
    return inputs, several, outputs


def _call_scalar(func, inputs, create_graph, strict, caller):
    """The same for a function that has to return one number."""
    inputs, several, outputs = _call(func, inputs, create_graph, strict, caller)
    if several:
        raise RuntimeError(f"{caller}(): the function must return a single Tensor, not a tuple")
    if outputs[0].numel() != 1:
        raise RuntimeError(
            f"{caller}(): the function must return one element, not {tuple(outputs[0].shape)}"
        )
    return inputs, outputs


def _check_recorded(outputs):
    for i, output in enumerate(outputs):
        if not output.requires_grad:
            raise RuntimeError(
                f"strict: output {i} of the function does not require gradients. It must be "
                "computed from the inputs by differentiable operations."
            )


def _vectors(v, like, several, what, caller):
    """The vector of a product, checked against the tensors that it belongs to."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise RuntimeError(
                f"{caller}(): v can be left out only where {what} is one Tensor with one element"
            )
        return (facula.ones_like(like[0]),)
    _, v = _as_tensors(v, "vector v", caller)
    if len(v) != len(like):
        raise RuntimeError(f"{caller}(): v has {len(v)} tensors, {what} has {len(like)}")
    for i, (one, tensor) in enumerate(zip(v, like)):
        if one.shape != tensor.shape:
            raise RuntimeError(
                f"{caller}(): tensor {i} of v has shape {tuple(one.shape)}, and that of {what} "
                f"{tuple(tensor.shape)}"
            )
    return tuple(one if one.requires_grad else one.detach() for one in v)


def _finish(tensors, several, create_graph):
    """Tensors in the form of the user's, without history unless that was asked for."""
    if not create_graph:
        tensors = tuple(tensor.detach() for tensor in tensors)
    return tuple(tensors) if several else tensors[0]


# --- gradients that may be absent


def _grads(outputs, inputs, vectors, create_graph, batched=False):
    """autograd.grad of those outputs that have a history; None for what is not connected."""
    pairs = [(output, v) for output, v in zip(outputs, vectors) if output.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    outputs, vectors = zip(*pairs)
    return grad(
        outputs,
        inputs,
        vectors,
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
        is_grads_batched=batched,
    )


def _filled(grads, like, strict, create_graph, subject="the output of the function"):
    """Zeros for absent gradients; with strict an error, also for those that are constant."""
    for i, gradient in enumerate(grads):
        if strict and gradient is None:
            raise RuntimeError(f"strict: {subject} does not depend on input {i}.")
        if strict and create_graph and not gradient.requires_grad:
            raise RuntimeError(
                f"strict: the derivative of {subject} with respect to input {i} is constant, so it "
                "cannot be differentiated."
            )
    return tuple(facula.zeros_like(x) if g is None else g for g, x in zip(grads, like))


_HESSIAN = "the gradient of the function"


# --- products


@enable_grad()
def vjp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), the product of v with the Jacobian of func)."""
    several, inputs = _as_tensors(inputs, "inputs", "vjp")
    inputs, outputs_several, outputs = _call(func, inputs, create_graph, strict, "vjp")
    v = _vectors(v, outputs, outputs_several, "the result", "vjp")
    grads = _grads(outputs, inputs, v, create_graph)
    grads = _filled(grads, inputs, strict, create_graph)
    return _finish(outputs, outputs_several, create_graph), _finish(grads, several, create_graph)


@enable_grad()
def jvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), the product of the Jacobian of func with v)."""
    several, inputs = _as_tensors(inputs, "inputs", "jvp")
    v = _vectors(v, inputs, several, "the input", "jvp")
    inputs, outputs_several, outputs = _call(func, inputs, create_graph, strict, "jvp")
    products = _right_product(outputs, inputs, v, create_graph, strict)
    return (
        _finish(outputs, outputs_several, create_graph),
        _finish(products, outputs_several, create_graph),
    )


def _right_product(outputs, inputs, v, create_graph, strict, subject="the output of the function"):
    """The Jacobian times v: the derivative of u -> u @ Jacobian, transposed."""
    u = tuple(facula.zeros_like(output, requires_grad=True) for output in outputs)
    left = _filled(_grads(outputs, inputs, u, True), inputs, strict, False, subject)
    products = _grads(left, u, v, create_graph)
    if strict and create_graph:
        for i, product in enumerate(products):
            if product is None or not product.requires_grad:
                raise RuntimeError(
                    f"strict: the derivative of output {i} of the function is constant, so it "
                    "cannot be differentiated."
                )
    return _filled(products, outputs, False, False)


@enable_grad()
def vhp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), the product of v with the Hessian of func), of a function with one result."""
    several, inputs = _as_tensors(inputs, "inputs", "vhp")
    v = _vectors(v, inputs, several, "the input", "vhp")
    inputs, outputs = _call_scalar(func, inputs, create_graph, strict, "vhp")
    first = _gradient(outputs, inputs, strict)
    products = _filled(_grads(first, inputs, v, create_graph), inputs, strict, False, _HESSIAN)
    return _finish(outputs, False, create_graph), _finish(products, several, create_graph)


@enable_grad()
def hvp(func, inputs, v=None, create_graph=False, strict=False):
    """(func(inputs), the product of the Hessian of func with v), of a function with one result."""
    several, inputs = _as_tensors(inputs, "inputs", "hvp")
    v = _vectors(v, inputs, several, "the input", "hvp")
    inputs, outputs = _call_scalar(func, inputs, create_graph, strict, "hvp")
    first = _gradient(outputs, inputs, strict)
    products = _right_product(first, inputs, v, create_graph, False)
    if strict:
        _filled(_grads(first, inputs, v, False), inputs, True, False, _HESSIAN)
    return _finish(outputs, False, create_graph), _finish(products, several, create_graph)


def _gradient(outputs, inputs, strict):
    """The gradient of one number, with its history."""
    grads = _grads(outputs, inputs, (facula.ones_like(outputs[0]),), True)
    return _filled(grads, inputs, strict, strict)


# --- matrices


def jacobian(
    func, inputs, create_graph=False, strict=False, vectorize=False, strategy="reverse-mode"
):
    """The Jacobian of func: for each output and input a tensor of the shape of both, joined.

    `vectorize=True` computes all rows at once, under vmap; then `strategy="forward-mode"` computes
    columns, which is faster where func has more outputs than inputs.
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise AssertionError(
            f"jacobian(): strategy is 'reverse-mode' or 'forward-mode', not {strategy!r}. Forward "
            "mode is faster where there are more outputs than inputs."
        )
    if vectorize and strict:
        raise RuntimeError("jacobian(): strict=True and vectorize=True do not go together")
    if strategy == "reverse-mode":
        return _jacobian_by_rows(func, inputs, create_graph, strict, vectorize)
    if create_graph:
        raise NotImplementedError(
            "jacobian(): create_graph=True needs strategy='reverse-mode'; facula.func.jacfwd gives "
            "columns that can be differentiated further"
        )
    if not vectorize:
        raise NotImplementedError("jacobian(): strategy='forward-mode' needs vectorize=True")
    return _jacobian_by_columns(func, inputs)


@enable_grad()
def _jacobian_by_rows(func, inputs, create_graph, strict, vectorize):
    several, inputs = _as_tensors(inputs, "inputs", "jacobian")
    inputs, outputs_several, outputs = _call(func, inputs, create_graph, strict, "jacobian")
    blocks = []
    for i, output in enumerate(outputs):
        if output.is_complex():
            raise RuntimeError(f"jacobian(): output {i} is complex, and gradients are of real ones")
        subject = f"output {i} of the function"
        rows = _rows_at_once if vectorize else _rows_in_turn
        parts = rows(output, inputs, create_graph, strict, subject)
        shapes = (output.shape + x.shape for x in inputs)
        parts = tuple(part.reshape(shape) for part, shape in zip(parts, shapes))
        blocks.append(_finish(parts, several, create_graph))
    return tuple(blocks) if outputs_several else blocks[0]


def _rows_in_turn(output, inputs, create_graph, strict, subject):
    """For each input the gradients of the elements of an output, stacked."""
    rows = []
    for j in range(output.numel() if output.requires_grad else 0):
        v = facula.zeros(output.numel(), dtype=output.dtype, device=output.device)
        v[j] = 1
        grads = _grads((output,), inputs, (v.view(output.shape),), create_graph)
        rows.append(_filled(grads, inputs, strict, create_graph, subject))
    if not rows:
        return tuple(x.new_zeros(output.shape + x.shape) for x in inputs)
    return tuple(facula.stack(column) for column in zip(*rows))


def _rows_at_once(output, inputs, create_graph, strict, subject):
    n = output.numel()
    basis = facula.eye(n, dtype=output.dtype, device=output.device).view(n, *output.shape)
    grads = _grads((output,), inputs, (basis,), create_graph, batched=True)
    return tuple(x.new_zeros(n, *x.shape) if g is None else g for g, x in zip(grads, inputs))


@enable_grad()
def _jacobian_by_columns(func, inputs):
    from ..func import vmap
    from . import forward_ad

    several, inputs = _as_tensors(inputs, "inputs", "jacobian")
    inputs = _start(inputs, False)
    outputs_several, columns = None, []

    def push(place, tangent):
        nonlocal outputs_several
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(inputs[place], tangent)
            result = func(*inputs[:place], dual, *inputs[place + 1 :])
            outputs_several, outputs = _as_tensors(result, "result of the function", "jacobian")
            pairs = [forward_ad.unpack_dual(output) for output in outputs]
        return tuple(facula.zeros_like(y) if t is None else t for y, t in pairs)

    for place, x in enumerate(inputs):
        basis = facula.eye(x.numel(), dtype=x.dtype, device=x.device)
        products = vmap(partial(push, place))(basis.view(x.numel(), *x.shape))
        columns.append([p.movedim(0, -1).reshape(p.shape[1:] + x.shape) for p in products])
    blocks = tuple(_finish(block, several, False) for block in zip(*columns))
    return blocks if outputs_several else blocks[0]


def hessian(
    func,
    inputs,
    create_graph=False,
    strict=False,
    vectorize=False,
    outer_jacobian_strategy="reverse-mode",
):
    """The Hessian of a function with one result: for each pair of inputs a tensor of their shapes.

    `vectorize` and `outer_jacobian_strategy` are those of `jacobian`, for the derivative of the
    gradient.
    """
    several, _ = _as_tensors(inputs, "inputs", "hessian")

    def call(*inputs):
        outputs_several, outputs = _as_tensors(func(*inputs), "result of the function", "hessian")
        if outputs_several:
            raise RuntimeError("hessian(): the function must return a single Tensor, not a tuple")
        if outputs[0].numel() != 1:
            raise RuntimeError(
                f"hessian(): the function must return one element, not {tuple(outputs[0].shape)}"
            )
        return outputs[0]

    def gradient(*inputs):
        # The inputs are this call's own: their history is what the outer derivative follows.
        if outer_jacobian_strategy == "forward-mode":
            from ..func import vjp

            output, pull = vjp(call, *inputs)
            grads = pull(facula.ones_like(output))
        else:
            outputs = (call(*inputs),)
            if strict:
                _check_recorded(outputs)
            grads = _gradient(outputs, inputs, strict)
        return grads if several else grads[0]

    return jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)
