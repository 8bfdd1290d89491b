"""Function transforms: derivatives, batches, and each inside of each other."""

import facula
import pytest
from facula.autograd import forward_ad
from facula.func import (
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
    vmap,
)


@pytest.fixture(autouse=True)
def seeded():
    facula.manual_seed(0)


def close(a, b):
    return facula.allclose(a, b, rtol=1e-9, atol=1e-9)


def randn(*shape):
    return facula.randn(*shape, dtype=facula.float64)


# --- derivatives


def test_grad_is_that_of_autograd():
    x = randn(3, 4)
    leaf = x.clone().requires_grad_()
    (leaf.sin() * leaf).sum().backward()
    assert close(grad(lambda x: (x.sin() * x).sum())(x), leaf.grad)
    assert not grad(lambda x: x.sum())(x).requires_grad


def test_grad_of_grad_does_not_mix_up_variables():
    # d/ds of (d/dr of r s at r = s) = d/ds of s
    assert grad(lambda s: grad(lambda r: r * s)(s))(facula.tensor(3.0)) == 1
    assert grad(grad(grad(lambda x: x**4)))(facula.tensor(2.0)) == 48


def test_jvp_of_jvp_does_not_mix_up_variables():
    one, two = facula.tensor(1.0), facula.tensor(2.0)

    def outer(x):
        return x * jvp(lambda y: x + y, (two,), (one,))[1]

    assert jvp(outer, (two,), (one,))[1] == 1


def test_argnums_and_aux():
    def f(a, pair, *, scale):
        return (a * pair["b"]).sum() * scale, {"a": a}

    a, b = randn(3), randn(3)
    (da, dpair), aux = grad(f, argnums=(0, 1), has_aux=True)(a, {"b": b}, scale=2)
    assert close(da, 2 * b) and close(dpair["b"], 2 * a) and close(aux["a"], a)
    gradient, (value, _) = grad_and_value(f, argnums=-2, has_aux=True)(a, {"b": b}, scale=2)
    assert close(gradient, 2 * b) and close(value, (a * b).sum() * 2)
    with pytest.raises(RuntimeError, match="only 2 positional inputs"):
        grad(f, argnums=2)(a, b)
    with pytest.raises(RuntimeError, match="scalar tensor"):
        grad(lambda x: x)(a)
    with pytest.raises(RuntimeError, match="return a tensor"):
        grad(lambda x: 1.0)(a)


def test_outer_history_is_kept():
    w, x = randn(3).requires_grad_(), randn(3)
    gradient = grad(lambda x: (w * x**2).sum())(x)
    gradient.sum().backward()
    assert close(w.grad, 2 * x)


def test_no_grad_outside_counts_for_nothing_inside():
    x = randn(3)
    with facula.no_grad():
        assert close(grad(lambda x: (x * x).sum())(x), 2 * x)
        assert not facula.is_grad_enabled()

    def shifted(x):
        with facula.no_grad():
            shift = x.mean()
        return ((x - shift) ** 2).sum()

    assert close(grad(shifted)(x), 2 * (x - x.mean()))
    assert facula.is_grad_enabled()


def test_vjp_later_and_twice():
    x = randn(4)
    y, pull = vjp(lambda x: {"y": x.exp()}, x)
    for _ in range(2):
        (gradient,) = pull({"y": facula.ones_like(x)})
        assert close(gradient, x.exp())
    assert close(y["y"], x.exp())
    with pytest.raises(RuntimeError, match="structure"):
        pull([x])


def test_unused_inputs_have_zero_gradients():
    a, b = randn(2), randn(3)
    da, db = grad(lambda a, b: a.sum(), argnums=(0, 1))(a, b)
    assert close(db, facula.zeros_like(b)) and close(da, facula.ones_like(a))
    assert close(grad(lambda a: facula.ones(()))(a), facula.zeros_like(a))


def f_matrix(x):
    return (x @ x.T).tanh().sum(0)


