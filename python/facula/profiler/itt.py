"""Ranges and marks for Intel's tools, through the package ittapi where it is installed."""

import contextlib
import importlib.util

from ..autograd.profiler import _itt

__all__ = ["is_available", "mark", "range", "range_pop", "range_push"]


def is_available():
    """Whether ittapi is installed."""
    return importlib.util.find_spec("ittapi") is not None


def range_push(msg):
    """Begins a range."""
    itt = _itt("range_push")
    itt.native.task_begin(itt.domain("facula"), msg)


def range_pop():
    """Ends the range that began last."""
    itt = _itt("range_pop")
    itt.native.task_end(itt.domain("facula"))


def mark(msg):
    """Marks a moment."""
    range_push(msg)
    range_pop()


@contextlib.contextmanager
def range(msg, *args, **kwargs):
    """A range around the code inside; `msg` is a format for the other arguments."""
    range_push(msg.format(*args, **kwargs))
    try:
        yield
    finally:
        range_pop()
