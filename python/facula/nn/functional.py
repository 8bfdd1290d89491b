"""The functions behind the layers.

Most are operators of the core and stand here as they are. Python functions remain where the
interface has something that an operator does not: `inplace=`, `reduction="mean"`, old spellings.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

from .. import _C, full_like
from .._C import Tensor
from ..autograd.grad_mode import no_grad
from ._attention import multi_head_attention_forward as multi_head_attention_forward

globals().update(_C._published("nn.functional"))
_ops = SimpleNamespace(**_C._functions)

# Operators that stand elsewhere and belong here too.
avg_pool1d = _ops.avg_pool1d
conv1d = _ops.conv1d
conv2d = _ops.conv2d
conv3d = _ops.conv3d
conv_transpose1d = _ops.conv_transpose1d
conv_transpose2d = _ops.conv_transpose2d
conv_transpose3d = _ops.conv_transpose3d
cosine_similarity = _ops.cosine_similarity
group_norm = _ops.group_norm
layer_norm = _ops.layer_norm
linear = _ops.linear
log_softmax = _ops.log_softmax
pairwise_distance = _ops.pairwise_distance
relu_ = _ops.relu_
rms_norm = _ops.rms_norm
sigmoid = _ops.sigmoid
softmax = _ops.softmax
softmin = _ops.softmin
softplus = _ops.softplus
tanh = _ops.tanh
threshold_ = _ops.threshold_

# --- activations ----------------------------------------------------------------------------------


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0), elementwise."""
    return _ops.relu_(input) if inplace else _ops.relu(input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """input limited to [0, 6]."""
    return hardtanh(input, 0.0, 6.0, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input above 0, negative_slope * input below."""
    return (_ops.leaky_relu_ if inplace else _ops.leaky_relu)(input, negative_slope)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """leaky_relu with a slope that is learned, one for all channels or one each."""
    if weight.dim() > 1:
        raise RuntimeError(f"prelu(): weight must have at most one dimension, got {weight.dim()}")
    if weight.numel() == 1:
        weight = weight.view(())
    else:
        if input.dim() < 2 or weight.numel() != input.shape[1]:
            raise RuntimeError(
                f"prelu(): weight has {weight.numel()} elements, input has shape "
                f"{tuple(input.shape)}; it takes one element or one for each channel (dim 1)"
            )
        weight = weight.view(-1, *[1] * (input.dim() - 2))
    return _ops.where(input > 0, input, weight * input)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input above 0, alpha * (exp(input) - 1) below."""
    return (_ops.elu_ if inplace else _ops.elu)(input, alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """elu with the scales that keep mean and variance."""
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    return (_ops.elu_ if inplace else _ops.elu)(input, alpha, scale)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """elu that is continuously differentiable for any alpha."""
    return (_ops.elu_ if inplace else _ops.elu)(input, alpha, 1.0, 1.0 / alpha)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input * sigmoid(input)."""
    return _ops.silu_(input) if inplace else _ops.silu(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * tanh(softplus(input))."""
    return _ops.mish_(input) if inplace else _ops.mish(input)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """input limited to [min_val, max_val]."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return (_ops.hardtanh_ if inplace else _ops.hardtanh)(input, min_val, max_val)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """A piecewise linear sigmoid."""
    return _ops.hardsigmoid_(input) if inplace else _ops.hardsigmoid(input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """input * hardsigmoid(input)."""
    return _ops.hardswish_(input) if inplace else _ops.hardswish(input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """input above the threshold, value elsewhere."""
    return (_ops.threshold_ if inplace else _ops.threshold)(input, threshold, value)


def softsign(input: Tensor) -> Tensor:
    """input / (1 + |input|)."""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input)."""
    return input - input.tanh()


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half of a dimension times the sigmoid of the second."""
    if input.dim() == 0 or input.shape[dim] % 2:
        raise RuntimeError(
            f"glu(): Halving dimension must be even, but the shape is {tuple(input.shape)} and "
            f"dim is {dim}"
        )
    a, b = input.chunk(2, dim)
    return a * b.sigmoid()


# --- dropout --------------------------------------------------------------------------------------


def _check_probability(p: float) -> None:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zeroes elements with probability p in training, and scales the others by 1 / (1 - p)."""
    _check_probability(p)
    return (_ops.dropout_ if inplace else _ops.dropout)(input, p, training)


def _channel_dropout(input, p, training, inplace, kept):
    """Noise over the first `kept` dimensions, the same along the others."""
    _check_probability(p)
    if not training or p == 0.0:
        return input
    shape = [*input.shape[:kept], *[1] * (input.dim() - kept)]
    noise = _ops.bernoulli(input.new_empty(shape), 1 - p)
    if p < 1.0:
        noise.div_(1 - p)
    return input.mul_(noise) if inplace else input * noise


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False):
    """Zeroes whole channels of (N, C, L) or (C, L)."""
    return _channel_dropout(input, p, training, inplace, max(input.dim() - 1, 1))


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False):
    """Zeroes whole channels of (N, C, H, W); three dimensions are read as (N, C, L)."""
    return _channel_dropout(input, p, training, inplace, 2)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False):
    """Zeroes whole channels of (N, C, D, H, W) or (C, D, H, W)."""
    return _channel_dropout(input, p, training, inplace, max(input.dim() - 3, 1))


