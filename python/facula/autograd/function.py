"""Function: an operation whose gradient is written in Python."""

import functools
import inspect
import warnings

from .. import _C

__all__ = [
    "BackwardCFunction",
    "Function",
    "FunctionCtx",
    "FunctionMeta",
    "InplaceFunction",
    "NestedIOFunction",
    "once_differentiable",
]

FunctionCtx = _C.FunctionCtx
BackwardCFunction = _C.FunctionCtx  # what backward receives; the peer has a class of its own for it


def _two_backwards(ctx, *grads):
    raise RuntimeError(
        "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should "
        "only implement one of them."
    )


class FunctionMeta(type):
    """The type of Function and of the functions made from it."""

    def __init__(cls, name, bases, namespace):
        vjp, backward = namespace.get("vjp"), namespace.get("backward")
        if vjp is not backward and vjp is not None:
            cls.backward = vjp if backward is None else staticmethod(_two_backwards)
        super().__init__(name, bases, namespace)


class Function(metaclass=FunctionMeta):
    """An operation with `forward` and `backward` as static methods, called by `apply`.

    `forward(ctx, *args)` computes, `backward(ctx, *grads)` returns a gradient (or None) for each
    argument. With `setup_context(ctx, inputs, output)` forward has no ctx.

    generate_vmap_rule             vmap follows from forward and backward
    boxed_grads_call               backward(ctx, grads) gets one list, which it may empty
    clear_saved_tensors_on_access  ctx.saved_tensors can be read once, and is not kept then
    """

    generate_vmap_rule = False
    boxed_grads_call = False
    clear_saved_tensors_on_access = False

    def __init__(self, *args, **kwargs):
        name = type(self).__name__
        warnings.warn(
            f"{name} should not be instantiated: its methods are static, and it is called by "
            f"{name}.apply(...)",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args, **kwargs):
        raise RuntimeError(f"{type(self).__name__} is called by its apply()")

    @staticmethod
    def forward(*args, **kwargs):
        """Computes the result; `forward(ctx, *args)`, or `forward(*args)` with setup_context."""
        raise NotImplementedError("You must implement the forward function for custom Function.")

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Puts into ctx what backward needs, where forward has no ctx."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """A gradient, or None, for each argument of forward."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom Function to use "
            "it with backward mode AD."
        )

    @staticmethod
    def jvp(ctx, *grad_inputs):
        """Tangents of the results, given those of the arguments: for forward mode."""
        raise NotImplementedError(
            "You must implement the jvp function for custom Function to use it with forward mode "
            "AD."
        )

    @staticmethod
    def vmap(info, in_dims, *args):
        """The results for a batch of arguments, and where their batch dimensions are."""
        raise NotImplementedError(
            "To use a custom Function with vmap, implement the vmap staticmethod or set "
            "generate_vmap_rule=True."
        )

    vjp = backward

    @classmethod
    def apply(cls, *args, **kwargs):
        """Runs forward and records backward."""
        with_setup = cls.setup_context is not Function.setup_context
        if kwargs or (with_setup and getattr(cls.forward, "__defaults__", None)):
            cls, args = _bound(cls, with_setup, args, kwargs)
        if _C._level_depth():
            found = _C._level_of(args)
            if found is not None:
                from ..func._function import apply_at_level

                return apply_at_level(cls, *found, args)
        return _C._apply_function(cls, FunctionCtx(), with_setup, args)


def _bound(cls, with_setup, args, kwargs):
    """All positional arguments, and the function with the others, which get no gradients.

    With setup_context defaults count among the arguments, as its `inputs` have all of them.
    """
    if with_setup:
        call = inspect.signature(cls.forward).bind(*args, **kwargs)
        call.apply_defaults()
        args, kwargs = call.args, call.kwargs
    if kwargs:
        forward = staticmethod(functools.partial(cls.forward, **kwargs))
        cls = type(cls.__name__, (cls,), {"forward": forward})
    return cls, args


def once_differentiable(backward):
    """For a backward that cannot be differentiated itself: to do so is an error."""

    @functools.wraps(backward)
    def wrapper(ctx, *grads):
        recording = _C.is_grad_enabled()
        was = _C._set_grad_enabled(False)
        try:
            results = backward(ctx, *grads)
        finally:
            _C._set_grad_enabled(was)
        if not recording or not any(isinstance(g, _C.Tensor) and g.requires_grad for g in grads):
            return results
        refuse = functools.partial(
            _C._refuse_gradient,
            "trying to differentiate twice a function that was marked with @once_differentiable",
        )
        if isinstance(results, tuple):
            return tuple(refuse(r) if _has_gradient(r) else r for r in results)
        return refuse(results) if _has_gradient(results) else results

    return wrapper


def _has_gradient(result):
    return isinstance(result, _C.Tensor) and (result.is_floating_point() or result.is_complex())


class InplaceFunction(Function):
    """For functions with an `inplace` option; nothing of its own."""

    def __init__(self, inplace=False):
        super().__init__()


class NestedIOFunction(Function):
    """Functions on nested tuples of tensors; the peer's older style."""

    @classmethod
    def apply(cls, *args):
        raise NotImplementedError(
            f"{cls.__name__}: NestedIOFunction is not there; take a Function and flatten its "
            "arguments"
        )
