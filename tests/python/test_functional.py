"""facula.autograd.functional: Jacobians, Hessians, and products with them."""

import facula
import pytest
from facula.autograd import functional

X = facula.tensor([1.0, 2.0, 3.0], dtype=facula.float64)
Y = facula.tensor(2.0, dtype=facula.float64)
PRODUCTS = [functional.vjp, functional.jvp, functional.vhp, functional.hvp]


def square(x):
    return x**2


def pair(x, y):
    return x * y, x.sum() + y


def cubes(x, y):
    return (x**3 * y).sum() + y**2


def same(mine, expected):
    if isinstance(expected, tuple):
        assert isinstance(mine, tuple) and len(mine) == len(expected)
        for one, other in zip(mine, expected):
            same(one, other)
    else:
        expected = facula.as_tensor(expected, dtype=mine.dtype)
        facula.testing.assert_close(mine, expected)


def test_jacobian():
    same(functional.jacobian(square, X), facula.diag(2 * X))
    expected = ((2 * facula.eye(3), X), (facula.ones(3), 1.0))
    same(functional.jacobian(pair, (X, Y)), expected)
    # Tuples come where tuples went.
    same(functional.jacobian(lambda x: (x * 2,), X), (2 * facula.eye(3),))
    same(functional.jacobian(lambda x: x.sum(), (X,)), (facula.ones(3),))


def test_jacobian_of_what_is_not_connected():
    same(functional.jacobian(lambda x, y: x, (X, Y)), (facula.eye(3), facula.zeros(3)))
    same(functional.jacobian(lambda x: x.detach(), X), facula.zeros(3, 3))
    empty = functional.jacobian(lambda x: x[:0], X)
    assert empty.shape == (0, 3)
    matrix = functional.jacobian(lambda x: x.reshape(1, 3) * Y, X)
    assert matrix.shape == (1, 3, 3)


def test_jacobian_of_complex_inputs():
    c = facula.tensor([3 + 4j, 2.0], dtype=facula.complex128)
    same(functional.jacobian(lambda c: c.abs(), c), facula.diag(c / c.abs()))
    with pytest.raises(RuntimeError, match="complex"):
        functional.jacobian(square, c)


def test_hessian():
    same(functional.hessian(lambda x: (x**3).sum(), X), facula.diag(6 * X))
    expected = ((facula.diag(6 * X * Y), 3 * X**2), (3 * X**2, 2.0))
    same(functional.hessian(cubes, (X, Y)), expected)
    same(functional.hessian(lambda x: x.sum(), X), facula.zeros(3, 3))
    with pytest.raises(RuntimeError, match="one element"):
        functional.hessian(square, X)
    with pytest.raises(RuntimeError, match="single Tensor"):
        functional.hessian(pair, (X, Y))


def test_vjp_and_jvp():
    same(functional.vjp(square, X, X), (X**2, 2 * X**2))
    same(functional.jvp(square, X, X), (X**2, 2 * X**2))
    same(functional.vjp(pair, (X, Y), (X, Y)), ((2 * X, 8.0), (2 * X + 2, 16.0)))
    same(functional.jvp(pair, (X, Y), (X, Y)), ((2 * X, 8.0), (4 * X, 8.0)))
    matrix = facula.arange(6.0, dtype=facula.float64).reshape(2, 3)
    same(functional.jvp(lambda x: matrix @ x, X, X)[1], matrix @ X)
    same(functional.vjp(lambda x: matrix @ x, X, X[:2])[1], X[:2] @ matrix)
    same(functional.vjp(lambda x: x.sum(), X), (6.0, facula.ones(3)))
    same(functional.jvp(square, Y), (4.0, 4.0))


def test_products_with_a_hessian():
    v = X.flip(0), Y + 1
    (xx, xy), (yx, yy) = functional.hessian(cubes, (X, Y))
    expected = (cubes(X, Y), (xx @ v[0] + xy * v[1], yx @ v[0] + yy * v[1]))
    same(functional.hvp(cubes, (X, Y), v), expected)
    same(functional.vhp(cubes, (X, Y), v), expected)


def test_products_of_complex_inputs():
    c = facula.tensor([1 + 1j, 2.0], dtype=facula.complex128)
    same(functional.vjp(square, c, c)[1], 2 * c.conj() * c)
    same(functional.jvp(square, c, c)[1], 2 * c * c)


@pytest.mark.parametrize("product", PRODUCTS)
def test_vector(product):
    scalar = product in (functional.vhp, functional.hvp)
    func = (lambda x: (x**2).sum()) if scalar else square
    with pytest.raises(RuntimeError, match="left out"):
        product(func, X)
    for wrong in (Y, facula.ones(2, 3), (X, X)):
        with pytest.raises(RuntimeError, match="v"):
            product(func, X, wrong)
    with pytest.raises(TypeError, match="Tensor"):
        product(func, X, [X])


