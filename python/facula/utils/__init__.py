"""Utilities."""

from . import dlpack, hooks


def __getattr__(name):
    if name not in ("_pytree", "_python_dispatch", "checkpoint"):  # imported when asked for
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return import_module(f"{__name__}.{name}")
