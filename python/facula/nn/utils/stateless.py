"""Calling a module with other tensors in the place of its parameters and buffers."""

from contextlib import contextmanager

from ..._C import Tensor

_ABSENT = object()


def _named_tensors(module):
    """Every name of every parameter and buffer, with its tensor."""
    names = {}
    for path, part in module.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        for registry in (part._parameters, part._buffers):
            for name, tensor in registry.items():
                if tensor is not None:
                    names[prefix + name] = tensor
    return names


def _with_tied(given, names):
    """The given tensors, also under the other names of those that they stand for."""
    ties = {}
    for name, tensor in names.items():
        ties.setdefault(id(tensor), []).append(name)
    all_given = dict(given)
    for name, value in given.items():
        if name not in names:
            continue
        tied = ties[id(names[name])]
        if any(other in given and given[other] is not value for other in tied):
            clash = sorted(other for other in tied if other in given)
            raise ValueError(
                f"functional_call: {clash} are names of one tensor, and got different values. "
                "With tie_weights=False they are independent."
            )
        all_given.update(dict.fromkeys(tied, value))
    return all_given


def _check_keys(module, given, names):
    unexpected, missing = sorted(given.keys() - names), sorted(names - given.keys())
    if unexpected or missing:
        raise RuntimeError(
            f"functional_call of {type(module).__name__} with strict=True: "
            f"unexpected names {unexpected}, missing names {missing}"
        )


def _swap(module, name, value):
    """Puts a value in the place of another; returns what was there before."""
    for registry in (module._parameters, module._buffers):
        if name in registry:
            old, registry[name] = registry[name], value
            return old
    if isinstance(getattr(type(module), name, None), property):
        raise AttributeError(
            f"{type(module).__name__}.{name} is computed: a parametrized tensor goes by the names "
            f"of what it is computed from, parametrizations.{name}.original"
        )
    old = getattr(module, name, _ABSENT)
    if old is not _ABSENT and not isinstance(old, Tensor):
        raise TypeError(
            f"functional_call: `{name}` of {type(module).__name__} is {type(old).__name__}, not a "
            "Tensor"
        )
    if value is _ABSENT:
        del module.__dict__[name]
    else:
        module.__dict__[name] = value
    return old


@contextmanager
def _reparametrize_module(module, given, *, tie_weights=False, strict=False):
    """Inside, the module has the given tensors; what forward puts in their place, `given` gets."""
    swapped = given
    if tie_weights or strict:
        names = _named_tensors(module)
        swapped = _with_tied(given, names) if tie_weights else given
        if strict:
            _check_keys(module, swapped, names.keys())
    before = []
    try:
        for full_name, value in swapped.items():
            if not full_name:
                raise KeyError("functional_call: a name is empty")
            if not (value is None or isinstance(value, Tensor)):
                raise TypeError(
                    f"functional_call: `{full_name}` is given {type(value).__name__}, not a Tensor"
                )
            path, _, name = full_name.rpartition(".")
            part = module.get_submodule(path)
            before.append((full_name, part, name, _swap(part, name, value)))
        yield
    finally:
        for full_name, part, name, old in reversed(before):
            left = _swap(part, name, old)
            if full_name in given:
                given[full_name] = left


def functional_call(
    module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """Calls a module with these tensors, by name, in the place of its parameters and buffers.

    Buffers that forward replaces are replaced in the dictionary, not in the module. A tensor that
    the module has under several names is replaced under all of them, unless tie_weights=False.
    `strict` requires exactly the names of the module.
    """
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with _reparametrize_module(
        module, parameters_and_buffers, tie_weights=tie_weights, strict=strict
    ):
        return module(*args, **({} if kwargs is None else kwargs))
