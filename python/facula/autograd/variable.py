"""Variable: the older name of Tensor."""

from .._C import Tensor

__all__ = ["Variable", "VariableMeta"]


class VariableMeta(type):
    """Says that every tensor is a Variable."""

    def __instancecheck__(cls, other):
        return isinstance(other, Tensor)


class Variable(metaclass=VariableMeta):
    """`Variable(t)` is `t`; its class methods are those of Tensor."""

    def __new__(cls, data, requires_grad=False):
        if requires_grad:
            data.requires_grad_()
        return data
