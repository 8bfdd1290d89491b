"""Functions of Python above the operators, under transforms: forward mode beside reverse mode, and
vmap, with and without gradients, beside a loop. What is an operator itself is in tests/ops.
"""

import facula
import facula.nn.functional as F  # noqa: N812
import pytest
from facula.func import grad, jvp, vjp, vmap

SIZE = 3


def real(*shape, low=-2.0, high=2.0):
    return facula.rand(SIZE, *shape, dtype=facula.float64) * (high - low) + low


def distinct(*shape):
    """No two numbers are close: for maxima."""
    count = facula.Size(shape).numel()
    return facula.stack([facula.randperm(count).double().view(shape) / count for _ in range(SIZE)])


def index(n, *shape):
    return facula.randint(n, (SIZE, *shape))


def signs(*shape):
    return facula.randint(2, (SIZE, *shape)).double() * 2 - 1


def chance(*shape):
    return real(*shape, low=0.1, high=0.9)


# A function, and what makes a batch of each of its arguments.
CASES = {
    "softmin": (lambda x: F.softmin(x, 1), lambda: [real(2, 5)]),
    "softmax": (lambda x: F.softmax(x, 0), lambda: [real(2, 5)]),
    "log_softmax": (lambda x: F.log_softmax(x, -1), lambda: [real(2, 5)]),
    "einsum": (
        lambda a, b, c: facula.einsum("ij,jk,k->ik", a, b, c),
        lambda: [real(2, 3), real(3, 4), real(4)],
    ),
    "einsum trace": (lambda a: facula.einsum("ii->i", a), lambda: [real(3, 3)]),
    "tensordot": (
        lambda a, b: facula.tensordot(a, b, ([1, 0], [0, 2])),
        lambda: [real(2, 3, 4), real(3, 5, 2)],
    ),
    "meshgrid": (lambda a, b: facula.meshgrid(a, b, indexing="xy"), lambda: [real(3), real(2)]),
    "broadcast_tensors": (facula.broadcast_tensors, lambda: [real(3, 1), real(2)]),
    "atleast": (facula.atleast_3d, lambda: [real(3, 2)]),
    "block_diag": (facula.block_diag, lambda: [real(2, 1), real(3, 2)]),
    "cartesian_prod": (facula.cartesian_prod, lambda: [real(2), real(3)]),
    "norm": (lambda x: facula.norm(x, 3, 1), lambda: [real(2, 4)]),
    "nuclear norm": (lambda x: facula.norm(x, "nuc"), lambda: [real(3, 3)]),
    "max_pool1d": (lambda x: F.max_pool1d(x, 2), lambda: [distinct(2, 3, 8)]),
    "max_pool2d": (
        lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
        lambda: [distinct(2, 3, 6, 6)],
    ),
    "max_pool3d": (lambda x: F.max_pool3d(x, 2), lambda: [distinct(1, 2, 4, 4, 4)]),
    "adaptive_max_pool2d": (
        lambda x: F.adaptive_max_pool2d(x, (2, 3)),
        lambda: [distinct(2, 2, 5, 6)],
    ),
    "adaptive_avg_pool2d": (lambda x: F.adaptive_avg_pool2d(x, 2), lambda: [real(2, 2, 5, 6)]),
    "adaptive_avg_pool3d": (lambda x: F.adaptive_avg_pool3d(x, 2), lambda: [real(1, 2, 3, 4, 5)]),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2, ceil_mode=True), lambda: [real(2, 2, 5, 6)]),
    "interpolate": (
        lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"),
        lambda: [real(1, 2, 4, 4)],
    ),
    "normalize": (lambda x: F.normalize(x, dim=1), lambda: [real(2, 5)]),
    "cosine_similarity": (F.cosine_similarity, lambda: [real(4, 5), real(4, 5)]),
    "mse_loss": (F.mse_loss, lambda: [real(4, 5), real(4, 5)]),
    "l1_loss": (lambda x, y: F.l1_loss(x, y, reduction="sum"), lambda: [real(5), real(5)]),
    "smooth_l1_loss": (lambda x, y: F.smooth_l1_loss(x, y, beta=0.7), lambda: [real(9), real(9)]),
    "huber_loss": (lambda x, y: F.huber_loss(x, y, delta=0.7), lambda: [real(9), real(9)]),
    "binary_cross_entropy": (
        lambda x, y, w: F.binary_cross_entropy(x, y, w),
        lambda: [chance(6), chance(6), chance(6)],
    ),
    "binary_cross_entropy_with_logits": (
        lambda x, y, w: F.binary_cross_entropy_with_logits(x, y, pos_weight=w, reduction="none"),
        lambda: [real(4, 6), chance(4, 6), chance(6)],
    ),
    "cross_entropy": (
        lambda x, y: F.cross_entropy(x, y, ignore_index=1),
        lambda: [real(6, 4), index(4, 6)],
    ),
    "cross_entropy, weights": (
        lambda x, y, w: F.cross_entropy(x, y, w, label_smoothing=0.1),
        lambda: [real(6, 4), index(4, 6), chance(4)],
    ),
    "cross_entropy of probabilities": (
        lambda x, y: F.cross_entropy(x, y.softmax(1), reduction="sum"),
        lambda: [real(6, 4), real(6, 4)],
    ),
    "nll_loss": (
        lambda x, y: F.nll_loss(x, y, reduction="none"),
        lambda: [real(2, 4, 3), index(4, 2, 3)],
    ),
    "kl_div": (lambda x, y: F.kl_div(x, y), lambda: [real(4, 3), chance(4, 3)]),
    "poisson_nll_loss": (F.poisson_nll_loss, lambda: [real(5), chance(5)]),
    "gaussian_nll_loss": (F.gaussian_nll_loss, lambda: [real(5), real(5), chance(5)]),
    "hinge_embedding_loss": (F.hinge_embedding_loss, lambda: [real(5), signs(5)]),
    "margin_ranking_loss": (F.margin_ranking_loss, lambda: [real(5), real(5), signs(5)]),
    "soft_margin_loss": (F.soft_margin_loss, lambda: [real(5), signs(5)]),
    "embedding": (lambda i, w: F.embedding(i, w), lambda: [index(5, 2, 3), real(5, 4)]),
    "linear": (F.linear, lambda: [real(2, 3), real(4, 3), real(4)]),
    "conv2d": (
        lambda x, w, b: F.conv2d(x, w, b, padding=1, stride=2),
        lambda: [real(2, 2, 5, 5), real(3, 2, 3, 3), real(3)],
    ),
    "layer_norm": (lambda x, w: F.layer_norm(x, (4,), w), lambda: [real(3, 4), real(4)]),
    "group_norm": (lambda x, w: F.group_norm(x, 2, w), lambda: [real(2, 4, 3), real(4)]),
    "instance_norm": (F.instance_norm, lambda: [real(2, 3, 5)]),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        lambda: [real(4, 3, 2), real(3), real(3)],
    ),
    "native_layer_norm": (
        lambda x, w, b: facula.native_layer_norm(x, [4], w, b, 1e-5)[0],
        lambda: [real(3, 4), real(4), real(4)],
    ),
    "native_batch_norm": (
        lambda x, w, b: facula.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5)[0],
        lambda: [real(4, 3), real(3), real(3)],
    ),
    "attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        lambda: [real(2, 4, 3) for _ in range(3)],
    ),
    "svd_lowrank": (lambda x: facula.svd_lowrank(x, 2)[1], lambda: [real(4, 3)]),
}
# Draws random numbers, or decides by values: not inside of vmap.
REFUSED = {"svd_lowrank", "gaussian_nll_loss"}


