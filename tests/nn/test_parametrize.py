"""Parametrized tensors of modules, and the norms of weights."""

import copy
import pickle

import facula
import numpy as np
import pytest
from facula import nn
from facula.nn.utils import parametrizations, parametrize


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T

    def right_inverse(self, value):
        return value.triu()


class Exp(nn.Module):
    def forward(self, x):
        return x.exp()


class Sum(nn.Module):
    def forward(self, a, b):
        return a + b

    def right_inverse(self, value):
        return value / 4, 3 * value / 4


def symmetric(size=3):
    return parametrize.register_parametrization(nn.Linear(size, size), "weight", Symmetric())


def test_register():
    layer = symmetric()
    assert facula.equal(layer.weight, layer.weight.T) and layer.weight.requires_grad
    assert isinstance(layer, nn.Linear) and type(layer).__name__ == "ParametrizedLinear"
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    assert parametrize.type_before_parametrizations(nn.Linear(1, 1)) is nn.Linear
    assert parametrize.is_parametrized(layer) and parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    assert [name for name, _ in layer.named_parameters()] == [
        "bias",
        "parametrizations.weight.original",
    ]
    x = facula.randn(2, 3)
    assert facula.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    layer(x).sum().backward()
    assert layer.parametrizations.weight.original.grad.tril(-1).abs().sum() == 0
    assert "Symmetric()" in repr(layer)


def test_the_parameter_stays_the_same_object():
    layer = nn.Linear(3, 3)
    weight = layer.weight
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert layer.parametrizations.weight.original is weight
    parametrize.remove_parametrizations(layer, "weight")
    assert layer.weight is weight and type(layer) is nn.Linear


def test_assign():
    layer = symmetric()
    layer.weight = facula.eye(3)
    assert facula.equal(layer.weight, facula.eye(3))
    parametrize.register_parametrization(layer, "weight", Exp())
    assert facula.equal(layer.weight, facula.eye(3).exp())
    with pytest.raises(RuntimeError, match="Exp has no right_inverse"):
        layer.weight = facula.eye(3)


def test_several_originals():
    layer = nn.Linear(3, 3)
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Sum())
    found = layer.parametrizations.weight
    facula.testing.assert_close(layer.weight.detach(), before)
    facula.testing.assert_close(found.original1.detach(), 3 * found.original0.detach())
    assert found.ntensors == 2 and not found.is_tensor
    layer.weight = facula.ones(3, 3)
    assert found.original0.unique().item() == 0.25
    with pytest.raises(ValueError, match="several tensors"):
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    parametrize.remove_parametrizations(layer, "weight")
    assert isinstance(layer.weight, nn.Parameter) and layer.weight.unique().item() == 1


def test_remove():
    layer = symmetric()
    value = layer.weight.detach().clone()
    parametrize.remove_parametrizations(layer, "weight")
    assert facula.equal(layer.weight, value) and not hasattr(layer, "parametrizations")
    layer = symmetric()
    original = layer.parametrizations.weight.original.detach().clone()
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert facula.equal(layer.weight, original)
    with pytest.raises(ValueError, match="no parametrization on 'weight'"):
        parametrize.remove_parametrizations(layer, "weight")
    layer = symmetric()
    parametrize.register_parametrization(layer, "bias", Exp())
    parametrize.remove_parametrizations(layer, "weight")
    assert parametrize.is_parametrized(layer, "bias") and isinstance(layer.weight, nn.Parameter)
    layer(facula.ones(3))


def test_buffers():
    norm = nn.BatchNorm1d(2)
    parametrize.register_parametrization(norm, "running_var", Exp())
    assert "parametrizations.running_var.original" in dict(norm.named_buffers())
    parametrize.remove_parametrizations(norm, "running_var")
    facula.testing.assert_close(norm.running_var, facula.ones(2).exp())
    assert "running_var" in dict(norm.named_buffers())


def test_cached():
    layer = symmetric()
    assert layer.weight is not layer.weight
    with parametrize.cached():
        weight = layer.weight
        with parametrize.cached():
            assert layer.weight is weight
        assert layer.weight is weight
    assert layer.weight is not weight


def parametrization(forward, right_inverse=None):
    members = {"forward": lambda self, x: forward(x)}
    if right_inverse:
        members["right_inverse"] = lambda self, x: right_inverse(x)
    return type("Made", (nn.Module,), members)()


