"""The engine from Python: roots, inputs, hooks, views and in-place, Function, modes, threads."""

import gc
import subprocess
import sys
import threading
import warnings

import facula
import pytest
from facula.autograd import Function, backward, forward_ad, grad
from facula.utils.checkpoint import checkpoint


def leaf(*values):
    return facula.tensor(values, dtype=facula.float32, requires_grad=True)


# --- roots and inputs ---------------------------------------------------------------------------


def test_several_roots():
    x = leaf(1.0, 2.0)
    backward([x.sum(), (x * 2), x * 0], [None, facula.ones(2), facula.ones(2)])
    assert x.grad.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match="scalar outputs"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="shape"):
        (x * 2).backward(facula.ones(3))
    with pytest.raises(RuntimeError, match="does not require grad"):
        facula.ones(1).sum().backward()


def test_a_root_can_be_a_leaf():
    x = leaf(3.0)
    x.backward()
    assert x.grad.tolist() == [1.0]


def test_backward_to_inputs_only():
    x, y = leaf(1.0), leaf(2.0)
    z = x * y
    w = z * x
    w.backward(inputs=[x], retain_graph=True)
    assert x.grad.tolist() == [4.0] and y.grad is None
    w.backward(inputs=[z], retain_graph=True)
    assert z.grad.tolist() == [1.0] and z.retains_grad
    with pytest.raises(RuntimeError, match="cannot be empty"):
        w.backward(inputs=[])


def test_only_wanted_gradients_are_computed():
    asked = []

    class Watched(Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            asked.append(1)
            return g

    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = Watched.apply(x) * w
    grad(y.sum(), w, retain_graph=True)
    assert not asked
    y.grad_fn._raw_saved_other.register_hooks(lambda t: t, lambda t: 1 / 0)
    # the gradient of w reads x only: what would unpack w is not asked
    assert grad(y.sum(), w, retain_graph=True)[0].tolist() == [1.0, 2.0]
    with pytest.raises(ZeroDivisionError):
        grad(y.sum(), x)


def test_only_wanted_gradients_of_a_changed_view_are_computed():
    x, w, read = leaf(1.0, 2.0), leaf(3.0), []

    def unpack(t):
        read.append(t.tolist())
        return t

    base = x * 1
    view = base[:1]
    with facula.autograd.graph.saved_tensors_hooks(lambda t: t, unpack):
        view.mul_(w)
    assert base.grad_fn.name() == "CopySlices"
    assert grad(base.sum(), w, retain_graph=True)[0].tolist() == [1.0]
    assert read == [[1.0]]  # what was there before; that of x reads w
    base.sum().backward(inputs=[x], retain_graph=True)
    assert read == [[1.0], [3.0]]
    assert x.grad.tolist() == [3.0, 1.0] and w.grad is None
    base.sum().backward()
    assert len(read) == 4 and x.grad.tolist() == [6.0, 2.0] and w.grad.tolist() == [1.0]


def test_unused_inputs():
    x, y = leaf(1.0), leaf(2.0)
    with pytest.raises(RuntimeError, match="not have been used"):
        grad(x * 2, y)
    assert grad(x * 2, y, allow_unused=True) == (None,)
    assert grad(x * 2, y, materialize_grads=True)[0].tolist() == [0.0]


def test_inputs_by_name():
    a, b = leaf(2.0), leaf(3.0)
    found = grad((a * b).sum(), {"a": a, "b": b})
    assert {name: g.item() for name, g in found.items()} == {"a": 3.0, "b": 2.0}
    (a * b).sum().backward(inputs={"a": a})
    backward((a * b).sum(), inputs={"a": a})
    assert a.grad.item() == 6.0 and b.grad is None
    with pytest.raises(RuntimeError, match="cannot be empty"):
        grad((a * b).sum(), [])


# --- accumulation -------------------------------------------------------------------------------


def test_grad_is_accumulated_in_place():
    x = leaf(1.0, 2.0)
    (x * 2).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    assert x.grad is first and first.tolist() == [5.0, 5.0]
    first.requires_grad_(False)
    with facula.enable_grad():
        (g,) = grad((x * x).sum(), x, create_graph=True)
    assert g.grad_fn is not None


def test_a_gradient_that_others_hold_is_copied():
    x, seed = leaf(1.0, 2.0), facula.tensor([5.0, 6.0])
    x.backward(seed)
    assert x.grad is not seed
    x.grad.zero_()
    assert seed.tolist() == [5.0, 6.0]


def test_grad_lies_as_its_tensor_does():
    x = facula.ones(2, 3).t().requires_grad_()
    (x * facula.ones(3, 2)).sum().backward()
    assert x.grad.stride() == x.stride()


def test_undefined_gradients_stay_undefined():
    seen = []

    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx, a, b):
            seen.append((a, b))
            return b

    x = leaf(1.0)
    a, b = Two.apply(x)
    b.backward()
    assert seen[0][0] is None and x.grad.tolist() == [1.0]


