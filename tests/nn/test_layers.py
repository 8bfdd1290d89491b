"""Layers: what they compute beyond their operator, and what they refuse."""

import math

import facula as torch
import numpy as np
import pytest
from facula import nn
from facula.nn import functional as F
from facula.testing import assert_close

REPRS = {
    "Conv2d(4, 8, kernel_size=(3, 3), stride=(1, 1), padding=same, bias=False)": lambda: nn.Conv2d(
        4, 8, 3, padding="same", bias=False
    ),
    "ConvTranspose1d(2, 4, kernel_size=(3,), stride=(2,), output_padding=(1,), groups=2)": (
        lambda: nn.ConvTranspose1d(2, 4, 3, 2, output_padding=1, groups=2)
    ),
    "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)": (
        lambda: nn.MaxPool2d(2)
    ),
    "LayerNorm((4,), eps=1e-05, elementwise_affine=True, bias=True)": lambda: nn.LayerNorm(4),
    "Embedding(5, 3, padding_idx=4)": lambda: nn.Embedding(5, 3, padding_idx=-1),
    "LSTM(3, 4, num_layers=2, batch_first=True)": lambda: nn.LSTM(3, 4, 2, batch_first=True),
    "Dropout(p=0.5, inplace=False)": nn.Dropout,
    "GELU(approximate='none')": nn.GELU,
    "ReLU(inplace=True)": lambda: nn.ReLU(inplace=True),
    "Flatten(start_dim=1, end_dim=-1)": nn.Flatten,
    "CrossEntropyLoss()": nn.CrossEntropyLoss,
}


@pytest.mark.parametrize("text", REPRS)
def test_repr(text):
    assert repr(REPRS[text]()) == text


@pytest.mark.parametrize(
    ("layer", "shape", "result"),
    [
        (lambda: nn.Conv1d(2, 4, 3, padding=1), (5, 2, 7), (5, 4, 7)),
        (lambda: nn.Conv2d(2, 4, (3, 1), stride=2), (2, 9, 9), (4, 4, 5)),
        (lambda: nn.Conv3d(1, 2, 2), (1, 1, 3, 3, 3), (1, 2, 2, 2, 2)),
        (lambda: nn.ConvTranspose2d(3, 2, 2, stride=2), (1, 3, 4, 4), (1, 2, 8, 8)),
        (lambda: nn.MaxPool2d(3, 2, 1), (1, 2, 8, 8), (1, 2, 4, 4)),
        (lambda: nn.AdaptiveAvgPool2d((None, 3)), (1, 2, 8, 9), (1, 2, 8, 3)),
        (lambda: nn.Flatten(), (2, 3, 4), (2, 12)),
        (lambda: nn.Unflatten(1, (2, 3)), (4, 6), (4, 2, 3)),
        (lambda: nn.GLU(), (2, 6), (2, 3)),
        (lambda: nn.GroupNorm(2, 4), (3, 4, 5), (3, 4, 5)),
        (lambda: nn.RMSNorm(5), (3, 5), (3, 5)),
    ],
)
def test_shapes(layer, shape, result):
    layer = layer()
    x = torch.randn(shape, requires_grad=True)
    y = layer(x)
    assert tuple(y.shape) == result
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert all(p.grad is not None for p in layer.parameters())


def test_batch_norm_statistics():
    layer = nn.BatchNorm1d(2)
    batches = [torch.randn(8, 2) * 3 + 1 for _ in range(3)]
    mean, var = torch.zeros(2), torch.ones(2)
    for x in batches:
        y = layer(x)
        assert_close(y.mean(0), torch.zeros(2), rtol=0, atol=1e-5)
        mean = 0.9 * mean + 0.1 * x.mean(0)
        var = 0.9 * var + 0.1 * x.var(0)
    assert_close(layer.running_mean, mean)
    assert_close(layer.running_var, var)
    assert layer.num_batches_tracked.item() == 3
    layer.eval()
    expected = (batches[0] - mean) / (var + layer.eps).sqrt()
    assert_close(layer(batches[0]), expected, rtol=1e-5, atol=1e-5)
    assert layer.num_batches_tracked.item() == 3


def test_batch_norm_twice_before_backward():
    layer = nn.BatchNorm1d(2)
    x = torch.randn(4, 2, requires_grad=True)
    (layer(x) * layer(2 * x)).sum().backward()
    assert x.grad is not None


def test_batch_norm_cumulative_mean():
    layer = nn.BatchNorm1d(1, momentum=None)
    for value in (1.0, 2.0, 6.0):
        layer(torch.tensor([[value - 1], [value + 1]]))
    assert_close(layer.running_mean, torch.tensor([3.0]))


def test_batch_norm_refuses():
    with pytest.raises(ValueError, match="expected 4D input"):
        nn.BatchNorm2d(3)(torch.ones(2, 3))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        nn.BatchNorm1d(3)(torch.ones(1, 3))


