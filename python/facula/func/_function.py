"""autograd.Function under transforms: one level after the other, as operators go."""

from collections import namedtuple

from .. import _C, Tensor, zeros_like
from ..autograd.function import Function, FunctionCtx
from ._level import BATCH, FORWARD, GRADIENT, Level
from ._vmap import RANDOMNESS

VmapInfo = namedtuple("VmapInfo", ("batch_size", "randomness"))


def apply_at_level(cls, level, kind, args):
    """cls.apply(*args), at the innermost level that an argument belongs to."""
    if kind == FORWARD:
        return _apply_forward(cls, level, args)
    if cls.setup_context is Function.setup_context:
        raise RuntimeError(
            "In order to use an autograd.Function with functorch transforms (vmap, grad, jvp, "
            f"jacrev, ...), it must override the setup_context staticmethod: {cls.__name__} does "
            "not. Split its forward(ctx, ...) into forward(...) and setup_context(ctx, inputs, "
            "output)."
        )
    return (_apply_gradient if kind == GRADIENT else _apply_batch)(cls, level, args)


def _each(function, result):
    """function(tensor) for the tensors of what forward returned, a tensor or a tuple."""
    if isinstance(result, tuple):
        return tuple(_each(function, item) for item in result)
    return function(result) if isinstance(result, Tensor) else result


# --- levels of gradients


def _apply_gradient(cls, level, args):
    """Recorded at this level, with the Function itself on the values as forward."""

    def forward(*lifted):
        values = _each(lambda t: _C._value(t, level), lifted)
        wrappers = {id(v): t for v, t in zip(values, lifted)}
        result = _C._call_below(level, cls.apply, *values)
        return _each(lambda t: wrappers.get(id(t)) or _C._wrap(t, level), result)

    at_level = type(cls.__name__, (cls,), {"forward": staticmethod(forward)})
    lifted = _each(lambda t: _C._wrap(t, level), args)
    return _C._apply_function(at_level, FunctionCtx(), True, lifted)


# --- levels of forward mode


def _context_of(cls, args, result):
    """A ctx as jvp wants it."""
    ctx = FunctionCtx()
    if cls.setup_context is Function.setup_context:
        cls.forward(ctx, *args)
    else:
        cls.setup_context(ctx, args, result)
    return ctx


def _tangent(t, level):
    return _C._unpack_dual(t, level)[1]


def _apply_forward(cls, level, args):
    result = _C._call_below(level, cls.apply, *args)
    ctx = _C._call_below(level, _context_of, cls, args, result)
    tangents = []
    for arg in args:
        tangent = _tangent(arg, level) if isinstance(arg, Tensor) else None
        if tangent is None and isinstance(arg, Tensor) and arg.is_floating_point():
            tangent = zeros_like(arg)
        tangents.append(tangent)
    made = _C._call_below(level, cls.jvp, ctx, *tangents)
    outputs = result if isinstance(result, tuple) else (result,)
    made = made if isinstance(made, tuple) else (made,)
    if len(made) != len(outputs):
        raise RuntimeError(
            f"{cls.__name__}.jvp returned {len(made)} tangents for {len(outputs)} outputs"
        )
    for output, tangent in zip(outputs, made):
        if isinstance(output, Tensor) and tangent is not None:
            _C._set_tangent(output, tangent, level)
    return result


# --- levels of batches


def _apply_batch(cls, level, args):
    if cls.generate_vmap_rule:
        if cls.vmap is not Function.vmap:
            raise RuntimeError(
                f"{cls.__name__} has generate_vmap_rule=True and a vmap staticmethod: one of both"
            )
        return _apply_generated(cls, level, args)
    if cls.vmap is Function.vmap:
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it does not have vmap support. Please "
            "override and implement the vmap staticmethod or set generate_vmap_rule=True."
        )
    values = _each(lambda t: _C._value(t, level), args)
    dims = tuple(0 if isinstance(t, Tensor) and _C._in_batch(t, level) else None for t in args)
    size, randomness = _C._level_batch(level)
    result, out_dims = _C._call_below(level, cls.vmap, VmapInfo(size, randomness), dims, *values)
    if not isinstance(result, tuple):
        return _into_batch(result, out_dims, level)
    if not isinstance(out_dims, tuple):
        out_dims = (out_dims,) * len(result)
    return tuple(_into_batch(item, dim, level) for item, dim in zip(result, out_dims))


