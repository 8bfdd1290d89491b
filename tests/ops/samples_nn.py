"""Samples of csrc/ops/{norm,loss,nn,conv}.py. References are loops over NumPy."""

import itertools

import facula
import numpy as np
from registry import Sample, samples
from scipy import special

FLOAT = "float"

# --- softmax and normalization


@samples("softmax", reference=lambda a, dim, dtype=None: special.softmax(a, dim))
def _(make):
    yield from softmax_samples(make)


@samples("log_softmax", reference=lambda a, dim, dtype=None: special.log_softmax(a, dim))
def _(make):
    yield from softmax_samples(make)


def softmax_samples(make):
    yield Sample((make(3, 5), 1))
    yield Sample((make(3, 5, 40), 1))
    yield Sample((make(2, 70), -1))
    yield Sample((make(), 0))
    yield Sample((make(0, 3), 1))
    yield Sample((make(3, 5), 0), {"dtype": facula.float64})


def normalized(x, axes, eps):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    y = normalized(x, tuple(range(-len(shape), 0)), eps)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


@samples("layer_norm", reference=layer_norm, slack=4)
def _(make):
    yield Sample((make(3, 5), [5]))
    yield Sample((make(2, 3, 40), [40], make(40), make(40)))
    yield Sample((make(2, 3, 5), [3, 5], make(3, 5)))
    yield Sample((make(2, 5), [5], None, make(5), 0.1))


# Of the native forms, the statistics are results without a gradient.
@samples(
    "native_layer_norm",
    slack=4,
    grad=False,
    reference=lambda *args: (layer_norm(*args), None, None),
)
def _(make):
    yield Sample((make(2, 3, 5), [3, 5], make(3, 5), make(3, 5), 1e-5))


@samples(
    "rms_norm",
    slack=4,
    reference=lambda x, shape, weight=None, eps=2**-23: (
        x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * (1 if weight is None else weight)
    ),
)
def _(make):
    yield Sample((make(3, 5), [5], make(5), 1e-3))
    yield Sample((make(2, 3, 5), [5], None, 1e-3))


def by_channel(x, vector, default):
    return default if vector is None else vector.reshape(1, -1, *[1] * (x.ndim - 2))


def batch_norm(x, weight, bias, mean, var, training, momentum, eps, cudnn=True):
    if training:
        y = normalized(x, (0, *range(2, x.ndim)), eps)
    else:
        y = (x - by_channel(x, mean, 0)) / np.sqrt(by_channel(x, var, 1) + eps)
    return y * by_channel(x, weight, 1) + by_channel(x, bias, 0)


def batch_samples(make, *more):
    yield Sample((make(4, 3), None, None, None, None, True, 0.1, 1e-5, *more))
    for training in (True, False):
        rest = (make(3), make(3, low=1, high=2), training, 0.1, 1e-3, *more)
        # Running statistics take no gradient, though differences would find one.
        yield Sample((make(2, 3, 4), make(3), make(3), *rest), grad=False)
        yield Sample((make(3, 3, 2, 2), None, None, *rest), grad=False)
    yield Sample((make(2, 3, 4), make(3), make(3), None, None, True, 0.1, 1e-3, *more))


@samples("batch_norm", reference=batch_norm, slack=8)
def _(make):
    yield from batch_samples(make, True)


@samples(
    "native_batch_norm",
    slack=8,
    grad=False,
    reference=lambda *args: (batch_norm(*args), None, None),
)
def _(make):
    yield from batch_samples(make)


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    y = normalized(x.reshape(x.shape[0], groups, -1), (2,), eps).reshape(x.shape)
    return y * by_channel(x, weight, 1) + by_channel(x, bias, 0)


@samples("group_norm", reference=group_norm, slack=8)
def _(make):
    yield Sample((make(2, 6, 3), 3, make(6), make(6), 1e-3))
    yield Sample((make(2, 6, 2, 2), 2))


@samples(
    "instance_norm",
    slack=8,
    reference=lambda x, weight, bias, *rest: group_norm(x, x.shape[1], weight, bias, rest[-2]),
)
def _(make):
    yield Sample((make(2, 3, 5), make(3), make(3), None, None, True, 0.1, 1e-3, True))
    yield Sample((make(2, 3, 2, 2), None, None, None, None, True, 0.1, 1e-3, True))


# --- losses


def reduced(loss, reduction):
    return (loss, loss.mean(), loss.sum())[reduction]