@pytest.mark.parametrize("jacobian", [jacrev, jacfwd])
def test_jacobians(jacobian):
    x = randn(3, 2)
    rows = [grad(lambda x, i=i: f_matrix(x)[i])(x) for i in range(3)]
    assert close(jacobian(f_matrix)(x), facula.stack(rows))
    tree = jacobian(lambda x, y: {"a": x * y, "b": (y.sum(),)}, argnums=(0, 1))(x, x)
    assert tree["a"][0].shape == (3, 2, 3, 2) and tree["b"][0][1].shape == (3, 2)
    assert close(tree["b"][0][1], facula.ones_like(x))
    value, aux = jacobian(lambda x: (x * 2, x), has_aux=True)(x)
    assert close(aux, x) and value.shape == (3, 2, 3, 2)


def test_second_derivatives_agree_however_they_are_taken():
    x = randn(3, 2)

    def f(x):
        return f_matrix(x).exp().sum()

    truth = hessian(f)(x)
    for outer in (jacrev, jacfwd):
        for inner in (jacrev, jacfwd):
            assert close(outer(inner(f))(x), truth)
    v = randn(3, 2)
    product = (truth * v).sum((2, 3))
    assert close(jvp(grad(f), (x,), (v,))[1], product)
    assert close(grad(lambda x: (grad(f)(x) * v).sum())(x), product)
    assert close(grad(lambda x: jvp(f, (x,), (v,))[1])(x), product)


def test_linearize():
    x, v = randn(3, 2), randn(3, 2)
    calls = []

    def f(x):
        calls.append(1)
        return f_matrix(x)

    value, push = linearize(f, x)
    assert close(push(v), jvp(f_matrix, (x,), (v,))[1]) and close(push(2 * v), 2 * push(v))
    assert close(value, f_matrix(x)) and len(calls) == 1


def test_what_has_no_derivative():
    numbers = facula.tensor([1, 2])
    for transform in (grad, jacrev, lambda f: lambda x: vjp(f, x)):
        with pytest.raises(RuntimeError, match="only Tensors of floating point"):
            transform(lambda x: x.sum())(numbers)
        with pytest.raises(ValueError, match="must be tensors"):
            transform(lambda x: x)(3)


# --- forward mode


def test_dual_numbers():
    x, v = randn(3), randn(3)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, v)
        assert forward_ad.unpack_dual(dual).tangent is v
        primal, tangent = forward_ad.unpack_dual(dual.sin() + 1)
        assert close(primal, x.sin() + 1) and close(tangent, x.cos() * v)
        assert forward_ad.unpack_dual(dual.detach()).tangent is None
        assert forward_ad.unpack_dual(dual > 0).tangent is None
    assert forward_ad.unpack_dual(dual).tangent is None
    with pytest.raises(RuntimeError, match="enter_dual_level"):
        forward_ad.make_dual(x, v)


def test_tangents_have_history():
    x, v = randn(3).requires_grad_(), randn(3).requires_grad_()
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(forward_ad.make_dual(x, v) ** 3).tangent
    dx, dv = facula.autograd.grad(tangent.sum(), (x, v))
    assert close(dx, 6 * x * v) and close(dv, 3 * x**2)


def test_gradients_have_tangents():
    x, v = randn(3).requires_grad_(), randn(3)
    with forward_ad.dual_level():
        y = forward_ad.make_dual(x, v).pow(3).sum()
        (gradient,) = facula.autograd.grad(y, x)
        primal, tangent = forward_ad.unpack_dual(gradient)
    assert close(primal, 3 * x**2) and close(tangent, 6 * x * v)


def test_gradients_of_saved_results_have_tangents():
    x, v = randn(3).requires_grad_(), randn(3)
    with forward_ad.dual_level():
        y = forward_ad.make_dual(x, v).exp().sum()
        (gradient,) = facula.autograd.grad(y, x)
        assert close(forward_ad.unpack_dual(gradient).tangent, x.exp() * v)


