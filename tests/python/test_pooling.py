"""Pooling in C order and with the channels last, whose results keep the order of the operand; ties,
NaN and infinities."""

import facula
import facula.nn.functional as F
import pytest

INF, NAN = float("inf"), float("nan")

# what is called, what it takes, the sizes of a plane
CASES = [
    (F.max_pool2d, (3, 2, 1), (13, 40)),
    (F.max_pool2d, ((2, 5), (3, 1), (1, 2), (2, 3)), (9, 37)),
    (F.max_pool2d, (2, 2, 0, 1, True), (7, 9)),
    (F.max_pool2d, ((1, 40), 1), (3, 50)),
    (F.max_pool3d, (3, 2, 1), (5, 6, 19)),
    (F.avg_pool2d, (3, 1, 1), (6, 21)),
    (F.avg_pool2d, (3, 2, 1, True, False), (6, 20)),
    (F.avg_pool2d, ((2, 3), (1, 4), 0, False, True, 5), (6, 20)),
    (F.avg_pool2d, ((2, 36), 2), (5, 40)),
    (F.avg_pool3d, (2, 1), (3, 4, 18)),
    (F.adaptive_avg_pool2d, ((3, 4),), (7, 30)),
    (F.adaptive_avg_pool2d, (1,), (7, 33)),
    (F.adaptive_avg_pool2d, ((3, 10),), (6, 30)),
    (F.adaptive_avg_pool2d, ((2, 2),), (6, 66)),
    (F.avg_pool2d, ((2, 17), (1, 9)), (5, 60)),
    (F.adaptive_max_pool2d, ((3, 10),), (6, 30)),
    (F.adaptive_max_pool2d, ((3, 4),), (7, 30)),
    (F.adaptive_max_pool3d, ((2, 1, 5),), (3, 4, 11)),
]


def planes(size, channels=70, values=9):
    """Planes of few different numbers, so that maxima are met more than once."""
    facula.manual_seed(1)
    return facula.randint(-values, values, (2, channels, *size)).float()


def channels_last(x):
    order = facula.channels_last if x.ndim == 4 else facula.channels_last_3d
    return x.to(memory_format=order)


@pytest.mark.parametrize("dtype", [facula.float32, facula.float64, facula.bfloat16], ids=str)
@pytest.mark.parametrize("pool, args, size", CASES, ids=str)
def test_orders_agree(pool, args, size, dtype):
    x = planes(size).to(dtype)
    results = []
    for leaf in (x.clone(), channels_last(x)):
        y = pool(leaf.requires_grad_(), *args)
        grad = (facula.arange(y.numel()) % 8).reshape(y.shape).to(dtype)
        y.backward(grad if leaf.is_contiguous() else channels_last(grad))
        if y.shape[-1] > 1:
            assert y.stride(1) == (1 if leaf.stride(1) == 1 else y[0, 0].numel())
        results.append((y.detach(), leaf.grad))
    assert bool((results[0][1].double() - results[1][1].double()).abs().max() <= 0.05)
    assert results[0][0].double().sub(results[1][0].double()).abs().max().item() <= 0.01


@pytest.mark.parametrize("pool, args, size", [c for c in CASES if "max_pool" in str(c[0])], ids=str)
def test_first_of_equals(pool, args, size):
    """An index is that of the first element of its window that has the value of the maximum."""
    x = planes(size, 3, 2)
    for leaf in (x, channels_last(x)):
        y, indices = pool(leaf, *args, return_indices=True)
        flat = x.reshape(2, 3, -1)
        assert bool((flat.gather(2, indices.reshape(2, 3, -1)) == y.reshape(2, 3, -1)).all())
        # with a slope of less than a step over the plane, what lies first is larger
        count = flat.shape[2]
        slope = facula.arange(count).flip(0).reshape(size).double() * (0.5 / count)
        one = pool(x.double() + slope, *args, return_indices=True)[1]
        assert bool((one == indices).all())


@pytest.mark.parametrize("order", ["C", "last"])
def test_special_values(order):
    x = facula.full((1, 2, 4, 40), -INF)
    x[0, 0, 1, 3] = x[0, 0, 2, 1] = NAN
    x = channels_last(x) if order == "last" else x
    y, indices = F.max_pool2d(x, 3, 1, 1, return_indices=True)
    assert y[0, 0, 0, 0].item() == -INF and indices[0, 0, 0, 0].item() == 0
    assert y[0, 0, 1, 2].isnan().item() and indices[0, 0, 1, 2].item() == 81
    assert y[0, 0, 0, 3].isnan().item() and indices[0, 0, 0, 3].item() == 43
    assert not y[0, 1].isnan().any()
    mean = F.avg_pool2d(x, 3, 1, 1)
    assert mean[0, 0, 3, 0].isnan().item() and not mean[0, 1].isnan().any()


MAXIMA = [
    *(c for c in CASES if "function max_pool" in str(c[0])),
    (F.max_pool1d, (3, 2), (70,)),
    (F.max_pool1d, (3, 1, 1), (1200,)),
    (F.max_pool1d, (5, 3, 2, 2, True), (61,)),
    (F.max_pool1d, (40, 7), (90,)),
]


@pytest.mark.parametrize("dtype", [facula.float32, facula.bfloat16, facula.int16], ids=str)
@pytest.mark.parametrize("pool, args, size", MAXIMA, ids=str)
def test_values_alone(pool, args, size, dtype):
    """Without a gradient no places are looked for; the values are the same."""
    x = planes(size).to(dtype)
    if dtype.is_floating_point:
        x[0, 0].view(-1)[3] = NAN
    for leaf in (x, channels_last(x)) if len(size) > 1 else (x,):
        values, _ = pool(leaf, *args, return_indices=True)
        alone = pool(leaf, *args)
        assert alone.stride() == values.stride()
        assert bool(((alone == values) | (alone != alone) & (values != values)).all())


def test_gradient_of_values_alone():
    args = ([3, 2], [2, 1], [1, 0], [1, 1], False)
    x = planes((7, 9), 2).double().requires_grad_()
    facula._C._max_pool_values(x, *args).square().sum().backward()
    expected = planes((7, 9), 2).double().requires_grad_()
    facula._C._max_pool(expected, *args)[0].square().sum().backward()
    assert bool((x.grad == expected.grad).all())