# --- embedding ------------------------------------------------------------------------------------


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of `weight` by the indices in `input`."""
    if padding_idx is None:
        padding_idx = -1
    else:
        rows = weight.shape[0]
        if not -rows <= padding_idx < rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= rows
    if max_norm is not None:
        with no_grad():
            _ops.embedding_renorm_(weight, input.contiguous(), max_norm, norm_type)
    return _ops.embedding(weight, input, padding_idx, scale_grad_by_freq, sparse)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of rows of `weight`: of each row of indices in a 2-D `input`, or of
    the indices from one of `offsets` to the next."""
    _check_bags(input, weight, offsets, scale_grad_by_freq, mode, sparse, per_sample_weights)
    if padding_idx is not None and not -weight.shape[0] <= padding_idx < weight.shape[0]:
        raise AssertionError("padding_idx must be within the number of embeddings")
    if input.dim() == 2:
        count, length = input.shape
        offsets = _ops.arange(count + include_last_offset, device=input.device) * length
        input = input.reshape(-1)
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape(-1)
    if max_norm is not None:
        with no_grad():
            _ops.embedding_renorm_(weight, input.contiguous(), max_norm, norm_type)
    return _ops.embedding_bag(
        weight,
        input,
        offsets,
        scale_grad_by_freq,
        _BAG_MODES[mode],
        sparse,
        per_sample_weights,
        include_last_offset,
        padding_idx,
    )[0]


_BAG_MODES = {"sum": 0, "mean": 1, "max": 2}


def _check_bags(input, weight, offsets, scale_grad_by_freq, mode, sparse, per_sample_weights):
    if per_sample_weights is not None and input.shape != per_sample_weights.shape:
        raise ValueError(
            f"per_sample_weights {tuple(per_sample_weights.shape)} must have the shape of the "
            f"input {tuple(input.shape)}"
        )
    if weight.dim() != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got a {weight.dim()}D one")
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError("if input is 2D, its rows are the bags and offsets has to be None")
    elif input.dim() != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got a {input.dim()}D one")
    elif offsets is None or offsets.dim() != 1:
        kind = "None" if offsets is None else f"a {offsets.dim()}D one"
        raise ValueError(f"offsets has to be a 1D Tensor but got {kind}")
    if mode not in _BAG_MODES:
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            f"per_sample_weights is only supported for mode='sum' (got mode='{mode}')"
        )


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """A new last dimension that is 1 at the index and 0 elsewhere."""
    if num_classes == -1:
        if tensor.numel() == 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        num_classes = int(tensor.max()) + 1
    zeros = tensor.new_zeros(*tensor.shape, num_classes)
    try:
        return zeros.scatter_(-1, tensor.unsqueeze(-1), 1)
    except IndexError:
        raise RuntimeError(f"Class values must be in [0, {num_classes}).") from None


# --- pooling --------------------------------------------------------------------------------------


def _max_pool(n):
    plain = _C._functions[f"max_pool{n}d"]
    both = _C._functions[f"max_pool{n}d_with_indices"]

    def max_pool(
        input,
        kernel_size,
        stride=None,
        padding=0,
        dilation=1,
        ceil_mode=False,
        return_indices=False,
    ):
        """The largest element of each window; with return_indices also where it stands."""
        stride = [] if stride is None else stride
        pool = both if return_indices else plain
        return pool(input, kernel_size, stride, padding, dilation, ceil_mode)

    max_pool.__name__ = max_pool.__qualname__ = f"max_pool{n}d"
    return max_pool


max_pool1d, max_pool2d, max_pool3d = _max_pool(1), _max_pool(2), _max_pool(3)


