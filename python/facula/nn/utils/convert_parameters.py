"""Parameters as one vector."""

from collections.abc import Iterable

from ... import cat
from ..._C import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters, one after the other."""
    return cat([param.view(-1) for param in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Takes the data of the parameters from a vector."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected facula.Tensor, but got: {type(vec).__name__}")
    at = 0
    for param in parameters:
        size = param.numel()
        param.data = vec[at : at + size].view_as(param).data
        at += size
