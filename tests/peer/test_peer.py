"""facula and the peer side by side: the same seed, the same program, the same numbers."""

import facula
import numpy as np
import pytest

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.peer
BOTH = (facula, torch)


def both(program):
    """What `program(T)` returns on each: arrays, or lists of them."""
    return [program(T) for T in BOTH]


def arrays(tensors):
    return [t.detach().numpy() for t in tensors]


def assert_same(program, rtol=0.0, atol=0.0):
    ours, theirs = both(program)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


# --- random numbers ------------------------------------------------------------------------------

EXACT = {
    "rand": lambda T: T.rand(1000),
    "rand_double": lambda T: T.rand(25, 40, dtype=T.float64),
    "randint": lambda T: T.randint(-5, 100, (1000,)),
    "randperm": lambda T: T.randperm(1000),
    "bernoulli": lambda T: T.bernoulli(T.full((1000,), 0.3)),
    "bernoulli_": lambda T: T.empty(1000).bernoulli_(0.7),
    "random_": lambda T: T.empty(1000, dtype=T.int64).random_(1000),
    "uniform_": lambda T: T.empty(1000).uniform_(-2, 3),
    "dropout": lambda T: T.nn.functional.dropout(T.ones(1000), 0.4),
    "multinomial": lambda T: T.multinomial(T.arange(1.0, 9.0), 1000, replacement=True),
    "multinomial_once": lambda T: T.multinomial(T.arange(1.0, 1001.0), 1000),
    "rand_like": lambda T: T.rand_like(T.empty(1000)),
}
CLOSE = {
    "randn": lambda T: T.randn(1000),
    "randn_short": lambda T: T.randn(7),
    "randn_double": lambda T: T.randn(1000, dtype=T.float64),
    "normal_": lambda T: T.empty(1000).normal_(2, 3),
    "exponential_": lambda T: T.empty(1000).exponential_(2.0),
    "normal": lambda T: T.normal(T.zeros(1000), T.arange(1.0, 1001.0)),
}


@pytest.mark.parametrize("seed", [0, 12345])
@pytest.mark.parametrize("name", [*EXACT, *CLOSE])
def test_draws(name, seed):
    def program(T):
        T.manual_seed(seed)
        draw = {**EXACT, **CLOSE}[name]
        return arrays([draw(T), draw(T), T.rand(3)])

    assert_same(program, rtol=0 if name in EXACT else 2e-6, atol=0 if name in EXACT else 2e-6)


def test_state_of_the_generator():
    def program(T):
        T.manual_seed(3)
        T.randn(10)
        state = T.get_rng_state()
        first = T.rand(4)
        T.set_rng_state(state)
        return arrays([first, T.rand(4)])

    assert_same(program)


# --- initial values ------------------------------------------------------------------------------

LAYERS = {
    "Linear": lambda nn: nn.Linear(7, 5),
    "Conv1d": lambda nn: nn.Conv1d(4, 6, 3, groups=2),
    "Conv2d": lambda nn: nn.Conv2d(3, 8, 3),
    "ConvTranspose2d": lambda nn: nn.ConvTranspose2d(3, 4, 3),
    "Embedding": lambda nn: nn.Embedding(10, 4, padding_idx=2),
    "LSTM": lambda nn: nn.LSTM(5, 6, 2, bidirectional=True),
    "GRU": lambda nn: nn.GRU(5, 6, bias=False),
    "BatchNorm2d": lambda nn: nn.BatchNorm2d(3),
    "LayerNorm": lambda nn: nn.LayerNorm(4),
}
FILLERS = {
    "xavier_uniform_": {},
    "xavier_normal_": {"gain": 2.0},
    "kaiming_uniform_": {"mode": "fan_out"},
    "kaiming_normal_": {"nonlinearity": "relu"},
    "trunc_normal_": {"std": 2.0, "a": -2.0, "b": 1.0},
    "sparse_": {"sparsity": 0.3},
}


@pytest.mark.parametrize("name", LAYERS)
def test_initial_parameters(name):
    def program(T):
        T.manual_seed(7)
        layer = LAYERS[name](T.nn)
        return arrays(layer.state_dict().values())

    assert_same(program, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("name", LAYERS)
def test_names_and_text(name):
    ours, theirs = both(lambda T: LAYERS[name](T.nn))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)