def _output_size(input, output_size, n):
    """None stands for the size that the dimension has."""
    if not isinstance(output_size, tuple | list) or None not in output_size:
        return output_size
    sizes = input.shape[input.dim() - n :]
    return [size if wanted is None else wanted for size, wanted in zip(sizes, output_size)]


def _adaptive_avg_pool(n):
    pool = _C._functions[f"adaptive_avg_pool{n}d"]

    def adaptive_avg_pool(input, output_size):
        """Means of windows that divide the last dimensions evenly."""
        return pool(input, _output_size(input, output_size, n))

    adaptive_avg_pool.__name__ = adaptive_avg_pool.__qualname__ = f"adaptive_avg_pool{n}d"
    return adaptive_avg_pool


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = map(_adaptive_avg_pool, (1, 2, 3))


def _adaptive_max_pool(n):
    both = _C._functions[f"adaptive_max_pool{n}d"]

    def adaptive_max_pool(input, output_size, return_indices=False):
        """Maxima of windows that divide the last dimensions evenly."""
        result = both(input, _output_size(input, output_size, n))
        return result if return_indices else result[0]

    adaptive_max_pool.__name__ = adaptive_max_pool.__qualname__ = f"adaptive_max_pool{n}d"
    return adaptive_max_pool


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = map(_adaptive_max_pool, (1, 2, 3))


# --- resizing -------------------------------------------------------------------------------------

_MODES = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}  # by spatial dimensions


def _resized(input, size, scale_factor, n):
    """The sizes and the factors, one a dimension, of which one is given."""
    if (size is None) == (scale_factor is None):
        given = "only one of size or scale_factor should be defined"
        missing = "either size or scale_factor should be defined"
        raise ValueError(missing if size is None else given)
    if scale_factor is None:
        sizes = list(size) if isinstance(size, (list, tuple)) else [size] * n
        factors = None
    else:
        single = not isinstance(scale_factor, (list, tuple))
        factors = [float(f) for f in ([scale_factor] * n if single else scale_factor)]
        sizes = [int(s * f) for s, f in zip(input.shape[2:], factors)]
    if len(sizes) != n or (factors and len(factors) != n):
        raise ValueError(
            f"Input and output must have the same number of spatial dimensions, but got input with "
            f"spatial dimensions of {list(input.shape[2:])} and output size of {sizes}."
        )
    return sizes, factors


def interpolate(
    input: Tensor,
    size=None,
    scale_factor=None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """The input with other spatial sizes, which are given, or a factor of the present ones.

    `mode` is nearest, nearest-exact, area, linear (3-D input), bilinear, bicubic (4-D) or trilinear
    (5-D); the last four may align the corners of both.
    """
    n = input.ndim - 2
    if antialias:
        raise NotImplementedError("interpolate: antialias=True is not there yet")
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | "
                "bilinear | bicubic | trilinear"
            )
    elif mode not in _MODES or _MODES[mode] != n:
        raise NotImplementedError(
            "Input Error: Only 3D, 4D and 5D input Tensors supported (got "
            f"{input.ndim}D) for the modes: nearest | linear | bilinear | bicubic | trilinear | "
            f"area | nearest-exact (got {mode})"
        )
    sizes, factors = _resized(input, size, scale_factor, n)
    if recompute_scale_factor and factors is None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[n - 1](input, sizes)
    scales = [] if recompute_scale_factor or factors is None else factors
    return _ops._interpolate(input, sizes, mode, bool(align_corners), scales)