def tensors(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def weights(t):
    return facula.arange(1, t.numel() + 1, dtype=t.dtype).sin().reshape(t.shape)


def make(name):
    facula.manual_seed(0)
    function, arguments = CASES[name]
    arguments = arguments()
    where = [k for k, t in enumerate(arguments) if t.is_floating_point()]

    def of_floats(*floats):
        mixed = list(rest)
        for k, t in zip(where, floats):
            mixed[k] = t
        facula.manual_seed(1)
        return function(*mixed)

    rest = [t[0] for t in arguments]
    return function, arguments, of_floats, [rest[k] for k in where]


def assert_close(results, expected):
    for result, e in zip(results, expected, strict=True):
        assert result.shape == e.shape and result.dtype == e.dtype
        assert facula.allclose(result, e, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_forward_mode_agrees_with_reverse_mode(name):
    _, _, function, inputs = make(name)
    directions = [weights(x).cos() for x in inputs]
    outputs, moved = jvp(lambda *x: tensors(function(*x)), tuple(inputs), tuple(directions))
    gradients = vjp(lambda *x: tensors(function(*x)), *inputs)[1]([weights(y) for y in outputs])
    forward = sum((m * weights(m)).sum() for m in moved)
    backward = sum((g * d).sum() for g, d in zip(gradients, directions))
    assert facula.allclose(forward, backward, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in CASES if name not in REFUSED])
def test_vmap_agrees_with_the_loop(name):
    function, arguments, _, _ = make(name)
    for batched in ({k} for k in range(len(arguments))), [set(range(len(arguments)))]:
        for chosen in batched:
            given = [t if k in chosen else t[0] for k, t in enumerate(arguments)]
            dims = tuple(0 if k in chosen else None for k in range(len(given)))
            result = vmap(lambda *a: tuple(tensors(function(*a))), in_dims=dims)(*given)
            each = [
                tensors(function(*(t[i] if k in chosen else t for k, t in enumerate(given))))
                for i in range(SIZE)
            ]
            assert_close(result, [facula.stack(same) for same in zip(*each)])


@pytest.mark.parametrize("name", [name for name in CASES if name not in REFUSED])
def test_vmap_of_the_gradient_agrees_with_the_loop(name):
    function, arguments, _, _ = make(name)
    where = tuple(k for k, t in enumerate(arguments) if t.is_floating_point())
    of_each = grad(lambda *a: sum((y * weights(y)).sum() for y in tensors(function(*a))), where)
    each = [of_each(*(t[i] for t in arguments)) for i in range(SIZE)]
    assert_close(vmap(of_each)(*arguments), [facula.stack(same) for same in zip(*each)])
