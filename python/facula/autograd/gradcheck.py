"""Gradients against finite differences: gradcheck and gradgradcheck.

The Jacobian of each output with respect to each input is computed twice: by central differences,
element by element of the input, and by backward, element by element of the output, or by forward
mode, element by element of the input. Of a complex
output the real and the imaginary part are compared apart; the gradient with respect to a complex
element is the derivative along the real axis plus i times that along the imaginary one. With
`fast_mode=True` both Jacobians are only multiplied with one vector on either side.

The module can be called and is then `gradcheck`: facula.autograd.gradcheck is both.
"""

import sys
import types
import warnings
from functools import cached_property
from itertools import product

import facula

from .. import _C
from .._C import Tensor
from . import forward_ad, grad
from .function import Function
from .grad_mode import enable_grad


class GradcheckError(RuntimeError):
    """Gradients that are not those of the function."""


# --- inputs and outputs


def _as_tuple(values):
    return tuple(values) if isinstance(values, (tuple, list)) else (values,)


def _is_checked(x):
    return isinstance(x, Tensor) and x.requires_grad


def _differentiable(values):
    return tuple(value for value in _as_tuple(values) if _is_checked(value))


def _is_continuous(x):
    return isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex())


def _continuous(values):
    """The outputs that could have a gradient, with a history or without."""
    return tuple(value for value in _as_tuple(values) if _is_continuous(value))


def _check_inputs(inputs):
    for i, x in enumerate(inputs):
        if not _is_checked(x):
            continue
        if x.dtype not in (facula.float64, facula.complex128):
            warnings.warn(
                f"gradcheck: input {i} is {x.dtype}; differences of numbers with less than double "
                "precision say little about gradients.",
                stacklevel=4,
            )
        if any(step == 0 and size > 1 for step, size in zip(x.stride(), x.shape)):
            raise RuntimeError(
                f"gradcheck: elements of input {i} share memory (a stride is 0), so they cannot be "
                "changed one by one: pass it .contiguous()"
            )
    if not any(map(_is_checked, inputs)):
        raise ValueError("gradcheck: at least one input must be a tensor with requires_grad=True")


# --- the two Jacobians, of shape (elements of the input, elements of the output)


def _places(shape):
    return product(*map(range, shape))


def _flat(output):
    return output.detach().clone(memory_format=facula.contiguous_format).view(-1)


def _differences(evaluate, x, eps):
    """By how much each output changes with each element of x: one matrix an axis and output.

    Returns [(unit, matrices)], the unit 1 and for complex x also 1j.
    """
    data, axes = x.data, []
    for unit in (1, 1j) if x.is_complex() else (1,):
        columns = []
        for place in _places(x.shape):
            old = data[place].item()
            try:
                data[place] = old + eps * unit
                high = [_flat(output) for output in evaluate()]
                data[place] = old - eps * unit
                low = [_flat(output) for output in evaluate()]
            finally:
                data[place] = old
            columns.append([(b - a) / (2 * eps) for a, b in zip(low, high)])
        axes.append((unit, [facula.stack(column) for column in zip(*columns)]))
    return axes


def _numerical(axes, index, part, x):
    """The Jacobian of the real (part 1) or imaginary (part 1j) part of an output."""
    total = 0
    for unit, matrices in axes:
        if not matrices:  # x has no elements
            return None
        matrix = matrices[index]
        if matrix.is_complex():
            matrix = matrix.real if part == 1 else matrix.imag
        total = total + (unit * matrix if unit != 1 else matrix)
    return total.to(x.dtype)


def _backward(output, inputs, cotangent, **more):
    return grad(output, inputs, cotangent, retain_graph=True, allow_unused=True, **more)


def _analytical(output, inputs, part):
    """The Jacobians of the real or imaginary part of an output, one an input, by backward."""
    matrices = [x.new_zeros(x.numel(), output.numel()) for x in inputs]
    for k, place in enumerate(_places(output.shape)):
        cotangent = facula.zeros_like(output, memory_format=facula.contiguous_format)
        cotangent[place] = part
        grads = _backward(output, inputs, cotangent)
        for matrix, x, gradient in zip(matrices, inputs, grads):
            if gradient is not None:
                _check_gradient(gradient, x)
                matrix[:, k] = gradient.detach().reshape(-1)
    return matrices


def _check_gradient(gradient, x):
    if gradient.shape != x.shape:
        raise GradcheckError(
            f"a gradient has shape {tuple(gradient.shape)}, and its input {tuple(x.shape)}"
        )


