"""Parametrizations of weights: weight_norm, spectral_norm and orthogonal."""

from ... import Tensor, cat, eye, geqrf, linalg, matrix_exp, mv, zeros_like
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


def _orthonormalized(matrix):
    """Q of Q R with a positive diagonal of R: a matrix that is orthonormal stays what it is."""
    q, r = linalg.qr(matrix)
    return q * r.diagonal(0, -2, -1).sgn().unsqueeze(-2)


class _Orthogonal(Module):
    """Tall matrices with orthonormal columns, or wide ones with such rows.

    With a base the weight is the base times the map of the parameter, which begins where the map
    is the identity; without one it is the map itself, which only "householder" can invert.
    """

    MAPS = ("matrix_exp", "cayley", "householder")

    def __init__(self, orthogonal_map, use_trivialization):
        super().__init__()
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x):
        wide = x.shape[-2] < x.shape[-1]
        x = x.mT if wide else x
        q = self._reflections(x) if self.orthogonal_map == "householder" else self._rotation(x)
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if wide else q

    def _reflections(self, x):
        """A product of reflectors; the diagonal of x holds the signs of its columns."""
        vectors = x.tril(-1)
        q = linalg.householder_product(vectors, 2 / (1 + vectors.square().sum(-2)))
        return q * x.diagonal(0, -2, -1).int().unsqueeze(-2)

    def _rotation(self, x):
        """The first columns of a function of the skew-Hermitian matrix with the lower part of x."""
        n, k = x.shape[-2:]
        lower = cat([x.tril(), x.new_zeros(*x.shape[:-1], n - k)], -1)
        skew = lower - lower.mH
        if self.orthogonal_map == "matrix_exp":
            return matrix_exp(skew)[..., :k]
        one = eye(n, dtype=x.dtype, device=x.device)
        return linalg.solve(one - skew / 2, one + skew / 2)[..., :k]

    @no_grad()
    def right_inverse(self, q):
        wide = q.shape[-2] < q.shape[-1]
        tall = q.mT if wide else q
        n, k = tall.shape[-2:]
        if hasattr(self, "base"):
            rest = tall.new_empty(*tall.shape[:-1], n - k).normal_()
            self.base = _orthonormalized(cat([tall, rest], -1))
            start = zeros_like(tall)
            start.diagonal(0, -2, -1).fill_(-1)
        elif self.orthogonal_map == "householder":
            start, tau = geqrf(tall)
            # where tau is 0 there was no reflection, and the map makes one
            signs = start.diagonal(0, -2, -1)
            signs.copy_(signs.sgn() * (1 - 2 * (tau == 0).int()))
        else:
            raise NotImplementedError(
                "without trivialization only weights of the householder map can be assigned"
            )
        return start.mT if wide else start


def orthogonal(module, name="weight", orthogonal_map=None, *, use_trivialization=True):
    """Keeps a weight orthonormal (unitary) in its columns, or in its rows where it is wide.

    The map is "matrix_exp" or "cayley", of a skew-Hermitian matrix, or "householder", a product of
    reflections of a real one; None takes the first for square and complex weights, else the last.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"{type(module).__name__} has no parameter or buffer named '{name}'")
    if weight.ndim < 2:
        raise ValueError(f"expected a matrix or a batch of matrices, not {weight.ndim} dimensions")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _Orthogonal.MAPS:
        raise ValueError(f"orthogonal_map must be one of {_Orthogonal.MAPS}, not {orthogonal_map}")
    if orthogonal_map == "householder" and weight.is_complex():
        raise ValueError("the householder map takes no complex weights")
    part = _Orthogonal(orthogonal_map, use_trivialization)
    register_parametrization(module, name, part, unsafe=True)
    return module
