"""Operators of one's own, from Python functions.

    @facula.library.custom_op("mylib::scale", mutates_args=())
    def scale(x: facula.Tensor, factor: float) -> facula.Tensor:
        return x * factor

    scale.register_fake(lambda x, factor: facula.empty_like(x))
    scale.register_autograd(lambda ctx, grad: (grad * ctx.factor, None), setup_context=...)

Such an operator is a row of the core like the built-in ones: it has a schema, it can be called as
facula.ops.mylib.scale, and it takes part in autograd, in modes and on the meta device.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Sequence

from . import _C
from ._C import Tensor
from .autograd import Function
from .autograd.grad_mode import no_grad

_TYPES = {
    Tensor: "Tensor",
    int: "SymInt",
    float: "float",
    bool: "bool",
    str: "str",
    int | float | bool: "Scalar",
    _C.dtype: "ScalarType",
    _C.device: "Device",
}

# The kinds of functions that the core knows.
_KINDS = {
    "cpu": "cpu",
    "CPU": "cpu",
    "meta": "meta",
    "Meta": "meta",
    "default": "composite",
    "CompositeExplicitAutograd": "cpu",
    "CompositeImplicitAutograd": "composite",
    "Autograd": "autograd",
}


# --- schemas --------------------------------------------------------------------------------------


def _type_text(annotation, name: str) -> str:
    if annotation in _TYPES:
        return _TYPES[annotation]
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        inner = [arg for arg in args if arg is not type(None)]
        if set(inner) == {int, float, bool}:
            inner = [int | float | bool]
        if len(inner) == 1:
            return _type_text(inner[0], name) + "?" * (len(args) > len(inner))
    if origin in (list, tuple, Sequence) and args:
        return _type_text(args[0], name) + "[]"
    known = ", ".join(getattr(t, "__name__", str(t)) for t in _TYPES)
    raise ValueError(
        f"infer_schema(func): Parameter {name} has unsupported type {annotation}. Valid types are "
        f"{known}, and lists and optionals of them"
    )


def _default_text(value) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, _C.dtype):
        return str(value).rpartition(".")[2]
    return str(value)


def infer_schema(
    prototype_function: Callable, /, *, mutates_args, op_name: str | None = None
) -> str:
    """The schema of a function from its annotations."""
    hints = typing.get_type_hints(prototype_function)
    parameters, keyword = [], False
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    for parameter in inspect.signature(prototype_function).parameters.values():
        name = parameter.name
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ValueError("infer_schema(func): *args and **kwargs have no schema")
        if name not in hints:
            raise ValueError(f"infer_schema(func): Parameter {name} must have a type annotation")
        text = _type_text(hints[name], name)
        if mutates_args == "unknown" or name in mutates_args:
            if text.startswith("Tensor"):
                text = text.replace("Tensor", f"Tensor({next(letters)}!)", 1)
            elif mutates_args != "unknown":
                raise ValueError(f"infer_schema(func): {name} is no tensor and cannot be mutated")
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword:
            parameters.append("*")
            keyword = True
        default = parameter.default
        suffix = "" if default is parameter.empty else f"={_default_text(default)}"
        parameters.append(f"{text} {name}{suffix}")
    returned = hints.get("return", type(None))
    if returned is type(None):
        results = "()"
    elif typing.get_origin(returned) is tuple:
        results = "(" + ", ".join(_type_text(t, "return") for t in typing.get_args(returned)) + ")"
    else:
        results = _type_text(returned, "return")
    return f"{op_name or ''}({', '.join(parameters)}) -> {results}"


# --- functions of an operator ---------------------------------------------------------------------


def _split(qualname: str) -> tuple[str, str]:
    namespace, found, name = qualname.partition("::")
    if not found or not namespace or not name:
        raise ValueError(f"an operator is named 'namespace::name', got {qualname!r}")
    return namespace, name


def _keyword_names(overload) -> list[str]:
    """The names of the keyword-only parameters."""
    _, star, keywords = overload._schema.partition("->")[0].partition("*, ")
    return re.findall(r"(\w+)(?:=[^,]*)?(?:,|\) *$)", keywords) if star else []


def _positional(overload, function: Callable) -> Callable:
    """`function` with all its arguments by position, as the core calls it."""
    names = _keyword_names(overload)
    if not names:
        return function

    def call(*args):
        at = len(args) - len(names)
        return function(*args[:at], **dict(zip(names, args[at:])))

    return call


def _autograd_kernel(overload, backward: Callable, setup_context: Callable | None) -> Callable:
    names = _keyword_names(overload)

    class Recorded(Function):
        @staticmethod
        def forward(ctx, *args):
            at = len(args) - len(names)
            inputs, keywords = args[:at], dict(zip(names, args[at:]))
            with no_grad():
                result = overload(*inputs, **keywords)
            if setup_context is not None:
                extra = {"keyword_only_inputs": keywords} if names else {}
                setup_context(ctx=ctx, inputs=inputs, output=result, **extra)
            return result

        @staticmethod
        def backward(ctx, *grads):
            results = backward(ctx, *grads)
            results = results if isinstance(results, tuple) else (results,)
            return *results, *[None] * len(names)

    Recorded.__name__ = Recorded.__qualname__ = str(overload).replace(".", "_")
    return Recorded.apply


class CustomOpDef:
    """An operator that a Python function defines."""

    def __init__(self, qualname: str, schema: str, function: Callable | None):
        self._namespace, self._name = _split(qualname)
        self._qualname = qualname
        self._opoverload = _C._register_op(f"{self._namespace}::{self._name}{schema}", None)
        self._init_fn = function

    def __call__(self, *args, **kwargs):
        return self._opoverload(*args, **kwargs)

    def __repr__(self):
        return f"<CustomOpDef({self._qualname})>"

    def register_kernel(self, device_types, fn: Callable | None = None, /):
        """Sets the function that computes on devices of these types (None: on all)."""

        def register(function):
            kinds = [device_types] if isinstance(device_types, str) else device_types or ["cpu"]
            for kind in kinds:
                _set_kernel(self._opoverload, kind, function)
            return function

        return register if fn is None else register(fn)

    def register_fake(self, fn: Callable, /) -> Callable:
        """Sets the function that gives shapes and dtypes without computing."""
        _set_kernel(self._opoverload, "meta", fn)
        return fn

    def register_autograd(
        self, backward: Callable, /, *, setup_context: Callable | None = None
    ) -> None:
        """Sets the gradient: `backward(ctx, *grads)`.

        `setup_context(ctx, inputs, output)` keeps in ctx what it needs.
        """
        kernel = _autograd_kernel(self._opoverload, backward, setup_context)
        _C._set_kernel(self._opoverload, "autograd", kernel)


def _set_kernel(overload, kind: str, function: Callable) -> None:
    if kind not in _KINDS:
        raise ValueError(f"there are functions for {', '.join(_KINDS)}, not for {kind!r}")
    _C._set_kernel(overload, _KINDS[kind], _positional(overload, function))


def custom_op(
    name: str,
    fn: Callable | None = None,
    /,
    *,
    mutates_args: str | Iterable[str],
    device_types: str | Sequence[str] | None = None,
    schema: str | None = None,
):
    """Makes an operator of a Python function; a decorator."""

    def define_op(function):
        text = schema or infer_schema(function, mutates_args=mutates_args)
        result = CustomOpDef(name, text, function)
        result.register_kernel(device_types, function)
        return result

    return define_op if fn is None else define_op(fn)


# --- by name --------------------------------------------------------------------------------------


class Library:
    """The operators of one namespace: `define` them, then give them functions by `impl`."""

    def __init__(self, ns: str, kind: str, dispatch_key: str = ""):
        if kind not in ("DEF", "FRAGMENT", "IMPL"):
            raise ValueError(f"Unsupported kind: {kind}")
        if ns == "aten" and kind == "DEF":
            raise ValueError(
                f"{ns} is a reserved namespace. Please try creating a library with another name."
            )
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key

    def define(self, schema: str, alias_analysis: str = "", *, tags=()) -> str:
        """Makes an operator from its schema; returns its name."""
        _C._register_op(f"{self.ns}::{schema}", None)
        return schema.partition("(")[0]

    def impl(self, op_name: str, fn: Callable, dispatch_key: str = "") -> None:
        """Sets a function of an operator."""
        key = dispatch_key or self.dispatch_key or "CompositeImplicitAutograd"
        _set_kernel(_find(f"{self.ns}::{op_name}"), key, fn)


def _find(op):
    if isinstance(op, CustomOpDef):
        return op._opoverload
    return _C._overload(op) if isinstance(op, str) else op


def define(qualname: str, schema: str, *, lib: Library | None = None, tags=()) -> None:
    """Makes an operator from its name and the rest of its schema."""
    namespace, name = _split(qualname)
    _C._register_op(f"{namespace}::{name}{schema}", None)


def impl(qualname, types, func: Callable | None = None, *, lib: Library | None = None):
    """Sets the function of an operator for some types of devices; a decorator too."""

    def register(function):
        for kind in [types] if isinstance(types, str) else types:
            _set_kernel(_find(qualname), kind, function)
        return function

    return register if func is None else register(func)


def register_kernel(op, device_types, func: Callable | None = None, /, *, lib=None):
    """Sets the function of an operator for some types of devices; a decorator too."""
    return impl(op, device_types or "cpu", func, lib=lib)


def register_fake(op, func: Callable | None = None, /, *, lib=None, _stacklevel: int = 1):
    """Sets the function that gives shapes and dtypes without computing; a decorator too."""
    return impl(op, "meta", func, lib=lib)


def register_autograd(
    op, backward: Callable, /, *, setup_context: Callable | None = None, lib=None
) -> None:
    """Sets the gradient of an operator; see CustomOpDef.register_autograd."""
    overload = _find(op)
    _C._set_kernel(overload, "autograd", _autograd_kernel(overload, backward, setup_context))