def _parts(output):
    return (1, 1j) if output.is_complex() else (1,)


def _part_name(output, part):
    if not output.is_complex():
        return ""
    return " (its real part)" if part == 1 else " (its imaginary part)"


# --- the checks


class _Check:
    """One call of gradcheck: the function, its inputs, what is compared with what tolerance."""

    def __init__(self, func, inputs, eps, atol, rtol, nondet_tol):
        self.func, self.inputs = func, inputs
        self.eps, self.atol, self.rtol, self.nondet_tol = eps, atol, rtol, nondet_tol
        self.places = [i for i, x in enumerate(inputs) if _is_checked(x)]
        self.checked = [inputs[i] for i in self.places]
        results = func(*inputs)
        returned = _continuous(results)
        self.names = [i for i, value in enumerate(_as_tuple(results)) if _is_continuous(value)]
        self.output_places = [k for k, output in enumerate(returned) if output.requires_grad]
        self.outputs = [returned[k] for k in self.output_places]
        self.constant_places = [k for k, output in enumerate(returned) if not output.requires_grad]

    def evaluate(self):
        return _continuous(self.func(*self.inputs))

    def near(self, a, b, scale=1.0):
        return facula.allclose(a, b, rtol=self.rtol, atol=self.atol * scale, equal_nan=True)

    def constants(self, fast_mode):
        """Outputs without a history must not change with the inputs."""
        generator = facula.Generator().manual_seed(0)
        for j, (i, x) in enumerate(zip(self.places, self.checked) if self.constant_places else ()):
            if fast_mode:
                axes = [(1, self.directional(x, _unit_vector(x, generator)))]
            else:
                axes = self.differences[j]
            for k, (_, matrices) in product(self.constant_places, axes):
                if matrices and not self.near(matrices[k], facula.zeros_like(matrices[k])):
                    raise GradcheckError(
                        f"output {self.names[k]} requires no gradient, but changes with input {i}, "
                        f"by\n{matrices[k]}"
                    )

    @cached_property
    def differences(self):
        """By how much the outputs change with each element of each input."""
        return [_differences(self.evaluate, x, self.eps) for x in self.checked]

    def slow(self):
        """All Jacobians, element by element."""
        for k, output in zip(self.output_places, self.outputs):
            for part in _parts(output):
                mine = _analytical(output, self.checked, part)
                again = _analytical(output, self.checked, part)
                for j, i in enumerate(self.places):
                    truth = _numerical(self.differences[j], k, part, self.checked[j])
                    if truth is None:
                        continue
                    if not self.near(mine[j], truth):
                        name = f"output {self.names[k]}{_part_name(output, part)}"
                        raise GradcheckError(_mismatch(name, i, truth, mine[j], "backward"))
                    self.deterministic(mine[j], again[j], i)

    def deterministic(self, first, second, i):
        if not facula.allclose(first, second, rtol=0.0, atol=self.nondet_tol, equal_nan=True):
            difference = (first - second).abs().max().item()
            raise GradcheckError(
                f"backward is not reentrant: two calls with the same gradients differ by up to "
                f"{difference:g} in the gradient of input {i} (nondet_tol is {self.nondet_tol:g})"
            )

    def fast(self):
        """The Jacobians between two vectors; where that fails, the slow check tells more."""
        generator = facula.Generator().manual_seed(0)
        us = [_unit_vector(output, generator) for output in self.outputs]
        vs = [_unit_vector(x, generator) for x in self.checked]
        for j, i in enumerate(self.places):
            x, v = self.checked[j], vs[j]
            changes = self.directional(x, v)
            for k, output, u in zip(self.output_places, self.outputs, us):
                truth = _inner(u, changes[k])
                gradients = [_backward(output, [x], u)[0] for _ in range(2)]
                if gradients[0] is None:
                    gradients = [facula.zeros_like(x)] * 2
                _check_gradient(gradients[0], x)
                mine = _inner(gradients[0].detach(), v)
                scale = (u.abs().sum() * v.abs().sum()).item()
                if not self.near(mine, truth, scale):
                    self.slow()
                    raise GradcheckError(self.fast_only(k, i, truth, mine, "backward"))
                self.deterministic(*gradients, i)

    def directional(self, x, v):
        """By how much the outputs change along v."""
        data, old = x.data, x.data.clone()
        try:
            data.copy_(old + self.eps * v)
            high = [output.detach().clone() for output in self.evaluate()]
            data.copy_(old - self.eps * v)
            low = [output.detach().clone() for output in self.evaluate()]
        finally:
            data.copy_(old)
        return [(b - a) / (2 * self.eps) for a, b in zip(low, high)]

    def push(self, i, tangent):
        """The tangents of the outputs that require gradients, for a tangent of input i."""
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(self.inputs[i], tangent)
            outputs = _continuous(self.func(*self.inputs[:i], dual, *self.inputs[i + 1 :]))
            pairs = [forward_ad.unpack_dual(outputs[k]) for k in self.output_places]
            return tuple(
                facula.zeros_like(primal) if tangent is None else tangent
                for primal, tangent in pairs
            )

    def slow_forward(self):
        """All Jacobians by forward mode, column by column."""
        for j, (i, x) in enumerate(zip(self.places, self.checked)):
            for unit, matrices in self.differences[j]:
                rows = []
                for place in _places(x.shape):
                    tangent = facula.zeros_like(x, memory_format=facula.contiguous_format)
                    tangent[place] = unit
                    rows.append([_flat(output) for output in self.push(i, tangent)])
                for k, *row in zip(self.output_places if rows else (), *rows):
                    mine, truth = facula.stack(row), matrices[k]
                    if not self.near(mine, truth):
                        name = f"output {self.names[k]}"
                        raise GradcheckError(_mismatch(name, i, truth, mine, "forward mode"))

    def fast_forward(self):
        """The Jacobians between two vectors, by forward mode."""
        generator = facula.Generator().manual_seed(0)
        for i, x in zip(self.places, self.checked):
            v = _unit_vector(x, generator)
            changes, tangents = self.directional(x, v), self.push(i, v)
            for k, tangent in zip(self.output_places, tangents):
                u = _unit_vector(changes[k], generator)
                mine, truth = _inner(u, tangent.detach()), _inner(u, changes[k])
                if not self.near(mine, truth, (u.abs().sum() * v.abs().sum()).item()):
                    self.slow_forward()
                    raise GradcheckError(self.fast_only(k, i, truth, mine, "forward mode"))

    def fast_only(self, k, i, truth, mine, mode):
        return (
            f"Jacobian mismatch for output {self.names[k]} with respect to input {i} in fast mode: "
            f"u @ J @ v is {truth.item():g} by differences, {mine.item():g} by {mode}. Element by "
            "element they agree: the tolerance is at its limit."
        )

    def batched_forward(self):
        """Forward mode under vmap gives what it gives one after the other."""
        from ..func import vmap

        generator = facula.Generator().manual_seed(0)
        for i, x in zip(self.places, self.checked):
            tangents = facula.stack([_unit_vector(x, generator) for _ in range(2)])
            together = vmap(lambda tangent, i=i: self.push(i, tangent))(tangents)
            single = [self.push(i, tangent) for tangent in tangents]
            for k, mine, *rows in zip(self.output_places, together, *single):
                self.same_batch(k, i, mine, facula.stack(rows), "forward gradients")

    def same_batch(self, k, i, mine, truth, what):
        if not self.near(mine.detach(), truth.detach()):
            raise GradcheckError(
                f"Batched {what} of output {self.names[k]} with respect to input {i} are not those "
                f"of a loop:\n{mine}\nand by a loop\n{truth}"
            )

    def scaled_by_cotangent(self, check_dtypes):
        """Gradients of zero are zero, and like their inputs."""
        for k, output in zip(self.output_places, self.outputs):
            grads = _backward(output, self.checked, facula.zeros_like(output))
            for i, x, gradient in zip(self.places, self.checked, grads):
                if gradient is None:
                    continue
                if not bool((gradient == 0).all()):
                    raise GradcheckError(
                        f"backward of output {self.names[k]} is not multiplied by its gradient: "
                        f"with zeros there, the gradient of input {i} is not zero"
                    )
                if gradient.layout != x.layout or gradient.device != x.device:
                    raise GradcheckError(
                        f"the gradient of input {i} is {gradient.layout} on {gradient.device}, the "
                        f"input {x.layout} on {x.device}"
                    )
                if check_dtypes and gradient.dtype != x.dtype:
                    raise GradcheckError(
                        f"the gradient of input {i} is {gradient.dtype}, the input {x.dtype}"
                    )

    def undefined(self):
        """Backward must take absent gradients for zeros."""
        count = len(self.outputs)
        subsets = [range(count)] + ([[k] for k in range(count)] if count > 1 else [])
        for absent in subsets:
            outputs = list(_differentiable(self.func(*self.inputs)))
            for k in absent:
                outputs[k] = _Undefined.apply(outputs[k])
            cotangents = [facula.zeros_like(output) for output in outputs]
            try:
                grads = grad(outputs, self.checked, cotangents, allow_unused=True)
            except Exception as error:
                names = [self.names[self.output_places[k]] for k in absent]
                raise GradcheckError(
                    f"backward fails where the gradients of outputs {names} are undefined, instead "
                    f"of taking them for zeros: {error}"
                ) from error
            for i, gradient in zip(self.places, grads):
                if gradient is not None and not bool((gradient == 0).all()):
                    raise GradcheckError(
                        f"with undefined gradients of the outputs, that of input {i} is not zero"
                    )

    def batched(self):
        """Backward under vmap gives what it gives one after the other."""
        generator = facula.Generator().manual_seed(0)
        for k, output in zip(self.output_places, self.outputs):
            cotangents = facula.stack([_unit_vector(output, generator) for _ in range(2)])
            single = [_backward(output, self.checked, one) for one in cotangents]
            together = _backward(output, self.checked, cotangents, is_grads_batched=True)
            for i, x, mine, *rows in zip(self.places, self.checked, together, *single):
                rows = [facula.zeros_like(x) if row is None else row for row in rows]
                truth = facula.stack(rows)
                mine = facula.zeros_like(truth) if mine is None else mine
                self.same_batch(k, i, mine, truth, "gradients")


