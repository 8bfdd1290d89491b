"""The protocol by which classes and modes take over calls: __torch_function__."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from . import _C
from ._C import Tensor

_has_torch_function = _C._has_torch_function


def has_torch_function(relevant_args: Iterable) -> bool:
    """Whether a mode, or one of the arguments, takes over calls."""
    return _has_torch_function(relevant_args)


def has_torch_function_unary(arg) -> bool:
    """has_torch_function of one argument."""
    return _has_torch_function((arg,))


def has_torch_function_variadic(*args) -> bool:
    """has_torch_function of the arguments."""
    return _has_torch_function(args)


def handle_torch_function(public_api: Callable, relevant_args: Iterable, *args, **kwargs):
    """Hands a call over to whom has_torch_function found."""
    return _C._override(public_api, tuple(relevant_args), args, kwargs)


def wrap_torch_function(dispatcher: Callable) -> Callable:
    """Makes a Python function one that can be taken over; `dispatcher` names the arguments."""

    def decorate(function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            relevant = dispatcher(*args, **kwargs)
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return function(*args, **kwargs)

        return wrapped

    return decorate


class TorchFunctionMode:
    """Receives every call of an operator while it is entered.

    `__torch_function__(self, func, types, args=(), kwargs=None)` runs outside of the mode.
    """

    def __init__(self):
        pass

    def __torch_function__(self, func, types, args=(), kwargs=None):
        raise NotImplementedError

    def __enter__(self):
        _C._push_function_mode(self)
        return self

    def __exit__(self, *exc):
        _C._pop_function_mode()


class BaseTorchFunctionMode(TorchFunctionMode):
    """Calls what it receives."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def is_tensor_like(inp) -> bool:
    """Whether it is a tensor or takes over calls as one."""
    return isinstance(inp, Tensor) or hasattr(inp, "__torch_function__")


def is_tensor_method_or_property(func: Callable) -> bool:
    """Whether it is a method or a property's getter of Tensor."""
    name = getattr(func, "__name__", "")
    return getattr(Tensor, name, None) is func or name == "__get__"


def resolve_name(f: Callable) -> str | None:
    """The name of a function, "facula.Tensor.add" or "facula.nn.functional.linear"."""
    if isinstance(f, _C.OpOverload):
        return str(f)
    module, name = getattr(f, "__module__", None), getattr(f, "__qualname__", None)
    return f"{module}.{name}" if module and name else name
