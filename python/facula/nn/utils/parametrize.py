"""Parameters that are computed from others: register_parametrization and what belongs to it.

A module with parametrized tensors gets a class of its own, derived from its class, with a property
for each of them. `module.parametrizations` has a ParametrizationList for each name, which keeps
what the tensor is computed from. Inside `cached()` each tensor is computed once.
"""

import copy
from contextlib import contextmanager

from ..._C import Tensor
from ...autograd.grad_mode import no_grad
from ..modules.container import ModuleDict, ModuleList
from ..parameter import Parameter

_cache = {}
_cache_users = 0


@contextmanager
def cached():
    """Inside, a parametrized tensor is computed when it is first asked for, and then kept."""
    global _cache_users
    _cache_users += 1
    try:
        yield
    finally:
        _cache_users -= 1
        if not _cache_users:
            _cache.clear()


def _register(module, name, tensor):
    if isinstance(tensor, Parameter):
        module.register_parameter(name, tensor)
    else:
        module.register_buffer(name, tensor)


def _replace(tensor, value):
    """Gives a tensor the memory, shape and dtype of another; it stays the same object."""
    tensor.data = value.detach()


def _check_like(new, old, what):
    """A parametrization keeps dtype and shape, unless it was registered as unsafe."""
    if not isinstance(new, Tensor):
        raise ValueError(f"{what} must return a tensor, not {type(new).__name__}")
    for attribute in ("dtype", "shape"):
        was, now = getattr(old, attribute), getattr(new, attribute)
        if was != now:
            raise ValueError(
                f"{what} changes the {attribute} from {was} to {now}, which needs unsafe=True"
            )


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, in the order of their use, and what they start from.

    That is `original`, or `original0`, `original1`, ... where the first of them takes several
    tensors, as its right_inverse returns them.
    """

    def __init__(self, modules, original, unsafe=False):
        if not modules:
            raise ValueError("ParametrizationList: at least one module is needed")
        super().__init__(modules)
        self.unsafe = unsafe
        start = original
        with no_grad():
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    try:
                        start = module.right_inverse(start)
                    except NotImplementedError:
                        pass  # it starts from the tensor as it is
        if not isinstance(start, (Tensor, list, tuple)):
            raise ValueError(
                "right_inverse must return a tensor or a sequence of tensors, not "
                f"{type(start).__name__}"
            )
        self.is_tensor = isinstance(start, Tensor)
        self.ntensors = 1 if self.is_tensor else len(start)
        expected = original.detach().clone() if not unsafe else None
        if self.is_tensor:
            if start.dtype != original.dtype:
                raise ValueError(
                    f"right_inverse returns {start.dtype} for a tensor of {original.dtype}"
                )
            _replace(original, start)
            _register(self, "original", original)
        else:
            for i, part in enumerate(start):
                self._register_part(i, part, original)
        if not unsafe:
            with no_grad():
                _check_like(self(), expected, "a parametrization")

    def _register_part(self, i, part, original):
        if not isinstance(part, Tensor):
            raise ValueError(
                f"right_inverse must return tensors; its result {i} is {type(part).__name__}"
            )
        if isinstance(original, Parameter):
            part = Parameter(part, original.requires_grad)
        _register(self, f"original{i}", part.requires_grad_(original.requires_grad))

    def _originals(self):
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value):
        """Sets the originals so that the parametrized tensor becomes `value`."""
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"a value is assigned to a tensor whose parametrization "
                        f"{type(module).__name__} has no right_inverse"
                    )
                value = module.right_inverse(value)
            values = [value] if self.is_tensor else value
            if not isinstance(values, (list, tuple)) or len(values) != self.ntensors:
                raise ValueError(f"right_inverse must return {self.ntensors} tensors")
            for original, value in zip(self._originals(), values):
                if not isinstance(value, Tensor) or value.dtype != original.dtype:
                    kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
                    raise ValueError(f"right_inverse returns {kind} for {original.dtype}")
                _replace(original, value)

    def forward(self):
        first, *rest = self
        value = first(*self._originals())
        for module in rest:
            value = module(value)
        return value


# --- classes of parametrized modules


def _property(name):
    def get(self):
        if not _cache_users:
            return self.parametrizations[name]()
        key = id(self), name
        if key not in _cache:
            _cache[key] = self.parametrizations[name]()
        return _cache[key]

    def set(self, value):
        self.parametrizations[name].right_inverse(value)

    return property(get, set)


def _getstate(self):
    raise RuntimeError("parametrized modules are not pickled: save and load their state_dict()")


def _deepcopy(self, memo):
    clone = self.__new__(type(self))
    memo[id(self)] = clone
    clone.__dict__.update(copy.deepcopy(self.__dict__, memo))
    # A class of its own: what is removed from one of them stays in the other.
    clone.__class__ = _parametrized_class(type_before_parametrizations(self), self.parametrizations)
    return clone


def _parametrized_class(cls, names):
    members = {"__getstate__": _getstate, **{name: _property(name) for name in names}}
    if "__deepcopy__" not in vars(cls):
        members["__deepcopy__"] = _deepcopy
    members["__module__"] = cls.__module__
    return type(f"Parametrized{cls.__name__}", (cls,), members)


def is_parametrized(module, tensor_name=None):
    """Whether a module has parametrized tensors, or one of this name."""
    parametrizations = getattr(module, "parametrizations", None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    return len(parametrizations) > 0 if tensor_name is None else tensor_name in parametrizations


def type_before_parametrizations(module):
    """The class that a module had before its tensors were parametrized."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