def test_attention_in_forward_mode_sees_its_mask():
    q, mask, v = randn(2, 3, 4), randn(3, 3), randn(3, 3)

    def f(mask):
        return facula.nn.functional.scaled_dot_product_attention(q, q, q, mask)

    truth = facula.softmax(q @ q.mT / 2 + mask, -1)
    moved = truth * (v - (truth * v).sum(-1, keepdim=True))
    assert close(jvp(f, (mask,), (v,))[1], moved @ q)


def test_writing_in_forward_mode():
    x, v = randn(4), randn(4)
    with forward_ad.dual_level():
        target = facula.zeros(2, 4, dtype=facula.float64)
        target[1] = forward_ad.make_dual(x, v)
        assert close(forward_ad.unpack_dual(target).tangent[1], v)
        view = target[1]
        view.mul_(2)
        assert close(forward_ad.unpack_dual(target).tangent[1], 2 * v)
        target.zero_()
        assert not forward_ad.unpack_dual(target).tangent.any()
        with pytest.raises(RuntimeError, match="out="):
            facula.sin(forward_ad.make_dual(x, v), out=facula.empty_like(x))


def test_views_from_before_a_write_see_its_tangent():
    values, v = randn(2, 3), randn(2, 3)
    with forward_ad.dual_level():
        target = facula.zeros(2, 3, dtype=facula.float64)
        row, turned, rows, detached = target[0], target.t(), target.unbind(), target.detach()
        target.copy_(forward_ad.make_dual(values, v))

        def tangent(t):
            return forward_ad.unpack_dual(t).tangent

        assert close(tangent(row), v[0]) and close(tangent(turned), v.t())
        assert close(tangent(rows[1]), v[1]) and close(tangent(row * 2), 2 * v[0])
        assert tangent(detached) is None and tangent(detached[0]) is None
        row.mul_(3)
        assert close(tangent(target)[0], 3 * v[0]) and close(tangent(turned[:, 0]), 3 * v[0])
        primal = forward_ad.unpack_dual(target).primal
        assert tangent(primal) is None and tangent(primal[0]) is None


def test_siblings_of_a_written_view_see_its_tangent():
    v = randn(3)
    with forward_ad.dual_level():
        target = facula.zeros(2, 3, dtype=facula.float64)
        row, column = target[0], target[:, 0]
        row.copy_(forward_ad.make_dual(randn(3), v))
        assert close(forward_ad.unpack_dual(column).tangent, facula.stack([v[0], v[0] * 0]))


def test_complex_views_see_the_tangent_of_their_base():
    v = facula.complex(randn(2), randn(2))
    with forward_ad.dual_level():
        target = facula.zeros(2, dtype=facula.complex128)
        parts, turned = facula.view_as_real(target), target.conj()
        target.add_(forward_ad.make_dual(v, v))
        assert close(forward_ad.unpack_dual(parts).tangent, facula.view_as_real(v))
        assert close(forward_ad.unpack_dual(turned).tangent.resolve_conj(), v.conj().resolve_conj())
        parts = facula.view_as_real(facula.zeros(2, dtype=facula.complex128))
        parts.copy_(forward_ad.make_dual(randn(2, 2), facula.view_as_real(v)))
        assert close(forward_ad.unpack_dual(parts._base).tangent, v)


def test_tangents_lie_as_their_tensors():
    v = randn(3, 2)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(randn(2, 3), v.t())
        assert close(forward_ad.unpack_dual(dual.view(6)).tangent, v.t().reshape(6))
        ones = facula.ones(1, 1, dtype=facula.float64).expand(2, 3)
        dual = forward_ad.make_dual(randn(2, 3), ones)
        dual.view(6).mul_(2)
        assert forward_ad.unpack_dual(dual).tangent.eq(2).all()


def written_after_views(x):
    made = facula.zeros_like(x)
    tail, column = made[1:], made.view(-1, 1)
    made.copy_(x * x)
    tail.mul_(x[1:])
    return (column * x[:, None]).sum() + tail.sum()


def written_apart(x):
    tail = x[1:] ** 3
    return (facula.cat([x[:1] ** 2, tail]) * x).sum() + tail.sum()


