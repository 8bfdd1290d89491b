"""facula.utils.checkpoint: regions that run again in backward."""

import gc
import weakref

import facula
import pytest
from facula import nn
from facula.utils import checkpoint as module
from facula.utils._python_dispatch import TorchDispatchMode
from facula.utils.checkpoint import (
    CheckpointError,
    CheckpointPolicy,
    checkpoint,
    checkpoint_sequential,
    create_selective_checkpoint_contexts,
    set_checkpoint_debug_enabled,
    set_checkpoint_early_stop,
)

ATEN = facula.ops.aten
both_forms = pytest.mark.parametrize("use_reentrant", [True, False])


class Counted:
    """A function that counts its calls; from the second on `later` may take its place."""

    def __init__(self, function, later=None):
        self.function, self.later, self.calls = function, later or function, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return (self.function if self.calls == 1 else self.later)(*args, **kwargs)


def wave(x):
    return (x * 2).sin().exp()


def leaf(*shape):
    return facula.rand(shape or (3,), dtype=facula.float64, requires_grad=True)


def gradient(function, x):
    x.grad = None
    function(x).sum().backward()
    return x.grad


@both_forms
def test_gradients(use_reentrant):
    x, function = leaf(), Counted(wave)
    result = checkpoint(function, x, use_reentrant=use_reentrant)
    assert facula.equal(result, wave(x)) and function.calls == 1
    result.sum().backward()
    mine = x.grad
    assert function.calls == 2
    assert facula.equal(mine, gradient(wave, x))


@both_forms
def test_model(use_reentrant):
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    x = facula.randn(5, 4, requires_grad=True)

    def grads(run):
        model.zero_grad()
        run(x).square().sum().backward()
        return [p.grad.clone() for p in model.parameters()]

    expected = grads(model)
    for run in (
        lambda x: checkpoint(model, x, use_reentrant=use_reentrant),
        lambda x: checkpoint_sequential(model, 2, x, use_reentrant=use_reentrant),
        lambda x: checkpoint_sequential(list(model), 3, x, use_reentrant=use_reentrant),
    ):
        for one, other in zip(grads(run), expected):
            assert facula.equal(one, other)


@both_forms
def test_several_arguments_and_results(use_reentrant):
    x, y = leaf(), leaf()

    def function(x, n, y, none):
        assert n == 3 and none is None
        return x * y, (x * y).sin(), 5

    first, second, five = checkpoint(function, x, 3, y, None, use_reentrant=use_reentrant)
    assert five == 5
    (first + second).sum().backward()
    expected = facula.autograd.grad((x * y + (x * y).sin()).sum(), (x, y))
    assert facula.equal(x.grad, expected[0]) and facula.equal(y.grad, expected[1])


@both_forms
def test_random_numbers_come_again(use_reentrant):
    x = leaf(100)

    def function(x):
        return nn.functional.dropout(x, 0.5).sin()

    facula.manual_seed(3)
    result = checkpoint(function, x, use_reentrant=use_reentrant)
    after = facula.rand(1)
    result.sum().backward()
    # Zeros stay where they were, and backward leaves the generator alone.
    assert facula.equal(x.grad == 0, result == 0)
    next_one = facula.rand(1)
    facula.manual_seed(3)
    function(x)
    assert facula.equal(facula.rand(1), after) and facula.equal(facula.rand(1), next_one)

    facula.manual_seed(3)
    result = checkpoint(function, x, use_reentrant=use_reentrant, preserve_rng_state=False)
    x.grad = None
    result.sum().backward()
    assert not facula.equal(x.grad == 0, result == 0)


@both_forms
def test_without_recording(use_reentrant):
    x = leaf()
    with facula.no_grad():
        assert not checkpoint(wave, x, use_reentrant=use_reentrant).requires_grad


@both_forms
def test_nested(use_reentrant):
    x = leaf()

    def inner(x):
        return checkpoint(wave, x, use_reentrant=use_reentrant)

    def outer(x):
        return inner(inner(x).cos()).sin()

    def plain(x):
        return wave(wave(x).cos()).sin()

    mine = gradient(lambda x: checkpoint(outer, x, use_reentrant=use_reentrant), x)
    facula.testing.assert_close(mine, gradient(plain, x))


