"""The pool: the same bits on any number of threads, and work after a fork. Threads of Python that
share tensors: nothing that one does to them while another computes may crash."""

import os
import signal
import threading

import facula
import facula.nn.functional as F
import numpy as np
import pytest


def random(*shape, dtype=facula.float32):
    values = np.random.default_rng(0).standard_normal(shape)
    return facula.tensor(values).to(dtype)


# Sizes above the grains: each of these is split into several chunks.
LARGE = {
    "add": lambda: random(700, 900) + random(900),
    "exp": lambda: random(700, 900).exp(),
    "transposed": lambda: random(700, 900).t() * 2,
    "cast": lambda: random(700, 900).to(facula.bfloat16),
    "sum": lambda: random(700, 900).sum(),
    "sum rows": lambda: random(700, 900).sum(1),
    "sum columns": lambda: random(700, 900).sum(0),
    "sum strided": lambda: random(700, 900).t()[::2].sum(),
    "mean bfloat16": lambda: random(700, 900, dtype=facula.bfloat16).mean(),
    "var": lambda: random(700, 900).var(),
    "norm": lambda: random(700, 900).norm(),
    "amax": lambda: random(700, 900).amax(0),
    "argmax": lambda: random(700, 900).argmax(),
    "cumsum": lambda: random(700, 900).cumsum(0),
    "matmul": lambda: random(300, 400) @ random(400, 500),
    "matmul double": lambda: random(150, 200, dtype=facula.float64) @ random(200, 90).double(),
    "bmm": lambda: random(8, 90, 80) @ random(8, 80, 70),
    "matvec": lambda: random(900, 800) @ random(800),
    "linear": lambda: F.linear(random(300, 200), random(250, 200), random(250)),
    "conv2d": lambda: F.conv2d(random(4, 8, 40, 40), random(16, 8, 3, 3), random(16)),
    "softmax": lambda: random(700, 900).softmax(1),
    "softmax columns": lambda: random(700, 900).softmax(0),
    "layer_norm": lambda: F.layer_norm(random(700, 900), [900]),
    "batch_norm": lambda: F.batch_norm(random(32, 16, 30, 30), None, None, training=True),
    "embedding": lambda: F.embedding(facula.arange(40_000) % 500, random(500, 32)),
    "index_add": lambda: facula.zeros(50, 40).index_add(
        0, facula.arange(20_000) % 50, random(20_000, 40)
    ),
    "sort": lambda: random(300, 400).sort(1)[0],
    "cat": lambda: facula.cat([random(700, 900)] * 3, 1),
    "cross_entropy": lambda: F.cross_entropy(random(3000, 200), facula.arange(3000) % 200),
    "random": lambda: facula.rand(500_000, generator=facula.Generator().manual_seed(3)),
}


@pytest.fixture(autouse=True)
def threads():
    count = facula.get_num_threads()
    yield
    facula.set_num_threads(count)


def bits(tensor):
    return tensor.detach().reshape(-1).view(facula.uint8).numpy().tobytes()


@pytest.mark.parametrize("name", LARGE)
def test_same_bits(name):
    facula.set_num_threads(1)
    expected = bits(LARGE[name]())
    for n in (2, 3, 8):
        facula.set_num_threads(n)
        assert bits(LARGE[name]()) == expected, f"{n} threads"


def gradient_bits():
    x = random(8, 4, 30, 30).requires_grad_()
    weight = random(16, 4, 3, 3).requires_grad_()
    table = random(100, 20).requires_grad_()
    rows = F.embedding(facula.arange(6000) % 100, table)
    loss = F.conv2d(x, weight).relu().sum() + F.layer_norm(rows, [20]).pow(3).mean()
    loss.backward()
    return [bits(t.grad) for t in (x, weight, table)]


def test_same_bits_of_gradients():
    facula.set_num_threads(1)
    expected = gradient_bits()
    for n in (2, 3, 8):
        facula.set_num_threads(n)
        assert gradient_bits() == expected


def convolutions():
    nn = facula.nn
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, stride=2), nn.GroupNorm(4, 32), nn.GELU(), nn.Dropout(0.2),
        nn.Flatten(), nn.Linear(32 * 49, 10),
    )  # fmt: skip
    return net, facula.randn(16, 3, 32, 32), facula.randint(0, 10, (16,))


def attention():
    nn = facula.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.norm = nn.Embedding(200, 64), nn.LayerNorm(64)
            self.qkv, self.head = nn.Linear(64, 192), nn.Linear(64, 200)

        def forward(self, tokens):
            x = self.norm(self.embed(tokens))
            q, k, v = self.qkv(x).view(8, 96, 3, 4, 16).permute(2, 0, 3, 1, 4)
            x = x + F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(
                2
            )
            return self.head(x).flatten(0, 1)

    return Net(), facula.randint(0, 200, (8, 96)), facula.randint(0, 200, (8 * 96,))


