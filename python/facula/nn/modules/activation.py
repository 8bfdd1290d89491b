"""Activations."""

from ... import _C, empty
from .. import functional as F
from .. import init
from ..parameter import Parameter
from .linear import NonDynamicallyQuantizableLinear
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


class MultiheadAttention(Module):
    """Attention of query, key and value, projected and cut into heads.

    Gives the result and, with need_weights, the weights (their mean over the heads, unless
    average_attn_weights is False). Without them the matrix of weights is never made.
    """

    def __init__(
        self,
        embed_dim,
        num_heads,
        dropout=0.0,
        bias=True,
        add_bias_kv=False,
        add_zero_attn=False,
        kdim=None,
        vdim=None,
        batch_first=False,
        device=None,
        dtype=None,
    ):
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                "embed_dim and num_heads must be greater than 0, got "
                f"embed_dim={embed_dim} and num_heads={num_heads} instead"
            )
        if embed_dim % num_heads:
            raise AssertionError("embed_dim must be divisible by num_heads")
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        self.add_zero_attn = add_zero_attn

        def register(name, wanted, *shape):
            new = Parameter(empty(shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, new)

        same = self._qkv_same_embed_dim
        for name, size in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
            register(f"{name}_proj_weight", not same, embed_dim, size)
        register("in_proj_weight", same, 3 * embed_dim, embed_dim)
        register("in_proj_bias", bias, 3 * embed_dim)
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias=bias, device=device, dtype=dtype
        )
        register("bias_k", add_bias_kv, 1, 1, embed_dim)
        register("bias_v", add_bias_kv, 1, 1, embed_dim)
        self._reset_parameters()

    def _reset_parameters(self):
        if self._qkv_same_embed_dim:
            init.xavier_uniform_(self.in_proj_weight)
        else:
            for name in "qkv":
                init.xavier_uniform_(getattr(self, f"{name}_proj_weight"))
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        if self.bias_k is not None:
            init.xavier_normal_(self.bias_k)
            init.xavier_normal_(self.bias_v)

    def forward(
        self,
        query,
        key,
        value,
        key_padding_mask=None,
        need_weights=True,
        attn_mask=None,
        average_attn_weights=True,
        is_causal=False,
    ):
        return F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
            _batch_first=self.batch_first,
        )
