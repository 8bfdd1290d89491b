"""Losses against their formulas, with first and second gradients and forward mode."""

import facula as torch
import pytest
from facula.autograd import gradcheck, gradgradcheck
from facula.nn import functional as F
from facula.testing import assert_close

ELEMENTWISE = {
    "mse": (lambda x, t: F.mse_loss(x, t, reduction="none"), lambda x, t: (x - t) ** 2),
    "smooth_l1": (
        lambda x, t: F.smooth_l1_loss(x, t, reduction="none", beta=0.7),
        lambda x, t: torch.where((x - t).abs() < 0.7, (x - t) ** 2 / 1.4, (x - t).abs() - 0.35),
    ),
    "huber": (
        lambda x, t: F.huber_loss(x, t, reduction="none", delta=0.7),
        lambda x, t: torch.where(
            (x - t).abs() < 0.7, (x - t) ** 2 / 2, 0.7 * ((x - t).abs() - 0.35)
        ),
    ),
    "logits": (
        lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none"),
        lambda x, t: -t * x.sigmoid().log() - (1 - t) * (1 - x.sigmoid()).log(),
    ),
    "soft_margin": (
        lambda x, t: F.soft_margin_loss(x, t, reduction="none"),
        lambda x, t: (1 + (-t * x).exp()).log(),
    ),
}
elementwise = pytest.mark.parametrize("name", ELEMENTWISE)


def pair(*shapes, dtype=torch.float64):
    torch.manual_seed(0)
    return [torch.randn(*shape, dtype=dtype).requires_grad_() for shape in shapes]


@elementwise
@pytest.mark.parametrize("shapes", [((4, 5), (4, 5)), ((4, 5), (5,)), ((3, 1), (1, 7))])
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_values_and_gradients(name, shapes):
    loss, formula = ELEMENTWISE[name]
    shape = torch.broadcast_shapes(*shapes)
    x, t = (v.expand(shape) for v in pair(*shapes))
    assert_close(loss(x, t), formula(x, t), rtol=1e-12, atol=1e-12)
    inputs = pair(*shapes)
    expanded = lambda x, t: loss(x.expand(shape), t.expand(shape))  # noqa: E731
    assert gradcheck(expanded, inputs, check_forward_ad=True)
    assert gradgradcheck(expanded, inputs)


@elementwise
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves(name, dtype):
    loss, formula = ELEMENTWISE[name]
    x, t = pair((5, 40), (5, 40), dtype=dtype)
    result = loss(x, t)
    assert result.dtype == dtype
    assert_close(result, formula(x.float(), t.float()).to(dtype), rtol=1e-2, atol=1e-2)


def test_weight_of_the_positive_part():
    x, t, w = pair((4, 5), (4, 5), (5,))

    def loss(x, t, w):
        return F.binary_cross_entropy_with_logits(x, t, pos_weight=w)

    p = x.sigmoid()
    assert_close(loss(x, t, w), (-w * t * p.log() - (1 - t) * (1 - p).log()).mean())
    assert gradcheck(loss, (x, t, w)) and gradgradcheck(loss, (x, t, w))


def test_large_logits_do_not_overflow():
    x = torch.tensor([-1e4, 1e4, -1e4, 1e4], requires_grad=True)
    t = torch.tensor([0.0, 1.0, 1.0, 0.0])
    loss = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    assert loss.tolist() == [0, 0, 1e4, 1e4]
    loss.sum().backward()
    assert x.grad.tolist() == [0, 0, -1, 1]
    margin = F.soft_margin_loss(x, 2 * t - 1, reduction="none")
    assert margin.tolist() == [0, 0, 1e4, 1e4]


def test_nan_is_seen():
    x, t = torch.tensor([float("nan"), 1.0], requires_grad=True), torch.zeros(2)
    for loss in (F.mse_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy_with_logits):
        result = loss(x, t, reduction="none")
        assert result.isnan().tolist() == [True, False]
        assert torch.autograd.grad(result.sum(), x)[0].isnan().tolist() == [True, False]


def test_gaussian():
    x, t, v = pair((4, 5), (4, 5), (4, 5))
    v = v.detach().square().add(0.5).requires_grad_()
    loss = lambda x, t, v: F.gaussian_nll_loss(x, t, v)  # noqa: E731
    assert_close(loss(x, t, v), (0.5 * (v.log() + (x - t) ** 2 / v)).mean())
    assert gradcheck(loss, (x, t, v)) and gradgradcheck(loss, (x, t, v))


def test_margins_between_classes():
    x = pair((3, 4))[0]
    target = torch.tensor([1, 0, 3])
    rows = [
        sum(max(0.0, (0.5 + x[i, j] - x[i, t]).item()) ** 2 for j in range(4) if j != t) / 4
        for i, t in enumerate(target.tolist())
    ]
    result = F.multi_margin_loss(x, target, p=2, margin=0.5, reduction="none")
    assert result.tolist() == pytest.approx(rows)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    result = F.multi_margin_loss(x, target, weight=weight, reduction="sum")
    once = F.multi_margin_loss(x, target, reduction="none")
    assert_close(result, (once * weight[target]).sum())
    assert gradcheck(lambda x: F.multi_margin_loss(x, target), x)


def test_margins_between_sets_of_classes():
    x = pair((2, 4))[0]
    target = torch.tensor([[3, 0, -1, 1], [2, -1, 2, 0]])
    rows = []
    for i, wanted in enumerate(({3, 0}, {2})):
        others = set(range(4)) - wanted
        rows.append(
            sum(max(0.0, 1 - (x[i, a] - x[i, b]).item()) for a in wanted for b in others) / 4
        )
    result = F.multilabel_margin_loss(x, target, reduction="none")
    assert result.tolist() == pytest.approx(rows)
    assert_close(F.multilabel_margin_loss(x[0], target[0]), result[0])
    assert gradcheck(lambda x: F.multilabel_margin_loss(x, target), x)


def test_any_distance():
    a, b, c = pair((3, 4), (3, 4), (3, 4))
    norm = torch.nn.PairwiseDistance(3.0)
    for swap in (False, True):
        expected = F.triplet_margin_loss(a, b, c, 2.0, p=3.0, swap=swap)
        loss = torch.nn.TripletMarginWithDistanceLoss(distance_function=norm, margin=2.0, swap=swap)
        assert_close(loss(a, b, c), expected)
    with pytest.raises(RuntimeError, match="same number of dimensions"):
        F.triplet_margin_loss(a, b, c[0])
    with pytest.raises(RuntimeError, match="1D target"):
        F.cosine_embedding_loss(a[0], b[0], torch.ones(3))


def test_independent_labels():
    x, t = pair((3, 4), (3, 4))
    expected = F.binary_cross_entropy_with_logits(x, t, reduction="none").mean(-1)
    assert_close(F.multilabel_soft_margin_loss(x, t, reduction="none"), expected)
    assert_close(torch.nn.MultiLabelSoftMarginLoss()(x, t), expected.mean())
