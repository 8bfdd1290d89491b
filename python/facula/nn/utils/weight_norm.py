"""weight_norm by hooks; nn.utils.parametrizations has the newer form."""

from ... import linalg
from ..parameter import Parameter


def norm_except_dim(v, dim):
    """The 2-norms of the slices along a dimension, in a shape that broadcasts; of all with -1."""
    if dim == -1:
        return linalg.vector_norm(v)
    return linalg.vector_norm(v, dim=[i for i in range(v.dim()) if i != dim], keepdim=True)


def find_hook(module, cls, name):
    """(the key, the hook) of a class of hooks for a tensor; (None, None) without one."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, cls) and hook.name == name:
            return key, hook
    return None, None


class WeightNorm:
    """Computes a weight from lengths and directions before each forward."""

    def __init__(self, name, dim):
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module):
        """The weight."""
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return v * (g / norm_except_dim(v, self.dim))

    @staticmethod
    def apply(module, name, dim):
        """Registers the hook, and what it needs."""
        if find_hook(module, WeightNorm, name)[1]:
            raise RuntimeError(f"weight_norm: '{name}' of {type(module).__name__} has one already")
        hook = WeightNorm(name, dim)
        weight = getattr(module, name)
        delattr(module, name)
        g = norm_except_dim(weight.detach(), hook.dim)
        module.register_parameter(f"{name}_g", Parameter(g))
        module.register_parameter(f"{name}_v", Parameter(weight.detach()))
        setattr(module, name, hook.compute_weight(module))
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module):
        """Makes the weight a parameter again."""
        weight = self.compute_weight(module)
        for name in (self.name, f"{self.name}_g", f"{self.name}_v"):
            delattr(module, name)
        setattr(module, self.name, Parameter(weight.detach()))

    def __call__(self, module, inputs):
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module, name="weight", dim=0):
    """Makes a weight the product of lengths, `weight_g`, and directions, `weight_v`.

    Each slice along `dim` has a length; with None there is one for all.
    """
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module, name="weight"):
    """Makes the weight a parameter again, with its present value."""
    key, hook = find_hook(module, WeightNorm, name)
    if hook is None:
        raise ValueError(f"weight_norm of '{name}' not found in {type(module).__name__}")
    hook.remove(module)
    del module._forward_pre_hooks[key]
    return module
