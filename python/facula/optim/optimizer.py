"""The base of optimizers: parameter groups, state, hooks."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy

from .. import _C
from .._C import Tensor
from ..autograd.grad_mode import enable_grad, no_grad
from ..utils.hooks import RemovableHandle

_global_pre_hooks: dict[int, Callable] = OrderedDict()
_global_post_hooks: dict[int, Callable] = OrderedDict()

_foreach_add = _C._functions["_foreach_add_"]

required = object()  # a default that every group must set


def _add(hooks: dict, hook: Callable, prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """Registers `hook(optimizer, args, kwargs)`, to run before the step of every optimizer."""
    return _add(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """Registers `hook(optimizer, args, kwargs)`, to run after the step of every optimizer."""
    return _add(_global_post_hooks, hook)


def _with_hooks(step):
    """The step of a subclass, with the hooks around it."""

    @functools.wraps(step)
    def wrapper(self, *args, **kwargs):
        for hook in [*_global_pre_hooks.values(), *self._optimizer_step_pre_hooks.values()]:
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        f"{hook} must return None or a tuple of (new_args, new_kwargs), but got "
                        f"{changed}."
                    )
                args, kwargs = changed
        if _C._is_profiling():
            from ..autograd.profiler import record_function

            with record_function(f"Optimizer.step#{type(self).__name__}.step"):
                result = step(self, *args, **kwargs)
        else:
            result = step(self, *args, **kwargs)
        for hook in [*self._optimizer_step_post_hooks.values(), *_global_post_hooks.values()]:
            hook(self, args, kwargs)
        return result

    return wrapper


class Optimizer:
    """Changes parameters by their gradients.

    A subclass of ours defines `_update(group)`, one step for a parameter group; any other may
    define `step` as a whole.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.step)

    def __init__(self, params, defaults: dict):
        self.defaults = defaults
        self._make_hooks()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {params.type()}"
            )
        self.state = defaultdict(dict)
        self.param_groups = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _make_hooks(self):
        self._optimizer_step_pre_hooks = OrderedDict()
        self._optimizer_step_post_hooks = OrderedDict()
        self._optimizer_state_dict_pre_hooks = OrderedDict()
        self._optimizer_state_dict_post_hooks = OrderedDict()
        self._optimizer_load_state_dict_pre_hooks = OrderedDict()
        self._optimizer_load_state_dict_post_hooks = OrderedDict()

    def __getstate__(self):
        return {
            "defaults": self.defaults,
            "state": self.state,
            "param_groups": self.param_groups,
        }

    def __setstate__(self, state):
        self.__dict__.update(state)
        if "_optimizer_step_pre_hooks" not in self.__dict__:
            self._make_hooks()
        self.defaults.setdefault("differentiable", False)

    def __repr__(self):
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += (f"    {key}: {group[key]}" for key in sorted(group) if key != "params")
        return "\n".join([*lines, ")"])

    # --- stepping --------------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of all parameters, or sets them to 0."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param.grad = None
                elif param.grad is not None:
                    param.grad = param.grad.detach().zero_()

    @_with_hooks
    def step(self, closure: Callable | None = None):
        """One step. `closure` computes the loss, and its gradients, once more."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        enabled = _C.is_grad_enabled()
        _C._set_grad_enabled(False)
        try:
            for group in self.param_groups:
                self._update(group)
        finally:
            _C._set_grad_enabled(enabled)
        return loss

    def _update(self, group: dict) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no step()")

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Registers `hook(optimizer, args, kwargs)`, which may return other arguments of step."""
        return _add(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Registers `hook(optimizer, args, kwargs)`, to run after step."""
        return _add(self._optimizer_step_post_hooks, hook)

    # --- groups ----------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict) -> None:
        """Adds a group of parameters, with options of its own."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        params = list(params)
        named = [isinstance(param, tuple) for param in params]
        if any(named):
            if not all(named):
                raise ValueError(
                    "all optimizer params should be with/without names. Some param names are "
                    "missing"
                )
            param_group["param_names"] = [name for name, _ in params]
            params = [param for _, param in params]
        param_group["params"] = params
        if self.param_groups and any(named) != ("param_names" in self.param_groups[0]):
            raise ValueError(
                "all optimizer param groups should be with/without names. cannot add param group "
                f"{'with' if any(named) else 'without'} names to the optimizer"
            )
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {type(param)}"
                )
            if not self.defaults.get("differentiable") and not param.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    f"parameter group didn't specify a value of required optimization parameter "
                    f"{name}"
                )
            param_group.setdefault(name, default)
        if len(set(params)) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this "
                "will cause an error",
                stacklevel=3,
            )
        known = {param for group in self.param_groups for param in group["params"]}
        if not known.isdisjoint(params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    # --- state -----------------------------------------------------------------------------------

    def register_state_dict_pre_hook(self, hook: Callable, prepend=False) -> RemovableHandle:
        """Registers `hook(optimizer)`, to run before state_dict."""
        return _add(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend=False) -> RemovableHandle:
        """Registers `hook(optimizer, state_dict)`, which may return another state dict."""
        return _add(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend=False) -> RemovableHandle:
        """Registers `hook(optimizer, state_dict)`, which may return another state dict."""
        return _add(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend=False) -> RemovableHandle:
        """Registers `hook(optimizer)`, to run after load_state_dict."""
        return _add(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    def state_dict(self) -> dict:
        """The state and the options; parameters are numbered in the order of the groups."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers = {}
        groups = []
        for group in self.param_groups:
            packed = {key: value for key, value in group.items() if key != "params"}
            for param in group["params"]:
                numbers.setdefault(param, len(numbers))
            packed["params"] = [numbers[param] for param in group["params"]]
            groups.append(packed)
        state = {numbers.get(key, key): value for key, value in self.state.items()}
        result = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    @no_grad()
    def load_state_dict(self, state_dict: dict) -> None:
        """Takes state and options from a state dict."""
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        saved = deepcopy(state_dict["param_groups"])
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        numbers, params = [], []
        for group, saved_group in zip(self.param_groups, saved):
            if len(group["params"]) != len(saved_group["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of "
                    "optimizer's group"
                )
            numbers += saved_group["params"]
            params += group["params"]
            names = group.get("param_names")
            saved_group["params"] = group["params"]
            if names is not None:
                saved_group["param_names"] = names
        by_number = dict(zip(numbers, params))
        state = defaultdict(dict)
        for key, value in state_dict["state"].items():
            param = by_number.get(key)
            state[key if param is None else param] = _fitted(param, value)
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)


class FusedOptimizer(Optimizer):
    """An optimizer that updates all parameters of a group in one call.

    A subclass defines `_new_state`, and `_fused` for those parameters that have gradients, of which
    there is at least one.
    """

    def _new_state(self, param: Tensor, group: dict) -> dict:
        """The state of a parameter before its first step."""
        raise NotImplementedError

    def _fused(self, group: dict, params: tuple, grads: tuple, states: list[dict]) -> None:
        raise NotImplementedError

    def _with_gradients(self, group: dict) -> tuple[tuple, tuple, list[dict]]:
        """The parameters of a group that have gradients, these, and their states."""
        params = tuple(param for param in group["params"] if param.grad is not None)
        states = []
        for param in params:
            state = self.state[param]
            if not state:
                state.update(self._new_state(param, group))
            states.append(state)
        return params, tuple(param.grad for param in params), states

    def _update(self, group: dict) -> None:
        params, grads, states = self._with_gradients(group)
        if params:
            self._fused(group, params, grads, states)


def _fitted(param: Tensor | None, value, key=None):
    """A copy of a state that suits its parameter in dtype and device."""
    if isinstance(value, Tensor):
        if param is None or key == "step":
            return value.clone()
        dtype = param.dtype if param.is_floating_point() else value.dtype
        return value.to(dtype=dtype, device=param.device, copy=True)
    if isinstance(value, dict):
        return {k: _fitted(param, v, k) for k, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return type(value)(_fitted(param, v) for v in value)
    return value


def gather(states: list[dict], key: str) -> tuple:
    """One state of all parameters."""
    return tuple(state[key] for state in states)


def check_betas(betas) -> None:
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


def count(states: list[dict]) -> tuple:
    """One more step for all of them; the numbers of steps."""
    steps = gather(states, "step")
    _foreach_add(steps, 1)
    return steps


def single(value: float = 0.0) -> Tensor:
    """A number that stands among the states of a parameter."""
    return _C.tensor(float(value), dtype=_C._constants["float32"])


def check_options(
    lr, *, foreach=None, fused=None, differentiable=False, capturable=False, nonnegative=()
) -> None:
    """What all optimizers check. `nonnegative` has pairs of a name and a value."""
    for name, value in (("learning rate", lr), *nonnegative):
        if not 0.0 <= value:
            raise ValueError(f"Invalid {name}: {value}")
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if foreach and fused:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    if differentiable:
        raise NotImplementedError("differentiable=True is not there yet")
    if capturable:
        raise NotImplementedError("capturable=True is not there yet")
