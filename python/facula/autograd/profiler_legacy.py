"""The older name of the profiler, which the programs of its time import."""

import warnings

from . import profiler

__all__ = ["profile"]


class profile(profiler.profile):
    """As `autograd.profiler.profile`."""

    def __init__(
        self,
        enabled=True,
        *,
        use_cuda=False,
        record_shapes=False,
        with_flops=False,
        profile_memory=False,
        with_stack=False,
        with_modules=False,
    ):
        warnings.warn(
            "autograd.profiler_legacy is deprecated; use facula.profiler.profile",
            FutureWarning,
            stacklevel=2,
        )
        super().__init__(
            enabled,
            use_cuda=use_cuda,
            record_shapes=record_shapes,
            with_flops=with_flops,
            profile_memory=profile_memory,
            with_stack=with_stack,
            with_modules=with_modules,
        )