@pytest.mark.parametrize("outer", [facula.func.jacfwd, facula.func.jacrev])
@pytest.mark.parametrize("inner", [facula.func.jacfwd, facula.func.jacrev])
def test_writing_under_two_transforms(outer, inner):
    x = randn(3)
    assert close(inner(written_after_views)(x), inner(written_apart)(x))
    assert close(outer(inner(written_after_views))(x), outer(inner(written_apart))(x))


def test_an_outer_level_keeps_the_tangents_of_an_inner_one():
    def f(x):
        made = facula.zeros(3, dtype=facula.float64)
        tail = made[1:]

        def g(y):
            made.copy_(x * y)
            return tail * y

        return jvp(g, (x * 2,), (facula.ones_like(x),))[1]

    x = facula.tensor(3.0, dtype=facula.float64)
    value, slope = jvp(f, (x,), (facula.ones_like(x),))
    assert value.tolist() == [36, 36] and slope.tolist() == [24, 24]


def test_results_that_carry_no_tangent():
    with forward_ad.dual_level():
        value = forward_ad.make_dual(facula.tensor(1.5), facula.tensor(1.0))
        filled = facula.zeros(3, dtype=facula.int64).masked_fill_(facula.tensor(True), value)
        assert filled.tolist() == [1, 1, 1] and forward_ad.unpack_dual(filled).tangent is None


def test_tangents_must_fit():
    with forward_ad.dual_level():
        with pytest.raises(RuntimeError, match="size"):
            forward_ad.make_dual(randn(3), randn(4))
        with pytest.raises(ValueError, match="dtype"):
            forward_ad.make_dual(randn(3), facula.randn(3))
        with pytest.raises(ValueError, match="floating point"):
            forward_ad.make_dual(facula.arange(3), facula.arange(3))


def through_a_slice(x):
    made = facula.zeros(4, dtype=x.dtype)
    made[1:3] = x
    return made * made


def step_by_step(x):
    made = facula.empty_like(x.detach())
    for i in range(2):
        made[i] = x[i] ** 2
    return made


def added(x):
    made = facula.ones(2, dtype=facula.float64)
    made.view(1, 2).add_(x)
    return made.mul_(x)


def to_numbers(x):
    made = [
        facula.tensor([1.0, 2.0], dtype=facula.float64).add_(x).mul_(x),
        facula.as_tensor([1.0, 2.0], dtype=facula.float64).add_(x).mul_(x),
        facula.asarray([1.0, 2.0], dtype=facula.float64).add_(x).mul_(x),
    ]
    return sum(made)


CAPTURED = facula.ones(2, dtype=facula.float64)


def to_a_copy(x):
    return CAPTURED.clone().add_(x).mul_(x)


@pytest.mark.parametrize("function", [through_a_slice, step_by_step, added, to_numbers, to_a_copy])
def test_what_is_made_inside_may_be_changed(function):
    x = randn(2)
    leaf = x.clone().requires_grad_()
    rows = [facula.autograd.grad(y, leaf, retain_graph=True)[0] for y in function(leaf)]
    for jacobian in (jacrev, jacfwd):
        assert close(jacobian(function)(x), facula.stack(rows))
    of_sum = lambda x: function(x).sum()  # noqa: E731
    assert close(grad(of_sum)(x), facula.stack(rows).sum(0))
    nested = [transform(grad(of_sum))(x) for transform in (jacrev, jacfwd)]
    assert close(nested[0], nested[1]) and close(nested[0], hessian(of_sum)(x))


def test_what_is_made_outside_may_not_be_changed():
    outside = facula.zeros(2, dtype=facula.float64)
    with pytest.raises(RuntimeError, match="from outside of it in place"):
        grad(lambda x: outside.add_(x).sum())(randn(2))
    # nor by a level that lies further in than the one where it was made

    def outer(x):
        made = facula.zeros(2, dtype=facula.float64)
        return grad(lambda y: made.add_(y).sum())(x).sum()

    with pytest.raises(RuntimeError, match="from outside of it in place"):
        grad(outer)(randn(2))


