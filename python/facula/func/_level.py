"""Levels of transforms as context managers, and the checks that transforms share."""

from .. import _C, Tensor
from ..utils._pytree import tree_flatten

BATCH, GRADIENT, FORWARD = 0, 1, 2


class Level:
    """A running transform; entering gives its id."""

    __slots__ = ("arguments", "id")

    def __init__(self, *arguments):
        self.arguments = arguments

    def __enter__(self):
        self.id = _C._level_push(*self.arguments)
        return self.id

    def __exit__(self, *exception):
        _C._level_pop(self.id)


def tensors_of(tree, transform, what, error=RuntimeError):
    """The leaves of a tree, all tensors, and its structure."""
    leaves, spec = tree_flatten(tree)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise error(
                f"{transform}: {what} must be tensors, in any nesting of tuples, lists and "
                f"dictionaries; there is one of type {type(leaf).__name__}"
            )
    return leaves, spec


def name_of(func):
    return getattr(func, "__name__", None) or repr(func)


def split_aux(result, transform):
    """What a function with has_aux=True returned."""
    if not (isinstance(result, tuple) and len(result) == 2):
        raise RuntimeError(
            f"{transform}: with has_aux=True the function returns a tuple (output, aux), not "
            f"{type(result).__name__}"
        )
    return result


def debug_unwrap(tensor, *, recurse=True):
    """What lies in a tensor of running transforms: of one, or of all. For looking at it only."""
    found = _C._transforms(tensor)
    while found is not None:
        tensor = found[2]
        found = _C._transforms(tensor) if recurse else None
    return tensor
