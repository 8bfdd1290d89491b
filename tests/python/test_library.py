"""Operators of one's own, and operators as objects."""

import facula as torch
import pytest
from facula.library import Library, custom_op, define, impl, infer_schema, register_fake
from facula.testing import assert_close


@custom_op("test_library::scale", mutates_args=())
def scale(x: torch.Tensor, factor: float = 2.0, *, shift: float | None = None) -> torch.Tensor:
    return x * factor + (shift or 0.0)


@scale.register_fake
def _(x, factor, *, shift):
    return torch.empty_like(x)


def _setup(ctx, inputs, keyword_only_inputs, output):
    ctx.factor = inputs[1]
    assert list(keyword_only_inputs) == ["shift"]


scale.register_autograd(lambda ctx, grad: (grad * ctx.factor, None), setup_context=_setup)


def test_custom_op():
    x = torch.randn(3, requires_grad=True)
    y = scale(x, 3.0, shift=1.0)
    assert_close(y, x * 3 + 1)
    y.sum().backward()
    assert_close(x.grad, torch.full((3,), 3.0))
    assert_close(torch.ops.test_library.scale(x.detach()), x.detach() * 2)
    assert scale(torch.empty(2, device="meta")).shape == (2,)
    with pytest.raises(TypeError):
        scale("text")


def test_schema_of_a_function():
    def function(
        a: torch.Tensor, b: list[int], c: torch.Tensor | None, *, d: str = "x", e: bool = True
    ) -> tuple[torch.Tensor, int]:
        raise AssertionError

    text = infer_schema(function, mutates_args={"a"})
    assert text == (
        '(Tensor(a!) a, SymInt[] b, Tensor? c, *, str d="x", bool e=True) -> (Tensor, SymInt)'
    )
    with pytest.raises(ValueError, match="type annotation"):
        infer_schema(lambda x: x, mutates_args=())

    def unknown(a: dict) -> None:
        raise AssertionError

    with pytest.raises(ValueError, match="unsupported type"):
        infer_schema(unknown, mutates_args=())


def test_an_operator_that_writes():
    @custom_op("test_library::fill", mutates_args={"x"})
    def fill(x: torch.Tensor, value: float) -> None:
        x.fill_(value)

    x = torch.zeros(3)
    version = x._version
    assert fill(x, 2.0) is None
    assert torch.equal(x, torch.full((3,), 2.0)) and x._version > version


def test_by_name():
    define("test_library::twice", "(Tensor x) -> Tensor")
    with pytest.raises(NotImplementedError, match="register one"):
        torch.ops.test_library.twice(torch.ones(1))
    impl("test_library::twice", "cpu", lambda x: x + x)
    register_fake("test_library::twice", torch.empty_like)
    assert torch.ops.test_library.twice(torch.ones(1)).item() == 2
    assert torch.ops.test_library.twice(torch.ones(2, device="meta")).is_meta
    library = Library("test_library_two", "DEF")
    assert library.define("half(Tensor x) -> Tensor") == "half"
    library.impl("half", lambda x: x / 2)
    x = torch.ones(1, requires_grad=True)
    torch.ops.test_library_two.half(x).backward()
    assert x.grad.item() == 0.5
    library.define("scaled(Tensor x, *, float by=2.0, int[] shape=[1, 1]) -> Tensor")
    library.impl("scaled", lambda x, *, by, shape, further=0: x * by + further + len(shape))
    assert torch.ops.test_library_two.scaled(torch.ones(1), by=3.0).item() == 5
    with pytest.raises(ValueError, match="Unsupported kind"):
        Library("x", "NONE")
    with pytest.raises(ValueError, match="namespace::name"):
        define("nameless", "() -> ()")


def test_ops():
    packet = torch.ops.aten.sum
    assert packet(torch.ones(3)).item() == 3
    assert packet.dim_IntList(torch.ones(2, 3), [1]).shape == (2,)
    assert "default" in packet.overloads() and str(packet) == "aten.sum"
    assert torch.ops.aten.add_.default is torch.ops.aten.add_.default
    with pytest.raises(AttributeError, match="no operator"):
        torch.ops.aten.nothing_of_that_name  # noqa: B018
    with pytest.raises(AttributeError, match="no overload"):
        packet.none  # noqa: B018