def test_constants_of_a_level_are_numbers_too():
    def function(x):
        places = facula.arange(3)
        assert places.tolist() == [0, 1, 2] and int(places[2]) == 2 and bool(places.any())
        assert places.numpy().sum() == 3
        return x[places].sum() * facula.full((), 2.0)

    assert grad(function)(randn(4)).tolist() == [2, 2, 2, 0]


# --- batches


def test_vmap_is_a_loop():
    w, x = randn(4, 3), randn(5, 4)

    def f(row):
        return (row @ w).tanh().sum(), row * 2

    total, doubled = vmap(f)(x)
    assert close(total, (x @ w).tanh().sum(1)) and close(doubled, 2 * x)
    assert vmap(lambda x: x, in_dims=1, out_dims=-1)(x).shape == (5, 4)
    assert vmap(vmap(lambda a, b: a * b), in_dims=(0, None))(x, x[0]).shape == (5, 4)


def test_per_example_gradients():
    w, x, y = randn(4, 3), randn(5, 4), randn(5, 3)

    def loss(w, x, y):
        return ((x @ w - y) ** 2).sum()

    rows = facula.stack([grad(loss)(w, a, b) for a, b in zip(x, y)])
    assert close(vmap(grad(loss), in_dims=(None, 0, 0))(w, x, y), rows)


def test_vmap_of_vjp_and_vjp_of_vmap():
    x, seeds = randn(5, 4), randn(5, 4)
    inside = vmap(lambda x, seed: vjp(lambda x: x.sin(), x)[1](seed)[0])(x, seeds)
    outside = vjp(vmap(lambda x: x.sin()), x)[1](seeds)[0]
    assert close(inside, x.cos() * seeds) and close(outside, inside)
    directions = randn(3, 5, 4)
    batched = vmap(lambda v: jvp(lambda x: x.sin(), (x,), (v,))[1])(directions)
    assert close(batched, directions * x.cos())


def test_batched_gradients_of_autograd():
    x = randn(3).requires_grad_()
    y = x**2
    (rows,) = facula.autograd.grad(y, x, facula.eye(3, dtype=facula.float64), is_grads_batched=True)
    assert close(rows, facula.diag(2 * x.detach()))


def test_numbers_beside_scalars_of_the_batch():
    x, s = randn(4, 3), randn(4)
    truth = facula.where(x > 0, 2.0, s[:, None])
    assert close(vmap(lambda x, s: facula.where(x > 0, 2.0, s))(x, s), truth)
    assert close(vmap(lambda s: facula.add(1.5, s) + x[0])(s), s[:, None] + 1.5 + x[0])


def test_history_goes_through_vmap():
    x = randn(5, 3).requires_grad_()
    vmap(lambda row: row.pow(2).sum())(x).sum().backward()
    assert close(x.grad, 2 * x.detach())


def test_chunks():
    x = randn(7, 3)
    for size in (1, 2, 3, 7, 100):
        assert close(vmap(lambda row: row.exp(), chunk_size=size)(x), x.exp())


def test_what_vmap_refuses():
    x = randn(3, 2)
    with pytest.raises(ValueError, match="same size"):
        vmap(facula.add)(x, x[:2])
    with pytest.raises(ValueError, match="in_dim"):
        vmap(facula.sin, in_dims=2)(x)
    with pytest.raises(ValueError, match="None"):
        vmap(facula.sin, in_dims=None)(x)
    with pytest.raises(ValueError, match="no inputs"):
        vmap(lambda: x)()
    with pytest.raises(ValueError, match="only return Tensors"):
        vmap(lambda row: 1)(x)
    with pytest.raises(RuntimeError, match="inside of vmap"):
        vmap(lambda row: row.sum().item())(x)
    with pytest.raises(RuntimeError, match="inside of vmap"):
        vmap(lambda row: row if row.sum() > 0 else -row)(x)
    with pytest.raises(RuntimeError, match="randomness error mode"):
        vmap(lambda row: row + facula.rand(2))(x)
    with pytest.raises(RuntimeError, match="not in the batch"):
        vmap(lambda row: facula.zeros(2, dtype=row.dtype).add_(row))(x)
    kept = []
    vmap(lambda row: kept.append(row) or row)(x)
    with pytest.raises(RuntimeError, match="has ended"):
        kept[0] + 1