@samples(
    "kl_div",
    reference=lambda x, t, reduction=1, log_target=False: reduced(
        np.exp(t) * (t - x) if log_target else special.xlogy(t, t) - t * x, reduction
    ),
)
def _(make):
    for reduction in range(3):
        yield Sample((make(3, 4), make(3, 4, low=0.1, high=1), reduction))
    yield Sample((make(3, 4), make(3, 4)), {"log_target": True})


@samples(
    "binary_cross_entropy_with_logits",
    reference=lambda x, t, weight=None, positive=None, reduction=1: reduced(
        ((1 - t) * x + (1 + ((1 if positive is None else positive) - 1) * t) * np.logaddexp(0, -x))
        * (1 if weight is None else weight),
        reduction,
    ),
)
def _(make):
    for reduction in range(3):
        yield Sample((make(3, 4), make(3, 4, low=0, high=1), None, None, reduction))
    yield Sample((make(3, 4), make(3, 4, low=0, high=1), make(4), make(4)))


@samples(
    "hinge_embedding_loss",
    reference=lambda x, t, margin=1.0, reduction=1: reduced(
        np.where(t != 1, np.maximum(margin - x, 0), 0) + np.where(t != -1, x, 0), reduction
    ),
)
def _(make):
    sign = facula.where(make(3, 4) > 0, 1, -1).to(make.dtype)
    for reduction in range(3):
        yield Sample((make(3, 4), sign, 0.5, reduction))


@samples(
    "margin_ranking_loss",
    reference=lambda a, b, t, margin=0.0, reduction=1: reduced(
        np.maximum(-t * (a - b) + margin, 0), reduction
    ),
)
def _(make):
    sign = facula.where(make(3, 4) > 0, 1, -1).to(make.dtype)
    yield Sample((make(3, 4), make(3, 4), sign, 0.5, 2))


@samples(
    "poisson_nll_loss",
    slack=4,
    reference=lambda x, t, log, full, eps, reduction: reduced(
        np.exp(x) - t * x if log else x - t * np.log(x + eps), reduction
    ),
)
def _(make):
    for log in (True, False):
        yield Sample((make(3, 4, low=0.5, high=2), make(3, 4, low=0, high=1), log, False, 1e-8, 1))


@samples(
    "cosine_similarity",
    slack=4,
    reference=lambda a, b, dim=1, eps=1e-8: (
        (a * b).sum(dim) / np.linalg.norm(a, axis=dim) / np.linalg.norm(b, axis=dim)
    ),
)
def _(make):
    yield Sample((make(3, 4), make(3, 4)))
    yield Sample((make(3, 4, 2), make(3, 4, 2), -1))


# --- embedding


@samples(
    "embedding",
    reference=lambda weight, indices, *rest: weight[indices],
    dtypes="float32 float64 bfloat16",
)
def _(make):
    yield Sample((make(5, 3), make.index(5, 2, 4)))
    yield Sample((make(5, 3), make.index(5), -1))
    # Differences see the padding, whose gradient is zero by definition.
    yield Sample((make(5, 3), make.index(5, 6), 2, False), grad=False)


def embedding_bag(
    weight,
    indices,
    offsets,
    freq=False,
    mode=0,
    sparse=False,
    scales=None,
    last=False,
    padding=None,
):
    ends = [*offsets[1:], *([] if last else [len(indices)])]
    out = np.zeros((len(ends), weight.shape[1]), weight.dtype)
    for bag, (begin, end) in enumerate(zip(offsets, ends)):
        kept = [i for i in range(begin, end) if indices[i] != padding]
        rows = weight[indices[kept]] * (1 if scales is None else scales[kept][:, None])
        if kept:
            out[bag] = (np.sum, np.mean, np.max)[mode](rows, axis=0)
    return out, None, None, None


@samples("embedding_bag", reference=embedding_bag, dtypes="float32 float64 bfloat16", slack=4)
def _(make):
    # All elements of a batch must be offsets; tests/nn/test_embedding.py has bags of all sizes.
    offsets = facula.tensor([0, 0])
    for mode in (0, 1, 2):
        yield Sample((make.distinct(5, 3), make.index(5, 6), offsets, False, mode))
    scales = make(6)
    yield Sample((make(5, 3), make.index(5, 6), offsets, False, 0, False, scales, False, 2))


@samples(
    "embedding_renorm_",
    reference=lambda weight, indices, most, power: np.stack(
        [
            row * min(1, most / (np.linalg.norm(row, power) + 1e-7)) if i in indices else row
            for i, row in enumerate(weight)
        ]
    ),
    dtypes=FLOAT,
    grad=False,
)
def _(make):
    yield Sample((make(5, 3), make.index(5, 4), 1.0, 2.0))


# --- convolution