def upsample(input: Tensor, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """interpolate."""
    return interpolate(input, size, scale_factor, mode, align_corners)


# --- normalization --------------------------------------------------------------------------------


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 over batch and space of each channel, then scale and shift."""
    if training and input.numel() == (input.shape[1] if input.dim() > 1 else 1) > 0:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {input.shape}"
        )
    if eps < 0 or (training and eps == 0):
        kind = "positive during training" if training else "non-negative"
        raise ValueError(f"batch_norm eps must be {kind}, but got {eps}")
    return _ops.batch_norm(
        input, weight, bias, running_mean, running_var, training, momentum, eps, True
    )


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Mean 0 and variance 1 over the space of each channel of each sample."""
    return _ops.instance_norm(
        input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, True
    )


def normalize(
    input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """input divided by its norm along a dimension."""
    return _ops._normalize(input, p, dim, eps, out=out)


# --- losses ---------------------------------------------------------------------------------------

_REDUCTIONS = {"none": 0, "mean": 1, "sum": 2}


def _reduction(reduction: str, size_average=None, reduce=None) -> int:
    """The number of a reduction; size_average and reduce are its spelling of old."""
    if size_average is not None or reduce is not None:
        average = size_average is None or size_average
        return 0 if reduce is not None and not reduce else 1 if average else 2
    try:
        return _REDUCTIONS[reduction]
    except KeyError:
        raise ValueError(f"{reduction} is not a valid value for reduction") from None


def _check_sizes(name: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        import warnings

        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average=None,
    ignore_index: int = -100,
    reduce=None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The negative logarithm of the softmax of `input` at the target class.

    `target` holds class indices, or probabilities in the shape of `input`.
    """
    how = _reduction(reduction, size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if ignore_index >= 0 and target.is_floating_point():
        raise RuntimeError("ignore_index is not supported for floating point target")
    return _ops.cross_entropy_loss(input, target, weight, how, ignore_index, label_smoothing)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average=None,
    ignore_index: int = -100,
    reduce=None,
    reduction: str = "mean",
) -> Tensor:
    """The negative of `input`, log-probabilities, at the target class."""
    how = _reduction(reduction, size_average, reduce)
    return _ops.nll_loss_nd(input, target, weight, how, ignore_index)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average=None,
    reduce=None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The squared error."""
    _check_sizes("mse_loss", input, target)
    how = _reduction(reduction, size_average, reduce)
    if weight is None:
        return _ops.mse_loss(input, target, how)
    return _weighted(_ops.mse_loss(input, target, 0), weight, how)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average=None,
    reduce=None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The absolute error."""
    _check_sizes("l1_loss", input, target)
    how = _reduction(reduction, size_average, reduce)
    if weight is None:
        return _ops.l1_loss(input, target, how)
    return _weighted(_ops.l1_loss(input, target, 0), weight, how)


def _weighted(loss: Tensor, weight: Tensor, reduction: int) -> Tensor:
    loss = loss * weight
    return loss if reduction == 0 else loss.sum() / weight.sum() if reduction == 1 else loss.sum()


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average=None,
    reduce=None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """The squared error below beta, the absolute error above."""
    _check_sizes("smooth_l1_loss", input, target)
    how = _reduction(reduction, size_average, reduce)
    if beta == 0.0:
        return _ops.l1_loss(input, target, how)
    return _ops.smooth_l1_loss(input, target, how, beta)


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Half the squared error below delta, delta times the absolute error above."""
    _check_sizes("huber_loss", input, target)
    how = _reduction(reduction)
    if weight is None:
        return _ops.huber_loss(input, target, how, delta)
    return _weighted(_ops.huber_loss(input, target, 0, delta), weight, how)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average=None,
    reduce=None,
    reduction: str = "mean",
) -> Tensor:
    """The cross entropy of probabilities with targets in [0, 1]."""
    how = _reduction(reduction, size_average, reduce)
    if target.size() != input.size():
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}) is deprecated. Please ensure they have the same size."
        )
    return _ops.binary_cross_entropy(input, target, weight, how)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average=None,
    reduce=None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """binary_cross_entropy of the sigmoid of `input`, without overflow."""
    how = _reduction(reduction, size_average, reduce)
    if target.size() != input.size():
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})"
        )
    return _ops.binary_cross_entropy_with_logits(input, target, weight, pos_weight, how)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average=None,
    reduce=None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """The Kullback-Leibler divergence of `target` from exp(`input`)."""
    if reduction == "batchmean":
        loss = _ops.kl_div(input, target, 2, log_target=log_target)
        return loss / input.shape[0] if input.dim() else loss
    how = _reduction(reduction, size_average, reduce)
    return _ops.kl_div(input, target, how, log_target=log_target)


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average=None, reduce=None, reduction: str = "mean"
) -> Tensor:
    """log(1 + exp(-target * input))."""
    return _ops.soft_margin_loss(input, target, _reduction(reduction, size_average, reduce))


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average=None,
    reduce=None,
    reduction: str = "mean",
) -> Tensor:
    """input where the target is 1, max(0, margin - input) where it is -1."""
    how = _reduction(reduction, size_average, reduce)
    return _ops.hinge_embedding_loss(input, target, margin, how)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average=None,
    reduce=None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -target * (input1 - input2) + margin)."""
    how = _reduction(reduction, size_average, reduce)
    return _ops.margin_ranking_loss(input1, input2, target, margin, how)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average=None,
    reduce=None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cosine where the target is 1, max(0, cosine - margin) where it is -1."""
    how = _reduction(reduction, size_average, reduce)
    if target.dim() > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if {input1.dim(), input2.dim()} != {target.dim() + 1}:
        raise RuntimeError(
            f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but found "
            f"inputs with sizes {tuple(input1.shape)} and {tuple(input2.shape)}"
        )
    return _ops.cosine_embedding_loss(input1, input2, target, margin, how)