def recurrence():
    nn = facula.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(40, 64, 2), nn.Linear(64, 50)

        def forward(self, x):
            return self.head(self.rnn(x)[0]).flatten(0, 1)

    return Net(), facula.randn(20, 32, 40), facula.randint(0, 50, (640,))


def trained(build, optimizer):
    """The bits of all parameters and buffers after three steps."""
    facula.manual_seed(0)
    net, x, y = build()
    step = optimizer(net.parameters(), lr=1e-2)
    for _ in range(3):
        step.zero_grad()
        F.cross_entropy(net(x), y).backward()
        step.step()
    return {name: bits(t) for name, t in net.state_dict().items()}


@pytest.mark.parametrize("build", [convolutions, attention, recurrence])
@pytest.mark.parametrize("optimizer", [facula.optim.SGD, facula.optim.AdamW])
def test_same_bits_of_training(build, optimizer):
    facula.set_num_threads(1)
    expected = trained(build, optimizer)
    for n in (2, 3, 8):
        facula.set_num_threads(n)
        assert trained(build, optimizer) == expected, f"{n} threads"


@pytest.mark.parametrize("n", [0, -1, 10**9, "2", None])
def test_wrong_number_of_threads(n):
    with pytest.raises((TypeError, ValueError, RuntimeError)):
        facula.set_num_threads(n)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_fork_after_use():
    facula.set_num_threads(3)
    x = random(700, 900)
    expected = x.exp().sum().item()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a child that waits for threads that it does not have
        os._exit(0 if x.exp().sum().item() == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert x.exp().sum().item() == expected


# --- threads of Python over the same tensors


def beside(work, *others, seconds=0.7):
    """Repeats `work` while threads repeat the others; errors are a fair answer to both."""
    over, failures = threading.Event(), []

    def repeat(function):
        while not over.is_set():
            try:
                function()
            except (RuntimeError, IndexError):
                pass
            except BaseException as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=repeat, args=(f,)) for f in (work, *others)]
    for thread in threads:
        thread.start()
    over.wait(seconds)
    over.set()
    for thread in threads:
        thread.join()
    assert not failures


COMPUTE = {
    "pointwise": lambda x: (x * 2 + x).exp_(),
    "inplace": lambda x: x.add_(1).mul_(0.5),
    "out": lambda x: facula.add(x, 1, out=x),
    "reduce": lambda x: x.sum() + x.amax(),
    "sort": lambda x: x.sort(),
    "list": lambda x: facula.cat([x, x[:100], x]),
    "index": lambda x: x[facula.arange(len(x))],
    "matmul": lambda x: x[:90_000].view(300, 300) @ x[:90_000].view(300, 300),
}


@pytest.mark.parametrize("name", COMPUTE)
def test_resized_while_another_thread_computes(name):
    x = facula.zeros(200_000)

    def resize():
        x.resize_(10)
        x.untyped_storage().resize_(0)
        x.resize_(200_000)
        x.resize_(300_000)

    beside(lambda: COMPUTE[name](x), resize)


def test_replaced_while_another_thread_computes():
    x, others = facula.zeros(200_000), [facula.ones(200_000), facula.ones(3)]

    def replace():
        for other in others:
            x.set_(other.clone())
            x.data = other.clone()

    beside(lambda: (x + 1).sum() + x.sort()[0].sum(), replace)


def test_lists_that_other_threads_empty():
    items = []

    def refill():
        items.clear()
        items.extend(facula.ones(20_000) for _ in range(5))

    beside(lambda: facula.stack(items), lambda: facula._foreach_add_(items, 1), refill)


def test_backward_beside_threads_that_change_its_tensors():
    weight = facula.ones(300, 300, requires_grad=True)
    x = facula.ones(300, 300)

    def change():
        weight.grad = None
        x.resize_(300, 300).fill_(0.5)
        weight.requires_grad_()

    beside(
        lambda: (x @ weight).tanh().sum().backward(),
        lambda: (weight * x).sum().backward(),
        change,
        lambda: weight.grad is None or weight.grad.sum(),
    )


def test_memory_of_a_smaller_storage_stays_readable():
    x = facula.ones(1_000_000)
    part = x[500_000:]
    x.untyped_storage().resize_(0)
    assert x.untyped_storage().nbytes() == 0
    assert x.sum() <= 1_000_000 and part.sum() <= 500_000
    x.untyped_storage().resize_(4_000_000)
    x.fill_(3)
    assert part.sum() == 1_500_000
