"""Context managers that switch the recording of gradients; all are decorators too."""

import functools
import inspect

from .. import _C


class _Mode:
    """Enters a new instance of itself around each call of a function that it decorates."""

    def __call__(self, function):
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args, **kwargs):
                # Each resumption runs in the mode, the caller between two of them does not.
                inner, action, value = function(*args, **kwargs), "send", None
                while True:
                    with self.clone():
                        try:
                            item = getattr(inner, action)(value)
                        except StopIteration as stop:
                            return stop.value
                    try:
                        action, value = "send", (yield item)
                    except GeneratorExit:
                        inner.close()
                        raise
                    except BaseException as error:
                        action, value = "throw", error

            return generator

        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            with self.clone():
                return function(*args, **kwargs)

        return wrapper

    def clone(self):
        """A new instance with the same arguments."""
        return type(self)()


class _WithoutArguments(_Mode):
    # Lets `@no_grad` stand for `@no_grad()`.
    def __new__(cls, function=None):
        if function is None:
            return super().__new__(cls)
        return cls()(function)


class no_grad(_WithoutArguments):
    """Records no gradients inside."""

    def __enter__(self):
        self.prev = _C.is_grad_enabled()
        _C._set_grad_enabled(False)

    def __exit__(self, *exc):
        _C._set_grad_enabled(self.prev)


class enable_grad(_WithoutArguments):
    """Records gradients inside, also within no_grad."""

    def __enter__(self):
        self.prev = _C.is_grad_enabled()
        _C._set_grad_enabled(True)

    def __exit__(self, *exc):
        _C._set_grad_enabled(self.prev)


class set_grad_enabled(_Mode):
    """Sets whether gradients are recorded, at once, and as a context manager until its end."""

    def __init__(self, mode: bool):
        if not isinstance(mode, bool):
            raise TypeError(f"set_grad_enabled() takes a bool, not {type(mode).__name__}")
        self.prev = _C.is_grad_enabled()
        self.mode = mode
        _C._set_grad_enabled(mode)

    def __call__(self, function):
        _C._set_grad_enabled(self.prev)  # as a decorator it changes nothing outside
        return super().__call__(function)

    def __enter__(self):
        _C._set_grad_enabled(self.mode)

    def __exit__(self, *exc):
        _C._set_grad_enabled(self.prev)

    def clone(self):
        return type(self)(self.mode)


class inference_mode(_Mode):
    """Like no_grad, and tensors made inside can never take part in recording."""

    def __new__(cls, mode=True):
        if isinstance(mode, bool):
            return super().__new__(cls)
        return cls()(mode)

    def __init__(self, mode: bool = True):
        self.mode = mode

    def __enter__(self):
        self.prev = _C.is_grad_enabled(), _C.is_inference_mode_enabled()
        _C._set_inference_mode(self.mode)
        _C._set_grad_enabled(not self.mode)

    def __exit__(self, *exc):
        grad, inference = self.prev
        _C._set_inference_mode(inference)
        _C._set_grad_enabled(grad)

    def clone(self):
        return type(self)(self.mode)


class enforce_grad_layout_policy(_Mode):
    """Whether the first gradient of a leaf is copied when it lies otherwise than the leaf.

    It is unless switched off; then a gradient that nobody else holds becomes .grad as it lies.
    """

    def __init__(self, enable: bool = True):
        self.mode = enable
        self.prev = _C._set_grad_layout_policy(enable)

    def __enter__(self):
        _C._set_grad_layout_policy(self.mode)

    def __exit__(self, *exc):
        _C._set_grad_layout_policy(self.prev)

    def clone(self):
        return type(self)(self.mode)


_multithreading = True


def is_multithreading_enabled() -> bool:
    """What set_multithreading_enabled said."""
    return _multithreading


class set_multithreading_enabled(_Mode):
    """Accepted as the peer takes it.

    Backward runs in the calling thread in any case, and kernels share the pool.
    """

    def __init__(self, mode: bool):
        global _multithreading
        self.prev, self.mode = _multithreading, mode
        _multithreading = mode

    def __enter__(self):
        global _multithreading
        _multithreading = self.mode

    def __exit__(self, *exc):
        global _multithreading
        _multithreading = self.prev

    def clone(self):
        return type(self)(self.mode)