def test_randomness():
    x = randn(64, 2)
    same = vmap(lambda row: facula.rand(2, dtype=row.dtype) + 0 * row, randomness="same")(x)
    assert (same == same[0]).all()
    different = vmap(lambda row: facula.rand(2) + 0 * row, randomness="different")(x)
    assert len(set(different[:, 0].tolist())) == 64
    dropped = vmap(lambda row: facula.dropout(row, 0.5, True), randomness="different")(x.fill_(1))
    assert {0.0, 2.0} == set(dropped.flatten().tolist())


def test_writing_in_a_batch_writes_through():
    x = randn(3, 4)
    old = x.clone()
    vmap(lambda row: row[1:].mul_(2))(x)
    assert close(x[:, 1:], 2 * old[:, 1:]) and close(x[:, 0], old[:, 0])


def test_changing_a_captured_tensor_is_an_error():
    outer = randn(3)
    with pytest.raises(RuntimeError, match="from outside of it"):
        grad(lambda x: outer.mul_(x).sum())(randn(3))


def test_levels_end_with_errors_too():
    def fails(x):
        raise KeyError("x")

    for transform in (vmap(fails), grad(fails), lambda x: jvp(fails, (x,), (x,))):
        with pytest.raises(KeyError):
            transform(randn(3))
    assert facula._C._level_depth() == 0


def test_tensors_of_transforms_say_so():
    texts = []
    vmap(grad(lambda x: texts.append(repr(x)) or x.sum()))(randn(2, 3))
    assert texts[0].startswith("GradTrackingTensor(lvl=2, value=\n    BatchedTensor(lvl=1, bdim=0")


# --- autograd.Function


class Cube(facula.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, scale):
        return x**3 * scale

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.scale = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g * ctx.scale, None

    @staticmethod
    def jvp(ctx, t, _):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * t * ctx.scale


class CubeByHand(Cube):
    generate_vmap_rule = False

    @staticmethod
    def vmap(info, in_dims, x, scale):
        assert info.batch_size == 4 and in_dims == (0, None)
        return CubeByHand.apply(x, scale), 0