@both_forms
def test_what_a_region_keeps(use_reentrant):
    x, made = leaf(), []

    def function(x):
        middle = (x * 2).sin()
        made.append(weakref.ref(middle))
        return middle.exp().sin()

    result = checkpoint(function, x, use_reentrant=use_reentrant)
    gc.collect()
    assert made[0]() is None
    result.sum().backward()


# --- with reentry


def test_reentrant_form_is_one_node():
    result = checkpoint(wave, leaf(), use_reentrant=True)
    assert result.grad_fn.name() == "CheckpointFunctionBackward"


def test_reentrant_form_has_limits():
    x = leaf()
    result = checkpoint(wave, x, use_reentrant=True)
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        facula.autograd.grad(result.sum(), x)
    with pytest.raises(ValueError, match="'k'"):
        checkpoint(lambda x, k: x * k, x, k=3, use_reentrant=True)
    with pytest.raises(ValueError, match="debug"):
        checkpoint(wave, x, debug=True, use_reentrant=True)
    with pytest.raises(ValueError, match="context_fn"):
        checkpoint(wave, x, context_fn=lambda: None, use_reentrant=True)
    with pytest.warns(UserWarning, match="no input requires gradients"):
        checkpoint(wave, x.detach(), use_reentrant=True)
    constant = checkpoint(lambda x: x.detach(), x, use_reentrant=True)
    with pytest.raises(RuntimeError, match="none of the outputs"):
        constant.sum().backward()


def test_form_is_named():
    x = leaf()
    with pytest.warns(UserWarning, match="use_reentrant"):
        assert checkpoint(wave, x).grad_fn.name() == "CheckpointFunctionBackward"
    with pytest.warns(UserWarning, match="use_reentrant"):
        checkpoint_sequential([wave, wave], 2, x)
    with pytest.raises(ValueError, match="foo"):
        checkpoint_sequential([wave], 1, x, use_reentrant=True, foo=1)
    with pytest.raises(ValueError, match="determinism_check"):
        checkpoint(wave, x, use_reentrant=False, determinism_check="often")


# --- without reentry


def test_grad_and_keywords():
    x, k = leaf(), leaf()

    def function(x, *, k, inside):
        return (x * k * inside["w"]).sin()

    w = leaf()
    result = checkpoint(function, x, k=k, inside={"w": w}, use_reentrant=False)
    mine = facula.autograd.grad(result.sum(), (x, k, w))
    truth = facula.autograd.grad((x * k * w).sin().sum(), (x, k, w))
    for one, other in zip(mine, truth):
        assert facula.equal(one, other)


def test_second_derivatives():
    x = leaf()
    function = Counted(wave)
    (first,) = facula.autograd.grad(
        checkpoint(function, x, use_reentrant=False).sum(), x, create_graph=True
    )
    (second,) = facula.autograd.grad(first.sum(), x)
    (truth,) = facula.autograd.grad(wave(x).sum(), x, create_graph=True)
    (truth,) = facula.autograd.grad(truth.sum(), x)
    facula.testing.assert_close(second, truth)
    assert facula.autograd.gradgradcheck(lambda x: checkpoint(wave, x, use_reentrant=False), x)


def test_backward_again():
    x, function = leaf(), Counted(wave)
    result = checkpoint(function, x, use_reentrant=False).sum()
    result.backward(retain_graph=True)
    first = x.grad.clone()
    result.backward()
    assert facula.equal(x.grad, 2 * first) and function.calls == 3
    with pytest.raises(RuntimeError):
        result.backward()


def test_runs_once_for_all_that_backward_needs():
    x, function = leaf(), Counted(lambda x: (wave(x), wave(x).cos()))
    first, second = checkpoint(function, x, use_reentrant=False)
    (first + second).sum().backward()
    assert function.calls == 2


def test_group_of_backwards():
    x, y = leaf(), leaf()
    function = Counted(lambda x, y: (wave(x), wave(y)))
    for groups, calls in ((False, 3), (True, 2)):
        function.calls = 0
        first, second = checkpoint(function, x, y, use_reentrant=False)
        with module.GraphExecGroup() if groups else facula.enable_grad():
            first.sum().backward()
            second.sum().backward()
        assert function.calls == calls
    with module.GraphExecGroup(), pytest.raises(RuntimeError, match="nest"):
        with module.GraphExecGroup():
            pass


