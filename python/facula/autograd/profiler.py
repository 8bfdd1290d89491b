"""Names of the profiler. Ranges can be marked; measuring them is not there yet."""

import functools

__all__ = [
    "emit_itt",
    "emit_nvtx",
    "load_nvprof",
    "parse_nvprof_trace",
    "profile",
    "record_function",
]


class record_function:
    """Names a part of a program for a profiler: a context manager and a decorator.

    Nothing here listens, so that it costs next to nothing.
    """

    def __init__(self, name: str, args: str | None = None):
        self.name = name
        self.args = args

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def __call__(self, function):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return wrapper


def _missing(name):
    raise NotImplementedError(f"autograd.profiler.{name} is not there; time with time.perf_counter")


class profile:
    """Measures operators: not there yet, except that `enabled=False` does nothing, as it says."""

    def __init__(self, enabled: bool = True, **options):
        if enabled:
            _missing("profile")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


class emit_nvtx(profile):
    """Marks operators for NVIDIA's tools: not there; `enabled=False` does nothing."""

    def __init__(self, enabled: bool = True, record_shapes: bool = False):
        if enabled:
            _missing("emit_nvtx")


class emit_itt(profile):
    """Marks operators for Intel's tools: not there; `enabled=False` does nothing."""

    def __init__(self, enabled: bool = True, record_shapes: bool = False):
        if enabled:
            _missing("emit_itt")


def load_nvprof(path):
    """Reads a trace of nvprof: not there."""
    _missing("load_nvprof")


def parse_nvprof_trace(path):
    """Reads a trace of nvprof: not there."""
    _missing("parse_nvprof_trace")