def test_old_batch_norm_checkpoints_load():
    layer = nn.BatchNorm2d(2)
    state = layer.state_dict()
    del state["num_batches_tracked"]
    del state._metadata
    layer.load_state_dict(state)
    assert layer.num_batches_tracked.item() == 0


def test_embedding():
    layer = nn.Embedding(6, 3, padding_idx=1)
    assert torch.equal(layer.weight[1], torch.zeros(3))
    layer(torch.tensor([[1, 2], [2, 5]])).sum().backward()
    counts = torch.tensor([0, 0, 2, 0, 0, 1.0])
    assert torch.equal(layer.weight.grad, counts.view(6, 1).expand(6, 3))
    frozen = nn.Embedding.from_pretrained(torch.eye(3))
    assert not frozen.weight.requires_grad
    with pytest.raises(AssertionError):
        nn.Embedding(3, 2, padding_idx=3)


def test_dropout():
    torch.manual_seed(1)
    layer, x = nn.Dropout(0.25), torch.ones(10000)
    y = layer(x)
    assert set(np.unique(y.numpy()).round(4)) <= {0.0, np.float32(4 / 3).round(4)}
    assert abs((y == 0).float().mean().item() - 0.25) < 0.02
    assert torch.equal(layer.eval()(x), x)
    channels = nn.Dropout2d(0.5)(torch.ones(20, 5, 3, 3)).amax((2, 3))
    assert set(np.unique(channels.numpy())) == {0.0, 2.0}
    with pytest.raises(ValueError, match="between 0 and 1"):
        nn.Dropout(1.5)


def test_lstm_against_cells():
    torch.manual_seed(0)
    rnn, cell = nn.LSTM(3, 4), nn.LSTMCell(3, 4)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in rnn.state_dict().items()})
    x = torch.randn(5, 2, 3)
    output, (h, c) = rnn(x)
    state, steps = None, []
    for t in range(5):
        state = cell(x[t], state)
        steps.append(state[0])
    assert_close(output, torch.stack(steps))
    assert_close(h[0], state[0])
    assert_close(c[0], state[1])