def test_early_stop():
    reached = []

    def function(x):
        y = (x * 2).sin()  # the last that saves something
        reached.append(1)
        return y + 1

    x = leaf()
    for how, count in (({}, 1), ({"early_stop": False}, 2)):
        reached.clear()
        checkpoint(function, x, use_reentrant=False, **how).sum().backward()
        assert len(reached) == count
    for stop, count in ((True, 1), (False, 2)):
        reached.clear()
        with set_checkpoint_early_stop(stop):  # outweighs the argument
            result = checkpoint(function, x, use_reentrant=False, early_stop=not stop)
        result.sum().backward()
        assert len(reached) == count


def test_nested_regions_keep_no_inputs():
    x, made = leaf(), []

    def inner(x):
        return wave(x)

    def outer(x):
        middle = (x * 2).sin()
        made.append(weakref.ref(middle))
        return checkpoint(inner, middle, use_reentrant=False).cos()

    result = checkpoint(outer, x, use_reentrant=False)
    gc.collect()
    assert made[0]() is None
    result.sum().backward()
    facula.testing.assert_close(x.grad, gradient(lambda x: wave((x * 2).sin()).cos(), x))


def test_grad_inside():
    def function(x):
        y = wave(x)
        (g,) = facula.autograd.grad(y.sum(), x, create_graph=True)
        return y + g

    x = leaf()
    mine = gradient(lambda x: checkpoint(function, x, use_reentrant=False), x)
    facula.testing.assert_close(mine, gradient(function, x))


@pytest.mark.parametrize(
    "later, text",
    [
        (lambda x: (x[:2] * 2).sin(), r"tensor 0: .*\(3,\).*\(2,\)"),
        (lambda x: (x * 2).float().sin(), "float32"),
        (lambda x: x * 1, "1 tensors were saved at first, and 0"),
    ],
)
def test_determinism(later, text):
    x = leaf()
    for debug in (False, True):
        function = Counted(lambda x: (x * 2).sin(), later)
        result = checkpoint(function, x, use_reentrant=False, debug=debug)
        with pytest.raises(CheckpointError, match=text) as caught:
            result.sum().backward()
        assert ("aten.mul" in str(caught.value)) is debug
    if "float32" in text:
        function.calls = 0
        result = checkpoint(function, x, use_reentrant=False, determinism_check="none")
        result.sum().backward()


def test_more_is_saved():
    x = leaf()
    function = Counted(lambda x: (x * 2).sin(), lambda x: (x * 2).sin().cos())
    checkpoint(function, x, use_reentrant=False).sum().backward()  # not noticed
    function.calls = 0
    result = checkpoint(function, x, use_reentrant=False, early_stop=False)
    with pytest.raises(CheckpointError, match="1 tensors were saved at first, and 2"):
        result.sum().backward()


def test_debug_switch():
    x = leaf()
    function = Counted(lambda x: (x * 2).sin(), lambda x: x.cos().detach() * x)
    with set_checkpoint_debug_enabled(True):
        result = checkpoint(function, x, use_reentrant=False, early_stop=False)
    with pytest.raises(CheckpointError) as caught:
        result.square().sum().backward()
    text = str(caught.value)
    assert "> 0: aten.mul" in text and "> 0: aten.cos" in text and "test_checkpoint.py" in text
    with pytest.raises(ValueError, match="context_fn"):
        checkpoint(wave, x, use_reentrant=False, debug=True, context_fn=lambda: None)