# --- the interface


def _check_appended(module, name, parametrization):
    before = getattr(module, name)
    what = f"the parametrization {type(parametrization).__name__}"
    after = parametrization(before)
    _check_like(after, before, what)
    if hasattr(parametrization, "right_inverse"):
        try:
            back = parametrization.right_inverse(after)
        except NotImplementedError:
            return
        _check_like(back, before, f"right_inverse of {type(parametrization).__name__}")


def register_parametrization(module, tensor_name, parametrization, *, unsafe=False):
    """Makes a parameter or buffer of a module the result of `parametrization(original)`.

    Further ones for the same name are applied to the result. `right_inverse(value)`, where the
    parametrization has it, says what to start from, and lets values be assigned; if it returns
    several tensors, parametrization is called with these. `unsafe` allows other shapes and dtypes.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            with no_grad():
                _check_appended(module, tensor_name, parametrization)
        found = module.parametrizations[tensor_name]
        found.append(parametrization)
        found.unsafe |= unsafe
    elif tensor_name in module._parameters or tensor_name in module._buffers:
        found = ParametrizationList([parametrization], getattr(module, tensor_name), unsafe)
        delattr(module, tensor_name)
        if is_parametrized(module):
            setattr(type(module), tensor_name, _property(tensor_name))
        else:
            module.parametrizations = ModuleDict()
            module.__class__ = _parametrized_class(type(module), [tensor_name])
        module.parametrizations[tensor_name] = found
    else:
        raise ValueError(
            f"{type(module).__name__} has no parameter, buffer or parametrized tensor named "
            f"'{tensor_name}'"
        )
    return module


def remove_parametrizations(module, tensor_name, leave_parametrized=True):
    """Makes a tensor a parameter or buffer again: with its present value, or as the original is."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"{type(module).__name__} has no parametrization on '{tensor_name}'")
    found = module.parametrizations[tensor_name]
    if leave_parametrized:
        value = getattr(module, tensor_name)
        if found.is_tensor:
            tensor = found.original
            _replace(tensor, value)
        else:
            trained = value.requires_grad
            tensor = Parameter(value.detach()) if trained else value.detach()
    elif found.is_tensor:
        tensor = found.original
    else:
        raise ValueError(
            f"'{tensor_name}' is computed from several tensors, so that it cannot be removed with "
            "leave_parametrized=False"
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    if not is_parametrized(module):
        cls = type(module).__bases__[0]
        delattr(module, "parametrizations")
        module.__class__ = cls
    _register(module, tensor_name, tensor)
    return module


def transfer_parametrizations_and_params(from_module, to_module, tensor_name=None):
    """Parametrizes a module as another one is, with the same parametrizations and originals.

    Without a name, all parametrized tensors; a module without parametrizations hands on the
    parameter or buffer of this name.
    """
    if not is_parametrized(from_module):
        if tensor_name is not None and hasattr(from_module, tensor_name):
            setattr(to_module, tensor_name, getattr(from_module, tensor_name))
        return to_module
    names = list(from_module.parametrizations) if tensor_name is None else [tensor_name]
    for name in names:
        source = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            _register(to_module, name, Parameter(getattr(from_module, name).detach()))
        for parametrization in source:
            register_parametrization(to_module, name, parametrization, unsafe=source.unsafe)
        target = to_module.parametrizations[name]
        for original in ["original"] if source.is_tensor else _names(source):
            setattr(target, original, getattr(source, original))
    return to_module


def _names(parametrizations):
    return [f"original{i}" for i in range(parametrizations.ntensors)]
