"""Anomaly mode: which forward call made the node whose backward failed."""

import traceback
import warnings

from .. import _C

__all__ = ["detect_anomaly", "set_detect_anomaly"]


def _stack() -> list[str]:
    """The Python stack of the call that makes a node."""
    return traceback.format_stack()


def _report(node) -> None:
    """Warns of the forward call of a node that failed, and of what led to it."""
    stack = node.metadata.get("traceback_")
    if stack is None:
        text = (
            f"Error detected in {node.name()}. No forward pass information available. Enable "
            "detect anomaly during forward pass for more information."
        )
    else:
        text = (
            f"Error detected in {node.name()}. Traceback of forward call that caused the error:\n"
            + "".join(stack)
        )
    parent = node.metadata.get("parent_")
    while parent is not None:
        stack = parent.metadata.get("traceback_", ["(unknown)\n"])
        text += (
            f"\n\nPrevious calculation was induced by {parent.name()}. Traceback of forward call "
            "that induced the previous calculation:\n" + "".join(stack)
        )
        parent = parent.metadata.get("parent_")
    try:
        warnings.warn(text, stacklevel=2)
    except UserWarning:
        pass  # a filter turns warnings into errors: the error that is under way says more


class set_detect_anomaly:
    """Turns anomaly mode on or off, at once, and as a context manager until its end.

    With it each recorded call remembers the Python stack, and a backward that fails says which
    call it belongs to. With `check_nan` a gradient that is NaN is an error.
    """

    def __init__(self, mode: bool, check_nan: bool = True):
        self.prev, self.prev_check_nan = _C._set_anomaly(mode, check_nan)

    def __enter__(self):
        pass

    def __exit__(self, *exc):
        _C._set_anomaly(self.prev, self.prev_check_nan)


class detect_anomaly:
    """Anomaly mode as a context manager: see `set_detect_anomaly`."""

    def __init__(self, check_nan: bool = True):
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should "
            "only be enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self):
        self.prev = _C._set_anomaly(True, self.check_nan)

    def __exit__(self, *exc):
        _C._set_anomaly(*self.prev)
