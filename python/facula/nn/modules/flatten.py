"""Changes of shape."""

from ... import _C, flatten, unflatten
from .module import Module


class Flatten(Module):
    """Joins a range of dimensions into one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    forward = _C.Forward(flatten, ("input",), ("start_dim", "end_dim"))

    def extra_repr(self):
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits a dimension into several."""

    def __init__(self, dim, unflattened_size):
        super().__init__()
        self.dim = dim
        self.unflattened_size = unflattened_size

    forward = _C.Forward(unflatten, ("input",), ("dim", "unflattened_size"))

    def extra_repr(self):
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
