"""Function: an operation whose gradient is written in Python."""

from .. import _C

FunctionCtx = _C.FunctionCtx


class Function:
    """An operation with `forward` and `backward` as static methods, called by `apply`.

    `forward(ctx, *args)` computes, `backward(ctx, *grads)` returns a gradient (or None) for each
    argument. With `setup_context(ctx, inputs, output)` forward has no ctx.
    """

    def __init__(self, *args, **kwargs):
        raise RuntimeError(f"{type(self).__name__} is not instantiated: call its apply()")

    @staticmethod
    def forward(*args, **kwargs):
        raise NotImplementedError("You must implement the forward function for custom Function.")

    @staticmethod
    def setup_context(ctx, inputs, output):
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom Function to use "
            "it with backward mode AD."
        )

    vjp = backward

    @classmethod
    def apply(cls, *args):
        """Runs forward and records backward."""
        with_setup = cls.setup_context is not Function.setup_context
        return _C._apply_function(cls, FunctionCtx(), with_setup, args)


def once_differentiable(backward):
    """For a backward that cannot be differentiated itself: its results have no history."""
    import functools

    from .grad_mode import no_grad

    @functools.wraps(backward)
    def wrapper(ctx, *grads):
        with no_grad():
            return backward(ctx, *grads)

    return wrapper
