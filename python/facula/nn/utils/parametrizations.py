"""Parametrizations of weights: weight_norm and spectral_norm."""

from ... import mv
from ...autograd.grad_mode import no_grad
from .. import functional as F
from ..modules.module import Module
from .parametrize import is_parametrized, register_parametrization
from .spectral_norm import output_dim
from .weight_norm import norm_except_dim


class _WeightNorm(Module):
    def __init__(self, dim=0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g, weight_v):
        return weight_v * (weight_g / norm_except_dim(weight_v, self.dim))

    def right_inverse(self, weight):
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module, name="weight", dim=0):
    """Makes a weight the product of lengths, `original0`, and directions, `original1`.

    Each slice along `dim` has a length; with None there is one for all.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    new = f"parametrizations.{name}.original"

    def take_old_names(state_dict, prefix, *rest):
        old = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}{new}{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(take_old_names)
    return module


class _SpectralNorm(Module):
    def __init__(self, weight, n_power_iterations=1, dim=0, eps=1e-12):
        super().__init__()
        if not -weight.dim() <= dim < weight.dim():
            raise IndexError(f"spectral_norm: dim {dim} of a weight with {weight.dim()} dimensions")
        if n_power_iterations <= 0:
            raise ValueError(
                f"spectral_norm: n_power_iterations must be positive, not {n_power_iterations}"
            )
        self.dim = dim % weight.dim()
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if weight.dim() > 1:
            with no_grad():
                matrix = self._as_matrix(weight)
                rows, columns = matrix.shape
                u = matrix.new_empty(rows).normal_(0, 1)
                v = matrix.new_empty(columns).normal_(0, 1)
                self.register_buffer("_u", F.normalize(u, dim=0, eps=eps))
                self.register_buffer("_v", F.normalize(v, dim=0, eps=eps))
                self._iterate(matrix, 15)

    def _as_matrix(self, weight):
        return weight.movedim(self.dim, 0).flatten(1)

    @no_grad()
    def _iterate(self, matrix, times):
        """Turns u and v towards the singular vectors of the largest singular value."""
        for _ in range(times):
            F.normalize(mv(matrix, self._v), dim=0, eps=self.eps, out=self._u)
            F.normalize(mv(matrix.mH, self._u), dim=0, eps=self.eps, out=self._v)

    def forward(self, weight):
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._as_matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        # Copies: another forward before backward goes on with the vectors themselves.
        u, v = self._u.clone(), self._v.clone()
        return weight / (u.conj() * mv(matrix, v)).sum()

    def right_inverse(self, value):
        return value


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """Divides a weight by its largest singular value, which each forward in training estimates.

    `dim` is that of the outputs: 0, and 1 for transposed convolutions.
    """
    tensors = module._parameters.keys() | module._buffers.keys()
    if name not in tensors and not is_parametrized(module, name):
        raise ValueError(f"{type(module).__name__} has no parameter or buffer named '{name}'")
    weight = getattr(module, name)
    dim = output_dim(module) if dim is None else dim
    register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
    return module
