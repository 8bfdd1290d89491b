"""The gradient of embedding: many buckets of rows, rows longer than a bucket, half types."""

import facula as torch
import pytest
from facula import nn
from facula.autograd import gradcheck, gradgradcheck
from facula.nn import functional as F
from facula.testing import assert_close


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rows, columns, count", [(5000, 7, 300), (3, 9000, 5), (70, 300, 900)])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}, {"scale_grad_by_freq": True}], ids=str)
def test_dense_gradient(rows, columns, count, dtype, options):
    torch.manual_seed(0)
    weight = torch.randn(rows, columns).to(dtype).requires_grad_()
    indices = torch.randint(0, rows, (count,))
    indices[:2] = 1
    seed = torch.randn(count, columns).to(dtype)
    result = torch.autograd.grad(F.embedding(indices, weight, **options), weight, seed)[0]
    exact = seed.double()
    if options.get("scale_grad_by_freq"):
        exact = exact / torch.bincount(indices)[indices].unsqueeze(1)
    if "padding_idx" in options:
        exact = exact.masked_fill((indices == 1).unsqueeze(1), 0)
    expected = torch.zeros(rows, columns, dtype=torch.float64).index_add_(0, indices, exact)
    slack = {torch.float32: 1e-5, torch.float64: 1e-13, torch.float16: 1e-2}.get(dtype, 4e-2)
    assert result.dtype == dtype
    assert (result.double() - expected).abs().max().item() < slack


def test_any_number_of_threads():
    torch.manual_seed(0)
    before = torch.get_num_threads()
    indices, seed = torch.randint(0, 2000, (5000,)), torch.randn(5000, 100)
    weight = torch.zeros(2000, 100, requires_grad=True)
    try:
        results = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results += torch.autograd.grad(F.embedding(indices, weight), weight, seed)
        assert torch.equal(*results)
    finally:
        torch.set_num_threads(before)


def by_loop(weight, indices, offsets, mode, scales=None, padding=None):
    """What embedding_bag gives, bag by bag."""
    bags = []
    for begin, end in zip(offsets, [*offsets[1:], len(indices)]):
        kept = [i for i in range(begin, end) if indices[i] != padding]
        rows = weight[indices[kept]] * (1 if scales is None else scales[kept].unsqueeze(1))
        if not kept:
            bags.append(torch.zeros_like(weight[0]))
        else:
            bags.append({"sum": rows.sum, "mean": rows.mean, "max": rows.amax}[mode](0))
    return torch.stack(bags)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding", [None, 3])
@pytest.mark.parametrize("columns", [5, 9000])
def test_bags(mode, padding, columns):
    torch.manual_seed(0)
    weight = torch.randn(20, columns, dtype=torch.float64, requires_grad=True)
    indices, offsets = torch.randint(0, 20, (40,)), [0, 7, 7, 30]
    result = F.embedding_bag(indices, weight, torch.tensor(offsets), mode=mode, padding_idx=padding)
    expected = by_loop(weight, indices, offsets, mode, padding=padding)
    assert_close(result, expected)
    seed = torch.randn_like(result)
    assert_close(
        torch.autograd.grad(result, weight, seed)[0], torch.autograd.grad(expected, weight, seed)[0]
    )
    ends = torch.tensor([*offsets, 40])
    again = F.embedding_bag(
        indices, weight, ends, mode=mode, padding_idx=padding, include_last_offset=True
    )
    assert torch.equal(again, result)


@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}, {"scale_grad_by_freq": True}], ids=str)
def test_weights_of_bags(options):
    torch.manual_seed(0)
    weight = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    scales = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    indices = torch.tensor([[0, 1, 1, 5, 2], [3, 3, 3, 1, 0]])

    def bags(weight, scales):
        return F.embedding_bag(indices, weight, mode="sum", per_sample_weights=scales, **options)

    flat = by_loop(
        weight,
        indices.reshape(-1),
        [0, 5],
        "sum",
        scales.reshape(-1),
        options.get("padding_idx"),
    )
    assert_close(bags(weight, scales), flat)
    if not options.get("scale_grad_by_freq"):  # which is no gradient
        assert gradcheck(bags, (weight, scales)) and gradgradcheck(bags, (weight, scales))


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_second_gradients_of_bags(mode):
    weight = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    indices = torch.tensor([[0, 1, 1, 5, 2], [3, 3, 3, 1, 0]])
    bags = lambda weight: F.embedding_bag(indices, weight, mode=mode)  # noqa: E731
    assert gradcheck(bags, weight, check_forward_ad=True) and gradgradcheck(bags, weight)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("last", [False, True])
def test_bags_in_a_batch(mode, last):
    torch.manual_seed(0)
    weight = torch.randn(3, 6, 2, dtype=torch.float64)
    indices = torch.randint(0, 6, (3, 8))
    offsets = torch.tensor([[0, 2, 2, 6], [0, 0, 5, 8], [0, 1, 2, 3]])

    def bags(weight, indices, offsets):
        return F.embedding_bag(
            indices, weight, offsets, mode=mode, include_last_offset=last, padding_idx=1
        )

    def gradient(*each):
        return torch.func.grad(lambda weight: bags(weight, *each[1:]).square().sum())(each[0])

    for function in (bags, gradient):
        mapped = torch.func.vmap(function)(weight, indices, offsets)
        assert_close(
            mapped, torch.stack([function(*each) for each in zip(weight, indices, offsets)])
        )


def test_bags_that_do_not_fit():
    weight, indices = torch.zeros(4, 3), torch.tensor([0, 1, 2])
    with pytest.raises(RuntimeError, match="offsets\\[0\\] has to be 0"):
        F.embedding_bag(indices, weight, torch.tensor([1]))
    for offsets in ([0, 2, 1], [0, 4]):
        with pytest.raises(RuntimeError, match="must not decrease"):
            F.embedding_bag(indices, weight, torch.tensor(offsets))
    with pytest.raises(IndexError):
        F.embedding_bag(indices + 2, weight, torch.tensor([0]))
    with pytest.raises(NotImplementedError, match="mode='sum'"):
        F.embedding_bag(indices, weight, torch.tensor([0]), per_sample_weights=torch.ones(3))


def test_the_module_of_bags():
    bag = nn.EmbeddingBag(5, 3, mode="sum", padding_idx=-1)
    assert bag.weight[4].count_nonzero() == 0 and "padding_idx=4" in repr(bag)
    indices = torch.tensor([[0, 4], [1, 2]])
    assert_close(bag(indices), torch.stack([bag.weight[0], bag.weight[1] + bag.weight[2]]))
    assert not nn.EmbeddingBag.from_pretrained(torch.ones(2, 2)).weight.requires_grad


@pytest.mark.parametrize("mode", [0, 1, 2])
def test_gradient_of_bags_that_are_not_there(mode):
    far = torch.tensor([0, 2**31])
    backward = torch._C._functions["_embedding_bag_backward"]
    args = (torch.ones(2, 1), torch.tensor([0, 0]), torch.tensor([0, 1]), far, far, far[:, None])
    with pytest.raises(IndexError):
        backward(*args, None, 3, False, mode, False, -1)