# --- hooks --------------------------------------------------------------------------------------


def test_order_of_hooks():
    log = []
    x = leaf(1.0)
    y = x * 2
    y.retain_grad()
    y.grad_fn.register_prehook(lambda g: log.append("prehook"))
    y.register_hook(lambda g: (log.append("tensor"), g * 10)[1])
    y.grad_fn.register_hook(lambda gi, go: log.append(("hook", gi[0].tolist(), go[0].tolist())))
    x.register_hook(lambda g: log.append("leaf"))
    x.register_post_accumulate_grad_hook(lambda t: log.append(("post", t.grad.tolist())))
    y.backward()
    assert log == ["tensor", "prehook", ("hook", [20.0], [10.0]), "leaf", ("post", [20.0])]
    assert y.grad.tolist() == [10.0]


def test_hooks_that_are_removed_while_they_run():
    x, calls = leaf(1.0), []
    handles = []

    def hook(g):
        calls.append(1)
        for handle in handles:
            handle.remove()

    y = x * 2
    handles += [y.register_hook(hook), x.register_hook(hook), y.grad_fn.register_hook(lambda *_: 0)]
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    assert len(calls) == 1


def test_hooks_that_raise():
    x = leaf(1.0)
    y = x * 2
    handle = y.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        y.backward(retain_graph=True)
    handle.remove()
    x.register_post_accumulate_grad_hook(lambda t: 1)
    with pytest.raises(RuntimeError, match="should return None"):
        y.backward()


@pytest.mark.parametrize(
    "change", [lambda g: facula.ones(5), lambda g: g.double(), lambda g: g[None]]
)
def test_hooks_change_values_only(change):
    for t in (leaf(1.0, 2.0), leaf(1.0, 2.0) * 1):
        t.register_hook(change)
        with pytest.raises(RuntimeError, match="a hook has changed the (size|type) of value"):
            (t * 2).sum().backward()
    product = leaf(1.0, 2.0) * 2
    product.grad_fn.register_hook(lambda gradients, _: (change(gradients[0]), gradients[1]))
    with pytest.raises(RuntimeError, match="a hook has changed the (size|type) of value"):
        product.sum().backward()


def test_hooks_of_an_accumulator_see_the_gradient():
    x, seen = leaf(1.0, 2.0), []
    accumulator = (x * 1).grad_fn.next_functions[0][0]
    accumulator.register_hook(lambda inputs, outputs: seen.append((inputs, outputs[0].tolist())))
    (x * 2).sum().backward()
    assert seen == [((), [2.0, 2.0])] and x.grad.tolist() == [2.0, 2.0]


def test_hooks_on_what_has_no_gradient():
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        facula.ones(1).register_hook(print)
    with pytest.raises(RuntimeError, match="leaf"):
        (leaf(1.0) * 2).register_post_accumulate_grad_hook(print)
    with pytest.raises(TypeError, match="callable"):
        leaf(1.0).register_hook(3)


def test_backward_in_a_hook():
    x, inner = leaf(1.0), leaf(5.0)

    def hook(g):
        assert not facula.is_grad_enabled()
        with facula.enable_grad():
            (inner * inner).backward()
        return g * inner.grad

    y = x * 2
    y.register_hook(hook)
    y.backward()
    assert x.grad.tolist() == [20.0] and inner.grad.tolist() == [10.0]


