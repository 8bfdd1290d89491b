"""Modes that receive operators below autograd: __torch_dispatch__."""

from .. import _C


class TorchDispatchMode:
    """Receives every operator while it is entered, after autograd has seen it.

    `__torch_dispatch__(self, func, types, args=(), kwargs=None)` runs outside of the mode; `func`
    is an OpOverload.
    """

    def __init__(self, _dispatch_key=None):
        pass

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        raise NotImplementedError

    def __enter__(self):
        _C._push_dispatch_mode(self)
        return self

    def __exit__(self, *exc):
        _C._pop_dispatch_mode()


def _get_current_dispatch_mode():
    modes = _C._dispatch_modes()
    return modes[-1] if modes else None


def _get_current_dispatch_mode_stack():
    return _C._dispatch_modes()
