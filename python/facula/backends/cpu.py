"""The processor."""

from .. import _C

_CAPABILITIES = {"x86-64-v3": "AVX2", "x86-64-v4": "AVX512"}


def get_cpu_capability() -> str:
    """The instructions that kernels use: "AVX512", "AVX2" or "DEFAULT"."""
    return _CAPABILITIES.get(_C._config()["tier"], "DEFAULT")