@pytest.mark.parametrize(
    "made, text",
    [
        ((lambda x: x.sum(),), "shape"),
        ((lambda x: x.double(),), "dtype"),
        ((lambda x: 3,), "must return a tensor"),
        ((lambda x: x, lambda x: 3), "right_inverse must return"),
        ((lambda x: x, lambda x: x[0]), "shape"),
        ((lambda x: x, lambda x: x.double()), "float64"),
    ],
)
def test_wrong_parametrizations(made, text):
    with pytest.raises(ValueError, match=text):
        parametrize.register_parametrization(nn.Linear(2, 2), "weight", parametrization(*made))
    second = symmetric(2)
    with pytest.raises(ValueError):
        parametrize.register_parametrization(second, "weight", parametrization(*made))
    assert len(second.parametrizations.weight) == 1


def test_unsafe():
    layer = nn.Linear(2, 2)
    made = parametrization(lambda x: x[:1])
    parametrize.register_parametrization(layer, "weight", made, unsafe=True)
    assert layer.weight.shape == (1, 2) and layer.parametrizations.weight.unsafe
    with pytest.raises(ValueError, match="named 'nothing'"):
        parametrize.register_parametrization(layer, "nothing", Exp())


def test_copies():
    layer = symmetric()
    clone = copy.deepcopy(layer)
    assert facula.equal(clone.weight, layer.weight) and isinstance(clone, nn.Linear)
    original = layer.parametrizations.weight.original
    assert clone.parametrizations.weight.original is not original
    parametrize.remove_parametrizations(clone, "weight")
    assert type(clone) is nn.Linear and parametrize.is_parametrized(layer, "weight")
    assert layer.weight.shape == (3, 3)
    with pytest.raises(RuntimeError, match="state_dict"):
        pickle.dumps(layer)


def test_state_dict():
    one, other = symmetric(), symmetric()
    other.load_state_dict(one.state_dict())
    assert facula.equal(one.weight, other.weight)


def test_transfer():
    one, other = symmetric(), nn.Linear(3, 3)
    assert parametrize.transfer_parametrizations_and_params(one, other) is other
    assert other.parametrizations.weight.original is one.parametrizations.weight.original
    assert facula.equal(one.weight, other.weight)


def test_functional_call():
    layer, x = symmetric(), facula.randn(2, 3)
    original = facula.randn(3, 3)
    given = {"parametrizations.weight.original": original}
    expected = nn.functional.linear(x, Symmetric()(original), layer.bias)
    assert facula.equal(facula.func.functional_call(layer, given, x), expected)
    with pytest.raises(AttributeError, match="parametrizations.weight.original"):
        facula.func.functional_call(layer, {"weight": original}, x)


# --- norms of weights


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(dim):
    x = facula.randn(5, 4)
    plain = nn.Linear(4, 3)
    for make, names in (
        (
            parametrizations.weight_norm,
            ["bias", *(f"parametrizations.weight.original{i}" for i in "01")],
        ),
        (nn.utils.weight_norm, ["bias", "weight_g", "weight_v"]),
    ):
        layer = make(copy.deepcopy(plain), dim=dim)
        assert list(layer.state_dict()) == names
        facula.testing.assert_close(layer(x), plain(x))
        g, v = list(layer.parameters())[1:]
        assert g.shape == {0: (3, 1), 1: (1, 4), None: ()}[dim]
        with facula.no_grad():
            v *= 2  # directions have no length
        facula.testing.assert_close(layer(x), plain(x))
        layer(x).sum().backward()
        assert g.grad is not None and v.grad is not None


def test_old_names_of_weight_norm():
    old = nn.utils.weight_norm(nn.Linear(4, 3))
    new = parametrizations.weight_norm(nn.Linear(4, 3))
    new.load_state_dict(old.state_dict())
    x = facula.randn(2, 4)
    assert facula.equal(old(x), new(x))
    value = old(x).detach()
    nn.utils.remove_weight_norm(old)
    assert facula.equal(old(x), value) and list(old.state_dict()) == ["bias", "weight"]
    with pytest.raises(ValueError):
        nn.utils.remove_weight_norm(old)
    with pytest.raises(RuntimeError, match="already"):
        nn.utils.weight_norm(nn.utils.weight_norm(old))


