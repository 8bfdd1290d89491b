"""Gradients: backward, grad, and functions with gradients of one's own."""

from __future__ import annotations

from collections.abc import Sequence

from .. import _C
from .._C import SavedTensor, Tensor
from . import graph
from ._plot import plot
from .anomaly_mode import detect_anomaly, set_detect_anomaly
from .function import Function, NestedIOFunction
from .grad_mode import (
    enable_grad,
    enforce_grad_layout_policy,
    inference_mode,
    is_multithreading_enabled,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from .nonfinite import NonfiniteError, trace_nonfinite
from .variable import Variable


def _as_tuple(tensors) -> tuple:
    if isinstance(tensors, (Tensor, graph.GradientEdge)):
        return (tensors,)
    return tuple(tensors.values() if isinstance(tensors, dict) else tensors)


def _cotangents(roots: tuple, gradients, batched: bool = False) -> tuple:
    """A gradient for each root; None where it is to be 1."""
    if gradients is None:
        return (None,) * len(roots)
    gradients = _as_tuple(gradients)
    if len(gradients) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(gradients)} gradients")
    return gradients


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables=None,
    inputs: Tensor | Sequence[Tensor] | dict[str, Tensor] | None = None,
) -> None:
    """Adds the gradients of `tensors` to the .grad of the leaves, or of `inputs`."""
    roots = _as_tuple(tensors)
    inputs = None if inputs is None else _as_tuple(inputs)
    if inputs is not None and not inputs:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    keep = create_graph if retain_graph is None else retain_graph
    if grad_variables is not None and grad_tensors is not None:
        raise RuntimeError("pass `grad_tensors` only: `grad_variables` is its older name")
    gradients = _cotangents(roots, grad_tensors if grad_variables is None else grad_variables)
    _C._run_backward(roots, gradients, keep, create_graph, inputs, True, True)


def _batched_grads(outputs, gradients, create_graph, inputs, unused):
    """Gradients for a batch of cotangents, which lies along their first dimension."""
    from ..func import vmap

    found = None

    def run(*batch):
        nonlocal found
        grads = _C._run_backward(outputs, batch, True, create_graph, inputs, unused, False)
        found = [grad is not None for grad in grads]
        return [grad for grad in grads if grad is not None]

    dims = tuple(None if gradient is None else 0 for gradient in gradients)
    stacked = iter(vmap(run, in_dims=dims)(*gradients))
    return tuple(next(stacked) if there else None for there in found)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor] | dict[str, Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...] | dict[str, Tensor | None]:
    """The gradients of `outputs` with respect to `inputs`; the .grad of leaves does not change.

    Inputs that are a dictionary give a dictionary.
    """
    if isinstance(inputs, dict):
        options = (retain_graph, create_graph, only_inputs, allow_unused, is_grads_batched)
        names, tensors = list(inputs), list(inputs.values())
        return dict(zip(names, grad(outputs, tensors, grad_outputs, *options, materialize_grads)))
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False."
        )
    outputs, inputs = _as_tuple(outputs), _as_tuple(inputs)
    if not inputs:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    keep = create_graph if retain_graph is None else retain_graph
    unused = materialize_grads if allow_unused is None else allow_unused
    gradients = _cotangents(outputs, grad_outputs)
    if is_grads_batched:
        grads = _batched_grads(outputs, gradients, create_graph, inputs, unused)
    else:
        grads = _C._run_backward(outputs, gradients, keep, create_graph, inputs, unused, False)
    if materialize_grads:
        grads = tuple(
            input.new_zeros(input.shape) if grad is None else grad
            for input, grad in zip(inputs, grads)
        )
    return grads


# Where names live that are imported when they are asked for.
_LATE = {
    **dict.fromkeys(("forward_ad", "functional", "gradcheck")),
    **dict.fromkeys(("profiler", "profiler_legacy", "profiler_util")),
    "gradgradcheck": "gradcheck",
    "ProfilerActivity": "profiler",
    "kineto_available": "profiler",
}


def __getattr__(name):
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module(f"{__name__}.{_LATE[name] or name}")
    return getattr(module, name) if _LATE[name] else module
