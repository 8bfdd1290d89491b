"""MultiheadAttention and the layers of transformers, against what they are made of."""

import facula as torch
import pytest
from facula import nn
from facula.nn import functional as F
from facula.testing import assert_close

SIZE, HEADS = 8, 2


def by_hand(m, query, key, value, mask=None, causal=False):
    """The result and the weights [batch, heads, targets, sources], batch first; `mask` adds."""
    if m._qkv_same_embed_dim:
        weights = m.in_proj_weight.chunk(3)
    else:
        weights = (m.q_proj_weight, m.k_proj_weight, m.v_proj_weight)
    parts = [x @ w.T + b for x, w, b in zip((query, key, value), weights, m.in_proj_bias.chunk(3))]
    if m.bias_k is not None:
        batch = key.shape[0]
        for i, bias in ((1, m.bias_k), (2, m.bias_v)):
            parts[i] = torch.cat([parts[i], bias.expand(batch, 1, SIZE)], 1)
    if m.add_zero_attn:
        parts[1:] = [torch.cat([t, torch.zeros(t.shape[0], 1, SIZE)], 1) for t in parts[1:]]
    q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in parts)
    scores = q @ k.transpose(-1, -2) / (SIZE // HEADS) ** 0.5
    if mask is not None:
        more = scores.shape[-1] - mask.shape[-1]
        scores = scores + torch.cat([mask, torch.zeros(*mask.shape[:-1], more)], -1)
    weights = scores.softmax(-1)
    return m.out_proj((weights @ v).transpose(1, 2).flatten(2)), weights


@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True}, {"add_zero_attn": True}])
@pytest.mark.parametrize("masked", ["no", "pairs", "heads", "padding", "both"])
@pytest.mark.parametrize("first", [False, True])
def test_multihead_attention(options, masked, first):
    torch.manual_seed(0)
    m = nn.MultiheadAttention(SIZE, HEADS, batch_first=first, **options)
    with torch.no_grad():
        m.in_proj_bias.normal_()
    q, k, v = torch.randn(3, 5, SIZE), torch.randn(3, 4, SIZE), torch.randn(3, 4, SIZE)
    pairs = padding = expected_mask = None
    if masked in ("pairs", "both"):
        pairs = torch.randn(5, 4)
        expected_mask = pairs
    if masked == "heads":
        pairs = torch.randn(3 * HEADS, 5, 4)
        expected_mask = pairs.unflatten(0, (3, HEADS))
    if masked in ("padding", "both"):
        hidden = torch.tensor(
            [[False] * 4, [False, True, True, False], [False, False, False, True]]
        )
        padding = torch.zeros(3, 4).masked_fill(hidden, float("-inf"))
        more = padding[:, None, None]
        expected_mask = more if expected_mask is None else expected_mask + more
        padding = padding if pairs is not None else hidden
    expected, weights = by_hand(m, q, k, v, expected_mask)
    inputs = (q, k, v) if first else [t.transpose(0, 1) for t in (q, k, v)]
    masks = {"attn_mask": pairs, "key_padding_mask": padding}
    for need in (False, True):
        out, got = m(*inputs, need_weights=need, **masks)
        assert_close(out if first else out.transpose(0, 1), expected, rtol=1e-4, atol=1e-5)
        if need:
            assert_close(got, weights.mean(1), rtol=1e-4, atol=1e-5)
            got = m(*inputs, average_attn_weights=False, **masks)[1]
            assert_close(got, weights, rtol=1e-4, atol=1e-5)
        else:
            assert got is None


def test_other_sizes_and_no_batch():
    torch.manual_seed(0)
    m = nn.MultiheadAttention(SIZE, HEADS, kdim=3, vdim=5)
    q, k, v = torch.randn(5, 2, SIZE), torch.randn(4, 2, 3), torch.randn(4, 2, 5)
    expected, _ = by_hand(m, *(t.transpose(0, 1) for t in (q, k, v)))
    out, weights = m(q, k, v)
    assert_close(out.transpose(0, 1), expected, rtol=1e-4, atol=1e-5)
    alone, own = m(q[:, 1], k[:, 1], v[:, 1])
    assert_close(alone, out[:, 1], rtol=1e-4, atol=1e-5)
    assert_close(own, weights[1], rtol=1e-4, atol=1e-5)
    assert "in_proj_weight" not in m.state_dict() and "q_proj_weight" in m.state_dict()


@pytest.mark.parametrize("inputs", ["same", "memory", "all"])
def test_shared_products(inputs):
    torch.manual_seed(0)
    m, x = nn.MultiheadAttention(SIZE, HEADS, batch_first=True), torch.randn(2, 5, SIZE)
    key = x if inputs == "same" else torch.randn(2, 5, SIZE)
    value = torch.randn(2, 5, SIZE) if inputs == "all" else key
    expected, _ = by_hand(m, x, key, value)
    assert_close(m(x, key, value)[0], expected, rtol=1e-4, atol=1e-5)


