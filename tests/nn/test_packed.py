"""Packing and padding, and recurrent layers over packed sequences against each sequence alone."""

import facula as torch
import pytest
from facula import nn
from facula.nn.utils import rnn
from facula.testing import assert_close

LENGTHS = [3, 5, 1, 5, 2]


def sequences(*features):
    torch.manual_seed(0)
    return [torch.randn(n, *features) for n in LENGTHS]


def test_pad_and_pack():
    parts = sequences(2)
    padded = rnn.pad_sequence(parts, padding_value=7.0)
    assert padded.shape == (5, 5, 2) and (padded[1:, 2] == 7).all()
    left = rnn.pad_sequence(parts, batch_first=True, padding_side="left")
    assert torch.equal(left[2, 4:], parts[2]) and (left[2, :4] == 0).all()
    packed = rnn.pack_padded_sequence(padded, LENGTHS, enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [5, 4, 3, 2, 2]
    assert packed.data.shape == (16, 2)
    again, lengths = rnn.pad_packed_sequence(packed, padding_value=7.0)
    assert torch.equal(again, padded) and lengths.tolist() == LENGTHS
    longer, _ = rnn.pad_packed_sequence(packed, batch_first=True, total_length=8)
    assert longer.shape == (5, 8, 2) and (longer[:, 5:] == 0).all()
    for one, other in zip(rnn.unpack_sequence(rnn.pack_sequence(parts, False)), parts):
        assert torch.equal(one, other)
    assert packed.to(torch.float64).data.dtype == torch.float64


def test_refusals():
    padded = torch.zeros(5, 2, 3)
    with pytest.raises(RuntimeError, match="sorted in decreasing order"):
        rnn.pack_padded_sequence(padded, [3, 5])
    with pytest.raises(RuntimeError, match="greater than 0"):
        rnn.pack_padded_sequence(padded, [3, 0])
    with pytest.raises(RuntimeError, match="equal to batch_size"):
        rnn.pack_padded_sequence(padded, [3])
    with pytest.raises(ValueError, match="total_length"):
        rnn.pad_packed_sequence(rnn.pack_padded_sequence(padded, [3, 2]), total_length=2)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_layers_against_each_sequence_alone(kind, two, given):
    parts = sequences(3)
    layer = kind(3, 4, num_layers=2, bidirectional=two)
    state = None
    if given:
        states = [torch.randn(2 + 2 * two, len(parts), 4) for _ in range(1 + (kind is nn.LSTM))]
        state = tuple(states) if kind is nn.LSTM else states[0]
    out, last = layer(rnn.pack_sequence(parts, enforce_sorted=False), state)
    last = last if kind is nn.LSTM else [last]
    outs = rnn.unpack_sequence(out)
    loss = sum(o.square().sum() for o in outs) + sum(s.sum() for s in last)
    grads = torch.autograd.grad(loss, layer.parameters())
    total = 0
    for i, x in enumerate(parts):
        own = None
        if given:
            own = [s[:, i : i + 1] for s in states]
            own = tuple(own) if kind is nn.LSTM else own[0]
        expected, end = layer(x.unsqueeze(1), own)
        end = end if kind is nn.LSTM else [end]
        assert_close(outs[i], expected[:, 0], rtol=1e-5, atol=1e-6)
        for a, e in zip(last, end):
            assert_close(a[:, i], e[:, 0], rtol=1e-5, atol=1e-6)
        total = total + expected.square().sum() + sum(e.sum() for e in end)
    for a, e in zip(grads, torch.autograd.grad(total, layer.parameters())):
        assert_close(a, e, rtol=1e-4, atol=1e-5)


def test_projection():
    parts = sequences(3)
    layer = nn.LSTM(3, 4, proj_size=2)
    out, (h, c) = layer(rnn.pack_sequence(parts, enforce_sorted=False))
    for i, x in enumerate(parts):
        expected, (own_h, own_c) = layer(x.unsqueeze(1))
        assert_close(rnn.unpack_sequence(out)[i], expected[:, 0], rtol=1e-5, atol=1e-6)
        assert_close(h[:, i], own_h[:, 0], rtol=1e-5, atol=1e-6)
        assert_close(c[:, i], own_c[:, 0], rtol=1e-5, atol=1e-6)
