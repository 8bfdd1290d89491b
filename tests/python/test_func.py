"""facula.func: modules as functions of their state."""

import facula
import pytest
from facula import nn
from facula.func import functional_call, replace_all_batch_norm_modules_, stack_module_state

ONE = facula.ones(())


class Tied(nn.Module):
    """(x * foo + tied + y + k); foo and tied are one parameter, and calls are counted."""

    def __init__(self):
        super().__init__()
        self.foo = nn.Parameter(facula.zeros(()))
        self.tied = self.foo
        self.register_buffer("calls", facula.zeros(()))
        self.inner = nn.Linear(1, 1)
        self.plain = 3

    def forward(self, x, y=0, *, k=0):
        self.calls = self.calls + 1
        return x * self.foo + self.tied + y + k


@pytest.fixture(params=[functional_call, nn.utils.stateless.functional_call])
def call(request):
    return request.param


def test_call_with_other_parameters(call):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    other = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x = facula.randn(5, 3)
    before = dict(model.named_parameters())
    assert facula.equal(call(model, dict(other.named_parameters()), (x,)), other(x))
    assert all(before[name] is param for name, param in model.named_parameters())
    # Some of them; without a tuple around the one argument; gradients go to what was given.
    weight = facula.zeros(2, 4, requires_grad=True)
    result = call(model, {"2.weight": weight}, x)
    assert facula.equal(result, model[2].bias.expand(5, 2))
    result.sum().backward()
    assert weight.grad.shape == weight.shape and model[2].weight.grad is None


def test_state_comes_back_after_an_error(call):
    model = nn.Linear(3, 2)
    weight = model.weight
    with pytest.raises(RuntimeError):
        call(model, {"weight": facula.ones(7, 7)}, facula.ones(3))
    with pytest.raises(AttributeError):
        call(model, {"weight": facula.ones(2, 3), "nothing.weight": ONE}, facula.ones(3))
    assert model.weight is weight


def test_arguments(call):
    model = Tied()
    assert call(model, {"foo": ONE}, (5 * ONE, 1), {"k": 2}).item() == 9
    with pytest.raises(TypeError):
        call(model, {"foo": ONE})


def test_tied(call):
    model, z = Tied(), 5 * ONE
    assert call(model, {"foo": ONE}, z).item() == 6
    assert call(model, {"tied": ONE}, z).item() == 6
    assert call(model, {"foo": ONE, "tied": ONE}, z).item() == 6
    with pytest.raises(ValueError, match="'foo', 'tied'"):
        call(model, {"foo": ONE, "tied": 2 * ONE}, z)
    assert call(model, {"foo": ONE, "tied": 2 * ONE}, z, tie_weights=False).item() == 7
    assert call(model, {"foo": ONE}, z, tie_weights=False).item() == 5
    assert model.foo is model.tied


def test_strict(call):
    model, z = Tied(), 5 * ONE
    inner = {"inner.weight": facula.ones(1, 1), "inner.bias": facula.ones(1)}
    assert call(model, {"foo": ONE, "calls": ONE, **inner}, z, strict=True).item() == 6
    with pytest.raises(RuntimeError, match="missing names .*'calls'"):
        call(model, {"foo": ONE, **inner}, z, strict=True)
    with pytest.raises(RuntimeError, match="unexpected names .*'more'"):
        call(model, {"more": ONE, "foo": ONE, "calls": ONE, **inner}, z, strict=True)
    assert call(model, {"more": ONE}, z).item() == 0 and not hasattr(model, "more")


def test_buffers_that_forward_replaces(call):
    model, given = Tied(), {"calls": 5 * ONE}
    call(model, given, ONE)
    assert given["calls"].item() == 6 and model.calls.item() == 0


def test_wrong_values(call):
    model = Tied()
    for name, error in (("plain", TypeError), ("inner", TypeError), ("", KeyError)):
        with pytest.raises(error):
            call(model, {name: ONE}, ONE)
    with pytest.raises(TypeError, match="foo"):
        call(model, {"foo": 3}, ONE)
    assert model.plain == 3


def test_several_dictionaries():
    model = Tied()
    assert functional_call(model, ({"foo": ONE}, {"calls": ONE}), 5 * ONE).item() == 6
    with pytest.raises(ValueError, match="more than one"):
        functional_call(model, [{"foo": ONE}, {"foo": ONE}], ONE)
    for wrong in (3, [3]):
        with pytest.raises(ValueError, match="dictionar"):
            functional_call(model, wrong, ONE)


def test_stack_module_state():
    models = [nn.BatchNorm1d(3) for _ in range(4)]
    for i, model in enumerate(models):
        nn.init.constant_(model.weight, i)
        model.bias.requires_grad_(False)
    parameters, buffers = stack_module_state(models)
    assert parameters["weight"].shape == (4, 3) and parameters["weight"][:, 0].tolist() == [
        0,
        1,
        2,
        3,
    ]
    assert parameters["weight"].requires_grad and parameters["weight"].is_leaf
    assert not parameters["bias"].requires_grad
    assert buffers["num_batches_tracked"].tolist() == [0] * 4
    assert set(buffers) == {"running_mean", "running_var", "num_batches_tracked"}
    assert stack_module_state(nn.ModuleList([nn.Linear(2, 2)]))[0]["bias"].shape == (1, 2)


