"""Module: the base of all layers and networks.

What every call needs, the call itself and the look-up of parameters, buffers and submodules, is
in C (`_C.ModuleBase`). A module without hooks costs little more than its `forward`; the
dictionaries of hooks exist from the first hook on, and only then do calls come by `_call_hooked`.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator, Mapping

from ... import _C, bfloat16, empty_like, float16, float32, float64, zeros_like
from ..._C import Tensor
from ...autograd.grad_mode import no_grad
from ...utils.hooks import BackwardHook, RemovableHandle
from ..parameter import Buffer, Parameter

_EXTRA_STATE = "_extra_state"

# Hooks of all modules.
_global_forward_pre_hooks: dict[int, Callable] = OrderedDict()
_global_forward_hooks: dict[int, Callable] = OrderedDict()
_global_forward_hooks_always_called: dict[int, bool] = OrderedDict()
_global_backward_pre_hooks: dict[int, Callable] = OrderedDict()
_global_backward_hooks: dict[int, Callable] = OrderedDict()
_global_parameter_registration_hooks: dict[int, Callable] = OrderedDict()
_global_buffer_registration_hooks: dict[int, Callable] = OrderedDict()
_global_module_registration_hooks: dict[int, Callable] = OrderedDict()


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    __slots__ = ()

    def __repr__(self):
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


def _add_global(hooks: dict, hook: Callable, flags: dict | None = None) -> RemovableHandle:
    _C._set_global_module_hooks(True)
    handle = RemovableHandle(hooks, extra_dict=flags)
    hooks[handle.id] = hook
    if flags is not None:
        flags[handle.id] = True
    return handle


def register_module_forward_pre_hook(hook: Callable) -> RemovableHandle:
    """Registers `hook(module, args)`, to run before the forward of every module."""
    return _add_global(_global_forward_pre_hooks, hook)


def register_module_forward_hook(
    hook: Callable, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Registers `hook(module, args, result)`, to run after the forward of every module."""
    if with_kwargs:
        inner = hook
        hook = _TakesKwargs(inner)
    flags = _global_forward_hooks_always_called if always_call else None
    return _add_global(_global_forward_hooks, hook, flags)


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    """Registers `hook(module, grad_output)`, to run before the backward of every module."""
    return _add_global(_global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    """Registers `hook(module, grad_input, grad_output)`, for the backward of every module."""
    return _add_global(_global_backward_hooks, hook)


def register_module_parameter_registration_hook(hook: Callable) -> RemovableHandle:
    """Registers `hook(module, name, parameter)`, whose result, if any, is registered instead."""
    return _add_global(_global_parameter_registration_hooks, hook)


def register_module_buffer_registration_hook(hook: Callable) -> RemovableHandle:
    """Registers `hook(module, name, buffer)`, whose result, if any, is registered instead."""
    return _add_global(_global_buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook: Callable) -> RemovableHandle:
    """Registers `hook(module, name, submodule)`, whose result, if any, is registered instead."""
    return _add_global(_global_module_registration_hooks, hook)


class _Hooks:
    """A dictionary of hooks, which a module has from when it is first asked for."""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, module, owner):
        return self if module is None else module._hook_dict(self.name)


class _TakesKwargs:
    """Marks a global forward hook that wants the keyword arguments too."""

    def __init__(self, hook):
        self.hook = hook


def _filtered(hooks: dict, module: Module, name: str, value):
    for hook in hooks.values():
        replaced = hook(module, name, value)
        value = value if replaced is None else replaced
    return value


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


