"""autograd.graph: nodes and their attributes, hooks around saved tensors, edges, cycles."""

import gc
import weakref

import facula
import pytest
from facula.autograd import Function, SavedTensor, graph


def leaf(*values):
    return facula.tensor(values, dtype=facula.float32, requires_grad=True)


# --- nodes --------------------------------------------------------------------------------------


def test_a_node_says_what_it_is_and_what_it_keeps():
    x = leaf(1.0, 2.0)
    y = (x * x).exp()
    node = y.grad_fn
    assert node.name() == type(node).__name__ == "ExpBackward0"
    assert isinstance(node, graph.Node)
    assert node._saved_result.tolist() == y.tolist()
    ((mul, index),) = node.next_functions
    assert mul.name() == "MulBackward0" and index == 0
    assert mul._saved_self is x and mul._saved_other is x
    assert [n for n, _ in mul.next_functions] == [mul.next_functions[0][0]] * 2
    assert mul.next_functions[0][0].variable is x
    assert mul._sequence_nr() < node._sequence_nr()
    assert {"_saved_self", "_raw_saved_self"} <= set(dir(mul))
    assert isinstance(mul._raw_saved_self, SavedTensor)
    shape = y.sum().grad_fn  # of what only the shape is read, only the shape is kept
    assert shape._saved_self_sym_sizes == [2] and "_saved_self_sym_sizes" in dir(shape)
    assert not hasattr(shape, "_saved_self")
    (meta,) = node._input_metadata
    assert meta.shape == (2,) and meta.dtype is facula.float32


def test_metadata_outlives_the_object():
    y = leaf(1.0) * 2
    y.grad_fn.metadata["note"] = 7
    gc.collect()
    assert y.grad_fn.metadata == {"note": 7}


def test_saved_values_are_gone_after_backward():
    y = leaf(1.0).exp()
    y.backward()
    with pytest.raises(RuntimeError, match="second time"):
        _ = y.grad_fn._saved_result
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    with pytest.raises(RuntimeError, match="after it has been freed"):
        raw = leaf(1.0).exp()
        saved = raw.grad_fn._raw_saved_result
        raw.backward()
        saved.register_hooks(lambda t: t, lambda t: t)


# --- hooks around saved tensors -----------------------------------------------------------------


def test_hooks_change_what_is_saved():
    log = []

    def pack(t):
        log.append(("pack", t.requires_grad))
        return (t * 10,)

    def unpack(packed):
        log.append(("unpack",))
        return packed[0] / 10

    x = leaf(3.0)
    with graph.saved_tensors_hooks(pack, unpack):
        y = (x * x).sum()
    y.backward()
    assert log == [("pack", True)] * 2 + [("unpack",)] * 2
    assert x.grad.tolist() == pytest.approx([6.0])


@pytest.mark.parametrize("is_leaf", [True, False])
def test_hooks_see_the_inputs_themselves(is_leaf):
    x = leaf(3.0) if is_leaf else leaf(3.0) * 1
    w = facula.ones(1)
    seen = []

    def pack(t):
        seen.append(t)
        return t

    with graph.saved_tensors_hooks(pack, lambda t: t):
        x * w  # the gradient of x reads w
        y = x.exp2() * x
    assert seen[0] is w and seen[-1] is x
    saved = y.grad_fn._saved_other
    assert saved is x and saved.is_leaf == is_leaf
    with graph.saved_tensors_hooks(lambda t: t.detach(), lambda t: t):
        y = x * x
    saved = y.grad_fn._saved_self  # another tensor, whose gradient goes to x all the same
    assert saved is not x and saved.requires_grad
    assert facula.autograd.grad(saved.sum(), x)[0].item() == 1.0


def test_a_hook_that_keeps_an_input_makes_no_lasting_cycle():
    before = None
    for _ in range(50):
        if before is None and _ == 10:
            gc.collect()
            before = facula._C._live_blocks()
        x = leaf(1.0) * 1
        w = facula.ones(1)
        with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            y = x * w
            w.mul_(y)  # w leads now to the node that keeps it
        del x, w, y
    gc.collect()
    assert facula._C._live_blocks() - before < 10


def test_hooks_nest_and_keep_their_own_unpack():
    x = leaf(2.0)
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t * 100):
        with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            inner = x * x
        outer = x * x
    inner.backward()
    assert x.grad.tolist() == [4.0]
    x.grad = None
    outer.backward()
    assert x.grad.tolist() == [400.0]


def test_double_backward_through_hooks():
    x = leaf(2.0)
    with graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):
        y = x * x * x
        (first,) = facula.autograd.grad(y, x, create_graph=True)
        (second,) = facula.autograd.grad(first, x)
    assert (first.tolist(), second.tolist()) == ([12.0], [12.0])


def test_results_are_packed_too_and_functions_as_well():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            return grad * 2 * ctx.saved_tensors[0]

    for op, expected in ((facula.exp, None), (Square.apply, 6.0)):
        n = 0

        def pack(t):
            nonlocal n
            n += 1
            return t

        x = leaf(3.0)
        with graph.saved_tensors_hooks(pack, lambda t: t):
            y = op(x)
        y.backward()
        assert n == 1
        assert x.grad.tolist() == [expected or y.item()]


def test_hooks_that_do_wrong():
    x = leaf(2.0)
    with graph.saved_tensors_hooks(lambda t: t, lambda t: "no tensor"):
        y = x * x
    with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor"):
        y.backward()
    with pytest.raises(RuntimeError, match="modifying its input in place"):
        with graph.saved_tensors_hooks(lambda t: t.add_(1), lambda t: t):
            (x * 1).exp()
    with pytest.raises(ZeroDivisionError):
        with graph.saved_tensors_hooks(lambda t: 1 / 0, lambda t: t):
            x * x
    assert (x * x).grad_fn._saved_self is x


