"""A tripwire for NaN and infinities: stops at the operation where the first one is born."""

from __future__ import annotations

import functools

from .. import _C
from .._C import Tensor

__all__ = ["NonfiniteError", "trace_nonfinite"]


class NonfiniteError(RuntimeError):
    """The first NaN or infinity: `operator`, `line`, and `node` if it was born in backward."""

    def __init__(self, text, operator, line, node):
        super().__init__(text)
        self.operator = operator
        self.line = line
        self.node = node


class trace_nonfinite:
    """Raises NonfiniteError at the operation whose result is the first NaN or infinity.

    Works for forward and backward, in the thread that enters it, also as a decorator. An
    operation that is given an infinity (a mask of -inf) may pass it on; one that makes a NaN of it
    is reported. Switch off what is meant to happen with `inf=False` or `nan=False`.
    """

    def __init__(self, nan: bool = True, inf: bool = True):
        self.kinds = nan | inf << 1
        self._before: list[int] = []

    def __enter__(self):
        self._before.append(_C._set_tripwire(self.kinds))
        return self

    def __exit__(self, *exc):
        _C._set_tripwire(self._before.pop())

    def __call__(self, function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return wrapper


# --- the report ---------------------------------------------------------------------------------


def _statistics(t: Tensor) -> str:
    text = f"{str(t.dtype).removeprefix('facula.')}{list(t.shape)}"
    if not (t.is_floating_point() or t.is_complex()) or not t.numel():
        return text
    values = t
    if t.is_complex():
        values = t.abs()
    values = values.double().flatten()
    finite = values[values.isfinite()]
    nans = int(values.isnan().sum())
    infinities = values.numel() - nans - finite.numel()
    if finite.numel():
        low, high, mean = (float(f()) for f in (finite.min, finite.max, finite.mean))
        text += f"  min {low:.6g}, max {high:.6g}, mean {mean:.6g}"
    if nans or infinities:
        text += f"  ({nans} NaN and {infinities} infinite of {values.numel()})"
    return text


def _describe(value) -> str:
    if isinstance(value, Tensor):
        return _statistics(value.detach())
    if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
        return "; ".join(map(_describe, value))
    return repr(value)


def _report(name, line, node, args, result, nan):
    forward = None if node is None else _C._node_line(node)
    kinds = _C._set_tripwire(0)
    was = _C._set_grad_enabled(False)
    try:
        born = "NaN" if nan else "infinity"
        if node is None:
            text = f"the first {born} is born in {name}() at {line or 'an unknown line'}"
        else:
            made = f", which belongs to the call at {forward}" if forward else ""
            text = f"the first {born} is born in backward, in {name}() of {node.name()}{made}"
        given = [(what, value) for what, value in args if value is not None and value is not result]
        rows = [(what, _describe(value)) for what, value in given]
        rows.append(("result", _describe(result)))
        width = max(len(what) for what, _ in rows)
        text += "".join(f"\n  {what:<{width}}  {value}" for what, value in rows)
    finally:
        _C._set_grad_enabled(was)
        _C._set_tripwire(kinds)
    raise NonfiniteError(text, name, line if node is None else forward, node)