class Module(_C.ModuleBase):
    """A network or a part of one: parameters, buffers, submodules, and a forward method.

    Parameters and modules that are assigned to attributes are registered by their names.
    """

    _version = 1
    training: bool
    call_super_init = False

    _forward_pre_hooks = _Hooks()
    _forward_pre_hooks_with_kwargs = _Hooks()
    _forward_hooks = _Hooks()
    _forward_hooks_with_kwargs = _Hooks()
    _forward_hooks_always_called = _Hooks()
    _backward_pre_hooks = _Hooks()
    _backward_hooks = _Hooks()
    _state_dict_pre_hooks = _Hooks()
    _state_dict_hooks = _Hooks()
    _load_state_dict_pre_hooks = _Hooks()
    _load_state_dict_post_hooks = _Hooks()

    def __init__(self, *args, **kwargs):
        if not self.call_super_init and (args or kwargs):
            unexpected = next(iter(kwargs), None)
            what = f"keyword argument '{unexpected}'" if kwargs else "positional arguments"
            raise TypeError(f"{type(self).__name__}.__init__() got unexpected {what}")
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _non_persistent_buffers_set=set(),
            _modules={},
        )
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *args, **kwargs):
        """What the module computes. Subclasses define it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    # --- registration ----------------------------------------------------------------------------

    def _check_name(self, kind: str, name: str, own: dict):
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: "{name}"')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if hasattr(self, name) and name not in own:
            raise KeyError(f"attribute '{name}' already exists")

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Adds a tensor that belongs to the state of the module but is no parameter."""
        self._check_name("buffer", name, self.__dict__.get("_buffers", ()))
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' "
                "(facula Tensor or None required)"
            )
        self._buffers[name] = _filtered(_global_buffer_registration_hooks, self, name, tensor)
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Adds a parameter."""
        self._check_name("parameter", name, self.__dict__.get("_parameters", ()))
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                    "(facula.nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must "
                    f"be created explicitly. To express '{name}' as a function of another Tensor, "
                    "compute the value in the forward() method."
                )
            param = _filtered(_global_parameter_registration_hooks, self, name, param)
        self._parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        """Adds a submodule."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._check_name("module", name, self.__dict__.get("_modules", ()))
        self._modules[name] = _filtered(_global_module_registration_hooks, self, name, module)

    register_module = add_module

    def _assign(self, name: str, value) -> bool:
        """Called by __setattr__ for tensors, modules, and names that are registered already.

        Returns False if the attribute is an ordinary one.
        """
        state = self.__dict__
        kinds = ("_parameters", "_buffers", "_modules")
        parameters, buffers, modules = (state.get(kind, {}) for kind in kinds)
        if isinstance(value, Parameter):
            self._forget(name, buffers, modules)
            self.register_parameter(name, value)
        elif name in parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as parameter '{name}' "
                    "(facula.nn.Parameter or None expected)"
                )
            parameters[name] = None
        elif isinstance(value, Module):
            if "_modules" not in state:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, parameters, buffers)
            modules[name] = _filtered(_global_module_registration_hooks, self, name, value)
        elif name in modules:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as child module '{name}' "
                    "(facula.nn.Module or None expected)"
                )
            modules[name] = None
        elif isinstance(value, Buffer) or name in buffers:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{type(value).__name__}' as buffer '{name}' "
                    "(facula.nn.Buffer, facula.Tensor or None expected)"
                )
            if isinstance(value, Buffer):
                self._forget(name, parameters, modules)
                self.register_buffer(name, value, value.persistent)
            else:
                buffers[name] = _filtered(_global_buffer_registration_hooks, self, name, value)
        else:
            return False
        return True

    def _forget(self, name: str, *registries: dict):
        self.__dict__.pop(name, None)
        for registry in registries:
            registry.pop(name, None)
        self.__dict__.get("_non_persistent_buffers_set", set()).discard(name)

    def get_submodule(self, target: str) -> Module:
        """The submodule by its full name, "encoder.layers.0"."""
        module = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Replaces a submodule by its full name."""
        if not target:
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{type(parent).__name__} has no attribute `{name}`")
        setattr(parent, name, module)

    def _get_registered(self, target: str, kind: str, description: str):
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute `{name}`")
        if name not in getattr(module, kind):
            raise AttributeError(f"`{name}` is not {description}")
        return getattr(module, name)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter by its full name."""
        return self._get_registered(target, "_parameters", "an nn.Parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer by its full name."""
        return self._get_registered(target, "_buffers", "a buffer")

    # --- conversion ------------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True):
        if recurse:
            for module in self.children():
                module._apply(fn)
        for name, param in self._parameters.items():
            if param is None:
                continue
            with no_grad():
                applied = fn(param)
            if applied.is_meta == param.is_meta:
                param.data = applied
            else:
                param = self._parameters[name] = Parameter(applied, param.requires_grad)
            if param.grad is not None:
                with no_grad():
                    grad = fn(param.grad)
                param.grad = grad.requires_grad_(param.grad.requires_grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def apply(self, fn: Callable[[Module], None]):
        """Calls `fn` with each submodule and then with the module itself."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def cuda(self, device=None):
        """Moves parameters and buffers to a GPU."""
        return self._apply(lambda t: t.cuda(device))

    def cpu(self):
        """Moves parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    def type(self, dst_type):
        """Casts parameters and buffers."""
        return self._apply(lambda t: t.type(dst_type))

    def _cast(self, dtype):
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def float(self):
        """Casts floating parameters and buffers to float32."""
        return self._cast(float32)

    def double(self):
        """Casts floating parameters and buffers to float64."""
        return self._cast(float64)

    def half(self):
        """Casts floating parameters and buffers to float16."""
        return self._cast(float16)

    def bfloat16(self):
        """Casts floating parameters and buffers to bfloat16."""
        return self._cast(bfloat16)

    def to_empty(self, *, device, recurse: bool = True):
        """Moves to a device without copying values: they are uninitialised there."""
        return self._apply(lambda t: empty_like(t, device=device), recurse=recurse)

    def to(self, *args, **kwargs):
        """Moves and casts: `to(device)`, `to(dtype)`, `to(tensor)`, `to(device, dtype)`."""
        device, dtype, non_blocking, memory_format = _to_arguments(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got {dtype}"
            )

        def convert(t):
            cast = dtype if t.is_floating_point() or t.is_complex() else None
            if memory_format is not None and t.dim() in (4, 5):
                return t.to(device, cast, non_blocking, memory_format=memory_format)
            return t.to(device, cast, non_blocking)

        return self._apply(convert)

    # --- calls and hooks -------------------------------------------------------------------------

    def _hook_dict(self, name: str) -> dict:
        hooks = self.__dict__.get(name)
        if hooks is None:
            hooks = self.__dict__[name] = OrderedDict()
            self._hooked = True
        return hooks

    def _add_hook(self, name: str, hook, prepend: bool = False, flags: tuple = ()):
        hooks = self._hook_dict(name)
        flags = [self._hook_dict(flag) for flag in flags]
        handle = RemovableHandle(hooks, extra_dict=flags)
        hooks[handle.id] = hook
        for flag in flags:
            flag[handle.id] = True
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        return handle

    def register_forward_pre_hook(
        self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Registers `hook(module, args)`, which may return other arguments."""
        flags = ("_forward_pre_hooks_with_kwargs",) if with_kwargs else ()
        return self._add_hook("_forward_pre_hooks", hook, prepend, flags)

    def register_forward_hook(
        self,
        hook: Callable,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Registers `hook(module, args, result)`, which may return another result."""
        flags = ("_forward_hooks_with_kwargs",) * with_kwargs
        flags += ("_forward_hooks_always_called",) * always_call
        return self._add_hook("_forward_hooks", hook, prepend, flags)

    def register_full_backward_pre_hook(
        self, hook: Callable, prepend: bool = False
    ) -> RemovableHandle:
        """Registers `hook(module, grad_output)`, which may return another grad_output."""
        return self._add_hook("_backward_pre_hooks", hook, prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Registers `hook(module, grad_input, grad_output)`; it may return another grad_input."""
        return self._add_hook("_backward_hooks", hook, prepend)

    register_backward_hook = register_full_backward_hook

    def _call_hooked(self, *args, **kwargs):
        """The call of a module that has, or had, hooks."""
        result, called = None, set()
        try:
            args, kwargs = self._run_pre_hooks(args, kwargs)
            backward = self._backward_hook()
            if backward:
                args = backward.setup_input(args)
            result = self.forward(*args, **kwargs)
            for key, hook in self._forward_hook_list():
                called.add(key)
                returned = hook(args, kwargs, result)
                result = result if returned is None else returned
            return backward.setup_output(result) if backward else result
        except Exception:
            self._run_always_called(called, args, kwargs, result)
            raise

    def _run_pre_hooks(self, args, kwargs):
        state = self.__dict__
        with_kwargs = state.get("_forward_pre_hooks_with_kwargs", ())
        hooks = [(None, hook) for hook in _global_forward_pre_hooks.values()]
        for key, hook in [*hooks, *state.get("_forward_pre_hooks", {}).items()]:
            if key in with_kwargs:
                returned = hook(self, args, kwargs)
                if returned is not None:
                    if not (isinstance(returned, tuple) and len(returned) == 2):
                        raise RuntimeError(
                            "forward pre-hook must return None or a tuple of (new_args, "
                            f"new_kwargs), but got {returned}."
                        )
                    args, kwargs = returned
            else:
                returned = hook(self, args)
                if returned is not None:
                    args = returned if isinstance(returned, tuple) else (returned,)
        return args, kwargs

    def _forward_hook_list(self):
        """The forward hooks as (key, function of (args, kwargs, result))."""
        state = self.__dict__
        with_kwargs = state.get("_forward_hooks_with_kwargs", ())

        def caller(hook, kw):
            if kw:
                return lambda args, kwargs, result: hook(self, args, kwargs, result)
            return lambda args, kwargs, result: hook(self, args, result)

        for key, hook in list(_global_forward_hooks.items()):
            kw = isinstance(hook, _TakesKwargs)
            yield key, caller(hook.hook if kw else hook, kw)
        for key, hook in list(state.get("_forward_hooks", {}).items()):
            yield key, caller(hook, key in with_kwargs)

    def _run_always_called(self, called: set, args, kwargs, result):
        """After an exception: the hooks that want to run in any case and have not yet."""
        always = {*self.__dict__.get("_forward_hooks_always_called", ())}
        always.update(_global_forward_hooks_always_called)
        for key, hook in self._forward_hook_list():
            if key in always and key not in called:
                try:
                    hook(args, kwargs, result)
                except Exception as error:
                    import warnings

                    warnings.warn(
                        f"module forward hook with always_call=True raised an exception that was "
                        f"silenced as another error was raised in forward: {error}",
                        stacklevel=3,
                    )

    def _backward_hook(self) -> BackwardHook | None:
        state = self.__dict__
        pre = [*_global_backward_pre_hooks.values(), *state.get("_backward_pre_hooks", {}).values()]
        post = [*_global_backward_hooks.values(), *state.get("_backward_hooks", {}).values()]
        return BackwardHook(self, post, pre) if pre or post else None

    # --- state -----------------------------------------------------------------------------------

    def __getstate__(self):
        return self.__dict__

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._hooked = any(
            state.get(name) for name, value in vars(Module).items() if isinstance(value, _Hooks)
        )

    def get_extra_state(self):
        """What else to keep in the state dict; goes together with set_extra_state."""
        raise RuntimeError("get_extra_state is not defined by this module")

    def set_extra_state(self, state):
        """Takes from load_state_dict what get_extra_state returned."""
        raise RuntimeError("set_extra_state is not defined by this module")

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Registers `hook(module, prefix, keep_vars)`, to run before state_dict."""
        return self._add_hook("_state_dict_pre_hooks", hook)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Registers `hook(module, state_dict, prefix, local_metadata)`, to run after state_dict."""
        return self._register_state_dict_hook(_PostHook(hook))

    def _register_state_dict_hook(self, hook: Callable) -> RemovableHandle:
        return self._add_hook("_state_dict_hooks", hook)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        for name, param in self._parameters.items():
            if param is not None:
                destination[prefix + name] = param if keep_vars else param.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buffer if keep_vars else buffer.detach()
        if type(self).get_extra_state is not Module.get_extra_state:
            destination[prefix + _EXTRA_STATE] = self.get_extra_state()

    def state_dict(self, *args, destination=None, prefix: str = "", keep_vars: bool = False):
        """Parameters and buffers by their full names, as an ordered dictionary."""
        if args:
            destination, prefix, keep_vars = (
                *args,
                *(destination, prefix, keep_vars)[len(args) :],
            )
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in self.__dict__.get("_state_dict_pre_hooks", {}).values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        for hook in self.__dict__.get("_state_dict_hooks", {}).values():
            returned = hook(self, destination, prefix, local_metadata)
            if returned is not None:
                if isinstance(hook, _PostHook):
                    raise RuntimeError("state_dict post-hook must return None")
                destination = returned
        return destination

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Registers `hook(module, state_dict, prefix, ...)`, to run before loading."""
        return self._add_hook("_load_state_dict_pre_hooks", _BoundHook(hook, self))

    def _register_load_state_dict_pre_hook(self, hook: Callable, with_module: bool = False):
        hook = _BoundHook(hook, self) if with_module else hook
        return self._add_hook("_load_state_dict_pre_hooks", hook)

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Registers `hook(module, incompatible_keys)`, to run after loading."""
        return self._add_hook("_load_state_dict_post_hooks", hook)

    def _load_from_state_dict(
        self,
        state_dict,
        prefix,
        local_metadata,
        strict,
        missing_keys,
        unexpected_keys,
        error_msgs,
    ):
        """Copies what belongs to this module, without its submodules, out of a state dict."""
        for hook in self.__dict__.get("_load_state_dict_pre_hooks", {}).values():
            hook(
                state_dict,
                prefix,
                local_metadata,
                strict,
                missing_keys,
                unexpected_keys,
                error_msgs,
            )
        assign = local_metadata.get("assign_to_params_buffers", False)
        state = {
            name: own
            for name, own in itertools.chain(self._parameters.items(), self._buffers.items())
            if own is not None and name not in self._non_persistent_buffers_set
        }
        for name, own in state.items():
            key = prefix + name
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            error = self._load_tensor(name, own, state_dict[key], key, assign)
            if error:
                error_msgs.append(error)
        extra = prefix + _EXTRA_STATE
        if type(self).set_extra_state is not Module.set_extra_state:
            if extra in state_dict:
                self.set_extra_state(state_dict[extra])
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra:
                    first, *rest = key[len(prefix) :].split(".", 1)
                    if first not in (self._modules if rest else state):
                        unexpected_keys.append(key)

    def _load_tensor(self, name, own, given, key, assign) -> str | None:
        """Copies one tensor; returns what is wrong with it."""
        if not isinstance(given, Tensor):
            return (
                f'While copying the parameter named "{key}", expected facula.Tensor or Tensor-like '
                f"object from checkpoint but received {type(given)}"
            )
        if own.dim() == 0 and given.dim() == 1 and given.shape[0] == 1:
            given = given[0]  # as checkpoints of old have scalars
        if given.shape != own.shape:
            return (
                f"size mismatch for {key}: copying a param with shape {given.shape} from "
                f"checkpoint, the shape in current model is {own.shape}."
            )
        try:
            with no_grad():
                if not assign:
                    own.copy_(given)
                elif isinstance(own, Parameter):
                    if not isinstance(given, Parameter):
                        given = Parameter(given, own.requires_grad)
                    setattr(self, name, given.requires_grad_(own.requires_grad))
                else:
                    setattr(self, name, given)
        except Exception as error:
            return (
                f'While copying the parameter named "{key}", whose dimensions in the model are '
                f"{own.size()} and whose dimensions in the checkpoint are {given.size()}, an "
                f"exception occurred : {error.args}."
            )
        return None

    def load_state_dict(
        self, state_dict: Mapping, strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copies parameters and buffers out of a state dict.

        With `strict`, its keys must be those of `state_dict()`. With `assign`, its tensors take the
        place of those of the module instead of being copied into them.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        missing, unexpected, errors = [], [], []
        metadata = getattr(state_dict, "_metadata", None)
        state_dict = OrderedDict(state_dict)
        if metadata is not None:
            state_dict._metadata = metadata

        def load(module, own_state, prefix=""):
            local = {} if metadata is None else metadata.get(prefix[:-1], {})
            if assign:
                local["assign_to_params_buffers"] = True
            module._load_from_state_dict(
                own_state, prefix, local, True, missing, unexpected, errors
            )
            for name, child in module._modules.items():
                if child is not None:
                    below = f"{prefix}{name}."
                    part = {k: v for k, v in own_state.items() if k.startswith(below)}
                    load(child, part, below)
            keys = _IncompatibleKeys(missing, unexpected)
            for hook in module.__dict__.get("_load_state_dict_post_hooks", {}).values():
                if hook(module, keys) is not None:
                    raise AssertionError(
                        "Hooks registered with ``register_load_state_dict_post_hook`` are not "
                        "expected to return new values, if incompatible_keys need to be modified, "
                        "it should be done inplace."
                    )

        load(self, state_dict)
        if strict:
            for kind, keys in (("Unexpected", unexpected), ("Missing", missing)):
                if keys:
                    names = ", ".join(f'"{key}"' for key in keys)
                    errors.insert(0, f"{kind} key(s) in state_dict: {names}. ")
        if errors:
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + "\n\t".join(errors)
            )
        return _IncompatibleKeys(missing, unexpected)

    # --- iteration -------------------------------------------------------------------------------

    def _named_members(self, members, prefix="", recurse=True, remove_duplicate=True):
        seen = set()
        modules = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        for path, module in modules:
            for name, value in members(module):
                if value is None or value in seen:
                    continue
                if remove_duplicate:
                    seen.add(value)
                yield f"{path}.{name}" if path else name, value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their full names."""
        return self._named_members(
            lambda module: module._parameters.items(), prefix, recurse, remove_duplicate
        )

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their full names."""
        return self._named_members(
            lambda module: module._buffers.items(), prefix, recurse, remove_duplicate
        )

    def children(self) -> Iterator[Module]:
        """The submodules, without theirs."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The submodules with their names, without theirs."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self) -> Iterator[Module]:
        """The module itself and all submodules, each once."""
        for _, module in self.named_modules():
            yield module

    def named_modules(self, memo: set | None = None, prefix: str = "", remove_duplicate=True):
        """The module itself and all submodules, with their full names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    # --- modes -----------------------------------------------------------------------------------

    def train(self, mode: bool = True):
        """Sets the training mode, here and below."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self):
        """Sets the evaluation mode: train(False)."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True):
        """Sets whether gradients are recorded for the parameters."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters."""
        for param in self.parameters():
            if param.grad is not None:
                param.grad = None if set_to_none else zeros_like(param.grad)

    # --- text ------------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What stands in the parentheses of the repr."""
        return ""

    def __repr__(self):
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_indented(repr(m))}" for name, m in self._modules.items()]
        if len(lines) == 1 and not children:
            return f"{self._get_name()}({lines[0]})"
        body = "\n  ".join(lines + children)
        return f"{self._get_name()}(\n  {body}\n)" if body else f"{self._get_name()}()"

    def __dir__(self):
        names = {*dir(type(self)), *self.__dict__}
        names.update(self._parameters, self._buffers, self._modules)
        return sorted(name for name in names if not name[0].isdigit())


class _PostHook:
    """Marks a state_dict hook that returns nothing."""

    def __init__(self, hook):
        self.hook = hook

    def __call__(self, *args):
        return self.hook(*args)


class _BoundHook:
    """A hook that gets the module as its first argument."""

    def __init__(self, hook, module):
        self.hook, self.module = hook, module

    def __call__(self, *args):
        return self.hook(self.module, *args)


def _to_arguments(*args, device=None, dtype=None, non_blocking=False, memory_format=None):
    """The arguments of `to`, which may be a tensor, a dtype, or a device and a dtype."""
    for arg in args:
        if isinstance(arg, Tensor):
            device, dtype = arg.device, arg.dtype
        elif isinstance(arg, _C.dtype):
            dtype = arg
        elif isinstance(arg, bool):
            non_blocking = arg
        elif arg is not None:
            device = _C.device(arg)
    return device, dtype, non_blocking, memory_format