def _check_triplet(anchor: Tensor, positive: Tensor, negative: Tensor) -> None:
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.dim()}D, positive {positive.dim()}D, and "
            f"negative {negative.dim()}D inputs"
        )


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average=None,
    reduce=None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin) for the p-norm distance d."""
    how = _reduction(reduction, size_average, reduce)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_triplet(anchor, positive, negative)
    return _ops.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, how)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function=None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """triplet_margin_loss for any distance."""
    how = _reduction(reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_triplet(anchor, positive, negative)
    distance = distance_function or pairwise_distance
    far = distance(anchor, negative)
    if swap:
        far = _ops.minimum(far, distance(positive, negative))
    return _ops._reduced((distance(anchor, positive) - far + margin).clamp(min=0), how)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average=None,
    reduce=None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over the other classes of max(0, margin - input at the target + input) ** p."""
    how = _reduction(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    input = input.reshape(1) if input.dim() == 0 else input
    if weight is not None and weight.shape != input.shape[-1:]:
        raise RuntimeError(
            f"inconsistent weight size, expected {input.shape[-1]} but got {list(weight.shape)}"
        )
    if input.dim() > 2 or target.shape != input.shape[:-1] and target.numel() != 1:
        raise RuntimeError(
            f"inconsistent target size, got: {tuple(target.shape)} for an input of "
            f"{tuple(input.shape)}"
        )
    target = target.reshape(input.shape[:-1]).unsqueeze(-1)
    loss = (margin - input.gather(-1, target) + input).clamp(min=0)
    if p == 2:
        loss = loss.square()
    if weight is not None:
        loss = loss * weight[target]
    return _ops._reduced(loss.scatter(-1, target, 0).sum(-1) / input.shape[-1], how)


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average=None, reduce=None, reduction: str = "mean"
) -> Tensor:
    """The mean over pairs of a target class and another one of max(0, 1 - the difference).

    The target classes of a row stand in front of its first negative number.
    """
    how = _reduction(reduction, size_average, reduce)
    if input.dim() > 2 or target.shape != input.shape:
        raise RuntimeError(
            f"inconsistent target size: {tuple(target.shape)} for input of size: "
            f"{tuple(input.shape)}"
        )
    shape = input.shape
    input, target = (t.reshape(-1, shape[-1] if shape else 1) for t in (input, target))
    counts = (target >= 0).cumprod(-1).bool()
    classes = target.masked_fill(~counts, 0)
    wanted = _ops.zeros_like(classes).scatter_add(-1, classes, counts.long()) > 0
    gaps = (1 - input.gather(-1, classes).unsqueeze(-1) + input.unsqueeze(-2)).clamp(min=0)
    gaps = gaps.masked_fill(wanted.unsqueeze(-2) | ~counts.unsqueeze(-1), 0)
    loss = gaps.sum((-2, -1)) / input.shape[-1]
    return _ops._reduced(loss if len(shape) == 2 else loss.reshape(()), how)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average=None,
    reduce=None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over the classes of binary_cross_entropy_with_logits."""
    how = _reduction(reduction, size_average, reduce)
    loss = _ops._weighted(_ops._logits_entropy(input, target), weight)
    return _ops._reduced(loss.mean(-1), how)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average=None,
    eps: float = 1e-8,
    reduce=None,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of counts under a Poisson distribution."""
    how = _reduction(reduction, size_average, reduce)
    return _ops.poisson_nll_loss(input, target, log_input, full, eps, how)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood under a normal distribution of variance `var`."""
    how = _reduction(reduction)
    if not isinstance(var, Tensor):
        var = full_like(input, var)
    if bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    if var.shape == input.shape[:-1]:
        var = var.unsqueeze(-1)
    elif var.shape != input.shape:
        off = [b for a, b in zip(input.shape, var.shape) if a != b]
        if input.dim() != var.dim() or off != [1]:
            raise ValueError(f"var is of incorrect size: {tuple(var.shape)}")
    with no_grad():
        floor = var.clamp(min=eps)
    var = var + (floor - var).detach()
    loss = _ops._gaussian_nll(input, target, var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return loss if how == 0 else loss.mean() if how == 1 else loss.sum()