def test_deeply_nested_backward():
    class Down(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.x = (x.detach() - 1).requires_grad_()
            return ctx.x.detach()

        @staticmethod
        def backward(ctx, g):
            if ctx.x.item() < 0:
                return g
            with facula.enable_grad():
                Down.apply(ctx.x).sum().backward()
            return g

    x = facula.tensor(1500.0, requires_grad=True)
    Down.apply(x).sum().backward()
    assert x.grad.item() == 1.0
    endless = facula.tensor(1e9, requires_grad=True)
    with pytest.raises(RecursionError):
        Down.apply(endless).sum().backward()


# --- long chains --------------------------------------------------------------------------------


def test_a_long_chain():
    x = y = leaf(1.0)
    for _ in range(200_000):
        y = y + 0
    y.backward()
    assert x.grad.tolist() == [1.0]
    del y


# --- in place -----------------------------------------------------------------------------------


def test_history_of_views_and_bases():
    x = leaf(1.0, 2.0, 3.0)
    y = x * 1
    a, b = y[1:], y[:2]
    a.mul_(10)
    b[1].mul_(2)
    assert a.grad_fn.name() != "CopySlices" and y.grad_fn.name() == "CopySlices"
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 20.0, 10.0]


def test_leaves_are_not_changed_in_place():
    x = leaf(1.0, 2.0)
    for change in (lambda: x.add_(1), lambda: x[0].add_(1), lambda: x.view(2).zero_()):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            change()
    with facula.no_grad():
        x.add_(1)
    assert x.tolist() == [2.0, 3.0]


def test_views_that_refuse_changes():
    y = leaf(1.0, 2.0) * 1
    first = y.unbind(0)[0]
    for view in (first, first.view(1)):
        with pytest.raises(RuntimeError, match="returns multiple views"):
            view.add_(1)
    with facula.no_grad():
        quiet = y[:1]
    for view in (quiet, quiet.view(1)):
        with pytest.raises(RuntimeError, match="no_grad mode"):
            view.mul_(y[:1])


def test_reinterpreted_memory_has_no_gradient():
    y = leaf(1.0, 2.0) * 1
    bits = y.view(facula.int32)
    half = y.view(facula.float16)
    y.mul_(2)
    assert not bits.requires_grad and not half.requires_grad and half._version == 1
    half.add_(0)
    assert y._version == 2


def test_inference_tensors():
    with facula.inference_mode():
        t = facula.ones(2)
        assert t.is_inference()
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved"):
        x * t
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        t.add_(1)
    with pytest.raises(RuntimeError, match="do not track version"):
        t._version  # noqa: B018
    assert (x + t.clone()).requires_grad


# --- modes --------------------------------------------------------------------------------------


@facula.no_grad()
def quietly(x):
    return (x * 2).requires_grad


@facula.no_grad
def quietly_too(x):
    return (x * 2).requires_grad


@facula.no_grad()
def generated(x):
    for _ in range(2):
        yield (x * 2).requires_grad


def test_modes():
    x = leaf(1.0)
    assert not quietly(x) and not quietly_too(x)
    for inside in generated(x):
        assert not inside and (x * 2).requires_grad
    with facula.no_grad(), facula.enable_grad():
        assert (x * 2).requires_grad
    with facula.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    facula.set_grad_enabled(False)
    assert not facula.is_grad_enabled()
    facula.set_grad_enabled(True)
    with facula.inference_mode():
        assert not (x * 2).requires_grad
        with facula.inference_mode(False):
            assert (x * 2).requires_grad


# --- Function -----------------------------------------------------------------------------------


class Scale(Function):
    @staticmethod
    def forward(x, factor):
        return x * factor

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, ctx.factor = inputs

    @staticmethod
    def backward(ctx, g):
        return g * ctx.factor, None


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


def test_both_styles_and_double_backward():
    x = leaf(2.0)
    y = Cube.apply(Scale.apply(x, 3.0))
    (first,) = grad(y, x, create_graph=True)
    (second,) = grad(first, x)
    assert first.tolist() == [324.0] and second.tolist() == [324.0]
    assert y.grad_fn.name() == "CubeBackward"


def test_context_is_the_node():
    y = Cube.apply(leaf(2.0))
    y.grad_fn.note = 3
    assert y.grad_fn.note == 3
    assert [t.tolist() for t in y.grad_fn.saved_tensors] == [[2.0]]
    assert y.grad_fn.needs_input_grad == (True,)


