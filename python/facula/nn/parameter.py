"""Parameter and Buffer: tensors that modules register when they are assigned to an attribute."""

from .. import _C, empty, preserve_format
from .._C import Tensor


class _ParameterMeta(type(Tensor)):
    # A tensor of another class that stands for a parameter is one to isinstance().
    def __instancecheck__(cls, instance):
        if type(instance) is cls:
            return True
        if cls is Parameter and isinstance(instance, Tensor) and getattr(instance, "_is_param", 0):
            return True
        return super().__instancecheck__(instance)


class Parameter(Tensor, metaclass=_ParameterMeta):
    """A tensor that is trained: a leaf that requires a gradient."""

    def __new__(cls, data=None, requires_grad=True):
        if data is None:
            data = empty(0)
        if type(data) is Tensor or type(data) is Parameter:
            return Tensor._make_subclass(cls, data, requires_grad)
        param = data.detach().requires_grad_(requires_grad)
        if type(param) is not type(data):
            raise RuntimeError(
                f"Creating a Parameter from an instance of type {type(data).__name__} requires "
                "that detach() returns an instance of the same type, but it returned "
                f"{type(param).__name__}."
            )
        param._is_param = True
        return param

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            copy = self.data.clone(memory_format=preserve_format)
            memo[id(self)] = type(self)(copy, self.requires_grad)
        return memo[id(self)]

    def __repr__(self, *, tensor_contents=None):
        return "Parameter containing:\n" + super().__repr__()

    def __reduce_ex__(self, protocol):
        return _rebuild, (type(self), self.data, self.requires_grad, self.__dict__)

    __torch_function__ = _C._disabled_torch_function_impl


def _rebuild(cls, data, requires_grad, attributes):
    param = cls(data, requires_grad)
    param.__dict__.update(attributes)
    return param


class _BufferMeta(type(Tensor)):
    def __instancecheck__(cls, instance):
        if cls is Buffer and isinstance(instance, Tensor):
            return bool(getattr(instance, "_is_buffer", False))
        return super().__instancecheck__(instance)


class Buffer(Tensor, metaclass=_BufferMeta):
    """A tensor that is part of a module's state but is not trained."""

    def __new__(cls, data=None, *, persistent=True):
        buffer = empty(0) if data is None else data.detach().requires_grad_(data.requires_grad)
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer

    __torch_function__ = _C._disabled_torch_function_impl


_C._set_parameter_type(Parameter)
