"""device objects as decorators."""

import functools


def device_decorator(device, func):
    """`func`, which then makes its tensors on `device`."""

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        with device:
            return func(*args, **kwargs)

    return wrapper
