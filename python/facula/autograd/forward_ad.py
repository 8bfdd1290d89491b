"""Forward mode: tensors that carry a tangent, and operators that take it along.

    with dual_level():
        dual = make_dual(x, v)
        primal, tangent = unpack_dual(f(dual))   # f(x), and its derivative in the direction v

Levels nest: a tangent belongs to the level that it was made in, the innermost unless said.
"""

from collections import namedtuple
from functools import wraps
from threading import local

from .. import _C

UnpackedDualTensor = namedtuple("UnpackedDualTensor", ("primal", "tangent"))
UnpackedDualTensor.__doc__ = "What unpack_dual returns; the tangent is None where there is none."

_FORWARD = 2  # the kind of level


class _Levels(local):
    """The levels that this thread has entered, by number."""

    def __init__(self):
        self.ids = []


_levels = _Levels()


def enter_dual_level():
    """Begins a level and returns its number."""
    _levels.ids.append(_C._level_push(_FORWARD))
    return len(_levels.ids) - 1


def exit_dual_level(*, level=None):
    """Ends a level, which is the innermost one; its tangents are forgotten."""
    last = len(_levels.ids) - 1
    if level is None:
        level = last
    if last < 0 or level != last:
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This is "
            "not supported."
        )
    _C._level_pop(_levels.ids[-1])
    _levels.ids.pop()


class dual_level:
    """A level as a context."""

    def __enter__(self):
        self.level = enter_dual_level()
        return self.level

    def __exit__(self, *exception):
        exit_dual_level(level=self.level)

    def __call__(self, function):
        @wraps(function)
        def wrapper(*args, **kwargs):
            with type(self)():
                return function(*args, **kwargs)

        return wrapper


def _id_of(level):
    """The id of a level, None where there is no level at all."""
    if not _levels.ids:
        return None
    if level is None:
        return _levels.ids[-1]
    if not 0 <= level < len(_levels.ids):
        raise RuntimeError(f"there is no forward AD level {level}: {len(_levels.ids)} are entered")
    return _levels.ids[level]


def make_dual(tensor, tangent, *, level=None):
    """The tensor with a tangent: a view of it that carries its derivative in some direction."""
    id = _id_of(level)
    if id is None:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to "
            "enter_dual_level() first."
        )
    return _C._make_dual(tensor, tangent, id)


def unpack_dual(tensor, *, level=None):
    """(primal, tangent) of a tensor."""
    id = _id_of(level)
    if id is None:
        return UnpackedDualTensor(tensor, None)
    return UnpackedDualTensor(*_C._unpack_dual(tensor, id))
