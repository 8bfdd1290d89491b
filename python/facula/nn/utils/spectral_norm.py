"""spectral_norm by hooks; nn.utils.parametrizations has the newer form."""

from ... import mv
from ...autograd.grad_mode import no_grad
from .. import functional as F
from ..modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..parameter import Parameter
from .weight_norm import find_hook


def output_dim(module):
    """The dimension of the outputs in a module's weight."""
    return int(isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)))


class SpectralNorm:
    """Divides a weight by an estimate of its largest singular value before each forward."""

    def __init__(self, name="weight", n_power_iterations=1, dim=0, eps=1e-12):
        if n_power_iterations <= 0:
            raise ValueError(
                f"spectral_norm: n_power_iterations must be positive, not {n_power_iterations}"
            )
        self.name, self.dim, self.eps = name, dim, eps
        self.n_power_iterations = n_power_iterations

    def reshape_weight_to_matrix(self, weight):
        """The weight as a matrix, its dimension `dim` as rows."""
        return weight.movedim(self.dim, 0).flatten(1)

    def compute_weight(self, module, do_power_iteration):
        """The weight; the vectors that belong to the singular value are turned before."""
        weight = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        matrix = self.reshape_weight_to_matrix(weight)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    F.normalize(mv(matrix.t(), u), dim=0, eps=self.eps, out=v)
                    F.normalize(mv(matrix, v), dim=0, eps=self.eps, out=u)
            # Copies: another forward before backward goes on with the vectors themselves.
            u, v = u.clone(), v.clone()
        return weight / (u * mv(matrix, v)).sum()

    @staticmethod
    def apply(module, name, n_power_iterations, dim, eps):
        """Registers the hook, and what it needs."""
        if find_hook(module, SpectralNorm, name)[1]:
            raise RuntimeError(
                f"spectral_norm: '{name}' of {type(module).__name__} has one already"
            )
        hook = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters.get(name)
        if weight is None:
            raise ValueError(f"spectral_norm: '{name}' is None, or no parameter of the module")
        with no_grad():
            rows, columns = hook.reshape_weight_to_matrix(weight).shape
            u = F.normalize(weight.new_empty(rows).normal_(0, 1), dim=0, eps=eps)
            v = F.normalize(weight.new_empty(columns).normal_(0, 1), dim=0, eps=eps)
        delattr(module, name)
        module.register_parameter(f"{name}_orig", weight)
        setattr(module, name, weight.data)
        module.register_buffer(f"{name}_u", u)
        module.register_buffer(f"{name}_v", v)
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module):
        """Makes the weight a parameter again."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        for suffix in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + suffix)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module, inputs):
        weight = self.compute_weight(module, do_power_iteration=module.training)
        setattr(module, self.name, weight)


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """Divides a weight, kept as `weight_orig`, by its largest singular value.

    Each forward in training improves the estimate. `dim` is the dimension of the outputs: 0, and 1
    for transposed convolutions.
    """
    dim = output_dim(module) if dim is None else dim
    SpectralNorm.apply(module, name, n_power_iterations, dim, eps)
    return module


def remove_spectral_norm(module, name="weight"):
    """Makes the weight a parameter again, with its present value."""
    key, hook = find_hook(module, SpectralNorm, name)
    if hook is None:
        raise ValueError(f"spectral_norm of '{name}' not found in {type(module).__name__}")
    hook.remove(module)
    del module._forward_pre_hooks[key]
    return module
