"""Activations."""

from ... import _C, empty
from .. import functional as F
from .. import init
from ..parameter import Parameter
from .module import Module


class _Inplace(Module):
    """An activation that has no setting but whether it overwrites its input."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class ReLU(_Inplace):
    """max(input, 0)."""

    forward = _C.Forward(F.relu, ("input",), ("inplace",))


class SELU(_Inplace):
    """ELU with the scales that keep mean and variance."""

    forward = _C.Forward(F.selu, ("input",), ("inplace",))


class SiLU(_Inplace):
    """input * sigmoid(input)."""

    forward = _C.Forward(F.silu, ("input",), ("inplace",))


class Mish(_Inplace):
    """input * tanh(softplus(input))."""

    forward = _C.Forward(F.mish, ("input",), ("inplace",))


class Hardsigmoid(_Inplace):
    """A piecewise linear sigmoid."""

    forward = _C.Forward(F.hardsigmoid, ("input",), ("inplace",))

    def extra_repr(self):
        return ""


class Hardswish(_Inplace):
    """input * hardsigmoid(input)."""

    forward = _C.Forward(F.hardswish, ("input",), ("inplace",))

    def extra_repr(self):
        return ""


class Sigmoid(Module):
    """1 / (1 + exp(-input))."""

    forward = _C.Forward(F.sigmoid, ("input",))


class Tanh(Module):
    """The hyperbolic tangent."""

    forward = _C.Forward(F.tanh, ("input",))


class LogSigmoid(Module):
    """log(sigmoid(input)), without overflow."""

    forward = _C.Forward(F.logsigmoid, ("input",))


class Softsign(Module):
    """input / (1 + |input|)."""

    forward = _C.Forward(F.softsign, ("input",))


class Tanhshrink(Module):
    """input - tanh(input)."""

    forward = _C.Forward(F.tanhshrink, ("input",))


class GELU(Module):
    """input times the normal distribution function of input."""

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input):
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self):
        return f"approximate={self.approximate!r}"


class Hardtanh(Module):
    """input limited to [min_val, max_val]."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False):
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace
        if min_val >= max_val:
            raise AssertionError("max_val must be larger than min_val")

    forward = _C.Forward(F.hardtanh, ("input",), ("min_val", "max_val", "inplace"))

    def extra_repr(self):
        inplace = ", inplace=True" if self.inplace else ""
        return f"min_val={self.min_val}, max_val={self.max_val}{inplace}"


class ReLU6(Hardtanh):
    """input limited to [0, 6]."""

    def __init__(self, inplace: bool = False):
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class LeakyReLU(Module):
    """input above 0, negative_slope * input below."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    forward = _C.Forward(F.leaky_relu, ("input",), ("negative_slope", "inplace"))

    def extra_repr(self):
        inplace = ", inplace=True" if self.inplace else ""
        return f"negative_slope={self.negative_slope}{inplace}"


class _Alpha(Module):
    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def extra_repr(self):
        inplace = ", inplace=True" if self.inplace else ""
        return f"alpha={self.alpha}{inplace}"


class ELU(_Alpha):
    """input above 0, alpha * (exp(input) - 1) below."""

    forward = _C.Forward(F.elu, ("input",), ("alpha", "inplace"))


class CELU(_Alpha):
    """ELU that is continuously differentiable for any alpha."""

    forward = _C.Forward(F.celu, ("input",), ("alpha", "inplace"))


class PReLU(Module):
    """LeakyReLU with a slope that is learned."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device=None, dtype=None):
        self.num_parameters = num_parameters
        super().__init__()
        self.init = init
        self.weight = Parameter(empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self):
        init.constant_(self.weight, self.init)

    forward = _C.Forward(F.prelu, ("input",), ("weight",))

    def extra_repr(self):
        return f"num_parameters={self.num_parameters}"


class GLU(Module):
    """The first half of a dimension times the sigmoid of the second."""

    def __init__(self, dim: int = -1):
        super().__init__()
        self.dim = dim

    forward = _C.Forward(F.glu, ("input",), ("dim",))

    def extra_repr(self):
        return f"dim={self.dim}"


class Softplus(Module):
    """log(1 + exp(beta * input)) / beta."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    forward = _C.Forward(F.softplus, ("input",), ("beta", "threshold"))

    def extra_repr(self):
        return f"beta={self.beta}, threshold={self.threshold}"


class Threshold(Module):
    """input above the threshold, value elsewhere."""

    def __init__(self, threshold: float, value: float, inplace: bool = False):
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    forward = _C.Forward(F.threshold, ("input",), ("threshold", "value", "inplace"))

    def extra_repr(self):
        inplace = ", inplace=True" if self.inplace else ""
        return f"threshold={self.threshold}, value={self.value}{inplace}"


class _AlongDim(Module):
    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def extra_repr(self):
        return f"dim={self.dim}"


class Softmax(_AlongDim):
    """exp(input) divided by its sum along a dimension."""

    forward = _C.Forward(F.softmax, ("input",), ("dim",))


class Softmin(_AlongDim):
    """Softmax of -input."""

    forward = _C.Forward(F.softmin, ("input",), ("dim",))


class LogSoftmax(_AlongDim):
    """log(softmax(input)), without overflow."""

    forward = _C.Forward(F.log_softmax, ("input",), ("dim",))