@pytest.mark.parametrize("make", [parametrizations.spectral_norm, nn.utils.spectral_norm])
@pytest.mark.parametrize(
    "layer",
    [lambda: nn.Linear(4, 3), lambda: nn.Conv2d(2, 3, 2), lambda: nn.ConvTranspose2d(2, 3, 2)],
)
def test_spectral_norm(make, layer):
    facula.manual_seed(0)
    layer = make(layer(), n_power_iterations=20)
    x = facula.randn(2, *([4] if isinstance(layer, nn.Linear) else [2, 5, 5]))
    layer(x)
    rows = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    matrix = layer.weight.detach().movedim(rows, 0).flatten(1)
    largest = np.linalg.svd(matrix.numpy(), compute_uv=False)[0]
    assert largest == pytest.approx(1, abs=1e-3)
    for parameter in layer.parameters():  # another weight, other singular vectors
        parameter.data += facula.rand_like(parameter)
    before = {name: t.clone() for name, t in layer.state_dict().items()}
    layer(x).sum().backward()
    assert any(not facula.equal(before[k], t) for k, t in layer.state_dict().items())
    layer.eval()
    before = {name: t.clone() for name, t in layer.state_dict().items()}
    first = layer(x)
    assert facula.equal(first, layer(x))
    assert all(facula.equal(before[k], t) for k, t in layer.state_dict().items())


def test_spectral_norm_arguments():
    layer = nn.utils.spectral_norm(nn.Linear(4, 3))
    assert list(layer.state_dict()) == ["bias", "weight_orig", "weight_u", "weight_v"]
    x = facula.randn(2, 4)
    value = layer.eval()(x)
    nn.utils.remove_spectral_norm(layer)
    facula.testing.assert_close(layer(x), value)
    for make in (parametrizations.spectral_norm, nn.utils.spectral_norm):
        with pytest.raises(ValueError, match="positive"):
            make(layer, n_power_iterations=0)
        with pytest.raises(ValueError, match="nothing"):
            make(layer, "nothing")
    with pytest.raises(ValueError):
        nn.utils.remove_spectral_norm(layer)
    bias = parametrizations.spectral_norm(nn.Linear(4, 3), "bias").bias
    assert bias.norm().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("use_trivialization", [True, False])
@pytest.mark.parametrize("orthogonal_map", [None, "matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_orthogonal(shape, orthogonal_map, use_trivialization):
    facula.manual_seed(0)
    layer = nn.Linear(shape[1], shape[0]).double()
    parametrizations.orthogonal(
        layer, orthogonal_map=orthogonal_map, use_trivialization=use_trivialization
    )
    part = layer.parametrizations.weight[0]

    def assert_orthonormal(weight):
        small = weight @ weight.mT if shape[0] <= shape[1] else weight.mT @ weight
        facula.testing.assert_close(small, facula.eye(min(shape), dtype=facula.float64))

    original = layer.parametrizations.weight.original
    goal = nn.init.orthogonal_(facula.empty(*shape, dtype=facula.float64))
    before = (layer.weight - goal).square().sum()
    before.backward()
    with facula.no_grad():
        original -= 0.01 * original.grad
    assert_orthonormal(layer.weight)
    assert (layer.weight - goal).square().sum() < before
    if use_trivialization or part.orthogonal_map == "householder":
        layer.weight = goal
        facula.testing.assert_close(layer.weight, goal)
    else:
        with pytest.raises(NotImplementedError):
            layer.weight = goal
    other = nn.Linear(shape[1], shape[0]).double()
    parametrizations.orthogonal(
        other, orthogonal_map=orthogonal_map, use_trivialization=use_trivialization
    )
    other.load_state_dict(layer.state_dict())
    assert facula.equal(other.weight, layer.weight)


def test_orthogonal_of_complex_numbers_and_bad_arguments():
    layer = nn.Linear(3, 2, dtype=facula.complex128)
    parametrizations.orthogonal(layer)
    one = facula.eye(2, dtype=facula.complex128)
    facula.testing.assert_close(layer.weight @ layer.weight.mH, one)
    for name, orthogonal_map in (("bias", None), ("other", None), ("weight", "other")):
        with pytest.raises(ValueError):
            parametrizations.orthogonal(nn.Linear(3, 2), name, orthogonal_map)
    with pytest.raises(ValueError):
        layer = nn.Linear(3, 2, dtype=facula.complex128)
        parametrizations.orthogonal(layer, orthogonal_map="householder")
