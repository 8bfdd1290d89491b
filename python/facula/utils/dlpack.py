"""Exchange of tensors with other libraries, without a copy."""

from .._C import Tensor


def to_dlpack(tensor: Tensor):
    """A DLPack capsule over the memory of a tensor."""
    return tensor.__dlpack__()
