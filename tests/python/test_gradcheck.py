"""facula.autograd.gradcheck and gradgradcheck."""

import facula
import pytest
from facula.autograd import Function, gradcheck, gradgradcheck
from facula.autograd.gradcheck import (
    GradcheckError,
    get_analytical_jacobian,
    get_numerical_jacobian,
    get_numerical_jacobian_wrt_specific_input,
)

F64, C128 = facula.float64, facula.complex128
both_modes = pytest.mark.parametrize("fast_mode", [False, True])


def numbers(*shape, dtype=F64, seed=1):
    generator = facula.Generator().manual_seed(seed)
    drawn = facula.randn(shape, dtype=dtype, generator=generator)
    return (drawn + drawn.sign() * 0.5 if dtype is F64 else drawn).requires_grad_()


RIGHT = {
    "one": (lambda x: x.sin(), (numbers(3, 2),)),
    "several": (lambda x, y: (x * y, x.sum(), 3), (numbers(3, 2), numbers(2, seed=2))),
    "list": (lambda x: [x.exp(), x[0]], (numbers(2),)),
    "itself": (lambda x: x, (numbers(2),)),
    "constant": (lambda x: (x * x, facula.ones(2)), (numbers(2),)),
    "integers too": (lambda x: x.max(0), (numbers(3, 2),)),
    "not all": (lambda x, n, y: x[n] * y, (numbers(3), 1, numbers(2).detach())),
    "strided": (lambda x: x * x, (numbers(3, 2).detach().T.requires_grad_(),)),
    "scalar": (lambda x: x * x, (numbers(),)),
    "empty": (lambda x: x * x, (numbers(0),)),
    "complex": (lambda c: c * c.conj() * c, (numbers(3, dtype=C128),)),
    "complex to real": (lambda c: c.abs(), (numbers(3, dtype=C128),)),
    "real to complex": (lambda x: facula.complex(x, x * x), (numbers(3),)),
    "mixed": (lambda c, x: (c.sum() * x).exp(), (numbers(3, dtype=C128), numbers(2))),
}


@both_modes
@pytest.mark.parametrize("name", RIGHT)
def test_right(name, fast_mode):
    func, inputs = RIGHT[name]
    before = [x.tolist() for x in inputs if isinstance(x, facula.Tensor)]
    forward = {"check_forward_ad": True, "check_backward_ad": False}
    assert gradcheck(func, inputs, fast_mode=fast_mode, check_grad_dtypes=True)
    assert gradcheck(func, inputs, fast_mode=fast_mode, **forward)
    assert gradgradcheck(func, inputs, fast_mode=fast_mode, gen_non_contig_grad_outputs=True)
    assert gradgradcheck(func, inputs, fast_mode=fast_mode, check_fwd_over_rev=True)
    assert before == [x.tolist() for x in inputs if isinstance(x, facula.Tensor)]


def test_one_tensor_for_a_tuple_and_given_cotangents():
    x = numbers(3)
    assert gradcheck(facula.exp, x)
    assert gradgradcheck(facula.exp, x, numbers(3, seed=5))
    with facula.no_grad():
        assert gradcheck(facula.exp, x)


def wrong(backward, forward=lambda x, y: (x * y, x + y)):
    """A function of two inputs with this backward(x, y, gradients)."""

    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return forward(x, y)

        @staticmethod
        def backward(ctx, *grads):
            return backward(*ctx.saved_tensors, *grads)

    return Wrong.apply


def failure(func, inputs, **more):
    assert gradcheck(func, inputs, raise_exception=False, **more) is False
    with pytest.raises(GradcheckError) as caught:
        gradcheck(func, inputs, **more)
    return str(caught.value)


@both_modes
def test_mismatch_says_where(fast_mode):
    inputs = numbers(2), numbers(2, seed=2)
    right = wrong(lambda x, y, g, h: (g * y + h, g * x + h))
    assert gradcheck(right, inputs, fast_mode=fast_mode)
    func = wrong(lambda x, y, g, h: (g * y + h, g * x + 3 * h))
    text = failure(func, inputs, fast_mode=fast_mode)
    assert "output 1 with respect to input 1" in text
    assert "numerical: tensor([[1.0000" in text and "analytical (backward): tensor([[3." in text
    forgotten = wrong(lambda x, y, g, h: (g * y + h, None))
    assert "output 0 with respect to input 1" in failure(forgotten, inputs, fast_mode=fast_mode)
    transposed = wrong(lambda x, y, g, h: ((g * y + h).flip(0), g * x + h))
    assert "Jacobian mismatch" in failure(transposed, inputs, fast_mode=fast_mode)


@both_modes
def test_mismatch_of_complex_outputs(fast_mode):
    inputs = numbers(2, dtype=C128), numbers(2, dtype=C128, seed=2)
    right = wrong(lambda x, y, g: (g * y.conj(), g * x.conj()), lambda x, y: x * y)
    assert gradcheck(right, inputs, fast_mode=fast_mode)
    func = wrong(lambda x, y, g: (g * y, g * x.conj()), lambda x, y: x * y)
    assert "(its real part) with respect to input 0" in failure(func, inputs, fast_mode=fast_mode)