def _into_batch(item, dim, level):
    if dim is None or not isinstance(item, Tensor):
        return item
    return _C._batch(item, dim % item.ndim, level)


class _InnerContext:
    """The ctx of a Function whose forward and backward run inside of a batch."""

    def __init__(self, needs_input_grad):
        self.needs_input_grad = needs_input_grad
        self.saved_tensors = ()
        self.nondiff = ()

    def save_for_backward(self, *tensors):
        self.saved_tensors = tensors

    save_for_forward = save_for_backward

    def mark_non_differentiable(self, *tensors):
        self.nondiff = tensors

    def mark_dirty(self, *tensors):
        raise NotImplementedError("mark_dirty does not go with generate_vmap_rule=True")

    def set_materialize_grads(self, value):
        self.materialize = value


def _apply_generated(cls, level, args):
    """A Function on values, whose forward, backward and jvp run those of cls in a batch."""
    size, randomness = _C._level_batch(level)
    batched = [isinstance(t, Tensor) and _C._in_batch(t, level) for t in args]

    def batch():
        return Level(BATCH, size, RANDOMNESS[randomness])

    def inside(values, flags, inner):
        return tuple(_C._batch(v, 0, inner) if flag else v for v, flag in zip(values, flags))

    def outside(items, inner):
        return tuple(_C._unbatch(t, 0, inner) if isinstance(t, Tensor) else t for t in items)

    def as_tuple(result):
        return result if isinstance(result, tuple) else (result,)

    class Batched(cls):
        generate_vmap_rule = False

        @staticmethod
        def forward(*values):
            with batch() as inner:
                result = cls.forward(*inside(values, batched, inner))
                parts = outside(as_tuple(result), inner)
            return parts if isinstance(result, tuple) else parts[0]

        @staticmethod
        def setup_context(ctx, inputs, output):
            outputs = as_tuple(output)
            with batch() as inner:
                ctx.inner = _InnerContext(ctx.needs_input_grad)
                parts = inside(outputs, [isinstance(t, Tensor) for t in outputs], inner)
                given = parts if isinstance(output, tuple) else parts[0]
                cls.setup_context(ctx.inner, inside(inputs, batched, inner), given)
                kept = ctx.inner.saved_tensors
                ctx.batched = [t is not None and _C._in_batch(t, inner) for t in kept]
                values = [t if t is None else _C._value(t, inner) for t in kept]
                nondiff = [_C._value(t, inner) for t in ctx.inner.nondiff]
            ctx.inner.saved_tensors = ()
            ctx.save_for_backward(*values)
            ctx.mark_non_differentiable(*nondiff)

        @staticmethod
        def _run(ctx, method, given):
            with batch() as inner:
                ctx.inner.saved_tensors = inside(ctx.saved_tensors, ctx.batched, inner)
                made = as_tuple(method(ctx.inner, *given(inner)))
                ctx.inner.saved_tensors = ()
                return outside(made, inner)

        @staticmethod
        def backward(ctx, *grads):
            flags = [g is not None for g in grads]
            made = Batched._run(ctx, cls.backward, lambda inner: inside(grads, flags, inner))
            return tuple(
                grad if grad is None or flag else grad.sum(0) for grad, flag in zip(made, batched)
            )

        @staticmethod
        def jvp(ctx, *tangents):
            flags = [b and t is not None for b, t in zip(batched, tangents)]
            return Batched._run(ctx, cls.jvp, lambda inner: inside(tangents, flags, inner))

    Batched.__name__ = cls.__name__
    values = _each(lambda t: _C._value(t, level), args)
    result = _C._call_below(level, Batched.apply, *values)
    return _each(lambda t: _C._batch(t, 0, level), result)
