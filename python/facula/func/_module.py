"""Modules under function transforms: their state as an argument."""

from .. import stack


def functional_call(
    module, parameter_and_buffer_dicts, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """Calls a module with other tensors in the place of its parameters and buffers.

    They come by name, in a dictionary or in several without common names. Buffers that forward
    replaces are replaced in a single dictionary, not in the module. A tensor that the module has
    under several names is replaced under all of them, unless tie_weights=False. `strict` requires
    exactly the names of the module.
    """
    given = parameter_and_buffer_dicts
    if isinstance(given, (list, tuple)):
        if not all(isinstance(one, dict) for one in given):
            kinds = [type(one).__name__ for one in given]
            raise ValueError(f"functional_call: a sequence of dictionaries is needed, not {kinds}")
        names = [name for one in given for name in one]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"functional_call: {twice} are in more than one dictionary")
        given = {name: value for one in given for name, value in one.items()}
    elif not isinstance(given, dict):
        raise ValueError(
            "functional_call: tensors come in a dictionary, or a list or tuple of them, not "
            f"{type(given).__name__}"
        )
    from ..nn.utils.stateless import functional_call

    return functional_call(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models):
    """(parameters, buffers) of models of one class, stacked along a new first dimension.

    They are dictionaries by name, and leaves: to be trained together, under vmap.
    """
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: at least one model is needed")
    if any(type(model) is not type(models[0]) for model in models):
        raise RuntimeError("stack_module_state: the models must be of one class")
    if any(model.training != models[0].training for model in models):
        raise RuntimeError("stack_module_state: the models must all be in train or in eval mode")
    parameters = [dict(model.named_parameters()) for model in models]
    buffers = [dict(model.named_buffers()) for model in models]
    return (
        {name: _stacked(name, parameters) for name in parameters[0]},
        {name: _stacked(name, buffers) for name in buffers[0]},
    )


def _stacked(name, states):
    tensors = [state[name] for state in states]
    requires_grad = tensors[0].requires_grad
    if any(tensor.requires_grad != requires_grad for tensor in tensors):
        raise RuntimeError(f"stack_module_state: {name} requires gradients in some models only")
    return stack(tensors).detach().requires_grad_(requires_grad)


def replace_all_batch_norm_modules_(root):
    """Takes the running statistics out of every batch norm in a module, and returns the module."""
    from ..nn.modules.batchnorm import _BatchNorm

    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = None
            module.num_batches_tracked = None
            module.track_running_stats = False
    return root