class OldCube(facula.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return 3 * ctx.saved_tensors[0] ** 2 * g

    @staticmethod
    def jvp(ctx, t):
        return 3 * ctx.saved_tensors[0] ** 2 * t


@pytest.mark.parametrize("cls", [Cube, CubeByHand])
def test_function_under_transforms(cls):
    x, v = randn(4), randn(4)

    def f(x):
        return cls.apply(x, 2.0)

    assert close(grad(lambda x: f(x).sum())(x), 6 * x**2)
    assert close(jvp(f, (x,), (v,))[1], 6 * x**2 * v)
    assert close(vmap(f)(x), 2 * x**3)
    assert close(vmap(grad(f))(x), 6 * x**2)
    assert close(vmap(grad(grad(f)))(x), 12 * x)
    assert close(vmap(lambda x, v: jvp(f, (x,), (v,))[1])(x, v), 6 * x**2 * v)
    leaf = x.clone().requires_grad_()
    vmap(f)(leaf).sum().backward()
    assert close(leaf.grad, 6 * x**2)


def test_functions_without_setup_context():
    x, v = randn(4), randn(4)
    with forward_ad.dual_level():
        dual = OldCube.apply(forward_ad.make_dual(x, v))
        assert close(forward_ad.unpack_dual(dual).tangent, 3 * x**2 * v)
    with pytest.raises(RuntimeError, match="setup_context"):
        grad(lambda x: OldCube.apply(x).sum())(x)


# --- modules


def test_functional_training_of_an_ensemble():
    from facula.func import functional_call, stack_module_state

    models = [facula.nn.Linear(3, 2) for _ in range(4)]
    params, buffers = stack_module_state(models)
    x = facula.randn(5, 3)
    out = vmap(lambda p, b: functional_call(models[0], (p, b), (x,)))(params, buffers)
    assert facula.allclose(out, facula.stack([m(x) for m in models]), atol=1e-6)


# --- convolutions and factories of a batch ------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)])
def test_convolutions(which, transposed, groups):
    """Each of input, weight and bias a batch or not, and the gradients of all."""
    call = facula.nn.functional.conv_transpose2d if transposed else facula.nn.functional.conv2d
    weight = (4, 3, 3, 2) if transposed else (6, 4 // groups, 3, 2)
    shapes = [(2, 4, 7, 6), weight, (3 * groups if transposed else 6,)]
    batch = [3 if i in which else 1 for i in range(3)]
    data = [facula.randn(n, *shape, dtype=facula.float64) for n, shape in zip(batch, shapes)]
    dims = tuple(0 if i in which else None for i in range(3))
    args = [t if i in which else t[0] for i, t in enumerate(data)]

    def loss(x, w, b):
        return call(x, w, b, stride=2, padding=1, groups=groups).sin().sum()

    run = facula.func.grad_and_value(loss, argnums=(0, 1, 2))
    grads, values = facula.vmap(run, in_dims=dims)(*args)
    for k in range(3):
        each, value = run(*(t[k if i in which else 0] for i, t in enumerate(data)))
        facula.testing.assert_close(values[k], value)
        for ours, expected in zip(grads, each):
            facula.testing.assert_close(ours[k], expected)


def test_convolutions_whose_groups_do_not_fit():
    x, w = facula.ones(1, 4, 5), facula.ones(2, 6, 2, 3)
    for groups in (4, 0, -1):
        with pytest.raises(RuntimeError, match="groups"):
            facula.vmap(lambda w, n=groups: facula.nn.functional.conv1d(x, w, groups=n))(w)


@pytest.mark.parametrize("dtype", [facula.float32, facula.float64, facula.int32, facula.complex64])
@pytest.mark.parametrize("steps", [0, 1, 2, 7])
def test_linspace_of_a_batch(dtype, steps):
    ends = facula.tensor([0.3, -2.5, 4.0])
    for call in (facula.linspace, facula.logspace):
        made = facula.vmap(lambda e, call=call: call(e, 3, steps, dtype=dtype))(ends)
        assert made.shape == (3, steps) and made.dtype == dtype
        for row, end in zip(made, ends):
            facula.testing.assert_close(row, call(end, 3, steps, dtype=dtype))
    with pytest.raises(RuntimeError, match="non-negative"):
        facula.vmap(lambda e: facula.linspace(e, 3, -1))(ends)


def test_embedding_renorm_of_a_batch():
    table = facula.randn(3, 4, 2) * 3
    rows = facula.tensor([[0, 1, 1], [2, 2, 3], [0, 0, 0]])

    def renorm(t, r):
        return facula.embedding_renorm_(t, r, 1.0, 2.0)

    expected = facula.stack([renorm(t.clone(), r) for t, r in zip(table, rows)])
    facula.testing.assert_close(facula.vmap(renorm)(table.clone(), rows), expected)
    with pytest.raises(RuntimeError, match="not in the batch"):
        facula.vmap(renorm, in_dims=(None, 0))(table[0], rows)


# --- corners ------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["float16", "float32", "int64", "uint8", "complex64"])
@pytest.mark.parametrize("outside", ["float16", "float64", "int64", "complex64"])
def test_scalars_promote_as_scalars(inside, outside):
    """A 0-d tensor of the batch beside one that is not: their dtypes count alike."""
    batch = facula.ones(3, dtype=getattr(facula, inside))
    other = facula.tensor(2, dtype=getattr(facula, outside))
    for call in (lambda a: a + other, lambda a: facula.where(a != 0, other, a)):
        assert facula.vmap(call)(batch).dtype == call(batch[0]).dtype


def test_dimensions_that_scalars_do_not_have():
    x = facula.ones(3)
    for error, call in (
        (IndexError, lambda a: a.select(0, 0)),
        (IndexError, lambda a: a.unbind()),
        (RuntimeError, lambda a: a.split(1)),
        (RuntimeError, lambda a: facula.cat([a, a])),
        (RuntimeError, lambda a: facula.ones(2).masked_fill(facula.ones(2) > 0, a[None])),
    ):
        with pytest.raises(error):
            call(x[0])
        with pytest.raises(error):
            facula.vmap(call)(x)
    with pytest.raises(RuntimeError, match="0-d"):
        facula.vmap(lambda a: a.fill_(a))(facula.ones(3, 2))


def test_limits_that_are_tensors():
    low = facula.tensor([0.5, 2.0], requires_grad=True)
    made = facula.vmap(lambda a: facula.clamp(facula.arange(3.0), min=a))(low)
    assert made.tolist() == [[0.5, 1.0, 2.0], [2.0, 2.0, 2.0]]
    made.sum().backward()
    assert low.grad.tolist() == [1.0, 2.0]
    # a 0-d tensor counts as a tensor where a row takes one, and as its number elsewhere
    assert facula.clamp(facula.ones(1, dtype=facula.int64), min=low[0].half()).dtype == facula.half
    assert facula.arange(facula.tensor(2)).tolist() == [0, 1]


def joining(x):
    """Operators whose rule lets the batch join another dimension."""
    functional = facula.nn.functional
    w = facula.ones(2, 2, 2, 2)
    yield functional.conv2d(x, w)
    yield functional.conv_transpose2d(x, w)
    yield functional.conv2d(facula.ones(1, 2, 5, 5), x[:, :, :2, :2].expand(2, 2, 2, 2))
    yield functional.max_pool2d(x, 2)
    yield functional.adaptive_avg_pool2d(x, 2)
    yield functional.interpolate(x, scale_factor=2)
    yield functional.batch_norm(x, None, None, training=True)
    yield x.expand(3, -1, -1, -1)
    yield facula.nn.functional.one_hot(x.long(), 2).float()


def test_empty_batches():
    x = facula.ones(1, 1, 2, 4, 4)
    full = facula.vmap(lambda x: tuple(joining(x)))(x)
    empty = facula.vmap(lambda x: tuple(joining(x)))(x[:0])
    assert [t.shape[1:] for t in empty] == [t.shape[1:] for t in full]
    assert all(t.shape[0] == 0 for t in empty)

    def loss(x):
        return sum(t.sum() for t in facula.vmap(lambda x: tuple(joining(x)))(x))

    assert facula.func.grad(loss)(x[:0]).shape == x[:0].shape
    each = facula.vmap(facula.func.grad(lambda x: sum(t.sum() for t in joining(x))))
    assert each(x[:0]).shape == x[:0].shape


def test_gradients_that_meet_from_different_levels():
    """One of them is a constant of the level, the other is not."""
    x = facula.tensor([[1.0, 2.0, 4.0], [0.0, 3.0, 1.0]])

    def loss(a):
        return a.mean() + (a * a).mean()

    expected = (1 + 2 * x) / 3
    facula.testing.assert_close(facula.vmap(facula.func.grad(loss))(x), expected)
    facula.testing.assert_close(facula.func.grad(loss)(x[0]), expected[0])
    spread = facula.func.grad(lambda a: a.var() + a.mean())(x[0])
    facula.testing.assert_close(spread, x[0] - x[0].mean() + 1 / 3)


def test_layouts_that_make_no_sense():
    x = facula.ones(2, 3)
    for sizes, strides in (([4, 2**62], [1, 4]), ([4, -(2**63)], [1, 4]), ([2, 2], [2**62, 8])):
        with pytest.raises(RuntimeError):
            facula.vmap(lambda a, s=sizes, t=strides: a.new_empty_strided(s, t))(x)
    with pytest.raises(ValueError, match="triples"):
        facula.vmap(lambda a: facula._C._functions["_index_view_scatter"](a, a, [1, 1]))(x)
