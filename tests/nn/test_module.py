"""Module: registration, look-up, calls, hooks, state, text."""

import copy
import gc
import pickle
import weakref
from collections import OrderedDict

import facula as torch
import pytest
from facula import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 2, bias=False)
        self.register_buffer("scale", torch.tensor(2.0))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)
        self.note = "plain"

    def forward(self, x):
        return self.second(self.first(x).relu()) * self.scale


# --- registration and look-up --------------------------------------------------------------------


def test_names_in_order():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "first.weight",
        "first.bias",
        "second.weight",
    ]
    assert [n for n, _ in net.named_buffers()] == ["scale", "scratch"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "second"]
    assert list(net.state_dict()) == ["scale", "first.weight", "first.bias", "second.weight"]


def test_assignment_moves_between_kinds():
    net = Net()
    weight = net.second.weight
    net.scale = nn.Parameter(torch.ones(1))
    assert "scale" in net._parameters and "scale" not in net._buffers
    net.note = nn.ReLU()
    assert "note" in net._modules and "note" not in net.__dict__
    net.second.weight = None
    assert net.second.weight is None and list(net.second.parameters()) == []
    net.second.weight = weight
    assert net.second.weight is weight
    del net.note
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'note'"):
        net.note  # noqa: B018


def test_shared_parameters_count_once():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert len(list(net.parameters())) == 3
    assert len(list(net.named_parameters(remove_duplicate=False))) == 4


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda m: setattr(m.first, "weight", 1), TypeError, "as parameter 'weight'"),
        (lambda m: setattr(m, "first", 1), TypeError, "as child module 'first'"),
        (lambda m: setattr(m, "scale", 1), TypeError, "as buffer 'scale'"),
        (lambda m: m.register_buffer("a.b", None), KeyError, "contain"),
        (lambda m: m.register_buffer("note", None), KeyError, "already exists"),
        (lambda m: m.register_parameter("p", torch.ones(1)), TypeError, "Parameter or None"),
        (lambda m: m.add_module("", nn.ReLU()), KeyError, "empty string"),
        (lambda m: m.get_submodule("first.weight"), AttributeError, "not an nn.Module"),
        (lambda m: m.train("yes"), ValueError, "boolean"),
        (lambda m: m(), TypeError, "x"),
        (lambda m: m.first(), TypeError, "input"),
        (lambda m: m.first(torch.ones(3), 1), TypeError, "takes 1 arguments"),
        (lambda m: m.first(torch.ones(3), other=1), TypeError, "unexpected keyword"),
        (lambda m: m.first(torch.ones(3), input=1), TypeError, "multiple values"),
    ],
)
def test_misuse_is_refused(act, error, text):
    with pytest.raises(error, match=text):
        act(Net())


def test_before_init():
    class Early(nn.Module):
        def __init__(self):
            self.layer = nn.ReLU()

    with pytest.raises(AttributeError, match="before Module.__init__"):
        Early()
    with pytest.raises(NotImplementedError, match="missing the required"):
        nn.Module()(1)


def test_attributes_of_subclasses():
    class Special(nn.Module):
        label = "class"

        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(1, 1)

        @property
        def width(self):
            return self.inner.out_features

        def __getattr__(self, name):
            if name == "magic":
                return 42
            raise AttributeError(name)

    m = Special()
    assert (m.label, m.width, m.magic, m.inner.in_features) == ("class", 1, 42, 1)
    m.label = "own"
    assert m.label == "own" and Special.label == "class"
    assert not hasattr(m, "other")


def test_paths():
    net = Net()
    assert net.get_submodule("") is net
    assert net.get_parameter("first.bias") is net.first.bias
    assert net.get_buffer("scale") is net.scale
    net.set_submodule("first", nn.Identity())
    assert isinstance(net.first, nn.Identity)


# --- calls ---------------------------------------------------------------------------------------


def test_call_forms():
    layer = nn.Linear(3, 2)
    x = torch.randn(4, 3)
    expected = x @ layer.weight.t() + layer.bias
    for y in (layer(x), layer(input=x), layer.forward(x), nn.Linear.forward(layer, x)):
        torch.testing.assert_close(y, expected)
    layer.forward = lambda x: "replaced"
    assert layer(x) == "replaced"


