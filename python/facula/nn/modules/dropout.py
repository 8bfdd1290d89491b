"""Dropout."""

from ... import _C
from .. import functional as F
from .module import Module


class _DropoutNd(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self):
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """Zeroes elements with probability p in training, and scales the others by 1 / (1 - p)."""

    forward = _C.Forward(F.dropout, ("input",), ("p", "training", "inplace"))


class Dropout1d(_DropoutNd):
    """Zeroes whole channels of (N, C, L) or (C, L)."""

    forward = _C.Forward(F.dropout1d, ("input",), ("p", "training", "inplace"))


class Dropout2d(_DropoutNd):
    """Zeroes whole channels of (N, C, H, W) or (C, H, W)."""

    forward = _C.Forward(F.dropout2d, ("input",), ("p", "training", "inplace"))


class Dropout3d(_DropoutNd):
    """Zeroes whole channels of (N, C, D, H, W) or (C, D, H, W)."""

    forward = _C.Forward(F.dropout3d, ("input",), ("p", "training", "inplace"))