def test_stack_module_state_of_unlike_modules():
    frozen = nn.Linear(2, 2).requires_grad_(False)
    for models in (
        [],
        [nn.Linear(2, 2), nn.Tanh()],
        [nn.Linear(2, 2), nn.Linear(2, 2).eval()],
        [nn.Linear(2, 2), nn.Linear(2, 3)],
        [nn.Linear(2, 2), frozen],
    ):
        with pytest.raises(RuntimeError):
            stack_module_state(models)


def test_replace_all_batch_norm_modules():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    assert replace_all_batch_norm_modules_(model) is model
    assert model[1].running_mean is None and not list(model.buffers())
    x = facula.randn(4, 3)
    assert facula.equal(model(x), model.eval()(x))


# --- rearrange ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern, sizes, made",
    [
        ("b c h w -> b h w c", {}, lambda x: x.permute(0, 2, 3, 1)),
        ("b c h w -> b (c h) w", {}, lambda x: x.reshape(2, 12, 6)),
        ("b c h w -> (w c) b h", {}, lambda x: x.permute(3, 1, 0, 2).reshape(18, 2, 4)),
        (
            "b c (h h1) (w w1)->(b h1 w1) c h w",
            {"h1": 2, "w1": 3},
            lambda x: x.reshape(2, 3, 2, 2, 2, 3).permute(0, 3, 5, 1, 2, 4).reshape(12, 3, 2, 2),
        ),
        ("... w -> w ...", {}, lambda x: x.permute(3, 0, 1, 2)),
        ("b ... -> b (...)", {}, lambda x: x.reshape(2, -1)),
        ("b ... w -> ... (b w)", {}, lambda x: x.permute(1, 2, 0, 3).reshape(3, 4, 12)),
        ("b c h w ... -> ... b c h w", {}, lambda x: x),
        ("b c h w -> b 1 c h () w", {}, lambda x: x[:, None, :, :, None]),
        ("(b 1) c h w -> b c h w", {}, lambda x: x),
    ],
)
def test_rearrange(pattern, sizes, made):
    x = facula.arange(144).reshape(2, 3, 4, 6)
    assert facula.func.rearrange(x, pattern, **sizes).tolist() == made(x).tolist()


def test_rearrange_of_lists_batches_and_nothing():
    x = facula.arange(6.0).reshape(2, 3)
    assert facula.func.rearrange([x, x + 6], "l a b -> a (l b)").shape == (2, 6)
    assert facula.func.rearrange(facula.ones(()), "... -> 1 ...").shape == (1,)
    assert facula.func.rearrange(facula.ones(3, 1), "a 1 -> a").shape == (3,)
    empty = facula.func.rearrange(facula.ones(0, 3), "(a b) c -> a (b c)", a=2)
    assert empty.shape == (2, 0)
    batched = facula.func.vmap(lambda t: facula.func.rearrange(t, "a b -> (b a)"))
    assert batched(x[None]).tolist() == [x.mT.flatten().tolist()]


@pytest.mark.parametrize(
    "pattern, sizes, message",
    [
        ("a b", {}, "one '->'"),
        ("a b -> a b -> a b", {}, "one '->'"),
        ("a -> a", {}, "for 1 axes, the tensor has 2"),
        ("a b c ... -> a b c ...", {}, "at least 3 axes"),
        ("a b -> a", {}, "'b' is on the left side only"),
        ("a ... -> a", {}, "'...' is on the left side only"),
        ("a b -> a b c", {}, "'c' is on the right side only"),
        ("a a -> a", {}, "'a' stands twice"),
        ("(a b) c -> a b c", {}, "give the sizes of all but one of a, b"),
        ("(a b) c -> a b c", {"a": 4}, "does not divide into parts of 4"),
        ("(a b) c -> a b c", {"a": 3, "b": 3}, "axis 0 has size 2, the pattern says a=3 b=3"),
        ("a 1 -> a", {}, "axis 1 has size 3, the pattern says 1"),
        ("a b -> a b", {"z": 1}, "no axis 'z'"),
        ("a b -> a b", {"a": -2}, "0 or more, not -2"),
        ("a 3 -> a 3", {}, "name the 3"),
        ("((a) b) -> a b", {}, "do not nest"),
        ("(a b -> a b", {}, "without its '\\)'"),
        ("a b) -> a b", {}, "without its '\\('"),
        ("(...) -> ...", {}, "outside of brackets"),
        ("a .. -> a ..", {}, "three dots"),
        ("a b - > a b", {}, "one '->'"),
    ],
)
def test_rearrange_says_what_is_wrong(pattern, sizes, message):
    with pytest.raises(ValueError, match=message):
        facula.func.rearrange(facula.ones(2, 3), pattern, **sizes)
