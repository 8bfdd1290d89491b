"""The recorded graph: nodes, edges, and hooks around what is saved and what flows."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from .. import _C
from .._C import Node, SavedTensor, Tensor

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "region_activation_memory_budget",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
    "set_override_stale_capture_stream",
    "set_warn_on_accumulate_grad_stream_mismatch",
]

Node.__module__ = __name__
SavedTensor.__module__ = "facula.autograd"


class _InputMetadata(NamedTuple):
    """What a gradient looks like that flows into a node."""

    shape: Any
    dtype: Any
    device: Any


class GradientEdge(NamedTuple):
    """Where a gradient enters the graph: a node, and which of its results it belongs to."""

    node: Node
    output_nr: int
    ownership_token: Node | None = None


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """The edge that stands for `tensor` in backward, grad and their `inputs`."""
    if not tensor.requires_grad:
        raise RuntimeError(
            "It is not possible to get the gradient edge for a Tensor that does not require "
            "gradients"
        )
    return GradientEdge(*_C._gradient_edge(tensor))


def increment_version(tensor: Tensor | Iterable[Tensor]) -> None:
    """Marks tensors as changed in place, for changes that facula does not see."""
    for t in (tensor,) if isinstance(tensor, Tensor) else tensor:
        _C._increment_version(t)


# --- saved tensors ------------------------------------------------------------------------------


class saved_tensors_hooks:
    """Keeps `pack_hook(tensor)` in place of each tensor that is saved inside.

    `unpack_hook(what pack_hook gave)` is called when backward needs the tensor. Inner hooks take
    the place of outer ones.
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]):
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        _C._push_saved_tensors_hooks(self.pack_hook, self.unpack_hook)

    def __exit__(self, *exc) -> None:
        _C._pop_saved_tensors_hooks()


class save_on_cpu(saved_tensors_hooks):
    """Keeps saved tensors on the CPU and brings them back for backward."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda"):
        def pack(tensor):
            if not pin_memory:
                return tensor.device, tensor.cpu()
            return tensor.device, tensor.cpu().pin_memory()

        def unpack(packed):
            device, tensor = packed
            return tensor.to(device, non_blocking=pin_memory)

        super().__init__(pack, unpack)


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str):
    """Makes entering saved_tensors_hooks inside an error with that message."""
    before = _C._disable_saved_tensors_hooks(error_message)
    try:
        yield
    finally:
        _C._disable_saved_tensors_hooks(before)


class _Kept:
    # What a gradient keeps of one version of a tensor.
    __slots__ = ("__weakref__", "tensor")

    def __init__(self, tensor):
        self.tensor = tensor


class _AllowMutationOnSavedContext:
    """What is saved inside `allow_mutation_on_saved_tensors`, by the memory that it lies in."""

    def __init__(self):
        self._kept: dict[int, weakref.WeakSet] = {}

    def _pack(self, tensor):
        kept = _Kept(tensor)
        self._kept.setdefault(tensor.untyped_storage().data_ptr(), weakref.WeakSet()).add(kept)
        return kept

    def _before_change(self, tensor):
        for kept in self._kept.pop(tensor.untyped_storage().data_ptr(), ()):
            kept.tensor = kept.tensor.detach().clone()

    def clear(self) -> None:
        """Forgets everything."""
        self._kept.clear()


def _written(func, args, kwargs):
    """The arguments that a call changes: marked (a!) in its schema, in-place, or out=."""
    parameters = str(func._schema).split("(", 1)[1].rsplit(" -> ", 1)[0].split(", ")
    parameters = [p for p in parameters if p != "*"]
    for i, parameter in enumerate(parameters):
        if "!)" in parameter or (i == 0 and func._opname.endswith("_")):
            yield args[i] if i < len(args) else kwargs.get(parameter.split()[-1])
    yield kwargs.get("out")


def _changing_mode(context):
    from ..utils._python_dispatch import TorchDispatchMode

    class CloneBeforeChange(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            for value in _written(func, args, kwargs):
                for t in value if isinstance(value, (list, tuple)) else (value,):
                    if isinstance(t, Tensor):
                        context._before_change(t)
            return func(*args, **kwargs)

    return CloneBeforeChange()


@contextlib.contextmanager
def allow_mutation_on_saved_tensors():
    """Lets saved tensors be changed in place: what backward needs is cloned before the change.

    Forward and backward both belong inside.
    """
    context = _AllowMutationOnSavedContext()
    hooks = saved_tensors_hooks(context._pack, lambda kept: kept.tensor)
    with hooks, _changing_mode(context):
        try:
            yield context
        finally:
            context.clear()


# --- several tensors at once --------------------------------------------------------------------


class _MultiHandle:
    """Removes all hooks of one register_multi_grad_hook."""

    def __init__(self, handles):
        self.handles = tuple(handles)

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()


class _Arrivals:
    """The gradients of one backward run that have come so far."""

    def __init__(self, expected: int, n: int):
        self.expected = expected
        self.grads: list[Tensor | None] = [None] * n


def _hook_all(tensors, fn):
    lock = threading.Lock()
    runs: dict[int, _Arrivals] = {}
    nodes = [_C._gradient_edge(t)[0] for t in tensors]

    def arrive(index, grad):
        run = _C._current_graph_task_id()
        with lock:
            arrivals = runs.get(run)
            if arrivals is None:
                expected = sum(map(_C._will_engine_execute_node, nodes))
                arrivals = runs[run] = _Arrivals(expected, len(tensors))
            arrivals.grads[index] = grad
            arrivals.expected -= 1
            last = arrivals.expected == 0
            if last:
                del runs[run]
        if last:
            fn(arrivals.grads)

    return [t.register_hook(lambda grad, i=i: arrive(i, grad)) for i, t in enumerate(tensors)]


def _hook_any(tensors, fn):
    lock = threading.Lock()
    latest = -1

    def arrive(grad):
        nonlocal latest
        run = _C._current_graph_task_id()
        with lock:
            first = run > latest
            latest = max(run, latest)
        if first:
            fn(grad)

    return [t.register_hook(arrive) for t in tensors]


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable, *, mode: str = "all"
) -> _MultiHandle:
    """Calls `fn` once a backward run.

    mode="all": `fn(grads)` when the gradients of all `tensors` that the run reaches are there, None
    for the others. mode="any": `fn(grad)` with the first of them.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    tensors = tuple(tensors)
    return _MultiHandle((_hook_all if mode == "all" else _hook_any)(tensors, fn))


def set_warn_on_accumulate_grad_stream_mismatch(enabled: bool) -> None:
    """Accepted for programs that set it: there is nothing here to warn of."""


def set_override_stale_capture_stream(enabled: bool) -> None:
    """Accepted for programs that set it: there are no streams here to be captured."""


def region_activation_memory_budget(budget: float):
    """For what a compiler keeps between forward and backward of the code inside.

    There is no compiler around a program that calls this, so that it raises as it does for
    everybody outside of one. `utils.checkpoint` is the way to spend less on what is kept.
    """
    if isinstance(budget, bool) or not isinstance(budget, (int, float)):
        raise TypeError(f"the budget is a float, not {type(budget).__name__}")
    if not 0.0 <= budget <= 1.0:
        raise ValueError(f"the budget is a share from 0 to 1, not {budget}")
    raise RuntimeError(
        "region_activation_memory_budget() is for code that is being compiled; "
        "utils.checkpoint.checkpoint saves memory in any code"
    )