def test_projected_lstm():
    torch.manual_seed(0)
    rnn, x = nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2), torch.randn(5, 2, 3)
    output, (h, c) = rnn(x)
    assert output.shape == (5, 2, 4) and h.shape == (4, 2, 2) and c.shape == (4, 2, 4)
    assert list(rnn.state_dict())[4] == "weight_hr_l0" and len(rnn.all_weights[0]) == 5
    assert "proj_size=2" in repr(rnn)

    # by hand
    one, states = nn.LSTM(3, 4, bias=False, proj_size=2), (torch.zeros(2, 2), torch.zeros(2, 4))
    for step in x:
        gates = step @ one.weight_ih_l0.T + states[0] @ one.weight_hh_l0.T
        i, f, g, o = gates.chunk(4, 1)
        memory = f.sigmoid() * states[1] + i.sigmoid() * g.tanh()
        states = (o.sigmoid() * memory.tanh()) @ one.weight_hr_l0.T, memory
    output, (h, c) = one(x)
    assert_close(output[-1], states[0])
    assert_close(c[0], states[1])
    with pytest.raises(RuntimeError, match="Expected hidden size"):
        one(x, (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_shapes(kind):
    rnn = kind(3, 4, num_layers=2, bidirectional=True, batch_first=True)
    output, state = rnn(torch.randn(2, 5, 3))
    h = state[0] if kind is nn.LSTM else state
    assert tuple(output.shape) == (2, 5, 8) and tuple(h.shape) == (4, 2, 4)
    single, _ = rnn(torch.randn(5, 3))
    assert tuple(single.shape) == (5, 8)
    assert list(rnn.state_dict())[4:6] == ["weight_ih_l0_reverse", "weight_hh_l0_reverse"]
    assert len(rnn.all_weights) == 4 and len(rnn.all_weights[0]) == 4
    with pytest.raises(RuntimeError, match="input.size"):
        rnn(torch.randn(2, 5, 7))
    with pytest.raises(ValueError, match="2D or 3D"):
        rnn(torch.randn(3))


def test_inplace_activations():
    x = torch.tensor([-1.0, 2.0])
    assert nn.ReLU(inplace=True)(x) is x
    assert torch.equal(x, torch.tensor([0.0, 2.0]))
    assert F.leaky_relu(torch.tensor([-1.0]), 0.5, inplace=True).item() == -0.5


def test_losses():
    logits = torch.tensor([[1.0, 2.0], [0.5, 0.0]])
    target = torch.tensor([1, 0])
    expected = -torch.log_softmax(logits, 1)[torch.arange(2), target]
    assert_close(F.cross_entropy(logits, target), expected.mean())
    assert_close(nn.CrossEntropyLoss(reduction="none")(logits, target), expected)
    assert_close(nn.NLLLoss(reduction="sum")(torch.log_softmax(logits, 1), target), expected.sum())
    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)(logits, target)
    mixed = -0.1 * torch.log_softmax(logits, 1).mean(1)
    assert_close(smooth, (0.9 * expected + mixed).mean())
    with pytest.raises(ValueError, match="not a valid value for reduction"):
        F.mse_loss(logits, logits, reduction="most")
    with pytest.warns(UserWarning, match="different to the input size"):
        F.mse_loss(logits, torch.zeros(2))


def test_initial_values():
    torch.manual_seed(0)
    w = torch.empty(200, 100)
    nn.init.kaiming_uniform_(w, nonlinearity="relu")
    assert w.abs().max().item() <= math.sqrt(6 / 100)
    nn.init.xavier_normal_(w)
    assert abs(w.std().item() - math.sqrt(2 / 300)) < 0.002
    nn.init.trunc_normal_(w, std=2.0, a=-1, b=1)
    assert w.abs().max().item() <= 1
    nn.init.sparse_(w, 0.3)
    assert ((w == 0).sum(0) == 60).all()
    assert torch.equal(nn.init.eye_(torch.empty(2, 3)), torch.eye(2, 3))
    for shape in ((5, 3), (3, 5), (4, 2, 3)):
        q = nn.init.orthogonal_(torch.empty(*shape), 2.0).flatten(1)
        gram = q @ q.t() if shape[0] < q.shape[1] else q.t() @ q
        assert_close(gram, 4 * torch.eye(gram.shape[0]))
    conv = nn.init.dirac_(torch.empty(2, 2, 3))
    x = torch.randn(1, 2, 5)
    assert_close(F.conv1d(x, conv, padding=1), x)
    assert nn.init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        nn.init.xavier_uniform_(torch.empty(3))
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        nn.init.calculate_gain("none")


def test_parameters_stay_leaves():
    layer = nn.Linear(2, 2)
    nn.init.uniform_(layer.weight)
    assert layer.weight.is_leaf and layer.weight.requires_grad


def test_clipping():
    a, b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    a.grad, b.grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    assert nn.utils.clip_grad_norm_([a, b], 1.0).item() == 5.0
    assert_close(a.grad, torch.tensor([0.6, 0.0]))
    nn.utils.clip_grad_value_([a, b], 0.5)
    assert_close(b.grad, torch.tensor([0.5]))
    a.grad = torch.tensor([math.nan, 0.0])
    with pytest.raises(RuntimeError, match="non-finite"):
        nn.utils.clip_grad_norm_([a, b], 1.0, error_if_nonfinite=True)


def test_parameters_as_a_vector():
    net = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (9,)
    nn.utils.vector_to_parameters(torch.arange(9.0), net.parameters())
    assert torch.equal(net.bias.detach(), torch.tensor([6.0, 7.0, 8.0]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(3, 4, 3, groups=2),
        lambda: nn.Conv2d(2, 4, 3, padding="most"),
        lambda: nn.Conv2d(2, 4, 3, padding="same", stride=2),
        lambda: nn.Conv2d(2, 4, 3, padding_mode="none"),
        lambda: nn.GroupNorm(3, 4),
        lambda: nn.LSTM(1, 0),
        lambda: nn.LSTM(0, 1),
        lambda: nn.LSTM(1, 2, proj_size=2),
        lambda: nn.GRU(1, 2, proj_size=1),
        lambda: F.batch_norm(torch.ones(2, 3), None, None, training=True, eps=0),
        lambda: F.gaussian_nll_loss(torch.ones(2, 3), torch.ones(2, 3), torch.ones(3, 3)),
        lambda: nn.LSTMCell(1, 2)(torch.ones(1, 1), [torch.ones(1, 1, 2)] * 2),
        lambda: nn.RNN(1, 1, nonlinearity="none"),
    ],
)
def test_senseless_settings_are_refused(make):
    with pytest.raises(ValueError):
        make()


def test_upsample():
    x = torch.arange(8.0).view(1, 2, 2, 2)
    assert torch.equal(
        nn.Upsample(scale_factor=2)(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    )
    assert nn.UpsamplingBilinear2d((3, 3))(x)[0, 0, 1].tolist() == [1.0, 1.5, 2.0]
    assert repr(nn.UpsamplingNearest2d(4)) == "UpsamplingNearest2d(size=4, mode='nearest')"
    with pytest.raises(ValueError, match="only one of size"):
        torch.nn.functional.interpolate(x, 2, 2)
    with pytest.raises(NotImplementedError, match="antialias"):
        torch.nn.functional.interpolate(x, 3, mode="bilinear", antialias=True)