def _mismatch(name, i, truth, mine, mode):
    difference = (truth - mine).abs()
    worst = difference.argmax().item()
    row, column = divmod(worst, truth.shape[1])
    return (
        f"Jacobian mismatch for {name} with respect to input {i},\n"
        f"numerical: {truth}\nanalytical ({mode}): {mine}\n"
        f"The largest difference, {difference.max().item():g}, is at element {row} of the input "
        f"and element {column} of the output."
    )


def _unit_vector(like, generator):
    """Positive random numbers in the shape of a tensor, of length 1."""

    def draw():
        return facula.rand(like.shape, generator=generator, dtype=facula.float64)

    v = facula.complex(draw(), draw()) if like.is_complex() else draw()
    length = v.abs().square().sum().sqrt() if v.numel() else 1.0
    return (v / length).to(dtype=like.dtype, device=like.device)


def _inner(a, b):
    """The real inner product of two tensors of one shape."""
    if a.is_complex() and b.is_complex():
        return (a.real * b.real).sum() + (a.imag * b.imag).sum()
    a, b = (x.real if x.is_complex() else x for x in (a, b))
    return (a * b).sum()


class _Undefined(Function):
    """The identity; its gradient is undefined."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return None


# --- the interface


@enable_grad()
def gradcheck(
    func,
    inputs,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_batched_forward_grad=False,
    check_forward_ad=False,
    check_backward_ad=True,
    fast_mode=False,
    masked=None,
    _all_outputs=False,
):
    """Whether the gradients of func(*inputs) are those of its values; raises GradcheckError if not.

    Checked are the inputs that require gradients, which should be float64 or complex128. `eps` is
    the step of the differences, `nondet_tol` how much two backwards may differ. `masked` concerns
    sparse tensors alone. Outputs without a history are checked to be constant where no output has
    one (`_all_outputs`: in any case).
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError(
            "gradcheck: one of check_forward_ad and check_backward_ad must be True"
        )
    if check_batched_grad and not check_backward_ad:
        raise AssertionError("gradcheck: check_batched_grad=True needs check_backward_ad=True")
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError(
            "gradcheck: check_batched_forward_grad=True needs check_forward_ad=True"
        )
    inputs = _as_tuple(inputs)
    _check_inputs(inputs)
    try:
        check = _Check(func, inputs, eps, atol, rtol, nondet_tol)
        if not check.outputs or _all_outputs:
            check.constants(fast_mode)
        if check_forward_ad:
            check.fast_forward() if fast_mode else check.slow_forward()
            if check_batched_forward_grad:
                check.batched_forward()
        if check_backward_ad:
            check.fast() if fast_mode else check.slow()
            if check_batched_grad:
                check.batched()
            check.scaled_by_cotangent(check_grad_dtypes)
            if check_undefined_grad and check.outputs:
                check.undefined()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func,
    inputs,
    grad_outputs=None,
    *,
    eps=1e-6,
    atol=1e-5,
    rtol=1e-3,
    gen_non_contig_grad_outputs=False,
    raise_exception=True,
    nondet_tol=0.0,
    check_undefined_grad=True,
    check_grad_dtypes=False,
    check_batched_grad=False,
    check_fwd_over_rev=False,
    check_rev_over_rev=True,
    fast_mode=False,
    masked=False,
):
    """Whether the gradients of the gradients of func(*inputs) are right; see gradcheck.

    Without `grad_outputs` the gradients of the outputs are random.
    """
    inputs = _as_tuple(inputs)
    if grad_outputs is None:
        with enable_grad():
            outputs = _differentiable(func(*inputs))
        generator = facula.Generator().manual_seed(0)
        grad_outputs = tuple(_cotangent(o, generator, gen_non_contig_grad_outputs) for o in outputs)
    else:
        grad_outputs = _as_tuple(grad_outputs)
    count = len(inputs)

    def first(*args):
        places = [i for i in range(count) if _is_checked(args[i])]
        checked = tuple(args[i] for i in places)

        def call(*checked):
            given = list(args[:count])
            for i, x in zip(places, checked):
                given[i] = x
            return _differentiable(func(*given))

        if _C._level_depth():  # in forward mode: a gradient is a level above it
            from ..func import vjp

            return vjp(call, *checked)[1](args[count:])
        return grad(
            call(*checked), checked, args[count:], create_graph=True, materialize_grads=True
        )

    return gradcheck(
        first,
        inputs + grad_outputs,
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
        _all_outputs=True,
    )