def test_call_is_overridden_by_a_subclass():
    class Twice(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Counting(Twice):
        calls = 0

        def __call__(self, *args):
            self.calls += 1
            return super().__call__(*args)

    m, x = Counting(2, 2), torch.randn(1, 2)
    torch.testing.assert_close(m(x), 2 * nn.functional.linear(x, m.weight, m.bias))
    assert m.calls == 1


def test_forward_that_is_the_module_itself():
    m = nn.Identity()
    m.__dict__["forward"] = m
    with pytest.raises(RecursionError):
        m(1)


def test_modules_are_collected():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.child = nn.Linear(1, 1)
            self.__dict__["parent"] = self

    m = Loop()
    ref = weakref.ref(m)
    del m
    gc.collect()
    assert ref() is None


# --- hooks ---------------------------------------------------------------------------------------


def test_forward_hooks_in_order():
    m, seen = nn.Linear(2, 2), []
    x = torch.zeros(1, 2)
    m.register_forward_pre_hook(lambda mod, args: seen.append("pre"))
    first = m.register_forward_pre_hook(lambda mod, args: seen.append("first"), prepend=True)
    m.register_forward_hook(lambda mod, args, out: seen.append("post"))
    m(x)
    assert seen == ["first", "pre", "post"]
    first.remove()
    first.remove()
    m(x)
    assert seen[3:] == ["pre", "post"]


def test_hooks_change_arguments_and_results():
    m = nn.Identity()
    m.register_forward_pre_hook(lambda mod, args: (args[0] + 1,))
    m.register_forward_hook(lambda mod, args, out: out * 10)
    assert m(1) == 20

    class Keyword(nn.Module):
        def forward(self, x, *, by=1):
            return x * by

    m = Keyword()
    m.register_forward_pre_hook(lambda mod, a, k: (a, {"by": k["by"] + 1}), with_kwargs=True)
    m.register_forward_hook(lambda mod, a, k, out: out + k["by"], with_kwargs=True)
    assert m(2, by=3) == 12


def test_hook_that_is_always_called():
    class Broken(nn.Module):
        def forward(self):
            raise ValueError("broken")

    m, seen = Broken(), []
    m.register_forward_hook(lambda *a: seen.append("plain"))
    m.register_forward_hook(lambda *a: seen.append("always"), always_call=True)
    with pytest.raises(ValueError, match="broken"):
        m()
    assert seen == ["always"]


def test_global_hooks():
    seen = []
    hook = nn.modules.module.register_module_forward_hook(lambda m, a, o: seen.append(type(m)))
    nn.Sequential(nn.ReLU(), nn.Tanh())(torch.zeros(1))
    hook.remove()
    nn.ReLU()(torch.zeros(1))
    assert seen == [nn.ReLU, nn.Tanh, nn.Sequential]


def test_full_backward_hooks():
    m, x, seen = nn.Linear(2, 3), torch.randn(4, 2, requires_grad=True), {}

    def pre(mod, grad_output):
        seen["pre"] = grad_output
        return (grad_output[0] * 2,)

    def post(mod, grad_input, grad_output):
        seen["post"] = grad_input, grad_output
        return (grad_input[0] * 10,)

    handles = [m.register_full_backward_pre_hook(pre), m.register_full_backward_hook(post)]
    m(x).sum().backward()
    plain = torch.ones(4, 3) @ m.weight.detach()
    torch.testing.assert_close(seen["pre"][0], torch.ones(4, 3))
    torch.testing.assert_close(seen["post"][1][0], 2 * torch.ones(4, 3))
    torch.testing.assert_close(seen["post"][0][0], 2 * plain)
    torch.testing.assert_close(x.grad, 20 * plain)
    for handle in handles:
        handle.remove()
    x.grad = None
    m(x).sum().backward()
    torch.testing.assert_close(x.grad, plain)


def test_backward_hook_without_input_gradients():
    m, seen = nn.Linear(2, 3), []
    m.register_full_backward_hook(lambda mod, gi, go: seen.append((gi, go[0].shape)))
    m(torch.randn(4, 2)).sum().backward()
    assert seen == [((None,), (4, 3))]


def test_registration_hooks():
    module = nn.modules.module
    names = []
    hooks = [
        module.register_module_parameter_registration_hook(lambda m, n, p: names.append(n)),
        module.register_module_module_registration_hook(lambda m, n, p: names.append(n)),
        module.register_module_buffer_registration_hook(lambda m, n, p: names.append(n)),
    ]
    try:
        Net()
    finally:
        for hook in hooks:
            hook.remove()
    assert names == ["weight", "bias", "first", "weight", "second", "scale", "scratch"]


# --- state ---------------------------------------------------------------------------------------


def test_state_dict_round_trip():
    a, b = Net(), Net()
    result = b.load_state_dict(a.state_dict())
    assert repr(result) == "<All keys matched successfully>"
    for (name, p), q in zip(a.named_parameters(), b.parameters()):
        assert torch.equal(p, q), name
    state = a.state_dict()
    assert state._metadata["first"] == {"version": 1}
    assert not state["first.weight"].requires_grad
    assert a.state_dict(keep_vars=True)["first.weight"] is a.first.weight
    assert list(a.state_dict(prefix="x."))[0] == "x.scale"


def test_load_errors():
    net = Net()
    state = net.state_dict()
    state["extra"] = state.pop("first.bias")
    state["second.weight"] = torch.zeros(5, 5)
    with pytest.raises(RuntimeError) as error:
        net.load_state_dict(state)
    text = str(error.value)
    assert text.startswith("Error(s) in loading state_dict for Net:\n\tMissing key(s)")
    assert '"first.bias"' in text and 'Unexpected key(s) in state_dict: "extra"' in text
    assert "size mismatch for second.weight" in text
    del state["second.weight"]
    keys = net.load_state_dict(state, strict=False)
    assert keys.missing_keys == ["first.bias", "second.weight"]
    assert keys.unexpected_keys == ["extra"]


def test_load_assign():
    net, state = Net(), Net().double().state_dict()
    net.load_state_dict(state, assign=True)
    assert net.first.weight.dtype == torch.float64
    assert isinstance(net.first.weight, nn.Parameter) and net.first.weight.requires_grad


def test_state_dict_hooks_and_extra_state():
    class Extra(nn.Module):
        def __init__(self):
            super().__init__()
            self.value = 1

        def get_extra_state(self):
            return self.value

        def set_extra_state(self, state):
            self.value = state

    m, seen = Extra(), []
    m.register_state_dict_pre_hook(lambda mod, prefix, keep: seen.append("pre"))
    m.register_state_dict_post_hook(lambda mod, state, prefix, meta: seen.append(list(state)))
    m.register_load_state_dict_pre_hook(lambda mod, state, *rest: seen.append("load"))
    m.register_load_state_dict_post_hook(lambda mod, keys: seen.append(keys.missing_keys))
    state = m.state_dict()
    state["_extra_state"] = 7
    m.load_state_dict(state)
    assert m.value == 7
    assert seen == ["pre", ["_extra_state"], "load", []]


def test_copies():
    net = Net()
    net.first.register_forward_hook(lambda m, a, out: out + 1)
    x = torch.randn(2, 3)
    deep = copy.deepcopy(net)
    assert torch.equal(deep(x), net(x))
    assert deep.first.weight is not net.first.weight
    assert type(deep.first.weight) is nn.Parameter
    shallow = copy.copy(net)
    assert shallow.first is net.first
    plain = pickle.loads(pickle.dumps(Net().eval()))
    assert isinstance(plain.first.weight, nn.Parameter) and not plain.training


def test_conversions():
    net = Net()
    weight = net.first.weight
    net(torch.ones(3)).sum().backward()
    net.double()
    assert net.first.weight is weight and weight.dtype == torch.float64
    assert weight.grad.dtype == torch.float64 and net.scale.dtype == torch.float64
    net.to(torch.float16)
    assert net.scale.dtype == torch.float16
    net.to(torch.zeros(1))
    assert net.second.weight.dtype == torch.float32
    with pytest.raises(TypeError, match="floating point"):
        net.to(torch.int32)
    meta = net.to("meta")
    assert meta.first.weight.is_meta and isinstance(meta.first.weight, nn.Parameter)
    assert not meta.to_empty(device="cpu").first.weight.is_meta


def test_modes_and_gradients():
    net = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    net.eval()
    assert not any(m.training for m in net.modules())
    net[1].train()
    assert net[1][0].training and not net[0].training
    layer = nn.Linear(2, 2).requires_grad_(False)
    assert not layer.weight.requires_grad
    layer.requires_grad_()
    layer(torch.ones(2)).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert torch.equal(layer.bias.grad, torch.zeros(2))
    layer.zero_grad()
    assert layer.bias.grad is None
    names = []
    net.apply(lambda m: names.append(m._get_name()))
    assert names == ["Dropout", "Dropout", "Sequential", "Sequential"]


# --- text and containers -------------------------------------------------------------------------


def test_repr():
    assert repr(Net()) == (
        "Net(\n"
        "  (first): Linear(in_features=3, out_features=4, bias=True)\n"
        "  (second): Linear(in_features=4, out_features=2, bias=False)\n"
        ")"
    )
    assert repr(nn.Sequential()) == "Sequential()"
    assert repr(nn.ModuleList(nn.ReLU() for _ in range(3))) == (
        "ModuleList(\n  (0-2): 3 x ReLU()\n)"
    )
    assert {"first", "scale", "forward"} <= set(dir(Net()))


def test_sequential():
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    net = nn.Sequential(a, b)
    assert net.append(c) is net and len(net) == 3 and net[-1] is c
    assert list(net[1:]) == [b, c] and isinstance(net[1:], nn.Sequential)
    del net[0]
    assert list(net._modules) == ["0", "1"]
    net.insert(0, a)
    assert [*net] == [a, b, c]
    net[1] = a
    assert net[1] is a
    assert len(net + net) == 6 and len(net * 2) == 6 and net.pop(0) is a and len(net) == 2
    named = nn.Sequential(OrderedDict(one=a, two=b))
    assert named.two is b and torch.equal(named(torch.ones(1)), torch.ones(1).tanh())
    with pytest.raises(IndexError):
        net[7]
    assert nn.Sequential()(5) == 5


def test_module_list_and_dict():
    layers = nn.ModuleList([nn.Linear(1, 1)])
    layers += [nn.ReLU(), nn.Tanh()]
    layers.extend(nn.ModuleList([nn.ReLU()]))
    assert len(layers) == 4 and isinstance(layers[1:3], nn.ModuleList)
    assert [n for n, _ in layers.named_parameters()] == ["0.weight", "0.bias"]
    table = nn.ModuleDict({"a": nn.ReLU()})
    table.update([("b", nn.Tanh())])
    table["c"] = nn.Linear(1, 1)
    assert list(table) == ["a", "b", "c"] and "b" in table
    assert isinstance(table.pop("b"), nn.Tanh) and len(table) == 2
    with pytest.raises(TypeError):
        table["d"] = 1


def test_parameter_containers():
    values = nn.ParameterList([torch.ones(2), "text"])
    values.append(nn.Parameter(torch.zeros(3)))
    assert isinstance(values[0], nn.Parameter) and values[1] == "text" and len(values) == 3
    assert [n for n, _ in values.named_parameters()] == ["0", "2"]
    assert len(values[:2]) == 2 and len([*values]) == 3
    table = nn.ParameterDict({"w": torch.ones(2)})
    table["v"] = torch.zeros(1)
    assert list(table.keys()) == ["w", "v"] and isinstance(table["v"], nn.Parameter)
    assert table.setdefault("w") is table["w"] and table.pop("v").shape == (1,)
    assert list(table.state_dict()) == ["w"]


def test_parameter():
    p = nn.Parameter(torch.ones(2))
    assert p.requires_grad and p.is_leaf and isinstance(p, torch.Tensor)
    assert repr(p) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert type(p + 1) is torch.Tensor and not isinstance(p + 1, nn.Parameter)
    b = nn.Buffer(torch.ones(1), persistent=False)
    m = nn.Module()
    m.table = b
    assert "table" in m._buffers and not m.state_dict()
    copied = copy.deepcopy(nn.Parameter(torch.ones(2), requires_grad=False))
    assert type(copied) is nn.Parameter and not copied.requires_grad
