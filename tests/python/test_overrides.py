"""Subclasses and modes that take part in calls, and gradient hooks written in Python."""

import facula
import pytest
from facula.overrides import TorchFunctionMode


class Plain(facula.Tensor):
    pass


class Logged(facula.Tensor):
    calls: list = []

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.calls.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


def test_results_are_of_the_subclass():
    t = facula.ones(2, 2).as_subclass(Plain)
    for made in (
        t + 1,
        1 - t,
        t.sum(),
        t[0],
        t.max(0).values,
        t.split(1)[0],
        facula.stack([t, t]),
        t.T,
    ):
        assert type(made) is Plain
    assert type(t.shape) is facula.Size
    t.requires_grad_()
    (t * 2).sum().backward()
    assert type(t.grad) is facula.Tensor


@pytest.mark.parametrize(
    ("call", "function"),
    [
        (lambda t: t + 1, facula.Tensor.add),
        (lambda t: 1 + t, facula.Tensor.add),
        (lambda t: facula.add(1, t), facula.add),
        (lambda t: facula.stack([facula.ones(2), t]), facula.stack),
        (lambda t: t.size(), facula.Tensor.size),
        (lambda t: t.shape, facula.Tensor.shape.__get__),
        (lambda t: t.add_(1), facula.Tensor.add_),
        (lambda t: float(t[0]), facula.Tensor.__float__),
    ],
)
def test_a_subclass_sees_the_function(call, function):
    t = facula.ones(2).as_subclass(Logged)
    Logged.calls.clear()
    call(t)
    assert Logged.calls[-1] == function


def test_an_override_may_decline():
    class Declines:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return NotImplemented

    with pytest.raises(TypeError, match="no implementation found"):
        facula.add(facula.ones(2), Declines())


def test_modes_see_every_call():
    class Mode(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append(func)
            return func(*args, **(kwargs or {}))

    seen = []
    with Mode():
        facula.ones(2) + 1
    facula.ones(2) + 1
    assert seen == [facula.ones, facula.Tensor.add]


class Wrapper(facula.Tensor):
    """A tensor whose elements lie in another one."""

    @staticmethod
    def __new__(cls, elements):
        return facula.Tensor._make_wrapper_subclass(
            cls, elements.size(), dtype=elements.dtype, requires_grad=elements.requires_grad
        )

    def __init__(self, elements):
        self.elements = elements.detach()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        args = [a.elements if isinstance(a, Wrapper) else a for a in args]
        result = func(*args, **(kwargs or {}))
        return Wrapper(result) if isinstance(result, facula.Tensor) else result


def test_a_wrapper_computes_by_its_dispatch():
    t = Wrapper(facula.ones(2, 3, requires_grad=True))
    product = t * t
    assert type(product) is Wrapper
    product.sum().backward()
    assert t.grad.shape == (2, 3)


@pytest.mark.parametrize("read", ["item", "tolist", "data_ptr"])
def test_a_wrapper_has_no_memory(read):
    with pytest.raises(RuntimeError):
        getattr(Wrapper(facula.ones(1)), read)()


# --- hooks ------------------------------------------------------------------------------------


def test_tensor_hooks_replace_gradients():
    leaf = facula.ones(3, requires_grad=True)
    handle = leaf.register_hook(lambda grad: grad * 2)
    middle = leaf * 3
    middle.retain_grad()
    middle.register_hook(lambda grad: grad + 1)
    middle.sum().backward()
    assert middle.grad.tolist() == [2.0] * 3
    assert leaf.grad.tolist() == [12.0] * 3
    handle.remove()
    leaf.grad = None
    (leaf * 3).sum().backward()
    assert leaf.grad.tolist() == [3.0] * 3


def test_node_hooks_and_names():
    leaf = facula.ones(2, requires_grad=True)
    product = leaf * facula.ones(2)
    node, seen = product.grad_fn, []
    assert node.name() == type(node).__name__ == "MulBackward0"
    assert node.next_functions[0][0].variable is leaf
    assert node._saved_other.tolist() == [1.0, 1.0]
    node.register_prehook(lambda outputs: seen.append("before"))
    node.register_hook(lambda inputs, outputs: seen.append(inputs[0].tolist()))
    leaf.register_post_accumulate_grad_hook(lambda t: seen.append(t is leaf))
    product.sum().backward()
    assert seen == ["before", [1.0, 1.0], True]
    with pytest.raises(RuntimeError, match="retain_graph"):
        node._saved_other  # noqa: B018


def test_an_exception_in_a_hook_arrives():
    def fail(grad):
        raise LookupError("from the hook")

    t = facula.ones(2, requires_grad=True) * 2
    t.register_hook(fail)
    with pytest.raises(LookupError, match="from the hook"):
        t.sum().backward()
    t = facula.ones(2, requires_grad=True) * 2
    t.register_hook(lambda grad: "no tensor")
    with pytest.raises(TypeError, match="a hook returns"):
        t.sum().backward()


def test_errors_of_backward():
    with pytest.raises(RuntimeError, match="does not require grad"):
        facula.ones(1).backward()
    with pytest.raises(RuntimeError, match="scalar outputs"):
        (facula.ones(2, requires_grad=True) * 2).backward()
    with pytest.raises(TypeError, match="either Tensors or None"):
        facula.ones(1, requires_grad=True).backward(1)
    with pytest.raises(TypeError, match="assigned grad"):
        facula.ones(1).grad = 1