def _cotangent(output, generator, apart):
    """A random gradient of an output, in double precision; with gaps in memory if `apart`."""
    dtype = facula.complex128 if output.is_complex() else facula.float64
    shape = (*output.shape, 2) if apart else output.shape
    drawn = facula.randn(shape, generator=generator, dtype=dtype).to(output.device)
    return (drawn[..., 0] if apart else drawn).requires_grad_()


# --- single Jacobians


def get_numerical_jacobian(fn, inputs, target=None, eps=1e-3, grad_out=1.0):
    """The Jacobians of the first output of fn(inputs) by differences, one for each input.

    Of the inputs, or of `target`, those are meant that require gradients.
    """
    if grad_out != 1.0:
        raise ValueError("get_numerical_jacobian: grad_out must be 1.0")
    checked = _differentiable(inputs if target is None else target)

    def evaluate():
        return _continuous(fn(inputs))[:1]

    return [_numerical(_differences(evaluate, x, eps), 0, 1, x) for x in checked]


def get_numerical_jacobian_wrt_specific_input(
    fn, input_idx, inputs, outputs, eps, input=None, is_forward_ad=False
):
    """The Jacobians of all outputs of fn(inputs) by differences, with respect to one input."""
    x = inputs[input_idx] if input is None else input
    axes = _differences(lambda: _continuous(fn(inputs)), x, eps)
    return tuple(_numerical(axes, k, 1, x) for k in range(len(_as_tuple(outputs))))


def get_analytical_jacobian(inputs, output, nondet_tol=0.0, grad_out=1.0):
    """The Jacobians of an output by backward.

    Returns (one for each input that requires gradients, whether two backwards agree to nondet_tol,
    whether gradients have the sizes of their inputs, whether they have the dtypes).
    """
    if grad_out != 1.0:
        raise ValueError("get_analytical_jacobian: grad_out must be 1.0")
    checked = _differentiable(inputs)
    grads = _backward(output, checked, facula.ones_like(output))
    pairs = [(g, x) for g, x in zip(grads, checked) if g is not None]
    if not all(gradient.shape == x.shape for gradient, x in pairs):
        return tuple(x.new_zeros(x.numel(), output.numel()) for x in checked), True, False, True
    first, second = (_analytical(output, checked, 1) for _ in range(2))
    reentrant = all(
        facula.allclose(a, b, rtol=0.0, atol=nondet_tol, equal_nan=True)
        for a, b in zip(first, second)
    )
    return tuple(first), reentrant, True, all(g.dtype == x.dtype for g, x in pairs)


class _CallableModule(types.ModuleType):
    """This module: the attribute `gradcheck` of the package is the function and the module."""

    def __call__(self, *args, **kwargs):
        return gradcheck(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