def test_trunc_normal_in_the_tail():
    def program(T):
        T.manual_seed(1)
        return arrays([T.nn.init.trunc_normal_(T.empty(20, 10), a=1.0, b=2.0)])

    assert_same(program, rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("name", FILLERS)
def test_init_functions(name):
    def program(T):
        T.manual_seed(1)
        return arrays([getattr(T.nn.init, name)(T.empty(20, 10), **FILLERS[name])])

    assert_same(program, rtol=2e-6, atol=1e-7)


# --- resizing -----------------------------------------------------------------------------------

RESIZED = [
    ({"size": 7}, (2, 3, 5)),
    ({"scale_factor": 2.5, "mode": "nearest-exact"}, (2, 3, 5, 4)),
    ({"scale_factor": (1.7, 0.6, 2)}, (1, 2, 5, 4, 3)),
    ({"scale_factor": 2, "mode": "bilinear"}, (1, 2, 9, 11)),
    ({"scale_factor": 1.3, "mode": "bilinear", "recompute_scale_factor": True}, (1, 2, 9, 11)),
    ({"size": (5, 30), "mode": "bicubic", "align_corners": True}, (1, 2, 9, 11)),
    ({"size": 8, "mode": "linear", "align_corners": False}, (1, 2, 9)),
    ({"scale_factor": 1.6, "mode": "trilinear"}, (1, 2, 4, 5, 6)),
    ({"size": (3, 4), "mode": "area"}, (1, 2, 9, 11)),
]


@pytest.mark.parametrize(("options", "shape"), RESIZED)
def test_interpolate(options, shape):
    def program(T):
        T.manual_seed(0)
        x = T.rand(*shape, requires_grad=True)
        y = T.nn.functional.interpolate(x, **options)
        return arrays([y, *T.autograd.grad((y * y).sum(), [x])])

    assert_same(program, rtol=1e-5, atol=1e-6)


# --- training ------------------------------------------------------------------------------------


def mlp(T):
    nn = T.nn
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4))


def convolutional(T):
    nn = T.nn
    return nn.Sequential(
        nn.Unflatten(1, (1, 10)),
        nn.Conv1d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm1d(8),
        nn.GELU(),
        nn.MaxPool1d(2),
        nn.Flatten(),
        nn.LayerNorm(40),
        nn.Linear(40, 4),
    )


OPTIMIZERS = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "Adam": {"lr": 1e-2, "amsgrad": True},
    "AdamW": {"lr": 1e-2},
    "RMSprop": {"momentum": 0.5, "centered": True, "weight_decay": 1e-3},
    "Adagrad": {"lr_decay": 0.1, "initial_accumulator_value": 0.1},
    "Adadelta": {"weight_decay": 1e-3},
    "Adamax": {"weight_decay": 1e-3},
    "NAdam": {"weight_decay": 1e-2, "decoupled_weight_decay": True},
    "RAdam": {"lr": 1e-2},
    "ASGD": {"lambd": 1e-3, "t0": 10},
}


def train(T, build, optimizer, options, steps):
    """The losses of a training that draws data, weights and dropout masks by itself."""
    T.manual_seed(0)
    net = build(T)
    opt = getattr(T.optim, optimizer)(net.parameters(), **options)
    losses = []
    for _ in range(steps):
        x = T.randn(16, 10)
        y = T.randint(0, 4, (16,))
        opt.zero_grad()
        loss = T.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        T.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        losses.append(loss.item())
    return [np.array(losses), *arrays(net.parameters())]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_mlp_training(optimizer):
    options = OPTIMIZERS[optimizer]
    assert_same(lambda T: train(T, mlp, optimizer, options, 50), rtol=1e-5, atol=1e-5)


def lbfgs(T, search):
    """The Rosenbrock function in six dimensions, down its valley."""
    x = T.nn.Parameter(T.linspace(-1, 1, 6, dtype=T.float64))
    opt = T.optim.LBFGS([x], lr=0.1 if search is None else 1, max_iter=8, line_search_fn=search)

    def closure():
        opt.zero_grad()
        loss = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
        loss.backward()
        return loss

    return [np.array([opt.step(closure).item() for _ in range(4)]), *arrays([x])]


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs(search):
    assert_same(lambda T: lbfgs(T, search), rtol=1e-6, atol=1e-8)


def rprop(T):
    """Signs decide here, so the loss is one whose gradients are exact."""
    x = T.nn.Parameter(T.tensor([3.0, -2.0, 0.5]))
    opt = T.optim.Rprop([x], lr=0.5)
    for _ in range(8):
        x.grad = 2 * x.detach() - 1
        opt.step()
    return arrays([x, opt.state[x]["step_size"]])


def test_rprop():
    assert_same(rprop, rtol=1e-6, atol=1e-7)


def test_convolutional_training():
    options = OPTIMIZERS["AdamW"]
    assert_same(lambda T: train(T, convolutional, "AdamW", options, 20), rtol=1e-3, atol=1e-4)


def test_checkpoints_have_one_layout():
    """A state dict of the peer's loads here, by way of NumPy."""
    source = convolutional(torch)
    target = convolutional(facula)
    state = {k: facula.tensor(v.numpy()) for k, v in source.state_dict().items()}
    target.load_state_dict(state)
    x = np.random.default_rng(0).normal(size=(5, 10)).astype("float32")
    ours = target.eval()(facula.tensor(x)).detach().numpy()
    theirs = source.eval()(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