def conv(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    n = weight.ndim - 2
    single = x.ndim == n + 1
    x = x[None] if single else x
    stride, dilation = (np.broadcast_to(v, n) for v in (stride, dilation))
    kernel = np.array(weight.shape[2:])
    if padding == "same":
        total = dilation * (kernel - 1)
        pads = [(t // 2, t - t // 2) for t in total]
    else:
        pads = [(p, p) for p in np.broadcast_to(0 if padding == "valid" else padding, n)]
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    size = (np.array(x.shape[2:]) - dilation * (kernel - 1) - 1) // stride + 1
    out = np.zeros((x.shape[0], weight.shape[0], *size), np.result_type(x, weight))
    inner, outer = weight.shape[1], weight.shape[0] // groups
    for tap in itertools.product(*map(range, kernel)):
        window = tuple(
            slice(t * d, t * d + s * (m - 1) + 1, s)
            for t, d, s, m in zip(tap, dilation, stride, size)
        )
        for g in range(groups):
            part = x[(slice(None), slice(g * inner, (g + 1) * inner), *window)]
            w = weight[(slice(g * outer, (g + 1) * outer), slice(None), *tap)]
            out[:, g * outer : (g + 1) * outer] += np.einsum("nc...,oc->no...", part, w)
    out = out + (0 if bias is None else by_channel(out, bias, 0))
    return out[0] if single else out


def conv_samples(n):
    def build(make):
        space, kernel = (7, 6, 5)[:n], (3, 2, 2)[:n]
        yield Sample((make(2, 4, *space), make(6, 4, *kernel), make(6)))
        yield Sample((make(4, *space), make(6, 2, *kernel), None, 2, 1, 1, 2))
        yield Sample(
            (make(2, 4, *space), make(4, 1, *kernel), make(4), 1, 0, [2] + [1] * (n - 1), 4)
        )
        yield Sample((make(2, 3, *space), make(5, 3, *[1] * n)))
        yield Sample((make(0, 4, *space), make(6, 4, *kernel)))

    return build


def conv_padding_samples(n):
    def build(make):
        space, kernel = (7, 6, 5)[:n], (3, 2, 2)[:n]
        for padding in ("same", "valid"):
            yield Sample((make(2, 4, *space), make(6, 4, *kernel), make(6), 1, padding))

    return build


for n in (1, 2, 3):
    samples(f"conv{n}d", reference=conv, dtypes="float complex", slack=8)(conv_samples(n))
    samples(f"conv{n}d.padding", reference=conv, dtypes=FLOAT, slack=8)(conv_padding_samples(n))


def conv_transpose(x, weight, bias=None, stride=1, padding=0, extra=0, groups=1, dilation=1):
    """Spreads x over a grid with zeros between, and convolves that with the turned weight."""
    n = weight.ndim - 2
    stride, padding, extra, dilation = (
        np.broadcast_to(v, n) for v in (stride, padding, extra, dilation)
    )
    size = np.array(x.shape[2:])
    wide = np.zeros((*x.shape[:2], *((size - 1) * stride + 1)), x.dtype)
    wide[(slice(None), slice(None), *(slice(None, None, s) for s in stride))] = x
    reach = dilation * (np.array(weight.shape[2:]) - 1)
    wide = np.pad(wide, [(0, 0), (0, 0), *((r, r + e) for r, e in zip(reach, extra))])
    turned = np.flip(weight, tuple(range(2, n + 2)))
    parts = [w.swapaxes(0, 1) for w in np.split(turned, groups)]
    out = conv(wide, np.concatenate(parts), bias, 1, 0, dilation, groups)
    cut = (slice(p, m - p) for p, m in zip(padding, out.shape[2:]))
    return out[(slice(None), slice(None), *cut)]


def conv_transpose_samples(n):
    def build(make):
        space, kernel = (4, 3, 3)[:n], (3, 2, 2)[:n]
        yield Sample((make(2, 4, *space), make(4, 3, *kernel), make(3)))
        yield Sample((make(2, 4, *space), make(4, 3, *kernel), None, 2, 1, 1, 2))
        yield Sample((make(2, 4, *space), make(4, 3, *kernel), make(3), 1, 0, 1, 1, 2))

    return build


for n in (1, 2, 3):
    samples(f"conv_transpose{n}d", reference=conv_transpose, dtypes="float complex", slack=8)(
        conv_transpose_samples(n)
    )


@samples(
    "convolution",
    dtypes=FLOAT,
    slack=8,
    reference=lambda x, w, b, s, p, d, transposed, e, g: (
        conv_transpose(x, w, b, s, p, e, g, d) if transposed else conv(x, w, b, s, p, d, g)
    ),
)
def _(make):
    for transposed in (False, True):
        x, weight = make(2, 4, 5, 5), make(4, 4, 3, 3)
        yield Sample((x, weight, make(4), [2, 2], [1, 1], [1, 1], transposed, [0, 0], 1))


# --- pooling


def windows(x, kernel, stride, padding, dilation, ceil):
    """For each output position: its index and, dim by dim, the start and end of its window."""
    n = len(kernel)
    ranges = []
    for size, k, s, p, d in zip(x.shape[-n:], kernel, stride, padding, dilation):
        free = size + 2 * p - d * (k - 1) - 1
        count = (free + (s - 1 if ceil else 0)) // s + 1
        if ceil and (count - 1) * s >= size + p:
            count -= 1
        ranges.append([(i * s - p, i * s - p + d * (k - 1) + 1) for i in range(count)])
    return ranges


def pool(x, kernel, stride, padding, dilation, ceil, function):
    n = len(kernel)
    stride = list(stride) or kernel
    spread = lambda v: list(np.broadcast_to(v, n))
    kernel, stride, padding, dilation = map(spread, (kernel, stride, padding, dilation))
    ranges = windows(x, kernel, stride, padding, dilation, ceil)
    out = np.zeros((*x.shape[:-n], *map(len, ranges)), x.dtype)
    for at in itertools.product(*(range(len(r)) for r in ranges)):
        spans = [r[i] for r, i in zip(ranges, at)]
        inside = [range(a, b, d) for (a, b), d in zip(spans, dilation)]
        taken = [[i for i in r if 0 <= i < size] for r, size in zip(inside, x.shape[-n:])]
        window = x[(..., *np.ix_(*taken))]
        padded = [min(b, size + p) - a for (a, b), p, size in zip(spans, padding, x.shape[-n:])]
        out[(..., *at)] = function(window.reshape(*x.shape[:-n], -1), np.prod(padded))
    return out


def max_pool(x, kernel, stride=(), padding=0, dilation=1, ceil=False):
    return pool(x, list(kernel), stride, padding, dilation, ceil, lambda w, _: w.max(-1))


def avg_pool(x, kernel, stride=(), padding=0, ceil=False, count_padding=True, divisor=None):
    def mean(window, padded):
        return window.sum(-1) / (divisor or (padded if count_padding else window.shape[-1]))

    return pool(x, list(kernel), stride, padding, 1, ceil, mean)


def max_pool_samples(n):
    def build(make):
        space = (7, 6, 5)[:n]
        yield Sample((make.distinct(2, 3, *space), [2] * n))
        yield Sample((make.distinct(3, *space), [3] * n, [2] * n, [1] * n))
        yield Sample(
            (make.distinct(2, 1, *space), [2] * n, [2] * n, [0] * n, [2] + [1] * (n - 1), True)
        )

    return build


def avg_pool_samples(n):
    def build(make):
        space = (7, 6, 5)[:n]
        yield Sample((make(2, 3, *space), [2] * n))
        yield Sample((make(3, *space), [3] * n, [2] * n, [1] * n, True, False))
        yield Sample((make(2, 1, *space), [3] * n, [2] * n, [1] * n, True))

    return build


for n in (1, 2, 3):
    samples(f"max_pool{n}d", reference=max_pool, dtypes=FLOAT)(max_pool_samples(n))
    samples(f"avg_pool{n}d", reference=avg_pool, dtypes=FLOAT, slack=4)(avg_pool_samples(n))


@samples("max_pool1d_with_indices", reference=lambda *args: (max_pool(*args), None), dtypes=FLOAT)
def _(make):
    yield from max_pool_samples(1)(make)


def adaptive(x, size, function):
    spans = [
        (i * x.shape[-1] // size[0], -(-(i + 1) * x.shape[-1] // size[0])) for i in range(size[0])
    ]
    return np.stack([function(x[..., a:b]) for a, b in spans], -1)


@samples(
    "adaptive_avg_pool1d",
    reference=lambda x, size: adaptive(x, size, lambda w: w.mean(-1)),
    dtypes=FLOAT,
    slack=4,
)
def _(make):
    yield Sample((make(2, 3, 7), [3]))
    yield Sample((make(3, 4), [6]))


@samples(
    "adaptive_max_pool1d",
    dtypes=FLOAT,
    reference=lambda x, size: (adaptive(x, size, lambda w: w.max(-1)), None),
)
def _(make):
    yield Sample((make.distinct(2, 3, 7), [3]))
    yield Sample((make.distinct(3, 4), [6]))


# --- distances and what is made of them


def distance(a, b, p=2, eps=1e-6, keepdim=False):
    return np.linalg.norm(a - b + eps, p, axis=-1, keepdims=keepdim)


@samples("pairwise_distance", reference=distance, dtypes=FLOAT, slack=4)
def _(make):
    yield Sample((make(3, 4), make(3, 4)))
    yield Sample((make(2, 3, 4), make(4), 3.0, 1e-3, True))


def cosine_embedding(a, b, target, margin=0.0, reduction=1):
    cosine = (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))
    return np.where(target == 1, 1 - cosine, np.maximum(cosine - margin, 0)).mean()


@samples("cosine_embedding_loss", reference=cosine_embedding, dtypes=FLOAT, slack=4)
def _(make):
    yield Sample((make(4, 3), make(4, 3), facula.tensor([1, -1, 1, -1]), 0.1))


def triplet(anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, reduction=1):
    far = distance(anchor, negative, p, eps)
    if swap:
        far = np.minimum(far, distance(positive, negative, p, eps))
    return np.maximum(distance(anchor, positive, p, eps) - far + margin, 0).mean()


@samples("triplet_margin_loss", reference=triplet, dtypes=FLOAT, slack=4)
def _(make):
    yield Sample((make(4, 3), make(4, 3), make(4, 3)))
    yield Sample((make(4, 3), make(4, 3), make(4, 3), 2.0, 3.0, 1e-3, True))


# --- recurrent layers


def directions(x, h0, c0, params, step, bidirectional, biases):
    """One layer of a recurrent network over x [time, batch, features]; the states and outputs."""
    each = 4 if biases else 2
    outs, states = [], []
    for d in range(1 + bidirectional):
        w_ih, w_hh, *b = params[each * d : each * (d + 1)]
        b_ih, b_hh = b or (0, 0)
        h, c, out = h0[d], None if c0 is None else c0[d], []
        for xt in x[::-1] if d else x:
            h, c = step(xt @ w_ih.T + b_ih, h @ w_hh.T + b_hh, h, c)
            out.append(h)
        outs.append(np.stack(out[::-1] if d else out))
        states.append((h, c))
    return np.concatenate(outs, -1), states


def recurrent(x, h0, c0, params, biases, layers, bidirectional, batch_first, step):
    x = x.swapaxes(0, 1) if batch_first else x
    count, states = 1 + bidirectional, []
    each = (4 if biases else 2) * count
    for layer in range(layers):
        at = slice(layer * count, (layer + 1) * count)
        x, more = directions(
            x,
            h0[at],
            None if c0 is None else c0[at],
            params[layer * each : (layer + 1) * each],
            step,
            bidirectional,
            biases,
        )
        states += more
    finals = [np.stack(s) for s in zip(*states) if s[0] is not None]
    return (x.swapaxes(0, 1) if batch_first else x, *finals)


def lstm_step(gx, gh, h, c):
    i, f, n, o = np.split(gx + gh, 4, -1)
    c = special.expit(f) * c + special.expit(i) * np.tanh(n)
    return special.expit(o) * np.tanh(c), c


def gru_step(gx, gh, h, c):
    (xr, xz, xn), (hr, hz, hn) = np.split(gx, 3, -1), np.split(gh, 3, -1)
    n = np.tanh(xn + special.expit(xr + hr) * hn)
    z = special.expit(xz + hz)
    return (1 - z) * n + z * h, None


STEPS = {
    "gru": (3, gru_step),
    "rnn_tanh": (1, lambda gx, gh, h, c: (np.tanh(gx + gh), None)),
    "rnn_relu": (1, lambda gx, gh, h, c: (np.maximum(gx + gh, 0), None)),
}


def recurrent_samples(make, gates, state):
    for layers, two, biases, batch_first in ((1, False, True, False), (2, True, False, True)):
        count, params = 1 + two, []
        for layer in range(layers):
            for _ in range(count):
                params += [make(3 * gates, 3 * count if layer else 4), make(3 * gates, 3)]
                params += [make(3 * gates), make(3 * gates)] if biases else []
        hx = state(lambda states=layers * count: make(states, 2, 3))
        x = make(2, 5, 4) if batch_first else make(5, 2, 4)
        yield Sample((x, hx, params, biases, layers, 0.0, True, two, batch_first))


@samples(
    "lstm",
    slack=8,
    dtypes=FLOAT,
    reference=lambda x, hx, params, biases, layers, p, train, two, first: recurrent(
        x, *hx, params, biases, layers, two, first, lstm_step
    ),
)
def _(make):
    yield from recurrent_samples(make, 4, lambda state: [state(), state()])


def declare_recurrent(name, gates, step):
    def reference(x, hx, params, biases, layers, p, train, two, first):
        return recurrent(x, hx, None, params, biases, layers, two, first, step)

    def build(make):
        yield from recurrent_samples(make, gates, lambda state: state())

    samples(name, reference=reference, slack=16, dtypes=FLOAT)(build)


for name, (gates, step) in STEPS.items():
    declare_recurrent(name, gates, step)


@samples(
    "lstm_cell",
    slack=4,
    dtypes=FLOAT,
    reference=lambda x, hx, w_ih, w_hh, b_ih=0, b_hh=0: lstm_step(
        x @ w_ih.T + b_ih, hx[0] @ w_hh.T + b_hh, *hx
    ),
)
def _(make):
    yield Sample(
        (make(2, 4), [make(2, 3), make(2, 3)], make(12, 4), make(12, 3), make(12), make(12))
    )


def declare_cell(name, gates, step):
    def reference(x, h, w_ih, w_hh, b_ih=0, b_hh=0):
        return step(x @ w_ih.T + b_ih, h @ w_hh.T + b_hh, h, None)[0]

    def build(make):
        rows = 3 * gates
        yield Sample((make(2, 4), make(2, 3), make(rows, 4), make(rows, 3)))
        yield Sample((make(2, 4), make(2, 3), make(rows, 4), make(rows, 3), make(rows), make(rows)))

    samples(f"{name}_cell", reference=reference, slack=8, dtypes=FLOAT)(build)


for name, (gates, step) in STEPS.items():
    declare_cell(name, gates, step)


# --- resizing


def axis_matrix(inputs, outputs, mode, align, scale):
    """What each place of an axis is made of, as a matrix."""
    matrix = np.zeros((outputs, inputs))
    if align and mode not in ("nearest", "nearest-exact"):
        ratio = (inputs - 1) / (outputs - 1) if outputs > 1 else 0.0
    else:
        ratio = 1 / scale if scale else inputs / outputs
    for i in range(outputs):
        at = i * ratio if align else ratio * (i + 0.5) - 0.5
        if mode.startswith("nearest"):
            place = int((i + 0.5) * ratio if mode == "nearest-exact" else i * ratio)
            taps = {place: 1.0}
        elif mode == "bicubic":
            base = int(np.floor(at))
            distance = [abs(at - (base + k)) for k in (-1, 0, 1, 2)]
            near = [1.25 * d**3 - 2.25 * d**2 + 1 for d in distance]
            far = [-0.75 * (d**3 - 5 * d**2 + 8 * d - 4) for d in distance]
            taps = dict(
                zip((base - 1, base, base + 1, base + 2), (far[0], near[1], near[2], far[3]))
            )
        else:
            base = int(max(at, 0.0))
            taps = {base: 1 - (max(at, 0.0) - base), base + 1: max(at, 0.0) - base}
        for place, weight in taps.items():
            matrix[i, min(max(place, 0), inputs - 1)] += weight
    return matrix


def interpolate(x, size, mode, align_corners, scales):
    for d, outputs in enumerate(size):
        scale = scales[d] if scales else None
        matrix = axis_matrix(x.shape[d + 2], outputs, mode, align_corners, scale)
        x = np.moveaxis(np.tensordot(matrix, x, (1, d + 2)), 0, d + 2)
    return x


@samples("_interpolate", reference=interpolate, dtypes=FLOAT, slack=4)
def _(make):
    for mode in ("nearest", "nearest-exact"):
        yield Sample((make(2, 1, 5), [8], mode, False, []))
        yield Sample((make(1, 2, 5, 4), [3, 7], mode, False, []))
        yield Sample((make(1, 1, 2, 3, 4), [4, 2, 4], mode, False, []))
    for align in (False, True):
        yield Sample((make(1, 2, 5), [9], "linear", align, []))
        yield Sample((make(2, 1, 4, 5), [8, 3], "bilinear", align, []))
        yield Sample((make(1, 1, 4, 5), [7, 9], "bicubic", align, []))
        yield Sample((make(1, 1, 3, 2, 4), [2, 5, 6], "trilinear", align, []))
    yield Sample((make(1, 1, 4, 4), [10, 9], "bilinear", False, [2.6, 2.3]))
    yield Sample((make(1, 1, 4, 1), [1, 3], "bicubic", False, []))


# --- others


@samples(
    "dropout",
    "dropout_",
    reference=lambda x, p, train: x * (0 if p == 1 and train else 1),
    dtypes=FLOAT,
)
def _(make):
    yield Sample((make(3, 4), 0.0, True))
    yield Sample((make(3, 4), 0.5, False))
    yield Sample((make(3, 4), 1.0, True))


def attention(q, k, v, mask=None, p=0.0, is_causal=False, scale=None, enable_gqa=False):
    if enable_gqa:
        k, v = (np.repeat(x, q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    top = np.max(scores, -1, keepdims=True)
    weights = np.exp(scores - np.where(np.isinf(top), 0, top))
    return weights / np.maximum(weights.sum(-1, keepdims=True), 1e-300) @ v


@samples("scaled_dot_product_attention", reference=attention, dtypes=FLOAT, slack=4)
def _(make):
    q, k, v = make(2, 3, 4), make(2, 5, 4), make(2, 5, 6)
    yield Sample((q, k, v))
    yield Sample((q, k, v, make(3, 5)), {"scale": 0.3})
    yield Sample((q, k, v), {"is_causal": True})
    yield Sample((make(3, 4), make(3, 4), make(3, 4)))
    yield Sample((make(1, 2, 6, 3), make(1, 2, 70, 3), make(1, 2, 70, 3), seen(make, 6, 70)))
    yield Sample((make(4, 5, 3), make(2, 6, 3), make(2, 6, 3)), {"enable_gqa": True})
    yield Sample((make(2, 1, 5, 3), make(3, 6, 3), make(6, 2), seen(make, 2, 1, 1, 6)))


def seen(make, *shape):
    """A mask that hides some keys, and all of them from one query."""
    mask = make(*shape, dtype=facula.bool)
    mask[(0,) * (len(shape) - 1)] = False
    return mask


@samples(
    "_flash_attention",
    reference=lambda q, k, v, mask, keep, p, is_causal, scale: (
        attention(q, k, v, mask.astype(bool), 0, is_causal, scale),
        None,
    ),
    dtypes=FLOAT,
    slack=4,
    grad=False,  # that of the result is scaled_dot_product_attention's, lse has none
)
def _(make):
    tail = (None, 0.0, True, 0.5)
    yield Sample((make(2, 6, 3), make(1, 6, 3), make(1, 6, 3), seen(make, 6, 6), *tail))


# --- steps of optimizers: the first list is written, and so are the states. The tests copy the
# first only, so the moments here keep nothing of the past; tests of optim make many steps.


def sgd(params, grads, buffers, weight_decay, lr, **rest):
    return [p - lr * (g + weight_decay * p) for p, g in zip(params, grads, strict=True)]


@samples("_fused_sgd_", reference=sgd, dtypes=FLOAT, grad=False, slack=2)
def _(make):
    numbers = {"weight_decay": 0.1, "momentum": 0.0, "lr": 0.5, "dampening": 0.0}
    flags = {"nesterov": False, "maximize": False, "is_first_step": False}
    yield Sample(([make(3), make(2, 2)], [make(3), make(2, 2)], []), numbers | flags)


def adam(params, grads, *lists, lr, weight_decay, eps, decoupled=False, **rest):
    results = []
    for p, g in zip(params, grads, strict=True):
        g = g if decoupled else g + weight_decay * p
        p = p * (1 - lr * weight_decay) if decoupled else p
        results.append(p - lr * g / (abs(g) + eps))
    return results


def adam_samples(make):
    step = facula.tensor(3.0, dtype=facula.float32)
    lists = [[make(3), make(2, 2)] for _ in range(4)]
    numbers = {"lr": 0.1, "beta1": 0.0, "beta2": 0.0, "weight_decay": 0.1, "eps": 1e-6}
    flags = {"amsgrad": False, "maximize": False}
    yield Sample((*lists, [], [step, step]), numbers | flags)


@samples("_fused_adam_", reference=adam, dtypes=FLOAT, grad=False, slack=4)
def _(make):
    yield from adam_samples(make)


@samples(
    "_fused_adamw_",
    dtypes=FLOAT,
    grad=False,
    slack=4,
    reference=lambda *args, **kwargs: adam(*args, **kwargs, decoupled=True),
)
def _(make):
    yield from adam_samples(make)


def optimizer_samples(make, states, numbers, steps=0):
    """A step for two parameters whose gradients and states are positive numbers."""
    lists = [[make(3, low=0.5), make(2, 2, low=0.5)] for _ in range(2 + states)]
    singles = [[facula.tensor(0.5, dtype=facula.float32)] * 2 for _ in range(steps)]
    yield Sample((*lists, *singles), numbers | {"maximize": False})


def each(step):
    """A reference of one parameter for the lists of a row."""
    return lambda *lists, **numbers: [step(*parts, **numbers) for parts in zip(*lists, strict=True)]


def rmsprop(p, g, v, mean, b, lr, alpha, eps, weight_decay, momentum, maximize):
    g = g + weight_decay * p
    v, mean = alpha * v + (1 - alpha) * g * g, alpha * mean + (1 - alpha) * g
    return p - lr * (momentum * b + g / (np.sqrt(v - mean * mean) + eps))


@samples("_fused_rmsprop_", reference=each(rmsprop), dtypes=FLOAT, grad=False, slack=4)
def _(make):
    numbers = {"lr": 0.1, "alpha": 0.5, "eps": 0.5, "weight_decay": 0.1, "momentum": 0.5}
    for sample in optimizer_samples(make, 3, numbers):
        sample.args[2][:] = [make(3, low=8, high=9), make(2, 2, low=8, high=9)]
        yield sample


def adagrad(p, g, s, step, lr, lr_decay, weight_decay, eps, maximize):
    g = g + weight_decay * p
    return p - lr / (1 + (step - 1) * lr_decay) * g / (np.sqrt(s + g * g) + eps)


@samples("_fused_adagrad_", reference=each(adagrad), dtypes=FLOAT, grad=False, slack=4)
def _(make):
    numbers = {"lr": 0.1, "lr_decay": 0.5, "weight_decay": 0.1, "eps": 1e-6}
    yield from optimizer_samples(make, 1, numbers, steps=1)


def adadelta(p, g, v, d, lr, rho, eps, weight_decay, maximize):
    g = g + weight_decay * p
    return p - lr * g * np.sqrt(d + eps) / np.sqrt(rho * v + (1 - rho) * g * g + eps)


@samples("_fused_adadelta_", reference=each(adadelta), dtypes=FLOAT, grad=False, slack=4)
def _(make):
    numbers = {"lr": 0.1, "rho": 0.5, "eps": 1e-3, "weight_decay": 0.1}
    yield from optimizer_samples(make, 2, numbers)


def adamax(p, g, m, top, step, lr, beta1, beta2, weight_decay, eps, maximize):
    g = g + weight_decay * p
    m, top = beta1 * m + (1 - beta1) * g, np.maximum(beta2 * top, abs(g) + eps)
    return p - lr / (1 - beta1**step) * m / top


ADAM = {"lr": 0.1, "beta1": 0.5, "beta2": 0.75, "weight_decay": 0.1, "eps": 1e-3}


@samples("_fused_adamax_", reference=each(adamax), dtypes=FLOAT, grad=False, slack=4)
def _(make):
    yield from optimizer_samples(make, 2, ADAM, steps=1)


def nadam(
    p, g, m, v, mu_product, step, lr, beta1, beta2, weight_decay, eps, momentum_decay, **rest
):
    g = g + weight_decay * p
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    mu = beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))
    after = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * momentum_decay))
    root = np.sqrt(v / (1 - beta2**step)) + eps
    p = p - lr * (1 - mu) / (1 - mu_product) * g / root
    return p - lr * after / (1 - mu_product * after) * m / root


@samples("_fused_nadam_", reference=each(nadam), dtypes=FLOAT, grad=False, slack=4)
def _(make):
    numbers = ADAM | {"momentum_decay": 0.004, "decoupled_weight_decay": False}
    yield from optimizer_samples(make, 2, numbers, steps=2)


def radam(p, g, m, v, step, lr, beta1, beta2, weight_decay, eps, **rest):
    g = g + weight_decay * p
    return p - lr * (beta1 * m + (1 - beta1) * g) / (1 - beta1**step)


@samples("_fused_radam_", reference=each(radam), dtypes=FLOAT, grad=False, slack=4)
def _(make):
    yield from optimizer_samples(make, 2, ADAM | {"decoupled_weight_decay": False}, steps=1)


def rprop(p, g, before, width, etaminus, etaplus, step_size_min, step_size_max, maximize):
    return p - np.clip(width * etaplus, step_size_min, step_size_max)


@samples("_fused_rprop_", reference=each(rprop), dtypes=FLOAT, grad=False)
def _(make):
    limits = {"step_size_min": 1e-6, "step_size_max": 2.0}
    yield from optimizer_samples(make, 2, {"etaminus": 0.5, "etaplus": 1.25} | limits)


def asgd(p, g, average, eta, mu, lambd, weight_decay, maximize):
    return p * (1 - lambd * eta) - eta * (g + weight_decay * p)


@samples("_fused_asgd_", reference=each(asgd), dtypes=FLOAT, grad=False, slack=2)
def _(make):
    yield from optimizer_samples(make, 1, {"lambd": 0.1, "weight_decay": 0.1}, steps=2)