def test_saved_inputs_are_themselves():
    seen = []

    class Keep(Function):
        @staticmethod
        def forward(ctx, x, none):
            ctx.save_for_backward(x, none)
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            seen.extend(ctx.saved_tensors)
            return g, None

    x = leaf(1.0) * 1
    Keep.apply(x, None).backward()
    assert seen[0] is x and seen[1] is None


def test_dirty_inputs():
    class AddOne(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.add_(1)

        @staticmethod
        def backward(ctx, g):
            return g * 5

    class Forgets(AddOne):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x + 1

    x = leaf(1.0)
    y = x * 1
    z = AddOne.apply(y)
    assert z is y and y.grad_fn.name() == "AddOneBackward"
    z.backward()
    assert x.grad.tolist() == [5.0]
    with pytest.raises(RuntimeError, match="leaf Variable"):
        AddOne.apply(leaf(1.0))
    with pytest.raises(RuntimeError, match="marked as dirty"):
        Forgets.apply(leaf(1.0) * 1)


def test_non_differentiable_results():
    class Sorted(Function):
        @staticmethod
        def forward(ctx, x):
            values, index = x.sort()
            low = x.min()
            ctx.mark_non_differentiable(low)
            return values, index, low

        @staticmethod
        def backward(ctx, values, index, low):
            assert index is None and low is None
            return values

    x = leaf(2.0, 1.0)
    values, index, low = Sorted.apply(x)
    assert values.requires_grad and not index.requires_grad and not low.requires_grad
    values.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


class Powers(Function):
    @staticmethod
    def forward(x, power=2, *, plus=0):
        return x**power + plus

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.power = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.power * x ** (ctx.power - 1), None


def test_defaults_and_keywords():
    x = leaf(2.0)
    for call, value, slope in (
        (lambda x: Powers.apply(x), 4.0, 4.0),
        (lambda x: Powers.apply(x, power=3), 8.0, 12.0),
        (lambda x: Powers.apply(x, 3, plus=1), 9.0, 12.0),
    ):
        y = call(x)
        assert (y.item(), grad(y.sum(), x)[0].item()) == (value, slope)
        assert facula.func.grad(lambda x: call(x).sum())(x.detach()).item() == slope  # noqa: B023


def test_a_function_without_backward():
    class Forward(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    with pytest.raises(NotImplementedError, match="backward or vjp"):
        Forward.apply(leaf(1.0)).sum().backward()
    with pytest.warns(DeprecationWarning, match="should not be instantiated"):
        assert Forward().apply(leaf(1.0)).item() == 2.0


def test_gradients_in_a_list():
    class Two(Function):
        boxed_grads_call = True

        @staticmethod
        def forward(ctx, x, y):
            return x * 2, y * 3

        @staticmethod
        def backward(ctx, grads):
            assert type(grads) is list and len(grads) == 2
            return grads.pop(0) * 2, grads.pop() * 3

    x, y = leaf(1.0), leaf(1.0)
    facula.cat(Two.apply(x, y)).sum().backward()
    assert (x.grad.item(), y.grad.item()) == (2.0, 3.0)


def test_saved_tensors_that_are_read_once():
    class Square(Function):
        clear_saved_tensors_on_access = True

        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            with pytest.raises(RuntimeError, match="second time"):
                ctx.saved_tensors  # noqa: B018
            return 2 * g * x

    x = leaf(3.0)
    y = Square.apply(x)
    y.backward(facula.ones(1), retain_graph=True)
    assert x.grad.item() == 6.0
    with pytest.raises(RuntimeError, match="second time"):
        y.backward(facula.ones(1))


def test_views_of_inputs_refuse_changes():
    class Flat(Function):
        @staticmethod
        def forward(ctx, x):
            return x.view(-1)

        @staticmethod
        def backward(ctx, g):
            return g

    y = Flat.apply(leaf(1.0, 2.0) * 1)
    with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
        y.add_(1)


def test_once_differentiable():
    class Once(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @facula.autograd.function.once_differentiable
        def backward(ctx, g):
            return g * 2

    x = leaf(1.0)
    Once.apply(x).backward()
    assert x.grad.tolist() == [2.0]
    w = leaf(3.0)
    (first,) = grad(Once.apply(x) * w, x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        first.backward()


def test_vjp_is_another_name_of_backward():
    class V(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def vjp(ctx, g):
            return g * 2

    class Both(V):
        @staticmethod
        def vjp(ctx, g):
            return g

        @staticmethod
        def backward(ctx, g):
            return g

    x = leaf(1.0)
    V.apply(x).backward()
    assert x.grad.tolist() == [2.0]
    with pytest.raises(RuntimeError, match="only implement one"):
        Both.apply(x).backward()


def test_wrong_gradients():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, what):
            ctx.what = what
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return ctx.what

    x = leaf(1.0, 2.0)
    for what, error, text in (
        (facula.ones(2), RuntimeError, "incorrect number of gradients"),
        ((3, None), TypeError, "must be a tensor or None"),
        ((facula.ones(2), facula.ones(2)), RuntimeError, "was not a Variable"),
        ((facula.ones(3), None), RuntimeError, "invalid gradient at index 0"),
    ):
        with pytest.raises(error, match=text):
            Wrong.apply(x, what).sum().backward()
    with pytest.raises(TypeError, match="can only save"):

        class SavesOthers(Wrong):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(3)

        SavesOthers.apply(x)


# --- threads ------------------------------------------------------------------------------------


def in_threads(n, work):
    errors = []

    def run():
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors


def test_backward_from_many_threads():
    x = leaf(1.0, 2.0)
    y = (x * x).exp().sum()

    def work():
        for _ in range(50):
            y.backward(retain_graph=True)
            grad((x * x).sum(), x)

    (once,) = grad(y, x, retain_graph=True)
    in_threads(4, work)
    assert x.grad.tolist() == pytest.approx((once * 200).tolist(), rel=1e-4)


def test_grad_mode_belongs_to_the_thread():
    seen = []
    with facula.no_grad():
        in_threads(1, lambda: seen.append(facula.is_grad_enabled()))
    assert seen == [True]


def test_hooks_come_and_go_while_backward_runs():
    x = leaf(1.0, 2.0)
    y = (x * 2).sum()
    done = threading.Event()

    def change():
        while not done.is_set():
            handles = [x.register_hook(lambda g: None) for _ in range(5)]
            for handle in handles:
                handle.remove()

    thread = threading.Thread(target=change)
    thread.start()
    for _ in range(300):
        y.backward(retain_graph=True)
    done.set()
    thread.join()
    assert x.grad.tolist() == [600.0, 600.0]


# --- warnings ----------------------------------------------------------------------------------

WARNS = """
import warnings, facula
x = facula.ones(1, requires_grad=True)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    facula.autograd.grad(x * x, x, create_graph=True)
    assert not caught
    for _ in range(2):
        {call}
[warning] = caught
assert warning.category is UserWarning and "makes a cycle" in str(warning.message)
assert warning.filename == "<string>", warning.filename
assert x.grad.item() == 4 and x.grad.requires_grad
"""


@pytest.mark.parametrize(
    "call",
    ["(x * x).backward(create_graph=True)", "facula.autograd.backward(x * x, create_graph=True)"],
)
def test_a_graph_in_grad_warns_once_a_process(call):
    subprocess.run([sys.executable, "-c", WARNS.format(call=call)], check=True)


# --- nothing is left ----------------------------------------------------------------------------


class Training:
    """A small model, and ways to compute its gradients."""

    def __init__(self):
        nn = facula.nn
        self.model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.LayerNorm(8), nn.Linear(8, 2))
        self.optimizer = facula.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        self.data, self.target = facula.randn(16, 4), facula.randn(16, 2)

    def steps(self, n, way):
        for _ in range(n):
            self.optimizer.zero_grad()
            way(self)
            self.optimizer.step()

    def loss(self, data=None):
        return ((self.model(self.data if data is None else data) - self.target) ** 2).mean()

    def plain(self):
        self.loss().backward()

    def with_hooks(self):
        first, relu, _, last = self.model
        seen = []
        handles = [
            first.register_forward_hook(lambda module, args, out: seen.append(1)),
            relu.register_forward_pre_hook(lambda module, args: seen.append(2)),
            last.register_full_backward_hook(lambda module, inner, outer: seen.append(3)),
            first.weight.register_hook(lambda grad: grad * 1),
            first.weight.register_post_accumulate_grad_hook(lambda leaf: seen.append(4)),
        ]
        hidden = first(self.data)
        hidden.register_hook(lambda grad: grad * 1)
        hidden.grad_fn.register_hook(lambda inputs, outputs: seen.append(5))
        (self.loss() + hidden.sum()).backward()
        for handle in handles:
            handle.remove()
        assert set(seen) == {1, 2, 3, 4, 5}

    def with_saved_hooks(self):
        with facula.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            self.loss().backward()

    def with_checkpoint(self, use_reentrant=False):
        data = self.data.detach().requires_grad_(use_reentrant)
        hidden = checkpoint(self.model[:3], data, use_reentrant=use_reentrant)
        ((self.model[3](hidden) - self.target) ** 2).mean().backward()

    def with_reentrant_checkpoint(self):
        self.with_checkpoint(use_reentrant=True)

    def with_the_tripwire(self):
        with facula.autograd.trace_nonfinite():
            self.loss().backward()

    def with_forward_mode(self):
        with forward_ad.dual_level():
            loss = self.loss(forward_ad.make_dual(self.data, facula.ones_like(self.data)))
            assert forward_ad.unpack_dual(loss).tangent is not None
            loss.backward()


@pytest.mark.parametrize(
    ("way", "n"),
    [
        (Training.plain, 10_000),
        (Training.with_hooks, 500),
        (Training.with_saved_hooks, 500),
        (Training.with_checkpoint, 500),
        (Training.with_reentrant_checkpoint, 500),
        (Training.with_the_tripwire, 500),
        (Training.with_forward_mode, 500),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_training_leaves_no_objects(way, n):
    training = Training()

    def counts():
        gc.collect()
        return len(gc.get_objects()), facula._C._live_blocks()

    training.steps(n // 50, way)
    before = counts()
    gc.disable()
    try:
        training.steps(n, way)
        held = len(gc.get_objects()) - before[0]
    finally:
        gc.enable()
    after = counts()
    assert held < 100  # nothing waits for the collector
    assert after[0] - before[0] < 20 and after[1] - before[1] < 20


# --- anomaly ------------------------------------------------------------------------------------


def test_anomaly_mode_names_the_forward_call():
    x = leaf(-1.0)
    with pytest.warns(UserWarning) as caught, facula.autograd.set_detect_anomaly(True):
        y = x.sqrt()  # the line that is named
        with pytest.raises(RuntimeError, match="'SqrtBackward0' returned nan values in its 0th"):
            y.backward()
    text = str(caught[0].message)
    assert "Error detected in SqrtBackward0" in text and "the line that is named" in text
    assert not facula.is_anomaly_enabled()


def test_anomaly_mode_and_errors():
    class Fails(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            raise KeyError("mine")

    x = leaf(1.0)
    with pytest.warns(UserWarning, match="No forward pass information"):
        y = Fails.apply(x)
        with facula.autograd.set_detect_anomaly(True, check_nan=False):
            with pytest.raises(KeyError, match="mine"):
                y.backward()
    with pytest.warns(UserWarning, match="Anomaly Detection has been enabled"):
        with facula.autograd.detect_anomaly(check_nan=False):
            leaf(-1.0).sqrt().backward()


def test_anomaly_mode_in_double_backward():
    x = leaf(0.0)
    with pytest.warns(UserWarning, match="Previous calculation was induced by"):
        with facula.autograd.set_detect_anomaly(True):
            (first,) = grad((x**1.5).sum(), x, create_graph=True)
            with pytest.raises(RuntimeError, match="returned nan"):
                (first * 0).sum().backward()


# --- the tripwire -------------------------------------------------------------------------------


def test_the_tripwire_finds_the_first_nan():
    with facula.autograd.trace_nonfinite():
        x = facula.tensor([1.0, -1.0])
        y = x * 2
        with pytest.raises(facula.autograd.NonfiniteError) as error:
            y.log() + 1
    assert error.value.operator == "log" and error.value.node is None
    text = str(error.value)
    assert "test_autograd.py" in text and "float32[2]" in text and "min -2, max 2" in text


def test_the_tripwire_in_backward():
    x = leaf(0.0, 1.0)
    with facula.autograd.trace_nonfinite():
        y = x.sqrt().sum()
        with pytest.raises(facula.autograd.NonfiniteError) as error:
            y.backward()
    assert error.value.node.name() == "SqrtBackward0"
    assert "test_autograd.py" in error.value.line and "in backward" in str(error.value)


def test_the_tripwire_lets_pass_what_was_given():
    scores = facula.zeros(2, 2)
    mask = facula.tensor([[False, True], [False, False]])
    with facula.autograd.trace_nonfinite():
        facula.softmax(scores.masked_fill(mask, float("-inf")), -1)
        with pytest.raises(facula.autograd.NonfiniteError, match="first NaN"):
            facula.softmax(scores.masked_fill(mask | True, float("-inf")), -1)
        with pytest.raises(facula.autograd.NonfiniteError, match="first infinity"):
            1 / scores
    with facula.autograd.trace_nonfinite(inf=False):
        1 / scores
    1 / scores


def large(*shape, dtype=facula.float32):
    return facula.ones(*shape, dtype=dtype)


@pytest.mark.parametrize(
    "operator, call",
    [
        ("exp", lambda: (large(300, 300) * facula.linspace(0, 90, 300)).exp()),
        ("exp", lambda: (large(300, 300) * facula.linspace(0, 90, 300)).T.exp()),
        ("mul", lambda: large(70_000, dtype=facula.float64) * 1e200 * 1e200),
        ("mul", lambda: large(70_000, dtype=facula.complex64) * 1e30 * 1e30),
        ("mul", lambda: large(70_000, dtype=facula.bfloat16) * 1e30 * 1e30),
        ("mm", lambda: (large(256, 256) * 1e19) @ (large(256, 256) * 1e20)),
        ("mm", lambda: (large(256, 256) * 1e19) @ (large(2, 256) * 1e20).T),
        ("bmm", lambda: (large(3, 200, 200) * 1e19).bmm(large(3, 200, 200) * 1e20)),
        ("linear", lambda: facula.nn.functional.linear(large(9, 9) * 1e30, large(9, 9) * 1e30)),
        ("_to_copy", lambda: (large(70_000) * 70_000).half()),
        ("log", lambda: facula.zeros(10).log_()),
        ("_clamp_min", lambda: facula.zeros(10, dtype=facula.float16).clamp(min=1e9)),
        ("sub", lambda: facula.full((9,), float("inf")).sub_(float("inf"))),
    ],
)
def test_the_tripwire_in_each_way_of_looking(operator, call):
    with facula.autograd.trace_nonfinite():
        with pytest.raises(facula.autograd.NonfiniteError) as error:
            call()
    assert error.value.operator == operator


def test_the_tripwire_passes_over_what_was_not_finite_before():
    given = facula.tensor([float("nan"), float("inf"), 1.0])
    with facula.autograd.trace_nonfinite():
        given.add_(1).exp_().relu_()
        (given * 2).clone().sort()


@pytest.mark.parametrize("size", [3, 50_000])
def test_the_tripwire_in_a_step_of_an_optimizer(size):
    x = facula.zeros(size, requires_grad=True)
    optimizer = facula.optim.Adam([x], eps=0.0)
    x.grad = facula.zeros(size)
    with facula.autograd.trace_nonfinite():
        with pytest.raises(facula.autograd.NonfiniteError, match="first NaN") as error:
            optimizer.step()
        assert error.value.operator == "_fused_adam_"
        x.grad = facula.full((size,), float("nan"))
        optimizer.step()


# --- pictures -----------------------------------------------------------------------------------


def test_plot():
    model = facula.nn.Linear(3, 2)
    loss = model(facula.ones(4, 3)).relu().sum()
    picture = facula.autograd.plot(loss, model)
    text = str(picture)
    assert text.startswith("SumBackward0  #1\nReluBackward0  #2\n")
    assert "weight [2x3]" in text and "bias [2]" in text
    svg = picture._repr_svg_()
    assert svg.startswith("<svg") and svg.count("<rect") == len(picture.nodes)
    assert "no graph" in str(facula.autograd.plot(facula.ones(1)))


# --- names --------------------------------------------------------------------------------------


def test_older_names():
    v = facula.autograd.Variable(facula.ones(1), requires_grad=True)
    assert v.requires_grad and isinstance(v, facula.autograd.Variable)
    with facula.autograd.set_multithreading_enabled(False):
        assert facula.autograd.is_multithreading_enabled() is False
    with facula.autograd.profiler.record_function("part"):
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        leaf(1.0).backward()
