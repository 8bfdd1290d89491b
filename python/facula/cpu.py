"""Main memory and the processor, with the interface of devices."""

from . import _C


def is_available() -> bool:
    """True."""
    return True


def device_count() -> int:
    """1."""
    return 1


def current_device() -> str:
    """ "cpu"."""
    return "cpu"


def synchronize(device=None) -> None:
    """Does nothing: work on the CPU is done when the call returns."""


def memory_stats(device=None) -> dict[str, int]:
    """Bytes in use and reserved, with their peaks, and counts of allocations."""
    return _C._host_memory_stats()


def memory_allocated(device=None) -> int:
    """Bytes that tensors use."""
    return _C._host_memory_stats()["allocated"]


def max_memory_allocated(device=None) -> int:
    """The most bytes that tensors used at once."""
    return _C._host_memory_stats()["allocated_peak"]


def memory_reserved(device=None) -> int:
    """Bytes taken from the system, those kept for reuse included."""
    return _C._host_memory_stats()["reserved"]


def max_memory_reserved(device=None) -> int:
    """The most bytes taken from the system at once."""
    return _C._host_memory_stats()["reserved_peak"]


def reset_peak_memory_stats(device=None) -> None:
    """Lets the peaks start from what is in use now."""
    _C._host_reset_peak()


def empty_cache() -> None:
    """Gives memory that is kept for reuse back to the system."""
    _C._host_empty_cache()