def inside_a_level():
    return facula._C._level_depth() > 0


@both_modes
def test_mismatch_of_forward_mode(fast_mode):
    def func(x):
        return x**3 if inside_a_level() else x**2

    x = numbers(2)
    assert gradcheck(func, x, fast_mode=fast_mode)
    text = failure(func, x, fast_mode=fast_mode, check_forward_ad=True)
    assert "output 0 with respect to input 0" in text and "analytical (forward mode)" in text


def test_batched():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return 3 * g if inside_a_level() else 2 * g

    x = numbers(2)
    assert gradcheck(facula.sin, x, check_batched_grad=True)
    assert "Batched gradients of output 0" in failure(Wrong.apply, x, check_batched_grad=True)


@both_modes
def test_outputs_without_history(fast_mode):
    mode, x = {"fast_mode": fast_mode}, numbers(2)
    assert "output 0 requires no gradient" in failure(lambda x: x.detach() * 2, x, **mode)
    assert gradcheck(lambda x: facula.ones(2), x, **mode)

    def partly(x):
        return x * 2, x.detach() * 2

    assert gradcheck(partly, x, **mode)
    assert "output 1 requires no gradient" in failure(partly, x, _all_outputs=True, **mode)


def test_forgotten_second_gradients():
    func = wrong(lambda x, y, g: (g * y.detach(), g * x), lambda x, y: x * y)
    inputs = numbers(2), numbers(2, seed=2)
    assert gradcheck(func, inputs)
    for fast_mode in (False, True):
        with pytest.raises(GradcheckError):
            gradgradcheck(func, inputs, fast_mode=fast_mode)


def test_nondeterminism():
    calls = []

    def drifting(x, y, g):
        calls.append(1)
        return g * y * (1 + 1e-7 * len(calls)), g * x

    inputs = numbers(2), numbers(2, seed=2)
    func = wrong(drifting, lambda x, y: x * y)
    assert "reentrant" in failure(func, inputs)
    assert gradcheck(func, inputs, nondet_tol=1e-3)


def test_zero_cotangents():
    text = failure(
        wrong(lambda x, y, g: (g * y + 1e-6, g * x), lambda x, y: x * y), (numbers(2), numbers(2))
    )
    assert "not multiplied" in text


def test_undefined_cotangents():
    class Picky(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return 2 * grad

    text = failure(Picky.apply, (numbers(2),))
    assert "outputs [0] are undefined" in text
    assert gradcheck(Picky.apply, numbers(2), check_undefined_grad=False)


def test_wrong_double_backward():
    class Half(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            return 3 * g * ctx.saved_tensors[0].detach() ** 2

    x = numbers(2)
    assert gradcheck(Half.apply, x)
    with pytest.raises(GradcheckError):
        gradgradcheck(Half.apply, x)
    assert gradgradcheck(Half.apply, x, raise_exception=False) is False


def test_arguments():
    x = numbers(2)
    with pytest.raises(ValueError, match="requires_grad"):
        gradcheck(facula.exp, x.detach())
    with pytest.raises(RuntimeError, match="stride"):
        gradcheck(facula.exp, x.detach().expand(3, 2).requires_grad_())
    with pytest.raises(AssertionError):
        gradcheck(facula.exp, x, check_backward_ad=False)
    with pytest.raises(AssertionError):
        gradcheck(facula.exp, x, check_batched_forward_grad=True)
    with pytest.warns(UserWarning, match="double precision"):
        gradcheck(lambda x: x * 2, x.detach().float().requires_grad_(), eps=1e-2, atol=1e-2)
    with pytest.raises(ZeroDivisionError):  # an error of the function's own goes through
        gradcheck(lambda x: 1 // 0, x, raise_exception=False)


def test_tolerance():
    func = wrong(lambda x, y, g: (g * y * 1.01, g * x), lambda x, y: x * y)
    inputs = numbers(2), numbers(2, seed=2)
    assert not gradcheck(func, inputs, raise_exception=False)
    assert gradcheck(func, inputs, rtol=0.1)


def test_single_jacobians():
    x, y = numbers(2), numbers(2, seed=2)
    expected = facula.diag(2 * x.detach())
    (mine,) = get_numerical_jacobian(lambda inputs: inputs[0] ** 2, (x,), eps=1e-6)
    facula.testing.assert_close(mine, expected)
    mine = get_numerical_jacobian_wrt_specific_input(
        lambda inputs: (inputs[1] ** 2, inputs[0]), 0, (x, y), (y, x), 1e-6
    )
    facula.testing.assert_close(mine, (facula.zeros(2, 2, dtype=F64), facula.eye(2, dtype=F64)))
    (mine,), *agree = get_analytical_jacobian((x,), x**2)
    facula.testing.assert_close(mine, expected)
    assert agree == [True, True, True]
    for function in (get_numerical_jacobian, get_analytical_jacobian):
        with pytest.raises(ValueError):
            function((x,), x**2, grad_out=2.0)


def test_name_is_function_and_module():
    assert facula.autograd.gradcheck is gradcheck
    assert facula.autograd.gradcheck.gradcheck(facula.exp, numbers(2))
    assert facula.autograd.gradcheck.GradcheckError is GradcheckError