def test_causal_hint():
    torch.manual_seed(0)
    m, x = nn.MultiheadAttention(SIZE, HEADS), torch.randn(5, 2, SIZE)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    expected = m(x, x, x, attn_mask=mask)[0]
    hinted = m(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)[0]
    assert_close(hinted, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(RuntimeError, match="Need attn_mask"):
        m(x, x, x, is_causal=True)


def test_refusals():
    m, x = nn.MultiheadAttention(SIZE, HEADS), torch.randn(5, 2, SIZE)
    with pytest.raises(RuntimeError, match="2D attn_mask"):
        m(x, x, x, attn_mask=torch.zeros(5, 4))
    with pytest.raises(AssertionError, match="bool and floating"):
        m(x, x, x, attn_mask=torch.zeros(5, 5, dtype=torch.int64))
    with pytest.raises(AssertionError, match="expected `key` and `value` to be 2-D"):
        m(x[:, 0], x, x)
    with pytest.raises(AssertionError, match="embedding dimension of 8, but got 7"):
        m(torch.randn(5, 2, 7), x, x)
    with pytest.raises(AssertionError, match="divisible"):
        nn.MultiheadAttention(8, 3)
    with pytest.warns(UserWarning, match="mismatched key_padding_mask"):
        hidden = torch.zeros(2, 5, dtype=torch.bool)
        m(x, x, x, attn_mask=torch.zeros(5, 5), key_padding_mask=hidden)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu", F.silu])
def test_layers(norm_first, activation):
    torch.manual_seed(0)
    options = {"dropout": 0.0, "batch_first": True, "norm_first": norm_first}
    encoder = nn.TransformerEncoderLayer(SIZE, HEADS, 16, activation=activation, **options)
    decoder = nn.TransformerDecoderLayer(SIZE, HEADS, 16, activation=activation, **options)
    x, y = torch.randn(2, 5, SIZE), torch.randn(2, 4, SIZE)
    act = getattr(F, activation) if isinstance(activation, str) else activation

    def around(norm, x, block):
        return x + block(norm(x)) if norm_first else norm(x + block(x))

    def feed(m):
        return lambda x: m.linear2(act(m.linear1(x)))

    expected = around(encoder.norm1, x, lambda t: by_hand(encoder.self_attn, t, t, t)[0])
    expected = around(encoder.norm2, expected, feed(encoder))
    assert_close(encoder(x), expected, rtol=1e-4, atol=1e-5)
    memory = expected.detach()
    expected = around(decoder.norm1, y, lambda t: by_hand(decoder.self_attn, t, t, t)[0])
    attn = decoder.multihead_attn
    expected = around(decoder.norm2, expected, lambda t: by_hand(attn, t, memory, memory)[0])
    expected = around(decoder.norm3, expected, feed(decoder))
    assert_close(decoder(y, memory), expected, rtol=1e-4, atol=1e-5)


def test_transformer():
    torch.manual_seed(0)
    m = nn.Transformer(SIZE, HEADS, 2, 3, 16, dropout=0.0)
    assert len(m.encoder.layers) == 2 and len(m.decoder.layers) == 3
    src, tgt = torch.randn(6, 2, SIZE), torch.randn(4, 2, SIZE)
    mask = m.generate_square_subsequent_mask(4)
    out = m(src, tgt, tgt_mask=mask)
    assert out.shape == tgt.shape
    # what comes later changes nothing
    changed = torch.cat([tgt[:3], torch.randn(1, 2, SIZE)])
    assert_close(m(src, changed, tgt_mask=mask)[:3], out[:3], rtol=1e-5, atol=1e-6)
    # padding hides
    hidden = torch.zeros(2, 6, dtype=torch.bool)
    hidden[:, 4:] = True
    short = m(src[:4], tgt, tgt_mask=mask)
    padded = m(src, tgt, tgt_mask=mask, src_key_padding_mask=hidden, memory_key_padding_mask=hidden)
    assert_close(padded, short, rtol=1e-4, atol=1e-5)
    out.sum().backward()
    assert all(p.grad is not None for p in m.parameters())
    with pytest.raises(RuntimeError, match="batch number"):
        m(src, tgt[:, :1])
    with pytest.raises(RuntimeError, match="feature number"):
        m(src[..., :4], tgt)


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_cells_of_one_element(kind):
    torch.manual_seed(0)
    cell, x = kind(3, 4), torch.randn(2, 3)
    batch = cell(x)
    alone = cell(x[1])
    if kind is nn.LSTMCell:
        batch, alone = batch[0], alone[0]
    assert_close(alone, batch[1])
    with pytest.raises(ValueError, match="1D or 2D"):
        cell(torch.randn(1, 2, 3))


def test_cells_against_layers():
    torch.manual_seed(0)
    x = torch.randn(5, 2, 3)
    pairs = [(nn.GRU(3, 4), nn.GRUCell(3, 4)), (nn.RNN(3, 4), nn.RNNCell(3, 4))]
    pairs += [(nn.RNN(3, 4, nonlinearity="relu"), nn.RNNCell(3, 4, nonlinearity="relu"))]
    for layer, cell in pairs:
        cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
        state, steps = None, []
        for step in x:
            state = cell(step, state)
            steps.append(state)
        assert_close(layer(x)[0], torch.stack(steps), rtol=1e-5, atol=1e-6)