@pytest.mark.parametrize("function", [*PRODUCTS, functional.jacobian, functional.hessian])
def test_wrong_types(function):
    for inputs in (3, [X], (X, 3)):
        with pytest.raises(TypeError, match="inputs"):
            function(square, inputs)
    v = (Y,) if function in PRODUCTS else ()
    with pytest.raises(TypeError, match="result"):
        function(lambda x: 3, Y, *v)


def test_strict():
    with pytest.raises(RuntimeError, match="depend on input 1"):
        functional.jacobian(lambda x, y: x, (X, Y), strict=True)
    for function, *v in ((functional.jacobian,), (functional.vjp, X), (functional.jvp, X)):
        with pytest.raises(RuntimeError, match="output 0"):
            function(lambda x: x.detach(), X, *v, strict=True)
        with pytest.raises(RuntimeError, match="constant"):
            function(lambda x: x * 2, X, *v, strict=True, create_graph=True)
        function(lambda x: x * 2, X, *v, strict=True)
        function(square, X, *v, strict=True, create_graph=True)
    for function, *v in ((functional.hessian,), (functional.vhp, X), (functional.hvp, X)):
        with pytest.raises(RuntimeError, match="output 0"):
            function(lambda x: x.detach().sum(), X, *v, strict=True)
        with pytest.raises(RuntimeError, match="constant|depend"):
            function(lambda x: x.sum(), X, *v, strict=True)
        function(lambda x: (x**3).sum(), X, *v, strict=True)


def test_results_have_no_history():
    x = X.clone().requires_grad_()
    assert not functional.jacobian(square, x).requires_grad
    for value in functional.vjp(square, x, X) + functional.jvp(square, x, X):
        assert not value.requires_grad
    assert x.grad is None


def test_create_graph():
    x = X.clone().requires_grad_()
    jacobian = functional.jacobian(square, x, create_graph=True)
    (again,) = facula.autograd.grad(jacobian.sum(), x)
    same(again, facula.full((3,), 2.0))
    for product in (functional.vjp, functional.jvp):
        value, derivative = product(square, x, X, create_graph=True)
        same(facula.autograd.grad(value.sum(), x, retain_graph=True)[0], 2 * X)
        same(facula.autograd.grad(derivative.sum(), x)[0], 2 * X)
    for product in (functional.vhp, functional.hvp):
        _, derivative = product(lambda x: (x**3).sum(), x, X, create_graph=True)
        same(facula.autograd.grad(derivative.sum(), x)[0], 6 * X)
    # Also where recording is switched off around it, and through the vector.
    with facula.no_grad():
        assert functional.jacobian(square, x, create_graph=True).requires_grad
        same(functional.hessian(lambda x: (x**3).sum(), X), facula.diag(6 * X))
    v = X.clone().requires_grad_()
    _, derivative = functional.jvp(square, X, v, create_graph=True)
    same(facula.autograd.grad(derivative.sum(), v)[0], 2 * X)


def test_strategy():
    with pytest.raises(AssertionError, match="strategy"):
        functional.jacobian(square, X, strategy="sideways")
    with pytest.raises(RuntimeError, match="strict"):
        functional.jacobian(square, X, strict=True, vectorize=True)
    for more in ({}, {"vectorize": True, "create_graph": True}):
        with pytest.raises(NotImplementedError):
            functional.jacobian(square, X, strategy="forward-mode", **more)


@pytest.mark.parametrize("strategy", ["reverse-mode", "forward-mode"])
def test_vectorize(strategy):
    cases = [
        (square, X),
        (pair, (X, Y)),
        (lambda x: (x * 2,), X),
        (lambda x: x.detach(), X),
        (lambda x, y: x, (X, Y)),
        (lambda x: (x.sum(), facula.outer(x, x)), X),
    ]
    for func, inputs in cases:
        truth = functional.jacobian(func, inputs)
        same(functional.jacobian(func, inputs, vectorize=True, strategy=strategy), truth)
    for func, inputs in ((lambda x: (x**3).sum(), X), (cubes, (X, Y)), (lambda x: x.sum(), X)):
        truth = functional.hessian(func, inputs)
        mine = functional.hessian(func, inputs, vectorize=True, outer_jacobian_strategy=strategy)
        same(mine, truth)
    x = X.clone().requires_grad_()
    if strategy == "reverse-mode":
        jacobian = functional.jacobian(square, x, create_graph=True, vectorize=True)
        same(facula.autograd.grad(jacobian.sum(), x)[0], facula.full((3,), 2.0))