def test_one_saved_tensor_gets_hooks():
    x = leaf(2.0)
    y = x * x
    y.grad_fn._raw_saved_self.register_hooks(lambda t: t * 3, lambda t: t)
    with pytest.raises(RuntimeError, match="already been"):
        y.grad_fn._raw_saved_self.register_hooks(lambda t: t, lambda t: t)
    y.backward()
    assert x.grad.tolist() == [8.0]


def test_hooks_can_be_disabled():
    with graph.disable_saved_tensors_hooks("not here"):
        with pytest.raises(RuntimeError, match="not here"):
            with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
                pass
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        pass


def test_save_on_cpu():
    x = leaf(2.0, 3.0)
    with graph.save_on_cpu():
        y = (x * x).exp().sum()
    y.backward()
    plain = x.detach().requires_grad_()
    (plain * plain).exp().sum().backward()
    assert x.grad.tolist() == plain.grad.tolist()


def test_saved_tensors_may_change_inside_the_context():
    x = leaf(1.0, 2.0)
    with graph.allow_mutation_on_saved_tensors():
        y = x * 1
        z = y * y
        y.zero_()
        z.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_increment_version():
    x = facula.ones(2)
    graph.increment_version(x)
    graph.increment_version([x, x])
    assert x._version == 3
    with facula.inference_mode():
        y = facula.ones(2)
    with pytest.raises(RuntimeError, match="Inference tensors"):
        graph.increment_version(y)


# --- edges --------------------------------------------------------------------------------------


def test_edges_stand_for_tensors():
    x = leaf(1.0, 2.0)
    y = x * 3
    z = y.sum()
    edge = graph.get_gradient_edge(y)
    assert edge.node is y.grad_fn and edge.output_nr == 0
    (grad,) = facula.autograd.grad(graph.get_gradient_edge(z), edge, retain_graph=True)
    assert grad.tolist() == [1.0, 1.0]
    facula.autograd.backward(edge, facula.tensor([2.0, 5.0]))
    assert x.grad.tolist() == [6.0, 15.0]
    with pytest.raises(RuntimeError, match="does not require"):
        graph.get_gradient_edge(facula.ones(1))


# --- several gradients at once ------------------------------------------------------------------


def test_multi_grad_hook_all():
    calls = []
    a, b, c = leaf(1.0), leaf(2.0), leaf(3.0)
    handle = graph.register_multi_grad_hook((a, b, c), calls.append)
    (a * b).backward()
    assert [g if g is None else g.tolist() for g in calls.pop()] == [[2.0], [1.0], None]
    (a * b * c).backward()
    assert len(calls) == 1 and all(g is not None for g in calls[0])
    handle.remove()
    (a * b).backward()
    assert len(calls) == 1


def test_multi_grad_hook_any():
    calls = []
    a, b = leaf(1.0), leaf(2.0)
    with graph.register_multi_grad_hook((a, b), calls.append, mode="any"):
        (a * b).backward()
        (a * b).backward()
    assert len(calls) == 2
    with pytest.raises(ValueError, match="mode"):
        graph.register_multi_grad_hook((a, b), calls.append, mode="some")


# --- cycles -------------------------------------------------------------------------------------


class Witness:
    pass


def _node_hook(x, y, z, w):
    z.grad_fn.register_hook(lambda *_: (z, w))


def _tensor_hook(x, y, z, w):
    y.register_hook(lambda _: (z, w))


def _leaf_hook(x, y, z, w):
    x.register_hook(lambda _: (z, w))


def _metadata(x, y, z, w):
    z.grad_fn.metadata["cycle"] = (z, w)


def _handle_in_its_own_hook(x, y, z, w):
    handles = []
    handles.append(z.grad_fn.register_hook(lambda *_: (handles, w)))


def _node_object(x, y, z, w):
    node = z.grad_fn
    node.register_hook(lambda *_: (node, w))


def _packed(x, y, z, w):
    with graph.saved_tensors_hooks(lambda t: (t, z, w), lambda p: p[0]):
        y.packed = z.exp()


def _post_hook(x, y, z, w):
    x.register_post_accumulate_grad_hook(lambda _: (x, w))


def _context(x, y, z, w):
    class Twice(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    out = Twice.apply(z)
    out.grad_fn.kept = (out, w)


@pytest.mark.parametrize(
    "close",
    [
        _node_hook,
        _tensor_hook,
        _leaf_hook,
        _metadata,
        _handle_in_its_own_hook,
        _node_object,
        _packed,
        _post_hook,
        _context,
    ],
)
def test_cycles_through_the_graph_are_collected(close):
    def build():
        x, witness = leaf(1.0, 2.0), Witness()
        y = x * 2
        v = y + 1
        z = (v * v).sum()
        close(x, y, z, witness)
        return weakref.ref(witness)

    ref = build()
    gc.collect()
    assert ref() is None


def test_what_is_in_use_is_not_collected():
    x, called = leaf(1.0), []
    y = x * 2
    z = y * y
    y.register_hook(lambda g: called.append(z is not None))
    del y
    gc.collect()
    z.backward()
    assert called == [True] and x.grad.tolist() == [8.0]


# --- overwritten --------------------------------------------------------------------------------


def test_the_error_names_the_culprit():
    y = (leaf(1.0) * 1).exp()
    y.add_(1)
    with pytest.raises(RuntimeError) as error:
        y.backward()
    text = str(error.value)
    assert "modified by an inplace operation" in text
    assert "ExpBackward0 saved as 'result'" in text
    assert "test_autograd_graph.py" in text and "use add()" in text