def test_errors_of_the_function():
    x = leaf()

    def broken(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        checkpoint(broken, x, use_reentrant=False)
    result = checkpoint(Counted(wave, broken), x, use_reentrant=False)
    with pytest.raises(KeyError, match="mine"):
        result.sum().backward()


def test_regions_are_released():
    x = leaf()
    function = Counted(wave)
    watch = weakref.ref(function)
    result = checkpoint(function, x, use_reentrant=False)
    result.sum().backward()
    del function, result
    gc.collect()
    assert watch() is None


# --- contexts and policies


def test_contexts():
    entered = []

    class Context:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            entered.append(self.name)

        def __exit__(self, *exc):
            entered.append("end")

    x = leaf()
    result = checkpoint(
        wave, x, use_reentrant=False, context_fn=lambda: (Context("first"), Context("again"))
    )
    assert entered == ["first", "end"]
    result.sum().backward()
    assert entered == ["first", "end", "again", "end"]


class Count(TorchDispatchMode):
    """Counts operators. An inner mode that answers a call itself keeps it from this one."""

    def __init__(self):
        super().__init__()
        self.counts = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func] = self.counts.get(func, 0) + 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("as_list", [True, False])
def test_policy(as_list):
    asked = []

    def policy(context, op, *args, **kwargs):
        asked.append((context.is_recompute, op, context.op_output is not None))
        keep = CheckpointPolicy.MUST_SAVE
        return keep if op is ATEN.sin.default else CheckpointPolicy.PREFER_RECOMPUTE

    def function(x):
        return (x * 2).sin().cos().exp()

    x = leaf()
    choice = [ATEN.sin.default] if as_list else policy
    result = checkpoint(
        function,
        x,
        use_reentrant=False,
        context_fn=lambda: create_selective_checkpoint_contexts(choice),
    )
    with Count() as again:
        result.sum().backward()
    # The derivative of cos has a sine; the one of the region was not computed again.
    assert again.counts[ATEN.sin.default] == 1 and again.counts[ATEN.exp.default] == 1
    assert facula.equal(x.grad, gradient(function, x))
    if not as_list:
        assert [op for _, op, _ in asked] == [
            ATEN.mul.default,
            ATEN.sin.default,
            ATEN.cos.default,
            ATEN.exp.default,
        ]
        assert all(with_output and not again for again, _, with_output in asked)


@pytest.mark.parametrize("policy", [*CheckpointPolicy, True, False])
def test_every_policy_gives_the_gradients(policy):
    def function(x):
        first, second = (x * 2).sin().chunk(2)
        return (first.exp() * second).max(0).values.tanh()

    x = leaf(4)
    mine = gradient(
        lambda x: checkpoint(
            function,
            x,
            use_reentrant=False,
            context_fn=lambda: create_selective_checkpoint_contexts(lambda *a, **k: policy),
        ),
        x,
    )
    assert facula.equal(mine, gradient(function, x))


def test_changes_of_what_is_kept():
    def function(x):
        return (x * 2).sin().add_(1).cos()

    def run(**more):
        def contexts():
            return create_selective_checkpoint_contexts([ATEN.sin.default], **more)

        return checkpoint(function, leaf(), use_reentrant=False, context_fn=contexts).sum()

    with pytest.raises(RuntimeError, match="in place"):
        run().backward()
    run(allow_cache_entry_mutation=True).backward()


def test_policy_is_for_one_backward():
    def contexts():
        return create_selective_checkpoint_contexts([ATEN.sin.default])

    result = checkpoint(wave, leaf(), use_reentrant=False, context_fn=contexts).sum()
    result.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="one backward"):
        result.backward()


def test_wrong_policies():
    with pytest.raises(ValueError, match="default"):
        create_selective_checkpoint_contexts([ATEN.sin])
    with pytest.raises(TypeError):
        create_selective_checkpoint_contexts(3)
    assert ATEN.detach.default in module.SAC_IGNORED_OPS


# --- small things


def test_helpers():
    x = leaf()
    detached, three = module.detach_variable((x, 3))
    assert detached.requires_grad and detached is not x and detached.is_leaf and three == 3
    with pytest.raises(RuntimeError):
        module.detach_variable([x])
    assert module.get_device_states(x, 3) == ([], [])
    module.set_device_states([], [])
    before = module.DefaultDeviceType.get_device_type()
    module.DefaultDeviceType.set_device_type("cpu")
    assert module.DefaultDeviceType.get_device_type() == "cpu"
    module.DefaultDeviceType.set_device_type(before)
    for context in module.noop_context_fn():
        with context:
            pass
