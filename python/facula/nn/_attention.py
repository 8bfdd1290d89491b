"""Attention with several heads: projections, masks, and attention with or without its weights."""

from __future__ import annotations

import math
import warnings

from .. import _C, cat, zeros_like
from .. import bool as bool_dtype
from .._C import Tensor

_functions = _C._functions
_linear, _dropout, _softmax = (_functions[name] for name in ("linear", "dropout", "softmax"))
_attention = _functions["scaled_dot_product_attention"]


def float_mask(mask: Tensor | None, name: str, dtype, other: Tensor | None = None):
    """A mask to add, -inf where a bool mask says no; `other` is the mask that it goes with."""
    if mask is None:
        return None
    if mask.dtype.is_floating_point:
        result = mask
    elif mask.dtype == bool_dtype:
        result = zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)
    else:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    if other is not None and other.dtype != mask.dtype:
        warnings.warn(
            f"Support for mismatched {name} and attn_mask is deprecated. Use same type for both "
            "instead.",
            stacklevel=3,
        )
    return result


def _check_dims(query, key, value, key_padding_mask, attn_mask):
    """Whether there is a batch; raises where the numbers of dimensions do not fit."""
    if query.dim() not in (2, 3):
        raise AssertionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D query "
            "tensor"
        )
    batched, dims = query.dim() == 3, query.dim()
    what = f"For {'batched' if batched else 'unbatched'} ({dims}-D) `query`, expected"
    if key.dim() != dims or value.dim() != dims:
        raise AssertionError(
            f"{what} `key` and `value` to be {dims}-D but found {key.dim()}-D and "
            f"{value.dim()}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != dims - 1:
        raise AssertionError(
            f"{what} `key_padding_mask` to be `None` or {dims - 1}-D but found "
            f"{key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None and attn_mask.dim() not in (2, 3):
        raise AssertionError(
            f"{what} `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.dim()}-D tensor "
            "instead"
        )
    return batched


def _project(query, key, value, weight, bias):
    """The three projections; those of the same tensor are one product."""
    if query is key and key is value:
        return _linear(query, weight, bias).chunk(3, -1)
    size = weight.shape[0] // 3
    own, shared = weight.split([size, 2 * size])
    b_own, b_shared = (None, None) if bias is None else bias.split([size, 2 * size])
    if key is value:
        return (_linear(query, own, b_own), *_linear(key, shared, b_shared).chunk(2, -1))
    biases = (None, None) if bias is None else b_shared.chunk(2)
    pairs = zip((key, value), shared.chunk(2), biases)
    return (_linear(query, own, b_own), *(_linear(x, w, b) for x, w, b in pairs))


def _one_longer(mask):
    """A mask for one more key, which all may see."""
    return None if mask is None else cat([mask, mask.new_zeros(*mask.shape[:-1], 1)], -1)


def _joined_mask(attn_mask, padding, batch, heads):
    """Both masks, broadcasting to [batch, heads, queries, keys]."""
    if attn_mask is not None and attn_mask.dim() == 3:
        attn_mask = attn_mask.unflatten(0, (batch, heads))
    if padding is None:
        return attn_mask
    if padding.shape[0] != batch:
        raise AssertionError(
            f"Expected key_padded_mask.shape[0] to be {batch}, but got {padding.shape[0]}"
        )
    padding = padding[:, None, None]
    return padding if attn_mask is None else attn_mask + padding


def _check_mask(mask, heads, targets, sources):
    wanted = (targets, sources) if mask.dim() == 2 else (heads, targets, sources)
    if tuple(mask.shape) != wanted:
        raise RuntimeError(
            f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {wanted}."
        )


def attend(q, k, v, mask, dropout_p, is_causal, need_weights):
    """The result for heads [batch, heads, length, size], and the weights if they are wanted."""
    if not need_weights:
        return _attention(q, k, v, mask, dropout_p, is_causal), None
    scores = (q * (1 / math.sqrt(q.shape[-1]))) @ k.transpose(-2, -1)
    weights = _softmax(scores if mask is None else scores + mask, -1)
    if dropout_p > 0:
        weights = _dropout(weights, dropout_p, True)
    return weights @ v, weights


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    _batch_first: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of projections that are cut into heads, and a projection of the heads' results.

    query is [targets, batch, features] or [targets, features], key and value likewise. The second
    result are the weights, their mean over the heads unless average_attn_weights is False, or None.
    """
    batched = _check_dims(query, key, value, key_padding_mask, attn_mask)
    batch_dim = 0 if _batch_first and batched else 1
    if not batched:
        same, equal = query is key, key is value
        query = query.unsqueeze(1)
        key = query if same else key.unsqueeze(1)
        value = key if equal else value.unsqueeze(1)
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    targets, batch = query.shape[1 - batch_dim], query.shape[batch_dim]
    sources, embed_dim = key.shape[1 - batch_dim], query.shape[-1]
    if embed_dim != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed_dim}"
        )
    if embed_dim % num_heads:
        raise AssertionError(f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")
    if (
        key.shape[:2] != value.shape[:2]
        or not use_separate_proj_weight
        and key.shape != value.shape
    ):
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
    padding = float_mask(key_padding_mask, "key_padding_mask", query.dtype, attn_mask)
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    is_causal = is_causal and padding is None and not need_weights
    mask = None if is_causal else float_mask(attn_mask, "attn_mask", query.dtype)
    if mask is not None:
        _check_mask(mask, batch * num_heads, targets, sources)

    if use_separate_proj_weight:
        biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
        weights = (q_proj_weight, k_proj_weight, v_proj_weight)
        parts = [_linear(*each) for each in zip((query, key, value), weights, biases)]
    else:
        parts = list(_project(query, key, value, in_proj_weight, in_proj_bias))
    if bias_k is not None and bias_v is not None:
        for i, bias in ((1, bias_k), (2, bias_v)):
            shape = list(parts[i].shape)
            shape[1 - batch_dim] = 1
            parts[i] = cat([parts[i], bias.expand(shape)], 1 - batch_dim)
        mask, padding = _one_longer(mask), _one_longer(padding)
    order = (0, 2, 1, 3) if batch_dim == 0 else (1, 2, 0, 3)
    q, k, v = (part.unflatten(-1, (num_heads, -1)).permute(order) for part in parts)
    if static_k is not None:
        k = static_k.unflatten(0, (batch, num_heads))
    if static_v is not None:
        v = static_v.unflatten(0, (batch, num_heads))
    if add_zero_attn:
        k, v = (cat([t, t.new_zeros(*t.shape[:2], 1, t.shape[3])], 2) for t in (k, v))
        mask, padding = _one_longer(mask), _one_longer(padding)

    mask = _joined_mask(mask, padding, batch, num_heads)
    drop = dropout_p if training else 0.0
    result, weights = attend(q, k, v, mask, drop, is_causal, need_weights)
    result = result.permute((0, 2, 1, 3) if batch_dim == 0 else (2, 0, 1, 3)).flatten(2)
    result = _linear(result, out_proj_weight, out_proj_bias)
    if weights is not None and average_attn_weights:
        weights = weights.mean(1)
    if not batched:
        result = result.squeeze(1)
        weights = None if weights is None else weights.squeeze(0)
    return result, weights
